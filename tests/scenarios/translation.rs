//! Every kind of translation, there and back.

use crate::harness::{Net, play};
use std::collections::BTreeSet;

/// A home behind one address.
pub(crate) const HOME: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[[snat]]
out = "wan"
source = "interface"
[conntrack]
max_sessions = 600
"#;

#[test]
fn a_home_is_masqueraded_behind_the_address_of_its_interface() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=64
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 ttl=63
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000 ttl=63
        wan> udp 198.51.100.9:53 > 203.0.113.2:$p   # a stranger
        drop filtered
        wait 299s
        wait 2100ms
        closed
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        drop no_session
        ",
    );
}

#[test]
fn a_subscriber_has_one_address_of_a_pool_and_no_other() {
    let config = pool("[\"203.0.113.10-203.0.113.12\", \"203.0.113.20\"]", "1024-65535");
    play(
        &config,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp $a:$p > 198.51.100.1:53
        opened
        lan> tcp 192.168.1.10:1000 > 198.51.100.2:80 S
        wan< tcp $a:$q > 198.51.100.2:80 S
        opened
        lan> icmp echo 192.168.1.10 > 198.51.100.3 id=7 seq=1
        wan< icmp echo $a > 198.51.100.3 id=$i seq=1
        opened
        lan> udp 192.168.1.10:1001 > 198.51.100.4:53
        wan< udp $a:$r > 198.51.100.4:53
        opened
        wan> udp 198.51.100.1:53 > $a:$p
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000
        wan> tcp 198.51.100.2:80 > $a:$q SA
        lan< tcp 198.51.100.2:80 > 192.168.1.10:1000 SA
        wan> icmp reply 198.51.100.3 > $a id=$i seq=1
        lan< icmp reply 198.51.100.3 > 192.168.1.10 id=7 seq=1
        wan> arp who $a from 203.0.113.1
        wan<+ arp is $a to 203.0.113.1
        ",
    );
}

/// SNAT to a pool.
pub(crate) fn pool(addresses: &str, ports: &str) -> String {
    format!(
        r#"{}
        [pool.public]
        addresses = {addresses}
        ports = "{ports}"
        "#,
        HOME.replace("source = \"interface\"", "source = \"pool.public\"")
    )
}

#[test]
fn subscribers_spread_over_the_addresses_of_a_pool_that_is_not_contiguous() {
    for shape in crate::harness::SHAPES {
        let mut net =
            Net::new(&pool("[\"203.0.113.10-203.0.113.12\", \"203.0.113.20\"]", "1024-65535"), shape);
        let mut used = BTreeSet::new();
        for host in 10..60 {
            net.play(&format!(
                "lan> udp 192.168.1.{host}:1000 > 198.51.100.1:53
                wan< udp $a{host}:$p{host} > 198.51.100.1:53
                opened
                wan> udp 198.51.100.1:53 > $a{host}:$p{host}
                lan< udp 198.51.100.1:53 > 192.168.1.{host}:1000"
            ));
            used.insert(net.bindings.address(&format!("$a{host}")).to_string());
        }
        let all = ["203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.20"];
        assert_eq!(used, all.map(str::to_owned).into());
        net.finish();
    }
}

/// Forwarded ports of every form.
pub(crate) fn forwards() -> String {
    format!(
        r#"{HOME}
        [[dnat]]
        on = "wan"
        protocol = "tcp"
        port = 8080
        to = "192.168.1.10:80"
        [[dnat]]
        on = "wan"
        protocol = ["tcp", "udp"]
        port = 53
        to = "192.168.1.53"
        [[dnat]]
        address = "203.0.113.9"
        protocol = "udp"
        port = "30000-30010"
        to = "192.168.1.20:40000"
        "#
    )
}

#[test]
fn forwarded_ports_lead_to_their_backends_and_the_answers_back() {
    play(
        &forwards(),
        "
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:8080 S ttl=50
        lan< tcp 198.51.100.7:5000 > 192.168.1.10:80 S ttl=49
        opened
        lan> tcp 192.168.1.10:80 > 198.51.100.7:5000 SA
        wan< tcp 203.0.113.2:8080 > 198.51.100.7:5000 SA ttl=63
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:8080 AP len=1000
        lan< tcp 198.51.100.7:5000 > 192.168.1.10:80 AP len=1000

        wan> udp 198.51.100.7:5000 > 203.0.113.2:53
        lan< udp 198.51.100.7:5000 > 192.168.1.53:53
        opened
        lan> udp 192.168.1.53:53 > 198.51.100.7:5000
        wan< udp 203.0.113.2:53 > 198.51.100.7:5000
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:53 S
        lan< tcp 198.51.100.7:5000 > 192.168.1.53:53 S
        opened

        wan> udp 198.51.100.7:5000 > 203.0.113.9:30003
        lan< udp 198.51.100.7:5000 > 192.168.1.20:40003
        opened
        lan> udp 192.168.1.20:40003 > 198.51.100.7:5000
        wan< udp 203.0.113.9:30003 > 198.51.100.7:5000

        wan> udp 198.51.100.7:5000 > 203.0.113.2:8080   # TCP only
        drop no_session
        wan> udp 198.51.100.7:5000 > 203.0.113.9:30011  # behind the range
        drop gateway_unsupported
        ",
    );
}

#[test]
fn a_backend_may_open_connections_of_its_own_from_the_forwarded_port() {
    play(
        &forwards(),
        "
        lan> udp 192.168.1.53:53 > 198.51.100.8:53
        wan< udp 203.0.113.2:$p > 198.51.100.8:53
        opened
        wan> udp 198.51.100.8:53 > 203.0.113.2:$p
        lan< udp 198.51.100.8:53 > 192.168.1.53:53
        ",
    );
}

#[test]
fn a_host_inside_reaches_a_forwarded_port_by_its_outside_address() {
    play(
        &forwards(),
        "
        lan> tcp 192.168.1.33:6000 > 203.0.113.2:8080 S
        lan< tcp 203.0.113.2:$p > 192.168.1.10:80 S ttl=63
        opened
        lan> tcp 192.168.1.10:80 > 203.0.113.2:$p SA
        lan< tcp 203.0.113.2:8080 > 192.168.1.33:6000 SA ttl=63
        lan> tcp 192.168.1.33:6000 > 203.0.113.2:8080 A
        lan< tcp 203.0.113.2:$p > 192.168.1.10:80 A

        lan> tcp 192.168.1.10:7000 > 203.0.113.2:8080 S    # to itself
        lan< tcp 203.0.113.2:$q > 192.168.1.10:80 S
        opened
        lan> tcp 192.168.1.10:80 > 203.0.113.2:$q SA
        lan< tcp 203.0.113.2:8080 > 192.168.1.10:7000 SA

        lan> udp 192.168.1.33:6000 > 203.0.113.9:30000      # an address without ports of its own
        lan< udp 192.168.1.1:$r > 192.168.1.20:40000
        opened
        lan> udp 192.168.1.20:40000 > 192.168.1.1:$r
        lan< udp 203.0.113.9:30000 > 192.168.1.33:6000
        ",
    );
}

/// Full NAT: by the interface's address and by a pool's.
pub(crate) const FULL: &str = r#"
[interface.front]
device = "vdev:mem0"
realm = "external"
address = "203.0.113.2/24"
vlan = 100
gateway = "203.0.113.1"
[interface.back]
device = "vdev:mem0"
realm = "internal"
address = "10.20.0.2/24"
vlan = 200
[[route]]
to = "10.0.0.0/8"
via = "10.20.0.254"
[pool.clients]
addresses = "10.20.0.16/30"
[[dnat]]
address = "203.0.113.9"
protocol = "tcp"
port = 11211
to = "10.30.0.15:11211"
source = "pool.clients"
[[dnat]]
address = "203.0.113.9"
protocol = "udp"
port = 443
to = "10.20.0.15:8443"
source = "interface"
[conntrack]
max_sessions = 600
"#;

#[test]
fn full_nat_hides_the_client_behind_the_interface_or_a_pool_on_tagged_links() {
    play(
        FULL,
        "
        front> udp 198.51.100.7:5000 > 203.0.113.9:443
        back< udp 10.20.0.2:$p > 10.20.0.15:8443 ttl=63
        opened
        back> udp 10.20.0.15:8443 > 10.20.0.2:$p
        front< udp 203.0.113.9:443 > 198.51.100.7:5000 ttl=63

        front> tcp 198.51.100.7:5000 > 203.0.113.9:11211 S
        back< tcp $a:$q > 10.30.0.15:11211 S
        opened
        back> tcp 10.30.0.15:11211 > $a:$q SA
        front< tcp 203.0.113.9:11211 > 198.51.100.7:5000 SA
        back> arp who $a from 10.20.0.254
        back<+ arp is $a to 10.20.0.254
        front> tcp 198.51.100.7:5001 > 203.0.113.9:11211 S   # the same client: the same address
        back< tcp $a:$r > 10.30.0.15:11211 S
        opened
        ",
    );
}

/// Two internal networks on one tagged device, outside untagged.
const OFFICE: &str = r#"
[interface.staff]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
vlan = 10
[interface.guests]
device = "vdev:mem0"
realm = "internal"
address = "192.168.2.1/24"
vlan = 20
[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[[snat]]
source = "interface"
[conntrack]
max_sessions = 600
"#;

#[test]
fn between_internal_networks_packets_are_routed_and_not_translated() {
    play(
        OFFICE,
        "
        staff> udp 192.168.1.10:1000 > 192.168.2.10:2000 ttl=9 tos=184
        guests< udp 192.168.1.10:1000 > 192.168.2.10:2000 ttl=8 tos=184
        guests> tcp 192.168.2.10:2000 > 192.168.1.10:1000 A len=5   # no state, so any segment
        staff< tcp 192.168.2.10:2000 > 192.168.1.10:1000 A len=5
        staff> icmp echo 192.168.1.10 > 192.168.2.10 id=3
        guests< icmp echo 192.168.1.10 > 192.168.2.10 id=3
        guests> icmp reply 192.168.2.10 > 192.168.1.10 id=3
        staff< icmp reply 192.168.2.10 > 192.168.1.10 id=3
        guests> icmp 3/3 192.168.2.10 > 192.168.1.10 [udp 192.168.1.10:1000 > 192.168.2.10:2000 ttl=8]
        staff< icmp 3/3 192.168.2.10 > 192.168.1.10 [udp 192.168.1.10:1000 > 192.168.2.10:2000 ttl=8]
        staff> ip47 192.168.1.10 > 192.168.2.10 len=20
        guests< ip47 192.168.1.10 > 192.168.2.10 len=20
        staff> udp 192.168.1.10:1000 > 192.168.2.10:2000 len=2000 ipid=5 part=0-1480
        guests< udp 192.168.1.10:1000 > 192.168.2.10:2000 len=2000 ipid=5 part=0-1480
        staff> udp 192.168.1.10:1000 > 192.168.2.10:2000 len=2000 ipid=5 part=1480-2008
        guests< udp 192.168.1.10:1000 > 192.168.2.10:2000 len=2000 ipid=5 part=1480-2008
        ",
    );
}

#[test]
fn tags_are_pushed_popped_and_changed() {
    play(
        OFFICE,
        "
        guests> udp 192.168.2.10:1000 > 198.51.100.1:53     # 20 to none
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p           # none to 20
        guests< udp 198.51.100.1:53 > 192.168.2.10:1000
        staff> udp 192.168.1.10:1000 > 192.168.2.10:2000    # 10 to 20
        guests< udp 192.168.1.10:1000 > 192.168.2.10:2000
        ",
    );
}

#[test]
fn what_can_not_be_translated_and_hosts_without_a_rule_do_not_leave_untranslated() {
    let narrow = HOME.replace("out = \"wan\"", "from = \"192.168.1.0/25\"");
    play(
        &narrow,
        "
        lan> proto 2 192.168.1.10 > 198.51.100.1             # IGMP
        drop protocol_unsupported
        lan> proto 51 192.168.1.10 > 198.51.100.1            # AH
        drop protocol_unsupported
        lan> icmp 17/0 192.168.1.10 > 198.51.100.1
        drop icmp_type_unsupported
        lan> icmp reply 192.168.1.10 > 198.51.100.1 id=3
        drop icmp_unsolicited
        lan> udp 192.168.1.200:1000 > 198.51.100.1:53
        lan<+ icmp 3/13 192.168.1.1 > 192.168.1.200 [udp 192.168.1.200:1000 > 198.51.100.1:53 ttl=64]
        drop no_rule
        wan> udp 198.51.100.1:53 > 203.0.113.77:9      # not ours: outside to outside
        drop no_rule
        wan> udp 198.51.100.1:53 > 192.168.1.10:9      # straight to an internal address
        drop no_rule
        ",
    );
}

/// Two ways out, networks behind a router, two prefixes on one link.
const BRANCH: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
addresses = ["192.168.1.1/24", "192.168.9.1/24"]
[interface.fast]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[interface.slow]
device = "vdev:mem2"
realm = "external"
address = "198.18.0.2/24"
[[route]]
to = "198.51.100.0/24"
via = "198.18.0.1"
[[route]]
to = "10.0.0.0/8"
via = "192.168.9.254"
[pool.servers]
addresses = "203.0.113.64/30"
[[snat]]
from = ["10.5.0.0/16"]
to = ["192.0.2.0/24"]
source = "pool.servers"
[[snat]]
from = ["10.5.0.0/16", "192.168.0.0/16"]
out = "fast"
source = "interface"
[[snat]]
out = "slow"
source = "interface"
[conntrack]
max_sessions = 600
"#;

#[test]
fn the_first_rule_that_matches_decides_and_the_route_where_to() {
    play(
        BRANCH,
        "
        lan> udp 10.5.0.1:1000 > 192.0.2.1:53               # both prefixes match: the pool
        fast< udp $a:$p > 192.0.2.1:53
        opened
        fast> udp 192.0.2.1:53 > $a:$p
        lan< udp 192.0.2.1:53 > 10.5.0.1:1000               # by the router at 192.168.9.254
        lan> udp 10.5.0.1:1000 > 1.1.1.1:53                 # only the source: the interface
        fast< udp 203.0.113.2:$q > 1.1.1.1:53
        opened
        lan> udp 192.168.9.10:1000 > 198.51.100.1:53        # the other way out
        slow< udp 198.18.0.2:$r > 198.51.100.1:53
        opened
        slow> udp 198.51.100.1:53 > 198.18.0.2:$r
        lan< udp 198.51.100.1:53 > 192.168.9.10:1000
        lan> udp 10.6.0.1:1000 > 1.1.1.1:53                 # no rule
        lan<+ icmp 3/13 192.168.1.1 > 10.6.0.1 [udp 10.6.0.1:1000 > 1.1.1.1:53 ttl=64]
        drop no_rule
        lan> udp 10.6.0.1:1000 > 192.168.1.10:7             # hairpin on the link, untranslated
        lan< udp 10.6.0.1:1000 > 192.168.1.10:7
        lan> arp who 192.168.9.1 from 192.168.9.10
        lan<+ arp is 192.168.9.1 to 192.168.9.10
        lan> icmp echo 192.168.9.10 > 192.168.9.1 id=2
        lan<+ icmp reply 192.168.9.1 > 192.168.9.10 id=2
        ",
    );
}

#[test]
fn a_neighbour_of_a_second_prefix_is_asked_from_the_address_in_it() {
    play(
        BRANCH,
        "
        silent 192.168.9.77
        lan> udp 192.168.1.10:1000 > 192.168.9.77:7
        held +1
        lan<+ arp who 192.168.9.77 from 192.168.9.1
        speaks 192.168.9.77
        wait 1s
        held -1
        lan< udp 192.168.1.10:1000 > 192.168.9.77:7
        ",
    );
}

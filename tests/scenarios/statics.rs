//! Addresses that are translated one to one (RFC 3022 basic NAT): any protocol, both ways, and between two such hosts.

use crate::harness::{Net, play};
use crate::shape::by_host;
use crate::translation::HOME;

/// Eight hosts that have an address outside each, beside others that share one.
fn office(more: &str) -> String {
    format!(
        r#"{HOME}
        [[static]]
        external = "203.0.113.64/29"
        internal = "192.168.1.64/29"
        [[static]]
        external = "203.0.113.80"
        internal = "192.168.1.80"
        inbound = false
        {more}
        "#
    )
}

#[test]
fn a_static_host_keeps_its_ports_and_identifiers_whatever_it_speaks() {
    play(
        &office(""),
        "
        lan> tcp 192.168.1.66:80 > 198.51.100.1:443 S ttl=64
        wan< tcp 203.0.113.66:80 > 198.51.100.1:443 S ttl=63
        opened
        wan> tcp 198.51.100.1:443 > 203.0.113.66:80 SA
        lan< tcp 198.51.100.1:443 > 192.168.1.66:80 SA
        lan> udp 192.168.1.67:5060 > 198.51.100.1:5060
        wan< udp 203.0.113.67:5060 > 198.51.100.1:5060
        opened
        wan> udp 198.51.100.1:5060 > 203.0.113.67:5060
        lan< udp 198.51.100.1:5060 > 192.168.1.67:5060
        lan> icmp echo 192.168.1.66 > 198.51.100.1 id=7 seq=1
        wan< icmp echo 203.0.113.66 > 198.51.100.1 id=7 seq=1
        opened
        wan> icmp reply 198.51.100.1 > 203.0.113.66 id=7 seq=1
        lan< icmp reply 198.51.100.1 > 192.168.1.66 id=7 seq=1
        # The same identifier and the same end outside, from two hosts.
        lan> icmp echo 192.168.1.67 > 198.51.100.1 id=7 seq=1
        wan< icmp echo 203.0.113.67 > 198.51.100.1 id=7 seq=1
        opened
        lan> ip50 192.168.1.66 > 198.51.100.1
        wan< ip50 203.0.113.66 > 198.51.100.1
        opened
        lan> ip50 192.168.1.67 > 198.51.100.1
        wan< ip50 203.0.113.67 > 198.51.100.1
        opened
        wan> ip50 198.51.100.1 > 203.0.113.67
        lan< ip50 198.51.100.1 > 192.168.1.67
        # Others share the interface's address.
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        ",
    );
}

#[test]
fn sessions_are_opened_from_outside_to_a_static_address_unless_it_takes_only_answers() {
    play(
        &office(""),
        "
        wan> arp who 203.0.113.66 from 203.0.113.1
        wan<+ arp is 203.0.113.66 to 203.0.113.1
        wan> tcp 198.51.100.1:4000 > 203.0.113.66:22 S
        lan< tcp 198.51.100.1:4000 > 192.168.1.66:22 S
        opened
        lan> tcp 192.168.1.66:22 > 198.51.100.1:4000 SA
        wan< tcp 203.0.113.66:22 > 198.51.100.1:4000 SA
        wan> icmp echo 198.51.100.1 > 203.0.113.64 id=9 seq=1
        lan< icmp echo 198.51.100.1 > 192.168.1.64 id=9 seq=1
        opened
        lan> icmp reply 192.168.1.64 > 198.51.100.1 id=9 seq=1
        wan< icmp reply 203.0.113.64 > 198.51.100.1 id=9 seq=1
        wan> gre 198.51.100.1 > 203.0.113.71
        lan< gre 198.51.100.1 > 192.168.1.71
        opened
        lan> gre 192.168.1.71 > 198.51.100.1
        wan< gre 203.0.113.71 > 198.51.100.1
        # Nobody's, and one that takes only answers.
        wan> udp 198.51.100.1:4000 > 203.0.113.72:53
        drop no_rule
        wan> udp 198.51.100.1:4000 > 203.0.113.80:53
        drop no_session
        lan> udp 192.168.1.80:53 > 198.51.100.1:4000
        wan< udp 203.0.113.80:53 > 198.51.100.1:4000
        opened
        wan> udp 198.51.100.1:4000 > 203.0.113.80:53
        lan< udp 198.51.100.1:4000 > 192.168.1.80:53
        # Nobody outside has such an address.
        wan> udp 203.0.113.67:1 > 203.0.113.66:53
        drop martian_source
        ",
    );
}

#[test]
fn static_hosts_reach_each_other_by_their_outside_addresses_and_see_no_other() {
    play(
        &office(""),
        "
        lan> udp 192.168.1.66:1000 > 203.0.113.65:53
        lan< udp 203.0.113.66:1000 > 192.168.1.65:53
        opened
        lan> udp 192.168.1.65:53 > 203.0.113.66:1000
        lan< udp 203.0.113.65:53 > 192.168.1.66:1000
        lan> tcp 192.168.1.65:1000 > 203.0.113.66:80 S
        lan< tcp 203.0.113.65:1000 > 192.168.1.66:80 S
        opened
        lan> tcp 192.168.1.66:80 > 203.0.113.65:1000 SA
        lan< tcp 203.0.113.66:80 > 192.168.1.65:1000 SA
        # RFC 5508 REQ-7, RFC 7857 section 12.
        lan> icmp echo 192.168.1.66 > 203.0.113.65 id=7 seq=1
        lan< icmp echo 203.0.113.66 > 192.168.1.65 id=7 seq=1
        opened
        lan> icmp reply 192.168.1.65 > 203.0.113.66 id=7 seq=1
        lan< icmp reply 203.0.113.65 > 192.168.1.66 id=7 seq=1
        lan> udp 192.168.1.66:1001 > 203.0.113.65:9
        lan< udp 203.0.113.66:1001 > 192.168.1.65:9
        opened
        lan> icmp 3/3 192.168.1.65 > 203.0.113.66 [udp 203.0.113.66:1001 > 192.168.1.65:9]
        lan< icmp 3/3 203.0.113.65 > 192.168.1.66 [udp 192.168.1.66:1001 > 203.0.113.65:9]
        lan> ip50 192.168.1.66 > 203.0.113.65
        lan< ip50 203.0.113.66 > 192.168.1.65
        opened
        lan> ip50 192.168.1.65 > 203.0.113.66
        lan< ip50 203.0.113.65 > 192.168.1.66
        # Its own address.
        lan> udp 192.168.1.66:1 > 203.0.113.66:2
        lan< udp 203.0.113.66:1 > 192.168.1.66:2
        opened
        lan> udp 192.168.1.66:2 > 203.0.113.66:1
        lan< udp 203.0.113.66:2 > 192.168.1.66:1
        # It takes only answers, from inside too.
        lan> udp 192.168.1.66:1 > 203.0.113.80:2
        drop no_session
        ",
    );
}

#[test]
fn a_host_without_an_address_of_its_own_reaches_a_static_one_as_from_outside() {
    play(
        &office(
            "[masquerade]\nmapping = \"address-and-port-dependent\"\nfiltering = \"address-and-port-dependent\"",
        ),
        "
        lan> udp 192.168.1.10:1000 > 203.0.113.65:53
        lan< udp 203.0.113.2:$p > 192.168.1.65:53
        opened
        lan> udp 192.168.1.65:53 > 203.0.113.2:$p
        lan< udp 203.0.113.65:53 > 192.168.1.10:1000
        lan> icmp echo 192.168.1.10 > 203.0.113.65 id=7 seq=1
        lan< icmp echo 203.0.113.2 > 192.168.1.65 id=$i seq=1
        opened
        lan> icmp reply 192.168.1.65 > 203.0.113.2 id=$i seq=1
        lan< icmp reply 203.0.113.65 > 192.168.1.10 id=7 seq=1
        lan> ip50 192.168.1.10 > 203.0.113.65
        lan< ip50 203.0.113.2 > 192.168.1.65
        opened
        lan> ip50 192.168.1.65 > 203.0.113.2
        lan< ip50 203.0.113.65 > 192.168.1.10
        ",
    );
}

/// In the shapes in which hosts have mappings.
fn play_by_host(config: &str, script: &str) {
    for shape in by_host() {
        let mut net = Net::new(config, shape);
        net.play(script);
        net.finish();
    }
}

#[test]
fn a_host_with_a_mapping_shows_a_static_one_what_it_shows_others() {
    play_by_host(
        &office(""),
        "
        # A session for each of them, as if the other one were outside.
        lan> udp 192.168.1.10:1000 > 203.0.113.65:53
        lan< udp 203.0.113.2:$p > 192.168.1.65:53
        opened 2
        lan> udp 192.168.1.65:53 > 203.0.113.2:$p
        lan< udp 203.0.113.65:53 > 192.168.1.10:1000
        lan> udp 192.168.1.10:1000 > 203.0.113.65:53
        lan< udp 203.0.113.2:$p > 192.168.1.65:53
        lan> icmp 3/3 192.168.1.65 > 203.0.113.2 [udp 203.0.113.2:$p > 192.168.1.65:53]
        lan< icmp 3/3 203.0.113.65 > 192.168.1.10 [udp 192.168.1.10:1000 > 203.0.113.65:53]
        lan> icmp 3/3 192.168.1.10 > 203.0.113.65 [udp 203.0.113.65:53 > 192.168.1.10:1000]
        lan< icmp 3/3 203.0.113.2 > 192.168.1.65 [udp 192.168.1.65:53 > 203.0.113.2:$p]
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        lan> icmp echo 192.168.1.10 > 203.0.113.65 id=7 seq=1
        lan< icmp echo 203.0.113.2 > 192.168.1.65 id=$i seq=1
        opened
        lan> icmp reply 192.168.1.65 > 203.0.113.2 id=$i seq=1
        lan< icmp reply 203.0.113.65 > 192.168.1.10 id=7 seq=1
        ",
    );
}

#[test]
fn a_static_host_reaches_the_mapping_of_one_that_has_no_address_of_its_own() {
    play_by_host(
        &office(""),
        "
        lan> udp 192.168.1.10:1000 > 203.0.113.65:53
        lan< udp 203.0.113.2:$p > 192.168.1.65:53
        opened 2
        # Filtering is by address: whom it has sent to may come by another port.
        lan> udp 192.168.1.65:54 > 203.0.113.2:$p
        lan< udp 203.0.113.65:54 > 192.168.1.10:1000
        opened 2
        lan> udp 192.168.1.10:1000 > 203.0.113.65:54
        lan< udp 203.0.113.2:$p > 192.168.1.65:54
        lan> udp 192.168.1.65:54 > 203.0.113.2:$p
        lan< udp 203.0.113.65:54 > 192.168.1.10:1000
        # One that takes only answers takes them from inside too.
        lan> udp 192.168.1.10:1000 > 203.0.113.80:7
        drop no_session
        opened
        lan> udp 192.168.1.80:7 > 203.0.113.2:$p
        lan< udp 203.0.113.80:7 > 192.168.1.10:1000
        opened
        lan> udp 192.168.1.10:1000 > 203.0.113.80:7
        lan< udp 203.0.113.2:$p > 192.168.1.80:7
        ",
    );
}

#[test]
fn an_error_from_inside_comes_from_the_address_that_its_sender_has_outside() {
    let routed = office(
        "[[route]]\nto = \"10.0.0.0/8\"\nvia = \"192.168.1.71\"\n[[static]]\nexternal = \"203.0.113.96/28\"\ninternal = \"10.1.2.0/28\"",
    );
    play(
        &routed,
        "
        wan> udp 198.51.100.1:53 > 203.0.113.99:1000
        lan< udp 198.51.100.1:53 > 10.1.2.3:1000
        opened
        lan> icmp 3/3 10.1.2.3 > 198.51.100.1 [udp 198.51.100.1:53 > 10.1.2.3:1000 ttl=60]
        wan< icmp 3/3 203.0.113.99 > 198.51.100.1 [udp 198.51.100.1:53 > 203.0.113.99:1000 ttl=60]
        # From routers between: one with an address of its own (RFC 5508 REQ-5c), one without.
        lan> icmp 11/0 192.168.1.71 > 198.51.100.1 [udp 198.51.100.1:53 > 10.1.2.3:1000 ttl=1]
        wan< icmp 11/0 203.0.113.71 > 198.51.100.1 [udp 198.51.100.1:53 > 203.0.113.99:1000 ttl=1]
        lan> icmp 11/0 192.168.1.10 > 198.51.100.1 [udp 198.51.100.1:53 > 10.1.2.3:1000 ttl=1]
        wan< icmp 11/0 203.0.113.99 > 198.51.100.1 [udp 198.51.100.1:53 > 203.0.113.99:1000 ttl=1]
        # And one from outside.
        lan> udp 10.1.2.3:1001 > 198.51.100.1:53
        wan< udp 203.0.113.99:1001 > 198.51.100.1:53
        opened
        wan> icmp 11/0 100.64.0.9 > 203.0.113.99 [udp 203.0.113.99:1001 > 198.51.100.1:53 ttl=1]
        lan< icmp 11/0 100.64.0.9 > 10.1.2.3 [udp 10.1.2.3:1001 > 198.51.100.1:53 ttl=1]
        ",
    );
}

#[test]
fn a_forwarded_port_of_a_static_address_is_the_forwards() {
    let config = office(
        r#"
        [[dnat]]
        address = "203.0.113.66"
        protocol = "tcp"
        port = 80
        to = "192.168.1.20:8080"
        [[dnat]]
        address = "203.0.113.66"
        protocol = "udp"
        port = 53
        to = "192.168.1.66:5353"
        "#,
    );
    play(
        &config,
        "
        wan> tcp 198.51.100.1:4000 > 203.0.113.66:80 S
        lan< tcp 198.51.100.1:4000 > 192.168.1.20:8080 S
        opened
        lan> tcp 192.168.1.20:8080 > 198.51.100.1:4000 SA
        wan< tcp 203.0.113.66:80 > 198.51.100.1:4000 SA
        wan> tcp 198.51.100.1:4000 > 203.0.113.66:81 S
        lan< tcp 198.51.100.1:4000 > 192.168.1.66:81 S
        opened
        lan> tcp 192.168.1.66:81 > 198.51.100.1:4000 SA
        wan< tcp 203.0.113.66:81 > 198.51.100.1:4000 SA
        # Its answers would go to the forward.
        lan> tcp 192.168.1.66:80 > 198.51.100.1:4001 S
        drop static_port_forwarded
        lan<+ icmp 3/1 192.168.1.1 > 192.168.1.66 [tcp 192.168.1.66:80 > 198.51.100.1:4001 S]
        # To another port of the same host.
        wan> udp 198.51.100.1:4000 > 203.0.113.66:53
        lan< udp 198.51.100.1:4000 > 192.168.1.66:5353
        opened
        lan> udp 192.168.1.66:5353 > 198.51.100.1:4000
        wan< udp 203.0.113.66:53 > 198.51.100.1:4000
        # The port that a forward leads to is a port of the host like others.
        lan> udp 192.168.1.66:5353 > 198.51.100.2:4000
        wan< udp 203.0.113.66:5353 > 198.51.100.2:4000
        opened
        wan> udp 198.51.100.2:4000 > 203.0.113.66:5353
        lan< udp 198.51.100.2:4000 > 192.168.1.66:5353
        ",
    );
}

/// Two customers whose networks have the same addresses, and two uplinks.
const ZONES: &str = r#"
[interface.red]
device = "vdev:mem0"
realm = "internal"
address = "10.0.0.1/24"
zone = 1
[interface.blue]
device = "vdev:mem1"
realm = "internal"
address = "10.0.0.1/24"
zone = 2
[interface.wan]
device = "vdev:mem2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[interface.backup]
device = "vdev:mem3"
realm = "external"
address = "198.18.0.2/24"
[[route]]
to = "192.0.2.0/24"
via = "198.18.0.1"
[[static]]
external = "203.0.113.64/29"
internal = "10.0.0.64/29"
zone = 1
[[static]]
external = "203.0.113.72/29"
internal = "10.0.0.64/29"
zone = 2
on = "wan"
[[static]]
external = "198.18.0.64/29"
internal = "10.0.0.64/29"
zone = 2
on = "backup"
[conntrack]
max_sessions = 600
"#;

#[test]
fn zones_and_ways_out_have_networks_of_their_own() {
    play(
        ZONES,
        "
        red> udp 10.0.0.65:7 > 198.51.100.1:53
        wan< udp 203.0.113.65:7 > 198.51.100.1:53
        opened
        blue> udp 10.0.0.65:7 > 198.51.100.1:53
        wan< udp 203.0.113.73:7 > 198.51.100.1:53
        opened
        blue> udp 10.0.0.65:7 > 192.0.2.1:53
        backup< udp 198.18.0.65:7 > 192.0.2.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.73:7
        blue< udp 198.51.100.1:53 > 10.0.0.65:7
        backup> udp 192.0.2.1:53 > 198.18.0.65:7
        blue< udp 192.0.2.1:53 > 10.0.0.65:7
        wan> icmp echo 198.51.100.1 > 203.0.113.65 id=1 seq=1
        red< icmp echo 198.51.100.1 > 10.0.0.65 id=1 seq=1
        opened
        # From one customer's host to the other's of the same address.
        red> udp 10.0.0.65:9 > 203.0.113.73:9
        blue< udp 203.0.113.65:9 > 10.0.0.65:9
        opened
        blue> udp 10.0.0.65:9 > 203.0.113.65:9
        red< udp 203.0.113.73:9 > 10.0.0.65:9
        ",
    );
}

#[test]
fn fragments_of_a_static_hosts_datagrams_follow_it() {
    play(
        &office(""),
        "
        lan> udp 192.168.1.66:1000 > 198.51.100.1:53 len=2000 ipid=9 part=0-1480
        wan< udp 203.0.113.66:1000 > 198.51.100.1:53 len=2000 ipid=$id part=0-1480
        opened
        lan> udp 192.168.1.66:1000 > 198.51.100.1:53 len=2000 ipid=9 part=1480-2008
        wan< udp 203.0.113.66:1000 > 198.51.100.1:53 len=2000 ipid=$id part=1480-2008
        wan> udp 198.51.100.1:53 > 203.0.113.66:1000 len=2000 ipid=9 part=0-1480
        lan< udp 198.51.100.1:53 > 192.168.1.66:1000 len=2000 ipid=9 part=0-1480
        wan> udp 198.51.100.1:53 > 203.0.113.66:1000 len=2000 ipid=9 part=1480-2008
        lan< udp 198.51.100.1:53 > 192.168.1.66:1000 len=2000 ipid=9 part=1480-2008
        ",
    );
}

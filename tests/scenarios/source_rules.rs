//! Source translation rules: what they match, and those whose sources stay as they are.

use crate::harness::play;
use crate::mappings::play_by_host;

/// Two networks inside, each rule with an address of its own to tell them apart, and hosts that keep their addresses towards
/// another site.
const OFFICE: &str = r#"
[interface.staff]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
[interface.guests]
device = "vdev:mem1"
realm = "internal"
address = "192.168.2.1/24"
[interface.wan]
device = "vdev:mem2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[[route]]
to = "192.168.64.0/18"
via = "192.168.1.254"
[set.site]
prefixes = ["10.20.0.0/16", "10.30.0.0/16"]
[set.servers]
prefixes = ["192.168.1.20", "192.168.1.21"]
[pool.mail]
addresses = "203.0.113.25"
[pool.servers]
addresses = "203.0.113.26"
[pool.guests]
addresses = "203.0.113.27"
[pool.media]
addresses = "203.0.113.28"
[[snat]]
to = "set.site"
source = "untranslated"
[[snat]]
protocol = "tcp"
port = [25, "465-587"]
source = "pool.mail"
[[snat]]
from = ["set.servers", "192.168.1.30"]
source = "pool.servers"
[[snat]]
protocol = ["udp", "udplite"]
from_port = "4000-4999"
source = "pool.media"
[[snat]]
on = "guests"
source = "pool.guests"
[[snat]]
[[dnat]]
on = "wan"
protocol = "udp"
port = 7000
to = "192.168.1.20:5000"
[[dnat]]
address = "203.0.113.9"
protocol = "udp"
port = 7001
to = "192.168.1.20:5000"
[conntrack]
max_sessions = 600
"#;

#[test]
fn the_first_rule_that_matches_decides_by_port_protocol_set_and_interface() {
    play(
        OFFICE,
        "
        staff> tcp 192.168.1.10:1000 > 198.51.100.1:25 S
        wan< tcp 203.0.113.25:$a > 198.51.100.1:25 S
        opened
        guests> tcp 192.168.2.10:1000 > 198.51.100.1:500 S      # in the range, before the rule of guests
        wan< tcp 203.0.113.25:$b > 198.51.100.1:500 S
        opened
        staff> udp 192.168.1.10:1000 > 198.51.100.1:25          # another protocol
        wan< udp 203.0.113.2:$c > 198.51.100.1:25
        opened
        staff> udp 192.168.1.21:4500 > 198.51.100.1:53          # of the set, before its port counts
        wan< udp 203.0.113.26:$d > 198.51.100.1:53
        opened
        staff> tcp 192.168.1.30:1000 > 198.51.100.1:588 S       # named beside the set
        wan< tcp 203.0.113.26:$e > 198.51.100.1:588 S
        opened
        guests> udp 192.168.2.10:4999 > 198.51.100.1:53
        wan< udp 203.0.113.28:$f > 198.51.100.1:53
        opened
        guests> udp 192.168.2.10:5000 > 198.51.100.1:53
        wan< udp 203.0.113.27:$g > 198.51.100.1:53
        opened
        guests> icmp echo 192.168.2.10 > 198.51.100.1 id=7 seq=1
        wan< icmp echo 203.0.113.27 > 198.51.100.1 id=$h seq=1
        opened
        staff> icmp echo 192.168.1.10 > 198.51.100.1 id=7 seq=1
        wan< icmp echo 203.0.113.2 > 198.51.100.1 id=$i seq=1
        opened
        ",
    );
}

#[test]
fn a_source_that_is_not_translated_leaves_as_it_is_and_has_its_answers_of_every_protocol() {
    for host in ["192.168.1.10", "192.168.1.11", "192.168.1.20", "192.168.77.5"] {
        let script = "
        staff> udp HOST:5000 > 10.20.0.1:53
        wan< udp HOST:5000 > 10.20.0.1:53
        opened
        wan> udp 10.20.0.1:53 > HOST:5000
        staff< udp 10.20.0.1:53 > HOST:5000
        staff> tcp HOST:1000 > 10.30.9.1:80 S
        wan< tcp HOST:1000 > 10.30.9.1:80 S
        opened
        wan> tcp 10.30.9.1:80 > HOST:1000 SA
        staff< tcp 10.30.9.1:80 > HOST:1000 SA
        staff> tcp HOST:1000 > 10.30.9.1:80 A
        wan< tcp HOST:1000 > 10.30.9.1:80 A
        staff> icmp echo HOST > 10.20.0.1 id=7 seq=1
        wan< icmp echo HOST > 10.20.0.1 id=7 seq=1
        opened
        wan> icmp reply 10.20.0.1 > HOST id=7 seq=1
        staff< icmp reply 10.20.0.1 > HOST id=7 seq=1
        staff> udp HOST:5000 > 198.51.100.1:53                  # elsewhere it is translated
        wan< udp $a:$p > 198.51.100.1:53
        opened
        ";
        play(OFFICE, &script.replace("HOST", host));
    }
}

#[test]
fn only_what_belongs_to_a_session_reaches_a_host_whose_address_was_not_translated() {
    play(
        OFFICE,
        "
        wan> udp 10.20.0.1:53 > 192.168.1.10:5000               # nobody asked
        drop no_rule
        staff> udp 192.168.1.10:5000 > 10.20.0.1:53
        wan< udp 192.168.1.10:5000 > 10.20.0.1:53
        opened
        wan> udp 10.20.0.1:54 > 192.168.1.10:5000
        drop no_rule
        wan> udp 10.20.0.2:53 > 192.168.1.10:5000
        drop no_rule
        wan> tcp 10.20.0.1:53 > 192.168.1.10:5000 S
        drop no_rule
        guests> udp 192.168.1.11:5000 > 10.20.0.1:53            # whose address it is, is checked as ever
        drop spoofed_source
        wait 301s
        closed
        wan> udp 10.20.0.1:53 > 192.168.1.10:5000
        drop no_rule
        ",
    );
}

#[test]
fn a_backend_that_opens_a_session_untranslated_has_its_answers_beside_those_of_clients() {
    play(
        OFFICE,
        "
        wan> udp 198.51.100.7:6000 > 203.0.113.9:7001
        staff< udp 198.51.100.7:6000 > 192.168.1.20:5000
        opened
        staff> udp 192.168.1.20:5000 > 10.20.0.1:53
        wan< udp 192.168.1.20:5000 > 10.20.0.1:53
        opened
        wan> udp 10.20.0.1:53 > 192.168.1.20:5000
        staff< udp 10.20.0.1:53 > 192.168.1.20:5000
        staff> udp 192.168.1.20:5000 > 198.51.100.7:6000
        wan< udp 203.0.113.9:7001 > 198.51.100.7:6000
        ",
    );
}

#[test]
fn errors_about_untranslated_sessions_pass_and_show_no_router_inside() {
    play(
        OFFICE,
        "
        staff> udp 192.168.77.5:5000 > 10.20.0.1:53
        wan< udp 192.168.77.5:5000 > 10.20.0.1:53
        opened
        wan> icmp 11/0 100.64.0.9 > 192.168.77.5 [udp 192.168.77.5:5000 > 10.20.0.1:53 ttl=1]
        staff< icmp 11/0 100.64.0.9 > 192.168.77.5 [udp 192.168.77.5:5000 > 10.20.0.1:53 ttl=1]
        staff> icmp 3/3 192.168.77.5 > 10.20.0.1 [udp 10.20.0.1:53 > 192.168.77.5:5000 ttl=9]
        wan< icmp 3/3 192.168.77.5 > 10.20.0.1 [udp 10.20.0.1:53 > 192.168.77.5:5000 ttl=9]
        staff> icmp 11/0 192.168.1.254 > 10.20.0.1 [udp 10.20.0.1:53 > 192.168.77.5:5000 ttl=1]
        wan< icmp 11/0 192.168.77.5 > 10.20.0.1 [udp 10.20.0.1:53 > 192.168.77.5:5000 ttl=1]
        ",
    );
}

/// Two customers with the same network and the same server behind a forwarded port each; the first keeps its addresses.
const CUSTOMERS: &str = r#"
[interface.one]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
zone = 1
[interface.two]
device = "vdev:mem1"
realm = "internal"
address = "192.168.1.1/24"
zone = 2
[interface.wan]
device = "vdev:mem2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[[snat]]
zone = 1
to = "10.20.0.0/16"
source = "untranslated"
[[snat]]
[[dnat]]
on = "wan"
protocol = "udp"
port = 7001
to = "192.168.1.20:5000"
zone = 2
[[dnat]]
on = "wan"
protocol = "udp"
port = 7002
to = "192.168.1.20:5000"
zone = 1
[conntrack]
max_sessions = 600
"#;

#[test]
fn an_untranslated_source_keeps_its_zone_where_another_has_the_same_address() {
    for host in ["192.168.1.10:1000", "192.168.1.20:5000", "192.168.1.31:7"] {
        let script = "
        one> udp HOST > 10.20.0.1:53
        wan< udp HOST > 10.20.0.1:53
        opened
        two> udp HOST > 10.20.0.1:53
        wan< udp 203.0.113.2:$p > 10.20.0.1:53
        opened
        wan> udp 10.20.0.1:53 > HOST
        one< udp 10.20.0.1:53 > HOST
        wan> udp 10.20.0.1:53 > 203.0.113.2:$p
        two< udp 10.20.0.1:53 > HOST
        ";
        play(CUSTOMERS, &script.replace("HOST", host));
    }
}

#[test]
fn two_untranslated_sources_that_look_alike_outside_do_not_meet() {
    play(
        &CUSTOMERS.replace("zone = 1\nto = \"10", "to = \"10"),
        "
        one> udp 192.168.1.10:1000 > 10.20.0.1:53
        wan< udp 192.168.1.10:1000 > 10.20.0.1:53
        opened
        two> udp 192.168.1.10:1000 > 10.20.0.1:53
        drop tuple_collision
        ",
    );
}

#[test]
fn a_source_that_is_not_translated_reaches_no_mapping_of_somebody_inside() {
    let config = OFFICE.replacen(
        "[[snat]]",
        "[[snat]]\nfrom = \"192.168.1.10\"\nsource = \"untranslated\"\n[[snat]]",
        1,
    );
    play_by_host(
        &config,
        "
        staff> udp 192.168.1.11:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        staff> udp 192.168.1.10:2000 > 203.0.113.2:$p           # who is there would answer past the gateway
        staff<+ icmp 3/13 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:2000 > 203.0.113.2:$p ttl=64]
        drop no_rule
        ",
    );
}

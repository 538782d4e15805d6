//! Packets of notrack classes: no session is opened by any of them, unless the script says so.

mod errors;
mod guard;
mod moving;
mod zones;

use crate::harness::play;
use crate::translation::HOME;

/// A cache behind the address of the gateway, for everybody.
fn cache(more: &str) -> String {
    format!(
        "{HOME}
        [[notrack]]
        name = \"cache\"
        preset = \"memcached\"
        on = \"wan\"
        to = \"203.0.113.2\"
        translate_to = \"192.168.1.20\"
        {more}"
    )
}

/// Two tunnel ends, that inside translated one to one.
fn tunnel(more: &str) -> String {
    format!(
        "{HOME}
        [[notrack]]
        name = \"overlay\"
        preset = \"vxlan\"
        on = \"lan\"
        from = \"192.168.1.30\"
        to = \"198.51.100.30\"
        translate_from = \"203.0.113.30\"
        {more}"
    )
}

#[test]
fn a_service_behind_an_address_of_the_gateway_is_reached_and_answers_without_a_session() {
    play(
        &cache(""),
        "
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 S ttl=64 seq=9
        lan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 S ttl=63 seq=9
        lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 SA seq=3 ack=10
        wan< tcp 203.0.113.2:11211 > 198.51.100.7:5000 SA ttl=63 seq=3 ack=10
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:11211 PA seq=10 ack=4 len=20
        lan< tcp 198.51.100.7:5000 > 192.168.1.20:11211 PA seq=10 ack=4 len=20
        lan> tcp 192.168.1.20:11211 > 198.51.100.7:5000 R seq=4
        wan< tcp 203.0.113.2:11211 > 198.51.100.7:5000 R seq=4
        wan> udp 198.51.100.7:5000 > 203.0.113.2:11211 len=33
        lan< udp 198.51.100.7:5000 > 192.168.1.20:11211 len=33
        lan> udp 192.168.1.20:11211 > 198.51.100.7:5000 csum=0
        wan< udp 203.0.113.2:11211 > 198.51.100.7:5000 csum=0
        # Neither the service's other port nor another address is the class's.
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:11212 S
        drop no_session
        lan> tcp 192.168.1.20:11212 > 198.51.100.7:5000 S
        wan< tcp 203.0.113.2:$p > 198.51.100.7:5000 S
        opened
        lan> tcp 192.168.1.21:11211 > 198.51.100.7:5000 S
        wan< tcp 203.0.113.2:$q > 198.51.100.7:5000 S
        opened
        ",
    );
}

#[test]
fn both_ends_of_a_tunnel_send_to_its_port_from_ports_of_their_own() {
    play(
        &tunnel(""),
        "
        lan> udp 192.168.1.30:50001 > 198.51.100.30:4789 len=100
        wan< udp 203.0.113.30:50001 > 198.51.100.30:4789 len=100
        wan> arp who 203.0.113.30 from 203.0.113.1
        wan<+ arp is 203.0.113.30 to 203.0.113.1
        wan> udp 198.51.100.30:61234 > 203.0.113.30:4789 len=100
        lan< udp 198.51.100.30:61234 > 192.168.1.30:4789 len=100
        # Another host inside goes by the rules, the same end's other traffic too.
        lan> udp 192.168.1.31:50001 > 198.51.100.30:4789
        wan< udp 203.0.113.2:$p > 198.51.100.30:4789
        opened
        lan> udp 192.168.1.30:50001 > 198.51.100.30:53
        wan< udp 203.0.113.2:$q > 198.51.100.30:53
        opened
        wan> udp 198.51.100.30:61234 > 203.0.113.30:53
        drop no_rule
        ",
    );
}

#[test]
fn a_whole_prefix_is_translated_one_to_one_in_every_protocol() {
    let config = format!(
        "{HOME}
        [[notrack]]
        name = \"servers\"
        on = \"lan\"
        from = \"192.168.1.64/28\"
        translate_from = \"203.0.113.64/28\"
        opened_by = \"either\"
        "
    );
    play(
        &config,
        "
        lan> tcp 192.168.1.66:1000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.66:1000 > 198.51.100.1:80 S
        wan> tcp 198.51.100.1:80 > 203.0.113.66:1000 SA
        lan< tcp 198.51.100.1:80 > 192.168.1.66:1000 SA
        wan> tcp 198.51.100.2:999 > 203.0.113.79:25 S
        lan< tcp 198.51.100.2:999 > 192.168.1.79:25 S
        lan> icmp echo 192.168.1.66 > 198.51.100.1 id=5 seq=1
        wan< icmp echo 203.0.113.66 > 198.51.100.1 id=5 seq=1
        wan> icmp reply 198.51.100.1 > 203.0.113.66 id=5 seq=1
        lan< icmp reply 198.51.100.1 > 192.168.1.66 id=5 seq=1
        wan> icmp echo 198.51.100.1 > 203.0.113.67 id=6 seq=1
        lan< icmp echo 198.51.100.1 > 192.168.1.67 id=6 seq=1
        lan> ip50 192.168.1.70 > 198.51.100.1
        wan< ip50 203.0.113.70 > 198.51.100.1
        wan> arp who 203.0.113.70 from 203.0.113.1
        wan<+ arp is 203.0.113.70 to 203.0.113.1
        # Beside the prefix, the rules hold.
        lan> udp 192.168.1.80:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        lan< udp 198.51.100.1:53 > 192.168.1.80:1000
        ",
    );
}

#[test]
fn public_addresses_inside_pass_as_they_are() {
    let config = format!(
        "{HOME}
        [[route]]
        to = \"192.0.2.0/24\"
        via = \"192.168.1.254\"
        [[notrack]]
        name = \"public\"
        preset = \"dns\"
        on = \"wan\"
        to = \"192.0.2.53\"
        untranslated = true
        "
    );
    play(
        &config,
        "
        wan> udp 198.51.100.7:5000 > 192.0.2.53:53
        lan< udp 198.51.100.7:5000 > 192.0.2.53:53 ttl=63 mac=02:aa:c0:a8:01:fe
        lan> udp 192.0.2.53:53 > 198.51.100.7:5000 len=400
        wan< udp 192.0.2.53:53 > 198.51.100.7:5000 len=400
        wan> tcp 198.51.100.7:5001 > 192.0.2.53:53 S
        lan< tcp 198.51.100.7:5001 > 192.0.2.53:53 S
        wan> tcp 198.51.100.7:5001 > 192.0.2.53:80 S
        drop no_rule
        ",
    );
}

#[test]
fn fragments_are_of_the_class_whichever_comes_first() {
    play(
        &cache(""),
        "
        wan> udp 198.51.100.7:5000 > 203.0.113.2:11211 len=3000 ipid=7 part=1480-2960
        held +1
        wan> udp 198.51.100.7:5000 > 203.0.113.2:11211 len=3000 ipid=7 part=0-1480
        lan< udp 198.51.100.7:5000 > 192.168.1.20:11211 len=3000 ipid=7 part=0-1480
        lan< udp 198.51.100.7:5000 > 192.168.1.20:11211 len=3000 ipid=7 part=1480-2960
        held -1
        wan> udp 198.51.100.7:5000 > 203.0.113.2:11211 len=3000 ipid=7 part=2960-3008
        lan< udp 198.51.100.7:5000 > 192.168.1.20:11211 len=3000 ipid=7 part=2960-3008
        lan> udp 192.168.1.20:11211 > 198.51.100.7:5000 len=2000 ipid=8 part=0-1480
        wan< udp 203.0.113.2:11211 > 198.51.100.7:5000 len=2000 ipid=$id part=0-1480
        lan> udp 192.168.1.20:11211 > 198.51.100.7:5000 len=2000 ipid=8 part=1480-2008
        wan< udp 203.0.113.2:11211 > 198.51.100.7:5000 len=2000 ipid=$id part=1480-2008
        ",
    );
}

#[test]
fn a_packet_waits_for_its_neighbour_like_any_other() {
    play(
        &cache(""),
        "
        silent 192.168.1.20
        wan> udp 198.51.100.7:5000 > 203.0.113.2:11211
        lan<+ arp who 192.168.1.20 from 192.168.1.1
        held +1
        speaks 192.168.1.20
        lan> arp is 192.168.1.20 to 192.168.1.1
        lan< udp 198.51.100.7:5000 > 192.168.1.20:11211
        held -1
        ",
    );
}

#[test]
fn clients_beside_the_service_go_by_the_rules() {
    let config = cache(
        "
        [[dnat]]
        on = \"wan\"
        protocol = \"udp\"
        port = 11211
        to = \"192.168.1.20\"
        ",
    );
    play(
        &config,
        "
        # Its answer would go past the gateway if its source stayed as it is.
        lan> udp 192.168.1.10:5000 > 203.0.113.2:11211
        lan< udp 203.0.113.2:$p > 192.168.1.20:11211
        opened
        lan> udp 192.168.1.20:11211 > 203.0.113.2:$p
        lan< udp 203.0.113.2:11211 > 192.168.1.10:5000
        ",
    );
}

#[test]
fn no_session_is_given_the_port_of_a_class() {
    let config = format!(
        "{HOME}
        [[notrack]]
        name = \"range\"
        protocol = \"udp\"
        on = \"wan\"
        to = \"203.0.113.2\"
        port = \"1024-65000\"
        translate_to = \"192.168.1.20\"
        "
    );
    let mut script = String::new();
    for port in 2000..2100 {
        script += &format!(
            "lan> udp 192.168.1.10:{port} > 198.51.100.1:53
             wan< udp 203.0.113.2:$p{port} > 198.51.100.1:53
             opened
             wan> udp 198.51.100.1:53 > 203.0.113.2:$p{port}
             lan< udp 198.51.100.1:53 > 192.168.1.10:{port}
            "
        );
    }
    play(&config, &script);
}

#[test]
fn the_first_class_that_matches_decides_and_a_class_of_some_flags_leaves_the_others_to_the_next() {
    let config = format!(
        "{HOME}
        [set.listed]
        prefixes = [\"198.51.100.0/28\"]
        [[notrack]]
        name = \"no-christmas\"
        action = \"drop\"
        protocol = \"tcp\"
        tcp_flags = [\"fin\", \"!ack\"]
        symmetric = false
        on = \"wan\"
        [[notrack]]
        name = \"first\"
        protocol = \"tcp\"
        port = 80
        on = \"wan\"
        from = \"set.listed\"
        to = \"203.0.113.2\"
        translate_to = \"192.168.1.20\"
        [[notrack]]
        name = \"second\"
        protocol = \"tcp\"
        port = 80
        on = \"wan\"
        to = \"203.0.113.2\"
        translate_to = \"192.168.1.21\"
        "
    );
    play(
        &config,
        "
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:80 S
        lan< tcp 198.51.100.7:5000 > 192.168.1.20:80 S
        wan> tcp 198.51.100.16:5000 > 203.0.113.2:80 S
        lan< tcp 198.51.100.16:5000 > 192.168.1.21:80 S
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:80 F
        drop notrack_dropped
        wan> tcp 198.51.100.7:5000 > 203.0.113.2:80 FA
        lan< tcp 198.51.100.7:5000 > 192.168.1.20:80 FA
        wan> tcp 198.51.100.9:5000 > 203.0.113.77:99 F
        drop notrack_dropped
        ",
    );
}

//! Mappings and filters as the RFCs mean them (RFC 4787, 5382), hairpinning by mappings, and ports that several
//! destinations share. The results are the same with any number of workers.

use crate::harness::{Net, SHAPES, play};
use crate::packet::Line;
use crate::shape::by_host;
use crate::translation::{HOME, pool};
use natgate::steering::Spread;
use std::collections::BTreeSet;

/// HOME behind one address with these settings.
fn masquerade(settings: &str) -> String {
    format!("{HOME}\n[masquerade]\n{settings}\n")
}

pub(crate) fn play_by_host(config: &str, script: &str) {
    for shape in by_host() {
        let mut net = Net::new(config, shape);
        net.play(script);
        net.finish();
    }
}

const OPENS: &str = "
    lan> udp 192.168.1.10:4000 > 198.51.100.1:53
    wan< udp 203.0.113.2:$p > 198.51.100.1:53
    opened
";

#[test]
fn an_endpoint_inside_has_one_outside_whomever_it_talks_to() {
    play_by_host(
        &masquerade("mapping = \"endpoint-independent\""),
        &format!(
            "{OPENS}
            lan> udp 192.168.1.10:4000 > 198.51.100.1:54
            wan< udp 203.0.113.2:$p > 198.51.100.1:54
            opened
            lan> udp 192.168.1.10:4000 > 198.51.100.2:53
            wan< udp 203.0.113.2:$p > 198.51.100.2:53
            opened
            wan> udp 198.51.100.2:53 > 203.0.113.2:$p
            lan< udp 198.51.100.2:53 > 192.168.1.10:4000
            "
        ),
    );
}

#[test]
fn an_address_dependent_mapping_is_another_for_each_address_and_none_of_its_ports_is_anothers() {
    play_by_host(
        &masquerade("mapping = \"address-dependent\"\nfiltering = \"address-dependent\""),
        &format!(
            "{OPENS}
            lan> udp 192.168.1.10:4000 > 198.51.100.1:54
            wan< udp 203.0.113.2:$p > 198.51.100.1:54
            opened
            lan> udp 192.168.1.10:4000 > 198.51.100.2:53
            wan< udp 203.0.113.2:$q > 198.51.100.2:53
            opened
            wan> udp 198.51.100.2:9 > 203.0.113.2:$q
            lan< udp 198.51.100.2:9 > 192.168.1.10:4000
            opened
            wan> udp 198.51.100.2:9 > 203.0.113.2:$p
            drop filtered
            "
        ),
    );
}

#[test]
fn filters_let_in_anybody_or_known_addresses_or_known_endpoints() {
    for (filtering, known_address, stranger) in [
        ("endpoint-independent", true, true),
        ("address-dependent", true, false),
        ("address-and-port-dependent", false, false),
    ] {
        let passes = |passes: bool, from: &str| {
            let end = if passes {
                format!("lan< udp {from} > 192.168.1.10:4000\nopened")
            } else {
                "drop filtered".to_owned()
            };
            format!("wan> udp {from} > 203.0.113.2:$p\n{end}\n")
        };
        let known = passes(known_address, "198.51.100.1:54");
        let stranger = passes(stranger, "198.51.100.2:53");
        play_by_host(
            &masquerade(&format!("filtering = \"{filtering}\"")),
            &format!("{OPENS}{known}{stranger}"),
        );
    }
}

#[test]
fn filters_are_for_one_protocol_each() {
    play_by_host(
        &masquerade("filtering = { udp = \"endpoint-independent\", tcp = \"address-dependent\" }"),
        &format!(
            "{OPENS}
            wan> udp 198.51.100.9:1 > 203.0.113.2:$p
            lan< udp 198.51.100.9:1 > 192.168.1.10:4000
            opened
            lan> tcp 192.168.1.10:4000 > 198.51.100.1:80 S
            wan< tcp 203.0.113.2:$t > 198.51.100.1:80 S
            opened
            wan> tcp 198.51.100.9:1 > 203.0.113.2:$t S
            drop filtered
            wan> tcp 198.51.100.1:81 > 203.0.113.2:$t S
            lan< tcp 198.51.100.1:81 > 192.168.1.10:4000 S
            opened
            wan> tcp 198.51.100.1:82 > 203.0.113.2:$t A ack=1   # nobody begins like that
            drop no_session
            "
        ),
    );
}

#[test]
fn a_mapping_ends_with_what_was_asked_for_from_inside_however_often_strangers_knock() {
    play_by_host(
        &masquerade("filtering = \"endpoint-independent\"\nhold_down = \"0s\""),
        &format!(
            "{OPENS}
            wan> udp 198.51.100.9:1 > 203.0.113.2:$p
            lan< udp 198.51.100.9:1 > 192.168.1.10:4000
            opened
            wait 25s
            wan> udp 198.51.100.9:1 > 203.0.113.2:$p
            lan< udp 198.51.100.9:1 > 192.168.1.10:4000
            wait 280s
            closed 2
            wan> udp 198.51.100.9:1 > 203.0.113.2:$p
            drop no_session
            "
        ),
    );
}

#[test]
fn who_is_answered_keeps_the_mapping() {
    play_by_host(
        &masquerade("filtering = \"endpoint-independent\""),
        &format!(
            "{OPENS}
            wan> udp 198.51.100.9:1 > 203.0.113.2:$p
            lan< udp 198.51.100.9:1 > 192.168.1.10:4000
            opened
            wait 200s
            lan> udp 192.168.1.10:4000 > 198.51.100.9:1
            wan< udp 203.0.113.2:$p > 198.51.100.9:1
            wait 200s
            closed
            wan> udp 198.51.100.8:1 > 203.0.113.2:$p
            lan< udp 198.51.100.8:1 > 192.168.1.10:4000
            opened
            "
        ),
    );
}

#[test]
fn hosts_inside_reach_each_other_by_their_external_endpoints() {
    for filtering in ["endpoint-independent", "address-dependent"] {
        play_by_host(
            &masquerade(&format!("filtering = \"{filtering}\"")),
            &format!(
                "{OPENS}
                lan> udp 192.168.1.20:5000 > 198.51.100.1:53
                wan< udp 203.0.113.2:$q > 198.51.100.1:53
                opened
                lan> udp 192.168.1.20:5000 > 203.0.113.2:$p
                lan< udp 203.0.113.2:$q > 192.168.1.10:4000
                opened 2
                lan> udp 192.168.1.10:4000 > 203.0.113.2:$q
                lan< udp 203.0.113.2:$p > 192.168.1.20:5000
                lan> udp 192.168.1.20:5000 > 203.0.113.2:$p
                lan< udp 203.0.113.2:$q > 192.168.1.10:4000
                lan> icmp 3/3 192.168.1.10 > 203.0.113.2 [udp 203.0.113.2:$q > 192.168.1.10:4000]
                lan< icmp 3/3 203.0.113.2 > 192.168.1.20 [udp 192.168.1.20:5000 > 203.0.113.2:$p]
                lan> udp 192.168.1.20:5000 > 203.0.113.2:1        # nobody's
                drop no_session
                "
            ),
        );
    }
}

#[test]
fn a_connection_is_made_between_two_hosts_inside() {
    play_by_host(
        &masquerade("filtering = \"endpoint-independent\""),
        "
        lan> tcp 192.168.1.10:4000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S
        opened
        lan> tcp 192.168.1.20:5000 > 203.0.113.2:$p S seq=100
        lan< tcp 203.0.113.2:$q > 192.168.1.10:4000 S seq=100
        opened 2
        lan> tcp 192.168.1.10:4000 > 203.0.113.2:$q SA seq=300 ack=101
        lan< tcp 203.0.113.2:$p > 192.168.1.20:5000 SA seq=300 ack=101
        lan> tcp 192.168.1.20:5000 > 203.0.113.2:$p A seq=101 ack=301
        lan< tcp 203.0.113.2:$q > 192.168.1.10:4000 A seq=101 ack=301
        ",
    );
}

#[test]
fn a_turned_packet_is_no_way_round_its_time_to_live() {
    play_by_host(
        &masquerade("filtering = \"endpoint-independent\""),
        &format!(
            "{OPENS}
            lan> udp 192.168.1.20:5000 > 203.0.113.2:$p ttl=1
            drop ttl_expired
            lan<+ icmp 11/0 192.168.1.1 > 192.168.1.20 [udp 192.168.1.20:5000 > 203.0.113.2:$p ttl=1]
            "
        ),
    );
}

/// With a port for each flow and nobody else let in, one address carries all its ports to each destination.
#[test]
fn by_flow_each_destination_has_every_port_and_the_last_one_is_found() {
    const BOTH: &str = "\"address-and-port-dependent\"";
    for shape in SHAPES {
        let config = pool("\"203.0.113.10\"", "2000-2099")
            + &format!("mapping = {BOTH}\nfiltering = {BOTH}\n[runtime]\nicmp_errors_per_second = 10000\n");
        let mut net = Net::new(&config, shape);
        let lan = net.interface("lan");
        for server in [1, 2] {
            let mut given = Vec::new();
            // Enough that every worker gets more than it has ports for.
            for n in 0..400u32 {
                let (host, port) = (10 + n % 40, 3000 + n);
                let line = format!("udp 192.168.1.{host}:{port} > 198.51.100.{server}:53");
                let packet = Line::parse(&line).encode(&net.bindings);
                net.send_ipv4(lan, &packet);
                net.run();
                let seen = std::mem::take(&mut net.seen);
                let out = seen.iter().find(|seen| !seen.arp && seen.interface != lan);
                given.extend(out.map(|seen| u16::from_be_bytes([seen.body[20], seen.body[21]])));
            }
            net.forget();
            given.sort_unstable();
            assert_eq!(given, (2000..=2099).collect::<Vec<u16>>(), "{shape:?}, server {server}");
        }
        net.finish();
    }
}

#[test]
fn with_arbitrary_pooling_a_host_goes_on_with_another_address() {
    for shape in by_host() {
        assert_eq!(shape.spread, Spread::Source);
        let config = pool("\"203.0.113.10-203.0.113.12\"", "2000-2011") + "pooling = \"arbitrary\"\n";
        let mut net = Net::new(&config, shape);
        let lan = net.interface("lan");
        let mut given = Vec::new();
        for port in 3000..3050u32 {
            let line = format!("udp 192.168.1.10:{port} > 198.51.100.1:53");
            let packet = Line::parse(&line).encode(&net.bindings);
            net.send_ipv4(lan, &packet);
            net.run();
            let seen = std::mem::take(&mut net.seen);
            let out = seen.iter().find(|seen| !seen.arp && seen.interface != lan);
            given.extend(out.map(|seen| (seen.body[15], u16::from_be_bytes([seen.body[20], seen.body[21]]))));
        }
        net.forget();
        let count = given.len();
        let addresses: BTreeSet<u8> = given.iter().map(|(address, _)| *address).collect();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), count, "one twice: {shape:?}");
        assert_eq!(addresses, [10, 11, 12].into(), "{shape:?}");
        net.finish();
    }
}

#[test]
fn what_a_pool_lets_in_does_not_come_in_by_an_interface_inside() {
    play(
        HOME,
        "
        lan> tcp 192.168.1.10:1 > 192.168.1.1:22 S
        drop no_session
        ",
    );
}

/// Ports that were shared and are one mapping's under another configuration: a session from before holds none.
#[test]
fn a_session_that_shared_its_port_takes_no_mapping_with_it_when_it_ends() {
    const BOTH: &str = "\"address-and-port-dependent\"";
    let shared = masquerade(&format!("mapping = {BOTH}\nfiltering = {BOTH}"));
    let mut net = Net::new(&shared, SHAPES[0]);
    net.play(
        "
        lan> udp 192.168.1.10:4000 > 198.51.100.1:53
        wan< udp 203.0.113.2:4000 > 198.51.100.1:53
        opened
        wait 200s
        ",
    );
    net.reload(HOME);
    net.play(
        "
        lan> udp 192.168.1.10:4000 > 198.51.100.2:53
        wan< udp 203.0.113.2:4000 > 198.51.100.2:53
        opened
        wait 105s
        closed
        wan> udp 198.51.100.2:54 > 203.0.113.2:4000
        lan< udp 198.51.100.2:54 > 192.168.1.10:4000
        opened
        ",
    );
    net.finish();
}

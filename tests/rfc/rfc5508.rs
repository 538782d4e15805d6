//! RFC 5508: what a NAT does with ICMP.

use crate::harness::Net;
use crate::lab::{WORDS, cast, each, filtering, gateway, home, home_and, ipv4, mend, play, pool};
use crate::packet::sums_are_right;
use crate::rfc3022::ONE_TO_ONE;
use std::time::Duration;

/// A UDP flow from C1:1000 to S1a:53.
const FLOW: &str = "
    lan> udp C1:1000 > S1a:53
    wan< udp X:$p > S1a:53
";

#[test]
fn r5508_1_queries_and_their_answers_pass() {
    play(
        &home(),
        "
        lan> icmp echo C1 > S1a id=7 seq=9 len=56
        wan< icmp echo X > S1a id=$i seq=9 len=56
        wan> icmp reply S1a > X id=$i seq=9 len=56
        lan< icmp reply S1a > C1 id=7 seq=9 len=56
        lan> icmp ts C1 > S1a id=8 seq=3 len=12
        wan< icmp ts X > S1a id=$j seq=3 len=12
        wan> icmp tsreply S1a > X id=$j seq=3 len=12
        lan< icmp tsreply S1a > C1 id=8 seq=3 len=12
        ",
    );
}

#[test]
fn r5508_2_a_query_is_remembered_for_a_minute() {
    play(
        &home(),
        "
        lan> icmp echo C1 > S1a id=7
        wan< icmp echo X > S1a id=$i
        wait 59s
        wan> icmp reply S1a > X id=$i
        lan< icmp reply S1a > C1 id=7
        ",
    );
}

#[test]
fn r5508_2a_the_query_timer_is_configurable() {
    let config = home_and("[conntrack.timeouts]\nicmp = \"90s\"");
    let query = "lan> icmp echo C1 > S1a id=7\nwan< icmp echo X > S1a id=$i\n";
    let reply = "wan> icmp reply S1a > X id=$i\n";
    play(&config, &format!("{query}wait 85s\n{reply}lan< icmp reply S1a > C1 id=7"));
    play(&config, &format!("{query}wait 100s\n{reply}"));
}

#[test]
fn r5508_3_an_error_with_a_wrong_checksum_is_dropped() {
    play(
        &home(),
        &format!(
            "{FLOW}
            wan> icmp 3/3 S1a > X csum=bad [udp X:$p > S1a:53]
            wan> icmp 3/3 S1a > X [udp X:$p > S1a:53]
            lan< icmp 3/3 S1a > C1 [udp C1:1000 > S1a:53]"
        ),
    );
}

#[test]
fn r5508_3a_an_error_whose_quoted_header_has_a_wrong_checksum_is_dropped() {
    each(&home(), |net| {
        net.act(FLOW);
        let mut packet = net.packet("icmp 3/3 S1a > X [udp X:$p > S1a:53]");
        assert_eq!(net.send_bytes("wan", &packet).len(), 1);
        packet[28 + 10] ^= 1;
        mend(&mut packet);
        assert_eq!(net.send_bytes("wan", &packet), []);
    });
}

#[test]
fn r5508_3b_options_of_the_quoted_header_are_skipped() {
    // Record route and time stamp: 32 bytes of header.
    for options in
        ["070b04c6336401c633640200", "440c0d0101020304c6336401", "01010101010101010101010101010100"]
    {
        play(
            &home(),
            &format!(
                "{FLOW}
                wan> icmp 11/0 R1 > X [udp X:$p > S1a:53 ttl=1 opts={options}]
                lan< icmp 11/0 R1 > C1 [udp C1:1000 > S1a:53 ttl=1 opts={options}]
                wan> icmp 3/4 R1 > X mtu=1280 quote=8 [udp X:$p > S1a:53 opts={options}]
                lan< icmp 3/4 R1 > C1 mtu=1280 quote=8 [udp C1:1000 > S1a:53 opts={options}]"
            ),
        );
    }
}

#[test]
fn r5508_3c_the_quoted_checksum_of_the_transport_is_not_looked_at() {
    play(
        &home(),
        &format!(
            "{FLOW}
            lan> tcp C1:1000 > S1a:80 S seq=5
            wan< tcp X:$q > S1a:80 S seq=5
            wan> icmp 3/3 S1a > X [udp X:$p > S1a:53 csum=bad]
            lan< icmp 3/3 S1a > C1 [udp C1:1000 > S1a:53 csum=bad]
            wan> icmp 3/3 S1a > X quote=8 [udp X:$p > S1a:53 len=100]
            lan< icmp 3/3 S1a > C1 quote=8 [udp C1:1000 > S1a:53 len=100]
            wan> icmp 3/3 S1a > X [tcp X:$q > S1a:80 S seq=5 csum=bad]
            lan< icmp 3/3 S1a > C1 [tcp C1:1000 > S1a:80 S seq=5 csum=bad]
            wan> icmp 3/3 S1a > X quote=8 [tcp X:$q > S1a:80 S seq=5]
            lan< icmp 3/3 S1a > C1 quote=8 [tcp C1:1000 > S1a:80 S seq=5]"
        ),
    );
}

#[test]
fn r5508_3d_extensions_and_padding_survive() {
    // RFC 4884: the original datagram takes 32 words, zeros behind it; an MPLS label stack (RFC 4950) follows.
    let mut extension = vec![0x20, 0, 0, 0, 0, 8, 1, 1, 0x00, 0x01, 0x81, 0x01];
    let sum = crate::lab::checksum(&extension);
    extension[2..4].copy_from_slice(&sum.to_be_bytes());
    each(&home(), |net| {
        net.act(FLOW);
        let quoted = net.packet("udp X:$p > S1a:53 len=20 ttl=1");
        let mut body = vec![11, 0, 0, 0, 0, 32, 0, 0];
        body.extend(&quoted);
        body.resize(8 + 128, 0);
        body.extend(&extension);
        let outs = net.send_bytes("wan", &ipv4(1, "R1", "X", &[], &body));
        assert_eq!(outs.len(), 1);
        let out = &outs[0];
        assert!(sums_are_right(&out.packet));
        assert_eq!(out.body()[..2], [11, 0]);
        assert_eq!(out.body()[4..8], [0, 32, 0, 0], "the length of the quote stays");
        let inside = net.packet("udp C1:1000 > S1a:53 len=20 ttl=1");
        let end = 8 + inside.len();
        assert_eq!(out.body()[8..end], inside, "the quote is what C1 sent");
        assert!(out.body()[end..8 + 128].iter().all(|byte| *byte == 0));
        assert_eq!(out.body()[8 + 128..], extension);
    });
}

#[test]
fn r5508_4_an_error_about_nothing_known_is_dropped_silently() {
    play(
        &home(),
        &format!(
            "{FLOW}
            wan> icmp 3/3 S1a > X [udp X:60001 > S1a:53]
            wan> icmp 3/3 S1a > X [udp X:$p > S1a:54]
            wan> icmp 3/3 S1a > X [tcp X:$p > S1a:53 S]"
        ),
    );
}

#[test]
fn r5508_4a_the_quote_becomes_what_the_host_sent() {
    play(
        &home(),
        &format!(
            "{FLOW}
            wan> icmp 3/3 S1a > X [udp X:$p > S1a:53 ttl=3 tos=4 ipid=77 len=40]
            lan< icmp 3/3 S1a > C1 [udp C1:1000 > S1a:53 ttl=3 tos=4 ipid=77 len=40]
            lan> tcp C1:1000 > S1a:80 S seq=5
            wan< tcp X:$q > S1a:80 S seq=5
            wan> icmp 3/3 S1a > X [tcp X:$q > S1a:80 S seq=5]
            lan< icmp 3/3 S1a > C1 [tcp C1:1000 > S1a:80 S seq=5]
            lan> icmp echo C1 > S1a id=7 seq=2
            wan< icmp echo X > S1a id=$i seq=2
            wan> icmp 3/1 R1 > X [icmp echo X > S1a id=$i seq=2]
            lan< icmp 3/1 R1 > C1 [icmp echo C1 > S1a id=7 seq=2]"
        ),
    );
}

#[test]
fn r5508_4b_type_and_code_stay() {
    let mut script = FLOW.to_owned();
    for (kind, code) in (0..=15).map(|code| (3, code)).chain([(11, 0), (11, 1), (12, 0), (4, 0)]) {
        script += &format!(
            "wan> icmp {kind}/{code} R1 > X [udp X:$p > S1a:53]
            lan< icmp {kind}/{code} R1 > C1 [udp C1:1000 > S1a:53]\n"
        );
    }
    play(&home(), &script);
}

#[test]
fn r5508_4c_the_error_goes_to_the_host_and_comes_from_the_router() {
    each(&home(), |net| {
        net.act(FLOW);
        for from in ["R1", "S1a", "S2"] {
            let out = net.pass("wan", &format!("icmp 11/0 {from} > X [udp X:$p > S1a:53 ttl=1]"));
            assert_eq!((out.src().to_string(), out.dst().to_string()), (cast(from), cast("C1")));
        }
    });
}

#[test]
fn r5508_5_an_error_from_inside_about_nothing_known_is_dropped_silently() {
    play(
        &home(),
        &format!(
            "{FLOW}
            lan> icmp 3/3 C1 > S2 [udp S2:5 > C1:77]
            lan> icmp 3/3 C1 > S1a [udp S1a:54 > C1:1000]"
        ),
    );
}

#[test]
fn r5508_5a_the_quote_of_an_error_from_inside_becomes_what_the_server_sent() {
    play(
        &home(),
        &format!(
            "{FLOW}
            wan> udp S1a:53 > X:$p len=30
            lan< udp S1a:53 > C1:1000 len=30
            lan> icmp 3/3 C1 > S1a [udp S1a:53 > C1:1000 len=30 ttl=63]
            wan< icmp 3/3 X > S1a [udp S1a:53 > X:$p len=30 ttl=63]"
        ),
    );
}

#[test]
fn r5508_5b_type_and_code_from_inside_stay() {
    let mut script = format!("{FLOW}wan> udp S1a:53 > X:$p\nlan< udp S1a:53 > C1:1000\n");
    for (kind, code) in [(3, 3), (3, 2), (11, 1), (3, 13), (11, 0), (12, 0)] {
        script += &format!(
            "lan> icmp {kind}/{code} C1 > S1a [udp S1a:53 > C1:1000]
            wan< icmp {kind}/{code} X > S1a [udp S1a:53 > X:$p]\n"
        );
    }
    play(&home(), &script);
}

#[test]
fn r5508_5c_an_error_from_inside_comes_from_the_outside_address() {
    let routed = home_and("[[route]]\nto = \"10.0.0.0/8\"\nvia = \"192.168.1.254\"");
    play(
        &routed,
        "
        lan> udp 10.1.2.3:1000 > S1a:53
        wan< udp X:$p > S1a:53
        wan> udp S1a:53 > X:$p
        lan< udp S1a:53 > 10.1.2.3:1000
        lan> icmp 3/3 10.1.2.3 > S1a [udp S1a:53 > 10.1.2.3:1000]
        wan< icmp 3/3 X > S1a [udp S1a:53 > X:$p]
        lan> icmp 11/0 192.168.1.254 > S1a quote=8 [udp S1a:53 > 10.1.2.3:1000 ttl=1]
        wan< icmp 11/0 X > S1a quote=8 [udp S1a:53 > X:$p ttl=1]
        ",
    );
}

#[test]
fn r5508_6_an_error_about_a_query_neither_refreshes_nor_ends_it() {
    let error = "
        lan> icmp echo C1 > S1a id=7
        wan< icmp echo X > S1a id=$i
        wait 50s
        wan> icmp 11/0 R1 > X [icmp echo X > S1a id=$i ttl=1]
        lan< icmp 11/0 R1 > C1 [icmp echo C1 > S1a id=7 ttl=1]\n";
    let reply = "wan> icmp reply S1a > X id=$i\n";
    play(&home(), &format!("{error}wait 9s\n{reply}lan< icmp reply S1a > C1 id=7"));
    play(&home(), &format!("{error}wait 15s\n{reply}"));
}

#[test]
fn r5508_7a_a_hairpinned_error_shows_nothing_of_the_other_host() {
    let forward = "[[dnat]]\non = \"wan\"\nprotocol = \"udp\"\nport = 5353\nto = \"192.168.1.10:53\"";
    each(&home_and(forward), |net| {
        net.act("lan> udp C2:6000 > X:5353\nlan< udp X:$y > C1:53");
        let error = net.pass("lan", "icmp 3/3 C1 > X [udp X:$y > C1:53]");
        assert_eq!((error.src().to_string(), error.dst().to_string()), (cast("X"), cast("C2")));
        let quote = &error.body()[8..];
        assert_eq!(quote, &net.packet("udp C2:6000 > X:5353")[..], "what C2 sent");
    });
}

/// A pool with so few ports that they run out, and no limit of errors to speak of.
fn four_ports() -> String {
    let keys = "addresses = \"203.0.113.10\"\nports = \"2000-2003\"";
    pool(keys) + "\n[runtime]\nicmp_errors_per_second = 50\n"
}

#[test]
fn r5508_8_without_ports_the_sender_is_told_and_others_go_on() {
    each(&four_ports(), |net| {
        let mut flows = Vec::new();
        let mut told = 0;
        for n in 0..400 {
            let host = 10 + n % 40;
            let outs = net.offer("lan", &format!("udp 192.168.1.{host}:{} > S1a:53", 1000 + n));
            match outs.first() {
                Some(out) if out.interface == "wan" => flows.push((out.source().1, host, 1000 + n)),
                Some(out) => {
                    assert_eq!(out.icmp(), Some((3, 1)));
                    told += 1;
                }
                None => {}
            }
        }
        assert_eq!(flows.len(), 4);
        // All at one moment: the burst of the limit, for each worker that there is.
        assert!((1..=4 * 50).contains(&told), "{told} errors");
        for (port, host, inside) in flows {
            net.act(&format!(
                "wan> udp S1a:53 > 203.0.113.10:{port}\nlan< udp S1a:53 > 192.168.1.{host}:{inside}"
            ));
        }
    });
}

#[test]
fn r5508_10a1_destination_unreachable_is_made_and_forwarded() {
    play(
        &gateway("", "mtu = 1280", "interface", ""),
        &format!(
            "
            lan> udp C1:1000 > S1a:53 len=1372 df
            lan<+ icmp 3/4 G > C1 mtu=1280 quote=528 [udp C1:1000 > S1a:53 len=1372 df ttl=64]
            {FLOW}
            wan> icmp 3/4 R1 > X mtu=1001 [udp X:$p > S1a:53 len=1100 df]
            lan< icmp 3/4 R1 > C1 mtu=1001 [udp C1:1000 > S1a:53 len=1100 df]"
        ),
    );
}

#[test]
fn r5508_10a2_time_exceeded_is_made_and_forwarded() {
    play(
        &home(),
        "
        lan> udp C1:33434 > S1a:33434 ttl=1
        lan<+ icmp 11/0 G > C1 [udp C1:33434 > S1a:33434 ttl=1]
        lan> tcp C1:33434 > S1a:80 S ttl=1
        lan<+ icmp 11/0 G > C1 [tcp C1:33434 > S1a:80 S ttl=1]
        lan> icmp echo C1 > S1a id=3 ttl=1
        lan<+ icmp 11/0 G > C1 [icmp echo C1 > S1a id=3 ttl=1]
        lan> udp C1:33434 > S1a:33435 ttl=2                     # the next hop
        wan< udp X:$p > S1a:33435 ttl=1
        wan> icmp 11/0 R1 > X quote=8 [udp X:$p > S1a:33435 ttl=1]
        lan< icmp 11/0 R1 > C1 quote=8 [udp C1:33434 > S1a:33435 ttl=1]
        wan> icmp 3/3 S1a > X quote=8 [udp X:$p > S1a:33435 ttl=1]
        lan< icmp 3/3 S1a > C1 quote=8 [udp C1:33434 > S1a:33435 ttl=1]
        ",
    );
    // The option to make none.
    play(&home_and("[runtime]\nicmp_errors_per_second = 0"), "lan> udp C1:33434 > S1a:33434 ttl=1");
}

#[test]
fn r5508_10a3_echo_is_answered_and_forwarded() {
    play(
        &home(),
        "
        lan> icmp echo C1 > G id=5 seq=6 len=1000
        lan<+ icmp reply G > C1 id=5 seq=6 len=1000
        lan> icmp echo C1 > X id=5 seq=6
        lan<+ icmp reply X > C1 id=5 seq=6
        wan> icmp echo S1a > X id=5 seq=6
        wan<+ icmp reply X > S1a id=5 seq=6
        lan> icmp echo C1 > S1a id=5 seq=6
        wan< icmp echo X > S1a id=$i seq=6
        wan> icmp reply S1a > X id=$i seq=6
        lan< icmp reply S1a > C1 id=5 seq=6
        ",
    );
}

#[test]
fn r5508_10b1_redirects_are_never_forwarded() {
    let mut script = FLOW.to_owned();
    for code in 0..4 {
        script += &format!("wan> icmp 5/{code} 203.0.113.1 > X [udp X:$p > S1a:53]\n");
        script += &format!("lan> icmp 5/{code} C1 > S1a [udp S1a:53 > C1:1000]\n");
    }
    play(&home(), &script);
}

#[test]
fn r5508_10b2_timestamp_queries_pass() {
    play(
        &home(),
        "
        lan> icmp ts C1 > S1a id=7 seq=1 len=12
        wan< icmp ts X > S1a id=$i seq=1 len=12
        wan> icmp tsreply S1a > X id=$i seq=1 len=12
        lan< icmp tsreply S1a > C1 id=7 seq=1 len=12
        ",
    );
}

#[test]
fn r5508_10b3_source_routes_do_not_pass() {
    // Loose and strict, by 10.0.0.1.
    for kind in ["83", "89"] {
        let route = format!("{kind}07040a00000100");
        play(
            &home(),
            &format!(
                "{FLOW}
                lan> icmp echo C1 > S1a id=7 opts={route}
                lan> udp C1:1001 > S1a:53 opts={route}
                wan> udp S1a:53 > X:$p
                lan< udp S1a:53 > C1:1000
                lan> icmp 3/3 C1 > S1a [udp S1a:53 > C1:1000 opts={route}]
                lan> icmp 3/3 C1 > S1a opts={route} [udp S1a:53 > C1:1000]"
            ),
        );
    }
}

#[test]
fn r5508_10b4_address_mask_queries_do_not_pass() {
    play(
        &home(),
        "lan> icmp 17/0 C1 > S1a id=7 len=4\nwan> icmp 17/0 S1a > X id=7 len=4\nlan> icmp 17/0 C1 > G id=7 len=4",
    );
}

#[test]
fn r5508_10b5_parameter_problems_pass_with_their_pointer() {
    each(&home(), |net| {
        net.act(FLOW);
        let mut packet = net.packet("icmp 12/0 R1 > X [udp X:$p > S1a:53]");
        packet[24] = 20;
        mend(&mut packet);
        let outs = net.send_bytes("wan", &packet);
        assert_eq!(outs.len(), 1);
        assert_eq!(outs[0].body()[4..8], [20, 0, 0, 0], "the pointer");
        assert_eq!(outs[0].body()[8..], net.packet("udp C1:1000 > S1a:53"));
    });
}

#[test]
fn r5508_10b6_router_discovery_does_not_pass() {
    play(
        &home(),
        "
        lan> icmp 9/0 C1 > S1a len=8
        lan> icmp 10/0 C1 > S1a len=0
        lan> icmp 10/0 C1 > 224.0.0.2 len=0
        wan> icmp 9/0 S1a > X len=8
        wan> icmp 10/0 S1a > X len=0
        ",
    );
}

#[test]
fn r5508_10c1_congestion_makes_no_source_quench() {
    each(&home(), |net| {
        net.act(FLOW);
        let lan = net.interface("lan");
        let packet = net.packet("udp C1:1000 > S1a:53");
        // Nobody takes anything off the wire meanwhile, so that the queue fills.
        for _ in 0..5000 {
            net.send_ipv4(lan, &packet);
            for worker in &mut net.workers {
                worker.poll_once(net.now);
            }
        }
        net.run();
        let outs = net.came_out();
        assert!(net.totals()["drop tx_full"] > 0, "congested");
        assert!(outs.len() > 100 && outs.iter().all(|out| out.interface == "wan" && out.icmp().is_none()));
    });
}

#[test]
fn r5508_10c2_information_requests_are_not_answered() {
    play(
        &home(),
        "
        lan> icmp 15/0 C1 > G id=7 len=0
        lan> icmp 15/0 C1 > S1a id=7 len=0
        lan> icmp 16/0 C1 > S1a id=7 len=0
        wan> icmp 15/0 S1a > X id=7 len=0
        wan> icmp 16/0 S1a > X id=7 len=0
        ",
    );
}

#[test]
fn r5508_10d_errors_have_the_ds_field_of_what_they_are_about() {
    play(
        &home(),
        "
        lan> udp C1:1000 > S1a:53 ttl=1 tos=184
        lan<+ icmp 11/0 G > C1 tos=184 [udp C1:1000 > S1a:53 ttl=1 tos=184]
        lan> udp C1:1000 > S1a:53 ttl=1 tos=40
        lan<+ icmp 11/0 G > C1 tos=40 [udp C1:1000 > S1a:53 ttl=1 tos=40]
        ",
    );
}

#[test]
fn r5508_10e_no_error_is_made_about_what_must_not_have_one() {
    play(
        &home(),
        &format!(
            "{FLOW}
            wan> udp S1a:53 > X:$p
            lan< udp S1a:53 > C1:1000
            lan> icmp 3/3 C1 > S1a ttl=1 [udp S1a:53 > C1:1000]
            lan> icmp 11/0 C1 > S1a ttl=1 [udp S1a:53 > C1:1000]
            lan> udp C1:1000 > S1a:53 ttl=1 len=100 part=48-108 ipid=3
            lan> udp C1:1000 > 192.168.1.255:53 ttl=1
            lan> udp C1:1000 > 255.255.255.255:53 ttl=1
            lan> udp C1:1000 > 224.0.0.1:53 ttl=1
            lan> udp 0.0.0.0:1000 > S1a:53 ttl=1
            lan> udp 127.0.0.1:1000 > S1a:53 ttl=1
            lan> udp 240.0.0.1:1000 > S1a:53 ttl=1
            lan> udp 224.0.0.5:1000 > S1a:53 ttl=1
            wait 3s"
        ),
    );
}

#[test]
fn r5508_10f_errors_are_limited_and_traffic_is_not() {
    let limit = 100;
    each(&home_and(&format!("[runtime]\nicmp_errors_per_second = {limit}")), |net| {
        net.act(FLOW);
        let mut errors = 0;
        for n in 0..10_000 {
            errors += net.offer("lan", "udp C1:1000 > S1a:53 ttl=1").len();
            if n % 100 == 0 {
                net.pass("lan", "udp C1:1000 > S1a:53");
                net.now = net.now + Duration::from_millis(10);
            }
        }
        // What one second allows, and the burst before it.
        assert!((limit / 2..=2 * limit).contains(&errors), "{:?}: {errors} errors", net.shape);
    });
}

/// Drops of all reasons together.
fn drops(net: &Net) -> i64 {
    net.totals().iter().filter(|(name, _)| name.starts_with("drop ")).map(|(_, n)| n).sum()
}

#[test]
fn r5508_11_other_types_are_dropped_and_counted() {
    each(&home(), |net| {
        net.act(FLOW);
        for kind in [1, 2, 6, 7, 19, 30, 37, 40, 41, 42, 43, 253, 255] {
            let before = drops(net);
            net.nothing("lan", &format!("icmp {kind}/0 C1 > S1a id=7"));
            net.nothing("wan", &format!("icmp {kind}/0 S1a > X id=7"));
            assert_eq!(drops(net) - before, 2, "type {kind}");
        }
        net.act("wan> udp S1a:53 > X:$p\nlan< udp S1a:53 > C1:1000");
    });
}

#[test]
fn r5508_1a_a_query_has_one_identifier_for_every_destination() {
    each(&home(), |net| {
        let out = net.pass("lan", "icmp echo C1 > S1a id=7").source();
        for to in ["S1b", "S2"] {
            assert_eq!(
                net.pass("lan", &format!("icmp echo C1 > {to} id=7")).source(),
                out,
                "{:?}: {to}",
                net.shape
            );
            net.act(&format!("wan> icmp reply {to} > X id={id}\nlan< icmp reply {to} > C1 id=7", id = out.1));
        }
    });
}

#[test]
fn r5508_7_errors_about_hairpinned_packets_reach_their_sender() {
    each(&filtering(WORDS[0]), |net| {
        let (address, port) = net.pass("lan", "udp C1:1000 > S1a:1").source();
        let seen = net.pass("lan", &format!("udp C2:2000 > {address}:{port}"));
        let (own, source) = seen.source();
        // C1 has closed its port.
        let error = net.pass("lan", &format!("icmp 3/3 C1 > {own} [udp {own}:{source} > C1:1000]"));
        assert_eq!((error.dst().to_string(), error.icmp()), (cast("C2"), Some((3, 3))));
        assert_eq!(error.body()[8..], net.packet(&format!("udp C2:2000 > {address}:{port}")));
    });
}

#[test]
fn r5508_9_errors_can_be_silenced_for_one_interface() {
    play(
        &gateway("", "icmp_errors = false", "interface", ""),
        "
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wan> udp S1a:1 > X:$p ttl=1
        lan> udp C1:1000 > S1a:1 ttl=1
        lan<+ icmp 11/0 G > C1 [udp C1:1000 > S1a:1 ttl=1]
        ",
    );
}

#[test]
fn r5508_7b_queries_between_hosts_translated_one_to_one_come_back_as_they_went() {
    queries_hairpin();
}

/// Of two hosts that have an address outside each, queries and errors about them.
pub(crate) fn queries_hairpin() {
    play(
        &home_and(ONE_TO_ONE),
        "
        lan> icmp echo C2 > 203.0.113.20 id=7 seq=1
        lan< icmp echo 203.0.113.21 > C1 id=7 seq=1
        lan> icmp reply C1 > 203.0.113.21 id=7 seq=1
        lan< icmp reply 203.0.113.20 > C2 id=7 seq=1
        # And an error about a query.
        lan> icmp 3/1 C1 > 203.0.113.21 [icmp echo 203.0.113.21 > C1 id=7 seq=1]
        lan< icmp 3/1 203.0.113.20 > C2 [icmp echo C2 > 203.0.113.20 id=7 seq=1]
        ",
    );
}

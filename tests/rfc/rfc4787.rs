//! RFC 4787: what a NAT does with UDP.

use crate::dialogue::{CLIENT, Dialogue, SERVER};
use crate::lab::{
    REACH, WORDS, cast, each, filtering, gateway, home, home_and, ipv4, play, pool, transport_sum,
    who_reaches,
};
use natgate::config;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn r4787_2_all_flows_of_a_host_have_one_outside_address() {
    each(&pool("addresses = [\"203.0.113.10-203.0.113.13\"]"), |net| {
        let flow = |n: u16| format!("udp C1:{} > {}:53", 2000 + n, ["S1a", "S1b", "S2"][usize::from(n) % 3]);
        let used: BTreeSet<_> = (0..200).map(|n| net.pass("lan", &flow(n)).src()).collect();
        assert_eq!(used.len(), 1, "{used:?}");
        // Not because there were but one.
        let others =
            (20..60).map(|host| net.pass("lan", &format!("udp 192.168.1.{host}:1000 > S1a:53")).src());
        assert_eq!(others.collect::<BTreeSet<_>>().len(), 4);
    });
}

#[test]
fn r4787_3_no_two_inside_endpoints_have_one_outside_endpoint() {
    let few = "addresses = \"203.0.113.10\"\nports = \"2000-2003\"";
    each(&pool(few), |net| {
        let mut owners = Vec::new();
        for host in 10..40 {
            let line = format!("udp 192.168.1.{host}:1000 > S1a:1");
            let outs = net.offer("lan", &line);
            match outs.iter().find(|out| out.interface == "wan") {
                Some(out) => owners.push((out.source(), host)),
                // The newcomer is refused and told so.
                None => assert!(outs.iter().all(|out| out.interface == "lan" && out.icmp() == Some((3, 1)))),
            }
        }
        let endpoints: BTreeSet<_> = owners.iter().map(|(endpoint, _)| *endpoint).collect();
        assert_eq!((owners.len(), endpoints.len()), (4, 4), "each of the four ports has one owner");
        // Nobody was evicted, and the reply to each reaches its owner alone.
        for ((address, port), host) in owners {
            net.act(&format!(
                "wan> udp S1a:1 > {address}:{port}
                lan< udp S1a:1 > 192.168.1.{host}:1000"
            ));
        }
    });
}

#[test]
fn r4787_5_an_idle_mapping_lives_two_minutes_at_least() {
    // Also with the shortest timer that the RFC allows.
    play(
        &home_and("[conntrack.timeouts]\nudp = \"2m\"\nudp_stream = \"2m\""),
        "
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wait 119s
        wan> udp S1a:1 > X:$p
        lan< udp S1a:1 > C1:1000
        ",
    );
}

#[test]
fn r4787_5a_a_well_known_port_may_have_a_shorter_timer() {
    let short = "[conntrack.timeout_set.short]\nudp = \"10s\"\nudp_stream = \"10s\"\n\
        [[conntrack.rule]]\nprotocol = \"udp\"\nport = 53\ntimeouts = \"short\"";
    play(
        &home_and(short),
        "
        lan> udp C1:1000 > S1a:53
        wan< udp X:$p > S1a:53
        lan> udp C1:1001 > S1a:5000
        wan< udp X:$q > S1a:5000
        wait 13s
        wan> udp S1a:53 > X:$p
        wait 106s
        wan> udp S1a:5000 > X:$q
        lan< udp S1a:5000 > C1:1001
        ",
    );
}

#[test]
fn r4787_5b_the_timer_is_configurable() {
    let config = home_and("[conntrack.timeouts]\nudp = \"150s\"\nudp_stream = \"150s\"");
    let alive = "
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wait 145s
        wan> udp S1a:1 > X:$p
        lan< udp S1a:1 > C1:1000";
    let gone = "
        wait 160s
        wan> udp S1a:1 > X:$p";
    play(&config, &format!("{alive}{gone}"));
}

#[test]
fn r4787_5c_the_default_timer_is_five_minutes() {
    play(
        &home(),
        "
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wait 299s
        wan> udp S1a:1 > X:$p
        lan< udp S1a:1 > C1:1000
        wait 299s
        wan> udp S1a:1 > X:$p
        lan< udp S1a:1 > C1:1000
        ",
    );
}

#[test]
fn r4787_6_packets_from_inside_restart_the_timer() {
    play(
        &home(),
        "
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wait 100s
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wait 100s
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wait 110s                     # 310 s after the first, 110 s after the last
        wan> udp S1a:1 > X:$p
        lan< udp S1a:1 > C1:1000
        ",
    );
}

#[test]
fn r4787_6a_packets_from_outside_restart_it_too() {
    let inbound = "
        wait 100s
        wan> udp S1a:1 > X:$p
        lan< udp S1a:1 > C1:1000";
    play(
        &home(),
        &format!(
            "
            lan> udp C1:1000 > S1a:1
            wan< udp X:$p > S1a:1
            {inbound}{inbound}{inbound}
            wait 60s                  # the timer and 60 s after the only packet from inside
            wan> udp S1a:1 > X:$p
            lan< udp S1a:1 > C1:1000
            wait 306s
            wan> udp S1a:1 > X:$p
            "
        ),
    );
}

#[test]
fn r4787_7_the_same_prefix_inside_and_outside_is_refused() {
    let same = home().replace("203.0.113.2/24", "192.168.1.5/24").replace("203.0.113.1", "192.168.1.6");
    let errors = config::parse(&same, "same.toml").map(|_| ()).unwrap_err().to_string();
    assert!(
        errors.contains("192.168.1.0/24") && errors.contains("wan") && errors.contains("lan"),
        "{errors}"
    );
    assert!(config::parse(&home(), "home.toml").is_ok());
}

/// A UDP datagram with this payload.
fn datagram(src: &str, ports: (u16, u16), dst: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    body.extend((8 + payload.len() as u16).to_be_bytes());
    body.extend([0, 0]);
    body.extend(payload);
    let sum = transport_sum(17, cast(src).parse().unwrap(), cast(dst).parse().unwrap(), &body);
    body[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv4(17, src, dst, &[], &body)
}

#[test]
fn r4787_10_payloads_pass_as_they_are_and_open_nothing() {
    const PAYLOADS: [(u16, &[u8]); 6] = [
        (5060, b"INVITE sip:a@198.51.100.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060\r\n\r\nc=IN IP4 192.168.1.10\r\nm=audio 49170 RTP/AVP 0\r\n"),
        (69, b"\x00\x01file\x00octet\x00"),
        (1719, b"\x0e\x80\x00\x00\xc0\xa8\x01\x0a\x06\xb8"),
        (554, b"SETUP rtsp://198.51.100.1/a RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port=5000-5001;destination=192.168.1.10\r\n\r\n"),
        (53, b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0210\x011\x03168\x03192\x07in-addr\x04arpa\x00\x00\x0c\x00\x01"),
        (3478, b"\x01\x01\x00\x0c\x21\x12\xa4\x42aaaaaaaaaaaa\x00\x01\x00\x08\x00\x01\x13\xc4\xc0\xa8\x01\x0a"),
    ];
    each(&home(), |net| {
        for (port, payload) in PAYLOADS {
            let outs = net.send_bytes("lan", &datagram("C1", (port, port), "S1a", payload));
            assert_eq!(outs.len(), 1);
            assert_eq!(&outs[0].body()[8..], payload, "port {port}");
            // What an ALG would have opened.
            let (address, _) = outs[0].source();
            for inside in [5000, 5001, 5060, 49170, 1720] {
                net.nothing("wan", &format!("udp S2:{inside} > {address}:{inside}"));
            }
            let outside = outs[0].word(0);
            let answer = datagram("S1a", (4444, outside), &address.to_string(), b"\x00\x03\x00\x01data");
            if port == 69 {
                // TFTP answers from another port.
                let outs = net.send_bytes("wan", &answer);
                let passes = net.offer("wan", &format!("udp S1a:4445 > {address}:{outside}"));
                assert_eq!(outs.len(), passes.len(), "as filtering says, whatever the payload");
            }
        }
    });
}

#[test]
fn r4787_10a_each_gateway_is_switched_by_itself_and_reads_its_own_protocol_alone() {
    let ask = b"\x00\x01file\x00octet\x00";
    for (on, tftp) in [("[alg.ftp]", false), ("[alg.tftp]", true)] {
        let filter = "[masquerade]\nfiltering = 'address-and-port-dependent'";
        each(&home_and(&format!("{filter}\n{on}")), |net| {
            let outs = net.send_bytes("lan", &datagram("C1", (4000, 69), "S1a", ask));
            assert_eq!(&outs[0].body()[8..], ask);
            let ((address, _), port) = (outs[0].source(), outs[0].word(0));
            let answers = net.offer("wan", &format!("udp S1a:4445 > {address}:{port}"));
            assert_eq!(answers.len(), usize::from(tftp), "{on}");
        });
        each(&home_and(on), |net| {
            let mut control = Dialogue::open(net, ("lan", "192.168.1.10:40000"), "198.51.100.1:21", "wan");
            control.say(net, SERVER, "220 ready\r\n");
            let line = "PORT 192,168,1,10,195,80\r\n";
            assert_eq!(control.say(net, CLIENT, line) == line, tftp, "{on}");
        });
    }
}

#[test]
fn r4787_12_no_icmp_message_ends_a_mapping() {
    let mut script = cast("lan> udp C1:1000 > S1a:1\nwan< udp X:$p > S1a:1\n");
    let unreachable = (0..=15).map(|code| (3, code));
    for (kind, code) in unreachable.chain([(11, 0), (11, 1), (12, 0), (4, 0), (5, 1)]) {
        let passes = kind != 5;
        script += &format!("wan> icmp {kind}/{code} S1a > X [udp X:$p > S1a:1]\n");
        if passes {
            script += &format!("lan< icmp {kind}/{code} S1a > C1 [udp C1:1000 > S1a:1]\n");
        }
        script += "wan> udp S1a:1 > X:$p\nlan< udp S1a:1 > C1:1000\n";
    }
    play(&home(), &script);
}

#[test]
fn r4787_12a_errors_of_routers_on_the_way_pass() {
    play(
        &home(),
        "
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wan> icmp 3/1 R1 > X [udp X:$p > S1a:1]
        lan< icmp 3/1 R1 > C1 [udp C1:1000 > S1a:1]
        wan> icmp 3/1 S2 > X [udp X:$p > S1a:1]
        lan< icmp 3/1 S2 > C1 [udp C1:1000 > S1a:1]
        ",
    );
}

#[test]
fn r4787_12b_destination_unreachable_is_translated() {
    play(
        &home(),
        "
        lan> udp C1:1000 > S1a:1
        wan< udp X:$p > S1a:1
        wan> icmp 3/3 S1a > X [udp X:$p > S1a:1 ttl=55]
        lan< icmp 3/3 S1a > C1 [udp C1:1000 > S1a:1 ttl=55]
        ",
    );
}

#[test]
fn r4787_13_too_large_with_df_is_told_to_the_sender() {
    play(
        &gateway("", "mtu = 1280", "interface", ""),
        "
        lan> udp C1:1000 > S1a:1 len=1372 df
        lan<+ icmp 3/4 G > C1 mtu=1280 quote=528 [udp C1:1000 > S1a:1 len=1372 df ttl=64]
        lan> udp C1:1000 > S1a:1 len=1252 df
        wan< udp X:$p > S1a:1 len=1252 df
        lan> udp C1:1000 > S1a:1 len=1372 df         # with a session
        lan<+ icmp 3/4 G > C1 mtu=1280 quote=528 [udp C1:1000 > S1a:1 len=1372 df ttl=64]
        ",
    );
}

/// Sends three parts of a datagram in an order; the parts that came out as the outside has them, in order of offset.
fn in_parts(net: &mut crate::harness::Net, order: [usize; 3], entry: &str, line: &str) -> Vec<Vec<u8>> {
    let mut out: Vec<_> = order
        .iter()
        .flat_map(|part| {
            let (from, to) = (part * 1480, (part * 1480 + 1480).min(3008));
            net.offer(entry, &format!("{line} len=3000 ipid=9 part={from}-{to}"))
        })
        .collect();
    out.sort_by_key(|out| u16::from_be_bytes([out.packet[6], out.packet[7]]) & 0x1fff);
    out.into_iter().map(|out| out.packet).collect()
}

/// The datagram that these fragments make, as one packet.
fn whole(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = parts[0][..20].to_vec();
    for part in parts {
        let offset = usize::from(u16::from_be_bytes([part[6], part[7]]) & 0x1fff) * 8;
        assert_eq!(offset, packet.len() - 20, "a hole");
        assert_eq!(part[..6][4..], parts[0][..6][4..], "one identification");
        packet.extend(&part[20..]);
    }
    let length = (packet.len() as u16).to_be_bytes();
    packet[2..4].copy_from_slice(&length);
    packet[6..8].fill(0);
    crate::lab::mend(&mut packet);
    packet
}

#[test]
fn r4787_14_fragments_pass_in_every_order_both_ways() {
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    each(&home(), |net| {
        for order in ORDERS {
            let parts = in_parts(net, order, "lan", "udp C1:1000 > S1a:1");
            assert_eq!(parts.len(), 3, "{order:?}");
            let sent = whole(&parts);
            assert!(crate::packet::sums_are_right(&sent), "{order:?}");
            let port = u16::from_be_bytes([sent[20], sent[21]]);
            assert_eq!(sent[12..20], [203, 0, 113, 2, 198, 51, 100, 1]);
            let parts = in_parts(net, order, "wan", &format!("udp S1a:1 > X:{port}"));
            assert_eq!(parts.len(), 3, "{order:?}");
            let received = whole(&parts);
            assert!(crate::packet::sums_are_right(&received), "{order:?}");
            assert_eq!(received[12..20], [198, 51, 100, 1, 192, 168, 1, 10]);
            assert_eq!(u16::from_be_bytes([received[22], received[23]]), 1000);
            net.wait(Duration::from_secs(40));
            net.came_out();
        }
    });
}

#[test]
fn r4787_14a_a_flood_of_fragments_hurts_nobody_else() {
    each(&home(), |net| {
        let port = net.pass("lan", "udp C1:1000 > S1a:1").word(0);
        let wan = net.interface("wan");
        for n in 0..20_000_u32 {
            let flood = format!("udp S2:9 > X:{port} len=100 ipid={} part=48-64", n % 65_536);
            let packet = net.packet(&flood);
            net.send_ipv4(wan, &packet);
            if n % 10 == 9 {
                net.run();
                assert!(net.came_out().is_empty());
            }
            if n % 100 == 99 {
                net.pass("lan", "udp C1:1000 > S1a:1");
                net.pass("wan", &format!("udp S1a:1 > X:{port}"));
                let id = 30_000 + n / 100;
                let part = |part| format!("udp C1:1000 > S1a:1 len=1000 ipid={id} part={part}");
                assert_eq!(net.offer("lan", &part("0-504")).len(), 1, "the first fragment, {n}");
                assert_eq!(net.offer("lan", &part("504-1008")).len(), 1, "and the one in order, {n}");
                net.wait(Duration::from_millis(1));
            }
        }
        // What was held is bounded, and nothing of it is left.
        net.wait(Duration::from_secs(5));
        net.came_out();
    });
}

#[test]
fn r4787_1_a_mapping_does_not_depend_on_the_destination() {
    each(&home(), |net| {
        let out = net.pass("lan", "udp C1:1000 > S1a:1").source();
        for to in ["S1a:2", "S1b:1", "S2:1", "S2:9000"] {
            assert_eq!(
                net.pass("lan", &format!("udp C1:1000 > {to}")).source(),
                out,
                "{:?}: {to}",
                net.shape
            );
        }
        // Every reply finds its way.
        for from in ["S1a:1", "S1a:2", "S1b:1", "S2:1", "S2:9000"] {
            net.act(&format!("wan> udp {from} > X:{}\nlan< udp {from} > C1:1000", out.1));
        }
        assert_ne!(net.pass("lan", "udp C1:1001 > S1a:1").source(), out);
    });
}

#[test]
fn r4787_3a_well_known_ports_map_to_well_known_ones() {
    each(&pool("addresses = \"203.0.113.10\"\nports = \"1-65535\""), |net| {
        for host in 10..40 {
            for (inside, low) in [(500, true), (1023, true), (1024, false), (40_000, false)] {
                let outside = net.pass("lan", &format!("udp 192.168.1.{host}:{inside} > S1a:1")).source().1;
                assert_eq!(outside < 1024, low, "{:?}: {inside} became {outside}", net.shape);
            }
        }
    });
}

#[test]
fn r4787_8_filtering_depends_on_the_address() {
    each(&home(), |net| assert_eq!(who_reaches(net, "udp", ""), REACH[1]));
}

#[test]
fn r4787_8a_filtering_is_the_administrators_choice() {
    for (word, reach) in WORDS.into_iter().zip(REACH) {
        each(&filtering(word), |net| {
            assert_eq!(who_reaches(net, "udp", ""), reach, "{:?}: {word}", net.shape)
        });
    }
}

#[test]
fn r4787_9_a_host_reaches_another_by_its_outside_endpoint() {
    each(&filtering(WORDS[0]), |net| {
        let (address, port) = net.pass("lan", "udp C1:1000 > S1a:1").source();
        let seen = net.pass("lan", &format!("udp C2:2000 > {address}:{port}"));
        assert_eq!(
            (seen.interface.as_str(), seen.dst().to_string(), seen.word(2)),
            ("lan", cast("C1"), 1000)
        );
    });
}

#[test]
fn r4787_9a_a_hairpinned_packet_comes_from_the_senders_outside_endpoint() {
    each(&filtering(WORDS[0]), |net| {
        let (address, port) = net.pass("lan", "udp C1:1000 > S1a:1").source();
        let own = net.pass("lan", "udp C2:2000 > S1a:1").source();
        let seen = net.pass("lan", &format!("udp C2:2000 > {address}:{port}"));
        assert_eq!(seen.source(), own, "{:?}: C2's own mapping", net.shape);
        let answer = net.pass("lan", &format!("udp C1:1000 > {}:{}", own.0, own.1));
        assert_eq!(answer.source(), (address, port));
        assert_eq!((answer.dst().to_string(), answer.word(2)), (cast("C2"), 2000));
    });
}

#[test]
fn r4787_11_the_class_does_not_change_with_load() {
    // None, half, 95 % of the ports taken, and more wanted than there are. Everybody's port inside is 1000: all collide.
    for load in [0, 128, 243, 600] {
        each(&pool("addresses = \"203.0.113.10\"\nports = \"2000-2255\""), |net| {
            let one = net.pass("lan", "udp C1:1000 > S1a:1").source();
            for n in 0..load {
                let _ =
                    net.offer("lan", &format!("udp 192.168.1.{}:{} > S2:77", 12 + n % 200, 1000 + n / 200));
            }
            assert_eq!(who_reaches(net, "udp", ""), REACH[1], "{:?} at {load}", net.shape);
            for to in ["S1b:5", "S1b:6", "S2:1"] {
                assert_eq!(
                    net.pass("lan", &format!("udp C1:1000 > {to}")).source(),
                    one,
                    "{:?} at {load}",
                    net.shape
                );
            }
            // Who is new gets one mapping for every destination, or none.
            let [first, second] = ["S1a:1", "S2:2"].map(|to| {
                let outs = net.offer("lan", &format!("udp C2:5000 > {to}"));
                outs.into_iter().find(|out| out.interface == "wan").map(|out| out.source())
            });
            assert_eq!(first, second, "{:?} at {load}", net.shape);
        });
    }
}

#[test]
fn r4787_13a_without_df_a_packet_is_cut_in_order_and_makes_the_datagram_again() {
    play(
        &gateway("", "mtu = 576", "interface", ""),
        "
        lan> udp C1:1000 > S1a:1 len=1400 ipid=9
        wan< udp X:$p > S1a:1 len=1400 ipid=$id part=0-552
        wan<+ udp X:$p > S1a:1 len=1400 ipid=$id part=552-1104
        wan<+ udp X:$p > S1a:1 len=1400 ipid=$id part=1104-1408
        ",
    );
}

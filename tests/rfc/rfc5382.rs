//! RFC 5382: what a NAT does with TCP.

use crate::lab::{
    REACH, WORDS, cast, each, filtering, gateway, home, home_and, ipv4, play, pool, transport_sum,
    who_reaches,
};

/// A connection from C1:1000 to S1a:80, at 101 and 501.
pub(crate) const OPEN: &str = "
    lan> tcp C1:1000 > S1a:80 S seq=100
    wan< tcp X:$p > S1a:80 S seq=100
    wan> tcp S1a:80 > X:$p SA seq=500 ack=101
    lan< tcp S1a:80 > C1:1000 SA seq=500 ack=101
    lan> tcp C1:1000 > S1a:80 A seq=101 ack=501
    wan< tcp X:$p > S1a:80 A seq=101 ack=501
";

/// Lines for segments of [`OPEN`] that pass: `>` from inside, `<` from outside, and the rest of each line.
pub(crate) fn segments(list: &[(char, &str)]) -> String {
    let line = |(from, rest): &(char, &str)| match from {
        '>' => format!("lan> tcp C1:1000 > S1a:80 {rest}\nwan< tcp X:$p > S1a:80 {rest}\n"),
        '<' => format!("wan> tcp S1a:80 > X:$p {rest}\nlan< tcp S1a:80 > C1:1000 {rest}\n"),
        other => panic!("{other}?"),
    };
    list.iter().map(line).collect()
}

/// Data in both directions passes at these numbers.
fn data(out: u32, back: u32) -> String {
    segments(&[
        ('>', &format!("AP seq={out} ack={back} len=10")),
        ('<', &format!("AP seq={back} ack={} len=10", out + 10)),
    ])
}

#[test]
fn r5382_2_all_valid_sequences_pass_whoever_opened() {
    let half_closed_inside = segments(&[
        ('>', "AF seq=101 ack=501"),
        ('<', "A seq=501 ack=102"),
        ('<', "AP seq=501 ack=102 len=500"),
        ('>', "A seq=102 ack=1001"),
        ('<', "AF seq=1001 ack=102"),
        ('>', "A seq=102 ack=1002"),
    ]);
    let half_closed_outside = segments(&[
        ('<', "AF seq=501 ack=101"),
        ('>', "A seq=101 ack=502"),
        ('>', "AP seq=101 ack=502 len=500"),
        ('<', "A seq=502 ack=601"),
        ('>', "AF seq=601 ack=502"),
        ('<', "A seq=502 ack=602"),
    ]);
    let both_close = segments(&[
        ('>', "AF seq=101 ack=501"),
        ('<', "AF seq=501 ack=101"),
        ('>', "A seq=102 ack=502"),
        ('<', "A seq=502 ack=102"),
    ]);
    let reset = segments(&[('<', "R seq=501")]);
    let aborted = segments(&[('>', "RA seq=101 ack=501")]);
    let urgent = segments(&[('>', "AU seq=101 ack=501 len=1"), ('<', "AU seq=501 ack=102 len=1")]);
    let explicit_congestion = segments(&[('>', "APE seq=101 ack=501 len=3"), ('<', "AC seq=501 ack=104")]);
    let window_closed = segments(&[
        ('<', "A seq=501 ack=101 win=0"),
        ('>', "A seq=100 ack=501"),
        ('<', "A seq=501 ack=101 win=0"),
        // A probe of one byte.
        ('>', "AP seq=101 ack=501 len=1"),
        ('<', "A seq=501 ack=101 win=0"),
        ('<', "A seq=501 ack=101 win=1000"),
        ('>', "AP seq=101 ack=501 len=1000"),
    ]);
    let keepalives = segments(&[
        ('>', "A seq=100 ack=501"),
        ('<', "A seq=501 ack=101"),
        ('<', "A seq=500 ack=101 len=1"),
        ('>', "A seq=101 ack=501"),
    ]);
    let again_and_out_of_order = segments(&[
        ('>', "AP seq=201 ack=501 len=100"),
        ('<', "A seq=501 ack=101"),
        ('>', "AP seq=101 ack=501 len=100"),
        ('>', "AP seq=101 ack=501 len=100"),
        ('<', "A seq=501 ack=301"),
    ]);
    for rest in [
        half_closed_inside,
        half_closed_outside,
        both_close,
        reset,
        aborted,
        urgent,
        explicit_congestion,
        window_closed,
        keepalives,
        again_and_out_of_order,
    ] {
        play(&home(), &format!("{OPEN}{rest}"));
    }
    opened_from_outside();
    more_than_two_gigabytes();
}

/// Through a forward: the same, the other way round.
fn opened_from_outside() {
    let forward = "[[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = 8080\nto = \"192.168.1.10:80\"";
    play(
        &home_and(forward),
        "
        wan> tcp S1a:5000 > X:8080 S seq=500
        lan< tcp S1a:5000 > C1:80 S seq=500
        lan> tcp C1:80 > S1a:5000 SA seq=100 ack=501
        wan< tcp X:8080 > S1a:5000 SA seq=100 ack=501
        wan> tcp S1a:5000 > X:8080 A seq=501 ack=101
        lan< tcp S1a:5000 > C1:80 A seq=501 ack=101
        lan> tcp C1:80 > S1a:5000 AP seq=101 ack=501 len=900
        wan< tcp X:8080 > S1a:5000 AP seq=101 ack=501 len=900
        wan> tcp S1a:5000 > X:8080 AF seq=501 ack=1001
        lan< tcp S1a:5000 > C1:80 AF seq=501 ack=1001
        lan> tcp C1:80 > S1a:5000 AF seq=1001 ack=502
        wan< tcp X:8080 > S1a:5000 AF seq=1001 ack=502
        wan> tcp S1a:5000 > X:8080 A seq=502 ack=1002
        lan< tcp S1a:5000 > C1:80 A seq=502 ack=1002
        ",
    );
}

/// Sequence numbers go round: windows of a gigabyte, one after the other.
fn more_than_two_gigabytes() {
    each(&home(), |net| {
        net.act(
            "
            lan> tcp C1:1000 > S1a:80 S seq=4000000000 ws=14
            wan< tcp X:$p > S1a:80 S seq=4000000000 ws=14
            wan> tcp S1a:80 > X:$p SA seq=500 ack=4000000001 ws=14
            lan< tcp S1a:80 > C1:1000 SA seq=500 ack=4000000001 ws=14
            lan> tcp C1:1000 > S1a:80 A seq=4000000001 ack=501
            wan< tcp X:$p > S1a:80 A seq=4000000001 ack=501
            ",
        );
        const WINDOW: u32 = 60_000 << 14;
        let mut sent = 4_000_000_001_u32;
        for _ in 0..5 {
            net.act(&segments(&[('<', &format!("A seq=501 ack={sent} win=60000"))]));
            // The last byte of the window; the receiver acknowledges all of it.
            let last = sent.wrapping_add(WINDOW - 1000);
            net.act(&segments(&[('>', &format!("AP seq={last} ack=501 len=1000"))]));
            sent = sent.wrapping_add(WINDOW);
        }
        net.act(&segments(&[
            ('<', &format!("A seq=501 ack={sent} win=60000")),
            ('>', &format!("AF seq={sent} ack=501")),
        ]));
    });
}

#[test]
fn r5382_2a_a_simultaneous_open_works() {
    play(
        &home(),
        "
        lan> tcp C1:1000 > S1a:80 S seq=100
        wan< tcp X:$p > S1a:80 S seq=100
        wan> tcp S1a:80 > X:$p S seq=500
        lan< tcp S1a:80 > C1:1000 S seq=500
        lan> tcp C1:1000 > S1a:80 SA seq=100 ack=501
        wan< tcp X:$p > S1a:80 SA seq=100 ack=501
        wan> tcp S1a:80 > X:$p SA seq=500 ack=101
        lan< tcp S1a:80 > C1:1000 SA seq=500 ack=101
        lan> tcp C1:1000 > S1a:80 AP seq=101 ack=501 len=100
        wan< tcp X:$p > S1a:80 AP seq=101 ack=501 len=100
        wan> tcp S1a:80 > X:$p AP seq=501 ack=201 len=100
        lan< tcp S1a:80 > C1:1000 AP seq=501 ack=201 len=100
        wait 600s                                                 # it is established
        wan> tcp S1a:80 > X:$p AP seq=601 ack=201 len=100
        lan< tcp S1a:80 > C1:1000 AP seq=601 ack=201 len=100
        ",
    );
}

#[test]
fn r5382_5_connections_live_for_two_hours_and_the_rest_for_four_minutes() {
    play(&home(), &format!("{OPEN}wait 7439s\n{}", segments(&[('<', "AP seq=501 ack=101 len=1")])));
    play(
        &home(),
        "
        lan> tcp C1:1000 > S1a:80 S seq=100
        wan< tcp X:$p > S1a:80 S seq=100
        wait 239s
        wan> tcp S1a:80 > X:$p SA seq=500 ack=101
        lan< tcp S1a:80 > C1:1000 SA seq=500 ack=101
        wait 239s
        lan> tcp C1:1000 > S1a:80 A seq=101 ack=501
        wan< tcp X:$p > S1a:80 A seq=101 ack=501
        ",
    );
    let half_closed = [('>', "AF seq=101 ack=501")];
    let closed = [half_closed[0], ('<', "AF seq=501 ack=102"), ('>', "A seq=102 ack=502")];
    let late = segments(&[('<', "A seq=501 ack=102")]);
    play(&home(), &format!("{OPEN}{}wait 239s\n{late}", segments(&half_closed)));
    let late = segments(&[('<', "A seq=502 ack=102")]);
    play(&home(), &format!("{OPEN}{}wait 239s\n{late}", segments(&closed)));
}

#[test]
fn r5382_5a_the_timeouts_are_configurable() {
    let config = home_and("[conntrack.timeouts]\ntcp_established = \"60s\"\ntcp_syn_sent = \"60s\"");
    let alive = segments(&[('<', "AP seq=501 ack=101 len=1"), ('>', "A seq=101 ack=502")]);
    play(
        &config,
        &format!("{OPEN}wait 55s\n{alive}wait 70s\nwan> tcp S1a:80 > X:$p AP seq=502 ack=101 len=1"),
    );
    let half_open = "lan> tcp C1:1000 > S1a:80 S seq=100\nwan< tcp X:$p > S1a:80 S seq=100\n";
    let answer = "wan> tcp S1a:80 > X:$p SA seq=500 ack=101\n";
    play(&config, &format!("{half_open}wait 55s\n{answer}lan< tcp S1a:80 > C1:1000 SA seq=500 ack=101"));
    play(&config, &format!("{half_open}wait 70s\n{answer}"));
}

/// A segment of [`OPEN`] with this payload, to another port.
fn segment(port: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut body = [1000_u16.to_be_bytes(), port.to_be_bytes()].concat();
    body.extend(seq.to_be_bytes());
    body.extend(501_u32.to_be_bytes());
    body.extend([0x50, 0x18, 0x20, 0, 0, 0, 0, 0]);
    body.extend(payload);
    let sum = transport_sum(6, cast("C1").parse().unwrap(), cast("S1a").parse().unwrap(), &body);
    body[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(6, "C1", "S1a", &[], &body)
}

#[test]
fn r5382_6_payloads_pass_as_they_are() {
    const PAYLOADS: [(u16, &[u8]); 5] = [
        (5060, b"REGISTER sip:a SIP/2.0\r\nContact: <sip:a@192.168.1.10:5060>\r\n"),
        (554, b"SETUP rtsp://a/b RTSP/1.0\r\nTransport: RTP/AVP;client_port=5000-5001;destination=192.168.1.10\r\n"),
        (1723, b"\x00\x9c\x00\x01\x1a\x2b\x3c\x4d\x00\x07\x00\x00\x00\x01\x00\x02"),
        (6667, b"PRIVMSG b :\x01DCC SEND f 3232235786 5000 10\x01\r\n"),
        (21, b"PORT 192,168,1,10,19,136\r\n"),
    ];
    each(&home(), |net| {
        for (port, payload) in PAYLOADS {
            let open = OPEN.replace(":80", &format!(":{port}"));
            net.act(&open);
            let outs = net.send_bytes("lan", &segment(port, 101, payload));
            assert_eq!(outs.len(), 1);
            assert_eq!(&outs[0].body()[20..], payload, "port {port}");
            assert!(crate::packet::sums_are_right(&outs[0].packet));
            let next = segments(&[('>', &format!("AP seq={} ack=501 len=4", 101 + payload.len()))]);
            net.act(&next.replace(":80", &format!(":{port}")));
            for opened in [5000, 5001] {
                net.nothing("wan", &format!("tcp S1a:20 > X:{opened} S seq=1"));
            }
            net.bindings.forget("$p");
        }
    });
}

#[test]
fn r5382_7_no_two_connections_to_one_server_share_a_port() {
    play(
        &home(),
        "
        lan> tcp C1:1000 > S1a:80 S seq=100
        wan< tcp X:$p > S1a:80 S seq=100
        lan> tcp C2:1000 > S1a:80 S seq=200
        wan< tcp X:$q > S1a:80 S seq=200
        wan> tcp S1a:80 > X:$p SA seq=500 ack=101
        lan< tcp S1a:80 > C1:1000 SA seq=500 ack=101
        wan> tcp S1a:80 > X:$q SA seq=600 ack=201
        lan< tcp S1a:80 > C2:1000 SA seq=600 ack=201
        ",
    );
}

/// A web server on C1, forwarded.
fn forwarded() -> String {
    home_and("[[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = 8080\nto = \"192.168.1.10:80\"")
}

#[test]
fn r5382_8_a_host_inside_connects_to_another_by_its_outside_address() {
    play(
        &forwarded(),
        "
        lan> tcp C2:6000 > X:8080 S seq=100
        lan< tcp X:$y > C1:80 S seq=100
        lan> tcp C1:80 > X:$y SA seq=500 ack=101
        lan< tcp X:8080 > C2:6000 SA seq=500 ack=101
        lan> tcp C2:6000 > X:8080 A seq=101 ack=501
        lan< tcp X:$y > C1:80 A seq=101 ack=501
        lan> tcp C2:6000 > X:8080 AP seq=101 ack=501 len=1000
        lan< tcp X:$y > C1:80 AP seq=101 ack=501 len=1000
        lan> tcp C1:80 > X:$y AP seq=501 ack=1101 len=1000
        lan< tcp X:8080 > C2:6000 AP seq=501 ack=1101 len=1000
        ",
    );
}

#[test]
fn r5382_8a_the_hairpinned_source_is_an_outside_endpoint() {
    each(&forwarded(), |net| {
        let seen = net.pass("lan", "tcp C2:6000 > X:8080 S seq=100");
        assert_eq!(seen.interface, "lan");
        assert_eq!(seen.src().to_string(), cast("X"), "not the address inside");
        assert_eq!(seen.dst().to_string(), cast("C1"));
    });
}

#[test]
fn r5382_9_destination_unreachable_about_tcp_is_translated() {
    play(
        &home(),
        "
        lan> tcp C1:1000 > S1a:80 S seq=100
        wan< tcp X:$p > S1a:80 S seq=100
        wan> icmp 3/1 R1 > X [tcp X:$p > S1a:80 S seq=100]
        lan< icmp 3/1 R1 > C1 [tcp C1:1000 > S1a:80 S seq=100]
        wan> icmp 3/3 S1a > X quote=8 [tcp X:$p > S1a:80 S seq=100]
        lan< icmp 3/3 S1a > C1 quote=8 [tcp C1:1000 > S1a:80 S seq=100]
        wan> icmp 3/4 R1 > X mtu=1280 quote=8 [tcp X:$p > S1a:80 A seq=101 len=1400 df]
        lan< icmp 3/4 R1 > C1 mtu=1280 quote=8 [tcp C1:1000 > S1a:80 A seq=101 len=1400 df]
        ",
    );
}

#[test]
fn r5382_10_no_icmp_message_ends_a_connection() {
    let mut script = OPEN.to_owned();
    let (mut out, mut back) = (101, 501);
    let unreachable = (0..=15).map(|code| (3, code));
    for (kind, code) in unreachable.chain([(11, 0), (11, 1), (12, 0), (4, 0), (5, 1)]) {
        script += &format!("wan> icmp {kind}/{code} R1 > X [tcp X:$p > S1a:80 A seq={out} ack={back}]\n");
        if kind != 5 {
            script +=
                &format!("lan< icmp {kind}/{code} R1 > C1 [tcp C1:1000 > S1a:80 A seq={out} ack={back}]\n");
        }
        script += &data(out, back);
        (out, back) = (out + 10, back + 10);
    }
    script += "wait 7000s\n";
    script += &data(out, back);
    play(&home(), &script);
}

#[test]
fn r5382_half_a_syn_that_is_sent_again_keeps_its_mapping() {
    each(&home(), |net| {
        net.act(
            "
            lan> tcp C1:1000 > S1a:80 S seq=100
            wan< tcp X:$p > S1a:80 S seq=100
            wait 1s
            lan> tcp C1:1000 > S1a:80 S seq=100
            wan< tcp X:$p > S1a:80 S seq=100
            wait 2s
            lan> tcp C1:1000 > S1a:80 S seq=100
            wan< tcp X:$p > S1a:80 S seq=100
            wait 4s
            lan> tcp C1:1000 > S1a:80 S seq=100
            wan< tcp X:$p > S1a:80 S seq=100
            wan> tcp S1a:80 > X:$p SA seq=500 ack=101
            lan< tcp S1a:80 > C1:1000 SA seq=500 ack=101
            ",
        );
        assert_eq!(net.session_count(), 1);
    });
}

#[test]
fn r5382_1_a_mapping_does_not_depend_on_the_destination() {
    each(&home(), |net| {
        let out = net.pass("lan", "tcp C1:1000 > S1a:1 S seq=1").source();
        for to in ["S1b:1", "S2:2", "S1a:2"] {
            let line = format!("tcp C1:1000 > {to} S seq=1");
            assert_eq!(net.pass("lan", &line).source(), out, "{:?}: {to}", net.shape);
            net.act(&format!(
                "wan> tcp {to} > X:{port} SA seq=5 ack=2\nlan< tcp {to} > C1:1000 SA seq=5 ack=2",
                port = out.1
            ));
        }
    });
}

#[test]
fn r5382_3_filtering_depends_on_the_address() {
    each(&home(), |net| assert_eq!(who_reaches(net, "tcp", "S seq=1"), REACH[1]));
    // And what passes is a connection that works.
    play(
        &home(),
        "
        lan> tcp C1:1000 > S1a:1 S seq=1
        wan< tcp X:$p > S1a:1 S seq=1
        wan> tcp S1a:9 > X:$p S seq=500
        lan< tcp S1a:9 > C1:1000 S seq=500
        lan> tcp C1:1000 > S1a:9 SA seq=100 ack=501
        wan< tcp X:$p > S1a:9 SA seq=100 ack=501
        wan> tcp S1a:9 > X:$p A seq=501 ack=101
        lan< tcp S1a:9 > C1:1000 A seq=501 ack=101
        ",
    );
}

#[test]
fn r5382_3a_filtering_is_the_administrators_choice() {
    for (word, reach) in WORDS.into_iter().zip(REACH) {
        each(&filtering(word), |net| {
            assert_eq!(who_reaches(net, "tcp", "S seq=1"), reach, "{:?}: {word}", net.shape)
        });
    }
}

#[test]
fn r5382_3b_filtering_of_tcp_is_not_that_of_udp() {
    let keys = "addresses = \"203.0.113.10\"\nfiltering = { tcp = \"address-dependent\", udp = \"endpoint-independent\" }";
    each(&pool(keys), |net| {
        assert_eq!(who_reaches(net, "udp", ""), REACH[0]);
        assert_eq!(who_reaches(net, "tcp", "S seq=1"), REACH[1]);
    });
}

#[test]
fn r5382_8_hosts_inside_connect_by_mapping() {
    each(&filtering(WORDS[0]), |net| {
        let (address, port) = net.pass("lan", "tcp C1:80 > S1a:1 S seq=1").source();
        net.act(&format!(
            "
            lan> tcp C2:6000 > {address}:{port} S seq=100
            lan< tcp {address}:$y > C1:80 S seq=100
            lan> tcp C1:80 > {address}:$y SA seq=500 ack=101
            lan< tcp {address}:{port} > C2:6000 SA seq=500 ack=101
            lan> tcp C2:6000 > {address}:{port} A seq=101 ack=501
            lan< tcp {address}:$y > C1:80 A seq=101 ack=501
            lan> tcp C2:6000 > {address}:{port} AP seq=101 ack=501 len=1000
            lan< tcp {address}:$y > C1:80 AP seq=101 ack=501 len=1000
            lan> tcp C1:80 > {address}:$y AP seq=501 ack=1101 len=1000
            lan< tcp {address}:{port} > C2:6000 AP seq=501 ack=1101 len=1000"
        ));
    });
}

#[test]
fn r5382_8a_the_source_of_a_hairpin_by_mapping_is_the_senders_mapping() {
    each(&filtering(WORDS[0]), |net| {
        let (address, port) = net.pass("lan", "tcp C1:80 > S1a:1 S seq=1").source();
        let own = net.pass("lan", "tcp C2:6000 > S1a:1 S seq=1").source();
        let seen = net.pass("lan", &format!("tcp C2:6000 > {address}:{port} S seq=100"));
        assert_eq!((seen.source(), seen.dst().to_string()), (own, cast("C1")));
    });
}

#[test]
fn r5382_4_an_unsolicited_syn_is_told_so_after_six_seconds() {
    play(
        &home(),
        "
        wan> tcp S1a:4000 > X:9999 S seq=77
        wait 5900ms
        wait 200ms
        wan<+ icmp 3/3 X > S1a [tcp S1a:4000 > X:9999 S seq=77 ttl=64]
        wait 30s
        ",
    );
}

#[test]
fn r5382_4_if_the_other_syn_comes_in_time_nothing_is_said_and_the_handshake_completes() {
    play(
        &home(),
        "
        lan> tcp C1:1000 > S1b:80 S seq=1
        wan< tcp X:$p > S1b:80 S seq=1
        wan> tcp S1a:4000 > X:$p S seq=70
        wait 3s
        lan> tcp C1:1000 > S1a:4000 S seq=10
        wan< tcp X:$p > S1a:4000 S seq=10
        wan> tcp S1a:4000 > X:$p S seq=70
        lan< tcp S1a:4000 > C1:1000 S seq=70
        lan> tcp C1:1000 > S1a:4000 SA seq=10 ack=71
        wan< tcp X:$p > S1a:4000 SA seq=10 ack=71
        wan> tcp S1a:4000 > X:$p SA seq=70 ack=11
        lan< tcp S1a:4000 > C1:1000 SA seq=70 ack=11
        wait 30s
        ",
    );
}

#[test]
fn r5382_4a_where_the_operator_says_so_nothing_is_ever_said() {
    play(
        &gateway("", "unsolicited_syn = \"silent\"", "interface", ""),
        "
        wan> tcp S1a:4000 > X:9999 S
        wait 30s
        ",
    );
}

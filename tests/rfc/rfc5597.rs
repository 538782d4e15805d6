//! RFC 5597: what a NAT does with DCCP.

use crate::lab::{REACH, WORDS, cast, each, filtering, home, ipv4, play, transport_sum, who_reaches};
use crate::packet::sums_are_right;

/// A connection from C1:5001 to S1a:5002.
const OPEN: &str = "
    lan> dccp C1:5001 > S1a:5002 Request seq=1
    wan< dccp X:$p > S1a:5002 Request seq=1
    wan> dccp S1a:5002 > X:$p Response seq=9
    lan< dccp S1a:5002 > C1:5001 Response seq=9
    lan> dccp C1:5001 > S1a:5002 Ack seq=2
    wan< dccp X:$p > S1a:5002 Ack seq=2
    wan> dccp S1a:5002 > X:$p DataAck seq=10 len=9
    lan< dccp S1a:5002 > C1:5001 DataAck seq=10 len=9
";

/// Packets of [`OPEN`]: `>` from inside, `<` from outside, and the rest of the line.
fn packets(list: &[(char, &str)]) -> String {
    let line = |(from, rest): &(char, &str)| match from {
        '>' => format!("lan> dccp C1:5001 > S1a:5002 {rest}\nwan< dccp X:$p > S1a:5002 {rest}\n"),
        '<' => format!("wan> dccp S1a:5002 > X:$p {rest}\nlan< dccp S1a:5002 > C1:5001 {rest}\n"),
        other => panic!("{other}?"),
    };
    list.iter().map(line).collect()
}

#[test]
fn r5597_2_the_valid_sequences_pass() {
    let closed_by_server = packets(&[
        ('>', "Data seq=3 len=100"),
        ('<', "Sync seq=11"),
        ('>', "SyncAck seq=4"),
        ('<', "CloseReq seq=12"),
        ('>', "Close seq=5"),
        ('<', "Reset seq=13"),
    ]);
    let closed_by_client = packets(&[('>', "Close seq=3"), ('<', "Reset seq=11")]);
    let reset = packets(&[('<', "Reset seq=11")]);
    for rest in [closed_by_server, closed_by_client, reset] {
        play(&home(), &format!("{OPEN}{rest}"));
    }
}

#[test]
fn r5597_4_nothing_is_said_for_six_seconds_about_what_nobody_asked_for() {
    play(
        &home(),
        "
        wan> dccp S1a:5002 > X:5001 Request seq=1
        wan> dccp S1a:5003 > X:5001 Sync seq=1
        wait 5900ms
        wait 200ms
        wan<+ icmp 3/3 X > S1a [dccp S1a:5002 > X:5001 Request seq=1 ttl=64]
        wan<+ icmp 3/3 X > S1a [dccp S1a:5003 > X:5001 Sync seq=1 ttl=64]
        wait 30s
        ",
    );
    each(&home(), |net| {
        let outs = net.send_bytes("wan", &listen("S1a", 5002, "X", 5001));
        assert_eq!(outs, []);
        net.act("wait 5900ms");
    });
}

/// A DCCP-Listen packet (RFC 5596 2.2.1).
fn listen(src: &str, sport: u16, dst: &str, dport: u16) -> Vec<u8> {
    let mut body = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    body.extend([5, 0, 0, 0, 10 << 1 | 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 42]);
    let (from, to) = (cast(src).parse().unwrap(), cast(dst).parse().unwrap());
    let sum = transport_sum(33, from, to, &body);
    body[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv4(33, src, dst, &[], &body)
}

#[test]
fn r5597_5_connections_live_for_two_hours_and_the_rest_for_four_minutes() {
    play(&home(), &format!("{OPEN}wait 7439s\n{}", packets(&[('<', "Data seq=11 len=1")])));
    play(
        &home(),
        "
        lan> dccp C1:5001 > S1a:5002 Request seq=1
        wan< dccp X:$p > S1a:5002 Request seq=1
        wait 239s
        wan> dccp S1a:5002 > X:$p Response seq=9
        lan< dccp S1a:5002 > C1:5001 Response seq=9
        wait 239s
        lan> dccp C1:5001 > S1a:5002 Ack seq=2
        wan< dccp X:$p > S1a:5002 Ack seq=2
        ",
    );
    let server_asks = packets(&[('<', "CloseReq seq=11")]);
    play(&home(), &format!("{OPEN}{server_asks}wait 239s\n{}", packets(&[('>', "Close seq=3")])));
    let client_closes = packets(&[('>', "Close seq=3")]);
    play(&home(), &format!("{OPEN}{client_closes}wait 239s\n{}", packets(&[('<', "Reset seq=11")])));
}

#[test]
fn r5597_6_payloads_pass_as_they_are() {
    each(&home(), |net| {
        net.act(OPEN);
        let sent = net.packet("dccp C1:5001 > S1a:5002 Data seq=3 len=200");
        let out = net.pass("lan", "dccp C1:5001 > S1a:5002 Data seq=3 len=200");
        assert_eq!(out.body()[16..], sent[36..]);
    });
}

#[test]
fn r5597_7_no_two_connections_to_one_server_share_a_port() {
    each(&home(), |net| {
        let one = net.pass("lan", "dccp C1:5001 > S1a:5002 Request seq=1").source();
        let other = net.pass("lan", "dccp C2:5001 > S1a:5002 Request seq=1").source();
        assert_ne!(one, other);
        for ((address, port), host) in [(one, "C1"), (other, "C2")] {
            let reply = net.pass("wan", &format!("dccp S1a:5002 > {address}:{port} Response seq=9"));
            assert_eq!((reply.dst().to_string(), reply.word(2)), (cast(host), 5001));
        }
    });
}

#[test]
fn r5597_9_destination_unreachable_about_dccp_is_translated() {
    play(
        &home(),
        "
        lan> dccp C1:5001 > S1a:5002 Request seq=1
        wan< dccp X:$p > S1a:5002 Request seq=1
        wan> icmp 3/3 S1a > X [dccp X:$p > S1a:5002 Request seq=1]
        lan< icmp 3/3 S1a > C1 [dccp C1:5001 > S1a:5002 Request seq=1]
        wan> icmp 3/4 R1 > X mtu=1280 quote=8 [dccp X:$p > S1a:5002 Request seq=1]
        lan< icmp 3/4 R1 > C1 mtu=1280 quote=8 [dccp C1:5001 > S1a:5002 Request seq=1]
        ",
    );
}

#[test]
fn r5597_10_no_icmp_message_ends_a_connection() {
    let mut script = OPEN.to_owned();
    for (n, (kind, code)) in
        [(3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (4, 0), (5, 1)].iter().enumerate()
    {
        script += &format!("wan> icmp {kind}/{code} R1 > X [dccp X:$p > S1a:5002 Data seq=3 len=9]\n");
        if *kind != 5 {
            script +=
                &format!("lan< icmp {kind}/{code} R1 > C1 [dccp C1:5001 > S1a:5002 Data seq=3 len=9]\n");
        }
        script += &packets(&[
            ('<', &format!("Data seq={} len=9", 11 + n)),
            ('>', &format!("Data seq={} len=9", 3 + n)),
        ]);
    }
    script += "wait 7000s\n";
    script += &packets(&[('<', "Data seq=30 len=9")]);
    play(&home(), &script);
}

/// A Data packet of [`OPEN`] whose checksum covers so much (RFC 4340 9.2), as it arrives.
fn covered(coverage: u8) -> (Vec<u8>, usize) {
    let mut body = [5001_u16.to_be_bytes(), 5002_u16.to_be_bytes()].concat();
    body.extend([4, coverage, 0, 0, 2 << 1 | 1, 0, 0, 0, 0, 0, 0, 3]);
    body.extend(crate::packet::pattern(100));
    let end = if coverage == 0 { body.len() } else { (16 + (usize::from(coverage) - 1) * 4).min(body.len()) };
    let sum = covered_sum("C1", "S1a", &body, end);
    body[6..8].copy_from_slice(&sum.to_be_bytes());
    (ipv4(33, "C1", "S1a", &[], &body), end)
}

fn covered_sum(src: &str, dst: &str, body: &[u8], end: usize) -> u16 {
    let (src, dst): (std::net::Ipv4Addr, std::net::Ipv4Addr) =
        (cast(src).parse().unwrap(), cast(dst).parse().unwrap());
    let length = (body.len() as u16).to_be_bytes();
    crate::lab::checksum(&[&src.octets()[..], &dst.octets(), &[0, 33], &length, &body[..end]].concat())
}

#[test]
fn r5597_11_the_checksum_stays_valid_however_much_it_covers() {
    each(&home(), |net| {
        net.act(OPEN);
        for coverage in 0..=15 {
            let (packet, end) = covered(coverage);
            let outs = net.send_bytes("lan", &packet);
            assert_eq!(outs.len(), 1, "CsCov {coverage}");
            let mut body = outs[0].body().to_vec();
            let seen = u16::from_be_bytes([body[6], body[7]]);
            body[6..8].fill(0);
            assert_eq!(seen, covered_sum("X", "S1a", &body, end), "CsCov {coverage}");
        }
        assert!(sums_are_right(&net.pass("lan", "dccp C1:5001 > S1a:5002 Data seq=4 len=33").packet));
    });
}

#[test]
fn r5597_12_the_checksum_coverage_stays() {
    each(&home(), |net| {
        net.act(OPEN);
        for coverage in 0..=15 {
            let outs = net.send_bytes("lan", &covered(coverage).0);
            assert_eq!(outs[0].body()[5], coverage);
        }
    });
}

#[test]
fn r5597_13_the_service_code_stays() {
    each(&home(), |net| {
        let mut packet = net.packet("dccp C1:5001 > S1a:5002 Request seq=1");
        packet[36..40].copy_from_slice(b"fdpz");
        packet[26..28].fill(0);
        let (src, dst) = (cast("C1").parse().unwrap(), cast("S1a").parse().unwrap());
        let sum = transport_sum(33, src, dst, &packet[20..]);
        packet[26..28].copy_from_slice(&sum.to_be_bytes());
        let outs = net.send_bytes("lan", &packet);
        assert_eq!(outs.len(), 1);
        assert_eq!(&outs[0].body()[16..20], b"fdpz");
        assert!(sums_are_right(&outs[0].packet));
    });
}

#[test]
fn r5597_1_a_mapping_does_not_depend_on_the_destination() {
    each(&home(), |net| {
        let out = net.pass("lan", "dccp C1:5001 > S1a:5002 Request seq=1").source();
        for to in ["S1b:5002", "S2:7"] {
            assert_eq!(net.pass("lan", &format!("dccp C1:5001 > {to} Request seq=1")).source(), out);
        }
    });
}

#[test]
fn r5597_3_filtering_depends_on_the_address_or_as_configured() {
    each(&home(), |net| assert_eq!(who_reaches(net, "dccp", "Request seq=1"), REACH[1]));
    for (word, reach) in WORDS.into_iter().zip(REACH) {
        each(&filtering(word), |net| assert_eq!(who_reaches(net, "dccp", "Request seq=1"), reach, "{word}"));
    }
}

#[test]
fn r5597_8_hosts_inside_connect_by_their_outside_endpoints() {
    each(&filtering(WORDS[0]), |net| {
        let (address, port) = net.pass("lan", "dccp C1:5001 > S1a:5002 Request seq=1").source();
        let own = net.pass("lan", "dccp C2:6001 > S1a:5002 Request seq=1").source();
        let seen = net.pass("lan", &format!("dccp C2:6001 > {address}:{port} Request seq=1"));
        assert_eq!((seen.source(), seen.dst().to_string(), seen.word(2)), (own, cast("C1"), 5001));
        let answer = net.pass("lan", &format!("dccp C1:5001 > {}:{} Response seq=9", own.0, own.1));
        assert_eq!((answer.source(), answer.dst().to_string()), ((address, port), cast("C2")));
    });
}

//! What goes wrong between the gateway and a backend, and what else the world sends.

use super::stage::{Stage, Tcp, tcp};
use super::{
    BACKEND, CLIENT, CLOCK, Connection, SERVICE, THEIRS, backend, backend_syn, connected, full_syn,
    full_syn_ack, proxied, to_backend,
};
use crate::harness::SHAPES;
use etherparse::{Icmpv4Header, Icmpv4Type, IpFragOffset, IpNumber, Ipv4Header};
use std::time::Duration;

#[test]
fn a_lost_syn_is_sent_again_by_the_gateway_and_whenever_the_client_asks() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = Connection::greeted(&mut stage);
        stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
        for (seconds, expected) in [(1, 1), (1, 0), (1, 1), (3, 0), (1, 1), (7, 0), (1, 1), (10, 0)] {
            stage.net.wait(Duration::from_secs(seconds));
            let seen = stage.take();
            stage.compare(&seen, &vec![("lan", &backend_syn()); expected]);
        }
        // A zero window probe: one less than the next number. By now the client's clock says something else.
        let probe = tcp(CLIENT, SERVICE, "A")
            .numbers(1000, connection.cookie.wrapping_add(1), 100)
            .timestamps(790_000, connection.stamp);
        let syn = Tcp { window: 100 << 9, timestamps: Some((790_000, 0)), ..backend_syn() };
        stage.expect("wan", &probe, &[("lan", &syn)]);
        // One with a byte of data, as others ask.
        let probe = Tcp { seq: 1001, len: 1, ..probe };
        stage.expect("wan", &probe, &[("lan", &syn)]);

        let syn_ack = Tcp { timestamps: Some((CLOCK, 790_000)), ..full_syn_ack() };
        let ack = Tcp { window: 100, timestamps: Some((790_000, CLOCK)), ..to_backend("A") };
        let window =
            Tcp { window: 509, timestamps: Some((connection.stamp, 790_000)), ..connection.service("A") };
        stage.expect("lan", &syn_ack, &[("lan", &ack), ("wan", &window)]);
        stage.net.wait(Duration::from_secs(60));
        assert_eq!(stage.take(), [], "nobody asks again");
        stage.net.finish();
    }
}

#[test]
fn a_lost_ack_of_a_client_with_data_is_made_up_for_by_its_probe() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = Connection::greeted(&mut stage);
        let probe = Tcp { seq: 1000, ..connection.ack() };
        stage.expect("wan", &probe, &[("lan", &backend_syn())]);
        assert_eq!(stage.net.session_count(), 1);
        stage.net.finish();
    }
}

#[test]
fn a_backend_that_refuses_resets_the_client() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = Connection::greeted(&mut stage);
        stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
        // Somebody guesses.
        let forged = tcp(BACKEND, CLIENT, "RA").numbers(0, 2000, 0);
        stage.expect("lan", &forged, &[]);
        assert_eq!(stage.count("drop tcp_rst_invalid"), 1);
        let reset = tcp(BACKEND, CLIENT, "RA").numbers(0, 1001, 0);
        // The number that the client waits for (RFC 5961).
        let seen = tcp(SERVICE, CLIENT, "RA").numbers(connection.cookie.wrapping_add(1), 1001, 0);
        stage.expect("lan", &reset, &[("wan", &seen)]);
        stage.net.wait(Duration::from_secs(40));
        assert_eq!(stage.take(), [], "the backend is not asked again");
        stage.net.finish();
    }
}

#[test]
fn a_client_whose_backend_is_silent_is_reset_after_half_a_minute() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = Connection::greeted(&mut stage);
        stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
        stage.net.wait(Duration::from_millis(30_500));
        let seen = stage.take();
        stage.compare(&seen, &[("lan", &backend_syn()); 4]);
        stage.net.wait(Duration::from_secs(1));
        let seen = stage.take();
        stage.compare(&seen, &[("wan", &connection.service("RA"))]);
        assert_eq!((stage.net.session_count(), stage.count("given up")), (0, 1));
        stage.net.finish();
    }
}

#[test]
fn a_client_that_gives_up_resets_its_backend() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = Connection::greeted(&mut stage);
        stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
        let wrong = tcp(CLIENT, SERVICE, "R").numbers(999, 0, 0);
        stage.expect("wan", &wrong, &[]);
        assert_eq!(stage.count("drop tcp_rst_invalid"), 1);
        let reset = tcp(CLIENT, SERVICE, "R").numbers(1001, 0, 0);
        stage.expect("wan", &reset, &[("lan", &tcp(CLIENT, BACKEND, "R").numbers(1001, 0, 0))]);
        stage.net.wait(Duration::from_secs(5));
        assert_eq!(stage.take(), []);
        stage.net.finish();
    }
}

#[test]
fn a_backend_in_an_old_connection_is_made_to_forget_it() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = Connection::greeted(&mut stage);
        stage.expect("wan", &connection.ack(), &[("lan", &backend_syn())]);
        // A challenge ACK (RFC 5961 4).
        let challenge = tcp(BACKEND, CLIENT, "A").numbers(7777, 5555, 500);
        let reset = tcp(CLIENT, BACKEND, "R").numbers(5555, 0, 0);
        stage.expect("lan", &challenge, &[("lan", &reset)]);
        stage.net.wait(Duration::from_millis(1100));
        let seen = stage.take();
        stage.compare(&seen, &[("lan", &backend_syn())]);
        let window = Tcp { window: 509, ..connection.service("A") };
        stage.expect("lan", &full_syn_ack(), &[("lan", &to_backend("A")), ("wan", &window)]);
        stage.net.finish();
    }
}

#[test]
fn a_client_that_begins_anew_before_its_backend_answered_is_connected_by_its_new_number() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let first = Connection::greeted(&mut stage);
        stage.expect("wan", &first.ack(), &[("lan", &backend_syn())]);
        let answer = stage.answer("wan", &Tcp { seq: 90_000, ..full_syn() }, "wan");
        let ack = Tcp { seq: 90_001, ack: answer.seq.wrapping_add(1), ..first.ack() };
        stage.expect("wan", &ack, &[("lan", &Tcp { seq: 90_000, ..backend_syn() })]);
        assert_eq!((stage.net.session_count(), stage.count("closed")), (1, 1));
        // What it sent before is of no connection any more.
        let old = Tcp { ack: first.cookie.wrapping_add(9), ..first.ack() };
        stage.expect("wan", &old, &[]);
        assert_eq!(stage.count("drop syn_cookie_invalid"), 1);
        stage.net.finish();
    }
}

#[test]
fn a_neighbour_that_is_not_known_yet_only_delays() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = Connection::greeted(&mut stage);
        stage.net.silent.insert("192.168.1.10".parse().unwrap());
        stage.expect("wan", &connection.ack(), &[]);
        assert_eq!((stage.net.session_count(), stage.count("held")), (0, 1), "the ACK waits");
        stage.net.silent.clear();
        stage.net.wait(Duration::from_millis(1500));
        let seen = stage.take();
        stage.compare(&seen, &[("lan", &backend_syn())]);
        stage.net.finish();
    }
}

#[test]
fn the_first_fragment_is_renumbered_for_all_of_its_datagram() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = connected(&mut stage);
        let data = backend("AP").len(1000);
        let parts = |packet: &[u8]| {
            let (ip, rest) = Ipv4Header::from_slice(packet).unwrap();
            [(0, 400), (400, rest.len())].map(|(from, to)| {
                let mut ip = ip.clone();
                (ip.identification, ip.dont_fragment) = (77, false);
                ip.more_fragments = to < rest.len();
                ip.fragment_offset = IpFragOffset::try_new((from / 8) as u16).unwrap();
                ip.set_payload_len(to - from).unwrap();
                ip.header_checksum = ip.calc_header_checksum();
                [&ip.to_bytes()[..], &rest[from..to]].concat()
            })
        };
        let mut seen = Vec::new();
        for part in parts(&data.encode()) {
            let out = stage.send_bytes("lan", &part);
            assert_eq!(out.len(), 1);
            assert_eq!(out[0].0, "wan");
            seen.push(out[0].1[20..].to_vec());
        }
        let whole = Tcp { window: 501, ..connection.service("AP") }.len(1000).encode();
        assert_eq!(seen.concat(), whole[20..], "reassembled, it is the renumbered segment");
        stage.net.finish();
    }
}

#[test]
fn a_handshake_in_fragments_or_with_a_wrong_checksum_is_refused() {
    let mut stage = Stage::new(&proxied(), SHAPES[1]);
    let mut damaged = full_syn().encode();
    damaged[36] ^= 1;
    assert_eq!(stage.send_bytes("wan", &damaged), []);
    assert_eq!(stage.count("drop tcp_checksum_wrong"), 1);
    let mut first = full_syn().encode();
    first[6] |= 0x20;
    let (ip, rest) = Ipv4Header::from_slice(&first).unwrap();
    let mut ip = ip;
    ip.header_checksum = ip.calc_header_checksum();
    assert_eq!(rest.len() % 8, 0);
    assert_eq!(stage.send_bytes("wan", &[&ip.to_bytes()[..], rest].concat()), []);
    assert_eq!(stage.count("drop fragment_to_gateway"), 1);
    assert_eq!(stage.count("cookies"), 0);
    for (flags, reason) in
        [("SA", "tcp_not_syn"), ("R", "tcp_not_syn"), ("AF", "tcp_not_syn"), ("SF", "tcp_invalid")]
    {
        let before = stage.count(&format!("drop {reason}"));
        stage.expect("wan", &tcp(CLIENT, SERVICE, flags).numbers(1, 2, 3), &[]);
        assert_eq!(stage.count(&format!("drop {reason}")), before + 1, "{flags}");
    }
    stage.net.finish();
}

/// An ICMP error: fragmentation needed, about a packet.
fn too_big(from: &str, about: &[u8]) -> Vec<u8> {
    let kind = Icmpv4Type::Unknown { type_u8: 3, code_u8: 4, bytes5to8: [0, 0, 5, 0] };
    let message = Icmpv4Header::with_checksum(kind, about);
    let source: std::net::Ipv4Addr = from.parse().unwrap();
    let to = <[u8; 4]>::try_from(&about[12..16]).unwrap();
    let len = (message.header_len() + about.len()) as u16;
    let mut header = Ipv4Header::new(len, 64, IpNumber(1), source.octets(), to).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], &message.to_bytes(), about].concat()
}

#[test]
fn an_icmp_error_quotes_the_number_that_its_receiver_sent() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = connected(&mut stage);
        let data = backend("A").len(1448);
        let sent = stage.answer("lan", &data, "wan");
        let seen = stage.send_bytes("wan", &too_big("198.51.100.254", &sent.encode()[..28]));
        assert_eq!(seen[0].0, "lan");
        let quoted = &seen[0].1[28..];
        assert_eq!(quoted[20..28], data.encode()[20..28], "ports and number of the backend");
        assert!(crate::packet::sums_are_right(&seen[0].1));

        let request = connection.client("A").len(1448);
        let sent = stage.answer("wan", &request, "lan");
        let seen = stage.send_bytes("lan", &too_big("192.168.1.10", &sent.encode()[..28]));
        assert_eq!(seen[0].0, "wan");
        assert_eq!(seen[0].1[28 + 20..28 + 28], request.encode()[20..28]);
        stage.net.finish();
    }
}

#[test]
fn a_repeated_syn_ack_reaches_the_client_which_knows_what_to_do() {
    for shape in SHAPES {
        let mut stage = Stage::new(&proxied(), shape);
        let connection = connected(&mut stage);
        // Our ACK was lost.
        let seen = tcp(SERVICE, CLIENT, "SA")
            .numbers(connection.cookie, 1001, 65_160)
            .mss(1460)
            .scale(7)
            .sack_permitted()
            .timestamps(connection.stamp, 777_010);
        stage.expect("lan", &full_syn_ack(), &[("wan", &seen)]);
        let challenge = connection.client("A");
        stage.expect("wan", &challenge, &[("lan", &to_backend("A"))]);
        assert_eq!(THEIRS.wrapping_add(1), to_backend("A").ack);
        stage.net.finish();
    }
}

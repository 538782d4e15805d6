//! Property: an ICMP error translated there and back is the original, byte for byte but for the TTL; and on the
//! way everything in it is valid.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "property_support/mod.rs"]
mod support;

use natgate::device::membuf::MemPool;
use natgate::nat::rewrite_error;
use natgate::packet::{Kind, PacketBuf, Tuple};
use support::{
    DCCP, GRE, Gen, ICMP, SCTP, Spec, TCP, UDP, UDP_LITE, icmp_error, ones_equal, ones_sum, packet,
    translated,
};

const CASES: u64 = 200_000;

/// A random error: the frame, its outer header, the quoted packet and how much of it is quoted.
fn error(random: &mut Gen) -> (Vec<u8>, Spec, Spec, usize) {
    let protocol = random.pick(&[TCP, TCP, UDP, UDP, ICMP, UDP_LITE, SCTP, DCCP, GRE, 50]);
    let mut quoted = Spec::random(random, protocol);
    quoted.checksum_error = if random.one_in(3) { random.u16() } else { 0 };
    // Of SCTP, no fragment with another port is ever sent.
    if random.one_in(8) && protocol != SCTP {
        // Quotes of first fragments have their ports, too.
        quoted.fragment(random);
        if let support::Part::Later(_) = quoted.part {
            quoted.part = support::Part::Whole;
        }
    }
    let mut outer = Spec::random(random, ICMP);
    outer.ttl = outer.ttl.max(3);
    // As the network delivers it: to the sender of the packet that it is about.
    outer.tuple.dst = quoted.tuple.src;
    let (frame, len) = icmp_error(random, &outer, &quoted);
    (frame, outer, quoted, len)
}

fn l3_of(spec: &Spec) -> usize {
    14 + 4 * usize::from(spec.vlan.is_some())
}

#[test]
fn an_icmp_error_translated_there_and_back_is_the_original() {
    let pool = MemPool::new(1, 2048);
    for case in 0..CASES {
        let random = &mut Gen::case(case);
        let (frame, outer, quoted, _) = error(random);
        let to = translated(random, quoted.tuple);
        let source = random.one_in(2).then(|| random.address());
        let mut packet = packet(&pool, &frame);
        assert_eq!(packet.state.kind, Kind::IcmpError, "case {case}");
        assert_eq!(packet.state.tuple, quoted.tuple.inverse(), "case {case}");

        rewrite_error(&mut packet, source, to).unwrap();
        assert_eq!(packet.state.tuple, to.inverse(), "case {case}");
        let back_to = source.map(|_| outer.tuple.src);
        rewrite_error(&mut packet, back_to, quoted.tuple).unwrap();

        let l3 = l3_of(&outer);
        let mut expected = frame.clone();
        expected[l3 + 8] -= 2;
        support::fix_ipv4_checksum(&mut expected[l3..]);
        assert_eq!(packet.buf.data(), expected, "case {case}: {quoted:?} to {to:?}");
    }
}

#[test]
fn a_translated_icmp_error_is_valid_inside_and_out_and_changed_nowhere_else() {
    let pool = MemPool::new(1, 2048);
    for case in 0..CASES {
        let random = &mut Gen::case(case);
        let (frame, outer, quoted, len) = error(random);
        let to = translated(random, quoted.tuple);
        let source = random.one_in(2).then(|| random.address());
        let mut packet = packet(&pool, &frame);
        rewrite_error(&mut packet, source, to).unwrap();
        let after = packet.buf.data();

        // The packet that should have been quoted, cut off where the quote was, in place of the old quote.
        let mut wanted = quoted.clone();
        wanted.tuple = to;
        let quote = l3_of(&outer) + 20 + outer.options.len() + 8;
        let mut expected = frame.clone();
        expected[quote..quote + len].copy_from_slice(&wanted.ipv4()[..len]);
        let message = &mut expected[quote - 8..];
        message[2..4].fill(0);
        let sum = !ones_sum(&[message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut head = outer.clone();
        head.tuple = Tuple { src: source.unwrap_or(outer.tuple.src), dst: to.src, ..outer.tuple };
        let l3 = l3_of(&outer);
        expected[l3 + 12..l3 + 16].copy_from_slice(&head.tuple.src.octets());
        expected[l3 + 16..l3 + 20].copy_from_slice(&head.tuple.dst.octets());
        expected[l3 + 8] -= 1;
        support::fix_ipv4_checksum(&mut expected[l3..]);

        if quoted.checksum_error == 0 {
            assert_eq!(after, expected, "case {case}: {quoted:?} to {to:?}");
        } else {
            // A quoted checksum that is wrong stays wrong by as much: compare all but its two representations of zero.
            assert_eq!(after.len(), expected.len());
            assert!(ones_equal(ones_sum(&[&after[quote - 8..]]), 0), "case {case}");
            assert_eq!(after[..quote - 6], expected[..quote - 6], "case {case}");
            assert_eq!(after[quote..quote + 20], expected[quote..quote + 20], "case {case}");
        }
        // Whatever was translated can be parsed again.
        assert_eq!(support::packet(&MemPool::new(1, 2048), after).state.tuple, to.inverse(), "case {case}");
    }
}

#[test]
fn a_damaged_icmp_error_is_refused_and_left_alone() {
    let pool = MemPool::new(1, 2048);
    for case in 0..50_000 {
        let random = &mut Gen::case(case);
        let (mut frame, outer, quoted, _) = error(random);
        // Behind the outer header, but not the fields that the parser itself needs.
        let message = l3_of(&outer) + 20 + outer.options.len();
        let quote_end = message + 8 + 20 + quoted.options.len() + 8;
        let at = if quote_end < frame.len() { random.range(quote_end, frame.len() - 1) } else { message + 6 };
        frame[at] ^= random.u8().max(1);
        let mut packet = packet(&pool, &frame);
        let to = translated(random, quoted.tuple);
        assert!(rewrite_error(&mut packet, None, to).is_err(), "case {case}");
        assert_eq!(packet.buf.data(), frame, "case {case}");
    }
}

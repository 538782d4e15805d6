//! Property: updating checksums incrementally gives, byte for byte, what computing them anew gives. One million
//! cases in all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "property_support/mod.rs"]
mod support;

use natgate::device::membuf::MemPool;
use natgate::nat::{Translation, rewrite};
use natgate::packet::PacketBuf;
use natgate::wire::checksum::{self, Delta};
use support::{
    DCCP, Gen, ICMP, Part, SCTP, Spec, TCP, UDP, UDP_LITE, ones_equal, ones_sum, packet, translated,
};

/// Translates a packet with natgate; returns the frame.
fn rewritten(pool: &MemPool, spec: &Spec, translation: &Translation) -> Vec<u8> {
    let mut packet = packet(pool, &spec.frame());
    if let Part::Later(_) = spec.part {
        // The parser knows no ports of a later fragment; here they come from the first.
        packet.state.tuple = spec.tuple;
    }
    rewrite(&mut packet, translation).unwrap();
    assert_eq!(packet.state.tuple, translation.to);
    packet.buf.data().to_vec()
}

#[test]
fn a_translated_packet_is_what_building_it_anew_with_the_new_addresses_gives() {
    let pool = MemPool::new(1, 2048);
    let mut whole = 0;
    for case in 0..500_000 {
        let random = &mut Gen::case(case);
        let protocol = random.pick(&[TCP, TCP, UDP, UDP, ICMP, UDP_LITE, SCTP, DCCP]);
        let mut from = Spec::random(random, protocol);
        if random.one_in(4) {
            from.fragment(random);
        }
        if protocol == SCTP && random.one_in(3) {
            // A wrong CRC stays wrong by the same bits.
            from.checksum_error = random.u16();
        }
        let mut to = from.clone();
        to.tuple = translated(random, from.tuple);
        to.ttl -= 1;
        if protocol == SCTP && from.part != Part::Whole {
            // Fragments whose port would change are refused.
            (to.tuple.sport, to.tuple.dport) = (from.tuple.sport, from.tuple.dport);
        }
        let translation = match from.part {
            Part::Later(_) => Translation::new(from.tuple, to.tuple),
            _ => {
                whole += u32::from(from.part == Part::Whole);
                Translation::new(packet(&pool, &from.frame()).state.tuple, to.tuple)
            }
        };
        assert_eq!(
            rewritten(&pool, &from, &translation),
            to.frame(),
            "case {case}: {from:?} to {:?}",
            to.tuple
        );
    }
    assert!(whole > 300_000, "{whole}");
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_sent_as_ones() {
    let pool = MemPool::new(1, 2048);
    for case in 0..50_000 {
        let random = &mut Gen::case(case);
        let mut to = Spec::random(random, UDP);
        let from = translated(random, to.tuple);
        to.udp_without_checksum = false;
        // The first word of the payload is what makes the whole sum up to ones.
        to.payload.resize(to.payload.len().max(2), 0);
        to.payload[..2].fill(0);
        let sum = u16::from_be_bytes(to.datagram()[6..8].try_into().unwrap());
        to.payload[..2].copy_from_slice(&sum.to_be_bytes());
        let mut before = to.clone();
        before.tuple = from;
        before.ttl = to.ttl.max(3);
        to.ttl = before.ttl - 1;
        assert_eq!(to.datagram()[6..8], [0xff, 0xff], "case {case}");
        let after = rewritten(&pool, &before, &Translation::new(from, to.tuple));
        assert_eq!(after, to.frame(), "case {case}");
    }
}

#[test]
fn a_wrong_checksum_stays_wrong_by_the_same_amount() {
    let pool = MemPool::new(1, 2048);
    // What the transport part sums up to, its pseudo-header included; ones if the checksum is right.
    let total = |spec: &Spec, datagram: &[u8]| {
        let tuple = spec.tuple;
        let len = u16::try_from(datagram.len()).unwrap().to_be_bytes();
        let pseudo = [&tuple.src.octets()[..], &tuple.dst.octets(), &[0, tuple.protocol], &len].concat();
        ones_sum(&[datagram, if tuple.protocol == ICMP { &[] } else { &pseudo }])
    };
    for case in 0..150_000 {
        let random = &mut Gen::case(case);
        let protocol = random.pick(&[TCP, UDP, ICMP, DCCP]);
        let mut from = Spec::random(random, protocol);
        from.udp_without_checksum = false;
        from.checksum_error = random.u16();
        let mut to = from.clone();
        to.tuple = translated(random, from.tuple);
        let before = total(&from, &from.datagram());
        let after = rewritten(&pool, &from, &Translation::new(from.tuple, to.tuple));
        let l4 = 14 + 4 * usize::from(from.vlan.is_some()) + 20 + from.options.len();
        assert!(ones_equal(before, total(&to, &after[l4..])), "case {case}: {from:?}");
        assert_eq!(ones_equal(before, 0), ones_equal(from.checksum_error, 0), "case {case}");
    }
}

#[test]
fn a_delta_of_any_words_gives_the_checksum_of_the_changed_words() {
    for case in 0..300_000 {
        let random = &mut Gen::case(case);
        let len = random.range(2, 40) * 2;
        let mut bytes = random.bytes(len);
        // A sum over nothing but zeros is the one that has two representations.
        bytes[0] |= 1;
        let before = checksum::checksum(&bytes);
        assert_eq!(before, !ones_sum(&[&bytes]), "case {case}");
        let mut delta = Delta::ZERO;
        for _ in 0..random.range(0, 6) {
            let at = random.range(1, len / 2 - 1) * 2;
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let new = random.u16();
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            delta = delta.and(Delta::word(old, new));
        }
        let after = delta.apply(before);
        assert_eq!(after, checksum::checksum(&bytes), "case {case}");
        assert_eq!(delta.reverse().apply(after), before, "case {case}");
    }
}

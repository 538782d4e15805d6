//! Property: the classifier finds the entry that asking one after the other finds, 1.2 million packets of random rule
//! sets in all; and cases by hand at its limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "property_support/first_match.rs"]
mod first_match;
#[path = "property_support/mod.rs"]
mod support;

use first_match::first_match;
use ipnet::Ipv4Net;
use natgate::classify::PrefixSet;
use natgate::classify::notrack::classifier::MAX_ENTRIES;
use natgate::classify::notrack::{Classifier, InterfaceMask, Match, TcpFlags};
use natgate::ids::InterfaceId;
use natgate::packet::Tuple;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use support::{GRE, Gen, ICMP, SCTP, TCP, UDP};

/// What a random rule set is made of; packets are made of the same, so that they match.
struct World {
    sets: Vec<Vec<Ipv4Net>>,
    entries: Vec<Match>,
    /// Addresses and ports at which something changes, and their neighbours.
    addresses: Vec<u32>,
    ports: Vec<u16>,
    protocols: Vec<u8>,
}

const PROTOCOLS: [u8; 9] = [TCP, TCP, TCP, UDP, UDP, ICMP, GRE, SCTP, 255];

impl World {
    fn random(random: &mut Gen) -> World {
        let mut world = World {
            sets: Vec::new(),
            entries: Vec::new(),
            addresses: vec![0, u32::MAX],
            ports: vec![0, u16::MAX],
            protocols: PROTOCOLS.to_vec(),
        };
        world.protocols.push(random.u8());
        // Few places make prefixes nest and touch; often all in one /16, so that the trie grows deep.
        let place = if random.one_in(2) { 0xffff_0000 } else { 0x0f03_000f };
        let long = random.one_in(2);
        for _ in 0..random.range(0, 12) {
            let size = if random.one_in(8) { 300 } else { 6 };
            let set = (0..random.range(0, size)).map(|_| world.prefix(random, place, long)).collect();
            world.sets.push(set);
        }
        let entries = random.pick(&[1, 5, 70, 70, 300]);
        for _ in 0..random.range(0, entries) {
            let entry = world.entry(random);
            world.entries.push(entry);
        }
        world
    }

    fn prefix(&mut self, random: &mut Gen, place: u32, long: bool) -> Ipv4Net {
        let length = match random.range(0, 9) {
            0 => random.range(0, 32),
            1..=3 if !long => random.range(8, 16),
            _ => random.range(17, 32),
        };
        let mut bits = u32::try_from(random.u64() >> 32).unwrap();
        if place == 0xffff_0000 {
            bits = bits & 0xffff | 0x0a00_0000 | (bits >> 30) << 16;
        } else {
            bits &= place;
        }
        let net = Ipv4Net::new(Ipv4Addr::from_bits(bits), u8::try_from(length).unwrap()).unwrap().trunc();
        for border in [net.network().to_bits(), net.broadcast().to_bits()] {
            self.addresses.extend([border.wrapping_sub(1), border, border.wrapping_add(1)]);
        }
        net
    }

    fn ports(&mut self, random: &mut Gen) -> Vec<RangeInclusive<u16>> {
        let count = if random.one_in(3) { 0 } else { random.range(0, 3) };
        let mut ranges = Vec::new();
        for _ in 0..count {
            let known = random.pick(&self.ports);
            let first = if random.one_in(2) { known } else { random.u16() };
            let last = match random.range(0, 3) {
                0 => u16::MAX,
                1 => first,
                _ => first.saturating_add(random.u16() >> random.range(0, 15)),
            };
            self.ports.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
            // Now and then one that holds no port.
            ranges.push(if random.one_in(40) { last..=first } else { first..=last });
        }
        ranges
    }

    fn entry(&mut self, random: &mut Gen) -> Match {
        // The number after the last set: a set that is not there.
        let sets = self.sets.len();
        let side = |random: &mut Gen| (!random.one_in(3)).then(|| random.range(0, sets));
        let arrive = match random.range(0, 2) {
            0 => InterfaceMask::ALL,
            1 => InterfaceMask(random.u64()),
            _ => [InterfaceId(random.u8() & 63)].into_iter().collect(),
        };
        let count = if random.one_in(3) { 0 } else { random.range(1, 3) };
        let flags = random.one_in(3).then(|| {
            let mask = random.u8();
            TcpFlags { mask, set: if random.one_in(10) { random.u8() } else { random.u8() & mask } }
        });
        Match {
            arrive,
            protocols: (0..count).map(|_| random.pick(&self.protocols)).collect(),
            src: side(random),
            dst: side(random),
            sports: self.ports(random),
            dports: self.ports(random),
            flags,
        }
    }

    fn address(&self, random: &mut Gen) -> Ipv4Addr {
        match random.range(0, 9) {
            0 => random.address(),
            _ => Ipv4Addr::from_bits(random.pick(&self.addresses)),
        }
    }

    fn packet(&self, random: &mut Gen) -> Packet {
        let port = |random: &mut Gen| if random.one_in(4) { random.u16() } else { random.pick(&self.ports) };
        let tuple = Tuple {
            src: self.address(random),
            dst: self.address(random),
            sport: port(random),
            dport: port(random),
            protocol: if random.one_in(10) { random.u8() } else { random.pick(&self.protocols) },
        };
        (InterfaceId(random.u8() & 63), tuple, (!random.one_in(3)).then(|| random.u8()))
    }

    fn compiled(&self) -> Vec<PrefixSet> {
        self.sets.iter().map(|nets| PrefixSet::new(nets.iter().copied())).collect()
    }
}

type Packet = (InterfaceId, Tuple, Option<u8>);

#[test]
fn the_entry_is_found_that_asking_one_after_the_other_finds() {
    let (mut hits, mut packets) = (0u32, 0u32);
    for case in 0..1_000 {
        let random = &mut Gen::case(case);
        let (world, other) = (World::random(random), World::random(random));
        let sets = world.compiled();
        let errors: Vec<Match> = other.entries;
        let (classifier, of_errors) = Classifier::pair(&world.entries, &errors, &sets);
        for _ in 0..600 {
            let (interface, tuple, flags) = world.packet(random);
            let expected = first_match(&world.entries, &sets, interface, &tuple, flags);
            let found = classifier.find(interface, &tuple, flags);
            assert_eq!(
                found, expected,
                "case {case}: {interface:?} {tuple:?} {flags:?} of {:?}",
                world.entries
            );
            let expected = first_match(&errors, &sets, interface, &tuple, flags);
            let found = of_errors.find(interface, &tuple, flags);
            assert_eq!(
                found, expected,
                "case {case}, errors: {interface:?} {tuple:?} {flags:?} of {errors:?}"
            );
            hits += u32::from(expected.is_some());
            packets += 2;
        }
    }
    // Neither all nor none, or nothing was tested.
    assert!(packets >= 1_000_000 && (packets / 20..packets / 2).contains(&hits), "{hits} of {packets}");
}

fn any() -> Match {
    Match {
        arrive: InterfaceMask::ALL,
        protocols: Vec::new(),
        src: None,
        dst: None,
        sports: Vec::new(),
        dports: Vec::new(),
        flags: None,
    }
}

fn set(nets: &[&str]) -> PrefixSet {
    PrefixSet::new(nets.iter().map(|net| net.parse().unwrap()))
}

fn udp(src: &str, dst: &str, dport: u16) -> Tuple {
    Tuple { src: src.parse().unwrap(), dst: dst.parse().unwrap(), sport: 1024, dport, protocol: UDP }
}

const LAN: InterfaceId = InterfaceId(0);

#[test]
fn the_last_of_4096_entries_is_found_and_one_beyond_is_not_there() {
    let mut entries: Vec<Match> =
        (0..4096u16).map(|n| Match { dports: vec![n..=n], protocols: vec![UDP], ..any() }).collect();
    entries.push(any());
    assert_eq!(entries.len(), MAX_ENTRIES + 1);
    let classifier = Classifier::new(&entries, &[]);
    for (dport, expected) in [(0, Some(0)), (63, Some(63)), (64, Some(64)), (4095, Some(4095)), (4096, None)]
    {
        assert_eq!(classifier.find(LAN, &udp("10.0.0.1", "10.0.0.2", dport), None), expected, "{dport}");
    }
}

#[test]
fn of_4096_entries_that_fail_in_different_dimensions_the_one_that_holds_is_found() {
    // Every word has bits in every row but a common one only in the last.
    let sets = [set(&["10.0.0.0/8"]), set(&["192.0.2.0/24"])];
    let mut entries: Vec<Match> = (0..4096)
        .map(|n| Match {
            src: Some(n % 2),
            dports: if n % 2 == 0 { vec![1..=1] } else { vec![2..=2] },
            ..any()
        })
        .collect();
    let tuple = udp("10.0.0.1", "192.0.2.1", 2);
    assert_eq!(Classifier::new(&entries, &sets).find(LAN, &tuple, None), None);
    entries[4095] = any();
    assert_eq!(Classifier::new(&entries, &sets).find(LAN, &tuple, None), Some(4095));
}

#[test]
fn addresses_at_both_ends_are_told_from_their_neighbours() {
    let sets = [set(&["0.0.0.0/32", "255.255.255.255/32"]), set(&["0.0.0.0/0"]), set(&[])];
    let of = |src| Match { src: Some(src), ..any() };
    let classifier = Classifier::new(&[of(2), of(0), of(1)], &sets);
    for (src, expected) in [
        ("0.0.0.0", 1),
        ("0.0.0.1", 2),
        ("127.255.255.255", 2),
        ("255.255.255.254", 2),
        ("255.255.255.255", 1),
    ] {
        assert_eq!(classifier.find(LAN, &udp(src, "10.0.0.2", 1), None), Some(expected), "{src}");
    }
}

#[test]
fn a_set_that_is_empty_or_not_there_holds_nobody() {
    let sets = [set(&[])];
    let entries = [Match { src: Some(0), ..any() }, Match { dst: Some(7), ..any() }];
    assert_eq!(Classifier::new(&entries, &sets).find(LAN, &udp("10.0.0.1", "10.0.0.2", 1), None), None);
    let tuple = udp("0.0.0.0", "255.255.255.255", 1);
    assert_eq!(Classifier::new(&entries, &sets).find(LAN, &tuple, None), None);
}

#[test]
fn without_entries_nothing_is_found() {
    let tuple = udp("10.0.0.1", "10.0.0.2", 53);
    assert_eq!(Classifier::default().find(LAN, &tuple, None), None);
    assert_eq!(Classifier::new(&[], &[set(&["0.0.0.0/0"])]).find(LAN, &tuple, None), None);
    let (packets, errors) = Classifier::pair(&[any()], &[], &[]);
    assert_eq!(packets.find(LAN, &tuple, None), Some(0));
    assert_eq!(errors.find(LAN, &tuple, None), None);
}

#[test]
fn an_entry_with_flags_is_not_for_a_packet_without() {
    let syn = TcpFlags { mask: 0x12, set: 0x02 };
    let asked = Match { protocols: vec![TCP], flags: Some(syn), ..any() };
    // Even one that every flag would do for.
    let any_flags = Match { flags: Some(TcpFlags { mask: 0, set: 0 }), ..any() };
    let classifier = Classifier::new(&[asked, any_flags, any()], &[]);
    let tuple = Tuple { protocol: TCP, ..udp("10.0.0.1", "10.0.0.2", 80) };
    for (flags, expected) in [(Some(0x02), 0), (Some(0x12), 1), (Some(0x10), 1), (None, 2)] {
        assert_eq!(classifier.find(LAN, &tuple, flags), Some(expected), "{flags:?}");
    }
}

#[test]
fn every_address_of_a_slash_16_can_differ_from_its_neighbours() {
    let every_other = (0..32_768u32).map(|n| Ipv4Net::from(Ipv4Addr::from_bits(0x0a00_0000 + 2 * n)));
    let sets = [PrefixSet::new(every_other), set(&["10.0.0.0/16"])];
    let entries = [0, 1].map(|set| Match { dst: Some(set), ..any() });
    let classifier = Classifier::new(&entries, &sets);
    for n in 0..65_536u32 {
        let dst = Ipv4Addr::from_bits(0x0a00_0000 + n);
        let tuple = Tuple { dst, ..udp("10.0.0.1", "10.0.0.2", 1) };
        assert_eq!(classifier.find(LAN, &tuple, None), Some(u16::from(n % 2 == 1)), "{dst}");
    }
}

#[test]
fn a_hundred_thousand_random_prefixes_are_found_again() {
    let random = &mut Gen::case(0);
    let mut nets = vec![Vec::new(); 500];
    for _ in 0..100_000 {
        let length = u8::try_from(random.range(12, 32)).unwrap();
        let net = Ipv4Net::new(random.address(), length).unwrap().trunc();
        let set = random.range(0, nets.len() - 1);
        nets[set].push(net);
    }
    let sets: Vec<_> = nets.iter().map(|nets| PrefixSet::new(nets.iter().copied())).collect();
    let entries: Vec<_> = (0..sets.len()).map(|set| Match { src: Some(set), ..any() }).collect();
    let classifier = Classifier::new(&entries, &sets);
    for net in nets.iter().flatten().step_by(29) {
        for src in [net.network(), net.broadcast()] {
            let tuple = Tuple { src, ..udp("10.0.0.1", "10.0.0.2", 1) };
            let expected = first_match(&entries, &sets, LAN, &tuple, None);
            assert!(expected.is_some());
            assert_eq!(classifier.find(LAN, &tuple, None), expected, "{src}");
        }
    }
}

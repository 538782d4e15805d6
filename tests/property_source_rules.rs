//! Property: the source translation rule is found that asking one after the other finds, for few rules and for as many as
//! there may be; and cases by hand at the limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "property_support/first_rule.rs"]
mod first_rule;
#[path = "property_support/mod.rs"]
mod support;

use first_rule::first_rule;
use ipnet::Ipv4Net;
use natgate::classify::source_rules::{MAX_RULES, Match};
use natgate::classify::{InterfaceMask, PrefixSet, SourceRules};
use natgate::ids::InterfaceId;
use natgate::packet::Tuple;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use support::{GRE, Gen, ICMP, TCP, UDP};

const LAN: InterfaceId = InterfaceId(0);
const WAN: InterfaceId = InterfaceId(1);

fn any() -> Match {
    Match {
        arrive: InterfaceMask::ALL,
        leave: InterfaceMask::ALL,
        protocols: Vec::new(),
        src: None,
        dst: None,
        sports: Vec::new(),
        dports: Vec::new(),
    }
}

/// Rules of few addresses and ports, so that packets of the same satisfy some in each dimension and few in all.
struct World {
    sets: Vec<PrefixSet>,
    rules: Vec<Match>,
    ports: Vec<u16>,
}

impl World {
    fn random(random: &mut Gen, rules: usize) -> World {
        let sets = (0..random.range(1, 40)).map(|_| {
            let nets = (0..random.range(0, 4)).map(|_| {
                let length = u8::try_from(random.range(20, 32)).unwrap();
                Ipv4Net::new(address(random), length).unwrap().trunc()
            });
            PrefixSet::new(nets.collect::<Vec<_>>())
        });
        let sets: Vec<PrefixSet> = sets.collect();
        let ports: Vec<u16> = (0..6).map(|_| random.u16()).collect();
        let rules = (0..rules).map(|_| rule(random, sets.len(), &ports)).collect();
        World { sets, rules, ports }
    }

    fn packet(&self, random: &mut Gen) -> ((InterfaceId, InterfaceId), Tuple) {
        let port =
            |random: &mut Gen| random.pick(&self.ports).wrapping_add(random.pick(&[0, 0, 1, u16::MAX]));
        let tuple = Tuple {
            src: address(random),
            dst: address(random),
            sport: port(random),
            dport: port(random),
            protocol: random.pick(&[TCP, UDP, ICMP, GRE]),
        };
        ((InterfaceId(random.u8() & 63), InterfaceId(random.u8() & 3)), tuple)
    }
}

/// One of 4,096 addresses.
fn address(random: &mut Gen) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 | u32::try_from(random.range(0, 4095)).unwrap())
}

/// Of each key as often none as not, so that rules far behind are found too.
fn rule(random: &mut Gen, sets: usize, ports: &[u16]) -> Match {
    // The number after the last set: a set that is not there.
    let set = |random: &mut Gen| (!random.one_in(3)).then(|| random.range(0, sets));
    let ranges = |random: &mut Gen| -> Vec<RangeInclusive<u16>> {
        let count = if random.one_in(2) { 0 } else { random.range(1, 3) };
        (0..count)
            .map(|_| {
                let first = random.pick(ports);
                first..=first.saturating_add(random.u16() >> random.range(8, 15))
            })
            .collect()
    };
    let mask =
        |random: &mut Gen| if random.one_in(2) { InterfaceMask::ALL } else { InterfaceMask(random.u64()) };
    let count = random.range(0, 2);
    Match {
        arrive: mask(random),
        leave: mask(random),
        protocols: (0..count).map(|_| random.pick(&[TCP, TCP, UDP, ICMP])).collect(),
        src: set(random),
        dst: set(random),
        sports: ranges(random),
        dports: ranges(random),
    }
}

/// Compares a number of packets; how many of them some rule was for.
fn compare(case: u64, rules: usize, packets: usize) -> usize {
    let random = &mut Gen::case(case);
    let world = World::random(random, rules);
    let compiled = SourceRules::new(&world.rules, &world.sets);
    let same = |_: &usize| {
        let (interfaces, tuple) = world.packet(random);
        let expected = first_rule(&world.rules, &world.sets, interfaces, &tuple);
        assert_eq!(
            compiled.find(interfaces.0, interfaces.1, &tuple),
            expected,
            "case {case} of {rules} rules: {interfaces:?} {tuple:?}"
        );
        expected.is_some()
    };
    (0..packets).filter(same).count()
}

#[test]
fn the_rule_is_found_that_asking_one_after_the_other_finds() {
    let mut hits = 0;
    for case in 0..400 {
        let rules = Gen::case(case ^ 0x5eed).pick(&[0, 1, 5, 64, 65, 300]);
        hits += compare(case, rules, 250);
    }
    // Neither all nor none, or nothing was tested.
    assert!((10_000..90_000).contains(&hits), "{hits} of 100,000");
}

#[test]
fn it_is_found_among_thousands_too() {
    for (case, rules) in [(1_000, 4_096), (1_001, 4_097), (1_002, 10_000), (1_003, MAX_RULES)] {
        assert!(compare(case, rules, 400) > 20, "nothing was tested");
    }
}

fn host(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap())
}

fn from(src: Ipv4Addr, dport: u16) -> Tuple {
    Tuple { src, dst: Ipv4Addr::new(192, 0, 2, 1), sport: 1024, dport, protocol: UDP }
}

#[test]
fn the_last_rule_is_found_and_one_beyond_is_not_there() {
    let sets: Vec<PrefixSet> = (0..=MAX_RULES).map(|n| PrefixSet::new([host(n).into()])).collect();
    let rules: Vec<Match> = (0..=MAX_RULES).map(|n| Match { src: Some(n), ..any() }).collect();
    let compiled = SourceRules::new(&rules, &sets);
    for n in [0, 63, 64, 4_095, 4_096, 8_191, 8_192, MAX_RULES - 1] {
        assert_eq!(compiled.find(LAN, WAN, &from(host(n), 1)), u32::try_from(n).ok(), "{n}");
    }
    assert_eq!(compiled.find(LAN, WAN, &from(host(MAX_RULES), 1)), None);
    assert_eq!(SourceRules::new(&[], &sets).find(LAN, WAN, &from(host(0), 1)), None);
}

#[test]
fn of_rules_that_differ_in_the_way_out_alone_the_right_one_is_found() {
    let only = |id: u8| InterfaceMask(1 << id);
    let mut rules: Vec<Match> = (0..10_000).map(|_| Match { leave: only(7), ..any() }).collect();
    rules.push(Match { leave: only(1), ..any() });
    let compiled = SourceRules::new(&rules, &[]);
    assert_eq!(compiled.find(LAN, WAN, &from(host(1), 1)), Some(10_000));
    assert_eq!(compiled.find(LAN, InterfaceId(7), &from(host(1), 1)), Some(0));
    assert_eq!(compiled.find(LAN, InterfaceId(9), &from(host(1), 1)), None);
}

#[test]
fn of_rules_that_fail_in_different_dimensions_the_one_that_holds_is_found() {
    // Every word has bits in every row, but a common one only in the last.
    let sets = [PrefixSet::new([host(1).into()]), PrefixSet::new([host(2).into()])];
    let rule = |n: usize| Match {
        src: Some(n % 2),
        dports: vec![if n.is_multiple_of(2) { 1..=1 } else { 2..=2 }],
        ..any()
    };
    let mut rules: Vec<Match> = (0..MAX_RULES).map(rule).collect();
    assert_eq!(SourceRules::new(&rules, &sets).find(LAN, WAN, &from(host(1), 2)), None);
    rules[MAX_RULES - 1] = any();
    let last = u32::try_from(MAX_RULES - 1).ok();
    assert_eq!(SourceRules::new(&rules, &sets).find(LAN, WAN, &from(host(1), 2)), last);
}

#[test]
fn ten_thousand_rules_for_a_source_and_a_destination_each_take_few_megabytes() {
    let sets: Vec<PrefixSet> =
        (0..20_000).map(|n| PrefixSet::new([Ipv4Net::new(host(256 * n), 24).unwrap()])).collect();
    let rules: Vec<Match> =
        (0..10_000).map(|n| Match { src: Some(n), dst: Some(10_000 + n), ..any() }).collect();
    let bytes = SourceRules::new(&rules, &sets).bytes();
    assert!(bytes < 4_000_000, "{bytes}");
}

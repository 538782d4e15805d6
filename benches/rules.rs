//! What it costs a new session to find its source translation rule.
//!
//! ```text
//! cargo bench --bench rules
//! ```
//!
//! 10, 1,000 and 10,000 rules of three kinds: a source prefix each; a source, a destination and a port each; and rules for the
//! same prefixes that differ in the interface to leave by alone. Packets are of 64 rules, all in the first cache, or of
//! random rules, or of no rule; a scan that asks one rule after the other is compared with it on the same packets.
//!
//! Medians of many short samples, so that what else the machine does falls out. Pin it (`taskset -c 1`).

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints, and rounds"
)]

#[path = "../tests/property_support/first_rule.rs"]
mod first_rule;

use first_rule::first_rule;
use ipnet::Ipv4Net;
use natgate::classify::source_rules::Match;
use natgate::classify::{InterfaceMask, PrefixSet, SourceRules};
use natgate::ids::InterfaceId;
use natgate::nat::Rng;
use natgate::packet::Tuple;
use natgate::wire::protocol;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

/// Packets in a sample, samples, and those of a scan.
const SAMPLE: usize = 1024;
const SAMPLES: usize = 500;
const SCANS: usize = 9;
/// Rules that packets are of, if they are of few.
const FEW: usize = 64;

/// A packet, and the interface that it leaves by.
type Packet = (Tuple, InterfaceId);

/// What rules tell packets by.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Source,
    All,
    Exit,
}

struct World {
    sets: Vec<PrefixSet>,
    rules: Vec<Match>,
}

/// The /24 of a rule, inside and outside.
fn net(first: u32, rule: usize) -> Ipv4Net {
    let rule = u32::try_from(rule).expect("a rule");
    Ipv4Net::new_assert(Ipv4Addr::from_bits((first << 24) + (rule << 8)), 24)
}

fn port(rule: usize) -> u16 {
    u16::try_from(1_000 + rule % 50_000).expect("a port")
}

/// Of rules that differ in the way out alone only the last is for an interface that packets leave by.
fn exit(kind: Kind, rule: usize, rules: usize) -> u8 {
    match kind {
        Kind::Exit if rule + 1 < rules => 7,
        _ => 1,
    }
}

impl World {
    fn new(kind: Kind, rules: usize) -> World {
        let sides = (0..rules).map(|rule| PrefixSet::new([net(10, rule)]));
        let others = (0..rules).map(|rule| PrefixSet::new([net(100, rule)]));
        let rule = |rule: usize| Match {
            arrive: InterfaceMask(1),
            leave: InterfaceMask(1 << exit(kind, rule, rules)),
            protocols: if matches!(kind, Kind::All) { vec![protocol::UDP] } else { Vec::new() },
            src: Some(if matches!(kind, Kind::Exit) { 0 } else { rule }),
            dst: matches!(kind, Kind::All).then_some(rules + rule),
            sports: Vec::new(),
            dports: if matches!(kind, Kind::All) { vec![port(rule)..=port(rule)] } else { Vec::new() },
        };
        World { sets: sides.chain(others).collect(), rules: (0..rules).map(rule).collect() }
    }

    /// A packet of this rule.
    fn packet(&self, kind: Kind, rule: usize) -> Packet {
        let host = |net: Ipv4Net| Ipv4Addr::from_bits(net.network().to_bits() + 9);
        let src = host(net(10, if matches!(kind, Kind::Exit) { 0 } else { rule }));
        let tuple = Tuple {
            src,
            dst: host(net(100, rule)),
            sport: 4_000,
            dport: port(rule),
            protocol: protocol::UDP,
        };
        (tuple, InterfaceId(1))
    }

    /// Packets of random rules among the first so many.
    fn packets(&self, kind: Kind, among: usize) -> Vec<Packet> {
        let mut random = Rng::seeded(2);
        let mut rule = || usize::try_from(random.next() % among as u64).expect("a rule");
        (0..64 * SAMPLE).map(|_| self.packet(kind, rule())).collect()
    }
}

/// Packets of no rule.
fn strangers() -> Vec<Packet> {
    let mut random = Rng::seeded(3);
    let mut packet = || {
        let low = u32::try_from(random.next() >> 40).expect("24 bits");
        let tuple = Tuple {
            src: Ipv4Addr::from_bits(172 << 24 | low),
            dst: Ipv4Addr::from_bits(200 << 24 | low),
            sport: 4_000,
            dport: 60_000,
            protocol: protocol::UDP,
        };
        (tuple, InterfaceId(1))
    };
    (0..64 * SAMPLE).map(|_| packet()).collect()
}

/// Nanoseconds a packet, if all or none of them are of a rule.
fn search(packets: &[Packet], are_hits: bool, samples: usize, find: impl Fn(&Packet) -> Option<u32>) -> f64 {
    let sample = |packets: &[Packet]| {
        let start = Instant::now();
        let hits = black_box(packets).iter().filter(|packet| find(packet).is_some()).count();
        let took = start.elapsed().as_nanos() as f64;
        assert_eq!(hits, if are_hits { packets.len() } else { 0 }, "packets of rules");
        took / packets.len() as f64
    };
    let mut times: Vec<f64> = packets.chunks(SAMPLE).cycle().take(samples).map(sample).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn row(kind: Kind, rules: usize) {
    let world = World::new(kind, rules);
    let start = Instant::now();
    let compiled = SourceRules::new(&world.rules, &world.sets);
    let built = start.elapsed();
    let find = |(tuple, exit): &Packet| compiled.find(InterfaceId(0), *exit, tuple);
    let scan = |(tuple, exit): &Packet| first_rule(&world.rules, &world.sets, (InterfaceId(0), *exit), tuple);
    let few = search(&world.packets(kind, FEW.min(rules)), true, SAMPLES, find);
    let random = world.packets(kind, rules);
    let many = search(&random, true, SAMPLES, find);
    let none = search(&strangers(), false, SAMPLES, find);
    let linear = search(&random, true, SCANS, scan);
    println!(
        "| {kind:?} | {rules} | {few:.0} | {many:.0} | {none:.0} | {linear:.0} | {built:.0?} | {:.2} MB |",
        compiled.bytes() as f64 / 1e6
    );
}

fn main() {
    println!("nanoseconds a packet, medians\n");
    println!(
        "| rules differ in | rules | of 64 rules | of random rules | of no rule | one by one | built in | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for kind in [Kind::Source, Kind::All, Kind::Exit] {
        for rules in [10, 1_000, 10_000] {
            row(kind, rules);
        }
    }
}

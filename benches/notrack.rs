//! What notrack classes cost, and what they save.
//!
//! ```text
//! cargo bench --bench notrack
//! ```
//!
//! First the classifier alone: a packet that no class can be for, packets of classes whose peers are few (all in the
//! first cache) or random among 100,000 prefixes, and for comparison entries that are asked one after the other. Then the
//! whole pipeline on one worker without NIC I/O, as in `cargo bench --bench budgets`: packets of classes beside packets of
//! known sessions and of new ones.
//!
//! Cycles are of the time stamp counter. Medians of many short samples, so that what else the machine does falls out, and
//! the packets' own generator is measured in the same run and taken off. Pin it (`taskset -c 1`).

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints, and rounds"
)]

#[path = "../tests/property_support/first_match.rs"]
mod first_match;
mod support;

use first_match::first_match;
use ipnet::Ipv4Net;
use natgate::classify::PrefixSet;
use natgate::classify::notrack::{Classifier, InterfaceMask, Match};
use natgate::device::{BURST, Burst, Device};
use natgate::ids::InterfaceId;
use natgate::nat::Rng;
use natgate::packet::Tuple;
use natgate::wire::protocol;
use std::fmt::Write;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;
use support::replay::{Replay, hitting, time_set_ups};
use support::{Flow, Gateway, LAN, WAN, outbound};

/// Packets in a sample of the classifier, and samples.
const SAMPLE: usize = 2048;
const SAMPLES: usize = 2000;
/// Bursts in a sample of the pipeline, and samples.
const BURSTS: usize = 64;
const ROUNDS: usize = 500;
/// Prefixes in all sets.
const PREFIXES: usize = 100_000;
/// Random peers, and few.
const MANY: usize = 1 << 17;
const FEW: usize = 64;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn below(random: &mut Rng, n: usize) -> usize {
    usize::try_from(random.next() % n as u64).expect("below n")
}

/// Services, each with a set of clients of its own.
struct World {
    /// The prefixes of each class, between 11.0.0.0 and 99.255.255.255.
    clients: Vec<Vec<Ipv4Net>>,
}

impl World {
    fn new(classes: usize, prefixes: usize) -> World {
        let mut random = Rng::seeded(1);
        let mut clients = vec![Vec::new(); classes];
        for n in 0..prefixes {
            let first = 11 + below(&mut random, 89);
            let address = u32::try_from(first << 24 | below(&mut random, 1 << 24)).expect("an address");
            let length = u8::try_from(24 + below(&mut random, 9)).expect("a length");
            let net = Ipv4Net::new(Ipv4Addr::from_bits(address), length).expect("a prefix").trunc();
            clients[n % classes].push(net);
        }
        World { clients }
    }

    /// The service of a class as clients call it: 200 addresses of some ports each.
    fn service(class: usize) -> (Ipv4Addr, u16) {
        let host = u8::try_from(16 + class % 200).expect("a byte");
        (Ipv4Addr::new(203, 0, 113, host), u16::try_from(5_000 + class / 200).expect("a port"))
    }

    /// Packets of `packets` of `peers` random clients to the service of each.
    fn flows(&self, peers: usize, packets: usize) -> Vec<Flow> {
        let mut random = Rng::seeded(2);
        let peers: Vec<Flow> = (0..peers)
            .map(|_| {
                let class = below(&mut random, self.clients.len());
                let client = self.clients[class][below(&mut random, self.clients[class].len())];
                Flow { from: (client.network(), 5555), to: World::service(class) }
            })
            .collect();
        (0..packets).map(|_| peers[below(&mut random, peers.len())]).collect()
    }

    /// What the classes become: packets there, and answers.
    fn entries(&self) -> (Vec<Match>, Vec<PrefixSet>) {
        let clients = self.clients.iter().map(|nets| PrefixSet::new(nets.iter().copied()));
        let services = (0..self.clients.len()).map(|class| PrefixSet::new([World::service(class).0.into()]));
        let there = |class: usize| {
            let port = World::service(class).1;
            Match {
                arrive: [InterfaceId(1)].into_iter().collect(),
                protocols: vec![protocol::TCP, protocol::UDP],
                src: Some(class),
                dst: Some(self.clients.len() + class),
                sports: Vec::new(),
                dports: vec![port..=port],
                flags: None,
            }
        };
        let back = |there: Match| Match {
            arrive: InterfaceMask(1),
            src: there.dst,
            dst: there.src,
            sports: there.dports,
            dports: Vec::new(),
            ..there
        };
        let entries = (0..self.clients.len()).flat_map(|class| [there(class), back(there(class))]);
        (entries.collect(), clients.chain(services).collect())
    }

    /// The classes as a user writes them.
    fn config(&self) -> String {
        let mut text = String::new();
        for (class, clients) in self.clients.iter().enumerate() {
            let nets: Vec<_> = clients.iter().map(|net| format!("\"{net}\"")).collect();
            let (address, port) = World::service(class);
            let [.., host] = address.octets();
            write!(
                text,
                r#"
[set.peers-{class}]
prefixes = [{}]
[[notrack]]
name = "class-{class}"
protocol = ["tcp", "udp"]
on = "wan"
from = ["set.peers-{class}"]
to = "{address}"
translate_to = "10.0.2.{host}"
port = {port}
"#,
                nets.join(", ")
            )
            .expect("memory");
        }
        text
    }
}

/// Nanoseconds a packet, if all or none of them are of a class.
fn search(flows: &[Flow], is_hit: bool, samples: usize, find: impl Fn(&Tuple) -> Option<u16>) -> f64 {
    let tuple = |flow: &Flow| Tuple {
        src: flow.from.0,
        dst: flow.to.0,
        sport: flow.from.1,
        dport: flow.to.1,
        protocol: protocol::UDP,
    };
    let tuples: Vec<Tuple> = flows.iter().map(tuple).collect();
    let sample = |tuples: &[Tuple]| {
        let start = Instant::now();
        let hits = black_box(tuples).iter().filter(|tuple| find(tuple).is_some()).count();
        let took = start.elapsed().as_nanos() as f64;
        assert_eq!(hits, if is_hit { tuples.len() } else { 0 }, "packets of classes");
        took / tuples.len() as f64
    };
    median(tuples.chunks(SAMPLE).cycle().take(samples).map(sample).collect())
}

/// Packets that no class can be for: to ports that no service has.
fn strangers() -> Vec<Flow> {
    let mut random = Rng::seeded(3);
    let mut address = || Ipv4Addr::from_bits(u32::try_from(random.next() >> 32).expect("an address"));
    let mut flow = |n: u16| Flow { from: (address(), 20_000 + n), to: (address(), 30_000 + 7 * n) };
    (0..4096).map(&mut flow).collect()
}

fn classifier(clock: f64) {
    println!(
        "| classes | prefixes | no class can be for it | 64 peers | random peers | 64 peers, one by one | built in | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (classes, prefixes) in [(1, 1), (10, PREFIXES), (100, PREFIXES), (1000, PREFIXES)] {
        let world = World::new(classes, prefixes);
        let (entries, sets) = world.entries();
        let start = Instant::now();
        let classifier = Classifier::new(&entries, &sets);
        let built = start.elapsed();
        let (own, shared) = classifier.bytes();
        let find = |tuple: &Tuple| classifier.find(InterfaceId(1), tuple, None);
        let (few, many) = (world.flows(FEW, SAMPLE), world.flows(MANY, MANY));
        let miss = search(&strangers(), false, SAMPLES, find);
        let warm = search(&few, true, SAMPLES, find);
        let random = search(&many, true, SAMPLES, find);
        let by_one = |tuple: &Tuple| first_match(&entries, &sets, InterfaceId(1), tuple, None);
        let linear = search(&few[..FEW], true, SAMPLES / 10, by_one);
        println!(
            "| {classes} | {prefixes} | {:.1} | {:.0} | {:.0} | {:.0} | {built:.0?} | {:.1} MB |",
            miss * clock,
            warm * clock,
            random * clock,
            linear * clock,
            (own + shared) as f64 / 1e6
        );
    }
}

/// Nanoseconds a packet through a gateway, and none is lost.
fn through(gateway: &mut Gateway<Replay>) -> f64 {
    let sample = |_| {
        let start = Instant::now();
        (0..BURSTS).for_each(|_| Replay::burst(gateway));
        start.elapsed().as_nanos() as f64 / (BURSTS * BURST) as f64
    };
    let took = median((0..ROUNDS).map(sample).collect());
    gateway.assert_all_sent();
    took
}

/// Nanoseconds a packet of the generator alone.
fn generator(replay: Replay) -> f64 {
    let mut device = replay.alone();
    let mut burst = Burst::new();
    let sample = |_| {
        let start = Instant::now();
        for _ in 0..BURSTS {
            device.credit();
            device.rx_burst(&mut burst);
            device.tx_burst(&mut burst);
        }
        start.elapsed().as_nanos() as f64 / (BURSTS * BURST) as f64
    };
    median((0..ROUNDS).map(sample).collect())
}

/// A gateway with this config, through which the packets go round and round.
fn untracked(more: &str, vlan: u16, flows: &[Flow]) -> f64 {
    let mut gateway = Gateway::new(&support::config(more), Replay::of(vlan, flows));
    let took = through(&mut gateway);
    assert_eq!(gateway.counters.sessions_created.get(), 0, "a packet of a class made a session");
    took - generator(Replay::of(vlan, flows))
}

/// One class for everything that `outbound` sends.
const ONE: &str = r#"
[[notrack]]
name = "dns"
preset = "dns"
on = "lan"
from = "10.1.0.0/16"
to = "192.0.2.1"
"#;

fn pipeline(clock: f64) {
    const FLOWS: u32 = 1 << 10;
    let own: Vec<Flow> = (0..FLOWS).map(outbound).collect();
    let world = World::new(1000, PREFIXES);
    let row = |name: &str, nanos: f64| println!("| {name} | {nanos:.1} | {:.0} |", nanos * clock);
    println!("\n| pipeline | ns a packet | cycles |");
    println!("|---|---|---|");

    let alone = generator(Replay::new(FLOWS));
    row("tracked, 1 k sessions, no class", through(&mut hitting(FLOWS)) - alone);
    let mut beside = Gateway::new(&support::config(&world.config()), Replay::new(FLOWS));
    row("tracked, 1 k sessions, beside 1,000 classes", through(&mut beside) - alone);
    let set_ups = 1 << 18;
    let took = time_set_ups(set_ups, u64::from(set_ups) / BURST as u64);
    row("tracked, a session for each packet", took.as_nanos() as f64 / f64::from(set_ups) - alone);
    row("notracked, one class, as they are", untracked(&format!("{ONE}untranslated = true\n"), LAN, &own));
    let translated = format!("{ONE}translate_from = \"198.19.0.0/16\"\n");
    row("notracked, one class, translated", untracked(&translated, LAN, &own));
    let classes = world.config();
    row("notracked, 1,000 classes, 64 peers", untracked(&classes, WAN, &world.flows(FEW, SAMPLE)));
    row("notracked, 1,000 classes, random peers", untracked(&classes, WAN, &world.flows(MANY, MANY)));
}

fn main() {
    let clock = support::gigahertz();
    println!("time stamp counter: {clock:.2} GHz; medians; cycles a packet\n");
    classifier(clock);
    pipeline(clock);
}

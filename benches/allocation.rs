//! What a set-up costs when few external ports are left.
//!
//! ```text
//! taskset -c 1 cargo bench --bench allocation
//! ```
//!
//! One worker, no NIC I/O, one external address with 64,512 ports, all flows to one server: a share of the ports is in use, and
//! a burst of new flows comes, each of which needs one that is free. Whole set-ups: lookup, rule, port, mapping, session,
//! timer message, translation. Each figure is the median of as many gateways, measured in turn with the other shares; none of
//! the new flows is refused. The last row is a burst that finds no port at all.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints, and rounds"
)]

mod support;

use natgate::device::BURST;
use std::net::Ipv4Addr;
use std::time::Instant;
use support::replay::Replay;
use support::{Flow, Gateway, LAN, config_of, gigahertz, shuffled};

/// Gateways for each figure.
const ROUNDS: usize = 31;
/// Bursts that nothing is new in.
const WARM_UP: usize = 64;
/// External ports of the address.
const PORTS: u32 = 64_512;
const SHARES: [(&str, u32); 5] = [
    ("0 %", 0),
    ("50 %", PORTS / 2),
    ("95 %", PORTS / 100 * 95),
    ("99.9 %", PORTS - PORTS / 1000),
    ("all: refused", PORTS),
];
/// `mapping`, `filtering`.
const MODES: [(&str, &str); 4] = [
    ("endpoint-independent", "endpoint-independent"),
    ("endpoint-independent", "address-dependent"),
    ("address-dependent", "address-dependent"),
    ("address-and-port-dependent", "address-and-port-dependent"),
];

/// Flows of hosts that all use the same port number, so that nearly all need another one outside.
fn flow(n: u32) -> Flow {
    Flow { from: (Ipv4Addr::from_bits(0x0a01_0000 + n), 10_000), to: (Ipv4Addr::new(192, 0, 2, 1), 53) }
}

/// Nanoseconds for each of a burst of new flows when `used` ports are in use.
fn burst(mode: (&str, &str), used: u32) -> f64 {
    let (mapping, filtering) = mode;
    let config = config_of(
        &format!("addresses = \"198.51.100.1\"\nmapping = \"{mapping}\"\nfiltering = \"{filtering}\""),
        "[conntrack]\nmax_sessions = 131072\nreserve = \"0%\"\n",
    );
    let burst = u32::try_from(BURST).expect("small");
    // One flow fills bursts up, and warms up what has nothing to do with ports.
    let used = used.max(1);
    let mut flows = vec![flow(0); WARM_UP * BURST];
    flows.extend(shuffled(used).into_iter().map(flow));
    flows.resize(flows.len().next_multiple_of(BURST), flow(0));
    flows.extend((0..burst).map(|n| flow(1_000_000 + n)));
    let bursts = flows.len() / BURST;
    let mut gateway = Gateway::new(&config, Replay::of(LAN, &flows));
    for _ in 1..bursts {
        Replay::burst(&mut gateway);
    }
    while gateway.management.poll_once(gateway.now) {}
    let before = gateway.counters.sessions.get();
    assert_eq!(before, u64::from(used), "sessions");
    let start = Instant::now();
    Replay::burst(&mut gateway);
    let took = start.elapsed();
    let expected = u64::from(PORTS.min(used + burst));
    assert_eq!(gateway.counters.sessions.get(), expected, "every port is found, and no more");
    took.as_nanos() as f64 / BURST as f64
}

fn main() {
    let clock = gigahertz();
    println!(
        "time stamp counter: {clock:.2} GHz; medians of {ROUNDS} gateways, cycles for each of a burst of {BURST}\n"
    );
    let head: Vec<&str> = SHARES.iter().map(|(name, _)| *name).collect();
    println!("| mapping, filtering | {} | 99.9 % against 0 % |", head.join(" | "));
    println!("|---|{}---|", "---|".repeat(SHARES.len()));
    for mode in MODES {
        let mut times = vec![Vec::new(); SHARES.len()];
        for _ in 0..ROUNDS {
            for (times, (_, used)) in times.iter_mut().zip(SHARES) {
                times.push(burst(mode, used));
            }
        }
        let medians: Vec<f64> = times
            .into_iter()
            .map(|mut times| {
                times.sort_by(f64::total_cmp);
                times[times.len() / 2]
            })
            .collect();
        let cells: Vec<String> = medians.iter().map(|ns| format!("{:.0}", ns * clock)).collect();
        println!("| {}, {} | {} | {:.2} |", mode.0, mode.1, cells.join(" | "), medians[3] / medians[0]);
    }
}

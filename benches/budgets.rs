//! The table of budgets, measured: cycles a packet on the hit path, cycles a new session, memory, cost of expiry.
//!
//! ```text
//! cargo bench --bench budgets                  # 1 k to 10 M sessions: five minutes, 4 GiB
//! cargo bench --bench budgets -- 16777216      # that many sessions in one table as well
//! ```
//!
//! One worker, no NIC I/O, real 64-byte UDP frames of flows in random order, each one translated. The generator writes
//! and takes back every frame; what that costs alone is measured in the same run and shown beside. Medians of seven
//! rounds; cycles are of the time stamp counter. Pin it (`taskset -c 1`) and leave the machine alone.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints, and rounds"
)]

mod support;

use natgate::conntrack::key::V4Key;
use natgate::conntrack::table::Shard;
use natgate::device::{BURST, Burst, Device};
use std::time::{Duration, Instant};
use support::replay::{Replay, hitting, time_set_ups};
use support::{Gateway, resident};

const ROUNDS: usize = 7;
/// Bursts in a round, and packets.
const BURSTS: u32 = 1 << 15;
const PACKETS: u32 = BURSTS * 32;
const _: () = assert!(BURST == 32);

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Nanoseconds a packet that the generator takes by itself.
fn generator(flows: u32) -> f64 {
    let mut device = Replay::new(flows).alone();
    let mut burst = Burst::new();
    let mut round = || {
        let start = Instant::now();
        for _ in 0..BURSTS {
            device.credit();
            device.rx_burst(&mut burst);
            device.tx_burst(&mut burst);
        }
        start.elapsed().as_nanos() as f64 / f64::from(PACKETS)
    };
    median((0..ROUNDS).map(|_| round()).collect())
}

/// Nanoseconds a packet of a known flow.
fn hits(gateway: &mut Gateway<Replay>) -> f64 {
    let mut round = || {
        let start = Instant::now();
        for _ in 0..BURSTS {
            Replay::burst(gateway);
        }
        start.elapsed().as_nanos() as f64 / f64::from(PACKETS)
    };
    median((0..ROUNDS).map(|_| round()).collect())
}

/// Lets every session expire; nanoseconds of the worker, and of the management core, for each.
fn expiry(gateway: &mut Gateway<Replay>) -> (f64, f64) {
    let sessions = gateway.counters.sessions.get();
    settle_timers(gateway);
    gateway.now = gateway.now + Duration::from_secs(302);
    let (mut worker, mut management) = (Duration::ZERO, Duration::ZERO);
    while gateway.counters.sessions.get() > 0 {
        let start = Instant::now();
        gateway.management.poll_once(gateway.now);
        let between = Instant::now();
        while gateway.worker.poll_once(gateway.now) {}
        worker += between.elapsed();
        management += between - start;
        gateway.now = gateway.now + Duration::from_millis(2);
    }
    let each = |took: Duration| took.as_nanos() as f64 / sessions as f64;
    (each(worker), each(management))
}

/// Gives the management core time to arm every timer.
fn settle_timers(gateway: &mut Gateway<Replay>) {
    for _ in 0..2_000 {
        gateway.management.poll_once(gateway.now);
        gateway.now = gateway.now + Duration::from_millis(2);
    }
}

fn main() {
    let live = std::env::args().skip(1).find_map(|argument| argument.parse::<u32>().ok());
    let clock = support::gigahertz();
    println!("time stamp counter: {clock:.2} GHz; medians of {ROUNDS} rounds of {PACKETS} packets\n");
    println!("| hit path | ns a packet | generator alone | pipeline | cycles | budget |");
    println!("|---|---|---|---|---|---|");
    let sizes = [
        ("1 k", 1 << 10, "80"),
        ("64 k", 1 << 16, "100"),
        ("1 M", 1 << 20, "140"),
        ("10 M", 10_000_000, "250"),
    ];
    let live_row = live.map(|flows| ("live", flows, "-"));
    let mut last = None;
    for (name, flows, budget) in sizes.into_iter().chain(live_row) {
        let alone = generator(flows);
        let before = resident();
        let mut gateway = hitting(flows);
        let grown = resident().saturating_sub(before).saturating_sub(u64::from(flows) * 64);
        let all = hits(&mut gateway);
        gateway.assert_all_sent();
        assert_eq!(gateway.counters.sessions.get(), u64::from(flows), "sessions");
        let own = all - alone;
        println!("| {name} | {all:.1} | {alone:.1} | {own:.1} | {:.0} | {budget} |", own * clock);
        last = Some((gateway, flows, grown));
    }

    println!("\n| session | measured | budget |");
    println!("|---|---|---|");
    let flows: u32 = 1 << 20;
    let set_up = median(
        (0..ROUNDS)
            .map(|_| {
                let took = time_set_ups(flows, u64::from(flows) / BURST as u64);
                took.as_nanos() as f64 / f64::from(flows)
            })
            .collect(),
    );
    let alone = generator(flows);
    let own = set_up - alone;
    println!(
        "| set-up (SNAT, port, both tuples, timer) | {own:.0} ns, {:.0} cycles: {:.2} M/s a core | 400 cycles |",
        own * clock,
        1000.0 / own
    );
    let timer = 8;
    let bytes = Shard::<V4Key>::BYTES_PER_SESSION + timer;
    println!("| memory: record, index, lists, timer | {bytes} bytes | 160 bytes |");
    if let Some((mut gateway, flows, grown)) = last {
        let (shard_pages, index_pages) = gateway.pages;
        println!(
            "| resident memory of {flows} sessions, all included | {} MiB: {:.0} bytes each ({}, index {}) | - |",
            grown >> 20,
            grown as f64 / f64::from(flows),
            shard_pages.name(),
            index_pages.name()
        );
        let (worker, management) = expiry(&mut gateway);
        println!(
            "| expiry of one of {flows} | worker {worker:.0} ns, {:.0} cycles; management core {management:.0} ns | - |",
            worker * clock
        );
    }
}

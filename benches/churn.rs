//! The experiment that everyone quotes: short TCP connections against a table of 524,288, at 60,000 new ones a second
//! for ten virtual minutes.
//!
//! ```text
//! cargo bench --bench churn              # ten virtual minutes each: several minutes
//! cargo bench --bench churn -- 60        # one virtual minute each
//! ```
//!
//! Every connection is eight real frames: SYN, SYN/ACK, ACK, request, answer, FIN, FIN, ACK, each translated. It counts
//! as failed if any of them does not come out. Three gateways: one as it comes; one that does what the kernel does
//! (120 s in TIME_WAIT, nothing is ever given up early), which can not do better than entries / timeout = 4,369 a second
//! once the table is full; and one with a notrack class that translates the clients one to one, which needs no table.
//!
//! Cycles are those of the worker and of the management core, the copies of frames into and out of the memory device
//! included. "One core could do" is what the worker would complete without a pause. The ratio is of both together a packet.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints, and rounds"
)]

mod support;

use natgate::telemetry::DropReason;
use natgate::wire::tcp::{ACK, FIN, PSH, SYN};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use support::talk::{Connection, Step, Talk, step};
use support::{Flow, Gateway, config, gigahertz};

const RATE: u64 = 60_000;
const CAPACITY: u32 = 524_288;
/// Connections that run side by side.
const BATCH: usize = 32;
/// Clients, so that ports are no bound: 512 addresses serve them.
const CLIENTS: u32 = 8192;

/// Who sends, flags, sequence and acknowledgement number, bytes of data.
const STEPS: [Step; 8] = [
    (true, SYN, 100, 0, 0),
    (false, SYN | ACK, 500, 101, 0),
    (true, ACK, 101, 501, 0),
    (true, ACK | PSH, 101, 501, 6),
    (false, ACK | PSH, 501, 107, 6),
    (true, ACK | FIN, 107, 507, 0),
    (false, ACK | FIN, 507, 108, 0),
    (true, ACK, 108, 508, 0),
];

/// The clients have addresses of their own outside.
const CLASS: &str = r#"
[[notrack]]
name = "web"
protocol = "tcp"
port = 80
on = "lan"
from = "10.1.0.0/19"
translate_from = "198.19.0.0/19"
"#;

fn connection(n: u64) -> Connection {
    let client = u32::try_from(n % u64::from(CLIENTS)).expect("a client");
    let port = u16::try_from(1024 + (n / u64::from(CLIENTS)) % 60_000).expect("a port");
    Connection::new(Flow {
        from: (Ipv4Addr::from_bits(0x0a01_0000 + client), port),
        to: (Ipv4Addr::new(192, 0, 2, 80), 80),
    })
}

/// What one gateway did.
struct Outcome {
    made: u64,
    failed: u64,
    /// Entries in the table at the end.
    entries: u64,
    packets: u64,
    /// Time of the worker, and of the management core, which ends sessions.
    busy: Duration,
    managing: Duration,
}

fn experiment(name: &str, more: &str, seconds: u64) -> Outcome {
    let mut gateway = Gateway::new(&config(more), Talk::default());
    let mut outcome = Outcome {
        made: 0,
        failed: 0,
        entries: 0,
        packets: 0,
        busy: Duration::ZERO,
        managing: Duration::ZERO,
    };
    let start = Instant::now();
    let begin = gateway.now;
    let pause = Duration::from_nanos(1_000_000_000 * BATCH as u64 / RATE);
    let mut polled = begin;
    let total = seconds * RATE / BATCH as u64;
    for number in 0..total {
        let first = number * BATCH as u64;
        let mut batch: Vec<Connection> = (first..first + BATCH as u64).map(connection).collect();
        for next in STEPS {
            outcome.busy += step(&mut gateway, &mut batch, next);
        }
        let lost = batch.iter().filter(|connection| connection.failed).count() as u64;
        outcome.failed += lost;
        outcome.made += BATCH as u64 - lost;
        gateway.now = gateway.now + pause;
        if gateway.now.since(polled) >= Duration::from_millis(2) {
            polled = gateway.now;
            let start = Instant::now();
            gateway.management.poll_once(gateway.now);
            outcome.managing += start.elapsed();
        }
        if number % (total / 20).max(1) == 0 {
            eprint!(
                "\r{name}: {} of {seconds} virtual seconds, {} sessions ",
                gateway.now.since(begin).as_secs(),
                gateway.counters.sessions.get()
            );
        }
    }
    eprintln!("\r{name}: {seconds} virtual seconds in {:.0} s{:40}", start.elapsed().as_secs_f64(), "");
    for reason in DropReason::ALL {
        let packets = gateway.counters.drops[*reason as usize].get();
        if packets > 0 {
            eprintln!("  dropped for {}: {packets}", reason.name());
        }
    }
    outcome.entries = gateway.counters.sessions.get();
    outcome.packets = gateway.counters.rx.get();
    outcome
}

fn row(name: &str, outcome: &Outcome, seconds: u64, tracked: Option<&Outcome>) {
    let cycles = |took: Duration| took.as_secs_f64() * gigahertz() * 1e9 / outcome.packets as f64;
    let whole = |outcome: &Outcome| (outcome.busy + outcome.managing).as_secs_f64() / outcome.packets as f64;
    println!(
        "{name:<26} {:>11.0} {:>9} {:>9} {:>9.0} {:>11.0} {:>12.0} {:>8.2}",
        outcome.made as f64 / seconds as f64,
        outcome.failed,
        outcome.entries,
        cycles(outcome.busy),
        cycles(outcome.managing),
        outcome.made as f64 / outcome.busy.as_secs_f64(),
        tracked.map_or(1.0, |tracked| whole(outcome) / whole(tracked)),
    );
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(600);
    let table = format!("[conntrack]\nmax_sessions = {CAPACITY}\n");
    println!("{RATE} new connections a second, a table of {CAPACITY}, {seconds} virtual seconds");
    let tracked = experiment("as it comes", &table, seconds);
    let kernel = format!(
        "{table}when_full = \"refuse\"\nadaptive = \"off\"\nreserve = \"0%\"\n[conntrack.timeouts]\ntcp_time_wait = \"120s\"\n"
    );
    let kernel = experiment("as the kernel does it", &kernel, seconds);
    let class = format!("{CLASS}{table}");
    let notracked = experiment("notracked", &class, seconds);
    println!(
        "{:<26} {:>11} {:>9} {:>9} {:>9} {:>11} {:>12} {:>8}",
        "", "completed/s", "failed", "entries", "cycles", "management", "one core", "CPU"
    );
    println!(
        "{:<26} {:>11} {:>9} {:>9} {:>9} {:>11} {:>12} {:>8}",
        "", "", "", "at end", "a packet", "a packet", "could do/s", "ratio"
    );
    row("as it comes", &tracked, seconds, None);
    row("as the kernel does it", &kernel, seconds, Some(&tracked));
    row("notracked", &notracked, seconds, Some(&tracked));
    println!("entries / 120 s = {} a second", CAPACITY / 120);
    assert_eq!((tracked.failed, notracked.failed), (0, 0), "a connection failed");
    assert_eq!(notracked.entries, 0, "a notracked connection has a session");
    let bound = u64::from(CAPACITY) * seconds.div_ceil(120);
    assert!(kernel.made <= bound, "more than the table can hold: {} of {bound}", kernel.made);
}

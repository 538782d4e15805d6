//! The experiment that everyone quotes: short TCP connections against a table of 524,288, at 60,000 new ones a second
//! for ten virtual minutes.
//!
//! ```text
//! cargo bench --bench churn              # ten virtual minutes each: several minutes
//! cargo bench --bench churn -- 60        # one virtual minute each
//! ```
//!
//! Every connection is eight real frames: SYN, SYN/ACK, ACK, request, answer, FIN, FIN, ACK, each translated. It counts
//! as failed if any of them does not come out. Two gateways: one as it comes, and one that does what the kernel does
//! (120 s in TIME_WAIT, nothing is ever given up early), which can not do better than entries / timeout = 4,369 a second
//! once the table is full.

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
use support::{Flow, Gateway, config};

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

fn connection(n: u64) -> Connection {
    let client = u32::try_from(n % u64::from(CLIENTS)).expect("a client");
    let port = u16::try_from(1024 + (n / u64::from(CLIENTS)) % 60_000).expect("a port");
    Connection::new(Flow {
        from: (Ipv4Addr::from_bits(0x0a01_0000 + client), port),
        to: (Ipv4Addr::new(192, 0, 2, 80), 80),
    })
}

fn experiment(name: &str, more: &str, seconds: u64) -> (u64, u64, Vec<u64>) {
    let mut gateway = Gateway::new(&config(more), Talk::default());
    let (mut made, mut failed) = (0u64, 0u64);
    let mut by_minute = Vec::new();
    let start = Instant::now();
    let begin = gateway.now;
    let pause = Duration::from_nanos(1_000_000_000 * BATCH as u64 / RATE);
    let mut polled = begin;
    let total = seconds * RATE / BATCH as u64;
    for number in 0..total {
        let first = number * BATCH as u64;
        let mut batch: Vec<Connection> = (first..first + BATCH as u64).map(connection).collect();
        for next in STEPS {
            step(&mut gateway, &mut batch, next);
        }
        let lost = batch.iter().filter(|connection| connection.failed).count() as u64;
        failed += lost;
        made += BATCH as u64 - lost;
        gateway.now = gateway.now + pause;
        if gateway.now.since(polled) >= Duration::from_millis(2) {
            polled = gateway.now;
            gateway.management.poll_once(gateway.now);
        }
        let minute = usize::try_from(gateway.now.since(begin).as_secs() / 60).expect("a minute");
        by_minute.resize(minute + 1, 0);
        by_minute[minute] += BATCH as u64 - lost;
        if number % (total / 20).max(1) == 0 {
            eprint!(
                "\r{name}: {} of {seconds} virtual seconds, {} sessions ",
                gateway.now.since(begin).as_secs(),
                gateway.counters.sessions.get()
            );
        }
    }
    eprintln!("\r{name}: {seconds} virtual seconds in {:.0} s{:40}", start.elapsed().as_secs_f64(), "");
    println!(
        "\n{name}\n  {made} connections complete, {failed} failed; {} sessions at the end",
        gateway.counters.sessions.get()
    );
    println!("  completed in each minute: {by_minute:?}");
    for reason in DropReason::ALL {
        let packets = gateway.counters.drops[*reason as usize].get();
        if packets > 0 {
            println!("  dropped for {}: {packets}", reason.name());
        }
    }
    (made, failed, by_minute)
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(600);
    let table = format!("[conntrack]\nmax_sessions = {CAPACITY}\n");
    println!("{RATE} new connections a second, a table of {CAPACITY}, {seconds} virtual seconds");
    let (_, failed, _) = experiment("as it comes", &table, seconds);
    assert_eq!(failed, 0, "a connection failed");
    let kernel = format!(
        "{table}when_full = \"refuse\"\nadaptive = \"off\"\nreserve = \"0%\"\n[conntrack.timeouts]\ntcp_time_wait = \"120s\"\n"
    );
    let (made, _, _) = experiment("as the kernel does it", &kernel, seconds);
    let rounds = seconds.div_ceil(120);
    println!(
        "  entries / 120 s = {} a second; measured: {:.0} a second",
        CAPACITY / 120,
        made as f64 / seconds as f64
    );
    let bound = u64::from(CAPACITY) * rounds;
    assert!(made <= bound, "more than the table can hold: {made} of {bound}");
}

//! What it costs a worker to be looked at: scrapes of the metrics, a list of ten million sessions, samples of what it drops.
//!
//! ```text
//! cargo bench --bench reading                 # ten million sessions: some minutes, 7 GiB
//! cargo bench --bench reading -- 1048576      # that many
//! ```
//!
//! One worker on the last CPU, on the hit path or dropping all that comes; the real control server and a client of it on the
//! first CPU, without a pause. Two CPUs of one machine share caches and memory, whatever the one reads: so the same list of
//! another gateway's sessions, which the worker never touches, is measured beside. Each round measures all cases one after the
//! other, and a case is compared with the same round's worker that nobody looks at.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints, and rounds"
)]

mod support;

use core_affinity::CoreId;
use natgate::config::compile::compile;
use natgate::control::publish::{Published, Publisher};
use natgate::control::running::{DeviceRow, Running};
use natgate::control::state::Started;
use natgate::control::{Client, ControlState, Server};
use natgate::management::commands;
use natgate::telemetry::DropReason;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::replay::{Replay, hitting};
use support::{FRAME, Feed, Flow, Gateway, LAN, MAC, config, gigahertz, start, udp};

const ROUNDS: usize = 9;
/// How long each case of a round is measured, and how long it may settle.
const WINDOW: Duration = Duration::from_millis(700);
const SETTLE: Duration = Duration::from_millis(100);

/// What the reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Reading {
    Nothing,
    Scrape,
    List,
    OthersList,
    Samples,
    End,
}

impl Reading {
    const ALL: [Reading; 6] = [
        Reading::Nothing,
        Reading::Scrape,
        Reading::List,
        Reading::OthersList,
        Reading::Samples,
        Reading::End,
    ];

    fn name(self) -> &'static str {
        match self {
            Reading::Nothing => "nobody looks",
            Reading::Scrape => "metrics scraped without a pause",
            Reading::List => "its sessions listed without a pause",
            Reading::OthersList => "as many of another gateway listed",
            Reading::Samples => "samples of drops read without a pause",
            Reading::End => "end",
        }
    }
}

/// Frames that are dropped, one burst after the other: their source belongs on the other side.
struct Spoofed {
    frame: [u8; FRAME],
    credit: usize,
}

impl Spoofed {
    fn new() -> Spoofed {
        let mut frame = [0; FRAME];
        let flow = Flow { from: (Ipv4Addr::new(192, 0, 2, 77), 1000), to: (Ipv4Addr::new(192, 0, 2, 1), 53) };
        udp(&mut frame, LAN, &flow);
        Spoofed { frame, credit: 0 }
    }
}

impl Feed for Spoofed {
    #[inline]
    fn next(&mut self, frame: &mut [u8]) -> bool {
        if self.credit == 0 {
            return false;
        }
        self.credit -= 1;
        frame.copy_from_slice(&self.frame);
        true
    }
}

/// A control server over a gateway, on a socket of its own.
fn serve<F: Feed>(gateway: &Gateway<F>, socket: &std::path::Path) -> Server {
    let config = config("");
    let snapshot = Arc::new(compile(&config, &[MAC], 1, 1));
    let devices = vec![DeviceRow { name: "vdev:bench".into(), driver: "memory".into(), mac: MAC }];
    let state = ControlState {
        started: Started::now(start()),
        version: "bench".into(),
        dpdk_version: None,
        tsc_hz: None,
        config_path: PathBuf::from("bench.toml"),
        workers: vec![gateway.counters.clone()],
        running: Published::new(Running::new(config, snapshot, devices)),
        sessions: vec![gateway.sessions.clone()],
        published: Publisher::default(),
        commands: commands::channel(1).0,
        session_feed: Default::default(),
        reloads: Published::default(),
        now: Box::new(|| start().tick()),
    };
    Server::start(socket, Arc::new(state)).expect("a control server")
}

/// What the reader has read.
#[derive(Default)]
struct Read {
    mode: AtomicU8,
    answers: AtomicU64,
    lines: AtomicU64,
}

/// Reads what it is told to until the end.
fn read(told: &Read, own: &Client, other: &Client) {
    let mode = || told.mode.load(Ordering::Relaxed);
    let lines = |client: &Client, path: &str, while_in: Reading| {
        for line in client.get_lines(path).expect("an answer") {
            std::hint::black_box(line.expect("a line"));
            told.lines.fetch_add(1, Ordering::Relaxed);
            if mode() != while_in as u8 {
                return;
            }
        }
        told.answers.fetch_add(1, Ordering::Relaxed);
    };
    loop {
        match Reading::ALL[usize::from(mode())] {
            Reading::Nothing => std::thread::sleep(Duration::from_millis(1)),
            Reading::Scrape => lines(own, "/metrics", Reading::Scrape),
            Reading::List => lines(own, "/v1/sessions?format=extended", Reading::List),
            Reading::OthersList => lines(other, "/v1/sessions?format=extended", Reading::OthersList),
            Reading::Samples => {
                let samples: serde_json::Value = own.get_json("/v1/drops/samples").expect("an answer");
                std::hint::black_box(samples);
                told.answers.fetch_add(1, Ordering::Relaxed);
            }
            Reading::End => return,
        }
    }
}

/// Nanoseconds a packet of a worker that turns for a while. `credit` lets a burst come.
fn turns(window: Duration, mut burst: impl FnMut(Instant)) -> f64 {
    let begin = Instant::now();
    let (mut now, mut packets) = (begin, 0u64);
    while now - begin < window {
        for _ in 0..64 {
            burst(now);
            packets += 32;
        }
        now = Instant::now();
    }
    (now - begin).as_nanos() as f64 / packets as f64
}

/// Measures the cases round after round: nanoseconds a packet by case and round, and what was read a second.
fn measure(
    told: &Read,
    cases: &[Reading],
    mut burst: impl FnMut(Instant),
) -> Vec<(Reading, Vec<f64>, f64, f64)> {
    let mut all: Vec<(Reading, Vec<f64>, f64, f64)> =
        cases.iter().map(|case| (*case, Vec::new(), 0.0, 0.0)).collect();
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        for (case, took, answers, lines) in &mut all {
            told.mode.store(*case as u8, Ordering::Relaxed);
            turns(SETTLE, &mut burst);
            let before = (told.answers.load(Ordering::Relaxed), told.lines.load(Ordering::Relaxed));
            took.push(turns(WINDOW, &mut burst));
            let seconds = WINDOW.as_secs_f64() * ROUNDS as f64;
            *answers += (told.answers.load(Ordering::Relaxed) - before.0) as f64 / seconds;
            *lines += (told.lines.load(Ordering::Relaxed) - before.1) as f64 / seconds;
            told.mode.store(Reading::Nothing as u8, Ordering::Relaxed);
        }
    }
    eprintln!();
    all
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A row for each case: compared with the first one of the same round.
fn print(rows: &[(Reading, Vec<f64>, f64, f64)]) {
    let base = &rows[0].1;
    for (case, took, answers, lines) in rows {
        let ratios: Vec<f64> =
            took.iter().zip(base).map(|(time, alone)| (time / alone - 1.0) * 100.0).collect();
        let (least, most) = ratios.iter().fold((f64::MAX, f64::MIN), |(a, b), r| (a.min(*r), b.max(*r)));
        let cycles = median(took.clone()) * gigahertz();
        println!(
            "| {} | {cycles:.0} | {:+.1} % ({least:+.1} to {most:+.1}) | {answers:.0} | {lines:.0} |",
            case.name(),
            median(ratios),
        );
    }
}

fn main() {
    let flows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000u32);
    let cpus: Vec<CoreId> = core_affinity::get_core_ids().unwrap_or_default();
    let (Some(first), Some(last)) = (cpus.first().copied(), cpus.last().copied()) else { return };
    if first == last {
        println!("this benchmark needs two CPUs");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = ["own", "other", "drops"].map(|name| directory.path().join(name));
    core_affinity::set_for_current(last);
    let (mut gateway, other) = (hitting(flows), hitting(flows));
    let config_text = "[conntrack]\nmax_sessions = 1024\n";
    let mut dropping = Gateway::new(&config(config_text), Spoofed::new());

    // Threads are on the CPU of the one that starts them.
    core_affinity::set_for_current(first);
    let _servers = (serve(&gateway, &sockets[0]), serve(&other, &sockets[1]), serve(&dropping, &sockets[2]));
    let told = [Read::default(), Read::default()].map(Arc::new);
    let readers = [(0, 0, 1), (1, 2, 2)].map(|(of, own, other)| {
        let (told, own, other) = (told[of].clone(), Client::new(&sockets[own]), Client::new(&sockets[other]));
        std::thread::spawn(move || read(&told, &own, &other))
    });
    core_affinity::set_for_current(last);

    println!("| {flows} sessions, hit path | cycles a packet | more than alone | answers/s | lines/s |");
    println!("|---|---|---|---|---|");
    let cases = [Reading::Nothing, Reading::Scrape, Reading::List, Reading::OthersList];
    print(&measure(&told[0], &cases, |_| Replay::burst(&mut gateway)));
    gateway.assert_all_sent();

    println!("\n| every packet dropped | cycles a packet | more than alone | answers/s | lines/s |");
    println!("|---|---|---|---|---|");
    let cases = [Reading::Nothing, Reading::Samples];
    let begun = Instant::now();
    // Without time going on, no packet is sampled after the first ones.
    let mut rows = measure(&told[1], &cases[..1], |_| drop_burst(&mut dropping, Duration::ZERO));
    let sampled = measure(&told[1], &cases, |now| drop_burst(&mut dropping, now - begun));
    rows.extend(sampled);
    println!("(first: time stands still, so that nothing is sampled; then eight packets each 100 ms are)");
    print(&rows);
    let dropped = dropping.counters.drops[DropReason::SpoofedSource as usize].get();
    assert_eq!(dropped, dropping.counters.rx.get(), "every packet was dropped for that reason");
    for told in &told {
        told.mode.store(Reading::End as u8, Ordering::Relaxed);
    }
    for reader in readers {
        reader.join().expect("the reader");
    }
}

fn drop_burst(gateway: &mut Gateway<Spoofed>, after: Duration) {
    gateway.feed.lock().expect("one thread").credit = 32;
    gateway.worker.poll_once(std::hint::black_box(start() + after));
}

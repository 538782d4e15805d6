//! What handing packets over costs, and what a second worker gains.
//!
//! ```text
//! cargo bench --bench steering               # two CPUs, nothing else running; half a minute
//! ```
//!
//! Two workers on a CPU each, and one worker alone, translate the same flows, half of the packets out and half in. The NIC
//! is a list of frames for each worker, so that it can do what each plan says:
//!
//! | packets come to | handoff ratio | as under |
//! |---|---|---|
//! | their owner | 0 | plans A and B |
//! | their owner on the way out, the other worker on the way in | 0.5 | plan C with NICs that see through half of it |
//! | the other worker | 1 | the worst that plan C can meet |
//!
//! A worker whose ring to the other one is nearly full receives nothing, so that what is measured is work, not loss. Every
//! frame has to come out. A worker that waits for the other one spins, and counts as working.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints, and rounds"
)]

mod support;

use natgate::config::compile::compile_for;
use natgate::pipeline::Worker;
use natgate::steering::Steering;
use natgate::telemetry::{HandoffCause, WorkerCounters};
use std::sync::Arc;
use std::time::Instant;
use support::{
    Built, FRAME, Feed, Flow, LAN, Loop, MAC, WAN, build, config, flow_of, gigahertz, outbound, shuffled,
    start, udp,
};

/// Flows in all; half of the packets of each go out.
const FLOWS: u32 = 65_536;
/// Packets of a run, all workers together.
const PACKETS: u64 = 8 << 20;
/// Frames that wait for the other worker at the most, but for those between two looks: less than a handoff ring holds.
const WINDOW: u64 = 800;
/// Frames that a worker receives between two looks at how far the other is.
const LOOK: u64 = 64;
const ROUNDS: usize = 7;

/// Where a frame arrives, beside the worker that owns it.
#[derive(Clone, Copy, PartialEq)]
enum Arrival {
    Owner,
    RepliesElsewhere,
    Elsewhere,
}

/// One worker's queue.
struct Queue {
    frames: Vec<[u8; FRAME]>,
    at: usize,
    /// Frames that may still come.
    credit: u64,
    /// What this worker counts, and the other one.
    counters: Option<[Arc<WorkerCounters>; 2]>,
    /// What came out, while flows are set up.
    log: Option<Vec<[u8; FRAME]>>,
}

impl Queue {
    /// Whether so much waits for the other worker that more could find its ring full.
    fn has_to_wait(&self) -> bool {
        let waits = |[own, other]: &[Arc<WorkerCounters>; 2]| own.handed_off.get() - other.taken_over.get();
        self.counters.as_ref().is_some_and(|counters| waits(counters) >= WINDOW)
    }
}

impl Feed for Queue {
    #[inline]
    fn next(&mut self, frame: &mut [u8]) -> bool {
        // A look costs both a cache line.
        if self.credit == 0 || (self.credit.is_multiple_of(LOOK) && self.has_to_wait()) {
            return false;
        }
        self.credit -= 1;
        frame.copy_from_slice(&self.frames[self.at]);
        self.at = if self.at + 1 == self.frames.len() { 0 } else { self.at + 1 };
        true
    }

    #[inline]
    fn sent(&mut self, frame: &[u8]) {
        if let Some(log) = &mut self.log {
            log.push(frame[..FRAME].try_into().expect("a whole frame"));
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy)]
struct Outcome {
    packets_per_second: f64,
    handoff_ratio: f64,
}

/// Workers whose sessions exist, with the frames that come in for each.
fn prepare(workers: u8, arrival: Arrival) -> Vec<Built<Queue>> {
    let config = config(&format!("[conntrack]\nmax_sessions = {}\nreserve = \"0%\"\n", 2 * FLOWS));
    let queue = || Queue { frames: Vec::new(), at: 0, credit: 0, counters: None, log: Some(Vec::new()) };
    let feeds = (0..workers).map(|_| queue());
    let steering = Steering::new(workers, 0x5eed);
    let snapshot = compile_for(&config, &[MAC], steering, 1);
    let (mut built, mut management) = build(snapshot, 2 * FLOWS, feeds);
    let mut flows = vec![Vec::new(); built.len()];
    for n in 0..FLOWS {
        let mut frame = [0; FRAME];
        udp(&mut frame, LAN, &outbound(n));
        {
            let mut feed = built[0].feed.lock().expect("one thread");
            (feed.frames, feed.at, feed.credit) = (vec![frame], 0, 1);
        }
        for _ in 0..2 {
            built.iter_mut().for_each(|built| while built.worker.poll_once(start()) {});
        }
        while management.poll_once(start()) {}
        // It came out at its owner.
        for (owner, built) in built.iter().enumerate() {
            let mut feed = built.feed.lock().expect("one thread");
            for out in feed.log.iter_mut().flat_map(|log| log.drain(..)) {
                let Flow { from, to } = flow_of(&out);
                flows[owner].push((frame, Flow { from: to, to: from }));
            }
        }
    }
    let mut frames = vec![Vec::new(); built.len()];
    for (owner, flows) in flows.iter().enumerate() {
        let other = built.len() - 1 - owner;
        let way_out = if arrival == Arrival::Elsewhere { other } else { owner };
        let way_in = if arrival == Arrival::Owner { owner } else { other };
        let order = shuffled(u32::try_from(flows.len()).expect("few"));
        let flow = |n: &u32| &flows[usize::try_from(*n).expect("an index")];
        // A packet and the reply to it stand far from each other.
        for (n, other_n) in order.iter().zip(order.iter().rev()) {
            let mut reply = [0; FRAME];
            udp(&mut reply, WAN, &flow(other_n).1);
            frames[way_out].push(flow(n).0);
            frames[way_in].push(reply);
        }
    }
    let share = PACKETS / u64::from(workers);
    for (worker, frames) in frames.into_iter().enumerate() {
        let mut feed = built[worker].feed.lock().expect("one thread");
        let other = built.len() - 1 - worker;
        feed.counters = (other != worker).then(|| [worker, other].map(|at| built[at].counters.clone()));
        (feed.frames, feed.at, feed.credit, feed.log) = (frames, 0, share, None);
    }
    built
}

fn run(workers: u8, arrival: Arrival) -> Outcome {
    let built = prepare(workers, arrival);
    let counters: Vec<_> = built.iter().map(|built| built.counters.clone()).collect();
    let sum = |pick: fn(&WorkerCounters) -> u64| counters.iter().map(|c| pick(c)).sum::<u64>();
    let handed: fn(&WorkerCounters) -> u64 = |c| c.handoffs[HandoffCause::Flow as usize].get();
    let (sent_before, handed_before) = (sum(|c| c.sent.get()), sum(handed));
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for (built, cpu) in built.into_iter().zip(cpus.into_iter().rev()) {
            let counters = &counters;
            scope.spawn(move || {
                core_affinity::set_for_current(cpu);
                turn(built.worker, counters, sent_before + PACKETS);
            });
        }
    });
    let took = begin.elapsed().as_secs_f64();
    assert_eq!(
        (sum(|c| c.sent.get()) - sent_before, sum(|c| c.dropped())),
        (PACKETS, 0),
        "a packet got lost"
    );
    Outcome {
        packets_per_second: PACKETS as f64 / took,
        handoff_ratio: (sum(handed) - handed_before) as f64 / PACKETS as f64,
    }
}

/// Turns of one worker until all frames of all workers are out.
fn turn(mut worker: Worker<Loop<Queue>>, all: &[Arc<WorkerCounters>], until: u64) {
    while all.iter().map(|counters| counters.sent.get()).sum::<u64>() < until {
        for _ in 0..64 {
            worker.poll_once(std::hint::black_box(start()));
        }
    }
}

fn main() {
    let cpus = core_affinity::get_core_ids().map_or(0, |cpus| cpus.len());
    if cpus < 2 {
        println!("this benchmark needs two CPUs, and the process may use {cpus}");
        return;
    }
    let cases = [
        ("one worker", 1, Arrival::Owner),
        ("two, all packets at their owner", 2, Arrival::Owner),
        ("two, every reply handed off", 2, Arrival::RepliesElsewhere),
        ("two, every packet handed off", 2, Arrival::Elsewhere),
    ];
    let mut outcomes = [const { Vec::new() }; 4];
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        for ((_, workers, arrival), outcomes) in cases.iter().zip(&mut outcomes) {
            outcomes.push(run(*workers, *arrival));
        }
    }
    eprintln!();
    println!(
        "{FLOWS} flows, {PACKETS} packets of 64 bytes a run, {ROUNDS} rounds: median (minimum to maximum)"
    );
    let mut base = Vec::new();
    for ((name, workers, _), outcomes) in cases.iter().zip(&outcomes) {
        let rates: Vec<f64> = outcomes.iter().map(|outcome| outcome.packets_per_second / 1e6).collect();
        if base.is_empty() {
            base.clone_from(&rates);
        }
        // Of the same round, so that a slow moment of the machine meets both.
        let gains = rates.iter().zip(&base).map(|(rate, one)| rate / one).collect();
        let cycles = rates.iter().map(|rate| f64::from(*workers) * gigahertz() * 1e3 / rate).collect();
        println!(
            "{name:32}  handoff ratio {:.2}  {} Mpps  {} cycles a packet  {} times one worker",
            outcomes[0].handoff_ratio,
            spread(rates, 2),
            spread(cycles, 0),
            spread(gains, 2),
        );
    }
}

/// Median, minimum and maximum.
fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (first, last) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0));
    format!("{:.digits$} ({first:.digits$} to {last:.digits$})", values[values.len() / 2])
}

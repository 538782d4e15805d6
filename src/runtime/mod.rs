//! Start, pin, run, drain, stop.
//!
//! [`Gateway`] is the running pipeline over any device: one pinned thread a worker, and the management core on its
//! own. `process` is what `natgate run` does with it.
//!
//! Stopping is in two steps, so that every packet gets its verdict: first every worker makes its last turn, then
//! each gives up what it still holds (`shutdown` drops), when nobody can hand anything over any more. Only after
//! that are devices stopped and the frame pool is checked to be whole.

#[cfg(feature = "dpdk")]
pub mod process;
#[cfg(feature = "dpdk")]
mod steer;
mod turns;

use crate::config::compile::compile_for;
use crate::config::model::{Config, PollMode};
use crate::conntrack::key::V4Key;
use crate::conntrack::table::{SessionView, Shard};
use crate::device::Device;
use crate::ids::{MacAddr, WorkerId};
use crate::management::commands::{self, Commands};
use crate::management::publish::{self, Publication};
use crate::management::session_feed::SessionFeed;
use crate::management::{Management, WorkerLink};
use crate::nat::Rng;
use crate::pipeline::mesh::{HANDOFF_FRAMES, full_mesh};
use crate::pipeline::session_events::{SESSION_EVENTS, SessionEvents};
use crate::pipeline::{Snapshot, Worker, WorkerParts};
use crate::steering::Steering;
use crate::steering::plan::Choices;
use crate::telemetry::WorkerCounters;
use crate::time::Time;
use core_affinity::CoreId;
use rtrb::RingBuffer;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use turns::Turns;

/// Messages in each ring between a worker and the management core.
const MESSAGES: usize = 4096;
/// Sessions in each ring of timer posts. At five million new sessions a second, the most that a worker is built for,
/// the ring takes 13 ms to fill: several times as long as the management core sleeps. A quarter of a megabyte a worker.
const TIMER_POSTS: usize = 65_536;
/// Turns between two looks at the stop flag and, in adaptive mode, idle turns before a worker sleeps.
const TURNS: u32 = 256;
/// How long an idle worker sleeps in adaptive mode: 20,000 turns a second are plenty for no traffic.
const WORKER_NAP: Duration = Duration::from_micros(50);
/// How long the idle management core sleeps.
const MANAGEMENT_NAP: Duration = Duration::from_millis(2);

/// Nanoseconds since a fixed moment.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now. It starts at one hour rather than zero, so that no age is ever cut off.
    pub fn start() -> Self {
        Clock(Instant::now())
    }

    /// The time.
    #[inline]
    pub fn now(&self) -> Time {
        Time::from_secs(3600) + self.0.elapsed()
    }
}

/// Why a gateway could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A thread could not be started.
    #[error("can not start a thread: {0}")]
    Thread(std::io::Error),
    /// The operating system gave no random numbers.
    #[error("can not get random numbers from the operating system: {0}")]
    Random(getrandom::Error),
    /// The config pins a worker to a CPU that the process may not use, or that the machine has not.
    #[error(
        "CPU {cpu} of runtime.cpus is none that this process may use ({usable}): list others, or leave `cpus` out"
    )]
    Cpu {
        /// The CPU.
        cpu: usize,
        /// Those that it may use, such as `0-3,7`.
        usable: String,
    },
    /// A thread panicked. Its message went to the log.
    #[error("{0} panicked; this is a bug, please report it with the message above")]
    Panicked(String),
}

/// What is called on a worker's thread before its first turn and lives until after its last one.
pub type ThreadSetup = Arc<dyn Fn(WorkerId) -> Box<dyn std::any::Any> + Send + Sync>;

/// A running gateway.
pub struct Gateway<D: Device> {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Worker<D>>>,
    management: JoinHandle<Management>,
    /// The configuration that runs.
    pub snapshot: Arc<Snapshot>,
    /// Each worker's counters.
    pub counters: Vec<Arc<WorkerCounters>>,
    /// Each worker's sessions.
    pub sessions: Vec<SessionView<V4Key>>,
    /// Takes orders to the workers.
    pub commands: Commands,
    /// Takes configurations that are to run.
    pub publications: mpsc::Sender<Publication>,
    /// What happens to sessions, for whoever watches.
    pub session_feed: SessionFeed,
    /// The clock that everything runs on.
    pub clock: Clock,
}

impl<D: Device + 'static> Gateway<D>
where
    D::Buf: 'static,
{
    /// Starts the workers and the management core.
    ///
    /// `steering` is for as many workers as there are and what the devices were told, with the plans by device. `devices` are the handles by worker
    /// and device, `macs` the devices' Ethernet addresses. `watch` sees the management core after each of its turns, to
    /// publish what it knows.
    ///
    /// # Errors
    /// A CPU that may not be used, no random numbers, or no threads.
    pub fn start(
        config: &Config,
        (steering, choices): (Steering, &[Choices]),
        devices: Vec<Vec<D>>,
        macs: &[MacAddr],
        setup: ThreadSetup,
        watch: impl FnMut(&mut Management, Time) + Send + 'static,
    ) -> Result<Gateway<D>, GatewayError> {
        let count = devices.len();
        let table_seed = random()?;
        let snapshot = Arc::new(compile_for(config, macs, steering, 1));
        let transmitters = transmitters(&devices);
        let share = config.conntrack.max_sessions.div_ceil(u32::try_from(count.max(1)).unwrap_or(u32::MAX));
        let cpus =
            assign_cpus(&config.runtime.cpus, &core_affinity::get_core_ids().unwrap_or_default(), count)?;
        let clock = Clock::start();
        let stop = Arc::new(AtomicBool::new(false));

        let session_feed = SessionFeed::default();
        let mut built = Vec::new();
        let mut links = Vec::new();
        let mut counters = Vec::new();
        let mut sessions = Vec::new();
        for ((number, devices), peers) in (0u8..).zip(devices).zip(full_mesh(count, HANDOFF_FRAMES)) {
            let (shard, view) = Shard::new(share, table_seed);
            let (to_worker, mail) = RingBuffer::new(MESSAGES);
            let (management, from_worker) = RingBuffer::new(MESSAGES);
            let worker_counters = Arc::new(WorkerCounters::default());
            let (timer_posts, timers) = RingBuffer::new(TIMER_POSTS);
            let (tells, session_events) = SessionEvents::new(SESSION_EVENTS, session_feed.watched());
            links.push(WorkerLink {
                to: to_worker,
                from: from_worker,
                sessions: view.clone(),
                timers,
                session_events,
                counters: worker_counters.clone(),
            });
            counters.push(worker_counters.clone());
            sessions.push(view);
            built.push(Worker::new(WorkerParts {
                id: WorkerId(number),
                snapshot: snapshot.clone(),
                devices,
                transmitters: transmitters.get(usize::from(number)).cloned().unwrap_or_default(),
                shard,
                peers,
                mail,
                management,
                timers: timer_posts,
                session_events: tells,
                counters: worker_counters,
                rng: Rng::from_os().map_err(GatewayError::Random)?,
            }));
        }

        let mut workers = Vec::new();
        let halt = stop.clone();
        for ((worker, cpu), number) in built.into_iter().zip(cpus).zip(0u8..) {
            let (stop, setup, poll) = (stop.clone(), setup.clone(), config.runtime.poll);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    if let Some(cpu) = cpu
                        && !core_affinity::set_for_current(cpu)
                    {
                        tracing::warn!(worker = number, cpu = cpu.id, "can not pin the worker to its CPU");
                    }
                    let _registered = setup(WorkerId(number));
                    work(worker, clock, poll, &stop)
                })
                .map_err(|error| no_thread(error, &halt))?;
            workers.push(thread);
        }
        let mut core = Management::new(snapshot.clone(), links, clock.now());
        core.watch_steering(choices);
        core.announce(clock.now());
        let (commands, orders) = commands::channel(count);
        core.take_orders(orders);
        let (publications, published) = publish::channel();
        core.take_publications(published);
        core.feed_sessions(session_feed.clone());
        let stopped = stop.clone();
        let management = std::thread::Builder::new()
            .name("management".into())
            .spawn(move || manage(core, clock, &stopped, watch))
            .map_err(|error| no_thread(error, &stop))?;
        Ok(Gateway {
            stop,
            workers,
            management,
            snapshot,
            counters,
            sessions,
            commands,
            publications,
            session_feed,
            clock,
        })
    }

    /// Whether a thread ended although nobody asked it to: it panicked.
    pub fn has_failed(&self) -> bool {
        self.management.is_finished() || self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Stops every thread and gives every packet its verdict. Device handles and frames are gone afterwards.
    ///
    /// # Errors
    /// A thread had panicked.
    pub fn stop(self) -> Result<(), GatewayError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut panicked = None;
        let mut ended = Vec::new();
        for (thread, number) in self.workers.into_iter().zip(0u8..) {
            match thread.join() {
                Ok(worker) => ended.push(worker),
                Err(_) => panicked = Some(WorkerId(number).to_string()),
            }
        }
        if self.management.join().is_err() {
            panicked = Some("the management core".into());
        }
        for worker in &mut ended {
            worker.drain();
        }
        panicked.map_or(Ok(()), |who| Err(GatewayError::Panicked(who)))
    }
}

/// Ends the threads that were started before one could not be.
fn no_thread(error: std::io::Error, stop: &AtomicBool) -> GatewayError {
    stop.store(true, Ordering::Relaxed);
    GatewayError::Thread(error)
}

fn random() -> Result<u64, GatewayError> {
    getrandom::u64().map_err(GatewayError::Random)
}

/// For each worker and device the worker that transmits there: itself, or one of those that can, in turn.
fn transmitters<D: Device>(devices: &[Vec<D>]) -> Vec<Vec<WorkerId>> {
    let device_count = devices.first().map_or(0, Vec::len);
    let able: Vec<Vec<WorkerId>> = (0..device_count)
        .map(|device| {
            let transmits = |handles: &&Vec<D>| handles.get(device).is_some_and(Device::transmits);
            (0u8..)
                .zip(devices)
                .filter(|(_, handles)| transmits(handles))
                .map(|(number, _)| WorkerId(number))
                .collect()
        })
        .collect();
    (0u8..)
        .zip(devices)
        .map(|(number, _)| {
            let own = WorkerId(number);
            able.iter()
                .map(|able| {
                    if able.contains(&own) || able.is_empty() { own } else { able[own.index() % able.len()] }
                })
                .collect()
        })
        .collect()
}

/// A CPU for each worker: those of the config (`wanted`), or the last of those that the process may use (`usable`;
/// empty if the system does not tell).
fn assign_cpus(
    wanted: &[usize],
    usable: &[CoreId],
    workers: usize,
) -> Result<Vec<Option<CoreId>>, GatewayError> {
    if !wanted.is_empty() {
        let forbidden = |cpu: &&usize| !usable.is_empty() && !usable.contains(&CoreId { id: **cpu });
        if let Some(cpu) = wanted.iter().find(forbidden) {
            return Err(GatewayError::Cpu { cpu: *cpu, usable: cpu_list(usable) });
        }
        let ids = wanted.iter().map(|id| Some(CoreId { id: *id }));
        return Ok(ids.chain(std::iter::repeat(None)).take(workers).collect());
    }
    if usable.len() < workers {
        tracing::warn!(
            workers,
            cpus = usable.len(),
            "more workers than CPUs: they are not pinned and share; set runtime.workers to the number of CPUs"
        );
        return Ok(vec![None; workers]);
    }
    Ok(usable.iter().rev().copied().map(Some).take(workers).collect())
}

/// The CPUs as Linux writes them: `0-3,7`.
fn cpu_list(cpus: &[CoreId]) -> String {
    let mut runs: Vec<RangeInclusive<usize>> = Vec::new();
    for CoreId { id } in cpus {
        match runs.last_mut() {
            Some(run) if run.end() + 1 == *id => *run = *run.start()..=*id,
            _ => runs.push(*id..=*id),
        }
    }
    let text = |run: &RangeInclusive<usize>| match (run.start(), run.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

/// A worker's thread.
fn work<D: Device>(mut worker: Worker<D>, clock: Clock, poll: PollMode, stop: &AtomicBool) -> Worker<D> {
    let mut idle: u32 = 0;
    let mut turns = Turns::new(worker.counters().clone(), clock.now());
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..TURNS {
            let now = turns.begin(clock.now());
            if turns.was_busy(worker.poll_once(now)) {
                idle = 0;
            } else {
                // A busy worker without traffic never starts over.
                idle = idle.saturating_add(1);
            }
            if poll == PollMode::Adaptive && idle > TURNS {
                break;
            }
        }
        if poll == PollMode::Adaptive && idle > TURNS {
            idle = TURNS;
            std::thread::sleep(WORKER_NAP);
        }
    }
    worker
}

/// The management core's thread.
fn manage(
    mut management: Management,
    clock: Clock,
    stop: &AtomicBool,
    mut watch: impl FnMut(&mut Management, Time),
) -> Management {
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let busy = management.poll_once(now);
        watch(&mut management, now);
        if !busy {
            std::thread::sleep(MANAGEMENT_NAP);
        }
    }
    management
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(ids: &[usize]) -> Vec<CoreId> {
        ids.iter().map(|id| CoreId { id: *id }).collect()
    }

    #[test]
    fn a_worker_is_pinned_to_no_cpu_that_the_process_may_not_use() {
        let error = assign_cpus(&[2, 9], &cores(&[0, 1, 2, 5]), 2).unwrap_err();
        assert!(matches!(error, GatewayError::Cpu { cpu: 9, .. }));
        assert!(error.to_string().contains("CPU 9 of runtime.cpus") && error.to_string().contains("(0-2,5)"));
    }

    #[test]
    fn workers_get_the_cpus_of_the_config_or_the_last_ones() {
        let given =
            |cpus: Vec<Option<CoreId>>| cpus.into_iter().map(|cpu| cpu.map(|c| c.id)).collect::<Vec<_>>();
        let usable = cores(&[0, 1, 2, 3]);
        assert_eq!(given(assign_cpus(&[1, 0], &usable, 2).unwrap()), [Some(1), Some(0)]);
        assert_eq!(given(assign_cpus(&[], &usable, 2).unwrap()), [Some(3), Some(2)]);
        assert_eq!(given(assign_cpus(&[], &usable, 5).unwrap()), [None; 5]);
        // Where the system does not tell what may be used, nothing is forbidden.
        assert_eq!(given(assign_cpus(&[7], &[], 1).unwrap()), [Some(7)]);
    }
}

//! Whether every part of the gateway still turns, how fast pools run out, and whether packets of notrack classes go both
//! ways: what takes two looks some time apart.
//!
//! The control thread looks once a second ([`Watch::look`]) and before it answers. Nobody has to report anything: a worker
//! counts its turns, and the management core publishes its figures, anyway.

use super::metrics::growth::Growth;
use super::one_way::{Finding, Known, OneWay, Sample};
use super::state::ControlState;
use super::{api, pools};
use crate::classify::notrack::{Answers, NotrackClass, Verdict};
use crate::management::events::EventKind;
use crate::management::expiry::TimerStatus;
use crate::telemetry::Counter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the control thread looks.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How long a part may do nothing and still be alive. Workers turn thousands of times a second, also without traffic; the
/// management core publishes once a second.
pub const SILENCE: Duration = Duration::from_secs(5);

/// What was seen. Only the control thread uses it; the lock is for the type system.
#[derive(Debug)]
pub struct Watch(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    workers: Vec<Pulse<u64>>,
    management: Pulse<Arc<Vec<TimerStatus>>>,
    pools: Growth,
    classes: OneWay,
}

/// Something that changes as long as a part is alive.
#[derive(Debug)]
struct Pulse<T> {
    last: T,
    changed: Instant,
}

impl<T> Pulse<T> {
    fn read(&mut self, value: T, is_same: impl FnOnce(&T, &T) -> bool, now: Instant) {
        if !is_same(&self.last, &value) {
            *self = Pulse { last: value, changed: now };
        }
    }

    fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.changed)
    }
}

impl Watch {
    /// A watch that begins now: everything counts as alive.
    pub fn new(state: &ControlState, now: Instant) -> Watch {
        let pulse = |polls: &Counter| Pulse { last: polls.get(), changed: now };
        Watch(Mutex::new(Seen {
            workers: state.workers.iter().map(|worker| pulse(&worker.polls)).collect(),
            management: Pulse { last: state.published.timers.read(), changed: now },
            pools: Growth::default(),
            classes: OneWay::default(),
        }))
    }

    /// Looks whether anything changed, and says what an operator has to hear of.
    pub fn look(&self, state: &ControlState, now: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (pulse, worker) in seen.workers.iter_mut().zip(&state.workers) {
            pulse.read(worker.polls.get(), u64::eq, now);
        }
        // What is kept is not freed, so that a new list never lies where the old one did.
        seen.management.read(state.published.timers.read(), Arc::ptr_eq, now);
        let running = state.running.read();
        if seen.pools.is_due(now) {
            seen.pools.take(now, pools::pools(&running, 1).pools);
        }
        let classes = running.config.notrack.iter().zip(&running.snapshot.classes);
        let samples = classes.map(|(class, counted)| Sample {
            name: &counted.name,
            both_ways: goes_both_ways(class),
            packets: counted.counters.totals().packets,
        });
        for finding in seen.classes.look(samples, now) {
            state.say(kind_of(&finding), finding.text());
        }
    }

    /// Who is alive.
    pub fn health(&self, state: &ControlState, now: Instant) -> api::Health {
        self.look(state, now);
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |part: String, silence: Duration| api::HealthPart {
            part,
            alive: silence <= SILENCE,
            silent_seconds: silence.as_secs(),
        };
        let workers = seen.workers.iter().enumerate();
        let mut parts: Vec<_> =
            workers.map(|(number, pulse)| part(format!("worker {number}"), pulse.silence(now))).collect();
        parts.push(part("management core".to_owned(), seen.management.silence(now)));
        api::Health { healthy: parts.iter().all(|part| part.alive), parts }
    }

    /// How long the ports of a pool last at the pace of the last minute: TCP, UDP, others; `None`: their use does not grow.
    pub(super) fn time_to_exhaustion(&self, pool: &api::Pool) -> [Option<Duration>; 3] {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pools.time_to_exhaustion(pool)
    }

    /// What is known of a notrack class beside its counters.
    pub(super) fn class(&self, name: &str, now: Instant) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).classes.known(name, now)
    }
}

/// Whether answers to a class's packets are to pass by it.
fn goes_both_ways(class: &NotrackClass) -> bool {
    class.verdict == Verdict::Forward && class.answers != Answers::Elsewhere
}

fn kind_of(finding: &Finding) -> EventKind {
    match finding.others {
        Some(_) => EventKind::NotrackAsymmetric,
        None => EventKind::NotrackSymmetric,
    }
}

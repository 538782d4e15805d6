//! Watches how packets reach their owners: whether each NIC keeps to its plan, and whether one worker carries too much.
//!
//! Reads the workers' counters once a second. A plan by which the NIC delivers (A, B) has to show it: [`Proof`] looks at
//! what arrived where. One that does not hold counts as plan C from then on, and that is said once.
//!
//! What a worker carries is what it takes from queues of NICs and from other workers. Verdicts alone would hide a worker
//! that receives everything and hands it on, and what was received alone one to which all others hand over. A worker is
//! skewed that carries more than twice its share; of two workers, where none can, more than three quarters. It is said
//! when that has lasted for ten seconds, and when it has been over for as long. A gateway with next to no traffic
//! (below [`FLOOR`]) is never skewed: there a single flow is everything.

use super::Management;
use super::events::{Event, EventKind};
use crate::pipeline::Snapshot;
use crate::steering::Spread;
use crate::steering::plan::{Choice, Choices, Plan, Proof, ProofState};
use crate::telemetry::{HandoffCause, WorkerCounters};
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// How often counters are read.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a worker has to carry too much, or no more than that, before it is said.
const LASTING: Duration = Duration::from_secs(10);
/// Packets a second of all workers together below which nothing is skewed.
pub const FLOOR: u64 = 1_000;

/// How packets of one interface reach their owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSteering {
    /// What was chosen at the start.
    pub choice: Choice,
    /// What its packets say of it.
    pub proof: ProofState,
}

impl InterfaceSteering {
    /// The plan by which packets really reach their owners.
    pub fn plan(&self) -> Plan {
        match self.proof {
            ProofState::Broken { .. } => Plan::C,
            _ => self.choice.plan,
        }
    }

    /// Whether the NIC delivers, so that there is something to prove.
    pub fn has_to_prove(&self) -> bool {
        matches!(self.choice.plan, Plan::A | Plan::B)
    }
}

/// What is known of steering, for display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SteeringStatus {
    /// What packets from inside go by.
    pub spread: Spread,
    /// By [`crate::ids::InterfaceId`].
    pub interfaces: Vec<InterfaceSteering>,
    /// By worker: whether it was said that it carries too much.
    pub skewed: Vec<bool>,
}

#[derive(Debug)]
struct Watched {
    name: String,
    choice: Choice,
    proof: Proof,
}

impl Watched {
    fn status(&self) -> InterfaceSteering {
        InterfaceSteering { choice: self.choice.clone(), proof: self.proof.state() }
    }

    /// Returns what there is to say.
    fn look(&mut self, packets: u64, misplaced: u64) -> Option<String> {
        let before = self.status();
        if !before.has_to_prove() || before.plan() == Plan::C {
            return None;
        }
        let ProofState::Broken { misplaced, packets } = self.proof.look(packets, misplaced) else {
            return None;
        };
        let (name, plan) = (&self.name, self.choice.plan);
        Some(format!(
            "steering: {name}: plan {plan} does not hold: {misplaced} of {packets} packets came to other queues than the NIC's table says; workers hand packets over"
        ))
    }
}

/// What a worker has counted.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    received: u64,
    taken_over: u64,
    /// Handed over to be dealt with by another worker.
    passed_on: u64,
    /// Handed over to be sent by another worker.
    left_to_send: u64,
}

impl Load {
    fn of(worker: &WorkerCounters) -> Load {
        let handoffs = |only_sent: bool| {
            let causes = HandoffCause::ALL.iter();
            let causes = causes.filter(|cause| (**cause == HandoffCause::Transmit) == only_sent);
            causes.map(|cause| worker.handoffs[*cause as usize].get()).sum()
        };
        Load {
            received: worker.rx.get(),
            taken_over: worker.taken_over.get(),
            passed_on: handoffs(false),
            left_to_send: handoffs(true),
        }
    }

    fn since(self, before: Load) -> Load {
        Load {
            received: self.received.saturating_sub(before.received),
            taken_over: self.taken_over.saturating_sub(before.taken_over),
            passed_on: self.passed_on.saturating_sub(before.passed_on),
            left_to_send: self.left_to_send.saturating_sub(before.left_to_send),
        }
    }

    fn carried(self) -> u64 {
        self.received + self.taken_over
    }
}

/// Whether a worker carries too much, as far as it was said.
#[derive(Clone, Copy, Debug, Default)]
struct Skew {
    said: bool,
    /// Since when it has been otherwise.
    otherwise: Option<Time>,
}

impl Skew {
    /// Takes in what was so between two moments. Returns whether it has to be said.
    fn read(&mut self, from: Time, to: Time, too_much: bool) -> bool {
        if too_much == self.said {
            self.otherwise = None;
            return false;
        }
        let since = *self.otherwise.get_or_insert(from);
        let lasting = to.since(since) >= LASTING;
        if lasting {
            *self = Skew { said: too_much, otherwise: None };
        }
        lasting
    }
}

/// The watch; see the module's head.
#[derive(Debug)]
pub struct SteeringWatch {
    spread: Spread,
    interfaces: Vec<Watched>,
    workers: Vec<(Load, Skew)>,
    last: Option<Time>,
}

impl SteeringWatch {
    /// A watch over the interfaces of a configuration and so many workers. `choices` are those of the devices; without
    /// them nothing was asked of the NICs.
    pub fn new(snapshot: &Snapshot, workers: usize, choices: &[Choices]) -> SteeringWatch {
        let unasked =
            |what: &str, plan, why_not: &str| Choice { plan, how: what.into(), why_not: why_not.into() };
        let unasked = if workers <= 1 {
            unasked("one worker owns every packet", Plan::Single, "")
        } else {
            unasked("workers hand packets over to their owners", Plan::C, "nothing was asked of the NIC")
        };
        let interfaces = snapshot.interfaces.iter().map(|interface| Watched {
            name: interface.name.clone(),
            choice: choices
                .get(interface.device.index())
                .map_or_else(|| unasked.clone(), |choices| choices.of(interface.realm).clone()),
            proof: Proof::default(),
        });
        SteeringWatch {
            spread: snapshot.steering.spread_by(),
            interfaces: interfaces.collect(),
            workers: vec![Default::default(); workers],
            last: None,
        }
    }

    /// Goes on with the interfaces of another configuration: those that there were keep their proof.
    fn adopt(&mut self, snapshot: &Snapshot, choices: &[Choices]) {
        let known = self.interfaces.len();
        let added = SteeringWatch::new(snapshot, self.workers.len(), choices).interfaces;
        self.interfaces.extend(added.into_iter().skip(known));
    }

    /// Reads the counters of all workers if a second has passed since the last time. Returns what there is to say.
    pub fn poll(&mut self, now: Time, workers: &[Arc<WorkerCounters>]) -> Vec<Event> {
        if self.workers.len() <= 1 || self.last.is_some_and(|last| now.since(last) < PERIOD) {
            return Vec::new();
        }
        let mut said = Vec::new();
        for (number, interface) in self.interfaces.iter_mut().enumerate() {
            let counters = || workers.iter().filter_map(|worker| worker.interfaces.get(number));
            let packets = counters().map(|interface| interface.steerable.get()).sum();
            let misplaced = counters().map(|interface| interface.misplaced.get()).sum();
            said.extend(interface.look(packets, misplaced).map(|text| (EventKind::SteeringBroken, text)));
        }
        self.weigh(now, workers, &mut said);
        said.into_iter().map(|(kind, text)| Event { at: now, kind, text }).collect()
    }

    /// Compares what the workers carried since the last time.
    fn weigh(&mut self, now: Time, workers: &[Arc<WorkerCounters>], said: &mut Vec<(EventKind, String)>) {
        let Some(last) = self.last.replace(now) else {
            for ((load, _), counters) in self.workers.iter_mut().zip(workers) {
                *load = Load::of(counters);
            }
            return;
        };
        let mut loads = Vec::with_capacity(self.workers.len());
        for ((load, _), counters) in self.workers.iter_mut().zip(workers) {
            let before = std::mem::replace(load, Load::of(counters));
            loads.push(load.since(before));
        }
        let total: u64 = loads.iter().map(|load| load.carried()).sum();
        let left_to_send: u64 = loads.iter().map(|load| load.left_to_send).sum();
        let millis = u64::try_from(now.since(last).as_millis()).unwrap_or(u64::MAX);
        let rate = total.saturating_mul(1000).checked_div(millis).unwrap_or(0);
        let count = self.workers.len();
        for (number, ((_, skew), load)) in self.workers.iter_mut().zip(loads).enumerate() {
            let too_much = rate >= FLOOR && is_too_much(load.carried(), total, count);
            if !skew.read(last, now, too_much) {
                continue;
            }
            said.push(if too_much {
                let percent = (load.carried() * 100).checked_div(total).unwrap_or(0);
                let too_much =
                    if count == 2 { "more than three times as much as the other" } else { "more than twice its share" };
                let text = format!(
                    "worker {number} of {count} carries {percent} % of {rate} packets a second, {too_much}, for {} s: {}",
                    LASTING.as_secs(),
                    cause(load, left_to_send, self.spread),
                );
                (EventKind::SkewBegan, text)
            } else {
                let text = format!("worker {number} has not carried too much for {} s", LASTING.as_secs());
                (EventKind::SkewEnded, text)
            });
        }
    }

    /// What is known at the moment.
    pub fn status(&self) -> SteeringStatus {
        SteeringStatus {
            spread: self.spread,
            interfaces: self.interfaces.iter().map(Watched::status).collect(),
            skewed: self.workers.iter().map(|(_, skew)| skew.said).collect(),
        }
    }
}

/// Whether that much is too much for one of so many workers.
fn is_too_much(carried: u64, total: u64, workers: usize) -> bool {
    let (carried, total) = (u128::from(carried), u128::from(total));
    match workers {
        0 | 1 => false,
        2 => carried * 4 > total * 3,
        n => carried * n as u128 > total * 2,
    }
}

/// What it probably comes from, and what to do about it. All workers left `left_to_send` to others.
fn cause(load: Load, left_to_send: u64, spread: Spread) -> &'static str {
    if load.passed_on + load.taken_over.min(left_to_send) > load.carried() / 2 {
        return "most of them it only receives or sends for others; `natgate show steering` says why the NIC does not deliver them there";
    }
    match spread {
        Spread::Source => {
            "a host inside has one worker, however busy it is; `natgate sessions top --sort bytes` shows the busiest, and with runtime.spread = \"flow\" (after a restart) each has all workers"
        }
        Spread::Flow => {
            "a flow has one worker, however busy it is; `natgate sessions top --sort bytes` shows the busiest hosts"
        }
    }
}

impl Management {
    /// Says how each device's packets reach their owners, as it was chosen at the start; by device.
    pub fn watch_steering(&mut self, choices: &[Choices]) {
        self.steering = SteeringWatch::new(&self.snapshot, self.links.len(), choices);
        self.choices = choices.to_vec();
    }

    /// Goes on with the interfaces of the current configuration.
    pub(super) fn adopt_interfaces(&mut self) {
        self.steering.adopt(&self.snapshot, &self.choices);
    }

    /// Says what there is to say of steering, once a second.
    pub(super) fn poll_steering(&mut self, now: Time) {
        for event in self.steering.poll(now, &self.counters) {
            self.events.say(event);
        }
    }

    /// How packets reach their owners.
    pub fn steering_status(&self) -> SteeringStatus {
        self.steering.status()
    }
}

#[cfg(test)]
#[path = "steering_tests.rs"]
mod tests;

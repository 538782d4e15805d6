//! Whether backends are there: asks them, and takes those that do not answer out of the choice of new sessions.
//!
//! ```text
//!         answers, `rise` in a row
//!   down ------------------------> up
//!        <------------------------
//!         none, `fall` in a row          begins as up: what nothing is known of is not refused
//! ```
//!
//! Each backend is asked once for all forwards that ask it the same ([`Patient`]), every `interval`, and a question is repeated
//! until its timeout: the first one may have to wait for ARP, and a packet may be lost. Questions of many backends are spread
//! over the interval. A worker sends them, through the data plane, and whichever worker hears an answer passes it on; only the
//! number of the question that is open counts, so neither a late answer nor a forged one makes a backend seem up.
//!
//! What changes is written into the places of each forward that has the backend ([`crate::classify::Targets::leave_out`]), no
//! more, and no configuration is published for it. Sessions that there are keep their backend, down or not. A reload keeps
//! what is known of the backends that stay.
//!
//! Bounds: `ASK_BUDGET` questions and `FILL_BUDGET` forwards a turn, and sixteen events a second.

mod talk;
mod vitals;

use super::Management;
use super::events::Event;
use crate::classify::service::Mask;
use crate::classify::{Forward, LocalAddress, Patient, ProbeKind};
use crate::nat::probe::{PORTS, Question};
use crate::packet::Tuple;
use crate::pipeline::Snapshot;
use crate::pipeline::message::ToWorker;
use crate::time::Time;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::Ipv4Addr;
use talk::{Talk, about_service};
pub use vitals::{Failure, Vitals};

/// Questions begun, repeated or given up a turn: 32,000 a second at the pace of the idle management core.
const ASK_BUDGET: usize = 64;
/// Forwards whose places are filled anew a turn: about a millisecond.
const FILL_BUDGET: usize = 8;
/// How often a question is asked within its timeout.
const TIMES: u32 = 3;

/// What is known of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStatus {
    /// Who, and how it is asked.
    pub patient: Patient,
    /// How it is.
    pub vitals: Vitals,
}

/// A question without an answer so far.
#[derive(Debug)]
struct Asking {
    /// The zone of the interface by which it left.
    zone: u16,
    question: Question,
    since: Time,
    until: Time,
}

/// A backend that is asked.
#[derive(Debug)]
struct Asked {
    patient: Patient,
    vitals: Vitals,
    asking: Option<Asking>,
    /// When there is something to do next: its place in the schedule.
    due: Time,
    /// The source port of the next question, counted from the first.
    turn: u16,
    /// The services that it is one of.
    services: Vec<usize>,
}

/// What names a forward in every configuration.
type Public = (Ipv4Addr, u8, u16);

/// A forward whose backends are asked.
#[derive(Debug)]
struct Service {
    /// Its place in `LocalAddresses::forwards`.
    forward: usize,
    /// What clients use: address, protocol, first port.
    public: Public,
    /// Its backends, in its order.
    backends: Vec<usize>,
    /// None of those that may have new sessions is up.
    is_down: bool,
    /// It waits to be filled.
    waits: bool,
}

/// Every backend that is asked.
#[derive(Debug, Default)]
pub(super) struct Health {
    backends: Vec<Asked>,
    services: Vec<Service>,
    schedule: BTreeSet<(Time, usize)>,
    /// Who is asked what at the moment, by the zone that the answer comes from.
    open: HashMap<(u16, Tuple), usize>,
    /// Services that are to be filled.
    waiting: VecDeque<usize>,
    talk: Talk,
    /// What forwards were told of the time.
    second: u32,
}

impl Health {
    /// Goes on with the backends of another configuration, before any worker has it: those that there were stay as they are.
    fn adopt(&mut self, snapshot: &Snapshot, now: Time, say: &mut Vec<Event>) {
        let before = std::mem::take(self);
        let mut known: HashMap<Patient, Asked> =
            before.backends.into_iter().map(|asked| (asked.patient, asked)).collect();
        let down: HashSet<Public> =
            before.services.iter().filter(|service| service.is_down).map(|service| service.public).collect();
        let mut numbers: HashMap<Patient, usize> = HashMap::new();
        let mut new = Vec::new();
        for (number, (on, forward)) in forwards(snapshot).enumerate() {
            let Some(check) = forward.targets.health() else { continue };
            let service = self.services.len();
            let mut backends = Vec::new();
            for target in forward.targets.iter() {
                let patient = Patient::new(forward.zone, target.address, target.port, *check);
                let at = *numbers.entry(patient).or_insert_with(|| {
                    let at = self.backends.len();
                    let asked = known.remove(&patient).unwrap_or_else(|| {
                        new.push(at);
                        Asked::new(patient, now)
                    });
                    self.backends.push(Asked { services: Vec::new(), ..asked });
                    at
                });
                if let Some(asked) = self.backends.get_mut(at) {
                    asked.services.push(service);
                }
                backends.push(at);
            }
            let public = (on, forward.protocol, *forward.ports.start());
            let is_down = down.contains(&public);
            self.services.push(Service { forward: number, public, backends, is_down, waits: false });
        }
        self.tell_time(snapshot, now);
        self.spread(&new, now);
        self.talk = before.talk;
        for (at, asked) in self.backends.iter().enumerate() {
            self.schedule.insert((asked.due, at));
            if let Some(asking) = &asked.asking {
                self.open.insert((asking.zone, asking.question.tuple), at);
            }
        }
        for at in 0..self.services.len() {
            self.fill(snapshot, at, now, say);
        }
    }

    /// Tells forwards whose sources keep their backends the time.
    fn tell_time(&mut self, snapshot: &Snapshot, now: Time) {
        self.second = now.as_secs();
        snapshot.local.forwards().iter().for_each(|forward| forward.targets.set_time(self.second));
    }

    /// New backends are asked for the first time one after the other.
    fn spread(&mut self, new: &[usize], now: Time) {
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX).max(1);
        for (at, turn) in new.iter().zip(0..) {
            if let Some(asked) = self.backends.get_mut(*at) {
                asked.due = now + asked.patient.check.interval * turn / count;
            }
        }
    }

    /// Does what is due. What there is to send goes to `post`, what there is to say to `say`.
    fn poll(&mut self, snapshot: &Snapshot, now: Time, post: &mut Vec<ToWorker>, say: &mut Vec<Event>) {
        for _ in 0..ASK_BUDGET {
            let Some(&(due, at)) = self.schedule.first().filter(|(due, _)| *due <= now) else { break };
            self.schedule.remove(&(due, at));
            let next = self.attend(snapshot, at, now, post, say);
            self.plan(at, next);
        }
        for _ in 0..FILL_BUDGET {
            let Some(at) = self.waiting.pop_front() else { break };
            self.fill(snapshot, at, now, say);
        }
        self.talk.catch_up(now, say);
    }

    fn plan(&mut self, at: usize, due: Time) {
        let Some(asked) = self.backends.get_mut(at) else { return };
        self.schedule.remove(&(asked.due, at));
        asked.due = due;
        self.schedule.insert((due, at));
    }

    /// It is a backend's turn. Returns when it is the next time.
    fn attend(
        &mut self,
        snapshot: &Snapshot,
        at: usize,
        now: Time,
        post: &mut Vec<ToWorker>,
        say: &mut Vec<Event>,
    ) -> Time {
        let Some(asked) = self.backends.get_mut(at) else { return now };
        let check = asked.patient.check;
        let pause = check.timeout / TIMES;
        match &asked.asking {
            Some(asking) if now >= asking.until => self.conclude(at, Err(Failure::Silent), now, say),
            Some(Asking { question, until, .. }) => {
                post.push(ToWorker::Ask { zone: asked.patient.zone, question: *question });
                (now + pause).min(*until)
            }
            None => match asked.begin(snapshot, &self.open, now) {
                Some(asking) => {
                    post.push(ToWorker::Ask { zone: asked.patient.zone, question: asking.question });
                    self.open.insert((asking.zone, asking.question.tuple), at);
                    asked.asking = Some(asking);
                    now + pause
                }
                None => self.conclude(at, Err(Failure::NoRoute), now, say),
            },
        }
    }

    /// A backend said something. Only the answer to the open question counts.
    fn hear(&mut self, zone: u16, question: &Question, refused: bool, now: Time, say: &mut Vec<Event>) {
        let Some(&at) = self.open.get(&(zone, question.tuple)) else { return };
        let asking = self.backends.get(at).and_then(|asked| asked.asking.as_ref());
        if asking.is_some_and(|asking| asking.question == *question) {
            let next = self.conclude(at, if refused { Err(Failure::Refused) } else { Ok(()) }, now, say);
            self.plan(at, next);
        }
    }

    /// The end of a question. Returns when the next one is to be asked.
    fn conclude(&mut self, at: usize, answer: Result<(), Failure>, now: Time, say: &mut Vec<Event>) -> Time {
        let Some(asked) = self.backends.get_mut(at) else { return now };
        let began = asked.asking.take().map_or(now, |asking| {
            self.open.remove(&(asking.zone, asking.question.tuple));
            asking.since
        });
        let check = asked.patient.check;
        let since = asked.vitals.since;
        if asked.vitals.read(answer, (check.rise, check.fall), now) {
            for service in &asked.services {
                if let Some(place) = self.services.get_mut(*service)
                    && !std::mem::replace(&mut place.waits, true)
                {
                    self.waiting.push_back(*service);
                }
            }
            self.talk.say(now, asked, since, say);
        }
        (began + check.interval).max(now)
    }

    /// Fills the places of a service's forward with those that are up.
    fn fill(&mut self, snapshot: &Snapshot, at: usize, now: Time, say: &mut Vec<Event>) {
        let Some(service) = self.services.get_mut(at) else { return };
        service.waits = false;
        let Some(forward) = snapshot.local.forwards().get(service.forward) else { return };
        let is_down = |at: &usize| self.backends.get(*at).is_some_and(|asked| !asked.vitals.up);
        let down: Mask =
            (0..).zip(&service.backends).filter(|(_, at)| is_down(at)).map(|(n, _)| 1 << n).sum();
        forward.targets.leave_out(down);
        let refuses = !forward.drain && !forward.targets.is_drained() && forward.targets.are_all(down);
        if std::mem::replace(&mut service.is_down, refuses) != refuses {
            say.push(about_service(service, forward, now));
        }
    }
}

impl Asked {
    fn new(patient: Patient, now: Time) -> Asked {
        let turn = u16::try_from(u32::from(patient.address).wrapping_mul(0x9e37_79b9) >> 26).unwrap_or(0);
        let vitals = Vitals::new(now);
        Asked { patient, vitals, asking: None, due: now, turn, services: Vec::new() }
    }

    /// A new question; `None`: no way leads there.
    fn begin(
        &mut self,
        snapshot: &Snapshot,
        open: &HashMap<(u16, Tuple), usize>,
        now: Time,
    ) -> Option<Asking> {
        let Patient { zone, address, port, check } = self.patient;
        let hop = snapshot.route_in(zone, address)?;
        let out = snapshot.interface(hop.interface);
        let ours = out.address_towards(hop.neighbor(address));
        let port = match check.kind {
            ProbeKind::Tcp(_) => Some(port),
            ProbeKind::Icmp => None,
        };
        for _ in PORTS {
            let from = *PORTS.start() + self.turn % (PORTS.end() - PORTS.start() + 1);
            self.turn = self.turn.wrapping_add(1);
            let question = Question::to(&snapshot.probe_key, (ours, from), address, port, now);
            if !open.contains_key(&(out.zone, question.tuple)) {
                return Some(Asking { zone: out.zone, question, since: now, until: now + check.timeout });
            }
        }
        None
    }
}

impl fmt::Display for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.check.kind {
            ProbeKind::Tcp(_) => write!(f, "{}:{}", self.address, self.port)?,
            ProbeKind::Icmp => write!(f, "{} (icmp)", self.address)?,
        }
        if self.zone == 0 { Ok(()) } else { write!(f, " in zone {}", self.zone) }
    }
}

/// Every forward with its address, in the order of `LocalAddresses::forwards`.
fn forwards(snapshot: &Snapshot) -> impl Iterator<Item = (Ipv4Addr, &Forward)> {
    let of = |(number, local): (u16, &LocalAddress)| {
        let on = local.address;
        snapshot.local.forwards_of(number).iter().map(move |forward| (on, forward)).collect::<Vec<_>>()
    };
    (0..).zip(snapshot.local.iter()).flat_map(of)
}

impl Management {
    /// Goes on with the backends of the current configuration.
    pub(super) fn adopt_backends(&mut self, snapshot: &Snapshot, now: Time) {
        let mut said = Vec::new();
        self.health.adopt(snapshot, now, &mut said);
        said.into_iter().for_each(|event| self.events.say(event));
    }

    /// Asks backends whose turn it is, and tells forwards whose sources keep their backends the time.
    pub(super) fn poll_health(&mut self, now: Time) {
        if self.health.second != now.as_secs() {
            self.health.tell_time(&self.snapshot, now);
        }
        let (mut post, mut said) = (Vec::new(), Vec::new());
        self.health.poll(&self.snapshot, now, &mut post, &mut said);
        post.into_iter().for_each(|message| self.post(0, message));
        said.into_iter().for_each(|event| self.events.say(event));
    }

    /// A worker heard an answer.
    pub(super) fn hear_backend(&mut self, zone: u16, question: &Question, refused: bool, now: Time) {
        let mut said = Vec::new();
        self.health.hear(zone, question, refused, now, &mut said);
        said.into_iter().for_each(|event| self.events.say(event));
    }

    /// What is known of every backend that is asked.
    pub fn backends(&self) -> Vec<BackendStatus> {
        let status = |asked: &Asked| BackendStatus { patient: asked.patient, vitals: asked.vitals };
        self.health.backends.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests;

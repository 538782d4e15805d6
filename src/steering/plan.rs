//! How each interface's packets reach their owners: asked of its NIC at the start, and held against what arrives.
//!
//! [`choose`] finds an owner function that as many NICs as possible carry out: it programs each with our key and table
//! and reads back what it then has, because some drivers accept a setting and do not keep it. A NIC that insists on a key
//! of its own gets its way if no other NIC loses by it. What no NIC carries out is plan C, which always works.
//!
//! That a NIC *says* what it does is no proof. No NIC can send to itself without its link being cut, so that the packets
//! whose place is known are the first that come in: [`Proof`] compares where they arrived with where they had to, and
//! a plan that does not hold ends there.

use super::classes::{MAX_CLASSES, low_mask};
use super::toeplitz::Key;
use super::{DEFAULT_BITS, Spread, Steering};
use crate::ids::{Realm, WorkerId};
use std::fmt;

/// How packets of an interface reach their owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plan {
    /// There is one worker.
    Single,
    /// By fields of the NIC: the source alone, or rules for the port.
    A,
    /// By the NIC's hash of the whole flow.
    B,
    /// By handoff between workers.
    C,
}

impl Plan {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Plan::Single => "single",
            Plan::A => "A",
            Plan::B => "B",
            Plan::C => "C",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the config wants (`runtime.steering`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// The best that the NICs can do.
    #[default]
    Auto,
    /// External ports belong to workers, and rules of the NIC deliver by them.
    PortRules,
    /// Nothing is asked of the NICs.
    Software,
}

/// What a NIC says that it can do about spreading packets over its queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ability {
    /// Receive queues in use; queue `n` is worker `n`'s.
    pub queues: u16,
    /// Entries of its redirection table; 0: it has none that can be set.
    pub table: u16,
    /// Whether it hashes the ports of TCP and of UDP over IPv4.
    pub hashes_ports: bool,
}

/// What a NIC is told, or says that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The first bytes of the key.
    pub key: Key,
    /// The queue of each entry of its table.
    pub table: Vec<u16>,
    /// Whether it hashes the ports of TCP and of UDP over IPv4.
    pub hashes_ports: bool,
}

/// TCP and UDP packets over IPv4 whose destination port has these lowest bits go to this queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRule {
    /// The port under the mask.
    pub port: u16,
    /// The bits that count.
    pub mask: u16,
    /// Receive queue.
    pub queue: u16,
}

/// A NIC as far as steering is concerned. Errors are one clause for people, without a full stop.
pub trait Nic {
    /// What it says that it can do.
    fn ability(&self) -> Ability;
    /// Sets key, table and what is hashed.
    fn program(&mut self, program: &Program) -> Result<(), String>;
    /// What it says that it does.
    fn read_back(&mut self) -> Result<Program, String>;
    /// Delivers by these rules in place of the hash: all of them or none.
    fn set_port_rules(&mut self, rules: &[PortRule]) -> Result<(), String>;
}

/// A device and the sides that its interfaces face.
pub struct Candidate<'a> {
    /// The NIC.
    pub nic: &'a mut dyn Nic,
    /// Whether it has an internal interface.
    pub internal: bool,
    /// Whether it has an external one.
    pub external: bool,
}

/// The plan of one side of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub plan: Plan,
    /// How, for people: `the NIC hashes whole flows with our key`.
    pub how: String,
    /// Why not a better one; empty if there is none.
    pub why_not: String,
}

/// The plans of both sides of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Of its internal interfaces.
    pub internal: Choice,
    /// Of its external interfaces.
    pub external: Choice,
}

impl Choices {
    /// The plan of interfaces on this side.
    pub fn of(&self, realm: Realm) -> &Choice {
        match realm {
            Realm::Internal => &self.internal,
            Realm::External => &self.external,
        }
    }
}

/// What the owner function has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Workers, at least 1.
    pub workers: u8,
    /// Random: see [`Steering::new`].
    pub seed: u64,
    /// What packets from inside go by.
    pub spread: Spread,
    /// Sources are counted: see [`Steering::sources_together`].
    pub sources_together: bool,
    /// What the config wants.
    pub wish: Wish,
}

impl Needs {
    /// The owner function when no NIC has to be asked.
    pub fn steering(&self) -> Steering {
        self.shape(Steering::new(self.workers, self.seed))
    }

    fn shape(&self, steering: Steering) -> Steering {
        let steering = steering.spread(self.spread).sources_together(self.sources_together);
        steering.by_port(self.wish == Wish::PortRules)
    }
}

/// Finds the owner function and programs the NICs for it; they are started. The choices are in the order of the
/// candidates.
pub fn choose(needs: Needs, candidates: &mut [Candidate<'_>]) -> (Steering, Vec<Choices>) {
    let Needs { workers, seed, wish, .. } = needs;
    let shape = |steering| needs.shape(steering);
    if workers <= 1 {
        let all = candidates.iter().map(|_| Outcome::Refused(Plan::Single, String::new()));
        return (
            Steering::single(),
            describe(&Steering::single(), candidates, &all.collect::<Vec<_>>(), &[]),
        );
    }
    if wish == Wish::Software {
        let steering = needs.steering();
        let all = candidates.iter().map(|_| refused("the config says runtime.steering = \"software\""));
        let choices = describe(&steering, candidates, &all.collect::<Vec<_>>(), &[]);
        return (steering, choices);
    }
    let able: Vec<Result<Ability, String>> =
        candidates.iter().map(|candidate| usable(candidate.nic.ability(), workers)).collect();
    let tables = able.iter().flatten().map(|ability| u32::from(ability.table).ilog2());
    let bits = tables.chain([DEFAULT_BITS]).min().unwrap_or(DEFAULT_BITS);
    let mut steering = shape(Steering::with_bits(workers, seed, bits));
    let mut outcomes = program_all(&steering, candidates, &able);
    if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Differs(..))) {
        match adopt(&outcomes, workers, shape, candidates, &able) {
            Some(better) => (steering, outcomes) = better,
            // They may have something else from the attempt.
            None => outcomes = program_all(&steering, candidates, &able),
        }
    }
    let rules = port_rules(&steering);
    let rule = |candidate: &mut Candidate<'_>| {
        if !steering.is_by_port() || !candidate.external {
            return Ok(());
        }
        // Whatever becomes of its hash.
        enough_queues(candidate.nic.ability(), workers)?;
        candidate.nic.set_port_rules(&rules).map_err(|why| format!("it refuses rules for ports: {why}"))
    };
    let ruled: Vec<Result<(), String>> = candidates.iter_mut().map(rule).collect();
    let choices = describe(&steering, candidates, &outcomes, &ruled);
    (steering, choices)
}

/// What became of programming a NIC.
#[derive(Clone, Debug)]
enum Outcome {
    /// It does what it was told.
    Done,
    /// It does something else, which can be read.
    Differs(Program, String),
    /// It can not, and this is the plan instead.
    Refused(Plan, String),
}

fn refused(why: impl Into<String>) -> Outcome {
    Outcome::Refused(Plan::C, why.into())
}

/// Whether a NIC can serve so many workers at all.
fn usable(ability: Ability, workers: u8) -> Result<Ability, String> {
    let Ability { table, hashes_ports, .. } = ability;
    enough_queues(ability, workers)?;
    if !hashes_ports {
        return Err("its driver offers no hash over the ports of TCP and UDP".into());
    }
    if table == 0 {
        return Err("it has no redirection table that can be set".into());
    }
    if !table.is_power_of_two() {
        return Err(format!("its redirection table has {table} entries: a power of two is needed"));
    }
    if table < u16::from(workers) {
        return Err(format!("its redirection table has {table} entries for {workers} workers"));
    }
    Ok(ability)
}

fn enough_queues(ability: Ability, workers: u8) -> Result<(), String> {
    let queues = ability.queues;
    let s = if queues == 1 { "" } else { "s" };
    let enough = queues >= u16::from(workers);
    enough.then_some(()).ok_or_else(|| format!("it has {queues} receive queue{s} for {workers} workers"))
}

/// Programs every NIC that can be, and checks what it has then.
fn program_all(
    steering: &Steering,
    candidates: &mut [Candidate<'_>],
    able: &[Result<Ability, String>],
) -> Vec<Outcome> {
    let one = |(candidate, ability): (&mut Candidate<'_>, &Result<Ability, String>)| match ability {
        Ok(ability) => program(steering, candidate, ability.table),
        Err(why) => refused(why),
    };
    candidates.iter_mut().zip(able).map(one).collect()
}

fn program(steering: &Steering, candidate: &mut Candidate<'_>, entries: u16) -> Outcome {
    // One key a NIC: on the outside no handoff is cheaper than on the inside.
    let realm = if candidate.external { Realm::External } else { Realm::Internal };
    let table = steering.table_of(realm).iter().map(|worker| u16::from(worker.0));
    let wanted = Program {
        key: *steering.key(realm),
        table: table.cycle().take(usize::from(entries)).collect(),
        hashes_ports: true,
    };
    let said = candidate.nic.program(&wanted);
    let now = match (candidate.nic.read_back(), said) {
        (Ok(now), Ok(())) if now == wanted => return Outcome::Done,
        (Err(_), Err(why)) => return refused(why),
        (Err(why), Ok(())) => return refused(format!("it does not tell what it does: {why}")),
        (Ok(now), Err(_)) if now == wanted => return Outcome::Done,
        (Ok(now), Err(why)) if now.hashes_ports => return Outcome::Differs(now, why),
        (Ok(_), Err(why)) => return refused(why),
        (Ok(now), Ok(())) => now,
    };
    if !now.hashes_ports {
        return refused("it took the order to hash ports and does not carry it out");
    }
    let why = if now.key == wanted.key { "it keeps a table of its own" } else { "it keeps a key of its own" };
    Outcome::Differs(now, why.into())
}

/// What a NIC insists on, if more NICs than before carry it out.
fn adopt(
    outcomes: &[Outcome],
    workers: u8,
    shape: impl Fn(Steering) -> Steering,
    candidates: &mut [Candidate<'_>],
    able: &[Result<Ability, String>],
) -> Option<(Steering, Vec<Outcome>)> {
    let done =
        |outcomes: &[Outcome]| outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Done)).count();
    for (at, outcome) in outcomes.iter().enumerate() {
        let Outcome::Differs(now, _) = outcome else { continue };
        // Inside, a key of the NIC's own weighs more than the source.
        let flows = candidates.get(at).is_some_and(|candidate| candidate.external);
        let Some(steering) =
            of_program(now, workers).map(&shape).filter(|s| flows || s.spread_by() == Spread::Flow)
        else {
            continue;
        };
        let theirs = program_all(&steering, candidates, able);
        if done(&theirs) > done(outcomes) {
            return Some((steering, theirs));
        }
    }
    None
}

/// The owner function that a NIC carries out as it is.
fn of_program(program: &Program, workers: u8) -> Option<Steering> {
    let entries = program.table.len().min(MAX_CLASSES);
    let (table, rest) = program.table.split_at(entries);
    // A larger table must repeat itself.
    if rest.iter().zip(table.iter().cycle()).any(|(a, b)| a != b) {
        return None;
    }
    let worker = |queue: &u16| u8::try_from(*queue).ok().filter(|queue| *queue < workers).map(WorkerId);
    let steering = Steering::with(table.iter().map(worker).collect::<Option<_>>()?, program.key)?;
    (steering.workers() == workers).then_some(steering)
}

/// Rules that deliver by the lowest bits of the port as the table says: as few as there can be.
pub fn port_rules(steering: &Steering) -> Vec<PortRule> {
    let table = steering.table();
    let repeats = |bits: &u32| {
        let period = 1usize << bits;
        table.iter().skip(period).zip(table).all(|(later, entry)| later == entry)
    };
    let bits = (0..=table.len().ilog2()).find(repeats).unwrap_or(0);
    let rule = |(entry, worker): (u16, &WorkerId)| PortRule {
        port: entry,
        mask: low_mask(bits),
        queue: u16::from(worker.0),
    };
    (0u16..).zip(table.iter().take(1 << bits)).map(rule).collect()
}

/// The plans in words.
fn describe(
    steering: &Steering,
    candidates: &[Candidate<'_>],
    outcomes: &[Outcome],
    ruled: &[Result<(), String>],
) -> Vec<Choices> {
    let choice = |plan, how: &str, why_not: &str| Choice { plan, how: how.into(), why_not: why_not.into() };
    let handoff = |why: &str| choice(Plan::C, "workers hand packets over to their owners", why);
    let both = |at: usize, candidate: &Candidate<'_>| {
        let internal = match &outcomes[at] {
            Outcome::Refused(Plan::Single, _) => choice(Plan::Single, "one worker owns every packet", ""),
            Outcome::Refused(_, why) | Outcome::Differs(_, why) => handoff(why),
            Outcome::Done if steering.is_by_port() && candidate.external => {
                handoff("its NIC has an external interface too, whose rules deliver by port")
            }
            Outcome::Done if steering.spread_by() == Spread::Source && candidate.external => {
                handoff("its NIC has an external interface too, which needs another key")
            }
            Outcome::Done if steering.spread_by() == Spread::Source => {
                choice(Plan::A, "the NIC's key weighs the source address alone", "")
            }
            Outcome::Done => choice(Plan::B, "the NIC hashes whole flows", ""),
        };
        let external = match (&outcomes[at], ruled.get(at)) {
            (Outcome::Refused(Plan::Single, _), _) => internal.clone(),
            (_, Some(Err(why))) => handoff(why),
            (_, Some(Ok(()))) if steering.is_by_port() => {
                choice(Plan::A, "rules of the NIC deliver by the lowest bits of the port", "")
            }
            (Outcome::Refused(_, why) | Outcome::Differs(_, why), _) => handoff(why),
            (Outcome::Done, _) => choice(
                Plan::B,
                "the NIC hashes whole flows, and ports are picked so that replies come to their worker",
                "",
            ),
        };
        Choices { internal, external }
    };
    candidates.iter().enumerate().map(|(at, candidate)| both(at, candidate)).collect()
}

/// Compares where whole TCP and UDP packets of an interface arrived with where the NIC had to deliver them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proof {
    packets: u64,
    misplaced: u64,
    state: ProofState,
}

/// What the packets say of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProofState {
    /// Too few came yet.
    #[default]
    Waiting,
    /// It holds.
    Holds,
    /// It does not: so many of so many packets came to another worker.
    Broken {
        /// Packets that came to a worker that neither owns them nor had to get them.
        misplaced: u64,
        /// Packets of the sample.
        packets: u64,
    },
}

impl Proof {
    /// Packets of a sample.
    pub const SAMPLE: u64 = 64;

    /// Looks at the counters of all workers together, which only grow. What is broken stays so.
    ///
    /// A few misplaced packets prove nothing: they waited in the queues when the NIC was programmed.
    pub fn look(&mut self, packets: u64, misplaced: u64) -> ProofState {
        let (new, wrong) = (packets.saturating_sub(self.packets), misplaced.saturating_sub(self.misplaced));
        if !matches!(self.state, ProofState::Broken { .. }) && new >= Proof::SAMPLE {
            (self.packets, self.misplaced) = (packets, misplaced);
            self.state = if wrong > new / 16 {
                ProofState::Broken { misplaced: wrong, packets: new }
            } else {
                ProofState::Holds
            };
        }
        self.state
    }

    /// What is known.
    pub fn state(&self) -> ProofState {
        self.state
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

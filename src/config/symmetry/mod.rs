//! Whether each notrack class does what it was written for: its packets pass, and so do the answers to them.
//!
//! A class whose answers are tracked is the classic fault of such rules: they are dropped as answers to nothing, or become
//! sessions of their own and reach the client from a port that it never asked. So for each class every kind of packet that
//! its clients may send is made up, one example each (`cells`, from the `ground` that tells packets apart, cut into `regions`),
//! and goes the way that workers send packets (`fate`); then so does the answer to it. Where that fails, the class that is
//! missing is written down (`paste`).
//!
//! | found | when |
//! |---|---|
//! | [`Kind::Asymmetric`] | answers are tracked, and not by chance forwarded as they should be |
//! | [`Kind::HalfTracked`] | TCP flags make one part of a connection pass by tracking and leave the other to it |
//! | [`Kind::Taken`] | another class takes the answers, and drops or translates them in another way |
//! | [`Kind::Untranslated`] | packets or answers are dropped: they would leave outside with an internal source |
//! | [`Kind::Stuck`] | packets or answers are dropped: no route leads on, or one that leads elsewhere |
//! | [`Kind::Dead`] | no packet is ever of the class |
//! | [`Kind::Local`] | the same, as all of them are for the gateway itself, which tracks them |
//!
//! All of it is a function of the config, without traffic. What is dropped on purpose is not looked into: classes with
//! `action = "drop"`, sources that are banned or can not be.

mod cells;
mod fate;
mod ground;
mod paste;
mod regions;
mod words;

use super::compile::compile;
use super::model::Config;
use crate::classify::notrack::{Answers, NotrackClass, Treatment, Verdict, Way};
use crate::ids::{InterfaceId, Realm};
use crate::packet::{Kind as Carries, Tuple};
use crate::pipeline::Snapshot;
use crate::pipeline::plan::Header;
use crate::telemetry::DropReason;
use crate::wire::tcp;
use cells::{Cells, is_nobody};
use fate::{Fate, Reply, Wrong, judge_reply};
use ground::Ground;
use std::fmt;

/// Packets that are made up for a class, at most, and for all classes together.
const MAX_OF_CLASS: u64 = 4096;
const MAX_OF_ALL: u64 = 32_768;
/// So many for each class at least, however many there are.
const MIN_OF_CLASS: u64 = 32;
/// TCP packets of all sorts, for the rest of a connection of which a class takes those with certain flags.
const SEGMENTS: [u8; 5] = [tcp::ACK, tcp::SYN, tcp::SYN | tcp::ACK, tcp::FIN | tcp::ACK, tcp::RST];

/// What can be wrong with a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Answers are tracked.
    Asymmetric,
    /// Other packets of the same connection are tracked.
    HalfTracked,
    /// Another class takes the answers.
    Taken,
    /// An internal source would be seen outside.
    Untranslated,
    /// There is no way on.
    Stuck,
    /// No packet is of the class.
    Dead,
    /// All its packets are for the gateway itself, which are tracked.
    Local,
}

/// Something that is wrong with a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The place of the class in `Config::notrack`.
    pub class: usize,
    /// What is wrong.
    pub kind: Kind,
    /// The same in a sentence, with a packet that shows it.
    pub text: String,
    /// What to do about it.
    pub cure: String,
    /// What to add to the config, as TOML, if a class is missing.
    pub rule: Option<String>,
}

impl Finding {
    /// What to do about it, with the class that is missing.
    pub fn full_cure(&self) -> String {
        match &self.rule {
            Some(rule) => format!("{}\n\n{rule}", self.cure),
            None => self.cure.clone(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Looks at every class, in the order of the config.
pub fn check(config: &Config) -> Vec<Finding> {
    if config.notrack.is_empty() {
        return Vec::new();
    }
    let snap = compile(config, &[], 0, 0);
    let mut ground = Ground::new(config, &snap);
    let classes = u64::try_from(config.notrack.len()).unwrap_or(u64::MAX);
    let limit = (MAX_OF_ALL / classes).clamp(MIN_OF_CLASS, MAX_OF_CLASS);
    let mut first_entries: Vec<Option<usize>> = vec![None; config.notrack.len()];
    for (number, treatment) in snap.notrack.treatments.iter().enumerate().rev() {
        if let Some(first) = first_entries.get_mut(usize::from(treatment.class)) {
            *first = Some(number);
        }
    }
    let mut findings = Vec::new();
    for ((class, number), entry) in config.notrack.iter().zip(0u16..).zip(first_entries) {
        let arrive = entry.and_then(|entry| snap.notrack.matches.get(entry)).map(|entry| entry.arrive);
        // Sets that are empty still are filled later.
        if is_nobody(config, &class.from) || is_nobody(config, &class.to) {
            continue;
        }
        let cells = Cells::of(class, arrive.unwrap_or_default(), &mut ground, limit);
        let mut look =
            Look { config, snap: &snap, class, number, tally: Tally::default(), findings: Vec::new() };
        for header in cells.packets() {
            look.at(&header);
        }
        look.conclude();
        findings.extend(look.findings.into_iter().map(|finding| match cells.sample() {
            Some(tried) => Finding { text: words::sampled(&finding.text, tried, cells.total()), ..finding },
            None => finding,
        }));
    }
    findings
}

/// What became of the packets of a class.
#[derive(Default)]
struct Tally {
    /// Those that the class took, and those of them that pass.
    own: u64,
    passed: u64,
    /// The first that an earlier class took, and the class.
    earlier: Option<(u16, Header)>,
    /// The first that the gateway takes for its own.
    local: Option<Header>,
    /// The first that does not get on.
    stuck: Option<(Header, DropReason)>,
}

/// A look at one class.
struct Look<'c> {
    config: &'c Config,
    snap: &'c Snapshot,
    class: &'c NotrackClass,
    number: u16,
    tally: Tally,
    findings: Vec<Finding>,
}

impl Look<'_> {
    /// Follows a packet.
    fn at(&mut self, header: &Header) {
        match Fate::of(self.snap, header) {
            Fate::Tracked => {
                self.tally.local.get_or_insert(*header);
            }
            fate if fate.treatment().is_some_and(|treatment| treatment.class != self.number) => {
                let other = fate.treatment().map(|treatment| (treatment.class, *header));
                self.tally.earlier = self.tally.earlier.or(other);
            }
            Fate::Refused { reason, .. } => self.refused(header, reason),
            Fate::Passes { to, exit, .. } => {
                self.tally.own += 1;
                self.tally.passed += 1;
                self.answered(header, to, exit);
                self.completed(header, to);
            }
        }
    }

    fn refused(&mut self, header: &Header, reason: DropReason) {
        match reason {
            // They can not be, or are meant to be dropped.
            DropReason::MartianSource
            | DropReason::MartianDestination
            | DropReason::SpoofedSource
            | DropReason::SourceBanned => {}
            DropReason::NotrackUntranslated => {
                self.tally.own += 1;
                self.note(Kind::Untranslated, |look| words::untranslated(look.class, header));
            }
            _ => {
                self.tally.own += 1;
                self.tally.stuck.get_or_insert((*header, reason));
            }
        }
    }

    /// Follows the answer to a packet that became `to`.
    fn answered(&mut self, header: &Header, to: Tuple, exit: InterfaceId) {
        let reply = Reply::to(self.class, header, to, exit);
        match judge_reply(self.snap, &reply) {
            None => {}
            Some(Wrong::Tracked(end)) if self.class.flags.is_some() => {
                let end = format!("the answer {} {end}", words::packet(&reply.header));
                self.note(Kind::HalfTracked, |_| words::half_tracked(header, &end));
            }
            Some(Wrong::Tracked(end)) => {
                self.note(Kind::Asymmetric, |look| look.asymmetric(header, &reply, &end));
            }
            Some(Wrong::Refused { reason: DropReason::NotrackUntranslated, .. }) => {
                self.note(Kind::Untranslated, |look| words::answers_untranslated(look.class, &reply.header));
            }
            Some(Wrong::Refused { treatment, reason }) if treatment.class == self.number => {
                self.note(Kind::Stuck, |look| {
                    words::answers_stuck(look.snap, &reply.header, treatment, reason)
                });
            }
            Some(Wrong::Refused { treatment, reason }) => {
                let end = format!("drops it as {}", reason.name());
                self.note(Kind::Taken, |look| words::taken(look.other(treatment), header, &reply, &end));
            }
            Some(Wrong::Becomes { treatment, to }) => {
                let end = format!("makes it {}", words::ends(&to));
                self.note(Kind::Taken, |look| words::taken(look.other(treatment), header, &reply, &end));
            }
        }
    }

    /// Follows another packet of the connection, if the class takes only some of them.
    fn completed(&mut self, header: &Header, to: Tuple) {
        let Some(flags) = self.class.flags else { return };
        let Some(others) = SEGMENTS.into_iter().find(|segment| !flags.hold(*segment)) else { return };
        let other = Header { kind: Carries::Tcp { flags: others }, ..*header };
        let end = match Fate::of(self.snap, &other) {
            Fate::Passes { to: same, .. } if same == to => return,
            // Another class says so.
            Fate::Refused { .. } => return,
            Fate::Passes { to, .. } => format!("{} becomes {}", words::packet(&other), words::ends(&to)),
            Fate::Tracked => format!("{} is tracked", words::packet(&other)),
        };
        self.note(Kind::HalfTracked, |_| words::half_tracked(header, &end));
    }

    /// What can be said only when all packets have been looked at.
    fn conclude(&mut self) {
        let Tally { own, passed, earlier, local, stuck } = std::mem::take(&mut self.tally);
        if own == 0 {
            self.findings.clear();
            let kind = if earlier.is_none() && local.is_some() { Kind::Local } else { Kind::Dead };
            self.note(kind, |look| match (earlier, local) {
                (Some((class, _)), None) => words::shadowed(look.name(class)),
                (None, Some(header)) => words::local(&header),
                (Some((class, _)), Some(header)) => words::shadowed_or_local(look.name(class), &header),
                (None, None) => words::impossible(),
            });
        } else if let Some((header, reason)) =
            stuck.filter(|_| passed == 0 && self.class.verdict != Verdict::Drop)
        {
            self.note(Kind::Stuck, |look| words::stuck(look.snap, &header, reason));
        }
    }

    /// The finding of a class whose answers are tracked.
    fn asymmetric(&self, header: &Header, reply: &Reply, end: &str) -> (String, String, Option<String>) {
        let arrival = self.snap.interface(header.interface);
        let exit = self.snap.interface(reply.header.interface);
        let around = paste::Surroundings {
            zone: self.class.zone.unwrap_or(arrival.zone),
            exposed: arrival.realm == Realm::External
                && exit.realm == Realm::Internal
                && self.class.translate_to.is_none(),
        };
        let text = words::asymmetric(header, &reply.header, end);
        if self.class.answers != Answers::Elsewhere {
            return (text, "correct `to_zone`, `on`, or the routes between clients and service".into(), None);
        }
        // Apart, the way back would translate what the service sends to its own side, too.
        let apart = !self.class.from.is_any() || self.class.translate_to.is_none();
        let rule = apart.then(|| paste::way_back(self.config, self.class, around));
        (text, words::make_symmetric(around.exposed && !self.class.untranslated, apart), rule)
    }

    /// The name of a class.
    fn name(&self, class: u16) -> &str {
        self.config.notrack.get(usize::from(class)).map_or("", |class| class.name.as_str())
    }

    /// The class of an entry, and which way it is for.
    fn other(&self, treatment: &Treatment) -> (&str, Way) {
        (self.name(treatment.class), treatment.way)
    }

    /// Adds a finding, unless there is one of its kind: one packet is enough to show it.
    fn note(&mut self, kind: Kind, tell: impl FnOnce(&Self) -> (String, String, Option<String>)) {
        if self.findings.iter().all(|finding| finding.kind != kind) {
            let (text, cure, rule) = tell(self);
            let text = format!("notrack class \"{}\": {text}", self.class.name);
            self.findings.push(Finding { class: usize::from(self.number), kind, text, cure, rule });
        }
    }
}

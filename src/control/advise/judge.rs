//! Whether a service would do better without sessions, whether it can, and what that would save.
//!
//! Pure: a function of the counted sessions and the configuration.

use super::groups::{Change, Group, Service};
use crate::classify::Forward;
use crate::control::running::Running;
use crate::ids::{InterfaceId, Realm};
use crate::packet::{Kind, Tuple};
use crate::pipeline::plan::Header;
use crate::pipeline::stateless::classify;

/// New sessions a second that a service needs to be worth a class, if nobody says otherwise.
pub(super) const MIN_RATE: u64 = 100;
/// The same of sessions in the table.
pub(super) const MIN_SESSIONS: u64 = 1_000;
/// Packets both ways that half of the sessions may have at the most: a longer conversation is worth its session.
pub(super) const MAX_PACKETS: u64 = 32;

/// Cycles of a worker to set a session up, its first packet included (README, figures).
const SET_UP: u64 = 2_394;
/// Cycles of a worker to remove one that ran out (README, figures).
const REMOVAL: u64 = 1_008;
/// Cycles for a packet of a known flow, with 64 k sessions in the table, and about as many for one that a class takes
/// (README, figures).
const PACKET: u64 = 339;

/// From where on a service is busy enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Least {
    /// New sessions a second.
    pub(super) rate: u64,
    /// Sessions in the table.
    pub(super) sessions: u64,
}

/// What is found of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A class would do.
    Propose,
    /// It could be one, and is not worth it: why.
    Leave(String),
    /// No class can do that: why.
    Impossible(String),
}

/// What a class would save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Savings {
    /// Entries of the session table.
    pub(super) sessions: u64,
    /// Cycles of workers a second.
    pub(super) cycles: u64,
}

/// What a class would save: of each session the set-up and the end. Every other packet costs about the same.
pub(super) fn savings(group: &Group) -> Savings {
    let (rate, _) = group.new_per_second();
    let cycles = rate.saturating_mul(SET_UP + REMOVAL - PACKET) / 1000;
    Savings { sessions: group.sessions, cycles }
}

/// Looks at a service.
pub(super) fn judge(running: &Running, service: &Service, group: &Group, least: Least) -> Finding {
    if let Some(why) = impossible(running, service) {
        return Finding::Impossible(why);
    }
    if let Some(why) = taken(running, service, group) {
        return Finding::Leave(why);
    }
    match not_worth_it(group, least) {
        Some(why) => Finding::Leave(why),
        None => Finding::Propose,
    }
}

/// Why no class can do what sessions do for the service.
fn impossible(running: &Running, service: &Service) -> Option<String> {
    let (port, becomes) = (service.port, service.backend.map_or(0, |(_, port)| port));
    match service.change {
        Change::Destination if forward_of(running, service).is_some() => None,
        // What is not translated has no session, but for those of an earlier configuration.
        Change::Destination | Change::Nothing => {
            Some("no rule makes such sessions any more: they end by themselves".to_owned())
        }
        Change::Port => Some(format!(
            "its port becomes {becomes}, and a class keeps ports: with a backend that listens on {port} it could"
        )),
        Change::Source => {
            Some("its sources are translated many to one: only sessions know whose an answer is".to_owned())
        }
        Change::Both if service.realm == Realm::Internal => Some(
            "from inside to an address of the gateway (hairpinning): sources are translated too".to_owned(),
        ),
        Change::Both => {
            Some("sources are translated too (full NAT): only sessions know whose an answer is".to_owned())
        }
    }
}

/// Why its packets make no sessions any more.
fn taken(running: &Running, service: &Service, group: &Group) -> Option<String> {
    let snap = &*running.snapshot;
    let treatment = classify(snap, &example(running, service, group)?)?;
    let name = snap.classes.get(usize::from(treatment.class)).map_or("", |class| &class.name);
    Some(format!(
        "the class {name} has it already: what is in the table ends by itself, or with existing = \"release\""
    ))
}

fn not_worth_it(group: &Group, least: Least) -> Option<String> {
    let (rate, at_least) = group.new_per_second();
    let median = group.median_packets();
    let mut reasons = Vec::new();
    if rate < least.rate.saturating_mul(1000) {
        let least_known = if at_least { "at least " } else { "" };
        reasons.push(format!("{least_known}{} new sessions a second, not {}", rate / 1000, least.rate));
    }
    if group.sessions < least.sessions {
        reasons.push(format!("{} sessions, not {}", group.sessions, least.sessions));
    }
    if median > MAX_PACKETS {
        reasons.push(format!("half of them have {} packets and more: they are worth a session", median / 2));
    }
    (!reasons.is_empty()).then(|| format!("it has {}", reasons.join("; ")))
}

/// The forward that makes sessions of the service now.
pub(super) fn forward_of<'r>(running: &'r Running, service: &Service) -> Option<&'r Forward> {
    let local = &running.snapshot.local;
    let number = local.find(service.zone, service.to?)?;
    let forward = local.forward(number, service.protocol, service.port)?;
    let (address, port) = service.backend?;
    // Without a session there is no choice of several.
    let is_alone = forward.targets.iter().len() == 1;
    let becomes = forward.target_at(service.port, address, port).filter(|target| !target.drain && is_alone);
    (!forward.drain && becomes.is_some() && forward.source.is_none()).then_some(forward)
}

/// The interfaces that clients' packets come in by.
pub(super) fn arrivals(running: &Running, service: &Service) -> Vec<InterfaceId> {
    let here = (0u8..).map(InterfaceId).zip(&running.snapshot.interfaces);
    here.filter(|(_, interface)| interface.realm == service.realm && interface.zone == service.zone)
        .map(|(id, _)| id)
        .collect()
}

/// The first packet of a session as it would come now.
fn example(running: &Running, service: &Service, group: &Group) -> Option<Header> {
    let tuple: Tuple = group.example?;
    let here = arrivals(running, service);
    let back = running.snapshot.route_in(service.zone, tuple.src).map(|hop| hop.interface);
    let interface = back.filter(|back| here.contains(back)).or(here.first().copied())?;
    Some(Header::whole(interface, tuple, Kind::opening(tuple.protocol)))
}

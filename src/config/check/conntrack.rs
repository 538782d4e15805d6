//! The session table: limits that fit one another, sets of timeouts, and rules that choose them.

use super::rules::{interface, values};
use super::{alternatives, position};
use crate::config::draft::{ConntrackDraft, Draft, TrackRuleDraft};
use crate::config::mistake::{Caution, Mistake};
use crate::config::model::{ConntrackConfig, TimeoutSet};
use crate::config::reader::{At, Findings};
use crate::conntrack::policy::{Limits, MAX_MANAGEMENT, Rate, Share, TrackRule, WhenFull};
use crate::ids::InterfaceId;
use crate::wire::protocol;
use ipnet::Ipv4Net;
use std::ops::RangeInclusive;

const DEFAULT_SESSIONS: u32 = 262_144;
/// A session names its set with 8 bits, and one set is `[conntrack.timeouts]`.
const MAX_SETS: usize = 255;
/// Every new session is compared with the rules one by one.
const MAX_RULES: usize = 1024;
/// More for the few than for the many.
const MAX_RESERVE: Share = Share::percent(50);
/// Sessions of a worker that an operator needs to log in from several places.
const FEW_RESERVED: u32 = 16;
/// Half-open connections of a worker that one busy page may take.
const FEW_HALF_OPEN: u32 = 64;

pub(super) fn check(draft: &Draft, workers: u8, findings: &mut Findings) -> ConntrackConfig {
    let conntrack = &draft.conntrack;
    if let Some(At { value: sessions, at }) = conntrack.max_sessions
        && sessions < u32::from(workers)
    {
        findings.error(at, Mistake::FewSessions { sessions, workers });
    }
    if let Some(set) = conntrack.timeout_sets.get(MAX_SETS) {
        let count = conntrack.timeout_sets.len();
        findings.error(set.name.at, Mistake::TooMany { what: "timeout sets", count, most: MAX_SETS });
    }
    ConntrackConfig {
        max_sessions: conntrack.max_sessions.map_or(DEFAULT_SESSIONS, |sessions| sessions.value),
        timeouts: conntrack.timeouts.clone(),
        timeout_sets: conntrack
            .timeout_sets
            .iter()
            .map(|set| TimeoutSet { name: set.name.value.clone(), timeouts: set.timeouts.clone() })
            .collect(),
        rules: rules(draft, findings).into_iter().map(|(rule, _)| rule).collect(),
        tcp: conntrack.tcp,
        limits: limits(conntrack, findings),
    }
}

fn limits(draft: &ConntrackDraft, findings: &mut Findings) -> Limits {
    let default = Limits::default();
    if let Some(At { value: reserve, at }) = draft.reserve
        && reserve > MAX_RESERVE
    {
        findings.error(at, Mistake::ReserveTooLarge { reserve, most: MAX_RESERVE });
    }
    if let Some(At { value: Share::NOTHING, at }) = draft.half_open {
        findings.error(at, Mistake::HalfOpenNothing);
    }
    if let Some(At { value: (low, high), at }) = draft.adaptive
        && low >= high
        && low != Share::WHOLE
    {
        findings.error(at, Mistake::AdaptiveOrder { low, high });
    }
    if let Some(first_too_many) = draft.management.get(MAX_MANAGEMENT) {
        let count = draft.management.len();
        let what = Mistake::TooMany { what: "management prefixes", count, most: MAX_MANAGEMENT };
        findings.error(first_too_many.at, what);
    }
    if let (Some(burst), None) = (draft.burst, draft.new_per_source) {
        findings.error(burst.at, Mistake::BurstWithoutRate);
    }
    let (adaptive_low, adaptive_high) =
        draft.adaptive.map_or((default.adaptive_low, default.adaptive_high), |marks| marks.value);
    Limits {
        when_full: draft.when_full.map_or(default.when_full, |when| when.value),
        reserve: draft.reserve.map_or(default.reserve, |share| share.value),
        adaptive_low,
        adaptive_high,
        half_open: draft.half_open.map_or(default.half_open, |share| share.value),
        sessions_per_source: draft.sessions_per_source.map(|limit| limit.value),
        new_per_source: draft.new_per_source.map(|At { value: per_second, .. }| Rate {
            per_second,
            burst: draft.burst.map_or(per_second, |burst| burst.value),
        }),
        management: values(&draft.management),
    }
}

/// The rules, one protocol each, with the number of the rule of the file that they come from.
fn rules(draft: &Draft, findings: &mut Findings) -> Vec<(TrackRule, usize)> {
    let mut rules = Vec::new();
    let mut full = false;
    for (number, rule) in draft.conntrack.rules.iter().enumerate() {
        let on = rule.on.as_ref().and_then(|name| interface(draft, name, findings));
        let timeouts = rule.timeouts.as_ref().and_then(|name| timeout_set(draft, name, findings));
        let ports = ports(rule, findings);
        let one = |protocol| TrackRule {
            on: on.and_then(|index| u8::try_from(index).ok()).map(InterfaceId),
            from: values(&rule.from),
            to: values(&rule.to),
            protocol,
            ports: ports.clone(),
            timeouts: timeouts.unwrap_or(0),
            mark: rule.mark.map_or(0, |mark| mark.value),
        };
        match &rule.protocols {
            None => rules.push((one(None), number)),
            Some(list) => rules.extend(list.iter().map(|protocol| (one(Some(protocol.value)), number))),
        }
        if rules.len() > MAX_RULES && !full {
            full = true;
            let what = "rules of conntrack (one a protocol)";
            findings.error(rule.at, Mistake::TooMany { what, count: rules.len(), most: MAX_RULES });
        }
    }
    rules
}

/// The number of a set among all, of which `[conntrack.timeouts]` is the first.
fn timeout_set(draft: &Draft, name: &At<String>, findings: &mut Findings) -> Option<u8> {
    let names = || draft.conntrack.timeout_sets.iter().map(|set| set.name.value.as_str());
    let index = position(names(), &name.value);
    if index.is_none() {
        let (meant, known) = alternatives(names(), &name.value);
        findings.error(name.at, Mistake::UnknownTimeoutSet { name: name.value.clone(), meant, known });
    }
    u8::try_from(index? + 1).ok()
}

/// The ports of a rule, all of whose protocols must have some.
fn ports(rule: &TrackRuleDraft, findings: &mut Findings) -> Option<RangeInclusive<u16>> {
    let At { value: ports, at } = rule.ports.as_ref()?;
    match &rule.protocols {
        None => findings.error(*at, Mistake::PortWithoutProtocol("port")),
        Some(list) => {
            let portless =
                list.iter().map(|protocol| protocol.value).find(|number| !protocol::has_ports(*number));
            if let Some(number) = portless {
                findings.error(*at, Mistake::PortOfPortless { protocol: protocol_name(number) });
            }
        }
    }
    Some(ports.clone())
}

/// A protocol as people write it.
pub(super) fn protocol_name(number: u8) -> String {
    protocol::name(number).map_or_else(|| number.to_string(), str::to_uppercase)
}

pub(super) fn doubts(draft: &Draft, config: &ConntrackConfig, workers: u8, findings: &mut Findings) {
    let (conntrack, limits) = (&draft.conntrack, &config.limits);
    // Workers hold equal parts of the table, and a source's sessions are all with one of them.
    let share = config.max_sessions / u32::from(workers.max(1));
    pressure(conntrack, limits, findings);
    if let (Some(limit), Some(sessions)) = (conntrack.sessions_per_source, limits.sessions_per_source)
        && sessions >= share
    {
        findings.warn(limit.at, Caution::LimitUnreached { sessions, share });
    }
    if let Some(all) = conntrack.management.iter().find(|prefix| prefix.value.prefix_len() == 0) {
        findings.warn(all.at, Caution::ManagementAll);
    }
    let sessions_at = conntrack.max_sessions.map(|sessions| sessions.at);
    let reserved = limits.reserve.of(share);
    if let Some(first) = conntrack.management.first()
        && reserved < FEW_RESERVED
    {
        let at = conntrack.reserve.map(|reserve| reserve.at).or(sessions_at).unwrap_or(first.at);
        findings.warn(at, Caution::FewReserved { reserved, workers });
    }
    let half_open = limits.half_open.of(share);
    if let Some(at) = conntrack.half_open.map(|share| share.at).or(sessions_at)
        && half_open < FEW_HALF_OPEN
    {
        findings.warn(at, Caution::FewHalfOpen { half_open, workers });
    }
    rule_doubts(draft, findings);
}

/// What happens as the table fills.
fn pressure(draft: &ConntrackDraft, limits: &Limits, findings: &mut Findings) {
    let room = Share::from_basis_points(Share::WHOLE.basis_points() - limits.reserve.basis_points());
    if limits.adaptive_low < limits.adaptive_high
        && limits.adaptive_high > room
        && let Some(at) = draft.adaptive.map(|marks| marks.at).or(draft.reserve.map(|reserve| reserve.at))
    {
        findings.warn(at, Caution::AdaptiveTooLate { high: limits.adaptive_high, room });
    }
    if let Some(At { value: WhenFull::Refuse, at }) = draft.when_full
        && limits.sessions_per_source.is_none()
    {
        findings.warn(at, Caution::RefuseWithoutLimit);
    }
}

fn rule_doubts(draft: &Draft, findings: &mut Findings) {
    let conntrack = &draft.conntrack;
    for set in &conntrack.timeout_sets {
        let mut chosen = conntrack.rules.iter().filter_map(|rule| rule.timeouts.as_ref());
        if !chosen.any(|name| name.value == set.name.value) {
            findings.warn(set.name.at, Caution::TimeoutSetUnused(set.name.value.clone()));
        }
    }
    // Every name was found before.
    let rules = rules(draft, &mut Findings::default());
    for (number, rule) in conntrack.rules.iter().enumerate() {
        if shadowed(&rules, number) {
            findings.warn(rule.at, Caution::Shadowed);
        }
    }
}

/// Whether earlier rules take all that the rule of the file with this number matches.
fn shadowed(rules: &[(TrackRule, usize)], number: usize) -> bool {
    let earlier = || rules.iter().take_while(|(_, of)| *of < number);
    let mut own = rules.iter().filter(|(_, of)| *of == number);
    own.all(|(rule, _)| earlier().any(|(other, _)| covers(other, rule)))
}

fn covers(earlier: &TrackRule, later: &TrackRule) -> bool {
    let ports = match (&earlier.ports, &later.ports) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => outer.contains(inner.start()) && outer.contains(inner.end()),
    };
    ports
        && (earlier.on.is_none() || earlier.on == later.on)
        && (earlier.protocol.is_none() || earlier.protocol == later.protocol)
        && within(&earlier.from, &later.from)
        && within(&earlier.to, &later.to)
}

fn within(outer: &[Ipv4Net], inner: &[Ipv4Net]) -> bool {
    // An empty list means any.
    outer.is_empty() || !inner.is_empty() && inner.iter().all(|net| outer.iter().any(|o| o.contains(net)))
}

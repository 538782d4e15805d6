//! The backends of a forward: hosts of one zone, not the gateway itself, and the same ones wherever one of them is shared.

use super::ways::Ways;
use super::{unicast, zones};
use crate::classify::service::MAX_BACKENDS;
use crate::config::draft::{BackendDraft, DnatDraft, Draft, InterfaceDraft};
use crate::config::error::Span;
use crate::config::mistake::Mistake;
use crate::config::model::{BackendConfig, DnatRule};
use crate::config::reader::{At, Findings};
use crate::ids::Realm;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// The backends of a rule and their zone.
pub(super) fn check(
    draft: &Draft,
    ways: &Ways<'_>,
    rule: &DnatDraft,
    findings: &mut Findings,
) -> Option<(Vec<BackendConfig>, u16)> {
    let At { value: list, at } = rule.to.as_ref()?;
    if list.len() > MAX_BACKENDS {
        let what = Mistake::OutOfRange {
            key: "number of backends".into(),
            value: list.len().to_string(),
            min: 1,
            max: i64::try_from(MAX_BACKENDS).unwrap_or(i64::MAX),
        };
        findings.error(*at, what);
        return None;
    }
    let mut found: Vec<BackendConfig> = Vec::new();
    let mut of_first: Option<(u16, At<Ipv4Addr>)> = None;
    let mut complete = !list.is_empty();
    for entry in list {
        let Some((backend, zone)) = one(draft, ways, rule, entry, findings) else {
            complete = false;
            continue;
        };
        let (first_zone, first) =
            *of_first.get_or_insert((zone, At { value: backend.address, at: entry.to.at }));
        if zone != first_zone {
            let what = Mistake::BackendZones { first: first.value, second: backend.address };
            findings.clash(first.at, entry.to.at, what);
        }
        if found.iter().any(|known| (known.address, known.port) == (backend.address, backend.port)) {
            let value = format!("{}:{}", backend.address, backend.port);
            findings.error(entry.to.at, Mistake::Repeated { key: "to".into(), value });
        }
        found.push(backend);
    }
    let (zone, _) = of_first?;
    complete.then_some((found, zone))
}

/// A backend and its zone.
fn one(
    draft: &Draft,
    ways: &Ways<'_>,
    rule: &DnatDraft,
    entry: &BackendDraft,
    findings: &mut Findings,
) -> Option<(BackendConfig, u16)> {
    let BackendDraft { to: At { value: (to, to_port), at }, weight, drain } = *entry;
    let zone = zones::of_backend(draft, ways, At { value: to, at }, rule.zone, findings);
    let ours = |interface: &InterfaceDraft| {
        let visible = interface.zone == zone || interface.realm == Some(Realm::External);
        visible && interface.has(to)
    };
    if !unicast(to) {
        findings.error(at, Mistake::NotUnicast { address: to });
    } else if draft.interfaces.iter().any(ours) {
        findings.error(at, Mistake::BackendSelf(to));
    }
    let ports = &rule.ports.as_ref()?.value;
    let first = to_port.unwrap_or(*ports.start());
    let count = u32::from(*ports.end()) - u32::from(*ports.start()) + 1;
    if u32::from(first) + count - 1 > u32::from(u16::MAX) {
        findings.error(at, Mistake::BackendPorts { first, count });
    }
    Some((BackendConfig { address: to, port: first, weight, drain }, zone?))
}

/// A port of a backend behind two rules with several backends, which are not the same: its answers do not tell by which rule
/// a client came, and so not which worker to go to (`classify::local`). Full NAT does not need to know.
pub(super) fn shared(rules: &[(DnatRule, Span)], findings: &mut Findings) {
    type Behind<'r> = (RangeInclusive<u16>, &'r DnatRule, Span);
    let mut known: HashMap<(u16, Ipv4Addr, u8), Vec<Behind<'_>>> = HashMap::new();
    for (rule, at) in rules.iter().filter(|(rule, _)| rule.source.is_none() && rule.backends.len() > 1) {
        let width = rule.ports.end() - rule.ports.start();
        let mut clash = None;
        for backend in &rule.backends {
            let ports = backend.port..=backend.port.saturating_add(width);
            let behind = known.entry((rule.zone, backend.address, rule.protocol)).or_default();
            let meets =
                |(other, ..): &&Behind<'_>| other.start() <= ports.end() && ports.start() <= other.end();
            let other = behind.iter().filter(meets).find(|(_, other, _)| !is_same_service(rule, other));
            clash = clash.or_else(|| other.map(|(_, _, there)| (*there, backend.address, backend.port)));
            behind.push((ports, rule, *at));
        }
        if let Some((there, to, port)) = clash {
            findings.clash(there, *at, Mistake::BackendShared { to, port });
        }
    }
}

fn is_same_service(one: &DnatRule, other: &DnatRule) -> bool {
    let ends = |rule: &DnatRule| -> HashSet<(Ipv4Addr, u16)> {
        rule.backends.iter().map(|backend| (backend.address, backend.port)).collect()
    };
    one.ports.clone().count() == other.ports.clone().count() && ends(one) == ends(other)
}

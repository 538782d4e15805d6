//! Translation rules: names, ports that do not fit, and rules that collide or never apply.

use super::conntrack::protocol_name as name_of;
use super::sets::Sets;
use super::shadow::Shadows;
use super::ways::Ways;
use super::{alternatives, backends, health, position, unicast, zones};
use crate::classify::service::MAX_AFFINITY_TIMEOUT as MAX_TIMEOUT;
use crate::classify::source_rules::MAX_RULES;
use crate::classify::{Affinity, PrefixSet};
use crate::config::draft::{DnatDraft, Draft, SnatDraft, SourceName};
use crate::config::error::Span;
use crate::config::mistake::{Caution, Mistake};
use crate::config::model::{Config, DnatRule, RouteConfig, SnatRule, SourcePool};
use crate::config::reader::{At, Findings};
use crate::ids::{InterfaceId, Realm};
use crate::wire::protocol::{self, has_ports};
use ipnet::Ipv4Net;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

pub(super) fn snat(draft: &Draft, findings: &mut Findings) -> Vec<SnatRule> {
    if let Some(first_too_many) = draft.snat.get(MAX_RULES) {
        let (count, most) = (draft.snat.len(), MAX_RULES);
        findings.error(first_too_many.at, Mistake::TooMany { what: "[[snat]] rules", count, most });
    }
    let (pools, sets) = (Pools::new(draft), Sets::new(draft));
    let mut rules = Vec::with_capacity(draft.snat.len());
    for rule in &draft.snat {
        fitting_ports(rule, findings);
        let ports =
            |given: &Option<At<Vec<_>>>| given.as_ref().map(|ports| ports.value.clone()).unwrap_or_default();
        rules.push(SnatRule {
            on: arrivals(draft, rule, findings),
            zone: rule.zone.and_then(|zone| zones::known(draft, zone, findings)),
            from: sets.addresses(rule.from.as_ref(), findings),
            from_ports: ports(&rule.from_ports),
            to: sets.addresses(rule.to.as_ref(), findings),
            ports: ports(&rule.ports),
            protocols: rule.protocols.as_ref().map(|protocols| protocols.value.clone()).unwrap_or_default(),
            out: exit(draft, rule, findings),
            source: match &rule.source {
                Some(At { value: SourceName::Untranslated, .. }) => None,
                given => Some(pools.source(given.as_ref(), findings).unwrap_or(SourcePool::Interface)),
            },
            mss_clamp: rule.mss_clamp,
        });
    }
    rules
}

/// Networks in which internal addresses mean something (RFC 1918, RFC 6598).
const PRIVATE: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// The interfaces that packets come in by.
fn arrivals(draft: &Draft, rule: &SnatDraft, findings: &mut Findings) -> Vec<InterfaceId> {
    let mut found = Vec::new();
    for name in rule.on.iter().flatten() {
        let Some(index) = interface(draft, name, findings) else { continue };
        let Some(interface) = draft.interfaces.get(index) else { continue };
        let (name, at) = (interface.name.value.clone(), name.at);
        if interface.realm == Some(Realm::External) {
            findings.error(at, Mistake::OnExternal { interface: name });
        } else if let Some((of, zone)) = interface.zone.zip(rule.zone.map(|zone| zone.value))
            && of != zone
        {
            findings.error(at, Mistake::OnOutsideZone { interface: name, of, zone });
        }
        found.extend(u8::try_from(index).ok().map(InterfaceId));
    }
    found
}

/// The interface that packets leave by.
fn exit(draft: &Draft, rule: &SnatDraft, findings: &mut Findings) -> Option<InterfaceId> {
    let name = rule.out.as_ref()?;
    let index = interface(draft, name, findings)?;
    if let Some(interface) = draft.interfaces.get(index).filter(|i| i.realm == Some(Realm::Internal)) {
        findings.error(name.at, Mistake::OutInternal { interface: interface.name.value.clone() });
    }
    u8::try_from(index).ok().map(InterfaceId)
}

/// Ports, all of whose protocols must have some.
fn fitting_ports(rule: &SnatDraft, findings: &mut Findings) {
    // Nothing in a list: what there was is wrong, which has been said.
    let given = |(key, ports): (_, &Option<At<Vec<_>>>)| {
        Some((key, ports.as_ref().filter(|p| !p.value.is_empty())?.at))
    };
    let Some((key, at)) =
        [("port", &rule.ports), ("from_port", &rule.from_ports)].into_iter().find_map(given)
    else {
        return;
    };
    match &rule.protocols {
        None => findings.error(at, Mistake::PortWithoutProtocol(key)),
        Some(protocols) => {
            if let Some(number) = protocols.value.iter().find(|number| !has_ports(**number)) {
                findings.error(at, Mistake::PortOfPortless { protocol: name_of(*number) });
            }
        }
    }
}

pub(super) fn values(prefixes: &[At<Ipv4Net>]) -> Vec<Ipv4Net> {
    prefixes.iter().map(|prefix| prefix.value).collect()
}

pub(super) fn interface(draft: &Draft, name: &At<String>, findings: &mut Findings) -> Option<usize> {
    let names = || draft.interfaces.iter().map(|interface| interface.name.value.as_str());
    let index = position(names(), &name.value);
    if index.is_none() {
        let (meant, known) = alternatives(names(), &name.value);
        findings.error(name.at, Mistake::UnknownInterface { name: name.value.clone(), meant, known });
    }
    index
}

/// The pools by name.
struct Pools<'d> {
    draft: &'d Draft,
    numbers: HashMap<&'d str, usize>,
}

impl<'d> Pools<'d> {
    fn new(draft: &'d Draft) -> Self {
        Pools { draft, numbers: draft.pools.iter().map(|pool| pool.name.value.as_str()).zip(0..).collect() }
    }

    fn source(&self, source: Option<&At<SourceName>>, findings: &mut Findings) -> Option<SourcePool> {
        let source = source?;
        let name = match &source.value {
            SourceName::Pool(name) => name,
            SourceName::Interface => return Some(SourcePool::Interface),
            SourceName::Untranslated => return None,
        };
        let index = self.numbers.get(name.as_str()).copied();
        if index.is_none() {
            let names = self.draft.pools.iter().map(|pool| pool.name.value.as_str());
            let (meant, known) = alternatives(names, name);
            findings.error(source.at, Mistake::UnknownPool { name: name.clone(), meant, known });
        }
        index.map(SourcePool::Pool)
    }
}

pub(super) fn dnat(draft: &Draft, routes: &[RouteConfig], findings: &mut Findings) -> Vec<DnatRule> {
    let mut rules: Vec<(DnatRule, Span)> = Vec::new();
    let (pools, ways) = (Pools::new(draft), Ways::new(draft, routes));
    for rule in &draft.dnat {
        let target = target(draft, rule, findings);
        let source = pools.source(rule.source.as_ref(), findings);
        let backend = backends::check(draft, &ways, rule, findings);
        let syn_proxy = syn_proxy(rule, findings);
        let health = health::check(rule, findings);
        let affinity_timeout = affinity_timeout(rule, findings);
        let (Some((address, interface)), Some(ports), Some((backends, zone))) =
            (target, &rule.ports, backend)
        else {
            continue;
        };
        for protocol in &rule.protocols {
            let rule = DnatRule {
                address,
                interface,
                protocol: protocol.value,
                ports: ports.value.clone(),
                backends: backends.clone(),
                affinity: rule.affinity,
                affinity_timeout,
                health,
                zone,
                source,
                syn_proxy,
                drain: rule.drain,
            };
            rules.push((rule, ports.at));
        }
    }
    collisions(&rules, findings);
    backends::shared(&rules, findings);
    rules.into_iter().map(|(rule, _)| rule).collect()
}

/// Whether the rule has a SYN proxy in front of it.
fn syn_proxy(rule: &DnatDraft, findings: &mut Findings) -> bool {
    let Some(At { value: true, at }) = rule.syn_proxy else { return false };
    if let Some(other) = rule.protocols.iter().find(|protocol| protocol.value != protocol::TCP) {
        findings.error(at, Mistake::SynProxyProtocol { protocol: protocol_name(other.value) });
    }
    true
}

/// How long a source keeps its backend; only where all of its sessions go to one.
fn affinity_timeout(rule: &DnatDraft, findings: &mut Findings) -> Option<Duration> {
    let At { value, at } = rule.affinity_timeout?;
    if rule.affinity != Affinity::Source {
        findings.error(at, Mistake::AffinityTimeout);
    } else if value > MAX_TIMEOUT {
        findings.error(at, Mistake::AffinityTimeoutLong(value));
    }
    Some(value)
}

fn protocol_name(number: u8) -> &'static str {
    if number == protocol::TCP { "TCP" } else { "UDP" }
}

/// The address that clients use, and the interface whose own one it is.
fn target(
    draft: &Draft,
    rule: &DnatDraft,
    findings: &mut Findings,
) -> Option<(Ipv4Addr, Option<InterfaceId>)> {
    let id = |index: usize| u8::try_from(index).ok().map(InterfaceId);
    if let Some(on) = &rule.on {
        let index = interface(draft, on, findings)?;
        let own = draft.interfaces.get(index)?.addresses.first()?;
        return Some((own.value.addr(), id(index)));
    }
    let At { value: address, at } = rule.address?;
    if !unicast(address) {
        findings.error(at, Mistake::NotUnicast { address });
    }
    let mut owners = draft.interfaces.iter().enumerate().filter(|(_, interface)| interface.has(address));
    let Some((index, first)) = owners.next() else {
        zones::not_shared(draft, (address, address), at, findings);
        return Some((address, None));
    };
    // Twice in one zone has been reported.
    if let Some((_, second)) = owners.find(|(_, other)| !other.shares_zone_with(first)) {
        let names = (first.name.value.clone(), second.name.value.clone());
        findings.error(at, Mistake::OwnAmbiguous { address, first: names.0, second: names.1 });
    }
    Some((address, id(index)))
}

/// The same address, protocol and port in two rules.
fn collisions(rules: &[(DnatRule, Span)], findings: &mut Findings) {
    let mut sorted: Vec<&(DnatRule, Span)> = rules.iter().collect();
    let place = |rule: &DnatRule| (rule.address, rule.interface, rule.protocol);
    sorted.sort_by_key(|(rule, at)| (place(rule), *rule.ports.start(), at.start));
    // The rule of the current address and protocol that reaches farthest.
    let mut widest: Option<&(DnatRule, Span)> = None;
    for entry in sorted {
        let (rule, at) = entry;
        let same = widest.filter(|(other, _)| place(other) == place(rule));
        if let Some((other, other_at)) = same
            && rule.ports.start() <= other.ports.end()
        {
            let protocol = protocol_name(rule.protocol);
            let (address, port) = (rule.address, *rule.ports.start());
            findings.clash(*other_at, *at, Mistake::DnatOverlap { protocol, address, port });
        }
        if same.is_none_or(|(other, _)| rule.ports.end() > other.ports.end()) {
            widest = Some(entry);
        }
    }
}

pub(super) fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    let ways = Ways::new(draft, &config.routes);
    let mut shadows = Shadows::new(config);
    let private = PrefixSet::new(PRIVATE);
    for (rule, checked) in draft.snat.iter().zip(&config.snat) {
        if shadows.cover(checked) {
            findings.warn(rule.at, Caution::Shadowed);
        }
        if let Some(source) = rule.source.as_ref().filter(|_| checked.source.is_none())
            && (checked.to.is_any() || !private.covers(&PrefixSet::new(config.prefixes(&checked.to))))
        {
            findings.warn(source.at, Caution::LeavesUntranslated);
        }
        for member in rule.from.iter().flat_map(|from| &from.value) {
            let Some(net) = member.value.net() else { continue };
            if !ways.has_sources(rule.zone.map(|zone| zone.value), net) {
                findings.warn(member.at, Caution::SourceNotInternal(net));
            }
        }
    }
    for rule in &draft.dnat {
        if let Some(on) = &rule.on
            && config.interfaces.iter().any(|i| i.name == on.value && i.realm == Realm::Internal)
        {
            findings.warn(on.at, Caution::DnatOnInternal(on.value.clone()));
        }
        for At { value: (to, _), at } in rule.to.iter().flat_map(|to| &to.value).map(|backend| backend.to) {
            let backend = At { value: to, at };
            let zone = zones::of_backend(draft, &ways, backend, rule.zone, &mut Findings::default());
            match zone.and_then(|zone| ways.by(zone, to)).and_then(|by| by.realm) {
                Some(Realm::Internal) => {}
                Some(Realm::External) => findings.warn(at, Caution::BackendExternal(to)),
                None => findings.warn(at, Caution::BackendUnreachable(to)),
            }
        }
    }
}

//! Translation rules: names, ports that do not fit, and rules that collide or never apply.

use super::shadow::Shadows;
use super::ways::Ways;
use super::{alternatives, backends, position, unicast, zones};
use crate::config::draft::{DnatDraft, Draft, SourceName};
use crate::config::error::Span;
use crate::config::mistake::{Caution, Mistake};
use crate::config::model::{Config, DnatRule, RouteConfig, SnatRule, SourcePool};
use crate::config::reader::{At, Findings};
use crate::ids::{InterfaceId, Realm};
use crate::wire::protocol;
use ipnet::Ipv4Net;
use std::collections::HashMap;
use std::net::Ipv4Addr;

pub(super) fn snat(draft: &Draft, findings: &mut Findings) -> Vec<SnatRule> {
    let mut rules = Vec::new();
    let pools = Pools::new(draft);
    for rule in &draft.snat {
        let out = rule.out.as_ref().and_then(|name| interface(draft, name, findings).zip(Some(name.at)));
        if let Some((index, at)) = out
            && let Some(interface) = draft.interfaces.get(index).filter(|i| i.realm == Some(Realm::Internal))
        {
            findings.error(at, Mistake::OutInternal { interface: interface.name.value.clone() });
        }
        rules.push(SnatRule {
            zone: rule.zone.and_then(|zone| zones::known(draft, zone, findings)),
            from: values(&rule.from),
            to: values(&rule.to),
            out: out.and_then(|(index, _)| u8::try_from(index).ok()).map(InterfaceId),
            source: pools.source(rule.source.as_ref(), findings).unwrap_or(SourcePool::Interface),
        });
    }
    rules
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
        let SourceName::Pool(name) = &source.value else { return Some(SourcePool::Interface) };
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
    let mut shadows = Shadows::default();
    for (rule, checked) in draft.snat.iter().zip(&config.snat) {
        if shadows.cover(checked) {
            findings.warn(rule.at, Caution::Shadowed);
        }
        for from in &rule.from {
            if !ways.has_sources(rule.zone.map(|zone| zone.value), from.value) {
                findings.warn(from.at, Caution::SourceNotInternal(from.value));
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

pub(super) fn within(outer: &[Ipv4Net], inner: &[Ipv4Net]) -> bool {
    // An empty list means any.
    outer.is_empty() || !inner.is_empty() && inner.iter().all(|net| outer.iter().any(|o| o.contains(net)))
}

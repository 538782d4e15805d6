//! Translation rules: names, ports that do not fit, and rules that collide or never apply.

use super::{alternatives, links, position, realm_towards, unicast};
use crate::config::draft::{DnatDraft, Draft, SourceName};
use crate::config::error::Span;
use crate::config::mistake::{Caution, Mistake};
use crate::config::model::{Config, DnatRule, SnatRule, SourcePool};
use crate::config::reader::{At, Findings};
use crate::ids::{InterfaceId, Realm};
use crate::wire::protocol;
use ipnet::Ipv4Net;

pub(super) fn snat(draft: &Draft, findings: &mut Findings) -> Vec<SnatRule> {
    let mut rules = Vec::new();
    for rule in &draft.snat {
        let out = rule.out.as_ref().and_then(|name| interface(draft, name, findings).zip(Some(name.at)));
        if let Some((index, at)) = out
            && let Some(interface) = draft.interfaces.get(index).filter(|i| i.realm == Some(Realm::Internal))
        {
            findings.error(at, Mistake::OutInternal { interface: interface.name.value.clone() });
        }
        rules.push(SnatRule {
            from: values(&rule.from),
            to: values(&rule.to),
            out: out.and_then(|(index, _)| u8::try_from(index).ok()).map(InterfaceId),
            source: source(draft, rule.source.as_ref(), findings).unwrap_or(SourcePool::Interface),
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

fn source(draft: &Draft, source: Option<&At<SourceName>>, findings: &mut Findings) -> Option<SourcePool> {
    let source = source?;
    let SourceName::Pool(name) = &source.value else { return Some(SourcePool::Interface) };
    let names = || draft.pools.iter().map(|pool| pool.name.value.as_str());
    let index = position(names(), name);
    if index.is_none() {
        let (meant, known) = alternatives(names(), name);
        findings.error(source.at, Mistake::UnknownPool { name: name.clone(), meant, known });
    }
    index.map(SourcePool::Pool)
}

pub(super) fn dnat(draft: &Draft, findings: &mut Findings) -> Vec<DnatRule> {
    let mut rules: Vec<(DnatRule, Span)> = Vec::new();
    for rule in &draft.dnat {
        let address = match &rule.on {
            Some(on) => {
                let index = interface(draft, on, findings);
                index
                    .and_then(|index| draft.interfaces.get(index)?.addresses.first())
                    .map(|net| net.value.addr())
            }
            None => rule.address.map(|address| address.value),
        };
        if let Some(given) = rule.address
            && !unicast(given.value)
        {
            findings.error(given.at, Mistake::NotUnicast { address: given.value });
        }
        let source = source(draft, rule.source.as_ref(), findings);
        let backend = backend(draft, rule, findings);
        let syn_proxy = syn_proxy(rule, findings);
        let (Some(address), Some(ports), Some((to, to_port))) = (address, &rule.ports, backend) else {
            continue;
        };
        for protocol in &rule.protocols {
            let (protocol, ports, at) = (protocol.value, ports.value.clone(), ports.at);
            rules.push((DnatRule { address, protocol, ports, to, to_port, source, syn_proxy }, at));
        }
    }
    collisions(&rules, findings);
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

/// The backend's address and the first of its ports.
fn backend(draft: &Draft, rule: &DnatDraft, findings: &mut Findings) -> Option<(std::net::Ipv4Addr, u16)> {
    let At { value: (to, to_port), at } = rule.to?;
    if !unicast(to) {
        findings.error(at, Mistake::NotUnicast { address: to });
    } else if links::is_own(draft, to) {
        findings.error(at, Mistake::BackendSelf(to));
    }
    let ports = &rule.ports.as_ref()?.value;
    let first = to_port.unwrap_or(*ports.start());
    let count = u32::from(*ports.end()) - u32::from(*ports.start()) + 1;
    if u32::from(first) + count - 1 > u32::from(u16::MAX) {
        findings.error(at, Mistake::BackendPorts { first, count });
    }
    Some((to, first))
}

/// The same address, protocol and port in two rules.
fn collisions(rules: &[(DnatRule, Span)], findings: &mut Findings) {
    let mut sorted: Vec<&(DnatRule, Span)> = rules.iter().collect();
    sorted.sort_by_key(|(rule, at)| (rule.address, rule.protocol, *rule.ports.start(), at.start));
    // The rule of the current address and protocol that reaches farthest.
    let mut widest: Option<&(DnatRule, Span)> = None;
    for entry in sorted {
        let (rule, at) = entry;
        let same =
            widest.filter(|(other, _)| (other.address, other.protocol) == (rule.address, rule.protocol));
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
    for (index, rule) in draft.snat.iter().enumerate() {
        let earlier = config.snat.get(..index).unwrap_or_default();
        let shadowed =
            config.snat.get(index).is_some_and(|rule| earlier.iter().any(|other| covers(other, rule)));
        if shadowed {
            findings.warn(rule.at, Caution::Shadowed);
        }
        for from in &rule.from {
            if !internal_source(config, from.value) {
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
        let Some(At { value: (to, _), at }) = rule.to else { continue };
        match realm_towards(config, to) {
            Some(Realm::Internal) => {}
            Some(Realm::External) => findings.warn(at, Caution::BackendExternal(to)),
            None => findings.warn(at, Caution::BackendUnreachable(to)),
        }
    }
}

/// Whether some of these sources are behind an internal interface.
fn internal_source(config: &Config, from: Ipv4Net) -> bool {
    // The prefix may be wider than what is routed, such as 192.168.0.0/16 for several networks in it.
    let connected =
        config.interfaces.iter().flat_map(|i| i.addresses.iter().map(move |a| (a.trunc(), i.realm)));
    let inside = connected.chain(
        config.routes.iter().filter_map(|r| Some((r.to, config.interfaces.get(r.interface.index())?.realm))),
    );
    let mut inside = inside.filter(|(_, realm)| *realm == Realm::Internal);
    inside.any(|(net, _)| from.contains(&net))
        || realm_towards(config, from.network()) == Some(Realm::Internal)
}

/// Whether the earlier rule takes all that the later one matches.
fn covers(earlier: &SnatRule, later: &SnatRule) -> bool {
    (earlier.out.is_none() || earlier.out == later.out)
        && within(&earlier.from, &later.from)
        && within(&earlier.to, &later.to)
}

pub(super) fn within(outer: &[Ipv4Net], inner: &[Ipv4Net]) -> bool {
    // An empty list means any.
    outer.is_empty() || !inner.is_empty() && inner.iter().all(|net| outer.iter().any(|o| o.contains(net)))
}

//! Addresses that are translated one to one: prefixes of one length, and every external address nobody else's.

use super::rules::interface;
use super::ways::Ways;
use super::{links, pools, unicast, zones};
use crate::config::draft::{Draft, StaticDraft};
use crate::config::error::Span;
use crate::config::mistake::{Caution, Mistake};
use crate::config::model::{Config, RouteConfig, StaticRule};
use crate::config::reader::{At, Findings};
use crate::ids::{InterfaceId, Realm};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

pub(super) fn check(draft: &Draft, routes: &[RouteConfig], findings: &mut Findings) -> Vec<StaticRule> {
    let ways = Ways::new(draft, routes);
    let mut rules: Vec<(StaticRule, Span, Span)> = Vec::new();
    for rule in &draft.statics {
        let out = rule.on.as_ref().map(|name| way_out(draft, name, findings));
        let (Some(external), Some(internal)) = (rule.external, rule.internal) else { continue };
        let zone = zones::of_backend(draft, &ways, at(internal), rule.zone, findings);
        prefixes(external, internal, findings);
        owners(draft, external, findings);
        let ends = (external.value.network(), external.value.broadcast());
        zones::not_shared(draft, ends, external.at, findings);
        let (Some(zone), false) = (zone, out == Some(None)) else { continue };
        let StaticDraft { inbound, .. } = *rule;
        let (external_at, internal_at) = (external.at, internal.at);
        let (external, internal, out) = (external.value, internal.value, out.flatten());
        rules.push((StaticRule { external, internal, zone, out, inbound }, external_at, internal_at));
    }
    overlaps(rules.iter().map(|(rule, at, _)| ((), rule.external, *at)), findings);
    let outs: Vec<_> = rules.iter().map(|(rule, ..)| rule.out).collect();
    for only in distinct(outs) {
        // What is for any interface is for this one too.
        let here = rules.iter().filter(|(rule, ..)| rule.out == only || rule.out.is_none());
        overlaps(here.map(|(rule, _, at)| (rule.zone, rule.internal, *at)), findings);
    }
    rules.into_iter().map(|(rule, ..)| rule).collect()
}

/// Each interface once; "any" only if there is nothing else, as it is looked at with each of the others.
fn distinct(mut outs: Vec<Option<InterfaceId>>) -> Vec<Option<InterfaceId>> {
    outs.sort_unstable();
    outs.dedup();
    if outs.len() > 1 {
        outs.retain(Option::is_some);
    }
    outs
}

fn at(net: At<Ipv4Net>) -> At<Ipv4Addr> {
    At { value: net.value.network(), at: net.at }
}

fn way_out(draft: &Draft, name: &At<String>, findings: &mut Findings) -> Option<InterfaceId> {
    let index = interface(draft, name, findings)?;
    let found = draft.interfaces.get(index)?;
    if found.realm == Some(Realm::Internal) {
        findings.error(name.at, Mistake::OutInternal { interface: found.name.value.clone() });
        return None;
    }
    u8::try_from(index).ok().map(InterfaceId)
}

/// What is wrong with the two prefixes alone.
fn prefixes(external: At<Ipv4Net>, internal: At<Ipv4Net>, findings: &mut Findings) {
    for At { value: net, at } in [external, internal] {
        let ends = [net.network(), net.broadcast()];
        if let Some(address) = ends.into_iter().find(|end| !unicast(*end)) {
            findings.error(at, Mistake::NotUnicast { address });
            return;
        }
    }
    let (outer, inner) = (external.value, internal.value);
    if outer.prefix_len() != inner.prefix_len() {
        let what = Mistake::StaticLength { external: outer, internal: inner };
        findings.clash(external.at, internal.at, what);
    } else if outer.contains(&inner) {
        let what = Mistake::StaticWithin { external: outer, internal: inner };
        findings.clash(external.at, internal.at, what);
    }
}

/// External addresses that belong to someone else. One error a rule is enough.
fn owners(draft: &Draft, At { value: net, at }: At<Ipv4Net>, findings: &mut Findings) {
    let holds = |address: Ipv4Addr, owner: String| Mistake::StaticHolds { net, address, owner };
    for interface in &draft.interfaces {
        for own in &interface.addresses {
            let (address, link) = (own.value.addr(), own.value);
            let edges = [link.network(), link.broadcast()];
            let what = if net.contains(&address) {
                Some(holds(address, format!("interface \"{}\"", interface.name.value)))
            } else {
                edges.into_iter().filter(|end| net.contains(end)).find_map(|end| links::edge(end, link))
            };
            if let Some(what) = what {
                findings.clash(own.at, at, what);
                return;
            }
        }
    }
    if let Some(hop) = pools::next_hops(draft).into_iter().find(|hop| net.contains(&hop.value)) {
        findings.clash(hop.at, at, holds(hop.value, "another machine, a next hop".into()));
        return;
    }
    for pool in &draft.pools {
        let meets = |(first, last): (Ipv4Addr, Ipv4Addr)| first <= net.broadcast() && net.network() <= last;
        if let Some(range) = pool.ranges.iter().find(|range| meets(range.value)) {
            let address = range.value.0.max(net.network());
            findings.clash(range.at, at, holds(address, format!("pool \"{}\"", pool.name.value)));
            return;
        }
    }
}

/// Two networks of one space that overlap.
fn overlaps<S: Ord>(nets: impl Iterator<Item = (S, Ipv4Net, Span)>, findings: &mut Findings) {
    let mut sorted: Vec<_> = nets.collect();
    sorted.sort_by(|(space, net, at), (other, next, there)| {
        (space, net.network(), at.start).cmp(&(other, next.network(), there.start))
    });
    // The network of its space that reaches farthest so far.
    let mut widest: Option<&(S, Ipv4Net, Span)> = None;
    for entry in &sorted {
        let same = widest.filter(|(space, ..)| *space == entry.0);
        if let Some((_, first, first_at)) = same
            && entry.1.network() <= first.broadcast()
        {
            let what = Mistake::StaticOverlap { first: *first, second: entry.1 };
            findings.clash(*first_at, entry.2, what);
        }
        if same.is_none_or(|(_, first, _)| entry.1.broadcast() > first.broadcast()) {
            widest = Some(entry);
        }
    }
}

pub(super) fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    let ways = Ways::new(draft, &config.routes);
    for (rule, checked) in draft.statics.iter().zip(&config.statics) {
        if let Some(internal) = rule.internal
            && !ways.has_sources(Some(checked.zone), internal.value)
        {
            findings.warn(internal.at, Caution::SourceNotInternal(internal.value));
        }
    }
}

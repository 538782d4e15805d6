//! Pools: every address belongs to one pool and to nobody else.

use super::{links, sharing, unicast, zones};
use crate::config::draft::{Draft, PoolDraft};
use crate::config::error::Span;
use crate::config::mistake::{Caution, Mistake};
use crate::config::model::{Config, PoolConfig, SourcePool};
use crate::config::reader::{At, Findings};
use crate::config::units;
use crate::ids::Realm;
use crate::steering::Spread;
use ipnet::Ipv4Net;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// In all pools together: every worker keeps the free ports of each (`nat::space`), and local addresses are
/// numbered with 16 bits.
const MAX_ADDRESSES: u64 = 4096;
/// What a pool allocates if the config does not say: no well-known port.
const DEFAULT_PORTS: RangeInclusive<u16> = 1024..=65535;
/// Ports of a worker that one busy host may use up: a browser opens dozens of connections.
const FEW_PORTS: u32 = 64;

/// One entry of the list of a pool.
struct Range<'d> {
    first: Ipv4Addr,
    last: Ipv4Addr,
    at: Span,
    pool: &'d PoolDraft,
}

pub(super) fn check(draft: &Draft, findings: &mut Findings) -> Vec<PoolConfig> {
    let size = |pool: &PoolDraft| -> u64 {
        pool.ranges.iter().map(|range| units::count(range.value.0, range.value.1)).sum()
    };
    let mut sum = 0;
    let first_too_many = draft.pools.iter().find(|pool| {
        sum += size(pool);
        sum > MAX_ADDRESSES
    });
    if let Some(pool) = first_too_many {
        let count = draft.pools.iter().map(size).sum();
        findings.error(pool.name.at, Mistake::PoolsTooLarge { count, most: MAX_ADDRESSES });
    }
    let mut ranges: Vec<Range<'_>> = draft.pools.iter().flat_map(ranges).collect();
    let hops = next_hops(draft);
    for range in &ranges {
        owners(draft, &hops, range, findings);
        zones::not_shared(draft, (range.first, range.last), range.at, findings);
    }
    ranges.sort_by_key(|range| (range.first, range.at.start));
    overlaps(&ranges, findings);
    if !findings.mistakes.is_empty() {
        return Vec::new();
    }
    let spread = draft.runtime.spread.map_or(Spread::default(), |spread| spread.value);
    draft.pools.iter().map(|pool| build(draft, pool, spread, findings)).collect()
}

/// A worker has the ports whose number leaves its own one when divided by the number of workers.
pub(super) fn ports(draft: &Draft, workers: u8, findings: &mut Findings) {
    let one_by_one = |pool: &&PoolDraft| pool.blocks.is_none() && pool.fixed.is_none();
    for pool in draft.pools.iter().filter(one_by_one) {
        let Some(At { value: range, at }) = &pool.ports else { continue };
        let count = width(range);
        if count < u32::from(workers) {
            let what = Mistake::PoolPorts { pool: pool.name.value.clone(), ports: count, workers };
            findings.error(*at, what);
        }
    }
}

pub(super) fn width(range: &RangeInclusive<u16>) -> u32 {
    u32::from(*range.end()).saturating_sub(u32::from(*range.start())) + 1
}

fn ranges(pool: &PoolDraft) -> impl Iterator<Item = Range<'_>> {
    pool.ranges.iter().map(move |range| Range {
        first: range.value.0,
        last: range.value.1,
        at: range.at,
        pool,
    })
}

fn build(draft: &Draft, pool: &PoolDraft, spread: Spread, findings: &mut Findings) -> PoolConfig {
    let addresses = pool.ranges.iter().flat_map(|range| units::expand(range.value.0, range.value.1));
    let mut built = PoolConfig {
        name: pool.name.value.clone(),
        addresses: addresses.collect(),
        ports: pool.ports.as_ref().map_or(DEFAULT_PORTS, |ports| ports.value.clone()),
        behavior: pool.behavior.build(spread),
        fixed: None,
    };
    (built.behavior.sharing, built.fixed) = sharing::build(draft, pool, &built, findings);
    built
}

/// Each once, where it is first given.
pub(super) fn next_hops(draft: &Draft) -> Vec<At<Ipv4Addr>> {
    let gateways = draft.interfaces.iter().filter_map(|interface| interface.gateway);
    let mut known = HashSet::new();
    let mut hops: Vec<_> = gateways.chain(draft.routes.iter().filter_map(|route| route.via)).collect();
    hops.retain(|hop| known.insert(hop.value));
    hops
}

/// Addresses that belong to someone else. One error a range is enough.
fn owners(draft: &Draft, hops: &[At<Ipv4Addr>], range: &Range<'_>, findings: &mut Findings) {
    let inside = |address: Ipv4Addr| (range.first..=range.last).contains(&address);
    let pool = || range.pool.name.value.clone();
    if let Some(address) = [range.first, range.last].into_iter().find(|end| !unicast(*end)) {
        findings.error(range.at, Mistake::NotUnicast { address });
        return;
    }
    for interface in &draft.interfaces {
        for own in &interface.addresses {
            let (address, net) = (own.value.addr(), own.value);
            if inside(address) {
                let interface = interface.name.value.clone();
                let what = Mistake::PoolHoldsInterface { pool: pool(), address, interface };
                findings.clash(own.at, range.at, what);
                return;
            }
            let edges = [net.network(), net.broadcast()];
            let bad = edges.into_iter().filter(|end| inside(*end)).find_map(|end| links::edge(end, net));
            if let Some(what) = bad {
                findings.clash(own.at, range.at, what);
                return;
            }
        }
    }
    if let Some(hop) = hops.iter().find(|hop| inside(hop.value)) {
        let what = Mistake::PoolHoldsNextHop { pool: pool(), address: hop.value };
        findings.clash(hop.at, range.at, what);
    }
}

/// `ranges` are sorted by their first address.
fn overlaps(ranges: &[Range<'_>], findings: &mut Findings) {
    // The range that reaches farthest so far.
    let mut widest: Option<&Range<'_>> = None;
    for range in ranges {
        if let Some(other) = widest
            && range.first <= other.last
        {
            let (first, second) = (&other.pool.name, &range.pool.name);
            let address = range.first;
            let what = if first.value == second.value {
                Mistake::PoolRepeats { pool: first.value.clone(), address }
            } else {
                Mistake::PoolOverlap { first: first.value.clone(), second: second.value.clone(), address }
            };
            findings.clash(other.at, range.at, what);
        }
        if widest.is_none_or(|other| range.last > other.last) {
            widest = Some(range);
        }
    }
}

pub(super) fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    let outbound: HashSet<SourcePool> = config.snat.iter().filter_map(|rule| rule.source).collect();
    let full_nat: HashSet<SourcePool> = config.dnat.iter().filter_map(|rule| rule.source).collect();
    let targets: HashSet<Ipv4Addr> = config.dnat.iter().map(|rule| rule.address).collect();
    let translated = config.notrack.iter().filter(|class| class.translate_to.is_some());
    let services: Vec<Ipv4Net> = translated.flat_map(|class| class.to.nets.iter().copied()).collect();
    for (index, pool) in draft.pools.iter().enumerate() {
        let source = SourcePool::Pool(index);
        let (outbound, full_nat) = (outbound.contains(&source), full_nat.contains(&source));
        let forwarded = || {
            let addresses = config.pools.get(index).map(|pool| pool.addresses.as_slice()).unwrap_or_default();
            let is_service = |address| services.iter().any(|net| net.contains(address));
            addresses.iter().any(|address| targets.contains(address) || is_service(address))
        };
        if !outbound && !full_nat && !forwarded() {
            findings.warn(pool.name.at, Caution::PoolUnused(pool.name.value.clone()));
        }
        let workers = config.runtime.workers;
        if let Some(At { value: range, at }) = &pool.ports
            && (outbound || full_nat)
            && pool.blocks.is_none()
            && pool.fixed.is_none()
        {
            let each = width(range) / u32::from(workers.max(1));
            if each < FEW_PORTS {
                findings.warn(*at, Caution::FewPorts { pool: pool.name.value.clone(), each, workers });
            }
        }
        // Full NAT towards internal backends takes internal addresses.
        for range in ranges(pool).filter(|_| outbound) {
            internal(config, &range, findings);
        }
    }
}

fn internal(config: &Config, range: &Range<'_>, findings: &mut Findings) {
    for interface in config.interfaces.iter().filter(|interface| interface.realm == Realm::Internal) {
        let mut nets = interface.addresses.iter().map(|address| address.trunc());
        if let Some(net) = nets.find(|net| range.first <= net.broadcast() && net.network() <= range.last) {
            let what = Caution::PoolInternal {
                pool: range.pool.name.value.clone(),
                address: range.first.max(net.network()),
                net,
                interface: interface.name.clone(),
            };
            findings.warn(range.at, what);
        }
    }
}

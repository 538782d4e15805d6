//! Pools that share their ports out, in blocks or by arithmetic: what they exclude, and whether all fits.

use super::zones;
use crate::classify::Shares;
use crate::config::draft::{BlocksDraft, Draft, FixedDraft, PoolDraft, SourceName};
use crate::config::error::Span;
use crate::config::mistake::{Caution, SharingMistake};
use crate::config::model::{Config, PoolConfig};
use crate::config::reader::{At, Findings};
use crate::ids::Realm;
use crate::nat::behavior::{BlockRules, Pooling, Sharing};
use crate::nat::blocks::{self, REGION, UNIT};
use crate::nat::deterministic::{Deterministic, Misfit};
use crate::nat::ports::REGISTERED;
use crate::steering::Spread;
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// What a pool has if `port_blocks` says nothing more.
const DEFAULT: BlockRules = BlockRules { size: 512, per_subscriber: 4, idle: 6000 };
/// Ports of a host below which it is probably not meant: a browser opens dozens of connections.
const FEW: u16 = 64;

const BLOCKS: &str = "port_blocks";
const FIXED: &str = "deterministic";

/// Which of both a pool has, and where it says so.
fn shared(pool: &PoolDraft) -> Option<(&'static str, Span)> {
    let fixed = pool.fixed.as_ref().map(|fixed| (FIXED, fixed.at));
    pool.blocks.map(|blocks| (BLOCKS, blocks.at)).or(fixed)
}

/// How the ports of a pool are shared out. `pool` is built but for that.
pub(super) fn build(
    draft: &Draft,
    pool: &PoolDraft,
    built: &PoolConfig,
    findings: &mut Findings,
) -> (Sharing, Option<Deterministic>) {
    if let Some((key, at)) = shared(pool) {
        excludes(draft, pool, (key, at), &built.ports, findings);
    }
    match (&pool.blocks, &pool.fixed) {
        (Some(one), Some(other)) => {
            findings.clash(one.at, other.at, SharingMistake::Both.into());
            (Sharing::Ports, None)
        }
        (Some(given), None) => (Sharing::Blocks(rules(given.value, findings)), None),
        (None, Some(given)) => (Sharing::Fixed, fixed(draft, given, built, findings)),
        (None, None) => (Sharing::Ports, None),
    }
}

/// What of the other settings makes no sense beside it.
fn excludes(
    draft: &Draft,
    pool: &PoolDraft,
    (key, at): (&'static str, Span),
    ports: &RangeInclusive<u16>,
    findings: &mut Findings,
) {
    if let Some(At { value: Spread::Flow, at: spread }) = draft.runtime.spread {
        findings.clash(spread, at, SharingMistake::Spread(key).into());
    }
    if let Some(given) = pool.ports.as_ref().filter(|_| *ports.start() < REGISTERED) {
        findings.clash(given.at, at, SharingMistake::LowPorts(key).into());
    }
    if let Some(given) = pool.behavior.pooling.filter(|given| given.value == Pooling::Arbitrary) {
        findings.clash(given.at, at, SharingMistake::Arbitrary(key).into());
    }
    if let Some(given) = pool.behavior.hold_down.filter(|_| key == FIXED) {
        findings.clash(given.at, at, SharingMistake::HoldDown.into());
    }
    for rule in &draft.dnat {
        let Some(At { value: SourceName::Pool(name), at: named }) = &rule.source else { continue };
        if *name == pool.name.value {
            let what = SharingMistake::FullNat { pool: name.clone(), key };
            findings.clash(*named, at, what.into());
        }
    }
}

fn rules(given: BlocksDraft, findings: &mut Findings) -> BlockRules {
    let BlocksDraft { size, per_subscriber, idle } = given;
    if let Some(At { value, at }) = size
        && !(value.is_power_of_two() && (UNIT..=REGION).contains(&value))
    {
        findings.error(at, SharingMistake::BlockSize(value).into());
    }
    BlockRules {
        size: size.map_or(DEFAULT.size, |given| given.value),
        per_subscriber: per_subscriber.map_or(DEFAULT.per_subscriber, |given| given.value),
        idle: idle.unwrap_or(DEFAULT.idle),
    }
}

fn fixed(
    draft: &Draft,
    given: &At<FixedDraft>,
    pool: &PoolConfig,
    findings: &mut Findings,
) -> Option<Deterministic> {
    let FixedDraft { inside, ports: size, zone } = &given.value;
    let zone = match zone {
        Some(zone) => zones::known(draft, *zone, findings)?,
        None => only_zone(draft, given.at, findings)?,
    };
    let mut sorted = inside.clone();
    sorted.sort_unstable_by_key(|net| (net.value.network(), net.at.start));
    for pair in sorted.windows(2) {
        let [one, other] = pair else { continue };
        if other.value.network() <= one.value.broadcast() {
            let what = SharingMistake::Overlap { first: one.value, second: other.value };
            findings.clash(one.at, other.at, what.into());
            return None;
        }
    }
    let nets: Vec<_> = inside.iter().map(|net| net.value.trunc()).collect();
    let addresses = u32::try_from(pool.addresses.len()).unwrap_or(u32::MAX);
    let wanted = size.map(|size| size.value);
    match Deterministic::new(zone, &nets, (addresses, &pool.ports), wanted) {
        Ok(fixed) => Some(fixed),
        Err(Misfit { hosts, needed }) => {
            let name = pool.name.clone();
            let at = size.map_or(given.at, |size| size.at);
            let what = match wanted.filter(|_| needed == u64::MAX) {
                Some(size) => {
                    SharingMistake::WideShare { pool: name, size, ports: super::pools::width(&pool.ports) }
                }
                None => {
                    SharingMistake::TooManyHosts { pool: name, hosts, needed, addresses: addresses.into() }
                }
            };
            findings.error(at, what.into());
            None
        }
    }
}

/// The zone that hosts are in, if there is no other.
fn only_zone(draft: &Draft, at: Span, findings: &mut Findings) -> Option<u16> {
    let inside = draft.interfaces.iter().filter(|interface| interface.realm == Some(Realm::Internal));
    let mut zones: Vec<u16> = inside.filter_map(|interface| interface.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    if let [first, second, ..] = zones[..] {
        findings.error(at, SharingMistake::ZoneAmbiguous { first, second }.into());
        return None;
    }
    Some(zones.first().copied().unwrap_or_default())
}

/// Every worker has regions of ports of its own, and needs a block in them.
pub(super) fn workers(draft: &Draft, pools: &[PoolConfig], workers: u8, findings: &mut Findings) {
    for (given, pool) in draft.pools.iter().zip(pools) {
        let (Sharing::Blocks(BlockRules { size, .. }), Some(At { at, .. })) =
            (pool.behavior.sharing, given.blocks)
        else {
            continue;
        };
        let firsts = (0..=u16::MAX).step_by(usize::from(size.max(1)));
        let whole = |first: &u16| pool.ports.contains(first) && *pool.ports.end() - first >= size - 1;
        let firsts: Vec<u16> = firsts.filter(whole).collect();
        let mut served = HashSet::new();
        for address in &pool.addresses {
            let shares = Shares::of_regions(0, *address, workers);
            served.extend(firsts.iter().filter_map(|first| shares.owner(*first)));
            if served.len() >= usize::from(workers) {
                break;
            }
        }
        if served.len() < usize::from(workers) {
            let blocks = blocks::count(&pool.ports, size) * pool.addresses.len() as u64;
            let what = SharingMistake::FewBlocks { pool: pool.name.clone(), blocks, size, workers };
            findings.error(at, what.into());
        }
    }
}

/// Hosts that a rule sends to a pool where they have no ports, and hosts with few.
pub(super) fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    for (given, pool) in draft.pools.iter().zip(&config.pools) {
        let (Some(fixed), Some(At { at, .. })) = (&pool.fixed, &given.fixed) else { continue };
        if fixed.size() < FEW {
            let what = Caution::FewShared { pool: pool.name.clone(), each: fixed.size().into() };
            findings.warn(*at, what);
        }
        let to_pool = |name: &SourceName| matches!(name, SourceName::Pool(name) if *name == pool.name);
        for rule in draft.snat.iter().filter(|rule| rule.source.as_ref().is_some_and(|s| to_pool(&s.value))) {
            let members = rule.from.iter().flat_map(|from| &from.value);
            for (net, at) in members.filter_map(|member| Some((member.value.net()?, member.at))) {
                if !fixed.nets().iter().any(|inside| inside.contains(&net)) {
                    findings.warn(at, Caution::OutsideInside { net, pool: pool.name.clone() });
                }
            }
        }
    }
}

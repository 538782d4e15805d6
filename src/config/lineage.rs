//! What of one configuration goes on under the next.
//!
//! Sessions outlive the configuration that made them. They name addresses and timeout sets by number, their packets find
//! their worker by way of addresses and forwards, and rules have counters. So whatever is the same in both configurations
//! keeps its number and its counters, and what is in the new one no more is *retired*: still known for the sessions that
//! use it, and not used for new ones. A number becomes free again, and a retired backend is forgotten, when no session uses
//! it; [`InUse`] says which ones are used.

use super::model::{BackendConfig, Config, DnatRule, SnatRule, SourcePool, StaticRule};
use crate::classify::notrack::Addresses;
use crate::classify::{Affinity, Backend, Declared, LocalAddress};
use crate::conntrack::timeouts::Timeouts;
use crate::ids::InterfaceId;
use crate::nat::behavior::Behavior;
use crate::pipeline::snapshot::{RuleCounters, Snapshot};
use crate::telemetry::{Counter, PerWorker, PortsUsed};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The most backends that are kept although no forward has them any more. Beyond that the oldest go, with the answers of
/// their sessions.
pub const MAX_RETIRED_BACKENDS: usize = 65_536;

/// What sessions use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Local addresses, by number.
    pub addresses: HashSet<u16>,
    /// Backends to whose port some session goes, whatever forward made it.
    pub backends: HashSet<Backend>,
    /// Timeout sets, by number.
    pub sets: HashSet<u8>,
}

/// The configuration that runs.
#[derive(Clone, Copy, Debug)]
pub struct Heritage<'a> {
    /// As it was checked.
    pub config: &'a Config,
    /// As it runs.
    pub snapshot: &'a Snapshot,
    /// What of it sessions use.
    pub in_use: &'a InUse,
}

/// The local addresses under their numbers.
pub(super) struct Numbers {
    pub(super) list: Vec<Declared>,
    known: HashMap<(Ipv4Addr, Option<InterfaceId>), u16>,
    /// Those of an earlier configuration that nobody has any more.
    free: Vec<u16>,
    workers: u8,
}

impl Numbers {
    /// Those that there were, all of them retired so far.
    pub(super) fn inherit(heritage: Option<Heritage<'_>>, workers: u8) -> Numbers {
        let mut numbers = Numbers { list: Vec::new(), known: HashMap::new(), free: Vec::new(), workers };
        let Some(Heritage { snapshot, in_use, .. }) = heritage else { return numbers };
        for (local, number) in snapshot.local.iter().zip(0u16..) {
            let LocalAddress { address, interface, retired, used, behavior, .. } = local;
            if *retired && !in_use.addresses.contains(&number) {
                numbers.free.push(number);
                let (address, interface) = (Ipv4Addr::UNSPECIFIED, None);
                numbers.list.push(Declared {
                    address,
                    interface,
                    ports: None,
                    behavior: *behavior,
                    reserved: Box::default(),
                    retired: true,
                    used: used.clone(),
                });
            } else {
                numbers.known.insert((*address, *interface), number);
                let (address, interface) = (*address, *interface);
                numbers.list.push(Declared {
                    address,
                    interface,
                    ports: None,
                    behavior: *behavior,
                    reserved: Box::default(),
                    retired: true,
                    used: used.clone(),
                });
            }
        }
        // The lowest first.
        numbers.free.reverse();
        numbers
    }

    /// An address of the new configuration. Of two that are the same the first counts.
    pub(super) fn add(
        &mut self,
        address: Ipv4Addr,
        interface: Option<InterfaceId>,
        ports: Option<(RangeInclusive<u16>, Behavior)>,
    ) {
        let known = self.known.get(&(address, interface)).copied();
        let number = known.or_else(|| self.free.pop()).or_else(|| u16::try_from(self.list.len()).ok());
        let Some(number) = number else { return };
        if usize::from(number) == self.list.len() {
            let used = Arc::new(PortsUsed::new(self.workers));
            self.list.push(Declared {
                address,
                interface,
                ports: None,
                behavior: Behavior::DEFAULT,
                reserved: Box::default(),
                retired: true,
                used,
            });
        }
        self.known.insert((address, interface), number);
        if let Some(place) = self.list.get_mut(usize::from(number)).filter(|place| place.retired) {
            let behavior = ports.as_ref().map_or(place.behavior, |(_, behavior)| *behavior);
            *place = Declared {
                address,
                interface,
                ports: ports.map(|(ports, _)| ports),
                behavior,
                reserved: Box::default(),
                retired: false,
                used: place.used.clone(),
            };
        }
    }

    pub(super) fn find(&self, address: Ipv4Addr, interface: Option<InterfaceId>) -> Option<u16> {
        self.known.get(&(address, interface)).copied()
    }
}

/// The backends that stay known, in the order in which they count: all that the running configuration has, and of those
/// that it had retired the ones in use. Those that the new one has too are not retired any more.
pub(super) fn backends(heritage: Option<Heritage<'_>>) -> Vec<Backend> {
    let Some(Heritage { snapshot, in_use, .. }) = heritage else { return Vec::new() };
    let kept = |(backend, declared): (&Backend, bool)| {
        (declared || in_use.backends.contains(backend)).then(|| backend.clone())
    };
    let mut kept: Vec<Backend> = snapshot.local.backends().filter_map(kept).collect();
    kept.drain(..kept.len().saturating_sub(MAX_RETIRED_BACKENDS));
    kept
}

/// The timeout sets under the numbers that sessions know them by.
pub(super) struct Sets {
    pub(super) names: Vec<String>,
    pub(super) timeouts: Vec<Timeouts>,
    /// From the numbers of the configuration to these.
    numbers: Vec<u8>,
}

impl Sets {
    /// The first one is [`crate::config::model::ConntrackConfig::timeouts`], which has no name in the file.
    pub(super) fn of(config: &Config, heritage: Option<Heritage<'_>>, first: &str) -> Sets {
        let mut sets = Sets { names: Vec::new(), timeouts: Vec::new(), numbers: vec![0] };
        let mut free = Vec::new();
        if let Some(Heritage { config: before, snapshot, in_use }) = heritage {
            sets.names = snapshot.set_names.to_vec();
            sets.timeouts = snapshot.conntrack.timeout_sets.to_vec();
            for (name, number) in sets.names.iter().zip(0u8..).skip(1) {
                let retired = !before.conntrack.timeout_sets.iter().any(|set| set.name == *name);
                let wanted = config.conntrack.timeout_sets.iter().any(|set| set.name == *name);
                if retired && !wanted && !in_use.sets.contains(&number) {
                    free.push(number);
                }
            }
        }
        sets.put(0, first, &config.conntrack.timeouts);
        for set in &config.conntrack.timeout_sets {
            let known = sets.names.iter().skip(1).position(|name| *name == set.name).map(|at| at + 1);
            let place = known.or_else(|| free.pop().map(usize::from)).unwrap_or(sets.names.len());
            // More than 256, with those that sessions still have: the default is the best that there is.
            let number = u8::try_from(place).unwrap_or(0);
            if usize::from(number) == place {
                sets.put(place, &set.name, &set.timeouts);
            }
            sets.numbers.push(number);
        }
        sets
    }

    fn put(&mut self, place: usize, name: &str, timeouts: &Timeouts) {
        match (self.names.get_mut(place), self.timeouts.get_mut(place)) {
            (Some(known), Some(old)) => {
                name.clone_into(known);
                *old = timeouts.clone();
            }
            _ => {
                self.names.push(name.to_owned());
                self.timeouts.push(timeouts.clone());
            }
        }
    }

    /// The number that sessions are given for a set of the configuration.
    pub(super) fn number(&self, of_config: u8) -> u8 {
        self.numbers.get(usize::from(of_config)).copied().unwrap_or(0)
    }
}

/// The counters of the rules: those of the same rule before, or new ones.
pub(super) fn rule_counters(config: &Config, heritage: Option<Heritage<'_>>, workers: u8) -> RuleCounters {
    let before = heritage.map(|heritage| (heritage.config, &heritage.snapshot.rules));
    RuleCounters {
        snat: inherit(
            config.snat.iter().map(|rule| snat_key(config, rule)),
            before.map(|(old, rules)| (old.snat.iter().map(move |rule| snat_key(old, rule)), &*rules.snat)),
            workers,
        ),
        dnat: inherit(
            config.dnat.iter().map(|rule| dnat_key(config, rule)),
            before.map(|(old, rules)| (old.dnat.iter().map(move |rule| dnat_key(old, rule)), &*rules.dnat)),
            workers,
        ),
        statics: inherit(
            config.statics.iter().map(static_key),
            before.map(|(old, rules)| (old.statics.iter().map(static_key), &*rules.statics)),
            workers,
        ),
    }
}

type Counters = Arc<PerWorker<Counter>>;

fn inherit<K: Hash + Eq>(
    rules: impl Iterator<Item = K>,
    before: Option<(impl Iterator<Item = K>, &[Counters])>,
    workers: u8,
) -> Box<[Counters]> {
    let mut old: HashMap<K, Vec<&Counters>> = HashMap::new();
    if let Some((keys, counters)) = before {
        for (key, counters) in keys.zip(counters) {
            old.entry(key).or_default().push(counters);
        }
    }
    // Of equal rules the last one is at the end of its list: taken from there, they would change places.
    old.values_mut().for_each(|list| list.reverse());
    let mut take = |key: &K| old.get_mut(key).and_then(Vec::pop).cloned();
    rules.map(|key| take(&key).unwrap_or_else(|| Arc::new(PerWorker::new(workers)))).collect()
}

/// A pool's name instead of its number, which another pool may have in another configuration.
fn pool_name(config: &Config, source: SourcePool) -> Option<&str> {
    match source {
        SourcePool::Interface => None,
        SourcePool::Pool(number) => config.pools.get(number).map(|pool| pool.name.as_str()),
    }
}

/// What a rule is, with names in place of numbers that another configuration may give to others.
type SnatKey<'c> = (SnatRule, [Vec<&'c str>; 2], Option<Option<&'c str>>);

fn snat_key<'c>(config: &'c Config, rule: &SnatRule) -> SnatKey<'c> {
    let names = |addresses: &Addresses| {
        let sets = addresses.sets.iter().filter_map(|set| config.sets.get(*set));
        sets.map(|set| set.name.as_str()).collect()
    };
    let sets = [names(&rule.from), names(&rule.to)];
    let mut rule = rule.clone();
    rule.from.sets.clear();
    rule.to.sets.clear();
    let pool = rule.source.take().map(|source| pool_name(config, source));
    (rule, sets, pool)
}

/// Interfaces keep their numbers.
fn static_key(rule: &StaticRule) -> StaticRule {
    rule.clone()
}

/// Draining a forward does not make it another one, nor do other backends of it or how they are chosen.
fn dnat_key<'c>(config: &'c Config, rule: &DnatRule) -> (DnatRule, Option<Option<&'c str>>) {
    let source = rule.source.map(|source| pool_name(config, source));
    // With one backend it is a forward to that; with several it is a service.
    let backends = match rule.backends.as_slice() {
        [one] => vec![BackendConfig { drain: false, ..*one }],
        _ => Vec::new(),
    };
    let rule = DnatRule {
        source: None,
        drain: false,
        backends,
        affinity: Affinity::default(),
        affinity_timeout: None,
        health: None,
        ..rule.clone()
    };
    (rule, source)
}

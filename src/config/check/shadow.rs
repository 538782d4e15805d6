//! Whether an earlier source translation rule takes all that a later one matches, without comparing every rule with
//! every other.
//!
//! A rule that covers another one matches its first source and its first destination, so that only rules are asked that have a
//! prefix with these. Of thousands of rules for the same prefixes, which differ in ports or protocols, not all are asked: what
//! is not found then is a warning less.

use crate::classify::PrefixSet;
use crate::classify::notrack::Addresses;
use crate::config::model::{Config, SnatRule};
use crate::ids::InterfaceId;
use ipnet::Ipv4Net;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// A rule with more pairs of source and destination is compared with every later one instead.
const MAX_PAIRS: usize = 4096;

/// The most rules with the same key, or with too many pairs, that a later one is compared with.
const MAX_COMPARED: usize = 512;

/// One source and one destination that a rule matches, with what else it asks for. `None`: any.
type Key = (Option<u16>, Option<InterfaceId>, Option<Ipv4Net>, Option<Ipv4Net>);

/// A rule with its addresses.
#[derive(Clone)]
struct Seen<'c> {
    rule: &'c SnatRule,
    /// `None`: any.
    from: Option<Rc<PrefixSet>>,
    to: Option<Rc<PrefixSet>>,
}

/// The rules so far, but for those that earlier ones cover: what they would cover is covered without them.
pub(super) struct Shadows<'c> {
    config: &'c Config,
    sets: HashMap<&'c Addresses, Rc<PrefixSet>>,
    by_key: HashMap<Key, Vec<Seen<'c>>>,
    /// The lengths of prefixes of sources and of destinations that there are.
    lengths: (Vec<u8>, Vec<u8>),
    wide: Vec<Seen<'c>>,
}

impl<'c> Shadows<'c> {
    /// No rule so far.
    pub(super) fn new(config: &'c Config) -> Self {
        Shadows {
            config,
            sets: HashMap::new(),
            by_key: HashMap::new(),
            lengths: Default::default(),
            wide: Vec::new(),
        }
    }

    /// Whether an earlier rule covers this one; if none does, it counts for later ones.
    pub(super) fn cover(&mut self, rule: &'c SnatRule) -> bool {
        let seen = Seen { rule, from: self.set(&rule.from), to: self.set(&rule.to) };
        if [&seen.from, &seen.to].into_iter().flatten().any(|set| set.is_empty()) {
            // For nobody: that is another warning.
            return false;
        }
        let covered = self.wide.iter().any(|earlier| covers(earlier, &seen)) || self.found(&seen);
        if !covered {
            self.add(&seen);
        }
        covered
    }

    fn set(&mut self, addresses: &'c Addresses) -> Option<Rc<PrefixSet>> {
        if addresses.is_any() {
            return None;
        }
        let config = self.config;
        let set = || Rc::new(PrefixSet::new(config.prefixes(addresses)));
        Some(self.sets.entry(addresses).or_insert_with(set).clone())
    }

    fn add(&mut self, seen: &Seen<'c>) {
        let push = |list: &mut Vec<Seen<'c>>| {
            if list.len() < MAX_COMPARED {
                list.push(seen.clone());
            }
        };
        let SnatRule { zone, out, from, to, .. } = seen.rule;
        let nets = |addresses| self.config.prefixes(addresses).take(MAX_PAIRS + 1).collect::<Vec<_>>();
        let (froms, tos) = (nets(from), nets(to));
        if froms.len().max(1) * tos.len().max(1) > MAX_PAIRS {
            push(&mut self.wide);
            return;
        }
        for from in any_or_each(&froms) {
            for to in any_or_each(&tos) {
                push(self.by_key.entry((*zone, *out, from, to)).or_default());
            }
        }
        for (known, nets) in [(&mut self.lengths.0, &froms), (&mut self.lengths.1, &tos)] {
            for length in nets.iter().map(Ipv4Net::prefix_len) {
                if !known.contains(&length) {
                    known.push(length);
                }
            }
        }
    }

    /// A rule that covers this one matches its first source and its first destination.
    fn found(&self, seen: &Seen<'_>) -> bool {
        let froms = around(seen.from.as_deref(), &self.lengths.0);
        let tos = around(seen.to.as_deref(), &self.lengths.1);
        let covering =
            |key: &Key| self.by_key.get(key).is_some_and(|list| list.iter().any(|r| covers(r, seen)));
        any_or_one(seen.rule.zone).any(|zone| {
            any_or_one(seen.rule.out)
                .any(|out| froms.iter().any(|from| tos.iter().any(|to| covering(&(zone, out, *from, *to)))))
        })
    }
}

fn any_or_one<T: Copy>(value: Option<T>) -> impl Iterator<Item = Option<T>> {
    std::iter::once(None).chain(value.map(Some))
}

fn any_or_each(nets: &[Ipv4Net]) -> impl Iterator<Item = Option<Ipv4Net>> {
    nets.is_empty().then_some(None).into_iter().chain(nets.iter().copied().map(Some))
}

/// Any, and the prefixes of these lengths that the first address of a set lies in.
fn around(set: Option<&PrefixSet>, lengths: &[u8]) -> Vec<Option<Ipv4Net>> {
    let first = set.and_then(|set| set.ranges().next()).map(|(first, _)| Ipv4Addr::from_bits(first));
    let prefixes = lengths.iter().filter_map(|length| Some(Ipv4Net::new(first?, *length).ok()?.trunc()));
    std::iter::once(None).chain(prefixes.map(Some)).collect()
}

/// Whether the earlier rule takes all that the later one matches.
fn covers(earlier: &Seen<'_>, later: &Seen<'_>) -> bool {
    let (one, two) = (earlier.rule, later.rule);
    (one.zone.is_none() || one.zone == two.zone)
        && (one.out.is_none() || one.out == two.out)
        && has_all(&one.on, &two.on)
        && has_all(&one.protocols, &two.protocols)
        && has_ports(&one.ports, &two.ports)
        && has_ports(&one.from_ports, &two.from_ports)
        && has_addresses(earlier.from.as_ref(), later.from.as_ref())
        && has_addresses(earlier.to.as_ref(), later.to.as_ref())
}

/// An empty list means any.
fn has_all<T: PartialEq>(outer: &[T], inner: &[T]) -> bool {
    outer.is_empty() || !inner.is_empty() && inner.iter().all(|one| outer.contains(one))
}

fn has_ports(outer: &[RangeInclusive<u16>], inner: &[RangeInclusive<u16>]) -> bool {
    let is_in = |range: &RangeInclusive<u16>| {
        outer.iter().any(|outer| outer.start() <= range.start() && range.end() <= outer.end())
    };
    outer.is_empty() || !inner.is_empty() && inner.iter().all(is_in)
}

fn has_addresses(outer: Option<&Rc<PrefixSet>>, inner: Option<&Rc<PrefixSet>>) -> bool {
    match (outer, inner) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => Rc::ptr_eq(outer, inner) || outer.covers(inner),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    const LAB: &str = "
        [interface.lan]\ndevice = 'tap:a'\nrealm = 'internal'\naddress = '10.9.0.1/24'\n
        [interface.wan]\ndevice = 'tap:b'\nrealm = 'external'\naddress = '203.0.113.2/24'\n
        [set.low]\nprefixes = ['10.0.0.0/32', '10.0.0.1/32']\n
        [set.high]\nprefixes = ['10.0.0.2/31']\n
        [set.nobody]\nprefixes = []\n";

    fn addresses() -> impl Strategy<Value = Addresses> {
        let net = (0u8..4, prop::sample::select(vec![8u8, 30, 31, 32]));
        let net =
            net.prop_map(|(host, length)| Ipv4Net::new([10, 0, 0, host].into(), length).unwrap().trunc());
        let sets = prop::sample::select(vec![vec![], vec![], vec![], vec![0], vec![1], vec![0, 1], vec![2]]);
        (prop::collection::vec(net, 0..3), sets).prop_map(|(nets, sets)| Addresses { nets, sets })
    }

    /// Nothing most of the time.
    fn few<T: Clone + std::fmt::Debug + 'static>(of: Vec<T>) -> impl Strategy<Value = Vec<T>> {
        prop_oneof![3 => Just(vec![]), 1 => prop::sample::subsequence(of.clone(), 0..=of.len())]
    }

    fn rule() -> impl Strategy<Value = SnatRule> {
        let places =
            (prop::option::of(0..2u16), prop::option::of(0..2u8), few(vec![InterfaceId(0), InterfaceId(1)]));
        let ports = || few(vec![1..=10, 20..=20, 30..=40]);
        (places, addresses(), addresses(), ports(), ports(), few(vec![6, 17])).prop_map(
            |((zone, out, on), from, to, ports, from_ports, protocols)| SnatRule {
                on,
                zone,
                from,
                from_ports,
                to,
                ports,
                protocols,
                out: out.map(InterfaceId),
                source: None,
                mss_clamp: None,
            },
        )
    }

    proptest! {
        #[test]
        fn a_rule_is_shadowed_exactly_if_an_earlier_one_covers_it(rules in prop::collection::vec(rule(), 0..20)) {
            let config = crate::config::parse(LAB, "x").unwrap().config;
            let set = |addresses: &Addresses| {
                (!addresses.is_any()).then(|| Rc::new(PrefixSet::new(config.prefixes(addresses))))
            };
            let seen = |rule| -> Seen<'_> {
                let rule: &SnatRule = rule;
                Seen { rule, from: set(&rule.from), to: set(&rule.to) }
            };
            let is_for_nobody = |seen: &Seen<'_>| [&seen.from, &seen.to].into_iter().flatten().any(|s| s.is_empty());
            let mut shadows = Shadows::new(&config);
            for (index, rule) in rules.iter().enumerate() {
                let later = seen(rule);
                let expected = !is_for_nobody(&later)
                    && rules[..index].iter().any(|earlier| covers(&seen(earlier), &later));
                prop_assert_eq!(shadows.cover(rule), expected);
            }
        }
    }
}

//! Whether an earlier source translation rule takes all that a later one matches, without comparing every rule with
//! every other.

use super::rules::within;
use crate::config::model::SnatRule;
use crate::ids::InterfaceId;
use ipnet::Ipv4Net;
use std::collections::HashMap;

/// A rule with more pairs of source and destination is compared with every later one instead.
const MAX_PAIRS: usize = 4096;

/// One source and one destination that a rule matches, with what else it asks for. `None`: any.
type Key = (Option<u16>, Option<InterfaceId>, Option<Ipv4Net>, Option<Ipv4Net>);

/// The rules so far, but for those that earlier ones cover: what they would cover is covered without them.
#[derive(Default)]
pub(super) struct Shadows<'c> {
    by_key: HashMap<Key, Vec<&'c SnatRule>>,
    /// The lengths of prefixes of sources and of destinations that there are.
    lengths: (Vec<u8>, Vec<u8>),
    wide: Vec<&'c SnatRule>,
}

impl<'c> Shadows<'c> {
    /// Whether an earlier rule covers this one; if none does, it counts for later ones.
    pub(super) fn cover(&mut self, rule: &'c SnatRule) -> bool {
        let covered = self.wide.iter().any(|earlier| covers(earlier, rule)) || self.found(rule);
        if !covered {
            self.add(rule);
        }
        covered
    }

    fn add(&mut self, rule: &'c SnatRule) {
        if rule.from.len().max(1) * rule.to.len().max(1) > MAX_PAIRS {
            self.wide.push(rule);
            return;
        }
        for from in any_or_each(&rule.from) {
            for to in any_or_each(&rule.to) {
                self.by_key.entry((rule.zone, rule.out, from, to)).or_default().push(rule);
            }
        }
        let lengths = [(&mut self.lengths.0, &rule.from), (&mut self.lengths.1, &rule.to)];
        for (known, nets) in lengths {
            for length in nets.iter().map(Ipv4Net::prefix_len) {
                if !known.contains(&length) {
                    known.push(length);
                }
            }
        }
    }

    /// A rule that covers this one matches its first source and its first destination.
    fn found(&self, rule: &SnatRule) -> bool {
        let froms = wider(rule.from.first(), &self.lengths.0);
        let tos = wider(rule.to.first(), &self.lengths.1);
        let covering =
            |key: &Key| self.by_key.get(key).is_some_and(|list| list.iter().any(|r| covers(r, rule)));
        any_or_one(rule.zone).any(|zone| {
            any_or_one(rule.out)
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

/// Any, and the prefixes of these lengths that the network lies in.
fn wider(net: Option<&Ipv4Net>, lengths: &[u8]) -> Vec<Option<Ipv4Net>> {
    let prefixes = lengths.iter().filter_map(|length| {
        let net = net.filter(|net| *length <= net.prefix_len())?;
        Some(Ipv4Net::new(net.network(), *length).ok()?.trunc())
    });
    std::iter::once(None).chain(prefixes.map(Some)).collect()
}

/// Whether the earlier rule takes all that the later one matches.
fn covers(earlier: &SnatRule, later: &SnatRule) -> bool {
    (earlier.zone.is_none() || earlier.zone == later.zone)
        && (earlier.out.is_none() || earlier.out == later.out)
        && within(&earlier.from, &later.from)
        && within(&earlier.to, &later.to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::SourcePool;
    use proptest::prelude::*;

    fn rule() -> impl Strategy<Value = SnatRule> {
        let net = (0u8..4, prop::sample::select(vec![8u8, 30, 31, 32]));
        let net =
            net.prop_map(|(host, length)| Ipv4Net::new([10, 0, 0, host].into(), length).unwrap().trunc());
        let nets = || prop::collection::vec(net.clone(), 0..3);
        (prop::option::of(0..2u16), prop::option::of(0..2u8), nets(), nets()).prop_map(
            |(zone, out, from, to)| SnatRule {
                zone,
                from,
                to,
                out: out.map(InterfaceId),
                source: SourcePool::Interface,
            },
        )
    }

    proptest! {
        #[test]
        fn a_rule_is_shadowed_exactly_if_an_earlier_one_covers_it(rules in prop::collection::vec(rule(), 0..20)) {
            let mut shadows = Shadows::default();
            for (index, rule) in rules.iter().enumerate() {
                let expected = rules[..index].iter().any(|earlier| covers(earlier, rule));
                prop_assert_eq!(shadows.cover(rule), expected);
            }
        }
    }
}

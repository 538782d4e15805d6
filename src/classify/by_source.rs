//! Rules by the source prefixes that they are for: finds the first rule that matches without asking all of them.
//!
//! For each length of prefix that occurs there is one map from prefix to rules, in ascending order. A look-up asks one map a
//! length, and of each list only rules that come before the best one so far. Rules for one and the same source are still
//! asked one after the other.

use ipnet::Ipv4Net;
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

/// The rules of one length of prefix.
#[derive(Debug)]
struct Length {
    mask: u32,
    /// From the first address of a prefix to its rules.
    rules: HashMap<u32, Vec<u32>, ahash::RandomState>,
}

/// The numbers of rules, by source.
#[derive(Debug, Default)]
pub struct BySource {
    /// Rules for any source, ascending.
    any: Vec<u32>,
    lengths: Vec<Length>,
}

impl BySource {
    /// The rules in their order, by the prefixes that each is for; none: for any source.
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r [Ipv4Net]>) -> BySource {
        let mut any = Vec::new();
        let mut lengths: BTreeMap<u8, Length> = BTreeMap::new();
        for (number, prefixes) in (0u32..).zip(rules) {
            if prefixes.is_empty() {
                any.push(number);
            }
            for prefix in prefixes {
                let mask = prefix.netmask().to_bits();
                let length = lengths
                    .entry(prefix.prefix_len())
                    .or_insert_with(|| Length { mask, rules: HashMap::default() });
                let list = length.rules.entry(prefix.network().to_bits()).or_default();
                if list.last() != Some(&number) {
                    list.push(number);
                }
            }
        }
        BySource { any, lengths: lengths.into_values().collect() }
    }

    /// The first rule for this source that `holds`.
    pub fn first(&self, source: Ipv4Addr, mut holds: impl FnMut(u32) -> bool) -> Option<u32> {
        let source = source.to_bits();
        let lists = self.lengths.iter().filter_map(|length| length.rules.get(&(source & length.mask)));
        let mut best = None;
        for list in lists.chain([&self.any]) {
            let before = list.iter().copied().take_while(|number| best.is_none_or(|best| *number < best));
            best = before.into_iter().find(|number| holds(*number)).or(best);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> impl Strategy<Value = Ipv4Net> {
        (0u32..64, 26u8..=32)
            .prop_map(|(low, len)| Ipv4Net::new(Ipv4Addr::from_bits(0x0a00_0000 | low), len).unwrap().trunc())
    }

    proptest! {
        #[test]
        fn the_first_rule_is_found_that_asking_all_of_them_finds(
            rules in prop::collection::vec((prop::collection::vec(prefix(), 0..3), any::<bool>()), 0..20),
            low in 0u32..64,
        ) {
            let index = BySource::new(rules.iter().map(|(from, _)| from.as_slice()));
            let source = Ipv4Addr::from_bits(0x0a00_0000 | low);
            let holds = |number: u32| rules[number as usize].1;
            let slow = (0u32..).zip(&rules).find(|(number, (from, _))| {
                (from.is_empty() || from.iter().any(|net| net.contains(&source))) && holds(*number)
            });
            prop_assert_eq!(index.first(source, holds), slow.map(|(number, _)| number));
        }
    }
}

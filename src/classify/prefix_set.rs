//! A set of addresses given as prefixes: sorted ranges that do not overlap, so that a look-up is one binary search.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The addresses of some prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixSet {
    /// First and last address of each range.
    ranges: Box<[(u32, u32)]>,
}

impl PrefixSet {
    /// The addresses of all these prefixes.
    pub fn new(nets: impl IntoIterator<Item = Ipv4Net>) -> PrefixSet {
        let range = |net: Ipv4Net| (net.network().to_bits(), net.broadcast().to_bits());
        let mut all: Vec<_> = nets.into_iter().map(range).collect();
        all.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        PrefixSet { ranges: ranges.into() }
    }

    /// First and last address of each range: ascending, with addresses between them that are not in the set.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        self.ranges.iter().copied()
    }

    /// Whether there is no address.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether an address is one of them.
    #[inline]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let address = address.to_bits();
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

impl PrefixSet {
    /// Whether every address of another set is in this one.
    pub fn covers(&self, other: &PrefixSet) -> bool {
        other.ranges().all(|(first, last)| {
            let after = self.ranges.partition_point(|(start, _)| *start <= first);
            after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, end)| last <= *end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_set_if_it_is_in_one_of_the_prefixes() {
        let nets = ["10.0.0.0/24", "10.0.0.128/25", "10.0.1.0/32", "0.0.0.0/8", "255.255.255.255/32"];
        let set = PrefixSet::new(nets.iter().map(|net| net.parse().unwrap()));
        let holds = |text: &str| set.contains(text.parse().unwrap());
        for inside in ["10.0.0.0", "10.0.0.255", "10.0.1.0", "0.1.2.3", "255.255.255.255"] {
            assert!(holds(inside), "{inside}");
        }
        for outside in ["10.0.1.1", "9.255.255.255", "1.0.0.0", "255.255.255.254"] {
            assert!(!holds(outside), "{outside}");
        }
        let part = |nets: &[&str]| PrefixSet::new(nets.iter().map(|net| net.parse().unwrap()));
        assert!(set.covers(&part(&["10.0.0.64/26", "10.0.1.0/32"])) && set.covers(&PrefixSet::default()));
        assert!(!set.covers(&part(&["10.0.0.64/26", "10.0.1.0/31"])) && !set.covers(&part(&["0.0.0.0/0"])));
        assert!(PrefixSet::default().is_empty() && !PrefixSet::default().contains(Ipv4Addr::LOCALHOST));
    }
}

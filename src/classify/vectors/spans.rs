//! Ranges of 16-bit values: ports, and the /16s of sets.

use crate::classify::PrefixSet;
use std::ops::RangeInclusive;

/// First and last value of ranges that neither overlap nor touch, ascending.
pub(in crate::classify) type Spans = Vec<(u16, u16)>;

/// The ports of a rule; none in the config are all.
pub(in crate::classify) fn of_ports(ports: &[RangeInclusive<u16>]) -> Spans {
    if ports.is_empty() {
        return vec![(0, u16::MAX)];
    }
    let mut all: Vec<_> =
        ports.iter().filter(|range| !range.is_empty()).map(|range| (*range.start(), *range.end())).collect();
    all.sort_unstable();
    merged(all)
}

/// The numbers of the /16s that a set has addresses in.
pub(in crate::classify) fn of_set(set: &PrefixSet) -> Spans {
    let high = |address: u32| {
        let [first, second, _, _] = address.to_be_bytes();
        u16::from_be_bytes([first, second])
    };
    merged(set.ranges().map(|(first, last)| (high(first), high(last))))
}

/// How many values there are.
pub(in crate::classify) fn width(spans: &[(u16, u16)]) -> u32 {
    spans.iter().map(|(first, last)| u32::from(*last) - u32::from(*first) + 1).sum()
}

/// Makes ranges that ascend by their first value disjoint.
fn merged(ranges: impl IntoIterator<Item = (u16, u16)>) -> Spans {
    let mut merged: Spans = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

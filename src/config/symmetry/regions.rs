//! A line of numbers, addresses or ports, cut where some set of them begins or ends. Between two cuts every number is in the
//! same sets, so that one of them stands for all; and regions that lie in the same sets have the same *sign*, so that one
//! region stands for all of those.

/// Collects sets.
#[derive(Default)]
pub(super) struct Cutter {
    /// Where a set begins or ends, and the set's own sign.
    edges: Vec<(u32, u64)>,
    sets: u64,
}

/// A line that has been cut.
pub(super) struct Regions {
    /// The first number of each region, ascending; the first is 0.
    starts: Vec<u32>,
    signs: Vec<u64>,
}

/// A region, or the part of it that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) sign: u64,
}

impl Cutter {
    /// Adds a set, given as ranges that do not overlap: first and last number.
    pub(super) fn add(&mut self, ranges: impl IntoIterator<Item = (u32, u32)>) {
        self.sets += 1;
        let sign = scatter(self.sets);
        for (first, last) in ranges {
            self.edges.push((first, sign));
            self.edges.extend(last.checked_add(1).map(|end| (end, sign)));
        }
    }

    pub(super) fn cut(mut self) -> Regions {
        self.edges.sort_unstable_by_key(|(at, _)| *at);
        let mut regions = Regions { starts: vec![0], signs: vec![0] };
        let mut sign = 0;
        for (at, edge) in self.edges {
            // Entering and leaving are the same.
            sign ^= edge;
            if regions.starts.last() != Some(&at) {
                regions.starts.push(at);
                regions.signs.push(sign);
            } else if let Some(last) = regions.signs.last_mut() {
                *last = sign;
            }
        }
        regions
    }
}

impl Regions {
    /// The sign of the region that a number lies in.
    pub(super) fn sign(&self, number: u32) -> u64 {
        self.signs.get(self.at(number)).copied().unwrap_or_default()
    }

    /// How many regions a range touches.
    pub(super) fn count(&self, (first, last): (u32, u32)) -> usize {
        self.at(last).saturating_sub(self.at(first)) + 1
    }

    /// The regions that a range touches, cut to it.
    pub(super) fn within(&self, (first, last): (u32, u32)) -> impl Iterator<Item = Region> + '_ {
        let all = self.at(first)..=self.at(last);
        all.filter_map(move |at| {
            let end = self.starts.get(at + 1).map_or(u32::MAX, |next| next - 1);
            let start = *self.starts.get(at)?;
            Some(Region { first: start.max(first), last: end.min(last), sign: *self.signs.get(at)? })
        })
    }

    fn at(&self, number: u32) -> usize {
        self.starts.partition_point(|start| *start <= number).saturating_sub(1)
    }
}

/// A number that looks like none of its neighbours' (splitmix64's last step): sums of them are told apart.
pub(super) fn scatter(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_is_cut_where_sets_begin_and_end() {
        let mut cutter = Cutter::default();
        cutter.add([(10, 19), (30, u32::MAX)]);
        cutter.add([(15, 29)]);
        let regions = cutter.cut();
        let found: Vec<_> = regions.within((12, 40)).map(|region| (region.first, region.last)).collect();
        assert_eq!(found, [(12, 14), (15, 19), (20, 29), (30, 40)]);
        assert_eq!(regions.count((12, 40)), 4);
    }

    proptest! {
        #[test]
        fn numbers_have_one_sign_exactly_if_they_are_in_the_same_sets(
            sets in prop::collection::vec(prop::collection::vec(any::<bool>(), 24), 0..6),
        ) {
            let mut cutter = Cutter::default();
            for set in &sets {
                cutter.add((0u32..).zip(set).filter(|(_, inside)| **inside).map(|(n, _)| (n, n)));
            }
            let regions = cutter.cut();
            let sets_of = |n: usize| sets.iter().map(|set| set[n]).collect::<Vec<_>>();
            for (one, other) in (0..24usize).flat_map(|one| (0..24usize).map(move |other| (one, other))) {
                let signs = [one, other].map(|n| regions.sign(u32::try_from(n).unwrap()));
                prop_assert_eq!(signs[0] == signs[1], sets_of(one) == sets_of(other));
            }
            let covered: u64 = regions.within((0, 23)).map(|region| u64::from(region.last - region.first) + 1).sum();
            prop_assert_eq!(covered, 24);
        }
    }
}

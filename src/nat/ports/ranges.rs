//! Ports by the range: what blocks of ports, and ports that are a subscriber's by arithmetic, are given out by.
//!
//! The ports of such a set stand in their own order ([`Classes::one`]), so that a range is a stretch of the bitmap. A free
//! port of a range is found with the summary, in at most a few dozen words however wide the range is.

use super::{Half, PortSet, WORDS, at, lowest, parts, scale};
use crate::steering::classes::Classes;
use std::ops::RangeInclusive;

impl PortSet {
    /// As [`PortSet::inherit`], of a set whose ports stand in another order: some instructions for each that is taken.
    #[cold]
    pub fn inherit_reordered(&mut self, classes: &Classes, old: &mut PortSet, before: &Classes) {
        let place = |place| classes.place(before.port(place));
        let all: [u64; WORDS] = *old.high.taken;
        self.high.inherit_places(&all, place);
        match (&mut self.low, &mut old.low) {
            (Some(low), Some(old)) => low.inherit_places(&old.taken, place),
            (None, low @ Some(_)) => {
                self.low = low.take();
                if let Some(low) = &mut self.low {
                    let all = *low.taken;
                    low.bits = classes.bits();
                    low.inherit_places(&all, place);
                    low.close();
                }
            }
            (_, None) => {}
        }
        self.free_count = self.high.count_free() + self.low.as_ref().map_or(0, |low| low.count_free());
    }

    /// Takes a free one of these ports out, which are all from 1024 on: `preferred` if it is one, else the next one from where
    /// `random` says, and around. Only of a set whose ports stand in their own order ([`Classes::one`]).
    pub fn allocate_among(
        &mut self,
        ports: &RangeInclusive<u16>,
        preferred: u16,
        random: u64,
    ) -> Option<u16> {
        let (first, last) = (*ports.start(), *ports.end());
        let port = if ports.contains(&preferred) && self.high.is_free(preferred) {
            preferred
        } else {
            let [turn, ..] = parts(random);
            let step = u16::try_from(scale(turn, u32::from(last.checked_sub(first)?) + 1)).ok()?;
            let start = first.saturating_add(step);
            self.high.next_free(start, last).or_else(|| self.high.next_free(first, start))?
        };
        self.high.take(port);
        self.free_count -= 1;
        Some(port)
    }

    /// Whether none of these ports, which are all from 1024 on, is taken, in a set as for [`PortSet::allocate_among`].
    pub fn is_untouched(&self, ports: &RangeInclusive<u16>) -> bool {
        let (first, last) = (*ports.start(), *ports.end());
        (first >> 6..=last >> 6).all(|word| {
            let taken = self.high.taken.get(usize::from(word)).copied().unwrap_or(0);
            taken & from(first, word) & to(last, word) == 0
        })
    }
}

impl Half {
    /// The same of places that are others here.
    fn inherit_places(&mut self, taken: &[u64; WORDS], place: impl Fn(u16) -> u16) {
        self.taken.fill(0);
        for (word, first) in taken.iter().zip((0..=u16::MAX).step_by(64)) {
            let mut rest = *word;
            while rest != 0 {
                let (word, bit) = at(place(first | lowest(rest)));
                self.taken[word] |= bit;
                rest &= rest - 1;
            }
        }
        self.find_free();
    }

    /// The first free place from `first` to `last`.
    fn next_free(&self, first: u16, last: u16) -> Option<u16> {
        let free =
            |word: u16| self.free(usize::from(word) & (WORDS - 1)) & from(first, word) & to(last, word);
        let (start, end) = (first >> 6, last >> 6);
        let mut word = start;
        while word <= end {
            let bits = free(word);
            if bits != 0 {
                return Some(word << 6 | lowest(bits));
            }
            // The next word that has any, by the summary.
            word += 1;
            let later = self.free_words.get(usize::from(word >> 6))? & u64::MAX << (word & 63);
            word = if later != 0 { word & !63 | lowest(later) } else { (word | 63) + 1 };
        }
        None
    }
}

/// The bits of a word of places that stand at or behind `first`.
#[inline]
fn from(first: u16, word: u16) -> u64 {
    if word == first >> 6 { u64::MAX << (first & 63) } else { u64::MAX }
}

/// The bits of a word of places that stand at or before `last`.
#[inline]
fn to(last: u16, word: u16) -> u64 {
    if word == last >> 6 { u64::MAX >> (63 - (last & 63)) } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::nat::ports::Rng;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_range_gives_each_of_its_ports_once_and_none_of_others(
            first in 1024u16..=65_000,
            more in 0u16..=2_000,
            hole in 1u16..9,
            seed: u64,
        ) {
            let ports = first..=first.saturating_add(more);
            let usable = |port: u16| port >= 1024 && port % hole != 1;
            let mut set = PortSet::new(&Classes::one(), usable);
            let mut rng = Rng::seeded(seed);
            let mut seen = BTreeSet::new();
            prop_assert!(set.is_untouched(&ports));
            while let Some(port) = set.allocate_among(&ports, 0, rng.next()) {
                prop_assert!(seen.insert(port), "twice");
            }
            prop_assert_eq!(seen, ports.clone().filter(|port| usable(*port)).collect::<BTreeSet<_>>());
            let beside = [first - 1, ports.end().saturating_add(1)];
            prop_assert!(beside.iter().all(|port| ports.contains(port) || set.is_untouched(&(*port..=*port))));
        }
    }

    #[test]
    fn the_port_that_is_preferred_is_given_if_it_is_free_and_in_the_range() {
        let mut set = PortSet::new(&Classes::one(), |port| port >= 1024);
        assert_eq!(set.allocate_among(&(2048..=2111), 2100, 0), Some(2100));
        assert_ne!(set.allocate_among(&(2048..=2111), 2100, 0), Some(2100));
        assert_eq!(set.allocate_among(&(2048..=2111), 3000, 0), Some(2049));
        assert!(!set.is_untouched(&(2048..=2048)) && set.is_untouched(&(2050..=2099)));
    }

    #[test]
    fn what_is_taken_stays_so_when_the_ports_are_sorted_anew() {
        let (before, after) = (Classes::of_low_bits(7).unwrap(), Classes::one());
        let mut old = PortSet::new(&before, |_| true);
        let taken = [80, 1023, 1024, 1151, 40_000, 65_535];
        assert!(taken.iter().all(|port| old.take(&before, *port)));
        let mut set = PortSet::new(&after, |port| port >= 1024);
        set.inherit_reordered(&after, &mut old, &before);
        assert_eq!(set.free(), 64_512 - 4);
        assert!(taken.iter().all(|port| set.release(&after, *port)), "those too that it has not");
        assert_eq!(set.free(), 64_512);
    }
}

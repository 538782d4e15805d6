//! Latencies: counts in classes whose width grows with the value, so that each class is known to 1/64.
//!
//! Values below 64 ns have a class each; above, every power of two is divided into 64. 15 KiB, a count is one addition.

/// Binary logarithm of the classes in a power of two.
const FINE: u32 = 6;
/// From 2^36 ns on (more than a minute) all values are in the last class.
const TOP: u32 = 36;
const CLASSES: usize = ((TOP - FINE + 1) as usize) << FINE;

/// How often which latency was seen, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    classes: Box<[u64]>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { classes: vec![0; CLASSES].into_boxed_slice(), count: 0, sum: 0, max: 0 }
    }
}

#[inline]
fn class(nanos: u64) -> usize {
    let nanos = nanos.min((1 << TOP) - 1);
    let shift = (63 - (nanos | (1 << FINE)).leading_zeros()) - FINE;
    // Below 64 + 64 * (TOP - FINE).
    usize::try_from((u64::from(shift) << FINE) + (nanos >> shift)).unwrap_or(CLASSES - 1)
}

/// The largest value of a class.
fn upper(class: usize) -> u64 {
    let class = class as u64;
    match (class >> FINE).checked_sub(1) {
        None => class,
        Some(shift) => ((class - (shift << FINE) + 1) << shift) - 1,
    }
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn add(&mut self, nanos: u64) {
        if let Some(count) = self.classes.get_mut(class(nanos)) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(nanos);
        self.max = self.max.max(nanos);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean; 0 without values.
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }

    /// The value below which so many of a thousand lie, rounded up by at most 1/64; 0 without values.
    pub fn per_mille(&self, share: u64) -> u64 {
        let rank = (u128::from(self.count) * u128::from(share)).div_ceil(1000);
        let mut below = 0;
        for (class, count) in self.classes.iter().enumerate() {
            below += u128::from(*count);
            if below >= rank && below > 0 {
                return upper(class).min(self.max);
            }
        }
        self.max
    }

    /// Adds the values of another one.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.classes.iter_mut().zip(&other.classes) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_class_that_is_at_most_a_64th_too_large() {
        let mut last = 0;
        for value in (0..10_000).chain((14..36).flat_map(|n| [(1 << n) - 1, 1 << n, (1 << n) + 12_345])) {
            let upper = upper(class(value));
            assert!(upper >= value && upper - value <= value / 64, "{value}: {upper}");
            assert!(class(value) >= last || value < 10_000);
            last = class(value);
        }
        assert_eq!(class(u64::MAX), CLASSES - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        (1..=1000).rev().for_each(|value| histogram.add(value * 10));
        for (share, exact) in [(500, 5000), (990, 9900), (999, 9990), (1000, 10_000)] {
            let found = histogram.per_mille(share);
            assert!(found >= exact && found <= exact + exact / 64, "{share}: {found}");
        }
        assert_eq!((histogram.max(), histogram.mean(), histogram.count()), (10_000, 5005, 1000));
        assert_eq!(Histogram::default().per_mille(500), 0);
        let mut both = histogram.clone();
        both.merge(&histogram);
        assert_eq!((both.count(), both.per_mille(500)), (2000, histogram.per_mille(500)));
    }
}

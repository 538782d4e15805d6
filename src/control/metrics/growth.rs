//! How long the ports of pools last: how their use developed during the last minute.

use crate::control::api::{Pool, PortCount};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(5);
/// Samples that are kept: a minute.
const SAMPLES: usize = 13;

/// The kinds of ports as their label has them.
pub(super) fn by_protocol(count: PortCount) -> [(&'static str, u64); 3] {
    [("tcp", count.tcp), ("udp", count.udp), ("other", count.other)]
}

/// The use of pools, sampled.
#[derive(Debug, Default)]
pub(crate) struct Growth(VecDeque<(Instant, Vec<Pool>)>);

impl Growth {
    /// Whether it is time for another sample.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.0.back().is_none_or(|(last, _)| now.saturating_duration_since(*last) >= PERIOD)
    }

    /// Takes a sample.
    pub(crate) fn take(&mut self, now: Instant, pools: Vec<Pool>) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((now, pools));
    }

    /// How long the free ports of a pool last if it goes on like that: TCP, UDP, others. `None`: their use does not grow,
    /// or was not known for long enough. A pool that a reload has made larger or smaller is another one.
    pub(crate) fn time_to_exhaustion(&self, pool: &Pool) -> [Option<Duration>; 3] {
        let same = |one: &&Pool| one.name == pool.name && one.kind == pool.kind && one.usable == pool.usable;
        let used = |(at, pools): &(Instant, Vec<Pool>)| {
            let used = by_protocol(pools.iter().find(same)?.used).map(|(_, used)| used);
            Some((*at, used))
        };
        let mut known = self.0.iter().filter_map(used);
        let (Some((began, first)), Some((ended, last))) = (known.next(), known.next_back()) else {
            return [None; 3];
        };
        let usable = by_protocol(pool.usable).map(|(_, usable)| usable);
        let nanos = ended.saturating_duration_since(began).as_nanos();
        std::array::from_fn(|set| {
            let grown = last[set].checked_sub(first[set]).filter(|grown| *grown > 0)?;
            let free = usable[set].saturating_sub(last[set]);
            let left = nanos.saturating_mul(u128::from(free)) / u128::from(grown);
            Some(Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(used: u64) -> Pool {
        Pool {
            blocks: None,
            name: "carrier".into(),
            kind: "pool".into(),
            addresses: 1,
            ports: None,
            usable: PortCount { tcp: 1000, udp: 1000, other: 1000 },
            used: PortCount { tcp: used, udp: 7, other: 0 },
            fullest: Vec::new(),
        }
    }

    #[test]
    fn a_pool_that_fills_says_how_long_it_lasts_and_one_that_does_not_says_nothing() {
        let start = Instant::now();
        let mut growth = Growth::default();
        let left = |growth: &Growth| growth.time_to_exhaustion(&pool(0));
        assert_eq!(left(&growth), [None; 3]);
        for (second, used) in [(0, 100), (5, 150), (10, 200)] {
            assert!(growth.is_due(start + Duration::from_secs(second)));
            growth.take(start + Duration::from_secs(second), vec![pool(used)]);
        }
        assert!(!growth.is_due(start + Duration::from_secs(14)));
        // Ten a second, of which 800 are left.
        assert_eq!(left(&growth), [Some(Duration::from_secs(80)), None, None]);
        growth.take(start + Duration::from_secs(15), vec![pool(50)]);
        assert_eq!(left(&growth), [None; 3], "it shrank");
    }

    #[test]
    fn only_the_last_minute_counts() {
        let start = Instant::now();
        let mut growth = Growth::default();
        for sample in 0..13 {
            growth.take(start + PERIOD * sample, vec![pool(0)]);
        }
        for sample in 13..26 {
            growth.take(start + PERIOD * sample, vec![pool(100 + 5 * u64::from(sample))]);
        }
        let left = growth.time_to_exhaustion(&pool(0))[0];
        assert_eq!(left, Some(Duration::from_secs(1000 - 100 - 125)), "one a second");
    }

    #[test]
    fn a_pool_of_another_size_is_another_pool() {
        let start = Instant::now();
        let mut growth = Growth::default();
        growth.take(start, vec![pool(0)]);
        growth.take(start + PERIOD, vec![pool(10)]);
        let larger = Pool { usable: PortCount { tcp: 2000, udp: 2000, other: 2000 }, ..pool(10) };
        assert!(growth.time_to_exhaustion(&pool(10))[0].is_some());
        assert_eq!(growth.time_to_exhaustion(&larger), [None; 3]);
    }
}

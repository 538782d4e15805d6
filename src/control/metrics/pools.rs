//! External ports: how many there are, how many sessions hold, and how long the rest lasts.
//!
//! Addresses of interfaces that are translated to (`source = "interface"`) count as pools of one address.

use crate::classify::LocalAddresses;
use crate::control::running::Running;
use crate::wire::protocol;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The sets of ports that are allocated one by one, as [`crate::nat::space`] has them.
pub(crate) const SETS: [&str; 3] = ["tcp", "udp", "other"];
/// A protocol of each set.
const PROTOCOLS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::ICMP];

/// How full a pool is. The arrays are in the order of [`SETS`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolUsage {
    /// Its name; `interface:NAME` for the address of an interface.
    pub(crate) name: String,
    /// Addresses.
    pub(crate) addresses: u64,
    /// Ports of all of its addresses that may be allocated.
    pub(crate) usable: [u64; 3],
    /// Those that sessions hold.
    pub(crate) used: [u64; 3],
    /// Of the address with the largest part in use, that part of 1.
    pub(crate) fullest: [f64; 3],
}

/// Every pool, then every interface whose address is translated to.
pub(crate) fn usage(running: &Running) -> Vec<PoolUsage> {
    let snapshot = &running.snapshot;
    let pools = running.config.pools.iter().zip(&snapshot.pools);
    let pools = pools.map(|(pool, addresses)| of(pool.name.clone(), &snapshot.local, addresses));
    let interfaces = snapshot.interfaces.iter().filter(|interface| {
        snapshot.local.get(interface.local).is_some_and(|address| address.ports.is_some())
    });
    let interfaces = interfaces
        .map(|interface| of(format!("interface:{}", interface.name), &snapshot.local, &[interface.local]));
    pools.chain(interfaces).collect()
}

fn of(name: String, local: &LocalAddresses, addresses: &[u16]) -> PoolUsage {
    let addresses_len = addresses.len() as u64;
    let mut usage =
        PoolUsage { name, addresses: addresses_len, usable: [0; 3], used: [0; 3], fullest: [0.0; 3] };
    for number in addresses {
        let Some(address) = local.get(*number) else { continue };
        let used = address.used.by_set();
        for (set, protocol) in PROTOCOLS.into_iter().enumerate() {
            let usable = usable(local, *number, protocol);
            usage.usable[set] += usable;
            usage.used[set] += used[set];
            usage.fullest[set] = usage.fullest[set].max(ratio(used[set], usable));
        }
    }
    usage
}

/// Ports of an address that may be allocated: those of its range that are not forwarded. No two forwards overlap.
fn usable(local: &LocalAddresses, number: u16, protocol: u8) -> u64 {
    let Some(ports) = local.get(number).and_then(|address| address.ports.clone()) else { return 0 };
    let forwarded = local.forwards_of(number).iter().filter(|forward| forward.protocol == protocol);
    let forwarded = forwarded.map(|forward| {
        let first = (*forward.ports.start()).max(*ports.start());
        let last = (*forward.ports.end()).min(*ports.end());
        (first..=last).len() as u64
    });
    (ports.len() as u64).saturating_sub(forwarded.sum())
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are more than anybody needs of a share")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(5);
/// Samples that are kept: a minute.
const SAMPLES: usize = 13;

/// How the use of pools developed during the last minute.
#[derive(Debug, Default)]
pub(crate) struct Growth(VecDeque<(Instant, Vec<PoolUsage>)>);

impl Growth {
    /// Whether it is time for another sample.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.0.back().is_none_or(|(last, _)| now.saturating_duration_since(*last) >= PERIOD)
    }

    /// Takes a sample.
    pub(crate) fn take(&mut self, now: Instant, usage: Vec<PoolUsage>) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((now, usage));
    }

    /// How long the free ports of a pool last if it goes on like that; `None`: its use does not grow, or was not known
    /// for long enough. A pool that a reload has changed is another one.
    pub(crate) fn time_to_exhaustion(&self, pool: &PoolUsage) -> [Option<Duration>; 3] {
        let of = |usage: &[PoolUsage]| {
            usage.iter().find(|one| one.name == pool.name && one.usable == pool.usable).map(|one| one.used)
        };
        let mut known = self.0.iter().filter_map(|(at, usage)| Some((*at, of(usage)?)));
        let (Some((began, first)), Some((ended, last))) = (known.next(), known.next_back()) else {
            return [None; 3];
        };
        let nanos = ended.saturating_duration_since(began).as_nanos();
        std::array::from_fn(|set| {
            let grown = last[set].checked_sub(first[set]).filter(|grown| *grown > 0)?;
            let free = pool.usable[set].saturating_sub(last[set]);
            let left = nanos.saturating_mul(u128::from(free)) / u128::from(grown);
            Some(Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(used: u64) -> PoolUsage {
        let name = "carrier".to_owned();
        PoolUsage { name, addresses: 1, usable: [1000; 3], used: [used, 7, 0], fullest: [0.0; 3] }
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
        let larger = PoolUsage { usable: [2000; 3], ..pool(10) };
        assert!(growth.time_to_exhaustion(&pool(10))[0].is_some());
        assert_eq!(growth.time_to_exhaustion(&larger), [None; 3]);
    }
}

//! Counters of things that come and go with the configuration: rules, addresses. One of each worker for every thing.
//!
//! The counters of a thing are shared between the configuration that has it and the one before, so that a reload which
//! leaves it as it is does not start them anew.

use super::Counter;
use crate::ids::WorkerId;
use crossbeam_utils::CachePadded;

/// Something of each worker, which it alone writes; no two in one cache line.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[CachePadded<T>]>);

impl<T: Default> PerWorker<T> {
    /// One for each of so many workers.
    pub fn new(workers: u8) -> Self {
        PerWorker((0..workers.max(1)).map(|_| CachePadded::default()).collect())
    }
}

impl<T> PerWorker<T> {
    /// That of a worker.
    #[inline]
    pub fn of(&self, worker: WorkerId) -> Option<&T> {
        self.0.get(worker.index()).map(|padded| &**padded)
    }

    /// That of every worker, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }
}

impl PerWorker<Counter> {
    /// All workers together.
    pub fn sum(&self) -> u64 {
        self.iter().map(Counter::get).fold(0, u64::wrapping_add)
    }
}

/// Gauges of one address: external ports that sessions hold: TCP, UDP, others (see [`crate::nat::space`]); and blocks that
/// subscribers have.
pub type PortsUsed = PerWorker<[Counter; 4]>;

/// Where blocks are among the gauges.
pub const BLOCKS: usize = 3;

impl PortsUsed {
    /// Blocks, of all workers together.
    pub fn blocks(&self) -> u64 {
        self.iter().map(|worker| worker[BLOCKS].get()).fold(0, u64::wrapping_add)
    }

    /// Ports, of all workers together.
    pub fn by_set(&self) -> [u64; 3] {
        std::array::from_fn(|set| self.iter().map(|worker| worker[set].get()).fold(0, u64::wrapping_add))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_writes_its_own_and_the_sum_is_that_of_all() {
        let hits = PerWorker::<Counter>::new(2);
        hits.of(WorkerId(0)).unwrap().add(3);
        hits.of(WorkerId(1)).unwrap().add(4);
        assert!(hits.of(WorkerId(2)).is_none());
        assert_eq!(hits.sum(), 7);
        let used = PortsUsed::new(2);
        used.of(WorkerId(1)).unwrap()[2].increment();
        assert_eq!(used.by_set(), [0, 0, 1]);
    }
}

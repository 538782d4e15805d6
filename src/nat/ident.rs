//! IPv4 identifications for datagrams that the gateway translates (RFC 7857 section 10, RFC 6864 5.3.1).
//!
//! Two hosts behind one address may give the same identification to fragments for the same receiver, which then mixes them
//! up. To the receiver the gateway is the source, so the gateway numbers them: every datagram in fragments whose source it
//! translates gets the next number of its destination and protocol, in all of its fragments.
//!
//! Each worker draws from numbers of its own: the low bits are the worker's. Destinations share counters by their hash, so
//! numbers are skipped and never given twice, until a counter has gone round: 65,536 datagrams of all workers. Counters
//! start anywhere, as others can see them (RFC 7739).
//!
//! Whole datagrams keep what their host gave them, also those without DF that a router behind may cut: to number them would
//! cost every packet. Those that the gateway cuts itself are numbered.

use crate::ids::WorkerId;
use ahash::RandomState;
use std::net::Ipv4Addr;

/// Counters of a worker; a power of two.
const COUNTERS: usize = 1024;

/// The identifications that one worker gives.
#[derive(Debug)]
pub struct Identifications {
    counters: Box<[u16]>,
    hasher: RandomState,
    /// Bits that say which worker.
    bits: u32,
    worker: u16,
}

impl Identifications {
    /// Those of `worker`, one of `workers`.
    pub fn new(worker: WorkerId, workers: usize) -> Self {
        let hasher = RandomState::new();
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let counters = (0..COUNTERS).map(|n| hasher.hash_one(n) as u16).collect();
        let bits = workers.next_power_of_two().trailing_zeros().min(u16::BITS - 1);
        Identifications { counters, hasher, bits, worker: u16::from(worker.0) }
    }

    /// The next one for a datagram to `destination`.
    pub fn draw(&mut self, destination: Ipv4Addr, protocol: u8) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "masked to the number of counters")]
        let at = self.hasher.hash_one((destination, protocol)) as usize & (COUNTERS - 1);
        let Some(counter) = self.counters.get_mut(at) else { return self.worker };
        *counter = counter.wrapping_add(1);
        *counter << self.bits | self.worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    #[test]
    fn a_number_comes_again_when_all_others_were_given() {
        for (workers, each) in [(1, 65_536), (2, 32_768), (3, 16_384), (4, 16_384)] {
            let mut seen = HashSet::new();
            for worker in 0..workers {
                let mut ids = Identifications::new(WorkerId(worker), usize::from(workers));
                for _ in 0..each {
                    assert!(seen.insert(ids.draw(SERVER, 17)), "{worker} of {workers}");
                }
                assert!(!seen.insert(ids.draw(SERVER, 17)));
            }
        }
    }

    #[test]
    fn destinations_that_share_a_counter_skip_numbers_and_share_none() {
        let mut ids = Identifications::new(WorkerId(0), 1);
        let mut seen = HashSet::new();
        for n in 0..10_000 {
            ids.draw(Ipv4Addr::from_bits(n), 17);
            assert!(seen.insert(ids.draw(SERVER, 17)));
        }
    }
}

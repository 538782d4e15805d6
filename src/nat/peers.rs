//! Counts by a number and an address: which remote addresses the sessions of a mapping go to, beyond the one that the mapping
//! itself remembers; and how many mappings an internal address has.
//!
//! In chains; whoever makes the table gives it room for every session, or every mapping.

use crate::conntrack::key::hash_of;
use std::net::Ipv4Addr;

/// No entry.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Peer {
    number: u32,
    address: Ipv4Addr,
    count: u32,
    /// The next of its chain, or the next free one.
    next: u32,
}

/// The remote addresses; see the module's head.
#[derive(Debug)]
pub(super) struct Peers {
    entries: Vec<Peer>,
    capacity: u32,
    free: u32,
    /// Number + 1 of the first of each chain.
    chains: Box<[u32]>,
    seed: u64,
}

impl Peers {
    /// Room for `capacity` of them.
    pub(super) fn new(capacity: u32, seed: u64) -> Peers {
        let chains = if capacity == 0 { 0 } else { (capacity as usize).next_power_of_two() };
        Peers {
            entries: Vec::with_capacity(capacity as usize),
            capacity,
            free: NONE,
            chains: vec![0; chains].into(),
            seed,
        }
    }

    /// How many there are.
    pub(super) fn count(&self, number: u32, address: Ipv4Addr) -> u32 {
        self.find(number, address).and_then(|at| self.entries.get(at)).map_or(0, |peer| peer.count)
    }

    /// Whether there is any.
    pub(super) fn has(&self, number: u32, address: Ipv4Addr) -> bool {
        self.find(number, address).is_some()
    }

    /// One more. True if it is the first one.
    pub(super) fn add(&mut self, number: u32, address: Ipv4Addr) -> bool {
        if let Some(at) = self.find(number, address) {
            self.entries[at].count += 1;
            return false;
        }
        let chain = self.chain(number, address);
        let Some(head) = self.chains.get_mut(chain) else { return false };
        let peer = Peer { number, address, count: 1, next: head.wrapping_sub(1) };
        let at = if let Some(free) = self.entries.get_mut(self.free as usize) {
            let at = self.free;
            self.free = free.next;
            *free = peer;
            at
        } else if self.entries.len() < self.capacity as usize {
            self.entries.push(peer);
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        } else {
            return false;
        };
        *head = at + 1;
        true
    }

    /// One less. True if it was the last one.
    pub(super) fn remove(&mut self, number: u32, address: Ipv4Addr) -> bool {
        let Some(at) = self.find(number, address) else { return false };
        self.entries[at].count -= 1;
        if self.entries[at].count > 0 {
            return false;
        }
        let next = self.entries[at].next;
        let chain = self.chain(number, address);
        let mut before = self.chains[chain].wrapping_sub(1);
        if before as usize == at {
            self.chains[chain] = next.wrapping_add(1);
        } else {
            while let Some(peer) = self.entries.get_mut(before as usize) {
                if peer.next as usize == at {
                    peer.next = next;
                    break;
                }
                before = peer.next;
            }
        }
        self.entries[at].next = std::mem::replace(&mut self.free, u32::try_from(at).unwrap_or(NONE));
        true
    }

    fn find(&self, number: u32, address: Ipv4Addr) -> Option<usize> {
        let mut at = self.chains.get(self.chain(number, address))?.wrapping_sub(1);
        while let Some(peer) = self.entries.get(at as usize) {
            if peer.number == number && peer.address == address {
                return Some(at as usize);
            }
            at = peer.next;
        }
        None
    }

    fn chain(&self, number: u32, address: Ipv4Addr) -> usize {
        let mask = u64::try_from(self.chains.len()).unwrap_or(0).wrapping_sub(1);
        let hash = hash_of([u64::from(number), u64::from(address.to_bits()), 0], self.seed);
        usize::try_from(hash & mask).unwrap_or(0)
    }
}

//! A worker's copy of the resolved neighbours. Written by its worker on messages from the management core,
//! read for every packet that leaves.
//!
//! Fixed capacity, linear probing, deletion by shifting back (no tombstones). One entry is also kept for a
//! neighbour that is being resolved, so that only its first packet asks for it.

use crate::ids::{InterfaceId, MacAddr};
use crate::time::Time;
use std::net::Ipv4Addr;

/// What a worker knows of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborState {
    /// Its Ethernet address.
    Resolved(MacAddr),
    /// The management core was asked at that time.
    Asked(Time),
}

/// A neighbour's key as one number: that of nobody is 0.
type Key = u64;
const NOBODY: Key = 0;

#[inline]
fn key_of(interface: InterfaceId, address: Ipv4Addr) -> Key {
    1 << 40 | u64::from(interface.0) << 32 | u64::from(address.to_bits())
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    state: NeighborState,
}

const VACANT: Entry = Entry { key: NOBODY, state: NeighborState::Asked(Time::ZERO) };

/// Neighbours by interface and address.
#[derive(Debug)]
pub struct NeighborTable {
    slots: Box<[Entry]>,
    len: usize,
    limit: usize,
}

/// The table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the neighbour table is full")]
pub struct Full;

impl NeighborTable {
    /// A table for up to `limit` neighbours; uses twice as many slots.
    pub fn new(limit: usize) -> Self {
        let slots = (limit.max(1) * 2).next_power_of_two();
        NeighborTable { slots: vec![VACANT; slots].into(), len: 0, limit }
    }

    /// What is known of a neighbour.
    #[inline]
    pub fn get(&self, interface: InterfaceId, address: Ipv4Addr) -> Option<NeighborState> {
        self.find(key_of(interface, address)).ok().map(|at| self.slots[at].state)
    }

    /// A neighbour's Ethernet address, if it is known.
    #[inline]
    pub fn resolved(&self, interface: InterfaceId, address: Ipv4Addr) -> Option<MacAddr> {
        match self.get(interface, address) {
            Some(NeighborState::Resolved(mac)) => Some(mac),
            _ => None,
        }
    }

    /// Stores what is known of a neighbour.
    pub fn set(
        &mut self,
        interface: InterfaceId,
        address: Ipv4Addr,
        state: NeighborState,
    ) -> Result<(), Full> {
        let key = key_of(interface, address);
        match self.find(key) {
            Ok(at) => self.slots[at].state = state,
            Err(_) if self.len >= self.limit => return Err(Full),
            Err(at) => {
                self.slots[at] = Entry { key, state };
                self.len += 1;
            }
        }
        Ok(())
    }

    /// Forgets a neighbour.
    pub fn remove(&mut self, interface: InterfaceId, address: Ipv4Addr) {
        let Ok(mut hole) = self.find(key_of(interface, address)) else { return };
        self.len -= 1;
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            self.slots[hole] = VACANT;
            let entry = loop {
                at = (at + 1) & mask;
                let entry = self.slots[at];
                if entry.key == NOBODY {
                    return;
                }
                // Moves back only what may stand in the hole: its home is not between hole and here.
                let home = self.home(entry.key);
                if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                    break entry;
                }
            };
            self.slots[hole] = entry;
            hole = at;
        }
    }

    /// How many neighbours the table holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn home(&self, key: Key) -> usize {
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
        usize::try_from(mixed & (self.slots.len() as u64 - 1)).unwrap_or(0)
    }

    /// The slot that holds the key, or the free one where it would go. At least half of the slots are free.
    #[inline]
    fn find(&self, key: Key) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(key);
        loop {
            match self.slots[at].key {
                found if found == key => return Ok(at),
                NOBODY => return Err(at),
                _ => at = (at + 1) & mask,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_full_table_refuses_a_newcomer_and_keeps_what_it_has() {
        let mut table = NeighborTable::new(2);
        let resolved = NeighborState::Resolved(MacAddr([1; 6]));
        for n in 1..=2 {
            table.set(InterfaceId(0), Ipv4Addr::from_bits(n), resolved).unwrap();
        }
        assert_eq!(table.set(InterfaceId(0), Ipv4Addr::from_bits(3), resolved), Err(Full));
        assert_eq!(table.set(InterfaceId(0), Ipv4Addr::from_bits(2), resolved), Ok(()));
        assert_eq!(table.get(InterfaceId(0), Ipv4Addr::from_bits(1)), Some(resolved));
        assert_eq!(table.get(InterfaceId(1), Ipv4Addr::from_bits(1)), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_hash_map(steps in proptest::collection::vec((any::<bool>(), 0u8..2, 0u32..40), 0..400)) {
            let mut table = NeighborTable::new(64);
            let mut model = HashMap::new();
            for (step, (insert, interface, address)) in steps.into_iter().enumerate() {
                let key = (InterfaceId(interface), Ipv4Addr::from_bits(address));
                if insert {
                    let state = NeighborState::Asked(Time::from_secs(step as u64));
                    table.set(key.0, key.1, state).unwrap();
                    model.insert(key, state);
                } else {
                    table.remove(key.0, key.1);
                    model.remove(&key);
                }
                prop_assert_eq!(table.len(), model.len());
                for (key, state) in &model {
                    prop_assert_eq!(table.get(key.0, key.1), Some(*state));
                }
            }
        }
    }
}

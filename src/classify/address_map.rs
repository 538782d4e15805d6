//! An immutable map from IPv4 addresses to small numbers, for tests that every packet pays for.
//!
//! Open addressing at a quarter of its capacity: nearly every miss is decided by the first slot.

use std::net::Ipv4Addr;

/// IPv4 address to index.
#[derive(Debug)]
pub struct AddressMap {
    /// `address << 32 | value + 1`, or 0 for an empty slot.
    slots: Box<[u64]>,
    shift: u32,
}

impl AddressMap {
    /// Builds the map. Of two entries for one address the first counts.
    pub fn new(entries: impl IntoIterator<Item = (Ipv4Addr, u16)>) -> AddressMap {
        let entries: Vec<_> = entries.into_iter().collect();
        let size = (entries.len() * 4).next_power_of_two().max(4);
        let mut map = AddressMap { slots: vec![0; size].into(), shift: 32 - size.trailing_zeros() };
        for (address, value) in entries {
            if let Err(at) = map.find(address) {
                map.slots[at] = u64::from(address.to_bits()) << 32 | (u64::from(value) + 1);
            }
        }
        map
    }

    /// The number of an address.
    #[inline]
    pub fn get(&self, address: Ipv4Addr) -> Option<u16> {
        let at = self.find(address).ok()?;
        u16::try_from((self.slots[at] & 0xffff_ffff) - 1).ok()
    }

    #[inline]
    fn find(&self, address: Ipv4Addr) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let hash = address.to_bits().wrapping_mul(0x9e37_79b1) >> self.shift;
        let mut at = usize::try_from(hash).unwrap_or(0) & mask;
        loop {
            match self.slots[at] {
                0 => return Err(at),
                slot if slot >> 32 == u64::from(address.to_bits()) => return Ok(at),
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

    proptest! {
        #[test]
        fn agrees_with_a_hash_map(entries in proptest::collection::hash_map(0u32..300, any::<u16>(), 0..100)) {
            let entries: HashMap<Ipv4Addr, u16> =
                entries.into_iter().map(|(bits, value)| (Ipv4Addr::from_bits(bits << 8), value)).collect();
            let map = AddressMap::new(entries.clone());
            for probe in (0u32..300).map(|bits| Ipv4Addr::from_bits(bits << 8)) {
                prop_assert_eq!(map.get(probe), entries.get(&probe).copied());
            }
        }
    }
}

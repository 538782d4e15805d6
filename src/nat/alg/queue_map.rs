//! A map of bounded size whose entries are also in the order in which they came or were last renewed. Pure.
//!
//! Memory is reserved when it is made and touched as it is needed. Look-ups walk a chain of about one; strangers can not make it
//! longer without the seed.

use std::hash::Hash;

/// No entry.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry<K, V> {
    /// `None`: free, and `chain` is the next free one.
    pair: Option<(K, V)>,
    /// The next with the same hash.
    chain: u32,
    next: u32,
    previous: u32,
}

/// The map; see the module's head.
#[derive(Debug)]
pub(super) struct QueueMap<K, V> {
    entries: Vec<Entry<K, V>>,
    capacity: u32,
    /// Number + 1 of the first entry of each chain, so that memory that nobody touched means none.
    chains: Box<[u32]>,
    free: u32,
    first: u32,
    last: u32,
    len: u32,
    random: ahash::RandomState,
}

impl<K: Copy + Eq + Hash, V> QueueMap<K, V> {
    /// Room for `capacity` entries. `seed` must be random.
    pub(super) fn new(capacity: u32, seed: u64) -> Self {
        let size = usize::try_from(capacity).unwrap_or(0);
        QueueMap {
            entries: Vec::with_capacity(size),
            capacity,
            chains: vec![0; size.next_power_of_two()].into(),
            free: NONE,
            first: NONE,
            last: NONE,
            len: 0,
            random: ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 2),
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entry(self.find(key)?)?.pair.as_ref().map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key)?;
        self.entry_mut(at)?.pair.as_mut().map(|(_, value)| value)
    }

    /// The one that came first.
    pub(super) fn first(&self) -> Option<(K, &V)> {
        self.entry(self.first)?.pair.as_ref().map(|(key, value)| (*key, value))
    }

    /// Adds an entry, whose key is not there, as the last one. False if there is no room.
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        let chain = self.chain(&key);
        let entry = Entry { pair: Some((key, value)), chain: self.head(chain), next: NONE, previous: NONE };
        let at = self.free;
        let at = if let Some(slot) = self.entry_mut(at) {
            let free = std::mem::replace(slot, entry).chain;
            self.free = free;
            at
        } else if self.entries.len() < usize::try_from(self.capacity).unwrap_or(0) {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        } else {
            return false;
        };
        if let Some(head) = self.chains.get_mut(chain) {
            *head = at + 1;
        }
        self.append(at);
        self.len += 1;
        true
    }

    /// Makes an entry that is there the last one.
    pub(super) fn renew(&mut self, key: &K) {
        if let Some(at) = self.find(key) {
            self.unlink(at);
            self.append(at);
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key)?;
        let chain = self.chain(key);
        let behind = self.entry(at)?.chain;
        if self.head(chain) == at {
            *self.chains.get_mut(chain)? = behind.wrapping_add(1);
        } else {
            let mut before = self.head(chain);
            while let Some(entry) = self.entry_mut(before) {
                if entry.chain == at {
                    entry.chain = behind;
                    break;
                }
                before = entry.chain;
            }
        }
        self.unlink(at);
        let free = std::mem::replace(&mut self.free, at);
        self.len -= 1;
        let entry = self.entry_mut(at)?;
        entry.chain = free;
        entry.pair.take().map(|(_, value)| value)
    }

    fn find(&self, key: &K) -> Option<u32> {
        let mut at = self.head(self.chain(key));
        while let Some(entry) = self.entry(at) {
            if entry.pair.as_ref().is_some_and(|(known, _)| known == key) {
                return Some(at);
            }
            at = entry.chain;
        }
        None
    }

    fn chain(&self, key: &K) -> usize {
        let mask = u64::try_from(self.chains.len()).unwrap_or(0).wrapping_sub(1);
        usize::try_from(self.random.hash_one(key) & mask).unwrap_or(0)
    }

    fn head(&self, chain: usize) -> u32 {
        self.chains.get(chain).map_or(NONE, |head| head.wrapping_sub(1))
    }

    fn entry(&self, at: u32) -> Option<&Entry<K, V>> {
        self.entries.get(usize::try_from(at).ok()?)
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry<K, V>> {
        self.entries.get_mut(usize::try_from(at).ok()?)
    }

    fn append(&mut self, at: u32) {
        let last = std::mem::replace(&mut self.last, at);
        if let Some(entry) = self.entry_mut(at) {
            (entry.previous, entry.next) = (last, NONE);
        }
        match self.entry_mut(last) {
            Some(before) => before.next = at,
            None => self.first = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(&Entry { next, previous, .. }) = self.entry(at) else { return };
        match self.entry_mut(previous) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        match self.entry_mut(next) {
            Some(after) => after.previous = previous,
            None => self.last = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_a_queue(steps in proptest::collection::vec((0u8..4, 0u16..12), 0..200)) {
            let mut map = QueueMap::new(6, 7);
            let mut model: Vec<(u16, usize)> = Vec::new();
            for (n, (what, key)) in steps.into_iter().enumerate() {
                let place = model.iter().position(|(known, _)| *known == key);
                match (what, place) {
                    (0 | 1, None) => {
                        prop_assert_eq!(map.insert(key, n), model.len() < 6);
                        if model.len() < 6 {
                            model.push((key, n));
                        }
                    }
                    (2, _) => prop_assert_eq!(map.remove(&key), place.map(|at| model.remove(at).1)),
                    _ => {
                        map.renew(&key);
                        if let Some(at) = place {
                            let entry = model.remove(at);
                            model.push(entry);
                        }
                    }
                }
                prop_assert_eq!(map.len() as usize, model.len());
                prop_assert_eq!(map.first().map(|(key, value)| (key, *value)), model.first().copied());
                for key in 0..12 {
                    let known = model.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
                    prop_assert_eq!(map.get(&key).copied(), known);
                    prop_assert_eq!(map.get_mut(&key).copied(), known);
                }
            }
        }
    }
}

//! The hash index of a shard: from a flow key's hash to a session and the direction of it. Private to the worker.
//!
//! Open addressing with linear probing over 64-bit entries, so that a probe stays in the cache line that the
//! home slot was prefetched with. Entry: 32-bit tag << 32 | (session index + 1) << 1 | direction; 0 is empty.
//! The tag is the upper half of the hash, and the home slot is computed from the tag alone
//! (`tag * slots >> 32`): a removal can therefore shift entries back without touching a session, there are no
//! tombstones, and the number of slots need not be a power of two.
//!
//! # Bounds
//!
//! There are four slots for each session of two entries, so the load is at most one half and there is always an
//! empty slot. At that load a hit takes 1.5 probes and a miss 2.5 on average; the longest run grows with the
//! logarithm of the number of slots as long as strangers can not choose hashes (see [`super::key`]). A removal
//! touches what is left of one run. Every loop ends after one round at the latest.

use super::session::Direction;
use crate::prefetch::prefetch;

/// Slots for each session: two entries at a load of one half.
const SLOTS_PER_SESSION: usize = 4;
/// How many slots [`Index::first_candidate`] looks at: one cache line.
const CANDIDATE_WINDOW: usize = 8;
const EMPTY: u64 = 0;

/// The index; see the module's head.
#[derive(Debug)]
pub(super) struct Index {
    slots: Box<[u64]>,
}

impl Index {
    /// The most sessions that an entry can name.
    pub(super) const MAX_SESSIONS: u32 = 1 << 29;

    /// An empty index for that many sessions.
    pub(super) fn new(sessions: u32) -> Self {
        let slots = (sessions as usize).saturating_mul(SLOTS_PER_SESSION).max(CANDIDATE_WINDOW);
        Index { slots: vec![EMPTY; slots].into_boxed_slice() }
    }

    /// Asks for the cache line of the hash's home slot.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(slot) = self.slots.get(self.home(tag_of_hash(hash))) {
            prefetch(slot);
        }
    }

    /// The session that a lookup of this hash would compare first, if it lies near the home slot.
    #[inline]
    pub(super) fn first_candidate(&self, hash: u64) -> Option<u32> {
        let tag = tag_of_hash(hash);
        let run = self.slots.get(self.home(tag)..).unwrap_or_default();
        let near = run.iter().take(CANDIDATE_WINDOW).take_while(|&&entry| entry != EMPTY);
        near.copied().find(|&entry| tag_of(entry) == tag).map(|entry| session_of(entry).0)
    }

    /// The entry under this hash of which `is_it` says that the keys are the same.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32, Direction) -> bool) -> Option<(u32, Direction)> {
        let tag = tag_of_hash(hash);
        let mut place = self.home(tag);
        for _ in 0..self.slots.len() {
            let entry = self.at(place);
            if entry == EMPTY {
                return None;
            }
            let (session, direction) = session_of(entry);
            if tag_of(entry) == tag && is_it(session, direction) {
                return Some((session, direction));
            }
            place = self.next(place);
        }
        None
    }

    /// Adds an entry. Finds room as long as no more than two entries a session are added.
    pub(super) fn insert(&mut self, hash: u64, session: u32, direction: Direction) {
        let entry = entry(hash, session, direction);
        let mut place = self.home(tag_of(entry));
        for _ in 0..self.slots.len() {
            if self.at(place) == EMPTY {
                self.put(place, entry);
                return;
            }
            place = self.next(place);
        }
    }

    /// Takes an entry out and moves what follows it in its run back; says whether it was there.
    pub(super) fn remove(&mut self, hash: u64, session: u32, direction: Direction) -> bool {
        let Some(mut hole) = self.place_of(entry(hash, session, direction)) else {
            return false;
        };
        let mut place = hole;
        for _ in 0..self.slots.len() {
            place = self.next(place);
            let entry = self.at(place);
            if entry == EMPTY {
                break;
            }
            // An entry may move back to the hole only if its home does not lie behind the hole.
            let home = self.home(tag_of(entry));
            if self.distance(home, place) >= self.distance(hole, place) {
                self.put(hole, entry);
                hole = place;
            }
        }
        self.put(hole, EMPTY);
        true
    }

    fn place_of(&self, wanted: u64) -> Option<usize> {
        let mut place = self.home(tag_of(wanted));
        for _ in 0..self.slots.len() {
            match self.at(place) {
                EMPTY => return None,
                entry if entry == wanted => return Some(place),
                _ => place = self.next(place),
            }
        }
        None
    }

    /// Scales the tag to a slot. Rises with the tag, so tags that differ little are neighbours.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, place: usize) -> usize {
        if place + 1 == self.slots.len() { 0 } else { place + 1 }
    }

    /// Steps from one slot forward to another.
    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    /// The entry in a slot. `place` is in range by construction.
    #[inline]
    fn at(&self, place: usize) -> u64 {
        self.slots.get(place).copied().unwrap_or(EMPTY)
    }

    #[inline]
    fn put(&mut self, place: usize, entry: u64) {
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = entry;
        }
    }
}

#[inline]
fn tag_of_hash(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[inline]
fn entry(hash: u64, session: u32, direction: Direction) -> u64 {
    let direction = match direction {
        Direction::Original => 0,
        Direction::Reply => 1,
    };
    u64::from(tag_of_hash(hash)) << 32 | (u64::from(session) + 1) << 1 | direction
}

#[inline]
fn tag_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

/// Session and direction of an entry that is not empty.
#[inline]
fn session_of(entry: u64) -> (u32, Direction) {
    let low = (entry & 0xffff_ffff) as u32;
    let direction = if low & 1 == 0 { Direction::Original } else { Direction::Reply };
    ((low >> 1).wrapping_sub(1), direction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(home: u64, index: &Index) -> u64 {
        // The smallest tag that maps to the slot.
        ((home << 32).div_ceil(index.slots.len() as u64)) << 32
    }

    #[test]
    fn an_entry_holds_the_largest_session_index() {
        let session = Index::MAX_SESSIONS - 1;
        for direction in [Direction::Original, Direction::Reply] {
            assert_eq!(session_of(entry(u64::MAX, session, direction)), (session, direction));
            assert_eq!(tag_of(entry(u64::MAX, session, direction)), u32::MAX);
        }
        assert_ne!(entry(0, 0, Direction::Original), EMPTY);
    }

    #[test]
    fn a_removal_closes_the_gap_across_the_end_of_the_array() {
        let mut index = Index::new(3);
        assert_eq!(index.slots.len(), 12);
        // Homes 10, 10, 11, 0: the run is 10, 11, 0, 1.
        for (session, home) in [(0, 10), (1, 10), (2, 11), (3, 0)] {
            index.insert(hash(home, &index), session, Direction::Original);
        }
        assert!(index.remove(hash(10, &index), 0, Direction::Original));
        assert!(!index.remove(hash(10, &index), 0, Direction::Original));
        for (session, home) in [(1, 10), (2, 11), (3, 0)] {
            let found = index.find(hash(home, &index), |candidate, _| candidate == session);
            assert_eq!(found, Some((session, Direction::Original)));
        }
        // All are at home again, and nothing is left behind.
        assert_eq!(index.slots.iter().filter(|&&e| e != EMPTY).count(), 3);
        assert_ne!(index.at(0), EMPTY);
        assert_eq!(index.at(1), EMPTY);
    }

    #[test]
    fn an_entry_at_home_is_not_moved_in_front_of_its_home() {
        let mut index = Index::new(3);
        for (session, home) in [(0, 4), (1, 5)] {
            index.insert(hash(home, &index), session, Direction::Reply);
        }
        index.remove(hash(4, &index), 0, Direction::Reply);
        assert_eq!(index.at(4), EMPTY);
        assert_eq!(session_of(index.at(5)), (1, Direction::Reply));
    }

    #[test]
    fn the_candidate_is_the_first_entry_with_the_same_tag() {
        let mut index = Index::new(4);
        let (home, neighbour) = (hash(4, &index), hash(4, &index) + (1 << 32));
        index.insert(home, 1, Direction::Original);
        index.insert(neighbour, 2, Direction::Original);
        assert_eq!(index.first_candidate(neighbour), Some(2));
        assert_eq!(index.first_candidate(neighbour + (1 << 32)), None);
        assert_eq!(index.first_candidate(hash(7, &index)), None);
    }
}

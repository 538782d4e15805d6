//! The hash index of a shard: from a flow key's hash to a session and the direction of it. Private to the worker.
//!
//! That of mappings ([`crate::nat::mapping`]) is another one: what is said here of a session's two keys is true of a mapping's
//! two ends.
//!
//! # Layout
//!
//! A bucket is one cache line: 12 tags of 8 bits, a count, and 12 references of 32 bits (session index << 1 |
//! direction). A tag is taken from the lower half of the hash, 0 means an empty place; all tags of a bucket are
//! compared at once. The upper half of the hash chooses the *home* bucket (scaled to the number of
//! buckets, which need not be a power of two).
//!
//! An entry that finds its home full goes to the next bucket with room, and every full bucket that it passes
//! counts it (`passed`). A lookup goes on to the next bucket only while that count is not 0, so it nearly always
//! reads one line; a removal takes the entry out, and its count out of the buckets that it passed. There are no
//! tombstones: a table that has seen a billion sessions is as fast as a new one. (The scheme is that of F14,
//! Bronson and Shi 2019.)
//!
//! # Bounds
//!
//! One bucket for each four sessions of two entries, so at capacity two places in three are taken: 6 % of the
//! buckets are full, and a lookup reads 1.07 lines on average. An insert succeeds whatever the hashes are as long as
//! no more than two entries a session are in: there are more places than entries, and every bucket is tried. Every
//! loop ends after one round at the latest.

use super::session::Direction;
use crate::memory::{Pages, Slab};
use crate::prefetch::prefetch;
use wide::u8x16;

/// Places in a bucket.
const PLACES: usize = 12;
/// Sessions for each bucket, of two entries each: 8 of 12 places at capacity.
const SESSIONS_PER_BUCKET: u32 = 4;
/// The tag of an empty place.
const EMPTY: u8 = 0;

/// A cache line of the index.
#[derive(Debug)]
#[repr(C, align(64))]
struct Bucket {
    /// The tags, and behind them in four bytes how many entries passed by: together one vector.
    head: [u8; 16],
    references: [u32; PLACES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const VACANT: Bucket = Bucket { head: [0; 16], references: [0; PLACES] };

    /// The places that hold this tag, as a set of bits.
    #[inline]
    fn places_with(&self, tag: u8) -> u32 {
        // SSE2 on every x86-64, NEON on ARM, plain code elsewhere: the library chooses when it is compiled.
        u8x16::new(self.head).simd_eq(u8x16::splat(tag)).to_bitmask() & ((1 << PLACES) - 1)
    }

    /// How many entries found this bucket full and went on.
    #[inline]
    fn passed(&self) -> u32 {
        let [.., a, b, c, d] = self.head;
        u32::from_le_bytes([a, b, c, d])
    }

    #[inline]
    fn set_passed(&mut self, count: u32) {
        let [.., a, b, c, d] = &mut self.head;
        [*a, *b, *c, *d] = count.to_le_bytes();
    }

    #[inline]
    fn reference(&self, place: u32) -> u32 {
        self.references.get(place as usize).copied().unwrap_or_default()
    }

    #[inline]
    fn put(&mut self, place: u32, tag: u8, reference: u32) {
        let place = place as usize;
        if let (Some(slot), Some(old)) = (self.references.get_mut(place), self.head.get_mut(place)) {
            (*slot, *old) = (reference, tag);
        }
    }

    /// The place of exactly this entry.
    #[inline]
    fn place_of(&self, tag: u8, reference: u32) -> Option<u32> {
        places(self.places_with(tag)).find(|place| self.reference(*place) == reference)
    }
}

/// The members of a set of places, lowest first.
#[inline]
fn places(mut set: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let place = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (place < 32).then_some(place)
    })
}

/// The index; see the module's head.
#[derive(Debug)]
pub(crate) struct Index {
    buckets: Slab<Bucket>,
    /// Stands in for a bucket that is not there, so that no access can be out of bounds. Always empty.
    nowhere: Bucket,
}

impl Index {
    /// The most sessions that an entry can name.
    pub(crate) const MAX_SESSIONS: u32 = 1 << 28;

    /// Memory for each session at capacity, in bytes.
    pub(crate) const BYTES_PER_SESSION: usize = size_of::<Bucket>() / SESSIONS_PER_BUCKET as usize;

    /// An empty index for that many sessions.
    pub(crate) fn new(sessions: u32) -> Self {
        let buckets = sessions.div_ceil(SESSIONS_PER_BUCKET).max(1) as usize;
        Index { buckets: Slab::from_fn(buckets, |_| Bucket::VACANT), nowhere: Bucket::VACANT }
    }

    /// What it lies in.
    pub(crate) fn pages(&self) -> Pages {
        self.buckets.pages()
    }

    /// Asks for the cache line of the hash's home bucket.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(self.at(self.home(hash)));
    }

    /// What a lookup of this hash would compare first, if it lies in the home bucket.
    #[inline]
    pub(crate) fn first_candidate(&self, hash: u64) -> Option<(u32, Direction)> {
        let bucket = self.at(self.home(hash));
        let place = places(bucket.places_with(tag(hash))).next()?;
        Some(session_of(bucket.reference(place)))
    }

    /// The entry under this hash of which `is_it` says that the keys are the same.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32, Direction) -> bool) -> Option<(u32, Direction)> {
        let tag = tag(hash);
        let mut number = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = self.at(number);
            for place in places(bucket.places_with(tag)) {
                let (session, direction) = session_of(bucket.reference(place));
                if is_it(session, direction) {
                    return Some((session, direction));
                }
            }
            if bucket.passed() == 0 {
                return None;
            }
            number = self.next(number);
        }
        None
    }

    /// Adds an entry. Finds room as long as no more than two entries a session are added.
    pub(crate) fn insert(&mut self, hash: u64, session: u32, direction: Direction) {
        let reference = reference(session, direction);
        let mut number = self.home(hash);
        for _ in 0..self.buckets.len() {
            let next = self.next(number);
            let Some(bucket) = self.buckets.get_mut(number) else { return };
            if let Some(free) = places(bucket.places_with(EMPTY)).next() {
                bucket.put(free, tag(hash), reference);
                return;
            }
            bucket.set_passed(bucket.passed() + 1);
            number = next;
        }
    }

    /// Takes an entry out; says whether it was there.
    pub(crate) fn remove(&mut self, hash: u64, session: u32, direction: Direction) -> bool {
        let (tag, reference) = (tag(hash), reference(session, direction));
        let home = self.home(hash);
        let mut number = home;
        for _ in 0..self.buckets.len() {
            let bucket = self.at(number);
            if let Some(place) = bucket.place_of(tag, reference) {
                self.take_out(home, number, place);
                return true;
            }
            if bucket.passed() == 0 {
                return false;
            }
            number = self.next(number);
        }
        false
    }

    /// Empties a place, and forgets the entry in the buckets between its home and there.
    fn take_out(&mut self, home: usize, number: usize, place: u32) {
        if let Some(bucket) = self.buckets.get_mut(number) {
            bucket.put(place, EMPTY, 0);
        }
        let mut passed = home;
        while passed != number {
            let next = self.next(passed);
            if let Some(bucket) = self.buckets.get_mut(passed) {
                bucket.set_passed(bucket.passed().saturating_sub(1));
            }
            passed = next;
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, number: usize) -> usize {
        if number + 1 == self.buckets.len() { 0 } else { number + 1 }
    }

    /// A bucket. `number` is in range by construction.
    #[inline]
    fn at(&self, number: usize) -> &Bucket {
        self.buckets.get(number).unwrap_or(&self.nowhere)
    }
}

/// The lowest byte of the hash, but never [`EMPTY`].
#[inline]
fn tag(hash: u64) -> u8 {
    let [lowest, ..] = hash.to_le_bytes();
    lowest.max(1)
}

#[inline]
fn reference(session: u32, direction: Direction) -> u32 {
    let direction = match direction {
        Direction::Original => 0,
        Direction::Reply => 1,
    };
    session << 1 | direction
}

/// Session and direction of a reference.
#[inline]
fn session_of(reference: u32) -> (u32, Direction) {
    let direction = if reference & 1 == 0 { Direction::Original } else { Direction::Reply };
    (reference >> 1, direction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};
    use proptest::prelude::*;

    /// A hash with this home and tag.
    fn hash(home: u64, tag: u8, index: &Index) -> u64 {
        let lowest = (home << 32).div_ceil(index.buckets.len() as u64);
        lowest << 32 | u64::from(tag)
    }

    fn entries(index: &Index) -> u32 {
        index.buckets.iter().map(|bucket| 12 - bucket.places_with(EMPTY).count_ones()).sum()
    }

    fn passed(index: &Index) -> u32 {
        index.buckets.iter().map(Bucket::passed).sum()
    }

    proptest! {
        #[test]
        fn tags_are_compared_as_one_by_one(head: [u8; 16], tag: u8, place in 0..PLACES) {
            let bucket = Bucket { head, ..Bucket::VACANT };
            for tag in [tag, head[place], EMPTY] {
                let places: Vec<u32> = places(bucket.places_with(tag)).collect();
                let expected = (0..12).filter(|place| head[*place as usize] == tag);
                prop_assert_eq!(places, expected.collect::<Vec<u32>>());
            }
        }

        #[test]
        fn tags_and_count_do_not_disturb_each_other(count: u32, tag: u8, place in 0..12u32, other: u32) {
            let mut bucket = Bucket::VACANT;
            bucket.set_passed(count);
            bucket.put(place, tag.max(1), other);
            prop_assert_eq!((bucket.passed(), bucket.place_of(tag.max(1), other)), (count, Some(place)));
            prop_assert_eq!(bucket.places_with(tag.max(1)), 1 << place);
        }
    }

    #[test]
    fn a_reference_holds_the_largest_session_index() {
        for direction in [Original, Reply] {
            let last = Index::MAX_SESSIONS - 1;
            assert_eq!(session_of(reference(last, direction)), (last, direction));
        }
    }

    #[test]
    fn an_entry_whose_home_is_full_is_found_in_the_next_bucket_and_leaves_no_trace_there() {
        let mut index = Index::new(16);
        assert_eq!(index.buckets.len(), 4);
        // The last bucket: what passes it goes round to the first.
        for session in 0..14 {
            index.insert(hash(3, 7, &index), session, Original);
        }
        assert_eq!((index.at(3).passed(), entries(&index)), (2, 14));
        for session in 0..14 {
            let found = index.find(hash(3, 7, &index), |candidate, _| candidate == session);
            assert_eq!(found, Some((session, Original)), "{session}");
        }
        // One of the full bucket goes: the others are still found, in the bucket behind it.
        assert!(index.remove(hash(3, 7, &index), 5, Original));
        assert!(!index.remove(hash(3, 7, &index), 5, Original));
        assert!(index.find(hash(3, 7, &index), |candidate, _| candidate == 13).is_some());
        for session in (0..14).filter(|session| *session != 5) {
            assert!(index.remove(hash(3, 7, &index), session, Original));
        }
        assert_eq!((entries(&index), passed(&index)), (0, 0), "nothing is left behind");
    }

    #[test]
    fn the_index_takes_two_entries_a_session_even_if_all_have_one_home() {
        let mut index = Index::new(1000);
        for session in 0..1000 {
            index.insert(hash(9, 3, &index), session, Original);
            index.insert(hash(9, 3, &index), session, Reply);
        }
        assert_eq!(entries(&index), 2000);
        for session in 0..1000 {
            assert!(index.remove(hash(9, 3, &index), session, Reply));
            assert!(index.remove(hash(9, 3, &index), session, Original));
        }
        assert_eq!((entries(&index), passed(&index)), (0, 0));
    }

    #[test]
    fn the_candidate_is_the_first_entry_with_the_same_tag_in_the_home_bucket() {
        let mut index = Index::new(100);
        index.insert(hash(4, 1, &index), 1, Original);
        index.insert(hash(4, 2, &index), 2, Reply);
        assert_eq!(index.first_candidate(hash(4, 2, &index)), Some((2, Reply)));
        assert_eq!(index.first_candidate(hash(4, 3, &index)), None);
        assert_eq!(index.first_candidate(hash(5, 2, &index)), None);
    }
}

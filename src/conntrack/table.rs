//! The session table of one worker: shared sessions, a private index, private lists by class.
//!
//! # Ownership
//!
//! [`Shard`] belongs to one worker, which alone writes. [`SessionView`] is for everybody else: it reads sessions
//! by index and never sees one that is half built. See [`super::session`] for how.
//!
//! # Order
//!
//! Insert: take a free slot into the session's class, write all of the session, publish its generation (release),
//! then enter both keys into the index. Remove: take both keys out of the index, retire the generation, free the slot.
//! Nothing can fail between taking and publishing.
//!
//! # Bounds
//!
//! The capacity is fixed at start; all memory is allocated then, in huge pages where there are any. Up to the capacity
//! an insert fails only if one of its keys is taken. Lookup, insert and remove touch one bucket of the index a key,
//! and rarely a second one (`index.rs`); full keys are compared only where an 8-bit tag agrees. The oldest session of
//! a class is found in constant time.

use super::class::{Class, ClassLists};
use super::idle::Idle;
use super::index::Index;
use super::key::FlowKey;
pub use super::session::{Direction, Lease, NewSession, Session, SessionSnapshot, Shape, TrackWords};
use crate::memory::{Pages, Slab};
use crate::prefetch::prefetch;
use crate::time::Tick;
use std::sync::Arc;

/// A session's place in its shard. Only meaningful to the shard that gave it out, and until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u32);

impl SessionId {
    /// The index for [`SessionView::read`] and for messages, which need the generation with it.
    #[inline]
    #[must_use]
    pub fn index(self) -> u32 {
        self.0
    }
}

/// The session that a lookup will probably find.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidate(Option<(u32, Direction)>);

/// Why a session could not be inserted. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// As many sessions as the shard holds.
    #[error("the session table is full")]
    Full,
    /// One of the keys belongs to a session already, or both are the same.
    #[error("a session with the same tuple exists")]
    Collision,
}

/// The session table of one worker; see the module's head.
#[derive(Debug)]
pub struct Shard<K: FlowKey> {
    sessions: Arc<Slab<Session<K>>>,
    /// Stands in for a session that is not there, so that no access can be out of bounds. Never live.
    nobody: Box<Session<K>>,
    index: Index,
    /// Which session is in which class, and which slots are free: last freed first, as their lines are still in the
    /// cache.
    classes: ClassLists,
    seed: u64,
}

impl<K: FlowKey> Shard<K> {
    /// The largest capacity; larger ones are reduced to it.
    pub const MAX_CAPACITY: u32 = Index::MAX_SESSIONS;

    /// Memory for each session at capacity, in bytes: the record, its two entries in the index, its place in the lists.
    pub const BYTES_PER_SESSION: usize =
        size_of::<Session<K>>() + Index::BYTES_PER_SESSION + ClassLists::BYTES_PER_SESSION;

    /// A table for `capacity` sessions, and the view of it for others. `seed` must be random and secret.
    ///
    /// Takes [`Shard::BYTES_PER_SESSION`] for each: 152 with IPv4 keys.
    pub fn new(capacity: u32, seed: u64) -> (Shard<K>, SessionView<K>) {
        let capacity = capacity.min(Self::MAX_CAPACITY);
        let sessions = Arc::new(Slab::from_fn(capacity as usize, |_| Session::vacant()));
        let shard = Shard {
            sessions: Arc::clone(&sessions),
            nobody: Box::new(Session::vacant()),
            index: Index::new(capacity),
            classes: ClassLists::new(capacity),
            seed,
        };
        (shard, SessionView { sessions })
    }

    /// What the sessions and the index lie in.
    pub fn pages(&self) -> (Pages, Pages) {
        (self.sessions.pages(), self.index.pages())
    }

    /// The hash of a key, for the calls below.
    #[inline]
    pub fn hash(&self, key: &K) -> u64 {
        key.hash(self.seed)
    }

    /// Asks for the cache line of the index in which a lookup of this hash begins.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Asks for the session that a lookup of this hash would compare first, and for its second line if `whole` (the
    /// tracker of its protocol needs it). Reads the index: call it some packets after [`Shard::prefetch`].
    #[inline]
    pub fn prefetch_session(&self, hash: u64, whole: bool) -> Candidate {
        let found = self.index.first_candidate(hash);
        if let Some((index, _)) = found {
            let session = self.at(index);
            prefetch(session);
            if whole {
                prefetch(session.second_line());
            }
        }
        Candidate(found)
    }

    /// [`Shard::lookup`] by what [`Shard::prefetch_session`] saw, however long ago: mostly that is it.
    #[inline]
    pub fn lookup_seen(&self, key: &K, hash: u64, seen: Candidate) -> Option<(SessionId, Direction)> {
        match seen.0 {
            // Of a session that is gone the keys may still be there.
            Some((index, direction))
                if self.at(index).has_key(direction, key) && self.at(index).is_live() =>
            {
                Some((SessionId(index), direction))
            }
            _ => self.lookup(key, hash),
        }
    }

    /// The session that packets with this key belong to, and which direction of it. `hash` is [`Shard::hash`] of it.
    #[inline]
    pub fn lookup(&self, key: &K, hash: u64) -> Option<(SessionId, Direction)> {
        self.index
            .find(hash, |index, direction| self.at(index).has_key(direction, key))
            .map(|(index, direction)| (SessionId(index), direction))
    }

    /// The session at a place. After its removal: whatever is there now.
    #[inline]
    pub fn session(&self, id: SessionId) -> &Session<K> {
        self.at(id.0)
    }

    /// A copy of a session that is there, for others to see.
    pub fn snapshot(&self, id: SessionId) -> Option<SessionSnapshot<K>> {
        self.at(id.0).snapshot(id.0)
    }

    /// The session that a message means by index and generation, if it is still the same.
    #[inline]
    pub fn resolve(&self, index: u32, generation: u32) -> Option<SessionId> {
        let session = self.at(index);
        (session.is_live() && session.generation() == generation).then_some(SessionId(index))
    }

    /// Which user of its slot a session is. Even while it lives.
    #[inline]
    pub fn generation(&self, id: SessionId) -> u32 {
        self.at(id.0).generation()
    }

    /// Adds a session with both of its keys; others see it only when it is complete.
    pub fn insert(&mut self, new: NewSession<K>) -> Result<SessionId, InsertError> {
        let (original, reply) = (self.hash(&new.original), self.hash(&new.reply));
        let taken =
            self.lookup(&new.original, original).is_some() || self.lookup(&new.reply, reply).is_some();
        if taken || new.original == new.reply {
            return Err(InsertError::Collision);
        }
        let class = if new.protected { Class::Protected } else { Class::of(new.opening.state, false, false) };
        let index = self.classes.take(class).ok_or(InsertError::Full)?;
        self.at(index).fill(&new);
        self.index.insert(original, index, Direction::Original);
        self.index.insert(reply, index, Direction::Reply);
        if let Some(next) = self.classes.next_free() {
            // The next newcomer's lines.
            let next = self.at(next);
            prefetch(next);
            prefetch(next.second_line());
        }
        Ok(SessionId(index))
    }

    /// Takes a session out and gives back the port that it held. Does nothing if it is out already.
    pub fn remove(&mut self, id: SessionId) -> Option<Lease> {
        let SessionId(index) = id;
        let session = self.at(index);
        if !session.is_live() {
            return None;
        }
        let lease = session.lease();
        let keys = [Direction::Original, Direction::Reply].map(|d| (d, self.hash(&session.key(d))));
        session.vacate();
        for (direction, hash) in keys {
            self.index.remove(hash, index, direction);
        }
        self.classes.release(index);
        lease
    }

    /// Moves a session to the list of its class, as the youngest there. Call it after a packet changed state or flags.
    #[inline]
    pub fn reclassify(&mut self, id: SessionId) {
        let class = self.at(id.0).class();
        self.classes.set(id.0, class);
    }

    /// The session that has been in a class for longest. None of those that are never evicted.
    #[inline]
    pub fn oldest(&self, class: Class) -> Option<SessionId> {
        self.classes.oldest(class).map(SessionId)
    }

    /// How many sessions are in a class.
    #[inline]
    pub fn count(&self, class: Class) -> u32 {
        self.classes.count(class)
    }

    /// How many sessions there are.
    pub fn len(&self) -> u32 {
        self.classes.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many sessions there can be.
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.sessions.len()).unwrap_or(u32::MAX)
    }

    /// The next session at or after slot `cursor`, looking at no more than `budget` slots. Both are advanced; at
    /// the end of the table the cursor goes on at the start. Sessions may be removed between the calls.
    ///
    /// ```
    /// # use natgate::conntrack::{key::V4Key, table::Shard};
    /// # let (mut shard, _) = Shard::<V4Key>::new(8, 1);
    /// let (mut cursor, mut budget) = (0, shard.capacity());
    /// while let Some(id) = shard.scan(&mut cursor, &mut budget) {
    ///     shard.remove(id);
    /// }
    /// ```
    pub fn scan(&self, cursor: &mut u32, budget: &mut u32) -> Option<SessionId> {
        while *budget > 0 {
            *budget -= 1;
            let index = if *cursor < self.capacity() { *cursor } else { 0 };
            *cursor = index + 1;
            if self.at(index).is_live() {
                return Some(SessionId(index));
            }
        }
        None
    }

    #[inline]
    fn at(&self, index: u32) -> &Session<K> {
        self.sessions.get(index as usize).unwrap_or(&self.nobody)
    }
}

/// The sessions of a shard, to read from other threads.
#[derive(Clone, Debug)]
pub struct SessionView<K: FlowKey> {
    sessions: Arc<Slab<Session<K>>>,
}

impl<K: FlowKey> SessionView<K> {
    /// How many sessions there can be: indices run up to here.
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.sessions.len()).unwrap_or(u32::MAX)
    }

    /// A consistent copy of the session at an index: `None` if there is none, or if the worker wrote to it at each
    /// of a few tries.
    pub fn read(&self, index: u32) -> Option<SessionSnapshot<K>> {
        self.sessions.get(index as usize)?.snapshot(index)
    }

    /// What decides when the session at an index ends: `None` if there is none, or if it came or went at this moment.
    pub fn idle(&self, index: u32) -> Option<Idle> {
        self.sessions.get(index as usize)?.idle()
    }

    /// The generation of the session at an index if it is idle for longer than its timeout.
    ///
    /// A hint: a packet may come right now. The worker has to check [`Session::is_expired`] before it removes the
    /// session.
    pub fn expired(&self, index: u32, now: Tick) -> Option<u32> {
        let idle = self.idle(index)?;
        idle.ends_in(now, idle.timeout_ticks).is_err().then_some(idle.generation)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

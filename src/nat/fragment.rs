//! The ports of fragments that do not carry them (RFC 4787 REQ-14, RFC 1858).
//!
//! Only a datagram's first fragment has the transport header. The table remembers what the first one said, so
//! that the later ones take the same way without being reassembled; and it holds the ones that come early until
//! the first arrives.
//!
//! Owner: the worker that `hash(src, dst, id, protocol)` chooses. Every bound is fixed at the start. An entry is in
//! one of two queues, each in the order of age:
//!
//! - *waiting*: the first fragment has not come; at most [`HELD_MAX`] fragments are held, in the order in which
//!   they came. At most half of the table, so that a flood of stray fragments leaves room for honest traffic,
//!   which comes in order.
//! - *known*: nothing is held. When the table is full the oldest makes room: its datagram is the one that is
//!   most likely complete.
//!
//! An entry lives `timeout` from when it entered its queue; later fragments do not extend that.

use crate::packet::{Fragment, Kind, Packet, PacketBuf, Parsed, Tuple};
use crate::telemetry::DropReason;
use crate::time::Tick;
use ahash::RandomState;
use std::net::Ipv4Addr;

/// The most early fragments of one datagram that are held.
pub const HELD_MAX: u8 = 8;

/// No index.
const NONE: u32 = u32::MAX;

/// What became of a later fragment.
#[derive(Debug)]
pub enum Later<B> {
    /// Its ports and kind are those of the first fragment now: on its way.
    Ready(Packet<B, Parsed>),
    /// Waits for the first fragment; comes out of [`FragmentTable::first`], [`FragmentTable::expire`] or
    /// [`FragmentTable::drain`].
    Held,
    /// No room to hold it.
    Refused(Packet<B, Parsed>, DropReason),
}

/// Datagrams of which fragments were seen.
pub struct FragmentTable<B> {
    entries: Box<[Entry]>,
    /// Heads of the chains of entries whose keys hash alike. Twice as many as entries, a power of two.
    buckets: Box<[u32]>,
    slots: Box<[Slot<B>]>,
    hasher: RandomState,
    timeout: u32,
    free_entries: u32,
    free_slots: u32,
    waiting: Queue,
    known: Queue,
    waiting_max: usize,
    held: usize,
}

/// What the fragments of a datagram have in common (RFC 791 3.2), as they arrive; zones may hold the same addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    zone: u16,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    id: u16,
    protocol: u8,
}

/// What all fragments of a datagram learn from the first one.
#[derive(Clone, Copy, Debug)]
struct First {
    sport: u16,
    dport: u16,
    kind: Kind,
    /// The identification that they leave with if their source is translated.
    id: u16,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    /// What the first fragment said; `None` while it is waited for.
    first: Option<First>,
    since: Tick,
    /// Held fragments: a chain of slots, oldest first.
    head: u32,
    tail: u32,
    held: u8,
    /// Next in the bucket's chain, or in the free list.
    chain: u32,
    older: u32,
    newer: u32,
}

struct Slot<B> {
    packet: Option<Packet<B, Parsed>>,
    /// Next of the same datagram, or in the free list.
    next: u32,
}

/// Entries in the order of age, linked through `older` and `newer`.
#[derive(Clone, Copy, Debug)]
struct Queue {
    oldest: u32,
    newest: u32,
    len: usize,
}

impl Queue {
    const EMPTY: Queue = Queue { oldest: NONE, newest: NONE, len: 0 };
}

impl<B> std::fmt::Debug for FragmentTable<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (known, waiting) = (self.known.len, self.waiting.len);
        write!(f, "FragmentTable({known} known, {waiting} waiting, {} held)", self.held)
    }
}

impl<B: PacketBuf> FragmentTable<B> {
    /// A table for `datagrams` at once that holds up to `held` early fragments, and forgets a datagram after
    /// `timeout_ticks`.
    pub fn new(datagrams: usize, held: usize, timeout_ticks: u32) -> Self {
        // NONE is no index.
        let datagrams = datagrams.min(NONE as usize - 1);
        let held = held.min(NONE as usize - 1);
        let entries: Box<[Entry]> = (0..datagrams).map(|n| Entry::free(link(n + 1, datagrams))).collect();
        let slots = (0..held).map(|n| Slot { packet: None, next: link(n + 1, held) }).collect();
        FragmentTable {
            entries,
            buckets: vec![NONE; (datagrams.max(1) * 2).next_power_of_two()].into_boxed_slice(),
            slots,
            hasher: RandomState::new(),
            timeout: timeout_ticks,
            free_entries: link(0, datagrams),
            free_slots: link(0, held),
            waiting: Queue::EMPTY,
            known: Queue::EMPTY,
            waiting_max: datagrams.div_ceil(2),
            held: 0,
        }
    }

    /// Takes note of a first fragment that came in from `zone`, and gives its datagram the identification that it leaves with if its
    /// source is translated: a `fresh` one, unless it is known. The fragments that waited for it come out, completed, in the
    /// order in which they came. A packet that is not a first fragment changes nothing.
    ///
    /// # Errors
    /// [`DropReason::FragmentTableFull`] if the table is so small that waiting datagrams fill it.
    pub fn first(
        &mut self,
        packet: &mut Packet<B, Parsed>,
        zone: u16,
        now: Tick,
        fresh: impl FnOnce() -> u16,
        released: &mut impl FnMut(Packet<B, Parsed>),
    ) -> Result<(), DropReason> {
        if packet.state.fragment != Fragment::First {
            return Ok(());
        }
        let key = Key::of(&packet.state, zone);
        let Parsed { tuple: Tuple { sport, dport, .. }, kind, .. } = packet.state;
        let (index, known) = match self.find(key) {
            Some(index) => {
                let timeout = self.timeout;
                // The same again: its other fragments may be on their way, or have been.
                let known = self.entry(index).filter(|entry| now.since(entry.since) < timeout);
                let known = known.and_then(|entry| entry.first).map(|first| first.id);
                self.unlink(index);
                (index, known)
            }
            None => (self.take_entry(key).ok_or(DropReason::FragmentTableFull)?, None),
        };
        let first = First { sport, dport, kind, id: known.unwrap_or_else(fresh) };
        packet.state.id = first.id;
        if let Some(entry) = self.entry(index) {
            entry.first = Some(first);
        }
        self.append(index, now);
        while let Some(mut held) = self.pop_held(index) {
            complete(&mut held.state, first);
            released(held);
        }
        Ok(())
    }

    /// Completes a later fragment that came in from `zone`, or holds it until the first comes.
    pub fn later(&mut self, mut packet: Packet<B, Parsed>, zone: u16, now: Tick) -> Later<B> {
        let key = Key::of(&packet.state, zone);
        let mut found = self.find(key);
        if let Some(index) = found
            && let Some(entry) = self.entry(index).map(|entry| *entry)
            && let Some(first) = entry.first
        {
            if now.since(entry.since) < self.timeout {
                complete(&mut packet.state, first);
                return Later::Ready(packet);
            }
            // Identifications come round again: what an old datagram said does not count.
            self.remove(index);
            found = None;
        }
        if self.free_slots == NONE {
            return Later::Refused(packet, DropReason::FragmentTableFull);
        }
        let index = match found {
            Some(index) => index,
            None if self.waiting.len >= self.waiting_max => {
                return Later::Refused(packet, DropReason::FragmentTableFull);
            }
            None => match self.take_entry(key) {
                Some(index) => {
                    self.append(index, now);
                    index
                }
                None => return Later::Refused(packet, DropReason::FragmentTableFull),
            },
        };
        match self.push_held(index, packet) {
            None => Later::Held,
            Some(packet) => Later::Refused(packet, DropReason::FragmentTableFull),
        }
    }

    /// Forgets up to `budget` datagrams whose time is over; what they held goes to `dropped`, at most
    /// [`HELD_MAX`] each. The reason is [`DropReason::FragmentTimeout`].
    pub fn expire(&mut self, now: Tick, budget: usize, dropped: &mut impl FnMut(Packet<B, Parsed>)) {
        for _ in 0..budget {
            let timeout = self.timeout;
            let due = [self.waiting.oldest, self.known.oldest].into_iter().find(|index| {
                self.entries.get(at(*index)).is_some_and(|entry| now.since(entry.since) >= timeout)
            });
            let Some(index) = due else { return };
            self.drop_entry(index, dropped);
        }
    }

    /// How many fragments are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many datagrams the table knows or waits for.
    pub fn datagrams(&self) -> usize {
        self.known.len + self.waiting.len
    }

    /// Forgets everything; what was held goes to `dropped`.
    pub fn drain(&mut self, dropped: &mut impl FnMut(Packet<B, Parsed>)) {
        while self.waiting.oldest != NONE {
            self.drop_entry(self.waiting.oldest, dropped);
        }
        while self.known.oldest != NONE {
            self.drop_entry(self.known.oldest, dropped);
        }
    }

    fn drop_entry(&mut self, index: u32, dropped: &mut impl FnMut(Packet<B, Parsed>)) {
        while let Some(packet) = self.pop_held(index) {
            dropped(packet);
        }
        self.remove(index);
    }

    fn entry(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(at(index))
    }

    fn bucket(&self, key: Key) -> usize {
        // A power of two, so the mask is exact; the upper bits of the hash do not matter.
        #[expect(clippy::cast_possible_truncation, reason = "masked to the number of buckets")]
        let hash = self.hasher.hash_one(key) as usize;
        hash & (self.buckets.len() - 1)
    }

    fn find(&self, key: Key) -> Option<u32> {
        let mut index = *self.buckets.get(self.bucket(key))?;
        while let Some(entry) = self.entries.get(at(index)) {
            if entry.key == key {
                return Some(index);
            }
            index = entry.chain;
        }
        None
    }

    /// A fresh entry for `key`, in its bucket but in no queue yet. The oldest known one makes room if it must.
    fn take_entry(&mut self, key: Key) -> Option<u32> {
        if self.free_entries == NONE && self.known.oldest != NONE {
            self.remove(self.known.oldest);
        }
        let index = self.free_entries;
        let bucket = self.bucket(key);
        let entry = self.entries.get_mut(at(index))?;
        let head = self.buckets.get_mut(bucket)?;
        self.free_entries = entry.chain;
        *entry = Entry { key, ..Entry::free(*head) };
        *head = index;
        Some(index)
    }

    /// Puts an entry that is in no queue at the young end of the one that it belongs to.
    fn append(&mut self, index: u32, now: Tick) {
        let Some(entry) = self.entries.get_mut(at(index)) else { return };
        let queue = if entry.first.is_some() { &mut self.known } else { &mut self.waiting };
        entry.since = now;
        entry.older = queue.newest;
        entry.newer = NONE;
        queue.len += 1;
        let older = std::mem::replace(&mut queue.newest, index);
        if older == NONE {
            queue.oldest = index;
        } else if let Some(older) = self.entries.get_mut(at(older)) {
            older.newer = index;
        }
    }

    /// Takes an entry out of its queue.
    fn unlink(&mut self, index: u32) {
        let Some(&Entry { older, newer, first, .. }) = self.entries.get(at(index)) else { return };
        let queue = if first.is_some() { &mut self.known } else { &mut self.waiting };
        queue.len -= 1;
        match self.entries.get_mut(at(older)) {
            Some(entry) => entry.newer = newer,
            None => queue.oldest = newer,
        }
        match self.entries.get_mut(at(newer)) {
            Some(entry) => entry.older = older,
            None => queue.newest = older,
        }
    }

    /// Frees an entry that holds nothing (any more).
    fn remove(&mut self, index: u32) {
        self.unlink(index);
        let Some(&Entry { key, chain, .. }) = self.entries.get(at(index)) else { return };
        let bucket = self.bucket(key);
        let Some(head) = self.buckets.get_mut(bucket) else { return };
        if *head == index {
            *head = chain;
        } else {
            let mut before = *head;
            while let Some(entry) = self.entries.get_mut(at(before)) {
                if entry.chain == index {
                    entry.chain = chain;
                    break;
                }
                before = entry.chain;
            }
        }
        let free = self.free_entries;
        if let Some(entry) = self.entry(index) {
            *entry = Entry::free(free);
            self.free_entries = index;
        }
    }

    /// Gives the packet back if there is no room for it.
    fn push_held(&mut self, index: u32, packet: Packet<B, Parsed>) -> Option<Packet<B, Parsed>> {
        let slot_index = self.free_slots;
        let Some(entry) = self.entries.get_mut(at(index)).filter(|entry| entry.held < HELD_MAX) else {
            return Some(packet);
        };
        let Some(slot) = self.slots.get_mut(at(slot_index)) else { return Some(packet) };
        self.free_slots = std::mem::replace(&mut slot.next, NONE);
        slot.packet = Some(packet);
        entry.held += 1;
        self.held += 1;
        let before = std::mem::replace(&mut entry.tail, slot_index);
        match self.slots.get_mut(at(before)) {
            Some(before) => before.next = slot_index,
            None => entry.head = slot_index,
        }
        None
    }

    fn pop_held(&mut self, index: u32) -> Option<Packet<B, Parsed>> {
        let entry = self.entries.get_mut(at(index))?;
        let slot_index = entry.head;
        let slot = self.slots.get_mut(at(slot_index))?;
        entry.head = std::mem::replace(&mut slot.next, self.free_slots);
        if entry.head == NONE {
            entry.tail = NONE;
        }
        entry.held -= 1;
        self.free_slots = slot_index;
        self.held -= 1;
        slot.packet.take()
    }
}

impl Key {
    fn of(state: &Parsed, zone: u16) -> Key {
        let tuple = state.tuple;
        Key { zone, src: tuple.src, dst: tuple.dst, id: state.id, protocol: tuple.protocol }
    }
}

impl Entry {
    /// An entry without content; `chain` is what follows it.
    fn free(chain: u32) -> Entry {
        let key = Key { zone: 0, src: Ipv4Addr::UNSPECIFIED, dst: Ipv4Addr::UNSPECIFIED, id: 0, protocol: 0 };
        Entry {
            key,
            first: None,
            since: Tick(0),
            head: NONE,
            tail: NONE,
            held: 0,
            chain,
            older: NONE,
            newer: NONE,
        }
    }
}

fn complete(state: &mut Parsed, First { sport, dport, kind, id }: First) {
    state.tuple.sport = sport;
    state.tuple.dport = dport;
    state.kind = kind;
    state.id = id;
}

/// The index as a number; [`NONE`] is beyond the end of every list.
#[inline]
fn at(index: u32) -> usize {
    index as usize
}

/// Index `n` of a list with `len` elements, or [`NONE`] at its end.
fn link(n: usize, len: usize) -> u32 {
    if n < len { u32::try_from(n).unwrap_or(NONE) } else { NONE }
}

#[cfg(test)]
mod tests;

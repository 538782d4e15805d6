//! Which subscriber has which block of ports: one log line says who had hundreds of ports, and for how long
//! (RFC 6888 REQ-14, RFC 6269 section 13.1).
//!
//! A block is a range of ports of one external address, of all protocols alike, that is one subscriber's while he has it: its
//! first port is a multiple of its size, and the whole of it is among the ports of the pool. A subscriber (a host and its
//! zone) gets his first block with his first mapping, on an address where there is one, and stays with that address (RFC 4787
//! REQ-2); further ones follow when those that he has are full, up to a number.
//!
//! # A block's life
//!
//! ```text
//!         first mapping                    last port given back, rest over
//!   free ---------------> in use  ----------------------------------------> empty
//!    ^    event: given      ^                 a port is needed                |
//!    |                      +-------------------------------------------------+
//!    +------------------------------------------------------------------------+
//!        empty for `idle`, or somebody else needs it and none is free; event: released
//! ```
//!
//! A block never has ports of two subscribers: one that is free has no port in use, not even one from before it was a block.
//! What a subscriber has stays what it is when another configuration has blocks of another size, until it goes back.
//!
//! # Ownership
//!
//! A worker's own, like its mappings. Ports belong to workers by regions of [`REGION`] ports ([`crate::classify::Shares`]), so
//! that a block of any size is one worker's, and no change of the size moves a port. [`Blocks`] says who has which blocks, a
//! [`BlockMap`] which of an address are given; `nat::space` brings both together with the free ports.
//!
//! # Bounds
//!
//! As many blocks as the shard holds sessions at the most, which are all that can be in use at once; those that are empty make
//! room. Memory is reserved when the table is made, and touched as it is needed. A map of an address takes 4 KiB.

use crate::time::Tick;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

pub use map::BlockMap;

/// Ports of the smallest block.
pub const UNIT: u16 = 64;
/// Ports of the largest one.
pub const REGION: u16 = 1024;
/// Blocks that a subscriber may have.
pub const MOST: u8 = 64;

/// No block.
const NONE: u32 = u32::MAX;

/// Blocks of these ports that lie wholly among them.
pub fn count(ports: &RangeInclusive<u16>, size: u16) -> u64 {
    let (first, end) = (u64::from(*ports.start()), u64::from(*ports.end()) + 1);
    match u64::from(size) {
        0 => 0,
        size => (end / size).saturating_sub(first.div_ceil(size)),
    }
}

/// A block that somebody has, or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The zone that the subscriber is in.
    pub zone: u16,
    /// The subscriber.
    pub subscriber: Ipv4Addr,
    /// The external address.
    pub address: Ipv4Addr,
    /// Its number among the local addresses.
    pub number: u16,
    /// The first port.
    pub first: u16,
    /// How many there are.
    pub size: u16,
}

impl Block {
    /// Its ports.
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.first..=self.first.saturating_add(self.size - 1)
    }

    fn units(&self) -> std::ops::Range<usize> {
        let first = usize::from(self.first / UNIT);
        first..first + usize::from(self.size / UNIT)
    }
}

/// A block was given, or has gone back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEvent {
    /// When.
    pub at: Tick,
    /// Whether it was given.
    pub given: bool,
    /// Which block, and whose it is or was.
    pub block: Block,
}

/// A block's place in its table, while somebody has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockId(u32);

/// Empty blocks, those that were emptied first in front.
#[derive(Clone, Copy, Debug)]
pub struct Empty {
    first: u32,
    last: u32,
}

impl Default for Empty {
    fn default() -> Self {
        Empty { first: NONE, last: NONE }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    block: Block,
    /// Its ports, of all protocols, that mappings have or that rest.
    used: u32,
    /// When it was emptied, in ticks.
    since: Tick,
    /// The next one of its chain, or the next free entry.
    next: u32,
    /// Its neighbours among the empty ones.
    before: u32,
    behind: u32,
}

/// Who has which blocks; see the module's head.
#[derive(Debug)]
pub struct Blocks {
    entries: Vec<Entry>,
    capacity: u32,
    free: u32,
    /// Number + 1 of the newest block of each chain, by subscriber.
    chains: Box<[u32]>,
    random: ahash::RandomState,
}

impl Blocks {
    /// Memory of each block that somebody has, in bytes.
    pub const BYTES: usize = size_of::<Entry>() + size_of::<u32>();

    /// Room for so many blocks at once. `seed` must be random and secret.
    pub fn new(capacity: u32, seed: u64) -> Blocks {
        let capacity = capacity.min(NONE - 1);
        let chains = if capacity == 0 { 0 } else { (capacity as usize).next_power_of_two() };
        Blocks {
            entries: Vec::with_capacity(capacity as usize),
            capacity,
            free: NONE,
            // All zero, so that what nobody touched is taken from nobody.
            chains: vec![0; chains].into(),
            random: ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 3),
        }
    }

    /// The blocks of a subscriber, the newest first.
    pub fn of(&self, zone: u16, subscriber: Ipv4Addr) -> impl Iterator<Item = (BlockId, &Block)> {
        let mut at =
            self.chain(zone, subscriber).and_then(|chain| self.chains.get(chain)).map_or(NONE, below);
        std::iter::from_fn(move || {
            loop {
                let id = at;
                let Entry { block, next, .. } = self.entries.get(id as usize)?;
                at = *next;
                if (block.zone, block.subscriber) == (zone, subscriber) {
                    return Some((BlockId(id), block));
                }
            }
        })
    }

    /// A block that somebody has.
    pub fn get(&self, id: BlockId) -> Option<&Block> {
        self.entry(id).map(|entry| &entry.block)
    }

    /// Gives a block, of which no port is in use yet, to its subscriber. `None` if there is no room.
    pub fn give(&mut self, block: Block, now: Tick, empty: &mut Empty) -> Option<BlockId> {
        let chain = self.chain(block.zone, block.subscriber)?;
        let next = self.chains.get(chain).map_or(NONE, below);
        let entry = Entry { block, used: 0, since: now, next, before: NONE, behind: NONE };
        let at = if let Some(place) = self.entries.get_mut(self.free as usize) {
            std::mem::replace(&mut self.free, std::mem::replace(place, entry).next)
        } else if self.entries.len() < self.capacity as usize {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).ok()?
        } else {
            return None;
        };
        *self.chains.get_mut(chain)? = at + 1;
        self.link(at, empty);
        Some(BlockId(at))
    }

    /// Takes a block back that is among these empty ones.
    pub fn take_back(&mut self, id: BlockId, empty: &mut Empty) -> Option<Block> {
        let BlockId(at) = id;
        let Entry { block, next, .. } = *self.entry(id)?;
        self.unlink(at, empty);
        let head = self.chain(block.zone, block.subscriber).and_then(|chain| self.chains.get_mut(chain))?;
        if *head == at + 1 {
            *head = next.wrapping_add(1);
        } else {
            let mut before = below(head);
            while let Some(entry) = self.entries.get_mut(before as usize) {
                if entry.next == at {
                    entry.next = next;
                    break;
                }
                before = entry.next;
            }
        }
        let free = std::mem::replace(&mut self.free, at);
        if let Some(entry) = self.entries.get_mut(at as usize) {
            entry.next = free;
        }
        Some(block)
    }

    /// One port more of a block is in use.
    pub fn took(&mut self, BlockId(at): BlockId, empty: &mut Empty) {
        let Some(entry) = self.entries.get_mut(at as usize) else { return };
        entry.used += 1;
        if entry.used == 1 {
            self.unlink(at, empty);
        }
    }

    /// One port less is in use, from now on.
    pub fn released(&mut self, BlockId(at): BlockId, now: Tick, empty: &mut Empty) {
        let Some(entry) = self.entries.get_mut(at as usize) else { return };
        entry.used = entry.used.saturating_sub(1);
        if entry.used == 0 {
            entry.since = now;
            self.link(at, empty);
        }
    }

    /// The one that was emptied first, and when.
    pub fn longest_empty(&self, empty: &Empty) -> Option<(BlockId, Tick)> {
        let entry = self.entries.get(empty.first as usize)?;
        Some((BlockId(empty.first), entry.since))
    }

    /// Nothing more is known of the ports of a block: it counts as empty, among the others that are so.
    pub fn abandon(&mut self, BlockId(at): BlockId, here: &mut Empty, there: &mut Empty) {
        let Some(entry) = self.entries.get_mut(at as usize) else { return };
        if std::mem::take(&mut entry.used) == 0 {
            self.unlink(at, here);
        }
        self.link(at, there);
    }

    fn entry(&self, BlockId(at): BlockId) -> Option<&Entry> {
        self.entries.get(at as usize)
    }

    fn chain(&self, zone: u16, subscriber: Ipv4Addr) -> Option<usize> {
        let mask = u64::try_from(self.chains.len()).ok()?.checked_sub(1)?;
        usize::try_from(self.random.hash_one((zone, subscriber)) & mask).ok()
    }

    fn link(&mut self, at: u32, empty: &mut Empty) {
        let before = std::mem::replace(&mut empty.last, at);
        if let Some(entry) = self.entries.get_mut(at as usize) {
            (entry.before, entry.behind) = (before, NONE);
        }
        match self.entries.get_mut(before as usize) {
            Some(before) => before.behind = at,
            None => empty.first = at,
        }
    }

    fn unlink(&mut self, at: u32, empty: &mut Empty) {
        let Some(&Entry { before, behind, .. }) = self.entries.get(at as usize) else { return };
        match self.entries.get_mut(before as usize) {
            Some(entry) => entry.behind = behind,
            None => empty.first = behind,
        }
        match self.entries.get_mut(behind as usize) {
            Some(entry) => entry.before = before,
            None => empty.last = before,
        }
    }
}

fn below(head: &u32) -> u32 {
    head.wrapping_sub(1)
}

mod map;
#[cfg(test)]
mod tests;

//! Ports by ranges: of a subscriber's blocks, which are given and taken back here, and of a subscriber's share.
//!
//! Of several blocks of a subscriber the oldest one that has a free port is used, so that later ones run empty and go back; in
//! it a port at random. When no block is free, one that is empty goes back early.
//!
//! # Bounds
//!
//! A set-up looks at the subscriber's blocks ([`MOST`]) and, for another one, at each address of the pool. `LOOK` addresses
//! are looked at a tick for blocks that have been empty for long enough: a pool of thousands of addresses gets them back some
//! seconds late.

use super::{External, PortSpace, Sets, set_of};
use crate::classify::LocalAddresses;
use crate::ids::WorkerId;
use crate::nat::behavior::{BlockRules, Sharing};
use crate::nat::blocks::{Block, BlockEvent, BlockId, BlockMap, Blocks, Empty, MOST};
use crate::nat::ports::Rng;
use crate::telemetry::BLOCKS;
use arrayvec::ArrayVec;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Addresses that are looked at for blocks to take back, a tick.
const LOOK: usize = 256;

/// Events that a set-up has to tell of at the most: of two blocks that go back early and one that is given.
pub const EVENTS: usize = 3;

/// A subscriber's wish for a port.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Number of the pool.
    pub pool: u16,
    /// What the pool's blocks are like.
    pub rules: BlockRules,
    /// The zone that the subscriber is in.
    pub zone: u16,
    /// The subscriber.
    pub subscriber: Ipv4Addr,
    /// Numbers of the pool's addresses.
    pub numbers: &'a [u16],
    /// The place among them of the one to begin with.
    pub start: usize,
    /// IANA protocol number.
    pub protocol: u8,
    /// The port that it would best be.
    pub preferred: u16,
}

/// Why a subscriber gets no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPort {
    /// He has as many blocks as he may, and they are full.
    Limit,
    /// There is no block for him.
    Exhausted,
}

/// The blocks of an address that a worker may give, all of them free; `None` if it has none.
pub(super) fn map(local: &LocalAddresses, number: u16, worker: WorkerId) -> Option<Box<BlockMap>> {
    let address = local.get(number)?;
    let (ports, shares) = (address.ports.as_ref()?, address.shares.as_ref()?);
    let has_blocks = matches!(address.behavior.sharing, Sharing::Blocks(_));
    has_blocks.then(|| Box::new(BlockMap::new(ports, |port| shares.owner(port) == Some(worker))))
}

/// What becomes of the blocks of an address that something else replaces.
pub(super) fn hand_on(blocks: &mut Blocks, old: &mut Sets, next: &mut Sets, orphans: &mut Empty) {
    if old.address != next.address {
        if let Some(map) = &mut old.blocks {
            abandon(blocks, map, orphans);
        }
        return;
    }
    match (&mut old.blocks, &mut next.blocks) {
        (Some(old), Some(next)) => next.inherit(old),
        // Nobody gets one any more, and what is used goes back in its time.
        (old @ Some(_), None) => {
            next.blocks = old.take();
            next.blocks.iter_mut().for_each(|map| map.close());
        }
        (None, _) => {}
    }
}

/// The address is not here any more.
#[cold]
pub(super) fn abandon(blocks: &mut Blocks, map: &mut BlockMap, orphans: &mut Empty) {
    let mut empty = std::mem::take(&mut map.empty);
    map.all().for_each(|id| blocks.abandon(id, &mut empty, orphans));
}

impl PortSpace {
    /// The same with room for so many blocks at once. `seed` must be random and secret.
    #[must_use]
    pub fn with_blocks(self, most: u32, seed: u64) -> PortSpace {
        PortSpace { blocks: Blocks::new(most, seed), ..self }
    }

    /// A free one of these ports of the local address `number`, which is not translated to one port at a time: `preferred` if
    /// possible, else one at random.
    pub fn allocate_among(
        &mut self,
        (number, protocol): (u16, u8),
        ports: &RangeInclusive<u16>,
        preferred: u16,
        random: u64,
    ) -> Option<External> {
        let (at, worker) = (set_of(protocol)?, self.worker);
        self.ready(number);
        let slot = self.slots.get_mut(usize::from(number))?;
        let sets = slot.sets.as_deref_mut().filter(|sets| sets.by_range)?;
        let port = sets.ports.get_mut(at)?.allocate_among(ports, preferred, random)?;
        if let Some(map) = sets.blocks.as_deref_mut()
            && let Some(id) = map.at(port)
        {
            self.blocks.took(id, &mut map.empty);
        }
        slot.count(worker, at, |used| used.increment());
        Some(External { number, protocol, port })
    }

    /// A port of a block of the subscriber's, who gets one if he needs it and may; `tell` is told of [`EVENTS`] at the most.
    ///
    /// # Errors
    /// There is none.
    pub fn allocate_in_blocks(
        &mut self,
        request: &Request<'_>,
        local: &LocalAddresses,
        rng: &mut Rng,
        tell: &mut impl FnMut(BlockEvent),
    ) -> Result<External, NoPort> {
        let Request { rules, zone, subscriber, numbers, protocol, preferred, .. } = *request;
        let own = self.own(request, local);
        let random = rng.next();
        if let Some(external) = self.of_own(&own, protocol, preferred, random) {
            return Ok(external);
        }
        if own.len() >= usize::from(rules.per_subscriber) {
            return Err(NoPort::Limit);
        }
        // Whoever has a block stays with its address (RFC 4787 REQ-2, RFC 7857 section 4).
        let home = own.first().map(|block| [block.number]);
        let (numbers, start) = home.as_ref().map_or((numbers, request.start), |home| (home.as_slice(), 0));
        let all = || numbers.iter().cycle().skip(start).take(numbers.len()).copied();
        let found = all().find_map(|number| Some((number, self.find(number, rules.size, random)?)));
        let found = found.or_else(|| {
            let number = all().find(|number| self.take_back_early(*number, tell).is_some())?;
            Some((number, self.find(number, rules.size, random)?))
        });
        let (number, first) = found.ok_or(NoPort::Exhausted)?;
        let address = local.get(number).map(|local| local.address).ok_or(NoPort::Exhausted)?;
        let block = Block { zone, subscriber, address, number, first, size: rules.size };
        if !self.give(&block, tell) {
            return Err(NoPort::Exhausted);
        }
        let port = self.allocate_among((number, protocol), &block.ports(), preferred, random.rotate_left(32));
        port.ok_or(NoPort::Exhausted)
    }

    /// A port of one of these blocks, of the first one that has any but for the one that is preferred.
    fn of_own(&mut self, own: &[Block], protocol: u8, preferred: u16, random: u64) -> Option<External> {
        let only = preferred..=preferred;
        let mut fitting = own.iter().filter(|block| block.ports().contains(&preferred));
        fitting.find_map(|block| self.allocate_among((block.number, protocol), &only, preferred, 0)).or_else(
            || {
                let mut all = own.iter();
                all.find_map(|block| {
                    self.allocate_among((block.number, protocol), &block.ports(), preferred, random)
                })
            },
        )
    }

    /// The subscriber's blocks in the pool, the oldest first.
    fn own(&self, request: &Request<'_>, local: &LocalAddresses) -> ArrayVec<Block, { MOST as usize }> {
        let is_here = |block: &Block| {
            local.get(block.number).is_some_and(|local| {
                local.address == block.address
                    && !local.retired
                    && local.shares.as_ref().is_some_and(|shares| shares.pool == request.pool)
            })
        };
        let all = self.blocks.of(request.zone, request.subscriber).map(|(_, block)| *block);
        let mut own: ArrayVec<Block, { MOST as usize }> =
            all.filter(is_here).take(usize::from(MOST)).collect();
        own.reverse();
        own
    }

    /// The first port of a block that is free and of which no port is in use.
    fn find(&mut self, number: u16, size: u16, random: u64) -> Option<u16> {
        self.ready(number);
        let sets = self.slots.get(usize::from(number))?.sets.as_deref()?;
        let is_free = |ports: &RangeInclusive<u16>| sets.ports.iter().all(|set| set.is_untouched(ports));
        Some(*sets.blocks.as_ref()?.find(size, random, is_free)?.start())
    }

    fn give(&mut self, block: &Block, tell: &mut impl FnMut(BlockEvent)) -> bool {
        let (now, worker) = (self.now, self.worker);
        let mut given = self.try_to_give(block);
        // Another block may go instead.
        if given.is_none() && self.take_back_early(block.number, tell).is_some() {
            given = self.try_to_give(block);
        }
        if given.is_some() {
            if let Some(slot) = self.slots.get(usize::from(block.number)) {
                slot.count(worker, BLOCKS, |used| used.increment());
            }
            tell(BlockEvent { at: now, given: true, block: *block });
        }
        given.is_some()
    }

    fn try_to_give(&mut self, block: &Block) -> Option<()> {
        let map =
            self.slots.get_mut(usize::from(block.number))?.sets.as_deref_mut()?.blocks.as_deref_mut()?;
        let id = self.blocks.give(*block, self.now, &mut map.empty)?;
        map.give(block, id);
        Some(())
    }

    /// Takes the block of an address back that has been empty for longest.
    fn take_back_early(&mut self, number: u16, tell: &mut impl FnMut(BlockEvent)) -> Option<()> {
        let map = self.slots.get(usize::from(number))?.sets.as_deref()?.blocks.as_deref()?;
        let (id, _) = self.blocks.longest_empty(&map.empty)?;
        self.take_back(number, id, tell)
    }

    fn take_back(&mut self, number: u16, id: BlockId, tell: &mut impl FnMut(BlockEvent)) -> Option<()> {
        let slot = self.slots.get_mut(usize::from(number))?;
        let map = slot.sets.as_deref_mut()?.blocks.as_deref_mut()?;
        let block = self.blocks.take_back(id, &mut map.empty)?;
        map.take_back(&block, id);
        slot.count(self.worker, BLOCKS, |used| used.subtract(1));
        tell(BlockEvent { at: self.now, given: false, block });
        Some(())
    }

    /// Takes blocks back that have been empty for as long as their pools say: at most so many, and tells of each.
    pub fn take_back_idle(&mut self, local: &LocalAddresses, most: usize, tell: &mut impl FnMut(BlockEvent)) {
        let mut left = most;
        while left > 0
            && let Some((id, _)) = self.blocks.longest_empty(&self.orphans)
            && let Some(block) = self.blocks.take_back(id, &mut self.orphans)
        {
            left -= 1;
            if let Some(slot) = self.slots.get(usize::from(block.number)) {
                slot.count(self.worker, BLOCKS, |used| used.subtract(1));
            }
            tell(BlockEvent { at: self.now, given: false, block });
        }
        for _ in 0..self.slots.len().min(LOOK) {
            let number = self.cursor;
            while let Some(id) = self.idle(local, number) {
                if left == 0 {
                    return;
                }
                left -= 1;
                self.take_back(number, id, tell);
            }
            let next = number.wrapping_add(1);
            self.cursor = if usize::from(next) < self.slots.len() { next } else { 0 };
        }
    }

    /// A block of an address that has been empty for long enough.
    fn idle(&self, local: &LocalAddresses, number: u16) -> Option<BlockId> {
        let map = self.slots.get(usize::from(number))?.sets.as_deref()?.blocks.as_deref()?;
        let (id, since) = self.blocks.longest_empty(&map.empty)?;
        let idle = local.get(number).map_or(0, |local| match local.behavior.sharing {
            Sharing::Blocks(rules) if !local.retired => rules.idle,
            _ => 0,
        });
        since.after(idle).has_come(self.now).then_some(id)
    }
}

#[cfg(test)]
mod tests;

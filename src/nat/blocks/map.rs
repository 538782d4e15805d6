//! The blocks of one address, by the units that they are made of.

use super::{Block, BlockId, Empty, REGION, UNIT};
use std::ops::RangeInclusive;

/// Units of all ports.
const UNITS: usize = 1024;

/// Which blocks of an address are given to whom, and which a worker may give.
#[derive(Clone, Debug)]
pub struct BlockMap {
    /// By unit, number + 1 of the block.
    blocks: Box<[u32; UNITS]>,
    given: [u64; UNITS / 64],
    /// Units that may be given.
    ours: [u64; UNITS / 64],
    /// How many of them are not.
    free: u16,
    /// Those of them that nobody uses a port of.
    pub empty: Empty,
}

impl BlockMap {
    /// Memory of a map, in bytes.
    pub const BYTES: usize = size_of::<BlockMap>() + size_of::<[u32; UNITS]>();

    /// Nothing is given; the ports that `ours` accepts may be.
    pub fn new(ports: &RangeInclusive<u16>, ours: impl Fn(u16) -> bool) -> BlockMap {
        let mut map = BlockMap {
            blocks: Box::new([0; UNITS]),
            given: Default::default(),
            ours: Default::default(),
            free: 0,
            empty: Empty::default(),
        };
        for (unit, first) in (0..UNITS).zip((0..=u16::MAX).step_by(usize::from(UNIT))) {
            let last = first | (UNIT - 1);
            if ports.contains(&first) && ports.contains(&last) && ours(first) {
                map.ours[unit / 64] |= 1 << (unit % 64);
                map.free += 1;
            }
        }
        map
    }

    /// The block that a port is in.
    pub fn at(&self, port: u16) -> Option<BlockId> {
        let number = self.blocks.get(usize::from(port / UNIT))?.checked_sub(1)?;
        Some(BlockId(number))
    }

    /// The ports of a free block of this size, the next one from where `random` says, of which `is_free` holds.
    pub fn find(
        &self,
        size: u16,
        random: u64,
        is_free: impl Fn(&RangeInclusive<u16>) -> bool,
    ) -> Option<RangeInclusive<u16>> {
        let units = (size / UNIT).clamp(1, REGION / UNIT);
        if self.free < units {
            return None;
        }
        let [turn, bit, ..] = random.to_be_bytes();
        let words = self.given.len();
        let start = usize::from(turn) % words;
        for word in (start..words).chain(0..start) {
            let mut free = self.ours[word] & !self.given[word];
            // A bit stays if all those of its block are set, and only the first of a block.
            for step in 0..units.ilog2() {
                free &= free >> (1 << step);
            }
            free &= u64::MAX / ((1u64 << units) - 1);
            let mut rest = free.rotate_right(u32::from(bit & 63));
            while rest != 0 {
                let place = (rest.trailing_zeros() + u32::from(bit & 63)) & 63;
                rest &= rest - 1;
                let unit = u16::try_from(word << 6).ok()? | u16::try_from(place).ok()?;
                let ports = unit * UNIT..=unit * UNIT + (size - 1);
                if is_free(&ports) {
                    return Some(ports);
                }
            }
        }
        None
    }

    /// Notes who has a block.
    pub fn give(&mut self, block: &Block, BlockId(at): BlockId) {
        for unit in block.units() {
            self.given[unit / 64] |= 1 << (unit % 64);
            self.blocks[unit] = at + 1;
        }
        self.count();
    }

    /// Notes that nobody has a block any more, if that is what is known of it.
    pub fn take_back(&mut self, block: &Block, BlockId(at): BlockId) {
        for unit in block.units() {
            if self.blocks[unit] == at + 1 {
                self.given[unit / 64] &= !(1 << (unit % 64));
                self.blocks[unit] = 0;
            }
        }
        self.count();
    }

    fn count(&mut self) {
        let free = self.ours.iter().zip(&self.given).map(|(ours, given)| (ours & !given).count_ones());
        self.free = u16::try_from(free.sum::<u32>()).unwrap_or(0);
    }

    /// Takes over what is given by a map that this one replaces.
    pub fn inherit(&mut self, old: &BlockMap) {
        self.blocks.copy_from_slice(&old.blocks[..]);
        (self.given, self.empty) = (old.given, old.empty);
        self.count();
    }

    /// From now on nothing is given; what is given can be given back.
    pub fn close(&mut self) {
        self.ours = Default::default();
        self.free = 0;
    }

    /// Every block that is given, once.
    pub fn all(&self) -> impl Iterator<Item = BlockId> {
        let any = self.given.iter().any(|word| *word != 0);
        let units = if any { &self.blocks[..] } else { &[] };
        let mut last = 0;
        units.iter().filter_map(move |number| {
            let new = *number != std::mem::replace(&mut last, *number);
            number.checked_sub(1).filter(|_| new).map(BlockId)
        })
    }
}

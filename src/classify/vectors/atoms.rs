//! Address to atom. Addresses that are in the same sets are of one atom, a small number.
//!
//! A trie of cache lines. The first 16 bits of an address choose one of 65,536 places, which name the atom itself if all
//! addresses behind are of one. Behind others there is a *leaf*: a line that holds up to eight borders between atoms; or, if there
//! are more, a *block*: a line with a place for each value of the next four bits. So an address costs two lines as a rule, and
//! five in a /24 that is full of hosts. Each leaf has a border and each block nine, so that a border takes 93 bytes at most.

use crate::memory::Slab;
use std::net::Ipv4Addr;
use wide::u16x8;

/// A place: an atom, a leaf ([`LEAF`] and its number), or a block ([`BLOCK`] and its number).
type Place = u32;
const BLOCK: Place = 1 << 31;
const LEAF: Place = 1 << 30;

/// Borders in a leaf: as many as one instruction compares.
const BORDERS: usize = 8;

/// Which atom an address is of.
#[derive(Debug)]
pub(in crate::classify) struct Atoms {
    /// By the first 16 bits.
    top: Box<[Place]>,
    blocks: Slab<Block>,
    leaves: Slab<Leaf>,
}

#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Block([Place; 16]);

#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Leaf {
    /// The last 16 bits of the last address of each range but the last one; 0xffff where there are fewer.
    lasts: [u16; BORDERS],
    /// The atom of each range.
    atoms: [u32; BORDERS + 1],
}

const _: () = assert!(size_of::<Leaf>() == 64 && size_of::<Block>() == 64);

/// The first address of a range, and the atom of its addresses.
pub(super) type Start = (u32, u32);

impl Atoms {
    /// From ranges that cover all addresses, ascending, atoms below 2^30.
    pub(super) fn new(starts: &[Start]) -> Atoms {
        let mut builder = Builder::default();
        let top =
            (0..=u32::from(u16::MAX)).map(|high| builder.place(within(starts, high << 16, 16), 16)).collect();
        let Builder { blocks, leaves } = builder;
        Atoms {
            top,
            blocks: Slab::from_fn(blocks.len(), |at| blocks[at].clone()),
            leaves: Slab::from_fn(leaves.len(), |at| leaves[at].clone()),
        }
    }

    /// The atom of an address.
    #[inline(always)]
    pub(in crate::classify) fn find(&self, address: Ipv4Addr) -> usize {
        let address = address.to_bits();
        let mut place = self.top.get((address >> 16) as usize).copied().unwrap_or(0);
        for shift in [12, 8, 4, 0] {
            if place & BLOCK == 0 {
                break;
            }
            let block = self.blocks.get((place & !BLOCK) as usize);
            place = block.map_or(0, |block| block.0[(address >> shift & 15) as usize]);
        }
        if place & LEAF != 0 {
            let leaf = self.leaves.get((place & !LEAF) as usize);
            place = leaf.map_or(0, |leaf| leaf.find(address));
        }
        place as usize
    }

    /// Bytes of memory.
    pub(in crate::classify) fn bytes(&self) -> usize {
        size_of_val(&*self.top) + size_of_val(&*self.blocks) + size_of_val(&*self.leaves)
    }
}

impl Leaf {
    #[inline(always)]
    fn find(&self, address: u32) -> u32 {
        let [_, _, high, low] = address.to_be_bytes();
        let address = u16::from_be_bytes([high, low]);
        // They ascend, so those that the address lies behind come first.
        let behind = u16x8::new(self.lasts).simd_lt(u16x8::splat(address)).to_bitmask();
        self.atoms[behind.trailing_ones() as usize]
    }
}

/// The ranges that have addresses among the `1 << bits` from `first` on; the first of them may begin before.
fn within(starts: &[Start], first: u32, bits: u32) -> &[Start] {
    let last = first | ((1 << bits) - 1);
    let end = starts.partition_point(|start| start.0 <= last);
    let begin = starts.partition_point(|start| start.0 <= first).saturating_sub(1);
    &starts[begin..end]
}

#[derive(Default)]
struct Builder {
    blocks: Vec<Block>,
    leaves: Vec<Leaf>,
}

impl Builder {
    /// The place of `1 << bits` addresses, which these ranges cover.
    fn place(&mut self, starts: &[Start], bits: u32) -> Place {
        match starts {
            [] => 0,
            [(_, atom)] => *atom,
            _ if starts.len() <= BORDERS + 1 => self.leaf(starts),
            [_, (second, _), ..] => {
                let bits = bits.saturating_sub(4);
                // The block's first address: the second range begins in the block.
                let base = *second & !((16 << bits) - 1);
                let at = self.blocks.len();
                self.blocks.push(Block([0; 16]));
                for (child, first) in (0..16).map(|child| base | child << bits).enumerate() {
                    let place = self.place(within(starts, first, bits), bits);
                    self.blocks[at].0[child] = place;
                }
                BLOCK | number(at)
            }
        }
    }

    fn leaf(&mut self, starts: &[Start]) -> Place {
        let mut leaf = Leaf { lasts: [u16::MAX; BORDERS], atoms: [0; BORDERS + 1] };
        for (to, (_, atom)) in leaf.atoms.iter_mut().zip(starts) {
            *to = *atom;
        }
        for (to, (next, _)) in leaf.lasts.iter_mut().zip(starts.iter().skip(1)) {
            let [_, _, high, low] = (next - 1).to_be_bytes();
            *to = u16::from_be_bytes([high, low]);
        }
        self.leaves.push(leaf);
        LEAF | number(self.leaves.len() - 1)
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

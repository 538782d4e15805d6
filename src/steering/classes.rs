//! The ports of an address by class: what a port adds to the index of the RETA entry that its packets select.
//!
//! The index is the lowest bits of a Toeplitz hash, so it is the exclusive or of what the port adds, its *class*, and of
//! what the rest of the packet adds. Of the 2^16 ports each of the 2^bits classes has equally many. Whoever wants packets
//! to select a certain entry takes a port of the class `rest ^ entry`: no search, whatever key and table are.
//!
//! The class is a linear function of the port's 16 bits. [`Classes`] completes it to one that is one-to-one: a port's
//! *place*, whose upper bits are the class. Sorted by place, the ports of a class stand side by side, so that a bitmap in
//! this order finds a free port of a class in a few words. Both ways take two loads.

use super::toeplitz::Toeplitz;

/// The most bits of an index: 512 entries, so that a class has at least 128 ports.
pub const MAX_BITS: u32 = 9;

/// The most classes.
pub const MAX_CLASSES: usize = 1 << MAX_BITS;

/// How ports fall into classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    bits: u32,
    /// The place of a port: the sum of what its upper and its lower byte add.
    places: [[u16; 256]; 2],
    /// The port at a place, in the same way.
    ports: [[u16; 256]; 2],
}

impl Classes {
    /// The classes that the destination port has under a key, for an index of so many bits (at most [`MAX_BITS`]).
    /// `None` if some class has no ports: then no choice of a port reaches every entry.
    pub fn of_key(key: &Toeplitz, bits: u32) -> Option<Classes> {
        let mask = low_mask(bits);
        Classes::new(bits, std::array::from_fn(|bit| key.destination_port(1 << bit) & mask))
    }

    /// The class of a port is its lowest bits, as a rule of a NIC can match them.
    pub fn of_low_bits(bits: u32) -> Option<Classes> {
        let mask = low_mask(bits);
        Classes::new(bits, std::array::from_fn(|bit| (1 << bit) & mask))
    }

    /// All ports are of one class, and each is its own place.
    pub fn one() -> Classes {
        let places = [
            std::array::from_fn(|byte| u16::try_from(byte << 8).unwrap_or(0)),
            std::array::from_fn(|byte| u16::try_from(byte).unwrap_or(0)),
        ];
        Classes { bits: 0, ports: places, places }
    }

    /// `class[n]` is what bit `n` of a port adds to its class.
    fn new(bits: u32, class: [u16; 16]) -> Option<Classes> {
        if bits > MAX_BITS {
            return None;
        }
        // Elimination: bits of the port whose classes are independent determine the class, and the others tell the ports
        // of a class apart.
        let mut reduced: Vec<u16> = Vec::new();
        let mut others = Vec::new();
        for (bit, class) in class.into_iter().enumerate() {
            let rest = reduced.iter().fold(class, |rest, row| rest.min(rest ^ row));
            if rest == 0 {
                others.push(bit);
            } else {
                reduced.push(rest);
            }
        }
        if reduced.len() != bits as usize {
            return None;
        }
        let place = |port: u16| {
            let set = |bit: usize| port >> bit & 1;
            let class = (0..16).fold(0, |sum, bit| sum ^ (class[bit] * set(bit)));
            let rank = others.iter().rev().fold(0, |rank, bit| rank << 1 | set(*bit));
            // With 0 bits there is no class to shift.
            u32::from(class) << (16 - bits) | u32::from(rank)
        };
        let place = |port| u16::try_from(place(port)).unwrap_or(0);
        let mut inverse = vec![0u16; 1 << 16];
        for port in 0..=u16::MAX {
            inverse[usize::from(place(port))] = port;
        }
        let upper = |byte: usize| u16::try_from(byte << 8).unwrap_or(0);
        let lower = |byte: usize| u16::try_from(byte).unwrap_or(0);
        Some(Classes {
            bits,
            places: [
                std::array::from_fn(|byte| place(upper(byte))),
                std::array::from_fn(|byte| place(lower(byte))),
            ],
            ports: [
                std::array::from_fn(|byte| inverse[byte << 8]),
                std::array::from_fn(|byte| inverse[byte]),
            ],
        })
    }

    /// Whether as many ports in a row as there are classes, from a multiple of that on, are one of each: a small range of
    /// ports then has some of every class.
    pub fn are_even(&self) -> bool {
        let mut seen = ClassSet::default();
        let count = 1 << self.bits;
        (0..count).for_each(|port| seen.insert(self.class(port)));
        (0..count).all(|class| seen.contains(class))
    }

    /// Bits of an index.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The class of a port.
    #[inline]
    pub fn class(&self, port: u16) -> u16 {
        class_of(self.place(port), self.bits)
    }

    /// The place of a port.
    #[inline]
    pub fn place(&self, port: u16) -> u16 {
        let [upper, lower] = port.to_be_bytes();
        self.places[0][usize::from(upper)] ^ self.places[1][usize::from(lower)]
    }

    /// The port at a place.
    #[inline]
    pub fn port(&self, place: u16) -> u16 {
        let [upper, lower] = place.to_be_bytes();
        self.ports[0][usize::from(upper)] ^ self.ports[1][usize::from(lower)]
    }
}

/// The class of the port at a place, for an index of so many bits.
#[inline]
pub fn class_of(place: u16, bits: u32) -> u16 {
    // All 16 bits go when there is one class.
    place.checked_shr(16 - bits).unwrap_or(0)
}

/// A mask of the lowest bits; at most 15 of them.
#[inline]
pub fn low_mask(bits: u32) -> u16 {
    (1 << bits) - 1
}

/// A set of classes, or of entries of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassSet([u64; MAX_CLASSES / 64]);

impl ClassSet {
    /// Adds one, below [`MAX_CLASSES`].
    pub fn insert(&mut self, class: u16) {
        self.0[usize::from(class >> 6)] |= 1 << (class & 63);
    }

    /// Takes one out.
    pub fn remove(&mut self, class: u16) {
        self.0[usize::from(class >> 6)] &= !(1 << (class & 63));
    }

    /// Whether it is there.
    #[inline]
    pub fn contains(&self, class: u16) -> bool {
        self.0.get(usize::from(class >> 6)).is_some_and(|word| word >> (class & 63) & 1 == 1)
    }

    /// The classes `entry ^ rest` of all entries in this set, as far as they are in `among` too. `rest` has as many bits
    /// as classes have.
    #[inline]
    pub fn shifted(&self, rest: u16, among: &ClassSet) -> ClassSet {
        let mut shifted = [0; MAX_CLASSES / 64];
        for (at, (word, among)) in shifted.iter_mut().zip(&among.0).enumerate() {
            if *among != 0 {
                let from = at ^ usize::from(rest >> 6);
                *word = exchange(self.0.get(from).copied().unwrap_or(0), rest) & among;
            }
        }
        ClassSet(shifted)
    }

    /// The first that is in the set, from `start` on, and around.
    #[inline]
    pub fn next(&self, start: u16) -> Option<u16> {
        let (word, bit) = (usize::from(start >> 6) % self.0.len(), start & 63);
        let first = self.0[word] & (u64::MAX << bit);
        if first != 0 {
            return class_at(word, first);
        }
        // The word of the start comes last, for what lies before it.
        (1..=self.0.len()).map(|step| (word + step) % self.0.len()).find_map(|at| class_at(at, self.0[at]))
    }
}

#[inline]
fn class_at(word: usize, bits: u64) -> Option<u16> {
    if bits == 0 {
        return None;
    }
    u16::try_from(word << 6 | bits.trailing_zeros() as usize).ok()
}

/// Moves bit `n` to `n ^ by`, for the lowest six bits of `by`.
#[inline]
fn exchange(mut word: u64, by: u16) -> u64 {
    const EVEN: [u64; 6] = [
        0x5555_5555_5555_5555,
        0x3333_3333_3333_3333,
        0x0f0f_0f0f_0f0f_0f0f,
        0x00ff_00ff_00ff_00ff,
        0x0000_ffff_0000_ffff,
        0x0000_0000_ffff_ffff,
    ];
    for (step, even) in EVEN.into_iter().enumerate() {
        if by >> step & 1 == 1 {
            word = (word & even) << (1 << step) | (word >> (1 << step)) & even;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::toeplitz::Key;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_port_has_one_place_and_its_class_is_what_it_adds_to_the_index(key: Key, bits in 0u32..=MAX_BITS) {
            let key = Toeplitz::new(key);
            let Some(classes) = Classes::of_key(&key, bits) else { return Ok(()) };
            let mut seen = vec![false; 1 << 16];
            for port in 0..=u16::MAX {
                let place = classes.place(port);
                prop_assert!(!std::mem::replace(&mut seen[usize::from(place)], true));
                prop_assert_eq!(classes.port(place), port);
                prop_assert_eq!(classes.class(port), key.destination_port(port) & low_mask(bits));
            }
        }

        #[test]
        fn shifted_sets_hold_what_they_say(
            entries in proptest::collection::vec(0u16..512, 0..64),
            among in proptest::collection::vec(0u16..512, 0..256),
            rest in 0u16..512,
            start in 0u16..512,
        ) {
            let set = |list: &[u16]| {
                let mut set = ClassSet::default();
                list.iter().for_each(|class| set.insert(*class));
                set
            };
            let (mine, free) = (set(&entries), set(&among));
            let shifted = mine.shifted(rest, &free);
            for class in 0..512 {
                prop_assert_eq!(shifted.contains(class), mine.contains(class ^ rest) && free.contains(class));
            }
            let expected = (start..512).chain(0..start).find(|class| shifted.contains(*class));
            prop_assert_eq!(shifted.next(start), expected);
        }
    }

    #[test]
    fn a_key_that_reaches_only_some_entries_is_no_use() {
        assert!(Classes::of_key(&Toeplitz::new([0; 16]), 7).is_none());
        assert!(Classes::of_key(&Toeplitz::new([0; 16]), 0).is_some(), "there is only one");
    }

    #[test]
    fn by_low_bits_a_class_is_in_order() {
        let classes = Classes::of_low_bits(2).unwrap();
        let third: Vec<u16> = (0..4).map(|rank| classes.port(3 << 14 | rank)).collect();
        assert_eq!(third, [3, 7, 11, 15]);
    }
}

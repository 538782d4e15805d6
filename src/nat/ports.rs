//! The free external ports of one address and protocol that one worker owns.
//!
//! A bitmap of all 65,536 ports under two levels of summary: finding the next free port at or after any other
//! touches at most five words, however full the set is, and never misses a free one. Probing at random, as most
//! NATs do, fails before the pool is empty.
//!
//! The port after the flow's own is chosen at a random place, because a port that can be guessed lets a
//! stranger inject packets (RFC 6056, RFC 4787 section 11). Ports below 1024 go to flows from such ports and
//! others to others while there are any (RFC 4787 REQ-3a). ICMP query identifiers use the same set.

use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeInclusive;

/// First port that is not a well-known one.
const REGISTERED: u16 = 1024;

/// Free ports; 16 KiB each.
#[derive(Debug)]
pub struct PortSet {
    free: Box<[u64; 1024]>,
    usable: Box<[u64; 1024]>,
    /// One bit for each word of `free` that is not zero.
    words: [u64; 16],
    /// One bit for each word of `words` that is not zero.
    top: u16,
    free_count: u32,
    capacity: u32,
    /// From the first usable port to the last, below 1024 and from there on. A random place is looked for in
    /// there: outside of it every start would lead to the same port.
    low: Option<RangeInclusive<u16>>,
    high: Option<RangeInclusive<u16>>,
}

impl PortSet {
    /// Memory of a set.
    pub const BYTES: usize = size_of::<PortSet>() + 2 * size_of::<[u64; 1024]>();

    /// A set in which the ports that `usable` accepts are free.
    pub fn new(usable: impl Fn(u16) -> bool) -> Self {
        let mut set = PortSet {
            free: Box::new([0; 1024]),
            usable: Box::new([0; 1024]),
            words: [0; 16],
            top: 0,
            free_count: 0,
            capacity: 0,
            low: None,
            high: None,
        };
        for port in (0..=u16::MAX).filter(|port| usable(*port)) {
            let (word, bit) = place(port);
            set.usable[word] |= bit;
            set.capacity += 1;
            set.put(port);
            let span = if port < REGISTERED { &mut set.low } else { &mut set.high };
            let first = span.as_ref().map_or(port, |span| *span.start());
            *span = Some(first..=port);
        }
        set
    }

    /// Takes a port out: `preferred` if it is free, else one at the place that `random` says, of the same class
    /// (below 1024 or not) if there is any, else of the other. `None` only when no port is free at all.
    pub fn allocate(&mut self, preferred: u16, random: u64) -> Option<u16> {
        let port = if self.is_free(preferred) {
            preferred
        } else if preferred < REGISTERED {
            self.pick(self.low.clone(), random).or_else(|| self.pick(self.high.clone(), random))?
        } else {
            self.pick(self.high.clone(), random).or_else(|| self.pick(self.low.clone(), random))?
        };
        self.take(port);
        Some(port)
    }

    /// Gives a port back. False, and no change, if it was not taken or does not belong to the set.
    pub fn release(&mut self, port: u16) -> bool {
        let (word, bit) = place(port);
        let taken = self.usable[word] & bit != 0 && self.free[word] & bit == 0;
        if taken {
            self.put(port);
        }
        taken
    }

    /// Whether the port can be had.
    #[inline]
    pub fn is_free(&self, port: u16) -> bool {
        let (word, bit) = place(port);
        self.free[word] & bit != 0
    }

    /// How many ports are free.
    pub fn free(&self) -> u32 {
        self.free_count
    }

    /// How many ports there are, free or not.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The free port at a random place of the span, or the next one after it, once around.
    fn pick(&self, span: Option<RangeInclusive<u16>>, random: u64) -> Option<u16> {
        let (first, last) = span?.into_inner();
        let offset = random % (u64::from(last - first) + 1);
        let start = first + u16::try_from(offset).unwrap_or(0);
        self.next_free(start).filter(|port| *port <= last).or_else(|| {
            // Nothing from `start` on, so whatever comes first from the beginning lies before it.
            self.next_free(first).filter(|port| *port < start)
        })
    }

    /// The first free port at or after `from`.
    #[inline]
    fn next_free(&self, from: u16) -> Option<u16> {
        let word = from >> 6;
        let here = self.free[usize::from(word)] & (u64::MAX << (from & 63));
        if here != 0 {
            return Some(word << 6 | lowest(here));
        }
        let group = word >> 6;
        let words = self.words[usize::from(group)] & above(word & 63);
        let word = if words != 0 {
            group << 6 | lowest(words)
        } else {
            let groups = u64::from(self.top) & above(group);
            if groups == 0 {
                return None;
            }
            // `top` has 16 bits.
            let group = lowest(groups) & 15;
            group << 6 | lowest(self.words[usize::from(group)])
        };
        Some(word << 6 | lowest(*self.free.get(usize::from(word))?))
    }

    fn take(&mut self, port: u16) {
        let (word, bit) = place(port);
        self.free[word] &= !bit;
        self.free_count -= 1;
        if self.free[word] == 0 {
            self.words[word >> 6] &= !(1 << (word & 63));
            if self.words[word >> 6] == 0 {
                self.top &= !(1 << (word >> 6));
            }
        }
    }

    fn put(&mut self, port: u16) {
        let (word, bit) = place(port);
        self.free[word] |= bit;
        self.free_count += 1;
        self.words[word >> 6] |= 1 << (word & 63);
        self.top |= 1 << (word >> 6);
    }
}

/// The word that holds a port's bit (at most 1023), and the bit.
#[inline]
fn place(port: u16) -> (usize, u64) {
    (usize::from(port >> 6), 1 << (port & 63))
}

/// The bits above bit `n` (0 to 63).
#[inline]
fn above(n: u16) -> u64 {
    (u64::MAX << n) << 1
}

/// The number of the lowest bit that is set; `bits` is not 0.
#[inline]
fn lowest(bits: u64) -> u16 {
    u16::try_from(bits.trailing_zeros()).unwrap_or(0) & 63
}

/// A worker's source of numbers that nobody can predict from those he has seen.
///
/// SipHash of a secret and a counter: some dozens of cycles, needed once a session. A subscriber sees the ports
/// that he is given; a plain shift-register generator would tell him everybody else's next ones.
pub struct Rng {
    secret: [u64; 2],
    counter: u64,
}

impl Rng {
    /// A generator with a secret of the operating system.
    ///
    /// # Errors
    /// When the operating system has no random numbers to give.
    pub fn from_os() -> Result<Rng, getrandom::Error> {
        Ok(Rng { secret: [getrandom::u64()?, getrandom::u64()?], counter: 0 })
    }

    /// A generator that gives the same numbers for the same seed, for tests and simulations.
    pub fn seeded(seed: u64) -> Rng {
        Rng { secret: [seed, 0], counter: 0 }
    }

    /// The next number.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "endless: an Option would have to be unwrapped")]
    pub fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.secret[0]);
        hasher.write_u64(self.secret[1]);
        hasher.write_u64(self.counter);
        hasher.finish()
    }
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_preferred_port_is_kept_when_it_is_free() {
        let mut set = PortSet::new(|port| port >= 1024);
        assert_eq!(set.allocate(40_000, 7), Some(40_000));
        let other = set.allocate(40_000, 7).unwrap();
        assert_ne!(other, 40_000);
        assert!(set.release(40_000));
        assert_eq!(set.allocate(40_000, 7), Some(40_000));
    }

    #[test]
    fn allocation_never_fails_while_a_port_is_free_and_never_gives_one_twice() {
        let mut rng = Rng::seeded(1);
        let mut set = PortSet::new(|port| port >= 1024 && port % 3 == 1);
        let capacity = set.capacity();
        let mut seen = BTreeSet::new();
        for _ in 0..capacity {
            assert!(seen.insert(set.allocate(5000, rng.next()).unwrap()));
        }
        assert_eq!((set.free(), set.allocate(5000, 3)), (0, None));
        assert!(seen.iter().all(|port| *port >= 1024 && port % 3 == 1));
        for port in &seen {
            assert!(set.release(*port));
        }
        assert_eq!(set.free(), capacity);
    }

    #[test]
    fn the_only_free_port_is_found_from_every_start() {
        for hole in [0u16, 1, 63, 64, 1023, 1024, 4095, 4096, 32_768, 65_535] {
            let mut set = PortSet::new(|_| true);
            for port in (0..=u16::MAX).filter(|port| *port != hole) {
                assert_eq!(set.allocate(port, 0), Some(port));
            }
            for random in [0, 1, 63, 64, 4095, 4096, 64_511, 65_535, u64::MAX] {
                let busy = if hole == 9 { 10 } else { 9 };
                assert_eq!(set.allocate(busy, random), Some(hole));
                assert!(set.release(hole));
            }
        }
    }

    #[test]
    fn well_known_ports_go_to_well_known_ports_until_there_are_none() {
        let mut set = PortSet::new(|port| (1000..1030).contains(&port));
        let mut rng = Rng::seeded(2);
        for _ in 0..6 {
            assert!(set.allocate(40_000, rng.next()).unwrap() >= 1024);
        }
        for _ in 0..24 {
            assert!(set.allocate(500, rng.next()).unwrap() < 1024);
        }
        assert_eq!(set.free(), 0);
        assert!(set.release(1001));
        assert_eq!(
            set.allocate(40_000, rng.next()),
            Some(1001),
            "of the other class when its own is used up"
        );
    }

    #[test]
    fn a_port_that_was_not_taken_is_not_released() {
        let mut set = PortSet::new(|port| port >= 1024);
        assert!(!set.release(80), "not in the set");
        assert!(!set.release(2000), "not taken");
        assert_eq!(set.allocate(2000, 0), Some(2000));
        assert!(set.release(2000));
        assert!(!set.release(2000), "twice");
        assert_eq!(set.free(), set.capacity());
    }

    #[test]
    fn a_random_place_is_within_the_usable_ports_so_that_a_block_is_not_filled_in_order() {
        let mut rng = Rng::seeded(3);
        let mut set = PortSet::new(|port| (30_000..30_512).contains(&port));
        let ports: Vec<u16> = (0..64).map(|_| set.allocate(5000, rng.next()).unwrap()).collect();
        let in_order = ports.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
        assert!(in_order < 8, "{in_order} of 64 follow their predecessor");
    }

    #[test]
    fn an_empty_set_gives_nothing() {
        let mut set = PortSet::new(|_| false);
        assert_eq!((set.capacity(), set.allocate(1, 1), set.release(1)), (0, None, false));
    }

    #[test]
    fn the_set_agrees_with_a_tree_of_ports_under_random_use() {
        let mut rng = Rng::seeded(4);
        let usable = |port: u16| port % 7 < 3 && port > 900;
        let mut set = PortSet::new(usable);
        let mut free: BTreeSet<u16> = (0..=u16::MAX).filter(|port| usable(*port)).collect();
        let mut taken = Vec::new();
        for _ in 0..200_000 {
            let number = rng.next();
            if number & 3 != 0 || taken.is_empty() {
                let preferred = u16::try_from(number >> 48).unwrap();
                match set.allocate(preferred, rng.next()) {
                    Some(port) => {
                        assert!(free.remove(&port));
                        assert!(port == preferred || !free.contains(&preferred));
                        taken.push(port);
                    }
                    None => assert!(free.is_empty()),
                }
            } else {
                let index = usize::try_from(number >> 8).unwrap() % taken.len();
                let port = taken.swap_remove(index);
                assert!(set.release(port));
                free.insert(port);
            }
            assert_eq!(set.free() as usize, free.len());
        }
    }
}

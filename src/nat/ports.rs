//! The free external ports of one address and protocol that one worker may give out.
//!
//! A bitmap of all 65,536 ports under two levels of summary: finding a free port of a class touches a handful of words,
//! however full the set is, and never misses one. Probing at random, as most NATs do, fails before the pool is empty.
//!
//! The bits stand in the order of the ports' places ([`Classes`]), so that the ports with which replies come to this
//! worker, which depend on where the flow goes, are a few stretches of the bitmap.
//!
//! The port is chosen at a random place, because a port that can be guessed lets a stranger inject packets (RFC 6056,
//! RFC 4787 section 11). Ports below 1024 go to flows from such ports and others to others while there are any
//! (RFC 4787 REQ-3a). ICMP query identifiers use the same set.

use crate::steering::classes::{ClassSet, Classes, class_of};
use std::hash::{DefaultHasher, Hasher};

/// First port that is not a well-known one.
pub const REGISTERED: u16 = 1024;

/// Which ports a flow may be given: those that bring its replies to this worker.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How ports fall into classes.
    pub classes: &'a Classes,
    /// The entries of the steering table that are the worker's.
    pub entries: &'a ClassSet,
    /// What the rest of a reply adds to the index of its entry.
    pub rest: u16,
}

impl Wanted<'_> {
    /// Whether replies to this port come to the worker, whoever has it.
    #[inline]
    pub fn includes(&self, port: u16) -> bool {
        self.entries.contains(self.classes.class(port) ^ self.rest)
    }
}

/// The ports of one address and protocol.
#[derive(Clone, Debug)]
pub struct PortSet {
    /// From 1024 on.
    high: Half,
    /// Below; `None` if none of them may be used.
    low: Option<Box<Half>>,
    free_count: u32,
    capacity: u32,
}

impl PortSet {
    /// Memory of a set without and with well-known ports, in bytes.
    pub const BYTES: usize = size_of::<PortSet>() + Half::HEAP;
    /// Words of 64 places that the ports stand in.
    pub const WORDS: u16 = 1 << WORD_BITS;
    /// See [`PortSet::BYTES`].
    pub const BYTES_WITH_LOW: usize = PortSet::BYTES + size_of::<Half>() + Half::HEAP;

    /// A set in which the ports that `usable` accepts are free.
    pub fn new(classes: &Classes, usable: impl Fn(u16) -> bool) -> Self {
        let mut set = PortSet { high: Half::new(classes.bits()), low: None, free_count: 0, capacity: 0 };
        for port in (0..=u16::MAX).filter(|port| usable(*port)) {
            set.capacity += 1;
            let half = match &mut set.low {
                _ if port >= REGISTERED => &mut set.high,
                low => low.get_or_insert_with(|| Box::new(Half::new(classes.bits()))),
            };
            half.add(classes.place(port));
        }
        set.free_count = set.capacity;
        set
    }

    /// Takes a port that is wanted out: `preferred` if it is free, else one at the place that `random` says, of the same
    /// side of 1024 if there is any, else of the other. `None` only when no port that is wanted is free.
    pub fn allocate(&mut self, wanted: Wanted<'_>, preferred: u16, random: u64) -> Option<u16> {
        let port = if self.is_free(wanted, preferred) {
            preferred
        } else {
            self.pick(wanted, preferred < REGISTERED, random)?
        };
        self.take(wanted.classes, port);
        Some(port)
    }

    /// A free port that is wanted, at the place that `random` says, which is not taken by that: of those below 1024 if `low`
    /// and if there is any, else of the others, and the other way round.
    pub fn pick(&self, wanted: Wanted<'_>, low: bool, random: u64) -> Option<u16> {
        let lower = || self.low.as_ref()?.pick(wanted, random);
        let upper = || self.high.pick(wanted, random);
        let place = if low { lower().or_else(upper) } else { upper().or_else(lower) }?;
        Some(wanted.classes.port(place))
    }

    /// Takes a port, whoever wants it. False, and no change, if it is not free.
    pub fn take(&mut self, classes: &Classes, port: u16) -> bool {
        let place = classes.place(port);
        let Some(half) = self.half(port).filter(|half| half.is_free(place)) else { return false };
        half.take(place);
        self.free_count -= 1;
        true
    }

    /// Becomes a copy of another set of which nothing was taken, without taking memory: both have ports below 1024 or this
    /// one has.
    pub fn reset_to(&mut self, other: &PortSet) {
        self.high.reset_to(&other.high);
        match (&mut self.low, &other.low) {
            (Some(low), Some(other)) => low.reset_to(other),
            (Some(low), None) => low.close(),
            (None, _) => {}
        }
        (self.free_count, self.capacity) = (other.free_count, other.capacity);
    }

    /// The ports of a set that stand at the places of one word, `word` below [`PortSet::WORDS`].
    pub fn ports_of<'s>(&'s self, classes: &'s Classes, word: u16) -> impl Iterator<Item = u16> + 's {
        let halves = [Some(&self.high), self.low.as_deref()];
        halves.into_iter().flatten().flat_map(move |half| {
            let mut usable = half.usable.get(usize::from(word)).copied().unwrap_or(0);
            std::iter::from_fn(move || {
                let bit = (usable != 0).then(|| lowest(usable))?;
                usable &= usable - 1;
                Some(classes.port(word << 6 | bit))
            })
        })
    }

    /// Takes over what is taken of a set that this one replaces, also of ports that are not among its own. Costs a few
    /// thousand instructions and no memory; a part of `old` may move over.
    pub fn inherit(&mut self, old: &mut PortSet) {
        self.high.inherit(&old.high);
        match (&mut self.low, &mut old.low) {
            (Some(low), Some(old)) => low.inherit(old),
            (None, low @ Some(_)) => {
                self.low = low.take();
                self.low.iter_mut().for_each(|low| low.close());
            }
            (_, None) => {}
        }
        self.free_count = self.high.count_free() + self.low.as_ref().map_or(0, |low| low.count_free());
    }

    /// Gives a port back. False, and no change, if it was not taken.
    pub fn release(&mut self, classes: &Classes, port: u16) -> bool {
        let place = classes.place(port);
        let Some(half) = self.half(port) else { return false };
        let given = half.give_back(place);
        let free_again = given && half.is_free(place);
        self.free_count += u32::from(free_again);
        given
    }

    /// Whether the port can be had for this flow.
    #[inline]
    pub fn is_free(&self, wanted: Wanted<'_>, port: u16) -> bool {
        let half = if port >= REGISTERED { Some(&self.high) } else { self.low.as_deref() };
        half.is_some_and(|half| half.is_free(wanted.classes.place(port))) && wanted.includes(port)
    }

    /// How many ports are free, for whatever flow.
    pub fn free(&self) -> u32 {
        self.free_count
    }

    /// How many ports there are, free or not.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    fn half(&mut self, port: u16) -> Option<&mut Half> {
        if port >= REGISTERED { Some(&mut self.high) } else { self.low.as_deref_mut() }
    }
}

/// Words of a bitmap with one bit for each port.
const WORDS: usize = 1 << WORD_BITS;
const WORD_BITS: u32 = 10;

/// The ports on one side of 1024, by place. Free is what is usable and not taken.
#[derive(Clone, Debug)]
struct Half {
    /// Also ports that were usable when they were taken and are not any more.
    taken: Box<[u64; WORDS]>,
    usable: Box<[u64; WORDS]>,
    /// One bit for each word with free ports.
    free_words: [u64; WORDS / 64],
    /// One bit for each word of `usable` that is not zero.
    usable_words: [u64; WORDS / 64],
    /// Classes with free ports.
    free_classes: ClassSet,
    bits: u32,
}

impl Half {
    const HEAP: usize = 2 * size_of::<[u64; WORDS]>();

    fn new(bits: u32) -> Half {
        Half {
            taken: Box::new([0; WORDS]),
            usable: Box::new([0; WORDS]),
            free_words: [0; WORDS / 64],
            usable_words: [0; WORDS / 64],
            free_classes: ClassSet::default(),
            bits,
        }
    }

    fn add(&mut self, place: u16) {
        let (word, bit) = at(place);
        self.usable[word] |= bit;
        self.usable_words[word >> 6] |= 1 << (word & 63);
        self.note_free(place);
    }

    #[inline]
    fn free(&self, word: usize) -> u64 {
        self.usable[word] & !self.taken[word]
    }

    #[inline]
    fn is_free(&self, place: u16) -> bool {
        let (word, bit) = at(place);
        self.free(word) & bit != 0
    }

    fn note_free(&mut self, place: u16) {
        let (word, _) = at(place);
        self.free_words[word >> 6] |= 1 << (word & 63);
        self.free_classes.insert(class_of(place, self.bits));
    }

    fn take(&mut self, place: u16) {
        let (word, bit) = at(place);
        self.taken[word] |= bit;
        if self.free(word) != 0 {
            return;
        }
        self.free_words[word >> 6] &= !(1 << (word & 63));
        let class = class_of(place, self.bits);
        if Stretch::of(class, self.bits).count(&self.free_words) == 0 {
            self.free_classes.remove(class);
        }
    }

    fn reset_to(&mut self, other: &Half) {
        self.taken.copy_from_slice(&other.taken[..]);
        self.usable.copy_from_slice(&other.usable[..]);
        (self.free_words, self.usable_words) = (other.free_words, other.usable_words);
        (self.free_classes, self.bits) = (other.free_classes, other.bits);
    }

    fn give_back(&mut self, place: u16) -> bool {
        let (word, bit) = at(place);
        let taken = self.taken[word] & bit != 0;
        self.taken[word] &= !bit;
        if taken && self.is_free(place) {
            self.note_free(place);
        }
        taken
    }

    /// Takes over what is taken of another one, and finds out what is free then.
    fn inherit(&mut self, old: &Half) {
        self.taken.copy_from_slice(&old.taken[..]);
        self.find_free();
    }

    fn find_free(&mut self) {
        self.free_words = [0; WORDS / 64];
        self.free_classes = ClassSet::default();
        for (word, place) in (0..WORDS).zip((0..=u16::MAX).step_by(64)) {
            let mut free = self.free(word);
            if free == 0 {
                continue;
            }
            // A word holds places of one class, or of several if there are more classes than words.
            let same_class = class_of(place, self.bits) == class_of(place | 63, self.bits);
            while free != 0 {
                self.note_free(place | lowest(free));
                free = if same_class { 0 } else { free & (free - 1) };
            }
        }
    }

    /// From now on nothing is usable; what is taken can be given back.
    fn close(&mut self) {
        self.usable.fill(0);
        self.usable_words = [0; WORDS / 64];
        self.free_words = [0; WORDS / 64];
        self.free_classes = ClassSet::default();
    }

    fn count_free(&self) -> u32 {
        (0..WORDS).map(|word| self.free(word).count_ones()).sum()
    }

    /// A free place of a class that is wanted: a random class, in it a word at random of those with usable ports, or the
    /// next one that has a free one, in it a bit from a random one on.
    fn pick(&self, wanted: Wanted<'_>, random: u64) -> Option<u16> {
        let [class, word, bit, _] = parts(random);
        let candidates = wanted.entries.shifted(wanted.rest, &self.free_classes);
        // The upper bits of the random number, so that it is one of the classes; the next candidate is taken.
        let class = candidates.next(class_of(class, self.bits))?;
        let stretch = Stretch::of(class, self.bits);
        let usable = stretch.count(&self.usable_words);
        let start = stretch.nth(&self.usable_words, scale(word, usable))?;
        let word = stretch.next(&self.free_words, start)?;
        let free = self.free(usize::from(word) & (WORDS - 1));
        let turn = u32::from(bit & 63);
        let bit = (free.rotate_right(turn).trailing_zeros() + turn) & 63;
        Some(word << 6 | u16::try_from(bit).unwrap_or(0))
    }
}

/// The words of a class: bits `first` and following of a summary. All in one word of it, or whole words.
#[derive(Clone, Copy)]
struct Stretch {
    first: u16,
    len: u16,
}

impl Stretch {
    #[inline]
    fn of(class: u16, bits: u32) -> Stretch {
        let len = 1 << WORD_BITS.saturating_sub(bits);
        Stretch { first: class * len, len }
    }

    /// The summary's words that hold it, with the bits of others masked.
    #[inline]
    fn words(self, summary: &[u64; WORDS / 64]) -> impl Iterator<Item = (u16, u64)> {
        let whole = self.len >= 64;
        let mask = if whole { u64::MAX } else { ((1 << self.len) - 1) << (self.first & 63) };
        let from = self.first >> 6;
        let count = if whole { self.len >> 6 } else { 1 };
        (from..from + count)
            .map(move |word| (word, summary.get(usize::from(word)).map_or(0, |bits| bits & mask)))
    }

    #[inline]
    fn count(self, summary: &[u64; WORDS / 64]) -> u32 {
        self.words(summary).map(|(_, bits)| bits.count_ones()).sum()
    }

    /// The `n`-th word of the bitmap that the summary names, from 0.
    fn nth(self, summary: &[u64; WORDS / 64], mut n: u32) -> Option<u16> {
        for (word, mut bits) in self.words(summary) {
            if n >= bits.count_ones() {
                n -= bits.count_ones();
                continue;
            }
            for _ in 0..n {
                bits &= bits - 1;
            }
            return Some(word << 6 | lowest(bits));
        }
        None
    }

    /// The first word of the bitmap that the summary names, from `start` on, and around.
    fn next(self, summary: &[u64; WORDS / 64], start: u16) -> Option<u16> {
        let after = |(word, bits)| match start >> 6 {
            here if word < here => (word, 0),
            here if word == here => (word, bits & u64::MAX << (start & 63)),
            _ => (word, bits),
        };
        let first = |(word, bits): (u16, u64)| (bits != 0).then(|| word << 6 | lowest(bits));
        let mut from_start = self.words(summary).map(after);
        from_start.find_map(first).or_else(|| self.words(summary).find_map(first))
    }
}

/// The word that holds a place's bit (at most 1023), and the bit.
#[inline]
fn at(place: u16) -> (usize, u64) {
    (usize::from(place >> 6), 1 << (place & 63))
}

/// The number of the lowest bit that is set; `bits` is not 0.
#[inline]
fn lowest(bits: u64) -> u16 {
    u16::try_from(bits.trailing_zeros()).unwrap_or(0) & 63
}

/// Four independent random numbers of one.
#[inline]
fn parts(random: u64) -> [u16; 4] {
    let [a, b, c, d, e, f, g, h] = random.to_be_bytes();
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes)
}

/// A number below `n` (at most 65,536) out of a random one.
#[inline]
fn scale(random: u16, n: u32) -> u32 {
    (u32::from(random) * n) >> 16
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

mod ranges;
#[cfg(test)]
mod tests;

//! Which backend each source had last, for a while: so that it keeps that one although the choice by hash is another now.
//!
//! A source's flows may belong to several workers, so the memory is one for all of them: an atomic word for each source, read
//! when a session is chosen for and written when it is made. Two workers that do so at once for the same source have chosen by
//! the same hash, so it does not matter who writes last. Nothing is allocated, and nothing is taken out: what is older than the
//! timeout counts as absent, and its place is the next one to be taken. The management core tells the time, once a second.
//!
//! Bounds: [`SOURCES`] sources, eight of which share a line; the one that was longest away goes when a ninth comes, and is
//! chosen for by hash again.
//!
//! Backends have numbers here that they keep over reloads, while the place of each in its list may change.

use super::service::{Target, mix};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Sources that are remembered: half a mebibyte.
const SOURCES: usize = 65_536;
const WAYS: usize = 8;
const LINES: usize = SOURCES / WAYS;
/// Backends that can have a number.
const NUMBERS: usize = 256;
/// Bits of the time of a source's last session, in seconds: 194 days. The backend's number is above, and above that its address.
const TIME_BITS: u32 = 24;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// One cache line of sources. A word of 0 is free: nobody has the address 0.0.0.0.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; WAYS]);

/// The sources, whatever the configuration.
#[derive(Debug)]
struct Sources {
    lines: Box<[Line]>,
    /// In seconds.
    now: AtomicU32,
    /// Address and port of the backend of each number; 0: it is nobody's yet. For whoever compiles a configuration: no worker
    /// looks at it.
    names: [AtomicU64; NUMBERS],
}

/// What the backends of a forward remember of their sources. A clone remembers the same.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    sources: Arc<Sources>,
    /// The number of each backend of the list.
    numbers: Box<[u8]>,
    /// In seconds.
    timeout: u32,
}

impl Memory {
    /// A memory for these backends: that of `before`, if there is one and it has numbers left.
    pub(super) fn new(list: &[Target], timeout: Duration, before: Option<&Memory>) -> Memory {
        let timeout = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
        let kept = before.and_then(|before| {
            let numbers = before.sources.enroll(list)?;
            Some(Memory { sources: before.sources.clone(), numbers, timeout })
        });
        kept.unwrap_or_else(|| {
            let sources = Sources {
                lines: (0..LINES).map(|_| Line::default()).collect(),
                now: AtomicU32::new(0),
                names: [const { AtomicU64::new(0) }; NUMBERS],
            };
            let numbers = sources.enroll(list).unwrap_or_default();
            Memory { sources: Arc::new(sources), numbers, timeout }
        })
    }

    /// How long a source is remembered.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }

    /// Tells the time, in seconds.
    pub(super) fn set_time(&self, now: u32) {
        self.sources.now.store(now, Ordering::Relaxed);
    }

    /// The place in the list of the backend that a source had last.
    pub(super) fn recall(&self, source: Ipv4Addr) -> Option<usize> {
        let mut words = self.sources.line(source)?.0.iter().map(|word| word.load(Ordering::Relaxed));
        let word = words.find(|word| is_of(*word, source)).filter(|word| self.age(*word) <= self.timeout)?;
        let [.., number, _, _, _] = word.to_be_bytes();
        self.numbers.iter().position(|known| *known == number)
    }

    /// A source has a session with the backend at this place of the list.
    pub(super) fn remember(&self, source: Ipv4Addr, place: usize) {
        let (Some(line), Some(number)) = (self.sources.line(source), self.numbers.get(place)) else { return };
        let now = u64::from(self.sources.now.load(Ordering::Relaxed)) & TIME_MASK;
        let word = u64::from(source.to_bits()) << 32 | u64::from(*number) << TIME_BITS | now;
        let rank = |old: u64| match old {
            old if is_of(old, source) => u64::MAX,
            0 => u64::MAX - 1,
            old => self.age(old).into(),
        };
        let oldest = line.0.iter().max_by_key(|old| rank(old.load(Ordering::Relaxed)));
        if let Some(seat) = oldest.filter(|seat| seat.load(Ordering::Relaxed) != word) {
            seat.store(word, Ordering::Relaxed);
        }
    }

    /// Seconds since the session that a word tells of.
    fn age(&self, word: u64) -> u32 {
        let now = u64::from(self.sources.now.load(Ordering::Relaxed));
        u32::try_from(now.wrapping_sub(word) & TIME_MASK).unwrap_or(u32::MAX)
    }
}

fn is_of(word: u64, source: Ipv4Addr) -> bool {
    word >> 32 == u64::from(source.to_bits())
}

impl Sources {
    fn line(&self, source: Ipv4Addr) -> Option<&Line> {
        let at = (u128::from(mix(source.to_bits().into())) * LINES as u128) >> 64;
        self.lines.get(usize::try_from(at).ok()?)
    }

    /// The number of each backend; `None`, and no number is given, if there are not enough.
    fn enroll(&self, list: &[Target]) -> Option<Box<[u8]>> {
        let name = |target: &Target| u64::from(target.address.to_bits()) << 16 | u64::from(target.port);
        let mut names: Vec<u64> = list.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        let held = |name: u64| self.names.iter().filter(|held| held.load(Ordering::Relaxed) == name).count();
        if names.iter().filter(|name| held(**name) == 0).count() > held(0) {
            return None;
        }
        list.iter().map(|target| self.number(name(target))).collect()
    }

    /// The number of a backend, a new one if it has none. Two that ask at once agree.
    fn number(&self, name: u64) -> Option<u8> {
        let is_it = |held: &AtomicU64| {
            let taken = held.compare_exchange(0, name, Ordering::Relaxed, Ordering::Relaxed);
            taken.map_or_else(|other| other == name, |_| true)
        };
        u8::try_from(self.names.iter().position(is_it)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(last: impl IntoIterator<Item = u8>) -> Vec<Target> {
        let target =
            |last| Target { address: Ipv4Addr::new(10, 0, 0, last), port: 80, weight: 1, drain: false };
        last.into_iter().map(target).collect()
    }

    fn memory(last: impl IntoIterator<Item = u8>, before: Option<&Memory>) -> Memory {
        Memory::new(&list(last), Duration::from_secs(60), before)
    }

    const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    #[test]
    fn a_source_is_remembered_for_the_timeout_after_its_last_session() {
        let memory = memory([1, 2, 3], None);
        memory.set_time(1000);
        assert_eq!(memory.recall(SOURCE), None);
        memory.remember(SOURCE, 2);
        memory.set_time(1060);
        assert_eq!(memory.recall(SOURCE), Some(2));
        memory.remember(SOURCE, 2);
        memory.set_time(1120);
        assert_eq!(memory.recall(SOURCE), Some(2));
        memory.set_time(1121);
        assert_eq!(memory.recall(SOURCE), None);
        // Over the end of the time that a word has room for.
        memory.set_time((1 << TIME_BITS) - 1);
        memory.remember(SOURCE, 0);
        memory.set_time((1 << TIME_BITS) + 58);
        assert_eq!(memory.recall(SOURCE), Some(0));
    }

    #[test]
    fn backends_keep_their_sources_when_others_come_and_go() {
        let before = memory([1, 2, 3], None);
        before.remember(SOURCE, 2);
        let after = memory([4, 3, 1], Some(&before));
        assert_eq!(after.recall(SOURCE), Some(1));
        let without = memory([1, 2], Some(&after));
        assert_eq!(without.recall(SOURCE), None);
        assert_eq!(memory([3], Some(&without)).recall(SOURCE), Some(0), "it is back");
    }

    #[test]
    fn when_no_number_is_left_the_memory_begins_anew() {
        let mut memory = memory(0..128, None);
        memory = self::memory(128..=255, Some(&memory));
        memory.remember(SOURCE, 3);
        let other = Memory::new(
            &[Target { port: 81, ..list([1]).remove(0) }],
            Duration::from_secs(60),
            Some(&memory),
        );
        assert!(!Arc::ptr_eq(&other.sources, &memory.sources));
        assert!(
            Arc::ptr_eq(&self::memory(100..200, Some(&memory)).sources, &memory.sources),
            "numbers are not used up"
        );
    }

    #[test]
    fn of_too_many_sources_those_go_that_were_longest_away() {
        let memory = memory([1], None);
        let line_of = |source: u32| memory.sources.line(Ipv4Addr::from_bits(source)).unwrap() as *const Line;
        let first = line_of(1);
        let sources: Vec<_> = (1..)
            .filter(|source| line_of(*source) == first)
            .map(Ipv4Addr::from_bits)
            .take(WAYS + 2)
            .collect();
        for (source, now) in sources.iter().zip(100..) {
            memory.set_time(now);
            memory.remember(*source, 0);
        }
        let known: Vec<_> = sources.iter().map(|source| memory.recall(*source).is_some()).collect();
        assert_eq!(known, [&[false; 2][..], &[true; WAYS]].concat());
    }
}

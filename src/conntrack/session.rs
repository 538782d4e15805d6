//! One session: a conversation with both of its keys, in memory that the worker and the management core share.
//!
//! # Ownership
//!
//! The worker that owns the shard is the only writer. Everybody else reads through
//! [`super::table::SessionView`]. All fields are relaxed atomics, so a plain load and store for the worker.
//!
//! - What does not change while a session lives (keys, deltas, lease, mark, time of creation) is protected by the
//!   sequence number [`Session::generation`]: even while the session lives, odd while its slot is free or being
//!   filled. It is also the session's name in messages: index and generation together never mean another
//!   session (for 2^31 uses of the slot).
//! - What each packet changes (state, flags, idle timer, counters) is not: it would make the generation useless
//!   as a name. A reader gets each of these as it was at some moment of its reading. Two relations hold all the
//!   same: a reader that sees a new timeout sees the `last_seen` that came with it (so that a timeout which
//!   shrinks never makes a session look expired), and a packet is counted exactly once (see `Counters`).
//!
//! # Layout
//!
//! For IPv4, exactly 128 bytes: what every packet needs is in the first 64-byte line, the lower parts of the counters
//! included. The second line holds what trackers with more than a state need (TCP windows, SCTP tags) and is otherwise
//! touched only at creation, by readers, and once in 65,536 packets. For IPv6 the keys alone fill 80 bytes: 192 in all.

use super::class::Class;
use super::idle::Idle;
use super::key::{FlowKey, V4Key};
use super::seqlock::{Interrupted, SeqCount};
use super::tracker::{Opening, State};
use crate::packet::Tuple;
use crate::sync::{AtomicU8, AtomicU16, AtomicU32, Ordering};
use crate::time::Tick;
use crate::wire::checksum::Delta;

/// Which way a packet goes in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The way of the packet that opened the session.
    Original,
    /// The way back.
    Reply,
}

impl Direction {
    /// The other direction.
    #[inline]
    #[must_use]
    pub fn reverse(self) -> Direction {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }

    /// 0 for original, 1 for reply: the place in the pairs of [`SessionSnapshot`].
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Direction::Original => 0,
            Direction::Reply => 1,
        }
    }

    #[inline]
    fn of<T>(self, pair: &[T; 2]) -> &T {
        let [original, reply] = pair;
        match self {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }
}

/// An external port that a session holds and that its removal gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Index of the external address in the snapshot.
    pub address: u16,
    /// External port or ICMP identifier.
    pub port: u16,
    /// IANA protocol number.
    pub protocol: u8,
}

/// Stands for no lease where a session stores the address of one. Far more than there are addresses.
const NO_LEASE: u16 = u16::MAX;

/// What a tracker keeps of a session beside its state, packed as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackWords {
    /// Numbers.
    pub words: [u32; TrackWords::WORDS],
    /// Bits.
    pub flags: u16,
    /// Two small numbers; the only part in the session's first line.
    pub scales: u8,
}

impl TrackWords {
    /// How many numbers fit.
    pub const WORDS: usize = 8;
}

/// How a session came about, as far as its packets have to be dealt with by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// It was opened from outside through a mapping: its external endpoint is where the original direction goes.
    pub inbound: bool,
    /// Its remote end is behind the gateway too: its packets come in again after they were translated.
    pub turns: bool,
    /// Its external endpoint is a mapping's, and not one that other sessions share.
    pub mapped: bool,
}

/// What a session is made of.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<K> {
    /// Key of the packets of the original direction as they arrive.
    pub original: K,
    /// Key of the answers as they arrive.
    pub reply: K,
    /// State and timeout to start with: see [`super::tracker::open`].
    pub opening: Opening,
    /// The time of the first packet.
    pub now: Tick,
    /// IPv4 total length of the first packet in bytes; it is counted.
    pub length: u16,
    /// Which timeout set it is under: see [`super::policy::Policy::timeouts`].
    pub policy: u8,
    /// The mark that a rule gave it.
    pub mark: u32,
    /// Whether it is never evicted (see [`super::class`]).
    pub protected: bool,
    /// The external port that the session holds, if any. Its port and protocol are those of the answers' destination, or of
    /// its own if it is inbound.
    pub lease: Option<Lease>,
    /// How it came about.
    pub shape: Shape,
    /// What the translation of the original direction adds to the IPv4 header checksum.
    pub l3: Delta,
    /// What the translation of the original direction adds to the transport checksum.
    pub l4: Delta,
}

/// A consistent copy of a session, for lists and statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSnapshot<K> {
    /// Place in its shard.
    pub index: u32,
    /// Which user of that place.
    pub generation: u32,
    /// Key of the original direction.
    pub original: K,
    /// Key of the reply direction.
    pub reply: K,
    /// IANA protocol number.
    pub protocol: u8,
    /// State of the tracker.
    pub state: State,
    /// Whether packets went both ways.
    pub seen_reply: bool,
    /// Whether it has proved to be a real conversation.
    pub assured: bool,
    /// When the last packet came that counts as activity.
    pub last_seen: Tick,
    /// When it was opened.
    pub created: Tick,
    /// Idle timeout in ticks.
    pub timeout_ticks: u32,
    /// Packets of the original and the reply direction.
    pub packets: [u64; 2],
    /// Bytes (IPv4 total length) of the original and the reply direction.
    pub bytes: [u64; 2],
    /// The external port that it holds.
    pub lease: Option<Lease>,
    /// Which timeout set it is under.
    pub policy: u8,
    /// The mark that a rule gave it.
    pub mark: u32,
    /// It was opened from outside through a mapping: its external endpoint is where the original direction goes.
    pub inbound: bool,
    /// It was, and nobody inside has answered yet.
    pub unanswered: bool,
}

/// Bits of a session's flags.
const SEEN_REPLY: u8 = 1;
const ASSURED: u8 = 2;
const PROTECTED: u8 = 4;
const INBOUND: u8 = 8;
/// Something is kept of it beside: by the SYN proxy, or by those who watch what it says.
const ACCOMPANIED: u8 = 16;
const UNANSWERED: u8 = 32;
const TURNS: u8 = 64;
const MAPPED: u8 = 128;
/// Its packets do not go the short way.
const DETOUR: u8 = ACCOMPANIED | UNANSWERED | TURNS;

/// A session in shared memory; see the module's head.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Session<K: FlowKey> {
    original: K::Words,
    reply: K::Words,
    generation: SeqCount,
    last_seen: AtomicU32,
    timeout: AtomicU32,
    fresh_bytes: [AtomicU32; 2],
    fresh_packets: [AtomicU16; 2],
    l3: AtomicU16,
    l4: AtomicU16,
    state: AtomicU8,
    flags: AtomicU8,
    policy: AtomicU8,
    scales: AtomicU8,
    cold: Cold,
}

const _: () = assert!(cfg!(natgate_loom) || size_of::<Session<V4Key>>() == 128);

/// What a UDP or ICMP packet normally does not touch: the second line.
#[derive(Debug)]
#[repr(C, align(64))]
struct Cold {
    counters: Counters,
    lease: AtomicU16,
    track_flags: AtomicU16,
    created: AtomicU32,
    mark: AtomicU32,
    words: [AtomicU32; TrackWords::WORDS],
}

/// The upper parts of the counters; the lower ones, 16 bits of packets and 32 bits of bytes, are in the session's first
/// line. When one of those overflows, it and the upper part are written under a sequence number of their own, so
/// that a reader never sees one without the other. In all 48 bits of packets and 64 of bytes.
#[derive(Debug)]
#[repr(C)]
struct Counters {
    packets: [AtomicU32; 2],
    bytes: [AtomicU32; 2],
    settling: SeqCount,
}

/// How many bits of the packets are in the first line. The model checker needs few.
const LOW_PACKET_BITS: u32 = if cfg!(natgate_loom) { 1 } else { 16 };
const LOW_PACKETS: u16 = u16::MAX >> (16 - LOW_PACKET_BITS);

#[cfg(not(natgate_loom))]
const _: () = {
    assert!(size_of::<Session<V4Key>>() == 128);
    assert!(size_of::<Session<super::key::V6Key>>() == 192);
    assert!(std::mem::offset_of!(Session<V4Key>, cold) == 64, "the hot fields fill one line");
};

/// How often a reader tries again when the worker writes what it reads.
const READ_TRIES: usize = 8;

impl<K: FlowKey> Session<K> {
    /// A free slot.
    pub(super) fn vacant() -> Self {
        Session {
            original: K::Words::default(),
            reply: K::Words::default(),
            generation: SeqCount::unwritten(),
            last_seen: AtomicU32::new(0),
            timeout: AtomicU32::new(0),
            fresh_bytes: Default::default(),
            fresh_packets: Default::default(),
            l3: AtomicU16::new(0),
            l4: AtomicU16::new(0),
            state: AtomicU8::new(State::None as u8),
            flags: AtomicU8::new(0),
            policy: AtomicU8::new(0),
            scales: AtomicU8::new(0),
            cold: Cold {
                counters: Counters {
                    packets: Default::default(),
                    bytes: Default::default(),
                    settling: SeqCount::written(),
                },
                lease: AtomicU16::new(NO_LEASE),
                track_flags: AtomicU16::new(0),
                created: AtomicU32::new(0),
                mark: AtomicU32::new(0),
                words: Default::default(),
            },
        }
    }

    /// Worker: fills a free slot and publishes it last.
    pub(super) fn fill(&self, new: &NewSession<K>) {
        new.original.store(&self.original);
        new.reply.store(&self.reply);
        self.last_seen.store(new.now.0, Ordering::Relaxed);
        self.timeout.store(new.opening.timeout_ticks, Ordering::Relaxed);
        for direction in [Direction::Original, Direction::Reply] {
            direction.of(&self.fresh_bytes).store(0, Ordering::Relaxed);
            direction.of(&self.fresh_packets).store(0, Ordering::Relaxed);
            direction.of(&self.cold.counters.packets).store(0, Ordering::Relaxed);
            direction.of(&self.cold.counters.bytes).store(0, Ordering::Relaxed);
        }
        Direction::Original.of(&self.fresh_packets).store(1, Ordering::Relaxed);
        Direction::Original.of(&self.fresh_bytes).store(u32::from(new.length), Ordering::Relaxed);
        self.l3.store(new.l3.0, Ordering::Relaxed);
        self.l4.store(new.l4.0, Ordering::Relaxed);
        self.state.store(new.opening.state as u8, Ordering::Relaxed);
        let flag = |set: bool, bits: u8| if set { bits } else { 0 };
        let Shape { inbound, turns, mapped } = new.shape;
        let flags = flag(new.protected, PROTECTED)
            | flag(inbound, INBOUND | UNANSWERED)
            | flag(turns, TURNS)
            | flag(mapped, MAPPED);
        self.flags.store(flags, Ordering::Relaxed);
        self.policy.store(new.policy, Ordering::Relaxed);
        self.cold.lease.store(new.lease.map_or(NO_LEASE, |lease| lease.address), Ordering::Relaxed);
        self.cold.created.store(new.now.0, Ordering::Relaxed);
        self.cold.mark.store(new.mark, Ordering::Relaxed);
        self.set_track_words(&new.opening.track);
        self.generation.end_write();
    }

    /// Worker: makes the slot free. What was in it stays readable for the worker until it is filled again.
    pub(super) fn vacate(&self) {
        self.generation.begin_write();
    }

    /// Which user of its slot this session is. Even while it lives.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// Whether the slot holds a session. Exact for the worker.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.generation.is_whole()
    }

    /// The key of a direction: of its packets as they arrive.
    #[inline]
    pub fn key(&self, direction: Direction) -> K {
        K::load(self.words(direction))
    }

    /// Whether packets of this direction have this key.
    #[inline]
    pub(super) fn has_key(&self, direction: Direction, key: &K) -> bool {
        key.is_stored_in(self.words(direction))
    }

    #[inline]
    fn words(&self, direction: Direction) -> &K::Words {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    /// State of the tracker.
    #[inline]
    pub fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Relaxed))
    }

    /// Whether packets went both ways.
    #[inline]
    pub fn seen_reply(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & SEEN_REPLY != 0
    }

    /// Whether it has proved to be a real conversation.
    #[inline]
    pub fn assured(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & ASSURED != 0
    }

    /// When the last packet came that counts as activity.
    #[inline]
    pub fn last_seen(&self) -> Tick {
        Tick(self.last_seen.load(Ordering::Relaxed))
    }

    /// When it was opened.
    pub fn created(&self) -> Tick {
        Tick(self.cold.created.load(Ordering::Relaxed))
    }

    /// Idle timeout in ticks.
    #[inline]
    pub fn timeout_ticks(&self) -> u32 {
        self.timeout.load(Ordering::Acquire)
    }

    /// Whether it was idle for longer than its timeout: never early, and at most one tick late.
    ///
    /// Both times are rounded down to ticks, so an age of exactly the timeout may be up to a tick short of it.
    #[inline]
    pub fn is_expired(&self, now: Tick) -> bool {
        // The timeout first: whoever sees a new one then sees the `last_seen` stored before it.
        let timeout = self.timeout_ticks();
        now.since(self.last_seen()) > timeout
    }

    /// What the translation of this direction adds to the IPv4 header checksum.
    #[inline]
    pub fn l3(&self, direction: Direction) -> Delta {
        directed(Delta(self.l3.load(Ordering::Relaxed)), direction)
    }

    /// What the translation of this direction adds to the transport checksum.
    #[inline]
    pub fn l4(&self, direction: Direction) -> Delta {
        directed(Delta(self.l4.load(Ordering::Relaxed)), direction)
    }

    /// The external port that it holds.
    pub fn lease(&self) -> Option<Lease> {
        let address = self.cold.lease.load(Ordering::Relaxed);
        (address != NO_LEASE).then(|| {
            let outer = self.key(self.from_outside());
            Lease { address, port: outer.destination_port(), protocol: outer.protocol() }
        })
    }

    /// The direction whose packets go to its external endpoint.
    #[inline]
    pub fn from_outside(&self) -> Direction {
        if self.is_inbound() { Direction::Original } else { Direction::Reply }
    }

    /// Whether it was opened from outside through a mapping.
    #[inline]
    pub fn is_inbound(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & INBOUND != 0
    }

    /// Whether its external endpoint is a mapping's.
    #[inline]
    pub fn is_mapped(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & MAPPED != 0
    }

    /// Whether it was opened from outside through a mapping and nobody inside has answered yet.
    #[inline]
    pub fn is_unanswered(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & UNANSWERED != 0
    }

    /// Whether what it sends outside comes in again.
    #[inline]
    pub fn turns(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & TURNS != 0
    }

    /// Whether its packets do not go the short way: it is one of the above, or accompanied.
    #[inline]
    pub fn takes_detour(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & DETOUR != 0
    }

    /// Worker: somebody inside answered.
    pub(crate) fn set_answered(&self) {
        self.flags.store(self.flags.load(Ordering::Relaxed) & !UNANSWERED, Ordering::Relaxed);
    }

    /// Worker: what came was no activity after all.
    pub(crate) fn set_last_seen(&self, tick: Tick) {
        self.last_seen.store(tick.0, Ordering::Relaxed);
    }

    /// Whether it is never evicted.
    #[inline]
    pub fn protected(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & PROTECTED != 0
    }

    /// Whether something is kept of it beside, so that its packets have to be renumbered or read: the SYN proxy made its
    /// handshake, or it is watched ([`crate::nat::alg`]).
    #[inline]
    pub fn is_accompanied(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & ACCOMPANIED != 0
    }

    /// Worker: something is kept of it beside.
    pub(crate) fn set_accompanied(&self) {
        self.flags.store(self.flags.load(Ordering::Relaxed) | ACCOMPANIED, Ordering::Relaxed);
    }

    /// What it is worth when room is needed.
    #[inline]
    pub fn class(&self) -> Class {
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & PROTECTED != 0 {
            Class::Protected
        } else {
            Class::of(self.state(), flags & SEEN_REPLY != 0, flags & ASSURED != 0)
        }
    }

    /// Which timeout set it is under.
    #[inline]
    pub fn policy(&self) -> u8 {
        self.policy.load(Ordering::Relaxed)
    }

    /// The mark that a rule gave it.
    pub fn mark(&self) -> u32 {
        self.cold.mark.load(Ordering::Relaxed)
    }

    /// What its tracker keeps beside the state.
    #[inline]
    pub fn track_words(&self) -> TrackWords {
        TrackWords {
            words: std::array::from_fn(|n| self.cold.words[n].load(Ordering::Relaxed)),
            flags: self.cold.track_flags.load(Ordering::Relaxed),
            scales: self.scales.load(Ordering::Relaxed),
        }
    }

    /// Worker: replaces what the tracker keeps.
    #[inline]
    pub(super) fn set_track_words(&self, track: &TrackWords) {
        for (word, value) in self.cold.words.iter().zip(track.words) {
            word.store(value, Ordering::Relaxed);
        }
        self.cold.track_flags.store(track.flags, Ordering::Relaxed);
        self.scales.store(track.scales, Ordering::Relaxed);
    }

    /// The second line of its memory, for a prefetch.
    #[inline]
    pub(super) fn second_line(&self) -> &impl Sized {
        &self.cold
    }

    /// Packets and bytes of both directions: exact for the worker. `None` for a reader whom the worker kept
    /// interrupting.
    fn totals(&self) -> Option<([u64; 2], [u64; 2])> {
        let counters = &self.cold.counters;
        for _ in 0..READ_TRIES {
            let read = counters.settling.try_read(|| {
                let of = |direction: Direction| {
                    (
                        u64::from(direction.of(&counters.packets).load(Ordering::Relaxed)) << LOW_PACKET_BITS
                            | u64::from(direction.of(&self.fresh_packets).load(Ordering::Relaxed)),
                        u64::from(direction.of(&counters.bytes).load(Ordering::Relaxed)) << 32
                            | u64::from(direction.of(&self.fresh_bytes).load(Ordering::Relaxed)),
                    )
                };
                (of(Direction::Original), of(Direction::Reply))
            });
            if let Ok((_, ((packets, bytes), (reply_packets, reply_bytes)))) = read {
                return Some(([packets, reply_packets], [bytes, reply_bytes]));
            }
        }
        None
    }

    /// Worker: counts a packet of `length` bytes.
    #[inline]
    pub(super) fn count(&self, direction: Direction, length: u16) {
        let (packets, bytes) = (direction.of(&self.fresh_packets), direction.of(&self.fresh_bytes));
        let before = packets.load(Ordering::Relaxed);
        let (sum, overflows) = bytes.load(Ordering::Relaxed).overflowing_add(u32::from(length));
        if before == LOW_PACKETS || overflows {
            self.settle(direction, sum, overflows);
        } else {
            packets.store(before + 1, Ordering::Relaxed);
            bytes.store(sum, Ordering::Relaxed);
        }
    }

    /// Counts a packet with which one of the lower counters overflows. `bytes` is what is left in that of the bytes.
    #[cold]
    fn settle(&self, direction: Direction, bytes: u32, bytes_overflow: bool) {
        let counters = &self.cold.counters;
        let carry = |upper: &AtomicU32| {
            upper.store(upper.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        };
        let packets = direction.of(&self.fresh_packets);
        counters.settling.begin_write();
        if packets.load(Ordering::Relaxed) == LOW_PACKETS {
            carry(direction.of(&counters.packets));
            packets.store(0, Ordering::Relaxed);
        } else {
            packets.store(packets.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        if bytes_overflow {
            carry(direction.of(&counters.bytes));
        }
        direction.of(&self.fresh_bytes).store(bytes, Ordering::Relaxed);
        counters.settling.end_write();
    }

    /// Worker: the session was active.
    #[inline]
    pub(super) fn refresh(&self, now: Tick) {
        self.last_seen.store(now.0, Ordering::Relaxed);
    }

    /// Worker: the session was active and is in this state under this timeout now.
    #[inline]
    pub(super) fn advance(&self, state: State, now: Tick, timeout_ticks: u32) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.refresh(now);
        // Release: see `is_expired`.
        self.timeout.store(timeout_ticks, Ordering::Release);
    }

    /// Worker: sets what a tracker has learnt.
    #[inline]
    pub(super) fn set_flags(&self, seen_reply: bool, assured: bool) {
        let kept = self.flags.load(Ordering::Relaxed) & !(SEEN_REPLY | ASSURED);
        let flags = if seen_reply { SEEN_REPLY } else { 0 } | if assured { ASSURED } else { 0 };
        self.flags.store(kept | flags, Ordering::Relaxed);
    }

    /// Reader: a consistent copy, or `None` if the slot is free or the worker kept writing to it.
    pub(super) fn snapshot(&self, index: u32) -> Option<SessionSnapshot<K>> {
        for _ in 0..READ_TRIES {
            match self.generation.try_read(|| self.copy(index)) {
                Ok((generation, copy)) => return copy.map(|copy| SessionSnapshot { generation, ..copy }),
                Err(Interrupted::Busy) => return None,
                Err(Interrupted::Changed) => {}
            }
        }
        None
    }

    fn copy(&self, index: u32) -> Option<SessionSnapshot<K>> {
        let original = self.key(Direction::Original);
        let timeout_ticks = self.timeout_ticks();
        let (packets, bytes) = self.totals()?;
        Some(SessionSnapshot {
            index,
            generation: 0,
            original,
            reply: self.key(Direction::Reply),
            protocol: original.protocol(),
            state: self.state(),
            seen_reply: self.seen_reply(),
            assured: self.assured(),
            last_seen: self.last_seen(),
            created: self.created(),
            timeout_ticks,
            packets,
            bytes,
            lease: self.lease(),
            policy: self.policy(),
            mark: self.mark(),
            inbound: self.is_inbound(),
            unanswered: self.is_unanswered(),
        })
    }

    /// Reader: what decides when it ends; `None` if the slot is free or was just filled or emptied.
    pub(super) fn idle(&self) -> Option<Idle> {
        let (generation, idle) = self.generation.try_read(|| Idle::copy(self)).ok()?;
        Some(Idle { generation, ..idle })
    }
}

impl Session<V4Key> {
    /// What the tuple of a packet of this direction has to become on its way out.
    #[inline]
    pub fn translated(&self, direction: Direction) -> Tuple {
        self.key(direction.reverse()).tuple().inverse()
    }
}

#[inline]
fn directed(original: Delta, direction: Direction) -> Delta {
    match direction {
        Direction::Original => original,
        Direction::Reply => original.reverse(),
    }
}

//! The last packets that were dropped for each reason, for people to look at.
//!
//! Each worker has a ring of [`PER_REASON`] places for every reason, in memory that it shares with the control thread and
//! that is allocated at the start: about 80 KiB a worker. [`Sampler`] is the worker's end, [`DropSamples`] what both see.
//!
//! # What it costs
//!
//! Every drop pays for its counter, one load and one comparison. At most [`PER_REASON`] packets of a reason are kept in a
//! tick: what a flood brings beyond that is counted and no more.
//!
//! # Ordering
//!
//! One writer; each place has a sequence number of its own ([`SeqCount`], which also says why its fields are relaxed
//! atomics). A reader that a write falls into tries again and else leaves the place out: it is never shown a mixture.
//! `tests/loom_samples.rs` checks it.

use super::{DropReason, WorkerCounters};
use crate::conntrack::seqlock::{Interrupted, SeqCount};
use crate::ids::{DeviceId, InterfaceId};
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::time::Time;

/// Packets that are kept for each reason, and the most that are kept anew in a tick.
pub const PER_REASON: usize = 8;
/// Bytes of a frame that are kept: all headers of nearly every packet, and the first of its data. The model checker pays
/// for each.
pub const HEAD: usize = WORDS * 8;
const WORDS: usize = if cfg!(natgate_loom) { 1 } else { 16 };
/// How often a reader tries again when the worker writes what it reads.
const READ_TRIES: usize = 8;

/// Where a dropped frame came from, or was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It had arrived by this interface.
    In(InterfaceId),
    /// It was ready to leave by this interface.
    Out(InterfaceId),
    /// It had arrived at this device, on none of its interfaces.
    Device(DeviceId),
}

/// A frame that is dropped, and what its worker knows of it. The numbers are the pipeline's: see `pipeline::drops`.
#[derive(Clone, Copy, Debug)]
pub struct Dropped<'a> {
    /// The frame as it is now.
    pub frame: &'a [u8],
    /// Where.
    pub place: Place,
    /// Number of the rule, if one had been chosen.
    pub rule: Option<u32>,
    /// Number of the session's state, if there is a session.
    pub state: Option<u8>,
}

impl<'a> Dropped<'a> {
    /// A frame of which only the place is known.
    pub fn at(place: Place, frame: &'a [u8]) -> Dropped<'a> {
        Dropped { frame, place, rule: None, state: None }
    }
}

/// A copy of what was kept of a dropped frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which of the packets that this worker dropped for the reason, counted from 1.
    pub number: u64,
    /// When: the turn of the worker.
    pub at: Time,
    /// Where.
    pub place: Place,
    /// Number of the rule, if one had been chosen.
    pub rule: Option<u32>,
    /// Number of the session's state, if there was a session.
    pub state: Option<u8>,
    /// Length of the frame in bytes, without padding and FCS.
    pub length: u32,
    /// The frame's first bytes, [`HEAD`] at the most.
    pub head: Vec<u8>,
}

/// One place of a ring.
#[derive(Debug)]
struct Slot {
    sequence: SeqCount,
    number: AtomicU64,
    at: AtomicU64,
    /// Length of the frame (4 bytes), of what is kept of it (2), state or [`NOTHING`] (1), kind of the place (1).
    about: AtomicU64,
    /// Rule or `u32::MAX` (4 bytes), number of the place (1).
    origin: AtomicU64,
    head: [AtomicU64; WORDS],
}

const NOTHING: u8 = u8::MAX;

impl Slot {
    fn empty() -> Slot {
        Slot {
            sequence: SeqCount::unwritten(),
            number: AtomicU64::new(0),
            at: AtomicU64::new(0),
            about: AtomicU64::new(0),
            origin: AtomicU64::new(0),
            head: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    fn write(&self, number: u64, at: Time, dropped: &Dropped<'_>) {
        if self.sequence.is_whole() {
            self.sequence.begin_write();
        }
        self.number.store(number, Relaxed);
        self.at.store(at.as_nanos(), Relaxed);
        let head = dropped.frame.get(..HEAD).unwrap_or(dropped.frame);
        let (kind, place) = match dropped.place {
            Place::In(interface) => (0, interface.0),
            Place::Out(interface) => (1, interface.0),
            Place::Device(device) => (2, device.0),
        };
        let [a, b, c, d] = u32::try_from(dropped.frame.len()).unwrap_or(u32::MAX).to_le_bytes();
        let [kept, more] = u16::try_from(head.len()).unwrap_or(0).to_le_bytes();
        let state = dropped.state.unwrap_or(NOTHING);
        self.about.store(u64::from_le_bytes([a, b, c, d, kept, more, state, kind]), Relaxed);
        let [a, b, c, d] = dropped.rule.unwrap_or(u32::MAX).to_le_bytes();
        self.origin.store(u64::from_le_bytes([a, b, c, d, place, 0, 0, 0]), Relaxed);
        for (word, bytes) in self.head.iter().zip(head.chunks(8)) {
            let mut whole = [0; 8];
            whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
        self.sequence.end_write();
    }

    fn read(&self) -> Option<Sample> {
        for _ in 0..READ_TRIES {
            match self.sequence.try_read(|| self.copy()) {
                Ok((_, sample)) => return Some(sample),
                Err(Interrupted::Busy) => return None,
                Err(Interrupted::Changed) => {}
            }
        }
        None
    }

    fn copy(&self) -> Sample {
        let [a, b, c, d, kept, more, state, kind] = self.about.load(Relaxed).to_le_bytes();
        let [e, f, g, h, place, ..] = self.origin.load(Relaxed).to_le_bytes();
        let mut head = Vec::with_capacity(HEAD);
        head.extend(self.head.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()));
        head.truncate(usize::from(u16::from_le_bytes([kept, more])));
        Sample {
            number: self.number.load(Relaxed),
            at: Time::from_nanos(self.at.load(Relaxed)),
            place: match kind {
                0 => Place::In(InterfaceId(place)),
                1 => Place::Out(InterfaceId(place)),
                _ => Place::Device(DeviceId(place)),
            },
            rule: Some(u32::from_le_bytes([e, f, g, h])).filter(|rule| *rule != u32::MAX),
            state: Some(state).filter(|state| *state != NOTHING),
            length: u32::from_le_bytes([a, b, c, d]),
            head,
        }
    }
}

/// The last dropped packets of one reason.
#[derive(Debug)]
pub struct Ring([Slot; PER_REASON]);

impl Default for Ring {
    fn default() -> Self {
        Ring(std::array::from_fn(|_| Slot::empty()))
    }
}

impl Ring {
    /// Worker: writes a sample into a place; only the ring's one writer may call this.
    pub fn write(&self, place: usize, number: u64, at: Time, dropped: &Dropped<'_>) {
        if let Some(slot) = self.0.get(place) {
            slot.write(number, at, dropped);
        }
    }

    /// What is in it, in no particular order.
    pub fn read(&self) -> Vec<Sample> {
        self.0.iter().filter_map(Slot::read).collect()
    }
}

/// The last packets that one worker dropped, by reason.
#[derive(Debug)]
pub struct DropSamples(Box<[Ring]>);

impl Default for DropSamples {
    fn default() -> Self {
        DropSamples(DropReason::ALL.iter().map(|_| Ring::default()).collect())
    }
}

impl DropSamples {
    /// Those of a reason, in no particular order. What the worker writes at this moment is left out.
    pub fn read(&self, reason: DropReason) -> Vec<Sample> {
        self.0.get(reason as usize).map_or_else(Vec::new, Ring::read)
    }
}

/// Which packets a worker keeps: its private part.
#[derive(Debug)]
pub struct Sampler {
    now: Time,
    quotas: [Quota; DropReason::COUNT],
}

#[derive(Clone, Copy, Debug)]
struct Quota {
    /// How many may still be kept in this tick.
    left: u8,
    /// The place to write to next.
    next: u8,
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler { now: Time::ZERO, quotas: [Quota { left: Self::A_TICK, next: 0 }; DropReason::COUNT] }
    }
}

impl Sampler {
    /// [`PER_REASON`] as it is counted down.
    const A_TICK: u8 = 8;

    /// A turn of the worker begins.
    #[inline]
    pub fn begin_turn(&mut self, now: Time) {
        self.now = now;
    }

    /// A tick is over: samples may be taken again.
    pub fn begin_tick(&mut self) {
        for quota in &mut self.quotas {
            quota.left = Self::A_TICK;
        }
    }

    /// Counts a drop. If its reason still has room in this tick, `describe` is asked for the packet, and it is kept.
    #[inline]
    pub fn count<'a>(
        &mut self,
        counters: &WorkerCounters,
        reason: DropReason,
        describe: impl FnOnce() -> Dropped<'a>,
    ) {
        counters.count_drop(reason);
        if self.quotas[reason as usize].left > 0 {
            self.keep(counters, reason, describe);
        }
    }

    /// Apart, with all that it takes to describe a packet, so that the way of those that are not dropped is short.
    #[cold]
    #[inline(never)]
    fn keep<'a>(
        &mut self,
        counters: &WorkerCounters,
        reason: DropReason,
        describe: impl FnOnce() -> Dropped<'a>,
    ) {
        let quota = &mut self.quotas[reason as usize];
        let place = usize::from(quota.next);
        quota.left = quota.left.saturating_sub(1);
        quota.next = (quota.next + 1) % Self::A_TICK;
        if let Some(ring) = counters.samples.0.get(reason as usize) {
            ring.write(place, counters.drops[reason as usize].get(), self.now, &describe());
        }
    }
}

const _: () = assert!(PER_REASON == Sampler::A_TICK as usize);

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: Place = Place::In(InterfaceId(3));

    fn read(counters: &WorkerCounters, reason: DropReason) -> Vec<Sample> {
        let mut samples = counters.samples.read(reason);
        samples.sort_unstable_by_key(|sample| sample.number);
        samples
    }

    #[test]
    fn a_sample_is_read_as_it_was_written() {
        let (counters, mut sampler) = (WorkerCounters::default(), Sampler::default());
        let frame: Vec<u8> = (0..200).collect();
        sampler.begin_turn(Time::from_nanos(1_234_567_891));
        let long = Dropped { frame: &frame, place: LAN, rule: Some(7), state: Some(3) };
        sampler.count(&counters, DropReason::NoRoute, || long);
        let short = Dropped::at(Place::Device(DeviceId(2)), frame.get(..13).unwrap());
        sampler.count(&counters, DropReason::NoRoute, || short);
        let empty = Dropped::at(Place::Out(InterfaceId(9)), &[]);
        sampler.count(&counters, DropReason::NoRoute, || empty);
        let at = Time::from_nanos(1_234_567_891);
        let sample = |number, place, length, kept: usize| Sample {
            number,
            at,
            place,
            rule: None,
            state: None,
            length,
            head: frame[..kept].to_vec(),
        };
        let expected = [
            Sample { rule: Some(7), state: Some(3), ..sample(1, LAN, 200, HEAD) },
            sample(2, Place::Device(DeviceId(2)), 13, 13),
            sample(3, Place::Out(InterfaceId(9)), 0, 0),
        ];
        assert_eq!(read(&counters, DropReason::NoRoute), expected);
        assert_eq!(read(&counters, DropReason::NoRule), []);
    }

    #[test]
    fn a_flood_leaves_eight_samples_a_tick_and_is_counted_to_the_last_packet() {
        let (counters, mut sampler) = (WorkerCounters::default(), Sampler::default());
        let mut described = 0;
        for _ in 0..1000 {
            sampler.count(&counters, DropReason::NoRule, || {
                described += 1;
                Dropped::at(LAN, b"frame")
            });
        }
        assert_eq!((described, counters.drops[DropReason::NoRule as usize].get()), (8, 1000));
        let numbers = |counters| -> Vec<u64> {
            read(counters, DropReason::NoRule).iter().map(|sample| sample.number).collect()
        };
        assert_eq!(numbers(&counters), (1..=8).collect::<Vec<_>>());
        // Another reason has a quota of its own, and the next tick a new one.
        sampler.count(&counters, DropReason::NoRoute, || Dropped::at(LAN, b"frame"));
        assert_eq!(read(&counters, DropReason::NoRoute).len(), 1);
        sampler.begin_tick();
        for _ in 0..3 {
            sampler.count(&counters, DropReason::NoRule, || Dropped::at(LAN, b"frame"));
        }
        assert_eq!(numbers(&counters), [4, 5, 6, 7, 8, 1001, 1002, 1003], "the oldest make room");
    }

    #[test]
    fn a_place_that_is_being_written_is_left_out() {
        let slot = Slot::empty();
        assert_eq!(slot.read(), None);
        slot.write(1, Time::ZERO, &Dropped::at(LAN, b"one"));
        assert_eq!(slot.read().map(|sample| sample.head), Some(b"one".to_vec()));
        slot.sequence.begin_write();
        assert_eq!(slot.read(), None);
        slot.write(2, Time::ZERO, &Dropped::at(LAN, b"second"));
        assert_eq!(slot.read().map(|sample| sample.head), Some(b"second".to_vec()));
    }
}

//! A device that misbehaves on purpose: a middleware that drops, duplicates, corrupts and reorders frames and
//! takes only part of a burst, with given probabilities and in a way that a seed repeats exactly.
//!
//! What it did is counted, so that a test can ask for the books to balance: what the other end sees is
//! `given - dropped + duplicated`.

use super::{BURST, Burst, Device};
use crate::packet::PacketBuf;
use crate::telemetry::Counter;
use std::collections::VecDeque;
use std::sync::Arc;

/// How often each fault happens to a frame, from 0.0 (never) to 1.0 (always).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The frame is lost.
    pub drop: f64,
    /// The frame comes twice; the copy after the rest of its burst.
    pub duplicate: f64,
    /// One byte of the frame changes.
    pub corrupt: f64,
    /// The frame changes places with one before it in the burst.
    pub reorder: f64,
}

impl Faults {
    /// No faults.
    pub const NONE: Faults = Faults { drop: 0.0, duplicate: 0.0, corrupt: 0.0, reorder: 0.0 };
}

/// Faults of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultPlan {
    /// What happens to frames on their way in.
    pub rx: Faults,
    /// What happens to frames on their way out.
    pub tx: Faults,
    /// How often a burst to send is taken only in part, as by a full transmit queue.
    pub partial_tx: f64,
}

/// What happened in one direction.
#[derive(Debug, Default)]
pub struct FaultCounters {
    /// Frames lost.
    pub dropped: Counter,
    /// Copies made and delivered.
    pub duplicated: Counter,
    /// Frames of which a byte changed.
    pub corrupted: Counter,
    /// Frames that changed places.
    pub reordered: Counter,
    /// Bursts taken in part.
    pub partial: Counter,
}

/// A device behind faults.
#[derive(Debug)]
pub struct Fault<D: Device> {
    inner: D,
    plan: FaultPlan,
    random: Random,
    /// Received but not delivered yet, as duplicates did not fit into the caller's burst.
    waiting: VecDeque<D::Buf>,
    rx: Arc<FaultCounters>,
    tx: Arc<FaultCounters>,
}

impl<D: Device> Fault<D> {
    /// `inner` with the faults of `plan`; the same seed and traffic give the same faults.
    pub fn new(inner: D, plan: FaultPlan, seed: u64) -> Self {
        Fault {
            inner,
            plan,
            random: Random(seed),
            waiting: VecDeque::with_capacity(2 * BURST),
            rx: Arc::default(),
            tx: Arc::default(),
        }
    }

    /// What happened to received frames. Stays readable when the device is owned by a worker.
    pub fn rx_counters(&self) -> Arc<FaultCounters> {
        Arc::clone(&self.rx)
    }

    /// What happened to sent frames.
    pub fn tx_counters(&self) -> Arc<FaultCounters> {
        Arc::clone(&self.tx)
    }

    /// The device behind the faults.
    pub fn into_inner(self) -> D {
        self.inner
    }
}

impl<D: Device> Device for Fault<D> {
    type Buf = D::Buf;

    fn rx_burst(&mut self, out: &mut Burst<D::Buf>) {
        if self.waiting.is_empty() {
            let mut frames = Burst::new();
            self.inner.rx_burst(&mut frames);
            let Fault { inner, plan, random, rx, waiting, .. } = self;
            let copies = disturb(&mut frames, &plan.rx, random, rx, || inner.alloc());
            rx.duplicated.add(copies.len() as u64);
            waiting.extend(frames);
            waiting.extend(copies);
        }
        let room = out.remaining_capacity().min(self.waiting.len());
        out.extend(self.waiting.drain(..room));
    }

    fn tx_burst(&mut self, frames: &mut Burst<D::Buf>) {
        let Fault { inner, plan, random, tx, .. } = self;
        if !inner.transmits() {
            return inner.tx_burst(frames);
        }
        let mut taken = frames.len();
        if taken > 0 && random.happens(plan.partial_tx) {
            taken = random.below(taken);
            tx.partial.increment();
        }
        let mut batch: Burst<D::Buf> = frames.drain(..taken).collect();
        let mut copies = disturb(&mut batch, &plan.tx, random, tx, || inner.alloc());
        inner.tx_burst(&mut batch);
        if batch.is_empty() {
            let made = copies.len();
            inner.tx_burst(&mut copies);
            tx.duplicated.add((made - copies.len()) as u64);
        }
        // What the device did not take goes back to the front: no more than came from there.
        batch.extend(frames.drain(..));
        *frames = batch;
    }

    fn alloc(&mut self) -> Option<D::Buf> {
        self.inner.alloc()
    }

    fn transmits(&self) -> bool {
        self.inner.transmits()
    }
}

/// Lets the faults happen to a burst. Returns the copies that were made.
fn disturb<B: PacketBuf>(
    frames: &mut Burst<B>,
    faults: &Faults,
    random: &mut Random,
    counters: &FaultCounters,
    mut alloc: impl FnMut() -> Option<B>,
) -> Burst<B> {
    let before = frames.len();
    frames.retain(|_| !random.happens(faults.drop));
    counters.dropped.add((before - frames.len()) as u64);
    let mut copies = Burst::new();
    for frame in frames.iter_mut() {
        if random.happens(faults.corrupt) && corrupt(frame.data_mut(), random) {
            counters.corrupted.increment();
        }
        if random.happens(faults.duplicate)
            && let Some(copy) = alloc().and_then(|empty| copy_of(frame, empty))
        {
            // As many copies as frames at most, so there is always room.
            copies.push(copy);
        }
    }
    for index in 1..frames.len() {
        if random.happens(faults.reorder) {
            frames.swap(index, random.below(index));
            counters.reordered.increment();
        }
    }
    copies
}

fn corrupt(frame: &mut [u8], random: &mut Random) -> bool {
    let offset = random.below(frame.len());
    let [flip, ..] = random.next().to_le_bytes();
    match frame.get_mut(offset) {
        Some(byte) => {
            // Never zero: a byte that stays as it was is no fault.
            *byte ^= flip.max(1);
            true
        }
        None => false,
    }
}

fn copy_of<B: PacketBuf>(frame: &B, mut copy: B) -> Option<B> {
    copy.grow_back(frame.data().len()).ok()?;
    copy.data_mut().copy_from_slice(frame.data());
    Some(copy)
}

/// SplitMix64: repeatable, and good enough for faults.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True with the given probability.
    fn happens(&mut self, probability: f64) -> bool {
        let [a, b, c, d, ..] = self.next().to_le_bytes();
        f64::from(u32::from_le_bytes([a, b, c, d])) < probability * 4_294_967_296.0
    }

    /// A number below `n`; 0 if there is none.
    fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        usize::try_from(self.next().checked_rem(n).unwrap_or(0)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::membuf::{MemBuf, MemPool};

    /// Sends what it has received: frames go in at the back and come out at the front.
    struct Wire {
        pool: MemPool,
        frames: VecDeque<MemBuf>,
        room: usize,
    }

    impl Device for Wire {
        type Buf = MemBuf;
        fn rx_burst(&mut self, out: &mut Burst<MemBuf>) {
            let n = out.remaining_capacity().min(self.frames.len());
            out.extend(self.frames.drain(..n));
        }
        fn tx_burst(&mut self, frames: &mut Burst<MemBuf>) {
            let n = frames.len().min(self.room - self.frames.len());
            self.frames.extend(frames.drain(..n));
        }
        fn alloc(&mut self) -> Option<MemBuf> {
            self.pool.alloc()
        }
        fn transmits(&self) -> bool {
            true
        }
    }

    fn wire(room: usize) -> Wire {
        Wire { pool: MemPool::new(4096, 64), frames: VecDeque::new(), room }
    }

    /// Sends `n` numbered frames, trying again for what was not taken; returns the numbers received.
    fn through(mut device: Fault<Wire>, n: u8) -> Vec<Vec<u8>> {
        let pool = device.inner.pool.clone();
        let mut numbers = 0..n;
        let (mut out, mut seen) = (Burst::new(), Vec::new());
        for _ in 0..1000 {
            out.extend(
                numbers
                    .by_ref()
                    .take(out.remaining_capacity().min(7))
                    .map(|number| MemBuf::from_bytes(&pool, &[number; 8]).unwrap()),
            );
            let before = out.len();
            device.tx_burst(&mut out);
            assert!(out.len() <= before);
            let mut got = Burst::new();
            device.rx_burst(&mut got);
            seen.extend(got.iter().map(|frame| frame.data().to_vec()));
        }
        assert!(out.is_empty() && device.waiting.is_empty());
        drop(out);
        assert_eq!(pool.in_use(), 0, "no frame leaks");
        seen
    }

    #[test]
    fn without_faults_every_frame_passes_once_and_in_order() {
        let seen = through(Fault::new(wire(4096), FaultPlan::default(), 1), 200);
        assert_eq!(seen, (0..200).map(|n| vec![n; 8]).collect::<Vec<_>>());
    }

    #[test]
    fn the_books_balance_under_every_fault_at_once() {
        let some = Faults { drop: 0.1, duplicate: 0.2, corrupt: 0.1, reorder: 0.3 };
        for seed in 0..20 {
            let plan = FaultPlan { rx: some, tx: some, partial_tx: 0.3 };
            let device = Fault::new(wire(24), plan, seed);
            let (rx, tx) = (device.rx_counters(), device.tx_counters());
            let seen = through(device, 200).len() as u64;
            let sum = |counter: fn(&FaultCounters) -> &Counter| counter(&rx).get() + counter(&tx).get();
            assert_eq!(seen + sum(|c| &c.dropped), 200 + sum(|c| &c.duplicated));
            for (name, count) in [
                ("dropped", sum(|c| &c.dropped)),
                ("duplicated", sum(|c| &c.duplicated)),
                ("corrupted", sum(|c| &c.corrupted)),
                ("reordered", sum(|c| &c.reordered)),
                ("partial", tx.partial.get()),
            ] {
                assert!(count > 0, "{name} never happened with seed {seed}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let plan = FaultPlan {
            rx: Faults { drop: 0.2, duplicate: 0.2, corrupt: 0.2, reorder: 0.2 },
            ..FaultPlan::default()
        };
        let run = |seed| through(Fault::new(wire(4096), plan, seed), 100);
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn a_certain_fault_happens_to_every_frame() {
        let plan = FaultPlan { tx: Faults { drop: 1.0, ..Faults::NONE }, ..FaultPlan::default() };
        let device = Fault::new(wire(4096), plan, 3);
        let tx = device.tx_counters();
        assert!(through(device, 50).is_empty());
        assert_eq!(tx.dropped.get(), 50);

        let plan = FaultPlan { rx: Faults { duplicate: 1.0, ..Faults::NONE }, ..FaultPlan::default() };
        assert_eq!(through(Fault::new(wire(4096), plan, 3), 50).len(), 100);
    }
}

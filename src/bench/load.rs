//! What a run sends, and what became of it.
//!
//! A [`Load`] is one [`Stream`] of flows for each direction; the generator walks through it a burst ahead, so that what is
//! known of a flow is in the cache when its frame is written. A [`Tally`] is what was counted.

use super::flows::Flows;
use super::histogram::Histogram;
use super::order::Order;
use super::pace::{Pacer, Rate};
use crate::device::BURST;
use arrayvec::ArrayVec;

/// Flows that are looked at for the next burst at the most.
const LOOKS: usize = 1024;

/// What one direction is to send.
#[derive(Clone, Debug)]
pub struct Stream {
    /// How fast.
    pub rate: Rate,
    /// In which order.
    pub order: Order,
    /// How many of the order's numbers there are; `None`: no end.
    pub left: Option<u64>,
    /// Flows with one of these flags are left out.
    pub skip: u8,
}

/// What a run sends.
#[derive(Clone, Debug)]
pub struct Load {
    /// By [`Way::index`](super::Way::index).
    pub streams: [Option<Stream>; 2],
    /// How long, in nanoseconds; `None`: until the streams end.
    pub nanos: Option<u64>,
    /// Whether latencies are measured.
    pub latency: bool,
}

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Frames sent, by [`Way::index`](super::Way::index).
    pub sent: [u64; 2],
    /// Frames received and right.
    pub received: [u64; 2],
    /// Of the sending, in nanoseconds.
    pub nanos: u64,
    /// Frames that came twice.
    pub duplicates: u64,
    /// Frames that came after a later one of their flow.
    pub reordered: u64,
    /// ICMP messages of the device under test.
    pub icmp: u64,
    /// Frames of other protocols, and of earlier runs.
    pub strays: u64,
    /// By [`Way::index`](super::Way::index), if asked for.
    pub latency: [Histogram; 2],
    /// The first of those that came twice or late, in words.
    pub(super) first: Option<String>,
}

impl Tally {
    /// Frames that were sent and did not arrive.
    pub fn lost(&self) -> u64 {
        let sent: u64 = self.sent.iter().sum();
        sent.saturating_sub(self.received.iter().sum())
    }

    /// Frames sent in both directions.
    pub fn all_sent(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// Frames a second of those that were sent while sending: `frames` of this run.
    pub fn per_second(&self, frames: u64) -> u64 {
        let each = u128::from(frames) * 1_000_000_000 / u128::from(self.nanos.max(1));
        u64::try_from(each).unwrap_or(u64::MAX)
    }
}

/// Flow numbers, a burst ahead of their use.
#[derive(Debug)]
pub(super) struct Source {
    stream: Stream,
    pub(super) pacer: Pacer,
    pub(super) ahead: ArrayVec<u32, BURST>,
}

impl Source {
    pub(super) fn new(stream: Stream, now: u64, flows: &Flows) -> Source {
        let mut source = Source { pacer: Pacer::new(stream.rate, now), stream, ahead: ArrayVec::new() };
        source.refill(flows);
        source
    }

    /// Nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.ahead.is_empty() && self.stream.left == Some(0)
    }

    /// Finds the flows of the next burst and asks for what is known of them.
    #[inline]
    pub(super) fn refill(&mut self, flows: &Flows) {
        // Those that are left out cost time too: no turn takes for ever.
        for _ in 0..LOOKS {
            if self.ahead.is_full() {
                break;
            }
            match &mut self.stream.left {
                Some(0) => break,
                Some(left) => *left -= 1,
                None => {}
            }
            let number = flows.first().wrapping_add(self.stream.order.next_flow());
            flows.prefetch(number);
            let skip = self.stream.skip;
            if skip == 0 || flows.get(number).is_some_and(|flow| !flow.has(skip)) {
                self.ahead.push(number);
            }
        }
    }
}

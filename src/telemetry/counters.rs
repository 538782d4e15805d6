//! What each worker counts. One writer a counter; readers add up.

use super::samples::DropSamples;
use super::{AlgEvent, DropReason, Eviction, HandoffCause};
use crate::ids::MAX_INTERFACES;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the counter's one writer may call this: it is a load and a store, not an atomic addition.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one; see [`Counter::add`].
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Stores a value, for gauges.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Takes `n` back; see [`Counter::add`].
    #[inline]
    pub fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// The value at some recent moment.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Sizes of bursts that are told apart: 1 frame, 2 to 3, 4 to 7, and so on by powers of two up to a whole burst of 32.
pub const BURST_FILLS: usize = 6;

/// The most frames of a burst of each of these sizes.
pub const BURST_FILL_BOUNDS: [u8; BURST_FILLS] = [1, 3, 7, 15, 31, 32];

/// Classes of sessions that are counted one by one: those of `conntrack::class`.
pub const SESSION_CLASSES: usize = 7;

/// Frames and bytes of one interface, as one worker saw them. Bytes are whole Ethernet frames without FCS.
#[derive(Debug, Default)]
pub struct InterfaceCounters {
    /// Frames received.
    pub rx_packets: Counter,
    /// Bytes received.
    pub rx_bytes: Counter,
    /// Frames sent.
    pub tx_packets: Counter,
    /// Bytes sent.
    pub tx_bytes: Counter,
    /// Whole TCP and UDP packets received, with several workers: those that a NIC can deliver to their owner.
    pub steerable: Counter,
    /// Of these, handed to another worker.
    pub handed_off: Counter,
    /// Of these, such as the NIC had to deliver to another worker if it did what its plan says.
    pub misplaced: Counter,
}

/// Everything that one worker counts.
///
/// At rest `rx = sent + consumed + sum(drops) + held` over all workers together: a packet that is handed off is
/// received by one worker and gets its verdict from another.
///
/// Aligned so that no two workers' counters share a cache line (or a pair of them, which are prefetched together).
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// Frames that devices delivered.
    pub rx: Counter,
    /// Verdict: forwarded.
    pub sent: Counter,
    /// Verdict: was for the gateway itself and was dealt with (ARP, echo request).
    pub consumed: Counter,
    /// Verdict: dropped, by [`DropReason`].
    pub drops: [Counter; DropReason::COUNT],
    /// The last packets that were dropped for each reason.
    pub samples: DropSamples,
    /// Gauge: received packets without a verdict yet (waiting for a neighbour or a first fragment).
    pub held: Counter,
    /// Frames that the gateway made itself and sent (ARP, echo replies, ICMP errors).
    pub generated: Counter,
    /// Frames that the gateway made itself and could not send.
    pub generated_lost: Counter,
    /// ICMP errors not sent because of the rate limit.
    pub icmp_limited: Counter,
    /// SYNs answered with a cookie.
    pub syn_cookies_sent: Counter,
    /// Clients that brought back a cookie.
    pub syn_cookies_valid: Counter,
    /// SYNs of the SYN proxy to a backend but the first.
    pub syn_proxy_retries: Counter,
    /// Clients of the SYN proxy whose backend did not answer.
    pub syn_proxy_given_up: Counter,
    /// Frames handed to another worker, whatever for.
    pub handed_off: Counter,
    /// Frames handed to another worker, or dropped because its ring was full, by [`HandoffCause`].
    pub handoffs: [Counter; HandoffCause::COUNT],
    /// Packets received from other workers.
    pub taken_over: Counter,
    /// Sessions created.
    pub sessions_created: Counter,
    /// Sessions removed.
    pub sessions_removed: Counter,
    /// Sessions removed to make room for others, by [`Eviction`]. They count as removed too.
    pub evictions: [Counter; Eviction::COUNT],
    /// What application level gateways did, by [`AlgEvent`].
    pub alg: [Counter; AlgEvent::COUNT],
    /// Gauge: sessions in the table.
    pub sessions: Counter,
    /// Gauge: TCP connections in the table before the end of their handshake.
    pub half_open: Counter,
    /// Gauge: sessions in the table by class, as they were at the last tick.
    pub classes: [Counter; SESSION_CLASSES],
    /// Turns with something to do: packets, messages.
    pub busy_polls: Counter,
    /// Turns made.
    pub polls: Counter,
    /// Bursts received from devices that held at least one frame, by how many they held.
    pub burst_fill: [Counter; BURST_FILLS],
    /// Nanoseconds that turns with something to do took.
    pub busy_nanos: Counter,
    /// Gauge: nanoseconds of the longest of these turns since the start.
    pub longest_turn_nanos: Counter,
    /// Gauge: nanoseconds of the turn in which the worker took the configuration that it runs; 0 before the first reload.
    pub adopt_turn_nanos: Counter,
    /// Gauge: the longest of these since the start.
    pub adopt_turn_max_nanos: Counter,
    /// Messages to the management core that found the ring full. Nothing is lost for good: a neighbour is asked for
    /// again with the next packet to it, and what ARP told is told again.
    pub messages_lost: Counter,
    /// Sessions whose timer could not be posted to the management core because the ring was full. None is forgotten:
    /// the management core goes through the whole table when it sees this grow.
    pub timer_posts_lost: Counter,
    /// What happened to sessions and no watcher was told, because the ring to the management core was full.
    pub session_events_lost: Counter,
    /// Which revision of the configuration the worker runs; no counter, but written and read like one.
    pub revision: Arc<crate::sync::AtomicU64>,
    /// By interface.
    pub interfaces: Box<[InterfaceCounters]>,
}

impl Default for WorkerCounters {
    fn default() -> Self {
        WorkerCounters {
            rx: Counter::default(),
            sent: Counter::default(),
            consumed: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            samples: DropSamples::default(),
            held: Counter::default(),
            generated: Counter::default(),
            generated_lost: Counter::default(),
            icmp_limited: Counter::default(),
            syn_cookies_sent: Counter::default(),
            syn_cookies_valid: Counter::default(),
            syn_proxy_retries: Counter::default(),
            syn_proxy_given_up: Counter::default(),
            handed_off: Counter::default(),
            handoffs: std::array::from_fn(|_| Counter::default()),
            taken_over: Counter::default(),
            sessions_created: Counter::default(),
            sessions_removed: Counter::default(),
            evictions: std::array::from_fn(|_| Counter::default()),
            alg: std::array::from_fn(|_| Counter::default()),
            sessions: Counter::default(),
            half_open: Counter::default(),
            classes: std::array::from_fn(|_| Counter::default()),
            busy_polls: Counter::default(),
            polls: Counter::default(),
            burst_fill: std::array::from_fn(|_| Counter::default()),
            busy_nanos: Counter::default(),
            longest_turn_nanos: Counter::default(),
            adopt_turn_nanos: Counter::default(),
            adopt_turn_max_nanos: Counter::default(),
            messages_lost: Counter::default(),
            timer_posts_lost: Counter::default(),
            session_events_lost: Counter::default(),
            revision: Arc::default(),
            interfaces: (0..MAX_INTERFACES).map(|_| InterfaceCounters::default()).collect(),
        }
    }
}

impl WorkerCounters {
    /// Counts one drop. Workers do it through [`super::samples::Sampler`], which also keeps some of the packets.
    #[inline]
    pub fn count_drop(&self, reason: DropReason) {
        self.drops[reason as usize].increment();
    }

    /// Counts one frame for another worker.
    #[inline]
    pub fn count_handoff(&self, cause: HandoffCause) {
        self.handoffs[cause as usize].increment();
    }

    /// Counts one session that had to make room.
    #[inline]
    pub fn count_eviction(&self, eviction: Eviction) {
        self.evictions[eviction as usize].increment();
    }

    /// Counts something that an application level gateway did.
    #[inline]
    pub fn count_alg(&self, event: AlgEvent) {
        self.alg[event as usize].increment();
    }

    /// Counts one burst that held so many frames, at least 1.
    #[inline]
    pub fn count_burst(&self, frames: usize) {
        let fill = frames.checked_ilog2().unwrap_or(0) as usize;
        if let Some(counter) = self.burst_fill.get(fill.min(BURST_FILLS - 1)) {
            counter.increment();
        }
    }

    /// The sum of all drops.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(Counter::get).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_counted_where_its_size_belongs() {
        let counters = WorkerCounters::default();
        let sizes = 1..=usize::from(BURST_FILL_BOUNDS[BURST_FILLS - 1]);
        sizes.clone().for_each(|frames| counters.count_burst(frames));
        let mut below = 0;
        for (counter, bound) in counters.burst_fill.iter().zip(BURST_FILL_BOUNDS) {
            below += counter.get();
            assert_eq!(below, u64::from(bound), "bursts of up to {bound} frames");
        }
        assert_eq!(below, sizes.count() as u64);
    }
}

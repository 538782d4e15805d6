//! What each worker counts for each notrack class.

use super::{Counter, PerWorker};
use crate::time::Tick;

/// What became of the packets of a class. Index 0 is from clients to the service, 1 back.
#[derive(Debug, Default)]
pub struct ClassCounters {
    /// Packets that were let pass each way, ICMP errors too.
    pub packets: [Counter; 2],
    /// Their bytes: IPv4 packets, without link headers.
    pub bytes: [Counter; 2],
    /// Packets that the class dropped each way, whatever the reason: see the drop reasons that begin with `notrack_`.
    pub dropped: [Counter; 2],
    /// Gauge: the tick of the last packet each way, plus one; 0: there was none.
    pub last: [Counter; 2],
}

impl ClassCounters {
    /// Counts a packet that passes.
    #[inline]
    pub fn pass(&self, way: usize, bytes: u16, now: Tick) {
        self.packets[way & 1].increment();
        self.bytes[way & 1].add(bytes.into());
        self.last[way & 1].set(u64::from(now.0) + 1);
    }

    /// Counts a packet that the class drops.
    #[cold]
    pub fn drop(&self, way: usize, now: Tick) {
        self.dropped[way & 1].increment();
        self.last[way & 1].set(u64::from(now.0) + 1);
    }
}

/// All workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassTotals {
    /// As [`ClassCounters::packets`].
    pub packets: [u64; 2],
    /// As [`ClassCounters::bytes`].
    pub bytes: [u64; 2],
    /// As [`ClassCounters::dropped`].
    pub dropped: [u64; 2],
    /// The tick of the last packet each way.
    pub last: [Option<Tick>; 2],
}

impl PerWorker<ClassCounters> {
    /// All workers together.
    pub fn totals(&self) -> ClassTotals {
        let sum = |counter: &dyn Fn(&ClassCounters) -> &Counter| {
            self.iter().map(|of_worker| counter(of_worker).get()).fold(0, u64::wrapping_add)
        };
        let last = |way: usize| {
            let latest = self.iter().map(|of_worker| of_worker.last[way].get()).max().unwrap_or(0);
            u32::try_from(latest.checked_sub(1)?).ok().map(Tick)
        };
        ClassTotals {
            packets: [0, 1].map(|way| sum(&|counters| &counters.packets[way])),
            bytes: [0, 1].map(|way| sum(&|counters| &counters.bytes[way])),
            dropped: [0, 1].map(|way| sum(&|counters| &counters.dropped[way])),
            last: [0, 1].map(last),
        }
    }
}

//! What the generator remembers of each flow: 32 bytes, so that a frame costs one cache line of it.
//!
//! Written by the generator alone. A flow is *established* once its first frame came out on the outer side: from then on its
//! external endpoint must stay what it was. Numbers of frames run on over all runs; lost ones leave gaps, which are not counted
//! here (what was lost is sent less received).

use super::Way;
use super::addresses::Endpoint;
use crate::memory::Slab;
use crate::prefetch::prefetch;

/// The flow's first frame came out outside.
pub const ESTABLISHED: u8 = 1;
/// An answer arrived inside.
pub const ANSWERED: u8 = 2;

/// Numbers of frames that arrived: the next one expected, and which of the 32 before it were seen.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    next: u32,
    seen: u32,
}

/// How a frame fits into the order of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Later than all before it.
    InOrder,
    /// It came before.
    Duplicate,
    /// Later ones came before it.
    Reordered,
}

impl Track {
    #[inline]
    fn arrive(&mut self, seq: u32) -> Arrival {
        let ahead = seq.wrapping_sub(self.next);
        if ahead < 1 << 31 {
            self.seen = self.seen.checked_shl(ahead + 1).unwrap_or(0) | 1;
            self.next = seq.wrapping_add(1);
            return Arrival::InOrder;
        }
        let bit = 1u32.checked_shl(self.next.wrapping_sub(1).wrapping_sub(seq)).unwrap_or(0);
        if self.seen & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= bit;
        Arrival::Reordered
    }
}

/// One flow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub struct Flow {
    /// Number of the next frame to send, by [`Way::index`].
    sent: [u32; 2],
    received: [Track; 2],
    address: u32,
    port: u16,
    flags: u8,
}

const _: () = assert!(size_of::<Flow>() == 32);

impl Flow {
    /// The number of a frame that is sent now.
    #[inline]
    pub fn send(&mut self, way: Way) -> u32 {
        let seq = self.sent[way.index()];
        self.sent[way.index()] = seq.wrapping_add(1);
        seq
    }

    /// A frame arrived.
    #[inline]
    pub fn arrive(&mut self, way: Way, seq: u32) -> Arrival {
        self.received[way.index()].arrive(seq)
    }

    /// Its external endpoint, once it is established.
    #[inline]
    pub fn external(&self) -> Option<Endpoint> {
        (self.flags & ESTABLISHED != 0).then_some((self.address, self.port))
    }

    /// The flow's first frame came out with this source.
    #[inline]
    pub fn establish(&mut self, external: Endpoint) {
        (self.address, self.port) = external;
        self.flags |= ESTABLISHED;
    }

    /// An answer arrived. True for the first one.
    #[inline]
    pub fn answer(&mut self) -> bool {
        let first = self.flags & ANSWERED == 0;
        self.flags |= ANSWERED;
        first
    }

    /// Whether it has all of these flags.
    #[inline]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// The flows of a trial: numbers from `first` on.
#[derive(Debug)]
pub struct Flows {
    first: u32,
    table: Slab<Flow>,
    /// Flows with [`ESTABLISHED`].
    pub established: u32,
    /// Flows with [`ANSWERED`].
    pub answered: u32,
}

impl Flows {
    /// `count` flows of which nothing is known.
    pub fn new(first: u32, count: u32) -> Flows {
        let table = Slab::from_fn(count as usize, |_| Flow::default());
        Flows { first, table, established: 0, answered: 0 }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.table.len()).unwrap_or(u32::MAX)
    }

    /// The number of the first one.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// One of them.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Flow> {
        self.table.get(number.wrapping_sub(self.first) as usize)
    }

    /// One of them, to be changed.
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Flow> {
        self.table.get_mut(number.wrapping_sub(self.first) as usize)
    }

    /// Asks for what is known of a flow before it is needed.
    #[inline]
    pub fn prefetch(&self, number: u32) {
        if let Some(flow) = self.get(number) {
            prefetch(flow);
        }
    }

    /// Makes room for `count` flows in all; what is known of the first ones stays.
    pub fn grow(&mut self, count: u32) {
        let table = Slab::from_fn(count as usize, |at| self.table.get(at).copied().unwrap_or_default());
        self.table = table;
    }

    /// Forgets which flows were answered, so that they can be asked again.
    pub fn forget_answers(&mut self) {
        self.table.iter_mut().for_each(|flow| flow.flags &= !ANSWERED);
        self.answered = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(numbers: &[u32]) -> Vec<Arrival> {
        let mut track = Track::default();
        numbers.iter().map(|seq| track.arrive(*seq)).collect()
    }

    #[test]
    fn lost_frames_leave_gaps_and_what_comes_late_or_twice_is_told_apart() {
        use Arrival::{Duplicate, InOrder, Reordered};
        assert_eq!(arrivals(&[0, 1, 2]), [InOrder; 3]);
        assert_eq!(
            arrivals(&[0, 3, 4, 2, 2, 4]),
            [InOrder, InOrder, InOrder, Reordered, Duplicate, Duplicate]
        );
        assert_eq!(arrivals(&[0, 0]), [InOrder, Duplicate]);
        assert_eq!(arrivals(&[40, 0, 40]), [InOrder, Reordered, Duplicate]);
    }

    #[test]
    fn numbers_wrap() {
        let mut track = Track { next: u32::MAX, seen: 0 };
        assert_eq!(track.arrive(u32::MAX), Arrival::InOrder);
        assert_eq!(track.arrive(0), Arrival::InOrder);
        assert_eq!(track.arrive(u32::MAX), Arrival::Duplicate);
    }

    #[test]
    fn flows_beyond_the_table_are_none() {
        let mut flows = Flows::new(100, 10);
        assert!(flows.get(99).is_none() && flows.get(110).is_none());
        let flow = flows.get_mut(109).unwrap();
        assert_eq!((flow.send(Way::Out), flow.send(Way::Out), flow.send(Way::Back)), (0, 1, 0));
        assert_eq!(flow.external(), None);
        flow.establish((7, 8));
        assert_eq!(flow.external(), Some((7, 8)));
        assert!(flow.answer() && !flow.answer());
        flows.forget_answers();
        assert!(flows.get(109).unwrap().has(ESTABLISHED) && !flows.get(109).unwrap().has(ANSWERED));
    }
}

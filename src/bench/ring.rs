//! Devices in memory without a lock: the two ends of a wire, for a device under test in this process.
//!
//! A wire is two rings (`rtrb`: one writer, one reader each). A frame is one piece of memory that wanders from end to end;
//! the generator writes those that come back anew, so that the allocator is asked only until there are enough.

use super::sizes;
use crate::device::{Burst, Device};
use crate::packet::{NoRoom, PacketBuf};
use rtrb::{Consumer, Producer, RingBuffer};
use std::ops::Range;

/// Room in front of a fresh frame, in bytes: what DPDK's frames have.
const HEADROOM: u16 = 128;
/// Bytes of the largest frame.
const ROOM: u16 = 2048;
const BYTES: usize = HEADROOM as usize + ROOM as usize;

/// A frame.
#[derive(Debug)]
pub struct RingBuf(Box<Inner>);

/// What is known of a frame is in the cache line before its headers.
#[derive(Debug)]
#[repr(C, align(64))]
struct Inner {
    bytes: [u8; BYTES],
    // start + len <= BYTES, always.
    start: u16,
    len: u16,
}

impl RingBuf {
    fn new() -> RingBuf {
        RingBuf(Box::new(Inner { bytes: [0; BYTES], start: HEADROOM, len: 0 }))
    }

    #[inline]
    fn range(&self) -> Range<usize> {
        let start = usize::from(self.0.start);
        start..start + usize::from(self.0.len)
    }
}

impl PacketBuf for RingBuf {
    #[inline]
    fn data(&self) -> &[u8] {
        self.0.bytes.get(self.range()).unwrap_or_default()
    }

    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        self.0.bytes.get_mut(range).unwrap_or_default()
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.0.len = self.0.len.min(u16::try_from(len).unwrap_or(u16::MAX));
    }

    #[inline]
    fn grow_front(&mut self, n: usize) -> Result<(), NoRoom> {
        let n = u16::try_from(n).map_err(|_| NoRoom)?;
        self.0.start = self.0.start.checked_sub(n).ok_or(NoRoom)?;
        self.0.len += n;
        Ok(())
    }

    #[inline]
    fn shrink_front(&mut self, n: usize) {
        let n = u16::try_from(n).unwrap_or(u16::MAX).min(self.0.len);
        self.0.start += n;
        self.0.len -= n;
    }

    #[inline]
    fn grow_back(&mut self, n: usize) -> Result<(), NoRoom> {
        let end = self.range().end.checked_add(n).filter(|end| *end <= BYTES).ok_or(NoRoom)?;
        self.0.len = u16::try_from(end - usize::from(self.0.start)).map_err(|_| NoRoom)?;
        Ok(())
    }
}

/// One end of a wire.
#[derive(Debug)]
pub struct RingDevice {
    rx: Consumer<RingBuf>,
    tx: Producer<RingBuf>,
}

impl RingDevice {
    /// Both ends of a wire that holds `frames` each way.
    pub fn pair(frames: usize) -> (RingDevice, RingDevice) {
        let (there, arrives) = RingBuffer::new(frames);
        let (back, returns) = RingBuffer::new(frames);
        (RingDevice { rx: returns, tx: there }, RingDevice { rx: arrives, tx: back })
    }
}

impl Device for RingDevice {
    type Buf = RingBuf;

    #[inline]
    fn rx_burst(&mut self, out: &mut Burst<RingBuf>) {
        let count = self.rx.slots().min(out.remaining_capacity());
        if let Ok(frames) = self.rx.read_chunk(count) {
            out.extend(frames);
        }
    }

    #[inline]
    fn tx_burst(&mut self, frames: &mut Burst<RingBuf>) {
        let count = self.tx.slots().min(frames.len());
        if let Ok(places) = self.tx.write_chunk_uninit(count) {
            places.fill_from_iter(frames.drain(..count));
        }
    }

    fn alloc(&mut self) -> Option<RingBuf> {
        Some(RingBuf::new())
    }

    fn transmits(&self) -> bool {
        true
    }
}

const _: () = assert!(ROOM as usize > sizes::LARGEST as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8) -> RingBuf {
        let mut buf = RingBuf::new();
        buf.grow_back(3).unwrap();
        buf.data_mut().fill(byte);
        buf
    }

    #[test]
    fn frames_come_out_at_the_other_end_in_order_and_what_has_no_room_stays() {
        let (mut one, mut other) = RingDevice::pair(2);
        let mut frames: Burst<RingBuf> = (1..=3).map(frame).collect();
        one.tx_burst(&mut frames);
        assert_eq!((frames.len(), frames[0].data()[0]), (1, 3));
        let mut came = Burst::new();
        other.rx_burst(&mut came);
        assert_eq!(came.iter().map(|buf| buf.data()[0]).collect::<Vec<_>>(), [1, 2]);
        other.tx_burst(&mut came);
        let mut returned = Burst::new();
        one.rx_burst(&mut returned);
        assert_eq!(returned.len(), 2);
        one.rx_burst(&mut returned);
        assert_eq!(returned.len(), 2);
    }

    #[test]
    fn a_frame_grows_and_shrinks_within_its_room() {
        let mut buf = frame(7);
        buf.grow_front(2).unwrap();
        buf.shrink_front(4);
        assert_eq!(buf.data(), [7]);
        assert!(buf.grow_front(usize::from(HEADROOM) + 10).is_err());
        assert!(buf.grow_back(usize::from(ROOM)).is_err());
        assert!(buf.grow_back(1514).is_ok());
        buf.truncate(2);
        assert_eq!(buf.data().len(), 2);
        buf.shrink_front(1000);
        assert!(buf.data().is_empty());
    }
}

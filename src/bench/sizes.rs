//! The sizes of a stream's frames, one after the other.
//!
//! A size counts the FCS of four bytes, as RFC 2544 does; a device is handed the frame without it. Which size a frame of an
//! IMIX has follows from its flow and its number in the flow, so that the receiver knows what it must be.

use super::report::Frame;

/// Bytes of the FCS.
pub const FCS: u16 = 4;

/// The largest frame without jumbo frames.
pub const LARGEST: u16 = 1518;

/// The frames of the IMIX, the sizes spread.
const MIXED: [u16; 12] = [64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594];

/// The sizes of frames, in turn.
#[inline]
pub fn pattern(frame: &Frame) -> &[u16] {
    match frame {
        Frame::Bytes(size) => std::slice::from_ref(size),
        Frame::Imix => &MIXED,
    }
}

/// The largest of them.
pub fn largest(frame: Frame) -> u16 {
    pattern(&frame).iter().copied().max().unwrap_or(0)
}

/// The place in a pattern of `len` sizes of frame `seq` of a flow.
#[inline]
pub fn place(flow: u32, seq: u32, len: usize) -> usize {
    if len <= 1 { 0 } else { flow.wrapping_add(seq) as usize % len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::IMIX;

    #[test]
    fn the_frames_of_the_imix_are_as_many_of_each_size_as_it_says() {
        assert_eq!(MIXED.len(), IMIX.iter().map(|(_, share)| usize::from(*share)).sum::<usize>());
        for (size, share) in IMIX {
            let count = MIXED.iter().filter(|other| **other == size).count();
            assert_eq!(count, usize::from(share), "{size}");
        }
        assert_eq!((largest(Frame::Imix), largest(Frame::Bytes(64))), (1518, 64));
    }

    #[test]
    fn a_flow_has_each_size_in_turn() {
        let places: Vec<usize> = (0..12).map(|seq| place(5, seq, 12)).collect();
        assert_eq!(places, [5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4]);
        assert_eq!(place(u32::MAX, u32::MAX, 1), 0);
    }
}

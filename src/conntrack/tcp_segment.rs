//! A TCP segment as the tracker sees it: read once from the packet, checked, owned.
//!
//! Options are read on SYN segments only, and only the window scale (RFC 7323 section 2.2): it is the one thing in them
//! that decides what a later segment may be. The walk ends with the header, so after at most 40 steps.

use crate::telemetry::DropReason;
use crate::wire::tcp::{ACK, FIN, HEADER_LEN, RST, SYN, TcpHeader};
use zerocopy::FromBytes;

/// What matters of a segment's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SegmentKind {
    /// Opens a connection.
    Syn,
    /// Accepts one.
    SynAck,
    /// Ends one direction; always with ACK (RFC 9293 3.5).
    Fin,
    /// Data or acknowledgement.
    Ack,
    /// Aborts.
    Rst,
}

impl SegmentKind {
    /// Every kind, in the order of the rows of the table of states.
    pub const ALL: &'static [SegmentKind] =
        &[SegmentKind::Syn, SegmentKind::SynAck, SegmentKind::Fin, SegmentKind::Ack, SegmentKind::Rst];

    /// The kind of a segment with these flags, or `None` if no TCP sends such a one: SYN with FIN or RST, FIN with
    /// RST, FIN without ACK, none at all. PSH, URG, ECE and CWR do not matter.
    #[inline]
    pub fn classify(flags: u8) -> Option<SegmentKind> {
        const SYN_ACK: u8 = SYN | ACK;
        const FIN_ACK: u8 = FIN | ACK;
        const RST_ACK: u8 = RST | ACK;
        match flags & (SYN | FIN | RST | ACK) {
            SYN => Some(SegmentKind::Syn),
            SYN_ACK => Some(SegmentKind::SynAck),
            FIN_ACK => Some(SegmentKind::Fin),
            ACK => Some(SegmentKind::Ack),
            RST | RST_ACK => Some(SegmentKind::Rst),
            _ => None,
        }
    }
}

/// A segment. Numbers are in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What its flags make it.
    pub kind: SegmentKind,
    /// The flag byte: see [`crate::wire::tcp`].
    pub flags: u8,
    /// Sequence number of its first byte, or of its SYN.
    pub seq: u32,
    /// Acknowledgement number; meaningless without ACK.
    pub ack: u32,
    /// The window as it stands in the header, unscaled.
    pub window: u16,
    /// Bytes of payload, 0 to 65,495; of a first fragment those that it holds.
    pub len: u16,
    /// Whether all of its payload is there: not so in a first fragment.
    pub whole: bool,
    /// On a SYN or SYN/ACK that offers window scaling: the shift, 0 to 14.
    pub scale: Option<u8>,
}

impl Segment {
    /// A segment without data and options. `None` if no TCP sends one with these flags.
    pub fn bare(flags: u8, seq: u32, ack: u32, window: u16) -> Option<Segment> {
        let kind = SegmentKind::classify(flags)?;
        Some(Segment { kind, flags, seq, ack, window, len: 0, whole: true, scale: None })
    }

    /// Reads a segment. `transport` begins at the TCP header and ends with the datagram (or, if not `whole`, with the
    /// first fragment of it).
    #[inline]
    pub fn read(transport: &[u8], whole: bool) -> Result<Segment, DropReason> {
        let invalid = DropReason::L4HeaderInvalid;
        let (header, rest) = TcpHeader::ref_from_prefix(transport).map_err(|_| invalid)?;
        let options = header.header_len().checked_sub(HEADER_LEN).ok_or(invalid)?;
        let (options, payload) = rest.split_at_checked(options).ok_or(invalid)?;
        let kind = SegmentKind::classify(header.flags).ok_or(DropReason::TcpInvalid)?;
        Ok(Segment {
            kind,
            flags: header.flags,
            seq: header.sequence.get(),
            ack: header.acknowledgement.get(),
            window: header.window.get(),
            len: u16::try_from(payload.len()).map_err(|_| invalid)?,
            whole,
            scale: match kind {
                SegmentKind::Syn | SegmentKind::SynAck => window_scale(options),
                _ => None,
            },
        })
    }

    /// Whether its acknowledgement number means something.
    #[inline]
    pub fn has_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    /// Whether it is a SYN or SYN/ACK: the window of such a one is never scaled (RFC 7323 section 2.2).
    #[inline]
    pub fn is_syn(&self) -> bool {
        self.flags & SYN != 0
    }

    /// The sequence number that follows it: SYN and FIN count one each (RFC 9293 section 3.4).
    #[inline]
    pub fn end(&self) -> u32 {
        let flags = u32::from(self.is_syn()) + u32::from(self.flags & FIN != 0);
        self.seq.wrapping_add(u32::from(self.len)).wrapping_add(flags)
    }

    /// The sequence number that follows its SYN alone; data may come with a SYN (RFC 7413).
    #[inline]
    pub(super) fn after_syn(&self) -> u32 {
        self.seq.wrapping_add(1)
    }
}

/// The largest shift; greater ones count as this (RFC 7323 section 2.3).
pub(super) const MAX_SCALE: u8 = 14;

/// The shift of the window scale option. Options that can not be walked to their end count as far as they can.
fn window_scale(mut options: &[u8]) -> Option<u8> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const WINDOW_SCALE: u8 = 3;
    loop {
        options = match *options {
            [] | [END, ..] | [_] => return None,
            [NO_OPERATION, ref rest @ ..] => rest,
            [WINDOW_SCALE, 3, shift, ..] => return Some(shift.min(MAX_SCALE)),
            [_, len, ..] => options.get(usize::from(len).max(2)..)?,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentKind::{Ack, Fin, Rst, Syn, SynAck};
    use super::*;
    use crate::wire::tcp::{PSH, URG};
    use proptest::prelude::*;

    #[test]
    fn impossible_flags_are_told_from_possible_ones() {
        for flags in 0..=u8::MAX {
            let kind = SegmentKind::classify(flags);
            let (syn, fin, rst, ack) =
                (flags & SYN != 0, flags & FIN != 0, flags & RST != 0, flags & ACK != 0);
            let impossible =
                (syn && (fin || rst)) || (fin && rst) || (fin && !ack) || !(syn || fin || rst || ack);
            assert_eq!(kind.is_none(), impossible, "{flags:#04x}");
        }
        for (flags, kind) in [
            (SYN, Some(Syn)),
            (SYN | ACK, Some(SynAck)),
            (FIN | ACK, Some(Fin)),
            (ACK | PSH | URG, Some(Ack)),
            (RST, Some(Rst)),
            (RST | ACK, Some(Rst)),
            // ECN set-up (RFC 3168 6.1.1): ECE and CWR on the SYN.
            (SYN | 0xc0, Some(Syn)),
            (FIN, None),
            (PSH | URG | FIN, None),
            (0, None),
        ] {
            assert_eq!(SegmentKind::classify(flags), kind, "{flags:#04x}");
        }
    }

    fn bytes(flags: u8, options: &[u8], payload: usize) -> Vec<u8> {
        let offset = u8::try_from(((HEADER_LEN + options.len()) / 4) << 4).unwrap();
        let mut bytes = vec![0, 80, 4, 0, 0, 0, 0, 7, 0, 0, 0, 9, offset, flags, 1, 2, 0, 0, 0, 0];
        bytes.extend(options);
        bytes.resize(bytes.len() + payload, 0xee);
        bytes
    }

    #[test]
    fn a_segment_is_read_field_by_field() {
        let read = Segment::read(&bytes(FIN | ACK, &[1; 4], 5), true).unwrap();
        let expected = Segment {
            kind: Fin,
            flags: FIN | ACK,
            seq: 7,
            ack: 9,
            window: 258,
            len: 5,
            whole: true,
            scale: None,
        };
        assert_eq!((read, read.end()), (expected, 13));
        assert_eq!(Segment::read(&bytes(SYN | FIN, &[], 0), true), Err(DropReason::TcpInvalid));
        assert_eq!(Segment::read(&[0; 19], true), Err(DropReason::L4HeaderInvalid));
    }

    #[test]
    fn the_window_scale_is_found_among_the_options_of_a_syn() {
        for (options, scale) in [
            (&[3, 3, 7, 0][..], Some(7)),
            (&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 9], Some(9)),
            (&[3, 3, 15, 0], Some(14)),
            (&[0, 3, 3, 7], None),
            (&[2, 4, 5, 180], None),
            (&[3, 4, 7, 0], None),
            (&[1, 1, 3, 3], None),
            (&[8, 0, 3, 3, 7, 0, 0, 0], Some(7)),
            (&[8, 200, 3, 3, 7, 0, 0, 0], None),
        ] {
            let read = |flags| Segment::read(&bytes(flags, options, 0), true).unwrap().scale;
            assert_eq!((read(SYN), read(SYN | ACK)), (scale, scale), "{options:?}");
            assert_eq!(read(ACK), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(segment) = Segment::read(&bytes, true) {
                prop_assert!(usize::from(segment.len) + HEADER_LEN <= bytes.len());
                prop_assert!(segment.scale.is_none_or(|shift| shift <= MAX_SCALE));
            }
        }
    }
}

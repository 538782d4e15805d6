//! A TCP segment of a watched session, made what its receiver gets: payload, lengths, numbers, every checksum over them. Pure.
//!
//! Checksums are updated and never computed anew (RFC 1624): a segment that was damaged before it came here still is when it
//! leaves. What was replaced counts by the sums of the payload before and after, since what stands behind may have moved by an odd
//! number of bytes.

use super::stream::Stream;
use crate::nat::rewrite::view_mut;
use crate::nat::sequence::{Numbering, renumber};
use crate::packet::{Packet, PacketBuf, Parsed};
use crate::telemetry::DropReason;
use crate::wire::checksum::{Delta, Sum};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::tcp::TcpHeader;

/// The two directions of a session, as a segment of one of them needs them.
#[derive(Clone, Copy, Debug)]
pub struct Both<'s> {
    /// Its own.
    pub own: &'s Stream,
    /// The other one, of which it acknowledges something.
    pub other: &'s Stream,
}

impl Numbering for Both<'_> {
    fn sequence(&self, number: u32) -> u32 {
        self.own.to_receiver(number)
    }

    fn acknowledgement(&self, number: u32) -> u32 {
        self.other.to_sender(number)
    }
}

/// Makes a segment, of whose payload the first byte has the number `from`, what its receiver gets. `payload` is the length of
/// what it carries. A first fragment holds no byte that is replaced: see [`Stream::touches`].
///
/// # Errors
/// [`DropReason::AlgUnfit`] if the frame has no room for what is added. The packet is not to be sent then.
pub fn rewrite_segment<B: PacketBuf>(
    packet: &mut Packet<B, Parsed>,
    both: &Both<'_>,
    (from, payload): (u32, u16),
) -> Result<(), DropReason> {
    if both.own.touches(from, payload.into()) {
        replace(packet, both.own, (from, payload))?;
    }
    renumber(packet.l3_l4_mut()?.1, both)
}

fn replace<B: PacketBuf>(
    packet: &mut Packet<B, Parsed>,
    stream: &Stream,
    (from, payload): (u32, u16),
) -> Result<(), DropReason> {
    let start = packet.buf.data().len().saturating_sub(usize::from(payload));
    let sum = |packet: &Packet<B, Parsed>| {
        !Sum::default().bytes(packet.buf.data().get(start..).unwrap_or_default()).checksum()
    };
    let old_len = packet.l4_bytes().len();
    let before = sum(packet);
    stream.rewrite(&mut packet.buf, start, from).map_err(|_| DropReason::AlgUnfit)?;
    let after = sum(packet);
    let new_len = packet.l4_bytes().len();
    let head = usize::from(packet.state.l4 - packet.state.l3);
    let total = u16::try_from(head + new_len).map_err(|_| DropReason::AlgUnfit)?;
    let word = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
    packet.state.total_len = total;
    let (l3, l4) = packet.l3_l4_mut()?;
    let header: &mut Ipv4Header = view_mut(l3)?;
    header.checksum.set(Delta::word(header.total_len.get(), total).apply(header.checksum.get()));
    header.total_len.set(total);
    let tcp: &mut TcpHeader = view_mut(l4)?;
    // The length is in the pseudo-header.
    let change = Delta::word(before, after).and(Delta::word(word(old_len), word(new_len)));
    tcp.checksum.set(change.apply(tcp.checksum.get()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::stream::Edit;
    use super::*;
    use crate::nat::testing::{assert_checksums, frame, packet, tuple};

    #[test]
    fn a_segment_grows_and_shrinks_and_its_checksums_and_lengths_are_right() {
        let flow = tuple(6, ("192.168.1.10", 4000, "198.51.100.1", 21));
        for (old, text) in [(4, "longer"), (4, "odd"), (5, "x"), (3, "abc"), (4, "")] {
            let original = frame(flow, b"before OLD!! and an odd rest");
            let mut packet = packet(&original);
            let from = TcpHeader::sequence_of(&packet);
            let mut stream = Stream::default();
            stream.note(Edit { at: from + 7, old, text: text.bytes().collect() });
            let both = Both { own: &stream, other: &Stream::default() };
            rewrite_segment(&mut packet, &both, (from, 28)).unwrap();
            let rest = &"before OLD!! and an odd rest"[7 + old as usize..];
            assert!(packet.l4_bytes().ends_with(format!("before {text}{rest}").as_bytes()));
            assert_eq!(usize::from(packet.state.total_len), packet.l3_bytes().len());
            assert_checksums(packet.buf.data());
        }
    }

    impl TcpHeader {
        fn sequence_of<B: PacketBuf>(packet: &Packet<B, Parsed>) -> u32 {
            let bytes = packet.l4_bytes();
            u32::from_be_bytes(bytes[4..8].try_into().unwrap())
        }
    }
}

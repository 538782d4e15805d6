//! TCP segments without data that the gateway says itself: as a server to a client, and as a client to a server. Pure.

use crate::packet::{NoRoom, PacketBuf, Tuple};
use crate::wire::checksum::{self, Sum};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::protocol;
use crate::wire::tcp::{self, TcpHeader};
use crate::wire::tcp_options::{MAX_LEN, TcpOptions};
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

/// A segment without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BareSegment {
    /// From whom to whom.
    pub tuple: Tuple,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; 0 without ACK.
    pub acknowledgement: u32,
    /// The flag byte: see [`tcp`].
    pub flags: u8,
    /// The window as it stands in the header.
    pub window: u16,
    /// Options.
    pub options: TcpOptions,
}

/// Writes a segment into the empty frame `buf`: an IPv4 packet of at most 80 bytes without a link header, with a time to
/// live of 64 and don't-fragment set, identification 0 (RFC 6864 4.1).
///
/// # Errors
/// [`NoRoom`] if the frame is too small.
pub fn build_segment<B: PacketBuf>(buf: &mut B, segment: &BareSegment) -> Result<(), NoRoom> {
    let Tuple { src, dst, sport, dport, .. } = segment.tuple;
    let mut options = [0; MAX_LEN];
    let used = segment.options.write(&mut options);
    let options = options.get(..used).unwrap_or_default();
    let length = u16::try_from(tcp::HEADER_LEN + options.len()).map_err(|_| NoRoom)?;

    let mut header = Ipv4Header::new(protocol::TCP, src, dst, 20 + length);
    header.checksum.set(checksum::checksum(header.as_bytes()));
    let mut transport = TcpHeader {
        source: U16::new(sport),
        destination: U16::new(dport),
        sequence: U32::new(segment.sequence),
        acknowledgement: U32::new(segment.acknowledgement),
        // Words of four bytes, in the high nibble.
        data_offset: u8::try_from(length << 2).map_err(|_| NoRoom)?,
        flags: segment.flags,
        window: U16::new(segment.window),
        checksum: U16::ZERO,
        urgent: U16::ZERO,
    };
    let sum = Sum::default().pseudo_header(src, dst, protocol::TCP, length);
    transport.checksum.set(sum.bytes(transport.as_bytes()).bytes(options).checksum());

    buf.truncate(0);
    buf.grow_back(ipv4::HEADER_LEN + usize::from(length))?;
    let (l3, rest) = buf.data_mut().split_at_mut_checked(ipv4::HEADER_LEN).ok_or(NoRoom)?;
    let (l4, tail) = rest.split_at_mut_checked(tcp::HEADER_LEN).ok_or(NoRoom)?;
    l3.copy_from_slice(header.as_bytes());
    l4.copy_from_slice(transport.as_bytes());
    tail.copy_from_slice(options);
    Ok(())
}

/// Whether the checksum of a whole TCP segment from and to these addresses is right.
pub fn is_sound(tuple: &Tuple, segment: &[u8]) -> bool {
    u16::try_from(segment.len()).is_ok_and(|length| {
        Sum::default().pseudo_header(tuple.src, tuple.dst, protocol::TCP, length).bytes(segment).checksum()
            == 0
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_checksums, packet, tuple};
    use super::*;
    use crate::device::membuf::MemPool;
    use crate::packet::Kind;
    use crate::wire::tcp_options::Timestamps;

    fn segment(options: TcpOptions) -> BareSegment {
        BareSegment {
            tuple: tuple(6, ("203.0.113.9", 443, "198.51.100.1", 40_000)),
            sequence: 0xdead_beef,
            acknowledgement: 0x0102_0304,
            flags: tcp::SYN | tcp::ACK,
            window: 0x1234,
            options,
        }
    }

    fn built(segment: &BareSegment) -> Vec<u8> {
        let mut buf = MemPool::new(1, 2048).alloc().unwrap();
        build_segment(&mut buf, segment).unwrap();
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0], buf.data()].concat()
    }

    #[test]
    fn a_segment_is_what_etherparse_reads_with_every_combination_of_options() {
        let timestamps = Timestamps { value: 77, echo: 99 };
        for bits in 0u8..16 {
            let has = |bit: u8| bits & bit != 0;
            let options = TcpOptions {
                mss: has(1).then_some(1460),
                scale: has(2).then_some(7),
                sack_permitted: has(4),
                timestamps: has(8).then_some(timestamps),
            };
            let wanted = segment(options);
            let frame = built(&wanted);
            assert_checksums(&frame);
            let packet = packet(&frame);
            assert_eq!((packet.state.tuple, packet.state.ttl), (wanted.tuple, 64));
            assert!(packet.state.dont_fragment);
            assert_eq!(packet.state.kind, Kind::Tcp { flags: tcp::SYN | tcp::ACK });
            assert!(is_sound(&wanted.tuple, packet.l4_bytes()));
            let read = etherparse::TcpSlice::from_slice(packet.l4_bytes()).unwrap();
            assert_eq!(read.sequence_number(), wanted.sequence);
            assert_eq!(read.acknowledgment_number(), wanted.acknowledgement);
            assert_eq!(read.window_size(), wanted.window);
            assert_eq!(TcpOptions::read(read.options()), options);
            assert!(read.payload().is_empty());
        }
    }

    #[test]
    fn a_damaged_segment_is_not_sound() {
        let wanted = segment(TcpOptions::default());
        let frame = built(&wanted);
        for byte in 34..54 {
            let mut damaged = frame.clone();
            damaged[byte] ^= 0x10;
            assert!(!is_sound(&wanted.tuple, &damaged[34..]), "byte {byte}");
        }
        assert!(!is_sound(&tuple(6, ("203.0.113.9", 443, "198.51.100.2", 40_000)), &frame[34..]));
    }

    #[test]
    fn a_frame_without_room_is_said_so() {
        let mut buf = MemPool::new(1, 30).alloc().unwrap();
        assert!(build_segment(&mut buf, &segment(TcpOptions::default())).is_err());
    }
}

//! A frame as the generator writes it: Ethernet, IPv4, UDP, and a stamp in the payload.
//!
//! ```text
//! 0        14        34     42      43    44     48       52      60   without FCS
//! Ethernet | IPv4    | UDP  | magic | run | flow | number | nanos | zeroes
//! ```
//!
//! A 64-byte frame (with FCS) has room for the whole stamp. A [`Template`] knows the sums of what is the same in all frames, so
//! that both checksums are a few additions; DF is set, and the identification 0 (an atomic datagram, RFC 6864).

use super::addresses::Endpoint;
use super::sizes::FCS;
use crate::wire::checksum::{Sum, checksum};
use crate::wire::{ethernet, ipv4, protocol, udp};

/// Length of headers and stamp, in bytes: the smallest frame without its FCS.
pub const HEAD: usize = 60;
/// Where the IPv4 header begins.
pub const L3: usize = ethernet::HEADER_LEN;
/// Where the UDP header begins.
pub const L4: usize = L3 + ipv4::HEADER_LEN;
/// Where the stamp begins.
pub const STAMP: usize = L4 + udp::HEADER_LEN;
/// First byte of every stamp.
pub const MAGIC: u8 = 0xb7;
/// The TTL that frames leave with.
pub const TTL: u8 = 64;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run that it belongs to, so that latecomers of an earlier one are known.
    pub run: u8,
    /// The flow's number.
    pub flow: u32,
    /// The frame's number in its flow and direction, from 0.
    pub seq: u32,
    /// When it was written, in nanoseconds of the generator's clock.
    pub nanos: u64,
}

impl Stamp {
    /// As it lies in the frame.
    #[inline]
    fn bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        (bytes[0], bytes[1]) = (MAGIC, self.run);
        bytes[2..6].copy_from_slice(&self.flow.to_be_bytes());
        bytes[6..10].copy_from_slice(&self.seq.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.nanos.to_be_bytes());
        bytes
    }

    /// Reads the stamp of a frame; `None` without the magic byte.
    #[inline]
    pub fn read(head: &[u8; HEAD]) -> Option<Stamp> {
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        (head[STAMP] == MAGIC).then(|| Stamp {
            run: head[STAMP + 1],
            flow: word(STAMP + 2),
            seq: word(STAMP + 6),
            nanos: u64::from(word(STAMP + 10)) << 32 | u64::from(word(STAMP + 14)),
        })
    }
}

/// What all frames of one direction and size have in common.
#[derive(Clone, Debug)]
pub struct Template {
    head: [u8; HEAD],
    ip_sum: Sum,
    udp_sum: Sum,
    len: usize,
}

impl Template {
    /// Frames of `size` bytes with FCS between these Ethernet addresses.
    pub fn new(source: [u8; 6], destination: [u8; 6], size: u16) -> Template {
        let len = usize::from(size - FCS).max(HEAD);
        let mut head = [0; HEAD];
        head[..6].copy_from_slice(&destination);
        head[6..12].copy_from_slice(&source);
        head[12..14].copy_from_slice(&ethernet::IPV4.to_be_bytes());
        let total = u16::try_from(len - L3).unwrap_or(u16::MAX);
        head[L3] = 0x45;
        head[L3 + 2..L3 + 4].copy_from_slice(&total.to_be_bytes());
        head[L3 + 6..L3 + 8].copy_from_slice(&ipv4::DONT_FRAGMENT.to_be_bytes());
        (head[L3 + 8], head[L3 + 9]) = (TTL, protocol::UDP);
        let datagram = u16::try_from(len - L4).unwrap_or(u16::MAX);
        head[L4 + 4..L4 + 6].copy_from_slice(&datagram.to_be_bytes());
        let ip_sum = Sum::default().bytes(&head[L3..L4]);
        // The length counts twice: in the pseudo-header and in the header.
        let udp_sum = Sum::default().word(u16::from(protocol::UDP)).word(datagram).word(datagram);
        Template { head, ip_sum, udp_sum, len }
    }

    /// Length of the frame, without FCS.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether frames are empty: never.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes a frame from one end to the other into `frame`, which has [`Template::len`] bytes.
    #[inline]
    pub fn write(&self, frame: &mut [u8], from: Endpoint, to: Endpoint, stamp: Stamp) {
        let Some((place, rest)) = frame.split_first_chunk_mut::<HEAD>() else { return };
        let mut head = self.head;
        let addresses = Sum::default().long(from.0).long(to.0);
        let ip = self.ip_sum.and(addresses).checksum();
        head[L3 + 10..L3 + 12].copy_from_slice(&ip.to_be_bytes());
        head[L3 + 12..L3 + 16].copy_from_slice(&from.0.to_be_bytes());
        head[L3 + 16..L3 + 20].copy_from_slice(&to.0.to_be_bytes());
        head[L4..L4 + 2].copy_from_slice(&from.1.to_be_bytes());
        head[L4 + 2..L4 + 4].copy_from_slice(&to.1.to_be_bytes());
        let stamp = stamp.bytes();
        let udp = self.udp_sum.and(addresses).word(from.1).word(to.1).bytes(&stamp).checksum();
        let udp = if udp == 0 { 0xffff } else { udp };
        head[L4 + 6..L4 + 8].copy_from_slice(&udp.to_be_bytes());
        head[STAMP..].copy_from_slice(&stamp);
        *place = head;
        rest.fill(0);
    }
}

/// Whether the UDP checksum of a datagram (header and payload) is right, computed anew. None (0) is wrong: it was sent
/// with one.
#[inline]
pub fn udp_is_valid(from: u32, to: u32, datagram: &[u8]) -> bool {
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    let pseudo = Sum::default().long(from).long(to).word(u16::from(protocol::UDP)).word(length);
    datagram.get(6..8) != Some(&[0, 0]) && pseudo.bytes(datagram).checksum() == 0
}

/// Whether the checksum of an IPv4 header without options is right.
#[inline]
pub fn ip_is_valid(header: &[u8]) -> bool {
    checksum(header) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, InterfaceId};
    use crate::packet::{Frame, Kind, Packet};
    use crate::wire::checksum;

    const STAMP_OF: Stamp = Stamp { run: 3, flow: 0x0102_0304, seq: 77, nanos: 0x1122_3344_5566_7788 };

    fn frame(size: u16, from: Endpoint, to: Endpoint) -> Vec<u8> {
        let template = Template::new([2; 6], [4; 6], size);
        let mut frame = vec![0xee; template.len()];
        template.write(&mut frame, from, to, STAMP_OF);
        frame
    }

    #[test]
    fn a_frame_is_one_that_the_gateway_accepts_with_both_checksums_right() {
        for size in [64, 65, 594, 1518] {
            for (from, to) in [((0x0a01_0001, 10_000), (0xc612_0001, 9)), ((u32::MAX, 1), (1, u16::MAX))] {
                let frame = frame(size, from, to);
                assert_eq!(frame.len(), usize::from(size) - 4);
                assert!(udp_is_valid(from.0, to.0, &frame[L4..]) && ip_is_valid(&frame[L3..L4]));
                assert!(checksum::is_valid(&frame[L3..L4]));
                let pool = crate::device::membuf::MemPool::new(1, 2048);
                let buf = crate::device::membuf::MemBuf::from_bytes(&pool, &frame).unwrap();
                let parsed = Packet::new(buf, DeviceId(0)).parse(|_, _| Some((InterfaceId(0), [4; 6])));
                let Ok(Frame::Ipv4(packet)) = parsed else { panic!("{parsed:?}") };
                let tuple = packet.state.tuple;
                assert_eq!(packet.state.kind, Kind::Udp);
                assert_eq!((tuple.src.to_bits(), tuple.sport), from);
                assert_eq!((tuple.dst.to_bits(), tuple.dport), to);
            }
        }
    }

    #[test]
    fn a_stamp_reads_back() {
        let frame = frame(64, (1, 2), (3, 4));
        assert_eq!(Stamp::read(frame.first_chunk().unwrap()), Some(STAMP_OF));
        assert_eq!(Stamp::read(&[0; HEAD]), None);
    }

    #[test]
    fn a_changed_byte_or_a_missing_checksum_is_noticed() {
        let frame = frame(594, (1, 2), (3, 4));
        for at in [L4, L4 + 5, STAMP, 100, frame.len() - 1] {
            let mut bad = frame.clone();
            bad[at] ^= 0x10;
            assert!(!udp_is_valid(1, 3, &bad[L4..]), "{at}");
        }
        let mut none = frame;
        none[L4 + 6..L4 + 8].fill(0);
        assert!(!udp_is_valid(1, 3, &none[L4..]));
    }
}

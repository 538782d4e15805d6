//! The parser of plain packets: whole, of UDP or TCP, without IPv4 options, intact, to our Ethernet address.
//!
//! Nearly all packets are plain, and each pays for every branch of the parser. This one reads a header as three numbers and
//! has one way through; what it can not say at once it leaves to the parser proper, which alone knows reasons. What it
//! does say is what that one would (`tests/property_parser.rs`).

use super::{Fragment, Kind, Parsed, Tuple};
use crate::ids::InterfaceId;
use crate::wire::{ethernet, ipv4, protocol, tcp, udp};
use std::net::Ipv4Addr;

/// The IPv4 header, the ports and four bytes more: all of UDP's.
const HEAD: usize = ipv4::HEADER_LEN + udp::HEADER_LEN;
/// Version 4, no options; neither more fragments nor an offset.
const SHAPE: u64 = 0x4500_0000_0000_0000;
const SHAPE_MASK: u64 = 0xff00_0000_0000_3fff;

/// What is known of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Source address << 32 | destination address.
    pub addresses: u64,
    /// Source port << 16 | destination port.
    pub ports: u32,
    /// Length of the IPv4 packet in bytes.
    pub total_len: u16,
    /// Offset of the IPv4 header: 14, or 18 behind a VLAN tag.
    pub l3: u8,
    /// The interface that it came in by.
    pub interface: InterfaceId,
    /// Time to live on arrival.
    pub ttl: u8,
    /// IANA protocol number: [`protocol::UDP`] or [`protocol::TCP`].
    pub protocol: u8,
    /// The flags of a TCP segment.
    pub flags: u8,
}

impl Plain {
    /// Reads a frame. `interface_of` says which interface a VLAN id (0: no tag) is, and its Ethernet address. `None` if the
    /// packet is not plain.
    #[inline(always)]
    pub fn read(
        frame: &[u8],
        interface_of: impl FnOnce(u16) -> Option<(InterfaceId, [u8; 6])>,
    ) -> Option<Plain> {
        let link: &[u8; 18] = frame.first_chunk()?;
        let ethertype = u16::from_be_bytes([link[12], link[13]]);
        if ethertype == ethernet::IPV4 {
            return read_at::<14>(frame, 0, interface_of);
        }
        let tagged =
            ethertype == ethernet::VLAN && u16::from_be_bytes([link[16], link[17]]) == ethernet::IPV4;
        if !tagged {
            return None;
        }
        read_at::<18>(frame, u16::from_be_bytes([link[14], link[15]]) & 0x0fff, interface_of)
    }

    /// What the parser proper says of it. `frame` is the one that it was read from.
    pub fn parsed(&self, frame: &[u8]) -> Parsed {
        let Plain { l3, interface, total_len, ttl, .. } = *self;
        let l3 = u16::from(l3);
        let head =
            frame.get(usize::from(l3)..).and_then(<[u8]>::first_chunk::<8>).copied().unwrap_or_default();
        let kind = match self.protocol {
            protocol::TCP => Kind::Tcp { flags: self.flags },
            _ => Kind::Udp,
        };
        Parsed {
            interface,
            tuple: self.tuple(),
            kind,
            fragment: Fragment::Whole,
            l3,
            l4: l3 + 20,
            total_len,
            ttl,
            dont_fragment: head[6] & 0x40 != 0,
            id: u16::from_be_bytes([head[4], head[5]]),
            turned: false,
        }
    }

    /// Addresses, ports and protocol.
    #[inline(always)]
    pub fn tuple(&self) -> Tuple {
        let [s0, s1, s2, s3, d0, d1, d2, d3] = self.addresses.to_be_bytes();
        let [p0, p1, p2, p3] = self.ports.to_be_bytes();
        Tuple {
            src: Ipv4Addr::new(s0, s1, s2, s3),
            dst: Ipv4Addr::new(d0, d1, d2, d3),
            sport: u16::from_be_bytes([p0, p1]),
            dport: u16::from_be_bytes([p2, p3]),
            protocol: self.protocol,
        }
    }
}

/// Reads a frame whose IPv4 header is at `L3`.
#[inline(always)]
fn read_at<const L3: u8>(
    frame: &[u8],
    vlan: u16,
    interface_of: impl FnOnce(u16) -> Option<(InterfaceId, [u8; 6])>,
) -> Option<Plain> {
    let (interface, mac) = interface_of(vlan)?;
    let bytes = frame.get(usize::from(L3)..)?;
    let head: &[u8; HEAD] = bytes.first_chunk()?;
    let number = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&head[at..at + 8]);
        u64::from_be_bytes(eight)
    };
    let (first, second, third) = (number(0), number(8), number(16));
    let ours = frame.get(..6)? == mac;
    if !ours || first & SHAPE_MASK != SHAPE || !sums_up(first, second, third) {
        return None;
    }
    let total_len = low16(first >> 32);
    let len = usize::from(total_len).checked_sub(ipv4::HEADER_LEN)?;
    let transport = bytes.get(ipv4::HEADER_LEN..usize::from(total_len))?;
    let [ttl, protocol, ..] = second.to_be_bytes();
    let flags = match protocol {
        protocol::UDP => {
            let said = usize::from(u16::from_be_bytes([head[24], head[25]]));
            (len >= udp::HEADER_LEN && (udp::HEADER_LEN..=len).contains(&said)).then_some(0)?
        }
        protocol::TCP => {
            let header: &[u8; tcp::HEADER_LEN] = transport.first_chunk()?;
            let said = usize::from(header[12] >> 4) * 4;
            (tcp::HEADER_LEN..=len).contains(&said).then_some(header[13])?
        }
        _ => return None,
    };
    Some(Plain {
        addresses: second << 32 | third >> 32,
        ports: low32(third),
        total_len,
        l3: L3,
        interface,
        ttl,
        protocol,
        flags,
    })
}

/// Whether a header of 20 bytes has the right checksum. Of the third number the first half belongs to it.
#[inline(always)]
fn sums_up(first: u64, second: u64, third: u64) -> bool {
    let low = |number: u64| number & 0xffff_ffff;
    let sum = (first >> 32) + low(first) + (second >> 32) + low(second) + (third >> 32);
    // At most 5 * (2^32 - 1): three folds make it what it is modulo 0xffff, and 0 it can not be.
    let sum = low(sum) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}

#[inline(always)]
fn low16(number: u64) -> u16 {
    (number & 0xffff) as u16
}

#[inline(always)]
fn low32(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

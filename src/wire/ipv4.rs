//! IPv4 header (RFC 791).

use std::net::Ipv4Addr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Length of a header without options, in bytes.
pub const HEADER_LEN: usize = 20;
/// Don't-fragment bit of [`Ipv4Header::flags_fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// More-fragments bit of [`Ipv4Header::flags_fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// Fragment offset of [`Ipv4Header::flags_fragment`], in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// An IPv4 header without its options.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (high nibble) and header length in 32-bit words (low nibble).
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Length of header and payload, in bytes.
    pub total_len: U16,
    /// Identification.
    pub id: U16,
    /// Flags and fragment offset.
    pub flags_fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// IANA protocol number.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: U16,
    source: [u8; 4],
    destination: [u8; 4],
}

impl Ipv4Header {
    /// A header without options for a datagram that the gateway makes itself; the checksum is left at zero.
    pub fn new(protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, total_len: u16) -> Self {
        Ipv4Header {
            version_ihl: 0x45,
            tos: 0,
            total_len: U16::new(total_len),
            id: U16::ZERO,
            flags_fragment: U16::new(DONT_FRAGMENT),
            ttl: 64,
            protocol,
            checksum: U16::ZERO,
            source: source.octets(),
            destination: destination.octets(),
        }
    }

    /// The version; 4 for a valid header.
    #[inline]
    pub fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Header length with options, in bytes: 0 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0x0f) * 4
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        self.source.into()
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        self.destination.into()
    }

    /// Writes the source address; the checksum is the caller's affair.
    #[inline]
    pub fn set_source(&mut self, address: Ipv4Addr) {
        self.source = address.octets();
    }

    /// Writes the destination address; the checksum is the caller's affair.
    #[inline]
    pub fn set_destination(&mut self, address: Ipv4Addr) {
        self.destination = address.octets();
    }

    /// Offset of this fragment, in bytes.
    #[inline]
    pub fn fragment_offset(&self) -> u32 {
        u32::from(self.flags_fragment.get() & OFFSET_MASK) * 8
    }

    /// Whether more fragments follow.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.flags_fragment.get() & MORE_FRAGMENTS != 0
    }

    /// Whether routers must not fragment.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.flags_fragment.get() & DONT_FRAGMENT != 0
    }
}

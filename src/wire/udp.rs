//! UDP header (RFC 768) and that of UDP-Lite (RFC 3828).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 8;

/// A UDP header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct UdpHeader {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Length of header and data, in bytes.
    pub length: U16,
    /// Checksum over the pseudo-header, header and data; zero means none.
    pub checksum: U16,
}

/// A UDP-Lite header (RFC 3828): UDP's, with the checksum's coverage in place of the length.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct UdpLiteHeader {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Bytes of the datagram, from the header on, that the checksum covers: 0 for all, else at least the header.
    pub coverage: U16,
    /// Checksum over the pseudo-header and the covered bytes; never zero.
    pub checksum: U16,
}

//! UDP header (RFC 768).

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

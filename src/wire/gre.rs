//! GRE header (RFC 2784; RFC 2890 for key and sequence; RFC 2637 for version 1, which PPTP uses).
//!
//! Flows of GRE are told apart by their addresses alone. The key of version 0 is no port: both ends are configured with
//! the same one. The call id of version 1 would be one, but is agreed on in PPTP's control connection, so it can
//! not be translated without reading that.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Length of the shortest header, in bytes.
pub const HEADER_LEN: usize = 4;

/// The part of a GRE header that every packet has.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct GreHeader {
    /// Which optional fields follow, and the version (lowest three bits).
    pub flags_version: U16,
    /// EtherType of the payload.
    pub payload: U16,
}

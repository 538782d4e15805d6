//! DCCP generic header (RFC 4340 section 5.1).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Length of the shortest header, in bytes: with a sequence number of 24 bits.
pub const SHORT_HEADER_LEN: usize = 12;
/// Length of the shortest header with a sequence number of 48 bits, in bytes.
pub const HEADER_LEN: usize = 16;

/// Packet type: the client opens a connection.
pub const REQUEST: u8 = 0;
/// Packet type: the server answers.
pub const RESPONSE: u8 = 1;
/// Packet type: data.
pub const DATA: u8 = 2;
/// Packet type: acknowledgement.
pub const ACK: u8 = 3;
/// Packet type: data and acknowledgement.
pub const DATA_ACK: u8 = 4;
/// Packet type: the server asks the client to close.
pub const CLOSE_REQ: u8 = 5;
/// Packet type: closes.
pub const CLOSE: u8 = 6;
/// Packet type: ends the connection, orderly or not.
pub const RESET: u8 = 7;
/// Packet type: asks where the sequence numbers are.
pub const SYNC: u8 = 8;
/// Packet type: answers [`SYNC`].
pub const SYNC_ACK: u8 = 9;
/// Packet type: a server behind a NAT waits for a client (RFC 5596).
pub const LISTEN: u8 = 10;

/// The part of a DCCP header that every packet has and natgate reads.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct DccpHeader {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Offset of the application's data from the start of the header, in 32-bit words.
    pub data_offset: u8,
    /// CCVal (high nibble) and checksum coverage (low nibble).
    pub ccval_coverage: u8,
    /// Checksum over the pseudo-header, the header with options, and as much of the data as the coverage says.
    pub checksum: U16,
    /// Reserved (three bits), packet type (four bits), X: whether the sequence number is of 48 bits (lowest bit).
    pub type_x: u8,
    /// Reserved or the highest bits of a short sequence number.
    pub reserved: u8,
    /// Bits of the sequence number.
    pub sequence: U16,
}

impl DccpHeader {
    /// The packet type; from 11 on reserved.
    #[inline]
    pub fn kind(&self) -> u8 {
        self.type_x >> 1 & 0x0f
    }

    /// Header length with options, in bytes: 0 to 1020.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.data_offset) * 4
    }

    /// Length that a header of this form has at least, in bytes.
    #[inline]
    pub fn least_len(&self) -> usize {
        if self.type_x & 1 == 1 { HEADER_LEN } else { SHORT_HEADER_LEN }
    }

    /// How many bytes of the data the checksum covers; `None`: all.
    #[inline]
    pub fn coverage(&self) -> Option<usize> {
        usize::from(self.ccval_coverage & 0x0f).checked_sub(1).map(|words| words * 4)
    }
}

//! SCTP common header and chunks (RFC 9260 section 3).

use super::crc32c;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian,
    network_endian::{U16, U32},
};

/// Length of the common header, in bytes.
pub const HEADER_LEN: usize = 12;
/// Length of a chunk's header, in bytes.
pub const CHUNK_HEADER_LEN: usize = 4;
/// Chunks of one packet that are looked at: more than the smallest DATA chunks (20 bytes) that fill 9000 bytes. The
/// bound keeps the work of a packet bounded.
pub const MAX_CHUNKS: u16 = 512;

/// User data.
pub const DATA: u8 = 0;
/// Opens an association.
pub const INIT: u8 = 1;
/// Answers [`INIT`].
pub const INIT_ACK: u8 = 2;
/// Acknowledges data.
pub const SACK: u8 = 3;
/// Asks whether the peer still answers at this address.
pub const HEARTBEAT: u8 = 4;
/// Answers [`HEARTBEAT`].
pub const HEARTBEAT_ACK: u8 = 5;
/// Ends the association at once.
pub const ABORT: u8 = 6;
/// No more data will be sent.
pub const SHUTDOWN: u8 = 7;
/// Answers [`SHUTDOWN`].
pub const SHUTDOWN_ACK: u8 = 8;
/// Reports an error.
pub const ERROR: u8 = 9;
/// Sends back the cookie of [`INIT_ACK`].
pub const COOKIE_ECHO: u8 = 10;
/// Answers [`COOKIE_ECHO`]: the association is there.
pub const COOKIE_ACK: u8 = 11;
/// Answers [`SHUTDOWN_ACK`]: the association is gone.
pub const SHUTDOWN_COMPLETE: u8 = 14;

/// Flag of [`ABORT`] and [`SHUTDOWN_COMPLETE`]: the sender has no association and sends the tag back that it was sent.
pub const FLAG_T: u8 = 1;

/// An SCTP common header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct SctpHeader {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// The tag that the receiver chose for the association; 0 in a packet with [`INIT`].
    pub tag: U32,
    /// CRC32c over the whole packet with this field zero, least significant byte first (RFC 9260 appendix A); zero
    /// also means none where the ends agreed on that (RFC 9653).
    pub checksum: little_endian::U32,
}

impl SctpHeader {
    /// Changes the ports, and the checksum with them. `len` is the length of the whole packet from this header on, in
    /// bytes. A checksum that was wrong stays wrong; zero (none) stays zero.
    #[inline]
    pub fn set_ports(&mut self, source: u16, destination: u16, len: u16) {
        let change = port_change((self.source.get(), self.destination.get()), (source, destination), len);
        self.source.set(source);
        self.destination.set(destination);
        self.checksum.set(apply(self.checksum.get(), change));
    }
}

/// What a change of the ports does to the checksum of a packet of `len` bytes.
#[inline]
pub fn port_change(old: (u16, u16), new: (u16, u16), len: u16) -> u32 {
    let word = |ports: (u16, u16)| (u32::from(ports.0) << 16 | u32::from(ports.1)).to_be_bytes();
    crc32c::change_of_first_word(word(old), word(new), len)
}

/// The checksum field after a change; zero (none) stays zero.
#[inline]
pub fn apply(checksum: u32, change: u32) -> u32 {
    if checksum == 0 { 0 } else { checksum ^ change }
}

/// A chunk of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Its type.
    pub kind: u8,
    /// Its flags, which mean something else in each type.
    pub flags: u8,
    /// What follows the chunk's header, without padding. Cut off at the end of the packet.
    pub value: &'a [u8],
}

impl Chunk<'_> {
    /// The initiate tag of an [`INIT`] or [`INIT_ACK`]: the tag that its receiver is to send. 0 for another type or a
    /// chunk that is too short, as no valid tag is (RFC 9260 3.3.2).
    pub fn initiate_tag(&self) -> u32 {
        match (self.kind, self.value.first_chunk()) {
            (INIT | INIT_ACK, Some(tag)) => u32::from_be_bytes(*tag),
            _ => 0,
        }
    }
}

/// A packet whose chunks can not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of an SCTP packet contradict its length")]
pub struct BadChunks;

/// The chunks of a packet, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks<'a> {
    rest: &'a [u8],
    whole: bool,
    left: u16,
}

impl<'a> Chunks<'a> {
    /// The chunks of a packet that starts at its common header. `whole` is false for the first fragment of one, which
    /// may end in the middle of a chunk.
    pub fn new(packet: &'a [u8], whole: bool) -> Chunks<'a> {
        Chunks { rest: packet.get(HEADER_LEN..).unwrap_or_default(), whole, left: MAX_CHUNKS }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, BadChunks>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest;
        if rest.is_empty() {
            return None;
        }
        // Whatever is wrong is said once.
        self.rest = &[];
        let Some((&[kind, flags, high, low], _)) = rest.split_first_chunk::<CHUNK_HEADER_LEN>() else {
            return self.whole.then_some(Err(BadChunks));
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let complete = len <= rest.len();
        if len < CHUNK_HEADER_LEN || (self.whole && !complete) || self.left == 0 {
            return Some(Err(BadChunks));
        }
        self.left -= 1;
        // The padding of the last chunk may be missing.
        self.rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        let value = rest.get(CHUNK_HEADER_LEN..len.min(rest.len())).unwrap_or_default();
        Some(Ok(Chunk { kind, flags, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        for chunk in chunks {
            bytes.extend_from_slice(chunk);
        }
        bytes
    }

    #[test]
    fn chunks_are_found_behind_each_others_padding() {
        let bytes = packet(&[&[DATA, 3, 0, 7, 1, 2, 3, 0], &[SACK, 0, 0, 4], &[INIT, 0, 0, 8, 1, 2, 3, 4]]);
        let chunks: Vec<_> = Chunks::new(&bytes, true).map(Result::unwrap).collect();
        assert_eq!(chunks[0], Chunk { kind: DATA, flags: 3, value: &[1, 2, 3] });
        assert_eq!(chunks[1], Chunk { kind: SACK, flags: 0, value: &[] });
        assert_eq!((chunks[2].kind, chunks[2].initiate_tag()), (INIT, 0x0102_0304));
        assert_eq!(chunks.len(), 3);
    }

    #[test]
    fn the_last_padding_may_be_missing() {
        let bytes = packet(&[&[DATA, 0, 0, 5, 1]]);
        assert_eq!(Chunks::new(&bytes, true).count(), 1);
    }

    #[test]
    fn a_chunk_that_is_shorter_than_its_header_or_longer_than_the_packet_is_bad() {
        for chunk in [&[DATA, 0, 0, 0][..], &[DATA, 0, 0, 3], &[DATA, 0, 0, 9, 1, 2, 3, 4], &[DATA, 0, 0]] {
            let bytes = packet(&[&[SACK, 0, 0, 4], chunk]);
            let chunks: Vec<_> = Chunks::new(&bytes, true).collect();
            assert_eq!((chunks.len(), chunks[1]), (2, Err(BadChunks)), "{chunk:?}");
        }
    }

    #[test]
    fn a_first_fragment_may_end_in_a_chunk_or_its_header() {
        let bytes = packet(&[&[DATA, 0, 1, 0, 1, 2, 3, 4]]);
        let chunks: Vec<_> = Chunks::new(&bytes, false).map(Result::unwrap).collect();
        assert_eq!(chunks, [Chunk { kind: DATA, flags: 0, value: &[1, 2, 3, 4] }]);
        assert_eq!(Chunks::new(&packet(&[&[DATA, 0]]), false).count(), 0);
        let lies = packet(&[&[DATA, 0, 0, 2]]);
        assert_eq!(Chunks::new(&lies, false).next(), Some(Err(BadChunks)));
    }

    #[test]
    fn no_more_chunks_than_the_bound_are_read() {
        let bytes = packet(&[&[SACK, 0, 0, 4].repeat(usize::from(MAX_CHUNKS) + 5)]);
        let chunks: Vec<_> = Chunks::new(&bytes, true).collect();
        assert_eq!((chunks.len(), chunks.last()), (usize::from(MAX_CHUNKS) + 1, Some(&Err(BadChunks))));
    }

    #[test]
    fn new_ports_give_the_checksum_that_computing_it_anew_gives() {
        let mut bytes = packet(&[&[DATA, 3, 0, 21], &[7; 17], &[0; 3]]);
        bytes[..8].copy_from_slice(&[0x0b, 0x59, 0x12, 0x34, 1, 2, 3, 4]);
        let len = u16::try_from(bytes.len()).unwrap();
        let sum = crc32c_oracle::crc32c(&bytes);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        let (header, _) = SctpHeader::mut_from_prefix(&mut bytes).unwrap();
        header.set_ports(40_000, 2905, len);
        let got = header.checksum.get();
        assert_eq!(bytes[..4], [0x9c, 0x40, 0x0b, 0x59]);
        bytes[8..12].fill(0);
        assert_eq!(got, crc32c_oracle::crc32c(&bytes));
    }

    #[test]
    fn a_checksum_of_zero_stays_zero() {
        let mut bytes = packet(&[&[SACK, 0, 0, 4]]);
        let (header, _) = SctpHeader::mut_from_prefix(&mut bytes).unwrap();
        header.set_ports(1, 2, 16);
        assert_eq!(header.checksum.get(), 0);
    }
}

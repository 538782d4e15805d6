//! A packet that is larger than the next link's MTU, in fragments (RFC 791 3.2, RFC 1812 5.2.6; RFC 4787 REQ-13).
//!
//! The first fragment stays where the packet was, the others are new frames. All are as large as the link takes, in the
//! order of their bytes, with the same identification. A fragment may be cut again.

use super::rewrite::view_mut;
use crate::packet::{NoRoom, PacketBuf};
use crate::telemetry::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4Header};
use arrayvec::ArrayVec;
use zerocopy::{FromBytes, IntoBytes};

/// The most fragments behind the first: those of the largest packet that a link takes (9,216 bytes) on the narrowest one
/// (576), with the longest header.
pub const LATER_MAX: usize = 17;

/// The longest options.
const OPTIONS_MAX: usize = 40;
/// Of an option's kind: it goes into every fragment.
const COPIED: u8 = 0x80;
const END: u8 = 0;
const NO_OPERATION: u8 = 1;

/// The fragments behind the first, in order, without link headers.
pub type LaterFragments<B> = ArrayVec<B, LATER_MAX>;

/// Cuts the IPv4 packet that begins `l3` bytes into `buf` and ends with it, so that no part is longer than `mtu`. `buf` is
/// the first fragment then. `alloc` gives empty frames for the others.
///
/// # Errors
/// [`DropReason::NoBuffer`] if there is none, or it is too small; [`DropReason::FragmentationNeeded`] if the packet needs
/// more than [`LATER_MAX`]. It is then as it was.
pub fn split<B: PacketBuf>(
    buf: &mut B,
    l3: usize,
    mtu: u16,
    mut alloc: impl FnMut() -> Option<B>,
) -> Result<LaterFragments<B>, DropReason> {
    let packet = buf.data().get(l3..).unwrap_or_default();
    let (header, _) = Ipv4Header::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    let header = *header;
    let (head, payload) = packet.split_at_checked(header.header_len()).ok_or(DropReason::Truncated)?;
    let options = copied_options(head.get(ipv4::HEADER_LEN..).unwrap_or_default());
    let mtu = usize::from(mtu);
    let room = |header: usize| mtu.saturating_sub(header) & !7;
    let (first, rest) = (room(head.len()), room(ipv4::HEADER_LEN + options.len()));
    if first == 0 || rest == 0 {
        return Err(DropReason::FragmentationNeeded);
    }
    let mut later = ArrayVec::new();
    let mut at = first;
    for part in payload.get(first..).unwrap_or_default().chunks(rest) {
        if later.is_full() {
            return Err(DropReason::FragmentationNeeded);
        }
        let more = at + part.len() < payload.len();
        let mut piece = alloc().ok_or(DropReason::NoBuffer)?;
        write(&mut piece, piece_of(header, at, more), &options, part).map_err(|_| DropReason::NoBuffer)?;
        later.push(piece);
        at += part.len();
    }
    let len = head.len() + first.min(payload.len());
    let mut header = piece_of(header, 0, !later.is_empty());
    buf.truncate(l3 + len);
    let packet = buf.data_mut().get_mut(l3..).ok_or(DropReason::Truncated)?;
    let options = packet.get(ipv4::HEADER_LEN..header.header_len()).unwrap_or_default();
    seal(&mut header, len, options);
    *view_mut::<Ipv4Header>(packet)? = header;
    Ok(later)
}

/// The header of the fragment whose payload begins `at` bytes into that of the packet.
fn piece_of(mut header: Ipv4Header, at: usize, more: bool) -> Ipv4Header {
    let flags = header.flags_fragment.get();
    let offset = (flags & ipv4::OFFSET_MASK) + u16::try_from(at / 8).unwrap_or(0);
    let more = if more { ipv4::MORE_FRAGMENTS } else { 0 };
    // The last part of a fragment that is not the last is not the last either.
    header.flags_fragment.set(flags & !ipv4::OFFSET_MASK | more | offset & ipv4::OFFSET_MASK);
    header
}

/// Writes what depends on the length.
fn seal(header: &mut Ipv4Header, len: usize, options: &[u8]) {
    // Less than the packet's, which was a `u16`.
    header.total_len.set(u16::try_from(len).unwrap_or(u16::MAX));
    header.checksum.set(0);
    header.checksum.set(Sum::default().bytes(header.as_bytes()).bytes(options).checksum());
}

fn write<B: PacketBuf>(
    piece: &mut B,
    mut header: Ipv4Header,
    options: &[u8],
    part: &[u8],
) -> Result<(), NoRoom> {
    let head = ipv4::HEADER_LEN + options.len();
    header.version_ihl = 0x40 | u8::try_from(head / 4).map_err(|_| NoRoom)?;
    seal(&mut header, head + part.len(), options);
    piece.truncate(0);
    piece.grow_back(head + part.len())?;
    let (fixed, rest) = piece.data_mut().split_at_mut_checked(ipv4::HEADER_LEN).ok_or(NoRoom)?;
    let (opts, body) = rest.split_at_mut_checked(options.len()).ok_or(NoRoom)?;
    fixed.copy_from_slice(header.as_bytes());
    opts.copy_from_slice(options);
    body.copy_from_slice(part);
    Ok(())
}

/// The options that go into every fragment, padded to whole words. What stands behind an option that can not be walked is
/// in the first fragment alone.
fn copied_options(mut options: &[u8]) -> ArrayVec<u8, OPTIONS_MAX> {
    let mut copied = ArrayVec::new();
    while let [kind, rest @ ..] = options {
        match *kind {
            END => break,
            NO_OPERATION => options = rest,
            kind => {
                let len = rest.first().map_or(0, |len| usize::from(*len));
                let Some((option, behind)) = options.split_at_checked(len).filter(|_| len >= 2) else {
                    break;
                };
                if kind & COPIED != 0 {
                    // No longer than the options that it is from.
                    let _ = copied.try_extend_from_slice(option);
                }
                options = behind;
            }
        }
    }
    while copied.len() % 4 != 0 {
        copied.push(END);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::membuf::{MemBuf, MemPool};
    use etherparse::{IpFragOffset, IpNumber, Ipv4Header as Oracle};
    use proptest::prelude::*;

    const LINK: usize = 14;

    /// A packet with this payload, `offset` bytes into its datagram, behind a link header.
    fn packet(pool: &MemPool, options: &[u8], payload: &[u8], offset: u16, more: bool) -> MemBuf {
        let mut header = Oracle::new(0, 64, IpNumber(17), [10, 0, 0, 1], [198, 51, 100, 1]).unwrap();
        header.options = options.try_into().unwrap();
        header.set_payload_len(payload.len()).unwrap();
        header.dont_fragment = false;
        header.identification = 0x1234;
        header.more_fragments = more;
        header.fragment_offset = IpFragOffset::try_new(offset / 8).unwrap();
        header.header_checksum = header.calc_header_checksum();
        let bytes = [&[0xee; LINK][..], &header.to_bytes(), payload].concat();
        MemBuf::from_bytes(pool, &bytes).unwrap()
    }

    /// The header and payload of a fragment, whose checksum is right.
    fn read(bytes: &[u8]) -> (Oracle, Vec<u8>) {
        let (header, payload) = Oracle::from_slice(bytes).unwrap();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!(usize::from(header.total_len), bytes.len());
        (header, payload.to_vec())
    }

    fn cut(pool: &MemPool, mut buf: MemBuf, mtu: u16) -> Result<Vec<(Oracle, Vec<u8>)>, DropReason> {
        let later = split(&mut buf, LINK, mtu, || pool.alloc())?;
        let all =
            std::iter::once(read(&buf.data()[LINK..])).chain(later.iter().map(|piece| read(piece.data())));
        Ok(all.collect())
    }

    #[test]
    fn options_go_where_their_copy_bit_says() {
        let pool = MemPool::new(8, 2048);
        // No operation, record route (not copied), router alert and security (copied), end.
        let options = [&[1, 7, 7, 4, 1, 2, 3, 4, 0x94, 4, 0, 0, 0x82, 3, 9, 0][..]].concat();
        let buf = packet(&pool, &options, &[7; 1500], 0, false);
        let parts = cut(&pool, buf, 600).unwrap();
        let lens: Vec<_> = parts.iter().map(|(header, _)| header.header_len()).collect();
        assert_eq!(lens, [36, 28, 28]);
        assert_eq!(parts[0].0.options.as_slice(), options);
        for (header, _) in &parts[1..] {
            assert_eq!(header.options.as_slice(), [0x94, 4, 0, 0, 0x82, 3, 9, 0]);
        }
    }

    #[test]
    fn the_largest_packet_fits_the_narrowest_link() {
        let pool = MemPool::new(32, 9300);
        for options in [vec![], [0x88, 40].into_iter().chain([0; 38]).collect::<Vec<_>>()] {
            let payload: Vec<u8> = (0..=255).cycle().take(9216 - 20 - options.len()).collect();
            let parts = cut(&pool, packet(&pool, &options, &payload, 0, false), 576).unwrap();
            let all: Vec<u8> = parts.into_iter().flat_map(|(_, payload)| payload).collect();
            assert_eq!(all, payload);
        }
        let payload = vec![0; 9300 - 14 - 60];
        let options: Vec<u8> = [0x88, 40].into_iter().chain([0; 38]).collect();
        let buf = packet(&pool, &options, &payload, 0, false);
        assert_eq!(cut(&pool, buf, 500).unwrap_err(), DropReason::FragmentationNeeded);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn without_frames_the_packet_stays_as_it_was_and_none_is_lost() {
        let pool = MemPool::new(3, 4000);
        let mut buf = packet(&pool, &[], &[7; 3000], 0, false);
        let before = buf.data().to_vec();
        assert_eq!(split(&mut buf, LINK, 600, || pool.alloc()).unwrap_err(), DropReason::NoBuffer);
        assert_eq!((buf.data(), pool.in_use()), (&before[..], 1));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_packet_again(
            len in 0usize..4000, mtu in 576u16..1600, units in 0u16..4000, more: bool, options in prop::collection::vec(any::<u8>(), 0..=10)
        ) {
            let pool = MemPool::new(32, 5000);
            let payload: Vec<u8> = (0..=255).cycle().take(len).collect();
            let options = options.repeat(4);
            let (offset, limit) = (units * 8, usize::from(mtu));
            let parts = cut(&pool, packet(&pool, &options, &payload, offset, more), mtu).unwrap();
            let mut at = 0;
            for (n, (header, part)) in parts.iter().enumerate() {
                let last = n + 1 == parts.len();
                prop_assert!(header.header_len() + part.len() <= limit);
                prop_assert_eq!(usize::from(header.fragment_offset.byte_offset()), usize::from(offset) + at);
                prop_assert_eq!(header.more_fragments, more || !last);
                prop_assert_eq!((header.identification, header.dont_fragment), (0x1234, false));
                prop_assert_eq!(part, &payload[at..at + part.len()]);
                prop_assert!(last || header.header_len() + part.len() + 8 > limit, "as large as the link takes");
                at += part.len();
            }
            prop_assert_eq!(at, len);
        }
    }
}

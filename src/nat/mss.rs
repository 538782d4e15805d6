//! The maximum segment size that a SYN offers, lowered to what the links on the way take (RFC 9293 3.7.1, RFC 4459 3.2):
//! for connections whose path MTU discovery fails because somebody drops the ICMP errors that it needs.

use super::rewrite::view_mut;
use crate::wire::checksum::Delta;
use crate::wire::tcp::{self, TcpHeader};
use crate::wire::tcp_options::{self, option_at};
use zerocopy::network_endian::U16;

/// Lowers every MSS that a TCP header offers to `most` bytes. Smaller ones stay, none is added: without the option the
/// other side sends 536 bytes at the most. The checksum follows, and one that was wrong stays wrong.
///
/// `segment` begins at the TCP header; one without a whole header stays as it is.
pub fn clamp_mss(segment: &mut [u8], most: u16) {
    let Ok(header) = view_mut::<TcpHeader>(segment) else { return };
    let len = header.header_len();
    let Some(whole) = segment.get_mut(..len) else { return };
    let Some((fixed, options)) = whole.split_at_mut_checked(tcp::HEADER_LEN) else { return };
    let Ok(header) = view_mut::<TcpHeader>(fixed) else { return };
    let mut at = 0;
    while let Some(place) = option_at(options, at) {
        at = place.end;
        let is_mss = place.kind == tcp_options::MAXIMUM_SEGMENT_SIZE && place.end - place.start == 2;
        let Some(value) = options.get_mut(place.start..place.end).filter(|_| is_mss) else { continue };
        let Ok(mss) = view_mut::<U16>(value) else { continue };
        if mss.get() <= most {
            continue;
        }
        let change = match place.start % 2 {
            0 => Delta::word(mss.get(), most),
            // Its bytes are in two words of the sum, the first one in the low half of its word.
            _ => Delta::word(mss.get().swap_bytes(), most.swap_bytes()),
        };
        mss.set(most);
        header.checksum.set(change.apply(header.checksum.get()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_checksums;
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    /// The frame of a SYN with these options, which are padded.
    fn syn(options: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], [2, 0, 0, 0, 0, 1])
            .ipv4([192, 168, 1, 10], [198, 51, 100, 1], 64)
            .tcp(4000, 80, 1000, 4000)
            .syn();
        let mut bytes = Vec::new();
        builder.options_raw(options).unwrap().write(&mut bytes, b"odd").unwrap();
        bytes
    }

    const TCP: usize = 34;

    #[test]
    fn a_larger_mss_is_lowered_wherever_it_stands() {
        for padding in 0..4 {
            let options = |mss: [u8; 2]| [&vec![1; padding][..], &[2, 4], &mss, &[3, 3, 7]].concat();
            let mut frame = syn(&options([0x05, 0xb4]));
            clamp_mss(&mut frame[TCP..], 1452);
            assert_eq!(frame, syn(&options([0x05, 0xac])), "behind {padding} bytes of padding");
            assert_checksums(&frame);
        }
    }

    #[test]
    fn a_smaller_mss_or_none_stays_and_a_list_that_can_not_be_walked_does_no_harm() {
        for options in
            [&[2, 4, 2, 24][..], &[2, 4, 0x05, 0xac], &[], &[3, 3, 7], &[2, 3, 9], &[9, 0], &[2, 40, 9, 9]]
        {
            let mut frame = syn(options);
            clamp_mss(&mut frame[TCP..], 1452);
            assert_eq!(frame, syn(options), "{options:?}");
        }
        clamp_mss(&mut [0; 19], 1452);
        clamp_mss(&mut [0xff; 20], 1452);
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let mut frame = syn(&[2, 4, 0x05, 0xb4]);
        frame[TCP + 17] ^= 1;
        clamp_mss(&mut frame[TCP..], 1000);
        let mut expected = syn(&[2, 4, 0x03, 0xe8]);
        expected[TCP + 17] ^= 1;
        assert_eq!(frame[TCP + 20..], expected[TCP + 20..]);
        assert_ne!(frame[TCP + 16..TCP + 18], syn(&[2, 4, 0x03, 0xe8])[TCP + 16..TCP + 18]);
    }

    proptest! {
        #[test]
        fn any_options_pass_with_a_right_checksum(options in prop::collection::vec(any::<u8>(), 0..=10), most: u16) {
            let options = [options.repeat(4), vec![]].concat();
            let mut frame = syn(&options);
            clamp_mss(&mut frame[TCP..], most);
            assert_checksums(&frame);
        }
    }
}

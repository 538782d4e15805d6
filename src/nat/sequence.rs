//! Renumbering TCP: the two ends of a session know the same byte by different sequence numbers. Pure.
//!
//! That is so when the gateway chose the initial sequence number that a client got (a SYN cookie, [`super::syn_cookie`])
//! before it knew the server's, and the clock that its timestamps show; or when it changed the length of what is sent.
//!
//! | field | who counts |
//! |---|---|
//! | sequence number, timestamp value | the sender |
//! | acknowledgement, edges of SACK blocks, timestamp echo | the receiver |
//! | window | the sender, by the scale that the receiver believes |
//!
//! [`Numbering`] says what becomes of each of them. [`Shift`] adds something to each for one packet, and [`Offsets`] makes it for the two directions of a
//! session in which the server's numbers are shifted; where the length changes at a point of the stream it depends on the
//! number itself ([`super::alg::segment`]). The checksum is updated and never computed anew (RFC 1624), as
//! in [`mod@super::rewrite`]. The urgent pointer is relative and stays. A segment that is signed (RFC 5925) can not be
//! renumbered: its receiver will refuse it.

use super::rewrite::view_mut;
use crate::conntrack::session::Direction;
use crate::telemetry::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::icmp;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::tcp::{self, TcpHeader};
use crate::wire::tcp_options::{self, option_at};
use zerocopy::FromBytes;
use zerocopy::network_endian::{U16, U32};

/// The length of an edge of a SACK block, and of a timestamp.
const WORD: usize = 4;

/// What becomes of the numbers of one segment.
pub trait Numbering {
    /// Of the sequence number.
    fn sequence(&self, number: u32) -> u32;
    /// Of the acknowledgement number and of each edge of SACK blocks, if the segment acknowledges anything.
    fn acknowledgement(&self, number: u32) -> u32;
    /// Of the timestamp's value.
    fn timestamp(&self, value: u32) -> u32 {
        value
    }
    /// Of the timestamp's echo, if the segment acknowledges anything.
    fn echo(&self, value: u32) -> u32 {
        value
    }
    /// Of the window of a segment that is no SYN.
    fn window(&self, window: u16) -> u16 {
        window
    }
}

/// What is added to the numbers of one segment, modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Shift {
    /// To the sequence number.
    pub sequence: u32,
    /// To the acknowledgement number and to the edges of SACK blocks, if the segment acknowledges anything.
    pub acknowledgement: u32,
    /// To the timestamp's value.
    pub timestamp: u32,
    /// To the timestamp's echo, if the segment acknowledges anything: else it says nothing (RFC 7323 3.2).
    pub echo: u32,
    /// The window, which is not that of a SYN, is multiplied by this power of two; -14 to 14. Rounded down, but not
    /// to zero: that would stop the other end.
    pub window: i8,
}

/// By how much the server's numbers are shifted on their way to the client of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Offsets {
    /// Client's view minus server's view of the server's sequence numbers.
    pub sequence: u32,
    /// The same of the server's timestamps.
    pub timestamp: u32,
    /// The scale by which the server counts its window minus the one that the client was told.
    pub server_window: i8,
    /// The scale by which the client counts its window minus the one that the server knows.
    pub client_window: i8,
}

impl Offsets {
    /// What becomes of a segment in this direction; the client is the end that opened the session.
    #[inline]
    pub fn shift(&self, direction: Direction) -> Shift {
        match direction {
            Direction::Original => Shift {
                acknowledgement: self.sequence.wrapping_neg(),
                echo: self.timestamp.wrapping_neg(),
                window: self.client_window,
                ..Shift::default()
            },
            Direction::Reply => Shift {
                sequence: self.sequence,
                timestamp: self.timestamp,
                window: self.server_window,
                ..Shift::default()
            },
        }
    }
}

impl Numbering for Shift {
    fn sequence(&self, number: u32) -> u32 {
        number.wrapping_add(self.sequence)
    }

    fn acknowledgement(&self, number: u32) -> u32 {
        number.wrapping_add(self.acknowledgement)
    }

    fn timestamp(&self, value: u32) -> u32 {
        value.wrapping_add(self.timestamp)
    }

    fn echo(&self, value: u32) -> u32 {
        value.wrapping_add(self.echo)
    }

    fn window(&self, window: u16) -> u16 {
        scale(window, self.window)
    }
}

/// Renumbers a segment: its header with options and, not touched, its payload. A first fragment is one too; a later one
/// holds nothing to renumber.
///
/// # Errors
/// [`DropReason::L4HeaderInvalid`] if the header is not there as a whole. The segment is then as it was.
pub fn renumber(segment: &mut [u8], by: &impl Numbering) -> Result<(), DropReason> {
    let (view, _) = TcpHeader::ref_from_prefix(segment).map_err(|_| DropReason::L4HeaderInvalid)?;
    let (len, flags) = (view.header_len(), view.flags);
    let whole = segment.get_mut(..len).ok_or(DropReason::L4HeaderInvalid)?;
    let (fixed, options) = whole.split_at_mut_checked(tcp::HEADER_LEN).ok_or(DropReason::L4HeaderInvalid)?;
    let header: &mut TcpHeader = view_mut(fixed)?;

    let acknowledges = flags & tcp::ACK != 0;
    let mut change = change(&mut header.sequence, |number| by.sequence(number));
    if acknowledges {
        change = change.and(self::change(&mut header.acknowledgement, |number| by.acknowledgement(number)));
    }
    if flags & tcp::SYN == 0 {
        let window = by.window(header.window.get());
        change = change.and(Delta::word(header.window.get(), window));
        header.window.set(window);
    }
    change = change.and(renumber_options(options, by, acknowledges));
    header.checksum.set(change.apply(header.checksum.get()));
    Ok(())
}

/// Renumbers timestamps and SACK blocks; returns the change of the sum.
fn renumber_options(options: &mut [u8], by: &impl Numbering, acknowledges: bool) -> Delta {
    let mut change = Delta::ZERO;
    let mut at = 0;
    while let Some(place) = option_at(options, at) {
        at = place.end;
        match (place.kind, place.end - place.start) {
            (tcp_options::TIMESTAMPS, 8) => {
                change = change.and(change_at(options, place.start, |value| by.timestamp(value)));
                if acknowledges {
                    change = change.and(change_at(options, place.start + WORD, |value| by.echo(value)));
                }
            }
            (tcp_options::SACK, len) if acknowledges && len.is_multiple_of(2 * WORD) => {
                for edge in (place.start..place.end).step_by(WORD) {
                    change = change.and(change_at(options, edge, |number| by.acknowledgement(number)));
                }
            }
            _ => {}
        }
    }
    change
}

/// Renumbers the segment that an ICMP error quotes. `message` starts at the ICMP header. A quote that is too short, or
/// not of TCP, stays as it is.
///
/// Only the sequence number is in the eight bytes that every quote has (RFC 792), and it is all that the receiver of an
/// error goes by (RFC 5927 4.1). The quoted checksum is left alone: nobody may rely on it (RFC 5508 REQ-3c).
pub fn renumber_quote(message: &mut [u8], sequence: impl Fn(u32) -> u32) {
    let Some(quote) = message.get(icmp::HEADER_LEN..) else { return };
    let Ok((inner, _)) = Ipv4Header::ref_from_prefix(quote) else { return };
    if inner.protocol != crate::wire::protocol::TCP {
        return;
    }
    // Behind the two ports.
    let at = icmp::HEADER_LEN + inner.header_len() + WORD;
    let change = change_at(message, at, sequence);
    // Behind type and code.
    if let Some(Ok(checksum)) = message.get_mut(2..).map(view_mut::<U16>) {
        checksum.set(change.apply(checksum.get()));
    }
}

/// A window in units of another scale.
#[inline]
pub fn scale(window: u16, by: i8) -> u16 {
    let bits = u32::from(by.unsigned_abs().min(16));
    let scaled = if by >= 0 { u32::from(window) << bits } else { (u32::from(window) >> bits).max(1) };
    if window == 0 { 0 } else { u16::try_from(scaled).unwrap_or(u16::MAX) }
}

#[inline]
fn change(word: &mut U32, new: impl Fn(u32) -> u32) -> Delta {
    let old = word.get();
    word.set(new(old));
    if old == word.get() { Delta::ZERO } else { Delta::long(old, word.get()) }
}

/// Changes the 32 bits at offset `at`, which is even or odd as it comes, of bytes that begin at an even offset.
#[inline]
fn change_at(bytes: &mut [u8], at: usize, new: impl Fn(u32) -> u32) -> Delta {
    let Some(Ok(word)) = bytes.get_mut(at..).map(view_mut::<U32>) else { return Delta::ZERO };
    match change(word, new) {
        // In one's complement the sum of bytes in the other order is the sum in the other order (RFC 1071 2B).
        Delta(change) if at % 2 == 1 => Delta(change.swap_bytes()),
        change => change,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_frame, packet};
    use super::*;
    use crate::wire::checksum::{Sum, is_valid};
    use etherparse::Icmpv4Type;
    use etherparse::icmpv4::DestUnreachableHeader;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);

    #[derive(Clone, Debug)]
    enum Opt {
        Nop,
        Timestamps(u32, u32),
        Sack(Vec<u32>),
        Other(u8, Vec<u8>),
    }

    #[derive(Clone, Debug)]
    struct Segment {
        sequence: u32,
        acknowledgement: u32,
        flags: u8,
        window: u16,
        options: Vec<Opt>,
        payload: Vec<u8>,
    }

    impl Segment {
        fn encode(&self) -> Vec<u8> {
            let mut options = Vec::new();
            for option in &self.options {
                match option {
                    Opt::Nop => options.push(1),
                    Opt::Timestamps(value, echo) => {
                        options.extend([8, 10]);
                        options.extend(value.to_be_bytes());
                        options.extend(echo.to_be_bytes());
                    }
                    Opt::Sack(edges) => {
                        options.extend([5, 2 + 4 * u8::try_from(edges.len()).unwrap()]);
                        options.extend(edges.iter().flat_map(|edge| edge.to_be_bytes()));
                    }
                    Opt::Other(kind, value) => {
                        options.extend([*kind, 2 + u8::try_from(value.len()).unwrap()]);
                        options.extend(value);
                    }
                }
            }
            // As much as fits; what is cut off makes the last option a broken one.
            options.truncate(40);
            options.resize(options.len().next_multiple_of(4), 0);
            let offset = u8::try_from(5 + options.len() / 4).unwrap() << 4;
            let mut bytes = [1234u16.to_be_bytes(), 443u16.to_be_bytes()].concat();
            bytes.extend(self.sequence.to_be_bytes());
            bytes.extend(self.acknowledgement.to_be_bytes());
            bytes.extend([offset, self.flags]);
            bytes.extend(self.window.to_be_bytes());
            bytes.extend([0, 0, 0, 9]);
            bytes.extend(options);
            bytes.extend(&self.payload);
            let sum = sum(&bytes);
            bytes[16..18].copy_from_slice(&sum.to_be_bytes());
            bytes
        }

        /// What the other end should see, said independently of `renumber`.
        fn shifted(mut self, by: &Shift) -> Segment {
            // Options behind 40 bytes are not there.
            let mut left = 40usize;
            self.sequence = self.sequence.wrapping_add(by.sequence);
            let ack = self.flags & tcp::ACK != 0;
            if ack {
                self.acknowledgement = self.acknowledgement.wrapping_add(by.acknowledgement);
            }
            if self.flags & tcp::SYN == 0 {
                self.window = scale(self.window, by.window);
            }
            for option in &mut self.options {
                let len = match option {
                    Opt::Nop => 1,
                    Opt::Timestamps(..) => 10,
                    Opt::Sack(edges) => 2 + 4 * edges.len(),
                    Opt::Other(_, value) => 2 + value.len(),
                };
                match left.checked_sub(len) {
                    Some(rest) => left = rest,
                    None => break,
                }
                match option {
                    Opt::Timestamps(value, echo) => {
                        *value = value.wrapping_add(by.timestamp);
                        *echo = echo.wrapping_add(if ack { by.echo } else { 0 });
                    }
                    Opt::Sack(edges) if ack && edges.len() % 2 == 0 => {
                        edges.iter_mut().for_each(|edge| *edge = edge.wrapping_add(by.acknowledgement));
                    }
                    _ => {}
                }
            }
            self
        }
    }

    /// The checksum of a segment whose checksum field is zero; 0 (or ones) if the field is there and right.
    fn sum(segment: &[u8]) -> u16 {
        let len = u16::try_from(segment.len()).unwrap();
        Sum::default().pseudo_header(CLIENT, SERVER, 6, len).bytes(segment).checksum()
    }

    fn any_segment() -> impl Strategy<Value = Segment> {
        let option = prop_oneof![
            3 => Just(Opt::Nop),
            3 => (any::<u32>(), any::<u32>()).prop_map(|(value, echo)| Opt::Timestamps(value, echo)),
            2 => proptest::collection::vec(any::<u32>(), 0..=8).prop_map(Opt::Sack),
            1 => (2u8..=254, proptest::collection::vec(any::<u8>(), 0..=6))
                .prop_filter("one of those above", |(kind, _)| ![5, 8].contains(kind))
                .prop_map(|(kind, value)| Opt::Other(kind, value)),
        ];
        let fields = (any::<u32>(), any::<u32>(), any::<u8>(), any::<u16>());
        let lists = (proptest::collection::vec(option, 0..8), proptest::collection::vec(any::<u8>(), 0..50));
        (fields, lists).prop_map(|((sequence, acknowledgement, flags, window), (options, payload))| Segment {
            sequence,
            acknowledgement,
            flags,
            window,
            options,
            payload,
        })
    }

    fn any_shift() -> impl Strategy<Value = Shift> {
        let word = || prop_oneof![Just(0u32), any::<u32>(), any::<u16>().prop_map(u32::from)];
        (word(), word(), word(), word(), -14i8..=14).prop_map(
            |(sequence, acknowledgement, timestamp, echo, window)| Shift {
                sequence,
                acknowledgement,
                timestamp,
                echo,
                window,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn a_renumbered_segment_is_what_building_it_anew_with_the_new_numbers_gives(
            segment in any_segment(), by in any_shift(),
        ) {
            let mut bytes = segment.encode();
            renumber(&mut bytes, &by).unwrap();
            let mut expected = segment.shifted(&by).encode();
            prop_assert!([0, 0xffff].contains(&sum(&bytes)), "the checksum is right");
            // Zero has two forms.
            bytes[16..18].fill(0);
            expected[16..18].fill(0);
            prop_assert_eq!(bytes, expected);
        }

        #[test]
        fn any_bytes_are_renumbered_without_changing_their_sum_or_left_alone(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..90), by in any_shift(),
        ) {
            let before = bytes.clone();
            match renumber(&mut bytes, &by) {
                Ok(()) => {
                    let (was, is) = (sum(&before), sum(&bytes));
                    prop_assert!(was == is || (was.min(is), was.max(is)) == (0, 0xffff));
                    prop_assert_eq!(&bytes[..4], &before[..4]);
                }
                Err(reason) => {
                    prop_assert_eq!(reason, DropReason::L4HeaderInvalid);
                    prop_assert_eq!(bytes, before);
                }
            }
        }

        #[test]
        fn both_directions_of_a_session_undo_each_other(sequence: u32, timestamp: u32, seen: u32, clock: u32) {
            let offsets = Offsets { sequence, timestamp, ..Offsets::default() };
            let (there, back) = (offsets.shift(Direction::Reply), offsets.shift(Direction::Original));
            prop_assert_eq!(seen.wrapping_add(there.sequence).wrapping_add(back.acknowledgement), seen);
            prop_assert_eq!(clock.wrapping_add(there.timestamp).wrapping_add(back.echo), clock);
        }

        #[test]
        fn a_quote_is_renumbered_where_there_is_one(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..80), sequence: u32,
        ) {
            let len = bytes.len();
            renumber_quote(&mut bytes, |number| number.wrapping_add(sequence));
            prop_assert_eq!(bytes.len(), len);
        }
    }

    #[test]
    fn a_quoted_sequence_number_is_what_the_receiver_sent() {
        let segment = Segment {
            sequence: 5000,
            acknowledgement: 0,
            flags: tcp::ACK,
            window: 0,
            options: vec![],
            payload: vec![],
        };
        let mut ip = Ipv4Header::new(6, SERVER, CLIENT, 40);
        ip.checksum.set(crate::wire::checksum::checksum(zerocopy::IntoBytes::as_bytes(&ip)));
        let kind = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host);
        for kept in [8, 20] {
            let quote = [zerocopy::IntoBytes::as_bytes(&ip), &segment.encode()[..kept]].concat();
            let mut packet = packet(&error_frame("192.0.2.7", "192.168.1.10", kind.clone(), &quote));
            let (_, message) = packet.l3_l4_mut().unwrap();
            renumber_quote(message, |number| number.wrapping_sub(6000));
            assert!(is_valid(message));
            assert_eq!(message[8 + 20 + 4..][..4], (5000u32.wrapping_sub(6000)).to_be_bytes());
        }
    }

    #[test]
    fn a_window_in_another_unit_is_rounded_down_but_never_to_a_stop() {
        for (window, by, expected) in [
            (1000, 0, 1000),
            (1000, 2, 4000),
            (65535, 1, 65535),
            (1000, -7, 7),
            (100, -7, 1),
            (0, -7, 0),
            (0, 14, 0),
            (65535, -14, 3),
            (1, i8::MIN, 1),
            (1, i8::MAX, 65535),
        ] {
            assert_eq!(scale(window, by), expected, "{window} by 2^{by}");
        }
    }

    #[test]
    fn the_window_of_a_syn_is_not_scaled() {
        let syn = Segment {
            sequence: 1,
            acknowledgement: 0,
            flags: tcp::SYN,
            window: 64_000,
            options: vec![],
            payload: vec![],
        };
        let mut bytes = syn.encode();
        renumber(&mut bytes, &Shift { window: -7, ..Shift::default() }).unwrap();
        assert_eq!(bytes[14..16], 64_000u16.to_be_bytes());
    }
}

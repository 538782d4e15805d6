//! TCP options (RFC 9293 3.1, RFC 7323, RFC 2018): a bounded walk over bytes that nobody vouches for.
//!
//! A header has at most 40 bytes of options, and every step goes on by at least one. Options that can not be
//! walked end the walk: what stands before them counts.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// End of the list.
pub const END: u8 = 0;
/// Padding of one byte.
pub const NO_OPERATION: u8 = 1;
/// Maximum segment size (RFC 9293 3.7.1).
pub const MAXIMUM_SEGMENT_SIZE: u8 = 2;
/// Window scale (RFC 7323 2.2).
pub const WINDOW_SCALE: u8 = 3;
/// Selective acknowledgements may be sent (RFC 2018 2).
pub const SACK_PERMITTED: u8 = 4;
/// Selective acknowledgement (RFC 2018 3).
pub const SACK: u8 = 5;
/// Timestamps (RFC 7323 3.2).
pub const TIMESTAMPS: u8 = 8;

/// The largest window scale; larger ones count as this (RFC 7323 2.3).
pub const MAX_SCALE: u8 = 14;
/// The most bytes of options that a header holds.
pub const MAX_LEN: usize = 40;

/// An option in its place: offsets into the options that were walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its kind.
    pub kind: u8,
    /// Where its value begins, behind kind and length.
    pub start: usize,
    /// Where the next option begins.
    pub end: usize,
}

/// The first option at or behind the offset `at` that is not padding.
#[inline]
pub fn option_at(options: &[u8], mut at: usize) -> Option<Place> {
    loop {
        match *options.get(at)? {
            END => return None,
            NO_OPERATION => at += 1,
            kind => {
                let end = at + usize::from(*options.get(at + 1)?);
                let place = Place { kind, start: at + 2, end };
                return (end >= place.start && end <= options.len()).then_some(place);
            }
        }
    }
}

/// A timestamps option (RFC 7323 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timestamps {
    /// The sender's clock.
    pub value: u32,
    /// The receiver's clock as the sender last saw it; only valid with ACK.
    pub echo: u32,
}

/// The options that a handshake is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpOptions {
    /// Maximum segment size in bytes.
    pub mss: Option<u16>,
    /// Window scale: 0 to [`MAX_SCALE`].
    pub scale: Option<u8>,
    /// Whether selective acknowledgements may be sent.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
}

impl TcpOptions {
    /// Reads the options of a header. Of two of a kind the last one counts; one of a wrong length does not.
    pub fn read(options: &[u8]) -> TcpOptions {
        let mut read = TcpOptions::default();
        let mut at = 0;
        while let Some(place) = option_at(options, at) {
            at = place.end;
            match (place.kind, options.get(place.start..place.end).unwrap_or_default()) {
                (MAXIMUM_SEGMENT_SIZE, [a, b]) => read.mss = Some(u16::from_be_bytes([*a, *b])),
                (WINDOW_SCALE, [scale]) => read.scale = Some((*scale).min(MAX_SCALE)),
                (SACK_PERMITTED, []) => read.sack_permitted = true,
                (TIMESTAMPS, [a, b, c, d, e, f, g, h]) => {
                    read.timestamps = Some(Timestamps {
                        value: u32::from_be_bytes([*a, *b, *c, *d]),
                        echo: u32::from_be_bytes([*e, *f, *g, *h]),
                    });
                }
                _ => {}
            }
        }
        read
    }

    /// Writes the options to the start of `to`; returns how many bytes they take, a multiple of four.
    pub fn write(&self, to: &mut [u8; MAX_LEN]) -> usize {
        // Each form below is padded to whole words by itself, so no order leaves a gap.
        let mut used = 0;
        if let Some(mss) = self.mss {
            let option = MssOption { kind: MAXIMUM_SEGMENT_SIZE, len: 4, mss: U16::new(mss) };
            used += put(to, used, option.as_bytes());
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            // The padding in front is free for the other option of two bytes.
            let lead = if self.sack_permitted { [SACK_PERMITTED, 2] } else { [NO_OPERATION; 2] };
            let option = TimestampsOption {
                lead,
                kind: TIMESTAMPS,
                len: 10,
                value: U32::new(value),
                echo: U32::new(echo),
            };
            used += put(to, used, option.as_bytes());
        } else if self.sack_permitted {
            used += put(to, used, &[NO_OPERATION, NO_OPERATION, SACK_PERMITTED, 2]);
        }
        if let Some(scale) = self.scale {
            used += put(to, used, &[NO_OPERATION, WINDOW_SCALE, 3, scale]);
        }
        used
    }
}

/// Copies `bytes` to offset `at` of `to`; returns how many were copied: all or none.
fn put(to: &mut [u8; MAX_LEN], at: usize, bytes: &[u8]) -> usize {
    match to.get_mut(at..at + bytes.len()) {
        Some(place) => {
            place.copy_from_slice(bytes);
            bytes.len()
        }
        None => 0,
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct MssOption {
    kind: u8,
    len: u8,
    mss: U16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TimestampsOption {
    lead: [u8; 2],
    kind: u8,
    len: u8,
    value: U32,
    echo: U32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_options() -> impl Strategy<Value = TcpOptions> {
        let timestamps = (any::<u32>(), any::<u32>()).prop_map(|(value, echo)| Timestamps { value, echo });
        (
            any::<Option<u16>>(),
            proptest::option::of(0..=MAX_SCALE),
            any::<bool>(),
            proptest::option::of(timestamps),
        )
            .prop_map(|(mss, scale, sack_permitted, timestamps)| TcpOptions {
                mss,
                scale,
                sack_permitted,
                timestamps,
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_etherparse_reads_the_same(options in any_options()) {
            let mut bytes = [0xff; MAX_LEN];
            let used = options.write(&mut bytes);
            prop_assert!(used.is_multiple_of(4));
            prop_assert_eq!(TcpOptions::read(&bytes[..used]), options);
            let mut seen = TcpOptions::default();
            for element in etherparse::TcpOptionsIterator::from_slice(&bytes[..used]) {
                use etherparse::TcpOptionElement as E;
                match element.unwrap() {
                    E::MaximumSegmentSize(mss) => seen.mss = Some(mss),
                    E::WindowScale(scale) => seen.scale = Some(scale),
                    E::SelectiveAcknowledgementPermitted => seen.sack_permitted = true,
                    E::Timestamp(value, echo) => seen.timestamps = Some(Timestamps { value, echo }),
                    E::Noop | E::SelectiveAcknowledgement(..) => {}
                }
            }
            prop_assert_eq!(seen, options);
        }

        #[test]
        fn any_bytes_are_walked_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..=MAX_LEN)) {
            let _ = TcpOptions::read(&bytes);
            let mut at = 0;
            while let Some(place) = option_at(&bytes, at) {
                prop_assert!(place.end > at && place.start <= place.end && place.end <= bytes.len());
                at = place.end;
            }
        }
    }

    #[test]
    fn what_stands_before_a_broken_option_counts() {
        let broken = [MAXIMUM_SEGMENT_SIZE, 4, 5, 180, WINDOW_SCALE, 1, 7, 0];
        assert_eq!(TcpOptions::read(&broken), TcpOptions { mss: Some(1460), ..TcpOptions::default() });
        let too_long = [SACK_PERMITTED, 2, TIMESTAMPS, 10, 0, 0];
        assert_eq!(TcpOptions::read(&too_long), TcpOptions { sack_permitted: true, ..TcpOptions::default() });
    }

    #[test]
    fn a_window_scale_above_fourteen_counts_as_fourteen() {
        assert_eq!(TcpOptions::read(&[WINDOW_SCALE, 3, 255]).scale, Some(14));
    }
}

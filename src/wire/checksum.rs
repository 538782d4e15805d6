//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A [`Delta`] is what has to be added to the *one's complement* of a checksum field when the fields that it
//! covers change. Deltas add up, so a session computes one for its addresses and one for its ports and uses
//! them for every packet. A checksum that was wrong stays wrong by the same amount.

/// A change of checksummed 16-bit words in one's complement arithmetic: the sum of `~old + new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Delta(pub u16);

impl Delta {
    /// No change.
    pub const ZERO: Delta = Delta(0);

    /// The change from word `old` to word `new`.
    #[inline]
    pub fn word(old: u16, new: u16) -> Delta {
        Delta(fold(u32::from(!old) + u32::from(new)))
    }

    /// The change from the 32-bit value `old` to `new` (an IPv4 address as a number).
    #[inline]
    pub fn long(old: u32, new: u32) -> Delta {
        let [a, b, c, d] = old.to_be_bytes();
        let [e, f, g, h] = new.to_be_bytes();
        Delta::word(u16::from_be_bytes([a, b]), u16::from_be_bytes([e, f]))
            .and(Delta::word(u16::from_be_bytes([c, d]), u16::from_be_bytes([g, h])))
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub fn and(self, other: Delta) -> Delta {
        Delta(fold(u32::from(self.0) + u32::from(other.0)))
    }

    /// The change back.
    #[inline]
    #[must_use]
    pub fn reverse(self) -> Delta {
        Delta(!self.0)
    }

    /// The checksum field after the change (RFC 1624 equation 3).
    #[inline]
    pub fn apply(self, checksum: u16) -> u16 {
        !fold(u32::from(!checksum) + u32::from(self.0))
    }

    /// The UDP checksum field after the change: zero (none) stays zero, a computed zero is sent as 0xffff
    /// (RFC 768, RFC 3022 4.1).
    #[inline]
    pub fn apply_udp(self, checksum: u16) -> u16 {
        match checksum {
            0 => 0,
            some => match self.apply(some) {
                0 => 0xffff,
                changed => changed,
            },
        }
    }
}

/// Folds carries into 16 bits.
#[inline]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    #[expect(clippy::cast_possible_truncation, reason = "folded twice: at most 0xffff")]
    let folded = sum as u16;
    folded
}

/// A sum of 16-bit words in one's complement, in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last byte is padded with zero, so only the last piece may be odd.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Sum {
        let (words, rest) = bytes.as_chunks::<2>();
        for word in words {
            self.0 += u64::from(u16::from_be_bytes(*word));
        }
        if let [last] = rest {
            self.0 += u64::from(u16::from_be_bytes([*last, 0]));
        }
        self
    }

    /// Adds one word.
    #[must_use]
    pub fn word(mut self, word: u16) -> Sum {
        self.0 += u64::from(word);
        self
    }

    /// Adds two words at once: an IPv4 address as a number.
    #[inline]
    #[must_use]
    pub fn long(mut self, words: u32) -> Sum {
        // 2^16 is 1 in one's complement arithmetic.
        self.0 += u64::from(words);
        self
    }

    /// Adds another sum.
    #[inline]
    #[must_use]
    pub fn and(mut self, other: Sum) -> Sum {
        self.0 += other.0;
        self
    }

    /// Adds the IPv4 pseudo-header of TCP and UDP.
    #[must_use]
    pub fn pseudo_header(
        self,
        source: std::net::Ipv4Addr,
        destination: std::net::Ipv4Addr,
        protocol: u8,
        length: u16,
    ) -> Sum {
        self.bytes(&source.octets()).bytes(&destination.octets()).word(u16::from(protocol)).word(length)
    }

    /// The checksum field for what was added: the complement of the sum.
    pub fn checksum(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[expect(clippy::cast_possible_truncation, reason = "folded: at most 0xffff")]
        let folded = sum as u16;
        !folded
    }
}

/// The checksum field for `bytes`, in which the field itself is zero.
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::default().bytes(bytes).checksum()
}

/// Whether `bytes`, with the checksum field in place, sum up right.
pub fn is_valid(bytes: &[u8]) -> bool {
    checksum(bytes) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1624_comes_out_right() {
        // RFC 1624 section 4: 0xDD2F with 0x5555 changed to 0x3285 must give 0x0000.
        assert_eq!(Delta::word(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }

    #[test]
    fn a_udp_checksum_of_zero_stays_zero_and_a_computed_zero_is_sent_as_ones() {
        let delta = Delta::word(0x5555, 0x3285);
        assert_eq!(delta.apply_udp(0), 0);
        assert_eq!(delta.apply_udp(0xdd2f), 0xffff);
    }

    #[test]
    fn an_odd_last_byte_is_padded_with_zero() {
        assert_eq!(checksum(&[0x12, 0x34, 0x56]), !(0x1234 + 0x5600));
    }

    #[test]
    fn words_add_up_the_same_one_by_one_and_together() {
        let bytes = [0xff, 0xfe, 0x80, 0x01, 0xff, 0xff, 0xff, 0xff];
        let pairs = Sum::default().long(0xfffe_8001).and(Sum::default().long(0xffff_ffff));
        assert_eq!(pairs.checksum(), checksum(&bytes));
    }

    #[test]
    fn a_delta_undoes_its_reverse() {
        for (old, new) in [(0, 1), (0xffff, 0), (0x1234, 0x4321), (0, 0xffff)] {
            let delta = Delta::word(old, new);
            let there = delta.apply(0xabcd);
            assert_eq!(delta.reverse().apply(there), 0xabcd);
        }
    }
}

//! SYN cookies (RFC 4987 3.6): a handshake is answered without keeping anything of it. Pure.
//!
//! What has to be known when the client completes the handshake is in what it must send back:
//!
//! - in the acknowledgement number, which is our initial sequence number plus one. It is made as Linux makes it:
//!
//!   ```text
//!   h(tuple) + client's number + (minute << 24) + (h(tuple, client's number, minute) + MSS index) mod 2^24
//!   ```
//!
//!   The upper eight bits give back the minute, so the number grows with time, as RFC 9293 3.4.1 wants it: a new
//!   connection does not begin among the bytes of the one before. The client's number is in the second hash too, or
//!   numbers next to each other would pass for each other with another size.
//! - in the echo of our timestamp, if the client speaks timestamps (RFC 7323): its low six bits are the options for
//!   which the sequence number has no room.
//!
//!   ```text
//!   31            6   5     4    3     0
//!   | milliseconds | ECN | SACK | scale |     scale 15: the client did not offer any
//!   ```
//!
//! A client without timestamps gets neither window scale nor SACK: there is no place to remember them in.
//!
//! A forged acknowledgement passes if the minute is one of 2 of 256 and the rest is one of 8 of 2^24: with a
//! probability of 2^-28, for each [`SynCookies::check`]. The hash is SipHash-2-4 with a secret key of 128 bits, drawn at random once
//! a start. The tables are fixed; nothing allocates.

use crate::packet::Tuple;
use crate::time::Time;
use crate::wire::tcp_options::MAX_SCALE;
use siphasher::sip::SipHasher24;

/// The maximum segment sizes that a cookie can tell, in bytes: those of most clients on the Internet, and of jumbo
/// frames. A client gets the largest one that is not above its own.
pub const SEGMENT_SIZES: [u16; 8] = [216, 536, 1220, 1360, 1400, 1440, 1460, 8960];
/// What a client takes that does not say it (RFC 9293 3.7.1), in bytes.
pub const DEFAULT_MSS: u16 = 536;
/// Minutes, begun ones included, for which a cookie is good: between one and two minutes.
pub const LIFETIME: u32 = 2;

const MINUTE_NANOS: u64 = 60_000_000_000;
const MILLI_NANOS: u64 = 1_000_000;
/// Bits of the cookie below the minute.
const HASH_BITS: u32 = 24;
const HASH_MASK: u32 = (1 << HASH_BITS) - 1;
/// The low bits of our timestamp.
const SCALE_MASK: u32 = 0x0f;
const NO_SCALE: u32 = 0x0f;
const SACK: u32 = 1 << 4;
const ECN: u32 = 1 << 5;
const OPTIONS_MASK: u32 = 0x3f;

/// Options that travel in a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Remembered {
    /// The client's window scale, 0 to 14.
    pub scale: Option<u8>,
    /// Whether selective acknowledgements may be sent.
    pub sack_permitted: bool,
    /// Whether explicit congestion notification was agreed on.
    pub ecn: bool,
}

/// Makes cookies and knows its own.
#[derive(Clone)]
pub struct SynCookies {
    hasher: SipHasher24,
    /// Hides for how long the gateway has been running.
    clock_offset: u32,
}

impl SynCookies {
    /// With this key, which must be secret and random.
    pub fn new(secret: u128) -> SynCookies {
        let hasher = SipHasher24::new_with_key(&secret.to_be_bytes());
        let clock_offset = halves(hasher.hash(b"clock")).1;
        SynCookies { hasher, clock_offset }
    }

    /// The initial sequence number with which a SYN is answered. `tuple` and `sequence` are the SYN's, `mss` what its
    /// sender takes.
    #[inline]
    pub fn make(&self, tuple: &Tuple, sequence: u32, mss: u16, now: Time) -> u32 {
        let index = SEGMENT_SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0);
        let index = u32::try_from(index).unwrap_or(0);
        let minute = minute(now);
        let secret = self.hash(tuple, sequence, minute).wrapping_add(index) & HASH_MASK;
        self.base(tuple, sequence).wrapping_add(minute << HASH_BITS).wrapping_add(secret)
    }

    /// Whether `cookie` is one that was made for a SYN with this tuple and sequence number not too long ago;
    /// the client's maximum segment size, if so.
    #[inline]
    pub fn check(&self, tuple: &Tuple, sequence: u32, cookie: u32, now: Time) -> Option<u16> {
        let told = cookie.wrapping_sub(self.base(tuple, sequence));
        let minute = minute(now);
        let age = minute.wrapping_sub(told >> HASH_BITS) & (u32::MAX >> HASH_BITS);
        if age >= LIFETIME {
            return None;
        }
        let index = told.wrapping_sub(self.hash(tuple, sequence, minute.wrapping_sub(age))) & HASH_MASK;
        SEGMENT_SIZES.get(usize::try_from(index).ok()?).copied()
    }

    /// Our timestamp in the answer to a SYN: a clock of 64 ms that also says what the client offered.
    #[inline]
    pub fn timestamp(&self, options: Remembered, now: Time) -> u32 {
        // Wraps by design, as every timestamp does (RFC 7323 5.4).
        #[expect(clippy::cast_possible_truncation, reason = "a clock that wraps by design")]
        let clock = ((now.as_nanos() / MILLI_NANOS) as u32).wrapping_add(self.clock_offset) & !OPTIONS_MASK;
        let scale = options.scale.map_or(NO_SCALE, |scale| u32::from(scale.min(MAX_SCALE)));
        let sack = if options.sack_permitted { SACK } else { 0 };
        let ecn = if options.ecn { ECN } else { 0 };
        clock | scale | sack | ecn
    }

    /// What does not change from minute to minute.
    #[inline]
    fn base(&self, tuple: &Tuple, sequence: u32) -> u32 {
        halves(self.hasher.hash(&message(tuple, 0, 0))).0.wrapping_add(sequence)
    }

    #[inline]
    fn hash(&self, tuple: &Tuple, sequence: u32, minute: u32) -> u32 {
        // The upper bit: never what `base` hashes.
        halves(self.hasher.hash(&message(tuple, sequence, minute | 1 << 31))).1
    }
}

impl std::fmt::Debug for SynCookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SynCookies(secret)")
    }
}

/// What the echo of a timestamp of ours says.
#[inline]
pub fn remembered(echo: u32) -> Remembered {
    let scale = u8::try_from(echo & SCALE_MASK).ok().filter(|scale| *scale <= MAX_SCALE);
    Remembered { scale, sack_permitted: echo & SACK != 0, ecn: echo & ECN != 0 }
}

/// Minutes since the start of time; wraps with the 31 bits that a message has for it.
#[inline]
fn minute(now: Time) -> u32 {
    // 2^31 minutes are 4,000 years, which a Time does not reach.
    u32::try_from(now.as_nanos() / MINUTE_NANOS).unwrap_or(0)
}

/// What is hashed: the tuple and two more words.
#[inline]
fn message(tuple: &Tuple, one: u32, other: u32) -> [u8; 20] {
    let [a, b, c, d] = tuple.src.octets();
    let [e, f, g, h] = tuple.dst.octets();
    let [i, j] = tuple.sport.to_be_bytes();
    let [k, l] = tuple.dport.to_be_bytes();
    let [m, n, o, p] = one.to_be_bytes();
    let [q, r, s, t] = other.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t]
}

#[inline]
fn halves(hash: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = hash.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const SECRET: u128 = 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978;

    fn tuple(src: u32, sport: u16) -> Tuple {
        Tuple {
            src: Ipv4Addr::from_bits(src),
            dst: Ipv4Addr::new(203, 0, 113, 9),
            sport,
            dport: 443,
            protocol: 6,
        }
    }

    proptest! {
        #[test]
        fn a_cookie_tells_the_largest_size_that_is_not_above_the_clients(
            src: u32, sport: u16, sequence: u32, mss: u16, secret: u128, nanos in 0..u64::MAX / 2, age in 0u64..60,
        ) {
            let cookies = SynCookies::new(secret);
            let made = Time::from_nanos(nanos);
            let cookie = cookies.make(&tuple(src, sport), sequence, mss, made);
            let told = cookies.check(&tuple(src, sport), sequence, cookie, made + Duration::from_secs(age));
            let expected = SEGMENT_SIZES.iter().filter(|size| **size <= mss).max().unwrap_or(&SEGMENT_SIZES[0]);
            prop_assert_eq!(told, Some(*expected));
        }

        #[test]
        fn a_timestamp_tells_what_the_client_offered(
            scale in proptest::option::of(0..=MAX_SCALE), sack_permitted: bool, ecn: bool, nanos: u64, secret: u128,
        ) {
            let options = Remembered { scale, sack_permitted, ecn };
            let value = SynCookies::new(secret).timestamp(options, Time::from_nanos(nanos));
            prop_assert_eq!(remembered(value), options);
        }

        #[test]
        fn a_cookie_of_another_tuple_sequence_or_start_is_refused(
            src: u32, sport: u16, sequence: u32, other in 1u32.., flip in 0u32..12,
        ) {
            let cookies = SynCookies::new(SECRET);
            let (now, own) = (Time::from_secs(1000), tuple(src, sport));
            let cookie = cookies.make(&own, sequence, 1460, now);
            let mut wrong = own;
            match flip {
                0..4 => wrong.src = Ipv4Addr::from_bits(src ^ other),
                4..8 => wrong.dst = Ipv4Addr::from_bits(own.dst.to_bits() ^ other),
                8..10 => wrong.sport ^= 1 << (other % 16),
                _ => wrong.dport ^= 1 << (other % 16),
            }
            prop_assert_eq!(cookies.check(&wrong, sequence, cookie, now), None);
            prop_assert_eq!(cookies.check(&own, sequence.wrapping_add(other), cookie, now), None);
            prop_assert_eq!(SynCookies::new(SECRET + 1).check(&own, sequence, cookie, now), None);
        }
    }

    #[test]
    fn every_size_comes_back_in_the_minute_and_the_next_and_no_later() {
        let cookies = SynCookies::new(SECRET);
        let client = tuple(0xc633_6401, 40_000);
        for size in SEGMENT_SIZES {
            // Half a minute into the minute.
            let made = Time::from_secs(100 * 60 + 30);
            let cookie = cookies.make(&client, 7, size, made);
            for (seconds, told) in
                [(0, Some(size)), (29, Some(size)), (89, Some(size)), (90, None), (91, None)]
            {
                let now = made + Duration::from_secs(seconds);
                assert_eq!(cookies.check(&client, 7, cookie, now), told, "{size} after {seconds} s");
            }
            // The minute's eight bits come round, the hash does not.
            let round = made + Duration::from_secs(256 * 60);
            assert_eq!(cookies.check(&client, 7, cookie, round), None);
        }
    }

    #[test]
    fn the_numbers_next_to_the_clients_are_refused() {
        let cookies = SynCookies::new(SECRET);
        let (client, now) = (tuple(0xc633_6401, 40_000), Time::from_secs(6000));
        for size in SEGMENT_SIZES {
            let cookie = cookies.make(&client, 1000, size, now);
            let passing: Vec<u32> =
                (0..2000).filter(|n| cookies.check(&client, *n, cookie, now).is_some()).collect();
            assert_eq!(passing, [1000]);
        }
    }

    #[test]
    fn a_client_smaller_than_all_sizes_gets_the_smallest() {
        let cookies = SynCookies::new(SECRET);
        let cookie = cookies.make(&tuple(1, 1), 0, 40, Time::ZERO);
        assert_eq!(cookies.check(&tuple(1, 1), 0, cookie, Time::ZERO), Some(216));
    }

    #[test]
    fn one_guess_in_2_to_the_28_passes() {
        // All acknowledgements can not be tried for many tuples, but all of the 2^8 x 2^8 upper and lower bytes for
        // one value of those between, and the whole upper byte for the values near the right one.
        let cookies = SynCookies::new(SECRET);
        let (client, now) = (tuple(0xc633_6401, 40_000), Time::from_secs(6000));
        let right = cookies.make(&client, 7, SEGMENT_SIZES[0], now);
        let passes = |cookie: u32| cookies.check(&client, 7, cookie, now).is_some();
        let near = (0u32..1 << 16).filter(|low| passes((right & !0xffff) | low)).count();
        assert_eq!(near, 8, "the eight sizes of this minute");
        let minutes = (0u32..256).filter(|high| passes(right.wrapping_add(high << 24))).count();
        assert_eq!(minutes, 1, "the hash of this minute is good for no other");
        // A guess a tuple, as a flood from many sources makes them: 2^20 of them, of which 1 in 256 is expected to be right.
        let lucky = (0u32..1 << 20)
            .filter(|n| {
                cookies.check(&tuple(*n, 1024), n.wrapping_mul(0x9e37_79b9), n.rotate_left(16), now).is_some()
            })
            .count();
        assert!(lucky <= 1, "{lucky} of 2^20 guesses passed");
    }

    #[test]
    fn cookies_of_one_client_grow_from_minute_to_minute() {
        let cookies = SynCookies::new(SECRET);
        let client = tuple(0xc633_6401, 40_000);
        let at = |minutes: u64| cookies.make(&client, 7, 1460, Time::from_secs(minutes * 60));
        // By 2^24 plus or minus what the hash of the minute adds.
        for minutes in 0..100 {
            let grown = at(minutes + 2).wrapping_sub(at(minutes));
            assert!((1 << 24..3 << 24).contains(&grown), "{grown:#x}");
        }
    }

    #[test]
    fn a_later_timestamp_is_never_smaller() {
        let cookies = SynCookies::new(SECRET);
        let mut last = cookies.timestamp(Remembered::default(), Time::ZERO) & !OPTIONS_MASK;
        for step in 1..2000 {
            let now = Time::ZERO + Duration::from_millis(step * 17);
            let value = cookies.timestamp(Remembered::default(), now) & !OPTIONS_MASK;
            assert!(value.wrapping_sub(last) <= 64);
            last = value;
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", SynCookies::new(SECRET)), "SynCookies(secret)");
    }
}

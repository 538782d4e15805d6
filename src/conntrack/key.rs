//! Flow keys: what a packet is looked up by. One direction of a session has one key.
//!
//! A key is a handful of 64-bit words, so that a session can hold it in atomics and compare it word by word.
//! It contains the [`Realm`] of the interface by which packets of that direction *arrive*: a packet with the
//! same addresses from the other side is another flow and never matches (a spoofed reply from inside, say).
//! The zone separates address spaces that overlap (VRFs); it is 0 where there is only one.
//!
//! # Hash
//!
//! Two folded multiplies in the manner of wyhash: `fold(a, b)` is the 128-bit product of `a` and `b`, its upper
//! half xored onto its lower. *Both* factors are masked with the seed: with a public mask on one side a sender
//! who makes that factor zero would get the same hash whatever the other words are. This is no cryptographic
//! hash; it keeps strangers from choosing colliding flows as long as the seed is random and nothing that depends
//! on a hash leaves the process.

use crate::ids::Realm;
use crate::packet::Tuple;
use crate::packet::plain::Plain;
use crate::sync::{AtomicU64, Ordering};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A key of the session table; see the module's head.
pub trait FlowKey: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// The key in shared memory: relaxed atomics, all zero at first.
    type Words: Default + fmt::Debug + Send + Sync;

    /// Stores the key, word by word.
    fn store(&self, words: &Self::Words);

    /// The key as it is stored. Torn if another thread writes it meanwhile: see [`super::seqlock`].
    fn load(words: &Self::Words) -> Self;

    /// Whether this key is stored in `words`.
    fn is_stored_in(&self, words: &Self::Words) -> bool;

    /// 64 bits: the upper ones choose the bucket of the index, the lowest eight are the tag in it.
    fn hash(&self, seed: u64) -> u64;

    /// IANA protocol number.
    fn protocol(&self) -> u8;

    /// Destination port, or what stands in its place (see [`Tuple`]).
    fn destination_port(&self) -> u16;
}

/// Key of an IPv4 flow: 16 bytes.
///
/// Word 0 is source << 32 | destination, word 1 is
/// source port << 48 | destination port << 32 | protocol << 24 | realm << 16 | zone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct V4Key(u64, u64);

const _: () = assert!(size_of::<V4Key>() == 16);

impl V4Key {
    /// The key of packets with this tuple that arrive from `realm` in `zone`.
    #[inline]
    #[must_use]
    pub fn new(tuple: Tuple, realm: Realm, zone: u16) -> Self {
        let addresses = u64::from(tuple.src.to_bits()) << 32 | u64::from(tuple.dst.to_bits());
        V4Key(addresses, rest_of_key(tuple.sport, tuple.dport, tuple.protocol, realm, zone))
    }

    /// The key of a plain packet: see [`Plain`] for the numbers.
    #[inline(always)]
    #[must_use]
    pub fn of_plain(plain: &Plain, realm: Realm, zone: u16) -> Self {
        let rest = rest_of_key(0, 0, plain.protocol, realm, zone);
        V4Key(plain.addresses, u64::from(plain.ports) << 32 | rest)
    }

    /// Source address << 32 | destination address of the packets that answer those with this key.
    #[inline(always)]
    #[must_use]
    pub fn inverse_addresses(self) -> u64 {
        self.0.rotate_left(32)
    }

    /// Source port << 16 | destination port of the packets that answer those with this key.
    #[inline(always)]
    #[must_use]
    pub fn inverse_ports(self) -> u32 {
        ((self.1 >> 32) as u32).rotate_left(16)
    }

    /// Addresses, ports and protocol.
    #[inline]
    #[must_use]
    pub fn tuple(self) -> Tuple {
        Tuple {
            src: Ipv4Addr::from_bits((self.0 >> 32) as u32),
            dst: Ipv4Addr::from_bits((self.0 & 0xffff_ffff) as u32),
            sport: source_port(self.1),
            dport: destination_port(self.1),
            protocol: protocol_of(self.1),
        }
    }

    /// The realm that packets with this key arrive from.
    #[inline]
    #[must_use]
    pub fn realm(self) -> Realm {
        realm_of(self.1)
    }

    /// The address space that the addresses are valid in.
    #[inline]
    #[must_use]
    pub fn zone(self) -> u16 {
        zone_of(self.1)
    }
}

impl fmt::Debug for V4Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("V4Key")
            .field("tuple", &self.tuple())
            .field("realm", &self.realm())
            .field("zone", &self.zone())
            .finish()
    }
}

impl FlowKey for V4Key {
    type Words = [AtomicU64; 2];

    #[inline]
    fn store(&self, words: &Self::Words) {
        let [a, b] = words;
        a.store(self.0, Ordering::Relaxed);
        b.store(self.1, Ordering::Relaxed);
    }

    #[inline]
    fn load(words: &Self::Words) -> Self {
        let [a, b] = words;
        V4Key(a.load(Ordering::Relaxed), b.load(Ordering::Relaxed))
    }

    #[inline]
    fn is_stored_in(&self, words: &Self::Words) -> bool {
        *self == Self::load(words)
    }

    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        let mixed = fold(self.0 ^ mask(seed, 0), self.1 ^ mask(seed, 1));
        fold(mixed ^ mask(seed, 2), MASKS[3])
    }

    #[inline]
    fn protocol(&self) -> u8 {
        protocol_of(self.1)
    }

    #[inline]
    fn destination_port(&self) -> u16 {
        destination_port(self.1)
    }
}

/// Key of an IPv6 flow: 40 bytes. Source and destination in two words each, then a word like the second of
/// [`V4Key`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct V6Key([u64; 5]);

const _: () = assert!(size_of::<V6Key>() == 40);

impl V6Key {
    /// The key of packets with these addresses, ports and protocol that arrive from `realm` in `zone`.
    #[must_use]
    pub fn new(
        addresses: (Ipv6Addr, Ipv6Addr),
        ports: (u16, u16),
        protocol: u8,
        realm: Realm,
        zone: u16,
    ) -> Self {
        let (src, dst) = (addresses.0.to_bits(), addresses.1.to_bits());
        let rest = rest_of_key(ports.0, ports.1, protocol, realm, zone);
        V6Key([upper(src), lower(src), upper(dst), lower(dst), rest])
    }

    /// Source and destination address.
    #[must_use]
    pub fn addresses(self) -> (Ipv6Addr, Ipv6Addr) {
        let [a, b, c, d, _] = self.0;
        (Ipv6Addr::from_bits(join(a, b)), Ipv6Addr::from_bits(join(c, d)))
    }

    /// Source and destination port.
    #[must_use]
    pub fn ports(self) -> (u16, u16) {
        (source_port(self.0[4]), destination_port(self.0[4]))
    }

    /// The realm that packets with this key arrive from.
    #[must_use]
    pub fn realm(self) -> Realm {
        realm_of(self.0[4])
    }

    /// The address space that the addresses are valid in.
    #[must_use]
    pub fn zone(self) -> u16 {
        zone_of(self.0[4])
    }
}

impl fmt::Debug for V6Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("V6Key")
            .field("addresses", &self.addresses())
            .field("ports", &self.ports())
            .field("protocol", &self.protocol())
            .field("realm", &self.realm())
            .field("zone", &self.zone())
            .finish()
    }
}

impl FlowKey for V6Key {
    type Words = [AtomicU64; 5];

    #[inline]
    fn store(&self, words: &Self::Words) {
        for (word, value) in words.iter().zip(self.0) {
            word.store(value, Ordering::Relaxed);
        }
    }

    #[inline]
    fn load(words: &Self::Words) -> Self {
        V6Key(std::array::from_fn(|i| words[i].load(Ordering::Relaxed)))
    }

    #[inline]
    fn is_stored_in(&self, words: &Self::Words) -> bool {
        words.iter().zip(self.0).all(|(word, value)| word.load(Ordering::Relaxed) == value)
    }

    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        let [a, b, c, d, rest] = self.0;
        let source = fold(a ^ mask(seed, 0), b ^ mask(seed, 1));
        let destination = fold(c ^ mask(seed, 2), d ^ mask(seed, 3));
        let mixed = fold(source ^ rest ^ mask(seed, 4), destination ^ mask(seed, 5));
        fold(mixed ^ mask(seed, 6), MASKS[3])
    }

    #[inline]
    fn protocol(&self) -> u8 {
        protocol_of(self.0[4])
    }

    #[inline]
    fn destination_port(&self) -> u16 {
        destination_port(self.0[4])
    }
}

/// The hash of three words, for what is found in the same way as a flow.
#[inline]
pub(crate) fn hash_of([a, b, c]: [u64; 3], seed: u64) -> u64 {
    let mixed = fold(a ^ mask(seed, 0), b ^ mask(seed, 1));
    let mixed = fold(mixed ^ c ^ mask(seed, 2), MASKS[2]);
    fold(mixed ^ mask(seed, 3), MASKS[3])
}

#[inline]
fn rest_of_key(sport: u16, dport: u16, protocol: u8, realm: Realm, zone: u16) -> u64 {
    let realm = match realm {
        Realm::Internal => 0,
        Realm::External => 1,
    };
    u64::from(sport) << 48
        | u64::from(dport) << 32
        | u64::from(protocol) << 24
        | realm << 16
        | u64::from(zone)
}

#[inline]
fn source_port(rest: u64) -> u16 {
    (rest >> 48) as u16
}

#[inline]
fn destination_port(rest: u64) -> u16 {
    (rest >> 32 & 0xffff) as u16
}

#[inline]
fn protocol_of(rest: u64) -> u8 {
    (rest >> 24 & 0xff) as u8
}

#[inline]
fn realm_of(rest: u64) -> Realm {
    if rest >> 16 & 1 == 0 { Realm::Internal } else { Realm::External }
}

#[inline]
fn zone_of(rest: u64) -> u16 {
    (rest & 0xffff) as u16
}

fn upper(bits: u128) -> u64 {
    (bits >> 64) as u64
}

fn lower(bits: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    let lower = bits as u64;
    lower
}

fn join(upper: u64, lower: u64) -> u128 {
    u128::from(upper) << 64 | u128::from(lower)
}

/// Odd constants with half of their bits set: the fractional digits of the golden ratio and of the square roots
/// of 2, 3 and 5.
const MASKS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b];

/// The secret that the `n`-th word of a key is masked with.
#[inline]
fn mask(seed: u64, n: u32) -> u64 {
    seed.rotate_left(n * 9) ^ MASKS[(n & 3) as usize]
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    upper(product) ^ lower(product)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn any_tuple() -> impl Strategy<Value = Tuple> {
        (any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>(), any::<u8>()).prop_map(
            |(src, dst, sport, dport, protocol)| Tuple {
                src: src.into(),
                dst: dst.into(),
                sport,
                dport,
                protocol,
            },
        )
    }

    fn any_realm() -> impl Strategy<Value = Realm> {
        prop_oneof![Just(Realm::Internal), Just(Realm::External)]
    }

    proptest! {
        #[test]
        fn an_ipv4_key_gives_back_what_went_in(tuple in any_tuple(), realm in any_realm(), zone: u16) {
            let key = V4Key::new(tuple, realm, zone);
            prop_assert_eq!((key.tuple(), key.realm(), key.zone()), (tuple, realm, zone));
            prop_assert_eq!(key.protocol(), tuple.protocol);
            let words = Default::default();
            key.store(&words);
            prop_assert!(key.is_stored_in(&words));
            prop_assert_eq!(V4Key::load(&words), key);
        }

        #[test]
        fn an_ipv6_key_gives_back_what_went_in(
            src: u128, dst: u128, ports: (u16, u16), protocol: u8, realm in any_realm(), zone: u16,
        ) {
            let key = V6Key::new((src.into(), dst.into()), ports, protocol, realm, zone);
            prop_assert_eq!(key.addresses(), (src.into(), dst.into()));
            prop_assert_eq!((key.ports(), key.protocol(), key.realm(), key.zone()), (ports, protocol, realm, zone));
            let words = Default::default();
            key.store(&words);
            prop_assert!(key.is_stored_in(&words));
            prop_assert_eq!(V6Key::load(&words), key);
        }

        #[test]
        fn the_other_realm_and_another_zone_are_another_flow(tuple in any_tuple(), zone: u16) {
            let key = V4Key::new(tuple, Realm::Internal, zone);
            prop_assert_ne!(key, V4Key::new(tuple, Realm::External, zone));
            prop_assert_ne!(key, V4Key::new(tuple, Realm::Internal, zone.wrapping_add(1)));
        }
    }

    #[test]
    fn the_upper_half_of_the_hash_spreads_flows_that_differ_in_one_field() {
        let base = Tuple {
            src: [10, 0, 0, 0].into(),
            dst: [192, 0, 2, 0].into(),
            sport: 0,
            dport: 443,
            protocol: 6,
        };
        let vary: [fn(&mut Tuple, u16); 5] = [
            |tuple, n| tuple.sport = n,
            |tuple, n| tuple.dport = n,
            |tuple, n| tuple.src = (tuple.src.to_bits() | u32::from(n)).into(),
            |tuple, n| tuple.dst = (tuple.dst.to_bits() ^ u32::from(n)).into(),
            |tuple, n| tuple.src = (u32::from(n) << 16).into(),
        ];
        for seed in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            for (field, vary) in vary.iter().enumerate() {
                let places: HashSet<u64> = (0..=u16::MAX)
                    .map(|n| {
                        let mut tuple = base;
                        vary(&mut tuple, n);
                        V4Key::new(tuple, Realm::Internal, 0).hash(seed) >> 48
                    })
                    .collect();
                // 65,536 balls thrown at random into as many bins hit 63.2 % of them: 41,427, give or take 80.
                assert!((41_000..41_900).contains(&places.len()), "{seed:#x} {field}: {}", places.len());
            }
        }
    }

    #[test]
    fn the_hash_depends_on_the_seed_and_on_each_part_of_an_ipv6_key() {
        let key = V6Key::new((1u128.into(), 2u128.into()), (3, 4), 17, Realm::Internal, 0);
        let mut hashes = HashSet::from([key.hash(1), key.hash(2)]);
        for word in 0..5 {
            let mut other = key;
            other.0[word] ^= 1;
            hashes.insert(other.hash(1));
        }
        assert_eq!(hashes.len(), 7);
    }
}

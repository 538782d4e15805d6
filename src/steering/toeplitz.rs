//! The Toeplitz hash, by which NICs spread packets over their queues (RSS).
//!
//! The hash of an input is the exclusive or of one 32-bit window of the key for each bit that is set in the input: bit
//! `i`, counted from the most significant one of the first byte, selects the key's bits `i` to `i + 31`. It is linear:
//! `hash(a ^ b) = hash(a) ^ hash(b)`, and so the sum of what each field contributes. The fields of an IPv4 packet are,
//! in this order and in network byte order, source, destination, source port, destination port; a packet whose ports the
//! NIC does not read (fragments, ICMP, protocols that it does not know) is hashed as if the last two were not there.
//!
//! Only the lowest bits of a hash select a queue, so [`Toeplitz`] computes 16 of its bits, with one table for each byte
//! of input: 12 loads a packet, 6 KiB. [`hash`] is the definition, for keys of any length and all 32 bits.
//!
//! Source: the RSS specification of NDIS ("RSS hashing functions"), whose vectors the tests check.

use crate::packet::Tuple;
use crate::wire::protocol;
use std::net::Ipv4Addr;

/// Bytes of a key that IPv4 needs: 12 bytes of input and one window.
pub const KEY_LEN: usize = 16;

/// Bytes of the inputs that the tables cover.
const INPUT: usize = 12;
const SRC: usize = 0;
const DST: usize = 4;
const SPORT: usize = 8;
const DPORT: usize = 10;

/// The first bytes of a key; those of longer ones serve IPv6.
pub type Key = [u8; KEY_LEN];

/// The hash of `input` as it is defined. Key bits that are not there count as zero.
pub fn hash(key: &[u8], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let window = |at: usize| (at..at + 32).fold(0u32, |word, at| word << 1 | u32::from(bit(key, at)));
    (0..input.len() * 8).filter(|at| bit(input, *at)).fold(0, |sum, at| sum ^ window(at))
}

/// A key, made ready to hash many packets.
#[derive(Clone, PartialEq, Eq)]
pub struct Toeplitz {
    key: Key,
    /// What each value of each byte of input adds to the lowest 16 bits of the hash.
    tables: Box<[[u16; 256]; INPUT]>,
}

impl Toeplitz {
    /// Makes a key ready.
    pub fn new(key: Key) -> Toeplitz {
        let mut tables = Box::new([[0u16; 256]; INPUT]);
        for (at, table) in tables.iter_mut().enumerate() {
            let mut input = [0u8; INPUT];
            for (value, entry) in (0u8..=255).zip(table) {
                input[at] = value;
                *entry = low(hash(&key, &input));
            }
        }
        Toeplitz { key, tables }
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What a source address contributes.
    #[inline]
    pub fn source(&self, address: Ipv4Addr) -> u16 {
        self.bytes::<SRC, 4>(address.octets())
    }

    /// What a destination address contributes.
    #[inline]
    pub fn destination(&self, address: Ipv4Addr) -> u16 {
        self.bytes::<DST, 4>(address.octets())
    }

    /// What a source port contributes.
    #[inline]
    pub fn source_port(&self, port: u16) -> u16 {
        self.bytes::<SPORT, 2>(port.to_be_bytes())
    }

    /// What a destination port contributes.
    #[inline]
    pub fn destination_port(&self, port: u16) -> u16 {
        self.bytes::<DPORT, 2>(port.to_be_bytes())
    }

    /// The hash of a packet whose ports are not read.
    #[inline]
    pub fn addresses(&self, tuple: &Tuple) -> u16 {
        self.source(tuple.src) ^ self.destination(tuple.dst)
    }

    /// The hash of a whole packet as a NIC computes it: with the ports of TCP and UDP.
    #[inline]
    pub fn packet(&self, tuple: &Tuple) -> u16 {
        let addresses = self.addresses(tuple);
        if !hashes_ports(tuple.protocol) {
            return addresses;
        }
        addresses ^ self.source_port(tuple.sport) ^ self.destination_port(tuple.dport)
    }

    #[inline]
    fn bytes<const AT: usize, const N: usize>(&self, bytes: [u8; N]) -> u16 {
        let mut sum = 0;
        for (at, byte) in bytes.into_iter().enumerate() {
            sum ^= self.tables[AT + at][usize::from(byte)];
        }
        sum
    }
}

impl std::fmt::Debug for Toeplitz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Who knows the key can aim at one worker.
        f.write_str("Toeplitz(secret)")
    }
}

/// Whether NICs read the ports of this protocol when they hash a packet.
#[inline]
pub fn hashes_ports(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP)
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest 16 bits are asked for")]
fn low(hash: u32) -> u16 {
    hash as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The key of the published vectors.
    const PUBLISHED: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// Destination and port, source and port, hash of the addresses, hash with ports.
    const VECTORS: [(&str, u16, &str, u16, u32, u32); 5] = [
        ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e_8fc2, 0x51cc_c178),
        ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718_262a, 0xc626_b0ea),
        ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0_a5de, 0x5c2b_394a),
        ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x8298_9176, 0xafc7_327f),
        ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d18_09c5, 0x10e8_28a2),
    ];

    fn input(tuple: &Tuple) -> Vec<u8> {
        [&tuple.src.octets()[..], &tuple.dst.octets(), &tuple.sport.to_be_bytes(), &tuple.dport.to_be_bytes()]
            .concat()
    }

    #[test]
    fn the_published_vectors_come_out() {
        let toeplitz = Toeplitz::new(PUBLISHED[..KEY_LEN].try_into().unwrap());
        for (dst, dport, src, sport, addresses, all) in VECTORS {
            let tuple = Tuple {
                src: src.parse().unwrap(),
                dst: dst.parse().unwrap(),
                sport,
                dport,
                protocol: protocol::TCP,
            };
            let bytes = input(&tuple);
            assert_eq!(hash(&PUBLISHED, &bytes[..8]), addresses, "{src}");
            assert_eq!(hash(&PUBLISHED, &bytes), all, "{src}");
            assert_eq!(toeplitz.addresses(&tuple), low(addresses));
            assert_eq!(toeplitz.packet(&tuple), low(all));
            assert_eq!(toeplitz.packet(&Tuple { protocol: protocol::ICMP, ..tuple }), low(addresses));
        }
    }

    proptest! {
        #[test]
        fn tables_and_definition_agree(key: Key, src: u32, dst: u32, sport: u16, dport: u16) {
            let tuple = Tuple {
                src: Ipv4Addr::from_bits(src),
                dst: Ipv4Addr::from_bits(dst),
                sport,
                dport,
                protocol: protocol::UDP,
            };
            let toeplitz = Toeplitz::new(key);
            prop_assert_eq!(toeplitz.packet(&tuple), low(hash(&key, &input(&tuple))));
            prop_assert_eq!(toeplitz.addresses(&tuple), low(hash(&key, &input(&tuple)[..8])));
        }
    }
}

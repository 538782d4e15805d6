//! Transport headers that etherparse does not know, in the language of packets:
//!
//! ```text
//! sctp 192.168.1.10:2905 > 198.51.100.1:2905 COOKIE_ECHO DATA tag=7 len=100
//! sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=5
//! dccp 192.168.1.10:5001 > 198.51.100.1:5001 DataAck seq=9 len=20
//! udplite 192.168.1.10:4000 > 198.51.100.1:4000 cover=8
//! gre 192.168.1.10 > 198.51.100.1
//! proto 50 192.168.1.10 > 198.51.100.1
//! ```
//!
//! | field | meaning | default |
//! |---|---|---|
//! | `tag=` `itag=` | SCTP: verification tag, initiate tag of INIT and INIT_ACK | 0 |
//! | `/T` behind a chunk | its T flag | not set |
//! | `len=` | bytes of the payload: of every DATA chunk, behind the DCCP, UDP-Lite or GRE header | 8; DCCP 0 |
//! | `seq=` | DCCP sequence number | 0 |
//! | `cover=` | bytes that the checksum of UDP-Lite covers | 0: all |
//! | `csum=0` `csum=bad` | SCTP: none, one that is wrong by fixed bits; DCCP, UDP-Lite: wrong by a fixed amount | right |

use crate::packet::{pattern, spoil};
use etherparse::checksum::Sum16BitWords;

pub(crate) const DCCP: u8 = 33;
pub(crate) const GRE: u8 = 47;
pub(crate) const SCTP: u8 = 132;
pub(crate) const UDP_LITE: u8 = 136;

/// What a wrong CRC is wrong by.
const WRONG_BITS: u32 = 0x00c0_ffee;

const CHUNKS: [&str; 15] = [
    "DATA",
    "INIT",
    "INIT_ACK",
    "SACK",
    "HEARTBEAT",
    "HEARTBEAT_ACK",
    "ABORT",
    "SHUTDOWN",
    "SHUTDOWN_ACK",
    "ERROR",
    "COOKIE_ECHO",
    "COOKIE_ACK",
    "ECNE",
    "CWR",
    "SHUTDOWN_COMPLETE",
];

/// Type, and length of the header.
const DCCP_TYPES: [(&str, usize); 10] = [
    ("Request", 20),
    ("Response", 28),
    ("Data", 16),
    ("Ack", 24),
    ("DataAck", 24),
    ("CloseReq", 24),
    ("Close", 24),
    ("Reset", 28),
    ("Sync", 24),
    ("SyncAck", 24),
];

/// Whether a word may stand in a line of this protocol.
pub(crate) fn is_word(protocol: u8, word: &str) -> bool {
    match protocol {
        SCTP => CHUNKS.contains(&word.strip_suffix("/T").unwrap_or(word)),
        DCCP => DCCP_TYPES.iter().any(|(name, _)| *name == word),
        _ => false,
    }
}

/// The values of a line that matter here.
pub(crate) struct Values<'a> {
    pub(crate) protocol: u8,
    pub(crate) ends: ([u8; 4], [u8; 4]),
    pub(crate) ports: (u16, u16),
    /// Chunks or type.
    pub(crate) words: &'a str,
    pub(crate) tag: u32,
    pub(crate) initiate_tag: u32,
    pub(crate) sequence: u32,
    pub(crate) coverage: u16,
    pub(crate) len: Option<usize>,
    pub(crate) checksum: Option<&'a str>,
}

/// Transport header and payload.
pub(crate) fn encode(values: &Values<'_>) -> Vec<u8> {
    let payload = pattern(values.len.unwrap_or(if values.protocol == DCCP { 0 } else { 8 }));
    let mut bytes = [values.ports.0.to_be_bytes(), values.ports.1.to_be_bytes()].concat();
    match values.protocol {
        SCTP => {
            bytes.extend(values.tag.to_be_bytes());
            bytes.extend([0; 4]);
            for word in values.words.split_whitespace() {
                bytes.extend(chunk(word, values.initiate_tag, &payload));
            }
            let right = crc32c_oracle::crc32c(&bytes);
            let crc = match values.checksum {
                None => right,
                Some("0") => 0,
                Some("bad") => right ^ WRONG_BITS,
                Some(other) => panic!("csum={other}?"),
            };
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        DCCP => {
            let kind = DCCP_TYPES.iter().position(|(name, _)| *name == values.words);
            let kind = kind.unwrap_or_else(|| panic!("no type {}", values.words));
            let head = DCCP_TYPES[kind].1;
            bytes.extend([(head / 4) as u8, 0, 0, 0, (kind << 1 | 1) as u8, 0, 0, 0]);
            bytes.extend(values.sequence.to_be_bytes());
            bytes.resize(head, 0x2a);
            bytes.extend(payload);
            put_sum(&mut bytes, values, usize::MAX);
        }
        UDP_LITE => {
            bytes.extend(values.coverage.to_be_bytes());
            bytes.extend([0; 2]);
            bytes.extend(payload);
            put_sum(&mut bytes, values, covered(values.coverage));
        }
        GRE => return [&[0, 0, 8, 0], &payload[..]].concat(),
        _ => return payload,
    }
    bytes
}

fn chunk(word: &str, initiate_tag: u32, payload: &[u8]) -> Vec<u8> {
    let (name, t) = word.strip_suffix("/T").map_or((word, 0), |name| (name, 1));
    let kind = CHUNKS.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no chunk {name}"));
    let (flags, value) = match name {
        "DATA" => (3, [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], payload].concat()),
        "INIT" | "INIT_ACK" => {
            (0, [&initiate_tag.to_be_bytes()[..], &[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]].concat())
        }
        "COOKIE_ECHO" | "HEARTBEAT" | "HEARTBEAT_ACK" => (0, pattern(10)),
        _ => (t, vec![]),
    };
    let mut bytes = vec![kind as u8, flags];
    bytes.extend((4 + value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn covered(coverage: u16) -> usize {
    if coverage == 0 { usize::MAX } else { usize::from(coverage) }
}

fn put_sum(bytes: &mut [u8], values: &Values<'_>, covered: usize) {
    let sum = sum(bytes, values.protocol, values.ends, covered);
    bytes[6..8].copy_from_slice(&spoil(values.checksum, sum).to_be_bytes());
}

/// The sum over the pseudo-header and the first `covered` bytes, as it is to be written where zeros are now.
fn sum(bytes: &[u8], protocol: u8, ends: ([u8; 4], [u8; 4]), covered: usize) -> u16 {
    let sum = Sum16BitWords::new()
        .add_4bytes(ends.0)
        .add_4bytes(ends.1)
        .add_2bytes([0, protocol])
        .add_2bytes((bytes.len() as u16).to_be_bytes())
        .add_slice(&bytes[..covered.min(bytes.len())])
        .ones_complement()
        .to_be();
    if sum == 0 && protocol == UDP_LITE { 0xffff } else { sum }
}

/// Whether the checksum of a whole packet is right.
pub(crate) fn sums_are_right(protocol: u8, ends: ([u8; 4], [u8; 4]), transport: &[u8]) -> bool {
    let mut bytes = transport.to_vec();
    match protocol {
        SCTP if transport.len() >= 12 => {
            bytes[8..12].fill(0);
            crc32c_oracle::crc32c(&bytes).to_le_bytes() == transport[8..12]
        }
        DCCP | UDP_LITE if transport.len() >= 8 => {
            bytes[6..8].fill(0);
            let coverage = u16::from_be_bytes([transport[4], transport[5]]);
            let covered = if protocol == UDP_LITE { covered(coverage) } else { usize::MAX };
            sum(&bytes, protocol, ends, covered).to_be_bytes() == transport[6..8]
        }
        _ => true,
    }
}

/// A packet in words, for messages.
pub(crate) fn describe(protocol: u8, ends: &str, transport: &[u8]) -> String {
    let word = |at: usize| transport.get(at..at + 2).map_or(0, |w| u16::from_be_bytes([w[0], w[1]]));
    let flow = match (protocol, ends.split_once(" > ")) {
        (SCTP | DCCP | UDP_LITE, Some((src, dst))) => format!("{src}:{} > {dst}:{}", word(0), word(2)),
        _ => ends.to_owned(),
    };
    match protocol {
        SCTP => {
            let mut words = String::new();
            let mut at = 12;
            while let Some([kind, _, high, low]) = transport.get(at..at + 4) {
                words += CHUNKS.get(usize::from(*kind)).map_or("?", |name| name);
                words += " ";
                at += usize::from(u16::from_be_bytes([*high, *low])).max(4).next_multiple_of(4);
            }
            format!("sctp {flow} {words}tag={}", u32::from(word(4)) << 16 | u32::from(word(6)))
        }
        DCCP => {
            let kind = usize::from(word(8) >> 9 & 15);
            format!("dccp {flow} {}", DCCP_TYPES.get(kind).map_or("?", |(name, _)| name))
        }
        UDP_LITE => format!("udplite {flow} cover={}", word(4)),
        GRE => format!("gre {flow}"),
        other => format!("proto {other} {flow}"),
    }
}

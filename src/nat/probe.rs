//! Questions to backends whether they are there, and what they answer; nothing is kept of either. Pure.
//!
//! ```text
//! natgate                         backend          natgate                  backend
//!    | SYN, number n                 |                | echo request, n        |
//!    |------------------------------>|                |----------------------->|
//!    |                 SYN/ACK n+1   |                |          echo reply, n |
//!    |<------------------------------|  it is there   |<-----------------------|  it is there
//!    | ACK;  FIN n+1                 |
//!    |------------------------------>|  the server sees a client that comes and leaves
//!    |         (data,) FIN, ACK n+2  |
//!    |<------------------------------|
//!    | ACK                           |                SYN -> RST n+1:  it refuses
//! ```
//!
//! The number is made as initial sequence numbers are (RFC 6528): a keyed hash of the tuple plus a clock. So whoever hears an
//! answer knows at once whether the question may have been one of ours, and answers that are none (255 of 256 forged ones,
//! and all but a lucky one in four billion when the management core compares the number with that of its question) change
//! nothing. The source ports are below those that sessions are given, and take turns: a server that is slow to close its end
//! is not asked by the same one soon. The same numbers are the identifiers of echo requests.

use super::tcp_make::{BareSegment, build_segment, is_sound};
use crate::packet::{Kind, NoRoom, PacketBuf, Tuple};
use crate::time::Time;
use crate::wire::checksum::{self, Sum};
use crate::wire::icmp::{self, IcmpHeader};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::protocol;
use crate::wire::tcp::{ACK, FIN, RST, SYN, TcpHeader};
use crate::wire::tcp_options::TcpOptions;
use arrayvec::ArrayVec;
use siphasher::sip::SipHasher24;
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

/// Source ports and identifiers of questions: no session is ever given one of an interface's address.
pub const PORTS: RangeInclusive<u16> = 960..=1023;
/// How long an answer may be on its way, and how long the end of a connection may take.
const LIFETIME: Duration = Duration::from_secs(64);
/// By how much the clock of who asks may be ahead of that of who hears.
const AHEAD: Duration = Duration::from_secs(1);
/// What is offered to a server, which has next to nothing to say.
const WINDOW: u16 = 4096;
const MSS: u16 = 1460;

/// A question to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// From us to the backend: TCP, or ICMP with the identifier as source port.
    pub tuple: Tuple,
    /// What its answer has to know.
    pub number: u32,
}

impl Question {
    /// A connection to a port, or with `port` `None` an echo request.
    pub fn to(
        key: &ProbeKey,
        (ours, from): (Ipv4Addr, u16),
        backend: Ipv4Addr,
        port: Option<u16>,
        now: Time,
    ) -> Question {
        let (protocol, dport) = match port {
            Some(port) => (protocol::TCP, port),
            None => (protocol::ICMP, u16::from(icmp::ECHO_REQUEST)),
        };
        let tuple = Tuple { src: ours, dst: backend, sport: from, dport, protocol };
        Question { tuple, number: key.number(&tuple, now) }
    }
}

/// What a backend says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is there.
    Yes,
    /// Nobody listens on the port.
    Refused,
    /// Something about a connection that is at its end.
    More,
}

/// An answer, and what is to be answered to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The question that it may be the answer to.
    pub question: Question,
    /// What it says.
    pub said: Said,
    /// In this order.
    pub say: ArrayVec<BareSegment, 2>,
}

/// Makes numbers and knows its own.
#[derive(Clone)]
pub struct ProbeKey(SipHasher24);

impl ProbeKey {
    /// With this key, which must be secret and random.
    pub fn new(secret: u128) -> ProbeKey {
        ProbeKey(SipHasher24::new_with_key(&secret.to_be_bytes()))
    }

    /// A random key.
    pub fn random() -> ProbeKey {
        // The seeds of hash tables are as random as the operating system makes them, and to be had without an error.
        let half = || u128::from(RandomState::new().hash_one(0u8));
        ProbeKey::new(half() << 64 | half())
    }

    fn number(&self, tuple: &Tuple, now: Time) -> u32 {
        self.base(tuple).wrapping_add(clock(now))
    }

    fn base(&self, tuple: &Tuple) -> u32 {
        let Tuple { src, dst, sport, dport, protocol } = *tuple;
        let mut bytes = [protocol; 13];
        let fields = [&src.octets()[..], &dst.octets(), &sport.to_be_bytes(), &dport.to_be_bytes()];
        for (byte, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *byte = *from;
        }
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        let base = self.0.hash(&bytes) as u32;
        base
    }

    /// Whether a question with this tuple may have had this number not too long ago.
    fn knows(&self, question: &Question, now: Time) -> bool {
        let asked = question.number.wrapping_sub(self.base(&question.tuple));
        clock(now + AHEAD).wrapping_sub(asked) <= units(LIFETIME + AHEAD)
    }

    /// Whether a packet that came for `tuple.dst` is an answer to a question of ours. `l4` is its transport header and payload.
    pub fn read(&self, tuple: &Tuple, kind: Kind, l4: &[u8], now: Time) -> Option<Heard> {
        if !PORTS.contains(&tuple.dport) {
            return None;
        }
        match kind {
            Kind::Tcp { flags } => self.read_tcp(tuple, flags, l4, now),
            Kind::IcmpReply if tuple.sport == u16::from(icmp::ECHO_REQUEST) && checksum::is_valid(l4) => {
                let (number, _) = U32::read_from_prefix(l4.get(icmp::HEADER_LEN..)?).ok()?;
                let question = Question { tuple: tuple.inverse(), number: number.get() };
                let heard = Heard { question, said: Said::Yes, say: ArrayVec::new() };
                self.knows(&question, now).then_some(heard)
            }
            _ => None,
        }
    }

    fn read_tcp(&self, tuple: &Tuple, flags: u8, l4: &[u8], now: Time) -> Option<Heard> {
        let (header, _) = TcpHeader::ref_from_prefix(l4).ok()?;
        let data = u32::try_from(l4.len().checked_sub(header.header_len())?).ok()?;
        let (sequence, acknowledged) = (header.sequence.get(), header.acknowledgement.get());
        // Behind our FIN it is one more: a number that may have been one of ours too, and is not that of the open question.
        let question = Question { tuple: tuple.inverse(), number: acknowledged.wrapping_sub(1) };
        if flags & ACK == 0 || !self.knows(&question, now) || !is_sound(tuple, l4) {
            return None;
        }
        let segment = |flags, heard: u32| BareSegment {
            tuple: question.tuple,
            sequence: acknowledged,
            acknowledgement: sequence.wrapping_add(heard),
            flags,
            window: WINDOW,
            options: TcpOptions::default(),
        };
        let mut say = ArrayVec::new();
        let said = match flags & (SYN | RST | FIN) {
            SYN => {
                say.push(segment(ACK, 1));
                say.push(segment(ACK | FIN, 1));
                Said::Yes
            }
            RST => Said::Refused,
            0 | FIN => {
                let heard = data + u32::from(flags & FIN != 0);
                if heard > 0 {
                    say.push(segment(ACK, heard));
                }
                Said::More
            }
            _ => return None,
        };
        Some(Heard { question, said, say })
    }
}

impl std::fmt::Debug for ProbeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProbeKey(secret)")
    }
}

/// Units of the clock: four microseconds (RFC 9293 3.4.1).
fn clock(now: Time) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a clock that wraps by design")]
    let clock = (now.as_nanos() / 4000) as u32;
    clock
}

fn units(length: Duration) -> u32 {
    u32::try_from(length.as_nanos() / 4000).unwrap_or(u32::MAX)
}

/// Writes a question into the empty frame `buf`: an IPv4 packet without a link header.
///
/// # Errors
/// [`NoRoom`] if the frame is too small.
pub fn build_question<B: PacketBuf>(buf: &mut B, question: &Question) -> Result<(), NoRoom> {
    let Question { tuple, number } = *question;
    if tuple.protocol == protocol::TCP {
        let options = TcpOptions { mss: Some(MSS), ..TcpOptions::default() };
        let syn =
            BareSegment { tuple, sequence: number, acknowledgement: 0, flags: SYN, window: WINDOW, options };
        return build_segment(buf, &syn);
    }
    let number = U32::new(number);
    let length = icmp::HEADER_LEN + size_of::<U32>();
    let total_len = u16::try_from(ipv4::HEADER_LEN + length).map_err(|_| NoRoom)?;
    let mut header = Ipv4Header::new(protocol::ICMP, tuple.src, tuple.dst, total_len);
    header.checksum.set(checksum::checksum(header.as_bytes()));
    let mut message = IcmpHeader {
        kind: icmp::ECHO_REQUEST,
        code: 0,
        checksum: U16::ZERO,
        identifier: U16::new(tuple.sport),
        sequence: U16::ZERO,
    };
    message.checksum.set(Sum::default().bytes(message.as_bytes()).bytes(number.as_bytes()).checksum());
    buf.truncate(0);
    buf.grow_back(usize::from(total_len))?;
    let (l3, rest) = buf.data_mut().split_at_mut_checked(ipv4::HEADER_LEN).ok_or(NoRoom)?;
    let (l4, tail) = rest.split_at_mut_checked(icmp::HEADER_LEN).ok_or(NoRoom)?;
    l3.copy_from_slice(header.as_bytes());
    l4.copy_from_slice(message.as_bytes());
    tail.copy_from_slice(number.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;

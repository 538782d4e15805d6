//! ICMP that the gateway says itself: errors about packets that it can not forward, answers to echo requests,
//! and how often it says anything (RFC 1812 4.3, RFC 5508 REQ-10).

use super::rewrite::view_mut;
use crate::packet::{Fragment, Kind, NoRoom, Packet, PacketBuf, Parsed};
use crate::telemetry::DropReason;
use crate::time::Time;
use crate::wire::checksum::{self, Delta};
use crate::wire::icmp::{self, IcmpHeader};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::protocol;
use std::net::Ipv4Addr;
use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

/// The longest ICMP error: every host takes a datagram of this size (RFC 1812 4.3.2.3).
const ERROR_MAX: usize = 576;
/// TTL of what the gateway sends itself (RFC 1700).
const TTL: u8 = 64;
/// The six bits of DSCP in the TOS byte; the others are ECN, which is not copied.
const DSCP: u8 = 0xfc;

/// Writes an ICMP error about `offending` into the empty frame `buf`: an IPv4 packet without a link header.
///
/// `offending` is the IPv4 packet as it was *received*, from its header on: an error that quoted the translation
/// would mean nothing to its sender. The error goes to its source and quotes as much of it as 576 bytes take.
/// `mtu` is the next link's, for fragmentation needed; 0 for all others. The DSCP is that of the offending packet
/// (RFC 5508 REQ-10d).
///
/// # Errors
/// [`NoRoom`] if the frame is too small or `offending` holds no IPv4 header. The frame is then empty.
pub fn build_error<B: PacketBuf>(
    buf: &mut B,
    offending: &[u8],
    source: Ipv4Addr,
    kind: u8,
    code: u8,
    mtu: u16,
) -> Result<(), NoRoom> {
    const HEADERS: usize = ipv4::HEADER_LEN + icmp::HEADER_LEN;
    let (about, _) = Ipv4Header::ref_from_prefix(offending).map_err(|_| NoRoom)?;
    let quote = offending.get(..usize::from(about.total_len.get())).unwrap_or(offending);
    let quote = quote.get(..ERROR_MAX - HEADERS).unwrap_or(quote);
    let total_len = u16::try_from(HEADERS + quote.len()).map_err(|_| NoRoom)?;

    let mut header = Ipv4Header::new(protocol::ICMP, source, about.source(), total_len);
    header.tos = about.tos & DSCP;
    header.ttl = TTL;
    header.checksum.set(checksum::checksum(header.as_bytes()));
    let mut message =
        IcmpHeader { kind, code, checksum: U16::ZERO, identifier: U16::ZERO, sequence: U16::new(mtu) };
    message.checksum.set(checksum::Sum::default().bytes(message.as_bytes()).bytes(quote).checksum());

    buf.truncate(0);
    buf.grow_back(usize::from(total_len))?;
    let (l3, rest) = buf.data_mut().split_at_mut_checked(ipv4::HEADER_LEN).ok_or(NoRoom)?;
    let (l4, tail) = rest.split_at_mut_checked(icmp::HEADER_LEN).ok_or(NoRoom)?;
    l3.copy_from_slice(header.as_bytes());
    l4.copy_from_slice(message.as_bytes());
    tail.copy_from_slice(quote);
    Ok(())
}

/// Whether an ICMP error about this packet may be sent (RFC 1812 4.3.2.7, RFC 5508 REQ-10e): not about ICMP
/// errors, nor about fragments but the first, nor if one of its addresses is not a single host's.
///
/// ICMP types that natgate does not know count as errors. That a destination is a *directed* broadcast
/// address only the routing table knows. Packets that were broadcast on the link do not get past the parser.
pub fn may_answer<B: PacketBuf>(packet: &Packet<B, Parsed>) -> bool {
    let Parsed { kind, fragment, tuple, .. } = packet.state;
    !matches!(kind, Kind::IcmpError | Kind::IcmpOther(_))
        && fragment != Fragment::Later
        && is_host(tuple.src)
        && is_host(tuple.dst)
}

/// Whether an address can be that of one host at all: not 0.0.0.0/8, loopback, multicast, reserved (240/4) or the
/// limited broadcast address.
fn is_host(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..)
}

/// Turns an echo request to the gateway into its reply, in place (RFC 1812 4.3.3.6). `packet.state` says
/// afterwards what the packet is now.
///
/// # Errors
/// [`DropReason::GatewayUnsupported`] if it is not an echo request, [`DropReason::FragmentToGateway`] if it is a
/// part of one, [`DropReason::IcmpInvalid`] if its checksum is wrong. The packet is then as it was.
pub fn answer_echo<B: PacketBuf>(packet: &mut Packet<B, Parsed>) -> Result<(), DropReason> {
    let Parsed { kind, fragment, tuple, .. } = packet.state;
    if fragment != Fragment::Whole {
        return Err(DropReason::FragmentToGateway);
    }
    if kind != Kind::IcmpRequest || tuple.dport != u16::from(icmp::ECHO_REQUEST) {
        return Err(DropReason::GatewayUnsupported);
    }
    let (l3, l4) = packet.l3_l4_mut()?;
    if !checksum::is_valid(l4) {
        return Err(DropReason::IcmpInvalid);
    }
    let header: &mut Ipv4Header = view_mut(l3)?;
    let message: &mut IcmpHeader = view_mut(l4)?;
    let was = u16::from_be_bytes([message.kind, message.code]);
    message.kind = icmp::ECHO_REPLY;
    message.code = 0;
    message.checksum.set(Delta::word(was, 0).apply(message.checksum.get()));

    // Swapping the addresses leaves the header's sum as it is.
    let (from, to) = (header.source(), header.destination());
    header.set_source(to);
    header.set_destination(from);
    let was = u16::from_be_bytes([header.ttl, header.protocol]);
    header.ttl = TTL;
    let is = u16::from_be_bytes([header.ttl, header.protocol]);
    header.checksum.set(Delta::word(was, is).apply(header.checksum.get()));
    packet.state.tuple = tuple.inverse();
    packet.state.kind = Kind::IcmpReply;
    packet.state.ttl = TTL;
    Ok(())
}

/// A token bucket (RFC 1812 4.3.2.8): so many at once, and so many a second on average.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Nanoseconds that one token takes to grow back; 0 if nothing is ever allowed.
    interval: u64,
    /// The most credit, in nanoseconds: `burst` intervals.
    most: u64,
    credit: u64,
    last: Time,
}

impl RateLimit {
    /// At most `burst` at once (at least one) and `per_second` a second in the long run: 0 allows nothing at
    /// all. More than 10^9 a second count as that.
    pub fn new(per_second: u32, burst: u32) -> Self {
        // Rounded up: never more than was asked for.
        let interval = match per_second {
            0 => 0,
            rate => 1_000_000_000_u64.div_ceil(u64::from(rate)),
        };
        let most = interval.saturating_mul(u64::from(burst.max(1)));
        RateLimit { interval, most, credit: most, last: Time::ZERO }
    }

    /// Whether one more may go now; if so, it is counted.
    #[inline]
    pub fn allow(&mut self, now: Time) -> bool {
        if self.interval == 0 {
            return false;
        }
        let grown = now.as_nanos().saturating_sub(self.last.as_nanos());
        self.last = self.last.max(now);
        self.credit = self.credit.saturating_add(grown).min(self.most);
        match self.credit.checked_sub(self.interval) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => false,
        }
    }
}

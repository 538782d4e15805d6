//! ICMP that the gateway says itself: errors about packets that it can not forward, answers to echo requests,
//! and how often it says anything (RFC 1812 4.3, RFC 5508 REQ-10).

use super::rewrite::view_mut;
use crate::packet::{Fragment, Kind, NoRoom, Packet, PacketBuf, Parsed, Tuple};
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
    may_answer_to(kind, fragment, &tuple)
}

/// The same for what is known of a packet.
pub fn may_answer_to(kind: Kind, fragment: Fragment, tuple: &Tuple) -> bool {
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

    /// Another rate from now on. What is left of the old burst stays, if it is not more than the new one.
    pub fn adopt(&mut self, per_second: u32, burst: u32) {
        let RateLimit { interval, most, .. } = RateLimit::new(per_second, burst);
        *self = RateLimit { interval, most, credit: self.credit.min(most), last: self.last };
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

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_checksums, error_frame, fragments, frame, l3, packet, tuple};
    use super::*;
    use crate::device::membuf::MemPool;
    use std::time::Duration;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

    fn built(offending: &[u8], kind: u8, code: u8, mtu: u16) -> Vec<u8> {
        let mut buf = MemPool::new(1, 2048).alloc().unwrap();
        build_error(&mut buf, offending, GATEWAY, kind, code, mtu).unwrap();
        buf.data().to_vec()
    }

    #[test]
    fn an_error_goes_to_the_sender_and_quotes_what_it_sent() {
        let flow = tuple(17, ("192.168.1.10", 4000, "198.51.100.1", 53));
        let mut offending = frame(flow, b"hello")[14..].to_vec();
        // Expedited forwarding, congestion experienced.
        offending[1] = 46 << 2 | 3;
        let sum = u16::from_be_bytes([offending[10], offending[11]]);
        let sum = Delta::word(0x4500, 0x4500 | 46 << 2 | 3).apply(sum);
        offending[10..12].copy_from_slice(&sum.to_be_bytes());
        let error = built(&offending, icmp::UNREACHABLE, icmp::CODE_FRAGMENTATION_NEEDED, 1280);
        let link = frame(flow, b"")[..14].to_vec();
        let packet = packet(&[link, error.clone()].concat()[..]);
        assert_checksums(packet.buf.data());
        assert_eq!((packet.state.kind, packet.state.ttl), (Kind::IcmpError, 64));
        assert_eq!(packet.ipv4().unwrap().destination(), flow.src);
        assert_eq!(packet.ipv4().unwrap().source(), GATEWAY);
        assert_eq!(error[1], 46 << 2, "DSCP as offending, no ECN");
        assert_eq!(error[26..28], 1280u16.to_be_bytes());
        assert_eq!(error[28..], offending);
    }

    #[test]
    fn an_error_is_at_most_576_bytes_long_and_quotes_no_link_padding() {
        let flow = tuple(17, ("192.168.1.10", 4000, "198.51.100.1", 53));
        let long = frame(flow, &[7; 1400]);
        let error = built(&long[14..], icmp::TIME_EXCEEDED, 0, 0);
        assert_eq!(error.len(), 576);
        assert_eq!(error[28..], long[14..14 + 548]);
        assert!(checksum::is_valid(&error[20..]));

        let mut padded = frame(flow, b"x")[14..].to_vec();
        padded.extend_from_slice(&[0; 17]);
        assert_eq!(built(&padded, icmp::TIME_EXCEEDED, 0, 0).len(), 28 + 29);
    }

    #[test]
    fn an_error_that_does_not_fit_or_has_nothing_to_quote_leaves_an_empty_frame() {
        let flow = tuple(17, ("192.168.1.10", 4000, "198.51.100.1", 53));
        let mut small = MemPool::new(1, 40).alloc().unwrap();
        for offending in [&frame(flow, &[1; 99])[14..], &[], &[0x45; 19]] {
            assert_eq!(build_error(&mut small, offending, GATEWAY, 11, 0, 0), Err(NoRoom));
            assert!(small.data().is_empty());
        }
    }

    #[test]
    fn errors_fragments_and_group_addresses_are_not_answered() {
        let flow = ("192.168.1.10", 4000, "198.51.100.1", 53);
        let answered = |frame: &[u8]| may_answer(&packet(frame));
        for protocol in [6, 17] {
            assert!(answered(&frame(tuple(protocol, flow), b"")));
        }
        assert!(answered(&frame(tuple(1, (flow.0, 1, flow.2, 8)), b"")), "a query may be answered");
        for (src, dst) in [
            ("0.0.0.0", flow.2),
            ("127.0.0.1", flow.2),
            ("224.0.0.1", flow.2),
            ("255.255.255.255", flow.2),
            (flow.0, "0.1.2.3"),
            (flow.0, "127.0.0.1"),
            (flow.0, "239.255.255.250"),
            (flow.0, "240.0.0.1"),
            (flow.0, "255.255.255.255"),
        ] {
            assert!(!answered(&frame(tuple(17, (src, 1, dst, 2)), b"")), "{src} to {dst}");
        }
        let parts = fragments(&frame(tuple(17, flow), &[0; 200]), 64, 1);
        assert!(answered(&parts[0]), "the first fragment may be answered");
        assert!(!answered(&parts[1]), "a later one may not");

        let time_exceeded =
            etherparse::Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit);
        let quote = &frame(tuple(17, flow), b"")[14..];
        assert!(!answered(&error_frame("192.0.2.1", "192.168.1.10", time_exceeded, quote)));
        let unknown = etherparse::Icmpv4Type::Unknown { type_u8: 40, code_u8: 0, bytes5to8: [0; 4] };
        assert!(!answered(&error_frame("192.0.2.1", "192.168.1.10", unknown, b"")));
    }

    #[test]
    fn an_echo_request_becomes_its_reply() {
        let flow = tuple(1, ("192.168.1.10", 99, "192.168.1.1", 8));
        let mut packet = packet(&frame(flow, b"ping payload"));
        answer_echo(&mut packet).unwrap();
        assert_eq!(packet.buf.data()[14..], frame(flow.inverse(), b"ping payload")[14..]);
        assert_eq!((packet.state.tuple, packet.state.kind), (flow.inverse(), Kind::IcmpReply));
        assert_checksums(packet.buf.data());
    }

    #[test]
    fn what_is_not_a_whole_sound_echo_request_is_not_answered() {
        let flow = tuple(1, ("192.168.1.10", 99, "192.168.1.1", 8));
        let sound = frame(flow, &[1; 100]);
        let mut damaged = sound.clone();
        damaged[60] ^= 1;
        for (bytes, reason) in [
            (damaged, DropReason::IcmpInvalid),
            (fragments(&sound, 64, 1).remove(0), DropReason::FragmentToGateway),
            (frame(flow.inverse(), b""), DropReason::GatewayUnsupported),
            (frame(tuple(17, ("10.0.0.1", 1, "10.0.0.2", 2)), b""), DropReason::GatewayUnsupported),
        ] {
            let mut packet = packet(&bytes);
            assert_eq!(answer_echo(&mut packet), Err(reason));
            assert_eq!(l3(&packet), bytes[14..]);
        }
    }

    #[test]
    fn a_rate_limit_allows_its_burst_and_then_its_rate() {
        let mut limit = RateLimit::new(10, 5);
        let start = Time::from_secs(1000);
        let allowed = |limit: &mut RateLimit, now| (0..100).filter(|_| limit.allow(now)).count();
        assert_eq!(allowed(&mut limit, start), 5);
        assert_eq!(allowed(&mut limit, start + Duration::from_millis(99)), 0);
        assert_eq!(allowed(&mut limit, start + Duration::from_millis(100)), 1);
        assert_eq!(
            allowed(&mut limit, start + Duration::from_secs(60)),
            5,
            "it saves up no more than a burst"
        );
        assert_eq!(allowed(&mut limit, start), 0, "time that goes back gives nothing");
        let one_second: usize =
            (1..=1000).map(|ms| allowed(&mut limit, start + Duration::from_millis(60_000 + ms))).sum();
        assert_eq!(one_second, 10);
    }

    #[test]
    fn a_rate_of_zero_allows_nothing_and_a_burst_of_zero_counts_as_one() {
        let mut never = RateLimit::new(0, 100);
        assert!(!never.allow(Time::from_secs(5)));
        let mut one = RateLimit::new(1, 0);
        assert!(one.allow(Time::from_secs(5)));
        assert!(!one.allow(Time::from_secs(5)));
        assert!(RateLimit::new(u32::MAX, u32::MAX).allow(Time::ZERO));
    }
}

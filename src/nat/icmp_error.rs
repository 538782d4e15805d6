//! ICMP errors in transit (RFC 5508 section 4): an error is about a packet that it quotes, and both have to
//! say what the receiver knows, not what the other side of the gateway calls it.
//!
//! What changes: the outer destination, which becomes the source of the quoted packet; the outer source, if the
//! caller says so; the quoted addresses, ports or identifier and checksums. Type, code, MTU, pointer, the rest
//! of the quote, its padding and the extensions behind it (RFC 4884) pass untouched.
//!
//! Everything is updated incrementally, so translating there and back gives the original bytes.

use super::rewrite::{TTL_DELTA, Translation, view_mut};
use crate::packet::{Fragment, Kind, Packet, PacketBuf, Parsed, Tuple};
use crate::telemetry::DropReason;
use crate::wire::checksum::{self, Delta};
use crate::wire::icmp::{self, IcmpHeader};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::protocol;
use crate::wire::sctp;
use crate::wire::udp::UdpHeader;
use std::net::Ipv4Addr;
use zerocopy::little_endian;
use zerocopy::network_endian::U16;

/// Offset of the checksum in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in an SCTP header.
const SCTP_CHECKSUM: usize = 8;
/// Offset of the checksum in a DCCP header.
const DCCP_CHECKSUM: usize = 6;

/// Translates an ICMP error and lowers its TTL. `packet.state` says afterwards what the packet is now.
///
/// `source` replaces the outer source; `None` keeps it (an error from outside: the router that sent it).
/// `quoted` is what the quoted packet's tuple becomes, in the quoted packet's own direction: the inverse of what
/// [`Parsed::tuple`] will be.
///
/// # Errors
/// [`DropReason::IcmpInvalid`] if the message is not an ICMP error, its checksum is wrong (RFC 5508 REQ-3) or it
/// quotes another protocol than `quoted` has; [`DropReason::IcmpTypeUnsupported`] for a redirect, which names a
/// neighbour of another link (RFC 5508 REQ-10); [`DropReason::TtlExpired`]. The packet is then as it was.
pub fn rewrite_error<B: PacketBuf>(
    packet: &mut Packet<B, Parsed>,
    source: Option<Ipv4Addr>,
    quoted: Tuple,
) -> Result<(), DropReason> {
    let Parsed { kind, fragment, ttl, tuple, .. } = packet.state;
    if kind != Kind::IcmpError || fragment != Fragment::Whole || tuple.protocol != quoted.protocol {
        return Err(DropReason::IcmpInvalid);
    }
    if ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let (l3, message) = packet.l3_l4_mut()?;
    if !checksum::is_valid(message) {
        return Err(DropReason::IcmpInvalid);
    }
    let outer: &mut Ipv4Header = view_mut(l3)?;
    let (header, quote) = message.split_at_mut_checked(icmp::HEADER_LEN).ok_or(DropReason::IcmpInvalid)?;
    let header: &mut IcmpHeader = view_mut(header)?;
    if header.kind == icmp::REDIRECT {
        return Err(DropReason::IcmpTypeUnsupported);
    }
    let translation = Translation::new(tuple.inverse(), quoted);
    let change = rewrite_quote(quote, extension_offset(header), &translation)?;
    header.checksum.set(change.apply(header.checksum.get()));

    let source = source.unwrap_or(outer.source());
    let addresses = Delta::long(outer.source().to_bits(), source.to_bits())
        .and(Delta::long(outer.destination().to_bits(), quoted.src.to_bits()));
    outer.set_source(source);
    outer.set_destination(quoted.src);
    outer.ttl = ttl - 1;
    outer.checksum.set(addresses.and(TTL_DELTA).apply(outer.checksum.get()));
    packet.state.tuple = quoted.inverse();
    packet.state.ttl = ttl - 1;
    Ok(())
}

/// Where the quote ends and an extension begins (RFC 4884), in bytes; `usize::MAX` without an extension.
///
/// An old sender's garbage in the length field does no harm: only the quoted checksums of TCP and SCTP lie outside of
/// the bytes that every quote has.
fn extension_offset(header: &IcmpHeader) -> usize {
    let extensible = matches!(header.kind, icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM);
    // Second byte of the word behind the checksum, in units of 32 bits.
    match usize::from(header.identifier.get() & 0xff) * 4 {
        len if extensible && len > 0 => len,
        _ => usize::MAX,
    }
}

/// Translates the quoted packet. Returns what that changed in the sum of the message: all fields are at even
/// offsets of it.
///
/// Of the quoted transport header only eight bytes are there for certain (RFC 792), and of protocols without ports not
/// even these. They hold the checksum of UDP, DCCP and ICMP, but not those of TCP and SCTP. `end` is where an extension
/// begins.
fn rewrite_quote(quote: &mut [u8], end: usize, translation: &Translation) -> Result<Delta, DropReason> {
    let to = translation.to;
    let len = view_mut::<Ipv4Header>(quote)?.header_len();
    let (header, transport) = quote.split_at_mut_checked(len).ok_or(DropReason::IcmpInvalid)?;
    // All or nothing: nothing is written before both parts are known to be there.
    if transport.len() < 8 && !protocol::is_portless(to.protocol) {
        return Err(DropReason::IcmpInvalid);
    }
    let header: &mut Ipv4Header = view_mut(header)?;
    header.set_source(to.src);
    header.set_destination(to.dst);
    // The header's sum, its checksum included, stays what it was: nothing to add to the message's.
    header.checksum.set(translation.l3.apply(header.checksum.get()));
    let packet_len = header.total_len.get();

    match to.protocol {
        protocol::UDP | protocol::UDP_LITE => {
            let header: &mut UdpHeader = view_mut(transport)?;
            let ports = set(&mut header.source, to.sport).and(set(&mut header.destination, to.dport));
            let checksum = translation.l4.apply_udp(header.checksum.get());
            Ok(ports.and(set(&mut header.checksum, checksum)))
        }
        protocol::TCP => {
            let [source, destination]: &mut [U16; 2] = view_mut(transport)?;
            let ports = set(source, to.sport).and(set(destination, to.dport));
            Ok(ports.and(quoted_tcp_checksum(up_to(transport, end, len), translation.l4)))
        }
        protocol::SCTP => {
            let [source, destination]: &mut [U16; 2] = view_mut(transport)?;
            let old = (source.get(), destination.get());
            let ports = set(source, to.sport).and(set(destination, to.dport));
            // Of a packet in fragments this is not the length, but then the ports never change.
            let whole = packet_len.saturating_sub(u16::try_from(len).unwrap_or(u16::MAX));
            let change = sctp::port_change(old, (to.sport, to.dport), whole);
            Ok(ports.and(quoted_sctp_checksum(up_to(transport, end, len), change)))
        }
        protocol::DCCP => {
            let [source, destination]: &mut [U16; 2] = view_mut(transport)?;
            let ports = set(source, to.sport).and(set(destination, to.dport));
            let checksum: &mut U16 = view_mut(transport.get_mut(DCCP_CHECKSUM..).unwrap_or_default())?;
            let new = translation.l4.apply(checksum.get());
            Ok(ports.and(set(checksum, new)))
        }
        protocol::ICMP => {
            let header: &mut IcmpHeader = view_mut(transport)?;
            let id = match header.kind {
                icmp::ECHO_REQUEST | icmp::TIMESTAMP_REQUEST => to.sport,
                _ => to.dport,
            };
            let id = set(&mut header.identifier, id);
            let checksum = translation.l4.apply(header.checksum.get());
            Ok(id.and(set(&mut header.checksum, checksum)))
        }
        _ => Ok(Delta::ZERO),
    }
}

/// What of the quoted transport header and payload lies before `end`, which counts from the quoted IPv4 header of
/// `header` bytes.
fn up_to(transport: &mut [u8], end: usize, header: usize) -> &mut [u8] {
    let end = end.saturating_sub(header).min(transport.len());
    transport.get_mut(..end).unwrap_or_default()
}

/// Updates the checksum of a quoted TCP header if the quote reaches that far.
///
/// Zeros up to the end are taken for what RFC 4884 pads a shorter quote with. One real checksum in 65,536 is zero
/// and stays so then, which does no harm: nobody may rely on it (RFC 5508 REQ-3c).
fn quoted_tcp_checksum(transport: &mut [u8], change: Delta) -> Delta {
    let rest = transport.get_mut(TCP_CHECKSUM..).unwrap_or_default();
    if rest.iter().all(|byte| *byte == 0) {
        return Delta::ZERO;
    }
    match view_mut::<U16>(rest) {
        Ok(checksum) => {
            let new = change.apply(checksum.get());
            set(checksum, new)
        }
        Err(_) => Delta::ZERO,
    }
}

/// Updates the checksum of a quoted SCTP header if the quote reaches that far; zeros as for TCP.
fn quoted_sctp_checksum(transport: &mut [u8], change: u32) -> Delta {
    let rest = transport.get_mut(SCTP_CHECKSUM..).unwrap_or_default();
    if rest.iter().all(|byte| *byte == 0) {
        return Delta::ZERO;
    }
    match view_mut::<little_endian::U32>(rest) {
        Ok(checksum) => {
            let old = checksum.get();
            let new = sctp::apply(old, change);
            checksum.set(new);
            // The sum of the message is over big-endian words.
            Delta::long(old.swap_bytes(), new.swap_bytes())
        }
        Err(_) => Delta::ZERO,
    }
}

/// Writes a word and returns what that changed in the sum.
fn set(word: &mut U16, new: u16) -> Delta {
    let change = Delta::word(word.get(), new);
    word.set(new);
    change
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_checksums, echo, error_frame, frame, l3, packet, tuple};
    use super::*;
    use etherparse::Icmpv4Type;
    use etherparse::icmpv4::{DestUnreachableHeader, TimeExceededCode};

    /// The client's flow, and what the world sees of it.
    fn flow(protocol: u8) -> (Tuple, Tuple) {
        let dport = if protocol == protocol::ICMP { u16::from(icmp::ECHO_REQUEST) } else { 53 };
        let from = tuple(protocol, ("192.168.1.10", 4000, "198.51.100.1", dport));
        (from, Tuple { src: Ipv4Addr::new(203, 0, 113, 9), sport: 61_001, ..from })
    }

    const PORT: Icmpv4Type = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);

    #[test]
    fn an_error_from_outside_reaches_the_client_quoting_what_the_client_sent() {
        for (inside, outside) in
            [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::UDP_LITE, protocol::SCTP, protocol::DCCP]
                .map(flow)
        {
            let quote = &frame(outside, b"payload")[14..];
            let mut packet = packet(&error_frame("192.0.2.77", "203.0.113.9", PORT, quote));
            assert_eq!(packet.state.tuple, outside.inverse());
            rewrite_error(&mut packet, None, inside).unwrap();
            assert_eq!((packet.state.tuple, packet.state.ttl), (inside.inverse(), 63));
            let sent = error_frame("192.0.2.77", "192.168.1.10", PORT, &frame(inside, b"payload")[14..]);
            assert_eq!(packet.buf.data()[26..], sent[26..], "router's address, the client's own packet");
            assert_checksums(packet.buf.data());
        }
    }

    #[test]
    fn an_error_from_inside_leaves_with_the_outside_address_quoting_what_the_server_sent() {
        let (inside, outside) = flow(protocol::UDP);
        // The server's packet as the client got it, refused by the client.
        let quote = &frame(inside.inverse(), b"late answer")[14..];
        let mut packet = packet(&error_frame("192.168.1.10", "198.51.100.1", PORT, quote));
        assert_eq!(packet.state.tuple, inside);
        rewrite_error(&mut packet, Some(outside.src), outside.inverse()).unwrap();
        let sent =
            error_frame("203.0.113.9", "198.51.100.1", PORT, &frame(outside.inverse(), b"late answer")[14..]);
        assert_eq!(packet.buf.data()[26..], sent[26..]);
        assert_eq!(packet.state.tuple, outside);
        assert_checksums(packet.buf.data());
    }

    #[test]
    fn a_quote_of_eight_bytes_is_enough_and_its_missing_checksum_is_not_invented() {
        for (inside, outside) in [protocol::TCP, protocol::SCTP, protocol::DCCP].map(flow) {
            let quote = &frame(outside, b"")[14..42];
            let mut packet = packet(&error_frame("192.0.2.77", "203.0.113.9", PORT, quote));
            rewrite_error(&mut packet, None, inside).unwrap();
            assert_eq!(l3(&packet)[28..], frame(inside, b"")[14..42]);
            assert_checksums(packet.buf.data());
        }
    }

    #[test]
    fn padding_and_extension_behind_a_short_tcp_quote_survive() {
        let (inside, outside) = flow(protocol::TCP);
        let mut quote = frame(outside, b"")[14..42].to_vec();
        quote.resize(128, 0);
        quote.extend_from_slice(&[0x20, 0, 0xdf, 0xfd, 0, 8, 1, 1, 1, 2, 3, 4]);
        let mut bytes = error_frame(
            "192.0.2.77",
            "203.0.113.9",
            Icmpv4Type::TimeExceeded(TimeExceededCode::TtlExceededInTransit),
            &quote,
        );
        // 128 bytes of quote are 32 words; the ICMP checksum follows by hand.
        bytes[39] = 32;
        let sum = u16::from_be_bytes([bytes[36], bytes[37]]);
        bytes[36..38].copy_from_slice(&Delta::word(0, 32).apply(sum).to_be_bytes());
        let mut packet = packet(&bytes);
        rewrite_error(&mut packet, None, inside).unwrap();
        assert_eq!(l3(&packet)[56..], quote[28..]);
        assert_eq!(l3(&packet)[25], 32);
        assert!(checksum::is_valid(&l3(&packet)[20..]));
    }

    #[test]
    fn a_quote_of_a_protocol_without_ports_may_be_as_short_as_its_packet() {
        for protocol in [protocol::GRE, 50] {
            let inside = tuple(protocol, ("192.168.1.10", 0, "198.51.100.1", 0));
            let outside = Tuple { src: Ipv4Addr::new(203, 0, 113, 9), ..inside };
            for body in [&b"\0\0\x08\0"[..], b"\0\0\x08\0and so on"] {
                let quote = &frame(outside, body)[14..];
                let mut packet = packet(&error_frame("192.0.2.77", "203.0.113.9", PORT, quote));
                assert_eq!(packet.state.tuple, outside.inverse());
                rewrite_error(&mut packet, None, inside).unwrap();
                let sent = error_frame("192.0.2.77", "192.168.1.10", PORT, &frame(inside, body)[14..]);
                assert_eq!(packet.buf.data()[26..], sent[26..]);
                assert_checksums(packet.buf.data());
            }
        }
    }

    #[test]
    fn the_mtu_of_fragmentation_needed_survives() {
        let (inside, outside) = flow(protocol::UDP);
        let kind = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded {
            next_hop_mtu: 1280,
        });
        let quote = &frame(outside, b"large")[14..];
        let mut packet = packet(&error_frame("192.0.2.77", "203.0.113.9", kind, quote));
        rewrite_error(&mut packet, None, inside).unwrap();
        assert_eq!(l3(&packet)[20..22], [3, 4]);
        assert_eq!(l3(&packet)[26..28], 1280u16.to_be_bytes());
    }

    #[test]
    fn a_quoted_transport_checksum_that_is_wrong_stays_wrong_and_does_not_matter() {
        let (inside, outside) = flow(protocol::UDP);
        let mut quote = frame(outside, b"payload")[14..].to_vec();
        let right = u16::from_be_bytes([quote[26], quote[27]]);
        quote[26..28].copy_from_slice(&(right ^ 0x0100).to_be_bytes());
        let mut packet = packet(&error_frame("192.0.2.77", "203.0.113.9", PORT, &quote));
        rewrite_error(&mut packet, None, inside).unwrap();
        let now = u16::from_be_bytes([l3(&packet)[54], l3(&packet)[55]]);
        let expected = frame(inside, b"payload");
        let expected = u16::from_be_bytes([expected[40], expected[41]]);
        assert_eq!(
            Delta::word(right, right ^ 0x0100).apply(!expected),
            !now,
            "wrong by the same amount as before"
        );
    }

    #[test]
    fn what_is_not_a_sound_error_is_refused_and_left_as_it_was() {
        let (inside, outside) = flow(protocol::UDP);
        let quote = &frame(outside, b"payload")[14..];
        let sound = error_frame("192.0.2.77", "203.0.113.9", PORT, quote);

        let mut damaged = sound.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let redirect = {
            let mut bytes = sound.clone();
            bytes[34] = 5;
            let sum = u16::from_be_bytes([bytes[36], bytes[37]]);
            bytes[36..38].copy_from_slice(&Delta::word(0x0303, 0x0503).apply(sum).to_be_bytes());
            bytes
        };
        let reply = error_frame("192.0.2.77", "203.0.113.9", echo(4), b"");
        for (bytes, reason) in [
            (damaged, DropReason::IcmpInvalid),
            (redirect, DropReason::IcmpTypeUnsupported),
            (reply, DropReason::IcmpInvalid),
        ] {
            let mut packet = packet(&bytes);
            assert_eq!(rewrite_error(&mut packet, None, inside), Err(reason));
            assert_eq!(packet.buf.data(), bytes);
        }

        let mut packet = packet(&sound);
        packet.state.ttl = 1;
        assert_eq!(rewrite_error(&mut packet, None, inside), Err(DropReason::TtlExpired));
        packet.state.ttl = 64;
        let other = Tuple { protocol: protocol::TCP, ..inside };
        assert_eq!(rewrite_error(&mut packet, None, other), Err(DropReason::IcmpInvalid));
        assert_eq!(packet.buf.data(), sound);
    }
}

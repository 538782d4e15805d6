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
use crate::wire::udp::UdpHeader;
use std::net::Ipv4Addr;
use zerocopy::network_endian::U16;

/// Offset of the checksum in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Offset of the data offset in a TCP header.
const TCP_DATA_OFFSET: usize = 12;

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
/// An old sender's garbage in the length field does no harm: only the quoted TCP checksum lies outside of the
/// bytes that every quote has.
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
/// Of the quoted transport header only eight bytes are there for certain (RFC 792). They hold the checksum of
/// UDP and ICMP, but not that of TCP. `end` is where an extension begins.
fn rewrite_quote(quote: &mut [u8], end: usize, translation: &Translation) -> Result<Delta, DropReason> {
    let to = translation.to;
    let len = view_mut::<Ipv4Header>(quote)?.header_len();
    let (header, transport) = quote.split_at_mut_checked(len).ok_or(DropReason::IcmpInvalid)?;
    // All or nothing: nothing is written before both parts are known to be there.
    if transport.len() < 8 {
        return Err(DropReason::IcmpInvalid);
    }
    let header: &mut Ipv4Header = view_mut(header)?;
    header.set_source(to.src);
    header.set_destination(to.dst);
    // The header's sum, its checksum included, stays what it was: nothing to add to the message's.
    header.checksum.set(translation.l3.apply(header.checksum.get()));

    match to.protocol {
        protocol::UDP => {
            let header: &mut UdpHeader = view_mut(transport)?;
            let ports = set(&mut header.source, to.sport).and(set(&mut header.destination, to.dport));
            let checksum = translation.l4.apply_udp(header.checksum.get());
            Ok(ports.and(set(&mut header.checksum, checksum)))
        }
        protocol::TCP => {
            let [source, destination]: &mut [U16; 2] = view_mut(transport)?;
            let ports = set(source, to.sport).and(set(destination, to.dport));
            let end = end.saturating_sub(len).min(transport.len());
            let transport = transport.get_mut(..end).unwrap_or_default();
            Ok(ports.and(quoted_tcp_checksum(transport, translation.l4)))
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

/// Updates the checksum of a quoted TCP header if the quote reaches that far.
///
/// A quote that ends before may be followed by zeros, to which RFC 4884 pads it in front of an extension. A real
/// header has a data offset there that is not zero (it is at least 5).
fn quoted_tcp_checksum(transport: &mut [u8], change: Delta) -> Delta {
    let padding = transport.get(TCP_DATA_OFFSET).is_none_or(|offset| offset >> 4 == 0);
    match transport.get_mut(TCP_CHECKSUM..).map(view_mut::<U16>) {
        Some(Ok(checksum)) if !padding => {
            let new = change.apply(checksum.get());
            set(checksum, new)
        }
        _ => Delta::ZERO,
    }
}

/// Writes a word and returns what that changed in the sum.
fn set(word: &mut U16, new: u16) -> Delta {
    let change = Delta::word(word.get(), new);
    word.set(new);
    change
}

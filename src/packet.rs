//! Packets: from bytes to checked types, once.
//!
//! [`Packet<B, Raw>`] is a frame as a device delivered it. [`Packet::parse`] validates every length and the
//! IPv4 header checksum, reads what the pipeline needs into [`Parsed`], and cuts link padding off. After that
//! no stage checks a length again: the views of a `Packet<B, Parsed>` fail only if the parser is wrong, and
//! then with a named drop, not a panic.
//!
//! For an ICMP error, [`Parsed::tuple`] is the *inverse of the quoted packet's tuple*: the flow and direction
//! that the error itself travels in. Owner and session lookup thus need no special case (RFC 5508 section 4).

pub mod plain;

use crate::ids::{DeviceId, InterfaceId};
use crate::telemetry::DropReason;
use crate::wire::arp::ArpMessage;
use crate::wire::dccp::DccpHeader;
use crate::wire::ethernet::{self, EthernetHeader, VlanTag};
use crate::wire::gre::GreHeader;
use crate::wire::icmp::{self, IcmpHeader};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::sctp::SctpHeader;
use crate::wire::tcp::{self, TcpHeader};
use crate::wire::udp::{self, UdpHeader, UdpLiteHeader};
use crate::wire::{checksum, protocol};
use std::net::Ipv4Addr;
use zerocopy::FromBytes;

/// A frame in memory: one contiguous run of bytes with room in front.
pub trait PacketBuf: Send {
    /// The frame's bytes.
    fn data(&self) -> &[u8];
    /// The frame's bytes, for writing.
    fn data_mut(&mut self) -> &mut [u8];
    /// Shortens the frame to `len` bytes; does nothing if it is shorter already.
    fn truncate(&mut self, len: usize);
    /// Makes the frame `n` bytes longer in front.
    fn grow_front(&mut self, n: usize) -> Result<(), NoRoom>;
    /// Removes `n` bytes in front; at most the whole frame.
    fn shrink_front(&mut self, n: usize);
    /// Makes the frame `n` bytes longer at the end; the new bytes are undefined.
    fn grow_back(&mut self, n: usize) -> Result<(), NoRoom>;
}

/// The buffer has no room for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame's buffer has no room left")]
pub struct NoRoom;

/// Addresses and ports of one direction of an IPv4 flow.
///
/// An ICMP query has no ports: a request has its identifier as source port and its type as destination port, a
/// reply the other way round with the *request's* type, so that inverting a tuple gives the reply's.
/// Protocols without ports have ports 0: see [`protocol::is_portless`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Source port, or ICMP identifier or type.
    pub sport: u16,
    /// Destination port, or ICMP type or identifier.
    pub dport: u16,
    /// IANA protocol number.
    pub protocol: u8,
}

impl Tuple {
    /// The tuple of an answer.
    #[inline]
    #[must_use]
    pub fn inverse(self) -> Tuple {
        Tuple { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, protocol: self.protocol }
    }
}

/// What kind of transport payload a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP with these flags.
    Tcp {
        /// The flag byte: see [`tcp`].
        flags: u8,
    },
    /// UDP or UDP-Lite.
    Udp,
    /// SCTP.
    Sctp,
    /// DCCP.
    Dccp,
    /// GRE, without ports: see [`crate::wire::gre`].
    Gre,
    /// ICMP echo or timestamp request.
    IcmpRequest,
    /// ICMP echo or timestamp reply.
    IcmpReply,
    /// ICMP error about the flow whose inverse is in the quote.
    IcmpError,
    /// ICMP of another type; carries the type.
    IcmpOther(u8),
    /// Another protocol, without ports.
    Other,
}

impl Kind {
    /// What the first packet of a conversation of this protocol carries.
    pub fn opening(number: u8) -> Kind {
        match number {
            protocol::TCP => Kind::Tcp { flags: tcp::SYN },
            protocol::UDP | protocol::UDP_LITE => Kind::Udp,
            protocol::SCTP => Kind::Sctp,
            protocol::DCCP => Kind::Dccp,
            protocol::GRE => Kind::Gre,
            protocol::ICMP => Kind::IcmpRequest,
            _ => Kind::Other,
        }
    }
}

/// Where in its datagram a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// The whole datagram.
    Whole,
    /// The first fragment, with the transport header.
    First,
    /// A later fragment without a transport header; its ports are those of the first once they are known.
    Later,
}

/// A packet that nothing is known of but where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    /// The device that delivered it.
    pub device: DeviceId,
}

/// What the parser proved about an IPv4 packet. Offsets are bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The interface that it came in by.
    pub interface: InterfaceId,
    /// Addresses and ports; see the module's head for ICMP errors.
    pub tuple: Tuple,
    /// What it carries.
    pub kind: Kind,
    /// Whole or which part.
    pub fragment: Fragment,
    /// Offset of the IPv4 header: 14, or 18 behind a VLAN tag.
    pub l3: u16,
    /// Offset of the transport header.
    pub l4: u16,
    /// Length of the IPv4 packet in bytes; the frame ends at `l3 + total_len`.
    pub total_len: u16,
    /// Time to live on arrival.
    pub ttl: u8,
    /// Whether the don't-fragment bit is set.
    pub dont_fragment: bool,
    /// IPv4 identification; names the datagram that a fragment belongs to. Of a fragment that went through the table of
    /// fragments: the one that it leaves with if its source is translated ([`crate::nat::ident`]).
    pub id: u16,
    /// It comes from somebody behind the gateway, whose outside form is its source, and was turned around (hairpinning).
    pub turned: bool,
}

/// A frame and what is known of it.
#[derive(Debug)]
pub struct Packet<B, S> {
    /// The frame.
    pub buf: B,
    /// What is known of it.
    pub state: S,
}

/// A frame after the parser.
#[derive(Debug)]
pub enum Frame<B> {
    /// An IPv4 packet.
    Ipv4(Packet<B, Parsed>),
    /// An ARP message on an interface.
    Arp(B, InterfaceId, ArpMessage),
}

impl<B: PacketBuf> Packet<B, Raw> {
    /// A frame that `device` delivered.
    #[inline]
    pub fn new(buf: B, device: DeviceId) -> Self {
        Packet { buf, state: Raw { device } }
    }

    /// Checks the frame and reads its headers.
    ///
    /// `interface_of` says which interface a VLAN id (0: no tag) of the frame's device is, and its Ethernet
    /// address. On failure the buffer comes back with the reason for which it has to be dropped.
    #[inline]
    pub fn parse(
        mut self,
        interface_of: impl Fn(DeviceId, u16) -> Option<(InterfaceId, [u8; 6])>,
    ) -> Result<Frame<B>, (B, DropReason)> {
        match read_frame(self.buf.data(), |vlan| interface_of(self.state.device, vlan)) {
            Ok(Headers::Ipv4(state)) => {
                self.buf.truncate(usize::from(state.l3) + usize::from(state.total_len));
                Ok(Frame::Ipv4(Packet { buf: self.buf, state }))
            }
            Ok(Headers::Arp(interface, message)) => Ok(Frame::Arp(self.buf, interface, message)),
            Err(reason) => Err((self.buf, reason)),
        }
    }
}

impl<B: PacketBuf> Packet<B, Parsed> {
    /// The IPv4 header.
    #[inline]
    pub fn ipv4(&self) -> Result<&Ipv4Header, DropReason> {
        view(self.buf.data(), usize::from(self.state.l3))
    }

    /// The IPv4 header with options and payload, without the link header.
    #[inline]
    pub fn l3_bytes(&self) -> &[u8] {
        self.buf.data().get(usize::from(self.state.l3)..).unwrap_or_default()
    }

    /// The transport header and payload.
    #[inline]
    pub fn l4_bytes(&self) -> &[u8] {
        self.buf.data().get(usize::from(self.state.l4)..).unwrap_or_default()
    }

    /// The IPv4 header with options, and what follows it, both for writing.
    #[inline]
    pub fn l3_l4_mut(&mut self) -> Result<(&mut [u8], &mut [u8]), DropReason> {
        let (l3, l4) = (usize::from(self.state.l3), usize::from(self.state.l4));
        let (head, payload) = self.buf.data_mut().split_at_mut_checked(l4).ok_or(DropReason::Truncated)?;
        Ok((head.get_mut(l3..).ok_or(DropReason::Truncated)?, payload))
    }
}

enum Headers {
    Ipv4(Parsed),
    Arp(InterfaceId, ArpMessage),
}

#[inline]
fn view<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned>(
    bytes: &[u8],
    offset: usize,
) -> Result<&T, DropReason> {
    let rest = bytes.get(offset..).ok_or(DropReason::Truncated)?;
    T::ref_from_prefix(rest).map(|(header, _)| header).map_err(|_| DropReason::Truncated)
}

#[inline]
fn read_frame(
    frame: &[u8],
    interface_of: impl Fn(u16) -> Option<(InterfaceId, [u8; 6])>,
) -> Result<Headers, DropReason> {
    let link: &EthernetHeader = view(frame, 0)?;
    let (vlan, ethertype, l3) = match link.ethertype.get() {
        ethernet::VLAN => {
            let tag: &VlanTag = view(frame, ethernet::HEADER_LEN)?;
            (tag.id(), tag.ethertype.get(), ethernet::HEADER_LEN + ethernet::VLAN_LEN)
        }
        other => (0, other, ethernet::HEADER_LEN),
    };
    let (interface, mac) = interface_of(vlan).ok_or(DropReason::UnknownVlan)?;
    match ethertype {
        ethernet::IPV4 if link.destination == mac => read_ipv4(frame, l3, interface).map(Headers::Ipv4),
        // Nothing that is broadcast or multicast on the link may be forwarded (RFC 1812 5.3.4).
        ethernet::IPV4 => Err(DropReason::NotForUs),
        ethernet::ARP if link.destination == mac || link.destination[0] & 1 == 1 => {
            let message: &ArpMessage = view(frame, l3)?;
            if !message.is_ipv4_over_ethernet() {
                return Err(DropReason::ArpInvalid);
            }
            Ok(Headers::Arp(interface, *message))
        }
        ethernet::ARP => Err(DropReason::NotForUs),
        _ => Err(DropReason::EthertypeUnsupported),
    }
}

#[inline]
fn read_ipv4(frame: &[u8], l3: usize, interface: InterfaceId) -> Result<Parsed, DropReason> {
    let header: &Ipv4Header = view(frame, l3)?;
    let bytes = frame.get(l3..).ok_or(DropReason::Truncated)?;
    let total_len = usize::from(header.total_len.get());
    let header_len = header.header_len();
    if header.version() != 4 || header_len < ipv4::HEADER_LEN || total_len < header_len {
        return Err(DropReason::Ipv4HeaderInvalid);
    }
    let datagram = bytes.get(..total_len).ok_or(DropReason::Truncated)?;
    let (head, payload) = datagram.split_at_checked(header_len).ok_or(DropReason::Truncated)?;
    if !checksum::is_valid(head) {
        return Err(DropReason::Ipv4ChecksumWrong);
    }
    if header_len > ipv4::HEADER_LEN && has_source_route(head.get(ipv4::HEADER_LEN..).unwrap_or_default()) {
        return Err(DropReason::SourceRouted);
    }
    let fragment = fragment_of(header, payload.len())?;
    let (kind, sport, dport) = match fragment {
        Fragment::Later => (later_kind(header.protocol), 0, 0),
        _ => read_l4(header.protocol, payload, fragment)?,
    };
    let mut tuple =
        Tuple { src: header.source(), dst: header.destination(), sport, dport, protocol: header.protocol };
    if kind == Kind::IcmpError {
        if fragment != Fragment::Whole {
            return Err(DropReason::IcmpInvalid);
        }
        tuple = read_quote(payload)?.inverse();
    }
    Ok(Parsed {
        interface,
        tuple,
        kind,
        fragment,
        // Both are below 14 + 4 + 60.
        l3: u16::try_from(l3).map_err(|_| DropReason::Truncated)?,
        l4: u16::try_from(l3 + header_len).map_err(|_| DropReason::Truncated)?,
        total_len: header.total_len.get(),
        ttl: header.ttl,
        dont_fragment: header.dont_fragment(),
        id: header.id.get(),
        turned: false,
    })
}

/// Tells whole from fragment, and refuses those that serve only to get past filters (RFC 1858, RFC 3128).
#[inline]
fn fragment_of(header: &Ipv4Header, payload_len: usize) -> Result<Fragment, DropReason> {
    let offset = header.fragment_offset();
    let more = header.more_fragments();
    if offset == 0 && !more {
        return Ok(Fragment::Whole);
    }
    let end = u64::from(offset) + payload_len as u64 + header.header_len() as u64;
    let ragged = more && !payload_len.is_multiple_of(8);
    if payload_len == 0 || ragged || end > u64::from(u16::MAX) {
        return Err(DropReason::FragmentInvalid);
    }
    match offset {
        0 => Ok(Fragment::First),
        // No first fragment ends there: their headers are longer.
        8 if matches!(header.protocol, protocol::TCP | protocol::SCTP | protocol::DCCP) => {
            Err(DropReason::FragmentInvalid)
        }
        _ => Ok(Fragment::Later),
    }
}

fn later_kind(number: u8) -> Kind {
    match number {
        protocol::TCP => Kind::Tcp { flags: 0 },
        protocol::UDP | protocol::UDP_LITE => Kind::Udp,
        protocol::SCTP => Kind::Sctp,
        protocol::DCCP => Kind::Dccp,
        protocol::GRE => Kind::Gre,
        // Request or reply: the first fragment tells.
        protocol::ICMP => Kind::IcmpOther(u8::MAX),
        _ => Kind::Other,
    }
}

#[inline]
fn read_l4(number: u8, payload: &[u8], fragment: Fragment) -> Result<(Kind, u16, u16), DropReason> {
    // A first fragment that does not hold its transport header is an attack, not a datagram.
    let short = match fragment {
        Fragment::First => DropReason::FragmentInvalid,
        _ => DropReason::L4HeaderInvalid,
    };
    match number {
        protocol::TCP => {
            let header: &TcpHeader = view(payload, 0).map_err(|_| short)?;
            let len = header.header_len();
            if len < tcp::HEADER_LEN || len > payload.len() {
                return Err(short);
            }
            Ok((Kind::Tcp { flags: header.flags }, header.source.get(), header.destination.get()))
        }
        protocol::UDP => {
            let header: &UdpHeader = view(payload, 0).map_err(|_| short)?;
            let len = usize::from(header.length.get());
            if len < udp::HEADER_LEN || (fragment == Fragment::Whole && len > payload.len()) {
                return Err(short);
            }
            Ok((Kind::Udp, header.source.get(), header.destination.get()))
        }
        protocol::UDP_LITE => {
            let header: &UdpLiteHeader = view(payload, 0).map_err(|_| short)?;
            let covered = usize::from(header.coverage.get());
            // RFC 3828 3.1: 0 is all.
            if (1..udp::HEADER_LEN).contains(&covered)
                || (fragment == Fragment::Whole && covered > payload.len())
            {
                return Err(short);
            }
            Ok((Kind::Udp, header.source.get(), header.destination.get()))
        }
        protocol::SCTP => {
            let header: &SctpHeader = view(payload, 0).map_err(|_| short)?;
            Ok((Kind::Sctp, header.source.get(), header.destination.get()))
        }
        protocol::DCCP => {
            let header: &DccpHeader = view(payload, 0).map_err(|_| short)?;
            let len = header.header_len();
            let data = payload.len().checked_sub(len).ok_or(short)?;
            // RFC 4340 9.2: a coverage beyond the data is invalid.
            let uncovered = header.coverage().is_some_and(|covered| covered > data);
            if len < header.least_len() || (fragment == Fragment::Whole && uncovered) {
                return Err(short);
            }
            Ok((Kind::Dccp, header.source.get(), header.destination.get()))
        }
        protocol::GRE => {
            let _: &GreHeader = view(payload, 0).map_err(|_| short)?;
            Ok((Kind::Gre, 0, 0))
        }
        protocol::ICMP => {
            let header: &IcmpHeader = view(payload, 0).map_err(|_| short)?;
            let id = header.identifier.get();
            Ok(match header.kind {
                icmp::ECHO_REQUEST | icmp::TIMESTAMP_REQUEST => {
                    (Kind::IcmpRequest, id, u16::from(header.kind))
                }
                icmp::ECHO_REPLY => (Kind::IcmpReply, u16::from(icmp::ECHO_REQUEST), id),
                icmp::TIMESTAMP_REPLY => (Kind::IcmpReply, u16::from(icmp::TIMESTAMP_REQUEST), id),
                icmp::UNREACHABLE
                | icmp::TIME_EXCEEDED
                | icmp::PARAMETER_PROBLEM
                | icmp::SOURCE_QUENCH
                | icmp::REDIRECT => (Kind::IcmpError, 0, 0),
                other => (Kind::IcmpOther(other), 0, 0),
            })
        }
        _ => Ok((Kind::Other, 0, 0)),
    }
}

/// The tuple of the packet that an ICMP error quotes. `message` starts at the ICMP header.
///
/// Only the first eight bytes of the quoted transport header are there for certain (RFC 792). They hold the ports of
/// every protocol that has some.
pub fn read_quote(message: &[u8]) -> Result<Tuple, DropReason> {
    let quote = message.get(icmp::HEADER_LEN..).ok_or(DropReason::IcmpInvalid)?;
    let header: &Ipv4Header = view(quote, 0).map_err(|_| DropReason::IcmpInvalid)?;
    let len = header.header_len();
    let head = quote.get(..len).ok_or(DropReason::IcmpInvalid)?;
    if header.version() != 4 || len < ipv4::HEADER_LEN || header.fragment_offset() != 0 {
        return Err(DropReason::IcmpInvalid);
    }
    // RFC 5508 REQ-3a: an error whose quoted header does not sum up is not trusted.
    if !checksum::is_valid(head) {
        return Err(DropReason::IcmpInvalid);
    }
    let transport: Option<&[u8; 8]> = quote.get(len..).and_then(|rest| rest.first_chunk());
    // The packet itself would have been refused, so this is about none that came through here.
    if has_source_route(head.get(ipv4::HEADER_LEN..).unwrap_or_default()) {
        return Err(DropReason::SourceRouted);
    }
    let (sport, dport) = match (header.protocol, transport) {
        // A whole packet may be shorter than eight bytes.
        (number, _) if protocol::is_portless(number) => (0, 0),
        (_, None) => return Err(DropReason::IcmpInvalid),
        (protocol::ICMP, Some(&[a, _, _, _, e, f, _, _])) => {
            let id = u16::from_be_bytes([e, f]);
            match a {
                icmp::ECHO_REQUEST | icmp::TIMESTAMP_REQUEST => (id, u16::from(a)),
                icmp::ECHO_REPLY => (u16::from(icmp::ECHO_REQUEST), id),
                icmp::TIMESTAMP_REPLY => (u16::from(icmp::TIMESTAMP_REQUEST), id),
                // An error about an error is never sent (RFC 1122 3.2.2) and never translated.
                _ => return Err(DropReason::IcmpInvalid),
            }
        }
        (_, Some(&[a, b, c, d, ..])) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
    };
    Ok(Tuple { src: header.source(), dst: header.destination(), sport, dport, protocol: header.protocol })
}

/// Whether the options hold a loose or strict source route. Options that can not be walked count as none: they
/// are passed on unread (RFC 1812 5.2.4).
fn has_source_route(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    while let [kind, rest @ ..] = options {
        options = match *kind {
            END => return false,
            NO_OPERATION => rest,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return true,
            _ => match options.get(1) {
                Some(&len) if len >= 2 => options.get(usize::from(len)..).unwrap_or_default(),
                _ => return false,
            },
        };
    }
    false
}

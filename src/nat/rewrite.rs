//! Translating a packet in place: addresses, ports, TTL and every checksum that covers them (RFC 3022 4.1).
//!
//! Checksums are updated and never computed anew (RFC 1624): a packet that was damaged before it came here is
//! still damaged when it leaves, and the cost does not depend on the packet's length.

use crate::packet::{Fragment, Kind, Packet, PacketBuf, Parsed, Tuple};
use crate::telemetry::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::icmp::IcmpHeader;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::protocol;
use crate::wire::tcp::TcpHeader;
use crate::wire::udp::UdpHeader;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What becomes of the packets of one direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The addresses and ports that they get.
    pub to: Tuple,
    /// Change of the IPv4 header's sum, without the TTL: the addresses.
    pub l3: Delta,
    /// Change of the transport checksum's sum: addresses (they are in the pseudo-header) and ports for TCP and
    /// UDP, the identifier for ICMP, which has no pseudo-header.
    pub l4: Delta,
}

impl Translation {
    /// From `from`, as packets arrive, to `to`, as they leave. Both are of the same protocol; an ICMP query's
    /// type, which is in the tuple as one of the ports, must be the same in both.
    pub fn new(from: Tuple, to: Tuple) -> Self {
        let l3 = Delta::long(from.src.to_bits(), to.src.to_bits())
            .and(Delta::long(from.dst.to_bits(), to.dst.to_bits()));
        let ports = Delta::word(from.sport, to.sport).and(Delta::word(from.dport, to.dport));
        let l4 = match from.protocol {
            protocol::ICMP => ports,
            protocol::TCP | protocol::UDP => l3.and(ports),
            _ => Delta::ZERO,
        };
        Translation { to, l3, l4 }
    }
}

/// What a TTL one lower does to the header's sum: the word of TTL and protocol loses 0x0100.
pub(super) const TTL_DELTA: Delta = Delta(!0x0100);

/// Translates a packet and lowers its TTL. `packet.state` says afterwards what the packet is now.
///
/// A first fragment gets its transport checksum updated, which covers the whole datagram; a later one has none.
/// Of protocols without ports, and ICMP types other than queries, only the addresses change.
///
/// # Errors
/// [`DropReason::TtlExpired`] if the packet may not be forwarded any further. [`DropReason::IcmpInvalid`] for an
/// ICMP error, of which only the TTL can be changed here (`translation.to` is then the packet's own tuple): its
/// addresses are the affair of [`super::rewrite_error`]. In both cases the packet is as it was.
#[inline]
pub fn rewrite<B: PacketBuf>(
    packet: &mut Packet<B, Parsed>,
    translation: &Translation,
) -> Result<(), DropReason> {
    let Parsed { kind, fragment, ttl, tuple, .. } = packet.state;
    let to = translation.to;
    if ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    if kind == Kind::IcmpError {
        return if to == tuple { lower_ttl(packet) } else { Err(DropReason::IcmpInvalid) };
    }
    let (l3, l4) = packet.l3_l4_mut()?;
    let header: &mut Ipv4Header = view_mut(l3)?;
    // Both views are taken before anything is written: a packet is changed as a whole or not at all.
    if fragment != Fragment::Later {
        rewrite_l4(l4, kind, translation)?;
    }
    header.set_source(to.src);
    header.set_destination(to.dst);
    header.ttl = ttl - 1;
    header.checksum.set(translation.l3.and(TTL_DELTA).apply(header.checksum.get()));
    packet.state.tuple = to;
    packet.state.ttl = ttl - 1;
    Ok(())
}

#[inline]
fn rewrite_l4(l4: &mut [u8], kind: Kind, translation: &Translation) -> Result<(), DropReason> {
    let to = translation.to;
    match kind {
        Kind::Tcp { .. } => {
            let header: &mut TcpHeader = view_mut(l4)?;
            header.source.set(to.sport);
            header.destination.set(to.dport);
            header.checksum.set(translation.l4.apply(header.checksum.get()));
        }
        Kind::Udp => {
            let header: &mut UdpHeader = view_mut(l4)?;
            header.source.set(to.sport);
            header.destination.set(to.dport);
            header.checksum.set(translation.l4.apply_udp(header.checksum.get()));
        }
        Kind::IcmpRequest | Kind::IcmpReply => {
            let header: &mut IcmpHeader = view_mut(l4)?;
            header.identifier.set(if kind == Kind::IcmpRequest { to.sport } else { to.dport });
            header.checksum.set(translation.l4.apply(header.checksum.get()));
        }
        Kind::IcmpError | Kind::IcmpOther(_) | Kind::Other => {}
    }
    Ok(())
}

fn lower_ttl<B: PacketBuf>(packet: &mut Packet<B, Parsed>) -> Result<(), DropReason> {
    let (l3, _) = packet.l3_l4_mut()?;
    let header: &mut Ipv4Header = view_mut(l3)?;
    header.ttl = header.ttl.checked_sub(1).ok_or(DropReason::TtlExpired)?;
    header.checksum.set(TTL_DELTA.apply(header.checksum.get()));
    packet.state.ttl = header.ttl;
    Ok(())
}

/// The header at the start of `bytes`, for writing. The parser proved that it is there.
#[inline]
pub(super) fn view_mut<T: FromBytes + IntoBytes + KnownLayout + Immutable>(
    bytes: &mut [u8],
) -> Result<&mut T, DropReason> {
    T::mut_from_prefix(bytes).map(|(header, _)| header).map_err(|_| DropReason::Truncated)
}

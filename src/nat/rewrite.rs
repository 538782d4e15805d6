//! Translating a packet in place: addresses, ports, TTL and every checksum that covers them (RFC 3022 4.1).
//!
//! Checksums are updated and never computed anew (RFC 1624; for SCTP [`crate::wire::crc32c`]): a packet that was
//! damaged before it came here is still damaged when it leaves, and the cost does not depend on the packet's length.
//!
//! Of protocols without ports only the addresses change, which no checksum but the IPv4 header's covers as far as is
//! known. Of SCTP, addresses in the parameters of INIT and INIT ACK stay as they are: behind a NAT an association has
//! one path.

use crate::packet::{Fragment, Kind, Packet, PacketBuf, Parsed, Tuple};
use crate::telemetry::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::dccp::DccpHeader;
use crate::wire::icmp::IcmpHeader;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::protocol;
use crate::wire::sctp::SctpHeader;
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
    /// Change of the transport checksum's sum: addresses (they are in the pseudo-header) and ports for TCP, UDP and
    /// DCCP, the identifier for ICMP, which has no pseudo-header; nothing for others.
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
            protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::DCCP => l3.and(ports),
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
/// [`DropReason::TtlExpired`] if the packet may not be forwarded any further. [`DropReason::SctpFragmented`]: see
/// [`check_fragment`]. [`DropReason::IcmpInvalid`] for an
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
    if fragment != Fragment::Whole {
        check_fragment(&packet.state, to)?;
        if to.src != tuple.src {
            renumber_datagram(packet)?;
        }
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

/// [`rewrite`] of a plain packet ([`crate::packet::plain`]) with a time to live above 1, of which these are the bytes from the
/// IPv4 header on. `addresses` and `ports` are what it gets, as in [`crate::packet::plain::Plain`]; the deltas are those of
/// [`Translation`]. `udp`: of UDP, else of TCP. False, and nothing is changed, if they are too few.
#[inline(always)]
pub fn rewrite_plain(
    bytes: &mut [u8],
    udp: bool,
    (addresses, ports): (u64, u32),
    (l3, l4): (Delta, Delta),
) -> bool {
    let Some((head, rest)) = bytes.split_first_chunk_mut::<24>() else { return false };
    let field = if udp { rest.get_mut(2..4) } else { rest.get_mut(12..14) };
    let Some(field) = field.and_then(<[u8]>::first_chunk_mut::<2>) else { return false };
    let before = u16::from_be_bytes(*field);
    *field = if udp { l4.apply_udp(before) } else { l4.apply(before) }.to_be_bytes();
    head[8] = head[8].wrapping_sub(1);
    let checksum = l3.and(TTL_DELTA).apply(u16::from_be_bytes([head[10], head[11]]));
    head[10..12].copy_from_slice(&checksum.to_be_bytes());
    head[12..20].copy_from_slice(&addresses.to_be_bytes());
    head[20..24].copy_from_slice(&ports.to_be_bytes());
    true
}

/// Whether a packet can become `to` although it may be a part of a datagram.
///
/// # Errors
/// [`DropReason::SctpFragmented`] for a part of an SCTP packet whose ports change: the update of the CRC32c, which is in
/// the first part, depends on the length of the whole.
#[inline]
pub fn check_fragment(state: &Parsed, to: Tuple) -> Result<(), DropReason> {
    let Parsed { kind, fragment, tuple, .. } = *state;
    let kept = (tuple.sport, tuple.dport) == (to.sport, to.dport);
    if kind == Kind::Sctp && fragment != Fragment::Whole && !kept {
        return Err(DropReason::SctpFragmented);
    }
    Ok(())
}

/// Writes `packet.state.id`, the identification that its datagram leaves with ([`super::ident`]), into the header.
///
/// # Errors
/// [`DropReason::Truncated`] if the parser is wrong.
pub fn renumber_datagram<B: PacketBuf>(packet: &mut Packet<B, Parsed>) -> Result<(), DropReason> {
    let id = packet.state.id;
    let (l3, _) = packet.l3_l4_mut()?;
    let header: &mut Ipv4Header = view_mut(l3)?;
    header.checksum.set(Delta::word(header.id.get(), id).apply(header.checksum.get()));
    header.id.set(id);
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
        Kind::Sctp => {
            // The frame ends with the packet, which is no longer than an IPv4 packet can be.
            let len = u16::try_from(l4.len()).map_err(|_| DropReason::Truncated)?;
            let header: &mut SctpHeader = view_mut(l4)?;
            header.set_ports(to.sport, to.dport, len);
        }
        Kind::Dccp => {
            let header: &mut DccpHeader = view_mut(l4)?;
            header.source.set(to.sport);
            header.destination.set(to.dport);
            header.checksum.set(translation.l4.apply(header.checksum.get()));
        }
        Kind::IcmpRequest | Kind::IcmpReply => {
            let header: &mut IcmpHeader = view_mut(l4)?;
            header.identifier.set(if kind == Kind::IcmpRequest { to.sport } else { to.dport });
            header.checksum.set(translation.l4.apply(header.checksum.get()));
        }
        Kind::IcmpError | Kind::IcmpOther(_) | Kind::Gre | Kind::Other => {}
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

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_checksums, fragments, frame, packet, tuple};
    use super::*;
    use crate::wire::{icmp, tcp};

    const PROTOCOLS: [u8; 6] =
        [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::UDP_LITE, protocol::SCTP, protocol::DCCP];

    /// The flow of a client behind the gateway, and what the world sees of it.
    fn flow(protocol: u8) -> (Tuple, Tuple) {
        let dport = if protocol == protocol::ICMP { u16::from(icmp::ECHO_REQUEST) } else { 53 };
        let from = tuple(protocol, ("192.168.1.10", 4000, "198.51.100.1", dport));
        (from, Tuple { src: Ipv4Addr::new(203, 0, 113, 9), sport: 61_001, ..from })
    }
    use std::net::Ipv4Addr;

    #[test]
    fn a_request_leaves_with_its_translation_a_lower_ttl_and_right_checksums() {
        for (from, to) in PROTOCOLS.map(flow) {
            let mut packet = packet(&frame(from, b"an odd payload!"));
            rewrite(&mut packet, &Translation::new(from, to)).unwrap();
            assert_eq!((packet.state.tuple, packet.state.ttl), (to, 63));
            let mut expected = frame(to, b"an odd payload!");
            expected[22] = 63;
            expected[24..26].copy_from_slice(&packet.buf.data()[24..26]);
            assert_eq!(packet.buf.data(), expected);
            assert_checksums(packet.buf.data());
        }
    }

    #[test]
    fn a_reply_comes_back_under_the_inverse_translation() {
        for (from, to) in PROTOCOLS.map(flow) {
            let mut packet = packet(&frame(to.inverse(), b"answer"));
            let back = Translation::new(to.inverse(), from.inverse());
            let there = Translation::new(from, to);
            assert_eq!(
                there.l4.reverse().apply(0x1234),
                back.l4.apply(0x1234),
                "stored deltas can be reversed"
            );
            rewrite(&mut packet, &back).unwrap();
            assert_eq!(packet.buf.data()[26..], frame(from.inverse(), b"answer")[26..]);
            assert_checksums(packet.buf.data());
        }
    }

    #[test]
    fn a_translation_to_itself_only_lowers_the_ttl() {
        for (from, _) in PROTOCOLS.map(flow) {
            let before = frame(from, b"routed");
            let mut packet = packet(&before);
            rewrite(&mut packet, &Translation::new(from, from)).unwrap();
            assert_eq!(packet.buf.data()[26..], before[26..]);
            assert_eq!(packet.buf.data()[22], 63);
            assert_checksums(packet.buf.data());
        }
    }

    #[test]
    fn a_udp_packet_without_a_checksum_stays_without() {
        let (from, to) = flow(protocol::UDP);
        let mut bytes = frame(from, b"dns");
        bytes[40..42].fill(0);
        let mut packet = packet(&bytes);
        rewrite(&mut packet, &Translation::new(from, to)).unwrap();
        assert_eq!(packet.buf.data()[40..42], [0, 0]);
    }

    #[test]
    fn a_first_fragment_gets_ports_and_checksum_and_a_later_one_only_addresses() {
        for (from, to) in PROTOCOLS.map(flow) {
            // Of SCTP no port may change: see below.
            let to = if from.protocol == protocol::SCTP { Tuple { sport: from.sport, ..to } } else { to };
            let payload: Vec<u8> = (0..200).collect();
            let translation = Translation::new(from, to);
            let whole = frame(from, &payload);
            let mut translated = Vec::new();
            for (index, part) in fragments(&whole, 64, 2).iter().enumerate() {
                let mut packet = packet(part);
                // Of later ones the ports are known by then.
                packet.state.tuple = from;
                rewrite(&mut packet, &translation).unwrap();
                assert_eq!(packet.state.fragment == Fragment::Later, index > 0);
                if index > 0 {
                    assert_eq!(
                        packet.buf.data()[34..],
                        part[34..],
                        "payload of fragment {index} is untouched"
                    );
                }
                translated.extend_from_slice(&packet.buf.data()[34..]);
            }
            assert_eq!(translated, frame(to, &payload)[34..], "reassembled, it is the translated datagram");
        }
    }

    #[test]
    fn no_fragment_of_an_sctp_packet_leaves_with_another_port() {
        let (from, to) = flow(protocol::SCTP);
        for part in fragments(&frame(from, &[7; 200]), 64, 2) {
            let mut packet = packet(&part);
            (packet.state.tuple.sport, packet.state.tuple.dport) = (from.sport, from.dport);
            let translation = Translation::new(from, to);
            assert_eq!(rewrite(&mut packet, &translation), Err(DropReason::SctpFragmented));
            assert_eq!(packet.buf.data(), part);
        }
    }

    #[test]
    fn a_wrong_crc_stays_wrong_by_the_same_bits_and_none_stays_none() {
        let (from, to) = flow(protocol::SCTP);
        let right = frame(to, b"data")[42..46].to_vec();
        for error in [[0, 0, 0, 1], [0x80, 0, 0, 0], [0xde, 0xad, 0xbe, 0xef]] {
            let mut bytes = frame(from, b"data");
            bytes[42..46].iter_mut().zip(error).for_each(|(byte, bits)| *byte ^= bits);
            let mut packet = packet(&bytes);
            rewrite(&mut packet, &Translation::new(from, to)).unwrap();
            let got: Vec<u8> = packet.buf.data()[42..46].iter().zip(error).map(|(a, b)| a ^ b).collect();
            assert_eq!(got, right);
        }
        let mut bytes = frame(from, b"data");
        bytes[42..46].fill(0);
        let mut packet = packet(&bytes);
        rewrite(&mut packet, &Translation::new(from, to)).unwrap();
        assert_eq!(packet.buf.data()[42..46], [0; 4]);
    }

    #[test]
    fn of_a_protocol_without_ports_only_the_addresses_change() {
        for protocol in [protocol::GRE, 50, 4] {
            let from = tuple(protocol, ("192.168.1.10", 0, "198.51.100.1", 0));
            let to = Tuple { src: Ipv4Addr::new(203, 0, 113, 9), ..from };
            let mut packet = packet(&frame(from, b"opaque bytes"));
            rewrite(&mut packet, &Translation::new(from, to)).unwrap();
            let mut expected = frame(to, b"opaque bytes");
            expected[22] = 63;
            expected[24..26].copy_from_slice(&packet.buf.data()[24..26]);
            assert_eq!(packet.buf.data(), expected);
            assert!(crate::wire::checksum::is_valid(&expected[14..34]));
        }
    }

    #[test]
    fn a_packet_at_the_end_of_its_life_is_left_as_it_was() {
        let (from, to) = flow(protocol::TCP);
        for ttl in [0, 1] {
            let mut packet = packet(&frame(from, b""));
            packet.state.ttl = ttl;
            let before = packet.buf.data().to_vec();
            assert_eq!(rewrite(&mut packet, &Translation::new(from, to)), Err(DropReason::TtlExpired));
            assert_eq!(packet.buf.data(), before);
        }
    }

    #[test]
    fn an_icmp_error_passes_untranslated_or_not_at_all() {
        let (from, to) = flow(protocol::UDP);
        let quoted = frame(from.inverse(), b"")[14..].to_vec();
        let unreachable =
            etherparse::Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::Port);
        let bytes = super::super::testing::error_frame("192.168.1.10", "198.51.100.1", unreachable, &quoted);
        let mut packet = packet(&bytes);
        assert_eq!(packet.state.tuple, from, "an error belongs to the flow whose inverse it quotes");
        assert_eq!(rewrite(&mut packet, &Translation::new(from, to)), Err(DropReason::IcmpInvalid));
        rewrite(&mut packet, &Translation::new(from, from)).unwrap();
        assert_eq!(packet.buf.data()[26..], bytes[26..]);
        assert_checksums(packet.buf.data());
    }

    #[test]
    fn tcp_flags_and_options_are_not_touched() {
        let (from, to) = flow(protocol::TCP);
        let mut packet = packet(&frame(from, b""));
        rewrite(&mut packet, &Translation::new(from, to)).unwrap();
        assert_eq!(packet.state.kind, Kind::Tcp { flags: tcp::SYN });
        assert_eq!(packet.buf.data()[47], tcp::SYN);
    }
}

//! Packets for the tests of this module: built and checked by etherparse, which knows nothing of natgate.

use crate::device::membuf::{MemBuf, MemPool};
use crate::ids::{DeviceId, InterfaceId};
use crate::packet::{Frame, Packet, PacketBuf, Parsed, Tuple};
use etherparse::{IcmpEchoHeader, Icmpv4Type, PacketBuilder, SlicedPacket, TransportSlice};
use std::net::Ipv4Addr;

/// Ethernet address of the gateway.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A tuple from text, such as `("10.0.0.2", 4000, "198.51.100.1", 53)`.
pub(super) fn tuple(protocol: u8, (src, sport, dst, dport): (&str, u16, &str, u16)) -> Tuple {
    Tuple { src: src.parse().unwrap(), dst: dst.parse().unwrap(), sport, dport, protocol }
}

/// The frame of a packet with this tuple, TTL 64, and valid checksums.
pub(super) fn frame(tuple: Tuple, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], MAC).ipv4(tuple.src.octets(), tuple.dst.octets(), 64);
    let mut bytes = Vec::new();
    match tuple.protocol {
        6 => {
            let builder = builder.tcp(tuple.sport, tuple.dport, 1000, 4000).syn();
            builder.write(&mut bytes, payload).unwrap();
        }
        17 => builder.udp(tuple.sport, tuple.dport).write(&mut bytes, payload).unwrap(),
        1 if tuple.dport == 8 => {
            builder.icmpv4_echo_request(tuple.sport, 7).write(&mut bytes, payload).unwrap();
        }
        1 => builder.icmpv4_echo_reply(tuple.dport, 7).write(&mut bytes, payload).unwrap(),
        other => panic!("no builder for protocol {other}"),
    }
    bytes
}

/// The frame of an ICMP error that quotes an IPv4 packet.
pub(super) fn error_frame(from: &str, to: &str, message: Icmpv4Type, quote: &[u8]) -> Vec<u8> {
    let (from, to): (Ipv4Addr, Ipv4Addr) = (from.parse().unwrap(), to.parse().unwrap());
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], MAC).ipv4(from.octets(), to.octets(), 64);
    builder.icmpv4(message).write(&mut bytes, quote).unwrap();
    bytes
}

/// The parsed packet in a frame.
pub(super) fn parse(pool: &MemPool, frame: &[u8]) -> Packet<MemBuf, Parsed> {
    let buf = MemBuf::from_bytes(pool, frame).unwrap();
    match Packet::new(buf, DeviceId(0)).parse(|_, _| Some((InterfaceId(0), MAC))) {
        Ok(Frame::Ipv4(packet)) => packet,
        other => panic!("not an IPv4 packet: {other:?}"),
    }
}

/// As [`parse`], with a pool of its own.
pub(super) fn packet(frame: &[u8]) -> Packet<MemBuf, Parsed> {
    parse(&MemPool::new(1, 2048), frame)
}

/// Splits a whole packet into fragments with `first` bytes (a multiple of 8) of payload in the first and the
/// rest in `parts` more of equal size.
pub(super) fn fragments(frame: &[u8], first: usize, parts: usize) -> Vec<Vec<u8>> {
    let (head, payload) = frame.split_at(34);
    let size = (payload.len() - first).div_ceil(parts).next_multiple_of(8);
    let mut bounds = vec![0, first];
    bounds.extend((1..parts).map(|n| first + n * size));
    bounds.push(payload.len());
    let part = |from: usize, to: usize| {
        let mut ip = etherparse::Ipv4Header::from_slice(&head[14..]).unwrap().0;
        ip.identification = 77;
        ip.dont_fragment = false;
        ip.more_fragments = to < payload.len();
        ip.fragment_offset = etherparse::IpFragOffset::try_new(u16::try_from(from / 8).unwrap()).unwrap();
        ip.set_payload_len(to - from).unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        [&head[..14], &ip.to_bytes(), &payload[from..to]].concat()
    };
    bounds.windows(2).map(|pair| part(pair[0], pair[1])).collect()
}

/// Fails unless every checksum of the packet is what etherparse computes anew; a UDP checksum may be zero.
pub(super) fn assert_checksums(frame: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let ip = sliced.net.as_ref().unwrap().ipv4_ref().unwrap().header();
    assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum(), "IPv4 checksum");
    let (found, computed) = match sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            (tcp.checksum(), tcp.calc_checksum_ipv4(ip.source(), ip.destination()).unwrap())
        }
        Some(TransportSlice::Udp(udp)) if udp.checksum() == 0 => return,
        Some(TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let computed = header.calc_checksum_ipv4_raw(ip.source(), ip.destination(), udp.payload());
            (udp.checksum(), computed.unwrap())
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            (icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()))
        }
        other => panic!("no transport header: {other:?}"),
    };
    assert_eq!(found, computed, "transport checksum");
}

/// An echo request or reply as etherparse names it.
pub(super) fn echo(id: u16) -> Icmpv4Type {
    Icmpv4Type::EchoReply(IcmpEchoHeader { id, seq: 7 })
}

/// The bytes of a packet behind its link header.
pub(super) fn l3(packet: &Packet<MemBuf, Parsed>) -> Vec<u8> {
    packet.buf.data()[usize::from(packet.state.l3)..].to_vec()
}

//! Packets for the tests of this module: built and checked by etherparse, which knows nothing of natgate, and for SCTP by a
//! library for CRC32c.

use crate::device::membuf::{MemBuf, MemPool};
use crate::ids::{DeviceId, InterfaceId};
use crate::packet::{Frame, Packet, PacketBuf, Parsed, Tuple};
use crate::wire::protocol::{DCCP, SCTP, UDP_LITE};
use etherparse::checksum::Sum16BitWords;
use etherparse::{IcmpEchoHeader, Icmpv4Type, IpNumber, PacketBuilder, SlicedPacket, TransportSlice};
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
        number => {
            let body = transport(tuple, payload);
            builder.write(&mut bytes, IpNumber(number), &body).unwrap();
        }
    }
    bytes
}

/// Transport header and payload of what etherparse does not know.
fn transport(tuple: Tuple, payload: &[u8]) -> Vec<u8> {
    let ports = [tuple.sport.to_be_bytes(), tuple.dport.to_be_bytes()].concat();
    let len = u8::try_from(payload.len() + 4).unwrap();
    let (mut bytes, at) = match tuple.protocol {
        // One chunk of data.
        SCTP => {
            let padding = vec![0; payload.len().next_multiple_of(4) - payload.len()];
            ([&ports, &[1, 2, 3, 4, 0, 0, 0, 0, 0, 3, 0, len][..], payload, &padding].concat(), 8)
        }
        // Data with a sequence number of 48 bits.
        DCCP => ([&ports, &[4, 0, 0, 0, 5, 0, 1, 2, 3, 4, 5, 6][..], payload].concat(), 6),
        UDP_LITE => ([&ports, &[0, 8, 0, 0][..], payload].concat(), 6),
        _ => return payload.to_vec(),
    };
    let sum = sum_of(tuple, &bytes);
    bytes[at..at + sum.len()].copy_from_slice(&sum);
    bytes
}

/// The checksum as it is to be written, whatever is in its place now.
fn sum_of(tuple: Tuple, transport: &[u8]) -> Vec<u8> {
    let mut bytes = transport.to_vec();
    if tuple.protocol == SCTP {
        bytes[8..12].fill(0);
        return crc32c_oracle::crc32c(&bytes).to_le_bytes().to_vec();
    }
    bytes[6..8].fill(0);
    let covered = if tuple.protocol == UDP_LITE { 8 } else { bytes.len() };
    Sum16BitWords::new()
        .add_4bytes(tuple.src.octets())
        .add_4bytes(tuple.dst.octets())
        .add_2bytes([0, tuple.protocol])
        .add_2bytes(u16::try_from(bytes.len()).unwrap().to_be_bytes())
        .add_slice(&bytes[..covered])
        .ones_complement()
        .to_be()
        .to_be_bytes()
        .to_vec()
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
        other => {
            let state = packet(frame).state;
            let at = if state.tuple.protocol == SCTP { 8..12 } else { 6..8 };
            assert!(matches!(state.tuple.protocol, SCTP | DCCP | UDP_LITE), "no transport header: {other:?}");
            let transport = &frame[usize::from(state.l4)..];
            assert_eq!(transport[at], sum_of(state.tuple, transport), "transport checksum");
            return;
        }
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

//! What the first bytes of a frame say, as far as they are there and make sense.
//!
//! For people who look at dropped packets: some of them were dropped because they are broken, and all are cut off. So unlike
//! the parser of the pipeline nothing here is refused; what can not be read is left out.

use super::api::DroppedPacket;
use crate::wire::arp::{self, ArpMessage};
use crate::wire::ethernet::{self, EthernetHeader, VlanTag};
use crate::wire::icmp::IcmpHeader;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::protocol;
use crate::wire::tcp::{ACK, FIN, PSH, RST, SYN, TcpHeader, URG};
use std::fmt::Write;
use zerocopy::FromBytes;

/// Reads a frame from its link header on.
pub fn decode(frame: &[u8]) -> DroppedPacket {
    let mut packet = DroppedPacket::default();
    let Ok((link, rest)) = EthernetHeader::ref_from_prefix(frame) else { return packet };
    let (ethertype, payload) = match (link.ethertype.get(), VlanTag::ref_from_prefix(rest)) {
        (ethernet::VLAN, Ok((tag, rest))) => {
            packet.vlan = Some(tag.id());
            (tag.ethertype.get(), rest)
        }
        (other, _) => (other, rest),
    };
    match ethertype {
        ethernet::IPV4 => read_ipv4(payload, &mut packet),
        ethernet::ARP => read_arp(payload, &mut packet),
        other => packet.protocol = format!("ethertype 0x{other:04x}"),
    }
    packet
}

fn read_arp(message: &[u8], packet: &mut DroppedPacket) {
    packet.protocol = "arp".to_owned();
    if let Ok((message, _)) = ArpMessage::ref_from_prefix(message)
        && message.is_ipv4_over_ethernet()
    {
        packet.src = Some(message.sender_ip());
        packet.dst = Some(message.target_ip());
        packet.flags = match message.operation.get() {
            arp::REQUEST => Some("request".to_owned()),
            arp::REPLY => Some("reply".to_owned()),
            _ => None,
        };
    }
}

fn read_ipv4(datagram: &[u8], packet: &mut DroppedPacket) {
    packet.protocol = "ipv4".to_owned();
    let Ok((header, _)) = Ipv4Header::ref_from_prefix(datagram) else { return };
    let number = header.protocol;
    packet.protocol = protocol::name(number).map_or_else(|| format!("ip {number}"), ToOwned::to_owned);
    packet.src = Some(header.source());
    packet.dst = Some(header.destination());
    packet.ttl = Some(header.ttl);
    packet.id = Some(header.id.get());
    packet.dont_fragment = header.dont_fragment();
    let offset = header.fragment_offset();
    packet.fragment = (offset > 0 || header.more_fragments()).then_some(offset);
    let length = header.header_len();
    let Some(transport) = datagram.get(length..).filter(|_| length >= ipv4::HEADER_LEN && offset == 0) else {
        return;
    };
    if protocol::has_ports(number)
        && let [a, b, c, d, ..] = *transport
    {
        packet.sport = Some(u16::from_be_bytes([a, b]));
        packet.dport = Some(u16::from_be_bytes([c, d]));
    }
    match number {
        protocol::TCP => {
            packet.flags = TcpHeader::ref_from_prefix(transport).ok().map(|(tcp, _)| flags(tcp.flags));
        }
        protocol::ICMP => {
            if let Ok((icmp, _)) = IcmpHeader::ref_from_prefix(transport) {
                packet.icmp_type = Some(icmp.kind);
                packet.icmp_code = Some(icmp.code);
            }
        }
        _ => {}
    }
}

/// The flags of a TCP segment as letters; `-` if there is none.
fn flags(flags: u8) -> String {
    let letters = [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (ACK, 'A'), (URG, 'U')];
    let set: String =
        letters.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, letter)| letter).collect();
    if set.is_empty() { "-".to_owned() } else { set }
}

/// The packet in a line, such as `tcp 10.0.0.5:4000 > 198.51.100.7:80 S ttl=1 id=77`.
pub fn summary(packet: &DroppedPacket) -> String {
    let mut line =
        if packet.protocol.is_empty() { "no whole link header".into() } else { packet.protocol.clone() };
    let end = |address: std::net::Ipv4Addr, port: Option<u16>| match port {
        Some(port) => format!("{address}:{port}"),
        None => address.to_string(),
    };
    // Writing to a string can not fail.
    if let (Some(src), Some(dst)) = (packet.src, packet.dst) {
        let _ = write!(line, " {} > {}", end(src, packet.sport), end(dst, packet.dport));
    }
    if let (Some(kind), Some(code)) = (packet.icmp_type, packet.icmp_code) {
        let _ = write!(line, " type={kind} code={code}");
    }
    if let Some(flags) = &packet.flags {
        let _ = write!(line, " {flags}");
    }
    if let Some(offset) = packet.fragment {
        let _ = write!(line, " fragment={offset}");
    }
    if let (Some(ttl), Some(id)) = (packet.ttl, packet.id) {
        let _ = write!(line, " ttl={ttl} id={id}");
    }
    if packet.dont_fragment {
        line.push_str(" df");
    }
    if let Some(vlan) = packet.vlan {
        let _ = write!(line, " vlan={vlan}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn a_packet_is_one_line() {
        let (us, they) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut frame = Vec::new();
        let tcp = PacketBuilder::ethernet2(they, us).ipv4([10, 0, 0, 5], [198, 51, 100, 7], 1);
        tcp.tcp(4000, 80, 1, 100).syn().write(&mut frame, &[]).unwrap();
        assert_eq!(summary(&decode(&frame)), "tcp 10.0.0.5:4000 > 198.51.100.7:80 S ttl=1 id=0 df");

        let mut frame = Vec::new();
        let vlan = etherparse::VlanId::try_new(7).unwrap();
        let echo = PacketBuilder::ethernet2(they, us).single_vlan(vlan).ipv4([10, 0, 0, 5], [1, 1, 1, 1], 64);
        echo.icmpv4_echo_request(9, 1).write(&mut frame, b"ping").unwrap();
        let line = "icmp 10.0.0.5 > 1.1.1.1 type=8 code=0 ttl=64 id=0 df vlan=7";
        assert_eq!(summary(&decode(&frame)), line);
    }

    #[test]
    fn whatever_is_cut_off_or_broken_is_read_as_far_as_it_goes() {
        let mut frame = Vec::new();
        let udp = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 5], [198, 51, 100, 7], 64);
        udp.udp(4000, 53).write(&mut frame, b"question").unwrap();
        for (length, line) in [
            (0, "no whole link header"),
            (14, "ipv4"),
            (33, "ipv4"),
            (34, "udp 10.0.0.5 > 198.51.100.7 ttl=64 id=0 df"),
            (38, "udp 10.0.0.5:4000 > 198.51.100.7:53 ttl=64 id=0 df"),
        ] {
            assert_eq!(summary(&decode(&frame[..length])), line, "{length}");
        }
        // A header length that is no length.
        frame[14] = 0x41;
        assert_eq!(summary(&decode(&frame)), "udp 10.0.0.5 > 198.51.100.7 ttl=64 id=0 df");
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        assert_eq!(summary(&decode(&frame)), "ethertype 0x86dd");
    }
}

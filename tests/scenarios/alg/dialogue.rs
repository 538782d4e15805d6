//! A TCP connection through the gateway, said line by line: each end keeps its own numbers, and whatever arrives is checked
//! against what the other one said, byte by byte, number by number, checksum by checksum.

use crate::harness::{Net, Seen};
use etherparse::{Ipv4Header, PacketBuilder, TcpHeader, TcpOptionElement};
use std::net::Ipv4Addr;

/// Address and port.
pub(crate) type End = (Ipv4Addr, u16);

pub(crate) fn end(text: &str) -> End {
    let (address, port) = text.split_once(':').unwrap();
    (address.parse().unwrap(), port.parse().unwrap())
}

/// `h1,h2,h3,h4,p1,p2`
pub(crate) fn commas((address, port): End) -> String {
    format!("{},{},{}", address.to_string().replace('.', ","), port >> 8, port & 255)
}

/// A segment as an end sends or gets it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) flags: &'static str,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) text: String,
    /// A block of bytes that are there although some before are not.
    pub(crate) sack: Option<(u32, u32)>,
}

impl Piece {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let builder = PacketBuilder::ipv4(self.from.0.octets(), self.to.0.octets(), 64);
        let mut builder = builder.tcp(self.from.1, self.to.1, self.seq, 30_000);
        for flag in self.flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'A' => builder.ack(self.ack),
                'P' => builder.psh(),
                'F' => builder.fin(),
                _ => panic!("{flag}?"),
            };
        }
        if let Some(block) = self.sack {
            let option = TcpOptionElement::SelectiveAcknowledgement(block, [None; 3]);
            builder = builder.options(&[option]).unwrap();
        }
        let mut bytes = Vec::new();
        builder.write(&mut bytes, self.text.as_bytes()).unwrap();
        bytes
    }

    /// Reads one that came out; panics if a checksum or length is wrong.
    pub(crate) fn decode(packet: &[u8]) -> Piece {
        let (ip, rest) = Ipv4Header::from_slice(packet).unwrap();
        assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "IPv4 checksum");
        assert_eq!(usize::from(ip.total_len), packet.len(), "total length");
        let (tcp, payload) = TcpHeader::from_slice(rest).unwrap();
        let sum = tcp.calc_checksum_ipv4_raw(ip.source, ip.destination, payload).unwrap();
        assert_eq!(tcp.checksum, sum, "TCP checksum");
        let flags = match (tcp.syn, tcp.ack, tcp.fin) {
            (true, false, _) => "S",
            (true, true, _) => "SA",
            (_, _, true) => "FA",
            _ if payload.is_empty() => "A",
            _ => "PA",
        };
        Piece {
            from: (ip.source.into(), tcp.source_port),
            to: (ip.destination.into(), tcp.destination_port),
            flags,
            seq: tcp.sequence_number,
            ack: tcp.acknowledgment_number,
            text: String::from_utf8(payload.to_vec()).unwrap(),
            sack: tcp.options_iterator().find_map(|option| match option {
                Ok(TcpOptionElement::SelectiveAcknowledgement(block, _)) => Some(block),
                _ => None,
            }),
        }
    }
}

/// One end's view of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) wire: &'static str,
    /// Itself, and whom it takes for the other end.
    pub(crate) own: End,
    pub(crate) peer: End,
    /// The next byte that it sends, and that it waits for.
    pub(crate) next: u32,
    pub(crate) heard: u32,
}

/// A connection: the end that opened it, and the other one.
pub(crate) struct Dialogue {
    pub(crate) client: View,
    pub(crate) server: View,
}

pub(crate) const CLIENT: bool = true;
pub(crate) const SERVER: bool = false;

/// What came out at an interface as IPv4; nothing else may have come out.
pub(crate) fn came_out(net: &mut Net, wire: &str) -> Vec<Vec<u8>> {
    let interface = net.interface(wire);
    let seen: Vec<Seen> = net.seen.drain(..).collect();
    seen.into_iter()
        .map(|seen| {
            assert!(!seen.arp && seen.interface == interface, "{seen:?}");
            seen.body
        })
        .collect()
}

/// Sends a packet and returns what came out at an interface.
pub(crate) fn pass(net: &mut Net, from: &str, packet: &[u8], to: &str) -> Vec<Vec<u8>> {
    let interface = net.interface(from);
    net.send_ipv4(interface, packet);
    net.run();
    came_out(net, to)
}

impl Dialogue {
    /// A handshake. `client` and `to` are as the client knows them.
    pub(crate) fn open(
        net: &mut Net,
        (client_wire, client): (&'static str, &str),
        to: &str,
        server_wire: &'static str,
    ) -> Dialogue {
        let client = View { wire: client_wire, own: end(client), peer: end(to), next: 0xffff_ffe0, heard: 0 };
        let syn = Piece {
            from: client.own,
            to: client.peer,
            flags: "S",
            seq: client.next,
            ack: 0,
            text: String::new(),
            sack: None,
        };
        let [got] = &pass(net, client_wire, &syn.encode(), server_wire)[..] else { panic!("no SYN") };
        let got = Piece::decode(got);
        assert_eq!(got.seq, syn.seq);
        let next = 7000;
        let server =
            View { wire: server_wire, own: got.to, peer: got.from, next, heard: got.seq.wrapping_add(1) };
        let answer = Piece {
            from: server.own,
            to: server.peer,
            flags: "SA",
            seq: next,
            ack: server.heard,
            text: String::new(),
            sack: None,
        };
        let [got] = &pass(net, server_wire, &answer.encode(), client_wire)[..] else { panic!("no SYN/ACK") };
        let got = Piece::decode(got);
        assert_eq!((got.from, got.to, got.seq), (client.peer, client.own, next));
        let mut dialogue = Dialogue { client, server };
        dialogue.client.next = dialogue.client.next.wrapping_add(1);
        dialogue.client.heard = next + 1;
        dialogue.server.next = next + 1;
        dialogue.acknowledge(net, CLIENT);
        dialogue
    }

    pub(crate) fn view(&mut self, client: bool) -> &mut View {
        if client { &mut self.client } else { &mut self.server }
    }

    /// What an end would send now.
    pub(crate) fn piece(&mut self, client: bool, text: &str) -> Piece {
        let &mut View { own, peer, next, heard, .. } = self.view(client);
        let flags = if text.is_empty() { "A" } else { "PA" };
        Piece { from: own, to: peer, flags, seq: next, ack: heard, text: text.into(), sack: None }
    }

    /// An end sends this; what the other one gets, which is checked to be between the right ends.
    pub(crate) fn deliver(&mut self, net: &mut Net, client: bool, piece: &Piece) -> Piece {
        let (own, other) = (*self.view(client), *self.view(!client));
        let out = pass(net, own.wire, &piece.encode(), other.wire);
        let [got] = &out[..] else { panic!("{piece:?} became {} packets", out.len()) };
        let got = Piece::decode(got);
        assert_eq!((got.from, got.to), (other.peer, other.own), "{got:?}");
        got
    }

    /// An end says something and the other one acknowledges it. Returns what the other one heard.
    pub(crate) fn say(&mut self, net: &mut Net, client: bool, text: &str) -> String {
        let piece = self.piece(client, text);
        let got = self.deliver(net, client, &piece);
        self.take(client, &piece, &got);
        self.acknowledge(net, !client);
        got.text
    }

    /// What arrived is the next that the other end waits for.
    pub(crate) fn take(&mut self, client: bool, piece: &Piece, got: &Piece) {
        let other = self.view(!client);
        assert_eq!(got.seq, other.heard, "the next byte: {got:?}");
        assert_eq!(got.ack, other.next, "all of its own is acknowledged");
        other.heard = other.heard.wrapping_add(got.text.len() as u32);
        let own = self.view(client);
        own.next = own.next.wrapping_add(piece.text.len() as u32);
    }

    /// An end acknowledges all that it heard, and the other one understands that.
    pub(crate) fn acknowledge(&mut self, net: &mut Net, client: bool) {
        let piece = self.piece(client, "");
        let got = self.deliver(net, client, &piece);
        let other = *self.view(!client);
        assert_eq!(got.ack, other.next, "{got:?}");
        assert_eq!(got.seq, other.heard, "{got:?}");
    }
}

//! TCP segments with all that scripts do not speak of: windows and options. Etherparse builds and reads them.

use crate::harness::{Net, Shape};
use crate::packet::{pattern, sums_are_right};
use etherparse::{IpNumber, Ipv4Header, TcpHeader, TcpOptionElement, TcpSlice};
use std::net::SocketAddrV4;

/// A segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tcp {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    /// As scripts write them.
    pub(crate) flags: String,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) timestamps: Option<(u32, u32)>,
    pub(crate) sack: Vec<(u32, u32)>,
    /// Bytes of payload.
    pub(crate) len: usize,
}

/// A segment from an endpoint to another with these flags.
pub(crate) fn tcp(from: &str, to: &str, flags: &str) -> Tcp {
    Tcp {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        // In the order in which they are read.
        flags: "SAFRPUEC".chars().filter(|flag| flags.contains(*flag)).collect(),
        seq: 0,
        ack: 0,
        window: 0,
        mss: None,
        scale: None,
        sack_permitted: false,
        timestamps: None,
        sack: vec![],
        len: 0,
    }
}

impl Tcp {
    pub(crate) fn numbers(mut self, seq: u32, ack: u32, window: u16) -> Tcp {
        (self.seq, self.ack, self.window) = (seq, ack, window);
        self
    }

    pub(crate) fn mss(mut self, mss: u16) -> Tcp {
        self.mss = Some(mss);
        self
    }

    pub(crate) fn scale(mut self, scale: u8) -> Tcp {
        self.scale = Some(scale);
        self
    }

    pub(crate) fn sack_permitted(mut self) -> Tcp {
        self.sack_permitted = true;
        self
    }

    pub(crate) fn timestamps(mut self, value: u32, echo: u32) -> Tcp {
        self.timestamps = Some((value, echo));
        self
    }

    pub(crate) fn sack(mut self, blocks: &[(u32, u32)]) -> Tcp {
        self.sack = blocks.to_vec();
        self
    }

    pub(crate) fn len(mut self, len: usize) -> Tcp {
        self.len = len;
        self
    }

    /// The IPv4 packet.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut header = TcpHeader::new(self.from.port(), self.to.port(), self.seq, self.window);
        header.acknowledgment_number = self.ack;
        let has = |flag: char| self.flags.contains(flag);
        (header.syn, header.ack, header.fin, header.rst) = (has('S'), has('A'), has('F'), has('R'));
        (header.psh, header.urg, header.ece, header.cwr) = (has('P'), has('U'), has('E'), has('C'));
        let mut options = vec![];
        options.extend(self.mss.map(TcpOptionElement::MaximumSegmentSize));
        if self.sack_permitted {
            options.push(TcpOptionElement::SelectiveAcknowledgementPermitted);
        }
        // An odd place now and then.
        options.push(TcpOptionElement::Noop);
        options.extend(self.timestamps.map(|(value, echo)| TcpOptionElement::Timestamp(value, echo)));
        options.extend(self.scale.map(TcpOptionElement::WindowScale));
        if let [first, rest @ ..] = &self.sack[..] {
            let mut others = [None; 3];
            others.iter_mut().zip(rest).for_each(|(place, block)| *place = Some(*block));
            options.push(TcpOptionElement::SelectiveAcknowledgement(*first, others));
        }
        header.set_options(&options).unwrap();
        let payload = pattern(self.len);
        let (from, to) = (self.from.ip().octets(), self.to.ip().octets());
        header.checksum = header.calc_checksum_ipv4_raw(from, to, &payload).unwrap();
        let segment = [&header.to_bytes()[..], &payload].concat();
        let mut ip = Ipv4Header::new(segment.len() as u16, 64, IpNumber(6), from, to).unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        [&ip.to_bytes()[..], &segment].concat()
    }

    /// A segment that came out; its checksums must be right and its payload the usual one.
    pub(crate) fn decode(packet: &[u8]) -> Tcp {
        assert!(sums_are_right(packet), "wrong checksum: {packet:02x?}");
        let (ip, rest) = Ipv4Header::from_slice(packet).unwrap();
        assert_eq!(ip.protocol.0, 6, "not TCP: {packet:02x?}");
        let slice = TcpSlice::from_slice(rest).unwrap();
        let mut flags = String::new();
        for (flag, set) in [
            ('S', slice.syn()),
            ('A', slice.ack()),
            ('F', slice.fin()),
            ('R', slice.rst()),
            ('P', slice.psh()),
            ('U', slice.urg()),
            ('E', slice.ece()),
            ('C', slice.cwr()),
        ] {
            if set {
                flags.push(flag);
            }
        }
        let mut read = Tcp {
            from: SocketAddrV4::new(ip.source.into(), slice.source_port()),
            to: SocketAddrV4::new(ip.destination.into(), slice.destination_port()),
            flags,
            seq: slice.sequence_number(),
            ack: slice.acknowledgment_number(),
            window: slice.window_size(),
            mss: None,
            scale: None,
            sack_permitted: false,
            timestamps: None,
            sack: vec![],
            len: slice.payload().len(),
        };
        assert_eq!(slice.payload(), pattern(read.len));
        for option in slice.options_iterator() {
            match option.unwrap() {
                TcpOptionElement::Noop => {}
                TcpOptionElement::MaximumSegmentSize(mss) => read.mss = Some(mss),
                TcpOptionElement::WindowScale(scale) => read.scale = Some(scale),
                TcpOptionElement::SelectiveAcknowledgementPermitted => read.sack_permitted = true,
                TcpOptionElement::Timestamp(value, echo) => read.timestamps = Some((value, echo)),
                TcpOptionElement::SelectiveAcknowledgement(first, others) => {
                    read.sack = std::iter::once(first).chain(others.into_iter().flatten()).collect();
                }
            }
        }
        read
    }
}

/// A gateway with segments going in and coming out.
pub(crate) struct Stage {
    pub(crate) net: Net,
}

impl Stage {
    pub(crate) fn new(config: &str, shape: Shape) -> Stage {
        Stage { net: Net::new(config, shape) }
    }

    /// Sends a packet into an interface; what came out of which interface.
    pub(crate) fn send_bytes(&mut self, interface: &str, packet: &[u8]) -> Vec<(String, Vec<u8>)> {
        let interface = self.net.interface(interface);
        self.net.send_ipv4(interface, packet);
        self.net.run();
        self.net.assert_balance(&format!("{packet:02x?}"));
        self.take()
    }

    /// What came out since.
    pub(crate) fn take(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut seen: Vec<_> = std::mem::take(&mut self.net.seen)
            .into_iter()
            .filter(|seen| !seen.arp)
            .map(|seen| (self.net.snapshot.interface(seen.interface).name.clone(), seen.body))
            .collect();
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        seen
    }

    /// Sends a segment; nothing may come out but these, `lan` before `wan`.
    #[track_caller]
    pub(crate) fn expect(&mut self, interface: &str, segment: &Tcp, expected: &[(&str, &Tcp)]) {
        let seen = self.send_bytes(interface, &segment.encode());
        self.compare(&seen, expected);
    }

    /// Compares what came out.
    #[track_caller]
    pub(crate) fn compare(&self, seen: &[(String, Vec<u8>)], expected: &[(&str, &Tcp)]) {
        let seen: Vec<(&str, Tcp)> =
            seen.iter().map(|(name, packet)| (name.as_str(), Tcp::decode(packet))).collect();
        let expected: Vec<(&str, Tcp)> =
            expected.iter().map(|(name, segment)| (*name, (*segment).clone())).collect();
        assert_eq!(seen, expected, "{:?}: left is what came out", self.net.shape);
    }

    /// Sends a segment; the only one that comes out, and it comes out there.
    #[track_caller]
    pub(crate) fn answer(&mut self, interface: &str, segment: &Tcp, at: &str) -> Tcp {
        let seen = self.send_bytes(interface, &segment.encode());
        let [(name, packet)] = &seen[..] else { panic!("{:?}: {seen:02x?}", self.net.shape) };
        assert_eq!(name, at);
        Tcp::decode(packet)
    }

    /// One of the counters of the scenario language.
    pub(crate) fn count(&self, name: &str) -> i64 {
        self.net.totals().get(name).copied().unwrap_or_default()
    }
}

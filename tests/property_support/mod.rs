//! Random packets that are valid by construction, and an oracle for checksums that shares no code with natgate.
//!
//! Every case of a property test has its own seed, its number: a failure names it, and running that number alone
//! repeats it.

#![allow(dead_code, reason = "each property test uses a part of it")]

use natgate::device::membuf::{MemBuf, MemPool};
use natgate::ids::{DeviceId, InterfaceId};
use natgate::packet::plain::Plain;
use natgate::packet::{Fragment, Frame, Kind, Packet, Parsed, Tuple};
use natgate::telemetry::DropReason;
use std::net::Ipv4Addr;

/// Ethernet address of the gateway in all tests.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The VLANs that are interfaces of the gateway; 0 is no tag.
pub(crate) const VLANS: [u16; 3] = [0, 100, 4094];

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const DCCP: u8 = 33;
pub(crate) const GRE: u8 = 47;
pub(crate) const SCTP: u8 = 132;
pub(crate) const UDP_LITE: u8 = 136;

/// Repeatable random numbers (SplitMix64).
pub(crate) struct Gen(u64);

impl Gen {
    pub(crate) fn case(number: u64) -> Gen {
        Gen(number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn range(&mut self, from: usize, to: usize) -> usize {
        from + usize::try_from(self.u64() % (to - from + 1) as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.range(1, n) == 1
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.u64().to_le_bytes()[0]
    }

    /// Any 16 bits, the extremes more often than by chance.
    pub(crate) fn u16(&mut self) -> u16 {
        let [a, b, c, ..] = self.u64().to_le_bytes();
        match c {
            0..=3 => 0,
            4..=7 => 0xffff,
            _ => u16::from_le_bytes([a, b]),
        }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.u64().to_le_bytes()).take(len).collect()
    }

    pub(crate) fn address(&mut self) -> Ipv4Addr {
        let [a, b] = self.u16().to_be_bytes();
        let [c, d] = self.u16().to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.range(0, from.len() - 1)]
    }
}

/// The one's complement sum of RFC 1071, the slow and obvious way: one word after the other, each carry at once.
pub(crate) fn ones_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
    }
    u16::try_from(sum).unwrap()
}

/// Whether two one's complement numbers are the same: 0x0000 and 0xffff are.
pub(crate) fn ones_equal(a: u16, b: u16) -> bool {
    a % 0xffff == b % 0xffff
}

/// Which part of its datagram a packet is; numbers are bytes of the IPv4 payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    Whole,
    First(usize),
    Later(usize),
}

/// Everything that determines a packet.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Tag control information.
    pub(crate) vlan: Option<u16>,
    pub(crate) tos: u8,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) ttl: u8,
    /// A multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) tuple: Tuple,
    /// Sequence number to urgent pointer without the data offset and checksum; for ICMP code and sequence number.
    pub(crate) middle: [u8; 14],
    /// A multiple of four bytes.
    pub(crate) tcp_options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) udp_without_checksum: bool,
    /// What is added to the right transport checksum.
    pub(crate) checksum_error: u16,
    pub(crate) part: Part,
}

impl Spec {
    /// A random valid packet of `protocol`, with a TTL that may still be lowered.
    pub(crate) fn random(random: &mut Gen, protocol: u8) -> Spec {
        let (mut sport, mut dport) = (random.u16(), random.u16());
        if protocol == ICMP {
            let kind = u16::from(random.pick(&[8u8, 13]));
            if random.one_in(2) {
                sport = kind
            } else {
                dport = kind
            }
            // 8 to 8 would be a request and a reply at once.
            if sport == dport {
                sport = 7;
            }
        }
        if ![ICMP, TCP, UDP, DCCP, SCTP, UDP_LITE].contains(&protocol) {
            (sport, dport) = (0, 0);
        }
        let tuple = Tuple { src: random.address(), dst: random.address(), sport, dport, protocol };
        let options = if random.one_in(3) { ip_options(random) } else { Vec::new() };
        let mut middle = [0; 14];
        middle.copy_from_slice(&random.bytes(14));
        let tcp_options = random.range(0, 10) * 4;
        let payload = if random.one_in(50) { random.range(200, 1400) } else { random.range(0, 70) };
        // GRE's header is in the payload.
        let payload = if protocol == GRE { payload + 4 } else { payload };
        Spec {
            vlan: random.one_in(4).then(|| random.u16() & 0xf000 | random.pick(&VLANS)),
            tos: random.u8(),
            id: random.u16(),
            dont_fragment: random.one_in(2),
            ttl: random.u8().max(2),
            options,
            tuple,
            middle,
            tcp_options: random.bytes(tcp_options),
            payload: random.bytes(payload),
            udp_without_checksum: random.one_in(4),
            checksum_error: 0,
            part: Part::Whole,
        }
    }

    /// Whether this is an ICMP request, and its type; which port holds the type follows from it.
    pub(crate) fn icmp(&self) -> (u8, u16) {
        let Tuple { sport, dport, .. } = self.tuple;
        match (sport, dport) {
            (id, 8) => (8, id),
            (id, 13) => (13, id),
            (8, id) => (0, id),
            (_, id) => (14, id),
        }
    }

    /// The transport header and payload of the whole datagram.
    pub(crate) fn datagram(&self) -> Vec<u8> {
        let Tuple { src, dst, sport, dport, protocol } = self.tuple;
        let m = &self.middle;
        let ports = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
        let (mut bytes, at) = match protocol {
            TCP => {
                let offset = u8::try_from(5 + self.tcp_options.len() / 4).unwrap() << 4 | m[8] & 0x0f;
                let head = [&ports, &m[..8], &[offset], &m[9..12], &[0, 0], &m[12..]].concat();
                ([&head[..], &self.tcp_options, &self.payload].concat(), Some(16))
            }
            UDP => {
                let len = u16::try_from(8 + self.payload.len()).unwrap().to_be_bytes();
                ([&ports, &len[..], &[0, 0], &self.payload].concat(), Some(6))
            }
            // The checksum covers the header alone, or all.
            UDP_LITE => ([&ports, &[0, m[0] & 8][..], &[0, 0], &self.payload].concat(), Some(6)),
            // Types 0 to 9, sequence numbers of 48 bits; the checksum covers all.
            DCCP => {
                let head = [&ports, &[4, m[0] & 0xf0, 0, 0, (m[1] % 10) << 1 | 1][..], &m[2..9]].concat();
                ([head, self.payload.clone()].concat(), Some(6))
            }
            SCTP => {
                let mut bytes = [&ports, &m[..4], &[0; 4], &self.payload].concat();
                let sum = crc32c_oracle::crc32c(&bytes) ^ u32::from(self.checksum_error);
                bytes[8..12].copy_from_slice(&sum.to_le_bytes());
                return bytes;
            }
            ICMP => {
                let (kind, id) = self.icmp();
                ([&[kind, 0, 0, 0], &id.to_be_bytes()[..], &m[..2], &self.payload].concat(), Some(2))
            }
            _ => (self.payload.clone(), None),
        };
        let Some(at) = at else { return bytes };
        let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let pseudo = [&src.octets()[..], &dst.octets(), &[0, protocol], &len].concat();
        let covered: &[u8] = if protocol == ICMP { &[] } else { &pseudo };
        let summed = match (protocol, m[0] & 8) {
            (UDP_LITE, 8) => &bytes[..8],
            _ => &bytes,
        };
        let mut sum = ones_sum(&[summed, covered, &self.checksum_error.to_be_bytes()]);
        sum = match (protocol, !sum) {
            (UDP, _) if self.udp_without_checksum => 0,
            (UDP | UDP_LITE, 0) => 0xffff,
            (_, sum) => sum,
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The IPv4 packet.
    pub(crate) fn ipv4(&self) -> Vec<u8> {
        let datagram = self.datagram();
        let (payload, mut flags) = match self.part {
            Part::Whole => (&datagram[..], 0),
            Part::First(end) => (&datagram[..end], 0x2000),
            Part::Later(start) => (&datagram[start..], u16::try_from(start / 8).unwrap()),
        };
        if self.dont_fragment {
            flags |= 0x4000;
        }
        let header = ipv4_header(self, payload.len(), flags);
        [&header, payload].concat()
    }

    /// The Ethernet frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        link(self.vlan, &self.ipv4())
    }

    /// Cuts a random part out of the datagram, if it is long enough to be cut.
    pub(crate) fn fragment(&mut self, random: &mut Gen) {
        let len = self.datagram().len();
        let head = match self.tuple.protocol {
            TCP => 20 + self.tcp_options.len(),
            DCCP | SCTP => 16,
            _ => 8,
        };
        let first_cut = head.div_ceil(8);
        let last_cut = (len.max(1) - 1) / 8;
        if first_cut <= last_cut {
            let cut = random.range(first_cut, last_cut) * 8;
            // The second eight bytes of a TCP segment alone are refused (RFC 3128); a cut behind the header is not.
            self.part = if random.one_in(2) { Part::First(cut) } else { Part::Later(cut) };
        }
    }
}

fn ipv4_header(spec: &Spec, payload: usize, flags: u16) -> Vec<u8> {
    let len = 20 + spec.options.len();
    let total = u16::try_from(len + payload).unwrap();
    let mut header = vec![0x40 | u8::try_from(len / 4).unwrap(), spec.tos];
    header.extend(total.to_be_bytes());
    header.extend(spec.id.to_be_bytes());
    header.extend(flags.to_be_bytes());
    header.extend([spec.ttl, spec.tuple.protocol, 0, 0]);
    header.extend(spec.tuple.src.octets());
    header.extend(spec.tuple.dst.octets());
    header.extend(&spec.options);
    fix_ipv4_checksum(&mut header);
    header
}

/// Writes the checksum of the IPv4 header at the start of `bytes`; nothing if it is not there.
pub(crate) fn fix_ipv4_checksum(bytes: &mut [u8]) {
    let len = usize::from(bytes.first().map_or(0, |first| first & 0x0f)) * 4;
    if let Some(header) = bytes.get_mut(..len).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let sum = !ones_sum(&[header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// An Ethernet frame for the gateway.
pub(crate) fn link(vlan: Option<u16>, ipv4: &[u8]) -> Vec<u8> {
    let mut bytes = [&MAC[..], &[2, 0, 0, 0, 0, 9]].concat();
    if let Some(tci) = vlan {
        bytes.extend([0x81, 0x00]);
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend([0x08, 0x00]);
    bytes.extend(ipv4);
    bytes
}

/// Random IPv4 options without a source route, up to 40 bytes.
fn ip_options(random: &mut Gen) -> Vec<u8> {
    let mut options = Vec::new();
    while options.len() < 36 && !random.one_in(4) {
        match random.range(0, 3) {
            0 => options.push(1),
            // Record route, timestamp, router alert, and one that nobody knows.
            _ => {
                let kind = random.pick(&[7, 68, 148, 222]);
                let len = random.range(2, (40 - options.len()).min(12));
                options.extend([kind, u8::try_from(len).unwrap()]);
                options.extend(random.bytes(len - 2));
            }
        }
    }
    options.resize(options.len().next_multiple_of(4), 0);
    options
}

/// An ICMP error about a packet: the frame, and how many bytes of the packet it quotes.
pub(crate) fn icmp_error(random: &mut Gen, outer: &Spec, quoted: &Spec) -> (Vec<u8>, usize) {
    let packet = quoted.ipv4();
    let head = 20 + quoted.options.len();
    // From the eight bytes that every quote has to all of it.
    let mut len = random.range((head + 8).min(packet.len()), packet.len());
    match quoted.tuple.protocol {
        // A part of a checksum, the other part padding: nobody can tell, and nobody quotes half words.
        TCP if len == head + 17 => len -= 1,
        SCTP if (head + 9..head + 12).contains(&len) => len = head + 8,
        _ => {}
    }
    let mut quote = packet[..len].to_vec();
    let kind = random.pick(&[3u8, 11, 12, 4]);
    let mut rest = random.bytes(4);
    rest[1] = 0;
    if kind != 4 && random.one_in(3) {
        // RFC 4884: at least 128 bytes, whole words, padded with zeros; the extension behind it.
        let words = quote.len().max(128).div_ceil(4).min(255);
        quote.resize(words * 4, 0);
        len = len.min(quote.len());
        rest[1] = u8::try_from(words).unwrap();
        let extension = random.range(1, 20) * 4;
        quote.extend(random.bytes(extension));
    }
    let mut message = [&[kind, random.u8(), 0, 0], &rest[..], &quote].concat();
    let sum = !ones_sum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut outer = outer.clone();
    outer.tuple.protocol = ICMP;
    let header = ipv4_header(&outer, message.len(), if outer.dont_fragment { 0x4000 } else { 0 });
    (link(outer.vlan, &[header, message].concat()), len)
}

/// Whether the parser of plain packets has to know it. Of an ICMP error the tuple is that of what it quotes.
fn is_plain(state: &Parsed) -> bool {
    let flow = [UDP, TCP].contains(&state.tuple.protocol) && state.kind != Kind::IcmpError;
    flow && state.fragment == Fragment::Whole && state.l4 == state.l3 + 20
}

/// natgate's parser on a frame of the test's device. The parser of plain packets says the same of those, and of none else.
pub(crate) fn parse(pool: &MemPool, frame: &[u8]) -> Result<Frame<MemBuf>, DropReason> {
    let buf = MemBuf::from_bytes(pool, frame).expect("the pool has frames that are large enough");
    let raw = Packet::new(buf, DeviceId(0));
    let read = Plain::read(frame, interface_of).map(|plain| plain.parsed(frame));
    let parsed = raw.parse(|_, vlan| interface_of(vlan)).map_err(|(_, reason)| reason);
    let plain = match &parsed {
        Ok(Frame::Ipv4(packet)) => Some(packet.state).filter(is_plain),
        _ => None,
    };
    assert_eq!(read, plain, "{frame:02x?}");
    parsed
}

/// The interface of a VLAN.
pub(crate) fn interface_of(vlan: u16) -> Option<(InterfaceId, [u8; 6])> {
    let index = VLANS.iter().position(|known| *known == vlan)?;
    Some((InterfaceId(u8::try_from(index).unwrap()), MAC))
}

/// The IPv4 packet in a frame that is known to be valid.
pub(crate) fn packet(pool: &MemPool, frame: &[u8]) -> Packet<MemBuf, Parsed> {
    match parse(pool, frame) {
        Ok(Frame::Ipv4(packet)) => packet,
        other => panic!("{other:?} for {frame:02x?}"),
    }
}

/// A tuple for the same flow elsewhere: other addresses and ports or identifier, or some of them.
pub(crate) fn translated(random: &mut Gen, from: Tuple) -> Tuple {
    let mut to = from;
    if random.one_in(2) {
        to.src = random.address();
    }
    if random.one_in(2) {
        to.dst = random.address();
    }
    match from.protocol {
        ICMP => {
            let request = [8, 13].contains(&from.dport);
            let id = if request { &mut to.sport } else { &mut to.dport };
            // An identifier that is itself the number of a request type would make the tuple ambiguous here.
            *id = match random.u16() {
                8 | 13 => 99,
                id => id,
            };
        }
        TCP | UDP | UDP_LITE | DCCP | SCTP => {
            if random.one_in(2) {
                to.sport = random.u16();
            }
            if random.one_in(2) {
                to.dport = random.u16();
            }
        }
        _ => {}
    }
    to
}

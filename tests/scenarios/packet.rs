//! The language of packets: a line of text to an IPv4 packet, and an IPv4 packet against a line.
//!
//! ```text
//! udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=64
//! tcp 192.168.1.10:1000 > 198.51.100.1:80 SA seq=5
//! icmp echo 192.168.1.10 > 198.51.100.1 id=7 seq=1
//! icmp 3/4 198.51.100.254 > 192.168.1.10 mtu=1280 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=63]
//! ip47 192.168.1.10 > 198.51.100.1
//! ```
//!
//! SCTP, DCCP, UDP-Lite and GRE: see [`crate::transport`].
//!
//! | field | meaning | default |
//! |---|---|---|
//! | `ttl=` | time to live | 64; not compared unless mentioned |
//! | `tos=` `ipid=` `opts=` | TOS byte, identification, options in hexadecimal | 0, 0, none |
//! | `df` | don't fragment | not set |
//! | `len=` | bytes of payload, of a fixed pattern | 8; TCP 0 |
//! | `hex=` | the payload in hexadecimal, in place of the pattern | |
//! | `seq=` `ack=` `id=` `mtu=` | of TCP, of ICMP | 0 |
//! | `win=` `ws=` `mss=` | window of TCP, window scale and segment size options | 1000, none, none |
//! | `csum=0`, `csum=bad` | no UDP checksum; one that is wrong by a fixed amount | right |
//! | `part=A-B` | a fragment: these bytes of the datagram that the rest of the line describes | all |
//! | `quote=` | bytes of transport header and payload that an ICMP error quotes | all |
//! | `pad=` | bytes of nothing behind the packet | 0 |
//!
//! Addresses, ports and numbers may be variables: `$p` takes its value from the first packet that it is compared
//! with. Everything else of a received packet must be, byte for byte, what the line says: etherparse builds both
//! sides and computes every checksum anew.

use crate::transport::{self, DCCP, GRE, SCTP, UDP_LITE, Values};
use etherparse::checksum::Sum16BitWords;
use etherparse::{
    Icmpv4Header, Icmpv4Type, IpFragOffset, IpNumber, Ipv4Header, TcpHeader, TcpOptionElement, UdpHeader,
};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// What a wrong checksum is off by, in ones' complement.
const WRONG_BY: u16 = 0x1234;

/// Values of variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings(HashMap<String, String>);

impl Bindings {
    /// The value of a term: a variable's, or the term itself.
    pub(crate) fn get(&self, term: &str) -> Option<String> {
        if term.starts_with('$') { self.0.get(term).cloned() } else { Some(term.into()) }
    }

    /// Compares a term with what was seen; a variable without a value takes it.
    pub(crate) fn meet(&mut self, term: &str, seen: impl ToString) -> Result<(), String> {
        let seen = seen.to_string();
        match self.get(term) {
            None => {
                self.0.insert(term.into(), seen);
                Ok(())
            }
            Some(value) if value == seen => Ok(()),
            Some(value) => Err(format!("{term} is {value}, not {seen}")),
        }
    }

    pub(crate) fn forget(&mut self, variable: &str) {
        self.0.remove(variable);
    }

    fn number<T: std::str::FromStr>(&self, term: &str) -> T {
        let value = self.get(term).unwrap_or_else(|| panic!("{term} has no value yet"));
        value.parse().unwrap_or_else(|_| panic!("{term}={value} is not a number"))
    }

    pub(crate) fn address(&self, term: &str) -> Ipv4Addr {
        self.number(term)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Proto {
    Udp,
    Tcp,
    /// Type and code.
    Icmp(u8, u8),
    /// What [`transport`] encodes.
    Other(u8),
}

/// A packet in words.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    proto: Proto,
    pub(crate) src: String,
    sport: String,
    pub(crate) dst: String,
    dport: String,
    flags: String,
    fields: HashMap<String, String>,
    quote: Option<Box<Line>>,
}

impl Line {
    /// Reads a line; panics with what is wrong with it.
    pub(crate) fn parse(text: &str) -> Line {
        let (text, quote) = match text.split_once('[') {
            Some((head, tail)) => {
                let inner = tail.strip_suffix(']').unwrap_or_else(|| panic!("no ] at the end of {text}"));
                (head, Some(Box::new(Line::parse(inner))))
            }
            None => (text, None),
        };
        let mut words = text.split_whitespace();
        let mut word = || words.next().unwrap_or_else(|| panic!("{text} ends too early"));
        let proto = match word() {
            "udp" => Proto::Udp,
            "tcp" => Proto::Tcp,
            "udplite" => Proto::Other(UDP_LITE),
            "sctp" => Proto::Other(SCTP),
            "dccp" => Proto::Other(DCCP),
            "gre" => Proto::Other(GRE),
            "proto" => Proto::Other(word().parse().unwrap()),
            "icmp" => match word() {
                "echo" => Proto::Icmp(8, 0),
                "reply" => Proto::Icmp(0, 0),
                "ts" => Proto::Icmp(13, 0),
                "tsreply" => Proto::Icmp(14, 0),
                other => {
                    let (kind, code) = other.split_once('/').unwrap_or_else(|| panic!("icmp {other}?"));
                    Proto::Icmp(kind.parse().unwrap(), code.parse().unwrap())
                }
            },
            other => match other.strip_prefix("ip").and_then(|n| n.parse().ok()) {
                Some(number) => Proto::Other(number),
                None => panic!("{other} is no protocol, in: {text}"),
            },
        };
        let split = |end: &str| match end.split_once(':') {
            Some((address, port)) => (address.to_owned(), port.to_owned()),
            None => (end.to_owned(), "0".to_owned()),
        };
        let (src, sport) = split(word());
        assert_eq!(word(), ">", "in: {text}");
        let (dst, dport) = split(word());
        let mut line =
            Line { proto, src, sport, dst, dport, flags: String::new(), fields: HashMap::new(), quote };
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => {
                    const KEYS: [&str; 21] = [
                        "ttl", "tos", "ipid", "opts", "len", "seq", "ack", "id", "mtu", "csum", "part",
                        "quote", "pad", "hex", "df", "tag", "itag", "cover", "win", "ws", "mss",
                    ];
                    assert!(KEYS.contains(&key), "no field {key}, in: {text}");
                    line.fields.insert(key.into(), value.into());
                }
                None if word == "df" => {
                    line.fields.insert("df".into(), "1".into());
                }
                None if transport::is_word(line.protocol(), word) => {
                    line.flags = format!("{} {word}", line.flags).trim().to_owned();
                }
                None => {
                    assert!(word.chars().all(|c| "SAFRPUEC".contains(c)), "what is {word}, in: {text}");
                    line.flags = word.into();
                }
            }
        }
        line
    }

    /// The line with `df` if it is an ICMP error.
    pub(crate) fn with_df_if_error(mut self) -> Line {
        if self.quote.is_some() {
            self.fields.insert("df".into(), "1".into());
        }
        self
    }

    fn field(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    fn number<T: std::str::FromStr + Default>(&self, key: &str, bindings: &Bindings) -> T {
        self.field(key).map(|term| bindings.number(term)).unwrap_or_default()
    }

    fn protocol(&self) -> u8 {
        match self.proto {
            Proto::Udp => 17,
            Proto::Tcp => 6,
            Proto::Icmp(..) => 1,
            Proto::Other(number) => number,
        }
    }

    /// The bytes of the datagram that this packet is a part of.
    fn part(&self) -> Option<(usize, usize)> {
        let (from, to) = self.field("part")?.split_once('-').unwrap();
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    /// The IPv4 packet.
    pub(crate) fn encode(&self, bindings: &Bindings) -> Vec<u8> {
        let whole = self.encode_transport(bindings);
        let (from, to) = self.part().unwrap_or((0, whole.len()));
        let payload = &whole[from..to.min(whole.len())];
        let mut header = Ipv4Header::new(
            payload.len() as u16,
            self.field("ttl").map_or(64, |ttl| bindings.number(ttl)),
            IpNumber(self.protocol()),
            bindings.address(&self.src).octets(),
            bindings.address(&self.dst).octets(),
        )
        .unwrap();
        let tos: u8 = self.number("tos", bindings);
        header.dscp = (tos >> 2).try_into().unwrap();
        header.ecn = (tos & 3).try_into().unwrap();
        header.identification = self.number("ipid", bindings);
        header.dont_fragment = self.field("df").is_some();
        header.more_fragments = to < whole.len();
        header.fragment_offset = IpFragOffset::try_new((from / 8) as u16).unwrap();
        if let Some(options) = self.field("opts") {
            header.options = bytes(options)[..].try_into().unwrap();
            header.set_payload_len(payload.len()).unwrap();
        }
        header.header_checksum = header.calc_header_checksum();
        let mut packet = header.to_bytes().to_vec();
        packet.extend_from_slice(payload);
        packet
    }

    /// Bytes behind the packet, as short frames have them.
    pub(crate) fn padding(&self) -> usize {
        self.number("pad", &Bindings::default())
    }

    /// Transport header and payload of the whole datagram.
    fn encode_transport(&self, bindings: &Bindings) -> Vec<u8> {
        let default = if self.proto == Proto::Tcp { 0 } else { 8 };
        let payload = match self.field("hex") {
            Some(hex) => bytes(hex),
            None => pattern(self.field("len").map_or(default, |len| bindings.number(len))),
        };
        let ends = (bindings.address(&self.src).octets(), bindings.address(&self.dst).octets());
        match self.proto {
            Proto::Udp => {
                let mut header = UdpHeader {
                    source_port: bindings.number(&self.sport),
                    destination_port: bindings.number(&self.dport),
                    length: (payload.len() + 8) as u16,
                    checksum: 0,
                };
                header.checksum = match self.field("csum") {
                    Some("0") => 0,
                    other => spoil(other, header.calc_checksum_ipv4_raw(ends.0, ends.1, &payload).unwrap()),
                };
                [&header.to_bytes()[..], &payload].concat()
            }
            Proto::Tcp => {
                let mut header = TcpHeader::new(
                    bindings.number(&self.sport),
                    bindings.number(&self.dport),
                    self.number("seq", bindings),
                    self.field("win").map_or(1000, |win| bindings.number(win)),
                );
                let mss =
                    self.field("mss").map(|mss| TcpOptionElement::MaximumSegmentSize(bindings.number(mss)));
                let scale =
                    self.field("ws").map(|scale| TcpOptionElement::WindowScale(bindings.number(scale)));
                header.set_options(&mss.into_iter().chain(scale).collect::<Vec<_>>()).unwrap();
                header.acknowledgment_number = self.number("ack", bindings);
                let has = |flag: char| self.flags.contains(flag);
                (header.syn, header.ack, header.fin, header.rst) = (has('S'), has('A'), has('F'), has('R'));
                (header.psh, header.urg, header.ece, header.cwr) = (has('P'), has('U'), has('E'), has('C'));
                let sum = header.calc_checksum_ipv4_raw(ends.0, ends.1, &payload).unwrap();
                header.checksum = spoil(self.field("csum"), sum);
                [&header.to_bytes()[..], &payload].concat()
            }
            Proto::Icmp(kind, code) => {
                let payload = match &self.quote {
                    Some(quote) => {
                        let inner = quote.encode(bindings);
                        let head = usize::from(inner[0] & 15) * 4;
                        let keep =
                            self.field("quote").map_or(inner.len(), |n| head + n.parse::<usize>().unwrap());
                        inner[..keep.min(inner.len())].to_vec()
                    }
                    None => payload,
                };
                let second = if self.quote.is_some() { "mtu" } else { "seq" };
                let [a, b] = self.number::<u16>("id", bindings).to_be_bytes();
                let [c, d] = self.number::<u16>(second, bindings).to_be_bytes();
                let bytes5to8 = [a, b, c, d];
                let kind = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8 };
                let mut header = Icmpv4Header::with_checksum(kind, &payload);
                header.checksum = spoil(self.field("csum"), header.checksum);
                [&header.to_bytes()[..], &payload].concat()
            }
            Proto::Other(protocol) => transport::encode(&Values {
                protocol,
                ends,
                ports: (bindings.number(&self.sport), bindings.number(&self.dport)),
                words: &self.flags,
                tag: self.number("tag", bindings),
                initiate_tag: self.number("itag", bindings),
                sequence: self.number("seq", bindings),
                coverage: self.number("cover", bindings),
                len: self.field("len").map(|len| bindings.number(len)),
                checksum: self.field("csum"),
            }),
        }
    }

    /// Compares a received packet with the line.
    pub(crate) fn matches(&self, packet: &[u8], bindings: &mut Bindings) -> Result<(), String> {
        let (header, payload) = Ipv4Header::from_slice(packet).map_err(|error| error.to_string())?;
        if payload.len() + header.header_len() != usize::from(header.total_len) {
            return Err(format!("total length {} of {}", header.total_len, packet.len()));
        }
        self.matches_packet(&header, payload, bindings)
    }

    /// `payload` may end early if the packet is a quote.
    fn matches_packet(
        &self,
        header: &Ipv4Header,
        payload: &[u8],
        bindings: &mut Bindings,
    ) -> Result<(), String> {
        if header.protocol.0 != self.protocol() {
            return Err(format!("protocol {}", header.protocol.0));
        }
        if header.header_checksum != header.calc_header_checksum() {
            return Err("the IPv4 header checksum is wrong".into());
        }
        bindings.meet(&self.src, Ipv4Addr::from(header.source))?;
        bindings.meet(&self.dst, Ipv4Addr::from(header.destination))?;
        if header.fragment_offset.value() == 0 {
            self.meet_ports(payload, bindings)?;
        }
        if let Some(ttl) = self.field("ttl") {
            bindings.meet(ttl, header.time_to_live)?;
        }
        if let Some(id) = self.field("ipid") {
            bindings.meet(id, header.identification)?;
        }
        if let (Proto::Icmp(..), Some(quote)) = (&self.proto, &self.quote) {
            let quoted = payload.get(8..).ok_or("no room for a quote")?;
            let (inner, rest) = Ipv4Header::from_slice(quoted).map_err(|error| error.to_string())?;
            quote.matches_packet(&inner, rest, bindings).map_err(|why| format!("in the quote: {why}"))?;
        }
        // Everything is known now: the packet must be what etherparse makes of the line.
        let mut wanted = self.clone();
        copy_unmentioned(&mut wanted, header, payload);
        let expected = wanted.encode(bindings);
        let head = usize::from(expected[0] & 15) * 4;
        let mut seen = header.to_bytes().to_vec();
        if expected[..head] != seen[..] {
            seen.truncate(60);
            return Err(format!("header {seen:02x?}, not {:02x?}", &expected[..head]));
        }
        let body = &expected[head..];
        let compared = body.len().min(payload.len());
        if body[..compared] != payload[..compared] || payload.len() > body.len() {
            let at = (0..compared).find(|at| body[*at] != payload[*at]).unwrap_or(compared);
            return Err(format!(
                "byte {at} behind the IPv4 header: {:02x?}.., not {:02x?}..",
                &payload[at..payload.len().min(at + 4)],
                &body[at..body.len().min(at + 4)]
            ));
        }
        Ok(())
    }

    fn meet_ports(&self, payload: &[u8], bindings: &mut Bindings) -> Result<(), String> {
        let word = |at: usize| payload.get(at..at + 2).map(|w| u16::from_be_bytes([w[0], w[1]]));
        match self.proto {
            Proto::Udp | Proto::Tcp | Proto::Other(UDP_LITE | SCTP | DCCP) => {
                bindings.meet(&self.sport, word(0).ok_or("no port")?)?;
                bindings.meet(&self.dport, word(2).ok_or("no port")?)
            }
            Proto::Icmp(kind, code) => {
                if payload.get(..2) != Some(&[kind, code]) {
                    return Err(format!("ICMP {:?}", payload.get(..2)));
                }
                match self.field("id") {
                    Some(id) => bindings.meet(id, word(4).ok_or("no identifier")?),
                    None => Ok(()),
                }
            }
            Proto::Other(_) => Ok(()),
        }
    }
}

/// Takes over what a line does not say and what is not compared then: the time to live, at every depth.
fn copy_unmentioned(line: &mut Line, header: &Ipv4Header, payload: &[u8]) {
    line.fields.entry("ttl".into()).or_insert(header.time_to_live.to_string());
    if let Some(quote) = &mut line.quote
        && let Some((inner, rest)) = payload.get(8..).and_then(|quoted| Ipv4Header::from_slice(quoted).ok())
    {
        copy_unmentioned(quote, &inner, rest);
        // A quote may be shorter than the packet, but not than the gateway received it.
        line.fields.entry("quote".into()).or_insert(rest.len().to_string());
    }
}

/// What is written in hexadecimal.
fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The payload that every packet of this length carries.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 256 + 3) as u8).collect()
}

pub(crate) fn spoil(how: Option<&str>, right: u16) -> u16 {
    match how {
        Some("bad") => {
            let (sum, carry) = right.overflowing_add(WRONG_BY);
            sum + u16::from(carry)
        }
        None => right,
        Some(other) => panic!("csum={other}?"),
    }
}

/// A packet in words, for messages.
pub(crate) fn describe(packet: &[u8]) -> String {
    let Ok((header, payload)) = Ipv4Header::from_slice(packet) else { return format!("{packet:02x?}") };
    let word = |at: usize| payload.get(at..at + 2).map_or(0, |w| u16::from_be_bytes([w[0], w[1]]));
    let (src, dst) = (Ipv4Addr::from(header.source), Ipv4Addr::from(header.destination));
    let mut text = match header.protocol.0 {
        _ if header.fragment_offset.value() > 0 => format!("ip{} {src} > {dst}", header.protocol.0),
        17 => format!("udp {src}:{} > {dst}:{}", word(0), word(2)),
        6 => format!("tcp {src}:{} > {dst}:{} flags={:#x}", word(0), word(2), payload.get(13).unwrap_or(&0)),
        1 => {
            let (kind, code) = (word(0) >> 8, word(0) & 255);
            let head = format!("icmp {kind}/{code} {src} > {dst}");
            match kind {
                3 | 4 | 5 | 11 | 12 => {
                    format!("{head} mtu={} [{}]", word(6), describe(payload.get(8..).unwrap_or_default()))
                }
                _ => format!("{head} id={} seq={}", word(4), word(6)),
            }
        }
        other => transport::describe(other, &format!("{src} > {dst}"), payload),
    };
    if header.is_fragmenting_payload() {
        let from = usize::from(header.fragment_offset.byte_offset());
        text += &format!(" part={from}-{} more={}", from + payload.len(), header.more_fragments);
    }
    text + &format!(
        " ttl={} tos={} ipid={} ({} bytes)",
        header.time_to_live,
        header.dscp.value() << 2 | header.ecn.value(),
        header.identification,
        packet.len()
    )
}

/// Whether every checksum of a whole packet is right; fragments and quotes: as far as they can be judged.
pub(crate) fn sums_are_right(packet: &[u8]) -> bool {
    let Ok((header, payload)) = Ipv4Header::from_slice(packet) else { return false };
    if header.header_checksum != header.calc_header_checksum() {
        return false;
    }
    if header.is_fragmenting_payload() {
        return true;
    }
    let pseudo = Sum16BitWords::new()
        .add_4bytes(header.source)
        .add_4bytes(header.destination)
        .add_2bytes([0, header.protocol.0])
        .add_2bytes((payload.len() as u16).to_be_bytes());
    match header.protocol.0 {
        17 if payload.get(6..8) == Some(&[0, 0]) => true,
        17 => {
            // The UDP length may be shorter than the packet.
            let Some((udp, _)) = UdpHeader::from_slice(payload).ok() else { return false };
            let Some(body) = payload.get(8..usize::from(udp.length)) else { return false };
            udp.calc_checksum_ipv4_raw(header.source, header.destination, body) == Ok(udp.checksum)
        }
        6 => pseudo.add_slice(payload).ones_complement() == 0,
        1 => Sum16BitWords::new().add_slice(payload).ones_complement() == 0,
        other => transport::sums_are_right(other, (header.source, header.destination), payload),
    }
}

/// An error of the receiver about a packet: port unreachable, with the whole packet quoted.
pub(crate) fn error_about(packet: &[u8]) -> Option<Vec<u8>> {
    let (about, _) = Ipv4Header::from_slice(packet).ok()?;
    if about.protocol.0 == 1 && !matches!(packet.get(20), Some(0 | 8)) {
        return None;
    }
    let kind = Icmpv4Type::Unknown { type_u8: 3, code_u8: 3, bytes5to8: [0; 4] };
    let message = Icmpv4Header::with_checksum(kind, packet);
    let len = message.header_len() + packet.len();
    let mut header = Ipv4Header::new(len as u16, 64, IpNumber(1), about.destination, about.source).ok()?;
    header.header_checksum = header.calc_header_checksum();
    Some([&header.to_bytes()[..], &message.to_bytes(), packet].concat())
}

//! The lab of the matrix: a gateway with one to four workers, the hosts by their names, and packets as bytes.

use crate::harness::{Net, Shape};
use crate::packet::{Line, sums_are_right};
use natgate::device::mem_nic::Habit;
use std::net::Ipv4Addr;

/// One to four workers, and every way for packets to reach them.
pub(crate) const SHAPES: [Shape; 4] = [
    Shape::plain(1, 1),
    Shape::plain(2, 2),
    Shape::nic(3, Habit::Honest).port_rules(),
    Shape::nic(4, Habit::Honest),
];

/// Names of scripts, longest first.
const NAMES: [(&str, &str); 8] = [
    ("S1a", "198.51.100.1"),
    ("S1b", "198.51.100.2"),
    ("S2", "192.0.2.9"),
    ("C1", "192.168.1.10"),
    ("C2", "192.168.1.11"),
    ("R1", "100.64.0.9"),
    ("G", "192.168.1.1"),
    ("X", "203.0.113.2"),
];

/// A script or line with addresses in place of names.
pub(crate) fn cast(text: &str) -> String {
    let mut cast = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let whole = !cast.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let ends = |name: &str| !rest[name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        match NAMES.iter().find(|(name, _)| whole && rest.starts_with(name) && ends(name)) {
            Some((name, address)) => {
                cast += address;
                rest = &rest[name.len()..];
            }
            None => {
                cast.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    cast
}

/// A gateway with these keys for the interfaces inside and outside, and whatever else.
pub(crate) fn gateway(lan: &str, wan: &str, source: &str, rest: &str) -> String {
    format!(
        r#"
        [interface.lan]
        device = "vdev:mem0"
        realm = "internal"
        address = "192.168.1.1/24"
        {lan}
        [interface.wan]
        device = "vdev:mem1"
        realm = "external"
        address = "203.0.113.2/24"
        gateway = "203.0.113.1"
        {wan}
        [[snat]]
        source = "{source}"
        {rest}
        "#
    )
}

/// The gateway that most tests need: one address outside, and defaults.
pub(crate) fn home() -> String {
    gateway("", "", "interface", "[conntrack]\nmax_sessions = 4000")
}

/// A home with something besides.
pub(crate) fn home_and(rest: &str) -> String {
    format!("{}\n{rest}", home())
}

/// A gateway with a pool, whose keys these are.
pub(crate) fn pool(keys: &str) -> String {
    gateway("", "", "pool.public", &format!("[pool.public]\n{keys}\n[conntrack]\nmax_sessions = 4000"))
}

/// Plays a script with one to four workers.
pub(crate) fn play(config: &str, script: &str) {
    each(config, |net| net.act(script));
}

/// Does something with a gateway of one to four workers.
pub(crate) fn each(config: &str, act: impl Fn(&mut Net)) {
    for shape in SHAPES {
        let mut net = lab(config, shape);
        act(&mut net);
        net.finish();
    }
}

/// One gateway.
pub(crate) fn lab(config: &str, shape: Shape) -> Net {
    let mut net = Net::new(config, shape);
    net.black_box = true;
    net
}

/// A packet that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Out {
    pub(crate) interface: String,
    pub(crate) packet: Vec<u8>,
}

impl Out {
    fn head(&self) -> usize {
        usize::from(self.packet[0] & 15) * 4
    }

    /// Two bytes behind the IPv4 header.
    pub(crate) fn word(&self, at: usize) -> u16 {
        let at = self.head() + at;
        u16::from_be_bytes([self.packet[at], self.packet[at + 1]])
    }

    pub(crate) fn src(&self) -> Ipv4Addr {
        Ipv4Addr::from(<[u8; 4]>::try_from(&self.packet[12..16]).unwrap())
    }

    pub(crate) fn dst(&self) -> Ipv4Addr {
        Ipv4Addr::from(<[u8; 4]>::try_from(&self.packet[16..20]).unwrap())
    }

    /// Address and port, or address and identifier of an ICMP query.
    pub(crate) fn source(&self) -> (Ipv4Addr, u16) {
        (self.src(), self.word(if self.packet[9] == 1 { 4 } else { 0 }))
    }

    /// Behind the IPv4 header.
    pub(crate) fn body(&self) -> &[u8] {
        &self.packet[self.head()..]
    }

    /// Type and code, if it is ICMP.
    pub(crate) fn icmp(&self) -> Option<(u8, u8)> {
        (self.packet[9] == 1).then(|| (self.body()[0], self.body()[1]))
    }
}

impl Net {
    /// Plays a script with names.
    pub(crate) fn act(&mut self, script: &str) {
        self.play(&cast(script));
    }

    /// The packet of a line with names.
    pub(crate) fn packet(&self, line: &str) -> Vec<u8> {
        Line::parse(&cast(line)).encode(&self.bindings)
    }

    /// Sends the packet of a line; all that came out but ARP.
    pub(crate) fn offer(&mut self, interface: &str, line: &str) -> Vec<Out> {
        let packet = self.packet(line);
        self.send_bytes(interface, &packet)
    }

    /// Sends a packet; all that came out but ARP.
    pub(crate) fn send_bytes(&mut self, interface: &str, packet: &[u8]) -> Vec<Out> {
        let interface = self.interface(interface);
        self.send_ipv4(interface, packet);
        self.run();
        self.came_out()
    }

    /// All that came out since it was asked for but ARP. Whatever is whole has right checksums.
    pub(crate) fn came_out(&mut self) -> Vec<Out> {
        let seen = std::mem::take(&mut self.seen);
        let name = |id| self.snapshot.interface(id).name.to_string();
        let outs = seen.into_iter().filter(|seen| !seen.arp);
        let outs = outs.map(|seen| Out { interface: name(seen.interface), packet: seen.body }).collect();
        self.forget();
        outs
    }

    /// Sends what is forwarded as one packet with right checksums, which is returned.
    pub(crate) fn pass(&mut self, interface: &str, line: &str) -> Out {
        let mut outs = self.offer(interface, line);
        assert_eq!(outs.len(), 1, "{:?}: {line}: {outs:?}", self.shape);
        let out = outs.remove(0);
        assert!(sums_are_right(&out.packet), "{:?}: {line}: {out:?}", self.shape);
        out
    }

    /// Sends what nothing comes of.
    pub(crate) fn nothing(&mut self, interface: &str, line: &str) {
        let outs = self.offer(interface, line);
        assert!(outs.is_empty(), "{:?}: {line}: {outs:?}", self.shape);
    }
}

/// An IPv4 packet with these bytes as it is: header checksum and lengths are set right, nothing else is looked at.
pub(crate) fn ipv4(protocol: u8, src: &str, dst: &str, options: &[u8], body: &[u8]) -> Vec<u8> {
    let address = |name: &str| cast(name).parse::<Ipv4Addr>().unwrap();
    assert!(options.len().is_multiple_of(4) && options.len() <= 40);
    let head = 20 + options.len();
    let mut packet = vec![0x40 | (head / 4) as u8, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&((head + body.len()) as u16).to_be_bytes());
    packet.extend(address(src).octets());
    packet.extend(address(dst).octets());
    packet.extend(options);
    packet.extend(body);
    mend(&mut packet);
    packet
}

/// Sets the checksum of the IPv4 header, and of ICMP behind it if the packet is that.
pub(crate) fn mend(packet: &mut [u8]) {
    let head = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..head]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    if packet[9] == 1 && packet.len() >= head + 4 {
        packet[head + 2..head + 4].fill(0);
        let sum = checksum(&packet[head..]);
        packet[head + 2..head + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// RFC 1071, as plain as it can be.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The checksum of a segment or datagram behind the pseudo-header, where the bytes have zeros for it.
pub(crate) fn transport_sum(protocol: u8, src: Ipv4Addr, dst: Ipv4Addr, body: &[u8]) -> u16 {
    let length = (body.len() as u16).to_be_bytes();
    let pseudo = [&src.octets()[..], &dst.octets(), &[0, protocol], &length, body].concat();
    checksum(&pseudo)
}

/// The three words for what mapping and filtering depend on, from the loosest to the strictest.
pub(crate) const WORDS: [&str; 3] =
    ["endpoint-independent", "address-dependent", "address-and-port-dependent"];

/// A pool of one address whose mapping is endpoint-independent, with this filtering.
pub(crate) fn filtering(word: &str) -> String {
    pool(&format!("addresses = \"203.0.113.10\"\nfiltering = \"{word}\""))
}

/// Which of S2:9, S1b:9 and S1a:9 reach C1:1000 by its external endpoint, after it sent to S1a:1. `open` is how a packet of the
/// protocol that opens a session ends (of TCP, `S seq=1`).
pub(crate) fn who_reaches(net: &mut Net, protocol: &str, open: &str) -> [bool; 3] {
    let (address, port) = net.pass("lan", &format!("{protocol} C1:1000 > S1a:1 {open}")).source();
    ["S2", "S1b", "S1a"].map(|host| {
        let outs = net.offer("wan", &format!("{protocol} {host}:9 > {address}:{port} {open}"));
        let inside = outs.iter().find(|out| out.interface == "lan");
        inside.inspect(|out| assert_eq!((out.dst().to_string(), out.word(2)), (cast("C1"), 1000))).is_some()
    })
}

/// What [`who_reaches`] says under each of [`WORDS`].
pub(crate) const REACH: [[bool; 3]; 3] = [[true; 3], [false, false, true], [false; 3]];

//! A frame that came out of the device under test, checked in full.
//!
//! Two steps: [`Checker::read`] checks what a frame says by itself (link, lengths, both checksums, TTL, stamp), and
//! [`Checker::judge`] checks it against its flow (addresses, ports, size, order). Frames that no device under test can help
//! (ARP, multicast, IPv6, ICMP errors about what it refused) are told apart and are not wrong.

use super::addresses::{Addresses, Endpoint};
use super::flows::{Arrival, Flow};
use super::frame::{self, HEAD, L3, L4, Stamp};
use super::report::Frame;
use super::sizes::{self, FCS, place};
use super::{Expect, Way};
use crate::ids::MacAddr;
use crate::wire::arp::ArpMessage;
use crate::wire::{ethernet, protocol};
use std::fmt;
use std::net::Ipv4Addr;
use zerocopy::FromBytes;

/// EtherType of IPv6.
const IPV6: u16 = 0x86dd;

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What was looked at.
    pub what: &'static str,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub got: String,
    /// The flow, if it could be told.
    pub flow: Option<u32>,
    /// The frame's headers and stamp, in hexadecimal.
    pub frame: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(flow) = self.flow {
            write!(f, "flow {flow}: ")?;
        }
        write!(f, "{}: expected {}, got {} (frame: {})", self.what, self.expected, self.got, self.frame)
    }
}

#[cold]
fn wrong(
    what: &'static str,
    expected: impl fmt::Display,
    got: impl fmt::Display,
    bytes: &[u8],
) -> Box<Wrong> {
    use fmt::Write as _;
    let mut hex = String::new();
    for byte in bytes.iter().take(HEAD) {
        let _ = write!(hex, "{byte:02x}");
    }
    Box::new(Wrong { what, expected: expected.to_string(), got: got.to_string(), flow: None, frame: hex })
}

/// An endpoint for people.
fn text((address, port): Endpoint) -> String {
    format!("{}:{port}", Ipv4Addr::from_bits(address))
}

/// What a frame is.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// One of ours.
    Ours(Datagram),
    /// One of ours from an earlier run.
    Late,
    /// ARP, for whom it may concern.
    Arp(ArpMessage),
    /// An ICMP message: the device under test refuses something.
    Icmp,
    /// Something that concerns nobody here: multicast, IPv6.
    Stray,
}

/// One of ours, as far as it can be read without its flow.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Its stamp.
    pub stamp: Stamp,
    source: Endpoint,
    destination: Endpoint,
    len: u16,
}

/// What a frame must look like.
#[derive(Clone, Debug)]
pub struct Checker {
    /// What the device under test does.
    pub expect: Expect,
    /// Whose frames these are.
    pub addresses: Addresses,
    /// Their sizes.
    pub sizes: Frame,
    /// The run.
    pub run: u8,
}

impl Checker {
    /// Checks what a frame says by itself. `mac`: the Ethernet address that it must be for, if it is known.
    ///
    /// # Errors
    /// The frame is wrong.
    #[inline]
    pub fn read(&self, mac: Option<MacAddr>, bytes: &[u8]) -> Result<Seen, Box<Wrong>> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return short(mac, bytes) };
        let ethertype = u16::from_be_bytes([head[12], head[13]]);
        if ethertype != ethernet::IPV4 || head[0] & 1 == 1 {
            return link(mac, bytes);
        }
        if let Some(mac) = mac
            && head[..6] != mac.0
        {
            return Err(not_for(mac, bytes));
        }
        let (ip, udp) = (&head[L3..L4], bytes.get(L4..).unwrap_or_default());
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if head[L3] != 0x45 {
            return Err(wrong("IPv4 version and header length", "0x45", format!("{:#04x}", head[L3]), bytes));
        }
        if !frame::ip_is_valid(ip) {
            return Err(wrong(
                "IPv4 header checksum",
                "the right one",
                format!("{:#06x}", word(L3 + 10)),
                bytes,
            ));
        }
        if head[L3 + 9] == protocol::ICMP {
            return Ok(Seen::Icmp);
        }
        if head[L3 + 9] != protocol::UDP {
            return Err(wrong("IPv4 protocol", protocol::UDP, head[L3 + 9], bytes));
        }
        let total = usize::from(word(L3 + 2));
        if total + L3 != HEAD + rest.len() {
            return Err(wrong("IPv4 length", HEAD + rest.len() - L3, total, bytes));
        }
        if usize::from(word(L4 + 4)) != udp.len() {
            return Err(wrong("UDP length", udp.len(), word(L4 + 4), bytes));
        }
        if word(L3 + 6) & !crate::wire::ipv4::DONT_FRAGMENT != 0 {
            return Err(wrong("fragment", "a whole packet", format!("{:#06x}", word(L3 + 6)), bytes));
        }
        let (from, to) = (long(L3 + 12), long(L3 + 16));
        if !frame::udp_is_valid(from, to, udp) {
            return Err(wrong("UDP checksum", "the right one", format!("{:#06x}", word(L4 + 6)), bytes));
        }
        let ttl = head[L3 + 8];
        if ttl != frame::TTL - 1 && (ttl != frame::TTL || self.expect == Expect::Translated) {
            return Err(wrong("TTL", frame::TTL - 1, ttl, bytes));
        }
        let Some(stamp) = Stamp::read(head) else {
            return Err(wrong("payload", "a stamp of this generator", "something else", bytes));
        };
        if stamp.run != self.run {
            return Ok(Seen::Late);
        }
        let (source, destination) = ((from, word(L4)), (to, word(L4 + 2)));
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        Ok(Seen::Ours(Datagram { stamp, source, destination, len }))
    }

    /// Checks a frame against its flow, and remembers that it came. `flow` is that of its stamp.
    ///
    /// # Errors
    /// The frame is wrong.
    #[inline]
    pub fn judge(
        &self,
        way: Way,
        datagram: &Datagram,
        flow: Option<&mut Flow>,
        bytes: &[u8],
    ) -> Result<Arrival, Box<Wrong>> {
        let Datagram { stamp, source, destination, len } = *datagram;
        let Some(flow) = flow else {
            return Err(wrong("flow in the stamp", "one of this trial", stamp.flow, bytes));
        };
        let (client, server) = (self.addresses.client(stamp.flow), self.addresses.server(stamp.flow));
        let of_flow = |what, expected: String, got: String| {
            let mut wrong = wrong(what, expected, got, bytes);
            wrong.flow = Some(stamp.flow);
            Err(wrong)
        };
        let pattern = sizes::pattern(&self.sizes);
        let size = pattern.get(place(stamp.flow, stamp.seq, pattern.len())).copied().unwrap_or(0);
        if len + FCS != size {
            return of_flow("frame size with FCS", size.to_string(), (len + FCS).to_string());
        }
        let (to, from) = match way {
            Way::Out => (server, flow.external()),
            Way::Back => (client, Some(server)),
        };
        if destination != to {
            return of_flow("destination", text(to), text(destination));
        }
        if let Some(from) = from {
            if source != from {
                return of_flow("source", text(from), text(source));
            }
        } else if let Err(expected) = self.first_source(source, client) {
            return of_flow("source of the first packet", expected, text(source));
        }
        if way == Way::Out && from.is_none() {
            flow.establish(source);
        }
        Ok(flow.arrive(way, stamp.seq))
    }

    /// Whether a flow may have this source outside; else what it should be.
    fn first_source(&self, source: Endpoint, client: Endpoint) -> Result<(), String> {
        match self.expect {
            Expect::Forwarded if source != client => Err(text(client)),
            Expect::Translated if source.0 == client.0 => Err("another address than the client's".into()),
            _ => Ok(()),
        }
    }
}

#[cold]
fn not_for(mac: MacAddr, bytes: &[u8]) -> Box<Wrong> {
    let got = bytes.first_chunk::<6>().map(|mac| MacAddr(*mac)).unwrap_or_default();
    wrong("Ethernet destination", mac, got, bytes)
}

/// A frame without room for a stamp.
#[cold]
fn short(mac: Option<MacAddr>, bytes: &[u8]) -> Result<Seen, Box<Wrong>> {
    match link(mac, bytes)? {
        Seen::Ours(_) => Err(wrong("length without FCS", format!("{HEAD} or more"), bytes.len(), bytes)),
        seen => Ok(seen),
    }
}

/// A frame that is not unicast IPv4, by its Ethernet header.
#[cold]
fn link(mac: Option<MacAddr>, bytes: &[u8]) -> Result<Seen, Box<Wrong>> {
    let Ok((header, rest)) = ethernet::EthernetHeader::ref_from_prefix(bytes) else {
        return Err(wrong("length", "an Ethernet header", bytes.len(), bytes));
    };
    let group = header.destination[0] & 1 == 1;
    match header.ethertype.get() {
        ethernet::ARP => match ArpMessage::read_from_prefix(rest) {
            Ok((message, _)) if message.is_ipv4_over_ethernet() => Ok(Seen::Arp(message)),
            _ => Err(wrong("ARP", "a message about IPv4 over Ethernet", "something else", bytes)),
        },
        _ if group => Ok(Seen::Stray),
        IPV6 => Ok(Seen::Stray),
        _ if mac.is_some_and(|mac| mac.0 != header.destination) => {
            Err(mac.map_or_else(|| wrong("link", "", "", bytes), |mac| not_for(mac, bytes)))
        }
        ethernet::IPV4 => Err(wrong("length without FCS", format!("{HEAD} or more"), bytes.len(), bytes)),
        other => Err(wrong("EtherType", "0x0800 (IPv4)", format!("{other:#06x}"), bytes)),
    }
}

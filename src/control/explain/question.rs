//! Which packet a request asks about.
//!
//! What it does not say is taken from what such packets usually are: a TCP packet opens a connection, an ICMP message is an
//! echo request, and it comes in where the route to its source leads.

use crate::config::units;
use crate::control::filter::{BadParameter, a_protocol, digits};
use crate::control::query::Query;
use crate::control::reload::survey::kind_of;
use crate::control::running::Running;
use crate::ids::InterfaceId;
use crate::packet::{Fragment, Kind, Tuple};
use crate::pipeline::plan::{Envelope, Header};
use crate::wire::{icmp, ipv4, protocol, tcp};
use std::net::Ipv4Addr;

/// The parameters of a request.
pub const PARAMETERS: [&str; 13] = [
    "interface",
    "zone",
    "proto",
    "src",
    "sport",
    "dst",
    "dport",
    "id",
    "reply",
    "flags",
    "size",
    "ttl",
    "df",
];

/// The flags of TCP by name.
const FLAGS: [(&str, u8); 6] = [
    ("syn", tcp::SYN),
    ("ack", tcp::ACK),
    ("fin", tcp::FIN),
    ("rst", tcp::RST),
    ("psh", tcp::PSH),
    ("urg", tcp::URG),
];
/// Identifier of an ICMP query, and port, if the request names none.
const SOME_ID: u16 = 1;
/// Length of a packet if the request says nothing, in bytes: small enough for every link.
const SIZE: u16 = 60;
/// Time to live if the request says nothing.
const TTL: u8 = 64;

/// A packet that somebody asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its headers, and where it comes in.
    pub header: Header,
    /// Whether the request named the interface.
    pub interface_given: bool,
    /// What can stop it on its way out.
    pub envelope: Envelope,
}

impl Question {
    /// Reads a request.
    ///
    /// # Errors
    /// The first parameter that is missing, or that does not fit the others or the configuration.
    pub fn read(running: &Running, query: &Query) -> Result<Question, BadParameter> {
        let number = query.get("proto", a_protocol)?.ok_or_else(|| missing("proto", "tcp"))?;
        let address = |text: &str| units::address(text).map_err(|error| format!("{error}: {}", error.cure()));
        let src = query.get("src", address)?.ok_or_else(|| missing("src", "192.168.1.10"))?;
        let dst = query.get("dst", address)?.ok_or_else(|| missing("dst", "203.0.113.9"))?;
        let kind = kind(query, number)?;
        let (sport, dport) = ports(query, number, kind)?;
        let (interface, interface_given) = arrival(running, query, src)?;
        let size = query.get("size", |text| {
            let length = digits(text).filter(|size| usize::from(*size) >= ipv4::HEADER_LEN);
            length.ok_or_else(|| {
                format!("{text:?} is not the length of an IPv4 packet: write 20 to 65535 bytes")
            })
        })?;
        let ttl = query.get("ttl", |text| {
            digits(text).ok_or_else(|| format!("{text:?} is not a time to live: write 0 to 255"))
        })?;
        let envelope = Envelope {
            ttl: ttl.unwrap_or(TTL),
            total_len: size.unwrap_or(SIZE),
            dont_fragment: query.get("df", yes_or_no)?.unwrap_or(false),
        };
        let tuple = Tuple { src, dst, sport, dport, protocol: number };
        let header = Header { interface, tuple, kind, fragment: Fragment::Whole };
        Ok(Question { header, interface_given, envelope })
    }
}

/// What a packet is in its protocol, in words.
pub fn kind_name(kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Tcp { flags } => {
            let set = FLAGS.iter().filter(|(_, bit)| flags & bit != 0);
            set.map(|(name, _)| *name).collect::<Vec<_>>().join(",")
        }
        Kind::IcmpRequest => "request".to_owned(),
        Kind::IcmpReply => "reply".to_owned(),
        Kind::Sctp => "INIT".to_owned(),
        Kind::Dccp => "Request".to_owned(),
        _ => return None,
    })
}

fn missing(name: &str, example: &str) -> BadParameter {
    BadParameter::new(name, format!("it is missing: say for instance {name}={example}"))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn kind(query: &Query, number: u8) -> Result<Kind, BadParameter> {
    let flags = query.get("flags", flags)?;
    let reply = query.get("reply", yes_or_no)?;
    if flags.is_some() && number != protocol::TCP {
        return Err(BadParameter::new("flags", "only TCP has flags: leave it out, or ask with proto=tcp"));
    }
    if reply.is_some() && number != protocol::ICMP {
        let cure = "only ICMP tells replies from requests: to ask for an answer swap src and dst";
        return Err(BadParameter::new("reply", cure));
    }
    Ok(match (number, flags, reply) {
        (_, Some(flags), _) => Kind::Tcp { flags },
        (_, _, Some(true)) => Kind::IcmpReply,
        _ => kind_of(number),
    })
}

/// Flags by name, with commas or the like between them.
fn flags(text: &str) -> Result<u8, String> {
    let names = text.split([',', '+', '-', '/']).map(|name| name.trim().to_ascii_lowercase());
    let bits: Option<Vec<u8>> =
        names.map(|name| FLAGS.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit)).collect();
    let all = FLAGS.map(|(name, _)| name).join(", ");
    let bits =
        bits.ok_or_else(|| format!("{text:?} are no flags of TCP: write some of {all} with commas"))?;
    Ok(bits.into_iter().fold(0, |all, bit| all | bit))
}

/// What stands for the ports in the tuple.
fn ports(query: &Query, number: u8, kind: Kind) -> Result<(u16, u16), BadParameter> {
    let port = |text: &str| {
        let port = digits(text).filter(|port| *port > 0);
        port.ok_or_else(|| format!("{text:?} is not a port: write 1 to 65535"))
    };
    let (sport, dport) = (query.get("sport", port)?, query.get("dport", port)?);
    let id = query.get("id", |text| {
        digits(text).ok_or_else(|| format!("{text:?} is not an identifier: write 0 to 65535"))
    })?;
    let has_ports = protocol::has_ports(number);
    for (name, given) in [("sport", sport.is_some()), ("dport", dport.is_some())] {
        if given != has_ports {
            return Err(match given {
                true => BadParameter::new(name, "this protocol has no ports: leave it out"),
                false => missing(name, if name == "sport" { "40000" } else { "443" }),
            });
        }
    }
    if id.is_some() && number != protocol::ICMP {
        return Err(BadParameter::new("id", "only ICMP has an identifier: leave it out"));
    }
    let (id, echo) = (id.unwrap_or(SOME_ID), u16::from(icmp::ECHO_REQUEST));
    Ok(match kind {
        Kind::IcmpRequest => (id, echo),
        Kind::IcmpReply => (echo, id),
        _ => (sport.unwrap_or(0), dport.unwrap_or(0)),
    })
}

/// The interface that the packet comes in by: the one that is named, or where the route to its source leads.
fn arrival(running: &Running, query: &Query, src: Ipv4Addr) -> Result<(InterfaceId, bool), BadParameter> {
    let snap = &*running.snapshot;
    let zones = running.config.zones();
    let zone = query.get("zone", |text| {
        let zone = digits(text).filter(|zone: &u16| zones.contains(zone));
        let all: Vec<_> = zones.iter().map(u16::to_string).collect();
        zone.ok_or_else(|| format!("{text:?} is not a zone of the config: there is {}", all.join(", ")))
    })?;
    let named = query.get("interface", |text| {
        let at = (0u8..).zip(&snap.interfaces).find(|(_, interface)| interface.name == text);
        let all: Vec<_> = snap.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        at.map(|(id, _)| InterfaceId(id))
            .ok_or_else(|| format!("{text:?} is not an interface of the config: there is {}", all.join(", ")))
    })?;
    if let Some(id) = named {
        let here = snap.interface(id).zone;
        return match zone.filter(|zone| *zone != here) {
            Some(zone) => {
                let name = &snap.interface(id).name;
                let problem =
                    format!("{zone} is not the zone of {name}, which is {here}: leave one of them out");
                Err(BadParameter::new("zone", problem))
            }
            None => Ok((id, true)),
        };
    }
    let back = |zone: u16| snap.route_in(zone, src).map(|hop| hop.interface);
    if let Some(zone) = zone {
        let found = back(zone).ok_or_else(|| {
            BadParameter::new(
                "interface",
                format!("no route leads to {src} in zone {zone}: name the interface"),
            )
        })?;
        return Ok((found, false));
    }
    let mut found: Vec<InterfaceId> = zones.iter().filter_map(|zone| back(*zone)).collect();
    found.sort_unstable();
    found.dedup();
    match found[..] {
        [one] => Ok((one, false)),
        [] => Err(BadParameter::new("interface", format!("no route leads to {src}: name the interface"))),
        _ => {
            let names: Vec<_> = found.iter().map(|id| snap.interface(*id).name.as_str()).collect();
            let problem = format!("{src} may be behind {}: name one, or the zone", names.join(" or "));
            Err(BadParameter::new("interface", problem))
        }
    }
}

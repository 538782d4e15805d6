//! Which packet a request asks about.
//!
//! What it does not say is taken from what such packets usually are: a TCP packet opens a connection, an ICMP message is an
//! echo request, and it comes in where the route to its source leads.

use crate::config::units;
use crate::control::filter::{BadParameter, a_protocol, digits};
use crate::control::query::Query;
use crate::control::running::Running;
use crate::ids::InterfaceId;
use crate::packet::{Kind, Tuple};
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

/// What a request says, each value by itself.
#[derive(Debug)]
struct Given {
    interface: Option<InterfaceId>,
    zone: Option<u16>,
    protocol: Option<u8>,
    src: Option<Ipv4Addr>,
    dst: Option<Ipv4Addr>,
    sport: Option<u16>,
    dport: Option<u16>,
    id: Option<u16>,
    reply: Option<bool>,
    flags: Option<u8>,
    size: Option<u16>,
    ttl: Option<u8>,
    df: Option<bool>,
}

impl Given {
    fn read(running: &Running, query: &Query) -> Result<Given, BadParameter> {
        let address = |text: &str| units::address(text).map_err(|error| format!("{error}: {}", error.cure()));
        let port = |text: &str| {
            let port = digits(text).filter(|port| *port > 0);
            port.ok_or_else(|| format!("{text:?} is not a port: write 1 to 65535"))
        };
        Ok(Given {
            interface: query.get("interface", |text| interface(running, text))?,
            zone: query.get("zone", |text| zone(running, text))?,
            protocol: query.get("proto", a_protocol)?,
            src: query.get("src", address)?,
            dst: query.get("dst", address)?,
            sport: query.get("sport", port)?,
            dport: query.get("dport", port)?,
            id: query.get("id", |text| {
                digits(text).ok_or_else(|| format!("{text:?} is not an identifier: write 0 to 65535"))
            })?,
            reply: query.get("reply", yes_or_no)?,
            flags: query.get("flags", flags)?,
            size: query.get("size", |text| {
                let length = digits(text).filter(|size| usize::from(*size) >= ipv4::HEADER_LEN);
                length.ok_or_else(|| {
                    format!("{text:?} is not the length of an IPv4 packet: write 20 to 65535 bytes")
                })
            })?,
            ttl: query.get("ttl", |text| {
                digits(text).ok_or_else(|| format!("{text:?} is not a time to live: write 0 to 255"))
            })?,
            df: query.get("df", yes_or_no)?,
        })
    }

    fn kind(&self, number: u8) -> Result<Kind, BadParameter> {
        if self.flags.is_some() && number != protocol::TCP {
            return Err(BadParameter::new(
                "flags",
                "only TCP has flags: leave it out, or ask with proto=tcp",
            ));
        }
        if self.reply.is_some() && number != protocol::ICMP {
            let cure = "only ICMP tells replies from requests: to ask for an answer swap src and dst";
            return Err(BadParameter::new("reply", cure));
        }
        Ok(match (self.flags, self.reply) {
            (Some(flags), _) => Kind::Tcp { flags },
            (_, Some(true)) => Kind::IcmpReply,
            _ => Kind::opening(number),
        })
    }

    /// What stands for the ports in the tuple.
    fn ports(&self, number: u8, kind: Kind) -> Result<(u16, u16), BadParameter> {
        let has_ports = protocol::has_ports(number);
        for (name, given, example) in [("sport", self.sport, "40000"), ("dport", self.dport, "443")] {
            match given {
                Some(_) if !has_ports => {
                    return Err(BadParameter::new(name, "this protocol has no ports: leave it out"));
                }
                None if has_ports => return Err(missing(name, example)),
                _ => {}
            }
        }
        if self.id.is_some() && number != protocol::ICMP {
            return Err(BadParameter::new("id", "only ICMP has an identifier: leave it out"));
        }
        let (id, echo) = (self.id.unwrap_or(SOME_ID), u16::from(icmp::ECHO_REQUEST));
        Ok(match kind {
            Kind::IcmpRequest => (id, echo),
            Kind::IcmpReply => (echo, id),
            _ => (self.sport.unwrap_or(0), self.dport.unwrap_or(0)),
        })
    }

    /// The interface that the packet comes in by: the one that is named, or where the route to its source leads.
    fn arrival(&self, running: &Running, src: Ipv4Addr) -> Result<InterfaceId, BadParameter> {
        let snap = &*running.snapshot;
        if let Some(id) = self.interface {
            let here = snap.interface(id);
            return match self.zone.filter(|zone| *zone != here.zone) {
                Some(zone) => {
                    let (name, own) = (&here.name, here.zone);
                    let problem = format!("{zone} is not the zone of {name}, which is {own}: leave one out");
                    Err(BadParameter::new("zone", problem))
                }
                None => Ok(id),
            };
        }
        let zones = self.zone.map_or_else(|| running.config.zones(), |zone| vec![zone]);
        let back = |zone: &u16| snap.route_in(*zone, src).map(|hop| hop.interface);
        let mut found: Vec<InterfaceId> = zones.iter().filter_map(back).collect();
        found.sort_unstable();
        found.dedup();
        match found[..] {
            [one] => Ok(one),
            [] => Err(BadParameter::new("interface", format!("no route leads to {src}: name the interface"))),
            _ => {
                let names: Vec<_> = found.iter().map(|id| snap.interface(*id).name.as_str()).collect();
                let problem = format!("{src} may be behind {}: name one, or the zone", names.join(" or "));
                Err(BadParameter::new("interface", problem))
            }
        }
    }
}

impl Question {
    /// Reads a request.
    ///
    /// # Errors
    /// The first parameter that is wrong, missing, or does not fit the others or the configuration.
    pub fn read(running: &Running, query: &Query) -> Result<Question, BadParameter> {
        let given = Given::read(running, query)?;
        let number = given.protocol.ok_or_else(|| missing("proto", "tcp"))?;
        let src = given.src.ok_or_else(|| missing("src", "192.168.1.10"))?;
        let dst = given.dst.ok_or_else(|| missing("dst", "203.0.113.9"))?;
        let kind = given.kind(number)?;
        let (sport, dport) = given.ports(number, kind)?;
        let interface = given.arrival(running, src)?;
        let envelope = Envelope {
            ttl: given.ttl.unwrap_or(TTL),
            total_len: given.size.unwrap_or(SIZE),
            dont_fragment: given.df.unwrap_or(false),
        };
        let tuple = Tuple { src, dst, sport, dport, protocol: number };
        let header = Header::whole(interface, tuple, kind);
        Ok(Question { header, interface_given: given.interface.is_some(), envelope })
    }
}

/// What a packet is in its protocol, in words.
pub fn kind_name(kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Tcp { flags } => {
            let set = tcp::FLAGS.iter().filter(|(_, bit)| flags & bit != 0);
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

/// Flags by name, with commas or the like between them.
fn flags(text: &str) -> Result<u8, String> {
    let names = text.split([',', '+', '-', '/']).map(|name| name.trim().to_ascii_lowercase());
    let bits: Option<Vec<u8>> =
        names.map(|name| tcp::FLAGS.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit)).collect();
    let all = tcp::FLAGS.map(|(name, _)| name).join(", ");
    let bits =
        bits.ok_or_else(|| format!("{text:?} are no flags of TCP: write some of {all} with commas"))?;
    Ok(bits.into_iter().fold(0, |all, bit| all | bit))
}

fn zone(running: &Running, text: &str) -> Result<u16, String> {
    let zones = running.config.zones();
    let all: Vec<_> = zones.iter().map(u16::to_string).collect();
    let zone = digits(text).filter(|zone: &u16| zones.contains(zone));
    zone.ok_or_else(|| format!("{text:?} is not a zone of the config: there is {}", all.join(", ")))
}

fn interface(running: &Running, text: &str) -> Result<InterfaceId, String> {
    let interfaces = &running.snapshot.interfaces;
    let at = (0u8..).zip(interfaces).find(|(_, interface)| interface.name == text);
    let all: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    at.map(|(id, _)| InterfaceId(id))
        .ok_or_else(|| format!("{text:?} is not an interface of the config: there is {}", all.join(", ")))
}

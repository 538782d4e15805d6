//! Which sessions are meant: one language for lists, counts, `top` and deletion.
//!
//! [`PARAMETERS`] is the one list of what can be said. A query parameter of the control socket and a flag of the command
//! line have the same name, value and meaning (`dport=443`, `--dport 443`); most are those of `conntrack -L`. A session
//! has to agree with every parameter that is given. A filter is parsed once and then compared with one session
//! snapshot after the other; it holds no reference and does not change.
//!
//! Addresses and ports are those of packets as they arrive at the gateway: `src` is the host that opened the session,
//! `reply-dst` the address under which it appears on the other side.

use crate::config::units;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::conntrack::tracker::State;
use crate::packet::Tuple;
use crate::time::{Tick, ticks};
use crate::wire::protocol;
use ipnet::Ipv4Net;
use std::ops::RangeInclusive;

/// A value that a parameter does not take. Names the parameter, the value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}`: {problem}")]
pub struct BadParameter {
    /// The parameter.
    pub name: String,
    /// What is wrong with its value, and what is allowed.
    pub problem: String,
}

impl BadParameter {
    /// A parameter with what is wrong about it.
    pub fn new(name: &str, problem: impl Into<String>) -> Self {
        BadParameter { name: name.to_owned(), problem: problem.into() }
    }
}

/// One thing that can be said about sessions.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name: of the query parameter, and with `--` of the flag.
    pub name: &'static str,
    /// What its value looks like.
    pub value: &'static str,
    /// Which sessions it means.
    pub help: &'static str,
    set: fn(&mut Filter, &str) -> Result<(), String>,
}

impl Parameter {
    /// Whether it is a yes-or-no question: its value may be left out and is `true` then.
    pub fn is_flag(&self) -> bool {
        self.value == FLAG
    }

    /// Checks a value without using it, for the command line, which sends it on as it is.
    ///
    /// # Errors
    /// What is wrong with the value and what is allowed.
    pub fn check(&self, value: &str) -> Result<(), String> {
        (self.set)(&mut Filter::default(), value)
    }
}

const FLAG: &str = "true|false";

/// Every parameter, in the order in which help texts list them.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "proto",
        value: "NAME|NUMBER",
        help: "Protocol: tcp, udp, icmp, sctp, dccp, gre or a number; several with commas",
        set: |filter, text| list(text, a_protocol).map(|list| filter.protocols = list),
    },
    Parameter {
        name: "state",
        value: "STATE",
        help: "State, such as ESTABLISHED or SYN_SENT; several with commas",
        set: |filter, text| list(text, states).map(|list| filter.states = list.concat()),
    },
    Parameter {
        name: "src",
        value: "PREFIX",
        help: "Source of the first packet: an address or a prefix",
        set: |filter, text| prefix(text).map(|net| filter.original.src = Some(net)),
    },
    Parameter {
        name: "dst",
        value: "PREFIX",
        help: "Destination of the first packet, before translation",
        set: |filter, text| prefix(text).map(|net| filter.original.dst = Some(net)),
    },
    Parameter {
        name: "sport",
        value: "N[-M]",
        help: "Source port of the first packet",
        set: |filter, text| ports(text).map(|ports| filter.original.sport = Some(ports)),
    },
    Parameter {
        name: "dport",
        value: "N[-M]",
        help: "Destination port of the first packet",
        set: |filter, text| ports(text).map(|ports| filter.original.dport = Some(ports)),
    },
    Parameter {
        name: "reply-src",
        value: "PREFIX",
        help: "Source of the answers: the server that really serves",
        set: |filter, text| prefix(text).map(|net| filter.reply.src = Some(net)),
    },
    Parameter {
        name: "reply-dst",
        value: "PREFIX",
        help: "Destination of the answers: the external address in use",
        set: |filter, text| prefix(text).map(|net| filter.reply.dst = Some(net)),
    },
    Parameter {
        name: "reply-sport",
        value: "N[-M]",
        help: "Source port of the answers",
        set: |filter, text| ports(text).map(|ports| filter.reply.sport = Some(ports)),
    },
    Parameter {
        name: "reply-dport",
        value: "N[-M]",
        help: "Destination port of the answers: the external port in use",
        set: |filter, text| ports(text).map(|ports| filter.reply.dport = Some(ports)),
    },
    Parameter {
        name: "zone",
        value: "N",
        help: "Zone of the interface that the session was opened by",
        set: |filter, text| number(text, "a zone from 0 to 65535").map(|zone| filter.zone = Some(zone)),
    },
    Parameter {
        name: "mark",
        value: "N[/MASK]",
        help: "Mark, of which the bits of MASK count; decimal or 0x…",
        set: |filter, text| mark(text).map(|mark| filter.mark = Some(mark)),
    },
    Parameter {
        name: "unreplied",
        value: FLAG,
        help: "Without a packet of the answering side",
        set: |filter, text| yes_or_no(text).map(|yes| filter.unreplied = Some(yes)),
    },
    Parameter {
        name: "assured",
        value: FLAG,
        help: "Proved to be a real conversation",
        set: |filter, text| yes_or_no(text).map(|yes| filter.assured = Some(yes)),
    },
    Parameter {
        name: "worker",
        value: "N",
        help: "Owned by this worker",
        set: |filter, text| number(text, "a worker's number").map(|worker| filter.worker = Some(worker)),
    },
    Parameter {
        name: "older-than",
        value: "TIME",
        help: "Opened longer ago than this, such as 5m",
        set: |filter, text| length(text).map(|ticks| filter.older_than = Some(ticks)),
    },
    Parameter {
        name: "idle-longer-than",
        value: "TIME",
        help: "Without a packet for longer than this, such as 1m",
        set: |filter, text| length(text).map(|ticks| filter.idle_longer_than = Some(ticks)),
    },
    Parameter {
        name: "min-bytes",
        value: "SIZE",
        help: "At least so many bytes, both ways together, such as 1MiB",
        set: |filter, text| bytes(text).map(|bytes| filter.min_bytes = Some(bytes)),
    },
];

/// Which sessions are meant; by default all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these; empty: every one.
    protocols: Vec<u8>,
    /// Any of these; empty: every one.
    states: Vec<State>,
    original: Ends,
    reply: Ends,
    zone: Option<u16>,
    /// Bits, and which of them count.
    mark: Option<(u32, u32)>,
    unreplied: Option<bool>,
    assured: Option<bool>,
    worker: Option<usize>,
    older_than: Option<u32>,
    idle_longer_than: Option<u32>,
    min_bytes: Option<u64>,
}

/// Addresses and ports of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ends {
    src: Option<Ipv4Net>,
    dst: Option<Ipv4Net>,
    sport: Option<RangeInclusive<u16>>,
    dport: Option<RangeInclusive<u16>>,
}

impl Ends {
    fn match_tuple(&self, tuple: &Tuple) -> bool {
        let holds = |net: &Option<Ipv4Net>, address| net.as_ref().is_none_or(|net| net.contains(address));
        let in_range = |range: &Option<RangeInclusive<u16>>, port| {
            range.as_ref().is_none_or(|range| protocol::has_ports(tuple.protocol) && range.contains(port))
        };
        holds(&self.src, &tuple.src)
            && holds(&self.dst, &tuple.dst)
            && in_range(&self.sport, &tuple.sport)
            && in_range(&self.dport, &tuple.dport)
    }
}

impl Filter {
    /// Sets one parameter. A second value for the same one replaces the first.
    ///
    /// # Errors
    /// There is no parameter of that name, or it does not take that value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadParameter> {
        let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == name) else {
            let names: Vec<_> = PARAMETERS.iter().map(|parameter| parameter.name).collect();
            let problem = format!("there is no such parameter: choose from {}", names.join(", "));
            return Err(BadParameter::new(name, problem));
        };
        let value = if parameter.is_flag() && value.is_empty() { "true" } else { value };
        (parameter.set)(self, value).map_err(|problem| BadParameter::new(name, problem))
    }

    /// Whether every session agrees.
    pub fn means_all(&self) -> bool {
        *self == Filter::default()
    }

    /// The only worker whose sessions can agree, if there is one.
    pub fn worker(&self) -> Option<usize> {
        self.worker
    }

    /// Whether a session of this worker agrees with everything that was said.
    pub fn matches(&self, session: &SessionSnapshot<V4Key>, worker: usize, now: Tick) -> bool {
        let one_of = self.protocols.is_empty() || self.protocols.contains(&session.protocol);
        one_of
            && (self.states.is_empty() || self.states.contains(&session.state))
            && self.unreplied.is_none_or(|unreplied| unreplied != session.seen_reply)
            && self.assured.is_none_or(|assured| assured == session.assured)
            && self.worker.is_none_or(|only| only == worker)
            && self.original.match_tuple(&session.original.tuple())
            && self.reply.match_tuple(&session.reply.tuple())
            && self.zone.is_none_or(|zone| zone == session.original.zone())
            && self.mark.is_none_or(|(mark, mask)| session.mark & mask == mark & mask)
            && self.older_than.is_none_or(|age| now.since(session.created) > age)
            && self.idle_longer_than.is_none_or(|idle| now.since(session.last_seen) > idle)
            && self.min_bytes.is_none_or(|least| session.bytes.iter().sum::<u64>() >= least)
    }
}

fn list<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(|part| parse(part.trim())).collect()
}

pub(super) fn a_protocol(text: &str) -> Result<u8, String> {
    let name = text.to_ascii_lowercase();
    let known = (0..=u8::MAX).find(|number| protocol::name(*number) == Some(name.as_str()));
    // ESP is no name that `conntrack` prints.
    let esp = || (name == "esp").then_some(protocol::ESP);
    known.or_else(esp).or_else(|| digits(text)).ok_or_else(|| {
        format!("{text:?} is not a protocol: use tcp, udp, icmp, sctp, dccp, gre or a number from 0 to 255")
    })
}

/// The states of that name: different protocols may have one of the same name.
fn states(text: &str) -> Result<Vec<State>, String> {
    let real = || State::ALL.iter().copied().filter(|state| *state != State::None);
    let found: Vec<_> = real().filter(|state| state.name().eq_ignore_ascii_case(text)).collect();
    if found.is_empty() {
        let mut names: Vec<_> = real().map(State::name).collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(*name));
        return Err(format!("{text:?} is not a state: use {}", names.join(", ")));
    }
    Ok(found)
}

fn prefix(text: &str) -> Result<Ipv4Net, String> {
    units::prefix(text).map_err(|error| format!("{error}: {}", error.cure()))
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    units::ports(text).map_err(|error| format!("{error}: {}", error.cure()))
}

fn mark(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => digits(text),
    };
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    let mask = mask.map_or(Some(u32::MAX), number);
    number(mark).zip(mask).ok_or_else(|| {
        format!("{text:?} is not a mark: write a number of 32 bits such as 7 or 0x10, and a mask if need be: 0x10/0xf0")
    })
}

fn length(text: &str) -> Result<u32, String> {
    let length = units::duration(text).map_err(|error| format!("{error}: write it as in 90s, 5m or 2h4m"))?;
    Ok(ticks(length))
}

fn bytes(text: &str) -> Result<u64, String> {
    let size = text.parse::<bytesize::ByteSize>();
    size.map(|size| size.as_u64())
        .map_err(|_| format!("{text:?} is not a size: write bytes, or a unit as in 10kB or 1MiB"))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    digits(text).ok_or_else(|| format!("{text:?} is not {what}"))
}

/// A number without a sign, which `parse` would take.
pub(super) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;

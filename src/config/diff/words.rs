//! How the objects of a configuration are called in a difference: short, and as the config file writes them.

use crate::classify::notrack::Addresses;
use crate::classify::{Affinity, HealthCheck, ProbeKind};
use crate::config::model::{
    BackendConfig, Config, DnatRule, InterfaceConfig, MssClamp, RouteConfig, SnatRule, SourcePool, StaticRule,
};
use crate::conntrack::policy::TrackRule;
use crate::ids::{DeviceId, InterfaceId};
use crate::nat::behavior::{BlockRules, PerProtocol, Sharing};
use crate::nat::deterministic::Deterministic;
use crate::time::TICK;
use crate::wire::protocol;
use humantime::format_duration;
use ipnet::Ipv4Net;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Entries of a list that are written out.
const FEW: usize = 4;

/// A list, of which the first entries are written out.
pub(super) fn list<T: Display>(entries: &[T]) -> String {
    let shown: Vec<String> = entries.iter().take(FEW).map(T::to_string).collect();
    let more = match entries.len().saturating_sub(FEW) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if entries.is_empty() { "none".into() } else { shown.join(", ") + &more }
}

/// Whether [`list`] shows all of it.
pub(super) fn is_short<T>(entries: &[T]) -> bool {
    entries.len() <= FEW
}

/// Addresses as ranges, as far as they follow one another.
pub(super) fn ranges(addresses: &[Ipv4Addr]) -> Vec<String> {
    let mut ranges: Vec<(Ipv4Addr, Ipv4Addr)> = Vec::new();
    for address in addresses {
        match ranges.last_mut() {
            Some((_, last)) if u32::from(*last).checked_add(1) == Some(u32::from(*address)) => {
                *last = *address
            }
            _ => ranges.push((*address, *address)),
        }
    }
    let written = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    ranges.into_iter().map(written).collect()
}

pub(super) fn ports(ports: &RangeInclusive<u16>) -> String {
    match (ports.start(), ports.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

/// Every index in a checked configuration is valid, so the names are there.
pub(super) fn interface_name(config: &Config, id: InterfaceId) -> &str {
    config.interfaces.get(id.index()).map_or("?", |interface| interface.name.as_str())
}

pub(super) fn interface_names<'c>(config: &'c Config, ids: &[InterfaceId]) -> Vec<&'c str> {
    ids.iter().map(|id| interface_name(config, *id)).collect()
}

pub(super) fn device(config: &Config, id: DeviceId) -> String {
    config.devices.get(id.index()).map(|device| device.spec.to_string()).unwrap_or_default()
}

/// `None`: the address of the interface that a packet leaves by.
pub(super) fn pool_name(config: &Config, source: SourcePool) -> Option<&str> {
    match source {
        SourcePool::Interface => None,
        SourcePool::Pool(number) => config.pools.get(number).map(|pool| pool.name.as_str()),
    }
}

/// The name of a timeout set by its number in rules; `None`: the timeouts of the file.
pub(super) fn set_name(config: &Config, number: u8) -> Option<&str> {
    let set = usize::from(number).checked_sub(1)?;
    config.conntrack.timeout_sets.get(set).map(|set| set.name.as_str())
}

pub(super) fn source(config: &Config, source: SourcePool) -> String {
    pool_name(config, source).map_or_else(|| "interface".into(), |name| format!("pool.{name}"))
}

pub(super) fn interface(config: &Config, interface: &InterfaceConfig) -> String {
    let InterfaceConfig { name, device: id, vlan, realm, zone, addresses, mtu, .. } = interface;
    let device = device(config, *id);
    let vlan = if *vlan == 0 { String::new() } else { format!(" vlan {vlan}") };
    let zone = if *zone == 0 { String::new() } else { format!(" zone {zone}") };
    let (realm, addresses) = (realm.name(), list(addresses));
    format!("interface {name} on {device}{vlan}{zone}, {realm}, {addresses}, mtu {mtu}")
}

pub(super) fn mss_clamp(clamp: &MssClamp) -> String {
    match clamp {
        MssClamp::Off => "none".into(),
        MssClamp::Auto => "auto".into(),
        MssClamp::To(bytes) => bytes.to_string(),
    }
}

pub(super) fn route(config: &Config, route: &RouteConfig) -> String {
    let RouteConfig { to, via: _, interface } = route;
    format!("route {to}{}", zone_of(config, *interface))
}

fn zone_of(config: &Config, interface: InterfaceId) -> String {
    let zone = config.interfaces.get(interface.index()).map_or(0, |interface| interface.zone);
    if zone == 0 { String::new() } else { format!(" zone {zone}") }
}

/// What a rule matches, of words and their values.
pub(super) fn matched(parts: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    parts.into_iter().filter_map(|(word, value)| Some(format!(" {word} {}", value?))).collect()
}

pub(super) fn some_list<T: Display>(entries: &[T]) -> Option<String> {
    (!entries.is_empty()).then(|| list(entries))
}

/// What a rule matches.
pub(super) fn snat(config: &Config, rule: &SnatRule) -> String {
    let SnatRule { on, zone, from, from_ports, to, ports, protocols: of, out, source: _, mss_clamp: _ } =
        rule;
    let parts = [
        ("on", some_list(&interface_names(config, on))),
        ("zone", zone.map(|zone| zone.to_string())),
        ("from", some_list(&members(config, from))),
        ("from_port", some_list(&port_list(from_ports))),
        ("to", some_list(&members(config, to))),
        ("port", some_list(&port_list(ports))),
        ("protocol", some_list(&protocols(of))),
        ("out", out.map(|id| interface_name(config, id).to_owned())),
    ];
    format!("snat{}", matched(parts))
}

/// Addresses as the config file names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Member<'c> {
    Net(Ipv4Net),
    Set(&'c str),
}

impl Display for Member<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Member::Net(net) => net.fmt(f),
            Member::Set(name) => write!(f, "set.{name}"),
        }
    }
}

pub(super) fn members<'c>(config: &'c Config, Addresses { nets, sets }: &Addresses) -> Vec<Member<'c>> {
    let sets = sets.iter().filter_map(|number| config.sets.get(*number));
    nets.iter().copied().map(Member::Net).chain(sets.map(|set| Member::Set(&set.name))).collect()
}

pub(super) fn port_list(list: &[RangeInclusive<u16>]) -> Vec<String> {
    list.iter().map(ports).collect()
}

pub(super) fn protocols(numbers: &[u8]) -> Vec<String> {
    numbers.iter().map(|number| protocol_name(*number)).collect()
}

/// What a network is inside.
pub(super) fn fixed(config: &Config, rule: &StaticRule) -> String {
    let StaticRule { internal, zone, out, external: _, inbound: _ } = rule;
    let zone = (*zone != 0).then(|| zone.to_string());
    let out = out.map(|id| interface_name(config, id).to_owned());
    format!("static {internal}{}", matched([("zone", zone), ("on", out)]))
}

/// What clients use.
pub(super) fn dnat(rule: &DnatRule) -> String {
    let protocol = protocol_name(rule.protocol);
    format!("dnat {protocol} {}:{}", rule.address, ports(&rule.ports))
}

/// Where they get to.
pub(super) fn backend(config: &Config, rule: &DnatRule) -> String {
    let DnatRule {
        backends,
        affinity,
        affinity_timeout,
        health,
        zone,
        source: full_nat,
        syn_proxy,
        drain,
        ports,
        ..
    } = rule;
    let more = u32::from(*ports.end()).saturating_sub(u32::from(*ports.start()));
    let written = |BackendConfig { address, port, weight, drain }: &BackendConfig| {
        let mut text = format!("{address}:{port}");
        if more > 0 {
            text += &format!("-{}", u32::from(*port) + more);
        }
        if *weight != 1 {
            text += &format!(" weight {weight}");
        }
        if *drain { text + " drain" } else { text }
    };
    let mut text = backends.iter().map(written).collect::<Vec<_>>().join(", ");
    if *affinity == Affinity::Source {
        text += " affinity source";
    }
    if let Some(timeout) = affinity_timeout {
        text += &format!(" affinity_timeout {}", format_duration(*timeout));
    }
    if let Some(check) = health {
        text += &format!(" health {}", health_check(check));
    }
    if *zone != 0 {
        text += &format!(" zone {zone}");
    }
    if let Some(full_nat) = full_nat {
        text += &format!(" source {}", source(config, *full_nat));
    }
    if *syn_proxy {
        text += " syn_proxy";
    }
    if *drain {
        text += " drain";
    }
    text
}

fn health_check(check: &HealthCheck) -> String {
    let HealthCheck { kind, interval, timeout, rise, fall } = *check;
    let kind = match kind {
        ProbeKind::Tcp(Some(port)) => format!("tcp:{port}"),
        ProbeKind::Tcp(None) => "tcp".to_owned(),
        ProbeKind::Icmp => "icmp".to_owned(),
    };
    let (interval, timeout) = (format_duration(interval), format_duration(timeout));
    format!("{kind} interval {interval} timeout {timeout} rise {rise} fall {fall}")
}

/// What a rule of conntrack matches.
pub(super) fn track(config: &Config, rule: &TrackRule) -> String {
    let TrackRule { on, from, to, protocol, ports: range, timeouts: _, mark: _ } = rule;
    let parts = [
        ("on", on.map(|id| interface_name(config, id).to_owned())),
        ("from", some_list(from)),
        ("to", some_list(to)),
        ("protocol", protocol.map(protocol_name)),
        ("port", range.as_ref().map(ports)),
    ];
    format!("conntrack.rule{}", matched(parts))
}

/// What it gives a session.
pub(super) fn treatment(config: &Config, rule: &TrackRule) -> String {
    format!("timeouts {}, mark {}", set_name(config, rule.timeouts).unwrap_or("default"), rule.mark)
}

pub(super) fn protocol_name(number: u8) -> String {
    protocol::name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// How the config file writes a value that it has a word for.
pub(super) fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> String {
    words.iter().find(|(_, known)| known == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

/// A setting for TCP, UDP and the others.
pub(super) fn per_protocol<T: AsRef<str> + PartialEq>(values: &PerProtocol<T>) -> String {
    let [tcp, udp, icmp] = values;
    if tcp == udp && udp == icmp {
        return tcp.as_ref().to_owned();
    }
    format!("tcp {}, udp {}, icmp {}", tcp.as_ref(), udp.as_ref(), icmp.as_ref())
}

pub(super) fn sharing(sharing: &Sharing) -> String {
    match sharing {
        Sharing::Ports => "one at a time".into(),
        Sharing::Fixed => "by arithmetic".into(),
        Sharing::Blocks(BlockRules { size, per_subscriber, idle }) => {
            let idle = TICK.saturating_mul(*idle).as_secs_f32();
            format!("{per_subscriber} blocks of {size}, idle {idle}s")
        }
    }
}

pub(super) fn deterministic(fixed: &Option<Deterministic>) -> String {
    fixed.as_ref().map_or("none".into(), |fixed| {
        let nets = list(fixed.nets());
        format!(
            "{nets} of zone {}, {} ports each, {} hosts an address",
            fixed.zone(),
            fixed.size(),
            fixed.per_address()
        )
    })
}

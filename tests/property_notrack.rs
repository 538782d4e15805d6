//! What becomes of packets of notrack classes, against a model that reads the classes as an operator does: one packet, one
//! class after the other, both directions of each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first surprise")]

use ipnet::Ipv4Net;
use natgate::config;
use natgate::config::compile::compile;
use natgate::ids::InterfaceId;
use natgate::packet::{Kind, Tuple};
use natgate::pipeline::Snapshot;
use natgate::pipeline::plan::{Envelope, Header};
use natgate::pipeline::stateless::{classify, judge};
use natgate::telemetry::DropReason;
use natgate::wire::{protocol, tcp};
use proptest::prelude::*;
use std::net::Ipv4Addr;

const INTERFACES: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
[interface.guests]
device = "vdev:mem1"
realm = "internal"
address = "192.168.2.1/24"
[interface.wan]
device = "vdev:mem2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
"#;
const NAMES: [&str; 3] = ["lan", "guests", "wan"];
const WAN: usize = 2;

/// The side that an address is on.
fn side(address: Ipv4Addr) -> usize {
    match address.octets() {
        [192, 168, 1, _] => 0,
        [192, 168, 2, _] => 1,
        _ => WAN,
    }
}

/// Addresses of which some are near to one another; none is the gateway's own.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    let net = prop::sample::select(vec![[192, 168, 1], [192, 168, 2], [198, 51, 100], [203, 0, 113]]);
    (net, 8u8..24).prop_map(|([a, b, c], d)| Ipv4Addr::new(a, b, c, d))
}

fn prefix(len: std::ops::RangeInclusive<u8>) -> impl Strategy<Value = Ipv4Net> {
    (address(), len).prop_map(|(address, len)| Ipv4Net::new(address, len).unwrap().trunc())
}

/// As in the config.
#[derive(Clone, Debug)]
struct Class {
    on: Option<usize>,
    from: Vec<Ipv4Net>,
    to: Ipv4Net,
    tcp: bool,
    port: (u16, u16),
    from_port: (u16, u16),
    translate_from: Option<Ipv4Net>,
    translate_to: Option<Ipv4Net>,
    symmetric: bool,
    peers: bool,
    allow_listed: bool,
    either: bool,
    drop: bool,
    untranslated: bool,
}

fn class() -> impl Strategy<Value = Class> {
    let prefixes = (
        prop::collection::vec(prefix(28..=32), 0..3),
        prefix(28..=32),
        prop::option::of(prefix(32..=32)),
        prop::option::of(prefix(32..=32)),
    );
    let ports = ((10u16..14), (0u16..3), (20u16..24), (0u16..3));
    let bits = prop::collection::vec(any::<bool>(), 7);
    (prop::option::of(0usize..3), prefixes, ports, bits).prop_map(
        |(on, (from, to, translate_from, translate_to), (low, more, flow, fmore), bits)| {
            let drop = bits[5] && bits[6];
            // The same length as what it replaces, and one prefix.
            let like = |given: Option<Ipv4Net>, whose: Option<&Ipv4Net>| {
                let len = whose.filter(|_| !drop)?.prefix_len();
                Some(Ipv4Net::new(given?.addr(), len).unwrap().trunc())
            };
            let only = (from.len() == 1).then(|| &from[0]);
            let peers = bits[1] && bits[0];
            Class {
                on,
                translate_from: like(translate_from, only),
                translate_to: like(translate_to, Some(&to)),
                allow_listed: bits[2] && !drop && !from.is_empty(),
                from,
                to,
                tcp: bits[4],
                port: (low, low + more),
                from_port: (flow, flow + fmore),
                symmetric: bits[0],
                peers,
                either: bits[3],
                drop,
                untranslated: bits[6],
            }
        },
    )
}

fn toml(classes: &[Class]) -> String {
    let mut text = INTERFACES.to_owned();
    for (number, class) in classes.iter().enumerate() {
        text += &format!("[[notrack]]\nname = \"c{number}\"\nto = \"{}\"\n", class.to);
        text += &format!("protocol = \"{}\"\n", if class.tcp { "tcp" } else { "udp" });
        text += &format!("port = \"{}-{}\"\n", class.port.0, class.port.1);
        text += &format!("from_port = \"{}-{}\"\n", class.from_port.0, class.from_port.1);
        text += &format!("symmetric = {}\npeers = {}\n", class.symmetric, class.peers);
        if let Some(on) = class.on {
            text += &format!("on = \"{}\"\n", NAMES[on]);
        }
        if !class.from.is_empty() {
            let list: Vec<_> = class.from.iter().map(|net| format!("\"{net}\"")).collect();
            text += &format!("from = [{}]\n", list.join(", "));
        }
        for (key, net) in [("translate_from", class.translate_from), ("translate_to", class.translate_to)] {
            if let Some(net) = net {
                text += &format!("{key} = \"{net}\"\n");
            }
        }
        if class.allow_listed {
            text += "policy = \"allow-listed\"\n";
        }
        if class.tcp && class.either {
            text += "opened_by = \"either\"\n";
        }
        if class.drop {
            text += "action = \"drop\"\n";
        }
        text += &format!("untranslated = {}\n", class.untranslated);
    }
    text
}

fn map(address: Ipv4Addr, from: Ipv4Net, to: Ipv4Net) -> Ipv4Addr {
    let host = address.to_bits() - from.network().to_bits();
    Ipv4Addr::from_bits(to.network().to_bits() + host)
}

/// What becomes of a packet.
#[derive(Debug, PartialEq)]
enum Fate {
    Tracked,
    Dropped(DropReason),
    Sent(Tuple, usize),
}

impl Class {
    /// Where the service is.
    fn service(&self) -> Ipv4Net {
        self.translate_to.unwrap_or(self.to)
    }

    /// What clients are for the service.
    fn seen(&self) -> Vec<Ipv4Net> {
        self.translate_from.map_or_else(|| self.from.clone(), |net| vec![net])
    }

    fn is_client(&self, nets: &[Ipv4Net], address: Ipv4Addr) -> bool {
        let _ = self;
        nets.is_empty() || nets.iter().any(|net| net.contains(&address))
    }

    fn clients_at(&self, interface: usize) -> bool {
        match self.on {
            Some(on) => on == interface,
            // Beside a translated service nobody is a client.
            None => self.translate_to.is_none() || side(self.service().addr()) != interface,
        }
    }

    fn is_own(&self, address: Ipv4Addr) -> bool {
        (self.translate_to.is_some() && self.to.contains(&address))
            || self.translate_from.is_some_and(|net| net.contains(&address))
    }
}

/// The verdict of the first class, as the documentation tells it.
fn model(classes: &[Class], arrival: usize, packet: Tuple, flags: u8) -> Fate {
    let is_in = |(low, high): (u16, u16), port: u16| (low..=high).contains(&port);
    for class in classes {
        if packet.protocol != if class.tcp { protocol::TCP } else { protocol::UDP } {
            continue;
        }
        let service = class.service();
        let service_at = side(service.addr());
        let there_side = class.clients_at(arrival) && class.to.contains(&packet.dst);
        let back_side = class.symmetric && arrival == service_at && service.contains(&packet.src);
        let back_ports =
            if class.peers { (packet.dport, packet.sport) } else { (packet.sport, packet.dport) };
        let there = there_side
            && class.is_client(&class.from, packet.src)
            && is_in(class.from_port, packet.sport)
            && is_in(class.port, packet.dport);
        let back = back_side
            && class.is_client(&class.seen(), packet.dst)
            && is_in(class.port, back_ports.0)
            && is_in(class.from_port, back_ports.1);
        // Hosts inside that are no clients speak to the service without the class.
        let to_service = there_side && is_in(class.port, packet.dport);
        let says_so = class.allow_listed && back_side && is_in(class.port, back_ports.0);
        let from_service = !there && (back || (says_so && !to_service));
        let goes_to = match class.translate_from {
            Some(net) if back => side(map(packet.dst, net, class.from[0])),
            _ => side(packet.dst),
        };
        if from_service && arrival != WAN && goes_to != WAN && !class.clients_at(goes_to) {
            return Fate::Tracked;
        }
        if there || back {
            return passed(classes, class, (arrival, service_at), packet, (there, flags));
        }
        if class.allow_listed && (to_service || (back_side && is_in(class.port, back_ports.0))) {
            return refused_first(classes, arrival, packet)
                .unwrap_or(Fate::Dropped(DropReason::NotrackNotListed));
        }
    }
    Fate::Tracked
}

/// What a false source is refused for.
fn refused_first(classes: &[Class], arrival: usize, packet: Tuple) -> Option<Fate> {
    if packet.src == packet.dst || classes.iter().any(|class| class.is_own(packet.src)) {
        return Some(Fate::Dropped(DropReason::MartianSource));
    }
    (side(packet.src) != arrival).then_some(Fate::Dropped(DropReason::SpoofedSource))
}

fn passed(
    classes: &[Class],
    class: &Class,
    (arrival, service_at): (usize, usize),
    packet: Tuple,
    (there, flags): (bool, u8),
) -> Fate {
    if let Some(refused) = refused_first(classes, arrival, packet) {
        return refused;
    }
    if class.drop {
        return Fate::Dropped(DropReason::NotrackDropped);
    }
    if !there && class.tcp && !class.either && flags & (tcp::SYN | tcp::ACK) == tcp::SYN {
        return Fate::Dropped(DropReason::NotrackOpening);
    }
    let mut to = packet;
    if there {
        to.src = class.translate_from.map_or(to.src, |net| map(to.src, class.from[0], net));
        to.dst = class.translate_to.map_or(to.dst, |net| map(to.dst, class.to, net));
    } else {
        to.src = class.translate_to.map_or(to.src, |net| map(to.src, net, class.to));
        to.dst = class.translate_from.map_or(to.dst, |net| map(to.dst, net, class.from[0]));
    }
    // The network's own address, to which a translation may lead.
    if let [192, 168, 1 | 2, 0] | [203, 0, 113, 0] = to.dst.octets() {
        return Fate::Dropped(DropReason::MartianDestination);
    }
    let exit = side(to.dst);
    let leads_on = if there { exit == service_at } else { class.clients_at(exit) };
    let source_stays = if there { class.translate_from } else { class.translate_to }.is_none();
    if !leads_on {
        return Fate::Dropped(DropReason::NotrackWrongWay);
    }
    if arrival != WAN && exit == WAN && source_stays && !class.untranslated {
        return Fate::Dropped(DropReason::NotrackUntranslated);
    }
    Fate::Sent(to, exit)
}

fn natgate(snapshot: &Snapshot, arrival: usize, packet: Tuple, flags: u8) -> Fate {
    let kind = if packet.protocol == protocol::TCP { Kind::Tcp { flags } } else { Kind::Udp };
    let interface = InterfaceId(u8::try_from(arrival).unwrap());
    let header = Header::whole(interface, packet, kind);
    let Some(treatment) = classify(snapshot, &header) else { return Fate::Tracked };
    let envelope = Envelope { ttl: 64, total_len: 100, dont_fragment: false };
    let sent = judge(snapshot, &header, treatment).and_then(|passage| {
        let hop = passage.way_out(snapshot, &header, envelope)?;
        Ok(Fate::Sent(passage.to, hop.interface.index()))
    });
    sent.unwrap_or_else(|refusal| Fate::Dropped(refusal.reason))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn packets_of_classes_fare_as_an_operator_would_say(
        classes in prop::collection::vec(class(), 1..5),
        packets in prop::collection::vec(
            (0usize..3, address(), address(), 9u16..26, 9u16..26, any::<bool>(), 0usize..3),
            500,
        ),
    ) {
        let text = toml(&classes);
        let config = match config::parse(&text, "property.toml") {
            Ok(checked) => checked.config,
            // Some combinations are refused, rightly.
            Err(_) => return Ok(()),
        };
        let snapshot = compile(&config, &[], 7, 0);
        for (arrival, src, dst, sport, dport, is_tcp, flags) in packets {
            let protocol = if is_tcp { protocol::TCP } else { protocol::UDP };
            let packet = Tuple { src, dst, sport, dport, protocol };
            let flags = [tcp::SYN, tcp::SYN | tcp::ACK, tcp::ACK][flags];
            prop_assert_eq!(
                natgate(&snapshot, arrival, packet, flags),
                model(&classes, arrival, packet, flags),
                "{:?} on {}\n{}", packet, NAMES[arrival], text
            );
        }
    }
}

//! From the notrack classes of a [`Config`] to the entries and classifiers that workers read.
//!
//! A class names clients and a service. Where the service is follows from the routes: answers come in by the interfaces that
//! lead to it and by no others, and leave by those that clients come in by. A class that translates the service is not
//! for clients on the service's own side, whose answers would go past the gateway: they are left to the rules.

use super::address_sets::AddressSets;
use super::lineage::Heritage;
use super::model::Config;
use crate::classify::PrefixSet;
use crate::classify::notrack::{
    Addresses, Answers, Classifier, Entry, Existing, InterfaceMask, Match, Notrack, NotrackClass, OpenedBy,
    PeerPolicy, PrefixMap, Treatment, Verdict, Way,
};
use crate::ids::{InterfaceId, Realm};
use crate::pipeline::snapshot::Class;
use crate::route::ZonedRoutes;
use crate::telemetry::{DropReason, PerWorker};
use crate::wire::protocol;
use ipnet::Ipv4Net;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Compiles the classes.
pub(super) fn compile(config: &Config, routes: &ZonedRoutes) -> Notrack {
    let mut compiler = Compiler { config, routes, sets: AddressSets::default() };
    let mut packets: Vec<Entry> = Vec::new();
    let mut errors: Vec<Entry> = Vec::new();
    for (number, class) in (0u16..).zip(&config.notrack) {
        compiler.class(number, class, &mut packets, &mut errors);
    }
    let (matches, treatments): (Vec<_>, Vec<_>) = packets.into_iter().unzip();
    let (error_matches, error_treatments): (Vec<_>, Vec<_>) = errors.into_iter().unzip();
    let (packets, errors) = Classifier::pair(&matches, &error_matches, &compiler.sets.list);
    Notrack {
        packets,
        errors,
        matches: matches.into(),
        treatments: treatments.into(),
        error_treatments: error_treatments.into(),
        addresses: PrefixSet::new(config.notrack.iter().flat_map(public)),
    }
}

/// The addresses that a class has the gateway speak for.
fn public(class: &NotrackClass) -> impl Iterator<Item = Ipv4Net> {
    let service = class.translate_to.and_then(|_| class.to.nets.first().copied());
    service.into_iter().chain(class.translate_from)
}

/// Ports of an address that a class takes, so that no session is given them: the protocol and the ports.
pub(super) fn reserved(
    config: &Config,
    address: Ipv4Addr,
) -> impl Iterator<Item = (u8, RangeInclusive<u16>)> {
    const ANY: &[u8] =
        &[protocol::TCP, protocol::UDP, protocol::UDP_LITE, protocol::SCTP, protocol::DCCP, protocol::ICMP];
    let holding = config.notrack.iter().filter(move |class| {
        class.verdict == Verdict::Forward && public(class).any(|net| net.contains(&address))
    });
    holding.flat_map(|class| {
        let protocols = if class.protocols.is_empty() { ANY } else { &class.protocols };
        let all = 0..=u16::MAX;
        let ports = if class.ports.is_empty() { vec![all] } else { class.ports.clone() };
        protocols.iter().flat_map(move |number| ports.clone().into_iter().map(|range| (*number, range)))
    })
}

/// What is known of each class: what there was under its name goes on.
pub(super) fn classes(config: &Config, heritage: Option<Heritage<'_>>, workers: u8) -> Box<[Class]> {
    let before = |name: &str| {
        heritage.and_then(|heritage| heritage.snapshot.classes.iter().find(|class| class.name == name))
    };
    let before: HashMap<&str, &Class> =
        config.notrack.iter().filter_map(|class| Some((class.name.as_str(), before(&class.name)?))).collect();
    let is_as_before = heritage.is_some_and(|heritage| {
        let Config { interfaces, routes, sets, notrack, .. } = heritage.config;
        (interfaces, routes, sets, notrack)
            == (&config.interfaces, &config.routes, &config.sets, &config.notrack)
    });
    let class = |class: &NotrackClass| {
        let before = before.get(class.name.as_str());
        // Whatever changed may have given a class the packets of sessions.
        let settles = heritage.is_some() && class.existing == Existing::Keep;
        Class {
            name: class.name.clone(),
            counters: before
                .map_or_else(|| Arc::new(PerWorker::new(workers)), |before| before.counters.clone()),
            settling: match before {
                Some(before) if is_as_before => before.settling.clone(),
                _ => Arc::new(AtomicBool::new(settles)),
            },
        }
    };
    config.notrack.iter().map(class).collect()
}

/// One of the two sides of a class.
struct Side {
    /// Its addresses as the other side sees them, and as they are.
    seen: Option<usize>,
    real: Option<usize>,
    /// From what is seen to what is, and back.
    inward: Option<PrefixMap>,
    outward: Option<PrefixMap>,
    /// The interfaces that it is at.
    at: InterfaceMask,
    /// The zone whose routes lead to it.
    zone: Option<u16>,
    ports: Vec<RangeInclusive<u16>>,
}

struct Compiler<'c> {
    config: &'c Config,
    routes: &'c ZonedRoutes,
    sets: AddressSets,
}

impl Compiler<'_> {
    fn class(
        &mut self,
        number: u16,
        class: &NotrackClass,
        packets: &mut Vec<Entry>,
        errors: &mut Vec<Entry>,
    ) {
        let service = self.service(class);
        let clients = self.clients(class, &service);
        let treatment = |way: Way| Treatment {
            class: number,
            way,
            refuse: (class.verdict == Verdict::Drop).then_some(DropReason::NotrackDropped),
            refuse_opening: way == Way::Back && class.opened_by == OpenedBy::Clients,
            src: None,
            dst: None,
            zone: None,
            leave: InterfaceMask::ALL,
            untranslated: class.untranslated,
        };
        // As the service is addressed, clients' packets come from where they are.
        let there = entry(class, (&clients, &service), Way::There, treatment(Way::There));
        let mut own = vec![(Match { flags: class.flags, ..there.0 }, there.1)];
        match class.answers {
            Answers::Elsewhere => {}
            Answers::Mirrored => {
                own.push(entry(class, (&clients, &service), Way::Back, treatment(Way::Back)))
            }
            Answers::SamePort => {
                let (mut found, treatment) =
                    entry(class, (&clients, &service), Way::Back, treatment(Way::Back));
                std::mem::swap(&mut found.sports, &mut found.dports);
                own.push((found, treatment));
            }
        }
        let passing = own.iter().filter(|(_, treatment)| treatment.refuse.is_none());
        errors.extend(passing.map(|entry| self.error_of(entry, (&clients, &service))));
        if class.policy == PeerPolicy::AllowListed {
            let strangers: Vec<Entry> = own.iter().map(|entry| not_listed(class, entry)).collect();
            own.extend(strangers);
        }
        packets.append(&mut own);
    }

    fn service(&mut self, class: &NotrackClass) -> Side {
        let real = class.translate_to.map(one).unwrap_or_else(|| class.to.clone());
        let seen = self.sets.number(self.config, &class.to);
        let real = self.sets.number(self.config, &real);
        Side {
            seen,
            real,
            inward: class.translate_to.map(PrefixMap::to),
            outward: class.translate_to.and(class.to.nets.first().copied()).map(PrefixMap::to),
            at: self.leading_to(class.to_zone, real),
            zone: Some(class.to_zone),
            ports: class.ports.clone(),
        }
    }

    fn clients(&mut self, class: &NotrackClass, service: &Side) -> Side {
        let real = self.sets.number(self.config, &class.from);
        let seen = class.translate_from.map(one).unwrap_or_else(|| class.from.clone());
        let seen = self.sets.number(self.config, &seen);
        let in_zone = |zone: u16| self.mask(|_, interface| interface.zone == zone);
        let mut at = match class.on.as_slice() {
            // Beside a translated service, answers would go past the gateway.
            [] if service.inward.is_some() => InterfaceMask(!service.at.0),
            [] => InterfaceMask::ALL,
            named => named.iter().copied().collect(),
        };
        if let Some(zone) = class.zone {
            at = at.and(in_zone(zone));
        }
        let first = class.on.first().and_then(|id| self.config.interfaces.get(id.index()));
        Side {
            seen,
            real,
            inward: class.translate_from.and(class.from.nets.first().copied()).map(PrefixMap::to),
            outward: class.translate_from.map(PrefixMap::to),
            at,
            zone: class.zone.or(first.map(|interface| interface.zone)),
            ports: class.from_ports.clone(),
        }
    }

    fn mask(&self, holds: impl Fn(InterfaceId, &super::model::InterfaceConfig) -> bool) -> InterfaceMask {
        let interfaces = (0u8..).map(InterfaceId).zip(&self.config.interfaces);
        interfaces.filter(|(id, interface)| holds(*id, interface)).map(|(id, _)| id).collect()
    }

    /// The interfaces that routes lead by to some address of a set. If one of them is outside, all that are: answers may
    /// come by another uplink than the one that the route prefers.
    fn leading_to(&self, zone: u16, set: Option<usize>) -> InterfaceMask {
        let Some(set) = set.and_then(|set| self.sets.list.get(set)) else { return InterfaceMask::ALL };
        let hops = set.ranges().flat_map(|range| self.routes.interfaces(zone, range));
        let found: InterfaceMask = hops.collect();
        let outside = self.mask(|_, interface| interface.realm == Realm::External);
        if found.and(outside) == InterfaceMask::default() {
            found
        } else {
            InterfaceMask(found.0 | outside.0)
        }
    }

    /// The entry of errors about packets of this one, which come from where those go.
    fn error_of(&self, (found, treatment): &Entry, (clients, service): (&Side, &Side)) -> Entry {
        let (from, to, way) = match treatment.way {
            Way::There => (clients, service, Way::Back),
            Way::Back => (service, clients, Way::There),
        };
        // What the packet became, the other way round.
        let (sent_src, sent_dst) = match treatment.way {
            Way::There => (clients.seen, service.real),
            Way::Back => (service.seen, clients.real),
        };
        let (src, dst) = match treatment.way {
            Way::There => (service.outward, clients.inward),
            Way::Back => (clients.outward, service.inward),
        };
        let found = Match {
            arrive: to.at,
            protocols: found.protocols.clone(),
            src: sent_dst,
            dst: sent_src,
            sports: found.dports.clone(),
            dports: found.sports.clone(),
            flags: None,
        };
        let treatment = Treatment {
            way,
            refuse_opening: false,
            src,
            dst,
            zone: from.zone,
            leave: from.at,
            ..treatment.clone()
        };
        (found, treatment)
    }
}

fn one(net: Ipv4Net) -> Addresses {
    Addresses { nets: vec![net], sets: Vec::new() }
}

/// The entry of one direction.
fn entry(class: &NotrackClass, (clients, service): (&Side, &Side), way: Way, treatment: Treatment) -> Entry {
    let (from, to) = match way {
        Way::There => (clients, service),
        Way::Back => (service, clients),
    };
    // Clients address the service as it is seen, and it answers to clients as they are seen.
    let (src, dst) = (from.real, to.seen);
    let found = Match {
        arrive: from.at,
        protocols: class.protocols.clone(),
        src,
        dst,
        sports: from.ports.clone(),
        dports: to.ports.clone(),
        flags: None,
    };
    (found, Treatment { src: from.outward, dst: to.inward, zone: to.zone, leave: to.at, ..treatment })
}

/// The entry that refuses who is not listed: between the service and anybody, behind those of whom is.
fn not_listed(class: &NotrackClass, (found, treatment): &Entry) -> Entry {
    let mut found = found.clone();
    match treatment.way {
        Way::There => (found.src, found.sports) = (None, Vec::new()),
        Way::Back => {
            found.dst = None;
            // The clients' ports, wherever they are in the packet.
            match class.answers {
                Answers::SamePort => found.sports = Vec::new(),
                Answers::Mirrored | Answers::Elsewhere => found.dports = Vec::new(),
            }
        }
    }
    (found, Treatment { refuse: Some(DropReason::NotrackNotListed), ..treatment.clone() })
}

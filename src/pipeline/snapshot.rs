//! The configuration as workers read it: immutable, compiled off the hot path, swapped by pointer.

use super::plan::Rule;
use crate::classify::notrack::Notrack;
use crate::classify::{LocalAddress, LocalAddresses, PrefixSet, Source, SourceRules};
use crate::conntrack::policy::Policy;
use crate::ids::{DeviceId, InterfaceId, MacAddr, Realm, WorkerId};
use crate::nat::alg::Algs;
use crate::nat::deterministic::Deterministic;
use crate::nat::probe::ProbeKey;
use crate::packet::Tuple;
use crate::route::{NextHop, ZonedRoutes};
use crate::steering::Steering;
use crate::telemetry::notrack::ClassCounters;
use crate::telemetry::{Counter, PerWorker};
use crate::zone::ZoneMap;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An interface as the pipeline sees it.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name in the config.
    pub name: String,
    /// The device that it lives on.
    pub device: DeviceId,
    /// VLAN id, 0 for untagged frames.
    pub vlan: u16,
    /// Which side it faces.
    pub realm: Realm,
    /// The address space that it lies in.
    pub zone: u16,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its addresses with their prefixes, the primary one first.
    pub addresses: Vec<Ipv4Net>,
    /// Largest IPv4 packet in bytes.
    pub mtu: u16,
    /// Whether ICMP errors are made about packets that come in here.
    pub icmp_errors: bool,
    /// The largest segment that a SYN which passes here may offer; `u16::MAX`: any.
    pub mss_limit: u16,
    /// Whether somebody who opens a connection from here that nobody waits for is told so, in time.
    pub answers_syns: bool,
    /// The number of its primary address among the local addresses.
    pub local: u16,
}

impl Interface {
    /// The primary address.
    #[inline]
    pub fn primary(&self) -> Ipv4Addr {
        self.addresses.first().map_or(Ipv4Addr::UNSPECIFIED, Ipv4Net::addr)
    }

    /// The address of ours to speak to `neighbor` with: the one on the same prefix, else the primary one.
    pub fn address_towards(&self, neighbor: Ipv4Addr) -> Ipv4Addr {
        self.addresses.iter().find(|net| net.contains(&neighbor)).map_or(self.primary(), Ipv4Net::addr)
    }

    /// Whether an address is on the link itself.
    pub fn is_on_link(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|net| net.contains(&address))
    }

    /// Whether an address is the broadcast or network address of one of the prefixes (RFC 1812 5.3.5.2).
    pub fn is_directed_broadcast(&self, address: Ipv4Addr) -> bool {
        self.addresses
            .iter()
            .any(|net| net.prefix_len() < 31 && (net.broadcast() == address || net.network() == address))
    }
}

/// The interfaces on one device, by VLAN id.
pub type DeviceVlans = Box<[(u16, InterfaceId)]>;

/// What a source translation rule does.
#[derive(Clone, Debug)]
pub struct Snat {
    /// What the source becomes; `None`: it stays.
    pub source: Option<Source>,
    /// No SYN of its connections may offer a larger segment, in bytes.
    pub mss_limit: u16,
}

/// Everything that a worker needs to know of the configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts reloads.
    pub revision: u64,
    /// Who owns which packet.
    pub steering: Steering,
    /// The interfaces, by [`InterfaceId`]. At least one.
    pub interfaces: Box<[Interface]>,
    /// The interfaces of each device: (VLAN id, interface), by [`DeviceId`].
    pub by_device: Box<[DeviceVlans]>,
    /// Routes, connected and static, as each zone sees them.
    pub routes: ZonedRoutes,
    /// The addresses that natgate answers to, and the forwards.
    pub local: LocalAddresses,
    /// What source translation rules do, by the number that `source_rules` finds.
    pub snat: Box<[Snat]>,
    /// Whether any of them limits segments.
    pub rules_clamp: bool,
    /// Finds the first source translation rule for a packet.
    pub source_rules: SourceRules,
    /// Pools: the numbers of their addresses among the local ones.
    pub pools: Box<[Box<[u16]>]>,
    /// Of pools that give ports by arithmetic: who has which. By pool.
    pub fixed: Box<[Option<Deterministic>]>,
    /// Timeouts, limits, how strict the trackers are.
    pub conntrack: Policy,
    /// Names of the timeout sets, in the order in which sessions number them.
    pub set_names: Box<[String]>,
    /// Sources that may open no session, by the zone that they come from.
    pub bans: ZoneMap<PrefixSet>,
    /// ICMP errors that each worker may make a second.
    pub icmp_errors_per_second: u32,
    /// What each rule did.
    pub rules: RuleCounters,
    /// Sessions whose payload is read.
    pub algs: Algs,
    /// Makes and knows the numbers of questions to backends; the same in every configuration.
    pub probe_key: ProbeKey,
    /// Packets that pass without a session.
    pub notrack: Notrack,
    /// The notrack classes, in the order of the config.
    pub classes: Box<[Class]>,
}

/// What is known of a notrack class while it runs.
#[derive(Debug)]
pub struct Class {
    /// Its name in the config.
    pub name: String,
    /// What it did.
    pub counters: Arc<PerWorker<ClassCounters>>,
    /// Sessions that the class would not have made may be in the table still: its packets look for one first. Set when a
    /// configuration brings the class, cleared for good when the table holds none.
    pub settling: Arc<AtomicBool>,
}

/// Sessions that each rule has made, by the rule's place in the configuration.
#[derive(Debug, Default)]
pub struct RuleCounters {
    /// Of `Config::snat`.
    pub snat: Box<[Arc<PerWorker<Counter>>]>,
    /// Of `Config::dnat`.
    pub dnat: Box<[Arc<PerWorker<Counter>>]>,
    /// Of `Config::statics`.
    pub statics: Box<[Arc<PerWorker<Counter>>]>,
}

impl RuleCounters {
    /// The sessions that a rule has made; `None` for a notrack class, which makes none.
    #[inline]
    pub fn of(&self, rule: Rule) -> Option<&PerWorker<Counter>> {
        let (list, number) = match rule {
            Rule::Snat(number) => (&self.snat, number),
            Rule::Dnat(number) => (&self.dnat, number),
            Rule::Static(number) => (&self.statics, number),
            Rule::Notrack(_) => return None,
        };
        list.get(usize::try_from(number).ok()?).map(|counters| &**counters)
    }

    /// Counts a session that a worker made.
    #[inline]
    pub(super) fn count(&self, rule: Rule, worker: WorkerId) {
        if let Some(counter) = self.of(rule).and_then(|counters| counters.of(worker)) {
            counter.increment();
        }
    }
}

impl Snapshot {
    /// An interface. The id comes from this snapshot, so it is there.
    #[inline]
    pub fn interface(&self, id: InterfaceId) -> &Interface {
        &self.interfaces[id.index()]
    }

    /// The interface that frames of a device with this VLAN id (0: untagged) belong to.
    #[inline]
    pub fn interface_of(&self, device: DeviceId, vlan: u16) -> Option<(InterfaceId, [u8; 6])> {
        let list = self.by_device.get(device.index())?;
        let (_, id) = list.iter().find(|(tag, _)| *tag == vlan)?;
        Some((*id, self.interface(*id).mac.0))
    }

    /// The address (as a local number) that a subscriber is translated to: always the same one, so that all of
    /// its sessions come from one address (paired pooling, RFC 4787 REQ-2).
    #[inline]
    pub fn pool_address(&self, pool: usize, subscriber: Ipv4Addr) -> Option<u16> {
        let addresses = self.pools.get(pool)?;
        let mixed = u64::from(subscriber.to_bits().wrapping_mul(0x9e37_79b1));
        addresses.get(usize::try_from((mixed * addresses.len() as u64) >> 32).unwrap_or(0)).copied()
    }

    /// The source translation of a packet that comes in by `arrival` and leaves by `out`, and its number.
    #[inline]
    pub fn snat_for(&self, arrival: InterfaceId, tuple: &Tuple, out: InterfaceId) -> Option<(u32, &Snat)> {
        let number = self.source_rules.find(arrival, out, tuple)?;
        Some((number, self.snat.get(usize::try_from(number).ok()?)?))
    }

    /// Whether packets from `zone` with this source open no session.
    #[inline]
    pub fn is_banned(&self, zone: u16, source: Ipv4Addr) -> bool {
        self.bans.get(zone).is_some_and(|banned| banned.contains(source))
    }

    /// The number of the local address that a packet on this interface means by `address`.
    #[inline]
    pub fn local_on(&self, interface: &Interface, address: Ipv4Addr) -> Option<u16> {
        self.local.find(interface.zone, address)
    }

    /// Whether the gateway answers ARP for `target` on this interface.
    pub fn answers_for(&self, interface: InterfaceId, target: Ipv4Addr) -> bool {
        let here = self.interface(interface);
        if self.speaks_for(target) && here.is_on_link(target) {
            return !here.is_directed_broadcast(target) && !self.is_router(target);
        }
        let number = self.local_on(here, target);
        number.and_then(|number| self.local.get(number)).is_some_and(|local| self.is_at(interface, local))
    }

    /// Whether an address is one that hosts behind the gateway have by arithmetic alone: of a class that translates, or of a
    /// network that is translated one to one.
    #[inline]
    pub fn speaks_for(&self, address: Ipv4Addr) -> bool {
        self.notrack.addresses.contains(address) || self.local.statics().of_external(address).is_some()
    }

    /// Whether a route leads to this address as its next hop: a prefix that classes translate may hold one.
    fn is_router(&self, address: Ipv4Addr) -> bool {
        self.routes.next_hops().any(|(_, via)| via == address)
    }

    /// Whether a local address is to be found on this interface: the interface's own ones, and others of ours (pools,
    /// forwards) that lie on its link.
    pub fn is_at(&self, interface: InterfaceId, local: &LocalAddress) -> bool {
        match local.interface {
            Some(own) => own == interface,
            None => self.interface(interface).is_on_link(local.address),
        }
    }

    /// Where a packet that came in from `zone` goes, as far as the routes are concerned.
    #[inline]
    pub fn route_in(&self, zone: u16, destination: Ipv4Addr) -> Option<NextHop> {
        self.routes.lookup(zone, destination)
    }

    /// Where a packet to a destination in this realm and zone goes. What is for the outside is never led inside.
    #[inline]
    pub fn route_to(&self, realm: Realm, zone: u16, destination: Ipv4Addr) -> Option<NextHop> {
        match realm {
            Realm::Internal => self.routes.lookup(zone, destination),
            Realm::External => self.routes.outside(zone, destination),
        }
    }
}

//! What there is to tell packets apart by, so that a handful of examples stands for all packets of a class.
//!
//! Two addresses that are in the same sets, prefixes of classes, routes, bans and links meet the same fate, and so do two ports
//! that are in the same ranges. Of each such group one member is taken.

use super::regions::{Cutter, Region, Regions, scatter};
use crate::classify::PrefixSet;
use crate::classify::martian::is_martian_destination;
use crate::classify::notrack::{Addresses, InterfaceMask, Match, PrefixMap};
use crate::config::model::Config;
use crate::ids::{InterfaceId, Realm};
use crate::pipeline::Snapshot;
use crate::pipeline::plan::check_source;
use crate::wire::{protocol, tcp};
use ipnet::Ipv4Net;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// Regions of one side of a class that are looked at; of more, every so many.
const MAX_REGIONS: usize = 16_384;
/// TCP flags that are tried besides those of opening and going on.
const MAX_FLAGS: usize = 16;
/// What an example is taken from first, of protocols that are alike.
const USUAL: [u8; 6] =
    [protocol::UDP, protocol::TCP, protocol::ICMP, protocol::SCTP, protocol::GRE, protocol::ESP];
/// A client's port, where it does not matter.
const SOME_PORT: u32 = 40_000;

/// An interface, and a source that can come in by it.
pub(super) type Origin = (InterfaceId, Ipv4Addr);

/// Everything that packets are told apart by.
pub(super) struct Ground<'c> {
    config: &'c Config,
    snap: &'c Snapshot,
    addresses: Regions,
    ports: Regions,
    /// One protocol of each group.
    pub(super) protocols: Vec<u8>,
    /// One combination of TCP flags of each group.
    pub(super) flags: Vec<u8>,
    /// External interfaces that no class tells apart have one number.
    alike: Vec<(InterfaceId, u64)>,
    origins: HashMap<(Addresses, InterfaceMask), Rc<[Origin]>>,
    destinations: HashMap<Addresses, Rc<[Ipv4Addr]>>,
    port_examples: HashMap<Vec<RangeInclusive<u16>>, Rc<[u16]>>,
}

impl<'c> Ground<'c> {
    pub(super) fn new(config: &'c Config, snap: &'c Snapshot) -> Self {
        let matches = &snap.notrack.matches;
        Ground {
            config,
            snap,
            addresses: addresses(config, snap),
            ports: ports(matches),
            protocols: protocols(matches),
            flags: flags(matches),
            alike: alike(snap, matches),
            origins: HashMap::new(),
            destinations: HashMap::new(),
            port_examples: HashMap::new(),
        }
    }

    /// Sources of a class, each with the interfaces that it can come in by. `to`: what they become.
    pub(super) fn origins(
        &mut self,
        from: &Addresses,
        to: Option<Ipv4Net>,
        arrive: InterfaceMask,
    ) -> Rc<[Origin]> {
        let key = (from.clone(), arrive);
        if let Some(known) = self.origins.get(&key).filter(|_| to.is_none()) {
            return Rc::clone(known);
        }
        let sources = self.examples(from, to);
        let found: Rc<[Origin]> = sources.iter().flat_map(|source| self.arrivals(*source, arrive)).collect();
        if to.is_none() {
            self.origins.insert(key, Rc::clone(&found));
        }
        found
    }

    /// Destinations of a class. `to`: what they become.
    pub(super) fn destinations(&mut self, of: &Addresses, to: Option<Ipv4Net>) -> Rc<[Ipv4Addr]> {
        if let Some(known) = self.destinations.get(of).filter(|_| to.is_none()) {
            return Rc::clone(known);
        }
        let found: Rc<[Ipv4Addr]> =
            self.examples(of, to).into_iter().filter(|address| !is_martian_destination(*address)).collect();
        if to.is_none() {
            self.destinations.insert(of.clone(), Rc::clone(&found));
        }
        found
    }

    /// Ports of some ranges; none: any.
    pub(super) fn ports(&mut self, ranges: &[RangeInclusive<u16>]) -> Rc<[u16]> {
        if let Some(known) = self.port_examples.get(ranges) {
            return Rc::clone(known);
        }
        let any = [0..=u16::MAX];
        let given = if ranges.is_empty() { &any } else { ranges };
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        // Clients' ports are high ones.
        for range in given.iter().rev() {
            let mut regions: Vec<Region> = self.ports.within(bounds(range)).collect();
            regions.reverse();
            let new = regions.into_iter().filter(|region| seen.insert(region.sign));
            found.extend(new.filter_map(|region| u16::try_from(an_example(region, SOME_PORT)).ok()));
        }
        let found: Rc<[u16]> = found.into();
        self.port_examples.insert(ranges.to_vec(), Rc::clone(&found));
        found
    }

    /// The interfaces that a source can come in by.
    fn arrivals(&self, source: Ipv4Addr, arrive: InterfaceMask) -> Vec<Origin> {
        let mut seen: Vec<u64> = Vec::new();
        let mut found = Vec::new();
        for (id, sign) in &self.alike {
            let possible = || check_source(self.snap, self.snap.interface(*id), source).is_ok();
            if arrive.contains(*id) && !seen.contains(sign) && possible() {
                seen.push(*sign);
                found.push((*id, source));
            }
        }
        found
    }

    fn examples(&self, of: &Addresses, to: Option<Ipv4Net>) -> Vec<Ipv4Addr> {
        let mut seen = HashSet::new();
        let mut is_new = |region: &Region| seen.insert(region.sign);
        // What ends in 0 looks like a network.
        let likely = |first: u32| if first.trailing_zeros() >= 8 { first | 1 } else { first };
        let example = |region: Region| Ipv4Addr::from_bits(an_example(region, likely(region.first)));
        if let (Some(to), [net]) = (to, of.nets.as_slice()) {
            return self.translated(*net, to).into_iter().filter(is_new).map(example).collect();
        }
        let ranges: Vec<(u32, u32)> = if of.is_any() {
            vec![(0, u32::MAX)]
        } else {
            let named = of.sets.iter().filter_map(|set| self.config.sets.get(*set));
            edges(&PrefixSet::new(named.flat_map(|set| &set.prefixes).chain(&of.nets).copied()))
        };
        let count: usize = ranges.iter().map(|range| self.addresses.count(*range)).sum();
        let all = ranges.iter().flat_map(|range| self.addresses.within(*range));
        all.step_by(count.div_ceil(MAX_REGIONS).max(1)).filter(|region| is_new(region)).map(example).collect()
    }

    /// The regions of a network that becomes another one: what it becomes is cut too.
    fn translated(&self, net: Ipv4Net, to: Ipv4Net) -> Vec<Region> {
        let back = PrefixMap::to(net);
        let here = self.addresses.within(range(net)).map(|region| region.first);
        let there = self.addresses.within(range(to)).map(|region| Ipv4Addr::from_bits(region.first));
        let mut starts: Vec<u32> = here.chain(there.map(|first| back.apply(first).to_bits())).collect();
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([range(net).1]);
        let sign = |first: u32| {
            let image = PrefixMap::to(to).apply(Ipv4Addr::from_bits(first)).to_bits();
            scatter(self.addresses.sign(first)) ^ self.addresses.sign(image)
        };
        starts
            .iter()
            .zip(ends)
            .map(|(first, last)| Region { first: *first, last, sign: sign(*first) })
            .collect()
    }
}

/// A number of a region: this one, if it lies in it.
fn an_example(region: Region, wish: u32) -> u32 {
    if (region.first..=region.last).contains(&wish) { wish } else { region.first }
}

fn bounds(range: &RangeInclusive<u16>) -> (u32, u32) {
    (u32::from(*range.start()), u32::from(*range.end()))
}

fn range(net: Ipv4Net) -> (u32, u32) {
    (net.network().to_bits(), net.broadcast().to_bits())
}

fn edges(set: &PrefixSet) -> Vec<(u32, u32)> {
    set.ranges().collect()
}

/// Cuts the addresses where something that decides begins or ends.
fn addresses(config: &Config, snap: &Snapshot) -> Regions {
    let mut cutter = Cutter::default();
    let mut add = |nets: &mut dyn Iterator<Item = Ipv4Net>| cutter.add(edges(&PrefixSet::new(nets)));
    for set in &config.sets {
        add(&mut set.prefixes.iter().copied());
    }
    for class in &config.notrack {
        add(&mut class.from.nets.iter().copied());
        add(&mut class.to.nets.iter().copied());
        add(&mut class.translate_from.into_iter());
        add(&mut class.translate_to.into_iter());
    }
    for fixed in &config.statics {
        add(&mut [fixed.external, fixed.internal].into_iter());
    }
    for ban in &config.bans {
        add(&mut ban.from.nets.iter().copied());
    }
    for interface in &config.interfaces {
        let ends = |net: &Ipv4Net| [net.network(), net.broadcast()].map(Ipv4Net::from);
        add(&mut interface.addresses.iter().filter(|net| net.prefix_len() < 31).flat_map(ends));
    }
    cutter.add(edges(&snap.notrack.addresses));
    // 0/8, 127/8, and all from multicast on.
    let martian = |first: u32| (first << 24, (first << 24) | 0xff_ffff);
    cutter.add([martian(0), martian(127), (224 << 24, u32::MAX)]);
    for zone in config.zones() {
        locals(&mut cutter, snap, zone);
        routes(&mut cutter, config, snap, zone);
    }
    cutter.cut()
}

/// The gateway's own addresses, as a zone sees them.
fn locals(cutter: &mut Cutter, snap: &Snapshot, zone: u16) {
    let mut own: Vec<u32> = snap
        .local
        .iter()
        .filter(|local| snap.local.find(zone, local.address).is_some())
        .map(|local| local.address.to_bits())
        .collect();
    own.sort_unstable();
    own.dedup();
    cutter.add(own.into_iter().map(|address| (address, address)));
}

/// Where routes of a zone lead by the same interface.
fn routes(cutter: &mut Cutter, config: &Config, snap: &Snapshot, zone: u16) {
    let connected = config.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied());
    let nets = connected.chain(config.routes.iter().map(|route| route.to));
    let mut starts: Vec<u32> =
        nets.map(range).flat_map(|(first, last)| [Some(first), last.checked_add(1)]).flatten().collect();
    starts.push(0);
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u32::MAX]);
    let mut by_interface: HashMap<InterfaceId, Vec<(u32, u32)>> = HashMap::new();
    for (first, last) in starts.iter().copied().zip(ends) {
        if let Some(hop) = snap.route_in(zone, Ipv4Addr::from_bits(first)) {
            by_interface.entry(hop.interface).or_default().push((first, last));
        }
    }
    for ranges in by_interface.into_values() {
        cutter.add(ranges);
    }
}

fn ports(matches: &[Match]) -> Regions {
    let mut cutter = Cutter::default();
    let lists: HashSet<&[RangeInclusive<u16>]> =
        matches.iter().flat_map(|entry| [entry.sports.as_slice(), entry.dports.as_slice()]).collect();
    for list in lists {
        cutter.add(list.iter().map(bounds));
    }
    cutter.cut()
}

fn protocols(matches: &[Match]) -> Vec<u8> {
    let lists: HashSet<&[u8]> = matches.iter().map(|entry| entry.protocols.as_slice()).collect();
    let mut signs = [0u64; 256];
    for (list, number) in lists.into_iter().zip(1..) {
        for protocol in list {
            signs[usize::from(*protocol)] ^= scatter(number);
        }
    }
    let mut seen = HashSet::new();
    let order = USUAL.into_iter().chain((0..=u8::MAX).filter(|number| !USUAL.contains(number)));
    order.filter(|number| seen.insert((signs[usize::from(*number)], protocol::has_ports(*number)))).collect()
}

/// An opening and a later packet, and what some entry asks for.
fn flags(matches: &[Match]) -> Vec<u8> {
    let mut flags = vec![tcp::SYN, tcp::ACK];
    for wanted in matches.iter().filter_map(|entry| entry.flags) {
        if !flags.contains(&wanted.set) && flags.len() < MAX_FLAGS {
            flags.push(wanted.set);
        }
    }
    flags
}

/// A number for each interface: external ones have the same if they are in one zone and in the same entries.
fn alike(snap: &Snapshot, matches: &[Match]) -> Vec<(InterfaceId, u64)> {
    let masks: HashSet<InterfaceMask> = matches.iter().map(|entry| entry.arrive).collect();
    let sign = |(id, interface): (InterfaceId, &crate::pipeline::snapshot::Interface)| {
        if interface.realm == Realm::Internal {
            return (id, scatter(1 << 32 | u64::from(id.0)));
        }
        let holding = masks.iter().filter(|mask| mask.contains(id));
        let sign = holding.fold(u64::from(interface.zone), |sign, mask| sign ^ scatter(mask.0));
        (id, sign)
    };
    (0u8..).map(InterfaceId).zip(&snap.interfaces).map(sign).collect()
}

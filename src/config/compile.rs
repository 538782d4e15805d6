//! From a checked [`Config`] to the [`Snapshot`] that workers read.

use super::DEFAULT_SET;
use super::address_sets::AddressSets;
use super::lineage::{Heritage, Numbers, Sets, backends, rule_counters};
use super::model::{
    AlgConfig, BackendConfig, Config, ConntrackConfig, DnatRule, InterfaceConfig, SnatRule, SourcePool,
    StaticRule, UnsolicitedSyn,
};
use super::{notrack, shares};
use crate::classify::source_rules::Match;
use crate::classify::untranslated::{Hosts, Untranslated};
use crate::classify::{
    Forward, InterfaceMask, LocalAddresses, PrefixSet, Source, SourceRules, Static, Statics, Target, Targets,
};
use crate::conntrack::policy::{Policy, TrackRule};
use crate::ids::{InterfaceId, MacAddr, Realm};
use crate::nat::alg::Algs;
use crate::nat::probe::ProbeKey;
use crate::pipeline::snapshot::{Interface, Snapshot, Snat};
use crate::route::{NextHop, ZonedRoute, ZonedRoutes};
use crate::steering::Steering;
use crate::steering::plan::Needs;
use crate::time::ticks;
use crate::zone::ZoneMap;
use ipnet::Ipv4Net;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Ports of an interface's own address that sessions may be given: not the well-known ones, which belong to
/// services.
pub const INTERFACE_PORTS: RangeInclusive<u16> = 1024..=65535;

/// What the config asks of the owner function; `seed` is drawn at random once a start.
pub fn needs(config: &Config, seed: u64) -> Needs {
    Needs {
        workers: config.runtime.workers,
        seed,
        spread: config.runtime.spread,
        sources_together: config.conntrack.limits.count_sources(),
        wish: config.runtime.steering,
    }
}

/// Compiles a configuration for NICs that are asked nothing: see [`compile_for`].
pub fn compile(config: &Config, macs: &[MacAddr], seed: u64, revision: u64) -> Snapshot {
    compile_for(config, macs, needs(config, seed).steering(), revision)
}

/// Compiles the first configuration. `macs` are the devices' Ethernet addresses by `DeviceId`.
pub fn compile_for(config: &Config, macs: &[MacAddr], steering: Steering, revision: u64) -> Snapshot {
    compile_after(None, config, macs, steering, revision)
}

/// Compiles a configuration that follows another one; its interfaces have to be in the same order
/// ([`super::reorder`]).
pub fn compile_after(
    heritage: Option<Heritage<'_>>,
    config: &Config,
    macs: &[MacAddr],
    steering: Steering,
    revision: u64,
) -> Snapshot {
    let workers = steering.workers();
    let routes = ZonedRoutes::new(config.zones(), &routes(config));
    let numbers = numbers(config, heritage, workers);
    let sets = Sets::of(config, heritage, DEFAULT_SET);
    let interfaces: Box<[Interface]> = interface_ids(config)
        .map(|(id, interface)| Interface {
            name: interface.name.clone(),
            device: interface.device,
            vlan: interface.vlan,
            realm: interface.realm,
            zone: interface.zone,
            mac: macs.get(interface.device.index()).copied().unwrap_or_default(),
            addresses: interface.addresses.clone(),
            mtu: interface.mtu,
            icmp_errors: interface.icmp_errors,
            mss_limit: interface.mss_clamp.limit(interface.mtu).unwrap_or(u16::MAX),
            answers_syns: interface.icmp_errors && interface.unsolicited_syn == UnsolicitedSyn::Unreachable,
            local: numbers.find(interface.primary(), Some(id)).unwrap_or(u16::MAX),
        })
        .collect();
    let by_device = (0..config.devices.len())
        .map(|device| {
            interface_ids(config)
                .filter(|(_, interface)| interface.device.index() == device)
                .map(|(id, interface)| (interface.vlan, id))
                .collect()
        })
        .collect();
    let pools: Box<[Box<[u16]>]> = config
        .pools
        .iter()
        .map(|pool| pool.addresses.iter().filter_map(|address| numbers.find(*address, None)).collect())
        .collect();
    let notrack = notrack::compile(config, &routes);
    let fixed: Box<[_]> = config.pools.iter().map(|pool| pool.fixed.clone()).collect();
    let local = local_addresses(config, numbers, heritage, &routes);
    let before = heritage.map(|heritage| &heritage.snapshot.local);
    let local = shares::share_out(local, (&pools, config), before, &steering);
    Snapshot {
        revision,
        icmp_errors_per_second: config.runtime.icmp_errors_per_second.div_ceil(workers.max(1).into()),
        steering,
        interfaces,
        by_device,
        routes,
        local,
        snat: config.snat.iter().map(snat).collect(),
        rules_clamp: config.snat.iter().any(|rule| rule.mss_clamp.is_some()),
        source_rules: source_rules(config),
        pools,
        fixed,
        conntrack: policy(&config.conntrack, &sets),
        set_names: sets.names.into(),
        bans: bans(config),
        rules: rule_counters(config, heritage, workers),
        probe_key: heritage.map_or_else(ProbeKey::random, |heritage| heritage.snapshot.probe_key.clone()),
        notrack,
        algs: algs(&config.alg, workers),
        classes: notrack::classes(config, heritage, workers),
    }
}

fn snat(rule: &SnatRule) -> Snat {
    Snat { source: rule.source.map(source), mss_limit: rule.mss_clamp.unwrap_or(u16::MAX) }
}

fn algs(alg: &AlgConfig, workers: u8) -> Algs {
    let share = |all: u32| all.div_ceil(workers.max(1).into());
    Algs {
        ports: alg.ports.each_ref().map(|ports| ports.as_slice().into()),
        expectations: share(alg.max_expectations),
        sessions: share(alg.max_sessions),
        timeout: ticks(alg.timeout),
    }
}

fn policy(conntrack: &ConntrackConfig, sets: &Sets) -> Policy {
    let rule = |rule: &TrackRule| TrackRule { timeouts: sets.number(rule.timeouts), ..rule.clone() };
    Policy {
        timeout_sets: sets.timeouts.clone().into(),
        rules: conntrack.rules.iter().map(rule).collect(),
        tcp: conntrack.tcp,
        limits: conntrack.limits.clone(),
    }
}

fn bans(config: &Config) -> ZoneMap<PrefixSet> {
    ZoneMap::new(config.zones(), |zone| {
        let here = config.bans.iter().filter(|ban| ban.zone.is_none_or(|only| only == zone));
        PrefixSet::new(here.flat_map(|ban| config.prefixes(&ban.from)))
    })
}

/// Which packets each source translation rule is for.
fn source_rules(config: &Config) -> SourceRules {
    let mut sets = AddressSets::default();
    let mut rule = |rule: &SnatRule| Match {
        arrive: arrivals(config, rule),
        leave: rule.out.map_or(InterfaceMask::ALL, |out| [out].into_iter().collect()),
        protocols: rule.protocols.clone(),
        src: sets.number(config, &rule.from),
        dst: sets.number(config, &rule.to),
        sports: rule.from_ports.clone(),
        dports: rule.ports.clone(),
    };
    let rules: Vec<Match> = config.snat.iter().map(&mut rule).collect();
    SourceRules::new(&rules, &sets.list)
}

/// The hosts whose sources may leave as they are.
fn untranslated(config: &Config) -> Untranslated {
    let is_in =
        |zone: u16, id: InterfaceId| config.interfaces.get(id.index()).is_some_and(|i| i.zone == zone);
    let hosts = |zone: u16| {
        let is_for = |rule: &&SnatRule| {
            rule.source.is_none()
                && rule.zone.is_none_or(|only| only == zone)
                && (rule.on.is_empty() || rule.on.iter().any(|id| is_in(zone, *id)))
        };
        let mut rules = config.snat.iter().filter(is_for).peekable();
        rules.peek()?;
        let nets = |rule: &SnatRule| match rule.from.is_any() {
            true => vec![Ipv4Net::default()],
            false => config.prefixes(&rule.from).collect(),
        };
        let from = PrefixSet::new(rules.flat_map(nets));
        let inner =
            |interface: &InterfaceConfig| interface.realm == Realm::Internal && interface.zone == zone;
        let connected = config.interfaces.iter().filter(|interface| inner(interface));
        let connected = connected.flat_map(|interface| interface.addresses.iter().map(Ipv4Net::trunc));
        let routed = config
            .routes
            .iter()
            .filter(|route| config.interfaces.get(route.interface.index()).is_some_and(inner));
        let inside = PrefixSet::new(connected.chain(routed.map(|route| route.to)));
        Some(Hosts { zone, from, inside })
    };
    Untranslated::new(config.zones().into_iter().filter_map(hosts))
}

/// The interfaces that packets of a rule come in by.
fn arrivals(config: &Config, rule: &SnatRule) -> InterfaceMask {
    let named = if rule.on.is_empty() { InterfaceMask::ALL } else { rule.on.iter().copied().collect() };
    let Some(zone) = rule.zone else { return named };
    let in_zone = interface_ids(config).filter(|(_, interface)| interface.zone == zone);
    named.and(in_zone.map(|(id, _)| id).collect())
}

fn interface_ids(config: &Config) -> impl Iterator<Item = (InterfaceId, &InterfaceConfig)> {
    config.interfaces.iter().zip(0u8..).map(|(interface, n)| (InterfaceId(n), interface))
}

fn source(pool: SourcePool) -> Source {
    match pool {
        SourcePool::Interface => Source::Interface,
        SourcePool::Pool(number) => Source::Pool(number),
    }
}

/// The local addresses and their numbers: interfaces' addresses first, then pools', then those that are forwarded and
/// nobody's. Another interface may have the same address in another zone.
fn numbers(config: &Config, heritage: Option<Heritage<'_>>, workers: u8) -> Numbers {
    let mut numbers = Numbers::inherit(heritage, workers);
    for (id, interface) in interface_ids(config) {
        for (n, net) in interface.addresses.iter().enumerate() {
            // Only the primary address is translated to.
            numbers.add(net.addr(), Some(id), (n == 0).then_some((INTERFACE_PORTS, config.masquerade)));
        }
    }
    for pool in &config.pools {
        for address in &pool.addresses {
            numbers.add(*address, None, Some((pool.ports.clone(), pool.behavior)));
        }
    }
    for rule in &config.dnat {
        numbers.add(rule.address, rule.interface, None);
    }
    numbers
}

fn local_addresses(
    config: &Config,
    numbers: Numbers,
    heritage: Option<Heritage<'_>>,
    routes: &ZonedRoutes,
) -> LocalAddresses {
    let mut memories = Memories::new(heritage);
    let forward = |(number, rule): (u32, &DnatRule)| {
        let on = numbers.find(rule.address, rule.interface)?;
        Some((on, memories.given_to(forward(number, rule), rule)))
    };
    let forwards: Vec<_> = (0..).zip(&config.dnat).filter_map(forward).collect();
    let mut list = numbers.list;
    if !config.notrack.is_empty() {
        for declared in list.iter_mut().filter(|declared| declared.ports.is_some()) {
            declared.reserved = notrack::reserved(config, declared.address).collect();
        }
    }
    // For the closure, which outlives the list.
    let owners: Vec<_> = list.iter().map(|local| (local.address, local.interface, local.retired)).collect();
    LocalAddresses::in_zones(list, &forwards, &backends(heritage), config.zones(), |zone| {
        seen(config, &owners, routes, zone)
    })
    .with_statics(statics(config))
    .with_untranslated(untranslated(config))
}

fn statics(config: &Config) -> Statics {
    Statics::new((0..).zip(&config.statics).map(|(number, rule)| {
        let StaticRule { external, internal, zone, out, inbound } = *rule;
        Static { external, internal, zone, out, inbound, rule: number }
    }))
}

/// The numbers of the addresses that are visible from a zone, in the order in which they count: its own interfaces', then
/// those that belong to no interface, then other external interfaces'; at last those that are retired.
fn seen(
    config: &Config,
    owners: &[(Ipv4Addr, Option<InterfaceId>, bool)],
    routes: &ZonedRoutes,
    zone: u16,
) -> Vec<u16> {
    let interface = |id: InterfaceId| config.interfaces.get(id.index());
    let is_inside = |address| {
        let hop = routes.lookup(zone, address);
        hop.and_then(|hop| interface(hop.interface)).is_some_and(|out| out.realm == Realm::Internal)
    };
    let rank = |address: Ipv4Addr, owner: Option<InterfaceId>| match owner.and_then(interface) {
        Some(own) if own.zone == zone => Some(0),
        None => Some(1),
        // Where the zone has this address itself, it means its own host.
        Some(other) if other.realm == Realm::External && !is_inside(address) => Some(2),
        Some(_) => None,
    };
    let ranked = owners.iter().zip(0u16..);
    let mut ranked: Vec<(bool, u8, u16)> = ranked
        .filter(|((address, ..), _)| !address.is_unspecified())
        .filter_map(|((address, owner, retired), number)| Some((*retired, rank(*address, *owner)?, number)))
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., number)| number).collect()
}

fn targets(rule: &DnatRule) -> Targets {
    let target = |backend: &BackendConfig| {
        let BackendConfig { address, port, weight, drain } = *backend;
        Target { address, port, weight, drain }
    };
    Targets::new(rule.backends.iter().map(target).collect(), rule.affinity).checked_by(rule.health)
}

/// What forwards whose sources keep their backends remember: what they did before, or what another one with the same backends
/// does.
struct Memories<'a> {
    before: HashMap<(Ipv4Addr, u8, RangeInclusive<u16>), &'a Targets>,
    /// By zone and backends.
    now: HashMap<(u16, Vec<BackendConfig>), Targets>,
}

impl<'a> Memories<'a> {
    fn new(heritage: Option<Heritage<'a>>) -> Memories<'a> {
        let mut before = HashMap::new();
        if let Some(Heritage { snapshot, .. }) = heritage {
            for (number, on) in (0..).zip(snapshot.local.iter()) {
                let forwards = snapshot.local.forwards_of(number).iter();
                before.extend(
                    forwards.map(|old| ((on.address, old.protocol, old.ports.clone()), &old.targets)),
                );
            }
        }
        Memories { before, now: HashMap::new() }
    }

    fn given_to(&mut self, forward: Forward, rule: &DnatRule) -> Forward {
        if rule.affinity_timeout.is_none() {
            return forward;
        }
        let before = self.before.get(&(rule.address, rule.protocol, rule.ports.clone())).copied();
        let key = (rule.zone, rule.backends.clone());
        let known = before.filter(|before| before.remembers()).or_else(|| self.now.get(&key));
        let targets = forward.targets.remembering(rule.affinity_timeout, known);
        self.now.entry(key).or_insert_with(|| targets.clone());
        Forward { targets, ..forward }
    }
}

fn forward(number: u32, rule: &DnatRule) -> Forward {
    Forward {
        rule: number,
        drain: rule.drain,
        protocol: rule.protocol,
        ports: rule.ports.clone(),
        targets: targets(rule),
        zone: rule.zone,
        source: rule.source.map(source),
        syn_proxy: rule.syn_proxy,
    }
}

/// Connected routes first: of two routes for one prefix the first counts.
fn routes(config: &Config) -> Vec<ZonedRoute> {
    let connected = interface_ids(config).flat_map(|(id, interface)| {
        interface.addresses.iter().map(move |net| (net.trunc(), NextHop { interface: id, via: None }))
    });
    let fixed = config
        .routes
        .iter()
        .map(|route| (route.to.trunc(), NextHop { interface: route.interface, via: Some(route.via) }));
    let zoned = |(to, hop): (Ipv4Net, NextHop)| {
        let interface = config.interfaces.get(hop.interface.index())?;
        Some(ZonedRoute { to, hop, zone: interface.zone, realm: interface.realm })
    };
    connected.chain(fixed).filter_map(zoned).collect()
}

//! From a checked [`Config`] to the [`Snapshot`] that workers read.

use super::model::{Config, ConntrackConfig, DnatRule, SourcePool};
use crate::classify::{Forward, LocalAddresses, Source};
use crate::conntrack::policy::Policy;
use crate::ids::{InterfaceId, MacAddr};
use crate::pipeline::snapshot::{Interface, Snapshot, Snat};
use crate::route::{NextHop, RouteTable};
use crate::steering::Steering;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Ports of an interface's own address that sessions may be given: not the well-known ones, which belong to
/// services.
const INTERFACE_PORTS: RangeInclusive<u16> = 1024..=65535;

/// Compiles a configuration.
///
/// `macs` are the devices' Ethernet addresses by `DeviceId`; `seed` is drawn at random once a start.
pub fn compile(config: &Config, macs: &[MacAddr], seed: u64, revision: u64) -> Snapshot {
    let local = local_addresses(config);
    let interfaces: Box<[Interface]> = config
        .interfaces
        .iter()
        .map(|interface| Interface {
            name: interface.name.clone(),
            device: interface.device,
            vlan: interface.vlan,
            realm: interface.realm,
            mac: macs.get(interface.device.index()).copied().unwrap_or_default(),
            addresses: interface.addresses.clone(),
            mtu: interface.mtu,
            local: local.find(interface.primary()).unwrap_or(u16::MAX),
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
    let pools = config
        .pools
        .iter()
        .map(|pool| pool.addresses.iter().filter_map(|address| local.find(*address)).collect())
        .collect();
    let snat = config
        .snat
        .iter()
        .map(|rule| Snat {
            from: rule.from.clone(),
            to: rule.to.clone(),
            out: rule.out,
            source: source(rule.source),
        })
        .collect();
    Snapshot {
        revision,
        steering: Steering::new(config.runtime.workers, seed)
            .sources_together(config.conntrack.limits.count_sources()),
        interfaces,
        by_device,
        routes: routes(config),
        local,
        snat,
        pools,
        conntrack: policy(&config.conntrack),
    }
}

/// The sets of timeouts in the order that the rules number them in: that of `[conntrack.timeouts]` first.
fn policy(conntrack: &ConntrackConfig) -> Policy {
    let named = conntrack.timeout_sets.iter().map(|set| set.timeouts.clone());
    Policy {
        timeout_sets: std::iter::once(conntrack.timeouts.clone()).chain(named).collect(),
        rules: conntrack.rules.clone().into(),
        tcp: conntrack.tcp,
        limits: conntrack.limits.clone(),
    }
}

fn interface_ids(config: &Config) -> impl Iterator<Item = (InterfaceId, &super::model::InterfaceConfig)> {
    config.interfaces.iter().zip(0u8..).map(|(interface, n)| (InterfaceId(n), interface))
}

fn source(pool: SourcePool) -> Source {
    match pool {
        SourcePool::Interface => Source::Interface,
        SourcePool::Pool(number) => Source::Pool(number),
    }
}

/// Interfaces' addresses first, then pools', each once; the forwards add those that are left.
fn local_addresses(config: &Config) -> LocalAddresses {
    let mut addresses: Vec<(Ipv4Addr, Option<InterfaceId>, Option<RangeInclusive<u16>>)> = Vec::new();
    for (id, interface) in interface_ids(config) {
        for (n, net) in interface.addresses.iter().enumerate() {
            // Only the primary address is translated to.
            addresses.push((net.addr(), Some(id), (n == 0).then_some(INTERFACE_PORTS)));
        }
    }
    for pool in &config.pools {
        addresses.extend(pool.addresses.iter().map(|address| (*address, None, Some(pool.ports.clone()))));
    }
    let forwards: Vec<_> = config.dnat.iter().map(forward).collect();
    LocalAddresses::new(addresses, &forwards)
}

fn forward(rule: &DnatRule) -> (Ipv4Addr, Forward) {
    let forward = Forward {
        protocol: rule.protocol,
        ports: rule.ports.clone(),
        to: rule.to,
        to_port: rule.to_port,
        source: rule.source.map(source),
        syn_proxy: rule.syn_proxy,
    };
    (rule.address, forward)
}

/// Connected routes first: of two routes for one prefix the first counts.
fn routes(config: &Config) -> RouteTable {
    let connected = interface_ids(config).flat_map(|(id, interface)| {
        interface.addresses.iter().map(move |net| (net.trunc(), NextHop { interface: id, via: None }))
    });
    let fixed = config
        .routes
        .iter()
        .map(|route| (route.to.trunc(), NextHop { interface: route.interface, via: Some(route.via) }));
    let all: Vec<(Ipv4Net, NextHop)> = connected.chain(fixed).collect();
    RouteTable::new(&all)
}

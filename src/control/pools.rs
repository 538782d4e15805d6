//! The answer to `/v1/pools`: how many of the external ports that sources may become are in use.
//!
//! Whatever sources are translated to is a pool here: the config's pools, and interfaces that a rule names or that
//! sessions use. Addresses of an earlier configuration are shown for as long as sessions use them.

use super::api::{self, PortCount};
use super::running::Running;
use crate::classify::LocalAddress;
use crate::config::model::SourcePool;
use crate::ids::{InterfaceId, Realm};
use crate::nat::behavior::Sharing;
use crate::nat::blocks;
use crate::pipeline::Snapshot;
use crate::wire::protocol;
use std::cmp::Reverse;
use std::ops::RangeInclusive;

/// Addresses of each pool that are named if the request says nothing.
pub const DEFAULT_ADDRESSES: usize = 1;

/// Builds the answer with at most so many addresses of each pool.
pub fn pools(running: &Running, addresses: usize) -> api::Pools {
    let snap = &*running.snapshot;
    let of_config = running.config.pools.iter().zip(&snap.pools).map(|(pool, numbers)| {
        let ports = Some(&pool.ports);
        let size = match pool.behavior.sharing {
            Sharing::Blocks(rules) => Some(rules.size),
            _ => None,
        };
        Members { name: &pool.name, kind: "pool", ports, size, numbers: numbers.to_vec() }
    });
    let of_interfaces = (0u8..).zip(&snap.interfaces).filter_map(|(id, interface)| {
        let local = snap.local.get(interface.local)?;
        let in_use = held(local) > 0 || is_translated_to(running, InterfaceId(id));
        in_use.then(|| Members {
            name: &interface.name,
            kind: "interface",
            ports: local.ports.as_ref(),
            size: None,
            numbers: vec![interface.local],
        })
    });
    let retired = snap.local.iter().zip(0u16..).filter(|(local, _)| local.retired && held(local) > 0);
    let retired: Vec<u16> = retired.map(|(_, number)| number).collect();
    let retired = (!retired.is_empty()).then_some(Members {
        name: "retired",
        kind: "retired",
        ports: None,
        size: None,
        numbers: retired,
    });
    let all = of_config.chain(of_interfaces).chain(retired);
    api::Pools { pools: all.map(|members| members.summary(snap, addresses)).collect() }
}

/// Ports of a local address that sessions may be given, by its number.
pub fn usable(snap: &Snapshot, number: u16) -> PortCount {
    let Some(ports) = snap.local.get(number).and_then(|local| local.ports.clone()) else {
        return PortCount::default();
    };
    let forwarded = |protocol: u8| -> u64 {
        let here = snap.local.forwards_of(number).iter().filter(|forward| forward.protocol == protocol);
        here.map(|forward| common(&ports, &forward.ports)).sum()
    };
    let all = common(&ports, &ports);
    PortCount { tcp: all - forwarded(protocol::TCP), udp: all - forwarded(protocol::UDP), other: all }
}

/// Ports of a local address that sessions hold.
pub fn used(local: &LocalAddress) -> PortCount {
    let [tcp, udp, other] = local.used.by_set();
    PortCount { tcp, udp, other }
}

/// Ports that are in both ranges.
fn common(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> u64 {
    let (first, last) = (one.start().max(other.start()), one.end().min(other.end()));
    u64::from(*last).saturating_add(1).saturating_sub(u64::from(*first))
}

fn held(local: &LocalAddress) -> u64 {
    let PortCount { tcp, udp, other } = used(local);
    tcp + udp + other
}

fn add(a: PortCount, b: PortCount) -> PortCount {
    PortCount { tcp: a.tcp + b.tcp, udp: a.udp + b.udp, other: a.other + b.other }
}

/// Whether some rule may translate a source to the interface's own address.
fn is_translated_to(running: &Running, id: InterfaceId) -> bool {
    let snap = &*running.snapshot;
    let outside = snap.interface(id).realm == Realm::External;
    let by_snat = running.config.snat.iter().any(|rule| {
        rule.source == Some(SourcePool::Interface) && outside && rule.out.is_none_or(|only| only == id)
    });
    let towards = |zone, to| snap.route_in(zone, to).is_some_and(|hop| hop.interface == id);
    by_snat
        || running
            .config
            .dnat
            .iter()
            .filter(|rule| rule.source == Some(SourcePool::Interface))
            .any(|rule| rule.backends.iter().any(|backend| towards(rule.zone, backend.address)))
}

/// A pool before it is counted.
struct Members<'a> {
    name: &'a str,
    kind: &'static str,
    ports: Option<&'a RangeInclusive<u16>>,
    /// Ports of a block, if it has blocks.
    size: Option<u16>,
    /// Of its addresses, among the local ones.
    numbers: Vec<u16>,
}

impl Members<'_> {
    fn summary(self, snap: &Snapshot, addresses: usize) -> api::Pool {
        let row = |number: &u16| {
            let local = snap.local.get(*number)?;
            Some(api::PoolAddress {
                address: local.address,
                usable: usable(snap, *number),
                used: used(local),
            })
        };
        let mut rows: Vec<api::PoolAddress> = self.numbers.iter().filter_map(row).collect();
        let sum = |pick: fn(&api::PoolAddress) -> PortCount| {
            rows.iter().fold(PortCount::default(), |total, row| add(total, pick(row)))
        };
        let held = |number: &u16| snap.local.get(*number).map_or(0, |local| local.used.blocks());
        let blocks = self.size.zip(self.ports).map(|(size, ports)| api::BlockCount {
            size: size.into(),
            total: blocks::count(ports, size) * self.numbers.len() as u64,
            used: self.numbers.iter().map(held).sum(),
        });
        let (usable, used) = (sum(|row| row.usable), sum(|row| row.used));
        // Of equally full ones the first of the pool first.
        rows.sort_by_key(|row| Reverse(fullness(row)));
        rows.truncate(addresses.max(1));
        api::Pool {
            name: self.name.to_owned(),
            kind: self.kind.to_owned(),
            addresses: self.numbers.len() as u64,
            ports: self.ports.map(|ports| format!("{}-{}", ports.start(), ports.end())),
            usable,
            used,
            blocks,
            fullest: rows,
        }
    }
}

/// How much of its fullest kind of ports an address has given out, in millionths: that kind is exhausted first.
fn fullness(row: &api::PoolAddress) -> u64 {
    let share = |used: u64, usable: u64| (used * 1_000_000).checked_div(usable).unwrap_or(used);
    let (used, usable) = (row.used, row.usable);
    share(used.tcp, usable.tcp).max(share(used.udp, usable.udp)).max(share(used.other, usable.other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile::{compile, compile_after};
    use crate::config::lineage::{Heritage, InUse};
    use crate::config::{Config, parse};
    use crate::ids::{MacAddr, WorkerId};
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    const CONFIG: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"

[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"

[interface.other]
device = "vdev:mem2"
realm = "external"
address = "198.51.100.2/24"

[pool.web]
addresses = "203.0.113.16-203.0.113.17"
ports = "2000-2999"

[[snat]]
from = "192.168.1.0/25"
source = "pool.web"

[[snat]]
out = "wan"

[[dnat]]
address = "203.0.113.17"
protocol = "tcp"
port = "2990-3005"
to = "192.168.1.10"
"#;

    fn read(text: &str) -> (Config, Vec<MacAddr>) {
        let config = parse(text, "natgate.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
        let macs = vec![MacAddr::default(); config.devices.len()];
        (config, macs)
    }

    fn running() -> Running {
        let (config, macs) = read(CONFIG);
        let snapshot = Arc::new(compile(&config, &macs, 7, 0));
        Running::new(config, snapshot, Vec::new())
    }

    fn hold(running: &Running, address: [u8; 4], set: usize, ports: u64) {
        let address = Ipv4Addr::from(address);
        let local = running.snapshot.local.iter().find(|local| local.address == address).unwrap();
        local.used.of(WorkerId(0)).unwrap()[set].add(ports);
    }

    #[test]
    fn a_pool_says_what_it_has_without_forwarded_ports_and_what_of_it_is_used() {
        let running = running();
        hold(&running, [203, 0, 113, 16], 0, 5);
        hold(&running, [203, 0, 113, 17], 1, 30);
        let shown = pools(&running, DEFAULT_ADDRESSES).pools;
        let heads: Vec<_> =
            shown.iter().map(|pool| (pool.name.as_str(), pool.kind.as_str(), pool.addresses)).collect();
        // No rule translates to the address of `other` or `lan`.
        assert_eq!(heads, [("web", "pool", 2), ("wan", "interface", 1)]);
        assert_eq!(shown[0].ports.as_deref(), Some("2000-2999"));
        assert_eq!(shown[0].usable, PortCount { tcp: 1990, udp: 2000, other: 2000 });
        assert_eq!(shown[0].used, PortCount { tcp: 5, udp: 30, other: 0 });
        let [fullest] = &shown[0].fullest[..] else { panic!("one address") };
        assert_eq!((fullest.address, fullest.used.udp), (Ipv4Addr::new(203, 0, 113, 17), 30));
        assert_eq!(pools(&running, 10).pools[0].fullest.len(), 2);
    }

    #[test]
    fn an_interface_that_sessions_use_is_shown_whatever_the_rules_say() {
        let running = running();
        hold(&running, [192, 168, 1, 1], 0, 1);
        assert!(pools(&running, 1).pools.iter().any(|pool| pool.name == "lan" && pool.used.tcp == 1));
    }

    #[test]
    fn a_retired_address_is_shown_while_sessions_use_it() {
        let before = running();
        let (config, macs) = read(&CONFIG.replace("203.0.113.16-203.0.113.17", "203.0.113.17"));
        let in_use = InUse::default();
        let heritage = Heritage { config: &before.config, snapshot: &before.snapshot, in_use: &in_use };
        let steering = before.snapshot.steering.clone();
        let snapshot = Arc::new(compile_after(Some(heritage), &config, &macs, steering, 1));
        let running = Running::new(config, snapshot, Vec::new());
        assert!(pools(&running, 1).pools.iter().all(|pool| pool.kind != "retired"), "nobody uses it");
        hold(&running, [203, 0, 113, 16], 2, 3);
        let shown = pools(&running, 1).pools;
        let retired = shown.last().unwrap();
        assert_eq!((retired.kind.as_str(), retired.used.other, retired.usable.other), ("retired", 3, 0));
        assert_eq!(retired.fullest[0].address, Ipv4Addr::new(203, 0, 113, 16));
    }
}

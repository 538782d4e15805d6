//! Who owns the ports of addresses that are shared out in blocks, or by arithmetic: see [`Shares`].

use super::model::{Config, PoolConfig};
use crate::classify::{LocalAddresses, Shares};
use crate::ids::WorkerId;
use crate::nat::behavior::Sharing;
use crate::nat::deterministic::Deterministic;
use crate::packet::Tuple;
use crate::steering::Steering;
use crate::wire::protocol;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The addresses with the owners of their ports. `pools` are the numbers of the pools' addresses. One that nothing is
/// translated to any more keeps those that it has in `before`: its sessions are with them.
pub(super) fn share_out(
    local: LocalAddresses,
    (pools, config): (&[Box<[u16]>], &Config),
    before: Option<&LocalAddresses>,
    steering: &Steering,
) -> LocalAddresses {
    let mut shares: HashMap<u16, Arc<Shares>> = HashMap::new();
    for ((pool, numbers), index) in config.pools.iter().zip(pools).zip(0u16..) {
        let all = of_pool(pool, index, steering);
        shares.extend(numbers.iter().copied().zip(all.into_iter().map(Arc::new)));
    }
    local.with_shares(|number, local| {
        let old = || before?.get(number)?.shares.clone();
        if local.ports.is_none() { old() } else { shares.get(&number).cloned() }
    })
}

/// One of each address, in their order; none if ports are given one at a time.
fn of_pool(pool: &PoolConfig, index: u16, steering: &Steering) -> Vec<Shares> {
    match (pool.behavior.sharing, &pool.fixed) {
        (Sharing::Ports, _) | (Sharing::Fixed, None) => Vec::new(),
        (Sharing::Blocks(_), _) => {
            let of = |address: &Ipv4Addr| Shares::of_regions(index, *address, steering.workers());
            pool.addresses.iter().map(of).collect()
        }
        (Sharing::Fixed, Some(fixed)) => of_subscribers(fixed, index, pool.addresses.len(), steering),
    }
}

fn of_subscribers(fixed: &Deterministic, index: u16, addresses: usize, steering: &Steering) -> Vec<Shares> {
    let mut owners: Vec<Vec<WorkerId>> = vec![Vec::new(); addresses];
    for (host, (address, _)) in fixed.all() {
        let flow =
            Tuple { src: host, dst: Ipv4Addr::UNSPECIFIED, sport: 0, dport: 0, protocol: protocol::UDP };
        if let Some(owners) = owners.get_mut(address) {
            owners.push(steering.outbound(&flow));
        }
    }
    let ports = (fixed.first(), fixed.size());
    owners.into_iter().map(|owners| Shares::of_subscribers(index, ports, owners.into())).collect()
}

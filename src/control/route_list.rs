//! The answer to `/v1/routes`: where packets go, and whether the router there is known.

use super::api;
use super::running::Running;
use super::state::NeighborRow;
use crate::ids::InterfaceId;
use ipnet::Ipv4Net;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// A route as the configuration has it: destination, interface, router.
type Known = (Ipv4Net, InterfaceId, Option<Ipv4Addr>);

/// Builds the answer with at most `limit` routes. `neighbors` are those that the management core knows.
pub fn routes(running: &Running, neighbors: &[NeighborRow], limit: usize) -> api::Routes {
    let known: HashMap<(InterfaceId, Ipv4Addr), &NeighborRow> =
        neighbors.iter().map(|row| ((row.interface, row.address), row)).collect();
    let all = list(running);
    let row = |(to, id, via): &Known| {
        let interface = running.config.interfaces.get(id.index())?;
        let router = via.map(|via| known.get(&(*id, via)));
        Some(api::Route {
            zone: interface.zone,
            to: to.trunc().to_string(),
            kind: if via.is_none() { "connected" } else { "static" }.to_owned(),
            interface: interface.name.clone(),
            realm: interface.realm.name().to_owned(),
            via: *via,
            mac: router.flatten().and_then(|row| row.mac).map(|mac| mac.to_string()),
            state: router.map(|row| row.map_or("unknown", |row| row.state).to_owned()),
        })
    };
    api::Routes { total: all.len() as u64, routes: all.iter().filter_map(row).take(limit).collect() }
}

/// Every route: zones in the order of the file, connected ones first in each.
fn list(running: &Running) -> Vec<Known> {
    let config = &running.config;
    let connected = (0u8..)
        .zip(&config.interfaces)
        .flat_map(|(id, interface)| interface.addresses.iter().map(move |net| (*net, InterfaceId(id), None)));
    let fixed = config.routes.iter().map(|route| (route.to, route.interface, Some(route.via)));
    let mut all: Vec<Known> = connected.chain(fixed).collect();
    let zones = config.zones();
    let zone = |id: InterfaceId| {
        let interface = config.interfaces.get(id.index());
        interface.and_then(|interface| zones.iter().position(|zone| *zone == interface.zone))
    };
    // Stable: within a zone the order stays.
    all.sort_by_key(|(_, id, _)| zone(*id));
    all
}

/// The most specific route of the configuration by which a packet to `destination` that leaves by this interface and
/// router goes.
pub fn route_of(
    running: &Running,
    interface: InterfaceId,
    via: Option<Ipv4Addr>,
    destination: Ipv4Addr,
) -> Option<Ipv4Net> {
    let here = list(running)
        .into_iter()
        .filter(|(to, id, router)| *id == interface && *router == via && to.contains(&destination));
    here.map(|(to, ..)| to.trunc()).max_by_key(Ipv4Net::prefix_len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{compile::compile, parse};
    use crate::ids::MacAddr;
    use crate::time::Tick;
    use std::sync::Arc;

    const CONFIG: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
zone = 3

[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"

[[route]]
to = "10.0.0.0/8"
via = "192.168.1.254"
zone = 3

[[snat]]
out = "wan"
"#;

    fn running() -> Running {
        let config = parse(CONFIG, "natgate.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
        let macs = vec![MacAddr::default(); config.devices.len()];
        let snapshot = Arc::new(compile(&config, &macs, 7, 0));
        Running::new(config, snapshot, Vec::new())
    }

    #[test]
    fn routes_are_listed_by_zone_with_what_is_known_of_their_routers() {
        let router = NeighborRow {
            interface: InterfaceId(1),
            address: Ipv4Addr::new(203, 0, 113, 1),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 0xfe])),
            state: "reachable",
            updated: Tick(0),
        };
        let shown = routes(&running(), &[router], usize::MAX);
        let rows: Vec<_> = shown
            .routes
            .iter()
            .map(|row| (row.zone, row.to.as_str(), row.kind.as_str(), row.via, row.state.as_deref()))
            .collect();
        let at = |a, b, c, d| Some(Ipv4Addr::new(a, b, c, d));
        let expected = [
            (3, "192.168.1.0/24", "connected", None, None),
            (3, "10.0.0.0/8", "static", at(192, 168, 1, 254), Some("unknown")),
            (0, "203.0.113.0/24", "connected", None, None),
            (0, "0.0.0.0/0", "static", at(203, 0, 113, 1), Some("reachable")),
        ];
        assert_eq!(rows, expected);
        assert_eq!(shown.routes[3].mac.as_deref(), Some("02:00:00:00:00:fe"));
        let few = routes(&running(), &[], 1);
        assert_eq!((few.total, few.routes.len()), (4, 1));
    }

    #[test]
    fn of_several_routes_the_most_specific_is_named() {
        let running = running();
        let wan = |via, to| route_of(&running, InterfaceId(1), via, to).map(|net| net.to_string());
        let router = Some(Ipv4Addr::new(203, 0, 113, 1));
        assert_eq!(wan(router, Ipv4Addr::new(9, 9, 9, 9)).as_deref(), Some("0.0.0.0/0"));
        assert_eq!(wan(None, Ipv4Addr::new(203, 0, 113, 9)).as_deref(), Some("203.0.113.0/24"));
    }
}

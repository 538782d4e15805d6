//! Routes by zone: what a packet sees of the routes depends on where it comes from and to which side it goes.
//!
//! - From a zone ([`ZonedRoutes::lookup`]): the zone's own routes, and those of external interfaces of every zone, which all
//!   zones share. The networks of another zone are not there.
//! - To the outside ([`ZonedRoutes::outside`]): the routes of external interfaces only. A translated packet must not
//!   be led into a zone that happens to hold an inner network with its destination.
//!
//! The longest prefix decides; of two routes with one prefix that of the zone itself, then the first in the file.

use super::lpm::{NextHop, RouteTable};
use crate::ids::{InterfaceId, Realm};
use crate::zone::ZoneMap;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A route, and whose it is: the zone and the realm of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZonedRoute {
    /// Destination.
    pub to: Ipv4Net,
    /// Where it leads.
    pub hop: NextHop,
    /// Zone of the interface.
    pub zone: u16,
    /// Which side the interface faces.
    pub realm: Realm,
}

/// The tables of one zone.
#[derive(Debug)]
struct Tables {
    all: RouteTable,
    outside: RouteTable,
}

/// The routes of every zone.
#[derive(Debug)]
pub struct ZonedRoutes(ZoneMap<Tables>);

impl ZonedRoutes {
    /// Builds the tables of `zones`.
    pub fn new(zones: impl IntoIterator<Item = u16>, routes: &[ZonedRoute]) -> ZonedRoutes {
        ZonedRoutes(ZoneMap::new(zones, |zone| {
            let table = |holds: &dyn Fn(&ZonedRoute) -> bool| {
                let own = routes.iter().filter(|route| route.zone == zone);
                let others = routes.iter().filter(|route| route.zone != zone);
                let seen = own.chain(others).filter(|route| holds(route));
                RouteTable::new(&seen.map(|route| (route.to, route.hop)).collect::<Vec<_>>())
            };
            let outside = |route: &ZonedRoute| route.realm == Realm::External;
            Tables { all: table(&|route| route.zone == zone || outside(route)), outside: table(&outside) }
        }))
    }

    /// Where a packet that came in from `zone` goes.
    #[inline]
    pub fn lookup(&self, zone: u16, destination: Ipv4Addr) -> Option<NextHop> {
        self.0.get(zone)?.all.lookup(destination)
    }

    /// Where a packet goes that leaves for the outside; interfaces of `zone` come first.
    #[inline]
    pub fn outside(&self, zone: u16, destination: Ipv4Addr) -> Option<NextHop> {
        self.0.get(zone)?.outside.lookup(destination)
    }

    /// The interfaces by which packets from `zone` go to the addresses from the first to the last of a range. Some more
    /// than once.
    pub fn interfaces(&self, zone: u16, range: (u32, u32)) -> impl Iterator<Item = InterfaceId> {
        self.0.get(zone).into_iter().flat_map(move |tables| tables.all.interfaces(range))
    }

    /// Every router that a route leads to, and on which interface. Some more than once.
    pub fn next_hops(&self) -> impl Iterator<Item = (InterfaceId, Ipv4Addr)> {
        self.0.values().flat_map(|tables| tables.all.next_hops())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str, interface: u8, zone: u16, realm: Realm) -> ZonedRoute {
        let hop = NextHop { interface: InterfaceId(interface), via: None };
        ZonedRoute { to: to.parse().unwrap(), hop, zone, realm }
    }

    fn leads(hop: Option<NextHop>) -> Option<u8> {
        hop.map(|hop| hop.interface.0)
    }

    #[test]
    fn a_zone_sees_its_own_routes_and_those_that_lead_outside() {
        use Realm::{External, Internal};
        let routes = [
            route("10.0.0.0/24", 0, 1, Internal),
            route("10.0.0.0/24", 1, 2, Internal),
            route("10.9.0.0/16", 2, 0, Internal),
            route("203.0.113.0/24", 3, 0, External),
            route("0.0.0.0/0", 3, 0, External),
            route("0.0.0.0/0", 4, 2, External),
            route("10.0.0.0/25", 4, 2, External),
        ];
        let table = ZonedRoutes::new([1, 2, 0], &routes);
        let from = |zone, to: &str| leads(table.lookup(zone, to.parse().unwrap()));
        let outside = |zone, to: &str| leads(table.outside(zone, to.parse().unwrap()));
        assert_eq!((from(1, "10.0.0.200"), from(2, "10.0.0.200")), (Some(0), Some(1)));
        assert_eq!((from(0, "10.0.0.200"), from(0, "10.9.0.1")), (Some(3), Some(2)));
        assert_eq!(from(1, "10.9.0.1"), Some(3), "another zone's network is not there");
        assert_eq!(from(1, "10.0.0.5"), Some(4), "the longest prefix decides");
        assert_eq!((from(1, "8.8.8.8"), from(2, "8.8.8.8")), (Some(3), Some(4)), "its own first");
        assert_eq!((outside(0, "10.9.0.1"), outside(2, "10.9.0.1")), (Some(3), Some(4)));
        assert_eq!((from(9, "8.8.8.8"), outside(9, "8.8.8.8")), (None, None), "a zone that is not there");
    }
}

//! Where packets would leave by, for the checks: the longest prefix of a zone, as `route::zoned` finds it, without a look
//! at every route for every rule.

use crate::config::draft::{Draft, InterfaceDraft};
use crate::config::model::RouteConfig;
use crate::ids::Realm;
use ipnet::Ipv4Net;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// A network and the interface that leads to it.
#[derive(Clone, Copy)]
struct Way<'d> {
    /// Of two to one network the first counts.
    number: usize,
    connected: bool,
    by: &'d InterfaceDraft,
}

/// The networks that interfaces and routes lead to.
pub(super) struct Ways<'d> {
    by_network: HashMap<Ipv4Net, Vec<Way<'d>>>,
    /// The lengths of their prefixes, the longest first.
    lengths: Vec<u8>,
    /// Those that internal interfaces lead to, by address.
    inside: Vec<(Ipv4Net, &'d InterfaceDraft)>,
    /// Each once, in ascending order.
    zones: Vec<u16>,
}

impl<'d> Ways<'d> {
    pub(super) fn new(draft: &'d Draft, routes: &[RouteConfig]) -> Self {
        let connected = draft.interfaces.iter().flat_map(|interface| {
            interface.addresses.iter().map(move |net| (net.value.trunc(), true, interface))
        });
        let routed = routes
            .iter()
            .filter_map(|route| Some((route.to, false, draft.interfaces.get(route.interface.index())?)));
        let mut ways = Ways {
            by_network: HashMap::new(),
            lengths: Vec::new(),
            inside: Vec::new(),
            zones: super::zones::all(draft),
        };
        for (number, (net, connected, by)) in connected.chain(routed).enumerate() {
            ways.by_network.entry(net).or_default().push(Way { number, connected, by });
            ways.lengths.push(net.prefix_len());
            if by.realm == Some(Realm::Internal) {
                ways.inside.push((net, by));
            }
        }
        ways.lengths.sort_unstable_by_key(|length| Reverse(*length));
        ways.lengths.dedup();
        ways.inside.sort_unstable_by_key(|(net, _)| net.network());
        ways
    }

    /// The zones that there are, each once, in ascending order.
    pub(super) fn zones(&self) -> &[u16] {
        &self.zones
    }

    /// The interface that packets from `zone` to `address` leave by.
    pub(super) fn by(&self, zone: u16, address: Ipv4Addr) -> Option<&'d InterfaceDraft> {
        self.lengths.iter().find_map(|length| {
            let net = Ipv4Net::new(address, *length).ok()?.trunc();
            let visible = self
                .by_network
                .get(&net)?
                .iter()
                .filter(|Way { by, .. }| by.zone == Some(zone) || by.realm == Some(Realm::External));
            // A connected prefix wins over a route of the same length.
            let best = |way: &&Way<'_>| (way.by.zone == Some(zone), way.connected, Reverse(way.number));
            visible.max_by_key(best).map(|way| way.by)
        })
    }

    /// Whether packets from `zone` to `address` stay inside.
    pub(super) fn is_inside(&self, zone: u16, address: Ipv4Addr) -> bool {
        self.by(zone, address).is_some_and(|by| by.realm == Some(Realm::Internal))
    }

    /// Whether some of these sources are behind an internal interface of the zone, or of any.
    pub(super) fn has_sources(&self, zone: Option<u16>, from: Ipv4Net) -> bool {
        let here = |other: u16| zone.is_none_or(|zone| zone == other);
        // The prefix may be wider than what is routed, such as 192.168.0.0/16 for several networks in it.
        let first = self.inside.partition_point(|(net, _)| net.network() < from.network());
        let rest = self.inside.get(first..).unwrap_or_default();
        let mut near = rest.iter().take_while(|(net, _)| net.network() <= from.broadcast());
        near.any(|(net, by)| from.contains(net) && by.zone.is_some_and(here))
            || self.zones.iter().any(|zone| here(*zone) && self.is_inside(*zone, from.network()))
    }
}

//! Zones: which of several networks with the same addresses is meant, and where a zone's routes lead.

use crate::config::draft::{Draft, InterfaceDraft};
use crate::config::error::Span;
use crate::config::mistake::Mistake;
use crate::config::model::RouteConfig;
use crate::config::reader::{At, Findings};
use crate::ids::Realm;
use ipnet::Ipv4Net;
use std::cmp::Reverse;
use std::net::Ipv4Addr;

/// The zones that there are, each once.
pub(super) fn all(draft: &Draft) -> Vec<u16> {
    let mut zones: Vec<u16> = draft.interfaces.iter().filter_map(|interface| interface.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    zones
}

/// The zone, if an interface lies in it.
pub(super) fn known(draft: &Draft, zone: At<u16>, findings: &mut Findings) -> Option<u16> {
    let zones = all(draft);
    if zones.contains(&zone.value) {
        return Some(zone.value);
    }
    // The zone of an interface that was wrong may be the one.
    if draft.interfaces.iter().all(|interface| interface.zone.is_some()) {
        findings.error(zone.at, Mistake::UnknownZone { zone: zone.value, known: zones });
    }
    None
}

/// The interface that packets from `zone` to `address` leave by: as `route::zoned` does it.
pub(super) fn way<'d>(
    draft: &'d Draft,
    routes: &[RouteConfig],
    zone: u16,
    address: Ipv4Addr,
) -> Option<&'d InterfaceDraft> {
    let connected = draft.interfaces.iter().flat_map(|interface| {
        // A connected prefix wins over a route of the same length.
        interface.addresses.iter().map(move |net| (net.value.trunc(), true, interface))
    });
    let routed = routes
        .iter()
        .filter_map(|route| Some((route.to, false, draft.interfaces.get(route.interface.index())?)));
    connected
        .chain(routed)
        .filter(|(net, _, by)| {
            net.contains(&address) && (by.zone == Some(zone) || by.realm == Some(Realm::External))
        })
        .enumerate()
        .max_by_key(|(number, (net, connected, by))| {
            (net.prefix_len(), by.zone == Some(zone), *connected, Reverse(*number))
        })
        .map(|(_, (_, _, by))| by)
}

/// Whether packets from `zone` to `address` stay inside.
pub(super) fn is_inside(draft: &Draft, routes: &[RouteConfig], zone: u16, address: Ipv4Addr) -> bool {
    way(draft, routes, zone, address).is_some_and(|by| by.realm == Some(Realm::Internal))
}

/// The zone of a backend: the one that was given, or the only one that leads inside to it.
pub(super) fn of_backend(
    draft: &Draft,
    routes: &[RouteConfig],
    backend: At<Ipv4Addr>,
    given: Option<At<u16>>,
    findings: &mut Findings,
) -> Option<u16> {
    if let Some(given) = given {
        return known(draft, given, findings);
    }
    let zones = all(draft);
    let mut inside = zones.iter().filter(|zone| is_inside(draft, routes, **zone, backend.value));
    match (inside.next(), inside.next()) {
        (Some(first), Some(second)) => {
            let (to, first, second) = (backend.value, *first, *second);
            findings.error(backend.at, Mistake::BackendAmbiguous { to, first, second });
            None
        }
        (Some(zone), None) => Some(*zone),
        // Outside, or nowhere: all zones see the same of it.
        _ => zones.first().copied(),
    }
}

/// Addresses of natgate that are visible from every zone must not belong to networks of several.
pub(super) fn not_shared(
    draft: &Draft,
    (first, last): (Ipv4Addr, Ipv4Addr),
    at: Span,
    findings: &mut Findings,
) {
    let overlaps = |net: &Ipv4Net| first <= net.broadcast() && net.network() <= last;
    let inside = draft.interfaces.iter().filter(|i| i.realm == Some(Realm::Internal) && i.zone.is_some());
    let mut holding = inside.filter_map(|interface| {
        let net = interface.addresses.iter().map(|address| address.value.trunc()).find(overlaps)?;
        Some((interface, net))
    });
    let Some((one, net)) = holding.next() else { return };
    if let Some((other, _)) = holding.find(|(other, _)| other.zone != one.zone) {
        let names = (one.name.value.clone(), other.name.value.clone());
        let address = first.max(net.network());
        findings.error(at, Mistake::AddressInZones { address, first: names.0, second: names.1 });
    }
}

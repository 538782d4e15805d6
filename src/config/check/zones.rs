//! Zones: which of several networks with the same addresses is meant.

use super::ways::Ways;
use crate::config::draft::Draft;
use crate::config::error::Span;
use crate::config::mistake::Mistake;
use crate::config::reader::{At, Findings};
use crate::ids::Realm;
use ipnet::Ipv4Net;
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

/// The zone of a backend: the one that was given, or the only one that leads inside to it.
pub(super) fn of_backend(
    draft: &Draft,
    ways: &Ways<'_>,
    backend: At<Ipv4Addr>,
    given: Option<At<u16>>,
    findings: &mut Findings,
) -> Option<u16> {
    if let Some(given) = given {
        return known(draft, given, findings);
    }
    let zones = ways.zones();
    let mut inside = zones.iter().filter(|zone| ways.is_inside(**zone, backend.value));
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

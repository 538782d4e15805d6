//! What becomes of a packet of a notrack class: a verdict on this packet alone, whatever came before it.
//!
//! Pure: a function of the configuration and the packet's headers. Workers ask it for every packet, the control thread for a
//! tuple that somebody wants explained.
//!
//! Order: the class, who sent it (sources that can not be, that are banned, that are not listed, that open a connection from
//! the wrong side), the translation, where that leads. A packet to an address of the gateway itself that the class does
//! not translate is not the class's: sessions have their answers there.

use super::Snapshot;
use super::plan::{Envelope, Goal, Header, NO_ROUTE, Refusal, check_size, check_source, check_ttl};
use super::snapshot::Interface;
use crate::classify::martian::is_martian_destination;
use crate::classify::notrack::entry::flags_of;
use crate::classify::notrack::{InterfaceMask, Treatment, Way};
use crate::ids::Realm;
use crate::packet::{Kind, Tuple};
use crate::route::NextHop;
use crate::telemetry::DropReason;
use crate::wire::tcp;
use std::net::Ipv4Addr;

/// How a packet passes without a session.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'s> {
    /// What the class says.
    pub treatment: &'s Treatment,
    /// What the packet becomes. Of an ICMP error, what its tuple becomes: the inverse of what it quotes.
    pub to: Tuple,
    /// Where it goes.
    pub goal: Goal,
}

/// Finds the class of a packet. `None`: none, so that it is tracked.
#[inline(always)]
pub fn classify<'s>(snap: &'s Snapshot, header: &Header) -> Option<&'s Treatment> {
    let notrack = &snap.notrack;
    if notrack.is_empty() {
        return None;
    }
    let Header { interface, tuple, kind, fragment, .. } = header;
    let (treatments, number) = if *kind == Kind::IcmpError {
        (&notrack.error_treatments, notrack.errors.find(*interface, tuple, None))
    } else {
        (&notrack.treatments, notrack.packets.find(*interface, tuple, flags_of(*kind, *fragment)))
    };
    let treatment = treatments.get(usize::from(number?))?;
    let arrival = snap.interface(*interface);
    // Not to let pass, that is: what is to be dropped is dropped there too.
    let passes = treatment.refuse.is_none() && treatment.dst.is_none();
    let is_ours = passes && snap.local_on(arrival, tuple.dst).is_some();
    (!is_ours && !is_elsewhere(snap, arrival, treatment, tuple.dst)).then_some(treatment)
}

/// Whether a packet of the service goes to hosts inside that are not where the class has its clients: they speak to it without
/// the class, which must not come between them.
#[inline]
fn is_elsewhere(snap: &Snapshot, arrival: &Interface, treatment: &Treatment, dst: Ipv4Addr) -> bool {
    let anywhere = treatment.leave == InterfaceMask::ALL;
    if treatment.way == Way::There || anywhere || arrival.realm == Realm::External {
        return false;
    }
    // Who is not listed has no address that could be translated.
    let map = treatment.dst.filter(|_| treatment.refuse.is_none());
    let zone = treatment.zone.unwrap_or(arrival.zone);
    let hop = snap.route_in(zone, map.map_or(dst, |map| map.apply(dst)));
    hop.is_some_and(|hop| {
        snap.interface(hop.interface).realm == Realm::Internal && !treatment.leave.contains(hop.interface)
    })
}

/// What becomes of a packet whose class is known.
///
/// # Errors
/// It is refused.
pub fn judge<'s>(
    snap: &'s Snapshot,
    header: &Header,
    treatment: &'s Treatment,
) -> Result<Passage<'s>, Refusal> {
    let arrival = snap.interface(header.interface);
    let Tuple { src, dst, .. } = header.tuple;
    // Who reports an error says nothing of whose flow it is about: the caller checks the reporter.
    if header.kind != Kind::IcmpError {
        if src == dst {
            return Err(DropReason::MartianSource.into());
        }
        check_source(snap, arrival, src)?;
        if snap.is_banned(arrival.zone, src) {
            return Err(DropReason::SourceBanned.into());
        }
    }
    if let Some(reason) = treatment.refuse {
        return Err(reason.into());
    }
    if treatment.refuse_opening
        && let Kind::Tcp { flags } = header.kind
        && flags & (tcp::SYN | tcp::ACK) == tcp::SYN
    {
        return Err(DropReason::NotrackOpening.into());
    }
    let to = Tuple {
        src: treatment.src.map_or(src, |map| map.apply(src)),
        dst: treatment.dst.map_or(dst, |map| map.apply(dst)),
        ..header.tuple
    };
    let zone = treatment.zone.unwrap_or(arrival.zone);
    // The routes of a zone lead inside and outside.
    Ok(Passage { treatment, to, goal: Goal { address: to.dst, realm: Realm::Internal, zone } })
}

impl Passage<'_> {
    /// Which way the packet leaves.
    ///
    /// # Errors
    /// Time to live, route or size stop it, or it may not go where the route leads.
    pub fn way_out(&self, snap: &Snapshot, header: &Header, envelope: Envelope) -> Result<NextHop, Refusal> {
        let Goal { address, zone, .. } = self.goal;
        let hop = snap.route_in(zone, address).ok_or(NO_ROUTE)?;
        let exit = snap.interface(hop.interface);
        if is_martian_destination(address) || exit.is_directed_broadcast(address) {
            return Err(DropReason::MartianDestination.into());
        }
        if !self.treatment.leave.contains(hop.interface) {
            return Err(DropReason::NotrackWrongWay.into());
        }
        let arrival = snap.interface(header.interface);
        let exposed = arrival.realm == Realm::Internal
            && exit.realm == Realm::External
            && self.treatment.src.is_none()
            && !self.treatment.untranslated;
        if exposed {
            return Err(DropReason::NotrackUntranslated.into());
        }
        // To the service the source means what its own zone says: who is outside must not seem to be a neighbour.
        let is_foreign = zone != arrival.zone
            && arrival.realm == Realm::External
            && exit.realm == Realm::Internal
            && self.treatment.src.is_none()
            && header.kind != Kind::IcmpError;
        let seen = || snap.route_in(zone, header.tuple.src).map(|hop| snap.interface(hop.interface).realm);
        if is_foreign && seen() != Some(Realm::External) {
            return Err(DropReason::SpoofedSource.into());
        }
        check_ttl(envelope)?;
        check_size(snap, envelope, hop)?;
        Ok(hop)
    }
}

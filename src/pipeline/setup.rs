//! The slow path: the first packet of a conversation. Which rule, which external port, new session.
//!
//! [`Core::plan`] only decides; [`Core::set_up`] asks whether there may be another session, acquires in order (port,
//! session) and releases on failure.

use super::Snapshot;
use super::admission::out_of_resources;
use super::forward::{Answer, Goal, NO_ROUTE, Stop};
use super::mesh::Work;
use super::snapshot::Interface;
use super::worker::Core;
use crate::classify::martian::{is_martian_destination, is_martian_source};
use crate::classify::{Forward, Source};
use crate::conntrack::key::V4Key;
use crate::conntrack::session::Lease;
use crate::conntrack::table::{InsertError, NewSession};
use crate::conntrack::tracker::{self, Observed};
use crate::device::Device;
use crate::ids::Realm;
use crate::nat::rewrite::Translation;
use crate::packet::{Fragment, Kind, Parsed, Tuple};
use crate::telemetry::DropReason;
use crate::time::Time;
use crate::wire::{icmp, protocol};
use std::net::Ipv4Addr;

/// What is to become of a packet without a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    /// Forwarded as it is, without a session: between internal networks.
    Route,
    /// Gets a session.
    Session(SessionPlan),
}

/// A session to be set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionPlan {
    /// Destination after translation.
    dst: Ipv4Addr,
    dport: u16,
    /// Number of the local address that the source becomes; `None`: the source stays.
    source: Option<u16>,
    /// Realm and zone of the interface that answers will come in by.
    answers_from: (Realm, u16),
    /// Its handshake is made by the gateway first.
    pub(super) syn_proxy: bool,
}

impl SessionPlan {
    /// Where the packets go.
    pub(super) fn goal(&self) -> Goal {
        let (realm, zone) = self.answers_from;
        Goal { address: self.dst, realm, zone }
    }

    /// The port that they go to.
    pub(super) fn port(&self) -> u16 {
        self.dport
    }
}

impl Plan {
    /// Where the packet goes.
    pub(super) fn goal(&self, snap: &Snapshot, state: &Parsed) -> Goal {
        match self {
            Plan::Route => Goal::beside(snap.interface(state.interface), state.tuple.dst),
            Plan::Session(session) => session.goal(),
        }
    }
}

impl<D: Device> Core<D> {
    /// Decides what becomes of a packet without a session.
    pub(super) fn plan(&self, snap: &Snapshot, state: &Parsed) -> Result<Plan, Stop> {
        let Tuple { src, dst, dport, protocol, .. } = state.tuple;
        let arrival = snap.interface(state.interface);
        check_addresses(snap, arrival, src, dst)?;
        if stays_inside(snap, arrival, dst) {
            return Ok(Plan::Route);
        }
        match state.kind {
            Kind::Tcp { .. } | Kind::Udp | Kind::Dccp | Kind::Gre | Kind::IcmpRequest => {}
            // Its port may have to change, which is known too late. No sender fragments what opens an association.
            Kind::Sctp if state.fragment != Fragment::Whole => return Err(DropReason::SctpFragmented.into()),
            Kind::Sctp => {}
            Kind::IcmpReply => return Err(DropReason::IcmpUnsolicited.into()),
            Kind::IcmpOther(_) | Kind::IcmpError => return Err(DropReason::IcmpTypeUnsupported.into()),
            Kind::Other if matches!(protocol, protocol::IGMP | protocol::AH) => {
                return Err(DropReason::ProtocolUnsupported.into());
            }
            Kind::Other => {}
        }
        match snap.local_on(arrival, dst) {
            // The inner face of the gateway is not there for the outside.
            Some(number) if !is_visible(snap, arrival, number) => Err(DropReason::NoRule.into()),
            Some(number) => match snap.local.forward(number, protocol, dport) {
                Some(forward) => plan_forward(snap, arrival, &state.tuple, number, forward),
                None => Err(unclaimed(snap, state, number).into()),
            },
            None => plan_outbound(snap, arrival, &state.tuple),
        }
    }

    /// Makes the session that was planned and says how its packets are translated.
    pub(super) fn set_up(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
        plan: &SessionPlan,
    ) -> Result<Translation, Stop> {
        let state = &work.packet.state;
        let observed = Observed::read(state.kind, state.fragment, work.packet.l4_bytes())?;
        self.set_up_as(snap, now, work, plan, &observed)
    }

    /// As [`Core::set_up`], but what opens the session is `observed` in place of the packet.
    pub(super) fn set_up_as(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
        plan: &SessionPlan,
        observed: &Observed<'_>,
    ) -> Result<Translation, Stop> {
        let state = &work.packet.state;
        let (policy, mark) = snap.conntrack.choose(state.interface, &state.tuple);
        let opening = tracker::open(observed, &snap.conntrack, policy)?;
        let admitted = self.check_limits(now.tick(), work.key, &opening)?;
        let mut to = Tuple { dst: plan.dst, dport: plan.dport, ..state.tuple };
        let lease = match plan.source {
            Some(number) => self.lease(snap, number, &mut to)?,
            None => None,
        };
        let translation = Translation::new(state.tuple, to);
        let new = NewSession {
            original: work.key,
            reply: V4Key::new(to.inverse(), plan.answers_from.0, plan.answers_from.1),
            opening,
            now: now.tick(),
            length: state.total_len,
            policy,
            mark,
            protected: admitted.protected,
            lease,
            l3: translation.l3,
            l4: translation.l4,
        };
        match self.settle(new, admitted) {
            Ok(id) => {
                self.post_timer(id);
                self.counters.sessions_created.increment();
                Ok(translation)
            }
            Err(error) => {
                if let Some(lease) = lease {
                    self.space.release(lease.address, lease.protocol, lease.port);
                }
                Err(match error {
                    InsertError::Full => out_of_resources(DropReason::SessionTableFull),
                    InsertError::Collision => DropReason::TupleCollision.into(),
                })
            }
        }
    }

    /// Takes an external port and writes it, with its address, into the source of `to`. A protocol without ports gets
    /// the address alone: of two hosts inside that speak it to the same one outside, the second collides.
    fn lease(&mut self, snap: &Snapshot, number: u16, to: &mut Tuple) -> Result<Option<Lease>, Stop> {
        let exhausted = out_of_resources(DropReason::PortsExhausted);
        let local = snap.local.get(number).ok_or(exhausted)?;
        to.src = local.address;
        if protocol::is_portless(to.protocol) {
            return Ok(None);
        }
        let rest = snap.steering.rest(&to.inverse());
        let (space, rng) = (&mut self.space, &mut self.rng);
        let port = space.allocate(number, to.protocol, (rest, to.sport), || rng.next()).ok_or(exhausted)?;
        to.sport = port;
        Ok(Some(Lease { address: number, port, protocol: to.protocol }))
    }
}

/// The address of a pool that a subscriber is translated to. An empty pool has none: never untranslated.
fn from_pool(snap: &Snapshot, pool: usize, subscriber: Ipv4Addr) -> Result<u16, Stop> {
    snap.pool_address(pool, subscriber).ok_or(out_of_resources(DropReason::PortsExhausted))
}

/// Whether a packet goes from one internal network to another: forwarded without translation.
pub(super) fn stays_inside(snap: &Snapshot, arrival: &Interface, dst: Ipv4Addr) -> bool {
    arrival.realm == Realm::Internal
        && snap.local_on(arrival, dst).is_none()
        && snap
            .route_in(arrival.zone, dst)
            .is_some_and(|hop| snap.interface(hop.interface).realm == Realm::Internal)
}

/// Refuses sources that can not be, and those that belong on the other side (RFC 1812 5.3.7, RFC 2827).
pub(super) fn check_source(snap: &Snapshot, arrival: &Interface, src: Ipv4Addr) -> Result<(), DropReason> {
    if is_martian_source(src) || snap.local_on(arrival, src).is_some() || arrival.is_directed_broadcast(src) {
        return Err(DropReason::MartianSource);
    }
    let back = snap.route_in(arrival.zone, src).map(|hop| snap.interface(hop.interface));
    let honest = back.is_some_and(|back| match arrival.realm {
        // Inside, a source belongs to one interface: guests can not pose as the office.
        Realm::Internal => back.local == arrival.local,
        // Outside, answers may come by another uplink than the one that the route prefers.
        Realm::External => back.realm == Realm::External,
    });
    if honest { Ok(()) } else { Err(DropReason::SpoofedSource) }
}

/// Refuses addresses between which nothing may be forwarded.
fn check_addresses(snap: &Snapshot, arrival: &Interface, src: Ipv4Addr, dst: Ipv4Addr) -> Result<(), Stop> {
    if src == dst {
        return Err(DropReason::MartianSource.into());
    }
    check_source(snap, arrival, src)?;
    check_destination(snap, arrival, dst)?;
    Ok(())
}

/// Refuses destinations to which nothing is forwarded (RFC 1812 5.3.7, 5.3.5.2).
pub(super) fn check_destination(
    snap: &Snapshot,
    arrival: &Interface,
    dst: Ipv4Addr,
) -> Result<(), DropReason> {
    let broadcast = || {
        snap.route_in(arrival.zone, dst)
            .is_some_and(|hop| snap.interface(hop.interface).is_directed_broadcast(dst))
    };
    if is_martian_destination(dst) || broadcast() { Err(DropReason::MartianDestination) } else { Ok(()) }
}

/// Whether a local address may be spoken to from the interface: from outside not if it is an inner interface's.
pub(super) fn is_visible(snap: &Snapshot, arrival: &Interface, number: u16) -> bool {
    let own = snap.local.get(number).and_then(|local| local.interface);
    arrival.realm == Realm::Internal || own.is_none_or(|own| snap.interface(own).realm == Realm::External)
}

/// Why a packet to one of our addresses, without session and forward, is dropped.
fn unclaimed(snap: &Snapshot, state: &Parsed, number: u16) -> DropReason {
    match (snap.local.get(number), state.kind) {
        (Some(local), Kind::IcmpRequest) if local.interface.is_some() => DropReason::FragmentToGateway,
        (Some(local), Kind::IcmpRequest) if local.ports.is_some() => DropReason::GatewayUnsupported,
        (Some(local), _) if local.ports.is_some() => DropReason::NoSession,
        _ => DropReason::GatewayUnsupported,
    }
}

/// Destination translation, and with `source` full NAT. The backend is in the forward's zone, whatever the client's.
fn plan_forward(
    snap: &Snapshot,
    arrival: &Interface,
    &Tuple { src, dport, .. }: &Tuple,
    number: u16,
    forward: &Forward,
) -> Result<Plan, Stop> {
    let hop = snap.route_in(forward.zone, forward.to).ok_or(NO_ROUTE)?;
    let out = snap.interface(hop.interface);
    let source = match forward.source {
        Some(Source::Interface) => Some(out.local),
        Some(Source::Pool(pool)) => Some(from_pool(snap, pool, src)?),
        // Hairpin: client and backend are both inside. The backend must see the client's outside form, or it
        // would answer directly (RFC 4787 REQ-9): the address that the client itself used.
        None if arrival.realm == Realm::Internal => {
            let has_ports = snap.local.get(number).is_some_and(|local| local.ports.is_some());
            Some(if has_ports { number } else { out.local })
        }
        None if out.realm == Realm::External => return Err(DropReason::NoRule.into()),
        // To the backend the client's address means what its own zone says: it must not seem to be a neighbour.
        None => {
            let seen = snap.route_in(forward.zone, src).map(|hop| snap.interface(hop.interface).realm);
            if seen != Some(Realm::External) {
                return Err(DropReason::SpoofedSource.into());
            }
            None
        }
    };
    let answers_from = (out.realm, out.zone);
    Ok(Plan::Session(SessionPlan {
        dst: forward.to,
        dport: forward.backend_port(dport),
        source,
        answers_from,
        syn_proxy: forward.syn_proxy,
    }))
}

/// A packet from inside to outside: source translation.
fn plan_outbound(snap: &Snapshot, arrival: &Interface, tuple: &Tuple) -> Result<Plan, Stop> {
    if arrival.realm == Realm::External {
        return Err(DropReason::NoRule.into());
    }
    let hop = snap.route_in(arrival.zone, tuple.dst).ok_or(NO_ROUTE)?;
    let out = snap.interface(hop.interface);
    let rule =
        snap.snat.iter().find(|rule| rule.matches(arrival.zone, tuple.src, tuple.dst, hop.interface)).ok_or(
            Stop::Refused(DropReason::NoRule, Some(Answer::unreachable(icmp::CODE_ADMIN_PROHIBITED))),
        )?;
    let source = match rule.source {
        Source::Interface => out.local,
        Source::Pool(pool) => from_pool(snap, pool, tuple.src)?,
    };
    let source = Some(source);
    let answers_from = (out.realm, out.zone);
    let (dst, dport) = (tuple.dst, tuple.dport);
    Ok(Plan::Session(SessionPlan { dst, dport, source, answers_from, syn_proxy: false }))
}

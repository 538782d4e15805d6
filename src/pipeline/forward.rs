//! The fast path: a packet at its owner, looked up, checked, rewritten, sent.
//!
//! Nothing is changed, in the packet or in a session, before every check has passed.

use super::Snapshot;
use super::mesh::Work;
use super::message::FromWorker;
use super::plan::{
    Answer, Envelope, Goal, Header, Plan, Refusal, check_destination, check_source, check_ttl, is_mapped,
    plan, stays_inside, way_out,
};
use super::probes::may_be_answer;
use super::session_events::Change;
use super::stateless::classify;
use super::worker::Core;
use crate::conntrack::session::{Direction, Shape};
use crate::conntrack::table::SessionId;
use crate::conntrack::tracker::{self, Observed, Tracked};
use crate::device::Device;
use crate::ids::{InterfaceId, MacAddr, Realm, WorkerId};
use crate::nat::icmp_error::rewrite_error;
use crate::nat::rewrite::{Translation, check_fragment, rewrite};
use crate::nat::sequence::renumber_quote;
use crate::packet::{Fragment, Kind, Packet, PacketBuf, Parsed, Tuple};
use crate::route::neighbor_table::NeighborState;
use crate::telemetry::DropReason;
use crate::time::Time;
use crate::wire::icmp;
use std::net::Ipv4Addr;

/// Why a packet does not go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// It is dropped, and its sender may be told.
    Refused(DropReason, Option<Answer>),
    /// Its next hop's Ethernet address is not known yet.
    Wait(InterfaceId, Ipv4Addr),
    /// It was for the gateway itself, which has dealt with it.
    Consumed,
    /// It is translated and comes in again, from outside in this zone.
    Turn(u16),
    /// Another worker has to do with it.
    HandOver(WorkerId),
    /// Another worker has to say what [`super::alg::Watcher`] wants to know of it.
    Ask(WorkerId),
}

impl From<DropReason> for Stop {
    fn from(reason: DropReason) -> Stop {
        Stop::Refused(reason, None)
    }
}

impl From<Refusal> for Stop {
    fn from(Refusal { reason, answer }: Refusal) -> Stop {
        Stop::Refused(reason, answer)
    }
}

/// Where a packet leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub(super) interface: InterfaceId,
    pub(super) mac: MacAddr,
}

impl<D: Device> Core<D> {
    /// Brings one packet to its verdict.
    pub(super) fn forward(&mut self, snap: &Snapshot, now: Time, mut work: Work<D::Buf>) {
        let done = match work.packet.state.kind {
            Kind::IcmpError => self.translate_error(snap, now, &mut work),
            _ => self.translate(snap, now, &mut work),
        };
        match done {
            Ok(exit) => self.send_packet(snap, work.packet, exit),
            Err(Stop::Refused(reason, answer)) => self.refuse(snap, now, work.packet, reason, answer),
            Err(Stop::Wait(interface, address)) => self.wait(snap, now, work.packet, interface, address),
            Err(Stop::Consumed) => self.counters.consumed.increment(),
            Err(Stop::Turn(zone)) => self.turn(snap, now, work, zone),
            Err(Stop::HandOver(worker)) => self.hand_over(worker, work),
            Err(Stop::Ask(worker)) => self.ask(worker, work.packet),
        }
    }

    pub(super) fn translate(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &mut Work<D::Buf>,
    ) -> Result<Exit, Stop> {
        let state = work.packet.state;
        match self.shard.lookup(&work.key, work.hash) {
            Some(flow) if self.shard.session(flow.0).takes_detour() => {
                self.translate_detour(snap, now, work, flow)
            }
            Some((id, direction)) => {
                let (translation, goal) = self.way_of(id, direction);
                let exit = self.check_exit(snap, now, &state, goal)?;
                if state.fragment != Fragment::Whole {
                    check_fragment(&state, translation.to)?;
                }
                if state.fragment == Fragment::Later {
                    tracker::touch(self.shard.session(id), direction, state.total_len, now.tick());
                } else {
                    let observed = Observed::read(state.kind, state.fragment, work.packet.l4_bytes())?;
                    self.track(snap, now, (id, direction), &observed, state.total_len)?;
                }
                rewrite(&mut work.packet, &translation)?;
                Ok(exit)
            }
            None => {
                let header = Header::of(&state);
                if may_be_answer(&state)
                    && let Some(stop) = self.hear_whether_up(snap, now, work)
                {
                    return Err(stop);
                }
                if let Some(treatment) = classify(snap, &header) {
                    return self.translate_untracked(snap, now, &mut work.packet, treatment);
                }
                let plan = plan(snap, &header)?;
                if let Plan::Session(session) = &plan
                    && session.syn_proxy
                    && self.syn_proxy.is_some()
                {
                    return self.greet(snap, now, work, session);
                }
                match &plan {
                    Plan::Inbound(number) => return self.let_in(snap, now, work, *number),
                    Plan::Turn(session) => return self.turn_first(snap, now, work, session),
                    Plan::Route | Plan::Session(_) => {}
                }
                let exit = self.check_exit(snap, now, &state, plan.goal(snap, &header))?;
                let translation = match plan {
                    Plan::Inbound(_) | Plan::Turn(_) => return Err(DropReason::NoSession.into()),
                    Plan::Route => Translation::new(state.tuple, state.tuple),
                    // The first fragment, which comes here before, was refused.
                    Plan::Session(_) if state.fragment == Fragment::Later => {
                        return Err(DropReason::FragmentOrphan.into());
                    }
                    Plan::Session(session) => {
                        let shape = Shape { turns: state.turned, ..Shape::default() };
                        self.set_up(snap, now, work, &session, shape)?
                    }
                };
                rewrite(&mut work.packet, &translation)?;
                Ok(exit)
            }
        }
    }

    /// Tracks a packet of a session, and tells whom it concerns.
    #[inline]
    pub(super) fn track(
        &mut self,
        snap: &Snapshot,
        now: Time,
        (id, direction): (SessionId, Direction),
        observed: &Observed<'_>,
        length: u16,
    ) -> Result<Tracked, DropReason> {
        let session = self.shard.session(id);
        let tracked = tracker::track(session, direction, observed, length, now.tick(), &snap.conntrack)?;
        if tracked.changed {
            self.shard.reclassify(id);
            self.tell_change(id, Change::Update);
        }
        if tracked.shortened || tracked.reopened {
            self.post_timer(id);
        }
        Ok(tracked)
    }

    /// What becomes of a packet of a session in this direction, and where it goes: to where the other direction comes
    /// from.
    pub(super) fn way_of(&self, id: SessionId, direction: Direction) -> (Translation, Goal) {
        let session = self.shard.session(id);
        let other = session.key(direction.reverse());
        let to = other.tuple().inverse();
        let translation = Translation { to, l3: session.l3(direction), l4: session.l4(direction) };
        (translation, Goal { address: to.dst, realm: other.realm(), zone: other.zone() })
    }

    /// Translates an ICMP error about a session (RFC 5508 section 4). It neither refreshes nor changes the session
    /// (RFC 5508 REQ-6, RFC 5382 REQ-10).
    fn translate_error(&mut self, snap: &Snapshot, now: Time, work: &mut Work<D::Buf>) -> Result<Exit, Stop> {
        let state = work.packet.state;
        let arrival = snap.interface(state.interface);
        // The session says nothing of who reports the error: anybody on the way may.
        check_reporter(snap, &work.packet)?;
        let (to, goal, accompanied) = match self.shard.lookup(&work.key, work.hash) {
            Some((id, direction)) => {
                let (translation, goal) = self.way_of(id, direction);
                let accompanied = self.shard.session(id).is_accompanied().then_some((id, direction));
                if self.shard.session(id).turns() && goal.realm == Realm::External {
                    check_ttl(Envelope::of(&state))?;
                    rewrite_error_to(snap, &mut work.packet, translation.to, false)?;
                    self.renumber_quoted(&mut work.packet, accompanied)?;
                    return Err(Stop::Turn(goal.zone));
                }
                (translation.to, goal, accompanied)
            }
            None => {
                if let Some(treatment) = classify(snap, &Header::of(&state)) {
                    return self.translate_untracked(snap, now, &mut work.packet, treatment);
                }
                let dst = state.tuple.dst;
                let is_turned_to = |number| is_mapped(snap, number, state.tuple.protocol);
                if arrival.realm == Realm::Internal
                    && (snap.local_on(arrival, dst).is_some_and(is_turned_to)
                        || snap.local.statics().of_external(dst).is_some())
                {
                    self.check_turn(snap, &state.tuple, arrival.zone).map_err(|stop| match stop {
                        Stop::HandOver(_) => stop,
                        _ => DropReason::IcmpUnsolicited.into(),
                    })?;
                }
                if !stays_inside(snap, arrival, state.tuple.dst) {
                    return Err(DropReason::IcmpUnsolicited.into());
                }
                check_destination(snap, arrival, state.tuple.dst)?;
                (state.tuple, Goal::beside(arrival, state.tuple.dst), None)
            }
        };
        let exit = self.check_exit(snap, now, &state, goal)?;
        rewrite_error_to(snap, &mut work.packet, to, goal.realm == Realm::External)?;
        self.renumber_quoted(&mut work.packet, accompanied)?;
        Ok(exit)
    }

    /// Renumbers what an ICMP error quotes of a session of whose ends each has numbers of its own.
    fn renumber_quoted(
        &self,
        packet: &mut Packet<D::Buf, Parsed>,
        accompanied: Option<(SessionId, Direction)>,
    ) -> Result<(), DropReason> {
        let Some((id, direction)) = accompanied else { return Ok(()) };
        let message = packet.l3_l4_mut()?.1;
        if self.is_watched(id) {
            renumber_quote(message, |quoted| self.quoted_by_watched(id, direction, quoted));
        } else {
            renumber_quote(message, |quoted| self.quoted_by_proxy(id, direction, quoted));
        }
        Ok(())
    }

    /// Everything that can stop a packet on its way out: time to live, route, size, neighbour.
    // Always: what it returns would go through memory, written in bytes and read as words.
    #[inline(always)]
    pub(super) fn check_exit(
        &mut self,
        snap: &Snapshot,
        now: Time,
        state: &Parsed,
        goal: Goal,
    ) -> Result<Exit, Stop> {
        let hop = way_out(snap, Envelope::of(state), goal)?;
        let neighbor = hop.neighbor(goal.address);
        match self.resolve(now, hop.interface, neighbor) {
            Some(mac) => Ok(Exit { interface: hop.interface, mac }),
            None => Err(Stop::Wait(hop.interface, neighbor)),
        }
    }

    /// A neighbour's Ethernet address; if it is not known, the management core is asked for it once in a while.
    pub(super) fn resolve(
        &mut self,
        now: Time,
        interface: InterfaceId,
        address: Ipv4Addr,
    ) -> Option<MacAddr> {
        match self.neighbors.get(interface, address) {
            Some(NeighborState::Resolved(mac)) => Some(mac),
            Some(NeighborState::Asked(at)) if now < at + crate::route::neighbors::RETRY => None,
            _ => {
                // In a full table there is no place for the answer: nobody is asked, the packet waits in vain.
                if self.neighbors.set(interface, address, NeighborState::Asked(now)).is_ok()
                    && !self.tell(FromWorker::Resolve { interface, address })
                {
                    // Nobody knows of the question, so nobody would ever take the entry out again.
                    self.neighbors.remove(interface, address);
                }
                None
            }
        }
    }

    pub(super) fn wait(
        &mut self,
        snap: &Snapshot,
        now: Time,
        packet: Packet<D::Buf, Parsed>,
        interface: InterfaceId,
        address: Ipv4Addr,
    ) {
        if let Err(packet) = self.waiting.enter(now, (interface, address), packet) {
            self.refuse(snap, now, packet, DropReason::NeighborQueueFull, None);
        }
    }
}

/// Refuses an ICMP error that does not go to whom the quoted packet came from, that nobody can have sent, or that is a
/// redirect, which is about another link.
pub(super) fn check_reporter<B: PacketBuf>(
    snap: &Snapshot,
    packet: &Packet<B, Parsed>,
) -> Result<(), DropReason> {
    let header = packet.ipv4()?;
    // The tuple is the inverse of the quoted one.
    if header.destination() != packet.state.tuple.dst {
        return Err(DropReason::IcmpInvalid);
    }
    if packet.l4_bytes().first() == Some(&icmp::REDIRECT) {
        return Err(DropReason::IcmpTypeUnsupported);
    }
    if packet.state.turned {
        return Ok(());
    }
    check_source(snap, snap.interface(packet.state.interface), header.source())
}

/// Translates an ICMP error whose tuple becomes `to`. `exposed`: it goes outside although its source may be an internal
/// address, and only sessions have addresses that may be seen there.
pub(super) fn rewrite_error_to<B: PacketBuf>(
    snap: &Snapshot,
    packet: &mut Packet<B, Parsed>,
    to: Tuple,
    exposed: bool,
) -> Result<(), DropReason> {
    let state = packet.state;
    let reporter = packet.ipv4()?.source();
    let from_endpoint = reporter == state.tuple.src;
    // A router inside must not be seen outside (RFC 5508 REQ-5c); one outside stays who it is.
    let arrival = snap.interface(state.interface);
    let hide = arrival.realm == Realm::Internal && (exposed || to.src != state.tuple.src);
    let source = if from_endpoint {
        Some(to.src)
    } else if hide {
        // It may have an address outside of its own.
        let own = snap.local.statics().any_of_internal(arrival.zone, reporter);
        Some(own.map_or(to.src, |own| own.outside(reporter)))
    } else {
        None
    };
    rewrite_error(packet, source, to.inverse())
}

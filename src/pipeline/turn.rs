//! Packets that do not go the short way: of sessions that came in by a mapping and have no answer yet, and of those whose
//! remote end is behind the gateway too (hairpinning, RFC 4787 REQ-9).
//!
//! Of a hairpin each side has a session of its own, as if the other one were outside, and they are with the owners of the two
//! hosts. A packet is translated by the sender's session, *turned*: it is then a packet from outside whose source is an
//! address of ours; and it goes to the owner of the external endpoint that it is sent to, whose session translates it again.
//!
//! | at | the packet is | and becomes |
//! |---|---|---|
//! | the owner of X:x | C2:q > X:x, from inside, without a session | handed to the owner of C2, if X:x is a mapping's |
//! | the owner of C2 | the same | X:y > X:x, turned |
//! | the owner of X:x | X:y > X:x, from outside | X:y > C1:p, sent |
//!
//! X:x may also be an address that C1 has outside alone (`[[static]]`), and so may X:y be C2's. Where both are, one session knows
//! both ends and nothing is turned.

use super::Snapshot;
use super::alg::Step;
use super::forward::{Exit, Stop};
use super::mesh::{Handoff, Work};
use super::plan::{Envelope, Goal, SessionPlan, check_ttl, kept_out, may_come_in};
use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::{Direction, NewSession, Shape};
use crate::conntrack::sources::V4Source;
use crate::conntrack::table::SessionId;
use crate::conntrack::tracker::{self, Observed};
use crate::device::Device;
use crate::ids::{Realm, WorkerId};
use crate::nat::mapping::External;
use crate::nat::rewrite::{Translation, check_fragment, rewrite};
use crate::packet::{Fragment, Kind, Tuple};
use crate::telemetry::{DropReason, HandoffCause};
use crate::time::Time;
use crate::wire::tcp;

impl<D: Device> Core<D> {
    /// Translates a packet of a session that takes a detour.
    #[cold]
    #[inline(never)]
    pub(super) fn translate_detour(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &mut Work<D::Buf>,
        (id, direction): (SessionId, Direction),
    ) -> Result<Exit, Stop> {
        let watched = self.is_watched(id);
        if self.shard.session(id).is_accompanied() && !watched {
            return self.translate_proxied(snap, now, work, (id, direction));
        }
        let state = work.packet.state;
        let (translation, goal) = self.way_of(id, direction);
        let step = if watched { self.look_into(snap, now, work, (id, direction))? } else { Step::default() };
        let turning = self.shard.session(id).turns() && goal.realm == Realm::External;
        let exit = if turning {
            check_ttl(Envelope::of(&state))?;
            Err(Stop::Turn(goal.zone))
        } else {
            let leaving = step.leaving(&state)?;
            Ok(self.check_exit(snap, now, &leaving, goal).map_err(|stop| step.explain(stop))?)
        };
        if state.fragment != Fragment::Whole {
            check_fragment(&state, translation.to)?;
        }
        let before = self.shard.session(id).last_seen();
        if state.fragment == Fragment::Later {
            tracker::touch(self.shard.session(id), direction, state.total_len, now.tick());
        } else {
            let observed = match step.segment {
                Some(segment) => Observed::Tcp(self.as_sent(segment, (id, direction))),
                None => Observed::read(state.kind, state.fragment, work.packet.l4_bytes())?,
            };
            let tracked = self.track(snap, now, (id, direction), &observed, state.total_len)?;
            if let Some(segment) = step.segment {
                self.pass_segment(&mut work.packet, (id, direction), segment, (step, tracked.reopened))?;
            }
        }
        let session = self.shard.session(id);
        if session.is_unanswered() {
            match direction {
                // A stranger does not keep what nobody inside has asked for.
                Direction::Original => session.set_last_seen(before),
                Direction::Reply if is_reset(state.kind) => session.set_last_seen(before),
                Direction::Reply => {
                    session.set_answered();
                    let remote = session.key(Direction::Original).tuple().src;
                    if let Some(lease) = session.lease() {
                        self.strengthen(lease, remote);
                    }
                }
            }
        }
        rewrite(&mut work.packet, &translation)?;
        exit
    }

    /// A packet from outside without a session, to a port of ours: if its mapping lets it in it opens one.
    #[cold]
    #[inline(never)]
    pub(super) fn let_in(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &mut Work<D::Buf>,
        number: u16,
    ) -> Result<Exit, Stop> {
        let state = work.packet.state;
        let Tuple { src, dport, protocol, .. } = state.tuple;
        // The first fragment, which comes here before, was refused; and nobody begins with another segment.
        if state.fragment == Fragment::Later || !may_come_in(state.kind) {
            return Err(DropReason::NoSession.into());
        }
        let external = External { number, protocol, port: dport };
        let expected = self.expected(external, (src, state.turned), now);
        let admitted = self.admitting(snap, external, (src, state.turned), expected.is_some());
        let (endpoint, internal) = match admitted {
            Ok(admitted) => admitted,
            // From inside: the two ends would learn of each other by it.
            Err(reason) if state.turned => return Err(reason.into()),
            Err(reason) => return Err(kept_out(snap.interface(state.interface), state.kind, reason).into()),
        };
        let to = Tuple { dst: internal.address, dport: internal.port, ..state.tuple };
        let reply = V4Key::new(to.inverse(), Realm::Internal, internal.zone);
        let goal = Goal { address: to.dst, realm: Realm::Internal, zone: internal.zone };
        let exit = self.check_exit(snap, now, &state, goal)?;
        let observed = Observed::read(state.kind, state.fragment, work.packet.l4_bytes())?;
        let (policy, mark) = snap.conntrack.choose(state.interface, &state.tuple);
        let opening = tracker::open(&observed, &snap.conntrack, policy)?;
        let host = V4Source::new(internal.zone, internal.address);
        let admitted = self.check_limits(now.tick(), host, &opening)?;
        let translation = Translation::new(state.tuple, to);
        let new = NewSession {
            original: work.key,
            reply,
            opening,
            now: now.tick(),
            length: state.total_len,
            policy,
            mark,
            protected: admitted.protected,
            lease: Some(endpoint.lease),
            shape: Shape { inbound: true, turns: state.turned, mapped: true },
            l3: translation.l3,
            l4: translation.l4,
        };
        let id = self.establish(new, admitted, Some(endpoint))?;
        if let Some(expected) = expected {
            self.fulfil(&expected);
        }
        if !snap.algs.is_off() {
            self.watch(snap, now, id, (&observed, &work.packet));
        }
        rewrite(&mut work.packet, &translation)?;
        Ok(exit)
    }

    /// The first packet from somebody inside to an external endpoint of somebody inside.
    #[cold]
    #[inline(never)]
    pub(super) fn turn_first(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &mut Work<D::Buf>,
        plan: &SessionPlan,
    ) -> Result<Exit, Stop> {
        let state = work.packet.state;
        self.check_turn(snap, &state.tuple, snap.interface(state.interface).zone)?;
        check_ttl(Envelope::of(&state))?;
        if state.fragment == Fragment::Later {
            return Err(DropReason::FragmentOrphan.into());
        }
        let translation = self.set_up(snap, now, work, plan, Shape { turns: true, ..Shape::default() })?;
        rewrite(&mut work.packet, &translation)?;
        Err(Stop::Turn(plan.answers_from.1))
    }

    /// Whether a packet from inside to an external endpoint goes on here: at the owner of its sender, if it can come to
    /// anything.
    pub(super) fn check_turn(&mut self, snap: &Snapshot, tuple: &Tuple, zone: u16) -> Result<(), Stop> {
        let is_static = snap.local.statics().of_external(tuple.dst).is_some();
        if !is_static && snap.steering.owner(tuple, (Realm::Internal, zone), &snap.local) == self.id {
            let number = snap.local.find(zone, tuple.dst).ok_or(DropReason::NoSession)?;
            let external = External { number, protocol: tuple.protocol, port: tuple.dport };
            if self.mappings.at(&external).is_none() {
                return Err(DropReason::NoSession.into());
            }
        }
        let sender = snap.steering.outbound(tuple);
        if sender == self.id { Ok(()) } else { Err(Stop::HandOver(sender)) }
    }

    /// Lets a packet that was translated to an external endpoint of ours come in again, by an external interface of `zone`.
    #[cold]
    #[inline(never)]
    pub(super) fn turn(&mut self, snap: &Snapshot, now: Time, mut work: Work<D::Buf>, zone: u16) {
        let state = &mut work.packet.state;
        let hop = snap.route_to(Realm::External, zone, state.tuple.dst);
        let Some(hop) = hop.filter(|_| !state.turned) else {
            return self.refuse(snap, now, work.packet, DropReason::NoSession, None);
        };
        (state.interface, state.turned) = (hop.interface, true);
        work.key = V4Key::new(state.tuple, Realm::External, zone);
        work.hash = self.shard.hash(&work.key);
        let owner = snap.steering.owner(&work.packet.state.tuple, (Realm::External, zone), &snap.local);
        if owner == self.id {
            self.own(snap, now, work);
        } else {
            self.hand_over(owner, work);
        }
    }

    /// Hands a packet to the worker that has to do with it next.
    pub(super) fn hand_over(&mut self, to: WorkerId, work: Work<D::Buf>) {
        self.counters.count_handoff(HandoffCause::Other);
        self.hand_off(to, Handoff::Own(work));
    }
}

fn is_reset(kind: Kind) -> bool {
    matches!(kind, Kind::Tcp { flags } if flags & tcp::RST != 0)
}

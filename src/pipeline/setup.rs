//! The slow path: a new session for the first packet of a conversation, as [`super::plan`] decided.
//!
//! [`Core::set_up`] asks whether there may be another session, acquires in order (endpoint, session) and releases on failure.

use super::Snapshot;
use super::admission::Admitted;
use super::endpoint::Endpoint;
use super::forward::Stop;
use super::mesh::Work;
use super::plan::{Rule, SessionPlan, out_of_resources};
use super::session_events::Change;
use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::Shape;
use crate::conntrack::sources::V4Source;
use crate::conntrack::table::{InsertError, NewSession, SessionId};
use crate::conntrack::tracker::{self, Observed};
use crate::device::Device;
use crate::nat::rewrite::Translation;
use crate::packet::Parsed;
use crate::telemetry::DropReason;
use crate::time::Time;

impl<D: Device> Core<D> {
    /// Makes the session that was planned and says how its packets are translated.
    pub(super) fn set_up(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
        plan: &SessionPlan,
        shape: Shape,
    ) -> Result<Translation, Stop> {
        let state = &work.packet.state;
        let observed = Observed::read(state.kind, state.fragment, work.packet.l4_bytes())?;
        self.set_up_as(snap, now, work, plan, (&observed, shape))
    }

    /// As [`Core::set_up`], but what opens the session is `observed` in place of the packet.
    pub(super) fn set_up_as(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
        plan: &SessionPlan,
        (observed, shape): (&Observed<'_>, Shape),
    ) -> Result<Translation, Stop> {
        let state = &work.packet.state;
        let (policy, mark) = snap.conntrack.choose(state.interface, &state.tuple);
        let opening = tracker::open(observed, &snap.conntrack, policy)?;
        let admitted = self.check_limits(now.tick(), V4Source::of(work.key), &opening)?;
        let mut to = plan.towards(state.tuple);
        let endpoint = match plan.source {
            Some(source) => {
                self.acquire(snap, now.tick(), (source, work.key), (&mut to, plan.answers_from))?
            }
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
            lease: endpoint.map(|endpoint| endpoint.lease),
            shape: Shape { mapped: endpoint.is_some_and(|endpoint| endpoint.is_mapped()), ..shape },
            l3: translation.l3,
            l4: translation.l4,
        };
        let id = self.establish(new, admitted, endpoint)?;
        snap.rules.count(plan.rule, self.id);
        if let Rule::Dnat(_) = plan.rule {
            remember_backend(snap, state, plan);
        }
        // What the SYN proxy renumbers it keeps something of already.
        if !snap.algs.is_off() && !plan.syn_proxy {
            self.watch(snap, now, id, (observed, &work.packet));
        }
        Ok(translation)
    }

    /// Puts a session into the table, with what it holds, and tells whom it concerns; or gives back what it would have held.
    pub(super) fn establish(
        &mut self,
        new: NewSession<V4Key>,
        admitted: Admitted,
        endpoint: Option<Endpoint>,
    ) -> Result<SessionId, Stop> {
        let inbound = new.shape.inbound;
        let outer = if inbound { new.original } else { new.reply }.tuple();
        if let Some(endpoint) = endpoint {
            self.hold(endpoint, outer.src, !inbound);
        }
        match self.settle(new, admitted) {
            Ok(id) => {
                self.post_timer(id);
                self.tell_change(id, Change::New);
                self.counters.sessions_created.increment();
                Ok(id)
            }
            Err(error) => {
                if let Some(endpoint) = endpoint {
                    self.undo(endpoint, (outer.src, outer.sport), !inbound);
                }
                Err(match error {
                    InsertError::Full => out_of_resources(DropReason::SessionTableFull).into(),
                    InsertError::Collision => DropReason::TupleCollision.into(),
                })
            }
        }
    }
}

/// A forward whose sources keep their backends learns which one this one has got.
fn remember_backend(snap: &Snapshot, state: &Parsed, plan: &SessionPlan) {
    let Parsed { interface, tuple, .. } = *state;
    let forward = snap
        .local_on(snap.interface(interface), tuple.dst)
        .and_then(|number| snap.local.forward(number, tuple.protocol, tuple.dport))
        .filter(|forward| forward.targets.remembers());
    if let Some(forward) = forward
        && let Some(target) = forward.target_at(tuple.dport, plan.dst, plan.dport)
    {
        forward.targets.remember(tuple.src, target);
    }
}

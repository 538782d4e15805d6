//! The slow path: a new session for the first packet of a conversation, as [`super::plan`] decided.
//!
//! [`Core::set_up`] asks whether there may be another session, acquires in order (port, session) and releases on failure.

use super::Snapshot;
use super::forward::Stop;
use super::mesh::Work;
use super::plan::{SessionPlan, out_of_resources};
use super::session_events::Change;
use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::Lease;
use crate::conntrack::table::{InsertError, NewSession};
use crate::conntrack::tracker::{self, Observed};
use crate::device::Device;
use crate::nat::rewrite::Translation;
use crate::packet::Tuple;
use crate::telemetry::DropReason;
use crate::time::Time;
use crate::wire::protocol;

impl<D: Device> Core<D> {
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
        let mut to = plan.towards(state.tuple);
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
                self.tell_change(id, Change::New);
                self.counters.sessions_created.increment();
                snap.rules.count(plan.rule, self.id);
                Ok(translation)
            }
            Err(error) => {
                if let Some(lease) = lease {
                    self.space.release(lease.address, lease.protocol, lease.port);
                }
                Err(match error {
                    InsertError::Full => out_of_resources(DropReason::SessionTableFull).into(),
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

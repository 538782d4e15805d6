//! Who may have a session: limits per source, the share of half-open connections, and a table that is full.
//!
//! [`Core::check_limits`] only decides, before anything is acquired; the rules are in [`crate::conntrack::pressure`] and
//! [`crate::conntrack::sources`]. [`Core::settle`] is the last step of a set-up: only when everything else is
//! there is another session evicted, so that nobody has to go for a newcomer that does not come.

use super::forward::Stop;
use super::plan::out_of_resources;
use super::session_events::End;
use super::worker::Core;
use crate::conntrack::class::Class;
use crate::conntrack::key::V4Key;
use crate::conntrack::policy::Limits;
use crate::conntrack::pressure::{Admission, Census, Newcomer, Prefixes, Pressure, victims};
use crate::conntrack::session::{Direction, Session};
use crate::conntrack::sources::{Sources, V4Source};
use crate::conntrack::table::{InsertError, NewSession, SessionId};
use crate::conntrack::tracker::Opening;
use crate::device::Device;
use crate::telemetry::Eviction;
use crate::time::Tick;

/// What a worker decides by.
#[derive(Debug)]
pub(super) struct Gate {
    pressure: Pressure,
    management: Prefixes,
    /// Only where there is a limit per source. Management sources are counted too, though it does not bind them: so the
    /// count stays right when another configuration names others.
    sources: Option<Sources<V4Source>>,
}

/// A session that may be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    /// Whether it is never evicted.
    pub(super) protected: bool,
    evict: Option<Eviction>,
}

impl Gate {
    /// The gate of a shard for `capacity` sessions; `seed` must be random.
    pub(super) fn new(limits: &Limits, capacity: u32, seed: u64) -> Gate {
        Gate {
            pressure: Pressure::new(limits, capacity),
            management: Prefixes::new(&limits.management),
            sources: Sources::new(limits, capacity, seed),
        }
    }

    /// From now on these limits hold. There is a table of sources only if the first ones asked for it.
    pub(super) fn adopt(&mut self, limits: &Limits) {
        self.pressure = Pressure::new(limits, self.pressure.capacity());
        self.management = Prefixes::new(&limits.management);
        if let Some(sources) = &mut self.sources {
            sources.adopt(limits);
        }
    }
}

/// Whose session it is: the one that opened it, or if it came in by a mapping the one behind that. All that this one has are on
/// one worker.
fn host(inbound: bool, original: V4Key, reply: V4Key) -> V4Source {
    if inbound { V4Source::new(reply.zone(), reply.tuple().src) } else { V4Source::of(original) }
}

impl<D: Device> Core<D> {
    /// Whether this source may make a session. Changes nothing.
    pub(super) fn check_limits(
        &self,
        now: Tick,
        source: V4Source,
        opening: &Opening,
    ) -> Result<Admitted, Stop> {
        let Gate { pressure, management, sources } = &self.gate;
        let newcomer = Newcomer {
            management: management.contains(source.address()),
            half_open: Class::of(opening.state, false, false) == Class::SynSent,
        };
        if let Some(sources) = sources
            && !newcomer.management
        {
            sources.check(source, now).map_err(out_of_resources)?;
        }
        match pressure.admit(&Census::of(&self.shard), newcomer) {
            Admission::Admit { privileged, evict } => Ok(Admitted { protected: privileged, evict }),
            Admission::Refuse(reason) => Err(out_of_resources(reason).into()),
        }
    }

    /// Puts a session into the table, in the place of the one that has to go for it. An error changes nothing.
    pub(super) fn settle(
        &mut self,
        new: NewSession<V4Key>,
        admitted: Admitted,
    ) -> Result<SessionId, InsertError> {
        if let Some(eviction) = admitted.evict {
            // Whom an eviction would not help.
            if self.shard.lookup(&new.reply, self.shard.hash(&new.reply)).is_some() {
                return Err(InsertError::Collision);
            }
            let victim = self.oldest(eviction, new.now).ok_or(InsertError::Full)?;
            self.remove(victim, End::Evicted(eviction));
            self.counters.count_eviction(eviction);
        }
        let id = self.shard.insert(new)?;
        if let Some(sources) = &mut self.gate.sources {
            let counted = host(new.shape.inbound, new.original, new.reply);
            sources.opened(counted, new.now);
        }
        Ok(id)
    }

    /// Whether a session was idle for too long, by the timeout that is left of its own while the table is this full.
    pub(super) fn is_over(&self, session: &Session<V4Key>, now: Tick) -> bool {
        let timeout = self.gate.pressure.timeout(session.class(), session.timeout_ticks(), self.shard.len());
        now.since(session.last_seen()) > timeout
    }

    /// Counts a session that is about to be removed as over.
    pub(super) fn count_out(&mut self, id: SessionId) {
        if let Some(sources) = &mut self.gate.sources {
            let session = self.shard.session(id);
            let keys = [Direction::Original, Direction::Reply].map(|direction| session.key(direction));
            sources.closed(host(session.is_inbound(), keys[0], keys[1]));
        }
    }

    /// The oldest session of those that may be evicted like this.
    fn oldest(&self, eviction: Eviction, now: Tick) -> Option<SessionId> {
        let age = |id: &SessionId| now.since(self.shard.session(*id).created());
        let oldest = victims(eviction).iter().filter_map(|class| self.shard.oldest(*class));
        // Of two that are equally old the first.
        oldest.reduce(|one, other| if age(&other) > age(&one) { other } else { one })
    }
}

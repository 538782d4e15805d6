//! Reads the session tables for a change of the configuration, in steps between which others have their turn.

use super::answer::{SessionEffect, SessionPolicy};
use super::settling::{Fate, Settling};
use super::survey::{Usage, classes_of, is_moved, would_make};
use crate::config::lineage::InUse;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::control::delete::delete_those;
use crate::control::filter::Filter;
use crate::control::running::Running;
use crate::control::state::ControlState;
use crate::control::walk::Walk;
use crate::management::commands::Stopping;
use crate::pipeline::Snapshot;
use std::ops::ControlFlow;
use tokio::task::yield_now;

async fn each(state: &ControlState, mut look: impl FnMut(&SessionSnapshot<V4Key>)) {
    let all = Filter::default();
    let mut walk = Walk::new(state, &all);
    while !walk.is_over() {
        walk.step(state, &all, |_, session| {
            look(session);
            ControlFlow::Continue(())
        });
        yield_now().await;
    }
}

/// What of the configuration that runs sessions use. Classes that settled and have no session left do so no more.
pub(super) async fn in_use(state: &ControlState, running: &Running) -> InUse {
    let snapshot = &running.snapshot;
    let (mut usage, mut settling) = (Usage::new(snapshot), Settling::new(&running.config, snapshot));
    each(state, |session| {
        usage.look(session);
        settling.goes_on(&classes_of(snapshot, session));
    })
    .await;
    settling.finish();
    usage.found()
}

/// What a change means to sessions.
struct Judge<'s> {
    before: &'s Snapshot,
    after: &'s Snapshot,
    policy: SessionPolicy,
    settling: Settling<'s>,
    effect: SessionEffect,
}

impl<'s> Judge<'s> {
    fn new(before: &'s Running, after: &'s Running, policy: SessionPolicy) -> Self {
        Judge {
            before: &before.snapshot,
            after: &after.snapshot,
            policy,
            settling: Settling::new(&after.config, &after.snapshot),
            effect: SessionEffect::default(),
        }
    }

    /// Counts a session. Returns whether the change ends it.
    fn look(&mut self, session: &SessionSnapshot<V4Key>) -> bool {
        let classes = classes_of(self.after, session);
        let fate = self.settling.fate(&classes);
        let is_made = fate == Fate::Tracked && would_make(self.after, session);
        let is_moved = is_moved(self.before, self.after, session);
        let ends = fate == Fate::Released || SessionEffect::ends(self.policy, is_made, is_moved);
        if !ends {
            self.settling.goes_on(&classes);
        }
        self.effect.total += 1;
        self.effect.not_made += u64::from(!is_made);
        self.effect.moved += u64::from(is_moved);
        self.effect.settling += u64::from(fate == Fate::Settles && !ends);
        self.effect.released += u64::from(fate == Fate::Released);
        ends
    }
}

/// What a change would mean to the sessions.
pub(super) async fn effect(
    state: &ControlState,
    before: &Running,
    after: &Running,
    policy: SessionPolicy,
) -> SessionEffect {
    let mut judge = Judge::new(before, after, policy);
    each(state, |session| {
        judge.look(session);
    })
    .await;
    judge.effect
}

/// Deletes the sessions that can not go on, or are not to, under the configuration that runs now. If every worker runs it
/// already, classes without sessions settle no more.
///
/// # Errors
/// The gateway stops.
pub(super) async fn settle(
    state: &ControlState,
    before: &Running,
    after: &Running,
    policy: SessionPolicy,
    everywhere: bool,
) -> Result<SessionEffect, Stopping> {
    let mut judge = Judge::new(before, after, policy);
    let deleted = delete_those(state, &Filter::default(), |session| judge.look(session)).await?;
    let all_gone = deleted.deleted == deleted.matched;
    let Judge { settling, effect, .. } = judge;
    if everywhere && all_gone {
        settling.finish();
    }
    Ok(SessionEffect { deleted: deleted.deleted, ..effect })
}

//! Reads the session tables for a change of the configuration, in steps between which others have their turn.

use super::answer::{SessionEffect, SessionPolicy};
use super::survey::{Usage, is_moved, would_make};
use crate::config::lineage::InUse;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::control::delete::delete_those;
use crate::control::filter::Filter;
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

/// What of a configuration sessions use.
pub(super) async fn in_use(state: &ControlState, snapshot: &Snapshot) -> InUse {
    let mut usage = Usage::new(snapshot);
    each(state, |session| usage.look(session)).await;
    usage.found()
}

/// What a change would mean to the sessions.
pub(super) async fn effect(state: &ControlState, before: &Snapshot, after: &Snapshot) -> SessionEffect {
    let mut effect = SessionEffect::default();
    each(state, |session| {
        effect.total += 1;
        effect.not_made += u64::from(!would_make(after, session));
        effect.moved += u64::from(is_moved(before, after, session));
    })
    .await;
    effect
}

/// Deletes the sessions that can not go on, or are not to, under the configuration that runs now.
///
/// # Errors
/// The gateway stops.
pub(super) async fn settle(
    state: &ControlState,
    before: &Snapshot,
    after: &Snapshot,
    policy: SessionPolicy,
) -> Result<SessionEffect, Stopping> {
    let mut effect = SessionEffect::default();
    let deleted = delete_those(state, &Filter::default(), |session| {
        let (is_made, is_moved) = (would_make(after, session), is_moved(before, after, session));
        effect.total += 1;
        effect.not_made += u64::from(!is_made);
        effect.moved += u64::from(is_moved);
        SessionEffect::ends(policy, is_made, is_moved)
    })
    .await?;
    effect.deleted = deleted.deleted;
    Ok(effect)
}

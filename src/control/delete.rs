//! Deletion: finds the sessions that a filter means and has their workers remove them.
//!
//! Nothing is written here. Sessions are named by index and generation, in batches, to the management core
//! (`management::commands`), which passes the names on. Then the tables are looked at again until every named session is
//! gone. No more than `WINDOW` names are under way at once, so a flush of ten million sessions takes the same memory as
//! one of ten thousand. It is one walk through the tables: what is opened meanwhile behind the walk stays.
//!
//! A client that goes away ends the deletion where it is.

use super::api;
use super::filter::Filter;
use super::state::ControlState;
use super::walk::Walk;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::ids::WorkerId;
use crate::management::commands::{BATCH, SessionName, Stopping};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

/// Names that are sent and not known to be gone.
const WINDOW: usize = 16 * BATCH;
/// How long nothing may happen before the rest is given up: a worker that does not turn at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at what is under way.
const PAUSE: Duration = Duration::from_millis(1);

/// Deletes the sessions that the filter means. What was named and is not gone in the end counts as matched alone.
///
/// # Errors
/// The gateway stops.
pub async fn delete(state: &ControlState, filter: &Filter) -> Result<api::Deleted, Stopping> {
    delete_those(state, filter, |_| true).await
}

/// The same, but only of those of them that are `meant`.
///
/// # Errors
/// The gateway stops.
pub async fn delete_those(
    state: &ControlState,
    filter: &Filter,
    mut meant: impl FnMut(&SessionSnapshot<V4Key>) -> bool,
) -> Result<api::Deleted, Stopping> {
    let mut walk = Walk::new(state, filter);
    let mut found: Vec<(WorkerId, SessionName)> = Vec::with_capacity(BATCH);
    let mut under_way = UnderWay { names: VecDeque::new(), progress: Instant::now() };
    let mut answer = api::Deleted::default();
    while !walk.is_over() {
        walk.step(state, filter, |worker, session| {
            if meant(session)
                && let Ok(worker) = u8::try_from(worker)
            {
                let name = SessionName { index: session.index, generation: session.generation };
                found.push((WorkerId(worker), name));
            }
            if found.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if found.len() >= BATCH || walk.is_over() {
            for batch in found.chunk_by(|(a, _), (b, _)| a == b) {
                let Some((worker, _)) = batch.first() else { continue };
                let names = batch.iter().map(|(_, name)| *name).collect();
                match timeout(PATIENCE, state.commands.delete(*worker, names)).await {
                    Ok(sent) => sent?,
                    Err(_) => return Ok(answer),
                }
                answer.matched += batch.len() as u64;
                under_way.names.extend(batch);
            }
            found.clear();
            answer.deleted += under_way.wait_for(state, WINDOW).await;
        }
        yield_now().await;
    }
    answer.deleted += under_way.wait_for(state, 0).await;
    Ok(answer)
}

struct UnderWay {
    /// The oldest first. A worker removes in its own order, but all of a batch soon.
    names: VecDeque<(WorkerId, SessionName)>,
    /// When one was last seen to be gone.
    progress: Instant,
}

impl UnderWay {
    /// Waits until no more than `limit` names are under way, or nothing happens any more. Returns how many are gone.
    async fn wait_for(&mut self, state: &ControlState, limit: usize) -> u64 {
        let mut gone = 0;
        self.progress = Instant::now();
        loop {
            for _ in 0..BATCH {
                let Some((worker, name)) = self.names.front() else { break };
                if is_there(state, *worker, *name) {
                    break;
                }
                self.names.pop_front();
                gone += 1;
                self.progress = Instant::now();
            }
            if self.names.len() <= limit || self.progress.elapsed() > PATIENCE {
                return gone;
            }
            let waits = self.names.front().is_some_and(|(worker, name)| is_there(state, *worker, *name));
            if waits { sleep(PAUSE).await } else { yield_now().await }
        }
    }
}

fn is_there(state: &ControlState, worker: WorkerId, name: SessionName) -> bool {
    let session = state.sessions.get(worker.index()).and_then(|view| view.read(name.index));
    session.is_some_and(|session| session.generation == name.generation)
}

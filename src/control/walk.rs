//! A walk through the session tables of all workers, in steps.
//!
//! Whoever reads the tables (lists, counts, deletion) shares the control thread with everybody else. A step reads a
//! bounded number of places; between two steps the others have their turn. The walk holds a position and nothing
//! else. It does not show one moment: a session is seen as it was when its place was read, and one that lives
//! through the whole walk is seen exactly once.
//!
//! Reading costs the workers nothing but the cache lines: see `conntrack::session`.

use super::filter::Filter;
use super::state::ControlState;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use std::ops::{ControlFlow, Range};

/// Places of a table read in one step.
pub const PLACES_A_STEP: usize = 1024;

/// A position in the tables.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Workers still to visit; the first is the one that is being read.
    workers: Range<usize>,
    index: u32,
}

impl Walk {
    /// A walk through what the filter can mean at all.
    pub fn new(state: &ControlState, filter: &Filter) -> Walk {
        let count = state.sessions.len();
        let workers = match filter.worker() {
            Some(only) => only..only.saturating_add(1).min(count),
            None => 0..count,
        };
        Walk { workers, index: 0 }
    }

    /// Whether every place was read.
    pub fn is_over(&self) -> bool {
        self.workers.is_empty()
    }

    /// Reads the next places and shows the sessions that the filter means, with their worker's number, until the
    /// step is long enough or `visit` breaks.
    pub fn step(
        &mut self,
        state: &ControlState,
        filter: &Filter,
        mut visit: impl FnMut(usize, &SessionSnapshot<V4Key>) -> ControlFlow<()>,
    ) {
        let now = (state.now)();
        for _ in 0..PLACES_A_STEP {
            let worker = self.workers.start;
            let Some(view) = state.sessions.get(worker).filter(|_| !self.is_over()) else {
                self.workers = 0..0;
                return;
            };
            if self.index >= view.capacity() {
                self.workers.start += 1;
                self.index = 0;
                continue;
            }
            let session = view.read(self.index);
            self.index += 1;
            if let Some(session) = session
                && filter.matches(&session, worker, now)
                && visit(worker, &session).is_break()
            {
                return;
            }
        }
    }
}

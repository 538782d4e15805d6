//! Expiry is a sweep: each poll looks at the share of every shard that its time since the last poll allows, so
//! that the whole table is seen once a second. A session thus outlives its timeout by about a second at the most.

use super::{Link, Management};
use crate::pipeline::message::ToWorker;
use crate::time::Time;
use std::time::Duration;

/// How long one sweep over the session table takes.
const SWEEP: Duration = Duration::from_secs(1);

impl Link {
    /// Looks at the sessions that are due. When the ring to the worker is full the rest stays due, so that thousands of
    /// sessions that end together are gone as soon as the worker can take the messages. Returns whether any was told.
    fn sweep(&mut self, now: Time) -> bool {
        let mut told = false;
        while self.due > 0 {
            let index = self.cursor;
            if let Some(generation) = self.worker.sessions.expired(index, now.tick()) {
                if self.worker.to.push(ToWorker::Expire { index, generation }).is_err() {
                    break;
                }
                told = true;
            }
            self.due -= 1;
            self.cursor = (index + 1) % self.worker.sessions.capacity().max(1);
        }
        told
    }
}

impl Management {
    /// Looks at as many sessions as the time since the last sweep allows. Returns whether any had to go.
    pub(super) fn sweep(&mut self, now: Time) -> bool {
        let elapsed = now.since(self.last_sweep).min(SWEEP);
        let share = |link: &Link| {
            let capacity = link.worker.sessions.capacity().max(1);
            let slots = u128::from(capacity) * elapsed.as_nanos() / SWEEP.as_nanos();
            u32::try_from(slots).unwrap_or(capacity)
        };
        // Too little time for even one slot of the smallest shard: let it add up.
        if self.links.iter().all(|link| share(link) > 0) {
            self.last_sweep = now;
            for link in &mut self.links {
                // One more than the share makes up for rounding down.
                let due = link.due.saturating_add(share(link)).saturating_add(1);
                link.due = due.min(link.worker.sessions.capacity());
            }
        }
        let mut told = false;
        for link in &mut self.links {
            told |= link.sweep(now);
        }
        told
    }
}

//! Messages to and from the workers.
//!
//! What a worker is told waits here while its ring is full, up to a bound: news of neighbours are told again when
//! they are asked for.

use super::Management;
use crate::ids::WorkerId;
use crate::pipeline::message::ToWorker;
use crate::pipeline::worker::NEIGHBORS;
use crate::time::Time;

/// Messages read from each worker a poll.
const MAIL_BUDGET: usize = 1024;
/// Neighbour news kept for a worker whose ring is full.
const BACKLOG: usize = 4 * NEIGHBORS;

impl Management {
    /// Reads what workers say. Returns whether there was anything.
    pub(super) fn read_mail(&mut self, now: Time) -> bool {
        let mut busy = false;
        for worker in 0..self.links.len() {
            for _ in 0..MAIL_BUDGET {
                let Ok(message) = self.links[worker].from.pop() else { break };
                busy = true;
                self.read(now, worker, message);
            }
        }
        busy
    }

    /// Posts a message, or keeps it until the worker has room.
    pub(super) fn post(&mut self, worker: usize, message: ToWorker) {
        let Some(link) = self.links.get_mut(worker) else { return };
        if link.backlog.is_empty() {
            if let Err(rtrb::PushError::Full(message)) = link.to.push(message) {
                link.backlog.push_back(message);
            }
        } else {
            if link.backlog.len() == BACKLOG {
                link.backlog.pop_front();
                tracing::warn!(worker, "a worker does not read its messages; the oldest one is dropped");
            }
            link.backlog.push_back(message);
        }
    }

    /// Posts what was kept.
    pub(super) fn post_backlog(&mut self) {
        for link in &mut self.links {
            while let Some(message) = link.backlog.pop_front() {
                if let Err(rtrb::PushError::Full(message)) = link.to.push(message) {
                    link.backlog.push_front(message);
                    break;
                }
            }
        }
    }

    /// How many messages wait for a worker whose ring is full.
    pub fn backlog(&self, worker: WorkerId) -> usize {
        self.links.get(worker.index()).map_or(0, |link| link.backlog.len())
    }
}

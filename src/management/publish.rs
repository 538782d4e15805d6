//! A new configuration for all workers, without a pause.

use super::Management;
use crate::pipeline::Snapshot;
use crate::pipeline::message::ToWorker;
use std::sync::Arc;

impl Management {
    /// Makes this the configuration of every worker, between two bursts of each. What workers and their memory were
    /// built for (interfaces, addresses, pools, worker count, whether sources are counted) has to be the same; the caller
    /// has checked that.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>) {
        self.snapshot = snapshot.clone();
        self.handover.publish(snapshot);
        self.adopt_limits();
        for link in &mut self.links {
            link.behind = true;
        }
    }

    /// Sends the current configuration to those who were not sent it, and frees those that nobody runs any more. Returns
    /// how many of the old ones are still run.
    pub(super) fn hand_over(&mut self) -> usize {
        let revision = self.handover.revision();
        for link in self.links.iter_mut().filter(|link| link.behind) {
            let snapshot = self.handover.current().clone();
            // A ring without room has some later. Never by the backlog, which may lose its oldest message.
            link.behind = link.to.push(ToWorker::Adopt { snapshot, revision }).is_err();
        }
        self.handover.free_left()
    }

    /// Whether every worker runs the current configuration.
    pub fn is_published(&self) -> bool {
        (0..self.links.len()).all(|worker| self.handover.is_current(worker))
    }
}

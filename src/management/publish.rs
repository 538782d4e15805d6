//! A new configuration for all workers, without a pause.

use super::Management;
use crate::pipeline::Snapshot;
use crate::pipeline::message::ToWorker;
use std::sync::Arc;

/// Why a configuration can not take the place of the one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It is for another number of workers.
    #[error("it is for {new} workers and {running} run: restart to change `workers` or `cpus`")]
    Workers {
        /// How many it is for.
        new: u8,
        /// How many there are.
        running: u8,
    },
    /// Packets would belong to other workers than their sessions are with.
    #[error(
        "packets would belong to other workers: restart to change `spread`, `steering` or whether sources have limits"
    )]
    Steering,
}

impl Management {
    /// Makes this the configuration of every worker, between two bursts of each. What workers and their memory were
    /// built for (interfaces, addresses, pools, whether sources are counted) has to be the same; the caller has checked
    /// that.
    ///
    /// # Errors
    /// It has another owner function than the one that runs, which NICs and sessions go by: it has to be compiled for
    /// that one. Nothing is changed then.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>) -> Result<(), PublishError> {
        let (new, running) = (&snapshot.steering, &self.snapshot.steering);
        if new.workers() != running.workers() {
            return Err(PublishError::Workers { new: new.workers(), running: running.workers() });
        }
        if new != running {
            return Err(PublishError::Steering);
        }
        self.snapshot = snapshot.clone();
        self.handover.publish(snapshot);
        self.adopt_limits();
        for link in &mut self.links {
            link.behind = true;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::compile::compile;
    use crate::ids::MacAddr;
    use crate::time::Time;

    /// A configuration with these keys in `[runtime]`, and its random numbers.
    fn snapshot(runtime: &str, conntrack: &str, seed: u64) -> Arc<Snapshot> {
        let text = format!(
            "[interface.wan]\ndevice = \"tap:x\"\nrealm = \"external\"\naddress = \"203.0.113.2/24\"\n\
             [runtime]\n{runtime}\n[conntrack]\n{conntrack}\n"
        );
        Arc::new(compile(&config::parse(&text, "test").unwrap().config, &[MacAddr::default()], seed, 1))
    }

    #[test]
    fn only_a_configuration_with_the_same_owner_of_every_packet_is_published() {
        let first = snapshot("workers = 2", "max_sessions = 1000", 7);
        let mut management = Management::new(first, Vec::new(), Time::ZERO);
        let mut publish = |runtime, conntrack, seed| management.publish(snapshot(runtime, conntrack, seed));
        assert_eq!(publish("workers = 2", "when_full = \"refuse\"", 7), Ok(()));
        let workers = Err(PublishError::Workers { new: 3, running: 2 });
        assert_eq!(publish("workers = 3", "", 7), workers);
        assert_eq!(publish("workers = 2\nspread = \"flow\"", "", 7), Err(PublishError::Steering));
        assert_eq!(publish("workers = 2\nsteering = \"port-rules\"", "", 7), Err(PublishError::Steering));
        assert_eq!(publish("workers = 2", "max_sessions_per_source = 9", 7), Err(PublishError::Steering));
        assert_eq!(publish("workers = 2", "", 8), Err(PublishError::Steering), "another key");
        assert_eq!(management.handover.revision(), 1, "what is refused changes nothing");
    }
}

//! A new configuration for all workers, without a pause.
//!
//! Whoever compiled it hands it over as an order (a [`Publication`], over a bounded channel) and is told when the last worker
//! runs it. It goes to all workers or to none: nobody is sent it before there is room in the ring of each. A ring without
//! room has some at the next turn; a worker that does not turn at all keeps everybody on the old configuration.

use super::Management;
use super::announce::addresses;
use crate::ids::WorkerId;
use crate::pipeline::Snapshot;
use crate::pipeline::message::ToWorker;
use crate::pipeline::update::WorkerUpdate;
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long workers may take to make room for a configuration, or to take it over.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Why a configuration can not take the place of the one that runs. Nothing is changed then.
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
    /// A worker does not read its messages.
    #[error(
        "{worker} reads no messages, so nobody was given the new configuration: `natgate show status` says whether it polls"
    )]
    Stuck {
        /// Which.
        worker: WorkerId,
    },
    /// The workers still go over to the one before.
    #[error("the workers have yet to go over to the configuration before")]
    Busy,
}

/// A configuration on its way to the workers.
#[derive(Debug)]
pub struct Publication {
    /// What they read.
    pub snapshot: Arc<Snapshot>,
    /// What each needs to go over to it from the configuration that runs, in the order of their numbers.
    pub updates: Vec<WorkerUpdate>,
    /// Told when all of them run it, or why they do not.
    pub done: oneshot::Sender<Result<Adopted, PublishError>>,
}

/// A configuration that was sent to all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// From the moment that it was sent until the last worker ran it.
    pub took: Duration,
    /// A worker that did not run it after [`PATIENCE`]: it will once it turns.
    pub late: Option<WorkerId>,
}

/// The way for publications to the management core. One at a time.
pub fn channel() -> (mpsc::Sender<Publication>, mpsc::Receiver<Publication>) {
    mpsc::channel(1)
}

/// Publications on their way.
#[derive(Debug, Default)]
pub(super) struct Publications {
    orders: Option<mpsc::Receiver<Publication>>,
    /// Waits for room in all rings since then.
    waiting: Option<(Time, Publication)>,
    /// Sent at that time, and somebody wants to know when all run it.
    sent: Option<(Time, oneshot::Sender<Result<Adopted, PublishError>>)>,
}

impl Management {
    /// Takes publications from there: see [`channel`].
    pub fn take_publications(&mut self, orders: mpsc::Receiver<Publication>) {
        self.publications.orders = Some(orders);
    }

    /// Makes this the configuration of every worker, between two bursts of each. What workers and their memory were built for
    /// (devices, capacities, whether sources are counted) has to be the same, and numbers have to be those of the one that
    /// runs ([`crate::config::lineage`]); the caller has checked that.
    ///
    /// # Errors
    /// It has another owner function than the one that runs, which NICs and sessions go by, or a worker has no room for it now:
    /// the updates come back then.
    pub fn publish(
        &mut self,
        snapshot: &Arc<Snapshot>,
        updates: Vec<WorkerUpdate>,
        now: Time,
    ) -> Result<(), (PublishError, Vec<WorkerUpdate>)> {
        if let Err(error) = self.may_follow(snapshot, updates.len()) {
            return Err((error, updates));
        }
        let known = addresses(&self.snapshot);
        self.adopt_backends(snapshot, now);
        self.snapshot = snapshot.clone();
        self.handover.publish(snapshot.clone());
        let revision = self.handover.revision();
        for (link, update) in self.links.iter_mut().zip(updates) {
            // There is room: this thread alone fills the ring.
            let update = Box::new(update);
            let _ = link.to.push(ToWorker::Adopt { snapshot: snapshot.clone(), revision, update });
        }
        self.adopt_limits();
        self.adopt_interfaces();
        self.neighbors.set_routers(snapshot.routes.next_hops());
        self.announce_what_is_not_in(&known, now);
        Ok(())
    }

    fn may_follow(&self, snapshot: &Snapshot, updates: usize) -> Result<(), PublishError> {
        let (new, running) = (&snapshot.steering, &self.snapshot.steering);
        if new.workers() != running.workers() || updates != self.links.len() {
            return Err(PublishError::Workers { new: new.workers(), running: running.workers() });
        }
        if new != running {
            return Err(PublishError::Steering);
        }
        if !self.is_published() {
            return Err(PublishError::Busy);
        }
        match (0u8..).zip(&self.links).find(|(_, link)| link.to.is_full()) {
            Some((worker, _)) => Err(PublishError::Stuck { worker: WorkerId(worker) }),
            None => Ok(()),
        }
    }

    /// Goes on with what is to be published, and frees configurations that nobody runs any more. Returns whether something is
    /// on its way.
    pub(super) fn hand_over(&mut self, now: Time) -> bool {
        self.handover.free_left();
        let order = self.publications.orders.as_mut().and_then(|orders| orders.try_recv().ok());
        if let Some(order) = order {
            self.publications.waiting = Some((now, order));
        }
        if let Some((since, order)) = self.publications.waiting.take() {
            self.try_to_publish(since, order, now);
        }
        if let Some((sent, done)) = self.publications.sent.take() {
            let took = now.since(sent);
            let late =
                (0u8..).take(self.links.len()).find(|worker| !self.handover.is_current((*worker).into()));
            if late.is_none() || took > PATIENCE {
                // Whoever asked may have gone.
                let _ = done.send(Ok(Adopted { took, late: late.map(WorkerId) }));
            } else {
                self.publications.sent = Some((sent, done));
            }
        }
        self.publications.waiting.is_some() || self.publications.sent.is_some()
    }

    fn try_to_publish(&mut self, since: Time, order: Publication, now: Time) {
        let Publication { snapshot, updates, done } = order;
        match self.publish(&snapshot, updates, now) {
            Ok(()) => self.publications.sent = Some((now, done)),
            Err((PublishError::Stuck { .. } | PublishError::Busy, updates))
                if now.since(since) <= PATIENCE =>
            {
                self.publications.waiting = Some((since, Publication { snapshot, updates, done }));
            }
            Err((error, _)) => {
                let _ = done.send(Err(error));
            }
        }
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
        let mut publish = |runtime, conntrack, seed| {
            let next = snapshot(runtime, conntrack, seed);
            management.publish(&next, Vec::new(), Time::ZERO).map_err(|(error, _)| error)
        };
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

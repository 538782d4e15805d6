//! How workers get a new configuration, and who frees the old one.
//!
//! # Ownership and ordering
//!
//! The management core owns every configuration that anybody may still read; a worker has a share of the one that it
//! runs. [`Handover::publish`] makes a new one the current one, and each worker is sent a share of it over its ring of
//! messages. Between two bursts the worker takes it ([`Running::adopt`]): it gives up its share of the old one, which
//! frees nothing, because the management core still has one, and then says *which* one it runs now (release). The
//! management core frees a configuration when every worker runs a later one (acquire): [`Handover::free_left`]. So no
//! worker ever frees memory, none reads what was freed, and a worker that sleeps delays nobody but the freeing.
//!
//! `tests/loom_exchange.rs` checks it.

use crate::sync::{AtomicU64, Ordering};
use std::sync::Arc;

/// What says which revision a worker runs; written by the worker, read by the management core.
pub type Revision = Arc<AtomicU64>;

/// The worker's end: the configuration that it runs.
#[derive(Debug)]
pub struct Running<T> {
    value: Arc<T>,
    revision: Revision,
}

impl<T> Running<T> {
    /// Runs the first configuration, which is revision 0.
    pub fn new(value: Arc<T>, revision: Revision) -> Self {
        Running { value, revision }
    }

    /// The configuration.
    #[inline]
    pub fn get(&self) -> &Arc<T> {
        &self.value
    }

    /// Runs another one from now on.
    pub fn adopt(&mut self, value: Arc<T>, revision: u64) {
        // The management core has a share of the old one until it reads the new number: nothing is freed here.
        self.value = value;
        self.revision.store(revision, Ordering::Release);
    }
}

/// The management core's end.
#[derive(Debug)]
pub struct Handover<T> {
    current: Arc<T>,
    revision: u64,
    /// Older ones that a worker may still run, with their revision; the oldest first.
    left: Vec<(u64, Arc<T>)>,
    workers: Vec<Revision>,
}

impl<T> Handover<T> {
    /// The first configuration, revision 0, which all these workers run.
    pub fn new(current: Arc<T>, workers: Vec<Revision>) -> Self {
        Handover { current, revision: 0, left: Vec::new(), workers }
    }

    /// The current configuration.
    pub fn current(&self) -> &Arc<T> {
        &self.current
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes another configuration the current one. Workers have to be sent a share of it.
    pub fn publish(&mut self, next: Arc<T>) {
        let old = std::mem::replace(&mut self.current, next);
        self.left.push((self.revision, old));
        self.revision += 1;
    }

    /// Whether a worker runs the current one.
    pub fn is_current(&self, worker: usize) -> bool {
        self.workers.get(worker).is_none_or(|seen| seen.load(Ordering::Acquire) == self.revision)
    }

    /// Frees what no worker runs any more; returns how many configurations are still kept for one that does.
    pub fn free_left(&mut self) -> usize {
        let oldest = self.workers.iter().map(|seen| seen.load(Ordering::Acquire)).min();
        let oldest = oldest.unwrap_or(self.revision);
        self.left.retain(|(revision, _)| *revision >= oldest);
        self.left.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_freed_when_the_last_worker_has_left_it_and_by_nobody_else() {
        let revisions = [Revision::default(), Revision::default()];
        let first = Arc::new("first");
        let mut handover = Handover::new(first.clone(), revisions.to_vec());
        let mut workers = revisions.map(|revision| Running::new(first.clone(), revision));
        let weak = Arc::downgrade(&first);
        drop(first);
        handover.publish(Arc::new("second"));
        handover.publish(Arc::new("third"));
        assert_eq!((handover.free_left(), handover.is_current(0)), (2, false));
        // One worker skips a revision: the messages may be taken in one go.
        workers[0].adopt(handover.current().clone(), 2);
        assert_eq!((handover.free_left(), handover.is_current(0), handover.is_current(1)), (2, true, false));
        assert!(weak.upgrade().is_some());
        workers[1].adopt(handover.current().clone(), 2);
        assert!(weak.upgrade().is_some(), "the worker gave up the last share but the management core's");
        assert_eq!(handover.free_left(), 0);
        assert!(weak.upgrade().is_none());
        assert_eq!((**workers[0].get(), handover.revision()), ("third", 2));
    }
}

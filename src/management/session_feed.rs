//! What happens to sessions, from the workers to everybody who watches.
//!
//! [`SessionFeed`] is shared by the management core, which puts events in, and the control thread, which takes
//! subscriptions. The first subscription makes the queue and tells the workers that somebody watches; with the last one both
//! end ([`Subscription`] does so when it is dropped). The queue is bounded: a watcher that is too slow for it loses events and
//! is told how many, and so is everybody when a worker's ring was full.

use super::Management;
use crate::ids::WorkerId;
use crate::pipeline::session_events::{SessionEvent, Watched};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

/// Events that wait for the slowest watcher: about 6 MiB while anybody watches, and nothing else.
pub const QUEUE: usize = 32_768;
/// Events taken from each worker a turn.
const BUDGET: usize = 4096;

/// What a watcher is told.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// Something happened to a session of this worker.
    Event(WorkerId, SessionEvent),
    /// So many events were lost here.
    Lost(u64),
}

/// The way from the workers to the watchers; see the module's head. Clones are the same way.
#[derive(Clone, Debug, Default)]
pub struct SessionFeed {
    watched: Watched,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// There is one while somebody watches.
    sender: Option<broadcast::Sender<Told>>,
    watchers: usize,
}

impl SessionFeed {
    /// What workers look at to know whether anybody watches.
    pub fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Events from now on.
    pub fn subscribe(&self) -> Subscription {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.watchers += 1;
        let events = queue.sender.get_or_insert_with(|| broadcast::Sender::new(QUEUE)).subscribe();
        self.watched.set(true);
        Subscription { feed: self.clone(), events }
    }

    /// The end of the queue where events go in, if anybody watches.
    pub fn sender(&self) -> Option<broadcast::Sender<Told>> {
        if !self.watched.get() {
            return None;
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).sender.clone()
    }

    fn unsubscribe(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.watchers = queue.watchers.saturating_sub(1);
        if queue.watchers == 0 {
            queue.sender = None;
            self.watched.set(false);
        }
    }
}

/// One watcher. Dropping it ends the watching.
#[derive(Debug)]
pub struct Subscription {
    feed: SessionFeed,
    events: broadcast::Receiver<Told>,
}

impl Subscription {
    /// Waits for the next event; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Told> {
        match self.events.recv().await {
            Ok(told) => Some(told),
            Err(RecvError::Lagged(lost)) => Some(Told::Lost(lost)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next event if it is there already.
    pub fn ready(&mut self) -> Option<Told> {
        match self.events.try_recv() {
            Ok(told) => Some(told),
            Err(TryRecvError::Lagged(lost)) => Some(Told::Lost(lost)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.unsubscribe();
    }
}

impl Management {
    /// Tells the watchers of this feed what happens to sessions.
    pub fn feed_sessions(&mut self, feed: SessionFeed) {
        self.session_feed = feed;
    }

    /// Passes on what workers tell of sessions. Returns whether there was anything.
    pub(super) fn tell_of_sessions(&mut self) -> bool {
        let mut busy = false;
        let sender = self.session_feed.sender();
        for ((worker, link), counters) in (0..).map(WorkerId).zip(&mut self.links).zip(&self.counters) {
            let events = &mut link.session_events;
            let Ok(chunk) = events.read_chunk(events.slots().min(BUDGET)) else { continue };
            let lost_before = std::mem::replace(&mut link.events_lost, counters.session_events_lost.get());
            let lost = link.events_lost.wrapping_sub(lost_before);
            busy |= !chunk.is_empty();
            // Without watchers, what is left of the time when there were some is taken out all the same.
            for event in chunk {
                if let Some(sender) = &sender {
                    // Nobody listens any more: the next turn knows.
                    let _ = sender.send(Told::Event(worker, event));
                }
            }
            if let Some(sender) = sender.as_ref().filter(|_| lost > 0) {
                let _ = sender.send(Told::Lost(lost));
            }
        }
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_asked_to_tell_only_while_somebody_watches() {
        let feed = SessionFeed::default();
        let watched = feed.watched();
        assert!(!watched.get() && feed.sender().is_none());
        let (one, other) = (feed.subscribe(), feed.subscribe());
        assert!(watched.get());
        drop(one);
        assert!(watched.get() && feed.sender().is_some());
        drop(other);
        assert!(!watched.get() && feed.sender().is_none());
        let _again = feed.subscribe();
        assert!(watched.get());
    }

    #[test]
    fn a_watcher_that_is_too_slow_is_told_how_many_events_it_lost() {
        let feed = SessionFeed::default();
        let mut watcher = feed.subscribe();
        let sender = feed.sender().unwrap();
        for _ in 0..QUEUE + 7 {
            sender.send(Told::Lost(1)).unwrap();
        }
        assert!(matches!(watcher.ready(), Some(Told::Lost(7))));
        let rest = std::iter::from_fn(|| watcher.ready()).count();
        assert_eq!(rest, QUEUE);
    }
}

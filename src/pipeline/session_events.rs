//! What happens to sessions, told to whoever watches: new, changed, gone.
//!
//! Only while somebody watches ([`Watched`]) a worker copies a session that came, changed or goes into a record of fixed size
//! and posts it to the management core, on a bounded ring of its own that is allocated at the start. Else that costs one
//! load at each of these moments. A full ring loses the record, which is counted; no worker waits for a watcher.

use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::conntrack::table::SessionId;
use crate::device::Device;
use crate::telemetry::Eviction;
use crate::time::Time;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Records in each worker's ring: 2.5 MiB, of which nothing is touched before somebody watches. The management core looks
/// every 2 ms, so they last for eight million events a second.
pub const SESSION_EVENTS: usize = 16_384;

macro_rules! ends {
    ($($variant:ident $(($of:ident))?, $name:literal, $help:literal;)+) => {
        /// Why a session ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum End {
            $(#[doc = $help] $variant $(($of))?,)+
        }

        impl End {
            /// Name and help text of each.
            pub const ALL: &'static [(&'static str, &'static str)] = &[$(($name, $help)),+];

            /// The name in output.
            pub fn name(self) -> &'static str {
                match self { $(ends!(@pattern $variant $(($of))?) => $name),+ }
            }
        }
    };
    (@pattern $variant:ident) => { End::$variant };
    (@pattern $variant:ident ($of:ident)) => { End::$variant(_) };
}

ends! {
    Expired, "expired", "No packet came for as long as its timeout.";
    Closed, "closed", "Its ends had closed it, and the timeout of closing sessions ran out.";
    Deleted, "deleted", "The operator, or a new configuration, wanted it gone.";
    Evicted(Eviction), "evicted", "It had to make room for another one.";
    Replaced, "replaced", "The same endpoints began another connection.";
    Unanswered, "unanswered", "The backend did not answer the SYN proxy.";
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    New,
    /// It has another state, was answered for the first time, or is assured now.
    Update,
    /// It is gone.
    Destroy(End),
}

impl Change {
    /// Names of all changes.
    pub const NAMES: [&'static str; 3] = ["new", "update", "destroy"];

    /// The name in output and queries.
    pub fn name(self) -> &'static str {
        let [new, update, destroy] = Self::NAMES;
        match self {
            Change::New => new,
            Change::Update => update,
            Change::Destroy(_) => destroy,
        }
    }
}

/// What happened to a session, and the session as it was then: the last time, if it is gone.
#[derive(Clone, Copy, Debug)]
pub struct SessionEvent {
    /// When: the turn of the worker.
    pub at: Time,
    /// What.
    pub change: Change,
    /// The session.
    pub session: SessionSnapshot<V4Key>,
}

/// Whether somebody watches. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Watched(Arc<AtomicBool>);

impl Watched {
    /// Whether somebody does.
    #[inline]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// From now on somebody does, or nobody.
    pub fn set(&self, watched: bool) {
        self.0.store(watched, Ordering::Relaxed);
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct SessionEvents {
    watched: Watched,
    ring: Producer<SessionEvent>,
}

impl SessionEvents {
    /// A ring for so many records: the worker's end, and the management core's.
    pub fn new(capacity: usize, watched: Watched) -> (SessionEvents, Consumer<SessionEvent>) {
        let (ring, records) = RingBuffer::new(capacity);
        (SessionEvents { watched, ring }, records)
    }

    /// Returns whether there was room.
    fn post(&mut self, event: SessionEvent) -> bool {
        self.ring.push(event).is_ok()
    }
}

impl<D: Device> Core<D> {
    /// Tells what happened to a session, if anybody wants to know. Of one that is to go, before it is gone.
    #[inline]
    pub(super) fn tell_change(&mut self, id: SessionId, change: Change) {
        if self.session_events.watched.get() {
            self.post_change(id, change);
        }
    }

    #[cold]
    fn post_change(&mut self, id: SessionId, change: Change) {
        let Some(session) = self.shard.snapshot(id) else { return };
        if !self.session_events.post(SessionEvent { at: self.now, change, session }) {
            self.counters.session_events_lost.increment();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_end_has_its_own_name_and_a_help_text() {
        let names: HashSet<_> = End::ALL.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), End::ALL.len());
        assert!(End::ALL.iter().all(|(_, help)| help.ends_with('.')));
        assert_eq!(End::Evicted(Eviction::HalfOpen).name(), "evicted");
    }
}

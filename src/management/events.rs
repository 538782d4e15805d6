//! What an operator has to hear of once: events, in a bounded queue.
//!
//! The management core writes them, and whoever publishes them takes them out ([`Events::take`]). Should nobody do so,
//! the oldest go first and are counted: what happens now matters more.

use crate::time::Time;
use std::collections::VecDeque;

/// Events that wait to be taken.
pub const QUEUE: usize = 256;

macro_rules! kinds {
    ($($variant:ident, $name:literal, $relief:literal, $help:literal;)+) => {
        /// What kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $(#[doc = $help] $variant,)+
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant),+];

            /// The name in output.
            pub fn name(self) -> &'static str {
                match self { $(EventKind::$variant => $name),+ }
            }

            /// What it means, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $(EventKind::$variant => $help),+ }
            }

            /// Whether it says that something is over, so that nobody has to act.
            pub fn is_relief(self) -> bool {
                match self { $(EventKind::$variant => $relief),+ }
            }
        }
    };
}

kinds! {
    TableLow, "table_low", false, "The session table reached the first of its adaptive watermarks.";
    TableHigh, "table_high", false, "The session table reached the second of its adaptive watermarks.";
    TableFull, "table_full", false, "The session table is full but for its reserve.";
    TableEased, "table_eased", true, "The session table fell clearly below a watermark that it had reached.";
    RefusalsBegan, "refusals_began", false, "New sessions are refused for want of room or because of a limit.";
    RefusalsEnded, "refusals_ended", true, "No new session has been refused for that reason for a while.";
    EarlyDropsBegan, "early_drops_began", false, "Sessions are evicted to make room for new ones.";
    EarlyDropsEnded, "early_drops_ended", true, "No session has been evicted for that reason for a while.";
    PortsExhaustedBegan, "ports_exhausted_began", false, "New sessions are refused because no external port is free for them.";
    PortsExhaustedEnded, "ports_exhausted_ended", true, "No new session has been refused for want of a port for a while.";
    NeighborLost, "neighbor_lost", false, "A router that routes lead to does not answer ARP.";
    NeighborFound, "neighbor_found", true, "A router that did not answer ARP does so again.";
    BackendDown, "backend_down", false, "A backend does not answer its health checks: it gets no new session.";
    BackendUp, "backend_up", true, "A backend that was down answers its health checks again.";
    ServiceDown, "service_down", false, "No backend of a forward is up: its new sessions are refused.";
    ServiceUp, "service_up", true, "A forward that had no backend that is up has one again.";
    SessionsDeleted, "sessions_deleted", true, "Sessions were deleted because the operator asked for it.";
    Reloaded, "reloaded", true, "Every worker runs another configuration.";
    ReloadRefused, "reload_refused", false, "A configuration was refused: the one before goes on.";
    RolledBack, "rolled_back", false, "The configuration before the last one runs again.";
    Confirmed, "confirmed", true, "A configuration was confirmed and stays.";
    SteeringBroken, "steering_broken", false, "A NIC does not deliver packets as its plan says: workers hand them over.";
    SkewBegan, "skew_began", false, "One worker carries more than twice its share of the packets.";
    SkewEnded, "skew_ended", true, "That worker has carried no more than that for a while.";
    NotrackAsymmetric, "notrack_asymmetric", false, "Packets of a notrack class go one way only.";
    NotrackSymmetric, "notrack_symmetric", true, "The way of that class that was silent is heard again.";
}

/// Something that an operator has to hear of once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the clock of the gateway; the publisher adds the time of the day.
    pub at: Time,
    /// What kind of event.
    pub kind: EventKind,
    /// What happened, the numbers, and what to do about it.
    pub text: String,
}

/// The events that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Events {
    queue: VecDeque<Event>,
    lost: u64,
}

impl Events {
    /// Adds an event; a full queue loses its oldest one.
    pub fn push(&mut self, event: Event) {
        if self.queue.len() == QUEUE {
            self.queue.pop_front();
            self.lost += 1;
        }
        self.queue.push_back(event);
    }

    /// Logs an event and adds it.
    pub(super) fn say(&mut self, event: Event) {
        if event.kind.is_relief() {
            tracing::info!(event = event.kind.name(), "{}", event.text);
        } else {
            tracing::warn!(event = event.kind.name(), "{}", event.text);
        }
        self.push(event);
    }

    /// Takes them all out, the oldest first.
    pub fn take(&mut self) -> Vec<Event> {
        self.queue.drain(..).collect()
    }

    /// How many were lost since the start because nobody took them.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_kind_has_its_own_name_and_a_help_text() {
        let names: HashSet<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), EventKind::ALL.len());
        assert!(EventKind::ALL.iter().all(|kind| kind.help().ends_with('.')));
    }

    #[test]
    fn a_full_queue_loses_its_oldest_events_and_counts_them() {
        let mut events = Events::default();
        for second in 0..300 {
            let (at, text) = (Time::from_secs(second), second.to_string());
            events.push(Event { at, kind: EventKind::TableLow, text });
        }
        let taken = events.take();
        assert_eq!((taken.len(), events.lost()), (QUEUE, 44));
        assert_eq!((taken[0].text.as_str(), taken[QUEUE - 1].text.as_str()), ("44", "299"));
        assert!(events.take().is_empty());
    }
}

//! What the management core publishes for the control thread: neighbours, timers, how full the table is, steering, backends,
//! events.
//!
//! [`Publisher`] looks at the management core after its turns, on the management core's own thread, and replaces what
//! was published before. Readers take the whole of it at once. No worker knows of any of this.

use super::state::{EventLog, EventRow, NeighborRow};
use crate::management::Management;
use crate::management::blocks::Ledger;
use crate::management::expiry::TimerStatus;
use crate::management::health::BackendStatus;
use crate::management::steering::SteeringStatus;
use crate::management::watermarks::PressureStatus;
use crate::route::neighbors::Neighbor;
use crate::time::Time;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How often figures are published.
const PERIOD: Duration = Duration::from_secs(1);

/// A value as it was last published. Clones share it.
///
/// A mutex is enough: only the management core and the control thread use it, each for as long as a swap or a copy
/// of the pointer takes.
#[derive(Debug, Default)]
pub struct Published<T>(Arc<Mutex<Arc<T>>>);

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Published(Arc::clone(&self.0))
    }
}

impl<T> Published<T> {
    /// The first value.
    pub fn new(value: T) -> Self {
        Published(Arc::new(Mutex::new(Arc::new(value))))
    }

    /// Replaces the value.
    pub fn publish(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }

    /// The value as last published.
    pub fn read(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Publishes what the management core knows. Clones publish to the same readers.
#[derive(Clone, Debug, Default)]
pub struct Publisher {
    /// The neighbours, whenever one changed.
    pub neighbors: Published<Vec<NeighborRow>>,
    /// The timers of each worker's sessions, once a second.
    pub timers: Published<Vec<TimerStatus>>,
    /// How full the session table is and how fast it fills, once a second; `None` during the first one.
    pub pressure: Published<Option<PressureStatus>>,
    /// How packets reach their owners, once a second.
    pub steering: Published<SteeringStatus>,
    /// Who has which block of ports.
    pub blocks: Published<Ledger>,
    /// Whether backends are there, once a second.
    pub backends: Published<Vec<BackendStatus>>,
    /// The last events; the control thread adds its own.
    pub events: EventLog,
    next: Time,
}

impl Publisher {
    /// Looks at the management core after one of its turns.
    pub fn look(&mut self, management: &mut Management, now: Time) {
        if let Some(list) = management.neighbors_if_changed() {
            self.neighbors.publish(list.iter().map(neighbor_row).collect());
        }
        for event in management.take_events() {
            let ago = now.since(event.at);
            let at = SystemTime::now();
            self.events.push(EventRow {
                at: at.checked_sub(ago).unwrap_or(at),
                kind: event.kind.name(),
                is_relief: event.kind.is_relief(),
                text: event.text,
            });
        }
        if now >= self.next {
            self.next = now + PERIOD;
            self.pressure.publish(Some(management.pressure_status()));
            self.timers.publish(management.timer_status());
            self.steering.publish(management.steering_status());
            self.blocks.publish(management.ledger());
            self.backends.publish(management.backends());
        }
    }
}

fn neighbor_row(neighbor: &Neighbor) -> NeighborRow {
    NeighborRow {
        interface: neighbor.interface,
        address: neighbor.address,
        mac: neighbor.mac,
        state: neighbor.state,
        updated: neighbor.updated.tick(),
    }
}

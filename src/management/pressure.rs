//! What the limits of the session table mean for the management core: whose timer runs faster, and what is said of it.

use super::Management;
use super::events::Event;
use super::expiry::TimeoutPolicy;
use super::watermarks::PressureStatus;
use crate::conntrack::idle::Idle;
use crate::conntrack::pressure::Pressure;
use crate::ids::WorkerId;
use crate::telemetry::WorkerCounters;
use crate::time::Time;
use std::sync::Arc;

/// The timeouts of one shard's sessions as far as its fill leaves them. The worker judges by the same rule.
#[derive(Debug)]
struct Adaptive {
    pressure: Pressure,
    counters: Arc<WorkerCounters>,
}

impl Adaptive {
    fn sessions(&self) -> u32 {
        u32::try_from(self.counters.sessions.get()).unwrap_or(u32::MAX)
    }
}

impl TimeoutPolicy for Adaptive {
    fn effective_timeout(&self, session: &Idle) -> u32 {
        self.pressure.timeout(session.class, session.timeout_ticks, self.sessions())
    }

    fn shrinks(&self) -> bool {
        self.pressure.shrinks(self.sessions())
    }
}

impl Management {
    /// From now on the limits of the current configuration hold.
    pub(super) fn adopt_limits(&mut self) {
        let policy = &self.snapshot.conntrack;
        self.watermarks.adopt(policy);
        let shards = (0..).map(WorkerId).zip(&self.counters).zip(self.watermarks.capacities());
        let adaptive: Vec<_> = shards
            .map(|((worker, counters), capacity)| {
                let pressure = Pressure::new(&policy.limits, capacity);
                (worker, Adaptive { pressure, counters: counters.clone() })
            })
            .collect();
        for (worker, adaptive) in adaptive {
            self.set_timeout_policy(worker, Box::new(adaptive));
        }
    }

    /// Says what there is to say of the session table, once a second.
    pub(super) fn watch_table(&mut self, now: Time) {
        for event in self.watermarks.poll(now, &self.counters) {
            self.events.say(event);
        }
    }

    /// How full the session table is, how fast it fills, and when it will be full.
    pub fn pressure_status(&self) -> PressureStatus {
        self.watermarks.status()
    }

    /// The events since the last call, the oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.take()
    }

    /// How many events were lost since the start because nobody took them.
    pub fn events_lost(&self) -> u64 {
        self.events.lost()
    }
}

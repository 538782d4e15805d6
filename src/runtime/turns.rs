//! How long a worker's turns take: what its CPU does for packets, and how long a new configuration held it up.
//!
//! The run loop reads the clock once a turn, to tell the worker what time it is; the time of a turn is what lies between
//! that reading and the next one. Only turns with something to do are measured: between two idle ones the worker may sleep.
//! What the operating system does meanwhile on the worker's CPU is in it too.

use crate::telemetry::WorkerCounters;
use crate::time::Time;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Measures the turns of one worker, on its own thread.
#[derive(Debug)]
pub(super) struct Turns {
    counters: Arc<WorkerCounters>,
    /// The configuration that the worker ran when the last turn ended.
    revision: u64,
    began: Time,
    busy: bool,
}

impl Turns {
    pub(super) fn new(counters: Arc<WorkerCounters>, now: Time) -> Turns {
        let revision = counters.revision.load(Ordering::Relaxed);
        Turns { counters, revision, began: now, busy: false }
    }

    /// A turn begins, which ends the one before. Returns the time.
    #[inline]
    pub(super) fn begin(&mut self, now: Time) -> Time {
        if self.busy {
            self.count(now);
        }
        self.began = now;
        now
    }

    /// What the worker said of the turn. Returns it.
    #[inline]
    pub(super) fn was_busy(&mut self, busy: bool) -> bool {
        self.busy = busy;
        busy
    }

    #[inline]
    fn count(&mut self, now: Time) {
        let counters = &self.counters;
        let nanos = now.as_nanos().saturating_sub(self.began.as_nanos());
        counters.busy_nanos.add(nanos);
        if nanos > counters.longest_turn_nanos.get() {
            counters.longest_turn_nanos.set(nanos);
        }
        let revision = counters.revision.load(Ordering::Relaxed);
        if revision != self.revision {
            self.revision = revision;
            counters.adopt_turn_nanos.set(nanos);
            counters.adopt_turn_max_nanos.set(nanos.max(counters.adopt_turn_max_nanos.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (when the turn begins, whether it is busy)
    fn run(turns: &mut Turns, script: &[(u64, bool)]) {
        for (at, busy) in script {
            turns.begin(Time::from_nanos(*at));
            turns.was_busy(*busy);
        }
    }

    #[test]
    fn only_turns_with_something_to_do_take_time() {
        let counters = Arc::new(WorkerCounters::default());
        let mut turns = Turns::new(counters.clone(), Time::from_nanos(100));
        run(&mut turns, &[(100, false), (5_100, true), (5_130, true), (5_150, false), (9_000, false)]);
        assert_eq!((counters.busy_nanos.get(), counters.longest_turn_nanos.get()), (50, 30));
        assert_eq!((counters.adopt_turn_nanos.get(), counters.adopt_turn_max_nanos.get()), (0, 0));
    }

    #[test]
    fn the_turn_in_which_a_configuration_was_adopted_is_remembered_and_the_longest_of_them() {
        let counters = Arc::new(WorkerCounters::default());
        let mut turns = Turns::new(counters.clone(), Time::ZERO);
        for (revision, begins, ends, longest) in
            [(1, 1_000, 1_400, 400), (2, 2_000, 2_150, 400), (4, 3_000, 3_900, 900)]
        {
            run(&mut turns, &[(begins, true)]);
            counters.revision.store(revision, Ordering::Relaxed);
            run(&mut turns, &[(ends, true), (ends + 10, false)]);
            let adopted = (counters.adopt_turn_nanos.get(), counters.adopt_turn_max_nanos.get());
            assert_eq!(adopted, (ends - begins, longest));
        }
    }
}

//! The end of idle sessions: one timer wheel for each worker's shard.
//!
//! # How a session ends
//!
//! 1. The worker posts a session's index when it makes it and when its timeout gets shorter. The wheel arms it for the
//!    tick at which [`Session::is_expired`] would be true if nothing came any more.
//! 2. Packets only store `last_seen`. When the timer runs out the session is read again: if it was active it is armed
//!    anew, if it is idle for too long the worker is asked to remove it, by index and generation.
//! 3. The worker looks for itself: it alone knows of the packet that came in between, and does nothing then. So the
//!    session is looked at again half a second later. If it is gone, or another one is there, that costs one read.
//!
//! Nothing is lost for good. If the ring to the worker is full, what is due stays due and is first at the next poll. If
//! the ring of posts was full, the worker's counter of lost posts has grown, and a sweep goes through the whole table
//! within half a second; a slow one always does, once a minute. A sweep arms each session that it sees, armed or not:
//! the wheel does not know when a timer is due, to arm one anew costs no more than to ask, and the sweep thus heals
//! whatever went wrong.
//!
//! # When
//!
//! Never early: only the worker removes a session, by the rule of [`Session::is_expired`], which rounds up. And no
//! session outlives its timeout by more than one second plus 1 %:
//!
//! - a tick of 0.1 s, as `last_seen` is rounded down, and the tick at which the timer runs out;
//! - half a second if the worker declined, because its clock was a moment behind or a packet came;
//! - nothing for a lost post, as no timeout is shorter than a second: the sweep is there before the session is due;
//! - what the management core is late: it looks every 2 ms, and what is due goes before what is not. A session that
//!   only comes nearer has the 1 % to wait, which is more than four seconds from level 2 of the wheel on. How late it
//!   really is [`TimerStatus`] says.
//!
//! # Pressure
//!
//! A session may have to go before its own timeout is over, if the table fills up. [`TimeoutPolicy`] says which; while
//! it does, the sweep makes a round a second, as timers that shrink by themselves post nothing. The worker that is told
//! to remove such a session must judge it by the same rule.
//!
//! [`Session::is_expired`]: crate::conntrack::session::Session::is_expired

use super::Management;
use super::sweep::Sweep;
use crate::conntrack::idle::Idle;
use crate::conntrack::key::V4Key;
use crate::conntrack::table::SessionView;
use crate::conntrack::wheel::{Fired, RANGE, Wheel};
use crate::ids::WorkerId;
use crate::pipeline::message::ToWorker;
use crate::telemetry::WorkerCounters;
use crate::time::{Tick, Time};
use rtrb::{Consumer, Producer};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

/// Posts read a poll: two milliseconds at the most, as reading a session and arming it takes 0.2 µs if neither is in
/// the cache.
const POST_BUDGET: u32 = 8192;
/// Timers handled a poll: two milliseconds at the most.
const FIRE_BUDGET: u32 = 4096;
/// Slots that a sweep looks at in a poll. In order they cost 20 to 70 ns each, so that ten million are seen in half a
/// second; a larger table takes as long as it takes.
const SWEEP_BUDGET: u32 = 8192;
/// Until a session is looked at again whose removal the worker was asked for: 0.5 s.
const RETRY: u32 = 5;
/// Up to where sessions that wait are counted.
const PENDING_COUNTED: u32 = 10_000;

/// How long a session may be idle, if that is not what it says itself.
pub trait TimeoutPolicy: fmt::Debug + Send {
    /// The timeout of this session at this moment, in ticks. Longer than its own has no effect: the worker removes by
    /// that.
    fn effective_timeout(&self, session: &Idle) -> u32 {
        session.timeout_ticks
    }

    /// Whether some timeouts are shorter at this moment than the sessions say, so that timers run out too late and only
    /// a fast sweep finds in time who is to go.
    fn shrinks(&self) -> bool {
        false
    }
}

/// Every session has its own timeout.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnTimeout;

impl TimeoutPolicy for OwnTimeout {}

/// How the timers of one worker's sessions are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerStatus {
    /// Whose.
    pub worker: WorkerId,
    /// Timers. Those of sessions that ended otherwise (deleted, evicted) count until they run out or the slot is used
    /// again.
    pub armed: u32,
    /// Of these, sessions whose timer ran out and that were not looked at yet; counted up to 10,000.
    pub pending: u32,
    /// By how many ticks the latest of those that had to go was late at the last poll; 0 if nothing is pending.
    pub lag_ticks: u32,
    /// Posts of the worker that found the ring full.
    pub posts_lost: u64,
    /// How long the last sweep over the whole table took; `None` before the first one is over.
    pub last_sweep: Option<Duration>,
}

/// The timers of one worker's sessions; see the module's head.
#[derive(Debug)]
pub(super) struct Expiry {
    wheel: Wheel,
    sweep: Sweep,
    sessions: SessionView<V4Key>,
    posts: Consumer<u32>,
    counters: Arc<WorkerCounters>,
    /// Lost posts that a sweep has made up for, or is about to.
    posts_lost: u64,
    policy: Box<dyn TimeoutPolicy>,
    lag: u32,
}

impl Expiry {
    pub(super) fn new(
        sessions: SessionView<V4Key>,
        posts: Consumer<u32>,
        counters: Arc<WorkerCounters>,
        now: Time,
    ) -> Self {
        let capacity = sessions.capacity();
        Expiry {
            wheel: Wheel::new(capacity, now.tick()),
            sweep: Sweep::new(capacity, now),
            sessions,
            posts,
            counters,
            posts_lost: 0,
            policy: Box::new(OwnTimeout),
            lag: 0,
        }
    }

    /// One turn: posts, a piece of the sweep, timers that ran out. Returns whether there was anything to do.
    pub(super) fn poll(&mut self, now: Time, to: &mut Producer<ToWorker>) -> bool {
        let posted = self.read_posts(now.tick());
        let behind = self.sweep(now);
        let fired = self.fire(now.tick(), to);
        posted || behind || fired
    }

    fn read_posts(&mut self, now: Tick) -> bool {
        for read in 0..POST_BUDGET {
            let Ok(index) = self.posts.pop() else { return read > 0 };
            self.arm(index, now);
        }
        true
    }

    /// Arms a session for when it ends. One that comes or goes at this moment is left alone: the worker posts whoever
    /// comes.
    fn arm(&mut self, index: u32, now: Tick) {
        if let Some(idle) = self.sessions.idle(index) {
            let ends_in = idle.ends_in(now, self.policy.effective_timeout(&idle)).unwrap_or(0);
            self.wheel.arm(index, after(now, ends_in));
        }
    }

    /// Looks at the slots that are due. Returns whether that were too many for one poll.
    fn sweep(&mut self, now: Time) -> bool {
        let lost = self.counters.timer_posts_lost.get();
        if lost != self.posts_lost {
            self.posts_lost = lost;
            // From here on every session whose post was lost is seen as it was then, or later.
            fence(Ordering::Acquire);
            self.sweep.hurry(now);
        }
        self.sweep.pass(now, self.policy.shrinks());
        for _ in 0..SWEEP_BUDGET {
            let Some(index) = self.sweep.next(now) else { return false };
            self.arm(index, now.tick());
        }
        self.sweep.is_behind()
    }

    fn fire(&mut self, now: Tick, to: &mut Producer<ToWorker>) -> bool {
        let (sessions, policy) = (&self.sessions, &self.policy);
        let mut lag = 0;
        let handled = self.wheel.advance(now, FIRE_BUDGET, |index| {
            let Some(idle) = sessions.idle(index) else { return Fired::Rest };
            match idle.ends_in(now, policy.effective_timeout(&idle)) {
                Ok(ends_in) => Fired::At(after(now, ends_in)),
                Err(late) => {
                    lag = lag.max(late);
                    match to.push(ToWorker::Expire { index, generation: idle.generation }) {
                        Ok(()) => Fired::At(after(now, RETRY)),
                        Err(_) => Fired::Hold,
                    }
                }
            }
        });
        self.lag = if self.wheel.has_pending() { lag } else { 0 };
        handled > 0
    }

    fn status(&self, worker: WorkerId) -> TimerStatus {
        TimerStatus {
            worker,
            armed: self.wheel.armed(),
            pending: self.wheel.pending(PENDING_COUNTED),
            lag_ticks: self.lag,
            posts_lost: self.counters.timer_posts_lost.get(),
            last_sweep: self.sweep.last_round(),
        }
    }
}

/// A tick ahead, or the furthest one that the wheel reaches: the session is looked at then and armed anew.
fn after(now: Tick, ticks: u32) -> Tick {
    Tick(now.0.wrapping_add(ticks.min(RANGE - 1)))
}

impl Management {
    /// One turn of every worker's timers. Returns whether there was anything to do.
    pub(super) fn poll_timers(&mut self, now: Time) -> bool {
        let mut busy = false;
        for link in &mut self.links {
            busy |= link.expiry.poll(now, &mut link.to);
        }
        busy
    }

    /// How the timers are doing, by worker.
    pub fn timer_status(&self) -> Vec<TimerStatus> {
        (0..).zip(&self.links).map(|(number, link)| link.expiry.status(WorkerId(number))).collect()
    }

    /// From now on the sessions of this worker end by this policy.
    pub fn set_timeout_policy(&mut self, worker: WorkerId, policy: Box<dyn TimeoutPolicy>) {
        if let Some(link) = self.links.get_mut(worker.index()) {
            link.expiry.policy = policy;
        }
    }
}

#[cfg(test)]
#[path = "expiry_tests.rs"]
mod tests;

//! The pace of a sweep: which slots of a table are to be looked at by now, at one round in so much time.
//!
//! It makes up for messages that were lost and finds sessions whose timeout shrank without one. A round may take a
//! minute, a second while timeouts shrink under pressure, or half a second once it is known that a message was lost.

use crate::time::Time;
use std::time::Duration;

/// A round when nothing is known to be missing.
const SLOW: Duration = Duration::from_secs(60);
/// A round while timeouts shrink under pressure: a session that is to go earlier is found within a second.
const PRESSED: Duration = Duration::from_secs(1);
/// A round after a message was lost. Less than the shortest timeout (one second), so that even sessions under that one
/// are found before they end.
const HURRIED: Duration = Duration::from_millis(500);

/// Where a sweep is, and how much of it is due.
#[derive(Debug)]
pub(super) struct Sweep {
    capacity: u32,
    /// The slot that is next.
    cursor: u32,
    /// Slots that have to be looked at by now.
    due: u32,
    /// What is less than a slot, in slots times nanoseconds of a round.
    rest: u128,
    last: Time,
    /// Of this round: slots that are left, when it began, whether somebody waits for its end.
    left: u32,
    began: Time,
    hurried: bool,
    length: Option<Duration>,
}

impl Sweep {
    /// A sweep over so many slots that begins now.
    pub(super) fn new(capacity: u32, now: Time) -> Self {
        Sweep {
            capacity,
            cursor: 0,
            due: 0,
            rest: 0,
            last: now,
            left: capacity,
            began: now,
            hurried: false,
            length: None,
        }
    }

    /// Begins a whole round, to be done in half a second.
    pub(super) fn hurry(&mut self, now: Time) {
        self.hurried = true;
        self.left = self.capacity;
        self.began = now;
    }

    /// Time has passed. If the table is larger than can be looked at in the time of a round, no more than one round is
    /// ever due.
    pub(super) fn pass(&mut self, now: Time, pressed: bool) {
        let round = match (self.hurried, pressed) {
            (true, _) => HURRIED,
            (false, true) => PRESSED,
            (false, false) => SLOW,
        };
        let round = round.as_nanos();
        self.rest += now.since(self.last).as_nanos().min(round) * u128::from(self.capacity);
        self.last = now;
        let slots = u32::try_from(self.rest / round).unwrap_or(u32::MAX);
        self.rest %= round;
        self.due = self.due.saturating_add(slots).min(self.capacity);
    }

    /// The next slot that is due.
    pub(super) fn next(&mut self, now: Time) -> Option<u32> {
        self.due = self.due.checked_sub(1)?;
        let slot = self.cursor;
        self.cursor = if slot + 1 >= self.capacity { 0 } else { slot + 1 };
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.length = Some(now.since(self.began));
            self.left = self.capacity;
            self.began = now;
            self.hurried = false;
        }
        Some(slot)
    }

    /// Whether slots are due that were not looked at yet.
    pub(super) fn is_behind(&self) -> bool {
        self.due > 0
    }

    /// How long the last round took, once there was one.
    pub(super) fn last_round(&self) -> Option<Duration> {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const START: Time = Time::from_secs(50);

    /// Runs the sweep for so long in steps of 2 ms; returns the slots that it looked at.
    fn run(sweep: &mut Sweep, now: &mut Time, length: Duration, pressed: bool) -> Vec<u32> {
        let end = *now + length;
        let mut seen = Vec::new();
        while *now < end {
            *now = *now + Duration::from_millis(2);
            sweep.pass(*now, pressed);
            seen.extend(std::iter::from_fn(|| sweep.next(*now)));
        }
        seen
    }

    fn is_whole(seen: &[u32], capacity: u32) -> bool {
        seen.len() == capacity as usize && seen.iter().collect::<HashSet<_>>().len() == seen.len()
    }

    #[test]
    fn a_round_takes_a_minute_and_a_second_under_pressure() {
        for capacity in [1, 7, 600, 100_003] {
            let (mut sweep, mut now) = (Sweep::new(capacity, START), START);
            assert!(is_whole(&run(&mut sweep, &mut now, SLOW, false), capacity), "{capacity}");
            assert!(is_whole(&run(&mut sweep, &mut now, PRESSED, true), capacity), "{capacity}");
            assert_eq!(sweep.last_round(), Some(PRESSED));
        }
    }

    #[test]
    fn a_hurried_round_begins_where_the_sweep_is_and_ends_everywhere_in_half_a_second() {
        for capacity in [1, 7, 600, 100_003] {
            let (mut sweep, mut now) = (Sweep::new(capacity, START), START);
            run(&mut sweep, &mut now, Duration::from_secs(20), false);
            sweep.hurry(now);
            // A second loss on the way: the round begins once more.
            run(&mut sweep, &mut now, Duration::from_millis(300), false);
            sweep.hurry(now);
            let seen: HashSet<u32> = run(&mut sweep, &mut now, HURRIED, false).into_iter().collect();
            assert_eq!(seen.len(), capacity as usize);
            assert!(sweep.last_round().is_some_and(|length| length <= HURRIED), "{capacity}");
            assert!(
                run(&mut sweep, &mut now, SLOW / 2, false).len() <= capacity as usize / 2 + 1,
                "slow again"
            );
        }
    }

    #[test]
    fn no_more_than_one_round_is_ever_due() {
        let mut sweep = Sweep::new(100, START);
        for hour in 1..10 {
            sweep.pass(START + Duration::from_secs(3600 * hour), false);
        }
        let now = START + Duration::from_secs(36_000);
        assert!(is_whole(&std::iter::from_fn(|| sweep.next(now)).collect::<Vec<_>>(), 100));
        let mut empty = Sweep::new(0, START);
        empty.hurry(now);
        empty.pass(now, true);
        assert_eq!((empty.next(now), empty.is_behind()), (None, false));
    }
}

//! When frames are due: a constant rate, by credit that time earns and frames spend.
//!
//! Credit is bounded: after a pause (the operating system took the CPU away) at most [`BACKLOG_NANOS`] worth of frames are
//! sent at once, and the rest is forgone. So a pause of the generator never becomes a burst that the device under test has to
//! swallow; it shows as fewer frames sent than asked for.

use crate::device::BURST;

const SECOND: u64 = 1_000_000_000;
/// How much of a pause is made up for.
pub const BACKLOG_NANOS: u64 = 50_000;

/// Frames a second, or as many as the device takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many frames a second.
    PerSecond(u64),
    /// As many as the device takes.
    Unlimited,
}

/// The pace of one direction.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate: Rate,
    last: u64,
    /// In frames times nanoseconds in a second.
    credit: u64,
    most: u64,
}

impl Pacer {
    /// A pace that begins at `now`, in nanoseconds.
    pub fn new(rate: Rate, now: u64) -> Pacer {
        let frames = match rate {
            Rate::PerSecond(rate) => (rate.saturating_mul(BACKLOG_NANOS) / SECOND).max(BURST as u64),
            Rate::Unlimited => 0,
        };
        Pacer { rate, last: now, credit: 0, most: frames * SECOND }
    }

    /// How many frames may be sent now.
    #[inline]
    pub fn due(&mut self, now: u64) -> u64 {
        let Rate::PerSecond(rate) = self.rate else { return u64::MAX };
        let earned = now.saturating_sub(self.last).saturating_mul(rate);
        self.last = now;
        self.credit = self.credit.saturating_add(earned).min(self.most);
        self.credit / SECOND
    }

    /// So many of those that were due are on their way.
    #[inline]
    pub fn spend(&mut self, frames: u64) {
        self.credit = self.credit.saturating_sub(frames.saturating_mul(SECOND));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(pacer: &mut Pacer, times: impl IntoIterator<Item = u64>) -> u64 {
        let mut sent = 0;
        for now in times {
            let due = pacer.due(now).min(BURST as u64);
            pacer.spend(due);
            sent += due;
        }
        sent
    }

    #[test]
    fn a_second_has_as_many_frames_as_asked_for_whatever_the_steps_are() {
        for (rate, step) in [(1_000_000, 700), (3_333_333, 1_301), (7, 1_000_003), (1, 333_333_333)] {
            let mut pacer = Pacer::new(Rate::PerSecond(rate), 5);
            let turns = (0..=SECOND / step).map(|turn| turn * step).chain([SECOND]);
            let sent = send(&mut pacer, turns.map(|after| 5 + after));
            assert!((rate - 1..=rate).contains(&sent), "{sent} of {rate}");
        }
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let mut pacer = Pacer::new(Rate::PerSecond(10_000_000), 0);
        assert_eq!(pacer.due(SECOND), 500);
        let mut slow = Pacer::new(Rate::PerSecond(1000), 0);
        assert_eq!(slow.due(SECOND), BURST as u64);
    }

    #[test]
    fn without_a_limit_there_is_always_something_due() {
        assert_eq!(Pacer::new(Rate::Unlimited, 0).due(0), u64::MAX);
    }
}

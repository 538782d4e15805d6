//! Time as a value. Nothing in the core reads a clock: the caller of `poll_once` says what time it is.

use std::ops::Add;
use std::time::Duration;

/// A point in time: nanoseconds since an arbitrary start. Wraps after 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

/// Coarse time for what is stored in each session: tenths of a second since the same start.
/// Wraps after 13.6 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u32);

/// How long one [`Tick`] lasts.
pub const TICK: Duration = Duration::from_millis(100);
const TICK_NANOS: u64 = 100_000_000;

impl Time {
    /// The start of time.
    pub const ZERO: Time = Time(0);

    /// The moment that lies `nanos` after the start.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Time(nanos)
    }

    /// The moment that lies `secs` seconds after the start.
    #[inline]
    pub const fn from_secs(secs: u64) -> Self {
        Time(secs * 1_000_000_000)
    }

    /// Nanoseconds since the start.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The coarse time, rounded down.
    #[inline]
    pub fn tick(self) -> Tick {
        // Wraps by design after 2^32 ticks; ages are computed by wrapping subtraction.
        #[expect(clippy::cast_possible_truncation, reason = "wraps by design")]
        Tick((self.0 / TICK_NANOS) as u32)
    }

    /// Whole seconds since the start; wraps after 136 years.
    #[inline]
    pub fn as_secs(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "wraps by design")]
        let seconds = (self.0 / 1_000_000_000) as u32;
        seconds
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[inline]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    #[inline]
    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Tick {
    /// Ticks from `earlier` to `self`. A moment that lies ahead by less than half the range gives 0.
    #[inline]
    pub fn since(self, earlier: Tick) -> u32 {
        let age = self.0.wrapping_sub(earlier.0);
        if age > u32::MAX / 2 { 0 } else { age }
    }

    /// The moment so many ticks later.
    #[inline]
    #[must_use]
    pub fn after(self, ticks: u32) -> Tick {
        Tick(self.0.wrapping_add(ticks))
    }

    /// Whether the moment has come. One that lies back by more than half the range seems to be ahead.
    #[inline]
    pub fn has_come(self, now: Tick) -> bool {
        now.0.wrapping_sub(self.0) <= u32::MAX / 2
    }
}

/// A length of time in whole ticks, rounded up so that nothing expires early.
#[inline]
pub fn ticks(length: Duration) -> u32 {
    u32::try_from(length.as_nanos().div_ceil(u128::from(TICK_NANOS))).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_rounds_up_to_whole_ticks() {
        assert_eq!(ticks(Duration::from_secs(1)), 10);
        assert_eq!(ticks(Duration::from_millis(101)), 2);
        assert_eq!(ticks(Duration::ZERO), 0);
    }

    #[test]
    fn an_age_survives_the_wrap_of_the_tick() {
        assert_eq!(Tick(5).since(Tick(u32::MAX - 4)), 10);
        assert_eq!(Tick(5).since(Tick(6)), 0);
        let late = Tick(u32::MAX - 4);
        assert_eq!(late.after(10), Tick(5));
        assert!(late.has_come(Tick(5)) && Tick(5).has_come(Tick(5)) && !Tick(6).has_come(Tick(5)));
    }
}

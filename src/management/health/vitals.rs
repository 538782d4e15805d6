//! What a backend's answers say of it: up until it was silent several times in a row, down until it answered several times.

use crate::time::Time;

/// Why a question counts as not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came within the timeout.
    Silent,
    /// Nobody listens on the port.
    Refused,
    /// No route leads to it.
    NoRoute,
}

impl Failure {
    /// Every one.
    pub const ALL: [Failure; 3] = [Failure::Silent, Failure::Refused, Failure::NoRoute];

    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Failure::Silent => "timeout",
            Failure::Refused => "refused",
            Failure::NoRoute => "no_route",
        }
    }

    /// The same in words.
    pub fn words(self) -> &'static str {
        match self {
            Failure::Silent => "no answer in time",
            Failure::Refused => "the connection is refused",
            Failure::NoRoute => "no route leads to it",
        }
    }
}

/// How a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Whether it gets new sessions.
    pub up: bool,
    /// Since when that is so.
    pub since: Time,
    /// How often it went from up to down, or back.
    pub changes: u64,
    /// Questions that had an end.
    pub asked: u64,
    /// Of these, those without a good answer.
    pub failed: u64,
    /// The last failure, and when it was.
    pub failure: Option<(Failure, Time)>,
    /// Answers in a row that speak against what it is.
    against: u8,
}

impl Vitals {
    /// One of which nothing is known: up.
    pub fn new(now: Time) -> Vitals {
        Vitals { up: true, since: now, changes: 0, asked: 0, failed: 0, failure: None, against: 0 }
    }

    /// Reads an answer, or that there was none. `rise` and `fall` are how many in a row it takes. Returns whether it is now what
    /// it was not before.
    pub(super) fn read(&mut self, answer: Result<(), Failure>, (rise, fall): (u8, u8), now: Time) -> bool {
        self.asked += 1;
        if let Err(failure) = answer {
            self.failed += 1;
            self.failure = Some((failure, now));
        }
        if answer.is_ok() == self.up {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        if self.against < if self.up { fall } else { rise } {
            return false;
        }
        (self.up, self.since, self.against) = (!self.up, now, 0);
        self.changes += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads answers, `y` and `n`; returns what it was after each, `U` and `D`.
    fn read(rise: u8, fall: u8, answers: &str) -> String {
        let mut vitals = Vitals::new(Time::ZERO);
        let mut turn = |(second, answer): (u64, char)| {
            let before = vitals;
            let answer = if answer == 'y' { Ok(()) } else { Err(Failure::Silent) };
            let changed = vitals.read(answer, (rise, fall), Time::from_secs(second));
            assert_eq!(changed, vitals.up != before.up);
            assert_eq!(vitals.since, if changed { Time::from_secs(second) } else { before.since });
            assert_eq!(vitals.changes, before.changes + u64::from(changed));
            if vitals.up { 'U' } else { 'D' }
        };
        (1..).zip(answers.chars()).map(&mut turn).collect()
    }

    #[test]
    fn it_takes_so_many_in_a_row_to_go_down_and_to_come_back() {
        assert_eq!(read(2, 3, "ynnynnnnyynyy"), "UUUUUUDDDUUUU");
        assert_eq!(read(2, 3, "nnnynyy"), "UUDDDDU");
        assert_eq!(read(1, 1, "nyny"), "DUDU");
    }

    #[test]
    fn failures_are_counted_and_the_last_one_is_known() {
        let mut vitals = Vitals::new(Time::ZERO);
        vitals.read(Err(Failure::Refused), (1, 3), Time::from_secs(1));
        vitals.read(Ok(()), (1, 3), Time::from_secs(2));
        assert_eq!((vitals.asked, vitals.failed), (2, 1));
        assert_eq!(vitals.failure, Some((Failure::Refused, Time::from_secs(1))));
    }
}

//! The search for the highest rate that passes (RFC 2544 section 26.1): bisection between a rate that passed and one that
//! did not, until they are 1 % apart.

/// Below so many a second a search is given up.
const LEAST: u64 = 100;

/// A search in progress. Rates are frames (or sessions) a second.
#[derive(Clone, Debug)]
pub struct Search {
    passed: u64,
    failed: u64,
    guess: Option<Guess>,
}

/// A rate to try out of turn.
#[derive(Clone, Copy, Debug)]
struct Guess {
    rate: u64,
    /// How much lower the next guess is if this one fails, in percent; doubles each time.
    step: u64,
}

impl Search {
    /// Searches below `failed`, the lowest rate known to fail. `guess` is tried first, and is at best just below what will
    /// be found.
    pub fn below(failed: u64, guess: u64) -> Search {
        let guess = (guess > 0 && guess < failed).then_some(Guess { rate: guess, step: 5 });
        Search { passed: 0, failed, guess }
    }

    /// The rate to try next; `None` when the search is over.
    pub fn next_rate(&self) -> Option<u64> {
        let apart = self.failed - self.passed;
        if self.failed < LEAST || apart <= (self.failed / 100).max(1) {
            return None;
        }
        Some(self.guess.map_or(self.passed + apart / 2, |guess| guess.rate))
    }

    /// What became of a rate that was tried.
    pub fn record(&mut self, rate: u64, passed: bool) {
        if passed {
            self.passed = self.passed.max(rate);
        } else {
            self.failed = self.failed.min(rate);
        }
        // What is found is likely to be near a guess that failed.
        self.guess =
            self.guess.take().filter(|guess| !passed && guess.step <= 40).and_then(|Guess { rate, step }| {
                let rate = rate - rate * step / 100;
                (rate > self.passed).then_some(Guess { rate, step: step * 2 })
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(limit: u64, failed: u64, guess: u64) -> (u64, u32) {
        let mut search = Search::below(failed, guess);
        let (mut best, mut tries) = (0, 0);
        while let Some(rate) = search.next_rate() {
            let passes = rate <= limit;
            search.record(rate, passes);
            best = if passes { best.max(rate) } else { best };
            tries += 1;
            assert!(tries < 64, "{search:?}");
        }
        (best, tries)
    }

    #[test]
    fn the_highest_rate_that_passes_is_found_to_one_percent() {
        for limit in [150, 999, 123_456, 7_000_000, 14_999_999] {
            for guess in [0, limit / 2, limit - 1, limit + limit / 50, 14_000_000] {
                let (best, _) = find(limit, 15_000_000, guess);
                assert!(best <= limit && best + limit / 50 + 2 >= limit, "{limit}, {guess}: {best}");
            }
        }
    }

    #[test]
    fn a_good_guess_saves_tries() {
        let (_, without) = find(6_900_000, 15_000_000, 0);
        let (_, with) = find(6_900_000, 7_200_000, 6_880_000);
        assert!(with < without, "{with} < {without}");
    }

    #[test]
    fn when_nothing_passes_the_search_ends() {
        assert_eq!(find(0, 10_000_000, 9_000_000).0, 0);
        assert_eq!(Search::below(0, 0).next_rate(), None);
        assert_eq!(Search::below(1, 5).next_rate(), None);
    }
}

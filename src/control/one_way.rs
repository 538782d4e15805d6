//! Classes whose packets go one way only, although they are to go both: answers that take another way, or a service that
//! says nothing. Pure: counters and the time come from the caller.
//!
//! A window begins with the first packet that goes one way while none goes the other, and ends with the first that does. One
//! that lasts for [`WINDOW`] with [`LEAST`] packets makes the class asymmetric, until the silent way is heard. A class is
//! known by its name; counters that were set back are those of another one.

use crate::classify::notrack::Way;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long one way has to be silent.
pub const WINDOW: Duration = Duration::from_secs(10);
/// How many packets have to go the other way meanwhile.
pub const LEAST: u64 = 100;

/// A class as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether packets are to go both ways.
    pub both_ways: bool,
    /// Packets that passed, by [`Way`].
    pub packets: [u64; 2],
}

/// What is known of a class beside its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How long it has been there.
    pub age: Duration,
    /// The way that is silent, if it is asymmetric.
    pub silent: Option<Way>,
}

/// A class became asymmetric, or is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its name.
    pub name: String,
    /// The way that is, or was, silent.
    pub silent: Way,
    /// Packets that went the other way meanwhile; `None`: it was heard.
    pub others: Option<u64>,
}

/// What was seen of every class.
#[derive(Debug, Default)]
pub struct OneWay(HashMap<String, Seen>);

#[derive(Debug)]
struct Seen {
    first: Instant,
    began: Instant,
    at_begin: [u64; 2],
    silent: Option<Way>,
}

impl OneWay {
    /// Looks at the classes that there are. Those that are gone are forgotten.
    pub fn look<'a>(&mut self, classes: impl Iterator<Item = Sample<'a>>, now: Instant) -> Vec<Finding> {
        let mut before = std::mem::take(&mut self.0);
        let mut findings = Vec::new();
        for class in classes {
            let known = before.remove_entry(class.name).filter(|(_, seen)| seen.is_of(&class));
            let (name, mut seen) =
                known.unwrap_or_else(|| (class.name.to_owned(), Seen::new(class.packets, now)));
            if let Some((silent, others)) = seen.look(&class, now) {
                findings.push(Finding { name: name.clone(), silent, others });
            }
            self.0.insert(name, seen);
        }
        findings
    }

    /// What is known of a class; nothing of one that was not there at the last look.
    pub fn known(&self, name: &str, now: Instant) -> Known {
        let known =
            |seen: &Seen| Known { age: now.saturating_duration_since(seen.first), silent: seen.silent };
        self.0.get(name).map(known).unwrap_or_default()
    }
}

impl Seen {
    fn new(packets: [u64; 2], now: Instant) -> Seen {
        Seen { first: now, began: now, at_begin: packets, silent: None }
    }

    /// Whether these are the same counters.
    fn is_of(&self, class: &Sample<'_>) -> bool {
        self.at_begin.iter().zip(class.packets).all(|(before, now)| *before <= now)
    }

    /// The way that fell silent with what went the other way, or that was heard again.
    fn look(&mut self, class: &Sample<'_>, now: Instant) -> Option<(Way, Option<u64>)> {
        let [there, back] = [0, 1].map(|way| class.packets[way].saturating_sub(self.at_begin[way]));
        let (silent, others) = match (there, back) {
            _ if !class.both_ways => {
                self.silent = None;
                self.begin(class, now);
                return None;
            }
            (0, 0) => {
                self.begin(class, now);
                return None;
            }
            (others, 0) => (Some(Way::Back), others),
            (0, others) => (Some(Way::There), others),
            _ => (None, 0),
        };
        if let Some(was) = self.silent.filter(|was| silent != Some(*was)) {
            self.silent = None;
            self.begin(class, now);
            return Some((was, None));
        }
        let lasts = now.saturating_duration_since(self.began) >= WINDOW;
        if silent.is_none() || lasts {
            self.begin(class, now);
        }
        let found = silent.filter(|_| lasts && others >= LEAST && self.silent.is_none())?;
        self.silent = Some(found);
        Some((found, Some(others)))
    }

    fn begin(&mut self, class: &Sample<'_>, now: Instant) {
        (self.began, self.at_begin) = (now, class.packets);
    }
}

impl Finding {
    /// What an operator is told.
    pub fn text(&self) -> String {
        let name = &self.name;
        match (self.silent, self.others) {
            (Way::Back, Some(others)) => format!(
                "notrack class {name} is asymmetric: {others} packets went to the service within {} s and none came back. \
                 Answers take another way, or the service is silent: look at its routes, and at `natgate check` and `natgate \
                 explain`",
                WINDOW.as_secs()
            ),
            (Way::There, Some(others)) => format!(
                "notrack class {name} is asymmetric: {others} packets came back within {} s and none went to the service. \
                 Clients' packets take another way or are of another class: look at the routes, and at `natgate check` and \
                 `natgate explain`",
                WINDOW.as_secs()
            ),
            (Way::Back, None) => format!("notrack class {name}: the service is heard again"),
            (Way::There, None) => format!("notrack class {name}: clients are heard again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second at a class through which so many packets a second go each way. Returns what was found, with
    /// the second.
    struct Play {
        watch: OneWay,
        start: Instant,
        second: u64,
        packets: [u64; 2],
        both_ways: bool,
    }

    impl Play {
        fn new() -> Play {
            let mut play = Play {
                watch: OneWay::default(),
                start: Instant::now(),
                second: 0,
                packets: [5_000, 7],
                both_ways: true,
            };
            assert!(play.look().is_empty());
            play
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_secs(self.second)
        }

        fn look(&mut self) -> Vec<Finding> {
            let class = Sample { name: "cache", both_ways: self.both_ways, packets: self.packets };
            self.watch.look([class].into_iter(), self.now())
        }

        fn run(&mut self, seconds: u64, rates: [u64; 2]) -> Vec<(u64, Way, Option<u64>)> {
            let mut found = Vec::new();
            for _ in 0..seconds {
                self.second += 1;
                self.packets = [0, 1].map(|way| self.packets[way] + rates[way]);
                found.extend(self.look().into_iter().map(|it| (self.second, it.silent, it.others)));
            }
            found
        }

        fn silent(&self) -> Option<Way> {
            self.watch.known("cache", self.now()).silent
        }
    }

    #[test]
    fn a_way_that_is_silent_for_ten_seconds_is_said_once_and_again_when_it_is_heard() {
        let mut play = Play::new();
        assert_eq!(play.run(60, [20, 0]), [(10, Way::Back, Some(200))]);
        assert_eq!(play.silent(), Some(Way::Back));
        assert_eq!(play.run(60, [0, 0]), [], "nobody speaks: nothing new is known");
        assert_eq!(play.silent(), Some(Way::Back));
        assert_eq!(play.run(1, [20, 1]), [(121, Way::Back, None)]);
        assert_eq!((play.silent(), play.run(60, [20, 1])), (None, vec![]));
        assert_eq!(play.run(30, [0, 500]), [(191, Way::There, Some(5_000))]);
        assert_eq!(play.run(1, [1, 0]), [(212, Way::There, None)], "now the other way is silent");
    }

    #[test]
    fn few_packets_or_a_short_time_say_nothing() {
        let mut play = Play::new();
        assert_eq!(play.run(120, [9, 0]), [], "ninety in ten seconds");
        for _ in 0..10 {
            assert_eq!(play.run(9, [1_000, 0]), []);
            assert_eq!(play.run(1, [1_000, 1]), [], "an answer ends the window");
        }
        assert_eq!(play.run(60, [0, 0]), []);
        assert_eq!(
            play.run(9, [1_000, 0]),
            [],
            "a window begins with its first packet, not with the silence before"
        );
    }

    #[test]
    fn a_class_that_is_to_go_one_way_is_not_watched() {
        let mut play = Play::new();
        assert_eq!(play.run(20, [100, 0]).len(), 1);
        play.both_ways = false;
        assert_eq!((play.run(60, [100, 0]), play.silent()), (vec![], None));
    }

    #[test]
    fn a_class_with_other_counters_is_another_one_and_one_that_is_gone_is_forgotten() {
        let mut play = Play::new();
        assert_eq!(play.run(20, [100, 0]).len(), 1);
        play.packets = [0, 0];
        assert_eq!((play.run(1, [0, 0]), play.silent()), (vec![], None));
        let age = |play: &Play| play.watch.known("cache", play.now()).age.as_secs();
        assert_eq!((play.run(5, [0, 0]), age(&play)), (vec![], 5));
        play.watch.look(std::iter::empty(), play.now());
        assert_eq!(age(&play), 0);
    }

    #[test]
    fn what_is_said_names_the_class_the_counts_and_what_to_do() {
        let finding = |silent, others| Finding { name: "cache".into(), silent, others }.text();
        let text = finding(Way::Back, Some(4_321));
        assert!(
            ["cache", "4321", "10 s", "none came back", "`natgate check`"]
                .iter()
                .all(|part| text.contains(part))
        );
        assert!(finding(Way::There, Some(100)).contains("none went to the service"));
        assert_ne!(finding(Way::There, None), finding(Way::Back, None));
    }
}

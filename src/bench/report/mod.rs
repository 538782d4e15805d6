//! What a benchmark found: the model of its results, how they are written and read (JSON), and their plots (SVG).
//!
//! A [`Report`] is of one device under test; each [`Row`] of it is one trial at one number of sessions, one size of frames
//! and in one direction, measured once or several times ([`Runs`]). Rates count frames as RFC 2544 does, and bits with the
//! 20 bytes that each frame takes on a wire beside itself. A rate in both directions is the sum of the two. Numbers are
//! whole, and the name of a JSON member says its unit.
//!
//! Order: a benchmark makes rows and [`write()`]s a report; who compares [`read()`]s several, [`merge()`]s those of one device
//! into rows of several runs, and [`plot()`]s them. Nothing here measures or reads a clock.

mod chart;
mod file;
mod load;
mod merge;
mod plots;

pub use file::{ReadError, SCHEMA, read, write};
pub use load::{Direction, Frame, FrameError, IMIX, WIRE_BYTES};
pub use merge::merge;
pub use plots::{NothingToPlot, What, WhatError, plot};

use serde::{Deserialize, Serialize};

/// What was measured of one device under test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which form the file has: [`SCHEMA`].
    pub schema: u32,
    /// What measured what, and when.
    pub about: About,
    /// The results.
    pub rows: Vec<Row>,
}

impl Report {
    /// A report in the form of this version.
    pub fn new(about: About, rows: Vec<Row>) -> Self {
        Report { schema: SCHEMA, about, rows }
    }

    /// Whether every trial passed.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.verdict == Verdict::Pass)
    }
}

/// What measured what, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of the natgate that measured.
    pub natgate_version: String,
    /// Version of its DPDK, if it has one.
    pub dpdk_version: Option<String>,
    /// What was measured, such as `natgate`, `testpmd` or `kernel`: reports with the same name are of the same thing.
    pub device_under_test: String,
    /// The generator's devices, inside first; none if the device under test is in the same process.
    pub devices: Vec<String>,
    /// The model of the processor, as the kernel names it.
    pub cpu_model: String,
    /// How often the time stamp counter counts in a second.
    pub tsc_hz: u64,
    /// When it began, as RFC 3339 writes it.
    pub started: String,
    /// The command that made this report.
    pub command_line: String,
}

/// One trial's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What was tried.
    pub trial: Trial,
    /// With so many sessions (attempted, where the trial finds how many there can be).
    pub sessions: u64,
    /// Of which size the frames were.
    #[serde(rename = "frame_bytes")]
    pub frame: Frame,
    /// Which way they went.
    pub direction: Direction,
    /// How many rules the device under test had, if that is what varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u64>,
    /// How many workers it had, if that is what varies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// What came out.
    #[serde(flatten)]
    pub measured: Measured,
    /// The median in bits a second, if it is a rate of packets: [`Frame::bits_per_second`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_second: Option<u64>,
    /// How long packets took at that rate, if that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Frames sent in the runs that count; 0 if the trial counts none.
    pub sent_packets: u64,
    /// How many of them did not come back.
    pub lost_packets: u64,
    /// Whether it went as it has to.
    pub verdict: Verdict,
}

impl Row {
    /// A trial that passed and lost nothing; the other members are filled in by those who have them.
    pub fn new(trial: Trial, sessions: u64, frame: Frame, direction: Direction, measured: Measured) -> Self {
        let bits_per_second = match &measured {
            Measured::PacketsPerSecond(runs) => Some(frame.bits_per_second(runs.median())),
            _ => None,
        };
        Row {
            trial,
            sessions,
            frame,
            direction,
            rules: None,
            workers: None,
            measured,
            bits_per_second,
            latency: None,
            sent_packets: 0,
            lost_packets: 0,
            verdict: Verdict::Pass,
        }
    }
}

/// What is tried: RFC 2544 (throughput, latency) and RFC 9693 (the others).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trial {
    /// The highest rate at which nothing is lost (or no more than was allowed).
    Throughput,
    /// How long packets take at a rate.
    Latency,
    /// The highest rate of new sessions.
    Establish,
    /// Whether every session can be used in both directions.
    Validate,
    /// How fast sessions are removed.
    Teardown,
    /// How many sessions there can be.
    Capacity,
}

impl Trial {
    /// As the command line, the files and the tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Trial::Throughput => "throughput",
            Trial::Latency => "latency",
            Trial::Establish => "establish",
            Trial::Validate => "validate",
            Trial::Teardown => "teardown",
            Trial::Capacity => "capacity",
        }
    }
}

/// What came out, in the unit that the member of the JSON is called after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Frames a second: of throughput what was found, of latency at which it was measured.
    PacketsPerSecond(Runs),
    /// Sessions a second, established or removed.
    SessionsPerSecond(Runs),
    /// How many sessions were established.
    EstablishedSessions(Runs),
    /// Cycles of the time stamp counter that the device under test takes for a packet, of all its workers together.
    CyclesPerPacket(Runs),
}

impl Measured {
    /// The values, whatever their unit.
    pub fn runs(&self) -> &Runs {
        match self {
            Measured::PacketsPerSecond(runs)
            | Measured::SessionsPerSecond(runs)
            | Measured::EstablishedSessions(runs)
            | Measured::CyclesPerPacket(runs) => runs,
        }
    }

    /// The unit in words.
    pub fn unit(&self) -> &'static str {
        match self {
            Measured::PacketsPerSecond(_) => "packets/s",
            Measured::SessionsPerSecond(_) => "sessions/s",
            Measured::EstablishedSessions(_) => "sessions",
            Measured::CyclesPerPacket(_) => "cycles/packet",
        }
    }
}

/// The values of repeated runs, in the order of the runs. Without one it is a 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenRuns", into = "WrittenRuns")]
pub struct Runs(Vec<u64>);

impl Runs {
    /// The value of one run.
    pub fn one(value: u64) -> Self {
        Runs(vec![value])
    }

    /// The values of several runs.
    pub fn of(values: Vec<u64>) -> Self {
        Runs(values)
    }

    /// Each run's value.
    pub fn values(&self) -> &[u64] {
        &self.0
    }

    /// The value in the middle; of an even number of runs the lower of the two.
    pub fn median(&self) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0)
    }

    /// The lowest value.
    pub fn lowest(&self) -> u64 {
        self.0.iter().min().copied().unwrap_or(0)
    }

    /// The highest value.
    pub fn highest(&self) -> u64 {
        self.0.iter().max().copied().unwrap_or(0)
    }
}

/// [`Runs`] as a file has them: what follows from the runs is written for those who read it elsewhere.
#[derive(Serialize, Deserialize)]
struct WrittenRuns {
    #[serde(default)]
    median: u64,
    #[serde(default)]
    lowest: u64,
    #[serde(default)]
    highest: u64,
    runs: Vec<u64>,
}

impl From<WrittenRuns> for Runs {
    fn from(written: WrittenRuns) -> Self {
        Runs(written.runs)
    }
}

impl From<Runs> for WrittenRuns {
    fn from(runs: Runs) -> Self {
        let (median, lowest, highest) = (runs.median(), runs.lowest(), runs.highest());
        WrittenRuns { median, lowest, highest, runs: runs.0 }
    }
}

/// How long packets took from the generator to itself, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the packets took no longer.
    #[serde(rename = "p50_ns")]
    pub p50: u64,
    /// 99 % of them.
    #[serde(rename = "p99_ns")]
    pub p99: u64,
    /// 99.9 % of them.
    #[serde(rename = "p99_9_ns")]
    pub p99_9: u64,
    /// The slowest one.
    #[serde(rename = "max_ns")]
    pub max: u64,
}

/// Whether a trial went as it has to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every packet that arrived was right, and as many arrived as had to.
    Pass,
    /// Why it did not.
    Fail(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_a_value_that_was_measured() {
        assert_eq!(Runs::of(vec![]).median(), 0);
        assert_eq!(Runs::one(7).median(), 7);
        let runs = Runs::of(vec![9, 1, 4, 3]);
        assert_eq!((runs.median(), runs.lowest(), runs.highest()), (3, 1, 9));
        assert_eq!(Runs::of(vec![9, 1, 4]).median(), 4);
    }

    #[test]
    fn only_a_rate_of_packets_has_bits() {
        let row = |measured| Row::new(Trial::Throughput, 1, Frame::Bytes(64), Direction::Both, measured);
        assert_eq!(row(Measured::PacketsPerSecond(Runs::one(1_000))).bits_per_second, Some(672_000));
        assert_eq!(row(Measured::SessionsPerSecond(Runs::one(1_000))).bits_per_second, None);
    }

    #[test]
    fn one_failed_trial_fails_the_report() {
        let row = Row::new(
            Trial::Validate,
            5,
            Frame::Imix,
            Direction::Both,
            Measured::EstablishedSessions(Runs::one(5)),
        );
        let failed = Row { verdict: Verdict::Fail("4 of 5".into()), ..row.clone() };
        assert!(Report::new(About::default(), vec![row.clone()]).passed());
        assert!(!Report::new(About::default(), vec![row, failed]).passed());
    }
}

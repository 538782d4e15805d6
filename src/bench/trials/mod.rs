//! The trials: what is measured, in which order, and what goes into the report.
//!
//! | trial | by | file |
//! |---|---|---|
//! | throughput | RFC 2544 section 26.1, RFC 9693 section 4.7 (phase 2, both directions) | `rates` |
//! | latency | RFC 2544 section 26.2, at half of the throughput, as percentiles | `rates` |
//! | validate | RFC 9693 section 4.6 | `sessions` |
//! | establish | RFC 9693 section 4.5 | `sessions` |
//! | teardown | RFC 9693 section 4.8 | `sessions` |
//! | capacity | RFC 9693 section 4.9 | `sessions` |
//!
//! Every number of sessions is set up once: each flow's first packet goes out, the answer comes back. What
//! is lost then is sent again, a few times and slower, so that the trials that need sessions have exactly as many as they say.
//! Those that leave other sessions behind come last: validate, throughput and latency, teardown, establish, and in the
//! end capacity.
//!
//! A wrong packet ends everything. What was not reached (not all sessions, too many lost) is a row with a verdict.

mod rates;
mod sessions;

use super::flows::{ANSWERED, ESTABLISHED, Flows};
use super::generator::{Generator, Pulse};
use super::load::{Load, Stream, Tally};
use super::order::Order;
use super::pace::Rate;
use super::report::{Direction, Frame, Measured, Row, Runs, Trial, Verdict};
use super::{BenchError, Way};
use crate::device::Device;
use std::time::Duration;

/// New sessions a second when nothing is measured.
const SET_UP_RATE: u64 = 1_000_000;
/// How often what was lost is sent again.
const ROUNDS: u32 = 6;
/// Sessions with which the search for the capacity begins.
const FIRST_CAPACITY: u32 = 1024;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to try.
    pub trials: Vec<Trial>,
    /// Numbers of sessions.
    pub sessions: Vec<u32>,
    /// Sizes of frames.
    pub frames: Vec<Frame>,
    /// Which way frames go.
    pub direction: Direction,
    /// How long one try sends.
    pub duration: Duration,
    /// How many of a million frames may be lost.
    pub tolerance_ppm: u64,
    /// The highest rate to try, in packets a second.
    pub max_rate: Option<u64>,
    /// Only this rate, without a search.
    pub rate: Option<u64>,
    /// Up to how many sessions the capacity is looked for.
    pub capacity: u32,
}

/// Removes all sessions of the device under test.
pub type Teardown<'a> = Box<dyn FnMut() -> Result<(), String> + 'a>;

/// A benchmark in progress.
pub struct Bench<'a, D: Device, P> {
    /// What sends and receives.
    pub generator: Generator<D, P>,
    /// What to measure.
    pub settings: Settings,
    /// What was measured so far.
    pub rows: Vec<Row>,
    teardown: Option<Teardown<'a>>,
    progress: &'a mut dyn FnMut(&str),
    /// How many sessions are set up, from flow 0 on.
    prepared: Option<u32>,
    /// The first flow that never was.
    fresh: u32,
}

impl<'a, D: Device, P: Pulse> Bench<'a, D, P> {
    /// A benchmark that has measured nothing yet. `progress` is told what is done, in a few words.
    pub fn new(
        generator: Generator<D, P>,
        settings: Settings,
        teardown: Option<Teardown<'a>>,
        progress: &'a mut dyn FnMut(&str),
    ) -> Bench<'a, D, P> {
        let fresh = settings.sessions.iter().copied().max().unwrap_or(0);
        Bench { generator, settings, rows: Vec::new(), teardown, progress, prepared: None, fresh }
    }

    /// Makes all trials. What was measured is in `rows`, also after an error.
    ///
    /// # Errors
    /// A wrong packet, a device under test that is not there, or Ctrl-C.
    pub fn run(&mut self) -> Result<(), BenchError> {
        self.say("looking for the device under test");
        self.generator.meet()?;
        // The gateway gets to know its neighbours too.
        self.prepare(1)?;
        let mut sessions = self.settings.sessions.clone();
        sessions.sort_unstable();
        sessions.dedup();
        for count in sessions {
            if self.wants(Trial::Validate) {
                self.validate(count)?;
            }
            if self.wants(Trial::Throughput) || self.wants(Trial::Latency) {
                for frame in self.settings.frames.clone() {
                    self.throughput(count, frame)?;
                }
            }
            if self.wants(Trial::Teardown) {
                self.tear_down(count)?;
            }
            if self.wants(Trial::Establish) {
                self.establish(count)?;
            }
        }
        if self.wants(Trial::Capacity) {
            self.capacity()?;
        }
        Ok(())
    }

    fn wants(&self, trial: Trial) -> bool {
        self.settings.trials.contains(&trial)
    }

    fn say(&mut self, words: &str) {
        (self.progress)(words);
    }

    /// Sees to it that exactly the first `count` flows are sessions that answer. Returns whether they are.
    fn prepare(&mut self, count: u32) -> Result<bool, BenchError> {
        if self.prepared == Some(count) {
            return Ok(true);
        }
        self.prepared = None;
        self.generator.set_sizes(Frame::Bytes(64));
        self.generator.flows = Flows::new(0, count);
        self.say(&format!("setting up {count} sessions"));
        self.complete(Way::Out)?;
        self.complete(Way::Back)?;
        let flows = &self.generator.flows;
        let complete = flows.established == count && flows.answered == count;
        self.prepared = complete.then_some(count);
        Ok(complete)
    }

    /// Sends the first packets (or the answers) of all flows that have none yet, again and slower for those that are lost.
    fn complete(&mut self, way: Way) -> Result<Tally, BenchError> {
        let mut rate = self.settings.max_rate.map_or(SET_UP_RATE, |rate| rate.min(SET_UP_RATE));
        let mut all = Tally::default();
        for _ in 0..ROUNDS {
            let tally = self.once(way, Rate::PerSecond(rate))?;
            for (mine, theirs) in all.sent.iter_mut().zip(tally.sent) {
                *mine += theirs;
            }
            for (mine, theirs) in all.received.iter_mut().zip(tally.received) {
                *mine += theirs;
            }
            all.nanos += tally.nanos;
            let flows = &self.generator.flows;
            let done = match way {
                Way::Out => flows.established,
                Way::Back => flows.answered,
            };
            let target = if way == Way::Out { flows.count() } else { flows.established };
            if done >= target {
                break;
            }
            rate = (rate / 4).max(1000);
        }
        Ok(all)
    }

    /// One packet of each flow that has none yet, in random order.
    fn once(&mut self, way: Way, rate: Rate) -> Result<Tally, BenchError> {
        let count = self.generator.flows.count();
        let skip = if way == Way::Out { ESTABLISHED } else { ANSWERED };
        let stream =
            Stream { rate, order: Order::new(count, u64::from(count)), left: Some(u64::from(count)), skip };
        let mut streams = [None, None];
        streams[way.index()] = Some(stream);
        self.generator.run(Load { streams, nanos: None, latency: false })
    }

    /// Removes all sessions, if there is a way to. Returns whether there is.
    fn clear(&mut self) -> Result<bool, BenchError> {
        let Some(teardown) = &mut self.teardown else { return Ok(false) };
        teardown().map_err(BenchError::Teardown)?;
        self.prepared = None;
        Ok(true)
    }

    /// A row about sessions that could not be set up.
    fn not_prepared(&mut self, trial: Trial, count: u32, frame: Frame) {
        let flows = &self.generator.flows;
        let why = format!(
            "{} of {count} sessions were established, {} answered",
            flows.established, flows.answered
        );
        let measured = match trial {
            Trial::Throughput | Trial::Latency => Measured::PacketsPerSecond(Runs::one(0)),
            Trial::Establish | Trial::Teardown => Measured::SessionsPerSecond(Runs::one(0)),
            Trial::Validate | Trial::Capacity => {
                Measured::EstablishedSessions(Runs::one(flows.answered.into()))
            }
        };
        let mut row = Row::new(trial, count.into(), frame, self.settings.direction, measured);
        row.verdict = Verdict::Fail(why);
        self.rows.push(row);
    }
}

/// A rate for people, such as `3.25 M`.
fn human(per_second: u64) -> String {
    match per_second {
        0..1_000 => per_second.to_string(),
        1_000..1_000_000 => format!("{}.{} k", per_second / 1_000, per_second / 100 % 10),
        _ => format!("{}.{:02} M", per_second / 1_000_000, per_second / 10_000 % 100),
    }
}

#[cfg(test)]
mod tests;

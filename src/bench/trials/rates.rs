//! Throughput and latency.
//!
//! The first try sends as fast as the generator and its device can (or at the highest rate that is allowed): if that passes,
//! it is the result. If not, what came out is the first guess of the search. A try passes when no more was lost than is
//! allowed and when at least 99 % of what was asked for could be sent: a device under test that takes frames too slowly
//! (memif, a ring) passes no more than one that drops them.

use super::{Bench, human};
use crate::bench::BenchError;
use crate::bench::generator::Pulse;
use crate::bench::histogram::Histogram;
use crate::bench::load::{Load, Stream, Tally};
use crate::bench::order::Order;
use crate::bench::pace::Rate;
use crate::bench::report::{Direction, Frame, Latency, Measured, Row, Runs, Trial, Verdict};
use crate::bench::search::Search;
use crate::device::Device;

impl<D: Device, P: Pulse> Bench<'_, D, P> {
    /// Throughput, and latency at half of it.
    pub(super) fn throughput(&mut self, count: u32, frame: Frame) -> Result<(), BenchError> {
        if !self.prepare(count)? {
            for trial in [Trial::Throughput, Trial::Latency] {
                if self.wants(trial) {
                    self.not_prepared(trial, count, frame);
                }
            }
            return Ok(());
        }
        self.generator.set_sizes(frame);
        let (tally, passed) = match self.settings.rate {
            Some(rate) => self.try_rate(count, frame, Rate::PerSecond(rate), false)?,
            None => self.find(count, frame)?,
        };
        let received = tally.per_second(tally.received.iter().sum());
        if self.wants(Trial::Throughput) {
            let measured = Measured::PacketsPerSecond(Runs::one(received));
            let mut row = Row::new(Trial::Throughput, count.into(), frame, self.settings.direction, measured);
            (row.sent_packets, row.lost_packets) = (tally.all_sent(), tally.lost());
            if !passed {
                row.verdict = Verdict::Fail(match self.settings.rate {
                    Some(rate) => self.why(&tally, rate),
                    None => "more packets than allowed were lost at every rate".into(),
                });
            }
            self.rows.push(row);
        }
        if self.wants(Trial::Latency) {
            let rate = self.settings.rate.unwrap_or(received / 2).max(1);
            self.latency(count, frame, rate)?;
        }
        Ok(())
    }

    /// The best try that passed, or the last one and false.
    fn find(&mut self, count: u32, frame: Frame) -> Result<(Tally, bool), BenchError> {
        let first = self.settings.max_rate.map_or(Rate::Unlimited, Rate::PerSecond);
        let (mut best, mut passed) = self.try_rate(count, frame, first, false)?;
        if passed {
            return Ok((best, true));
        }
        let sent = best.per_second(best.all_sent());
        let mut search = Search::below(sent, best.per_second(best.received.iter().sum()));
        while let Some(rate) = search.next_rate() {
            let (tally, good) = self.try_rate(count, frame, Rate::PerSecond(rate), false)?;
            search.record(rate, good);
            if good || !passed {
                (best, passed) = (tally, good);
            }
        }
        Ok((best, passed))
    }

    fn try_rate(
        &mut self,
        count: u32,
        frame: Frame,
        rate: Rate,
        latency: bool,
    ) -> Result<(Tally, bool), BenchError> {
        let what = if latency { "latency" } else { "throughput" };
        let at = match rate {
            Rate::PerSecond(rate) => format!("{} packets/s", human(rate)),
            Rate::Unlimited => "as fast as it goes".into(),
        };
        self.say(&format!("{what}: {count} sessions, frames of {frame}: {at}"));
        let nanos = u64::try_from(self.settings.duration.as_nanos()).unwrap_or(u64::MAX);
        let streams = self.streams(count, rate);
        let tally = self.generator.run(Load { streams, nanos: Some(nanos), latency })?;
        let passed = self.is_within(&tally)
            && matches!(rate, Rate::PerSecond(rate) if is_offered(&tally, rate))
            || rate == Rate::Unlimited && self.is_within(&tally);
        let verdict = if passed { "passed" } else { "failed" };
        let (got, lost) = (human(tally.per_second(tally.received.iter().sum())), tally.lost());
        self.say(&format!(
            "{what}: {count} sessions, frames of {frame}: {got} packets/s, {lost} lost: {verdict}"
        ));
        Ok((tally, passed))
    }

    /// Endless streams in each direction that is asked for, which share the rate.
    fn streams(&self, count: u32, rate: Rate) -> [Option<Stream>; 2] {
        let direction = self.settings.direction;
        let stream = |mine: bool, rate, seed| {
            mine.then(|| Stream { rate, order: Order::new(count, seed), left: None, skip: 0 })
        };
        let (out, back) = match (rate, direction) {
            (Rate::PerSecond(rate), Direction::Both) => {
                (Rate::PerSecond(rate.div_ceil(2)), Rate::PerSecond(rate / 2))
            }
            (rate, _) => (rate, rate),
        };
        [
            stream(direction != Direction::Back, out, 0x5eed),
            stream(direction != Direction::Out, back, 0xfeed_beef),
        ]
    }

    /// Whether no more was lost than is allowed.
    fn is_within(&self, tally: &Tally) -> bool {
        let allowed = u128::from(tally.all_sent()) * u128::from(self.settings.tolerance_ppm);
        u128::from(tally.lost()) * 1_000_000 <= allowed
    }

    /// Why a try at a rate did not pass.
    fn why(&self, tally: &Tally, rate: u64) -> String {
        if self.is_within(tally) {
            let sent = human(tally.per_second(tally.all_sent()));
            return format!("only {sent} of {} packets/s could be sent", human(rate));
        }
        format!("{} of {} packets were lost", tally.lost(), tally.all_sent())
    }

    /// One row for each direction.
    fn latency(&mut self, count: u32, frame: Frame, rate: u64) -> Result<(), BenchError> {
        let (tally, passed) = self.try_rate(count, frame, Rate::PerSecond(rate), true)?;
        let ways = match self.settings.direction {
            Direction::Both => vec![Direction::Out, Direction::Back],
            one => vec![one],
        };
        for direction in ways {
            let at = usize::from(direction == Direction::Back);
            let received = tally.received.get(at).copied().unwrap_or(0);
            let measured = Measured::PacketsPerSecond(Runs::one(tally.per_second(received)));
            let mut row = Row::new(Trial::Latency, count.into(), frame, direction, measured);
            let sent = tally.sent.get(at).copied().unwrap_or(0);
            (row.sent_packets, row.lost_packets) = (sent, sent.saturating_sub(received));
            row.latency = tally.latency.get(at).map(percentiles);
            if !passed {
                row.verdict = Verdict::Fail(self.why(&tally, rate));
            }
            self.rows.push(row);
        }
        Ok(())
    }
}

/// Whether at least 99 % of what a rate asks for was sent.
fn is_offered(tally: &Tally, rate: u64) -> bool {
    let asked = u128::from(rate) * u128::from(tally.nanos) / 1_000_000_000;
    u128::from(tally.all_sent()) * 100 >= asked.saturating_sub(64) * 99
}

fn percentiles(histogram: &Histogram) -> Latency {
    Latency {
        p50: histogram.per_mille(500),
        p99: histogram.per_mille(990),
        p99_9: histogram.per_mille(999),
        max: histogram.max(),
    }
}

//! What RFC 9693 measures of the table of sessions: validation, rate of establishment, tear-down, capacity.
//!
//! In each of them, a session counts only if its first packet came out outside and the answer to it came back inside.

use super::{Bench, FIRST_CAPACITY, human};
use crate::bench::flows::{ANSWERED, Flows};
use crate::bench::generator::Pulse;
use crate::bench::load::{Load, Stream};
use crate::bench::order::Order;
use crate::bench::pace::Rate;
use crate::bench::report::{Direction, Frame, Measured, Row, Runs, Trial, Verdict};
use crate::bench::search::Search;
use crate::bench::{BenchError, Expect, Way};
use crate::device::Device;

/// Of so few sessions no rate can be told.
const FEWEST: u32 = 100;
/// Sessions that are asked after a tear-down, at the most.
const PROBES: u64 = 65_536;
/// At this rate, in packets a second.
const PROBE_RATE: u64 = 100_000;

impl<D: Device, P: Pulse> Bench<'_, D, P> {
    /// Every session is established and answered (RFC 9693 section 4.6).
    pub(super) fn validate(&mut self, count: u32) -> Result<(), BenchError> {
        self.clear()?;
        self.prepared = None;
        if !self.prepare(count)? {
            self.not_prepared(Trial::Validate, count, Frame::Bytes(64));
            return Ok(());
        }
        let measured = Measured::EstablishedSessions(Runs::one(count.into()));
        self.rows.push(Row::new(Trial::Validate, count.into(), Frame::Bytes(64), Direction::Both, measured));
        Ok(())
    }

    /// The highest rate at which all new sessions are established (RFC 9693 section 4.5).
    pub(super) fn establish(&mut self, count: u32) -> Result<(), BenchError> {
        if count < FEWEST {
            return Ok(());
        }
        let first = match (self.settings.rate, self.settings.max_rate) {
            (Some(rate), _) | (None, Some(rate)) => Rate::PerSecond(rate),
            (None, None) => Rate::Unlimited,
        };
        let (mut best, mut passed) = self.try_to_establish(count, first)?;
        if !passed && self.settings.rate.is_none() {
            let mut search = Search::below(best.offered, best.established);
            while let Some(rate) = search.next_rate() {
                let (tried, good) = self.try_to_establish(count, Rate::PerSecond(rate))?;
                search.record(rate, good);
                if good || !passed {
                    (best, passed) = (tried, good);
                }
            }
        }
        let measured = Measured::SessionsPerSecond(Runs::one(best.established));
        let mut row = Row::new(Trial::Establish, count.into(), Frame::Bytes(64), Direction::Out, measured);
        (row.sent_packets, row.lost_packets) = (best.sent, best.lost);
        if !passed {
            row.verdict = Verdict::Fail(match best.lost {
                0 => format!("only {} of the new sessions a second could be opened", human(best.offered)),
                lost => format!("{lost} of {count} sessions were not established"),
            });
        }
        self.rows.push(row);
        Ok(())
    }

    /// Opens new sessions at a rate, and validates them.
    fn try_to_establish(&mut self, count: u32, rate: Rate) -> Result<(Established, bool), BenchError> {
        let at = match rate {
            Rate::PerSecond(rate) => format!("{} sessions/s", human(rate)),
            Rate::Unlimited => "as fast as it goes".into(),
        };
        self.say(&format!("establish: {count} new sessions: {at}"));
        self.clear()?;
        self.prepared = None;
        if self.fresh.checked_add(count).is_none_or(|end| end > self.generator.addresses().flows()) {
            self.fresh = 0;
        }
        self.generator.set_sizes(Frame::Bytes(64));
        self.generator.flows = Flows::new(self.fresh, count);
        self.fresh = self.fresh.saturating_add(count);
        let tally = self.once(Way::Out, rate)?;
        let flows = &self.generator.flows;
        let all = flows.established == count;
        let tried = Established {
            offered: tally.per_second(tally.all_sent()),
            established: tally.per_second(flows.established.into()),
            sent: tally.all_sent(),
            lost: u64::from(count - flows.established),
        };
        let fast = match rate {
            Rate::PerSecond(rate) => u128::from(tried.offered) * 100 >= u128::from(rate) * 98,
            Rate::Unlimited => true,
        };
        if !all {
            return Ok((tried, false));
        }
        self.complete(Way::Back)?;
        Ok((tried, fast && self.generator.flows.answered == count))
    }

    /// How long it takes to remove all sessions (RFC 9693 section 4.8), and whether they are gone.
    pub(super) fn tear_down(&mut self, count: u32) -> Result<(), BenchError> {
        if !self.prepare(count)? {
            self.not_prepared(Trial::Teardown, count, Frame::Bytes(64));
            return Ok(());
        }
        self.say(&format!("teardown: {count} sessions"));
        let begin = self.generator.pulse.now();
        if !self.clear()? {
            let why = "no way to remove the sessions is known: give --teardown-command".into();
            return Err(BenchError::Teardown(why));
        }
        let nanos = self.generator.pulse.now().saturating_sub(begin).max(1);
        let rate = u64::try_from(u128::from(count) * 1_000_000_000 / u128::from(nanos)).unwrap_or(u64::MAX);
        let measured = Measured::SessionsPerSecond(Runs::one(rate));
        let mut row = Row::new(Trial::Teardown, count.into(), Frame::Bytes(64), Direction::Both, measured);
        let left = self.survivors(count)?;
        if left > 0 && self.generator.expect() == Expect::Translated {
            row.verdict =
                Verdict::Fail(format!("{left} of {} sessions still pass packets", PROBES.min(count.into())));
        }
        self.rows.push(row);
        Ok(())
    }

    /// How many sessions still let packets in from outside.
    fn survivors(&mut self, count: u32) -> Result<u64, BenchError> {
        let stream = Stream {
            rate: Rate::PerSecond(PROBE_RATE),
            order: Order::new(count, 7),
            left: Some(PROBES.min(count.into())),
            skip: 0,
        };
        let streams = [None, Some(stream)];
        let tally = self.generator.run(Load { streams, nanos: None, latency: false })?;
        Ok(tally.received[Way::Back.index()])
    }

    /// How many sessions there can be (RFC 9693 section 4.9): twice as many each time, until new ones fail; the old ones must
    /// go on.
    pub(super) fn capacity(&mut self) -> Result<(), BenchError> {
        self.clear()?;
        self.prepared = None;
        self.generator.set_sizes(Frame::Bytes(64));
        let limit = self.settings.capacity.min(self.generator.addresses().flows()).max(1);
        let (mut count, mut before) = (FIRST_CAPACITY.min(limit), 0);
        self.generator.flows = Flows::new(0, 0);
        let gone = loop {
            self.say(&format!("capacity: {count} sessions"));
            self.generator.flows.grow(count);
            self.complete(Way::Out)?;
            self.generator.flows.forget_answers();
            self.complete(Way::Back)?;
            let flows = &self.generator.flows;
            let gone =
                (0..before).filter(|flow| flows.get(*flow).is_some_and(|flow| !flow.has(ANSWERED))).count();
            if flows.answered < count || count == limit {
                break gone;
            }
            before = count;
            count = count.saturating_mul(2).min(limit);
        };
        let answered = self.generator.flows.answered;
        let measured = Measured::EstablishedSessions(Runs::one(answered.into()));
        let mut row = Row::new(Trial::Capacity, count.into(), Frame::Bytes(64), Direction::Both, measured);
        if gone > 0 {
            row.verdict = Verdict::Fail(format!("{gone} of {before} older sessions ended for new ones"));
        }
        self.rows.push(row);
        Ok(())
    }
}

/// What became of new sessions.
#[derive(Clone, Copy, Debug)]
struct Established {
    /// First packets a second.
    offered: u64,
    /// Sessions a second.
    established: u64,
    sent: u64,
    lost: u64,
}

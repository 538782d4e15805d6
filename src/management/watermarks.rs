//! Watches how full the session table is: watermarks, refusals, early drops, rates, and when it will be full.
//!
//! Reads the workers' counters once a second. Says each thing once: when a watermark is crossed (the whole table's,
//! and each shard's where there are several), and when refusals or early drops of a kind begin and end. A level has
//! to be left by two points of the capacity before it can be said again.

use super::events::{Event, EventKind};
use crate::conntrack::policy::{Policy, WhenFull};
use crate::conntrack::pressure::Pressure;
use crate::conntrack::timeouts::Timeout;
use crate::telemetry::{DropReason, Eviction, WorkerCounters};
use crate::time::{TICK, Time};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How often counters are read.
const PERIOD: Duration = Duration::from_secs(1);
/// Over how many periods rates are taken.
const WINDOW: usize = 10;
/// How long nothing of a kind may happen before it is over.
const QUIET: Duration = Duration::from_secs(10);
/// How far below a watermark it is left, as a part of the capacity: two points.
const HYSTERESIS: u64 = 50;

/// How full a table or a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Below the first watermark.
    #[default]
    Normal,
    /// Timeouts of unreplied and closing sessions shrink.
    Low,
    /// They are next to nothing.
    High,
    /// Full but for the reserve.
    Full,
}

impl Level {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Level::Normal => "normal",
            Level::Low => "low",
            Level::High => "high",
            Level::Full => "full",
        }
    }
}

/// How full a table or a shard is, in sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Sessions that there are.
    pub sessions: u64,
    /// Sessions that there can be.
    pub capacity: u64,
    /// From how many on it is full for all but management sources.
    pub full: u64,
    /// Which watermark it has reached.
    pub level: Level,
}

/// The state of the session table, for display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PressureStatus {
    /// The whole table.
    pub table: Fill,
    /// Each worker's shard.
    pub shards: Vec<Fill>,
    /// New sessions a second, over the last ten seconds; like all rates here.
    pub new_per_second: u64,
    /// By how many sessions a second the table grows; negative when it shrinks.
    pub growth_per_second: i64,
    /// Sessions a second that were refused for want of room or by a limit per source.
    pub refused_per_second: u64,
    /// Sessions a second that were evicted.
    pub evicted_per_second: u64,
    /// TCP connections before the end of their handshake.
    pub half_open: u64,
    /// New TCP connections a second that the table sustains if each of them is closed at once: capacity / TIME_WAIT.
    pub sustainable_tcp_per_second: u64,
    /// New UDP sessions a second that it sustains if each is one packet: capacity / UDP timeout.
    pub sustainable_udp_per_second: u64,
    /// How long it takes until the table is full if it goes on growing like that; `None`: it does not grow.
    pub time_to_full: Option<Duration>,
}

/// Watermarks of a table or a shard, and which of them it has reached.
#[derive(Debug)]
struct Gauge {
    low: u64,
    high: u64,
    fill: Fill,
}

impl Gauge {
    fn new<'p>(parts: impl IntoIterator<Item = &'p Pressure>) -> Gauge {
        let mut gauge = Gauge { low: 0, high: 0, fill: Fill::default() };
        for part in parts {
            gauge.low += u64::from(part.low());
            gauge.high += u64::from(part.high());
            gauge.fill.capacity += u64::from(part.capacity());
            gauge.fill.full += u64::from(part.full());
        }
        gauge
    }

    /// The highest level whose watermark is reached by that many sessions.
    fn level(&self, sessions: u64) -> Level {
        if self.fill.capacity == 0 || sessions < self.low.min(self.fill.full) {
            Level::Normal
        } else if sessions >= self.fill.full {
            Level::Full
        } else if sessions >= self.high {
            Level::High
        } else {
            Level::Low
        }
    }

    /// Takes a new reading. Returns the level that was left if it is another one now.
    fn read(&mut self, sessions: u64) -> Option<Level> {
        self.fill.sessions = sessions;
        let slack = self.fill.capacity.div_ceil(HYSTERESIS);
        let before = self.fill.level;
        self.fill.level = if self.level(sessions) > before {
            self.level(sessions)
        } else {
            before.min(self.level(sessions.saturating_add(slack)))
        };
        (self.fill.level != before).then_some(before)
    }
}

/// Why sessions are refused or evicted.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Refusal(DropReason),
    Ports,
    Evictions(&'static [Eviction], &'static str),
}

const CAUSES: [Cause; 8] = [
    Cause::Refusal(DropReason::SessionTableFull),
    Cause::Refusal(DropReason::HalfOpenFull),
    Cause::Refusal(DropReason::SourceSessionsLimit),
    Cause::Refusal(DropReason::SourceRateLimit),
    Cause::Refusal(DropReason::SubscriberPortsLimit),
    Cause::Ports,
    Cause::Evictions(
        &[Eviction::Unreplied, Eviction::Closing, Eviction::Unassured],
        "the session table is full, and new sessions take the place of unreplied, closing or never assured ones",
    ),
    Cause::Evictions(
        &[Eviction::HalfOpen],
        "half-open TCP connections are at their share of the table (conntrack.half_open) and displace one another; this looks like a SYN flood",
    ),
];

impl Cause {
    fn count(self, worker: &WorkerCounters) -> u64 {
        match self {
            Cause::Refusal(reason) => worker.drops[reason as usize].get(),
            Cause::Ports => worker.drops[DropReason::PortsExhausted as usize].get(),
            Cause::Evictions(which, _) => which.iter().map(|one| worker.evictions[*one as usize].get()).sum(),
        }
    }

    fn began(self) -> (EventKind, String) {
        match self {
            Cause::Refusal(reason) => (
                EventKind::RefusalsBegan,
                format!(
                    "new sessions are refused ({}). {} `natgate sessions top --by source` shows who has the most.",
                    reason.name(),
                    reason.help()
                ),
            ),
            Cause::Ports => (
                EventKind::PortsExhaustedBegan,
                format!(
                    "new sessions are refused (ports_exhausted). {} `natgate sessions top --by mapping` shows who has the most.",
                    DropReason::PortsExhausted.help()
                ),
            ),
            Cause::Evictions(_, why) => (
                EventKind::EarlyDropsBegan,
                format!("{why}. `natgate sessions top --by source` shows who has the most."),
            ),
        }
    }

    fn ended(self, count: u64, lasted: Duration) -> (EventKind, String) {
        let (lasted, quiet) = (lasted.as_secs(), QUIET.as_secs());
        match self {
            Cause::Refusal(reason) => (
                EventKind::RefusalsEnded,
                format!(
                    "no new session has been refused ({}) for {quiet} s; {count} were within {lasted} s",
                    reason.name()
                ),
            ),
            Cause::Ports => (
                EventKind::PortsExhaustedEnded,
                format!(
                    "no new session has been refused for want of a port for {quiet} s; {count} were within {lasted} s"
                ),
            ),
            Cause::Evictions(which, _) => {
                let names: Vec<_> = which.iter().map(|one| one.name()).collect();
                let names = names.join(", ");
                (
                    EventKind::EarlyDropsEnded,
                    format!(
                        "no session has been evicted ({names}) for {quiet} s; {count} were within {lasted} s"
                    ),
                )
            }
        }
    }
}

/// A cause, and since when it has been at work.
#[derive(Debug)]
struct Episode {
    cause: Cause,
    count: u64,
    since: Option<Began>,
}

#[derive(Clone, Copy, Debug)]
struct Began {
    at: Time,
    /// What had been counted before.
    before: u64,
    last: Time,
}

impl Episode {
    fn read(&mut self, now: Time, count: u64) -> Option<(EventKind, String)> {
        let before = std::mem::replace(&mut self.count, count);
        let more = count != before;
        match &mut self.since {
            None if more => {
                self.since = Some(Began { at: now, before, last: now });
                Some(self.cause.began())
            }
            Some(began) if more => {
                began.last = now;
                None
            }
            Some(Began { at, before, last }) if now.since(*last) >= QUIET => {
                let ended = self.cause.ended(count - *before, last.since(*at) + PERIOD);
                self.since = None;
                Some(ended)
            }
            _ => None,
        }
    }
}

/// What rates are computed from.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: Time,
    created: u64,
    removed: u64,
    refused: u64,
    evicted: u64,
}

/// The watch; see the module's head.
#[derive(Debug)]
pub struct Watermarks {
    policy: Words,
    table: Gauge,
    shards: Vec<Gauge>,
    episodes: [Episode; CAUSES.len()],
    /// The last readings, the oldest first.
    readings: VecDeque<Reading>,
    half_open: u64,
    sustainable_tcp: u64,
    sustainable_udp: u64,
}

/// What the texts have to know of the policy.
#[derive(Clone, Copy, Debug)]
struct Words {
    when_full: WhenFull,
    adaptive: bool,
}

impl Watermarks {
    /// A watch over shards with these capacities.
    pub fn new(policy: &Policy, capacities: &[u32]) -> Watermarks {
        let shards: Vec<_> = capacities.iter().map(|n| Pressure::new(&policy.limits, *n)).collect();
        let table = Gauge::new(&shards);
        let sustainable = |timeout: Timeout| {
            let ticks = u64::from(policy.timeouts(0).ticks(timeout).max(1));
            table.fill.capacity * (1000 / u64::try_from(TICK.as_millis()).unwrap_or(1)) / ticks
        };
        Watermarks {
            policy: Words {
                when_full: policy.limits.when_full,
                adaptive: policy.limits.adaptive_low < policy.limits.adaptive_high,
            },
            half_open: 0,
            sustainable_tcp: sustainable(Timeout::TcpTimeWait),
            sustainable_udp: sustainable(Timeout::Udp),
            table,
            shards: shards.iter().map(|shard| Gauge::new([shard])).collect(),
            episodes: CAUSES.map(|cause| Episode { cause, count: 0, since: None }),
            readings: VecDeque::with_capacity(WINDOW + 1),
        }
    }

    /// The capacities of the shards.
    pub(super) fn capacities(&self) -> Vec<u32> {
        let capacity = |shard: &Gauge| u32::try_from(shard.fill.capacity).unwrap_or(u32::MAX);
        self.shards.iter().map(capacity).collect()
    }

    /// From now on these limits hold. What was said is not forgotten.
    pub fn adopt(&mut self, policy: &Policy) {
        let mut next = Watermarks::new(policy, &self.capacities());
        next.table.fill = Fill { full: next.table.fill.full, ..self.table.fill };
        for (next, now) in next.shards.iter_mut().zip(&self.shards) {
            next.fill = Fill { full: next.fill.full, ..now.fill };
        }
        std::mem::swap(&mut next.episodes, &mut self.episodes);
        std::mem::swap(&mut next.readings, &mut self.readings);
        next.half_open = self.half_open;
        *self = next;
    }

    /// Reads the counters of all workers if a second has passed since the last time. Returns what there is to say.
    pub fn poll(&mut self, now: Time, workers: &[Arc<WorkerCounters>]) -> Vec<Event> {
        if self.readings.back().is_some_and(|last| now.since(last.at) < PERIOD) {
            return Vec::new();
        }
        let sum =
            |pick: &dyn Fn(&WorkerCounters) -> u64| workers.iter().map(|worker| pick(worker)).sum::<u64>();
        let mut said = Vec::new();
        let (mut refused, mut evicted) = (0, 0);
        for episode in &mut self.episodes {
            let count = sum(&|worker| episode.cause.count(worker));
            match episode.cause {
                Cause::Refusal(_) => refused += count,
                // Not for want of room in the table, which these rates are about.
                Cause::Ports => {}
                Cause::Evictions(..) => evicted += count,
            }
            said.extend(episode.read(now, count));
        }
        if self.readings.len() > WINDOW {
            self.readings.pop_front();
        }
        self.half_open = sum(&|worker| worker.half_open.get());
        let created = sum(&|worker| worker.sessions_created.get());
        let removed = sum(&|worker| worker.sessions_removed.get());
        self.readings.push_back(Reading { at: now, created, removed, refused, evicted });

        let left = self.table.read(sum(&|worker| worker.sessions.get()));
        let status = self.status();
        said.extend(left.map(|left| self.policy.crossed(&self.table, left, "the session table", &status)));
        let alone = self.shards.len() == 1;
        for ((number, shard), worker) in self.shards.iter_mut().enumerate().zip(workers) {
            if let Some(left) = shard.read(worker.sessions.get())
                && !alone
            {
                let whose = format!("worker {number}'s share of the session table");
                said.push(self.policy.crossed(shard, left, &whose, &status));
            }
        }
        said.into_iter().map(|(kind, text)| Event { at: now, kind, text }).collect()
    }

    /// What is known at the moment.
    pub fn status(&self) -> PressureStatus {
        let (first, last) = match (self.readings.front(), self.readings.back()) {
            (Some(first), Some(last)) => (*first, *last),
            _ => (Reading::default(), Reading::default()),
        };
        let millis = u64::try_from(last.at.since(first.at).as_millis()).unwrap_or(u64::MAX);
        // Rounded to the nearest.
        let rate = |n: u64| (n.saturating_mul(1000) + millis / 2).checked_div(millis).unwrap_or(0);
        let created = last.created.saturating_sub(first.created);
        let removed = last.removed.saturating_sub(first.removed);
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let table = self.table.fill;
        let left = table.full.saturating_sub(table.sessions);
        let time_to_full = (created > removed)
            .then(|| Duration::from_millis(left.saturating_mul(millis) / (created - removed)))
            .or((left == 0).then_some(Duration::ZERO));
        PressureStatus {
            table,
            shards: self.shards.iter().map(|shard| shard.fill).collect(),
            new_per_second: rate(created),
            growth_per_second: if created >= removed {
                signed(rate(created - removed))
            } else {
                -signed(rate(removed - created))
            },
            refused_per_second: rate(last.refused.saturating_sub(first.refused)),
            evicted_per_second: rate(last.evicted.saturating_sub(first.evicted)),
            half_open: self.half_open,
            sustainable_tcp_per_second: self.sustainable_tcp,
            sustainable_udp_per_second: self.sustainable_udp,
            time_to_full,
        }
    }
}

impl Words {
    /// What to say when a level was left for another one.
    fn crossed(
        self,
        gauge: &Gauge,
        left: Level,
        whose: &str,
        status: &PressureStatus,
    ) -> (EventKind, String) {
        let Fill { sessions, capacity, level, .. } = gauge.fill;
        let numbers = format!("{sessions} of {capacity} sessions, {} %", percent(sessions, capacity));
        if level < left {
            return (EventKind::TableEased, format!("{whose} is no longer {}: {numbers}", left.describe()));
        }
        let (kind, consequence) = match (level, self.when_full) {
            (Level::Full, WhenFull::EarlyDrop) => (
                EventKind::TableFull,
                "new sessions take the place of unreplied, closing or never assured ones, or are refused",
            ),
            (Level::Full, WhenFull::Refuse) => {
                (EventKind::TableFull, "new sessions are refused, but for management sources")
            }
            (Level::High, _) if self.adaptive => {
                (EventKind::TableHigh, "unreplied and closing sessions end as soon as they are idle")
            }
            (Level::High, _) => (EventKind::TableHigh, "it is nearly full"),
            _ => (EventKind::TableLow, "the timeouts of unreplied and closing sessions are shrinking"),
        };
        let until_full = match status.time_to_full {
            Some(time) if level < Level::Full => format!("; full in {} s at this rate", time.as_secs()),
            _ => String::new(),
        };
        let text = format!(
            "{whose} is {} ({numbers}): {consequence}. {} new sessions a second, {} are sustainable if they are short TCP connections, {} if they are UDP{until_full}. Raise conntrack.max_sessions or shorten timeouts; `natgate sessions top --by source` shows who has the most.",
            level.describe(),
            status.new_per_second,
            status.sustainable_tcp_per_second,
            status.sustainable_udp_per_second,
        );
        (kind, text)
    }
}

impl Level {
    fn describe(self) -> &'static str {
        match self {
            Level::Normal => "below its watermarks",
            Level::Low => "above its low watermark",
            Level::High => "above its high watermark",
            Level::Full => "full",
        }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    (part.saturating_mul(100)).checked_div(whole).unwrap_or(100)
}

#[cfg(test)]
#[path = "watermarks_tests.rs"]
mod tests;

//! What the runtime hands over when it starts the control server.
//!
//! All of it is read-only here, but for the orders that [`Commands`] takes and its own events. The runtime builds one
//! [`ControlState`] after the workers exist and shares it with the server; the management core's thread keeps a clone of
//! the [`Publisher`] and publishes with it.

use super::publish::{Published, Publisher};
use super::reload::ReloadStats;
use super::running::Running;
use crate::conntrack::key::V4Key;
use crate::conntrack::table::SessionView;
use crate::conntrack::timeouts::Timeouts;
use crate::ids::{InterfaceId, MacAddr, Realm};
use crate::management::commands::Commands;
use crate::management::events::EventKind;
use crate::management::session_feed::SessionFeed;
use crate::telemetry::WorkerCounters;
use crate::time::{Tick, Time};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// Everything that the control server reads.
pub struct ControlState {
    /// When the gateway started.
    pub started: Started,
    /// Version of natgate.
    pub version: String,
    /// Version of DPDK, if natgate was built with it.
    pub dpdk_version: Option<String>,
    /// Frequency of the CPUs' time stamp counter in hertz, if it is known: what a worker's time is in cycles.
    pub tsc_hz: Option<NonZeroU64>,
    /// The config file that runs.
    pub config_path: PathBuf,
    /// The counters of each worker, in the order of their numbers.
    pub workers: Vec<Arc<WorkerCounters>>,
    /// The configuration that runs, replaced by each reload.
    pub running: Published<Running>,
    /// The session table of each worker, in the order of their numbers.
    pub sessions: Vec<SessionView<V4Key>>,
    /// What reloads did.
    pub reloads: Published<ReloadStats>,
    /// What the management core publishes; the control thread adds events of its own.
    pub published: Publisher,
    /// Takes orders to the workers.
    pub commands: Commands,
    /// What happens to sessions.
    pub session_feed: SessionFeed,
    /// The current time, on the clock of the sessions.
    pub now: Box<dyn Fn() -> Tick + Send + Sync>,
}

impl ControlState {
    /// Logs something that an operator has to hear of once, and adds it to the events.
    pub fn say(&self, kind: EventKind, text: String) {
        if kind.is_relief() {
            tracing::info!(event = kind.name(), "{text}");
        } else {
            tracing::warn!(event = kind.name(), "{text}");
        }
        self.published.events.push(EventRow::new(kind, text));
    }
}

/// A moment on three clocks: one to show, one to measure from, one that workers go by.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// Time of day.
    pub wall: SystemTime,
    /// For the uptime; steps of the time of day do not change it.
    pub monotonic: Instant,
    /// On the clock of the workers, for what they say when something happened.
    pub time: Time,
}

impl Started {
    /// This moment, which is `time` on the clock of the workers.
    pub fn now(time: Time) -> Self {
        Started { wall: SystemTime::now(), monotonic: Instant::now(), time }
    }

    /// The time of day of a moment on the clock of the workers. It does not change between two requests: steps of the time
    /// of day after the start are not in it.
    pub fn wall_of(&self, moment: Time) -> SystemTime {
        let (start, moment) = (self.time.as_nanos(), moment.as_nanos());
        match moment.checked_sub(start) {
            Some(after) => self.wall.checked_add(Duration::from_nanos(after)),
            None => self.wall.checked_sub(Duration::from_nanos(start - moment)),
        }
        .unwrap_or(self.wall)
    }
}

/// An interface as the config and its device have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Name in the config.
    pub name: String,
    /// The device as the config writes it.
    pub device: String,
    /// Name of the driver that runs the device, such as `net_af_packet`.
    pub driver: String,
    /// Ethernet address in use.
    pub mac: MacAddr,
    /// VLAN id, 0 for untagged frames.
    pub vlan: u16,
    /// Which side it faces.
    pub realm: Realm,
    /// The address space that it lies in.
    pub zone: u16,
    /// The gateway's addresses; the first is the primary one.
    pub addresses: Vec<Ipv4Net>,
    /// Largest IPv4 packet in bytes.
    pub mtu: u16,
}

/// One neighbour, as the management core knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborRow {
    /// The interface that it is on.
    pub interface: InterfaceId,
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// Its Ethernet address, once it is known.
    pub mac: Option<MacAddr>,
    /// State of the resolution, as shown to users.
    pub state: &'static str,
    /// When the state last changed or was confirmed.
    pub updated: Tick,
}

/// Timeouts under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeoutSet {
    /// Name in the config; [`crate::config::DEFAULT_SET`] for the first one.
    pub name: String,
    /// Every timeout.
    pub timeouts: Timeouts,
}

/// Events that are kept.
pub const EVENTS: usize = 256;

/// Something that an operator has to hear of once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// When, by the time of the day.
    pub at: SystemTime,
    /// What kind of event.
    pub kind: &'static str,
    /// Whether it only says that something is over or done, so that nobody has to act.
    pub is_relief: bool,
    /// What happened.
    pub text: String,
}

impl EventRow {
    /// Something of this kind that happened now.
    pub fn new(kind: EventKind, text: String) -> EventRow {
        EventRow { at: SystemTime::now(), kind: kind.name(), is_relief: kind.is_relief(), text }
    }
}

/// The last [`EVENTS`] events. Clones share one log. The management core and the control thread write it, each for as
/// long as it takes to add a row: no worker knows of it.
#[derive(Clone, Debug, Default)]
pub struct EventLog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    log: Mutex<Log>,
    /// How many there were since the start, for those who wait for the next one.
    total: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Log {
    rows: VecDeque<EventRow>,
    /// How many there were since the start.
    total: u64,
    /// The same by kind.
    by_kind: BTreeMap<&'static str, u64>,
}

impl EventLog {
    /// Adds an event; the oldest one goes when the log is full.
    pub fn push(&self, row: EventRow) {
        let mut log = self.0.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.rows.len() == EVENTS {
            log.rows.pop_front();
        }
        *log.by_kind.entry(row.kind).or_default() += 1;
        log.rows.push_back(row);
        log.total += 1;
        self.0.total.send_replace(log.total);
    }

    /// The events with their numbers, counted from 1 since the start, the oldest first: those after number `after`
    /// that are still there. And how many there were since the start.
    pub fn read(&self, after: u64) -> (Vec<(u64, EventRow)>, u64) {
        let log = self.0.log.lock().unwrap_or_else(PoisonError::into_inner);
        let first = log.total - log.rows.len() as u64 + 1;
        let rows = (first..).zip(log.rows.iter().cloned()).filter(|(number, _)| *number > after);
        (rows.collect(), log.total)
    }

    /// How many of a kind there were since the start.
    pub fn count(&self, kind: EventKind) -> u64 {
        let log = self.0.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.by_kind.get(kind.name()).copied().unwrap_or(0)
    }

    /// How many there were since the start, and a way to wait for more.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.total.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_last_events_under_the_numbers_that_they_had() {
        let log = EventLog::default();
        assert_eq!(log.read(0), (Vec::new(), 0));
        for n in 1..=300 {
            log.push(EventRow {
                at: SystemTime::UNIX_EPOCH,
                kind: "test",
                is_relief: false,
                text: format!("event {n}"),
            });
        }
        let (rows, total) = log.read(0);
        assert_eq!((rows.len(), total), (EVENTS, 300));
        assert!(rows.iter().all(|(number, row)| row.text == format!("event {number}")));
        let (rows, _) = log.read(298);
        assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [299, 300]);
    }
}

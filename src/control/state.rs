//! What the runtime hands over when it starts the control server.
//!
//! All of it is read-only here, but for the orders that [`Commands`] takes. The runtime builds one [`ControlState`] after the workers exist and shares it with
//! the server; the management core keeps a clone of [`Neighbors`] and publishes into it.

use crate::conntrack::key::V4Key;
use crate::conntrack::table::SessionView;
use crate::ids::{InterfaceId, MacAddr, Realm};
use crate::management::commands::Commands;
use crate::telemetry::WorkerCounters;
use crate::time::Tick;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// Everything that the control server reads.
pub struct ControlState {
    /// When the gateway started.
    pub started: Started,
    /// Version of natgate.
    pub version: String,
    /// Version of DPDK, if natgate was built with it.
    pub dpdk_version: Option<String>,
    /// The config file that runs.
    pub config_path: PathBuf,
    /// The counters of each worker, in the order of their numbers.
    pub workers: Vec<Arc<WorkerCounters>>,
    /// The interfaces, in the order of their [`InterfaceId`]s.
    pub interfaces: Vec<InterfaceInfo>,
    /// The session table of each worker, in the order of their numbers.
    pub sessions: Vec<SessionView<V4Key>>,
    /// The neighbours, as last published.
    pub neighbors: Neighbors,
    /// Takes orders to the workers.
    pub commands: Commands,
    /// The current time, on the clock of the sessions.
    pub now: Box<dyn Fn() -> Tick + Send + Sync>,
}

/// A moment on both clocks: one to show, one to measure from.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// Time of day.
    pub wall: SystemTime,
    /// For the uptime; steps of the time of day do not change it.
    pub monotonic: Instant,
}

impl Started {
    /// This moment.
    pub fn now() -> Self {
        Started { wall: SystemTime::now(), monotonic: Instant::now() }
    }
}

/// What does not change about an interface while the gateway runs.
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

/// The neighbours as the management core last published them. Clones share one list.
///
/// A mutex is enough: only the management core and the control thread use it, each for as long as a swap or a copy
/// of the pointer takes. No worker knows of it.
#[derive(Clone, Debug, Default)]
pub struct Neighbors(Arc<Mutex<Arc<[NeighborRow]>>>);

impl Neighbors {
    /// Replaces the list.
    pub fn publish(&self, rows: Vec<NeighborRow>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rows.into();
    }

    /// The list as last published.
    pub fn read(&self) -> Arc<[NeighborRow]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! The configuration that runs, as the control thread shows it.

use super::state::{InterfaceInfo, TimeoutSet};
use crate::config::Config;
use crate::ids::MacAddr;
use crate::pipeline::Snapshot;
use std::sync::Arc;

/// A device that natgate took over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// As the config writes it.
    pub name: String,
    /// Name of the driver that runs it, such as `net_af_packet`.
    pub driver: String,
    /// Ethernet address in use.
    pub mac: MacAddr,
}

/// A configuration with what was made of it. Immutable: a reload publishes another one.
#[derive(Clone, Debug)]
pub struct Running {
    /// As it was checked; its interfaces are in the order of their numbers.
    pub config: Config,
    /// What workers read.
    pub snapshot: Arc<Snapshot>,
    /// The devices, by `DeviceId`.
    pub devices: Vec<DeviceRow>,
    /// The interfaces, by `InterfaceId`.
    pub interfaces: Vec<InterfaceInfo>,
    /// The timeout sets, by the number that sessions know theirs by.
    pub timeout_sets: Vec<TimeoutSet>,
}

impl Running {
    /// A configuration that runs on these devices.
    pub fn new(config: Config, snapshot: Arc<Snapshot>, devices: Vec<DeviceRow>) -> Running {
        let info = |interface: &crate::config::model::InterfaceConfig| {
            let device = devices.get(interface.device.index())?;
            Some(InterfaceInfo {
                name: interface.name.clone(),
                device: device.name.clone(),
                driver: device.driver.clone(),
                mac: device.mac,
                vlan: interface.vlan,
                realm: interface.realm,
                zone: interface.zone,
                addresses: interface.addresses.clone(),
                mtu: interface.mtu,
            })
        };
        let interfaces = config.interfaces.iter().filter_map(info).collect();
        let sets = snapshot.set_names.iter().zip(&snapshot.conntrack.timeout_sets);
        let timeout_sets = sets
            .map(|(name, timeouts)| TimeoutSet { name: name.clone(), timeouts: timeouts.clone() })
            .collect();
        Running { config, snapshot, devices, interfaces, timeout_sets }
    }

    /// The Ethernet addresses of the devices, by `DeviceId`.
    pub fn macs(&self) -> Vec<MacAddr> {
        self.devices.iter().map(|device| device.mac).collect()
    }
}

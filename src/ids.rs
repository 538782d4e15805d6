//! Newtypes for what must not be mixed up.

use std::fmt;

/// A logical interface of the gateway: a device, or one VLAN of a device. Index into `Snapshot::interfaces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u8);

/// A NIC that natgate took over. Index into the list of devices, in order of first mention in the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u8);

/// One poll-mode core, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

impl InterfaceId {
    /// The index into a list of interfaces.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl DeviceId {
    /// The index into a list of devices.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl WorkerId {
    /// The index into a list of workers.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}

/// The most workers that one process runs.
pub const MAX_WORKERS: usize = 64;
/// The most interfaces in one config.
pub const MAX_INTERFACES: usize = 64;

/// Which side of the gateway an interface faces (RFC 2663).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Realm {
    /// Private addresses, translated on their way out.
    Internal,
    /// The side on which translated addresses are valid.
    External,
}

impl Realm {
    /// The realm's name as the config writes it.
    pub fn name(self) -> &'static str {
        match self {
            Realm::Internal => "internal",
            Realm::External => "external",
        }
    }
}

/// A 48-bit Ethernet address in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The broadcast address `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Whether the group bit is set: multicast or broadcast.
    #[inline]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::str::FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0u8; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(MacAddrError)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacAddrError)?;
        }
        if parts.next().is_some() { Err(MacAddrError) } else { Ok(MacAddr(bytes)) }
    }
}

/// The text is not an Ethernet address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an Ethernet address is six pairs of hexadecimal digits, such as \"02:00:00:00:00:01\"")]
pub struct MacAddrError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_reads_back_what_it_prints() {
        let mac = MacAddr([2, 0, 0xab, 0xcd, 0, 1]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "2:0:0:0:0:1", "02:00:00:00:00:0g"] {
            assert_eq!(bad.parse::<MacAddr>(), Err(MacAddrError), "{bad}");
        }
    }
}

//! How a forward's backends are asked whether they are there, as the configuration says it.
//!
//! The management core asks ([`crate::management::health`]), by packets as a client would send them; what it finds out goes to
//! [`super::service`]. A backend counts as up until it has been silent `fall` times in a row: a gateway that starts, or gets
//! another configuration, must not refuse what it has no reason to refuse.

use std::net::Ipv4Addr;
use std::time::Duration;

/// What a backend is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// Whether it accepts a connection: on this port, or on the one that clients get to.
    Tcp(Option<u16>),
    /// Whether it answers an echo request.
    Icmp,
}

/// How, how often, and what is made of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What it is asked.
    pub kind: ProbeKind,
    /// From one question to the next.
    pub interval: Duration,
    /// How long it may take to answer; at most `interval`.
    pub timeout: Duration,
    /// So many answers in a row, and a backend that was down is up. At least 1.
    pub rise: u8,
    /// So many questions in a row without, and a backend that was up is down. At least 1.
    pub fall: u8,
}

/// Who is asked, and how: backends of several forwards that are the same by this are asked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patient {
    /// The zone that it is in.
    pub zone: u16,
    /// Its address.
    pub address: Ipv4Addr,
    /// The port that it is asked on; 0 for an echo request.
    pub port: u16,
    /// How it is asked. The port is always in `port`.
    pub check: HealthCheck,
}

impl Patient {
    /// The backend at this address, whose clients get to `port`.
    pub fn new(zone: u16, address: Ipv4Addr, port: u16, check: HealthCheck) -> Patient {
        let (kind, port) = match check.kind {
            ProbeKind::Tcp(other) => (ProbeKind::Tcp(None), other.unwrap_or(port)),
            ProbeKind::Icmp => (ProbeKind::Icmp, 0),
        };
        Patient { zone, address, port, check: HealthCheck { kind, ..check } }
    }
}

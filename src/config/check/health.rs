//! How backends are asked whether they are there: what is not said, and what can not be.

use crate::classify::{HealthCheck, ProbeKind};
use crate::config::draft::DnatDraft;
use crate::config::mistake::Mistake;
use crate::config::reader::{At, Findings};
use crate::wire::protocol;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const RISE: u8 = 2;
const FALL: u8 = 3;

/// The health check of a rule, if it has one.
pub(super) fn check(rule: &DnatDraft, findings: &mut Findings) -> Option<HealthCheck> {
    let At { value: draft, at } = rule.health?;
    let by_tcp =
        draft.by_tcp.unwrap_or_else(|| rule.protocols.iter().any(|given| given.value == protocol::TCP));
    let kind = match draft.port {
        Some(port) if !by_tcp => {
            findings.error(port.at, Mistake::HealthPort);
            ProbeKind::Icmp
        }
        _ if !by_tcp => ProbeKind::Icmp,
        port => ProbeKind::Tcp(port.map(|port| port.value)),
    };
    let interval = draft.interval.map_or(INTERVAL, |interval| interval.value);
    let timeout = draft.timeout.map_or(TIMEOUT, |timeout| timeout.value);
    if timeout > interval {
        let place = draft.timeout.map_or(at, |timeout| timeout.at);
        findings.error(place, Mistake::HealthTimeout { interval, timeout });
    }
    Some(HealthCheck {
        kind,
        interval,
        timeout,
        rise: draft.rise.unwrap_or(RISE),
        fall: draft.fall.unwrap_or(FALL),
    })
}

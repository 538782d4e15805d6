//! The answer to `/v1/backends`: whether backends are there, as their health checks say.

use super::api;
use super::sessions::seconds;
use crate::classify::{Patient, ProbeKind};
use crate::config::model::DnatRule;
use crate::management::health::BackendStatus;
use crate::time::Tick;
use std::collections::HashMap;

/// Builds the answer of what the management core published, with the rules of the configuration that runs; those that are down
/// first.
pub fn backends(published: &[BackendStatus], rules: &[DnatRule], now: Tick) -> Vec<api::Backend> {
    let mut of: HashMap<Patient, Vec<u64>> = HashMap::new();
    for (rule, number) in rules.iter().zip(1..) {
        let Some(check) = rule.health else { continue };
        for backend in &rule.backends {
            let patient = Patient::new(rule.zone, backend.address, backend.port, check);
            of.entry(patient).or_default().push(number);
        }
    }
    let mut list: Vec<api::Backend> = published.iter().map(|status| row(status, &mut of, now)).collect();
    // Stable: each part stays in the order of the forwards.
    list.sort_by_key(|backend| backend.up);
    list
}

fn row(status: &BackendStatus, of: &mut HashMap<Patient, Vec<u64>>, now: Tick) -> api::Backend {
    let BackendStatus { patient, vitals } = status;
    let port = matches!(patient.check.kind, ProbeKind::Tcp(_)).then_some(patient.port);
    api::Backend {
        address: patient.address,
        port,
        zone: patient.zone,
        check: kind(patient).to_owned(),
        up: vitals.up,
        since_seconds: seconds(now.since(vitals.since.tick())),
        changes: vitals.changes,
        asked: vitals.asked,
        failed: vitals.failed,
        failure: vitals.failure.map(|(failure, _)| failure.name().to_owned()),
        failure_seconds: vitals.failure.map(|(_, at)| seconds(now.since(at.tick()))),
        rules: of.remove(patient).unwrap_or_default(),
    }
}

/// What a backend is asked: `tcp` or `icmp`.
pub(super) fn kind(patient: &Patient) -> &'static str {
    match patient.check.kind {
        ProbeKind::Tcp(_) => "tcp",
        ProbeKind::Icmp => "icmp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::management::health::{Failure, Vitals};
    use crate::time::Time;

    const CONFIG: &str = r#"
interface.lan = { device = "vdev:mem0", realm = "internal", address = "192.168.1.1/24" }
interface.wan = { device = "vdev:mem1", realm = "external", address = "203.0.113.2/24" }
dnat = [
  { on = "wan", protocol = "tcp", port = 80, to = ["192.168.1.20", "192.168.1.21"], health = {} },
  { on = "wan", protocol = "tcp", port = 81, to = ["192.168.1.21:80", "192.168.1.20:80"], health = {} },
]
"#;

    #[test]
    fn who_is_down_comes_first_with_the_reason_and_every_rule_that_it_is_missing_in() {
        let rules = parse(CONFIG, "natgate.toml").unwrap().config.dnat;
        let status = |at: usize, vitals| {
            let rule = &rules[0];
            let patient = Patient::new(0, rule.backends[at].address, 80, rule.health.unwrap());
            BackendStatus { patient, vitals }
        };
        let up = Vitals::new(Time::from_secs(10));
        let failure = Some((Failure::Refused, Time::from_secs(95)));
        let mut down = up;
        down.failure = failure;
        (down.up, down.since, down.changes) = (false, Time::from_secs(70), 3);
        let list = backends(&[status(0, up), status(1, down)], &rules, Time::from_secs(100).tick());
        let rows: Vec<_> = list
            .iter()
            .map(|row| {
                (
                    row.address.octets()[3],
                    row.up,
                    row.since_seconds,
                    row.failure.as_deref(),
                    row.failure_seconds,
                )
            })
            .collect();
        assert_eq!(rows, [(21, false, 30, Some("refused"), Some(5)), (20, true, 90, None, None)]);
        assert!(list.iter().all(|row| row.rules == [1, 2] && row.port == Some(80) && row.check == "tcp"));
    }
}

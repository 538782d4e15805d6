//! Compares the values of a [`Draft`] with one another, resolves names to indices and builds the [`Config`].
//!
//! Order: devices and interfaces, routes, pools, rules, classes, threads, the session table, steering. Doubts ([`Caution`])
//! are looked for only when there is no mistake, since most of them would follow from one.

mod alg;
mod backends;
mod bans;
mod conntrack;
mod health;
mod links;
mod notrack;
mod pools;
mod rules;
mod sets;
mod shadow;
mod sharing;
mod statics;
mod steering;
mod symmetry;
mod ways;
mod zones;

use super::DEFAULT_SOCKET;
use crate::classify::notrack::NotrackClass;
use crate::config::draft::{Draft, RuntimeDraft};
use crate::config::error::Span;
use crate::config::estimate;
use crate::config::mistake::{Caution, Mistake};
use crate::config::model::{Config, DEFAULT_STATE, DeviceConfig, PollMode, RuntimeConfig};
use crate::config::reader::{At, Findings, nearest};
use crate::ids::{MAX_WORKERS, Realm};
use std::net::Ipv4Addr;
use std::path::PathBuf;

const DEFAULT_ICMP_ERRORS: u32 = 1000;

/// The checked config; `None` if anything was found to be wrong, now or before.
pub(super) fn run(draft: Draft, findings: &mut Findings) -> Option<Config> {
    let devices = links::devices(&draft.interfaces, findings);
    let interfaces = links::interfaces(&draft.interfaces, &devices.of_interface, findings);
    links::mtus_beside_af_xdp(&draft.interfaces, findings);
    let routes = links::routes(&draft, findings);
    let pools = pools::check(&draft, findings);
    let statics = statics::check(&draft, &routes, findings);
    let snat = rules::snat(&draft, findings);
    let dnat = rules::dnat(&draft, &routes, findings);
    let bans = bans::check(&draft, findings);
    let notrack = notrack::check(&draft, &routes, findings);
    let rooms = draft.interfaces.iter().filter_map(|interface| {
        let device = interface.device.as_ref()?;
        Some(estimate::frame_room(&device.value, interface.mtu_or_default()))
    });
    let runtime = runtime(&draft.runtime, &devices.list, rooms.max().unwrap_or_default(), findings);
    pools::ports(&draft, runtime.workers, findings);
    sharing::workers(&draft, &pools, runtime.workers, findings);
    let conntrack = conntrack::check(&draft, runtime.workers, findings);
    steering::check(&draft, findings);
    if !findings.mistakes.is_empty() {
        return None;
    }
    let spread = runtime.spread;
    let config = Config {
        runtime,
        conntrack,
        devices: devices.list,
        interfaces,
        routes,
        pools,
        masquerade: draft.masquerade.build(spread),
        statics,
        snat,
        dnat,
        bans,
        sets: sets::check(&draft),
        notrack,
        alg: alg::build(&draft),
    };
    doubts(&draft, &config, findings);
    Some(config)
}

/// `room` is that of the buffers, which all devices share.
fn runtime(
    draft: &RuntimeDraft,
    devices: &[DeviceConfig],
    room: u64,
    findings: &mut Findings,
) -> RuntimeConfig {
    let workers = workers(draft, findings);
    let specs = || devices.iter().map(|device| &device.spec);
    let frames = match draft.frames {
        None => estimate::default_frames(specs(), workers),
        Some(At { value: frames, at }) => {
            let minimum = estimate::minimum_frames(specs(), workers);
            if frames < minimum {
                findings.error(at, Mistake::FewFrames { frames, minimum, workers });
            }
            frames
        }
    };
    let needed = estimate::dpdk_mebibytes(frames, room);
    if let Some(memory) = draft.memory
        && memory.value < needed
    {
        findings.error(memory.at, Mistake::MemoryTooSmall { memory: memory.value, frames, needed });
    }
    RuntimeConfig {
        workers,
        cpus: draft.cpus.as_ref().map(|cpus| cpus.value.clone()).unwrap_or_default(),
        spread: draft.spread.map(|spread| spread.value).unwrap_or_default(),
        steering: draft.steering.map(|steering| steering.value).unwrap_or_default(),
        poll: draft.poll.unwrap_or(PollMode::Busy),
        control: draft.control.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)),
        control_group: draft.control_group.clone(),
        metrics: draft.metrics.map(|metrics| metrics.value),
        state: draft.state.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_STATE)),
        frames,
        memory_mib: draft.memory.map(|memory| memory.value),
        eal_args: draft.eal.clone(),
        icmp_errors_per_second: draft.icmp_errors_per_second.unwrap_or(DEFAULT_ICMP_ERRORS),
    }
}

fn workers(draft: &RuntimeDraft, findings: &mut Findings) -> u8 {
    let cpus = draft.cpus.as_ref().filter(|cpus| !cpus.value.is_empty());
    match (draft.workers, cpus) {
        (Some(workers), Some(cpus)) => {
            if usize::from(workers.value) != cpus.value.len() {
                let what = Mistake::WorkersCpus { workers: workers.value, cpus: cpus.value.len() };
                findings.clash(workers.at, cpus.at, what);
            }
            workers.value
        }
        (Some(workers), None) => workers.value,
        (None, Some(cpus)) => match u8::try_from(cpus.value.len()) {
            Ok(count) if usize::from(count) <= MAX_WORKERS => count,
            _ => {
                let what = Mistake::OutOfRange {
                    key: "number of cpus".into(),
                    value: cpus.value.len().to_string(),
                    min: 1,
                    max: i64::try_from(MAX_WORKERS).unwrap_or(i64::MAX),
                };
                findings.error(cpus.at, what);
                1
            }
        },
        (None, None) => 1,
    }
}

/// What is allowed and probably not meant.
fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    let start = draft.interfaces.first().map_or(Span::default(), |interface| interface.name.at);
    for realm in [Realm::Internal, Realm::External] {
        if !config.interfaces.iter().any(|interface| interface.realm == realm) {
            findings.warn(start, Caution::NoRealm(realm.name()));
        }
    }
    let translates = |class: &NotrackClass| class.translate_from.or(class.translate_to).is_some();
    let Config { statics, snat, dnat, .. } = config;
    let is_empty = statics.is_empty() && snat.is_empty() && dnat.is_empty();
    if is_empty && !config.notrack.iter().any(translates) {
        findings.warn(start, Caution::NoRule);
    }
    pools::doubts(draft, config, findings);
    sharing::doubts(draft, config, findings);
    statics::doubts(draft, config, findings);
    rules::doubts(draft, config, findings);
    bans::doubts(draft, config, findings);
    notrack::doubts(draft, config, findings);
    conntrack::doubts(draft, &config.conntrack, config.runtime.workers, findings);
    symmetry::doubts(draft, config, findings);
    alg::doubts(draft, config, findings);
    steering::doubts(&draft.runtime, config.runtime.workers, findings);
    if let Some(metrics) = draft.runtime.metrics.filter(|metrics| !metrics.value.ip().is_loopback()) {
        findings.warn(metrics.at, Caution::MetricsOpen(metrics.value));
    }
}

/// Whether a host can have this address.
fn unicast(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // 0/8 and 127/8 (RFC 6890), multicast, and the reserved 240/4 with the broadcast address.
    !matches!(first, 0 | 127 | 224..=255)
}

/// The index of the entry with this name.
fn position<'n>(names: impl Iterator<Item = &'n str>, name: &str) -> Option<usize> {
    names.into_iter().position(|known| known == name)
}

/// The names that there are, and the one that was probably meant.
fn alternatives<'n>(names: impl Iterator<Item = &'n str>, name: &str) -> (Option<String>, Vec<String>) {
    let known: Vec<&str> = names.collect();
    let meant = nearest(name, known.iter().copied()).map(str::to_owned);
    (meant, known.into_iter().map(str::to_owned).collect())
}

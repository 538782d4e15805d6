//! `[runtime]` and `[conntrack]`: values, most of which are read once, at the start.

use super::{ChangeKind, Diff, words};
use crate::config::model::{AlgConfig, ConntrackConfig, RuntimeConfig, TimeoutSet};
use crate::config::parse::{POLL_MODES, SPREADS, STEERING, WHEN_FULL};
use crate::conntrack::policy::{Limits, Rate, Share, TcpOptions};
use crate::conntrack::timeouts::{Timeout, Timeouts};
use crate::nat::alg::Helper;
use std::collections::HashMap;
use std::fmt::Display;

const WORKERS: &str = "workers are started with it";
const SOCKETS: &str = "what listens is opened at the start";
const MEMORY: &str = "memory is taken at the start";
const SOURCES: &str = "the table of sources is made at the start, if there is a limit per source";

fn or_none<T: Display>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "none".into(), T::to_string)
}

pub(super) fn runtime(diff: &mut Diff, before: &RuntimeConfig, after: &RuntimeConfig) {
    let RuntimeConfig {
        workers,
        cpus,
        spread,
        steering,
        poll,
        control,
        control_group,
        metrics,
        state,
        frames,
        memory_mib,
        eal_args,
        icmp_errors_per_second,
    } = before;
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let cpu_list =
        |cpus: &Vec<usize>| if cpus.is_empty() { "the last ones".into() } else { format!("{cpus:?}") };
    let memory = |mib: &Option<u32>| mib.map_or_else(|| "as needed".into(), |mib| format!("{mib}MiB"));
    diff.fixed("runtime.workers", workers, &after.workers, u8::to_string, WORKERS);
    diff.fixed("runtime.cpus", cpus, &after.cpus, cpu_list, WORKERS);
    diff.fixed("runtime.spread", spread, &after.spread, |value| words::word(SPREADS, value), WORKERS);
    let why = "NICs are programmed at the start";
    diff.fixed("runtime.steering", steering, &after.steering, |value| words::word(STEERING, value), why);
    diff.fixed("runtime.poll", poll, &after.poll, |value| words::word(POLL_MODES, value), WORKERS);
    diff.fixed("runtime.control", control, &after.control, path, SOCKETS);
    diff.fixed("runtime.control_group", control_group, &after.control_group, or_none, SOCKETS);
    diff.fixed("runtime.metrics", metrics, &after.metrics, or_none, SOCKETS);
    let why = "revisions are kept in one place while the gateway runs";
    diff.fixed("runtime.state", state, &after.state, path, why);
    diff.fixed("runtime.frames", frames, &after.frames, u32::to_string, MEMORY);
    diff.fixed("runtime.memory", memory_mib, &after.memory_mib, memory, MEMORY);
    let why = "DPDK reads its arguments at the start";
    diff.fixed("runtime.eal", eal_args, &after.eal_args, |args| format!("{args:?}"), why);
    let rate = &after.icmp_errors_per_second;
    diff.value("runtime.icmp_errors_per_second", icmp_errors_per_second, rate, u32::to_string);
}

/// All but the rules, whose words need the names of the whole configuration.
pub(super) fn conntrack(diff: &mut Diff, before: &ConntrackConfig, after: &ConntrackConfig) {
    let ConntrackConfig { max_sessions, timeouts: base, timeout_sets, rules: _, tcp, limits: old } = before;
    diff.fixed("conntrack.max_sessions", max_sessions, &after.max_sessions, u32::to_string, MEMORY);
    limits(diff, old, &after.limits);
    let TcpOptions { be_liberal, loose } = tcp;
    diff.value("conntrack.tcp_be_liberal", be_liberal, &after.tcp.be_liberal, bool::to_string);
    diff.value("conntrack.tcp_loose", loose, &after.tcp.loose, bool::to_string);
    timeouts(diff, "conntrack.timeouts", base, &after.timeouts);
    let mut gone: HashMap<&str, &Timeouts> =
        timeout_sets.iter().map(|TimeoutSet { name, timeouts }| (name.as_str(), timeouts)).collect();
    for TimeoutSet { name, timeouts: new } in &after.timeout_sets {
        let what = format!("conntrack.timeout_set.{name}");
        match gone.remove(name.as_str()) {
            Some(old) => timeouts(diff, &what, old, new),
            None => diff.added(what),
        }
    }
    for set in timeout_sets.iter().filter(|set| gone.contains_key(set.name.as_str())) {
        diff.removed(format!("conntrack.timeout_set.{}", set.name));
    }
}

/// Which sessions are watched; those that are go on as they are.
pub(super) fn alg(diff: &mut Diff, before: &AlgConfig, after: &AlgConfig) {
    let AlgConfig { ports, max_expectations, max_sessions, timeout } = before;
    let list = |ports: &Vec<u16>| if ports.is_empty() { "off".into() } else { format!("ports {ports:?}") };
    for ((name, _), (old, new)) in Helper::NAMES.into_iter().zip(ports.iter().zip(&after.ports)) {
        diff.value(format!("alg.{name}"), old, new, list);
    }
    diff.value("alg.max_expectations", max_expectations, &after.max_expectations, u32::to_string);
    diff.value("alg.max_sessions", max_sessions, &after.max_sessions, u32::to_string);
    let text = |timeout: &std::time::Duration| humantime::format_duration(*timeout).to_string();
    diff.value("alg.expectation_timeout", timeout, &after.timeout, text);
}

fn limits(diff: &mut Diff, before: &Limits, after: &Limits) {
    let Limits {
        when_full,
        reserve,
        adaptive_low,
        adaptive_high,
        half_open,
        sessions_per_source,
        new_per_source,
        management,
    } = before;
    let when = |value: &_| words::word(WHEN_FULL, value);
    let marks = |(low, high): &(Share, Share)| {
        if low == high { "off".into() } else { format!("{low} to {high}") }
    };
    let rate = |rate: &Option<Rate>| match rate {
        None => "none".into(),
        Some(Rate { per_second, burst }) => format!("{per_second}/s, {burst} at once"),
    };
    diff.value("conntrack.when_full", when_full, &after.when_full, when);
    diff.value("conntrack.reserve", reserve, &after.reserve, Share::to_string);
    let (old, new) = ((*adaptive_low, *adaptive_high), (after.adaptive_low, after.adaptive_high));
    diff.value("conntrack.adaptive", &old, &new, marks);
    diff.value("conntrack.half_open", half_open, &after.half_open, Share::to_string);
    let (what, new) = ("conntrack.max_sessions_per_source", &after.sessions_per_source);
    diff.value(what, sessions_per_source, new, or_none);
    let what = "conntrack.new_sessions_per_source";
    diff.value(what, new_per_source, &after.new_per_source, rate);
    if before.count_sources() != after.count_sources() {
        let text = |limits: &Limits| if limits.count_sources() { "some" } else { "none" };
        diff.needs_restart("limits per source".into(), text(before).into(), text(after).into(), SOURCES);
    }
    diff.list("conntrack.management", management, &after.management);
}

fn timeouts(diff: &mut Diff, what: &str, before: &Timeouts, after: &Timeouts) {
    for timeout in Timeout::ALL {
        let text = |timeouts: &Timeouts| humantime::format_duration(timeouts.get(*timeout)).to_string();
        if before.get(*timeout) != after.get(*timeout) {
            let what = format!("{what}.{}", timeout.name());
            diff.push(ChangeKind::Changed, what, Some(text(before)), Some(text(after)));
        }
    }
}

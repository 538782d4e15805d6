//! Reads `[conntrack]` and what is below it.

use super::{distinct, listed, name, named, ports, prefixes, single};
use crate::config::draft::{ConntrackDraft, TimeoutSetDraft, TrackRuleDraft};
use crate::config::keys::Section;
use crate::config::mistake::Caution;
use crate::config::reader::{At, Field, Findings, Table};
use crate::config::units::{self, ValueError};
use crate::conntrack::policy::{Share, TcpOptions, WhenFull};
use crate::conntrack::timeouts::{Timeout, Timeouts};
use crate::wire::protocol;
use std::ops::RangeInclusive;

pub(in crate::config) const WHEN_FULL: &[(&str, WhenFull)] =
    &[("early-drop", WhenFull::EarlyDrop), ("refuse", WhenFull::Refuse)];
/// The watermarks of adaptive timeouts that are switched off.
const OFF: &[(&str, (Share, Share))] = &[("off", (Share::WHOLE, Share::WHOLE))];
const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("icmp", protocol::ICMP),
    ("sctp", protocol::SCTP),
    ("dccp", protocol::DCCP),
    ("udplite", protocol::UDP_LITE),
    ("gre", protocol::GRE),
    ("esp", protocol::ESP),
];

/// Sessions that a config may ask for: 20 GB of them.
const SESSIONS: RangeInclusive<i64> = 1..=1 << 27;
/// Sessions that a source may open at once.
const BURST: RangeInclusive<i64> = 1..=1 << 27;
const MARK: RangeInclusive<i64> = 0..=u32::MAX as i64;

/// Reads `[conntrack]`.
pub(super) fn section(table: &Table<'_>, findings: &mut Findings) -> ConntrackDraft {
    let mut share = |key| {
        let field = table.get(key)?;
        field.parse_with_unit(units::share, ValueError::ShareWithoutSign, findings)
    };
    let (reserve, half_open) = (share("reserve"), share("half_open"));
    let mut switch =
        |key| table.get(key).and_then(|field| field.boolean(findings)).is_some_and(|switch| switch.value);
    let tcp = TcpOptions { be_liberal: switch("tcp_be_liberal"), loose: switch("tcp_loose") };
    let mut base = Timeouts::default();
    if let Some(table) = single(table.get("timeouts"), Section::Timeouts, findings) {
        base = timeouts(&table, &base, findings);
    }
    let timeout_sets = table.get("timeout_set").map(|field| {
        named(field, Section::TimeoutSet, findings, |name, table, findings| TimeoutSetDraft {
            name,
            timeouts: timeouts(table, &base, findings),
        })
    });
    let rules = table.get("rule").map(|field| listed(field, Section::TrackRule, findings, rule));
    ConntrackDraft {
        max_sessions: table.get("max_sessions").and_then(|field| field.integer(SESSIONS, findings)),
        timeouts: base,
        timeout_sets: timeout_sets.unwrap_or_default(),
        rules: rules.unwrap_or_default(),
        tcp,
        when_full: table.get("when_full").and_then(|field| field.word(WHEN_FULL, findings)),
        reserve,
        adaptive: table.get("adaptive").and_then(|field| adaptive(&field, findings)),
        half_open,
        sessions_per_source: table
            .get("max_sessions_per_source")
            .and_then(|field| field.integer(SESSIONS, findings)),
        new_per_source: table
            .get("new_sessions_per_source")
            .and_then(|field| field.parse_with_unit(units::rate, ValueError::RateWithoutUnit, findings)),
        burst: table.get("new_sessions_burst").and_then(|field| field.integer(BURST, findings)),
        management: prefixes(table.get("management"), findings),
    }
}

/// Two watermarks, or `"off"`.
fn adaptive(field: &Field<'_>, findings: &mut Findings) -> Option<At<(Share, Share)>> {
    if !field.value.is_array() {
        return field.word(OFF, findings);
    }
    let items: Vec<Field<'_>> = field.items().collect();
    let [low, high] = items.as_slice() else {
        field.wrong_type(findings);
        return None;
    };
    let mut share =
        |item: &Field<'_>| item.parse_with_unit(units::share, ValueError::ShareWithoutSign, findings);
    let (low, high) = (share(low), share(high));
    Some(At { value: (low?.value, high?.value), at: field.at })
}

fn rule(table: &Table<'_>, findings: &mut Findings) -> TrackRuleDraft {
    let (set, mark) = (table.get("timeouts"), table.get("mark"));
    if set.is_none() && mark.is_none() {
        table.neither("timeouts", "mark", findings);
    }
    TrackRuleDraft {
        at: table.at,
        on: name(table.get("on"), findings),
        from: prefixes(table.get("from"), findings),
        to: prefixes(table.get("to"), findings),
        protocols: table.get("protocol").map(|field| distinct(&field, findings, protocol)),
        ports: table.get("port").and_then(|field| ports(&field, findings)),
        timeouts: name(set, findings),
        mark: mark.and_then(|field| self::mark(&field, findings)),
    }
}

/// A protocol by its name or its IANA number.
pub(super) fn protocol(field: &Field<'_>, findings: &mut Findings) -> Option<At<u8>> {
    if field.value.is_integer() { field.integer(0..=255, findings) } else { field.word(PROTOCOLS, findings) }
}

/// A number, decimal or hexadecimal; the latter may be a text too, as other tools print it.
fn mark(field: &Field<'_>, findings: &mut Findings) -> Option<At<u32>> {
    if field.value.is_integer() { field.integer(MARK, findings) } else { field.parse(units::mark, findings) }
}

/// The timeouts that the table gives, and those of `base` for the others.
fn timeouts(table: &Table<'_>, base: &Timeouts, findings: &mut Findings) -> Timeouts {
    let mut timeouts = base.clone();
    for timeout in Timeout::ALL {
        let Some(field) = table.get(timeout.name()) else { continue };
        let length = field.parse_with_unit(units::duration, ValueError::DurationWithoutUnit, findings);
        let Some(At { value: length, at }) = length else { continue };
        timeouts.set(*timeout, length);
        if let Some((minimum, rfc)) = timeout.minimum()
            && length < minimum
        {
            let write = |length| humantime::format_duration(length).to_string();
            let (given, minimum) = (write(length), write(minimum).replace(' ', ""));
            findings.warn(at, Caution::TimeoutBelowRfc { key: timeout.name(), given, minimum, rfc });
        }
    }
    timeouts
}

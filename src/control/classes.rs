//! Notrack classes and named sets as `/v1/rules` has them: expanded, in the words of the config, with what they did.

use super::api;
use super::inline::{Inline, ports, prefix, quoted};
use super::one_way::Known;
use super::rules::{interface_name, protocol, row};
use super::running::Running;
use crate::classify::notrack::{Addresses, Answers, NotrackClass, Verdict, Way};
use crate::config::model::{Config, SetConfig};
use crate::ids::InterfaceId;
use crate::telemetry::notrack::ClassTotals;
use crate::time::{TICK, Tick};
use crate::wire::protocol as ip;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::Relaxed;

/// Prefixes of a set that are shown.
const SHOWN: usize = 10;

/// What a class did, and whether it is as it should be. `None`: there is no such class.
pub(super) fn status(running: &Running, number: usize, now: Tick, known: Known) -> Option<api::ClassStatus> {
    let class = running.snapshot.classes.get(number)?;
    let totals = class.counters.totals();
    let state = match known.silent {
        Some(_) => "asymmetric",
        None if class.settling.load(Relaxed) => "settling",
        None if totals.last == [None; 2] => "silent",
        None => "active",
    };
    Some(api::ClassStatus {
        state: state.to_owned(),
        silent_way: known.silent.map(|way| way.name().to_owned()),
        known_seconds: known.age.as_secs(),
        there: way(&totals, Way::There, now),
        back: way(&totals, Way::Back, now),
    })
}

fn way(totals: &ClassTotals, way: Way, now: Tick) -> api::ClassWay {
    let at = way as usize;
    let ago = |last: Tick| (TICK * now.since(last)).as_secs();
    api::ClassWay {
        packets: totals.packets[at],
        bytes: totals.bytes[at],
        dropped: totals.dropped[at],
        last_seconds: totals.last[at].map(ago),
    }
}

/// A class in the words of the config: with what its preset filled in, and with defaults that decide of packets.
pub(super) fn class(config: &Config, class: &NotrackClass) -> String {
    let mut table = Inline::default();
    table.text("name", &class.name);
    if let Some(preset) = class.preset {
        table.text("preset", preset);
    }
    who(&mut table, config, class);
    what(&mut table, class);
    table.finish()
}

/// Which packets.
fn who(table: &mut Inline, config: &Config, class: &NotrackClass) {
    table.list("on", &interfaces(config, &class.on));
    table.zone("zone", config, class.zone);
    table.list("from", &addresses(config, &class.from));
    table.list("from_port", &port_list(&class.from_ports));
    table.list("to", &addresses(config, &class.to));
    table.zone("to_zone", config, Some(class.to_zone));
    table.list("port", &port_list(&class.ports));
    table.list("protocol", &protocols(&class.protocols));
    if let Some(wanted) = class.flags {
        table.array("tcp_flags", &wanted.words().map(quoted).collect::<Vec<_>>());
    }
}

/// What becomes of them.
fn what(table: &mut Inline, class: &NotrackClass) {
    let forwards = class.verdict == Verdict::Forward;
    table.text("action", class.verdict.name());
    for (key, net) in [("translate_to", &class.translate_to), ("translate_from", &class.translate_from)] {
        table.list(key, net.iter().map(prefix).collect::<Vec<_>>().as_slice());
    }
    if class.untranslated {
        table.value("untranslated", true);
    }
    table.value("symmetric", class.answers != Answers::Elsewhere);
    // A preset may say otherwise.
    if class.answers == Answers::SamePort || (class.preset.is_some() && class.answers == Answers::Mirrored) {
        table.value("peers", class.answers == Answers::SamePort);
    }
    if forwards {
        table.text("policy", class.policy.name());
    }
    if forwards && (class.protocols.is_empty() || class.protocols.contains(&ip::TCP)) {
        table.text("opened_by", class.opened_by.name());
    }
    table.text("existing", class.existing.name());
}

pub(super) fn addresses(config: &Config, Addresses { nets, sets }: &Addresses) -> Vec<String> {
    let set = |number: &usize| quoted(format_args!("set.{}", set_name(config, *number)));
    nets.iter().map(prefix).chain(sets.iter().map(set)).collect()
}

pub(super) fn interfaces(config: &Config, ids: &[InterfaceId]) -> Vec<String> {
    ids.iter().map(|id| quoted(interface_name(config, *id))).collect()
}

pub(super) fn port_list(ranges: &[RangeInclusive<u16>]) -> Vec<String> {
    ranges.iter().map(ports).collect()
}

pub(super) fn protocols(numbers: &[u8]) -> Vec<String> {
    numbers.iter().map(|number| protocol(*number)).collect()
}

fn set_name(config: &Config, number: usize) -> &str {
    config.sets.get(number).map_or("", |set| &set.name)
}

/// The row of a set, with the first of its prefixes.
pub(super) fn set_row(number: u32, set: &SetConfig) -> api::Rule {
    let count = set.prefixes.len();
    let shown: Vec<_> = set.prefixes.iter().take(SHOWN).map(prefix).collect();
    let mut table = Inline::default();
    table.array("prefixes", &shown);
    let more = match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let row = row("set", number, Some(format!("{}{more}", table.finish())));
    api::Rule { name: Some(set.name.clone()), prefixes: Some(count as u64), ..row }
}

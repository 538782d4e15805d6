//! The answer to `/v1/rules`: what the configuration says of packets and new sessions, in its own words, and what each rule
//! did.
//!
//! A rule is written as an inline table of the config file, so that what is shown can be searched for there, or copied.

use super::inline::{Inline, ports, prefix, quoted};
use super::one_way::Known;
use super::running::Running;
use super::{api, classes};
use crate::classify::{Affinity, HealthCheck, ProbeKind};
use crate::config::UNTRANSLATED;
use crate::config::model::{BackendConfig, BanRule, Config, DnatRule, SnatRule, SourcePool, StaticRule};
use crate::ids::InterfaceId;
use crate::pipeline::plan::Rule;
use crate::time::Tick;
use crate::wire::protocol as ip;
use humantime::format_duration;

/// Builds the answer with at most `limit` rules, for this moment. `known` is asked for what is known of a class, by its
/// name.
pub fn rules(running: &Running, now: Tick, known: impl Fn(&str) -> Known, limit: usize) -> api::Rules {
    let Config { notrack, statics, snat, dnat, bans, sets, .. } = &running.config;
    let of_classes = (0..).zip(notrack).map(|(number, class)| {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let class = classes::status(running, at, now, known(&class.name));
        api::Rule { class, ..rule(running, Rule::Notrack(number)) }
    });
    let of_bans = (0..).zip(bans).map(|(number, ban)| ban_row(running, number, ban));
    let of_sets = (0..).zip(sets).map(|(number, set)| classes::set_row(number, set));
    api::Rules {
        total: (notrack.len() + statics.len() + snat.len() + dnat.len() + bans.len() + sets.len()) as u64,
        rules: of_classes.chain(makers(running)).chain(of_bans).chain(of_sets).take(limit).collect(),
    }
}

/// The rules that make sessions.
pub fn makers(running: &Running) -> impl Iterator<Item = api::Rule> {
    let Config { statics, snat, dnat, .. } = &running.config;
    let of_statics = (0..).zip(statics).map(|(number, _)| rule(running, Rule::Static(number)));
    let of_snat = (0..).zip(snat).map(|(number, _)| rule(running, Rule::Snat(number)));
    let of_dnat = (0..).zip(dnat).map(|(number, _)| rule(running, Rule::Dnat(number)));
    of_statics.chain(of_snat).chain(of_dnat)
}

/// One rule, with its sessions if it makes any. A number that the configuration does not have gives an empty text.
pub fn rule(running: &Running, rule: Rule) -> api::Rule {
    /// One of a list.
    fn at<T>(list: &[T], number: u32) -> Option<&T> {
        list.get(usize::try_from(number).ok()?)
    }
    let config = &running.config;
    let made = || running.snapshot.rules.of(rule).map_or(0, |counters| counters.sum());
    match rule {
        Rule::Snat(number) => {
            let text = at(&config.snat, number).map(|rule| snat(config, rule));
            api::Rule { sessions: Some(made()), ..row("snat", number, text) }
        }
        Rule::Dnat(number) => {
            let rule = at(&config.dnat, number);
            let row = row("dnat", number, rule.map(|rule| dnat(config, rule)));
            let down = rule.map(|rule| down(running, rule)).unwrap_or_default();
            api::Rule { sessions: Some(made()), drained: rule.is_some_and(|rule| rule.drain), down, ..row }
        }
        Rule::Static(number) => {
            let text = at(&config.statics, number).map(|rule| fixed(config, rule));
            api::Rule { sessions: Some(made()), ..row("static", number, text) }
        }
        Rule::Notrack(number) => {
            let class = at(&config.notrack, number);
            let row = row("notrack", number, class.map(|class| classes::class(config, class)));
            api::Rule { name: class.map(|class| class.name.clone()), ..row }
        }
    }
}

/// The backends of a rule that are down.
fn down(running: &Running, rule: &DnatRule) -> Vec<String> {
    let (config, local) = (&running.config, &running.snapshot.local);
    if rule.health.is_none() {
        return Vec::new();
    }
    // The zone that sees the address: its interface's, or any.
    let own = rule.interface.and_then(|id| config.interfaces.get(id.index()));
    let forward = local
        .find(own.map_or(rule.zone, |own| own.zone), rule.address)
        .and_then(|number| local.forward(number, rule.protocol, *rule.ports.start()));
    let down = forward.into_iter().flat_map(|forward| forward.targets.down());
    down.map(|target| format!("{}:{}", target.address, target.port)).collect()
}

/// The row of a rule that makes no sessions, by its place counted from 0.
pub(super) fn row(kind: &str, number: u32, text: Option<String>) -> api::Rule {
    api::Rule {
        kind: kind.to_owned(),
        number: u64::from(number) + 1,
        name: None,
        text: text.unwrap_or_default(),
        sessions: None,
        drained: false,
        down: Vec::new(),
        class: None,
        prefixes: None,
    }
}

/// The first ban that names a source in this zone.
pub fn ban_of(running: &Running, zone: u16, source: std::net::Ipv4Addr) -> Option<api::Rule> {
    let names = |ban: &BanRule| {
        ban.zone.is_none_or(|only| only == zone)
            && running.config.prefixes(&ban.from).any(|net| net.contains(&source))
    };
    let (number, ban) = (0..).zip(&running.config.bans).find(|(_, ban)| names(ban))?;
    Some(ban_row(running, number, ban))
}

fn ban_row(running: &Running, number: u32, ban: &BanRule) -> api::Rule {
    let mut table = Inline::default();
    table.zone("zone", &running.config, ban.zone);
    table.list("from", &classes::addresses(&running.config, &ban.from));
    row("ban", number, Some(table.finish()))
}

/// A translation of addresses one to one in the words of the config.
fn fixed(config: &Config, rule: &StaticRule) -> String {
    let mut table = Inline::default();
    table.value("external", prefix(&rule.external));
    table.value("internal", prefix(&rule.internal));
    table.zone("zone", config, Some(rule.zone));
    if let Some(out) = rule.out {
        table.text("on", interface_name(config, out));
    }
    if !rule.inbound {
        table.value("inbound", false);
    }
    table.finish()
}

/// A source translation rule in the words of the config.
fn snat(config: &Config, rule: &SnatRule) -> String {
    let mut table = Inline::default();
    table.list("on", &classes::interfaces(config, &rule.on));
    table.zone("zone", config, rule.zone);
    table.list("from", &classes::addresses(config, &rule.from));
    table.list("from_port", &classes::port_list(&rule.from_ports));
    table.list("to", &classes::addresses(config, &rule.to));
    table.list("port", &classes::port_list(&rule.ports));
    table.list("protocol", &classes::protocols(&rule.protocols));
    if let Some(out) = rule.out {
        table.text("out", interface_name(config, out));
    }
    table.text("source", rule.source.map_or_else(|| UNTRANSLATED.to_owned(), |pool| source(config, pool)));
    if let Some(bytes) = rule.mss_clamp {
        table.value("mss_clamp", bytes);
    }
    table.finish()
}

/// A destination translation rule in the words of the config.
fn dnat(config: &Config, rule: &DnatRule) -> String {
    let own = rule.interface.and_then(|id| config.interfaces.get(id.index()));
    let mut table = Inline::default();
    match own.filter(|own| own.primary() == rule.address) {
        Some(own) => table.text("on", &own.name),
        None => table.text("address", rule.address),
    }
    table.value("protocol", protocol(rule.protocol));
    table.value("port", ports(&rule.ports));
    table.list("to", &rule.backends.iter().map(backend).collect::<Vec<_>>());
    if rule.affinity == Affinity::Source {
        table.text("affinity", "source");
    }
    if let Some(timeout) = rule.affinity_timeout {
        table.text("affinity_timeout", format_duration(timeout));
    }
    if let Some(check) = &rule.health {
        table.value("health", health(check));
    }
    table.zone("zone", config, Some(rule.zone));
    if let Some(pool) = rule.source {
        table.text("source", source(config, pool));
    }
    for (name, set) in [("syn_proxy", rule.syn_proxy), ("drain", rule.drain)] {
        if set {
            table.value(name, true);
        }
    }
    table.finish()
}

fn backend(backend: &BackendConfig) -> String {
    let BackendConfig { address, port, weight, drain } = *backend;
    let to = format!("{address}:{port}");
    if (weight, drain) == (1, false) {
        return quoted(to);
    }
    let mut table = Inline::default();
    table.text("address", to);
    if weight != 1 {
        table.value("weight", weight);
    }
    if drain {
        table.value("drain", true);
    }
    table.finish()
}

fn health(check: &HealthCheck) -> String {
    let HealthCheck { kind, interval, timeout, rise, fall } = *check;
    let mut table = Inline::default();
    match kind {
        ProbeKind::Tcp(port) => {
            table.text("check", "tcp");
            if let Some(port) = port {
                table.value("port", port);
            }
        }
        ProbeKind::Icmp => table.text("check", "icmp"),
    }
    table.text("interval", format_duration(interval));
    table.text("timeout", format_duration(timeout));
    table.value("rise", rise);
    table.value("fall", fall);
    table.finish()
}

/// A protocol as a value.
pub(super) fn protocol(number: u8) -> String {
    ip::name(number).map_or_else(|| number.to_string(), quoted)
}

/// Every index in a checked configuration is valid, so the name is there.
pub(super) fn interface_name(config: &Config, id: InterfaceId) -> &str {
    config.interfaces.get(id.index()).map_or("", |interface| &interface.name)
}

fn source(config: &Config, pool: SourcePool) -> String {
    match pool {
        SourcePool::Interface => "interface".to_owned(),
        SourcePool::Pool(number) => {
            format!("pool.{}", config.pools.get(number).map_or("", |pool| &pool.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{compile::compile, parse};
    use crate::ids::{MacAddr, WorkerId};
    use std::sync::Arc;

    const BASE: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"

[interface.shop]
device = "vdev:mem1"
realm = "internal"
address = "10.0.0.1/24"
zone = 7

[interface.wan]
device = "vdev:mem2"
realm = "external"
addresses = ["203.0.113.2/24", "203.0.113.3/24"]
gateway = "203.0.113.1"

[pool.web]
addresses = "203.0.113.16-203.0.113.20"

[set.hosts]
prefixes = ["10.8.0.0/16"]
"#;

    const RULES: &str = r#"
snat = [
  { zone = 7, from = ["10.0.0.0/24", "10.0.0.9"], to = "198.51.100.0/24", source = "pool.web" },
  { out = "wan", source = "interface" },
  { on = ["lan", "shop"], from = "set.hosts", from_port = "1024-65535", to = ["198.51.100.9", "set.hosts"], port = [25, "465-587"], protocol = ["tcp", "sctp"], source = "untranslated" },
]
dnat = [
  { on = "wan", protocol = ["tcp", "udp"], port = 53, to = "192.168.1.10", zone = 0 },
  { address = "203.0.113.3", protocol = "tcp", port = "8000-8010", to = "10.0.0.7:80", zone = 7, source = "interface", syn_proxy = true, drain = true },
  { address = "203.0.113.17", protocol = "tcp", port = 443, to = ["192.168.1.11:8443", { address = "192.168.1.12", weight = 3, drain = true }], affinity = "source", affinity_timeout = "5m", health = { check = "icmp", interval = "5s", fall = 2 }, zone = 0, source = "pool.web" },
]
ban = [{ from = "192.168.1.66" }, { zone = 7, from = ["10.0.0.64/26"] }, { from = ["192.0.2.1", "set.hosts"] }]
"#;

    fn read(rules: &str) -> Config {
        let text = format!("{rules}{BASE}");
        parse(&text, "natgate.toml").unwrap_or_else(|errors| panic!("{errors}")).config
    }

    fn running() -> Running {
        let config = read(RULES);
        let macs = vec![MacAddr::default(); config.devices.len()];
        let snapshot = Arc::new(compile(&config, &macs, 7, 0));
        Running::new(config, snapshot, Vec::new())
    }

    fn answer(running: &Running, limit: usize) -> api::Rules {
        rules(running, Tick(0), |_| Known::default(), limit)
    }

    #[test]
    fn a_rule_is_written_as_the_config_would_write_it() {
        let shown = answer(&running(), usize::MAX);
        let text = |number: usize| shown.rules[number].text.as_str();
        assert_eq!(
            text(0),
            "{ zone = 7, from = [\"10.0.0.0/24\", \"10.0.0.9\"], to = \"198.51.100.0/24\", source = \"pool.web\" }"
        );
        assert!(text(5).ends_with("source = \"interface\", syn_proxy = true, drain = true }"), "{}", text(5));
        assert_eq!(
            (text(7), text(8)),
            ("{ from = \"192.168.1.66\" }", "{ zone = 7, from = \"10.0.0.64/26\" }")
        );
        let list = |kind: &str| {
            let rows = shown.rules.iter().filter(|row| row.kind == kind);
            format!("{kind} = [{}]\n", rows.map(|row| row.text.clone()).collect::<Vec<_>>().join(", "))
        };
        let again = read(&["snat", "dnat", "ban"].map(list).concat());
        let first = read(RULES);
        assert_eq!((again.snat, again.dnat, again.bans), (first.snat, first.dnat, first.bans));
    }

    #[test]
    fn a_static_address_is_written_as_the_config_would_write_it() {
        let text = "static = [{ external = \"203.0.113.64/29\", internal = \"10.0.0.64/29\", zone = 7, on = \"wan\", inbound = false }]\n";
        let first = read(text);
        let written = fixed(&first, &first.statics[0]);
        assert_eq!(format!("static = [{written}]\n"), text);
    }

    const CLASSES: &str = r#"
[set.frontends]
prefixes = ["10.0.0.0/16", "192.0.2.7"]
[set.nobody]
prefixes = []

[[notrack]]
name = "cache"
preset = "memcached"
on = ["wan", "shop"]
from = ["198.51.100.0/24", "set.frontends"]
to = "203.0.113.9"
to_zone = 0
translate_to = "192.168.1.20"
policy = "allow-listed"
opened_by = "either"
existing = "release"

[[notrack]]
name = "tunnels"
preset = "vxlan"
zone = 7
from = "10.0.0.0/24"
to_zone = 7
translate_from = "198.51.101.0/24"

[[notrack]]
name = "floods"
from = "set.nobody"
protocol = "tcp"
port = [7, "9-19"]
tcp_flags = ["syn", "!ack"]
to_zone = 0
action = "drop"
symmetric = false
comment = "no more"
"#;

    #[test]
    fn a_class_is_written_with_all_that_it_is_and_reads_back_as_the_same() {
        let first = read(CLASSES);
        let texts: Vec<_> = first.notrack.iter().map(|class| classes::class(&first, class)).collect();
        assert_eq!(
            texts[0],
            "{ name = \"cache\", preset = \"memcached\", on = [\"wan\", \"shop\"], from = [\"198.51.100.0/24\", \"set.frontends\"], from_port = \"1024-65535\", to = \"203.0.113.9\", to_zone = 0, port = 11211, protocol = [\"tcp\", \"udp\"], action = \"forward\", translate_to = \"192.168.1.20\", symmetric = true, peers = false, policy = \"allow-listed\", opened_by = \"either\", existing = \"release\" }"
        );
        assert!(
            texts[1].contains("port = 4789, protocol = \"udp\"") && texts[1].contains("peers = true"),
            "{}",
            texts[1]
        );
        assert!(
            texts[2].contains("port = [7, \"9-19\"], protocol = \"tcp\", tcp_flags = [\"syn\", \"!ack\"]"),
            "{}",
            texts[2]
        );
        let sets = CLASSES.split_once("[[notrack]]").unwrap().0;
        let again = read(&format!("notrack = [{}]\n{sets}", texts.join(", ")));
        assert_eq!((again.notrack, again.sets), (first.notrack, first.sets));
    }

    #[test]
    fn a_set_is_written_with_its_first_prefixes() {
        let mut set = read(CLASSES).sets.remove(0);
        let row = classes::set_row(0, &set);
        assert_eq!(
            (row.kind.as_str(), row.number, row.name.as_deref(), row.prefixes),
            ("set", 1, Some("frontends"), Some(2))
        );
        assert_eq!(row.text, "{ prefixes = [\"10.0.0.0/16\", \"192.0.2.7\"] }");
        set.prefixes = vec![set.prefixes[0]; 12];
        let row = classes::set_row(0, &set);
        assert!(
            row.text.ends_with("\"10.0.0.0/16\"] } and 2 more") && row.prefixes == Some(12),
            "{}",
            row.text
        );
    }

    #[test]
    fn rules_come_in_order_with_what_they_did_and_no_more_than_asked_for() {
        let running = running();
        running.snapshot.rules.of(Rule::Dnat(1)).unwrap().of(WorkerId(0)).unwrap().add(5);
        let shown = answer(&running, usize::MAX);
        let heads: Vec<_> = shown
            .rules
            .iter()
            .map(|row| (row.kind.as_str(), row.number, row.sessions, row.drained))
            .collect();
        let expected = [
            ("snat", 1, Some(0), false),
            ("snat", 2, Some(0), false),
            ("snat", 3, Some(0), false),
            ("dnat", 1, Some(0), false),
            ("dnat", 2, Some(5), false),
            ("dnat", 3, Some(0), true),
            ("dnat", 4, Some(0), false),
            ("ban", 1, None, false),
            ("ban", 2, None, false),
            ("ban", 3, None, false),
            ("set", 1, None, false),
        ];
        assert_eq!(heads, expected);
        let few = answer(&running, 3);
        assert_eq!((few.total, &few.rules[..]), (11, &shown.rules[..3]));
    }

    #[test]
    fn the_ban_of_a_source_is_the_first_that_names_it_in_its_zone() {
        let running = running();
        let number =
            |zone, source: &str| ban_of(&running, zone, source.parse().unwrap()).map(|ban| ban.number);
        assert_eq!(number(0, "192.168.1.66"), Some(1));
        assert_eq!((number(7, "10.0.0.65"), number(0, "10.0.0.65")), (Some(2), None));
        assert_eq!(
            (number(0, "10.8.1.1"), number(0, "192.0.2.1")),
            (Some(3), Some(3)),
            "of a set, and beside it"
        );
    }
}

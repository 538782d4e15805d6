//! Reads the sections, one function each, into a [`Draft`]. Every value is checked by itself here; what has to do
//! with other values is for `check`.

mod alg;
pub(super) mod behavior;
mod conntrack;
mod matching;
mod notrack;

pub(super) use conntrack::WHEN_FULL;

use crate::classify::Affinity;
use crate::classify::service::MAX_WEIGHT;
use crate::config::draft::{
    BackendDraft, BanDraft, DnatDraft, Draft, HealthDraft, InterfaceDraft, PoolDraft, RouteDraft,
    RuntimeDraft, SnatDraft, SourceName, StaticDraft, Vlan,
};
use crate::config::error::Span;
use crate::config::keys::Section;
use crate::config::mistake::Mistake;
use crate::config::model::{MssClamp, PollMode, UnsolicitedSyn};
use crate::config::reader::{At, Field, Findings, Table, nearest};
use crate::config::units::{self, ValueError};
use crate::device::spec::DeviceSpec;
use crate::ids::{MAX_WORKERS, MacAddr, Realm};
use crate::steering::Spread;
use crate::steering::plan::Wish;
use ipnet::Ipv4Net;
use matching::{interfaces, members, port_list, protocol_list};
use std::path::PathBuf;
use toml::de::{DeTable, DeValue};

const REALMS: &[(&str, Realm)] = &[("internal", Realm::Internal), ("external", Realm::External)];
pub(super) const SPREADS: &[(&str, Spread)] = &[("source", Spread::Source), ("flow", Spread::Flow)];
pub(super) const STEERING: &[(&str, Wish)] =
    &[("auto", Wish::Auto), ("port-rules", Wish::PortRules), ("software", Wish::Software)];
pub(super) const POLL_MODES: &[(&str, PollMode)] =
    &[("busy", PollMode::Busy), ("adaptive", PollMode::Adaptive)];
const CHECKS: &[(&str, bool)] = &[("tcp", true), ("icmp", false)];
/// Answers, or questions without one, after which a backend is taken to be up or down.
const MAX_IN_A_ROW: i64 = 100;
const AFFINITY: &[(&str, Affinity)] = &[("connection", Affinity::Connection), ("source", Affinity::Source)];
/// IANA protocol numbers.
const PROTOCOLS: &[(&str, u8)] = &[("tcp", 6), ("udp", 17)];

/// Frames that a config may ask for.
const FRAMES: std::ops::RangeInclusive<i64> = 1024..=1 << 24;
/// What fits `cpu_set_t` (CPU_SET(3)).
const CPUS: std::ops::RangeInclusive<i64> = 0..=1023;
/// RFC 791: what every host must take; and what jumbo frames carry.
const MTU: std::ops::RangeInclusive<i64> = 576..=9216;
/// `sun_path` has 108 bytes, one of them the final zero (unix(7)).
const SOCKET_PATH: usize = 107;
/// What EAL answers with a text on standard output and `exit`.
const EAL_PRINTS: &[&str] = &["-h", "--help", "-v", "--version"];
/// What the MTUs leave of a segment.
const MSS: std::ops::RangeInclusive<i64> = 536..=9176;
pub(super) const UNSOLICITED_SYN: &[(&str, UnsolicitedSyn)] =
    &[("unreachable", UnsolicitedSyn::Unreachable), ("silent", UnsolicitedSyn::Silent)];
const ZONES: std::ops::RangeInclusive<i64> = 0..=u16::MAX as i64;
const MAX_NAME: usize = 32;
/// The `source` of a rule whose sources stay as they are.
pub(crate) const UNTRANSLATED: &str = "untranslated";

/// Reads the whole file.
pub(super) fn file(root: &DeTable<'_>, findings: &mut Findings) -> Draft {
    let file = Table::open(Section::File, "the file".into(), Span::default(), root, findings);
    let mut draft = Draft::default();
    if let Some(field) = file.get("interface") {
        draft.interfaces = named(field, Section::Interface, findings, interface);
    }
    if let Some(field) = file.get("route") {
        draft.routes = listed(field, Section::Route, findings, route);
    }
    if let Some(field) = file.get("pool") {
        draft.pools = named(field, Section::Pool, findings, pool);
    }
    if let Some(table) = single(file.get("masquerade"), Section::Masquerade, findings) {
        draft.masquerade = behavior::behavior(&table, findings);
    }
    if let Some(field) = file.get("static") {
        draft.statics = listed(field, Section::Static, findings, fixed);
    }
    if let Some(field) = file.get("snat") {
        draft.snat = listed(field, Section::Snat, findings, snat);
    }
    if let Some(field) = file.get("dnat") {
        draft.dnat = listed(field, Section::Dnat, findings, dnat);
    }
    if let Some(field) = file.get("ban") {
        draft.bans = listed(field, Section::Ban, findings, ban);
    }
    if let Some(field) = file.get("set") {
        draft.sets = named(field, Section::Set, findings, notrack::set);
    }
    if let Some(field) = file.get("notrack") {
        draft.notrack = listed(field, Section::Notrack, findings, notrack::class);
    }
    if let Some(table) = single(file.get("runtime"), Section::Runtime, findings) {
        draft.runtime = runtime(&table, findings);
    }
    if let Some(table) = single(file.get("conntrack"), Section::Conntrack, findings) {
        draft.conntrack = conntrack::section(&table, findings);
    }
    if let Some(table) = single(file.get("alg"), Section::Alg, findings) {
        draft.alg = alg::section(&table, findings);
    }
    draft
}

/// A section that is there once.
fn single<'a>(field: Option<Field<'a>>, section: Section, findings: &mut Findings) -> Option<Table<'a>> {
    let field = field?;
    let table = field.table(findings)?;
    Some(Table::open(section, section.header().into(), field.at, table, findings))
}

/// The tables below `[interface.…]`, `[pool.…]` or `[set.…]`, in the order of the file.
fn named<T>(
    field: Field<'_>,
    section: Section,
    findings: &mut Findings,
    read: impl Fn(At<String>, &Table<'_>, &mut Findings) -> T,
) -> Vec<T> {
    let Some(tables) = field.table(findings) else { return Vec::new() };
    let mut entries: Vec<_> = tables.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let empty = DeTable::new();
    let mut read_entry = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let at = Span::from(name.span());
        let name: String = AsRef::<str>::as_ref(name.get_ref()).to_owned();
        if !is_name(&name) {
            findings.error(at, Mistake::Name(name.clone()));
        }
        let label = section.header().replace("NAME", &name);
        let table = value.get_ref().as_table();
        if table.is_none() {
            let what = Mistake::WrongType {
                key: name.clone(),
                expected: "a table".into(),
                found: value.get_ref().type_str(),
                example: format!("begin a table: {label}"),
            };
            findings.error(at, what);
            // The name counts, so that what refers to it is not reported too.
            let quiet = &mut Findings::default();
            let table = Table::open(section, label, at, &empty, quiet);
            return read(At { value: name, at }, &table, quiet);
        }
        let table = Table::open(section, label, at, table.unwrap_or(&empty), findings);
        read(At { value: name, at }, &table, findings)
    };
    entries.drain(..).map(&mut read_entry).collect()
}

fn is_name(text: &str) -> bool {
    let clean = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    clean && !text.is_empty() && text.len() <= MAX_NAME
}

/// The tables of `[[route]]`, `[[static]]`, `[[snat]]`, `[[dnat]]`, `[[ban]]` or `[[notrack]]`.
fn listed<T>(
    field: Field<'_>,
    section: Section,
    findings: &mut Findings,
    read: impl Fn(&Table<'_>, &mut Findings) -> T,
) -> Vec<T> {
    if field.value.is_table() {
        let what = Mistake::WrongType {
            key: field.key.into(),
            expected: "a list of tables".into(),
            found: "a table",
            example: format!("write the header with two brackets: {}", section.header()),
        };
        findings.error(field.at, what);
    }
    let items: Vec<Field<'_>> = field.items().collect();
    let tables = items.into_iter().filter_map(|item| {
        let table = item.table(findings)?;
        let table = Table::open(section, section.header().into(), item.at, table, findings);
        Some(read(&table, findings))
    });
    tables.collect()
}

fn interface(name: At<String>, table: &Table<'_>, findings: &mut Findings) -> InterfaceDraft {
    let device = table.require("device", findings).and_then(|field| device(&field, findings));
    let realm = table.require("realm", findings).and_then(|field| field.word(REALMS, findings));
    let addresses = table.either("address", "addresses", findings).map(|field| {
        if field.is_empty_list() {
            field.empty(findings);
        }
        field.parse_list(units::interface_address, findings)
    });
    let vlan = match table.get("vlan").map(|field| field.integer(1..=4094, findings)) {
        None => Vlan::Untagged,
        Some(None) => Vlan::Wrong,
        Some(Some(id)) => Vlan::Id(id),
    };
    let zone = match table.get("zone") {
        None => Some(0),
        Some(field) => field.integer(ZONES, findings).map(|zone| zone.value),
    };
    InterfaceDraft {
        name,
        device,
        realm: realm.map(|realm| realm.value),
        addresses: addresses.unwrap_or_default(),
        gateway: table.get("gateway").and_then(|field| field.parse(units::address, findings)),
        mtu: table.get("mtu").and_then(|field| field.integer(MTU, findings)),
        icmp_errors: table
            .get("icmp_errors")
            .and_then(|field| field.boolean(findings))
            .is_none_or(|errors| errors.value),
        mss_clamp: table.get("mss_clamp").and_then(|field| mss_clamp(&field, findings)).unwrap_or_default(),
        unsolicited_syn: table
            .get("unsolicited_syn")
            .and_then(|field| field.word(UNSOLICITED_SYN, findings))
            .map_or_else(UnsolicitedSyn::default, |word| word.value),
        vlan,
        zone,
        mac: table.get("mac").and_then(|field| mac(&field, findings)),
    }
}

fn mss_clamp(field: &Field<'_>, findings: &mut Findings) -> Option<MssClamp> {
    match field.value {
        DeValue::Integer(_) => field.integer(MSS, findings).map(|bytes| MssClamp::To(bytes.value)),
        DeValue::String(_) => field.word(&[("auto", MssClamp::Auto)], findings).map(|word| word.value),
        _ => {
            field.wrong_type(findings);
            None
        }
    }
}

fn device(field: &Field<'_>, findings: &mut Findings) -> Option<At<DeviceSpec>> {
    let At { value: text, at } = field.text(findings)?;
    text.parse()
        .map(|value| At { value, at })
        .map_err(|error| findings.error(at, Mistake::Device(error)))
        .ok()
}

fn mac(field: &Field<'_>, findings: &mut Findings) -> Option<At<MacAddr>> {
    let At { value: text, at } = field.text(findings)?;
    match text.parse::<MacAddr>() {
        Ok(mac) if mac.is_group() || mac == MacAddr::default() => {
            findings.error(at, Mistake::MacGroup(mac));
            None
        }
        Ok(value) => Some(At { value, at }),
        Err(_) => {
            findings.error(at, Mistake::Mac(text.to_owned()));
            None
        }
    }
}

fn zone(table: &Table<'_>, findings: &mut Findings) -> Option<At<u16>> {
    table.get("zone")?.integer(ZONES, findings)
}

fn route(table: &Table<'_>, findings: &mut Findings) -> RouteDraft {
    RouteDraft {
        to: table.require("to", findings).and_then(|field| field.parse(units::prefix, findings)),
        via: table.require("via", findings).and_then(|field| field.parse(units::address, findings)),
        zone: zone(table, findings),
    }
}

fn pool(name: At<String>, table: &Table<'_>, findings: &mut Findings) -> PoolDraft {
    let ranges = table.require("addresses", findings).map(|field| {
        if field.is_empty_list() {
            field.empty(findings);
        }
        field.parse_list(units::address_range, findings)
    });
    let ports = table.get("ports").and_then(|field| ports(&field, findings));
    let behavior = behavior::behavior(table, findings);
    let (blocks, fixed) = behavior::sharing(table, findings);
    PoolDraft { name, ranges: ranges.unwrap_or_default(), ports, behavior, blocks, fixed }
}

/// A port as a number, or a port or range as text.
fn ports(field: &Field<'_>, findings: &mut Findings) -> Option<At<std::ops::RangeInclusive<u16>>> {
    if field.value.is_integer() {
        let port = field.integer::<u16>(1..=65535, findings)?;
        return Some(At { value: port.value..=port.value, at: port.at });
    }
    field.parse(units::ports, findings)
}

fn prefixes(field: Option<Field<'_>>, findings: &mut Findings) -> Vec<At<Ipv4Net>> {
    field.map(|field| field.parse_list(units::prefix, findings)).unwrap_or_default()
}

/// Only where sources are translated anyway there can be one that is not: `may_stay`.
fn source(field: Option<Field<'_>>, may_stay: bool, findings: &mut Findings) -> Option<At<SourceName>> {
    let field = field?;
    let At { value: text, at } = field.text(findings)?;
    if let Some(pool) = text.strip_prefix("pool.") {
        return Some(At { value: SourceName::Pool(pool.to_owned()), at });
    }
    if text == "interface" {
        return Some(At { value: SourceName::Interface, at });
    }
    if text == UNTRANSLATED && may_stay {
        return Some(At { value: SourceName::Untranslated, at });
    }
    let known = "\"interface\", \"pool.NAME\"".to_owned();
    let what = Mistake::UnknownWord {
        key: field.key.into(),
        value: text.to_owned(),
        known: if may_stay { format!("{known}, \"{UNTRANSLATED}\"") } else { known },
        meant: nearest(text, ["interface"].into_iter().chain(may_stay.then_some(UNTRANSLATED))),
    };
    findings.error(at, what);
    None
}

fn name(field: Option<Field<'_>>, findings: &mut Findings) -> Option<At<String>> {
    field?.text(findings).map(|At { value, at }| At { value: value.to_owned(), at })
}

/// A comment is for people: that it is text is all there is to know.
fn comment(table: &Table<'_>, findings: &mut Findings) {
    let _ = table.get("comment").and_then(|field| field.text(findings));
}

fn snat(table: &Table<'_>, findings: &mut Findings) -> SnatDraft {
    comment(table, findings);
    SnatDraft {
        at: table.at,
        on: table.get("on").map(|field| interfaces(&field, findings)),
        zone: zone(table, findings),
        from: members(table.get("from"), findings),
        from_ports: table.get("from_port").map(|field| port_list(&field, findings)),
        to: members(table.get("to"), findings),
        ports: table.get("port").map(|field| port_list(&field, findings)),
        protocols: table.get("protocol").map(|field| protocol_list(&field, findings)),
        out: name(table.get("out"), findings),
        source: source(table.get("source"), true, findings),
        mss_clamp: table
            .get("mss_clamp")
            .and_then(|field| field.integer(MSS, findings))
            .map(|bytes| bytes.value),
    }
}

fn fixed(table: &Table<'_>, findings: &mut Findings) -> StaticDraft {
    comment(table, findings);
    StaticDraft {
        external: table.require("external", findings).and_then(|field| field.parse(units::prefix, findings)),
        internal: table.require("internal", findings).and_then(|field| field.parse(units::prefix, findings)),
        zone: zone(table, findings),
        on: name(table.get("on"), findings),
        inbound: table.get("inbound").and_then(|field| field.boolean(findings)).is_none_or(|on| on.value),
    }
}

fn dnat(table: &Table<'_>, findings: &mut Findings) -> DnatDraft {
    comment(table, findings);
    let target = table.either("on", "address", findings);
    let (on, address) = match target {
        Some(field) if field.key == "on" => (name(Some(field), findings), None),
        Some(field) => (None, field.parse(units::address, findings)),
        None => (None, None),
    };
    DnatDraft {
        on,
        address,
        protocols: table.require("protocol", findings).map(|f| protocols(&f, findings)).unwrap_or_default(),
        ports: table.require("port", findings).and_then(|field| ports(&field, findings)),
        to: table.require("to", findings).map(|field| backends(&field, findings)),
        affinity: table
            .get("affinity")
            .and_then(|field| field.word(AFFINITY, findings))
            .map(|affinity| affinity.value)
            .unwrap_or_default(),
        affinity_timeout: table
            .get("affinity_timeout")
            .and_then(|field| field.parse(units::duration, findings)),
        health: table.get("health").and_then(|field| health(&field, findings)),
        zone: zone(table, findings),
        source: source(table.get("source"), false, findings),
        syn_proxy: table.get("syn_proxy").and_then(|field| field.boolean(findings)),
        drain: table.get("drain").and_then(|field| field.boolean(findings)).is_some_and(|drain| drain.value),
    }
}

fn health(field: &Field<'_>, findings: &mut Findings) -> Option<At<HealthDraft>> {
    let inner = field.table(findings)?;
    let table = Table::open(Section::Health, Section::Health.header().into(), field.at, inner, findings);
    let times = |key, findings: &mut Findings| {
        let number = table.get(key).and_then(|field| field.integer(1..=MAX_IN_A_ROW, findings));
        number.map(|number: At<u8>| number.value)
    };
    let value = HealthDraft {
        by_tcp: table.get("check").and_then(|field| field.word(CHECKS, findings)).map(|check| check.value),
        port: table.get("port").and_then(|field| field.integer(1..=u16::MAX.into(), findings)),
        interval: table.get("interval").and_then(|field| field.parse(units::duration, findings)),
        timeout: table.get("timeout").and_then(|field| field.parse(units::duration, findings)),
        rise: times("rise", findings),
        fall: times("fall", findings),
    };
    Some(At { value, at: field.at })
}

/// A backend, or a list of them; each a text or a table.
fn backends(field: &Field<'_>, findings: &mut Findings) -> At<Vec<BackendDraft>> {
    if field.is_empty_list() {
        field.empty(findings);
    }
    let mut list = Vec::new();
    for item in field.items() {
        let found = if item.value.is_table() {
            let Some(table) = item.table(findings) else { continue };
            backend(
                &Table::open(Section::Backend, Section::Backend.header().into(), item.at, table, findings),
                findings,
            )
        } else {
            let to = item.parse(units::backend, findings);
            to.map(|to| BackendDraft { to, weight: 1, drain: false })
        };
        list.extend(found);
    }
    At { value: list, at: field.at }
}

fn backend(table: &Table<'_>, findings: &mut Findings) -> Option<BackendDraft> {
    let to = table.require("address", findings).and_then(|field| field.parse(units::backend, findings));
    let weight = table.get("weight").and_then(|field| field.integer(1..=MAX_WEIGHT.into(), findings));
    let drain = table.get("drain").and_then(|field| field.boolean(findings));
    Some(BackendDraft {
        to: to?,
        weight: weight.map_or(1, |weight| weight.value),
        drain: drain.is_some_and(|drain| drain.value),
    })
}

fn ban(table: &Table<'_>, findings: &mut Findings) -> BanDraft {
    comment(table, findings);
    let from = table.require("from", findings);
    if let Some(field) = from.filter(Field::is_empty_list) {
        field.empty(findings);
    }
    BanDraft { zone: zone(table, findings), from: members(from, findings) }
}

fn protocols(field: &Field<'_>, findings: &mut Findings) -> Vec<At<u8>> {
    distinct(field, findings, |item, findings| item.word(PROTOCOLS, findings))
}

/// A value, or a list of values of which none is there twice.
fn distinct<T: PartialEq>(
    field: &Field<'_>,
    findings: &mut Findings,
    read: impl Fn(&Field<'_>, &mut Findings) -> Option<At<T>>,
) -> Vec<At<T>> {
    if field.is_empty_list() {
        field.empty(findings);
    }
    let mut found: Vec<At<T>> = Vec::new();
    for item in field.items() {
        let Some(value) = read(&item, findings) else { continue };
        if found.iter().any(|known| known.value == value.value) {
            findings.error(item.at, Mistake::Repeated { key: field.key.into(), value: item.written() });
        } else {
            found.push(value);
        }
    }
    found
}

fn runtime(table: &Table<'_>, findings: &mut Findings) -> RuntimeDraft {
    let workers = i64::try_from(MAX_WORKERS).unwrap_or(i64::MAX);
    RuntimeDraft {
        workers: table.get("workers").and_then(|field| field.integer(1..=workers, findings)),
        cpus: table.get("cpus").and_then(|field| cpus(&field, findings)),
        spread: table.get("spread").and_then(|field| field.word(SPREADS, findings)),
        steering: table.get("steering").and_then(|field| field.word(STEERING, findings)),
        poll: table.get("poll").and_then(|field| field.word(POLL_MODES, findings)).map(|poll| poll.value),
        control: table.get("control").and_then(|field| socket(&field, findings)),
        control_group: table.get("control_group").and_then(|field| group(&field, findings)),
        metrics: table.get("metrics").and_then(|field| field.parse(units::listener, findings)),
        state: table.get("state").and_then(|field| directory(&field, findings)),
        frames: table.get("frames").and_then(|field| field.integer(FRAMES, findings)),
        memory: table
            .get("memory")
            .and_then(|field| field.parse_with_unit(units::mebibytes, ValueError::SizeWithoutUnit, findings)),
        eal: table.get("eal").map(|field| eal(&field, findings)).unwrap_or_default(),
        icmp_errors_per_second: table
            .get("icmp_errors_per_second")
            .and_then(|field| field.integer(0..=1_000_000, findings))
            .map(|rate| rate.value),
    }
}

/// Arguments for EAL. One string instead of a list would be read as one argument although it may hold several.
fn eal(field: &Field<'_>, findings: &mut Findings) -> Vec<String> {
    if !field.value.is_array() {
        field.wrong_type(findings);
        return Vec::new();
    }
    let texts = field.texts(findings);
    for text in texts.iter().filter(|text| EAL_PRINTS.contains(&text.value)) {
        findings.error(text.at, Mistake::EalPrints(text.value.to_owned()));
    }
    texts.into_iter().map(|text| text.value.to_owned()).collect()
}

fn cpus(field: &Field<'_>, findings: &mut Findings) -> Option<At<Vec<usize>>> {
    if !field.value.is_array() {
        field.wrong_type(findings);
        return None;
    }
    let mut cpus: Vec<usize> = Vec::new();
    let mut complete = true;
    for item in field.items() {
        match item.integer::<usize>(CPUS, findings) {
            Some(cpu) if cpus.contains(&cpu.value) => {
                complete = false;
                let value = cpu.value.to_string();
                findings.error(cpu.at, Mistake::Repeated { key: field.key.into(), value });
            }
            Some(cpu) => cpus.push(cpu.value),
            None => complete = false,
        }
    }
    complete.then_some(At { value: cpus, at: field.at })
}

fn socket(field: &Field<'_>, findings: &mut Findings) -> Option<PathBuf> {
    let At { value: text, at } = field.text(findings)?;
    let path = PathBuf::from(text);
    if path.is_absolute() && text.len() <= SOCKET_PATH && !text.contains('\0') {
        return Some(path);
    }
    findings.error(at, Mistake::SocketPath(text.to_owned()));
    None
}

fn directory(field: &Field<'_>, findings: &mut Findings) -> Option<PathBuf> {
    let At { value: text, at } = field.text(findings)?;
    let path = PathBuf::from(text);
    if path.is_absolute() && !text.contains('\0') {
        return Some(path);
    }
    findings.error(at, Mistake::StatePath(text.to_owned()));
    None
}

/// Whether there is such a group, only the machine that the gateway runs on can tell.
fn group(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let At { value: text, at } = field.text(findings)?;
    // What separates fields in group(5).
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/');
    if !text.is_empty() && text.len() <= MAX_NAME && !text.contains(bad) {
        return Some(text.to_owned());
    }
    findings.error(at, Mistake::Group(text.to_owned()));
    None
}

//! The examples, the list of keys and the documentation say the same as the parser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use natgate::config::keys::{Key, Presence, Section};
use natgate::config::{self, Checked, Mistake, presets};
use std::fs;
use std::path::PathBuf;

fn examples() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn every_example_is_valid_and_gives_no_warning() {
    let examples = examples();
    assert!(examples.len() >= 4);
    for path in examples {
        let checked = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(checked.warnings, [], "{}", path.display());
    }
}

#[test]
fn every_example_is_valid_with_its_optional_keys() {
    for path in examples() {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            Some(toml) if toml.starts_with('[') || is_assignment(toml) => toml,
            _ => line,
        });
        let all: Vec<&str> = lines.collect();
        if let Err(errors) = config::parse(&all.join("\n"), &path.display().to_string()) {
            panic!("{errors}");
        }
    }
}

fn is_assignment(text: &str) -> bool {
    let key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    text.split_once(" = ").is_some_and(|(name, _)| key(name))
}

/// Keys and their values.
type Keys = &'static [(&'static str, &'static str)];

/// A valid config with the keys that are required; `change` may add to a section or replace in it.
fn minimal(change: Option<(Section, &Key, &str)>) -> String {
    let sections: &[(Section, &str, Keys)] = &[
        (
            Section::File,
            "[interface.lan]",
            &[("device", "\"tap:a\""), ("realm", "\"internal\""), ("address", "\"192.168.1.1/24\"")],
        ),
        (
            Section::Interface,
            "[interface.wan]",
            &[("device", "\"tap:b\""), ("realm", "\"external\""), ("address", "\"203.0.113.2/24\"")],
        ),
        (Section::Route, "[[route]]", &[("to", "\"172.16.0.0/12\""), ("via", "\"192.168.1.254\"")]),
        (Section::Pool, "[pool.public]", &[("addresses", "\"203.0.113.20\"")]),
        (Section::PortBlocks, "[pool.blocks]\naddresses = \"203.0.113.30\"\n[pool.blocks.port_blocks]", &[]),
        (
            Section::Deterministic,
            "[pool.fixed]\naddresses = \"203.0.113.31\"\n[pool.fixed.deterministic]",
            &[("inside", "\"192.168.1.0/25\"")],
        ),
        (Section::Masquerade, "[masquerade]", &[]),
        (
            Section::Static,
            "[[static]]",
            &[("external", "\"203.0.113.96\""), ("internal", "\"192.168.1.64\"")],
        ),
        (Section::Snat, "[[snat]]", &[]),
        (
            Section::Dnat,
            "[[dnat]]",
            &[("on", "\"wan\""), ("protocol", "\"tcp\""), ("port", "22"), ("to", "\"192.168.1.9\"")],
        ),
        (
            Section::Backend,
            "[[dnat]]\naddress = \"203.0.113.5\"\nprotocol = \"tcp\"\nport = 22\n[[dnat.to]]",
            &[("address", "\"192.168.1.8\"")],
        ),
        (
            Section::Health,
            "[[dnat]]\naddress = \"203.0.113.6\"\nprotocol = \"tcp\"\nport = 22\nto = \"192.168.1.7\"\n[dnat.health]",
            &[],
        ),
        (Section::Ban, "[[ban]]", &[("from", "\"192.0.2.0/24\"")]),
        (Section::Set, "[set.cluster]", &[("prefixes", "[]")]),
        (Section::Notrack, "[[notrack]]", &[("name", "\"cache\"")]),
        (Section::Runtime, "[runtime]", &[]),
        (Section::Conntrack, "[conntrack]", &[]),
        (Section::Timeouts, "[conntrack.timeouts]", &[]),
        (Section::TimeoutSet, "[conntrack.timeout_set.short]", &[]),
        (Section::TrackRule, "[[conntrack.rule]]", &[("timeouts", "\"short\"")]),
        (Section::Alg, "[alg]", &[]),
        (Section::AlgFtp, "[alg.ftp]", &[]),
        (Section::AlgTftp, "[alg.tftp]", &[]),
    ];
    let partner = |key: &str| match key {
        "addresses" => "address",
        "address" => "on",
        _ => "",
    };
    // What a key needs beside it.
    let companion = |section: Section, key: &str, value: &str| match (section, key) {
        (Section::Conntrack, "new_sessions_burst") => "new_sessions_per_source = \"50/s\"\n",
        (Section::TrackRule | Section::Notrack | Section::Snat, "port") => "protocol = \"udp\"\n",
        (Section::Notrack | Section::Snat, "from_port") => "protocol = \"udp\"\n",
        (Section::Dnat, "affinity_timeout") => "affinity = \"source\"\n",
        (Section::Notrack, "tcp_flags") => "protocol = \"tcp\"\nsymmetric = false\n",
        (Section::Notrack, "translate_to") => "to = \"203.0.113.9\"\n",
        (Section::Notrack, "translate_from") => "from = \"192.168.1.64/26\"\n",
        (Section::Notrack, "peers") => "protocol = \"udp\"\nport = 4789\n",
        (Section::Notrack, "policy") if value != "\"open\"" => "from = \"198.51.100.0/24\"\n",
        _ => "",
    };
    // The examples of these belong to an external interface, those of the other keys to an internal one.
    let external = |key: &Key| key.name == "gateway" || key.name == "addresses";
    let change = change.map(|(section, key, value)| match section {
        Section::Interface if !external(key) => (Section::File, key, value),
        section => (section, key, value),
    });
    let mut text = String::new();
    // Such pools need their hosts on one worker each.
    let by_flow = change.is_some_and(|(_, _, value)| value == "\"flow\"");
    let of_hosts = |section: &Section| matches!(section, Section::PortBlocks | Section::Deterministic);
    for (section, header, keys) in sections.iter().filter(|(section, ..)| !(by_flow && of_hosts(section))) {
        text += &format!("{header}\n");
        let changed = change.filter(|(changed, _, _)| changed == section);
        for (name, value) in *keys {
            if !changed.is_some_and(|(_, key, _)| key.name == *name || partner(key.name) == *name) {
                text += &format!("{name} = {value}\n");
            }
        }
        if let Some((_, key, value)) = changed {
            text += &format!("{} = {value}\n{}", key.name, companion(*section, key.name, value));
        }
    }
    text
}

fn valid(text: &str) -> Checked {
    config::parse(text, "x").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn keys() -> impl Iterator<Item = (Section, Key)> {
    Section::ALL.iter().flat_map(|section| section.keys().into_owned().into_iter().map(|key| (*section, key)))
}

#[test]
fn every_declared_key_is_read() {
    for (section, key) in keys() {
        let header = match section {
            Section::File => String::new(),
            section => section.header().replace("NAME", "x"),
        };
        let text = format!("{header}\n{} = 1979-05-27", key.name);
        let errors = config::parse(&text, "x").unwrap_err();
        let at_the_key = errors.errors.iter().filter(|error| error.place.line == 2);
        let what: Vec<&Mistake> = at_the_key.map(|error| &error.what).collect();
        assert!(matches!(what[..], [Mistake::WrongType { .. }]), "{text}\n{errors}");
    }
}

#[test]
fn every_declared_default_is_what_holds_without_the_key() {
    let without = valid(&minimal(None)).config;
    for (section, key) in keys() {
        if let Presence::Default(value) = &key.presence {
            let with = valid(&minimal(Some((section, &key, value)))).config;
            assert_eq!(with, without, "{} = {value}", key.name);
        }
    }
}

#[test]
fn every_declared_example_is_valid() {
    for (section, key) in keys().filter(|(section, _)| *section != Section::File) {
        // A table in a table can be written in one way only.
        if !matches!(&*key.example, "{}" | "[]") {
            valid(&minimal(Some((section, &key, &key.example))));
        }
    }
}

#[test]
fn the_documentation_holds_the_table_of_each_section() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md")).unwrap();
    for section in Section::ALL {
        let table = section.markdown();
        assert!(docs.contains(&table), "docs/config.md lacks, for {}:\n{table}", section.header());
    }
    let table = presets::markdown();
    assert!(docs.contains(&table), "docs/config.md lacks:\n{table}");
}

#[test]
fn every_config_in_the_documentation_is_valid() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md")).unwrap();
    let mut parts = docs.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let smallest = parts.next().unwrap();
    assert_eq!(valid(smallest).warnings, []);
    // What begins with an interface is a whole config; the others are parts of one.
    for part in parts {
        let text = if part.starts_with("interface.") { part.to_owned() } else { format!("{smallest}{part}") };
        assert_eq!(valid(&text).warnings, [], "{part}");
    }
}

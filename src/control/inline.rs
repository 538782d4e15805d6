//! A TOML inline table, as the config file would have it: what rules, classes and sets are written in.

use crate::config::model::Config;
use ipnet::Ipv4Net;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// A table under construction. Nothing that goes into it needs an escape.
#[derive(Default)]
pub(super) struct Inline(Vec<String>);

impl Inline {
    pub(super) fn value(&mut self, key: &str, value: impl Display) {
        self.0.push(format!("{key} = {value}"));
    }

    pub(super) fn text(&mut self, key: &str, value: impl Display) {
        self.value(key, quoted(value));
    }

    /// Where there is one zone only, nobody has to say which.
    pub(super) fn zone(&mut self, key: &str, config: &Config, zone: Option<u16>) {
        if let Some(zone) = zone.filter(|_| config.zones().len() > 1) {
            self.value(key, zone);
        }
    }

    /// Values as they are written: nothing for none, which means any; one alone without brackets.
    pub(super) fn list(&mut self, key: &str, values: &[String]) {
        match values {
            [] => {}
            [one] => self.value(key, one),
            several => self.array(key, several),
        }
    }

    /// Values as they are written, in brackets however many there are.
    pub(super) fn array(&mut self, key: &str, values: &[String]) {
        self.value(key, format_args!("[{}]", values.join(", ")));
    }

    pub(super) fn finish(self) -> String {
        format!("{{ {} }}", self.0.join(", "))
    }
}

pub(super) fn quoted(value: impl Display) -> String {
    format!("\"{value}\"")
}

/// A prefix as a value; an address if it is one.
pub(super) fn prefix(net: &Ipv4Net) -> String {
    match net.prefix_len() {
        32 => quoted(net.addr()),
        _ => quoted(net),
    }
}

/// Ports as a value.
pub(super) fn ports(range: &RangeInclusive<u16>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => quoted(format_args!("{first}-{last}")),
    }
}

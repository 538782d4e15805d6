//! The class that takes the answers to another one's packets, as text for the config.
//!
//! It is the other way round: its clients are the service as it is, and its service are the clients as they are seen. Where
//! only clients may open connections, one that drops openings stands before it.

use crate::classify::notrack::{Addresses, Existing, NotrackClass, OpenedBy};
use crate::config::model::Config;
use crate::wire::protocol;
use ipnet::Ipv4Net;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// The longest name that a class may have.
const MAX_NAME: usize = 32;

/// What the class alone does not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// The zone that clients are in.
    pub(super) zone: u16,
    /// Answers leave by an external interface with the address of an internal service.
    pub(super) exposed: bool,
}

/// The text, for a class without a way back of its own.
pub(super) fn way_back(config: &Config, class: &NotrackClass, around: Surroundings) -> String {
    let takes_tcp = class.protocols.is_empty() || class.protocols.contains(&protocol::TCP);
    let mut text = String::new();
    if takes_tcp && class.opened_by == OpenedBy::Clients {
        let mut lines = Lines::new(&free_name(config, &class.name, "-no-syn"));
        lines.ends(config, class, around);
        lines.add("protocol", "\"tcp\"");
        lines.add("tcp_flags", "[\"syn\", \"!ack\"]");
        lines.add("action", "\"drop\"");
        lines.add("symmetric", false);
        text += &lines.0;
        text.push('\n');
    }
    let mut lines = Lines::new(&free_name(config, &class.name, "-back"));
    lines.ends(config, class, around);
    lines.list("protocol", class.protocols.iter().map(|number| protocol_word(*number)));
    // Each side is translated back.
    if class.translate_to.is_some() {
        lines.list("translate_from", class.to.nets.iter().map(quoted));
    }
    if class.translate_from.is_some() {
        lines.list("translate_to", class.from.nets.iter().map(quoted));
    }
    if class.untranslated || around.exposed {
        lines.add("untranslated", true);
    }
    if class.existing == Existing::Release {
        lines.add("existing", "\"release\"");
    }
    lines.add("symmetric", false);
    text + &lines.0
}

/// A table of the config.
struct Lines(String);

impl Lines {
    fn new(name: &str) -> Lines {
        Lines(format!("[[notrack]]\nname = \"{name}\"\n"))
    }

    fn add(&mut self, key: &str, value: impl Display) {
        self.0 += &format!("{key} = {value}\n");
    }

    /// Nothing if there is none.
    fn list(&mut self, key: &str, values: impl Iterator<Item = String>) {
        let values: Vec<String> = values.collect();
        match values.as_slice() {
            [] => {}
            [one] => self.add(key, one),
            several => self.add(key, format!("[{}]", several.join(", "))),
        }
    }

    /// Who sends answers, and who gets them.
    fn ends(&mut self, config: &Config, class: &NotrackClass, around: Surroundings) {
        self.list("from", real(config, &class.to, class.translate_to));
        self.list("from_port", class.ports.iter().map(ports));
        self.list("to", real(config, &class.from, class.translate_from));
        if config.zones().len() > 1 {
            self.add("to_zone", around.zone);
        }
        self.list("port", class.from_ports.iter().map(ports));
    }
}

/// Addresses as they are behind the translation.
fn real<'a>(
    config: &'a Config,
    addresses: &'a Addresses,
    translated: Option<Ipv4Net>,
) -> impl Iterator<Item = String> + 'a {
    let sets = addresses.sets.iter().filter_map(|set| config.sets.get(*set));
    let as_written = addresses.nets.iter().map(quoted).chain(sets.map(|set| format!("\"set.{}\"", set.name)));
    translated
        .iter()
        .map(quoted)
        .collect::<Vec<_>>()
        .into_iter()
        .chain(as_written.filter(move |_| translated.is_none()))
}

fn quoted(net: &Ipv4Net) -> String {
    if net.prefix_len() == 32 { format!("\"{}\"", net.addr()) } else { format!("\"{net}\"") }
}

fn ports(range: &RangeInclusive<u16>) -> String {
    let (first, last) = (range.start(), range.end());
    if first == last { first.to_string() } else { format!("\"{first}-{last}\"") }
}

fn protocol_word(number: u8) -> String {
    let name = if number == protocol::ESP { Some("esp") } else { protocol::name(number) };
    name.map_or_else(|| number.to_string(), |name| format!("\"{name}\""))
}

/// A name that no class has.
fn free_name(config: &Config, of: &str, ending: &str) -> String {
    let is_taken = |name: &str| config.notrack.iter().any(|class| class.name == name);
    let named = |ending: &str| {
        let room = MAX_NAME.saturating_sub(ending.len());
        format!("{}{ending}", of.chars().take(room).collect::<String>())
    };
    let numbered = (2..).map(|number| named(&format!("{ending}{number}")));
    std::iter::once(named(ending)).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

//! The class that takes a service's packets, in the words of the config, and what is lost with its sessions.

use super::groups::{Group, Service};
use super::judge::{arrivals, forward_of};
use crate::config::presets::{PRESETS, Preset};
use crate::control::running::Running;
use crate::control::tally::protocol_name;
use std::fmt::Write;

/// The preset for a service.
fn preset(service: &Service) -> Option<&'static str> {
    let is_for =
        |preset: &&Preset| preset.port == service.port && preset.protocols.contains(&service.protocol);
    PRESETS.iter().find(is_for).map(|preset| preset.name)
}

/// Names of classes that are taken.
pub(super) struct Names(Vec<String>);

impl Names {
    /// Those of the configuration.
    pub(super) fn of(running: &Running) -> Names {
        Names(running.config.notrack.iter().map(|class| class.name.clone()).collect())
    }

    /// One for the service, that no other class has.
    pub(super) fn give(&mut self, service: &Service) -> String {
        let protocol = protocol_name(service.protocol);
        let first = match preset(service) {
            Some(preset) => format!("{preset}-{protocol}"),
            None => format!("{protocol}-{}", service.port),
        };
        let others = (2u32..).map(|number| format!("{first}-{number}"));
        let name = std::iter::once(first.clone()).chain(others).find(|name| !self.0.contains(name));
        let name = name.unwrap_or(first);
        self.0.push(name.clone());
        name
    }
}

/// The class as it is to be pasted. `None`: the service has no backend.
pub(super) fn class(running: &Running, service: &Service, group: &Group, name: &str) -> Option<String> {
    let (to, (backend, _)) = (service.to?, service.backend?);
    let names: Vec<_> = arrivals(running, service)
        .iter()
        .map(|id| format!("\"{}\"", running.snapshot.interface(*id).name))
        .collect();
    let on = match &names[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let mut text = format!("[[notrack]]\nname = \"{name}\"\n");
    let mut line = |key: &str, value: String| {
        // Into a string, which can not fail.
        let _ = writeln!(text, "{key} = {value}");
    };
    if let Some(preset) = preset(service) {
        line("preset", format!("\"{preset}\""));
    }
    line("on", on);
    line("to", format!("\"{to}\""));
    if running.config.zones().len() > 1 {
        line("to_zone", service.answers_from.1.to_string());
    }
    line("protocol", format!("\"{}\"", protocol_name(service.protocol)));
    line("port", service.port.to_string());
    line("translate_to", format!("\"{backend}\""));
    if let Some(sources) = group.sources.few() {
        let list: Vec<_> = sources.iter().map(|source| format!("\"{source}\"")).collect();
        text.push_str("# Every client that was seen; policy = \"allow-listed\" keeps all others out,\n");
        text.push_str("# also hosts inside that use the public address:\n");
        let _ = writeln!(text, "# from = [{}]", list.join(", "));
    }
    Some(text)
}

/// What the service has now and will not have.
pub(super) fn losses(running: &Running, service: &Service) -> Vec<String> {
    let limits = &running.snapshot.conntrack.limits;
    let mut losses =
        vec!["its packets are checked one by one: nobody looks at states, windows and timeouts".to_owned()];
    if limits.count_sources() {
        losses.push("limits per source do not hold for it".to_owned());
    }
    if forward_of(running, service).is_some_and(|forward| forward.syn_proxy) {
        losses.push("the SYN proxy in front of it is passed by".to_owned());
    }
    losses
}

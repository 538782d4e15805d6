//! Notrack classes and the sets that they name: the same if their names are. The order of classes has a meaning.

use super::links::matched;
use super::rules::Lists;
use super::{Diff, words};
use crate::classify::notrack::{Answers, NotrackClass, TcpFlags, Verdict};
use crate::config::model::{Config, SetConfig};
use std::collections::HashMap;
use std::fmt::Display;

pub(super) fn sets(diff: &mut Diff, before: &[SetConfig], after: &[SetConfig]) {
    for pair in matched(before, after, |set| set.name.as_str()) {
        match pair {
            (Some(SetConfig { name, prefixes }), Some(new)) => {
                list(diff, format!("set {name}"), prefixes, &new.prefixes, "nobody");
            }
            (None, Some(SetConfig { name, prefixes })) => {
                diff.added(format!("set {name}: {}", list_or("nobody")(prefixes)));
            }
            (Some(old), None) => diff.removed(format!("set {}", old.name)),
            (None, None) => {}
        }
    }
}

pub(super) fn classes(diff: &mut Diff, before: &Config, after: &Config) {
    Lists {
        before,
        after,
        list: |config| &config.notrack,
        matches: |_, class| class.name.as_str(),
        // What else differs is told key by key.
        does: |_, _| (),
        matches_words: |_, class| format!("notrack {}", class.name),
        does_words: class,
        ordered: true,
    }
    .compare(diff);
    let known: HashMap<&str, &NotrackClass> =
        before.notrack.iter().map(|class| (class.name.as_str(), class)).collect();
    for new in &after.notrack {
        if let Some(old) = known.get(new.name.as_str()) {
            changed(diff, (before, old), (after, new));
        }
    }
}

fn changed(diff: &mut Diff, (before, old): (&Config, &NotrackClass), (after, new): (&Config, &NotrackClass)) {
    let NotrackClass {
        name,
        preset,
        on,
        zone,
        from,
        from_ports,
        to,
        to_zone,
        ports,
        protocols,
        flags,
        verdict,
        translate_from,
        translate_to,
        untranslated,
        answers,
        policy,
        opened_by,
        existing,
    } = old;
    let of = |key: &str| format!("notrack {name} {key}");
    diff.value(of("preset"), preset, &new.preset, or("none"));
    list(diff, of("on"), &words::interface_names(before, on), &words::interface_names(after, &new.on), "any");
    diff.value(of("zone"), zone, &new.zone, or("any"));
    list(diff, of("from"), &words::members(before, from), &words::members(after, &new.from), "any");
    list(diff, of("from_port"), &words::port_list(from_ports), &words::port_list(&new.from_ports), "any");
    list(diff, of("to"), &words::members(before, to), &words::members(after, &new.to), "any");
    diff.value(of("to_zone"), to_zone, &new.to_zone, u16::to_string);
    list(diff, of("port"), &words::port_list(ports), &words::port_list(&new.ports), "any");
    list(diff, of("protocol"), &words::protocols(protocols), &words::protocols(&new.protocols), "any");
    diff.value(of("tcp_flags"), flags, &new.flags, |flags| flags.map_or_else(|| "any".into(), flag_words));
    diff.value(of("action"), verdict, &new.verdict, |value| value.name().to_owned());
    diff.value(of("translate_from"), translate_from, &new.translate_from, or("none"));
    diff.value(of("translate_to"), translate_to, &new.translate_to, or("none"));
    diff.value(of("untranslated"), untranslated, &new.untranslated, bool::to_string);
    diff.value(of("answers"), answers, &new.answers, |answers| answer_words(*answers).into());
    diff.value(of("policy"), policy, &new.policy, |value| value.name().to_owned());
    diff.value(of("opened_by"), opened_by, &new.opened_by, |value| value.name().to_owned());
    diff.value(of("existing"), existing, &new.existing, |value| value.name().to_owned());
}

fn or<T: Display>(none: &'static str) -> impl Fn(&Option<T>) -> String {
    move |value| value.as_ref().map_or_else(|| none.into(), T::to_string)
}

/// Notes two lists whose order means nothing, of which an empty one has a meaning of its own.
fn list<T: Ord + Clone + Display>(diff: &mut Diff, what: String, before: &[T], after: &[T], empty: &str) {
    let sorted = |entries: &[T]| {
        let mut entries = entries.to_vec();
        entries.sort_unstable();
        entries
    };
    if sorted(before) == sorted(after) {
        return;
    }
    if before.is_empty() || after.is_empty() {
        diff.value(what, before, after, list_or(empty));
    } else {
        diff.list(what, before, after);
    }
}

fn list_or<T: Display>(empty: &str) -> impl Fn(&[T]) -> String {
    move |list| if list.is_empty() { empty.to_owned() } else { words::list(list) }
}

fn flag_words(flags: TcpFlags) -> String {
    flags.words().collect::<Vec<_>>().join(", ")
}

fn answer_words(answers: Answers) -> &'static str {
    match answers {
        Answers::Mirrored => "symmetric",
        Answers::SamePort => "symmetric, peers",
        Answers::Elsewhere => "none",
    }
}

/// What a new class takes in, and what it does with it.
fn class(config: &Config, class: &NotrackClass) -> String {
    let matched = words::matched([
        ("on", words::some_list(&words::interface_names(config, &class.on))),
        ("zone", class.zone.map(|zone| zone.to_string())),
        ("from", words::some_list(&words::members(config, &class.from))),
        ("from_port", words::some_list(&words::port_list(&class.from_ports))),
        ("to", words::some_list(&words::members(config, &class.to))),
        ("port", words::some_list(&words::port_list(&class.ports))),
        ("protocol", words::some_list(&words::protocols(&class.protocols))),
        ("tcp_flags", class.flags.map(flag_words)),
        ("translate_from", class.translate_from.map(|net| net.to_string())),
        ("translate_to", class.translate_to.map(|net| net.to_string())),
        ("policy", (class.verdict == Verdict::Forward).then(|| class.policy.name().to_owned())),
        ("answers", Some(answer_words(class.answers).to_owned())),
    ]);
    class.verdict.name().to_owned() + &matched
}

//! The text of `natgate show rules`.

use super::table::{Align, Table, duration, grouped, hanging, size};
use crate::control::api;
use std::io::{self, Write};

/// Writes the rules of each kind under a heading, one a line, longer ones wrapped; behind notrack classes what each did.
pub fn write_rules(out: &mut dyn Write, list: &api::Rules) -> io::Result<()> {
    if list.total == 0 {
        return writeln!(out, "The config has no rules: no source is translated and no port is forwarded.");
    }
    let number = width(list.rules.iter().map(|rule| rule.number.to_string()), 0);
    let figures = width(list.rules.iter().map(figure), "sessions".len());
    for (place, rules) in list.rules.chunk_by(|one, next| one.kind == next.kind).enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        let kind = rules.first().map_or("", |rule| rule.kind.as_str());
        let (heading, what) = match kind {
            "notrack" => ("packets", "class"),
            "ban" => ("", "rule"),
            "set" => ("prefixes", "set"),
            _ => ("sessions", "rule"),
        };
        writeln!(out, "{kind:head$}  {heading:>figures$}  {what}", head = number + kind.len() + 1)?;
        for rule in rules {
            let head = format!("{kind} {:>number$}  {:>figures$}  ", rule.number, figure(rule));
            hanging(out, &head, &text_of(rule))?;
        }
        write_classes(out, rules)?;
    }
    let shown = list.rules.len() as u64;
    if shown < list.total {
        writeln!(out, "\n{} more (--limit)", grouped(list.total - shown))?;
    }
    Ok(())
}

/// What a rule is measured by: sessions that it made, packets that a class let pass, prefixes of a set.
fn figure(rule: &api::Rule) -> String {
    let passed = rule.class.as_ref().map(|class| class.there.packets.saturating_add(class.back.packets));
    rule.sessions.or(passed).or(rule.prefixes).map(grouped).unwrap_or_default()
}

fn text_of(rule: &api::Rule) -> String {
    let drained = if rule.drained { " (drained: no new sessions)" } else { "" };
    let down =
        if rule.down.is_empty() { String::new() } else { format!(" (down: {})", rule.down.join(", ")) };
    match (&rule.name, rule.prefixes) {
        // A set's name is no part of its table.
        (Some(name), Some(_)) => format!("{name} {}", rule.text),
        _ => format!("{}{drained}{down}", rule.text),
    }
}

/// What classes did, each way; nothing if none of the rules is one.
fn write_classes(out: &mut dyn Write, rules: &[api::Rule]) -> io::Result<()> {
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("there", Align::Right),
        ("back", Align::Right),
        ("bytes", Align::Right),
        ("dropped", Align::Right),
        ("last hit", Align::Right),
        ("state", Align::Left),
    ]);
    let mut classes = rules.iter().filter_map(|rule| Some((rule, rule.class.as_ref()?))).peekable();
    if classes.peek().is_none() {
        return Ok(());
    }
    for (rule, class) in classes {
        let api::ClassStatus { there, back, .. } = class;
        let last = there.last_seconds.into_iter().chain(back.last_seconds).min();
        table.row([
            rule.name.clone().unwrap_or_default(),
            grouped(there.packets),
            grouped(back.packets),
            size(there.bytes.saturating_add(back.bytes)),
            grouped(there.dropped.saturating_add(back.dropped)),
            last.map_or_else(|| "never".to_owned(), duration),
            state(class),
        ]);
    }
    writeln!(out)?;
    table.write(out)
}

fn state(class: &api::ClassStatus) -> String {
    match (class.state.as_str(), class.silent_way.as_deref()) {
        ("asymmetric", Some("back")) => "asymmetric: nothing comes back".to_owned(),
        ("asymmetric", _) => "asymmetric: nothing goes there".to_owned(),
        ("silent", _) => format!("silent for {}", duration(class.known_seconds)),
        (state, _) => state.to_owned(),
    }
}

fn width(cells: impl Iterator<Item = String>, least: usize) -> usize {
    cells.map(|cell| cell.len()).max().unwrap_or(0).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: &str, number: u64, text: &str, sessions: Option<u64>) -> api::Rule {
        api::Rule {
            kind: kind.into(),
            number,
            name: None,
            text: text.into(),
            sessions,
            drained: false,
            down: Vec::new(),
            class: None,
            prefixes: None,
        }
    }

    fn class(number: u64, name: &str, state: &str, packets: [u64; 2], last: Option<u64>) -> api::Rule {
        let way = |packets| api::ClassWay { packets, bytes: packets * 600, dropped: 7, last_seconds: last };
        let silent_way = (state == "asymmetric").then(|| "back".to_owned());
        let class = Some(api::ClassStatus {
            state: state.into(),
            silent_way,
            known_seconds: 7_200,
            there: way(packets[0]),
            back: way(packets[1]),
        });
        let text =
            format!("{{ name = \"{name}\", action = \"forward\", symmetric = true, existing = \"keep\" }}");
        api::Rule { name: Some(name.into()), class, ..rule("notrack", number, &text, None) }
    }

    fn text(list: &api::Rules) -> String {
        let mut out = Vec::new();
        write_rules(&mut out, list).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_kind_has_a_heading_and_each_rule_its_number_and_sessions() {
        let long =
            "{ address = \"203.0.113.17\", protocol = \"tcp\", port = 443, to = \"192.168.1.11:8443\" }";
        let rules = vec![
            rule("snat", 1, "{ source = \"interface\" }", Some(1_234_567)),
            api::Rule { drained: true, ..rule("dnat", 12, long, Some(0)) },
            rule("ban", 1, "{ from = \"192.168.1.66\" }", None),
        ];
        let expected = "\
snat      sessions  rule
snat  1  1,234,567  { source = \"interface\" }

dnat      sessions  rule
dnat 12          0  { address = \"203.0.113.17\", protocol = \"tcp\", port = 443, to
                    = \"192.168.1.11:8443\" } (drained: no new sessions)

ban                rule
ban  1             { from = \"192.168.1.66\" }

7 more (--limit)
";
        assert_eq!(text(&api::Rules { total: 10, rules }), expected);
    }

    #[test]
    fn classes_have_their_figures_each_way_and_their_state_and_sets_their_size() {
        let rules = vec![
            class(1, "cache", "asymmetric", [12_345_678, 0], Some(3)),
            class(2, "tunnels-of-the-second-data-centre", "silent", [0, 0], None),
            api::Rule {
                name: Some("peers".into()),
                prefixes: Some(100_000),
                ..rule("set", 1, "{ prefixes = [\"10.0.0.0/16\"] } and 99,999 more", None)
            },
        ];
        let expected = "\
notrack       packets  class
notrack 1  12,345,678  { name = \"cache\", action = \"forward\", symmetric = true,
                       existing = \"keep\" }
notrack 2           0  { name = \"tunnels-of-the-second-data-centre\", action =
                       \"forward\", symmetric = true, existing = \"keep\" }

class                                  there back   bytes dropped last hit state
cache                             12,345,678    0 6.9 GiB      14       3s
    asymmetric: nothing comes back
tunnels-of-the-second-data-centre          0    0     0 B      14    never
    silent for 2h

set      prefixes  set
set 1     100,000  peers { prefixes = [\"10.0.0.0/16\"] } and 99,999 more
";
        assert_eq!(text(&api::Rules { total: 3, rules }), expected);
    }

    #[test]
    fn a_config_without_rules_says_so() {
        assert!(text(&api::Rules { total: 0, rules: vec![] }).starts_with("The config has no rules"));
    }
}

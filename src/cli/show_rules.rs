//! The text of `natgate show rules`.

use super::table::{grouped, hanging};
use crate::control::api;
use std::io::{self, Write};

/// Writes the rules of each kind under a heading, one a line, longer ones wrapped.
pub fn write_rules(out: &mut dyn Write, list: &api::Rules) -> io::Result<()> {
    if list.total == 0 {
        return writeln!(out, "The config has no rules: no source is translated and no port is forwarded.");
    }
    let widths = (
        width(list.rules.iter().map(|rule| rule.number.to_string()), 0),
        width(list.rules.iter().map(sessions), "sessions".len()),
    );
    let mut kind = "";
    for rule in &list.rules {
        if rule.kind != kind {
            if !kind.is_empty() {
                writeln!(out)?;
            }
            kind = &rule.kind;
            let (number, made) = widths;
            let number = number + kind.len() + 1;
            writeln!(out, "{kind:number$}  {:>made$}  rule", if kind == "ban" { "" } else { "sessions" })?;
        }
        let (number, made) = widths;
        let head = format!("{kind} {:>number$}  {:>made$}  ", rule.number, sessions(rule));
        let drained = if rule.drained { " (drained: no new sessions)" } else { "" };
        hanging(out, &head, &format!("{}{drained}", rule.text))?;
    }
    let shown = list.rules.len() as u64;
    if shown < list.total {
        writeln!(out, "\n{} more (--limit)", grouped(list.total - shown))?;
    }
    Ok(())
}

fn sessions(rule: &api::Rule) -> String {
    rule.sessions.map(grouped).unwrap_or_default()
}

fn width(cells: impl Iterator<Item = String>, least: usize) -> usize {
    cells.map(|cell| cell.len()).max().unwrap_or(0).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: &str, number: u64, text: &str, sessions: Option<u64>) -> api::Rule {
        api::Rule { kind: kind.into(), number, text: text.into(), sessions, drained: false }
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
    fn a_config_without_rules_says_so() {
        assert!(text(&api::Rules { total: 0, rules: vec![] }).starts_with("The config has no rules"));
    }
}

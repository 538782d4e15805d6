//! The text of `natgate show events`.

use super::table::{columns, wrapped};
use crate::control::api;
use std::io::{self, Write};

const ALARM: &str = "\x1b[1;31m";
const RELIEF: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";
/// What stands under the head of an event is indented by so much.
const INDENT: usize = 4;

/// Writes each event with its time and kind, and below that what happened; the newest last, where a terminal's reader
/// looks first.
pub fn write_events(out: &mut dyn Write, events: &api::Events, colour: bool) -> io::Result<()> {
    if events.events.is_empty() {
        return writeln!(out, "No events.");
    }
    events.events.iter().try_for_each(|event| write_event(out, event, colour))
}

/// Writes one event.
pub fn write_event(out: &mut dyn Write, event: &api::Event, colour: bool) -> io::Result<()> {
    let (start, end) = match (colour, event.relief) {
        (false, _) => ("", ""),
        (true, false) => (ALARM, PLAIN),
        (true, true) => (RELIEF, PLAIN),
    };
    writeln!(out, "{:>5}  {}  {start}{}{end}", event.number, event.at, event.kind)?;
    wrapped(out, &event.text, INDENT, columns())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_head_and_a_wrapped_sentence() {
        let event = |number, relief, text: &str| api::Event {
            number,
            at: "2030-01-02T03:04:05.678Z".into(),
            kind: "table_full".into(),
            relief,
            text: text.into(),
        };
        let long = "word ".repeat(30);
        let events =
            api::Events { total: 2, events: vec![event(1, false, "It is full."), event(2, true, &long)] };
        let text = |colour| {
            let mut out = Vec::new();
            write_events(&mut out, &events, colour).unwrap();
            String::from_utf8(out).unwrap()
        };
        let plain = text(false);
        assert!(
            plain.starts_with("    1  2030-01-02T03:04:05.678Z  table_full\n    It is full.\n"),
            "{plain}"
        );
        assert!(plain.lines().all(|line| line.len() <= columns()), "{plain}");
        assert!(!plain.contains('\x1b'));
        assert!(text(true).contains("\x1b[1;31mtable_full\x1b[0m"));
    }
}

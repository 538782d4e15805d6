//! The part of `natgate show status` that says how full the session table is, how fast it fills, and whom that hurts.

use super::table::{duration, grouped, labelled, percent};
use crate::control::api;
use std::io::{self, Write};

/// Characters between the brackets of the bar.
const BAR: u64 = 36;
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// Writes the block. `colour`: the bar's colour says what its level says.
pub fn write_pressure(
    out: &mut dyn Write,
    sessions: &api::Usage,
    pressure: &api::Pressure,
    colour: bool,
) -> io::Result<()> {
    let (start, end) = match (colour, pressure.level.as_str()) {
        (false, _) => ("", ""),
        (true, "normal") => (GREEN, PLAIN),
        (true, "low") => (YELLOW, PLAIN),
        (true, _) => (RED, PLAIN),
    };
    writeln!(
        out,
        "table     {start}[{}]{end} {}, {}",
        bar(sessions.used, sessions.capacity),
        percent(sessions.used, sessions.capacity.max(1)),
        level(&pressure.level),
    )?;
    let new = format!(
        "{}/s now; sustainable: {}/s of short TCP, {}/s of UDP",
        grouped(pressure.new_per_second),
        grouped(pressure.sustainable_tcp_per_second),
        grouped(pressure.sustainable_udp_per_second),
    );
    labelled(out, "new", &new)?;
    let growth = match pressure.growth_per_second {
        0 => "no growth".to_owned(),
        n if n > 0 => format!("grows by {}/s", grouped(n.unsigned_abs())),
        n => format!("shrinks by {}/s", grouped(n.unsigned_abs())),
    };
    let full = match pressure.seconds_to_full {
        Some(0) => format!("now; {growth}"),
        Some(seconds) => format!("in {} at this rate; {growth}", duration(seconds)),
        None => format!("not at this rate; {growth}"),
    };
    labelled(out, "full", &full)?;
    let half_open = format!(
        "{} ({} of the table; TCP before the end of its handshake)",
        grouped(pressure.half_open),
        percent(pressure.half_open, sessions.capacity.max(1)),
    );
    labelled(out, "half-open", &half_open)?;
    write_toll(out, "evicted", pressure.evicted_per_second, &pressure.evicted)?;
    write_toll(out, "refused", pressure.refused_per_second, &pressure.refused)
}

fn level(name: &str) -> &'static str {
    match name {
        "normal" => "below its watermarks",
        "low" => "timeouts shrink",
        "high" => "nearly full",
        _ => "full",
    }
}

fn bar(used: u64, capacity: u64) -> String {
    let filled = (u128::from(used.min(capacity)) * u128::from(BAR)).checked_div(u128::from(capacity));
    let filled = usize::try_from(filled.unwrap_or(0)).unwrap_or(0);
    (0..usize::try_from(BAR).unwrap_or(0)).map(|at| if at < filled { '#' } else { '.' }).collect()
}

/// The rate, the sum since the start, and what it is made of.
fn write_toll(out: &mut dyn Write, label: &str, rate: u64, parts: &[api::Toll]) -> io::Result<()> {
    let sum: u64 = parts.iter().map(|part| part.sessions).sum();
    let parts = parts.iter().filter(|part| part.sessions > 0);
    let parts: Vec<_> = parts.map(|part| format!("{} {}", part.reason, grouped(part.sessions))).collect();
    let colon = if parts.is_empty() { "" } else { ": " };
    let text = format!("{}/s; {} since the start{colon}{}", grouped(rate), grouped(sum), parts.join(", "));
    labelled(out, label, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pressure: &api::Pressure, used: u64, colour: bool) -> String {
        let mut out = Vec::new();
        write_pressure(&mut out, &api::Usage { used, capacity: 524_288 }, pressure, colour).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn toll(reason: &str, sessions: u64) -> api::Toll {
        api::Toll { reason: reason.into(), sessions, help: "Help.".into() }
    }

    #[test]
    fn a_table_that_fills_says_when_it_is_full_and_whom_that_hurts() {
        let pressure = api::Pressure {
            level: "low".into(),
            full_at: 519_046,
            new_per_second: 60_000,
            growth_per_second: 1_000,
            refused_per_second: 0,
            evicted_per_second: 250,
            sustainable_tcp_per_second: 4_369,
            sustainable_udp_per_second: 17_476,
            seconds_to_full: Some(90),
            half_open: 5_243,
            evicted: vec![toll("half_open", 0), toll("unreplied", 1_200), toll("closing", 34)],
            refused: vec![toll("session_table_full", 0)],
        };
        let expected = "\
table     [##############################......] 83.9 %, timeouts shrink
new       60,000/s now; sustainable: 4,369/s of short TCP, 17,476/s of UDP
full      in 1m 30s at this rate; grows by 1,000/s
half-open 5,243 (1.0 % of the table; TCP before the end of its handshake)
evicted   250/s; 1,234 since the start: unreplied 1,200, closing 34
refused   0/s; 0 since the start
";
        let plain = text(&pressure, 440_000, false);
        assert_eq!(plain, expected);
        assert!(plain.lines().all(|line| line.len() <= 80));
        assert!(text(&pressure, 440_000, true).contains("\x1b[33m[####"));
    }

    #[test]
    fn a_table_at_rest_is_not_full_at_any_time() {
        let pressure = api::Pressure { level: "normal".into(), ..api::Pressure::default() };
        let text = text(&pressure, 0, false);
        assert!(text.contains("full      not at this rate; no growth"), "{text}");
        assert!(text.starts_with("table     [....................................] 0.0 %, below"), "{text}");
    }
}

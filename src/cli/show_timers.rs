//! The text of `natgate show timers`.

use super::table::{Align, Table, duration, grouped};
use crate::control::api;
use std::io::{self, Write};
use std::time::Duration;

/// Writes the first timeout set as a whole, and of each further one what differs from it, or with `all` everything;
/// then how the timers are doing.
pub fn write_timers(out: &mut dyn Write, timers: &api::Timers, all: bool) -> io::Result<()> {
    let first = timers.sets.first();
    for (number, set) in timers.sets.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let differs = |timeout: &&api::Timeout| {
            let same = |other: &api::Timeout| other.name == timeout.name && other.seconds == timeout.seconds;
            number == 0 || all || !first.is_some_and(|first| first.timeouts.iter().any(same))
        };
        let shown: Vec<_> = set.timeouts.iter().filter(differs).collect();
        let left_out = number > 0 && shown.len() < set.timeouts.len();
        let note = match (left_out, shown.is_empty()) {
            (false, _) => "",
            (true, false) => ", where it differs from the first",
            (true, true) => ": the same as the first",
        };
        writeln!(out, "timeout set {}{note}", set.name)?;
        if !shown.is_empty() {
            write_set(out, &shown)?;
        }
    }
    if timers.workers.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let columns = ["worker", "armed", "pending", "lag", "posts lost", "last sweep"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Right)));
    for worker in &timers.workers {
        table.row([
            worker.worker.to_string(),
            grouped(worker.armed),
            grouped(worker.pending),
            format!("{:.1}s", worker.lag_seconds),
            grouped(worker.posts_lost),
            worker.last_sweep_seconds.map_or_else(|| "-".into(), |length| format!("{length:.1}s")),
        ]);
    }
    table.write(out)
}

fn write_set(out: &mut dyn Write, timeouts: &[&api::Timeout]) -> io::Result<()> {
    let mut table = Table::new(&[
        ("timeout", Align::Left),
        ("length", Align::Right),
        ("default", Align::Right),
        ("linux", Align::Right),
        ("at least", Align::Right),
        ("by", Align::Left),
    ]);
    for timeout in timeouts {
        table.row([
            timeout.name.clone(),
            length(timeout.seconds),
            length(timeout.default_seconds),
            length(timeout.linux_seconds),
            timeout.minimum_seconds.map(length).unwrap_or_default(),
            timeout.rfc.clone().unwrap_or_default(),
        ]);
    }
    table.write(out)
}

/// Whole seconds as people say them, others as they are.
fn length(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(length) if length.subsec_nanos() == 0 => duration(length.as_secs()),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(name: &str, seconds: f64, rfc: Option<(f64, &str)>) -> api::Timeout {
        api::Timeout {
            name: name.into(),
            seconds,
            default_seconds: 300.0,
            linux_seconds: 30.0,
            minimum_seconds: rfc.map(|(least, _)| least),
            rfc: rfc.map(|(_, rfc)| rfc.into()),
            help: "Help.".into(),
        }
    }

    #[test]
    fn further_sets_show_what_differs() {
        let udp = |seconds| timeout("udp", seconds, Some((120.0, "RFC 4787 REQ-5")));
        let set = |name: &str, timeouts| api::TimeoutSet { name: name.into(), timeouts };
        let gre = || timeout("gre", 1.5, None);
        let timers = api::Timers {
            sets: vec![
                set("default", vec![udp(7440.0), gre()]),
                set("dns", vec![udp(10.0), gre()]),
                set("same", vec![udp(7440.0), gre()]),
            ],
            workers: vec![api::WorkerTimers {
                worker: 0,
                armed: 20_000,
                pending: 3,
                lag_seconds: 0.2,
                posts_lost: 0,
                last_sweep_seconds: None,
            }],
        };
        let text = |all| {
            let mut out = Vec::new();
            write_timers(&mut out, &timers, all).unwrap();
            String::from_utf8(out).unwrap()
        };
        let expected = "\
timeout set default
timeout  length  default  linux  at least  by
udp       2h 4m       5m    30s        2m  RFC 4787 REQ-5
gre        1.5s       5m    30s

timeout set dns, where it differs from the first
timeout  length  default  linux  at least  by
udp         10s       5m    30s        2m  RFC 4787 REQ-5

timeout set same: the same as the first

worker   armed  pending   lag  posts lost  last sweep
     0  20,000        3  0.2s           0           -
";
        assert_eq!(text(false), expected);
        assert_eq!(text(true).matches("gre  ").count(), 3);
    }

    #[test]
    fn every_timeout_fits_in_80_columns() {
        use crate::conntrack::timeouts::Timeout;
        let row = |timeout: &Timeout| api::Timeout {
            name: timeout.name().into(),
            seconds: 431_999.5,
            default_seconds: timeout.default_length().as_secs_f64(),
            linux_seconds: timeout.linux_default().as_secs_f64(),
            minimum_seconds: timeout.minimum().map(|(least, _)| least.as_secs_f64()),
            rfc: timeout.minimum().map(|(_, rfc)| rfc.into()),
            help: timeout.help().into(),
        };
        let set =
            api::TimeoutSet { name: "default".into(), timeouts: Timeout::ALL.iter().map(row).collect() };
        let worker = api::WorkerTimers {
            worker: 0,
            armed: 4_294_967_295,
            pending: 10_000,
            lag_seconds: 86_400.0,
            posts_lost: 4_294_967_295,
            last_sweep_seconds: Some(86_400.0),
        };
        let mut out = Vec::new();
        write_timers(&mut out, &api::Timers { sets: vec![set], workers: vec![worker] }, true).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let long: Vec<_> = shown.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{long:#?}");
    }
}

//! The text of `natgate show status`.

use super::live::Before;
use super::show_pressure::write_pressure;
use super::table::{Align, Table, duration, grouped, labelled, per_second, percent};
use crate::control::api;
use std::io::{self, Write};

/// Writes what the gateway is, how full its session table is, what became of packets, and what each worker did; with
/// packets a second if there was an answer before. `colour`: as on a terminal.
pub fn write_status(
    out: &mut dyn Write,
    status: &api::Status,
    before: Option<Before<'_, api::Status>>,
    colour: bool,
) -> io::Result<()> {
    let dpdk = status.dpdk.as_ref().map(|version| format!(" with DPDK {version}")).unwrap_or_default();
    let total = &status.total;
    let sessions = &status.sessions;
    writeln!(out, "natgate {}{dpdk}, process {}", status.version, status.pid)?;
    labelled(out, "config", &status.config)?;
    labelled(out, "up", &format!("{} (since {})", duration(status.uptime_seconds), status.started))?;
    let (used, capacity) = (grouped(sessions.used), grouped(sessions.capacity));
    let share = percent(sessions.used, sessions.capacity);
    let (created, removed) = (grouped(total.sessions_created), grouped(total.sessions_removed));
    let text =
        format!("{used} of {capacity} ({share}); {created} created, {removed} removed since the start");
    labelled(out, "sessions", &text)?;
    if let Some(pressure) = &status.pressure {
        write_pressure(out, sessions, pressure, colour)?;
    }
    writeln!(out)?;
    write_packets(out, status, before)?;
    writeln!(out)?;
    let made = format!(
        "{} sent, {} not sent; {} ICMP errors over the limit",
        grouped(total.generated),
        grouped(total.generated_lost),
        grouped(total.icmp_limited),
    );
    labelled(out, "made here", &made)?;
    if total.syn_cookies_sent > 0 {
        let proxied = format!(
            "{} SYNs answered with a cookie, {} cookies came back; backends asked again {} times, given up {} times",
            grouped(total.syn_cookies_sent),
            grouped(total.syn_cookies_valid),
            grouped(total.syn_proxy_retries),
            grouped(total.syn_proxy_given_up),
        );
        labelled(out, "SYN proxy", &proxied)?;
    }
    let ratio = Some(percent(total.handed_off, total.rx)).filter(|text| !text.is_empty());
    let ratio = ratio.unwrap_or("none".into());
    let handed = grouped(total.handed_off);
    let text = format!("{handed} to other workers ({ratio} of received; see `natgate show steering`)");
    labelled(out, "handed", &text)?;
    writeln!(out)?;
    write_workers(out, &status.workers)
}

fn write_packets(
    out: &mut dyn Write,
    status: &api::Status,
    before: Option<Before<'_, api::Status>>,
) -> io::Result<()> {
    let rate = before.map(|_| ("a second", Align::Right));
    let columns = [Some(("packets", Align::Left)), Some(("", Align::Right)), rate, Some(("", Align::Left))];
    let mut table = Table::new(&columns.into_iter().flatten().collect::<Vec<_>>());
    type Pick = fn(&api::Counts) -> u64;
    let rows: [(&str, Pick, &str); 5] = [
        ("received", |counts| counts.rx, ""),
        ("sent", |counts| counts.sent, "forwarded"),
        ("consumed", |counts| counts.consumed, "for the gateway itself (ARP, ping)"),
        ("dropped", |counts| counts.dropped, "see `natgate show drops`"),
        ("held", |counts| counts.held, "wait for a neighbour or a first fragment"),
    ];
    for (name, pick, meaning) in rows {
        let now = pick(&status.total);
        let rate = before.map(|Before { answer, ago }| match name {
            // A gauge.
            "held" => String::new(),
            _ => per_second(now, pick(&answer.total), ago),
        });
        let cells = [Some(name.to_owned()), Some(grouped(now)), rate, Some(meaning.to_owned())];
        table.row(cells.into_iter().flatten());
    }
    table.write(out)?;
    writeln!(out, "{}", balance(status.unaccounted))
}

/// Whether `received = sent + consumed + dropped + held`, in words.
fn balance(unaccounted: i64) -> String {
    match unaccounted {
        0 => "they add up: received = sent + consumed + dropped + held".into(),
        n => format!(
            "{} packets {} between two counters while they were read;\nwithout traffic this must be 0",
            grouped(n.unsigned_abs()),
            if n > 0 { "were in work" } else { "moved" },
        ),
    }
}

/// What they consumed and hold is in the JSON, what they hand over in `show steering`.
fn write_workers(out: &mut dyn Write, workers: &[api::WorkerStatus]) -> io::Result<()> {
    let columns = ["worker", "sessions", "received", "sent", "dropped", "busy polls"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Right)));
    for worker in workers {
        let counts = &worker.counts;
        let numbers = [worker.worker, worker.sessions.used, counts.rx, counts.sent, counts.dropped];
        table.row(numbers.map(grouped).into_iter().chain([percent(worker.busy_polls, worker.polls)]));
    }
    table.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn status(number: u64) -> api::Status {
        let counts = api::Counts {
            rx: number,
            sent: number,
            consumed: number,
            dropped: number,
            held: 99,
            generated: number,
            generated_lost: number,
            icmp_limited: number,
            syn_cookies_sent: number,
            syn_cookies_valid: number,
            syn_proxy_retries: number,
            syn_proxy_given_up: number,
            handed_off: number,
            sessions_created: number,
            sessions_removed: number,
            ..api::Counts::default()
        };
        let sessions = api::Usage { used: 16_777_216, capacity: 16_777_216 };
        let toll = |reason: &str| api::Toll { reason: reason.into(), sessions: number, help: "Help.".into() };
        let pressure = api::Pressure {
            level: "normal".into(),
            full_at: number,
            new_per_second: 10_000_000,
            growth_per_second: -10_000_000,
            refused_per_second: number,
            evicted_per_second: number,
            sustainable_tcp_per_second: 10_000_000,
            sustainable_udp_per_second: 10_000_000,
            seconds_to_full: Some(360_000),
            half_open: 16_777_216,
            evicted: ["half_open", "unreplied", "closing"].map(toll).to_vec(),
            refused: ["session_table_full", "half_open_full", "source_sessions_limit", "source_rate_limit"]
                .map(toll)
                .to_vec(),
        };
        let worker = |worker| api::WorkerStatus {
            worker,
            sessions,
            polls: number,
            busy_polls: number,
            counts,
            ..api::WorkerStatus::default()
        };
        api::Status {
            version: "0.1.0".into(),
            dpdk: Some("22.11.7".into()),
            pid: 4_194_304,
            config: "/etc/natgate/natgate.toml".into(),
            started: "2030-01-02T03:04:05Z".into(),
            uptime_seconds: 99 * 86_400,
            sessions,
            pressure: Some(pressure),
            total: counts,
            unaccounted: 4_294_967_295,
            workers: (0..3).map(worker).collect(),
            ..api::Status::default()
        }
    }

    fn text(status: &api::Status, before: Option<Before<'_, api::Status>>) -> String {
        let mut out = Vec::new();
        write_status(&mut out, status, before, false).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_status_fits_in_80_columns() {
        let (now, earlier) = (status(4_294_967_295), status(1));
        let ago = Duration::from_secs(1);
        for shown in [text(&now, None), text(&now, Some(Before { answer: &earlier, ago }))] {
            let long: Vec<_> = shown.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(long.is_empty(), "{long:#?}");
        }
    }

    #[test]
    fn a_watched_status_has_packets_a_second() {
        let (now, earlier) = (status(3_000), status(1_000));
        let shown = text(&now, Some(Before { answer: &earlier, ago: Duration::from_secs(2) }));
        assert!(shown.contains("packets          a second\nreceived  3,000     1,000\n"), "{shown}");
        assert!(shown.contains("\nheld         99            wait for"), "{shown}");
    }

    #[test]
    fn the_status_says_whether_the_packets_add_up() {
        assert_eq!(balance(0), "they add up: received = sent + consumed + dropped + held");
        assert!(balance(1_000).starts_with("1,000 packets were in work"));
        assert!(balance(-2).starts_with("2 packets moved"));
    }
}

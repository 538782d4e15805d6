//! The text of `natgate bench`: a table of what was measured, and one of latencies.

use super::table::{Align, Table, grouped, hanging, percent};
use crate::bench::report::{About, Latency, Report, Row, Runs, Verdict};
use std::io::{self, Write};

/// Writes what was measured with what, and the results.
pub fn write_report(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    write_about(out, &report.about)?;
    if report.rows.is_empty() {
        return writeln!(out, "\nNothing was measured.");
    }
    writeln!(out)?;
    write_results(out, &report.rows)?;
    if report.rows.iter().any(|row| row.latency.is_some()) {
        writeln!(out)?;
        write_latencies(out, &report.rows)?;
    }
    Ok(())
}

fn write_about(out: &mut dyn Write, about: &About) -> io::Result<()> {
    let devices = match about.devices.as_slice() {
        [] => "in the generator's process".to_owned(),
        devices => format!("over {}", devices.join(" and ")),
    };
    hanging(out, "measured  ", &format!("{}, {devices}", about.device_under_test))?;
    let dpdk = about.dpdk_version.as_ref().map_or_else(String::new, |version| format!(", DPDK {version}"));
    let by = format!("natgate {}{dpdk} on {}, {}", about.natgate_version, about.cpu_model, about.started);
    hanging(out, "by        ", &by)
}

fn write_results(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    let repeated = rows.iter().any(|row| row.measured.runs().values().len() > 1);
    let mut columns = vec![
        ("trial", Align::Left),
        ("sessions", Align::Right),
        ("frame", Align::Right),
        ("way", Align::Left),
        ("result", Align::Right),
        ("", Align::Left),
        ("Gbit/s", Align::Right),
        ("lost", Align::Right),
        ("verdict", Align::Left),
    ];
    if repeated {
        columns.insert(6, ("spread", Align::Right));
    }
    let mut table = Table::new(&columns);
    for row in rows {
        let mut cells = vec![
            row.trial.name().to_owned(),
            grouped(row.sessions),
            row.frame.to_string(),
            row.direction.name().to_owned(),
            grouped(row.measured.runs().median()),
            row.measured.unit().to_owned(),
            row.bits_per_second.map_or_else(String::new, gigabits),
            if row.sent_packets == 0 { String::new() } else { grouped(row.lost_packets) },
            match &row.verdict {
                Verdict::Pass => "pass".to_owned(),
                Verdict::Fail(why) => format!("FAIL: {why}"),
            },
        ];
        if repeated {
            cells.insert(6, spread(row.measured.runs()));
        }
        table.row(cells);
    }
    table.write(out)
}

fn write_latencies(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    let mut table = Table::new(&[
        ("latency, µs at", Align::Right),
        ("sessions", Align::Right),
        ("frame", Align::Right),
        ("way", Align::Left),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
        ("max", Align::Right),
    ]);
    for row in rows {
        let Some(Latency { p50, p99, p99_9, max }) = row.latency else { continue };
        let [p50, p99, p99_9, max] = [p50, p99, p99_9, max].map(microseconds);
        let at = format!("{} {}", grouped(row.measured.runs().median()), row.measured.unit());
        let way = row.direction.name().to_owned();
        table.row([at, grouped(row.sessions), row.frame.to_string(), way, p50, p99, p99_9, max]);
    }
    table.write(out)
}

/// How far the runs are apart, as a share of their median; empty if there is one.
fn spread(runs: &Runs) -> String {
    if runs.values().len() < 2 {
        String::new()
    } else {
        percent(runs.highest() - runs.lowest(), runs.median())
    }
}

/// Bits in thousand millions with two decimals, rounded down.
fn gigabits(bits: u64) -> String {
    format!("{}.{:02}", grouped(bits / 1_000_000_000), bits % 1_000_000_000 / 10_000_000)
}

/// Nanoseconds in thousands with one decimal, rounded down.
fn microseconds(nanoseconds: u64) -> String {
    format!("{}.{}", grouped(nanoseconds / 1_000), nanoseconds % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Direction, Frame, Measured, Trial};

    fn written(report: &Report) -> String {
        let mut out = Vec::new();
        write_report(&mut out, report).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn about() -> About {
        About {
            natgate_version: "0.1.0".into(),
            dpdk_version: Some("22.11.11".into()),
            device_under_test: "natgate".into(),
            devices: vec!["memif:/run/in".into(), "memif:/run/out".into()],
            cpu_model: "CPU".into(),
            started: "2026-11-29T12:00:00Z".into(),
            ..About::default()
        }
    }

    fn throughput(runs: &[u64]) -> Row {
        let rate = Measured::PacketsPerSecond(Runs::of(runs.to_vec()));
        let row = Row::new(Trial::Throughput, 65_536, Frame::Bytes(64), Direction::Both, rate);
        Row { sent_packets: 1, ..row }
    }

    #[test]
    fn a_result_has_its_unit_and_its_verdict() {
        let established = Measured::EstablishedSessions(Runs::one(9_999));
        let failed = Row::new(Trial::Validate, 10_000, Frame::Imix, Direction::Both, established);
        let failed = Row { verdict: Verdict::Fail("flow 7 came back from another port".into()), ..failed };
        let text = written(&Report::new(about(), vec![throughput(&[7_000_000]), failed]));
        let expected = "\
measured  natgate, over memif:/run/in and memif:/run/out
by        natgate 0.1.0, DPDK 22.11.11 on CPU, 2026-11-29T12:00:00Z

trial       sessions  frame  way      result             Gbit/s  lost  verdict
throughput    65,536     64  both  7,000,000  packets/s    4.70     0  pass
validate      10,000   imix  both      9,999  sessions
    FAIL: flow 7 came back from another port
";
        assert_eq!(text, expected);
    }

    #[test]
    fn repeated_runs_have_a_spread() {
        let text = written(&Report::new(about(), vec![throughput(&[7_000_000, 7_140_000, 6_930_000])]));
        assert!(text.contains("  spread  ") && text.contains("  7,000,000  packets/s   3.0 %  "), "{text}");
    }

    #[test]
    fn latencies_are_in_microseconds() {
        let latency = Some(Latency { p50: 9_040, p99: 21_999, p99_9: 40_000, max: 1_900_000 });
        let row = Row { trial: Trial::Latency, latency, ..throughput(&[3_500_000]) };
        let text = written(&Report::new(about(), vec![row]));
        assert!(
            text.contains("3,500,000 packets/s    65,536     64  both  9.0  21.9   40.0  1,900.0"),
            "{text}"
        );
    }

    #[test]
    fn an_empty_report_says_so() {
        let in_process = About { devices: Vec::new(), ..about() };
        let text = written(&Report::new(in_process, Vec::new()));
        assert!(
            text.contains("natgate, in the generator's process") && text.contains("Nothing was"),
            "{text}"
        );
    }
}

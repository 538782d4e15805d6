//! Reports of repeated runs become one with several values a row.

use super::{Latency, Measured, Report, Row, Runs, Verdict};

/// Puts the reports of each device under test together, in the order in which they first come: rows that were measured in
/// the same way become one row of all their runs. What its frames count is summed, its latency is the median of each figure,
/// and it fails if one of them failed, for the first one's reason.
pub fn merge(reports: &[Report]) -> Vec<Report> {
    let mut merged: Vec<(Report, Vec<Vec<Latency>>)> = Vec::new();
    for report in reports {
        let name = &report.about.device_under_test;
        let known = merged.iter().position(|(known, _)| known.about.device_under_test == *name);
        let at = known.unwrap_or(merged.len());
        if known.is_none() {
            merged.push((Report { rows: Vec::new(), ..report.clone() }, Vec::new()));
        }
        let Some((known, latencies)) = merged.get_mut(at) else { continue };
        for row in &report.rows {
            add(&mut known.rows, latencies, row);
        }
    }
    let settle = |(mut report, latencies): (Report, Vec<Vec<Latency>>)| {
        for (row, latencies) in report.rows.iter_mut().zip(latencies) {
            row.latency = median(&latencies);
        }
        report
    };
    merged.into_iter().map(settle).collect()
}

/// Adds a row to the one like it, or behind the others. `latencies` has those of each row's runs.
fn add(rows: &mut Vec<Row>, latencies: &mut Vec<Vec<Latency>>, row: &Row) {
    let Some(at) = rows.iter().position(|known| alike(known, row)) else {
        rows.push(row.clone());
        latencies.push(row.latency.into_iter().collect());
        return;
    };
    if let Some(latencies) = latencies.get_mut(at) {
        latencies.extend(row.latency);
    }
    let Some(known) = rows.get_mut(at) else { return };
    let runs = Runs::of([known.measured.runs().values(), row.measured.runs().values()].concat());
    known.bits_per_second = known.bits_per_second.map(|_| known.frame.bits_per_second(runs.median()));
    known.measured = match known.measured {
        Measured::PacketsPerSecond(_) => Measured::PacketsPerSecond(runs),
        Measured::SessionsPerSecond(_) => Measured::SessionsPerSecond(runs),
        Measured::EstablishedSessions(_) => Measured::EstablishedSessions(runs),
        Measured::CyclesPerPacket(_) => Measured::CyclesPerPacket(runs),
    };
    known.sent_packets += row.sent_packets;
    known.lost_packets += row.lost_packets;
    if known.verdict == Verdict::Pass {
        known.verdict = row.verdict.clone();
    }
}

/// Whether two rows are of the same measurement.
fn alike(one: &Row, other: &Row) -> bool {
    let key = |row: &Row| {
        let unit = row.measured.unit();
        (row.trial, row.sessions, row.frame, row.direction, row.rules, row.workers, unit)
    };
    key(one) == key(other)
}

fn median(latencies: &[Latency]) -> Option<Latency> {
    let of = |figure: fn(&Latency) -> u64| Runs::of(latencies.iter().map(figure).collect()).median();
    let median =
        Latency { p50: of(|l| l.p50), p99: of(|l| l.p99), p99_9: of(|l| l.p99_9), max: of(|l| l.max) };
    (!latencies.is_empty()).then_some(median)
}

#[cfg(test)]
mod tests {
    use super::super::{About, Direction, Frame, Trial};
    use super::*;

    fn report(device: &str, sessions: u64, rate: u64) -> Report {
        let measured = Measured::PacketsPerSecond(Runs::one(rate));
        let mut row = Row::new(Trial::Throughput, sessions, Frame::Bytes(64), Direction::Both, measured);
        row.latency = Some(Latency { p50: rate, p99: 2 * rate, p99_9: 3 * rate, max: 4 * rate });
        (row.sent_packets, row.lost_packets) = (100, 1);
        Report::new(About { device_under_test: device.into(), ..About::default() }, vec![row])
    }

    #[test]
    fn repeated_runs_become_one_row() {
        let reports = [report("a", 1, 10), report("b", 1, 5), report("a", 1, 30), report("a", 1, 20)];
        let merged = merge(&reports);
        let names: Vec<_> = merged.iter().map(|report| report.about.device_under_test.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let row = &merged[0].rows[0];
        assert_eq!(row.measured, Measured::PacketsPerSecond(Runs::of(vec![10, 30, 20])));
        assert_eq!(row.bits_per_second, Some(20 * 84 * 8));
        assert_eq!(row.latency, Some(Latency { p50: 20, p99: 40, p99_9: 60, max: 80 }));
        assert_eq!((row.sent_packets, row.lost_packets), (300, 3));
        assert_eq!(merged[1].rows, reports[1].rows);
    }

    #[test]
    fn what_was_measured_in_another_way_stays_a_row_of_its_own() {
        let mut other = report("a", 1, 3);
        other.rows[0].workers = Some(2);
        let merged = merge(&[report("a", 1, 1), report("a", 2, 2), other]);
        assert_eq!(merged[0].rows.len(), 3);
        assert_eq!(merge(&merged), merged);
    }

    #[test]
    fn the_first_failure_stays() {
        let failed = |why: &str| {
            let mut report = report("a", 1, 1);
            report.rows[0].verdict = Verdict::Fail(why.into());
            report
        };
        let merged = merge(&[report("a", 1, 1), failed("one"), failed("two"), report("a", 1, 1)]);
        assert_eq!(merged[0].rows[0].verdict, Verdict::Fail("one".into()));
    }
}

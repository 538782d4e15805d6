//! What of the reports is plotted against what.
//!
//! A line is of one device under test, one size of frames and one direction (and number of rules or workers, where those
//! vary). What all lines have in common stands under the title, what differs in the legend. Trials that failed are not
//! plotted.

use super::chart::{Axis, Chart, Point, Scale, Series};
use super::{Direction, Frame, Measured, Report, Row, Runs, Trial, Verdict, merge};
use std::str::FromStr;

/// What is plotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Packets a second of throughput against sessions.
    Rate,
    /// New sessions a second against sessions.
    Establish,
    /// Cycles a packet against sessions.
    Cycles,
    /// Cycles a packet against rules.
    CyclesByRules,
    /// Cycles a packet and worker against workers.
    CyclesByWorkers,
    /// Percentiles of latency at the largest number of sessions.
    Latency,
}

/// Why a text says nothing that can be plotted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no plot; write one of rate, establish, cycles, cycles-by-rules, cycles-by-workers, latency"
)]
pub struct WhatError(String);

/// The reports have no row for that plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing to plot: no trial in these reports passed and has {0}")]
pub struct NothingToPlot(&'static str);

impl What {
    /// All of them.
    pub const ALL: [What; 6] = [
        What::Rate,
        What::Establish,
        What::Cycles,
        What::CyclesByRules,
        What::CyclesByWorkers,
        What::Latency,
    ];

    /// As the command line and names of files have it.
    pub fn name(self) -> &'static str {
        match self {
            What::Rate => "rate",
            What::Establish => "establish",
            What::Cycles => "cycles",
            What::CyclesByRules => "cycles-by-rules",
            What::CyclesByWorkers => "cycles-by-workers",
            What::Latency => "latency",
        }
    }
}

impl FromStr for What {
    type Err = WhatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        What::ALL.into_iter().find(|what| what.name() == text).ok_or_else(|| WhatError(text.to_owned()))
    }
}

/// The plot as an SVG document. Reports of one device under test are put together first, as [`merge()`] does.
pub fn plot(reports: &[Report], what: What) -> Result<String, NothingToPlot> {
    let reports = merge(reports);
    let samples = samples(&reports, what);
    if samples.is_empty() {
        return Err(NothingToPlot(needs(what)));
    }
    let (common, names) = named(&samples);
    let mut series: Vec<Series> = Vec::new();
    for (sample, name) in samples.iter().zip(names) {
        match series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.extend(&sample.points),
            None => series.push(Series { name, points: sample.points.clone() }),
        }
    }
    for series in &mut series {
        series.points.sort_by(|one, other| one.x.total_cmp(&other.x));
    }
    let (title, x, y) = axes(what);
    let cpus = reports.first().map(|report| report.about.cpu_model.clone());
    let common = common.into_iter().chain(cpus).filter(|text| !text.is_empty());
    Ok(Chart { title: title.into(), subtitle: common.collect::<Vec<_>>().join(" · "), x, y, series }.svg())
}

/// What a row adds to a line, and what that line is of.
struct Sample {
    /// Device, frames, direction, rules, workers, sessions; empty where it says nothing or is the x axis.
    is: [String; 6],
    points: Vec<Point>,
}

fn samples(reports: &[Report], what: What) -> Vec<Sample> {
    let rows = reports.iter().flat_map(|report| report.rows.iter().map(move |row| (report, row)));
    let passed = rows.filter(|(_, row)| row.verdict == Verdict::Pass);
    // With more numbers of sessions there would be too many lines.
    let most = passed.clone().filter(|(_, row)| row.latency.is_some()).map(|(_, row)| row.sessions).max();
    passed
        .filter(|(_, row)| what != What::Latency || Some(row.sessions) == most)
        .filter_map(|(report, row)| {
            let points = points(report, row, what);
            (!points.is_empty()).then(|| Sample { is: is(report, row, what), points })
        })
        .collect()
}

/// What a row is of.
fn is(report: &Report, row: &Row, what: What) -> [String; 6] {
    let frames = match row.frame {
        Frame::Bytes(bytes) => format!("{bytes}-byte frames"),
        Frame::Imix => "IMIX".into(),
    };
    let direction = match row.direction {
        Direction::Out => "outward",
        Direction::Back => "backward",
        Direction::Both => "both directions",
    };
    let rules = row.rules.filter(|_| what != What::CyclesByRules);
    let workers = row.workers.filter(|_| what != What::CyclesByWorkers);
    let against_sessions = matches!(what, What::Rate | What::Establish | What::Cycles);
    [
        report.about.device_under_test.clone(),
        frames,
        direction.into(),
        rules.map_or_else(String::new, |rules| format!("{rules} rules")),
        workers.map_or_else(String::new, |workers| format!("{workers} workers")),
        if against_sessions { String::new() } else { format!("{} sessions", row.sessions) },
    ]
}

/// What all samples have in common, and what each line is called: the rest.
fn named(samples: &[Sample]) -> (Vec<String>, Vec<String>) {
    let Some(first) = samples.first() else { return (Vec::new(), Vec::new()) };
    let differs: Vec<bool> = first
        .is
        .iter()
        .enumerate()
        .map(|(at, part)| samples.iter().any(|s| s.is.get(at) != Some(part)))
        .collect();
    let one_line = differs.iter().all(|differs| !differs);
    let kept = |at: usize| differs.get(at) == Some(&true) || (one_line && at == 0);
    let pick = |sample: &Sample, wanted: bool| -> Vec<String> {
        let parts = sample.is.iter().enumerate().filter(|(at, part)| kept(*at) == wanted && !part.is_empty());
        parts.map(|(_, part)| part.clone()).collect()
    };
    (pick(first, false), samples.iter().map(|sample| pick(sample, true).join(", ")).collect())
}

fn points(report: &Report, row: &Row, what: What) -> Vec<Point> {
    let sessions = real(row.sessions);
    let runs = row.measured.runs();
    let point = match (what, row.trial, &row.measured) {
        (What::Rate, Trial::Throughput, Measured::PacketsPerSecond(_))
        | (What::Establish, Trial::Establish, Measured::SessionsPerSecond(_)) => Some(spread(sessions, runs)),
        (What::Cycles, ..) => cycles(report, row).map(|point| Point { x: sessions, ..point }),
        (What::CyclesByRules, ..) => {
            row.rules.and_then(|rules| cycles(report, row).map(|point| Point { x: real(rules), ..point }))
        }
        (What::CyclesByWorkers, ..) => row
            .workers
            .and_then(|workers| cycles(report, row).map(|point| Point { x: f64::from(workers), ..point })),
        (What::Latency, ..) => {
            return row.latency.map_or_else(Vec::new, |latency| {
                let figures =
                    [latency.p50, latency.p99, latency.p99_9, latency.max].map(|ns| real(ns) / 1_000.0);
                let places = (0_u32..).map(f64::from).zip(figures);
                places.map(|(x, y)| Point { x, y, low: y, high: y }).collect()
            });
        }
        _ => None,
    };
    point.into_iter().collect()
}

/// Cycles a packet as measured; or as the highest rate says, since whoever forwards at it is busy all the time.
fn cycles(report: &Report, row: &Row) -> Option<Point> {
    let runs = row.measured.runs();
    match (row.trial, &row.measured) {
        (_, Measured::CyclesPerPacket(_)) => Some(spread(0.0, runs)),
        (Trial::Throughput, Measured::PacketsPerSecond(_)) if runs.lowest() > 0 => {
            let all = real(report.about.tsc_hz) * f64::from(row.workers.unwrap_or(1));
            let [y, low, high] = [runs.median(), runs.highest(), runs.lowest()].map(|rate| all / real(rate));
            (report.about.tsc_hz > 0).then_some(Point { x: 0.0, y, low, high })
        }
        _ => None,
    }
}

fn spread(x: f64, runs: &Runs) -> Point {
    Point { x, y: real(runs.median()), low: real(runs.lowest()), high: real(runs.highest()) }
}

fn axes(what: What) -> (&'static str, Axis, Axis) {
    let axis = |title: &str, scale| Axis { title: title.into(), scale };
    let sessions = || axis("sessions", Scale::Counts);
    let cycles = || axis("cycles a packet", Scale::Linear);
    let percentiles = ["p50", "p99", "p99.9", "max"].map(String::from).to_vec();
    match what {
        What::Rate => ("Throughput against sessions", sessions(), axis("packets/s", Scale::Linear)),
        What::Establish => ("New sessions against sessions", sessions(), axis("sessions/s", Scale::Linear)),
        What::Cycles => ("Cycles a packet against sessions", sessions(), cycles()),
        What::CyclesByRules => ("Cycles a packet against rules", axis("rules", Scale::Counts), cycles()),
        What::CyclesByWorkers => {
            ("Cycles a packet against workers", axis("workers", Scale::Linear), cycles())
        }
        What::Latency => {
            ("Latency", axis("percentile", Scale::Names(percentiles)), axis("latency (µs)", Scale::Log))
        }
    }
}

/// What a row has to have.
fn needs(what: What) -> &'static str {
    match what {
        What::Rate => "a rate of packets (run natgate bench throughput --json FILE)",
        What::Establish => "a rate of new sessions (run natgate bench establish --json FILE)",
        What::Cycles => "cycles a packet (run natgate bench throughput --json FILE)",
        What::CyclesByRules => "cycles a packet and a number of rules",
        What::CyclesByWorkers => "cycles a packet and a number of workers",
        What::Latency => "latencies (run natgate bench latency --json FILE)",
    }
}

#[expect(clippy::cast_precision_loss, reason = "a plot is coarser than a float")]
fn real(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::super::chart::tests::assert_well_formed;
    use super::super::{About, Latency};
    use super::*;

    fn report(device: &str, rows: Vec<Row>) -> Report {
        let about = About {
            device_under_test: device.into(),
            cpu_model: "CPU <1>".into(),
            tsc_hz: 2_000_000_000,
            ..About::default()
        };
        Report::new(about, rows)
    }

    fn throughput(sessions: u64, frame: u16, rates: &[u64]) -> Row {
        let rate = Measured::PacketsPerSecond(Runs::of(rates.to_vec()));
        Row::new(Trial::Throughput, sessions, Frame::Bytes(frame), Direction::Both, rate)
    }

    #[test]
    fn a_line_is_of_one_device_and_what_all_have_in_common_is_said_once() {
        let natgate = [throughput(1 << 16, 64, &[8_000_000, 9_000_000]), throughput(1, 64, &[10_000_000])];
        let reports = [
            report("testpmd", vec![throughput(1, 64, &[15_000_000])]),
            report("natgate", natgate.to_vec()),
            report("natgate", vec![throughput(1, 64, &[12_000_000])]),
        ];
        let svg = plot(&reports, What::Rate).unwrap();
        assert_well_formed(&svg);
        for text in [
            ">64-byte frames · both directions · CPU &lt;1&gt;<",
            ">testpmd<",
            ">natgate<",
            "<title>natgate: 10 M (10 M to 12 M)</title>",
            "<title>natgate: 8 M (8 M to 9 M)</title>",
        ] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        assert_eq!(svg.matches("class=\"line\" stroke=\"var(--c0)\" d=\"M").count(), 2, "line and legend");
    }

    #[test]
    fn what_differs_is_in_the_legend() {
        let rows = vec![throughput(1, 64, &[5]), throughput(1, 1518, &[4]), throughput(9, 1518, &[3])];
        let svg = plot(&[report("natgate", rows)], What::Rate).unwrap();
        for text in [">natgate · both directions · CPU", ">64-byte frames<", ">1518-byte frames<"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
    }

    #[test]
    fn the_highest_rate_says_how_many_cycles_a_packet_takes() {
        let by_workers = Row { workers: Some(2), ..throughput(1, 64, &[40_000_000, 50_000_000]) };
        let measured = Measured::CyclesPerPacket(Runs::one(83));
        let by_rules = Row { rules: Some(0), measured, ..throughput(1, 64, &[]) };
        let reports = [report("natgate", vec![throughput(1, 64, &[20_000_000]), by_workers, by_rules])];
        assert!(plot(&reports, What::Cycles).unwrap().contains(": 100</title>"));
        assert!(plot(&reports, What::CyclesByWorkers).unwrap().contains(": 100 (80 to 100)</title>"));
        assert!(plot(&reports, What::CyclesByRules).unwrap().contains(": 83</title>"));
    }

    #[test]
    fn latencies_are_microseconds_by_percentile() {
        let latency = Some(Latency { p50: 9_000, p99: 21_000, p99_9: 40_500, max: 900_000 });
        let row = Row { trial: Trial::Latency, latency, ..throughput(65_536, 64, &[1]) };
        let fewer = Row { sessions: 1, ..row.clone() };
        let svg = plot(&[report("natgate", vec![row, fewer])], What::Latency).unwrap();
        assert_well_formed(&svg);
        for text in [": 9</title>", ": 40.5</title>", ">p99.9<", ">latency (µs)<", "65536 sessions"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        assert!(!svg.contains(", 1 sessions") && !svg.contains("· 1 sessions"), "{svg}");
    }

    #[test]
    fn a_failed_trial_is_not_plotted_and_nothing_left_is_an_error() {
        let failed = Row { verdict: Verdict::Fail("wrong port".into()), ..throughput(1, 64, &[5]) };
        let reports = [report("natgate", vec![failed])];
        for what in What::ALL {
            assert!(plot(&reports, what).unwrap_err().to_string().contains("no trial"), "{what:?}");
            assert_eq!(what.name().parse(), Ok(what));
        }
        assert!("rates".parse::<What>().unwrap_err().to_string().contains("rate, establish"));
    }
}

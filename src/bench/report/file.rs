//! Reports as JSON files. A file holds one report, a list of them, or an object that has such a list as `reports`.

use super::Report;
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, Write};

/// The form of reports that this version writes and reads. It rises when an older reader would misread a file; members that
/// are only added do not raise it.
pub const SCHEMA: u32 = 1;

/// Why a file holds no reports.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON.
    #[error("{file} is not JSON: {error}")]
    Json {
        /// The file's name.
        file: String,
        /// What is wrong, with line and column.
        error: serde_json::Error,
    },
    /// JSON of something else.
    #[error("{file} holds no report of natgate bench: {error}")]
    Form {
        /// The file's name.
        file: String,
        /// What is missing or of another kind.
        error: serde_json::Error,
    },
    /// Of another version.
    #[error(
        "{file} has reports of schema {found}, and this natgate reads schema {SCHEMA}; use the natgate that wrote it, or \
         measure again"
    )]
    Schema {
        /// The file's name.
        file: String,
        /// What it says.
        found: u64,
    },
}

/// Writes a report as indented JSON with a line end.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

/// The reports in a text; `file` is its name in errors.
pub fn read(text: &str, file: &str) -> Result<Vec<Report>, ReadError> {
    let json = |error| ReadError::Json { file: file.to_owned(), error };
    let form = |error| ReadError::Form { file: file.to_owned(), error };
    let mut value: Value = serde_json::from_str(text).map_err(json)?;
    if let Some(list) = value.get_mut("reports") {
        value = list.take();
    }
    let values = match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    let mut reports = Vec::with_capacity(values.len());
    for value in values {
        match value.get("schema").and_then(Value::as_u64) {
            Some(found) if found != u64::from(SCHEMA) => {
                return Err(ReadError::Schema { file: file.to_owned(), found });
            }
            _ => reports.push(Report::deserialize(value).map_err(form)?),
        }
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::super::{About, Direction, Frame, Latency, Measured, Report, Row, Runs, Trial, Verdict};
    use super::*;

    fn report() -> Report {
        let rate = Measured::PacketsPerSecond(Runs::of(vec![7_000_000, 7_100_000, 6_900_000]));
        let mut first = Row::new(Trial::Throughput, 65_536, Frame::Bytes(64), Direction::Both, rate);
        first.sent_packets = 14_000_000;
        let measured = Measured::PacketsPerSecond(Runs::one(3_500_000));
        let mut second = Row::new(Trial::Latency, 1, Frame::Imix, Direction::Out, measured);
        second.latency = Some(Latency { p50: 9_000, p99: 21_000, p99_9: 40_000, max: 900_000 });
        second.lost_packets = 3;
        second.verdict = Verdict::Fail("3 of 7,000,000 packets were lost".into());
        let about = About {
            natgate_version: "0.1.0".into(),
            device_under_test: "natgate".into(),
            devices: vec!["memif:/run/in".into(), "memif:/run/out".into()],
            tsc_hz: 2_100_000_000,
            ..About::default()
        };
        Report::new(about, vec![first, second])
    }

    fn text(report: &Report) -> String {
        let mut out = Vec::new();
        write(&mut out, report).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let text = text(&report());
        assert_eq!(read(&text, "a.json").unwrap(), [report()]);
        assert_eq!(read(&format!("[{text},{text}]"), "a.json").unwrap(), [report(), report()]);
        let compared = format!(r#"{{"ratios": [], "reports": [{text}]}}"#);
        assert_eq!(read(&compared, "a.json").unwrap(), [report()]);
    }

    #[test]
    fn names_of_members_say_the_unit() {
        let value: Value = serde_json::from_str(&text(&report())).unwrap();
        let row = &value["rows"][0];
        assert_eq!(row["packets_per_second"]["median"], 7_000_000);
        assert_eq!(row["packets_per_second"]["runs"][2], 6_900_000);
        assert_eq!(row["bits_per_second"], 7_000_000_u64 * 84 * 8);
        assert_eq!((&row["frame_bytes"], &row["verdict"]), (&64.into(), &"pass".into()));
        let row = &value["rows"][1];
        assert_eq!(row["latency"]["p99_9_ns"], 40_000);
        assert_eq!((&row["frame_bytes"], &row["trial"]), (&"imix".into(), &"latency".into()));
        assert_eq!(row["verdict"]["fail"], "3 of 7,000,000 packets were lost");
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_name_of_its_file() {
        let no_trial = text(&report()).replace("\"trial\"", "\"trail\"");
        for (text, part) in [
            ("{", "a.json is not JSON: EOF while parsing"),
            ("{}", "missing field `schema`"),
            (r#"{"schema": 2, "rows": 5}"#, "schema 2, and this natgate reads schema 1"),
            (no_trial.as_str(), "missing field `trial`"),
        ] {
            let error = read(text, "a.json").unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("a.json"), "{error}");
        }
    }
}

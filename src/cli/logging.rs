//! Where log messages go and how they look: text, a JSON object a line, or the journal with its fields.

use super::{complain, report};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use tracing::Subscriber;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Which messages are logged, in the syntax of `tracing_subscriber::EnvFilter`.
pub(super) const VARIABLE: &str = "NATGATE_LOG";
/// In front of the names of a message's own fields in the journal.
const JOURNAL_PREFIX: &str = "NATGATE";
/// What says that standard error is the journal: see systemd.exec(5).
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// How log messages are written. The variants have no documentation, which would be in the help of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    // Lines for people, on standard error.
    Text,
    // A JSON object a line, on standard error.
    Json,
    // To systemd's journal, with priority and fields.
    Journald,
}

/// Starts logging. Without a format it is the journal's if standard error is the journal, else text.
///
/// # Errors
/// What is wrong with the filter in the environment.
pub(super) fn start(verbose: u8, format: Option<Format>) -> Result<(), String> {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = match std::env::var(VARIABLE) {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(filter)
            .map_err(|problem| format!("{VARIABLE} is not a filter for log messages: {problem}"))?,
        _ => EnvFilter::new(level),
    };
    let format = format.unwrap_or(if stderr_is_journal() { Format::Journald } else { Format::Text });
    let subscriber = tracing_subscriber::registry().with(filter);
    // Only a second call could fail, and there is none.
    let _ = match format {
        Format::Text => subscriber.with(text()).try_init(),
        Format::Json => subscriber.with(json(io::stderr)).try_init(),
        Format::Journald => match journal() {
            Ok(journal) => subscriber.with(journal).try_init(),
            Err(problem) => {
                complain(&format!(
                    "the journal can not be reached ({problem}): logging to standard error instead"
                ));
                subscriber.with(text()).try_init()
            }
        },
    };
    Ok(())
}

fn text<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    let colour = report::colours(io::stderr().is_terminal());
    tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colour)
}

fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer)
}

/// The priority, `MESSAGE`, where it comes from, and each field as `NATGATE_…`.
fn journal<S: Subscriber + for<'a> LookupSpan<'a>>() -> io::Result<impl Layer<S>> {
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    Ok(tracing_journald::layer()?
        .with_priority_mappings(priorities)
        .with_field_prefix(Some(JOURNAL_PREFIX.to_owned()))
        .with_syslog_identifier("natgate".to_owned()))
}

fn stderr_is_journal() -> bool {
    let stderr = rustix::fs::fstat(io::stderr().as_fd());
    let stream = std::env::var(JOURNAL_STREAM);
    stderr.is_ok_and(|stderr| stream.is_ok_and(|stream| is_stream(&stream, stderr.st_dev, stderr.st_ino)))
}

/// Whether `DEVICE:INODE` is this one.
fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    let numbers = stream.split_once(':').map(|(device, inode)| (device.parse(), inode.parse()));
    numbers == Some((Ok(device), Ok(inode)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_journal_is_recognised_by_device_and_inode() {
        assert!(is_stream("8:12345", 8, 12_345));
        for other in ["8:1", "9:12345", "8", "", "a:b", ":"] {
            assert!(!is_stream(other, 8, 12_345), "{other}");
        }
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_has_the_message_and_its_fields_side_by_side() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry().with(json(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(event = "table_full", sessions = 7, "it is full");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["level"].as_str(), line["message"].as_str()), (Some("WARN"), Some("it is full")));
        assert_eq!((line["event"].as_str(), line["sessions"].as_u64()), (Some("table_full"), Some(7)));
        assert!(line["timestamp"].is_string() && line["target"].is_string());
    }
}

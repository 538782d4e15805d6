//! How natgate logs: text, JSON, the journal.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn check(format: Option<&str>, variable: Option<&str>) -> Output {
    let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
    natgate.args(["check", "config/full-nat.toml"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    natgate.env_remove("NATGATE_LOG").env_remove("NATGATE_LOG_FORMAT").env_remove("JOURNAL_STREAM");
    if let Some(format) = format {
        natgate.args(["--log-format", format]);
    }
    if let Some(variable) = variable {
        natgate.env("NATGATE_LOG_FORMAT", variable);
    }
    natgate.output().unwrap()
}

#[test]
fn a_format_is_chosen_by_the_flag_or_the_environment() {
    for (format, variable) in [(Some("json"), None), (None, Some("text")), (Some("text"), Some("json"))] {
        assert_eq!(check(format, variable).status.code(), Some(0));
    }
    for (format, variable) in [(Some("xml"), None), (None, Some("xml"))] {
        let output = check(format, variable);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text.contains("'xml'") && text.contains("text, json, journald"), "{text}");
    }
}

#[test]
fn a_journal_that_can_not_be_reached_is_a_warning() {
    if Path::new("/run/systemd/journal/socket").exists() {
        return;
    }
    let output = check(Some("journald"), None);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with("natgate: the journal can not be reached ("), "{text}");
    assert!(text.contains("logging to standard error instead"), "{text}");
}

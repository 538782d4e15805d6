//! What can go wrong in the laboratory, in words that say which command failed and what it said.

use std::io;
use std::time::Duration;

/// Why a laboratory step failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces can only be made by root.
    #[error("network namespaces need root; run this as root (for example with sudo)")]
    NotRoot,
    /// The program is not on this machine, or can not be run.
    #[error("`{command}` could not be started: {cause}")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        cause: io::Error,
    },
    /// The command ended with an exit code other than 0.
    #[error("`{command}` ended with {status}{}", said(.output))]
    Failed {
        /// The command line.
        command: String,
        /// Its exit code or signal.
        status: String,
        /// What it wrote to standard error, or else to standard output.
        output: String,
    },
    /// The command had to be killed.
    #[error("`{command}` was not done within {:.1} s and was killed{}", .limit.as_secs_f64(), said(.output))]
    TimedOut {
        /// The command line.
        command: String,
        /// How long it was allowed to take.
        limit: Duration,
        /// What it had written until then.
        output: String,
    },
    /// SIGINT, SIGTERM or SIGHUP came.
    #[error("interrupted by a signal")]
    Interrupted,
    /// A file or a thread of our own.
    #[error("{what}: {cause}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// Everything ran, but what was seen is not what should have been seen.
    #[error("{0}")]
    Unexpected(String),
}

impl LabError {
    /// An I/O error with what was being done.
    pub(crate) fn io(what: impl Into<String>, cause: io::Error) -> LabError {
        LabError::Io { what: what.into(), cause }
    }

    /// Something was seen that should not have been.
    pub fn unexpected(text: impl Into<String>) -> LabError {
        LabError::Unexpected(text.into())
    }
}

fn said(output: &str) -> String {
    const MOST: usize = 2000;
    let output = output.trim();
    if output.is_empty() {
        return " without a word".to_owned();
    }
    let tail: String = output
        .char_indices()
        .rev()
        .nth(MOST)
        .map_or_else(|| output.to_owned(), |(at, _)| format!("… {}", output.get(at..).unwrap_or(output)));
    format!(": {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_repeats_what_it_said() {
        let error = LabError::Failed {
            command: "ip link add".into(),
            status: "exit code 2".into(),
            output: "Error: Unknown device type.\n".into(),
        };
        assert_eq!(error.to_string(), "`ip link add` ended with exit code 2: Error: Unknown device type.");
    }

    #[test]
    fn a_long_output_keeps_its_end() {
        let text = said(&"x".repeat(5000));
        assert!(text.starts_with(": … x") && text.len() < 2100, "{}", text.len());
    }
}

//! What the tests with real processes share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod stage;

use natgate::lab::LabError;
use natgate::lab::command::{interrupted, is_root};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The natgate binary under test.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_natgate"))
}

/// One experiment at a time also under plain `cargo test`, which runs tests in threads. nextest, which runs each
/// in a process, is told by `.config/nextest.toml`.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A test that failed has cleaned up: the next one may go on.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the test has to be skipped because it needs root. In CI (`CI=true`) that is a failure.
pub(crate) fn skipped_without_root() -> bool {
    if is_root().expect("/proc is there") {
        return false;
    }
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "this test needs root, and CI=true does not allow skipping it");
    eprintln!("SKIPPED: this test makes network namespaces and needs root; run it with sudo");
    true
}

/// The steps of one experiment. All are run, so that one look shows everything that is wrong; the test fails at
/// the end if one failed.
#[derive(Default)]
pub(crate) struct Steps {
    failures: Vec<String>,
    seen: usize,
}

impl Steps {
    /// Runs a step that says what was seen.
    pub(crate) fn see(&mut self, name: &str, step: impl FnOnce() -> Result<String, LabError>) {
        assert!(!interrupted(), "interrupted by a signal");
        let begun = Instant::now();
        let outcome = step();
        let seconds = begun.elapsed().as_secs_f64();
        self.seen += 1;
        match outcome {
            Ok(seen) => eprintln!("  ok     {seconds:>5.2} s  {name}: {seen}"),
            Err(error) => {
                eprintln!("  FAILED {seconds:>5.2} s  {name}: {error}");
                self.failures.push(format!("{name}: {error}"));
            }
        }
    }

    /// Whether all steps passed so far.
    pub(crate) fn all_passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Fails the test if a step failed.
    pub(crate) fn finish(self) {
        let failed = self.failures.len();
        assert!(failed == 0, "{failed} of {} steps failed:\n{}", self.seen, self.failures.join("\n"));
    }
}

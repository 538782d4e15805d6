//! Everything up to the publication: pure, but for the memory that it takes, and on a thread of its own.

use super::answer::{self, Change, Reload, ReloadFailure, Took};
use crate::config::compile::{compile_after, needs};
use crate::config::diff::{self, diff};
use crate::config::lineage::{Heritage, InUse};
use crate::config::reorder::reorder;
use crate::config::{self, Checked, Config};
use crate::control::running::Running;
use crate::pipeline::Snapshot;
use crate::pipeline::update::WorkerUpdate;
use std::sync::Arc;

/// What is known of a proposal before it is published.
pub(super) struct Prepared {
    pub(super) running: Arc<Running>,
    pub(super) config: Config,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) updates: Vec<WorkerUpdate>,
    pub(super) answer: Reload,
}

/// Everything up to the publication. Takes as long as it takes.
pub(super) fn prepare(
    text: &str,
    file: &str,
    running: Arc<Running>,
    in_use: &InUse,
    capacities: &[u32],
    revision: u64,
) -> Result<Prepared, ReloadFailure> {
    let began = std::time::Instant::now();
    let Checked { config, warnings } =
        config::parse(text, file).map_err(|errors| ReloadFailure::from(&errors))?;
    let checked = began.elapsed();
    let config = reorder(config, &running.config);
    let diff = diff(&running.config, &config);
    refuse_restart(&diff)?;
    let before = &running.snapshot;
    let heritage = Heritage { config: &running.config, snapshot: before, in_use };
    let steering = before.steering.clone();
    // The seed was drawn at the start; what else decides of owners has been compared.
    debug_assert_eq!(needs(&config, 0), needs(&running.config, 0));
    let snapshot = Arc::new(compile_after(Some(heritage), &config, &running.macs(), steering, revision));
    let updates = WorkerUpdate::between(before, &snapshot, capacities).map_err(|error| {
        ReloadFailure::new(format!("no random numbers from the operating system: {error}"))
    })?;
    let answer = Reload {
        changes: diff.changes.iter().map(Change::from).collect(),
        warnings: answer::findings(&warnings),
        took: Took {
            check_seconds: checked.as_secs_f64(),
            compile_seconds: (began.elapsed() - checked).as_secs_f64(),
            ..Took::default()
        },
        ..Reload::default()
    };
    Ok(Prepared { running, config, snapshot, updates, answer })
}

fn refuse_restart(diff: &diff::Diff) -> Result<(), ReloadFailure> {
    let Some(first) = diff.restart.first() else { return Ok(()) };
    let more = match diff.restart.len() - 1 {
        0 => String::new(),
        n => format!(", and {n} more"),
    };
    Err(ReloadFailure {
        error: format!("{first}{more}: restart natgate for that; nothing was applied"),
        findings: Vec::new(),
        restart: diff.restart.iter().map(answer::Restart::from).collect(),
    })
}

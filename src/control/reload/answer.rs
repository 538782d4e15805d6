//! What is asked of a reload, and what it answers.

use super::history::Origin;
use crate::config::diff;
use crate::config::edit::Edit;
use crate::config::{ConfigErrors, Diagnostic, LoadError, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What becomes of sessions that the new configuration would not make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionPolicy {
    /// They go on until they end.
    #[default]
    Keep,
    /// They are deleted.
    Drop,
}

/// How a change is made, whatever it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Only say what would happen.
    pub dry_run: bool,
    /// Roll back by itself unless it is confirmed within so many seconds: 1 to 86,400.
    pub confirm_within_seconds: Option<u64>,
    /// What becomes of sessions that the new configuration would not make; `keep` if left out.
    pub sessions: SessionPolicy,
    /// Write the text to the file that the gateway was started with, once it runs.
    pub save: bool,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub comment: String,
}

/// `POST /v1/config`: another configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReloadRequest {
    /// The whole text, TOML; without it the file that the gateway was started with is read again.
    pub config: Option<String>,
    /// What errors call it.
    pub file: Option<String>,
    /// How.
    #[serde(flatten)]
    pub options: Options,
}

/// `POST /v1/config/edit`: an edit of one object of the configuration that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EditRequest {
    /// What to edit: an object with the field `edit`, such as `{"edit": "ban", "from": ["198.51.100.7"]}`. docs/control.md
    /// lists them.
    #[schema(value_type = Object)]
    pub edit: Edit,
    /// How.
    #[serde(default)]
    pub options: Options,
}

/// `POST /v1/config/rollback`: back to a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RollbackRequest {
    /// The revision; without it the one before that which runs.
    pub to: Option<u64>,
    /// How.
    #[serde(flatten)]
    pub options: Options,
}

/// What a change of the configuration did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reload {
    /// The revision that runs now.
    pub revision: u64,
    /// Whether something was changed: not by a dry run, nor if there is no difference.
    pub applied: bool,
    /// The differences, in the order of the documentation of the config file.
    pub changes: Vec<Change>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Finding>,
    /// What it means to the sessions that there are.
    pub sessions: SessionEffect,
    /// How long it took.
    pub took: Took,
    /// Seconds within which it has to be confirmed, or it is rolled back.
    pub confirm_within_seconds: Option<u64>,
    /// The file that it was written to.
    pub saved: Option<String>,
    /// What did not go as it should although it runs.
    pub problems: Vec<String>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// `added`, `removed`, `changed` or `moved`.
    pub kind: String,
    /// Of what, such as `conntrack.timeouts.udp`.
    pub what: String,
    /// What it was.
    pub before: Option<String>,
    /// What it is now.
    pub after: Option<String>,
    /// The line that people read: `~ conntrack.timeouts.udp: 5m -> 2m`.
    pub text: String,
}

/// A difference that takes effect only when the gateway starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restart {
    /// Of what, such as `runtime.workers`.
    pub what: String,
    /// What it is while the gateway runs.
    pub before: String,
    /// What it would be.
    pub after: String,
    /// Why it can not change.
    pub why: String,
}

/// An error or a warning in the text of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// All of it with the line itself, as `natgate check` prints it.
    pub text: String,
}

/// What a change means to the sessions that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionEffect {
    /// Sessions in the table when it was read.
    pub total: u64,
    /// Those that the new configuration would not make.
    pub not_made: u64,
    /// Those whose packets would come to another worker: they can not go on, whatever becomes of the others.
    pub moved: u64,
    /// Those whose packets pass by a notrack class now and that go on until they end (`existing = "keep"`). They are among
    /// those that would not be made.
    pub settling: u64,
    /// Those of a class that releases them (`existing = "release"`): deleted, or to be. Among those that would not be made.
    pub released: u64,
    /// Those that were deleted, released ones too.
    pub deleted: u64,
}

/// How long the parts of a change took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Took {
    /// Reading and checking the text.
    pub check_seconds: f64,
    /// Comparing, and compiling what workers read.
    pub compile_seconds: f64,
    /// From the moment that it was given to the workers until the last one ran it.
    pub adopt_seconds: f64,
    /// From the request until the last worker ran it.
    pub total_seconds: f64,
}

/// Why a change was refused. Nothing was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadFailure {
    /// What was wrong, in a sentence.
    pub error: String,
    /// Every error in the text.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What a restart is needed for.
    #[serde(default)]
    pub restart: Vec<Restart>,
}

/// `GET /v1/config`: the configuration that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningConfig {
    /// Its revision.
    pub revision: u64,
    /// The file that the gateway was started with.
    pub file: String,
    /// Whether that file has the same text.
    pub saved: bool,
    /// Seconds that are left to confirm it; `null` if it need not be.
    pub confirm_within_seconds: Option<u64>,
    /// The text, TOML.
    pub config: String,
}

/// One object of the list that `GET /v1/config/revisions` gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionRow {
    /// Its number.
    pub number: u64,
    /// When it was applied: RFC 3339, UTC.
    pub at: String,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub comment: String,
    /// What made it.
    pub origin: Origin,
    /// Where its text came from.
    pub file: String,
    /// Whether it runs.
    pub runs: bool,
    /// Whether it waits to be confirmed.
    pub unconfirmed: bool,
}

impl From<&diff::Change> for Change {
    fn from(change: &diff::Change) -> Change {
        Change {
            kind: change.kind.name().to_owned(),
            what: change.what.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
            text: change.to_string(),
        }
    }
}

impl From<&diff::Restart> for Restart {
    fn from(restart: &diff::Restart) -> Restart {
        let diff::Restart { what, before, after, why } = restart.clone();
        Restart { what, before, after, why }
    }
}

/// Findings as they are sent.
pub fn findings<P: Problem>(diagnostics: &[Diagnostic<P>]) -> Vec<Finding> {
    let finding = |diagnostic: &Diagnostic<P>| Finding {
        line: diagnostic.place.line,
        column: diagnostic.place.column,
        message: diagnostic.what.to_string(),
        help: diagnostic.what.cure(),
        text: diagnostic.to_string(),
    };
    diagnostics.iter().map(finding).collect()
}

impl ReloadFailure {
    /// A sentence alone.
    pub fn new(error: impl ToString) -> Self {
        ReloadFailure { error: error.to_string(), ..ReloadFailure::default() }
    }
}

impl From<&ConfigErrors> for ReloadFailure {
    fn from(errors: &ConfigErrors) -> Self {
        let count = errors.errors.len();
        let error = match errors.errors.first() {
            Some(first) if count == 1 => format!("{}: {}", first.place, first.what),
            Some(first) => format!("{}: {}; and {} more", first.place, first.what, count - 1),
            None => "the config is wrong".to_owned(),
        };
        ReloadFailure { error, findings: findings(&errors.errors), restart: Vec::new() }
    }
}

impl From<&LoadError> for ReloadFailure {
    fn from(error: &LoadError) -> Self {
        match error {
            LoadError::Invalid(errors) => errors.into(),
            LoadError::Unreadable { .. } => ReloadFailure::new(error),
        }
    }
}

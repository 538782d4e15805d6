//! Reload: another configuration under the sessions that there are, as a transaction.
//!
//! ```text
//!   text --> parse, check --> compare --> compile, take memory --> publish --> revisions, file, sessions
//!            (all errors)     (restart?)  (numbers go on)          (all workers or none)
//!   <----------------- on a thread of its own ----------------->  <------ on the control thread ------>
//! ```
//!
//! Whatever fails up to the publication leaves everything as it was. One change is made at a time; others wait for it.
//! Reloads from a file, edits of one object, rollbacks and SIGHUP are the same transaction with another text. Once begun it
//! is made to its end, also if the client that asked for it is gone.
//!
//! | file | concept |
//! |---|---|
//! | [`answer`] | what is asked and answered |
//! | `transaction` | from a text to what is said of it in the end |
//! | `prepare` | everything up to the publication |
//! | [`history`] | revisions, and what must not be started with |
//! | [`survey`] | what sessions have to do with a configuration |
//! | `settling` | sessions that were there before a notrack class |
//! | `tables` | reading the session tables for it |
//! | `words` | what is said of it |
//! | `background` | SIGHUP, the end of a trial, forgetting what is retired |
//! | `routes` | the endpoints |
//!
//! # On trial
//!
//! A configuration that has to be confirmed is on trial until it is, or until its time is over, when the one before is put
//! back by the same transaction. [`history`] says what happens if the process does not live that long. While one is on trial
//! no other change is made but a rollback.
//!
//! # What is retired
//!
//! Addresses and forwards that are gone stay known as long as sessions use them ([`crate::config::lineage`]). Every
//! [`TIDY`] the tables are read for those that nobody uses any more, and if there are some the same configuration is published
//! again without them. The same walk finds which notrack classes have no session left from before.

pub mod answer;
mod background;
pub mod history;
mod prepare;
pub(super) mod routes;
mod settling;
pub mod survey;
mod tables;
mod transaction;
mod words;

use super::state::ControlState;
use crate::config;
use crate::management::events::EventKind;
use crate::management::publish::Publication;
use answer::{Options, Reload, ReloadFailure, SessionEffect, SessionPolicy};
use history::{History, HistoryError, Origin, Revision};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use transaction::Proposal;
use words::by;

/// How often what is retired is looked at.
pub const TIDY: Duration = Duration::from_secs(30);
/// The longest trial.
pub const MAX_TRIAL: Duration = Duration::from_secs(86_400);

/// What reloads did since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReloadStats {
    /// The revision that runs.
    pub revision: u64,
    /// Changes that were applied.
    pub applied: u64,
    /// Changes that were refused: wrong, or they need a restart, or a worker was stuck.
    pub refused: u64,
    /// Configurations that were rolled back because nobody confirmed them.
    pub rolled_back: u64,
    /// When the last one was applied.
    pub last_applied: Option<SystemTime>,
    /// How long the last one took, from the request until the last worker ran it.
    pub last_took: Duration,
    /// Of that, from the moment that it was given to the workers.
    pub last_adopt: Duration,
    /// Whether the last one that was tried was applied.
    pub last_succeeded: bool,
    /// Whether one waits to be confirmed.
    pub on_trial: bool,
}

/// A configuration on trial.
#[derive(Clone, Copy, Debug)]
struct Trial {
    revision: u64,
    fallback: u64,
    until: Instant,
}

/// Makes changes of the configuration, one at a time.
pub struct Reloader {
    state: Arc<ControlState>,
    publications: mpsc::Sender<Publication>,
    history: Mutex<History>,
    trial: Mutex<Option<Trial>>,
    stats: Mutex<ReloadStats>,
    turn: tokio::sync::Mutex<()>,
    hangup: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_text() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

impl Reloader {
    /// For a gateway that has just started with the configuration in `state`, whose text is `text`.
    pub fn new(
        state: Arc<ControlState>,
        publications: mpsc::Sender<Publication>,
        mut history: History,
        text: &str,
    ) -> Reloader {
        let is_new = history.current().is_none_or(|revision| revision.text != text);
        if is_new {
            let revision = Revision {
                number: history.next_number(),
                at: now_text(),
                author: String::new(),
                comment: String::new(),
                origin: Origin::Start,
                file: state.config_path.display().to_string(),
                text: text.to_owned(),
            };
            note(history.push(revision));
        }
        let revision = history.current().map_or(0, |revision| revision.number);
        let stats = ReloadStats { revision, last_succeeded: true, ..ReloadStats::default() };
        let reloader = Reloader {
            state,
            publications,
            history: Mutex::new(history),
            trial: Mutex::new(None),
            stats: Mutex::new(stats),
            turn: tokio::sync::Mutex::new(()),
            hangup: Notify::new(),
        };
        reloader.publish_stats(|_| ());
        reloader
    }

    /// Reads the file again that the gateway was started with, as for SIGHUP. Returns at once.
    pub fn hang_up(&self) {
        self.hangup.notify_one();
    }

    /// Applies a text, or only says what it would do.
    ///
    /// # Errors
    /// It is wrong, needs a restart, or no worker took it: nothing is changed.
    pub async fn reload(
        self: &Arc<Self>,
        text: Option<String>,
        file: Option<String>,
        options: Options,
    ) -> Result<Reload, ReloadFailure> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let asked = Instant::now();
            let _turn = this.turn.lock().await;
            this.refuse_on_trial(&options)?;
            let (text, file) = match text {
                Some(text) => (text, file.unwrap_or_else(|| "the config".into())),
                None => this.read_file().await?,
            };
            this.apply(Proposal { text, file, origin: Origin::Reload, options, asked }).await
        })
        .await
    }

    /// Applies an edit of the configuration that runs.
    ///
    /// # Errors
    /// As [`Reloader::reload`], or there is nothing to edit like that.
    pub async fn edit(
        self: &Arc<Self>,
        edit: config::edit::Edit,
        mut options: Options,
    ) -> Result<Reload, ReloadFailure> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let asked = Instant::now();
            let _turn = this.turn.lock().await;
            this.refuse_on_trial(&options)?;
            let (text, file) = this.current_text();
            let text = config::edit::apply(&text, &edit).map_err(ReloadFailure::new)?;
            let words = edit.to_string();
            options.comment =
                if options.comment.is_empty() { words } else { format!("{words}: {}", options.comment) };
            this.apply(Proposal { text, file, origin: Origin::Edit, options, asked }).await
        })
        .await
    }

    /// Goes back to a revision; also ends a trial.
    ///
    /// # Errors
    /// As [`Reloader::reload`], or there is no such revision.
    pub async fn rollback(
        self: &Arc<Self>,
        to: Option<u64>,
        options: Options,
    ) -> Result<Reload, ReloadFailure> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let asked = Instant::now();
            let _turn = this.turn.lock().await;
            let trial = *lock(&this.trial);
            let target = {
                let history = lock(&this.history);
                let number =
                    to.or(trial.map(|trial| trial.fallback)).or(history.previous().map(|r| r.number));
                let Some(number) = number else {
                    return Err(ReloadFailure::new(
                        "there is no revision to go back to: nothing was changed yet",
                    ));
                };
                history.find(number).cloned().ok_or_else(|| {
                    let kept: Vec<String> =
                        history.revisions().iter().map(|r| r.number.to_string()).collect();
                    ReloadFailure::new(format!(
                        "there is no revision {number}: choose from {}",
                        kept.join(", ")
                    ))
                })?
            };
            let Revision { number, text, file, .. } = target;
            let comment = match options.comment.as_str() {
                "" => format!("back to revision {number}"),
                comment => format!("back to revision {number}: {comment}"),
            };
            let options = Options { comment, ..options };
            this.apply(Proposal { text, file, origin: Origin::Rollback, options, asked }).await
        })
        .await
    }

    /// Ends a trial well. Returns the revision.
    ///
    /// # Errors
    /// Nothing is on trial.
    pub async fn confirm(&self, author: &str) -> Result<u64, ReloadFailure> {
        let _turn = self.turn.lock().await;
        let Some(trial) = lock(&self.trial).take() else {
            return Err(ReloadFailure::new("nothing waits to be confirmed"));
        };
        note(lock(&self.history).end_trial());
        self.publish_stats(|stats| stats.on_trial = false);
        self.say(EventKind::Confirmed, format!("revision {} was confirmed{}", trial.revision, by(author)));
        Ok(trial.revision)
    }

    /// Writes the text that runs to the file that the gateway was started with.
    ///
    /// # Errors
    /// The file can not be written.
    pub async fn save(&self) -> Result<String, ReloadFailure> {
        let _turn = self.turn.lock().await;
        if lock(&self.trial).is_some() {
            return Err(ReloadFailure::new(
                "the configuration waits to be confirmed: `natgate confirm` first",
            ));
        }
        let (text, _) = self.current_text();
        self.write_file(&text).map_err(ReloadFailure::new)
    }

    /// Seconds that are left of a trial.
    pub(super) fn left_of_trial(&self) -> Option<(u64, u64)> {
        let trial = *lock(&self.trial);
        trial.map(|trial| (trial.revision, trial.until.saturating_duration_since(Instant::now()).as_secs()))
    }

    /// The revisions that are kept, the oldest first.
    pub fn revisions(&self) -> Vec<Revision> {
        lock(&self.history).revisions().to_vec()
    }

    fn current_text(&self) -> (String, String) {
        let history = lock(&self.history);
        history
            .current()
            .map_or_else(Default::default, |current| (current.text.clone(), current.file.clone()))
    }

    async fn read_file(&self) -> Result<(String, String), ReloadFailure> {
        let path = self.state.config_path.clone();
        let file = path.display().to_string();
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let text = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let text =
            text.map_err(|error| ReloadFailure::new(format!("can not read the config {file}: {error}")))?;
        Ok((text, file))
    }

    fn write_file(&self, text: &str) -> Result<String, String> {
        let path: &Path = &self.state.config_path;
        let done = history::replace_file(path, text.as_bytes(), 0o644);
        done.map_err(|error| format!("can not write {}: {error}", path.display()))?;
        Ok(path.display().to_string())
    }

    fn refuse_on_trial(&self, options: &Options) -> Result<(), ReloadFailure> {
        match self.left_of_trial() {
            Some((revision, seconds)) if !options.dry_run => Err(ReloadFailure::new(format!(
                "revision {revision} waits to be confirmed for another {seconds} s: `natgate confirm` or `natgate rollback` first"
            ))),
            _ => Ok(()),
        }
    }

    fn say(&self, kind: EventKind, text: String) {
        self.state.say(kind, text);
    }

    fn publish_stats(&self, change: impl FnOnce(&mut ReloadStats)) {
        let mut stats = lock(&self.stats);
        change(&mut stats);
        self.state.reloads.publish(stats.clone());
    }
}

/// Makes a change to its end, whether whoever asked for it still waits for it or not. The server drops what it does for a
/// client that goes: in the middle of a change the workers would run what nobody else knows of, and a trial would never end.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ReloadFailure>> + Send + 'static,
) -> Result<T, ReloadFailure> {
    let made = tokio::spawn(change).await;
    made.unwrap_or_else(|error| {
        Err(ReloadFailure::new(format!("the change was not made to its end: {error}")))
    })
}

fn note(done: Result<(), HistoryError>) {
    if let Err(error) = done {
        tracing::warn!("{error}");
    }
}

impl SessionEffect {
    /// Whether a session is one that the change ends.
    pub(super) fn ends(policy: SessionPolicy, is_made: bool, is_moved: bool) -> bool {
        is_moved || (policy == SessionPolicy::Drop && !is_made)
    }
}

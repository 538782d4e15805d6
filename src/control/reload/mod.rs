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
//! | `prepare` | everything up to the publication |
//! | [`history`] | revisions, and what must not be started with |
//! | [`survey`] | what sessions have to do with a configuration |
//! | `tables` | reading the session tables for it |
//! | `words` | what is said of it |
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
//! again without them.

pub mod answer;
pub mod history;
mod prepare;
pub(super) mod routes;
pub mod survey;
mod tables;
mod words;

use super::running::Running;
use super::state::{ControlState, EventRow};
use crate::config;
use crate::config::compile::compile_after;
use crate::config::lineage::{Heritage, InUse};
use crate::management::events::EventKind;
use crate::management::publish::{Adopted, Publication};
use crate::pipeline::Snapshot;
use crate::pipeline::update::WorkerUpdate;
use answer::{Options, Reload, ReloadFailure, SessionEffect, SessionPolicy};
use history::{History, HistoryError, Origin, Revision};
use prepare::{Prepared, prepare};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use words::{by, summary, title};

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

/// What is to be applied.
struct Proposal {
    text: String,
    file: String,
    origin: Origin,
    options: Options,
    asked: Instant,
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

    /// What goes on beside requests: SIGHUP, the end of a trial, what is retired. Never ends.
    pub async fn run(self: Arc<Self>) {
        let (signals, trials) = (self.clone(), self.clone());
        tokio::spawn(async move {
            loop {
                signals.hangup.notified().await;
                signals.reload_for_signal().await;
            }
        });
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                trials.end_trial_in_time().await;
            }
        });
        let mut tidy = tokio::time::interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tidy.tick().await;
            self.tidy().await;
        }
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

    /// The transaction. The caller has the turn.
    async fn apply(&self, proposal: Proposal) -> Result<Reload, ReloadFailure> {
        let dry_run = proposal.options.dry_run;
        let (origin, author) = (proposal.origin, proposal.options.author.clone());
        let done = self.try_to_apply(proposal).await;
        if let Err(failure) = &done
            && !dry_run
        {
            self.publish_stats(|stats| {
                stats.refused += 1;
                stats.last_succeeded = false;
            });
            let error = &failure.error;
            self.say(
                EventKind::ReloadRefused,
                format!("{} was refused, nothing was changed: {error}", title(origin, &author)),
            );
        }
        done
    }

    async fn try_to_apply(&self, proposal: Proposal) -> Result<Reload, ReloadFailure> {
        let trial = trial_of(&proposal)?;
        let running = self.state.running.read();
        let in_use = self.in_use(&running.snapshot).await;
        let capacities: Vec<u32> = self.state.sessions.iter().map(|view| view.capacity()).collect();
        let next = lock(&self.history).next_number();
        let (text, file) = (proposal.text.clone(), proposal.file.clone());
        // Ten thousand rules take a while: requests have their turn meanwhile.
        let prepare = move || prepare(&text, &file, running, &in_use, &capacities, next);
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let prepared =
            prepared.map_err(|error| ReloadFailure::new(format!("it could not be compiled: {error}")))??;
        let Prepared { running, config, snapshot, updates, mut answer } = prepared;
        if proposal.options.dry_run || (answer.changes.is_empty() && proposal.origin != Origin::Unconfirmed) {
            answer.revision = next.saturating_sub(1);
            if !answer.changes.is_empty() {
                answer.sessions = tables::effect(&self.state, &running.snapshot, &snapshot).await;
            } else if !proposal.options.dry_run {
                self.note_text(&proposal, &mut answer);
            }
            return Ok(answer);
        }
        if trial.is_some() {
            // Before anybody runs it, so that it is known as unconfirmed whatever happens from here on.
            lock(&self.history).begin_trial(&proposal.text).map_err(ReloadFailure::new)?;
        }
        let adopted = match self.publish(snapshot.clone(), updates).await {
            Ok(adopted) => adopted,
            Err(failure) => {
                if trial.is_some() {
                    note(lock(&self.history).end_trial());
                }
                return Err(failure);
            }
        };
        answer.took.adopt_seconds = adopted.took.as_secs_f64();
        answer.took.total_seconds = proposal.asked.elapsed().as_secs_f64();
        answer.applied = true;
        answer.revision = next;
        if let Some(worker) = adopted.late {
            answer
                .problems
                .push(format!("{worker} has not run it yet: `natgate show status` says whether it polls"));
        }
        let before = running.snapshot.clone();
        self.state.running.publish(Running::new(config, snapshot.clone(), running.devices.clone()));
        self.record(&proposal, trial, &mut answer);
        if proposal.options.save && trial.is_none() {
            self.save_text(&proposal.text, &mut answer);
        }
        answer.sessions = tables::settle(&self.state, &before, &snapshot, proposal.options.sessions)
            .await
            .unwrap_or_default();
        self.tell(&proposal, &answer);
        Ok(answer)
    }

    /// Hands a configuration to all workers, or to none.
    async fn publish(
        &self,
        snapshot: Arc<Snapshot>,
        updates: Vec<WorkerUpdate>,
    ) -> Result<Adopted, ReloadFailure> {
        let stopping = || ReloadFailure::new("the gateway is stopping");
        let (done, adopted) = oneshot::channel();
        let publication = Publication { snapshot, updates, done };
        self.publications.send(publication).await.map_err(|_| stopping())?;
        adopted.await.map_err(|_| stopping())?.map_err(ReloadFailure::new)
    }

    /// Notes what runs now, and for how long if it is on trial.
    fn record(&self, proposal: &Proposal, trial: Option<Duration>, answer: &mut Reload) {
        let Proposal { text, file, origin, options, .. } = proposal;
        let revision = Revision {
            number: answer.revision,
            at: now_text(),
            author: options.author.clone(),
            comment: options.comment.clone(),
            origin: *origin,
            file: file.clone(),
            text: text.clone(),
        };
        let mut history = lock(&self.history);
        let fallback = history.current().map_or(0, |current| current.number);
        let mut noted = history.push(revision);
        if noted.is_ok()
            && trial.is_none()
            && matches!(origin, Origin::Reload | Origin::Edit | Origin::Signal)
        {
            noted = history.end_trial();
        }
        answer.problems.extend(noted.err().map(|error| error.to_string()));
        drop(history);
        *lock(&self.trial) =
            trial.map(|length| Trial { revision: answer.revision, fallback, until: Instant::now() + length });
        answer.confirm_within_seconds = trial.map(|length| length.as_secs());
        let (took, adopt) = (proposal.asked.elapsed(), Duration::from_secs_f64(answer.took.adopt_seconds));
        self.publish_stats(|stats| {
            stats.revision = answer.revision;
            stats.applied += 1;
            stats.rolled_back += u64::from(*origin == Origin::Unconfirmed);
            stats.last_applied = Some(SystemTime::now());
            (stats.last_took, stats.last_adopt) = (took, adopt);
            stats.last_succeeded = true;
            stats.on_trial = trial.is_some();
        });
    }

    /// A text without a difference that counts: its comments may be others.
    fn note_text(&self, proposal: &Proposal, answer: &mut Reload) {
        if proposal.options.save {
            self.save_text(&proposal.text, answer);
        }
        let same = lock(&self.history).current().is_some_and(|current| current.text == proposal.text);
        if !same {
            answer.revision += 1;
            self.record(proposal, None, answer);
        }
    }

    fn save_text(&self, text: &str, answer: &mut Reload) {
        match self.write_file(text) {
            Ok(path) => answer.saved = Some(path),
            Err(problem) => answer.problems.push(problem),
        }
    }

    fn tell(&self, proposal: &Proposal, answer: &Reload) {
        let Reload { revision, changes, sessions, .. } = answer;
        let comment = &proposal.options.comment;
        let why = if comment.is_empty() { String::new() } else { format!(" ({comment})") };
        let deleted = match sessions.deleted {
            0 => String::new(),
            n => format!("; {n} sessions were deleted"),
        };
        let trial = answer.confirm_within_seconds.map(|s| format!("; to be confirmed within {s} s"));
        let text = format!(
            "{} made revision {revision}{why}: {}{deleted}{}",
            title(proposal.origin, &proposal.options.author),
            summary(changes),
            trial.unwrap_or_default(),
        );
        let kind = match proposal.origin {
            Origin::Rollback | Origin::Unconfirmed => EventKind::RolledBack,
            _ => EventKind::Reloaded,
        };
        self.say(kind, text);
        answer.problems.iter().for_each(|problem| tracing::warn!("reload: {problem}"));
    }

    fn say(&self, kind: EventKind, text: String) {
        if kind.is_relief() {
            tracing::info!(event = kind.name(), "{text}");
        } else {
            tracing::warn!(event = kind.name(), "{text}");
        }
        self.state.published.events.push(EventRow::new(kind, text));
    }

    fn publish_stats(&self, change: impl FnOnce(&mut ReloadStats)) {
        let mut stats = lock(&self.stats);
        change(&mut stats);
        self.state.reloads.publish(stats.clone());
    }

    async fn reload_for_signal(&self) {
        let asked = Instant::now();
        let _turn = self.turn.lock().await;
        let options = Options { comment: "SIGHUP".into(), ..Options::default() };
        let done = match (self.refuse_on_trial(&options), self.read_file().await) {
            (Ok(()), Ok((text, file))) => {
                self.apply(Proposal { text, file, origin: Origin::Signal, options, asked }).await
            }
            (Err(failure), _) | (_, Err(failure)) => {
                self.say(EventKind::ReloadRefused, format!("SIGHUP: {}", failure.error));
                return;
            }
        };
        match done {
            Ok(answer) if !answer.applied => tracing::info!("SIGHUP: the config is what runs already"),
            Ok(_) => {}
            Err(failure) => failure.findings.iter().for_each(|finding| tracing::error!("\n{}", finding.text)),
        }
    }

    async fn end_trial_in_time(&self) {
        let is_over = || lock(&self.trial).filter(|trial| trial.until <= Instant::now());
        if is_over().is_none() {
            return;
        }
        let asked = Instant::now();
        let _turn = self.turn.lock().await;
        // It may have been confirmed while somebody else had the turn.
        let Some(Trial { revision, fallback, .. }) = is_over() else { return };
        let Some(Revision { text, file, .. }) = lock(&self.history).find(fallback).cloned() else {
            return;
        };
        let comment = format!("revision {revision} was not confirmed: back to revision {fallback}");
        let options = Options { comment, ..Options::default() };
        if self.apply(Proposal { text, file, origin: Origin::Unconfirmed, options, asked }).await.is_err() {
            // A worker was stuck, which has been said: again in a while.
            if let Some(trial) = lock(&self.trial).as_mut() {
                trial.until = Instant::now() + Duration::from_secs(5);
            }
        }
    }

    /// What sessions use of what would be free otherwise.
    async fn in_use(&self, snapshot: &Snapshot) -> InUse {
        if survey::has_retired(snapshot) {
            tables::in_use(&self.state, snapshot).await
        } else {
            InUse::default()
        }
    }

    /// Forgets what is retired and not used any more.
    async fn tidy(&self) {
        let _turn = self.turn.lock().await;
        let running = self.state.running.read();
        let before = &running.snapshot;
        if !survey::has_retired(before) {
            return;
        }
        let in_use = self.in_use(before).await;
        if survey::is_all_used(before, &in_use) {
            return;
        }
        let heritage = Heritage { config: &running.config, snapshot: before, in_use: &in_use };
        let macs = running.macs();
        let steering = before.steering.clone();
        let after =
            Arc::new(compile_after(Some(heritage), &running.config, &macs, steering, before.revision));
        let capacities: Vec<u32> = self.state.sessions.iter().map(|view| view.capacity()).collect();
        let Ok(updates) = WorkerUpdate::between(before, &after, &capacities) else { return };
        if self.publish(after.clone(), updates).await.is_ok() {
            let (config, devices) = (running.config.clone(), running.devices.clone());
            self.state.running.publish(Running::new(config, after, devices));
            tracing::debug!("addresses and forwards that no session uses any more were forgotten");
        }
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

/// How long the proposal is to be on trial.
fn trial_of(proposal: &Proposal) -> Result<Option<Duration>, ReloadFailure> {
    let Some(seconds) = proposal.options.confirm_within_seconds else { return Ok(None) };
    let most = MAX_TRIAL.as_secs();
    if seconds == 0 || seconds > most {
        return Err(ReloadFailure::new(format!(
            "confirm_within_seconds is {seconds}: give 1 to {most} seconds to confirm the configuration in"
        )));
    }
    if proposal.options.save {
        return Err(ReloadFailure::new(
            "what has to be confirmed is not saved before: confirm it, then `natgate config save`",
        ));
    }
    Ok(Some(Duration::from_secs(seconds)))
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

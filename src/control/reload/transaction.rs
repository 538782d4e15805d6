//! The transaction itself: everything from a text to what is said of it in the end. The caller has the turn.

use super::answer::{Options, Reload, ReloadFailure};
use super::history::{Origin, Revision};
use super::prepare::{Prepared, prepare};
use super::words::{summary, title};
use super::{MAX_TRIAL, Reloader, Trial, lock, note, now_text, tables};
use crate::control::running::Running;
use crate::management::events::EventKind;
use crate::management::publish::{Adopted, Publication};
use crate::pipeline::Snapshot;
use crate::pipeline::update::WorkerUpdate;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What is to be applied.
pub(super) struct Proposal {
    pub(super) text: String,
    pub(super) file: String,
    pub(super) origin: Origin,
    pub(super) options: Options,
    pub(super) asked: Instant,
}

impl Reloader {
    /// The transaction. The caller has the turn.
    pub(super) async fn apply(&self, proposal: Proposal) -> Result<Reload, ReloadFailure> {
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
        let in_use = self.in_use(&running).await;
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
                let after = Running::new(config, snapshot, running.devices.clone());
                let policy = proposal.options.sessions;
                answer.sessions = tables::effect(&self.state, &running, &after, policy).await;
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
        self.state.running.publish(Running::new(config, snapshot, running.devices.clone()));
        self.record(&proposal, trial, &mut answer);
        if proposal.options.save && trial.is_none() {
            self.save_text(&proposal.text, &mut answer);
        }
        let (after, everywhere) = (self.state.running.read(), adopted.late.is_none());
        let policy = proposal.options.sessions;
        let settled = tables::settle(&self.state, &running, &after, policy, everywhere).await;
        answer.sessions = settled.unwrap_or_default();
        self.tell(&proposal, &answer);
        Ok(answer)
    }

    /// Hands a configuration to all workers, or to none.
    pub(super) async fn publish(
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
            n if sessions.released > 0 => {
                format!("; {n} sessions were deleted, {} of notrack classes", sessions.released)
            }
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

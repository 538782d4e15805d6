//! What goes on beside requests: SIGHUP, the end of a trial, and forgetting what is retired.

use super::answer::Options;
use super::history::{Origin, Revision};
use super::settling::is_settling;
use super::transaction::Proposal;
use super::{Reloader, TIDY, Trial, lock, survey, tables};
use crate::config::compile::compile_after;
use crate::config::lineage::{Heritage, InUse};
use crate::control::running::Running;
use crate::management::events::EventKind;
use crate::pipeline::update::WorkerUpdate;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

impl Reloader {
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

    /// What sessions use of what would be free otherwise. Classes of which there is no session left settle no more.
    pub(super) async fn in_use(&self, running: &Running) -> InUse {
        if survey::has_retired(&running.snapshot) || is_settling(&running.snapshot) {
            tables::in_use(&self.state, running).await
        } else {
            InUse::default()
        }
    }

    /// Forgets what is retired and not used any more, and ends the settling of classes.
    async fn tidy(&self) {
        let _turn = self.turn.lock().await;
        let running = self.state.running.read();
        let before = &running.snapshot;
        let in_use = self.in_use(&running).await;
        if !survey::has_retired(before) || survey::is_all_used(before, &in_use) {
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

//! Sessions that were there before a notrack class: which of them end, and when a class has none any more.
//!
//! A class that a configuration brings, or changes, is *settling*: its packets look for a session first, so that those that
//! are open when it comes go on as they were. No packet of it makes a new one. `Class::settling` is set by the compile step
//! and cleared here, for good, once a walk through the tables that began after every worker had the class found no session
//! of it. A class with `existing = "release"` does not settle: its sessions are deleted.

use crate::classify::notrack::Existing;
use crate::config::Config;
use crate::pipeline::Snapshot;
use std::sync::atomic::Ordering::Relaxed;

/// What becomes of a session for the sake of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its packets are of no class.
    Tracked,
    /// It goes on until it ends.
    Settles,
    /// It is to end: a class of it releases its sessions.
    Released,
}

/// Finds which classes have sessions, during a walk.
#[derive(Debug)]
pub(super) struct Settling<'s> {
    snapshot: &'s Snapshot,
    /// By class: whether it releases its sessions.
    releases: Vec<bool>,
    /// By class: whether a session of it goes on.
    has_sessions: Vec<bool>,
}

impl<'s> Settling<'s> {
    /// Nothing so far.
    pub(super) fn new(config: &Config, snapshot: &'s Snapshot) -> Self {
        Settling {
            snapshot,
            releases: config.notrack.iter().map(|class| class.existing == Existing::Release).collect(),
            has_sessions: vec![false; snapshot.classes.len()],
        }
    }

    /// What becomes of a session that is of these classes.
    pub(super) fn fate(&self, classes: &[usize]) -> Fate {
        let releases = |class: &usize| self.releases.get(*class) == Some(&true);
        match classes {
            [] => Fate::Tracked,
            some if some.iter().any(releases) => Fate::Released,
            _ => Fate::Settles,
        }
    }

    /// Takes in a session of these classes that goes on.
    pub(super) fn goes_on(&mut self, classes: &[usize]) {
        for class in classes {
            if let Some(has) = self.has_sessions.get_mut(*class) {
                *has = true;
            }
        }
    }

    /// Ends the settling of classes of which no session goes on, after a whole walk.
    pub(super) fn finish(self) {
        for (class, _) in self.snapshot.classes.iter().zip(self.has_sessions).filter(|(_, has)| !has) {
            if class.settling.swap(false, Relaxed) {
                tracing::debug!(class = class.name, "no session of this notrack class is left");
            }
        }
    }
}

/// Whether a class looks for sessions still.
pub(super) fn is_settling(snapshot: &Snapshot) -> bool {
    snapshot.classes.iter().any(|class| class.settling.load(Relaxed))
}

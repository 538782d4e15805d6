//! The revisions of the configuration: what ran, since when, who wanted it and why. The last ten are kept, on disk too.
//!
//! # Over a restart
//!
//! A gateway starts with the file that it is told. There is one exception: a configuration *on trial* (one that was to be
//! confirmed within a time) which nobody has confirmed. It is written down before any worker runs it. If the process dies
//! before it is confirmed, or it was rolled back and is still in the file, the next start runs the revision that was
//! there before it, as the rollback did or would have done. The trial is over when it is confirmed, or when another
//! configuration is applied for good.
//!
//! The file is replaced by renaming, after its content is on the disk: a crash leaves the old one or the new one.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Revisions that are kept: the one that runs, and ten to roll back to.
pub const KEPT: usize = 11;

/// What made a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The gateway started with it.
    Start,
    /// `natgate reload`.
    Reload,
    /// An edit of one object.
    Edit,
    /// `natgate rollback`.
    Rollback,
    /// It was put back because the one after it was not confirmed in time.
    Unconfirmed,
    /// The process got a SIGHUP.
    Signal,
}

/// One revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its number, from 1; goes on over restarts.
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
    /// The whole text.
    pub text: String,
}

/// A configuration that has yet to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Trial {
    text: String,
    /// The revision to go back to.
    fallback: u64,
}

/// As it is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Contents {
    /// The oldest first; the last one runs.
    revisions: Vec<Revision>,
    trial: Option<Trial>,
}

/// Why revisions can not be kept.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The directory or the file in it can not be read or written.
    #[error("can not keep the revisions of the config in {}: {source} (runtime.state names the directory)", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a list of revisions ({reason}): move it away", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The revisions, and the file that they are kept in.
#[derive(Debug, Default)]
pub struct History {
    contents: Contents,
    /// `None`: they are kept in memory alone.
    path: Option<PathBuf>,
}

impl History {
    /// Those of the config file at `config`, kept in the directory `state`. Without such a file there are none yet.
    ///
    /// # Errors
    /// The file is there and can not be read.
    pub fn load(state: &Path, config: &Path) -> Result<History, HistoryError> {
        let path = state.join(file_name(config));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(History { contents: Contents::default(), path: Some(path) });
            }
            Err(source) => return Err(HistoryError::Io { path, source }),
        };
        match serde_json::from_str(&text) {
            Ok(contents) => Ok(History { contents, path: Some(path) }),
            Err(error) => Err(HistoryError::Unreadable { path, reason: error.to_string() }),
        }
    }

    /// The revision to start with in place of this text, if the text is a configuration that was not confirmed.
    pub fn instead_of(&self, text: &str) -> Option<&Revision> {
        let trial = self.contents.trial.as_ref().filter(|trial| trial.text == text)?;
        self.find(trial.fallback)
    }

    /// The revision with this number, if it is kept.
    pub fn find(&self, number: u64) -> Option<&Revision> {
        self.contents.revisions.iter().find(|revision| revision.number == number)
    }

    /// The one that runs.
    pub fn current(&self) -> Option<&Revision> {
        self.contents.revisions.last()
    }

    /// The one before that which runs.
    pub fn previous(&self) -> Option<&Revision> {
        self.contents.revisions.iter().rev().nth(1)
    }

    /// Every revision that is kept, the oldest first.
    pub fn revisions(&self) -> &[Revision] {
        &self.contents.revisions
    }

    /// The number that the next revision gets.
    pub fn next_number(&self) -> u64 {
        self.current().map_or(1, |revision| revision.number + 1)
    }

    /// From now on this text is on trial, and the one that runs is what it falls back to.
    ///
    /// # Errors
    /// It could not be written down: then it is not.
    pub fn begin_trial(&mut self, text: &str) -> Result<(), HistoryError> {
        let Some(fallback) = self.current().map(|revision| revision.number) else { return Ok(()) };
        let trial = Some(Trial { text: text.to_owned(), fallback });
        self.replace(Contents { trial, ..self.contents.clone() }, true)
    }

    /// The trial is over: what is on trial is confirmed, or something else was chosen.
    ///
    /// # Errors
    /// It could not be written down: the next start may roll back.
    pub fn end_trial(&mut self) -> Result<(), HistoryError> {
        if self.contents.trial.is_none() {
            return Ok(());
        }
        self.replace(Contents { trial: None, ..self.contents.clone() }, false)
    }

    /// Adds the revision that runs from now on; the oldest one goes when there are too many, unless the trial falls back to it.
    ///
    /// # Errors
    /// It could not be written down; it is in memory all the same.
    pub fn push(&mut self, revision: Revision) -> Result<(), HistoryError> {
        let mut contents = self.contents.clone();
        contents.revisions.push(revision);
        let fallback = contents.trial.as_ref().map(|trial| trial.fallback);
        while contents.revisions.len() > KEPT {
            let oldest = contents.revisions.iter().position(|old| Some(old.number) != fallback).unwrap_or(0);
            contents.revisions.remove(oldest);
        }
        self.replace(contents, false)
    }

    /// `durably`: what can not be written down does not hold.
    fn replace(&mut self, contents: Contents, durably: bool) -> Result<(), HistoryError> {
        let written = match &self.path {
            Some(path) => write(path, &contents),
            None if durably => {
                let source = io::Error::other("they are kept in memory alone");
                Err(HistoryError::Io { path: PathBuf::from("memory"), source })
            }
            None => Ok(()),
        };
        if written.is_ok() || !durably {
            self.contents = contents;
        }
        written
    }
}

/// The name of the file for a config: its path, in which other characters than letters, digits, dots and hyphens are
/// replaced by their number, so that no two configs share a file.
fn file_name(config: &Path) -> String {
    let path = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    let mut name = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' => name.push('_'),
            b'.' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => name.push(char::from(*byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    name.trim_start_matches('_').to_owned() + ".revisions.json"
}

fn write(path: &Path, contents: &Contents) -> Result<(), HistoryError> {
    let failed = |source| HistoryError::Io { path: path.to_owned(), source };
    let text = serde_json::to_vec(contents).map_err(|error| failed(io::Error::other(error)))?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    replace_file(path, &text, 0o600).map_err(failed)
}

/// Replaces a file, or makes it with this mode: whoever reads it sees the old content or the new one, also after a crash.
pub fn replace_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
    // Of a link the file that it names is meant.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = directory.join(name);
    let old = fs::metadata(path).ok();
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let done = (|| {
        if let Some(old) = &old {
            file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
            // Only root may give it away; its own owner writes it to himself.
            let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
        }
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    })();
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64, text: &str) -> Revision {
        Revision {
            number,
            at: "2030-01-02T03:04:05Z".into(),
            author: "ann".into(),
            comment: String::new(),
            origin: Origin::Reload,
            file: "natgate.toml".into(),
            text: text.into(),
        }
    }

    fn config() -> PathBuf {
        PathBuf::from("/etc/natgate/no such file.toml")
    }

    #[test]
    fn the_last_revisions_are_there_after_a_restart_and_numbers_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::load(directory.path(), &config()).unwrap();
        assert_eq!((history.current(), history.next_number()), (None, 1));
        for number in 1..=20 {
            history.push(revision(number, &number.to_string())).unwrap();
        }
        let again = History::load(directory.path(), &config()).unwrap();
        let numbers: Vec<u64> = again.revisions().iter().map(|revision| revision.number).collect();
        assert_eq!(numbers, (10..=20).collect::<Vec<_>>());
        assert_eq!((again.previous().unwrap().number, again.next_number()), (19, 21));
        let other = History::load(directory.path(), Path::new("/etc/natgate/no_such file.toml")).unwrap();
        assert_eq!(other.revisions(), []);
    }

    #[test]
    fn what_was_not_confirmed_is_not_started_with_whatever_happened_to_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let load = || History::load(directory.path(), &config()).unwrap();
        let mut history = load();
        history.push(revision(1, "good")).unwrap();
        history.begin_trial("bad").unwrap();
        // Killed before the workers ran it, and afterwards.
        assert_eq!(load().instead_of("bad").unwrap().text, "good");
        history.push(revision(2, "bad")).unwrap();
        assert_eq!(load().instead_of("bad").unwrap().number, 1);
        // Rolled back; the operator has not touched the file.
        history.push(revision(3, "good")).unwrap();
        assert_eq!(load().instead_of("bad").unwrap().number, 1);
        assert!(load().instead_of("another").is_none());
        history.end_trial().unwrap();
        assert!(load().instead_of("bad").is_none());
    }

    #[test]
    fn the_revision_that_a_trial_falls_back_to_is_never_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::load(directory.path(), &config()).unwrap();
        history.push(revision(1, "good")).unwrap();
        history.begin_trial("bad").unwrap();
        for number in 2..=30 {
            history.push(revision(number, "bad")).unwrap();
        }
        assert_eq!((history.revisions().len(), history.instead_of("bad").unwrap().number), (KEPT, 1));
    }

    #[test]
    fn without_a_place_on_disk_nothing_is_on_trial() {
        let mut history = History::default();
        history.push(revision(1, "good")).unwrap();
        assert!(history.begin_trial("bad").is_err());
        assert!(history.instead_of("bad").is_none());
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_is_whole() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("natgate.toml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace_file(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left over");
        assert!(replace_file(&directory.path().join("no/such"), b"", 0o600).is_err());
    }
}

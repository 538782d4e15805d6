//! What all commands that change the configuration have in common: how it is asked for, and what is said of the answer.

use super::table::{grouped, json, to_stdout};
use super::{Failure, complain};
use crate::control::DEFAULT_SOCKET;
use crate::control::client::{Client, ClientError};
use crate::control::reload::answer::{Options, Reload, ReloadFailure, SessionEffect, SessionPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Where the gateway is, and how the answer is written.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SocketArgs {
    /// Write JSON instead of text
    #[arg(long)]
    json: bool,
    /// The gateway's control socket (`runtime.control` in its config)
    #[arg(short, long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl SocketArgs {
    /// A client of that gateway.
    pub(super) fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    /// Writes an answer as the user wants it.
    pub(super) fn show(
        &self,
        value: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        Ok(to_stdout(|out| if self.json { json(out, value) } else { Ok(text(out)?) })?)
    }
}

/// How a change is made.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Roll back by itself unless `natgate confirm` follows in time, also if the process dies
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    confirm_within: Option<Duration>,
    /// What becomes of sessions that the new rules would not make
    #[arg(long, value_name = "POLICY", default_value = "keep")]
    #[arg(value_parser = ["keep", "drop"])]
    sessions: String,
    /// Also write it to the config file that the gateway was started with
    #[arg(long)]
    save: bool,
    /// Why, for `natgate config log`
    #[arg(short = 'm', long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
}

impl ChangeArgs {
    /// As the gateway wants it.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let confirm_within_seconds = match self.confirm_within {
            Some(time) if time.subsec_nanos() > 0 || time.is_zero() => {
                return Err(Failure::Usage("--confirm-within takes whole seconds: 60s, say".into()));
            }
            time => time.map(|time| time.as_secs()),
        };
        let sessions = if self.sessions == "drop" { SessionPolicy::Drop } else { SessionPolicy::Keep };
        let ChangeArgs { dry_run, save, comment, .. } = self.clone();
        Ok(Options { dry_run, confirm_within_seconds, sessions, save, author: author(), comment })
    }
}

/// Who sits at the terminal: the user behind sudo, if there is one.
pub(super) fn author() -> String {
    let name = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
    ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(name).unwrap_or_default()
}

/// Sends a change and waits for its end. What is wrong with a config is printed with its place.
pub(super) fn ask<T: DeserializeOwned>(
    socket: &SocketArgs,
    path: &str,
    request: &impl Serialize,
) -> Result<T, Failure> {
    socket.client().post_json(path, request).map_err(|error| match error {
        ClientError::Refused { status, message, body } => refused(status, message, &body),
        error => Failure::Other(error.into()),
    })
}

fn refused(status: u16, message: String, body: &str) -> Failure {
    let failure: ReloadFailure = serde_json::from_str(body).unwrap_or_default();
    if status == 422 {
        let mut out = io::stderr().lock();
        for finding in &failure.findings {
            let _ = writeln!(out, "{}", finding.text);
        }
        complain("the config is wrong; the gateway goes on as it was");
        return Failure::Config;
    }
    if status == 400 {
        return Failure::Usage(message);
    }
    for restart in failure.restart.iter().skip(1) {
        let _ = writeln!(
            io::stderr().lock(),
            "  {}: {} -> {} ({})",
            restart.what,
            restart.before,
            restart.after,
            restart.why
        );
    }
    Failure::Other(anyhow::anyhow!(message))
}

/// Writes what a change did, or would do.
pub(super) fn write_change(out: &mut dyn Write, done: &Reload, dry_run: bool) -> io::Result<()> {
    for warning in &done.warnings {
        writeln!(out, "{}", warning.text)?;
    }
    for change in &done.changes {
        writeln!(out, "{}", change.text)?;
    }
    let sessions = &done.sessions;
    match (done.applied, dry_run) {
        (_, true) if done.changes.is_empty() => writeln!(out, "no difference to revision {}", done.revision)?,
        (_, true) => writeln!(out, "nothing was changed: a dry run against revision {}", done.revision)?,
        (false, false) => writeln!(out, "revision {} runs: there is no difference", done.revision)?,
        (true, false) => writeln!(
            out,
            "revision {} runs on all workers: {} after the request, {} after it was given to them",
            done.revision,
            seconds(done.took.total_seconds),
            seconds(done.took.adopt_seconds),
        )?,
    }
    write_classes_effect(out, sessions, dry_run)?;
    let not_made = sessions.not_made.saturating_sub(sessions.settling + sessions.released);
    if not_made > 0 {
        let rest = if sessions.deleted > sessions.released || dry_run { "" } else { "; they go on" };
        writeln!(
            out,
            "{} of {} sessions would not be made by it{rest}",
            grouped(not_made),
            grouped(sessions.total)
        )?;
    }
    if sessions.moved > 0 {
        writeln!(out, "{} sessions come to another worker and can not go on", grouped(sessions.moved))?;
    }
    if sessions.deleted > 0 {
        writeln!(out, "{} sessions were deleted", grouped(sessions.deleted))?;
    }
    if let Some(saved) = &done.saved {
        writeln!(out, "written to {saved}")?;
    }
    if let Some(time) = done.confirm_within_seconds {
        writeln!(out, "confirm it within {time} s with `natgate confirm`, or it is rolled back")?;
    }
    for problem in &done.problems {
        writeln!(out, "problem: {problem}")?;
    }
    Ok(())
}

/// Sessions whose packets are of notrack classes.
fn write_classes_effect(out: &mut dyn Write, sessions: &SessionEffect, dry_run: bool) -> io::Result<()> {
    let would = if dry_run { "would " } else { "" };
    if sessions.settling > 0 {
        let settling = grouped(sessions.settling);
        writeln!(out, "{settling} sessions {would}go on beside notrack classes until they end")?;
    }
    if sessions.released > 0 {
        let released = grouped(sessions.released);
        let were = if dry_run { "would be" } else { "were" };
        writeln!(out, "{released} sessions {were} released to notrack classes")?;
    }
    Ok(())
}

/// A short time as people read it.
fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_the_unit_that_makes_it_short() {
        assert_eq!(
            ["0.0000421", "0.0123", "1.5"].map(|s| seconds(s.parse().unwrap())),
            ["42 us", "12.3 ms", "1.50 s"]
        );
    }
}

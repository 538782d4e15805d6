//! `natgate sessions`: the session table of the running gateway, from its control socket.

use super::table::{Align, Table, grouped, json, percent, to_stdout};
use crate::control::client::Client;
use crate::control::{DEFAULT_SOCKET, api};
use std::io::{self, Write};
use std::path::PathBuf;

/// Lists or counts the sessions of the running gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  natgate sessions                    every session, as `conntrack -L -o extended` prints it
  natgate sessions --limit 20         the first 20
  natgate sessions list -o json       one JSON object a line, for jq
  natgate sessions count              how full the table is

The list is written while the table is read: a session is shown as it was at that moment.
Exit codes: 0 shown, 1 no answer from a gateway, 2 wrong usage.")]
pub struct SessionsArgs {
    /// What to do; `list` if left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Format: for `list` the default is `extended`; for `count`, `json` gives an object.
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value = "extended")]
    pub output: Format,
    /// List at most this many sessions.
    #[arg(long, global = true, value_name = "N")]
    pub limit: Option<u64>,
    /// The gateway's control socket (`runtime.control` in its config).
    #[arg(short, long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// What to do with the sessions.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Command {
    /// Prints one line a session.
    List,
    /// Prints how many sessions there are and how many fit.
    Count,
}

/// How sessions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The line of `conntrack -L -o extended`.
    Extended,
    /// A JSON object a line.
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Extended => "extended",
            Format::Json => "json",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// No gateway answers, or the output can not be written. A reader that goes away is not an error.
pub fn run(args: &SessionsArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.socket);
    match args.command {
        None | Some(Command::List) => list(&client, args),
        Some(Command::Count) => {
            anyhow::ensure!(args.limit.is_none(), "--limit is for `natgate sessions list`");
            let count: api::SessionCount = client.get_json("/v1/sessions/count")?;
            let as_json = args.output == Format::Json;
            to_stdout(|out| if as_json { json(out, &count) } else { Ok(write_count(out, &count)?) })
        }
    }
}

fn list(client: &Client, args: &SessionsArgs) -> anyhow::Result<()> {
    let limit = args.limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
    let lines = client.get_lines(&format!("/v1/sessions?format={}{limit}", args.output.name()))?;
    to_stdout(|out| {
        for line in lines {
            writeln!(out, "{}", line?)?;
        }
        Ok(())
    })
}

/// Writes the text of `natgate sessions count`.
pub fn write_count(out: &mut dyn Write, count: &api::SessionCount) -> io::Result<()> {
    let mut table = Table::new(&[
        ("worker", Align::Left),
        ("sessions", Align::Right),
        ("capacity", Align::Right),
        ("used", Align::Right),
    ]);
    let rows = (0u64..).map(|worker| worker.to_string()).zip(&count.workers);
    for (worker, usage) in rows.chain([("all".into(), &count.total)]) {
        table.row([
            worker,
            grouped(usage.used),
            grouped(usage.capacity),
            percent(usage.used, usage.capacity),
        ]);
    }
    table.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn parse(line: &str) -> SessionsArgs {
        let command = SessionsArgs::augment_args(clap::Command::new("sessions"));
        command.clone().debug_assert();
        SessionsArgs::from_arg_matches(&command.try_get_matches_from(line.split(' ')).unwrap()).unwrap()
    }

    #[test]
    fn list_is_what_is_done_when_nothing_is_said() {
        assert!(parse("sessions").command.is_none());
        let args = parse("sessions --limit 20 -o json");
        assert_eq!((args.limit, args.output), (Some(20), Format::Json));
        assert!(matches!(parse("sessions list --limit 20").command, Some(Command::List)));
        assert!(matches!(parse("sessions -s /x count").command, Some(Command::Count)));
    }

    #[test]
    fn the_count_ends_with_the_sum() {
        let usage = |used| api::Usage { used, capacity: 1_000 };
        let count = api::SessionCount {
            total: api::Usage { used: 30, capacity: 2_000 },
            workers: vec![usage(10), usage(20)],
        };
        let mut out = Vec::new();
        write_count(&mut out, &count).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().last(), Some("all           30     2,000  1.5 %"), "{text}");
    }
}

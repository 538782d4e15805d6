//! `natgate config`: the configuration that runs, and its revisions.

use super::Failure;
use super::change::{SocketArgs, ask};
use super::table::{Align, Table, to_stdout};
use crate::control::reload::answer::{Options, Reload, RevisionRow, RunningConfig};
use std::io::{self, Write};

/// Arguments of `natgate config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  natgate config                              the text that runs
  natgate config log                          the last revisions: when, who, why
  natgate config show --revision 7 > old.toml
  natgate config save                         write it to the config file

Exit codes: 0 done, 1 failed or refused.")]
pub(super) struct ConfigArgs {
    /// What to do; `show` if left out
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    socket: SocketArgs,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Print the text that runs, or that of a revision
    #[command(after_help = "\
Examples:
  natgate config show
  natgate config show --revision 7 | diff - /etc/natgate/natgate.toml

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
    Show {
        /// One of those that `natgate config log` lists
        #[arg(long, value_name = "REVISION")]
        revision: Option<u64>,
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// List the revisions that are kept, the oldest first
    #[command(after_help = "\
Examples:
  natgate config log
  natgate config log --json | jq -r '.[] | [.number, .at, .author] | @tsv'

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
    Log {
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Write the text that runs to the config file that the gateway was started with
    #[command(after_help = "\
Example:
  natgate ban 198.51.100.7 && natgate config save

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.")]
    Save {
        #[command(flatten)]
        socket: SocketArgs,
    },
}

pub(super) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    match &args.command {
        None => show(&args.socket, None),
        Some(Command::Show { revision, socket }) => show(socket, *revision),
        Some(Command::Log { socket }) => log(socket),
        Some(Command::Save { socket }) => save(socket),
    }
}

fn show(socket: &SocketArgs, revision: Option<u64>) -> Result<(), Failure> {
    if let Some(revision) = revision {
        let lines = socket.client().get_lines(&format!("/v1/config/revisions/{revision}"));
        let lines = lines.map_err(anyhow::Error::from)?;
        return Ok(to_stdout(|out| {
            for line in lines {
                writeln!(out, "{}", line?)?;
            }
            Ok(())
        })?);
    }
    let running: RunningConfig = socket.client().get_json("/v1/config").map_err(anyhow::Error::from)?;
    socket.show(&running, |out| {
        let end = if running.config.ends_with('\n') { "" } else { "\n" };
        write!(out, "{}{end}", running.config)
    })
}

fn log(socket: &SocketArgs) -> Result<(), Failure> {
    let rows: Vec<RevisionRow> =
        socket.client().get_json("/v1/config/revisions").map_err(anyhow::Error::from)?;
    socket.show(&rows, |out| write_log(out, &rows))
}

fn write_log(out: &mut dyn Write, rows: &[RevisionRow]) -> io::Result<()> {
    let mut table = Table::new(&[
        ("revision", Align::Right),
        ("", Align::Left),
        ("applied", Align::Left),
        ("by", Align::Left),
        ("what", Align::Left),
    ]);
    for row in rows {
        let mark = match (row.runs, row.unconfirmed) {
            (_, true) => "unconfirmed",
            (true, false) => "runs",
            _ => "",
        };
        let origin = format!("{:?}", row.origin).to_lowercase();
        let what = if row.comment.is_empty() { origin } else { format!("{origin}: {}", row.comment) };
        let author = if row.author.is_empty() { "-".to_owned() } else { row.author.clone() };
        table.row([row.number.to_string(), mark.to_owned(), row.at.clone(), author, what]);
    }
    table.write(out)
}

fn save(socket: &SocketArgs) -> Result<(), Failure> {
    let done: Reload = ask(socket, "/v1/config/save", &Options::default())?;
    let saved = done.saved.clone().unwrap_or_default();
    socket.show(&done, |out| writeln!(out, "revision {} written to {saved}", done.revision))
}

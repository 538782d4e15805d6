//! `natgate sessions`: the session table of the running gateway, from its control socket.

use super::Failure;
use super::filter::FilterArgs;
use super::follow::{self, follow};
use super::live::{Show, Watch};
use super::session_tables::{write_count, write_groups, write_top};
use super::table::{grouped, json, to_stdout};
use crate::control::client::{Client, ClientError};
use crate::control::tally::{By, Sort};
use crate::control::{DEFAULT_SOCKET, api};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

/// The end of each help text.
macro_rules! help {
    ($($line:literal)*) => {
        concat!($($line, "\n",)* "\nExit codes: 0 done, 1 no answer from a gateway, 2 wrong usage.")
    };
}

const EXAMPLES: &str = help!(
    "\
Examples:
  natgate sessions                     every one, as `conntrack -L` prints it
  natgate sessions --limit 20          the first 20
  natgate sessions list --proto tcp --dport 443 --state ESTABLISHED
  natgate sessions list -o json        one JSON object a line, for jq
  natgate sessions count               how full the table is
  natgate sessions count --by state    how many in each state
  natgate sessions top --watch         who fills the table, every 2 seconds
  natgate sessions watch               what happens to them, until Ctrl-C
  natgate sessions delete --src 10.0.0.5
  natgate sessions flush --yes         delete every session

The list is written while the table is read: a session is shown as it was at
that moment."
);

/// Lists, counts or deletes the sessions of the running gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SessionsArgs {
    /// What to do; `list` if left out
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Which sessions to list.
    #[command(flatten)]
    pub list: ListArgs,
    /// `extended`: the line of `conntrack -L -o extended`, or a table; `procfs`: the line of
    /// /proc/net/nf_conntrack; `json`: for scripts
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value = "extended")]
    #[arg(hide_possible_values = true)]
    pub output: Format,
    /// The same as `-o json`
    #[arg(long, global = true)]
    pub json: bool,
    /// The gateway's control socket (`runtime.control` in its config)
    #[arg(short, long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// What to do with the sessions.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Print one line a session
    #[command(after_help = help!("\
Examples:
  natgate sessions list --src 10.0.0.0/24 --unreplied
  natgate sessions list --proto tcp --state SYN_SENT --older-than 1m
  natgate sessions list | grep tcp | awk '{print $6}' | sort | uniq -c
  natgate sessions list -o procfs      as /proc/net/nf_conntrack has it
  natgate sessions list -o json --min-bytes 1GiB | jq -r .original.src"))]
    List(ListArgs),
    /// Print how many sessions there are, and how many fit
    #[command(after_help = help!("\
Examples:
  natgate sessions count                       how full the table is, by worker
  natgate sessions count --proto udp --unreplied
  natgate sessions count --by state --src 10.0.0.5
  natgate sessions count --by source --limit 50 -o json

Without flags it reads counters; with them it reads every session."))]
    Count(CountArgs),
    /// Print who has most sessions: who filled the table
    #[command(after_help = help!("\
Examples:
  natgate sessions top                         the 20 sources with most sessions
  natgate sessions top --sort rate             those that open most new ones
  natgate sessions top --by mapping --proto udp
  natgate sessions top --by dport --src 10.0.0.5 --watch=5

new/s counts the sessions of the last 10 seconds that are still in the table."))]
    Top(TopArgs),
    /// Print what happens to sessions while it does, as `conntrack -E`
    #[command(after_help = help!("\
Examples:
  natgate sessions watch                       new, changed and ended ones
  natgate sessions watch --proto tcp --dport 443
  natgate sessions watch --events destroy -o json | jq -r .reason
  natgate sessions watch --events new --src 10.0.0.5

Goes on until Ctrl-C, or with exit code 1 until the gateway stops. Nothing is
said of sessions that are there already. If the output is read too slowly events
are lost: how many is said on standard error."))]
    Watch(WatchArgs),
    /// Delete the sessions that a filter means
    #[command(after_help = help!("\
Examples:
  natgate sessions delete --src 10.0.0.5
  natgate sessions delete --proto tcp --src 10.0.0.5 --dport 443
  natgate sessions delete --state SYN_SENT --older-than 10s

Their external ports are free again. The next packet of a deleted conversation
is a new one: TCP that goes on without a handshake is dropped unless the config
allows to pick it up. At least one flag is needed: `flush` deletes all."))]
    Delete(DeleteArgs),
    /// Delete every session
    #[command(after_help = help!("\
Examples:
  natgate sessions flush                       asks first
  natgate sessions flush --yes                 for scripts"))]
    Flush(FlushArgs),
}

/// Which sessions to list.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListArgs {
    /// The sessions that are meant.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most so many lines
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// What to count.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CountArgs {
    /// Count by what sessions have in common
    #[arg(long, value_parser = names(&COUNT_BY))]
    pub by: Option<String>,
    /// At most so many rows with --by; 20 of what there can be many of [max: 10000]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Whether it is shown again and again.
    #[command(flatten)]
    pub watch: Watch,
    /// The sessions that are meant.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// What to rank.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TopArgs {
    /// Whose sessions are put together
    #[arg(long, default_value = By::Source.name(), value_parser = names(&TOP_BY))]
    pub by: String,
    /// What the rows are sorted by
    #[arg(long, default_value = Sort::Entries.name())]
    #[arg(value_parser = PossibleValuesParser::new(Sort::ALL.map(Sort::name)))]
    pub sort: String,
    /// At most so many rows; 20 if left out [max: 10000]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Whether it is shown again and again.
    #[command(flatten)]
    pub watch: Watch,
    /// The sessions that are meant.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// What to watch.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WatchArgs {
    /// Which events: new, update, destroy; several with commas; all if left out
    #[arg(long, value_name = "EVENTS")]
    pub events: Option<String>,
    /// The sessions that are meant.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// What to delete.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DeleteArgs {
    /// The sessions that are meant.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Whether the operator means it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct FlushArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

const COUNT_BY: [By; 7] =
    [By::State, By::Protocol, By::Source, By::Destination, By::Dport, By::Worker, By::Zone];
const TOP_BY: [By; 4] = [By::Source, By::Destination, By::Dport, By::Mapping];

fn names(list: &'static [By]) -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(list.iter().map(|by| by.name()))
}

/// How sessions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The line of `conntrack -L -o extended`.
    Extended,
    /// The line of `/proc/net/nf_conntrack`.
    Procfs,
    /// A JSON object a line.
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Extended => "extended",
            Format::Procfs => "procfs",
            Format::Json => "json",
        }
    }
}

/// Runs the command. A reader that goes away is not an error.
pub(super) fn run(args: &SessionsArgs) -> Result<(), Failure> {
    let job = Job { client: Client::new(&args.socket), json: args.json || args.output == Format::Json, args };
    match &args.command {
        None => job.list(&ListArgs::default()),
        Some(Command::List(list)) => job.list(list),
        Some(Command::Count(count)) => job.count(count),
        Some(Command::Top(top)) => job.top(top),
        Some(Command::Watch(watch)) => job.watch(watch),
        Some(Command::Delete(delete)) => job.delete(delete),
        Some(Command::Flush(flush)) => job.flush(*flush),
    }
}

struct Job<'a> {
    client: Client,
    json: bool,
    args: &'a SessionsArgs,
}

impl Job<'_> {
    fn list(&self, list: &ListArgs) -> Result<(), Failure> {
        let format = if self.json { Format::Json } else { self.args.output };
        let path = self.path("/v1/sessions", &list.filter, list.limit, &[("format", format.name())]);
        let lines = self.client.get_lines(&path).map_err(failed)?;
        Ok(to_stdout(|out| {
            for line in lines {
                writeln!(out, "{}", line?)?;
            }
            Ok(())
        })?)
    }

    fn count(&self, count: &CountArgs) -> Result<(), Failure> {
        let limit = count.limit.or(self.args.list.limit);
        let Some(by) = &count.by else {
            if limit.is_some() {
                return Err(Failure::Usage("--limit is for lists: say what to count by, with --by".into()));
            }
            let path = self.path("/v1/sessions/count", &count.filter, None, &[]);
            return self.show(&path, count.watch, |out, count: &api::SessionCount| write_count(out, count));
        };
        let path = self.path("/v1/sessions/count", &count.filter, limit, &[("by", by)]);
        self.show(&path, count.watch, |out, groups: &api::SessionGroups| write_groups(out, groups))
    }

    fn top(&self, top: &TopArgs) -> Result<(), Failure> {
        let path =
            self.path("/v1/sessions/top", &top.filter, top.limit, &[("by", &top.by), ("sort", &top.sort)]);
        self.show(&path, top.watch, |out, groups: &api::SessionGroups| write_top(out, groups))
    }

    fn watch(&self, watch: &WatchArgs) -> Result<(), Failure> {
        self.refuse_limit("watch")?;
        let format = if self.json { Format::Json } else { Format::Extended };
        let events = watch.events.as_deref().map(|events| ("events", events));
        let others: Vec<_> = [("format", format.name())].into_iter().chain(events).collect();
        let path = self.path("/v1/sessions/watch", &watch.filter, None, &others);
        let messages = follow::open(&self.client, &path).map_err(failed)?;
        Ok(follow(messages, |out, message| Ok(writeln!(out, "{}", message.data)?))?)
    }

    fn delete(&self, delete: &DeleteArgs) -> Result<(), Failure> {
        if delete.filter.is_empty() && self.args.list.filter.is_empty() {
            let hint = "say which sessions to delete, with flags such as --src 10.0.0.5 (`natgate sessions delete \
                        --help` has them all); `natgate sessions flush` deletes every one";
            return Err(Failure::Usage(hint.into()));
        }
        self.refuse_limit("delete")?;
        self.remove(&self.path("/v1/sessions", &delete.filter, None, &[]))
    }

    fn flush(&self, flush: FlushArgs) -> Result<(), Failure> {
        if !self.args.list.filter.is_empty() {
            let hint = "flush deletes every session and takes no filter: use `natgate sessions delete`";
            return Err(Failure::Usage(hint.into()));
        }
        self.refuse_limit("flush")?;
        if !flush.yes {
            if !io::stdin().is_terminal() {
                return Err(Failure::Usage("flush deletes every session: add --yes if that is meant".into()));
            }
            let count: api::SessionCount = self.client.get_json("/v1/sessions/count").map_err(failed)?;
            if !confirmed(count.total.used)? {
                return Err(Failure::Other(anyhow::anyhow!("nothing was deleted")));
            }
        }
        self.remove("/v1/sessions?all=true")
    }

    fn remove(&self, path: &str) -> Result<(), Failure> {
        let done: api::Deleted = self.client.delete_json(path).map_err(failed)?;
        to_stdout(|out| match self.json {
            true => json(out, &done),
            false => Ok(writeln!(out, "deleted {}", count_sessions(done.deleted))?),
        })?;
        if done.deleted < done.matched {
            let left = grouped(done.matched - done.deleted);
            return Err(Failure::Other(anyhow::anyhow!(
                "{left} more were told to go, but their worker does not turn"
            )));
        }
        Ok(())
    }

    /// A limit in front of a command that has none must not be overlooked.
    fn refuse_limit(&self, command: &str) -> Result<(), Failure> {
        match self.args.list.limit {
            Some(_) => Err(Failure::Usage(format!("--limit is for lists, not for {command}"))),
            None => Ok(()),
        }
    }

    /// Shows the answer, for which the gateway may read all of its sessions, once or again and again.
    fn show<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        watch: Watch,
        text: impl Fn(&mut dyn Write, &T) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let show = Show { json: self.json, every: watch.every };
        let shown = show.run(|| self.client.get_json_slowly(path), |out, answer: &T, _| text(out, answer));
        shown.map_err(|error| match error.downcast::<ClientError>() {
            Ok(error) => failed(error),
            Err(error) => Failure::Other(error),
        })
    }

    /// The path with everything that was said about the sessions, in front of the command or behind it.
    fn path(&self, path: &str, filter: &FilterArgs, limit: Option<u64>, others: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(others).extend_pairs(self.args.list.filter.pairs()).extend_pairs(filter.pairs());
        if let Some(limit) = limit.or(self.args.list.limit) {
            query.append_pair("limit", &limit.to_string());
        }
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

/// What the gateway calls a bad request is wrong usage.
fn failed(error: ClientError) -> Failure {
    match error {
        ClientError::Refused { status: 400, message, .. } => Failure::Usage(message),
        error => Failure::Other(error.into()),
    }
}

fn count_sessions(number: u64) -> String {
    format!("{} session{}", grouped(number), if number == 1 { "" } else { "s" })
}

fn confirmed(sessions: u64) -> io::Result<bool> {
    let mut out = io::stderr().lock();
    write!(out, "Delete {}? Every conversation has to begin anew. [yes/no] ", count_sessions(sessions))?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "yes" | "y"))
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

    fn path(line: &str, filter: &FilterArgs) -> String {
        let args = parse(line);
        let job = Job { client: Client::new("/x"), json: false, args: &args };
        job.path("/v1/sessions", filter, None, &[])
    }

    #[test]
    fn list_is_what_is_done_when_nothing_is_said() {
        assert!(parse("sessions").command.is_none());
        let args = parse("sessions --limit 20 -o json");
        assert_eq!((args.list.limit, args.output), (Some(20), Format::Json));
        assert!(matches!(parse("sessions list --limit 20").command, Some(Command::List(_))));
        assert!(matches!(parse("sessions -s /x count").command, Some(Command::Count(_))));
        assert_eq!(parse("sessions -o procfs").output, Format::Procfs);
        let Some(Command::Top(top)) = parse("sessions top --watch").command else { panic!("top") };
        assert_eq!(top.watch.every, Some(std::time::Duration::from_secs(2)));
    }

    #[test]
    fn what_is_said_in_front_of_a_command_holds_for_it() {
        let Some(Command::Count(count)) = parse("sessions count --src 10.0.0.0/8 --older-than 2h").command
        else {
            panic!("count");
        };
        assert_eq!(
            path("sessions --proto tcp --limit 3 count", &count.filter),
            "/v1/sessions?proto=tcp&src=10.0.0.0%2F8&older-than=2h&limit=3"
        );
        assert_eq!(path("sessions", &FilterArgs::default()), "/v1/sessions");
    }

    #[test]
    fn a_wrong_command_line_is_refused_before_anybody_is_asked() {
        for line in [
            "sessions delete",
            "sessions flush",
            "sessions --src 10.0.0.1 flush --yes",
            "sessions --limit 1 delete --src 10.0.0.1",
            "sessions count --limit 5",
            "sessions --limit 5 watch",
        ] {
            let args = parse(&format!("{line} -s /nonexistent/socket"));
            // A terminal would be asked instead.
            if line == "sessions flush" && io::stdin().is_terminal() {
                continue;
            }
            assert!(matches!(run(&args), Err(Failure::Usage(_))), "{line}");
        }
    }
}

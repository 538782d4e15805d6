//! The commands, one file each: their arguments, and what they print.
//!
//! Each visible command has examples and exit codes in its help, and `--json` if it prints a result; tests hold them to
//! that. Lines have 80 characters, or as many as the terminal has if it is wider.
//!
//! Exit codes: 0 done, 1 failed while running, 2 the command line or the config is wrong, 3 `explain` says that the packet
//! would be dropped. Results go to standard output, everything else (logs, errors, warnings) to standard error. Colours
//! only on a terminal, and not if `NO_COLOR` is set.

pub mod advise;
mod api;
mod bench;
mod bench_args;
mod bench_plot;
pub mod bench_text;
mod change;
mod check;
mod completion;
mod config;
mod demo;
mod edit;
pub mod explain;
pub mod explain_ports;
pub mod explain_text;
pub mod filter;
mod follow;
pub mod live;
mod logging;
mod manual;
mod peer;
mod reload;
mod report;
mod run;
pub mod session_tables;
pub mod sessions;
pub mod show;
pub mod show_backends;
pub mod show_drops;
pub mod show_events;
pub mod show_pools;
pub mod show_pressure;
pub mod show_routes;
pub mod show_rules;
pub mod show_status;
pub mod show_steering;
pub mod show_timers;
pub mod table;

use clap::{ArgAction, Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// With the version of DPDK: see `build.rs`.
const VERSION: &str = env!("NATGATE_VERSION");
const NAME_AND_VERSION: &str = concat!("natgate ", env!("NATGATE_VERSION"));

const EXAMPLES: &str = "\
Examples:
  natgate check natgate.toml      every mistake in the file, or what it means
  natgate run -c natgate.toml     run the gateway until Ctrl-C or SIGTERM
  natgate show status             what the running gateway does
  natgate show drops --watch      the same, again and again
  natgate sessions -o extended    its sessions, as classic conntrack lines
  natgate sessions top            who fills the table
  natgate reload new.toml         another config, without a pause
  natgate explain tcp 192.168.1.10:40000 198.51.100.7:443
                                  what would become of that packet, and why
  natgate advise                  which services would do better untracked
  natgate bench                   how fast it is
  natgate demo                    all of it between hosts made for the purpose

Environment:
  NATGATE_LOG         which messages to log: error, warn, info, debug, trace,
                      or by module, such as natgate::device=debug
  NATGATE_LOG_FORMAT  how, as --log-format says
  NO_COLOR            if set, no colours
  COLUMNS             how long lines may be, 80 at the least

Exit codes:
  0  done
  1  failed while running; no gateway answers
  2  the command line or the config is wrong
  3  natgate explain: the packet would be dropped";

/// A stateful NAT gateway on DPDK.
#[derive(Debug, Parser)]
#[command(name = "natgate", version = VERSION, after_help = EXAMPLES)]
struct Cli {
    /// Log more: -v debug, -vv trace. NATGATE_LOG, if set, decides instead
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    /// How to log; left out: to the journal if standard error is the journal, else as text
    #[arg(long, global = true, value_enum, value_name = "FORMAT", env = "NATGATE_LOG_FORMAT")]
    #[arg(hide_env_values = true)]
    log_format: Option<logging::Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::Args),
    /// Check a config: every mistake at once, and what the config means
    Check(check::Args),
    /// Show what a running gateway does
    Show(show::ShowArgs),
    /// List, count or delete the sessions of a running gateway
    Sessions(sessions::SessionsArgs),
    /// Take another config over, without a pause
    Reload(reload::ReloadArgs),
    /// Say what another config would change
    Diff(reload::DiffArgs),
    /// Confirm a config that was taken over with --confirm-within
    Confirm(reload::ConfirmArgs),
    /// Go back to an earlier revision of the config
    Rollback(reload::RollbackArgs),
    /// Show, list or save the config that runs and its revisions
    Config(config::ConfigArgs),
    /// Add, remove or drain a forward (DNAT)
    Forward(edit::ForwardArgs),
    /// Let sources open no session any more
    Ban(edit::BanArgs),
    /// Let banned sources open sessions again
    Unban(edit::BanArgs),
    /// Print the description of the control socket for programs (OpenAPI)
    Api(api::Args),
    /// Print a script that completes commands and flags in your shell
    Completion(completion::Args),
    /// Print the manual page of natgate, or write those of all commands
    Man(manual::Args),
    /// Explain what would become of a packet now, and why
    Explain(explain::ExplainArgs),
    /// Say which services would do better untracked
    Advise(advise::AdviseArgs),
    /// Measure a NAT: throughput, latency, sessions (RFC 2544, RFC 9693)
    Bench(bench::Args),
    /// Show natgate at work between real hosts, on this machine
    Demo(demo::Args),
    /// Play a part in the demo and in tests
    #[command(subcommand, hide = true)]
    Peer(peer::Args),
}

/// Why a command did not do what it should.
enum Failure {
    /// The config is wrong; the user has been told.
    Config,
    /// The command line is wrong in a way that its parser does not see.
    Usage(String),
    /// The packet that was asked about would be dropped; the user has been told.
    Dropped,
    /// Something else.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Other(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Other(error.into())
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" too, to standard output. Nobody is left to tell if that is closed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    table::measure();
    if let Err(problem) = logging::start(cli.verbose, cli.log_format) {
        complain(&problem);
        return ExitCode::from(2);
    }
    let done = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Show(args) => show::run(&args).map_err(Failure::from),
        Command::Sessions(args) => sessions::run(&args),
        Command::Reload(args) => reload::reload(&args),
        Command::Diff(args) => reload::diff(&args),
        Command::Confirm(args) => reload::confirm(&args),
        Command::Rollback(args) => reload::rollback(&args),
        Command::Config(args) => config::run(&args),
        Command::Forward(args) => edit::forward(&args),
        Command::Ban(args) => edit::ban(&args, true),
        Command::Unban(args) => edit::ban(&args, false),
        Command::Explain(args) => explain::run(&args),
        Command::Advise(args) => advise::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Demo(args) => demo::run(&args).map_err(|error| match error {
            demo::DemoError::Output(error) => Failure::from(error),
            error => Failure::Other(error.into()),
        }),
        Command::Api(args) => api::run(args).map_err(Failure::from),
        Command::Completion(args) => completion::run(&args).map_err(Failure::from),
        Command::Man(args) => manual::run(&args).map_err(Failure::from),
        Command::Peer(args) => peer::run(args).map_err(Failure::from),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config) => ExitCode::from(2),
        Err(Failure::Dropped) => ExitCode::from(3),
        Err(Failure::Usage(sentence)) => {
            complain(&sentence);
            ExitCode::from(2)
        }
        Err(Failure::Other(error)) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One sentence to standard error.
fn complain(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "natgate: {sentence}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command that help shows, as it is after parsing: with its full name.
    pub(super) fn visible() -> Vec<clap::Command> {
        fn collect(command: &clap::Command, found: &mut Vec<clap::Command>) {
            found.push(command.clone());
            let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
            visible.for_each(|command| collect(command, found));
        }
        let mut root = Cli::command().disable_help_subcommand(true);
        root.build();
        let mut found = Vec::new();
        collect(&root, &mut found);
        found
    }

    fn name(command: &clap::Command) -> String {
        command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
    }

    /// What does not print a result: it runs until it is stopped, or prints a text for another program.
    const WITHOUT_RESULT: [&str; 7] = [
        "natgate-run",
        "natgate-bench-config",
        "natgate-bench-plot",
        "natgate-demo",
        "natgate-api",
        "natgate-completion",
        "natgate-man",
    ];

    #[test]
    fn every_command_has_examples_and_exit_codes_in_its_help() {
        for mut command in visible() {
            let help = command.render_long_help().to_string();
            for part in ["Example", "Exit codes", "natgate "] {
                assert!(help.contains(part), "{}: {part:?} is not in\n{help}", name(&command));
            }
        }
    }

    /// The words of the first command on a line as a shell takes them, but for what a backslash does.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        // Two spaces in front of what an example is for.
        let line = line.split("  ").next().unwrap_or_default();
        for letter in line.chars().chain([' ']) {
            match (quote, letter) {
                (Some(end), letter) if letter == end => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                (None, '|' | '>' | '&') => break,
                (None, ' ') => words.extend(word.take()),
                (_, letter) => word.get_or_insert_default().push(letter),
            }
        }
        words
    }

    #[test]
    fn examples_are_command_lines_that_are_accepted() {
        assert_eq!(words("ban 10.0.0.1 -m 'a b'  why | x"), ["ban", "10.0.0.1", "-m", "a b"]);
        let mut met = 0;
        for command in visible() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines() {
                let Some(example) = line.strip_prefix("  natgate ") else { continue };
                assert!(line.chars().count() <= 80, "{line}");
                let words = words(example);
                let parsed =
                    Cli::try_parse_from(["natgate"].into_iter().chain(words.iter().map(String::as_str)));
                assert!(parsed.is_ok(), "{}: {words:?}: {}", name(&command), parsed.unwrap_err());
                met += 1;
            }
        }
        assert!(met > 30, "{met}");
    }

    #[test]
    fn every_command_that_prints_a_result_can_print_json() {
        for command in visible().iter().filter(|command| !command.has_subcommands()) {
            let has_json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
            assert_eq!(has_json, !WITHOUT_RESULT.contains(&&*name(command)), "{}", name(command));
        }
    }

    #[test]
    fn what_changes_while_one_looks_can_be_watched() {
        for command in visible().iter().filter(|command| !command.has_subcommands()) {
            let name = name(command);
            let is_live = name.starts_with("natgate-show-")
                || ["natgate-sessions-count", "natgate-sessions-top"].contains(&&*name);
            let has_watch = command.get_arguments().any(|argument| argument.get_long() == Some("watch"));
            assert_eq!(has_watch, is_live, "{name}");
        }
    }

    #[test]
    fn help_fits_in_80_columns() {
        for command in visible() {
            let help = command.clone().term_width(80).render_help().to_string();
            let long = help.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "{}", name(&command));
        }
    }

    #[test]
    fn the_config_is_an_argument_of_run_and_check() {
        assert!(Cli::try_parse_from(["natgate", "run", "-c", "x.toml", "-vv"]).is_ok());
        assert!(Cli::try_parse_from(["natgate", "check", "x.toml", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["natgate", "run"]).is_err());
        assert!(Cli::try_parse_from(["natgate"]).is_err());
    }
}

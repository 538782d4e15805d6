//! stand-in until the real one lands

pub mod demo;
pub mod peer;
pub mod sessions;
pub mod show;
pub mod table;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "natgate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    #[command(subcommand, hide = true)]
    Peer(peer::Args),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args).map_err(|e| e.to_string()),
        Command::Peer(args) => peer::run(args).map_err(|e| e.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "natgate: {e}");
            ExitCode::FAILURE
        }
    }
}

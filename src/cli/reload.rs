//! `natgate reload`, `diff`, `confirm`, `rollback`: another configuration for the running gateway.

use super::change::{ChangeArgs, SocketArgs, ask, write_change};
use super::{Failure, report};
use crate::control::reload::answer::{Options, Reload, ReloadRequest, RollbackRequest};
use std::path::{Path, PathBuf};

/// Arguments of `natgate reload`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything is checked and compared first; then all workers go over to it between
two bursts, or none does. Sessions go on (`--sessions drop` ends those that the
new rules would not make). What needs a restart is said and refused, with the
rest not applied.

Examples:
  natgate reload                              the gateway's own config again
  natgate reload new.toml --dry-run           what would change?
  natgate reload new.toml --confirm-within 60s -m 'new uplink'
                                              back by itself unless `natgate confirm` follows
  natgate reload new.toml --save              and write it to the gateway's own

Exit codes: 0 done, 1 failed or refused, 2 the config or the command line is wrong.")]
pub(super) struct ReloadArgs {
    /// The config; that which the gateway was started with if left out
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Arguments of `natgate diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The same as `natgate reload FILE --dry-run`: what would change, which sessions it
would concern, what needs a restart.

Examples:
  natgate diff new.toml
  natgate diff new.toml --json | jq -r '.changes[].text'

Exit codes: 0 compared, 1 no gateway answers or a restart is needed, 2 the config is wrong.")]
pub(super) struct DiffArgs {
    /// The config
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Arguments of `natgate confirm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  natgate reload new.toml --confirm-within 60s && natgate confirm

Exit codes: 0 confirmed, 1 nothing waits for it, or no gateway answers.")]
pub(super) struct ConfirmArgs {
    #[command(flatten)]
    socket: SocketArgs,
}

/// Arguments of `natgate rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --to it goes back to the revision before, or to the one before that which
waits to be confirmed. It is a reload like any other: what it puts back can be
rolled back too.

Examples:
  natgate rollback
  natgate config log                          which revisions there are
  natgate rollback --to 7 --dry-run
  natgate rollback --to 7 -m 'the new pool is not routed yet'

Exit codes: 0 done, 1 failed or refused.")]
pub(super) struct RollbackArgs {
    /// The revision: one of the last ten
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Reads a config that is to be sent; its mistakes are printed here, as `natgate check` does.
fn read(path: &Path) -> Result<String, Failure> {
    Ok(report::load_text(path)?.0)
}

pub(super) fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    let options = args.change.options()?;
    let config = args.file.as_deref().map(read).transpose()?;
    let file = args.file.as_ref().map(|file| file.display().to_string());
    let dry_run = options.dry_run;
    let done = ask(&args.socket, "/v1/config", &ReloadRequest { config, file, options })?;
    args.socket.show(&done, |out| write_change(out, &done, dry_run))
}

pub(super) fn diff(args: &DiffArgs) -> Result<(), Failure> {
    let config = Some(read(&args.file)?);
    let options = Options { dry_run: true, ..Options::default() };
    let request = ReloadRequest { config, file: Some(args.file.display().to_string()), options };
    let done = ask(&args.socket, "/v1/config", &request)?;
    args.socket.show(&done, |out| write_change(out, &done, true))
}

pub(super) fn confirm(args: &ConfirmArgs) -> Result<(), Failure> {
    let options = Options { author: super::change::author(), ..Options::default() };
    let done: Reload = ask(&args.socket, "/v1/config/confirm", &options)?;
    args.socket.show(&done, |out| writeln!(out, "revision {} stays", done.revision))
}

pub(super) fn rollback(args: &RollbackArgs) -> Result<(), Failure> {
    let options = args.change.options()?;
    let dry_run = options.dry_run;
    let done = ask(&args.socket, "/v1/config/rollback", &RollbackRequest { to: args.to, options })?;
    args.socket.show(&done, |out| write_change(out, &done, dry_run))
}

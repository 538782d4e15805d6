//! `natgate run`: loads the config and hands it to the runtime.

use super::{Failure, report};
use crate::config::Config;
use std::path::PathBuf;

/// Arguments of `natgate run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The process takes over the devices that the config names, runs until SIGINT (Ctrl-C) or SIGTERM, and
gives them back.

Example:
  natgate run -c /etc/natgate.toml")]
pub(super) struct Args {
    /// The config
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let checked = report::load(&args.config)?;
    Ok(start(checked.config)?)
}

/// The call site of the runtime: `crate::runtime::run(config)` takes the place of this body.
fn start(config: Config) -> anyhow::Result<()> {
    let devices = config.devices.len();
    anyhow::bail!("this build of natgate can not drive devices ({devices} in the config)")
}

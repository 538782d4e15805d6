//! `natgate run`: loads the config and hands it to the runtime.

use super::{Failure, report};
use crate::config::Config;
use std::path::{Path, PathBuf};

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
    start(&checked.config, &args.config).map_err(Failure::from)
}

#[cfg(feature = "dpdk")]
fn start(config: &Config, path: &Path) -> anyhow::Result<()> {
    Ok(crate::runtime::process::run(config, path)?)
}

#[cfg(not(feature = "dpdk"))]
fn start(_: &Config, _: &Path) -> anyhow::Result<()> {
    anyhow::bail!("this natgate was built without the feature \"dpdk\" and can not drive devices")
}

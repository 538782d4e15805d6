//! `natgate run`: loads the config and hands it to the runtime.

use super::{Failure, report};
use crate::config::Config;
use crate::config::estimate::Estimate;
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
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Estimate::of(&checked.config).fits(available_bytes(&meminfo)).map_err(anyhow::Error::from)?;
    start(&checked.config, &args.config).map_err(Failure::from)
}

/// `MemAvailable` of the text of `/proc/meminfo`; without that line no limit is known.
fn available_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

#[cfg(feature = "dpdk")]
fn start(config: &Config, path: &Path) -> anyhow::Result<()> {
    Ok(crate::runtime::process::run(config, path)?)
}

#[cfg(not(feature = "dpdk"))]
fn start(_: &Config, _: &Path) -> anyhow::Result<()> {
    anyhow::bail!("this natgate was built without the feature \"dpdk\" and can not drive devices")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_that_is_available_is_read_from_meminfo() {
        assert_eq!(available_bytes("MemTotal: 9 kB\nMemAvailable:    2000 kB\n"), 2_048_000);
        assert_eq!(available_bytes(""), u64::MAX);
    }
}

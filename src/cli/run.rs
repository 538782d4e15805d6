//! `natgate run`: loads the config and hands it to the runtime.

use super::{Failure, report};
use crate::config::Config;
use crate::config::estimate::Estimate;
use crate::control::reload::history::{History, Revision};
use std::path::PathBuf;

/// Arguments of `natgate run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The process takes over the devices that the config names, runs until SIGINT
(Ctrl-C) or SIGTERM, and gives them back. SIGHUP reads the config again, like
`natgate reload`.

Examples:
  natgate run -c /etc/natgate.toml
  natgate run -c natgate.toml --log-format json

Exit codes: 0 stopped by a signal, 1 it could not start or failed while running,
2 the config is wrong or wrong usage.")]
pub(super) struct Args {
    /// The config
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let path = args.config;
    let (text, checked) = report::load_text(&path)?;
    let history = History::load(&checked.config.runtime.state, &path).unwrap_or_else(|error| {
        tracing::warn!("{error}");
        History::default()
    });
    let (text, config) = match history.instead_of(&text) {
        None => (text, checked.config),
        Some(Revision { number, text, .. }) => {
            tracing::warn!(
                "{} holds a configuration that was not confirmed: starting with revision {number}, which ran before it. \
                 `natgate reload` applies the file, `natgate config save` puts revision {number} into it",
                path.display()
            );
            let name = format!("revision {number} of {}", path.display());
            (text.clone(), report::check(text, &name)?.config)
        }
    };
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Estimate::of(&config).fits(available_bytes(&meminfo)).map_err(anyhow::Error::from)?;
    start(&config, path, text, history).map_err(Failure::from)
}

/// `MemAvailable` of the text of `/proc/meminfo`; without that line no limit is known.
fn available_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

#[cfg(feature = "dpdk")]
fn start(config: &Config, path: PathBuf, text: String, history: History) -> anyhow::Result<()> {
    use crate::runtime::process::{StartedWith, run};
    Ok(run(config, StartedWith { path, text, history })?)
}

#[cfg(not(feature = "dpdk"))]
fn start(_: &Config, _: PathBuf, _: String, _: History) -> anyhow::Result<()> {
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

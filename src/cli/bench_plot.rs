//! `natgate bench plot`: a picture of results that were written as JSON.

use super::Failure;
use super::table::to_stdout;
use crate::bench::report::{self, What};
use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::fs;
use std::path::PathBuf;

/// Arguments of `natgate bench plot`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reports of one device under test are put together: their runs become medians
with error bars.

What can be plotted:
  rate               packets a second against sessions
  establish          new sessions a second against sessions
  cycles             cycles a packet against sessions
  cycles-by-rules    against the number of rules
  cycles-by-workers  against the number of workers
  latency            percentiles at the largest number of sessions

Examples:
  natgate bench plot result.json -o rate.svg
  natgate bench plot testpmd.json natgate.json --what latency -o latency.svg

Exit codes: 0 done, 1 a file can not be read or has nothing to plot, 2 wrong
usage.")]
pub(super) struct Args {
    /// What `natgate bench --json` or scripts/bench-compare wrote
    #[arg(value_name = "FILE.json", required = true)]
    files: Vec<PathBuf>,
    /// What to plot
    #[arg(long, value_name = "PLOT", default_value = "rate", value_parser = plots())]
    what: What,
    /// Write the SVG into this file; - is standard output
    #[arg(short, long, value_name = "FILE.svg", default_value = "-")]
    output: PathBuf,
}

fn plots() -> impl TypedValueParser<Value = What> {
    PossibleValuesParser::new(What::ALL.map(What::name)).try_map(|name| name.parse::<What>())
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for path in &args.files {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| format!("can not read {file}"))?;
        reports.extend(report::read(&text, &file).map_err(anyhow::Error::from)?);
    }
    let svg = report::plot(&reports, args.what).map_err(anyhow::Error::from)?;
    if args.output.as_os_str() == "-" {
        return to_stdout(|out| Ok(out.write_all(svg.as_bytes())?)).map_err(Failure::from);
    }
    fs::write(&args.output, svg).with_context(|| format!("can not write {}", args.output.display()))?;
    Ok(())
}

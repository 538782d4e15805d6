//! `natgate check`: a dry run. Every mistake and doubt in the file, or what the config means: interfaces, rules, the
//! memory that it takes and the rate of new sessions that its table sustains.

use super::table::{Align, Table, hanging, labelled, wrapped};
use super::{Failure, report, table};
use crate::config::estimate::{Estimate, mebibytes};
use crate::config::model::{Config, PollMode};
use crate::config::{self, Checked, Diagnostic, LoadError, Problem};
use crate::conntrack::policy::WhenFull;
use crate::conntrack::timeouts::Timeout;
use crate::steering::Spread;
use crate::steering::plan::Wish;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Arguments of `natgate check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is started and no device is touched.

Examples:
  natgate check /etc/natgate.toml
  natgate check --json natgate.toml | jq '.errors[].message'

Exit codes: 0 the config is valid, 1 the output can not be written, 2 it is wrong
or wrong usage.")]
pub(super) struct Args {
    /// The config
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object to standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    if args.json {
        return json(&args.file);
    }
    let Checked { config, warnings } = report::load(&args.file)?;
    let found = match warnings.len() {
        0 => String::new(),
        n => format!(", {}", report::count(n, "warning")),
    };
    let text = |out: &mut dyn Write| {
        writeln!(out, "{}: valid{found}\n", args.file.display())?;
        Ok(summary(out, &config)?)
    };
    Ok(table::to_stdout(text)?)
}

fn summary(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let columns = ["interface", "realm", "device", "vlan", "zone", "mtu", "addresses"];
    let mut interfaces = Table::new(&columns.map(|name| (name, Align::Left)));
    for interface in &config.interfaces {
        let device = config.devices.get(interface.device.index());
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        interfaces.row([
            interface.name.clone(),
            interface.realm.name().to_owned(),
            device.map(|device| device.spec.to_string()).unwrap_or_default(),
            if interface.vlan == 0 { "-".to_owned() } else { interface.vlan.to_string() },
            interface.zone.to_string(),
            interface.mtu.to_string(),
            addresses.join(", "),
        ]);
    }
    interfaces.write(out)?;
    writeln!(out)?;
    let runtime = &config.runtime;
    let poll = match runtime.poll {
        PollMode::Busy => "busy polling",
        PollMode::Adaptive => "sleeping when idle",
    };
    let cpus: Vec<String> = runtime.cpus.iter().map(ToString::to_string).collect();
    let cpus = if cpus.is_empty() { "the last CPUs".to_owned() } else { format!("CPU {}", cpus.join(", ")) };
    labelled(out, "workers", &format!("{} on {cpus}, {poll}", runtime.workers))?;
    steering(out, config)?;
    let pools: usize = config.pools.iter().map(|pool| pool.addresses.len()).sum();
    let rules = format!(
        "{}{} snat, {} dnat; {} with {}; {}",
        match config.statics.len() {
            0 => String::new(),
            count => format!("{count} static, "),
        },
        config.snat.len(),
        config.dnat.len(),
        report::count(config.pools.len(), "pool"),
        several(pools, "address"),
        report::count(config.routes.len(), "static route"),
    );
    labelled(out, "rules", &rules)?;
    let estimate = Estimate::of(config);
    let sources = match mebibytes(estimate.source_bytes) {
        0 => String::new(),
        size => format!(", {size} MiB to count their sources"),
    };
    let mappings = match mebibytes(estimate.mapping_bytes) {
        0 => String::new(),
        size => format!(", up to {size} MiB for mappings"),
    };
    let tables =
        estimate.session_bytes + estimate.source_bytes + estimate.mapping_bytes + estimate.port_bytes;
    let memory = format!(
        "{} MiB: {} MiB for {} sessions of {} bytes{sources}{mappings}, {} MiB for the ports of {}, \
         {} MiB for {} frames",
        mebibytes(estimate.frame_bytes + tables),
        mebibytes(estimate.session_bytes),
        config.conntrack.max_sessions,
        estimate.bytes_per_session,
        mebibytes(estimate.port_bytes),
        several(config.interfaces.len() + pools, "address"),
        mebibytes(estimate.frame_bytes),
        runtime.frames,
    );
    labelled(out, "memory", &memory)?;
    writeln!(out, "control   {}\n", runtime.control.display())?;
    rates(out, config, &estimate)?;
    pressure(out, config, &estimate)
}

/// How packets are to reach the workers, and what does not change while the gateway runs.
fn steering(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    if config.runtime.workers > 1 {
        let wish = match config.runtime.steering {
            Wish::Auto => "as well as the NICs can",
            Wish::PortRules => "by port, with rules of the NICs",
            Wish::Software => "by handoff between workers",
        };
        let spread = match config.runtime.spread {
            Spread::Source => "a host inside has one worker",
            Spread::Flow => "a host's flows have all workers",
        };
        writeln!(out, "steering  {wish}; {spread}")?;
        writeln!(out, "          the plan is chosen at the start: see `natgate show steering`")?;
    }
    writeln!(out, "restart   is what a change of workers, cpus, spread or steering takes")
}

/// `1 address`, `2 addresses`.
fn several(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "es" })
}

/// What the table sustains: it is full when sessions come faster than they expire.
fn rates(out: &mut dyn Write, config: &Config, estimate: &Estimate) -> io::Result<()> {
    writeln!(out, "sustainable new sessions/s = max_sessions / timeout")?;
    let rows = [
        ("TCP, opened and closed", Timeout::TcpTimeWait, estimate.tcp_closed_per_second),
        ("TCP, never answered", Timeout::TcpSynSent, estimate.tcp_unanswered_per_second),
        ("UDP, answered", Timeout::UdpStream, estimate.udp_stream_per_second),
        ("UDP, never answered", Timeout::Udp, estimate.udp_per_second),
        ("ICMP queries", Timeout::Icmp, estimate.icmp_per_second),
    ];
    for (what, timeout, rate) in rows {
        let length = humantime::format_duration(config.conntrack.timeouts.get(timeout));
        writeln!(out, "  {what:24} {rate:>10}   {} = {length}", timeout.name())?;
    }
    Ok(())
}

/// What happens as the table fills.
fn pressure(out: &mut dyn Write, config: &Config, estimate: &Estimate) -> io::Result<()> {
    let limits = &config.conntrack.limits;
    writeln!(out, "\nas the table fills, all workers together")?;
    let mut row = |sessions: u32, what: &str| hanging(out, &format!("  {sessions:>10} sessions  "), what);
    row(estimate.half_open_sessions, "at the most are TCP connections that are half-open")?;
    if let Some((begin, end)) = estimate.adaptive_sessions {
        row(begin, "timeouts of unreplied and closing sessions begin to shrink")?;
        row(end, "they are next to nothing")?;
    }
    let full = match limits.when_full {
        WhenFull::EarlyDrop => "new ones take the place of those that matter less",
        WhenFull::Refuse => "new ones are refused",
    };
    row(estimate.full_sessions, full)?;
    if estimate.reserved_sessions > 0 {
        let whose = match limits.management.len() {
            0 => "of which there are none: see `management`".to_owned(),
            n => several(n, "prefix"),
        };
        row(estimate.reserved_sessions, &format!("more are kept for management sources ({whose})"))?;
    }
    let sessions = limits.sessions_per_source.map(|limit| format!("{limit} sessions"));
    let new = limits.new_per_source.map(|rate| {
        format!("{} new sessions a second in the long run, {} at once", rate.per_second, rate.burst)
    });
    let each: Vec<String> = sessions.into_iter().chain(new).collect();
    if each.is_empty() {
        return Ok(());
    }
    wrapped(out, &format!("each source may have {}", each.join(" and ")), 0, table::columns())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    file: String,
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

/// An error or a warning. Without a line if the file could not be read.
#[derive(Serialize)]
struct Finding {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    interfaces: Vec<String>,
    workers: u8,
    snat_rules: usize,
    dnat_rules: usize,
    pool_addresses: usize,
    max_sessions: u32,
    #[serde(flatten)]
    estimate: Estimate,
}

fn json(file: &Path) -> Result<(), Failure> {
    let mut report = Report {
        file: file.display().to_string(),
        valid: false,
        errors: Vec::new(),
        warnings: Vec::new(),
        summary: None,
    };
    match config::load(file) {
        Ok(Checked { config, warnings }) => {
            report.valid = true;
            report.warnings = findings(&warnings);
            report.summary = Some(Summary {
                interfaces: config.interfaces.iter().map(|interface| interface.name.clone()).collect(),
                workers: config.runtime.workers,
                snat_rules: config.snat.len(),
                dnat_rules: config.dnat.len(),
                pool_addresses: config.pools.iter().map(|pool| pool.addresses.len()).sum(),
                max_sessions: config.conntrack.max_sessions,
                estimate: Estimate::of(&config),
            });
        }
        Err(LoadError::Invalid(found)) => {
            report.errors = findings(&found.errors);
            report.warnings = findings(&found.warnings);
        }
        Err(error @ LoadError::Unreadable { .. }) => {
            report.errors =
                vec![Finding { line: None, column: None, message: error.to_string(), help: None }];
        }
    }
    table::to_stdout(|out| table::json(out, &report))?;
    if report.valid { Ok(()) } else { Err(Failure::Config) }
}

fn findings<P: Problem>(diagnostics: &[Diagnostic<P>]) -> Vec<Finding> {
    let finding = |diagnostic: &Diagnostic<P>| Finding {
        line: Some(diagnostic.place.line),
        column: Some(diagnostic.place.column),
        message: diagnostic.what.to_string(),
        help: Some(diagnostic.what.cure()),
    };
    diagnostics.iter().map(finding).collect()
}

//! `natgate bench`: measures a NAT between two devices, or natgate itself in this process.
//!
//! What the flags say becomes `Settings` and two devices; `bench` does the rest. The table goes to standard output, progress to
//! standard error.

use super::bench_args::{ConfigArgs, ExpectName, Measure};
use super::table::to_stdout;
use super::{Failure, bench_plot, bench_text};
use crate::bench::addresses::Addresses;
use crate::bench::gateway::{InProcess, config};
use crate::bench::generator::{Generator, Wall};
use crate::bench::report::{self, About, Report, Row, What};
#[cfg(feature = "dpdk")]
use crate::bench::sizes;
use crate::bench::trials::{Bench, Teardown};
use crate::bench::{BenchError, Expect};
use crate::device::Device;
use crate::device::spec::DeviceSpec;
use crate::ids::MacAddr;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

/// Between two lines of progress that nobody watches.
const PROGRESS: Duration = Duration::from_secs(3);

/// Arguments of `natgate bench`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Without --inside and --outside it measures a natgate in this process, over
memory. With them, whatever is between the two devices. Every packet that comes
back is checked; a wrong one ends the run.

Trials (RFC 2544, RFC 9693), each at every number of sessions:
  validate    every session is established, and its answer arrives
  throughput  the highest rate at which nothing is lost
  latency     at half of that rate
  establish   the highest rate of new sessions
  teardown    how fast sessions are removed
  capacity    how many there can be

Examples:
  natgate bench                       this natgate, in this process
  natgate bench throughput --sessions 64k --frame-size 64,imix --json -
  natgate bench --inside memif:/run/i.sock --outside memif:/run/o.sock
  natgate bench throughput --expect forwarded --inside tap:a --outside tap:b
  natgate bench teardown --inside tap:a --outside tap:b --teardown-command wipe

Exit codes: 0 all trials passed, 1 a trial failed or a packet was wrong, 2 wrong
usage."
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the config of a gateway that fits the generator's addresses
    Config(ConfigArgs),
    /// Draw a plot of results that were written as JSON
    Plot(bench_plot::Args),
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Some(Command::Config(args)) => {
            let devices = [args.inside.to_string(), args.outside.to_string()];
            let [inside, outside] = &devices;
            let text = config(&args.networks.networks(), [inside, outside], args.sessions);
            to_stdout(|out| Ok(out.write_all(text.as_bytes())?)).map_err(Failure::from)
        }
        Some(Command::Plot(args)) => bench_plot::run(&args),
        None => measure(&args.measure),
    }
}

fn measure(args: &Measure) -> Result<(), Failure> {
    args.check()?;
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let (outcome, rows) = match (&args.inside, &args.outside) {
        (Some(inside), Some(outside)) => over_devices(args, inside, outside)?,
        _ => in_process(args)?,
    };
    let report = Report::new(about(args, started), rows);
    write(args, &report)?;
    outcome.map_err(anyhow::Error::from)?;
    if report.passed() {
        return Ok(());
    }
    let failed = report.rows.iter().filter(|row| row.verdict != report::Verdict::Pass).count();
    Err(Failure::Other(anyhow::anyhow!("{failed} of {} results did not pass", report.rows.len())))
}

type Measured = (Result<(), BenchError>, Vec<Row>);

/// The Ethernet addresses of the generator when its devices have none.
const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];

fn in_process(args: &Measure) -> Result<Measured, Failure> {
    let started = InProcess::start(&args.networks.networks(), args.room());
    let (gateway, devices) = started.map_err(anyhow::Error::from)?;
    let measured = args.pin().and_then(|()| {
        let clear = || gateway.clear();
        drive(args, devices, MACS, Some(Box::new(clear)))
    });
    gateway.stop().map_err(anyhow::Error::from)?;
    measured
}

#[cfg(feature = "dpdk")]
fn over_devices(args: &Measure, inside: &DeviceSpec, outside: &DeviceSpec) -> Result<Measured, Failure> {
    use crate::bench::generator::SPARE;
    use crate::device::dpdk::{DeviceOptions, Dpdk, DpdkOptions, Started};
    let largest = args.frame_size.iter().map(|frame| sizes::largest(*frame)).max().unwrap_or(sizes::LARGEST);
    // Beside an IPv4 packet, a frame has the Ethernet header and the FCS.
    let mtu = largest.saturating_sub(18).max(1500);
    let device = |spec: &DeviceSpec| DeviceOptions { spec: spec.clone(), mac: None, mtu };
    let mut eal = args.eal.clone();
    eal.extend(args.no_huge.then(|| "--no-huge".to_owned()));
    let Started { dpdk, queues, devices } = Dpdk::start(&DpdkOptions {
        devices: &[device(inside), device(outside)],
        workers: 1,
        frames: args.frames,
        held_per_worker: u32::try_from(SPARE).unwrap_or(u32::MAX),
        memory_mib: args.memory,
        eal_args: &eal,
    })
    .map_err(anyhow::Error::from)?;
    let mut handles = queues.into_iter().flatten();
    let (Some(first), Some(second), [inside, outside]) = (handles.next(), handles.next(), &devices[..])
    else {
        return Err(Failure::Other(anyhow::anyhow!("a device has no queue")));
    };
    let command = args.teardown_command.clone();
    let teardown = command.map(|command| -> Teardown<'_> { Box::new(move || shell(&command)) });
    let measured =
        args.pin().and_then(|()| drive(args, [first, second], [inside.mac, outside.mac], teardown));
    drop(handles);
    dpdk.stop().map_err(anyhow::Error::from)?;
    measured
}

#[cfg(not(feature = "dpdk"))]
fn over_devices(args: &Measure, _: &DeviceSpec, _: &DeviceSpec) -> Result<Measured, Failure> {
    let _ = (args.frames, args.no_huge, args.memory, &args.eal, &args.teardown_command, shell);
    let sentence = "this natgate was built without the feature \"dpdk\" and can not drive devices";
    Err(Failure::Other(anyhow::anyhow!(sentence)))
}

/// Runs a command of the user's.
fn shell(command: &str) -> Result<(), String> {
    let output = Process::new("sh").args(["-c", command]).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{command}`: {}: {}", output.status, said.trim()))
}

/// Makes all trials between two devices.
fn drive<D: Device>(
    args: &Measure,
    devices: [D; 2],
    macs: [MacAddr; 2],
    teardown: Option<Teardown<'_>>,
) -> Result<Measured, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The first signal sets the flag, the second one finds it set.
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let ([inside, outside], [mac_inside, mac_outside]) = (devices, macs);
    let ports = [args.port(inside, mac_inside, true), args.port(outside, mac_outside, false)];
    let addresses = Addresses::new(args.networks.clients, args.networks.servers);
    let expect = match args.expect {
        ExpectName::Translated => Expect::Translated,
        ExpectName::Forwarded => Expect::Forwarded,
    };
    let mut generator = Generator::new(ports, Wall::default(), (addresses, expect));
    generator.stop = stop;
    let mut settings = args.settings();
    if args.inside.is_none() {
        settings.capacity = args.room().saturating_mul(2);
    }
    let mut progress = Progress::default();
    let mut show = |words: &str| progress.show(words);
    let mut bench = Bench::new(generator, settings, teardown, &mut show);
    let outcome = bench.run();
    let rows = std::mem::take(&mut bench.rows);
    drop(bench);
    progress.end();
    Ok((outcome, rows))
}

/// A line on a terminal that is written over; elsewhere a line every few seconds.
struct Progress {
    terminal: bool,
    last: Option<Instant>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { terminal: io::stderr().is_terminal(), last: None }
    }
}

impl Progress {
    fn show(&mut self, words: &str) {
        let mut out = io::stderr().lock();
        // Nothing is lost if nobody can read it.
        let _ = if self.terminal {
            write!(out, "\r\x1b[K{words}").and_then(|()| out.flush())
        } else if self.last.is_none_or(|last| last.elapsed() >= PROGRESS) {
            self.last = Some(Instant::now());
            writeln!(out, "{words}")
        } else {
            Ok(())
        };
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn about(args: &Measure, started: String) -> About {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let words: Vec<String> = std::env::args().collect();
    About {
        natgate_version: env!("CARGO_PKG_VERSION").into(),
        dpdk_version: dpdk_version(),
        device_under_test: args.name.clone(),
        devices: [&args.inside, &args.outside].into_iter().flatten().map(ToString::to_string).collect(),
        cpu_model: line("model name").unwrap_or_default(),
        tsc_hz: tsc_hz().or_else(|| hertz(&line("cpu MHz")?)).unwrap_or(0),
        started,
        command_line: words.join(" "),
    }
}

/// The hertz of a number of megahertz, such as `2899.998`; its decimals are dropped.
fn hertz(megahertz: &str) -> Option<u64> {
    megahertz.split('.').next()?.parse::<u64>().ok().map(|whole| whole * 1_000_000)
}

#[cfg(feature = "dpdk")]
fn tsc_hz() -> Option<u64> {
    crate::device::dpdk::tsc_hz().map(std::num::NonZero::get)
}

#[cfg(not(feature = "dpdk"))]
fn tsc_hz() -> Option<u64> {
    None
}

#[cfg(feature = "dpdk")]
fn dpdk_version() -> Option<String> {
    Some(crate::device::dpdk::version().trim_start_matches("DPDK ").to_owned())
}

#[cfg(not(feature = "dpdk"))]
fn dpdk_version() -> Option<String> {
    None
}

/// The table, the file and the plots.
fn write(args: &Measure, report: &Report) -> Result<(), Failure> {
    let to_standard = args.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = args.json.as_deref().filter(|_| !to_standard) {
        let mut text = Vec::new();
        report::write(&mut text, report)?;
        std::fs::write(path, text)
            .map_err(|error| anyhow::anyhow!("can not write {}: {error}", path.display()))?;
    }
    if let Some(directory) = &args.plot {
        plots(directory, report)
            .map_err(|error| anyhow::anyhow!("can not write plots into {}: {error}", directory.display()))?;
    }
    to_stdout(|out| {
        if to_standard {
            report::write(out, report)?;
        } else {
            bench_text::write_report(out, report)?;
        }
        Ok(())
    })
    .map_err(Failure::from)
}

/// Every plot that something was measured for.
fn plots(directory: &Path, report: &Report) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for what in What::ALL {
        if let Ok(svg) = report::plot(std::slice::from_ref(report), what) {
            std::fs::write(directory.join(format!("{}.svg", what.name())), svg)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_rate_is_read_from_cpuinfo() {
        assert_eq!((hertz("2899.998"), hertz("x")), (Some(2_899_000_000), None));
    }
}

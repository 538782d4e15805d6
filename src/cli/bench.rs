//! `natgate bench`: measures a NAT between two devices, or natgate itself in this process.
//!
//! What the flags say becomes `Settings` and two devices; `bench` does the rest. The table goes to standard output, progress to
//! standard error.

use super::table::to_stdout;
use super::{Failure, bench_plot, bench_text};
use crate::bench::addresses::Addresses;
use crate::bench::gateway::{InProcess, Networks, config};
use crate::bench::generator::{Generator, Wall};
use crate::bench::port::{Gateway, Identity, Port};
use crate::bench::report::{self, About, Direction, Frame, Report, Row, Trial, What};
use crate::bench::sizes;
use crate::bench::trials::{Bench, Settings, Teardown};
use crate::bench::{BenchError, Expect};
use crate::device::Device;
use crate::device::spec::DeviceSpec;
use crate::ids::MacAddr;
use clap::ValueEnum;
use ipnet::Ipv4Net;
use std::io::{self, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

/// Between two lines of progress that nobody watches.
const PROGRESS: Duration = Duration::from_secs(3);
/// The fewest sessions that a gateway for the default trials has room for.
const LEAST_ROOM: u32 = 65_536;
/// Up to so many sessions the capacity of a device that is not ours is looked for.
const CAPACITY: u32 = 16_777_216;
/// Ethernet header, tag and FCS beside an IPv4 packet.
const LINK_BYTES: u16 = 18;

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
  natgate bench throughput --expect forwarded --inside af_xdp:a --outside af_xdp:b
  natgate bench teardown --inside tap:a --outside tap:b --teardown-command ./flush

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

/// Arguments of `natgate bench config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  natgate bench config > bench.toml
  natgate bench config --inside af_xdp:a --outside af_xdp:b
  natgate bench config --sessions 10M

Exit codes: 0 printed, 2 wrong usage.")]
struct ConfigArgs {
    #[command(flatten)]
    networks: NetworkArgs,
    /// The gateway's device inside
    #[arg(long, value_name = "DEVICE", default_value = "memif:/run/natgate-in.sock,server")]
    inside: DeviceSpec,
    /// The gateway's device outside
    #[arg(long, value_name = "DEVICE", default_value = "memif:/run/natgate-out.sock,server")]
    outside: DeviceSpec,
    /// For how many sessions it has room
    #[arg(long, value_name = "N", default_value = "2M", value_parser = session_count)]
    sessions: u32,
}

/// Who the generator is.
#[derive(Debug, clap::Args)]
struct NetworkArgs {
    /// The clients
    #[arg(long, value_name = "PREFIX", default_value = "10.1.0.0/16")]
    clients: Ipv4Net,
    /// The servers
    #[arg(long, value_name = "PREFIX", default_value = "198.18.0.0/15")]
    servers: Ipv4Net,
    /// The generator's own address inside
    #[arg(long, value_name = "ADDRESS/LENGTH", default_value = "10.0.0.2/24")]
    inside_address: Ipv4Net,
    /// The generator's own address outside
    #[arg(long, value_name = "ADDRESS/LENGTH", default_value = "203.0.113.1/24")]
    outside_address: Ipv4Net,
    /// The gateway's address inside, asked for by ARP
    #[arg(long, value_name = "ADDRESS", default_value = "10.0.0.1")]
    inside_gateway: Ipv4Addr,
    /// The gateway's address outside
    #[arg(long, value_name = "ADDRESS", default_value = "203.0.113.2")]
    outside_gateway: Ipv4Addr,
}

impl NetworkArgs {
    fn networks(&self) -> Networks {
        Networks {
            inside: self.inside_address,
            inside_gateway: self.inside_gateway,
            outside: self.outside_address,
            outside_gateway: self.outside_gateway,
            clients: self.clients,
        }
    }
}

/// What `natgate bench` measures, and how.
#[derive(Debug, clap::Args)]
struct Measure {
    /// What to measure
    #[arg(value_name = "TRIAL", value_enum)]
    #[arg(default_values = ["validate", "establish", "throughput", "latency"])]
    trials: Vec<TrialName>,
    /// The device that leads to the gateway's inside, as in a config
    #[arg(long, value_name = "DEVICE", requires = "outside")]
    inside: Option<DeviceSpec>,
    /// The device that leads to the gateway's outside
    #[arg(long, value_name = "DEVICE", requires = "inside")]
    outside: Option<DeviceSpec>,
    #[command(flatten)]
    networks: NetworkArgs,
    /// Whether the gateway translates sources or leaves addresses as they are
    #[arg(long, value_enum, default_value = "translated", requires = "inside")]
    expect: ExpectName,
    /// Send all frames to this Ethernet address, and ask nobody
    #[arg(long, value_name = "MAC")]
    gateway_mac: Option<MacAddr>,
    /// Numbers of sessions
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = session_count)]
    #[arg(default_values = ["1", "1k", "64k", "1M"])]
    sessions: Vec<u32>,
    /// Bytes of frames with FCS, or `imix`
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', value_parser = frame_size)]
    #[arg(default_values = ["64"])]
    frame_size: Vec<Frame>,
    /// Which way frames go in throughput and latency; rates are of both together
    #[arg(long, value_enum, default_value = "both")]
    direction: DirectionName,
    /// How long one try sends
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// What share of packets may be lost, such as 0.01% (RFC 2544: none)
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share_ppm)]
    tolerance: u64,
    /// The highest rate to try, in packets or sessions a second
    #[arg(long, value_name = "RATE", value_parser = number)]
    max_rate: Option<u64>,
    /// Try this rate alone: no search
    #[arg(long, value_name = "RATE", value_parser = number, conflicts_with = "max_rate")]
    rate: Option<u64>,
    /// What removes all sessions of the gateway
    #[arg(long, value_name = "COMMAND", requires = "inside")]
    teardown_command: Option<String>,
    /// What the gateway is called in the report
    #[arg(long, value_name = "NAME", default_value = "natgate")]
    name: String,
    /// Write the report as JSON; - is standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write plots (SVG) into this directory
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// The CPU to run on
    #[arg(long, value_name = "CPU")]
    core: Option<usize>,
    /// Frames in the pool of both devices
    #[arg(long, value_name = "N", default_value_t = 16_384, requires = "inside")]
    frames: u32,
    /// No huge pages
    #[arg(long, requires = "inside")]
    no_huge: bool,
    /// The most memory for DPDK
    #[arg(long, value_name = "SIZE", value_parser = mebibytes, requires = "inside")]
    memory: Option<u32>,
    /// A further argument for DPDK's EAL; may be given again
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true, requires = "inside")]
    eal: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum TrialName {
    Throughput,
    Latency,
    Establish,
    Validate,
    Teardown,
    Capacity,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ExpectName {
    Translated,
    Forwarded,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DirectionName {
    Both,
    Out,
    Back,
}

/// `64k`, `10M` or a plain number.
fn number(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'M']) {
        Some(digits) if text.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.filter(|number| *number > 0).ok_or_else(|| "a number is written 500, 64k or 10M".into())
}

fn session_count(text: &str) -> Result<u32, String> {
    let most = "at most 134217728 sessions";
    number(text).and_then(|number| {
        u32::try_from(number).ok().filter(|number| *number <= 1 << 27).ok_or_else(|| most.into())
    })
}

fn frame_size(text: &str) -> Result<Frame, String> {
    let frame: Frame = text.parse().map_err(|error: report::FrameError| error.to_string())?;
    if sizes::largest(frame) > sizes::LARGEST {
        return Err(format!("at most {} bytes: jumbo frames are not measured", sizes::LARGEST));
    }
    Ok(frame)
}

fn mebibytes(text: &str) -> Result<u32, String> {
    crate::config::units::mebibytes(text).map_err(|error| error.to_string())
}

/// A share such as `0`, `1%` or `0.001%`, in millionths.
fn share_ppm(text: &str) -> Result<u64, String> {
    let wrong = || "a share is written 0, 1% or 0.001%, with up to four decimals".to_owned();
    if text == "0" {
        return Ok(0);
    }
    let percent = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, ""));
    if decimals.len() > 4 || decimals.starts_with('+') {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{decimals:0<4}").parse().map_err(|_| wrong())?;
    let ppm = whole.saturating_mul(10_000).saturating_add(part);
    if ppm <= 1_000_000 { Ok(ppm) } else { Err(wrong()) }
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

impl Measure {
    fn settings(&self) -> Settings {
        let trial = |name: &TrialName| match name {
            TrialName::Throughput => Trial::Throughput,
            TrialName::Latency => Trial::Latency,
            TrialName::Establish => Trial::Establish,
            TrialName::Validate => Trial::Validate,
            TrialName::Teardown => Trial::Teardown,
            TrialName::Capacity => Trial::Capacity,
        };
        Settings {
            trials: self.trials.iter().map(trial).collect(),
            sessions: self.sessions.clone(),
            frames: self.frame_size.clone(),
            direction: match self.direction {
                DirectionName::Both => Direction::Both,
                DirectionName::Out => Direction::Out,
                DirectionName::Back => Direction::Back,
            },
            duration: self.duration,
            tolerance_ppm: self.tolerance,
            max_rate: self.max_rate,
            rate: self.rate,
            capacity: CAPACITY,
        }
    }

    /// Room in a gateway of ours: for the most sessions that are asked for.
    fn room(&self) -> u32 {
        self.sessions.iter().copied().max().unwrap_or(0).max(LEAST_ROOM)
    }

    fn check(&self) -> Result<(), Failure> {
        let flows = Addresses::new(self.networks.clients, self.networks.servers).flows();
        if self.sessions.iter().any(|sessions| *sessions > flows) {
            let sentence = format!(
                "the clients in {} can have {flows} sessions: give a larger prefix",
                self.networks.clients
            );
            return Err(Failure::Usage(sentence));
        }
        let is_ours = self.inside.is_none();
        if self.trials.contains(&TrialName::Teardown) && !is_ours && self.teardown_command.is_none() {
            let sentence =
                "teardown needs --teardown-command: what removes all sessions of the gateway".to_owned();
            return Err(Failure::Usage(sentence));
        }
        Ok(())
    }

    fn pin(&self) -> Result<(), Failure> {
        match self.core {
            Some(id) if !core_affinity::set_for_current(core_affinity::CoreId { id }) => {
                Err(Failure::Usage(format!("CPU {id} of --core is none that this process may use")))
            }
            _ => Ok(()),
        }
    }

    fn port<D: Device>(&self, device: D, mac: MacAddr, inside: bool) -> Port<D> {
        let NetworkArgs {
            clients,
            servers,
            inside_address,
            outside_address,
            inside_gateway,
            outside_gateway,
        } = &self.networks;
        let (own, hosts, gateway) = if inside {
            (inside_address, clients, inside_gateway)
        } else {
            (outside_address, servers, outside_gateway)
        };
        let gateway = self.gateway_mac.map_or(Gateway::Ask(*gateway), Gateway::Known);
        Port::new(device, Identity { mac, address: own.addr(), hosts: *hosts }, gateway)
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
    let mtu = largest.saturating_sub(LINK_BYTES).max(1500);
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
    let _ = (LINK_BYTES, args.frames, args.no_huge, args.memory, &args.eal, shell);
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
    fn numbers_may_have_a_unit() {
        assert_eq!((number("1"), number("64k"), number("10M")), (Ok(1), Ok(64_000), Ok(10_000_000)));
        for bad in ["", "0", "k", "1K", "1.5M", "-1", "99999999999999999999"] {
            assert!(number(bad).is_err(), "{bad}");
        }
        assert!(session_count("135M").is_err());
    }

    #[test]
    fn a_share_is_a_percentage_or_nothing() {
        for (text, ppm) in [("0", 0), ("1%", 10_000), ("0.001%", 10), ("0.0001%", 1), ("100%", 1_000_000)] {
            assert_eq!(share_ppm(text), Ok(ppm), "{text}");
        }
        for bad in ["1", "0.00001%", "101%", "%", "x%", "-1%", "0.+1%"] {
            assert!(share_ppm(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn frames_are_ethernet_s() {
        assert!(frame_size("1518").is_ok() && frame_size("imix").is_ok());
        assert!(frame_size("1519").is_err() && frame_size("63").is_err());
    }

    #[test]
    fn the_clock_rate_is_read_from_cpuinfo() {
        assert_eq!((hertz("2899.998"), hertz("x")), (Some(2_899_000_000), None));
    }
}

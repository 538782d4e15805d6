//! `natgate demo`: a gateway between real hosts, on this machine, in a minute, and nothing left behind.
//!
//! Three network namespaces (client, gateway, server) are joined by veth pairs; natgate runs in the middle one as
//! its own process, and ping, curl, traceroute and iperf3 talk through it. See [`crate::lab`] for what it is made
//! of. Ctrl-C ends it at any step and also leaves nothing behind.

use crate::lab::command::{QUICK, check, describe, run as run_command};
use crate::lab::gateway::{Gateway, GatewayOptions, kernel_is_asked_for};
use crate::lab::topology::{
    BACKEND, CLIENT, FORWARDED, FULL_NAT, GATEWAY_INSIDE, GATEWAY_OUTSIDE, SERVER, Site,
};
use crate::lab::traffic::{self, Transport, Way};
use crate::lab::{Background, DeviceKind, LabError, Namespace};
use clap::{Parser, ValueEnum};
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

/// Show natgate at work between real hosts in network namespaces (needs root; changes nothing on this machine)
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  natgate demo                              one worker on AF_PACKET
  natgate demo --device af_xdp --workers 2
  natgate demo --keep                       to look around afterwards

Exit codes: 0 all steps passed, 1 a step failed, 2 wrong usage.")]
pub(super) struct Args {
    /// How natgate reaches the kernel's interfaces.
    #[arg(long, value_enum, default_value_t = Device::AfPacket)]
    device: Device,
    /// Number of workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    workers: u8,
    /// Leave the namespaces and files in place at the end, and say how to remove them. The gateway is stopped.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Device {
    #[value(name = "af_packet")]
    AfPacket,
    #[value(name = "af_xdp")]
    AfXdp,
}

impl From<Device> for DeviceKind {
    fn from(device: Device) -> DeviceKind {
        match device {
            Device::AfPacket => DeviceKind::AfPacket,
            Device::AfXdp => DeviceKind::AfXdp,
        }
    }
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// One of the steps.
    #[error("the demo failed in step {number} ({name}): {cause}")]
    Step {
        /// The step's number, from 1.
        number: usize,
        /// What it does.
        name: &'static str,
        /// What went wrong.
        cause: LabError,
    },
    /// A program that the demo needs is not installed.
    #[error("the demo needs the program `{program}`; install it with: apt-get install {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// Nobody reads what the demo prints.
    #[error("writing to standard output")]
    Output(#[from] io::Error),
}

/// The programs that the demo runs, and Debian's packages that have them.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
    ("setpriv", "util-linux"),
    ("ping", "iputils-ping"),
    ("curl", "curl"),
    ("traceroute", "traceroute"),
    ("iperf3", "iperf3"),
];

/// Runs the demo and prints each step as it happens.
///
/// # Errors
/// With the step that failed and why.
pub(super) fn run(args: &Args) -> Result<(), DemoError> {
    for (program, package) in PROGRAMS {
        let found = run_command(&["sh", "-c", &format!("command -v {program}")], QUICK);
        if !found.is_ok_and(|output| output.status.success()) {
            return Err(DemoError::Missing { program, package });
        }
    }
    let binary = std::env::current_exe()?;
    let mut steps = Steps::new(io::stdout());
    introduce(args, &mut steps.out)?;
    let outcome = play(args, &binary, &mut steps);
    match &outcome {
        Ok(()) => writeln!(steps.out, "\nAll {} steps passed.", steps.done)?,
        Err(_) => writeln!(steps.out)?,
    }
    outcome
}

fn introduce(args: &Args, out: &mut impl Write) -> io::Result<()> {
    let device = DeviceKind::from(args.device).name();
    let gateway = match kernel_is_asked_for() {
        true => "the Linux kernel's NAT in natgate's place (NATGATE_LAB_REFERENCE)".to_owned(),
        false => format!("natgate on {device} devices, workers: {}", args.workers),
    };
    writeln!(out, "natgate demo: three network namespaces; {gateway}\n")?;
    writeln!(out, "  client {CLIENT} --- {GATEWAY_INSIDE} [gateway] {GATEWAY_OUTSIDE} --- server {SERVER}\n")
}

/// The number of steps in [`play`].
const STEPS: usize = 13;

fn play(args: &Args, binary: &Path, steps: &mut Steps<impl Write>) -> Result<(), DemoError> {
    let site = steps.step("build the network", || {
        let site = Site::small(DeviceKind::from(args.device).queues(args.workers))?;
        if args.keep {
            site.lab.keep();
        }
        let names = site.lab.namespace_names().join(", ");
        Ok((site, format!("namespaces {names}")))
    })?;
    let servers = steps.step("start the servers", || {
        let servers = Servers::start(binary, &site)?;
        Ok((servers, "HTTP on the client's and the server's side, iperf3 on the server".to_owned()))
    })?;
    let options =
        GatewayOptions { binary: binary.to_owned(), device: args.device.into(), workers: args.workers };
    let mut gateway = steps.step("start the gateway", || {
        let gateway = Gateway::start(&site, &options)?;
        Ok((gateway, "it answers on its control socket".to_owned()))
    })?;

    let outcome = traffic(&site, steps).and_then(|()| account(&mut gateway, steps));
    if outcome.is_err() {
        steps.appendix("What the gateway wrote", &gateway.natgate().map(|n| n.log()).unwrap_or_default())?;
    }
    outcome?;
    steps.step("stop the gateway", || Ok(((), stop(gateway)?)))?;
    drop(servers);
    steps.step("leave nothing behind", || match args.keep {
        true => Ok(((), kept(&site))),
        false => Ok(((), vanish(site)?)),
    })
}

/// The conversations through the gateway.
fn traffic(site: &Site, steps: &mut Steps<impl Write>) -> Result<(), DemoError> {
    steps.see("ping: client to server", || traffic::ping(&site.client, SERVER, 56))?;
    steps.see("curl a page (SNAT)", || traffic::page(&site.client, at(SERVER, 80), GATEWAY_OUTSIDE))?;
    steps.see("curl from outside (DNAT)", || {
        traffic::page(&site.server, at(GATEWAY_OUTSIDE, FORWARDED), SERVER)
    })?;
    steps.see("curl from outside (full NAT)", || {
        traffic::page(&site.server, at(GATEWAY_OUTSIDE, FULL_NAT), GATEWAY_INSIDE)
    })?;
    steps.see("traceroute", || traffic::traceroute(&site.client, &[GATEWAY_INSIDE, SERVER]))?;
    steps.see("iperf3", || traffic::iperf(&site.client, SERVER, Transport::Tcp, Way::Up, 2))
}

/// What the gateway says about it.
fn account(gateway: &mut Gateway, steps: &mut Steps<impl Write>) -> Result<(), DemoError> {
    let table = steps.step("session table", || {
        let table = gateway.sessions()?;
        match table.lines().count() {
            0 => Err(LabError::unexpected("the session table is empty after all this traffic")),
            count => Ok((table, format!("{count} sessions, as the command below shows them"))),
        }
    })?;
    steps.appendix("natgate sessions -o extended", &table)?;
    let status = steps.step("counters add up", || {
        let Some(natgate) = gateway.natgate() else {
            return Ok((String::new(), "not for the kernel".into()));
        };
        let totals = natgate.totals()?;
        let seen = format!(
            "received {} = sent {} + consumed {} + dropped {} + held {}",
            totals.rx,
            totals.sent,
            totals.consumed,
            totals.dropped_altogether(),
            totals.held
        );
        Ok((natgate.ask(&["show", "status"])? + &natgate.ask(&["show", "drops"])?, seen))
    })?;
    Ok(steps.appendix("natgate show status; natgate show drops", &status)?)
}

fn stop(mut gateway: Gateway) -> Result<String, LabError> {
    let Some(natgate) = gateway.natgate() else { return Ok("not for the kernel".to_owned()) };
    let status = natgate.terminate()?;
    match status.success() {
        true => Ok("SIGTERM: exit code 0".to_owned()),
        false => Err(LabError::unexpected(format!(
            "natgate ended with {} after SIGTERM; it wrote: {}",
            describe(status),
            natgate.log().trim()
        ))),
    }
}

fn vanish(site: Site) -> Result<String, LabError> {
    let (names, directory) = (site.lab.namespace_names(), site.lab.directory().to_owned());
    drop(site);
    let left = check(&["ip", "netns", "list"], QUICK)?.stdout;
    let left = left.lines().filter_map(|line| line.split_whitespace().next());
    let left: Vec<_> = left.filter(|name| names.iter().any(|ours| ours == name)).collect();
    if !left.is_empty() || directory.exists() {
        return Err(LabError::unexpected(format!("still there: {} {}", left.join(" "), directory.display())));
    }
    Ok("namespaces, processes and files are gone".to_owned())
}

fn kept(site: &Site) -> String {
    let names = site.lab.namespace_names();
    let directory = site.lab.directory().display().to_string();
    format!(
        "kept on request; look with `ip netns exec {} bash`; remove with \
         `for n in {}; do ip netns del $n; done; rm -r {directory}`, or run the demo again",
        names.first().map_or("", String::as_str),
        names.join(" ")
    )
}

struct Servers {
    _running: [Background; 3],
}

impl Servers {
    fn start(binary: &Path, site: &Site) -> Result<Servers, LabError> {
        let web = |at: &Namespace| traffic::serve(binary, at, "http", &["http-server", "0.0.0.0:80"]);
        // The client's namespace has the addresses of both inner hosts.
        debug_assert_ne!(CLIENT, BACKEND);
        Ok(Servers {
            _running: [web(&site.client)?, web(&site.server)?, traffic::serve_iperf(&site.server)?],
        })
    }
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((address, port))
}

/// Prints the steps, numbered, as they happen.
struct Steps<W> {
    out: W,
    done: usize,
    colour: bool,
}

impl Steps<io::Stdout> {
    fn new(out: io::Stdout) -> Self {
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Steps { out, done: 0, colour }
    }
}

impl<W: Write> Steps<W> {
    /// Runs a step that gives a value and a line on what was seen.
    fn step<T>(
        &mut self,
        name: &'static str,
        action: impl FnOnce() -> Result<(T, String), LabError>,
    ) -> Result<T, DemoError> {
        self.done += 1;
        let number = self.done;
        write!(self.out, "[{number:>2}/{STEPS}] {name:<30} ")?;
        self.out.flush()?;
        let begun = Instant::now();
        let outcome = action();
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok((value, seen)) => {
                writeln!(self.out, "{}  {seconds:>5.2} s  {seen}", self.paint("ok", "32"))?;
                Ok(value)
            }
            Err(cause) => {
                writeln!(self.out, "{}  {seconds:>5.2} s", self.paint("FAILED", "31"))?;
                Err(DemoError::Step { number, name, cause })
            }
        }
    }

    /// Runs a step that only looks.
    fn see(
        &mut self,
        name: &'static str,
        action: impl FnOnce() -> Result<String, LabError>,
    ) -> Result<(), DemoError> {
        self.step(name, || Ok(((), action()?)))
    }

    /// Prints what a command said, indented.
    fn appendix(&mut self, title: &str, text: &str) -> io::Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        writeln!(self.out, "\n    $ {title}")?;
        for line in text.lines() {
            writeln!(self.out, "    {line}")?;
        }
        writeln!(self.out)
    }

    fn paint(&self, word: &str, code: &str) -> String {
        match self.colour {
            true => format!("\u{1b}[{code}m{word:<6}\u{1b}[0m"),
            false => format!("{word:<6}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_says_which_and_why() {
        let mut steps = Steps { out: Vec::new(), done: 4, colour: false };
        let error = steps.see("curl a page", || Err(LabError::unexpected("no answer"))).unwrap_err();
        assert_eq!(error.to_string(), "the demo failed in step 5 (curl a page): no answer");
        let text = String::from_utf8(steps.out).unwrap();
        assert!(text.starts_with("[ 5/13] curl a page ") && text.contains("FAILED"), "{text}");
    }
}

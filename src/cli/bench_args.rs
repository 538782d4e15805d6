//! The arguments of `natgate bench`: how they are written, and what they mean together.

use super::Failure;
use crate::bench::addresses::Addresses;
use crate::bench::gateway::Networks;
use crate::bench::port::{Gateway, Identity, Port};
use crate::bench::report::{self, Direction, Frame, Trial};
use crate::bench::sizes;
use crate::bench::trials::Settings;
use crate::device::Device;
use crate::device::spec::DeviceSpec;
use crate::ids::MacAddr;
use clap::ValueEnum;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// The fewest sessions that a gateway for the default trials has room for.
const LEAST_ROOM: u32 = 65_536;
/// Up to so many sessions the capacity of a device that is not ours is looked for.
const CAPACITY: u32 = 16_777_216;

/// Arguments of `natgate bench config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  natgate bench config > bench.toml
  natgate bench config --inside af_xdp:a --outside af_xdp:b
  natgate bench config --sessions 10M

Exit codes: 0 printed, 2 wrong usage.")]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    pub(super) networks: NetworkArgs,
    /// The gateway's device inside
    #[arg(long, value_name = "DEVICE", default_value = "memif:/run/natgate-in.sock,server")]
    pub(super) inside: DeviceSpec,
    /// The gateway's device outside
    #[arg(long, value_name = "DEVICE", default_value = "memif:/run/natgate-out.sock,server")]
    pub(super) outside: DeviceSpec,
    /// For how many sessions it has room
    #[arg(long, value_name = "N", default_value = "2M", value_parser = session_count)]
    pub(super) sessions: u32,
}

/// Who the generator is.
#[derive(Debug, clap::Args)]
pub(super) struct NetworkArgs {
    /// The clients
    #[arg(long, value_name = "PREFIX", default_value = "10.1.0.0/16")]
    pub(super) clients: Ipv4Net,
    /// The servers
    #[arg(long, value_name = "PREFIX", default_value = "198.18.0.0/15")]
    pub(super) servers: Ipv4Net,
    /// The generator's own address inside
    #[arg(long, value_name = "ADDRESS/LENGTH", default_value = "10.0.0.2/24")]
    pub(super) inside_address: Ipv4Net,
    /// The generator's own address outside
    #[arg(long, value_name = "ADDRESS/LENGTH", default_value = "203.0.113.1/24")]
    pub(super) outside_address: Ipv4Net,
    /// The gateway's address inside, asked for by ARP
    #[arg(long, value_name = "ADDRESS", default_value = "10.0.0.1")]
    pub(super) inside_gateway: Ipv4Addr,
    /// The gateway's address outside
    #[arg(long, value_name = "ADDRESS", default_value = "203.0.113.2")]
    pub(super) outside_gateway: Ipv4Addr,
}

impl NetworkArgs {
    pub(super) fn networks(&self) -> Networks {
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
pub(super) struct Measure {
    /// What to measure
    #[arg(value_name = "TRIAL", value_enum)]
    #[arg(default_values = ["validate", "establish", "throughput", "latency"])]
    pub(super) trials: Vec<TrialName>,
    /// The device that leads to the gateway's inside, as in a config
    #[arg(long, value_name = "DEVICE", requires = "outside")]
    pub(super) inside: Option<DeviceSpec>,
    /// The device that leads to the gateway's outside
    #[arg(long, value_name = "DEVICE", requires = "inside")]
    pub(super) outside: Option<DeviceSpec>,
    #[command(flatten)]
    pub(super) networks: NetworkArgs,
    /// Whether the gateway translates sources or leaves addresses as they are
    #[arg(long, value_enum, default_value = "translated", requires = "inside")]
    pub(super) expect: ExpectName,
    /// Send all frames to this Ethernet address, and ask nobody
    #[arg(long, value_name = "MAC")]
    pub(super) gateway_mac: Option<MacAddr>,
    /// Numbers of sessions
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = session_count)]
    #[arg(default_values = ["1", "1k", "64k", "1M"])]
    pub(super) sessions: Vec<u32>,
    /// Bytes of frames with FCS, or `imix`
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', value_parser = frame_size)]
    #[arg(default_values = ["64"])]
    pub(super) frame_size: Vec<Frame>,
    /// Which way frames go in throughput and latency; rates are of both together
    #[arg(long, value_enum, default_value = "both")]
    pub(super) direction: DirectionName,
    /// How long one try sends
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(super) duration: Duration,
    /// What share of packets may be lost, such as 0.01% (RFC 2544: none)
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share_ppm)]
    pub(super) tolerance: u64,
    /// The highest rate to try, in packets or sessions a second
    #[arg(long, value_name = "RATE", value_parser = number)]
    pub(super) max_rate: Option<u64>,
    /// Try this rate alone: no search
    #[arg(long, value_name = "RATE", value_parser = number, conflicts_with = "max_rate")]
    pub(super) rate: Option<u64>,
    /// What removes all sessions of the gateway
    #[arg(long, value_name = "COMMAND", requires = "inside")]
    pub(super) teardown_command: Option<String>,
    /// What the gateway is called in the report
    #[arg(long, value_name = "NAME", default_value = "natgate")]
    pub(super) name: String,
    /// Write the report as JSON; - is standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write plots (SVG) into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) plot: Option<PathBuf>,
    /// The CPU to run on
    #[arg(long, value_name = "CPU")]
    pub(super) core: Option<usize>,
    /// Frames in the pool of both devices
    #[arg(long, value_name = "N", default_value_t = 16_384, requires = "inside")]
    pub(super) frames: u32,
    /// No huge pages
    #[arg(long, requires = "inside")]
    pub(super) no_huge: bool,
    /// The most memory for DPDK
    #[arg(long, value_name = "SIZE", value_parser = mebibytes, requires = "inside")]
    pub(super) memory: Option<u32>,
    /// A further argument for DPDK's EAL; may be given again
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true, requires = "inside")]
    pub(super) eal: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum TrialName {
    Throughput,
    Latency,
    Establish,
    Validate,
    Teardown,
    Capacity,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum ExpectName {
    Translated,
    Forwarded,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DirectionName {
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

impl Measure {
    pub(super) fn settings(&self) -> Settings {
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
    pub(super) fn room(&self) -> u32 {
        self.sessions.iter().copied().max().unwrap_or(0).max(LEAST_ROOM)
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
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

    pub(super) fn pin(&self) -> Result<(), Failure> {
        match self.core {
            Some(id) if !core_affinity::set_for_current(core_affinity::CoreId { id }) => {
                Err(Failure::Usage(format!("CPU {id} of --core is none that this process may use")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn port<D: Device>(&self, device: D, mac: MacAddr, inside: bool) -> Port<D> {
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
}

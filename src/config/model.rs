//! The checked configuration. Every index in it is valid, every name unique, every list within its bound.

use crate::classify::notrack::{Addresses, NotrackClass};
use crate::classify::{Affinity, HealthCheck};
use crate::conntrack::policy::{Limits, TcpOptions, TrackRule};
use crate::conntrack::timeouts::Timeouts;
use crate::device::spec::DeviceSpec;
use crate::ids::{DeviceId, InterfaceId, MacAddr, Realm};
use crate::nat::behavior::Behavior;
use crate::nat::deterministic::Deterministic;
use crate::steering::Spread;
use crate::steering::plan::Wish;
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Where the revisions of the config are kept if it does not say.
pub const DEFAULT_STATE: &str = "/var/lib/natgate";

/// A whole configuration that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Threads, memory, sockets.
    pub runtime: RuntimeConfig,
    /// Session table, timeouts, limits.
    pub conntrack: ConntrackConfig,
    /// The NICs, in order of first mention; at least one.
    pub devices: Vec<DeviceConfig>,
    /// The interfaces, in the order of the file; at least one.
    pub interfaces: Vec<InterfaceConfig>,
    /// Static routes; connected ones follow from the interfaces' addresses.
    pub routes: Vec<RouteConfig>,
    /// Address pools.
    pub pools: Vec<PoolConfig>,
    /// How what is translated to the addresses of interfaces is mapped and filtered.
    pub masquerade: Behavior,
    /// Addresses and networks that are translated one to one.
    pub statics: Vec<StaticRule>,
    /// Source translation: the first rule that matches decides. At most [`crate::classify::source_rules::MAX_RULES`].
    pub snat: Vec<SnatRule>,
    /// Destination translation (port forwarding, full NAT): the first rule that matches decides.
    pub dnat: Vec<DnatRule>,
    /// Sources that may open no session.
    pub bans: Vec<BanRule>,
    /// Named sets of prefixes.
    pub sets: Vec<SetConfig>,
    /// Packets that pass without a session: the first class that matches decides. At most
    /// [`crate::classify::notrack::UNTRACKED_CLASSES`].
    pub notrack: Vec<NotrackClass>,
    /// Protocols that name endpoints in what they say.
    pub alg: AlgConfig,
}

impl Config {
    /// The zones that there are, in the order of the file, each once.
    pub fn zones(&self) -> Vec<u16> {
        let mut zones: Vec<u16> = Vec::new();
        for interface in &self.interfaces {
            if !zones.contains(&interface.zone) {
                zones.push(interface.zone);
            }
        }
        zones
    }

    /// The prefixes of some addresses: those that are named, and those of named sets. None: any address, or nobody.
    pub fn prefixes<'c>(&'c self, addresses: &'c Addresses) -> impl Iterator<Item = Ipv4Net> {
        let sets = addresses.sets.iter().filter_map(|set| self.sets.get(*set));
        sets.flat_map(|set| &set.prefixes).chain(&addresses.nets).copied()
    }
}

/// Application level gateways: which sessions are watched, and within which bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct AlgConfig {
    /// Ports of servers, by [`Helper`], each list without repetition; empty: off.
    ///
    /// [`Helper`]: crate::nat::alg::Helper
    pub ports: [Vec<u16>; 2],
    /// Sessions from outside that are expected at once, all workers together.
    pub max_expectations: u32,
    /// Sessions that are watched at once, all workers together.
    pub max_sessions: u32,
    /// How long one is expected.
    pub timeout: Duration,
}

impl Default for AlgConfig {
    fn default() -> Self {
        AlgConfig {
            ports: Default::default(),
            max_expectations: 4096,
            max_sessions: 16_384,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Threads, memory, sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeConfig {
    /// Poll-mode workers: 1 to `MAX_WORKERS`.
    pub workers: u8,
    /// CPUs to pin the workers to, one each; empty: the last CPUs that the process may use.
    pub cpus: Vec<usize>,
    /// What a packet from inside goes by on its way to a worker.
    pub spread: Spread,
    /// What is asked of NICs.
    pub steering: Wish,
    /// What a worker does when there is no traffic.
    pub poll: PollMode,
    /// Path of the control socket.
    pub control: PathBuf,
    /// Group whose members may use the control socket besides its owner; by name or number.
    pub control_group: Option<String>,
    /// Where the read-only part of the API listens on TCP, port not 0; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Directory in which the revisions of the config are kept; absolute.
    pub state: PathBuf,
    /// Frames in the packet pool of all devices together.
    pub frames: u32,
    /// Memory for DPDK in MiB; `None`: as much as the frames need.
    pub memory_mib: Option<u32>,
    /// Further arguments for DPDK's EAL, as on its command line.
    pub eal_args: Vec<String>,
    /// ICMP errors that the gateway makes a second, all workers together.
    pub icmp_errors_per_second: u32,
}

/// What a worker does when there is no traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// Polls without a pause: lowest latency, one CPU at 100 %.
    Busy,
    /// Sleeps for a moment when nothing came for a while: for demos and virtual machines.
    Adaptive,
}

/// Session table, timeouts, limits.
#[derive(Clone, Debug, PartialEq)]
pub struct ConntrackConfig {
    /// Sessions of all workers together.
    pub max_sessions: u32,
    /// Idle timeouts of sessions that no rule gives others.
    pub timeouts: Timeouts,
    /// Further sets of timeouts, for rules to choose; at most 255.
    pub timeout_sets: Vec<TimeoutSet>,
    /// Which session gets which timeouts and mark: the first rule that matches decides. One protocol each
    /// (`protocol = ["tcp", "udp"]` makes two of them). Set 0 is `timeouts`, set n + 1 is `timeout_sets[n]`.
    pub rules: Vec<TrackRule>,
    /// How strict the TCP tracker is.
    pub tcp: TcpOptions,
    /// Limits and behaviour under pressure.
    pub limits: Limits,
}

/// Timeouts under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeoutSet {
    /// Name in the config.
    pub name: String,
    /// Every timeout: those of `ConntrackConfig::timeouts` where the set gives none.
    pub timeouts: Timeouts,
}

/// One NIC.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceConfig {
    /// Which, as parsed from the text.
    pub spec: DeviceSpec,
    /// Ethernet address to use instead of the device's own.
    pub mac: Option<MacAddr>,
}

/// One interface of the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfaceConfig {
    /// Name in the config and all output.
    pub name: String,
    /// The NIC that it lives on.
    pub device: DeviceId,
    /// VLAN id, or 0 for untagged frames. Unique on its device.
    pub vlan: u16,
    /// Which side it faces.
    pub realm: Realm,
    /// The address space that it lies in. Networks of interfaces in one zone do not overlap.
    pub zone: u16,
    /// The gateway's addresses with their prefixes; the first is the primary one. At least one.
    pub addresses: Vec<Ipv4Net>,
    /// Largest IPv4 packet in bytes: 576 to 9216.
    pub mtu: u16,
    /// Whether the gateway makes ICMP errors about packets that come in here.
    pub icmp_errors: bool,
    /// The largest segments of TCP connections through here.
    pub mss_clamp: MssClamp,
    /// What the gateway says to who opens a connection from here that nobody waits for.
    pub unsolicited_syn: UnsolicitedSyn,
}

/// What a SYN may say of the largest segment that its sender takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MssClamp {
    /// What its sender likes.
    #[default]
    Off,
    /// What the MTU of the interface leaves.
    Auto,
    /// So many bytes: 536 to 9176.
    To(u16),
}

impl MssClamp {
    /// IPv4 and TCP header, in bytes: what an MSS does not count (RFC 9293 3.7.1).
    const HEADERS: u16 = 40;

    /// The most bytes of a segment on an interface with this MTU; `None`: no limit.
    pub fn limit(self, mtu: u16) -> Option<u16> {
        match self {
            MssClamp::Off => None,
            MssClamp::Auto => Some(mtu.saturating_sub(Self::HEADERS)),
            MssClamp::To(bytes) => Some(bytes),
        }
    }
}

/// What becomes of a SYN to an external address that nobody waits for (RFC 5382 REQ-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnsolicitedSyn {
    /// After six seconds its sender is told that the port is unreachable.
    #[default]
    Unreachable,
    /// Nothing is ever said.
    Silent,
}

impl InterfaceConfig {
    /// The primary address.
    pub fn primary(&self) -> Ipv4Addr {
        self.addresses.first().map_or(Ipv4Addr::UNSPECIFIED, Ipv4Net::addr)
    }
}

/// A static route (also what `gateway = …` on an interface turns into: `0.0.0.0/0`).
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// Destination prefix.
    pub to: Ipv4Net,
    /// Next hop; lies in a prefix of `interface`.
    pub via: Ipv4Addr,
    /// Where the next hop is; the route belongs to this interface's zone.
    pub interface: InterfaceId,
}

/// A pool of external addresses. No address is in two pools or belongs to an interface.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// Name in the config and all output.
    pub name: String,
    /// Every address, without repetition; at least 1, and 4096 in all pools together.
    pub addresses: Vec<Ipv4Addr>,
    /// Ports (and ICMP identifiers) that may be allocated.
    pub ports: RangeInclusive<u16>,
    /// How what is translated to it is mapped and filtered.
    pub behavior: Behavior,
    /// Who has which ports, if that is arithmetic ([`Sharing::Fixed`](crate::nat::behavior::Sharing::Fixed)).
    pub fixed: Option<Deterministic>,
}

/// Where translated sources come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourcePool {
    /// The primary address of the interface that the packet leaves by ("masquerade").
    Interface,
    /// The pool with this index in `Config::pools`.
    Pool(usize),
}

/// A network that is translated one to one. No external address is in two of them, none belongs to an interface or a pool;
/// no internal one is in two of a zone that are for the same interface, or for any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StaticRule {
    /// What it is outside; as long as `internal`.
    pub external: Ipv4Net,
    /// What it is inside.
    pub internal: Ipv4Net,
    /// The zone that it is in.
    pub zone: u16,
    /// The external interface that its packets leave by; `None`: any.
    pub out: Option<InterfaceId>,
    /// Whether sessions may be opened to it.
    pub inbound: bool,
}

/// A source translation rule, for new sessions from an internal to an external interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnatRule {
    /// Interfaces that the packet comes in by, internal ones; empty: any.
    pub on: Vec<InterfaceId>,
    /// Zone that the packet comes in from; `None`: any.
    pub zone: Option<u16>,
    /// Sources.
    pub from: Addresses,
    /// Source ports; empty: any. Ascending, without overlap.
    pub from_ports: Vec<RangeInclusive<u16>>,
    /// Destinations.
    pub to: Addresses,
    /// Destination ports; empty: any. Ascending, without overlap.
    pub ports: Vec<RangeInclusive<u16>>,
    /// IANA protocol numbers; empty: any. With ports only such as have them.
    pub protocols: Vec<u8>,
    /// Interface that the packet leaves by; `None`: any external one.
    pub out: Option<InterfaceId>,
    /// What the source becomes; `None`: it stays as it is, an internal address outside.
    pub source: Option<SourcePool>,
    /// Largest segment, in bytes, that SYNs of its connections may offer in either direction; `None`: any.
    pub mss_clamp: Option<u16>,
}

/// A destination translation rule, one protocol each (`protocol = ["tcp", "udp"]` makes two of them).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnatRule {
    /// The translated (external) address that clients use: an interface's address or one of a pool or any other
    /// that is routed here.
    pub address: Ipv4Addr,
    /// The interface whose own address that is; `None`: nobody's.
    pub interface: Option<InterfaceId>,
    /// TCP or UDP, as IANA number.
    pub protocol: u8,
    /// The ports that clients use.
    pub ports: RangeInclusive<u16>,
    /// The backends: 1 to [`crate::classify::service::MAX_BACKENDS`].
    pub backends: Vec<BackendConfig>,
    /// Who a client is to the choice among them.
    pub affinity: Affinity,
    /// With affinity by source: how long a source keeps its backend after it last opened a session, though the choice would be
    /// another one.
    pub affinity_timeout: Option<Duration>,
    /// How it is found out which of them are there; `None`: they are taken to be.
    pub health: Option<HealthCheck>,
    /// The zone that the backends are in.
    pub zone: u16,
    /// Also translate the source (full NAT): to an address of this pool.
    pub source: Option<SourcePool>,
    /// The gateway answers handshakes itself, with SYN cookies, before the backend hears of them. TCP only.
    pub syn_proxy: bool,
    /// No new session is made: those that there are go on until they end.
    pub drain: bool,
}

/// A backend of a [`DnatRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendConfig {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port for the first of the rule's ports; the others follow one by one.
    pub port: u16,
    /// Its part of the new sessions, against that of the others: 1 to [`crate::classify::service::MAX_WEIGHT`].
    pub weight: u8,
    /// It gets no new session.
    pub drain: bool,
}

/// Sources that may open no session, on whichever side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BanRule {
    /// Zone that the packets come in from; `None`: any.
    pub zone: Option<u16>,
    /// Sources; not any.
    pub from: Addresses,
}

/// Prefixes under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetConfig {
    /// Name in the config and all output.
    pub name: String,
    /// The prefixes; may be none.
    pub prefixes: Vec<Ipv4Net>,
}

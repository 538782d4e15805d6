//! The file after each value was read by itself and before the values are compared with one another.
//!
//! `None` stands for what was not given and for what was wrong; the latter has been reported, so that nothing that
//! follows from it is.

use crate::classify::Affinity;
use crate::classify::notrack::{Existing, OpenedBy, PeerPolicy, TcpFlags, Verdict};
use crate::config::error::Span;
use crate::config::model::{MssClamp, PollMode, UnsolicitedSyn};
use crate::config::presets::Preset;
use crate::config::reader::At;
use crate::conntrack::policy::{Share, TcpOptions, WhenFull};
use crate::conntrack::timeouts::Timeouts;
use crate::device::spec::DeviceSpec;
use crate::ids::{MacAddr, Realm};
use crate::nat::behavior::{Behavior, Dependence, PerProtocol, Pooling, Sharing};
use crate::steering::Spread;
use crate::steering::plan::Wish;
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_MTU: u16 = 1500;

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) runtime: RuntimeDraft,
    pub(super) conntrack: ConntrackDraft,
    pub(super) interfaces: Vec<InterfaceDraft>,
    pub(super) routes: Vec<RouteDraft>,
    pub(super) pools: Vec<PoolDraft>,
    pub(super) masquerade: BehaviorDraft,
    pub(super) statics: Vec<StaticDraft>,
    pub(super) snat: Vec<SnatDraft>,
    pub(super) dnat: Vec<DnatDraft>,
    pub(super) bans: Vec<BanDraft>,
    pub(super) sets: Vec<SetDraft>,
    pub(super) notrack: Vec<NotrackDraft>,
    pub(super) alg: AlgDraft,
}

#[derive(Debug, Default)]
pub(super) struct AlgDraft {
    /// Where the table of each helper stands, with its ports, by [`crate::nat::alg::Helper`].
    pub(super) ports: [Option<At<Vec<u16>>>; 2],
    pub(super) max_expectations: Option<u32>,
    pub(super) max_sessions: Option<u32>,
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct RuntimeDraft {
    pub(super) workers: Option<At<u8>>,
    pub(super) cpus: Option<At<Vec<usize>>>,
    pub(super) spread: Option<At<Spread>>,
    pub(super) steering: Option<At<Wish>>,
    pub(super) poll: Option<PollMode>,
    pub(super) control: Option<PathBuf>,
    pub(super) control_group: Option<String>,
    pub(super) metrics: Option<At<SocketAddr>>,
    pub(super) state: Option<PathBuf>,
    pub(super) frames: Option<At<u32>>,
    pub(super) memory: Option<At<u32>>,
    pub(super) eal: Vec<String>,
    pub(super) icmp_errors_per_second: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct ConntrackDraft {
    pub(super) max_sessions: Option<At<u32>>,
    pub(super) timeouts: Timeouts,
    pub(super) timeout_sets: Vec<TimeoutSetDraft>,
    pub(super) rules: Vec<TrackRuleDraft>,
    pub(super) tcp: TcpOptions,
    pub(super) when_full: Option<At<WhenFull>>,
    pub(super) reserve: Option<At<Share>>,
    /// Equal: off.
    pub(super) adaptive: Option<At<(Share, Share)>>,
    pub(super) half_open: Option<At<Share>>,
    pub(super) sessions_per_source: Option<At<u32>>,
    pub(super) new_per_source: Option<At<u32>>,
    pub(super) burst: Option<At<u32>>,
    pub(super) management: Vec<At<Ipv4Net>>,
}

#[derive(Debug)]
pub(super) struct TimeoutSetDraft {
    pub(super) name: At<String>,
    pub(super) timeouts: Timeouts,
}

#[derive(Debug)]
pub(super) struct TrackRuleDraft {
    pub(super) at: Span,
    pub(super) on: Option<At<String>>,
    pub(super) from: Vec<At<Ipv4Net>>,
    pub(super) to: Vec<At<Ipv4Net>>,
    /// `None`: any. Empty: what was given is wrong.
    pub(super) protocols: Option<Vec<At<u8>>>,
    pub(super) ports: Option<At<RangeInclusive<u16>>>,
    pub(super) timeouts: Option<At<String>>,
    pub(super) mark: Option<At<u32>>,
}

#[derive(Debug)]
pub(super) struct InterfaceDraft {
    pub(super) name: At<String>,
    pub(super) device: Option<At<DeviceSpec>>,
    pub(super) realm: Option<Realm>,
    pub(super) addresses: Vec<At<Ipv4Net>>,
    pub(super) gateway: Option<At<Ipv4Addr>>,
    /// 0 if it was not given, `None` if it was wrong.
    pub(super) zone: Option<u16>,
    pub(super) mtu: Option<At<u16>>,
    pub(super) icmp_errors: bool,
    pub(super) mss_clamp: MssClamp,
    pub(super) unsolicited_syn: UnsolicitedSyn,
    pub(super) vlan: Vlan,
    pub(super) mac: Option<At<MacAddr>>,
}

impl InterfaceDraft {
    /// Whether the addresses of both mean the same.
    pub(super) fn shares_zone_with(&self, other: &InterfaceDraft) -> bool {
        self.zone.is_some() && self.zone == other.zone
    }

    /// Whether the address is the gateway's own here.
    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.value.addr() == address)
    }

    /// The MTU, given or not.
    pub(super) fn mtu_or_default(&self) -> u16 {
        self.mtu.map_or(DEFAULT_MTU, |mtu| mtu.value)
    }
}

/// The VLAN of an interface: what was wrong must not count as untagged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Vlan {
    Untagged,
    Id(At<u16>),
    Wrong,
}

#[derive(Debug)]
pub(super) struct RouteDraft {
    pub(super) to: Option<At<Ipv4Net>>,
    pub(super) via: Option<At<Ipv4Addr>>,
    pub(super) zone: Option<At<u16>>,
}

#[derive(Debug)]
pub(super) struct PoolDraft {
    pub(super) name: At<String>,
    pub(super) ranges: Vec<At<(Ipv4Addr, Ipv4Addr)>>,
    pub(super) ports: Option<At<RangeInclusive<u16>>>,
    pub(super) behavior: BehaviorDraft,
    pub(super) blocks: Option<At<BlocksDraft>>,
    pub(super) fixed: Option<At<FixedDraft>>,
}

/// `port_blocks`
#[derive(Clone, Copy, Debug)]
pub(super) struct BlocksDraft {
    pub(super) size: Option<At<u16>>,
    pub(super) per_subscriber: Option<At<u8>>,
    /// In ticks.
    pub(super) idle: Option<u32>,
}

/// `deterministic`
#[derive(Debug)]
pub(super) struct FixedDraft {
    pub(super) inside: Vec<At<Ipv4Net>>,
    pub(super) ports: Option<At<u16>>,
    pub(super) zone: Option<At<u16>>,
}

/// How something maps and filters, as far as the file says so.
#[derive(Debug, Default)]
pub(super) struct BehaviorDraft {
    pub(super) mapping: PerProtocol<Option<At<Dependence>>>,
    pub(super) filtering: PerProtocol<Option<At<Dependence>>>,
    pub(super) pooling: Option<At<Pooling>>,
    /// In ticks.
    pub(super) hold_down: Option<At<u32>>,
    pub(super) ports: PerProtocol<Option<At<u32>>>,
}

impl BehaviorDraft {
    /// Where flows of a host are with several workers the defaults are others.
    pub(super) fn build(&self, spread: Spread) -> Behavior {
        let default = if spread == Spread::Flow { Behavior::BY_FLOW } else { Behavior::DEFAULT };
        let pick = |given: &PerProtocol<Option<At<Dependence>>>, default: PerProtocol<Dependence>| {
            std::array::from_fn(|at| given[at].map_or(default[at], |given| given.value))
        };
        Behavior {
            mapping: pick(&self.mapping, default.mapping),
            filtering: pick(&self.filtering, default.filtering),
            pooling: self.pooling.map_or(default.pooling, |given| given.value),
            hold_down: self.hold_down.map_or(default.hold_down, |given| given.value),
            ports_per_subscriber: self.ports.map(|given| given.map_or(u32::MAX, |given| given.value)),
            sharing: Sharing::Ports,
        }
    }
}

/// Where translated sources come from, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourceName {
    Interface,
    Pool(String),
    /// They stay as they are.
    Untranslated,
}

#[derive(Debug)]
pub(super) struct StaticDraft {
    pub(super) external: Option<At<Ipv4Net>>,
    pub(super) internal: Option<At<Ipv4Net>>,
    pub(super) zone: Option<At<u16>>,
    pub(super) on: Option<At<String>>,
    pub(super) inbound: bool,
}

#[derive(Debug)]
pub(super) struct SnatDraft {
    pub(super) at: Span,
    pub(super) on: Option<Vec<At<String>>>,
    pub(super) zone: Option<At<u16>>,
    pub(super) from: Option<Members>,
    pub(super) from_ports: Option<At<Vec<RangeInclusive<u16>>>>,
    pub(super) to: Option<Members>,
    pub(super) ports: Option<At<Vec<RangeInclusive<u16>>>>,
    pub(super) protocols: Option<At<Vec<u8>>>,
    pub(super) out: Option<At<String>>,
    pub(super) source: Option<At<SourceName>>,
    pub(super) mss_clamp: Option<u16>,
}

#[derive(Debug)]
pub(super) struct DnatDraft {
    pub(super) on: Option<At<String>>,
    pub(super) address: Option<At<Ipv4Addr>>,
    pub(super) protocols: Vec<At<u8>>,
    pub(super) ports: Option<At<RangeInclusive<u16>>>,
    pub(super) to: Option<At<Vec<BackendDraft>>>,
    pub(super) affinity: Affinity,
    pub(super) affinity_timeout: Option<At<Duration>>,
    pub(super) health: Option<At<HealthDraft>>,
    pub(super) zone: Option<At<u16>>,
    pub(super) source: Option<At<SourceName>>,
    pub(super) syn_proxy: Option<At<bool>>,
    pub(super) drain: bool,
}

/// `None`: as it is by default.
#[derive(Clone, Copy, Debug)]
pub(super) struct HealthDraft {
    /// `true`: by a connection; `false`: by an echo request.
    pub(super) by_tcp: Option<bool>,
    pub(super) port: Option<At<u16>>,
    pub(super) interval: Option<At<Duration>>,
    pub(super) timeout: Option<At<Duration>>,
    pub(super) rise: Option<u8>,
    pub(super) fall: Option<u8>,
}

#[derive(Debug)]
pub(super) struct BackendDraft {
    pub(super) to: At<(Ipv4Addr, Option<u16>)>,
    pub(super) weight: u8,
    pub(super) drain: bool,
}

#[derive(Debug)]
pub(super) struct BanDraft {
    pub(super) zone: Option<At<u16>>,
    pub(super) from: Option<Members>,
}

#[derive(Debug)]
pub(super) struct SetDraft {
    pub(super) name: At<String>,
    pub(super) prefixes: Vec<At<Ipv4Net>>,
}

/// Addresses that a rule names: a prefix, or a set by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Net(Ipv4Net),
    Set(String),
}

impl Member {
    /// The prefix, if it is one.
    pub(super) fn net(&self) -> Option<Ipv4Net> {
        match self {
            Member::Net(net) => Some(*net),
            Member::Set(_) => None,
        }
    }
}

/// A list without entries stands for one that was wrong: it means not any.
pub(super) type Members = At<Vec<At<Member>>>;

/// As [`Members`], lists without entries stand for such as were wrong.
#[derive(Debug)]
pub(super) struct NotrackDraft {
    pub(super) at: Span,
    pub(super) name: Option<At<String>>,
    pub(super) preset: Option<&'static Preset>,
    pub(super) on: Option<Vec<At<String>>>,
    pub(super) zone: Option<At<u16>>,
    pub(super) from: Option<Members>,
    pub(super) from_ports: Option<At<Vec<RangeInclusive<u16>>>>,
    pub(super) to: Option<Members>,
    pub(super) to_zone: Option<At<u16>>,
    pub(super) ports: Option<At<Vec<RangeInclusive<u16>>>>,
    pub(super) protocols: Option<At<Vec<u8>>>,
    pub(super) flags: Option<At<TcpFlags>>,
    pub(super) verdict: Option<At<Verdict>>,
    pub(super) translate_from: Option<At<Ipv4Net>>,
    pub(super) translate_to: Option<At<Ipv4Net>>,
    pub(super) untranslated: Option<At<bool>>,
    pub(super) symmetric: Option<At<bool>>,
    pub(super) peers: Option<At<bool>>,
    pub(super) policy: Option<At<PeerPolicy>>,
    pub(super) opened_by: Option<At<OpenedBy>>,
    pub(super) existing: Option<At<Existing>>,
}

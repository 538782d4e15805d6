//! What can be wrong in a config file ([`Mistake`]) or doubtful ([`Caution`]): one variant a rule, its sentence and
//! its cure.

mod notrack;
mod sharing;

pub use notrack::{ClassCaution, ClassMistake};
pub use sharing::SharingMistake;

use crate::config::symmetry::Finding;
use crate::config::units::ValueError;
use crate::conntrack::policy::Share;
use crate::device::spec::DeviceSpecError;
use crate::ids::{MAX_INTERFACES, MacAddr};
use humantime::format_duration;
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A rule that the file breaks. The gateway does not start with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant says what it is and names its fields")]
pub enum Mistake {
    #[error("{message}")]
    Syntax { message: String },
    #[error("unknown key `{key}` in {section}")]
    UnknownKey { key: String, section: String, meant: Option<&'static str>, known: Vec<&'static str> },
    #[error("missing key `{key}` in {section}")]
    MissingKey { key: &'static str, section: String, example: String },
    #[error("wrong type for `{key}`: expected {expected}; found {found}")]
    WrongType { key: String, expected: String, found: &'static str, example: String },
    #[error("`{key}`: {problem}")]
    Value { key: String, problem: ValueError },
    #[error("`{key}`: {value} is not between {min} and {max}")]
    OutOfRange { key: String, value: String, min: i64, max: i64 },
    #[error("`{key}`: \"{value}\" is none of {known}")]
    UnknownWord { key: String, value: String, known: String, meant: Option<&'static str> },
    #[error("`{key}` is empty")]
    Empty { key: String, example: String },
    #[error("`{first}` and `{second}` exclude each other in {section}")]
    Exclusive { first: &'static str, second: &'static str, section: String },
    #[error("{section} has neither `{first}` nor `{second}`")]
    Neither { first: &'static str, second: &'static str, section: String, example: String },
    #[error("\"{value}\" is listed twice in `{key}`")]
    Repeated { key: String, value: String },
    #[error("\"{0}\" can not be a name")]
    Name(String),
    #[error("{0}")]
    Device(#[from] DeviceSpecError),
    #[error("\"{0}\" is not an Ethernet address")]
    Mac(String),
    #[error("{0} is not the address of a single device")]
    MacGroup(MacAddr),
    #[error("the socket's path \"{0}\" is not absolute, or longer than 107 bytes")]
    SocketPath(String),
    #[error("the directory \"{0}\" is not absolute")]
    StatePath(String),
    #[error("\"{0}\" can not be the name of a group")]
    Group(String),
    #[error("\"{0}\" makes DPDK print something and end the process")]
    EalPrints(String),
    #[error("there is no interface \"{name}\"")]
    UnknownInterface { name: String, meant: Option<String>, known: Vec<String> },
    #[error("there is no pool \"{name}\"")]
    UnknownPool { name: String, meant: Option<String>, known: Vec<String> },
    #[error("there is no set \"{name}\"")]
    UnknownSet { name: String, meant: Option<String>, known: Vec<String> },
    #[error(transparent)]
    Class(#[from] ClassMistake),
    #[error("the file has no interface")]
    NoInterface,
    #[error("{0} interfaces are too many")]
    TooManyInterfaces(usize),
    #[error("interfaces \"{first}\" and \"{second}\" are both untagged on {device}")]
    DeviceShared { first: String, second: String, device: String },
    #[error("{first} and {second} are one interface of the kernel")]
    KernelInterfaceTwice { first: String, second: String },
    #[error("interfaces \"{first}\" and \"{second}\" both have VLAN {vlan} on {device}")]
    VlanShared { first: String, second: String, vlan: u16, device: String },
    #[error("interfaces \"{first}\" and \"{second}\" give {device} different Ethernet addresses")]
    MacConflict { first: String, second: String, device: String },
    #[error("{address} is not an address that a host can have")]
    NotUnicast { address: Ipv4Addr },
    #[error("{address} is the network's own address of {net}, not a host's")]
    NetworkAddress { address: Ipv4Addr, net: Ipv4Net },
    #[error("{address} is the broadcast address of {net}")]
    BroadcastAddress { address: Ipv4Addr, net: Ipv4Net },
    #[error("address {address} is given twice: to \"{first}\" and to \"{second}\"")]
    AddressTwice { address: Ipv4Addr, first: String, second: String },
    #[error("{second_net} of \"{second}\" overlaps {first_net} of \"{first}\"")]
    ConnectedOverlap { first: String, first_net: Ipv4Net, second: String, second_net: Ipv4Net },
    #[error("gateway {gateway} is not in a prefix of \"{interface}\" ({prefixes})")]
    GatewayOutside { gateway: Ipv4Addr, interface: String, prefixes: String },
    #[error("next hop {via} is an address of the gateway itself")]
    ViaSelf { via: Ipv4Addr },
    #[error("next hop {via} is in no interface's prefix")]
    ViaUnreachable { via: Ipv4Addr },
    #[error("there are two routes to {to}")]
    RouteTwice { to: Ipv4Net },
    #[error("next hop {via} is in networks of \"{first}\" and of \"{second}\", which are in different zones")]
    ViaAmbiguous { via: Ipv4Addr, first: String, second: String },
    #[error("next hop {via} is in no network of zone {zone}")]
    ViaOutsideZone { via: Ipv4Addr, zone: u16 },
    #[error("no interface is in zone {zone}")]
    UnknownZone { zone: u16, known: Vec<u16> },
    #[error("the backend {to} can be in zone {first} or in zone {second}")]
    BackendAmbiguous { to: Ipv4Addr, first: u16, second: u16 },
    #[error("{address} is an address of \"{first}\" and of \"{second}\", which are in different zones")]
    OwnAmbiguous { address: Ipv4Addr, first: String, second: String },
    #[error("{address} is in networks of \"{first}\" and of \"{second}\", which are in different zones")]
    AddressInZones { address: Ipv4Addr, first: String, second: String },
    #[error("{to} is directly connected to \"{interface}\"")]
    RouteConnected { to: Ipv4Net, interface: String },
    #[error("all pools together have {count} addresses, more than {most}")]
    PoolsTooLarge { count: u64, most: u64 },
    #[error("{address} is in pool \"{pool}\" twice")]
    PoolRepeats { pool: String, address: Ipv4Addr },
    #[error("{address} is in pool \"{first}\" and in pool \"{second}\"")]
    PoolOverlap { first: String, second: String, address: Ipv4Addr },
    #[error("{address} of pool \"{pool}\" belongs to interface \"{interface}\"")]
    PoolHoldsInterface { pool: String, address: Ipv4Addr, interface: String },
    #[error("{address} of pool \"{pool}\" is a next hop, another machine's address")]
    PoolHoldsNextHop { pool: String, address: Ipv4Addr },
    #[error("pool \"{pool}\" has {ports} ports for {workers} workers, of which each needs its own")]
    PoolPorts { pool: String, ports: u32, workers: u8 },
    #[error(transparent)]
    Sharing(#[from] SharingMistake),
    #[error("\"{interface}\" is internal: sources are translated on their way out of an external interface")]
    OutInternal { interface: String },
    #[error("the backends {first} and {second} are in different zones")]
    BackendZones { first: Ipv4Addr, second: Ipv4Addr },
    #[error("port {port} of the backend {to} is behind two rules that have different backends beside it")]
    BackendShared { to: Ipv4Addr, port: u16 },
    #[error("{external} and {internal} are not of the same length")]
    StaticLength { external: Ipv4Net, internal: Ipv4Net },
    #[error("{external} and {internal} overlap")]
    StaticWithin { external: Ipv4Net, internal: Ipv4Net },
    #[error("{second} overlaps {first}, which is translated one to one already")]
    StaticOverlap { first: Ipv4Net, second: Ipv4Net },
    #[error("{net} holds {address}, which belongs to {owner}")]
    StaticHolds { net: Ipv4Net, address: Ipv4Addr, owner: String },
    #[error("\"{interface}\" is external: sources are translated that come in by an internal interface")]
    OnExternal { interface: String },
    #[error("\"{interface}\" is in zone {of}, and the rule is for packets from zone {zone}")]
    OnOutsideZone { interface: String, of: u16, zone: u16 },
    #[error("each connection of a source may have another backend: there is none to keep")]
    AffinityTimeout,
    #[error("no source is remembered for {}", format_duration(*.0))]
    AffinityTimeoutLong(Duration),
    #[error("an echo request goes to no port")]
    HealthPort,
    #[error("the next question comes after {}, and an answer may take {}", format_duration(*.interval), format_duration(*.timeout))]
    HealthTimeout { interval: Duration, timeout: Duration },
    #[error("the backend {0} is an address of the gateway itself")]
    BackendSelf(Ipv4Addr),
    #[error("{count} ports from {first} on end behind 65535")]
    BackendPorts { first: u16, count: u32 },
    #[error("{protocol} {address} port {port} is forwarded twice")]
    DnatOverlap { protocol: &'static str, address: Ipv4Addr, port: u16 },
    #[error("`syn_proxy` is for TCP, and the rule forwards {protocol}")]
    SynProxyProtocol { protocol: &'static str },
    #[error("{workers} workers but {cpus} CPUs")]
    WorkersCpus { workers: u8, cpus: usize },
    #[error("{sessions} sessions are fewer than the {workers} workers")]
    FewSessions { sessions: u32, workers: u8 },
    #[error("a reserve of {reserve} is more than {most} of the table")]
    ReserveTooLarge { reserve: Share, most: Share },
    #[error("`adaptive` begins at {low} and ends at {high}")]
    AdaptiveOrder { low: Share, high: Share },
    #[error("without half-open connections no TCP connection can open")]
    HalfOpenNothing,
    #[error("`new_sessions_burst` without `new_sessions_per_source`")]
    BurstWithoutRate,
    #[error("`{limit}` counts a source's sessions on its worker, but with spread = \"flow\" they are on all")]
    SpreadWithLimit { limit: &'static str },
    #[error(
        "`{key}` can not be \"{value}\" with spread = \"flow\": the flows of a host are with several workers"
    )]
    SpreadWithMapping { key: &'static str, value: &'static str },
    #[error("{count} {what} are too many")]
    TooMany { what: &'static str, count: usize, most: usize },
    #[error("there is no timeout set \"{name}\"")]
    UnknownTimeoutSet { name: String, meant: Option<String>, known: Vec<String> },
    #[error("`{0}` without `protocol`")]
    PortWithoutProtocol(&'static str),
    #[error("{protocol} has no ports")]
    PortOfPortless { protocol: String },
    #[error("{frames} frames are too few: these devices and {workers} workers need {minimum}")]
    FewFrames { frames: u32, minimum: u32, workers: u8 },
    #[error(
        "an MTU of {mtu} on {device} needs larger buffers than {af_xdp} can use, and all devices share them"
    )]
    AfXdpMtu { mtu: u16, most: u16, device: String, af_xdp: String },
    #[error("{memory} MiB are too little for {frames} frames, which need {needed} MiB")]
    MemoryTooSmall { memory: u32, frames: u32, needed: u32 },
}

fn list(known: &[impl AsRef<str>]) -> String {
    known.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

fn meant_or_known(meant: Option<&str>, known: &[impl AsRef<str>], none: &str) -> String {
    match (meant, known) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, []) => none.into(),
        (None, known) => format!("known: {}", list(known)),
    }
}

impl Mistake {
    /// What to write instead.
    pub fn cure(&self) -> String {
        match self {
            Mistake::Syntax { message } => syntax_cure(message).into(),
            Mistake::UnknownKey { meant, known, .. } => meant_or_known(*meant, known, "remove it"),
            Mistake::MissingKey { key, example, .. } => format!("add it, such as `{key} = {example}`"),
            Mistake::WrongType { example, .. } => example.clone(),
            Mistake::Value { problem, .. } => problem.cure(),
            Mistake::OutOfRange { min, max, .. } => format!("choose a whole number from {min} to {max}"),
            Mistake::UnknownWord { meant, known, .. } => match meant {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("write one of {known}"),
            },
            Mistake::Empty { example, .. } => format!("write a value, such as {example}"),
            Mistake::Exclusive { first, second, .. } => format!("keep either `{first}` or `{second}`"),
            Mistake::Neither { example, .. } => format!("add one of them, such as `{example}`"),
            Mistake::Repeated { .. } => "remove one of them".into(),
            Mistake::Name(_) => "use 1 to 32 letters, digits, `-` and `_`".into(),
            // The sentence says what to write; this is where all forms are.
            Mistake::Device(_) => "see `device` in docs/config.md".into(),
            Mistake::Mac(_) => "write six pairs of hexadecimal digits, such as \"02:00:00:00:00:01\"".into(),
            Mistake::MacGroup(_) => "use an address whose first byte is even, such as \"02:00:00:00:00:01\"".into(),
            Mistake::SocketPath(_) => "write a path such as \"/run/natgate/control.sock\"".into(),
            Mistake::StatePath(_) => "write a path such as \"/var/lib/natgate\"".into(),
            Mistake::Group(_) => "write the name of a group of this system, such as \"adm\"".into(),
            Mistake::EalPrints(_) => "remove it; `natgate --version` tells the version of DPDK too".into(),
            Mistake::UnknownInterface { meant, known, .. } => {
                meant_or_known(meant.as_deref(), known, "add [interface.NAME]")
            }
            Mistake::UnknownPool { meant, known, .. } => {
                meant_or_known(meant.as_deref(), known, "add [pool.NAME] with its addresses")
            }
            Mistake::UnknownSet { meant, known, .. } => {
                meant_or_known(meant.as_deref(), known, "add [set.NAME] with its prefixes")
            }
            Mistake::Class(mistake) => mistake.cure(),
            Mistake::NoInterface => {
                "add at least [interface.NAME] with `device`, `realm` and `address`; a NAT needs an internal and an \
                 external one"
                    .into()
            }
            Mistake::TooManyInterfaces(_) => format!("{MAX_INTERFACES} is the limit"),
            Mistake::DeviceShared { .. } => "give one of them a `vlan`, or another device".into(),
            Mistake::KernelInterfaceTwice { first, .. } => {
                format!("reach it in one way, such as \"{first}\" with a `vlan` each, or use another one")
            }
            Mistake::VlanShared { .. } => "give one of them another `vlan`, or another device".into(),
            Mistake::MacConflict { .. } => "a device has one Ethernet address: keep one `mac`".into(),
            Mistake::NotUnicast { .. } => {
                "use an address that is not multicast, loopback, reserved or in 0.0.0.0/8".into()
            }
            Mistake::NetworkAddress { net, .. } | Mistake::BroadcastAddress { net, .. } => {
                match net.hosts().next() {
                    Some(host) => format!("use a host's address in it, such as {host}"),
                    None => "use a host's address".into(),
                }
            }
            Mistake::AddressTwice { .. } => "remove one of them".into(),
            Mistake::ConnectedOverlap { .. } => {
                "each prefix is connected to one interface: change an address or its prefix length".into()
            }
            Mistake::GatewayOutside { .. } => {
                "use the address of the next router on that network, or correct the interface's prefix".into()
            }
            Mistake::ViaSelf { .. } => "use the address of the next router".into(),
            Mistake::ViaUnreachable { .. } => {
                "use the address of a router on a network that an interface is connected to".into()
            }
            Mistake::ViaAmbiguous { .. } => "add the `zone` of the one that is meant".into(),
            Mistake::ViaOutsideZone { .. } => "correct `via` or `zone`".into(),
            Mistake::UnknownZone { known, .. } => {
                let known: Vec<String> = known.iter().map(u16::to_string).collect();
                format!("zones of interfaces: {}", known.join(", "))
            }
            Mistake::BackendAmbiguous { first, .. } => format!("add the one that is meant, such as `zone = {first}`"),
            Mistake::OwnAmbiguous { first, .. } => format!("name the interface that is meant, such as `on = \"{first}\"`"),
            Mistake::AddressInZones { .. } => {
                "every zone sees this address: use one that is in no network of several zones".into()
            }
            Mistake::RouteTwice { to } if to.prefix_len() == 0 => {
                "keep one: one `gateway`, or one [[route]] to 0.0.0.0/0".into()
            }
            Mistake::RouteTwice { .. } => "keep one of them".into(),
            Mistake::RouteConnected { .. } => "remove the route, or make its prefix longer or shorter".into(),
            Mistake::PoolsTooLarge { .. } => "use fewer addresses: one serves 64,000 mappings a protocol".into(),
            Mistake::PoolRepeats { .. } | Mistake::PoolOverlap { .. } => {
                "list each address once, in one pool".into()
            }
            Mistake::PoolHoldsInterface { .. } => {
                "take it out of the pool; to translate to the interface's address write source = \"interface\""
                    .into()
            }
            Mistake::PoolHoldsNextHop { .. } => "take it out of the pool".into(),
            Mistake::PoolPorts { .. } => "widen the range of `ports`, or use fewer workers".into(),
            Mistake::Sharing(mistake) => mistake.cure(),
            Mistake::OutInternal { .. } => "name an external interface, or correct its `realm`".into(),
            Mistake::BackendZones { .. } => "use backends of one zone, in several rules if need be".into(),
            Mistake::BackendShared { .. } => {
                "give both rules the same backends with the same ports, or let the backend listen on another port for one of them; or add `source`".into()
            }
            Mistake::StaticLength { external, .. } => {
                format!("write prefixes of one length, such as /{}", external.prefix_len())
            }
            Mistake::StaticWithin { .. } => "give the hosts outside other addresses than inside".into(),
            Mistake::StaticOverlap { .. } => {
                "list each address once; one inside may have several outside if each has an `on` of its own".into()
            }
            Mistake::StaticHolds { .. } => "use smaller prefixes, without it".into(),
            Mistake::OnExternal { .. } => {
                "name an internal interface, or write the interface to leave by in `out`".into()
            }
            Mistake::OnOutsideZone { .. } => "correct `on` or `zone`, or leave `zone` out".into(),
            Mistake::BackendSelf(_) => "use the address of the server".into(),
            Mistake::AffinityTimeout => "add `affinity = \"source\"`, or leave `affinity_timeout` out".into(),
            Mistake::AffinityTimeoutLong(_) => "choose at most 30 days".into(),
            Mistake::HealthPort => "leave `port` out, or use `check = \"tcp\"`".into(),
            Mistake::HealthTimeout { .. } => "make `interval` longer, or `timeout` shorter".into(),
            Mistake::BackendPorts { .. } => "begin at a lower port, or forward fewer ports".into(),
            Mistake::DnatOverlap { .. } => "a port is forwarded to one backend: remove or change one rule".into(),
            Mistake::SynProxyProtocol { .. } => {
                "write protocol = \"tcp\" here, and another rule without `syn_proxy` for the rest".into()
            }
            Mistake::WorkersCpus { .. } => {
                "list one CPU for each worker, or leave `workers` or `cpus` out".into()
            }
            Mistake::FewSessions { .. } => "raise `max_sessions`".into(),
            Mistake::ReserveTooLarge { most, .. } => format!("choose a share from \"0%\" to \"{most}\""),
            Mistake::AdaptiveOrder { .. } => {
                "write the lower mark first, such as [\"80%\", \"98%\"]; \"off\" switches it off".into()
            }
            Mistake::HalfOpenNothing => "choose a share above \"0%\", such as \"50%\"".into(),
            Mistake::BurstWithoutRate => {
                "add `new_sessions_per_source = \"100/s\"`, or remove `new_sessions_burst`".into()
            }
            Mistake::SpreadWithMapping { key, .. } => {
                format!("write spread = \"source\", which is the default, or {key} = \"address-and-port-dependent\"")
            }
            Mistake::SpreadWithLimit { limit } => {
                format!("write spread = \"source\", which is the default, or remove `{limit}`")
            }
            Mistake::TooMany { most, .. } => format!("{most} is the limit"),
            Mistake::UnknownTimeoutSet { meant, known, .. } => {
                meant_or_known(meant.as_deref(), known, "add [conntrack.timeout_set.NAME] with its timeouts")
            }
            Mistake::PortWithoutProtocol(_) => "add `protocol`, such as protocol = \"udp\"".into(),
            Mistake::PortOfPortless { .. } => {
                "give ports only with \"tcp\", \"udp\", \"sctp\", \"dccp\" and \"udplite\"; make a second rule for the others".into()
            }
            Mistake::FewFrames { minimum, .. } => {
                format!("write at least {minimum}, or leave `frames` out for enough of them")
            }
            Mistake::AfXdpMtu { most, device, .. } => {
                format!("lower the `mtu` of {device} to {most}, or use no \"af_xdp:\" device")
            }
            Mistake::MemoryTooSmall { needed, .. } => {
                format!("write at least \"{needed}MiB\", or leave `memory` out, or lower `frames`")
            }
        }
    }

    /// Whether it may only follow from a syntax error elsewhere in the file.
    pub(super) fn may_follow_from_syntax(&self) -> bool {
        matches!(self, Mistake::MissingKey { .. } | Mistake::Neither { .. } | Mistake::Exclusive { .. })
    }
}

/// The cures of the mistakes that people make most often in TOML.
fn syntax_cure(message: &str) -> &'static str {
    const CURES: &[(&str, &str)] = &[
        ("must be quoted", "put the value in double quotes, such as \"eth1\""),
        ("duplicate key", "a key may be given once in a table: remove one, or use a list"),
        ("unclosed array table", "close the header with `]]`"),
        ("unclosed table", "close the header with `]`"),
        ("unclosed array", "close the list with `]`"),
        ("invalid basic string", "close the string with `\"`"),
        ("invalid literal string", "close the string with `'`"),
        ("key with no value", "write `key = value`"),
        ("unexpected key or value", "put each `key = value` on a line of its own"),
    ];
    CURES
        .iter()
        .find(|(part, _)| message.contains(part))
        .map_or("see https://toml.io for how TOML is written", |(_, cure)| cure)
}

/// Something that is allowed and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant says what it is and names its fields")]
pub enum Caution {
    #[error("`{key}` = {given} is below the {minimum} of {rfc}")]
    TimeoutBelowRfc { key: &'static str, given: String, minimum: String, rfc: &'static str },
    #[error("no interface has realm \"{0}\": nothing is translated")]
    NoRealm(&'static str),
    #[error("there is no [[snat]] and no [[dnat]] rule: nothing is translated")]
    NoRule,
    #[error("the backend {0} is not reached by an internal interface")]
    BackendExternal(Ipv4Addr),
    #[error("no route leads to the backend {0}")]
    BackendUnreachable(Ipv4Addr),
    #[error("no internal interface leads to {0}: the rule never applies to it")]
    SourceNotInternal(Ipv4Net),
    #[error("this rule never applies: an earlier one takes all that it matches")]
    Shadowed,
    #[error("packets of this rule leave with their internal addresses, and not for private networks alone")]
    LeavesUntranslated,
    #[error("pool \"{0}\" is used by no rule")]
    PoolUnused(String),
    #[error("pool \"{pool}\" has only {each} ports of each address for each of {workers} workers")]
    FewPorts { pool: String, each: u32, workers: u8 },
    #[error("hosts of {net} have no ports in pool \"{pool}\", and are refused")]
    OutsideInside { net: Ipv4Net, pool: String },
    #[error("a host has only {each} ports of pool \"{pool}\"")]
    FewShared { pool: String, each: u32 },
    #[error("{address} of pool \"{pool}\" lies in {net} of the internal interface \"{interface}\"")]
    PoolInternal { pool: String, address: Ipv4Addr, net: Ipv4Net, interface: String },
    #[error("\"{0}\" is internal: the rule does not apply to what comes from outside")]
    DnatOnInternal(String),
    #[error("{sessions} sessions a source are no limit: a worker's part of the table holds {share}")]
    LimitUnreached { sessions: u32, share: u32 },
    #[error("every source is a management source: no limit applies to any")]
    ManagementAll,
    #[error("only {reserved} sessions of each of {workers} workers are kept for management sources")]
    FewReserved { reserved: u32, workers: u8 },
    #[error("only {half_open} TCP connections of each of {workers} workers may be half-open")]
    FewHalfOpen { half_open: u32, workers: u8 },
    #[error("`adaptive` ends at {high}, but with the reserve the table is full at {room}")]
    AdaptiveTooLate { high: Share, room: Share },
    #[error("with when_full = \"refuse\" one source can fill the table and lock the others out")]
    RefuseWithoutLimit,
    #[error("the ban of {ban} takes in {management}, which is to be never locked out")]
    BanManagement { ban: Ipv4Net, management: Ipv4Net },
    #[error("the ban of {ban} takes in all of {net}, the network of interface \"{interface}\"")]
    BanNetwork { ban: Ipv4Net, net: Ipv4Net, interface: String },
    #[error("whoever reaches {0} can read metrics and sessions: nobody has to prove who they are")]
    MetricsOpen(SocketAddr),
    #[error("`{0}` has no meaning with one worker")]
    OneWorker(&'static str),
    #[error("timeout set \"{0}\" is chosen by no rule")]
    TimeoutSetUnused(String),
    #[error(
        "[alg.{helper}] can let nobody in by {name}, whose mapping and filtering depend on address and port"
    )]
    AlgUnmapped { helper: &'static str, name: String },
    #[error("[alg.ftp] can not help passive FTP by the forward on {address}, which {why}")]
    AlgForward { address: Ipv4Addr, why: &'static str },
    #[error(transparent)]
    Class(#[from] ClassCaution),
    #[error("{0}")]
    Notrack(Finding),
}

impl Caution {
    /// What to think about.
    pub fn cure(&self) -> String {
        match self {
            Caution::TimeoutBelowRfc { minimum, .. } => {
                format!(
                    "conversations that pause are cut off; raise it to \"{minimum}\" unless the table is short of room"
                )
            }
            Caution::NoRealm(realm) => format!("give one interface realm = \"{realm}\""),
            Caution::NoRule => "add [[snat]] with source = \"interface\" to translate all that leaves".into(),
            Caution::BackendExternal(_) => {
                "put the backend behind an internal interface, or add a [[route]] to it".into()
            }
            Caution::BackendUnreachable(address) => {
                format!("add a [[route]] to {address}, or correct the address")
            }
            Caution::SourceNotInternal(net) => {
                format!("add a [[route]] to {net} by an internal interface, or correct the prefix")
            }
            Caution::LeavesUntranslated => {
                "whoever is there sees them, and answers come back only if routes to them lead here: write the networks that are meant in `to`".into()
            }
            Caution::Shadowed => "put the narrower rule first, or remove it".into(),
            Caution::PoolUnused(name) => format!("use it: source = \"pool.{name}\", or remove it"),
            Caution::FewPorts { .. } => {
                "packets are dropped when they are used up: widen the range of `ports`, or use fewer workers"
                    .into()
            }
            Caution::OutsideInside { .. } => "narrow `from`, or add the prefix to `inside`".into(),
            Caution::FewShared { .. } => {
                "packets are dropped when they are used up: add addresses, or use smaller prefixes".into()
            }
            Caution::PoolInternal { .. } => "use addresses that are valid on the external side".into(),
            Caution::DnatOnInternal(_) => "name an external interface".into(),
            Caution::LimitUnreached { .. } => {
                "lower `max_sessions_per_source`, or raise `max_sessions`".into()
            }
            Caution::ManagementAll => "list only the addresses that operators log in from".into(),
            Caution::FewReserved { .. } => "raise `reserve` or `max_sessions`".into(),
            Caution::FewHalfOpen { .. } => "raise `half_open` or `max_sessions`".into(),
            Caution::AdaptiveTooLate { room, .. } => {
                format!("end at \"{room}\" or before, or lower `reserve`")
            }
            Caution::RefuseWithoutLimit => "add `max_sessions_per_source`".into(),
            Caution::BanManagement { .. } => "ban a prefix without it, or take it out of `management`".into(),
            Caution::BanNetwork { .. } => "ban the hosts that are meant, or remove the ban".into(),
            Caution::MetricsOpen(address) => {
                format!("listen on \"127.0.0.1:{}\", or see that only those meant reach it", address.port())
            }
            Caution::OneWorker(key) => format!("remove `{key}`, or raise `workers`"),
            Caution::AlgUnmapped { helper, name } => {
                let protocol = if *helper == "ftp" { "tcp" } else { "udp" };
                format!("set filtering = {{ {protocol} = \"address-dependent\" }} in [{name}], with spread = \"source\"")
            }
            Caution::AlgForward { .. } => {
                "leave `syn_proxy` and `source` out there, and use an interface's or pool's address that is mapped endpoint-independently; or forward the server's passive ports too".into()
            }
            Caution::Class(caution) => caution.cure(),
            Caution::TimeoutSetUnused(name) => {
                format!("use it: timeouts = \"{name}\" in a [[conntrack.rule]], or remove it")
            }
            Caution::Notrack(finding) => finding.full_cure(),
        }
    }
}

//! What the configuration is made of, with what became of it: rules, pools, routes.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use utoipa::ToSchema;

/// `GET /v1/rules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rules {
    /// Rules that there are, those beyond the limit too.
    pub total: u64,
    /// Notrack classes, then addresses that are translated one to one, then source translation, then destination translation, then bans, then named sets; each in the order
    /// of the file.
    pub rules: Vec<Rule>,
}

/// One rule in [`Rules`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// `notrack`, `static`, `snat`, `dnat`, `ban` or `set`.
    pub kind: String,
    /// Its place among those of its kind, from 1. A `[[dnat]]` for two protocols is two rules.
    pub number: u64,
    /// Its name, if it has one: classes and sets.
    pub name: Option<String>,
    /// What it says, as the config would write it in one line. A class has everything that its preset filled in, a set its
    /// first ten prefixes.
    pub text: String,
    /// Sessions that it has made since it is there, also before a reload that left it as it was. `null` for those that
    /// make none: classes, bans, sets.
    pub sessions: Option<u64>,
    /// Whether it makes no new sessions (`drain = true`).
    pub drained: bool,
    /// Its backends that are down, so that they get no new session, as `address:port`. Of `dnat` rules with `health`.
    #[serde(default)]
    pub down: Vec<String>,
    /// What a notrack class did; `null` for others, and where the rule is only named.
    pub class: Option<ClassStatus>,
    /// How many prefixes a set has; `null` for others.
    pub prefixes: Option<u64>,
}

/// One object of the list that `GET /v1/backends` gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backend {
    /// Its address.
    #[schema(value_type = String, format = Ipv4)]
    pub address: Ipv4Addr,
    /// The port that it has to accept connections on; `null` if it is sent echo requests.
    pub port: Option<u16>,
    /// The zone that it is in.
    pub zone: u16,
    /// `tcp` or `icmp`.
    pub check: String,
    /// Whether it gets new sessions.
    pub up: bool,
    /// Whole seconds since that is so.
    pub since_seconds: u64,
    /// How often it went from up to down, or back.
    pub changes: u64,
    /// Questions that had an end.
    pub asked: u64,
    /// Of these, those without a good answer.
    pub failed: u64,
    /// Why the last of those failed: `timeout`, `refused` or `no_route`. `null`: none did yet.
    pub failure: Option<String>,
    /// Whole seconds since then.
    pub failure_seconds: Option<u64>,
    /// The numbers of the `dnat` rules that it is a backend of.
    pub rules: Vec<u64>,
}

/// What a notrack class did, in [`Rule`]: since it is there, also before a reload that left it as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClassStatus {
    /// `asymmetric`: for ten seconds or more at least a hundred packets went one way and none the other, although answers
    /// are to pass. `settling`: sessions go on that were there before the class, and packets like theirs look for them.
    /// `silent`: no packet was of the class yet. Else `active`.
    pub state: String,
    /// `there` or `back`: the way that is silent, if it is asymmetric.
    pub silent_way: Option<String>,
    /// Seconds since it was first seen, counters and all.
    pub known_seconds: u64,
    /// From clients to the service.
    pub there: ClassWay,
    /// From the service to clients.
    pub back: ClassWay,
}

/// One way of a class, in [`ClassStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClassWay {
    /// Packets that passed, ICMP errors about them too.
    pub packets: u64,
    /// Their bytes: IPv4 packets, without link headers.
    pub bytes: u64,
    /// Packets that the class dropped, whatever the reason.
    pub dropped: u64,
    /// Seconds since the last packet, dropped ones too; `null`: there was none.
    pub last_seconds: Option<u64>,
}

/// `GET /v1/pools`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pools {
    /// Pools in the order of the file, then interfaces that are translated to, then retired addresses.
    pub pools: Vec<Pool>,
}

/// Addresses that sources become, in [`Pools`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// The pool's or the interface's name; `retired` for addresses that are in the config no more.
    pub name: String,
    /// `pool`, `interface` or `retired`.
    pub kind: String,
    /// How many addresses it has.
    pub addresses: u64,
    /// The ports that may be allocated of each, forwarded ones included: `1024-65535`; `null` if they are retired.
    pub ports: Option<String>,
    /// Ports that sessions may be given, of all addresses together.
    pub usable: PortCount,
    /// Of these, those that sessions hold.
    pub used: PortCount,
    /// Its blocks of ports; `null` if it has none.
    pub blocks: Option<BlockCount>,
    /// Its addresses, the fullest first, up to the limit of the request. At least the fullest one.
    pub fullest: Vec<PoolAddress>,
}

/// One address of a [`Pool`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolAddress {
    /// The address.
    #[schema(value_type = String, format = Ipv4)]
    pub address: Ipv4Addr,
    /// Ports of it that sessions may be given.
    pub usable: PortCount,
    /// Of these, those that sessions hold.
    pub used: PortCount,
}

/// The blocks of a [`Pool`], of all addresses together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockCount {
    /// Ports of each, of each protocol.
    pub size: u64,
    /// How many there are.
    pub total: u64,
    /// How many subscribers have, of whatever size.
    pub used: u64,
}

/// `GET /v1/blocks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocks {
    /// Blocks that subscribers have, those that the request does not ask for too.
    pub total: u64,
    /// Blocks that were given since the start.
    pub given: u64,
    /// Blocks that have gone back since then.
    pub released: u64,
    /// By external address and port.
    pub blocks: Vec<Ports>,
}

/// Ports that are one subscriber's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ports {
    /// `block`: while he needs them. `deterministic`: for good, by arithmetic.
    pub kind: String,
    /// The pool; `null` if the address is in none any more.
    pub pool: Option<String>,
    /// The subscriber.
    #[schema(value_type = String, format = Ipv4)]
    pub subscriber: Ipv4Addr,
    /// The zone that he is in.
    pub zone: u16,
    /// The external address.
    #[schema(value_type = String, format = Ipv4)]
    pub address: Ipv4Addr,
    /// The first of the ports, of each protocol.
    pub first_port: u16,
    /// The last one.
    pub last_port: u16,
    /// When the block was given, RFC 3339.
    pub given: Option<String>,
}

/// Ports by protocol: each kind has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortCount {
    /// Of TCP.
    pub tcp: u64,
    /// Of UDP.
    pub udp: u64,
    /// Of ICMP (identifiers), SCTP, DCCP and UDP-Lite, which share.
    pub other: u64,
}

/// `GET /v1/routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Routes {
    /// Routes that there are, those beyond the limit too.
    pub total: u64,
    /// By zone; in each the connected ones first, then the static ones in the order of the file.
    pub routes: Vec<Route>,
}

/// One route in [`Routes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// The zone that it belongs to. Routes that lead outside are there for every zone.
    pub zone: u16,
    /// Destination prefix.
    pub to: String,
    /// `connected` or `static`.
    pub kind: String,
    /// The interface that it leads to.
    pub interface: String,
    /// `internal` or `external`.
    pub realm: String,
    /// The router; `null`: the destination is on the link itself.
    #[schema(value_type = Option<String>, format = Ipv4)]
    pub via: Option<Ipv4Addr>,
    /// The router's Ethernet address, once it is known.
    pub mac: Option<String>,
    /// State of its resolution, as in `/v1/neighbors`; `unknown` if nobody has asked for it yet, `null` without a router.
    pub state: Option<String>,
}

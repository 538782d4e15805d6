//! What would become of a packet.

use super::{Rule, Session, Usage};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use utoipa::ToSchema;

/// `GET /v1/explain`: what would become of a packet now. Nothing is sent and nothing changes. What does not apply, or what
/// the packet does not reach, is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The packet in question.
    pub packet: ExplainedPacket,
    /// What kind of packet it is to the gateway, in words.
    pub class: String,
    /// The worker that decides; `null` if any worker does: the gateway itself answers, or a notrack class takes it.
    pub owner: Option<ExplainedOwner>,
    /// The session that it belongs to.
    pub session: Option<Session>,
    /// `original` or `reply`: which way it goes in that session.
    pub direction: Option<String>,
    /// The rule that a new flow meets: the one that translates it, the ban that refuses it, or the class that takes it.
    pub rule: Option<Rule>,
    /// Source rules before that one, at most the last 16 of them, and why they do not match.
    #[serde(default)]
    pub passed: Vec<ExplainedPassed>,
    /// The notrack class that takes it.
    #[serde(default)]
    pub notrack: Option<ExplainedClass>,
    /// What the source of a new flow becomes.
    pub mapping: Option<ExplainedMapping>,
    /// What the tracker says.
    pub tracking: Option<ExplainedTracking>,
    /// How full everything is that limits new sessions.
    pub limits: Option<ExplainedLimits>,
    /// Where it goes.
    pub next_hop: Option<ExplainedHop>,
    /// Its addresses and ports as it leaves. A port that is chosen at random is `null`.
    pub sent: Option<ExplainedEnds>,
    /// How answers to it come back.
    pub answers: Option<ExplainedAnswers>,
    /// What becomes of it.
    pub verdict: ExplainedVerdict,
}

/// A rule that does not match, in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedPassed {
    /// `snat`.
    pub kind: String,
    /// Its place in its list, counted from 1.
    pub number: u64,
    /// The first of its keys that does not fit, in words.
    pub because: String,
}

/// Addresses and ports in an [`Explanation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedEnds {
    /// Source address.
    #[schema(value_type = String, format = Ipv4)]
    pub src: Ipv4Addr,
    /// Source port, of protocols that have ports.
    pub sport: Option<u16>,
    /// Destination address.
    #[schema(value_type = String, format = Ipv4)]
    pub dst: Ipv4Addr,
    /// Destination port, of protocols that have ports.
    pub dport: Option<u16>,
    /// Identifier of an ICMP query.
    pub icmp_id: Option<u16>,
}

/// The packet that an [`Explanation`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedPacket {
    /// The interface that it comes in by.
    pub interface: String,
    /// Whether the request named the interface; else it is where the route to the source leads.
    pub interface_given: bool,
    /// `internal` or `external`.
    pub realm: String,
    /// The zone of the interface.
    pub zone: u16,
    /// Name of the protocol, or its number.
    pub protocol: String,
    /// Addresses and ports as it arrives.
    #[serde(flatten)]
    pub ends: ExplainedEnds,
    /// What it is in its protocol: flags of TCP (`syn`, `syn,ack`), `request` or `reply` of ICMP, `INIT` of SCTP,
    /// `Request` of DCCP.
    pub kind: Option<String>,
    /// Length of the IPv4 packet in bytes.
    pub size: u16,
    /// Time to live on arrival.
    pub ttl: u8,
    /// Whether the don't-fragment bit is set.
    pub df: bool,
    /// Frames that the interface has received.
    pub rx_packets: u64,
}

/// Who decides, in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedOwner {
    /// The worker's number.
    pub worker: u64,
    /// How many workers there are.
    pub workers: u64,
    /// What decides which worker it is.
    pub why: String,
    /// The plan of the interface: `A`, `B`, `C`, `single`; `null` during the first second.
    pub plan: Option<String>,
    /// The worker that the NIC delivers it to, if that can be told: under plans A and B, of whole TCP and UDP packets.
    pub delivered_to: Option<u64>,
}

/// What a source becomes, in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedMapping {
    /// `pool.NAME` or `interface`.
    pub source: String,
    /// The external address.
    #[schema(value_type = String, format = Ipv4)]
    pub address: Ipv4Addr,
    /// The port or identifier that it gets unless somebody else takes it first: its own. `null`: one of the free ones at
    /// random, or the protocol has none.
    pub port: Option<u16>,
    /// Free ports of the address with which answers come to the owner; `null`: the protocol has none.
    pub free: Option<u64>,
    /// Such ports, free or not.
    pub usable: Option<u64>,
}

/// What the tracker says, in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedTracking {
    /// The state that the session begins with, or that it is in.
    pub state: String,
    /// The idle timeout of that, in seconds, rounded down.
    pub timeout_seconds: u64,
    /// The timeout set of the session.
    pub timeout_set: String,
    /// The mark of the session.
    pub mark: u32,
    /// What the packet does to the session.
    pub effect: String,
}

/// What limits new sessions, in an [`Explanation`]. All of it is the owner's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedLimits {
    /// The owner's part of the session table.
    pub sessions: Usage,
    /// From how many sessions on it is full for all but management sources.
    pub full_at: u64,
    /// TCP connections before the end of their handshake.
    pub half_open: u64,
    /// How many of those there may be.
    pub half_open_limit: u64,
    /// Sessions of the source.
    pub of_source: u64,
    /// How many it may have; `null`: no limit.
    pub source_limit: Option<u64>,
    /// New sessions a second that it may open; `null`: no limit. How many of them are used up can not be seen from here.
    pub source_rate: Option<u64>,
    /// Whether it is a management source, which no limit binds.
    pub management: bool,
    /// What has to go for the new session, by the name of the eviction.
    pub evicts: Option<String>,
}

/// The next hop in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedHop {
    /// The interface that it leaves by.
    pub interface: String,
    /// The route that decides.
    pub route: Option<String>,
    /// Whose Ethernet address it is sent to: the router's, or the destination's own.
    #[schema(value_type = String, format = Ipv4)]
    pub neighbor: Ipv4Addr,
    /// Whether that is a router; else the destination is on the link.
    pub is_router: bool,
    /// The Ethernet address, once it is known.
    pub mac: Option<String>,
    /// State of its resolution, as in `/v1/neighbors`; `unknown` if nobody has asked for it yet.
    pub state: String,
    /// Largest IPv4 packet in bytes.
    pub mtu: u16,
    /// Frames that the interface has sent.
    pub tx_packets: u64,
}

/// How answers come back, in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedAnswers {
    /// Their addresses and ports as they arrive.
    #[serde(flatten)]
    pub ends: ExplainedEnds,
    /// `internal` or `external`: the side that they come from.
    pub realm: String,
    /// The worker that owns them: always the owner of the session. `null` if the port is chosen at random, which is one
    /// that brings them there.
    pub worker: Option<u64>,
}

/// The notrack class that takes a packet, in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedClass {
    /// Its name in the config.
    pub name: String,
    /// `there` (from clients to the service) or `back`.
    pub way: String,
    /// Sessions that were there before the class go on: none of them is this packet's.
    pub settling: bool,
    /// The answer to the packet; `null` if it is dropped, or if the class is not about answers (`symmetric = false`).
    pub answer: Option<ExplainedClassAnswer>,
}

/// The answer to a packet of a notrack class, in an [`ExplainedClass`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedClassAnswer {
    /// Its addresses and ports as it arrives.
    #[serde(flatten)]
    pub ends: ExplainedEnds,
    /// The interface that it comes in by if it takes the same way.
    pub interface: String,
    /// Whether it passes without a session too. If not, the class is asymmetric.
    pub passes: bool,
    /// What becomes of it, in words.
    pub fate: String,
}

/// What becomes of the packet, in an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedVerdict {
    /// `forwarded`, `answered` (by the gateway itself) or `dropped`.
    pub outcome: String,
    /// Why it is dropped: the reason's name, as in `/v1/drops`.
    pub reason: Option<String>,
    /// What the reason means.
    pub help: Option<String>,
    /// Packets dropped for that reason so far.
    pub packets: Option<u64>,
    /// The ICMP error that its sender is told, within the rate limit.
    pub icmp: Option<String>,
    /// What can not be known without the packet itself: the verdict holds if all of this does.
    pub provided: Vec<String>,
}

//! The answers of the control socket. The server writes them, the client reads them.
//!
//! Every number says its unit in its name or documentation; counters start at 0 when the gateway starts and only
//! grow. Fields may be added in later versions and are ignored by older clients; none changes its meaning.
//! The comments here are the descriptions in the OpenAPI document ([`super::openapi`]).

mod advise;
mod explain;
mod rules;
mod streams;

pub use advise::{Advice, AdvisedClass, AdvisedService};
pub use explain::{
    ExplainedAnswers, ExplainedClass, ExplainedClassAnswer, ExplainedEnds, ExplainedHop, ExplainedLimits,
    ExplainedMapping, ExplainedOwner, ExplainedPacket, ExplainedPassed, ExplainedTracking, ExplainedVerdict,
    Explanation,
};
pub use rules::{
    Backend, BlockCount, Blocks, ClassStatus, ClassWay, Pool, PoolAddress, Pools, PortCount, Ports, Route,
    Routes, Rule, Rules,
};
pub use streams::{DropSample, DropSamples, DroppedPacket, Lost, SessionEvent};

use crate::telemetry::BURST_FILL_BOUNDS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use utoipa::ToSchema;

/// The answer to a request that failed: any status other than 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// What was wrong, in a sentence.
    pub error: String,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of natgate.
    pub version: String,
    /// Version of DPDK, if natgate was built with it.
    pub dpdk: Option<String>,
    /// Process id of the gateway.
    pub pid: u32,
    /// Path of the config file that it runs.
    pub config: String,
    /// When the gateway started: RFC 3339, UTC, whole seconds.
    pub started: String,
    /// How long ago that was, in whole seconds.
    pub uptime_seconds: u64,
    /// Sessions of all workers together.
    pub sessions: Usage,
    /// How fast the table fills and what it does about it; `null` during the first second.
    #[serde(default)]
    pub pressure: Option<Pressure>,
    /// All workers together.
    pub total: Counts,
    /// Frequency of the CPUs' time stamp counter in hertz, if it is known: turns nanoseconds of workers into cycles.
    #[serde(default)]
    pub tsc_hertz: Option<u64>,
    /// `rx - (sent + consumed + dropped + held)`: 0 when the gateway is at rest. Under traffic it is the number of
    /// packets that were in work, or moved between the reading of one counter and the next.
    pub unaccounted: i64,
    /// Each worker, in the order of their numbers.
    pub workers: Vec<WorkerStatus>,
}

/// How full a session table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Sessions in the table.
    pub used: u64,
    /// Sessions that fit.
    pub capacity: u64,
}

/// How fast the session table fills and what it does about it, in [`Status`]. Rates are those of the last ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pressure {
    /// Which watermark the table has reached: `normal`, `low` (timeouts of unreplied and closing sessions shrink),
    /// `high` (they are next to nothing), `full` (but for the reserve).
    pub level: String,
    /// From how many sessions on it is full for all but management sources.
    pub full_at: u64,
    /// New sessions a second.
    pub new_per_second: u64,
    /// By how many sessions a second the table grows; negative when it shrinks.
    pub growth_per_second: i64,
    /// Sessions a second that were refused for want of room or by a limit.
    pub refused_per_second: u64,
    /// Sessions a second that were evicted to make room (early drop).
    pub evicted_per_second: u64,
    /// New TCP connections a second that the table sustains if each is closed at once: capacity / `tcp_time_wait`.
    pub sustainable_tcp_per_second: u64,
    /// New UDP sessions a second that it sustains if each is one packet: capacity / `udp`.
    pub sustainable_udp_per_second: u64,
    /// Whole seconds until it is full if it goes on growing like that; `null`: it does not grow.
    pub seconds_to_full: Option<u64>,
    /// TCP connections before the end of their handshake.
    pub half_open: u64,
    /// Sessions evicted since the start, by what they were.
    pub evicted: Vec<Toll>,
    /// New sessions refused since the start, by the reason (which is in `/v1/drops` too).
    pub refused: Vec<Toll>,
}

/// Sessions that were evicted or refused for one reason, in [`Pressure`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Toll {
    /// The reason's name, as in metrics.
    pub reason: String,
    /// Sessions since the start.
    pub sessions: u64,
    /// What it means.
    pub help: String,
}

/// What became of packets. At rest, `rx = sent + consumed + dropped + held` over all workers together; not for
/// one worker alone, because a packet that is handed off is received by one worker and gets its verdict from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Packets received.
    pub rx: u64,
    /// Packets forwarded.
    pub sent: u64,
    /// Packets for the gateway itself that it dealt with (ARP, echo requests).
    pub consumed: u64,
    /// Packets dropped, for all reasons together; `/v1/drops` has them one by one.
    pub dropped: u64,
    /// Gauge: packets that wait for a neighbour or a first fragment.
    pub held: u64,
    /// Packets that the gateway made itself and sent (ARP, echo replies, ICMP errors).
    pub generated: u64,
    /// Packets that the gateway made itself and could not send.
    pub generated_lost: u64,
    /// ICMP errors that the rate limit suppressed.
    pub icmp_limited: u64,
    /// SYNs that the SYN proxy answered with a cookie.
    pub syn_cookies_sent: u64,
    /// Clients that brought back a cookie.
    pub syn_cookies_valid: u64,
    /// SYNs that the SYN proxy sent to a backend again.
    pub syn_proxy_retries: u64,
    /// Clients that the SYN proxy reset because their backend was silent.
    pub syn_proxy_given_up: u64,
    /// Packets handed to the worker that owns them.
    pub handed_off: u64,
    /// Packets received from other workers.
    pub taken_over: u64,
    /// Sessions created.
    pub sessions_created: u64,
    /// Sessions removed.
    pub sessions_removed: u64,
    /// Messages to the management core that found the ring full; a sweep catches up.
    pub messages_lost: u64,
}

/// One worker in [`Status`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerStatus {
    /// The worker's number, from 0.
    pub worker: u64,
    /// Its part of the session table.
    pub sessions: Usage,
    /// Turns that the worker made.
    pub polls: u64,
    /// Turns with something to do.
    pub busy_polls: u64,
    /// How long these took altogether, in nanoseconds.
    #[serde(default)]
    pub busy_nanoseconds: u64,
    /// The longest of them, in nanoseconds.
    #[serde(default)]
    pub longest_turn_nanoseconds: u64,
    /// The turn in which the worker took the configuration that it runs, in nanoseconds; 0 before the first reload.
    #[serde(default)]
    pub adopt_turn_nanoseconds: u64,
    /// The longest of those, in nanoseconds.
    #[serde(default)]
    pub adopt_turn_max_nanoseconds: u64,
    /// Bursts received by how many frames they held: 1, 2 to 3, 4 to 7, 8 to 15, 16 to 31, 32.
    #[serde(default)]
    pub burst_fill: [u64; BURST_FILL_BOUNDS.len()],
    /// Its packets.
    #[serde(flatten)]
    pub counts: Counts,
}

/// `GET /v1/health`: answered with status 200 if all is well, else with 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether every part is alive.
    pub healthy: bool,
    /// The workers, in the order of their numbers, and the management core.
    pub parts: Vec<HealthPart>,
}

/// A part of the gateway, in [`Health`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthPart {
    /// `worker N` or `management core`.
    pub part: String,
    /// Whether it did anything within the last five seconds.
    pub alive: bool,
    /// Whole seconds since it was last seen to do anything.
    pub silent_seconds: u64,
}

/// `GET /v1/drops`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// Packets dropped, for all reasons together.
    pub total: u64,
    /// Every reason that there is, also those with 0 packets.
    pub reasons: Vec<Drop>,
}

/// One reason in [`Drops`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drop {
    /// The reason's name, as in metrics.
    pub reason: String,
    /// Packets dropped for it by all workers.
    pub packets: u64,
    /// The same for each worker, in the order of their numbers.
    pub workers: Vec<u64>,
    /// What happened and what to do about it.
    pub help: String,
}

/// One object of the list that `GET /v1/interfaces` gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Interface {
    /// Name in the config.
    pub name: String,
    /// The device as the config writes it.
    pub device: String,
    /// Name of the driver that runs the device.
    pub driver: String,
    /// Ethernet address.
    pub mac: String,
    /// VLAN id, 0 for untagged frames.
    pub vlan: u16,
    /// `internal` or `external`.
    pub realm: String,
    /// The address space that it lies in.
    #[serde(default)]
    pub zone: u16,
    /// The gateway's addresses with their prefix lengths; the first is the primary one.
    pub addresses: Vec<String>,
    /// Largest IPv4 packet in bytes.
    pub mtu: u16,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received: whole Ethernet frames without FCS.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent: whole Ethernet frames without FCS.
    pub tx_bytes: u64,
}

/// One object of the list that `GET /v1/neighbors` gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Neighbor {
    /// Name of the interface.
    pub interface: String,
    /// The neighbour's IPv4 address.
    #[schema(value_type = String, format = Ipv4)]
    pub address: Ipv4Addr,
    /// Its Ethernet address, once it is known.
    pub mac: Option<String>,
    /// State of the resolution.
    pub state: String,
    /// Whole seconds since the state last changed or was confirmed.
    pub age_seconds: u64,
}

/// `GET /v1/timers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timers {
    /// The timeout sets: first `default`, that of sessions which no rule gives another.
    pub sets: Vec<TimeoutSet>,
    /// The timers of each worker's sessions, in the order of their numbers; empty during the first second.
    #[serde(default)]
    pub workers: Vec<WorkerTimers>,
}

/// The timers of one worker's sessions, in [`Timers`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerTimers {
    /// The worker's number, from 0.
    pub worker: u64,
    /// Timers. Those of sessions that ended otherwise (deleted, evicted) count until they run out or the slot is used
    /// again.
    pub armed: u64,
    /// Of these, sessions whose timer ran out and that were not looked at yet; counted up to 10,000.
    pub pending: u64,
    /// By how long the latest of those that had to go was late; 0 if nothing is pending.
    pub lag_seconds: f64,
    /// Posts of the worker that found the ring to the management core full; a sweep makes up for them.
    pub posts_lost: u64,
    /// How long the last sweep over the whole table took; `null` before the first one is over.
    pub last_sweep_seconds: Option<f64>,
}

/// One set of [`Timers`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimeoutSet {
    /// Its name in the config.
    pub name: String,
    /// Every timeout that there is.
    pub timeouts: Vec<Timeout>,
}

/// One idle timeout of a [`TimeoutSet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timeout {
    /// Its key in the config.
    pub name: String,
    /// Its length.
    pub seconds: f64,
    /// What natgate uses if the config says nothing.
    pub default_seconds: f64,
    /// What a Linux kernel uses if nobody tells it otherwise.
    pub linux_seconds: f64,
    /// The shortest that an RFC allows, if one does say so …
    pub minimum_seconds: Option<f64>,
    /// … and which.
    pub rfc: Option<String>,
    /// What sessions it is for, and what RFCs and Linux say.
    pub help: String,
}

/// `GET /v1/steering`: how packets reach the workers that own them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Steering {
    /// What decides which worker a packet from inside goes to: `source` or `flow`.
    pub spread: String,
    /// Whole TCP and UDP packets received, with several workers: those that a NIC can deliver to their owner.
    pub packets: u64,
    /// Of these, handed to another worker.
    pub handed_off: u64,
    /// `handed_off / packets`; `null` without packets.
    pub handoff_ratio: Option<f64>,
    /// Frames that were handed over, by cause; those that found the ring full too.
    pub handoffs: Vec<Handoff>,
    /// Packets dropped because the ring to their owner was full (`handoff_full`).
    pub handoff_full: u64,
    /// The interfaces, in the order of the config; empty until the management core has turned once.
    pub interfaces: Vec<InterfaceSteering>,
    /// Each worker, in the order of their numbers.
    pub workers: Vec<WorkerSteering>,
}

/// One cause in [`Steering`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Handoff {
    /// The cause's name, as in metrics.
    pub cause: String,
    /// Frames handed over by all workers.
    pub packets: u64,
    /// What they are.
    pub help: String,
}

/// One interface in [`Steering`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceSteering {
    /// Name in the config.
    pub name: String,
    /// The device as the config writes it.
    pub device: String,
    /// The plan by which packets reach their owners: `A`, `B`, `C`, or `single` with one worker.
    pub plan: String,
    /// The plan that was chosen at the start: another one only if that is broken.
    pub chosen: String,
    /// How it works.
    pub how: String,
    /// Why it is not a better one; empty if there is none.
    pub why_not: String,
    /// Whether the chosen plan does what it says: `proving` (too few packets yet), `holds`, `broken`; `null` where
    /// nothing is expected of the NIC (`C` and `single`).
    pub state: Option<String>,
    /// Packets that the proof needs.
    pub sample: u64,
    /// Whole TCP and UDP packets received, with several workers.
    pub packets: u64,
    /// Of these, handed to another worker.
    pub handed_off: u64,
    /// Of these, such as the NIC had to deliver to another worker if it did what a plan A or B says.
    pub misplaced: u64,
    /// `handed_off / packets`; `null` without packets.
    pub handoff_ratio: Option<f64>,
}

/// One worker in [`Steering`]. Shares are parts of 1, of all workers together; `null` if there is nothing to share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerSteering {
    /// The worker's number, from 0.
    pub worker: u64,
    /// Packets received from NICs.
    pub rx: u64,
    /// Their share.
    pub rx_share: Option<f64>,
    /// Packets that the worker had to do with: received from NICs or taken over from other workers.
    pub processed: u64,
    /// Their share.
    pub processed_share: Option<f64>,
    /// Sessions in the table.
    pub sessions: u64,
    /// Their share.
    pub sessions_share: Option<f64>,
    /// Frames handed to other workers.
    pub handed_off: u64,
    /// Frames handed to other workers by cause, as in [`Steering::handoffs`].
    pub handoffs: BTreeMap<String, u64>,
    /// Packets received from other workers.
    pub taken_over: u64,
    /// Whether it carries more than twice its share, as the event `skew_began` says.
    pub skewed: bool,
}

/// `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// How many there were since the start. Only the last 256 are kept.
    pub total: u64,
    /// The oldest first.
    pub events: Vec<Event>,
}

/// One of [`Events`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number, from 1 since the start: ask for those after it with `?after=NUMBER`.
    pub number: u64,
    /// When: RFC 3339, UTC, milliseconds.
    pub at: String,
    /// What kind of event, such as `table_full`.
    pub kind: String,
    /// Whether it only says that something is over or done, so that nobody has to act.
    pub relief: bool,
    /// What happened, the numbers, and what to do about it.
    pub text: String,
}

/// `GET /v1/sessions/count`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionCount {
    /// All workers together.
    #[serde(flatten)]
    pub total: Usage,
    /// Each worker, in the order of their numbers.
    pub workers: Vec<Usage>,
}

/// `GET /v1/sessions/count`: without or with `by`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SessionsCounted {
    /// Without `by`.
    Count(SessionCount),
    /// With `by`.
    Groups(SessionGroups),
}

/// `GET /v1/sessions/count?by=…` and `GET /v1/sessions/top?by=…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionGroups {
    /// What the sessions are counted by, as in the request.
    pub by: String,
    /// Sessions that were counted: all that the filter means.
    pub sessions: u64,
    /// How many different keys they have.
    pub groups: u64,
    /// The largest groups, the largest first.
    pub rows: Vec<SessionGroup>,
}

/// One row of [`SessionGroups`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionGroup {
    /// What its sessions have in common: a state, a protocol, an address (with ` zone=N` if that is not 0), a
    /// protocol with a port (`tcp/443`), a number, or `PROTOCOL INTERNAL EXTERNAL` for a mapping.
    pub key: String,
    /// Its sessions.
    pub sessions: u64,
    /// Those of them that were opened during the last 10 seconds, divided by 10.
    pub new_per_second: f64,
    /// Packets of its sessions, both ways together.
    pub packets: u64,
    /// Bytes of its sessions (whole IPv4 packets), both ways together.
    pub bytes: u64,
}

/// `DELETE /v1/sessions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// Sessions that the filter meant.
    pub matched: u64,
    /// Those of them that are gone. Fewer than `matched` only if a worker did not turn for five seconds.
    pub deleted: u64,
}

/// One line of `GET /v1/sessions?format=json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Name of the state, as conntrack names it.
    pub state: String,
    /// Whether a packet of the reply direction was seen.
    pub seen_reply: bool,
    /// Whether the session is assured: not the first to go when the table is full.
    pub assured: bool,
    /// The direction of the first packet.
    pub original: Flow,
    /// The direction of the answers.
    pub reply: Flow,
    /// Whole seconds since the first packet.
    pub age_seconds: u64,
    /// Whole seconds since the last packet.
    pub idle_seconds: u64,
    /// Whole seconds until the session expires if nothing more comes.
    pub expires_seconds: u64,
    /// Zone of the interface that it was opened by.
    #[serde(default)]
    pub zone: u16,
    /// The mark that a rule gave it; 0 if none did.
    #[serde(default)]
    pub mark: u32,
    /// The timeout set that it is under; `default` if no rule gave it another.
    #[serde(default)]
    pub timeout_set: String,
    /// The worker that owns the session.
    pub worker: u64,
    /// Its place in that worker's table.
    pub index: u32,
}

/// One direction of a [`Session`], as its packets arrive at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// Source address.
    #[schema(value_type = String, format = Ipv4)]
    pub src: Ipv4Addr,
    /// Destination address.
    #[schema(value_type = String, format = Ipv4)]
    pub dst: Ipv4Addr,
    /// Source port (TCP and UDP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination port (TCP and UDP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// Identifier of the query (ICMP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<u16>,
    /// Packets.
    pub packets: u64,
    /// Bytes of whole IPv4 packets.
    pub bytes: u64,
}

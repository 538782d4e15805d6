//! Which services would do better without sessions.

use super::Rule;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use utoipa::ToSchema;

/// `GET /v1/advise`: which services would do better without sessions, by what is in the session tables now. Nothing
/// changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Advice {
    /// Sessions that were looked at.
    pub sessions: u64,
    /// Services that they belong to: by protocol, address and port as clients address them, and what that becomes. Sessions
    /// that only have their source translated are put together by protocol and port.
    pub services: u64,
    /// Sessions of services beyond the first 65,536, which were not looked at any further.
    pub left_out: u64,
    /// New sessions a second that a service needs to be proposed.
    pub min_rate: u64,
    /// Sessions in the table that it needs.
    pub min_sessions: u64,
    /// Services that are proposed, also those that `limit` left out.
    pub proposed: u64,
    /// Why nothing is proposed; `null` if something is.
    pub nothing: Option<String>,
    /// First those that are proposed, then with `all=true` the others; what saves most cycles, then most sessions, comes
    /// first.
    pub advice: Vec<AdvisedService>,
}

/// One service in [`Advice`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdvisedService {
    /// The protocol's name, or its number.
    pub protocol: String,
    /// The side that clients are on: `internal` or `external`.
    pub clients: String,
    /// The zone that they are in.
    pub zone: u16,
    /// The address that clients send to; `null`: any.
    #[schema(value_type = Option<String>, format = Ipv4)]
    pub address: Option<Ipv4Addr>,
    /// The port that they send to, of protocols that have ports.
    pub port: Option<u16>,
    /// What address and port become, if they do, as `192.168.1.20:11211`.
    pub backend: Option<String>,
    /// Sessions in the table.
    pub sessions: u64,
    /// Of these, on their way to their end, or over.
    pub closing: u64,
    /// Without an answer.
    pub unreplied: u64,
    /// Proved conversations that go on.
    pub assured: u64,
    /// New sessions a second, during the last ten seconds or as many as the shortest timeout of one of them has.
    pub new_per_second: f64,
    /// Whether there may have been more: of those that came, some may be gone already.
    pub at_least: bool,
    /// Packets of a session both ways, on average.
    pub packets_per_session: f64,
    /// Half of the sessions have at most so many packets: a power of two.
    pub median_packets: u64,
    /// Packets a second both ways: an estimate from the last ten seconds.
    pub packets_per_second: f64,
    /// From the first to the last packet of a session so far, on average.
    pub life_seconds: f64,
    /// Clients: exact up to 8, an estimate beyond.
    pub sources: u64,
    /// Whether there may be any number more of them.
    pub sources_at_least: bool,
    /// Why it is proposed or not, in a sentence.
    pub why: String,
    /// The rule that makes its sessions now.
    pub rule: Option<Rule>,
    /// The class; `null` if it is not proposed.
    pub class: Option<AdvisedClass>,
}

/// What is proposed, in [`AdvisedService`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdvisedClass {
    /// Entries of the session table that are free then.
    pub saves_sessions: u64,
    /// Cycles of workers a second that are free then: an estimate from measured costs.
    pub saves_cycles_per_second: u64,
    /// The same in percent of one core; `null` if the frequency of its time stamp counter is not known.
    pub saves_core_percent: Option<f64>,
    /// What is lost, a sentence each.
    pub loses: Vec<String>,
    /// The class as it is to be pasted into the config file (TOML).
    pub toml: String,
}

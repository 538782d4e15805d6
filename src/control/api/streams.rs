//! What happens to sessions, as streams tell it, and samples of dropped packets.

use super::Session;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use utoipa::ToSchema;

/// One message of `GET /v1/sessions/watch?format=json`: what happened to a session, and the session as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionEvent {
    /// `new`; `update`: another state, answered for the first time, or assured now; `destroy`: gone.
    pub event: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Of one that is gone: `expired`, `closed` (by its ends), `deleted`, `evicted`, `replaced` or `unanswered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of one that was evicted: `half_open`, `unreplied`, `closing` or `unassured`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<String>,
    /// The session; of one that is gone with its last counters.
    #[serde(flatten)]
    pub session: Session,
}

/// The message `lost` of a stream: events that it could not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lost {
    /// How many, since the message before; of sessions also those that the filter does not mean.
    pub lost: u64,
}

/// `GET /v1/drops/samples`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropSamples {
    /// Dropped packets, the newest first.
    pub samples: Vec<DropSample>,
}

/// A packet that was dropped, in [`DropSamples`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropSample {
    /// When, RFC 3339 in UTC, as precise as a turn of the worker.
    pub at: String,
    /// The reason's name.
    pub reason: String,
    /// The interface by which it had arrived; the device, if it was for none of its interfaces.
    pub interface: String,
    /// Whether it was ready to leave by that interface instead, already translated.
    pub leaving: bool,
    /// Length of the frame in bytes, without padding and FCS.
    pub length: u32,
    /// The packet in one line.
    pub summary: String,
    /// What its headers say.
    pub packet: DroppedPacket,
    /// The rule that had been chosen for it, in words.
    pub rule: Option<String>,
    /// State of its session, if it had one.
    pub state: Option<String>,
    /// The worker that dropped it.
    pub worker: u64,
    /// Which of the packets that this worker dropped for the reason, counted from 1.
    pub number: u64,
    /// Its first bytes in hexadecimal, from the link header on: 128 at the most.
    pub bytes: String,
}

/// What the headers of a dropped packet say, as far as they could be read, in [`DropSample`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DroppedPacket {
    /// `tcp`, `udp`, …, `arp`, `ip NUMBER`, `ethertype 0xNUMBER`; empty if there is no whole link header.
    pub protocol: String,
    /// VLAN id.
    pub vlan: Option<u16>,
    /// Source address.
    #[schema(value_type = Option<String>, format = Ipv4)]
    pub src: Option<Ipv4Addr>,
    /// Destination address.
    #[schema(value_type = Option<String>, format = Ipv4)]
    pub dst: Option<Ipv4Addr>,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// TCP: the flags that are set, of `SFRPAU`, `-` for none. ARP: `request` or `reply`.
    pub flags: Option<String>,
    /// ICMP type.
    pub icmp_type: Option<u8>,
    /// ICMP code.
    pub icmp_code: Option<u8>,
    /// IPv4 time to live.
    pub ttl: Option<u8>,
    /// IPv4 identification.
    pub id: Option<u16>,
    /// Whether the don't-fragment bit is set.
    pub dont_fragment: bool,
    /// Of a fragment: where in its datagram it begins, in bytes.
    pub fragment: Option<u32>,
}

//! Connections that nobody waits for: what is said to who opens one, and when (RFC 5382 REQ-4, RFC 5597 REQ-4).
//!
//! A SYN to an external address may be one half of a simultaneous open whose other half is still inside. An ICMP error
//! would end it, so nothing is said for six seconds. If a connection between the two ends is there by then, nothing is
//! said at all; else the sender is told that the port is unreachable, within the limit of all ICMP errors.
//!
//! Such a SYN is dropped and counted as it comes: it has no session, takes no port, and nothing of it is held but its first
//! bytes, to quote them. Owner: the worker that owns the flow, which is also where the other half would come to. Room for
//! [`CAPACITY`] of them: to those that find no room nothing is said.

use super::Snapshot;
use super::plan::UNCLAIMED;
use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::device::Device;
use crate::ids::InterfaceId;
use crate::packet::{Kind, Packet, PacketBuf, Parsed, Tuple};
use crate::time::Time;
use crate::wire::dccp::{self, DccpHeader};
use std::collections::VecDeque;
use std::time::Duration;
use zerocopy::FromBytes;

/// How long nothing is said.
const DELAY: Duration = Duration::from_secs(6);
/// Senders that wait at once: in the long run 42 errors a second and worker.
const CAPACITY: usize = 256;
/// Bytes that are kept of each: the longest IPv4 and TCP headers.
const QUOTE: usize = 120;

/// Senders that are to be told, in order of arrival.
#[derive(Debug)]
pub(super) struct Unsolicited {
    seats: VecDeque<Seat>,
    /// The quote of the packet with this number, modulo [`CAPACITY`]. Apart, so that a look for a tuple is short.
    quotes: Box<[[u8; QUOTE]]>,
    /// Number of the next packet.
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    tuple: Tuple,
    interface: InterfaceId,
    /// Bytes of the quote.
    len: u8,
    number: usize,
    since: Time,
}

impl Unsolicited {
    pub(super) fn new() -> Self {
        Unsolicited {
            seats: VecDeque::with_capacity(CAPACITY),
            quotes: vec![[0; QUOTE]; CAPACITY].into_boxed_slice(),
            next: 0,
        }
    }

    /// Takes note of a packet. One that came before and waits still, or that opens nothing, changes nothing.
    #[cold]
    pub(super) fn enter<B: PacketBuf>(&mut self, now: Time, packet: &Packet<B, Parsed>) {
        let Parsed { tuple, interface, kind, .. } = packet.state;
        // The cheap test first: a flood finds the room full.
        if self.seats.len() >= CAPACITY
            || !opens(kind, packet.l4_bytes())
            || self.seats.iter().any(|seat| seat.tuple == tuple)
        {
            return;
        }
        let bytes = packet.l3_bytes();
        let bytes = bytes.get(..QUOTE).unwrap_or(bytes);
        let number = self.next;
        let (Some(quote), Ok(len)) = (self.quotes.get_mut(number % CAPACITY), u8::try_from(bytes.len()))
        else {
            return;
        };
        if let Some(quote) = quote.get_mut(..bytes.len()) {
            quote.copy_from_slice(bytes);
            self.seats.push_back(Seat { tuple, interface, len, number, since: now });
            self.next = number.wrapping_add(1);
        }
    }

    /// Hands out the next one whose time has come.
    fn due(&mut self, now: Time) -> Option<(Seat, [u8; QUOTE])> {
        let seat = *self.seats.front().filter(|seat| now >= seat.since + DELAY)?;
        self.seats.pop_front();
        Some((seat, *self.quotes.get(seat.number % CAPACITY)?))
    }
}

/// Whether a packet that looks like the first of a connection is one: of DCCP also what an end sends that waits for the
/// other half of its own (RFC 5596).
fn opens(kind: Kind, transport: &[u8]) -> bool {
    if kind != Kind::Dccp {
        return true;
    }
    let header = DccpHeader::ref_from_prefix(transport);
    header.is_ok_and(|(header, _)| matches!(header.kind(), dccp::REQUEST | dccp::SYNC | dccp::LISTEN))
}

impl<D: Device> Core<D> {
    /// Tells those whose time has come, unless a connection is there now.
    pub(super) fn answer_unsolicited(&mut self, snap: &Snapshot, now: Time) {
        while let Some((seat, quote)) = self.unsolicited.due(now) {
            let arrival = snap.interface(seat.interface);
            let key = V4Key::new(seat.tuple, arrival.realm, arrival.zone);
            let met = self.shard.lookup(&key, self.shard.hash(&key)).is_some();
            if !met && arrival.answers_syns {
                let quote = quote.get(..usize::from(seat.len)).unwrap_or_default();
                self.tell_sender(snap, now, seat.interface, quote, UNCLAIMED);
            }
        }
    }
}

//! Packets that wait for a neighbour's Ethernet address, exactly as they were received.
//!
//! Bounded twice: in all, and for each neighbour, so that one silent host can not take the room of the others
//! (RFC 1122 2.3.2.2 asks to keep at least one). Fixed memory; a scan of a few hundred entries on the rare
//! occasions when a neighbour answers or is given up.

use crate::ids::InterfaceId;
use crate::packet::{Packet, Parsed};
use crate::time::Time;
use std::net::Ipv4Addr;

/// Packets that wait for one neighbour at the most.
pub(super) const PER_NEIGHBOR: usize = 16;

#[derive(Debug)]
struct Seat<B> {
    neighbor: (InterfaceId, Ipv4Addr),
    since: Time,
    packet: Packet<B, Parsed>,
}

/// The packets of one worker that wait.
#[derive(Debug)]
pub(super) struct WaitingRoom<B> {
    /// In order of arrival.
    seats: Vec<Seat<B>>,
    capacity: usize,
}

impl<B> WaitingRoom<B> {
    pub(super) fn new(capacity: usize) -> Self {
        WaitingRoom { seats: Vec::with_capacity(capacity), capacity }
    }

    /// Takes a packet in, or gives it back when there is no room.
    pub(super) fn enter(
        &mut self,
        now: Time,
        neighbor: (InterfaceId, Ipv4Addr),
        packet: Packet<B, Parsed>,
    ) -> Result<(), Packet<B, Parsed>> {
        // The cheap test first: a scan of silent neighbours finds the room full.
        let is_full = self.seats.len() >= self.capacity
            || self.seats.iter().filter(|seat| seat.neighbor == neighbor).count() >= PER_NEIGHBOR;
        if is_full {
            return Err(packet);
        }
        self.seats.push(Seat { neighbor, since: now, packet });
        Ok(())
    }

    /// Hands out the next packet that waits for this neighbour, in order of arrival.
    pub(super) fn call(&mut self, neighbor: (InterfaceId, Ipv4Addr)) -> Option<Packet<B, Parsed>> {
        let at = self.seats.iter().position(|seat| seat.neighbor == neighbor)?;
        Some(self.seats.remove(at).packet)
    }

    /// Hands out the next packet that has waited since before `deadline`.
    pub(super) fn overdue(&mut self, deadline: Time) -> Option<Packet<B, Parsed>> {
        (self.seats.first()?.since < deadline).then(|| self.seats.remove(0).packet)
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }
}

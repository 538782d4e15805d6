//! Announcements of our addresses at the start, and of new ones (gratuitous ARP, RFC 5227 2.3).

use super::Management;
use crate::ids::InterfaceId;
use crate::pipeline::Snapshot;
use crate::pipeline::message::ToWorker;
use crate::time::Time;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How often each address of ours is announced, and the pause between (RFC 5227 1.1: `ANNOUNCE_NUM`,
/// `ANNOUNCE_INTERVAL`).
const ANNOUNCEMENTS: u32 = 2;
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(2);
/// Addresses announced a poll: a large pool must not fill the transmit queue at once.
const ANNOUNCE_BUDGET: usize = 16;

/// An address of ours to announce: when, where, which.
pub(super) type Announcement = (Time, InterfaceId, Ipv4Addr);

/// Every address of ours with the interfaces that it is to be found on.
pub(super) fn addresses(snapshot: &Snapshot) -> Vec<(InterfaceId, Ipv4Addr)> {
    let interfaces = (0u8..).take(snapshot.interfaces.len()).map(InterfaceId);
    interfaces
        .flat_map(|interface| {
            let here =
                snapshot.local.iter().filter(move |local| !local.retired && snapshot.is_at(interface, local));
            here.map(move |local| (interface, local.address))
        })
        .collect()
}

impl Management {
    /// Tells the neighbours where our addresses are (gratuitous ARP), so that switches and hosts forget the box that
    /// had them before: twice, two seconds apart (RFC 5227 2.3), some at each poll.
    pub fn announce(&mut self, now: Time) {
        self.announce_what_is_not_in(&[], now);
    }

    /// The same for addresses of ours that are not among these.
    pub(super) fn announce_what_is_not_in(&mut self, known: &[(InterfaceId, Ipv4Addr)], now: Time) {
        let known: HashSet<_> = known.iter().collect();
        let ours = addresses(&self.snapshot);
        for round in 0..ANNOUNCEMENTS {
            let at = now + ANNOUNCE_PAUSE * round;
            let new = ours.iter().filter(|place| !known.contains(place));
            self.announcements.extend(new.map(|(interface, address)| (at, *interface, *address)));
        }
    }

    pub(super) fn make_announcements(&mut self, now: Time) {
        for _ in 0..ANNOUNCE_BUDGET {
            let Some(&(at, interface, address)) = self.announcements.front() else { break };
            if now < at {
                break;
            }
            self.announcements.pop_front();
            self.post(0, ToWorker::AskNeighbor { interface, sender: address, target: address, mac: None });
        }
    }
}

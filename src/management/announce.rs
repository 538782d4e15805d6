//! Announcements of our addresses at the start (gratuitous ARP, RFC 5227 2.3).

use super::Management;
use crate::ids::InterfaceId;
use crate::pipeline::message::ToWorker;
use crate::time::Time;
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

impl Management {
    /// Tells the neighbours where our addresses are (gratuitous ARP), so that switches and hosts forget the box that
    /// had them before: twice, two seconds apart (RFC 5227 2.3), some at each poll.
    pub fn announce(&mut self, now: Time) {
        for round in 0..ANNOUNCEMENTS {
            let at = now + ANNOUNCE_PAUSE * round;
            for interface in (0u8..).take(self.snapshot.interfaces.len()).map(InterfaceId) {
                let ours = self.snapshot.local.iter().filter(|local| self.snapshot.is_at(interface, local));
                let here = ours.map(|local| local.address);
                self.announcements.extend(here.map(|address| (at, interface, address)));
            }
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

//! Packets of notrack classes: no owner, no session, a verdict on each by itself.
//!
//! Whoever receives such a packet deals with it, so it is handed to no other worker. Nothing is changed before every check
//! has passed, as on the fast path.
//!
//! While a class is settling, sessions that were there before it go on: its packets take the way to their owner, and only
//! those that find no session there come here.

use super::Snapshot;
use super::forward::{Exit, Stop, check_reporter, rewrite_error_to};
use super::plan::{Envelope, Header};
use super::stateless::{classify, judge};
use super::worker::Core;
use crate::classify::notrack::Treatment;
use crate::device::Device;
use crate::nat::rewrite::{Translation, rewrite};
use crate::packet::{Kind, Packet, Parsed};
use crate::telemetry::DropReason;
use crate::telemetry::notrack::ClassCounters;
use crate::time::Time;
use std::sync::atomic::Ordering::Relaxed;

/// The class that decides of a packet before anybody looks for its session.
#[inline(always)]
pub(super) fn settled<'s>(snap: &'s Snapshot, header: &Header) -> Option<&'s Treatment> {
    let treatment = classify(snap, header)?;
    let class = snap.classes.get(usize::from(treatment.class))?;
    (!class.settling.load(Relaxed)).then_some(treatment)
}

impl<D: Device> Core<D> {
    /// Brings a packet of a class to its verdict.
    #[inline(never)]
    pub(super) fn pass_untracked(
        &mut self,
        snap: &Snapshot,
        now: Time,
        mut packet: Packet<D::Buf, Parsed>,
        treatment: &Treatment,
    ) {
        match self.translate_untracked(snap, now, &mut packet, treatment) {
            Ok(exit) => self.send_packet(snap, packet, exit),
            Err(Stop::Refused(reason, answer)) => self.refuse(snap, now, packet, reason, answer),
            Err(Stop::Wait(interface, address)) => self.wait(snap, now, packet, interface, address),
            Err(Stop::Consumed) => self.counters.consumed.increment(),
            // Only what sessions translate turns or goes to another worker.
            Err(Stop::Turn(_) | Stop::HandOver(_) | Stop::Ask(_)) => {
                self.refuse(snap, now, packet, DropReason::NotrackUntranslated, None);
            }
        }
    }

    /// Checks, translates and counts a packet of a class.
    pub(super) fn translate_untracked(
        &mut self,
        snap: &Snapshot,
        now: Time,
        packet: &mut Packet<D::Buf, Parsed>,
        treatment: &Treatment,
    ) -> Result<Exit, Stop> {
        let length = packet.state.total_len;
        let done = self.try_untracked(snap, now, packet, treatment);
        if let Some(counters) = self.class_counters(snap, treatment) {
            let way = treatment.way as usize;
            match done {
                Ok(_) => counters.pass(way, length, now.tick()),
                // It comes again.
                Err(Stop::Wait(..)) => {}
                Err(_) => counters.drop(way, now.tick()),
            }
        }
        done
    }

    #[inline(always)]
    fn try_untracked(
        &mut self,
        snap: &Snapshot,
        now: Time,
        packet: &mut Packet<D::Buf, Parsed>,
        treatment: &Treatment,
    ) -> Result<Exit, Stop> {
        let state = packet.state;
        let header = Header::of(&state);
        let is_error = state.kind == Kind::IcmpError;
        if is_error {
            check_reporter(snap, packet)?;
        }
        let passage = judge(snap, &header, treatment)?;
        let hop = passage.way_out(snap, &header, Envelope::of(&state))?;
        let neighbor = hop.neighbor(passage.goal.address);
        let Some(mac) = self.resolve(now, hop.interface, neighbor) else {
            return Err(Stop::Wait(hop.interface, neighbor));
        };
        if is_error {
            rewrite_error_to(snap, packet, passage.to, false)?;
        } else {
            rewrite(packet, &Translation::new(state.tuple, passage.to))?;
        }
        Ok(Exit { interface: hop.interface, mac })
    }

    fn class_counters<'s>(&self, snap: &'s Snapshot, treatment: &Treatment) -> Option<&'s ClassCounters> {
        snap.classes.get(usize::from(treatment.class))?.counters.of(self.id)
    }
}

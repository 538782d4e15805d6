//! Questions to backends whether they are there: sent for the management core, which is told what they answer.
//!
//! A worker keeps nothing of a question. An answer comes to whichever worker its tuple belongs to, has no session there, and
//! is recognised by what it says ([`crate::nat::probe`]); so this is asked of packets without a session alone, and of those
//! only if they are for a port that no session is given.

use super::Snapshot;
use super::forward::{Exit, Stop};
use super::mesh::{Note, Work};
use super::message::FromWorker;
use super::plan::{Goal, check_source};
use super::worker::Core;
use crate::device::Device;
use crate::nat::probe::{PORTS, Question, Said, build_question};
use crate::packet::{Fragment, Parsed};
use crate::time::Time;
use crate::wire::ethernet;

impl<D: Device> Core<D> {
    /// Sends a question. If the next hop is not known yet, it is asked for, and the question is not sent: the management core
    /// repeats it.
    pub(super) fn ask_whether_up(&mut self, snap: &Snapshot, now: Time, zone: u16, question: &Question) {
        let backend = question.tuple.dst;
        let Some(hop) = snap.route_in(zone, backend) else { return };
        let Some(mac) = self.resolve(now, hop.interface, hop.neighbor(backend)) else { return };
        let device = snap.interface(hop.interface).device;
        let Some(mut buf) = self.ports[device.index()].device.alloc() else {
            self.counters.generated_lost.increment();
            return;
        };
        match build_question(&mut buf, question) {
            Ok(()) => {
                let note = Note::generated(hop.interface);
                let exit = Exit { interface: hop.interface, mac };
                self.send(snap, buf, 0, ethernet::IPV4, exit, note);
            }
            Err(_) => self.counters.generated_lost.increment(),
        }
    }

    /// Deals with a packet without a session if it is the answer to a question.
    #[cold]
    #[inline(never)]
    pub(super) fn hear_whether_up(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
    ) -> Option<Stop> {
        let Parsed { interface, tuple, kind, .. } = work.packet.state;
        let arrival = snap.interface(interface);
        let own = snap.local_on(arrival, tuple.dst).and_then(|number| snap.local.get(number)?.interface);
        if own.is_none() || check_source(snap, arrival, tuple.src).is_err() {
            return None;
        }
        let heard = snap.probe_key.read(&tuple, kind, work.packet.l4_bytes(), now)?;
        if heard.said != Said::More {
            let refused = heard.said == Said::Refused;
            self.tell(FromWorker::Answered { zone: arrival.zone, question: heard.question, refused });
        }
        if !heard.say.is_empty()
            && let Ok(exit) = self.exit_to(snap, now, Goal::beside(arrival, tuple.src))
        {
            heard.say.iter().for_each(|segment| self.say(snap, exit, segment));
        }
        Some(Stop::Consumed)
    }
}

/// Whether a packet without a session may be the answer to a question.
#[inline]
pub(super) fn may_be_answer(packet: &Parsed) -> bool {
    PORTS.contains(&packet.tuple.dport) && packet.fragment == Fragment::Whole && !packet.turned
}

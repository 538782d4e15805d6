//! Control connections of FTP and TFTP: what they say is read, and where it names an endpoint inside, replaced.
//!
//! Off by default. A session is *watched* if it is opened to a port of the config; its packets then take the detour, and others
//! pay nothing. What becomes of an endpoint is in `expect`.
//!
//! # Order
//!
//! As everywhere nothing is changed before every check has passed: a segment is read ([`Core::look_into`]) and what it will be
//! is known, its way out is checked with the length that it will have, it is tracked; then it is changed
//! ([`Core::pass_segment`]). The tracker sees every number as the sender of the byte counts it, in both directions.
//!
//! If the endpoint is another worker's to give, the packet goes there with the question, and comes back with the answer:
//!
//! | at | the packet |
//! |---|---|
//! | the owner of the control connection | is read: `227 … (10,0,0,2,195,80)`; goes to the owner of 10.0.0.2 |
//! | the owner of 10.0.0.2 | gets a mapping of 10.0.0.2:50000, and somebody who is expected there; goes back |
//! | the owner of the control connection | is changed and sent |
//!
//! If it is lost on the way it comes again, and the same mapping is found.
//!
//! Owner: the worker that owns the session. Bounds: `alg.max_sessions` watched sessions, `alg.max_expectations`
//! expectations, a few replaced texts that are not acknowledged yet in each direction ([`crate::nat::alg::stream`]).

mod expect;

use super::Snapshot;
use super::forward::Stop;
use super::mesh::{Ask, Work};
use super::worker::Core;
use crate::conntrack::session::Direction;
use crate::conntrack::table::SessionId;
use crate::conntrack::tcp_segment::{Segment, SegmentKind};
use crate::conntrack::tracker::Observed;
use crate::device::Device;
use crate::nat::Rng;
use crate::nat::alg::controls::{Control, Controls, Found};
use crate::nat::alg::expectations::Expectations;
use crate::nat::alg::segment::{Both, rewrite_segment};
use crate::nat::alg::stream::Edit;
use crate::nat::alg::{Helper, Meaning, Speaker};
use crate::packet::{Fragment, Kind, Packet, PacketBuf, Parsed};
use crate::telemetry::{AlgEvent, DropReason};
use crate::time::Time;
use crate::wire::udp;
use expect::Published;

/// What a worker keeps for its application level gateways.
#[derive(Debug)]
pub(super) struct Watcher {
    controls: Controls,
    expectations: Expectations,
    /// What has to be asked of another worker before the packet that is being dealt with goes on.
    ask: Option<Ask>,
    /// What another worker answered for the packet that is being dealt with.
    told: Option<(Ask, Option<u16>)>,
}

impl Watcher {
    /// `None` if the configuration watches nothing.
    pub(super) fn new(snap: &Snapshot, rng: &mut Rng) -> Option<Watcher> {
        (!snap.algs.is_off()).then(|| Watcher {
            controls: Controls::new(rng.next()),
            expectations: Expectations::new(rng.next()),
            ask: None,
            told: None,
        })
    }
}

/// What is to become of a packet of a watched session.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// The segment, if it is one.
    pub(super) segment: Option<Segment>,
    /// What is replaced in it for the first time.
    edit: Option<Edit>,
    /// Bytes by which it becomes longer.
    growth: i32,
    /// Its sender speaks another protocol.
    foreign: bool,
}

impl Step {
    /// The packet as it will leave, for what may stop it.
    pub(super) fn leaving(&self, state: &Parsed) -> Result<Parsed, DropReason> {
        let len = i32::from(state.total_len) + self.growth;
        Ok(Parsed { total_len: u16::try_from(len).map_err(|_| DropReason::AlgUnfit)?, ..*state })
    }

    /// What its sender is told if it is too large then: what it may send, not what may leave.
    pub(super) fn explain(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Refused(reason, Some(mut answer)) if answer.mtu > 0 && self.growth > 0 => {
                answer.mtu = answer.mtu.saturating_sub(u16::try_from(self.growth).unwrap_or(0));
                Stop::Refused(reason, Some(answer))
            }
            other => other,
        }
    }
}

fn speaker(direction: Direction) -> Speaker {
    match direction {
        Direction::Original => Speaker::Client,
        Direction::Reply => Speaker::Server,
    }
}

/// The payload of a segment.
fn payload_of<'p, B: PacketBuf>(packet: &'p Packet<B, Parsed>, segment: &Segment) -> &'p [u8] {
    let bytes = packet.l4_bytes();
    bytes.get(bytes.len().saturating_sub(segment.len.into())..).unwrap_or_default()
}

/// The number of a segment's first byte of payload.
fn first_byte(segment: &Segment) -> u32 {
    segment.seq.wrapping_add(segment.is_syn().into())
}

impl<D: Device> Core<D> {
    /// Whether a session is watched.
    pub(super) fn is_watched(&self, id: SessionId) -> bool {
        self.control(id).is_some()
    }

    fn control(&self, id: SessionId) -> Option<&Control> {
        self.watcher.as_ref()?.controls.get(id.index())
    }

    fn control_mut(&mut self, id: SessionId) -> Option<&mut Control> {
        self.watcher.as_mut()?.controls.get_mut(id.index())
    }

    /// A session was made by this packet: it is watched from now on if it is to one of the ports of the config.
    #[cold]
    #[inline(never)]
    pub(super) fn watch(
        &mut self,
        snap: &Snapshot,
        now: Time,
        id: SessionId,
        (observed, packet): (&Observed<'_>, &Packet<D::Buf, Parsed>),
    ) {
        let session = self.shard.session(id);
        let [original, reply] = [Direction::Original, Direction::Reply].map(|way| session.key(way).tuple());
        let Some(helper) = snap.algs.helper(original.protocol, [original.dport, reply.sport]) else { return };
        let Some(watcher) = &mut self.watcher else { return };
        let mut control = Control::new(helper);
        if let Observed::Tcp(segment) = observed
            && segment.kind == SegmentKind::Syn
        {
            control.way_mut(Direction::Original).begin(segment.seq.wrapping_add(1));
        }
        let has_room = watcher.controls.len() < snap.algs.sessions;
        if !has_room || !watcher.controls.watch(id.index(), control) {
            self.counters.count_alg(AlgEvent::SessionsFull);
            return;
        }
        session.set_accompanied();
        if helper == Helper::Tftp {
            self.hear_datagram(snap, now, (id, Direction::Original), packet);
        }
    }

    /// A session is about to be removed.
    pub(super) fn forget_watched(&mut self, id: SessionId) {
        if self.shard.session(id).is_accompanied()
            && let Some(watcher) = &mut self.watcher
        {
            watcher.controls.forget(id.index());
        }
    }

    /// The sequence number that the receiver of an ICMP error which goes in this direction has in mind, of the one in the
    /// quote: of what it sent itself.
    pub(super) fn quoted_by_watched(&self, id: SessionId, direction: Direction, quoted: u32) -> u32 {
        self.control(id).map_or(quoted, |control| control.way(direction.reverse()).stream.to_sender(quoted))
    }

    /// Reads a packet of a watched session and says what is to become of it. Changes nothing in the packet.
    pub(super) fn look_into(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
        (id, direction): (SessionId, Direction),
    ) -> Result<Step, Stop> {
        let state = &work.packet.state;
        match state.kind {
            _ if state.fragment == Fragment::Later => Ok(Step::default()),
            Kind::Tcp { .. } => self.look_into_segment(snap, now, work, (id, direction)),
            _ => {
                self.hear_datagram(snap, now, (id, direction), &work.packet);
                Ok(Step::default())
            }
        }
    }

    fn hear_datagram(
        &mut self,
        snap: &Snapshot,
        now: Time,
        (id, direction): (SessionId, Direction),
        packet: &Packet<D::Buf, Parsed>,
    ) {
        let Some(helper) = self.control(id).map(|control| control.helper) else { return };
        let message = packet.l4_bytes().get(udp::HEADER_LEN..).unwrap_or_default();
        match helper.read(speaker(direction), message) {
            Meaning::Asks => self.expect_answer(snap, now, id),
            Meaning::Unreadable => self.counters.count_alg(AlgEvent::Unreadable),
            Meaning::Nothing | Meaning::Waits(_) | Meaning::Foreign => {}
        }
    }

    fn look_into_segment(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
        (id, direction): (SessionId, Direction),
    ) -> Result<Step, Stop> {
        let whole = work.packet.state.fragment == Fragment::Whole;
        let segment = Segment::read(work.packet.l4_bytes(), whole)?;
        let (from, len) = (first_byte(&segment), u32::from(segment.len));
        let Some(control) = self.control(id) else { return Ok(Step::default()) };
        let way = control.way(direction);
        if !whole && way.stream.touches(from, len) {
            return Err(DropReason::AlgUnfit.into());
        }
        let growth = way.stream.growth(from, len);
        let mut step = Step { growth, segment: Some(segment), ..Step::default() };
        let carries = whole && len > 0 && matches!(segment.kind, SegmentKind::Ack | SegmentKind::Fin);
        if !carries || control.foreign {
            return Ok(step);
        }
        let payload = payload_of(&work.packet, &segment);
        match way.read((control.helper, speaker(direction)), from, payload) {
            None => {}
            Some(Found::Unreadable) => self.counters.count_alg(AlgEvent::Unreadable),
            // Whether it belongs to the connection at all is not known yet.
            Some(Found::Foreign) => step.foreign = true,
            Some(Found::Waits(mention)) => {
                if !way.stream.has_room() {
                    return Err(DropReason::AlgUnfit.into());
                }
                let place = mention.place.clone();
                let Published { address, port } = match self.publish(snap, now, (id, direction), &mention) {
                    Ok(published) => published,
                    Err(None) => return Ok(step),
                    Err(Some(worker)) => return Err(Stop::Ask(worker)),
                };
                let text = mention.form.write(address, port);
                if payload.get(place.clone()) != Some(&text[..]) {
                    let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
                    let (at, old) = (from.wrapping_add(number(place.start)), number(place.len()));
                    step.growth += number(text.len()).wrapping_sub(old).cast_signed();
                    step.edit = Some(Edit { at, old, text });
                }
            }
        }
        Ok(step)
    }

    /// A segment in the numbers of those who sent the bytes: its own are, those that it acknowledges are the other end's.
    pub(super) fn as_sent(&self, segment: Segment, (id, direction): (SessionId, Direction)) -> Segment {
        let other = self.control(id).map(|control| &control.way(direction.reverse()).stream);
        Segment { ack: other.map_or(segment.ack, |other| other.to_sender(segment.ack)), ..segment }
    }

    /// Makes a segment that passed every check what its receiver gets, and keeps in mind what was done to it. `reopened`: it
    /// begins another connection.
    pub(super) fn pass_segment(
        &mut self,
        packet: &mut Packet<D::Buf, Parsed>,
        (id, direction): (SessionId, Direction),
        segment: Segment,
        (step, reopened): (Step, bool),
    ) -> Result<(), DropReason> {
        let (rewritten, foreign) = (step.edit.is_some(), step.foreign);
        let Some(control) = self.control_mut(id) else { return Ok(()) };
        if reopened {
            *control = Control::new(control.helper);
        }
        control.foreign |= foreign;
        let from = first_byte(&segment);
        let way = control.way_mut(direction);
        if segment.is_syn() {
            way.begin_once(from);
        } else if segment.len > 0 {
            way.pass(from, payload_of(packet, &segment), step.edit);
        }
        if segment.has_ack() {
            let other = &mut control.way_mut(direction.reverse()).stream;
            let acknowledged = other.to_sender(segment.ack);
            other.acknowledge(acknowledged);
        }
        let (own, other) = (&control.way(direction).stream, &control.way(direction.reverse()).stream);
        if !(own.is_plain() && other.is_plain()) {
            rewrite_segment(packet, &Both { own, other }, (from, segment.len))?;
        }
        if foreign {
            self.counters.count_alg(AlgEvent::NotFtp);
        }
        if rewritten {
            self.counters.count_alg(AlgEvent::Rewritten);
        }
        Ok(())
    }
}

//! The backend's half of the SYN proxy: it is asked, again if need be, and answers.

use super::{Heard, OUR_SCALE, SynProxy, as_client_sees, opening_syn};
use crate::conntrack::session::Direction;
use crate::conntrack::table::SessionId;
use crate::conntrack::tcp_segment::{Segment, SegmentKind};
use crate::conntrack::tracker::Observed;
use crate::device::Device;
use crate::nat::proxied::{Backend, Handshake};
use crate::nat::rewrite::{Translation, rewrite};
use crate::nat::sequence::{self, Offsets, renumber};
use crate::nat::syn_cookie::DEFAULT_MSS;
use crate::nat::tcp_make::BareSegment;
use crate::packet::Tuple;
use crate::pipeline::Snapshot;
use crate::pipeline::forward::{Exit, Stop};
use crate::pipeline::mesh::Work;
use crate::pipeline::session_events::End;
use crate::pipeline::worker::Core;
use crate::telemetry::DropReason;
use crate::time::Time;
use crate::wire::tcp::{ACK, RST, SYN};
use crate::wire::tcp_options::{TcpOptions, Timestamps};

/// Seconds after the first SYN at which a silent backend is asked again.
const ASKED_AGAIN: [u8; 4] = [1, 3, 7, 15];
/// Seconds after which nobody asks any more.
const GIVEN_UP: u8 = 31;
/// Handshakes looked at a tick at the most: all that a worker may have under way, in a second.
const BUDGET: usize = 2048;

impl<D: Device> Core<D> {
    /// Sends the client's SYN to its backend.
    pub(super) fn ask_backend(&mut self, snap: &Snapshot, id: SessionId, handshake: &Handshake, exit: Exit) {
        let syn = opening_syn(handshake);
        let segment = BareSegment {
            tuple: self.way_of(id, Direction::Original).0.to,
            sequence: syn.seq,
            acknowledgement: 0,
            flags: SYN,
            window: syn.window,
            options: handshake.offer,
        };
        self.say(snap, exit, &segment);
    }

    /// Once a tick: backends that have not answered are asked again, and clients told when it was in vain.
    pub(in crate::pipeline) fn look_after_handshakes(&mut self, snap: &Snapshot, now: Time) {
        for _ in 0..BUDGET {
            let due = self.syn_proxy.as_mut().and_then(|proxy| proxy.handshakes.due(now.tick()));
            let Some((seconds, handshake)) = due else { return };
            let (index, generation) = handshake.session;
            // It is there: a handshake ends with its session.
            match self.shard.resolve(index, generation) {
                Some(id) if seconds >= GIVEN_UP => self.give_up(snap, now, id, &handshake),
                Some(id) if ASKED_AGAIN.contains(&seconds) => {
                    let (_, backend) = self.way_of(id, Direction::Original);
                    if let Ok(exit) = self.exit_to(snap, now, backend) {
                        self.counters.syn_proxy_retries.increment();
                        self.ask_backend(snap, id, &handshake, exit);
                    }
                }
                _ => {}
            }
        }
    }

    /// The backend does not answer: the client is told.
    fn give_up(&mut self, snap: &Snapshot, now: Time, id: SessionId, handshake: &Handshake) {
        let (back, client) = self.way_of(id, Direction::Reply);
        self.counters.syn_proxy_given_up.increment();
        if let Ok(exit) = self.exit_to(snap, now, client) {
            let segment = BareSegment { flags: RST | ACK, ..to_client(back.to, handshake) };
            self.say(snap, exit, &segment);
        }
        self.remove(id, End::Unanswered);
    }

    /// A backend that was asked says something.
    pub(super) fn hear_backend(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &mut Work<D::Buf>,
        id: SessionId,
        number: u32,
    ) -> Result<Exit, Stop> {
        let heard = Heard::read(&work.packet)?;
        let Some(handshake) = self.handshake(id, number) else { return Err(DropReason::NoSession.into()) };
        let segment = &heard.segment;
        let answers = segment.has_ack() && segment.ack == handshake.client.wrapping_add(1);
        match segment.kind {
            SegmentKind::SynAck if answers => self.introduce(snap, now, &heard, (id, number), &handshake),
            SegmentKind::Rst if answers => {
                let state = work.packet.state;
                let (translation, goal) = self.way_of(id, Direction::Reply);
                let exit = self.check_exit(snap, now, &state, goal)?;
                // The number that the client waits for.
                let expected = handshake.cookie.wrapping_add(1);
                let offsets = Offsets { sequence: expected.wrapping_sub(segment.seq), ..Offsets::default() };
                let shift = offsets.shift(Direction::Reply);
                let seen = as_client_sees(segment, Direction::Reply, &shift);
                self.track(snap, now, (id, Direction::Reply), &Observed::Tcp(seen), state.total_len)?;
                self.conclude(id, number, &offsets);
                renumber(work.packet.l3_l4_mut()?.1, &shift)?;
                rewrite(&mut work.packet, &translation)?;
                Ok(exit)
            }
            SegmentKind::Rst => Err(DropReason::TcpRstInvalid.into()),
            SegmentKind::Syn => Err(DropReason::TcpInvalid.into()),
            // It is in an old connection. A client would make it forget that (RFC 9293 3.10.7.3); the next SYN then
            // finds it ready.
            SegmentKind::SynAck | SegmentKind::Ack | SegmentKind::Fin => {
                let (forth, goal) = self.way_of(id, Direction::Original);
                let exit = self.exit_to(snap, now, goal)?;
                let reset = BareSegment {
                    tuple: forth.to,
                    sequence: segment.ack,
                    acknowledgement: 0,
                    flags: RST,
                    window: 0,
                    options: TcpOptions::default(),
                };
                self.say(snap, exit, &reset);
                Err(Stop::Consumed)
            }
        }
    }

    /// The backend accepts: both ends get to know what they need of each other, and are on their own from now on.
    fn introduce(
        &mut self,
        snap: &Snapshot,
        now: Time,
        heard: &Heard,
        (id, number): (SessionId, u32),
        handshake: &Handshake,
    ) -> Result<Exit, Stop> {
        let (Translation { to: forth, .. }, backend) = self.way_of(id, Direction::Original);
        let (Translation { to: back, .. }, client) = self.way_of(id, Direction::Reply);
        let backend_exit = self.exit_to(snap, now, backend)?;
        let client_exit = self.exit_to(snap, now, client)?;
        let offsets = offsets(heard, handshake);
        let [accepts, acknowledges] = last_two(heard, handshake);
        let length = |options: usize| u16::try_from(40 + options).unwrap_or(u16::MAX);
        let stamped = if handshake.offer.timestamps.is_some() { 12 } else { 0 };
        self.track(snap, now, (id, Direction::Reply), &Observed::Tcp(accepts), length(0))?;
        self.track(snap, now, (id, Direction::Original), &Observed::Tcp(acknowledges), length(stamped))?;
        self.conclude(id, number, &offsets);
        if let Some(proxy) = &mut self.syn_proxy {
            learn(proxy, &forth, handshake, &heard.options);
        }

        let theirs = heard.options.timestamps;
        let ours = handshake.offer.timestamps.unwrap_or_default();
        let to_backend = BareSegment {
            tuple: forth,
            sequence: handshake.client.wrapping_add(1),
            acknowledgement: heard.segment.seq.wrapping_add(1),
            flags: ACK,
            window: sequence::scale(handshake.window, offsets.client_window),
            options: TcpOptions {
                timestamps: theirs.map(|theirs| Timestamps { value: ours.value, echo: theirs.value }),
                ..TcpOptions::default()
            },
        };
        self.say(snap, backend_exit, &to_backend);
        let to_client = BareSegment {
            // Until now in the unit of a SYN.
            window: sequence::scale(heard.segment.window, -told_scale(handshake)),
            ..to_client(back, handshake)
        };
        self.say(snap, client_exit, &to_client);
        Err(Stop::Consumed)
    }
}

/// A segment to the client after the SYN/ACK that it got.
fn to_client(tuple: Tuple, handshake: &Handshake) -> BareSegment {
    let timestamps = handshake
        .offer
        .timestamps
        .map(|theirs| Timestamps { value: handshake.timestamp, echo: theirs.value });
    BareSegment {
        tuple,
        sequence: handshake.cookie.wrapping_add(1),
        acknowledgement: handshake.client.wrapping_add(1),
        flags: ACK,
        window: 0,
        options: TcpOptions { timestamps, ..TcpOptions::default() },
    }
}

/// The scale of the backend's windows as the client was told.
fn told_scale(handshake: &Handshake) -> i8 {
    if handshake.offer.scale.is_some() { signed(OUR_SCALE) } else { 0 }
}

/// A scale is at most 14.
fn signed(scale: u8) -> i8 {
    i8::try_from(scale).unwrap_or(0)
}

/// How the backend's numbers differ from those that the client was told.
fn offsets(heard: &Heard, handshake: &Handshake) -> Offsets {
    // Windows are scaled if both offer it (RFC 7323 2.2).
    let client = handshake.offer.scale;
    let server = heard.options.scale.filter(|_| client.is_some());
    Offsets {
        sequence: handshake.cookie.wrapping_sub(heard.segment.seq),
        timestamp: heard
            .options
            .timestamps
            .map_or(0, |theirs| handshake.timestamp.wrapping_sub(theirs.value)),
        server_window: signed(server.unwrap_or(0)) - told_scale(handshake),
        client_window: if server.is_some() { 0 } else { signed(client.unwrap_or(0)) },
    }
}

/// The end of the handshake as the client sees it: SYN/ACK and ACK.
fn last_two(heard: &Heard, handshake: &Handshake) -> [Segment; 2] {
    let accepts = Segment {
        seq: handshake.cookie,
        len: 0,
        scale: handshake.offer.scale.map(|_| OUR_SCALE),
        ..heard.segment
    };
    let acknowledges = Segment {
        kind: SegmentKind::Ack,
        flags: ACK,
        seq: handshake.client.wrapping_add(1),
        ack: handshake.cookie.wrapping_add(1),
        window: handshake.window,
        len: 0,
        whole: true,
        scale: None,
    };
    [accepts, acknowledges]
}

/// Remembers what the backend agrees to. Of what it was not asked nothing new is known.
fn learn(proxy: &mut SynProxy, backend: &Tuple, handshake: &Handshake, options: &TcpOptions) {
    let known = proxy.backends.get(backend.dst, backend.dport);
    let timestamps = match handshake.offer.timestamps {
        Some(_) => options.timestamps.is_some(),
        None => known.timestamps,
    };
    let mss = options.mss.unwrap_or(DEFAULT_MSS);
    proxy.backends.learn(backend.dst, backend.dport, Backend { mss, timestamps });
}

//! The SYN proxy: the gateway shakes hands with a client before the backend of a forward hears of it (RFC 4987 3.6).
//!
//! ```text
//!   client                        gateway                        backend
//!     | SYN ----------------------> |                               |     no state
//!     | <-- SYN/ACK, cookie, win 0  |                               |
//!     | ACK, cookie + 1 ----------> | session SYN_SENT              |     counted against every limit
//!     |                             | SYN ------------------------> |     the client's numbers and options
//!     |                             | <-------------------- SYN/ACK |
//!     |                             | ESTABLISHED; ACK -----------> |
//!     | <-- ACK, the real window -- |                               |
//!     | data <------ renumbered by the difference of both SYN/ACKs -----> data |
//! ```
//!
//! The window of zero keeps the client from sending data that nobody could take. What cookies can not remember is not
//! agreed on: without timestamps neither window scale nor SACK, and never ECN, since the backend's word on it is not
//! known yet. Our window scale is always [`OUR_SCALE`]; windows are converted if the backend has another one.
//!
//! **Losses.** A lost SYN or SYN/ACK: the client sends its SYN again. A lost ACK: the client does not know; if it has
//! data it asks for the window, and that will do as an ACK. A client that waits for its server to speak first is stuck:
//! the price of keeping no state. A lost SYN or SYN/ACK at the backend: the gateway asks again after 1, 3, 7 and 15 s
//! (`backend`), and whenever the client asks for the window. After 31 s the client is told by a RST. A lost window
//! update: the client asks, and the backend answers.
//!
//! **Numbers.** The tracker sees each segment as the client does: answers are renumbered before they are tracked,
//! requests afterwards. Fragments: a first one is renumbered as a whole segment would be; one in a handshake is refused.
//! ICMP errors: the quoted sequence number is renumbered.
//!
//! Owner: the worker that owns the session. What it keeps is in [`crate::nat::proxied`]; it is there only if some
//! forward of a configuration that the worker ran has a SYN proxy.

mod backend;

use super::Snapshot;
use super::forward::{Exit, Stop};
use super::mesh::Note;
use super::mesh::Work;
use super::plan::{Goal, NO_ROUTE, SessionPlan};
use super::session_events::End;
use super::worker::Core;
use crate::conntrack::session::{Direction, Shape};
use crate::conntrack::table::SessionId;
use crate::conntrack::tcp_segment::{Segment, SegmentKind};
use crate::conntrack::tracker::{self, Observed};
use crate::device::Device;
use crate::ids::InterfaceId;
use crate::nat::Rng;
use crate::nat::proxied::{Backends, HANDSHAKES, Handshake, Handshakes, Proxied, Records};
use crate::nat::rewrite::rewrite;
use crate::nat::sequence::{self, Offsets, Shift, renumber};
use crate::nat::syn_cookie::{DEFAULT_MSS, Remembered, SynCookies, remembered};
use crate::nat::tcp_make::{BareSegment, build_segment, is_sound};
use crate::packet::{Fragment, Packet, PacketBuf, Parsed, Tuple};
use crate::telemetry::DropReason;
use crate::time::Time;
use crate::wire::ethernet;
use crate::wire::tcp::{ACK, HEADER_LEN, SYN};
use crate::wire::tcp_options::{TcpOptions, Timestamps};

/// The window scale that clients are told: Linux's usual one, so that windows rarely have to be converted.
const OUR_SCALE: u8 = 7;
/// IPv4 and TCP header, in bytes: what an MSS does not count (RFC 9293 3.7.1).
const HEADERS: u16 = 40;

/// What a worker keeps for its SYN proxy.
#[derive(Debug)]
pub(super) struct SynProxy {
    cookies: SynCookies,
    records: Records,
    handshakes: Handshakes,
    backends: Backends,
}

impl SynProxy {
    /// For a shard of `sessions` sessions; `None` if no forward asks for it. The secret is drawn from `rng`.
    pub(super) fn new(snap: &Snapshot, sessions: u32, rng: &mut Rng) -> Option<SynProxy> {
        snap.local.has_syn_proxy().then(|| SynProxy {
            cookies: SynCookies::new(u128::from(rng.next()) << 64 | u128::from(rng.next())),
            records: Records::new(sessions),
            handshakes: Handshakes::new(HANDSHAKES.min(sessions)),
            backends: Backends::default(),
        })
    }
}

/// A whole segment with a right checksum, and what it offers.
struct Heard {
    segment: Segment,
    options: TcpOptions,
}

impl Heard {
    /// Reads a segment that the gateway itself answers.
    fn read<B: PacketBuf>(packet: &Packet<B, Parsed>) -> Result<Heard, DropReason> {
        if packet.state.fragment != Fragment::Whole {
            return Err(DropReason::FragmentToGateway);
        }
        let bytes = packet.l4_bytes();
        let segment = Segment::read(bytes, true)?;
        if !is_sound(&packet.state.tuple, bytes) {
            return Err(DropReason::TcpChecksumWrong);
        }
        let end = bytes.len() - usize::from(segment.len);
        let options = TcpOptions::read(bytes.get(HEADER_LEN..end).unwrap_or_default());
        Ok(Heard { segment, options })
    }
}

impl<D: Device> Core<D> {
    /// A segment to a forward with a SYN proxy that belongs to no session.
    pub(super) fn greet(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
        plan: &SessionPlan,
    ) -> Result<Exit, Stop> {
        let heard = Heard::read(&work.packet)?;
        match heard.segment.kind {
            SegmentKind::Syn => {
                self.answer_syn(snap, now, &work.packet.state, &heard, (plan.goal(), plan.dport))
            }
            SegmentKind::Ack => self.welcome(snap, now, work, &heard, plan),
            SegmentKind::SynAck | SegmentKind::Fin | SegmentKind::Rst => Err(DropReason::TcpNotSyn.into()),
        }
    }

    /// Answers a SYN with a cookie, and forgets it.
    fn answer_syn(
        &mut self,
        snap: &Snapshot,
        now: Time,
        state: &Parsed,
        heard: &Heard,
        (backend, port): (Goal, u16),
    ) -> Result<Exit, Stop> {
        let tuple = state.tuple;
        let exit = self.exit_to(snap, now, Goal::beside(snap.interface(state.interface), tuple.src))?;
        let Goal { address, realm, zone } = backend;
        let out = snap.route_to(realm, zone, address).ok_or(NO_ROUTE)?.interface;
        let Some(proxy) = &self.syn_proxy else { return Err(DropReason::NoRule.into()) };
        let known = proxy.backends.get(address, port);
        let room = |interface: InterfaceId| {
            let interface = snap.interface(interface);
            interface.mtu.saturating_sub(HEADERS).min(interface.mss_limit)
        };
        let mut options = TcpOptions {
            mss: Some(known.mss.min(room(exit.interface)).min(room(out))),
            ..TcpOptions::default()
        };
        if let Some(theirs) = heard.options.timestamps
            && known.timestamps
        {
            let TcpOptions { scale, sack_permitted, .. } = heard.options;
            let value = proxy.cookies.timestamp(Remembered { scale, sack_permitted, ecn: false }, now);
            options.timestamps = Some(Timestamps { value, echo: theirs.value });
            options.scale = scale.map(|_| OUR_SCALE);
            options.sack_permitted = sack_permitted;
        }
        let mss = heard.options.mss.unwrap_or(DEFAULT_MSS);
        let answer = BareSegment {
            tuple: tuple.inverse(),
            sequence: proxy.cookies.make(&tuple, heard.segment.seq, mss, now),
            acknowledgement: heard.segment.seq.wrapping_add(1),
            flags: SYN | ACK,
            window: 0,
            options,
        };
        self.counters.syn_cookies_sent.increment();
        self.say(snap, exit, &answer);
        Err(Stop::Consumed)
    }

    /// Lets a client in that brings back a cookie: its session begins, and its backend hears of it.
    fn welcome(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &Work<D::Buf>,
        heard: &Heard,
        plan: &SessionPlan,
    ) -> Result<Exit, Stop> {
        let tuple = work.packet.state.tuple;
        let Some(proxy) = &self.syn_proxy else { return Err(DropReason::NoRule.into()) };
        let (client, mss) =
            check_cookie(&proxy.cookies, &tuple, &heard.segment, now).ok_or(DropReason::SynCookieInvalid)?;
        if proxy.handshakes.is_full() {
            return Err(DropReason::SynProxyFull.into());
        }
        let exit = self.exit_to(snap, now, plan.goal())?;
        let limit = |interface| snap.interface(interface).mss_limit;
        let mss = mss.min(limit(work.packet.state.interface)).min(limit(exit.interface));
        let cookie = heard.segment.ack.wrapping_sub(1);
        let mut handshake = Handshake {
            session: (0, 0),
            cookie,
            timestamp: 0,
            client,
            window: heard.segment.window,
            offer: TcpOptions { mss: Some(mss), ..TcpOptions::default() },
        };
        if let Some(Timestamps { value, echo }) = heard.options.timestamps {
            let Remembered { scale, sack_permitted, .. } = remembered(echo);
            handshake.timestamp = echo;
            handshake.offer = TcpOptions {
                mss: Some(mss),
                scale,
                sack_permitted,
                timestamps: Some(Timestamps { value, echo: 0 }),
            };
        }
        let observed = Observed::Tcp(opening_syn(&handshake));
        self.set_up_as(snap, now, work, plan, (&observed, Shape::default()))?;
        let Some((id, _)) = self.shard.lookup(&work.key, work.hash) else {
            return Err(DropReason::TcpInvalid.into());
        };
        let session = self.shard.session(id);
        session.set_accompanied();
        handshake.session = (id.index(), session.generation());
        if let Some(proxy) = &mut self.syn_proxy
            && let Some(number) = proxy.handshakes.begin(handshake, now.tick())
        {
            proxy.records.set(id.index(), Proxied::Connecting(number));
        }
        self.counters.syn_cookies_valid.increment();
        self.ask_backend(snap, id, &handshake, exit);
        Err(Stop::Consumed)
    }

    /// A packet of a session that began with a cookie.
    pub(super) fn translate_proxied(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &mut Work<D::Buf>,
        (id, direction): (SessionId, Direction),
    ) -> Result<Exit, Stop> {
        match (self.standing(id), direction) {
            (Proxied::Open(offsets), _) => self.renumbered(snap, now, work, (id, direction), &offsets),
            _ if work.packet.state.fragment == Fragment::Later => Err(DropReason::FragmentOrphan.into()),
            (Proxied::Connecting(number), Direction::Original) => {
                self.hear_client(snap, now, work, id, number)
            }
            (Proxied::Connecting(number), Direction::Reply) => self.hear_backend(snap, now, work, id, number),
        }
    }

    /// Whether the SYN proxy made the handshake of a session.
    pub(super) fn is_proxied(&self, id: SessionId) -> bool {
        self.shard.session(id).is_accompanied() && !self.is_watched(id)
    }

    /// The sequence number that the receiver of an ICMP error which goes in this direction has in mind, of the one in the
    /// quote.
    pub(super) fn quoted_by_proxy(&self, id: SessionId, direction: Direction, quoted: u32) -> u32 {
        match (self.standing(id), direction) {
            // It quotes what was sent in the other direction, so an answer as the client saw it.
            (Proxied::Open(offsets), Direction::Original) => quoted.wrapping_sub(offsets.sequence),
            _ => quoted,
        }
    }

    /// Where a proxied session stands.
    fn standing(&self, id: SessionId) -> Proxied {
        let records = self.syn_proxy.as_ref().map(|proxy| &proxy.records);
        records.map_or(Proxied::Open(Offsets::default()), |records| records.get(id.index()))
    }

    /// Forwards a packet of a session whose ends know each other.
    fn renumbered(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &mut Work<D::Buf>,
        (id, direction): (SessionId, Direction),
        offsets: &Offsets,
    ) -> Result<Exit, Stop> {
        let state = work.packet.state;
        let (translation, goal) = self.way_of(id, direction);
        let exit = self.check_exit(snap, now, &state, goal)?;
        if state.fragment == Fragment::Later {
            tracker::touch(self.shard.session(id), direction, state.total_len, now.tick());
        } else {
            let segment = Segment::read(work.packet.l4_bytes(), state.fragment == Fragment::Whole)?;
            let shift = offsets.shift(direction);
            let seen = as_client_sees(&segment, direction, &shift);
            let tracked = self.track(snap, now, (id, direction), &Observed::Tcp(seen), state.total_len)?;
            match (tracked.reopened, direction) {
                // The connection was over and the client opens another: with a cookie, and then as a new session.
                (true, Direction::Original) => {
                    self.remove(id, End::Replaced);
                    return self.translate(snap, now, work);
                }
                // Both ends had forgotten the connection. They agree on windows by themselves this time, in numbers
                // that still are renumbered.
                (true, Direction::Reply) => {
                    let offsets = Offsets { server_window: 0, client_window: 0, ..*offsets };
                    self.set_standing(id, Proxied::Open(offsets));
                }
                _ => {}
            }
            renumber(work.packet.l3_l4_mut()?.1, &shift)?;
        }
        rewrite(&mut work.packet, &translation)?;
        Ok(exit)
    }

    /// A client that waits for its backend says something.
    fn hear_client(
        &mut self,
        snap: &Snapshot,
        now: Time,
        work: &mut Work<D::Buf>,
        id: SessionId,
        number: u32,
    ) -> Result<Exit, Stop> {
        let heard = Heard::read(&work.packet)?;
        let state = work.packet.state;
        let (translation, goal) = self.way_of(id, Direction::Original);
        match heard.segment.kind {
            // It may have begun anew; its next ACK will tell.
            SegmentKind::Syn => {
                return self.answer_syn(snap, now, &state, &heard, (goal, translation.to.dport));
            }
            // It gives up. What it acknowledges the backend does not know, nor does it look at it (RFC 9293 3.10.7.4).
            SegmentKind::Rst => {
                let sent = self.handshake(id, number).map(|handshake| handshake.client.wrapping_add(1));
                if sent != Some(heard.segment.seq) {
                    return Err(DropReason::TcpRstInvalid.into());
                }
                let exit = self.check_exit(snap, now, &state, goal)?;
                let flow = (id, Direction::Original);
                self.track(snap, now, flow, &Observed::Tcp(heard.segment), state.total_len)?;
                self.conclude(id, number, &Offsets::default());
                rewrite(&mut work.packet, &translation)?;
                return Ok(exit);
            }
            SegmentKind::Ack | SegmentKind::Fin | SegmentKind::SynAck => {}
        }
        let Segment { seq, ack, window, .. } = heard.segment;
        let name = (id.index(), self.shard.generation(id));
        let Some(proxy) = &mut self.syn_proxy else { return Err(DropReason::NoRule.into()) };
        match proxy.handshakes.get(number, name) {
            // Again, or it asks for the window: the backend has not heard our SYN, or is slow.
            Some(handshake)
                if ack.wrapping_sub(1) == handshake.cookie && seq.wrapping_sub(handshake.client) <= 1 =>
            {
                handshake.window = window;
                if let (Some(ours), Some(news)) = (&mut handshake.offer.timestamps, heard.options.timestamps)
                {
                    ours.value = news.value;
                }
                let handshake = *handshake;
                let exit = self.exit_to(snap, now, goal)?;
                self.counters.syn_proxy_retries.increment();
                self.ask_backend(snap, id, &handshake, exit);
                Err(Stop::Consumed)
            }
            // The same client in another connection.
            _ if check_cookie(&proxy.cookies, &state.tuple, &heard.segment, now).is_some() => {
                self.remove(id, End::Replaced);
                self.translate(snap, now, work)
            }
            _ => Err(DropReason::SynCookieInvalid.into()),
        }
    }

    /// The handshake that a session is in.
    fn handshake(&mut self, id: SessionId, number: u32) -> Option<Handshake> {
        let name = (id.index(), self.shard.generation(id));
        self.syn_proxy.as_mut()?.handshakes.get(number, name).copied()
    }

    /// A session is about to be removed: nobody waits for its backend any more.
    pub(super) fn forget_handshake(&mut self, id: SessionId) {
        if self.is_proxied(id)
            && let Proxied::Connecting(number) = self.standing(id)
            && let Some(proxy) = &mut self.syn_proxy
        {
            proxy.handshakes.end(number);
        }
    }

    fn set_standing(&mut self, id: SessionId, standing: Proxied) {
        if let Some(proxy) = &mut self.syn_proxy {
            proxy.records.set(id.index(), standing);
        }
    }

    /// The handshake is over, and segments are renumbered by this from now on.
    fn conclude(&mut self, id: SessionId, number: u32, offsets: &Offsets) {
        if let Some(proxy) = &mut self.syn_proxy {
            proxy.handshakes.end(number);
            proxy.records.set(id.index(), Proxied::Open(*offsets));
        }
    }

    /// Where a segment of our own leaves.
    pub(super) fn exit_to(&mut self, snap: &Snapshot, now: Time, goal: Goal) -> Result<Exit, Stop> {
        let hop = snap.route_to(goal.realm, goal.zone, goal.address).ok_or(NO_ROUTE)?;
        let neighbor = hop.neighbor(goal.address);
        match self.resolve(now, hop.interface, neighbor) {
            Some(mac) => Ok(Exit { interface: hop.interface, mac }),
            None => Err(Stop::Wait(hop.interface, neighbor)),
        }
    }

    /// Sends a segment of our own.
    pub(super) fn say(&mut self, snap: &Snapshot, exit: Exit, segment: &BareSegment) {
        let device = snap.interface(exit.interface).device;
        let Some(mut buf) = self.ports[device.index()].device.alloc() else {
            self.counters.generated_lost.increment();
            return;
        };
        match build_segment(&mut buf, segment) {
            Ok(()) => {
                let note = Note::generated(exit.interface);
                self.send(snap, buf, 0, ethernet::IPV4, exit, note);
            }
            Err(_) => self.counters.generated_lost.increment(),
        }
    }
}

/// The client's initial sequence number and maximum segment size, if a segment brings back a cookie. An empty segment, or
/// one of a byte, may be one that asks for the window or whether anybody is there: it is numbered one less
/// (RFC 9293 3.8.4).
fn check_cookie(cookies: &SynCookies, tuple: &Tuple, segment: &Segment, now: Time) -> Option<(u32, u16)> {
    let cookie = segment.ack.wrapping_sub(1);
    let check = |client| cookies.check(tuple, client, cookie, now).map(|mss| (client, mss));
    check(segment.seq.wrapping_sub(1)).or_else(|| (segment.len <= 1).then(|| check(segment.seq)).flatten())
}

/// The SYN that a client must have sent, as its backend gets it. Its window is not scaled (RFC 7323 2.2), unlike that of the
/// ACK which it is taken from.
fn opening_syn(handshake: &Handshake) -> Segment {
    let scale = handshake.offer.scale;
    Segment {
        kind: SegmentKind::Syn,
        flags: SYN,
        seq: handshake.client,
        ack: 0,
        window: sequence::scale(handshake.window, i8::try_from(scale.unwrap_or(0)).unwrap_or(0)),
        len: 0,
        whole: true,
        scale,
    }
}

/// A segment in the client's numbers.
fn as_client_sees(segment: &Segment, direction: Direction, shift: &Shift) -> Segment {
    match direction {
        Direction::Original => *segment,
        Direction::Reply => Segment {
            seq: segment.seq.wrapping_add(shift.sequence),
            window: if segment.is_syn() {
                segment.window
            } else {
                sequence::scale(segment.window, shift.window)
            },
            ..*segment
        },
    }
}

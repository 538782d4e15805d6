//! The trackers: what a packet does to its session, by protocol.
//!
//! The pipeline reads from each packet what a tracker wants to know ([`Observed`]), and calls [`open`] for the first packet of
//! a flow, [`track`] for every packet that matched a session, and [`touch`] instead for later fragments. Only the worker that owns the session may call them. ICMP errors
//! are never tracked: they neither refresh nor change a session (RFC 5508 REQ-6, RFC 5382 REQ-10).
//!
//! - A packet that is refused changes nothing: no state, timer or counter.
//! - Both directions refresh the idle timer (RFC 4787 REQ-6 demands it of the outbound one and allows it for the
//!   inbound one).
//! - **TCP**: see [`super::tcp`]. Assured once the handshake is complete; one that was picked up in the middle once the other
//!   side was seen.
//! - **UDP**: the answer makes it a stream with a timeout of its own; the next packet of the original direction
//!   makes it assured. A question with one answer (DNS) thus never is.
//! - **ICMP queries**: one state. Never assured.
//! - **SCTP**: see [`super::sctp`]. Assured once the handshake is complete, or a HEARTBEAT was answered.
//! - **DCCP**: see [`super::dccp`]. Assured once the client has acknowledged the response.
//! - **GRE**: as UDP, with timeouts of its own.
//! - **All others**: known by their addresses alone; as UDP, with one timeout for both states.

use super::dccp;
use super::key::FlowKey;
use super::policy::Policy;
use super::sctp;
use super::session::{Direction, Session, TrackWords};
use super::tcp;
use super::tcp_segment::Segment;
use super::tcp_window::Windows;
use super::timeouts::{Timeout, Timeouts};
use crate::packet::{Fragment, Kind};
use crate::telemetry::DropReason;
use crate::time::Tick;
use crate::wire::dccp::DccpHeader;
use zerocopy::FromBytes;

macro_rules! states {
    ($($variant:ident, $name:literal, $timeout:ident, $help:literal;)+) => {
        /// State of a session. What the states of TCP, SCTP and DCCP mean: [`super::tcp`], [`super::sctp`],
        /// [`super::dccp`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum State {
            $(#[doc = $help] $variant,)+
        }

        impl State {
            /// Every state, in the order of their numbers.
            pub const ALL: &'static [State] = &[$(State::$variant),+];

            /// The name; for TCP, SCTP and DCCP the one that Linux uses.
            pub fn name(self) -> &'static str {
                match self { $(State::$variant => $name),+ }
            }

            /// The idle timeout of sessions in this state.
            #[inline]
            pub fn timeout(self) -> Timeout {
                match self { $(State::$variant => Timeout::$timeout),+ }
            }
        }
    };
}

// The TCP states come first and in the order of the columns of the table in `tcp`.
states! {
    None, "NONE", TcpClose, "TCP before the first packet; no session is in it.";
    SynSent, "SYN_SENT", TcpSynSent, "TCP: SYN seen.";
    SynRecv, "SYN_RECV", TcpSynRecv, "TCP: SYN/ACK seen.";
    Established, "ESTABLISHED", TcpEstablished, "TCP: handshake complete.";
    FinWait, "FIN_WAIT", TcpFinWait, "TCP: FIN seen.";
    CloseWait, "CLOSE_WAIT", TcpCloseWait, "TCP: FIN acknowledged.";
    LastAck, "LAST_ACK", TcpLastAck, "TCP: second FIN seen.";
    TimeWait, "TIME_WAIT", TcpTimeWait, "TCP: both FINs acknowledged.";
    Close, "CLOSE", TcpClose, "TCP: RST seen.";
    SynSent2, "SYN_SENT2", TcpSynSent, "TCP: SYN seen from both sides.";
    Udp, "UDP", Udp, "UDP without an answer yet.";
    UdpStream, "UDP_STREAM", UdpStream, "UDP that went both ways.";
    Icmp, "ICMP", Icmp, "ICMP query.";
    SctpClosed, "CLOSED", SctpClosed, "SCTP: INIT seen, or the end.";
    SctpCookieWait, "COOKIE_WAIT", SctpCookieWait, "SCTP: INIT ACK seen.";
    SctpCookieEchoed, "COOKIE_ECHOED", SctpCookieEchoed, "SCTP: COOKIE ECHO seen.";
    SctpEstablished, "ESTABLISHED", SctpEstablished, "SCTP: COOKIE ACK or HEARTBEAT ACK seen.";
    SctpShutdownSent, "SHUTDOWN_SENT", SctpShutdownSent, "SCTP: SHUTDOWN seen from the original side.";
    SctpShutdownRecd, "SHUTDOWN_RECD", SctpShutdownRecd, "SCTP: SHUTDOWN seen from the other side.";
    SctpShutdownAckSent, "SHUTDOWN_ACK_SENT", SctpShutdownAckSent, "SCTP: SHUTDOWN ACK seen.";
    SctpHeartbeatSent, "HEARTBEAT_SENT", SctpHeartbeatSent, "SCTP: HEARTBEAT seen, and nothing before it.";
    DccpRequest, "REQUEST", DccpRequest, "DCCP: Request seen.";
    DccpRespond, "RESPOND", DccpRespond, "DCCP: Response seen.";
    DccpPartopen, "PARTOPEN", DccpPartopen, "DCCP: Ack of the Response seen.";
    DccpOpen, "OPEN", DccpOpen, "DCCP: both ends have spoken since.";
    DccpClosereq, "CLOSEREQ", DccpClosereq, "DCCP: CloseReq seen.";
    DccpClosing, "CLOSING", DccpClosing, "DCCP: Close seen.";
    DccpTimewait, "TIMEWAIT", DccpTimewait, "DCCP: Reset seen.";
    Gre, "GRE", Gre, "GRE without an answer yet.";
    GreStream, "GRE_STREAM", GreStream, "GRE that went both ways.";
    Generic, "GENERIC", Generic, "A protocol that is known by its addresses alone.";
}

impl State {
    /// Whether it is a state of a TCP connection.
    #[inline]
    pub fn is_tcp(self) -> bool {
        (self as u8) < State::Udp as u8
    }

    /// Whether the conversation is on its way to its end: such sessions are the second to go when room is needed.
    #[inline]
    pub fn is_closing(self) -> bool {
        matches!(
            self,
            State::FinWait
                | State::CloseWait
                | State::LastAck
                | State::TimeWait
                | State::Close
                | State::SctpShutdownSent
                | State::SctpShutdownRecd
                | State::SctpShutdownAckSent
                | State::DccpClosereq
                | State::DccpClosing
                | State::DccpTimewait
        )
    }

    /// The state with this number; [`State::None`] if there is no such.
    #[inline]
    pub(super) fn from_number(number: u8) -> State {
        State::ALL.get(usize::from(number)).copied().unwrap_or(State::None)
    }
}

/// What a session starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its first state.
    pub state: State,
    /// The idle timeout of that state, in ticks.
    pub timeout_ticks: u32,
    /// What the tracker keeps beside the state.
    pub track: TrackWords,
}

/// What the pipeline may have to do after a packet was tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    /// State or flags are others now: the session may be of another class.
    pub changed: bool,
    /// The timeout is shorter now: tell whoever keeps timers. Not so for a long one in the same state: see [`SWEPT`].
    pub shortened: bool,
    /// A new connection began in the session of another, with the same mapping (RFC 6191).
    pub reopened: bool,
}

/// A timeout that became shorter is not told if it is this long or longer, in ticks (two minutes), and the state is the same:
/// an open TCP connection changes between two timeouts with nearly every packet, as data waits for its acknowledgement.
/// The sweep of the management core over the whole table, once a minute, finds them in time.
pub const SWEPT: u32 = 1200;

/// What a tracker wants to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed<'a> {
    /// TCP.
    Tcp(Segment),
    /// UDP.
    Udp,
    /// ICMP echo or timestamp request.
    IcmpRequest,
    /// ICMP echo or timestamp reply.
    IcmpReply,
    /// ICMP error about the session's flow.
    IcmpError,
    /// ICMP of another type.
    IcmpOther(u8),
    /// SCTP.
    Sctp(sctp::Packet<'a>),
    /// DCCP: the packet type.
    Dccp(u8),
    /// GRE.
    Gre,
    /// Another protocol.
    Other,
}

impl<'a> Observed<'a> {
    /// Reads it from a packet that is whole or a first fragment. `transport` begins at the transport header and ends
    /// with the packet.
    #[inline]
    pub fn read(kind: Kind, fragment: Fragment, transport: &'a [u8]) -> Result<Observed<'a>, DropReason> {
        Ok(match kind {
            Kind::Tcp { .. } => Observed::Tcp(Segment::read(transport, fragment == Fragment::Whole)?),
            Kind::Udp => Observed::Udp,
            Kind::IcmpRequest => Observed::IcmpRequest,
            Kind::IcmpReply => Observed::IcmpReply,
            Kind::IcmpError => Observed::IcmpError,
            Kind::IcmpOther(number) => Observed::IcmpOther(number),
            Kind::Sctp => {
                let packet = sctp::Packet::read(transport, fragment == Fragment::Whole);
                Observed::Sctp(packet.ok_or(DropReason::Truncated)?)
            }
            Kind::Dccp => {
                let header = DccpHeader::ref_from_prefix(transport).map_err(|_| DropReason::Truncated)?;
                Observed::Dccp(header.0.kind())
            }
            Kind::Gre => Observed::Gre,
            Kind::Other => Observed::Other,
        })
    }
}

/// Decides whether a packet without a session may open one, and in which state. `set` is the number of its timeout set
/// in the policy.
///
/// Later fragments never get here: their ports are unknown until the first fragment has opened the session.
pub fn open(observed: &Observed<'_>, policy: &Policy, set: u8) -> Result<Opening, DropReason> {
    let timeouts = policy.timeouts(set);
    let (state, track) = match observed {
        Observed::Tcp(segment) => {
            let (state, windows) = tcp::open(segment, policy.tcp)?;
            let timeout_ticks = tcp::timeout_ticks(state, &windows, false, timeouts);
            return Ok(Opening { state, timeout_ticks, track: windows.store() });
        }
        Observed::Udp => (State::Udp, TrackWords::default()),
        Observed::IcmpRequest => (State::Icmp, TrackWords::default()),
        Observed::Sctp(packet) => {
            let (state, association) = sctp::open(packet)?;
            (state, association.store())
        }
        Observed::Dccp(kind) => {
            let (state, connection) = dccp::open(*kind)?;
            (state, connection.store())
        }
        Observed::Gre => (State::Gre, TrackWords::default()),
        Observed::Other => (State::Generic, TrackWords::default()),
        Observed::IcmpReply | Observed::IcmpError => return Err(DropReason::IcmpUnsolicited),
        Observed::IcmpOther(_) => return Err(DropReason::IcmpTypeUnsupported),
    };
    Ok(Opening { state, timeout_ticks: timeouts.ticks(state.timeout()), track })
}

/// Tracks a packet that matched a session: state, flags, idle timer and counters. `length` is the IPv4 total length.
///
/// An error is the reason to drop the packet. An ICMP error passes without any effect.
#[inline]
pub fn track<K: FlowKey>(
    session: &Session<K>,
    direction: Direction,
    observed: &Observed<'_>,
    length: u16,
    now: Tick,
    policy: &Policy,
) -> Result<Tracked, DropReason> {
    let timeouts = policy.timeouts(session.policy());
    let step = match observed {
        Observed::Tcp(segment) => tcp_step(session, direction, segment, policy, timeouts)?,
        Observed::Udp => two_way_step(session, direction, State::Udp, State::UdpStream, timeouts),
        Observed::Sctp(packet) => sctp_step(session, direction, packet, timeouts)?,
        Observed::Dccp(kind) => dccp_step(session, direction, *kind, timeouts)?,
        Observed::Gre => two_way_step(session, direction, State::Gre, State::GreStream, timeouts),
        Observed::Other => two_way_step(session, direction, State::Generic, State::Generic, timeouts),
        Observed::IcmpRequest | Observed::IcmpReply => icmp_step(direction, observed, timeouts)?,
        Observed::IcmpError => return Ok(Tracked::default()),
        Observed::IcmpOther(_) => return Err(DropReason::IcmpTypeUnsupported),
    };
    session.count(direction, length);
    Ok(take(session, direction, step, now, timeouts))
}

/// Counts a packet and refreshes the idle timer, whatever the packet is: for later fragments, which have no transport
/// header (their `Kind` is filled in from elsewhere, and their TCP flags mean nothing). State and flags stay.
#[inline]
pub fn touch<K: FlowKey>(session: &Session<K>, direction: Direction, length: u16, now: Tick) {
    session.count(direction, length);
    session.refresh(now);
}

/// Tracks a UDP packet that changes neither state nor flags nor timeout of its session, which is what nearly all do. False,
/// and nothing is changed, if this one would: that is for [`track`].
#[inline(always)]
pub fn follow_udp<K: FlowKey>(
    session: &Session<K>,
    direction: Direction,
    length: u16,
    now: Tick,
    policy: &Policy,
) -> bool {
    let replies = direction == Direction::Reply;
    let settled = match session.state() {
        State::UdpStream => session.seen_reply() & (replies | session.assured()),
        State::Udp => !(replies | session.seen_reply()),
        _ => false,
    };
    let timeouts = policy.timeouts(session.policy());
    if !settled || session.timeout_ticks() != timeouts.ticks(session.state().timeout()) {
        return false;
    }
    touch(session, direction, length, now);
    true
}

/// What a packet that passes does to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: neither state nor timer change.
    Pass,
    /// It counts as activity, and this is the state now, under a timeout of so many ticks.
    Advance { state: State, assured: bool, ticks: u32 },
    /// It starts the session anew.
    Renew { state: State, ticks: u32 },
}

impl Step {
    /// To a state with its usual timeout.
    #[inline]
    fn to(state: State, assured: bool, timeouts: &Timeouts) -> Step {
        Step::Advance { state, assured, ticks: timeouts.ticks(state.timeout()) }
    }
}

/// Takes a step, whatever the protocol. Stores only what changes.
#[inline]
fn take<K: FlowKey>(
    session: &Session<K>,
    direction: Direction,
    step: Step,
    now: Tick,
    timeouts: &Timeouts,
) -> Tracked {
    let before = (session.state(), session.seen_reply(), session.assured());
    let replies = direction == Direction::Reply;
    let seen_reply = before.1 || replies;
    let (after, ticks) = match step {
        Step::Pass => ((before.0, seen_reply, before.2), None),
        Step::Advance { state, assured, ticks } => ((state, seen_reply, before.2 || assured), Some(ticks)),
        Step::Renew { state, ticks } => ((state, replies, false), Some(ticks)),
    };
    let mut tracked =
        Tracked { changed: after != before, shortened: false, reopened: matches!(step, Step::Renew { .. }) };
    if tracked.changed {
        session.set_flags(after.1, after.2);
    }
    if let Some(ticks) = ticks {
        let ticks_before = session.timeout_ticks();
        if after.0 == before.0 && ticks == ticks_before {
            session.refresh(now);
        } else {
            session.advance(after.0, now, ticks);
            let usual = after.0 == before.0 && ticks_before <= timeouts.ticks(after.0.timeout());
            tracked.shortened = ticks < ticks_before && !(usual && ticks >= SWEPT);
        }
    }
    tracked
}

#[inline]
fn tcp_step<K: FlowKey>(
    session: &Session<K>,
    direction: Direction,
    segment: &Segment,
    policy: &Policy,
    timeouts: &Timeouts,
) -> Result<Step, DropReason> {
    let before = session.track_words();
    let mut windows = Windows::load(&before);
    let step = tcp::step(session.state(), &mut windows, direction, segment, policy.tcp)?;
    let after = windows.store();
    if after != before {
        session.set_track_words(&after);
    }
    let seen_reply = session.seen_reply() || direction == Direction::Reply;
    Ok(match step {
        tcp::Step::Passed => Step::Pass,
        tcp::Step::Advanced(state) => Step::Advance {
            state,
            assured: state == State::Established && seen_reply,
            ticks: tcp::timeout_ticks(state, &windows, seen_reply, timeouts),
        },
        tcp::Step::Renewed(state) => {
            Step::Renew { state, ticks: tcp::timeout_ticks(state, &windows, seen_reply, timeouts) }
        }
    })
}

/// UDP, and what is tracked like it: a state before the answer and one from then on.
#[inline]
fn two_way_step<K: FlowKey>(
    session: &Session<K>,
    direction: Direction,
    alone: State,
    both: State,
    timeouts: &Timeouts,
) -> Step {
    let replied = session.seen_reply();
    let state = if replied || direction == Direction::Reply { both } else { alone };
    Step::to(state, replied && direction == Direction::Original, timeouts)
}

fn sctp_step<K: FlowKey>(
    session: &Session<K>,
    direction: Direction,
    packet: &sctp::Packet<'_>,
    timeouts: &Timeouts,
) -> Result<Step, DropReason> {
    let before = session.track_words();
    let mut association = sctp::Association::load(&before);
    let step = sctp::track(&mut association, session.state(), direction, packet)?;
    let after = association.store();
    if after != before {
        session.set_track_words(&after);
    }
    Ok(if step.active { Step::to(step.state, step.assured, timeouts) } else { Step::Pass })
}

fn dccp_step<K: FlowKey>(
    session: &Session<K>,
    direction: Direction,
    kind: u8,
    timeouts: &Timeouts,
) -> Result<Step, DropReason> {
    let before = session.track_words();
    let mut connection = dccp::Connection::load(&before);
    let step = dccp::track(&mut connection, session.state(), direction, kind)?;
    let after = connection.store();
    if after != before {
        session.set_track_words(&after);
    }
    Ok(match step {
        dccp::Step::Pass => Step::Pass,
        dccp::Step::To { state, assured } => Step::to(state, assured, timeouts),
        dccp::Step::Renew(state) => Step::Renew { state, ticks: timeouts.ticks(state.timeout()) },
    })
}

/// The identifier of one query may equal the type of another, so that a request from the wrong side has the key
/// of an answer: what it is has to fit the direction.
#[inline]
fn icmp_step(direction: Direction, observed: &Observed<'_>, timeouts: &Timeouts) -> Result<Step, DropReason> {
    match (direction, observed) {
        (Direction::Original, Observed::IcmpRequest) | (Direction::Reply, Observed::IcmpReply) => {
            Ok(Step::to(State::Icmp, false, timeouts))
        }
        _ => Err(DropReason::IcmpUnsolicited),
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "tracker_protocol_tests.rs"]
mod protocol_tests;

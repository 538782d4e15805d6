//! The trackers: what a packet does to its session, by protocol.
//!
//! The pipeline calls [`open`] for the first packet of a flow, [`track`] for every packet that matched a session, and
//! [`touch`] instead for later fragments. Only the worker that owns the session may call them. ICMP errors
//! are never tracked: they neither refresh nor change a session (RFC 5508 REQ-6, RFC 5382 REQ-10).
//!
//! - A packet that is refused changes nothing: no state, timer or counter.
//! - Both directions refresh the idle timer (RFC 4787 REQ-6 demands it of the outbound one and allows it for the
//!   inbound one).
//! - **TCP**: see [`super::tcp`]. Assured once the handshake is complete.
//! - **UDP**: the answer makes it a stream with a timeout of its own; the next packet of the original direction
//!   makes it assured. A question with one answer (DNS) thus never is.
//! - **ICMP queries**: one state. Never assured.

use super::key::FlowKey;
use super::session::{Direction, Session};
use super::tcp::{self, Next, Segment};
use super::timeouts::{Timeout, Timeouts};
use crate::packet::Kind;
use crate::telemetry::DropReason;
use crate::time::Tick;

macro_rules! states {
    ($($variant:ident, $name:literal, $timeout:ident, $help:literal;)+) => {
        /// State of a session. What the TCP states mean: [`super::tcp`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum State {
            $(#[doc = $help] $variant,)+
        }

        impl State {
            /// Every state, in the order of their numbers.
            pub const ALL: &'static [State] = &[$(State::$variant),+];

            /// The name; for TCP the one that Linux uses.
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
}

impl State {
    /// Whether it is a state of a TCP connection.
    #[inline]
    pub fn is_tcp(self) -> bool {
        (self as u8) < State::Udp as u8
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
}

/// What the pipeline may have to do after a packet was tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// Nothing.
    Kept,
    /// The timeout is shorter now: tell whoever keeps timers.
    Shortened,
    /// A new connection began in the session of a finished one (RFC 6191), with the same mapping.
    Reopened,
}

/// Decides whether a packet without a session may open one, and in which state.
///
/// Later fragments never get here: their ports are unknown until the first fragment has opened the session.
pub fn open(kind: &Kind, timeouts: &Timeouts) -> Result<Opening, DropReason> {
    let state = match *kind {
        Kind::Tcp { flags } => {
            let segment = Segment::classify(flags).ok_or(DropReason::TcpInvalid)?;
            match tcp::next(Direction::Original, segment, State::None) {
                Next::To(state) => state,
                _ => return Err(DropReason::TcpNotSyn),
            }
        }
        Kind::Udp => State::Udp,
        Kind::IcmpRequest => State::Icmp,
        Kind::IcmpReply | Kind::IcmpError => return Err(DropReason::IcmpUnsolicited),
        Kind::IcmpOther(_) => return Err(DropReason::IcmpTypeUnsupported),
        Kind::Other => return Err(DropReason::ProtocolUnsupported),
    };
    Ok(Opening { state, timeout_ticks: timeouts.ticks(state.timeout()) })
}

/// Tracks a packet that matched a session: state, flags, idle timer and counters. `length` is the IPv4 total length.
///
/// An error is the reason to drop the packet. An ICMP error passes without any effect.
#[inline]
pub fn track<K: FlowKey>(
    session: &Session<K>,
    direction: Direction,
    kind: &Kind,
    length: u16,
    now: Tick,
    timeouts: &Timeouts,
) -> Result<Tracked, DropReason> {
    let replied = session.seen_reply();
    let step = match *kind {
        Kind::Tcp { flags } => tcp_step(session, direction, flags)?,
        Kind::Udp => udp_step(session, direction),
        Kind::IcmpRequest | Kind::IcmpReply => icmp_step(direction, *kind)?,
        Kind::IcmpError => return Ok(Tracked::Kept),
        Kind::IcmpOther(_) => return Err(DropReason::IcmpTypeUnsupported),
        Kind::Other => return Err(DropReason::ProtocolUnsupported),
    };
    session.count(direction, length);
    match step {
        Step::Pass => {
            session.set_flags(replied || direction == Direction::Reply, session.assured());
            Ok(Tracked::Kept)
        }
        Step::Advance { state, assured } => {
            session.set_flags(replied || direction == Direction::Reply, session.assured() || assured);
            let (before, after) = (session.timeout_ticks(), timeouts.ticks(state.timeout()));
            session.advance(state, now, after);
            Ok(if after < before { Tracked::Shortened } else { Tracked::Kept })
        }
        Step::Reopen => {
            session.set_flags(false, false);
            session.advance(State::SynSent, now, timeouts.ticks(State::SynSent.timeout()));
            Ok(Tracked::Reopened)
        }
    }
}

/// Counts a packet and refreshes the idle timer, whatever the packet is: for later fragments, which have no transport
/// header (their `Kind` is filled in from elsewhere, and their TCP flags mean nothing). State and flags stay.
#[inline]
pub fn touch<K: FlowKey>(session: &Session<K>, direction: Direction, length: u16, now: Tick) {
    session.count(direction, length);
    session.refresh(now);
}

enum Step {
    /// Passes without effect on state and timer.
    Pass,
    /// Passes and counts as activity.
    Advance { state: State, assured: bool },
    /// Starts anew.
    Reopen,
}

#[inline]
fn tcp_step<K: FlowKey>(session: &Session<K>, direction: Direction, flags: u8) -> Result<Step, DropReason> {
    let segment = Segment::classify(flags).ok_or(DropReason::TcpInvalid)?;
    Ok(match tcp::next(direction, segment, session.state()) {
        Next::To(state) => {
            // ESTABLISHED is only reached through a SYN/ACK, so by both sides.
            Step::Advance { state, assured: state == State::Established }
        }
        Next::Reopen => Step::Reopen,
        Next::Ignore => Step::Pass,
        Next::Invalid => return Err(DropReason::TcpInvalid),
    })
}

#[inline]
fn udp_step<K: FlowKey>(session: &Session<K>, direction: Direction) -> Step {
    let replied = session.seen_reply();
    let state = if replied || direction == Direction::Reply { State::UdpStream } else { State::Udp };
    Step::Advance { state, assured: replied && direction == Direction::Original }
}

/// The identifier of one query may equal the type of another, so that a request from the wrong side has the key
/// of an answer: the kind has to fit the direction.
#[inline]
fn icmp_step(direction: Direction, kind: Kind) -> Result<Step, DropReason> {
    match (direction, kind) {
        (Direction::Original, Kind::IcmpRequest) | (Direction::Reply, Kind::IcmpReply) => {
            Ok(Step::Advance { state: State::Icmp, assured: false })
        }
        _ => Err(DropReason::IcmpUnsolicited),
    }
}

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
use super::session::{Direction, Session, TrackWords};
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

    /// Whether the conversation is on its way to its end: such sessions are the second to go when room is needed.
    #[inline]
    pub fn is_closing(self) -> bool {
        matches!(self, State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close)
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
    Ok(Opening { state, timeout_ticks: timeouts.ticks(state.timeout()), track: TrackWords::default() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::key::V4Key;
    use crate::conntrack::session::NewSession;
    use crate::conntrack::table::Shard;
    use crate::ids::Realm;
    use crate::packet::Tuple;
    use crate::time::Time;
    use crate::wire::checksum::Delta;
    use crate::wire::tcp::{ACK, FIN, PSH, RST, SYN};
    use Direction::{Original, Reply};
    use std::time::Duration;

    const OPENED: Tick = Tick(1000);

    /// Opens a session with this packet and hands it to `check` with the default timeouts.
    fn with_session(kind: Kind, check: impl FnOnce(&Session<V4Key>, &Timeouts)) {
        let timeouts = Timeouts::default();
        let tuple =
            Tuple { src: [10, 0, 0, 1].into(), dst: [192, 0, 2, 1].into(), sport: 1, dport: 2, protocol: 6 };
        let (mut shard, _) = Shard::new(1, 0);
        let id = shard
            .insert(NewSession {
                original: V4Key::new(tuple, Realm::Internal, 0),
                reply: V4Key::new(tuple.inverse(), Realm::External, 0),
                opening: open(&kind, &timeouts).unwrap(),
                now: OPENED,
                length: 60,
                policy: 0,
                mark: 0,
                protected: false,
                lease: None,
                l3: Delta::ZERO,
                l4: Delta::ZERO,
            })
            .unwrap();
        check(shard.session(id), &timeouts);
    }

    fn tcp(flags: u8) -> Kind {
        Kind::Tcp { flags }
    }

    #[test]
    fn only_a_request_opens_a_session() {
        let timeouts = Timeouts::default();
        for (kind, expected) in [
            (tcp(SYN), Ok((State::SynSent, 2400))),
            (tcp(SYN | 0xc0), Ok((State::SynSent, 2400))),
            (tcp(SYN | ACK), Err(DropReason::TcpNotSyn)),
            (tcp(ACK), Err(DropReason::TcpNotSyn)),
            (tcp(FIN | ACK), Err(DropReason::TcpNotSyn)),
            (tcp(RST), Err(DropReason::TcpNotSyn)),
            (tcp(SYN | FIN), Err(DropReason::TcpInvalid)),
            (tcp(0), Err(DropReason::TcpInvalid)),
            (Kind::Udp, Ok((State::Udp, 3000))),
            (Kind::IcmpRequest, Ok((State::Icmp, 600))),
            (Kind::IcmpReply, Err(DropReason::IcmpUnsolicited)),
            (Kind::IcmpError, Err(DropReason::IcmpUnsolicited)),
            (Kind::IcmpOther(9), Err(DropReason::IcmpTypeUnsupported)),
            (Kind::Other, Err(DropReason::ProtocolUnsupported)),
        ] {
            let expected = expected.map(|(state, timeout_ticks)| Opening {
                state,
                timeout_ticks,
                track: TrackWords::default(),
            });
            assert_eq!(open(&kind, &timeouts), expected, "{kind:?}");
        }
    }

    #[test]
    fn tcp_states_flags_and_timeouts_follow_the_connection() {
        with_session(tcp(SYN), |session, timeouts| {
            let mut now = OPENED;
            for (direction, flags, outcome, state, timeout, (seen_reply, assured)) in [
                (Original, SYN, Tracked::Kept, State::SynSent, 240, (false, false)),
                (Reply, SYN | ACK, Tracked::Kept, State::SynRecv, 240, (true, false)),
                (Original, ACK, Tracked::Kept, State::Established, 432_000, (true, true)),
                (Reply, ACK | PSH, Tracked::Kept, State::Established, 432_000, (true, true)),
                (Original, FIN | ACK, Tracked::Shortened, State::FinWait, 240, (true, true)),
                (Reply, ACK, Tracked::Kept, State::CloseWait, 240, (true, true)),
                (Reply, FIN | ACK, Tracked::Kept, State::LastAck, 240, (true, true)),
                (Original, ACK, Tracked::Kept, State::TimeWait, 240, (true, true)),
                (Original, SYN, Tracked::Reopened, State::SynSent, 240, (false, false)),
                (Reply, SYN | ACK, Tracked::Kept, State::SynRecv, 240, (true, false)),
                (Original, ACK, Tracked::Kept, State::Established, 432_000, (true, true)),
                (Reply, RST, Tracked::Shortened, State::Close, 240, (true, true)),
                (Original, SYN, Tracked::Reopened, State::SynSent, 240, (false, false)),
            ] {
                now.0 += 7;
                assert_eq!(
                    track(session, direction, &tcp(flags), 40, now, timeouts),
                    Ok(outcome),
                    "{state:?}"
                );
                assert_eq!((session.state(), session.timeout_ticks()), (state, timeout * 10));
                assert_eq!((session.seen_reply(), session.assured()), (seen_reply, assured), "{state:?}");
                assert_eq!(session.last_seen(), now);
            }
            assert_eq!(session.created(), OPENED);
        });
    }

    #[test]
    fn a_syn_into_a_connection_passes_but_does_not_keep_it_alive() {
        with_session(tcp(SYN), |session, timeouts| {
            track(session, Reply, &tcp(SYN | ACK), 40, OPENED, timeouts).unwrap();
            track(session, Original, &tcp(ACK), 40, OPENED, timeouts).unwrap();
            assert_eq!(track(session, Original, &tcp(SYN), 40, Tick(2000), timeouts), Ok(Tracked::Kept));
            assert_eq!((session.state(), session.last_seen()), (State::Established, OPENED));
        });
    }

    #[test]
    fn a_refused_packet_changes_nothing() {
        with_session(tcp(SYN), |session, timeouts| {
            let before = format!("{session:?}");
            for (direction, kind, reason) in [
                (Original, tcp(SYN | FIN), DropReason::TcpInvalid),
                (Original, tcp(0), DropReason::TcpInvalid),
                (Reply, tcp(FIN | ACK), DropReason::TcpInvalid),
                (Original, Kind::IcmpReply, DropReason::IcmpUnsolicited),
                (Reply, Kind::IcmpRequest, DropReason::IcmpUnsolicited),
                (Original, Kind::IcmpOther(9), DropReason::IcmpTypeUnsupported),
                (Original, Kind::Other, DropReason::ProtocolUnsupported),
            ] {
                assert_eq!(
                    track(session, direction, &kind, 40, Tick(2000), timeouts),
                    Err(reason),
                    "{kind:?}"
                );
            }
            // Nor does an ICMP error, which passes.
            assert_eq!(track(session, Reply, &Kind::IcmpError, 56, Tick(2000), timeouts), Ok(Tracked::Kept));
            assert_eq!(format!("{session:?}"), before);
        });
    }

    #[test]
    fn udp_is_a_stream_once_answered_and_assured_once_it_goes_on() {
        with_session(Kind::Udp, |session, timeouts| {
            let mut timeouts = timeouts.clone();
            timeouts.set(Timeout::UdpStream, Duration::from_secs(120));
            for (direction, outcome, state, timeout, (seen_reply, assured)) in [
                (Original, Tracked::Kept, State::Udp, 300, (false, false)),
                (Reply, Tracked::Shortened, State::UdpStream, 120, (true, false)),
                (Reply, Tracked::Kept, State::UdpStream, 120, (true, false)),
                (Original, Tracked::Kept, State::UdpStream, 120, (true, true)),
                (Reply, Tracked::Kept, State::UdpStream, 120, (true, true)),
            ] {
                assert_eq!(track(session, direction, &Kind::Udp, 60, OPENED, &timeouts), Ok(outcome));
                assert_eq!((session.state(), session.timeout_ticks()), (state, timeout * 10));
                assert_eq!((session.seen_reply(), session.assured()), (seen_reply, assured));
            }
        });
    }

    #[test]
    fn an_icmp_query_is_never_assured() {
        with_session(Kind::IcmpRequest, |session, timeouts| {
            for (direction, kind) in
                [(Reply, Kind::IcmpReply), (Original, Kind::IcmpRequest), (Reply, Kind::IcmpReply)]
            {
                assert_eq!(track(session, direction, &kind, 84, Tick(1010), timeouts), Ok(Tracked::Kept));
            }
            assert_eq!(
                (session.state(), session.seen_reply(), session.assured()),
                (State::Icmp, true, false)
            );
            assert_eq!(session.last_seen(), Tick(1010));
        });
    }

    #[test]
    fn a_later_fragment_counts_as_activity_whatever_its_flags_would_be() {
        with_session(tcp(SYN), |session, _| {
            touch(session, Original, 1500, Tick(1234));
            assert_eq!((session.state(), session.last_seen()), (State::SynSent, Tick(1234)));
            assert!(!session.seen_reply());
        });
    }

    #[test]
    fn a_session_expires_never_early_and_at_most_one_tick_late() {
        const TICK_NANOS: u64 = 100_000_000;
        for offset in [0, 1, TICK_NANOS / 2, TICK_NANOS - 1] {
            for length in [60_000_000_000, 60_000_000_001, 60_099_999_999] {
                with_session(Kind::IcmpRequest, |session, timeouts| {
                    let mut timeouts = timeouts.clone();
                    timeouts.set(Timeout::Icmp, Duration::from_nanos(length));
                    let seen = Time::from_nanos(500 * TICK_NANOS + offset);
                    track(session, Original, &Kind::IcmpRequest, 84, seen.tick(), &timeouts).unwrap();
                    let expired_after = |idle| session.is_expired((seen + Duration::from_nanos(idle)).tick());
                    assert!(!expired_after(0));
                    assert!(!expired_after(length - 1), "early: {offset} {length}");
                    assert!(!expired_after(length), "early: {offset} {length}");
                    // The timeout itself is rounded up to a whole tick, then at most one more.
                    assert!(
                        expired_after(length.next_multiple_of(TICK_NANOS) + TICK_NANOS),
                        "late: {offset}"
                    );
                });
            }
        }
    }
}

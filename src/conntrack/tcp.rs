//! The TCP tracker: one table from direction, flags and state to the next state, and what else a segment must be.
//!
//! The gateway sits between the ends, so a state says what it has *seen*, in the words of Linux conntrack, and
//! always the state of whoever sent last. RFC 9293 figure 5 is where the states come from; RFC 5382 REQ-2 demands
//! that every valid sequence passes, simultaneous open included.
//!
//! | state | what was seen | RFC 7857 figure 1 |
//! |---|---|---|
//! | `NONE` | nothing: the state before the first packet; no session has it | CLOSED |
//! | `SYN_SENT` | a SYN | INIT |
//! | `SYN_SENT2` | a SYN from each side (simultaneous open) | INIT |
//! | `SYN_RECV` | a SYN/ACK | INIT |
//! | `ESTABLISHED` | the ACK after it | ESTABLISHED |
//! | `FIN_WAIT` | a FIN | C FIN RCV, S FIN RCV |
//! | `CLOSE_WAIT` | an ACK after it | C FIN RCV, S FIN RCV |
//! | `LAST_ACK` | another FIN (the other side's, or the same again) | C+S FIN RCV |
//! | `TIME_WAIT` | an ACK after both | C+S FIN RCV |
//! | `CLOSE` | a RST | TRANS |
//!
//! A segment is first looked up in the table. What leads on, or back to the same state, must then fit into the windows
//! ([`super::tcp_window`]); it counts as activity. What the table ignores passes as it is.
//!
//! **A SYN in a connection** passes without effect: it is a duplicate, or its sender has forgotten the connection. The
//! server's answer tells: a challenge ACK (RFC 5961 section 4), which makes the client send a RST with the exact number;
//! a RST; or, if the server has forgotten the connection too, a SYN/ACK, with which a new one begins.
//!
//! **Reopening** (RFC 6191, RFC 9293 3.6.1): once both sides are done (`LAST_ACK`, `TIME_WAIT`, `CLOSE`) a SYN in the
//! original direction starts a new connection in the same session, with the same mapping. Whether its
//! sequence number or timestamp is acceptable is for the server to judge, which knows; a server that
//! refuses answers with an ACK or RST, and both pass. A SYN with the number of the connection's own is a duplicate and
//! reopens nothing, unless a server that accepts it says otherwise.
//!
//! **RST** (RFC 5961 section 3.2): with a number below the one that its receiver waits for, or beyond the window, it is
//! dropped, as the receiver would. With the exact number it leads to `CLOSE`. In between it passes, and an open
//! connection stays open: the receiver answers with a challenge, and the sender, if it meant it, with the exact number.
//! A RST before the handshake is complete must acknowledge the SYN.
//!
//! **`CLOSE`** is left after four minutes (RFC 7857 section 2.2), or, if an open connection was reset and the side that
//! did so goes on as if nothing had happened, back to `ESTABLISHED`: somebody else sent the RST, and the other end did not
//! believe it. Going on means new data, or an acknowledgement of new data: an old segment that the RST overtook is
//! neither. Even after a forged RST *and* SYN the real client's segments still pass (an ACK in `SYN_SENT` is ignored, not
//! refused), though only for the four minutes of that state.

use super::policy::TcpOptions;
use super::session::Direction;
use super::tcp_segment::{Segment, SegmentKind};
use super::tcp_window::{Fit, ResetFit, Windows};
use super::timeouts::{Timeout, Timeouts};
use super::tracker::State;
use crate::telemetry::DropReason;

/// What a segment does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It passes, and the connection is in this state now.
    To(State),
    /// It passes, and if with it each side has acknowledged the other's SYN, a simultaneous open is complete and the
    /// connection `ESTABLISHED`. If not, it is one that was sent again.
    Complete,
    /// It passes and starts a new connection in place of the finished one.
    Reopen,
    /// It passes without effect on state and timer: the receiver may be out of step with what was seen here, and
    /// its answer will tell (RFC 5961 challenge ACKs depend on it).
    Ignore,
    /// It can not be; it is dropped.
    Invalid,
}

/// What a segment does in a state. States of other protocols: invalid.
#[inline]
pub fn next(direction: Direction, segment: SegmentKind, state: State) -> Next {
    let [original, reply] = &TABLE;
    let rows = match direction {
        Direction::Original => original,
        Direction::Reply => reply,
    };
    rows.get(segment as usize).and_then(|row| row.get(state as usize)).copied().unwrap_or(Next::Invalid)
}

/// Number of TCP states; they come first in [`State`].
const STATES: usize = 10;

const S1: Next = Next::To(State::SynSent);
const S2: Next = Next::To(State::SynSent2);
const SR: Next = Next::To(State::SynRecv);
const ES: Next = Next::To(State::Established);
const FW: Next = Next::To(State::FinWait);
const CW: Next = Next::To(State::CloseWait);
const LA: Next = Next::To(State::LastAck);
const TW: Next = Next::To(State::TimeWait);
const CL: Next = Next::To(State::Close);
const CO: Next = Next::Complete;
const RE: Next = Next::Reopen;
const IG: Next = Next::Ignore;
const XX: Next = Next::Invalid;

#[rustfmt::skip]
const TABLE: [[[Next; STATES]; SegmentKind::ALL.len()]; 2] = [
    // Original direction.
    [
        //             NONE  SYN_SENT  SYN_RECV  ESTAB  FIN_WAIT  CLOSE_WAIT  LAST_ACK  TIME_WAIT  CLOSE  SYN_SENT2
        /* SYN     */ [S1,   S1,       IG,       IG,    IG,       IG,         RE,       RE,        RE,    S2],
        /* SYN/ACK */ [XX,   XX,       CO,       IG,    IG,       IG,         IG,       IG,        IG,    SR],
        /* FIN     */ [XX,   IG,       FW,       FW,    LA,       LA,         LA,       TW,        CL,    IG],
        /* ACK     */ [XX,   IG,       ES,       ES,    CW,       CW,         TW,       TW,        CL,    IG],
        /* RST     */ [XX,   CL,       CL,       CL,    CL,       CL,         CL,       CL,        CL,    CL],
    ],
    // Reply direction. A server that opens a connection of its own (SYN) does so under another session; only in a
    // simultaneous open its SYN may come again.
    [
        //             NONE  SYN_SENT  SYN_RECV  ESTAB  FIN_WAIT  CLOSE_WAIT  LAST_ACK  TIME_WAIT  CLOSE  SYN_SENT2
        /* SYN     */ [XX,   S2,       IG,       XX,    XX,       XX,         XX,       XX,        XX,    S2],
        /* SYN/ACK */ [XX,   SR,       CO,       IG,    IG,       IG,         IG,       IG,        IG,    SR],
        /* FIN     */ [XX,   IG,       FW,       FW,    LA,       LA,         LA,       TW,        CL,    IG],
        /* ACK     */ [XX,   IG,       CO,       ES,    CW,       CW,         TW,       TW,        CL,    IG],
        /* RST     */ [XX,   CL,       CL,       CL,    CL,       CL,         CL,       CL,        CL,    CL],
    ],
];

/// What a segment that passes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Passed,
    /// The connection is in this state, and was active.
    Advanced(State),
    /// A new connection began in place of the one before, in this state.
    Renewed(State),
}

/// The first segment of a connection: the state that it begins with.
pub(super) fn open(segment: &Segment, options: TcpOptions) -> Result<(State, Windows), DropReason> {
    match next(Direction::Original, segment.kind, State::None) {
        Next::To(state) => Ok((state, Windows::opened_by(segment))),
        _ if options.loose && segment.kind == SegmentKind::Ack => {
            Ok((State::Established, Windows::picked_up(segment)))
        }
        _ => Err(DropReason::TcpNotSyn),
    }
}

/// A segment of a connection. On an error `windows` may be anything.
#[inline]
pub(super) fn step(
    state: State,
    windows: &mut Windows,
    direction: Direction,
    segment: &Segment,
    options: TcpOptions,
) -> Result<Step, DropReason> {
    let next = next(direction, segment.kind, state);
    match segment.kind {
        _ if next == Next::Invalid => Err(DropReason::TcpInvalid),
        SegmentKind::Ack | SegmentKind::Fin => {
            let to = match next {
                Next::To(to) => to,
                Next::Complete if windows.has_acknowledged(direction.reverse()) => State::Established,
                Next::Complete => state,
                _ => return Ok(Step::Passed),
            };
            exchange(state, to, windows, direction, segment, options)
        }
        SegmentKind::Syn => Ok(syn(next, windows, direction, segment)),
        SegmentKind::SynAck => Ok(syn_ack(next, windows, direction, segment)),
        SegmentKind::Rst => reset(state, windows, direction, segment),
    }
}

/// Data, acknowledgements, FINs.
#[inline]
fn exchange(
    state: State,
    to: State,
    windows: &mut Windows,
    direction: Direction,
    segment: &Segment,
    options: TcpOptions,
) -> Result<Step, DropReason> {
    let liberally = options.be_liberal || windows.is_liberal();
    if !liberally {
        if !windows.both_seen() {
            // Refused before it began: there is nothing to compare with.
            return Ok(Step::Passed);
        }
        match windows.fit(direction, segment) {
            Fit::Inside => {}
            Fit::Old | Fit::Beyond => {
                windows.overrun(direction, segment);
                return Ok(Step::Passed);
            }
            Fit::Outside => return Err(DropReason::TcpOutOfWindow),
        }
    }
    let to = match state {
        State::SynRecv if direction == Direction::Original => {
            windows.confirm_syn();
            to
        }
        State::Close if windows.has_reset(direction) && windows.is_progress(direction, segment) => {
            windows.forget_reset();
            if segment.kind == SegmentKind::Fin { State::FinWait } else { State::Established }
        }
        _ => to,
    };
    windows.accept(direction, segment, liberally);
    Ok(Step::Advanced(to))
}

// This and the next two: a few times a connection, so they stay out of the way of the data.
#[inline(never)]
fn syn(next: Next, windows: &mut Windows, direction: Direction, segment: &Segment) -> Step {
    match (next, direction) {
        // The SYN of this very connection again. As a rule it is a duplicate; else a new SYN/ACK will tell.
        (Next::Reopen, _) if windows.is_own_syn(segment) => Step::Passed,
        (Next::Reopen, _) => {
            *windows = Windows::opened_by(segment);
            Step::Renewed(State::SynSent)
        }
        (Next::To(state), Direction::Original) => {
            windows.syn_again(segment);
            Step::Advanced(state)
        }
        (Next::To(state), Direction::Reply) => {
            windows.answer(direction, segment);
            Step::Advanced(state)
        }
        (_, Direction::Original) => {
            windows.note_syn(segment);
            Step::Passed
        }
        (_, Direction::Reply) => Step::Passed,
    }
}

#[inline(never)]
fn syn_ack(next: Next, windows: &mut Windows, direction: Direction, segment: &Segment) -> Step {
    let again = next == Next::Ignore && windows.answers_own_syn_again(segment);
    if direction == Direction::Reply && (windows.is_of_pending_syn(segment.ack) || again) {
        windows.renew(segment);
        return Step::Renewed(State::SynRecv);
    }
    let complete = windows.has_acknowledged(direction.reverse());
    match next {
        Next::To(_) | Next::Complete if !windows.answers_syn(direction, segment) => Step::Passed,
        Next::To(state) => {
            windows.answer(direction, segment);
            Step::Advanced(state)
        }
        Next::Complete => {
            windows.answer(direction, segment);
            if complete { Step::Advanced(State::Established) } else { Step::Passed }
        }
        _ => {
            windows.answer_again(direction, segment);
            Step::Passed
        }
    }
}

#[inline(never)]
fn reset(
    state: State,
    windows: &mut Windows,
    direction: Direction,
    segment: &Segment,
) -> Result<Step, DropReason> {
    const CLOSED: Result<Step, DropReason> = Ok(Step::Advanced(State::Close));
    let invalid = Err(DropReason::TcpRstInvalid);
    let from_server = direction == Direction::Reply && segment.has_ack();
    match state {
        State::SynSent2 => {
            let refuses = segment.has_ack() && windows.is_all_of(direction.reverse(), segment.ack);
            if refuses || windows.is_all_of(direction, segment.seq) { CLOSED } else { invalid }
        }
        State::SynSent | State::SynRecv if from_server && windows.is_of_syn(segment.ack) => CLOSED,
        _ if state == State::SynSent || !(windows.both_seen() || windows.is_liberal()) => match direction {
            Direction::Reply if from_server && windows.is_of_syn(segment.ack) => CLOSED,
            Direction::Reply => invalid,
            Direction::Original if windows.is_of_syn(segment.seq) => CLOSED,
            // The answer to a challenge ACK: the server is in an old connection (RFC 9293 figure 9).
            Direction::Original => Ok(Step::Passed),
        },
        // A server that has forgotten the connection refuses to open another.
        _ if from_server && windows.is_of_pending_syn(segment.ack) => CLOSED,
        _ => {
            let open = matches!(state, State::SynRecv | State::Established);
            match windows.reset_fit(direction, segment) {
                ResetFit::Outside => invalid,
                ResetFit::Inside if open => Ok(Step::Passed),
                ResetFit::Inside => CLOSED,
                ResetFit::Exact => {
                    if open {
                        windows.note_reset(direction);
                    }
                    CLOSED
                }
            }
        }
    }
}

/// The idle timeout of a connection, in ticks: that of its state, unless something is wrong with it.
#[inline]
pub(super) fn timeout_ticks(state: State, windows: &Windows, seen_reply: bool, timeouts: &Timeouts) -> u32 {
    let usual = timeouts.ticks(state.timeout());
    let limit = if windows.is_stuck() {
        Timeout::TcpMaxRetrans
    } else if windows.is_unacknowledged() || (state == State::Established && !seen_reply) {
        // The latter: picked up in the middle, and perhaps nobody is there.
        Timeout::TcpUnacknowledged
    } else {
        return usual;
    };
    usual.min(timeouts.ticks(limit))
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;

//! The TCP tracker: one table from direction, flags and state to the next state.
//!
//! The gateway sits between the ends, so a state says what it has *seen*, in the words of Linux conntrack, and
//! always the state of whoever sent last. RFC 9293 figure 5 is where the states come from; RFC 5382 REQ-2 demands
//! that every valid sequence passes, simultaneous open included.
//!
//! | state | what was seen |
//! |---|---|
//! | `NONE` | nothing: the state before the first packet; no session has it |
//! | `SYN_SENT` | a SYN |
//! | `SYN_SENT2` | a SYN from each side (simultaneous open) |
//! | `SYN_RECV` | a SYN/ACK |
//! | `ESTABLISHED` | the ACK after it |
//! | `FIN_WAIT` | a FIN |
//! | `CLOSE_WAIT` | an ACK after it |
//! | `LAST_ACK` | another FIN (the other side's, or the same again) |
//! | `TIME_WAIT` | an ACK after both |
//! | `CLOSE` | a RST |
//!
//! **Reopening** (RFC 6191, RFC 9293 3.6.1): once both sides are done (`LAST_ACK`, `TIME_WAIT`, `CLOSE`) a SYN in the
//! original direction starts a new connection in the same session, with the same mapping. Whether its
//! sequence number or timestamp is acceptable is for the server to judge, which knows; a server that
//! refuses answers with an ACK or RST, and both pass.
//!
//! **RST** leads to `CLOSE`, and the session stays for four minutes (RFC 7857 2.2): a spoofed one cuts nothing off while
//! the ends keep talking. Even after a spoofed RST *and* SYN the real client's segments still pass (an ACK in
//! `SYN_SENT` is ignored, not refused), though only for the four minutes of that state: sequence numbers are not
//! looked at here.

use super::session::Direction;
use super::tracker::State;
use crate::wire::tcp::{ACK, FIN, RST, SYN};

/// What matters of a segment's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Segment {
    /// Opens a connection.
    Syn,
    /// Accepts one.
    SynAck,
    /// Ends one direction; always with ACK (RFC 9293 3.5).
    Fin,
    /// Data or acknowledgement.
    Ack,
    /// Aborts.
    Rst,
}

impl Segment {
    /// Every class, in the order of the table's rows.
    pub const ALL: &'static [Segment] =
        &[Segment::Syn, Segment::SynAck, Segment::Fin, Segment::Ack, Segment::Rst];

    /// The class of a segment with these flags, or `None` if no TCP sends such a one: SYN with FIN or RST, FIN with
    /// RST, FIN without ACK, none at all. PSH, URG, ECE and CWR do not matter.
    #[inline]
    pub fn classify(flags: u8) -> Option<Segment> {
        const SYN_ACK: u8 = SYN | ACK;
        const FIN_ACK: u8 = FIN | ACK;
        const RST_ACK: u8 = RST | ACK;
        match flags & (SYN | FIN | RST | ACK) {
            SYN => Some(Segment::Syn),
            SYN_ACK => Some(Segment::SynAck),
            FIN_ACK => Some(Segment::Fin),
            ACK => Some(Segment::Ack),
            RST | RST_ACK => Some(Segment::Rst),
            _ => None,
        }
    }
}

/// What a segment does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It passes, and the connection is in this state now.
    To(State),
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
pub fn next(direction: Direction, segment: Segment, state: State) -> Next {
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
const RE: Next = Next::Reopen;
const IG: Next = Next::Ignore;
const XX: Next = Next::Invalid;

#[rustfmt::skip]
const TABLE: [[[Next; STATES]; Segment::ALL.len()]; 2] = [
    // Original direction.
    [
        //             NONE  SYN_SENT  SYN_RECV  ESTAB  FIN_WAIT  CLOSE_WAIT  LAST_ACK  TIME_WAIT  CLOSE  SYN_SENT2
        /* SYN     */ [S1,   S1,       IG,       IG,    IG,       IG,         RE,       RE,        RE,    S2],
        /* SYN/ACK */ [XX,   XX,       IG,       IG,    IG,       IG,         IG,       IG,        IG,    SR],
        /* FIN     */ [XX,   IG,       FW,       FW,    LA,       LA,         LA,       TW,        CL,    IG],
        /* ACK     */ [XX,   IG,       ES,       ES,    CW,       CW,         TW,       TW,        CL,    IG],
        /* RST     */ [XX,   CL,       CL,       CL,    CL,       CL,         CL,       CL,        CL,    CL],
    ],
    // Reply direction. A server that opens a connection of its own (SYN) does so under another session.
    [
        //             NONE  SYN_SENT  SYN_RECV  ESTAB  FIN_WAIT  CLOSE_WAIT  LAST_ACK  TIME_WAIT  CLOSE  SYN_SENT2
        /* SYN     */ [XX,   S2,       XX,       XX,    XX,       XX,         XX,       XX,        XX,    S2],
        /* SYN/ACK */ [XX,   SR,       IG,       IG,    IG,       IG,         IG,       IG,        IG,    SR],
        /* FIN     */ [XX,   XX,       FW,       FW,    LA,       LA,         LA,       TW,        CL,    XX],
        /* ACK     */ [XX,   IG,       SR,       ES,    CW,       CW,         TW,       TW,        CL,    IG],
        /* RST     */ [XX,   CL,       CL,       CL,    CL,       CL,         CL,       CL,        CL,    CL],
    ],
];

#[cfg(test)]
mod tests {
    use super::Next::{Ignore, Invalid, Reopen, To};
    use super::Segment::{Ack, Fin, Rst, Syn, SynAck};
    use super::*;
    use crate::conntrack::session::Direction::{Original, Reply};
    use crate::wire::tcp::{PSH, URG};

    /// A segment and what it does in the original and in the reply direction.
    type Arrow = (Segment, Next, Next);

    /// Every arrow, written down a second time, by state: what the original and the reply direction do in it.
    #[rustfmt::skip]
    const ARROWS: &[(State, [Arrow; 5])] = &[
        (State::None, [
            (Syn,    To(State::SynSent),     Invalid),
            (SynAck, Invalid,                Invalid),
            (Fin,    Invalid,                Invalid),
            (Ack,    Invalid,                Invalid),
            (Rst,    Invalid,                Invalid),
        ]),
        (State::SynSent, [
            (Syn,    To(State::SynSent),     To(State::SynSent2)),
            (SynAck, Invalid,                To(State::SynRecv)),
            (Fin,    Ignore,                 Invalid),
            (Ack,    Ignore,                 Ignore),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
        (State::SynSent2, [
            (Syn,    To(State::SynSent2),    To(State::SynSent2)),
            (SynAck, To(State::SynRecv),     To(State::SynRecv)),
            (Fin,    Ignore,                 Invalid),
            (Ack,    Ignore,                 Ignore),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
        (State::SynRecv, [
            (Syn,    Ignore,                 Invalid),
            (SynAck, Ignore,                 Ignore),
            (Fin,    To(State::FinWait),     To(State::FinWait)),
            (Ack,    To(State::Established), To(State::SynRecv)),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
        (State::Established, [
            (Syn,    Ignore,                 Invalid),
            (SynAck, Ignore,                 Ignore),
            (Fin,    To(State::FinWait),     To(State::FinWait)),
            (Ack,    To(State::Established), To(State::Established)),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
        (State::FinWait, [
            (Syn,    Ignore,                 Invalid),
            (SynAck, Ignore,                 Ignore),
            (Fin,    To(State::LastAck),     To(State::LastAck)),
            (Ack,    To(State::CloseWait),   To(State::CloseWait)),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
        (State::CloseWait, [
            (Syn,    Ignore,                 Invalid),
            (SynAck, Ignore,                 Ignore),
            (Fin,    To(State::LastAck),     To(State::LastAck)),
            (Ack,    To(State::CloseWait),   To(State::CloseWait)),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
        (State::LastAck, [
            (Syn,    Reopen,                 Invalid),
            (SynAck, Ignore,                 Ignore),
            (Fin,    To(State::LastAck),     To(State::LastAck)),
            (Ack,    To(State::TimeWait),    To(State::TimeWait)),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
        (State::TimeWait, [
            (Syn,    Reopen,                 Invalid),
            (SynAck, Ignore,                 Ignore),
            (Fin,    To(State::TimeWait),    To(State::TimeWait)),
            (Ack,    To(State::TimeWait),    To(State::TimeWait)),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
        (State::Close, [
            (Syn,    Reopen,                 Invalid),
            (SynAck, Ignore,                 Ignore),
            (Fin,    To(State::Close),       To(State::Close)),
            (Ack,    To(State::Close),       To(State::Close)),
            (Rst,    To(State::Close),       To(State::Close)),
        ]),
    ];

    #[test]
    fn every_arrow_of_the_table_leads_where_it_should() {
        assert_eq!(ARROWS.len(), STATES);
        for (state, rows) in ARROWS {
            for (row, (segment, original, reply)) in rows.iter().enumerate() {
                assert_eq!(Segment::ALL[row], *segment);
                assert_eq!(*segment as usize, row);
                assert_eq!(next(Original, *segment, *state), *original, "original {segment:?} in {state:?}");
                assert_eq!(next(Reply, *segment, *state), *reply, "reply {segment:?} in {state:?}");
            }
        }
    }

    #[test]
    fn tcp_states_come_first() {
        for (number, state) in State::ALL.iter().enumerate() {
            assert_eq!(*state as usize, number);
            assert_eq!(state.is_tcp(), number < STATES);
        }
        assert_eq!(next(Original, Syn, State::Udp), Invalid);
    }

    #[test]
    fn impossible_flags_are_told_from_possible_ones() {
        for flags in 0..=u8::MAX {
            let class = Segment::classify(flags);
            let (syn, fin, rst, ack) =
                (flags & SYN != 0, flags & FIN != 0, flags & RST != 0, flags & ACK != 0);
            let impossible =
                (syn && (fin || rst)) || (fin && rst) || (fin && !ack) || !(syn || fin || rst || ack);
            assert_eq!(class.is_none(), impossible, "{flags:#04x}");
        }
        for (flags, class) in [
            (SYN, Some(Syn)),
            (SYN | ACK, Some(SynAck)),
            (FIN | ACK, Some(Fin)),
            (ACK | PSH | URG, Some(Ack)),
            (RST, Some(Rst)),
            (RST | ACK, Some(Rst)),
            // ECN set-up (RFC 3168 6.1.1): ECE and CWR on the SYN.
            (SYN | 0xc0, Some(Syn)),
            (FIN, None),
            (PSH | URG | FIN, None),
            (0, None),
        ] {
            assert_eq!(Segment::classify(flags), class, "{flags:#04x}");
        }
    }

    /// Walks a connection through the table. A step that does not change the state stays where it is.
    fn walk(steps: &[(Direction, Segment)]) -> State {
        steps.iter().fold(State::None, |state, (direction, segment)| {
            match next(*direction, *segment, state) {
                To(state) => state,
                Reopen => State::SynSent,
                Ignore => state,
                Invalid => panic!("{direction:?} {segment:?} in {state:?}"),
            }
        })
    }

    const HANDSHAKE: [(Direction, Segment); 3] = [(Original, Syn), (Reply, SynAck), (Original, Ack)];

    #[test]
    fn connections_of_every_shape_pass() {
        let after_handshake = |rest: &[(Direction, Segment)]| walk(&[&HANDSHAKE, rest].concat());
        assert_eq!(after_handshake(&[]), State::Established);
        // The client closes first, the server closes first, both at once.
        assert_eq!(
            after_handshake(&[(Original, Fin), (Reply, Ack), (Reply, Fin), (Original, Ack)]),
            State::TimeWait
        );
        assert_eq!(
            after_handshake(&[(Reply, Fin), (Original, Ack), (Original, Fin), (Reply, Ack)]),
            State::TimeWait
        );
        assert_eq!(
            after_handshake(&[(Original, Fin), (Reply, Fin), (Original, Ack), (Reply, Ack)]),
            State::TimeWait
        );
        // Half-closed: data goes on in the other direction.
        assert_eq!(
            after_handshake(&[(Original, Fin), (Reply, Ack), (Reply, Ack), (Original, Ack)]),
            State::CloseWait
        );
        // Lost packets: SYN, SYN/ACK and FIN come again.
        assert_eq!(
            walk(&[
                (Original, Syn),
                (Original, Syn),
                (Reply, SynAck),
                (Original, Syn),
                (Reply, SynAck),
                (Original, Ack)
            ]),
            State::Established
        );
        // RFC 9293 figure 7: simultaneous open.
        assert_eq!(
            walk(&[(Original, Syn), (Reply, Syn), (Original, SynAck), (Reply, SynAck), (Original, Ack)]),
            State::Established
        );
        assert_eq!(
            walk(&[
                (Original, Syn),
                (Reply, Syn),
                (Reply, SynAck),
                (Original, SynAck),
                (Reply, Ack),
                (Original, Ack)
            ]),
            State::Established
        );
        // Refused.
        assert_eq!(walk(&[(Original, Syn), (Reply, Rst)]), State::Close);
    }

    #[test]
    fn a_host_that_rebooted_gets_through_the_half_open_connection_it_left() {
        // RFC 9293 figure 9: SYN into an established connection, challenge ACK, RST, SYN again.
        let steps = [
            (Original, Syn),
            (Reply, Ack),
            (Original, Rst),
            (Original, Syn),
            (Reply, SynAck),
            (Original, Ack),
        ];
        assert_eq!(walk(&[&HANDSHAKE[..], &steps].concat()), State::Established);
    }
}

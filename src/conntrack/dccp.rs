//! The DCCP tracker: one table from role, packet type and state to the next state.
//!
//! States, table and timeouts are those of Linux; a state says what was *seen*. RFC 4340 section 8 is where they come
//! from. Sequence numbers are not looked at.
//!
//! | state | what was seen |
//! |---|---|
//! | `NONE` | nothing: the state before the first packet; no session has it |
//! | `REQUEST` | the client's Request |
//! | `RESPOND` | the server's Response |
//! | `PARTOPEN` | the client's Ack of it |
//! | `OPEN` | anything else of the server |
//! | `CLOSEREQ` | the server's CloseReq |
//! | `CLOSING` | a Close |
//! | `TIMEWAIT` | a Reset |
//!
//! **Roles**: which direction is the client's. It is the original one, unless after the end (`TIMEWAIT`) the other side
//! opens the connection again. The tracker may be out of step with the ends: a Request in the middle of a connection
//! passes without effect, and if the other side answers with a Response, the connection begins anew with the roles that
//! this shows.
//!
//! Where this differs from Linux: only a Request opens a connection (`nf_conntrack_dccp_loose` as if 0); what is plainly
//! meant in Linux and done differently by an oversight: a client may repeat its Close, and a server's Reset does not keep a
//! finished connection alive.

use super::session::{Direction, TrackWords};
use super::tracker::State;
use crate::telemetry::DropReason;
use crate::wire::dccp;

/// A DCCP packet type (RFC 4340 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Packet {
    /// Opens a connection.
    Request = dccp::REQUEST,
    /// Accepts it.
    Response = dccp::RESPONSE,
    /// Data.
    Data = dccp::DATA,
    /// Acknowledgement.
    Ack = dccp::ACK,
    /// Both.
    DataAck = dccp::DATA_ACK,
    /// The server wants the client to close.
    CloseReq = dccp::CLOSE_REQ,
    /// Closes.
    Close = dccp::CLOSE,
    /// The end.
    Reset = dccp::RESET,
    /// Asks where the sequence numbers are.
    Sync = dccp::SYNC,
    /// Answers a Sync.
    SyncAck = dccp::SYNC_ACK,
}

impl Packet {
    /// Every type, in the order of their numbers and of the table's rows.
    pub const ALL: &'static [Packet] = &[
        Packet::Request,
        Packet::Response,
        Packet::Data,
        Packet::Ack,
        Packet::DataAck,
        Packet::CloseReq,
        Packet::Close,
        Packet::Reset,
        Packet::Sync,
        Packet::SyncAck,
    ];

    /// The type with this number; `None` for a reserved one.
    #[inline]
    pub fn from_number(number: u8) -> Option<Packet> {
        Packet::ALL.get(usize::from(number)).copied()
    }
}

/// Who sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Who opened the connection.
    Client,
    /// The other end.
    Server,
}

/// What is known of a connection beside its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The direction of the client's packets.
    pub client: Direction,
    /// The direction of the last packet, if that was a Request.
    pub requested: Option<Direction>,
}

impl Connection {
    /// From the words of a session.
    pub(super) fn load(track: &TrackWords) -> Connection {
        let direction =
            |reply: u16| if track.flags & reply != 0 { Direction::Reply } else { Direction::Original };
        Connection {
            client: direction(CLIENT_REPLY),
            requested: (track.flags & REQUESTED != 0).then(|| direction(REQUESTED_REPLY)),
        }
    }

    /// The words that a session keeps.
    pub(super) fn store(&self) -> TrackWords {
        let client = if self.client == Direction::Reply { CLIENT_REPLY } else { 0 };
        let requested = match self.requested {
            Some(Direction::Original) => REQUESTED,
            Some(Direction::Reply) => REQUESTED | REQUESTED_REPLY,
            None => 0,
        };
        TrackWords { flags: client | requested, ..TrackWords::default() }
    }

    /// The role of whoever sends packets of this direction.
    #[inline]
    pub fn role(&self, direction: Direction) -> Role {
        if direction == self.client { Role::Client } else { Role::Server }
    }
}

// Bits of the flags that a session keeps.
const CLIENT_REPLY: u16 = 1;
const REQUESTED: u16 = 2;
const REQUESTED_REPLY: u16 = 4;

/// What a packet does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It passes without effect on state and timer.
    Pass,
    /// It passes and counts as activity.
    To {
        /// The state after it.
        state: State,
        /// Whether the connection has proved to be a real one.
        assured: bool,
    },
    /// It begins a new connection after the end of the one before, in this state.
    Renew(State),
}

/// Decides whether a packet without a session may open one, in which state, and what is known then.
///
/// # Errors
/// [`DropReason::DccpInvalid`] for a reserved type; [`DropReason::DccpNotRequest`].
pub fn open(kind: u8) -> Result<(State, Connection), DropReason> {
    let packet = Packet::from_number(kind).ok_or(DropReason::DccpInvalid)?;
    match next(Role::Client, packet, State::None) {
        Next::To(state) => {
            let client = Direction::Original;
            Ok((state, Connection { client, requested: Some(client) }))
        }
        _ => Err(DropReason::DccpNotRequest),
    }
}

/// Tracks a packet of type `kind` of a connection in `state`.
///
/// # Errors
/// [`DropReason::DccpInvalid`]; the connection is then as it was.
pub fn track(
    connection: &mut Connection,
    state: State,
    direction: Direction,
    kind: u8,
) -> Result<Step, DropReason> {
    let packet = Packet::from_number(kind).ok_or(DropReason::DccpInvalid)?;
    let answers = connection.requested == Some(direction.reverse());
    let step = match next(connection.role(direction), packet, state) {
        Next::To(next) if state == State::DccpTimewait && next == State::DccpRequest => {
            connection.client = direction;
            Step::Renew(next)
        }
        Next::To(next) => {
            // The Ack of a Response: both ends have spoken.
            let assured = state == State::DccpRespond && next == State::DccpPartopen;
            Step::To { state: next, assured }
        }
        Next::Ignore if packet == Packet::Response && answers => {
            connection.client = direction.reverse();
            Step::To { state: State::DccpRespond, assured: false }
        }
        Next::Ignore => Step::Pass,
        Next::Invalid => return Err(DropReason::DccpInvalid),
    };
    connection.requested = (packet == Packet::Request).then_some(direction);
    Ok(step)
}

/// What a packet does to a connection by the table alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It passes, and the connection is in this state now.
    To(State),
    /// It passes without effect: the ends may know more than what was seen here.
    Ignore,
    /// It can not be; it is dropped.
    Invalid,
}

/// What a packet does in a state. States of other protocols: invalid.
#[inline]
pub fn next(role: Role, packet: Packet, state: State) -> Next {
    let column = match state {
        State::None => 0,
        State::DccpRequest => 1,
        State::DccpRespond => 2,
        State::DccpPartopen => 3,
        State::DccpOpen => 4,
        State::DccpClosereq => 5,
        State::DccpClosing => 6,
        State::DccpTimewait => 7,
        _ => return Next::Invalid,
    };
    let [client, server] = &TABLE;
    let rows = match role {
        Role::Client => client,
        Role::Server => server,
    };
    rows.get(packet as usize).and_then(|row| row.get(column)).copied().unwrap_or(Next::Invalid)
}

const RQ: Next = Next::To(State::DccpRequest);
const RS: Next = Next::To(State::DccpRespond);
const PO: Next = Next::To(State::DccpPartopen);
const OP: Next = Next::To(State::DccpOpen);
const CR: Next = Next::To(State::DccpClosereq);
const CG: Next = Next::To(State::DccpClosing);
const TW: Next = Next::To(State::DccpTimewait);
const IG: Next = Next::Ignore;
const XX: Next = Next::Invalid;

#[rustfmt::skip]
const TABLE: [[[Next; 8]; Packet::ALL.len()]; 2] = [
    // The client's packets.
    [
        //              NONE REQUEST RESPOND PARTOPEN OPEN CLOSEREQ CLOSING TIMEWAIT
        /* Request  */ [RQ,  RQ,     RS,     IG,      IG,  IG,      IG,     RQ],
        /* Response */ [XX,  IG,     IG,     IG,      IG,  IG,      IG,     XX],
        // While PARTOPEN a client sends no data without an Ack (8.1.5).
        /* Data     */ [XX,  XX,     XX,     XX,      OP,  CR,      CG,     XX],
        /* Ack      */ [XX,  XX,     PO,     PO,      OP,  CR,      CG,     XX],
        /* DataAck  */ [XX,  XX,     PO,     PO,      OP,  CR,      CG,     XX],
        // Only servers send it (8.3).
        /* CloseReq */ [XX,  XX,     XX,     XX,      XX,  XX,      XX,     XX],
        /* Close    */ [XX,  XX,     XX,     CG,      CG,  CG,      CG,     XX],
        /* Reset    */ [XX,  TW,     TW,     TW,      TW,  TW,      TW,     IG],
        /* Sync     */ [XX,  IG,     IG,     IG,      IG,  IG,      IG,     IG],
        /* SyncAck  */ [XX,  IG,     IG,     IG,      IG,  IG,      IG,     IG],
    ],
    // The server's packets.
    [
        //              NONE REQUEST RESPOND PARTOPEN OPEN CLOSEREQ CLOSING TIMEWAIT
        // After the end it may be the one who opens: it is the client then.
        /* Request  */ [XX,  IG,     IG,     IG,      IG,  IG,      IG,     RQ],
        /* Response */ [XX,  RS,     RS,     IG,      IG,  IG,      IG,     XX],
        /* Data     */ [XX,  XX,     XX,     OP,      OP,  XX,      CG,     XX],
        /* Ack      */ [XX,  XX,     XX,     OP,      OP,  XX,      CG,     XX],
        /* DataAck  */ [XX,  XX,     XX,     OP,      OP,  XX,      CG,     XX],
        /* CloseReq */ [XX,  XX,     XX,     CR,      CR,  CR,      CR,     XX],
        /* Close    */ [XX,  XX,     XX,     CG,      CG,  XX,      CG,     XX],
        /* Reset    */ [XX,  TW,     TW,     TW,      TW,  TW,      TW,     IG],
        /* Sync     */ [XX,  IG,     IG,     IG,      IG,  IG,      IG,     IG],
        /* SyncAck  */ [XX,  IG,     IG,     IG,      IG,  IG,      IG,     IG],
    ],
];

#[cfg(test)]
#[path = "dccp_tests.rs"]
mod tests;

//! The SCTP tracker: one table from direction, chunk and state to the next state, and the check of verification tags.
//!
//! States, table and timeouts are those of Linux (6.2 and later). As for TCP, a state says what was *seen*:
//!
//! | state | what was seen |
//! |---|---|
//! | `NONE` | nothing: the state before the first packet; no session has it |
//! | `CLOSED` | an INIT of the original direction, or the end of the association |
//! | `COOKIE_WAIT` | the INIT ACK |
//! | `COOKIE_ECHOED` | the COOKIE ECHO |
//! | `ESTABLISHED` | the COOKIE ACK, or a HEARTBEAT ACK where only HEARTBEATs had been seen |
//! | `SHUTDOWN_SENT` | a SHUTDOWN of the original direction |
//! | `SHUTDOWN_RECD` | a SHUTDOWN of the reply direction |
//! | `SHUTDOWN_ACK_SENT` | the SHUTDOWN ACK |
//! | `HEARTBEAT_SENT` | a HEARTBEAT, and nothing before it: another path of an association, or one that was forgotten here |
//!
//! A packet carries several chunks. All of them are walked, in order, and each moves the state; a packet is refused as
//! a whole, and then has moved nothing.
//!
//! **Verification tags** (RFC 9260 8.5): each end chooses the tag of the packets that it receives and tells the other in
//! its INIT or INIT ACK. A packet with another tag is none of the association, with the exceptions of 8.5.1. An end that
//! lost its memory may open the association again (5.2): until the COOKIE ACK, packets with the old *or* the new tags
//! pass. Linux forgets the old ones at once, which lets a stranger who sends an INIT cut an association off.
//!
//! Where this differs from Linux: the above; of two ends that open an association at the same time (5.2.1), either may answer
//! the other's INIT, where Linux takes note of one and forgets the association after seconds; of a packet, every chunk's tag is checked and not only that of some; an
//! ABORT may answer a HEARTBEAT (8.4, rule 8); of what does not open an association, nothing opens a session but a
//! HEARTBEAT, its ACK and a SHUTDOWN ACK.

use super::session::{Direction, TrackWords};
use super::tracker::State;
use crate::telemetry::DropReason;
use crate::wire::sctp::{self, Chunks, SctpHeader};
use zerocopy::FromBytes;

/// What matters of a chunk's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Chunk {
    /// Opens an association.
    Init,
    /// Accepts it.
    InitAck,
    /// Ends it at once.
    Abort,
    /// No more data will be sent.
    Shutdown,
    /// Answers a SHUTDOWN.
    ShutdownAck,
    /// Reports an error.
    Error,
    /// Third packet of the handshake.
    CookieEcho,
    /// Fourth packet of the handshake.
    CookieAck,
    /// Last packet of the association.
    ShutdownComplete,
    /// Asks whether the peer is there.
    Heartbeat,
    /// Answers a HEARTBEAT.
    HeartbeatAck,
    /// Everything else: data and its acknowledgement, extensions.
    Other,
}

impl Chunk {
    /// Every class, in the order of the table's rows.
    pub const ALL: &'static [Chunk] = &[
        Chunk::Init,
        Chunk::InitAck,
        Chunk::Abort,
        Chunk::Shutdown,
        Chunk::ShutdownAck,
        Chunk::Error,
        Chunk::CookieEcho,
        Chunk::CookieAck,
        Chunk::ShutdownComplete,
        Chunk::Heartbeat,
        Chunk::HeartbeatAck,
        Chunk::Other,
    ];

    /// The class of a chunk of this type.
    #[inline]
    pub fn classify(kind: u8) -> Chunk {
        match kind {
            sctp::INIT => Chunk::Init,
            sctp::INIT_ACK => Chunk::InitAck,
            sctp::ABORT => Chunk::Abort,
            sctp::SHUTDOWN => Chunk::Shutdown,
            sctp::SHUTDOWN_ACK => Chunk::ShutdownAck,
            sctp::ERROR => Chunk::Error,
            sctp::COOKIE_ECHO => Chunk::CookieEcho,
            sctp::COOKIE_ACK => Chunk::CookieAck,
            sctp::SHUTDOWN_COMPLETE => Chunk::ShutdownComplete,
            sctp::HEARTBEAT => Chunk::Heartbeat,
            sctp::HEARTBEAT_ACK => Chunk::HeartbeatAck,
            _ => Chunk::Other,
        }
    }

    /// Whether nothing may stand beside it in a packet (RFC 9260 6.10).
    fn stands_alone(self) -> bool {
        matches!(self, Chunk::Init | Chunk::InitAck | Chunk::ShutdownComplete)
    }

    /// Whether nothing may stand before it in a packet (RFC 9260 5.1).
    fn stands_first(self) -> bool {
        self.stands_alone() || matches!(self, Chunk::CookieEcho | Chunk::CookieAck)
    }

    /// The bit of this class in a set of them.
    fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// An SCTP packet as the tracker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its verification tag.
    pub tag: u32,
    /// Its chunks.
    pub chunks: Chunks<'a>,
}

impl<'a> Packet<'a> {
    /// The packet that starts at this common header. `whole` is false for a first fragment.
    #[inline]
    pub fn read(bytes: &'a [u8], whole: bool) -> Option<Packet<'a>> {
        let (header, _) = SctpHeader::ref_from_prefix(bytes).ok()?;
        Some(Packet { tag: header.tag.get(), chunks: Chunks::new(bytes, whole) })
    }

    /// The classes of its chunks as a set, or `None` if it can not be: no chunk at all, chunks that contradict the
    /// packet's length, or stand where they must not.
    fn contents(&self) -> Option<u16> {
        let mut set = 0;
        let mut alone = false;
        for (n, chunk) in self.chunks.enumerate() {
            let chunk = Chunk::classify(chunk.ok()?.kind);
            if n > 0 && (alone || chunk.stands_first()) {
                return None;
            }
            alone = chunk.stands_alone();
            set |= chunk.bit();
        }
        (set != 0).then_some(set)
    }
}

/// What is known of an association beside its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Association {
    /// The tag that packets of each direction carry; 0: not known.
    tags: [u32; 2],
    /// The same of the association that one end is about to open in place of an established one; 0: none.
    new_tags: [u32; 2],
    /// Whether each direction has sent an INIT since the last COOKIE ACK.
    init: [bool; 2],
    /// The direction of a HEARTBEAT with an unknown tag, until one with a known tag or the answer comes.
    strange_heartbeat: Option<Direction>,
}

// Bits of the flags that a session keeps.
const INIT_ORIGINAL: u16 = 1;
const INIT_REPLY: u16 = 2;
const STRANGE_ORIGINAL: u16 = 4;
const STRANGE_REPLY: u16 = 8;
const STRANGE: u16 = STRANGE_ORIGINAL | STRANGE_REPLY;

/// What a packet does to an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state after it.
    pub state: State,
    /// Whether it counts as activity. If not, the state is the same as before.
    pub active: bool,
    /// Whether the association has proved to be a real one.
    pub assured: bool,
}

/// Decides whether a packet without a session may open one, in which state, and what is known then.
///
/// # Errors
/// [`DropReason::SctpInvalid`] for an impossible packet; [`DropReason::SctpNotInit`] for one that opens nothing.
pub fn open(packet: &Packet<'_>) -> Result<(State, Association), DropReason> {
    let contents = packet.contents().ok_or(DropReason::SctpInvalid)?;
    let opens = [Chunk::Init, Chunk::Heartbeat, Chunk::HeartbeatAck, Chunk::ShutdownAck].map(Chunk::bit);
    if !opens.contains(&contents) {
        return Err(DropReason::SctpNotInit);
    }
    let mut association = Association::default();
    if contents == Chunk::ShutdownAck.bit() {
        // If it is not known there either, the answer sends its tag back (RFC 9260 8.4, rule 5).
        association.tags[0] = packet.tag;
    }
    let step = track(&mut association, State::None, Direction::Original, packet)?;
    Ok((step.state, association))
}

/// Tracks a packet of an association in `state`.
///
/// # Errors
/// [`DropReason::SctpInvalid`]; the association is then as it was.
pub fn track(
    association: &mut Association,
    state: State,
    direction: Direction,
    packet: &Packet<'_>,
) -> Result<Step, DropReason> {
    let contents = packet.contents().ok_or(DropReason::SctpInvalid)?;
    let mut after = *association;
    let step = after.walk(state, direction, packet, contents).ok_or(DropReason::SctpInvalid)?;
    *association = after;
    Ok(step)
}

impl Association {
    /// From the words of a session.
    pub(super) fn load(track: &TrackWords) -> Association {
        let [original, reply, new_original, new_reply, ..] = track.words;
        Association {
            tags: [original, reply],
            new_tags: [new_original, new_reply],
            init: [track.flags & INIT_ORIGINAL != 0, track.flags & INIT_REPLY != 0],
            strange_heartbeat: match track.flags & STRANGE {
                STRANGE_ORIGINAL => Some(Direction::Original),
                STRANGE_REPLY => Some(Direction::Reply),
                _ => None,
            },
        }
    }

    /// The words that a session keeps.
    pub(super) fn store(&self) -> TrackWords {
        let ([original, reply], [new_original, new_reply]) = (self.tags, self.new_tags);
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        let strange = match self.strange_heartbeat {
            Some(Direction::Original) => STRANGE_ORIGINAL,
            Some(Direction::Reply) => STRANGE_REPLY,
            None => 0,
        };
        TrackWords {
            words: [original, reply, new_original, new_reply, 0, 0, 0, 0],
            flags: flag(self.init[0], INIT_ORIGINAL) | flag(self.init[1], INIT_REPLY) | strange,
            scales: 0,
        }
    }

    /// Walks the chunks; `None` if the packet is refused, and then `self` is of no use any more.
    fn walk(
        &mut self,
        mut state: State,
        direction: Direction,
        packet: &Packet<'_>,
        contents: u16,
    ) -> Option<Step> {
        // RFC 9260 8.5.1 A: only INIT comes without a tag, and never with one.
        if (packet.tag == 0) != (contents == Chunk::Init.bit()) {
            return None;
        }
        let heartbeats = Chunk::Heartbeat.bit() | Chunk::HeartbeatAck.bit();
        let here = direction.index();
        if self.tags[here] == 0 && contents & heartbeats != 0 {
            self.tags[here] = packet.tag;
        }
        let mut step = Step { state, active: true, assured: false };
        for chunk in packet.chunks {
            let chunk = chunk.ok()?;
            let class = Chunk::classify(chunk.kind);
            let from_stranger = match class {
                Chunk::Init => false,
                // B and C: with the T flag it is the tag that the other end sent. Not one that the sender himself has
                // just announced there: a stranger could.
                Chunk::Abort | Chunk::ShutdownComplete if chunk.flags & sctp::FLAG_T != 0 => {
                    packet.tag != self.tags[direction.reverse().index()]
                }
                // E: an end that has forgotten the association answers with the tag that it is sent.
                Chunk::ShutdownAck => false,
                _ => !self.carries(direction, packet.tag),
            };
            match class {
                Chunk::Heartbeat if from_stranger && contents == Chunk::Heartbeat.bit() => {
                    // The other end will tell whether it knows the tag.
                    self.strange_heartbeat = Some(direction);
                    step.active = false;
                    continue;
                }
                Chunk::HeartbeatAck
                    if from_stranger
                        && contents == Chunk::HeartbeatAck.bit()
                        && self.strange_heartbeat == Some(direction.reverse()) =>
                {
                    // It does. The other direction's tag comes with its next HEARTBEAT.
                    *self = Association::default();
                    self.tags[here] = packet.tag;
                }
                _ if from_stranger => return None,
                Chunk::Heartbeat | Chunk::HeartbeatAck => self.strange_heartbeat = None,
                Chunk::CookieAck => self.confirm(direction, packet.tag),
                _ => {}
            }
            let next = match next(direction, class, state) {
                Next::To(next) => next,
                Next::Invalid => return None,
            };
            match class {
                Chunk::Init => {
                    if self.init == [true; 2] {
                        self.init = [false; 2];
                    }
                    self.init[here] = true;
                    self.announce(direction, chunk.initiate_tag(), next)?;
                    // Whoever only ever repeats his INIT does not keep a mapping for it.
                    step.active = !(state == State::SctpClosed && next == State::SctpClosed);
                }
                Chunk::InitAck => {
                    self.check_answer(direction, chunk.initiate_tag())?;
                    self.announce(direction, chunk.initiate_tag(), next)?;
                }
                _ => {}
            }
            step.assured |= state != next && next == State::SctpEstablished;
            state = next;
        }
        step.state = state;
        Some(step)
    }

    /// Whether packets of this direction carry this tag.
    fn carries(&self, direction: Direction, tag: u32) -> bool {
        let at = direction.index();
        tag == self.tags[at] || tag == self.new_tags[at]
    }

    /// An INIT or INIT ACK of `direction` has told the tag of the other direction's packets; `None` if it is none.
    fn announce(&mut self, direction: Direction, tag: u32, state: State) -> Option<()> {
        // RFC 9260 3.3.2: no tag is zero.
        if tag == 0 {
            return None;
        }
        let there = direction.reverse().index();
        if is_up(state) {
            self.new_tags[there] = tag;
        } else {
            self.tags[there] = tag;
            self.new_tags = [0; 2];
        }
        Some(())
    }

    /// Whether an INIT ACK with this initiate tag answers something; `None` if not.
    fn check_answer(&self, direction: Direction, tag: u32) -> Option<()> {
        let there = direction.reverse().index();
        let known = if self.new_tags[there] != 0 { self.new_tags[there] } else { self.tags[there] };
        let asked = self.init[there];
        // Of ends that open the association at the same time, each says the same tag in both (RFC 9260 5.2.1).
        let both = self.init == [true; 2];
        let contradicts = known != 0 && known != tag && (!asked || both);
        (!contradicts).then_some(())
    }

    /// A COOKIE ACK with this tag: the handshake is over.
    fn confirm(&mut self, direction: Direction, tag: u32) {
        self.init = [false; 2];
        if tag == self.new_tags[direction.index()] {
            for (tag, new) in self.tags.iter_mut().zip(self.new_tags) {
                if new != 0 {
                    *tag = new;
                }
            }
        }
        self.new_tags = [0; 2];
    }
}

/// Whether the association has been established, so that strangers must not be able to replace its tags.
fn is_up(state: State) -> bool {
    matches!(
        state,
        State::SctpEstablished
            | State::SctpShutdownSent
            | State::SctpShutdownRecd
            | State::SctpShutdownAckSent
    )
}

/// What a chunk does to an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is in this state now.
    To(State),
    /// It can not be; the packet is dropped.
    Invalid,
}

/// What a chunk does in a state. States of other protocols: invalid.
#[inline]
pub fn next(direction: Direction, chunk: Chunk, state: State) -> Next {
    let column = match state {
        State::None => 0,
        State::SctpClosed => 1,
        State::SctpCookieWait => 2,
        State::SctpCookieEchoed => 3,
        State::SctpEstablished => 4,
        State::SctpShutdownSent => 5,
        State::SctpShutdownRecd => 6,
        State::SctpShutdownAckSent => 7,
        State::SctpHeartbeatSent => 8,
        _ => return Next::Invalid,
    };
    let [original, reply] = &TABLE;
    let rows = match direction {
        Direction::Original => original,
        Direction::Reply => reply,
    };
    rows.get(chunk as usize).and_then(|row| row.get(column)).copied().unwrap_or(Next::Invalid)
}

const CL: Next = Next::To(State::SctpClosed);
const CW: Next = Next::To(State::SctpCookieWait);
const CE: Next = Next::To(State::SctpCookieEchoed);
const ES: Next = Next::To(State::SctpEstablished);
const SS: Next = Next::To(State::SctpShutdownSent);
const SR: Next = Next::To(State::SctpShutdownRecd);
const SA: Next = Next::To(State::SctpShutdownAckSent);
const HS: Next = Next::To(State::SctpHeartbeatSent);
const XX: Next = Next::Invalid;

#[rustfmt::skip]
const TABLE: [[[Next; 9]; Chunk::ALL.len()]; 2] = [
    // Original direction.
    [
        //                       NONE CLOSED C_WAIT C_ECHO ESTAB SH_SENT SH_RECD SH_ACK HB_SENT
        /* INIT              */ [CL,  CL,    CW,    CE,    ES,   CL,     CL,     SA,    CW],
        /* INIT ACK          */ [XX,  CW,    CW,    CE,    ES,   SS,     SR,     SA,    CL],
        /* ABORT             */ [XX,  CL,    CL,    CL,    CL,   CL,     CL,     CL,    CL],
        /* SHUTDOWN          */ [XX,  CL,    CW,    CE,    SS,   SS,     SR,     SA,    CL],
        /* SHUTDOWN ACK      */ [SA,  CL,    CW,    CE,    ES,   SA,     SA,     SA,    SA],
        /* ERROR             */ [XX,  CL,    CW,    CE,    ES,   SS,     SR,     SA,    CL],
        /* COOKIE ECHO       */ [XX,  CL,    CE,    CE,    ES,   SS,     SR,     SA,    CL],
        /* COOKIE ACK        */ [XX,  CL,    CW,    ES,    ES,   SS,     SR,     SA,    CL],
        /* SHUTDOWN COMPLETE */ [XX,  CL,    CW,    CE,    ES,   SS,     SR,     CL,    CL],
        /* HEARTBEAT         */ [HS,  CL,    CW,    CE,    ES,   SS,     SR,     SA,    HS],
        /* HEARTBEAT ACK     */ [CL,  CL,    CW,    CE,    ES,   SS,     SR,     SA,    HS],
        /* others            */ [XX,  CL,    CW,    CE,    ES,   SS,     SR,     SA,    HS],
    ],
    // Reply direction.
    [
        //                       NONE CLOSED C_WAIT C_ECHO ESTAB SH_SENT SH_RECD SH_ACK HB_SENT
        /* INIT              */ [XX,  CL,    CW,    CE,    ES,   SS,     SR,     SA,    XX],
        /* INIT ACK          */ [XX,  CW,    CW,    CE,    ES,   SS,     SR,     SA,    XX],
        /* ABORT             */ [XX,  CL,    CL,    CL,    CL,   CL,     CL,     CL,    CL],
        /* SHUTDOWN          */ [XX,  CL,    CW,    CE,    SR,   SS,     SR,     SA,    XX],
        /* SHUTDOWN ACK      */ [XX,  CL,    CW,    CE,    ES,   SA,     SA,     SA,    XX],
        /* ERROR             */ [XX,  CL,    CW,    CL,    ES,   SS,     SR,     SA,    XX],
        /* COOKIE ECHO       */ [XX,  CL,    CE,    CE,    ES,   SS,     SR,     SA,    XX],
        /* COOKIE ACK        */ [XX,  CL,    CW,    ES,    ES,   SS,     SR,     SA,    XX],
        /* SHUTDOWN COMPLETE */ [XX,  CL,    CW,    CE,    ES,   SS,     SR,     CL,    XX],
        /* HEARTBEAT         */ [XX,  CL,    CW,    CE,    ES,   SS,     SR,     SA,    HS],
        /* HEARTBEAT ACK     */ [XX,  CL,    CW,    CE,    ES,   SS,     SR,     SA,    ES],
        /* others            */ [XX,  CL,    CW,    CE,    ES,   SS,     SR,     SA,    HS],
    ],
];

#[cfg(test)]
#[path = "sctp_tests.rs"]
mod tests;

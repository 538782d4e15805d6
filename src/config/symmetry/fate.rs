//! What becomes of a packet, as a worker would decide it, and of the answer to it.

use crate::classify::notrack::{Answers, NotrackClass, Treatment};
use crate::ids::InterfaceId;
use crate::packet::{Kind, Tuple};
use crate::pipeline::Snapshot;
use crate::pipeline::plan::{Envelope, Header, Plan, Refusal, Rule, SessionPlan, plan};
use crate::pipeline::stateless::{classify, judge};
use crate::telemetry::DropReason;
use crate::wire::tcp;

/// A packet that neither size nor time to live stops.
const SMALL: Envelope = Envelope { ttl: 64, total_len: 60, dont_fragment: false };

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate<'s> {
    /// It passes without a session.
    Passes { treatment: &'s Treatment, to: Tuple, exit: InterfaceId },
    /// Its entry, or where that leads, refuses it.
    Refused { treatment: &'s Treatment, reason: DropReason },
    /// It is no class's.
    Tracked,
}

impl<'s> Fate<'s> {
    pub(super) fn of(snap: &'s Snapshot, header: &Header) -> Fate<'s> {
        let Some(treatment) = classify(snap, header) else { return Fate::Tracked };
        let passage = judge(snap, header, treatment)
            .and_then(|passage| Ok((passage, passage.way_out(snap, header, SMALL)?)));
        match passage {
            Ok((passage, hop)) => Fate::Passes { treatment, to: passage.to, exit: hop.interface },
            Err(Refusal { reason, .. }) => Fate::Refused { treatment, reason },
        }
    }

    /// The entry that it falls under.
    pub(super) fn treatment(&self) -> Option<&'s Treatment> {
        match self {
            Fate::Passes { treatment, .. } | Fate::Refused { treatment, .. } => Some(treatment),
            Fate::Tracked => None,
        }
    }
}

/// An answer, and what the gateway has to make of it so that the client knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) header: Header,
    pub(super) wanted: Tuple,
}

impl Reply {
    /// The answer to a packet that became `to` and left by `exit`.
    pub(super) fn to(class: &NotrackClass, asked: &Header, to: Tuple, exit: InterfaceId) -> Reply {
        let (mut tuple, mut wanted) = (to.inverse(), asked.tuple.inverse());
        // The other end, too, sends to the service's port, from one of its own.
        if class.answers == Answers::SamePort {
            (tuple.sport, tuple.dport) = (to.sport, to.dport);
            (wanted.sport, wanted.dport) = (asked.tuple.sport, asked.tuple.dport);
        }
        let kind = match asked.kind {
            Kind::Tcp { flags } if flags & (tcp::SYN | tcp::ACK) == tcp::SYN => {
                Kind::Tcp { flags: tcp::SYN | tcp::ACK }
            }
            Kind::Tcp { .. } => Kind::Tcp { flags: tcp::ACK },
            Kind::IcmpRequest => Kind::IcmpReply,
            _ => Kind::opening(asked.tuple.protocol),
        };
        Reply { header: Header::whole(exit, tuple, kind), wanted }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Debug)]
pub(super) enum Wrong<'s> {
    /// It is tracked: what then becomes of it.
    Tracked(String),
    /// An entry of a class drops it.
    Refused { treatment: &'s Treatment, reason: DropReason },
    /// An entry translates it into something that the client does not know.
    Becomes { treatment: &'s Treatment, to: Tuple },
}

/// Whether an answer comes back to who asked; `None`: it does.
pub(super) fn judge_reply<'s>(snap: &'s Snapshot, reply: &Reply) -> Option<Wrong<'s>> {
    match Fate::of(snap, &reply.header) {
        Fate::Passes { to, .. } if to == reply.wanted => None,
        Fate::Passes { treatment, to, .. } => Some(Wrong::Becomes { treatment, to }),
        Fate::Refused { reason, .. } if is_sent_by_nobody(reason) => None,
        Fate::Refused { treatment, reason } => Some(Wrong::Refused { treatment, reason }),
        Fate::Tracked => tracked(snap, reply).map(Wrong::Tracked),
    }
}

/// Whether nobody is there to answer, or nobody whose answer is wanted: a translation of networks also takes in the gateway's
/// own addresses.
fn is_sent_by_nobody(reason: DropReason) -> bool {
    matches!(reason, DropReason::SourceBanned | DropReason::MartianSource)
}

/// What tracking makes of an answer to a packet that it has not seen; `None`: no harm.
fn tracked(snap: &Snapshot, reply: &Reply) -> Option<String> {
    let drop = |reason: DropReason| Some(format!("is dropped as {}", reason.name()));
    match plan(snap, &reply.header) {
        Ok(Plan::Route) if reply.header.tuple == reply.wanted => None,
        Ok(Plan::Route) => Some("is forwarded without the translation".to_owned()),
        Ok(Plan::Inbound(_)) => drop(DropReason::NoSession),
        Ok(Plan::Session(session) | Plan::Turn(session)) => match reply.header.kind {
            Kind::Tcp { flags } if flags & tcp::SYN != 0 || !snap.conntrack.tcp.loose => {
                drop(DropReason::TcpNotSyn)
            }
            _ => Some(begins(snap, &session)),
        },
        Err(refusal) if is_sent_by_nobody(refusal.reason) => None,
        Err(refusal) => drop(refusal.reason),
    }
}

fn begins(snap: &Snapshot, session: &SessionPlan) -> String {
    let (list, number) = match session.rule {
        Rule::Snat(number) => ("snat", number),
        Rule::Dnat(number) => ("dnat", number),
        Rule::Static(number) => ("static", number),
        Rule::Notrack(number) => ("notrack", number),
    };
    let number = u64::from(number) + 1;
    let leased = session.source.and_then(|source| Some(snap.local.get(source.number)?.address));
    match leased.or(session.fixed) {
        Some(address) => {
            format!("begins a session of its own, which [[{list}]] rule {number} sends from {address}")
        }
        None => {
            let (dst, dport) = (session.dst, session.dport);
            format!("begins a session of its own, which [[{list}]] rule {number} sends to {dst}:{dport}")
        }
    }
}

//! A packet of a session: how it is translated, and what the tracker says of it as far as the packet's kind tells.

use super::{Account, Outcome, words};
use crate::conntrack::key::V4Key;
use crate::conntrack::session::{Direction, SessionSnapshot};
use crate::conntrack::tcp::{self, Next};
use crate::conntrack::tcp_segment::SegmentKind;
use crate::control::{api, sessions};
use crate::ids::WorkerId;
use crate::packet::Kind;
use crate::pipeline::plan::{Goal, Refusal};
use crate::telemetry::DropReason;
use crate::time::TICK;

impl Account<'_> {
    /// A packet that belongs to a session of the owner.
    pub(super) fn of_session(
        &mut self,
        owner: WorkerId,
        session: &SessionSnapshot<V4Key>,
        direction: Direction,
    ) -> Result<Outcome, Refusal> {
        let now = (self.state.now)();
        let row = sessions::row(session, owner.index(), now, &self.running.timeout_sets);
        let set = row.timeout_set.clone();
        self.answer.session = Some(row);
        let (name, other) = match direction {
            Direction::Original => ("original", session.reply),
            Direction::Reply => ("reply", session.original),
        };
        self.answer.direction = Some(name.to_owned());
        self.answer.class = match direction {
            Direction::Original => "a packet of a session, in its original direction".to_owned(),
            Direction::Reply => "an answer in a session".to_owned(),
        };
        let ports = [session.original.tuple().dport, session.reply.tuple().sport];
        self.note_helper(session.protocol, ports);
        let to = other.tuple().inverse();
        let kind = self.question.header.kind;
        if self.is_proxied(session) {
            self.provide("the SYN proxy has finished the handshake with the backend");
        }
        self.leave(Goal { address: to.dst, realm: other.realm(), zone: other.zone() })?;
        let mut tracking = api::ExplainedTracking {
            state: session.state.name().to_owned(),
            timeout_seconds: (TICK * session.timeout_ticks).as_secs(),
            timeout_set: set,
            mark: session.mark,
            effect: String::new(),
        };
        let effect = self.effect(session, direction);
        tracking.effect = match &effect {
            Ok(effect) => effect.clone(),
            Err(_) => "the tracker refuses it".to_owned(),
        };
        self.answer.tracking = Some(tracking);
        effect?;
        self.answer.sent = Some(words::ends_of(to, kind));
        let back = other.tuple();
        let worker = self.snap().steering.owner(&back, (other.realm(), other.zone()), &self.snap().local);
        let answer_kind = match kind {
            Kind::IcmpRequest => Kind::IcmpReply,
            Kind::IcmpReply => Kind::IcmpRequest,
            other => other,
        };
        self.answer.answers = Some(api::ExplainedAnswers {
            ends: words::ends_of(back, answer_kind),
            realm: other.realm().name().to_owned(),
            worker: Some(worker.0.into()),
        });
        Ok(Outcome::Forwarded)
    }

    /// Whether the session began at a forward that has a SYN proxy.
    fn is_proxied(&self, session: &SessionSnapshot<V4Key>) -> bool {
        let (local, original) = (&self.snap().local, session.original);
        let tuple = original.tuple();
        let forward = local
            .find(original.zone(), tuple.dst)
            .and_then(|number| local.forward(number, tuple.protocol, tuple.dport));
        forward.is_some_and(|forward| forward.syn_proxy)
    }

    /// What the packet does to the session.
    fn effect(
        &mut self,
        session: &SessionSnapshot<V4Key>,
        direction: Direction,
    ) -> Result<String, DropReason> {
        match self.question.header.kind {
            Kind::Tcp { flags } => {
                let segment = SegmentKind::classify(flags).ok_or(DropReason::TcpInvalid)?;
                let next = tcp::next(direction, segment, session.state);
                if segment == SegmentKind::Rst {
                    self.provide("the receiver would believe the RST: its numbers fit the connection");
                } else if matches!(next, Next::To(_) | Next::Complete) && segment != SegmentKind::Syn {
                    self.provide("its sequence and acknowledgement numbers fit the connection's windows");
                }
                Ok(match next {
                    Next::Invalid => return Err(DropReason::TcpInvalid),
                    Next::To(state) if state == session.state => "refreshes the session".to_owned(),
                    Next::To(state) => format!("leads to {}", state.name()),
                    Next::Complete => "may complete the handshake".to_owned(),
                    Next::Reopen => {
                        "begins a new connection in the session, with the same mapping".to_owned()
                    }
                    Next::Ignore => "passes without effect".to_owned(),
                })
            }
            Kind::IcmpRequest | Kind::IcmpReply => {
                let asks = self.question.header.kind == Kind::IcmpRequest;
                // The identifier of one query may equal the type of another.
                if asks != (direction == Direction::Original) {
                    return Err(DropReason::IcmpUnsolicited);
                }
                Ok("refreshes the session".to_owned())
            }
            Kind::Sctp | Kind::Dccp => {
                self.provide("the tracker finds that such a packet can come in this state");
                Ok("is for the tracker to judge".to_owned())
            }
            _ => Ok("refreshes the session".to_owned()),
        }
    }
}

//! A packet of a notrack class, in the steps of `pipeline::untracked`: class, sender, translation, way out. And what would
//! become of the answer to it, which is a packet as any other: nothing remembers that it is one.

use super::{Account, Outcome, words};
use crate::classify::notrack::{Answers, Treatment, Way};
use crate::control::{api, rules};
use crate::packet::{Kind, Tuple};
use crate::pipeline::Snapshot;
use crate::pipeline::plan::{Envelope, Header, Plan, Refusal, Rule, plan};
use crate::pipeline::stateless::{Passage, classify, judge};
use crate::route::NextHop;
use crate::telemetry::DropReason;
use crate::wire::tcp;
use std::sync::atomic::Ordering::Relaxed;

impl<'a> Account<'a> {
    /// The class that takes the packet, and whether it does so before anybody looks for a session.
    pub(super) fn class_of(&self) -> Option<(&'a Treatment, bool)> {
        let snap = self.snap();
        let treatment = classify(snap, &self.question.header)?;
        let class = snap.classes.get(usize::from(treatment.class))?;
        Some((treatment, !class.settling.load(Relaxed)))
    }

    /// A packet of a class.
    pub(super) fn of_class(&mut self, treatment: &'a Treatment, settled: bool) -> Result<Outcome, Refusal> {
        let (snap, header, running) = (self.snap(), self.question.header, self.running);
        let rule = rules::rule(running, Rule::Notrack(treatment.class.into()));
        let name = rule.name.clone().unwrap_or_default();
        self.answer.class = match treatment.way {
            Way::There => format!("of notrack class {name}, from clients to the service: without a session"),
            Way::Back => format!("of notrack class {name}, from the service to clients: without a session"),
        };
        self.answer.rule = Some(rule);
        self.answer.notrack = Some(api::ExplainedClass {
            name,
            way: treatment.way.name().to_owned(),
            settling: !settled,
            answer: None,
        });
        let judged = judge(snap, &header, treatment);
        if judged.is_err_and(|refusal| refusal.reason == DropReason::SourceBanned) {
            self.answer.rule = rules::ban_of(running, self.arrival().zone, header.tuple.src);
        }
        let passage = judged?;
        let left = passage.way_out(snap, &header, self.question.envelope);
        // A packet that may not go there is worth knowing the way of too.
        if let Some(hop) = snap.route_in(passage.goal.zone, passage.goal.address) {
            self.next_hop(hop, passage.goal.address);
        }
        let hop = left?;
        self.answer.sent = Some(words::ends_of(passage.to, header.kind));
        let answer = self.class_answer(&passage, hop);
        if let Some(told) = &mut self.answer.notrack {
            told.answer = answer;
        }
        Ok(Outcome::Forwarded)
    }

    /// The class will take the packets of a session that is there still.
    pub(super) fn wait_for_session(&mut self, treatment: &Treatment) {
        let class = self.snap().classes.get(usize::from(treatment.class));
        let name = class.map_or("", |class| &class.name);
        self.answer.class.push_str(&format!("; notrack class {name} takes its packets when it has ended"));
    }

    /// The answer, and what would become of it. `None`: the class is not about answers.
    fn class_answer(&self, passage: &Passage<'_>, hop: NextHop) -> Option<api::ExplainedClassAnswer> {
        let class = self.running.config.notrack.get(usize::from(passage.treatment.class))?;
        let back = passage.to.inverse();
        let tuple = match class.answers {
            Answers::Elsewhere => return None,
            Answers::Mirrored => back,
            // The other side sends to the service's port too.
            Answers::SamePort => Tuple { sport: passage.to.sport, dport: passage.to.dport, ..back },
        };
        let kind = match self.question.header.kind {
            Kind::Tcp { flags } if flags & (tcp::SYN | tcp::ACK) == tcp::SYN => {
                Kind::Tcp { flags: tcp::SYN | tcp::ACK }
            }
            Kind::Tcp { .. } => Kind::Tcp { flags: tcp::ACK },
            Kind::IcmpRequest => Kind::IcmpReply,
            Kind::IcmpReply => Kind::IcmpRequest,
            other => other,
        };
        let header = Header::whole(hop.interface, tuple, kind);
        let (passes, fate) = fate(self.snap(), &header, passage.treatment.class, &class.name);
        Some(api::ExplainedClassAnswer {
            ends: words::ends_of(tuple, kind),
            interface: self.snap().interface(hop.interface).name.clone(),
            passes,
            fate,
        })
    }
}

/// What becomes of an answer, small enough for every link: whether it passes without a session too.
fn fate(snap: &Snapshot, header: &Header, number: u16, name: &str) -> (bool, String) {
    let dropped = |refusal: Refusal| (false, format!("dropped: {}", refusal.reason.name()));
    let Some(treatment) = classify(snap, header) else {
        return match plan(snap, header) {
            Ok(Plan::Route) => (true, "forwarded as it is, between internal networks".to_owned()),
            Ok(Plan::Inbound(_)) => (false, "of no class: it would need a mapping".to_owned()),
            Ok(Plan::Session(_) | Plan::Turn(_)) => {
                (false, "of no class: it would begin a session of its own".to_owned())
            }
            Err(refusal) => (false, format!("of no class, and dropped: {}", refusal.reason.name())),
        };
    };
    let envelope = Envelope { ttl: u8::MAX, total_len: 0, dont_fragment: false };
    let passed = judge(snap, header, treatment)
        .and_then(|passage| passage.way_out(snap, header, envelope).map(|hop| (passage, hop)));
    match passed {
        Err(refusal) => dropped(refusal),
        Ok((passage, hop)) => {
            let other = snap.classes.get(usize::from(treatment.class)).map_or("", |class| &class.name);
            let by = if treatment.class == number { name } else { other };
            let Tuple { src, dst, .. } = passage.to;
            let exit = &snap.interface(hop.interface).name;
            (true, format!("passes by class {by} as {src} > {dst}, out by {exit}"))
        }
    }
}

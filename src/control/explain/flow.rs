//! A packet that belongs to no session, in the steps of `pipeline::setup`: rule, way out, tracker, limits, port.

use super::table::{Found, Mapped, Wanted};
use super::{Account, Outcome, passed, routed, words};
use crate::conntrack::class::Class;
use crate::conntrack::key::V4Key;
use crate::conntrack::pressure::{Admission, Newcomer, Prefixes, Pressure};
use crate::conntrack::sctp;
use crate::conntrack::tcp_segment::{Segment, SegmentKind};
use crate::conntrack::tracker::{self, Observed, Opening};
use crate::control::{api, rules};
use crate::ids::{Realm, WorkerId};
use crate::nat::behavior::{BlockRules, Dependence, Sharing};
use crate::nat::blocks::Block;
use crate::nat::deterministic::Share;
use crate::nat::ports::Wanted as WantedPorts;
use crate::packet::{Kind, Tuple};
use crate::pipeline::Snapshot;
use crate::pipeline::plan::{
    Goal, Header, Plan, Refusal, Rule, SessionPlan, check_ttl, kept_out, may_come_in, out_of_resources,
};
use crate::telemetry::DropReason;
use crate::time::TICK;
use crate::wire::protocol;

/// An SCTP packet with an INIT: what opens an association (RFC 9260 3.3.2).
const INIT: [u8; 32] = {
    let mut packet = [0; 32];
    // Chunk type and length, initiate tag, receiver window, streams both ways.
    (packet[12], packet[15], packet[19], packet[22], packet[25], packet[27]) = (1, 20, 1, 16, 1, 1);
    packet
};
/// Type of a DCCP-Request (RFC 4340 5.1).
const DCCP_REQUEST: u8 = 0;

/// What to look for in the table of the worker that would make this session.
pub(super) fn wanted(snap: &Snapshot, key: V4Key, session: &SessionPlan) -> Wanted {
    let to = translated(snap, session, key.tuple());
    let leased = session.source.is_some() && !protocol::is_portless(to.protocol);
    let (realm, zone) = session.answers_from;
    let address = session.source.map(|source| source.number);
    let reply = (!leased).then(|| V4Key::new(to.inverse(), realm, zone));
    Wanted { key, address, reply, external: None }
}

/// The packet as it leaves, with its source port as it is.
fn translated(snap: &Snapshot, session: &SessionPlan, tuple: Tuple) -> Tuple {
    let local = session.source.and_then(|source| snap.local.get(source.number));
    let to = session.towards(tuple);
    Tuple { src: local.map_or(to.src, |local| local.address), ..to }
}

impl Account<'_> {
    /// A packet without a session.
    pub(super) fn of_flow(
        &mut self,
        owner: WorkerId,
        planned: Result<Plan, Refusal>,
        found: &Found,
    ) -> Result<Outcome, Refusal> {
        self.name_rule(&planned);
        let plan = planned?;
        if let Plan::Session(session) | Plan::Turn(session) = &plan
            && !session.syn_proxy
        {
            self.note_helper(self.tuple().protocol, [self.tuple().dport, session.dport]);
        }
        let session = match &plan {
            Plan::Route => {
                self.leave(plan.goal(self.snap(), &self.question.header))?;
                self.answer.sent = Some(words::ends_of(self.tuple(), self.question.header.kind));
                return Ok(Outcome::Forwarded);
            }
            Plan::Session(session) => session,
            Plan::Turn(session) => return self.turned(session, owner, found),
            Plan::Inbound(number) => return self.let_in(*number, owner, found),
        };
        // A reload can not begin it, as workers have no memory for it: see the condition.
        if session.syn_proxy {
            return self.greet(session);
        }
        self.leave(session.goal())?;
        self.open(session, owner, found)?;
        let to = self.map(session, owner, found)?;
        if found.collides {
            return Err(DropReason::TupleCollision.into());
        }
        self.tell_answers(session, to);
        Ok(Outcome::Forwarded)
    }

    /// A packet to an external endpoint of somebody inside: translated as if it went outside, and then as if it came from there.
    fn turned(&mut self, session: &SessionPlan, owner: WorkerId, found: &Found) -> Result<Outcome, Refusal> {
        let mapped = found.mapping.ok_or(DropReason::NoSession)?;
        check_ttl(self.question.envelope)?;
        self.open(session, owner, found)?;
        let to = self.map(session, owner, found)?;
        self.tell_answers(session, to);
        let number = self.snap().local.find(self.arrival().zone, to.dst).ok_or(DropReason::NoSession)?;
        self.admit_to(mapped, number, true)?;
        let kind = self.question.header.kind;
        let known = self.answer.sent.take();
        let mut sent = words::ends_of(Tuple { dst: mapped.internal.0, dport: mapped.internal.1, ..to }, kind);
        sent.sport = known.and_then(|known| known.sport);
        self.answer.sent = Some(sent);
        Ok(Outcome::Forwarded)
    }

    /// Whether a mapping lets the packet in, and the way to whoever has it.
    fn admit_to(&mut self, mapped: Mapped, number: u16, ours: bool) -> Result<(), Refusal> {
        let Header { kind, tuple, .. } = self.question.header;
        if !may_come_in(kind) {
            return Err(DropReason::NoSession.into());
        }
        let local = self.snap().local.get(number).ok_or(DropReason::NoSession)?;
        let admitted = mapped.open
            && match local.behavior.filtering(tuple.protocol) {
                Dependence::Nothing => true,
                Dependence::Address => ours || mapped.known,
                Dependence::AddressAndPort => false,
            };
        if !admitted {
            let reason = DropReason::Filtered;
            return Err(if ours { reason.into() } else { kept_out(self.arrival(), kind, reason) });
        }
        self.leave(Goal { address: mapped.internal.0, realm: Realm::Internal, zone: mapped.zone })
    }

    /// A packet from outside to a port that a mapping may have.
    fn let_in(&mut self, number: u16, owner: WorkerId, found: &Found) -> Result<Outcome, Refusal> {
        let unmapped = || kept_out(self.arrival(), self.question.header.kind, DropReason::NoSession);
        let mapped = found.mapping.ok_or_else(unmapped)?;
        self.admit_to(mapped, number, false)?;
        self.begin(false, owner, found)?;
        let to = Tuple { dst: mapped.internal.0, dport: mapped.internal.1, ..self.tuple() };
        self.answer.sent = Some(words::ends_of(to, self.question.header.kind));
        Ok(Outcome::Forwarded)
    }

    /// Names the rule that decides, also where it refuses.
    fn name_rule(&mut self, planned: &Result<Plan, Refusal>) {
        let (snap, arrival, tuple) = (self.snap(), self.arrival(), self.tuple());
        self.answer.rule = match planned {
            Ok(Plan::Session(session) | Plan::Turn(session)) => Some(rules::rule(self.running, session.rule)),
            Ok(Plan::Route | Plan::Inbound(_)) => None,
            Err(refusal) => match refusal.reason {
                DropReason::SourceBanned => rules::ban_of(self.running, arrival.zone, tuple.src),
                DropReason::ForwardDrained | DropReason::BackendsDown => {
                    let number = snap.local_on(arrival, tuple.dst);
                    let forward =
                        number.and_then(|number| snap.local.forward(number, tuple.protocol, tuple.dport));
                    forward.map(|forward| rules::rule(self.running, Rule::Dnat(forward.rule)))
                }
                _ => None,
            },
        };
        self.name_passed(planned);
    }

    /// The source rules that were asked in vain.
    fn name_passed(&mut self, planned: &Result<Plan, Refusal>) {
        let end = match planned {
            Ok(Plan::Session(session) | Plan::Turn(session)) => match session.rule {
                Rule::Snat(number) => Some(number),
                _ => return,
            },
            Err(refusal) if refusal.reason == DropReason::NoRule => None,
            _ => return,
        };
        let (arrival, tuple) = (self.question.header.interface, self.tuple());
        let Some(hop) = self.snap().route_in(self.arrival().zone, tuple.dst) else { return };
        if self.arrival().realm == Realm::Internal {
            self.answer.passed = passed::rules(&self.running.config, (arrival, hop.interface), &tuple, end);
        }
    }

    /// What the SYN proxy in front of a forward does.
    fn greet(&mut self, session: &SessionPlan) -> Result<Outcome, Refusal> {
        let (snap, client) = (self.snap(), Goal::beside(self.arrival(), self.tuple().src));
        let Kind::Tcp { flags } = self.question.header.kind else { return Err(DropReason::TcpNotSyn.into()) };
        match SegmentKind::classify(flags) {
            None => Err(DropReason::TcpInvalid.into()),
            Some(SegmentKind::Syn) => {
                let hop = routed(snap, client)?;
                routed(snap, session.goal())?;
                self.next_hop(hop, client.address);
                self.answer.sent = Some(words::ends(self.tuple().inverse()));
                Ok(Outcome::Answered)
            }
            Some(SegmentKind::Ack) => {
                self.provide("it brings back no cookie of the SYN proxy; with one, its session begins");
                Err(DropReason::SynCookieInvalid.into())
            }
            Some(_) => Err(DropReason::TcpNotSyn.into()),
        }
    }

    /// The session that begins, and whether there may be another one.
    fn open(&mut self, session: &SessionPlan, owner: WorkerId, found: &Found) -> Result<(), Refusal> {
        self.begin(session.source.is_some(), owner, found)
    }

    fn begin(&mut self, translates: bool, owner: WorkerId, found: &Found) -> Result<(), Refusal> {
        let (header, policy) = (&self.question.header, &self.snap().conntrack);
        let observed = observed(header.kind)?;
        let (set, mark) = policy.choose(header.interface, &header.tuple);
        let opening = tracker::open(&observed, policy, set)?;
        let name = self.running.timeout_sets.get(usize::from(set)).map(|set| set.name.clone());
        self.answer.tracking = Some(api::ExplainedTracking {
            state: opening.state.name().to_owned(),
            timeout_seconds: (TICK * opening.timeout_ticks).as_secs(),
            timeout_set: name.unwrap_or_default(),
            mark,
            effect: "begins a session".to_owned(),
        });
        if matches!(header.kind, Kind::Sctp) && translates {
            self.provide("it is an INIT; the answer is about the first packet of an association");
        }
        self.admit(owner, &opening, found)
    }

    fn admit(&mut self, owner: WorkerId, opening: &Opening, found: &Found) -> Result<(), Refusal> {
        let limits = &self.snap().conntrack.limits;
        let view = self.state.sessions.get(owner.index());
        let pressure = Pressure::new(limits, view.map_or(0, |view| view.capacity()));
        let management = Prefixes::new(&limits.management).contains(self.tuple().src);
        let newcomer =
            Newcomer { management, half_open: Class::of(opening.state, false, false) == Class::SynSent };
        let admission = pressure.admit(&found.census, newcomer);
        self.answer.limits = Some(api::ExplainedLimits {
            sessions: api::Usage {
                used: found.census.sessions().into(),
                capacity: pressure.capacity().into(),
            },
            full_at: pressure.full().into(),
            half_open: found.census.half_open().into(),
            half_open_limit: pressure.half_open().into(),
            of_source: found.of_source.into(),
            source_limit: limits.sessions_per_source.map(u64::from),
            source_rate: limits.new_per_source.map(|rate| rate.per_second.into()),
            management,
            evicts: match admission {
                Admission::Admit { evict, .. } => evict.map(|eviction| eviction.name().to_owned()),
                Admission::Refuse(_) => None,
            },
        });
        if !management {
            if limits.sessions_per_source.is_some_and(|most| found.of_source >= most) {
                return Err(out_of_resources(DropReason::SourceSessionsLimit));
            }
            if let Some(rate) = limits.new_per_source {
                self.provide(format!(
                    "the source has not used up its {} new sessions a second",
                    rate.per_second
                ));
            }
        }
        match admission {
            Admission::Admit { .. } => Ok(()),
            Admission::Refuse(reason) => Err(out_of_resources(reason)),
        }
    }

    /// The external port. Returns the packet as it leaves, with a port that brings answers to the owner if there is one.
    fn map(&mut self, session: &SessionPlan, owner: WorkerId, found: &Found) -> Result<Tuple, Refusal> {
        let (snap, tuple) = (self.snap(), self.tuple());
        let to = translated(snap, session, tuple);
        let Some(number) = session.source.map(|source| source.number) else {
            self.answer.sent = Some(words::ends_of(to, self.question.header.kind));
            return Ok(to);
        };
        let exhausted = out_of_resources(DropReason::PortsExhausted);
        let local = snap.local.get(number).ok_or(exhausted)?;
        let source = source_name(snap, self.running, number);
        let mut mapping =
            api::ExplainedMapping { source, address: local.address, port: None, free: None, usable: None };
        if protocol::is_portless(to.protocol) {
            self.answer.mapping = Some(mapping);
            self.answer.sent = Some(words::ends_of(to, self.question.header.kind));
            return Ok(to);
        }
        if local.behavior.sharing != Sharing::Ports {
            let share = session.source.and_then(|source| source.share);
            return self.map_within((number, share), mapping, found, to);
        }
        let entries = snap.steering.entries_of(owner);
        let mapped = snap.local.keeps_mappings(number, to.protocol);
        let classes = snap.steering.classes(to.protocol, mapped);
        let rest = snap.steering.rest(&to.inverse(), mapped);
        let ports = WantedPorts { classes, entries: &entries, rest };
        let is_usable =
            |port: u16| ports.includes(port) && snap.local.is_allocatable(number, to.protocol, port);
        let usable = local.ports.clone().map_or(0, |range| range.filter(|port| is_usable(*port)).count());
        let taken = found.taken.iter().filter(|port| is_usable(**port)).count();
        let free = usable.saturating_sub(taken);
        let keeps = is_usable(tuple.sport) && !found.taken.contains(&tuple.sport);
        mapping.port = keeps.then_some(tuple.sport);
        mapping.free = Some(free as u64);
        mapping.usable = Some(usable as u64);
        let mut sent = words::ends_of(to, self.question.header.kind);
        if !keeps {
            (sent.sport, sent.icmp_id) = (None, None);
        }
        self.answer.mapping = Some(mapping);
        if free == 0 {
            return Err(exhausted);
        }
        self.answer.sent = Some(sent);
        Ok(to)
    }

    /// A port of the host's own by arithmetic, or of one of its blocks, of which the gateway tells no more than who has them.
    fn map_within(
        &mut self,
        (number, share): (u16, Option<Share>),
        mut mapping: api::ExplainedMapping,
        found: &Found,
        to: Tuple,
    ) -> Result<Tuple, Refusal> {
        let (snap, port) = (self.snap(), self.tuple().sport);
        let mut sent = words::ends_of(to, self.question.header.kind);
        (sent.sport, sent.icmp_id) = (None, None);
        let Some(share) = share else {
            self.provide(
                "a block of ports of the host has a free one, or it may have another block".to_owned(),
            );
            let (zone, host) = (self.arrival().zone, self.tuple().src);
            let is_its = |block: &Block| (block.zone, block.subscriber) == (zone, host);
            if let Some((block, _)) = self.state.published.blocks.read().list(1, is_its).first() {
                mapping.address = block.address;
            }
            sent.src = mapping.address;
            let rules = snap.local.get(number).map(|local| local.behavior.sharing);
            if let Some(Sharing::Blocks(BlockRules { size, per_subscriber, .. })) = rules {
                mapping.usable = Some(u64::from(size) * u64::from(per_subscriber));
            }
            (self.answer.mapping, self.answer.sent) = (Some(mapping), Some(sent));
            return Ok(to);
        };
        let is_usable = |port: &u16| snap.local.is_allocatable(number, to.protocol, *port);
        let usable = share.ports().filter(is_usable).count();
        let taken = found.taken.iter().filter(|port| share.ports().contains(port) && is_usable(port)).count();
        let free = usable.saturating_sub(taken);
        if share.ports().contains(&port) && is_usable(&port) && !found.taken.contains(&port) {
            mapping.port = Some(port);
            sent = words::ends_of(to, self.question.header.kind);
        }
        (mapping.free, mapping.usable) = (Some(free as u64), Some(usable as u64));
        self.answer.mapping = Some(mapping);
        if free == 0 {
            return Err(out_of_resources(DropReason::SubscriberPortsLimit));
        }
        self.answer.sent = Some(sent);
        Ok(to)
    }

    fn tell_answers(&mut self, session: &SessionPlan, to: Tuple) {
        let (snap, (realm, zone)) = (self.snap(), session.answers_from);
        let has_ports = !protocol::is_portless(to.protocol);
        let mapping = self.answer.mapping.as_ref();
        let random = mapping.is_some_and(|mapping| has_ports && mapping.port.is_none());
        let back = to.inverse();
        let mut ends = words::ends_of(
            back,
            match self.question.header.kind {
                Kind::IcmpRequest => Kind::IcmpReply,
                other => other,
            },
        );
        if random {
            (ends.dport, ends.icmp_id) = (None, None);
        }
        let worker = (!random).then(|| snap.steering.owner(&back, (realm, zone), &snap.local));
        self.answer.answers = Some(api::ExplainedAnswers {
            ends,
            realm: Realm::name(realm).to_owned(),
            worker: worker.map(|worker| worker.0.into()),
        });
    }
}

/// What the tracker would see of the first packet.
fn observed(kind: Kind) -> Result<Observed<'static>, Refusal> {
    Ok(match kind {
        Kind::Tcp { flags } => {
            Observed::Tcp(Segment::bare(flags, 0, 0, u16::MAX).ok_or(DropReason::TcpInvalid)?)
        }
        Kind::Udp => Observed::Udp,
        Kind::IcmpRequest => Observed::IcmpRequest,
        Kind::IcmpReply => Observed::IcmpReply,
        Kind::IcmpError => Observed::IcmpError,
        Kind::IcmpOther(number) => Observed::IcmpOther(number),
        Kind::Sctp => Observed::Sctp(sctp::Packet::read(&INIT, true).ok_or(DropReason::SctpInvalid)?),
        Kind::Dccp => Observed::Dccp(DCCP_REQUEST),
        Kind::Gre => Observed::Gre,
        Kind::Other => Observed::Other,
    })
}

/// Whose address a source becomes.
fn source_name(snap: &Snapshot, running: &crate::control::running::Running, number: u16) -> String {
    let own = snap.local.get(number).and_then(|local| local.interface);
    if let Some(own) = own {
        return format!("interface {}", snap.interface(own).name);
    }
    let pool = snap.pools.iter().position(|numbers| numbers.contains(&number));
    let name = pool.and_then(|pool| running.config.pools.get(pool)).map(|pool| format!("pool.{}", pool.name));
    name.unwrap_or_else(|| "a forwarded address".to_owned())
}

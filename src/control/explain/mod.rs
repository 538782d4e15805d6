//! What would become of a packet now, step by step, without sending one.
//!
//! # Overview
//!
//! | file | what it is |
//! |---|---|
//! | [`question`] | which packet a request asks about |
//! | `table` | what the owner's session table has to do with it, read in one walk |
//! | `flow` | a packet without a session: rule, limits, mapping |
//! | `passed` | source rules that it does not match, and why |
//! | `untracked` | a packet of a notrack class |
//! | `tracked` | a packet of a session, as far as a tracker can be asked without the packet |
//! | `words` | sentences |
//!
//! # Agreement with the workers
//!
//! Everything is asked of the functions that workers ask: [`crate::pipeline::plan`] for rules, checks and the way out,
//! [`crate::pipeline::stateless`] for notrack classes, [`Steering::owner`] for the owner, [`Policy::choose`] and
//! [`tracker::open`] for the session, [`Pressure::admit`] for a full table. The steps come in the order in which a
//! worker takes them, so that of several reasons to drop a packet the one is named that a worker would count. What only
//! the packet, or the next moment, can tell is said as a condition of the verdict (`provided`).
//! `tests/scenarios/explain.rs` sends what it explains through real workers and compares.
//!
//! [`Steering::owner`]: crate::steering::Steering::owner
//! [`Policy::choose`]: crate::conntrack::policy::Policy::choose
//! [`tracker::open`]: crate::conntrack::tracker::open
//! [`Pressure::admit`]: crate::conntrack::pressure::Pressure::admit

mod flow;
mod passed;
pub mod question;
mod table;
mod tracked;
mod untracked;
mod words;

use super::api;
use super::filter::BadParameter;
use super::query::Query;
use super::running::Running;
use super::session_routes::{Pairs, Refusal as BadRequest, Tables, read_without_filter};
use super::state::ControlState;
use crate::conntrack::key::V4Key;
use crate::ids::InterfaceId;
use crate::nat::icmp_make::may_answer_to;
use crate::packet::Tuple;
use crate::pipeline::Snapshot;
use crate::pipeline::plan::{Goal, NO_ROUTE, Plan, Refusal, check_source, is_for_gateway, plan, way_out};
use crate::pipeline::snapshot::Interface;
use crate::route::NextHop;
use crate::telemetry::DropReason;
use axum::Json;
use axum::extract::State;
use question::{PARAMETERS, Question, kind_name};
use std::net::Ipv4Addr;
use std::sync::Arc;
use table::Wanted;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The endpoint.
pub(super) fn endpoints() -> OpenApiRouter<Tables> {
    OpenApiRouter::new().routes(routes!(get_explain))
}

/// What would become of a packet now, and why: interface, owner, session or rule, mapping, next hop, verdict.
///
/// Reads the session table of the worker that owns the packet. Nothing is sent and nothing changes.
#[utoipa::path(
    get, path = "/v1/explain",
    params(
        ("proto" = String, Query, description = "tcp, udp, icmp, sctp, dccp, gre or a number"),
        ("src" = String, Query, description = "Source address as the packet arrives"),
        ("sport" = Option<u16>, Query, description = "Source port, of protocols that have ports"),
        ("dst" = String, Query, description = "Destination address as the packet arrives"),
        ("dport" = Option<u16>, Query, description = "Destination port, of protocols that have ports"),
        ("interface" = Option<String>, Query, description = "Where it comes in; if left out, where the route to src leads"),
        ("zone" = Option<u16>, Query, description = "The zone that it comes from, if src may be in several"),
        ("flags" = Option<String>, Query, description = "Flags of TCP, such as syn,ack; syn if left out"),
        ("id" = Option<u16>, Query, description = "Identifier of an ICMP echo; 1 if left out"),
        ("reply" = Option<bool>, Query, description = "An ICMP echo reply in place of a request"),
        ("size" = Option<u16>, Query, description = "Length of the IPv4 packet in bytes; 60 if left out"),
        ("ttl" = Option<u8>, Query, description = "Time to live on arrival; 64 if left out"),
        ("df" = Option<bool>, Query, description = "Whether the don't-fragment bit is set"),
    ),
    responses((status = 200, body = api::Explanation)),
)]
async fn get_explain(
    State(state): State<Arc<ControlState>>,
    pairs: Pairs,
) -> Result<Json<api::Explanation>, BadRequest> {
    let query = read_without_filter(pairs, &PARAMETERS)?;
    Ok(Json(explain(&state, &query).await?))
}

/// Builds the answer.
///
/// # Errors
/// A parameter is missing or does not fit.
pub async fn explain(state: &ControlState, query: &Query) -> Result<api::Explanation, BadParameter> {
    let running = state.running.read();
    let question = Question::read(&running, query)?;
    let mut account = Account::new(state, &running, &question);
    let end = account.follow().await?;
    Ok(account.conclude(end))
}

/// What becomes of a packet that is not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Forwarded,
    Answered,
}

/// The answer while it is being made.
struct Account<'a> {
    state: &'a ControlState,
    running: &'a Running,
    question: &'a Question,
    answer: api::Explanation,
}

impl<'a> Account<'a> {
    fn new(state: &'a ControlState, running: &'a Running, question: &'a Question) -> Self {
        let mut account = Account { state, running, question, answer: blank(running, question) };
        let id = question.header.interface;
        account.answer.packet.rx_packets = account.count(id, |counters| counters.rx_packets.get());
        account
    }

    fn snap(&self) -> &'a Snapshot {
        &self.running.snapshot
    }

    fn arrival(&self) -> &'a Interface {
        self.snap().interface(self.question.header.interface)
    }

    fn tuple(&self) -> Tuple {
        self.question.header.tuple
    }

    /// Says so if what such a flow says is read.
    fn note_helper(&mut self, protocol: u8, ports: [u16; 2]) {
        if let Some(helper) = self.snap().algs.helper(protocol, ports) {
            self.answer.class += &format!("; what it says is read ([alg.{}])", helper.name());
        }
    }

    /// Adds a condition of the verdict.
    fn provide(&mut self, condition: impl Into<String>) {
        self.answer.verdict.provided.push(condition.into());
    }

    fn count(&self, id: InterfaceId, pick: fn(&crate::telemetry::InterfaceCounters) -> u64) -> u64 {
        let of_worker = self.state.workers.iter().filter_map(|worker| worker.interfaces.get(id.index()));
        of_worker.map(pick).sum()
    }

    /// Goes the way of the packet, step by step.
    async fn follow(&mut self) -> Result<Result<Outcome, Refusal>, BadParameter> {
        let (snap, header, arrival) = (self.snap(), self.question.header, self.arrival());
        self.answer.class = words::class(snap, &header);
        if is_for_gateway(snap, &header) {
            return Ok(self.echo());
        }
        // While a class is settling, sessions that were there before it come first.
        let class = self.class_of();
        if let Some((treatment, true)) = class {
            return Ok(self.of_class(treatment, true));
        }
        let planned = plan(snap, &header);
        let mut owner = snap.steering.owner(&header.tuple, (arrival.realm, arrival.zone), &snap.local);
        let key = V4Key::new(header.tuple, arrival.realm, arrival.zone);
        let mut mapping = None;
        if let Ok(Plan::Turn(_)) = planned {
            // The owner of the mapping that it goes to is asked first; it hands on what is no session of its own.
            let external = snap.local_on(arrival, header.tuple.dst);
            let wanted = Wanted { key, address: None, reply: None, external };
            let found = table::read(self.state, owner, wanted).await?;
            if found.session.is_none() {
                (owner, mapping) = (snap.steering.outbound(&header.tuple), found.mapping);
            }
        }
        self.answer.owner = Some(words::owner(self.state, snap, &header, owner));
        let wanted = match planned {
            Ok(Plan::Session(session) | Plan::Turn(session)) => flow::wanted(snap, key, &session),
            Ok(Plan::Inbound(number)) => Wanted { key, address: None, reply: None, external: Some(number) },
            _ => Wanted { key, address: None, reply: None, external: None },
        };
        let mut found = table::read(self.state, owner, wanted).await?;
        found.mapping = found.mapping.or(mapping);
        Ok(match (found.session, class) {
            (Some((session, direction)), class) => {
                let end = self.of_session(owner, &session, direction);
                if let Some((treatment, _)) = class {
                    self.wait_for_session(treatment);
                }
                end
            }
            (None, Some((treatment, settled))) => self.of_class(treatment, settled),
            (None, None) => self.of_flow(owner, planned, &found),
        })
    }

    /// A query to the gateway itself.
    fn echo(&mut self) -> Result<Outcome, Refusal> {
        let (snap, arrival, client) = (self.snap(), self.arrival(), self.tuple().src);
        check_source(snap, arrival, client)?;
        let hop = snap.route_to(arrival.realm, arrival.zone, client).ok_or(DropReason::NoRoute)?;
        self.next_hop(hop, client);
        self.answer.sent = Some(words::ends(self.tuple().inverse()));
        Ok(Outcome::Answered)
    }

    /// What can stop the packet on its way out.
    fn leave(&mut self, goal: Goal) -> Result<(), Refusal> {
        let left = way_out(self.snap(), self.question.envelope, goal);
        // A packet that is too large, or too old, is worth knowing the way of too.
        let hop = self.snap().route_to(goal.realm, goal.zone, goal.address);
        if let Some(hop) = hop {
            self.next_hop(hop, goal.address);
        }
        left.map(|_| ())
    }

    fn next_hop(&mut self, hop: NextHop, destination: Ipv4Addr) {
        let (id, neighbor) = (hop.interface, hop.neighbor(destination));
        let rows = self.state.published.neighbors.read();
        let known = rows.iter().find(|row| row.interface == id && row.address == neighbor);
        let mac = known.and_then(|row| row.mac);
        let interface = self.snap().interface(id);
        if mac.is_none() {
            self.provide(format!("{neighbor} answers ARP; the packet waits for that"));
        }
        self.answer.next_hop = Some(api::ExplainedHop {
            interface: interface.name.clone(),
            route: super::route_list::route_of(self.running, id, hop.via, destination)
                .map(|net| net.to_string()),
            neighbor,
            is_router: hop.via.is_some(),
            mac: mac.map(|mac| mac.to_string()),
            state: known.map_or("unknown", |row| row.state).to_owned(),
            mtu: interface.mtu,
            tx_packets: self.count(id, |counters| counters.tx_packets.get()),
        });
    }

    fn conclude(self, end: Result<Outcome, Refusal>) -> api::Explanation {
        let icmp_errors = self.snap().interface(self.question.header.interface).icmp_errors;
        let Account { state, question, mut answer, .. } = self;
        let verdict = &mut answer.verdict;
        match end {
            Ok(outcome) => {
                verdict.outcome = match outcome {
                    Outcome::Forwarded => "forwarded".to_owned(),
                    Outcome::Answered => "answered".to_owned(),
                };
            }
            Err(Refusal { reason, answer: icmp }) => {
                let header = &question.header;
                let told = icmp
                    .filter(|_| icmp_errors)
                    .filter(|_| may_answer_to(header.kind, header.fragment, &header.tuple));
                verdict.outcome = "dropped".to_owned();
                verdict.reason = Some(reason.name().to_owned());
                verdict.help = Some(reason.help().to_owned());
                verdict.packets =
                    Some(state.workers.iter().map(|worker| worker.drops[reason as usize].get()).sum());
                verdict.icmp = told.map(words::icmp_error);
            }
        }
        answer
    }
}

/// The packet, and nothing known of it.
fn blank(running: &Running, question: &Question) -> api::Explanation {
    let Question { header, envelope, interface_given } = *question;
    let arrival = running.snapshot.interface(header.interface);
    let packet = api::ExplainedPacket {
        interface: arrival.name.clone(),
        interface_given,
        realm: arrival.realm.name().to_owned(),
        zone: arrival.zone,
        protocol: words::protocol_name(header.tuple.protocol),
        ends: words::ends_of(header.tuple, header.kind),
        kind: kind_name(header.kind),
        size: envelope.total_len,
        ttl: envelope.ttl,
        df: envelope.dont_fragment,
        rx_packets: 0,
    };
    api::Explanation {
        packet,
        class: String::new(),
        owner: None,
        session: None,
        direction: None,
        rule: None,
        passed: Vec::new(),
        notrack: None,
        mapping: None,
        tracking: None,
        limits: None,
        next_hop: None,
        sent: None,
        answers: None,
        verdict: api::ExplainedVerdict {
            outcome: String::new(),
            reason: None,
            help: None,
            packets: None,
            icmp: None,
            provided: Vec::new(),
        },
    }
}

/// As [`way_out`], for a packet that the gateway makes itself: only a route is needed.
fn routed(snap: &Snapshot, goal: Goal) -> Result<NextHop, Refusal> {
    snap.route_to(goal.realm, goal.zone, goal.address).ok_or(NO_ROUTE)
}

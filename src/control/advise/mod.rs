//! Which services would do better without sessions: short conversations that come and go at a high rate fill the table and
//! cost more to track than to translate packet by packet.
//!
//! | file | what it is |
//! |---|---|
//! | `groups` | sessions by the service that they go to, and what they have in common |
//! | `judge` | whether a service would do better without, whether it can, and what that saves |
//! | `class` | the class, in the words of the config, and what is lost |
//!
//! Order: one walk through the tables, in steps between which others have their turn; then every service is judged, ranked
//! by the cycles that a class would save, and the first ones get their class written. It reads and changes nothing; one at a
//! time, as tallies of sessions, which it takes as much memory as. docs/advise.md explains the result to users.

mod class;
mod groups;
mod judge;

use super::api;
use super::filter::{BadParameter, Filter, digits};
use super::query::Query;
use super::rules;
use super::running::Running;
use super::session_routes::{Pairs, Refusal, Tables, read_without_filter};
use super::state::ControlState;
use super::tally::{DEFAULT_ROWS, MAX_ROWS, protocol_name};
use super::walk::Walk;
use crate::management::watermarks::Level;
use crate::pipeline::plan::Rule;
use crate::time::TICK;
use crate::wire::protocol;
use axum::Json;
use axum::extract::State;
use groups::{Group, Groups, Service};
use judge::{Finding, Least, Savings, forward_of, judge, savings};
use std::cmp::Reverse;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use tokio::task::yield_now;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The parameters of a request.
const PARAMETERS: [&str; 4] = ["min-rate", "min-sessions", "all", "limit"];

/// The endpoint.
pub(super) fn endpoints() -> OpenApiRouter<Tables> {
    OpenApiRouter::new().routes(routes!(get_advise))
}

/// Which services would do better without sessions, what that saves, and the notrack class for each.
///
/// Reads all session tables. Nothing changes.
#[utoipa::path(
    get, path = "/v1/advise",
    params(
        ("min-rate" = Option<u64>, Query, description = "New sessions a second that a service needs; 100 if left out"),
        ("min-sessions" = Option<u64>, Query, description = "Sessions that it needs; 1,000 if left out"),
        ("all" = Option<bool>, Query, description = "Also services that are not proposed, and why not"),
        ("limit" = Option<u64>, Query, description = "At most so many services, up to 10,000; 20 if left out"),
    ),
    responses((status = 200, body = api::Advice)),
)]
async fn get_advise(State(tables): State<Tables>, pairs: Pairs) -> Result<Json<api::Advice>, Refusal> {
    let wanted = Wanted::read(&read_without_filter(pairs, &PARAMETERS)?)?;
    let _turn = tables.turn().await;
    Ok(Json(advise(tables.state(), &wanted).await))
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    least: Least,
    all: bool,
    limit: usize,
}

impl Wanted {
    fn read(query: &Query) -> Result<Wanted, BadParameter> {
        let number =
            |name| query.get(name, |text| digits(text).ok_or_else(|| format!("{text:?} is not a number")));
        let rows = |limit: u64| usize::try_from(limit).ok().filter(|rows| *rows <= MAX_ROWS);
        Ok(Wanted {
            least: Least {
                rate: number("min-rate")?.unwrap_or(judge::MIN_RATE),
                sessions: number("min-sessions")?.unwrap_or(judge::MIN_SESSIONS),
            },
            all: query
                .get("all", |text| text.parse().map_err(|_| format!("{text:?} is neither true nor false")))?
                .unwrap_or(false),
            limit: match query.limit()? {
                None => DEFAULT_ROWS,
                Some(limit) => rows(limit).ok_or_else(|| {
                    let problem = format!("{limit} services are too many: ask for {MAX_ROWS} at the most");
                    BadParameter::new("limit", problem)
                })?,
            },
        })
    }
}

async fn advise(state: &ControlState, wanted: &Wanted) -> api::Advice {
    let (filter, mut groups) = (Filter::default(), Groups::default());
    let mut walk = Walk::new(state, &filter);
    while !walk.is_over() {
        let now = (state.now)();
        walk.step(state, &filter, |_, session| {
            groups.add(session, now);
            ControlFlow::Continue(())
        });
        yield_now().await;
    }
    let view = View {
        running: &state.running.read(),
        tsc_hz: state.tsc_hz,
        under_pressure: (*state.published.pressure.read())
            .as_ref()
            .is_some_and(|status| status.table.level != Level::Normal || status.evicted_per_second > 0),
    };
    view.answer(&groups, wanted)
}

/// A service with what was found of it.
struct Judged<'g> {
    service: &'g Service,
    group: &'g Group,
    finding: Finding,
    savings: Savings,
}

impl Judged<'_> {
    fn is_proposed(&self) -> bool {
        self.finding == Finding::Propose
    }
}

/// What an answer depends on beside the sessions.
struct View<'a> {
    running: &'a Running,
    tsc_hz: Option<NonZeroU64>,
    /// Sessions go before their timeout.
    under_pressure: bool,
}

impl View<'_> {
    fn answer(&self, groups: &Groups, wanted: &Wanted) -> api::Advice {
        let judged = |(service, group)| Judged {
            service,
            group,
            finding: judge(self.running, service, group, wanted.least),
            savings: savings(group),
        };
        let mut all: Vec<Judged<'_>> = groups.iter().map(judged).collect();
        // The last two make the order the same each time.
        all.sort_by_key(|judged| {
            let Judged { service, savings, .. } = judged;
            let service = (service.protocol, service.to, service.port, service.zone, service.backend);
            (!judged.is_proposed(), Reverse((savings.cycles, savings.sessions)), service)
        });
        let proposed = all.iter().filter(|judged| judged.is_proposed()).count();
        let mut names = class::Names::of(self.running);
        let shown = all.iter().filter(|judged| wanted.all || judged.is_proposed()).take(wanted.limit);
        api::Advice {
            sessions: groups.sessions,
            services: groups.len() as u64,
            left_out: groups.left_out,
            min_rate: wanted.least.rate,
            min_sessions: wanted.least.sessions,
            proposed: proposed as u64,
            nothing: (proposed == 0).then(|| nothing(&all, wanted.least)),
            advice: shown.map(|judged| self.row(judged, &mut names)).collect(),
        }
    }

    fn row(&self, judged: &Judged<'_>, names: &mut class::Names) -> api::AdvisedService {
        let Judged { service, group, finding, savings } = judged;
        let (rate, unsure) = group.new_per_second();
        let has_ports = protocol::has_ports(service.protocol);
        let (sources, sources_at_least) = group.sources.count();
        let why = match finding {
            Finding::Propose => reasons(group),
            Finding::Leave(why) | Finding::Impossible(why) => why.clone(),
        };
        api::AdvisedService {
            protocol: protocol_name(service.protocol),
            clients: service.realm.name().to_owned(),
            zone: service.zone,
            address: service.to,
            port: has_ports.then_some(service.port),
            backend: service.backend.map(|(address, port)| format!("{address}:{port}")),
            sessions: group.sessions,
            closing: group.closing,
            unreplied: group.unreplied,
            assured: group.assured,
            new_per_second: decimal(rate, 1000),
            at_least: unsure || self.under_pressure,
            packets_per_session: decimal(group.mean_packets(), 1000),
            median_packets: group.median_packets(),
            packets_per_second: decimal(group.packets_per_second(), 1000),
            life_seconds: TICK.as_secs_f64() * decimal(group.mean_life(), 1),
            sources,
            sources_at_least,
            why,
            rule: forward_of(self.running, service)
                .map(|forward| rules::rule(self.running, Rule::Dnat(forward.rule))),
            class: judged.is_proposed().then(|| self.class(service, group, *savings, names)).flatten(),
        }
    }

    fn class(
        &self,
        service: &Service,
        group: &Group,
        savings: Savings,
        names: &mut class::Names,
    ) -> Option<api::AdvisedClass> {
        let name = names.give(service);
        let percent = |hertz: NonZeroU64| decimal(savings.cycles.saturating_mul(100), hertz.get());
        Some(api::AdvisedClass {
            saves_sessions: savings.sessions,
            saves_cycles_per_second: savings.cycles,
            saves_core_percent: self.tsc_hz.map(percent),
            loses: class::losses(self.running, service),
            toml: class::class(self.running, service, group, &name)?,
        })
    }
}

/// Why a service is proposed.
fn reasons(group: &Group) -> String {
    let (rate, _) = group.new_per_second();
    let share = |part: u64| part * 100 / group.sessions.max(1);
    format!(
        "{} new sessions a second, of which half have at most {} packets; {} % of those in the table are over, {} % \
         have no answer",
        rate / 1000,
        group.median_packets(),
        share(group.closing),
        share(group.unreplied),
    )
}

/// Why nothing is proposed.
fn nothing(all: &[Judged<'_>], least: Least) -> String {
    let head = format!(
        "no service that could be a class has {} new sessions a second, {} sessions in the table and {} packets a \
         session or less",
        least.rate,
        least.sessions,
        judge::MAX_PACKETS
    );
    let busiest = all.iter().find(|judged| matches!(judged.finding, Finding::Leave(_)));
    match busiest {
        Some(Judged { service, finding: Finding::Leave(why), .. }) => {
            let address = service.to.map_or_else(|| "any".to_owned(), |address| address.to_string());
            let name = protocol_name(service.protocol);
            format!("{head}; the one that would save most is {name} {address}:{}: {why}", service.port)
        }
        _ if all.is_empty() => "there are no sessions".to_owned(),
        _ => format!("{head}; none of those in the table could be one"),
    }
}

/// A fraction for people.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn decimal(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

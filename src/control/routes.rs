//! Which path gives which answer. The handlers here read what they need and return at once; those that read session
//! tables are in [`super::session_routes`].
//!
//! No request here has a body, so none is read. What is wrong with a request is answered with status 4xx and an
//! [`api::Failure`].

use super::filter::digits;
use super::session_routes::{self, Pairs, Refusal, Tables};
use super::state::{ControlState, TimeoutSet};
use super::steering::steering;
use super::{advise, api, explain, listings, metrics, openapi, reload, samples, streams};
use crate::conntrack::timeouts::{Timeout, Timeouts};
use crate::management::expiry::TimerStatus;
use crate::telemetry::{Counter, DropReason, Eviction, WorkerCounters};
use crate::time::TICK;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

type Shared = State<Arc<ControlState>>;

/// Every endpoint.
pub fn router(tables: Tables) -> Router {
    let (router, _) = endpoints().split_for_parts();
    router
        .method_not_allowed_fallback(async || {
            let hint = "this method is not supported here: everything is read with GET, DELETE is for /v1/sessions and POST for /v1/config";
            failure(StatusCode::METHOD_NOT_ALLOWED, hint.into())
        })
        .fallback(async || failure(StatusCode::NOT_FOUND, "no such endpoint; see docs/control.md".into()))
        .with_state(tables)
}

/// Every endpoint, for those who may only read.
pub fn read_only(tables: Tables) -> Router {
    router(tables).layer(middleware::from_fn(only_reads))
}

async fn only_reads(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let hint = "this address is for reading only: changes are made through the control socket";
    let mut refusal = failure(StatusCode::METHOD_NOT_ALLOWED, hint.into());
    refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    refusal
}

/// The endpoints with their descriptions: path, method and parameters are said once, at the handler.
pub(super) fn endpoints() -> OpenApiRouter<Tables> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(get_status))
        .routes(routes!(get_health))
        .routes(routes!(metrics::get_metrics))
        .routes(routes!(get_drops))
        .routes(routes!(get_interfaces))
        .routes(routes!(get_neighbors))
        .routes(routes!(get_timers))
        .routes(routes!(get_steering))
        .routes(routes!(get_events))
        .merge(listings::endpoints())
        .merge(explain::endpoints())
        .merge(advise::endpoints())
        .merge(session_routes::endpoints())
        .merge(reload::routes::endpoints())
        .merge(streams::endpoints())
        .merge(samples::endpoints())
        .routes(routes!(get_openapi))
}

/// What the gateway does: uptime, sessions, packets and whether they add up, workers.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = api::Status)))]
async fn get_status(State(state): Shared) -> Json<api::Status> {
    Json(status(&state))
}

/// Whether every worker turns and the management core publishes: 503 if one has done nothing for five seconds.
#[utoipa::path(get, path = "/v1/health", responses(
    (status = 200, description = "Every part is alive.", body = api::Health),
    (status = 503, description = "One is not.", body = api::Health),
))]
async fn get_health(State(tables): State<Tables>) -> Response {
    let health = tables.watch().health(tables.state(), Instant::now());
    let status = if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

/// Dropped packets by reason, with what each reason means.
#[utoipa::path(get, path = "/v1/drops", responses((status = 200, body = api::Drops)))]
async fn get_drops(State(state): Shared) -> Json<api::Drops> {
    Json(drops(&state))
}

/// Interfaces: device, addresses, packets and bytes.
#[utoipa::path(get, path = "/v1/interfaces", responses((status = 200, body = Vec<api::Interface>)))]
async fn get_interfaces(State(state): Shared) -> Json<Vec<api::Interface>> {
    Json(interfaces(&state))
}

/// Neighbours (ARP): Ethernet address and state of each next hop.
#[utoipa::path(get, path = "/v1/neighbors", responses((status = 200, body = Vec<api::Neighbor>)))]
async fn get_neighbors(State(state): Shared) -> Json<Vec<api::Neighbor>> {
    Json(neighbors(&state))
}

/// Idle timeouts: their length, natgate's default, Linux's, what RFCs demand; and how the timers are doing.
#[utoipa::path(get, path = "/v1/timers", responses((status = 200, body = api::Timers)))]
async fn get_timers(State(state): Shared) -> Json<api::Timers> {
    Json(timers(&state))
}

/// How packets reach the worker that owns them: the plan of each interface, each worker's share, handoffs.
#[utoipa::path(get, path = "/v1/steering", responses((status = 200, body = api::Steering)))]
async fn get_steering(State(state): Shared) -> Json<api::Steering> {
    Json(steering(&state))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, body = Object)))]
async fn get_openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], openapi::document())
        .into_response()
}

pub(super) fn failure(status: StatusCode, error: String) -> Response {
    (status, Json(api::Failure { error })).into_response()
}

/// Builds the answer to `/v1/status`.
pub fn status(state: &ControlState) -> api::Status {
    // Verdicts first and what was received last: a packet that moves on between the two readings is then seen as
    // in work, and not as one that was sent without having been received.
    let mut counts: Vec<api::Counts> = state.workers.iter().map(|worker| verdicts(worker)).collect();
    for (counts, worker) in counts.iter_mut().zip(&state.workers) {
        counts.rx = worker.rx.get();
    }
    let total = counts.iter().fold(api::Counts::default(), add);
    let settled = u128::from(total.sent)
        + u128::from(total.consumed)
        + u128::from(total.dropped)
        + u128::from(total.held);
    let unaccounted = i128::from(total.rx) - i128::try_from(settled).unwrap_or(i128::MAX);
    let usage = usage_by_worker(state);
    api::Status {
        version: state.version.clone(),
        dpdk: state.dpdk_version.clone(),
        pid: std::process::id(),
        config: state.config_path.display().to_string(),
        started: humantime::format_rfc3339_seconds(state.started.wall).to_string(),
        uptime_seconds: state.started.monotonic.elapsed().as_secs(),
        tsc_hertz: state.tsc_hz.map(NonZeroU64::get),
        sessions: total_usage(&usage),
        pressure: pressure(state),
        total,
        unaccounted: i64::try_from(unaccounted).unwrap_or(if unaccounted < 0 { i64::MIN } else { i64::MAX }),
        workers: state
            .workers
            .iter()
            .zip(counts)
            .zip(usage)
            .zip(0..)
            .map(|(((counters, counts), sessions), worker)| api::WorkerStatus {
                worker,
                sessions,
                polls: counters.polls.get(),
                busy_polls: counters.busy_polls.get(),
                busy_nanoseconds: counters.busy_nanos.get(),
                longest_turn_nanoseconds: counters.longest_turn_nanos.get(),
                adopt_turn_nanoseconds: counters.adopt_turn_nanos.get(),
                adopt_turn_max_nanoseconds: counters.adopt_turn_max_nanos.get(),
                burst_fill: counters.burst_fill.each_ref().map(Counter::get),
                counts,
            })
            .collect(),
    }
}

/// Why new sessions are refused under pressure.
const REFUSALS: [DropReason; 5] = [
    DropReason::SessionTableFull,
    DropReason::HalfOpenFull,
    DropReason::SourceSessionsLimit,
    DropReason::SourceRateLimit,
    DropReason::SubscriberPortsLimit,
];

fn pressure(state: &ControlState) -> Option<api::Pressure> {
    let sum = |pick: &dyn Fn(&WorkerCounters) -> u64| state.workers.iter().map(|worker| pick(worker)).sum();
    let evicted = |eviction: &Eviction| api::Toll {
        reason: eviction.name().to_owned(),
        sessions: sum(&|worker| worker.evictions[*eviction as usize].get()),
        help: eviction.help().to_owned(),
    };
    let refused = |reason: &DropReason| api::Toll {
        reason: reason.name().to_owned(),
        sessions: sum(&|worker| worker.drops[*reason as usize].get()),
        help: reason.help().to_owned(),
    };
    let status = state.published.pressure.read();
    (*status).as_ref().map(|status| api::Pressure {
        level: status.table.level.name().to_owned(),
        full_at: status.table.full,
        new_per_second: status.new_per_second,
        growth_per_second: status.growth_per_second,
        refused_per_second: status.refused_per_second,
        evicted_per_second: status.evicted_per_second,
        sustainable_tcp_per_second: status.sustainable_tcp_per_second,
        sustainable_udp_per_second: status.sustainable_udp_per_second,
        seconds_to_full: status.time_to_full.map(|time| time.as_secs()),
        half_open: status.half_open,
        evicted: Eviction::ALL.iter().map(evicted).collect(),
        refused: REFUSALS.iter().map(refused).collect(),
    })
}

/// Everything but `rx`. What is forwarded is read before what is held: a packet goes from held to another verdict.
fn verdicts(worker: &WorkerCounters) -> api::Counts {
    api::Counts {
        rx: 0,
        sent: worker.sent.get(),
        consumed: worker.consumed.get(),
        dropped: worker.dropped(),
        held: worker.held.get(),
        generated: worker.generated.get(),
        generated_lost: worker.generated_lost.get(),
        icmp_limited: worker.icmp_limited.get(),
        syn_cookies_sent: worker.syn_cookies_sent.get(),
        syn_cookies_valid: worker.syn_cookies_valid.get(),
        syn_proxy_retries: worker.syn_proxy_retries.get(),
        syn_proxy_given_up: worker.syn_proxy_given_up.get(),
        handed_off: worker.handed_off.get(),
        taken_over: worker.taken_over.get(),
        sessions_created: worker.sessions_created.get(),
        sessions_removed: worker.sessions_removed.get(),
        messages_lost: worker.messages_lost.get(),
    }
}

/// Builds the answer to `/v1/timers`.
pub fn timers(state: &ControlState) -> api::Timers {
    let timeout = |timeouts: &Timeouts, timeout: Timeout| api::Timeout {
        name: timeout.name().to_owned(),
        seconds: timeouts.get(timeout).as_secs_f64(),
        default_seconds: timeout.default_length().as_secs_f64(),
        linux_seconds: timeout.linux_default().as_secs_f64(),
        minimum_seconds: timeout.minimum().map(|(least, _)| least.as_secs_f64()),
        rfc: timeout.minimum().map(|(_, rfc)| rfc.to_owned()),
        help: timeout.help().to_owned(),
    };
    let set = |set: &TimeoutSet| api::TimeoutSet {
        name: set.name.clone(),
        timeouts: Timeout::ALL.iter().map(|each| timeout(&set.timeouts, *each)).collect(),
    };
    let worker = |status: &TimerStatus| api::WorkerTimers {
        worker: status.worker.0.into(),
        armed: status.armed.into(),
        pending: status.pending.into(),
        lag_seconds: (TICK * status.lag_ticks).as_secs_f64(),
        posts_lost: status.posts_lost,
        last_sweep_seconds: status.last_sweep.map(|length| length.as_secs_f64()),
    };
    api::Timers {
        sets: state.running.read().timeout_sets.iter().map(set).collect(),
        workers: state.published.timers.read().iter().map(worker).collect(),
    }
}

/// What happened: watermarks of the table, refusals, deletions, skew. The last 256, the oldest first.
#[utoipa::path(
    get, path = "/v1/events",
    params(("after" = Option<u64>, Query, description = "Only those after the event with this number")),
    responses((status = 200, body = api::Events)),
)]
async fn get_events(State(state): Shared, pairs: Pairs) -> Result<Response, Refusal> {
    let query = session_routes::read_without_filter(pairs, &["after"])?;
    let after = query
        .get("after", |text| digits(text).ok_or_else(|| format!("{text:?} is not the number of an event")))?;
    let (rows, total) = state.published.events.read(after.unwrap_or(0));
    let event = |(number, row)| streams::event(number, row);
    Ok(Json(api::Events { total, events: rows.into_iter().map(event).collect() }).into_response())
}

fn add(a: api::Counts, b: &api::Counts) -> api::Counts {
    api::Counts {
        rx: a.rx.wrapping_add(b.rx),
        sent: a.sent.wrapping_add(b.sent),
        consumed: a.consumed.wrapping_add(b.consumed),
        dropped: a.dropped.wrapping_add(b.dropped),
        held: a.held.wrapping_add(b.held),
        generated: a.generated.wrapping_add(b.generated),
        generated_lost: a.generated_lost.wrapping_add(b.generated_lost),
        icmp_limited: a.icmp_limited.wrapping_add(b.icmp_limited),
        syn_cookies_sent: a.syn_cookies_sent.wrapping_add(b.syn_cookies_sent),
        syn_cookies_valid: a.syn_cookies_valid.wrapping_add(b.syn_cookies_valid),
        syn_proxy_retries: a.syn_proxy_retries.wrapping_add(b.syn_proxy_retries),
        syn_proxy_given_up: a.syn_proxy_given_up.wrapping_add(b.syn_proxy_given_up),
        handed_off: a.handed_off.wrapping_add(b.handed_off),
        taken_over: a.taken_over.wrapping_add(b.taken_over),
        sessions_created: a.sessions_created.wrapping_add(b.sessions_created),
        sessions_removed: a.sessions_removed.wrapping_add(b.sessions_removed),
        messages_lost: a.messages_lost.wrapping_add(b.messages_lost),
    }
}

/// Builds the answer to `/v1/drops`.
pub fn drops(state: &ControlState) -> api::Drops {
    let reasons: Vec<api::Drop> = DropReason::ALL
        .iter()
        .map(|reason| {
            let count = |worker: &Arc<WorkerCounters>| worker.drops[*reason as usize].get();
            let workers: Vec<u64> = state.workers.iter().map(count).collect();
            api::Drop {
                reason: reason.name().to_owned(),
                packets: workers.iter().sum(),
                workers,
                help: reason.help().to_owned(),
            }
        })
        .collect();
    api::Drops { total: reasons.iter().map(|drop| drop.packets).sum(), reasons }
}

/// Builds the answer to `/v1/interfaces`.
pub fn interfaces(state: &ControlState) -> Vec<api::Interface> {
    let running = state.running.read();
    let rows = running.interfaces.iter().enumerate();
    rows.map(|(index, info)| {
        let workers = || state.workers.iter().filter_map(|worker| worker.interfaces.get(index));
        api::Interface {
            name: info.name.clone(),
            device: info.device.clone(),
            driver: info.driver.clone(),
            mac: info.mac.to_string(),
            vlan: info.vlan,
            realm: info.realm.name().to_owned(),
            zone: info.zone,
            addresses: info.addresses.iter().map(ToString::to_string).collect(),
            mtu: info.mtu,
            rx_packets: workers().map(|counters| counters.rx_packets.get()).sum(),
            rx_bytes: workers().map(|counters| counters.rx_bytes.get()).sum(),
            tx_packets: workers().map(|counters| counters.tx_packets.get()).sum(),
            tx_bytes: workers().map(|counters| counters.tx_bytes.get()).sum(),
        }
    })
    .collect()
}

/// Builds the answer to `/v1/neighbors`.
pub fn neighbors(state: &ControlState) -> Vec<api::Neighbor> {
    let now = (state.now)();
    let rows = state.published.neighbors.read();
    let running = state.running.read();
    rows.iter()
        .map(|row| api::Neighbor {
            interface: running
                .interfaces
                .get(row.interface.index())
                .map_or_else(|| format!("interface {}", row.interface.0), |info| info.name.clone()),
            address: row.address,
            mac: row.mac.map(|mac| mac.to_string()),
            state: row.state.to_owned(),
            age_seconds: super::sessions::seconds(now.since(row.updated)),
        })
        .collect()
}

pub(super) fn usage_by_worker(state: &ControlState) -> Vec<api::Usage> {
    let capacities = state.sessions.iter().map(|view| u64::from(view.capacity()));
    let usage = |(worker, capacity): (&Arc<WorkerCounters>, u64)| api::Usage {
        used: worker.sessions.get(),
        capacity,
    };
    state.workers.iter().zip(capacities.chain(std::iter::repeat(0))).map(usage).collect()
}

pub(super) fn total_usage(workers: &[api::Usage]) -> api::Usage {
    workers.iter().fold(api::Usage::default(), |total, worker| api::Usage {
        used: total.used.saturating_add(worker.used),
        capacity: total.capacity.saturating_add(worker.capacity),
    })
}

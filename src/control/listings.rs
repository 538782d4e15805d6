//! The requests about what the configuration is made of: rules, pools, routes, backends. They read it and counters, and
//! return at once.

use super::api;
use super::backends::backends;
use super::blocks::{PARAMETERS, blocks};
use super::pools::{DEFAULT_ADDRESSES, pools};
use super::route_list::routes;
use super::rules::rules;
use super::session_routes::{Pairs, Refusal, Tables, read_without_filter};
use super::state::ControlState;
use axum::Json;
use axum::extract::State;
use std::sync::Arc;
use std::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

type Shared = State<Arc<ControlState>>;

/// The endpoints.
pub(super) fn endpoints() -> OpenApiRouter<Tables> {
    OpenApiRouter::new()
        .routes(routes!(get_rules))
        .routes(routes!(get_pools))
        .routes(routes!(get_blocks))
        .routes(routes!(get_routes))
        .routes(routes!(get_backends))
}

/// Rules in the words of the config (notrack, snat, dnat, bans, sets), and what each has done.
#[utoipa::path(
    get, path = "/v1/rules",
    params(("limit" = Option<u64>, Query, description = "At most so many rules")),
    responses((status = 200, body = api::Rules)),
)]
async fn get_rules(State(tables): State<Tables>, pairs: Pairs) -> Result<Json<api::Rules>, Refusal> {
    let limit = limit(pairs)?.unwrap_or(usize::MAX);
    let (state, now) = (tables.state(), Instant::now());
    let known = |name: &str| tables.watch().class(name, now);
    Ok(Json(rules(&state.running.read(), (state.now)(), known, limit)))
}

/// External ports in use, by pool, and of the fullest addresses of each.
#[utoipa::path(
    get, path = "/v1/pools",
    params(("limit" = Option<u64>, Query, description = "So many addresses of each pool, the fullest first; 1 if left out")),
    responses((status = 200, body = api::Pools)),
)]
async fn get_pools(State(state): Shared, pairs: Pairs) -> Result<Json<api::Pools>, Refusal> {
    let addresses = limit(pairs)?.unwrap_or(DEFAULT_ADDRESSES);
    Ok(Json(pools(&state.running.read(), addresses)))
}

/// Blocks of ports that subscribers have, by external address and port.
#[utoipa::path(
    get, path = "/v1/blocks",
    params(
        ("limit" = Option<u64>, Query, description = "At most so many blocks"),
        ("subscriber" = Option<String>, Query, description = "Only those of this subscriber: an address"),
        ("address" = Option<String>, Query, description = "Only those of this external address"),
        ("port" = Option<u16>, Query, description = "Only those with this port"),
    ),
    responses((status = 200, body = api::Blocks)),
)]
async fn get_blocks(State(state): Shared, pairs: Pairs) -> Result<Json<api::Blocks>, Refusal> {
    let query = read_without_filter(pairs, &PARAMETERS)?;
    Ok(Json(blocks(&state, &query)?))
}

/// Routes by zone: connected and static ones, and whether their routers are known.
#[utoipa::path(
    get, path = "/v1/routes",
    params(("limit" = Option<u64>, Query, description = "At most so many routes")),
    responses((status = 200, body = api::Routes)),
)]
async fn get_routes(State(state): Shared, pairs: Pairs) -> Result<Json<api::Routes>, Refusal> {
    let limit = limit(pairs)?.unwrap_or(usize::MAX);
    Ok(Json(routes(&state.running.read(), &state.published.neighbors.read(), limit)))
}

/// Whether backends are there, as their health checks say: those that are down first.
#[utoipa::path(get, path = "/v1/backends", responses((status = 200, body = Vec<api::Backend>)))]
async fn get_backends(State(state): Shared) -> Json<Vec<api::Backend>> {
    let published = state.published.backends.read();
    Json(backends(&published, &state.running.read().config.dnat, (state.now)()))
}

fn limit(pairs: Pairs) -> Result<Option<usize>, Refusal> {
    let limit = read_without_filter(pairs, &["limit"])?.limit()?;
    Ok(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
}

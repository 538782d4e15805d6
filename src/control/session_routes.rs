//! The requests about sessions: which are meant, then what to do with them. They read session tables, in steps.

use super::filter::{BadParameter, Filter};
use super::query::Query;
use super::reload::Reloader;
use super::routes::{failure, total_usage, usage_by_worker};
use super::sessions::{Format, SessionLines};
use super::state::{ControlState, EventRow};
use super::tally::{self, By, MAX_ROWS, Sort};
use super::watch::Watch;
use super::{api, delete};
use crate::management::events::EventKind;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRef, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What every handler shares.
#[derive(Clone)]
pub struct Tables {
    state: Arc<ControlState>,
    /// One tally at a time: each takes memory for as many keys as there are.
    tallies: Arc<Semaphore>,
    watch: Arc<Watch>,
    /// `None` where nobody can change anything.
    reloader: Option<Arc<Reloader>>,
}

impl Tables {
    /// What the runtime handed over. What has not turned since `now` is silent since then.
    pub fn new(state: Arc<ControlState>, now: Instant) -> Self {
        let watch = Arc::new(Watch::new(&state, now));
        Tables { state, tallies: Arc::new(Semaphore::new(1)), watch, reloader: None }
    }

    /// The same for those who may change the configuration.
    #[must_use]
    pub fn with_reloader(self, reloader: Option<Arc<Reloader>>) -> Self {
        Tables { reloader, ..self }
    }

    /// Who changes the configuration.
    pub fn reloader(&self) -> Option<&Arc<Reloader>> {
        self.reloader.as_ref()
    }

    /// The same for clients that must not hold these up.
    pub fn for_others(&self) -> Self {
        Tables { tallies: Arc::new(Semaphore::new(1)), ..self.clone() }
    }

    /// What the runtime handed over.
    pub fn state(&self) -> &ControlState {
        &self.state
    }

    /// The turn of a request that takes memory for as many keys as there are sessions.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.tallies.acquire().await.ok()
    }

    /// Who is alive.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl FromRef<Tables> for Arc<ControlState> {
    fn from_ref(tables: &Tables) -> Self {
        Arc::clone(&tables.state)
    }
}

/// The endpoints below `/v1/sessions`.
pub(super) fn endpoints() -> OpenApiRouter<Tables> {
    OpenApiRouter::new().routes(routes!(list, remove)).routes(routes!(count)).routes(routes!(top))
}

/// The parameters of a request, or why they can not be read.
pub(super) type Pairs = Result<axum::extract::Query<Vec<(String, String)>>, QueryRejection>;

/// Why a request is refused before anything is done.
pub(super) struct Refusal(String);

impl From<BadParameter> for Refusal {
    fn from(error: BadParameter) -> Self {
        Refusal(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        failure(StatusCode::BAD_REQUEST, self.0)
    }
}

pub(super) fn read(pairs: Pairs, others: &[&'static str]) -> Result<Query, Refusal> {
    Ok(Query::parse(&whole(pairs)?, others)?)
}

/// The same for a request that is not about sessions.
pub(super) fn read_without_filter(pairs: Pairs, names: &[&'static str]) -> Result<Query, Refusal> {
    Ok(Query::parse_without_filter(&whole(pairs)?, names)?)
}

fn whole(pairs: Pairs) -> Result<Vec<(String, String)>, Refusal> {
    let axum::extract::Query(pairs) = pairs.map_err(|rejection| Refusal(rejection.body_text()))?;
    Ok(pairs)
}

/// The session table, one session a line, written while it is read.
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "list_sessions",
    params(
        Filter,
        ("limit" = Option<u64>, Query, description = "At most so many sessions"),
        ("format" = Option<String>, Query,
            description = "json (default): an object a line; extended: conntrack's line; \
                           procfs: that of /proc/net/nf_conntrack"),
    ),
    responses((status = 200, content((api::Session = "application/x-ndjson"), (String = "text/plain")))),
)]
async fn list(State(state): State<Arc<ControlState>>, pairs: Pairs) -> Result<Response, Refusal> {
    let query = read(pairs, &["limit", "format"])?;
    let format = query.get("format", Format::parse)?.unwrap_or_default();
    let limit = query.limit()?.unwrap_or(u64::MAX);
    let content_type = HeaderValue::from_static(format.content_type());
    let lines = SessionLines::new(state, query.filter, format, limit);
    Ok(([(header::CONTENT_TYPE, content_type)], Body::new(lines)).into_response())
}

/// How full the session table is, how many sessions a filter means, or sessions by what they have in common.
///
/// Without parameters it reads the workers' gauges, not the tables.
#[utoipa::path(
    get, path = "/v1/sessions/count", operation_id = "count_sessions",
    params(
        Filter,
        ("by" = Option<By>, Query, description = "What the sessions are counted by"),
        ("limit" = Option<u64>, Query, description = "At most so many rows, with by"),
    ),
    responses((status = 200, body = api::SessionsCounted)),
)]
async fn count(State(tables): State<Tables>, pairs: Pairs) -> Result<Json<api::SessionsCounted>, Refusal> {
    let query = read(pairs, &["by", "limit"])?;
    if let Some(by) = query.get("by", By::parse)? {
        let groups = groups(&tables, &query, by, Sort::Entries).await?;
        return Ok(Json(api::SessionsCounted::Groups(groups)));
    }
    if query.limit()?.is_some() {
        return Err(BadParameter::new("limit", "it is for counts by something: add by=source, say").into());
    }
    let mut workers = usage_by_worker(&tables.state);
    if !query.filter.means_all() {
        let counts = tally::count(&tables.state, &query.filter).await;
        for (usage, count) in workers.iter_mut().zip(counts) {
            usage.used = count;
        }
    }
    let count = api::SessionCount { total: total_usage(&workers), workers };
    Ok(Json(api::SessionsCounted::Count(count)))
}

/// Who has most sessions.
#[utoipa::path(
    get, path = "/v1/sessions/top", operation_id = "top_sessions",
    params(
        Filter,
        ("by" = Option<By>, Query, description = "What the sessions of a row have in common; source if left out"),
        ("sort" = Option<Sort>, Query, description = "What the rows are sorted by; entries if left out"),
        ("limit" = Option<u64>, Query, description = "At most so many rows, up to 10,000"),
    ),
    responses((status = 200, body = api::SessionGroups)),
)]
async fn top(State(tables): State<Tables>, pairs: Pairs) -> Result<Json<api::SessionGroups>, Refusal> {
    let query = read(pairs, &["by", "sort", "limit"])?;
    let by = query.get("by", By::parse)?.unwrap_or(By::Source);
    let sort = query.get("sort", Sort::parse)?.unwrap_or_default();
    Ok(Json(groups(&tables, &query, by, sort).await?))
}

async fn groups(
    tables: &Tables,
    query: &Query,
    by: By,
    sort: Sort,
) -> Result<api::SessionGroups, BadParameter> {
    let rows = match query.limit()? {
        None => by.default_rows(),
        Some(limit) => usize::try_from(limit).ok().filter(|rows| *rows <= MAX_ROWS).ok_or_else(|| {
            BadParameter::new("limit", format!("{limit} rows are too many: ask for {MAX_ROWS} at the most"))
        })?,
    };
    let _turn = tables.turn().await;
    Ok(tally::groups(&tables.state, &query.filter, by, sort, rows).await)
}

/// Deletes the sessions that the filter means; their external ports are free again.
#[utoipa::path(
    delete, path = "/v1/sessions", operation_id = "delete_sessions",
    params(
        Filter,
        ("all" = Option<bool>, Query, description = "true: every session; it goes with no other parameter"),
    ),
    responses((status = 200, body = api::Deleted)),
)]
async fn remove(
    State(state): State<Arc<ControlState>>,
    RawQuery(raw): RawQuery,
    pairs: Pairs,
) -> Result<Response, Refusal> {
    let query = read(pairs, &["all"])?;
    let all = query.get("all", |text| match text {
        "true" => Ok(()),
        _ => Err(format!("{text:?} is not true, the only value that it has")),
    })?;
    match (all.is_some(), query.filter.means_all()) {
        (false, true) => {
            let hint = "say which sessions to delete with parameters such as src=10.0.0.5, or all=true for every one";
            return Err(Refusal(hint.into()));
        }
        (true, false) => return Err(BadParameter::new("all", "it goes with no other parameter").into()),
        _ => {}
    }
    let filter = raw.unwrap_or_default();
    // First, so that it is told even if the client goes away.
    tracing::info!(filter, "deleting sessions, as the control socket was asked to");
    match delete::delete(&state, &query.filter).await {
        Ok(done) => {
            tracing::info!(filter, matched = done.matched, deleted = done.deleted, "sessions deleted");
            let text = format!("{} sessions were deleted on request: {filter}", done.deleted);
            state.published.events.push(EventRow::new(EventKind::SessionsDeleted, text));
            Ok(Json(done).into_response())
        }
        Err(stopping) => Ok(failure(StatusCode::SERVICE_UNAVAILABLE, stopping.to_string())),
    }
}

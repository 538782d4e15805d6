//! The endpoints below `/v1/config`.
//!
//! Requests have a body here: JSON of at most [`BODY_BYTES`], which has to come within [`BODY_TIME`].

use super::Reloader;
use super::answer::{
    EditRequest, Options, Reload, ReloadFailure, ReloadRequest, RevisionRow, RollbackRequest, RunningConfig,
};
use super::history::Revision;
use crate::control::session_routes::Tables;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The longest body: a config of 100,000 rules fits.
const BODY_BYTES: usize = 32 << 20;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

pub(in crate::control) fn endpoints() -> OpenApiRouter<Tables> {
    OpenApiRouter::new()
        .routes(routes!(get_config, reload))
        .routes(routes!(edit))
        .routes(routes!(confirm))
        .routes(routes!(rollback))
        .routes(routes!(save))
        .routes(routes!(revisions))
        .routes(routes!(revision))
}

type Answer = Result<Json<Reload>, Failed>;

/// Why a change was not made.
struct Failed(StatusCode, ReloadFailure);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<ReloadFailure> for Failed {
    fn from(failure: ReloadFailure) -> Failed {
        // What is wrong with the text is the client's; else it is how things are.
        let status =
            if failure.findings.is_empty() { StatusCode::CONFLICT } else { StatusCode::UNPROCESSABLE_ENTITY };
        Failed(status, failure)
    }
}

/// A body of JSON; without one, or an empty one, the default.
async fn read<T: DeserializeOwned>(body: Body, default: Option<T>) -> Result<T, Failed> {
    let bad = |error: String| Failed(StatusCode::BAD_REQUEST, ReloadFailure::new(error));
    let collect = Limited::new(body, BODY_BYTES).collect();
    let bytes = match tokio::time::timeout(BODY_TIME, collect).await {
        Err(_) => return Err(bad(format!("the body did not come within {} s", BODY_TIME.as_secs()))),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let error = format!("the body has more than {} MiB", BODY_BYTES >> 20);
            return Err(Failed(StatusCode::PAYLOAD_TOO_LARGE, ReloadFailure::new(error)));
        }
        Ok(Err(error)) => return Err(bad(format!("the body could not be read: {error}"))),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    match default {
        Some(default) if bytes.is_empty() => Ok(default),
        _ => serde_json::from_slice(&bytes)
            .map_err(|error| bad(format!("the body is not what is expected: {error}"))),
    }
}

fn reloader(tables: &Tables) -> Result<&Arc<Reloader>, Failed> {
    let none =
        || Failed(StatusCode::SERVICE_UNAVAILABLE, ReloadFailure::new("this gateway can not be reloaded"));
    tables.reloader().ok_or_else(none)
}

/// The configuration that runs, as text.
#[utoipa::path(get, path = "/v1/config", responses((status = 200, body = RunningConfig)))]
async fn get_config(State(tables): State<Tables>) -> Result<Json<RunningConfig>, Failed> {
    let reloader = reloader(&tables)?;
    let (config, _) = reloader.current_text();
    let path = &tables.state().config_path;
    Ok(Json(RunningConfig {
        revision: tables.state().reloads.read().revision,
        file: path.display().to_string(),
        saved: std::fs::read_to_string(path).is_ok_and(|text| text == config),
        confirm_within_seconds: reloader.left_of_trial().map(|(_, seconds)| seconds),
        config,
    }))
}

/// Applies another configuration to all workers or to none, or says what that would change.
#[utoipa::path(post, path = "/v1/config", request_body = ReloadRequest, responses(
    (status = 200, description = "It runs, or nothing would be wrong with it (`dry_run`).", body = Reload),
    (status = 409, description = "It needs a restart, or another change waits to be confirmed. Nothing was changed.", body = ReloadFailure),
    (status = 422, description = "The configuration is wrong. Nothing was changed.", body = ReloadFailure),
))]
async fn reload(State(tables): State<Tables>, body: Body) -> Answer {
    let request: ReloadRequest = read(body, Some(ReloadRequest::default())).await?;
    let ReloadRequest { config, file, options } = request;
    Ok(Json(reloader(&tables)?.reload(config, file, options).await?))
}

/// Edits one object of the configuration that runs: the same transaction.
#[utoipa::path(post, path = "/v1/config/edit", request_body = EditRequest, responses(
    (status = 200, description = "It runs.", body = Reload),
    (status = 409, description = "There is nothing to edit like that. Nothing was changed.", body = ReloadFailure),
))]
async fn edit(State(tables): State<Tables>, body: Body) -> Answer {
    let EditRequest { edit, options } = read(body, None).await?;
    Ok(Json(reloader(&tables)?.edit(edit, options).await?))
}

/// Confirms the configuration that waits for it.
#[utoipa::path(post, path = "/v1/config/confirm", request_body = Options, responses(
    (status = 200, description = "It stays.", body = Reload),
    (status = 409, description = "Nothing waits to be confirmed.", body = ReloadFailure),
))]
async fn confirm(State(tables): State<Tables>, body: Body) -> Answer {
    let options: Options = read(body, Some(Options::default())).await?;
    let revision = reloader(&tables)?.confirm(&options.author).await?;
    Ok(Json(Reload { revision, ..Reload::default() }))
}

/// Goes back to a revision; also ends a trial.
#[utoipa::path(post, path = "/v1/config/rollback", request_body = RollbackRequest, responses(
    (status = 200, description = "It runs.", body = Reload),
    (status = 409, description = "There is no such revision, or it needs a restart. Nothing was changed.", body = ReloadFailure),
))]
async fn rollback(State(tables): State<Tables>, body: Body) -> Answer {
    let RollbackRequest { to, options } = read(body, Some(RollbackRequest::default())).await?;
    Ok(Json(reloader(&tables)?.rollback(to, options).await?))
}

/// Writes the configuration that runs to the file that the gateway was started with.
#[utoipa::path(post, path = "/v1/config/save", responses(
    (status = 200, description = "It is written; `saved` says where.", body = Reload),
    (status = 409, description = "It could not be written, or waits to be confirmed.", body = ReloadFailure),
))]
async fn save(State(tables): State<Tables>) -> Answer {
    let saved = reloader(&tables)?.save().await?;
    let revision = tables.state().reloads.read().revision;
    Ok(Json(Reload { revision, saved: Some(saved), ..Reload::default() }))
}

/// The revisions that are kept, the oldest first.
#[utoipa::path(get, path = "/v1/config/revisions", responses((status = 200, body = Vec<RevisionRow>)))]
async fn revisions(State(tables): State<Tables>) -> Result<Json<Vec<RevisionRow>>, Failed> {
    let reloader = reloader(&tables)?;
    let runs = tables.state().reloads.read().revision;
    let unconfirmed = reloader.left_of_trial().map(|(revision, _)| revision);
    let row = |revision: Revision| RevisionRow {
        runs: revision.number == runs,
        unconfirmed: Some(revision.number) == unconfirmed,
        number: revision.number,
        at: revision.at,
        author: revision.author,
        comment: revision.comment,
        origin: revision.origin,
        file: revision.file,
    };
    Ok(Json(reloader.revisions().into_iter().map(row).collect()))
}

/// The text of a revision.
#[utoipa::path(get, path = "/v1/config/revisions/{number}",
    params(("number" = u64, Path, description = "Its number")),
    responses(
        (status = 200, description = "The text, TOML.", body = String, content_type = "application/toml"),
        (status = 404, description = "It is not kept.", body = ReloadFailure),
    ))]
async fn revision(State(tables): State<Tables>, Path(number): Path<u64>) -> Result<Response, Failed> {
    let found = reloader(&tables)?.revisions().into_iter().find(|revision| revision.number == number);
    let Some(Revision { text, .. }) = found else {
        let error = format!("revision {number} is not kept: see /v1/config/revisions");
        return Err(Failed(StatusCode::NOT_FOUND, ReloadFailure::new(error)));
    };
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}

//! Streams of server-sent events: what happens to sessions, and what an operator has to hear of.
//!
//! A stream is written as fast as its client reads. One that is too slow for the bounded queue behind it loses events and is
//! told how many with a message `lost`; one that reads nothing at all is cut off as any other client (`server`). When a
//! client goes away its stream is dropped, and with the last one that watches sessions the workers stop to tell
//! (`management::session_feed`).

use super::api;
use super::filter::{Filter, digits};
use super::session_routes::{Pairs, Refusal, Tables, read, read_without_filter};
use super::sessions::{Format, row};
use super::sse;
use super::state::{ControlState, EventLog, EventRow};
use crate::conntrack::line::event_line;
use crate::ids::WorkerId;
use crate::management::session_feed::{Subscription, Told};
use crate::pipeline::session_events::{Change, End, SessionEvent};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream::unfold;
use hyper::body::Bytes;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// A piece ends when it has this many bytes.
const BYTES_A_PIECE: usize = 16 * 1024;
/// Events looked at between two turns of the other connections.
const EVENTS_A_STEP: usize = 1024;

/// The streams.
pub(super) fn endpoints() -> OpenApiRouter<Tables> {
    OpenApiRouter::new().routes(routes!(watch_sessions)).routes(routes!(follow_events))
}

/// Which changes of sessions are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted([bool; Change::NAMES.len()]);

impl Wanted {
    const ALL: Wanted = Wanted([true; Change::NAMES.len()]);

    /// Names with commas between them.
    fn parse(text: &str) -> Result<Wanted, String> {
        let mut wanted = Wanted([false; Change::NAMES.len()]);
        for name in text.split(',') {
            let at = Change::NAMES.iter().position(|known| *known == name.trim());
            match at.and_then(|at| wanted.0.get_mut(at)) {
                Some(wanted) => *wanted = true,
                None => {
                    let names = Change::NAMES.join(", ");
                    return Err(format!(
                        "{name:?} is not an event: choose from {names}, several with commas"
                    ));
                }
            }
        }
        Ok(wanted)
    }

    fn contains(self, change: Change) -> bool {
        Change::NAMES.iter().zip(self.0).any(|(name, wanted)| wanted && *name == change.name())
    }
}

/// What happens to sessions, as it happens: new, changed (another state, answered, assured), gone (with the last counters
/// and why).
///
/// Server-sent events named `new`, `update` and `destroy`; `lost` says how many were lost because the client or the gateway
/// was too slow, of all sessions. Nothing is told of sessions that are there already.
#[utoipa::path(
    get, path = "/v1/sessions/watch", operation_id = "watch_sessions",
    params(
        Filter,
        ("events" = Option<String>, Query, description = "Which: new, update, destroy; several with commas; all if left out"),
        ("format" = Option<String>, Query, description = "json (default), or extended: the line of `conntrack -E`"),
    ),
    responses((status = 200, content((api::SessionEvent = "text/event-stream")))),
)]
async fn watch_sessions(State(state): State<Arc<ControlState>>, pairs: Pairs) -> Result<Response, Refusal> {
    let query = read(pairs, &["events", "format"])?;
    let wanted = query.get("events", Wanted::parse)?.unwrap_or(Wanted::ALL);
    let format = query.get("format", Format::parse)?.unwrap_or_default();
    let subscription = state.session_feed.subscribe();
    let watch = SessionWatch { state, filter: query.filter, wanted, format, subscription };
    Ok(sse::response(unfold(watch, async |mut watch| Some((watch.next().await?, watch)))))
}

/// One who watches sessions.
struct SessionWatch {
    state: Arc<ControlState>,
    filter: Filter,
    wanted: Wanted,
    format: Format,
    subscription: Subscription,
}

impl SessionWatch {
    /// The next piece of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        let silence = Instant::now() + sse::KEEP_ALIVE;
        let mut out = Vec::new();
        loop {
            match timeout_at(silence, self.subscription.next()).await {
                Ok(told) => self.write(&mut out, &told?),
                Err(_) => return Some(Bytes::from_static(sse::COMMENT)),
            }
            for _ in 0..EVENTS_A_STEP {
                if out.len() >= BYTES_A_PIECE {
                    break;
                }
                let Some(told) = self.subscription.ready() else { break };
                self.write(&mut out, &told);
            }
            if !out.is_empty() {
                return Some(out.into());
            }
            // All of it was about sessions that are not meant.
            if Instant::now() >= silence {
                return Some(Bytes::from_static(sse::COMMENT));
            }
            yield_now().await;
        }
    }

    fn write(&self, out: &mut Vec<u8>, told: &Told) {
        match told {
            Told::Lost(lost) => write_lost(out, *lost),
            Told::Event(worker, event) => {
                let now = event.at.tick();
                if self.wanted.contains(event.change)
                    && self.filter.matches(&event.session, worker.index(), now)
                {
                    let data = match self.format {
                        Format::Extended | Format::Procfs => line(event),
                        Format::Json => json(&self.object(*worker, event)),
                    };
                    sse::write(out, event.change.name(), None, &data);
                }
            }
        }
    }

    fn object(&self, worker: WorkerId, event: &SessionEvent) -> api::SessionEvent {
        let running = self.state.running.read();
        let sets = &running.timeout_sets;
        let (reason, evicted) = match event.change {
            Change::Destroy(end @ End::Evicted(eviction)) => (Some(end.name()), Some(eviction.name())),
            Change::Destroy(end) => (Some(end.name()), None),
            Change::New | Change::Update => (None, None),
        };
        api::SessionEvent {
            event: event.change.name().to_owned(),
            at: humantime::format_rfc3339_nanos(self.state.started.wall_of(event.at)).to_string(),
            reason: reason.map(ToOwned::to_owned),
            evicted: evicted.map(ToOwned::to_owned),
            session: row(&event.session, worker.index(), event.at.tick(), sets),
        }
    }
}

/// The line of `conntrack -E`, and for a session that ended also why.
fn line(event: &SessionEvent) -> String {
    let gone = matches!(event.change, Change::Destroy(_));
    let line = event_line(&event.session, (!gone).then(|| event.at.tick()));
    match event.change {
        Change::New => format!("    [NEW] {line}"),
        Change::Update => format!(" [UPDATE] {line}"),
        Change::Destroy(end @ End::Evicted(eviction)) => {
            format!("[DESTROY] {line} reason={} evicted={}", end.name(), eviction.name())
        }
        Change::Destroy(end) => format!("[DESTROY] {line} reason={}", end.name()),
    }
}

fn write_lost(out: &mut Vec<u8>, lost: u64) {
    sse::write(out, sse::LOST, None, &json(&api::Lost { lost }));
}

/// Strings and numbers can always be written.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What happens, as it happens: first the events that are still kept, then every new one.
///
/// Server-sent events, each named by its kind; `lost` says how many were lost because they are not kept any more.
#[utoipa::path(
    get, path = "/v1/events/stream", operation_id = "follow_events",
    params(("after" = Option<u64>, Query, description = "Only those after the event with this number")),
    responses((status = 200, content((api::Event = "text/event-stream")))),
)]
async fn follow_events(State(state): State<Arc<ControlState>>, pairs: Pairs) -> Result<Response, Refusal> {
    let query = read_without_filter(pairs, &["after"])?;
    let after = query
        .get("after", |text| digits(text).ok_or_else(|| format!("{text:?} is not the number of an event")))?;
    let log = state.published.events.clone();
    let follow = EventFollow { total: log.subscribe(), log, after };
    Ok(sse::response(unfold(follow, async |mut follow| Some((follow.next().await?, follow)))))
}

/// One who follows the events.
struct EventFollow {
    log: EventLog,
    total: watch::Receiver<u64>,
    /// The number of the last one that was written; `None`: all that are kept are wanted.
    after: Option<u64>,
}

impl EventFollow {
    /// The next piece of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        let silence = Instant::now() + sse::KEEP_ALIVE;
        loop {
            let total = *self.total.borrow_and_update();
            // A number that is yet to come is one of an earlier gateway.
            self.after = self.after.filter(|after| *after <= total);
            let (rows, _) = self.log.read(self.after.unwrap_or(0));
            if !rows.is_empty() {
                return Some(self.write(rows));
            }
            match timeout_at(silence, self.total.changed()).await {
                Ok(changed) => changed.ok()?,
                Err(_) => return Some(Bytes::from_static(sse::COMMENT)),
            }
        }
    }

    fn write(&mut self, rows: Vec<(u64, EventRow)>) -> Bytes {
        let mut out = Vec::new();
        for (number, row) in rows {
            let lost = self.after.map_or(0, |after| number.saturating_sub(after + 1));
            if lost > 0 {
                write_lost(&mut out, lost);
            }
            self.after = Some(number);
            let name = row.kind;
            sse::write(&mut out, name, Some(number), &json(&event(number, row)));
        }
        out.into()
    }
}

/// An event as the API shows it.
pub(super) fn event(number: u64, row: EventRow) -> api::Event {
    api::Event {
        number,
        at: humantime::format_rfc3339_millis(row.at).to_string(),
        kind: row.kind.to_owned(),
        relief: row.is_relief,
        text: row.text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::events::EventKind;

    #[test]
    fn events_are_chosen_by_name() {
        let destroy = Change::Destroy(End::Expired);
        let contains = |wanted: Wanted| [Change::New, Change::Update, destroy].map(|c| wanted.contains(c));
        assert_eq!(contains(Wanted::ALL), [true; 3]);
        assert_eq!(Wanted::parse("destroy, new").map(contains), Ok([true, false, true]));
        let error = Wanted::parse("new,gone").unwrap_err();
        assert!(error.contains("\"gone\"") && error.contains("new, update, destroy"), "{error}");
    }

    #[test]
    fn who_follows_too_slowly_is_told_how_many_events_are_not_kept_any_more() {
        let log = EventLog::default();
        let mut follow = EventFollow { total: log.subscribe(), log: log.clone(), after: Some(2) };
        for n in 1..=300 {
            log.push(EventRow::new(EventKind::TableLow, format!("event {n}")));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let piece = runtime.block_on(follow.next()).unwrap();
        let text = String::from_utf8(piece.to_vec()).unwrap();
        // 45 is the first of the last 256.
        assert!(
            text.starts_with("event: lost\ndata: {\"lost\":42}\n\nevent: table_low\nid: 45\n"),
            "{text:.80}"
        );
        assert_eq!((text.matches("event: table_low").count(), follow.after), (256, Some(300)));
        // One that was cut off together with the gateway before gets all of this one's.
        let mut follow = EventFollow { total: log.subscribe(), log, after: Some(9_999) };
        let piece = runtime.block_on(follow.next()).unwrap();
        assert!(piece.starts_with(b"event: table_low\nid: 45\n"));
    }
}

//! The session list as a response body: one line a session, written as fast as the client reads and no faster.
//!
//! The body holds a position in the tables ([`Walk`]) and nothing else, so a list of any length takes the same memory,
//! and a client that stops reading stops the reading of the tables.

use super::api;
use super::filter::Filter;
use super::state::{ControlState, TimeoutSet};
use super::walk::Walk;
use crate::config::DEFAULT_SET;
use crate::conntrack::key::V4Key;
use crate::conntrack::line::{classic_line, procfs_line};
use crate::conntrack::session::SessionSnapshot;
use crate::conntrack::timeouts::Timeouts;
use crate::packet::Tuple;
use crate::time::{TICK, Tick};
use crate::wire::protocol;
use hyper::body::{Body, Bytes, Frame};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A step ends when it has written this many bytes.
const BYTES_A_STEP: usize = 16 * 1024;

/// How a session is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object: [`api::Session`].
    #[default]
    Json,
    /// The line that `conntrack -L -o extended` prints.
    Extended,
    /// The line of `/proc/net/nf_conntrack`.
    Procfs,
}

impl Format {
    /// The format of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(text: &str) -> Result<Format, String> {
        match text {
            "json" => Ok(Format::Json),
            "extended" => Ok(Format::Extended),
            "procfs" => Ok(Format::Procfs),
            _ => Err(format!("{text:?} is not a format: use json, extended or procfs")),
        }
    }

    /// The value of the Content-Type header.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/x-ndjson",
            Format::Extended | Format::Procfs => "text/plain; charset=utf-8",
        }
    }
}

/// The body of the answer to `/v1/sessions`.
pub struct SessionLines {
    state: Arc<ControlState>,
    filter: Filter,
    format: Format,
    /// Lines still to write.
    left: u64,
    walk: Walk,
}

impl SessionLines {
    /// The list of at most `limit` of the sessions that the filter means.
    pub fn new(state: Arc<ControlState>, filter: Filter, format: Format, limit: u64) -> Self {
        let walk = Walk::new(&state, &filter);
        SessionLines { state, filter, format, left: limit, walk }
    }

    /// The next lines; empty if this step found nothing; `None` at the end of the list.
    fn step(&mut self) -> Option<Vec<u8>> {
        if self.left == 0 || self.walk.is_over() {
            return None;
        }
        let now = (self.state.now)();
        let running = self.state.running.read();
        let mut out = Vec::new();
        self.walk.step(&self.state, &self.filter, |worker, session| {
            write_line(&mut out, self.format, session, worker, now, &running.timeout_sets);
            self.left -= 1;
            if self.left == 0 || out.len() >= BYTES_A_STEP {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        Some(out)
    }
}

impl Body for SessionLines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.step() {
            None => Poll::Ready(None),
            Some(lines) if lines.is_empty() => {
                // Nothing to show so far: go on after the other connections had their turn.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(lines) => Poll::Ready(Some(Ok(Frame::data(lines.into())))),
        }
    }
}

fn write_line(
    out: &mut Vec<u8>,
    format: Format,
    session: &SessionSnapshot<V4Key>,
    worker: usize,
    now: Tick,
    sets: &[TimeoutSet],
) {
    match format {
        Format::Extended => out.extend_from_slice(classic_line(session, now).as_bytes()),
        Format::Procfs => {
            // The first set is that of sessions under a policy that is no longer configured.
            let set = sets.get(usize::from(session.policy)).or(sets.first());
            let line = match set {
                Some(set) => procfs_line(session, now, &set.timeouts),
                None => procfs_line(session, now, &Timeouts::default()),
            };
            out.extend_from_slice(line.as_bytes());
        }
        Format::Json => {
            let start = out.len();
            if serde_json::to_writer(&mut *out, &row(session, worker, now, sets)).is_err() {
                // Strings and numbers into memory can not fail; if they did, half a line would be worse than none.
                out.truncate(start);
                return;
            }
        }
    }
    out.push(b'\n');
}

/// A session as the API shows it.
pub fn row(session: &SessionSnapshot<V4Key>, worker: usize, now: Tick, sets: &[TimeoutSet]) -> api::Session {
    let idle = now.since(session.last_seen);
    let [packets_original, packets_reply] = session.packets;
    let [bytes_original, bytes_reply] = session.bytes;
    api::Session {
        protocol: protocol::name(session.protocol)
            .map_or_else(|| session.protocol.to_string(), ToOwned::to_owned),
        state: session.state.name().to_owned(),
        seen_reply: session.seen_reply,
        assured: session.assured,
        original: flow(session.original.tuple(), Side::Original, packets_original, bytes_original),
        reply: flow(session.reply.tuple(), Side::Reply, packets_reply, bytes_reply),
        age_seconds: seconds(now.since(session.created)),
        idle_seconds: seconds(idle),
        expires_seconds: seconds(session.timeout_ticks.saturating_sub(idle)),
        zone: session.original.zone(),
        mark: session.mark,
        timeout_set: sets
            .get(usize::from(session.policy))
            .map_or_else(|| DEFAULT_SET.to_owned(), |set| set.name.clone()),
        worker: u64::try_from(worker).unwrap_or(u64::MAX),
        index: session.index,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Original,
    Reply,
}

/// An ICMP query has its identifier where the request's source port and the reply's destination port are.
fn flow(tuple: Tuple, side: Side, packets: u64, bytes: u64) -> api::Flow {
    let icmp = tuple.protocol == protocol::ICMP;
    let id = if side == Side::Original { tuple.sport } else { tuple.dport };
    api::Flow {
        src: tuple.src,
        dst: tuple.dst,
        sport: protocol::has_ports(tuple.protocol).then_some(tuple.sport),
        dport: protocol::has_ports(tuple.protocol).then_some(tuple.dport),
        icmp_id: icmp.then_some(id),
        packets,
        bytes,
    }
}

/// Ticks in whole seconds, rounded down.
pub(super) fn seconds(ticks: u32) -> u64 {
    (TICK * ticks).as_secs()
}

//! Dropped packets to look at: the samples of all workers, as JSON or as a file for Wireshark.

use super::api;
use super::decode::{decode, summary};
use super::rules;
use super::running::Running;
use super::session_routes::{Pairs, Refusal, Tables, read_without_filter};
use super::state::ControlState;
use crate::conntrack::tracker::State as SessionState;
use crate::pipeline::drops::rule_of;
use crate::pipeline::plan::Rule;
use crate::telemetry::DropReason;
use crate::telemetry::samples::{HEAD, Place, Sample};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The endpoint.
pub(super) fn endpoints() -> OpenApiRouter<Tables> {
    OpenApiRouter::new().routes(routes!(get_samples))
}

/// How samples are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Json,
    Pcap,
}

/// The last packets that were dropped: up to eight for each reason and worker, the newest first.
#[utoipa::path(
    get, path = "/v1/drops/samples", operation_id = "drop_samples",
    params(
        ("reason" = Option<String>, Query, description = "Only those that were dropped for this reason"),
        ("limit" = Option<u64>, Query, description = "At most so many"),
        ("format" = Option<String>, Query, description = "json (default), or pcap: a pcapng file"),
    ),
    responses((status = 200, content((api::DropSamples = "application/json"), (String = "application/vnd.tcpdump.pcap")))),
)]
async fn get_samples(State(state): State<Arc<ControlState>>, pairs: Pairs) -> Result<Response, Refusal> {
    let query = read_without_filter(pairs, &["reason", "limit", "format"])?;
    let reason = query.get("reason", |text| {
        let name = text.replace('-', "_");
        DropReason::from_name(&name)
            .ok_or_else(|| format!("{text:?} is not a reason: /v1/drops lists all of them"))
    })?;
    let format = query.get("format", |text| match text {
        "json" => Ok(Format::Json),
        "pcap" | "pcapng" => Ok(Format::Pcap),
        _ => Err(format!("{text:?} is not a format: use json or pcap")),
    })?;
    let limit = query.limit()?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let drops = newest(&state, reason, limit);
    let running = state.running.read();
    match format.unwrap_or_default() {
        Format::Json => {
            let samples = drops.iter().map(|drop| drop.shown(&state, &running)).collect();
            Ok(Json(api::DropSamples { samples }).into_response())
        }
        Format::Pcap => Ok(match pcap(&state, &running, &drops) {
            Ok(file) => {
                let kind = HeaderValue::from_static("application/vnd.tcpdump.pcap");
                ([(header::CONTENT_TYPE, kind)], file).into_response()
            }
            // Into memory nothing can fail.
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }),
    }
}

/// A sample with what its place says of it.
struct Kept {
    worker: usize,
    reason: DropReason,
    sample: Sample,
}

/// The last samples of all workers, the newest first.
fn newest(state: &ControlState, only: Option<DropReason>, limit: usize) -> Vec<Kept> {
    let reasons = DropReason::ALL.iter().copied().filter(|reason| only.is_none_or(|only| only == *reason));
    let mut all = Vec::new();
    for reason in reasons {
        for (worker, counters) in state.workers.iter().enumerate() {
            let samples = counters.samples.read(reason).into_iter();
            all.extend(samples.map(|sample| Kept { worker, reason, sample }));
        }
    }
    // Those of one turn: in the order of each worker's count.
    all.sort_by_key(|kept| std::cmp::Reverse((kept.sample.at, kept.sample.number)));
    all.truncate(limit);
    all
}

impl Kept {
    fn at(&self, state: &ControlState) -> SystemTime {
        state.started.wall_of(self.sample.at)
    }

    fn rule(&self, running: &Running) -> Option<String> {
        self.sample.rule.map(|number| describe(running, rule_of(number)))
    }

    fn session_state(&self) -> Option<&'static str> {
        let state = SessionState::ALL.get(usize::from(self.sample.state?))?;
        Some(state.name())
    }

    fn shown(&self, state: &ControlState, running: &Running) -> api::DropSample {
        let Sample { number, length, ref head, .. } = self.sample;
        let packet = decode(head);
        let mut bytes = String::with_capacity(2 * head.len());
        for byte in head {
            // Writing to a string can not fail.
            let _ = write!(bytes, "{byte:02x}");
        }
        let (place, leaving) = place(running, self.sample.place);
        api::DropSample {
            at: humantime::format_rfc3339_nanos(self.at(state)).to_string(),
            reason: self.reason.name().to_owned(),
            interface: place,
            leaving,
            length,
            summary: summary(&packet),
            packet,
            rule: self.rule(running),
            state: self.session_state().map(ToOwned::to_owned),
            worker: self.worker as u64,
            number,
            bytes,
        }
    }

    /// What Wireshark shows above the packet.
    fn comment(&self, running: &Running) -> String {
        let mut comment = format!("dropped: {}. {}", self.reason.name(), self.reason.help());
        if let Some(rule) = self.rule(running) {
            let _ = write!(comment, " Rule: {rule}.");
        }
        if let Some(state) = self.session_state() {
            let _ = write!(comment, " Session: {state}.");
        }
        let _ = write!(comment, " Worker {}, number {}.", self.worker, self.sample.number);
        comment
    }
}

/// The name of an interface, or of a device if the frame was for none of its interfaces; and whether it was to leave there.
fn place(running: &Running, place: Place) -> (String, bool) {
    let interface = |number: usize| {
        let info = running.interfaces.get(number);
        info.map_or_else(|| format!("interface {number}"), |info| info.name.clone())
    };
    match place {
        Place::In(id) => (interface(id.index()), false),
        Place::Out(id) => (interface(id.index()), true),
        Place::Device(id) => {
            let row = running.devices.get(id.index());
            (row.map_or_else(|| format!("device {}", id.0), |row| row.name.clone()), false)
        }
    }
}

/// A rule in the words of the configuration that runs, with its place among those of its kind.
fn describe(running: &Running, rule: Rule) -> String {
    let api::Rule { kind, number, text, .. } = rules::rule(running, rule);
    format!("{kind} {number}: {text}")
}

/// A pcapng file: the oldest first, times in nanoseconds, each packet with the reason as its comment.
fn pcap(state: &ControlState, running: &Running, drops: &[Kept]) -> Result<Vec<u8>, PcapError> {
    /// Times are in 10^-9 s.
    const NANOSECONDS: u8 = 9;
    let mut writer = PcapNgWriter::new(Vec::new())?;
    let mut names: Vec<String> = Vec::new();
    for kept in drops.iter().rev() {
        let (name, _) = place(running, kept.sample.place);
        let known = names.iter().position(|known| *known == name);
        let interface = known.unwrap_or(names.len());
        if known.is_none() {
            writer.write_pcapng_block(InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: u32::try_from(HEAD).unwrap_or(u32::MAX),
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(&name)),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            })?;
            names.push(name);
        }
        writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: u32::try_from(interface).unwrap_or(u32::MAX),
            timestamp: kept.at(state).duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO),
            original_len: kept.sample.length,
            data: Cow::Borrowed(&kept.sample.head),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(kept.comment(running)))],
        })?;
    }
    Ok(writer.into_inner())
}

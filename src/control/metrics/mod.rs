//! `GET /metrics`: everything that natgate counts, for Prometheus.
//!
//! | file | what it is |
//! |---|---|
//! | `list` | every metric, declared once: name, kind, labels, help, and where its value comes from |
//! | `scrape` | what a scrape reads, and how samples are written |
//! | `growth` | how long the ports of pools last |
//!
//! A scrape reads the workers' counters (relaxed loads) and what the management core published, on the control thread: no
//! worker notices. It walks no session table and has no label whose values traffic decides, such as addresses of
//! subscribers: those are for `/v1/sessions/top`, on request.

pub(super) mod growth;
mod list;
mod scrape;

use super::session_routes::Tables;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;
use scrape::Scrape;
use std::fmt;

pub use list::{Kind, METRICS, Metric};

/// What the answer is if a client asks for it.
const OPENMETRICS: &str = "application/openmetrics-text";
const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// The text format that came before it, which everything understands.
    Classic,
}

impl Format {
    /// OpenMetrics for those that name it as something that they accept.
    fn of(headers: &HeaderMap) -> Format {
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        if accepted.any(|value| value.contains(OPENMETRICS)) { Format::OpenMetrics } else { Format::Classic }
    }

    fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => OPENMETRICS_TYPE,
            Format::Classic => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Everything that is counted, for Prometheus: OpenMetrics if the client accepts it, else the classic text format.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content(
    (String = "application/openmetrics-text"),
    (String = "text/plain"),
))))]
pub(super) async fn get_metrics(State(tables): State<Tables>, headers: HeaderMap) -> Response {
    let format = Format::of(&headers);
    match write(&tables, format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        // Writing to memory does not fail.
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn write(tables: &Tables, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gateway(tables.clone())));
    let mut text = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut text, &registry)?,
        Format::Classic => prometheus_text::encode(&mut text, &registry)?,
    }
    Ok(text)
}

/// The gateway as the library sees it.
struct Gateway(Tables);

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

impl Collector for Gateway {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let scrape = Scrape::read(&self.0);
        METRICS.iter().try_for_each(|metric| metric.write(&scrape, &mut encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn openmetrics_is_for_those_that_ask_for_it() {
        let of = |accept: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|value| (header::ACCEPT, header::HeaderValue::from_static(value))));
            Format::of(&headers)
        };
        assert_eq!(of(None), Format::Classic);
        assert_eq!(of(Some("*/*")), Format::Classic);
        assert_eq!(of(Some("text/plain;version=0.0.4;q=0.5,*/*;q=0.1")), Format::Classic);
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(of(Some(prometheus)), Format::OpenMetrics);
    }

    #[test]
    fn every_metric_has_its_own_name_a_help_text_and_the_ending_of_its_kind() {
        let names: HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for Metric { name, kind, help, .. } in METRICS {
            assert!(help.ends_with('.'), "{name}");
            assert!(name.starts_with("natgate_") || name.starts_with("node_nf_conntrack_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_info"), *kind == Kind::Info, "{name}");
        }
    }
}

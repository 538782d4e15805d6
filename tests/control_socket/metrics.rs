//! `/metrics` and `/v1/health`, and what lives on them: the documentation, the dashboard, the alerts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::Gateway;
use crate::live::Live;
use crate::openmetrics::{Exposition, parse};
use natgate::conntrack::class::Class;
use natgate::control::api;
use natgate::control::metrics::METRICS;
use natgate::control::reload::ReloadStats;
use natgate::control::routes;
use natgate::control::session_routes::Tables;
use natgate::control::state::EventRow;
use natgate::control::watch::Watch;
use natgate::management::events::EventKind;
use natgate::telemetry::{DropReason, Eviction, HandoffCause};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Content type and body of a scrape.
pub(crate) fn scrape(gateway: &Gateway, accept: &str) -> (String, String) {
    let request =
        format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
    let answer = gateway.raw(request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    (content_type.to_owned(), body.to_owned())
}

fn read(gateway: &Gateway) -> Exposition {
    let (content_type, body) = scrape(gateway, "application/openmetrics-text; version=1.0.0");
    assert_eq!(content_type, OPENMETRICS);
    parse(&body)
}

#[test]
fn every_reason_cause_and_class_has_a_series_from_the_start() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let read = read(&gateway);
    for reason in DropReason::ALL {
        read.value("natgate_packets_dropped_total", &[&format!("reason={}", reason.name())]);
    }
    for kind in EventKind::ALL {
        read.value("natgate_events_total", &[&format!("kind={}", kind.name())]);
    }
    for cause in HandoffCause::ALL {
        read.value("natgate_handoffs_total", &[&format!("cause={}", cause.name())]);
    }
    for class in Class::ALL {
        read.value("natgate_sessions_by_class", &[&format!("class={}", class.name())]);
    }
    assert_eq!(read.sum("natgate_packets_dropped_total"), 10_985.0);
}

#[test]
fn what_is_scraped_is_what_was_counted() {
    let gateway = Gateway::new(3);
    let _server = gateway.start();
    let worker = &gateway.state.workers[0];
    worker.burst_fill[0].set(5);
    worker.burst_fill[5].set(2);
    worker.busy_nanos.set(1_500_000_000);
    worker.longest_turn_nanos.set(48_000);
    worker.classes[Class::Assured as usize].set(9);
    worker.evictions[Eviction::Unreplied as usize].set(4);
    gateway.state.reloads.publish(ReloadStats {
        revision: 12,
        applied: 5,
        rolled_back: 1,
        last_applied: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        last_took: Duration::from_millis(250),
        on_trial: true,
        ..ReloadStats::default()
    });
    for text in ["first", "second"] {
        gateway.state.published.events.push(EventRow::new(EventKind::RolledBack, text.to_owned()));
    }
    let read = read(&gateway);
    for (name, labels, value) in [
        ("natgate_events_total", &["kind=rolled_back"][..], 2.0),
        ("natgate_packets_received_total", &["worker=0"], 1_000_000.0),
        ("natgate_packets_sent_total", &["worker=1"], 389_000.0),
        ("natgate_packets_dropped_total", &["reason=no_route"], 9_995.0),
        ("natgate_packets_held", &["worker=1"], 5.0),
        ("natgate_packets_unaccounted", &[], 0.0),
        ("natgate_interface_receive_bytes_total", &["interface=lan"], 64_000_000.0),
        ("natgate_interface_transmit_packets_total", &["interface=wan"], 989_000.0),
        ("natgate_interface_mtu_bytes", &["interface=lan"], 1500.0),
        ("natgate_interface_handed_off_packets_total", &["interface=lan"], 380_000.0),
        ("natgate_interface_plan_info", &["interface=wan", "plan=B", "chosen=B", "state=holds"], 1.0),
        ("natgate_handoffs_total", &["cause=other"], 10_000.0),
        ("natgate_worker_skewed", &["worker=0"], 1.0),
        ("natgate_neighbors", &["interface=wan", "state=reachable"], 1.0),
        ("natgate_backend_up", &["backend=10.0.0.80", "port=80", "zone=0", "check=tcp"], 0.0),
        (
            "natgate_backend_checks_failed_total",
            &["backend=10.0.0.80", "port=80", "zone=0", "check=tcp"],
            3.0,
        ),
        ("natgate_sessions", &["worker=1"], 4.0),
        ("natgate_sessions_limit", &["worker=1"], 11.0),
        ("node_nf_conntrack_entries", &[], 7.0),
        ("node_nf_conntrack_entries_limit", &[], 22.0),
        ("natgate_sessions_by_class", &["class=assured"], 9.0),
        ("natgate_sessions_evicted_total", &["reason=unreplied"], 4.0),
        ("natgate_worker_busy_seconds_total", &["worker=0"], 1.5),
        ("natgate_worker_longest_turn_seconds", &["worker=0"], 0.000_048),
        ("natgate_worker_burst_frames_bucket", &["worker=0", "le=1.0"], 5.0),
        ("natgate_worker_burst_frames_bucket", &["worker=0", "le=31.0"], 5.0),
        ("natgate_worker_burst_frames_bucket", &["worker=0", "le=+Inf"], 7.0),
        ("natgate_worker_burst_frames_sum", &["worker=0"], 1_000_000.0),
        ("natgate_tsc_hertz", &[], 2.6e9),
        ("natgate_part_alive", &["part=management core"], 1.0),
        ("natgate_reloads_total", &["result=applied"], 5.0),
        ("natgate_reloads_total", &["result=rolled_back"], 1.0),
        ("natgate_config_revision", &[], 12.0),
        ("natgate_config_on_trial", &[], 1.0),
        ("natgate_config_last_reload_successful", &[], 0.0),
        ("natgate_config_last_reload_success_timestamp_seconds", &[], 1.8e9),
        ("natgate_config_last_reload_duration_seconds", &[], 0.25),
    ] {
        assert_eq!(read.value(name, labels), value, "{name} {labels:?}");
    }
    let status: api::Status = gateway.client().get_json("/v1/status").unwrap();
    assert_eq!(status.workers[0].burst_fill, [5, 0, 0, 0, 0, 2]);
    assert_eq!((status.workers[0].busy_nanoseconds, status.tsc_hertz), (1_500_000_000, Some(2_600_000_000)));
}

#[test]
fn a_rule_and_the_ports_of_its_address_are_counted_under_names_that_people_know() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let running = gateway.state.running.read();
    running.snapshot.rules.snat[0].iter().for_each(|counter| counter.add(21));
    let wan = running.snapshot.interfaces.iter().find(|interface| interface.name == "wan").unwrap();
    let address = running.snapshot.local.get(wan.local).unwrap();
    address.used.iter().for_each(|sets| sets[1].add(100));
    let usable = address.ports.clone().unwrap().len();

    let read = read(&gateway);
    let rule = ["kind=snat", "number=1", "rule={ source = \"interface\" }"];
    assert_eq!(read.value("natgate_rule_sessions_total", &rule), 42.0);
    let udp = ["pool=wan", "kind=interface", "protocol=udp"];
    assert_eq!(read.value("natgate_pool_ports_used", &udp), 200.0);
    assert_eq!(read.value("natgate_pool_ports_usable", &udp), f64::from(u32::try_from(usable).unwrap()));
    assert!(read.value("natgate_pool_fullest_address_ratio", &udp[..2]) > 0.003);
    assert_eq!(read.value("natgate_pool_ports_used", &["pool=wan", "kind=interface", "protocol=tcp"]), 0.0);
    assert_eq!(read.find("natgate_pool_time_to_exhaustion_seconds", &udp), None, "nothing is known yet");
}

#[test]
fn both_formats_say_the_same_under_the_same_names() {
    let gateway = Gateway::new(3);
    let _server = gateway.start();
    let read = read(&gateway);
    let (content_type, classic) = scrape(&gateway, "*/*");
    assert_eq!(content_type, CLASSIC);
    let series = classic.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(series, read.samples.len());
    for (name, _, _) in &read.samples {
        assert!(classic.contains(&format!("\n{name}")), "{name}");
    }
}

#[test]
fn every_metric_is_announced_also_while_it_has_no_value() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let read = read(&gateway);
    assert_eq!(read.families.len(), METRICS.len());
    for metric in METRICS {
        let stem = metric.name.strip_suffix("_total").or(metric.name.strip_suffix("_info"));
        let kind = read.families.get(stem.unwrap_or(metric.name)).map(String::as_str);
        assert_eq!(kind, Some(metric.kind.name()), "{}", metric.name);
    }
}

#[test]
fn a_gateway_that_runs_is_healthy_and_scrapes_what_it_did() {
    let live = Live::start();
    live.open(5, 2000..2100);
    let health: api::Health = live.client().get_json("/v1/health").unwrap();
    assert!(health.healthy, "{health:?}");
    assert_eq!(health.parts.len(), 3);
    let lines = live.client().get_lines("/metrics").unwrap();
    let text: Vec<String> = lines.collect::<Result<_, _>>().unwrap();
    for line in ["node_nf_conntrack_entries 100", "natgate_part_alive{part=\"worker 1\"} 1"] {
        assert!(text.iter().any(|said| said == line), "{line} is not in {text:#?}");
    }
    let busy = text
        .iter()
        .find(|line| line.starts_with("natgate_worker_busy_seconds_total{worker=\"0\"} "))
        .unwrap();
    assert!(busy.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() > 0.0, "{busy}");
}

#[test]
fn a_part_that_does_nothing_for_more_than_five_seconds_is_named() {
    let gateway = Gateway::new(0);
    let state = &gateway.state;
    let start = Instant::now();
    let watch = Watch::new(state, start);
    let after = |seconds| start + Duration::from_secs(seconds);
    assert!(watch.health(state, after(5)).healthy, "not yet silent for too long");

    state.workers[1].polls.increment();
    state.published.timers.publish(Vec::new());
    watch.look(state, after(6));
    let health = watch.health(state, after(7));
    let dead: Vec<_> = health.parts.iter().filter(|part| !part.alive).collect();
    assert_eq!((dead.len(), dead[0].part.as_str(), dead[0].silent_seconds), (1, "worker 0", 7));
    assert!(!health.healthy);

    state.workers.iter().for_each(|worker| worker.polls.increment());
    let health = watch.health(state, after(12));
    let dead: Vec<_> =
        health.parts.iter().filter(|part| !part.alive).map(|part| part.part.as_str()).collect();
    assert_eq!(dead, ["management core"], "the workers have turned");
}

/// The status line of the answer of a gateway that is watched since `ago`.
fn health_of(gateway: &Gateway, ago: Duration) -> u16 {
    use axum::body::Body;
    use hyper::service::Service;
    let since = Instant::now().checked_sub(ago).unwrap();
    let router = routes::router(Tables::new(Arc::clone(&gateway.state), since));
    let service = hyper_util::service::TowerToHyperService::new(router);
    let request = hyper::Request::get("/v1/health").body(Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(service.call(request)).unwrap().status().as_u16()
}

#[test]
fn the_status_of_the_answer_says_whether_the_gateway_is_healthy() {
    let gateway = Gateway::new(0);
    assert_eq!(health_of(&gateway, Duration::ZERO), 200);
    assert_eq!(health_of(&gateway, Duration::from_secs(6)), 503);
}

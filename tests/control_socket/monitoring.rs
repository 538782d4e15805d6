//! What lives on the metrics: documentation, dashboard, alerts. Names are right, and promtool accepts all of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::Gateway;
use crate::metrics::scrape;
use natgate::control::metrics::{Kind, METRICS};
use natgate::management::events::EventKind;
use natgate::telemetry::{DropReason, Eviction};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap()
}

const DASHBOARD: &str = "config/grafana-dashboard.json";
const ALERTS: &str = "config/prometheus-alerts.yml";
const ALERT_TESTS: &str = "config/prometheus-alerts-test.yml";
const MANUAL: &str = "docs/metrics.md";

/// Every word that begins like a metric.
fn metrics_in(text: &str) -> HashSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("natgate_") || word.starts_with("node_nf_")).collect()
}

/// Every series name that a scrape has.
fn exported() -> HashSet<String> {
    let series = |metric: &natgate::control::metrics::Metric| match metric.kind {
        Kind::Histogram => {
            ["_bucket", "_sum", "_count", ""].map(|end| format!("{}{end}", metric.name)).to_vec()
        }
        _ => vec![metric.name.to_owned()],
    };
    METRICS.iter().flat_map(series).collect()
}

#[test]
fn every_metric_that_is_named_somewhere_is_exported() {
    let exported = exported();
    for path in [DASHBOARD, ALERTS, ALERT_TESTS, MANUAL] {
        let text = text(path);
        let named = metrics_in(&text);
        assert!(named.len() > 10, "{path}");
        let unknown: Vec<_> = named.iter().filter(|name| !exported.contains(**name)).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
}

#[test]
fn every_reason_and_kind_that_is_named_in_a_query_is_one() {
    let known = |name: &str| {
        DropReason::from_name(name).is_some()
            || Eviction::ALL.iter().any(|eviction| eviction.name() == name)
            || EventKind::ALL.iter().any(|kind| kind.name() == name)
            // Kinds of pools.
            || ["pool", "interface", "retired"].contains(&name)
    };
    let mut found = 0;
    for path in [DASHBOARD, ALERTS, ALERT_TESTS] {
        let text = text(path).replace("\\\"", "\"");
        for query in text.split("reason=").skip(1).chain(text.split("kind=").skip(1)) {
            let Some((names, _)) =
                query.trim_start_matches('~').strip_prefix('"').and_then(|q| q.split_once('"'))
            else {
                continue;
            };
            for name in names.split('|') {
                assert!(known(name), "{path}: {name}");
                found += 1;
            }
        }
    }
    assert!(found > 10);
}

#[test]
fn every_panel_says_what_it_shows_and_asks_for_the_gateways_that_were_chosen() {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<_> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    let wanted =
        ["Traffic", "Drops by reason", "Sessions and pressure", "Pools", "Workers and steering", "Reloads"];
    assert_eq!(rows, wanted);
    let ids: HashSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", panel["title"]);
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let selectors = query.matches("natgate_").count();
            assert_eq!(query.matches(r#"{instance=~"$instance""#).count(), selectors, "{query}");
        }
    }
}

#[test]
fn metrics_are_documented() {
    let mut table = String::from("\n| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (metric.name, metric.kind.name(), labels.join(", "));
        writeln!(table, "| `{name}` | {kind} | {labels} | {} |", metric.help).unwrap();
    }
    let manual = text(MANUAL);
    let (head, rest) = manual.split_once("<!-- metrics: ").unwrap();
    let (marker, rest) = rest.split_once("-->\n").unwrap();
    let (_, tail) = rest.split_once("<!-- end -->").unwrap();
    let fresh = format!("{head}<!-- metrics: {marker}-->\n{table}\n<!-- end -->{tail}");
    if std::env::var_os("NATGATE_WRITE_DOCS").is_some() {
        fs::write(file(MANUAL), &fresh).unwrap();
    }
    assert!(
        text(MANUAL) == fresh,
        "{MANUAL} is out of date: NATGATE_WRITE_DOCS=1 cargo test --test control_socket metrics_are_documented"
    );
}

#[test]
fn every_alert_is_documented_and_tested() {
    let (alerts, manual, tests) = (text(ALERTS), text(MANUAL), text(ALERT_TESTS));
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(manual.contains(&format!("| `{name}` |")), "{MANUAL} says nothing of {name}");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{ALERT_TESTS} never fires {name}");
    }
}

/// Has promtool check something, if it is there (`scripts/test` takes care of that).
#[allow(clippy::print_stderr, reason = "whoever reads the log has to know what was not checked")]
fn promtool(args: &[&str], input: &str) {
    let program = std::env::var_os("NATGATE_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let mut promtool = Command::new(program);
    promtool.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = promtool.spawn() else {
        eprintln!("there is no promtool (it is in the package prometheus): SKIPPED");
        return;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {args:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_finds_nothing_to_complain_about_in_a_scrape() {
    let gateway = Gateway::new(3);
    let _server = gateway.start();
    promtool(&["check", "metrics"], &scrape(&gateway, "*/*").1);
}

#[test]
fn promtool_accepts_the_alerts_and_they_fire_when_they_should_and_only_then() {
    let path = |name: &str| file(name).to_str().unwrap().to_owned();
    promtool(&["check", "rules", "--lint-fatal", &path(ALERTS)], "");
    promtool(&["test", "rules", &path(ALERT_TESTS)], "");
}

#[test]
fn promtool_accepts_every_query_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let query = |target: &Value| {
        let query = target["expr"].as_str().unwrap().replace("$instance", ".+");
        query.replace("$__rate_interval", "1m").replace("$__range", "1h")
    };
    // As rules, which promtool reads; JSON is YAML. Two panels may ask the same, two rules may not.
    let queries: HashSet<_> = targets.flatten().map(query).collect();
    let rule =
        |(n, query): (usize, &String)| serde_json::json!({"record": format!("panel:{n}"), "expr": query});
    let rules: Vec<_> = queries.iter().enumerate().map(rule).collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.yml");
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&path, groups.to_string()).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()], "");
}

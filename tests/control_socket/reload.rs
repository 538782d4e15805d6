//! Reload over the socket, under a gateway that runs: `natgate reload`, `diff`, `confirm`, `rollback`, `config`, edits.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "clippy does not see that these are for tests only"
)]

use crate::gateway::LONG;
use crate::live::{Live, config_text};
use natgate::control::api;
use natgate::control::client::ClientError;
use natgate::control::reload::answer::{
    Options, Reload, ReloadFailure, ReloadRequest, RevisionRow, RunningConfig, SessionPolicy,
};
use natgate::control::reload::history::History;
use std::io::Write;
use std::process::Output;
use std::time::{Duration, Instant};

const WORKERS: usize = 2;
const SESSIONS: u32 = 20_000;

fn text() -> String {
    config_text(WORKERS, SESSIONS)
}

/// The same with a shorter timeout.
fn shorter() -> String {
    text() + "[conntrack.timeouts]\nudp = \"20s\"\n"
}

/// No rule translates 10.0.0.5.
fn without_a_host() -> String {
    text().replace("[[snat]]\n", "[[snat]]\nfrom = [\"10.0.0.0/30\"]\n")
}

fn post(live: &Live, config: &str, options: Options) -> Result<Reload, ReloadFailure> {
    let request = ReloadRequest { config: Some(config.into()), file: Some("new.toml".into()), options };
    live.client().post_json("/v1/config", &request).map_err(|error| match error {
        ClientError::Refused { body, .. } => serde_json::from_str(&body).unwrap(),
        error => panic!("{error}"),
    })
}

fn running(live: &Live) -> RunningConfig {
    live.client().get_json("/v1/config").unwrap()
}

fn sessions(live: &Live) -> u64 {
    live.client().get_json::<api::Status>("/v1/status").unwrap().sessions.used
}

fn kinds(live: &Live) -> Vec<String> {
    let events: api::Events = live.client().get_json("/v1/events").unwrap();
    events.events.into_iter().map(|event| event.kind).collect()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn drops(live: &Live) -> u64 {
    live.client().get_json::<api::Drops>("/v1/drops").unwrap().total
}

#[test]
fn a_reload_says_what_changed_and_breaks_no_session() {
    let live = Live::start();
    live.open(5, 1000..1200);
    let dropped = drops(&live);
    let done = post(&live, &shorter(), Options { author: "ann".into(), ..Options::default() }).unwrap();
    assert!(done.applied && done.problems.is_empty(), "{done:?}");
    assert_eq!(done.revision, 2);
    let lines: Vec<&str> = done.changes.iter().map(|change| change.text.as_str()).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("~ conntrack.timeouts.udp: 5m") && lines[0].ends_with("20s"), "{lines:?}");
    assert_eq!((done.sessions.total, done.sessions.not_made, done.sessions.deleted), (200, 0, 0));
    assert_eq!((sessions(&live), drops(&live)), (200, dropped));
    let timers: api::Timers = live.client().get_json("/v1/timers").unwrap();
    let udp = timers.sets[0].timeouts.iter().find(|timeout| timeout.name == "udp").unwrap();
    assert!((udp.seconds - 20.0).abs() < 0.1, "shown as it runs: {udp:?}");
    assert_eq!(kinds(&live), ["reloaded"]);
    // The same again changes nothing.
    let again = post(&live, &shorter(), Options::default()).unwrap();
    assert!(!again.applied && again.changes.is_empty() && again.revision == 2, "{again:?}");
}

#[test]
fn a_config_that_is_wrong_leaves_everything_as_it_was_and_says_where() {
    let live = Live::start();
    live.open(5, 1000..1010);
    let wrong =
        text().replace("out = \"wan\"", "out = \"wann\"") + "[conntrack.timeouts]\nudp = \"5 parsecs\"\n";
    let failure = post(&live, &wrong, Options::default()).unwrap_err();
    assert_eq!(failure.findings.len(), 2, "all of them at once: {failure:?}");
    let lines: Vec<usize> = failure.findings.iter().map(|finding| finding.line).collect();
    assert!(
        lines.iter().all(|line| *line > 1) && failure.findings[0].text.contains("new.toml:"),
        "{failure:?}"
    );
    assert!(failure.findings.iter().any(|finding| finding.help.contains("`wan`")), "{failure:?}");
    assert_eq!((running(&live).revision, running(&live).config, sessions(&live)), (1, text(), 10));
    assert_eq!(kinds(&live), ["reload_refused"]);
    live.open(6, 1000..1010);
}

#[test]
fn what_needs_a_restart_is_said_and_nothing_of_the_rest_is_applied() {
    let live = Live::start();
    let other = shorter().replace("workers = 2", "workers = 3").replace("20000", "30000");
    let failure = post(&live, &other, Options::default()).unwrap_err();
    let what: Vec<&str> = failure.restart.iter().map(|restart| restart.what.as_str()).collect();
    assert!(what.contains(&"runtime.workers") && what.contains(&"conntrack.max_sessions"), "{what:?}");
    assert!(failure.error.contains("restart"), "{}", failure.error);
    assert_eq!(running(&live).config, text());
}

#[test]
fn a_dry_run_says_which_sessions_would_not_be_made_and_changes_nothing() {
    let live = Live::start();
    live.open(2, 1000..1030);
    live.open(5, 1000..1020);
    let options = Options { dry_run: true, ..Options::default() };
    let done = post(&live, &without_a_host(), options).unwrap();
    assert!(!done.applied);
    assert_eq!((done.sessions.total, done.sessions.not_made), (50, 20));
    assert_eq!((running(&live).revision, sessions(&live)), (1, 50));
    assert!(kinds(&live).is_empty());
}

#[test]
fn sessions_that_new_rules_would_not_make_go_on_or_go_as_the_operator_says() {
    for (policy, left) in [(SessionPolicy::Keep, 50), (SessionPolicy::Drop, 30)] {
        let live = Live::start();
        live.open(2, 1000..1030);
        live.open(5, 1000..1020);
        let done =
            post(&live, &without_a_host(), Options { sessions: policy, ..Options::default() }).unwrap();
        assert_eq!((done.sessions.not_made, done.sessions.deleted), (20, 50 - left));
        assert_eq!(sessions(&live), left);
    }
}

#[test]
fn what_is_not_confirmed_in_time_is_rolled_back() {
    let live = Live::start();
    let trial = Options { confirm_within_seconds: Some(1), ..Options::default() };
    let done = post(&live, &shorter(), trial.clone()).unwrap();
    assert_eq!(done.confirm_within_seconds, Some(1));
    assert_eq!(running(&live).config, shorter());
    // Meanwhile nobody else changes anything.
    let failure = post(&live, &without_a_host(), Options::default()).unwrap_err();
    assert!(failure.error.contains("confirm"), "{}", failure.error);
    let begun = Instant::now();
    while kinds(&live).last().is_none_or(|kind| kind != "rolled_back") {
        assert!(begun.elapsed() < LONG, "it is rolled back by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        (kinds(&live), running(&live).config),
        (vec!["reloaded".into(), "rolled_back".into()], text())
    );
    let stats = live.state.reloads.read();
    assert_eq!((stats.applied, stats.refused, stats.rolled_back, stats.on_trial), (2, 0, 1, false));
    // Confirmed in time it stays.
    post(&live, &shorter(), Options { confirm_within_seconds: Some(60), ..Options::default() }).unwrap();
    out(&live.natgate(&["confirm"]));
    assert_eq!((running(&live).config, running(&live).confirm_within_seconds), (shorter(), None));
    let failure = live.natgate(&["confirm"]);
    assert_eq!(failure.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failure.stderr).contains("nothing waits to be confirmed"));
}

#[test]
fn a_process_that_dies_before_the_confirmation_starts_with_the_revision_before() {
    let live = Live::start();
    std::fs::write(live.config_path(), shorter()).unwrap();
    let trial = Options { confirm_within_seconds: Some(3600), ..Options::default() };
    post(&live, &shorter(), trial).unwrap();
    let start_with = || {
        let history = History::load(&live.state_directory(), &live.config_path()).unwrap();
        let text = std::fs::read_to_string(live.config_path()).unwrap();
        history.instead_of(&text).map_or(text, |revision| revision.text.clone())
    };
    assert_eq!(start_with(), text(), "the file has what was not confirmed");
    out(&live.natgate(&["confirm"]));
    assert_eq!(start_with(), shorter());
}

#[test]
fn any_of_the_last_ten_revisions_can_be_gone_back_to() {
    let live = Live::start();
    for n in 0..12 {
        let config = format!("{}[conntrack.timeouts]\nudp = \"{}s\"\n", text(), 10 + n);
        post(&live, &config, Options { comment: format!("try {n}"), ..Options::default() }).unwrap();
    }
    let rows: Vec<RevisionRow> = live.client().get_json("/v1/config/revisions").unwrap();
    let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (3..=13).collect::<Vec<_>>());
    assert!(rows.last().is_some_and(|row| row.runs && row.comment == "try 11"));
    let log = out(&live.natgate(&["config", "log"]));
    assert!(log.lines().any(|line| line.contains("runs") && line.contains("reload: try 11")), "{log}");
    let done = out(&live.natgate(&["rollback", "--to", "3", "-m", "too short"]));
    assert!(done.contains("udp: 21s -> 11s") && done.contains("revision 14 runs on all workers"), "{done}");
    assert!(out(&live.natgate(&["config"])).contains("udp = \"11s\""));
    out(&live.natgate(&["rollback"]));
    assert!(running(&live).config.contains("udp = \"21s\""), "back to what ran before");
    let failure = live.natgate(&["rollback", "--to", "2"]);
    assert_eq!(failure.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failure.stderr).contains("choose from 5, 6"), "{failure:?}");
}

#[test]
fn the_command_line_compares_reloads_and_saves() {
    let live = Live::start();
    let new = live.directory().join("new.toml");
    std::fs::write(&new, shorter()).unwrap();
    let new = new.to_str().unwrap();
    let diff = out(&live.natgate(&["diff", new]));
    assert!(diff.contains("~ conntrack.timeouts.udp: ") && diff.contains("nothing was changed"), "{diff}");
    let done = out(&live.natgate(&["reload", new, "--save", "-m", "DNS only"]));
    assert!(done.contains("revision 2 runs on all workers") && done.contains("written to "), "{done}");
    assert_eq!(std::fs::read_to_string(live.config_path()).unwrap(), shorter());
    assert!(running(&live).saved);
    // Without a file it is that of the gateway.
    std::fs::write(live.config_path(), text()).unwrap();
    assert!(out(&live.natgate(&["reload"])).contains("revision 3 runs"));
    std::fs::write(new, "[interface.lan\n").unwrap();
    let failure = live.natgate(&["reload", new]);
    assert_eq!(failure.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&failure.stderr).contains("new.toml:1:"), "{failure:?}");
}

#[test]
fn single_objects_are_edited_by_the_same_transaction() {
    let live = Live::start();
    live.open(5, 1000..1010);
    let done = out(&live.natgate(&["forward", "add", "--on", "wan", "tcp", "8080", "10.0.0.80:80"]));
    assert!(done.contains("+ dnat tcp"), "{done}");
    assert!(running(&live).config.contains("port = 8080"));
    let done = out(&live.natgate(&["forward", "drain", "--backend", "10.0.0.80"]));
    assert!(done.contains("drain"), "{done}");
    let done = out(&live.natgate(&["ban", "10.0.0.5", "--sessions", "drop", "--save", "-m", "scans"]));
    assert!(done.contains("10 sessions were deleted") && done.contains("written to"), "{done}");
    assert_eq!(sessions(&live), 0);
    let again = live.natgate(&["ban", "10.0.0.5"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("banned already"), "{again:?}");
    out(&live.natgate(&["unban", "10.0.0.5"]));
    live.open(5, 1000..1010);
    let log = out(&live.natgate(&["config", "log"]));
    assert!(log.contains("edit: ban 10.0.0.5/32: scans") || log.contains("edit: ban 10.0.0.5"), "{log}");
    let usage = live.natgate(&["forward", "add", "--on", "wan", "tcp", "eighty", "10.0.0.80:80"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}

#[test]
fn a_hundred_reloads_under_sessions_lose_nothing() {
    let live = Live::start();
    live.open(5, 1000..1500);
    let before: api::Drops = live.client().get_json("/v1/drops").unwrap();
    for n in 0..100 {
        let config = format!("{}[conntrack.timeouts]\nudp = \"{}s\"\n", text(), 300 + n % 2);
        let done = post(&live, &config, Options::default()).unwrap();
        assert!(done.problems.is_empty(), "{done:?}");
    }
    let after: api::Drops = live.client().get_json("/v1/drops").unwrap();
    assert_eq!((after, sessions(&live)), (before, 500));
    live.open(6, 1000..1100);
}

#[test]
fn a_change_is_made_to_its_end_although_nobody_waits_for_it() {
    let live = Live::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let asked = live.reloader.reload(Some(shorter()), None, Options::default());
        // Begun, and given up at the first moment.
        assert!(tokio::time::timeout(Duration::ZERO, asked).await.is_err());
        // The next one has its turn when the first is done.
        let dry_run = Options { dry_run: true, ..Options::default() };
        assert_eq!(live.reloader.reload(None, None, dry_run).await.unwrap().revision, 2);
    });
    assert_eq!(running(&live).config, shorter());
    live.open(5, 1000..1010);
    assert!(expiries(&live).iter().all(|(_, time)| *time <= Duration::from_secs(20)));
}

#[test]
fn a_client_that_goes_while_its_reload_is_made_leaves_workers_and_the_rest_with_the_same_configuration() {
    let live = Live::start();
    for n in 0..60u16 {
        let (udp, port) = (100 + 10 * n, 1000 + n);
        let config = format!("{}[conntrack.timeouts]\nudp = \"{udp}s\"\n", text());
        let body = serde_json::json!({ "config": config }).to_string();
        let head = format!("POST /v1/config HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = live.connect();
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let asked = Instant::now();
        // At any point of it.
        while asked.elapsed() < Duration::from_micros(200 * u64::from(n)) {
            std::hint::spin_loop();
        }
        drop(stream);
        post(&live, &text(), Options { dry_run: true, ..Options::default() }).unwrap();
        live.open(5, port..port + 1);
        let timers: api::Timers = live.client().get_json("/v1/timers").unwrap();
        let said = timers.sets[0].timeouts.iter().find(|timeout| timeout.name == "udp").unwrap().seconds;
        let new = expiry_of(&live, port);
        let apart = Duration::from_secs_f64(said).abs_diff(new);
        assert!(apart < Duration::from_secs(5), "{said} s are shown and {new:?} run after attempt {n}");
    }
    assert!(running(&live).revision > 1, "some were made");
}

/// When each session expires from now on, with its port.
fn expiries(live: &Live) -> Vec<(Option<u16>, Duration)> {
    let lines = live.client().get_lines("/v1/sessions?format=json").unwrap();
    let row = |line: Result<String, _>| serde_json::from_str::<api::Session>(&line.unwrap()).unwrap();
    lines
        .map(row)
        .map(|session| (session.original.sport, Duration::from_secs(session.expires_seconds)))
        .collect()
}

fn expiry_of(live: &Live, port: u16) -> Duration {
    expiries(live).into_iter().find(|(sport, _)| *sport == Some(port)).unwrap().1
}

#[test]
fn a_body_that_is_none_is_refused_with_what_is_wrong() {
    let live = Live::start();
    let refused = |path: &str, body: serde_json::Value| {
        let answer: Result<Reload, _> = live.client().post_json(path, &body);
        let Err(ClientError::Refused { status, message, .. }) = answer else { panic!("{path} {body}") };
        (status, message)
    };
    let (status, message) = refused("/v1/config", serde_json::json!({"sessions": "burn"}));
    assert_eq!(status, 400);
    assert!(message.contains("burn") && message.contains("keep"), "{message}");
    assert_eq!(refused("/v1/config/edit", serde_json::json!({})).0, 400);
    let (status, message) = refused("/v1/config", serde_json::json!({"confirm_within_seconds": 0}));
    assert_eq!(status, 409);
    assert!(message.contains("1 to 86400"), "{message}");
    assert_eq!(running(&live).revision, 1);
}

//! The control socket as its clients see it: a real server on a real socket, with made-up counters and real
//! session tables. No DPDK, no privileges.

mod abuse;
mod advise;
mod explain;
mod gateway;
mod listings;
mod live;
mod metrics;
mod monitoring;
mod notrack;
mod openapi;
mod openmetrics;
mod pipelines;
mod read_only;
mod reload;
mod sessions;
mod steering;
mod streams;
mod watch;

use gateway::{Gateway, LONG};
use natgate::cli;
use natgate::conntrack::table::Shard;
use natgate::control::client::ClientError;
use natgate::control::server::{Limits, ServerError};
use natgate::control::socket::{SocketError, SocketFile};
use natgate::control::{Client, Server, api};
use natgate::telemetry::DropReason;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{fs, thread};

#[test]
fn the_status_adds_all_workers_up() {
    let gateway = Gateway::new(3);
    let server = gateway.start();
    let status: api::Status = gateway.client().get_json("/v1/status").unwrap();
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.sessions, api::Usage { used: 7, capacity: 22 });
    let total = status.total;
    assert_eq!((total.rx, total.sent, total.consumed), (1_000_000, 989_000, 10));
    assert_eq!((total.dropped, total.held, status.unaccounted), (10_985, 5, 0));
    assert_eq!(status.workers[1].counts.taken_over, 390_000);

    gateway.state.workers[1].rx.set(32);
    let status: api::Status = gateway.client().get_json("/v1/status").unwrap();
    assert_eq!(status.unaccounted, 32, "a burst in work");
    server.stop();
}

#[test]
fn drops_name_every_reason_with_its_help() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let drops: api::Drops = gateway.client().get_json("/v1/drops").unwrap();
    assert_eq!(drops.total, 10_985);
    assert_eq!(drops.reasons.len(), DropReason::COUNT);
    let no_route = drops.reasons.iter().find(|drop| drop.reason == "no_route").unwrap();
    assert_eq!((no_route.packets, no_route.workers.as_slice()), (9_995, [9_990, 5].as_slice()));
    assert_eq!(no_route.help, DropReason::NoRoute.help());
}

#[test]
fn interfaces_and_neighbors_are_listed_with_their_names() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let interfaces: Vec<api::Interface> = gateway.client().get_json("/v1/interfaces").unwrap();
    assert_eq!(interfaces.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["lan", "wan"]);
    assert_eq!((interfaces[0].rx_packets, interfaces[0].rx_bytes), (1_000_000, 64_000_000));
    assert_eq!(interfaces[1].tx_packets, 989_000);
    assert_eq!(interfaces[1].addresses, ["203.0.113.2/24"]);

    let neighbors: Vec<api::Neighbor> = gateway.client().get_json("/v1/neighbors").unwrap();
    assert_eq!(neighbors.len(), 1);
    assert_eq!((neighbors[0].interface.as_str(), neighbors[0].age_seconds), ("wan", 7));
    gateway.state.published.neighbors.publish(Vec::new());
    let neighbors: Vec<api::Neighbor> = gateway.client().get_json("/v1/neighbors").unwrap();
    assert!(neighbors.is_empty());
}

#[test]
fn every_session_is_listed_once_in_either_format() {
    let gateway = Gateway::new(3_000);
    let _server = gateway.start();
    let lines = |query: &str| -> Vec<String> {
        let lines = gateway.client().get_lines(&format!("/v1/sessions?{query}")).unwrap();
        lines.collect::<Result<_, _>>().unwrap()
    };
    let rows: Vec<api::Session> =
        lines("format=json").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sources: HashSet<_> = rows.iter().map(|row| row.original.src).collect();
    assert_eq!((rows.len(), sources.len()), (6_001, 6_001));

    let ping = rows.iter().find(|row| row.protocol == "icmp").unwrap();
    assert_eq!(
        (ping.original.icmp_id, ping.reply.icmp_id, ping.original.sport),
        (Some(4_711), Some(815), None)
    );
    assert_eq!((ping.worker, ping.age_seconds, ping.idle_seconds), (1, 10, 10));
    assert_eq!((ping.original.packets, ping.original.bytes, ping.reply.packets), (1, 100, 0));
    assert_eq!(ping.expires_seconds, 50);

    let extended = lines("format=extended");
    assert_eq!(extended.len(), 6_001);
    assert!(extended.iter().all(|line| line.starts_with("ipv4 ") && line.contains("src=10.")));

    assert_eq!(lines("limit=10").len(), 10);
    assert_eq!(lines("limit=0").len(), 0);
    assert_eq!(lines("limit=1000000").len(), 6_001);
    let count: api::SessionCount = gateway.client().get_json("/v1/sessions/count").unwrap();
    assert_eq!((count.total.used, count.workers.len()), (6_001, 2));
}

#[test]
fn an_empty_table_gives_an_empty_list() {
    let mut gateway = Gateway::new(0);
    let (_shard, view) = Shard::new(100_000, 7);
    Arc::get_mut(&mut gateway.state).unwrap().sessions = vec![view];
    let _server = gateway.start();
    assert_eq!(gateway.client().get_lines("/v1/sessions").unwrap().count(), 0);
}

#[test]
fn only_the_owner_may_open_the_socket() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let metadata = fs::metadata(gateway.socket()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_second_gateway_on_the_same_socket_is_refused() {
    let gateway = Gateway::new(0);
    let server = gateway.start();
    let error = Server::start(&gateway.socket(), Arc::clone(&gateway.state)).unwrap_err();
    let expected = format!("another natgate (pid {}) is listening on", std::process::id());
    assert!(error.to_string().starts_with(&expected), "{error}");
    gateway.client().get_json::<api::Status>("/v1/status").unwrap();
    server.stop();
    gateway.start();
}

#[test]
fn of_gateways_that_start_at_once_exactly_one_gets_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    for _ in 0..100 {
        // A stale file makes all of them want to remove it.
        drop(UnixListener::bind(&path).unwrap());
        let barrier = Barrier::new(4);
        let started: Vec<_> = thread::scope(|scope| {
            let listen = || {
                barrier.wait();
                SocketFile::listen(&path, None)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(listen)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(started.iter().filter(|socket| socket.is_ok()).count(), 1, "{started:?}");
        UnixStream::connect(&path).unwrap();
    }
}

#[test]
fn the_socket_of_a_dead_process_is_replaced() {
    let gateway = Gateway::new(0);
    drop(UnixListener::bind(gateway.socket()).unwrap());
    assert!(gateway.socket().exists());
    let _server = gateway.start();
    gateway.client().get_json::<api::Status>("/v1/status").unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let gateway = Gateway::new(0);
    fs::write(gateway.socket(), "precious").unwrap();
    let error = Server::start(&gateway.socket(), Arc::clone(&gateway.state)).unwrap_err();
    assert!(matches!(error, ServerError::Socket(SocketError::NotASocket(_))), "{error}");
    assert_eq!(fs::read_to_string(gateway.socket()).unwrap(), "precious");
}

#[test]
fn a_socket_that_can_not_be_made_says_why() {
    let gateway = Gateway::new(0);
    let start = |path: &Path| Server::start(path, Arc::clone(&gateway.state)).unwrap_err().to_string();
    let long = gateway.directory.path().join("x".repeat(120));
    assert!(start(&long).starts_with("the path of the control socket is longer than 107 bytes"));
    let missing = gateway.directory.path().join("no/such/control.sock");
    assert!(start(&missing).starts_with("can not create the directory"), "{}", start(&missing));
}

#[test]
fn stopping_removes_the_socket_but_not_that_of_a_successor() {
    let gateway = Gateway::new(0);
    gateway.start().stop();
    assert!(!gateway.socket().exists());

    let server = gateway.start();
    fs::remove_file(gateway.socket()).unwrap();
    let successor = UnixListener::bind(gateway.socket()).unwrap();
    let inode = fs::metadata(gateway.socket()).unwrap().ino();
    server.stop();
    assert_eq!(fs::metadata(gateway.socket()).unwrap().ino(), inode);
    drop(successor);
}

#[test]
fn slow_clients_hold_nobody_up() {
    let gateway = Gateway::new(20_000);
    let server = gateway.start();
    let _silent = gateway.connect();
    let mut half = gateway.connect();
    half.write_all(b"GET /v1/status HT").unwrap();
    let mut stuck = gateway.connect();
    stuck.write_all(b"GET /v1/sessions HTTP/1.1\r\nhost: natgate\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stuck.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    for _ in 0..20 {
        gateway.client().get_json::<api::Status>("/v1/status").unwrap();
    }
    assert_eq!(gateway.client().get_lines("/v1/sessions").unwrap().count(), 40_001);

    let stopping = Instant::now();
    server.stop();
    assert!(stopping.elapsed() < LONG);
    let error = Client::new(gateway.socket()).get_json::<api::Status>("/v1/status").unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let gateway = Gateway::new(0);
    let _server = gateway.start_with(Limits { request: Duration::from_millis(20), ..Limits::default() });
    assert_eq!(gateway.raw(b""), "");
    assert_eq!(gateway.raw(b"GET /v1/sta"), "");
}

#[test]
fn a_client_that_stops_reading_loses_its_place() {
    let gateway = Gateway::new(20_000);
    let limits = Limits { connections: 1, stall: Duration::from_millis(20), ..Limits::default() };
    let _server = gateway.start_with(limits);
    let mut stuck = gateway.connect();
    stuck.write_all(b"GET /v1/sessions HTTP/1.1\r\nhost: natgate\r\n\r\n").unwrap();
    stuck.read_exact(&mut [0; 15]).unwrap();
    let waiting = Instant::now();
    while gateway.client().get_json::<api::Status>("/v1/status").is_err() {
        assert!(waiting.elapsed() < LONG, "the stuck client still has its place");
        thread::yield_now();
    }
}

#[test]
fn one_client_too_many_is_told_so() {
    let gateway = Gateway::new(0);
    let _server = gateway.start_with(Limits { connections: 1, ..Limits::default() });
    let mut first = gateway.connect();
    first.write_all(b"GET /v1/status HTTP/1.1\r\nhost: natgate\r\n\r\n").unwrap();
    first.read_exact(&mut [0; 15]).unwrap();
    let answer = gateway.raw(b"");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("{\"error\":\"too many connections to the control socket at once\"}"));
}

#[test]
fn what_is_wrong_with_a_request_is_answered_with_4xx() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let huge = format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let ask = |request: &str| format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    for (request, status) in [
        (ask("GET /"), "404"),
        (ask("GET /v1/nothing"), "404"),
        (ask("DELETE /v1/sessions/count"), "405"),
        (ask("POST /v1/status"), "405"),
        (ask("GET /v1/sessions?limit=-1"), "400"),
        (ask("GET /v1/sessions?limit=many"), "400"),
        (ask("GET /v1/sessions?format=xml"), "400"),
        (ask("GET /v1/sessions?limits=1"), "400"),
        ("\x16\x03\x01 no HTTP at all\r\n\r\n".to_owned(), "400"),
        (huge, "431"),
    ] {
        let answer = gateway.raw(request.as_bytes());
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{request:.40}: {line}");
        if status == "404" || status == "405" || request.contains("sessions?") {
            assert!(answer.contains("{\"error\":\""), "{answer}");
        }
    }
    let error = gateway.client().get_json::<api::Status>("/v1/sessions?limit=many").unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { status: 400, message, .. } if message.contains("limit")),
        "{error}"
    );
}

#[test]
fn a_large_body_is_not_read() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let head = b"GET /v1/status HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n";
    let answer = gateway.raw(head);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn curl_can_talk_to_it() {
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let curl = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--max-time", "20", "--unix-socket"]).arg(gateway.socket());
        let output = curl.arg(format!("http://natgate{path}")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let status: api::Status = serde_json::from_str(&curl("/v1/status")).unwrap();
    assert_eq!(status.sessions.used, 3);
    assert_eq!(curl("/v1/sessions?format=extended").lines().count(), 3);
}

#[test]
fn a_gateway_that_does_not_run_is_named_in_the_error() {
    let gateway = Gateway::new(0);
    let error = gateway.client().get_json::<api::Status>("/v1/status").unwrap_err();
    let expected = format!("no gateway is listening on {}", gateway.socket().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    drop(UnixListener::bind(gateway.socket()).unwrap());
    let error = gateway.client().get_lines("/v1/sessions").err().unwrap();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
}

#[test]
fn the_commands_show_what_the_gateway_answers() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let client = gateway.client();
    let mut status: api::Status = client.get_json("/v1/status").unwrap();
    (status.pid, status.uptime_seconds) = (42, 7_440);
    status.started = "2030-01-02T03:04:05Z".into();
    let text = |write: &dyn Fn(&mut dyn Write)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let shown = text(&|out| cli::show_status::write_status(out, &status, None, false).unwrap());
    let expected = "\
natgate 0.1.0, process 42
config    /etc/natgate/natgate.toml
up        2h 4m (since 2030-01-02T03:04:05Z)
sessions  3 of 18 (16.6 %); 0 created, 0 removed since the start

packets
received  1,000,000
sent        989,000  forwarded
consumed         10  for the gateway itself (ARP, ping)
dropped      10,985  see `natgate show drops`
held              5  wait for a neighbour or a first fragment
they add up: received = sent + consumed + dropped + held

made here 0 sent, 0 not sent; 0 ICMP errors over the limit
handed    390,000 to other workers (39.0 % of received; see `natgate show
          steering`)

worker  sessions   received     sent  dropped  busy polls
     0         1  1,000,000  600,000    9,990      25.0 %
     1         2          0  389,000      995
";
    assert_eq!(shown, expected);

    let drops: api::Drops = client.get_json("/v1/drops").unwrap();
    let shown = text(&|out| cli::show::write_drops(out, &drops, None, false).unwrap());
    // Help texts go on below themselves.
    let rows = shown.lines().filter(|line| !line.starts_with("                "));
    let counts: Vec<_> = rows.map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).collect();
    assert_eq!(
        counts,
        [["packets", "reason"], ["990", "ttl_expired"], ["9,995", "no_route"], ["10,985", "total"]]
    );

    let list: Vec<api::Neighbor> = client.get_json("/v1/neighbors").unwrap();
    let shown = text(&|out| cli::show::write_neighbors(out, &list).unwrap());
    assert_eq!(shown.lines().nth(1), Some("wan        203.0.113.1  02:00:00:00:00:fe  reachable     7s"));
}

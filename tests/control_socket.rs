//! The control socket as its clients see it: a real server on a real socket, with made-up counters and real
//! session tables. No DPDK, no privileges.

use natgate::cli;
use natgate::conntrack::key::V4Key;
use natgate::conntrack::session::NewSession;
use natgate::conntrack::table::Shard;
use natgate::conntrack::timeouts::Timeouts;
use natgate::conntrack::tracker;
use natgate::control::client::ClientError;
use natgate::control::server::{Limits, ServerError};
use natgate::control::socket::SocketError;
use natgate::control::state::{InterfaceInfo, NeighborRow, Neighbors, Started};
use natgate::control::{Client, ControlState, Server, api};
use natgate::ids::{InterfaceId, MacAddr, Realm};
use natgate::packet::{Kind, Tuple};
use natgate::telemetry::{DropReason, WorkerCounters};
use natgate::time::Tick;
use natgate::wire::checksum::Delta;
use natgate::wire::protocol;
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// What no test should ever need.
const LONG: Duration = Duration::from_secs(20);
const NOW: Tick = Tick(1_000);

/// A gateway with two workers that does nothing, and a directory for its socket.
struct Gateway {
    directory: tempfile::TempDir,
    state: Arc<ControlState>,
}

impl Gateway {
    /// With this many UDP sessions on each worker, and one ping on the second.
    fn new(sessions: u16) -> Gateway {
        let workers: Vec<Arc<WorkerCounters>> = (0..2).map(|_| Arc::default()).collect();
        let mut views = Vec::new();
        for (worker, subnet) in workers.iter().zip(1u8..) {
            let (mut shard, view) = Shard::new(u32::from(sessions) + 8, 7);
            for n in 0..sessions {
                let [high, low] = n.to_be_bytes();
                let inside = Ipv4Addr::new(10, subnet, high, low);
                shard.insert(udp(inside, n.wrapping_add(1_024))).unwrap();
            }
            if subnet == 2 {
                shard.insert(ping()).unwrap();
            }
            worker.sessions.set(shard.len().into());
            views.push(view);
        }
        count(&workers);
        let interface = |name: &str, n: u8, realm, address: &str| InterfaceInfo {
            name: name.into(),
            device: format!("af_packet:eth{n}"),
            driver: "net_af_packet".into(),
            mac: MacAddr([2, 0, 0, 0, 0, n]),
            vlan: 0,
            realm,
            addresses: vec![address.parse().unwrap()],
            mtu: 1500,
        };
        let neighbors = Neighbors::default();
        neighbors.publish(vec![NeighborRow {
            interface: InterfaceId(1),
            address: Ipv4Addr::new(203, 0, 113, 1),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 0xfe])),
            state: "reachable",
            updated: Tick(NOW.0 - 75),
            waiting: 0,
        }]);
        let state = ControlState {
            started: Started::now(),
            version: "0.1.0".into(),
            dpdk_version: None,
            config_path: "/etc/natgate/natgate.toml".into(),
            workers,
            interfaces: vec![
                interface("lan", 1, Realm::Internal, "192.168.1.1/24"),
                interface("wan", 2, Realm::External, "203.0.113.2/24"),
            ],
            sessions: views,
            neighbors,
            now: Box::new(|| NOW),
        };
        Gateway { directory: tempfile::tempdir().unwrap(), state: Arc::new(state) }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn start(&self) -> Server {
        self.start_with(Limits::default())
    }

    fn start_with(&self, limits: Limits) -> Server {
        Server::start_with(&self.socket(), Arc::clone(&self.state), limits).unwrap()
    }

    fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// A connection on which nothing was said yet.
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream
    }

    /// The whole answer to these bytes, from the status line on.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may have answered and closed before it took everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_ok() || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
        String::from_utf8(answer).unwrap()
    }
}

fn session(original: Tuple, reply: Tuple, kind: Kind, created: Tick) -> NewSession<V4Key> {
    NewSession {
        original: V4Key::new(original, Realm::Internal, 0),
        reply: V4Key::new(reply, Realm::External, 0),
        opening: tracker::open(&kind, &Timeouts::default()).unwrap(),
        now: created,
        length: 100,
        lease: None,
        l3: Delta::default(),
        l4: Delta::default(),
    }
}

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn udp(inside: Ipv4Addr, port: u16) -> NewSession<V4Key> {
    let tuple = |src, dst, sport, dport| Tuple { src, dst, sport, dport, protocol: protocol::UDP };
    // Another server each, so that reply tuples differ however many there are.
    let server = Ipv4Addr::from_bits(SERVER.to_bits() ^ (inside.to_bits() << 8 & 0x0fff_ff00));
    let original = tuple(inside, server, port, 53);
    session(original, tuple(server, OUTSIDE, 53, port), Kind::Udp, Tick(NOW.0 - 25))
}

fn ping() -> NewSession<V4Key> {
    let tuple = |src, dst, sport, dport| Tuple { src, dst, sport, dport, protocol: protocol::ICMP };
    let original = tuple(Ipv4Addr::new(10, 9, 9, 9), SERVER, 4_711, 8);
    session(original, tuple(SERVER, OUTSIDE, 8, 815), Kind::IcmpRequest, Tick(NOW.0 - 100))
}

/// Counters that add up over both workers, but not on either of them.
fn count(workers: &[Arc<WorkerCounters>]) {
    let [a, b] = workers else { panic!("two workers") };
    a.rx.set(1_000_000);
    a.sent.set(600_000);
    a.handed_off.set(390_000);
    a.polls.set(4_000);
    a.busy_polls.set(1_000);
    a.drops[DropReason::NoRoute as usize].set(9_990);
    a.consumed.set(10);
    b.taken_over.set(390_000);
    b.sent.set(389_000);
    b.drops[DropReason::NoRoute as usize].set(5);
    b.drops[DropReason::TtlExpired as usize].set(990);
    b.held.set(5);
    a.interfaces[0].rx_packets.set(1_000_000);
    a.interfaces[0].rx_bytes.set(64_000_000);
    a.interfaces[1].tx_packets.set(600_000);
    b.interfaces[1].tx_packets.set(389_000);
}

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
    gateway.state.neighbors.publish(Vec::new());
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
    let gateway = Gateway::new(0);
    for _ in 0..10 {
        // A stale file makes both of them want to remove it.
        drop(UnixListener::bind(gateway.socket()).unwrap());
        let started: Vec<_> = thread::scope(|scope| {
            let start = || Server::start(&gateway.socket(), Arc::clone(&gateway.state));
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(started.iter().filter(|server| server.is_ok()).count(), 1);
        gateway.client().get_json::<api::Status>("/v1/status").unwrap();
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
    let answer = gateway.raw(b"");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
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
        (ask("DELETE /v1/sessions"), "405"),
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
        matches!(&error, ClientError::Refused { status: 400, message } if message.contains("limit")),
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
    let shown = text(&|out| cli::show::write_status(out, &status).unwrap());
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

made by the gateway itself: 0 sent, 0 not sent; ICMP errors held back by the rate limit: 0
handed from worker to worker: 390,000 (39.0 % of received)

worker  sessions  capacity   received     sent  consumed  dropped  held  handed off  taken over  busy polls
     0         1         9  1,000,000  600,000        10    9,990     0     390,000           0      25.0 %
     1         2         9          0  389,000         0      995     5           0     390,000
";
    assert_eq!(shown, expected);

    let drops: api::Drops = client.get_json("/v1/drops").unwrap();
    let shown = text(&|out| cli::show::write_drops(out, &drops, false).unwrap());
    let counts: Vec<_> =
        shown.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).collect();
    assert_eq!(
        counts,
        [["packets", "reason"], ["990", "ttl_expired"], ["9,995", "no_route"], ["10,985", "total"]]
    );

    let list: Vec<api::Neighbor> = client.get_json("/v1/neighbors").unwrap();
    let shown = text(&|out| cli::show::write_neighbors(out, &list).unwrap());
    assert_eq!(
        shown.lines().nth(1),
        Some("wan        203.0.113.1  02:00:00:00:00:fe  reachable     7s                0")
    );
}

//! Lists, counts, ranks and deletes sessions: over the socket, and with the commands of the command line.

#![allow(clippy::unwrap_used, reason = "clippy does not see that these are for tests only")]

use crate::gateway::Gateway;
use crate::live::Live;
use natgate::control::client::ClientError;
use natgate::control::filter::Filter;
use natgate::control::{api, delete};
use natgate::ids::WorkerId;
use natgate::management::commands::{self, SessionName};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Output;
use std::sync::Arc;

fn count_lines(gateway: &Gateway, query: &str) -> usize {
    let lines = gateway.client().get_lines(&format!("/v1/sessions?{query}")).unwrap();
    lines.collect::<Result<Vec<_>, _>>().unwrap().len()
}

#[test]
fn a_list_shows_what_its_filter_means() {
    let gateway = Gateway::new(1_000);
    let _server = gateway.start();
    for (query, lines) in [
        ("proto=udp", 2_000),
        ("proto=icmp", 1),
        ("proto=tcp", 0),
        ("proto=udp,icmp&worker=1", 1_001),
        ("src=10.1.0.0/16", 1_000),
        ("src=10.1.0.7", 1),
        ("src=10.9.9.9&proto=icmp", 1),
        ("src=10.9.9.9&proto=udp", 0),
        ("sport=1024-1033", 20),
        ("dport=53&limit=5", 5),
        ("dport=54", 0),
        ("reply-dst=203.0.113.2", 2_001),
        ("reply_dst=203.0.113.3", 0),
        ("reply-dport=1024", 2),
        ("state=UDP", 2_000),
        ("state=udp,icmp", 2_001),
        ("unreplied", 2_001),
        ("unreplied=false", 0),
        ("assured=true", 0),
        ("zone=0", 2_001),
        ("zone=1", 0),
        ("mark=0", 2_001),
        ("worker=7", 0),
        ("older-than=9s", 1),
        ("idle-longer-than=2s", 2_001),
        ("min-bytes=100", 2_001),
        ("min-bytes=101", 0),
    ] {
        assert_eq!(count_lines(&gateway, query), lines, "{query}");
    }
}

#[test]
fn a_list_says_zone_mark_and_timeout_set() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let mut lines = gateway.client().get_lines("/v1/sessions?proto=icmp").unwrap();
    let row: api::Session = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((row.zone, row.mark, row.timeout_set.as_str()), (0, 0, "default"));
}

#[test]
fn a_count_with_a_filter_reads_the_tables() {
    let gateway = Gateway::new(1_000);
    let _server = gateway.start();
    let count = |query: &str| -> api::SessionCount {
        gateway.client().get_json(&format!("/v1/sessions/count{query}")).unwrap()
    };
    assert_eq!(count("").total, api::Usage { used: 2_001, capacity: 2_016 });
    let pings = count("?proto=icmp");
    assert_eq!((pings.total.used, pings.total.capacity), (1, 2_016));
    assert_eq!(pings.workers.iter().map(|usage| usage.used).collect::<Vec<_>>(), [0, 1]);
}

fn groups(gateway: &Gateway, path: &str) -> api::SessionGroups {
    gateway.client().get_json(path).unwrap()
}

fn keys(groups: &api::SessionGroups) -> Vec<(&str, u64)> {
    groups.rows.iter().map(|row| (row.key.as_str(), row.sessions)).collect()
}

#[test]
fn sessions_are_counted_by_what_they_have_in_common() {
    let gateway = Gateway::new(1_000);
    let _server = gateway.start();
    let by = |by: &str| groups(&gateway, &format!("/v1/sessions/count?by={by}"));
    assert_eq!(keys(&by("state")), [("UDP", 2_000), ("ICMP", 1)]);
    assert_eq!(keys(&by("protocol")), [("udp", 2_000), ("icmp", 1)]);
    assert_eq!(keys(&by("dport")), [("udp/53", 2_000), ("icmp", 1)]);
    assert_eq!(keys(&by("worker")), [("1", 1_001), ("0", 1_000)]);
    assert_eq!(keys(&by("zone")), [("0", 2_001)]);

    let sources = by("source");
    assert_eq!((sources.sessions, sources.groups, sources.rows.len()), (2_001, 2_001, 20));
    // Of equals the smallest address comes first.
    assert_eq!(keys(&sources)[..2], [("10.1.0.0", 1), ("10.1.0.1", 1)]);
    let few = groups(&gateway, "/v1/sessions/count?by=source&limit=3&src=10.2.0.0/30");
    assert_eq!((few.sessions, few.groups, few.rows.len()), (4, 4, 3));
    let none = groups(&gateway, "/v1/sessions/count?by=state&proto=tcp");
    assert_eq!((none.sessions, none.groups, none.rows.len()), (0, 0, 0));
}

#[test]
fn the_top_shows_who_fills_the_table_and_how_fast() {
    let gateway = Gateway::new(1_000);
    let _server = gateway.start();
    let top = groups(&gateway, "/v1/sessions/top?by=dport");
    // Opened 2.5 seconds ago, and the ping 10 seconds ago: just too long.
    assert_eq!((top.rows[0].new_per_second, top.rows[1].new_per_second), (200.0, 0.0));
    assert_eq!((top.rows[0].bytes, top.rows[0].packets), (200_000, 2_000));
    assert_eq!(groups(&gateway, "/v1/sessions/top").by, "source");

    let mapping = groups(&gateway, "/v1/sessions/top?by=mapping&src=10.1.0.5");
    assert_eq!(keys(&mapping), [("udp 10.1.0.5:1029 203.0.113.2:1029", 1)]);
    let fastest = groups(&gateway, "/v1/sessions/top?by=protocol&sort=rate");
    assert_eq!(fastest.rows[0].key, "udp");
}

#[test]
fn a_parameter_that_is_wrong_is_answered_with_400_and_its_name() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    for (method, target, names) in [
        ("GET", "/v1/sessions?dport=http", ["dport", "http"]),
        ("GET", "/v1/sessions?src=10.0.0.1/8", ["src", "10.0.0.0/8"]),
        ("GET", "/v1/sessions?state=LISTEN", ["state", "ESTABLISHED"]),
        ("GET", "/v1/sessions?proto=tcp&proto=udp", ["proto", "twice"]),
        ("GET", "/v1/sessions?colour=red", ["colour", "limit, format, proto"]),
        ("GET", "/v1/sessions/count?by=size", ["by", "state, protocol"]),
        ("GET", "/v1/sessions/count?limit=5", ["limit", "by=source"]),
        ("GET", "/v1/sessions/count?by=source&limit=1000000", ["limit", "10000"]),
        ("GET", "/v1/sessions/top?sort=name", ["sort", "entries, rate or bytes"]),
        ("GET", "/v1/events?after=x", ["after", "number of an event"]),
        ("GET", "/v1/events?proto=tcp", ["proto", "choose from after"]),
        ("DELETE", "/v1/sessions", ["src=10.0.0.5", "all=true"]),
        ("DELETE", "/v1/sessions?all=false", ["all", "not true"]),
        ("DELETE", "/v1/sessions?all=true&proto=udp", ["all", "no other parameter"]),
        ("DELETE", "/v1/sessions?limit=5", ["limit", "choose from all, proto"]),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = gateway.raw(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let failure: api::Failure = serde_json::from_str(body).unwrap();
        for name in names {
            assert!(failure.error.contains(name), "{target}: {}", failure.error);
        }
    }
}

#[test]
fn a_client_that_does_not_read_its_count_holds_nobody_up() {
    let gateway = Gateway::new(20_000);
    let _server = gateway.start();
    let mut stuck = gateway.connect();
    stuck.write_all(b"GET /v1/sessions/top?by=source&limit=10000 HTTP/1.1\r\nhost: natgate\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stuck.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    assert_eq!(groups(&gateway, "/v1/sessions/top?by=worker").sessions, 40_001);
    // One that left before its answer was ready gives its turn to the next.
    for _ in 0..3 {
        let mut gone = gateway.connect();
        gone.write_all(b"GET /v1/sessions/top HTTP/1.1\r\nhost: natgate\r\n\r\n").unwrap();
    }
    assert_eq!(groups(&gateway, "/v1/sessions/count?by=state").sessions, 40_001);
}

#[test]
fn a_deletion_without_a_management_core_says_so() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let error = gateway.client().delete_json::<api::Deleted>("/v1/sessions?proto=udp").unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { status: 503, message, .. } if message.contains("stopping"))
    );
    // Nothing is meant, so nobody is needed.
    let nothing: api::Deleted = gateway.client().delete_json("/v1/sessions?proto=tcp").unwrap();
    assert_eq!(nothing, api::Deleted::default());
}

/// The clock of the runtime jumps to the next deadline when everybody waits.
#[test]
fn a_deletion_that_no_worker_carries_out_is_given_up() {
    let mut gateway = Gateway::new(3);
    let (commands, _orders) = commands::channel(2);
    Arc::get_mut(&mut gateway.state).unwrap().commands = commands;
    let mut filter = Filter::default();
    filter.set("proto", "udp").unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let done = runtime.block_on(delete::delete(&gateway.state, &filter)).unwrap();
    assert_eq!(done, api::Deleted { matched: 6, deleted: 0 });
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_deleted_is_gone_with_its_ports_and_the_rest_stays() {
    let live = Live::start();
    live.open(5, 2_000..3_000);
    live.open(6, 4_000..4_100);
    let used = || live.client().get_json::<api::SessionCount>("/v1/sessions/count").unwrap().total.used;
    assert_eq!(used(), 1_100);

    // A flow keeps its own port if that is free and one of its worker's.
    let kept = || -> BTreeSet<u16> {
        let lines = live.client().get_lines("/v1/sessions?src=10.0.0.5&sport=2000-2499").unwrap();
        let rows = lines.map(|line| serde_json::from_str::<api::Session>(&line.unwrap()).unwrap());
        rows.filter(|row| row.reply.dport == row.original.sport).filter_map(|row| row.reply.dport).collect()
    };
    let before = kept();
    assert!(!before.is_empty());
    let done: api::Deleted = live.client().delete_json("/v1/sessions?src=10.0.0.5&sport=2000-2499").unwrap();
    assert_eq!(done, api::Deleted { matched: 500, deleted: 500 });
    live.wait("the gauges follow", || used() == 600);
    let removed: u64 = live.state.workers.iter().map(|worker| worker.sessions_removed.get()).sum();
    assert_eq!(removed, 500);

    live.open(5, 2_000..2_500);
    // None of them could have its port if those were not free again; some may have gone to others by chance.
    assert!(kept().intersection(&before).count() > before.len() / 2);
    let all: api::Deleted = live.client().delete_json("/v1/sessions?all=true").unwrap();
    assert_eq!(all, api::Deleted { matched: 1_100, deleted: 1_100 });
    let timers = || live.client().get_json::<api::Timers>("/v1/timers").unwrap().workers;
    live.wait("the timers are published", || timers().iter().map(|worker| worker.armed).sum::<u64>() > 0);
    assert_eq!(timers().len(), 2);
    let events: api::Events = live.client().get_json("/v1/events").unwrap();
    assert_eq!(events.total, 2);
    assert!(events.events[0].text.starts_with("500 sessions were deleted"), "{events:?}");
}

#[test]
fn a_session_that_took_the_place_of_another_is_not_deleted_for_it() {
    let live = Live::start();
    live.open(5, 2_000..2_010);
    let rows: Vec<(usize, SessionName)> = (0..2)
        .flat_map(|worker| {
            let view = live.state.sessions[worker].clone();
            (0..view.capacity()).filter_map(move |index| {
                let generation = view.read(index)?.generation;
                Some((worker, SessionName { index, generation }))
            })
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let order = |worker: usize, name| {
        let worker = WorkerId(u8::try_from(worker).unwrap());
        runtime.block_on(live.state.commands.delete(worker, vec![name])).unwrap();
    };
    // First a name that means nobody, then the right one: when that is gone the first was read.
    let (worker, name) = rows[0];
    let last = rows.iter().rfind(|(other, _)| *other == worker).unwrap().1;
    order(worker, SessionName { generation: name.generation.wrapping_sub(2), ..name });
    order(worker, SessionName { generation: name.generation | 1, ..name });
    order(worker, SessionName { index: u32::MAX, ..name });
    order(worker, last);
    live.wait("the last one is gone", || live.state.sessions[worker].read(last.index).is_none());
    let left = live.state.sessions[worker].read(name.index).map(|session| session.generation);
    assert_eq!(left, (last != name).then_some(name.generation));
}

#[test]
fn the_commands_do_what_they_say_and_end_with_the_right_code() {
    let live = Live::start();
    live.open(5, 2_000..2_020);
    live.open(6, 3_000..3_005);

    let list = live.sessions(&["list", "--src", "10.0.0.6", "-o", "extended"]);
    assert_eq!(list.status.code(), Some(0));
    assert_eq!(text(&list).lines().count(), 5);
    assert!(text(&list).lines().all(|line| line.starts_with("ipv4     2 udp      17 ")), "{}", text(&list));
    assert_eq!(text(&live.sessions(&["--dport", "53", "--limit", "3", "--json"])).lines().count(), 3);

    let top = text(&live.sessions(&["top"]));
    let rows: Vec<Vec<_>> = top.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows[..3], [["source", "sessions"], ["10.0.0.5", "20"], ["10.0.0.6", "5"]], "{top}");
    let by_state = text(&live.sessions(&["count", "--by", "state"]));
    assert!(by_state.lines().any(|line| line.starts_with("UDP ")), "{by_state}");
    let count = text(&live.sessions(&["count", "--sport", "2000-2009", "-o", "json"]));
    assert!(count.contains("\"used\": 10"), "{count}");

    for (args, hint) in [
        (&["list", "--dport", "http"][..], "'--dport <N[-M]>'"),
        (&["list", "--state", "LISTEN"], "SYN_SENT"),
        (&["count", "--by", "colour"], "state, protocol, source"),
        (&["delete"], "--src 10.0.0.5"),
        (&["flush"], "--yes"),
        (&["list", "--min-bytes", "1", "--min-bytes", "2"], "--min-bytes"),
    ] {
        let output = live.sessions(args);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), message.contains(hint)), (Some(2), true), "{args:?}: {message}");
    }

    assert_eq!(
        text(&live.sessions(&["delete", "--src", "10.0.0.6", "--sport", "3000"])),
        "deleted 1 session\n"
    );
    assert_eq!(text(&live.sessions(&["flush", "--yes"])), "deleted 24 sessions\n");
    let nobody = live.sessions(&["delete", "--src", "10.0.0.6", "--json"]);
    assert_eq!(nobody.status.code(), Some(0));
    assert_eq!(serde_json::from_str::<api::Deleted>(&text(&nobody)).unwrap(), api::Deleted::default());
}

/// The scripts that operators have.
#[test]
fn the_lines_go_through_the_pipelines_that_were_written_for_conntrack() {
    let live = Live::start();
    live.open(5, 2_000..2_020);
    let shell = |script: &str| {
        let mut bash = std::process::Command::new("sh");
        bash.arg("-c").arg(script).env("NATGATE", env!("CARGO_BIN_EXE_natgate")).env("SOCKET", live.socket());
        text(&bash.output().unwrap())
    };
    let sources = "\"$NATGATE\" sessions list -s \"$SOCKET\" -o extended \
        | awk '/^ipv4/ && /udp/ {n[$6]++} END {for (source in n) print source, n[source]}'";
    assert_eq!(shell(sources), "src=10.0.0.5 20\n");
    let unreplied = "\"$NATGATE\" sessions -s \"$SOCKET\" | grep -c UNREPLIED";
    assert_eq!(shell(unreplied), "20\n");
}

#[test]
fn a_table_that_fills_is_in_the_status_and_in_the_events() {
    let live = Live::with(1, 200);
    live.open(5, 2_000..2_170);
    let pressure = || live.client().get_json::<api::Status>("/v1/status").unwrap().pressure;
    live.wait("the level is published", || pressure().is_some_and(|pressure| pressure.level == "low"));
    let pressure = pressure().unwrap();
    assert_eq!((pressure.full_at, pressure.half_open), (198, 0));
    assert!(pressure.evicted.iter().chain(&pressure.refused).all(|toll| !toll.help.is_empty()));

    let low =
        |events: &api::Events| events.events.iter().any(|event| event.kind == "table_low" && !event.relief);
    live.wait("the event is published", || low(&live.client().get_json("/v1/events").unwrap()));
    let events: api::Events = live.client().get_json("/v1/events").unwrap();
    let last = events.events.last().unwrap().number;
    assert_eq!(last, events.total);
    let later: api::Events = live.client().get_json(&format!("/v1/events?after={last}")).unwrap();
    assert_eq!((later.events, later.total), (Vec::new(), last));
}

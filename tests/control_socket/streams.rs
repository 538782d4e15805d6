//! Streams and samples: what happens to sessions, what operators have to hear of, dropped packets to look at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::{Gateway, LONG, NOW_TIME};
use crate::live::Live;
use natgate::control::api;
use natgate::control::client::ClientError;
use natgate::control::server::Limits;
use natgate::control::sse::{LOST, Message};
use natgate::control::state::EventRow;
use natgate::ids::WorkerId;
use natgate::management::events::EventKind;
use natgate::management::session_feed::{QUEUE, Told};
use natgate::pipeline::session_events::{Change, End, SessionEvent};
use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn event(message: &Message) -> api::SessionEvent {
    let event: api::SessionEvent = serde_json::from_str(&message.data).unwrap();
    assert_eq!(event.event, message.name);
    event
}

/// Waits until the workers are not asked to tell any more.
fn wait_until_nobody_watches(watched: impl Fn() -> bool) {
    let begun = Instant::now();
    while watched() {
        assert!(begun.elapsed() < LONG, "somebody still watches");
        std::thread::yield_now();
    }
}

#[test]
fn a_watcher_is_told_what_happens_to_the_sessions_that_it_means_and_nobody_tells_when_it_is_gone() {
    let live = Live::start();
    let watched = live.state.session_feed.watched();
    assert!(!watched.get());
    let mut messages = live.client().follow("/v1/sessions/watch?src=10.0.0.5&events=new,destroy").unwrap();
    assert!(watched.get());
    live.open(6, 1000..1010);
    live.open(5, 1000..1003);
    let mut ports: Vec<_> = messages.by_ref().take(3).map(|message| event(&message.unwrap())).collect();
    ports.sort_unstable_by_key(|event| event.session.original.sport);
    for (event, port) in ports.iter().zip(1000..) {
        assert_eq!((event.event.as_str(), &event.reason), ("new", &None));
        assert_eq!(event.session.original.src.octets(), [10, 0, 0, 5]);
        assert_eq!((event.session.original.sport, event.session.state.as_str()), (Some(port), "UDP"));
    }
    let deleted: api::Deleted = live.client().delete_json("/v1/sessions?sport=1001").unwrap();
    assert_eq!(deleted.deleted, 2);
    let gone = event(&messages.next().unwrap().unwrap());
    assert_eq!((gone.event.as_str(), gone.reason.as_deref()), ("destroy", Some("deleted")));
    assert_eq!((gone.session.original.sport, gone.session.original.packets > 0), (Some(1001), true));
    drop(messages);
    wait_until_nobody_watches(|| watched.get());
}

#[test]
fn a_reader_that_stops_reading_loses_events_and_is_told_how_many() {
    const EVENTS: usize = 3 * QUEUE;
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let messages = gateway.client().follow("/v1/sessions/watch").unwrap();
    let feed = gateway.state.session_feed.sender().unwrap();
    let session = gateway.state.sessions[0].read(0).unwrap();
    for _ in 0..EVENTS {
        let event = SessionEvent { at: NOW_TIME, change: Change::Update, session };
        feed.send(Told::Event(WorkerId(0), event)).unwrap();
    }
    let (mut events, mut lost) = (0, 0);
    for message in messages {
        let message = message.unwrap();
        if message.name == LOST {
            lost += serde_json::from_str::<api::Lost>(&message.data).unwrap().lost;
        } else {
            events += 1;
        }
        if events + lost == EVENTS as u64 {
            break;
        }
    }
    assert!(lost > 0 && events >= QUEUE as u64, "{events} events, {lost} lost");
}

#[test]
fn a_watcher_that_reads_nothing_at_all_is_cut_off_and_one_that_reads_is_not() {
    let gateway = Gateway::new(1);
    let limits = Limits { stall: Duration::from_millis(50), ..Limits::default() };
    let _server = gateway.start_with(limits);
    let watched = gateway.state.session_feed.watched();
    let feed = || gateway.state.session_feed.sender();
    let mut stuck = gateway.connect();
    stuck.write_all(b"GET /v1/sessions/watch HTTP/1.1\r\nhost: natgate\r\n\r\n").unwrap();
    stuck.read_exact(&mut [0; 15]).unwrap();
    let session = gateway.state.sessions[0].read(0).unwrap();
    let event = SessionEvent { at: NOW_TIME, change: Change::New, session };
    wait_until_nobody_watches(|| {
        if let Some(feed) = feed() {
            let _ = feed.send(Told::Event(WorkerId(0), event));
        }
        watched.get()
    });

    let mut messages = gateway.client().follow("/v1/sessions/watch").unwrap();
    let begun = Instant::now();
    while begun.elapsed() < limits.stall * 4 {
        feed().unwrap().send(Told::Event(WorkerId(0), event)).unwrap();
        messages.next().unwrap().unwrap();
    }
}

#[test]
fn sessions_are_told_as_conntrack_prints_them() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let messages = gateway.client().follow("/v1/sessions/watch?format=extended").unwrap();
    let told = gateway.tell_of_sessions();
    let lines: Vec<_> = messages.take(told).map(|message| message.unwrap().data).collect();
    assert!(lines[0].starts_with("    [NEW] udp      17 297 src=10.2.0.0 "), "{}", lines[0]);
    assert!(lines[1].starts_with("[DESTROY] udp      17 src=10.2.0.0 "), "{}", lines[1]);
    assert!(lines[1].ends_with(" mark=0 reason=evicted evicted=half_open"), "{}", lines[1]);
}

#[test]
fn who_follows_the_events_gets_those_that_are_kept_and_then_each_new_one() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let push = |text: &str| {
        gateway.state.published.events.push(EventRow::new(EventKind::TableLow, text.into()));
    };
    push("one");
    push("two");
    let texts =
        |messages: &mut dyn Iterator<Item = Result<Message, ClientError>>, count| -> Vec<(u64, String)> {
            let events = messages.take(count).map(|message| {
                let message = message.unwrap();
                assert_eq!(message.name, "table_low");
                let event: api::Event = serde_json::from_str(&message.data).unwrap();
                (event.number, event.text)
            });
            events.collect()
        };
    let mut all = gateway.client().follow("/v1/events/stream").unwrap();
    let mut later = gateway.client().follow("/v1/events/stream?after=1").unwrap();
    assert_eq!(texts(&mut all, 2), [(1, "one".into()), (2, "two".into())]);
    assert_eq!(texts(&mut later, 1), [(2, "two".into())]);
    push("three");
    assert_eq!(texts(&mut all, 1), [(3, "three".into())]);
    assert_eq!(texts(&mut later, 1), [(3, "three".into())]);
}

#[test]
fn watching_from_the_command_line_prints_lines_until_the_gateway_stops_and_fails_then() {
    let live = Live::start();
    let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
    natgate.args(["sessions", "watch", "--src", "10.0.0.5", "--socket"]).arg(live.socket());
    let mut child = natgate.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let watched = live.state.session_feed.watched();
    live.wait("somebody watches", || watched.get());
    live.open(5, 1000..1001);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.starts_with("    [NEW] udp      17 ") && line.contains("src=10.0.0.5"), "{line}");
    drop(live);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
}

#[test]
fn samples_of_all_workers_come_newest_first_with_what_they_were_and_had_met() {
    let gateway = Gateway::new(0);
    gateway.drop_a_packet();
    let _server = gateway.start();
    let get = |query: &str| -> Vec<api::DropSample> {
        let path = format!("/v1/drops/samples?{query}");
        gateway.client().get_json::<api::DropSamples>(&path).unwrap().samples
    };
    let all = get("");
    let reasons: Vec<_> = all.iter().map(|sample| sample.reason.as_str()).collect();
    assert_eq!(reasons[0], "truncated");
    assert_eq!(reasons.len(), 3);
    assert_eq!(
        (all[0].interface.as_str(), all[0].summary.as_str()),
        ("af_packet:eth2", "no whole link header")
    );
    assert_eq!((all[0].length, all[0].bytes.as_str()), (5, "73686f7274"));

    let [ttl] = get("reason=ttl_expired").try_into().unwrap();
    assert_eq!(ttl.summary, "udp 10.0.0.5:2000 > 198.51.100.7:53 ttl=1 id=0 df");
    assert_eq!((ttl.interface.as_str(), ttl.leaving, ttl.length, ttl.bytes.len()), ("lan", false, 242, 256));
    assert_eq!((ttl.worker, ttl.number), (1, 991));
    assert_eq!(ttl.rule.as_deref(), Some("snat 1: { source = \"interface\" }"));
    let started = gateway.state.started.wall + Duration::from_nanos(1_234_567_891);
    assert_eq!(ttl.at, humantime::format_rfc3339_nanos(started).to_string());
    let [tracked] = get("reason=fragmentation-needed").try_into().unwrap();
    assert_eq!((tracked.rule, tracked.state.as_deref()), (None, Some("UDP_STREAM")));
    assert_eq!(get("limit=1").len(), 1);
    let error = gateway.client().get_json::<api::DropSamples>("/v1/drops/samples?reason=none").unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { status: 400, message, .. } if message.contains("\"none\"")),
        "{error}"
    );
}

#[test]
fn a_file_of_samples_tells_wireshark_when_where_and_why() {
    let gateway = Gateway::new(0);
    gateway.drop_a_packet();
    let _server = gateway.start();
    let file = gateway.client().get_bytes("/v1/drops/samples?format=pcap").unwrap();
    let mut reader = PcapNgReader::new(&file[..]).unwrap();
    let mut comments = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block.unwrap() else { continue };
        let packet = packet.clone().into_owned();
        let comment = packet.options.iter().find_map(|option| match option {
            EnhancedPacketOption::Comment(text) => Some(text.to_string()),
            _ => None,
        });
        comments.push((packet.timestamp, packet.original_len, packet.data.len(), comment.unwrap()));
    }
    assert_eq!(comments.len(), 3);
    let wall = gateway.state.started.wall + Duration::from_secs(2);
    let (at, length, kept, comment) = comments.last().unwrap();
    assert_eq!(*at, wall.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap());
    assert_eq!((*length, *kept), (5, 5));
    assert!(comment.starts_with("dropped: truncated. "), "{comment}");
    assert!(comments.iter().any(|(.., comment)| comment.contains(" Rule: snat 1: {")), "{comments:?}");
    assert!(comments.iter().any(|(.., comment)| comment.contains(" Session: UDP_STREAM.")), "{comments:?}");
}

#[test]
fn the_command_line_shows_samples_and_writes_them_into_a_file() {
    let gateway = Gateway::new(0);
    gateway.drop_a_packet();
    let _server = gateway.start();
    let show = |args: &[&str]| {
        let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
        natgate.args(["show", "drops", "--socket"]).arg(gateway.socket()).args(args);
        let output = natgate.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let text = String::from_utf8(show(&["ttl_expired"])).unwrap();
    assert!(text.starts_with("ttl_expired: 991 packets\n") && text.contains("  from lan\n"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let json: api::DropSamples =
        serde_json::from_slice(&show(&["--samples", "--limit", "2", "--json"])).unwrap();
    assert_eq!(json.samples.len(), 2);
    let path = gateway.directory.path().join("drops.pcapng");
    show(&["--pcap", path.to_str().unwrap()]);
    assert_eq!(std::fs::read(&path).unwrap(), show(&["--pcap", "-"]));
}

#[test]
fn ends_of_sessions_that_are_told_are_those_that_are_documented() {
    let manual = include_str!("../../docs/control.md");
    for (name, _) in End::ALL {
        assert!(manual.contains(&format!("`{name}`")), "{name}");
    }
    for kind in EventKind::ALL {
        assert!(manual.contains(&format!("`{}`", kind.name())), "{}", kind.name());
    }
}

//! Notrack classes as an operator sees them: rows, counters, states, events, and sessions that were there before.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::{CONFIG, Gateway, NOW, session};
use crate::live::{Live, config_text};
use crate::metrics::scrape;
use natgate::classify::notrack::Way;
use natgate::conntrack::key::V4Key;
use natgate::conntrack::session::NewSession;
use natgate::conntrack::table::Shard;
use natgate::conntrack::tracker::Observed;
use natgate::control::api;
use natgate::control::reload::answer::{Options, Reload, ReloadRequest, SessionPolicy};
use natgate::control::reload::survey::classes_of;
use natgate::control::state::ControlState;
use natgate::control::watch::Watch;
use natgate::ids::{Realm, WorkerId};
use natgate::packet::Tuple;
use natgate::time::Tick;
use natgate::wire::protocol;
use std::process::Command;
use std::time::{Duration, Instant};

/// What [`Live::open`] sends is of this class, and leaves as it is.
const DNS: &str = "
[[notrack]]
name = \"dns\"
preset = \"dns\"
from = \"10.0.0.0/16\"
to_zone = 0
from_port = \"1-65535\"
untranslated = true
";

fn text() -> String {
    config_text(2, 20_000)
}

fn reload(live: &Live, config: &str, options: Options) -> Reload {
    let request = ReloadRequest { config: Some(config.into()), file: None, options };
    let done: Reload = live.client().post_json("/v1/config", &request).unwrap();
    assert!(done.problems.is_empty(), "{done:?}");
    done
}

fn class(live: &Live) -> api::ClassStatus {
    let rules: api::Rules = live.client().get_json("/v1/rules").unwrap();
    let [row] = &rules.rules.into_iter().filter(|row| row.kind == "notrack").collect::<Vec<_>>()[..] else {
        panic!("one class")
    };
    assert_eq!(row.name.as_deref(), Some("dns"));
    row.class.clone().unwrap()
}

fn sessions(live: &Live) -> u64 {
    live.state.workers.iter().map(|worker| worker.sessions.get()).sum()
}

/// Sends what would open sessions, and waits until the class has seen it.
fn pass(live: &Live, ports: std::ops::Range<u16>) {
    let wanted = class(live).there.packets + ports.len() as u64;
    live.ask(5, ports);
    live.wait("the class lets the packets pass", || {
        live.answer();
        class(live).there.packets == wanted
    });
}

#[test]
fn sessions_that_were_there_go_on_while_the_class_settles_and_new_packets_make_none() {
    let live = Live::start();
    live.open(5, 1000..1010);
    live.open(6, 1000..1003);
    let config = text() + DNS;
    let asked = reload(&live, &config, Options { dry_run: true, ..Options::default() });
    let done = reload(&live, &config, Options::default());
    for (answer, what) in [(&asked, "dry run"), (&done, "reload")] {
        let api = answer.sessions;
        assert_eq!(
            (api.total, api.not_made, api.settling, api.released, api.deleted),
            (13, 13, 13, 0, 0),
            "{what}"
        );
    }
    assert_eq!((class(&live).state.as_str(), sessions(&live)), ("settling", 13));
    let drawn = live.natgate(&["show", "rules"]);
    assert!(String::from_utf8_lossy(&drawn.stdout).contains("settling"), "{drawn:?}");
    pass(&live, 2000..2010);
    live.ask(5, 1000..1010);
    let of_sessions = || {
        let lines = live.client().get_lines("/v1/sessions?format=json&src=10.0.0.5").unwrap();
        let rows = lines.map(|line| serde_json::from_str::<api::Session>(&line.unwrap()).unwrap());
        rows.map(|row| row.original.packets).sum::<u64>()
    };
    live.wait("packets of sessions go on by them", || {
        live.answer();
        of_sessions() == 20
    });
    assert_eq!((class(&live).there.packets, sessions(&live)), (10, 13));
    // When they are gone the next walk through the table sees it.
    live.client().delete_json::<api::Deleted>("/v1/sessions?all=true").unwrap();
    reload(&live, &(config + "[conntrack.timeouts]\nudp = \"20s\"\n"), Options::default());
    assert_eq!(class(&live).state, "active");
    pass(&live, 1000..1010);
    assert_eq!(sessions(&live), 0);
}

#[test]
fn a_class_that_releases_its_sessions_has_them_deleted_at_once_and_no_others() {
    let live = Live::start();
    live.open(5, 1000..1010);
    live.open(6, 1000..1003);
    let config = text() + &DNS.replace("10.0.0.0/16", "10.0.0.5") + "existing = \"release\"\n";
    let asked = reload(&live, &config, Options { dry_run: true, ..Options::default() }).sessions;
    assert_eq!((asked.not_made, asked.settling, asked.released, asked.deleted), (10, 0, 10, 0));
    let done = reload(&live, &config, Options::default()).sessions;
    assert_eq!((done.not_made, done.settling, done.released, done.deleted), (10, 0, 10, 10));
    assert_eq!((sessions(&live), class(&live).state.as_str()), (3, "silent"));
    pass(&live, 1000..1010);
    assert_eq!((sessions(&live), class(&live).state.as_str()), (3, "active"));
    let events: api::Events = live.client().get_json("/v1/events").unwrap();
    assert!(events.events[0].text.contains("10 sessions were deleted, 10 of notrack classes"), "{events:?}");
}

#[test]
fn who_asks_for_it_has_the_sessions_of_a_class_dropped_although_it_keeps_them() {
    let live = Live::start();
    live.open(5, 1000..1010);
    let options = Options { sessions: SessionPolicy::Drop, ..Options::default() };
    let done = reload(&live, &(text() + DNS), options).sessions;
    assert_eq!((done.settling, done.released, done.deleted, sessions(&live)), (0, 0, 10, 0));
    assert_eq!(class(&live).state, "silent");
}

#[test]
fn nothing_settles_in_a_table_without_sessions() {
    let live = Live::start();
    reload(&live, &(text() + DNS), Options::default());
    assert_eq!(class(&live).state, "silent");
    pass(&live, 1000..1010);
    let (there, back) = (class(&live).there, class(&live).back);
    assert_eq!((there.packets, there.bytes, there.dropped), (10, 10 * 36, 0));
    assert!(there.last_seconds.is_some() && back.last_seconds.is_none());
}

/// A session of a client outside, as a forward makes it.
fn forwarded(client: [u8; 4], service: [u8; 4], port: u16) -> NewSession<V4Key> {
    let tuple = |src: [u8; 4], dst: [u8; 4], sport, dport| Tuple {
        src: src.into(),
        dst: dst.into(),
        sport,
        dport,
        protocol: protocol::UDP,
    };
    let (original, reply) = (tuple(client, service, 40_000, port), tuple(BACKEND, client, port, 40_000));
    NewSession {
        original: V4Key::new(original, Realm::External, 0),
        reply: V4Key::new(reply, Realm::Internal, 0),
        ..session(original, reply, Observed::Udp, NOW)
    }
}

const BACKEND: [u8; 4] = [192, 168, 1, 20];

#[test]
fn a_session_is_of_the_classes_of_its_packets_either_way() {
    let gateway = Gateway::new(0);
    gateway.run(&format!(
        "{CONFIG}
[[notrack]]
name = \"other\"
from = \"198.51.100.0/24\"
to = \"203.0.113.8\"
to_zone = 0
protocol = \"udp\"
port = 11211
action = \"drop\"
[[notrack]]
name = \"cache\"
preset = \"memcached\"
from = \"198.51.100.0/24\"
to = \"203.0.113.9\"
translate_to = \"192.168.1.20\"
policy = \"allow-listed\"
"
    ));
    let snapshot = gateway.state.running.read().snapshot.clone();
    let of = |new: NewSession<V4Key>| {
        let (mut shard, view) = Shard::new(8, 7);
        shard.insert(new).unwrap();
        classes_of(&snapshot, &view.read(0).unwrap())
    };
    let (client, stranger) = ([198, 51, 100, 7], [192, 0, 2, 7]);
    for (new, classes, why) in [
        (forwarded(client, [203, 0, 113, 9], 11_211), vec![1], "both ways"),
        (
            forwarded(client, [203, 0, 113, 2], 11_211),
            vec![1],
            "only its answers: clients used another address",
        ),
        (forwarded(client, [203, 0, 113, 8], 11_211), vec![0, 1], "its packets, and its answers"),
        (forwarded(stranger, [203, 0, 113, 9], 11_211), vec![1], "the class drops those who are not listed"),
        (forwarded(client, [203, 0, 113, 9], 11_212), vec![], "another port"),
    ] {
        assert_eq!(of(new), classes, "{why}");
    }
}

/// A gateway that does nothing, with that class.
fn gateway() -> Gateway {
    let gateway = Gateway::new(0);
    gateway.run(&format!("{CONFIG}{DNS}[set.empty]\nprefixes = []\n"));
    gateway
}

fn count(state: &ControlState, way: Way, packets: u64) {
    let running = state.running.read();
    let counters = running.snapshot.classes[0].counters.of(WorkerId(1)).unwrap();
    (0..packets).for_each(|_| counters.pass(way as usize, 100, Tick(990)));
}

fn kinds(state: &ControlState) -> Vec<&'static str> {
    state.published.events.read(0).0.into_iter().map(|(_, event)| event.kind).collect()
}

#[test]
fn a_class_whose_answers_stay_away_is_said_once_and_shown_until_they_come() {
    let gateway = gateway();
    let state = &gateway.state;
    let start = Instant::now();
    let watch = Watch::new(state, start);
    for second in 0..30 {
        watch.look(state, start + Duration::from_secs(second));
        count(state, Way::There, 20);
    }
    assert_eq!(kinds(state), ["notrack_asymmetric"]);
    let text = state.published.events.read(0).0.remove(0).1.text;
    assert!(text.contains("class dns") && text.contains("200 packets"), "{text}");
    count(state, Way::Back, 1);
    watch.look(state, start + Duration::from_secs(31));
    assert_eq!(kinds(state), ["notrack_asymmetric", "notrack_symmetric"]);
}

#[test]
fn the_command_and_the_metrics_have_every_figure_of_a_class() {
    let gateway = gateway();
    let _server = gateway.start();
    count(&gateway.state, Way::There, 3);
    count(&gateway.state, Way::Back, 2);
    gateway.state.running.read().snapshot.classes[0].counters.of(WorkerId(0)).unwrap().drop(1, Tick(995));
    let output = Command::new(env!("CARGO_BIN_EXE_natgate"))
        .args(["show", "rules", "--socket"])
        .arg(gateway.socket())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let expected = "class  there  back  bytes  dropped  last hit  state\ndns        3     2  500 B        1        0s  active\n";
    assert!(shown.contains(expected), "{shown}");
    assert!(shown.contains("set 1         0  empty { prefixes = [] }\n"), "{shown}");
    let text = scrape(&gateway, "*/*").1;
    for line in [
        "natgate_notrack_packets_total{class=\"dns\",direction=\"there\"} 3",
        "natgate_notrack_bytes_total{class=\"dns\",direction=\"back\"} 200",
        "natgate_notrack_dropped_total{class=\"dns\",direction=\"back\"} 1",
        "natgate_notrack_asymmetric{class=\"dns\"} 0",
        "natgate_notrack_settling{class=\"dns\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert!(
        text.contains("natgate_notrack_last_packet_timestamp_seconds{class=\"dns\",direction=\"there\"} 1")
    );
    // No session counts for it.
    assert!(!text.contains("natgate_rule_sessions_total{kind=\"notrack\""));
}

#[test]
fn a_dropped_packet_names_the_class_that_dropped_it() {
    let gateway = gateway();
    let _server = gateway.start();
    // Places of classes have their own mark among the numbers of rules.
    gateway.drop_a_packet_of(2);
    let samples: api::DropSamples =
        gateway.client().get_json("/v1/drops/samples?reason=ttl_expired").unwrap();
    let rule = samples.samples[0].rule.clone().unwrap();
    assert!(rule.starts_with("notrack 1: { name = \"dns\", preset = \"dns\""), "{rule}");
}

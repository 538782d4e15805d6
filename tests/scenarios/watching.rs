//! What can be seen of the gateway's work: packets that were dropped, and what happens to sessions.

use crate::harness::{Net, RING, SHAPES, Shape, frame, host_mac};
use crate::packet::Line;
use natgate::conntrack::tracker::State;
use natgate::ids::{DeviceId, InterfaceId, MacAddr};
use natgate::management::events::EventKind;
use natgate::management::session_feed::{Subscription, Told};
use natgate::pipeline::drops::rule_of;
use natgate::pipeline::plan::Rule;
use natgate::pipeline::session_events::{Change, End, SessionEvent};
use natgate::telemetry::samples::{HEAD, Place, Sample};
use natgate::telemetry::{DropReason, Eviction};
use std::time::Duration;

const CONFIG: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
mtu = 1400
[[snat]]
source = "interface"
[[dnat]]
on = "wan"
protocol = "udp"
port = 53
to = "192.168.1.53"
"#;

const LAN: Place = Place::In(InterfaceId(0));
const WAN: Place = Place::In(InterfaceId(1));

/// The only sample of a reason, of all workers together.
fn sample(net: &Net, reason: DropReason) -> Sample {
    let mut samples: Vec<_> = net.counters.iter().flat_map(|worker| worker.samples.read(reason)).collect();
    assert_eq!(samples.len(), 1, "{} in {:?}", reason.name(), net.shape);
    samples.remove(0)
}

#[test]
fn a_dropped_packet_leaves_a_sample_with_where_it_was_and_what_it_had_met() {
    for shape in SHAPES {
        let mut net = Net::new(CONFIG, shape);
        net.play(
            "
            lan> tcp 192.168.1.10:4000 > 198.51.100.1:80 S seq=100
            wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=100 ttl=63
            opened
            wan> tcp 198.51.100.1:80 > 203.0.113.2:$p R seq=7
            drop tcp_rst_invalid
            lan> udp 192.168.1.10:5000 > 198.51.100.1:53 ttl=0
            drop ttl_expired
            lan> tcp 192.168.1.10:4001 > 198.51.100.1:80 A
            drop tcp_not_syn
            wan> udp 198.51.100.1:1 > 203.0.113.2:9
            drop no_session
            wan> udp 198.51.100.1:9000 > 203.0.113.2:53 ttl=1
            wan<+ icmp 11/0 203.0.113.2 > 198.51.100.1 [udp 198.51.100.1:9000 > 203.0.113.2:53 ttl=1]
            drop ttl_expired
            lan> icmp echo 172.16.0.1 > 192.168.1.1 id=1
            drop spoofed_source
            ",
        );
        let met = |reason| {
            let sample = sample(&net, reason);
            let state = sample.state.map(|state| State::ALL[usize::from(state)]);
            (sample.place, sample.rule.map(rule_of), state)
        };
        assert_eq!(met(DropReason::TcpRstInvalid), (WAN, None, Some(State::SynSent)));
        assert_eq!(met(DropReason::TcpNotSyn), (LAN, Some(Rule::Snat(0)), None));
        assert_eq!(met(DropReason::NoSession), (WAN, None, None));
        assert_eq!(met(DropReason::SpoofedSource), (LAN, None, None));
        let expired = net.counters.iter().flat_map(|worker| worker.samples.read(DropReason::TtlExpired));
        let mut rules: Vec<_> =
            expired.map(|sample| (sample.place == LAN, sample.rule.map(rule_of))).collect();
        rules.sort_unstable_by_key(|(inside, _)| *inside);
        assert_eq!(rules, [(false, Some(Rule::Dnat(0))), (true, Some(Rule::Snat(0)))]);
        net.finish();
    }
}

#[test]
fn a_frame_that_is_none_for_us_leaves_its_first_bytes() {
    let mut net = Net::new(CONFIG, Shape::plain(2, 2));
    let body: Vec<u8> = (0..200).collect();
    let stranger = host_mac([192, 168, 1, 10].into());
    let for_others = frame(MacAddr([2; 6]), stranger, 0, 0x0800, &body);
    let tagged = frame(MacAddr([2; 6]), stranger, 99, 0x0800, &body);
    net.push(1, &for_others);
    net.push(0, &tagged);
    net.push(0, b"short");
    net.run();
    let expected = |place, frame: &[u8]| (place, frame.len() as u32, frame[..frame.len().min(HEAD)].to_vec());
    let seen = |reason| {
        let Sample { place, length, head, number: 1, .. } = sample(&net, reason) else { panic!("the first") };
        (place, length, head)
    };
    assert_eq!(seen(DropReason::NotForUs), expected(WAN, &for_others));
    assert_eq!(seen(DropReason::UnknownVlan), expected(Place::Device(DeviceId(0)), &tagged));
    assert_eq!(seen(DropReason::Truncated), expected(LAN, b"short"));
    net.forget();
    net.finish();
}

/// Everything that was told.
fn told(watcher: &mut Subscription) -> Vec<SessionEvent> {
    let next = || match watcher.ready()? {
        Told::Event(_, event) => Some(event),
        Told::Lost(lost) => panic!("{lost} events were lost"),
    };
    std::iter::from_fn(next).collect()
}

fn states(events: &[SessionEvent]) -> Vec<(Change, State, bool)> {
    events.iter().map(|event| (event.change, event.session.state, event.session.assured)).collect()
}

#[test]
fn who_watches_is_told_of_each_change_of_a_session_and_of_its_end_with_the_last_counters() {
    let config = format!("{CONFIG}[conntrack.timeouts]\nudp = \"20s\"\ntcp_close = \"10s\"\n");
    for shape in SHAPES {
        let mut net = Net::new(&config, shape);
        net.play(
            "
            lan> udp 192.168.1.10:5000 > 198.51.100.1:53
            wan< udp 203.0.113.2:$u > 198.51.100.1:53 ttl=63
            opened
            ",
        );
        let mut watcher = net.session_feed.subscribe();
        net.play(
            "
            lan> tcp 192.168.1.10:4000 > 198.51.100.1:80 S seq=100
            wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=100 ttl=63
            opened
            wan> tcp 198.51.100.1:80 > 203.0.113.2:$p SA seq=500 ack=101
            lan< tcp 198.51.100.1:80 > 192.168.1.10:4000 SA seq=500 ack=101 ttl=63
            lan> tcp 192.168.1.10:4000 > 198.51.100.1:80 A seq=101 ack=501
            wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=101 ack=501 ttl=63
            lan> tcp 192.168.1.10:4000 > 198.51.100.1:80 A seq=101 ack=501
            wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=101 ack=501 ttl=63
            ",
        );
        let events = told(&mut watcher);
        let expected = [
            (Change::New, State::SynSent, false),
            (Change::Update, State::SynRecv, false),
            (Change::Update, State::Established, true),
        ];
        assert_eq!(states(&events), expected, "{shape:?}");
        assert!(events.iter().all(|event| event.session.generation == events[0].session.generation));
        net.play(
            "
            lan> tcp 192.168.1.10:4000 > 198.51.100.1:80 R seq=101
            wan< tcp 203.0.113.2:$p > 198.51.100.1:80 R seq=101 ttl=63
            wait 30s
            closed 2
            ",
        );
        let events = told(&mut watcher);
        let expected = [
            (Change::Update, State::Close, true),
            (Change::Destroy(End::Closed), State::Close, true),
            (Change::Destroy(End::Expired), State::Udp, false),
        ];
        assert_eq!(states(&events), expected, "{shape:?}");
        assert_eq!(events[1].session.packets, [4, 1]);
        drop(watcher);
        assert!(!net.session_feed.watched().get());
        net.finish();
    }
}

#[test]
fn an_evicted_session_says_for_what_it_had_to_go() {
    let config = format!("{CONFIG}[conntrack]\nmax_sessions = 10\n");
    let mut net = Net::new(&config, Shape::plain(1, 1));
    let mut watcher = net.session_feed.subscribe();
    let lan = net.interface("lan");
    for port in 1000..1020 {
        let line = format!("udp 192.168.1.10:{port} > 198.51.100.1:53");
        let packet = Line::parse(&line).encode(&net.bindings);
        net.send_ipv4(lan, &packet);
        net.run();
    }
    let events = told(&mut watcher);
    let count = |change| events.iter().filter(|event| event.change == change).count();
    let evicted = count(Change::Destroy(End::Evicted(Eviction::Unreplied)));
    assert_eq!((count(Change::New), evicted), (20, 20 - net.session_count() as usize));
    assert!(evicted >= 10);
    net.forget();
    net.finish();
}

#[test]
fn events_that_find_the_ring_full_are_lost_and_counted_for_the_watcher() {
    let mut net = Net::new(CONFIG, Shape::plain(1, 1));
    net.play(
        "
        lan> udp 192.168.1.10:5000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$u > 198.51.100.1:53 ttl=63
        opened
        ",
    );
    let mut watcher = net.session_feed.subscribe();
    let lan = net.interface("lan");
    const MORE: usize = 100;
    for n in 0..RING + MORE {
        let line = format!("udp 192.168.1.10:{} > 198.51.100.1:53", 6000 + n);
        let packet = Line::parse(&line).encode(&net.bindings);
        net.send_ipv4(lan, &packet);
        // The management core does not turn meanwhile.
        net.workers[0].poll_once(net.now);
        net.collect();
    }
    assert_eq!(net.counters[0].session_events_lost.get(), MORE as u64);
    net.run();
    let (mut events, mut lost) = (0, 0);
    while let Some(told) = watcher.ready() {
        match told {
            Told::Event(..) => events += 1,
            Told::Lost(more) => lost += more,
        }
    }
    assert_eq!((events, lost), (RING, MORE as u64));
    net.forget();
    net.finish();
}

#[test]
fn a_router_that_falls_silent_is_an_event_and_its_return_another() {
    let mut net = Net::new(CONFIG, Shape::plain(2, 2));
    let kinds = |net: &mut Net| -> Vec<EventKind> {
        net.management.take_events().into_iter().map(|event| event.kind).collect()
    };
    net.play(
        "
        lan> udp 192.168.1.10:5000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$u > 198.51.100.1:53 ttl=63
        opened
        ",
    );
    assert_eq!(kinds(&mut net), []);
    net.silent.insert([203, 0, 113, 1].into());
    net.wait(Duration::from_secs(70));
    assert_eq!(kinds(&mut net), [EventKind::NeighborLost]);
    // It is asked for again, in vain, and nothing more is said.
    let lan = net.interface("lan");
    let packet = Line::parse("udp 192.168.1.10:5000 > 198.51.100.1:53").encode(&net.bindings);
    for _ in 0..2 {
        net.send_ipv4(lan, &packet);
        net.wait(Duration::from_secs(5));
    }
    assert_eq!(kinds(&mut net), []);
    net.silent.clear();
    net.send_ipv4(lan, &packet);
    net.wait(Duration::from_secs(5));
    assert_eq!(kinds(&mut net), [EventKind::NeighborFound]);
    net.forget();
    net.finish();
}

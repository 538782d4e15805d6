//! What is explained is what happens: each packet is asked about first, then sent through the workers.

mod classes;

use crate::faults::{Dice, answer, anything};
use crate::harness::{Net, Shape};
use crate::packet::Line;
use crate::shape::FEW;
use natgate::control::explain::explain;
use natgate::control::explain::question::PARAMETERS;
use natgate::control::publish::{Published, Publisher};
use natgate::control::query::Query;
use natgate::control::running::{DeviceRow, Running};
use natgate::control::state::Started;
use natgate::control::{ControlState, api};
use natgate::ids::{InterfaceId, WorkerId};
use natgate::management::commands;
use natgate::pipeline::plan::Rule;
use natgate::time::Tick;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Packets of one story.
const PACKETS: usize = 400;
const SEEDS: u64 = 2;

/// Rules of every kind, limits that are reached, and a second zone; for the addresses of [`anything`].
const CONFIG: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
mtu = 1400

[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"

[interface.shop]
device = "vdev:mem2"
realm = "internal"
address = "192.168.1.1/24"
zone = 7

[pool.few]
addresses = "203.0.113.16-203.0.113.17"
ports = "1030-1045"

[[snat]]
from = "192.168.1.10"
to = "198.51.100.1"
source = "pool.few"

[[snat]]
from = ["192.168.1.0/26"]
out = "wan"

[[dnat]]
on = "wan"
protocol = "tcp"
port = 8080
to = "192.168.1.10:80"
zone = 0

[[dnat]]
on = "wan"
protocol = ["tcp", "udp"]
port = 53
to = "192.168.1.53"
zone = 0
source = "interface"

[[dnat]]
address = "203.0.113.9"
protocol = "udp"
port = "30000-30010"
to = "192.168.1.20:40000"
zone = 7

[[dnat]]
on = "wan"
protocol = "tcp"
port = 80
to = "192.168.1.20"
zone = 0
drain = true

[[dnat]]
address = "203.0.113.9"
protocol = "tcp"
port = 80
to = "192.168.1.20"
zone = 0
syn_proxy = true

[[ban]]
from = "198.51.100.2"

[[conntrack.rule]]
protocol = "udp"
port = 53
timeouts = "dns"
mark = 53

[conntrack]
max_sessions = 800

[conntrack.timeout_set.dns]
udp = "10s"
"#;

/// The control thread's view of a gateway on the stage.
struct Desk {
    state: ControlState,
    now: Arc<AtomicU32>,
}

impl Desk {
    fn new(net: &Net) -> Desk {
        let devices = net.config.devices.iter().map(|device| DeviceRow {
            name: device.spec.to_string(),
            driver: "mem".into(),
            mac: Default::default(),
        });
        let running = Running::new(net.config.clone(), net.snapshot.clone(), devices.collect());
        let now = Arc::new(AtomicU32::new(0));
        let clock = now.clone();
        let state = ControlState {
            started: Started::now(net.now),
            version: String::new(),
            dpdk_version: None,
            tsc_hz: None,
            config_path: "scenario.toml".into(),
            workers: net.counters.clone(),
            running: Published::new(running),
            sessions: net.views.clone(),
            reloads: Published::default(),
            published: Publisher::default(),
            commands: commands::channel(net.shape.workers).0,
            session_feed: net.session_feed.clone(),
            now: Box::new(move || Tick(clock.load(Relaxed))),
        };
        Desk { state, now }
    }

    /// What the gateway would do with the packet.
    fn ask(&mut self, net: &mut Net, interface: InterfaceId, packet: &[u8]) -> Option<api::Explanation> {
        self.now.store(net.now.tick().0, Relaxed);
        self.state.published.look(&mut net.management, net.now);
        let mut pairs = question(packet)?;
        pairs.push(("interface", net.snapshot.interface(interface).name.clone()));
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let query = Query::parse_without_filter(&pairs, &PARAMETERS).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Some(runtime.block_on(explain(&self.state, &query)).unwrap())
    }
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap())
}

fn word(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// The request about a packet; `None` for those that can not be asked about: fragments, ICMP errors, and packets of SCTP and
/// DCCP that do not open anything.
fn question(packet: &[u8]) -> Option<Vec<(&'static str, String)>> {
    if packet[0] != 0x45 || word(packet, 6) & 0x3fff != 0 {
        return None;
    }
    let mut pairs = vec![
        ("proto", packet[9].to_string()),
        ("src", address(packet, 12).to_string()),
        ("dst", address(packet, 16).to_string()),
        ("size", packet.len().to_string()),
        ("ttl", packet[8].to_string()),
        ("df", (word(packet, 6) & 0x4000 != 0).to_string()),
    ];
    match packet[9] {
        1 if matches!(packet[20], 0 | 8) => {
            pairs.push(("id", word(packet, 24).to_string()));
            pairs.push(("reply", (packet[20] == 0).to_string()));
        }
        1 => return None,
        132 if packet[24..28] != [0; 4] || packet[32] != 1 => return None,
        33 if packet[28] >> 1 & 15 != 0 => return None,
        _ => {}
    }
    if matches!(packet[9], 6 | 17 | 33 | 132 | 136) {
        pairs.push(("sport", word(packet, 20).to_string()));
        pairs.push(("dport", word(packet, 22).to_string()));
    }
    if packet[9] == 6 {
        let names = ["fin", "syn", "rst", "psh", "ack", "urg"];
        let set = (0..6).filter(|bit| packet[33] >> bit & 1 == 1).map(|bit: usize| names[bit]);
        pairs.push(("flags", set.collect::<Vec<_>>().join(",")));
    }
    Some(pairs)
}

/// What only the packet itself can tell, and what it may be dropped for instead of being forwarded.
const JUDGED: [&str; 5] =
    ["tcp_out_of_window", "tcp_rst_invalid", "sctp_invalid", "dccp_invalid", "tcp_invalid"];

/// How often each verdict was right, by its name or reason.
type Tally = BTreeMap<String, usize>;

struct Story {
    net: Net,
    desk: Desk,
    tally: Tally,
    /// What was said of the last packet.
    said: Option<api::Explanation>,
}

impl Story {
    fn new(config: &str, shape: Shape) -> Story {
        let net = Net::new(config, shape);
        let desk = Desk::new(&net);
        Story { net, desk, tally: Tally::new(), said: None }
    }

    fn rule_hits(&self, rule: &api::Rule) -> u64 {
        let number = rule.number as u32 - 1;
        let rule = match rule.kind.as_str() {
            "snat" => Rule::Snat(number),
            "dnat" => Rule::Dnat(number),
            "static" => Rule::Static(number),
            _ => Rule::Notrack(number),
        };
        self.net.snapshot.rules.of(rule).map_or(0, |counters| counters.sum())
    }

    fn made_by(&self) -> Vec<u64> {
        self.net.counters.iter().map(|worker| worker.sessions_created.get()).collect()
    }

    /// Asks about a packet, sends it, and compares. Returns what came out.
    fn play(&mut self, interface: InterfaceId, packet: &[u8], place: &str) -> Vec<(InterfaceId, Vec<u8>)> {
        // Whoever has to be asked first, the sender itself, is known then; and what is due is done.
        self.net.now = self.net.now + Duration::from_millis(10);
        self.net.run();
        self.net.sender(interface, address(packet, 12));
        self.net.forget();
        let said = self.desk.ask(&mut self.net, interface, packet);
        let (made, counted) = (self.made_by(), self.counted());
        let hits = said.as_ref().and_then(|said| said.rule.as_ref()).map(|rule| self.rule_hits(rule));
        self.net.send_ipv4(interface, packet);
        self.net.run();
        let out: Vec<_> = std::mem::take(&mut self.net.seen)
            .into_iter()
            .filter(|seen| !seen.arp)
            .map(|seen| (seen.interface, seen.body))
            .collect();
        self.said.clone_from(&said);
        if let Some(said) = said {
            let place = format!("{place}: {}\n{said:#?}", crate::packet::describe(packet));
            self.compare(&said, &out, &place);
            self.compare_class(&said, &counted, &place);
            self.compare_session(&said, &made, hits, &place);
            let ask_again =
                said.session.is_none() && self.made_by() != made && said.verdict.outcome == "forwarded";
            if ask_again {
                self.compare_state(&said, interface, packet, &place);
            }
        }
        out
    }

    fn compare(&mut self, said: &api::Explanation, out: &[(InterfaceId, Vec<u8>)], place: &str) {
        let verdict = &said.verdict;
        let change = |name: &str| {
            self.net.totals().get(name).copied().unwrap_or(0)
                - self.net.before.get(name).copied().unwrap_or(0)
        };
        let dropped: Vec<String> = self
            .net
            .totals()
            .keys()
            .filter_map(|name| name.strip_prefix("drop ").filter(|_| change(name) > 0))
            .map(ToOwned::to_owned)
            .collect();
        let judged = dropped.first().filter(|reason| JUDGED.contains(&reason.as_str()));
        if let (Some(reason), "forwarded", true) =
            (judged, verdict.outcome.as_str(), !verdict.provided.is_empty())
        {
            *self.tally.entry(format!("not as provided: {reason}")).or_default() += 1;
            return;
        }
        let kind = verdict.reason.clone().unwrap_or_else(|| verdict.outcome.clone());
        *self.tally.entry(kind).or_default() += 1;
        match verdict.outcome.as_str() {
            "forwarded" => {
                assert_eq!((change("sent"), &dropped[..]), (1, &[][..]), "{place}");
                // Of one that was cut, the first part.
                let [(interface, body), ..] = out else { panic!("{place}: nothing came out") };
                let hop = said.next_hop.as_ref().unwrap();
                assert_eq!(self.net.snapshot.interface(*interface).name, hop.interface, "{place}");
                compare_ends(said.sent.as_ref().unwrap(), body, place);
            }
            "answered" => assert_eq!((change("sent"), dropped.len(), out.len()), (0, 0, 1), "{place}"),
            _ => {
                assert_eq!(dropped, [verdict.reason.clone().unwrap()], "{place}");
                let icmp = out.first().map(|(_, body)| format!("{}/{}", body[20], body[21]));
                // What is said late is not said now.
                let told = verdict.icmp.as_ref().filter(|text| !text.contains(", after "));
                let told = told.and_then(|text| text.split(' ').next());
                if change("limited") == 0 && change("lost") == 0 {
                    assert_eq!(icmp.as_deref(), told, "{place}");
                }
            }
        }
    }

    /// Who made a session, by which rule, and that it is where it was said to be.
    fn compare_session(&self, said: &api::Explanation, made: &[u64], hits: Option<u64>, place: &str) {
        let after = self.made_by();
        let makers: Vec<usize> = (0..made.len()).filter(|worker| after[*worker] > made[*worker]).collect();
        let begins = said.tracking.as_ref().is_some_and(|tracking| tracking.effect == "begins a session");
        let expected = begins && said.verdict.outcome == "forwarded";
        assert_eq!(makers.len(), usize::from(expected), "{place}");
        if let ([maker], Some(owner)) = (&makers[..], &said.owner) {
            assert_eq!(owner.worker, *maker as u64, "{place}");
            let rule = said.rule.as_ref().unwrap();
            assert_eq!(self.rule_hits(rule), hits.unwrap() + 1, "{place}");
        }
        if let (Some(answers), Some(owner)) = (&said.answers, &said.owner) {
            assert!(answers.worker.is_none_or(|worker| worker == owner.worker), "{place}");
        }
    }

    /// Asked again, the packet belongs to the session that was foretold.
    fn compare_state(&mut self, said: &api::Explanation, interface: InterfaceId, packet: &[u8], place: &str) {
        let again = self.desk.ask(&mut self.net, interface, packet).unwrap();
        let session = again.session.as_ref().unwrap_or_else(|| panic!("{place}: no session"));
        let tracking = said.tracking.as_ref().unwrap();
        assert_eq!(
            (&session.state, &session.timeout_set, session.mark, session.worker),
            (&tracking.state, &tracking.timeout_set, tracking.mark, said.owner.as_ref().unwrap().worker),
            "{place}"
        );
        if let Some(mapping) = &said.mapping {
            assert_eq!(session.reply.dst, mapping.address, "{place}");
        }
    }
}

/// A port that was not foretold may be any.
fn compare_ends(said: &api::ExplainedEnds, body: &[u8], place: &str) {
    assert_eq!((said.src, said.dst), (address(body, 12), address(body, 16)), "{place}");
    for (port, at) in [(said.sport, 20), (said.dport, 22), (said.icmp_id, 24)] {
        assert!(port.is_none_or(|port| port == word(body, at)), "{place}: {port:?} at {at}");
    }
}

/// What [`anything`] has too little of: replies that nobody asked for, and flows to a pool with few ports. With the
/// interface that they come in by.
fn rare(dice: &mut Dice) -> (&'static str, String) {
    let line = match dice.below(4) {
        0 => format!("icmp reply 192.168.1.10 > 198.51.100.1 id={}", dice.below(8)),
        // Too large, and not to be cut.
        1 => format!("udp 192.168.1.10:{} > 198.51.100.1:53 len=1480 df", 1024 + dice.below(20)),
        _ => format!("udp 192.168.1.10:{} > 198.51.100.1:{}", 1024 + dice.below(9000), 1 + dice.below(9000)),
    };
    ("lan", line)
}

/// Random packets, some of them `rare`, and answers to what comes out.
fn story(config: &str, shape: Shape, seed: u64, rare: fn(&mut Dice) -> (&'static str, String)) -> Tally {
    let mut story = Story::new(config, shape);
    let mut dice = Dice(seed);
    let mut waiting: Vec<(InterfaceId, Vec<u8>, Option<bool>)> = Vec::new();
    let [lan, wan, shop] = ["lan", "wan", "shop"].map(|name| story.net.interface(name));
    for n in 0..PACKETS {
        let (interface, packet, passes) = waiting.pop().unwrap_or_else(|| {
            let (interface, line) = if dice.below(8) > 0 {
                let interface = [lan, lan, lan, wan, wan, shop][dice.below(6)];
                (interface, anything(&mut dice, interface != wan))
            } else {
                let (name, line) = rare(&mut dice);
                (story.net.interface(name), line)
            };
            (interface, Line::parse(&line).encode(&story.net.bindings), None)
        });
        let place = format!("{shape:?}, seed {seed}, packet {n}");
        let out = story.play(interface, &packet, &place);
        if let (Some(passes), Some(said)) = (passes, &story.said) {
            assert_eq!(said.verdict.outcome == "forwarded", passes, "{place}: an answer\n{said:#?}");
            *story.tally.entry(format!("answer foretold to pass: {passes}")).or_default() += 1;
        }
        for (interface, body) in out {
            if let Some(reply) = answer(&body).filter(|_| dice.below(2) == 0) {
                let passes = story.foretold(interface, &reply);
                waiting.push((interface, reply, passes));
            }
        }
    }
    story.net.assert_balance("at rest");
    story.net.seen.clear();
    story.net.finish();
    story.tally
}

#[test]
fn what_is_explained_is_what_the_workers_do() {
    let mut tally = Tally::new();
    for shape in FEW {
        for seed in 0..SEEDS {
            for (verdict, n) in story(CONFIG, shape, seed + 100 * shape.workers as u64, rare) {
                *tally.entry(verdict).or_default() += n;
            }
        }
    }
    let right: usize = tally.values().sum();
    let open: usize = tally.iter().filter(|(name, _)| name.starts_with("not as")).map(|(_, n)| n).sum();
    assert!(open * 20 < right, "{open} of {right} were left open: {tally:?}");
    for verdict in [
        "forwarded",
        "answered",
        "no_rule",
        "no_session",
        "source_banned",
        "forward_drained",
        "spoofed_source",
        "ttl_expired",
        "fragmentation_needed",
        "tcp_not_syn",
        "tcp_invalid",
        "icmp_unsolicited",
        "gateway_unsupported",
        "ports_exhausted",
        "tuple_collision",
    ] {
        assert!(tally.contains_key(verdict), "{verdict} did not happen: {tally:?}");
    }
}

#[test]
fn the_share_of_a_host_is_seen_before_it_is_used_up() {
    let shared = CONFIG.replace(
        "ports = \"1030-1045\"",
        "ports = \"1030-1045\"\ndeterministic = { inside = \"192.168.1.10\", ports = 6, zone = 0 }",
    );
    let mut tally = Tally::new();
    for shape in FEW {
        for (verdict, n) in story(&shared, shape, 7 + 100 * shape.workers as u64, rare) {
            *tally.entry(verdict).or_default() += n;
        }
    }
    let right: usize = tally.values().sum();
    let open: usize = tally.iter().filter(|(name, _)| name.starts_with("not as")).map(|(_, n)| n).sum();
    assert!(open * 20 < right, "{open} of {right} were left open: {tally:?}");
    assert!(tally.contains_key("subscriber_ports_limit"), "{tally:?}");
}

#[test]
fn limits_are_seen_before_they_are_met() {
    let limited = CONFIG.replace(
        "max_sessions = 800",
        "max_sessions = 48\nwhen_full = \"refuse\"\nmax_sessions_per_source = 9",
    );
    let mut tally = Tally::new();
    for shape in [Shape::plain(1, 1), Shape::plain(2, 2)] {
        for (verdict, n) in story(&limited, shape, 7, rare) {
            *tally.entry(verdict).or_default() += n;
        }
    }
    for verdict in ["session_table_full", "source_sessions_limit", "forwarded"] {
        assert!(tally.contains_key(verdict), "{verdict} did not happen: {tally:?}");
    }
}

#[test]
fn a_packet_keeps_its_worker_and_its_port_is_named_only_if_it_is_sure() {
    let mut story = Story::new(CONFIG, Shape::plain(3, 3));
    let lan = story.net.interface("lan");
    let encode = |line: &str| Line::parse(line).encode(&Default::default());
    // Its own port, while it is free; a random one of what is left when another host has it.
    let first = encode("udp 192.168.1.10:2000 > 198.51.100.9:9000");
    let said = story.desk.ask(&mut story.net, lan, &first).unwrap();
    let mapping = said.mapping.unwrap();
    assert_eq!((mapping.source.as_str(), mapping.usable), ("interface wan", mapping.free));
    story.play(lan, &first, "first");
    let owner = said.owner.unwrap();
    assert_eq!((owner.workers, owner.plan.as_deref(), owner.delivered_to), (3, Some("C"), None));
    assert!(WorkerId(owner.worker as u8).index() < 3);
    let again = story.desk.ask(&mut story.net, lan, &first).unwrap();
    assert_eq!(again.direction.as_deref(), Some("original"));
    story.net.seen.clear();
    story.net.finish();
}

#[test]
fn it_is_said_of_a_flow_that_what_it_says_is_read() {
    let mut story = Story::new(&format!("{CONFIG}\n[alg.ftp]\n"), Shape::plain(2, 2));
    let lan = story.net.interface("lan");
    let encode = |line: &str| Line::parse(line).encode(&Default::default());
    for (line, read) in [
        ("tcp 192.168.1.10:2000 > 198.51.100.9:21 S", true),
        ("tcp 192.168.1.10:2000 > 198.51.100.9:22 S", false),
        ("udp 192.168.1.10:2000 > 198.51.100.9:69", false),
    ] {
        let packet = encode(line);
        for turn in ["first", "again"] {
            let said = story.desk.ask(&mut story.net, lan, &packet).unwrap();
            assert_eq!(
                said.class.ends_with("what it says is read ([alg.ftp])"),
                read,
                "{line}: {}",
                said.class
            );
            story.play(lan, &packet, turn);
        }
    }
    story.net.seen.clear();
    story.net.finish();
}

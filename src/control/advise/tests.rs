//! What is proposed, and that it is a class for those packets.

#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use super::testing::{CACHE, NOW, PUBLIC, client, closed, forwarded, tcp};
use super::*;
use crate::config::{compile::compile, parse};
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::ids::{InterfaceId, MacAddr, Realm};
use crate::packet::Kind;
use crate::pipeline::plan::{Envelope, Header};
use crate::pipeline::stateless::{classify, judge as pass};
use crate::wire::tcp as flags;
use std::net::Ipv4Addr;
use std::sync::Arc;

const BASE: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"

[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
"#;

const RULES: &str = r#"
[[snat]]
source = "interface"
[[dnat]]
address = "203.0.113.9"
protocol = "tcp"
port = 11211
to = "192.168.1.20"
[[dnat]]
address = "203.0.113.9"
protocol = "tcp"
port = 80
to = "192.168.1.20:8080"
[[dnat]]
address = "203.0.113.9"
protocol = "tcp"
port = 9000
to = "192.168.1.20"
syn_proxy = true
"#;

fn running(text: &str) -> Running {
    let config = parse(text, "natgate.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
    let macs = vec![MacAddr::default(); config.devices.len()];
    let snapshot = Arc::new(compile(&config, &macs, 7, 0));
    Running::new(config, snapshot, Vec::new())
}

fn base() -> String {
    format!("{BASE}{RULES}")
}

const ALL: Wanted =
    Wanted { least: Least { rate: judge::MIN_RATE, sessions: judge::MIN_SESSIONS }, all: true, limit: 100 };

fn answer(text: &str, wanted: Wanted, sessions: &[SessionSnapshot<V4Key>]) -> api::Advice {
    let mut groups = Groups::default();
    sessions.iter().for_each(|session| groups.add(session, NOW));
    let running = running(text);
    let view = View { running: &running, tsc_hz: NonZeroU64::new(2_600_000_000), under_pressure: false };
    view.answer(&groups, &wanted)
}

/// So many new sessions a second, for 15 seconds.
fn flood(a_second: u32, make: impl Fn(u32, u32) -> SessionSnapshot<V4Key>) -> Vec<SessionSnapshot<V4Key>> {
    (0..a_second * 15).map(|n| make(n, n * 10 / a_second)).collect()
}

#[test]
fn a_busy_forward_is_proposed_with_what_it_saves_and_loses() {
    let sessions = flood(200, |n, age| forwarded(n, 11_211, 11_211, age));
    let advice = answer(&base(), ALL, &sessions);
    let [service] = &advice.advice[..] else { panic!("{advice:?}") };
    assert_eq!((advice.proposed, &advice.nothing, advice.sessions), (1, &None, 3_000));
    assert_eq!((service.new_per_second, service.median_packets, service.at_least), (200.0, 16, false));
    assert!(service.rule.as_ref().unwrap().text.contains("port = 11211"));
    let class = service.class.as_ref().unwrap();
    assert_eq!(class.saves_sessions, 3_000);
    let expected = 200 * (2_394 + 1_008 - 339);
    let off = class.saves_cycles_per_second.abs_diff(expected);
    assert!(off * 50 < expected, "{} of {expected}", class.saves_cycles_per_second);
    assert!((class.saves_core_percent.unwrap() - 0.0236).abs() < 0.002);
    assert_eq!(class.loses.len(), 1);
    let proxied = answer(&base(), ALL, &flood(200, |n, age| forwarded(n, 9_000, 9_000, age)));
    let loses = proxied.advice[0].class.as_ref().unwrap().loses.concat();
    assert!(loses.contains("SYN proxy"), "{loses}");
}

#[test]
fn what_sessions_alone_can_do_is_not_proposed_and_says_why() {
    let gateway = |n: u32| (Ipv4Addr::new(203, 0, 113, 2), 1_024 + u16::try_from(n).unwrap());
    let host = (Ipv4Addr::new(192, 168, 1, 10), 5_000);
    let cache = (CACHE, 11_211);
    let (from, public) = (|n| (client(n), 4_000), (PUBLIC, 11_211));
    type Make<'m> = &'m dyn Fn(u32, u32) -> SessionSnapshot<V4Key>;
    let cases: [(Make<'_>, &str); 5] = [
        (
            &|n, age| {
                closed(tcp(host, (client(n), 53)), tcp(gateway(n), (client(n), 53)), Realm::Internal, age)
            },
            "many to one",
        ),
        (&|n, age| forwarded(n, 80, 8_080, age), "a backend that listens on 80"),
        (&|n, age| closed(tcp(from(n), public), tcp(gateway(n), cache), Realm::External, age), "full NAT"),
        (&|n, age| closed(tcp(host, public), tcp(gateway(n), cache), Realm::Internal, age), "hairpinning"),
        (&|n, age| forwarded(n, 7_000, 7_000, age), "no rule makes such sessions any more"),
    ];
    for (make, why) in cases {
        let sessions = flood(200, make);
        let advice = answer(&base(), ALL, &sessions);
        let [service] = &advice.advice[..] else { panic!("{advice:?}") };
        assert!(service.class.is_none() && service.why.contains(why), "{why}: {}", service.why);
        assert!(advice.nothing.unwrap().contains("could be one"), "{why}");
        let quiet = answer(&base(), Wanted { all: false, ..ALL }, &sessions);
        assert_eq!((quiet.advice.len(), quiet.services), (0, 1));
    }
}

#[test]
fn a_service_has_to_be_busy_with_short_sessions() {
    let few = flood(50, |n, age| forwarded(n, 11_211, 11_211, age));
    let slow = answer(&base(), ALL, &few);
    assert_eq!(slow.advice[0].why, "it has 50 new sessions a second, not 100; 750 sessions, not 1000");
    let told = slow.nothing.unwrap();
    assert!(told.contains("tcp 203.0.113.9:11211: it has 50 new sessions a second"), "{told}");
    let least = Least { rate: 50, sessions: 750 };
    assert_eq!(answer(&base(), Wanted { least, ..ALL }, &few).proposed, 1);
    let long =
        flood(200, |n, age| SessionSnapshot { packets: [30, 30], ..forwarded(n, 11_211, 11_211, age) });
    let why = &answer(&base(), ALL, &long).advice[0].why;
    assert!(why.contains("32 packets and more"), "{why}");
    assert!(answer(&base(), ALL, &[]).nothing.unwrap().contains("no sessions"));
}

#[test]
fn what_saves_most_comes_first_and_the_limit_leaves_the_rest_out() {
    let mut sessions = flood(200, |n, age| forwarded(n, 9_000, 9_000, age));
    sessions.extend(flood(400, |n, age| forwarded(n, 11_211, 11_211, age)));
    sessions.extend(flood(900, |n, age| forwarded(n, 80, 8_080, age)));
    let ports = |limit| {
        let advice = answer(&base(), Wanted { limit, ..ALL }, &sessions);
        assert_eq!(advice.proposed, 2);
        advice.advice.iter().filter_map(|service| service.port).collect::<Vec<_>>()
    };
    assert_eq!(ports(100), [11_211, 9_000, 80]);
    assert_eq!(ports(1), [11_211]);
}

/// What a packet becomes by a class, and where it leaves.
fn passes(
    running: &Running,
    interface: u8,
    tuple: crate::packet::Tuple,
    flags: u8,
) -> Option<(crate::packet::Tuple, u8)> {
    let interface = InterfaceId(interface);
    let header = Header::whole(interface, tuple, Kind::Tcp { flags });
    let passage = pass(&running.snapshot, &header, classify(&running.snapshot, &header)?).unwrap();
    let envelope = Envelope { ttl: 64, total_len: 60, dont_fragment: false };
    let hop = passage.way_out(&running.snapshot, &header, envelope).unwrap();
    Some((passage.to, hop.interface.0))
}

#[test]
fn a_proposal_that_is_pasted_takes_just_the_packets_of_those_sessions() {
    let (lan, wan) = (0, 1);
    for (port, preset) in [(11_211, "preset = \"memcached\""), (9_000, "name = \"tcp-9000\"")] {
        let sessions = flood(200, |n, age| forwarded(n, port, port, age));
        let advice = answer(&base(), ALL, &sessions);
        let toml = &advice.advice[0].class.as_ref().unwrap().toml;
        assert!(toml.contains(preset), "{toml}");
        let pasted = format!("{}\n{toml}", base());
        let running = running(&pasted);
        for session in &sessions {
            let (there, sent) = (session.original.tuple(), session.reply.tuple().inverse());
            assert_eq!(passes(&running, wan, there, flags::SYN), Some((sent, lan)), "{toml}");
            let back = (there.inverse(), wan);
            assert_eq!(passes(&running, lan, sent.inverse(), flags::SYN | flags::ACK), Some(back), "{toml}");
        }
        // A host inside that uses the public address, and the answer to the gateway that speaks for it, keep sessions.
        let (host, gateway) =
            ((Ipv4Addr::new(192, 168, 1, 10), 5_000), (Ipv4Addr::new(203, 0, 113, 2), 5_000));
        assert_eq!(passes(&running, lan, tcp(host, (PUBLIC, port)), flags::SYN), None);
        assert_eq!(passes(&running, lan, tcp((CACHE, port), gateway), flags::ACK), None);
        // And it is not proposed again.
        let again = answer(&pasted, ALL, &sessions);
        let why = &again.advice[0].why;
        assert!(again.proposed == 0 && why.contains("has it already"), "{why}");
    }
}

#[test]
fn a_name_that_is_taken_is_not_given_again() {
    let class = "[[notrack]]\nname = \"tcp-9000\"\nto = \"192.0.2.1\"\n";
    let sessions = flood(200, |n, age| forwarded(n, 9_000, 9_000, age));
    let advice = answer(&format!("{}{class}", base()), ALL, &sessions);
    let toml = &advice.advice[0].class.as_ref().unwrap().toml;
    assert!(toml.contains("name = \"tcp-9000-2\""), "{toml}");
}

#[test]
fn few_clients_are_named_and_zones_are_said_where_there_are_several() {
    let zones = base()
        .replace("realm = \"internal\"", "realm = \"internal\"\nzone = 7")
        .replace("to = \"192.168.1.20", "zone = 7\nto = \"192.168.1.20");
    let sessions: Vec<_> = flood(200, |n, age| forwarded(n % 3, 9_000, 9_000, age))
        .into_iter()
        .map(|session| SessionSnapshot {
            reply: V4Key::new(session.reply.tuple(), Realm::Internal, 7),
            ..session
        })
        .collect();
    let advice = answer(&zones, ALL, &sessions);
    let toml = &advice.advice[0].class.as_ref().unwrap().toml;
    assert!(toml.contains("# from = [\"198.18.0.0\", \"198.18.0.1\", \"198.18.0.2\"]"), "{toml}");
    let running = running(&format!("{zones}\n{}", toml.replace("# from", "from")));
    let passed = passes(&running, 1, tcp((client(1), 40_000), (PUBLIC, 9_000)), flags::SYN);
    assert_eq!(passed.map(|(to, interface)| (to.dst, interface)), Some((CACHE, 0)));
    assert_eq!(passes(&running, 1, tcp((client(4), 40_000), (PUBLIC, 9_000)), flags::SYN), None);
}

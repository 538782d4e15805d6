//! What is proposed, and that it is a class for those packets.

use super::testing::{CACHE, NOW, PUBLIC, client, closed, forwarded, tcp};
use super::*;
use crate::config::{compile::compile, parse};
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::ids::{MacAddr, Realm};
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
    // 200 sessions and 1,800 further packets.
    let expected = 200 * (2_394 + 1_008 - 150) + 1_800 * (339 - 150);
    let off = class.saves_cycles_per_second.abs_diff(expected);
    assert!(off * 50 < expected, "{} of {expected}", class.saves_cycles_per_second);
    assert!((class.saves_core_percent.unwrap() - 0.038).abs() < 0.002);
    assert_eq!(class.loses.len(), 1);
    let proxied = answer(&base(), ALL, &flood(200, |n, age| forwarded(n, 9_000, 9_000, age)));
    let loses = proxied.advice[0].class.as_ref().unwrap().loses.concat();
    assert!(loses.contains("SYN proxy"), "{loses}");
}

#[test]
fn what_sessions_alone_can_do_is_not_proposed_and_says_why() {
    let gateway = |n: u32| (Ipv4Addr::new(203, 0, 113, 2), 1_024 + n as u16);
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

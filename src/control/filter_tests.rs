//! What a filter means, parameter by parameter, against a plain restatement of it.

use super::*;
use crate::ids::Realm;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const NOW: Tick = Tick(100_000);

fn filter(query: &str) -> Filter {
    let mut filter = Filter::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        filter.set(name, value).unwrap();
    }
    filter
}

/// 10.0.0.5:40000 to 198.51.100.7:443, seen outside as 203.0.113.2:50000; five minutes old, one idle.
fn session() -> SessionSnapshot<V4Key> {
    let tuple = |src: [u8; 4], dst: [u8; 4], sport, dport| Tuple {
        src: src.into(),
        dst: dst.into(),
        sport,
        dport,
        protocol: protocol::TCP,
    };
    SessionSnapshot {
        index: 3,
        generation: 2,
        original: V4Key::new(tuple([10, 0, 0, 5], [198, 51, 100, 7], 40_000, 443), Realm::Internal, 9),
        reply: V4Key::new(tuple([198, 51, 100, 7], [203, 0, 113, 2], 443, 50_000), Realm::External, 9),
        protocol: protocol::TCP,
        state: State::Established,
        seen_reply: true,
        assured: false,
        last_seen: Tick(NOW.0 - 600),
        created: Tick(NOW.0 - 3000),
        timeout_ticks: 4_320_000,
        packets: [10, 10],
        bytes: [1000, 1000],
        lease: None,
        policy: 0,
        mark: 0x12,
        inbound: false,
        unanswered: false,
    }
}

#[test]
fn each_parameter_means_what_its_help_says() {
    for (query, holds) in [
        ("", true),
        ("proto=tcp", true),
        ("proto=6", true),
        ("proto=udp,TCP", true),
        ("proto=udp", false),
        ("proto=sctp", false),
        ("state=established", true),
        ("state=SYN_SENT,ESTABLISHED", true),
        ("state=SYN_SENT", false),
        ("src=10.0.0.5", true),
        ("src=10.0.0.0/8", true),
        ("src=10.0.0.6", false),
        ("src=0.0.0.0/0", true),
        ("dst=198.51.100.0/24", true),
        ("dst=203.0.113.2", false),
        ("sport=40000", true),
        ("sport=1-39999", false),
        ("dport=443", true),
        ("dport=400-500", true),
        ("dport=80", false),
        ("reply-src=198.51.100.7", true),
        ("reply-dst=203.0.113.0/24", true),
        ("reply-dst=10.0.0.5", false),
        ("reply-sport=443", true),
        ("reply-dport=50000", true),
        ("reply-dport=40000", false),
        ("zone=9", true),
        ("zone=0", false),
        ("mark=18", true),
        ("mark=0x12", true),
        ("mark=0x2", false),
        ("mark=0x2/0xf", true),
        ("mark=0x32/0xf0", false),
        ("mark=7/0", true),
        ("unreplied", false),
        ("unreplied=false", true),
        ("assured", false),
        ("assured=false", true),
        ("worker=1", true),
        ("worker=0", false),
        ("older-than=4m59s", true),
        ("older-than=5m", false),
        ("idle-longer-than=59s", true),
        ("idle-longer-than=1m", false),
        ("min-bytes=2000", true),
        ("min-bytes=2kB", true),
        ("min-bytes=2KiB", false),
        ("proto=tcp&dport=443&state=ESTABLISHED", true),
        ("proto=tcp&dport=444&state=ESTABLISHED", false),
    ] {
        assert_eq!(filter(query).matches(&session(), 1, NOW), holds, "{query}");
    }
}

#[test]
fn a_port_filter_never_means_a_session_without_ports() {
    let mut ping = session();
    let tuple = Tuple { sport: 4711, dport: 8, protocol: protocol::ICMP, ..ping.original.tuple() };
    (ping.protocol, ping.state) = (protocol::ICMP, State::Icmp);
    ping.original = V4Key::new(tuple, Realm::Internal, 9);
    ping.reply = V4Key::new(Tuple { dport: 815, ..tuple.inverse() }, Realm::External, 9);
    assert!(filter("proto=icmp").matches(&ping, 1, NOW));
    for query in ["dport=8", "sport=4711", "dport=1-65535", "reply-dport=815"] {
        assert!(!filter(query).matches(&ping, 1, NOW), "{query}");
    }
}

#[test]
fn a_filter_that_says_nothing_means_all() {
    assert!(filter("").means_all());
    for parameter in PARAMETERS {
        let value = match parameter.value {
            "NAME|NUMBER" => "tcp",
            "STATE" => "ESTABLISHED",
            "TIME" => "5m",
            "PREFIX" => "10.0.0.0/8",
            FLAG => "false",
            _ => "1",
        };
        assert!(!filter(&format!("{}={value}", parameter.name)).means_all(), "{}", parameter.name);
    }
}

#[test]
fn every_parameter_is_in_the_manual() {
    let manual = include_str!("../../docs/control.md");
    for parameter in PARAMETERS {
        assert!(manual.contains(&format!("`{}`", parameter.name)), "{}", parameter.name);
    }
}

#[test]
fn a_bad_value_is_named_with_its_parameter_and_what_is_allowed() {
    for (name, value, allowed) in [
        ("proto", "tpc", "tcp, udp, icmp"),
        ("proto", "256", "from 0 to 255"),
        ("state", "LISTEN", "SYN_SENT, SYN_RECV, ESTABLISHED"),
        ("src", "10.0.0.1/8", "10.0.0.0/8"),
        ("dst", "example.org", "192.168.1.0/24"),
        ("sport", "0", "from 1 to 65535"),
        ("dport", "443-80", "swap"),
        ("zone", "-1", "from 0 to 65535"),
        ("mark", "-1", "0x10/0xf0"),
        ("mark", "0x1/", "0x10/0xf0"),
        ("mark", "0x", "0x10"),
        ("unreplied", "maybe", "true nor false"),
        ("older-than", "5", "5m"),
        ("idle-longer-than", "", "5m"),
        ("min-bytes", "much", "1MiB"),
        ("colour", "red", "proto, state, src"),
    ] {
        let error = Filter::default().set(name, value).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.name, name);
        assert!(text.contains(name) && text.contains(allowed), "{text}");
        assert!(name == "colour" || text.contains(value), "{text}");
    }
}

fn any_session() -> impl Strategy<Value = SessionSnapshot<V4Key>> {
    let ends = (0u8..4, 0u8..4, 1u16..6, 1u16..6);
    let kind = prop_oneof![
        Just((protocol::TCP, State::Established)),
        Just((protocol::TCP, State::SynSent)),
        Just((protocol::UDP, State::Udp)),
        Just((protocol::ICMP, State::Icmp)),
    ];
    (ends, kind, any::<[bool; 2]>(), 0u32..5, 0u64..4).prop_map(|(ends, kind, flags, age, bytes)| {
        let (src, dst, sport, dport) = ends;
        let tuple = Tuple {
            src: Ipv4Addr::new(10, 0, 0, src),
            dst: Ipv4Addr::new(10, 0, 1, dst),
            sport,
            dport,
            protocol: kind.0,
        };
        SessionSnapshot {
            original: V4Key::new(tuple, Realm::Internal, 0),
            reply: V4Key::new(tuple.inverse(), Realm::External, 0),
            protocol: kind.0,
            state: kind.1,
            seen_reply: flags[0],
            assured: flags[1],
            created: Tick(NOW.0 - age * 10),
            bytes: [bytes, 0],
            ..session()
        }
    })
}

proptest! {
    #[test]
    fn a_session_agrees_exactly_if_it_agrees_with_every_parameter(
        session in any_session(),
        src in proptest::option::of(0u8..4),
        dport in proptest::option::of((1u16..6, 0u16..3)),
        state in proptest::option::of(prop_oneof![Just(State::Established), Just(State::Udp)]),
        unreplied in proptest::option::of(any::<bool>()),
        age in proptest::option::of(1u32..5),
        bytes in proptest::option::of(0u64..4),
    ) {
        let mut filter = Filter::default();
        let mut expected = true;
        let tuple = session.original.tuple();
        if let Some(src) = src {
            let net = format!("10.0.0.{}/31", src & !1);
            filter.set("src", &net).unwrap();
            expected &= tuple.src.octets()[3] & !1 == src & !1;
        }
        if let Some((first, more)) = dport {
            filter.set("dport", &format!("{first}-{}", first + more)).unwrap();
            expected &= session.protocol != protocol::ICMP && (first..=first + more).contains(&tuple.dport);
        }
        if let Some(state) = state {
            filter.set("state", state.name()).unwrap();
            expected &= session.state == state;
        }
        if let Some(unreplied) = unreplied {
            filter.set("unreplied", &unreplied.to_string()).unwrap();
            expected &= session.seen_reply != unreplied;
        }
        if let Some(age) = age {
            filter.set("older-than", &format!("{age}s")).unwrap();
            expected &= NOW.since(session.created) > age * 10;
        }
        if let Some(bytes) = bytes {
            filter.set("min-bytes", &bytes.to_string()).unwrap();
            expected &= session.bytes[0] >= bytes;
        }
        prop_assert_eq!(filter.matches(&session, 1, NOW), expected);
    }

    /// Whatever somebody types: an answer, and never a panic.
    #[test]
    fn no_value_upsets_a_parameter(number in 0..PARAMETERS.len(), value in "[0-9a-zA-Z./:, +-]{0,12}") {
        let parameter = &PARAMETERS[number];
        let mut filter = Filter::default();
        if let Err(error) = filter.set(parameter.name, &value) {
            prop_assert!(error.to_string().contains(parameter.name));
        }
    }
}

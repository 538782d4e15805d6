//! What `natgate explain` prints.

use super::*;
use crate::cli::table::COLUMNS;
use std::net::Ipv4Addr;

const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const OURS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

fn between(src: Ipv4Addr, sport: Option<u16>, dst: Ipv4Addr, dport: Option<u16>) -> ExplainedEnds {
    ExplainedEnds { src, sport, dst, dport, icmp_id: None }
}

/// A new flow from inside whose port is not sure.
fn forwarded() -> api::Explanation {
    api::Explanation {
        packet: api::ExplainedPacket {
            interface: "lan".into(),
            interface_given: false,
            realm: "internal".into(),
            zone: 0,
            protocol: "tcp".into(),
            ends: between(HOST, Some(40_000), SERVER, Some(443)),
            kind: Some("syn".into()),
            size: 60,
            ttl: 64,
            df: false,
            rx_packets: 1_203,
        },
        class: "from inside to outside".into(),
        owner: Some(api::ExplainedOwner {
            worker: 1,
            workers: 2,
            why: "by its source: a host has one worker".into(),
            plan: Some("A".into()),
            delivered_to: Some(1),
        }),
        session: None,
        direction: None,
        passed: vec![api::ExplainedPassed {
            kind: "snat".into(),
            number: 1,
            because: "`from` does not have 192.168.1.64".into(),
        }],
        rule: Some(api::Rule {
            kind: "snat".into(),
            number: 2,
            name: None,
            text: "{ out = \"wan\", source = \"interface\" }".into(),
            sessions: Some(1_203),
            drained: false,
            down: Vec::new(),
            class: None,
            prefixes: None,
        }),
        notrack: None,
        mapping: Some(api::ExplainedMapping {
            source: "interface wan".into(),
            address: OURS,
            port: None,
            free: Some(32_000),
            usable: Some(32_256),
        }),
        tracking: Some(api::ExplainedTracking {
            state: "SYN_SENT".into(),
            timeout_seconds: 240,
            timeout_set: "default".into(),
            mark: 0,
            effect: "begins a session".into(),
        }),
        limits: Some(api::ExplainedLimits {
            sessions: api::Usage { used: 20_003, capacity: 131_072 },
            full_at: 129_761,
            half_open: 31,
            half_open_limit: 65_536,
            of_source: 3,
            source_limit: Some(100),
            source_rate: None,
            management: false,
            evicts: None,
        }),
        next_hop: Some(api::ExplainedHop {
            interface: "wan".into(),
            route: Some("0.0.0.0/0".into()),
            neighbor: Ipv4Addr::new(203, 0, 113, 1),
            is_router: true,
            mac: Some("02:00:00:00:00:fe".into()),
            state: "reachable".into(),
            mtu: 1500,
            tx_packets: 989_000,
        }),
        sent: Some(between(OURS, None, SERVER, Some(443))),
        answers: Some(api::ExplainedAnswers {
            ends: between(SERVER, Some(443), OURS, None),
            realm: "external".into(),
            worker: None,
        }),
        verdict: verdict("forwarded"),
    }
}

fn verdict(outcome: &str) -> api::ExplainedVerdict {
    api::ExplainedVerdict {
        outcome: outcome.into(),
        reason: None,
        help: None,
        packets: None,
        icmp: None,
        provided: vec![],
    }
}

fn text(told: &api::Explanation, colour: bool) -> String {
    let mut out = Vec::new();
    write_explanation(&mut out, told, colour).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_forwarded_packet_is_followed_step_by_step_in_80_columns() {
    let expected = r#" 1  packet     tcp syn 192.168.1.10:40000 > 198.51.100.7:443, 60 bytes, TTL 64
 2  arrives    by lan (internal, zone 0; 1,203 frames received): the route to
               its source leads there
 3  class      from inside to outside
 4  owner      worker 1 of 2, by its source: a host has one worker; plan A, the
               NIC delivers it there
 5  session    none
 6  passes     snat 1: `from` does not have 192.168.1.64
 7  rule       snat 2: { out = "wan", source = "interface" } (1,203 sessions so
               far)
 8  next hop   route 0.0.0.0/0, by wan to 203.0.113.1 (router;
               02:00:00:00:00:fe, reachable), MTU 1500; 989,000 frames sent
 9  tracker    SYN_SENT, begins a session (timeout 4m of set default, mark 0)
10  limits     20,003 of 131,072 sessions (15.2 %), full at 129,761; 31
               half-open of 65,536; 3 of this source of 100
11  mapping    203.0.113.2 of interface wan, a random port of 32,000 free of
               32,256
12  sent as    203.0.113.2:* > 198.51.100.7:443
13  answers    198.51.100.7:443 > 203.0.113.2:*, from the external side, come to
               worker 1: the port is chosen for that

forwarded
"#;
    let shown = text(&forwarded(), false);
    assert_eq!(shown, expected);
    assert!(shown.lines().all(|line| line.len() <= COLUMNS), "{shown}");
}

#[test]
fn a_packet_of_a_class_has_neither_owner_nor_session_and_its_answer_is_told() {
    let answer = |passes, fate: &str| api::ExplainedClassAnswer {
        ends: between(SERVER, Some(443), OURS, Some(40_000)),
        interface: "wan".into(),
        passes,
        fate: fate.into(),
    };
    let told = |settling, answer| api::Explanation {
        class: "of notrack class web, from clients to the service: without a session".into(),
        owner: None,
        rule: None,
        passed: vec![],
        notrack: Some(api::ExplainedClass {
            name: "web".into(),
            way: "there".into(),
            settling,
            answer: Some(answer),
        }),
        mapping: None,
        tracking: None,
        limits: None,
        answers: None,
        ..forwarded()
    };
    let shown = text(&told(false, answer(true, "passes by class web")), false);
    let expected =
        " 6  answers    198.51.100.7:443 > 203.0.113.2:40000, by wan: passes by class web\n\nforwarded\n";
    assert!(shown.ends_with(expected) && !shown.contains("session  "), "{shown}");
    let shown = text(&told(true, answer(false, "of no class, and dropped: no_session")), false);
    assert!(shown.contains("dropped: no_session") && shown.contains("(asymmetric)"), "{shown}");
    assert!(shown.contains("session    none; those that were there before"), "{shown}");
    assert!(shown.lines().all(|line| line.len() <= COLUMNS), "{shown}");
}

#[test]
fn a_dropped_packet_ends_with_the_reason_what_it_means_and_what_the_sender_hears() {
    let dropped = api::Explanation {
        mapping: None,
        sent: None,
        answers: None,
        verdict: api::ExplainedVerdict {
            reason: Some("no_rule".into()),
            help: Some("A new flow that no translation rule covers.".into()),
            packets: Some(12_345),
            icmp: Some("3/13 administratively prohibited".into()),
            provided: vec!["203.0.113.1 answers ARP; the packet waits for that".into()],
            ..verdict("dropped")
        },
        ..forwarded()
    };
    let expected = "
dropped: no_rule
  A new flow that no translation rule covers.
  12,345 packets were dropped for this so far.
  The sender is told by ICMP 3/13 administratively prohibited, within the rate
  limit.
  provided that 203.0.113.1 answers ARP; the packet waits for that
";
    let shown = text(&dropped, false);
    assert!(shown.ends_with(expected), "{shown}");
    assert!(!shown.contains('\x1b') && text(&dropped, true).contains("\x1b[1;31mdropped\x1b[0m: no_rule"));
}

#[test]
fn whoever_is_behind_an_external_port_is_named_with_whom_it_talks_to() {
    let flow = |src, sport, dst, dport| api::Flow {
        src,
        dst,
        sport: Some(sport),
        dport: Some(dport),
        icmp_id: None,
        packets: 3,
        bytes: 180,
    };
    let session = api::Session {
        protocol: "tcp".into(),
        state: "ESTABLISHED".into(),
        seen_reply: true,
        assured: true,
        original: flow(HOST, 40_000, SERVER, 443),
        reply: flow(SERVER, 443, OURS, 40_001),
        age_seconds: 61,
        idle_seconds: 3,
        expires_seconds: 7_000,
        zone: 0,
        mark: 0,
        timeout_set: "default".into(),
        worker: 1,
        index: 7,
    };
    let shown = |sessions: &[api::Session]| {
        let mut out = Vec::new();
        write_behind(&mut out, "203.0.113.2:40001", "tcp", sessions).unwrap();
        String::from_utf8(out).unwrap()
    };
    let expected = "\
203.0.113.2:40001  192.168.1.10:40000 (zone 0), tcp, to 198.51.100.7:443;
                   ESTABLISHED, 1m 1s old, idle for 3s, worker 1
";
    assert_eq!(shown(&[session]), expected);
    assert!(shown(&[]).starts_with("Nobody: no tcp session is behind 203.0.113.2:40001"));
}

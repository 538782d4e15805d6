//! Which services would do better without sessions, as the control socket and the command say it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::{Gateway, NOW, session};
use natgate::config::compile::compile;
use natgate::conntrack::key::V4Key;
use natgate::conntrack::session::NewSession;
use natgate::conntrack::table::Shard;
use natgate::conntrack::tracker::Observed;
use natgate::control::api;
use natgate::control::client::ClientError;
use natgate::control::publish::Published;
use natgate::control::running::{DeviceRow, Running};
use natgate::ids::{MacAddr, Realm};
use natgate::packet::Tuple;
use natgate::time::Tick;
use natgate::wire::protocol;
use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::sync::Arc;

const CONFIG: &str = r#"
[interface.lan]
device = "af_packet:eth1"
realm = "internal"
address = "192.168.1.1/24"

[interface.wan]
device = "af_packet:eth2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"

[[dnat]]
address = "203.0.113.9"
protocol = "udp"
port = 53
to = "192.168.1.20"
"#;

const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);

/// A question of one packet that came in from outside `age` ticks ago.
fn question(number: u32, age: u32) -> NewSession<V4Key> {
    let src = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + number);
    let original = Tuple { src, dst: PUBLIC, sport: 4_000, dport: 53, protocol: protocol::UDP };
    let reply = Tuple { dst: RESOLVER, ..original }.inverse();
    NewSession {
        original: V4Key::new(original, Realm::External, 0),
        reply: V4Key::new(reply, Realm::Internal, 0),
        ..session(original, reply, Observed::Udp, Tick(NOW.0 - age))
    }
}

/// A gateway with two workers that answered so many questions a second, for ten seconds.
fn gateway(a_second: u32) -> Gateway {
    let mut gateway = Gateway::new(0);
    let state = Arc::get_mut(&mut gateway.state).unwrap();
    let mut tables: Vec<_> = (0..2).map(|_| Shard::new(a_second * 5 + 8, 7)).collect();
    for n in 0..a_second * 10 {
        let (shard, _) = &mut tables[n as usize % 2];
        shard.insert(question(n, n * 10 / a_second)).unwrap();
    }
    state.sessions = tables.into_iter().map(|(_, view)| view).collect();
    let config = natgate::config::parse(CONFIG, "natgate.toml").unwrap().config;
    let device = |n: u8| DeviceRow {
        name: format!("af_packet:eth{n}"),
        driver: "net_af_packet".into(),
        mac: MacAddr([2, 0, 0, 0, 0, n]),
    };
    let devices = vec![device(1), device(2)];
    let macs: Vec<MacAddr> = devices.iter().map(|device| device.mac).collect();
    let snapshot = Arc::new(compile(&config, &macs, 7, 1));
    state.running = Published::new(Running::new(config, snapshot, devices));
    gateway
}

fn natgate(gateway: &Gateway, args: &[&str]) -> Output {
    let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
    natgate.arg("advise").args(args).arg("--socket").arg(gateway.socket()).output().unwrap()
}

#[test]
fn a_service_is_proposed_over_the_sessions_of_all_workers() {
    let gateway = gateway(300);
    let _server = gateway.start();
    let advice: api::Advice = gateway.client().get_json("/v1/advise").unwrap();
    assert_eq!((advice.sessions, advice.services, advice.proposed), (3_000, 1, 1));
    let [service] = &advice.advice[..] else { panic!("{advice:?}") };
    assert_eq!((service.unreplied, service.new_per_second, service.packets_per_session), (3_000, 300.0, 1.0));
    assert!(service.sources.abs_diff(3_000) < 900 && !service.sources_at_least, "{}", service.sources);
    let class = service.class.as_ref().unwrap();
    assert_eq!((class.saves_sessions, class.saves_cycles_per_second), (3_000, 300 * (2_394 + 1_008 - 339)));
    assert!(class.toml.starts_with("[[notrack]]\nname = \"dns-udp\"\npreset = \"dns\"\n"), "{}", class.toml);
}

#[test]
fn the_command_prints_a_class_that_the_config_takes() {
    let gateway = gateway(300);
    let server = gateway.start();
    let said = natgate(&gateway, &[]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.starts_with("100.0 % of the table (3,000 sessions of 1 service) would be free"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let (_, class) = text.split_once("\n[[notrack]]").unwrap();
    let pasted = format!("{CONFIG}\n[[notrack]]{class}");
    let checked = natgate::config::parse(&pasted, "natgate.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((checked.config.notrack.len(), checked.warnings.len()), (1, 0), "{:?}", checked.warnings);
    let json = natgate(&gateway, &["--json", "--all"]);
    let advice: api::Advice = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(advice.advice.len(), 1);
    server.stop();
    assert_eq!(natgate(&gateway, &[]).status.code(), Some(1));
}

#[test]
fn nothing_to_propose_is_an_answer_that_says_why() {
    let gateway = gateway(50);
    let _server = gateway.start();
    let said = natgate(&gateway, &[]);
    let text = String::from_utf8(said.stdout).unwrap();
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said.status.code(), Some(0), "{text}");
    assert!(
        flat.starts_with("Nothing to propose (500 sessions of 1 service): no service that could"),
        "{flat}"
    );
    assert!(flat.contains("udp 203.0.113.9:53: it has 50 new sessions a second, not 100"), "{flat}");
    let smaller = natgate(&gateway, &["--min-rate", "50", "--min-sessions", "500"]);
    assert!(String::from_utf8(smaller.stdout).unwrap().contains("[[notrack]]"));
}

#[test]
fn a_parameter_that_is_wrong_is_named_with_its_value_and_what_is_allowed() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    for (query, parts) in [
        ("min-rate=fast", ["min-rate", "\"fast\""]),
        ("all=maybe", ["all", "true nor false"]),
        ("limit=100000", ["limit", "10000"]),
        ("rate=1", ["rate", "choose from min-rate, min-sessions, all, limit"]),
    ] {
        let error = gateway.client().get_json::<api::Advice>(&format!("/v1/advise?{query}")).unwrap_err();
        let ClientError::Refused { status: 400, message, .. } = error else { panic!("{error}") };
        assert!(parts.iter().all(|part| message.contains(part)), "{query}: {message}");
    }
}

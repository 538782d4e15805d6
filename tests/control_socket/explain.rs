//! What would become of a packet, as the control socket and the command say it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::Gateway;
use natgate::control::api;
use natgate::control::client::ClientError;
use std::process::{Command, Output};

fn ask(gateway: &Gateway, query: &str) -> api::Explanation {
    gateway.client().get_json(&format!("/v1/explain?{query}")).unwrap()
}

fn natgate(gateway: &Gateway, line: &str) -> Output {
    let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
    natgate.arg("explain").args(line.split(' ')).arg("--socket").arg(gateway.socket()).output().unwrap()
}

#[test]
fn a_new_flow_is_explained_from_its_interface_to_its_answers() {
    let gateway = Gateway::new(3);
    let _server = gateway.start();
    let said = ask(&gateway, "proto=tcp&src=192.168.1.10&sport=4000&dst=198.51.100.7&dport=443");
    assert_eq!((said.packet.interface.as_str(), said.packet.interface_given), ("lan", false));
    assert_eq!(said.packet.rx_packets, 1_000_000);
    assert_eq!(said.rule.unwrap().text, "{ source = \"interface\" }");
    let mapping = said.mapping.unwrap();
    assert_eq!((mapping.source.as_str(), mapping.free), ("interface wan", mapping.usable));
    let hop = said.next_hop.unwrap();
    assert_eq!((hop.route.as_deref(), hop.state.as_str()), (Some("0.0.0.0/0"), "reachable"));
    assert_eq!(said.limits.unwrap().sessions.capacity, 11);
    let (owner, answers) = (said.owner.unwrap(), said.answers.unwrap());
    assert!(answers.worker.is_none_or(|worker| worker == owner.worker));
    assert_eq!((said.verdict.outcome.as_str(), said.verdict.provided.len()), ("forwarded", 0));
}

#[test]
fn a_packet_of_a_session_is_explained_by_the_session_in_both_directions() {
    let gateway = Gateway::new(3);
    let _server = gateway.start();
    // Sessions of the stage lie where somebody put them: ask for one that is with the owner of its packets.
    let sessions: Vec<api::Session> = gateway
        .client()
        .get_lines("/v1/sessions?proto=udp")
        .unwrap()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    let found = sessions.iter().find_map(|session| {
        let flow = &session.original;
        let query = format!(
            "interface=lan&proto=udp&src={}&sport={}&dst={}&dport={}",
            flow.src,
            flow.sport.unwrap(),
            flow.dst,
            flow.dport.unwrap()
        );
        let said = ask(&gateway, &query);
        said.session.is_some().then_some((session, said))
    });
    let (session, said) = found.unwrap();
    assert_eq!(said.direction.as_deref(), Some("original"));
    assert_eq!(said.session.as_ref().unwrap().index, session.index);
    assert_eq!((said.rule.is_none(), said.mapping.is_none()), (true, true));
    let sent = said.sent.unwrap();
    assert_eq!((sent.src, sent.sport), (session.reply.dst, session.reply.dport));
    assert_eq!(said.tracking.unwrap().state, "UDP");
}

#[test]
fn a_request_that_is_wrong_is_told_the_parameter_the_value_and_the_cure() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let tcp = "proto=tcp&src=192.168.1.10&sport=4000&dst=198.51.100.7&dport=443";
    for (query, parts) in [
        ("", ["proto", "it is missing", "proto=tcp"]),
        ("proto=tcp&src=192.168.1.10&dst=1.2.3.4&dport=1", ["sport", "it is missing", "sport=40000"]),
        ("proto=tcp&src=10.0.0.300", ["src", "\"10.0.0.300\"", "IPv4"]),
        ("proto=icmp&src=192.168.1.10&dst=1.2.3.4&dport=1", ["dport", "no ports", "leave it out"]),
        ("proto=udp&flags=syn&src=192.168.1.10&dst=1.2.3.4", ["flags", "only TCP", "leave it out"]),
        (&format!("{tcp}&flags=sin"), ["flags", "\"sin\"", "fin, syn, rst"]),
        (&format!("{tcp}&interface=eth0"), ["interface", "\"eth0\"", "lan, wan"]),
        (&format!("{tcp}&zone=9"), ["zone", "\"9\"", "there is 0"]),
        (&format!("{tcp}&size=19"), ["size", "\"19\"", "20 to 65535"]),
        (&format!("{tcp}&port=1"), ["port", "no such parameter", "sport"]),
    ] {
        let error =
            gateway.client().get_json::<api::Explanation>(&format!("/v1/explain?{query}")).unwrap_err();
        let ClientError::Refused { status: 400, message, .. } = error else { panic!("{error}") };
        assert!(parts.iter().all(|part| message.contains(part)), "{query}: {message}");
    }
}

#[test]
fn the_exit_code_says_whether_the_packet_would_pass() {
    let gateway = Gateway::new(0);
    let server = gateway.start();
    let passes = natgate(&gateway, "tcp 192.168.1.10:4000 198.51.100.7:443");
    assert_eq!(passes.status.code(), Some(0), "{passes:?}");
    let text = String::from_utf8(passes.stdout).unwrap();
    assert!(text.starts_with(" 1  packet     tcp syn 192.168.1.10:4000 > 198.51.100.7:443"), "{text}");
    assert!(text.ends_with("\nforwarded\n") && text.lines().all(|line| line.len() <= 80), "{text}");
    let answered = natgate(&gateway, "icmp 192.168.1.10 192.168.1.1 --id 7");
    assert_eq!(answered.status.code(), Some(0), "{answered:?}");
    let dropped = natgate(&gateway, "udp 198.51.100.7:53 203.0.113.2:4000 --interface wan --json");
    assert_eq!(dropped.status.code(), Some(3), "{dropped:?}");
    let said: api::Explanation = serde_json::from_slice(&dropped.stdout).unwrap();
    assert_eq!(said.verdict.reason.as_deref(), Some("no_session"));
    let wrong = natgate(&gateway, "tcp 192.168.1.10 198.51.100.7:443");
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("sport"));
    server.stop();
    assert_eq!(natgate(&gateway, "gre 192.168.1.10 198.51.100.7").status.code(), Some(1));
}

#[test]
fn whoever_is_behind_an_external_port_or_identifier_is_found() {
    let gateway = Gateway::new(3);
    let _server = gateway.start();
    let text = |line: &str| String::from_utf8(natgate(&gateway, line).stdout).unwrap();
    let udp = text("udp --external 203.0.113.2:1025");
    assert!(udp.contains("10.1.0.1:1025") && udp.contains("10.2.0.1:1025"), "{udp}");
    let ping = text("icmp --external 203.0.113.2:815");
    assert!(ping.contains("10.9.9.9:4711 (zone 0), icmp"), "{ping}");
    assert!(text("icmp --external 203.0.113.2:816").starts_with("Nobody"));
    let list: Vec<api::Session> =
        serde_json::from_str(&text("udp --external 203.0.113.2:1025 --json")).unwrap();
    assert_eq!(list.len(), 2);
}

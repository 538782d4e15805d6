//! What the gateway says of rules, pools and routes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::Gateway;
use natgate::control::api;
use natgate::control::client::ClientError;
use natgate::ids::WorkerId;
use natgate::pipeline::plan::Rule;
use std::process::Command;

#[test]
fn rules_pools_and_routes_are_those_of_the_config_that_runs() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let running = gateway.state.running.read();
    running.snapshot.rules.of(Rule::Snat(0)).unwrap().of(WorkerId(1)).unwrap().add(7);
    let client = gateway.client();
    let rules: api::Rules = client.get_json("/v1/rules").unwrap();
    let [snat] = &rules.rules[..] else { panic!("one rule") };
    assert_eq!((snat.kind.as_str(), snat.number, snat.sessions), ("snat", 1, Some(7)));
    assert_eq!(snat.text, "{ source = \"interface\" }");
    let pools: api::Pools = client.get_json("/v1/pools?limit=5").unwrap();
    let [wan] = &pools.pools[..] else { panic!("one interface") };
    assert_eq!((wan.name.as_str(), wan.kind.as_str(), wan.usable.tcp), ("wan", "interface", 64_512));
    let routes: api::Routes = client.get_json("/v1/routes").unwrap();
    assert_eq!((routes.total, routes.routes.len()), (3, 3));
    let default = routes.routes.last().unwrap();
    assert_eq!((default.to.as_str(), default.state.as_deref()), ("0.0.0.0/0", Some("reachable")));
    let few: api::Routes = client.get_json("/v1/routes?limit=1").unwrap();
    assert_eq!((few.total, few.routes.len()), (3, 1));
}

#[test]
fn a_bad_parameter_is_named_with_its_value_and_what_is_allowed() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    for path in ["/v1/rules", "/v1/pools", "/v1/blocks", "/v1/routes"] {
        for (query, parts) in [("limit=ten", ["limit", "\"ten\""]), ("rows=1", ["rows", "choose from limit"])]
        {
            let error = gateway.client().get_json::<api::Rules>(&format!("{path}?{query}")).unwrap_err();
            let ClientError::Refused { status: 400, message, .. } = error else { panic!("{error}") };
            assert!(parts.iter().all(|part| message.contains(part)), "{path}?{query}: {message}");
        }
    }
}

#[test]
fn the_commands_print_text_or_the_same_as_json() {
    let gateway = Gateway::new(0);
    let _server = gateway.start();
    let show = |args: &[&str]| {
        let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
        let output = natgate.arg("show").args(args).arg("--socket").arg(gateway.socket()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(show(&["rules"]).contains("snat 1         0  { source = \"interface\" }\n"));
    assert!(show(&["rules", "--limit", "0"]).contains("1 more (--limit)"));
    assert!(show(&["pools", "--addresses", "3"]).contains("wan (interface)"));
    assert_eq!(show(&["blocks", "--subscriber", "100.64.0.1"]), "Nobody has a block of ports.\n");
    assert!(show(&["backends"]).contains("10.0.0.80:80  down      5s      1       3  refused 5s ago"));
    assert!(show(&["routes"]).contains("default         wan        203.0.113.1  reachable"));
    let json: api::Routes = serde_json::from_str(&show(&["routes", "--json"])).unwrap();
    assert_eq!(json.total, 3);
}

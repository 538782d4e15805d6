//! Edits of single objects in the text of a config file: what changes, what stays as it was written, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use natgate::config::edit::values::{Backend, Endpoint, NewForward, Ports, Protocol};
use natgate::config::edit::{Edit, apply};
use natgate::config::{self, Config};
use proptest::prelude::*;
use serde_json::json;
use std::net::Ipv4Addr;

const SITE: &str = r#"# Our gateway.

[interface.lan]
device = "tap:lan"
realm = "internal"
address = "192.168.1.1/24"     # the old network

[interface.wan]
device = "tap:wan"
realm = "external"
address = "203.0.113.2/24"

# Forwards. Ask the web team first.

# the web server
[[dnat]]
on = "wan"
protocol = "tcp"
port = 80
to = "192.168.1.10"            # blue

# the name server
[[dnat]]
address = "203.0.113.9"
protocol = ["tcp", "udp"]      # both
port = 53
to = "192.168.1.53"

[[dnat]]
on = "wan"
protocol = "udp"
port = "5000-5010"
to = "192.168.1.10:6000"
drain = false # not yet

[[ban]]
from = ["198.51.100.0/24", "192.0.2.7"] # scanners

[[snat]]
out = "wan"
# The end.
"#;

fn edit(json: serde_json::Value) -> Edit {
    serde_json::from_value(json).unwrap()
}

fn edited(text: &str, json: serde_json::Value) -> String {
    apply(text, &edit(json)).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(json: serde_json::Value) -> String {
    apply(SITE, &edit(json)).unwrap_err().to_string()
}

fn parsed(text: &str) -> Config {
    config::parse(text, "x").unwrap_or_else(|errors| panic!("{errors}\n{text}")).config
}

/// Lines that are in one text only: `-` in the first, `+` in the second.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let only = |one: &str, other: &str, sign: &str| {
        let lines: Vec<String> = one
            .lines()
            .filter(|line| !line.is_empty() && !other.lines().any(|known| known == *line))
            .map(|line| format!("{sign}{line}"))
            .collect();
        lines
    };
    [only(before, after, "-"), only(after, before, "+")].concat()
}

#[test]
fn a_forward_is_added_behind_the_others_and_nothing_else_changes() {
    let text = edited(
        SITE,
        json!({"edit": "add_forward", "on": "wan", "protocol": ["tcp", "udp"], "port": 8080, "to": "192.168.1.11:80",
               "comment": "ticket 4711"}),
    );
    let forward = "\n[[dnat]]\non = \"wan\"\nprotocol = [\"tcp\", \"udp\"]\nport = 8080\nto = \"192.168.1.11:80\"\n\
                   comment = \"ticket 4711\"\n\n[[ban]]";
    assert_eq!(text, SITE.replace("\n[[ban]]", forward));
}

#[test]
fn every_key_of_a_forward_can_be_given() {
    let text = edited(
        SITE,
        json!({"edit": "add_forward", "address": "203.0.113.7", "protocol": ["tcp"], "port": "8000-8010",
               "to": "192.168.1.11", "source": "interface", "syn_proxy": true, "zone": 0}),
    );
    let config = parsed(&text);
    let rule = config.dnat.last().unwrap();
    assert_eq!((rule.ports.clone(), rule.backends[0].port, rule.syn_proxy), (8000..=8010, 8000, true));
    assert!(rule.source.is_some());
}

#[test]
fn a_removed_forward_takes_its_own_comment_along_and_no_other() {
    let web = json!({"edit": "remove_forward", "address": "203.0.113.2", "protocol": "tcp", "port": 80});
    let text = edited(SITE, web);
    assert_eq!(
        changed_lines(SITE, &text),
        [
            "-# the web server",
            "-protocol = \"tcp\"",
            "-port = 80",
            "-to = \"192.168.1.10\"            # blue"
        ]
    );
    assert!(text.contains("# Forwards. Ask the web team first.\n\n# the name server\n[[dnat]]"), "{text}");
}

#[test]
fn a_comment_that_heads_the_last_table_of_a_file_outlives_it() {
    let text = "interface.lan = { device = \"tap:a\", realm = \"internal\", address = \"10.0.0.1/8\" }\n\n\
                # Who is out.\n\n# scanner\n[[ban]]\nfrom = \"192.0.2.7\"\n";
    let after = edited(text, json!({"edit": "unban", "from": ["192.0.2.7"]}));
    assert!(after.contains("# Who is out.") && !after.contains("scanner"), "{after}");
    let again = edited(&after, json!({"edit": "ban", "from": ["192.0.2.7"]}));
    assert_eq!(parsed(&again), parsed(text));
}

#[test]
fn one_protocol_of_two_is_removed_alone() {
    let text = edited(
        SITE,
        json!({"edit": "remove_forward", "address": "203.0.113.9", "protocol": "udp", "port": 53}),
    );
    assert_eq!(
        changed_lines(SITE, &text),
        ["-protocol = [\"tcp\", \"udp\"]      # both", "+protocol = [\"tcp\"]      # both"]
    );
}

#[test]
fn a_rule_is_drained_as_a_whole() {
    let name_server = json!({"edit": "drain", "address": "203.0.113.9", "protocol": "udp", "port": 53});
    let text = edited(SITE, name_server);
    assert_eq!(changed_lines(SITE, &text), ["+drain = true"]);
    let drained = |text: &str| parsed(text).dnat.iter().map(|rule| rule.drain).collect::<Vec<_>>();
    assert_eq!(drained(&text), [false, true, true, false]);
    let back = json!({"edit": "undrain", "address": "203.0.113.9", "protocol": "tcp", "port": 53});
    assert_eq!(edited(&text, back), SITE);

    let one_of_many = json!({"edit": "drain", "on": "wan", "protocol": "udp", "port": 5003});
    let text = edited(SITE, one_of_many);
    assert_eq!(changed_lines(SITE, &text), ["-drain = false # not yet", "+drain = true # not yet"]);
}

#[test]
fn a_backend_is_drained_in_every_rule_that_leads_to_it() {
    let drained = |backend: &str| -> Vec<bool> {
        let text = edited(SITE, json!({"edit": "drain_backend", "backend": backend}));
        parsed(&text).dnat.iter().map(|rule| rule.drain).collect()
    };
    assert_eq!(drained("192.168.1.10"), [true, false, false, true]);
    assert_eq!(drained("192.168.1.10:80"), [true, false, false, false]);
    assert_eq!(drained("192.168.1.10:6010"), [false, false, false, true]);
    let all = edited(SITE, json!({"edit": "drain_backend", "backend": "192.168.1.10"}));
    let none = edited(&all, json!({"edit": "undrain_backend", "backend": "192.168.1.10"}));
    assert_eq!(parsed(&none), parsed(SITE));
}

#[test]
fn a_ban_is_a_table_of_its_own_and_is_taken_back_prefix_by_prefix() {
    let ban = json!({"edit": "ban", "from": ["192.0.2.9", "203.0.114.0/24"], "zone": 0, "comment": "noise"});
    let text = edited(SITE, ban);
    assert_eq!(
        changed_lines(SITE, &text),
        ["+from = [\"192.0.2.9\", \"203.0.114.0/24\"]", "+zone = 0", "+comment = \"noise\""]
    );
    let unban = json!({"edit": "unban", "from": ["192.0.2.9/32"], "zone": 0});
    let one_less = edited(&text, unban);
    assert!(one_less.contains("from = [\"203.0.114.0/24\"]"), "{one_less}");
    let last = edited(&one_less, json!({"edit": "unban", "from": ["203.0.114.0/24"], "zone": 0}));
    assert_eq!(last, SITE);
    let of_several = edited(SITE, json!({"edit": "unban", "from": ["198.51.100.0/24"]}));
    assert!(of_several.contains("from = [\"192.0.2.7\"] # scanners"), "{of_several}");
}

#[test]
fn lists_of_inline_tables_are_edited_too() {
    let site = "interface.lan = { device = \"tap:a\", realm = \"internal\", address = \"192.168.1.1/24\" }\n\
                interface.wan = { device = \"tap:b\", realm = \"external\", address = \"203.0.113.2/24\" }\n\
                dnat = [{ on = \"wan\", protocol = \"tcp\", port = 80, to = \"192.168.1.10\" }]\n";
    let forward =
        json!({"edit": "add_forward", "on": "wan", "protocol": ["tcp"], "port": 81, "to": "192.168.1.10"});
    let added = edited(site, forward);
    assert_eq!(parsed(&added).dnat.len(), 2);
    let drained = edited(&added, json!({"edit": "drain", "on": "wan", "protocol": "tcp", "port": 81}));
    assert_eq!(parsed(&drained).dnat.iter().map(|rule| rule.drain).collect::<Vec<_>>(), [false, true]);
    let removed =
        edited(&drained, json!({"edit": "remove_forward", "on": "wan", "protocol": "tcp", "port": 81}));
    assert_eq!(parsed(&removed), parsed(site));
}

#[test]
fn what_can_not_be_edited_says_what_is_wrong_and_what_to_do() {
    let endpoint = |edit: &str, on: &str, protocol: &str, port: u16| {
        refusal(json!({"edit": edit, "on": on, "protocol": protocol, "port": port}))
    };
    let add = |on: &str, port: &str, to: &str| {
        refusal(json!({"edit": "add_forward", "on": on, "protocol": ["udp", "tcp"], "port": port, "to": to}))
    };
    for (error, says, cure) in [
        (endpoint("remove_forward", "wan", "tcp", 81), "nothing forwards tcp wan:81", "of a [[dnat]] rule"),
        (
            endpoint("remove_forward", "wan", "udp", 5003),
            "part of the forward of ports 5000-5010",
            "as a whole",
        ),
        (
            endpoint("undrain", "wan", "tcp", 80),
            "the forward of tcp wan:80 is not drained already",
            "nothing is to do",
        ),
        (
            add("wan", "79-81", "192.168.1.9"),
            "tcp port 80 there is forwarded to 192.168.1.10:80 already",
            "remove",
        ),
        (add("wam", "82", "192.168.1.9"), "there is no interface \"wam\"", "did you mean `wan`?"),
        (add("wan", "82", "192.168.1.1"), "192.168.1.1 is an address of the gateway itself", "server"),
        (
            refusal(json!({"edit": "drain", "protocol": "tcp", "port": 80})),
            "give either `on`",
            "or `address`",
        ),
        (
            refusal(json!({"edit": "drain_backend", "backend": "192.168.1.99"})),
            "nothing is forwarded to 192.168.1.99",
            "give the address of a backend",
        ),
        (
            refusal(json!({"edit": "undrain_backend", "backend": "192.168.1.53"})),
            "the backend 192.168.1.53 is not drained already",
            "nothing is to do",
        ),
        (
            refusal(json!({"edit": "ban", "from": ["198.51.100.7"]})),
            "198.51.100.7/32 is banned already, by the ban of 198.51.100.0/24",
            "leave it out",
        ),
        (refusal(json!({"edit": "ban", "from": []})), "`from` is empty", "at least one"),
        (
            refusal(json!({"edit": "ban", "from": ["192.0.2.1"], "zone": 9})),
            "no interface is in zone 9",
            "zones",
        ),
        (
            refusal(json!({"edit": "unban", "from": ["198.51.100.7"]})),
            "198.51.100.7 is not banned",
            "it lies in the ban of 198.51.100.0/24",
        ),
        (
            refusal(json!({"edit": "unban", "from": ["192.0.2.7"], "zone": 0})),
            "192.0.2.7 in zone 0 is not banned",
            "leave `zone` out",
        ),
    ] {
        assert!(error.contains(says) && error.contains(cure), "{error}\n{says}\n{cure}");
    }
    let broken = apply("interface = 1", &edit(json!({"edit": "ban", "from": ["192.0.2.1"]}))).unwrap_err();
    assert!(broken.to_string().contains("wrong before the edit"), "{broken}");
}

#[test]
fn an_edit_that_is_misspelt_is_no_edit() {
    for (json, says) in [
        (json!({"edit": "bann", "from": ["192.0.2.1"]}), "unknown variant"),
        (json!({"edit": "ban", "from": ["192.0.2.1"], "zoone": 1}), "unknown field"),
        (json!({"edit": "ban", "from": ["192.0.2.1/24"]}), "\"192.0.2.0/24\" for the network"),
        (json!({"edit": "drain", "on": "wan", "protocol": "tcp", "port": 0}), "not a port"),
        (json!({"edit": "drain", "on": "wan", "protocol": "tcp", "port": 80, "to": "x"}), "unknown field"),
        (json!({"edit": "drain_backend", "backend": "web"}), "write an address"),
    ] {
        let error = serde_json::from_value::<Edit>(json.clone()).unwrap_err().to_string();
        assert!(error.contains(says), "{json}: {error}");
    }
}

#[test]
fn an_edit_says_what_it_does() {
    for (json, says) in [
        (
            json!({"edit": "add_forward", "on": "wan", "protocol": ["tcp", "udp"], "port": 53, "to": "10.0.0.1",
                   "comment": "dns"}),
            "forward tcp and udp wan:53 to 10.0.0.1 (dns)",
        ),
        (
            json!({"edit": "remove_forward", "address": "203.0.113.9", "protocol": "udp", "port": "50-60"}),
            "remove the forward of udp 203.0.113.9:50-60",
        ),
        (json!({"edit": "drain_backend", "backend": "10.0.0.1:80"}), "drain the backend 10.0.0.1:80"),
        (
            json!({"edit": "ban", "from": ["192.0.2.1/32", "10.0.0.0/8"], "zone": 3, "comment": "noise"}),
            "ban 192.0.2.1, 10.0.0.0/8 in zone 3 (noise)",
        ),
        (json!({"edit": "unban", "from": ["192.0.2.1"]}), "unban 192.0.2.1"),
    ] {
        let edit = edit(json);
        assert_eq!(edit.to_string(), says);
        let again: Edit = serde_json::from_str(&serde_json::to_string(&edit).unwrap()).unwrap();
        assert_eq!(again, edit);
    }
}

fn protocols() -> impl Strategy<Value = Vec<Protocol>> {
    prop::sample::select(vec![
        vec![Protocol::Tcp],
        vec![Protocol::Udp],
        vec![Protocol::Tcp, Protocol::Udp],
        vec![Protocol::Udp, Protocol::Tcp],
    ])
}

proptest! {
    #[test]
    fn what_is_added_and_removed_again_leaves_the_same_config(
        protocol in protocols(),
        first in 6000u16..=60_000,
        more in 0u16..20,
        host in 3u8..=254,
        by_name in any::<bool>(),
        banned in prop::collection::btree_set(0u8..=255, 1..4),
    ) {
        let (on, address) =
            if by_name { (Some("wan".to_owned()), None) } else { (None, Some(Ipv4Addr::new(203, 0, 113, host))) };
        let forward = NewForward {
            on: on.clone(),
            address,
            protocol: protocol.clone(),
            port: Ports(first..=first + more),
            to: Backend { address: Ipv4Addr::new(192, 168, 1, 20), port: None },
            source: None,
            syn_proxy: false,
            zone: None,
            comment: Some("tried # out \"here\"".into()),
        };
        let from: Vec<_> = banned.iter().map(|n| Ipv4Addr::new(192, 0, 3, *n).into()).collect();
        let mut text = apply(SITE, &Edit::AddForward(forward)).unwrap();
        text = apply(&text, &Edit::Ban { from: from.clone(), zone: None, comment: None }).unwrap();
        prop_assert_eq!(parsed(&text).dnat.len(), 4 + protocol.len());
        for protocol in protocol {
            let (on, port) = (on.clone(), Ports(first..=first + more));
            text = apply(&text, &Edit::RemoveForward(Endpoint { on, address, protocol, port })).unwrap();
        }
        for prefix in from {
            text = apply(&text, &Edit::Unban { from: vec![prefix], zone: None }).unwrap();
        }
        prop_assert_eq!(parsed(&text), parsed(SITE));
        prop_assert_eq!(text, SITE);
    }
}

#[test]
fn one_of_several_backends_is_drained_where_it_stands() {
    let site = SITE.to_owned()
        + "[[dnat]]\naddress = \"203.0.113.7\"\nprotocol = \"tcp\"\nport = 443\n\
           to = [\"192.168.1.30\", { address = \"192.168.1.31:8443\", weight = 2 }] # both\n";
    let drained = |text: &str| {
        let config = parsed(text);
        config.dnat.last().unwrap().backends.iter().map(|backend| backend.drain).collect::<Vec<_>>()
    };
    let first = edited(&site, json!({"edit": "drain_backend", "backend": "192.168.1.30"}));
    assert_eq!(drained(&first), [true, false]);
    assert!(
        first.contains("to = [{ address = \"192.168.1.30\", drain = true }, { address = \"192.168.1.31:8443\", weight = 2 }] # both"),
        "{first}"
    );
    let both = edited(&first, json!({"edit": "drain_backend", "backend": "192.168.1.31:8443"}));
    assert_eq!(drained(&both), [true, true]);
    let again = edited(&both, json!({"edit": "undrain_backend", "backend": "192.168.1.30"}));
    assert_eq!(drained(&again), [false, true]);
    assert!(!parsed(&again).dnat.last().unwrap().drain);
}

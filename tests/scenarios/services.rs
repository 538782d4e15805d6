//! Forwards with several backends: each client gets one, and everything that is said of one backend holds for it.

use crate::harness::{Net, SHAPES, play};
use crate::translation::HOME;
use std::collections::BTreeSet;
use std::time::Duration;

/// A home whose web service has these backends.
fn web(to: &str, more: &str) -> String {
    format!("{HOME}\n[[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = 80\nto = {to}\n{more}")
}

const THREE: &str =
    "[\"192.168.1.20:8080\", { address = \"192.168.1.21\", weight = 2 }, \"192.168.1.22:8080\"]";

/// One connection of a client; the backend is `$bN:$tN`.
fn connection(client: &str, number: usize, to: &str) -> String {
    format!(
        "
        wan> tcp {client} > {to} S
        lan< tcp {client} > $b{number}:$t{number} S
        opened
        lan> tcp $b{number}:$t{number} > {client} SA
        wan< tcp {to} > {client} SA
        wan> tcp {client} > {to} A seq=1 ack=1
        lan< tcp {client} > $b{number}:$t{number} A seq=1 ack=1
        "
    )
}

#[test]
fn clients_spread_over_the_backends_and_answers_come_from_the_service() {
    let mut chosen: Option<Vec<String>> = None;
    for shape in SHAPES {
        let mut net = Net::new(&web(THREE, ""), shape);
        let mut here = Vec::new();
        for client in 1..60 {
            net.play(&connection(&format!("198.51.100.{client}:4000"), client, "203.0.113.2:80"));
            here.push(net.bindings.address(&format!("$b{client}")).to_string());
        }
        let distinct: BTreeSet<&String> = here.iter().collect();
        assert_eq!(distinct.len(), 3, "{distinct:?}");
        assert_eq!(*chosen.get_or_insert_with(|| here.clone()), here, "the same whatever the workers");
        net.finish();
    }
}

#[test]
fn with_affinity_all_connections_of_a_client_go_to_one_backend_by_every_rule_that_has_it() {
    let second = "affinity = \"source\"\n[[dnat]]\naddress = \"203.0.113.9\"\nprotocol = \"tcp\"\nport = 80\naffinity = \"source\"\n";
    let config = web(THREE, &format!("{second}to = {THREE}\n"));
    for shape in SHAPES {
        let mut net = Net::new(&config, shape);
        for client in 1..12 {
            for port in 1..4 {
                let number = client * 10 + port;
                let to = if port == 3 { "203.0.113.9:80" } else { "203.0.113.2:80" };
                net.play(&connection(&format!("198.51.100.{client}:{port}"), number, to));
                let [first, this] =
                    [client * 10 + 1, number].map(|number| net.bindings.address(&format!("$b{number}")));
                assert_eq!(first, this);
            }
        }
        net.finish();
    }
}

#[test]
fn a_drained_backend_gets_no_new_session_and_without_an_open_one_clients_are_told() {
    let drained = |other: &str| {
        format!(
            "[{{ address = \"192.168.1.20:8080\", drain = true }}, {{ address = \"192.168.1.21:80\", drain = {other} }}]"
        )
    };
    let mut script = String::new();
    for client in 1..20 {
        script += &format!(
            "wan> tcp 198.51.100.{client}:4000 > 203.0.113.2:80 S
            lan< tcp 198.51.100.{client}:4000 > 192.168.1.21:80 S
            opened\n"
        );
    }
    play(&web(&drained("false"), ""), &script);
    play(
        &web(&drained("true"), ""),
        "
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:80 S
        drop forward_drained
        wan<+ icmp 3/3 203.0.113.2 > 198.51.100.1 [tcp 198.51.100.1:4000 > 203.0.113.2:80 S]
        ",
    );
}

#[test]
fn a_host_inside_and_full_nat_get_a_backend_like_others() {
    play(
        &web(THREE, "source = \"interface\"\n"),
        "
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:80 S
        lan< tcp 192.168.1.1:$p > $b:$t S
        opened
        lan> tcp $b:$t > 192.168.1.1:$p SA
        wan< tcp 203.0.113.2:80 > 198.51.100.1:4000 SA
        ",
    );
    play(
        &web(THREE, ""),
        "
        lan> tcp 192.168.1.10:4000 > 203.0.113.2:80 S
        lan< tcp 203.0.113.2:$p > $b:$t S
        opened
        lan> tcp $b:$t > 203.0.113.2:$p SA
        lan< tcp 203.0.113.2:80 > 192.168.1.10:4000 SA
        # A backend by its own.
        lan> tcp 192.168.1.20:8080 > 198.51.100.9:443 S
        wan< tcp 203.0.113.2:$q > 198.51.100.9:443 S
        opened
        wan> tcp 198.51.100.9:443 > 203.0.113.2:$q SA
        lan< tcp 198.51.100.9:443 > 192.168.1.20:8080 SA
        ",
    );
}

#[test]
fn sessions_keep_their_backend_over_a_reload_and_the_service_spares_one_that_they_know_otherwise() {
    let alone = format!(
        "{HOME}\n[[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = 8080\nto = \"192.168.1.20:80\"\n"
    );
    let service = web("[\"192.168.1.20\", \"192.168.1.21\"]", "");
    for shape in SHAPES {
        let mut net = Net::new(&alone, shape);
        net.play(&connection("198.51.100.1:4000", 0, "203.0.113.2:8080"));
        net.reload(&service);
        net.run();
        // Answers of the first one's sessions go by port 8080 still.
        for client in 2..20 {
            net.play(&connection(&format!("198.51.100.{client}:4000"), client, "203.0.113.2:80"));
            assert_eq!(net.bindings.address(&format!("$b{client}")).to_string(), "192.168.1.21");
        }
        // They are over.
        net.play("wait 6d\nclosed 19");
        net.reload(&service);
        net.run();
        let mut both = BTreeSet::new();
        for client in 20..50 {
            net.play(&connection(&format!("198.51.100.{client}:4000"), client, "203.0.113.2:80"));
            both.insert(net.bindings.address(&format!("$b{client}")).to_string());
        }
        assert_eq!(both.len(), 2);
        // A backend goes: who has it keeps it.
        net.reload(&web("\"192.168.1.21\"", ""));
        net.run();
        for client in 20..50 {
            net.play(&format!(
                "lan> tcp $b{client}:$t{client} > 198.51.100.{client}:4000 A seq=1 ack=1
                wan< tcp 203.0.113.2:80 > 198.51.100.{client}:4000 A seq=1 ack=1"
            ));
        }
        net.finish();
    }
}

#[test]
fn with_a_timeout_a_source_keeps_its_backend_whatever_others_come_and_goes_by_the_hash_again_after_it() {
    let three =
        "[\"192.168.1.22:8080\", \"192.168.1.20:8080\", { address = \"192.168.1.21:8080\", weight = 2 }]";
    let two = "[\"192.168.1.20:8080\", \"192.168.1.21:8080\"]";
    let keeps = "affinity = \"source\"\naffinity_timeout = \"10m\"";
    for shape in SHAPES {
        let mut net = Net::new(&web(two, keeps), shape);
        let connect = |net: &mut Net, number: usize, client: usize| {
            let from = format!("198.51.100.{client}:{}", 1000 + number);
            net.play(&connection(&from, number, "203.0.113.2:80"));
            net.bindings.address(&format!("$b{number}")).to_string()
        };
        let first: Vec<String> = (1..30).map(|client| connect(&mut net, client, client)).collect();
        net.reload(&web(three, keeps));
        net.run();
        let again: Vec<String> = (1..30).map(|client| connect(&mut net, 100 + client, client)).collect();
        assert_eq!(again, first);
        let new: BTreeSet<String> = (50..70).map(|client| connect(&mut net, 200 + client, client)).collect();
        assert_eq!(new.len(), 3, "a new source goes by the hash");
        // Each session gives ten minutes more, and need not last that long.
        let nine_minutes = |net: &mut Net| {
            net.wait(Duration::from_secs(540));
            net.forget();
        };
        nine_minutes(&mut net);
        let once_more: Vec<String> = (1..5).map(|client| connect(&mut net, 300 + client, client)).collect();
        assert_eq!(once_more, first[..4]);
        nine_minutes(&mut net);
        let later: Vec<String> = (1..30).map(|client| connect(&mut net, 400 + client, client)).collect();
        assert_eq!(later[..4], first[..4]);
        let without = web(three, "affinity = \"source\"");
        net.reload(&without);
        net.run();
        let by_hash: Vec<String> = (5..30).map(|client| connect(&mut net, 500 + client, client)).collect();
        assert_eq!(later[4..], by_hash);
        assert_ne!(later[4..], first[4..]);
        net.finish();
    }
}

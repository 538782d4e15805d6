//! A new configuration under sessions that live: those that there are go on, new ones go by what is new.

use crate::harness::{Net, SHAPES, Shape};
use crate::translation::{HOME, pool};
use natgate::steering::plan::Wish;

/// Reloads between scripts, in every shape in which sessions can stay with their workers whatever becomes of forwards.
fn play_reloads(shapes: impl Iterator<Item = Shape>, steps: &[(&str, &str)]) {
    for shape in shapes {
        let mut steps = steps.iter();
        let (first, script) = steps.next().unwrap();
        let mut net = Net::new(first, shape);
        net.play(script);
        for (config, script) in steps {
            net.reload(config);
            net.run();
            assert!(net.management.is_published());
            net.play(script);
        }
        net.finish();
    }
}

fn all() -> impl Iterator<Item = Shape> {
    SHAPES.into_iter()
}

/// Where the port alone decides of an owner, a forward on it is owned otherwise: such sessions are ended by the reload.
fn by_flow() -> impl Iterator<Item = Shape> {
    all().filter(|shape| shape.wish != Wish::PortRules)
}

/// A home with a forward to the web server, on each of these ports.
fn forwards(rules: &[(&str, u16, &str)]) -> String {
    let rule = |(on, port, to): &(&str, u16, &str)| {
        format!("[[dnat]]\n{on}\nprotocol = \"tcp\"\nport = {port}\nto = \"{to}\"\n")
    };
    let rules: Vec<String> = rules.iter().map(rule).collect();
    format!("{HOME}\n{}", rules.join("\n"))
}

const WEB: (&str, u16, &str) = ("on = \"wan\"", 8080, "192.168.1.20:80");
const SECOND: (&str, u16, &str) = ("address = \"203.0.113.9\"", 80, "192.168.1.20:80");

#[test]
fn sessions_of_an_address_that_leaves_its_pool_go_on_and_new_ones_get_another() {
    play_reloads(
        all(),
        &[
            (
                &pool("\"203.0.113.10\"", "1024-65535"),
                "
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p > 198.51.100.1:53
                opened
                ",
            ),
            (
                &pool("\"203.0.113.20\"", "1024-65535"),
                "
                wan> udp 198.51.100.1:53 > 203.0.113.10:$p
                lan< udp 198.51.100.1:53 > 192.168.1.10:1000
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p > 198.51.100.1:53
                lan> udp 192.168.1.10:1000 > 198.51.100.2:53
                wan< udp 203.0.113.20:$q > 198.51.100.2:53
                opened
                wan> arp who 203.0.113.10 from 203.0.113.1
                wan<+ arp is 203.0.113.10 to 203.0.113.1
                wan> udp 198.51.100.9:53 > 203.0.113.10:$p
                drop no_session
                ",
            ),
            // It comes back while its session lives, whose port stays taken.
            (
                &pool("\"203.0.113.10\"", "1024-65535"),
                "
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p > 198.51.100.1:53
                lan> udp 192.168.1.11:$p > 198.51.100.1:53
                wan< udp 203.0.113.10:$r > 198.51.100.1:53
                opened
                wait 304s
                closed 3
                ",
            ),
        ],
    );
}

#[test]
fn an_address_that_nobody_uses_any_more_is_forgotten_with_the_next_configuration() {
    for shape in all() {
        let mut net = Net::new(&pool("\"203.0.113.10\"", "1024-65535"), shape);
        net.play(
            "
            lan> udp 192.168.1.10:1000 > 198.51.100.1:53
            wan< udp 203.0.113.10:$p > 198.51.100.1:53
            opened
            ",
        );
        let known = |net: &Net| {
            let old = net.snapshot.local.iter().filter(|local| local.address.octets()[3] == 10);
            old.count()
        };
        for _ in 0..3 {
            net.reload(&pool("\"203.0.113.20\"", "1024-65535"));
            net.run();
            assert_eq!(known(&net), 1, "a session uses it");
        }
        net.play("wait 304s\nclosed");
        net.reload(&pool("\"203.0.113.20\"", "1024-65535"));
        net.run();
        assert_eq!(known(&net), 0);
        let numbers = net.snapshot.local.iter().len();
        net.reload(&pool("\"203.0.113.30\"", "1024-65535"));
        net.run();
        assert_eq!(net.snapshot.local.iter().len(), numbers, "its number is given to another one");
        net.finish();
    }
}

#[test]
fn ports_that_a_pool_has_no_more_are_held_by_their_sessions_and_given_to_nobody() {
    play_reloads(
        all(),
        &[
            (
                &pool("\"203.0.113.10\"", "2000-2511"),
                "
                lan> udp 192.168.1.10:2003 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p > 198.51.100.1:53
                opened
                ",
            ),
            (
                &pool("\"203.0.113.10\"", "3000-3511"),
                "
                lan> udp 192.168.1.10:2003 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p > 198.51.100.1:53
                wait 304s
                closed
                ",
            ),
            (
                &pool("\"203.0.113.10\"", "2000-2511"),
                "
                lan> udp 192.168.1.10:2003 > 198.51.100.1:53
                wan< udp 203.0.113.10:$q > 198.51.100.1:53
                opened
                ",
            ),
        ],
    );
}

#[test]
fn sessions_of_a_forward_that_is_gone_go_on_and_new_ones_are_refused() {
    play_reloads(
        by_flow(),
        &[
            (
                &forwards(&[WEB]),
                "
                wan> tcp 198.51.100.1:4000 > 203.0.113.2:8080 S
                lan< tcp 198.51.100.1:4000 > 192.168.1.20:80 S
                opened
                lan> tcp 192.168.1.20:80 > 198.51.100.1:4000 SA
                wan< tcp 203.0.113.2:8080 > 198.51.100.1:4000 SA
                ",
            ),
            (
                HOME,
                "
                wan> tcp 198.51.100.1:4000 > 203.0.113.2:8080 A
                lan< tcp 198.51.100.1:4000 > 192.168.1.20:80 A
                lan> tcp 192.168.1.20:80 > 198.51.100.1:4000 A
                wan< tcp 203.0.113.2:8080 > 198.51.100.1:4000 A
                wan> tcp 198.51.100.1:4001 > 203.0.113.2:8080 S
                drop no_session
                ",
            ),
            // Another way to the same server comes first in the file: the old one still finds its worker.
            (
                &forwards(&[SECOND, WEB]),
                "
                wan> tcp 198.51.100.1:4000 > 203.0.113.2:8080 A
                lan< tcp 198.51.100.1:4000 > 192.168.1.20:80 A
                lan> tcp 192.168.1.20:80 > 198.51.100.1:4000 A
                wan< tcp 203.0.113.2:8080 > 198.51.100.1:4000 A
                wan> tcp 198.51.100.1:4002 > 203.0.113.9:80 S
                lan< tcp 198.51.100.1:4002 > 192.168.1.20:80 S
                opened
                lan> tcp 192.168.1.20:80 > 198.51.100.1:4002 SA
                wan< tcp 203.0.113.9:80 > 198.51.100.1:4002 SA
                ",
            ),
            (
                &forwards(&[SECOND]),
                "
                lan> tcp 192.168.1.20:80 > 198.51.100.1:4000 A
                wan< tcp 203.0.113.2:8080 > 198.51.100.1:4000 A
                lan> tcp 192.168.1.20:80 > 198.51.100.1:4002 A
                wan< tcp 203.0.113.9:80 > 198.51.100.1:4002 A
                ",
            ),
        ],
    );
}

#[test]
fn a_port_that_becomes_a_forward_stays_with_the_session_that_holds_it() {
    // A mapping's port is by the port alone, a forward's by the flow: where each port is one mapping's its session would be
    // with another worker.
    let pool = |addresses, ports| {
        const BOTH: &str = "\"address-and-port-dependent\"";
        pool(addresses, ports) + &format!("mapping = {BOTH}\nfiltering = {BOTH}\n")
    };
    play_reloads(
        by_flow(),
        &[
            (
                &pool("\"203.0.113.10\"", "1024-65535"),
                "
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p > 198.51.100.1:53
                opened
                ",
            ),
            (
                &(pool("\"203.0.113.10\"", "1024-65535")
                    + "\n[[dnat]]\naddress = \"203.0.113.10\"\nprotocol = \"udp\"\nport = \"1024-65535\"\nto = \"192.168.1.20\"\n"),
                "
                wan> udp 198.51.100.1:53 > 203.0.113.10:$p
                lan< udp 198.51.100.1:53 > 192.168.1.10:1000
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p > 198.51.100.1:53
                wan> udp 198.51.100.9:53 > 203.0.113.10:$p
                lan< udp 198.51.100.9:53 > 192.168.1.20:$p
                opened
                lan> udp 192.168.1.20:$p > 198.51.100.9:53
                wan< udp 203.0.113.10:$p > 198.51.100.9:53
                lan> udp 192.168.1.11:1000 > 198.51.100.1:53
                drop ports_exhausted
                lan<+ icmp 3/1 192.168.1.1 > 192.168.1.11 [udp 192.168.1.11:1000 > 198.51.100.1:53]
                ",
            ),
        ],
    );
}

#[test]
fn a_drained_forward_and_a_banned_source_open_nothing_and_what_lives_goes_on() {
    let drained = forwards(&[WEB]) + "drain = true\n";
    let banned = format!("{HOME}\n[[ban]]\nfrom = [\"192.168.1.10\", \"198.51.100.0/28\"]\n");
    play_reloads(
        by_flow(),
        &[
            (
                &forwards(&[WEB]),
                "
                wan> tcp 198.51.100.1:4000 > 203.0.113.2:8080 S
                lan< tcp 198.51.100.1:4000 > 192.168.1.20:80 S
                opened
                ",
            ),
            (
                &drained,
                "
                lan> tcp 192.168.1.20:80 > 198.51.100.1:4000 SA
                wan< tcp 203.0.113.2:8080 > 198.51.100.1:4000 SA
                wan> tcp 198.51.100.1:4001 > 203.0.113.2:8080 S ttl=64
                drop forward_drained
                wan<+ icmp 3/3 203.0.113.2 > 198.51.100.1 [tcp 198.51.100.1:4001 > 203.0.113.2:8080 S]
                ",
            ),
            (
                &banned,
                "
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                drop source_banned
                lan> udp 192.168.1.11:1000 > 198.51.100.1:53
                wan< udp 203.0.113.2:$p > 198.51.100.1:53
                opened
                wan> udp 198.51.100.1:53 > 203.0.113.2:$p   # of a session
                lan< udp 198.51.100.1:53 > 192.168.1.11:1000
                ",
            ),
        ],
    );
}

#[test]
fn a_session_keeps_its_timeout_set_when_others_come_and_go() {
    let sets = |text: &str| {
        format!(
            "{HOME}\n{text}\n[[conntrack.rule]]\non = \"lan\"\nprotocol = \"udp\"\nport = 53\ntimeouts = \"short\"\n"
        )
    };
    let set = |name: &str, udp: &str| format!("[conntrack.timeout_set.{name}]\nudp = \"{udp}\"\n");
    play_reloads(
        all(),
        &[
            (
                &sets(&set("short", "2m")),
                "
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.2:$p > 198.51.100.1:53
                opened
                ",
            ),
            (
                &sets(&(set("another", "20m") + &set("short", "130s"))),
                "
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.2:$p > 198.51.100.1:53
                wait 129s
                wait 3s
                closed
                ",
            ),
        ],
    );
}

/// What is added to a home: each is a configuration of its own.
fn variants() -> Vec<String> {
    let pools = |addresses: &str, ports: &str| pool(addresses, ports);
    vec![
        forwards(&[WEB]),
        forwards(&[SECOND, WEB]),
        forwards(&[SECOND]),
        HOME.to_owned(),
        pools("[\"203.0.113.10-203.0.113.12\"]", "1024-65535"),
        pools("[\"203.0.113.11-203.0.113.20\"]", "20000-65535"),
        pools("\"203.0.113.2\"", "30000-40000").replace("203.0.113.2/24", "203.0.113.3/24"),
    ]
}

#[test]
fn whatever_follows_upon_what_a_conversation_goes_on_in_both_directions() {
    let variants = variants();
    for shape in by_flow() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % n
        };
        let mut net = Net::new(&variants[0], shape);
        let mut talks = 0;
        for turn in 0..60 {
            match next(3) {
                0 => {
                    net.reload(&variants[next(variants.len())]);
                    net.run();
                }
                1 => {
                    talks += 1;
                    net.play(&format!(
                        "lan> udp 192.168.1.10:{} > 198.51.100.1:53\nwan< udp $a{talks}:$p{talks} > 198.51.100.1:53\nopened",
                        1000 + turn
                    ));
                    net.play(&format!(
                        "forget $s{talks}\nwan> udp 198.51.100.1:53 > $a{talks}:$p{talks}\n\
                         lan< udp 198.51.100.1:53 > 192.168.1.10:$s{talks}",
                    ));
                }
                _ if talks == 0 => {}
                _ => {
                    let n = 1 + next(talks);
                    net.play(&format!(
                        "lan> udp 192.168.1.10:$s{n} > 198.51.100.1:53\nwan< udp $a{n}:$p{n} > 198.51.100.1:53\n\
                         wan> udp 198.51.100.1:53 > $a{n}:$p{n}\nlan< udp 198.51.100.1:53 > 192.168.1.10:$s{n}"
                    ));
                }
            }
        }
        net.finish();
    }
}

#[test]
fn an_interface_that_is_added_takes_part_and_one_that_was_there_keeps_its_sessions() {
    let guests = HOME.replace(
        "[interface.wan]",
        "[interface.guests]\ndevice = \"vdev:mem0\"\nvlan = 20\nrealm = \"internal\"\naddress = \"192.168.2.1/24\"\n\
         [interface.wan]",
    );
    play_reloads(
        all(),
        &[
            (
                HOME,
                "
                lan> udp 192.168.1.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.2:$p > 198.51.100.1:53
                opened
                ",
            ),
            // In the file it stands between the two others.
            (
                &guests,
                "
                wan> udp 198.51.100.1:53 > 203.0.113.2:$p
                lan< udp 198.51.100.1:53 > 192.168.1.10:1000
                guests> udp 192.168.2.10:1000 > 198.51.100.1:53
                wan< udp 203.0.113.2:$q > 198.51.100.1:53
                opened
                wan> udp 198.51.100.1:53 > 203.0.113.2:$q
                guests< udp 198.51.100.1:53 > 192.168.2.10:1000
                ",
            ),
        ],
    );
}

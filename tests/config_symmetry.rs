//! `natgate check` finds notrack classes that do not do what they were written for, and shows the class that is missing.
//!
//! A case is a class behind the same gateway; the cure of each is pasted into the config and must be one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use ipnet::Ipv4Net;
use natgate::classify::notrack::Answers;
use natgate::config::symmetry::{self, Finding, Kind};
use natgate::config::{self, Checked, compile::compile};
use natgate::ids::InterfaceId;
use natgate::packet::{Kind as Carries, Tuple};
use natgate::pipeline::Snapshot;
use natgate::pipeline::plan::{Envelope, Header};
use natgate::pipeline::stateless::{classify, judge};
use natgate::wire::protocol;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const GATEWAY: &str = r#"
[interface.lan]
device = "af_packet:eth1"
realm = "internal"
address = "192.168.1.1/24"

[interface.dmz]
device = "af_packet:eth3"
realm = "internal"
address = "10.9.0.1/16"

[interface.wan]
device = "af_packet:eth2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"

[set.partners]
prefixes = ["198.51.100.0/24", "198.18.0.0/15"]

[set.nobody]
prefixes = []

[[snat]]
source = "interface"
"#;

/// Two zones with the same network.
const ZONES: &str = r#"
[interface.red]
device = "af_packet:eth1"
realm = "internal"
zone = 1
address = "192.168.1.1/24"

[interface.blue]
device = "af_packet:eth3"
realm = "internal"
zone = 2
address = "192.168.1.1/24"

[interface.wan]
device = "af_packet:eth2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"

[[snat]]
source = "interface"
"#;

fn checked(text: &str) -> Checked {
    config::parse(text, "natgate.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn findings(text: &str) -> Vec<Finding> {
    symmetry::check(&checked(text).config)
}

fn class(body: &str) -> String {
    format!("{GATEWAY}\n[[notrack]]\nname = \"c\"\n{body}\n")
}

/// What is wrong with a class, by name.
fn kinds(body: &str) -> Vec<Kind> {
    findings(&class(body)).into_iter().map(|finding| finding.kind).collect()
}

/// Classes of every shape, without the way back.
const SHAPES: &[(&str, &str, &str)] = &[
    (
        "plain, a public service",
        GATEWAY,
        "on = \"wan\"\nto = \"192.168.1.20\"\nport = 53\nprotocol = \"udp\"\nuntranslated = true",
    ),
    (
        "plain, where it was not said that the service is valid outside",
        GATEWAY,
        "on = \"wan\"\nto = \"192.168.1.20\"\nport = 53\nprotocol = \"udp\"",
    ),
    (
        "a translated service",
        GATEWAY,
        "on = \"wan\"\nto = \"203.0.113.9\"\nport = 11211\nprotocol = [\"tcp\", \"udp\"]\ntranslate_to = \"192.168.1.20\"",
    ),
    (
        "a translated network",
        GATEWAY,
        "on = \"wan\"\nto = \"203.0.113.64/28\"\ntranslate_to = \"10.9.4.16/28\"",
    ),
    (
        "translated clients",
        GATEWAY,
        "from = \"192.168.1.64/26\"\nto = \"198.51.100.7\"\ntranslate_from = \"203.0.113.64/26\"",
    ),
    (
        "both translated",
        GATEWAY,
        "from = \"10.9.1.1\"\ntranslate_from = \"192.168.1.77\"\nto = \"10.9.2.2\"\ntranslate_to = \"192.168.1.9\"\nport = 7\nprotocol = \"udp\"",
    ),
    (
        "ranges of ports",
        GATEWAY,
        "on = \"wan\"\nfrom_port = \"1024-65535\"\nto = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nport = [53, \"8000-8009\"]\nprotocol = \"tcp\"\nopened_by = \"either\"",
    ),
    (
        "an allow-list",
        GATEWAY,
        "from = [\"set.partners\", \"192.0.2.0/24\"]\nto = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nport = 11211\nprotocol = \"tcp\"\npolicy = \"allow-listed\"",
    ),
    (
        "portless",
        GATEWAY,
        "from = \"set.partners\"\nto = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nprotocol = [\"esp\", \"gre\", \"icmp\", 89]",
    ),
    (
        "moved over at once",
        GATEWAY,
        "on = \"wan\"\nto = \"203.0.113.9\"\nport = 53\nprotocol = \"udp\"\ntranslate_to = \"192.168.1.20\"\nexisting = \"release\"",
    ),
    (
        "in a zone",
        ZONES,
        "on = \"wan\"\nto = \"203.0.113.9\"\nport = 53\nprotocol = \"udp\"\ntranslate_to = \"192.168.1.20\"\nto_zone = 2",
    ),
    (
        "from a zone",
        ZONES,
        "zone = 1\nfrom = \"192.168.1.0/25\"\ntranslate_from = \"203.0.113.128/25\"\nto = \"198.51.100.7\"\nport = 53\nprotocol = \"udp\"",
    ),
];

#[test]
fn a_class_without_a_way_back_is_found_and_what_is_shown_cures_it() {
    for (what, gateway, body) in SHAPES {
        let text = format!("{gateway}\n[[notrack]]\nname = \"c\"\nsymmetric = false\n{body}\n");
        let found = findings(&text);
        let [finding] = found.as_slice() else { panic!("{what}: {found:#?}") };
        assert_eq!((finding.class, finding.kind), (0, Kind::Asymmetric), "{what}");
        let cured = match &finding.rule {
            Some(rule) => format!("{text}\n{rule}"),
            None => text.replace("symmetric = false", "symmetric = true"),
        };
        assert_eq!(findings(&cured), [], "{what}: {cured}");
    }
}

#[test]
fn a_class_with_its_way_back_is_in_order() {
    for (what, gateway, body) in SHAPES {
        let untranslated = if is_exposed(body) { "untranslated = true\n" } else { "" };
        let text = format!("{gateway}\n[[notrack]]\nname = \"c\"\n{untranslated}{body}\n");
        assert_eq!(findings(&text), [], "{what}");
    }
    for body in [
        "preset = \"vxlan\"\nfrom = \"192.168.1.5\"\ntranslate_from = \"203.0.113.9\"\nto = \"198.51.100.7\"",
        "preset = \"geneve\"\nfrom = \"set.partners\"\nto = \"203.0.113.9\"\ntranslate_to = \"10.9.1.1\"",
        "preset = \"dns\"\non = \"wan\"\nto = \"203.0.113.2\"\ntranslate_to = \"10.9.1.1\"",
    ] {
        assert_eq!(kinds(body), [], "{body}");
    }
}

/// Whether the service's own address would have to be valid outside, which the class does not say.
fn is_exposed(body: &str) -> bool {
    body.contains("to = \"192.168.1.20\"\nport")
        && !body.contains("untranslated")
        && !body.contains("translate_to")
}

#[test]
fn openings_from_the_service_are_refused_by_what_is_pasted_too() {
    let body = "from = \"set.partners\"\nto = \"203.0.113.9\"\nport = 11211\nprotocol = \"tcp\"\ntranslate_to = \"192.168.1.20\"";
    let text = class(&format!("{body}\nsymmetric = false"));
    let rule = findings(&text)[0].rule.clone().unwrap();
    let expected = "[[notrack]]\nname = \"c-no-syn\"\nfrom = \"192.168.1.20\"\nfrom_port = 11211\nto = \"set.partners\"\nprotocol = \"tcp\"\n\
                    tcp_flags = [\"syn\", \"!ack\"]\naction = \"drop\"\nsymmetric = false\n\n\
                    [[notrack]]\nname = \"c-back\"\nfrom = \"192.168.1.20\"\nfrom_port = 11211\nto = \"set.partners\"\nprotocol = \"tcp\"\n\
                    translate_from = \"203.0.113.9\"\nsymmetric = false\n";
    assert_eq!(rule, expected);
}

#[test]
fn answers_that_need_no_tracking_to_come_back_are_no_fault() {
    let inside =
        "from = \"192.168.1.0/24\"\nto = \"10.9.0.5\"\nport = 53\nprotocol = \"udp\"\nsymmetric = false";
    assert_eq!(kinds(inside), [], "between internal networks packets are forwarded as they are");
    let dropped = "on = \"wan\"\nto = \"192.168.1.20\"\nsymmetric = false\naction = \"drop\"";
    assert_eq!(kinds(dropped), []);
    assert_eq!(kinds("from = \"set.nobody\"\nto = \"10.9.0.5\""), [], "filled later");
}

#[test]
fn what_would_become_of_the_answer_is_told() {
    for (body, end) in [
        (
            "on = \"wan\"\nto = \"203.0.113.9\"\nport = 53\nprotocol = \"udp\"\ntranslate_to = \"192.168.1.20\"",
            "udp 1.0.0.1:40000 -> 203.0.113.9:53 passes without tracking, but the answer udp 192.168.1.20:53 -> \
             1.0.0.1:40000 begins a session of its own, which [[snat]] rule 1 sends from 203.0.113.2",
        ),
        (
            "on = \"wan\"\nto = \"203.0.113.9\"\nport = 53\nprotocol = \"tcp\"\ntranslate_to = \"192.168.1.20\"",
            "but the answer tcp syn+ack 192.168.1.20:53 -> 1.0.0.1:40000 is dropped as tcp_not_syn",
        ),
        (
            "from = \"192.168.1.9\"\nto = \"198.51.100.7\"\nport = 53\nprotocol = \"udp\"\ntranslate_from = \"203.0.113.9\"",
            "but the answer udp 198.51.100.7:53 -> 203.0.113.9:40000 is dropped as no_rule",
        ),
    ] {
        let found = findings(&class(&format!("{body}\nsymmetric = false")));
        assert!(found[0].text.ends_with(end), "{}", found[0].text);
        assert!(found[0].text.starts_with("notrack class \"c\": "));
    }
}

#[test]
fn a_class_that_takes_half_a_connection_is_found_unless_another_takes_the_rest() {
    let syn = "to = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nport = 80\nprotocol = \"tcp\"\nsymmetric = false\n\
               tcp_flags = [\"syn\", \"!ack\"]";
    assert_eq!(kinds(syn), [Kind::HalfTracked]);
    let rest = "[[notrack]]\nname = \"rest\"\nto = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nport = 80\nprotocol = \"tcp\"";
    assert_eq!(findings(&format!("{}\n{rest}\n", class(syn))), []);
}

#[test]
fn packets_and_answers_that_would_show_an_internal_source_outside_are_found() {
    let there = "from = \"192.168.1.0/24\"\nto = \"198.51.100.7\"\nport = 53\nprotocol = \"udp\"";
    let back = "on = \"wan\"\nto = \"192.168.1.20\"\nport = 53\nprotocol = \"udp\"";
    for body in [there, back] {
        assert_eq!(kinds(body), [Kind::Untranslated], "{body}");
        assert_eq!(kinds(&format!("{body}\nuntranslated = true")), [], "{body}");
    }
    let found = findings(&class(there));
    assert!(
        found[0].text.contains("udp 192.168.1.2:40000 -> 198.51.100.7:53 is dropped as notrack_untranslated")
    );
}

#[test]
fn a_class_whose_route_leads_nowhere_is_found() {
    let cut_off = GATEWAY.replace("gateway = \"203.0.113.1\"", "");
    let text = format!(
        "{cut_off}\n[[notrack]]\nname = \"c\"\non = \"lan\"\nto = \"198.51.100.7\"\nuntranslated = true\nport = 53\nprotocol = \"udp\"\n"
    );
    let found = findings(&text);
    assert_eq!(found[0].kind, Kind::Stuck, "{found:#?}");
    assert!(found[0].text.contains("is dropped as no_route"), "{}", found[0].text);
}

#[test]
fn answers_that_leave_by_an_interface_without_clients_are_found() {
    // The default route leads by "wan", and clients were said to come by "backup".
    let backup = "\n[interface.backup]\ndevice = \"af_packet:eth4\"\nrealm = \"external\"\naddress = \"198.51.100.2/24\"\n";
    let text = format!(
        "{}{backup}",
        class(
            "on = \"backup\"\nto = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nport = 53\nprotocol = \"udp\""
        )
    );
    let found = findings(&text);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(finding.kind, Kind::Stuck);
    assert!(
        finding.text.ends_with("is dropped as notrack_wrong_way: its route leads by \"wan\""),
        "{}",
        finding.text
    );
}

#[test]
fn a_class_that_never_has_a_packet_is_found() {
    let twice = "to = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nport = 53\nprotocol = \"udp\"";
    let narrower =
        format!("{}\n[[notrack]]\nname = \"d\"\nfrom = \"198.51.100.0/24\"\n{twice}\n", class(twice));
    let found = findings(&narrower);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((finding.class, finding.kind), (1, Kind::Dead));
    assert!(finding.text.contains("earlier classes take them all, first \"c\""), "{}", finding.text);
    let wider =
        format!("{}\n[[notrack]]\nname = \"d\"\n{}\n", class(twice), twice.replace("53", "\"53-54\""));
    assert_eq!(findings(&wider), []);
    // Sources from inside do not come in by "wan".
    assert_eq!(kinds("on = \"wan\"\nfrom = \"192.168.1.0/24\"\nto = \"198.51.100.7\""), [Kind::Dead]);
    // The gateway's own address.
    assert_eq!(kinds("on = \"wan\"\nto = \"203.0.113.2\"\nport = 53\nprotocol = \"udp\""), [Kind::Local]);
}

#[test]
fn answers_that_an_earlier_class_takes_are_found() {
    let first = "from = \"192.168.1.20\"\nfrom_port = 53\nprotocol = \"udp\"\naction = \"drop\"";
    let service = "[[notrack]]\nname = \"d\"\non = \"wan\"\nto = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nport = 53\nprotocol = \"udp\"";
    let found = findings(&format!("{}\n{service}\n", class(first)));
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((finding.class, finding.kind), (1, Kind::Taken));
    assert!(finding.text.ends_with("of class \"c\", which drops it as notrack_dropped"), "{}", finding.text);
}

#[test]
fn a_warning_stands_at_the_class_and_shows_what_to_add() {
    let text = class(
        "from = \"set.partners\"\nto = \"203.0.113.9\"\ntranslate_to = \"192.168.1.20\"\nport = 53\nprotocol = \"udp\"\nsymmetric = false",
    );
    let warnings = checked(&text).warnings;
    let [warning] =
        warnings.iter().filter(|w| w.to_string().contains("notrack class")).collect::<Vec<_>>()[..]
    else {
        panic!("{warnings:#?}")
    };
    assert_eq!(warning.place.source, "name = \"c\"");
    let shown = warning.to_string();
    assert!(shown.contains(
        "help: set `symmetric = true` in it; or, to keep the two ways apart, add this:\n\n[[notrack]]\n"
    ));
}

#[test]
fn who_is_outside_does_not_pass_as_a_neighbour_of_the_service_in_its_zone() {
    let text = format!(
        "{ZONES}\n[[notrack]]\nname = \"c\"\nto = \"203.0.113.9\"\nport = 53\nprotocol = \"udp\"\n\
         translate_to = \"192.168.1.20\"\nto_zone = 2\n"
    );
    let snap = compile(&checked(&text).config, &[], 0, 0);
    let outcome = |src: &str| {
        let (src, dst) = (src.parse().unwrap(), "203.0.113.9".parse().unwrap());
        let tuple = Tuple { src, dst, sport: 4000, dport: 53, protocol: protocol::UDP };
        let header = Header::whole(InterfaceId(2), tuple, Carries::Udp);
        let passage = judge(&snap, &header, classify(&snap, &header).unwrap()).unwrap();
        let envelope = Envelope { ttl: 64, total_len: 60, dont_fragment: false };
        passage.way_out(&snap, &header, envelope).map(|hop| hop.interface).map_err(|refusal| refusal.reason)
    };
    assert_eq!(outcome("198.51.100.7"), Ok(InterfaceId(1)));
    assert_eq!(outcome("192.168.1.5"), Err(natgate::telemetry::DropReason::SpoofedSource));
}

#[test]
fn many_classes_are_checked_quickly() {
    let mut text = GATEWAY.to_owned();
    for number in 0..1000 {
        let prefix = |n: u32| {
            format!("\"{}/32\"", std::net::Ipv4Addr::from_bits(0x2d00_0000 + (number * 100 + n) * 2))
        };
        let prefixes: Vec<String> = (0..100).map(prefix).collect();
        writeln!(text, "[set.s{number}]\nprefixes = [{}]", prefixes.join(", ")).unwrap();
        let (port, last) = (1000 + number, number % 250 + 3);
        writeln!(
            text,
            "[[notrack]]\nname = \"c{number}\"\non = \"wan\"\nfrom = \"set.s{number}\"\nto = \"203.0.113.{last}\"\n\
             port = {port}\nprotocol = [\"tcp\", \"udp\"]\ntranslate_to = \"10.9.0.{last}\"\nsymmetric = {}",
            number % 10 != 0
        )
        .unwrap();
    }
    let config = checked(&text).config;
    let start = Instant::now();
    let found = symmetry::check(&config);
    let took = start.elapsed();
    println!("{} findings in {took:?}", found.len());
    assert!(found.iter().all(|finding| finding.kind == Kind::Asymmetric && finding.class % 10 == 0));
    assert_eq!(found.len(), 100);
    // A second or so; machines that run tests are busy.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// A class between a side outside and a side inside, and whether it is written with its way back.
#[derive(Clone, Debug)]
struct Shape {
    from: Ipv4Net,
    to: Ipv4Net,
    translate_from: Option<Ipv4Net>,
    translate_to: Option<Ipv4Net>,
    protocol: u8,
    port: Option<(u16, u16)>,
    from_port: Option<(u16, u16)>,
}

impl Shape {
    fn text(&self, symmetric: bool) -> String {
        let mut text = class(&format!("symmetric = {symmetric}\nuntranslated = true"));
        writeln!(text, "from = \"{}\"\nto = \"{}\"\nprotocol = {}", self.from, self.to, self.protocol)
            .unwrap();
        for (key, net) in [("translate_from", self.translate_from), ("translate_to", self.translate_to)] {
            if let Some(net) = net {
                writeln!(text, "{key} = \"{net}\"").unwrap();
            }
        }
        for (key, ports) in [("port", self.port), ("from_port", self.from_port)] {
            if let Some((first, last)) = ports {
                writeln!(text, "{key} = \"{first}-{last}\"").unwrap();
            }
        }
        text
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let net = |base: u32, length: u8| {
        (0u32..4, Just(length)).prop_map(move |(n, length)| {
            Ipv4Net::new((base + (n << (32 - u32::from(length)))).into(), length).unwrap()
        })
    };
    let ports = || prop::option::of((1u16..60000, 0u16..9).prop_map(|(first, more)| (first, first + more)));
    let lengths = (28u8..=32, 28u8..=32);
    lengths
        .prop_flat_map(move |(inside, outside)| {
            // Inside, what it is seen as outside, outside, what that is seen as inside.
            let nets = (
                net(0x0a09_0400, inside),
                prop::option::of(net(0xcb00_7180, inside)),
                net(0xc633_6400, outside),
                prop::option::of(net(0x0a08_0000, outside)),
            );
            (nets, any::<bool>(), prop::sample::select(vec![6u8, 17, 132, 47, 50]), ports(), ports())
        })
        .prop_map(|((inside, seen, outside, _), clients_inside, protocol, port, from_port)| {
            let has_ports = protocol::has_ports(protocol);
            let (port, from_port) = (port.filter(|_| has_ports), from_port.filter(|_| has_ports));
            if clients_inside {
                Shape {
                    from: inside,
                    translate_from: seen,
                    to: outside,
                    translate_to: None,
                    protocol,
                    port,
                    from_port,
                }
            } else {
                let to = seen.unwrap_or(inside);
                let translate_to = seen.map(|_| inside);
                Shape { from: outside, translate_from: None, to, translate_to, protocol, port, from_port }
            }
        })
}

/// What a packet becomes, and by which interface it leaves.
fn pass(snap: &Snapshot, interface: InterfaceId, tuple: Tuple, kind: Carries) -> (Tuple, InterfaceId) {
    let header = Header::whole(interface, tuple, kind);
    let treatment = classify(snap, &header).unwrap_or_else(|| panic!("{tuple:?} is no class's"));
    let passage = judge(snap, &header, treatment).unwrap();
    let envelope = Envelope { ttl: 64, total_len: 60, dont_fragment: false };
    (passage.to, passage.way_out(snap, &header, envelope).unwrap().interface)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_symmetric_class_is_found_in_order_and_its_packets_come_back(shape in shape(), host in any::<u32>(), port in any::<u16>()) {
        let config = checked(&shape.text(true)).config;
        prop_assert_eq!(symmetry::check(&config), []);
        prop_assert_eq!(config.notrack[0].answers, Answers::Mirrored);
        let snap = compile(&config, &[], 0, 0);
        let of = |net: Ipv4Net| (net.network().to_bits() + (host & net.hostmask().to_bits())).into();
        let within = |ports: Option<(u16, u16)>| match ports {
            Some((first, last)) => first + port % (last - first + 1),
            None => port,
        };
        let has_ports = protocol::has_ports(shape.protocol);
        let tuple = Tuple {
            src: of(shape.from),
            dst: of(shape.to),
            sport: if has_ports { within(shape.from_port) } else { 0 },
            dport: if has_ports { within(shape.port) } else { 0 },
            protocol: shape.protocol,
        };
        let kind = natgate::packet::Kind::opening(shape.protocol);
        let arrival = InterfaceId(if tuple.src.octets()[0] == 10 { 1 } else { 2 });
        let (to, exit) = pass(&snap, arrival, tuple, kind);
        let answer = if let Carries::Tcp { .. } = kind { Carries::Tcp { flags: 0x12 } } else { kind };
        prop_assert_eq!(pass(&snap, exit, to.inverse(), answer), (tuple.inverse(), arrival));
    }

    #[test]
    fn a_class_without_a_way_back_is_always_found(shape in shape()) {
        let text = shape.text(false);
        let found = findings(&text);
        prop_assert_eq!(found.len(), 1, "{:#?}", found);
        prop_assert_eq!(found[0].kind, Kind::Asymmetric);
        let cured = format!("{text}\n{}", found[0].rule.as_ref().unwrap());
        prop_assert_eq!(findings(&cured), [], "{}", cured);
    }
}

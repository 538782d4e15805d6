//! RFC 6888: what a carrier's NAT has to do besides.

use crate::harness::{Net, Shape};
use crate::lab::{REACH, WORDS, cast, each, filtering, home, home_and, lab, play, pool, who_reaches};
use natgate::management::events::EventKind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The addresses of the matrix: not contiguous.
const SCATTERED: &str = "addresses = [\"198.18.0.1\", \"198.18.0.7-198.18.0.9\", \"203.0.113.64/28\"]";

#[test]
fn r6888_2_all_protocols_of_a_subscriber_have_one_address() {
    each(&pool("addresses = [\"203.0.113.10-203.0.113.13\"]"), |net| {
        let mut used = BTreeMap::<u32, BTreeSet<_>>::new();
        for host in 10..30 {
            for line in [
                "udp HOST:1000 > S1a:53",
                "udp HOST:1001 > S2:53",
                "tcp HOST:1000 > S1a:80 S",
                "icmp echo HOST > S1b id=5",
                "gre HOST > 198.51.100.77",
                "sctp HOST:2905 > S2:2905 INIT itag=1",
                "dccp HOST:5001 > S2:5002 Request",
                "udplite HOST:1000 > S1b:9",
            ] {
                let line = line.replace("HOST", &format!("192.168.1.{host}"));
                // Of two hosts behind one address only one can speak GRE with a server.
                let line = line.replace("100.77", &format!("100.{}", 77 + host));
                used.entry(host).or_default().insert(net.pass("lan", &line).src());
            }
        }
        assert!(used.values().all(|addresses| addresses.len() == 1), "{used:?}");
        assert_eq!(used.values().flatten().collect::<BTreeSet<_>>().len(), 4, "{used:?}");
    });
}

#[test]
fn r6888_2x_subscribers_with_one_address_in_two_networks_are_two() {
    let two = "
        [interface.red]
        device = \"vdev:mem0\"
        realm = \"internal\"
        address = \"10.0.0.1/24\"
        zone = 1
        [interface.blue]
        device = \"vdev:mem1\"
        realm = \"internal\"
        address = \"10.0.0.1/24\"
        zone = 2
        [interface.wan]
        device = \"vdev:mem2\"
        realm = \"external\"
        address = \"203.0.113.2/24\"
        gateway = \"203.0.113.1\"
        [pool.public]
        addresses = \"203.0.113.64/28\"
        [[snat]]
        source = \"pool.public\"
        [conntrack]
        max_sessions = 4000
        ";
    each(two, |net| {
        for host in 2..40 {
            let line = |port| format!("udp 10.0.0.{host}:{port} > S1a:53");
            let red = net.pass("red", &line(1000)).source();
            let blue = net.pass("blue", &line(1000)).source();
            assert_ne!(red, blue);
            // Each is paired by itself.
            assert_eq!(net.pass("red", &line(1001)).src(), red.0);
            assert_eq!(net.pass("blue", &line(1001)).src(), blue.0);
            for ((address, port), network) in [(red, "red"), (blue, "blue")] {
                let reply = net.pass("wan", &format!("udp S1a:53 > {address}:{port}"));
                assert_eq!((reply.interface.as_str(), reply.word(2)), (network, 1000));
            }
        }
    });
}

#[test]
fn r6888_3_addresses_of_a_pool_need_not_be_contiguous() {
    each(&pool(SCATTERED), |net| {
        let mut used = BTreeSet::new();
        for host in 10..250 {
            let (address, port) = net.pass("lan", &format!("udp 192.168.1.{host}:1000 > S1a:53")).source();
            used.insert(address);
            net.act(&format!("wan> udp S1a:53 > {address}:{port}\nlan< udp S1a:53 > 192.168.1.{host}:1000"));
        }
        assert_eq!(used.len(), 20, "{used:?}");
    });
}

/// Limits of a source, of rate or of sessions.
fn limits(keys: &str) -> String {
    let keys = format!("[conntrack]\n{keys}");
    home_and("").replace("[conntrack]", &keys)
}

/// How many of so many new flows of a host at once get out.
fn opened(net: &mut Net, host: &str, flows: u16) -> usize {
    let passes = |net: &mut Net, n| {
        let outs = net.offer("lan", &format!("udp {host}:1000 > S1a:{n}"));
        usize::from(outs.iter().any(|out| out.interface == "wan"))
    };
    (1..=flows).map(|n| passes(net, n)).sum()
}

#[test]
fn r6888_4c_what_a_subscriber_opens_in_a_second_is_limited() {
    each(&limits("new_sessions_per_source = \"20/s\"\nnew_sessions_burst = 10"), |net| {
        let mut capped = 0;
        for second in 0..10 {
            // Ten times the limit; the others are not hurt.
            capped += (0..200)
                .filter(|n| {
                    let line = format!("udp C1:{} > S1a:53", 1000 + second * 200 + n);
                    let out = net.offer("lan", &line).iter().any(|out| out.interface == "wan");
                    net.now = net.now + Duration::from_millis(5);
                    out
                })
                .count();
            net.pass("lan", &format!("udp C2:{} > S1a:53", 1000 + second));
        }
        assert!((200..=215).contains(&capped), "{:?}: {capped}", net.shape);
    });
}

#[test]
fn r6888_5_sessions_of_a_subscriber_are_limited() {
    each(&limits("max_sessions_per_source = 100"), |net| {
        let before = net.pass("lan", "udp C1:1000 > S2:9").source();
        assert_eq!(opened(net, "C1", 1000), 99);
        assert_eq!(opened(net, "C2", 50), 50, "others are not hurt");
        // What there is lives on.
        assert_eq!(net.pass("lan", "udp C1:1000 > S2:9").source(), before);
        let (address, port) = before;
        net.act(&format!("wan> udp S2:9 > {address}:{port}\nlan< udp S2:9 > C1:1000"));
    });
}

#[test]
fn r6888_5a_the_limit_of_sessions_is_configurable() {
    for limit in [10, 64] {
        each(&limits(&format!("max_sessions_per_source = {limit}")), |net| {
            assert_eq!(opened(net, "C1", 200), limit);
            // It takes effect on a running gateway.
            net.reload(&limits(&format!("max_sessions_per_source = {}", limit + 20)));
            net.run();
            assert_eq!(opened(net, "C1", 200), limit + 20);
        });
    }
}

#[test]
fn r6888_5b_new_sessions_a_second_are_limited() {
    each(&limits("new_sessions_per_source = \"5/s\"\nnew_sessions_burst = 5"), |net| {
        assert_eq!(opened(net, "C1", 100), 5);
        net.now = net.now + Duration::from_secs(1);
        net.run();
        let again = (500..600).filter(|n| {
            let outs = net.offer("lan", &format!("udp C1:1000 > S1a:{n}"));
            outs.iter().any(|out| out.interface == "wan")
        });
        assert_eq!(again.count(), 5);
    });
}

/// Eight ports outside and nobody who is evicted.
fn eight_ports() -> String {
    pool("addresses = \"203.0.113.10\"\nports = \"2000-2007\"") + "\nwhen_full = \"refuse\"\n"
}

/// Uses every port up; the flows that got one: host, port inside, port outside.
fn exhaust(net: &mut Net) -> Vec<(u32, u32, u16)> {
    let mut flows = Vec::new();
    for n in 0..200 {
        let (host, port) = (10 + n % 50, 1000 + n);
        let outs = net.offer("lan", &format!("udp 192.168.1.{host}:{port} > S1a:53"));
        for out in outs.iter().filter(|out| out.interface == "wan") {
            assert_eq!(out.src().to_string(), "203.0.113.10", "never as it is");
            flows.push((host, port, out.source().1));
        }
    }
    flows
}

#[test]
fn r6888_11a_without_resources_nothing_is_forwarded() {
    each(&eight_ports(), |net| {
        let flows = exhaust(net);
        assert_eq!(flows.len(), 8, "{:?}", net.shape);
        for host in 10..60 {
            let outs = net.offer("lan", &format!("udp 192.168.1.{host}:9 > S1a:53"));
            assert!(outs.iter().all(|out| out.interface == "lan"), "{outs:?}");
        }
    });
}

#[test]
fn r6888_11b_the_sender_is_told_that_the_host_is_unreachable() {
    each(&eight_ports(), |net| {
        exhaust(net);
        net.wait(Duration::from_secs(2));
        net.came_out();
        net.act("lan> udp C1:9 > S1a:53\nlan<+ icmp 3/1 G > C1 [udp C1:9 > S1a:53 ttl=64]");
    });
}

#[test]
fn r6888_11c_the_operator_is_told_once() {
    each(&eight_ports(), |net| {
        assert!(net.management.take_events().is_empty());
        for _ in 0..3 {
            exhaust(net);
            net.wait(Duration::from_secs(2));
            net.came_out();
        }
        let kinds: Vec<_> = net.management.take_events().into_iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::PortsExhaustedBegan]);
    });
}

#[test]
fn r6888_11d_nobody_is_removed_to_make_room() {
    each(&eight_ports(), |net| {
        let flows = exhaust(net);
        net.wait(Duration::from_secs(200));
        net.came_out();
        assert_eq!(exhaust(net).len(), 8, "the same flows, and no other");
        for (host, inside, outside) in &flows {
            net.act(&format!(
                "wan> udp S1a:53 > 203.0.113.10:{outside}\nlan< udp S1a:53 > 192.168.1.{host}:{inside}"
            ));
        }
    });
    // A full table of sessions, likewise.
    let small =
        home_and("when_full = \"refuse\"\nreserve = \"0%\"\nadaptive = \"off\"").replace("4000", "24");
    each(&small, |net| {
        let flows: Vec<_> = (0..200)
            .filter_map(|n| {
                let (host, port) = (10 + n % 50, 1000 + n);
                let outs = net.offer("lan", &format!("udp 192.168.1.{host}:{port} > S1a:53"));
                let out = outs.iter().find(|out| out.interface == "wan")?;
                Some((host, port, out.source().1))
            })
            .collect();
        assert!((18..=24).contains(&flows.len()), "{:?}: {}", net.shape, flows.len());
        for (host, inside, outside) in &flows {
            net.act(&format!("wan> udp S1a:53 > X:{outside}\nlan< udp S1a:53 > 192.168.1.{host}:{inside}"));
        }
    });
}

#[test]
fn r6888_13_all_ports_of_an_address_are_used() {
    const PORTS: usize = 65_536 - 1024;
    for shape in [Shape::plain(1, 1), Shape::plain(3, 3)] {
        let config =
            pool("addresses = \"203.0.113.10\"").replace("max_sessions = 4000", "max_sessions = 262144");
        let mut net = lab(&config, shape);
        let template = net.packet("udp C1:1000 > S1a:53 csum=0");
        let lan = net.interface("lan");
        net.pass("lan", "tcp C1:1000 > 203.0.113.1:9 S");
        let mut given = BTreeSet::new();
        let mut before_refusal = None;
        // Hosts that live on every worker.
        for n in 0..PORTS + PORTS / 3 {
            let mut packet = template.clone();
            packet[15] = 20 + (n % 200) as u8;
            packet[20..22].copy_from_slice(&(1024 + n / 200 * 7).to_be_bytes()[6..]);
            crate::lab::mend(&mut packet);
            net.send_ipv4(lan, &packet);
            net.run();
            let given_before = given.len();
            for out in net.came_out().into_iter().filter(|out| out.interface == "wan") {
                assert!(given.insert(out.source().1), "{} twice", out.source().1);
            }
            if given.len() == given_before {
                before_refusal.get_or_insert(given_before);
            }
        }
        assert_eq!(given.len(), PORTS, "{shape:?}");
        // Each worker has a part of the ports and of the hosts: the first is through with its part before the others.
        let share = if shape.workers == 1 { 100 } else { 75 };
        assert!(
            before_refusal.unwrap() >= PORTS * share / 100,
            "{shape:?}: {before_refusal:?} before the first refusal"
        );
        net.finish();
    }
}

#[test]
fn r6888_15_ports_are_hard_to_guess() {
    each(&home_and("").replace("max_sessions = 4000", "max_sessions = 40000"), |net| {
        // All from one port, so that it cannot be kept.
        net.pass("lan", "udp 192.168.1.200:5000 > S1a:53");
        let ports: Vec<i32> = (0..10_000)
            .map(|n| {
                let (host, server) = (10 + n % 100, 1 + n / 100);
                let line = format!("udp 192.168.1.{host}:5000 > 198.51.100.{server}:53");
                i32::from(net.pass("lan", &line).source().1)
            })
            .collect();
        crate::rfc7857::is_unpredictable(&ports);
    });
}

#[test]
fn r6888_10_counters_and_sessions_add_up() {
    each(&home_and(""), |net| {
        // Everybody has asked for the gateway, and it for them.
        net.pass("lan", "udp C1:9 > S2:9");
        net.nothing("wan", "udp S1a:1 > X:9");
        let by_wan = |net: &Net| -> u64 {
            let wan = net.interface("wan").index();
            net.counters.iter().map(|worker| worker.interfaces[wan].tx_packets.get()).sum()
        };
        let (before, before_wan, sent) = (net.totals()["sent"], by_wan(net), 100);
        let port = net.pass("lan", "udp C1:1000 > S1a:53").source().1;
        for _ in 1..sent {
            net.pass("lan", "udp C1:1000 > S1a:53 len=72");
            net.pass("wan", &format!("udp S1a:53 > X:{port} len=172"));
        }
        assert_eq!(net.totals()["sent"] - before, 2 * sent - 1);
        assert_eq!(by_wan(net) - before_wan, sent as u64);
        let sessions = net.sessions();
        let session = sessions.iter().find(|(_, session)| session.packets[0] == sent as u64);
        let (_, session) = session.unwrap_or_else(|| panic!("{sessions:?}"));
        assert_eq!(session.bytes, [36 + 99 * 100, 99 * 200]);
        assert_eq!(session.packets[1], 99);
        assert_eq!(net.session_count(), 2);
    });
}

#[test]
fn r6888_12_no_destination_is_logged() {
    // What the gateway has to say of its own accord: events, which are what it logs.
    each(&eight_ports(), |net| {
        exhaust(net);
        net.wait(Duration::from_secs(3));
        net.came_out();
        let said: Vec<String> = net.management.take_events().into_iter().map(|event| event.text).collect();
        assert!(!said.is_empty());
        assert!(said.iter().all(|event| !event.contains(&cast("S1a"))), "{said:?}");
    });
}

#[test]
fn r6888_1_a_carriers_gateway_does_what_the_other_rfcs_say() {
    let carrier = pool(&format!(
        "{SCATTERED}\nfiltering = \"endpoint-independent\"\nports_per_subscriber = 100"
    )) + "\nwhen_full = \"refuse\"\nmax_sessions_per_source = 200\n[conntrack.timeouts]\nudp = \"2m\"\nudp_stream = \"2m\"\ntcp_established = \"2h4m\"";
    each(&carrier, |net| {
        // Mapping, RFC 4787 REQ-1, 5382 REQ-1, 5508 REQ-1.
        let mut of = BTreeMap::new();
        for to in ["S1a", "S1b", "S2"] {
            for (protocol, line) in [
                ("udp", format!("udp C1:1000 > {to}:1")),
                ("tcp", format!("tcp C1:1000 > {to}:1 S seq=1")),
                ("icmp", format!("icmp echo C1 > {to} id=7")),
            ] {
                let out = net.pass("lan", &line).source();
                assert_eq!(*of.entry(protocol).or_insert(out), out, "{line}");
            }
        }
        // Pairing, REQ-2 of both.
        assert_eq!(of.values().map(|(address, _)| address).collect::<BTreeSet<_>>().len(), 1);
        // Filtering, REQ-8 and 3, and hairpinning, REQ-9 and 8.
        assert_eq!(who_reaches(net, "udp", ""), REACH[0]);
        let (address, port) = of["udp"];
        let own = net.pass("lan", "udp C2:2000 > S1a:1").source();
        assert_eq!(net.pass("lan", &format!("udp C2:2000 > {address}:{port}")).source(), own);
        // Timers, REQ-5.
        net.act(&format!("wait 119s\nwan> udp S1a:1 > {address}:{port}\nlan< udp S1a:1 > C1:1000"));
        net.act(
            "
            lan> tcp C1:1001 > S1a:80 S seq=100
            wan< tcp $a:$p > S1a:80 S seq=100
            wan> tcp S1a:80 > $a:$p SA seq=500 ack=101
            lan< tcp S1a:80 > C1:1001 SA seq=500 ack=101
            lan> tcp C1:1001 > S1a:80 A seq=101 ack=501
            wan< tcp $a:$p > S1a:80 A seq=101 ack=501
            wan> icmp 3/1 R1 > $a [tcp $a:$p > S1a:80 A seq=101 ack=501]
            lan< icmp 3/1 R1 > C1 [tcp C1:1001 > S1a:80 A seq=101 ack=501]
            wait 7439s
            wan> tcp S1a:80 > $a:$p A seq=501 ack=101
            lan< tcp S1a:80 > C1:1001 A seq=501 ack=101
            ",
        );
    });
}

/// How many of so many ports inside a host gets a mapping for, with lines of this form.
fn mapped(net: &mut Net, host: &str, ports: std::ops::Range<u16>, rest: (&str, &str)) -> usize {
    let passes = |n: &u16| {
        let outs = net.offer("lan", &format!("{} {host}:{n} > S1a:53 {}", rest.0, rest.1));
        // Who is refused is told: no host, or forbidden.
        let told = |out: &crate::lab::Out| out.interface == "wan" || matches!(out.icmp(), Some((3, 1 | 13)));
        assert!(outs.iter().all(told), "{outs:?}");
        outs.iter().any(|out| out.interface == "wan")
    };
    ports.filter(passes).count()
}

/// A pool that gives each subscriber so much.
fn ports_each(limit: &str) -> String {
    pool(&format!("addresses = \"203.0.113.10\"\nports_per_subscriber = {limit}"))
}

#[test]
fn r6888_4_ports_of_a_subscriber_are_limited() {
    each(&ports_each("64"), |net| {
        assert_eq!(mapped(net, "C1", 2000..2100, ("udp", "")), 64);
        assert_eq!(mapped(net, "C2", 2000..2050, ("udp", "")), 50, "others are not hurt");
        // A mapping takes one port, however many it speaks to.
        assert_eq!(opened(net, "192.168.1.12", 100), 100);
    });
}

#[test]
fn r6888_4a_the_limit_of_ports_is_configurable() {
    each(&ports_each("64"), |net| {
        assert_eq!(mapped(net, "C1", 2000..2200, ("udp", "")), 64);
        net.reload(&ports_each("128"));
        net.run();
        assert_eq!(mapped(net, "C1", 2000..2200, ("udp", "")), 128);
    });
}

#[test]
fn r6888_4b_the_limit_is_each_protocols_own() {
    each(&ports_each("{ tcp = 20, udp = 10, icmp = 5 }"), |net| {
        assert_eq!(mapped(net, "C1", 2000..2100, ("udp", "")), 10);
        assert_eq!(mapped(net, "C1", 2000..2100, ("tcp", "S seq=1")), 20);
        let queries = (0..50).filter(|id| {
            let outs = net.offer("lan", &format!("icmp echo C1 > S1a id={id}"));
            outs.iter().any(|out| out.interface == "wan")
        });
        assert_eq!(queries.count(), 5);
    });
}

#[test]
fn r6888_7_anybody_may_send_to_a_mapping() {
    each(&filtering(WORDS[0]), |net| assert_eq!(who_reaches(net, "udp", ""), REACH[0]));
}

/// One port, and timeouts that are over soon.
fn one_port(keys: &str) -> String {
    pool(&format!("addresses = \"203.0.113.10\"\nports = \"2000-2000\"\n{keys}"))
        + "\n[conntrack.timeouts]\nudp = \"10s\"\nudp_stream = \"10s\"\ntcp_time_wait = \"1s\"\n[runtime]\nicmp_errors_per_second = 100000\n"
}

/// The first of many hosts that gets the port: a worker has it, and not every host's.
fn taker(net: &mut Net, protocol: &str, end: &str) -> Option<u32> {
    (10..80).find(|host| {
        let outs = net.offer("lan", &format!("{protocol} 192.168.1.{host}:1000 > S1a:53 {end}"));
        outs.iter().any(|out| out.interface == "wan")
    })
}

fn pause(net: &mut Net, seconds: u64) {
    net.wait(Duration::from_secs(seconds));
    net.came_out();
}

#[test]
fn r6888_8_a_freed_port_rests_two_minutes() {
    each(&one_port("filtering = \"endpoint-independent\""), |net| {
        assert!(taker(net, "udp", "").is_some());
        // It ends after 10 to 11.1 seconds.
        pause(net, 12);
        assert_eq!(net.session_count(), 0);
        pause(net, 10);
        assert_eq!(taker(net, "udp", ""), None, "{:?}: after 10 s", net.shape);
        pause(net, 95);
        assert_eq!(taker(net, "udp", ""), None, "{:?}: before 2 minutes", net.shape);
        pause(net, 17);
        assert!(taker(net, "udp", "").is_some(), "{:?}: after 2 minutes", net.shape);
    });
}

#[test]
fn r6888_8a_a_port_of_a_closed_connection_does_not_rest() {
    each(&one_port("filtering = \"endpoint-independent\""), |net| {
        let host = taker(net, "tcp", "S seq=100").unwrap();
        let (inside, outside) = (format!("192.168.1.{host}:1000"), "203.0.113.10:2000");
        net.act(&format!(
            "
            wan> tcp S1a:53 > {outside} SA seq=500 ack=101
            lan< tcp S1a:53 > {inside} SA seq=500 ack=101
            lan> tcp {inside} > S1a:53 AF seq=101 ack=501
            wan< tcp {outside} > S1a:53 AF seq=101 ack=501
            wan> tcp S1a:53 > {outside} AF seq=501 ack=102
            lan< tcp S1a:53 > {inside} AF seq=501 ack=102
            lan> tcp {inside} > S1a:53 A seq=102 ack=502
            wan< tcp {outside} > S1a:53 A seq=102 ack=502
            wait 3s"
        ));
        assert_eq!(net.session_count(), 0);
        assert!(taker(net, "tcp", "S seq=1").is_some(), "{:?}", net.shape);
    });
}

#[test]
fn r6888_8c_a_port_does_not_rest_where_strangers_are_filtered() {
    for word in &WORDS[1..] {
        each(&one_port(&format!("filtering = \"{word}\"")), |net| {
            assert!(taker(net, "udp", "").is_some());
            pause(net, 12);
            assert!(taker(net, "udp", "").is_some(), "{:?}: {word}", net.shape);
        });
    }
}

#[test]
fn r6888_8d_how_long_a_port_rests_is_configurable() {
    each(&one_port("filtering = \"endpoint-independent\"\nhold_down = \"5s\""), |net| {
        assert!(taker(net, "udp", "").is_some());
        // It ends after 10 to 11.1 seconds and rests until 15 to 16.1.
        pause(net, 12);
        assert_eq!(taker(net, "udp", ""), None, "{:?}", net.shape);
        pause(net, 6);
        assert!(taker(net, "udp", "").is_some(), "{:?}", net.shape);
    });
}

/// One port for each of two hosts, by arithmetic.
#[test]
fn r6888_8b_a_port_of_a_share_does_not_rest() {
    let keys =
        "filtering = \"endpoint-independent\"\ndeterministic = { inside = \"192.168.1.10/31\", ports = 1 }";
    let config = pool(&format!("addresses = \"203.0.113.10\"\n{keys}"))
        + "\n[conntrack.timeouts]\nudp = \"10s\"\nudp_stream = \"10s\"\n";
    each(&config, |net| {
        let first = net.pass("lan", "udp C1:1000 > S1a:53").source();
        assert!(net.offer("lan", "udp C1:1001 > S1a:53").iter().all(|out| out.interface == "lan"));
        net.wait(Duration::from_millis(12_500));
        assert_eq!(net.pass("lan", "udp C1:1001 > S1a:53").source(), first, "nobody else can get it");
    });
}

#[test]
fn r6888_14_there_are_as_many_records_as_blocks_and_not_as_sessions() {
    let config = pool(
        "addresses = \"203.0.113.10-203.0.113.13\"\nport_blocks = { size = 64, per_subscriber = 2, idle = \"1m\" }",
    );
    each(&config, |net| {
        for host in 20..60 {
            for n in 0..20 {
                net.pass("lan", &format!("udp 192.168.1.{host}:{} > S1a:53", 2000 + n));
            }
        }
        let records = |net: &Net| net.management.ledger().counts();
        assert_eq!((net.session_count(), records(net)), (800, [40, 40, 0]));
        net.wait(Duration::from_secs(400));
        assert_eq!((net.session_count(), records(net)), (0, [0, 40, 40]));
    });
}

#[test]
fn r6888_6_what_goes_to_exempt_destinations_stays_as_it_is() {
    let exempt = "[[snat]]\nto = [\"S2/32\"]\nsource = \"untranslated\"\n\
                  [[snat]]\nto = [\"S1a\"]\nprotocol = \"udp\"\nport = 53\nsource = \"untranslated\"\n[[snat]]";
    play(
        &home().replacen("[[snat]]", &cast(exempt), 1),
        "
        lan> udp C1:1000 > S2:9
        wan< udp C1:1000 > S2:9
        wan> udp S2:9 > C1:1000
        lan< udp S2:9 > C1:1000
        lan> udp C1:1000 > S1a:53
        wan< udp C1:1000 > S1a:53
        wan> udp S1a:53 > C1:1000
        lan< udp S1a:53 > C1:1000
        # All else is translated, and nobody else outside reaches the host.
        lan> udp C1:1000 > S1a:54
        wan< udp X:$p > S1a:54
        wan> udp S1b:9 > C1:1000
        ",
    );
}

//! The session table under pressure: who comes in, who has to go, whose time runs out sooner, and what is said of it.

use crate::harness::{Net, SHAPES, Shape};
use crate::packet::Line;
use crate::shape::{FEW, by_host};
use crate::translation::HOME;
use natgate::management::events::EventKind;
use std::time::Duration;

/// No reserve, no bound of half-open connections, timeouts that do not shrink: a table that is only ever full.
const PLAIN: &str = "reserve = \"0%\"\nadaptive = \"off\"\nhalf_open = \"100%\"";

/// The home with shards for so many sessions, and these keys in `[conntrack]`.
///
/// Each worker has its share of the table and its reserve: where it matters who has which, the scripts are about one host,
/// and played in shapes in which a host lives on one worker.
fn home(shape: Shape, sessions: usize, keys: &str) -> String {
    HOME.replace("max_sessions = 600", &format!("max_sessions = {}\n{keys}", sessions * shape.workers))
}

/// The first packet of a UDP session of the host; it comes out under a port that the variable `$pN` keeps.
fn udp(n: u32) -> String {
    format!(
        "lan> udp 192.168.1.10:{n} > 198.51.100.1:53
        wan< udp 203.0.113.2:$p{n} > 198.51.100.1:53\n"
    )
}

fn udp_reply(n: u32) -> String {
    format!(
        "wan> udp 198.51.100.1:53 > 203.0.113.2:$p{n}
        lan< udp 198.51.100.1:53 > 192.168.1.10:{n}\n"
    )
}

/// A UDP session that has proved to be a conversation.
fn assured(n: u32) -> String {
    format!("{}opened\n{}{}", udp(n), udp_reply(n), udp(n))
}

/// A packet of a TCP connection of the host to the outside.
fn tcp(n: u32, rest: &str) -> String {
    format!(
        "lan> tcp 192.168.1.10:{n} > 198.51.100.1:80 {rest}
        wan< tcp 203.0.113.2:$p{n} > 198.51.100.1:80 {rest}\n"
    )
}

fn tcp_reply(n: u32, rest: &str) -> String {
    format!(
        "wan> tcp 198.51.100.1:80 > 203.0.113.2:$p{n} {rest}
        lan< tcp 198.51.100.1:80 > 192.168.1.10:{n} {rest}\n"
    )
}

fn syn(n: u32) -> String {
    format!("{}opened\n", tcp(n, "S"))
}

fn established(n: u32) -> String {
    format!("{}{}{}", syn(n), tcp_reply(n, "SA ack=1"), tcp(n, "A seq=1 ack=1"))
}

fn closing(n: u32) -> String {
    format!("{}{}", established(n), tcp(n, "AF seq=1 ack=1"))
}

/// A new UDP session is refused.
fn refused(n: u32, reason: &str) -> String {
    format!(
        "lan> udp 192.168.1.10:{n} > 198.51.100.1:53
        lan<+ icmp 3/1 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:{n} > 198.51.100.1:53 ttl=64]
        drop {reason}\n"
    )
}

#[test]
fn a_full_table_evicts_the_unreplied_then_the_closing_then_the_never_assured_and_nobody_else() {
    for shape in by_host() {
        let mut net = Net::new(&home(shape, 10, PLAIN), shape);
        // One host lives on one worker. Every session is a second older than the next one.
        for session in [
            assured(1),
            established(2),
            format!("{}opened\n{}", udp(3), udp_reply(3)),
            format!("{}{}", syn(4), tcp_reply(4, "SA ack=1")),
            closing(5),
            format!("{}opened\n", udp(6)),
            syn(7),
            closing(8),
            format!("{}opened\n", udp(9)),
            format!("{}opened\n{}", udp(10), udp_reply(10)),
        ] {
            net.play(&session);
            net.play("wait 1s");
        }
        for (newcomer, kind, victim) in [
            (11, "unreplied", "udp 6"),
            (12, "unreplied", "tcp 7"),
            (13, "unreplied", "udp 9"),
            (14, "closing", "tcp 5"),
            (15, "closing", "tcp 8"),
            (16, "unassured", "udp 3"),
            (17, "unassured", "tcp 4"),
            (18, "unassured", "udp 10"),
        ] {
            let (protocol, n) = victim.split_once(' ').unwrap();
            // Each of them becomes assured, or it would be the next to go.
            let arrival = assured(newcomer).replace("opened", &format!("opened\nclosed\nevicted {kind}"));
            net.play(&arrival);
            net.play(&match protocol {
                "udp" => format!("wan> udp 198.51.100.1:53 > 203.0.113.2:$p{n}\ndrop no_session"),
                _ => format!("wan> tcp 198.51.100.1:80 > 203.0.113.2:$p{n} A ack=1\ndrop no_session"),
            });
        }
        net.play(&refused(19, "session_table_full"));
        for n in [1, 11, 12, 13, 14, 15, 16, 17, 18] {
            net.play(&udp_reply(n));
        }
        net.play(&tcp_reply(2, "A seq=1 ack=1"));
        net.finish();
    }
}

#[test]
fn a_session_that_was_evicted_gives_its_port_back() {
    for shape in FEW {
        let config = home(shape, 4, PLAIN);
        let mut net = Net::new(&config, shape);
        for n in 1..=4 {
            net.play(&format!("{}opened", udp(n)));
        }
        // Far more sessions than there would be ports if each eviction lost one.
        let lan = net.interface("lan");
        let before = net.totals();
        for n in 0..70_000u32 {
            let (host, port) = (10, 1000 + n % 60_000);
            let line = format!("udp 192.168.1.{host}:{port} > 198.51.100.{}:53", 10 + n / 60_000);
            let packet = Line::parse(&line).encode(&net.bindings);
            net.send_ipv4(lan, &packet);
            if n % 100 == 99 {
                net.run();
                net.seen.clear();
            }
        }
        let after = net.totals();
        assert_eq!(after["opened"] - before["opened"], 70_000);
        assert_eq!(after["evicted unreplied"], 70_000);
        assert_eq!(net.session_count(), 4);
        net.assert_balance("evictions");
        net.finish();
    }
}

#[test]
fn a_table_that_refuses_evicts_nobody() {
    for shape in by_host() {
        let keys = format!("when_full = \"refuse\"\n{}", PLAIN.replace("100%", "50%"));
        let mut net = Net::new(&home(shape, 4, &keys), shape);
        net.play(&(syn(1) + &syn(2)));
        net.play(
            "
            lan> tcp 192.168.1.10:3 > 198.51.100.1:80 S
            lan<+ icmp 3/1 192.168.1.1 > 192.168.1.10 [tcp 192.168.1.10:3 > 198.51.100.1:80 S ttl=64]
            drop half_open_full
            ",
        );
        net.play(&format!("{}opened\n{}opened\n", udp(4), udp(5)));
        for _ in 0..10 {
            net.play(&refused(6, "session_table_full"));
        }
        net.play(&format!("{}{}{}", tcp_reply(1, "SA ack=1"), udp_reply(4), udp_reply(5)));
        assert!(net.totals().iter().all(|(name, n)| !name.starts_with("evicted") || *n == 0));
        net.finish();
    }
}

#[test]
fn half_open_connections_at_their_share_displace_one_another_and_nobody_else() {
    for shape in by_host() {
        let mut net = Net::new(&home(shape, 10, &PLAIN.replace("100%", "30%")), shape);
        net.play(&format!("{}opened\nwait 1s", udp(1)));
        net.play(&format!("{}{}wait 1s", syn(2), tcp_reply(2, "SA ack=1")));
        net.play(&format!("{}wait 1s\n{}", syn(3), syn(4)));
        // The table is half empty.
        net.play(&format!("{}closed\nevicted half_open", syn(5)));
        net.play("wan> tcp 198.51.100.1:80 > 203.0.113.2:$p2 A ack=1\ndrop no_session");
        net.play(&format!("{}closed\nevicted half_open", syn(6)));
        net.play("wan> tcp 198.51.100.1:80 > 203.0.113.2:$p3 SA ack=1\ndrop no_session");
        // Who is through with the handshake counts no more.
        net.play(&format!("{}{}", tcp_reply(4, "SA ack=1"), tcp(4, "A seq=1 ack=1")));
        net.play(&syn(7));
        net.play(&udp_reply(1));
        net.finish();
    }
}

/// Sends packets, and says how many came out at the other side.
fn burst(net: &mut Net, interface: &str, lines: impl Iterator<Item = String>) -> usize {
    let interface = net.interface(interface);
    let mut out = 0;
    for (n, line) in lines.enumerate() {
        let packet = Line::parse(&line).encode(&net.bindings);
        net.send_ipv4(interface, &packet);
        if n % 64 == 63 {
            net.run();
            out += std::mem::take(&mut net.seen).len();
        }
    }
    net.run();
    out += std::mem::take(&mut net.seen).len();
    net.forget();
    out
}

#[test]
fn a_flood_of_syns_ten_times_the_table_costs_no_packet_of_a_thousand_assured_flows() {
    const FLOWS: usize = 1000;
    const CAPACITY: usize = 2000;
    const FLOOD: usize = 20_000;
    const ROUNDS: usize = 10;
    for shape in [Shape::plain(1, 1), Shape::plain(2, 2), Shape::plain(3, 3)] {
        let config = HOME.replace("max_sessions = 600", &format!("max_sessions = {CAPACITY}"));
        let config = format!(
            "{config}
            [[dnat]]
            on = \"wan\"
            protocol = \"tcp\"
            port = 80
            to = \"192.168.1.5\"
            [[dnat]]
            on = \"wan\"
            protocol = \"udp\"
            port = \"1-1000\"
            to = \"192.168.1.6\"
            [runtime]
            icmp_errors_per_second = 1000
            "
        );
        let mut net = Net::new(&config, shape);
        // Of these, the gateway speaks to hosts whose Ethernet address it knows.
        net.play(
            "lan> icmp echo 192.168.1.5 > 192.168.1.1 id=1\nlan<+ icmp reply 192.168.1.1 > 192.168.1.5 id=1",
        );
        net.play(
            "lan> icmp echo 192.168.1.6 > 192.168.1.1 id=1\nlan<+ icmp reply 192.168.1.1 > 192.168.1.6 id=1",
        );
        net.play(
            "wan> icmp echo 203.0.113.1 > 203.0.113.2 id=1\nwan<+ icmp reply 203.0.113.2 > 203.0.113.1 id=1",
        );

        // Half of the flows are TCP from inside, half UDP from outside. The server inside knows its clients' ports; those of
        // the flows to the outside are not known here, so their answers are what the other half shows.
        let inside = |n: usize| format!("192.168.1.{}:{}", 20 + n % 50, 1000 + n);
        let client = |n: usize| format!("198.51.100.{}:{}", 10 + n % 50, 1000 + n);
        let service = |n: usize| format!("203.0.113.2:{}", 1 + n % 1000);
        let backend = |n: usize| format!("192.168.1.6:{}", 1 + n % 1000);
        let from_client =
            |from: usize, to: usize| (from..to).map(move |n| format!("udp {} > {}", client(n), service(n)));
        let from_backend =
            |from: usize, to: usize| (from..to).map(move |n| format!("udp {} > {}", backend(n), client(n)));
        assert_eq!(burst(&mut net, "wan", from_client(0, FLOWS / 2)), FLOWS / 2);
        assert_eq!(burst(&mut net, "lan", from_backend(0, FLOWS / 2)), FLOWS / 2);
        assert_eq!(burst(&mut net, "wan", from_client(0, FLOWS / 2)), FLOWS / 2);
        let mut ports = Vec::new();
        for n in FLOWS / 2..FLOWS {
            net.seen.clear();
            let lan = net.interface("lan");
            let packet =
                Line::parse(&format!("tcp {} > 198.51.100.1:443 S", inside(n))).encode(&net.bindings);
            net.send_ipv4(lan, &packet);
            net.run();
            let seen = net.seen.pop().expect("the SYN comes out");
            ports.push(u16::from_be_bytes([seen.body[20], seen.body[21]]));
        }
        let from_server = |rest: &'static str| {
            let ports = ports.clone();
            ports.into_iter().map(move |port| format!("tcp 198.51.100.1:443 > 203.0.113.2:{port} {rest}"))
        };
        let from_inside = |rest: &'static str| {
            (FLOWS / 2..FLOWS).map(move |n| format!("tcp {} > 198.51.100.1:443 {rest}", inside(n)))
        };
        assert_eq!(burst(&mut net, "wan", from_server("SA ack=1")), FLOWS / 2);
        assert_eq!(burst(&mut net, "lan", from_inside("A seq=1 ack=1")), FLOWS / 2);

        let before = net.totals();
        for round in 0..ROUNDS {
            let part = FLOOD / ROUNDS / 2;
            let numbers = round * part..(round + 1) * part;
            let outside = numbers.clone().map(|n| {
                format!("tcp 198.51.{}.{}:{} > 203.0.113.2:80 S", 101 + n / 200, 1 + n % 200, 1024 + n)
            });
            burst(&mut net, "wan", outside);
            let within = numbers.map(|n| {
                format!("tcp 192.168.1.{}:{} > 198.51.100.2:{} S", 70 + n % 100, 1024 + n, 1 + n % 7)
            });
            burst(&mut net, "lan", within);
            // A tenth of the flows speaks in each round.
            let tenth = FLOWS / 2 / ROUNDS;
            let (from, to) = (round * tenth, (round + 1) * tenth);
            assert_eq!(burst(&mut net, "wan", from_client(from, to)), tenth, "{shape:?} {round}");
            assert_eq!(burst(&mut net, "lan", from_backend(from, to)), tenth, "{shape:?} {round}");
            let some = from_inside("AP seq=1 ack=1 len=0").skip(from).take(tenth);
            assert_eq!(burst(&mut net, "lan", some), tenth, "{shape:?} {round}");
            let some = from_server("A seq=1 ack=1").skip(from).take(tenth);
            assert_eq!(burst(&mut net, "wan", some), tenth, "{shape:?} {round}");
        }
        assert_eq!(burst(&mut net, "wan", from_client(0, FLOWS / 2)), FLOWS / 2);
        assert_eq!(burst(&mut net, "lan", from_inside("A seq=1 ack=1")), FLOWS / 2);
        assert_eq!(burst(&mut net, "wan", from_server("A seq=1 ack=1")), FLOWS / 2);
        let after = net.totals();
        let grown = |name: &str| after[name] - before[name];
        let dropped: i64 =
            after.iter().filter(|(name, _)| name.starts_with("drop")).map(|(name, _)| grown(name)).sum();
        assert_eq!(dropped, 0, "{shape:?}: every SYN displaces another one\n{after:?}");
        assert_eq!(grown("opened"), FLOOD as i64);
        let evicted = grown("evicted half_open") + grown("evicted unreplied");
        assert_eq!(evicted, grown("closed"), "{shape:?}: nobody else had to go");
        assert!(net.session_count() <= CAPACITY as u64 * 99 / 100 + 3, "{shape:?}: the reserve is kept");
        net.assert_balance("after the flood");
        net.finish();
    }
}

/// Fills every shard with sessions of many hosts until nothing more gets in.
fn fill(net: &mut Net, expected: usize) {
    let lines =
        (0..expected * 6).map(|n| format!("udp 192.168.1.{}:{} > 198.51.100.9:53", 20 + n % 200, 1000 + n));
    burst(net, "lan", lines.collect::<Vec<_>>().into_iter());
    assert_eq!(net.session_count(), expected as u64);
}

#[test]
fn a_management_source_still_gets_in_when_others_are_refused() {
    for shape in by_host() {
        let keys = "when_full = \"refuse\"\nadaptive = \"off\"\nreserve = \"10%\"\nmanagement = [\"192.168.1.8/29\"]";
        let mut net =
            Net::new(&format!("{}\n[runtime]\nicmp_errors_per_second = 1", home(shape, 50, keys)), shape);
        fill(&mut net, 45 * shape.workers);
        net.play("lan> udp 192.168.1.100:9 > 198.51.100.1:53\ndrop session_table_full\nlimited");
        // As many as the reserve, whatever they are.
        net.play(&format!("{}{}{}opened\n{}opened\n{}opened", syn(1), syn(2), udp(3), udp(4), udp(5)));
        net.play("lan> udp 192.168.1.10:6 > 198.51.100.1:53\ndrop session_table_full\nlimited");
        net.play(&format!("{}{}", tcp_reply(1, "SA ack=1"), udp_reply(3)));
        net.finish();
    }
}

#[test]
fn a_management_session_is_never_evicted_and_never_ends_early() {
    for shape in SHAPES {
        let keys = "reserve = \"4%\"\nhalf_open = \"10%\"\nmanagement = [\"192.168.1.10\"]";
        let mut net = Net::new(&home(shape, 50, keys), shape);
        net.play(&format!("{}{}opened\n", syn(1), udp(2)));
        net.play("wait 1s");
        let flood = (0..400 * shape.workers)
            .map(|n| format!("udp 192.168.1.{}:{} > 198.51.100.9:53", 20 + n % 200, 1000 + n))
            .collect::<Vec<_>>();
        burst(&mut net, "lan", flood.into_iter());
        assert_eq!(net.session_count(), 48 * shape.workers as u64, "but for the reserve the table is full");
        // All others are gone as soon as they are idle; these have their time.
        net.wait(Duration::from_secs(200));
        net.forget();
        net.play(&format!("{}{}", tcp_reply(1, "SA ack=1"), udp_reply(2)));
        net.finish();
    }
}

#[test]
fn a_source_has_no_more_sessions_at_once_than_its_limit() {
    for shape in by_host() {
        let config = format!(
            "{}
            [[dnat]]
            on = \"wan\"
            protocol = \"udp\"
            port = 7
            to = \"192.168.1.20\"
            ",
            home(shape, 100, "max_sessions_per_source = 3\nmanagement = [\"192.168.1.5\"]")
        );
        let mut net = Net::new(&config, shape);
        net.play(&format!("{}opened\n{}opened\n{}", udp(1), udp(2), syn(3)));
        net.play(&refused(4, "source_sessions_limit"));
        net.play(&udp_reply(1));
        // Others are not affected, and management sources have no limit.
        net.play(
            "lan> udp 192.168.1.11:4 > 198.51.100.1:53\nwan< udp 203.0.113.2:$q > 198.51.100.1:53\nopened",
        );
        for n in 1..=5 {
            net.play(&format!(
                "lan> udp 192.168.1.5:{n} > 198.51.100.1:53\nwan< udp 203.0.113.2:$m{n} > 198.51.100.1:53\nopened"
            ));
        }
        // A client of a forwarded port is a source too, whichever ports it uses.
        for n in 1..=3 {
            net.play(&format!(
                "wan> udp 198.51.100.7:{n} > 203.0.113.2:7\nlan< udp 198.51.100.7:{n} > 192.168.1.20:7\nopened"
            ));
        }
        net.play(
            "
            wan> udp 198.51.100.7:4 > 203.0.113.2:7
            wan<+ icmp 3/1 203.0.113.2 > 198.51.100.7 [udp 198.51.100.7:4 > 203.0.113.2:7 ttl=64]
            drop source_sessions_limit
            ",
        );
        // With the end of a session its place is free again.
        net.play("wait 200s");
        net.play(&udp(2));
        net.play("wait 41s\nclosed");
        net.play(&format!("{}opened", udp(5)));
        net.play(&refused(6, "source_sessions_limit"));
        net.finish();
    }
}

#[test]
fn a_source_opens_sessions_no_faster_than_its_rate() {
    for shape in by_host() {
        let keys = "new_sessions_per_source = \"10/s\"\nnew_sessions_burst = 3";
        let mut net = Net::new(&home(shape, 100, keys), shape);
        let mut n = 0;
        let mut next = || {
            n += 1;
            n
        };
        for _ in 0..3 {
            net.play(&format!("{}opened", udp(next())));
        }
        net.play(&refused(next(), "source_rate_limit"));
        net.play("wait 100ms");
        net.play(&format!("{}opened", udp(next())));
        net.play(&refused(next(), "source_rate_limit"));
        net.play(
            "lan> udp 192.168.1.11:4 > 198.51.100.1:53\nwan< udp 203.0.113.2:$q > 198.51.100.1:53\nopened",
        );
        net.play("wait 10s");
        for _ in 0..3 {
            net.play(&format!("{}opened", udp(next())));
        }
        net.play(&refused(next(), "source_rate_limit"));
        // Packets of sessions that there are cost nothing.
        for _ in 0..10 {
            net.play(&udp(1));
        }
        net.finish();
    }
}

#[test]
fn an_eviction_frees_a_place_of_its_source() {
    for shape in by_host() {
        let mut net = Net::new(&home(shape, 3, &format!("{PLAIN}\nmax_sessions_per_source = 3")), shape);
        net.play(&format!("{}opened\n{}opened\n{}opened", udp(1), udp(2), udp(3)));
        net.play(&refused(4, "source_sessions_limit"));
        // Other hosts of the same worker push all of them out.
        let lines = (0..300).map(|n| format!("udp 192.168.1.{}:9 > 198.51.100.9:53", 20 + n % 200));
        burst(&mut net, "lan", lines.collect::<Vec<_>>().into_iter());
        for n in 5..=7 {
            net.play(&format!("{}opened\nclosed\nevicted unreplied", udp(n)));
        }
        net.play(&refused(8, "source_sessions_limit"));
        net.finish();
    }
}

#[test]
fn timeouts_of_unreplied_and_closing_sessions_shrink_linearly_as_the_table_fills() {
    let keys = "reserve = \"0%\"\nadaptive = [\"80%\", \"100%\"]";
    for shape in [Shape::plain(1, 1), Shape::plain(3, 3)] {
        for (session, timeout) in [(format!("{}opened", udp(1)), 300.0), (closing(1), 240.0)] {
            for full in [80, 81, 90, 99, 100] {
                let mut net = Net::new(&home(shape, 100, keys), shape);
                // All on one worker: what makes it full outlives the one in question.
                net.play(&(2..=full).map(established).collect::<String>());
                net.play(&session);
                let expected = f64::max(timeout * f64::from(100 - full) / 20.0, 0.1);
                let (start, before) = (net.now, net.session_count());
                while net.session_count() == before {
                    net.wait(Duration::from_millis(100));
                }
                let age = net.now.since(start).as_secs_f64();
                let place = format!("{shape:?}, {full} of 100: {age}, not {expected}");
                assert!(age >= expected && age <= expected * 1.01 + 1.0, "{place}");
                net.wait(Duration::from_secs(2));
                assert_eq!(net.session_count(), before - 1, "{place}");
                net.finish();
            }
        }
    }
}

#[test]
fn other_limits_hold_from_the_next_burst_on() {
    for shape in by_host() {
        let keys = "max_sessions_per_source = 2";
        let mut net = Net::new(&home(shape, 100, keys), shape);
        net.play(&format!("{}opened\n{}opened\n{}", udp(1), udp(2), refused(3, "source_sessions_limit")));
        let adopt = |net: &mut Net, keys: &str| {
            net.reload(&home(shape, 100, keys));
            net.run();
        };
        adopt(&mut net, "max_sessions_per_source = 3");
        net.play(&format!("{}opened\n{}", udp(3), refused(4, "source_sessions_limit")));
        adopt(&mut net, "max_sessions_per_source = 3\nmanagement = [\"192.168.1.10\"]");
        net.play(&format!("{}opened\n{}opened", udp(4), udp(5)));
        // They count, though they were exempt.
        adopt(&mut net, "max_sessions_per_source = 6");
        net.play(&format!("{}opened\n{}", udp(6), refused(7, "source_sessions_limit")));
        net.play("wait 302s\nclosed 6");
        net.play(&format!("{}opened", udp(7)));
        net.finish();
    }
}

#[test]
fn a_watermark_is_said_once_when_it_is_crossed_however_many_sessions_are_refused() {
    for shape in by_host() {
        let keys = "when_full = \"refuse\"\nadaptive = [\"50%\", \"80%\"]\nreserve = \"10%\"";
        let mut net = Net::new(&home(shape, 100, keys), shape);
        net.wait(Duration::from_secs(2));
        assert!(net.management.take_events().is_empty());
        // With one worker the whole table is one shard; with more only that of the host fills.
        let kinds = |net: &mut Net| {
            net.wait(Duration::from_secs(2));
            let events = net.management.take_events();
            let kinds = events.iter().map(|event| event.kind);
            kinds.filter(|kind| *kind != EventKind::SteeringBroken).collect::<Vec<_>>()
        };
        let mut opened = 0;
        let mut open = |net: &mut Net, upto: u32| {
            let flows = (opened + 1..=upto).map(established).collect::<String>();
            net.play(&flows);
            opened = upto;
        };
        for (sessions, said) in [
            (49, None),
            (50, Some(EventKind::TableLow)),
            (79, None),
            (80, Some(EventKind::TableHigh)),
            (89, None),
            (90, Some(EventKind::TableFull)),
        ] {
            open(&mut net, sessions);
            assert_eq!(kinds(&mut net), Vec::from_iter(said), "{shape:?} {sessions}");
        }
        let flood = |net: &mut Net| {
            let lines = (0..500).map(|n| format!("udp 192.168.1.10:{} > 198.51.100.9:53", 1000 + n));
            burst(net, "lan", lines);
        };
        flood(&mut net);
        assert_eq!(kinds(&mut net), [EventKind::RefusalsBegan]);
        flood(&mut net);
        assert_eq!(kinds(&mut net), []);
        let status = net.management.pressure_status();
        assert_eq!((status.table.sessions, status.refused_per_second > 50), (90, true));
        net.wait(Duration::from_secs(12));
        assert_eq!(kinds(&mut net), [EventKind::RefusalsEnded]);
        net.finish();
    }
}

/// The session that has to go may be the last one of the very mapping that the newcomer uses.
#[test]
fn a_session_that_goes_for_another_one_of_its_mapping_does_not_take_the_mapping_with_it() {
    for shape in FEW {
        let config = home(shape, 2, PLAIN);
        let mut net = Net::new(&config, shape);
        net.play(
            "
            lan> udp 192.168.1.10:7 > 198.51.100.1:53
            wan< udp 203.0.113.2:$p > 198.51.100.1:53
            opened
            lan> udp 192.168.1.10:8 > 198.51.100.1:53
            wan< udp 203.0.113.2:$q > 198.51.100.1:53
            opened
            lan> udp 192.168.1.10:7 > 198.51.100.2:53
            wan< udp 203.0.113.2:$p > 198.51.100.2:53
            opened
            closed
            evicted unreplied
            lan> udp 192.168.1.10:7 > 198.51.100.3:53
            wan< udp 203.0.113.2:$p > 198.51.100.3:53
            opened
            closed
            evicted unreplied
            wan> udp 198.51.100.3:54 > 203.0.113.2:$p
            lan< udp 198.51.100.3:54 > 192.168.1.10:7
            opened
            closed
            evicted unreplied
            wait 305s
            closed 2
            ",
        );
        // All is given back: the port is the host's own again, and nobody is let in by it before that.
        net.play("wan> udp 198.51.100.3:53 > 203.0.113.2:$p\ndrop no_session");
        net.finish();
    }
}

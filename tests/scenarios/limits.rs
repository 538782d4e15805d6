//! What is full says so, by name, and what was there before goes on.

use crate::harness::{Net, RING, SHAPES, Shape};
use crate::packet::Line;
use crate::shape::by_host;
use crate::translation::{HOME, pool};
use natgate::steering::Spread;

/// Lets many hosts, which live on all workers, send what `line` says for each; returns the numbers at `at` of the IPv4
/// packets that come out, with the line of each.
fn take_all(net: &mut Net, at: usize, line: impl Fn(u32, u32) -> String) -> Vec<(u16, String)> {
    let lan = net.interface("lan");
    let mut given = Vec::new();
    for n in 0..240 {
        let line = line(10 + n % 60, 1100 + n);
        let packet = Line::parse(&line).encode(&net.bindings);
        net.send_ipv4(lan, &packet);
        net.run();
        let seen = std::mem::take(&mut net.seen);
        let out = seen.iter().find(|seen| !seen.arp && seen.interface != lan);
        given.extend(out.map(|seen| (u16::from_be_bytes([seen.body[at], seen.body[at + 1]]), line)));
    }
    net.forget();
    given
}

fn numbers(given: &[(u16, String)]) -> Vec<u16> {
    let mut numbers: Vec<u16> = given.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn when_the_ports_are_exhausted_new_flows_are_refused_and_the_others_go_on() {
    let all: Vec<u16> = (2000..=2011).collect();
    for shape in SHAPES {
        let config = pool("\"203.0.113.10\"", "2000-2011") + "[runtime]\nicmp_errors_per_second = 10000\n";
        let mut net = Net::new(&config, shape);
        let to = |net: &mut Net, server: u8, protocol: &str| {
            let rest = if protocol == "tcp" { " S" } else { "" };
            let line =
                |host, port| format!("{protocol} 192.168.1.{host}:{port} > 198.51.100.{server}:53{rest}");
            take_all(net, 20, line)
        };
        // Each port is one worker's, and one mapping's. All workers together give each of them once.
        let given = to(&mut net, 1, "udp");
        assert_eq!(numbers(&given), all, "{shape:?}");
        // To another destination those who have one have the same one, and the others still none.
        if shape.spread == Spread::Flow {
            assert_eq!(numbers(&to(&mut net, 2, "udp")), all, "each destination has all of them: {shape:?}");
        } else {
            let elsewhere = |(port, line): &(u16, String)| (*port, line.replace("100.1:53", "100.2:53"));
            let same: Vec<(u16, String)> = given.iter().map(elsewhere).collect();
            assert_eq!(to(&mut net, 2, "udp"), same, "{shape:?}");
        }
        net.play(
            "
            lan> udp 192.168.1.99:9000 > 198.51.100.1:53
            lan<+ icmp 3/1 192.168.1.1 > 192.168.1.99 [udp 192.168.1.99:9000 > 198.51.100.1:53 ttl=64]
            drop ports_exhausted
            ",
        );
        assert_eq!(numbers(&to(&mut net, 1, "tcp")), all, "TCP has ports of its own: {shape:?}");
        for (port, line) in &given {
            let (host, _) = line.strip_prefix("udp ").unwrap().split_once(" > ").unwrap();
            net.play(&format!(
                "lan> {line}
                wan< udp 203.0.113.10:{port} > 198.51.100.1:53
                wan> udp 198.51.100.1:53 > 203.0.113.10:{port}
                lan< udp 198.51.100.1:53 > {host}"
            ));
        }
        // The ports come back with the end of their sessions.
        net.wait(std::time::Duration::from_secs(302));
        assert_eq!(net.session_count(), 0);
        assert_eq!(numbers(&to(&mut net, 1, "udp")), all, "{shape:?}");
        net.finish();
    }
}

#[test]
fn when_the_session_table_is_full_new_flows_are_refused_and_no_port_is_lost() {
    for shape in by_host() {
        let keys = "max_sessions = 6\nwhen_full = \"refuse\"\nreserve = \"0%\"\nadaptive = \"off\"";
        // As many ports as there are classes of them: each worker has its share for every destination.
        let config = pool("\"203.0.113.10\"", "2048-2175").replace("max_sessions = 600", keys)
            + "[runtime]\nicmp_errors_per_second = 10000\n";
        let mut net = Net::new(&config, shape);
        // The host lives on one worker.
        let share = 6usize.div_ceil(shape.workers);
        for n in 1..=share {
            net.play(&format!(
                "lan> udp 192.168.1.10:{n}00 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p{n} > 198.51.100.1:53
                opened"
            ));
        }
        // More often than there are ports: each attempt gives its port back.
        for _ in 0..150 {
            net.play(
                "lan> udp 192.168.1.10:9000 > 198.51.100.1:53
                lan<+ icmp 3/1 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:9000 > 198.51.100.1:53 ttl=64]
                drop session_table_full",
            );
        }
        net.play(
            "
            lan> udp 192.168.1.10:100 > 198.51.100.1:53
            wan< udp 203.0.113.10:$p1 > 198.51.100.1:53
            ",
        );
        net.play(&format!("wait 302s\nclosed {share}"));
        assert_eq!(net.session_count(), 0);
        net.play(
            "
            lan> udp 192.168.1.10:9000 > 198.51.100.1:53
            wan< udp 203.0.113.10:$n > 198.51.100.1:53
            opened
            ",
        );
        net.finish();
    }
}

#[test]
fn icmp_errors_are_limited_and_the_limit_grows_back() {
    for shape in SHAPES {
        let config = format!("{HOME}\n[runtime]\nicmp_errors_per_second = 20\n");
        let mut net = Net::new(&config, shape);
        // The worker's burst is a tenth of its rate.
        let error = "
            lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1
            lan<+ icmp 11/0 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1]
            drop ttl_expired";
        let silence = "
            lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1
            drop ttl_expired
            limited";
        net.play(&format!(
            "{error}{error}{silence}{silence}\nwait 50ms{error}{silence}\nwait 10s{error}{error}{silence}"
        ));
        net.finish();
    }
}

#[test]
fn a_full_handoff_ring_drops_by_name() {
    for shape in SHAPES.into_iter().filter(|shape| shape.workers > 1 && shape.nic.is_none()) {
        let mut net = Net::new(HOME, shape);
        net.play(
            "
            lan> udp 192.168.1.10:1000 > 198.51.100.1:53
            wan< udp 203.0.113.2:$p > 198.51.100.1:53
            opened
            ",
        );
        let lan = net.interface("lan");
        let line = "udp 192.168.1.10:1000 > 198.51.100.1:53";
        let packet = Line::parse(line).encode(&net.bindings);
        let owner = (0..shape.workers).find(|at| net.counters[*at].sessions.get() == 1).unwrap();
        // Only the workers that do not own the flow receive; the owner never gets its turn.
        let before = net.totals();
        // To each of them more than its ring to the owner holds.
        let packets = shape.workers * (RING + 50);
        for _ in 0..packets {
            net.send_ipv4(lan, &packet);
        }
        for _ in 0..200 {
            for at in (0..shape.workers).filter(|at| *at != owner) {
                net.workers[at].poll_once(net.now);
            }
        }
        let dropped = net.totals()["drop handoff_full"] - before["drop handoff_full"];
        net.run();
        let forwarded = std::mem::take(&mut net.seen).len() as i64;
        let after = net.totals();
        assert_eq!(forwarded, after["sent"] - before["sent"]);
        assert_eq!(forwarded + after["drop handoff_full"] - before["drop handoff_full"], packets as i64);
        // With one queue that the owner itself receives on, nobody has to hand anything over.
        assert!(dropped > 0 || owner < shape.queues && shape.queues == 1, "{shape:?}");
        net.assert_balance("a full ring");
        net.finish();
    }
}

#[test]
fn a_full_transmit_queue_drops_by_name() {
    for shape in [Shape::plain(1, 1), Shape::plain(3, 3)] {
        let mut net = Net::new(HOME, shape);
        net.play(
            "
            lan> udp 192.168.1.10:1000 > 198.51.100.1:53
            wan< udp 203.0.113.2:$p > 198.51.100.1:53
            opened
            ",
        );
        let lan = net.interface("lan");
        let line = "udp 192.168.1.10:1000 > 198.51.100.1:53";
        let packet = Line::parse(line).encode(&net.bindings);
        let before = net.totals();
        // Nobody takes anything off the wire meanwhile.
        for _ in 0..5000 {
            net.send_ipv4(lan, &packet);
            for worker in &mut net.workers {
                worker.poll_once(net.now);
            }
        }
        for _ in 0..10 {
            for worker in &mut net.workers {
                worker.poll_once(net.now);
            }
        }
        let after = net.totals();
        let room = natgate::device::mem::QUEUE_FRAMES as i64;
        assert_eq!(after["sent"] - before["sent"], room);
        assert_eq!(after["drop tx_full"] - before["drop tx_full"], 5000 - room);
        net.assert_balance("a full transmit queue");
        net.run();
        net.seen.clear();
        net.finish();
    }
}

#[test]
fn identifiers_of_queries_come_from_the_ports_of_the_pool_too() {
    for shape in SHAPES {
        let config = pool("\"203.0.113.10\"", "2000-2011") + "[runtime]\nicmp_errors_per_second = 10000\n";
        let mut net = Net::new(&config, shape);
        // Each is one worker's.
        let given =
            take_all(&mut net, 24, |host, n| format!("icmp echo 192.168.1.{host} > 198.51.100.1 id={n}"));
        assert_eq!(numbers(&given), (2000..=2011).collect::<Vec<u16>>(), "{shape:?}");
        net.play(
            "
            lan> icmp echo 192.168.1.10 > 198.51.100.1 id=99
            lan<+ icmp 3/1 192.168.1.1 > 192.168.1.10 [icmp echo 192.168.1.10 > 198.51.100.1 id=99 ttl=64]
            drop ports_exhausted
            ",
        );
        net.finish();
    }
}

#[test]
fn a_burst_of_one_new_flow_opens_one_session() {
    for shape in SHAPES {
        let mut net = Net::new(HOME, shape);
        let lan = net.interface("lan");
        let line = Line::parse("udp 192.168.1.10:1000 > 198.51.100.1:53");
        let packet = line.encode(&net.bindings);
        net.play("lan> icmp echo 192.168.1.10 > 192.168.1.1 id=1\nlan<+ icmp reply 192.168.1.1 > 192.168.1.10 id=1");
        net.play("lan> icmp echo 192.168.1.10 > 203.0.113.1 id=1\nwan< icmp echo 203.0.113.2 > 203.0.113.1 id=$i\nopened");
        for _ in 0..200 {
            net.send_ipv4(lan, &packet);
        }
        net.run();
        let mut script = String::from("opened\n");
        for _ in 0..200 {
            script += "wan< udp 203.0.113.2:$p > 198.51.100.1:53\n";
        }
        net.play(&script);
        net.finish();
    }
}

#[test]
fn packets_for_silent_neighbours_wait_in_a_room_that_is_bounded() {
    for shape in by_host() {
        // Each worker has a room of its own, and the host lives on one.
        let mut net = Net::new(HOME, shape);
        let mut script = String::new();
        for n in 0..300 {
            script += &format!(
                "silent 203.0.113.{n}\nlan> udp 192.168.1.10:1000 > 203.0.113.{n}:9\n",
                n = 20 + n % 200
            );
            if n < 200 {
                script += &format!("wan<+ arp who 203.0.113.{} from 203.0.113.2\n", 20 + n);
            }
            script += if n < 256 { "held +1\n" } else { "drop neighbor_queue_full\n" };
        }
        net.play(&script);
        // Who is not silent is not affected, except that its first packet can not wait.
        net.play(
            "
            lan> udp 192.168.1.10:1000 > 203.0.113.1:9
            drop neighbor_queue_full
            lan> udp 192.168.1.10:1000 > 203.0.113.1:9
            wan< udp 203.0.113.2:$p > 203.0.113.1:9
            opened
            ",
        );
        net.wait(std::time::Duration::from_secs(4));
        let totals = net.totals();
        assert_eq!((totals["held"], totals["drop neighbor_unresolved"]), (0, 256));
        net.seen.clear();
        net.finish();
    }
}

#[test]
fn thousands_of_sessions_that_end_at_once_are_all_removed_in_time() {
    const SESSIONS: u32 = 5000;
    for shape in SHAPES {
        let config = HOME.replace("max_sessions = 600", "max_sessions = 30000");
        let mut net = Net::new(&config, shape);
        let lan = net.interface("lan");
        net.play("lan> udp 192.168.1.10:1 > 203.0.113.1:9\nwan< udp 203.0.113.2:$p > 203.0.113.1:9\nopened\nwait 1s");
        for n in 0..SESSIONS {
            let line = format!("udp 192.168.1.{}:{} > 198.51.100.1:53", 10 + n % 100, 2000 + n / 100);
            let packet = Line::parse(&line).encode(&net.bindings);
            net.send_ipv4(lan, &packet);
            if n % 16 == 15 {
                net.run();
            }
        }
        net.run();
        assert_eq!(net.session_count(), u64::from(SESSIONS) + 1, "{shape:?}");
        net.wait(std::time::Duration::from_millis(299_900));
        assert_eq!(net.session_count(), u64::from(SESSIONS), "not early");
        net.wait(std::time::Duration::from_millis(1200));
        assert_eq!(net.session_count(), 0, "{shape:?}");
        net.seen.clear();
        net.assert_balance("at the end");
        net.finish();
    }
}

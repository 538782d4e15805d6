//! What is full says so, by name, and what was there before goes on.

use crate::harness::{Net, SHAPES, Shape};
use crate::translation::{HOME, pool};

#[test]
fn when_the_ports_are_exhausted_new_flows_are_refused_and_the_others_go_on() {
    for shape in SHAPES {
        let mut net = Net::new(&pool("\"203.0.113.10\"", "2000-2011"), shape);
        // A subscriber lives on one worker, which has its share of the ports.
        let share = 12 / shape.workers;
        for n in 0..share {
            net.play(&format!(
                "lan> udp 192.168.1.10:{n}00 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p{n} > 198.51.100.1:53
                opened",
                n = n + 1,
            ));
        }
        let mut ports: Vec<String> =
            (1..=share).map(|n| net.bindings.get(&format!("$p{n}")).unwrap()).collect();
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), share, "every port is given once");
        assert!(ports.iter().all(|port| (2000..2012).contains(&port.parse::<u16>().unwrap())));
        net.play(
            "
            lan> udp 192.168.1.10:9000 > 198.51.100.1:53
            lan<+ icmp 3/1 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:9000 > 198.51.100.1:53 ttl=64]
            drop ports_exhausted
            lan> udp 192.168.1.10:9000 > 198.51.100.2:53      # whatever the destination
            lan<+ icmp 3/1 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:9000 > 198.51.100.2:53 ttl=64]
            drop ports_exhausted
            lan> tcp 192.168.1.10:9000 > 198.51.100.1:80 S    # TCP has ports of its own
            wan< tcp 203.0.113.10:$t > 198.51.100.1:80 S
            opened
            lan> udp 192.168.1.10:100 > 198.51.100.1:53
            wan< udp 203.0.113.10:$p1 > 198.51.100.1:53
            wan> udp 198.51.100.1:53 > 203.0.113.10:$p1
            lan< udp 198.51.100.1:53 > 192.168.1.10:100
            ",
        );
        // The ports come back with the end of their sessions.
        net.play(&format!("wait 302s\nclosed {}\nforget $p1", share + 1));
        net.play(
            "
            lan> udp 192.168.1.10:9000 > 198.51.100.1:53
            wan< udp 203.0.113.10:$p1 > 198.51.100.1:53
            opened
            ",
        );
        net.finish();
    }
}

#[test]
fn when_the_session_table_is_full_new_flows_are_refused_and_no_port_is_lost() {
    for shape in SHAPES {
        let keys = "max_sessions = 6\nwhen_full = \"refuse\"\nreserve = \"0%\"\nadaptive = \"off\"";
        let config = pool("\"203.0.113.10\"", "2000-2011").replace("max_sessions = 600", keys);
        let mut net = Net::new(&config, shape);
        let share = 6 / shape.workers;
        for n in 1..=share {
            net.play(&format!(
                "lan> udp 192.168.1.10:{n}00 > 198.51.100.1:53
                wan< udp 203.0.113.10:$p{n} > 198.51.100.1:53
                opened"
            ));
        }
        // More often than there are ports: each attempt gives its port back.
        for _ in 0..20 {
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
    for shape in SHAPES.into_iter().filter(|shape| shape.workers > 1) {
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
        let packet = crate::packet::Line::parse(line).encode(&net.bindings);
        let owner = (0..shape.workers).find(|at| net.counters[*at].sessions.get() == 1).unwrap();
        // Only the workers that do not own the flow receive; the owner never gets its turn.
        let before = net.totals();
        for _ in 0..4000 {
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
        assert_eq!(forwarded + after["drop handoff_full"] - before["drop handoff_full"], 4000, "{shape:?}");
        // With one queue that the owner itself receives on, nobody has to hand anything over.
        assert!(dropped > 0 || owner < shape.queues && shape.queues == 1, "{shape:?}");
        net.assert_balance("a full ring");
        net.finish();
    }
}

#[test]
fn a_full_transmit_queue_drops_by_name() {
    for shape in [Shape { workers: 1, queues: 1 }, Shape { workers: 3, queues: 3 }] {
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
        let packet = crate::packet::Line::parse(line).encode(&net.bindings);
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
        let mut net = Net::new(&pool("\"203.0.113.10\"", "2000-2011"), shape);
        let share = 12 / shape.workers;
        for n in 1..=share {
            net.play(&format!(
                "lan> icmp echo 192.168.1.10 > 198.51.100.1 id={n}
                wan< icmp echo 203.0.113.10 > 198.51.100.1 id=$i{n}
                opened"
            ));
            let id: u16 = net.bindings.get(&format!("$i{n}")).unwrap().parse().unwrap();
            assert!((2000..=2011).contains(&id), "{id}");
        }
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
        let line = crate::packet::Line::parse("udp 192.168.1.10:1000 > 198.51.100.1:53");
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
    for shape in SHAPES {
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
            let packet = crate::packet::Line::parse(&line).encode(&net.bindings);
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

//! Steering: what needs no handoff on which NIC, that NICs which do not do what they say are found out, and what handoff
//! keeps: order, and everybody else's packets.

use crate::faults::Dice;
use crate::harness::{Net, RING, SHAPES, Shape};
use crate::packet::Line;
use crate::translation::{HOME, forwards};
use natgate::device::mem_nic::Habit;
use natgate::ids::{Realm, WorkerId};
use natgate::management::events::EventKind;
use natgate::packet::Tuple;
use natgate::steering::Spread;
use natgate::steering::plan::{Plan, ProofState, Wish};
use natgate::telemetry::{HandoffCause, InterfaceCounters};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// NICs that do what they are told, for so many workers, in every plan that they allow.
fn honest() -> impl Iterator<Item = Shape> {
    let plans = |workers| {
        let nics = Shape::nic(workers, Habit::Honest);
        [nics, nics.by_flow(), nics.port_rules(), nics.by_flow().port_rules()]
    };
    (2..=4).flat_map(plans)
}

/// Packets handed over for a cause.
fn handoffs(net: &Net, cause: HandoffCause) -> u64 {
    net.counters.iter().map(|worker| worker.handoffs[cause as usize].get()).sum()
}

/// What all workers together counted at an interface.
fn at(net: &Net, interface: &str, what: fn(&InterfaceCounters) -> u64) -> u64 {
    let id = net.interface(interface);
    net.counters.iter().map(|worker| what(&worker.interfaces[id.index()])).sum()
}

/// Hosts.
const HOSTS: std::ops::Range<u32> = 20..80;

fn by_flow() -> String {
    const BOTH: &str = "\"address-and-port-dependent\"";
    format!("{HOME}\n[masquerade]\nmapping = {BOTH}\nfiltering = {BOTH}\n")
}

/// TCP and UDP conversations of many hosts with some servers: six packets each.
fn conversations() -> String {
    let one = |host: u32| {
        let (server, port) = (1 + host % 7, 1000 + host * 31);
        format!(
            "
            lan> udp 192.168.1.{host}:{port} > 198.51.100.{server}:53
            wan< udp 203.0.113.2:$u{host} > 198.51.100.{server}:53
            opened
            wan> udp 198.51.100.{server}:53 > 203.0.113.2:$u{host}
            lan< udp 198.51.100.{server}:53 > 192.168.1.{host}:{port}
            lan> tcp 192.168.1.{host}:{port} > 198.51.100.{server}:80 S
            wan< tcp 203.0.113.2:$t{host} > 198.51.100.{server}:80 S
            opened
            wan> tcp 198.51.100.{server}:80 > 203.0.113.2:$t{host} SA ack=1
            lan< tcp 198.51.100.{server}:80 > 192.168.1.{host}:{port} SA ack=1
            lan> tcp 192.168.1.{host}:{port} > 198.51.100.{server}:80 A seq=1 ack=1
            wan< tcp 203.0.113.2:$t{host} > 198.51.100.{server}:80 A seq=1 ack=1
            wan> tcp 198.51.100.{server}:80 > 203.0.113.2:$t{host} AP seq=1 ack=1 len=5
            lan< tcp 198.51.100.{server}:80 > 192.168.1.{host}:{port} AP seq=1 ack=1 len=5
            "
        )
    };
    HOSTS.map(one).collect()
}

#[test]
fn on_nics_that_obey_no_packet_of_a_flow_to_the_outside_is_handed_over_either_way() {
    for shape in honest() {
        // A port that anybody may send to is by the port alone, which NICs without rules for ports do not know.
        let mut net = Net::new(&by_flow(), shape);
        net.play(&conversations());
        let hosts = u64::from(HOSTS.end - HOSTS.start);
        for interface in ["lan", "wan"] {
            assert_eq!(at(&net, interface, |c| c.steerable.get()), 3 * hosts, "{shape:?}");
            assert_eq!(at(&net, interface, |c| c.handed_off.get()), 0, "{shape:?} {interface}");
            assert_eq!(at(&net, interface, |c| c.misplaced.get()), 0, "{shape:?} {interface}");
        }
        assert_eq!(net.counters.iter().map(|worker| worker.handed_off.get()).sum::<u64>(), 0, "{shape:?}");
        for worker in &net.counters {
            let fair = 2 * hosts / shape.workers as u64;
            assert!(worker.sessions.get() > fair / 2, "{shape:?}: all of them work");
        }
        net.finish();
    }
}

#[test]
fn what_nics_can_not_tell_apart_is_handed_over_under_a_cause_of_its_own() {
    for shape in honest() {
        let mut net = Net::new(HOME, shape);
        for host in HOSTS {
            let (server, port, parts) = (1 + host % 7, 1000 + host, ["0-1480", "1480-2008"]);
            // Of what leaves in its own name, the gateway gives the number.
            let number = |exit: &str| if exit == "wan" { format!("$id{host}") } else { host.to_string() };
            let both = |from: &str, to: &str, first: &str, ends: [&str; 2]| {
                let [whole, out] = ends;
                parts
                    .map(|part| {
                        let opened = if part == parts[0] { first } else { "" };
                        format!(
                            "{from}> {whole} len=2000 ipid={host} part={part}\n{to}< {out} len=2000 ipid={} part={part}\n{opened}", number(to)
                        )
                    })
                    .concat()
            };
            let (inside, outside) = (format!("192.168.1.{host}"), format!("198.51.100.{server}"));
            net.play(&both(
                "lan",
                "wan",
                "opened\n",
                [
                    &format!("udp {inside}:{port} > {outside}:53"),
                    &format!("udp 203.0.113.2:$u{host} > {outside}:53"),
                ],
            ));
            net.play(&both(
                "wan",
                "lan",
                "",
                [
                    &format!("udp {outside}:53 > 203.0.113.2:$u{host}"),
                    &format!("udp {outside}:53 > {inside}:{port}"),
                ],
            ));
            net.play(&format!(
                "lan> icmp echo {inside} > {outside} id={host}
                wan< icmp echo 203.0.113.2 > {outside} id=$i{host}
                opened
                wan> icmp reply {outside} > 203.0.113.2 id=$i{host}
                lan< icmp reply {outside} > {inside} id={host}
                wan> icmp 3/3 {outside} > 203.0.113.2 [udp 203.0.113.2:$u{host} > {outside}:53]
                lan< icmp 3/3 {outside} > {inside} [udp {inside}:{port} > {outside}:53]"
            ));
        }
        assert_eq!(handoffs(&net, HandoffCause::Flow), 0, "{shape:?}");
        assert!(handoffs(&net, HandoffCause::Fragment) > 0, "{shape:?}");
        assert!(handoffs(&net, HandoffCause::Other) > 0, "{shape:?}");
        net.finish();
    }
}

#[test]
fn requests_to_a_forwarded_port_need_no_handoff_and_answers_may() {
    for shape in honest().filter(|shape| shape.wish == Wish::Auto) {
        let mut net = Net::new(&forwards(), shape);
        let clients = 1..=80;
        for n in clients.clone() {
            net.play(&format!(
                "wan> tcp 198.51.100.{n}:{port} > 203.0.113.2:8080 S
                lan< tcp 198.51.100.{n}:{port} > 192.168.1.10:80 S
                opened",
                port = 5000 + n * 7
            ));
        }
        assert_eq!(handoffs(&net, HandoffCause::Flow), 0, "{shape:?}");
        for n in clients {
            net.play(&format!(
                "lan> tcp 192.168.1.10:80 > 198.51.100.{n}:{port} SA ack=1
                wan< tcp 203.0.113.2:8080 > 198.51.100.{n}:{port} SA ack=1
                wan> tcp 198.51.100.{n}:{port} > 203.0.113.2:8080 A seq=1 ack=1
                lan< tcp 198.51.100.{n}:{port} > 192.168.1.10:80 A seq=1 ack=1",
                port = 5000 + n * 7
            ));
        }
        // The backend is one of the hosts inside, and its packets come to where those of such a host do.
        assert!(at(&net, "lan", |c| c.handed_off.get()) > 0, "{shape:?}");
        assert_eq!(at(&net, "wan", |c| c.handed_off.get()), 0, "{shape:?}");
        let misplaced = ["lan", "wan"].map(|interface| at(&net, interface, |c| c.misplaced.get()));
        assert_eq!(misplaced, [0, 0], "{shape:?}: the NIC did what it had to");
        net.finish();
    }
}

#[test]
fn a_hairpin_whose_ends_are_with_two_workers_is_one_session() {
    for shape in SHAPES {
        let mut net = Net::new(&forwards(), shape);
        for host in HOSTS.filter(|host| *host != 53) {
            net.play(&format!(
                "
                lan> udp 192.168.1.{host}:6000 > 203.0.113.2:53
                lan< udp 203.0.113.2:$p{host} > 192.168.1.53:53
                opened
                lan> udp 192.168.1.53:53 > 203.0.113.2:$p{host}
                lan< udp 203.0.113.2:53 > 192.168.1.{host}:6000
                lan> icmp 3/3 192.168.1.53 > 203.0.113.2 [udp 203.0.113.2:$p{host} > 192.168.1.53:53]
                lan< icmp 3/3 203.0.113.2 > 192.168.1.{host} [udp 192.168.1.{host}:6000 > 203.0.113.2:53]
                "
            ));
        }
        // A session that a port decides is not always with the worker of the source that NICs go by.
        if shape.workers > 1 && shape.spread == Spread::Source {
            assert!(handoffs(&net, HandoffCause::Flow) > 0, "{shape:?}");
        }
        net.finish();
    }
}

#[test]
fn a_nic_that_does_not_do_what_it_says_is_found_out_and_its_traffic_is_right_all_the_same() {
    use Plan::{A, B, C};
    let nic = |habit| Shape::nic(2, habit);
    // What was chosen at the start and what the packets made of it: inside, outside.
    for (shape, inside, outside) in [
        (nic(Habit::Honest), (A, A), (B, B)),
        (nic(Habit::Honest).by_flow(), (B, B), (B, B)),
        (nic(Habit::Honest).port_rules(), (A, A), (A, A)),
        // Found out at the start; outside its own key and table are as good as ours.
        (nic(Habit::KeepsKey), (C, C), (B, B)),
        (nic(Habit::KeepsTable), (C, C), (B, B)),
        (nic(Habit::KeepsKeyAndTable), (C, C), (B, B)),
        (nic(Habit::KeepsKeyAndTable).by_flow(), (B, B), (B, B)),
        (nic(Habit::StopsHashing), (C, C), (C, C)),
        (nic(Habit::Refuses), (C, C), (C, C)),
        (nic(Habit::RefusesRules).port_rules(), (A, A), (C, C)),
        (nic(Habit::Honest).entries(100), (C, C), (C, C)),
        (Shape::nic(3, Habit::Honest).queues(1), (C, C), (C, C)),
        // Found out by its packets.
        (nic(Habit::StopsHashingInSecret), (A, C), (B, C)),
        (nic(Habit::IgnoresRules).port_rules(), (A, A), (A, C)),
        (nic(Habit::UdpByAddresses), (A, A), (B, C)),
        (nic(Habit::UdpByAddresses).by_flow(), (B, C), (B, C)),
    ] {
        let mut net = Net::new(&by_flow(), shape);
        net.play(&conversations());
        net.wait(Duration::from_secs(2));
        let status = net.management.steering_status();
        let sides = [("lan", inside), ("wan", outside)];
        for (name, (chosen, proved)) in sides {
            let interface = &status.interfaces[net.interface(name).index()];
            assert_eq!((interface.choice.plan, interface.plan()), (chosen, proved), "{shape:?} {name}");
            assert_eq!(interface.choice.why_not.is_empty(), chosen != C, "{shape:?} {name}");
            if chosen != C && chosen == proved {
                assert_eq!(interface.proof, ProofState::Holds, "{shape:?} {name}");
                assert_eq!(at(&net, name, |c| c.handed_off.get()), 0, "{shape:?} {name}");
            }
        }
        let broken = sides.iter().filter(|(_, (chosen, proved))| chosen != proved).count();
        let said = net.management.take_events();
        let said = said.iter().filter(|event| event.kind == EventKind::SteeringBroken).count();
        assert_eq!(said, broken, "{shape:?}");
        net.finish();
    }
}

/// A numbered datagram.
fn datagram(ends: &str, number: usize) -> Vec<u8> {
    Line::parse(&format!("udp {ends} ipid={number}")).encode(&Default::default())
}

#[test]
fn packets_of_a_flow_keep_their_order_whoever_receives_them() {
    const PACKETS: usize = 3000;
    // Where each direction of a flow comes in on one queue: nobody keeps the order between two.
    for shape in SHAPES.into_iter().filter(|shape| shape.nic.is_some() || shape.queues == 1) {
        let mut net = Net::new(HOME, shape);
        let mut flows = Vec::new();
        for host in HOSTS.step_by(5) {
            net.play(&format!(
                "lan> udp 192.168.1.{host}:1000 > 198.51.100.1:53\nwan< udp 203.0.113.2:$p > 198.51.100.1:53\nopened"
            ));
            flows.push(("lan", format!("192.168.1.{host}:1000 > 198.51.100.1:53")));
            let port = net.bindings.get("$p").unwrap();
            flows.push(("wan", format!("198.51.100.1:53 > 203.0.113.2:{port}")));
            net.play("forget $p");
        }
        let mut dice = Dice(7);
        let mut sent = vec![0; flows.len()];
        for _ in 0..PACKETS {
            let flow = dice.below(flows.len());
            sent[flow] += 1;
            let (interface, ends) = &flows[flow];
            let interface = net.interface(interface);
            net.send_ipv4(interface, &datagram(ends, sent[flow]));
            // Everybody works, in no order, and now and then somebody not for a while.
            for _ in 0..dice.below(3) {
                let worker = dice.below(shape.workers);
                net.workers[worker].poll_once(net.now);
            }
            net.collect();
        }
        net.run();
        // By where it comes out and to and from where: the number of the next one.
        let mut next: HashMap<_, usize> = HashMap::new();
        for seen in &net.seen {
            let number = usize::from(u16::from_be_bytes([seen.body[4], seen.body[5]]));
            let next = next.entry((seen.interface, seen.body[12..24].to_vec())).or_insert(1);
            assert_eq!(number, *next, "{shape:?}: {}", crate::packet::describe(&seen.body));
            *next += 1;
        }
        assert_eq!((net.seen.len(), next.len()), (PACKETS, flows.len()), "{shape:?}");
        net.seen.clear();
        net.finish();
    }
}

#[test]
fn a_flood_that_overfills_one_ring_costs_flows_of_that_owner_alone() {
    const FLOOD: usize = 4 * RING;
    // One worker receives everything.
    let shape = Shape::plain(3, 1);
    let mut net = Net::new(HOME, shape);
    let lan = net.interface("lan");
    let mut flows: HashMap<WorkerId, Vec<String>> = HashMap::new();
    for host in HOSTS {
        let tuple = Tuple {
            src: [192, 168, 1, host as u8].into(),
            dst: [198, 51, 100, 1].into(),
            sport: 1000,
            dport: 53,
            protocol: 17,
        };
        let owner = net.snapshot.steering.owner(&tuple, (Realm::Internal, 0), &net.snapshot.local);
        flows.entry(owner).or_default().push(format!("192.168.1.{host}:1000 > 198.51.100.1:53"));
        net.play(&format!(
            "lan> udp 192.168.1.{host}:1000 > 198.51.100.1:53\nwan< udp 203.0.113.2:$p{host} > 198.51.100.1:53\nopened"
        ));
    }
    let (flooded, others) = (WorkerId(1), [WorkerId(0), WorkerId(2)]);
    let owned = net.counters.iter().map(|worker| worker.sessions.get()).collect::<Vec<_>>();
    assert!(owned.iter().all(|sessions| *sessions > 4), "{owned:?}");
    // The second worker is stuck meanwhile, and its ring fills. What the third one sends, the first one takes.
    let (mut flood, mut rest) = (0, 0);
    for n in 0..FLOOD {
        net.send_ipv4(lan, &datagram(&flows[&flooded][n % flows[&flooded].len()], 1));
        flood += 1;
        if n % 8 == 0 {
            let flows = &flows[&others[n / 8 % 2]];
            net.send_ipv4(lan, &datagram(&flows[n / 16 % flows.len()], 2));
            rest += 1;
        }
        if n % 16 == 15 {
            net.workers[0].poll_once(net.now);
            net.workers[2].poll_once(net.now);
            net.collect();
        }
    }
    for _ in 0..8 {
        net.workers[0].poll_once(net.now);
        net.workers[2].poll_once(net.now);
        net.collect();
    }
    let kinds = |net: &Net, number: u8| net.seen.iter().filter(|seen| seen.body[5] == number).count();
    assert_eq!((kinds(&net, 1), kinds(&net, 2)), (0, rest), "all others are out before it goes on");
    net.run();
    assert_eq!((kinds(&net, 1), kinds(&net, 2)), (RING, rest), "a ring of the flood is left");
    let drops: BTreeSet<_> =
        net.totals().into_iter().filter(|(name, n)| name.starts_with("drop") && *n > 0).collect();
    assert_eq!(drops, BTreeSet::from([("drop handoff_full".to_owned(), (flood - RING) as i64)]));
    net.assert_balance("after the flood");
    // And it goes on as if nothing had been.
    net.forget();
    for host in HOSTS {
        net.play(&format!(
            "lan> udp 192.168.1.{host}:1000 > 198.51.100.1:53
            wan< udp 203.0.113.2:$p{host} > 198.51.100.1:53
            wan> udp 198.51.100.1:53 > 203.0.113.2:$p{host}
            lan< udp 198.51.100.1:53 > 192.168.1.{host}:1000"
        ));
    }
    net.finish();
}

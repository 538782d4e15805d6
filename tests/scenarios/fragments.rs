//! Fragments: translated without being reassembled, whatever their order (RFC 4787 REQ-14).

use crate::harness::play;
use crate::translation::{HOME, forwards};

/// Every order of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
/// The parts of a datagram with 3000 bytes of payload and a header of `head` bytes.
fn parts(head: usize) -> [String; 3] {
    ["0-1480".into(), "1480-2960".into(), format!("2960-{}", 3000 + head)]
}

/// Sends the three parts of `from` on `entry` in an order, and expects those of `to` at `exit`: each at once when the
/// first was there, else with the first.
fn datagram(order: [usize; 3], head: usize, (entry, from): (&str, &str), (exit, to): (&str, &str)) -> String {
    let parts = parts(head);
    // The gateway numbers what leaves in its own name.
    let id = if exit == "wan" { "$id" } else { "9" };
    let first = order.iter().position(|part| *part == 0).unwrap();
    let mut script = "forget $id\n".to_owned();
    for (place, part) in order.into_iter().enumerate() {
        script += &format!("{entry}> {from} len=3000 ipid=9 part={}\n", parts[part]);
        if place < first {
            script += "held +1\n";
        }
        if place == first {
            // The first one tells the variables of the line, so it has to be compared first.
            for out in std::iter::once(0).chain(order[..first].iter().copied()) {
                script += &format!("{exit}< {to} len=3000 ipid={id} part={}\n", parts[out]);
            }
            script += &format!("held -{first}\n");
        }
        if place > first {
            script += &format!("{exit}< {to} len=3000 ipid={id} part={}\n", parts[part]);
        }
    }
    script
}

#[test]
fn three_fragments_pass_in_every_order_and_both_directions() {
    for order in ORDERS {
        for (proto, head, id) in
            [("udp", 8, ""), ("udp", 8, " csum=0"), ("tcp", 20, ""), ("icmp echo", 8, "")]
        {
            let (out, outside, back, inside) = match proto {
                "udp" => (
                    format!("udp 192.168.1.10:1000 > 198.51.100.1:53{id}"),
                    format!("udp 203.0.113.2:$p > 198.51.100.1:53{id}"),
                    format!("udp 198.51.100.1:53 > 203.0.113.2:$p{id}"),
                    format!("udp 198.51.100.1:53 > 192.168.1.10:1000{id}"),
                ),
                "tcp" => (
                    "tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=1 ack=1".into(),
                    "tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=1 ack=1".into(),
                    "tcp 198.51.100.1:80 > 203.0.113.2:$p AP seq=1 ack=3000".into(),
                    "tcp 198.51.100.1:80 > 192.168.1.10:1000 AP seq=1 ack=3000".into(),
                ),
                _ => (
                    "icmp echo 192.168.1.10 > 198.51.100.1 id=5 seq=1".into(),
                    "icmp echo 203.0.113.2 > 198.51.100.1 id=$p seq=1".into(),
                    "icmp reply 198.51.100.1 > 203.0.113.2 id=$p seq=1".into(),
                    "icmp reply 198.51.100.1 > 192.168.1.10 id=5 seq=1".into(),
                ),
            };
            let mut script = String::new();
            if proto == "tcp" {
                script += "lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S
                    wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S
                    opened
                    wan> tcp 198.51.100.1:80 > 203.0.113.2:$p SA ack=1
                    lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA ack=1\n";
            } else {
                // The datagram that opens the session is itself in fragments.
                let opening = datagram(order, head, ("lan", &out), ("wan", &outside));
                let first = opening.find("part=0-1480").unwrap();
                let behind = first + opening[first..].find('\n').unwrap() + 1;
                script += &format!("{}opened\n{}", &opening[..behind], &opening[behind..]);
                script += "wait 3s\n";
            }
            script += &datagram(order, head, ("lan", &out), ("wan", &outside));
            script += &datagram(order, head, ("wan", &back), ("lan", &inside));
            play(HOME, &script);
        }
    }
}

#[test]
fn fragments_to_a_forwarded_port_find_their_backend() {
    for order in ORDERS {
        let first = "udp 198.51.100.7:5000 > 203.0.113.2:53";
        play(
            &forwards(),
            &format!(
                "wan> {first}
                lan< udp 198.51.100.7:5000 > 192.168.1.53:53
                opened
                {}
                {}",
                datagram(order, 8, ("wan", first), ("lan", "udp 198.51.100.7:5000 > 192.168.1.53:53")),
                datagram(
                    order,
                    8,
                    ("lan", "udp 192.168.1.53:53 > 198.51.100.7:5000"),
                    ("wan", "udp 203.0.113.2:53 > 198.51.100.7:5000")
                )
            ),
        );
    }
}

#[test]
fn a_later_fragment_whose_first_does_not_come_is_dropped_after_two_seconds() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=3000 ipid=9 part=1480-2960
        held +1
        wait 1900ms
        wait 200ms
        held -1
        drop fragment_timeout
        # Then the first is without effect on it.
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=3000 ipid=9 part=0-1480
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=3000 ipid=$id part=0-1480
        opened
        # What was known of a datagram is forgotten, too: the same identification may be another.
        wait 2100ms
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=3000 ipid=9 part=1480-2960
        held +1
        wait 2100ms
        held -1
        drop fragment_timeout
        ",
    );
}

#[test]
fn fragments_that_lie_are_dropped() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=3000 part=0-0
        drop fragment_invalid
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S len=3000 part=0-16       # no whole header
        drop fragment_invalid
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S len=3000 part=8-80       # could overwrite it
        drop fragment_invalid
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=3000 part=0-1479       # not a multiple of eight
        drop fragment_invalid
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 part=0-16 [udp 203.0.113.2:5 > 198.51.100.1:53]
        drop icmp_invalid
        ",
    );
}

#[test]
fn more_than_eight_early_fragments_of_a_datagram_are_not_held() {
    let early = |n: usize| format!("part={}-{}", n * 8, n * 8 + 8);
    let mut script = String::new();
    for n in 1..=8 {
        script +=
            &format!("lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=100 ipid=3 {}\nheld +1\n", early(n));
    }
    script += &format!(
        "lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=100 ipid=3 {}
        drop fragment_table_full
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=100 ipid=3 part=0-8
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=100 ipid=$id part=0-8
        opened
        held -8\n",
        early(9)
    );
    for n in 1..=8 {
        script += &format!("wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=100 ipid=$id {}\n", early(n));
    }
    play(HOME, &script);
}

#[test]
fn an_echo_request_to_the_gateway_in_fragments_is_dropped_by_name() {
    play(
        HOME,
        "
        lan> icmp echo 192.168.1.10 > 192.168.1.1 id=5 len=3000 ipid=4 part=0-1480
        drop fragment_to_gateway
        lan> icmp echo 192.168.1.10 > 192.168.1.1 id=5 len=3000 ipid=4 part=1480-3008
        drop fragment_to_gateway
        ",
    );
}

#[test]
fn fragments_that_wait_for_a_neighbour_keep_their_order() {
    play(
        HOME,
        "
        silent 203.0.113.1
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=9 part=1480-2008
        held +1
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=9 part=0-1480
        wan<+ arp who 203.0.113.1 from 203.0.113.2
        held +1
        speaks 203.0.113.1
        wait 1s
        held -2
        opened
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=2000 ipid=$id part=0-1480
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=2000 ipid=$id part=1480-2008
        ",
    );
}

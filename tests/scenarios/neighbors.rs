//! Neighbours: ARP in both directions, hosts that are silent, announcements.

use crate::harness::{Net, SHAPES, play};
use crate::translation::{HOME, forwards, pool};

#[test]
fn arp_for_the_addresses_of_the_gateway_is_answered_and_no_other() {
    play(
        &forwards(),
        "
        lan> arp who 192.168.1.1 from 192.168.1.10
        lan<+ arp is 192.168.1.1 to 192.168.1.10
        wan> arp who 203.0.113.9 from 203.0.113.1            # a forwarded address
        wan<+ arp is 203.0.113.9 to 203.0.113.1
        lan> arp who 192.168.1.11 from 192.168.1.10          # another host's affair
        lan> arp who 203.0.113.2 from 192.168.1.10           # not on this link
        wan> arp who 192.168.1.1 from 203.0.113.1
        lan> arp who 192.168.1.1 from 0.0.0.0 mac=02:00:00:00:00:77    # a probe (RFC 5227)
        lan<+ arp is 192.168.1.1 to 0.0.0.0 mac=02:00:00:00:00:77
        ",
    );
}

#[test]
fn pool_addresses_are_answered_for_on_their_link_only() {
    play(
        &pool("[\"203.0.113.10-203.0.113.12\", \"198.18.0.7\"]", "1024-65535"),
        "
        wan> arp who 203.0.113.11 from 203.0.113.1
        wan<+ arp is 203.0.113.11 to 203.0.113.1
        wan> arp who 203.0.113.13 from 203.0.113.1
        wan> arp who 198.18.0.7 from 203.0.113.1             # routed here, not on the link
        lan> arp who 203.0.113.11 from 192.168.1.10
        ",
    );
}

#[test]
fn whoever_claims_an_address_of_the_gateway_is_not_believed() {
    play(
        HOME,
        "
        lan> arp is 192.168.1.1 to 192.168.1.1 mac=02:00:00:00:00:66
        drop arp_invalid
        wan> arp who 203.0.113.1 from 203.0.113.2 mac=02:00:00:00:00:66
        drop arp_invalid
        lan> arp who 192.168.1.1 from 10.9.9.9               # not of this link
        drop arp_invalid
        lan> arp who 192.168.1.1 from 192.168.1.10 mac=03:00:00:00:00:66       # a group
        drop arp_invalid
        ",
    );
}

#[test]
fn packets_to_a_silent_neighbour_wait_and_their_sender_is_told_when_it_does_not_answer() {
    play(
        HOME,
        "
        silent 203.0.113.1
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        held +1
        wan<+ arp who 203.0.113.1 from 203.0.113.2
        lan> udp 192.168.1.10:1000 > 198.51.100.2:53
        held +1
        wait 1s
        wan<+ arp who 203.0.113.1 from 203.0.113.2
        wait 1s
        wan<+ arp who 203.0.113.1 from 203.0.113.2
        wait 900ms
        wait 200ms
        held -2
        drop neighbor_unresolved 2
        lan<+ icmp 3/1 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=64]
        lan<+ icmp 3/1 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.2:53 ttl=64]
        speaks 203.0.113.1                                   # appears later
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        ",
    );
}

#[test]
fn packets_that_waited_go_on_when_the_neighbour_answers() {
    play(
        HOME,
        "
        silent 203.0.113.1
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        held +1
        wan<+ arp who 203.0.113.1 from 203.0.113.2
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=9
        held +1
        speaks 203.0.113.1
        wait 1s
        held -2
        opened
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=9
        silent 192.168.1.10                                   # an answer waits as well
        wait 70s
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        held +1
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        speaks 192.168.1.10
        wait 1s
        held -1
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000
        ",
    );
}

#[test]
fn one_silent_neighbour_holds_sixteen_packets_and_no_more() {
    let mut script = String::from("silent 203.0.113.1\n");
    for n in 0..16 {
        script += &format!("lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len={n}\nheld +1\n");
        if n == 0 {
            script += "wan<+ arp who 203.0.113.1 from 203.0.113.2\n";
        }
    }
    script += "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        drop neighbor_queue_full
        speaks 203.0.113.1
        wait 1s
        held -16
        opened\n";
    for n in 0..16 {
        script += &format!("wan< udp 203.0.113.2:$p > 198.51.100.1:53 len={n}\n");
    }
    play(HOME, &script);
}

#[test]
fn a_packet_of_a_host_that_never_asked_is_forwarded_but_an_error_for_it_is_lost() {
    play(
        HOME,
        "
        silent 192.168.1.10
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1
        drop ttl_expired
        lost
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        speaks 192.168.1.10
        wait 1s
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1
        drop ttl_expired
        lan<+ icmp 11/0 192.168.1.1 > 192.168.1.10 [udp 192.168.1.10:1000 > 198.51.100.1:53 ttl=1]
        ",
    );
}

#[test]
fn an_echo_request_waits_for_its_sender_to_be_known() {
    play(
        HOME,
        "
        silent 192.168.1.10
        lan> icmp echo 192.168.1.10 > 192.168.1.1 id=5
        held +1
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        speaks 192.168.1.10
        wait 1s
        held -1
        lan<+ icmp reply 192.168.1.1 > 192.168.1.10 id=5
        ",
    );
}

#[test]
fn a_neighbour_that_moves_to_another_card_is_followed() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000
        lan> arp who 192.168.1.1 from 192.168.1.10 mac=02:00:00:00:00:99
        lan<+ arp is 192.168.1.1 to 192.168.1.10 mac=02:00:00:00:00:99
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000 mac=02:00:00:00:00:99
        ",
    );
}

#[test]
fn every_address_is_announced_twice_on_its_link() {
    for shape in SHAPES {
        let mut net = Net::new(&pool("[\"203.0.113.10\", \"198.18.0.7\"]", "1024-65535"), shape);
        net.management.announce(net.now);
        net.run();
        net.play(
            "
            lan<+ arp who 192.168.1.1 from 192.168.1.1
            wan<+ arp who 203.0.113.2 from 203.0.113.2
            wan<+ arp who 203.0.113.10 from 203.0.113.10
            wait 2s
            lan<+ arp who 192.168.1.1 from 192.168.1.1
            wan<+ arp who 203.0.113.2 from 203.0.113.2
            wan<+ arp who 203.0.113.10 from 203.0.113.10
            wait 10s
            ",
        );
        net.finish();
    }
}

#[test]
fn a_host_that_asks_for_an_echo_and_does_not_answer_arp_gets_nothing() {
    play(
        HOME,
        "
        silent 192.168.1.10
        lan> icmp echo 192.168.1.10 > 192.168.1.1 id=5
        held +1
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        wait 2s
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        lan<+ arp who 192.168.1.10 from 192.168.1.1
        wait 1s
        held -1
        drop neighbor_unresolved
        wait 10s
        ",
    );
}

#[test]
fn a_scan_of_more_neighbours_than_the_table_holds_leaves_nothing_stuck() {
    let wide = HOME.replace("192.168.1.1/24", "10.0.0.1/8")
        + "[[dnat]]\non = \"wan\"\nprotocol = \"udp\"\nport = 53\nto = \"10.0.0.53\"\n";
    let guests = wide
        + "[interface.guests]\ndevice = \"vdev:mem2\"\nrealm = \"internal\"\naddress = \"192.168.2.1/24\"\n";
    for shape in SHAPES {
        let mut net = Net::new(&guests, shape);
        net.play("wait 1s");
        let (guests, room) = (net.interface("guests"), natgate::pipeline::worker::NEIGHBORS as u32);
        // The management core is late: most of the questions do not fit into its ring.
        for n in 0..2 * room {
            let target = std::net::Ipv4Addr::from_bits(0x0a01_0000 + n);
            net.silent.insert(target);
            let line = format!("udp 192.168.2.10:1000 > {target}:9");
            let packet = crate::packet::Line::parse(&line).encode(&net.bindings);
            net.send_ipv4(guests, &packet);
            if n % 16 == 15 {
                for _ in 0..3 {
                    for worker in &mut net.workers {
                        worker.poll_once(net.now);
                    }
                }
                net.collect();
            }
        }
        net.wait(std::time::Duration::from_secs(10));
        net.assert_balance("after the scan");
        assert_eq!(net.totals()["held"], 0);
        net.seen.clear();
        net.before = net.totals();
        net.arp_answered = 0;
        // Newcomers are resolved as ever, and there is room for many of them.
        for n in 0..1500 {
            let target = std::net::Ipv4Addr::from_bits(0x0a02_0000 + n);
            net.play(&format!(
                "guests> udp 192.168.2.10:1000 > {target}:53
                lan< udp 192.168.2.10:1000 > {target}:53"
            ));
        }
        net.play(
            "
            lan> icmp echo 10.0.0.10 > 10.0.0.1 id=5
            lan<+ icmp reply 10.0.0.1 > 10.0.0.10 id=5
            wan> udp 198.51.100.1:1 > 203.0.113.2:53
            lan< udp 198.51.100.1:1 > 10.0.0.53:53
            opened
            ",
        );
        net.finish();
    }
}

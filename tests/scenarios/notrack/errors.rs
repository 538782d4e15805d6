//! ICMP errors about packets of notrack classes, and those that the gateway makes.

use super::{cache, tunnel};
use crate::harness::play;

#[test]
fn errors_about_both_directions_reach_whoever_sent_the_packet() {
    play(
        &cache(""),
        "
        # The service's host: its port is closed.
        lan> icmp 3/3 192.168.1.20 > 198.51.100.7 ttl=60 [udp 198.51.100.7:5000 > 192.168.1.20:11211 ttl=63]
        wan< icmp 3/3 203.0.113.2 > 198.51.100.7 ttl=59 [udp 198.51.100.7:5000 > 203.0.113.2:11211 ttl=63]
        # A router inside, which nobody outside is to see.
        lan> icmp 11/0 192.168.1.254 > 198.51.100.7 [tcp 198.51.100.7:5000 > 192.168.1.20:11211 S ttl=1]
        wan< icmp 11/0 203.0.113.2 > 198.51.100.7 [tcp 198.51.100.7:5000 > 203.0.113.2:11211 S ttl=1]
        # The path to the client is narrow.
        wan> icmp 3/4 100.64.0.9 > 203.0.113.2 mtu=1280 quote=8 [tcp 203.0.113.2:11211 > 198.51.100.7:5000 A len=1400 df]
        lan< icmp 3/4 100.64.0.9 > 192.168.1.20 mtu=1280 quote=8 [tcp 192.168.1.20:11211 > 198.51.100.7:5000 A len=1400 df]
        # About what no class passes.
        wan> icmp 3/3 198.51.100.7 > 203.0.113.2 [udp 203.0.113.2:11212 > 198.51.100.7:5000]
        drop icmp_unsolicited
        # It goes to another than it quotes.
        wan> icmp 3/3 198.51.100.7 > 203.0.113.3 [udp 203.0.113.2:11211 > 198.51.100.7:5000]
        drop icmp_invalid
        # Redirects are for the link.
        wan> icmp 5/1 203.0.113.1 > 203.0.113.2 [udp 203.0.113.2:11211 > 198.51.100.7:5000]
        drop icmp_type_unsupported
        # Nobody outside reports from an address of the inside.
        wan> icmp 3/3 192.168.1.10 > 203.0.113.2 [udp 203.0.113.2:11211 > 198.51.100.7:5000]
        drop spoofed_source
        ",
    );
}

#[test]
fn errors_find_a_tunnel_although_its_answers_do_not_mirror_its_ports() {
    play(
        &tunnel(""),
        "
        wan> icmp 3/4 100.64.0.9 > 203.0.113.30 mtu=1400 quote=8 [udp 203.0.113.30:50001 > 198.51.100.30:4789 len=1460 df]
        lan< icmp 3/4 100.64.0.9 > 192.168.1.30 mtu=1400 quote=8 [udp 192.168.1.30:50001 > 198.51.100.30:4789 len=1460 df]
        lan> icmp 3/3 192.168.1.30 > 198.51.100.30 [udp 198.51.100.30:61234 > 192.168.1.30:4789]
        wan< icmp 3/3 203.0.113.30 > 198.51.100.30 [udp 198.51.100.30:61234 > 203.0.113.30:4789]
        ",
    );
}

#[test]
fn the_gateway_tells_senders_of_packets_that_go_no_further() {
    play(
        &cache(""),
        "
        wan> udp 198.51.100.7:5000 > 203.0.113.2:11211 ttl=1
        drop ttl_expired
        wan<+ icmp 11/0 203.0.113.2 > 198.51.100.7 [udp 198.51.100.7:5000 > 203.0.113.2:11211 ttl=1]
        ",
    );
    let narrow =
        cache("").replace("address = \"192.168.1.1/24\"", "address = \"192.168.1.1/24\"\nmtu = 1000");
    play(
        &narrow,
        "
        wan> udp 198.51.100.7:5000 > 203.0.113.2:11211 len=1200 df
        drop fragmentation_needed
        wan<+ icmp 3/4 203.0.113.2 > 198.51.100.7 mtu=1000 quote=528 [udp 198.51.100.7:5000 > 203.0.113.2:11211 len=1200 df]
        ",
    );
}

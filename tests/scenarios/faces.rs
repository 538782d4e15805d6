//! Who may speak as whom, and to whom: sources that lie, the gateway's inner face, what a stranger can break.

use crate::harness::play;
use crate::translation::HOME;

/// A second internal network, and a forward on the inner address.
fn two_networks() -> String {
    HOME.replace("[[snat]]\n", "[interface.guest]\ndevice = \"vdev:mem2\"\nrealm = \"internal\"\naddress = \"192.168.2.1/24\"\n[[dnat]]\non = \"lan\"\nprotocol = \"udp\"\nport = 53\nto = \"192.168.2.53\"\n[[snat]]\n")
}

#[test]
fn a_guest_can_not_pose_as_a_host_of_the_office() {
    play(
        &two_networks(),
        "
        guest> udp 192.168.1.10:1000 > 198.51.100.1:53
        drop spoofed_source
        guest> icmp echo 192.168.1.10 > 192.168.2.1 id=1
        drop spoofed_source
        guest> udp 192.168.2.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        ",
    );
}

#[test]
fn the_inner_addresses_of_the_gateway_are_not_there_for_the_outside() {
    play(
        &two_networks(),
        "
        wan> icmp echo 198.51.100.1 > 192.168.1.1 id=7
        drop no_rule
        wan> udp 198.51.100.1:1000 > 192.168.1.1:53
        drop no_rule
        lan> udp 192.168.1.10:1000 > 192.168.1.1:53        # the forward is for the inside
        guest< udp 192.168.1.1:$p > 192.168.2.53:53
        opened
        lan> icmp echo 192.168.1.10 > 192.168.1.1 id=7
        lan<+ icmp reply 192.168.1.1 > 192.168.1.10 id=7
        ",
    );
}

#[test]
fn an_error_about_the_gateways_own_packets_is_dropped_and_waits_for_nobody() {
    play(
        HOME,
        "
        lan> icmp 3/3 192.168.1.10 > 192.168.1.1 [udp 192.168.1.1:1 > 192.168.1.10:2]
        drop icmp_unsolicited
        ",
    );
}

#[test]
fn a_fragment_with_a_false_source_teaches_nothing() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$a > 198.51.100.1:53
        opened
        lan> udp 192.168.1.66:6666 > 198.51.100.1:53
        wan< udp 203.0.113.2:$b > 198.51.100.1:53
        opened
        lan> udp 198.51.100.1:53 > 203.0.113.2:$b len=3000 ipid=9 part=0-1480   # in the server's name
        drop spoofed_source
        wan> udp 198.51.100.1:53 > 203.0.113.2:$a len=3000 ipid=9 part=1480-2960
        held +1
        wan> udp 198.51.100.1:53 > 203.0.113.2:$a len=3000 ipid=9 part=0-1480
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000 len=3000 ipid=9 part=0-1480
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000 len=3000 ipid=9 part=1480-2960
        held -1
        ",
    );
}

#[test]
fn a_later_fragment_opens_no_session_when_the_first_one_was_refused() {
    play(
        &HOME.replace("gateway =", "mtu = 1000\ngateway ="),
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=4 part=0-1480 df
        lan<+ icmp 3/4 192.168.1.1 > 192.168.1.10 mtu=1000 quote=528 [udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=4 part=0-1480 df ttl=64]
        drop fragmentation_needed
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2000 ipid=4 part=1480-2008
        drop fragment_orphan
        ",
    );
}

#[test]
fn a_forged_reset_and_syn_do_not_cut_the_real_client_off() {
    play(
        HOME,
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p SA ack=1
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA ack=1
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=1 ack=1
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=1 ack=1
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 R seq=1       # another host in its name
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 R seq=1
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=1
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=1
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 AP seq=1 ack=1 len=10
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 AP seq=1 ack=1 len=10
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p A seq=1 ack=11
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 A seq=1 ack=11
        ",
    );
}

//! What has to fit the links that it takes: fragments of packets that are too large, the numbers that they have, and the
//! segments that a SYN offers.

use crate::harness::play;
use crate::translation::HOME;

/// A narrow link outside.
fn narrow() -> String {
    HOME.replace("gateway =", "mtu = 1280\ngateway =")
}

#[test]
fn a_packet_without_df_is_cut_for_the_next_link() {
    play(
        &narrow(),
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=1400 ipid=9
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=1400 ipid=$id part=0-1256 ttl=63
        wan<+ udp 203.0.113.2:$p > 198.51.100.1:53 len=1400 ipid=$id part=1256-1408 ttl=63
        opened
        # In a session.
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=1400 ipid=9 tos=8
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=1400 ipid=$other tos=8 part=0-1256
        wan<+ udp 203.0.113.2:$p > 198.51.100.1:53 len=1400 ipid=$other tos=8 part=1256-1408
        # One that just fits.
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=1252 ipid=9
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=1252 ipid=9
        ",
    );
}

#[test]
fn a_fragment_is_cut_again_with_the_number_of_its_datagram() {
    play(
        &narrow(),
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2900 ipid=9 part=0-1480
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=2900 ipid=$id part=0-1256
        wan<+ udp 203.0.113.2:$p > 198.51.100.1:53 len=2900 ipid=$id part=1256-1480
        opened
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2900 ipid=9 part=1480-2908
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=2900 ipid=$id part=1480-2736
        wan<+ udp 203.0.113.2:$p > 198.51.100.1:53 len=2900 ipid=$id part=2736-2908
        ",
    );
}

#[test]
fn what_comes_from_outside_is_cut_too_and_keeps_its_number() {
    let inside = HOME.replace("address = \"192.168.1.1/24\"", "address = \"192.168.1.1/24\"\nmtu = 1280");
    play(
        &inside,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p len=1400 ipid=7
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000 len=1400 ipid=7 part=0-1256
        lan<+ udp 198.51.100.1:53 > 192.168.1.10:1000 len=1400 ipid=7 part=1256-1408
        ",
    );
}

#[test]
fn options_are_in_the_fragments_that_their_copy_bit_says() {
    // Record route with room for one address, which is not copied, and router alert, which is.
    play(
        &narrow(),
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=1400 opts=070704000000000194040000
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=1400 ipid=$id opts=070704000000000194040000 part=0-1248
        wan<+ udp 203.0.113.2:$p > 198.51.100.1:53 len=1400 ipid=$id opts=94040000 part=1248-1408
        opened
        ",
    );
}

#[test]
fn datagrams_of_two_hosts_with_one_number_leave_with_two() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2900 ipid=9 part=0-1480
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=2900 ipid=$a part=0-1480
        opened
        lan> udp 192.168.1.11:1001 > 198.51.100.1:53 len=2900 ipid=9 part=0-1480
        wan< udp 203.0.113.2:$q > 198.51.100.1:53 len=2900 ipid=$b part=0-1480
        opened
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=2900 ipid=9 part=1480-2908
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=2900 ipid=$a part=1480-2908
        lan> udp 192.168.1.11:1001 > 198.51.100.1:53 len=2900 ipid=9 part=1480-2908
        wan< udp 203.0.113.2:$q > 198.51.100.1:53 len=2900 ipid=$b part=1480-2908
        differ $a $b
        # A whole datagram keeps its number: with DF it needs none.
        lan> udp 192.168.1.11:1001 > 198.51.100.1:53 ipid=9 df
        wan< udp 203.0.113.2:$q > 198.51.100.1:53 ipid=9 df
        ",
    );
}

#[test]
fn an_mss_is_lowered_both_ways_to_what_the_interface_says() {
    for (key, mss) in [("mtu = 1492\nmss_clamp = \"auto\"", 1452), ("mss_clamp = 1400", 1400)] {
        let clamped = HOME.replace("gateway =", &format!("{key}\ngateway ="));
        play(
            &clamped,
            &format!(
                "
                lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=5 mss=1460 ws=7
                wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=5 mss={mss} ws=7
                opened
                lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=5 mss=1460 ws=7
                wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=5 mss={mss} ws=7
                wan> tcp 198.51.100.1:80 > 203.0.113.2:$p SA seq=9 ack=6 mss=8960
                lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA seq=9 ack=6 mss={mss}
                # A smaller one stays, and so does one that is not there.
                lan> tcp 192.168.1.10:1001 > 198.51.100.1:80 S mss=536
                wan< tcp 203.0.113.2:$q > 198.51.100.1:80 S mss=536
                opened
                lan> tcp 192.168.1.10:1002 > 198.51.100.1:80 S
                wan< tcp 203.0.113.2:$r > 198.51.100.1:80 S
                opened
                # A checksum that was wrong stays wrong.
                lan> tcp 192.168.1.10:1003 > 198.51.100.1:80 S mss=1460 csum=bad
                wan< tcp 203.0.113.2:$s > 198.51.100.1:80 S mss={mss} csum=bad
                opened
                "
            ),
        );
    }
    play(
        HOME,
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S mss=8960
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S mss=8960
        opened
        ",
    );
}

#[test]
fn an_mss_is_lowered_both_ways_to_what_the_rule_says() {
    let rules = "[[snat]]\nprotocol = \"tcp\"\nport = 443\nmss_clamp = 1200\n[[snat]]";
    let ruled = HOME.replace("gateway =", "mss_clamp = 1400\ngateway =").replacen("[[snat]]", rules, 1);
    play(
        &ruled,
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:443 S seq=5 mss=1460 ws=7
        wan< tcp 203.0.113.2:$p > 198.51.100.1:443 S seq=5 mss=1200 ws=7
        opened
        wan> tcp 198.51.100.1:443 > 203.0.113.2:$p SA seq=9 ack=6 mss=8960
        lan< tcp 198.51.100.1:443 > 192.168.1.10:1000 SA seq=9 ack=6 mss=1200
        # Another rule's, by another port: what the interface says.
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=5 mss=1460
        wan< tcp 203.0.113.2:$q > 198.51.100.1:80 S seq=5 mss=1400
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$q SA seq=9 ack=6 mss=1300
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA seq=9 ack=6 mss=1300
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$q SA seq=9 ack=6 mss=1460
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA seq=9 ack=6 mss=1400
        ",
    );
}

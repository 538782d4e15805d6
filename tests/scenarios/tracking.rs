//! Sessions: how they begin, live and end, for every protocol.

use crate::harness::play;
use crate::translation::HOME;

#[test]
fn a_tcp_connection_from_handshake_to_the_last_ack() {
    play(
        HOME,
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=100
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=100 ttl=63
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p SA seq=500 ack=101 ttl=50
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA seq=500 ack=101 ttl=49
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=101 ack=501
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=101 ack=501
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 AP seq=101 ack=501 len=1460 df tos=16
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 AP seq=101 ack=501 len=1460 df tos=16
        wait 7000s                                            # idle for long: still there
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p AF seq=501 ack=1561
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 AF seq=501 ack=1561
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=1561 ack=502
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=1561 ack=502
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 AF seq=1561 ack=502
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 AF seq=1561 ack=502
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p A seq=502 ack=1562
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 A seq=502 ack=1562
        wait 239s
        wait 2100ms
        closed
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A
        drop tcp_not_syn
        ",
    );
}

#[test]
fn a_reset_lets_the_connection_end_after_four_minutes() {
    play(
        HOME,
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p RA           # for another SYN
        drop tcp_rst_invalid
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p RA ack=1
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 RA ack=1
        wait 239s
        wait 2100ms
        closed
        ",
    );
}

/// A connection from 100 to 500 with window scales of 7 and 2.
const OPEN: &str = "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S seq=100 ws=7
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S seq=100 ws=7
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p SA seq=500 ack=101 ws=2
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA seq=500 ack=101 ws=2
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=101 ack=501 win=500
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=101 ack=501 win=500
";

#[test]
fn a_segment_outside_of_the_window_is_dropped_unless_the_operator_is_liberal() {
    let outside = "
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p AP seq=64000 ack=101 len=100          # 500 << 7 are 64000
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 AP seq=64000 ack=101 len=100
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p AP seq=900000 ack=101 len=100
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=101 ack=500000
    ";
    let strict = outside.replace("len=100\n        lan>", "len=100\n drop tcp_out_of_window\n lan>");
    play(HOME, &format!("{OPEN}{strict}drop tcp_out_of_window"));
    let liberal = HOME.replace("[conntrack]", "[conntrack]\ntcp_be_liberal = true");
    let passes = outside.replace(
        "len=100\n        lan>",
        "len=100\n lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 AP seq=900000 ack=101 len=100\n lan>",
    );
    play(
        &liberal,
        &format!("{OPEN}{passes}\n wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=101 ack=500000"),
    );
}

#[test]
fn a_rst_closes_with_the_right_number_only_and_a_forged_one_is_forgotten() {
    play(
        HOME,
        &format!(
            "{OPEN}
            wan> tcp 198.51.100.1:80 > 203.0.113.2:$p R seq=500                       # blind
            drop tcp_rst_invalid
            wan> tcp 198.51.100.1:80 > 203.0.113.2:$p R seq=900000
            drop tcp_rst_invalid
            wan> tcp 198.51.100.1:80 > 203.0.113.2:$p R seq=600                       # for a challenge
            lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 R seq=600
            wait 1000s
            wan> tcp 198.51.100.1:80 > 203.0.113.2:$p R seq=501
            lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 R seq=501
            wait 200s
            wan> tcp 198.51.100.1:80 > 203.0.113.2:$p A seq=501 ack=101 len=10        # it goes on
            lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 A seq=501 ack=101 len=10
            wait 1000s
            lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 R seq=101
            wan< tcp 203.0.113.2:$p > 198.51.100.1:80 R seq=101
            wait 239s
            wait 2100ms
            closed
            "
        ),
    );
}

#[test]
fn a_connection_is_picked_up_in_the_middle_if_the_operator_is_loose() {
    let loose = HOME.replace("[conntrack]", "[conntrack]\ntcp_loose = true");
    play(
        &loose,
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 AF seq=100 ack=500
        drop tcp_not_syn
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=100 ack=500 len=10
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=100 ack=500 len=10
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p A seq=500 ack=110 len=1400
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 A seq=500 ack=110 len=1400
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=110 ack=1900
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 A seq=110 ack=1900
        wait 8000s
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p R seq=1900
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 R seq=1900
        wait 239s
        wait 2100ms
        closed
        ",
    );
}

#[test]
fn impossible_flags_and_segments_without_a_connection_are_dropped() {
    play(
        HOME,
        "
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A
        drop tcp_not_syn
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 SA
        drop tcp_not_syn
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 R
        drop tcp_not_syn
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 SF
        drop tcp_invalid
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80
        drop tcp_invalid
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.2:$p > 198.51.100.1:80 S
        opened
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 SR
        drop tcp_invalid
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$p FR
        drop tcp_invalid
        ",
    );
}

#[test]
fn a_udp_checksum_of_zero_stays_zero_and_a_wrong_one_wrong() {
    play(
        HOME,
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 csum=0
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 csum=0
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p csum=0
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000 csum=0
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 csum=bad
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 csum=bad
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S csum=bad
        wan< tcp 203.0.113.2:$q > 198.51.100.1:80 S csum=bad
        opened
        lan> icmp echo 192.168.1.10 > 198.51.100.1 id=9 csum=bad
        wan< icmp echo 203.0.113.2 > 198.51.100.1 id=$i csum=bad
        opened
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=0 pad=18    # padding is cut off
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=0
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53 len=1 opts=01010101 ipid=7
        wan< udp 203.0.113.2:$p > 198.51.100.1:53 len=1 opts=01010101 ipid=7
        ",
    );
}

#[test]
fn echo_and_timestamp_queries_are_translated_by_their_identifier() {
    play(
        HOME,
        "
        lan> icmp echo 192.168.1.10 > 198.51.100.1 id=7 seq=1 len=56
        wan< icmp echo 203.0.113.2 > 198.51.100.1 id=$i seq=1 len=56 ttl=63
        opened
        wan> icmp reply 198.51.100.1 > 203.0.113.2 id=$i seq=1 len=56
        lan< icmp reply 198.51.100.1 > 192.168.1.10 id=7 seq=1 len=56 ttl=63
        lan> icmp echo 192.168.1.10 > 198.51.100.1 id=7 seq=2
        wan< icmp echo 203.0.113.2 > 198.51.100.1 id=$i seq=2
        lan> icmp ts 192.168.1.10 > 198.51.100.1 id=7 len=12
        wan< icmp ts 203.0.113.2 > 198.51.100.1 id=$t len=12
        opened
        wan> icmp tsreply 198.51.100.1 > 203.0.113.2 id=$t len=12
        lan< icmp tsreply 198.51.100.1 > 192.168.1.10 id=7 len=12
        lan> icmp echo 192.168.1.11 > 198.51.100.1 id=7          # another host, the same identifier
        wan< icmp echo 203.0.113.2 > 198.51.100.1 id=$j
        opened
        wan> icmp reply 198.51.100.1 > 203.0.113.2 id=$j
        lan< icmp reply 198.51.100.1 > 192.168.1.11 id=7
        wan> icmp reply 198.51.100.9 > 203.0.113.2 id=$j          # of somebody who was not asked
        drop icmp_unsolicited
        wait 59s
        wait 2100ms
        closed 3
        wan> icmp reply 198.51.100.1 > 203.0.113.2 id=$j
        drop icmp_unsolicited
        ",
    );
}

/// Timeouts that all differ.
fn timeouts() -> String {
    format!(
        "{HOME}
        [conntrack.timeouts]
        udp = \"30s\"
        udp_stream = \"50s\"
        tcp_syn_sent = \"20s\"
        tcp_syn_recv = \"40s\"
        tcp_established = \"60s\"
        icmp = \"10s\"
        "
    )
}

#[test]
fn sessions_end_at_their_timeout_and_not_before() {
    // A wait ends where the session may just still be there, the next where it must be gone: 1.1 s after.
    play(
        &timeouts(),
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wait 29900ms
        wait 1200ms
        closed

        forget $p
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000
        wait 49900ms
        wait 1200ms
        closed

        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.2:$q > 198.51.100.1:80 S
        opened
        wait 19900ms
        wait 1200ms
        closed

        forget $q
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 S
        wan< tcp 203.0.113.2:$q > 198.51.100.1:80 S
        opened
        wan> tcp 198.51.100.1:80 > 203.0.113.2:$q SA ack=1
        lan< tcp 198.51.100.1:80 > 192.168.1.10:1000 SA ack=1
        wait 39900ms
        lan> tcp 192.168.1.10:1000 > 198.51.100.1:80 A seq=1 ack=1
        wan< tcp 203.0.113.2:$q > 198.51.100.1:80 A seq=1 ack=1
        wait 59900ms
        wait 1200ms
        closed

        lan> icmp echo 192.168.1.10 > 198.51.100.1 id=1
        wan< icmp echo 203.0.113.2 > 198.51.100.1 id=$i
        opened
        wait 9900ms
        wait 1200ms
        closed
        ",
    );
}

#[test]
fn packets_of_both_directions_keep_a_session_alive() {
    play(
        &timeouts(),
        "
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        opened
        wait 29s
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000
        wait 49s
        wan> udp 198.51.100.1:53 > 203.0.113.2:$p
        lan< udp 198.51.100.1:53 > 192.168.1.10:1000
        wait 49s
        lan> udp 192.168.1.10:1000 > 198.51.100.1:53
        wan< udp 203.0.113.2:$p > 198.51.100.1:53
        wait 49s
        wait 2100ms
        closed
        ",
    );
}

#[test]
fn a_new_configuration_holds_from_the_next_burst_on_and_the_old_one_is_freed() {
    use crate::harness::{Net, SHAPES};
    use std::sync::Arc;

    for shape in SHAPES {
        let mut net = Net::new(HOME, shape);
        let old = Arc::downgrade(&net.snapshot);
        net.play(
            "
            lan> udp 192.168.1.10:1000 > 198.51.100.1:53
            wan< udp 203.0.113.2:$p > 198.51.100.1:53
            opened
            ",
        );
        net.reload(&format!("{HOME}\n[conntrack.timeouts]\nudp = \"20s\"\n"));
        assert!(!net.management.is_published(), "workers go on with the old one until they took the new one");
        net.run();
        assert!(net.management.is_published());
        net.run();
        assert!(old.upgrade().is_none(), "nobody needs the old one any more");
        net.play(
            "
            lan> udp 192.168.1.10:1001 > 198.51.100.1:53
            wan< udp 203.0.113.2:$q > 198.51.100.1:53
            opened
            wait 22s
            closed                                     # the one that was opened under the new timeouts
            ",
        );
        net.finish();
    }
}

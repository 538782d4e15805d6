//! Protocols other than TCP, UDP and ICMP: SCTP, DCCP, UDP-Lite, and those that have nothing but addresses.
//!
//! Every packet that comes out has the checksum that computing it anew gives: see [`crate::transport`].

use crate::harness::play;
use crate::translation::{HOME, forwards};

#[test]
fn an_sctp_association_from_init_to_shutdown_complete() {
    play(
        HOME,
        "
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=11
        wan< sctp 203.0.113.2:$p > 198.51.100.1:2905 INIT itag=11 ttl=63
        opened
        wan> sctp 198.51.100.1:2905 > 203.0.113.2:$p INIT_ACK tag=11 itag=22
        lan< sctp 198.51.100.1:2905 > 192.168.1.10:2905 INIT_ACK tag=11 itag=22
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 COOKIE_ECHO DATA tag=22 len=37
        wan< sctp 203.0.113.2:$p > 198.51.100.1:2905 COOKIE_ECHO DATA tag=22 len=37
        wan> sctp 198.51.100.1:2905 > 203.0.113.2:$p COOKIE_ACK SACK tag=11
        lan< sctp 198.51.100.1:2905 > 192.168.1.10:2905 COOKIE_ACK SACK tag=11
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 DATA DATA tag=22 len=700 df
        wan< sctp 203.0.113.2:$p > 198.51.100.1:2905 DATA DATA tag=22 len=700 df
        wait 200s                                     # established: 210 s
        wan> sctp 198.51.100.1:2905 > 203.0.113.2:$p HEARTBEAT tag=11
        lan< sctp 198.51.100.1:2905 > 192.168.1.10:2905 HEARTBEAT tag=11
        wait 200s
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 HEARTBEAT_ACK tag=22
        wan< sctp 203.0.113.2:$p > 198.51.100.1:2905 HEARTBEAT_ACK tag=22
        wan> sctp 198.51.100.1:2905 > 203.0.113.2:$p DATA tag=99      # not of this association
        drop sctp_invalid
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 SHUTDOWN tag=22
        wan< sctp 203.0.113.2:$p > 198.51.100.1:2905 SHUTDOWN tag=22
        wan> sctp 198.51.100.1:2905 > 203.0.113.2:$p SHUTDOWN_ACK tag=11
        lan< sctp 198.51.100.1:2905 > 192.168.1.10:2905 SHUTDOWN_ACK tag=11
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 SHUTDOWN_COMPLETE tag=22
        wan< sctp 203.0.113.2:$p > 198.51.100.1:2905 SHUTDOWN_COMPLETE tag=22
        wait 9900ms                                   # closed: 10 s
        wait 1200ms
        closed
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 DATA tag=22
        drop sctp_not_init
        wan> sctp 198.51.100.1:2905 > 203.0.113.2:$p DATA tag=11
        drop no_session
        ",
    );
}

#[test]
fn two_hosts_with_the_same_sctp_port_get_two_and_right_checksums() {
    play(
        HOME,
        "
        lan> sctp 192.168.1.10:36412 > 198.51.100.1:36412 INIT itag=1
        wan< sctp 203.0.113.2:$p > 198.51.100.1:36412 INIT itag=1
        opened
        lan> sctp 192.168.1.11:36412 > 198.51.100.1:36412 INIT itag=2
        wan< sctp 203.0.113.2:$q > 198.51.100.1:36412 INIT itag=2
        opened
        wan> sctp 198.51.100.1:36412 > 203.0.113.2:$p INIT_ACK tag=1 itag=3
        lan< sctp 198.51.100.1:36412 > 192.168.1.10:36412 INIT_ACK tag=1 itag=3
        wan> sctp 198.51.100.1:36412 > 203.0.113.2:$q INIT_ACK tag=2 itag=4
        lan< sctp 198.51.100.1:36412 > 192.168.1.11:36412 INIT_ACK tag=2 itag=4
        # A damaged packet arrives damaged by the same bits, and one without a checksum without.
        lan> sctp 192.168.1.10:36412 > 198.51.100.1:36412 COOKIE_ECHO DATA tag=3 csum=bad
        wan< sctp 203.0.113.2:$p > 198.51.100.1:36412 COOKIE_ECHO DATA tag=3 csum=bad
        lan> sctp 192.168.1.11:36412 > 198.51.100.1:36412 COOKIE_ECHO DATA tag=4 csum=0
        wan< sctp 203.0.113.2:$q > 198.51.100.1:36412 COOKIE_ECHO DATA tag=4 csum=0
        ",
    );
}

#[test]
fn an_sctp_packet_in_fragments_does_not_pass_with_another_port() {
    let one_port = crate::translation::pool("\"203.0.113.10\"", "5000-5003");
    play(
        &one_port,
        "
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=11 part=0-16
        drop sctp_fragmented
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=11 part=16-24
        drop sctp_fragmented
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=11
        wan< sctp 203.0.113.10:$p > 198.51.100.1:2905 INIT itag=11
        opened
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 HEARTBEAT tag=1 part=0-16 ipid=7
        drop sctp_fragmented
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 HEARTBEAT tag=1 part=16-28 ipid=7
        drop sctp_fragmented
        wan> sctp 198.51.100.1:2905 > 203.0.113.10:$p INIT_ACK tag=11 itag=22
        lan< sctp 198.51.100.1:2905 > 192.168.1.10:2905 INIT_ACK tag=11 itag=22
        ",
    );
}

#[test]
fn an_sctp_packet_in_fragments_passes_with_its_own_port() {
    crate::harness::play_with(
        HOME,
        "
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=11
        wan< sctp 203.0.113.2:2905 > 198.51.100.1:2905 INIT itag=11
        opened
        wan> sctp 198.51.100.1:2905 > 203.0.113.2:2905 INIT_ACK tag=11 itag=22
        lan< sctp 198.51.100.1:2905 > 192.168.1.10:2905 INIT_ACK tag=11 itag=22
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 COOKIE_ECHO DATA tag=22 len=100 part=0-48 ipid=7
        wan< sctp 203.0.113.2:2905 > 198.51.100.1:2905 COOKIE_ECHO DATA tag=22 len=100 part=0-48 ipid=$id
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 COOKIE_ECHO DATA tag=22 len=100 part=48-144 ipid=7
        wan< sctp 203.0.113.2:2905 > 198.51.100.1:2905 COOKIE_ECHO DATA tag=22 len=100 part=48-144 ipid=$id
        ",
        // Whether a worker has the port to give depends on how many there are.
        &crate::harness::SHAPES[..1],
    );
}

#[test]
fn a_dccp_connection_from_request_to_reset() {
    play(
        HOME,
        "
        lan> dccp 192.168.1.10:5001 > 198.51.100.1:5002 Ack seq=1
        drop dccp_not_request
        lan> dccp 192.168.1.10:5001 > 198.51.100.1:5002 Request seq=1
        wan< dccp 203.0.113.2:$p > 198.51.100.1:5002 Request seq=1 ttl=63
        opened
        wan> dccp 198.51.100.1:5002 > 203.0.113.2:$p Response seq=9
        lan< dccp 198.51.100.1:5002 > 192.168.1.10:5001 Response seq=9
        lan> dccp 192.168.1.10:5001 > 198.51.100.1:5002 Ack seq=2
        wan< dccp 203.0.113.2:$p > 198.51.100.1:5002 Ack seq=2
        wan> dccp 198.51.100.1:5002 > 203.0.113.2:$p DataAck seq=10 len=1001
        lan< dccp 198.51.100.1:5002 > 192.168.1.10:5001 DataAck seq=10 len=1001
        wait 40000s                                   # open: 12 hours
        lan> dccp 192.168.1.10:5001 > 198.51.100.1:5002 Data seq=3 len=33 csum=bad
        wan< dccp 203.0.113.2:$p > 198.51.100.1:5002 Data seq=3 len=33 csum=bad
        lan> dccp 192.168.1.10:5001 > 198.51.100.1:5002 CloseReq seq=4
        drop dccp_invalid
        lan> dccp 192.168.1.10:5001 > 198.51.100.1:5002 Close seq=4
        wan< dccp 203.0.113.2:$p > 198.51.100.1:5002 Close seq=4
        wan> dccp 198.51.100.1:5002 > 203.0.113.2:$p Reset seq=11
        lan< dccp 198.51.100.1:5002 > 192.168.1.10:5001 Reset seq=11
        wait 239s
        wait 2100ms
        closed
        ",
    );
}

#[test]
fn udp_lite_is_tracked_as_udp_and_keeps_its_coverage() {
    play(
        HOME,
        "
        lan> udplite 192.168.1.10:4000 > 198.51.100.1:4001 cover=8 len=100
        wan< udplite 203.0.113.2:$p > 198.51.100.1:4001 cover=8 len=100 ttl=63
        opened
        wan> udplite 198.51.100.1:4001 > 203.0.113.2:$p len=11
        lan< udplite 198.51.100.1:4001 > 192.168.1.10:4000 len=11
        lan> udplite 192.168.1.10:4000 > 198.51.100.1:4001 cover=4
        drop l4_header_invalid
        lan> udplite 192.168.1.10:4000 > 198.51.100.1:4001 cover=30 len=8
        drop l4_header_invalid
        lan> udp 192.168.1.10:4000 > 198.51.100.1:4001           # another protocol, another session
        wan< udp 203.0.113.2:$q > 198.51.100.1:4001
        opened
        wait 299s
        wait 2100ms
        closed 2
        ",
    );
}

#[test]
fn esp_and_gre_go_both_ways_and_nobody_outside_may_begin() {
    play(
        HOME,
        "
        wan> proto 50 198.51.100.1 > 203.0.113.2 len=100
        drop no_session
        wan> gre 198.51.100.1 > 203.0.113.2
        drop no_session
        lan> proto 50 192.168.1.10 > 198.51.100.1 len=100
        wan< proto 50 203.0.113.2 > 198.51.100.1 len=100 ttl=63
        opened
        wan> proto 50 198.51.100.1 > 203.0.113.2 len=77
        lan< proto 50 198.51.100.1 > 192.168.1.10 len=77 ttl=63
        wan> proto 50 198.51.100.9 > 203.0.113.2 len=77          # not whom it was sent to
        drop no_session
        wan> gre 198.51.100.1 > 203.0.113.2                      # not what was sent
        drop no_session
        wan> proto 50 198.51.100.1 > 192.168.1.10
        drop no_rule
        lan> gre 192.168.1.20 > 198.51.100.1 len=50
        wan< gre 203.0.113.2 > 198.51.100.1 len=50
        opened
        wan> gre 198.51.100.1 > 203.0.113.2 len=60
        lan< gre 198.51.100.1 > 192.168.1.20 len=60
        wait 179s                                     # GRE both ways: 180 s
        wait 2100ms
        closed
        wait 417s                                     # any other protocol: 10 minutes
        wait 3s
        closed
        ",
    );
}

#[test]
fn gre_without_an_answer_is_forgotten_sooner() {
    play(
        HOME,
        "
        lan> gre 192.168.1.10 > 198.51.100.1
        wan< gre 203.0.113.2 > 198.51.100.1
        opened
        wait 29900ms
        wait 1200ms
        closed
        ",
    );
}

#[test]
fn of_two_hosts_that_speak_esp_to_one_peer_the_second_collides() {
    play(
        HOME,
        "
        lan> proto 50 192.168.1.10 > 198.51.100.1
        wan< proto 50 203.0.113.2 > 198.51.100.1
        opened
        lan> proto 50 192.168.1.11 > 198.51.100.1
        drop tuple_collision
        lan> proto 50 192.168.1.11 > 198.51.100.2                # another peer
        wan< proto 50 203.0.113.2 > 198.51.100.2
        opened
        lan> gre 192.168.1.11 > 198.51.100.1                     # another protocol
        wan< gre 203.0.113.2 > 198.51.100.1
        opened
        wan> proto 50 198.51.100.1 > 203.0.113.2
        lan< proto 50 198.51.100.1 > 192.168.1.10
        wan> proto 50 198.51.100.2 > 203.0.113.2
        lan< proto 50 198.51.100.2 > 192.168.1.11
        wan> gre 198.51.100.1 > 203.0.113.2
        lan< gre 198.51.100.1 > 192.168.1.11
        ",
    );
}

#[test]
fn fragments_of_a_protocol_without_ports_follow_their_first() {
    play(
        HOME,
        "
        lan> proto 50 192.168.1.10 > 198.51.100.1 len=100 part=48-100 ipid=9
        held +1
        lan> proto 50 192.168.1.10 > 198.51.100.1 len=100 part=0-48 ipid=9
        wan< proto 50 203.0.113.2 > 198.51.100.1 len=100 part=0-48 ipid=$id
        wan< proto 50 203.0.113.2 > 198.51.100.1 len=100 part=48-100 ipid=$id
        opened
        held -1
        wan> proto 50 198.51.100.1 > 203.0.113.2 len=100 part=0-48 ipid=3
        lan< proto 50 198.51.100.1 > 192.168.1.10 len=100 part=0-48 ipid=3
        wan> proto 50 198.51.100.1 > 203.0.113.2 len=100 part=48-100 ipid=3
        lan< proto 50 198.51.100.1 > 192.168.1.10 len=100 part=48-100 ipid=3
        ",
    );
}

#[test]
fn errors_about_these_protocols_reach_whoever_sent_the_packet() {
    play(
        HOME,
        "
        lan> sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=11
        wan< sctp 203.0.113.2:$p > 198.51.100.1:2905 INIT itag=11
        opened
        wan> icmp 3/2 198.51.100.1 > 203.0.113.2 [sctp 203.0.113.2:$p > 198.51.100.1:2905 INIT itag=11 ttl=40]
        lan< icmp 3/2 198.51.100.1 > 192.168.1.10 [sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=11 ttl=40]
        wan> icmp 3/4 100.64.0.9 > 203.0.113.2 mtu=1280 quote=8 [sctp 203.0.113.2:$p > 198.51.100.1:2905 DATA tag=5 len=1400 df]
        lan< icmp 3/4 100.64.0.9 > 192.168.1.10 mtu=1280 quote=8 [sctp 192.168.1.10:2905 > 198.51.100.1:2905 DATA tag=5 len=1400 df]
        # As much as most routers quote: the checksum of the whole is in it.
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 quote=28 [sctp 203.0.113.2:$p > 198.51.100.1:2905 DATA tag=5 len=1400 ttl=1]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 quote=28 [sctp 192.168.1.10:2905 > 198.51.100.1:2905 DATA tag=5 len=1400 ttl=1]
        wan> icmp 11/0 100.64.0.9 > 203.0.113.2 [sctp 203.0.113.2:$p > 198.51.100.1:2905 INIT itag=11 csum=bad]
        lan< icmp 11/0 100.64.0.9 > 192.168.1.10 [sctp 192.168.1.10:2905 > 198.51.100.1:2905 INIT itag=11 csum=bad]
        lan> dccp 192.168.1.10:5001 > 198.51.100.1:5002 Request
        wan< dccp 203.0.113.2:$q > 198.51.100.1:5002 Request
        opened
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 quote=8 [dccp 203.0.113.2:$q > 198.51.100.1:5002 Request]
        lan< icmp 3/3 198.51.100.1 > 192.168.1.10 quote=8 [dccp 192.168.1.10:5001 > 198.51.100.1:5002 Request]
        lan> udplite 192.168.1.10:4000 > 198.51.100.1:4001
        wan< udplite 203.0.113.2:$l > 198.51.100.1:4001
        opened
        wan> icmp 3/3 198.51.100.1 > 203.0.113.2 [udplite 203.0.113.2:$l > 198.51.100.1:4001]
        lan< icmp 3/3 198.51.100.1 > 192.168.1.10 [udplite 192.168.1.10:4000 > 198.51.100.1:4001]
        lan> proto 50 192.168.1.10 > 198.51.100.1 len=90
        wan< proto 50 203.0.113.2 > 198.51.100.1 len=90
        opened
        wan> icmp 3/4 100.64.0.9 > 203.0.113.2 mtu=1280 quote=8 [proto 50 203.0.113.2 > 198.51.100.1 len=1400 df]
        lan< icmp 3/4 100.64.0.9 > 192.168.1.10 mtu=1280 quote=8 [proto 50 192.168.1.10 > 198.51.100.1 len=1400 df]
        # A host inside about what it was sent: it seems to come from the gateway.
        wan> proto 50 198.51.100.1 > 203.0.113.2 len=4
        lan< proto 50 198.51.100.1 > 192.168.1.10 len=4
        lan> icmp 3/2 192.168.1.10 > 198.51.100.1 [proto 50 198.51.100.1 > 192.168.1.10 len=4]
        wan< icmp 3/2 203.0.113.2 > 198.51.100.1 [proto 50 198.51.100.1 > 203.0.113.2 len=4]
        # About what was never sent.
        wan> icmp 3/2 198.51.100.7 > 203.0.113.2 [proto 50 203.0.113.2 > 198.51.100.7]
        drop icmp_unsolicited
        ",
    );
}

#[test]
fn forwards_are_for_tcp_and_udp_alone() {
    play(
        &forwards(),
        "
        wan> sctp 198.51.100.7:5000 > 203.0.113.2:8080 INIT itag=1
        drop no_session
        wan> udplite 198.51.100.7:5000 > 203.0.113.2:53
        drop no_session
        # A backend is a host like any other to them.
        lan> sctp 192.168.1.10:80 > 198.51.100.7:5000 INIT itag=1
        wan< sctp 203.0.113.2:$p > 198.51.100.7:5000 INIT itag=1
        opened
        lan> gre 192.168.1.10 > 198.51.100.7
        wan< gre 203.0.113.2 > 198.51.100.7
        opened
        wan> gre 198.51.100.7 > 203.0.113.2
        lan< gre 198.51.100.7 > 192.168.1.10
        ",
    );
}

#[test]
fn between_internal_networks_every_protocol_is_routed_as_it_is() {
    let two = format!(
        "{HOME}
        [interface.dmz]
        device = \"vdev:mem2\"
        realm = \"internal\"
        address = \"192.168.2.1/24\"
        "
    );
    play(
        &two,
        "
        lan> sctp 192.168.1.10:1 > 192.168.2.10:2 DATA tag=9
        dmz< sctp 192.168.1.10:1 > 192.168.2.10:2 DATA tag=9
        lan> proto 51 192.168.1.10 > 192.168.2.10
        dmz< proto 51 192.168.1.10 > 192.168.2.10
        lan> proto 2 192.168.1.10 > 224.0.0.22
        drop martian_destination
        ",
    );
}

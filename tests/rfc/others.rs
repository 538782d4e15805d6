//! Other RFCs, SCTP, and what hostile packets try.

use crate::harness::{Net, frame, host_mac};
use crate::lab::{cast, each, home, home_and, ipv4, play};
use crate::rfc5382::{OPEN, segments};
use std::time::Duration;

#[test]
fn sctp_1_an_association_passes_with_a_valid_crc() {
    // The scripts compare every packet with one whose CRC32c is computed anew.
    play(
        &home(),
        "
        lan> sctp C1:2905 > S1a:2905 INIT itag=11
        wan< sctp X:$p > S1a:2905 INIT itag=11
        wan> sctp S1a:2905 > X:$p INIT_ACK tag=11 itag=22
        lan< sctp S1a:2905 > C1:2905 INIT_ACK tag=11 itag=22
        lan> sctp C1:2905 > S1a:2905 COOKIE_ECHO tag=22
        wan< sctp X:$p > S1a:2905 COOKIE_ECHO tag=22
        wan> sctp S1a:2905 > X:$p COOKIE_ACK tag=11
        lan< sctp S1a:2905 > C1:2905 COOKIE_ACK tag=11
        lan> sctp C1:2905 > S1a:2905 DATA tag=22 len=700
        wan< sctp X:$p > S1a:2905 DATA tag=22 len=700
        wan> sctp S1a:2905 > X:$p SACK DATA tag=11 len=1000
        lan< sctp S1a:2905 > C1:2905 SACK DATA tag=11 len=1000
        lan> sctp C2:2905 > S1a:2905 INIT itag=33             # the port is taken
        wan< sctp X:$q > S1a:2905 INIT itag=33
        wan> sctp S1a:2905 > X:$q INIT_ACK tag=33 itag=44
        lan< sctp S1a:2905 > C2:2905 INIT_ACK tag=33 itag=44
        ",
    );
}

#[test]
fn sctp_2_colliding_and_delayed_inits_do_not_end_an_association() {
    // Both sides send INIT; the answer to the first comes late (RFC 9260 5.2.1).
    play(
        &home(),
        "
        lan> sctp C1:2905 > S1a:2905 INIT itag=11
        wan< sctp X:$p > S1a:2905 INIT itag=11
        wan> sctp S1a:2905 > X:$p INIT itag=22
        lan< sctp S1a:2905 > C1:2905 INIT itag=22
        lan> sctp C1:2905 > S1a:2905 INIT_ACK tag=22 itag=11
        wan< sctp X:$p > S1a:2905 INIT_ACK tag=22 itag=11
        wan> sctp S1a:2905 > X:$p COOKIE_ECHO tag=11
        lan< sctp S1a:2905 > C1:2905 COOKIE_ECHO tag=11
        lan> sctp C1:2905 > S1a:2905 COOKIE_ACK tag=22
        wan< sctp X:$p > S1a:2905 COOKIE_ACK tag=22
        wan> sctp S1a:2905 > X:$p INIT_ACK tag=11 itag=22     # late
        lan< sctp S1a:2905 > C1:2905 INIT_ACK tag=11 itag=22
        lan> sctp C1:2905 > S1a:2905 DATA tag=22
        wan< sctp X:$p > S1a:2905 DATA tag=22
        wan> sctp S1a:2905 > X:$p DATA tag=11
        lan< sctp S1a:2905 > C1:2905 DATA tag=11
        wait 100s
        wan> sctp S1a:2905 > X:$p DATA tag=11
        lan< sctp S1a:2905 > C1:2905 DATA tag=11
        ",
    );
}

#[test]
fn sctp_3_heartbeats_keep_an_association() {
    let heartbeat = "
        wait 200s
        wan> sctp S1a:2905 > X:$p HEARTBEAT tag=11
        lan< sctp S1a:2905 > C1:2905 HEARTBEAT tag=11
        lan> sctp C1:2905 > S1a:2905 HEARTBEAT_ACK tag=22
        wan< sctp X:$p > S1a:2905 HEARTBEAT_ACK tag=22";
    let shutdown = "
        lan> sctp C1:2905 > S1a:2905 SHUTDOWN tag=22
        wan< sctp X:$p > S1a:2905 SHUTDOWN tag=22
        wan> sctp S1a:2905 > X:$p SHUTDOWN_ACK tag=11
        lan< sctp S1a:2905 > C1:2905 SHUTDOWN_ACK tag=11
        lan> sctp C1:2905 > S1a:2905 SHUTDOWN_COMPLETE tag=22
        wan< sctp X:$p > S1a:2905 SHUTDOWN_COMPLETE tag=22
        wait 12s
        wan> sctp S1a:2905 > X:$p DATA tag=11";
    play(
        &home(),
        &format!(
            "
            lan> sctp C1:2905 > S1a:2905 INIT itag=11
            wan< sctp X:$p > S1a:2905 INIT itag=11
            wan> sctp S1a:2905 > X:$p INIT_ACK tag=11 itag=22
            lan< sctp S1a:2905 > C1:2905 INIT_ACK tag=11 itag=22
            lan> sctp C1:2905 > S1a:2905 COOKIE_ECHO tag=22
            wan< sctp X:$p > S1a:2905 COOKIE_ECHO tag=22
            wan> sctp S1a:2905 > X:$p COOKIE_ACK tag=11
            lan< sctp S1a:2905 > C1:2905 COOKIE_ACK tag=11
            {heartbeat}{heartbeat}{heartbeat}{heartbeat}
            wan> sctp S1a:2905 > X:$p DATA tag=11
            lan< sctp S1a:2905 > C1:2905 DATA tag=11
            {shutdown}"
        ),
    );
}

#[test]
fn r2827_ingress_sources_that_are_not_inside_are_dropped() {
    play(
        &home(),
        "
        lan> udp 8.8.8.8:1000 > S1a:53
        lan> tcp 8.8.8.8:1000 > S1a:80 S
        lan> icmp echo 8.8.8.8 > S1a id=5
        lan> udp S1a:1000 > S2:53
        lan> udp X:1000 > S1a:53
        lan> udp 172.16.0.1:1000 > S1a:53
        wan> udp C1:1000 > X:53                  # and the other way round
        ",
    );
}

#[test]
fn r6056_1_ports_of_many_connections_are_hard_to_guess() {
    each(&home(), |net| {
        net.pass("lan", "udp 192.168.1.200:5000 > S1a:53");
        let mut ports = Vec::new();
        for n in 0..1500 {
            let (host, server) = (10 + n % 100, 1 + n / 100);
            let line = format!("tcp 192.168.1.{host}:5000 > 198.51.100.{server}:80 S seq=1");
            ports.push(i32::from(net.pass("lan", &line).source().1));
        }
        crate::rfc7857::is_unpredictable(&ports);
    });
}

#[test]
fn r5961_rst_blind_segments_do_not_end_a_connection() {
    let goes_on = segments(&[('>', "AP seq=101 ack=501 len=10"), ('<', "AP seq=501 ack=111 len=10")]);
    // Outside of the window, and just before it.
    play(
        &home(),
        &format!(
            "{OPEN}
            wan> tcp S1a:80 > X:$p R seq=900000
            wan> tcp S1a:80 > X:$p R seq=400
            lan> tcp C1:1000 > S1a:80 R seq=4000000000
            wait 3000s
            {goes_on}"
        ),
    );
    // In the window, but not exact: its receiver challenges, and the true end goes on.
    play(
        &home(),
        &format!(
            "{OPEN}{}wait 3000s\n{goes_on}",
            segments(&[('<', "R seq=600"), ('>', "A seq=101 ack=501")])
        ),
    );
    // A SYN in the middle: from outside it does not pass, from inside it is answered by a challenge, and the RST of who
    // has lost its memory ends the connection, so that it can be opened again.
    play(&home(), &format!("{OPEN}wan> tcp S1a:80 > X:$p S seq=77000\nwait 3000s\n{goes_on}"));
    let challenged = segments(&[('>', "S seq=88000"), ('<', "A seq=501 ack=101")]);
    play(&home(), &format!("{OPEN}{challenged}wait 3000s\n{goes_on}"));
    let again = [
        ('>', "R seq=101"),
        ('>', "S seq=88000"),
        ('<', "SA seq=9000 ack=88001"),
        ('>', "A seq=88001 ack=9001"),
    ];
    play(&home(), &format!("{OPEN}{challenged}{}", segments(&again)));
    // An old SYN/ACK, and one of another connection.
    play(
        &home(),
        &format!(
            "{OPEN}{}wait 3000s\n{goes_on}",
            segments(&[('<', "SA seq=500 ack=101"), ('>', "A seq=101 ack=501")])
        ),
    );
}

#[test]
fn r6191_tw_a_new_syn_opens_a_closed_connection_again() {
    let closed =
        segments(&[('>', "AF seq=101 ack=501"), ('<', "AF seq=501 ack=102"), ('>', "A seq=102 ack=502")]);
    let again = segments(&[
        ('>', "S seq=90000"),
        ('<', "SA seq=7000 ack=90001"),
        ('>', "A seq=90001 ack=7001"),
        ('>', "AP seq=90001 ack=7001 len=10"),
        ('<', "AP seq=7001 ack=90011 len=10"),
    ]);
    play(
        &home(),
        &format!("{OPEN}{closed}{again}wait 3000s\n{}", segments(&[('<', "AP seq=7011 ack=90011 len=10")])),
    );
}

#[test]
fn r1858_tiny_and_overlapping_fragments_do_no_harm() {
    each(&home(), |net| {
        net.act("lan> udp C1:1000 > S1a:53\nwan< udp X:$p > S1a:53");
        let fragment = |offset: u16, more: bool, body: &[u8]| {
            let mut packet = ipv4(6, "C1", "S1a", &[], body);
            packet[4..6].copy_from_slice(&[0, 77]);
            packet[6..8].copy_from_slice(&((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
            crate::lab::mend(&mut packet);
            packet
        };
        // Tiny first fragments, one that would overwrite the flags, and the ping of death.
        assert_eq!(net.send_bytes("lan", &fragment(0, true, &[7; 8])), []);
        assert_eq!(net.send_bytes("lan", &fragment(0, true, &[7; 16])), []);
        assert_eq!(net.send_bytes("lan", &fragment(8, true, &[7; 16])), []);
        assert_eq!(net.send_bytes("lan", &fragment(8, false, &[7; 16])), []);
        assert_eq!(net.send_bytes("lan", &fragment(65_528, false, &[7; 200])), []);
        assert_eq!(net.send_bytes("lan", &fragment(65_512, false, &[7; 40])), []);
        net.wait(Duration::from_secs(3));
        assert_eq!(net.came_out(), []);
        // Teardrop: the second lies in the first. Ports come from the first alone, so that nothing else can be reached by it.
        let first = net.offer("lan", "udp C1:1000 > S1a:53 len=100 ipid=9 part=0-64");
        assert_eq!((first.len(), first[0].source()), (1, (cast("X").parse().unwrap(), first[0].word(0))));
        for out in net.offer("lan", "udp C1:1000 > S1a:53 len=100 ipid=9 part=24-48") {
            assert_eq!((out.src().to_string(), out.dst().to_string()), (cast("X"), cast("S1a")));
        }
        assert_eq!(net.session_count(), 1);
        net.act("wan> udp S1a:53 > X:$p\nlan< udp S1a:53 > C1:1000");
    });
}

#[test]
fn land_impossible_ends_are_dropped_or_translated() {
    let forward =
        "[[dnat]]\non = \"wan\"\nprotocol = [\"tcp\", \"udp\"]\nport = 8080\nto = \"192.168.1.10:80\"";
    each(&home_and(forward), |net| {
        net.act("lan> udp C1:1000 > S1a:53\nwan< udp X:$p > S1a:53");
        for (side, line) in [
            ("lan", "tcp C1:80 > C1:80 S"),
            ("lan", "udp C1:80 > C1:80"),
            ("lan", "tcp G:80 > G:80 S"),
            ("wan", "tcp X:8080 > X:8080 S"),
            ("wan", "udp X:8080 > X:8080"),
            ("wan", "udp X:53 > S1a:8080"),
            ("wan", "tcp S1a:80 > S1a:80 S"),
        ] {
            net.nothing(side, line);
        }
        // Port 0 is dropped, or translated to one that is not 0; nothing goes in circles.
        for line in
            ["udp C1:0 > S1a:53", "udp C1:1000 > S1a:0", "tcp C1:0 > S1a:80 S", "tcp C1:1000 > S1a:0 S"]
        {
            for out in net.offer("lan", line) {
                assert_eq!((out.interface.as_str(), out.src().to_string()), ("wan", cast("X")), "{line}");
                assert_ne!(out.word(0), 0, "{line}");
            }
        }
        for line in ["udp S1a:0 > X:8080", "tcp S1a:0 > X:8080 S", "udp S1a:53 > X:0"] {
            for out in net.offer("wan", line) {
                assert_eq!((out.interface.as_str(), out.dst().to_string()), ("lan", cast("C1")), "{line}");
            }
        }
        truncated(net);
        net.act("wan> udp S1a:53 > X:$p\nlan< udp S1a:53 > C1:1000");
    });
}

/// Every length of a frame that ends too early.
fn truncated(net: &mut Net) {
    let packet = net.packet("tcp C1:1000 > S1a:80 S seq=1");
    let to = net.snapshot.interface(net.interface("lan")).mac;
    let whole = frame(to, host_mac(cast("C1").parse().unwrap()), 0, 0x0800, &packet);
    for length in 0..whole.len() {
        net.push(0, &whole[..length]);
        net.run();
        assert_eq!(net.came_out(), [], "{length} bytes");
    }
}

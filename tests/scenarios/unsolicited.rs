//! A SYN to an external address that nobody waits for: silence for six seconds (RFC 5382 REQ-4, RFC 5597 REQ-4).

use crate::harness::{SHAPES, Shape, play, play_with};
use crate::translation::HOME;

/// One worker: it keeps the port of whoever comes first.
fn alone() -> Vec<Shape> {
    SHAPES.into_iter().filter(|shape| shape.workers == 1).collect()
}

#[test]
fn an_unsolicited_syn_is_answered_after_six_seconds_and_not_before() {
    play(
        HOME,
        "
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 S seq=77 tos=8 ipid=5
        drop no_session
        wait 5900ms
        wait 200ms
        wan<+ icmp 3/3 203.0.113.2 > 198.51.100.1 tos=8 ttl=64 quote=20 [tcp 198.51.100.1:4000 > 203.0.113.2:9999 S seq=77 tos=8 ipid=5 ttl=64]
        wait 30s
        ",
    );
}

#[test]
fn a_syn_that_is_sent_again_is_answered_once() {
    play(
        HOME,
        "
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 S
        drop no_session
        wait 1s
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 S
        drop no_session
        wait 2s
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 S
        drop no_session
        wait 3100ms
        wan<+ icmp 3/3 203.0.113.2 > 198.51.100.1 quote=20 [tcp 198.51.100.1:4000 > 203.0.113.2:9999 S ttl=64]
        wait 30s
        ",
    );
}

#[test]
fn a_syn_the_other_way_in_time_ends_the_wait_and_the_handshake_completes() {
    play_with(
        HOME,
        "
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 S seq=70
        drop no_session
        wait 3s
        lan> tcp 192.168.1.10:9999 > 198.51.100.1:4000 S seq=10
        wan< tcp 203.0.113.2:9999 > 198.51.100.1:4000 S seq=10
        opened
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 S seq=70
        lan< tcp 198.51.100.1:4000 > 192.168.1.10:9999 S seq=70
        lan> tcp 192.168.1.10:9999 > 198.51.100.1:4000 SA seq=10 ack=71
        wan< tcp 203.0.113.2:9999 > 198.51.100.1:4000 SA seq=10 ack=71
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 SA seq=70 ack=11
        lan< tcp 198.51.100.1:4000 > 192.168.1.10:9999 SA seq=70 ack=11
        wait 30s
        ",
        &alone(),
    );
}

#[test]
fn nothing_but_a_syn_from_outside_is_answered() {
    play(
        HOME,
        "
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 A
        drop no_session
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 SA
        drop no_session
        wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 R
        drop no_session
        wan> udp 198.51.100.1:4000 > 203.0.113.2:9999
        drop no_session
        lan> tcp 192.168.1.10:4000 > 203.0.113.2:9999 S
        drop no_session
        wait 30s
        ",
    );
}

#[test]
fn a_dccp_request_or_sync_is_answered_as_late_and_other_types_are_not() {
    play(
        HOME,
        "
        wan> dccp 198.51.100.1:4000 > 203.0.113.2:9999 Request
        drop no_session
        wan> dccp 198.51.100.1:4001 > 203.0.113.2:9999 Reset
        drop no_session
        wait 5900ms
        wait 200ms
        wan<+ icmp 3/3 203.0.113.2 > 198.51.100.1 [dccp 198.51.100.1:4000 > 203.0.113.2:9999 Request ttl=64]
        wait 30s
        ",
    );
}

#[test]
fn where_the_operator_says_so_nothing_is_ever_said() {
    for key in ["unsolicited_syn = \"silent\"", "icmp_errors = false"] {
        play(
            &HOME.replace("gateway =", &format!("{key}\ngateway =")),
            "
            wan> tcp 198.51.100.1:4000 > 203.0.113.2:9999 S
            drop no_session
            wait 30s
            ",
        );
    }
}

#[test]
fn of_a_flood_256_are_answered_and_no_port_is_taken() {
    let mut script = String::new();
    for n in 0..300 {
        script += &format!("wan> tcp 198.51.100.1:{} > 203.0.113.2:9999 S\ndrop no_session\n", 4000 + n);
    }
    script += "wait 6100ms\n";
    for n in 0..100 {
        script += &format!(
            "wan<+ icmp 3/3 203.0.113.2 > 198.51.100.1 quote=20 [tcp 198.51.100.1:{} > 203.0.113.2:9999 S ttl=64]\n",
            4000 + n
        );
    }
    // All at once: more than the burst of the limit.
    script += "limited 156\nwait 30s\n";
    play_with(HOME, &script, &alone());
}

//! Handshakes, repeated, crossed, forgotten and forged. The language is that of [`crate::conntrack::testing`].

use crate::conntrack::testing::{play, play_open};

#[test]
fn lost_segments_of_the_handshake_come_again() {
    play(
        "> S seq=1000 : SYN_SENT
        > S seq=1000 : SYN_SENT
        < SA seq=5000 ack=1001 : SYN_RECV
        > S seq=1000 : passes                       # the SYN/ACK was lost
        < SA seq=5000 ack=1001 : passes
        < A seq=5001 ack=1001 : SYN_RECV
        > A seq=1001 ack=5001 : ESTABLISHED assured
        < SA seq=5000 ack=1001 : passes             # the ACK was lost
        > A seq=1001 ack=5001 : ESTABLISHED assured",
    );
}

#[test]
fn data_or_a_fin_completes_the_handshake_when_the_ack_was_lost() {
    play(
        "> S seq=1000 : SYN_SENT
        < SA seq=5000 ack=1001 : SYN_RECV
        > A seq=1201 ack=5001 len=100 : ESTABLISHED assured
        > A seq=1001 ack=5001 len=200 : ESTABLISHED assured",
    );
    play(
        "> S seq=1000 : SYN_SENT
        < SA seq=5000 ack=1001 : SYN_RECV
        > FA seq=1001 ack=5001 : FIN_WAIT",
    );
}

#[test]
fn a_syn_ack_must_acknowledge_the_syn() {
    play(
        "> S seq=1000 : SYN_SENT
        < SA seq=5000 ack=900 : passes              # of an attempt before: the client refuses it
        < SA seq=5000 ack=1002 : passes
        > R seq=1002 : passes
        < SA seq=7000 ack=1001 : SYN_RECV
        > A seq=1001 ack=7001 : ESTABLISHED assured",
    );
}

#[test]
fn a_simultaneous_open_is_complete_when_both_syns_are_acknowledged() {
    // RFC 9293 figure 7.
    play(
        "> S seq=1000 : SYN_SENT
        < S seq=5000 : SYN_SENT2
        > SA seq=1000 ack=5001 : SYN_RECV
        > SA seq=1000 ack=5001 : passes
        < SA seq=5000 ack=1001 : ESTABLISHED assured
        < A seq=5001 ack=1001 len=1000 : ESTABLISHED assured",
    );
    play(
        "> S seq=1000 : SYN_SENT
        < S seq=5000 : SYN_SENT2
        > S seq=1000 : SYN_SENT2
        < S seq=5000 : SYN_SENT2
        < SA seq=5000 ack=1001 : SYN_RECV
        > A seq=1001 ack=5001 len=10 : ESTABLISHED assured",
    );
    play(
        "> S seq=1000 : SYN_SENT
        < S seq=5000 : SYN_SENT2
        > SA seq=1000 ack=5001 : SYN_RECV
        < A seq=5001 ack=1001 len=10 : ESTABLISHED assured",
    );
}

#[test]
fn a_forged_syn_from_the_other_side_does_not_stop_the_real_answer() {
    play(
        "> S seq=1000 : SYN_SENT
        < S seq=777777 : SYN_SENT2
        < SA seq=5000 ack=1001 : SYN_RECV
        > A seq=1001 ack=5001 : ESTABLISHED assured
        < A seq=5001 ack=1001 len=500 : ESTABLISHED assured",
    );
}

#[test]
fn data_with_the_syn_may_be_acknowledged_or_not() {
    // RFC 7413. The second SYN comes without data.
    for (ack, next) in [(1001, 1001), (1501, 1501)] {
        play(&format!(
            "> S seq=1000 len=500 : SYN_SENT
            > S seq=1000 : SYN_SENT
            < SA seq=5000 ack={ack} len=100 : SYN_RECV
            < A seq=5101 ack={ack} len=400 : SYN_RECV
            < A seq=5501 ack={ack} len=400 : SYN_RECV
            > A seq={next} ack=5901 len=500 : ESTABLISHED assured",
        ));
        play(&format!("> S seq=1000 len=500 : SYN_SENT\n < RA seq=0 ack={ack} : CLOSE"));
    }
}

#[test]
fn another_attempt_of_the_client_is_followed_whichever_is_answered() {
    for answered in [1000, 900_000] {
        let (seq, ack) = (answered + 1, answered + 2);
        play(&format!(
            "> S seq=1000 ws=7 : SYN_SENT
            > S seq=900000 ws=7 : SYN_SENT
            < SA seq=5000 ack={seq} ws=2 : SYN_RECV{}
            > A seq={seq} ack=5001 len=1 : ESTABLISHED assured
            < A seq=5001 ack={ack} len=1000 : ESTABLISHED assured
            < A seq=132001 ack={ack} len=1000 : ESTABLISHED assured     # 1000 << 7 allows it",
            if answered == 1000 { " reopened" } else { "" }
        ));
    }
}

#[test]
fn an_old_duplicate_syn_is_recovered_from() {
    // RFC 9293 figure 8, in both orders in which the SYNs may get here.
    for (syns, reopened) in [([900_000, 1000], ""), ([1000, 900_000], " reopened")] {
        let [first, second] = syns;
        play(&format!(
            "> S seq={first} : SYN_SENT
            > S seq={second} : SYN_SENT
            < SA seq=5000 ack=1001 : SYN_RECV{reopened}             # the server has seen the old one,
            > R seq=1001 : CLOSE                                    # the client refuses,
            < SA seq=700000 ack=900001 : SYN_RECV reopened          # and the new one comes through
            > A seq=900001 ack=700001 : ESTABLISHED assured"
        ));
    }
}

#[test]
fn a_client_that_rebooted_gets_through_the_connection_that_it_left() {
    // RFC 9293 figure 9, RFC 5961 section 4.
    play_open(
        "> A seq=1001 ack=5001 len=500 : ESTABLISHED assured
        < A seq=5001 ack=1501 : ESTABLISHED assured
        > S seq=900000 : passes
        < A seq=5001 ack=1501 : ESTABLISHED assured                 # challenged
        > R seq=1501 : CLOSE assured
        > S seq=900000 : SYN_SENT reopened
        < A seq=5001 ack=1501 : passes
        > R seq=1501 : passes
        > S seq=900000 : SYN_SENT
        < SA seq=700000 ack=900001 : SYN_RECV
        > A seq=900001 ack=700001 : ESTABLISHED assured",
    );
}

#[test]
fn two_ends_that_forgot_the_connection_open_a_new_one_in_its_place() {
    let mut fixture = play_open(
        "> S seq=900000 ws=7 : passes
        > S seq=900000 ws=7 : passes
        < SA seq=700000 ack=900001 ws=3 : SYN_RECV reopened
        < SA seq=700000 ack=900001 ws=3 : passes
        > A seq=900001 ack=700001 : ESTABLISHED assured
        < A seq=700001 ack=900001 len=1000 : ESTABLISHED assured
        < A seq=820001 ack=900001 len=1000 : ESTABLISHED assured    # 1000 << 7 allows it
        > A seq=900001 ack=821001 len=1000 : ESTABLISHED assured
        < A seq=5001 ack=1001 : passes                              # of the old one",
    );
    fixture.play("< A seq=700001 ack=1500000 : drop tcp_out_of_window");
    play_open(
        "> S seq=900000 : passes
        < RA seq=0 ack=900001 : CLOSE assured                       # the server does not want another",
    );
}

#[test]
fn duplicates_of_the_handshake_disturb_nobody() {
    let after = "> S seq=1000 : passes
        < SA seq=5000 ack=1001 : passes
        > S seq=1000 : passes
        < SA seq=5000 ack=1001 : passes
        > A seq=1501 ack=5001 len=100 : ESTABLISHED assured
        < A seq=5001 ack=1601 len=100 : ESTABLISHED assured";
    play_open(&format!(
        "> A seq=1001 ack=5001 len=500 : ESTABLISHED assured
        {after}"
    ));
    // Nor if there were two attempts.
    play(&format!(
        "> S seq=900000 : SYN_SENT
        > S seq=1000 : SYN_SENT
        < SA seq=5000 ack=1001 : SYN_RECV
        > A seq=1001 ack=5001 len=500 : ESTABLISHED assured
        {after}"
    ));
}

#[test]
fn a_syn_reopens_what_is_done_with_and_only_from_the_original_side() {
    let closing = "> FA seq=1001 ack=5001 : FIN_WAIT assured
        < FA seq=5001 ack=1002 : LAST_ACK assured\n";
    for rest in ["", "> A seq=1002 ack=5002 : TIME_WAIT assured\n", "> R seq=1002 : CLOSE assured\n"] {
        play_open(&format!(
            "{closing}{rest}< S seq=700000 : drop tcp_invalid
            > S seq=900000 ws=2 : SYN_SENT reopened
            < SA seq=700000 ack=900001 ws=2 : SYN_RECV
            > A seq=900001 ack=700001 len=10 : ESTABLISHED assured
            < A seq=700001 ack=900011 : ESTABLISHED assured"
        ));
    }
}

#[test]
fn the_syn_of_the_connection_itself_reopens_it_only_if_the_server_begins_anew() {
    // The same FIN twice counts as both, and the server goes on sending.
    let closing = "> FA seq=1001 ack=5001 : FIN_WAIT assured
        > FA seq=1001 ack=5001 : LAST_ACK assured
        < A seq=5001 ack=1002 len=1000 : TIME_WAIT assured
        > S seq=1000 : passes\n";
    play_open(&format!(
        "{closing}< SA seq=5000 ack=1001 : passes
        < A seq=6001 ack=1002 : TIME_WAIT assured"
    ));
    // A client that always begins with the same number.
    for server in [6001, 4_000_000_000u32] {
        play_open(&format!(
            "{closing}< SA seq={server} ack=1001 : SYN_RECV reopened
            > A seq=1001 ack={0} : ESTABLISHED assured
            < A seq={0} ack=1001 len=10 : ESTABLISHED assured",
            server + 1
        ));
    }
}

#[test]
fn a_server_that_ends_its_old_connection_is_heard_in_a_reopened_one() {
    play_open(
        "> FA seq=1001 ack=5001 : FIN_WAIT assured
        < FA seq=5001 ack=1002 : LAST_ACK assured
        > S seq=900000 : SYN_SENT reopened
        < FA seq=5001 ack=1002 : passes
        > R seq=1002 : passes",
    );
}

#[test]
fn a_server_in_time_wait_that_refuses_to_reopen_is_heard() {
    // The ACK of a server that takes the SYN for an old one, and the RST to it (RFC 6191 section 2).
    play_open(
        "< FA seq=5001 ack=1001 : FIN_WAIT assured
        > FA seq=1001 ack=5002 : LAST_ACK assured
        < A seq=5002 ack=1002 : TIME_WAIT assured
        > S seq=500 : SYN_SENT reopened
        < A seq=5002 ack=1002 : passes
        > R seq=1002 : passes
        > S seq=500 : SYN_SENT
        < SA seq=700000 ack=501 : SYN_RECV",
    );
}

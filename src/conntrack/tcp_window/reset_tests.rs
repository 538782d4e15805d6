//! RSTs, real and forged. The language is that of [`crate::conntrack::testing`].

use crate::conntrack::testing::{OPEN, be_liberal, play, play_open, play_under};

#[test]
fn a_rst_with_the_exact_number_closes() {
    play_open("< R seq=5001 : CLOSE assured");
    play_open("> RA seq=1001 ack=5001 : CLOSE assured");
    // Behind data that was not acknowledged yet, and at the number that was acknowledged last.
    for seq in [1501, 1001] {
        play_open(&format!(
            "> A seq=1001 ack=5001 len=500 : ESTABLISHED assured
            > R seq={seq} : CLOSE assured"
        ));
    }
    // What a RST acknowledges does not matter: there are stacks that send nonsense.
    play_open("> RA seq=1001 ack=0 : CLOSE assured");
}

#[test]
fn a_rst_in_the_window_passes_and_the_challenge_tells() {
    play_open(
        "> R seq=1500 : passes
        > R seq=2001 : passes
        < A seq=5001 ack=1001 : ESTABLISHED assured                 # challenged
        > R seq=1001 : CLOSE assured                                # and meant",
    );
    // On the way to its end the connection is closed a little sooner.
    play_open(
        "< FA seq=5001 ack=1001 : FIN_WAIT assured
        > R seq=1500 : CLOSE assured",
    );
}

#[test]
fn a_blind_rst_is_dropped() {
    play_open(
        "> R seq=1000 : drop tcp_rst_invalid
        > R seq=2002 : drop tcp_rst_invalid
        > R seq=0 : drop tcp_rst_invalid
        < R seq=6002 : drop tcp_rst_invalid
        < RA seq=0 ack=1001 : drop tcp_rst_invalid
        < R seq=3000000000 : drop tcp_rst_invalid
        > A seq=1001 ack=5001 len=500 : ESTABLISHED assured
        < A seq=5001 ack=1501 : ESTABLISHED assured
        > R seq=1500 : drop tcp_rst_invalid",
    );
    play_under(be_liberal(), &format!("{OPEN}> R seq=2002 : drop tcp_rst_invalid"));
}

#[test]
fn a_server_refuses_by_a_rst_that_acknowledges_the_syn() {
    play(
        "> S seq=1000 : SYN_SENT
        < R seq=1001 : drop tcp_rst_invalid
        < RA seq=0 ack=1000 : drop tcp_rst_invalid
        < RA seq=0 ack=1002 : drop tcp_rst_invalid
        < RA seq=0 ack=1001 : CLOSE
        < RA seq=0 ack=1001 : CLOSE
        < A seq=1 ack=1001 : passes
        < R seq=1 : drop tcp_rst_invalid
        > S seq=1000 : passes                       # there are clients that do not give up
        < SA seq=5000 ack=1001 : SYN_RECV reopened
        > A seq=1001 ack=5001 : ESTABLISHED assured",
    );
    // The SYN/ACK was lost, and the server has changed its mind.
    play(
        "> S seq=1000 : SYN_SENT
        < SA seq=5000 ack=1001 : SYN_RECV
        > S seq=1000 : passes
        < RA seq=0 ack=1001 : CLOSE",
    );
}

#[test]
fn a_client_aborts_its_attempt() {
    play("> S seq=1000 : SYN_SENT\n > R seq=1001 : CLOSE");
    play(
        "> S seq=1000 : SYN_SENT
        < SA seq=5000 ack=1001 : SYN_RECV
        > R seq=1500 : passes
        > R seq=1001 : CLOSE",
    );
    play(
        "> S seq=1000 : SYN_SENT
        < S seq=5000 : SYN_SENT2
        < R seq=1 : drop tcp_rst_invalid
        > R seq=1 : drop tcp_rst_invalid
        < RA seq=0 ack=1001 : CLOSE",
    );
}

#[test]
fn a_connection_that_goes_on_after_a_forged_rst_is_open_again() {
    play_open(
        "> R seq=1001 : CLOSE assured timeout=240
        < A seq=5001 ack=1001 len=10 : CLOSE assured                # the other side proves nothing
        > A seq=1001 ack=5001 : CLOSE assured                       # nor does an old acknowledgement
        > A seq=1001 ack=5011 : ESTABLISHED assured timeout=432000
        < R seq=5011 : CLOSE assured
        > A seq=1001 ack=5011 len=10 : CLOSE assured
        < A seq=5011 ack=1011 : ESTABLISHED assured
        > R seq=1011 : CLOSE assured
        > FA seq=1011 ack=5011 : FIN_WAIT assured
        > R seq=1012 : CLOSE assured                                # closed for good
        < A seq=5011 ack=1012 len=10 : CLOSE assured
        > A seq=1012 ack=5021 : CLOSE assured
        > A seq=99999 ack=5021 : drop tcp_out_of_window",
    );
}

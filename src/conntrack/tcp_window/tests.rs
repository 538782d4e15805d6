//! Windows by cases. The language is that of [`crate::conntrack::testing`].

use super::*;
use crate::conntrack::testing::{Fixture, OPEN, be_liberal, loose, parse, play, play_open, play_under};
use crate::conntrack::timeouts::Timeout;
use crate::conntrack::tracker::Observed;
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn a_segment_may_begin_anywhere_in_the_window() {
    play_open(
        "> A seq=1001 ack=5001 len=1000 : ESTABLISHED assured
        > A seq=2001 ack=5001 len=10 : ESTABLISHED assured         # begins at the edge: a probe
        < A seq=5001 ack=2011 : ESTABLISHED assured
        > A seq=2011 ack=5001 len=990 : ESTABLISHED assured",
    );
}

#[test]
fn a_segment_beyond_the_window_is_dropped_and_one_that_overdraws_it_passes() {
    play_open(
        "> A seq=1001 ack=5001 len=1000 : ESTABLISHED assured
        > A seq=2002 ack=5001 len=500 : passes                      # within another window
        < A seq=5001 ack=2502 : ESTABLISHED assured                 # and the receiver took it
        > A seq=4600 ack=5001 len=10 : drop tcp_out_of_window
        > A seq=4600 ack=5001 : drop tcp_out_of_window
        > FA seq=4600 ack=5001 : drop tcp_out_of_window
        > A seq=3502 ack=5001 len=10 : ESTABLISHED assured",
    );
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_dropped() {
    play_open(
        "< A seq=5001 ack=1002 : drop tcp_out_of_window
        < A seq=5001 ack=1002 len=10 : drop tcp_out_of_window
        < FA seq=5001 ack=1002 : drop tcp_out_of_window
        > A seq=1001 ack=5001 len=1 : ESTABLISHED assured
        < A seq=5001 ack=1002 : ESTABLISHED assured",
    );
}

#[test]
fn an_old_segment_passes_without_effect() {
    let mut fixture = play_open("");
    for n in 0..100 {
        let (seq, ack) = (1001 + n * 1000, 2001 + n * 1000);
        fixture.play(&format!("> A seq={seq} ack=5001 len=1000 : ESTABLISHED assured"));
        fixture.play(&format!("< A seq=5001 ack={ack} : ESTABLISHED assured"));
    }
    fixture.play(
        "> A seq=99001 ack=5001 len=1000 : ESTABLISHED assured     # no window before the end: sent again
        > A seq=98001 ack=5001 len=1000 : passes                   # acknowledged for long
        > FA seq=98001 ack=5001 len=1000 : passes
        < A seq=5001 ack=35000 : passes                            # more than 66,000 behind
        < A seq=5001 ack=35001 : ESTABLISHED assured",
    );
}

#[test]
fn data_with_an_old_acknowledgement_is_remembered() {
    let mut fixture = play_open("");
    for n in 0..70 {
        let (seq, ack) = (5001 + n * 1000, 6001 + n * 1000);
        fixture.play(&format!("< A seq={seq} ack=1001 len=1000 : ESTABLISHED assured"));
        fixture.play(&format!("> A seq=1001 ack={ack} : ESTABLISHED assured"));
    }
    fixture.play(
        "> A seq=1001 ack=5001 len=100 : passes
        < A seq=75001 ack=1101 : ESTABLISHED assured",
    );
}

#[test]
fn windows_are_scaled_if_both_sides_offer_it_and_never_those_of_syns() {
    let beyond = "< A seq=5001 ack=1002 len=1000 : ESTABLISHED assured
        < A seq=132002 ack=1002 len=10 : ESTABLISHED assured\n";
    let open = |syn: &str, syn_ack: &str| {
        play(&format!(
            "> S seq=1000 {syn} : SYN_SENT
            < SA seq=5000 ack=1001 {syn_ack} : SYN_RECV
            > A seq=1001 ack=5001 len=1 : ESTABLISHED assured"
        ))
    };
    // 1000 << 7 is 128,000: up to 133,001.
    open("ws=7", "ws=0").play(beyond);
    let narrow = "< A seq=132002 ack=1002 len=10 : drop tcp_out_of_window";
    for (syn, syn_ack) in [("ws=7", ""), ("", "ws=7"), ("", ""), ("ws=0", "ws=7")] {
        open(syn, syn_ack).play(narrow);
    }
    // Of the SYN/ACK 1000 are 1000: the client may not send more at first, but for another such window.
    play(
        "> S seq=1000 ws=7 : SYN_SENT
        < SA seq=5000 ack=1001 ws=7 : SYN_RECV
        > A seq=120000 ack=5001 len=10 : drop tcp_out_of_window
        > A seq=1001 ack=5001 len=10 : ESTABLISHED assured
        < A seq=5001 ack=1011 : ESTABLISHED assured
        > A seq=120000 ack=5001 len=10 : ESTABLISHED assured",
    );
}

#[test]
fn the_largest_window_is_a_gigabyte() {
    let edge = 5001 + (65_535 << 14);
    play(&format!(
        "> S seq=1000 win=65535 ws=14 : SYN_SENT
        < SA seq=5000 ack=1001 win=65535 ws=14 : SYN_RECV
        > A seq=1001 ack=5001 win=65535 : ESTABLISHED assured
        < A seq={edge} ack=1001 len=10 win=65535 : ESTABLISHED assured
        < A seq=5001 ack=1001 len=1000 win=65535 : ESTABLISHED assured
        > A seq=1001 ack=6001 win=0 : ESTABLISHED assured"
    ));
}

#[test]
fn a_closed_window_is_probed() {
    play_open(
        "> A seq=1001 ack=5001 len=1000 : ESTABLISHED assured
        < A seq=5001 ack=2001 win=0 : ESTABLISHED assured
        > A seq=2001 ack=5001 len=1 : ESTABLISHED assured          # refused
        < A seq=5001 ack=2001 win=0 : ESTABLISHED assured
        > A seq=2001 ack=5001 len=1 : ESTABLISHED assured          # taken
        < A seq=5001 ack=2002 win=0 : ESTABLISHED assured
        > A seq=2002 ack=5001 len=1 : ESTABLISHED assured
        > A seq=2001 ack=5001 : ESTABLISHED assured                # as Linux does it: old and empty
        < A seq=5001 ack=2003 win=1000 : ESTABLISHED assured
        > A seq=2003 ack=5001 len=1000 : ESTABLISHED assured",
    );
    // A SYN/ACK and a SYN with a window of nothing.
    play(
        "> S seq=1000 win=0 : SYN_SENT
        < SA seq=5000 ack=1001 win=0 : SYN_RECV
        > A seq=1001 ack=5001 win=0 len=1 : ESTABLISHED assured
        < A seq=5001 ack=1001 win=0 len=1 : ESTABLISHED assured",
    );
}

#[test]
fn keepalives_keep_alive_and_are_no_retransmissions() {
    let mut fixture = play_open("");
    for _ in 0..5 {
        fixture.play(
            "> A seq=1000 ack=5001 : ESTABLISHED assured timeout=432000
            < A seq=5001 ack=1001 : ESTABLISHED assured timeout=432000
            < A seq=5000 ack=1001 len=1 : ESTABLISHED assured timeout=432000   # the old kind, with a byte
            > A seq=1001 ack=5001 : ESTABLISHED assured timeout=432000",
        );
    }
}

#[test]
fn sequence_numbers_wrap() {
    let mut fixture = play(
        "> S seq=4294967295 ws=7 win=64000 : SYN_SENT
        < SA seq=4294967000 ack=0 ws=7 win=64000 : SYN_RECV
        > A seq=0 ack=4294967001 : ESTABLISHED assured
        < A seq=4294967001 ack=0 len=1000 : ESTABLISHED assured
        > A seq=0 ack=705 len=100 : ESTABLISHED assured
        < A seq=705 ack=100 win=16000 : ESTABLISHED assured
        > A seq=100 ack=706 : drop tcp_out_of_window
        < R seq=4294967001 : drop tcp_rst_invalid",
    );
    // Twice around.
    let mut seq = 100u32;
    for _ in 0..9000 {
        let next = seq.wrapping_add(1_000_000);
        let edge = next.wrapping_sub(1000);
        fixture.play(&format!("> A seq={edge} ack=705 len=1000 : ESTABLISHED assured"));
        fixture.play(&format!("< A seq=705 ack={next} win=16000 : ESTABLISHED assured"));
        seq = next;
    }
    fixture.play(&format!("> R seq={seq} : CLOSE assured"));
}

#[test]
fn gigabytes_flow_through_a_half_closed_connection() {
    let mut fixture = play(
        "> S seq=1000 ws=7 : SYN_SENT
        < SA seq=5000 ack=1001 ws=7 : SYN_RECV
        > A seq=1001 ack=5001 len=100 win=8000 : ESTABLISHED assured
        > FA seq=1101 ack=5001 win=8000 : FIN_WAIT assured
        < A seq=5001 ack=1102 : CLOSE_WAIT assured",
    );
    let mut seq = 5001u32;
    for _ in 0..6000 {
        let (next, edge) = (seq.wrapping_add(1_000_000), seq.wrapping_add(990_000));
        fixture.play(&format!("< A seq={edge} ack=1102 len=10000 : CLOSE_WAIT assured"));
        fixture.play(&format!("> A seq=1102 ack={next} win=8000 : CLOSE_WAIT assured"));
        seq = next;
    }
    fixture.play(&format!(
        "< FA seq={seq} ack=1102 : LAST_ACK assured
        > A seq=1102 ack={} : TIME_WAIT assured",
        seq.wrapping_add(1)
    ));
}

#[test]
fn nothing_but_a_rst_is_out_of_the_window_of_a_liberal_gateway() {
    play_under(
        be_liberal(),
        &format!(
            "{OPEN}> A seq=999999 ack=5001 len=10 : ESTABLISHED assured
            < A seq=5001 ack=1000009 : ESTABLISHED assured
            < A seq=5001 ack=2000000 : ESTABLISHED assured
            < A seq=9000000 ack=1 : ESTABLISHED assured
            < R seq=3000000000 : drop tcp_rst_invalid
            > R seq=2000000 : CLOSE assured"
        ),
    );
}

#[test]
fn a_loose_gateway_picks_connections_up_in_the_middle() {
    let mut fixture = play_under(
        loose(),
        "> A seq=1001 ack=5001 len=100 win=10 : ESTABLISHED
        > A seq=1101 ack=5001 len=1000 win=10 : ESTABLISHED timeout=7440
        < A seq=5001 ack=2101 win=10 : ESTABLISHED assured timeout=432000
        < A seq=5001 ack=2101 len=1000 win=10 : ESTABLISHED assured
        < A seq=900000 ack=2101 len=1000 win=10 : ESTABLISHED assured   # who knows the scale
        > A seq=2101 ack=901000 win=10 : ESTABLISHED assured
        < R seq=5001 : drop tcp_rst_invalid
        < R seq=901000 : CLOSE assured",
    );
    fixture.play("> S seq=1000 : SYN_SENT reopened\n< A seq=901000 ack=2101 : passes");
    assert!(!Windows::load(&fixture.session().track_words()).is_liberal());
    // The server knows nothing of it.
    play_under(loose(), "> A seq=1001 ack=5001 : ESTABLISHED\n< R seq=5001 : CLOSE");
    play_under(loose(), "> A seq=1001 ack=5001 : ESTABLISHED\n> R seq=1001 : CLOSE");
    for first in ["> FA seq=1 ack=1", "> SA seq=1 ack=1", "> RA seq=1 ack=1"] {
        let observed = Observed::Tcp(parse(first).1);
        assert!(crate::conntrack::tracker::open(&observed, &loose(), 0).is_err(), "{first}");
    }
}

#[test]
fn a_connection_whose_segments_come_in_fragments_is_treated_liberally() {
    // The first fragment holds 400 bytes of, say, 2000.
    let fixture = play_open(
        "> A seq=9001 ack=5001 len=400 first : drop tcp_out_of_window
        > A seq=1001 ack=5001 len=400 first : ESTABLISHED assured
        < A seq=5001 ack=3001 : ESTABLISHED assured
        > A seq=3001 ack=5001 len=400 first : ESTABLISHED assured
        < A seq=5001 ack=5001 : ESTABLISHED assured
        < R seq=5001 : CLOSE assured",
    );
    assert!(Windows::load(&fixture.session().track_words()).is_liberal());
}

#[test]
fn whoever_keeps_timers_is_told_of_changes_of_state_and_of_short_timeouts() {
    let mut fixture = play_open("");
    let track = |fixture: &Fixture, text| {
        let (direction, segment) = parse(text);
        let tracked = fixture.track(direction, &Observed::Tcp(segment)).unwrap();
        (tracked.shortened, fixture.session().timeout_ticks() / 10)
    };
    assert_eq!(track(&fixture, "> A seq=1001 ack=5001 len=100"), (false, 7440));
    assert_eq!(track(&fixture, "< A seq=5001 ack=1101"), (false, 432_000));
    fixture.policy.timeout_sets[0].set(Timeout::TcpUnacknowledged, Duration::from_secs(100));
    assert_eq!(track(&fixture, "> A seq=1101 ack=5001 len=100"), (true, 100));
    assert_eq!(track(&fixture, "< A seq=5001 ack=1201"), (false, 432_000));
    assert_eq!(track(&fixture, "> FA seq=1201 ack=5001"), (true, 100));
}

#[test]
fn a_timeout_that_the_operator_shortens_is_told() {
    let mut fixture = play_open("");
    fixture.policy.timeout_sets[0].set(Timeout::TcpEstablished, Duration::from_secs(7440));
    let (direction, segment) = parse("> A seq=1001 ack=5001");
    assert!(fixture.track(direction, &Observed::Tcp(segment)).unwrap().shortened);
    assert!(!fixture.track(direction, &Observed::Tcp(segment)).unwrap().shortened);
}

proptest! {
    #[test]
    fn what_a_session_stores_is_what_was_there(
        words in any::<[u32; 8]>(), flags in any::<u16>(), scales in any::<u8>()
    ) {
        let track = TrackWords { words, flags, scales };
        prop_assert_eq!(Windows::load(&track).store(), track);
    }
}

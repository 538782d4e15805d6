//! Every arrow of the table and every timeout of TCP, one test each.
//!
//! An arrow is tested twice: as it stands in the table, and by a segment with sensible numbers that meets a connection in
//! that state.

use super::Next::{Complete, Ignore, Invalid, Reopen, To};
use super::*;
use crate::conntrack::session::Direction::{Original, Reply};
use crate::conntrack::tcp_segment::SegmentKind::{Ack, Fin, Rst, Syn, SynAck};
use crate::wire::tcp::{ACK, FIN, RST, SYN};

/// The number behind the SYN of the original and of the reply side.
const AFTER_SYN: [u32; 2] = [1001, 5001];

/// The next segment of a direction that makes sense in a connection without data.
fn segment(direction: Direction, kind: SegmentKind) -> Segment {
    let (flags, back) = match kind {
        Syn => (SYN, 1),
        SynAck => (SYN | ACK, 1),
        Fin => (FIN | ACK, 0),
        Ack => (ACK, 0),
        Rst => (RST | ACK, 0),
    };
    let (seq, ack) = (AFTER_SYN[direction.index()] - back, AFTER_SYN[direction.reverse().index()]);
    Segment { kind, flags, seq, ack, window: 1000, len: 0, whole: true, scale: None }
}

/// The windows of a connection that got to a state without data.
fn windows_in(state: State) -> Windows {
    let mut windows = Windows::opened_by(&segment(Original, Syn));
    match state {
        State::None | State::SynSent => {}
        State::SynSent2 => windows.answer(Reply, &segment(Reply, Syn)),
        State::SynRecv => windows.answer(Reply, &segment(Reply, SynAck)),
        _ => {
            windows.answer(Reply, &segment(Reply, SynAck));
            windows.accept(Original, &segment(Original, Ack), false);
        }
    }
    windows
}

/// The windows of a connection that got to `SYN_RECV` by simultaneous open, by a SYN/ACK of this direction.
fn simultaneous_by(direction: Direction) -> Windows {
    let mut windows = windows_in(State::SynSent2);
    windows.answer(direction, &segment(direction, SynAck));
    windows
}

fn completes(windows: &mut Windows, direction: Direction, kind: SegmentKind) -> bool {
    let (segment, strict) = (segment(direction, kind), TcpOptions::default());
    match step(State::SynRecv, windows, direction, &segment, strict) {
        Ok(Step::Advanced(State::Established)) => true,
        Ok(Step::Passed | Step::Advanced(State::SynRecv)) => false,
        other => panic!("{other:?}"),
    }
}

fn arrow(state: State, direction: Direction, kind: SegmentKind, expected: Next) {
    assert_eq!(next(direction, kind, state), expected);
    let mut segment = segment(direction, kind);
    let strict = TcpOptions::default();
    if expected == Reopen {
        // Not the same again.
        segment.seq += 70_000;
    }
    if state == State::None {
        let first = (direction == Original).then(|| open(&segment, strict).ok().map(|(state, _)| To(state)));
        assert_eq!(first.flatten().unwrap_or(Invalid), expected);
        return;
    }
    if expected == Complete {
        assert!(completes(&mut simultaneous_by(direction.reverse()), direction, kind));
        assert!(!completes(&mut simultaneous_by(direction), direction, kind), "sent again");
        return;
    }
    let happened = match step(state, &mut windows_in(state), direction, &segment, strict) {
        Ok(Step::Advanced(state)) => To(state),
        Ok(Step::Passed) => Ignore,
        Ok(Step::Renewed(State::SynSent)) => Reopen,
        Ok(Step::Renewed(state)) => panic!("renewed in {state:?}"),
        Err(DropReason::TcpInvalid) => Invalid,
        Err(reason) => panic!("{reason:?}"),
    };
    assert_eq!(happened, expected);
}

macro_rules! arrows {
    ($($name:ident: $state:ident, $direction:expr, $kind:expr, $next:expr;)+) => {
        $(#[test] fn $name() { arrow(State::$state, $direction, $kind, $next); })+

        #[test]
        fn every_arrow_has_a_test() {
            let mut tested = vec![$((State::$state, $direction, $kind)),+];
            assert_eq!(tested.len(), STATES * SegmentKind::ALL.len() * 2);
            for state in State::ALL.iter().filter(|state| state.is_tcp()) {
                for kind in SegmentKind::ALL {
                    for direction in [Original, Reply] {
                        let place = tested.iter().position(|test| *test == (*state, direction, *kind));
                        tested.swap_remove(place.unwrap());
                    }
                }
            }
        }
    };
}

arrows! {
    none_original_syn_to_syn_sent: None, Original, Syn, To(State::SynSent);
    none_original_syn_ack_is_invalid: None, Original, SynAck, Invalid;
    none_original_fin_is_invalid: None, Original, Fin, Invalid;
    none_original_ack_is_invalid: None, Original, Ack, Invalid;
    none_original_rst_is_invalid: None, Original, Rst, Invalid;
    none_reply_syn_is_invalid: None, Reply, Syn, Invalid;
    none_reply_syn_ack_is_invalid: None, Reply, SynAck, Invalid;
    none_reply_fin_is_invalid: None, Reply, Fin, Invalid;
    none_reply_ack_is_invalid: None, Reply, Ack, Invalid;
    none_reply_rst_is_invalid: None, Reply, Rst, Invalid;
    syn_sent_original_syn_stays: SynSent, Original, Syn, To(State::SynSent);
    syn_sent_original_syn_ack_is_invalid: SynSent, Original, SynAck, Invalid;
    syn_sent_original_fin_is_ignored: SynSent, Original, Fin, Ignore;
    syn_sent_original_ack_is_ignored: SynSent, Original, Ack, Ignore;
    syn_sent_original_rst_to_close: SynSent, Original, Rst, To(State::Close);
    syn_sent_reply_syn_to_syn_sent2: SynSent, Reply, Syn, To(State::SynSent2);
    syn_sent_reply_syn_ack_to_syn_recv: SynSent, Reply, SynAck, To(State::SynRecv);
    syn_sent_reply_fin_is_ignored: SynSent, Reply, Fin, Ignore;
    syn_sent_reply_ack_is_ignored: SynSent, Reply, Ack, Ignore;
    syn_sent_reply_rst_to_close: SynSent, Reply, Rst, To(State::Close);
    syn_sent2_original_syn_stays: SynSent2, Original, Syn, To(State::SynSent2);
    syn_sent2_original_syn_ack_to_syn_recv: SynSent2, Original, SynAck, To(State::SynRecv);
    syn_sent2_original_fin_is_ignored: SynSent2, Original, Fin, Ignore;
    syn_sent2_original_ack_is_ignored: SynSent2, Original, Ack, Ignore;
    syn_sent2_original_rst_to_close: SynSent2, Original, Rst, To(State::Close);
    syn_sent2_reply_syn_stays: SynSent2, Reply, Syn, To(State::SynSent2);
    syn_sent2_reply_syn_ack_to_syn_recv: SynSent2, Reply, SynAck, To(State::SynRecv);
    syn_sent2_reply_fin_is_ignored: SynSent2, Reply, Fin, Ignore;
    syn_sent2_reply_ack_is_ignored: SynSent2, Reply, Ack, Ignore;
    syn_sent2_reply_rst_to_close: SynSent2, Reply, Rst, To(State::Close);
    syn_recv_original_syn_is_ignored: SynRecv, Original, Syn, Ignore;
    syn_recv_original_syn_ack_completes_a_simultaneous_open: SynRecv, Original, SynAck, Complete;
    syn_recv_original_fin_to_fin_wait: SynRecv, Original, Fin, To(State::FinWait);
    syn_recv_original_ack_to_established: SynRecv, Original, Ack, To(State::Established);
    syn_recv_original_rst_to_close: SynRecv, Original, Rst, To(State::Close);
    syn_recv_reply_syn_is_ignored: SynRecv, Reply, Syn, Ignore;
    syn_recv_reply_syn_ack_completes_a_simultaneous_open: SynRecv, Reply, SynAck, Complete;
    syn_recv_reply_fin_to_fin_wait: SynRecv, Reply, Fin, To(State::FinWait);
    syn_recv_reply_ack_completes_a_simultaneous_open: SynRecv, Reply, Ack, Complete;
    syn_recv_reply_rst_to_close: SynRecv, Reply, Rst, To(State::Close);
    established_original_syn_is_ignored: Established, Original, Syn, Ignore;
    established_original_syn_ack_is_ignored: Established, Original, SynAck, Ignore;
    established_original_fin_to_fin_wait: Established, Original, Fin, To(State::FinWait);
    established_original_ack_stays: Established, Original, Ack, To(State::Established);
    established_original_rst_to_close: Established, Original, Rst, To(State::Close);
    established_reply_syn_is_invalid: Established, Reply, Syn, Invalid;
    established_reply_syn_ack_is_ignored: Established, Reply, SynAck, Ignore;
    established_reply_fin_to_fin_wait: Established, Reply, Fin, To(State::FinWait);
    established_reply_ack_stays: Established, Reply, Ack, To(State::Established);
    established_reply_rst_to_close: Established, Reply, Rst, To(State::Close);
    fin_wait_original_syn_is_ignored: FinWait, Original, Syn, Ignore;
    fin_wait_original_syn_ack_is_ignored: FinWait, Original, SynAck, Ignore;
    fin_wait_original_fin_to_last_ack: FinWait, Original, Fin, To(State::LastAck);
    fin_wait_original_ack_to_close_wait: FinWait, Original, Ack, To(State::CloseWait);
    fin_wait_original_rst_to_close: FinWait, Original, Rst, To(State::Close);
    fin_wait_reply_syn_is_invalid: FinWait, Reply, Syn, Invalid;
    fin_wait_reply_syn_ack_is_ignored: FinWait, Reply, SynAck, Ignore;
    fin_wait_reply_fin_to_last_ack: FinWait, Reply, Fin, To(State::LastAck);
    fin_wait_reply_ack_to_close_wait: FinWait, Reply, Ack, To(State::CloseWait);
    fin_wait_reply_rst_to_close: FinWait, Reply, Rst, To(State::Close);
    close_wait_original_syn_is_ignored: CloseWait, Original, Syn, Ignore;
    close_wait_original_syn_ack_is_ignored: CloseWait, Original, SynAck, Ignore;
    close_wait_original_fin_to_last_ack: CloseWait, Original, Fin, To(State::LastAck);
    close_wait_original_ack_stays: CloseWait, Original, Ack, To(State::CloseWait);
    close_wait_original_rst_to_close: CloseWait, Original, Rst, To(State::Close);
    close_wait_reply_syn_is_invalid: CloseWait, Reply, Syn, Invalid;
    close_wait_reply_syn_ack_is_ignored: CloseWait, Reply, SynAck, Ignore;
    close_wait_reply_fin_to_last_ack: CloseWait, Reply, Fin, To(State::LastAck);
    close_wait_reply_ack_stays: CloseWait, Reply, Ack, To(State::CloseWait);
    close_wait_reply_rst_to_close: CloseWait, Reply, Rst, To(State::Close);
    last_ack_original_syn_reopens: LastAck, Original, Syn, Reopen;
    last_ack_original_syn_ack_is_ignored: LastAck, Original, SynAck, Ignore;
    last_ack_original_fin_stays: LastAck, Original, Fin, To(State::LastAck);
    last_ack_original_ack_to_time_wait: LastAck, Original, Ack, To(State::TimeWait);
    last_ack_original_rst_to_close: LastAck, Original, Rst, To(State::Close);
    last_ack_reply_syn_is_invalid: LastAck, Reply, Syn, Invalid;
    last_ack_reply_syn_ack_is_ignored: LastAck, Reply, SynAck, Ignore;
    last_ack_reply_fin_stays: LastAck, Reply, Fin, To(State::LastAck);
    last_ack_reply_ack_to_time_wait: LastAck, Reply, Ack, To(State::TimeWait);
    last_ack_reply_rst_to_close: LastAck, Reply, Rst, To(State::Close);
    time_wait_original_syn_reopens: TimeWait, Original, Syn, Reopen;
    time_wait_original_syn_ack_is_ignored: TimeWait, Original, SynAck, Ignore;
    time_wait_original_fin_stays: TimeWait, Original, Fin, To(State::TimeWait);
    time_wait_original_ack_stays: TimeWait, Original, Ack, To(State::TimeWait);
    time_wait_original_rst_to_close: TimeWait, Original, Rst, To(State::Close);
    time_wait_reply_syn_is_invalid: TimeWait, Reply, Syn, Invalid;
    time_wait_reply_syn_ack_is_ignored: TimeWait, Reply, SynAck, Ignore;
    time_wait_reply_fin_stays: TimeWait, Reply, Fin, To(State::TimeWait);
    time_wait_reply_ack_stays: TimeWait, Reply, Ack, To(State::TimeWait);
    time_wait_reply_rst_to_close: TimeWait, Reply, Rst, To(State::Close);
    close_original_syn_reopens: Close, Original, Syn, Reopen;
    close_original_syn_ack_is_ignored: Close, Original, SynAck, Ignore;
    close_original_fin_stays: Close, Original, Fin, To(State::Close);
    close_original_ack_stays: Close, Original, Ack, To(State::Close);
    close_original_rst_stays: Close, Original, Rst, To(State::Close);
    close_reply_syn_is_invalid: Close, Reply, Syn, Invalid;
    close_reply_syn_ack_is_ignored: Close, Reply, SynAck, Ignore;
    close_reply_fin_stays: Close, Reply, Fin, To(State::Close);
    close_reply_ack_stays: Close, Reply, Ack, To(State::Close);
    close_reply_rst_stays: Close, Reply, Rst, To(State::Close);
}

#[test]
fn tcp_states_come_first_and_kinds_in_the_order_of_the_rows() {
    for (number, state) in State::ALL.iter().enumerate() {
        assert_eq!(*state as usize, number);
        assert_eq!(state.is_tcp(), number < STATES);
    }
    for (row, kind) in SegmentKind::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, row);
    }
    assert_eq!(next(Original, Syn, State::Udp), Invalid);
}

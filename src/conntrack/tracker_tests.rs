//! The trackers on a session of the table.

use super::*;
use crate::conntrack::testing::{Fixture, OPENED, play_under};
use crate::telemetry::DropReason;
use crate::time::Time;
use crate::wire::tcp::{ACK, FIN, PSH, RST, SYN};
use Direction::{Original, Reply};
use std::time::Duration;

/// A segment with these flags, early in a connection from 1000 to 5000.
fn tcp(direction: Direction, flags: u8) -> Observed<'static> {
    tcp_from(1000, direction, flags)
}

/// The same of a connection that the client begins with this number.
fn tcp_from(client: u32, direction: Direction, flags: u8) -> Observed<'static> {
    let (seq, ack) = if direction == Original { (client + 1, 5001) } else { (5001, client + 1) };
    let seq = if flags & SYN != 0 { seq - 1 } else { seq };
    Observed::Tcp(Segment::bare(flags, seq, ack, 1000).unwrap())
}

fn opened_by(observed: &Observed<'_>) -> Fixture {
    Fixture::opened_by(observed, Policy::default())
}

const NOTHING: Tracked = Tracked { changed: false, shortened: false, reopened: false };
const CHANGED: Tracked = Tracked { changed: true, ..NOTHING };
const SHORTENED: Tracked = Tracked { shortened: true, ..CHANGED };
const REOPENED: Tracked = Tracked { reopened: true, ..CHANGED };

#[test]
fn only_a_request_opens_a_session() {
    for (observed, expected) in [
        (tcp(Original, SYN), Ok((State::SynSent, 2400))),
        (tcp(Original, SYN | 0xc0), Ok((State::SynSent, 2400))),
        (tcp(Original, SYN | ACK), Err(DropReason::TcpNotSyn)),
        (tcp(Original, ACK), Err(DropReason::TcpNotSyn)),
        (tcp(Original, FIN | ACK), Err(DropReason::TcpNotSyn)),
        (tcp(Original, RST), Err(DropReason::TcpNotSyn)),
        (Observed::Udp, Ok((State::Udp, 3000))),
        (Observed::IcmpRequest, Ok((State::Icmp, 600))),
        (Observed::IcmpReply, Err(DropReason::IcmpUnsolicited)),
        (Observed::IcmpError, Err(DropReason::IcmpUnsolicited)),
        (Observed::IcmpOther(9), Err(DropReason::IcmpTypeUnsupported)),
    ] {
        let opening = open(&observed, &Policy::default(), 0);
        assert_eq!(opening.map(|opening| (opening.state, opening.timeout_ticks)), expected, "{observed:?}");
    }
}

#[test]
fn impossible_flags_are_refused_when_they_are_read() {
    let mut header = [0; 20];
    header[12] = 5 << 4;
    for flags in [SYN | FIN, 0, FIN, RST | FIN] {
        header[13] = flags;
        let read = Observed::read(Kind::Tcp { flags }, Fragment::Whole, &header);
        assert_eq!(read, Err(DropReason::TcpInvalid), "{flags:#x}");
    }
}

#[test]
fn a_packet_is_observed_as_what_it_is() {
    let bytes = [7; 8];
    for (kind, observed) in [
        (Kind::Udp, Observed::Udp),
        (Kind::IcmpRequest, Observed::IcmpRequest),
        (Kind::IcmpReply, Observed::IcmpReply),
        (Kind::IcmpError, Observed::IcmpError),
        (Kind::IcmpOther(9), Observed::IcmpOther(9)),
        (Kind::Gre, Observed::Gre),
        (Kind::Other, Observed::Other),
    ] {
        assert_eq!(Observed::read(kind, Fragment::Whole, &bytes), Ok(observed));
    }
}

#[test]
fn tcp_states_flags_and_timeouts_follow_the_connection() {
    let mut fixture = opened_by(&tcp(Original, SYN));
    for (client, direction, flags, outcome, state, timeout, (seen_reply, assured)) in [
        (1000, Original, SYN, NOTHING, State::SynSent, 240, (false, false)),
        (1000, Reply, SYN | ACK, CHANGED, State::SynRecv, 240, (true, false)),
        (1000, Original, ACK, CHANGED, State::Established, 432_000, (true, true)),
        (1000, Reply, ACK | PSH, NOTHING, State::Established, 432_000, (true, true)),
        (1000, Original, FIN | ACK, SHORTENED, State::FinWait, 240, (true, true)),
        (1000, Reply, ACK, CHANGED, State::CloseWait, 240, (true, true)),
        (1000, Reply, FIN | ACK, CHANGED, State::LastAck, 240, (true, true)),
        (1000, Original, ACK, CHANGED, State::TimeWait, 240, (true, true)),
        (101000, Original, SYN, REOPENED, State::SynSent, 240, (false, false)),
        (101000, Reply, SYN | ACK, CHANGED, State::SynRecv, 240, (true, false)),
        (101000, Original, ACK, CHANGED, State::Established, 432_000, (true, true)),
        (101000, Reply, RST, SHORTENED, State::Close, 240, (true, true)),
        (201000, Original, SYN, REOPENED, State::SynSent, 240, (false, false)),
    ] {
        fixture.now.0 += 7;
        let observed = tcp_from(client, direction, flags);
        assert_eq!(fixture.track(direction, &observed), Ok(outcome), "{state:?}");
        let session = fixture.session();
        assert_eq!((session.state(), session.timeout_ticks()), (state, timeout * 10));
        assert_eq!((session.seen_reply(), session.assured()), (seen_reply, assured), "{state:?}");
        assert_eq!(session.last_seen(), fixture.now);
    }
    assert_eq!(fixture.session().created(), OPENED);
}

#[test]
fn a_refused_packet_changes_nothing() {
    let fixture = opened_by(&tcp(Original, SYN));
    let before = fixture.picture();
    for (direction, observed, reason) in [
        (Original, tcp(Original, SYN | ACK), DropReason::TcpInvalid),
        (Reply, tcp(Reply, RST), DropReason::TcpRstInvalid),
        (Original, Observed::IcmpReply, DropReason::IcmpUnsolicited),
        (Reply, Observed::IcmpRequest, DropReason::IcmpUnsolicited),
        (Original, Observed::IcmpOther(9), DropReason::IcmpTypeUnsupported),
    ] {
        assert_eq!(fixture.track(direction, &observed), Err(reason), "{observed:?}");
    }
    // Nor does an ICMP error, which passes.
    assert_eq!(fixture.track(Reply, &Observed::IcmpError), Ok(NOTHING));
    assert_eq!(fixture.picture(), before);
}

#[test]
fn udp_is_a_stream_once_answered_and_assured_once_it_goes_on() {
    let mut policy = Policy::default();
    policy.timeout_sets[0].set(Timeout::UdpStream, Duration::from_secs(120));
    let fixture = Fixture::opened_by(&Observed::Udp, policy);
    for (direction, outcome, state, timeout, (seen_reply, assured)) in [
        (Original, NOTHING, State::Udp, 300, (false, false)),
        (Reply, SHORTENED, State::UdpStream, 120, (true, false)),
        (Reply, NOTHING, State::UdpStream, 120, (true, false)),
        (Original, CHANGED, State::UdpStream, 120, (true, true)),
        (Reply, NOTHING, State::UdpStream, 120, (true, true)),
    ] {
        assert_eq!(fixture.track(direction, &Observed::Udp), Ok(outcome));
        let session = fixture.session();
        assert_eq!((session.state(), session.timeout_ticks()), (state, timeout * 10));
        assert_eq!((session.seen_reply(), session.assured()), (seen_reply, assured));
    }
}

#[test]
fn an_icmp_query_is_never_assured() {
    let mut fixture = opened_by(&Observed::IcmpRequest);
    fixture.now = Tick(1010);
    for (direction, observed, outcome) in [
        (Reply, Observed::IcmpReply, CHANGED),
        (Original, Observed::IcmpRequest, NOTHING),
        (Reply, Observed::IcmpReply, NOTHING),
    ] {
        assert_eq!(fixture.track(direction, &observed), Ok(outcome));
    }
    let session = fixture.session();
    assert_eq!((session.state(), session.seen_reply(), session.assured()), (State::Icmp, true, false));
    assert_eq!(session.last_seen(), Tick(1010));
}

#[test]
fn a_later_fragment_counts_as_activity_whatever_its_flags_would_be() {
    let fixture = opened_by(&tcp(Original, SYN));
    let session = fixture.session();
    touch(session, Original, 1500, Tick(1234));
    assert_eq!((session.state(), session.last_seen()), (State::SynSent, Tick(1234)));
    assert!(!session.seen_reply());
}

#[test]
fn a_session_expires_never_early_and_at_most_one_tick_late() {
    const TICK_NANOS: u64 = 100_000_000;
    for offset in [0, 1, TICK_NANOS / 2, TICK_NANOS - 1] {
        for length in [60_000_000_000, 60_000_000_001, 60_099_999_999] {
            let mut fixture = opened_by(&Observed::IcmpRequest);
            fixture.policy.timeout_sets[0].set(Timeout::Icmp, Duration::from_nanos(length));
            let seen = Time::from_nanos(500 * TICK_NANOS + offset);
            fixture.now = seen.tick();
            fixture.track(Original, &Observed::IcmpRequest).unwrap();
            let session = fixture.session();
            let expired_after = |idle| session.is_expired((seen + Duration::from_nanos(idle)).tick());
            assert!(!expired_after(0));
            assert!(!expired_after(length - 1), "early: {offset} {length}");
            assert!(!expired_after(length), "early: {offset} {length}");
            // The timeout itself is rounded up to a whole tick, then at most one more.
            assert!(expired_after(length.next_multiple_of(TICK_NANOS) + TICK_NANOS), "late: {offset}");
        }
    }
}

/// A policy in which every timeout has a length of its own: those that limit open connections are longer than all but
/// that of open connections itself.
fn all_different() -> Policy {
    let mut policy = Policy::default();
    for (number, timeout) in (0..).zip(Timeout::ALL) {
        let seconds = match timeout {
            Timeout::TcpMaxRetrans => 1000,
            Timeout::TcpUnacknowledged => 2000,
            Timeout::TcpEstablished => 3000,
            _ => 100 + 10 * number,
        };
        policy.timeout_sets[0].set(*timeout, Duration::from_secs(seconds));
    }
    policy
}

const SYN_SENT: &str = "> S seq=1000 : SYN_SENT\n";
const SYN_RECV: &str = "< SA seq=5000 ack=1001 : SYN_RECV\n";
const ESTABLISHED: &str = "> A seq=1001 ack=5001 : ESTABLISHED assured\n";
const FIN_WAIT: &str = "> FA seq=1001 ack=5001 : FIN_WAIT assured\n";
const CLOSE_WAIT: &str = "< A seq=5001 ack=1002 : CLOSE_WAIT assured\n";
const LAST_ACK: &str = "< FA seq=5001 ack=1002 : LAST_ACK assured\n";
const TIME_WAIT: &str = "> A seq=1002 ack=5002 : TIME_WAIT assured\n";

/// A connection after these lines ends when this timeout has passed, and not before.
fn ends_after(timeout: Timeout, lines: &[&str]) {
    let fixture = play_under(all_different(), &lines.concat());
    let (session, length) = (fixture.session(), fixture.policy.timeouts(0).ticks(timeout));
    assert_eq!(session.timeout_ticks(), length);
    assert!(!session.is_expired(Tick(session.last_seen().0 + length)));
    assert!(session.is_expired(Tick(session.last_seen().0 + length + 1)));
}

macro_rules! timeout_rows {
    ($($name:ident: $timeout:ident, $($line:expr),+;)+) => {
        $(#[test] fn $name() { ends_after(Timeout::$timeout, &[$($line),+, "\n"]); })+

        #[test]
        fn every_timeout_of_tcp_has_a_test() {
            for timeout in Timeout::ALL.iter().filter(|timeout| timeout.name().starts_with("tcp_")) {
                assert!([$(Timeout::$timeout),+].contains(timeout), "{}", timeout.name());
            }
        }
    };
}

timeout_rows! {
    tcp_syn_sent_is_the_timeout_after_a_syn: TcpSynSent, SYN_SENT;
    tcp_syn_sent_is_the_timeout_after_two_syns: TcpSynSent, SYN_SENT, "< S seq=5000 : SYN_SENT2";
    tcp_syn_recv_is_the_timeout_after_a_syn_ack: TcpSynRecv, SYN_SENT, SYN_RECV;
    tcp_established_is_the_timeout_of_an_open_connection: TcpEstablished, SYN_SENT, SYN_RECV, ESTABLISHED;
    tcp_fin_wait_is_the_timeout_after_a_fin: TcpFinWait, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT;
    tcp_close_wait_is_the_timeout_after_its_acknowledgement: TcpCloseWait, SYN_SENT, SYN_RECV, ESTABLISHED,
        FIN_WAIT, CLOSE_WAIT;
    tcp_last_ack_is_the_timeout_after_both_fins: TcpLastAck, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT,
        CLOSE_WAIT, LAST_ACK;
    tcp_time_wait_is_the_timeout_after_both_acknowledgements: TcpTimeWait, SYN_SENT, SYN_RECV, ESTABLISHED,
        FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT;
    tcp_close_is_the_timeout_after_a_rst: TcpClose, SYN_SENT, SYN_RECV, ESTABLISHED,
        "> R seq=1001 : CLOSE assured";
    tcp_unacknowledged_is_the_timeout_of_data_without_an_answer: TcpUnacknowledged, SYN_SENT, SYN_RECV,
        ESTABLISHED, "> A seq=1001 ack=5001 len=10 : ESTABLISHED assured";
    tcp_max_retrans_is_the_timeout_of_data_that_comes_again_and_again: TcpMaxRetrans, SYN_SENT, SYN_RECV,
        ESTABLISHED, "> A seq=1001 ack=5001 len=10 : ESTABLISHED assured\n",
        "> A seq=1001 ack=5001 len=10 : ESTABLISHED assured timeout=2000\n",
        "> A seq=1001 ack=5001 len=10 : ESTABLISHED assured timeout=2000\n",
        "> A seq=1001 ack=5001 len=10 : ESTABLISHED assured";
}

//! SCTP, DCCP, GRE and the protocols without a tracker of their own, on a session of the table.

use super::*;
use crate::conntrack::testing::Fixture;
use crate::wire::sctp as wire;
use Direction::{Original, Reply};
use std::time::Duration;

const NOTHING: Tracked = Tracked { changed: false, shortened: false, reopened: false };
const CHANGED: Tracked = Tracked { changed: true, ..NOTHING };
const SHORTENED: Tracked = Tracked { shortened: true, ..CHANGED };
const REOPENED: Tracked = Tracked { reopened: true, ..CHANGED };

/// An SCTP packet with one chunk.
fn sctp_packet(tag: u32, chunk: u8, initiate_tag: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(tag.to_be_bytes());
    bytes.extend([0, 0, 0, 0, chunk, 0, 0, 8]);
    bytes.extend(initiate_tag.to_be_bytes());
    bytes
}

fn dccp_packet(kind: u8) -> Vec<u8> {
    [&[0; 4][..], &[4, 0, 0, 0, kind << 1 | 1, 0, 0, 0], &[0; 4]].concat()
}

fn read(kind: Kind, bytes: &[u8]) -> Observed<'_> {
    Observed::read(kind, Fragment::Whole, bytes).unwrap()
}

/// A packet and what it leads to: direction, outcome, state, timeout in seconds, flags seen_reply and assured.
type Row<'a> = (Direction, Observed<'a>, Tracked, State, u32, (bool, bool));

fn check(fixture: &mut Fixture, rows: &[Row<'_>]) {
    for (direction, observed, outcome, state, timeout, flags) in rows {
        fixture.now.0 += 7;
        assert_eq!(fixture.track(*direction, observed), Ok(*outcome), "{observed:?}");
        let session = fixture.session();
        assert_eq!((session.state(), session.timeout_ticks()), (*state, timeout * 10), "{observed:?}");
        assert_eq!((session.seen_reply(), session.assured()), *flags, "{observed:?}");
        assert_eq!(session.last_seen(), fixture.now);
    }
}

#[test]
fn sctp_states_flags_and_timeouts_follow_the_association() {
    let packets = [
        sctp_packet(0, wire::INIT, 11),
        sctp_packet(11, wire::INIT_ACK, 22),
        sctp_packet(22, wire::COOKIE_ECHO, 0),
        sctp_packet(11, wire::COOKIE_ACK, 0),
        sctp_packet(22, wire::DATA, 0),
        sctp_packet(11, wire::SHUTDOWN, 0),
        sctp_packet(22, wire::SHUTDOWN_ACK, 0),
        sctp_packet(11, wire::SHUTDOWN_COMPLETE, 0),
    ];
    let [init, init_ack, echo, ack, data, shutdown, shutdown_ack, complete] =
        packets.each_ref().map(|bytes| read(Kind::Sctp, bytes));
    let mut fixture = Fixture::opened_by(&init, Policy::default());
    assert_eq!((fixture.session().state(), fixture.session().timeout_ticks()), (State::SctpClosed, 100));
    check(
        &mut fixture,
        &[
            (Reply, init_ack, SHORTENED, State::SctpCookieWait, 3, (true, false)),
            (Original, echo, CHANGED, State::SctpCookieEchoed, 3, (true, false)),
            (Reply, ack, CHANGED, State::SctpEstablished, 210, (true, true)),
            (Original, data, NOTHING, State::SctpEstablished, 210, (true, true)),
            (Reply, shutdown, SHORTENED, State::SctpShutdownRecd, 3, (true, true)),
            (Original, shutdown_ack, CHANGED, State::SctpShutdownAckSent, 3, (true, true)),
            (Reply, complete, CHANGED, State::SctpClosed, 10, (true, true)),
        ],
    );
}

#[test]
fn an_sctp_packet_that_is_refused_changes_nothing_and_a_repeated_init_no_timer() {
    let packets = [
        sctp_packet(0, wire::INIT, 11),
        sctp_packet(99, wire::INIT_ACK, 22),
        sctp_packet(11, wire::DATA, 0),
        sctp_packet(0, wire::INIT, 12),
    ];
    let [init, wrong_tag, too_early, again] = packets.each_ref().map(|bytes| read(Kind::Sctp, bytes));
    let mut fixture = Fixture::opened_by(&init, Policy::default());
    let before = fixture.picture();
    assert_eq!(fixture.track(Reply, &wrong_tag), Err(DropReason::SctpInvalid));
    assert_eq!(fixture.track(Original, &too_early), Err(DropReason::SctpInvalid));
    assert_eq!(fixture.picture(), before);
    let opened = fixture.session().last_seen();
    fixture.now.0 += 50;
    assert_eq!(fixture.track(Original, &again), Ok(NOTHING));
    assert_eq!((fixture.session().last_seen(), fixture.session().timeout_ticks()), (opened, 100));
    // Its tag is that of the answer from now on.
    let answer = sctp_packet(12, wire::INIT_ACK, 22);
    assert!(fixture.track(Reply, &read(Kind::Sctp, &answer)).is_ok());
}

#[test]
fn dccp_states_flags_and_timeouts_follow_the_connection() {
    let packets: Vec<_> = (0..10).map(dccp_packet).collect();
    let [request, response, data, ack, data_ack, close_req, close, reset, sync, _] =
        packets.iter().map(|bytes| read(Kind::Dccp, bytes)).collect::<Vec<_>>().try_into().unwrap();
    let mut fixture = Fixture::opened_by(&request, Policy::default());
    assert_eq!((fixture.session().state(), fixture.session().timeout_ticks()), (State::DccpRequest, 2400));
    check(
        &mut fixture,
        &[
            (Reply, response, CHANGED, State::DccpRespond, 480, (true, false)),
            (Original, ack, CHANGED, State::DccpPartopen, 480, (true, true)),
            (Reply, data_ack, CHANGED, State::DccpOpen, 43_200, (true, true)),
            (Original, data, NOTHING, State::DccpOpen, 43_200, (true, true)),
            (Reply, close_req, SHORTENED, State::DccpClosereq, 240, (true, true)),
            (Original, close, CHANGED, State::DccpClosing, 240, (true, true)),
            (Reply, reset, CHANGED, State::DccpTimewait, 240, (true, true)),
            (Original, request, REOPENED, State::DccpRequest, 240, (false, false)),
            (Reply, reset, CHANGED, State::DccpTimewait, 240, (true, false)),
        ],
    );
    // What passes without effect keeps nothing alive; what can not be is refused.
    let seen = fixture.session().last_seen();
    fixture.now.0 += 7;
    assert_eq!(fixture.track(Original, &sync), Ok(NOTHING));
    assert_eq!(fixture.session().last_seen(), seen);
    let before = fixture.picture();
    assert_eq!(fixture.track(Original, &data), Err(DropReason::DccpInvalid));
    assert_eq!(fixture.picture(), before);
    assert_eq!(open(&ack, &Policy::default(), 0).unwrap_err(), DropReason::DccpNotRequest);
}

#[test]
fn gre_is_a_stream_once_answered_and_assured_once_it_goes_on() {
    let mut fixture = Fixture::opened_by(&Observed::Gre, Policy::default());
    check(
        &mut fixture,
        &[
            (Original, Observed::Gre, NOTHING, State::Gre, 30, (false, false)),
            (Reply, Observed::Gre, CHANGED, State::GreStream, 180, (true, false)),
            (Original, Observed::Gre, CHANGED, State::GreStream, 180, (true, true)),
        ],
    );
}

#[test]
fn another_protocol_has_one_timeout_and_is_assured_as_udp_is() {
    let mut policy = Policy::default();
    policy.timeout_sets[0].set(Timeout::Generic, Duration::from_secs(77));
    let mut fixture = Fixture::opened_by(&Observed::Other, policy);
    check(
        &mut fixture,
        &[
            (Original, Observed::Other, NOTHING, State::Generic, 77, (false, false)),
            (Reply, Observed::Other, CHANGED, State::Generic, 77, (true, false)),
            (Reply, Observed::Other, NOTHING, State::Generic, 77, (true, false)),
            (Original, Observed::Other, CHANGED, State::Generic, 77, (true, true)),
        ],
    );
}

#[test]
fn a_header_that_the_parser_can_not_have_seen_is_dropped_by_name() {
    for kind in [Kind::Sctp, Kind::Dccp] {
        assert_eq!(Observed::read(kind, Fragment::Whole, &[0; 7]), Err(DropReason::Truncated));
    }
}

/// The timeout of every state that these protocols have, and its default.
macro_rules! timeouts {
    ($($test:ident $state:ident $name:literal $seconds:literal;)+) => {
        $(#[test]
        fn $test() {
            let timeout = State::$state.timeout();
            assert_eq!((timeout.name(), timeout.default_length()), ($name, Duration::from_secs($seconds)));
        })+
    };
}

timeouts! {
    sctp_closed_lasts_10_s SctpClosed "sctp_closed" 10;
    sctp_cookie_wait_lasts_3_s SctpCookieWait "sctp_cookie_wait" 3;
    sctp_cookie_echoed_lasts_3_s SctpCookieEchoed "sctp_cookie_echoed" 3;
    sctp_established_lasts_210_s SctpEstablished "sctp_established" 210;
    sctp_shutdown_sent_lasts_3_s SctpShutdownSent "sctp_shutdown_sent" 3;
    sctp_shutdown_recd_lasts_3_s SctpShutdownRecd "sctp_shutdown_recd" 3;
    sctp_shutdown_ack_sent_lasts_3_s SctpShutdownAckSent "sctp_shutdown_ack_sent" 3;
    sctp_heartbeat_sent_lasts_30_s SctpHeartbeatSent "sctp_heartbeat_sent" 30;
    dccp_request_lasts_4_min DccpRequest "dccp_request" 240;
    dccp_respond_lasts_8_min DccpRespond "dccp_respond" 480;
    dccp_partopen_lasts_8_min DccpPartopen "dccp_partopen" 480;
    dccp_open_lasts_12_h DccpOpen "dccp_open" 43_200;
    dccp_closereq_lasts_4_min DccpClosereq "dccp_closereq" 240;
    dccp_closing_lasts_4_min DccpClosing "dccp_closing" 240;
    dccp_timewait_lasts_4_min DccpTimewait "dccp_timewait" 240;
    gre_lasts_30_s Gre "gre" 30;
    gre_stream_lasts_3_min GreStream "gre_stream" 180;
    generic_lasts_10_min Generic "generic" 600;
}

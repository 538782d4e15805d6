//! Tests of the DCCP tracker: every arrow of its table, and connections as they live and die.

use super::Packet::*;
use super::*;
use Direction::{Original, Reply};

/// Every arrow, written down a second time: by state, what a packet of the client and of the server does in it. `=` is
/// "stays", `-` "passes without effect", `!` "can not be". Each is a test of its own, named `state::packet::role`.
macro_rules! arrows {
    ($($module:ident $state:ident { $($row:ident $packet:ident: $client:tt $server:tt;)+ })+) => {
        mod arrows {
            use super::*;
            $(mod $module {
                use super::*;
                const HERE: State = State::$state;
                $(mod $row {
                    use super::*;
                    #[test]
                    fn client() {
                        assert_eq!(next(Role::Client, $packet, HERE), expected!($client));
                    }
                    #[test]
                    fn server() {
                        assert_eq!(next(Role::Server, $packet, HERE), expected!($server));
                    }
                })+
            })+
        }

        #[test]
        fn every_arrow_of_the_table_is_tested() {
            let states = [$(stringify!($module)),+].len();
            let rows = [$($(stringify!($row)),+),+].len();
            assert_eq!((states, rows), (8, 8 * Packet::ALL.len()));
        }
    };
}

macro_rules! expected {
    (=) => {
        Next::To(HERE)
    };
    (-) => {
        Next::Ignore
    };
    (!) => {
        Next::Invalid
    };
    ($state:ident) => {
        Next::To(State::$state)
    };
}

arrows! {
    none None {
        request Request: DccpRequest !;
        response Response: ! !;
        data Data: ! !;
        ack Ack: ! !;
        data_ack DataAck: ! !;
        close_req CloseReq: ! !;
        close Close: ! !;
        reset Reset: ! !;
        sync Sync: ! !;
        sync_ack SyncAck: ! !;
    }
    request DccpRequest {
        request Request: = -;
        response Response: - DccpRespond;
        data Data: ! !;
        ack Ack: ! !;
        data_ack DataAck: ! !;
        close_req CloseReq: ! !;
        close Close: ! !;
        reset Reset: DccpTimewait DccpTimewait;
        sync Sync: - -;
        sync_ack SyncAck: - -;
    }
    respond DccpRespond {
        request Request: = -;
        response Response: - =;
        data Data: ! !;
        ack Ack: DccpPartopen !;
        data_ack DataAck: DccpPartopen !;
        close_req CloseReq: ! !;
        close Close: ! !;
        reset Reset: DccpTimewait DccpTimewait;
        sync Sync: - -;
        sync_ack SyncAck: - -;
    }
    partopen DccpPartopen {
        request Request: - -;
        response Response: - -;
        data Data: ! DccpOpen;
        ack Ack: = DccpOpen;
        data_ack DataAck: = DccpOpen;
        close_req CloseReq: ! DccpClosereq;
        close Close: DccpClosing DccpClosing;
        reset Reset: DccpTimewait DccpTimewait;
        sync Sync: - -;
        sync_ack SyncAck: - -;
    }
    open DccpOpen {
        request Request: - -;
        response Response: - -;
        data Data: = =;
        ack Ack: = =;
        data_ack DataAck: = =;
        close_req CloseReq: ! DccpClosereq;
        close Close: DccpClosing DccpClosing;
        reset Reset: DccpTimewait DccpTimewait;
        sync Sync: - -;
        sync_ack SyncAck: - -;
    }
    closereq DccpClosereq {
        request Request: - -;
        response Response: - -;
        data Data: = !;
        ack Ack: = !;
        data_ack DataAck: = !;
        close_req CloseReq: ! =;
        close Close: DccpClosing !;
        reset Reset: DccpTimewait DccpTimewait;
        sync Sync: - -;
        sync_ack SyncAck: - -;
    }
    closing DccpClosing {
        request Request: - -;
        response Response: - -;
        data Data: = =;
        ack Ack: = =;
        data_ack DataAck: = =;
        close_req CloseReq: ! DccpClosereq;
        close Close: = =;
        reset Reset: DccpTimewait DccpTimewait;
        sync Sync: - -;
        sync_ack SyncAck: - -;
    }
    timewait DccpTimewait {
        request Request: DccpRequest DccpRequest;
        response Response: ! !;
        data Data: ! !;
        ack Ack: ! !;
        data_ack DataAck: ! !;
        close_req CloseReq: ! !;
        close Close: ! !;
        reset Reset: - -;
        sync Sync: - -;
        sync_ack SyncAck: - -;
    }
}

#[test]
fn states_of_other_protocols_are_invalid() {
    for state in State::ALL {
        let ours = *state == State::None || format!("{state:?}").starts_with("Dccp");
        assert_eq!(next(Role::Client, Reset, *state) == Next::Invalid, *state == State::None || !ours);
    }
}

#[test]
fn only_a_request_opens_a_connection() {
    for kind in 0..=u8::MAX {
        let expected = match kind {
            0 => Ok(State::DccpRequest),
            1..=9 => Err(DropReason::DccpNotRequest),
            _ => Err(DropReason::DccpInvalid),
        };
        assert_eq!(open(kind).map(|(state, _)| state), expected, "{kind}");
    }
}

/// Plays packets from a Request on; `None` is refused, and the state is that after each.
fn play(packets: &[(Direction, Packet, Option<State>, bool)]) -> Connection {
    let (mut state, mut connection) = open(dccp::REQUEST).unwrap();
    for (direction, packet, expected, assured) in packets {
        let before = connection;
        let step = track(&mut connection, state, *direction, *packet as u8);
        assert_eq!(Connection::load(&connection.store()), connection, "a session keeps all of it");
        match (step, expected) {
            (Err(reason), None) => assert_eq!((reason, connection), (DropReason::DccpInvalid, before)),
            (Ok(Step::Renew(next)), Some(expected)) => {
                assert_eq!((next, false), (*expected, *assured), "{packet:?}");
                state = next;
            }
            (Ok(Step::Pass), Some(expected)) => {
                assert_eq!((state, *assured), (*expected, false), "{packet:?}")
            }
            (Ok(Step::To { state: next, assured: proved }), Some(expected)) => {
                assert_eq!((next, proved), (*expected, *assured), "{packet:?}");
                state = next;
            }
            (step, expected) => panic!("{packet:?}: {step:?}, not {expected:?}"),
        }
    }
    connection
}

#[test]
fn a_connection_from_request_to_the_last_reset() {
    let connection = play(&[
        (Original, Request, Some(State::DccpRequest), false),
        (Reply, Response, Some(State::DccpRespond), false),
        (Original, Ack, Some(State::DccpPartopen), true),
        (Original, DataAck, Some(State::DccpPartopen), false),
        (Original, Data, None, false),
        (Reply, DataAck, Some(State::DccpOpen), false),
        (Original, Data, Some(State::DccpOpen), false),
        (Reply, Sync, Some(State::DccpOpen), false),
        (Original, SyncAck, Some(State::DccpOpen), false),
        (Original, CloseReq, None, false),
        (Reply, CloseReq, Some(State::DccpClosereq), false),
        (Original, Close, Some(State::DccpClosing), false),
        (Original, Close, Some(State::DccpClosing), false),
        (Reply, Reset, Some(State::DccpTimewait), false),
        (Reply, Reset, Some(State::DccpTimewait), false),
        (Original, Data, None, false),
        (Original, Request, Some(State::DccpRequest), false),
        (Reply, Response, Some(State::DccpRespond), false),
    ]);
    assert_eq!(connection, Connection { client: Original, requested: None });
}

#[test]
fn after_the_end_the_other_side_may_be_the_client() {
    let connection = play(&[
        (Reply, Reset, Some(State::DccpTimewait), false),
        (Reply, Request, Some(State::DccpRequest), false),
        (Original, Response, Some(State::DccpRespond), false),
        (Reply, Ack, Some(State::DccpPartopen), true),
        (Original, CloseReq, Some(State::DccpClosereq), false),
    ]);
    assert_eq!(connection.client, Reply);
}

#[test]
fn a_request_in_the_middle_counts_once_the_other_side_responds() {
    let connection = play(&[
        (Reply, Response, Some(State::DccpRespond), false),
        (Original, Ack, Some(State::DccpPartopen), true),
        (Reply, Ack, Some(State::DccpOpen), false),
        (Original, Request, Some(State::DccpOpen), false),
        // A packet between them: the Response answers nothing.
        (Original, Data, Some(State::DccpOpen), false),
        (Reply, Response, Some(State::DccpOpen), false),
        (Original, Request, Some(State::DccpOpen), false),
        (Reply, Response, Some(State::DccpRespond), false),
        (Original, Ack, Some(State::DccpPartopen), true),
        (Reply, Ack, Some(State::DccpOpen), false),
        // The other way round.
        (Reply, Request, Some(State::DccpOpen), false),
        (Original, Response, Some(State::DccpRespond), false),
        (Reply, Ack, Some(State::DccpPartopen), true),
    ]);
    assert_eq!(connection.client, Reply);
}

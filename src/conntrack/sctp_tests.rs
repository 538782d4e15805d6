//! Tests of the SCTP tracker: every arrow of its table, and associations as they live and die.

use super::Chunk::*;
use super::*;
use Direction::{Original, Reply};

/// Every arrow, written down a second time: by state, what a chunk of the original and of the reply direction does in
/// it. `=` is "stays", `!` "can not be". Each is a test of its own, named `state::chunk::direction`.
macro_rules! arrows {
    ($($module:ident $state:ident { $($row:ident $chunk:ident: $original:tt $reply:tt;)+ })+) => {
        mod arrows {
            use super::*;
            $(mod $module {
                use super::*;
                const HERE: State = State::$state;
                $(mod $row {
                    use super::*;
                    #[test]
                    fn original() {
                        assert_eq!(next(Original, $chunk, HERE), expected!($original));
                    }
                    #[test]
                    fn reply() {
                        assert_eq!(next(Reply, $chunk, HERE), expected!($reply));
                    }
                })+
            })+
        }

        #[test]
        fn every_arrow_of_the_table_is_tested() {
            let states = [$(stringify!($module)),+].len();
            let rows = [$($(stringify!($row)),+),+].len();
            assert_eq!((states, rows), (9, 9 * Chunk::ALL.len()));
        }
    };
}

macro_rules! expected {
    (=) => {
        Next::To(HERE)
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
        init Init: SctpClosed !;
        init_ack InitAck: ! !;
        abort Abort: ! !;
        shutdown Shutdown: ! !;
        shutdown_ack ShutdownAck: SctpShutdownAckSent !;
        error Error: ! !;
        cookie_echo CookieEcho: ! !;
        cookie_ack CookieAck: ! !;
        shutdown_complete ShutdownComplete: ! !;
        heartbeat Heartbeat: SctpHeartbeatSent !;
        heartbeat_ack HeartbeatAck: SctpClosed !;
        others Other: ! !;
    }
    closed SctpClosed {
        init Init: = =;
        init_ack InitAck: SctpCookieWait SctpCookieWait;
        abort Abort: = =;
        shutdown Shutdown: = =;
        shutdown_ack ShutdownAck: = =;
        error Error: = =;
        cookie_echo CookieEcho: = =;
        cookie_ack CookieAck: = =;
        shutdown_complete ShutdownComplete: = =;
        heartbeat Heartbeat: = =;
        heartbeat_ack HeartbeatAck: = =;
        others Other: = =;
    }
    cookie_wait SctpCookieWait {
        init Init: = =;
        init_ack InitAck: = =;
        abort Abort: SctpClosed SctpClosed;
        shutdown Shutdown: = =;
        shutdown_ack ShutdownAck: = =;
        error Error: = =;
        cookie_echo CookieEcho: SctpCookieEchoed SctpCookieEchoed;
        cookie_ack CookieAck: = =;
        shutdown_complete ShutdownComplete: = =;
        heartbeat Heartbeat: = =;
        heartbeat_ack HeartbeatAck: = =;
        others Other: = =;
    }
    cookie_echoed SctpCookieEchoed {
        init Init: = =;
        init_ack InitAck: = =;
        abort Abort: SctpClosed SctpClosed;
        shutdown Shutdown: = =;
        shutdown_ack ShutdownAck: = =;
        error Error: = SctpClosed;
        cookie_echo CookieEcho: = =;
        cookie_ack CookieAck: SctpEstablished SctpEstablished;
        shutdown_complete ShutdownComplete: = =;
        heartbeat Heartbeat: = =;
        heartbeat_ack HeartbeatAck: = =;
        others Other: = =;
    }
    established SctpEstablished {
        init Init: = =;
        init_ack InitAck: = =;
        abort Abort: SctpClosed SctpClosed;
        shutdown Shutdown: SctpShutdownSent SctpShutdownRecd;
        shutdown_ack ShutdownAck: = =;
        error Error: = =;
        cookie_echo CookieEcho: = =;
        cookie_ack CookieAck: = =;
        shutdown_complete ShutdownComplete: = =;
        heartbeat Heartbeat: = =;
        heartbeat_ack HeartbeatAck: = =;
        others Other: = =;
    }
    shutdown_sent SctpShutdownSent {
        init Init: SctpClosed =;
        init_ack InitAck: = =;
        abort Abort: SctpClosed SctpClosed;
        shutdown Shutdown: = =;
        shutdown_ack ShutdownAck: SctpShutdownAckSent SctpShutdownAckSent;
        error Error: = =;
        cookie_echo CookieEcho: = =;
        cookie_ack CookieAck: = =;
        shutdown_complete ShutdownComplete: = =;
        heartbeat Heartbeat: = =;
        heartbeat_ack HeartbeatAck: = =;
        others Other: = =;
    }
    shutdown_recd SctpShutdownRecd {
        init Init: SctpClosed =;
        init_ack InitAck: = =;
        abort Abort: SctpClosed SctpClosed;
        shutdown Shutdown: = =;
        shutdown_ack ShutdownAck: SctpShutdownAckSent SctpShutdownAckSent;
        error Error: = =;
        cookie_echo CookieEcho: = =;
        cookie_ack CookieAck: = =;
        shutdown_complete ShutdownComplete: = =;
        heartbeat Heartbeat: = =;
        heartbeat_ack HeartbeatAck: = =;
        others Other: = =;
    }
    shutdown_ack_sent SctpShutdownAckSent {
        init Init: = =;
        init_ack InitAck: = =;
        abort Abort: SctpClosed SctpClosed;
        shutdown Shutdown: = =;
        shutdown_ack ShutdownAck: = =;
        error Error: = =;
        cookie_echo CookieEcho: = =;
        cookie_ack CookieAck: = =;
        shutdown_complete ShutdownComplete: SctpClosed SctpClosed;
        heartbeat Heartbeat: = =;
        heartbeat_ack HeartbeatAck: = =;
        others Other: = =;
    }
    heartbeat_sent SctpHeartbeatSent {
        init Init: SctpCookieWait !;
        init_ack InitAck: SctpClosed !;
        abort Abort: SctpClosed SctpClosed;
        shutdown Shutdown: SctpClosed !;
        shutdown_ack ShutdownAck: SctpShutdownAckSent !;
        error Error: SctpClosed !;
        cookie_echo CookieEcho: SctpClosed !;
        cookie_ack CookieAck: SctpClosed !;
        shutdown_complete ShutdownComplete: SctpClosed !;
        heartbeat Heartbeat: = =;
        heartbeat_ack HeartbeatAck: = SctpEstablished;
        others Other: = =;
    }
}

#[test]
fn states_of_other_protocols_are_invalid() {
    for state in State::ALL.iter().filter(|state| !state.name().is_empty()) {
        let ours = *state == State::None || format!("{state:?}").starts_with("Sctp");
        assert_eq!(next(Original, Init, *state) == Next::Invalid, !ours, "{state:?}");
    }
}

/// The tag that each end chose, which the other one's packets carry.
const CLIENT: u32 = 0xc11e_0001;
const SERVER: u32 = 0x5e00_0001;

/// The bytes of a packet: chunks are type, flags and the first bytes of the value.
fn bytes(tag: u32, chunks: &[(u8, u8, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(tag.to_be_bytes());
    bytes.extend([0; 4]);
    for (kind, flags, word) in chunks {
        bytes.extend([*kind, *flags, 0, 8]);
        bytes.extend(word.to_be_bytes());
    }
    bytes
}

/// A conversation: each packet and what comes of it.
struct Talk {
    association: Association,
    state: State,
}

impl Talk {
    fn open(tag: u32, chunk: (u8, u8, u32)) -> Talk {
        let bytes = bytes(tag, &[chunk]);
        let (state, association) = open(&Packet::read(&bytes, true).unwrap()).unwrap();
        Talk { association, state }
    }

    /// An established association.
    fn established() -> Talk {
        let mut talk = Talk::open(0, (sctp::INIT, 0, CLIENT));
        talk.handshake(CLIENT, SERVER);
        talk
    }

    /// Everything behind the INIT.
    fn handshake(&mut self, client: u32, server: u32) {
        self.say(Reply, client, &[(sctp::INIT_ACK, 0, server)]).unwrap();
        self.say(Original, server, &[(sctp::COOKIE_ECHO, 0, 0), (sctp::DATA, 3, 0)]).unwrap();
        self.say(Reply, client, &[(sctp::COOKIE_ACK, 0, 0), (sctp::SACK, 0, 0)]).unwrap();
        assert_eq!(self.state, State::SctpEstablished);
    }

    fn say(&mut self, direction: Direction, tag: u32, chunks: &[(u8, u8, u32)]) -> Result<Step, DropReason> {
        let (bytes, before) = (bytes(tag, chunks), self.association);
        let packet = Packet::read(&bytes, true).unwrap();
        let step = track(&mut self.association, self.state, direction, &packet);
        assert_eq!(
            Association::load(&self.association.store()),
            self.association,
            "a session keeps all of it"
        );
        match step {
            Ok(step) => self.state = step.state,
            Err(reason) => assert_eq!((self.association, reason), (before, DropReason::SctpInvalid)),
        }
        step
    }

    fn refused(&mut self, direction: Direction, tag: u32, chunks: &[(u8, u8, u32)]) {
        assert!(self.say(direction, tag, chunks).is_err(), "{direction:?} {tag:#x} {chunks:?}");
    }
}

#[test]
fn an_association_from_init_to_shutdown_complete() {
    let mut talk = Talk::open(0, (sctp::INIT, 0, CLIENT));
    for (direction, tag, chunks, state, assured) in [
        (Reply, CLIENT, &[(sctp::INIT_ACK, 0, SERVER)][..], State::SctpCookieWait, false),
        (Original, SERVER, &[(sctp::COOKIE_ECHO, 0, 0), (sctp::DATA, 3, 0)], State::SctpCookieEchoed, false),
        (Reply, CLIENT, &[(sctp::COOKIE_ACK, 0, 0), (sctp::SACK, 0, 0)], State::SctpEstablished, true),
        (Original, SERVER, &[(sctp::DATA, 3, 0), (sctp::DATA, 3, 0)], State::SctpEstablished, false),
        (Reply, CLIENT, &[(sctp::SACK, 0, 0), (sctp::DATA, 3, 0)], State::SctpEstablished, false),
        (Reply, CLIENT, &[(sctp::HEARTBEAT, 0, 0)], State::SctpEstablished, false),
        (Original, SERVER, &[(sctp::HEARTBEAT_ACK, 0, 0)], State::SctpEstablished, false),
        // Chunks are walked in order: the last one decides here.
        (Original, SERVER, &[(sctp::SACK, 0, 0), (sctp::SHUTDOWN, 0, 0)], State::SctpShutdownSent, false),
        (Reply, CLIENT, &[(sctp::SHUTDOWN_ACK, 0, 0)], State::SctpShutdownAckSent, false),
        (Original, SERVER, &[(sctp::SHUTDOWN_COMPLETE, 0, 0)], State::SctpClosed, false),
    ] {
        let step = talk.say(direction, tag, chunks).unwrap();
        assert_eq!(step, Step { state, active: true, assured }, "{chunks:?}");
    }
}

#[test]
fn nothing_but_the_beginning_of_something_opens_a_session() {
    let open =
        |tag, chunks: &[_]| open(&Packet::read(&bytes(tag, chunks), true).unwrap()).map(|(state, _)| state);
    assert_eq!(open(0, &[(sctp::INIT, 0, 7)]), Ok(State::SctpClosed));
    assert_eq!(open(9, &[(sctp::HEARTBEAT, 0, 0)]), Ok(State::SctpHeartbeatSent));
    assert_eq!(open(9, &[(sctp::HEARTBEAT_ACK, 0, 0)]), Ok(State::SctpClosed));
    assert_eq!(open(9, &[(sctp::SHUTDOWN_ACK, 0, 0)]), Ok(State::SctpShutdownAckSent));
    for kind in (0..=u8::MAX)
        .filter(|kind| ![sctp::INIT, sctp::HEARTBEAT, sctp::HEARTBEAT_ACK, sctp::SHUTDOWN_ACK].contains(kind))
    {
        assert_eq!(open(9, &[(kind, 0, 7)]), Err(DropReason::SctpNotInit), "{kind}");
    }
    assert_eq!(open(9, &[(sctp::INIT, 0, 7)]), Err(DropReason::SctpInvalid), "an INIT with a tag");
    assert_eq!(open(0, &[(sctp::INIT, 0, 0)]), Err(DropReason::SctpInvalid), "an initiate tag of zero");
    assert_eq!(open(0, &[]), Err(DropReason::SctpInvalid), "no chunk");
    assert_eq!(open(0, &[(sctp::HEARTBEAT, 0, 0)]), Err(DropReason::SctpInvalid), "no tag");
}

#[test]
fn chunks_that_must_stand_alone_or_first_do() {
    let mut talk = Talk::established();
    let data = (sctp::DATA, 3, 0);
    for kind in [sctp::INIT, sctp::INIT_ACK, sctp::SHUTDOWN_COMPLETE] {
        let tag = if kind == sctp::INIT { 0 } else { SERVER };
        talk.refused(Original, tag, &[(kind, 0, 7), data]);
        talk.refused(Original, tag, &[data, (kind, 0, 7)]);
    }
    for kind in [sctp::COOKIE_ECHO, sctp::COOKIE_ACK] {
        talk.refused(Original, SERVER, &[data, (kind, 0, 0)]);
        talk.say(Original, SERVER, &[(kind, 0, 0), data]).unwrap();
    }
    let short = [&bytes(SERVER, &[data])[..], &[sctp::ABORT, 0, 0, 3]].concat();
    let packet = Packet::read(&short, true).unwrap();
    assert_eq!(track(&mut talk.association, talk.state, Original, &packet), Err(DropReason::SctpInvalid));
    assert_eq!(talk.state, State::SctpEstablished);
}

#[test]
fn a_packet_with_another_tag_is_refused_whatever_it_carries() {
    let mut talk = Talk::established();
    for kind in [
        sctp::DATA,
        sctp::SACK,
        sctp::ABORT,
        sctp::SHUTDOWN,
        sctp::ERROR,
        sctp::COOKIE_ECHO,
        sctp::COOKIE_ACK,
        sctp::SHUTDOWN_COMPLETE,
        sctp::HEARTBEAT_ACK,
        sctp::INIT_ACK,
    ] {
        for tag in [0, SERVER + 1, CLIENT] {
            talk.refused(Original, tag, &[(kind, 0, 7)]);
        }
        talk.refused(Reply, SERVER, &[(kind, 0, 7)]);
    }
    // What may come with any tag carries nothing else past the check.
    talk.refused(Original, 7, &[(sctp::SHUTDOWN_ACK, 0, 0), (sctp::SHUTDOWN, 0, 0)]);
    talk.refused(Original, 7, &[(sctp::HEARTBEAT, 0, 0), (sctp::SHUTDOWN, 0, 0)]);
    assert_eq!(talk.state, State::SctpEstablished);
    // A refused packet moves nothing, not even by the chunks before the bad one.
    let cut = [&bytes(SERVER, &[(sctp::SHUTDOWN, 0, 0)])[..], &[0, 0, 0, 9]].concat();
    let packet = Packet::read(&cut, true).unwrap();
    assert!(track(&mut talk.association, talk.state, Original, &packet).is_err());
}

#[test]
fn with_the_t_flag_an_end_sends_back_the_tag_that_it_was_sent() {
    for kind in [sctp::ABORT, sctp::SHUTDOWN_COMPLETE] {
        let mut talk = Talk::established();
        talk.refused(Reply, SERVER, &[(kind, 0, 0)]);
        talk.refused(Reply, CLIENT, &[(kind, sctp::FLAG_T, 0)]);
        talk.say(Reply, SERVER, &[(kind, sctp::FLAG_T, 0)]).unwrap();
    }
    // Of an association that is known to neither the gateway nor the server (RFC 9260 8.4, rules 5 and 8).
    for (kind, answer) in [(sctp::SHUTDOWN_ACK, sctp::SHUTDOWN_COMPLETE), (sctp::HEARTBEAT, sctp::ABORT)] {
        let mut talk = Talk::open(SERVER, (kind, 0, 0));
        talk.refused(Reply, SERVER + 1, &[(answer, sctp::FLAG_T, 0)]);
        talk.say(Reply, SERVER, &[(answer, sctp::FLAG_T, 0)]).unwrap();
        assert_eq!(talk.state, State::SctpClosed);
    }
}

#[test]
fn an_init_that_is_repeated_in_vain_passes_but_keeps_nothing_alive() {
    let mut talk = Talk::open(0, (sctp::INIT, 0, CLIENT));
    let step = talk.say(Original, 0, &[(sctp::INIT, 0, CLIENT)]).unwrap();
    assert_eq!(step, Step { state: State::SctpClosed, active: false, assured: false });
    talk.handshake(CLIENT, SERVER);
}

#[test]
fn a_stranger_s_init_does_not_cut_an_association_off() {
    let mut talk = Talk::established();
    talk.say(Original, 0, &[(sctp::INIT, 0, 0xf001)]).unwrap();
    talk.say(Reply, 0, &[(sctp::INIT, 0, 0xbad)]).unwrap();
    talk.say(Original, SERVER, &[(sctp::DATA, 3, 0)]).unwrap();
    talk.say(Reply, CLIENT, &[(sctp::SACK, 0, 0)]).unwrap();
    talk.refused(Reply, 0xdead, &[(sctp::DATA, 0, 0)]);
    // Nor does he end it with the tag that he made up.
    for flags in [0, sctp::FLAG_T] {
        for kind in [sctp::ABORT, sctp::SHUTDOWN_COMPLETE] {
            talk.say(Reply, 0, &[(sctp::INIT, 0, 0xbad)]).unwrap();
            talk.refused(Reply, 0xbad, &[(kind, flags, 0)]);
        }
    }
    assert_eq!(talk.state, State::SctpEstablished);
}

#[test]
fn an_end_that_lost_its_memory_may_open_the_association_again() {
    let mut talk = Talk::established();
    talk.say(Original, 0, &[(sctp::INIT, 0, CLIENT + 1)]).unwrap();
    talk.say(Reply, CLIENT, &[(sctp::DATA, 3, 0)]).unwrap();
    talk.handshake(CLIENT + 1, SERVER + 1);
    talk.say(Original, SERVER + 1, &[(sctp::DATA, 3, 0)]).unwrap();
    talk.refused(Original, SERVER, &[(sctp::DATA, 3, 0)]);
    talk.refused(Reply, CLIENT, &[(sctp::DATA, 3, 0)]);
}

#[test]
fn both_ends_may_open_the_association_at_the_same_time() {
    let mut talk = Talk::open(0, (sctp::INIT, 0, CLIENT));
    talk.say(Reply, 0, &[(sctp::INIT, 0, SERVER)]).unwrap();
    talk.refused(Reply, CLIENT, &[(sctp::INIT_ACK, 0, SERVER + 1)]);
    talk.say(Reply, CLIENT, &[(sctp::INIT_ACK, 0, SERVER)]).unwrap();
    talk.say(Original, SERVER, &[(sctp::INIT_ACK, 0, CLIENT)]).unwrap();
    talk.say(Reply, CLIENT, &[(sctp::COOKIE_ECHO, 0, 0)]).unwrap();
    talk.say(Original, SERVER, &[(sctp::COOKIE_ACK, 0, 0)]).unwrap();
    assert_eq!(talk.state, State::SctpEstablished);
}

#[test]
fn of_both_the_second_may_be_the_one_that_is_answered() {
    let mut talk = Talk::open(0, (sctp::INIT, 0, CLIENT));
    talk.say(Reply, 0, &[(sctp::INIT, 0, SERVER)]).unwrap();
    talk.say(Original, SERVER, &[(sctp::INIT_ACK, 0, CLIENT)]).unwrap();
    talk.say(Reply, CLIENT, &[(sctp::COOKIE_ECHO, 0, 0)]).unwrap();
    talk.say(Original, SERVER, &[(sctp::COOKIE_ACK, 0, 0)]).unwrap();
    assert_eq!(talk.state, State::SctpEstablished);
    // The answer to the first comes late.
    talk.say(Reply, CLIENT, &[(sctp::INIT_ACK, 0, SERVER)]).unwrap();
    talk.say(Reply, CLIENT, &[(sctp::DATA, 3, 0)]).unwrap();
    assert_eq!(talk.state, State::SctpEstablished);
}

#[test]
fn an_init_ack_that_nobody_asked_for_changes_no_tag() {
    let mut talk = Talk::open(SERVER, (sctp::HEARTBEAT, 0, 0));
    talk.say(Reply, CLIENT, &[(sctp::HEARTBEAT_ACK, 0, 0)]).unwrap();
    talk.refused(Reply, CLIENT, &[(sctp::INIT_ACK, 0, SERVER + 1)]);
    talk.say(Original, SERVER, &[(sctp::DATA, 3, 0)]).unwrap();
}

#[test]
fn a_path_that_only_heartbeats_were_seen_on_is_established_by_the_answer() {
    let mut talk = Talk::open(SERVER, (sctp::HEARTBEAT, 0, 0));
    talk.refused(Reply, CLIENT, &[(sctp::DATA, 3, 0)]);
    let step = talk.say(Reply, CLIENT, &[(sctp::HEARTBEAT_ACK, 0, 0)]).unwrap();
    assert_eq!(step, Step { state: State::SctpEstablished, active: true, assured: true });
    talk.say(Reply, CLIENT, &[(sctp::DATA, 3, 0)]).unwrap();
    talk.say(Original, SERVER, &[(sctp::SACK, 0, 0)]).unwrap();
    talk.refused(Original, SERVER + 1, &[(sctp::SACK, 0, 0)]);
}

#[test]
fn a_heartbeat_with_a_new_tag_counts_only_once_it_is_answered() {
    let mut talk = Talk::established();
    let step = talk.say(Original, SERVER + 1, &[(sctp::HEARTBEAT, 0, 0)]).unwrap();
    assert_eq!(step, Step { state: State::SctpEstablished, active: false, assured: false });
    talk.refused(Original, SERVER + 1, &[(sctp::DATA, 3, 0)]);
    talk.refused(Original, SERVER + 1, &[(sctp::HEARTBEAT_ACK, 0, 0)]);
    let mut gone = Talk { ..talk };
    // One with the known tag shows that the association is still there.
    talk.say(Original, SERVER, &[(sctp::HEARTBEAT, 0, 0)]).unwrap();
    talk.refused(Reply, CLIENT + 1, &[(sctp::HEARTBEAT_ACK, 0, 0)]);
    // Another answer: it is another association.
    gone.say(Reply, CLIENT + 1, &[(sctp::HEARTBEAT_ACK, 0, 0)]).unwrap();
    gone.say(Original, SERVER + 1, &[(sctp::HEARTBEAT, 0, 0)]).unwrap();
    gone.say(Original, SERVER + 1, &[(sctp::DATA, 3, 0)]).unwrap();
    gone.refused(Reply, CLIENT, &[(sctp::DATA, 3, 0)]);
}

#[test]
fn random_packets_never_move_an_association_that_they_are_refused_by() {
    let mut random = crate::nat::Rng::seeded(3);
    let mut talk = Talk::established();
    for _ in 0..200_000 {
        let number = random.next();
        let direction = if number & 1 == 0 { Original } else { Reply };
        let tags = [0, CLIENT, SERVER, 0xbad];
        let tag = tags[usize::try_from(number >> 1 & 3).unwrap()];
        let chunks: Vec<_> = (0..number >> 3 & 3)
            .map(|n| {
                let [kind, flags, ..] = (number >> (8 + 16 * n)).to_le_bytes();
                (kind & 15, flags & 1, tags[usize::from(flags >> 1 & 3)])
            })
            .collect();
        let before = talk.state;
        match talk.say(direction, tag, &chunks) {
            Ok(step) => assert!(step.active || step.state == before),
            Err(_) => assert_eq!(talk.state, before),
        }
    }
}

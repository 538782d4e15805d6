//! Clients that mean harm, or are broken, at the socket of a gateway that runs: they cost a place for a while, and nobody
//! else anything. Packets are forwarded, clients that behave get their answer, and nothing of the others stays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy does not see that these are for tests only"
)]

use crate::gateway::LONG;
use crate::live::{Live, config_text};
use natgate::control::api;
use natgate::control::client::ClientError;
use natgate::control::reload::answer::{Options, Reload, ReloadRequest};
use natgate::control::server::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Both ends of every connection are in this process.
const DESCRIPTORS: u64 = 4096;
const STATUS: &[u8] = b"GET /v1/status HTTP/1.1\r\nhost: natgate\r\nconnection: close\r\n\r\n";
const LIST: &[u8] = b"GET /v1/sessions HTTP/1.1\r\nhost: natgate\r\n\r\n";

/// Many machines allow 1,024 descriptors unless one asks for more.
fn allow_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < DESCRIPTORS) {
        let current = Some(maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS)));
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    }
}

/// What the server holds of connections to this gateway's socket: each accepted one bears the socket's path in the kernel's
/// list. Counting the descriptors of the process would count those of other tests too.
fn connections(live: &Live) -> usize {
    let path = live.socket().display().to_string();
    let list = fs::read_to_string("/proc/net/unix").unwrap();
    let ours = list.lines().filter(|line| line.ends_with(&path)).count();
    ours.checked_sub(1).expect("it listens")
}

fn all_gone(live: &Live) {
    live.wait("every connection is closed", || connections(live) == 0);
}

/// Everything that comes until the end, which may be rude.
fn read_all(stream: &mut UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answer)),
    }
}

/// The answer to these bytes. A client that `ends` closes its side behind them: what needs more than that to be answered is
/// not answered then.
fn answer_to(live: &Live, request: &[u8], ends: bool) -> String {
    let mut stream = live.connect();
    // It may have been answered and closed before everything was taken.
    let _ = stream.write_all(request);
    let _ = if ends { stream.shutdown(Shutdown::Write) } else { Ok(()) };
    String::from_utf8_lossy(&read_all(&mut stream)).into_owned()
}

fn status_of(answer: &str) -> Option<&str> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)
}

/// The status, as often as it takes until there is a place.
fn patiently(live: &Live) -> api::Status {
    let begun = Instant::now();
    loop {
        match live.client().get_json::<api::Status>("/v1/status") {
            Ok(status) => return status,
            // Turned away: told so, or closed before the request was written.
            Err(ClientError::Refused { status: 503, .. }) => {}
            Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
        }
        assert!(begun.elapsed() < LONG, "there is never a place");
        thread::yield_now();
    }
}

/// A reload and packets, as if nothing had happened.
fn works_as_before(live: &Live, host: u8) {
    live.open(host, 1000..1100);
    let seconds = 300 + u64::from(host);
    let config = format!("{}[conntrack.timeouts]\nudp = \"{seconds}s\"\n", config_text(2, 20_000));
    let request = ReloadRequest { config: Some(config), file: None, options: Options::default() };
    let done: Reload = live.client().post_json("/v1/config", &request).unwrap();
    assert!(done.applied && done.problems.is_empty(), "{done:?}");
    live.open(host, 1100..1200);
}

#[test]
fn of_a_thousand_clients_at_once_as_many_are_served_as_there_are_places_and_the_others_are_told() {
    const CLIENTS: usize = 1000;
    allow_descriptors();
    let limits = Limits { request: LONG, ..Limits::default() };
    let live = Live::limited(limits);
    let mut clients: Vec<UnixStream> = (0..CLIENTS).map(|_| live.connect()).collect();
    live.wait("each has a place or was turned away", || connections(&live) == limits.connections);
    live.open(5, 1000..1200);
    let mut served = 0;
    for client in &mut clients {
        let _ = client.write_all(STATUS);
        let answer = String::from_utf8(read_all(client)).unwrap();
        match status_of(&answer) {
            Some("200") => served += 1,
            Some("503") => assert!(answer.ends_with("at once\"}"), "{answer}"),
            _ => panic!("neither served nor turned away: {answer:?}"),
        }
    }
    assert_eq!(served, limits.connections);
    drop(clients);
    all_gone(&live);
    works_as_before(&live, 6);
}

#[test]
fn a_thousand_clients_that_come_back_when_they_are_turned_away_all_get_their_answer() {
    const THREADS: usize = 50;
    const EACH: usize = 20;
    allow_descriptors();
    let live = Live::limited(Limits { connections: 8, ..Limits::default() });
    live.open(5, 1000..1100);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..EACH).for_each(|_| assert_eq!(patiently(&live).sessions.used, 100)));
        }
    });
    all_gone(&live);
}

/// Bytes that look random and are the same every time (xorshift64).
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: natgate\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn with_length(path: &str, body: &[u8]) -> Vec<u8> {
    post(path, &format!("content-length: {}\r\n", body.len()), body)
}

#[test]
fn garbage_is_answered_with_4xx_or_not_at_all_and_changes_nothing() {
    let live = Live::start();
    live.open(5, 1000..1010);
    let deep = "[".repeat(100_000);
    let headers: String = (0..1000).map(|n| format!("x-{n}: y\r\n")).collect();
    let requests: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), &["400", ""]),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(), &["400", ""]),
        ("HTTP/0.9", b"GET /v1/status\r\n\r\n".to_vec(), &["400"]),
        (
            "a path that is no UTF-8",
            b"GET /v1/\xff\xfe HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
            &["400", "404"],
        ),
        (
            "escapes that are none",
            b"GET /v1/sessions?src=%ff%zz HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
            &["400"],
        ),
        (
            "a way out",
            b"GET /v1/config/revisions/../../../etc/passwd HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
            &["404"],
        ),
        (
            "a number too large",
            b"GET /v1/config/revisions/99999999999999999999 HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
            &["400"],
        ),
        ("a zero in a header", b"GET /v1/status HTTP/1.1\r\nhost: x\0y\r\n\r\n".to_vec(), &["400"]),
        ("a line without an end", vec![b'A'; 1 << 20], &["400", "414", "431"]),
        ("a thousand headers", format!("GET /v1/status HTTP/1.1\r\n{headers}\r\n").into_bytes(), &["431"]),
        ("two lengths", post("/v1/config", "content-length: 2\r\ncontent-length: 3\r\n", b"{}"), &["400"]),
        ("a negative length", post("/v1/config", "content-length: -1\r\n", b"{}"), &["400"]),
        (
            "a chunk of no size",
            post("/v1/config", "transfer-encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"),
            &["400", ""],
        ),
        (
            "a chunk too large",
            post("/v1/config", "transfer-encoding: chunked\r\n", b"ffffffffffffffffff\r\n"),
            &["400", ""],
        ),
        (
            "half a body",
            post("/v1/config", "content-length: 1000\r\n", b"{\"config\": \"[inter"),
            &["400", ""],
        ),
        ("another encoding", post("/v1/config", "transfer-encoding: gzip\r\n", b"{}"), &["400", "501"]),
        ("no JSON", with_length("/v1/config", &noise(1, 1000)), &["400"]),
        ("no UTF-8", with_length("/v1/config", b"{\"config\": \"\xff\xff\"}"), &["400"]),
        ("half a character", with_length("/v1/config", br#"{"config": "\ud800"}"#), &["400"]),
        ("JSON without an end", with_length("/v1/config", deep.as_bytes()), &["400"]),
        (
            "TOML without an end",
            with_length("/v1/config", format!("{{\"config\":\"a = {deep}\"}}").as_bytes()),
            &["422"],
        ),
        ("a config of nothing", with_length("/v1/config", br#"{"config": ""}"#), &["422"]),
        ("a config of zeros", with_length("/v1/config", br#"{"config": "\u0000\u0000"}"#), &["422"]),
        ("an edit of nothing", with_length("/v1/config/edit", b"{}"), &["400"]),
        (
            "a revision of tomorrow",
            with_length("/v1/config/rollback", br#"{"to": 18446744073709551615}"#),
            &["409"],
        ),
    ];
    for (what, request, expected) in &requests {
        let answer = answer_to(&live, request, expected.contains(&""));
        let status = status_of(&answer).unwrap_or_default();
        assert!(expected.contains(&status), "{what}: {status:?} and not one of {expected:?}: {answer}");
    }
    for seed in 1..=200 {
        let answer = answer_to(&live, &noise(seed * 7919, 500), true);
        assert!(["", "400"].contains(&status_of(&answer).unwrap_or_default()), "noise {seed}: {answer}");
    }
    all_gone(&live);
    let running: natgate::control::reload::answer::RunningConfig =
        live.client().get_json("/v1/config").unwrap();
    assert_eq!((running.revision, running.config), (1, config_text(2, 20_000)));
    works_as_before(&live, 6);
}

#[test]
fn a_body_is_read_up_to_its_limit_whether_its_length_is_said_or_not() {
    const MIB: usize = 1 << 20;
    let live = Live::start();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; MIB], b"\r\n"].concat();
    let length = format!("content-length: {}\r\n", 1u64 << 40);
    for (headers, piece) in [("transfer-encoding: chunked\r\n", &chunk), (length.as_str(), &vec![b' '; MIB])]
    {
        let mut stream = live.connect();
        stream.write_all(&post("/v1/config", headers, b"")).unwrap();
        // It is refused in the midst of it, and not read to its end, which does not come.
        let pieces = (0..1000).take_while(|_| stream.write_all(piece).is_ok()).count();
        assert!((31..64).contains(&pieces), "{pieces} MiB were taken");
        let answer = String::from_utf8_lossy(&read_all(&mut stream)).into_owned();
        assert!(matches!(status_of(&answer), Some("413")) && answer.contains("32 MiB"), "{answer}");
    }
    all_gone(&live);
    works_as_before(&live, 6);
}

#[test]
fn a_client_that_goes_in_the_middle_leaves_nothing_behind() {
    let live = Live::start();
    live.open(5, 1000..6000);
    let body = post("/v1/config", "content-length: 100000\r\n", b"{\"config\":\"");
    for n in 0..300usize {
        let mut stream = live.connect();
        let request = [LIST, &body, STATUS][n % 3];
        // Anywhere in the request, and anywhere in the answer.
        let said = if n % 2 == 0 { request.len() } else { n % request.len() };
        if stream.write_all(&request[..said]).is_ok() && said == request.len() && n % 3 != 1 {
            let _ = stream.read(&mut vec![0; 1 + 97 * n]);
        }
        let _ = if n % 5 == 0 { stream.shutdown(Shutdown::Both) } else { Ok(()) };
    }
    all_gone(&live);
    works_as_before(&live, 6);
}

/// What an abuser does with a connection.
#[derive(Clone, Copy)]
enum Abuse {
    /// Says this, and no more until it is thrown out.
    Silence(&'static [u8]),
    /// Says this, and then a letter from time to time, reading nothing, until it is thrown out.
    Drip(&'static [u8]),
    /// Says the one, and the other over and over, reading nothing, until it is thrown out.
    Flood(&'static [u8], &'static [u8]),
    /// Says this, reads so many bytes and goes.
    Leave(&'static [u8], usize),
}

const ABUSES: [Abuse; 9] = [
    Abuse::Silence(b""),
    Abuse::Silence(b"GET /v1/status HT"),
    Abuse::Drip(b"GET /v1/status?"),
    Abuse::Drip(LIST),
    Abuse::Flood(b"GET /v1/status HTTP/1.1\r\n", b"x-header: and another one\r\n"),
    Abuse::Flood(b"", STATUS),
    Abuse::Flood(b"", LIST),
    Abuse::Leave(LIST, 5000),
    Abuse::Leave(b"\x16\x03\x01\xff\xfe\r\n\r\n", 0),
];

fn abuse(live: &Live, abuse: Abuse) {
    let mut stream = live.connect();
    let mut say = |words: &[u8]| stream.write_all(words).is_ok();
    match abuse {
        Abuse::Silence(words) => {
            let _ = say(words) && read_all(&mut stream).is_empty();
        }
        Abuse::Drip(words) => {
            let mut heard = say(words);
            while heard {
                thread::sleep(Duration::from_millis(1));
                heard = say(b"x");
            }
        }
        Abuse::Flood(first, again) => {
            let _ = say(first);
            while say(again) {}
        }
        Abuse::Leave(words, bytes) => {
            let _ = say(words) && stream.read_exact(&mut vec![0; bytes]).is_ok();
        }
    }
}

#[test]
fn while_abusers_take_every_place_a_client_that_behaves_gets_through_and_packets_do_not_notice() {
    const ABUSERS: usize = 64;
    const ANSWERS: u16 = 40;
    allow_descriptors();
    let moment = Duration::from_millis(50);
    let live = Live::limited(Limits { connections: 32, request: moment, stall: moment });
    live.open(5, 1000..6000);
    let (stop, abused) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for first in 0..ABUSERS {
            let (live, stop, abused) = (&live, &stop, &abused);
            scope.spawn(move || {
                let mut kinds = ABUSES.iter().cycle().skip(first);
                while !stop.load(Relaxed) {
                    kinds.next().into_iter().for_each(|kind| abuse(live, *kind));
                    abused.fetch_add(1, Relaxed);
                }
            });
        }
        for n in 0..ANSWERS {
            let first = 1000 + n * 10;
            live.open(6, first..first + 10);
            assert_eq!(patiently(&live).sessions.used, 5000 + 10 * u64::from(n + 1));
        }
        stop.store(true, Relaxed);
    });
    assert!(abused.load(Relaxed) > ABUSERS as u64, "{abused:?}");
    all_gone(&live);
    works_as_before(&live, 7);
}

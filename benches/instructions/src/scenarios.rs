//! What is counted: each scenario gets ready, which is the same each time, and then does its work or does not. What is counted
//! more if it does is the work.
//!
//! Keys and random numbers are seeded, and time stands still. The frames are real ones of 64 bytes, in random order; what the
//! device that delivers them costs is counted by itself.

use super::support::replay::Replay;
use super::support::{FRAME, Flow, Gateway, LAN, Segment, WAN, config, outbound, shuffled, tcp, udp};
use natgate::conntrack::key::V4Key;
use natgate::device::{BURST, Burst, Device};
use natgate::wire::tcp::{ACK, SYN};
use std::time::Duration;

/// Flows of the scenarios with known flows: as many as the table holds.
const FLOWS: u32 = 8192;
/// Rounds of all flows.
const ROUNDS: u32 = 4;
/// New sessions, and those that expire.
const SESSIONS: u32 = 16_384;
/// How long nobody says anything until all sessions are over: longer than any timeout of UDP.
const SILENCE: Duration = Duration::from_secs(302);
/// How often the management core looks.
const POLL: Duration = Duration::from_millis(2);

/// Something that is counted.
pub(crate) struct Scenario {
    /// Its name, in the baseline too.
    pub(crate) name: &'static str,
    /// What it is, for readers.
    pub(crate) about: &'static str,
    /// How many packets or sessions its work is.
    pub(crate) units: u32,
    /// Whether each of these is a frame from the device: see [`GENERATOR`].
    pub(crate) receives: bool,
    /// Gets ready, and does the work if it has to.
    pub(crate) run: fn(bool),
}

/// The device alone. It is taken off those that receive frames from it.
pub(crate) const GENERATOR: Scenario = Scenario {
    name: "generator",
    about: "the benchmark's own device, taken off the others",
    units: FLOWS * ROUNDS,
    receives: false,
    run: generator,
};

/// What has a baseline.
pub(crate) const ALL: [Scenario; 5] = [
    Scenario {
        name: "hit-udp",
        about: "a packet of a known flow, there or back",
        units: FLOWS * 2 * ROUNDS,
        receives: true,
        run: hit_udp,
    },
    Scenario {
        name: "hit-tcp",
        about: "a segment of an open connection: data there, its acknowledgement back",
        units: FLOWS * 2 * ROUNDS,
        receives: true,
        run: hit_tcp,
    },
    Scenario {
        name: "notrack",
        about: "a packet of a notrack class, its source translated",
        units: FLOWS * ROUNDS,
        receives: true,
        run: notrack,
    },
    Scenario {
        name: "setup",
        about: "a new session: rule, port, mapping, both tuples, timer message",
        units: SESSIONS,
        receives: true,
        run: set_up,
    },
    Scenario {
        name: "expiry",
        about: "the end of an idle session: timer, removal, port",
        units: SESSIONS,
        receives: false,
        run: expiry,
    },
];

/// Both directions of a session, as their packets arrive.
type Conversation = (Flow, Flow);

/// A gateway whose table holds so many sessions, with what `more` adds.
fn gateway(sessions: u32, more: &str) -> Gateway<Replay> {
    let table = format!("max_sessions = {sessions}\nreserve = \"0%\"\nhalf_open = \"100%\"\n");
    let config = config(&format!("[conntrack]\n{table}{more}"));
    Gateway::new(&config, Replay::of(LAN, &[]))
}

/// The first `n` flows from inside, in random order.
fn flows(n: u32) -> Vec<Flow> {
    shuffled(n).into_iter().map(outbound).collect()
}

/// A datagram of each flow.
fn datagrams(vlan: u16, flows: &[Flow]) -> Vec<[u8; FRAME]> {
    let frame = |flow| {
        let mut frame = [0; FRAME];
        udp(&mut frame, vlan, flow);
        frame
    };
    flows.iter().map(frame).collect()
}

/// A list in another order.
fn mixed<T: Copy>(list: &[T]) -> Vec<T> {
    let order = shuffled(u32::try_from(list.len()).expect("few"));
    order.into_iter().filter_map(|at| list.get(at as usize).copied()).collect()
}

/// What will come from now on, round and round.
fn load(gateway: &Gateway<Replay>, frames: Vec<[u8; FRAME]>) {
    *gateway.feed.lock().expect("one thread") = Replay::frames(frames);
}

/// So many frames go through, and none is lost.
fn pass(gateway: &mut Gateway<Replay>, frames: u32) {
    assert_eq!(frames as usize % BURST, 0, "whole bursts");
    for _ in 0..frames as usize / BURST {
        Replay::burst(gateway);
    }
    gateway.assert_all_sent();
}

/// Each of these frames goes through once.
fn pass_all(gateway: &mut Gateway<Replay>, frames: Vec<[u8; FRAME]>) {
    let number = u32::try_from(frames.len()).expect("few");
    load(gateway, frames);
    pass(gateway, number);
}

fn flow(key: V4Key) -> Flow {
    let tuple = key.tuple();
    Flow { from: (tuple.src, tuple.sport), to: (tuple.dst, tuple.dport) }
}

/// Every session that there is.
fn conversations(gateway: &Gateway<Replay>) -> Vec<Conversation> {
    let sessions = (0..gateway.sessions.capacity()).filter_map(|index| gateway.sessions.read(index));
    let sessions: Vec<_> = sessions.map(|session| (flow(session.original), flow(session.reply))).collect();
    assert_eq!(sessions.len() as u64, gateway.counters.sessions.get(), "sessions");
    sessions
}

fn generator(works: bool) {
    let mut device = Replay::new(FLOWS).alone();
    let mut burst = Burst::new();
    let mut pass = |frames: u32| {
        for _ in 0..frames as usize / BURST {
            device.credit();
            device.rx_burst(&mut burst);
            device.tx_burst(&mut burst);
        }
    };
    pass(FLOWS);
    if works {
        pass(GENERATOR.units);
    }
}

fn hit_udp(works: bool) {
    let mut gateway = gateway(FLOWS, "");
    let there = datagrams(LAN, &flows(FLOWS));
    pass_all(&mut gateway, there.clone());
    let back: Vec<Flow> = conversations(&gateway).into_iter().map(|(_, back)| back).collect();
    let back = datagrams(WAN, &back);
    // From the third packet on a session is as it stays.
    pass_all(&mut gateway, back.clone());
    pass_all(&mut gateway, there.clone());
    load(&gateway, mixed(&[there, back].concat()));
    if works {
        pass(&mut gateway, FLOWS * 2 * ROUNDS);
    }
    assert_eq!(gateway.counters.sessions_created.get(), u64::from(FLOWS), "sessions");
}

/// The same segment of each connection, from its client or its server, in random order.
fn segments(connections: &[Conversation], from_client: bool, segment: &Segment) -> Vec<[u8; FRAME]> {
    let frame = |(there, back): &Conversation| {
        let mut frame = [0; FRAME];
        let (vlan, flow) = if from_client { (LAN, there) } else { (WAN, back) };
        tcp(&mut frame, vlan, flow, segment);
        frame
    };
    mixed(connections).iter().map(frame).collect()
}

/// Bytes of data in a client's segment, and the first numbers of client and server.
const DATA: u32 = 6;
const CLIENT: u32 = 1000;
const SERVER: u32 = 5000;

fn segment(flags: u8, (seq, ack): (u32, u32), len: u32) -> Segment {
    Segment { flags, seq, ack, len: len as usize }
}

/// Every client sends data, then every server acknowledges it.
fn exchange(connections: &[Conversation], round: u32) -> Vec<[u8; FRAME]> {
    let (sent, server) = (CLIENT + 1 + round * DATA, SERVER + 1);
    let mut frames = segments(connections, true, &segment(ACK, (sent, server), DATA));
    frames.extend(segments(connections, false, &segment(ACK, (server, sent + DATA), 0)));
    frames
}

fn hit_tcp(works: bool) {
    let mut gateway = gateway(FLOWS, "");
    let clients: Vec<Conversation> = flows(FLOWS).into_iter().map(|flow| (flow, flow)).collect();
    pass_all(&mut gateway, segments(&clients, true, &segment(SYN, (CLIENT, 0), 0)));
    let connections = conversations(&gateway);
    let answer = segment(SYN | ACK, (SERVER, CLIENT + 1), 0);
    pass_all(&mut gateway, segments(&connections, false, &answer));
    let last = segment(ACK, (CLIENT + 1, SERVER + 1), 0);
    pass_all(&mut gateway, segments(&connections, true, &last));
    pass_all(&mut gateway, exchange(&connections, 0));
    load(&gateway, (1..=ROUNDS).flat_map(|round| exchange(&connections, round)).collect());
    if works {
        pass(&mut gateway, FLOWS * 2 * ROUNDS);
    }
    assert_eq!(gateway.counters.sessions_created.get(), u64::from(FLOWS), "sessions");
}

/// For everything that `outbound` sends.
const CLASS: &str = r#"
[[notrack]]
name = "dns"
preset = "dns"
on = "lan"
from = "10.1.0.0/16"
to = "192.0.2.1"
translate_from = "198.19.0.0/16"
"#;

fn notrack(works: bool) {
    let mut gateway = gateway(FLOWS, CLASS);
    pass_all(&mut gateway, datagrams(LAN, &flows(FLOWS)));
    if works {
        pass(&mut gateway, FLOWS * ROUNDS);
    }
    assert_eq!(gateway.counters.sessions_created.get(), 0, "a packet of a class made a session");
}

fn set_up(works: bool) {
    // A few first: what is done once is not part of it.
    const FIRST: u32 = 1024;
    let mut gateway = gateway(FIRST + SESSIONS, "");
    load(&gateway, datagrams(LAN, &flows(FIRST + SESSIONS)));
    pass(&mut gateway, FIRST);
    if works {
        pass(&mut gateway, SESSIONS);
        assert_eq!(gateway.counters.sessions_created.get(), u64::from(FIRST + SESSIONS), "sessions");
    }
}

fn expiry(works: bool) {
    let mut gateway = gateway(SESSIONS, "");
    pass_all(&mut gateway, datagrams(LAN, &flows(SESSIONS)));
    // Until every timer is armed.
    for _ in 0..100 {
        gateway.management.poll_once(gateway.now);
        gateway.now = gateway.now + POLL;
    }
    gateway.now = gateway.now + SILENCE;
    while works && gateway.counters.sessions.get() > 0 {
        gateway.management.poll_once(gateway.now);
        gateway.drain();
        gateway.now = gateway.now + POLL;
    }
}

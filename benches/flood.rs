//! A SYN flood of ten times the table against 10,000 assured connections.
//!
//! ```text
//! cargo bench --bench flood
//! ```
//!
//! Spoofed SYNs to a forwarded port fill a table of 65,536, ten times over, while every one of the connections goes on in
//! both directions; each of their segments has to come out, translated. Once without and once with the SYN proxy.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark may panic and prints")]

mod support;

use natgate::telemetry::{DropReason, Eviction};
use natgate::wire::tcp::{ACK, PSH, SYN};
use std::net::Ipv4Addr;
use std::time::Duration;
use support::talk::{Connection, Talk, step};
use support::{FRAME, Flow, Gateway, Segment, WAN, config, outbound, tcp};

const CAPACITY: u32 = 65_536;
const CONNECTIONS: u32 = 10_000;
const FLOOD: u32 = 10 * CAPACITY;
const ROUNDS: u32 = 40;

/// A SYN from somewhere to the forwarded port.
fn spoofed(n: u32) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let flow = Flow {
        from: (
            Ipv4Addr::from_bits(0x0b00_0000 + n.wrapping_mul(0x9e37) % (1 << 24)),
            1024 + (n % 60_000) as u16,
        ),
        to: (Ipv4Addr::new(203, 0, 113, 2), 80),
    };
    tcp(&mut frame, WAN, &flow, &Segment { flags: SYN, seq: n, ack: 0, len: 0 });
    frame
}

fn flood(name: &str, syn_proxy: bool) {
    let config = config(&format!(
        "[[dnat]]\non = \"wan\"\nprotocol = \"tcp\"\nport = 80\nto = \"10.9.0.1\"\nsyn_proxy = {syn_proxy}\n\
         [conntrack]\nmax_sessions = {CAPACITY}\n"
    ));
    let mut gateway = Gateway::new(&config, Talk::default());
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|n| Connection::new(outbound(n))).collect();
    for next in [(true, SYN, 100, 0, 0), (false, SYN | ACK, 500, 101, 0), (true, ACK, 101, 501, 0)] {
        step(&mut gateway, &mut connections, next);
    }
    let before = gateway.counters.sessions.get();
    assert_eq!(before, u64::from(CONNECTIONS), "sessions");
    let mut most = before;
    for round in 0..ROUNDS {
        let share = FLOOD / ROUNDS;
        let syns = (round * share..(round + 1) * share).map(spoofed);
        gateway.feed.lock().expect("one thread").incoming.extend(syns);
        gateway.drain();
        gateway.feed.lock().expect("one thread").outgoing.clear();
        let (seq, ack) = (101 + 6 * round, 501 + 6 * round);
        step(&mut gateway, &mut connections, (true, ACK | PSH, seq, ack, 6));
        step(&mut gateway, &mut connections, (false, ACK | PSH, ack, seq + 6, 6));
        most = most.max(gateway.counters.sessions.get());
        gateway.now = gateway.now + Duration::from_millis(50);
        gateway.management.poll_once(gateway.now);
    }
    let lost = connections.iter().filter(|connection| connection.failed).count();
    println!(
        "{name}: {FLOOD} SYNs, {CONNECTIONS} connections, {} segments of theirs",
        2 * ROUNDS * CONNECTIONS
    );
    println!(
        "  connections that lost a segment: {lost}; sessions before {before}, at the most {most} of {CAPACITY}"
    );
    for eviction in Eviction::ALL {
        let sessions = gateway.counters.evictions[*eviction as usize].get();
        if sessions > 0 {
            println!("  made room: {} {sessions}", eviction.name());
        }
    }
    for reason in DropReason::ALL {
        let packets = gateway.counters.drops[*reason as usize].get();
        if packets > 0 {
            println!("  dropped for {}: {packets}", reason.name());
        }
    }
    assert_eq!(lost, 0, "a connection lost a segment");
    assert!(!syn_proxy || most == before, "nothing is kept of a SYN");
}

fn main() {
    flood("without the SYN proxy", false);
    flood("with the SYN proxy", true);
}

//! Sessions for the tests.

use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::conntrack::tracker::State;
use crate::ids::Realm;
use crate::packet::Tuple;
use crate::time::Tick;
use crate::wire::protocol;
use std::net::Ipv4Addr;

/// The moment of every test.
pub(super) const NOW: Tick = Tick(100_000);
pub(super) const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
pub(super) const CACHE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);

/// The client with this number, outside.
pub(super) fn client(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + number)
}

/// Addresses and ports of a packet, as `(src, sport)` and `(dst, dport)`.
pub(super) fn tcp((src, sport): (Ipv4Addr, u16), (dst, dport): (Ipv4Addr, u16)) -> Tuple {
    Tuple { src, dst, sport, dport, protocol: protocol::TCP }
}

/// A closed connection that came `age` ticks ago, of ten packets in 0.2 seconds, that becomes `sent`.
pub(super) fn closed(original: Tuple, sent: Tuple, realm: Realm, age: u32) -> SessionSnapshot<V4Key> {
    let other = if realm == Realm::Internal { Realm::External } else { Realm::Internal };
    let created = Tick(NOW.0 - age);
    SessionSnapshot {
        index: 0,
        generation: 2,
        original: V4Key::new(original, realm, 0),
        reply: V4Key::new(sent.inverse(), other, 0),
        protocol: original.protocol,
        state: State::TimeWait,
        seen_reply: true,
        assured: true,
        last_seen: Tick(created.0 + age.min(2)),
        created,
        timeout_ticks: 300,
        packets: [6, 4],
        bytes: [600, 400],
        lease: None,
        policy: 0,
        mark: 0,
        inbound: false,
        unanswered: false,
    }
}

/// The same of client `number` to a forwarded port.
pub(super) fn forwarded(number: u32, port: u16, becomes: u16, age: u32) -> SessionSnapshot<V4Key> {
    let from = (client(number), 40_000);
    closed(tcp(from, (PUBLIC, port)), tcp(from, (CACHE, becomes)), Realm::External, age)
}

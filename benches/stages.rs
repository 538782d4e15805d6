//! What each stage of a packet's way takes by itself.
//!
//! ```text
//! taskset -c 1 cargo bench --bench stages                # all of them
//! taskset -c 1 cargo bench --bench stages -- lookup
//! ```
//!
//! Time and throughput of a burst of 32 packets, as the pipeline deals with them: in random order, and where it asks memory
//! for a whole burst before it needs any of it, so does the stage here. Lists of frames and keys are read in memory order,
//! so that the benchmark's own cache misses do not count.
//!
//! Elsewhere: the search for a notrack class (`--bench notrack`) and for a source rule (`--bench rules`), set-ups when few ports
//! are left (`--bench allocation`), the whole (`--bench pipeline`, `--bench budgets`).

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark may panic, and rounds; criterion's macros make public items"
)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use natgate::config::compile::compile;
use natgate::conntrack::key::V4Key;
use natgate::conntrack::policy::Policy;
use natgate::conntrack::session::{Direction, NewSession, Shape};
use natgate::conntrack::table::{Candidate, SessionId, Shard};
use natgate::conntrack::tcp_segment::Segment;
use natgate::conntrack::tracker::{self, Observed, follow_udp};
use natgate::conntrack::wheel::{Fired, Wheel};
use natgate::device::{BURST, Burst, Device};
use natgate::ids::{DeviceId, Realm, WorkerId};
use natgate::nat::rewrite::{Translation, rewrite, rewrite_plain};
use natgate::nat::space::PortSpace;
use natgate::nat::{Rng, mapping::External};
use natgate::packet::plain::Plain;
use natgate::packet::{Frame, Packet, PacketBuf, Parsed, Tuple};
use natgate::pipeline::Snapshot;
use natgate::time::Tick;
use natgate::wire::protocol;
use natgate::wire::tcp::{ACK, SYN};
use std::collections::VecDeque;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use support::replay::Replay;
use support::{Buf, FRAME, L3, LAN, MAC, config, outbound, shuffled, tcp, udp};

/// Packets where memory is not what is measured.
const PACKETS: u32 = 1024;
/// Sizes of tables.
const SIZES: [(&str, u32); 3] = [("1k", 1 << 10), ("64k", 1 << 16), ("1M", 1 << 20)];
/// When everything happens.
const NOW: Tick = Tick(36_000);
/// Bytes of an IPv4 packet in a frame of 64 bytes with a tag.
const LENGTH: u16 = 46;
/// Where everybody connects to.
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 53);

/// The places of each burst of a list, round and round.
fn bursts(len: usize) -> impl FnMut() -> std::ops::Range<usize> {
    let mut at = 0;
    move || {
        let start = at;
        at = if start + 2 * BURST > len { 0 } else { start + BURST };
        start..start + BURST
    }
}

fn snapshot() -> Snapshot {
    compile(&config(""), &[MAC], 1, 1)
}

/// The `n`-th flow, as its packets arrive and as they leave.
fn flow(n: u32, protocol: u8) -> (Tuple, Tuple) {
    const PORTS: u32 = 60_000;
    let inside = outbound(n).from;
    let port = u16::try_from(2_000 + n % PORTS).expect("a port");
    let from = Tuple { src: inside.0, dst: SERVER.0, sport: inside.1, dport: SERVER.1, protocol };
    (from, Tuple { src: Ipv4Addr::from_bits(0xc612_0000 + n / PORTS), sport: port, ..from })
}

/// Frames as a device delivers them.
fn frames(write: fn(&mut [u8; FRAME], u32)) -> Vec<Burst<Buf>> {
    let frame = |n| {
        let mut frame = [0; FRAME];
        write(&mut frame, n);
        frame
    };
    let mut device = Replay::frames(shuffled(PACKETS).into_iter().map(frame).collect()).alone();
    let mut receive = || {
        let mut burst = Burst::new();
        device.credit();
        device.rx_burst(&mut burst);
        burst
    };
    (0..PACKETS as usize / BURST).map(|_| receive()).collect()
}

fn read(snap: &Snapshot, frame: Buf) -> Packet<Buf, Parsed> {
    let interface_of = |device, vlan| snap.interface_of(device, vlan);
    match Packet::new(frame, DeviceId(0)).parse(interface_of) {
        Ok(Frame::Ipv4(packet)) => packet,
        Ok(Frame::Arp(..)) => panic!("no frame is ARP"),
        Err((_, reason)) => panic!("a frame is wrong: {reason:?}"),
    }
}

/// Writes a frame of the flow with this number.
type Write = fn(&mut [u8; FRAME], u32);

/// Two transports.
const TRANSPORTS: [(&str, Write); 2] = [
    ("udp", |frame, n| udp(frame, LAN, &outbound(n))),
    ("tcp", |frame, n| {
        let data = support::Segment { flags: ACK, seq: 1, ack: 1, len: 6 };
        tcp(frame, LAN, &outbound(n), &data);
    }),
];

/// The parser of plain packets, and the one of all others.
fn parse(criterion: &mut Criterion) {
    let snap = snapshot();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, write) in TRANSPORTS {
        let mut frames = frames(write);
        let mut next = bursts(PACKETS as usize);
        group.bench_function(BenchmarkId::new("plain", name), |b| {
            b.iter(|| {
                for frame in &frames[next().start / BURST] {
                    let plain = Plain::read(frame.data(), |vlan| snap.interface_of(DeviceId(0), vlan));
                    black_box(plain).expect("it is plain");
                }
            });
        });
        group.bench_function(BenchmarkId::new("any", name), |b| {
            b.iter(|| {
                let burst = &mut frames[next().start / BURST];
                for frame in std::mem::take(burst) {
                    let packet = read(&snap, frame);
                    black_box(&packet.state);
                    burst.push(packet.buf);
                }
            });
        });
    }
    group.finish();
}

/// A full table, and both keys of each session.
fn table(sessions: u32, protocol: u8, policy: &Policy) -> (Shard<V4Key>, Vec<(V4Key, V4Key)>) {
    let (mut shard, _) = Shard::new(sessions, 3);
    let observed = match protocol {
        protocol::TCP => Observed::Tcp(Segment::bare(SYN, 0, 0, 8192).expect("a segment")),
        _ => Observed::Udp,
    };
    let opening = tracker::open(&observed, policy, 0).expect("a session");
    let keys = (0..sessions).map(|n| {
        let (from, to) = flow(n, protocol);
        let translation = Translation::new(from, to);
        let original = V4Key::new(from, Realm::Internal, 0);
        let reply = V4Key::new(to.inverse(), Realm::External, 0);
        let new = NewSession {
            original,
            reply,
            opening,
            now: NOW,
            length: LENGTH,
            policy: 0,
            mark: 0,
            protected: false,
            lease: None,
            shape: Shape::default(),
            l3: translation.l3,
            l4: translation.l4,
        };
        shard.insert(new).expect("there is room");
        (original, reply)
    });
    let keys = keys.collect();
    (shard, keys)
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, sessions) in SIZES {
        let (shard, keys) = table(sessions, protocol::UDP, &Policy::default());
        let both = |n: u32| if n & 1 == 0 { keys[n as usize / 2].0 } else { keys[n as usize / 2].1 };
        let keys: Vec<V4Key> = shuffled(2 * sessions).into_iter().map(both).collect();
        let mut next = bursts(keys.len());
        let (mut hashes, mut seen) = ([0; BURST], [Candidate::default(); BURST]);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let keys = &keys[next()];
                for (key, hash) in keys.iter().zip(&mut hashes) {
                    *hash = shard.hash(key);
                    shard.prefetch(*hash);
                }
                for (hash, seen) in hashes.iter().zip(&mut seen) {
                    *seen = shard.prefetch_session(*hash, false);
                }
                for ((key, hash), seen) in keys.iter().zip(&hashes).zip(&seen) {
                    black_box(shard.lookup_seen(key, *hash, *seen)).expect("it is there");
                }
            });
        });
    }
    group.finish();
}

/// The sessions of a table in random order.
fn sessions(shard: &Shard<V4Key>, keys: &[(V4Key, V4Key)]) -> Vec<SessionId> {
    let find = |n: u32| {
        let key = keys[n as usize].0;
        shard.lookup(&key, shard.hash(&key)).expect("it is there").0
    };
    shuffled(PACKETS).into_iter().map(find).collect()
}

/// Packets of streams, there and back.
fn track_udp(criterion: &mut Criterion) {
    let policy = Policy::default();
    let (shard, keys) = table(PACKETS, protocol::UDP, &policy);
    let there = sessions(&shard, &keys).into_iter().map(|id| (id, Direction::Original));
    let back = sessions(&shard, &keys).into_iter().map(|id| (id, Direction::Reply));
    let packets: Vec<_> = there.chain(back).collect();
    for (id, direction) in packets.iter().rev().chain(&packets) {
        let session = shard.session(*id);
        tracker::track(session, *direction, &Observed::Udp, LENGTH, NOW, &policy).expect("it passes");
    }
    let mut next = bursts(packets.len());
    let mut group = criterion.benchmark_group("tracker");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("udp", |b| {
        b.iter(|| {
            for (id, direction) in &packets[next()] {
                let follows = follow_udp(shard.session(*id), *direction, black_box(LENGTH), NOW, &policy);
                assert!(follows, "it changes nothing");
            }
        });
    });
    group.finish();
}

/// One segment of a connection.
fn segment(flags: u8, seq: u32, ack: u32, len: u16) -> Segment {
    Segment { len, ..Segment::bare(flags, seq, ack, 8192).expect("a segment") }
}

/// All connections send the same: clients a little data each time round, servers acknowledge it.
fn track_tcp(criterion: &mut Criterion) {
    const DATA: u16 = 6;
    let policy = Policy::default();
    let (shard, keys) = table(PACKETS, protocol::TCP, &policy);
    let ids = sessions(&shard, &keys);
    let track = |id: SessionId, direction, segment| {
        let observed = Observed::Tcp(black_box(segment));
        tracker::track(shard.session(id), direction, &observed, LENGTH, NOW, &policy)
    };
    for id in &ids {
        track(*id, Direction::Reply, segment(SYN | ACK, 0, 1, 0)).expect("it is accepted");
        track(*id, Direction::Original, segment(ACK, 1, 1, 0)).expect("it is open");
    }
    let mut next = bursts(ids.len());
    // The first time round clients send what follows their SYN.
    let (mut sent, mut direction) = (1u32.wrapping_sub(u32::from(DATA)), Direction::Reply);
    let mut group = criterion.benchmark_group("tracker");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("tcp", |b| {
        b.iter(|| {
            let burst = next();
            if burst.start == 0 {
                direction = direction.reverse();
                if direction == Direction::Original {
                    sent = sent.wrapping_add(u32::from(DATA));
                }
            }
            let segment = match direction {
                Direction::Original => segment(ACK, sent, 1, DATA),
                Direction::Reply => segment(ACK, 1, sent.wrapping_add(u32::from(DATA)), 0),
            };
            for id in &ids[burst] {
                black_box(track(*id, direction, segment)).expect("it passes");
            }
        });
    });
    group.finish();
}

/// There and back, so that packets stay what they are; but their time to live runs down, and round and round.
fn translate(criterion: &mut Criterion) {
    let snap = snapshot();
    let mut group = criterion.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, write) in TRANSPORTS {
        let packets = frames(write).into_iter().flatten().map(|frame| read(&snap, frame));
        let mut packets: Vec<_> =
            packets.zip(20_000..).map(|(packet, port)| (translations(&packet, port), packet)).collect();
        let (mut next, mut way) = (bursts(packets.len()), 1);
        group.bench_function(BenchmarkId::new("plain", name), |b| {
            b.iter(|| {
                let burst = next();
                way ^= usize::from(burst.start == 0);
                for (translations, packet) in &mut packets[burst] {
                    let Translation { to, l3, l4 } = translations[way];
                    let bytes = packet.buf.data_mut().get_mut(L3..).expect("a packet");
                    assert!(rewrite_plain(bytes, name == "udp", numbers(&to), (l3, l4)), "it is long enough");
                }
            });
        });
        group.bench_function(BenchmarkId::new("any", name), |b| {
            b.iter(|| {
                let burst = next();
                way ^= usize::from(burst.start == 0);
                for (translations, packet) in &mut packets[burst] {
                    packet.state.ttl = 64;
                    black_box(rewrite(packet, &translations[way])).expect("it is translated");
                }
            });
        });
    }
    group.finish();
}

/// What becomes of a packet, and what becomes of that.
fn translations(packet: &Packet<Buf, Parsed>, port: u16) -> [Translation; 2] {
    let from = packet.state.tuple;
    let to = Tuple { src: Ipv4Addr::new(198, 18, 0, 1), sport: port, ..from };
    [Translation::new(from, to), Translation::new(to, from)]
}

/// Addresses and ports as numbers.
fn numbers(tuple: &Tuple) -> (u64, u32) {
    let addresses = u64::from(tuple.src.to_bits()) << 32 | u64::from(tuple.dst.to_bits());
    (addresses, u32::from(tuple.sport) << 16 | u32::from(tuple.dport))
}

/// A port is given back, and another one taken: that of the host, or one at random because that one is not free.
fn allocate(criterion: &mut Criterion) {
    const PORTS: u32 = 64_512;
    const TAKEN: u16 = 40_000;
    let snap = snapshot();
    let number = snap.pools[0][0];
    let mut group = criterion.benchmark_group("allocate");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, held, kept) in [
        ("the same", PORTS / 2, true),
        ("another of 50%", PORTS / 2, false),
        ("another of 5%", PORTS / 100 * 95, false),
    ] {
        let mut space = PortSpace::new(&snap.local, &snap.steering, WorkerId(0));
        let mut random = Rng::seeded(1);
        let mut take = |space: &mut PortSpace, preferred| {
            space.allocate(number, protocol::UDP, preferred, NOW, || random.next()).expect("a port")
        };
        take(&mut space, TAKEN);
        let mut ports: VecDeque<External> = (0..held).map(|_| take(&mut space, TAKEN)).collect();
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..BURST {
                    let oldest = ports.pop_front().expect("some are held");
                    space.release(oldest, None);
                    ports.push_back(take(&mut space, if kept { oldest.port } else { TAKEN }));
                }
            });
        });
    }
    group.finish();
}

/// Ticks of most timers: five minutes.
const AHEAD: u32 = 3000;

/// How long so many timers take that come out and are armed again. Only whole ticks are: the rest is taken off by share.
fn fire(wheel: &mut Wheel, now: &mut Tick, timers: u64) -> Duration {
    let (start, mut fired) = (Instant::now(), 0);
    while fired < timers {
        *now = now.after(1);
        fired += u64::from(wheel.advance(*now, u32::MAX, |_| Fired::At(now.after(AHEAD))));
    }
    start.elapsed().mul_f64(timers as f64 / fired as f64)
}

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, sessions) in SIZES {
        let order = shuffled(sessions);
        let mut wheel = Wheel::new(sessions, NOW);
        // They come in one after the other, all the time.
        let due = |n: usize| NOW.after(1 + u32::try_from(n * AHEAD as usize / order.len()).expect("soon"));
        order.iter().enumerate().for_each(|(n, index)| wheel.arm(*index, due(n)));
        let mut next = bursts(order.len());
        group.bench_function(BenchmarkId::new("arm", name), |b| {
            b.iter(|| order[next()].iter().for_each(|index| wheel.arm(*index, black_box(NOW.after(AHEAD)))));
        });
        order.iter().enumerate().for_each(|(n, index)| wheel.arm(*index, due(n)));
        let mut now = NOW;
        group.bench_function(BenchmarkId::new("fire", name), |b| {
            b.iter_custom(|iterations| fire(&mut wheel, &mut now, iterations * BURST as u64));
        });
    }
    group.finish();
}

criterion_group!(benches, parse, lookup, track_udp, track_tcp, translate, allocate, timers);
criterion_main!(benches);

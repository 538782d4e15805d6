//! What a worker must not do: allocate after start-up, lock, sleep, read a clock, print or log.
//!
//! One test counts every call of the allocator inside of `Worker::poll_once` over a hundred thousand packets of
//! every sort; the other reads the source of everything that runs in a worker.

#![allow(
    unsafe_code,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "an allocator is unsafe; the stage is shared with the scenarios; a test ends at the first surprise"
)]

#[path = "scenarios/harness.rs"]
mod harness;
#[path = "scenarios/packet.rs"]
mod packet;
#[path = "scenarios/script.rs"]
mod script;
#[path = "scenarios/shape.rs"]
mod shape;
#[path = "scenarios/transport.rs"]
mod transport;

use harness::{Net, Shape, host_mac};
use natgate::management::session_feed::Told;
use natgate::telemetry::{DropReason, Eviction};
use packet::Line;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The system's allocator, and a count of its calls while [`WATCHED`] is set on the calling thread.
struct Counting;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn note() {
    if WATCHED.get() {
        CALLS.set(CALLS.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note();
        // SAFETY: `pointer` is of `System`, as every pointer that `alloc` and `realloc` give.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONFIG: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "192.168.1.1/24"
[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
mtu = 1400
[[snat]]
source = "interface"
[[dnat]]
on = "wan"
protocol = "udp"
port = 53
to = "192.168.1.53"
[[dnat]]
on = "wan"
protocol = "tcp"
port = 443
to = "192.168.1.43"
syn_proxy = true
[set.clients]
prefixes = "198.51.100.0/24"
[[notrack]]
name = "cache"
preset = "memcached"
on = "wan"
from = "set.clients"
policy = "allow-listed"
to = "203.0.113.2"
translate_to = "192.168.1.21"
[conntrack]
max_sessions = 600
half_open = "10%"
max_sessions_per_source = 10
new_sessions_per_source = "50/s"
management = ["192.168.1.20", "198.51.100.0/24"]
[conntrack.timeouts]
udp = "1s"
udp_stream = "1s"
tcp_syn_sent = "1s"
icmp = "1s"
[runtime]
icmp_errors_per_second = 200
"#;

const PACKETS: u64 = 100_000;

/// Packets of every sort, one after the other; `n` varies hosts and ports. Not a multiple of the three queues, so that each
/// sort comes to every worker.
fn sorts(n: u64) -> [(bool, String); 26] {
    let (host, port) = (10 + n % 40, 1024 + n % 50_000);
    let id = n % 60_000;
    let lan = |line: String| (true, line);
    let wan = |line: String| (false, line);
    let out = format!("udp 192.168.1.{host}:{port} > 198.51.100.1:53");
    [
        lan(format!("udp 192.168.1.{host}:1000 > 198.51.100.1:53 len=64")),
        lan(out.clone()),
        lan(out.clone()),
        wan(format!("udp 198.51.100.7:{port} > 203.0.113.2:53")),
        wan(format!("udp 198.51.100.8:1 > 203.0.113.2:{port}")),
        lan(format!("tcp 192.168.1.{host}:{port} > 198.51.100.1:80 S")),
        lan(format!("tcp 192.168.1.{host}:{port} > 198.51.100.1:80 AF")),
        lan(format!("icmp echo 192.168.1.{host} > 198.51.100.1 id={id}")),
        lan(format!("{out} ttl=1")),
        lan(format!("{out} len=1450 df")),
        lan(format!("udp 192.168.1.{host}:{port} > 198.51.100.1:53 len=1600 ipid={id} part=800-1608")),
        lan(format!("udp 192.168.1.{host}:{port} > 198.51.100.1:53 len=1600 ipid={id} part=0-800")),
        lan(format!("icmp echo 192.168.1.{host} > 192.168.1.1 id=1")),
        wan(format!("icmp 3/3 198.51.100.1 > 203.0.113.2 [udp 203.0.113.2:{port} > 198.51.100.9:53]")),
        wan(format!(
            "icmp 3/3 198.51.100.1 > 203.0.113.2 csum=bad [udp 203.0.113.2:{port} > 198.51.100.1:53]"
        )),
        // The SYN proxy.
        wan(format!("tcp 198.51.100.7:{port} > 203.0.113.2:443 S seq={n}")),
        wan(format!("tcp 198.51.100.8:{port} > 203.0.113.2:443 A seq={n} ack={n}")),
        // Neighbours: one that answers, one that does not.
        lan(format!("udp 192.168.1.{host}:1000 > 203.0.113.{host}:53")),
        lan(format!("udp 192.168.1.{host}:1000 > 203.0.113.99:53")),
        // A notrack class.
        wan(format!("tcp 198.51.100.7:{port} > 203.0.113.2:11211 S seq={n}")),
        lan(format!("tcp 192.168.1.21:11211 > 198.51.100.7:{port} SA seq={n} ack={n}")),
        lan(format!("tcp 192.168.1.21:11211 > 198.51.100.7:{port} S seq={n}")),
        wan(format!("udp 192.0.2.7:{port} > 203.0.113.2:11211")),
        wan(format!("udp 198.51.100.7:{port} > 203.0.113.2:11211 len=1600 ipid={id} part=800-1608")),
        wan(format!("udp 198.51.100.7:{port} > 203.0.113.2:11211 len=1600 ipid={id} part=0-800")),
        lan(format!("icmp 3/3 192.168.1.21 > 198.51.100.7 [udp 198.51.100.7:{port} > 192.168.1.21:11211]")),
    ]
}

/// What a client of the SYN proxy and its backend say to a segment of its handshake, and which side it comes from.
fn continue_handshake(packet: &[u8]) -> Option<(bool, String)> {
    const SYN: u8 = 2;
    const SYN_ACK: u8 = 18;
    let word = |at: usize| packet.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let (sport, dport) = (word(20)?, word(22)?);
    let number = |at: usize| u32::from(word(at).unwrap_or(0)) << 16 | u32::from(word(at + 2).unwrap_or(0));
    let (sequence, acknowledged) = (number(24), number(28));
    match (packet.get(9)?, sport, dport, packet.get(33)?) {
        (6, 443, port, &SYN_ACK) => {
            let ack = sequence.wrapping_add(1);
            Some((false, format!("tcp 198.51.100.7:{port} > 203.0.113.2:443 A seq={acknowledged} ack={ack}")))
        }
        (6, port, 443, &SYN) => {
            let ack = sequence.wrapping_add(1);
            Some((true, format!("tcp 192.168.1.43:443 > 198.51.100.7:{port} SA seq=7 ack={ack}")))
        }
        _ => None,
    }
}

#[test]
fn a_worker_does_not_touch_the_allocator_after_start_up() {
    let mut net = Net::new(CONFIG, Shape::plain(3, 3));
    net.play("silent 203.0.113.99");
    let (lan, wan) = (net.interface("lan"), net.interface("wan"));
    let mut pushed = 0;
    let mut n = 0;
    let mut warm = false;
    // Somebody watches, which must change nothing.
    let mut watcher = net.session_feed.subscribe();
    while pushed < PACKETS {
        for (inside, line) in sorts(n) {
            let packet = Line::parse(&line).encode(&net.bindings);
            let from = host_mac(if inside { [192, 168, 1, 10] } else { [203, 0, 113, 1] }.into());
            let interface = if inside { lan } else { wan };
            let to = net.snapshot.interface(interface).mac;
            net.push_on(interface, from, to, false, &packet);
            pushed += 1;
        }
        n += 1;
        if n == 500 && !warm {
            // Everything has happened once; from now on it counts, and every packet anew.
            net.wait(Duration::from_secs(5));
            (warm, pushed) = (true, 0);
        }
        if n % 1000 == 0 {
            // Every now and then another configuration, this time with the same text.
            net.reload(CONFIG);
        }
        // Two turns a round, so that handoffs and answers of ARP move on; the sweep needs time to pass.
        net.now = net.now + Duration::from_millis(1);
        for _ in 0..3 {
            net.management.poll_once(net.now);
            for worker in &mut net.workers {
                WATCHED.set(warm);
                worker.poll_once(net.now);
                WATCHED.set(false);
            }
        }
        net.collect();
        for seen in std::mem::take(&mut net.seen) {
            if let Some((inside, line)) = continue_handshake(&seen.body).filter(|_| !seen.arp) {
                let packet = Line::parse(&line).encode(&net.bindings);
                net.send_ipv4(if inside { lan } else { wan }, &packet);
                pushed += 1;
            }
        }
    }
    let calls = CALLS.get();
    WATCHED.set(true);
    drop(std::hint::black_box(vec![1, 2, 3]));
    WATCHED.set(false);
    assert_eq!(CALLS.get(), calls + 2, "the counter counts");
    assert_eq!(calls, 0, "calls of the allocator in {pushed} packets");
    // That the test has tested something:
    let told: u64 = std::iter::from_fn(|| watcher.ready())
        .map(|told| if let Told::Lost(lost) = told { lost } else { 1 })
        .sum();
    assert!(told > PACKETS / 10, "{told} events");
    let totals = net.totals();
    for name in ["sent", "made", "opened", "closed", "limited", "held", "cookies", "admitted"] {
        let enough = if name == "held" { 0 } else { 100 };
        assert!(totals[name] > enough, "{name}: {}", totals[name]);
    }
    for reason in [
        DropReason::NoSession,
        DropReason::TtlExpired,
        DropReason::FragmentationNeeded,
        DropReason::IcmpUnsolicited,
        DropReason::SourceSessionsLimit,
        DropReason::SourceRateLimit,
        DropReason::NeighborUnresolved,
        DropReason::NeighborQueueFull,
        DropReason::SynCookieInvalid,
        DropReason::NotrackOpening,
        DropReason::NotrackNotListed,
    ] {
        let n = totals[&format!("drop {}", reason.name())];
        assert!(n > 20, "{}: {n}", reason.name());
    }
    for eviction in [Eviction::HalfOpen, Eviction::Unreplied] {
        assert!(totals[&format!("evicted {}", eviction.name())] > 20, "{}", eviction.name());
    }
    let class = net.snapshot.classes[0].counters.totals();
    assert!(class.packets.iter().all(|packets| *packets > 1000), "{class:?}");
    let handed_off: u64 = net.counters.iter().map(|counters| counters.handed_off.get()).sum();
    assert!(handed_off > PACKETS / 4, "{handed_off} handed off");
    net.run();
    net.seen.clear();
    net.assert_balance("at the end");
    net.finish();
}

/// What a packet meets on its way through a worker.
const WORKER_SOURCE: [&str; 10] = [
    "pipeline",
    "conntrack",
    "nat",
    "steering",
    "classify",
    "wire",
    "packet.rs",
    "route/neighbor_table.rs",
    "route/lpm.rs",
    "telemetry/samples.rs",
];

const FORBIDDEN: [&str; 11] = [
    "println!",
    "eprintln!",
    "dbg!",
    "tracing::",
    ".lock(",
    "Mutex",
    "RwLock",
    "std::thread::sleep",
    "thread::sleep",
    "Instant::now",
    "SystemTime",
];

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

#[test]
fn the_source_of_a_worker_neither_locks_nor_sleeps_nor_prints_nor_reads_a_clock() {
    let mut found = Vec::new();
    for part in WORKER_SOURCE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part);
        assert!(path.exists(), "{} is gone: bring the list up to date", path.display());
        files(&path, &mut found);
    }
    assert!(found.len() > 30, "{} files", found.len());
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        // Tests stand at the end of a file.
        let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        let code = code.split("\n#[cfg(all(test").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for word in FORBIDDEN {
                assert!(!line.contains(word), "{}:{}: {word}", path.display(), number + 1);
            }
        }
    }
}

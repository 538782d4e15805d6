//! The whole pipeline on one worker, without NIC I/O: real 64-byte UDP frames in, translated frames out.
//!
//! Two VLANs of one device are the two sides, so that frames go round without a lock. Flows come in random order;
//! their frames are read in memory order, so that the generator's own cache misses do not count.
//!
//! `cargo bench --bench pipeline` prints the time for a burst of 32 packets and packets a second.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark may panic; criterion's macros make public items"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use natgate::config::compile::compile;
use natgate::conntrack::table::Shard;
use natgate::device::{BURST, Burst, Device};
use natgate::ids::{InterfaceId, MacAddr, WorkerId};
use natgate::packet::{NoRoom, PacketBuf};
use natgate::pipeline::message::ToWorker;
use natgate::pipeline::{Worker, WorkerParts};
use natgate::telemetry::WorkerCounters;
use natgate::time::Time;
use natgate::wire::checksum::{Sum, checksum};
use rtrb::RingBuffer;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Ethernet, tag, IPv4, UDP and 18 bytes: 64 bytes on the wire without FCS.
const FRAME: usize = 64;
const HEADROOM: usize = 16;
/// Flows of one subscriber; each subscriber has its own pool address by hash.
const FLOWS_A_HOST: u32 = 64;

const CONFIG: &str = r#"
[interface.lan]
device = "vdev:bench"
vlan = 10
realm = "internal"
address = "10.0.0.1/8"
[interface.wan]
device = "vdev:bench"
vlan = 20
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[pool.public]
addresses = "198.18.0.0/24"
[[snat]]
source = "pool.public"
[conntrack]
max_sessions = 2097152
"#;

struct Buf {
    bytes: Box<[u8; HEADROOM + FRAME]>,
    start: usize,
    len: usize,
}

impl PacketBuf for Buf {
    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
    fn grow_front(&mut self, n: usize) -> Result<(), NoRoom> {
        self.start = self.start.checked_sub(n).ok_or(NoRoom)?;
        self.len += n;
        Ok(())
    }
    fn shrink_front(&mut self, n: usize) {
        let n = n.min(self.len);
        self.start += n;
        self.len -= n;
    }
    fn grow_back(&mut self, n: usize) -> Result<(), NoRoom> {
        if self.start + self.len + n > self.bytes.len() {
            return Err(NoRoom);
        }
        self.len += n;
        Ok(())
    }
}

/// Delivers the frames of a list round and round, a burst at a time when `credit` says so.
struct Source {
    frames: Vec<[u8; FRAME]>,
    at: usize,
    credit: Arc<std::sync::atomic::AtomicUsize>,
    free: Vec<Buf>,
}

impl Device for Source {
    type Buf = Buf;

    fn rx_burst(&mut self, out: &mut Burst<Buf>) {
        use std::sync::atomic::Ordering::Relaxed;
        let credit = self.credit.load(Relaxed).min(BURST);
        self.credit.store(self.credit.load(Relaxed) - credit, Relaxed);
        for _ in 0..credit {
            let mut buf = self.alloc().expect("memory");
            buf.len = FRAME;
            buf.data_mut().copy_from_slice(&self.frames[self.at]);
            self.at = if self.at + 1 == self.frames.len() { 0 } else { self.at + 1 };
            out.push(buf);
        }
    }

    fn tx_burst(&mut self, frames: &mut Burst<Buf>) {
        for frame in frames.drain(..) {
            black_box(frame.data());
            self.free.push(frame);
        }
    }

    fn alloc(&mut self) -> Option<Buf> {
        let mut buf = self.free.pop().unwrap_or_else(|| Buf {
            bytes: Box::new([0; HEADROOM + FRAME]),
            start: HEADROOM,
            len: 0,
        });
        (buf.start, buf.len) = (HEADROOM, 0);
        Some(buf)
    }

    fn transmits(&self) -> bool {
        true
    }
}

fn frame(flow: u32) -> [u8; FRAME] {
    let src = Ipv4Addr::from_bits(0x0a01_0000 + flow / FLOWS_A_HOST);
    let dst = Ipv4Addr::new(192, 0, 2, 1);
    let port = u16::try_from(10_000 + flow % FLOWS_A_HOST).expect("a port");
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&MAC.0);
    frame[6..12].copy_from_slice(&PEER);
    frame[12..18].copy_from_slice(&[0x81, 0x00, 0, 10, 0x08, 0x00]);
    let total = u16::try_from(FRAME - 18).expect("a length");
    let ip = &mut frame[18..38];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    (ip[8], ip[9]) = (64, 17);
    ip[12..16].copy_from_slice(&src.octets());
    ip[16..20].copy_from_slice(&dst.octets());
    let sum = checksum(ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = &mut frame[38..];
    udp[..2].copy_from_slice(&port.to_be_bytes());
    udp[2..4].copy_from_slice(&53u16.to_be_bytes());
    udp[4..6].copy_from_slice(&(total - 20).to_be_bytes());
    let sum = Sum::default().pseudo_header(src, dst, 17, total - 20).bytes(udp).checksum();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    frame
}

struct Bench {
    worker: Worker<Source>,
    credit: Arc<std::sync::atomic::AtomicUsize>,
    now: Time,
}

impl Bench {
    /// A worker with `flows` sessions, which come in random order.
    fn new(flows: u32) -> Bench {
        let config = natgate::config::parse(CONFIG, "bench").expect("a good config").config;
        let snapshot = Arc::new(compile(&config, &[MAC], 1, 1));
        let (mut to_worker, mail) = RingBuffer::new(16);
        let (management, _from_worker) = RingBuffer::new(16);
        let neighbor = Ipv4Addr::new(203, 0, 113, 1);
        let known = ToWorker::Neighbor { interface: InterfaceId(1), address: neighbor, mac: MacAddr(PEER) };
        to_worker.push(known).expect("room");
        let mut order: Vec<u32> = (0..flows).collect();
        let mut random = natgate::nat::Rng::seeded(7);
        for last in (1..order.len()).rev() {
            let other = usize::try_from(random.next()).expect("64 bits") % (last + 1);
            order.swap(last, other);
        }
        let credit = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let source = Source {
            frames: order.into_iter().map(frame).collect(),
            at: 0,
            credit: credit.clone(),
            free: Vec::new(),
        };
        let worker = Worker::new(WorkerParts {
            id: WorkerId(0),
            snapshot,
            devices: vec![source],
            transmitters: vec![WorkerId(0)],
            shard: Shard::new(config.conntrack.max_sessions, 3).0,
            peers: vec![None],
            mail,
            management,
            // Nobody reads it: what counts on the packet path is that it is full or not.
            timers: RingBuffer::new(16).0,
            counters: Arc::new(WorkerCounters::default()),
            icmp_errors_per_second: 0,
            rng: natgate::nat::Rng::seeded(5),
        });
        let mut bench = Bench { worker, credit, now: Time::from_secs(1) };
        for _ in 0..flows.div_ceil(32) {
            bench.burst();
        }
        bench
    }

    fn burst(&mut self) {
        self.credit.store(BURST, std::sync::atomic::Ordering::Relaxed);
        self.worker.poll_once(black_box(self.now));
    }

    /// Checks that everything was translated and nothing else happened.
    fn check(&self, flows: u32) {
        let counters = self.worker.counters();
        assert_eq!(counters.sent.get(), counters.rx.get(), "a packet was not sent");
        assert_eq!(counters.sessions_created.get(), u64::from(flows), "sessions");
    }
}

fn hits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hit");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, flows) in [("1k", 1 << 10), ("64k", 1 << 16), ("1M", 1 << 20)] {
        let mut bench = Bench::new(flows);
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| bench.burst()));
        bench.check(flows);
    }
    group.finish();
}

criterion_group!(benches, hits);
criterion_main!(benches);

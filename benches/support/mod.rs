//! What the benchmarks share: a device in memory without a lock, frames, and workers behind it.
//!
//! Two VLANs of one device are the two sides, so that frames go round without a lock. Frames are real: 64 bytes on
//! the wire at least, with right checksums; the benchmark takes what comes out and can look at it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    dead_code,
    reason = "a benchmark may panic, and each uses a part of this"
)]

pub(crate) mod replay;
pub(crate) mod talk;

use natgate::config::compile::compile;
use natgate::config::model::Config;
use natgate::conntrack::key::V4Key;
use natgate::conntrack::table::{SessionView, Shard};
use natgate::device::{Burst, Device};
use natgate::ids::{InterfaceId, MacAddr, WorkerId};
use natgate::management::{Management, WorkerLink};
use natgate::memory::Pages;
use natgate::packet::{NoRoom, PacketBuf};
use natgate::pipeline::mesh::{HANDOFF_FRAMES, full_mesh};
use natgate::pipeline::message::ToWorker;
use natgate::pipeline::session_events::{SessionEvents, Watched};
use natgate::pipeline::{Snapshot, Worker, WorkerParts};
use natgate::telemetry::{DropReason, WorkerCounters};
use natgate::time::Time;
use natgate::wire::checksum::{Sum, checksum};
use rtrb::RingBuffer;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

/// The gateway's Ethernet address.
pub(crate) const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// That of everybody else.
pub(crate) const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Ethernet, tag, IPv4, transport and padding: 64 bytes on the wire without FCS.
pub(crate) const FRAME: usize = 64;
/// Where the IPv4 header begins.
pub(crate) const L3: usize = 18;
/// Where the transport header begins.
pub(crate) const L4: usize = L3 + 20;
/// VLAN of the internal and the external side.
pub(crate) const LAN: u16 = 10;
/// See [`LAN`].
pub(crate) const WAN: u16 = 20;

/// Up to the next cache line.
const HEADROOM: usize = 60;
const ROOM: usize = 128 + 64;

/// Both sides on one device, a pool of 512 addresses, and what `more` adds.
pub(crate) fn config(more: &str) -> Config {
    config_of("addresses = \"198.18.0.0/23\"", more)
}

/// The same with another pool.
pub(crate) fn config_of(pool: &str, more: &str) -> Config {
    let text = format!(
        r#"
[interface.lan]
device = "vdev:bench"
vlan = {LAN}
realm = "internal"
address = "10.0.0.1/24"
[interface.wan]
device = "vdev:bench"
vlan = {WAN}
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[[route]]
to = "10.0.0.0/8"
via = "10.0.0.2"
[pool.public]
{pool}
[[snat]]
source = "pool.public"
{more}
"#
    );
    match natgate::config::parse(&text, "bench") {
        Ok(checked) => checked.config,
        Err(errors) => panic!("{errors}"),
    }
}

/// A frame in memory, laid out as a driver's: what is known of it in one cache line, the frame from the next one on.
pub(crate) struct Buf(Box<Inner>);

#[repr(C, align(64))]
struct Inner {
    start: u16,
    len: u16,
    bytes: [u8; HEADROOM + ROOM],
}

impl Buf {
    fn new() -> Buf {
        Buf(Box::new(Inner { start: HEADROOM as u16, len: 0, bytes: [0; HEADROOM + ROOM] }))
    }

    fn reset(&mut self, len: usize) {
        (self.0.start, self.0.len) = (HEADROOM as u16, len as u16);
    }

    #[inline]
    fn range(&self) -> std::ops::Range<usize> {
        let start = usize::from(self.0.start);
        start..start + usize::from(self.0.len)
    }
}

impl PacketBuf for Buf {
    #[inline]
    fn data(&self) -> &[u8] {
        &self.0.bytes[self.range()]
    }
    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        &mut self.0.bytes[range]
    }
    fn truncate(&mut self, len: usize) {
        self.0.len = self.0.len.min(len as u16);
    }
    fn grow_front(&mut self, n: usize) -> Result<(), NoRoom> {
        self.0.start = self.0.start.checked_sub(n as u16).ok_or(NoRoom)?;
        self.0.len += n as u16;
        Ok(())
    }
    fn shrink_front(&mut self, n: usize) {
        let n = (n as u16).min(self.0.len);
        self.0.start += n;
        self.0.len -= n;
    }
    fn grow_back(&mut self, n: usize) -> Result<(), NoRoom> {
        if self.range().end + n > self.0.bytes.len() {
            return Err(NoRoom);
        }
        self.0.len += n as u16;
        Ok(())
    }
}

/// Where frames come from and go to.
pub(crate) trait Feed: Send {
    /// Writes the next frame; false if there is none now.
    fn next(&mut self, frame: &mut [u8]) -> bool;
    /// A frame came out.
    fn sent(&mut self, frame: &[u8]) {
        std::hint::black_box(frame);
    }
}

/// The device.
pub(crate) struct Loop<F> {
    feed: Arc<Mutex<F>>,
    free: Vec<Buf>,
}

impl<F: Feed> Loop<F> {
    /// A device with this feed.
    pub(crate) fn new(feed: &Arc<Mutex<F>>) -> Loop<F> {
        Loop { feed: feed.clone(), free: Vec::new() }
    }
}

impl<F: Feed> Device for Loop<F> {
    type Buf = Buf;

    fn rx_burst(&mut self, out: &mut Burst<Buf>) {
        let feed = self.feed.clone();
        let mut feed = feed.lock().expect("one thread");
        while !out.is_full() {
            let mut buf = self.alloc().expect("memory");
            buf.reset(FRAME);
            if !feed.next(buf.data_mut()) {
                self.free.push(buf);
                break;
            }
            out.push(buf);
        }
    }

    fn tx_burst(&mut self, frames: &mut Burst<Buf>) {
        let mut feed = self.feed.lock().expect("one thread");
        for frame in frames.drain(..) {
            feed.sent(frame.data());
            self.free.push(frame);
        }
    }

    fn alloc(&mut self) -> Option<Buf> {
        let mut buf = self.free.pop().unwrap_or_else(Buf::new);
        buf.reset(0);
        Some(buf)
    }

    fn transmits(&self) -> bool {
        true
    }
}

/// One worker, its management core, and the feed of its device.
pub(crate) struct Gateway<F: Feed> {
    /// The worker.
    pub(crate) worker: Worker<Loop<F>>,
    /// The management core.
    pub(crate) management: Management,
    /// The other end of its device.
    pub(crate) feed: Arc<Mutex<F>>,
    /// What the worker counts.
    pub(crate) counters: Arc<WorkerCounters>,
    /// Its sessions.
    pub(crate) sessions: SessionView<V4Key>,
    /// What sessions and index lie in.
    pub(crate) pages: (Pages, Pages),
    /// Virtual time.
    pub(crate) now: Time,
}

/// A worker and what belongs to it.
pub(crate) struct Built<F: Feed> {
    /// The worker.
    pub(crate) worker: Worker<Loop<F>>,
    /// The other end of its device.
    pub(crate) feed: Arc<Mutex<F>>,
    /// What it counts.
    pub(crate) counters: Arc<WorkerCounters>,
    /// Its sessions.
    pub(crate) sessions: SessionView<V4Key>,
    /// What sessions and index lie in.
    pub(crate) pages: (Pages, Pages),
}

/// The time at which benchmarks begin.
pub(crate) fn start() -> Time {
    Time::from_secs(3600)
}

/// A worker for each feed, and their management core; the next hops are known. `sessions` is the size of each shard.
pub(crate) fn build<F: Feed>(
    mut snapshot: Snapshot,
    sessions: u32,
    feeds: impl IntoIterator<Item = F>,
) -> (Vec<Built<F>>, Management) {
    // What is refused is refused silently.
    snapshot.icmp_errors_per_second = 0;
    let snapshot = Arc::new(snapshot);
    let feeds: Vec<_> = feeds.into_iter().map(|feed| Arc::new(Mutex::new(feed))).collect();
    let (mut all, mut links) = (Vec::new(), Vec::new());
    for ((id, feed), peers) in (0u8..).zip(&feeds).zip(full_mesh(feeds.len(), HANDOFF_FRAMES)) {
        let (mut to_worker, mail) = RingBuffer::new(4096);
        let (management, from_worker) = RingBuffer::new(4096);
        let (timer_posts, timers) = RingBuffer::new(65_536);
        for (interface, address) in [(0, Ipv4Addr::new(10, 0, 0, 2)), (1, Ipv4Addr::new(203, 0, 113, 1))] {
            let interface = InterfaceId(interface);
            let known = ToWorker::Neighbor { interface, address, mac: MacAddr(PEER) };
            to_worker.push(known).expect("room");
        }
        let (tells, session_events) = SessionEvents::new(16_384, Watched::default());
        let (shard, view) = Shard::new(sessions, 3);
        let pages = shard.pages();
        let counters: Arc<WorkerCounters> = Arc::default();
        links.push(WorkerLink {
            to: to_worker,
            from: from_worker,
            sessions: view.clone(),
            timers,
            session_events,
            counters: counters.clone(),
        });
        let worker = Worker::new(WorkerParts {
            id: WorkerId(id),
            snapshot: snapshot.clone(),
            devices: vec![Loop::new(feed)],
            transmitters: vec![WorkerId(id)],
            shard,
            peers,
            mail,
            management,
            timers: timer_posts,
            session_events: tells,
            counters: counters.clone(),
            rng: natgate::nat::Rng::seeded(5 + u64::from(id)),
        });
        all.push(Built { worker, feed: feed.clone(), counters, sessions: view, pages });
    }
    (all, Management::new(snapshot, links, start()))
}

impl<F: Feed> Gateway<F> {
    /// A gateway with one worker; the next hops are known.
    pub(crate) fn new(config: &Config, feed: F) -> Gateway<F> {
        let (mut built, management) =
            build(compile(config, &[MAC], 1, 1), config.conntrack.max_sessions, [feed]);
        let Built { worker, feed, counters, sessions, pages } = built.remove(0);
        Gateway { worker, management, feed, counters, sessions, pages, now: start() }
    }

    /// Turns until the feed has nothing more.
    pub(crate) fn drain(&mut self) {
        while self.worker.poll_once(self.now) {}
    }

    /// Every packet that came in was sent on.
    pub(crate) fn assert_all_sent(&self) {
        let drops: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| (reason.name(), self.counters.drops[*reason as usize].get()))
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(self.counters.sent.get(), self.counters.rx.get(), "a packet was not sent: {drops:?}");
    }
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// Source address and port.
    pub(crate) from: (Ipv4Addr, u16),
    /// Destination address and port.
    pub(crate) to: (Ipv4Addr, u16),
}

/// Writes Ethernet header, tag and IPv4 header of a packet that fills the frame.
fn write_ip(frame: &mut [u8], vlan: u16, flow: &Flow, protocol: u8, payload: usize) {
    frame.fill(0);
    frame[..6].copy_from_slice(&MAC.0);
    frame[6..12].copy_from_slice(&PEER);
    frame[12..14].copy_from_slice(&[0x81, 0]);
    frame[14..16].copy_from_slice(&vlan.to_be_bytes());
    frame[16..18].copy_from_slice(&[0x08, 0]);
    let ip = &mut frame[L3..L4];
    ip[0] = 0x45;
    let total = u16::try_from(20 + payload).expect("a length");
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    (ip[6], ip[8], ip[9]) = (0x40, 64, protocol);
    ip[12..16].copy_from_slice(&flow.from.0.octets());
    ip[16..20].copy_from_slice(&flow.to.0.octets());
    let sum = checksum(ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn transport_sum(flow: &Flow, protocol: u8, bytes: &[u8]) -> u16 {
    let length = u16::try_from(bytes.len()).expect("a length");
    Sum::default().pseudo_header(flow.from.0, flow.to.0, protocol, length).bytes(bytes).checksum()
}

/// A UDP datagram that fills the frame.
pub(crate) fn udp(frame: &mut [u8], vlan: u16, flow: &Flow) {
    write_ip(frame, vlan, flow, 17, FRAME - L4);
    let udp = &mut frame[L4..];
    udp[..2].copy_from_slice(&flow.from.1.to_be_bytes());
    udp[2..4].copy_from_slice(&flow.to.1.to_be_bytes());
    let length = u16::try_from(udp.len()).expect("a length");
    udp[4..6].copy_from_slice(&length.to_be_bytes());
    let sum = transport_sum(flow, 17, udp);
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Flags.
    pub(crate) flags: u8,
    /// Sequence number.
    pub(crate) seq: u32,
    /// Acknowledgement number.
    pub(crate) ack: u32,
    /// Bytes of data: 0 to 6.
    pub(crate) len: usize,
}

/// Writes a TCP segment; the frame is padded.
pub(crate) fn tcp(frame: &mut [u8], vlan: u16, flow: &Flow, segment: &Segment) {
    write_ip(frame, vlan, flow, 6, 20 + segment.len);
    let tcp = &mut frame[L4..L4 + 20 + segment.len];
    tcp[..2].copy_from_slice(&flow.from.1.to_be_bytes());
    tcp[2..4].copy_from_slice(&flow.to.1.to_be_bytes());
    tcp[4..8].copy_from_slice(&segment.seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&segment.ack.to_be_bytes());
    (tcp[12], tcp[13]) = (5 << 4, segment.flags);
    tcp[14..16].copy_from_slice(&8192u16.to_be_bytes());
    let sum = transport_sum(flow, 6, tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// What a router answers to a frame that asks for it: the same frame, turned into an answer.
pub(crate) fn arp_answer(frame: &[u8]) -> Option<[u8; FRAME]> {
    if frame[16..18] != [0x08, 0x06] || frame[L3 + 6..L3 + 8] != [0, 1] {
        return None;
    }
    let mut answer = [0; FRAME];
    answer[..FRAME.min(frame.len())].copy_from_slice(&frame[..FRAME.min(frame.len())]);
    answer[..6].copy_from_slice(&MAC.0);
    answer[6..12].copy_from_slice(&PEER);
    let arp = &mut answer[L3..L3 + 28];
    arp[7] = 2;
    let (asking, asked): ([u8; 10], [u8; 4]) =
        (arp[8..18].try_into().expect("ten"), arp[24..28].try_into().expect("four"));
    arp[8..14].copy_from_slice(&PEER);
    arp[14..18].copy_from_slice(&asked);
    arp[18..28].copy_from_slice(&asking);
    Some(answer)
}

/// Addresses and ports of a frame that came out.
pub(crate) fn flow_of(frame: &[u8]) -> Flow {
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).expect("four"));
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Flow { from: (address(L3 + 12), port(L4)), to: (address(L3 + 16), port(L4 + 2)) }
}

/// The numbers below `n` in random order.
pub(crate) fn shuffled(n: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    let mut random = natgate::nat::Rng::seeded(7);
    for last in (1..order.len()).rev() {
        let other = usize::try_from(random.next()).expect("64 bits") % (last + 1);
        order.swap(last, other);
    }
    order
}

/// The `n`-th flow from inside: 64 ports of each host, to one server.
pub(crate) fn outbound(n: u32) -> Flow {
    const FLOWS_A_HOST: u32 = 64;
    let port = u16::try_from(10_000 + n % FLOWS_A_HOST).expect("a port");
    Flow {
        from: (Ipv4Addr::from_bits(0x0a01_0000 + n / FLOWS_A_HOST), port),
        to: (Ipv4Addr::new(192, 0, 2, 1), 53),
    }
}

/// Resident memory of the process in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let kib = |name| line(name).and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    // Reserved huge pages are counted apart.
    (kib("VmRSS:").unwrap_or(0) + kib("HugetlbPages:").unwrap_or(0)) * 1024
}

/// The frequency of the time stamp counter in GHz, to show times in cycles too.
pub(crate) fn gigahertz() -> f64 {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpus.lines().find(|line| line.starts_with("cpu MHz"));
    let mhz: Option<f64> = line.and_then(|line| line.split(':').nth(1)?.trim().parse().ok());
    mhz.unwrap_or(1000.0) / 1000.0
}

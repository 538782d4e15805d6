//! A worker whose table of neighbours is full: packets to one more are refused by name, and it goes on.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use etherparse::PacketBuilder;
use natgate::config;
use natgate::config::compile::compile;
use natgate::conntrack::table::Shard;
use natgate::device::mem::MemWire;
use natgate::device::membuf::MemPool;
use natgate::ids::{InterfaceId, MacAddr, WorkerId};
use natgate::nat::Rng;
use natgate::pipeline::message::{FromWorker, ToWorker};
use natgate::pipeline::session_events::{SessionEvents, Watched};
use natgate::pipeline::worker::NEIGHBORS;
use natgate::pipeline::{Worker, WorkerParts};
use natgate::telemetry::{DropReason, WorkerCounters};
use natgate::time::Time;
use rtrb::RingBuffer;
use std::net::Ipv4Addr;
use std::sync::Arc;

const CONFIG: &str = "
[interface.lan]
device = \"vdev:mem0\"
realm = \"internal\"
address = \"10.0.0.1/8\"
";
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const LAN: InterfaceId = InterfaceId(0);

fn ping_from(client: Ipv4Addr) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(HOST.0, GATEWAY.0)
        .ipv4(client.octets(), [10, 0, 0, 1], 64)
        .icmpv4_echo_request(1, 1);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"hello").unwrap();
    frame
}

#[test]
fn a_full_neighbour_table_refuses_by_name_and_serves_those_that_it_knows() {
    let config = config::parse(CONFIG, "lan.toml").unwrap().config;
    let pool = MemPool::new(64, 2048);
    let (wire, devices) = MemWire::new(&pool, 1, 1, 1);
    let (mut to_worker, mail) = RingBuffer::new(NEIGHBORS + 1);
    let (management, mut from_worker) = RingBuffer::new(16);
    let counters = Arc::new(WorkerCounters::default());
    let mut worker = Worker::new(WorkerParts {
        id: WorkerId(0),
        snapshot: Arc::new(compile(&config, &[GATEWAY], 1, 1)),
        devices,
        transmitters: vec![WorkerId(0)],
        shard: Shard::new(16, 1).0,
        peers: vec![None],
        mail,
        management,
        timers: RingBuffer::new(16).0,
        session_events: SessionEvents::new(16, Watched::default()).0,
        counters: counters.clone(),
        rng: Rng::seeded(1),
    });
    let known = |n: usize| Ipv4Addr::from_bits(0x0a01_0000 + u32::try_from(n).unwrap());
    for n in 0..NEIGHBORS {
        to_worker.push(ToWorker::Neighbor { interface: LAN, address: known(n), mac: HOST }).unwrap();
    }
    let now = Time::from_secs(1);
    while worker.poll_once(now) {}

    // One that is known is answered.
    assert!(wire.push(0, &ping_from(known(7))));
    worker.poll_once(now);
    assert_eq!((counters.consumed.get(), counters.generated.get()), (1, 1));
    assert!(wire.pop().is_some());

    // One more: there is no place for the answer to a question, so none is asked.
    let newcomer = Ipv4Addr::new(10, 200, 0, 1);
    assert!(wire.push(0, &ping_from(newcomer)));
    worker.poll_once(now);
    assert_eq!(counters.held.get(), 1);
    assert!(!matches!(from_worker.pop(), Ok(FromWorker::Resolve { .. })));

    // Should it be told all the same, its packet is refused; it does not go round in circles.
    to_worker.push(ToWorker::Neighbor { interface: LAN, address: newcomer, mac: HOST }).unwrap();
    worker.poll_once(now);
    assert_eq!(counters.held.get(), 0);
    assert_eq!(counters.drops[DropReason::NeighborQueueFull as usize].get(), 1);

    // Once another one is gone there is room.
    to_worker.push(ToWorker::NeighborGone { interface: LAN, address: known(0) }).unwrap();
    to_worker.push(ToWorker::Neighbor { interface: LAN, address: newcomer, mac: HOST }).unwrap();
    assert!(wire.push(0, &ping_from(newcomer)));
    worker.poll_once(now);
    assert_eq!((counters.consumed.get(), counters.generated.get()), (2, 2));
    assert_eq!(counters.rx.get(), counters.consumed.get() + counters.dropped());
    assert!(wire.pop().is_some());
    drop(worker);
    assert_eq!(pool.in_use(), 0);
}

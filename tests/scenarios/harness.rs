//! The stage: natgate between hosts in memory, with a clock that moves only when a script says so.
//!
//! [`Net`] holds the management core and every worker and runs them in turn on one thread until nothing is left
//! to do. Frames are put on the receive queues as the NIC of the [`Shape`] says, or round robin, so that most arrive at
//! a worker that does not own them. Hosts answer ARP by themselves, and ask for the gateway before they first send.

use crate::packet::Bindings;
use crate::shape::steer;
pub(crate) use crate::shape::{SHAPES, Shape};
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType};
use natgate::config::compile::{compile_after, compile_for};
use natgate::config::lineage::Heritage;
use natgate::config::reorder::reorder;
use natgate::config::{self, Config};
use natgate::conntrack::key::V4Key;
use natgate::conntrack::table::{SessionSnapshot, SessionView, Shard};
use natgate::control::reload::survey::Usage;
use natgate::device::Device;
use natgate::device::mem::{MemDevice, MemWire};
use natgate::device::mem_nic::MemNic;
use natgate::device::membuf::{MemBuf, MemPool};
use natgate::ids::{InterfaceId, MacAddr, WorkerId};
use natgate::management::session_feed::SessionFeed;
use natgate::management::{Management, WorkerLink};
use natgate::nat::behavior::Behavior;
use natgate::packet::PacketBuf;
use natgate::pipeline::session_events::SessionEvents;
use natgate::pipeline::update::WorkerUpdate;
use natgate::pipeline::{Snapshot, Worker, WorkerParts, mesh};
use natgate::steering::Spread;
use natgate::telemetry::{AlgEvent, DropReason, Eviction, WorkerCounters};
use natgate::time::Time;
use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Turns after which something goes round in circles.
const MAX_TURNS: usize = 20_000;
const FRAMES: usize = 16_384;
/// Messages and frames that a ring holds.
pub(crate) const RING: usize = 1024;

/// Plays a script in every shape.
pub(crate) fn play(config: &str, script: &str) {
    play_with(config, script, &SHAPES);
}

/// Plays a script in some shapes.
pub(crate) fn play_with(config: &str, script: &str, shapes: &[Shape]) {
    for shape in shapes {
        let mut net = Net::new(config, *shape);
        net.play(script);
        net.finish();
    }
}

/// What the counters say, all workers together; only what is not zero.
pub(crate) type Totals = BTreeMap<String, i64>;

/// A frame that came out.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) interface: InterfaceId,
    pub(crate) to: MacAddr,
    /// IPv4 packet or ARP message, without the link header.
    pub(crate) body: Vec<u8>,
    pub(crate) arp: bool,
}

/// The gateway and the wires around it.
pub(crate) struct Net<D: Device<Buf = MemBuf> = MemDevice> {
    pub(crate) shape: Shape,
    pub(crate) config: Config,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) views: Vec<SessionView<V4Key>>,
    pub(crate) now: Time,
    pub(crate) workers: Vec<Worker<D>>,
    pub(crate) management: Management,
    pub(crate) wires: Vec<MemWire>,
    /// What spreads the frames of a wire; empty: queues take turns.
    nics: Vec<MemNic>,
    pub(crate) counters: Vec<Arc<WorkerCounters>>,
    pub(crate) session_feed: SessionFeed,
    pub(crate) pool: MemPool,
    pub(crate) bindings: Bindings,
    /// Hosts that do not answer ARP.
    pub(crate) silent: HashSet<Ipv4Addr>,
    /// Hosts that have asked for the gateway.
    awake: HashSet<(InterfaceId, Ipv4Addr)>,
    /// Another configuration was taken over: what it announces needs no line.
    reloaded: bool,
    queue: usize,
    /// Scripts declare what comes out, and of counters only what they want to.
    pub(crate) black_box: bool,
    /// What came out and was not asked for yet.
    pub(crate) seen: Vec<Seen>,
    /// ARP of the gateway that was dealt with without a line: requests that were answered, announcements after a reload.
    pub(crate) arp_answered: i64,
    pub(crate) before: Totals,
}

fn read_config(text: &str, shape: Shape) -> Config {
    let mut config = match config::parse(text, "scenario.toml") {
        Ok(checked) => checked.config,
        Err(errors) => panic!("{errors}"),
    };
    let runtime = &mut config.runtime;
    (runtime.workers, runtime.spread, runtime.steering) = (shape.workers as u8, shape.spread, shape.wish);
    if shape.spread == Spread::Flow {
        // As the reader does where the file says so and nothing else.
        let behaviors = config.pools.iter_mut().map(|pool| &mut pool.behavior);
        for behavior in behaviors.chain([&mut config.masquerade]) {
            if (behavior.mapping, behavior.filtering)
                == (Behavior::DEFAULT.mapping, Behavior::DEFAULT.filtering)
            {
                (behavior.mapping, behavior.filtering) =
                    (Behavior::BY_FLOW.mapping, Behavior::BY_FLOW.filtering);
            }
        }
    }
    config
}

fn is_announcement(body: &[u8]) -> bool {
    read_arp(body).is_some_and(|(who, from, request)| request && who == from)
}

fn macs(config: &Config) -> Vec<MacAddr> {
    (0..config.devices.len()).map(device_mac).collect()
}

impl Net {
    /// A gateway with this config; its devices are named `vdev:mem0`, ….
    pub(crate) fn new(config: &str, shape: Shape) -> Net {
        Net::with_devices(config, shape, |device, _, _| device)
    }
}

/// The Ethernet address of the device with this number.
pub(crate) fn device_mac(device: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, device as u8 + 1])
}

/// The Ethernet address of a host.
pub(crate) fn host_mac(address: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = address.octets();
    MacAddr([2, 0xaa, a, b, c, d])
}

impl<D: Device<Buf = MemBuf>> Net<D> {
    /// A gateway whose device handles are wrapped: `wrap(handle, device, worker)`.
    pub(crate) fn with_devices(
        text: &str,
        shape: Shape,
        mut wrap: impl FnMut(MemDevice, usize, usize) -> D,
    ) -> Net<D> {
        let config = read_config(text, shape);
        let (nics, plans, steering) = steer(&config, shape);
        let mut snapshot = compile_for(&config, &macs(&config), steering, 1);
        // All of it for each worker, so that the same comes out however many there are.
        snapshot.icmp_errors_per_second = config.runtime.icmp_errors_per_second;
        let snapshot = Arc::new(snapshot);
        let pool = MemPool::new(FRAMES, 2048);
        let mut devices: Vec<Vec<D>> = (0..shape.workers).map(|_| Vec::new()).collect();
        let mut wires = Vec::new();
        for device in 0..config.devices.len() {
            let (wire, handles) = MemWire::new(&pool, shape.workers, shape.queues, shape.queues);
            wires.push(wire);
            for (worker, handle) in handles.into_iter().enumerate() {
                devices[worker].push(wrap(handle, device, worker));
            }
        }
        let now = Time::from_secs(1000);
        let session_feed = SessionFeed::default();
        let (mut workers, mut links, mut counters, mut views) = (vec![], vec![], vec![], vec![]);
        let peers = mesh::full_mesh(shape.workers, RING);
        for ((id, devices), peers) in devices.into_iter().enumerate().zip(peers) {
            let share = config.conntrack.max_sessions.div_ceil(shape.workers as u32);
            let (shard, view) = Shard::new(share, 0x1234);
            let (to, mail) = rtrb::RingBuffer::new(RING);
            let (management, from) = rtrb::RingBuffer::new(RING);
            let own: Arc<WorkerCounters> = Arc::default();
            let (timer_posts, timers) = rtrb::RingBuffer::new(RING);
            let (tells, session_events) = SessionEvents::new(RING, session_feed.watched());
            views.push(view.clone());
            links.push(WorkerLink {
                to,
                from,
                sessions: view,
                timers,
                session_events,
                counters: own.clone(),
            });
            counters.push(own.clone());
            let transmitter = if id < shape.queues { id } else { id % shape.queues };
            let worker = Worker::new(WorkerParts {
                id: WorkerId(id as u8),
                snapshot: snapshot.clone(),
                transmitters: vec![WorkerId(transmitter as u8); config.devices.len()],
                devices,
                shard,
                peers,
                mail,
                management,
                timers: timer_posts,
                session_events: tells,
                counters: own,
                rng: natgate::nat::Rng::seeded(77 + id as u64),
            });
            workers.push(if shape.short_way { worker } else { worker.without_short_way() });
        }
        let mut management = Management::new(snapshot.clone(), links, now);
        management.watch_steering(&plans);
        management.feed_sessions(session_feed.clone());
        Net {
            shape,
            config,
            snapshot,
            views,
            now,
            workers,
            management,
            wires,
            counters,
            session_feed,
            nics,
            pool,
            bindings: Bindings::default(),
            silent: HashSet::new(),
            awake: HashSet::new(),
            reloaded: false,
            queue: 0,
            black_box: false,
            seen: Vec::new(),
            arp_answered: 0,
            before: Totals::new(),
        }
    }

    /// An interface by name.
    pub(crate) fn interface(&self, name: &str) -> InterfaceId {
        let at = self.snapshot.interfaces.iter().position(|interface| interface.name == name);
        InterfaceId(at.unwrap_or_else(|| panic!("no interface {name}")) as u8)
    }

    /// Takes another configuration over, as a reload does: what NICs do stays.
    pub(crate) fn reload(&mut self, text: &str) {
        let config = reorder(read_config(text, self.shape), &self.config);
        let steering = self.snapshot.steering.clone();
        let mut usage = Usage::new(&self.snapshot);
        self.sessions().iter().for_each(|(_, session)| usage.look(session));
        let in_use = usage.found();
        let heritage = Heritage { config: &self.config, snapshot: &self.snapshot, in_use: &in_use };
        let revision = self.snapshot.revision + 1;
        let next = Arc::new(compile_after(Some(heritage), &config, &macs(&config), steering, revision));
        let capacities: Vec<u32> = self.views.iter().map(SessionView::capacity).collect();
        let updates = WorkerUpdate::between(&self.snapshot, &next, &capacities).unwrap();
        self.management.publish(&next, updates, self.now).map_err(|(error, _)| error).unwrap();
        (self.config, self.snapshot) = (config, next);
        self.reloaded = true;
    }

    /// Every session, with the worker that has it.
    pub(crate) fn sessions(&self) -> Vec<(usize, SessionSnapshot<V4Key>)> {
        let of = |(worker, view): (usize, &SessionView<V4Key>)| {
            (0..view.capacity()).filter_map(|index| Some((worker, view.read(index)?))).collect::<Vec<_>>()
        };
        self.views.iter().enumerate().flat_map(of).collect()
    }

    /// The receive queue that the NIC of a device chooses for a frame, if there is a NIC.
    pub(crate) fn queue_of(&self, device: usize, frame: &[u8]) -> Option<usize> {
        self.nics.get(device).map(|nic| nic.queue_of(frame))
    }

    /// Puts a frame on the wire of a device, on the receive queue that its NIC chooses.
    pub(crate) fn push(&mut self, device: usize, frame: &[u8]) {
        let turn = self.queue % self.shape.queues;
        self.queue += 1;
        let queue = self.queue_of(device, frame).unwrap_or(turn);
        assert!(self.wires[device].push(queue, frame), "pool or queue are full");
    }

    /// Puts `body` on the wire of an interface with its tag.
    pub(crate) fn push_on(
        &mut self,
        interface: InterfaceId,
        from: MacAddr,
        to: MacAddr,
        arp: bool,
        body: &[u8],
    ) {
        let here = self.snapshot.interface(interface).clone();
        let frame = frame(to, from, here.vlan, if arp { 0x0806 } else { 0x0800 }, body);
        self.push(here.device.index(), &frame);
    }

    /// Runs management and workers in turn until nothing is left to do.
    pub(crate) fn run(&mut self) {
        for _ in 0..MAX_TURNS {
            let mut busy = self.management.poll_once(self.now);
            for worker in &mut self.workers {
                busy |= worker.poll_once(self.now);
            }
            busy |= self.collect();
            if !busy {
                return;
            }
        }
        panic!("the gateway does not come to rest");
    }

    /// Takes the frames that came out, and lets hosts answer ARP.
    pub(crate) fn collect(&mut self) -> bool {
        let mut busy = false;
        for device in 0..self.wires.len() {
            while let Some(buf) = self.wires[device].pop() {
                busy = true;
                let seen = self.read_frame(device, buf.data());
                if seen.arp && self.reloaded && is_announcement(&seen.body) {
                    self.arp_answered += 1;
                    continue;
                }
                if !seen.arp || !self.answer_arp(&seen) {
                    self.seen.push(seen);
                }
            }
        }
        busy
    }

    fn read_frame(&self, device: usize, bytes: &[u8]) -> Seen {
        let mac = |at: usize| MacAddr(bytes[at..at + 6].try_into().unwrap());
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (vlan, ethertype, l3) =
            if word(12) == 0x8100 { (word(14), word(16), 18) } else { (0, word(12), 14) };
        let interface = self
            .snapshot
            .interfaces
            .iter()
            .position(|interface| interface.device.index() == device && interface.vlan == vlan)
            .unwrap_or_else(|| panic!("a frame with tag {vlan} on device {device}"));
        assert_eq!(mac(6), device_mac(device), "the source of a frame is the gateway");
        let interface = InterfaceId(interface as u8);
        Seen { interface, to: mac(0), body: bytes[l3..].to_vec(), arp: ethertype == 0x0806 }
    }

    /// A host answers a request for its address.
    fn answer_arp(&mut self, seen: &Seen) -> bool {
        let Some((who, from, request)) = read_arp(&seen.body) else {
            panic!("broken ARP {:02x?}", seen.body)
        };
        let here = self.snapshot.interface(seen.interface);
        let ours = self.snapshot.local_on(here, who).is_some();
        let arrives = seen.to == MacAddr::BROADCAST || seen.to == host_mac(who);
        if !request || ours || !arrives || self.silent.contains(&who) || !here.is_on_link(who) {
            return false;
        }
        let (mac, to) = (host_mac(who), here.mac);
        let reply = arp(ArpOperation::REPLY, (mac, who), (to, from));
        self.push_on(seen.interface, mac, to, true, &reply);
        self.arp_answered += 1;
        true
    }

    /// The Ethernet address that packets with this source come from, once their sender has asked for the gateway.
    pub(crate) fn sender(&mut self, interface: InterfaceId, source: Ipv4Addr) -> MacAddr {
        let here = self.snapshot.interface(interface).clone();
        let neighbor = match self.snapshot.route_in(here.zone, source) {
            Some(hop) if hop.interface == interface => hop.neighbor(source),
            // A liar: on this link, but from where is not known.
            _ => return host_mac(source),
        };
        let mac = host_mac(neighbor);
        let ours = self.snapshot.local_on(&here, neighbor).is_some();
        if !ours
            && !here.is_directed_broadcast(neighbor)
            && !self.silent.contains(&neighbor)
            && self.awake.insert((interface, neighbor))
        {
            let target = here.address_towards(neighbor);
            let request = arp(ArpOperation::REQUEST, (mac, neighbor), (MacAddr::default(), target));
            self.push_on(interface, mac, MacAddr::BROADCAST, true, &request);
            self.run();
            let answer = |seen: &Seen| {
                seen.arp && seen.to == mac && read_arp(&seen.body) == Some((target, target, false))
            };
            let at = self.seen.iter().position(answer).expect("the gateway answers ARP");
            self.seen.remove(at);
            self.arp_answered += 1;
        }
        mac
    }

    /// Sends an IPv4 packet from its source to the gateway, and does not run.
    pub(crate) fn send_ipv4(&mut self, interface: InterfaceId, packet: &[u8]) {
        let source = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[12..16]).unwrap());
        let from = self.sender(interface, source);
        let to = self.snapshot.interface(interface).mac;
        self.push_on(interface, from, to, false, packet);
    }

    /// What a script that follows has to declare begins here.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
        (self.arp_answered, self.before) = (0, self.totals());
    }

    /// Lets time pass, with a look at everything ten times a second.
    pub(crate) fn wait(&mut self, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            let left = end.since(self.now);
            // Coarse far from the end: days have to pass.
            let step = if left > Duration::from_secs(1200) { 1000 } else { 100 };
            self.now = self.now + left.min(Duration::from_millis(step));
            self.run();
        }
    }

    /// The counters of all workers together.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::new();
        let mut add = |name: &str, n: u64| *totals.entry(name.into()).or_default() += n as i64;
        for worker in &self.counters {
            add("sent", worker.sent.get());
            add("made", worker.generated.get());
            add("lost", worker.generated_lost.get());
            add("limited", worker.icmp_limited.get());
            add("cookies", worker.syn_cookies_sent.get());
            add("admitted", worker.syn_cookies_valid.get());
            add("asked again", worker.syn_proxy_retries.get());
            add("given up", worker.syn_proxy_given_up.get());
            add("held", worker.held.get());
            add("opened", worker.sessions_created.get());
            add("closed", worker.sessions_removed.get());
            add("messages lost", worker.messages_lost.get());
            for eviction in Eviction::ALL {
                add(&format!("evicted {}", eviction.name()), worker.evictions[*eviction as usize].get());
            }
            for event in AlgEvent::ALL {
                add(&format!("alg {}", event.name()), worker.alg[*event as usize].get());
            }
            for reason in DropReason::ALL {
                add(&format!("drop {}", reason.name()), worker.drops[*reason as usize].get());
            }
        }
        totals
    }

    /// Every packet has exactly one verdict, and the books of all workers agree.
    pub(crate) fn assert_balance(&self, place: &str) {
        let sum = |pick: fn(&WorkerCounters) -> u64| self.counters.iter().map(|c| pick(c)).sum::<u64>();
        assert_eq!(
            sum(|c| c.rx.get()),
            sum(|c| c.sent.get() + c.consumed.get() + c.dropped() + c.held.get()),
            "{place}: rx = sent + consumed + drops + held"
        );
        assert_eq!(sum(|c| c.handed_off.get()), sum(|c| c.taken_over.get()), "{place}: handed over");
        assert_eq!(
            sum(|c| c.sessions.get()),
            sum(|c| c.sessions_created.get()) - sum(|c| c.sessions_removed.get()),
            "{place}: sessions"
        );
        let out = |c: &WorkerCounters| c.interfaces.iter().map(|i| i.tx_packets.get()).sum::<u64>();
        assert_eq!(sum(out), sum(|c| c.sent.get() + c.generated.get()), "{place}: by interface");
    }

    /// Sessions in all tables.
    pub(crate) fn session_count(&self) -> u64 {
        self.counters.iter().map(|counters| counters.sessions.get()).sum()
    }

    /// Stops the gateway: nothing may be left of any frame.
    pub(crate) fn finish(mut self) {
        for worker in &mut self.workers {
            worker.drain();
        }
        self.assert_balance("at the end");
        let Net { pool, workers, wires, .. } = self;
        drop((workers, wires));
        assert_eq!(pool.in_use(), 0, "frames leaked");
    }
}

/// An Ethernet frame.
pub(crate) fn frame(to: MacAddr, from: MacAddr, vlan: u16, ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = [&to.0[..], &from.0].concat();
    if vlan != 0 {
        frame.extend_from_slice(&[0x81, 0]);
        frame.extend_from_slice(&vlan.to_be_bytes());
    }
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// An ARP message.
pub(crate) fn arp(
    operation: ArpOperation,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
) -> Vec<u8> {
    let (sender_ip, target_ip) = (sender.1.octets(), target.1.octets());
    ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &sender.0.0,
        &sender_ip,
        &target.0.0,
        &target_ip,
    )
    .unwrap()
    .to_bytes()
    .to_vec()
}

/// The address that a request asks for or an answer tells of, the sender's address, and whether it is a request.
pub(crate) fn read_arp(body: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, bool)> {
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?));
    let request = body.get(6..8)? == [0, 1];
    let (sender, target) = (address(14)?, address(24)?);
    Some((if request { target } else { sender }, sender, request))
}

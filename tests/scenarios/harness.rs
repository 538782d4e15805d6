//! The stage: natgate between hosts in memory, with a clock that moves only when a script says so.
//!
//! [`Net`] holds the management core and every worker and runs them in turn on one thread until nothing is left
//! to do. Frames are put on the receive queues round robin, so that most arrive at a worker that does not own
//! them. Hosts answer ARP by themselves, and ask for the gateway before they first send.
//!
//! Nothing may happen that a script does not declare: after each step every frame that came out and every change
//! of a counter has to have its line, and `rx = sent + consumed + drops + held` has to hold.
//!
//! | line | meaning |
//! |---|---|
//! | `lan> PACKET` | a host on `lan` sends |
//! | `wan< PACKET` | it comes out at `wan`, forwarded |
//! | `lan<+ PACKET` | it comes out at `lan`, made by the gateway |
//! | `lan> arp who A from B [mac=M]`, `lan<+ arp is A to B` | ARP |
//! | `… mac=M` | goes to this Ethernet address, and not to the one that follows from the host's address |
//! | `drop REASON [N]` | N received packets were dropped for it |
//! | `opened [N]`, `closed [N]` | sessions |
//! | `held +N`, `held -N` | packets that wait for something |
//! | `lost [N]`, `limited [N]` | packets of the gateway's own that it could not, or would not, send |
//! | `wait 301s` | time passes |
//! | `silent A`, `speaks A` | a host stops, or begins again, to answer ARP |
//! | `forget $p` | the variable has no value any more |
//!
//! What stands between two lines with `>` (or `wait`) belongs to the first of them; its order does not matter.

use crate::packet::{Bindings, Line, describe};
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType};
use natgate::config;
use natgate::conntrack::key::V4Key;
use natgate::conntrack::table::{SessionView, Shard};
use natgate::device::Device;
use natgate::device::mem::{MemDevice, MemWire};
use natgate::device::membuf::{MemBuf, MemPool};
use natgate::ids::{InterfaceId, MacAddr, WorkerId};
use natgate::management::{Management, WorkerLink};
use natgate::packet::PacketBuf;
use natgate::pipeline::{Snapshot, Worker, WorkerParts, mesh};
use natgate::telemetry::{DropReason, WorkerCounters};
use natgate::time::Time;
use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Workers, and receive and transmit queues of each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) workers: usize,
    pub(crate) queues: usize,
}

/// The shapes that every script is played in.
pub(crate) const SHAPES: [Shape; 4] = [
    Shape { workers: 1, queues: 1 },
    Shape { workers: 2, queues: 2 },
    Shape { workers: 3, queues: 3 },
    Shape { workers: 3, queues: 1 },
];

/// Turns after which something goes round in circles.
const MAX_TURNS: usize = 20_000;
const FRAMES: usize = 16_384;
/// Messages and frames that a ring holds.
const RING: usize = 1024;

/// Plays a script in every shape.
pub(crate) fn play(config: &str, script: &str) {
    for shape in SHAPES {
        let mut net = Net::new(config, shape);
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
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) now: Time,
    pub(crate) workers: Vec<Worker<D>>,
    pub(crate) management: Management,
    pub(crate) wires: Vec<MemWire>,
    pub(crate) counters: Vec<Arc<WorkerCounters>>,
    pub(crate) sessions: Vec<SessionView<V4Key>>,
    pub(crate) pool: MemPool,
    pub(crate) bindings: Bindings,
    /// Hosts that do not answer ARP.
    silent: HashSet<Ipv4Addr>,
    /// Hosts that have asked for the gateway.
    awake: HashSet<Ipv4Addr>,
    queue: usize,
    /// What came out and was not asked for yet.
    pub(crate) seen: Vec<Seen>,
    /// ARP requests of the gateway that were answered without a line.
    arp_answered: i64,
    before: Totals,
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
        let mut config = match config::parse(text, "scenario.toml") {
            Ok(checked) => checked.config,
            Err(errors) => panic!("{errors}"),
        };
        config.runtime.workers = shape.workers as u8;
        let macs: Vec<MacAddr> = (0..config.devices.len()).map(device_mac).collect();
        let snapshot = Arc::new(config::compile::compile(&config, &macs, 0x5eed, 1));
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
        let (mut workers, mut links, mut counters, mut sessions) = (vec![], vec![], vec![], vec![]);
        let peers = mesh::full_mesh(shape.workers, RING);
        for ((id, devices), peers) in devices.into_iter().enumerate().zip(peers) {
            let share = config.conntrack.max_sessions.div_ceil(shape.workers as u32);
            let (shard, view) = Shard::new(share, 0x1234 + id as u64);
            let (to, mail) = rtrb::RingBuffer::new(RING);
            let (management, from) = rtrb::RingBuffer::new(RING);
            let own: Arc<WorkerCounters> = Arc::default();
            links.push(WorkerLink { to, from, sessions: view.clone() });
            counters.push(own.clone());
            sessions.push(view);
            let transmitter = if id < shape.queues { id } else { id % shape.queues };
            workers.push(Worker::new(WorkerParts {
                id: WorkerId(id as u8),
                snapshot: snapshot.clone(),
                transmitters: vec![WorkerId(transmitter as u8); config.devices.len()],
                devices,
                shard,
                peers,
                mail,
                management,
                counters: own,
                icmp_errors_per_second: config.runtime.icmp_errors_per_second,
                seed: 77 + id as u64,
            }));
        }
        let management = Management::new(snapshot.clone(), links, now);
        Net {
            shape,
            snapshot,
            now,
            workers,
            management,
            wires,
            counters,
            sessions,
            pool,
            bindings: Bindings::default(),
            silent: HashSet::new(),
            awake: HashSet::new(),
            queue: 0,
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

    /// Puts a frame on the wire of a device, on the next receive queue.
    pub(crate) fn push(&mut self, device: usize, frame: &[u8]) {
        let queue = self.queue % self.shape.queues;
        self.queue += 1;
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
        let ours = self.snapshot.local.find(who).is_some();
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
        let neighbor = match self.snapshot.route(source) {
            Some(hop) if hop.interface == interface => hop.neighbor(source),
            // A liar: on this link, but from where is not known.
            _ => return host_mac(source),
        };
        let mac = host_mac(neighbor);
        let ours = self.snapshot.local.find(neighbor).is_some();
        if !ours
            && !here.is_directed_broadcast(neighbor)
            && !self.silent.contains(&neighbor)
            && self.awake.insert(neighbor)
        {
            let target = here.address_towards(neighbor);
            let request = arp(ArpOperation::REQUEST, (mac, neighbor), (MacAddr::default(), target));
            self.push_on(interface, mac, MacAddr::BROADCAST, true, &request);
            self.run();
            let answer = self.seen.pop().expect("the gateway answers ARP");
            assert!(
                answer.arp && answer.to == mac && read_arp(&answer.body) == Some((target, target, false))
            );
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

    /// Plays a script.
    pub(crate) fn play(&mut self, script: &str) {
        let mut step = Step::default();
        for (number, line) in script.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            let count = || if rest.is_empty() { 1 } else { rest.parse::<i64>().unwrap() };
            let is_act = word.ends_with('>') || matches!(word, "wait" | "silent" | "speaks" | "forget");
            if is_act {
                self.settle(&mut step);
                step.line = number + 1;
                step.text = line.to_owned();
            }
            match word {
                "wait" => self.wait(humantime::parse_duration(rest).unwrap()),
                "silent" => drop(self.silent.insert(rest.parse().unwrap())),
                "speaks" => drop(self.silent.remove(&rest.parse().unwrap())),
                "forget" => self.bindings.forget(rest),
                "opened" | "closed" | "lost" | "limited" | "held" => step.expect(word, count()),
                "drop" => {
                    let (reason, n) = rest.split_once(' ').unwrap_or((rest, "1"));
                    assert!(DropReason::from_name(reason).is_some(), "no reason {reason}");
                    step.expect(&format!("drop {reason}"), n.parse().unwrap());
                }
                _ => match word.split_once(['<', '>']) {
                    Some((interface, "")) if word.ends_with('>') => self.send(interface, rest),
                    Some((interface, made @ ("" | "+"))) => {
                        step.outputs.push((interface.to_owned(), made == "+", rest.to_owned()));
                    }
                    _ => panic!("line {}: what is {line}?", number + 1),
                },
            }
        }
        self.settle(&mut step);
    }

    /// Sends what a line says.
    fn send(&mut self, interface: &str, what: &str) {
        let interface = self.interface(interface);
        if let Some(message) = what.strip_prefix("arp ") {
            let (body, from, to) = self.arp_of(interface, message);
            self.push_on(interface, from, to, true, &body);
        } else {
            let line = Line::parse(what);
            let mut packet = line.encode(&self.bindings);
            packet.resize(packet.len() + line.padding(), 0xee);
            self.send_ipv4(interface, &packet);
        }
        self.run();
    }

    /// `who A from B [mac=M]`, `is A to B [mac=M]`.
    fn arp_of(&self, interface: InterfaceId, text: &str) -> (Vec<u8>, MacAddr, MacAddr) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (one, other) = (self.bindings.address(words[1]), self.bindings.address(words[3]));
        let given = words.get(4).and_then(|word| word.strip_prefix("mac=")).map(|mac| mac.parse().unwrap());
        let ours = self.snapshot.interface(interface).mac;
        if words[0] == "who" {
            let from = given.unwrap_or(host_mac(other));
            let body = arp(ArpOperation::REQUEST, (from, other), (MacAddr::default(), one));
            (body, from, MacAddr::BROADCAST)
        } else {
            let from = given.unwrap_or(host_mac(one));
            (arp(ArpOperation::REPLY, (from, one), (ours, other)), from, ours)
        }
    }

    /// Compares everything that happened with what was declared for it.
    fn settle(&mut self, step: &mut Step) {
        let step = std::mem::take(step);
        let place = format!("{:?}, line {}: {}", self.shape, step.line, step.text);
        let mut seen = std::mem::take(&mut self.seen);
        let (mut sent, mut made) = (0, self.arp_answered);
        self.arp_answered = 0;
        for (interface, by_gateway, what) in &step.outputs {
            let wanted = self.interface(interface);
            let mut reasons = Vec::new();
            let found = (0..seen.len()).find(|at| {
                let mut bindings = self.bindings.clone();
                let verdict = if seen[*at].interface == wanted {
                    self.compare(&seen[*at], *by_gateway, what, &mut bindings)
                } else {
                    Err("on another interface".into())
                };
                match verdict {
                    Ok(()) => {
                        self.bindings = bindings;
                        true
                    }
                    Err(why) => {
                        reasons.push(format!("{}: {why}", self.words(&seen[*at])));
                        false
                    }
                }
            });
            match found {
                Some(at) => drop(seen.remove(at)),
                None => panic!(
                    "{place}\nmissing: {interface}< {what}\nseen: {reasons:#?}\n{:?}",
                    changes(&self.before, &self.totals())
                ),
            }
            *(if *by_gateway { &mut made } else { &mut sent }) += 1;
        }
        let undeclared: Vec<String> = seen.iter().map(|seen| self.words(seen)).collect();
        let now = self.totals();
        let mut declared = step.counters;
        declared.insert("sent".into(), sent);
        declared.insert("made".into(), made);
        declared.retain(|_, n| *n != 0);
        let changes = changes(&self.before, &now);
        assert!(undeclared.is_empty(), "{place}\nundeclared: {undeclared:#?}\n{changes:?}");
        assert_eq!(changes, declared, "{place}\ncounters: left is what happened");
        self.before = now;
        self.assert_balance(&place);
    }

    fn words(&self, seen: &Seen) -> String {
        let name = &self.snapshot.interface(seen.interface).name;
        if seen.arp {
            format!("{name}< arp {:?}", read_arp(&seen.body))
        } else {
            format!("{name}< {}", describe(&seen.body))
        }
    }

    fn compare(&self, seen: &Seen, made: bool, what: &str, bindings: &mut Bindings) -> Result<(), String> {
        let here = self.snapshot.interface(seen.interface);
        let (what, mac) = match what.split_once(" mac=") {
            Some((what, mac)) => (what, Some(mac.parse::<MacAddr>().unwrap())),
            None => (what, None),
        };
        if let Some(message) = what.strip_prefix("arp ") {
            let words: Vec<&str> = message.split_whitespace().collect();
            let (request, address, other) = (words[0] == "who", words[1], words[3]);
            let (target, sender, is_request) = read_arp(&seen.body).filter(|_| seen.arp).ok_or("no ARP")?;
            if request != is_request {
                return Err("the other operation".into());
            }
            bindings.meet(address, target)?;
            // Of an answer the asked address is its sender; to whom it goes shows its Ethernet address.
            return if request {
                bindings.meet(other, sender)
            } else if seen.to == mac.unwrap_or(host_mac(bindings.address(other))) {
                Ok(())
            } else {
                Err(format!("to {}", seen.to))
            };
        }
        if seen.arp {
            return Err("is ARP".into());
        }
        let line = Line::parse(what);
        // Errors that the gateway makes are never fragmented.
        let line = if made { line.with_df_if_error() } else { line };
        line.matches(&seen.body, bindings)?;
        let destination = Ipv4Addr::from(<[u8; 4]>::try_from(&seen.body[16..20]).unwrap());
        let hop = self.snapshot.route(destination).ok_or("no route leads there")?;
        if seen.to != mac.unwrap_or(host_mac(hop.neighbor(destination)))
            || self.snapshot.interface(hop.interface).name != here.name
        {
            return Err(format!("to the Ethernet address {}", seen.to));
        }
        Ok(())
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
            add("held", worker.held.get());
            add("opened", worker.sessions_created.get());
            add("closed", worker.sessions_removed.get());
            add("messages lost", worker.messages_lost.get());
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

#[derive(Default)]
struct Step {
    line: usize,
    text: String,
    /// Interface, made by the gateway, what.
    outputs: Vec<(String, bool, String)>,
    counters: Totals,
}

impl Step {
    fn expect(&mut self, counter: &str, n: i64) {
        *self.counters.entry(counter.into()).or_default() += n;
    }
}

fn changes(before: &Totals, after: &Totals) -> Totals {
    after
        .iter()
        .map(|(name, n)| (name.clone(), n - before.get(name).copied().unwrap_or_default()))
        .filter(|(_, n)| *n != 0)
        .collect()
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
fn read_arp(body: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, bool)> {
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?));
    let request = body.get(6..8)? == [0, 1];
    let (sender, target) = (address(14)?, address(24)?);
    Some((if request { target } else { sender }, sender, request))
}

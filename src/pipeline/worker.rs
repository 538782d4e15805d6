//! One worker: what it owns, and one turn of its loop.

use super::Snapshot;
use super::admission::Gate;
use super::alg::Watcher;
use super::drops::{arrived, drop_handoff};
use super::endpoint::Held;
use super::handover::Running;
use super::mesh::{HANDOFF_FRAMES, Handoff, Peers, Work};
use super::message::{FromWorker, ToWorker};
use super::session_events::{Change, End, SessionEvents};
use super::syn_proxy::SynProxy;
use super::unsolicited::Unsolicited;
use super::update::WorkerUpdate;
use super::waiting::{PER_NEIGHBOR, WaitingRoom};
use crate::conntrack::class::Class;
use crate::conntrack::key::V4Key;
use crate::conntrack::pressure::Census;
use crate::conntrack::table::{SessionId, Shard};
use crate::device::{BURST, Burst, Device};
use crate::ids::{DeviceId, WorkerId};
use crate::nat::fragment::FragmentTable;
use crate::nat::icmp_make::RateLimit;
use crate::nat::ident::Identifications;
use crate::nat::mapping::Mappings;
use crate::nat::ports::Rng;
use crate::nat::space::PortSpace;
use crate::route::NeighborTable;
use crate::route::neighbor_table::NeighborState;
use crate::telemetry::samples::Sampler;
use crate::telemetry::{DropReason, SESSION_CLASSES, WorkerCounters};
use crate::time::{Tick, Time};
use arrayvec::ArrayVec;
use rtrb::{Consumer, Producer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Messages of the management core that are read a turn.
const MAIL_BUDGET: usize = 64;
/// Bursts taken from each other worker a turn: work has gone into these frames, and none yet into those that wait in a NIC.
const PEER_BUDGET: usize = 4;
/// Datagrams in fragments that a worker collects at once, and the fragments it holds for them.
const FRAGMENT_DATAGRAMS: usize = 1024;
const FRAGMENTS_HELD: usize = 512;
/// How long fragments wait for the first one, in ticks: 2 s (RFC 6146 3.4 asks for at least that).
const FRAGMENT_TIMEOUT: u32 = 20;
/// Datagrams in fragments that are given up a tick at the most: the whole table in less than a second.
const FRAGMENT_BUDGET: usize = 128;
/// Packets that wait for neighbours.
const WAITING: usize = 256;
/// How long they wait at the most, should the management core not answer.
const WAITING_DEADLINE: Duration = Duration::from_secs(5);
/// Neighbours that a worker knows.
pub const NEIGHBORS: usize = 16_384;
/// Share of the ICMP rate that may come at once.
const ICMP_BURST_SHARE: u32 = 10;

const _: () = assert!(SESSION_CLASSES == Class::ALL.len());

/// Frames that a worker may hold beside its bursts: what waits in the pipeline, and one full ring from another worker.
/// More rings than that fill up only while a worker is overloaded; frames that then miss are lost as they would be
/// on a full ring.
pub fn held_frames(workers: u16) -> u32 {
    let handed_over = if workers > 1 { HANDOFF_FRAMES } else { 0 };
    u32::try_from(FRAGMENTS_HELD + WAITING + handed_over).unwrap_or(u32::MAX)
}

/// What a worker is built from. The other ends of its rings are with the runtime.
pub struct WorkerParts<D: Device> {
    /// Its number.
    pub id: WorkerId,
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Its handle on each device, by [`DeviceId`].
    pub devices: Vec<D>,
    /// Who transmits for it, by [`DeviceId`]: itself where its handle has a transmit queue.
    pub transmitters: Vec<WorkerId>,
    /// Its shard of the session table. All shards have one seed: a hash is computed once, whoever the owner is.
    pub shard: Shard<V4Key>,
    /// Handoff rings.
    pub peers: Peers<D::Buf>,
    /// Messages from the management core.
    pub mail: Consumer<ToWorker>,
    /// Messages to the management core.
    pub management: Producer<FromWorker>,
    /// Indices of sessions whose timer the management core has to look at.
    pub timers: Producer<u32>,
    /// Where it tells what happens to sessions.
    pub session_events: SessionEvents,
    /// Its counters.
    pub counters: Arc<WorkerCounters>,
    /// Its random numbers: which external ports it chooses.
    pub rng: Rng,
}

/// A poll-mode worker.
pub struct Worker<D: Device> {
    running: Running<Snapshot>,
    mail: Consumer<ToWorker>,
    core: Core<D>,
}

/// A device handle with the frames that are to be sent by it.
pub(super) struct Port<D: Device> {
    pub(super) device: D,
    pub(super) out: Burst<D::Buf>,
    pub(super) notes: ArrayVec<super::mesh::Note, BURST>,
    pub(super) transmitter: WorkerId,
}

/// Everything of a worker but the configuration, so that stages can borrow both at once.
pub(super) struct Core<D: Device> {
    pub(super) id: WorkerId,
    pub(super) ports: Box<[Port<D>]>,
    pub(super) shard: Shard<V4Key>,
    pub(super) gate: Gate,
    pub(super) space: PortSpace,
    pub(super) mappings: Mappings,
    pub(super) rng: Rng,
    pub(super) fragments: FragmentTable<D::Buf>,
    pub(super) identifications: Identifications,
    pub(super) neighbors: NeighborTable,
    pub(super) waiting: WaitingRoom<D::Buf>,
    pub(super) unsolicited: Unsolicited,
    pub(super) peers: Peers<D::Buf>,
    pub(super) management: Producer<FromWorker>,
    pub(super) timers: Producer<u32>,
    pub(super) session_events: SessionEvents,
    pub(super) icmp_limit: RateLimit,
    pub(super) syn_proxy: Option<SynProxy>,
    pub(super) watcher: Option<Watcher>,
    pub(super) counters: Arc<WorkerCounters>,
    pub(super) sampler: Sampler,
    /// When this turn began.
    pub(super) now: Time,
    /// At most [`BURST`] packets; a queue, so that each is moved once.
    pub(super) batch: VecDeque<Work<D::Buf>>,
    /// See [`Worker::without_short_way`].
    pub(super) short_way: bool,
    last_tick: Tick,
    /// Memory that the last configuration left and the management core has yet to take.
    left: Option<Box<WorkerUpdate>>,
}

/// ICMP errors that a worker may make at once.
fn icmp_burst(snap: &Snapshot) -> u32 {
    snap.icmp_errors_per_second.div_ceil(ICMP_BURST_SHARE)
}

impl<D: Device> Worker<D> {
    /// Builds a worker. This is the last time that it allocates.
    pub fn new(parts: WorkerParts<D>) -> Self {
        let WorkerParts {
            id,
            snapshot,
            devices,
            transmitters,
            shard,
            peers,
            mail,
            management,
            counters,
            mut rng,
            ..
        } = parts;
        // A session that another one has to go for gets its mapping before that.
        let mappings = shard.capacity().saturating_add(1);
        let ports = devices
            .into_iter()
            .zip(transmitters)
            .map(|(device, transmitter)| Port {
                device,
                out: ArrayVec::new(),
                notes: ArrayVec::new(),
                transmitter,
            })
            .collect();
        let gate = Gate::new(&snapshot.conntrack.limits, shard.capacity(), rng.next());
        let syn_proxy = SynProxy::new(&snapshot, shard.capacity(), &mut rng);
        let watcher = Watcher::new(&snapshot, &mut rng);
        let seeds = [rng.next(), rng.next()];
        let space = PortSpace::new(&snapshot.local, &snapshot.steering, id);
        let space = space.with_blocks(mappings, seeds[0].rotate_left(17) ^ seeds[1]);
        let core = Core {
            id,
            ports,
            gate,
            syn_proxy,
            watcher,
            mappings: Mappings::new(mappings, shard.capacity(), seeds),
            shard,
            space,
            rng,
            identifications: Identifications::new(id, snapshot.steering.workers().into()),
            fragments: FragmentTable::new(FRAGMENT_DATAGRAMS, FRAGMENTS_HELD, FRAGMENT_TIMEOUT),
            neighbors: NeighborTable::new(NEIGHBORS),
            waiting: WaitingRoom::new(WAITING),
            unsolicited: Unsolicited::new(),
            peers,
            management,
            timers: parts.timers,
            session_events: parts.session_events,
            icmp_limit: RateLimit::new(snapshot.icmp_errors_per_second, icmp_burst(&snapshot)),
            counters,
            sampler: Sampler::default(),
            now: Time::ZERO,
            batch: VecDeque::with_capacity(BURST),
            short_way: true,
            last_tick: Tick::default(),
            left: None,
        };
        let running = Running::new(snapshot, core.counters.revision.clone());
        Worker { running, mail, core }
    }

    /// The same worker with one way for all packets: what the short one has to agree with.
    #[must_use]
    pub fn without_short_way(mut self) -> Self {
        self.core.short_way = false;
        self
    }

    /// One turn: messages, every device, every other worker, what is due. Returns whether there was anything to do.
    ///
    /// Never waits, allocates, locks or logs. The work of a turn is bounded.
    pub fn poll_once(&mut self, now: Time) -> bool {
        self.core.now = now;
        self.core.sampler.begin_turn(now);
        let mut busy = self.read_mail(now);
        let snapshot = &**self.running.get();
        for peer in 0..self.core.peers.len() {
            busy |= self.core.take_over(snapshot, now, peer);
        }
        for device in (0..self.core.ports.len()).filter_map(|n| u8::try_from(n).ok()).map(DeviceId) {
            busy |= self.core.receive(snapshot, now, device);
        }
        // What came from several places is dealt with in full bursts; this is the rest.
        self.core.process(snapshot, now);
        if now.tick() != self.core.last_tick {
            self.core.last_tick = now.tick();
            self.core.sampler.begin_tick();
            self.core.look_after_old(snapshot, now);
        }
        self.core.flush_all();
        busy |= self.core.flush_peers();
        self.core.count_turn(busy);
        busy
    }

    /// Gives up everything that is held, with a named drop each; for shutdown. Frames in handoff rings to this
    /// worker are taken too, so every worker must have made its last turn before.
    pub fn drain(&mut self) {
        self.core.flush_all();
        self.core.give_up_held();
    }

    /// The worker's counters.
    pub fn counters(&self) -> &Arc<WorkerCounters> {
        &self.core.counters
    }

    fn read_mail(&mut self, now: Time) -> bool {
        let mut busy = false;
        for _ in 0..MAIL_BUDGET {
            // Another configuration may be the next message, and there is room for what one leaves.
            if !self.core.give_back_left() {
                break;
            }
            let Ok(message) = self.mail.pop() else { break };
            busy = true;
            match message {
                ToWorker::Adopt { snapshot, revision, update } => {
                    self.core.adopt(&snapshot, update);
                    self.running.adopt(snapshot, revision);
                }
                message => self.core.read_message(self.running.get(), now, message),
            }
        }
        busy
    }
}

impl<D: Device> Core<D> {
    /// Goes over to another configuration.
    fn adopt(&mut self, snap: &Snapshot, mut update: Box<WorkerUpdate>) {
        self.gate.adopt(&snap.conntrack.limits);
        self.icmp_limit.adopt(snap.icmp_errors_per_second, icmp_burst(snap));
        self.space.adopt(&mut update.ports);
        if self.syn_proxy.is_none() {
            self.syn_proxy = update.syn_proxy.take();
        }
        if self.watcher.is_none() {
            self.watcher = update.watcher.take();
        }
        self.end_retired(snap);
        self.left = Some(update);
        self.give_back_left();
    }

    /// Gives memory back that an earlier configuration left. False if there still is some.
    fn give_back_left(&mut self) -> bool {
        if let Some(left) = self.left.take()
            && let Err(rtrb::PushError::Full(FromWorker::Left(left))) =
                self.management.push(FromWorker::Left(left))
        {
            self.left = Some(left);
        }
        self.left.is_none()
    }

    /// Posts a message to the management core. A full ring loses it, which is counted; returns whether it was taken.
    pub(super) fn tell(&mut self, message: FromWorker) -> bool {
        let taken = self.management.push(message).is_ok();
        if !taken {
            self.counters.messages_lost.increment();
        }
        taken
    }

    fn read_message(&mut self, snap: &Snapshot, now: Time, message: ToWorker) {
        match message {
            ToWorker::Neighbor { interface, address, mac } => {
                let known = self.neighbors.set(interface, address, NeighborState::Resolved(mac)).is_ok();
                // Each packet once: one that still has to wait goes back to its seat.
                for _ in 0..PER_NEIGHBOR {
                    let Some(packet) = self.waiting.call((interface, address)) else { break };
                    if known {
                        self.resume(snap, now, packet);
                    } else {
                        self.refuse(snap, now, packet, DropReason::NeighborQueueFull, None);
                    }
                }
                self.process(snap, now);
            }
            ToWorker::NeighborGone { interface, address } => {
                self.neighbors.remove(interface, address);
                while let Some(packet) = self.waiting.call((interface, address)) {
                    self.refuse_unresolved(snap, now, packet);
                }
            }
            ToWorker::AskNeighbor { interface, sender, target, mac } => {
                self.send_arp_request(snap, interface, sender, target, mac);
            }
            ToWorker::Ask { zone, question } => self.ask_whether_up(snap, now, zone, &question),
            // The worker itself takes it, as this configuration is in use here.
            ToWorker::Adopt { .. } => {}
            ToWorker::Expire { index, generation } => self.expire(now, index, generation),
            ToWorker::Delete { index, generation } => {
                if let Some(id) = self.shard.resolve(index, generation) {
                    self.remove(id, End::Deleted);
                }
            }
        }
    }

    /// Removes a session if it still is the one that was meant and is idle for too long.
    fn expire(&mut self, now: Time, index: u32, generation: u32) {
        if let Some(id) = self.shard.resolve(index, generation)
            && self.is_over(self.shard.session(id), now.tick())
        {
            let closing = self.shard.session(id).state().is_closing();
            self.remove(id, if closing { End::Closed } else { End::Expired });
        }
    }

    pub(super) fn remove(&mut self, id: SessionId, end: End) {
        self.tell_change(id, Change::Destroy(end));
        self.count_out(id);
        self.forget_handshake(id);
        self.forget_watched(id);
        let held = Held::by(self.shard.session(id), end);
        if let Some(lease) = self.shard.remove(id) {
            self.give_back(lease, held);
        }
        self.counters.sessions_removed.increment();
    }

    /// Takes what another worker handed over.
    fn take_over(&mut self, snap: &Snapshot, now: Time, peer: usize) -> bool {
        let mut taken = 0;
        let mut burst = Burst::new();
        for _ in 0..PEER_BUDGET {
            let Some(peer) = self.peers.get_mut(peer).and_then(Option::as_mut) else { break };
            peer.take(&mut burst);
            if burst.is_empty() {
                break;
            }
            taken += burst.len();
            burst.iter().for_each(Handoff::prefetch);
            for handoff in burst.drain(..) {
                match handoff {
                    Handoff::Own(work) => self.own(snap, now, work),
                    Handoff::Collect(packet) => self.collect(snap, now, packet),
                    Handoff::Send(buf, device, note) => self.queue(device, buf, note),
                    Handoff::Ask(packet, ask, from) => self.tell_port(snap, now, packet, (ask, from)),
                    Handoff::Told(packet, ask, port) => self.go_on(snap, now, packet, (ask, port)),
                }
            }
        }
        if taken > 0 {
            self.counters.taken_over.add(taken as u64);
        }
        taken > 0
    }

    /// What is due once a tick: fragments and packets that waited in vain, and gauges that nobody needs more often.
    fn look_after_old(&mut self, snap: &Snapshot, now: Time) {
        let (counters, sampler) = (&self.counters, &mut self.sampler);
        self.fragments.expire(now.tick(), FRAGMENT_BUDGET, &mut |packet| {
            sampler.count(counters, DropReason::FragmentTimeout, || arrived(&packet));
        });
        self.look_after_handshakes(snap, now);
        self.end_overdue(now);
        self.space.wake(now.tick());
        self.look_after_blocks(snap);
        self.answer_unsolicited(snap, now);
        self.count_classes();
        let deadline = Time::from_nanos(
            now.as_nanos().saturating_sub(u64::try_from(WAITING_DEADLINE.as_nanos()).unwrap_or(u64::MAX)),
        );
        while let Some(packet) = self.waiting.overdue(deadline) {
            self.refuse_unresolved(snap, now, packet);
        }
    }

    fn count_turn(&mut self, busy: bool) {
        self.counters.polls.increment();
        if busy {
            self.counters.busy_polls.increment();
        }
        self.counters.held.set((self.waiting.len() + self.fragments.held()) as u64);
        self.counters.sessions.set(u64::from(self.shard.len()));
        self.counters.half_open.set(u64::from(Census::of(&self.shard).half_open()));
    }

    fn count_classes(&self) {
        for (class, gauge) in Class::ALL.into_iter().zip(&self.counters.classes) {
            gauge.set(u64::from(self.shard.count(class)));
        }
    }

    fn give_up_held(&mut self) {
        const REASON: DropReason = DropReason::Shutdown;
        let (counters, sampler) = (&self.counters, &mut self.sampler);
        self.fragments.drain(&mut |packet| sampler.count(counters, REASON, || arrived(&packet)));
        while let Some(packet) = self.waiting.overdue(Time::from_nanos(u64::MAX)) {
            sampler.count(counters, REASON, || arrived(&packet));
        }
        let mut burst = Burst::new();
        for peer in self.peers.iter_mut().flatten() {
            loop {
                peer.take(&mut burst);
                if burst.is_empty() {
                    break;
                }
                for handoff in burst.drain(..) {
                    drop_handoff(sampler, counters, REASON, &handoff);
                }
            }
        }
        self.counters.held.set(0);
    }
}

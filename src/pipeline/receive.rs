//! Frames in: parse, what is for the gateway itself, the owner, fragments.

use super::Snapshot;
use super::drops::drop_handoff;
use super::mesh::{Handoff, Work};
use super::plan::{Header, check_source, is_for_gateway};
use super::snapshot::Interface;
use super::untracked::settled;
use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::device::{BURST, Burst, Device};
use crate::ids::{DeviceId, InterfaceId, Realm, WorkerId};
use crate::nat::fragment::{HELD_MAX, Later};
use crate::packet::{Fragment, Frame, Kind, Packet, PacketBuf, Parsed, Raw, Tuple};
use crate::steering::toeplitz::hashes_ports;
use crate::telemetry::{BURST_FILL_BOUNDS, DropReason, HandoffCause};
use crate::time::Time;
use arrayvec::ArrayVec;

const _: () = assert!(BURST_FILL_BOUNDS[BURST_FILL_BOUNDS.len() - 1] as usize == BURST);

impl<D: Device> Core<D> {
    /// Receives one burst from a device. What this worker owns of it is in the batch then.
    pub(super) fn receive(&mut self, snap: &Snapshot, now: Time, device: DeviceId) -> bool {
        let mut frames: Burst<D::Buf> = Burst::new();
        self.ports[device.index()].device.rx_burst(&mut frames);
        if frames.is_empty() {
            return false;
        }
        self.counters.rx.add(frames.len() as u64);
        self.counters.count_burst(frames.len());
        self.admit_burst(snap, now, device, frames);
        true
    }

    /// Takes a frame the long way.
    #[inline(never)]
    pub(super) fn admit(&mut self, snap: &Snapshot, now: Time, raw: Packet<D::Buf, Raw>) {
        let (len, device) = (raw.buf.data().len(), raw.state.device);
        match raw.parse(|device, vlan| snap.interface_of(device, vlan)) {
            Ok(Frame::Ipv4(packet)) => {
                self.count_arrival(packet.state.interface, len);
                self.steer(snap, now, packet);
            }
            Ok(Frame::Arp(buf, interface, message)) => {
                self.count_arrival(interface, len);
                self.answer_arp(snap, buf, interface, &message);
            }
            Err((buf, reason)) => self.drop_frame(snap, buf.data(), device, reason),
        }
    }

    #[inline(always)]
    pub(super) fn count_arrival(&self, interface: InterfaceId, len: usize) {
        let counters = &self.counters.interfaces[interface.index()];
        counters.rx_packets.increment();
        counters.rx_bytes.add(len as u64);
    }

    /// Sends a packet to the worker that owns it, or to the one that collects its datagram's fragments.
    fn steer(&mut self, snap: &Snapshot, now: Time, packet: Packet<D::Buf, Parsed>) {
        if packet.state.fragment == Fragment::Whole {
            self.pass_on(snap, now, packet);
        } else {
            let realm = snap.interface(packet.state.interface).realm;
            let collector = snap.steering.fragment_owner(&packet.state, realm);
            if collector == self.id {
                self.collect(snap, now, packet);
            } else {
                self.counters.count_handoff(HandoffCause::Fragment);
                self.hand_off(collector, Handoff::Collect(packet));
            }
        }
    }

    /// Learns a datagram's ports from its first fragment, fills them into the others, and passes all of them on.
    pub(super) fn collect(&mut self, snap: &Snapshot, now: Time, mut packet: Packet<D::Buf, Parsed>) {
        // Before anything is learned: a fragment with a false source must not tell the ports of another's datagram.
        let arrival = snap.interface(packet.state.interface);
        if let Err(reason) = check_source(snap, arrival, packet.state.tuple.src) {
            self.drop_early(&packet, reason);
            return;
        }
        if packet.state.fragment == Fragment::First {
            let mut released = ArrayVec::<_, { HELD_MAX as usize }>::new();
            // The table holds no more than that for one datagram.
            let (zone, tuple) = (arrival.zone, packet.state.tuple);
            let fresh = || self.identifications.draw(tuple.dst, tuple.protocol);
            let learned =
                self.fragments.first(&mut packet, zone, now.tick(), fresh, &mut |later| released.push(later));
            if let Err(reason) = learned {
                self.drop_early(&packet, reason);
                return;
            }
            self.pass_on(snap, now, packet);
            for later in released {
                self.pass_on(snap, now, later);
            }
        } else {
            match self.fragments.later(packet, arrival.zone, now.tick()) {
                Later::Ready(packet) => self.pass_on(snap, now, packet),
                Later::Held => {}
                Later::Refused(packet, reason) => self.drop_early(&packet, reason),
            }
        }
    }

    /// Sends a packet whose ports are known to the owner of its flow.
    fn pass_on(&mut self, snap: &Snapshot, now: Time, packet: Packet<D::Buf, Parsed>) {
        let state = &packet.state;
        if is_for_gateway(snap, &Header::of(state)) {
            self.answer_echo(snap, now, packet);
            return;
        }
        if let Some(treatment) = settled(snap, &Header::of(state)) {
            self.pass_untracked(snap, now, packet, treatment);
            return;
        }
        let arrival = snap.interface(state.interface);
        let work = self.read(arrival, packet);
        if snap.steering.workers() == 1 {
            self.own(snap, now, work);
            return;
        }
        let owner = snap.steering.owner(&work.packet.state.tuple, (arrival.realm, arrival.zone), &snap.local);
        self.count_steering(snap, arrival.realm, owner, &work.packet.state);
        if owner == self.id {
            self.own(snap, now, work);
        } else {
            self.hand_off(owner, Handoff::Own(work));
        }
    }

    /// Counts what the NIC did with the packets whose place it could know.
    #[inline]
    fn count_steering(&self, snap: &Snapshot, realm: Realm, owner: WorkerId, state: &Parsed) {
        let steerable = state.fragment == Fragment::Whole
            && matches!(state.kind, Kind::Tcp { .. } | Kind::Udp)
            && hashes_ports(state.tuple.protocol);
        if !steerable {
            if owner != self.id {
                let fragment = state.fragment != Fragment::Whole;
                self.counters.count_handoff(if fragment {
                    HandoffCause::Fragment
                } else {
                    HandoffCause::Other
                });
            }
            return;
        }
        self.count_steerable(snap, (state.interface, realm), owner, &state.tuple);
    }

    /// The same for a whole packet of TCP or UDP.
    #[inline]
    pub(super) fn count_steerable(
        &self,
        snap: &Snapshot,
        (interface, realm): (InterfaceId, Realm),
        owner: WorkerId,
        tuple: &Tuple,
    ) {
        let counters = &self.counters.interfaces[interface.index()];
        counters.steerable.increment();
        if owner != self.id {
            self.counters.count_handoff(HandoffCause::Flow);
            counters.handed_off.increment();
            if snap.steering.placement(tuple, realm) != self.id {
                counters.misplaced.increment();
            }
        }
    }

    /// Goes on with a packet of ours that had to wait.
    pub(super) fn resume(&mut self, snap: &Snapshot, now: Time, packet: Packet<D::Buf, Parsed>) {
        if is_for_gateway(snap, &Header::of(&packet.state)) {
            self.answer_echo(snap, now, packet);
            return;
        }
        if let Some(treatment) = settled(snap, &Header::of(&packet.state)) {
            self.pass_untracked(snap, now, packet, treatment);
            return;
        }
        let work = self.read(snap.interface(packet.state.interface), packet);
        self.own(snap, now, work);
    }

    /// Computes once what a packet is looked up by.
    #[inline]
    pub(super) fn read(&self, arrival: &Interface, packet: Packet<D::Buf, Parsed>) -> Work<D::Buf> {
        let key = V4Key::new(packet.state.tuple, arrival.realm, arrival.zone);
        let hash = self.shard.hash(&key);
        Work { packet, key, hash }
    }

    /// Puts a packet that this worker owns into the batch and asks memory for its bucket.
    pub(super) fn own(&mut self, snap: &Snapshot, now: Time, work: Work<D::Buf>) {
        self.shard.prefetch(work.hash);
        if self.batch.len() >= BURST {
            self.process(snap, now);
        }
        self.batch.push_back(work);
    }

    /// Forwards everything in the batch.
    pub(super) fn process(&mut self, snap: &Snapshot, now: Time) {
        // The buckets are here by now: ask for the sessions that they name, all of them before the first is needed.
        for work in &self.batch {
            let whole = matches!(work.packet.state.kind, Kind::Tcp { .. });
            let _ = self.shard.prefetch_session(work.hash, whole);
        }
        while let Some(work) = self.batch.pop_front() {
            self.forward(snap, now, work);
        }
    }

    /// Hands a frame over; it is on the ring at the end of the turn.
    pub(super) fn hand_off(&mut self, to: WorkerId, handoff: Handoff<D::Buf>) {
        let (counters, sampler) = (&self.counters, &mut self.sampler);
        let Some(peer) = self.peers.get_mut(to.index()).and_then(Option::as_mut) else {
            // Can not happen: every other worker has a ring.
            return drop_handoff(sampler, counters, DropReason::HandoffFull, &handoff);
        };
        counters.handed_off.increment();
        peer.push(handoff, |refused| {
            counters.handed_off.subtract(1);
            drop_handoff(sampler, counters, DropReason::HandoffFull, &refused);
        });
    }

    /// Puts everything that was handed over on the rings. Returns whether there was anything.
    pub(super) fn flush_peers(&mut self) -> bool {
        let mut any = false;
        let (counters, sampler) = (&self.counters, &mut self.sampler);
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.has_staged()) {
            any = true;
            peer.flush(|refused| {
                counters.handed_off.subtract(1);
                drop_handoff(sampler, counters, DropReason::HandoffFull, &refused);
            });
        }
        any
    }
}

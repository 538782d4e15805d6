//! Frames in: parse, what is for the gateway itself, the owner, fragments.

use super::Snapshot;
use super::mesh::Handoff;
use super::setup::{check_source, is_visible};
use super::worker::{Core, Work};
use crate::conntrack::key::V4Key;
use crate::device::{Burst, Device};
use crate::ids::{DeviceId, WorkerId};
use crate::nat::fragment::{HELD_MAX, Later};
use crate::packet::{Fragment, Frame, Kind, Packet, PacketBuf, Parsed, Raw};
use crate::telemetry::DropReason;
use crate::time::Time;
use arrayvec::ArrayVec;

impl<D: Device> Core<D> {
    /// Receives one burst from a device and deals with all of it.
    pub(super) fn receive(&mut self, snap: &Snapshot, now: Time, device: DeviceId) -> bool {
        let mut frames: Burst<D::Buf> = Burst::new();
        self.ports[device.index()].device.rx_burst(&mut frames);
        if frames.is_empty() {
            return false;
        }
        self.counters.rx.add(frames.len() as u64);
        for buf in frames {
            self.admit(snap, now, Packet::new(buf, device));
        }
        self.process(snap, now);
        true
    }

    fn admit(&mut self, snap: &Snapshot, now: Time, raw: Packet<D::Buf, Raw>) {
        let len = raw.buf.data().len() as u64;
        match raw.parse(|device, vlan| snap.interface_of(device, vlan)) {
            Ok(Frame::Ipv4(packet)) => {
                let counters = &self.counters.interfaces[packet.state.interface.index()];
                counters.rx_packets.increment();
                counters.rx_bytes.add(len);
                self.steer(snap, now, packet);
            }
            Ok(Frame::Arp(buf, interface, message)) => {
                let counters = &self.counters.interfaces[interface.index()];
                counters.rx_packets.increment();
                counters.rx_bytes.add(len);
                self.answer_arp(snap, buf, interface, &message);
            }
            Err((_, reason)) => self.counters.count_drop(reason),
        }
    }

    /// Sends a packet to the worker that owns it, or to the one that collects its datagram's fragments.
    fn steer(&mut self, snap: &Snapshot, now: Time, packet: Packet<D::Buf, Parsed>) {
        if packet.state.fragment == Fragment::Whole {
            self.pass_on(snap, now, packet);
        } else {
            let collector = snap.steering.fragment_owner(&packet.state);
            if collector == self.id {
                self.collect(snap, now, packet);
            } else {
                self.hand_off(collector, Handoff::Collect(packet));
            }
        }
    }

    /// Learns a datagram's ports from its first fragment, fills them into the others, and passes all of them on.
    pub(super) fn collect(&mut self, snap: &Snapshot, now: Time, packet: Packet<D::Buf, Parsed>) {
        // Before anything is learned: a fragment with a false source must not tell the ports of another's datagram.
        let arrival = snap.interface(packet.state.interface);
        if let Err(reason) = check_source(snap, arrival, packet.state.tuple.src) {
            self.counters.count_drop(reason);
            return;
        }
        if packet.state.fragment == Fragment::First {
            let mut released = ArrayVec::<_, { HELD_MAX as usize }>::new();
            // The table holds no more than that for one datagram.
            let learned =
                self.fragments.first(&packet, arrival.zone, now.tick(), &mut |later| released.push(later));
            if let Err(reason) = learned {
                self.counters.count_drop(reason);
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
                Later::Refused(_, reason) => self.counters.count_drop(reason),
            }
        }
    }

    /// Sends a packet whose ports are known to the owner of its flow.
    fn pass_on(&mut self, snap: &Snapshot, now: Time, packet: Packet<D::Buf, Parsed>) {
        let zone = snap.interface(packet.state.interface).zone;
        let owner = snap.steering.owner(&packet.state.tuple, zone, &snap.local);
        if owner == self.id {
            self.own(snap, now, packet);
        } else {
            self.hand_off(owner, Handoff::Own(packet));
        }
    }

    /// Puts a packet that this worker owns into the batch and asks memory for its bucket.
    pub(super) fn own(&mut self, snap: &Snapshot, now: Time, packet: Packet<D::Buf, Parsed>) {
        let state = &packet.state;
        if is_for_gateway(snap, state) {
            self.answer_echo(snap, now, packet);
            return;
        }
        let arrival = snap.interface(state.interface);
        let key = V4Key::new(state.tuple, arrival.realm, arrival.zone);
        let hash = self.shard.hash(&key);
        self.shard.prefetch(hash);
        if self.batch.is_full() {
            self.process(snap, now);
        }
        self.batch.push(Work { packet, key, hash });
    }

    /// Forwards everything in the batch.
    pub(super) fn process(&mut self, snap: &Snapshot, now: Time) {
        // The buckets are here by now: ask for the sessions that they name, all of them before the first is needed.
        for work in &self.batch {
            let whole = matches!(work.packet.state.kind, Kind::Tcp { .. });
            self.shard.prefetch_session(work.hash, whole);
        }
        for work in std::mem::take(&mut self.batch) {
            self.forward(snap, now, work);
        }
    }

    pub(super) fn hand_off(&mut self, to: WorkerId, handoff: Handoff<D::Buf>) {
        let Some(peer) = self.peers.get_mut(to.index()).and_then(Option::as_mut) else {
            // Can not happen: every other worker has a ring.
            self.counters.count_drop(DropReason::HandoffFull);
            return;
        };
        match peer.to.push(handoff) {
            Ok(()) => self.counters.handed_off.increment(),
            Err(rtrb::PushError::Full(Handoff::Send(_, _, note))) if note.generated => {
                self.counters.generated_lost.increment();
            }
            Err(_) => self.counters.count_drop(DropReason::HandoffFull),
        }
    }
}

/// Whether a packet is a query to an address of an interface of ours, which the gateway itself answers.
#[inline]
pub(super) fn is_for_gateway(snap: &Snapshot, state: &Parsed) -> bool {
    let arrival = snap.interface(state.interface);
    state.kind == Kind::IcmpRequest
        && state.fragment == Fragment::Whole
        && snap.local_on(arrival, state.tuple.dst).is_some_and(|number| {
            snap.local.get(number).is_some_and(|local| local.interface.is_some())
                && is_visible(snap, arrival, number)
        })
}

//! What the gateway says itself: ARP, echo replies, ICMP errors.

use super::Snapshot;
use super::forward::Exit;
use super::mesh::Note;
use super::message::FromWorker;
use super::plan::{Answer, Header, check_source, is_for_gateway};
use super::worker::Core;
use crate::device::Device;
use crate::ids::{InterfaceId, MacAddr};
use crate::nat::icmp_make::{answer_echo, build_error, may_answer};
use crate::packet::{Packet, PacketBuf, Parsed};
use crate::telemetry::DropReason;
use crate::telemetry::samples::{Dropped, Place};
use crate::time::Time;
use crate::wire::arp::{self, ArpMessage};
use crate::wire::ethernet;
use crate::wire::icmp;
use crate::wire::ipv4::Ipv4Header;
use std::net::Ipv4Addr;
use zerocopy::{FromBytes, IntoBytes};

impl<D: Device> Core<D> {
    /// Answers a request for an address of ours, and passes on what a message tells of its sender (RFC 826).
    pub(super) fn answer_arp(
        &mut self,
        snap: &Snapshot,
        buf: D::Buf,
        interface: InterfaceId,
        message: &ArpMessage,
    ) {
        let (sender, mac) = (message.sender_ip(), MacAddr(message.sender_mac));
        let target = message.target_ip();
        let here = snap.interface(interface);
        // A sender 0.0.0.0 is a probe (RFC 5227): answered, not learned.
        let probe = sender.is_unspecified();
        let impossible =
            mac.is_group() || snap.local_on(here, sender).is_some() || !(probe || here.is_on_link(sender));
        if impossible {
            let described = || Dropped::at(Place::In(interface), buf.data());
            self.sampler.count(&self.counters, DropReason::ArpInvalid, described);
            return;
        }
        drop(buf);
        let asks_us = message.operation.get() == arp::REQUEST && snap.answers_for(interface, target);
        if !probe {
            self.tell(FromWorker::Heard { interface, address: sender, mac, asks_us });
        }
        self.counters.consumed.increment();
        if asks_us {
            let reply = ArpMessage::new(arp::REPLY, (here.mac.0, target), (mac.0, sender));
            self.send_arp(snap, interface, mac, &reply);
        }
    }

    /// Asks for a neighbour, or announces an address of ours.
    pub(super) fn send_arp_request(
        &mut self,
        snap: &Snapshot,
        interface: InterfaceId,
        sender: Ipv4Addr,
        target: Ipv4Addr,
        mac: Option<MacAddr>,
    ) {
        let request =
            ArpMessage::new(arp::REQUEST, (snap.interface(interface).mac.0, sender), ([0; 6], target));
        self.send_arp(snap, interface, mac.unwrap_or(MacAddr::BROADCAST), &request);
    }

    fn send_arp(&mut self, snap: &Snapshot, interface: InterfaceId, mac: MacAddr, message: &ArpMessage) {
        let Some(mut buf) = self.ports[snap.interface(interface).device.index()].device.alloc() else {
            self.counters.generated_lost.increment();
            return;
        };
        let written =
            buf.grow_back(size_of::<ArpMessage>()).is_ok() && message.write_to_prefix(buf.data_mut()).is_ok();
        if written {
            let note = Note::generated(interface);
            self.send(snap, buf, 0, ethernet::ARP, Exit { interface, mac }, note);
        } else {
            self.counters.generated_lost.increment();
        }
    }

    /// Answers an echo request to an address of the gateway.
    pub(super) fn answer_echo(&mut self, snap: &Snapshot, now: Time, mut packet: Packet<D::Buf, Parsed>) {
        let client = packet.state.tuple.src;
        let arrival = snap.interface(packet.state.interface);
        // An answer to a source that is a lie would only hit a bystander.
        if let Err(reason) = check_source(snap, arrival, client) {
            self.drop_early(&packet, reason);
            return;
        }
        let Some(hop) = snap.route_to(arrival.realm, arrival.zone, client) else {
            self.drop_early(&packet, DropReason::NoRoute);
            return;
        };
        let neighbor = hop.neighbor(client);
        let Some(mac) = self.resolve(now, hop.interface, neighbor) else {
            if let Err(packet) = self.waiting.enter(now, (hop.interface, neighbor), packet) {
                self.drop_early(&packet, DropReason::NeighborQueueFull);
            }
            return;
        };
        match answer_echo(&mut packet) {
            Ok(()) => {
                self.counters.consumed.increment();
                let l3 = usize::from(packet.state.l3);
                let note = Note::generated(hop.interface);
                let exit = Exit { interface: hop.interface, mac };
                self.send(snap, packet.buf, l3, ethernet::IPV4, exit, note);
            }
            Err(reason) => self.drop_early(&packet, reason),
        }
    }

    /// Drops a packet and tells its sender, if it may be told: at once, or later if that is how the answer is.
    pub(super) fn refuse(
        &mut self,
        snap: &Snapshot,
        now: Time,
        packet: Packet<D::Buf, Parsed>,
        reason: DropReason,
        answer: Option<Answer>,
    ) {
        self.drop_packet(snap, &packet, reason);
        if let Some(answer) = answer
            && snap.interface(packet.state.interface).icmp_errors
            && may_answer(&packet)
        {
            if answer.delayed {
                self.unsolicited.enter(now, &packet);
            } else {
                self.tell_sender(snap, now, packet.state.interface, packet.l3_bytes(), answer);
            }
        }
    }

    /// Sends an ICMP error about a packet to its sender, within the rate limit.
    pub(super) fn tell_sender(
        &mut self,
        snap: &Snapshot,
        now: Time,
        arrival: InterfaceId,
        offending: &[u8],
        answer: Answer,
    ) {
        if self.icmp_limit.allow(now) {
            self.send_error(snap, now, arrival, offending, answer);
        } else {
            self.counters.icmp_limited.increment();
        }
    }

    /// Drops a packet whose next hop does not answer (RFC 1812 5.2.7.1: code 1). A query to the gateway waits for its
    /// sender: then that one is silent, and to be told nothing.
    pub(super) fn refuse_unresolved(&mut self, snap: &Snapshot, now: Time, packet: Packet<D::Buf, Parsed>) {
        let answer = (!is_for_gateway(snap, &Header::of(&packet.state)))
            .then(|| Answer::unreachable(icmp::CODE_HOST_UNREACHABLE));
        self.refuse(snap, now, packet, DropReason::NeighborUnresolved, answer);
    }

    /// Sends an ICMP error about a packet to its sender, from the address of the interface that it leaves by
    /// (RFC 1812 4.3.2.4).
    fn send_error(
        &mut self,
        snap: &Snapshot,
        now: Time,
        arrival: InterfaceId,
        offending: &[u8],
        answer: Answer,
    ) {
        let Ok((header, _)) = Ipv4Header::ref_from_prefix(offending) else { return };
        let sender = header.source();
        let arrival = snap.interface(arrival);
        let Some(hop) = snap.route_to(arrival.realm, arrival.zone, sender) else { return };
        let exit = self
            .resolve(now, hop.interface, hop.neighbor(sender))
            .map(|mac| Exit { interface: hop.interface, mac });
        let out = snap.interface(hop.interface);
        let buf = self.ports[out.device.index()].device.alloc();
        let (Some(exit), Some(mut buf)) = (exit, buf) else {
            self.counters.generated_lost.increment();
            return;
        };
        let Answer { kind, code, mtu, .. } = answer;
        match build_error(&mut buf, offending, out.primary(), kind, code, mtu) {
            Ok(()) => {
                let note = Note::generated(hop.interface);
                self.send(snap, buf, 0, ethernet::IPV4, exit, note);
            }
            Err(_) => self.counters.generated_lost.increment(),
        }
    }
}

//! Dropped: counted, and for some of the packets kept what they looked like, so that people can see why.
//!
//! Every drop of a worker goes through `Core::drop_frame` (what the parser refused), `Core::drop_early` (a packet whose
//! session nobody has looked for) or `Core::drop_packet` (a packet at its owner), or, where more of the worker is
//! borrowed, through its [`Sampler`] itself. Which rule or session a packet had met is not carried along with it: both are
//! functions of the packet, and are asked for once more for the few packets that are kept.

use super::Snapshot;
use super::mesh::Handoff;
use super::plan::{Header, Plan, Rule, plan};
use super::stateless::classify;
use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::device::Device;
use crate::ids::DeviceId;
use crate::packet::{Packet, PacketBuf, Parsed};
use crate::telemetry::samples::{Dropped, Place, Sampler};
use crate::telemetry::{DropReason, WorkerCounters};
use crate::wire::ethernet::{self, EthernetHeader, VlanTag};
use zerocopy::FromBytes;

/// A rule as samples have it.
fn number_of(rule: Rule) -> u32 {
    match rule {
        Rule::Snat(number) => number << 2,
        Rule::Dnat(number) => number << 2 | 1,
        Rule::Notrack(number) => number << 2 | 2,
        Rule::Static(number) => number << 2 | 3,
    }
}

/// The rule that a sample names by its number.
pub fn rule_of(number: u32) -> Rule {
    match (number & 3, number >> 2) {
        (0, number) => Rule::Snat(number),
        (1, number) => Rule::Dnat(number),
        (2, number) => Rule::Notrack(number),
        (_, number) => Rule::Static(number),
    }
}

/// A packet that has arrived.
pub(super) fn arrived<B: PacketBuf>(packet: &Packet<B, Parsed>) -> Dropped<'_> {
    Dropped::at(Place::In(packet.state.interface), packet.buf.data())
}

/// A frame on its way to another worker.
pub(super) fn handed_over<B: PacketBuf>(handoff: &Handoff<B>) -> Dropped<'_> {
    match handoff {
        Handoff::Own(work) => arrived(&work.packet),
        Handoff::Collect(packet) | Handoff::Ask(packet, ..) | Handoff::Told(packet, ..) => arrived(packet),
        Handoff::Send(buf, _, note) => Dropped::at(Place::Out(note.interface), buf.data()),
    }
}

/// Gives up a frame that another worker does not take, or did not take in time.
pub(super) fn drop_handoff<B: PacketBuf>(
    sampler: &mut Sampler,
    counters: &WorkerCounters,
    reason: DropReason,
    handoff: &Handoff<B>,
) {
    match handoff {
        Handoff::Send(_, _, note) if note.generated => counters.generated_lost.increment(),
        _ => sampler.count(counters, reason, || handed_over(handoff)),
    }
}

impl<D: Device> Core<D> {
    /// Drops a frame that the parser refused.
    pub(super) fn drop_frame(&mut self, snap: &Snapshot, frame: &[u8], device: DeviceId, reason: DropReason) {
        let place = || match snap.interface_of(device, vlan_of(frame)) {
            Some((interface, _)) => Place::In(interface),
            None => Place::Device(device),
        };
        self.sampler.count(&self.counters, reason, || Dropped::at(place(), frame));
    }

    /// Drops a packet whose session was not looked for.
    #[inline]
    pub(super) fn drop_early(&mut self, packet: &Packet<D::Buf, Parsed>, reason: DropReason) {
        self.sampler.count(&self.counters, reason, || arrived(packet));
    }

    /// Drops a packet that this worker owns.
    #[inline]
    pub(super) fn drop_packet(
        &mut self,
        snap: &Snapshot,
        packet: &Packet<D::Buf, Parsed>,
        reason: DropReason,
    ) {
        let (sampler, counters, shard) = (&mut self.sampler, &self.counters, &self.shard);
        sampler.count(counters, reason, || {
            let arrival = snap.interface(packet.state.interface);
            let key = V4Key::new(packet.state.tuple, arrival.realm, arrival.zone);
            let (rule, state) = match shard.lookup(&key, shard.hash(&key)) {
                Some((id, _)) => (None, Some(shard.session(id).state() as u8)),
                None => (rule(snap, &Header::of(&packet.state)).map(number_of), None),
            };
            Dropped { rule, state, ..arrived(packet) }
        });
    }
}

/// The rule that decides of a packet without a session.
fn rule(snap: &Snapshot, header: &Header) -> Option<Rule> {
    if let Some(treatment) = classify(snap, header) {
        return Some(Rule::Notrack(treatment.class.into()));
    }
    match plan(snap, header) {
        Ok(Plan::Session(session)) => Some(session.rule),
        _ => None,
    }
}

/// The VLAN id of a frame, 0 if it has no tag or is too short for one.
fn vlan_of(frame: &[u8]) -> u16 {
    match EthernetHeader::ref_from_prefix(frame) {
        Ok((header, rest)) if header.ethertype.get() == ethernet::VLAN => {
            VlanTag::ref_from_prefix(rest).map_or(0, |(tag, _)| tag.id())
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_back_from_its_number() {
        for rule in [
            Rule::Snat(0),
            Rule::Dnat(0),
            Rule::Notrack(0),
            Rule::Static(0),
            Rule::Snat(9_999),
            Rule::Dnat(9_999),
            Rule::Notrack(9_999),
            Rule::Static(9_999),
        ] {
            assert_eq!(rule_of(number_of(rule)), rule);
        }
    }

    #[test]
    fn a_frame_too_short_for_its_tag_has_none() {
        assert_eq!(vlan_of(&[0; 13]), 0);
        let mut tagged = vec![0; 12];
        tagged.extend([0x81, 0, 0, 7]);
        assert_eq!(vlan_of(&tagged), 0);
        tagged.extend([8, 0]);
        assert_eq!(vlan_of(&tagged), 7);
    }
}

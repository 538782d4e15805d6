//! Frames out: link header, transmit queue, verdict.

use super::Snapshot;
use super::fit::is_plain;
use super::forward::Exit;
use super::mesh::{Handoff, Note};
use super::worker::Core;
use crate::device::Device;
use crate::ids::DeviceId;
use crate::packet::{NoRoom, Packet, PacketBuf, Parsed};
use crate::telemetry::samples::{Dropped, Place};
use crate::telemetry::{DropReason, HandoffCause, WorkerCounters};
use crate::wire::ethernet::{self, EthernetHeader, VlanTag};
use std::cmp::Ordering;
use zerocopy::{FromBytes, IntoBytes};

/// How often a transmit queue is tried when it does not take a whole burst.
const TX_TRIES: usize = 4;

impl<D: Device> Core<D> {
    /// Sends a received packet on.
    pub(super) fn send_packet(&mut self, snap: &Snapshot, packet: Packet<D::Buf, Parsed>, exit: Exit) {
        if !is_plain(&packet.state, snap.interface(exit.interface)) {
            return self.send_fitted(snap, packet, exit);
        }
        let note = Note::forwarded(exit.interface);
        self.send(snap, packet.buf, usize::from(packet.state.l3), ethernet::IPV4, exit, note);
    }

    /// Writes the link header in front of the bytes from `l3` on, and queues the frame.
    pub(super) fn send(
        &mut self,
        snap: &Snapshot,
        buf: D::Buf,
        l3: usize,
        ethertype: u16,
        exit: Exit,
        note: Note,
    ) {
        self.send_inline(snap, buf, l3, ethertype, exit, note);
    }

    /// [`Core::send`] for the way of most packets.
    #[inline(always)]
    pub(super) fn send_inline(
        &mut self,
        snap: &Snapshot,
        mut buf: D::Buf,
        l3: usize,
        ethertype: u16,
        exit: Exit,
        note: Note,
    ) {
        let interface = snap.interface(exit.interface);
        if write_link_header(&mut buf, l3, interface.vlan, (exit.mac.0, interface.mac.0), ethertype).is_err()
        {
            self.not_sent(note, &buf, DropReason::NoHeadroom);
            return;
        }
        self.queue(interface.device, buf, note);
    }

    /// Puts a finished frame into the device's burst, or hands it to the worker that transmits there.
    #[inline(always)]
    pub(super) fn queue(&mut self, device: DeviceId, buf: D::Buf, mut note: Note) {
        note.length = buf.data().len().try_into().unwrap_or(u16::MAX);
        if self.ports[device.index()].transmitter != self.id {
            return self.queue_elsewhere(device, buf, note);
        }
        if self.ports[device.index()].out.is_full() {
            self.flush(device);
        }
        let port = &mut self.ports[device.index()];
        // There is room for both since the flush.
        if port.out.try_push(buf).is_ok() {
            let _ = port.notes.try_push(note);
        }
    }

    #[cold]
    #[inline(never)]
    fn queue_elsewhere(&mut self, device: DeviceId, buf: D::Buf, note: Note) {
        self.counters.count_handoff(HandoffCause::Transmit);
        self.hand_off(self.ports[device.index()].transmitter, Handoff::Send(buf, device, note));
    }

    /// Sends what is queued on every device.
    pub(super) fn flush_all(&mut self) {
        for device in 0..self.ports.len() {
            if !self.ports[device].out.is_empty() {
                self.flush(DeviceId(u8::try_from(device).unwrap_or(u8::MAX)));
            }
        }
    }

    #[inline(never)]
    fn flush(&mut self, device: DeviceId) {
        let port = &mut self.ports[device.index()];
        let total = port.out.len();
        for _ in 0..TX_TRIES {
            port.device.tx_burst(&mut port.out);
            if port.out.is_empty() {
                break;
            }
        }
        let sent = total - port.out.len();
        count_sent(&self.counters, port.notes.get(..sent).unwrap_or_default());
        if port.out.is_empty() {
            port.notes.clear();
            return;
        }
        let unsent = std::mem::take(&mut port.out);
        for (note, buf) in std::mem::take(&mut port.notes).into_iter().skip(sent).zip(&unsent) {
            self.not_sent(note, buf, DropReason::TxFull);
        }
    }

    /// Apart, so that the way of frames that are sent is short.
    #[cold]
    #[inline(never)]
    fn not_sent(&mut self, note: Note, buf: &D::Buf, reason: DropReason) {
        if note.generated {
            self.counters.generated_lost.increment();
        } else {
            let described = || Dropped::at(Place::Out(note.interface), buf.data());
            self.sampler.count(&self.counters, reason, described);
        }
    }
}

/// Counts frames that left. Those that count as the same come in runs.
#[inline]
fn count_sent(counters: &WorkerCounters, notes: &[Note]) {
    for run in notes.chunk_by(|a, b| (a.interface, a.generated) == (b.interface, b.generated)) {
        let Some(Note { interface, generated, .. }) = run.first() else { continue };
        let frames = run.len() as u64;
        let interface = &counters.interfaces[interface.index()];
        interface.tx_packets.add(frames);
        interface.tx_bytes.add(run.iter().map(|note| u64::from(note.length)).sum());
        let verdict = if *generated { &counters.generated } else { &counters.sent };
        verdict.add(frames);
    }
}

/// Replaces what stands before `l3` by an Ethernet header, with a tag if `vlan` is not 0.
#[inline(always)]
fn write_link_header<B: PacketBuf>(
    buf: &mut B,
    l3: usize,
    vlan: u16,
    (destination, source): ([u8; 6], [u8; 6]),
    ethertype: u16,
) -> Result<(), NoRoom> {
    let tag = if vlan == 0 { 0 } else { ethernet::VLAN_LEN };
    let wanted = ethernet::HEADER_LEN + tag;
    match l3.cmp(&wanted) {
        Ordering::Equal => {}
        Ordering::Less => buf.grow_front(wanted - l3)?,
        Ordering::Greater => buf.shrink_front(l3 - wanted),
    }
    let outer = if vlan == 0 { ethertype } else { ethernet::VLAN };
    let (header, rest) = EthernetHeader::mut_from_prefix(buf.data_mut()).map_err(|_| NoRoom)?;
    *header = EthernetHeader { destination, source, ethertype: outer.into() };
    if vlan != 0 {
        let tag = VlanTag { tci: vlan.into(), ethertype: ethertype.into() };
        tag.write_to_prefix(rest).map_err(|_| NoRoom)?;
    }
    Ok(())
}

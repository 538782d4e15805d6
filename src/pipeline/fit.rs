//! What has to fit the links that it takes: the segments that a SYN offers, and packets that are larger than the next link
//! takes and may be cut. Neither is the way of most packets, so one test leads here and everything else is out of the way.

use super::Snapshot;
use super::forward::Exit;
use super::mesh::Note;
use super::snapshot::Interface;
use super::worker::Core;
use crate::device::Device;
use crate::ids::Realm;
use crate::nat::mss::clamp_mss;
use crate::nat::rewrite::renumber_datagram;
use crate::nat::split::split;
use crate::packet::{Fragment, Kind, Packet, Parsed};
use crate::wire::ethernet;
use crate::wire::tcp;

/// Whether a translated packet can leave by an interface as it is.
#[inline(always)]
pub(super) fn is_plain(state: &Parsed, out: &Interface) -> bool {
    let offers = matches!(state.kind, Kind::Tcp { flags } if flags & tcp::SYN != 0);
    // One branch, not two.
    !(offers | (state.total_len > out.mtu))
}

impl<D: Device> Core<D> {
    /// Sends a received packet on that opens a connection, or is larger than the next link takes.
    #[cold]
    #[inline(never)]
    pub(super) fn send_fitted(&mut self, snap: &Snapshot, mut packet: Packet<D::Buf, Parsed>, exit: Exit) {
        let out = snap.interface(exit.interface);
        let state = packet.state;
        let offers = matches!(state.kind, Kind::Tcp { flags } if flags & tcp::SYN != 0);
        if offers && state.fragment != Fragment::Later {
            let limit = snap.interface(state.interface).mss_limit.min(out.mss_limit);
            if let Ok((_, segment)) = packet.l3_l4_mut() {
                clamp_mss(segment, limit);
            }
        }
        let l3 = usize::from(state.l3);
        let mut note = Note { interface: exit.interface, generated: false };
        if state.total_len <= out.mtu {
            return self.send(snap, packet.buf, l3, ethernet::IPV4, exit, note);
        }
        // A fragment got its identification with the others of its datagram.
        if state.fragment == Fragment::Whole && out.realm == Realm::External {
            packet.state.id = self.identifications.draw(state.tuple.dst, state.tuple.protocol);
            if let Err(reason) = renumber_datagram(&mut packet) {
                return self.drop_early(&packet, reason);
            }
        }
        let device = &mut self.ports[out.device.index()].device;
        match split(&mut packet.buf, l3, out.mtu, || device.alloc()) {
            Ok(later) => {
                self.send(snap, packet.buf, l3, ethernet::IPV4, exit, note);
                note.generated = true;
                for piece in later {
                    self.send(snap, piece, 0, ethernet::IPV4, exit, note);
                }
            }
            Err(reason) => self.drop_early(&packet, reason),
        }
    }
}

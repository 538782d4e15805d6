//! What has to fit the links that it takes: the segments that a SYN offers, and packets that are larger than the next link
//! takes and may be cut. Neither is the way of most packets, so one test leads here and everything else is out of the way.

use super::Snapshot;
use super::forward::Exit;
use super::mesh::Note;
use super::snapshot::Interface;
use super::worker::Core;
use crate::device::Device;
use crate::ids::{InterfaceId, Realm};
use crate::nat::mss::clamp_mss;
use crate::nat::rewrite::renumber_datagram;
use crate::nat::split::split;
use crate::packet::{Fragment, Kind, Packet, PacketBuf, Parsed, Tuple};
use crate::wire::ethernet;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::tcp::{self, TcpHeader};
use zerocopy::FromBytes;

/// Whether a translated packet can leave by an interface as it is.
#[inline(always)]
pub(super) fn is_plain(state: &Parsed, out: &Interface) -> bool {
    let offers = matches!(state.kind, Kind::Tcp { flags } if flags & tcp::SYN != 0);
    // One branch, not two.
    !(offers | exceeds(out, state.total_len))
}

/// The largest segment that the source rule of a connection lets a SYN offer, in bytes. Asked again for each: a session does
/// not remember its rule, and few packets are SYNs.
fn rule_limit<B: PacketBuf>(snap: &Snapshot, packet: &Packet<B, Parsed>, exit: InterfaceId) -> u16 {
    let Parsed { tuple, interface, .. } = packet.state;
    let rule = match snap.interface(interface).realm {
        Realm::Internal => snap.snat_for(interface, &tuple, exit),
        // An answer: what it has become leads to whom the connection is from.
        Realm::External => {
            let host = packet.ipv4().map(Ipv4Header::destination);
            let port =
                TcpHeader::ref_from_prefix(packet.l4_bytes()).map(|(header, _)| header.destination.get());
            let (Ok(src), Ok(sport)) = (host, port) else { return u16::MAX };
            snap.snat_for(exit, &Tuple { src, sport, ..tuple.inverse() }, interface)
        }
    };
    rule.map_or(u16::MAX, |(_, rule)| rule.mss_limit)
}

/// Whether a packet of so many bytes is more than an interface takes.
#[inline(always)]
pub(super) fn exceeds(out: &Interface, total_len: u16) -> bool {
    total_len > out.mtu
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
            let links = snap.interface(state.interface).mss_limit.min(out.mss_limit);
            let rule = match snap.rules_clamp {
                true => rule_limit(snap, &packet, exit.interface),
                false => u16::MAX,
            };
            if let Ok((_, segment)) = packet.l3_l4_mut() {
                clamp_mss(segment, links.min(rule));
            }
        }
        let l3 = usize::from(state.l3);
        let mut note = Note::forwarded(exit.interface);
        if !exceeds(out, state.total_len) {
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

//! The short way: plain packets of known sessions that need nothing special, to neighbours that are known.
//!
//! Most packets come this way, and there is nothing in it that they do not need. It does what [`super::receive`] and
//! [`super::forward`] do with such a packet, in the same order. As soon as anything is out of the ordinary the packet
//! goes there, where all rules are and every reason to drop it. Up to then nothing of it nor of its session was changed,
//! so what becomes of it is the same as if this file were not there: every scenario of the tests is played without it too.
//!
//! # Order
//!
//! A burst is gone through three times, so that memory has time to answer:
//!
//! 1. read each frame, hash its flow, ask for the bucket of the index
//! 2. ask for the session that the bucket names
//! 3. look it up, find the way out, track, rewrite, queue
//!
//! Packets leave in the order in which they came: what went the long way is finished before another one goes the short.

use super::Snapshot;
use super::fit::exceeds;
use super::forward::Exit;
use super::mesh::{Handoff, Note, Work};
use super::plan::Header;
use super::untracked::settled;
use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::conntrack::table::Candidate;
use crate::conntrack::tracker::{Observed, follow_udp};
use crate::device::{BURST, Burst, Device};
use crate::ids::{DeviceId, Realm};
use crate::nat::rewrite::rewrite_plain;
use crate::packet::plain::Plain;
use crate::packet::{Fragment, Kind, Packet, PacketBuf, Raw};
use crate::route::NextHop;
use crate::time::{Tick, Time};
use crate::wire::{ethernet, protocol, tcp};
use arrayvec::ArrayVec;
use std::net::Ipv4Addr;

/// What was read of a frame.
#[derive(Clone, Copy)]
struct Glance {
    plain: Plain,
    key: V4Key,
    hash: u64,
    seen: Candidate,
}

impl<D: Device> Core<D> {
    /// Deals with a burst of frames from a device.
    #[inline(always)]
    pub(super) fn admit_burst(
        &mut self,
        snap: &Snapshot,
        now: Time,
        device: DeviceId,
        frames: Burst<D::Buf>,
    ) {
        if !self.short_way {
            frames.into_iter().for_each(|buf| self.admit(snap, now, Packet::new(buf, device)));
            return;
        }
        let mut glances: ArrayVec<Option<Glance>, BURST> = ArrayVec::new();
        for buf in &frames {
            let glance = self.glance(snap, device, buf.data());
            // There is one for each frame.
            let _ = glances.try_push(glance);
        }
        for glance in glances.iter_mut().flatten() {
            glance.seen = self.shard.prefetch_session(glance.hash, glance.plain.protocol == protocol::TCP);
        }
        let tick = now.tick();
        for (buf, glance) in frames.into_iter().zip(glances) {
            match glance {
                Some(glance) => self.go(snap, (now, tick), Packet::new(buf, device), &glance),
                None => self.admit(snap, now, Packet::new(buf, device)),
            }
        }
    }

    #[inline(always)]
    fn glance(&self, snap: &Snapshot, device: DeviceId, frame: &[u8]) -> Option<Glance> {
        let plain = Plain::read(frame, |vlan| snap.interface_of(device, vlan))?;
        let arrival = snap.interface(plain.interface);
        let key = V4Key::of_plain(&plain, arrival.realm, arrival.zone);
        let hash = self.shard.hash(&key);
        self.shard.prefetch(hash);
        Some(Glance { plain, key, hash, seen: Candidate::default() })
    }

    /// Brings a plain packet to whoever it is for; that is mostly this worker.
    #[inline(always)]
    fn go(&mut self, snap: &Snapshot, (now, tick): (Time, Tick), raw: Packet<D::Buf, Raw>, glance: &Glance) {
        self.count_arrival(glance.plain.interface, raw.buf.data().len());
        if !snap.notrack.is_empty() || snap.steering.workers() > 1 {
            return self.go_among_others(snap, now, raw, glance);
        }
        self.go_on_here(snap, (now, tick), raw, glance);
    }

    /// The same where there are notrack classes or other workers.
    #[inline(never)]
    fn go_among_others(&mut self, snap: &Snapshot, now: Time, raw: Packet<D::Buf, Raw>, glance: &Glance) {
        let Glance { plain, key, .. } = glance;
        let tuple = plain.tuple();
        let kind = match plain.protocol {
            protocol::TCP => Kind::Tcp { flags: plain.flags },
            _ => Kind::Udp,
        };
        if let Some(treatment) = settled(snap, &Header::whole(plain.interface, tuple, kind)) {
            return self.pass_untracked(snap, now, whole(raw, plain), treatment);
        }
        if snap.steering.workers() > 1 {
            let owner = snap.steering.owner(&tuple, (key.realm(), key.zone()), &snap.local);
            self.count_steerable(snap, (plain.interface, key.realm()), owner, &tuple);
            if owner != self.id {
                return self.hand_off(owner, Handoff::Own(work(raw, glance)));
            }
        }
        self.go_on_here(snap, (now, now.tick()), raw, glance);
    }

    #[inline(always)]
    fn go_on_here(&mut self, snap: &Snapshot, at: (Time, Tick), raw: Packet<D::Buf, Raw>, glance: &Glance) {
        if !self.batch.is_empty() {
            self.process(snap, at.0);
        }
        if let Some(raw) = self.forward_plain(snap, at, raw, glance) {
            self.own(snap, at.0, work(raw, glance));
        }
    }

    /// Sends a packet, or gives it back as it was because it needs more than this.
    #[inline(always)]
    fn forward_plain(
        &mut self,
        snap: &Snapshot,
        (now, tick): (Time, Tick),
        mut raw: Packet<D::Buf, Raw>,
        Glance { plain, key, hash, seen }: &Glance,
    ) -> Option<Packet<D::Buf, Raw>> {
        let Some((id, direction)) = self.shard.lookup_seen(key, *hash, *seen) else { return Some(raw) };
        let session = self.shard.session(id);
        let answers = session.key(direction.reverse());
        let (addresses, ports) = (answers.inverse_addresses(), answers.inverse_ports());
        // Where the answers come from is where this goes.
        let goal = Ipv4Addr::from_bits((addresses & 0xffff_ffff) as u32);
        if session.takes_detour() || plain.ttl <= 1 {
            return Some(raw);
        }
        let Some(exit) = self.known_exit(snap, (answers.realm(), answers.zone()), goal) else {
            return Some(raw);
        };
        if exceeds(snap.interface(exit.interface), plain.total_len) {
            return Some(raw);
        }
        let deltas = (session.l3(direction), session.l4(direction));
        let l3 = usize::from(plain.l3);
        let udp = plain.protocol == protocol::UDP;
        if udp {
            if !follow_udp(session, direction, plain.total_len, tick, &snap.conntrack)
                && self.track(snap, now, (id, direction), &Observed::Udp, plain.total_len).is_err()
            {
                return Some(raw);
            }
        } else {
            if plain.flags & tcp::SYN != 0 {
                return Some(raw);
            }
            let transport =
                raw.buf.data().get(l3 + 20..l3 + usize::from(plain.total_len)).unwrap_or_default();
            let seen = Observed::read(Kind::Tcp { flags: plain.flags }, Fragment::Whole, transport);
            let tracked = seen.map(|seen| self.track(snap, now, (id, direction), &seen, plain.total_len));
            if !matches!(tracked, Ok(Ok(_))) {
                return Some(raw);
            }
        }
        raw.buf.truncate(l3 + usize::from(plain.total_len));
        let bytes = raw.buf.data_mut().get_mut(l3..).unwrap_or_default();
        // The parser saw that it is long enough.
        rewrite_plain(bytes, udp, (addresses, ports), deltas);
        self.send_inline(snap, raw.buf, l3, ethernet::IPV4, exit, Note::forwarded(exit.interface));
        None
    }

    /// Where a packet to `goal` leaves, if nobody has to be asked.
    #[inline(always)]
    fn known_exit(&self, snap: &Snapshot, (realm, zone): (Realm, u16), goal: Ipv4Addr) -> Option<Exit> {
        let hop: NextHop = snap.route_to(realm, zone, goal)?;
        let mac = self.neighbors.resolved(hop.interface, hop.neighbor(goal))?;
        Some(Exit { interface: hop.interface, mac })
    }
}

/// A plain packet as the parser proper leaves it.
fn whole<B: PacketBuf>(raw: Packet<B, Raw>, plain: &Plain) -> Packet<B, crate::packet::Parsed> {
    let state = plain.parsed(raw.buf.data());
    let mut buf = raw.buf;
    buf.truncate(usize::from(state.l3) + usize::from(state.total_len));
    Packet { buf, state }
}

/// The same for its owner.
#[inline(never)]
fn work<B: PacketBuf>(raw: Packet<B, Raw>, glance: &Glance) -> Work<B> {
    Work { packet: whole(raw, &glance.plain), key: glance.key, hash: glance.hash }
}

//! The external endpoint that a session's source becomes, and what it leaves when it ends.
//!
//! Where the address keeps mappings, the endpoint is that of the internal endpoint's mapping, or of a new one with a port of its
//! own ([`crate::nat::mapping`]), which may have to be of the subscriber's block or share ([`crate::nat::space::blocks`]). Else
//! it is one that no other session has towards the same remote end.
//!
//! A set-up acquires in order: the port, the mapping, its place in that, the session; [`Core::undo`] gives back what a failure
//! leaves.
//! [`Core::give_back`] is for a session that was there.

use super::Snapshot;
use super::message::FromWorker;
use super::plan::{Refusal, Translated, out_of_resources};
use super::session_events::End;
use super::worker::Core;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::{Lease, Session};
use crate::device::Device;
use crate::ids::Realm;
use crate::nat::behavior::{Behavior, Dependence, Sharing};
use crate::nat::deterministic::Share;
use crate::nat::mapping::{External, Internal, MappingId};
use crate::nat::ports::REGISTERED;
use crate::nat::space::blocks::{EVENTS, NoPort, Request};
use crate::packet::Tuple;
use crate::telemetry::DropReason;
use crate::time::Tick;
use crate::wire::protocol;
use std::net::Ipv4Addr;

/// Addresses of a pool that are tried when the first one has no port left.
const OTHERS: usize = 4096;
/// Ports for a new mapping that may turn out to be in use by sessions without one, from before a reload.
const TRIES: usize = 4;

/// Blocks that are taken back a tick.
const BLOCKS_A_TICK: usize = 64;

const EXHAUSTED: Refusal = out_of_resources(DropReason::PortsExhausted);
/// The subscriber has all that he may have.
const FULL: Refusal = out_of_resources(DropReason::SubscriberPortsLimit);

/// Where the port of a new mapping comes from.
enum From<'a> {
    /// Of all that the worker has of an address, for this protocol.
    Any((u16, u8)),
    /// Of the subscriber's own, of the address with this number, for this protocol.
    Share((u16, u8), Share),
    /// Of the subscriber's blocks.
    Blocks(&'a Request<'a>),
}

/// What a session that is to be made holds outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint {
    pub(super) lease: Lease,
    /// Its mapping, if it is one's.
    mapping: Option<MappingId>,
}

impl Endpoint {
    pub(super) fn is_mapped(&self) -> bool {
        self.mapping.is_some()
    }

    /// The mapping, if it is one's.
    pub(super) fn mapping(&self) -> Option<MappingId> {
        self.mapping
    }
}

/// What has to be known of a session that ends to give back what it held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    remote: (Ipv4Addr, u16),
    mapped: bool,
    /// It kept its mapping open.
    strong: bool,
    /// Both ends know that it is over.
    ended: bool,
}

impl Held {
    pub(super) fn by(session: &Session<V4Key>, end: End) -> Held {
        let outer = session.key(session.from_outside()).tuple();
        let ended = end == End::Closed && outer.protocol == protocol::TCP;
        let (mapped, strong) = (session.is_mapped(), !session.is_unanswered());
        Held { remote: (outer.src, outer.sport), mapped, strong, ended }
    }
}

impl<D: Device> Core<D> {
    /// Finds the external endpoint for a flow whose tuple becomes `to` but for the source, and writes it there. A protocol
    /// without ports gets the address alone: of two hosts inside that speak it to the same one outside, the second collides.
    pub(super) fn acquire(
        &mut self,
        snap: &Snapshot,
        now: Tick,
        (source, key): (Translated, V4Key),
        (to, answers): (&mut Tuple, (Realm, u16)),
    ) -> Result<Option<Endpoint>, Refusal> {
        let local = snap.local.get(source.number).ok_or(EXHAUSTED)?;
        if protocol::is_portless(to.protocol) {
            to.src = local.address;
            return Ok(None);
        }
        let behavior = local.behavior;
        let spares =
            source.pool.and_then(|pool| snap.pools.get(pool)).map(|pool| &**pool).unwrap_or_default();
        let group = spares.first().copied().unwrap_or(source.number);
        let internal = internal(source, group, (*to, key.zone()), &behavior);
        if behavior.keeps_mappings(to.protocol)
            && let Some(id) = self.mappings.find(&internal)
            && let Some((_, external)) = self.mappings.ends(id)
            && let Some(address) = snap.local.get(external.number)
            // It was not when the mapping was made.
            && snap.local.forward(external.number, external.protocol, external.port).is_none()
        {
            (to.src, to.sport) = (address.address, external.port);
            return Ok(Some(Endpoint { lease: lease(external), mapping: Some(id) }));
        }
        let limit = behavior.ports_of_subscriber(to.protocol);
        if limit != u32::MAX && self.mappings.held(&internal) >= limit {
            return Err(FULL);
        }
        let mapped = (internal, limit != u32::MAX);
        if behavior.sharing != Sharing::Ports {
            return self.map_within(snap, now, (source, behavior.sharing), mapped, (to, answers)).map(Some);
        }
        // The first one, then all others from there on.
        let start = spares.iter().position(|number| *number == source.number).map_or(0, |at| at + 1);
        let others = spares.iter().cycle().skip(start).take(spares.len().min(OTHERS)).copied();
        let mut numbers = std::iter::once(source.number).chain(others);
        let found = numbers.find_map(|number| {
            if behavior.keeps_mappings(to.protocol) {
                let from = From::Any((number, to.protocol));
                self.map(snap, now, from, mapped, (to, answers)).ok()
            } else {
                self.share(snap, number, (to, answers))
            }
        });
        found.map(Some).ok_or(EXHAUSTED)
    }

    /// A new mapping with a port that is the subscriber's.
    #[cold]
    #[inline(never)]
    fn map_within(
        &mut self,
        snap: &Snapshot,
        now: Tick,
        (source, sharing): (Translated, Sharing),
        mapped: (Internal, bool),
        to: (&mut Tuple, (Realm, u16)),
    ) -> Result<Endpoint, Refusal> {
        if let Some(share) = source.share {
            let place = (source.number, mapped.0.protocol);
            return self.map(snap, now, From::Share(place, share), mapped, to);
        }
        let (Sharing::Blocks(rules), Some(pool)) = (sharing, source.pool) else { return Err(EXHAUSTED) };
        let (Ok(number), Some(numbers)) = (u16::try_from(pool), snap.pools.get(pool)) else {
            return Err(EXHAUSTED);
        };
        let (internal, _) = mapped;
        let request = Request {
            pool: number,
            rules,
            zone: internal.zone,
            subscriber: internal.address,
            numbers,
            start: numbers.iter().position(|number| *number == source.number).unwrap_or(0),
            protocol: internal.protocol,
            preferred: internal.port,
        };
        self.map(snap, now, From::Blocks(&request), mapped, to)
    }

    /// A free port for a new mapping.
    fn port(
        &mut self,
        snap: &Snapshot,
        now: Tick,
        from: &From<'_>,
        preferred: u16,
    ) -> Result<External, Refusal> {
        let (space, rng) = (&mut self.space, &mut self.rng);
        match from {
            From::Any((number, protocol)) => {
                space.allocate(*number, *protocol, preferred, now, || rng.next()).ok_or(EXHAUSTED)
            }
            From::Share(place, share) => {
                space.allocate_among(*place, &share.ports(), preferred, rng.next()).ok_or(FULL)
            }
            // Nobody gets a block that nobody could log.
            From::Blocks(_) if self.management.slots() < EVENTS => {
                Err(out_of_resources(DropReason::PortBlockUnlogged))
            }
            From::Blocks(request) => {
                space.wake(now);
                let management = &mut self.management;
                let mut tell = |event| {
                    // There is room: see above.
                    let _ = management.push(FromWorker::Block(event));
                };
                let request = Request { preferred, ..**request };
                space.allocate_in_blocks(&request, &snap.local, rng, &mut tell).map_err(|none| match none {
                    NoPort::Limit => FULL,
                    NoPort::Exhausted => EXHAUSTED,
                })
            }
        }
    }

    /// A new mapping.
    fn map(
        &mut self,
        snap: &Snapshot,
        now: Tick,
        from: From<'_>,
        (internal, counted): (Internal, bool),
        (to, answers): (&mut Tuple, (Realm, u16)),
    ) -> Result<Endpoint, Refusal> {
        // Any port on the same side of 1024.
        let any = if internal.port < REGISTERED { 0 } else { u16::MAX };
        for turn in 0..TRIES {
            let preferred = if turn == 0 { internal.port } else { any };
            let external = self.port(snap, now, &from, preferred)?;
            let address = snap.local.get(external.number).ok_or(EXHAUSTED)?.address;
            let becomes = Tuple { src: address, sport: external.port, ..*to };
            let reply = V4Key::new(becomes.inverse(), answers.0, answers.1);
            if self.shard.lookup(&reply, self.shard.hash(&reply)).is_some() {
                self.space.release(external, None);
                continue;
            }
            let Some(id) = self.mappings.insert(internal, external, counted) else {
                self.space.release(external, None);
                return Err(EXHAUSTED);
            };
            *to = becomes;
            return Ok(Endpoint { lease: lease(external), mapping: Some(id) });
        }
        Err(EXHAUSTED)
    }

    /// Takes back blocks of ports that nobody has used for long enough, and tells of each.
    pub(super) fn look_after_blocks(&mut self, snap: &Snapshot) {
        let management = &mut self.management;
        // The rest of the ring is for others.
        let most = management.slots().saturating_sub(EVENTS).min(BLOCKS_A_TICK);
        self.space.take_back_idle(&snap.local, most, &mut |event| {
            // There is room.
            let _ = management.push(FromWorker::Block(event));
        });
    }

    /// A port of the address that no session with the same remote end has.
    fn share(
        &mut self,
        snap: &Snapshot,
        number: u16,
        (to, answers): (&mut Tuple, (Realm, u16)),
    ) -> Option<Endpoint> {
        let becomes = Tuple { src: snap.local.get(number)?.address, ..*to };
        let rest = snap.steering.rest(&becomes.inverse(), false);
        let (shard, rng) = (&self.shard, &mut self.rng);
        let is_taken = |port| {
            let reply = V4Key::new(Tuple { sport: port, ..becomes }.inverse(), answers.0, answers.1);
            shard.lookup(&reply, shard.hash(&reply)).is_some()
        };
        let (what, wanted) = ((number, to.protocol), (rest, to.sport));
        let port = self.space.share(what, wanted, (to.dst, to.dport), || rng.next(), is_taken)?;
        *to = Tuple { sport: port, ..becomes };
        Some(Endpoint { lease: Lease { address: number, port, protocol: to.protocol }, mapping: None })
    }

    /// Holds the endpoint for a session that is about to be made: before another one goes for it, which may be the last that
    /// the mapping has.
    pub(super) fn hold(&mut self, endpoint: Endpoint, remote: Ipv4Addr, strong: bool) {
        if let Some(id) = endpoint.mapping {
            self.mappings.open(id, remote, strong);
        }
    }

    /// Gives back the endpoint that was held for a session that could not be made.
    pub(super) fn undo(&mut self, endpoint: Endpoint, remote: (Ipv4Addr, u16), strong: bool) {
        let Lease { address: number, port, protocol } = endpoint.lease;
        let external = External { number, protocol, port };
        match endpoint.mapping {
            Some(id) => {
                if self.mappings.close(id, remote.0, strong).is_some() {
                    self.space.release(external, None);
                }
            }
            None => self.space.unshare(external, remote),
        }
    }

    /// Gives back what a session held that is gone.
    pub(super) fn give_back(&mut self, lease: Lease, held: Held) {
        let Lease { address: number, port, protocol } = lease;
        let external = External { number, protocol, port };
        if !held.mapped {
            self.space.unshare(external, held.remote);
        } else if let Some(id) = self.mappings.at(&external)
            && self.mappings.close(id, held.remote.0, held.strong).is_some()
        {
            let now = (!held.ended).then_some(self.now.tick());
            self.space.release(external, now);
        }
    }

    /// The mapping of an external endpoint as seen from outside, with which a session from `remote` may be opened. `expected`: it
    /// was said that it would come.
    pub(super) fn admitting(
        &self,
        snap: &Snapshot,
        external: External,
        (remote, ours): (Ipv4Addr, bool),
        expected: bool,
    ) -> Result<(Endpoint, Internal), DropReason> {
        let id = self.mappings.at(&external).ok_or(DropReason::NoSession)?;
        let (internal, _) = self.mappings.ends(id).ok_or(DropReason::NoSession)?;
        let behavior = snap.local.get(external.number).map(|local| local.behavior);
        let filtering = behavior.map_or(Dependence::AddressAndPort, |b| b.filtering(external.protocol));
        if !expected && !self.mappings.admits(id, filtering, remote, ours) {
            return Err(DropReason::Filtered);
        }
        Ok((Endpoint { lease: lease(external), mapping: Some(id) }, internal))
    }

    /// Somebody inside answered a session that came in by a mapping: it keeps the mapping open from now on.
    pub(super) fn strengthen(&mut self, lease: Lease, remote: Ipv4Addr) {
        let Lease { address: number, port, protocol } = lease;
        if let Some(id) = self.mappings.at(&External { number, protocol, port }) {
            self.mappings.strengthen(id, remote);
        }
    }
}

fn lease(External { number, protocol, port }: External) -> Lease {
    Lease { address: number, port, protocol }
}

/// The internal endpoint of a flow whose tuple is `to` but for the source.
fn internal(source: Translated, group: u16, (to, zone): (Tuple, u16), behavior: &Behavior) -> Internal {
    let mapping = if source.closed { Dependence::AddressAndPort } else { behavior.mapping(to.protocol) };
    Internal {
        address: to.src,
        zone,
        port: to.sport,
        protocol: to.protocol,
        group,
        remote: Internal::remote(mapping, (to.dst, to.dport)),
        closed: source.closed,
    }
}

//! What an endpoint inside is outside, and who may come in by it.
//!
//! | the sender's address is translated | its endpoint outside | opened for it |
//! |---|---|---|
//! | not at all | the same | nothing |
//! | one to one (`[[static]]`) | the same port | nothing: its sessions are let in anyhow |
//! | and the port is forwarded to it | the forward's port | nothing |
//! | to an address that gives hosts ports of their own | a mapping's port | the mapping, for one session from the other end |
//!
//! In all other cases the line stays as it is, and why is counted. The mapping is with the worker that the endpoint's answers
//! come to, which is not always the one that has the control connection: see [`super`].

use crate::conntrack::key::V4Key;
use crate::conntrack::session::{Direction, Lease};
use crate::conntrack::table::SessionId;
use crate::device::Device;
use crate::ids::{Realm, WorkerId};
use crate::nat::alg::expectations::Expected;
use crate::nat::alg::{FIRST_PORT, Mention};
use crate::nat::behavior::{Dependence, Sharing};
use crate::nat::mapping::{External, MappingId};
use crate::packet::{Packet, Parsed, Tuple};
use crate::pipeline::Snapshot;
use crate::pipeline::mesh::{Ask, Handoff};
use crate::pipeline::plan::{Translated, from_pool, is_mapped};
use crate::pipeline::worker::Core;
use crate::telemetry::{AlgEvent, HandoffCause};
use crate::time::{Tick, Time};
use crate::wire::protocol::TCP;
use std::net::Ipv4Addr;

/// Expectations whose time is over that are ended a tick.
const BUDGET: usize = 256;

/// An endpoint as it is outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
}

/// What an endpoint is outside.
enum Outside {
    /// This.
    Known(Published),
    /// A port of this address that has to be asked for.
    Mapped(Ipv4Addr, Ask),
    /// What it is inside.
    Same,
    /// It can not be had.
    Refused(AlgEvent),
}

/// What the host's sources become on the address that its peer knows: where ports are subscribers', one of his.
fn source_of(snap: &Snapshot, ask: &Ask) -> Option<Translated> {
    let sharing = snap.local.get(ask.number)?.behavior.sharing;
    if sharing == Sharing::Ports {
        return Some(Translated { number: ask.number, pool: None, share: None, closed: false });
    }
    let pool = snap.pools.iter().position(|numbers| numbers.contains(&ask.number))?;
    from_pool(snap, pool, (ask.zone, ask.address, ask.port)).ok()
}

impl<D: Device> Core<D> {
    /// What an endpoint that the sender of a packet in this direction named is outside.
    ///
    /// # Errors
    /// It stays as it is; or another worker has to be asked, and the watcher knows what.
    pub(super) fn publish(
        &mut self,
        snap: &Snapshot,
        now: Time,
        (id, direction): (SessionId, Direction),
        mention: &Mention,
    ) -> Result<Published, Option<WorkerId>> {
        match self.outside(snap, (id, direction), mention) {
            Outside::Known(published) => Ok(published),
            Outside::Same => Err(None),
            Outside::Refused(event) => {
                self.counters.count_alg(event);
                Err(None)
            }
            Outside::Mapped(address, ask) => {
                let owner = snap.steering.outbound(&to_anybody(&ask));
                let told = self.watcher.as_ref().and_then(|watcher| watcher.told);
                let port = match told.filter(|(asked, _)| *asked == ask) {
                    Some((_, port)) => port,
                    None if owner == self.id => self.open(snap, now, &ask),
                    None => {
                        if let Some(watcher) = &mut self.watcher {
                            watcher.ask = Some(ask);
                        }
                        return Err(Some(owner));
                    }
                };
                port.map(|port| Published { address, port }).ok_or(None)
            }
        }
    }

    fn outside(
        &self,
        snap: &Snapshot,
        (id, direction): (SessionId, Direction),
        mention: &Mention,
    ) -> Outside {
        let session = self.shard.session(id);
        let (here, there) = (session.key(direction), session.key(direction.reverse()));
        let (arriving, leaving) = (here.tuple(), session.translated(direction));
        let (address, port) = (leaving.src, mention.port);
        // Nothing is translated, or the sender knows what it is outside.
        if address == arriving.src || mention.address == Some(address) {
            return Outside::Same;
        }
        let is_own = mention.address.is_none_or(|named| named == arriving.src);
        if !is_own || port < FIRST_PORT {
            return Outside::Refused(AlgEvent::ForeignEndpoint);
        }
        // Full NAT: who comes would not look like the one who is expected, on either side.
        let is_hidden =
            direction == Direction::Reply && there.realm() == Realm::External && leaving.dst != arriving.dst;
        if here.realm() == Realm::External || is_hidden {
            return Outside::Refused(AlgEvent::NoMapping);
        }
        let number = snap.local.find(there.zone(), address);
        let forward = number.and_then(|number| snap.local.forward(number, TCP, port));
        let fixed = snap.local.statics().any_of_internal(here.zone(), arriving.src);
        if let Some(fixed) = fixed.filter(|fixed| fixed.outside(arriving.src) == address) {
            return match forward.is_none() && fixed.inbound {
                true => Outside::Known(Published { address, port }),
                false => Outside::Refused(AlgEvent::NoPort),
            };
        }
        let from_there = Tuple { src: arriving.src, sport: port, ..arriving };
        if let Some(request) = snap.local.request_of(here.zone(), &from_there) {
            return match request.dst == address {
                true => Outside::Known(Published { address, port: request.dport }),
                false => Outside::Refused(AlgEvent::NoPort),
            };
        }
        let Some(number) = number.filter(|number| is_mapped(snap, *number, TCP)) else {
            return Outside::Refused(AlgEvent::NoMapping);
        };
        let is_outside = there.realm() == Realm::External;
        let remote = if is_outside { leaving.dst } else { Ipv4Addr::UNSPECIFIED };
        Outside::Mapped(address, Ask { number, zone: here.zone(), address: arriving.src, port, remote })
    }

    /// Gives an endpoint inside a port outside, and lets one session in by it. Returns the port.
    fn open(&mut self, snap: &Snapshot, now: Time, ask: &Ask) -> Option<u16> {
        let mut to = to_anybody(ask);
        let key = V4Key::new(to, Realm::Internal, ask.zone);
        let answers = (Realm::External, ask.zone);
        // The number may be another address's since it was asked.
        let found = match source_of(snap, ask).filter(|_| is_mapped(snap, ask.number, TCP)) {
            Some(source) => self.acquire(snap, now.tick(), (source, key), (&mut to, answers)),
            None => Ok(None),
        };
        let Ok(Some(endpoint)) = found else {
            self.counters.count_alg(AlgEvent::NoPort);
            return None;
        };
        let mapping = endpoint.mapping()?;
        let Lease { address: number, port, protocol } = endpoint.lease;
        let expected = Expected { external: External { number, protocol, port }, remote: ask.remote };
        // As for a session, so that one that is not expected after all takes the mapping with it.
        self.hold(endpoint, ask.remote, true);
        let is_same = number == ask.number;
        let is_kept = if is_same { self.expect(snap, now, expected, mapping) } else { None };
        if is_kept != Some(true) {
            self.undo(endpoint, (ask.remote, 0), true);
        }
        is_kept.map(|_| port)
    }

    /// Expects somebody, for whom the mapping is held once already. Returns whether that is new; `None` if there is no room.
    fn expect(&mut self, snap: &Snapshot, now: Time, expected: Expected, mapping: MappingId) -> Option<bool> {
        let until = now.tick().after(snap.algs.timeout);
        let expectations = &mut self.watcher.as_mut()?.expectations;
        if expectations.renew(&expected, until) {
            return Some(false);
        }
        let is_kept =
            expectations.len() < snap.algs.expectations && expectations.add(expected, mapping, until);
        self.counters.count_alg(if is_kept { AlgEvent::Opened } else { AlgEvent::Full });
        is_kept.then_some(true)
    }

    /// Whoever opened a session waits for an answer that may come from any port of the other end. Only where the filter goes by
    /// ports it has to be let in.
    pub(super) fn expect_answer(&mut self, snap: &Snapshot, now: Time, id: SessionId) {
        let session = self.shard.session(id);
        let (original, reply) = (session.key(Direction::Original), session.key(Direction::Reply));
        let from_inside = original.realm() == Realm::Internal && reply.realm() == Realm::External;
        let is_translated = session.translated(Direction::Original).src != original.tuple().src;
        if !from_inside || !is_translated || session.is_inbound() {
            return;
        }
        let mapped = session.lease().filter(|_| session.is_mapped()).and_then(|lease| {
            let external = External { number: lease.address, protocol: lease.protocol, port: lease.port };
            let mapping = self.mappings.at(&external)?;
            let (internal, _) = self.mappings.ends(mapping)?;
            (!internal.closed).then_some((external, mapping))
        });
        let is_static = session.lease().is_none()
            && snap
                .local
                .statics()
                .any_of_internal(original.zone(), original.tuple().src)
                .is_some_and(|fixed| fixed.inbound);
        let Some((external, mapping)) = mapped else {
            if !is_static {
                self.counters.count_alg(AlgEvent::NoMapping);
            }
            return;
        };
        let behavior = snap.local.get(external.number).map(|local| local.behavior);
        if behavior.is_none_or(|behavior| behavior.filtering(external.protocol) != Dependence::AddressAndPort)
        {
            return;
        }
        let remote = reply.tuple().src;
        if self.expect(snap, now, Expected { external, remote }, mapping) == Some(true) {
            self.mappings.open(mapping, remote, true);
        }
    }

    /// Whether a session from outside to this endpoint was said to come. `ours`: from somebody behind the gateway.
    pub(in crate::pipeline) fn expected(
        &self,
        external: External,
        (remote, ours): (Ipv4Addr, bool),
        now: Time,
    ) -> Option<Expected> {
        let expectations = self.watcher.as_ref().map(|watcher| &watcher.expectations)?;
        if expectations.is_empty() {
            return None;
        }
        let anybody = ours.then_some(Ipv4Addr::UNSPECIFIED);
        let mut candidates =
            std::iter::once(remote).chain(anybody).map(|remote| Expected { external, remote });
        candidates.find(|expected| expectations.has(expected, now.tick()))
    }

    /// The session that was expected is there, and keeps the mapping itself.
    pub(in crate::pipeline) fn fulfil(&mut self, expected: &Expected) {
        self.end_expectation(expected, AlgEvent::Used);
    }

    fn end_expectation(&mut self, expected: &Expected, event: AlgEvent) {
        let Some(watcher) = &mut self.watcher else { return };
        let Some(mapping) = watcher.expectations.remove(expected) else { return };
        self.counters.count_alg(event);
        if self.mappings.close(mapping, expected.remote, true).is_some() {
            self.space.release(expected.external, Some(self.now.tick()));
        }
    }

    /// Ends what nobody came for in time; once a tick.
    pub(in crate::pipeline) fn end_overdue(&mut self, now: Time) {
        for _ in 0..BUDGET {
            let Some(expected) = self.overdue(now.tick()) else { return };
            self.end_expectation(&expected, AlgEvent::Expired);
        }
    }

    fn overdue(&self, now: Tick) -> Option<Expected> {
        self.watcher.as_ref()?.expectations.overdue(now)
    }

    /// Ends what is expected at addresses that the configuration does not have any more, since their numbers may become others'.
    pub(in crate::pipeline) fn end_retired(&mut self, snap: &Snapshot) {
        let count = self.watcher.as_ref().map_or(0, |watcher| watcher.expectations.len());
        for _ in 0..count {
            let next = self.watcher.as_mut().and_then(|watcher| watcher.expectations.rotate());
            let Some(expected) = next else { return };
            if snap.local.get(expected.external.number).is_none_or(|local| local.retired) {
                self.end_expectation(&expected, AlgEvent::Ended);
            }
        }
    }

    /// Asks another worker what the watcher wants to know.
    pub(in crate::pipeline) fn ask(&mut self, worker: WorkerId, packet: Packet<D::Buf, Parsed>) {
        let Some(ask) = self.watcher.as_mut().and_then(|watcher| watcher.ask.take()) else {
            return self.drop_early(&packet, crate::telemetry::DropReason::AlgUnfit);
        };
        self.counters.count_handoff(HandoffCause::Other);
        self.hand_off(worker, Handoff::Ask(packet, ask, self.id));
    }

    /// Another worker asks for a port.
    pub(in crate::pipeline) fn tell_port(
        &mut self,
        snap: &Snapshot,
        now: Time,
        packet: Packet<D::Buf, Parsed>,
        (ask, from): (Ask, WorkerId),
    ) {
        let port = self.open(snap, now, &ask);
        self.counters.count_handoff(HandoffCause::Other);
        self.hand_off(from, Handoff::Told(packet, ask, port));
    }

    /// Goes on with a packet for which another worker was asked.
    pub(in crate::pipeline) fn go_on(
        &mut self,
        snap: &Snapshot,
        now: Time,
        packet: Packet<D::Buf, Parsed>,
        told: (Ask, Option<u16>),
    ) {
        let work = self.read(snap.interface(packet.state.interface), packet);
        self.set_told(Some(told));
        self.forward(snap, now, work);
        self.set_told(None);
    }

    fn set_told(&mut self, told: Option<(Ask, Option<u16>)>) {
        if let Some(watcher) = &mut self.watcher {
            watcher.told = told;
        }
    }
}

/// The first packet of a flow from the endpoint to whoever comes, as mappings and owners go by it.
fn to_anybody(ask: &Ask) -> Tuple {
    Tuple { src: ask.address, dst: ask.remote, sport: ask.port, dport: 0, protocol: TCP }
}

//! Sessions by the service that they go to, and what they have in common.
//!
//! A service is what clients address and what that becomes. Of sessions that only have their source translated the server's
//! address does not count (a site talks to thousands, and no class can be made for any of them); of all others it does.
//! So there are about as many services as the config forwards ports, and never more than [`MAX_SERVICES`]: sessions of
//! others are counted together. Each takes less than half a kilobyte.

use crate::conntrack::class::Class;
use crate::conntrack::key::V4Key;
use crate::conntrack::session::SessionSnapshot;
use crate::ids::Realm;
use crate::packet::Tuple;
use crate::time::Tick;
use ahash::RandomState;
use arrayvec::ArrayVec;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// The most services that are told apart.
pub(super) const MAX_SERVICES: usize = 65_536;
/// Over how many seconds new sessions and packets are counted for a rate.
pub(super) const WINDOW: u32 = 10;
const TICKS_A_SECOND: u32 = 10;
/// Classes of sessions by their packets: those of class n have at most 2^n; the last has the rest.
const SIZES: usize = 20;
/// Sources that are remembered as they are.
pub(super) const FEW_SOURCES: usize = 8;
/// Bits by which more of them are estimated.
const SOURCE_BITS: u32 = 1024;

/// What translation does to a session's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Change {
    /// Nothing: they are routed.
    Nothing,
    /// Another destination address, the same port.
    Destination,
    /// Another destination port, and maybe another address.
    Port,
    /// Another source.
    Source,
    /// Another source and another destination.
    Both,
}

/// What sessions are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Service {
    /// IANA protocol number.
    pub(super) protocol: u8,
    /// The side that clients are on.
    pub(super) realm: Realm,
    /// The zone that they are in.
    pub(super) zone: u16,
    /// The address that they send to; `None`: any, as only sources are translated.
    pub(super) to: Option<Ipv4Addr>,
    /// The port, or what stands in its place.
    pub(super) port: u16,
    /// What that becomes.
    pub(super) backend: Option<(Ipv4Addr, u16)>,
    /// The side and the zone that answers come from.
    pub(super) answers_from: (Realm, u16),
    /// What is translated.
    pub(super) change: Change,
}

impl Service {
    /// That of a session.
    pub(super) fn of(session: &SessionSnapshot<V4Key>) -> Service {
        let (original, sent) = (session.original.tuple(), session.reply.tuple().inverse());
        let source = (original.src, original.sport) != (sent.src, sent.sport);
        let destination = (original.dst, original.dport) != (sent.dst, sent.dport);
        let change = match (source, destination) {
            (false, false) => Change::Nothing,
            (false, true) if original.dport == sent.dport => Change::Destination,
            (false, true) => Change::Port,
            (true, false) => Change::Source,
            (true, true) => Change::Both,
        };
        Service {
            protocol: original.protocol,
            realm: session.original.realm(),
            zone: session.original.zone(),
            to: (change != Change::Source).then_some(original.dst),
            port: original.dport,
            backend: destination.then_some((sent.dst, sent.dport)),
            answers_from: (session.reply.realm(), session.reply.zone()),
            change,
        }
    }
}

/// Who the clients are.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    few: ArrayVec<Ipv4Addr, FEW_SOURCES>,
    has_more: bool,
    seen: [u64; (SOURCE_BITS / 64) as usize],
}

impl Sources {
    fn add(&mut self, source: Ipv4Addr, hasher: &RandomState) {
        if !self.few.contains(&source) {
            self.has_more |= self.few.try_push(source).is_err();
        }
        let bit = hasher.hash_one(source) % u64::from(SOURCE_BITS);
        if let Some(word) = usize::try_from(bit / 64).ok().and_then(|at| self.seen.get_mut(at)) {
            *word |= 1 << (bit % 64);
        }
    }

    /// All of them, if they are few.
    pub(super) fn few(&self) -> Option<&[Ipv4Addr]> {
        (!self.has_more).then_some(&self.few)
    }

    /// How many there are: exactly if they are few, else as many as set that many bits on average (linear counting,
    /// Whang 1990). The second value says that there may be any number more: beyond some 7,000 every bit is set.
    pub(super) fn count(&self) -> (u64, bool) {
        if !self.has_more {
            return (self.few.len() as u64, false);
        }
        let set: u32 = self.seen.iter().map(|word| word.count_ones()).sum();
        // With k bits set, one more is set by every 1024 / (1024 - k) new sources.
        let of_bit = |k: u32| u64::from(SOURCE_BITS) * 1000 / u64::from(SOURCE_BITS - k);
        ((0..set).map(of_bit).sum::<u64>() / 1000, set == SOURCE_BITS)
    }
}

/// The sessions of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Sessions in the table.
    pub(super) sessions: u64,
    /// Of these, on their way to their end, or over.
    pub(super) closing: u64,
    /// Without an answer.
    pub(super) unreplied: u64,
    /// Proved conversations that go on.
    pub(super) assured: u64,
    /// Packets of all of them, both ways.
    packets: u64,
    /// Sessions by how many packets they have: see [`SIZES`].
    sizes: [u32; SIZES],
    /// Sessions by how many seconds ago they were opened.
    fresh: [u32; WINDOW as usize],
    /// Packets of the last [`WINDOW`] seconds, in thousandths.
    recent: u64,
    /// From first to last packet, all together, in ticks.
    lives: u64,
    /// The shortest idle timeout that one has, in ticks.
    shortest: Option<u32>,
    /// Who the clients are.
    pub(super) sources: Sources,
    /// The first packet of one.
    pub(super) example: Option<Tuple>,
}

impl Group {
    fn add(&mut self, session: &SessionSnapshot<V4Key>, now: Tick, hasher: &RandomState) {
        let original = session.original.tuple();
        let packets: u64 = session.packets.iter().sum();
        let age = now.since(session.created);
        self.sessions += 1;
        match Class::of(session.state, session.seen_reply, session.assured) {
            Class::Closing => self.closing += 1,
            Class::SynSent | Class::Unreplied => self.unreplied += 1,
            Class::Assured => self.assured += 1,
            Class::SynRecv | Class::Unassured | Class::Protected => {}
        }
        self.packets = self.packets.saturating_add(packets);
        let size = packets.max(1).next_power_of_two().trailing_zeros() as usize;
        if let Some(sessions) = self.sizes.get_mut(size.min(SIZES - 1)) {
            *sessions = sessions.saturating_add(1);
        }
        if let Some(fresh) = self.fresh.get_mut((age / TICKS_A_SECOND) as usize) {
            *fresh = fresh.saturating_add(1);
        }
        self.recent = self.recent.saturating_add(recent(session, now));
        self.lives += u64::from(session.last_seen.since(session.created));
        self.shortest =
            Some(self.shortest.map_or(session.timeout_ticks, |least| least.min(session.timeout_ticks)));
        self.sources.add(original.src, hasher);
        self.example.get_or_insert(original);
    }

    /// New sessions a second, in thousandths; and whether it may have been more.
    ///
    /// A session is in the table for its idle timeout at the least. So those of the last seconds, as many as the shortest
    /// timeout of one has, are all there, unless timeouts shrink, sessions are evicted or somebody deletes them: that is
    /// for the caller to know.
    pub(super) fn new_per_second(&self) -> (u64, bool) {
        let sure = self.shortest.unwrap_or(0) / TICKS_A_SECOND;
        let seconds = sure.clamp(1, WINDOW);
        let fresh: u64 = self.fresh.iter().take(seconds as usize).map(|count| u64::from(*count)).sum();
        (fresh * 1000 / u64::from(seconds), sure == 0)
    }

    /// Packets a second both ways, in thousandths: an estimate.
    pub(super) fn packets_per_second(&self) -> u64 {
        self.recent / u64::from(WINDOW)
    }

    /// Packets of a session both ways, in thousandths, on average.
    pub(super) fn mean_packets(&self) -> u64 {
        self.packets.saturating_mul(1000) / self.sessions.max(1)
    }

    /// Half of the sessions have at most so many packets; a power of two.
    pub(super) fn median_packets(&self) -> u64 {
        let mut rest = self.sessions.div_ceil(2);
        for (size, sessions) in self.sizes.iter().enumerate() {
            rest = rest.saturating_sub(u64::from(*sessions));
            if rest == 0 {
                return 1 << size;
            }
        }
        u64::MAX
    }

    /// From the first to the last packet of a session so far, in ticks, on average.
    pub(super) fn mean_life(&self) -> u64 {
        self.lives / self.sessions.max(1)
    }
}

/// Packets of a session within the window, in thousandths: as if they had come evenly between the first and the last.
fn recent(session: &SessionSnapshot<V4Key>, now: Tick) -> u64 {
    let window = u64::from(WINDOW * TICKS_A_SECOND);
    let life = u64::from(session.last_seen.since(session.created));
    let idle = u64::from(now.since(session.last_seen));
    let within = window.saturating_sub(idle).min(life.max(1));
    let thousandths = session.packets.iter().sum::<u64>().saturating_mul(1000);
    let share = u128::from(thousandths) * u128::from(within) / u128::from(life.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// Every service that there are sessions of.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_service: HashMap<Service, Box<Group>, RandomState>,
    hasher: RandomState,
    /// Sessions that were looked at.
    pub(super) sessions: u64,
    /// Of these, those of services beyond [`MAX_SERVICES`].
    pub(super) left_out: u64,
}

impl Groups {
    /// Adds a session.
    pub(super) fn add(&mut self, session: &SessionSnapshot<V4Key>, now: Tick) {
        self.sessions += 1;
        let service = Service::of(session);
        if self.by_service.len() >= MAX_SERVICES && !self.by_service.contains_key(&service) {
            self.left_out += 1;
            return;
        }
        self.by_service.entry(service).or_default().add(session, now, &self.hasher);
    }

    /// How many services there are.
    pub(super) fn len(&self) -> usize {
        self.by_service.len()
    }

    /// The services.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Service, &Group)> {
        self.by_service.iter().map(|(service, group)| (service, &**group))
    }
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;

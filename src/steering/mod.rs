//! Which worker owns a packet: a pure function of the packet and the configuration (DESIGN section 4).
//!
//! | packet | its owner is decided by |
//! |---|---|
//! | from inside | its source: a subscriber lives on one worker; or the whole flow (addresses, and ports if it is TCP or UDP), if the config spreads hosts over workers |
//! | TCP or UDP to a port of ours | the port alone where it is a mapping's, which may be sent to by anybody; else the whole flow: whoever makes a session picks a port with which the reply comes to him |
//! | any protocol with ports to a port of ours that is in a block, or a subscriber's by arithmetic | the port's place: [`crate::classify::Shares`] |
//! | other protocols and ICMP identifiers | the port or identifier alone |
//! | to a forwarded port (DNAT) | the whole flow; where sources are counted, its source alone |
//! | from a backend of a forward | as the request that it answers, by whichever forward that came and whichever backend it got |
//! | from outside to an address that is not ours | as the packet that it answers, whose source was not translated |
//! | to a static address (1:1) | as what the host behind it sends to the source |
//! | from one static host to the external address of another | as the one of both directions whose source is lower |
//! | of a protocol without ports | the address of the remote end: its source if the destination is ours, else its destination |
//! | ICMP error | as the packet that would answer the quoted one (its tuple already is that) |
//! | fragment | first its addresses, at whose worker the fragments meet; then, ports known, as above |
//!
//! Every one of these functions is a Toeplitz hash of some fields and a table from its lowest bits to workers, because
//! that is what NICs compute (RSS). Who carries it out is the interface's plan, which [`plan`] chooses at the start:
//!
//! | plan | packets of an interface reach their owner |
//! |---|---|
//! | A | by fields of the NIC: a key that weighs the source alone, or flow rules for the lowest bits of the port |
//! | B | by the NIC's RSS over the whole flow, with our key and table, or its own: [`classes`] finds the port |
//! | C | by handoff: the worker that received them computes the same function |
//!
//! The worker that receives a packet computes its owner in any case, so that a NIC that does something else costs time
//! and makes nothing wrong.
//!
//! With [`Steering::by_port`] the port alone decides of all packets to ours: what rules of a NIC can express. Such a port has
//! one owner; of others each worker may give out any, to flows whose replies come to it.
//!
//! A packet from inside to a mapping of somebody else inside (hairpinning) comes to the owner of that mapping, who hands it to
//! the owner of the sender's: there its source is translated, and it comes back as if from outside (`pipeline::turn`). So it is
//! with one that goes from a host with a mapping to a static address.
//!
//! Without ports a subscriber's sessions may be with any worker, so that what limits each source allow, they allow of
//! such sessions on each worker. So it is with sessions that are opened to static addresses, which are where their host's
//! are.

pub mod classes;
pub mod plan;
pub mod toeplitz;

use crate::classify::LocalAddresses;
use crate::ids::{Realm, WorkerId};
use crate::nat::Rng;
use crate::packet::{Parsed, Tuple};
use crate::wire::protocol;
use classes::{ClassSet, Classes, MAX_CLASSES, low_mask};
use std::net::Ipv4Addr;
use toeplitz::{KEY_LEN, Key, Toeplitz, hashes_ports};

/// Bits of the table's index unless NICs need fewer: 128 entries, as most NICs have.
const DEFAULT_BITS: u32 = 7;

/// What a packet from inside goes by (`runtime.spread`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// Its source: a host has one worker, which its fragments come to by themselves.
    #[default]
    Source,
    /// The whole flow: a busy host has all of them.
    Flow,
}

/// By source address alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sources {
    key: Toeplitz,
    /// Every worker in turn by the reversed index: what the lowest bits of an address add under such a key is in the upper
    /// bits of the index alone, and neighbours shall not all be with one worker.
    table: Box<[WorkerId]>,
}

impl Sources {
    fn new(key: Key, workers: u8, bits: u32) -> Sources {
        let even = even_table(workers, bits);
        let reversed = |entry: usize| entry.reverse_bits().checked_shr(usize::BITS - bits).unwrap_or(0);
        let table = (0..even.len()).map(|entry| even[reversed(entry)]).collect();
        Sources { key: Toeplitz::new(key), table }
    }

    #[inline]
    fn owner(&self, source: Ipv4Addr) -> WorkerId {
        pick(&self.table, self.key.source(source))
    }
}

/// The owner function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    workers: u8,
    /// From the lowest bits of a hash to workers: what a NIC calls RETA.
    table: Box<[WorkerId]>,
    flows: Toeplitz,
    /// Weighs the source address alone, for packets from inside; `None`: the whole flow counts.
    sources: Option<Sources>,
    /// Whether the clients of forwards go by their address alone too.
    together: bool,
    /// Classes of ports by what they add to the hash of a flow.
    by_flow: Classes,
    /// Classes of ports by their lowest bits, where the port alone decides.
    alone: Classes,
    by_port: bool,
}

impl Steering {
    /// The owner function for a number of workers (at least 1). `seed` is drawn at random at start-up, so that
    /// nobody outside can aim at one worker.
    pub fn new(workers: u8, seed: u64) -> Self {
        Steering::with_bits(workers, seed, DEFAULT_BITS)
    }

    /// As [`Steering::new`], with 2^`bits` entries in the table.
    pub fn with_bits(workers: u8, seed: u64, bits: u32) -> Self {
        let table = even_table(workers, bits);
        // Three keys of ten are good enough.
        let mut all = (0..256).filter_map(|turn| Steering::with(table.clone(), random_key(seed, turn)));
        all.find(|steering| steering.by_flow.are_even()).unwrap_or_else(Steering::single)
    }

    /// The owner function of this table, which has a power of two of entries, and key. `None` if under this key some entry
    /// could not be reached by the choice of a port alone.
    pub fn with(table: Box<[WorkerId]>, key: Key) -> Option<Self> {
        let last = table.iter().max()?;
        let workers = last.0.checked_add(1)?;
        if workers == 1 {
            return Some(Steering::single());
        }
        if !table.len().is_power_of_two() || table.len() > MAX_CLASSES {
            return None;
        }
        let flows = Toeplitz::new(key);
        let bits = table.len().ilog2();
        let (by_flow, alone) = (Classes::of_key(&flows, bits)?, Classes::of_low_bits(bits)?);
        Some(Steering { workers, table, flows, by_flow, alone, ..Steering::single() })
    }

    /// One worker owns everything.
    pub fn single() -> Self {
        let flows = Toeplitz::new([0; KEY_LEN]);
        let (by_flow, alone) = (Classes::one(), Classes::one());
        Steering {
            workers: 1,
            table: [WorkerId(0)].into(),
            flows,
            sources: None,
            together: false,
            by_flow,
            alone,
            by_port: false,
        }
    }

    /// The same with another spread.
    #[must_use]
    pub fn spread(self, spread: Spread) -> Self {
        let bits = self.by_flow.bits();
        let source = || Sources::new(source_key(self.flows.key(), bits), self.workers, bits);
        let sources = (spread == Spread::Source).then(source);
        Steering { sources, ..self }
    }

    /// The same, but all sessions of one source address are on one worker, those to forwarded ports too: what is
    /// counted by source needs that. One client then has no more than one worker's power.
    #[must_use]
    pub fn sources_together(self, together: bool) -> Self {
        let spread = if self.sources.is_some() || together { Spread::Source } else { Spread::Flow };
        Steering { together, ..self.spread(spread) }
    }

    /// The same, but the lowest bits of an external port alone say whose it is.
    #[must_use]
    pub fn by_port(self, by_port: bool) -> Self {
        Steering { by_port, ..self }
    }

    /// How many workers there are.
    pub fn workers(&self) -> u8 {
        self.workers
    }

    /// From the lowest bits of a hash to workers; a power of two of entries.
    pub fn table(&self) -> &[WorkerId] {
        &self.table
    }

    /// The table that a NIC on this side needs.
    pub fn table_of(&self, realm: Realm) -> &[WorkerId] {
        match (&self.sources, realm) {
            (Some(sources), Realm::Internal) => &sources.table,
            _ => &self.table,
        }
    }

    /// How the ports of an address fall into classes for this protocol. `mapped`: the address keeps mappings.
    #[inline]
    pub fn classes(&self, number: u8, mapped: bool) -> &Classes {
        if self.goes_by_port(number, mapped) { &self.alone } else { &self.by_flow }
    }

    /// Whether the port alone decides of packets to all our addresses.
    pub fn is_by_port(&self) -> bool {
        self.by_port
    }

    /// Whether the port alone decides of packets of this protocol to an address. `mapped`: it keeps mappings.
    #[inline]
    pub fn goes_by_port(&self, number: u8, mapped: bool) -> bool {
        mapped || self.by_port || !hashes_ports(number)
    }

    /// What packets from inside go by.
    pub fn spread_by(&self) -> Spread {
        if self.sources.is_some() { Spread::Source } else { Spread::Flow }
    }

    /// The key that a NIC on this side needs.
    pub fn key(&self, realm: Realm) -> &Key {
        match (&self.sources, realm) {
            (Some(sources), Realm::Internal) => sources.key.key(),
            _ => self.flows.key(),
        }
    }

    /// The entries of the table that are a worker's.
    pub fn entries_of(&self, worker: WorkerId) -> ClassSet {
        let mut mine = ClassSet::default();
        (0u16..)
            .zip(&self.table)
            .filter(|(_, owner)| **owner == worker)
            .for_each(|(entry, _)| mine.insert(entry));
        mine
    }

    /// The owner of the session that a packet with this tuple, which came in from this side and zone, belongs to.
    #[inline]
    pub fn owner(&self, tuple: &Tuple, (realm, zone): (Realm, u16), local: &LocalAddresses) -> WorkerId {
        if self.workers == 1 {
            return WorkerId(0);
        }
        if !local.statics().is_empty()
            && let Some(owner) = self.of_static(tuple, (realm, zone), local)
        {
            return owner;
        }
        if let Some(number) = local.find(zone, tuple.dst) {
            return if protocol::is_portless(tuple.protocol) {
                self.remote(tuple.src)
            } else if let Some(forward) = local.forward(number, tuple.protocol, tuple.dport) {
                self.client(&local.first_request(forward, tuple))
            } else if let Some(request) = local.former_request(number, tuple) {
                self.client(&request)
            } else if let Some(owner) = local.owner_of_share(number, tuple.dport) {
                owner
            } else {
                let mapped = local.keeps_mappings(number, tuple.protocol);
                let class = self.classes(tuple.protocol, mapped).class(tuple.dport);
                self.pick(self.rest(tuple, mapped) ^ class)
            };
        }
        if realm == Realm::External {
            return self.of_answer(tuple, zone, local);
        }
        if protocol::is_portless(tuple.protocol) {
            return self.remote(tuple.dst);
        }
        if has_forwards(tuple.protocol)
            && let Some(request) = local.request_of(zone, tuple)
        {
            return self.client(&request);
        }
        self.outbound(tuple)
    }

    /// The owner of a packet from outside to an address that is not ours: that of the packet which it answers, whose source was
    /// not translated.
    #[cold]
    #[inline(never)]
    fn of_answer(&self, tuple: &Tuple, zone: u16, local: &LocalAddresses) -> WorkerId {
        let inside = local.untranslated().zone_of(zone, tuple.dst).unwrap_or(zone);
        self.owner(&tuple.inverse(), (Realm::Internal, inside), local)
    }

    /// The owner of a packet to the external address of a network that is translated one to one, and of one without ports from
    /// such a network. `None`: it goes by the other rules, as what such hosts send does.
    ///
    /// Nothing is chosen for these sessions, no port and no address, so that from either direction's packet the other one
    /// follows. Without ports the host's address decides: of a third one inside that speaks to it, nothing else is in both.
    #[cold]
    #[inline(never)]
    fn of_static(
        &self,
        tuple: &Tuple,
        (realm, zone): (Realm, u16),
        local: &LocalAddresses,
    ) -> Option<WorkerId> {
        let statics = local.statics();
        let portless = protocol::is_portless(tuple.protocol);
        let number = local.find(zone, tuple.dst);
        let Some(fixed) = statics.of_external(tuple.dst) else {
            let outward = portless && realm == Realm::Internal && number.is_none();
            let outward = outward && statics.any_of_internal(zone, tuple.src).is_some();
            return outward.then(|| self.remote(tuple.src));
        };
        let is_forwarded = |number| {
            local.forward(number, tuple.protocol, tuple.dport).is_some()
                || local.former_request(number, tuple).is_some()
        };
        if number.is_some_and(is_forwarded) {
            return None;
        }
        let answer = Tuple { src: fixed.inside(tuple.dst), ..tuple.inverse() };
        if statics.any_of_internal(zone, tuple.src).is_some() {
            // The other direction's packet names this one's source by its external address: both know both hosts.
            let back = answer.inverse();
            let first = if (back.src, back.sport) < (answer.src, answer.sport) { back } else { answer };
            return Some(if portless { self.remote(first.src) } else { self.outbound(&first) });
        }
        if portless {
            return Some(self.remote(answer.src));
        }
        match local.request_of(fixed.zone, &answer) {
            Some(request) if has_forwards(answer.protocol) => Some(self.client(&request)),
            _ => Some(self.outbound(&answer)),
        }
    }

    /// What a packet to a port of ours adds to the index of the table's entry beside the port's class. `mapped`: the address
    /// keeps mappings.
    #[inline]
    pub fn rest(&self, tuple: &Tuple, mapped: bool) -> u16 {
        if self.goes_by_port(tuple.protocol, mapped) {
            return 0;
        }
        let rest = self.flows.addresses(tuple) ^ self.flows.source_port(tuple.sport);
        rest & low_mask(self.by_flow.bits())
    }

    /// The worker at which the fragments of a datagram meet: where NICs deliver them.
    #[inline]
    pub fn fragment_owner(&self, packet: &Parsed, realm: Realm) -> WorkerId {
        match (&self.sources, realm) {
            (Some(sources), Realm::Internal) => sources.owner(packet.tuple.src),
            _ => self.pick(self.flows.addresses(&packet.tuple)),
        }
    }

    /// Where a NIC with the key of this side delivers a whole packet.
    #[inline]
    pub fn placement(&self, tuple: &Tuple, realm: Realm) -> WorkerId {
        match (&self.sources, realm) {
            (Some(sources), Realm::Internal) => sources.owner(tuple.src),
            _ if self.by_port && realm == Realm::External => self.pick(self.alone.class(tuple.dport)),
            _ => self.pick(self.flows.packet(tuple)),
        }
    }

    /// A request to a forwarded port.
    #[inline]
    fn client(&self, request: &Tuple) -> WorkerId {
        match &self.sources {
            Some(sources) if self.together => sources.owner(request.src),
            _ => self.pick(self.flows.packet(request)),
        }
    }

    /// The owner of what the source of a packet from inside sends outside, wherever the packet itself goes: there its mappings
    /// are.
    #[inline]
    pub fn outbound(&self, tuple: &Tuple) -> WorkerId {
        match &self.sources {
            Some(sources) => sources.owner(tuple.src),
            None => self.pick(self.flows.packet(tuple)),
        }
    }

    #[inline]
    fn remote(&self, address: Ipv4Addr) -> WorkerId {
        self.pick(self.flows.source(address))
    }

    /// The worker of an entry, of whose index these are the lowest bits.
    #[inline]
    fn pick(&self, hash: u16) -> WorkerId {
        pick(&self.table, hash)
    }
}

#[inline]
fn pick(table: &[WorkerId], hash: u16) -> WorkerId {
    table[usize::from(hash) & (table.len() - 1)]
}

/// A table that gives every worker as many of its 2^`bits` entries as any other, but for one.
pub fn even_table(workers: u8, bits: u32) -> Box<[WorkerId]> {
    (0..=u8::MAX).take(usize::from(workers.max(1))).map(WorkerId).cycle().take(1 << bits).collect()
}

/// Random bits for a key.
fn random_key(seed: u64, turn: u64) -> Key {
    let mut rng = Rng::seeded(seed ^ turn << 56);
    let [first, second] = [rng.next(), rng.next()];
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}

/// A key under which the lowest `bits` bits of a hash depend on the source address alone, whatever else a NIC hashes:
/// input bit `i` adds key bits `32 - bits + i` and up to them, so all from the first bit of the destination on are 0.
///
/// The bit before is 1: the lowest bit of the address changes the highest of the index, the two lowest the two highest, and
/// so on. Neighbours then reach every entry, and under the table of [`Sources`] every worker in turn.
fn source_key(random: &Key, bits: u32) -> Key {
    let keep = 64 - bits;
    let random = u128::from_be_bytes(*random);
    (random & !(u128::MAX >> keep) | 1 << (128 - keep)).to_be_bytes()
}

fn has_forwards(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP)
}

#[cfg(test)]
mod tests;

//! The mappings of one worker: which external endpoint belongs to which internal one, and whom it lets in.
//!
//! A mapping is there as long as a session uses it, and has no timer of its own: sessions have. It is *open*, that is,
//! sessions may come in by it, as long as one of them was opened from inside or answered from there; others can not keep
//! it (RFC 7857 section 7).
//!
//! Only where an external endpoint is more than one session's ([`Behavior::keeps_mappings`]) there are mappings.
//!
//! # Ownership
//!
//! A worker's own, private to it: a host is with one worker, and so is an external port (`steering`).
//!
//! # Bounds
//!
//! As many mappings as the shard holds sessions at the most, and as many `Peers`; memory is reserved when the table is
//! made, and touched as it is needed. Look-ups walk a chain of about one; strangers can not make it longer without the seed.
//!
//! [`Behavior::keeps_mappings`]: super::behavior::Behavior::keeps_mappings

use super::behavior::Dependence;
use super::peers::Peers;
use super::space::set_of;
use std::hash::Hash;
use std::net::Ipv4Addr;

/// No mapping.
const NONE: u32 = u32::MAX;

/// An internal endpoint, with what of the remote end its mapping depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Internal {
    /// Its address.
    pub address: Ipv4Addr,
    /// The address space that the address lies in.
    pub zone: u16,
    /// Its port or identifier.
    pub port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Number of the external address, or of the first one of its pool if any of them may do.
    pub group: u16,
    /// Address and port of the remote end as far as the mapping depends on them; the rest is 0.
    pub remote: (Ipv4Addr, u16),
    /// It is for one session alone, and lets nobody else in: a source that full NAT gave.
    pub closed: bool,
}

impl Internal {
    /// The part of a remote end on which something depends.
    pub fn remote(dependence: Dependence, (address, port): (Ipv4Addr, u16)) -> (Ipv4Addr, u16) {
        match dependence {
            Dependence::Nothing => (Ipv4Addr::UNSPECIFIED, 0),
            Dependence::Address => (address, 0),
            Dependence::AddressAndPort => (address, port),
        }
    }
}

/// An external endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct External {
    /// Number of the address among the local ones.
    pub number: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// Its port or identifier.
    pub port: u16,
}

/// A mapping's place in its table, until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingId(u32);

#[derive(Clone, Copy, Debug)]
struct Mapping {
    internal: Internal,
    external: External,
    /// Sessions that use it.
    sessions: u32,
    /// Those of them that keep it open.
    strong: u32,
    /// One remote address that strong sessions go to, and how many; the others are in `Peers`.
    peer: (Ipv4Addr, u32),
    /// Remote addresses in `Peers`.
    others: u32,
    /// Whether it counts among its internal address's.
    counted: bool,
    /// The next one with the same hash of its internal endpoint, or the next free one.
    next_internal: u32,
    /// The same for the external one.
    next_external: u32,
}

/// The mappings of a worker; see the module's head.
#[derive(Debug)]
pub struct Mappings {
    entries: Vec<Mapping>,
    capacity: u32,
    free: u32,
    by_internal: Box<[u32]>,
    by_external: Box<[u32]>,
    peers: Peers,
    /// Mappings of internal addresses whose number of ports is limited.
    held: Peers,
    len: u32,
    random: ahash::RandomState,
}

impl Mappings {
    /// Memory of `mappings` mappings that are there and of what a table for `sessions` sessions takes beside them, in bytes.
    /// What is never needed is reserved and not taken.
    pub fn bytes(mappings: u64, sessions: u64) -> u64 {
        let chains = 3 * size_of::<u32>() + Peers::BYTES_PER_PEER;
        mappings * (size_of::<Mapping>() + Peers::BYTES_PER_PEER) as u64 + sessions * chains as u64
    }

    /// A table for `capacity` mappings of `sessions` sessions. `seeds` must be random and secret.
    pub fn new(capacity: u32, sessions: u32, seeds: [u64; 2]) -> Mappings {
        let capacity = capacity.min(NONE - 1);
        let chains = if capacity == 0 { 0 } else { (capacity as usize).next_power_of_two() };
        // Stored as number + 1, so that all zero means no mapping: memory that nobody touched is taken from nobody.
        let heads = || vec![0; chains].into_boxed_slice();
        Mappings {
            entries: Vec::with_capacity(capacity as usize),
            capacity,
            free: NONE,
            by_internal: heads(),
            by_external: heads(),
            peers: Peers::new(sessions, seeds[0]),
            held: Peers::new(capacity, seeds[1]),
            len: 0,
            random: ahash::RandomState::with_seeds(seeds[0], seeds[1], !seeds[0], !seeds[1]),
        }
    }

    /// How many there can be.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The mapping of an internal endpoint.
    #[inline]
    pub fn find(&self, internal: &Internal) -> Option<MappingId> {
        let mut at = self.head(&self.by_internal, internal);
        while let Some(mapping) = self.entry(at) {
            if mapping.internal == *internal {
                return Some(MappingId(at));
            }
            at = mapping.next_internal;
        }
        None
    }

    /// The mapping of an external endpoint.
    #[inline]
    pub fn at(&self, external: &External) -> Option<MappingId> {
        if self.len == 0 {
            return None;
        }
        let mut at = self.head(&self.by_external, external);
        while let Some(mapping) = self.entry(at) {
            if mapping.external == *external {
                return Some(MappingId(at));
            }
            at = mapping.next_external;
        }
        None
    }

    /// The two ends of a mapping that is there.
    #[inline]
    pub fn ends(&self, MappingId(at): MappingId) -> Option<(Internal, External)> {
        self.entry(at).map(|mapping| (mapping.internal, mapping.external))
    }

    /// Whether a mapping lets in a session from this remote address, which no session has come from or gone to yet. `ours`:
    /// it is an external address of the gateway itself, that is, somebody behind it.
    ///
    /// Filters by address let in who is behind the gateway too: all of them have one address, and would have to know each
    /// other's mappings to reach each other otherwise (RFC 4787 REQ-9).
    pub fn admits(
        &self,
        MappingId(at): MappingId,
        filtering: Dependence,
        remote: Ipv4Addr,
        ours: bool,
    ) -> bool {
        let Some(mapping) = self.entry(at) else { return false };
        mapping.strong > 0
            && !mapping.internal.closed
            && match filtering {
                Dependence::Nothing => true,
                Dependence::Address => {
                    ours || mapping.peer.0 == remote && mapping.peer.1 > 0
                        || mapping.others > 0 && self.peers.has(at, remote)
                }
                Dependence::AddressAndPort => false,
            }
    }

    /// How many mappings that were counted the host of an internal endpoint has, of protocols whose ports are in the same set.
    pub fn held(&self, internal: &Internal) -> u32 {
        self.held.count(holder(internal), internal.address)
    }

    /// Adds a mapping that no session uses yet: [`Mappings::open`] follows. `None` if there is no room. `counted`: see
    /// [`Mappings::held`]. The external
    /// endpoint may have none; of several of an internal one the last is found.
    pub fn insert(&mut self, internal: Internal, external: External, counted: bool) -> Option<MappingId> {
        let mut mapping = Mapping {
            internal,
            external,
            sessions: 0,
            strong: 0,
            peer: (Ipv4Addr::UNSPECIFIED, 0),
            others: 0,
            counted,
            next_internal: self.head(&self.by_internal, &internal),
            next_external: self.head(&self.by_external, &external),
        };
        let at = match self.entry(self.free) {
            Some(free) => {
                let at = self.free;
                self.free = free.next_internal;
                std::mem::swap(self.entries.get_mut(at as usize)?, &mut mapping);
                at
            }
            None if self.entries.len() < self.capacity as usize => {
                let at = u32::try_from(self.entries.len()).ok()?;
                self.entries.push(mapping);
                at
            }
            None => return None,
        };
        let (inner, outer) = (self.chain(&internal), self.chain(&external));
        *self.by_internal.get_mut(inner)? = at + 1;
        *self.by_external.get_mut(outer)? = at + 1;
        self.len += 1;
        if counted {
            self.held.add(holder(&internal), internal.address);
        }
        Some(MappingId(at))
    }

    /// A session with this remote address uses the mapping. `strong`: it keeps it open.
    pub fn open(&mut self, id: MappingId, remote: Ipv4Addr, strong: bool) {
        if let Some(mapping) = self.entries.get_mut(id.0 as usize) {
            mapping.sessions += 1;
        }
        if strong {
            self.strengthen(id, remote);
        }
    }

    /// A session that is there keeps the mapping open from now on.
    pub fn strengthen(&mut self, MappingId(at): MappingId, remote: Ipv4Addr) {
        let Some(mapping) = self.entries.get_mut(at as usize) else { return };
        mapping.strong += 1;
        let known = mapping.others > 0 && self.peers.has(at, remote);
        if !known && (mapping.peer.1 == 0 || mapping.peer.0 == remote) {
            mapping.peer = (remote, mapping.peer.1 + 1);
        } else if self.peers.add(at, remote) {
            mapping.others += 1;
        }
    }

    /// A session ends. Returns the two ends if it was the last one: the mapping is gone then.
    pub fn close(&mut self, id: MappingId, remote: Ipv4Addr, strong: bool) -> Option<(Internal, External)> {
        let MappingId(at) = id;
        let mapping = self.entries.get_mut(at as usize)?;
        mapping.sessions = mapping.sessions.saturating_sub(1);
        if strong {
            mapping.strong = mapping.strong.saturating_sub(1);
            if mapping.peer.1 > 0 && mapping.peer.0 == remote {
                mapping.peer.1 -= 1;
            } else if self.peers.remove(at, remote) {
                mapping.others = mapping.others.saturating_sub(1);
            }
        }
        if mapping.sessions > 0 { None } else { self.remove(id) }
    }

    /// Takes out a mapping that no session uses.
    fn remove(&mut self, MappingId(at): MappingId) -> Option<(Internal, External)> {
        let Mapping { internal, external, counted, next_internal, next_external, .. } = *self.entry(at)?;
        if counted {
            self.held.remove(holder(&internal), internal.address);
        }
        let (inner, outer) = (self.chain(&internal), self.chain(&external));
        unlink(&mut self.by_internal, &mut self.entries, (inner, at, next_internal), |m| {
            &mut m.next_internal
        });
        unlink(&mut self.by_external, &mut self.entries, (outer, at, next_external), |m| {
            &mut m.next_external
        });
        let free = std::mem::replace(&mut self.free, at);
        if let Some(mapping) = self.entries.get_mut(at as usize) {
            mapping.next_internal = free;
        }
        self.len -= 1;
        Some((internal, external))
    }

    #[inline]
    fn entry(&self, at: u32) -> Option<&Mapping> {
        self.entries.get(at as usize)
    }

    fn chain(&self, key: &impl Hash) -> usize {
        let mask = u64::try_from(self.by_internal.len()).unwrap_or(0).wrapping_sub(1);
        usize::try_from(self.random.hash_one(key) & mask).unwrap_or(0)
    }

    /// The first of a chain.
    #[inline]
    fn head(&self, chains: &[u32], key: &impl Hash) -> u32 {
        chains.get(self.chain(key)).map_or(NONE, |head| head.wrapping_sub(1))
    }
}

/// What, with its address, a host's mappings are counted by: its zone, and the set that the protocol's ports are in.
fn holder(internal: &Internal) -> u32 {
    let set = set_of(internal.protocol).and_then(|set| u32::try_from(set).ok()).unwrap_or(0);
    u32::from(internal.zone) << 2 | set
}

/// Takes entry `at` of a chain out of it, after which `next` comes.
fn unlink(
    heads: &mut [u32],
    entries: &mut [Mapping],
    (chain, at, next): (usize, u32, u32),
    link: impl Fn(&mut Mapping) -> &mut u32,
) {
    let Some(head) = heads.get_mut(chain) else { return };
    if *head == at + 1 {
        *head = next.wrapping_add(1);
        return;
    }
    let mut before = head.wrapping_sub(1);
    while let Some(mapping) = entries.get_mut(before as usize) {
        let link = link(mapping);
        if *link == at {
            *link = next;
            return;
        }
        before = *link;
    }
}

#[cfg(test)]
mod tests;

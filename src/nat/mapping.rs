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
//! As many mappings as the shard holds sessions at the most, and as many `Peers`, whose memory is reserved when the table is
//! made and touched as it is needed. A mapping is found by either end as a session is by either key, by the same kind of
//! index: a lookup reads one line of it and one mapping, and strangers can not make that longer without the seed.
//!
//! [`Behavior::keeps_mappings`]: super::behavior::Behavior::keeps_mappings

use super::behavior::Dependence;
use super::peers::Peers;
use super::space::set_of;
use crate::conntrack::index::Index;
use crate::conntrack::key::hash_of;
use crate::conntrack::session::Direction::{Original, Reply};
use crate::memory::Slab;
use std::net::Ipv4Addr;

/// No entry.
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
    /// Number of its external address, and the port there. The protocol is that of the internal endpoint.
    external: (u16, u16),
    /// Whether it counts among its internal address's.
    counted: bool,
    /// Sessions that use it. None: nothing here means anything but `others`.
    sessions: u32,
    /// Those of them that keep it open.
    strong: u32,
    /// One remote address that strong sessions go to, and how many; the others are in `Peers`.
    peer: (Ipv4Addr, u32),
    /// Remote addresses in `Peers`; of an entry that is free the next one that is.
    others: u32,
}

const _: () = assert!(size_of::<Mapping>() == 44);

impl Mapping {
    const FREE: Mapping = Mapping {
        internal: Internal {
            address: Ipv4Addr::UNSPECIFIED,
            zone: 0,
            port: 0,
            protocol: 0,
            group: 0,
            remote: (Ipv4Addr::UNSPECIFIED, 0),
            closed: false,
        },
        external: (0, 0),
        counted: false,
        sessions: 0,
        strong: 0,
        peer: (Ipv4Addr::UNSPECIFIED, 0),
        others: NONE,
    };

    #[inline]
    fn external(&self) -> External {
        let (number, port) = self.external;
        External { number, protocol: self.internal.protocol, port }
    }
}

/// The mappings of a worker; see the module's head.
#[derive(Debug)]
pub struct Mappings {
    entries: Slab<Mapping>,
    /// The first entry that is free.
    free: u32,
    /// From a hash to a mapping, by its internal endpoint (as [`Original`]) and by its external one (as [`Reply`]).
    index: Index,
    peers: Peers,
    /// Mappings of internal addresses whose number of ports is limited.
    held: Peers,
    len: u32,
    seed: u64,
}

impl Mappings {
    /// Memory of a table for `mappings` mappings of `sessions` sessions, in bytes. What is in `Peers` comes to that when it is needed.
    pub fn bytes(mappings: u64, sessions: u64) -> u64 {
        let chains = 2 * size_of::<u32>() as u64 * sessions;
        mappings * (size_of::<Mapping>() + Index::BYTES_PER_SESSION) as u64 + chains
    }

    /// A table for `capacity` mappings of `sessions` sessions. `seeds` must be random and secret.
    pub fn new(capacity: u32, sessions: u32, seeds: [u64; 2]) -> Mappings {
        let capacity = capacity.min(Index::MAX_SESSIONS);
        let entry = |at: usize| {
            let next = u32::try_from(at + 1).ok().filter(|next| *next < capacity);
            Mapping { others: next.unwrap_or(NONE), ..Mapping::FREE }
        };
        Mappings {
            entries: Slab::from_fn(capacity as usize, entry),
            free: if capacity == 0 { NONE } else { 0 },
            index: Index::new(capacity),
            peers: Peers::new(sessions, seeds[0]),
            held: Peers::new(capacity, seeds[1]),
            len: 0,
            seed: seeds[0] ^ seeds[1].rotate_left(32),
        }
    }

    /// How many there can be.
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(NONE)
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
        let is_it = |at, end| end == Original && self.entry(at).is_some_and(|m| m.internal == *internal);
        self.index.find(self.hash_internal(internal), is_it).map(|(at, _)| MappingId(at))
    }

    /// The mapping of an external endpoint.
    #[inline]
    pub fn at(&self, external: &External) -> Option<MappingId> {
        if self.len == 0 {
            return None;
        }
        let is_it = |at, end| end == Reply && self.entry(at).is_some_and(|m| m.external() == *external);
        self.index.find(self.hash_external(external), is_it).map(|(at, _)| MappingId(at))
    }

    /// The two ends of a mapping that is there.
    #[inline]
    pub fn ends(&self, MappingId(at): MappingId) -> Option<(Internal, External)> {
        self.entry(at).map(|mapping| (mapping.internal, mapping.external()))
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
    /// [`Mappings::held`]. The external endpoint may have none. One that the internal endpoint has is not found by that any
    /// more.
    pub fn insert(&mut self, internal: Internal, external: External, counted: bool) -> Option<MappingId> {
        let (inner, outer) = (self.hash_internal(&internal), self.hash_external(&external));
        let before = self.find(&internal);
        let at = self.free;
        let entry = self.entries.get_mut(at as usize)?;
        self.free = entry.others;
        let external = (external.number, external.port);
        *entry = Mapping { internal, external, counted, others: 0, ..Mapping::FREE };
        if let Some(MappingId(before)) = before {
            self.index.remove(inner, before, Original);
        }
        self.index.insert(inner, at, Original);
        self.index.insert(outer, at, Reply);
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
        let entry = self.entries.get_mut(at as usize)?;
        let (internal, external, counted) = (entry.internal, entry.external(), entry.counted);
        *entry = Mapping { others: std::mem::replace(&mut self.free, at), ..Mapping::FREE };
        if counted {
            self.held.remove(holder(&internal), internal.address);
        }
        let (inner, outer) = (self.hash_internal(&internal), self.hash_external(&external));
        self.index.remove(inner, at, Original);
        self.index.remove(outer, at, Reply);
        self.len -= 1;
        Some((internal, external))
    }

    #[inline]
    fn entry(&self, at: u32) -> Option<&Mapping> {
        self.entries.get(at as usize)
    }

    #[inline]
    fn hash_internal(&self, internal: &Internal) -> u64 {
        let Internal { address, zone, port, protocol, group, remote, closed } = *internal;
        let end = |address: Ipv4Addr, port| u64::from(address.to_bits()) << 16 | u64::from(port);
        let rest = u64::from(group) << 16 | u64::from(protocol) << 8 | u64::from(closed);
        hash_of([end(address, port) << 16 | u64::from(zone), end(remote.0, remote.1), rest], self.seed)
    }

    #[inline]
    fn hash_external(&self, external: &External) -> u64 {
        let External { number, protocol, port } = *external;
        let end = u64::from(number) << 32 | u64::from(protocol) << 16 | u64::from(port);
        hash_of([end, 0, 0], !self.seed)
    }
}

/// What, with its address, a host's mappings are counted by: its zone, and the set that the protocol's ports are in.
fn holder(internal: &Internal) -> u32 {
    let set = set_of(internal.protocol).and_then(|set| u32::try_from(set).ok()).unwrap_or(0);
    u32::from(internal.zone) << 2 | set
}

#[cfg(test)]
mod tests;

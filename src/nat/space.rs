//! The external ports of one worker: a [`PortSet`] for each local address that may be allocated from, and each of
//! TCP, UDP and all others.
//!
//! The others are ICMP (identifiers), UDP-Lite, SCTP and DCCP: a set takes 16 KiB for each address and worker, and of these
//! protocols few flows are ever seen. That a port which one of them holds is then not given to another is stricter than
//! need be. No NIC is sure to read their ports, so that each port is one worker's, by its lowest bits.
//!
//! | the address | a port is |
//! |---|---|
//! | keeps mappings | one mapping's, and the port alone says which worker's: [`PortSpace::allocate`], [`PortSpace::release`] |
//! | has blocks, or gives by arithmetic | one mapping's, and its place says which worker's: `blocks` below, [`PortSpace::allocate_among`] |
//! | is translated to by flow | given again and again, to flows with different remote ends: [`PortSpace::share`], [`PortSpace::unshare`]; the session table says who has it, and the worker that its replies come to may give it |
//!
//! No two workers ever give the same port to flows whose replies look alike: a reply has one owner, and each worker
//! takes only ports with which it is itself. Either way no lock is needed.

use super::blocks::{BlockMap, Blocks, Empty};
use super::crowd::{Crowds, Ends, SIGN};
use super::mapping::External;
use super::ports::{PortSet, REGISTERED, Wanted};
use crate::classify::LocalAddresses;
use crate::ids::WorkerId;
use crate::steering::Steering;
use crate::steering::classes::{ClassSet, Classes};
use crate::telemetry::{Counter, PortsUsed};
use crate::time::Tick;
use crate::wire::protocol;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

pub use update::PortUpdate;

/// A protocol of each set.
const SETS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::ICMP];

/// Ports that rest at once on one worker; beyond that those that have rested longest are given out early.
const MAX_RESTING: usize = 65_536;
/// Ports whose rest is over that are looked at with each allocation.
const RESTED: usize = 4;

/// The ports of one local address by protocol, and of which protocols a port is one mapping's.
#[derive(Clone, Debug)]
struct Sets {
    ports: [PortSet; 3],
    mapped: [bool; 3],
    /// For so many ticks a port rests when its mapping is gone.
    rest: [u32; 3],
    /// Ports stand in their own order, to be given by ranges.
    by_range: bool,
    /// Whose are the blocks of it, if it has any.
    blocks: Option<Box<BlockMap>>,
    address: Ipv4Addr,
}

/// The ports of one local address.
#[derive(Debug)]
struct Slot {
    /// TCP, UDP, others; `None`: nothing is, or ever was, translated to this address.
    sets: Option<Box<Sets>>,
    /// What replaces them, as another configuration says: it has yet to take over what is taken. That is done when the
    /// address is needed next, so that a reload does not stop a worker for as long as it takes for thousands of them.
    next: Option<Box<Sets>>,
    /// What was replaced, for somebody else to free.
    spent: Option<Box<Sets>>,
    /// In an update: whether the sets that there are stay.
    keep: bool,
    used: Arc<PortsUsed>,
}

impl Slot {
    /// The ports of a protocol's set, if they are `mapped` or not and not given by ranges.
    #[inline]
    fn set(&mut self, at: usize, mapped: bool) -> Option<&mut PortSet> {
        let sets = self.sets.as_deref_mut().filter(|sets| !sets.by_range)?;
        if sets.mapped.get(at) == Some(&mapped) { sets.ports.get_mut(at) } else { None }
    }

    #[inline]
    fn count(&self, worker: WorkerId, at: usize, count: impl FnOnce(&Counter)) {
        if let Some(counter) = self.used.of(worker).and_then(|sets| sets.get(at)) {
            count(counter);
        }
    }
}

/// The external ports of one worker.
#[derive(Debug)]
pub struct PortSpace {
    /// By local address number.
    slots: Box<[Slot]>,
    /// How the ports that are shared fall into classes, in the order of the sets.
    by_flow: [Classes; 3],
    /// How those of mappings do.
    alone: Classes,
    /// Ports that nobody has and that are not given out yet, and until when.
    resting: VecDeque<(Tick, External)>,
    crowds: Crowds,
    /// How ports that are given by ranges stand.
    in_order: Classes,
    blocks: Blocks,
    /// Blocks of addresses that are not here any more.
    orphans: Empty,
    /// The address whose blocks are looked at next.
    cursor: u16,
    now: Tick,
    /// The entries of the steering table that are ours.
    entries: ClassSet,
    worker: WorkerId,
}

impl PortSpace {
    /// Memory of a worker's bitmaps of crowded remote ends and of its ports that rest, in bytes.
    pub const WORKER_BYTES: usize = Crowds::BYTES + MAX_RESTING * size_of::<(Tick, External)>();

    /// Memory of one address of which these ports may be allocated, in bytes.
    pub fn address_bytes(ports: &RangeInclusive<u16>) -> usize {
        3 * if *ports.start() < 1024 { PortSet::BYTES_WITH_LOW } else { PortSet::BYTES }
    }

    /// The ports of `worker`: allocatable and not forwarded. All are free.
    pub fn new(local: &LocalAddresses, steering: &Steering, worker: WorkerId) -> PortSpace {
        let slots = (0..).zip(local.iter()).map(|(number, address)| {
            let (mut sets, used) = (update::sets(local, steering, number), address.used.clone());
            if let Some(sets) = &mut sets {
                sets.blocks = blocks::map(local, number, worker);
            }
            Slot { sets, next: None, spent: None, keep: false, used }
        });
        PortSpace {
            slots: slots.collect(),
            by_flow: SETS.map(|protocol| steering.classes(protocol, false).clone()),
            alone: steering.classes(protocol::TCP, true).clone(),
            resting: VecDeque::with_capacity(MAX_RESTING),
            crowds: Crowds::new(),
            in_order: Classes::one(),
            blocks: Blocks::new(0, 0),
            orphans: Empty::default(),
            cursor: 0,
            now: Tick::default(),
            entries: steering.entries_of(worker),
            worker,
        }
    }

    /// A free port of the local address `number` for a mapping: one that is this worker's, `preferred` if possible, else one at
    /// random.
    ///
    /// `random` is only asked when it is needed: a random number costs some 270 instructions (callgrind).
    pub fn allocate(
        &mut self,
        number: u16,
        protocol: u8,
        preferred: u16,
        now: Tick,
        random: impl FnOnce() -> u64,
    ) -> Option<External> {
        self.wake(now);
        let at = set_of(protocol)?;
        let worker = self.worker;
        self.ready(number);
        let slot = self.slots.get_mut(usize::from(number))?;
        let set = slot.set(at, true)?;
        let wanted = Wanted { classes: &self.alone, entries: &self.entries, rest: 0 };
        let random = if set.is_free(wanted, preferred) { 0 } else { random() };
        let port = set.allocate(wanted, preferred, random)?;
        slot.count(worker, at, |used| used.increment());
        Some(External { number, protocol, port })
    }

    /// Takes a mapping's port back. Where strangers may send to it it rests, from `now` on; `None`: it need not, as both ends know
    /// that the conversation is over. False if it was not allocated, as that of a mapping that was made before the address
    /// became one that is shared.
    pub fn release(&mut self, external: External, now: Option<Tick>) -> bool {
        let rest = self.rest_of(external);
        let Some(until) = now.filter(|_| rest > 0).map(|now| now.after(rest)) else {
            return self.free(external);
        };
        if self.resting.len() >= MAX_RESTING
            && let Some((_, early)) = self.resting.pop_front()
        {
            self.free(early);
        }
        self.resting.push_back((until, external));
        true
    }

    fn rest_of(&self, external: External) -> u32 {
        let sets = self.slots.get(usize::from(external.number)).and_then(|slot| slot.sets.as_ref());
        let rest = set_of(external.protocol).and_then(|at| sets?.rest.get(at).copied());
        rest.unwrap_or(0)
    }

    /// Ports whose rest is over can be had again.
    pub fn wake(&mut self, now: Tick) {
        self.now = now;
        for _ in 0..RESTED {
            let Some((_, external)) = self.resting.front().copied().filter(|(until, _)| until.has_come(now))
            else {
                break;
            };
            self.resting.pop_front();
            self.free(external);
        }
    }

    fn free(&mut self, External { number, protocol, port }: External) -> bool {
        let (Some(at), worker) = (set_of(protocol), self.worker) else { return false };
        self.ready(number);
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return false };
        let Some(sets) = slot.sets.as_deref_mut().filter(|sets| sets.mapped[at]) else { return false };
        let order = if sets.by_range { &self.in_order } else { &self.alone };
        let released = sets.ports[at].release(order, port);
        if released {
            if let Some(map) = sets.blocks.as_deref_mut()
                && let Some(id) = map.at(port)
            {
                self.blocks.released(id, self.now, &mut map.empty);
            }
            slot.count(worker, at, |used| used.subtract(1));
        }
        released
    }

    /// A port of an address that is shared, with which a flow's replies come to this worker, and which `is_taken` by no flow
    /// with the same remote end: `preferred` if possible, else one at random. `rest` is what such a reply adds to the index of
    /// its entry ([`Steering::rest`]).
    pub fn share(
        &mut self,
        (number, protocol): (u16, u8),
        (rest, preferred): (u16, u16),
        remote: (Ipv4Addr, u16),
        mut random: impl FnMut() -> u64,
        is_taken: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let at = set_of(protocol)?;
        self.ready(number);
        let slot = self.slots.get_mut(usize::from(number))?;
        let set = slot.set(at, false)?;
        let wanted = Wanted { classes: self.by_flow.get(at)?, entries: &self.entries, rest };
        let ends: Ends = (External { number, protocol, port: 0 }, remote);
        let crowds = &mut self.crowds;
        let mut port = None;
        if set.is_free(wanted, preferred) && !is_taken(preferred) {
            port = Some(preferred);
            crowds.took(&ends, wanted.classes, preferred);
        } else if !crowds.has(&ends) {
            // A set of which nothing ever is taken: any port of it.
            let low = preferred < REGISTERED;
            let mut tries = (0..SIGN).map_while(|_| set.pick(wanted, low, random()));
            port = tries.find(|port| !is_taken(*port));
            if port.is_none() {
                crowds.gather(ends, set);
            }
        }
        let port = match port {
            Some(port) => port,
            None => crowds.allocate(&ends, (wanted, preferred), random, is_taken)?,
        };
        slot.count(self.worker, at, |used| used.increment());
        Some(port)
    }

    /// A flow gives a port back that it shared.
    pub fn unshare(&mut self, External { number, protocol, port }: External, remote: (Ipv4Addr, u16)) {
        let (Some(at), worker) = (set_of(protocol), self.worker) else { return };
        if let Some(classes) = self.by_flow.get(at) {
            let ends: Ends = (External { number, protocol, port: 0 }, remote);
            self.crowds.released(&ends, classes, port);
        }
        if let Some(slot) = self.slots.get_mut(usize::from(number)) {
            slot.count(worker, at, |used| used.subtract(1));
        }
    }
}

/// Which of the sets a protocol's ports are in.
#[inline]
pub fn set_of(protocol: u8) -> Option<usize> {
    match protocol {
        protocol::TCP => Some(0),
        protocol::UDP => Some(1),
        protocol::ICMP | protocol::UDP_LITE | protocol::SCTP | protocol::DCCP => Some(2),
        _ => None,
    }
}

pub mod blocks;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod tests;
mod update;

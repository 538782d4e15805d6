//! The external ports of one worker: a [`PortSet`] for each local address that may be allocated from, and each of
//! TCP, UDP and all others.
//!
//! The others are ICMP (identifiers), UDP-Lite, SCTP and DCCP: a set takes 16 KiB for each address and worker, and of these
//! protocols few flows are ever seen. That a port which one of them holds is then not given to another is stricter than
//! need be. No NIC is sure to read their ports, so that each port is one worker's, by its lowest bits.
//!
//! No two workers ever give the same port to flows whose replies look alike: a reply has one owner, and each worker
//! takes only ports with which it is itself. Where the port alone decides, each port is one worker's; else each may have
//! all of them. Either way no lock is needed.

use super::ports::{PortSet, Wanted};
use crate::classify::LocalAddresses;
use crate::ids::WorkerId;
use crate::steering::Steering;
use crate::steering::classes::{ClassSet, Classes};
use crate::telemetry::{Counter, PortsUsed};
use crate::wire::protocol;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A protocol of each set.
const SETS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::ICMP];

type Sets = [PortSet; 3];

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
    #[cold]
    fn replace(&mut self, mut next: Box<Sets>) {
        if let Some(sets) = &mut self.sets {
            next.iter_mut().zip(sets.iter_mut()).for_each(|(next, old)| next.inherit(old));
        }
        self.spent = self.sets.replace(next);
    }

    #[inline]
    fn set(&mut self, at: usize) -> Option<&mut PortSet> {
        if let Some(next) = self.next.take() {
            self.replace(next);
        }
        self.sets.as_deref_mut()?.get_mut(at)
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
    /// In the order of the sets.
    classes: [Classes; 3],
    /// The entries of the steering table that are ours.
    entries: ClassSet,
    worker: WorkerId,
}

/// What another configuration changes about a worker's ports: made by somebody else, since a worker takes no memory. After
/// [`PortSpace::adopt`] it holds what the worker has no use for any more, to be freed by somebody else.
#[derive(Debug)]
pub struct PortUpdate(Box<[Slot]>);

/// The sets of an address of which nothing is taken; `None` if nothing is translated to it.
fn sets(local: &LocalAddresses, steering: &Steering, number: u16) -> Option<Box<Sets>> {
    local.get(number)?.ports.as_ref()?;
    let set = |protocol| {
        PortSet::new(steering.classes(protocol), |port| local.is_allocatable(number, protocol, port))
    };
    Some(Box::new(SETS.map(set)))
}

/// Whether what may be given out of a local address is the same in both.
fn is_same(number: u16, before: &LocalAddresses, after: &LocalAddresses) -> bool {
    let taken = |local: &LocalAddresses| -> Vec<(u8, RangeInclusive<u16>)> {
        local.forwards_of(number).iter().map(|forward| (forward.protocol, forward.ports.clone())).collect()
    };
    match (before.get(number), after.get(number)) {
        (Some(old), Some(new)) => {
            let (same, both) = (old.ports == new.ports, !old.retired && !new.retired);
            same && both && (new.ports.is_none() || taken(before) == taken(after))
        }
        _ => false,
    }
}

impl PortUpdate {
    /// The way from one configuration to the next, for each worker. Both number their addresses alike.
    pub fn between(
        before: &LocalAddresses,
        after: &LocalAddresses,
        steering: &Steering,
        workers: u8,
    ) -> Vec<PortUpdate> {
        let fresh: Vec<Option<Box<Sets>>> = (0..)
            .zip(after.iter())
            .map(|(number, local)| {
                let changed = local.ports.is_some() && !is_same(number, before, after);
                if changed { sets(after, steering, number) } else { None }
            })
            .collect();
        let slots = || {
            after.iter().zip(&fresh).map(|(local, fresh)| {
                let is_there = !local.address.is_unspecified();
                let (next, keep) = (fresh.clone(), fresh.is_none() && is_there);
                Slot { sets: None, next, spent: None, keep, used: local.used.clone() }
            })
        };
        (0..workers).map(|_| PortUpdate(slots().collect())).collect()
    }
}

impl PortSpace {
    /// Memory of one address of which these ports may be allocated, in bytes.
    pub fn address_bytes(ports: &RangeInclusive<u16>) -> usize {
        3 * if *ports.start() < 1024 { PortSet::BYTES_WITH_LOW } else { PortSet::BYTES }
    }

    /// The ports of `worker`: allocatable and not forwarded. All are free.
    pub fn new(local: &LocalAddresses, steering: &Steering, worker: WorkerId) -> PortSpace {
        let slots = (0..).zip(local.iter()).map(|(number, address)| {
            let (sets, used) = (sets(local, steering, number), address.used.clone());
            Slot { sets, next: None, spent: None, keep: false, used }
        });
        PortSpace {
            slots: slots.collect(),
            classes: SETS.map(|protocol| steering.classes(protocol).clone()),
            entries: steering.entries_of(worker),
            worker,
        }
    }

    /// Goes over to another configuration: some instructions for each address. What is left over is in the update then.
    pub fn adopt(&mut self, update: &mut PortUpdate) {
        let PortUpdate(slots) = update;
        for (new, old) in slots.iter_mut().zip(&mut self.slots) {
            if new.keep {
                new.sets = old.sets.take();
                new.next = old.next.take();
            } else if new.next.is_some() {
                // What an earlier configuration would have changed and had no time to: nothing is taken of it.
                new.sets = old.sets.take();
            }
        }
        for new in slots.iter_mut().filter(|slot| slot.sets.is_none()) {
            new.sets = new.next.take();
        }
        std::mem::swap(&mut self.slots, slots);
    }

    /// A free port of the local address `number` with which replies come to this worker: `preferred` if possible, else one
    /// at random. `rest` is what such a reply adds to the index of its entry ([`Steering::rest`]).
    ///
    /// `random` is only asked when it is needed: a random number costs some 270 instructions (callgrind).
    pub fn allocate(
        &mut self,
        number: u16,
        protocol: u8,
        (rest, preferred): (u16, u16),
        random: impl FnOnce() -> u64,
    ) -> Option<u16> {
        let at = set_of(protocol)?;
        let worker = self.worker;
        let slot = self.slots.get_mut(usize::from(number))?;
        let set = slot.set(at)?;
        let wanted = Wanted { classes: &self.classes[at], entries: &self.entries, rest };
        let random = if set.is_free(wanted, preferred) { 0 } else { random() };
        let port = set.allocate(wanted, preferred, random)?;
        slot.count(worker, at, |used| used.increment());
        Some(port)
    }

    /// Takes a port back. False if it was not allocated, which would be a bug.
    pub fn release(&mut self, number: u16, protocol: u8, port: u16) -> bool {
        let (Some(at), worker) = (set_of(protocol), self.worker) else { return false };
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return false };
        let released = slot.set(at).is_some_and(|set| set.release(&self.classes[at], port));
        if released {
            slot.count(worker, at, |used| used.subtract(1));
        }
        released
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn flows_of_all_protocols_that_share_a_set_never_share_a_port() {
        let address = Ipv4Addr::new(203, 0, 113, 2);
        let local = LocalAddresses::new(vec![(address, None, Some(5000..=5009))], &[]);
        let mut space = PortSpace::new(&local, &Steering::new(1, 0), WorkerId(0));
        let mut taken = Vec::new();
        for (n, protocol) in [protocol::ICMP, protocol::SCTP, protocol::DCCP, protocol::UDP_LITE]
            .iter()
            .cycle()
            .take(10)
            .enumerate()
        {
            taken.push((*protocol, space.allocate(0, *protocol, (0, 5003), || n as u64).unwrap()));
        }
        let mut ports: Vec<u16> = taken.iter().map(|(_, port)| *port).collect();
        ports.sort_unstable();
        assert_eq!(ports, (5000..=5009).collect::<Vec<u16>>());
        assert_eq!(space.allocate(0, protocol::SCTP, (0, 5003), || 0), None);
        assert_eq!(space.allocate(0, protocol::TCP, (0, 5003), || 0), Some(5003), "TCP has its own");
        assert_eq!(space.allocate(0, protocol::UDP, (0, 5003), || 0), Some(5003), "UDP too");
        for (protocol, port) in taken {
            assert!(space.release(0, protocol, port));
        }
        assert_eq!(
            space.allocate(0, protocol::SCTP, (0, 5003), || 0),
            Some(5003),
            "its own port if it can be had"
        );
        assert_eq!(space.allocate(0, protocol::GRE, (0, 0), || 0), None, "has no ports");
    }
}

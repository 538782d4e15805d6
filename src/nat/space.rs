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
use crate::wire::protocol;
use std::ops::RangeInclusive;

/// A protocol of each set.
const SETS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::ICMP];

/// The external ports of one worker.
#[derive(Debug)]
pub struct PortSpace {
    /// By local address number; TCP, UDP, others.
    sets: Box<[Option<Box<[PortSet; 3]>>]>,
    /// In the same order.
    classes: [Classes; 3],
    /// The entries of the steering table that are ours.
    entries: ClassSet,
}

impl PortSpace {
    /// Memory of one address of which these ports may be allocated, in bytes.
    pub fn address_bytes(ports: &RangeInclusive<u16>) -> usize {
        3 * if *ports.start() < 1024 { PortSet::BYTES_WITH_LOW } else { PortSet::BYTES }
    }

    /// The ports of `worker`: allocatable and not forwarded. All are free.
    pub fn new(local: &LocalAddresses, steering: &Steering, worker: WorkerId) -> PortSpace {
        let sets = local.iter().zip(0u16..).map(|(address, number)| {
            address.ports.as_ref()?;
            let set = |protocol| {
                PortSet::new(steering.classes(protocol), |port| local.is_allocatable(number, protocol, port))
            };
            Some(Box::new(SETS.map(set)))
        });
        PortSpace {
            sets: sets.collect(),
            classes: SETS.map(|protocol| steering.classes(protocol).clone()),
            entries: steering.entries_of(worker),
        }
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
        let (set, classes, entries) = self.set(number, protocol)?;
        let wanted = Wanted { classes, entries, rest };
        let random = if set.is_free(wanted, preferred) { 0 } else { random() };
        set.allocate(wanted, preferred, random)
    }

    /// Takes a port back. False if it was not allocated, which would be a bug.
    pub fn release(&mut self, number: u16, protocol: u8, port: u16) -> bool {
        self.set(number, protocol).is_some_and(|(set, classes, _)| set.release(classes, port))
    }

    #[inline]
    fn set(&mut self, number: u16, protocol: u8) -> Option<(&mut PortSet, &Classes, &ClassSet)> {
        let at = match protocol {
            protocol::TCP => 0,
            protocol::UDP => 1,
            protocol::ICMP | protocol::UDP_LITE | protocol::SCTP | protocol::DCCP => 2,
            _ => return None,
        };
        let sets = self.sets.get_mut(usize::from(number))?.as_deref_mut()?;
        Some((&mut sets[at], &self.classes[at], &self.entries))
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

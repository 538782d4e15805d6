//! The external ports of one worker: a [`PortSet`] for each local address that may be allocated from, and each of
//! TCP, UDP and ICMP (identifiers).
//!
//! A worker's sets hold only ports that the steering maps back to it, so two workers can never give out the
//! same one and no lock is needed.

use super::ports::PortSet;
use crate::classify::LocalAddresses;
use crate::ids::WorkerId;
use crate::steering::Steering;
use crate::wire::protocol;

/// The external ports of one worker.
#[derive(Debug)]
pub struct PortSpace {
    /// By local address number; TCP, UDP, ICMP.
    sets: Box<[Option<Box<[PortSet; 3]>>]>,
}

impl PortSpace {
    /// Memory of one address that may be allocated from.
    pub const ADDRESS_BYTES: usize = 3 * PortSet::BYTES;

    /// The ports of `worker`: allocatable, not forwarded, and mapping back to it. All are free.
    pub fn new(local: &LocalAddresses, steering: &Steering, worker: WorkerId) -> PortSpace {
        let sets = local.iter().zip(0u16..).map(|(address, number)| {
            address.ports.as_ref()?;
            let set = |protocol| {
                PortSet::new(|port| {
                    steering.port_owner(port) == worker && local.is_allocatable(number, protocol, port)
                })
            };
            Some(Box::new([set(protocol::TCP), set(protocol::UDP), set(protocol::ICMP)]))
        });
        PortSpace { sets: sets.collect() }
    }

    /// A free port of the local address `number`: `preferred` if possible, else one at random.
    pub fn allocate(&mut self, number: u16, protocol: u8, preferred: u16, random: u64) -> Option<u16> {
        self.set(number, protocol)?.allocate(preferred, random)
    }

    /// Takes a port back. False if it was not allocated, which would be a bug.
    pub fn release(&mut self, number: u16, protocol: u8, port: u16) -> bool {
        self.set(number, protocol).is_some_and(|set| set.release(port))
    }

    /// Free ports of the local address `number`.
    pub fn free(&mut self, number: u16, protocol: u8) -> u32 {
        self.set(number, protocol).map_or(0, |set| set.free())
    }

    fn set(&mut self, number: u16, protocol: u8) -> Option<&mut PortSet> {
        let sets = self.sets.get_mut(usize::from(number))?.as_deref_mut()?;
        match protocol {
            protocol::TCP => Some(&mut sets[0]),
            protocol::UDP => Some(&mut sets[1]),
            protocol::ICMP => Some(&mut sets[2]),
            _ => None,
        }
    }
}

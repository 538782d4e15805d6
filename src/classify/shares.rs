//! Whose the ports of an address are where they are shared out in blocks, or by arithmetic: of which worker.
//!
//! A port goes by its place: so many ports in a row are one place, and each place has an owner in a table. That is what an
//! owner function costs then: a division and a load.
//!
//! | the pool has | a place is | its owner |
//! |---|---|---|
//! | blocks | a region of 1024 ports, whatever the size of blocks | each worker in turn, from one that the address says |
//! | arithmetic | the ports of a subscriber | the subscriber's |

use crate::ids::WorkerId;
use crate::nat::blocks::REGION;
use std::net::Ipv4Addr;

/// The owners of an address's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The number of the pool in the snapshot.
    pub pool: u16,
    first: u16,
    size: u16,
    owners: Box<[WorkerId]>,
}

impl Shares {
    /// By region, for an address of a pool with blocks.
    pub fn of_regions(pool: u16, address: Ipv4Addr, workers: u8) -> Shares {
        let regions = 0..=u16::MAX / REGION;
        let turn =
            |region: u16| address.to_bits().wrapping_add(u32::from(region)) % u32::from(workers.max(1));
        let owners = regions.map(|region| WorkerId(u8::try_from(turn(region)).unwrap_or(0)));
        Shares { pool, first: 0, size: REGION, owners: owners.collect() }
    }

    /// As `owners` says, of one subscriber after the other who have `size` ports each, from `first` on.
    pub fn of_subscribers(pool: u16, (first, size): (u16, u16), owners: Box<[WorkerId]>) -> Shares {
        Shares { pool, first, size, owners }
    }

    /// The owner of a port; `None`: it is nobody's.
    #[inline]
    pub fn owner(&self, port: u16) -> Option<WorkerId> {
        let place = port.checked_sub(self.first)?.checked_div(self.size)?;
        self.owners.get(usize::from(place)).copied()
    }
}

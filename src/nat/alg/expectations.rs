//! Sessions that somebody outside is expected to open, because somebody inside said on a control connection that it waits. Pure.
//!
//! An expectation is of one external endpoint and one remote address, from any port of that; or of anybody behind the gateway
//! itself, for whom the address stands that nobody has. It is used once, and lasts for a while only. It keeps the mapping open by
//! which the session comes in: whoever takes it out closes that.
//!
//! Owner: the worker that has the mapping. At most as many as it is made for, fewer if the config says so.

use super::queue_map::QueueMap;
use crate::nat::mapping::{External, MappingId};
use crate::time::Tick;
use std::net::Ipv4Addr;

/// The most that a config may ask for, all workers together.
pub const MOST: u32 = 65_536;

/// Somebody who may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expected {
    /// Where.
    pub external: External,
    /// From which address; [`Ipv4Addr::UNSPECIFIED`]: from behind the gateway.
    pub remote: Ipv4Addr,
}

/// What is kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    mapping: MappingId,
    until: Tick,
}

/// The expectations of one worker.
#[derive(Debug)]
pub struct Expectations(QueueMap<Expected, Kept>);

impl Expectations {
    /// None yet. `seed` must be random.
    pub fn new(seed: u64) -> Expectations {
        Expectations(QueueMap::new(MOST, seed))
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Whether this one is there and its time is not over.
    pub fn has(&self, expected: &Expected, now: Tick) -> bool {
        self.0.get(expected).is_some_and(|kept| !kept.until.has_come(now))
    }

    /// Gives one that is there its whole time again. False if it is not.
    pub fn renew(&mut self, expected: &Expected, until: Tick) -> bool {
        let Some(kept) = self.0.get_mut(expected) else { return false };
        kept.until = until;
        self.0.renew(expected);
        true
    }

    /// Adds one that is not there. False if there is no room.
    pub fn add(&mut self, expected: Expected, mapping: MappingId, until: Tick) -> bool {
        self.0.insert(expected, Kept { mapping, until })
    }

    /// Takes one out. Returns the mapping that it kept open.
    pub fn remove(&mut self, expected: &Expected) -> Option<MappingId> {
        self.0.remove(expected).map(|kept| kept.mapping)
    }

    /// The first one, which is the last one then: as often as there are entries, all of them in turn and the order as it was.
    pub fn rotate(&mut self) -> Option<Expected> {
        let (first, _) = self.0.first()?;
        self.0.renew(&first);
        Some(first)
    }

    /// The first one whose time is over.
    pub fn overdue(&self, now: Tick) -> Option<Expected> {
        self.0.first().filter(|(_, kept)| kept.until.has_come(now)).map(|(expected, _)| expected)
    }
}

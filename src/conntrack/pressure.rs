//! What the session table does as it fills: who may still come in, who has to go, whose timeouts shrink.
//!
//! Pure arithmetic on counts, for one shard. A worker asks [`Pressure::admit`] before it makes a session; the
//! management core's sweep and the worker that it tells to remove a session both ask [`Pressure::timeout`].
//!
//! # How a shard fills
//!
//! | sessions | what happens |
//! |---|---|
//! | up to `adaptive_low` | nothing |
//! | up to `adaptive_high` | the timeouts of unreplied and closing sessions shrink linearly, down to one tick |
//! | all but the reserve | full: a new session takes the place of one that matters less, or is refused |
//! | all | only privileged sessions get this far |
//!
//! - **Full**: the oldest *unreplied* session goes (TCP or not, whichever is older); if there is none the one that has
//!   been *closing* for the longest time; then the oldest that was *never assured*. Assured sessions never go: if all
//!   are, the newcomer is refused. With `when_full = "refuse"` nobody ever goes (RFC 6888 REQ-11).
//! - **Half-open**: TCP connections before the end of their handshake may take a share of the table. At that share a
//!   new SYN takes the place of the oldest of them, whatever room there is, so a SYN flood ends up displacing itself.
//! - **Privileged**: the sessions of management sources may use the reserve, are never evicted and are bound by no
//!   other limit. No more of them are than the reserve (or 1 % of the shard, whichever is more): addresses can be
//!   forged, and what nobody may evict must not be able to fill the table. Beyond that they are like all others. As
//!   long as the reserve is not smaller than that a privileged session always finds a free place.
//!
//! At most one session is evicted for a new one.

use super::class::Class;
use super::key::FlowKey;
use super::policy::{Limits, MAX_MANAGEMENT, Share, WhenFull};
use super::table::Shard;
use crate::telemetry::{DropReason, Eviction};
use arrayvec::ArrayVec;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The privileged sessions that there may be even without a reserve.
const PRIVILEGED: Share = Share::percent(1);

/// How many sessions of each class a shard holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census([u32; Class::ALL.len()]);

impl Census {
    /// Counts a shard's sessions.
    #[inline]
    pub fn of<K: FlowKey>(shard: &Shard<K>) -> Census {
        Census(Class::ALL.map(|class| shard.count(class)))
    }

    /// Counts one session more.
    pub fn add(&mut self, class: Class) {
        if let Some(count) = self.0.get_mut(class as usize) {
            *count += 1;
        }
    }

    #[inline]
    fn count(&self, class: Class) -> u32 {
        self.0.get(class as usize).copied().unwrap_or_default()
    }

    /// All of them.
    #[inline]
    pub fn sessions(&self) -> u32 {
        self.0.iter().sum()
    }

    /// TCP connections before the end of their handshake.
    #[inline]
    pub fn half_open(&self) -> u32 {
        self.count(Class::SynSent) + self.count(Class::SynRecv)
    }
}

/// The classes that a session is evicted from. Of several the one whose oldest session is older.
pub fn victims(eviction: Eviction) -> &'static [Class] {
    match eviction {
        Eviction::HalfOpen => &[Class::SynSent, Class::SynRecv],
        Eviction::Unreplied => &[Class::SynSent, Class::Unreplied],
        Eviction::Closing => &[Class::Closing],
        Eviction::Unassured => &[Class::SynRecv, Class::Unassured],
    }
}

/// A session that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Whether its source is a management source.
    pub management: bool,
    /// Whether it is a TCP connection whose handshake begins.
    pub half_open: bool,
}

/// What is to become of a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is made, once the session that has to make room for it is gone.
    Admit {
        /// Whether nobody may ever evict it.
        privileged: bool,
        /// Who has to go.
        evict: Option<Eviction>,
    },
    /// It is not.
    Refuse(DropReason),
}

/// The limits of one shard in numbers of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    capacity: u32,
    /// Full for all but privileged sessions.
    full: u32,
    low: u32,
    high: u32,
    half_open: u32,
    privileged: u32,
    when_full: WhenFull,
}

impl Pressure {
    /// The limits of a shard for `capacity` sessions.
    pub fn new(limits: &Limits, capacity: u32) -> Pressure {
        let reserve = limits.reserve.of(capacity);
        let low = limits.adaptive_low.of(capacity);
        Pressure {
            capacity,
            // The smallest shard still serves somebody.
            full: capacity.saturating_sub(reserve).max(1).min(capacity),
            low,
            high: limits.adaptive_high.of(capacity).max(low),
            half_open: limits.half_open.of(capacity).max(1),
            privileged: reserve.max(PRIVILEGED.of(capacity)),
            when_full: limits.when_full,
        }
    }

    /// How many sessions the shard holds.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// From how many sessions on it is full for all but privileged ones.
    pub fn full(&self) -> u32 {
        self.full
    }

    /// How many TCP connections before the end of their handshake there may be.
    pub fn half_open(&self) -> u32 {
        self.half_open
    }

    /// From how many sessions on timeouts shrink …
    pub fn low(&self) -> u32 {
        self.low
    }

    /// … and how many it takes until they are next to nothing.
    pub fn high(&self) -> u32 {
        self.high
    }

    /// Whether timeouts are shorter than the sessions know themselves, so that only a sweep finds who is to go.
    #[inline]
    pub fn shrinks(&self, sessions: u32) -> bool {
        sessions > self.low && self.low < self.high
    }

    /// What the timeout of a session of this class amounts to while the shard holds so many sessions. That of an
    /// unreplied or closing one shrinks: all of it at the low watermark, one tick at the high one, linear in between.
    #[inline]
    pub fn timeout(&self, class: Class, ticks: u32, sessions: u32) -> u32 {
        match class {
            Class::SynSent | Class::Unreplied | Class::Closing if self.shrinks(sessions) => {
                let left = u64::from(self.high.saturating_sub(sessions));
                let span = u64::from(self.high - self.low);
                // Rounded up, so that nothing goes early.
                let shrunk = (u64::from(ticks) * left).div_ceil(span);
                u32::try_from(shrunk).unwrap_or(ticks).max(1)
            }
            _ => ticks,
        }
    }

    /// Whether a new session may come in, and who has to go for it.
    #[inline]
    pub fn admit(&self, census: &Census, newcomer: Newcomer) -> Admission {
        let privileged = newcomer.management && census.count(Class::Protected) < self.privileged;
        let crowded = newcomer.half_open && !privileged && census.half_open() >= self.half_open;
        let room = if privileged { self.capacity } else { self.full };
        if !crowded && census.sessions() < room {
            return Admission::Admit { privileged, evict: None };
        }
        let reason = if crowded { DropReason::HalfOpenFull } else { DropReason::SessionTableFull };
        let evict = match self.when_full {
            WhenFull::Refuse => None,
            WhenFull::EarlyDrop if crowded => (census.half_open() > 0).then_some(Eviction::HalfOpen),
            WhenFull::EarlyDrop => least(census),
        };
        evict.map_or(Admission::Refuse(reason), |_| Admission::Admit { privileged, evict })
    }
}

/// Who matters least to a full table.
fn least(census: &Census) -> Option<Eviction> {
    let there = |eviction: &Eviction| victims(*eviction).iter().any(|class| census.count(*class) > 0);
    [Eviction::Unreplied, Eviction::Closing, Eviction::Unassured].into_iter().find(there)
}

/// The addresses of management sources: sorted ranges that do not overlap, so that a look-up is one binary search. Takes
/// no memory beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// First and last address of each range.
    ranges: ArrayVec<(u32, u32), MAX_MANAGEMENT>,
}

impl Prefixes {
    /// The addresses of all these prefixes; of more than [`MAX_MANAGEMENT`] those of the first ones.
    pub fn new(nets: &[Ipv4Net]) -> Prefixes {
        let range = |net: &Ipv4Net| (net.network().to_bits(), net.broadcast().to_bits());
        let mut all: ArrayVec<_, MAX_MANAGEMENT> = nets.iter().take(MAX_MANAGEMENT).map(range).collect();
        all.sort_unstable();
        let mut ranges: ArrayVec<(u32, u32), MAX_MANAGEMENT> = ArrayVec::new();
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Prefixes { ranges }
    }

    /// Whether an address is one of them.
    #[inline]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let address = address.to_bits();
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

#[cfg(test)]
#[path = "pressure_tests.rs"]
mod tests;

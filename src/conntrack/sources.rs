//! How many sessions each source address has, and how fast it opens them. Private to the worker.
//!
//! There is a table only where a limit per source is configured. It is exact because all sessions of a source are on
//! one worker (`steering`).
//!
//! # Life of an entry
//!
//! 1. [`Sources::check`] says whether the source may open a session, and changes nothing.
//! 2. [`Sources::opened`], when the session is made, takes one token of its bucket and counts the session. Nothing
//!    can fail after it, so tokens are never given back.
//! 3. [`Sources::closed`], when the session is removed, whoever removes it.
//! 4. An entry without sessions is *idle*. It is kept until its bucket is full again, or a source could get rid of its
//!    debt by ending its sessions. Idle entries stand in a list, and each new source looks at the two that have been
//!    idle for longest; should there be no other room, the first of them is taken over whatever its bucket holds.
//!
//! # Bounds
//!
//! As many entries as the shard holds sessions, allocated at start, 36 to 40 bytes each for IPv4. So there always is one:
//! if all had sessions there would be no room for another session either. A look-up walks one chain, whose length is
//! about one; strangers can not make it longer without knowing the seed. Everything else is constant work.
//!
//! # Tokens
//!
//! Integers: a session costs `COST` credits, and a bucket earns `per_second` credits a tick, up to `burst` sessions.

use super::key::V4Key;
use super::policy::{Limits, Rate};
use crate::telemetry::DropReason;
use crate::time::{TICK, Tick};
use std::fmt;
use std::net::Ipv4Addr;

/// What one session costs: the ticks of a second, so that a bucket earns a whole number of credits a tick.
const COST: u32 = 10;
const _: () = assert!(TICK.as_millis() * COST as u128 == 1000);
/// Idle entries that a new source looks at.
const LOOK: usize = 2;
/// No entry.
const NONE: u32 = u32::MAX;

/// What sessions are counted by.
pub trait SourceKey: Copy + Eq + Default + fmt::Debug {
    /// 64 bits of which the lower ones choose the chain.
    fn hash(self, seed: u64) -> u64;
}

/// An IPv4 source: its address, in its zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct V4Source(u64);

impl V4Source {
    /// This address in this zone.
    #[inline]
    pub fn new(zone: u16, address: Ipv4Addr) -> Self {
        V4Source(u64::from(zone) << 32 | u64::from(address.to_bits()))
    }

    /// The source of a session whose original direction has this key.
    #[inline]
    pub fn of(original: V4Key) -> Self {
        V4Source::new(original.zone(), original.tuple().src)
    }

    /// The address.
    #[inline]
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits((self.0 & 0xffff_ffff) as u32)
    }
}

impl SourceKey for V4Source {
    #[inline]
    fn hash(self, seed: u64) -> u64 {
        let fold = |value: u64, by: u64| {
            let (low, high) = (value ^ seed).carrying_mul(by, 0);
            low ^ high
        };
        fold(fold(self.0, 0x9e37_79b9_7f4a_7c15), 0xf39c_c060_5ced_c835)
    }
}

/// What one source may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SourceLimits {
    /// Sessions at once.
    sessions: u32,
    /// Credits that its bucket earns a tick …
    earns: u32,
    /// … and holds at the most. A session costs nothing if it is 0: there is no rate.
    most: u32,
}

impl SourceLimits {
    fn new(limits: &Limits) -> SourceLimits {
        let bucket = |Rate { per_second, burst }| (per_second.max(1), burst.max(1).saturating_mul(COST));
        let (earns, most) = limits.new_per_source.map_or((0, 0), bucket);
        SourceLimits { sessions: limits.sessions_per_source.unwrap_or(u32::MAX), earns, most }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry<K> {
    key: K,
    /// The next entry of its chain, or of the free ones.
    chain: u32,
    /// Its neighbours in the list of idle entries.
    older: u32,
    newer: u32,
    sessions: u32,
    /// What its bucket held at `seen`.
    credit: u32,
    seen: Tick,
}

const _: () = assert!(size_of::<Entry<V4Source>>() == 32);

/// The sources of a shard's sessions; see the module's head.
#[derive(Debug)]
pub struct Sources<K> {
    limits: SourceLimits,
    entries: Box<[Entry<K>]>,
    /// First entry of each chain; a power of two of them.
    chains: Box<[u32]>,
    /// First free entry.
    free: u32,
    /// The two ends of the list of idle entries.
    oldest: u32,
    newest: u32,
    seed: u64,
}

impl<K: SourceKey> Sources<K> {
    /// A table for a shard of `capacity` sessions; `None` if the limits say nothing about sources. `seed` must be
    /// random and secret.
    pub fn new(limits: &Limits, capacity: u32, seed: u64) -> Option<Self> {
        if !limits.count_sources() {
            return None;
        }
        let limits = SourceLimits::new(limits);
        let capacity = capacity.min(NONE - 1);
        let entry = |n: u32| Entry { chain: if n + 1 < capacity { n + 1 } else { NONE }, ..Entry::default() };
        Some(Sources {
            limits,
            entries: (0..capacity).map(entry).collect(),
            chains: vec![NONE; (capacity as usize).next_power_of_two()].into(),
            free: if capacity > 0 { 0 } else { NONE },
            oldest: NONE,
            newest: NONE,
            seed,
        })
    }

    /// From now on these limits hold, for the sources that there are too.
    pub fn adopt(&mut self, limits: &Limits) {
        self.limits = SourceLimits::new(limits);
    }

    /// Whether a source may open a session now.
    ///
    /// # Errors
    /// The limit that it has reached.
    #[inline]
    pub fn check(&self, source: K, now: Tick) -> Result<(), DropReason> {
        let Some(entry) = self.find(source).and_then(|at| self.entries.get(at as usize)) else {
            return Ok(());
        };
        if entry.sessions >= self.limits.sessions {
            return Err(DropReason::SourceSessionsLimit);
        }
        if self.limits.most > 0 && self.credit(entry, now) < COST {
            return Err(DropReason::SourceRateLimit);
        }
        Ok(())
    }

    /// Counts a session that a source has opened. If no limit binds the source it need not have passed
    /// [`Sources::check`].
    pub fn opened(&mut self, source: K, now: Tick) {
        let found = match self.find(source) {
            Some(at) => {
                if self.entries.get(at as usize).is_some_and(|entry| entry.sessions == 0) {
                    self.wake(at);
                }
                Some(at)
            }
            None => self.enter(source, now),
        };
        let credit = found.and_then(|at| self.entries.get(at as usize)).map(|entry| self.credit(entry, now));
        if let (Some(at), Some(credit)) = (found, credit)
            && let Some(entry) = self.entries.get_mut(at as usize)
        {
            entry.sessions += 1;
            entry.credit = credit.saturating_sub(COST);
            entry.seen = now;
        }
    }

    /// Counts a session of a source as over.
    pub fn closed(&mut self, source: K) {
        let Some(at) = self.find(source) else { return };
        let Some(entry) = self.entries.get_mut(at as usize).filter(|entry| entry.sessions > 0) else {
            return;
        };
        entry.sessions -= 1;
        if entry.sessions > 0 {
            return;
        }
        if self.limits.most == 0 {
            self.forget(at);
        } else {
            self.lay_down(at);
        }
    }

    /// How many sessions a source has.
    pub fn sessions(&self, source: K) -> u32 {
        self.find(source).and_then(|at| self.entries.get(at as usize)).map_or(0, |entry| entry.sessions)
    }

    /// What an entry's bucket holds now.
    #[inline]
    fn credit(&self, entry: &Entry<K>, now: Tick) -> u32 {
        let earned = u64::from(now.since(entry.seen)) * u64::from(self.limits.earns);
        let credit = u64::from(entry.credit).saturating_add(earned);
        u32::try_from(credit).unwrap_or(u32::MAX).min(self.limits.most)
    }

    #[inline]
    fn chain_of(&self, source: K) -> usize {
        usize::try_from(source.hash(self.seed) & (self.chains.len() as u64 - 1)).unwrap_or(0)
    }

    #[inline]
    fn find(&self, source: K) -> Option<u32> {
        let mut at = *self.chains.get(self.chain_of(source))?;
        while let Some(entry) = self.entries.get(at as usize) {
            if entry.key == source {
                return Some(at);
            }
            at = entry.chain;
        }
        None
    }

    /// An entry for a new source, with a full bucket.
    fn enter(&mut self, source: K, now: Tick) -> Option<u32> {
        for _ in 0..LOOK {
            match self.entries.get(self.oldest as usize) {
                Some(idle) if self.credit(idle, now) >= self.limits.most => self.retire(self.oldest),
                _ => break,
            }
        }
        if self.free == NONE {
            self.retire(self.oldest);
        }
        let at = self.free;
        let chain = self.chain_of(source);
        let (entry, head) = (self.entries.get_mut(at as usize)?, self.chains.get_mut(chain)?);
        self.free = entry.chain;
        *entry = Entry { key: source, chain: *head, credit: self.limits.most, seen: now, ..Entry::default() };
        *head = at;
        Some(at)
    }

    /// Gives up an idle entry.
    fn retire(&mut self, at: u32) {
        if (at as usize) < self.entries.len() {
            self.wake(at);
            self.forget(at);
        }
    }

    /// Takes an entry that is in no list out of its chain and makes it free.
    fn forget(&mut self, at: u32) {
        let Some(Entry { key, chain: next, .. }) = self.entries.get(at as usize).copied() else { return };
        let chain = self.chain_of(key);
        let mut before = *self.chains.get(chain).unwrap_or(&NONE);
        if before == at {
            if let Some(head) = self.chains.get_mut(chain) {
                *head = next;
            }
        } else {
            while let Some(entry) = self.entries.get_mut(before as usize) {
                if entry.chain == at {
                    entry.chain = next;
                    break;
                }
                before = entry.chain;
            }
        }
        if let Some(entry) = self.entries.get_mut(at as usize) {
            entry.chain = self.free;
            self.free = at;
        }
    }

    /// Puts an entry at the end of the list of idle ones.
    fn lay_down(&mut self, at: u32) {
        let last = std::mem::replace(&mut self.newest, at);
        match self.entries.get_mut(last as usize) {
            Some(entry) => entry.newer = at,
            None => self.oldest = at,
        }
        if let Some(entry) = self.entries.get_mut(at as usize) {
            (entry.older, entry.newer) = (last, NONE);
        }
    }

    /// Takes an entry out of the list of idle ones.
    fn wake(&mut self, at: u32) {
        let Some(Entry { older, newer, .. }) = self.entries.get(at as usize).copied() else { return };
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;

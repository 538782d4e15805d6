//! The backends of a forward, and which of them a client gets: a consistent choice (Maglev: Eisenbud et al. 2016, 3.4).
//!
//! Every backend fills places of a table in an order of its own, in turns, as many a turn as its weight says; a client's hash
//! names a place. So when a backend comes or goes, nearly all clients of the others keep theirs, and with affinity by source
//! that holds for all connections of a client, to every forward with the same backends. The table is built with the snapshot;
//! the choice is two loads. Seeds are fixed: gateways beside each other, and one after a restart, choose the same.
//!
//! Only new sessions are chosen for: sessions hold the backend that they have. A backend that is drained has no place. Nor has
//! one that *settles*: of the configuration before, sessions still know it behind another port of ours, which is what says
//! whose its answers are (see [`super::local`]); it gets new sessions when they are over.
//!
//! One that is down (see [`super::health`]) has no place either, and that changes while the configuration runs: the management
//! core, and nobody else, fills the places anew, one by one, while workers read them. A worker thus sees the old backend at a
//! place or the new one, and either is one of the forward's.

use super::health::HealthCheck;
use super::sticky::Memory;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// Places of a table: a prime, a hundred and more for each backend.
const PLACES: u16 = 16_381;
/// The most backends of a forward.
pub const MAX_BACKENDS: usize = 128;
/// The most that a backend can weigh.
pub const MAX_WEIGHT: u8 = 100;

/// The longest that a source keeps its backend: 30 days.
pub const MAX_AFFINITY_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);

/// One backend of a forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port for the first of the forward's ports.
    pub port: u16,
    /// Its part of the new sessions, against that of the others: 1 to [`MAX_WEIGHT`].
    pub weight: u8,
    /// It gets no new session.
    pub drain: bool,
}

/// Who a client is to [`Targets::choose`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Its address and port: each of its connections is another one.
    #[default]
    Connection,
    /// Its address: all of its connections go to one backend.
    Source,
}

/// Some of the backends of a forward, by their places in its list: the first one is the lowest bit.
pub type Mask = u128;

const _: () = assert!(MAX_BACKENDS <= Mask::BITS as usize && MAX_BACKENDS < NOBODY as usize);

/// The backends of a forward. A clone has the places in common.
#[derive(Clone, Debug)]
pub struct Targets {
    /// At least one, at most [`MAX_BACKENDS`].
    list: Box<[Target]>,
    affinity: Affinity,
    /// The backend at each place, or [`NOBODY`]; a single place if there is a single backend. The management core writes it.
    places: Arc<[AtomicU8]>,
    /// Those that get new sessions as far as the configuration is concerned.
    open: Mask,
    /// Those that are down. The management core writes it.
    down: Arc<[AtomicU64; 2]>,
    /// The one that names requests: see [`super::local`].
    lead: u8,
    /// How it is found out which of them are there; `None`: they are taken to be.
    health: Option<HealthCheck>,
    /// What backend each source had last, with affinity by source for a while.
    memory: Option<Memory>,
}

/// What stands at a place when there is no backend to choose.
const NOBODY: u8 = u8::MAX;

impl PartialEq for Targets {
    fn eq(&self, other: &Targets) -> bool {
        let of = |targets: &Targets| {
            let timeout = targets.memory.as_ref().map(Memory::timeout);
            (targets.affinity, targets.open, targets.lead, targets.health, timeout)
        };
        self.list == other.list
            && of(self) == of(other)
            && self.places.len() == other.places.len()
            && self.places().eq(other.places())
    }
}

impl Targets {
    /// One backend, which gets everything.
    pub fn one(address: Ipv4Addr, port: u16) -> Targets {
        Targets::new(vec![Target { address, port, weight: 1, drain: false }], Affinity::Connection)
    }

    /// These backends. Those beyond [`MAX_BACKENDS`] are not there.
    pub fn new(mut list: Vec<Target>, affinity: Affinity) -> Targets {
        list.truncate(MAX_BACKENDS);
        Targets {
            list: list.into(),
            affinity,
            places: Arc::default(),
            open: 0,
            down: Arc::default(),
            lead: 0,
            health: None,
            memory: None,
        }
        .without(|_| false)
    }

    /// The same, without new sessions for those that `is_left_out`.
    #[must_use]
    pub fn without(self, is_left_out: impl Fn(&Target) -> bool) -> Targets {
        let is_open = |(_, target): &(usize, &Target)| !target.drain && !is_left_out(target);
        let open = self.list.iter().enumerate().filter(is_open).fold(0, |open, (n, _)| open | 1 << n);
        let places = if self.list.len() > 1 { PLACES.into() } else { 1 };
        let places = (0..places).map(|_| AtomicU8::new(NOBODY)).collect();
        let targets = Targets { open, places, down: Arc::default(), ..self };
        targets.leave_out(0);
        targets
    }

    /// The same, with another one that names requests.
    #[must_use]
    pub fn led_by(self, lead: usize) -> Targets {
        Targets { lead: u8::try_from(lead).unwrap_or(0), ..self }
    }

    /// The same, whose backends are asked whether they are there.
    #[must_use]
    pub fn checked_by(self, health: Option<HealthCheck>) -> Targets {
        Targets { health, ..self }
    }

    /// The same, where a source keeps its backend for `timeout` after its last session was made, while that one may have new
    /// sessions. What `before` remembers is remembered. Without affinity by source there is nothing to keep.
    #[must_use]
    pub fn remembering(self, timeout: Option<Duration>, before: Option<&Targets>) -> Targets {
        let timeout = timeout.filter(|_| self.affinity == Affinity::Source);
        let known = before.and_then(|before| before.memory.as_ref());
        let memory = timeout.map(|timeout| Memory::new(&self.list, timeout, known));
        Targets { memory, ..self }
    }

    /// A source has got a session with this backend.
    pub fn remember(&self, client: Ipv4Addr, backend: &Target) {
        if let Some(memory) = &self.memory
            && let Some(place) = self.list.iter().position(|target| target == backend)
        {
            memory.remember(client, place);
        }
    }

    /// Whether sources keep their backends for a while.
    #[inline]
    pub fn remembers(&self) -> bool {
        self.memory.is_some()
    }

    /// Tells the time by which sources are forgotten, in seconds. Only for the management core.
    pub fn set_time(&self, now: u32) {
        if let Some(memory) = &self.memory {
            memory.set_time(now);
        }
    }

    /// How it is found out which of them are there.
    pub fn health(&self) -> Option<&HealthCheck> {
        self.health.as_ref()
    }

    /// The backend whose name all requests go by.
    #[inline]
    pub fn lead(&self) -> Option<&Target> {
        self.list.get(usize::from(self.lead))
    }

    /// From now on those that are `down` get no new session, and of the others those that the configuration lets. Only for the
    /// management core, and for whoever compiles the configuration before anybody else has it: one writer. It takes a tenth of a
    /// millisecond or so.
    pub fn leave_out(&self, down: Mask) {
        #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
        let halves = [down as u64, (down >> 64) as u64];
        self.down.iter().zip(halves).for_each(|(half, bits)| half.store(bits, Ordering::Relaxed));
        let open = self.open & !down;
        let open: Vec<(u8, &Target)> =
            (0u8..).zip(&self.list).filter(|(number, _)| open >> number & 1 == 1).collect();
        match open.as_slice() {
            [] => self.places.iter().for_each(|place| place.store(NOBODY, Ordering::Relaxed)),
            [(only, _)] => self.places.iter().for_each(|place| place.store(*only, Ordering::Relaxed)),
            several => {
                let table = fill(several);
                let places = self.places.iter().zip(&table);
                places.for_each(|(place, number)| place.store(*number, Ordering::Relaxed));
            }
        }
    }

    /// Whether the configuration lets none of them have new sessions.
    pub fn is_drained(&self) -> bool {
        self.open == 0
    }

    /// Of those that the configuration lets have new sessions, whether all are among `down`.
    pub fn are_all(&self, down: Mask) -> bool {
        self.open & !down == 0
    }

    fn down_mask(&self) -> Mask {
        let [low, high] = [0, 1].map(|half| Mask::from(self.down[half].load(Ordering::Relaxed)));
        low | high << 64
    }

    /// Those that are down.
    pub fn down(&self) -> impl Iterator<Item = &Target> {
        let down = self.down_mask();
        self.list.iter().enumerate().filter(move |(n, _)| down >> n & 1 == 1).map(|(_, target)| target)
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Target> {
        self.list.iter()
    }

    fn places(&self) -> impl Iterator<Item = u8> {
        self.places.iter().map(|place| place.load(Ordering::Relaxed))
    }

    /// The backend of a new session from this client; `None`: there is none to choose.
    #[inline]
    pub fn choose(&self, client: Ipv4Addr, port: u16) -> Option<&Target> {
        if let Some(memory) = &self.memory
            && let Some(place) = memory.recall(client)
            && (self.open & !self.down_mask()) >> place & 1 == 1
        {
            return self.list.get(place);
        }
        let port = if self.affinity == Affinity::Source { 0 } else { port };
        let hash = mix(u64::from(client.to_bits()) << 16 | u64::from(port));
        let place = (u128::from(hash) * self.places.len() as u128) >> 64;
        let number = self.places.get(usize::try_from(place).ok()?)?.load(Ordering::Relaxed);
        self.list.get(usize::from(number))
    }
}

/// Lets backends take places in turns.
fn fill(backends: &[(u8, &Target)]) -> Box<[u8]> {
    const FREE: u8 = u8::MAX;
    struct Seat {
        number: u8,
        at: u32,
        skip: u32,
        weight: u8,
        /// Places that it has earned, in parts of the heaviest one's weight.
        credit: u8,
    }
    let places = u32::from(PLACES);
    let heaviest = backends.iter().map(|(_, target)| target.weight).max().unwrap_or(1);
    let seat = |(number, target): &(u8, &Target)| {
        let name = u64::from(target.address.to_bits()) << 16 | u64::from(target.port);
        let (offset, skip) = (mix(name ^ 1 << 48), mix(name ^ 2 << 48));
        let below = |hash: u64, most: u32| u32::try_from((u128::from(hash) * u128::from(most)) >> 64);
        Seat {
            number: *number,
            at: below(offset, places).unwrap_or(0),
            skip: below(skip, places - 1).unwrap_or(0) + 1,
            weight: target.weight,
            credit: 0,
        }
    };
    let mut seats: Vec<Seat> = backends.iter().map(seat).collect();
    let mut table = vec![FREE; usize::from(PLACES)];
    let mut left = table.len();
    loop {
        for seat in &mut seats {
            seat.credit += seat.weight;
            if seat.credit < heaviest {
                continue;
            }
            seat.credit -= heaviest;
            // The number of places is a prime, so that its steps come to every one.
            while let Some(place) = table.get_mut(seat.at as usize) {
                seat.at = (seat.at + seat.skip) % places;
                if *place == FREE {
                    *place = seat.number;
                    break;
                }
            }
            left -= 1;
            if left == 0 {
                return table.into();
            }
        }
    }
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests;

//! The timers of a shard's sessions: a hierarchical wheel that knows sessions by their index alone.
//!
//! # How it works
//!
//! Five levels of 64 slots (Varghese and Lauck 1987, scheme 7). A slot of level 0 is one tick long, a slot of the next
//! level as long as the whole level below: 64 ticks, 4096, …; all of them reach 2^30 ticks (3.4 years) ahead. A timer
//! is put on the level that its distance from the *hand* (the wheel's time) asks for, and comes out when the hand gets
//! to the beginning of its slot: from level 0 exactly when it is due, from a higher level before.
//!
//! Where it goes from there is not stored but asked for: [`Wheel::advance`] hands each session that comes out to
//! its caller, who reads the session and answers with the tick at which it is due *now* ([`Fired::At`]). So a session
//! costs 8 bytes here and no more, the packet path never touches a timer (a session that was active in between just
//! turns out to be due later), and a timer still runs out at its exact tick, as it passes level 0 last. An idle session
//! comes out at most five times, the last time to end; an active one once or twice in its timeout.
//!
//! # Data
//!
//! The lists are circular, doubly linked and intrusive: one pair of links a session, plus one for the head of each
//! slot, so that a session is moved or taken out without knowing where it is. A link of zero says that a session is in
//! no list; position 0 is nobody's. One bit for each slot says whether it is empty, so that a hand that was left alone
//! for hours crosses only slots that hold something.
//!
//! A slot that the hand reaches is spliced, as a whole, onto the *pending* list of its level, and sessions are handed
//! out from there, a bounded number a call. Lower levels first: what comes from level 0 is due, what comes
//! from level 3 is on its way to something hours away, although there may be millions of it.
//!
//! # Bounds
//!
//! Arm, move and disarm are O(1). An advance crosses at most 320 slots, however far it goes, and hands out at most
//! `budget` sessions. Nothing is allocated after [`Wheel::new`], which asks for huge pages. Ticks wrap: times are
//! compared by their distance from the hand. Owned by the management core; nothing is shared.

use crate::memory::Slab;
use crate::time::Tick;

const SLOT_BITS: u32 = 6;
/// Slots of a level: as many as a word has bits.
const SLOTS: u32 = 1 << SLOT_BITS;
const LEVELS: u32 = 5;

/// How far ahead a timer can be, in ticks: 3.4 years. One that is armed for later comes out early.
pub const RANGE: u32 = 1 << (SLOT_BITS * LEVELS);

/// The position that is nobody's: a link to it says that the session is in no list.
const NOBODY: u32 = 0;
const FIRST_SLOT: u32 = 1;
const FIRST_PENDING: u32 = FIRST_SLOT + LEVELS * SLOTS;
const FIRST_SESSION: u32 = FIRST_PENDING + LEVELS;

/// Neighbours in a circular list, by position.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Link {
    prev: u32,
    next: u32,
}

/// Of a session that is in no list.
const UNLINKED: Link = Link { prev: NOBODY, next: NOBODY };

const _: () = assert!(size_of::<Link>() == 8, "a session costs 8 bytes here");
const _: () = assert!(RANGE >= 365 * 24 * 3600 * 10, "a year is in range");

/// What becomes of a session that came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// It is not armed any more.
    Rest,
    /// It is armed for this tick; for the next one if this is not ahead.
    At(Tick),
    /// It stays first of those that wait, and nothing more is handed out in this call.
    Hold,
}

/// The wheel; see the module's head.
#[derive(Debug)]
pub struct Wheel {
    /// By position: nobody, the heads of the slots, the heads of the pending lists, the sessions.
    links: Slab<Link>,
    /// Everything that lies before it, or at it, has come out.
    hand: Tick,
    /// Which slots hold something, by level.
    occupied: [u64; LEVELS as usize],
    armed: u32,
}

impl Wheel {
    /// A wheel for sessions 0 to `capacity`, none of them armed, at this time.
    pub fn new(capacity: u32, now: Tick) -> Self {
        let positions = capacity.saturating_add(FIRST_SESSION);
        let link = |position: usize| match u32::try_from(position) {
            Ok(head @ FIRST_SLOT..FIRST_SESSION) => Link { prev: head, next: head },
            _ => UNLINKED,
        };
        Wheel {
            links: Slab::from_fn(positions as usize, link),
            hand: now,
            occupied: [0; LEVELS as usize],
            armed: 0,
        }
    }

    /// Arms a session for the tick `due`, whether it was armed before or not. One that is not ahead (or is by more than
    /// half the range of [`Tick`]) comes out at the next [`Wheel::advance`]. An index beyond the capacity does nothing.
    pub fn arm(&mut self, index: u32, due: Tick) {
        let Some(position) = self.position(index) else { return };
        if self.is_linked(position) {
            self.unlink(position);
        } else {
            self.armed += 1;
        }
        self.place(position, due);
    }

    /// Disarms a session; returns whether it was armed.
    pub fn disarm(&mut self, index: u32) -> bool {
        let Some(position) = self.position(index).filter(|position| self.is_linked(*position)) else {
            return false;
        };
        self.unlink(position);
        self.armed -= 1;
        true
    }

    /// Whether a session is armed or waits to be handed out.
    pub fn is_armed(&self, index: u32) -> bool {
        self.position(index).is_some_and(|position| self.is_linked(position))
    }

    /// How many sessions are armed, those that wait to be handed out included.
    pub fn armed(&self) -> u32 {
        self.armed
    }

    /// Whether sessions wait to be handed out.
    pub fn has_pending(&self) -> bool {
        self.first_pending().is_some()
    }

    /// How many sessions wait to be handed out, counted up to `limit`: lists are spliced, not counted.
    pub fn pending(&self, limit: u32) -> u32 {
        let mut count = 0;
        for head in FIRST_PENDING..FIRST_SESSION {
            let mut position = self.link(head).next;
            while position != head && count < limit {
                count += 1;
                position = self.link(position).next;
            }
        }
        count
    }

    /// Bytes that the lists take.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.links)
    }

    /// Moves the hand to `now` (never back) and hands out at most `budget` of the sessions that came out, in the order
    /// of their slots, lower levels first. `fire` says what becomes of each. Returns how many were handed out: fewer
    /// than `budget` only if no more are pending, or one was held.
    ///
    /// What `fire` arms is not handed out again in the same call, unless the hand has further to go.
    pub fn advance(&mut self, now: Tick, budget: u32, mut fire: impl FnMut(u32) -> Fired) -> u32 {
        self.turn_to(now);
        for handled in 0..budget {
            let Some(position) = self.first_pending() else { return handled };
            match fire(position - FIRST_SESSION) {
                Fired::Hold => return handled,
                Fired::Rest => {
                    self.unlink(position);
                    self.armed -= 1;
                }
                Fired::At(due) => {
                    self.unlink(position);
                    let next = Tick(self.hand.0.wrapping_add(1));
                    self.place(position, if due.since(self.hand) == 0 { next } else { due });
                }
            }
        }
        budget
    }

    /// Moves the hand; what it passes becomes pending.
    fn turn_to(&mut self, now: Tick) {
        let mut left = now.since(self.hand);
        loop {
            let distances = [0, 1, 2, 3, 4].map(|level| self.distance(level));
            let Some(nearest) = distances.into_iter().flatten().min().filter(|nearest| *nearest <= left)
            else {
                break;
            };
            left -= nearest;
            self.hand.0 = self.hand.0.wrapping_add(nearest);
            for (level, _) in (0..).zip(distances).filter(|(_, distance)| *distance == Some(nearest)) {
                self.splice(level, self.slot(level, self.hand.0));
            }
        }
        self.hand.0 = self.hand.0.wrapping_add(left);
    }

    /// Ticks from the hand to the beginning of the next slot of a level that holds something.
    fn distance(&self, level: u32) -> Option<u32> {
        let occupied = *self.occupied.get(level as usize).filter(|occupied| **occupied != 0)?;
        let shift = SLOT_BITS * level;
        // A bit at the hand's own slot is for the next time round.
        let ahead = occupied.rotate_right(self.slot(level, self.hand.0) + 1).trailing_zeros() + 1;
        let begins = (self.hand.0 >> shift).wrapping_add(ahead) << shift;
        Some(begins.wrapping_sub(self.hand.0))
    }

    /// The slot of a level that a tick belongs to. Each level goes round a whole number of times while the tick wraps.
    fn slot(&self, level: u32, tick: u32) -> u32 {
        tick >> (SLOT_BITS * level) & (SLOTS - 1)
    }

    /// Makes a whole slot pending.
    fn splice(&mut self, level: u32, slot: u32) {
        let from = FIRST_SLOT + level * SLOTS + slot;
        let to = FIRST_PENDING + level;
        let Link { prev: last, next: first } = self.link(from);
        let tail = self.link(to).prev;
        self.set_next(tail, first);
        self.set_prev(first, tail);
        self.set_next(last, to);
        self.set_prev(to, last);
        self.set(from, Link { prev: from, next: from });
        self.mark(from, false);
    }

    /// Puts a session that is in no list where it belongs.
    fn place(&mut self, position: u32, due: Tick) {
        let distance = due.since(self.hand).min(RANGE - 1);
        let head = match distance.checked_ilog2() {
            None => FIRST_PENDING,
            Some(log) => {
                let level = log / SLOT_BITS;
                FIRST_SLOT + level * SLOTS + self.slot(level, self.hand.0.wrapping_add(distance))
            }
        };
        let tail = self.link(head).prev;
        self.set(position, Link { prev: tail, next: head });
        self.set_next(tail, position);
        self.set_prev(head, position);
        self.mark(head, true);
    }

    fn unlink(&mut self, position: u32) {
        let Link { prev, next } = self.link(position);
        self.set_next(prev, next);
        self.set_prev(next, prev);
        self.set(position, UNLINKED);
        if prev == next {
            // Only the head is left.
            self.mark(prev, false);
        }
    }

    /// Notes whether the list with this head holds something, if it is a slot's.
    fn mark(&mut self, head: u32, holds: bool) {
        let number = head - FIRST_SLOT;
        let bit = 1 << (number % SLOTS);
        if let Some(occupied) = self.occupied.get_mut((number / SLOTS) as usize) {
            *occupied = if holds { *occupied | bit } else { *occupied & !bit };
        }
    }

    fn first_pending(&self) -> Option<u32> {
        (FIRST_PENDING..FIRST_SESSION).map(|head| self.link(head).next).find(|first| *first >= FIRST_SESSION)
    }

    fn position(&self, index: u32) -> Option<u32> {
        index.checked_add(FIRST_SESSION).filter(|position| (*position as usize) < self.links.len())
    }

    fn is_linked(&self, position: u32) -> bool {
        self.link(position).next != NOBODY
    }

    /// The links at a position, which is in range by construction.
    fn link(&self, position: u32) -> Link {
        self.links.get(position as usize).copied().unwrap_or(UNLINKED)
    }

    fn set(&mut self, position: u32, link: Link) {
        if let Some(place) = self.links.get_mut(position as usize) {
            *place = link;
        }
    }

    fn set_next(&mut self, position: u32, next: u32) {
        if let Some(place) = self.links.get_mut(position as usize) {
            place.next = next;
        }
    }

    fn set_prev(&mut self, position: u32, prev: u32) {
        if let Some(place) = self.links.get_mut(position as usize) {
            place.prev = prev;
        }
    }
}

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;

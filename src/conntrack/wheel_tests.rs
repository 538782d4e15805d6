//! The wheel against a sorted map, at the limits of its levels and of the tick, and with more than it may do at once.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

const NOBODY_FIRES: [u32; 0] = [];

/// Numbers that look random (splitmix64), the same ones in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn below32(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).unwrap()
    }

    /// Any order of magnitude below 2^bits.
    fn magnitude(&mut self, bits: u64) -> u64 {
        let bits = self.below(bits + 1);
        self.below(1 << bits)
    }
}

/// What the wheel has to agree with: who is armed for when, in a time that does not wrap.
struct Model {
    wheel: Wheel,
    now: u64,
    due: Vec<Option<u64>>,
    order: BTreeMap<u64, BTreeSet<u32>>,
    handed_out: u64,
}

fn tick(time: u64) -> Tick {
    Tick(u32::try_from(time & u64::from(u32::MAX)).unwrap())
}

impl Model {
    fn new(capacity: u32, now: u64) -> Model {
        Model {
            wheel: Wheel::new(capacity, tick(now)),
            now,
            due: vec![None; capacity as usize],
            order: BTreeMap::new(),
            handed_out: 0,
        }
    }

    fn forget(&mut self, index: u32) -> bool {
        let Some(due) = self.due[index as usize].take() else { return false };
        let at = self.order.get_mut(&due).unwrap();
        assert!(at.remove(&index));
        if at.is_empty() {
            self.order.remove(&due);
        }
        true
    }

    fn arm(&mut self, index: u32, due: u64) {
        self.forget(index);
        self.due[index as usize] = Some(due);
        self.order.entry(due).or_default().insert(index);
        self.wheel.arm(index, tick(due));
        assert!(self.wheel.is_armed(index));
    }

    fn disarm(&mut self, index: u32) {
        assert_eq!(self.wheel.disarm(index), self.forget(index));
        assert!(!self.wheel.is_armed(index));
    }

    /// Lets time pass, and hands out no more than `budget` at once. Returns who was due, in order.
    fn pass(&mut self, ticks: u64, budget: u32) -> Vec<u32> {
        self.now += ticks;
        let mut fired = Vec::new();
        let mut finished = false;
        while !finished {
            let handled = self.wheel.advance(tick(self.now), budget, |index| {
                let due = self.due[index as usize].expect("only who is armed comes out");
                if due > self.now {
                    return Fired::At(tick(due));
                }
                fired.push(index);
                Fired::Rest
            });
            assert!(handled <= budget);
            self.handed_out += u64::from(handled);
            finished = handled < budget;
        }
        for index in &fired {
            assert!(self.forget(*index), "nobody fires twice");
        }
        let late = self.order.first_key_value().filter(|(due, _)| **due <= self.now);
        assert_eq!(late, None, "at {}", self.now);
        assert!(!self.wheel.has_pending());
        if self.order.len() < 100 {
            let armed: usize = self.order.values().map(BTreeSet::len).sum();
            assert_eq!(armed, self.wheel.armed() as usize);
        }
        fired
    }
}

#[test]
fn a_million_random_timers_fire_exactly_when_a_sorted_map_says() {
    const TIMERS: u64 = if cfg!(miri) { 1000 } else { 1_000_000 };
    const SESSIONS: u32 = if cfg!(miri) { 50 } else { 20_000 };
    let mut random = Random(3);
    // The tick wraps twice on the way.
    let mut model = Model::new(SESSIONS, u64::from(u32::MAX) - 1_000_000);
    let (mut armed, mut fired) = (0, 0);
    while armed < TIMERS {
        for _ in 0..random.below(200) {
            let index = random.below32(SESSIONS);
            if random.below(4) == 0 {
                model.disarm(index);
            } else {
                // Now and then one that is due already.
                let due = model.now + random.magnitude(30).min(u64::from(RANGE) - 1);
                model.arm(index, due.saturating_sub(random.below(3)));
                armed += 1;
            }
        }
        let budget = 1 + random.below32(4096);
        let bits = if random.below(50) == 0 { 28 } else { 18 };
        let ticks = random.magnitude(bits);
        fired += model.pass(ticks, budget).len() as u64;
    }
    fired += model.pass(u64::from(RANGE), u32::MAX).len() as u64;
    assert_eq!(model.wheel.armed(), 0);
    assert!(fired > TIMERS / 4, "{fired} fired");
    assert!(model.handed_out <= u64::from(LEVELS) * armed, "{} handed out of {armed}", model.handed_out);
}

#[test]
fn a_timer_fires_at_its_tick_and_not_before_whatever_its_distance_and_the_hands_place() {
    let distances = (0..30).flat_map(|log| [(1u64 << log) - 1, 1 << log, (1 << log) + 1]);
    for distance in distances.filter(|distance| !cfg!(miri) || distance.is_power_of_two()) {
        for start in [0, 1, 63, 64, 4095, (1 << 18) - 1, (1 << 24) - 1, (1 << 32) - 1, (1 << 32) - 64] {
            let mut model = Model::new(1, start);
            model.arm(0, start + distance);
            if distance > 0 {
                assert_eq!(model.pass(distance - 1, 8), NOBODY_FIRES, "{distance} ticks from {start}");
                assert_eq!(model.pass(1, 8), [0], "{distance} ticks from {start}");
            } else {
                assert_eq!(model.pass(0, 8), [0]);
            }
            assert!(model.handed_out <= LEVELS.into());
        }
    }
}

#[test]
fn ticks_one_by_one_fire_what_one_jump_fires() {
    const END: u64 = if cfg!(miri) { 5000 } else { 300_000 };
    let mut random = Random(5);
    let mut single = Model::new(500, (1 << 32) - 1000);
    let mut jump = Model::new(500, single.now);
    for index in 0..500 {
        let due = single.now + 1 + random.magnitude(20) % END;
        single.arm(index, due);
        jump.arm(index, due);
    }
    let mut fired: Vec<u32> = (0..END).flat_map(|_| single.pass(1, 64)).collect();
    let mut at_once = jump.pass(END, 64);
    fired.sort_unstable();
    at_once.sort_unstable();
    assert_eq!((fired.len(), fired), (500, at_once));
}

#[test]
fn a_wheel_that_was_left_alone_for_hours_crosses_only_what_it_holds() {
    // 2^20 ticks at each of a hundred thousand calls: slot by slot this would take an hour.
    const CALLS: u64 = if cfg!(miri) { 100 } else { 100_000 };
    let mut model = Model::new(4, 77);
    for call in 0..CALLS {
        for index in 0..4 {
            model.arm(index, model.now + 1 + (u64::from(index) << (5 * index)) + call % 64);
        }
        assert_eq!(model.pass(1 << 20, 4).len(), 4);
    }
}

#[test]
fn a_million_timers_that_fall_due_in_one_tick_are_handed_out_a_budget_at_a_time_and_in_order() {
    const TIMERS: u32 = if cfg!(miri) { 300 } else { 1 << 20 };
    let budget = TIMERS / 100;
    let mut wheel = Wheel::new(TIMERS, Tick(0));
    for index in 0..TIMERS {
        wheel.arm(index, Tick(50));
    }
    assert_eq!((wheel.armed(), wheel.pending(TIMERS)), (TIMERS, 0));
    let (mut next, mut calls) = (0, 0);
    while wheel.armed() > 0 {
        let handled = wheel.advance(Tick(50), budget, |index| {
            assert_eq!(index, next);
            next += 1;
            Fired::Rest
        });
        calls += 1;
        assert!(handled <= budget);
        assert_eq!(wheel.pending(10), wheel.armed().min(10));
    }
    assert_eq!((next, calls), (TIMERS, TIMERS.div_ceil(budget)));
}

#[test]
fn what_is_due_does_not_wait_for_what_only_comes_nearer() {
    let mut wheel = Wheel::new(1000, Tick(0));
    for index in 0..999 {
        wheel.arm(index, Tick(8000));
    }
    // The slot of the others begins at the tick at which this one is due.
    assert_eq!(wheel.advance(Tick(4095), 8, |_| Fired::Rest), 0);
    wheel.arm(999, Tick(4096));
    let mut out = Vec::new();
    wheel.advance(Tick(4096), 3, |index| {
        out.push(index);
        if index == 999 { Fired::Rest } else { Fired::At(Tick(8000)) }
    });
    assert_eq!(out, [999, 0, 1]);
}

#[test]
fn one_that_is_held_stays_first_and_ends_the_call() {
    let mut wheel = Wheel::new(3, Tick(0));
    for index in 0..3 {
        wheel.arm(index, Tick(1));
    }
    let mut out = Vec::new();
    for _ in 0..2 {
        let handled = wheel.advance(Tick(1), 10, |index| {
            out.push(index);
            if index == 0 { Fired::Rest } else { Fired::Hold }
        });
        assert_eq!(handled, u32::from(out.len() == 2), "one that is held does not count");
    }
    assert_eq!(out, [0, 1, 1]);
    assert_eq!((wheel.armed(), wheel.pending(9)), (2, 2));
    // One that is armed anew, or disarmed, waits no longer.
    wheel.arm(1, Tick(5));
    assert!(wheel.disarm(2) && !wheel.disarm(2));
    assert!(!wheel.has_pending() && wheel.is_armed(1) && !wheel.is_armed(2));
}

#[test]
fn what_is_armed_for_the_past_while_firing_waits_for_the_next_tick() {
    let mut wheel = Wheel::new(1, Tick(9));
    wheel.arm(0, Tick(3));
    assert_eq!(wheel.advance(Tick(9), 10, |_| Fired::At(Tick(3))), 1);
    assert_eq!(wheel.advance(Tick(9), 10, |_| Fired::Rest), 0);
    assert_eq!(wheel.advance(Tick(10), 10, |_| Fired::Rest), 1);
}

#[test]
fn the_hand_does_not_go_back() {
    let mut wheel = Wheel::new(1, Tick(100));
    wheel.arm(0, Tick(105));
    assert_eq!(wheel.advance(Tick(90), 10, |_| Fired::Rest), 0);
    assert_eq!(wheel.advance(Tick(104), 10, |_| Fired::Rest), 0);
    assert_eq!(wheel.advance(Tick(105), 10, |_| Fired::Rest), 1);
}

#[test]
fn a_timer_beyond_the_range_comes_out_early_and_can_be_armed_again() {
    let mut model = Model::new(1, 40);
    let distance = u64::from(RANGE) / 2 * 3;
    model.arm(0, 40 + distance);
    assert_eq!(model.pass(u64::from(RANGE) - 1, 8), NOBODY_FIRES);
    assert_eq!(model.handed_out, 1);
    assert_eq!(model.pass(distance - u64::from(RANGE), 8), NOBODY_FIRES);
    assert_eq!(model.pass(1, 8), [0]);
}

#[test]
fn a_session_beyond_the_capacity_is_never_armed() {
    let mut wheel = Wheel::new(2, Tick(0));
    for index in [2, u32::MAX - FIRST_SESSION, u32::MAX - 1, u32::MAX] {
        wheel.arm(index, Tick(1));
        assert!(!wheel.is_armed(index) && !wheel.disarm(index));
    }
    assert_eq!((wheel.armed(), wheel.advance(Tick(5), 10, |_| Fired::Rest)), (0, 0));
    let mut nobody = Wheel::new(0, Tick(0));
    assert_eq!(nobody.advance(Tick(5), 10, |_| Fired::Rest), 0);
}

#[test]
fn a_session_costs_eight_bytes() {
    let heads = Wheel::new(0, Tick(0)).memory();
    assert!(heads < 4096);
    assert_eq!(Wheel::new(10_000, Tick(0)).memory() - heads, 80_000);
}

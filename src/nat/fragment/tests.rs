//! What the fragment table promises.

use super::*;
use crate::device::membuf::{MemBuf, MemPool};
use crate::nat::testing::{fragments, frame, parse, tuple};

const TIMEOUT: u32 = 100;
/// The identification that every datagram gets.
const NEW: u16 = 0xabcd;

struct Lab {
    pool: MemPool,
    table: FragmentTable<MemBuf>,
}

impl Lab {
    fn new(datagrams: usize, held: usize) -> Lab {
        Lab { pool: MemPool::new(256, 2048), table: FragmentTable::new(datagrams, held, TIMEOUT) }
    }

    /// The parts of UDP datagram number `n`; they differ in the source address.
    fn parts(&self, n: u16, parts: usize) -> Vec<Packet<MemBuf, Parsed>> {
        let [a, b] = n.to_be_bytes();
        let from = format!("10.0.{a}.{b}");
        let whole = frame(tuple(17, (&from, 5000 + n, "198.51.100.1", 53)), &[9; 800]);
        fragments(&whole, 64, parts).iter().map(|part| parse(&self.pool, part)).collect()
    }

    /// Lets a packet through; returns those that go on, in order: (source port, fragment).
    fn pass(&mut self, mut packet: Packet<MemBuf, Parsed>, now: u32) -> Vec<(u16, Fragment)> {
        let mut on = Vec::new();
        if packet.state.fragment == Fragment::First {
            on.push((packet.state.tuple.sport, Fragment::First));
            let mut released = |held: Packet<MemBuf, Parsed>| {
                assert_eq!((held.state.tuple.dport, held.state.kind), (53, Kind::Udp));
                on.push((held.state.tuple.sport, held.state.fragment));
            };
            self.table.first(&mut packet, 0, Tick(now), || NEW, &mut released).unwrap();
        } else {
            match self.table.later(packet, 0, Tick(now)) {
                Later::Ready(packet) => on.push((packet.state.tuple.sport, packet.state.fragment)),
                Later::Held => {}
                Later::Refused(_, reason) => assert_eq!(reason, DropReason::FragmentTableFull),
            }
        }
        on
    }

    fn expire(&mut self, now: u32) -> usize {
        let mut dropped = 0;
        self.table.expire(Tick(now), usize::MAX, &mut |_| dropped += 1);
        dropped
    }
}

#[test]
fn three_fragments_pass_in_every_order_and_the_first_goes_first() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut lab = Lab::new(4, 8);
        let mut parts: Vec<_> = lab.parts(1, 2).into_iter().map(Some).collect();
        let mut seen = Vec::new();
        for index in order {
            seen.extend(lab.pass(parts[index].take().unwrap(), 0));
        }
        let expected = [(5001, Fragment::First), (5001, Fragment::Later), (5001, Fragment::Later)];
        assert_eq!(seen, expected, "{order:?}");
        assert_eq!((lab.table.held(), lab.pool.in_use()), (0, 0));
    }
}

#[test]
fn held_fragments_come_out_in_the_order_in_which_they_came() {
    let mut lab = Lab::new(4, 8);
    let mut parts = lab.parts(1, 4);
    let mut first = parts.remove(0);
    parts.rotate_left(1);
    let offsets: Vec<_> = parts.iter().map(|part| part.ipv4().unwrap().fragment_offset()).collect();
    for part in parts {
        lab.pass(part, 0);
    }
    let mut released = Vec::new();
    lab.table
        .first(&mut first, 0, Tick(0), || NEW, &mut |held| {
            released.push(held.ipv4().unwrap().fragment_offset());
        })
        .unwrap();
    assert_eq!(released, offsets);
}

#[test]
fn no_more_than_eight_fragments_of_a_datagram_are_held() {
    let mut lab = Lab::new(4, 64);
    for part in lab.parts(1, 10).into_iter().skip(1) {
        lab.pass(part, 0);
    }
    assert_eq!(lab.table.held(), usize::from(HELD_MAX));
    assert_eq!(lab.pool.in_use(), usize::from(HELD_MAX), "what is not held is given back");
}

#[test]
fn a_flood_of_stray_fragments_does_not_stop_datagrams_that_come_in_order() {
    let mut lab = Lab::new(16, 12);
    for n in 0..100 {
        let stray = lab.parts(n, 2).remove(2);
        lab.pass(stray, 0);
    }
    assert_eq!((lab.table.held(), lab.table.datagrams()), (8, 8), "half of the table");
    for n in 1000..1100 {
        let parts = lab.parts(n, 2);
        let seen: Vec<_> = parts.into_iter().flat_map(|part| lab.pass(part, 1)).collect();
        assert_eq!(seen.len(), 3, "datagram {n}");
    }
    assert_eq!(lab.table.datagrams(), 16);
}

#[test]
fn a_fragment_whose_first_never_comes_is_dropped_at_its_timeout_and_not_before() {
    let mut lab = Lab::new(8, 8);
    for n in 0..4 {
        let stray = lab.parts(n, 2).remove(1);
        lab.pass(stray, u32::from(n));
    }
    assert_eq!(lab.expire(TIMEOUT - 1), 0);
    assert_eq!(lab.expire(TIMEOUT + 1), 2);
    let mut dropped = 0;
    lab.table.expire(Tick(2 * TIMEOUT), 1, &mut |_| dropped += 1);
    assert_eq!(dropped, 1, "the budget bounds the work");
    assert_eq!(lab.expire(2 * TIMEOUT), 1);
    assert_eq!((lab.table.held(), lab.table.datagrams(), lab.pool.in_use()), (0, 0, 0));
}

#[test]
fn what_a_first_fragment_said_is_forgotten_after_the_timeout() {
    let mut lab = Lab::new(8, 8);
    let mut parts = lab.parts(1, 2);
    let (last, middle, first) = (parts.pop().unwrap(), parts.pop().unwrap(), parts.pop().unwrap());
    lab.pass(first, 0);
    assert_eq!(lab.pass(middle, TIMEOUT - 1).len(), 1);
    assert!(lab.pass(last, TIMEOUT).is_empty(), "held as if nothing was known");
    assert_eq!(lab.table.held(), 1);
}

#[test]
fn a_reused_identification_goes_by_its_newest_first_fragment() {
    let mut lab = Lab::new(8, 8);
    let mut old = lab.parts(1, 2);
    let later = old.remove(1);
    lab.pass(old.remove(0), 0);
    let mut new = lab.parts(1, 2).remove(0);
    new.state.tuple.sport = 9;
    lab.pass(new, 1);
    assert_eq!(lab.pass(later, 2), [(9, Fragment::Later)]);
    assert_eq!(lab.table.datagrams(), 1);
}

#[test]
fn draining_gives_back_every_held_fragment() {
    let mut lab = Lab::new(8, 8);
    for n in 0..3 {
        let stray = lab.parts(n, 2).remove(1);
        lab.pass(stray, 0);
    }
    let known = lab.parts(9, 2).remove(0);
    lab.pass(known, 0);
    let mut drained = 0;
    lab.table.drain(&mut |_| drained += 1);
    assert_eq!((drained, lab.table.held(), lab.table.datagrams(), lab.pool.in_use()), (3, 0, 0, 0));
}

#[test]
fn the_books_balance_under_random_use() {
    let mut lab = Lab::new(12, 20);
    let mut rng = crate::nat::Rng::seeded(5);
    let (mut given, mut on, mut refused, mut expired) = (0, 0, 0, 0);
    for step in 0..20_000u32 {
        let n = u16::try_from(rng.next() % 40).unwrap();
        let mut parts = lab.parts(n, 3);
        let mut part = parts.swap_remove(usize::try_from(rng.next() % 4).unwrap());
        drop(parts);
        given += 1;
        if part.state.fragment == Fragment::First {
            on += 1;
            lab.table.first(&mut part, 0, Tick(step), || NEW, &mut |_| on += 1).unwrap();
            drop(part);
        } else {
            match lab.table.later(part, 0, Tick(step)) {
                Later::Ready(packet) => {
                    assert_eq!(packet.state.tuple.sport, 5000 + n);
                    on += 1;
                }
                Later::Held => {}
                Later::Refused(..) => refused += 1,
            }
        }
        lab.table.expire(Tick(step), 2, &mut |_| expired += 1);
        assert_eq!(given, on + refused + expired + lab.table.held());
        assert_eq!(lab.pool.in_use(), lab.table.held());
        assert!(lab.table.datagrams() <= 12);
    }
    assert!(refused > 0 && expired > 0);
}

#[test]
fn a_table_without_room_refuses_and_does_not_fail() {
    let mut lab = Lab::new(0, 0);
    let mut parts = lab.parts(1, 2);
    assert!(matches!(lab.table.later(parts.remove(1), 0, Tick(0)), Later::Refused(..)));
    let full = lab.table.first(&mut parts[0], 0, Tick(0), || NEW, &mut |_| ());
    assert_eq!(full, Err(DropReason::FragmentTableFull));
}

#[test]
fn all_fragments_of_a_datagram_get_one_new_identification_and_another_datagram_another() {
    let mut lab = Lab::new(4, 8);
    let (mut early, mut rest) = (lab.parts(1, 3), lab.parts(2, 3));
    assert!(matches!(lab.table.later(early.remove(1), 0, Tick(0)), Later::Held));
    let mut ids = Vec::new();
    for (fresh, part) in [(101, early.remove(0)), (102, rest.remove(0))] {
        let (mut first, mut held) = (part, None);
        lab.table.first(&mut first, 0, Tick(0), || fresh, &mut |part| held = Some(part.state.id)).unwrap();
        ids.push((first.state.id, held));
    }
    assert_eq!(ids, [(101, Some(101)), (102, None)]);
    for (part, id) in [(early.remove(0), 101), (rest.remove(0), 102)] {
        let Later::Ready(part) = lab.table.later(part, 0, Tick(50)) else { panic!("its first was there") };
        assert_eq!(part.state.id, id);
    }
    // The first again is of the same datagram; after its time it is of another one.
    for (now, id) in [(60, 101), (160, 200)] {
        let mut again = lab.parts(1, 3).remove(0);
        lab.table.first(&mut again, 0, Tick(now), || 200, &mut |_| ()).unwrap();
        assert_eq!(again.state.id, id);
    }
}

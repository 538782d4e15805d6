use super::*;
use crate::steering::toeplitz::Toeplitz;
use std::collections::BTreeSet;

/// The ports of the only worker.
struct One {
    set: PortSet,
    classes: Classes,
    entries: ClassSet,
}

impl One {
    fn new(usable: impl Fn(u16) -> bool) -> One {
        let mut entries = ClassSet::default();
        entries.insert(0);
        let classes = Classes::one();
        One { set: PortSet::new(&classes, usable), classes, entries }
    }

    fn allocate(&mut self, preferred: u16, random: u64) -> Option<u16> {
        let wanted = Wanted { classes: &self.classes, entries: &self.entries, rest: 0 };
        self.set.allocate(wanted, preferred, random)
    }

    fn release(&mut self, port: u16) -> bool {
        self.set.release(&self.classes, port)
    }

    fn free(&self) -> u32 {
        self.set.free()
    }

    fn capacity(&self) -> u32 {
        self.set.capacity()
    }
}

#[test]
fn the_preferred_port_is_kept_when_it_is_free() {
    let mut set = One::new(|port| port >= 1024);
    assert_eq!(set.allocate(40_000, 7), Some(40_000));
    let other = set.allocate(40_000, 7).unwrap();
    assert_ne!(other, 40_000);
    assert!(set.release(40_000));
    assert_eq!(set.allocate(40_000, 7), Some(40_000));
}

#[test]
fn allocation_never_fails_while_a_port_is_free_and_never_gives_one_twice() {
    let mut rng = Rng::seeded(1);
    let mut set = One::new(|port| port >= 1024 && port % 3 == 1);
    let capacity = set.capacity();
    let mut seen = BTreeSet::new();
    for _ in 0..capacity {
        assert!(seen.insert(set.allocate(5000, rng.next()).unwrap()));
    }
    assert_eq!((set.free(), set.allocate(5000, 3)), (0, None));
    assert!(seen.iter().all(|port| *port >= 1024 && port % 3 == 1));
    for port in &seen {
        assert!(set.release(*port));
    }
    assert_eq!(set.free(), capacity);
}

#[test]
fn the_only_free_port_is_found_from_every_start() {
    for hole in [0u16, 1, 63, 64, 1023, 1024, 4095, 4096, 32_768, 65_535] {
        let mut set = One::new(|_| true);
        for port in (0..=u16::MAX).filter(|port| *port != hole) {
            assert_eq!(set.allocate(port, 0), Some(port));
        }
        for random in [0, 1, 63, 64, 4095, 4096, 64_511, 65_535, u64::MAX] {
            let busy = if hole == 9 { 10 } else { 9 };
            assert_eq!(set.allocate(busy, random), Some(hole));
            assert!(set.release(hole));
        }
    }
}

#[test]
fn well_known_ports_go_to_well_known_ports_until_there_are_none() {
    let mut set = One::new(|port| (1000..1030).contains(&port));
    let mut rng = Rng::seeded(2);
    for _ in 0..6 {
        assert!(set.allocate(40_000, rng.next()).unwrap() >= 1024);
    }
    for _ in 0..24 {
        assert!(set.allocate(500, rng.next()).unwrap() < 1024);
    }
    assert_eq!(set.free(), 0);
    assert!(set.release(1001));
    assert_eq!(set.allocate(40_000, rng.next()), Some(1001), "of the other class when its own is used up");
}

#[test]
fn a_port_that_was_not_taken_is_not_released() {
    let mut set = One::new(|port| port >= 1024);
    assert!(!set.release(80), "not in the set");
    assert!(!set.release(2000), "not taken");
    assert_eq!(set.allocate(2000, 0), Some(2000));
    assert!(set.release(2000));
    assert!(!set.release(2000), "twice");
    assert_eq!(set.free(), set.capacity());
}

#[test]
fn a_random_place_is_within_the_usable_ports_so_that_a_block_is_not_filled_in_order() {
    let mut rng = Rng::seeded(3);
    let mut set = One::new(|port| (30_000..30_512).contains(&port));
    let ports: Vec<u16> = (0..64).map(|_| set.allocate(5000, rng.next()).unwrap()).collect();
    let in_order = ports.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
    assert!(in_order < 8, "{in_order} of 64 follow their predecessor");
}

#[test]
fn an_empty_set_gives_nothing() {
    let mut set = One::new(|_| false);
    assert_eq!((set.capacity(), set.allocate(1, 1), set.release(1)), (0, None, false));
}

#[test]
fn the_set_agrees_with_a_tree_of_ports_under_random_use() {
    let mut rng = Rng::seeded(4);
    let usable = |port: u16| port % 7 < 3 && port > 900;
    let mut set = One::new(usable);
    let mut free: BTreeSet<u16> = (0..=u16::MAX).filter(|port| usable(*port)).collect();
    let mut taken = Vec::new();
    for _ in 0..200_000 {
        let number = rng.next();
        if number & 3 != 0 || taken.is_empty() {
            let preferred = u16::try_from(number >> 48).unwrap();
            match set.allocate(preferred, rng.next()) {
                Some(port) => {
                    assert!(free.remove(&port));
                    assert!(port == preferred || !free.contains(&preferred));
                    taken.push(port);
                }
                None => assert!(free.is_empty()),
            }
        } else {
            let index = usize::try_from(number >> 8).unwrap() % taken.len();
            let port = taken.swap_remove(index);
            assert!(set.release(port));
            free.insert(port);
        }
        assert_eq!(set.free() as usize, free.len());
    }
}

/// Ports of some classes, of a random key.
fn classes(seed: u64, bits: u32) -> Classes {
    let mut rng = Rng::seeded(seed);
    let key = u128::from(rng.next()) << 64 | u128::from(rng.next());
    Classes::of_key(&Toeplitz::new(key.to_be_bytes()), bits).unwrap()
}

#[test]
fn whatever_is_wanted_is_given_to_the_last_port_and_nothing_else() {
    let mut rng = Rng::seeded(5);
    for (seed, bits) in [(1, 1), (2, 2), (3, 7), (4, 9)] {
        let classes = classes(seed, bits);
        // A third of the entries.
        let mut entries = ClassSet::default();
        (0..1u16 << bits).filter(|entry| entry % 3 == 1).for_each(|entry| entries.insert(entry));
        let usable = |port: u16| port > 700 && !port.is_multiple_of(5);
        let mut set = PortSet::new(&classes, usable);
        for rest in [0, (1 << bits) - 1, 1] {
            let wanted = Wanted { classes: &classes, entries: &entries, rest };
            let expected: BTreeSet<u16> = (0..=u16::MAX)
                .filter(|port| usable(*port) && entries.contains(classes.class(*port) ^ rest))
                .collect();
            let mut given = BTreeSet::new();
            while let Some(port) = set.allocate(wanted, 1025, rng.next()) {
                assert!(given.insert(port));
            }
            assert_eq!(given, expected, "{bits} bits, rest {rest}");
            assert!(given.iter().all(|port| set.release(&classes, *port)));
            assert_eq!(set.free(), set.capacity());
        }
    }
}

#[test]
fn a_full_class_does_not_hide_another_that_is_wanted() {
    let classes = classes(7, 7);
    let mut rng = Rng::seeded(8);
    let mut entries = ClassSet::default();
    entries.insert(3);
    entries.insert(90);
    let mut set = PortSet::new(&classes, |port| port >= 1024);
    let wanted = Wanted { classes: &classes, entries: &entries, rest: 17 };
    let mut only = ClassSet::default();
    only.insert(3);
    let one = Wanted { entries: &only, ..wanted };
    while set.allocate(one, 1024, rng.next()).is_some() {}
    for _ in 0..400 {
        let port = set.allocate(wanted, 1024, rng.next()).unwrap();
        assert_eq!(classes.class(port) ^ 17, 90);
    }
}

#[test]
fn ports_of_a_class_are_not_given_out_in_order() {
    let classes = classes(9, 7);
    let mut rng = Rng::seeded(9);
    let mut entries = ClassSet::default();
    (0..64).for_each(|entry| entries.insert(2 * entry));
    let mut set = PortSet::new(&classes, |port| (30_000..31_000).contains(&port));
    let wanted = Wanted { classes: &classes, entries: &entries, rest: 5 };
    let ports: Vec<u16> = (0..200).map(|_| set.allocate(wanted, 5000, rng.next()).unwrap()).collect();
    let rising = ports.windows(2).filter(|pair| pair[1] > pair[0]).count();
    assert!((60..140).contains(&rising), "{rising} of 199 are above their predecessor");
}

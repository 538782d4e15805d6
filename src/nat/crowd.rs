//! Remote ends to which nearly every port of an external address is in use.
//!
//! Where each remote end has all ports of an address to itself, who has which port is in the session table alone: a port at
//! random is free towards a remote end nearly always, and one look-up says so. Only when a remote end is *crowded*, so that
//! several ports in a row are in use, it gets a bitmap of its own here, so that the last free port of 64,512 is found in
//! as few steps as the first.
//!
//! A bitmap is made while it is needed: each allocation looks some further ports up in the table (`LOOK`), takes what
//! sessions have since been given, and what looked free and was not is known from then on. It is no more than a copy of what
//! the table says, so that the crowd that was not asked for longest can make room for another.
//!
//! # Bounds
//!
//! [`CROWDS`] bitmaps a worker, allocated when it is made; at the most `TRIES` + `LOOK_LAST` look-ups an allocation.

use super::mapping::External;
use super::ports::{PortSet, Wanted};
use crate::steering::classes::Classes;
use std::net::Ipv4Addr;

/// Remote ends that a worker has a bitmap of.
pub const CROWDS: usize = 16;
/// Ports in use in a row that make a crowd.
pub const SIGN: usize = 3;
/// Ports that are looked up with each allocation until all are known …
const LOOK: u32 = 128;
/// … and when nothing free was found.
const LOOK_LAST: u32 = 4096;
/// Ports that seemed free and were not, in one allocation.
const TRIES: usize = 64;

/// The remote end of a flow, and the external address by which it sees it: the port of the latter is 0.
pub type Ends = (External, (Ipv4Addr, u16));

#[derive(Debug)]
struct Crowd {
    ends: Option<Ends>,
    set: PortSet,
    /// Words of the bitmap that were looked up.
    known: u16,
    used: u64,
}

/// The crowded remote ends of a worker.
#[derive(Debug)]
pub struct Crowds {
    list: Box<[Crowd]>,
    clock: u64,
    any: bool,
}

impl Crowds {
    /// Memory of them, in bytes.
    pub const BYTES: usize = CROWDS * PortSet::BYTES_WITH_LOW;

    /// None yet, with the memory for [`CROWDS`].
    pub fn new() -> Crowds {
        // With room for ports on both sides of 1024.
        let set = PortSet::new(&Classes::one(), |port| (1023..1025).contains(&port));
        let crowd = || Crowd { ends: None, set: set.clone(), known: 0, used: 0 };
        Crowds { list: (0..CROWDS).map(|_| crowd()).collect(), clock: 0, any: false }
    }

    /// Whether this remote end is one.
    pub fn has(&self, ends: &Ends) -> bool {
        self.any && self.list.iter().any(|crowd| crowd.ends == Some(*ends))
    }

    /// Makes one of this remote end. `all` are the ports of the address, none of them taken.
    #[cold]
    pub fn gather(&mut self, ends: Ends, all: &PortSet) {
        if let Some(crowd) = self.list.iter_mut().min_by_key(|crowd| crowd.used) {
            crowd.set.reset_to(all);
            (crowd.ends, crowd.known, crowd.used) = (Some(ends), 0, self.clock);
            self.any = true;
        }
    }

    /// A port that is free towards a crowded remote end; `is_taken` says of one whether some session has it.
    pub fn allocate(
        &mut self,
        ends: &Ends,
        (wanted, preferred): (Wanted<'_>, u16),
        mut random: impl FnMut() -> u64,
        is_taken: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        self.clock += 1;
        let crowd = self.list.iter_mut().find(|crowd| crowd.ends == Some(*ends))?;
        crowd.used = self.clock;
        crowd.look(wanted, LOOK, &is_taken);
        for last in [false, true] {
            for _ in 0..TRIES {
                let Some(port) = crowd.set.allocate(wanted, preferred, random()) else { break };
                if crowd.is_known() || !is_taken(port) {
                    return Some(port);
                }
            }
            if last || crowd.is_known() {
                break;
            }
            crowd.look(wanted, LOOK_LAST, &is_taken);
        }
        None
    }

    /// A session to a remote end has been given a port by other means.
    pub fn took(&mut self, ends: &Ends, classes: &Classes, port: u16) {
        if let Some(crowd) = self.find(ends) {
            crowd.set.take(classes, port);
        }
    }

    /// A session to a remote end gave its port back.
    #[inline]
    pub fn released(&mut self, ends: &Ends, classes: &Classes, port: u16) {
        if let Some(crowd) = self.find(ends) {
            crowd.set.release(classes, port);
        }
    }

    /// Forgets all: another configuration has other ports.
    pub fn forget(&mut self) {
        self.list.iter_mut().for_each(|crowd| crowd.ends = None);
        self.any = false;
    }

    #[inline]
    fn find(&mut self, ends: &Ends) -> Option<&mut Crowd> {
        if !self.any {
            return None;
        }
        self.list.iter_mut().find(|crowd| crowd.ends == Some(*ends))
    }
}

impl Default for Crowds {
    fn default() -> Self {
        Crowds::new()
    }
}

impl Crowd {
    fn is_known(&self) -> bool {
        self.known >= PortSet::WORDS
    }

    /// Looks up some ports more in the table, those of one word together.
    fn look(&mut self, wanted: Wanted<'_>, budget: u32, is_taken: &impl Fn(u16) -> bool) {
        let mut looked = 0;
        while looked < budget && !self.is_known() {
            let mut taken: [u16; 128] = [0; 128];
            let mut count = 0;
            for port in self.set.ports_of(wanted.classes, self.known).filter(|port| wanted.includes(*port)) {
                looked += 1;
                if is_taken(port)
                    && let Some(place) = taken.get_mut(count)
                {
                    *place = port;
                    count += 1;
                }
            }
            for port in taken.iter().take(count) {
                self.set.take(wanted.classes, *port);
            }
            self.known += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::steering::classes::ClassSet;
    use crate::wire::protocol::UDP;
    use std::cell::RefCell;
    use std::collections::HashSet;

    const ENDS: Ends = (External { number: 1, protocol: UDP, port: 0 }, (Ipv4Addr::new(198, 51, 100, 1), 53));

    /// Fills a remote end to the last port, with and without sessions that were there before the crowd was made, and
    /// gives ports back in between.
    #[test]
    fn the_last_free_port_is_found_and_none_is_given_twice() {
        let classes = Classes::one();
        let mut entries = ClassSet::default();
        entries.insert(0);
        for (ports, before) in [(100u16, 60), (20_000, 9_000), (64_512, 40_000)] {
            let all = PortSet::new(&classes, |port| port >= 1024 && port - 1024 < ports);
            let wanted = Wanted { classes: &classes, entries: &entries, rest: 0 };
            let taken: RefCell<HashSet<u16>> = RefCell::default();
            let mut n = 1u64;
            let mut random = || {
                n = n.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                n ^ n >> 29
            };
            while taken.borrow().len() < before {
                let port = all.pick(wanted, false, random()).unwrap();
                taken.borrow_mut().insert(port);
            }
            let mut crowds = Crowds::new();
            crowds.gather(ENDS, &all);
            for turn in 0u32.. {
                let Some(port) = crowds
                    .allocate(&ENDS, (wanted, 1024), &mut random, |port| taken.borrow().contains(&port))
                else {
                    break;
                };
                assert!(taken.borrow_mut().insert(port), "{port} twice");
                if turn % 3 == 0 {
                    let port = *taken.borrow().iter().next().unwrap();
                    taken.borrow_mut().remove(&port);
                    crowds.released(&ENDS, &classes, port);
                }
            }
            assert_eq!(taken.borrow().len(), usize::from(ports));
        }
    }

    #[test]
    fn the_crowd_that_was_not_asked_for_longest_makes_room() {
        let all = PortSet::new(&Classes::one(), |port| port >= 60_000);
        let mut crowds = Crowds::new();
        let ends = |n: u16| (ENDS.0, (ENDS.1.0, n));
        let classes = Classes::one();
        let mut entries = ClassSet::default();
        entries.insert(0);
        let wanted = Wanted { classes: &classes, entries: &entries, rest: 0 };
        for n in 0..=16 {
            crowds.gather(ends(n), &all);
            assert!(crowds.allocate(&ends(n), (wanted, 0), || 1, |_| false).is_some());
        }
        assert_eq!((crowds.has(&ends(0)), crowds.has(&ends(1)), crowds.has(&ends(16))), (false, true, true));
        crowds.forget();
        assert!(!crowds.has(&ends(16)));
    }
}

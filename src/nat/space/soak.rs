//! Allocation for a long time: random allocations, releases and expiries on three workers against a model that only knows who
//! has what. No port is given twice, none is lost, and none is refused while one is left.
//!
//! `NATGATE_SOAK_STEPS=100000000 cargo test --no-default-features --lib nat::space::soak` goes on for a hundred million steps
//! in each test; without it they are short.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::nat::behavior::{Behavior, Dependence};
use crate::nat::ports::Rng;
use crate::packet::Tuple;

const WORKERS: u8 = 3;
const OURS: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 2), Ipv4Addr::new(203, 0, 113, 3)];
/// Few, so that they often are all in use; on both sides of 1024, and not a multiple of anything.
const PORTS: RangeInclusive<u16> = 1001..=1700;
const PROTOCOLS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::SCTP];
/// Of an address whose ports rest; a step is a tick in ten.
const REST: u32 = 40;
/// Steps between two changes of mind about how full it should be.
const PHASE: u64 = 5000;

fn steps() -> u64 {
    std::env::var("NATGATE_SOAK_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(500_000)
}

/// How far it is.
struct Progress {
    done: u64,
    all: u64,
}

impl Progress {
    fn new() -> Progress {
        Progress { done: 0, all: steps() }
    }

    /// Whether there is another step.
    fn step(&mut self) -> bool {
        self.done += 1;
        self.done <= self.all
    }
}

/// A random number below `n`.
fn below(random: &mut Rng, n: usize) -> usize {
    usize::try_from(random.next() >> 33).unwrap() % n
}

fn spaces(behavior: Behavior) -> (Vec<PortSpace>, Steering) {
    let addresses = OURS.map(|address| (address, None, Some(PORTS))).to_vec();
    let local = LocalAddresses::new(addresses, &[]).behaving(behavior);
    let steering = Steering::new(WORKERS, 9).sources_together(true);
    let spaces = (0..WORKERS).map(|worker| PortSpace::new(&local, &steering, WorkerId(worker))).collect();
    (spaces, steering)
}

/// Which protocol a port is of among [`PROTOCOLS`], its address, and itself, as an index.
fn place(external: External) -> usize {
    let set = PROTOCOLS.iter().position(|protocol| *protocol == external.protocol).unwrap();
    (set * OURS.len() + usize::from(external.number)) * PORTS.len()
        + usize::from(external.port - PORTS.start())
}

/// What each worker may have of mappings' ports.
struct Mapped {
    /// By place, whose it is now: taken or resting.
    taken: Vec<bool>,
    /// By place, which worker may give it.
    giver: Vec<usize>,
    /// By worker, protocol, address and side of 1024, how many are free.
    free: Vec<[[[usize; 2]; 2]; 3]>,
    resting: Vec<VecDeque<(Tick, External)>>,
    held: Vec<Vec<External>>,
}

impl Mapped {
    fn new(steering: &Steering) -> Mapped {
        let mut model = Mapped {
            taken: vec![false; PROTOCOLS.len() * OURS.len() * PORTS.len()],
            giver: vec![0; PROTOCOLS.len() * OURS.len() * PORTS.len()],
            free: vec![Default::default(); usize::from(WORKERS)],
            resting: vec![VecDeque::new(); usize::from(WORKERS)],
            held: vec![Vec::new(); usize::from(WORKERS)],
        };
        for external in Mapped::all() {
            let class = steering.classes(external.protocol, true).class(external.port);
            let mut workers =
                (0..WORKERS).filter(|worker| steering.entries_of(WorkerId(*worker)).contains(class));
            let giver = usize::from(workers.next().unwrap());
            assert_eq!(workers.next(), None, "two workers for {external:?}");
            model.giver[place(external)] = giver;
            *model.free_of(giver, external) += 1;
        }
        model
    }

    fn all() -> impl Iterator<Item = External> {
        let of = |protocol, number| PORTS.map(move |port| External { number, protocol, port });
        PROTOCOLS.into_iter().flat_map(move |protocol| (0..2).flat_map(move |number| of(protocol, number)))
    }

    fn free_of(&mut self, worker: usize, external: External) -> &mut usize {
        let set = set_of(external.protocol).unwrap();
        &mut self.free[worker][set][usize::from(external.number)][usize::from(external.port >= REGISTERED)]
    }

    fn take(&mut self, worker: usize, external: External) {
        assert_eq!(self.giver[place(external)], worker, "{external:?} is another worker's");
        assert!(!std::mem::replace(&mut self.taken[place(external)], true), "{external:?} was given twice");
        *self.free_of(worker, external) -= 1;
        self.held[worker].push(external);
    }

    fn free(&mut self, worker: usize, external: External) {
        assert!(std::mem::replace(&mut self.taken[place(external)], false));
        *self.free_of(worker, external) += 1;
    }

    fn wake(&mut self, worker: usize, now: Tick) {
        for _ in 0..RESTED {
            match self.resting[worker].front().copied() {
                Some((until, external)) if until.has_come(now) => {
                    self.resting[worker].pop_front();
                    self.free(worker, external);
                }
                _ => break,
            }
        }
    }

    /// How many ports of this kind the worker has left, on this side of 1024 and on the other.
    fn left(&self, worker: usize, external: External) -> [usize; 2] {
        let [low, high] = self.free[worker][set_of(external.protocol).unwrap()][usize::from(external.number)];
        if external.port < REGISTERED { [low, high] } else { [high, low] }
    }
}

#[test]
fn ports_of_mappings_are_neither_lost_nor_given_twice_nor_refused_while_one_is_left() {
    let open = Behavior { filtering: [Dependence::Nothing; 3], hold_down: REST, ..Behavior::DEFAULT };
    let (mut spaces, steering) = spaces(open);
    let mut model = Mapped::new(&steering);
    let (mut random, mut chosen) = (Rng::seeded(1), Rng::seeded(2));
    let (mut refused, mut given) = (0u64, 0u64);
    let mut progress = Progress::new();
    let mut appetite = 50;
    while progress.step() {
        let now = Tick(u32::try_from(progress.done / 10 % u64::from(u32::MAX)).unwrap());
        if progress.done.is_multiple_of(PHASE) {
            appetite = [30, 48, 52, 75][below(&mut random, 4)];
        }
        let worker = below(&mut random, usize::from(WORKERS));
        if below(&mut random, 100) < appetite {
            let (number, protocol) = (u16::from(random.next() & 1 == 0), PROTOCOLS[below(&mut random, 3)]);
            let port = PORTS.start() + u16::try_from(below(&mut random, PORTS.len())).unwrap();
            model.wake(worker, now);
            let [same, other] = model.left(worker, External { number, protocol, port });
            match spaces[worker].allocate(number, protocol, port, now, || chosen.next()) {
                Some(external) => {
                    assert_eq!((external.number, external.protocol), (number, protocol));
                    assert!(PORTS.contains(&external.port));
                    let is_same = (external.port < REGISTERED) == (port < REGISTERED);
                    assert!(is_same || same == 0, "{external:?} for {port}, of whose side {same} are free");
                    model.take(worker, external);
                    given += 1;
                }
                None => {
                    assert_eq!(same + other, 0, "refused, and so many are free");
                    refused += 1;
                }
            }
        } else if !model.held[worker].is_empty() {
            let at = below(&mut random, model.held[worker].len());
            let external = model.held[worker].swap_remove(at);
            let rests = random.next() & 1 == 0;
            assert!(spaces[worker].release(external, rests.then_some(now)), "{external:?} was not taken");
            if rests {
                model.resting[worker].push_back((now.after(REST), external));
            } else {
                model.free(worker, external);
            }
        }
    }
    assert!(refused > 0 && given > refused, "{given} given, {refused} refused");

    for (worker, space) in spaces.iter_mut().enumerate() {
        for external in std::mem::take(&mut model.held[worker]) {
            assert!(space.release(external, None));
            model.free(worker, external);
        }
        for (_, external) in std::mem::take(&mut space.resting) {
            assert!(space.free(external), "{external:?} rests and is free");
            model.free(worker, external);
        }
        let mut left = 0;
        for protocol in PROTOCOLS {
            for (number, side) in [(0, 1001), (0, 1700), (1, 1001), (1, 1700)] {
                while space.allocate(number, protocol, side, Tick(0), || chosen.next()).is_some() {
                    left += 1;
                }
            }
        }
        let all: usize = model.free[worker].iter().flatten().flatten().sum();
        assert_eq!(left, all, "worker {worker} has all of its ports again");
    }
}

#[test]
fn shared_ports_are_given_once_to_each_remote_end_and_not_refused_while_one_is_left() {
    const REMOTES: usize = 6;
    let (mut spaces, steering) = spaces(Behavior::BY_FLOW);
    let reply = |(remote, number, port): (usize, u16, u16)| {
        let (src, sport) = remote_of(remote);
        Tuple { src, dst: OURS[usize::from(number)], sport, dport: port, protocol: protocol::UDP }
    };
    // By remote end, address and port: taken.
    let mut taken = vec![[[false; 700]; 2]; REMOTES];
    let at = |port: u16| usize::from(port - PORTS.start());
    let owner = |ends| usize::from(steering.placement(&reply(ends), crate::ids::Realm::External).0);
    let mut held: Vec<Vec<(usize, u16, u16)>> = vec![Vec::new(); usize::from(WORKERS)];
    let (mut random, mut chosen) = (Rng::seeded(3), Rng::seeded(4));
    let (mut refused, mut given) = (0u64, 0u64);
    let mut progress = Progress::new();
    let mut appetite = 50;
    while progress.step() {
        if progress.done.is_multiple_of(PHASE) {
            appetite = [30, 48, 52, 80][below(&mut random, 4)];
        }
        let worker = below(&mut random, usize::from(WORKERS));
        if below(&mut random, 100) < appetite {
            let (n, number) = (below(&mut random, REMOTES), u16::from(random.next() & 1 == 0));
            let preferred = PORTS.start() + u16::try_from(below(&mut random, PORTS.len())).unwrap();
            let ours = &taken[n][usize::from(number)];
            let rest = steering.rest(&reply((n, number, 0)), false);
            let is_taken = |port| ours[at(port)];
            let what = ((number, protocol::UDP), (rest, preferred));
            let port = spaces[worker].share(what.0, what.1, remote_of(n), || chosen.next(), is_taken);
            match port {
                Some(port) => {
                    assert!(
                        !std::mem::replace(&mut taken[n][usize::from(number)][at(port)], true),
                        "given twice"
                    );
                    assert_eq!(owner((n, number, port)), worker, "its replies come to another worker");
                    held[worker].push((n, number, port));
                    given += 1;
                }
                None => {
                    let mut left = PORTS.filter(|port| !ours[at(*port)]);
                    let left = left.find(|port| owner((n, number, *port)) == worker);
                    assert_eq!(left, None, "refused, and this one is free");
                    refused += 1;
                }
            }
        } else if !held[worker].is_empty() {
            let which = below(&mut random, held[worker].len());
            let (n, number, port) = held[worker].swap_remove(which);
            taken[n][usize::from(number)][at(port)] = false;
            let external = External { number, protocol: protocol::UDP, port };
            spaces[worker].unshare(external, remote_of(n));
        }
    }
    assert!(refused > 0 && given > refused, "{given} given, {refused} refused");
}

fn remote_of(n: usize) -> (Ipv4Addr, u16) {
    let last = u8::try_from(n % 2).unwrap();
    (Ipv4Addr::new(198, 51, 100, last), 443 + u16::try_from(n).unwrap())
}

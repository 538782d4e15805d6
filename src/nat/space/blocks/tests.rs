#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::classify::{LocalAddress, Shares};
use crate::nat::behavior::{Behavior, Dependence};
use crate::nat::space::PortUpdate;
use crate::steering::Steering;
use crate::time::Tick;
use crate::wire::protocol::{TCP, UDP};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

const RULES: BlockRules = BlockRules { size: 64, per_subscriber: 2, idle: 100 };
const PORTS: RangeInclusive<u16> = 1024..=4095;

fn address(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xcb00_7100 + u32::from(number))
}

/// So many addresses of one pool, of which each has these ports.
fn local(addresses: u16, sharing: Sharing, ports: &RangeInclusive<u16>, workers: u8) -> LocalAddresses {
    let behavior =
        Behavior { sharing, filtering: [Dependence::Nothing; 3], hold_down: 50, ..Behavior::DEFAULT };
    let list = (0..addresses).map(|number| (address(number), None, Some(ports.clone()))).collect();
    let shares = |_: u16, local: &LocalAddress| Some(Arc::new(Shares::of_regions(0, local.address, workers)));
    LocalAddresses::new(list, &[]).behaving(behavior).with_shares(shares)
}

/// A worker's ports with what it told, held against a model.
struct Worker {
    space: PortSpace,
    local: LocalAddresses,
    rng: Rng,
    rules: BlockRules,
    now: u32,
    /// Who has which block now, by address and first port.
    held: BTreeMap<(Ipv4Addr, u16), Block>,
    given: usize,
    released: usize,
}

impl Worker {
    fn new(addresses: u16, rules: BlockRules, (worker, workers): (u8, u8)) -> Worker {
        let local = local(addresses, Sharing::Blocks(rules), &PORTS, workers);
        let steering = Steering::new(workers, 5);
        let space = PortSpace::new(&local, &steering, WorkerId(worker)).with_blocks(1000, 7);
        let (held, rng) = (BTreeMap::new(), Rng::seeded(3));
        Worker { space, local, rng, rules, now: 0, held, given: 0, released: 0 }
    }

    fn note(&mut self, events: Vec<BlockEvent>) {
        for BlockEvent { given, block, .. } in events {
            let place = (block.address, block.first);
            if given {
                let own = block.ports();
                let apart = |other: &Block| {
                    other.address != block.address || other.ports().all(|port| !own.contains(&port))
                };
                assert!(self.held.values().all(apart), "{block:?} is somebody's");
                self.held.insert(place, block);
                self.given += 1;
            } else {
                assert_eq!(self.held.remove(&place), Some(block), "released once, by whom it was given to");
                self.released += 1;
            }
        }
    }

    fn ask(&mut self, subscriber: u8, protocol: u8, preferred: u16) -> Result<External, NoPort> {
        let numbers: Vec<u16> = (0..).take(self.local.iter().len()).collect();
        let subscriber = Ipv4Addr::new(100, 64, 0, subscriber);
        let request = Request {
            pool: 0,
            rules: self.rules,
            zone: 0,
            subscriber,
            numbers: &numbers,
            start: usize::from(subscriber.octets()[3]) % numbers.len(),
            protocol,
            preferred,
        };
        let mut events = Vec::new();
        self.space.wake(Tick(self.now));
        let port = self
            .space
            .allocate_in_blocks(&request, &self.local, &mut self.rng, &mut |event| events.push(event));
        assert!(events.len() <= EVENTS);
        self.note(events);
        if let Ok(External { number, port, .. }) = port {
            let holds = |block: &&Block| block.number == number && block.ports().contains(&port);
            assert_eq!(self.held.values().find(holds).unwrap().subscriber, subscriber, "of his own block");
        }
        port
    }

    fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now += 1;
            let mut events = Vec::new();
            self.space.wake(Tick(self.now));
            self.space.take_back_idle(&self.local, 64, &mut |event| events.push(event));
            self.note(events);
        }
    }

    fn reload(&mut self, next: LocalAddresses) -> PortUpdate {
        let mut updates = PortUpdate::between(&self.local, &next, &Steering::new(1, 5), 1);
        let mut update = updates.remove(0);
        self.space.adopt(&mut update);
        self.local = next;
        update
    }
}

#[test]
fn a_subscriber_gets_each_port_of_his_blocks_of_each_protocol_and_then_no_more() {
    let mut worker = Worker::new(1, RULES, (0, 1));
    for protocol in [TCP, UDP] {
        let mut seen = HashSet::new();
        for _ in 0..128 {
            assert!(seen.insert(worker.ask(1, protocol, 9).unwrap().port));
        }
        assert_eq!(worker.ask(1, protocol, 9), Err(NoPort::Limit));
        assert_eq!(worker.given, 2, "of all protocols alike");
    }
    assert!(worker.ask(2, TCP, 9).is_ok(), "another one is not concerned");
}

#[test]
fn the_hosts_own_port_is_kept_only_where_it_is_in_his_block() {
    let mut worker = Worker::new(1, RULES, (0, 1));
    let first = worker.ask(1, TCP, 2000).unwrap().port;
    let block = first & !63;
    let other = if first == block { block + 1 } else { block };
    assert_eq!(worker.ask(1, TCP, other).unwrap().port, other);
    let beside = if block == 1024 { 2048 } else { 1024 };
    assert!((block..=block + 63).contains(&worker.ask(1, TCP, beside).unwrap().port));
}

#[test]
fn a_block_goes_back_when_its_ports_have_rested_and_nobody_has_asked_for_its_idle_time() {
    let mut worker = Worker::new(1, RULES, (0, 1));
    let port = worker.ask(1, UDP, 9).unwrap();
    worker.space.release(port, Some(Tick(0)));
    worker.pass(149);
    assert_eq!((worker.given, worker.released), (1, 0), "50 of rest, 100 of idleness");
    let used = |worker: &Worker| worker.local.get(0).map(|local| (local.used.blocks(), local.used.by_set()));
    assert_eq!(used(&worker), Some((1, [0; 3])));
    worker.pass(1);
    assert_eq!((worker.released, used(&worker)), (1, Some((0, [0; 3]))));
    let port = worker.ask(1, UDP, 9).unwrap();
    worker.space.release(port, None);
    worker.pass(99);
    assert!(worker.ask(1, UDP, 9).is_ok());
    worker.pass(1000);
    assert_eq!((worker.given, worker.released), (2, 1), "it is in use again");
}

#[test]
fn when_no_block_is_free_one_that_is_empty_goes_early_and_none_that_is_in_use() {
    let mut worker = Worker::new(1, RULES, (0, 1));
    let ports: Vec<External> = (0..48).map(|n| worker.ask(n, UDP, 9).unwrap()).collect();
    assert_eq!(worker.ask(99, UDP, 9), Err(NoPort::Exhausted), "48 blocks of 64 are 3,072 ports");
    worker.space.release(ports[7], None);
    worker.space.release(ports[3], None);
    assert!(worker.ask(99, UDP, 9).is_ok());
    assert_eq!((worker.given, worker.released), (49, 1));
    let gone = |n: u8| worker.held.values().all(|block| block.subscriber.octets()[3] != n);
    assert!(gone(7) && !gone(3), "the one that was emptied first");
}

#[test]
fn further_blocks_of_a_subscriber_are_of_the_same_address() {
    let mut worker = Worker::new(4, BlockRules { per_subscriber: 64, ..RULES }, (0, 1));
    let first = worker.ask(1, UDP, 9).unwrap().number;
    for _ in 1..48 * 64 {
        assert_eq!(worker.ask(1, UDP, 9).unwrap().number, first);
    }
    assert_eq!(worker.ask(1, UDP, 9), Err(NoPort::Exhausted), "although others have some");
    assert!(worker.ask(5, UDP, 9).is_ok(), "who would begin at the same one");
}

#[test]
fn no_two_workers_give_the_same_block_and_together_they_give_all() {
    let mut given = HashMap::new();
    for worker in 0..3 {
        let mut one = Worker::new(2, RULES, (worker, 3));
        for subscriber in 0..=255 {
            let Ok(external) = one.ask(subscriber, TCP, 9) else { break };
            assert_eq!(one.local.owner_of_share(external.number, external.port), Some(WorkerId(worker)));
            assert!(given.insert((external.number, external.port & !63), worker).is_none());
        }
    }
    assert_eq!(given.len(), 2 * 48);
}

#[test]
fn blocks_stay_what_they_are_when_others_have_another_size() {
    let mut worker = Worker::new(1, RULES, (0, 1));
    let old: Vec<External> = (0..10).map(|n| worker.ask(n, UDP, 9).unwrap()).collect();
    worker.rules = BlockRules { size: 1024, ..RULES };
    let left = worker.reload(local(1, Sharing::Blocks(worker.rules), &PORTS, 1));
    drop(left);
    // Nobody else gets what is in the way of their blocks, and they have theirs as before.
    let more: Vec<External> = (0..10).map(|n| worker.ask(n, UDP, 9).unwrap()).collect();
    assert!(more.iter().zip(&old).all(|(new, old)| new.port & !63 == old.port & !63));
    let free = 3 - old.iter().map(|external| external.port >> 10).collect::<HashSet<_>>().len();
    assert_eq!((100..110).filter(|n| worker.ask(*n, UDP, 9).is_ok()).count(), free);
    // They go back one by one, and make room for those of the new size then.
    old.iter().chain(&more).for_each(|external| assert!(worker.space.release(*external, None)));
    worker.pass(100);
    assert_eq!((worker.given, worker.released), (10 + free, 10));
    assert_eq!((200..210).filter(|n| worker.ask(*n, UDP, 9).is_ok()).count(), 3 - free);
}

#[test]
fn what_was_in_use_before_there_were_blocks_is_in_no_block() {
    let mut worker = Worker::new(1, RULES, (0, 1));
    let plain = local(1, Sharing::Ports, &PORTS, 1);
    let blocks = std::mem::replace(&mut worker.local, plain);
    worker.space = PortSpace::new(&worker.local, &Steering::new(1, 5), WorkerId(0)).with_blocks(100, 7);
    let port = worker.space.allocate(0, UDP, 2050, Tick(0), || 0).unwrap();
    assert_eq!(port.port, 2050);
    drop(worker.reload(blocks));
    let held = (0..48).filter(|n| worker.ask(*n, TCP, 9).is_ok()).count();
    assert_eq!(held, 47, "all but one");
    worker.space.release(port, None);
    assert!(worker.ask(99, TCP, 9).is_ok_and(|external| external.port & !63 == 2048));
}

#[test]
fn blocks_of_a_pool_that_has_none_any_more_go_back_with_their_last_port() {
    let mut worker = Worker::new(1, RULES, (0, 1));
    let (one, other) = (worker.ask(1, UDP, 9).unwrap(), worker.ask(2, UDP, 9).unwrap());
    drop(worker.reload(local(1, Sharing::Ports, &PORTS, 1)));
    worker.space.release(one, None);
    worker.pass(1);
    assert_eq!((worker.given, worker.released), (2, 1));
    worker.space.release(other, None);
    worker.pass(1);
    assert!(worker.held.is_empty());
    assert!(worker.space.allocate(0, UDP, one.port, Tick(9), || 0).is_some_and(|port| port == one));
}

/// A random course of requests, ends and reloads: no port and no block is two subscribers', nothing is lost.
#[test]
fn a_million_random_steps_agree_with_a_model() {
    let mut rng = Rng::seeded(11);
    let mut worker = Worker::new(3, BlockRules { idle: 3, ..RULES }, (0, 1));
    let mut taken: Vec<External> = Vec::new();
    let mut all: HashSet<External> = HashSet::new();
    for step in 0..1_000_000u32 {
        let random = rng.next();
        let [a, b, c, ..] = random.to_be_bytes();
        match a {
            0..=140 => {
                if let Ok(external) = worker.ask(b, if c & 1 == 0 { TCP } else { UDP }, u16::from(c) << 6) {
                    assert!(all.insert(external), "{external:?} twice");
                    taken.push(external);
                }
            }
            141..=250 if !taken.is_empty() => {
                let external = taken.swap_remove(usize::from(b) * 7919 % taken.len());
                all.remove(&external);
                // Where it does not rest, as the model knows of no rest.
                assert!(worker.space.release(external, None));
            }
            251..=254 => worker.pass(1),
            _ if step % 16 == 0 => {
                worker.rules.size = 64 << (b % 5);
                let rules = worker.rules;
                drop(worker.reload(local(3, Sharing::Blocks(rules), &PORTS, 1)));
            }
            _ => {}
        }
    }
    taken.drain(..).for_each(|external| assert!(worker.space.release(external, None)));
    worker.pass(10);
    assert!(worker.held.is_empty() && worker.given == worker.released);
    assert!(worker.given > 1000);
}

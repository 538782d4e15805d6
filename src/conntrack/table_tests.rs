//! The table against a model, at its capacity, and with keys that collide.

use super::*;
use crate::conntrack::key::{V4Key, V6Key};
use crate::conntrack::policy::Policy;
use crate::conntrack::tracker::{self, Observed, State, touch, track};
use crate::ids::Realm;
use crate::packet::Tuple;
use crate::sync::{AtomicU64, Ordering};
use crate::wire::checksum::Delta;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// A key whose hash takes one of four values: everything collides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colliding(u32);

impl FlowKey for Colliding {
    type Words = AtomicU64;

    fn store(&self, words: &AtomicU64) {
        words.store(self.0.into(), Ordering::Relaxed);
    }

    fn load(words: &AtomicU64) -> Self {
        Colliding(u32::try_from(words.load(Ordering::Relaxed)).unwrap())
    }

    fn is_stored_in(&self, words: &AtomicU64) -> bool {
        *self == Self::load(words)
    }

    fn hash(&self, seed: u64) -> u64 {
        seed ^ u64::from(self.0 & 3) << 62
    }

    fn protocol(&self) -> u8 {
        17
    }

    fn destination_port(&self) -> u16 {
        1024
    }
}

fn v4(n: u32) -> V4Key {
    let tuple = Tuple { src: n.into(), dst: [192, 0, 2, 1].into(), sport: 1024, dport: 53, protocol: 17 };
    V4Key::new(tuple, Realm::Internal, 0)
}

fn v6(n: u32) -> V6Key {
    V6Key::new((u128::from(n).into(), 1u128.into()), (1024, 53), 17, Realm::Internal, 0)
}

fn new<K>(original: K, reply: K) -> NewSession<K> {
    NewSession {
        original,
        reply,
        opening: tracker::open(&Observed::Udp, &Policy::default(), 0).unwrap(),
        now: Tick(7),
        length: 100,
        policy: 0,
        mark: 0,
        protected: false,
        lease: None,
        shape: Shape::default(),
        l3: Delta::ZERO,
        l4: Delta::ZERO,
    }
}

fn find<K: FlowKey>(shard: &Shard<K>, key: K) -> Option<(SessionId, Direction)> {
    let hash = shard.hash(&key);
    shard.prefetch(hash);
    shard.prefetch_session(hash, true);
    shard.lookup(&key, hash)
}

#[derive(Clone, Debug)]
enum Step {
    /// Insert a session with these two keys.
    Insert(u32, u32),
    /// Remove the session that has this key, if one has.
    Remove(u32),
}

const CAPACITY: u32 = 6;
const KEYS: u32 = 16;

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let insert = (0..KEYS, 0..KEYS).prop_map(|(original, reply)| Step::Insert(original, reply));
    let remove = (0..KEYS).prop_map(Step::Remove);
    vec(prop_oneof![3 => insert, 2 => remove], 1..120)
}

/// Runs the steps on a table and on two maps, and compares everything that can be seen after each.
fn agrees_with_the_model<K: FlowKey>(key: impl Fn(u32) -> K, seed: u64, steps: &[Step]) {
    let (mut shard, view) = Shard::new(CAPACITY, seed);
    let mut entries: HashMap<u32, (SessionId, Direction)> = HashMap::new();
    let mut sessions: HashMap<SessionId, (u32, u32, Lease)> = HashMap::new();
    let mut names = HashSet::new();
    for (number, step) in (1u16..).zip(steps) {
        match *step {
            Step::Insert(original, reply) => {
                let port = key(reply).destination_port();
                let lease = Lease { address: number, port, protocol: 17 };
                let session = NewSession { lease: Some(lease), ..new(key(original), key(reply)) };
                let taken = entries.contains_key(&original) || entries.contains_key(&reply);
                match shard.insert(session) {
                    Ok(id) => {
                        assert!(!taken && original != reply && sessions.len() < CAPACITY as usize);
                        entries.insert(original, (id, Direction::Original));
                        entries.insert(reply, (id, Direction::Reply));
                        sessions.insert(id, (original, reply, lease));
                        assert!(names.insert((id, shard.generation(id))), "a name is never used twice");
                    }
                    Err(InsertError::Collision) => assert!(taken || original == reply),
                    Err(InsertError::Full) => assert_eq!(sessions.len(), CAPACITY as usize),
                }
            }
            Step::Remove(wanted) => {
                if let Some((id, _)) = entries.get(&wanted).copied() {
                    let (original, reply, lease) = sessions.remove(&id).unwrap();
                    entries.remove(&original);
                    entries.remove(&reply);
                    let generation = shard.generation(id);
                    assert_eq!(shard.resolve(id.index(), generation), Some(id));
                    assert_eq!(shard.remove(id), Some(lease));
                    assert_eq!(shard.remove(id), None, "a second removal does nothing");
                    assert_eq!(shard.resolve(id.index(), generation), None);
                }
            }
        }
        for n in 0..KEYS {
            assert_eq!(find(&shard, key(n)), entries.get(&n).copied());
        }
        assert_eq!(shard.len() as usize, sessions.len());
        let listed: HashMap<_, _> =
            (0..CAPACITY).filter_map(|i| Some((SessionId(i), view.read(i)?))).collect();
        assert_eq!(listed.len(), sessions.len());
        for (id, (original, reply, lease)) in &sessions {
            let read = &listed[id];
            assert_eq!((read.original, read.reply, read.lease), (key(*original), key(*reply), Some(*lease)));
            assert_eq!((read.index, read.generation), (id.index(), shard.generation(*id)));
        }
    }
}

proptest! {
    #[test]
    fn the_table_does_what_a_map_does(seed: u64, steps in any_steps()) {
        agrees_with_the_model(v4, seed, &steps);
    }

    #[test]
    fn the_table_does_what_a_map_does_with_ipv6_keys(seed: u64, steps in any_steps()) {
        agrees_with_the_model(v6, seed, &steps);
    }

    #[test]
    fn the_table_does_what_a_map_does_when_all_hashes_collide(seed: u64, steps in any_steps()) {
        agrees_with_the_model(Colliding, seed, &steps);
    }
}

fn fills_to_capacity<K: FlowKey>(key: impl Fn(u32) -> K, capacity: u32) {
    let (mut shard, view) = Shard::new(capacity, 0x5eed);
    assert_eq!((shard.capacity(), view.capacity()), (capacity, capacity));
    for round in 0..2 {
        for n in 0..capacity {
            shard.insert(new(key(2 * n), key(2 * n + 1))).unwrap();
        }
        assert_eq!(shard.len(), capacity);
        assert_eq!(shard.insert(new(key(2 * capacity), key(2 * capacity + 1))), Err(InsertError::Full));
        for n in 0..2 * capacity {
            let (id, direction) = find(&shard, key(n)).unwrap();
            assert_eq!(shard.session(id).key(direction), key(n));
        }
        assert_eq!(find(&shard, key(2 * capacity)), None, "round {round}");
        let (mut cursor, mut budget) = (capacity / 2, capacity);
        while let Some(id) = shard.scan(&mut cursor, &mut budget) {
            shard.remove(id);
        }
        assert!(shard.is_empty());
        assert!((0..2 * capacity).all(|n| find(&shard, key(n)).is_none()));
    }
}

#[test]
fn a_table_fills_to_its_capacity_exactly_and_again_after_it_was_emptied() {
    fills_to_capacity(v4, 1);
    fills_to_capacity(v4, 1000);
    fills_to_capacity(v6, 333);
    fills_to_capacity(Colliding, 100);
}

#[test]
fn a_table_without_room_refuses_everything() {
    let (mut shard, view) = Shard::new(0, 1);
    assert_eq!(shard.insert(new(v4(1), v4(2))), Err(InsertError::Full));
    assert_eq!(find(&shard, v4(1)), None);
    assert_eq!((view.read(0), view.expired(0, Tick(1)), shard.resolve(0, 0)), (None, None, None));
    assert_eq!(shard.scan(&mut 0, &mut 5), None);
}

#[test]
fn a_failed_insert_changes_nothing() {
    let (mut shard, _) = Shard::new(2, 1);
    let id = shard.insert(new(v4(1), v4(2))).unwrap();
    for (original, reply) in [(1, 3), (3, 1), (2, 3), (3, 2), (3, 3)] {
        assert_eq!(shard.insert(new(v4(original), v4(reply))), Err(InsertError::Collision));
    }
    assert_eq!((shard.len(), find(&shard, v4(3))), (1, None));
    assert_eq!(find(&shard, v4(2)), Some((id, Direction::Reply)));
}

#[test]
fn the_same_tuple_from_the_other_realm_is_not_found() {
    let (mut shard, _) = Shard::new(2, 1);
    shard.insert(new(v4(1), v4(2))).unwrap();
    let spoofed = V4Key::new(v4(1).tuple(), Realm::External, 0);
    assert_eq!(find(&shard, spoofed), None);
}

#[test]
fn a_session_holds_what_it_was_made_of() {
    let (mut shard, view) = Shard::new(2, 1);
    let server = Tuple {
        src: [192, 0, 2, 1].into(),
        dst: [203, 0, 113, 9].into(),
        sport: 53,
        dport: 4096,
        protocol: 17,
    };
    let reply = V4Key::new(server, Realm::External, 3);
    let lease = Lease { address: 65534, port: 4096, protocol: 17 };
    let (l3, l4) = (Delta(0x1234), Delta(0x4321));
    let track = TrackWords { words: [1, 2, 3, 4, 5, 6, 7, u32::MAX], flags: 0x8001, scales: 0x7e };
    let plain = new(v4(9), reply);
    let opening = tracker::Opening { track, ..plain.opening };
    let made = NewSession { opening, policy: 3, mark: 0xfeed, lease: Some(lease), l3, l4, ..plain };
    let id = shard.insert(made).unwrap();
    let session = shard.session(id);
    assert_eq!((session.policy(), session.mark(), session.track_words()), (3, 0xfeed, track));
    session.set_track_words(&TrackWords::default());
    assert_eq!(session.track_words(), TrackWords::default());
    assert_eq!((session.l3(Direction::Original), session.l4(Direction::Original)), (l3, l4));
    assert_eq!((session.l3(Direction::Reply), session.l4(Direction::Reply)), (l3.reverse(), l4.reverse()));
    assert_eq!(session.translated(Direction::Original), server.inverse());
    assert_eq!(session.translated(Direction::Reply), v4(9).tuple().inverse());
    assert_eq!((session.created(), session.last_seen()), (Tick(7), Tick(7)));
    assert_eq!(session.lease(), Some(lease));
    assert_eq!(
        view.read(id.index()),
        Some(SessionSnapshot {
            index: 0,
            generation: 2,
            original: v4(9),
            reply,
            protocol: 17,
            state: State::Udp,
            seen_reply: false,
            assured: false,
            last_seen: Tick(7),
            created: Tick(7),
            timeout_ticks: 3000,
            packets: [1, 0],
            bytes: [100, 0],
            lease: Some(lease),
            policy: 3,
            mark: 0xfeed,
            inbound: false,
            unanswered: false,
        })
    );
}

#[test]
fn counters_are_exact_beyond_the_range_of_the_recent_ones_and_start_anew_in_a_reused_slot() {
    let (mut shard, view) = Shard::new(1, 1);
    let id = shard.insert(new(v4(1), v4(2))).unwrap();
    // Largest packets, so that the recent byte counter comes as close to its end as it can.
    for _ in 0..200_000 {
        touch(shard.session(id), Direction::Original, u16::MAX, Tick(8));
    }
    for _ in 0..65_535 {
        touch(shard.session(id), Direction::Reply, u16::MAX, Tick(8));
    }
    let read = view.read(0).unwrap();
    assert_eq!(read.packets, [200_001, 65_535]);
    assert_eq!(read.bytes, [100 + 200_000 * 65_535, 65_535 * 65_535]);
    shard.remove(id);
    assert_eq!(view.read(0), None);
    shard.insert(new(v4(1), v4(2))).unwrap();
    let read = view.read(0).unwrap();
    assert_eq!((read.packets, read.bytes), ([1, 0], [100, 0]));
}

#[test]
fn an_idle_session_is_reported_with_its_generation_until_a_packet_or_its_removal() {
    let (mut shard, view) = Shard::new(1, 1);
    let id = shard.insert(new(v4(1), v4(2))).unwrap();
    assert_eq!(view.expired(0, Tick(7 + 3000)), None);
    assert_eq!(view.expired(0, Tick(7 + 3001)), Some(shard.generation(id)));
    track(shard.session(id), Direction::Original, &Observed::Udp, 28, Tick(3000), &Policy::default())
        .unwrap();
    assert_eq!(view.expired(0, Tick(7 + 3001)), None);
    assert_eq!(view.expired(0, Tick(6001)), Some(shard.generation(id)));
    shard.remove(id);
    assert_eq!(view.expired(0, Tick(6001)), None);
}

#[test]
fn a_session_moves_to_the_list_of_its_class_when_its_packets_change_it() {
    let (mut shard, _) = Shard::new(4, 1);
    let ids: Vec<_> = (0..3).map(|n| shard.insert(new(v4(2 * n), v4(2 * n + 1))).unwrap()).collect();
    assert_eq!((shard.count(Class::Unreplied), shard.oldest(Class::Unreplied)), (3, Some(ids[0])));
    let policy = Policy::default();
    let answer = |shard: &Shard<V4Key>, direction| {
        track(shard.session(ids[0]), direction, &Observed::Udp, 60, Tick(8), &policy).unwrap();
    };
    answer(&shard, Direction::Reply);
    shard.reclassify(ids[0]);
    assert_eq!(
        (shard.oldest(Class::Unreplied), shard.oldest(Class::Unassured)),
        (Some(ids[1]), Some(ids[0]))
    );
    answer(&shard, Direction::Original);
    shard.reclassify(ids[0]);
    assert_eq!((shard.oldest(Class::Unassured), shard.count(Class::Assured)), (None, 1));
    assert_eq!(shard.oldest(Class::Assured), None, "never evicted");
    let protected = shard.insert(NewSession { protected: true, ..new(v4(8), v4(9)) }).unwrap();
    assert_eq!((shard.session(protected).class(), shard.count(Class::Protected)), (Class::Protected, 1));
    for id in ids.into_iter().chain([protected]) {
        shard.remove(id);
    }
    assert!(Class::ALL.iter().all(|class| shard.count(*class) == 0 && shard.oldest(*class).is_none()));
}

#[test]
fn a_session_takes_152_bytes_on_the_workers_side() {
    assert_eq!(Shard::<V4Key>::BYTES_PER_SESSION, 152);
}

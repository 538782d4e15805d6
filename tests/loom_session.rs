//! What a worker and a reader share, under every interleaving and every value that relaxed loads may return.
//!
//! ```text
//! RUSTFLAGS="--cfg natgate_loom" CARGO_TARGET_DIR=target/loom \
//!     cargo test --no-default-features --test loom_session
//! ```
//!
//! Proved, for one write or two against one reader: what a reader copies under a generation is one session, whole;
//! the copy of an earlier user of the slot never carries a later generation; a timeout that shrinks never makes a
//! session look expired; settling the counters neither loses nor doubles anything.
//!
//! Not proved: the exchange of messages by which the management core asks the worker to remove a session; more
//! than one reader (readers write nothing, so they can not disturb each other); generations that wrap around;
//! and loom's own limits. The copy of a whole session makes too many loads to try every combination of their values,
//! so the two models that take one are bounded in time; the protocol that they rest on is checked to the end.

#![cfg(natgate_loom)]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that panics has failed, as it should")]

use loom::thread;
use natgate::conntrack::key::FlowKey;
use natgate::conntrack::policy::Policy;
use natgate::conntrack::seqlock::SeqCount;
use natgate::conntrack::session::{Direction, Lease, NewSession, Shape};
use natgate::conntrack::table::{SessionView, Shard};
use natgate::conntrack::timeouts::Timeout;
use natgate::conntrack::tracker::{self, Observed, touch, track};
use natgate::sync::{AtomicU64, Ordering};
use natgate::time::Tick;
use natgate::wire::checksum::Delta;
use std::sync::Arc;
use std::time::Duration;

/// A key of one word: the model checker pays for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key(u64);

impl FlowKey for Key {
    type Words = AtomicU64;

    fn store(&self, words: &AtomicU64) {
        words.store(self.0, Ordering::Relaxed);
    }

    fn load(words: &AtomicU64) -> Self {
        Key(words.load(Ordering::Relaxed))
    }

    fn is_stored_in(&self, words: &AtomicU64) -> bool {
        *self == Self::load(words)
    }

    fn hash(&self, _: u64) -> u64 {
        self.0
    }

    fn protocol(&self) -> u8 {
        6
    }

    fn destination_port(&self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// The `n`-th user of the slot: everything in it tells which.
fn user(n: u16) -> NewSession<Key> {
    NewSession {
        original: Key(u64::from(n) * 10),
        reply: Key(u64::from(n) * 10 + 1),
        opening: tracker::open(&Observed::Udp, &Policy::default(), 0).expect("UDP opens"),
        now: Tick(u32::from(n)),
        length: n,
        policy: 0,
        mark: u32::from(n),
        protected: false,
        lease: Some(Lease { address: n, port: n * 10 + 1, protocol: 6 }),
        shape: Shape::default(),
        l3: Delta(n),
        l4: Delta(n),
    }
}

fn shard() -> (Shard<Key>, SessionView<Key>) {
    let (mut shard, view) = Shard::new(1, 0);
    shard.insert(user(1)).expect("the table is empty");
    (shard, view)
}

#[test]
fn a_copy_under_a_sequence_number_is_whole_and_of_that_number() {
    struct Pair(SeqCount, AtomicU64, AtomicU64);

    loom::model(|| {
        let pair = Arc::new(Pair(SeqCount::written(), AtomicU64::new(0), AtomicU64::new(0)));
        let reader = thread::spawn({
            let pair = Arc::clone(&pair);
            move || {
                let copy = || (pair.1.load(Ordering::Relaxed), pair.2.load(Ordering::Relaxed));
                if let Ok((number, (first, second))) = pair.0.try_read(copy) {
                    assert_eq!((first, second), (number.into(), number.into()));
                }
            }
        });
        for number in [2, 4] {
            pair.0.begin_write();
            pair.1.store(number, Ordering::Relaxed);
            pair.2.store(number, Ordering::Relaxed);
            pair.0.end_write();
        }
        reader.join().expect("the reader's checks hold");
    });
}

#[test]
fn a_timeout_that_shrinks_never_makes_a_session_look_expired() {
    loom::model(|| {
        let (shard, view) = shard();
        let mut policy = Policy::default();
        policy.timeout_sets[0].set(Timeout::Udp, Duration::from_secs(7440));
        policy.timeout_sets[0].set(Timeout::UdpStream, Duration::from_secs(240));
        let id = shard.resolve(0, 2).expect("it lives");
        let worker_session = shard.session(id);
        let udp = |direction, now| {
            track(worker_session, direction, &Observed::Udp, 40, Tick(now), &policy).expect("it passes")
        };
        udp(Direction::Original, 3);
        // An hour later: far beyond the timeout of a stream, far below that before the answer.
        let reader = thread::spawn(move || assert_eq!(view.expired(0, Tick(36_000)), None));
        udp(Direction::Reply, 36_000);
        reader.join().expect("the reader's checks hold");
    });
}

#[test]
fn a_removed_session_is_not_reported_under_the_generation_of_the_next() {
    loom::model(|| {
        let (mut shard, view) = shard();
        let reader = thread::spawn(move || {
            // The first user is long expired, the second is fresh.
            assert!(matches!(view.expired(0, Tick(5_000)), None | Some(2)));
        });
        let id = shard.resolve(0, 2).expect("it lives");
        shard.remove(id);
        shard.insert(NewSession { now: Tick(5_000), ..user(2) }).expect("there is room");
        reader.join().expect("the reader's checks hold");
    });
}

#[test]
fn settling_the_counters_neither_loses_nor_doubles_anything() {
    bounded().check(|| {
        let (shard, view) = shard();
        let id = shard.resolve(0, 2).expect("it lives");
        let reader = thread::spawn(move || {
            if let Some(read) = view.read(0) {
                // The second packet has no bytes: the sum is the same at every moment.
                assert_eq!(read.bytes, [1, 0]);
                assert!((1..=2).contains(&read.packets[0]));
            }
        });
        touch(shard.session(id), Direction::Original, 0, Tick(2));
        reader.join().expect("the reader's checks hold");
    });
}

#[test]
fn a_reader_sees_one_user_of_a_slot_or_none() {
    bounded().check(|| {
        let (mut shard, view) = shard();
        let reader = thread::spawn(move || {
            if let Some(read) = view.read(0) {
                let n = match read.generation {
                    2 => 1,
                    4 => 2,
                    other => panic!("generation {other}"),
                };
                let expected = user(n);
                assert_eq!((read.original, read.reply), (expected.original, expected.reply));
                assert_eq!((read.created, read.last_seen), (expected.now, expected.now));
                assert_eq!(read.lease, expected.lease);
                assert_eq!((read.packets, read.bytes), ([1, 0], [n.into(), 0]));
            }
        });
        let id = shard.resolve(0, 2).expect("it lives");
        shard.remove(id);
        shard.insert(user(2)).expect("there is room");
        reader.join().expect("the reader's checks hold");
    });
}

/// At most three preemptions and twenty seconds.
fn bounded() -> loom::model::Builder {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_duration = Some(Duration::from_secs(20));
    model
}

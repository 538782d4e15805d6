//! What a worker and the management core tell each other, under every interleaving that the memory model allows.
//!
//! ```text
//! RUSTFLAGS="--cfg natgate_loom" CARGO_TARGET_DIR=target/loom \
//!     cargo test --release --no-default-features --test loom_exchange
//! ```
//!
//! Proved, for a ring that gives what is written before a push to whoever sees it popped (the contract of `rtrb`, whose
//! own code is not under the checker; the ring here is the plainest one with that contract): a session that was posted
//! is whole when the management core reads it; a session whose post was lost is seen by the sweep that the loss
//! starts; one that was found idle and is active again is not removed; a message never removes the next user of a
//! slot; a configuration is freed by the management core alone, and not before every worker has left it.
//!
//! Not proved: more than two threads, more messages than a few, rings that wrap more than once.

#![cfg(natgate_loom)]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that panics has failed, as it should")]

use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use loom::thread;
use natgate::conntrack::key::FlowKey;
use natgate::conntrack::policy::Policy;
use natgate::conntrack::session::{Direction, NewSession, Shape};
use natgate::conntrack::table::{SessionView, Shard};
use natgate::conntrack::tracker::{self, Observed, touch};
use natgate::pipeline::handover::{Handover, Revision, Running};
use natgate::sync::AtomicU64;
use natgate::time::Tick;
use natgate::wire::checksum::Delta;
use std::sync::{Arc, Mutex};

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
        17
    }

    fn destination_port(&self) -> u16 {
        1
    }
}

const CREATED: Tick = Tick(100);
/// Long after a session without packets has ended.
const LATER: Tick = Tick(1_000_000);

fn new(n: u64, now: Tick) -> NewSession<Key> {
    NewSession {
        original: Key(2 * n),
        reply: Key(2 * n + 1),
        opening: tracker::open(&Observed::Udp, &Policy::default(), 0).expect("UDP opens"),
        now,
        length: 60,
        policy: 0,
        mark: 0,
        protected: false,
        lease: None,
        shape: Shape::default(),
        l3: Delta::ZERO,
        l4: Delta::ZERO,
    }
}

/// The plainest ring with one writer and one reader: two places.
#[derive(Default)]
struct Ring {
    places: [(AtomicU32, AtomicU32); 2],
    pushed: AtomicU32,
    popped: AtomicU32,
}

impl Ring {
    fn push(&self, message: (u32, u32)) -> bool {
        let at = self.pushed.load(Ordering::Relaxed);
        if at - self.popped.load(Ordering::Acquire) == 2 {
            return false;
        }
        let place = &self.places[at as usize % 2];
        place.0.store(message.0, Ordering::Relaxed);
        place.1.store(message.1, Ordering::Relaxed);
        self.pushed.store(at + 1, Ordering::Release);
        true
    }

    fn pop(&self) -> Option<(u32, u32)> {
        let at = self.popped.load(Ordering::Relaxed);
        if at == self.pushed.load(Ordering::Acquire) {
            return None;
        }
        let place = &self.places[at as usize % 2];
        let message = (place.0.load(Ordering::Relaxed), place.1.load(Ordering::Relaxed));
        self.popped.store(at + 1, Ordering::Release);
        Some(message)
    }
}

fn shard() -> (Shard<Key>, SessionView<Key>) {
    Shard::new(2, 0)
}

#[test]
fn what_is_pushed_is_popped_whole_in_order_and_never_twice() {
    loom::model(|| {
        let ring = Arc::new(Ring::default());
        let reader = thread::spawn({
            let ring = ring.clone();
            move || {
                let mut next = 1;
                for _ in 0..3 {
                    if let Some(message) = ring.pop() {
                        assert_eq!(message, (next, next * 10));
                        next += 1;
                    }
                }
            }
        });
        for n in 1..=3 {
            if !ring.push((n, n * 10)) {
                break;
            }
        }
        reader.join().expect("the reader's checks hold");
    });
}

#[test]
fn a_posted_session_is_whole_when_the_management_core_reads_it() {
    loom::model(|| {
        let (mut shard, view) = shard();
        let ring = Arc::new(Ring::default());
        let management = thread::spawn({
            let ring = ring.clone();
            move || {
                if let Some((index, _)) = ring.pop() {
                    let idle = view.idle(index).expect("it was published before it was posted");
                    assert_eq!((idle.last_seen, idle.timeout_ticks), (CREATED, 3000));
                }
            }
        });
        let id = shard.insert(new(1, CREATED)).expect("there is room");
        ring.push((id.index(), 0));
        management.join().expect("its checks hold");
    });
}

#[test]
fn a_session_whose_post_was_lost_is_seen_by_the_sweep_that_the_loss_starts() {
    loom::model(|| {
        let (mut shard, view) = shard();
        let lost = Arc::new(AtomicU32::new(0));
        let management = thread::spawn({
            let lost = lost.clone();
            move || {
                if lost.load(Ordering::Relaxed) > 0 {
                    fence(Ordering::Acquire);
                    assert!(view.idle(0).is_some() || view.idle(1).is_some(), "the sweep sees it");
                }
            }
        });
        shard.insert(new(1, CREATED)).expect("there is room");
        fence(Ordering::Release);
        lost.store(lost.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        management.join().expect("its checks hold");
    });
}

/// The management core looks for an idle session at the first place, and asks for its removal.
fn ask_for_removal(view: &SessionView<Key>, ring: &Ring) {
    if let Some(generation) = view.expired(0, LATER) {
        ring.push((0, generation));
    }
}

/// The worker removes what it is asked to, if it still is what was meant, and idle.
fn remove_asked(shard: &mut Shard<Key>, ring: &Ring) {
    if let Some((index, generation)) = ring.pop()
        && let Some(id) = shard.resolve(index, generation)
        && shard.session(id).is_expired(LATER)
    {
        shard.remove(id);
    }
}

#[test]
fn a_session_that_was_found_idle_and_is_active_again_is_not_removed() {
    loom::model(|| {
        let (mut shard, view) = shard();
        let id = shard.insert(new(1, CREATED)).expect("there is room");
        let ring = Arc::new(Ring::default());
        let management = thread::spawn({
            let ring = ring.clone();
            move || ask_for_removal(&view, &ring)
        });
        touch(shard.session(id), Direction::Original, 60, LATER);
        remove_asked(&mut shard, &ring);
        assert_eq!(shard.len(), 1, "it was active a moment ago");
        management.join().expect("it ends");
        remove_asked(&mut shard, &ring);
        assert_eq!(shard.len(), 1, "it was active a moment ago");
    });
}

#[test]
fn a_message_about_a_session_never_removes_the_next_user_of_its_slot() {
    loom::model(|| {
        let (mut shard, view) = shard();
        let id = shard.insert(new(1, CREATED)).expect("there is room");
        let ring = Arc::new(Ring::default());
        let management = thread::spawn({
            let ring = ring.clone();
            move || ask_for_removal(&view, &ring)
        });
        shard.remove(id);
        // As idle as the first, to make it hard.
        let next = shard.insert(new(2, CREATED)).expect("there is room");
        assert_eq!(next.index(), id.index());
        let generation = shard.generation(next);
        management.join().expect("it ends");
        if let Some((index, meant)) = ring.pop() {
            assert_eq!(shard.resolve(index, meant).is_some(), meant == generation);
        }
    });
}

/// A configuration that knows who may free it, and tells whether it was.
struct Configuration {
    number: u64,
    freed: Arc<AtomicBool>,
    owner: thread::ThreadId,
}

impl Drop for Configuration {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.owner, "only the management core frees");
        self.freed.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_configuration_is_freed_by_the_management_core_alone_and_not_before_the_worker_has_left_it() {
    loom::model(|| {
        let owner = thread::current().id();
        let freed: [Arc<AtomicBool>; 2] = Default::default();
        let make = |number: u64| {
            let freed = freed[number as usize].clone();
            Arc::new(Configuration { number, freed, owner })
        };
        let revision = Revision::default();
        let first = make(0);
        let mut handover = Handover::new(first.clone(), vec![revision.clone()]);
        let mut running = Running::new(first, revision);
        let mail: Arc<Mutex<Option<Arc<Configuration>>>> = Arc::default();
        let posted = Arc::new(AtomicBool::new(false));
        let worker = thread::spawn({
            let (mail, posted) = (mail.clone(), posted.clone());
            move || {
                for _ in 0..2 {
                    if posted.load(Ordering::Acquire)
                        && let Some(next) = mail.lock().expect("no panic").take()
                    {
                        running.adopt(next, 1);
                    }
                    // The burst reads its configuration.
                    let configuration = running.get();
                    assert!(!configuration.freed.load(Ordering::Relaxed), "{}", configuration.number);
                }
                running
            }
        });
        handover.publish(make(1));
        *mail.lock().expect("no panic") = Some(handover.current().clone());
        posted.store(true, Ordering::Release);
        handover.free_left();
        let running = worker.join().expect("its checks hold");
        // What the worker took or left is settled now: one is freed exactly if it runs the other.
        handover.free_left();
        assert_eq!(freed[0].load(Ordering::Relaxed), running.get().number == 1);
        drop((running, handover));
        drop(mail.lock().expect("no panic").take());
    });
}

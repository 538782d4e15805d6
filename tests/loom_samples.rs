//! A sample of a dropped packet, written by a worker and read by the control thread, under every interleaving and every
//! value that relaxed loads may return.
//!
//! ```text
//! RUSTFLAGS="--cfg natgate_loom" CARGO_TARGET_DIR=target/loom \
//!     cargo test --no-default-features --test loom_samples
//! ```
//!
//! Proved, for one writer of two samples in one place and one reader: what is read is one of the two, whole.
//!
//! Not proved: longer frames than a word (all words are written between the same two stores), more than one reader
//! (readers write nothing), sequence numbers that wrap around.

#![cfg(natgate_loom)]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that panics has failed, as it should")]

use loom::thread;
use natgate::ids::InterfaceId;
use natgate::telemetry::samples::{Dropped, Place, Ring};
use natgate::time::Time;
use std::sync::Arc;

/// The `n`-th sample: everything in it tells which.
fn write(ring: &Ring, n: u8) {
    let frame = [n; 3];
    let dropped = Dropped {
        frame: frame.get(..usize::from(n)).expect("three at the most"),
        place: Place::In(InterfaceId(n)),
        rule: Some(u32::from(n)),
        state: Some(n),
    };
    ring.write(0, u64::from(n), Time::from_nanos(u64::from(n)), &dropped);
}

#[test]
fn a_reader_sees_one_sample_whole_or_none() {
    loom::model(|| {
        let ring = Arc::new(Ring::default());
        write(&ring, 1);
        let reader = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for sample in ring.read() {
                    let n = u8::try_from(sample.number).expect("1 or 2");
                    assert!(n == 1 || n == 2);
                    assert_eq!(sample.at, Time::from_nanos(u64::from(n)));
                    assert_eq!((sample.place, sample.length), (Place::In(InterfaceId(n)), u32::from(n)));
                    assert_eq!((sample.rule, sample.state), (Some(u32::from(n)), Some(n)));
                    assert_eq!(sample.head, vec![n; usize::from(n)]);
                }
            })
        };
        write(&ring, 2);
        reader.join().expect("the reader did not panic");
    });
}

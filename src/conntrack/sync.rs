//! Atomics from the standard library, or from loom when its model checker runs (`--cfg natgate_loom`).
//!
//! Only what sessions share between threads goes through here: everything else in a shard is private to its
//! worker.

#[cfg(natgate_loom)]
pub use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(natgate_loom))]
pub use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

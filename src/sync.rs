//! Atomics from the standard library, or from loom when its model checker runs (`--cfg natgate_loom`).
//!
//! Only what the model checker is to see goes through here: sessions, and the hand-over of configurations.

#[cfg(natgate_loom)]
pub use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(natgate_loom))]
pub use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

//! Counters, samples of what was dropped, and the lists of drop reasons, evictions, causes of handoffs and what ALGs do.
//!
//! A counter has one writer (its worker or the management core) and any number of readers: a relaxed load
//! and store, never a locked instruction.

pub mod alg;
pub mod counters;
pub mod drops;
pub mod evictions;
pub mod handoffs;
pub mod notrack;
pub mod per_worker;
pub mod samples;

pub use alg::AlgEvent;
pub use counters::{BURST_FILL_BOUNDS, Counter, InterfaceCounters, SESSION_CLASSES, WorkerCounters};
pub use drops::DropReason;
pub use evictions::Eviction;
pub use handoffs::HandoffCause;
pub use per_worker::{BLOCKS, PerWorker, PortsUsed};

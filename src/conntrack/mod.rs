//! Connection tracking: which conversation a packet belongs to and what state it is in. Pure.
//!
//! # Overview
//!
//! | file | concept |
//! |---|---|
//! | [`key`] | what a packet is looked up by: [`key::V4Key`], [`key::V6Key`] |
//! | [`session`] | one conversation, both directions, in shared memory |
//! | [`class`] | what a session is worth when room is needed |
//! | [`seqlock`] | how a reader knows that what it copied is whole |
//! | [`idle`] | what decides when a session ends |
//! | `index` | from hash to session; private to the worker |
//! | [`table`] | the [`table::Shard`] of a worker and the [`table::SessionView`] of everybody else |
//! | [`tracker`] | what a packet does to its session, whatever its protocol |
//! | [`tcp`], [`tcp_segment`], [`tcp_window`] | TCP: the table of states, a segment, the sequence numbers that can be |
//! | [`sctp`], [`dccp`] | SCTP and DCCP: the tables of states, verification tags |
//! | [`timeouts`] | the idle timeouts |
//! | [`policy`] | what the operator allows: timeout sets, limits |
//! | [`wheel`] | the timers, kept on the management core |
//! | [`pressure`] | what a full table does: who comes in, who goes, whose timeout shrinks |
//! | [`sources`] | sessions and new sessions a second of each source address |
//! | [`mod@line`] | a session as the classic conntrack line |
//!
//! # Life of a session
//!
//! 1. A packet has a key that no session has. [`tracker::open`] says whether it may open one; policy and port
//!    allocation (elsewhere) find the key of the answers; [`table::Shard::insert`] publishes the complete session.
//! 2. Each packet with one of the two keys: [`table::Shard::lookup`], then [`tracker::track`].
//! 3. The management core keeps its timer in a [`wheel::Wheel`], finds by [`table::SessionView::idle`] that it was idle
//!    for too long and sends index and generation to the worker, which makes sure ([`table::Shard::resolve`],
//!    [`session::Session::is_expired`]) and calls [`table::Shard::remove`]; the lease that this gives back is released.
//!
//! # Ownership and ordering
//!
//! A shard and its sessions are written by one worker. Sessions are relaxed atomics in an `Arc<[Session]>`; others
//! read them through the sequence number that is also the session's generation. [`seqlock`] states the memory
//! ordering, [`session`] states what is consistent with what. Nothing here allocates after [`table::Shard::new`]
//! but [`mod@line`], which runs on the side of the readers. No clock is read: the time is a parameter.

pub mod class;
pub mod dccp;
pub mod idle;
pub(crate) mod index;
pub mod key;
pub mod line;
pub mod policy;
pub mod pressure;
pub mod sctp;
pub mod seqlock;
pub mod session;
pub mod sources;
pub mod table;
pub mod tcp;
#[cfg(test)]
mod tcp_model_tests;
pub mod tcp_segment;
pub mod tcp_window;
#[cfg(test)]
mod testing;
pub mod timeouts;
pub mod tracker;
pub mod wheel;

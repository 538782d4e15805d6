//! `natgate bench`: measures a NAT from outside.
//!
//! What was measured goes into a [`report`].

pub mod report;

//! Connection tracking: which conversation a packet belongs to and what state it is in. Pure.

pub mod timeouts;

//! What the RFCs demand of a NAT, a test for each row of [`matrix.tsv`](matrix.tsv), and the table that says so.
//!
//! `matrix.tsv` has the requirements and how each is tested, [`outcomes.tsv`](outcomes.tsv) what becomes of each:
//!
//! | outcome | next column | last column |
//! |---|---|---|
//! | `pass` | its tests, which are functions in the files here | what is worth saying, or nothing |
//! | `no` | nothing, or a test of what happens instead | why not |
//! | `waits` | nothing, or a test of the part that there is | for what |
//!
//! [`table`] holds the two and the tests together and makes `docs/conformance.md` of them. [`lab`] plays the scripts of the
//! scenarios as black boxes: what a host sends and what others receive is compared, counters are not unless a script
//! names them. The names in scripts are those of the matrix: hosts C1 and C2 inside, S1a and S1b (one network) and S2
//! outside, a router R1 on the way to them, and the gateway's addresses G inside and X outside.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the stage is shared with the scenarios; a test ends at the first surprise"
)]

#[path = "../scenarios/harness.rs"]
mod harness;
#[path = "../scenarios/packet.rs"]
mod packet;
#[path = "../scenarios/script.rs"]
mod script;
#[path = "../scenarios/shape.rs"]
mod shape;
#[path = "../scenarios/transport.rs"]
mod transport;

#[path = "../scenarios/alg/dialogue.rs"]
mod dialogue;
mod lab;
mod table;

mod others;
mod rfc1812;
mod rfc3022;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc5597;
mod rfc6888;
mod rfc7857;

//! Scenarios: the whole pipeline on devices in memory, with a virtual clock.
//!
//! Every scenario is a script that reads like the manual: what a host sends, what the others receive, what is
//! dropped and why. It is played in every [`shape`]: with one to four workers, in every plan, and on NICs that do not do
//! what they say, and must come out the same. [`harness`] plays scripts, [`packet`] is their language; the other files are
//! the scenarios.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test ends at the first surprise"
)]

mod harness;
mod packet;
mod phy;
mod script;
mod shape;
mod transport;

mod alg;
mod conversation;
mod equality;
mod explain;
mod faces;
mod faults;
mod fitting;
mod forwarding;
mod fragments;
mod health;
mod icmp_errors;
mod limits;
mod mappings;
mod neighbors;
mod notrack;
mod port_blocks;
mod pressure;
mod protocols;
mod reload;
mod rules;
mod services;
mod source_rules;
mod statics;
mod steering;
mod syn_proxy;
mod timers;
mod tracking;
mod translation;
mod unsolicited;
mod watching;
mod zones;

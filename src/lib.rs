//! natgate: a stateful NAT gateway on DPDK.
//!
//! # The map of the house
//!
//! Dependencies point one way: a module may use those that stand above it.
//!
//! | module | what it is |
//! |---|---|
//! | [`ids`], [`zone`], [`time`], [`telemetry`] | newtypes, address spaces, time as a value, counters and the one list of drop reasons |
//! | [`memory`], [`prefetch`], [`sync`] | large tables in huge pages, hints to the cache, atomics that can be checked |
//! | [`wire`] | checked header views, checksum arithmetic. Pure |
//! | [`packet`] | `PacketBuf`, `Packet<Raw>` to `Packet<Parsed>`: bytes become checked types here |
//! | [`device`] | `Device`: bursts of frames in and out. `mem`, `fault`, `pcap`, `dpdk` |
//! | [`conntrack`] | tuple key, session table, trackers, timeouts. Pure |
//! | [`nat`] | pools, port allocation, rewrite, ICMP errors, fragments. Pure |
//! | [`classify`] | rules: what is translated and how, martians. Pure |
//! | [`route`] | longest prefix match, next hops, neighbours. Pure |
//! | [`steering`] | which worker owns a packet. Pure |
//! | [`pipeline`] | a worker's burst, stage by stage: `Worker::poll_once(now)` |
//! | [`management`] | the management core: neighbours, expiry, announcements |
//! | [`config`] | TOML as written to a checked `Config`, and that to a `Snapshot` |
//! | [`control`] | HTTP/JSON on a UNIX socket, and its client |
//! | [`runtime`] | start, pin, run, stop |
//! | [`lab`] | network namespaces with real clients, for `natgate demo` and the tests |
//! | [`mod@bench`] | `natgate bench`: traffic, checks and results |
//! | [`cli`] | the commands |
//!
//! Time is a parameter and is never read in the core. A worker allocates nothing after start-up, takes no
//! lock, makes no system call and logs nothing. `unsafe` lives in `device::dpdk` and in
//! [`memory`] and [`prefetch`].

// The models of `tests/loom_*.rs` reach nothing that is marked like `cli`: without it they are built in a fraction of the time.
#[cfg(not(any(natgate_loom, natgate_core)))]
pub mod bench;
pub mod classify;
#[cfg(not(any(natgate_loom, natgate_core)))]
pub mod cli;
#[cfg(not(natgate_loom))]
pub mod config;
pub mod conntrack;
#[cfg(not(any(natgate_loom, natgate_core)))]
pub mod control;
pub mod device;
pub mod ids;
#[cfg(not(any(natgate_loom, natgate_core)))]
pub mod lab;
#[cfg(not(natgate_loom))]
pub mod management;
pub mod memory;
pub mod nat;
pub mod packet;
pub mod pipeline;
pub mod prefetch;
pub mod route;
#[cfg(not(any(natgate_loom, natgate_core)))]
pub mod runtime;
pub mod steering;
pub mod sync;
pub mod telemetry;
pub mod time;
pub mod wire;
pub mod zone;

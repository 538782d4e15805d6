//! The control socket: HTTP/JSON on a UNIX socket, and its client.
//!
//! # Overview
//!
//! | file | what it is |
//! |---|---|
//! | [`state`] | [`ControlState`]: what the runtime hands over when it starts the server |
//! | [`api`] | the answers as types; the server writes them and the client reads them |
//! | [`socket`] | the socket file: owner-only from its creation, one gateway a path, stale files replaced |
//! | [`server`] | the thread, the connections and their limits |
//! | [`routes`] | which path gives which answer |
//! | [`sessions`] | the session list, written one line at a time |
//! | [`client`] | a blocking client for the command line |
//!
//! `docs/control.md` describes the endpoints for users.
//!
//! # Ownership
//!
//! The server runs in one thread of its own, which only reads: workers' counters (relaxed loads), session tables
//! (through `SessionView`'s seqlock) and what the management core publishes (the neighbours, under a mutex that
//! no worker knows of). Nothing here can make a worker wait. The thread owns the listening socket and, until
//! it stops, the socket file.
//!
//! # Who may talk to it
//!
//! Whoever may open the socket file, which is its owner alone (mode 0600). There is no other authentication.

pub mod api;
pub mod client;
pub mod routes;
pub mod server;
pub mod sessions;
pub mod socket;
pub mod state;

pub use client::Client;
pub use server::Server;
pub use state::ControlState;

/// Where the socket is if the config does not say otherwise.
pub const DEFAULT_SOCKET: &str = "/run/natgate/control.sock";

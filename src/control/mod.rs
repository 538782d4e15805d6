//! The control socket: HTTP/JSON on a UNIX socket, and its client.
//!
//! # Overview
//!
//! | file | what it is |
//! |---|---|
//! | [`state`] | [`ControlState`]: what the runtime hands over when it starts the server |
//! | [`running`] | the configuration that runs |
//! | [`publish`] | what the management core publishes for it |
//! | [`api`] | the answers as types; the server writes them and the client reads them |
//! | [`socket`] | the socket file: owner-only from its creation, one gateway a path, stale files replaced |
//! | [`server`] | the thread, the connections and their limits |
//! | [`routes`], [`session_routes`], `steering` | which path gives which answer |
//! | [`openapi`] | the description of all that, made from the handlers and the types |
//! | `listings`: [`rules`] (`classes`, `inline`), [`pools`], [`blocks`], [`route_list`], [`backends`] | what the configuration is made of, and what became of it |
//! | [`explain`] | what would become of a packet |
//! | [`query`], [`filter`] | what a request may say: one language for lists, counts and deletion |
//! | [`walk`] | a walk through the session tables that lets others have their turn |
//! | [`sessions`] | the session list, written one line at a time |
//! | [`advise`] | which services would do better without sessions |
//! | [`tally`] | sessions counted by what they have in common: who fills the table |
//! | [`reload`] | a new configuration: checked, compared, handed to all workers or to none |
//! | [`streams`], [`sse`] | what happens, told while it does |
//! | [`samples`], [`decode`] | dropped packets to look at |
//! | [`delete`] | deletion: the workers are told what to remove |
//! | [`metrics`] | everything that is counted, for Prometheus |
//! | [`watch`], [`one_way`] | whether every part still turns, and packets of notrack classes go both ways |
//! | [`client`] | a blocking client for the command line |
//!
//! `docs/control.md` describes the endpoints for users.
//!
//! # Ownership
//!
//! The server runs in one thread of its own. It reads workers' counters (relaxed loads), session tables
//! (through `SessionView`'s seqlock) and what the management core publishes (the neighbours, under a mutex that
//! no worker knows of). It changes nothing itself: what has to go is named to the management core
//! (`management::commands`), over a bounded channel. Nothing here can make a worker wait. The thread owns the listening
//! socket and, until it stops, the socket file.
//!
//! # Who may talk to it
//!
//! Whoever may open the socket file, which is its owner alone (mode 0600). There is no other authentication.

pub mod advise;
pub mod api;
pub mod backends;
pub mod blocks;
mod classes;
pub mod client;
pub mod decode;
pub mod delete;
pub mod explain;
pub mod filter;
mod inline;
mod listings;
pub mod metrics;
pub mod one_way;
pub mod openapi;
pub mod pools;
pub mod publish;
pub mod query;
pub mod reload;
pub mod route_list;
pub mod routes;
pub mod rules;
pub mod running;
pub mod samples;
pub mod server;
pub mod session_routes;
pub mod sessions;
pub mod socket;
pub mod sse;
pub mod state;
mod steering;
pub mod streams;
pub mod tally;
pub mod walk;
pub mod watch;

pub use client::Client;
pub use server::Server;
pub use state::ControlState;

pub use crate::config::DEFAULT_SOCKET;

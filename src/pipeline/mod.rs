//! The worker's pipeline: a burst of frames in, every packet to exactly one verdict.
//!
//! ```text
//!   receive ---> parse ---> ARP? echo to us? ---------------------------------> answer
//!                  |
//!                  +--> fragment? ---> its collector learns or fills in the ports
//!                  |
//!                  +--> notrack class? ---> verdict, rewrite, send: no owner, no session
//!                  |
//!                  +--> owner ---> (another worker: handoff ring)
//!                          |
//!                  lookup: hit --------+--> TTL, route, MTU, neighbour --> track / set up --> rewrite --> send
//!                          miss: policy+        (nothing is changed before all of them passed)
//! ```
//!
//! Ownership: everything in a [`Worker`] belongs to its thread. It shares only its counters and session records
//! (relaxed atomics that it alone writes), and the ends of rings.
//!
//! Order: a packet is checked completely before it is touched. A refusal can thus quote it as it came
//! (RFC 1812 4.3.2.3), a packet that waits for a neighbour goes through the same path again when the answer
//! comes, and no session is made for a packet that can not be sent.
//!
//! | file | stage |
//! |---|---|
//! | [`snapshot`] | the configuration as workers read it |
//! | [`handover`] | how workers get a new configuration, and who frees the old one |
//! | [`message`] | what workers and the management core tell each other |
//! | [`mesh`] | the handoff rings between workers |
//! | [`worker`] | the worker and its burst |
//! | `receive` | frames in, local answers, owner, fragments |
//! | `forward` | the fast path: lookup, checks, rewrite |
//! | [`plan`] | what is to become of a packet without a session: which rule |
//! | [`stateless`] | packets of notrack classes, which have no session: what becomes of one |
//! | `untracked` | packets of notrack classes, passed |
//! | `setup` | the slow path: a new session |
//! | `endpoint` | the external endpoint of a session: mapping, port |
//! | `turn` | sessions that came in by a mapping, and hairpinning |
//! | `timers` | posts to the timer wheel |
//! | [`session_events`] | what happens to sessions, for whoever watches |
//! | `admission` | who may have a session, and who has to go for it |
//! | `alg` | control connections of FTP and TFTP: what they say is read, and replaced |
//! | `syn_proxy` | handshakes that the gateway makes before the backend hears of them |
//! | `answer` | ARP, echo, ICMP errors |
//! | `probes` | questions to backends whether they are there |
//! | `fit` | what has to fit a link: segments that a SYN offers, packets that are cut |
//! | `egress` | link header, transmit, verdict |
//! | [`update`] | the memory that another configuration needs |
//! | [`drops`] | drops, counted and some of them kept to look at |
//! | `unsolicited` | connections that nobody waits for, answered late |
//! | `waiting` | packets that wait for a neighbour |

mod admission;
mod alg;
mod answer;
pub mod drops;
mod egress;
mod endpoint;
mod fit;
mod forward;
pub mod handover;
pub mod mesh;
pub mod message;
pub mod plan;
mod probes;
mod receive;
pub mod session_events;
mod setup;
mod short;
pub mod snapshot;
pub mod stateless;
mod syn_proxy;
mod timers;
mod turn;
mod unsolicited;
mod untracked;
pub mod update;
mod waiting;
pub mod worker;

pub use snapshot::Snapshot;
pub use worker::{Worker, WorkerParts, held_frames};

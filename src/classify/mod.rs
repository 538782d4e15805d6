//! Which rule a packet falls under. Pure and immutable: compiled with the snapshot, read by workers.
//!
//! | file | what |
//! |---|---|
//! | [`address_map`] | IPv4 address to a small number, for tests on every packet |
//! | [`interface_mask`] | some of the interfaces |
//! | [`local`] | the addresses that natgate answers to, and the forwards (DNAT) behind them |
//! | [`martian`] | addresses that can not be forwarded |
//! | [`notrack`] | classes of packets that pass without a session |
//! | [`prefix_set`] | a set of addresses given as prefixes |
//! | [`service`] | the backends of a forward, and which of them a client gets |
//! | [`shares`] | whose ports are where blocks or arithmetic share them out |
//! | [`statics`] | addresses and networks that are translated one to one |
//! | [`source_rules`] | source translation rules |
//! | [`untranslated`] | hosts whose sources may leave as they are |
//! | `vectors` | finds the first of many rules: what both classifiers are made of |

pub mod address_map;
pub mod health;
pub mod interface_mask;
pub mod local;
pub mod martian;
pub mod notrack;
pub mod prefix_set;
pub mod service;
pub mod shares;
pub mod source_rules;
pub mod statics;
mod sticky;
pub mod untranslated;
mod vectors;

pub use address_map::AddressMap;
pub use health::{HealthCheck, Patient, ProbeKind};
pub use interface_mask::InterfaceMask;
pub use local::{Backend, Declared, Forward, LocalAddress, LocalAddresses, Source};
pub use prefix_set::PrefixSet;
pub use service::{Affinity, Target, Targets};
pub use shares::Shares;
pub use source_rules::SourceRules;
pub use statics::{Static, Statics};
pub use untranslated::Untranslated;

//! Notrack: classes of packets that pass without a session, by a verdict on each packet alone.
//!
//! A class is written once (`[[notrack]]`, a [`NotrackClass`]) as *clients* that speak to a *service*, and compiled into
//! [`Entry`]s, each of which knows one direction: packets from clients [`There`](Way::There), answers
//! [`Back`](Way::Back), and what is to be refused. So nobody can forget the way back, and none of the two can be used in
//! the other direction. A packet's first entry decides, in the order of the file.
//!
//! | file | what |
//! |---|---|
//! | [`class`] | a class, as the config says it once defaults, presets and names are resolved |
//! | [`entry`] | what a class becomes: which packets, which treatment |
//! | [`classifier`] | finds the first entry for a packet, by way of `classify::vectors` |
//! | [`translate`] | addresses of one prefix to those of another |
//!
//! Immutable: it belongs to the snapshot. What changes while a class runs (its counters, say) is not here.
//!
//! ICMP errors come back on the way of answers but quote what was sent. Their entries are the inverses of those of the
//! packets, with a classifier of their own ([`Notrack::errors`]), so that an error finds the class whichever ports its
//! answers have, or whether it has any.

pub mod class;
pub mod classifier;
pub mod entry;
pub mod translate;

pub use super::InterfaceMask;
pub use class::{
    Addresses, Answers, Existing, NotrackClass, OpenedBy, PeerPolicy, TcpFlags, UNTRACKED_CLASSES, Verdict,
};
pub use classifier::Classifier;
pub use entry::{Entry, Match, Treatment, Way};
pub use translate::PrefixMap;

use super::PrefixSet;

/// Every class, compiled.
#[derive(Debug, Default)]
pub struct Notrack {
    /// Which packets each of `treatments` is for; the same numbers.
    pub matches: Box<[Match]>,
    /// What becomes of packets, by the number that `packets` finds.
    pub treatments: Box<[Treatment]>,
    /// Finds the entry of a packet.
    pub packets: Classifier,
    /// What becomes of ICMP errors, by the number that `errors` finds.
    pub error_treatments: Box<[Treatment]>,
    /// Finds the entry of an ICMP error, by the tuple that [`crate::packet::Parsed`] has for it.
    pub errors: Classifier,
    /// Addresses that only classes translate: the gateway answers ARP for those that lie on a link, and they are nobody's
    /// source.
    pub addresses: PrefixSet,
}

impl Notrack {
    /// Whether there is no class, so that no packet has to be looked at.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.treatments.is_empty()
    }
}

//! Finds the first entry for a packet.

use super::Match;
use crate::classify::PrefixSet;
use crate::ids::InterfaceId;
use crate::packet::Tuple;

/// The most entries of a classifier.
pub const MAX_ENTRIES: usize = 4096;

/// Entries, compiled for a quick answer.
#[derive(Debug, Default)]
pub struct Classifier {
    matches: Box<[Match]>,
    sets: Box<[PrefixSet]>,
}

impl Classifier {
    /// Compiles entries in their order; `sets` are those that they name by number. Entries beyond [`MAX_ENTRIES`] are
    /// not there: the config has no more.
    pub fn new(matches: &[Match], sets: &[PrefixSet]) -> Classifier {
        Classifier { matches: matches.into(), sets: sets.into() }
    }

    /// The number of the first entry for a packet. `flags` are those of a TCP packet with its header
    /// ([`super::entry::flags_of`]).
    #[inline]
    pub fn find(&self, interface: InterfaceId, tuple: &Tuple, flags: Option<u8>) -> Option<u16> {
        let is_in = |set: Option<usize>, address| {
            set.is_none_or(|set| self.sets.get(set).is_some_and(|set| set.contains(address)))
        };
        let holds = |entry: &Match| {
            entry.arrive.contains(interface)
                && (entry.protocols.is_empty() || entry.protocols.contains(&tuple.protocol))
                && is_in(entry.src, tuple.src)
                && is_in(entry.dst, tuple.dst)
                && (entry.sports.is_empty() || entry.sports.iter().any(|range| range.contains(&tuple.sport)))
                && (entry.dports.is_empty() || entry.dports.iter().any(|range| range.contains(&tuple.dport)))
                && entry.flags.is_none_or(|wanted| flags.is_some_and(|flags| wanted.hold(flags)))
        };
        self.matches.iter().position(holds).and_then(|at| u16::try_from(at).ok())
    }
}

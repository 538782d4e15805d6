//! The first entry for a packet, found by asking one after the other: what the classifier is compared with.

use natgate::classify::PrefixSet;
use natgate::classify::notrack::Match;
use natgate::ids::InterfaceId;
use natgate::packet::Tuple;

/// The number of the first entry for a packet.
pub(crate) fn first_match(
    entries: &[Match],
    sets: &[PrefixSet],
    interface: InterfaceId,
    tuple: &Tuple,
    flags: Option<u8>,
) -> Option<u16> {
    let is_in = |set: Option<usize>, address| {
        set.is_none_or(|set| sets.get(set).is_some_and(|set| set.contains(address)))
    };
    let holds = |entry: &Match| {
        entry.arrive.contains(interface)
            && (entry.protocols.is_empty() || entry.protocols.contains(&tuple.protocol))
            && (entry.sports.is_empty() || entry.sports.iter().any(|range| range.contains(&tuple.sport)))
            && (entry.dports.is_empty() || entry.dports.iter().any(|range| range.contains(&tuple.dport)))
            && is_in(entry.src, tuple.src)
            && is_in(entry.dst, tuple.dst)
            && entry.flags.is_none_or(|wanted| flags.is_some_and(|flags| wanted.hold(flags)))
    };
    entries.iter().position(holds).and_then(|at| u16::try_from(at).ok())
}

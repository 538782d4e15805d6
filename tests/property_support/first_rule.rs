//! The first source translation rule for a packet, found by asking one after the other: what the compiled rules are compared
//! with.

use natgate::classify::PrefixSet;
use natgate::classify::source_rules::Match;
use natgate::ids::InterfaceId;
use natgate::packet::Tuple;

/// The number of the first rule for a packet that comes in by `arrival` and leaves by `exit`.
pub(crate) fn first_rule(
    rules: &[Match],
    sets: &[PrefixSet],
    (arrival, exit): (InterfaceId, InterfaceId),
    tuple: &Tuple,
) -> Option<u32> {
    let is_in = |set: Option<usize>, address| {
        set.is_none_or(|set| sets.get(set).is_some_and(|set| set.contains(address)))
    };
    let holds = |rule: &Match| {
        rule.arrive.contains(arrival)
            && rule.leave.contains(exit)
            && (rule.protocols.is_empty() || rule.protocols.contains(&tuple.protocol))
            && (rule.sports.is_empty() || rule.sports.iter().any(|range| range.contains(&tuple.sport)))
            && (rule.dports.is_empty() || rule.dports.iter().any(|range| range.contains(&tuple.dport)))
            && is_in(rule.src, tuple.src)
            && is_in(rule.dst, tuple.dst)
    };
    rules.iter().position(holds).and_then(|at| u32::try_from(at).ok())
}

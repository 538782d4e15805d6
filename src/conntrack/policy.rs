//! What the operator allows the session table: timeout sets, rules that choose them, limits, what happens when it is
//! full. Compiled into the snapshot, immutable, read by workers and by the management core.

use super::timeouts::Timeouts;
use crate::ids::InterfaceId;
use crate::packet::Tuple;
use ipnet::Ipv4Net;
use std::fmt;
use std::ops::RangeInclusive;

/// A share of the table in parts of 10,000 (basis points), so that a worker needs no floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share(10_000);
    /// Nothing of it.
    pub const NOTHING: Share = Share(0);

    /// So many hundredths of a percent; more than all is all.
    pub const fn from_basis_points(points: u16) -> Share {
        if points > 10_000 { Share::WHOLE } else { Share(points) }
    }

    /// So many percent; more than 100 is all.
    pub const fn percent(percent: u16) -> Share {
        Share::from_basis_points(if percent > 100 { 10_000 } else { percent * 100 })
    }

    /// In hundredths of a percent.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// The share of a number, rounded up.
    pub fn of(self, whole: u32) -> u32 {
        let share = (u64::from(whole) * u64::from(self.0)).div_ceil(10_000);
        u32::try_from(share).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Share {
    /// As in the config: `1%`, `0.25%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, points) if points % 10 == 0 => write!(f, "{whole}.{}%", points / 10),
            (whole, points) => write!(f, "{whole}.{points:02}%"),
        }
    }
}

/// What happens to a new session when the table is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It takes the place of one that matters less: unreplied, then closing, then any that is not assured.
    #[default]
    EarlyDrop,
    /// It is refused; nobody is ever evicted (RFC 6888 REQ-11).
    Refuse,
}

/// How many new sessions a source may open: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Sessions a second in the long run; at least 1.
    pub per_second: u32,
    /// Sessions at once; at least 1.
    pub burst: u32,
}

/// The most prefixes of management sources: a worker keeps them without asking for memory.
pub const MAX_MANAGEMENT: usize = 64;

/// Limits of the table and what it does under pressure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What happens at 100 %.
    pub when_full: WhenFull,
    /// Kept free for sessions of `management` sources and the gateway's own.
    pub reserve: Share,
    /// From here on the timeouts of unreplied and closing sessions shrink …
    pub adaptive_low: Share,
    /// … until here they are next to nothing. Equal to `adaptive_low`: they never shrink.
    pub adaptive_high: Share,
    /// How much of the table TCP connections may take before their handshake is complete.
    pub half_open: Share,
    /// Sessions that one source address may have at once.
    pub sessions_per_source: Option<u32>,
    /// New sessions a second that one source address may open.
    pub new_per_source: Option<Rate>,
    /// Sources that are never locked out: their sessions may use the reserve and are never evicted, and no limit per
    /// source applies to them.
    pub management: Vec<Ipv4Net>,
}

impl Limits {
    /// Whether a source address may have less than there is.
    pub fn count_sources(&self) -> bool {
        self.sessions_per_source.is_some() || self.new_per_source.is_some()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            when_full: WhenFull::default(),
            reserve: Share::percent(1),
            adaptive_low: Share::percent(80),
            adaptive_high: Share::percent(98),
            half_open: Share::percent(50),
            sessions_per_source: None,
            new_per_source: None,
            management: Vec::new(),
        }
    }
}

/// How strict the TCP tracker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Accept segments outside the window (all but RSTs), as Linux's `nf_conntrack_tcp_be_liberal`.
    pub be_liberal: bool,
    /// A connection may be picked up in the middle, from an ACK without a session, as Linux's `nf_conntrack_tcp_loose`.
    pub loose: bool,
}

/// A rule that gives new sessions a timeout set and a mark; the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackRule {
    /// Interface that the first packet comes in by; `None`: any.
    pub on: Option<InterfaceId>,
    /// Source prefixes of the first packet as it arrives; empty: any.
    pub from: Vec<Ipv4Net>,
    /// Destination prefixes of the first packet as it arrives; empty: any.
    pub to: Vec<Ipv4Net>,
    /// IANA protocol number; `None`: any.
    pub protocol: Option<u8>,
    /// Destination ports of the first packet as it arrives; `None`: any.
    pub ports: Option<RangeInclusive<u16>>,
    /// Index of the timeout set in [`Policy::timeout_sets`].
    pub timeouts: u8,
    /// Mark of the session.
    pub mark: u32,
}

/// Everything that the operator says about tracking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Timeout sets; the first is the one for sessions that no rule gives another. Never empty, at most 256.
    pub timeout_sets: Box<[Timeouts]>,
    /// Which session gets which set and mark.
    pub rules: Box<[TrackRule]>,
    /// How strict the TCP tracker is.
    pub tcp: TcpOptions,
    /// Limits and behaviour under pressure.
    pub limits: Limits,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            timeout_sets: vec![Timeouts::default()].into(),
            rules: Box::default(),
            tcp: TcpOptions::default(),
            limits: Limits::default(),
        }
    }
}

impl TrackRule {
    /// Whether the rule is for a session whose first packet has this tuple and comes in by `on`. Of the tuple, ports
    /// count only for protocols that have some; the config sees to it that no other rule has ports.
    #[must_use]
    pub fn matches(&self, on: InterfaceId, tuple: &Tuple) -> bool {
        let holds =
            |nets: &[Ipv4Net], address| nets.is_empty() || nets.iter().any(|net| net.contains(address));
        self.on.is_none_or(|only| only == on)
            && self.protocol.is_none_or(|only| only == tuple.protocol)
            && self.ports.as_ref().is_none_or(|ports| ports.contains(&tuple.dport))
            && holds(&self.from, &tuple.src)
            && holds(&self.to, &tuple.dst)
    }
}

impl Policy {
    /// The timeout set and the mark of a new session whose first packet has this tuple and comes in by `on`.
    #[must_use]
    pub fn choose(&self, on: InterfaceId, tuple: &Tuple) -> (u8, u32) {
        let rule = self.rules.iter().find(|rule| rule.matches(on, tuple));
        rule.map_or((0, 0), |rule| (rule.timeouts, rule.mark))
    }

    /// The timeouts of sessions with this set. The index comes from a rule of this policy; another one means the first set.
    #[inline]
    pub fn timeouts(&self, set: u8) -> &Timeouts {
        // Never empty, so the first one is there.
        self.timeout_sets.get(usize::from(set)).unwrap_or(&self.timeout_sets[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_rounds_up_and_is_never_more_than_all() {
        assert_eq!(Share::percent(1).of(100), 1);
        assert_eq!(Share::percent(1).of(101), 2);
        assert_eq!(Share::percent(200).of(7), 7);
        assert_eq!(Share::NOTHING.of(u32::MAX), 0);
        assert_eq!(Share::WHOLE.of(u32::MAX), u32::MAX);
    }
}

//! The packets that clients of a class send, one of each kind.

use super::ground::{Ground, Origin};
use super::regions::scatter;
use crate::classify::notrack::{Addresses, InterfaceMask, NotrackClass};
use crate::config::model::Config;
use crate::packet::{Kind, Tuple};
use crate::pipeline::plan::Header;
use crate::wire::{icmp, protocol};
use std::net::Ipv4Addr;
use std::rc::Rc;

/// Identifier of an ICMP query.
const SOME_ID: u16 = 1;

/// What a packet may be; each combination is one packet.
pub(super) struct Cells {
    origins: Rc<[Origin]>,
    destinations: Rc<[Ipv4Addr]>,
    kinds: Vec<(u8, Kind)>,
    sports: Rc<[u16]>,
    dports: Rc<[u16]>,
    /// How many of them are looked at.
    limit: u64,
}

impl Cells {
    /// Those of a class whose clients' packets come in by these interfaces.
    pub(super) fn of(
        class: &NotrackClass,
        arrive: InterfaceMask,
        ground: &mut Ground<'_>,
        limit: u64,
    ) -> Self {
        Cells {
            origins: ground.origins(&class.from, class.translate_from, arrive),
            destinations: ground.destinations(&class.to, class.translate_to),
            kinds: kinds(class, ground),
            sports: ground.ports(&class.from_ports),
            dports: ground.ports(&class.ports),
            limit,
        }
    }

    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        let axes = [
            self.origins.len(),
            self.destinations.len(),
            self.kinds.len(),
            self.sports.len(),
            self.dports.len(),
        ];
        axes.iter().fold(1, |total, axis| total.saturating_mul(u64::try_from(*axis).unwrap_or(u64::MAX)))
    }

    /// How many are looked at, if not all.
    pub(super) fn sample(&self) -> Option<u64> {
        (self.total() > self.limit).then_some(self.limit)
    }

    /// The packets: all, or some from all over.
    pub(super) fn packets(&self) -> impl Iterator<Item = Header> + '_ {
        let total = self.total();
        let count = self.sample().unwrap_or(total);
        let stride = total.checked_div(count).unwrap_or(1);
        // One of each stretch, not always the same: a stretch may be a multiple of an axis.
        (0..count).filter_map(move |step| self.packet(step * stride + scatter(step) % stride))
    }

    fn packet(&self, number: u64) -> Option<Header> {
        let mut rest = number;
        let sport = *pick(&self.sports, &mut rest)?;
        let dport = *pick(&self.dports, &mut rest)?;
        let (protocol, kind) = *pick(&self.kinds, &mut rest)?;
        let dst = *pick(&self.destinations, &mut rest)?;
        let (interface, src) = *pick(&self.origins, &mut rest)?;
        let (sport, dport) = match kind {
            Kind::IcmpRequest => (SOME_ID, u16::from(icmp::ECHO_REQUEST)),
            _ if protocol::has_ports(protocol) => (sport, dport),
            _ => (0, 0),
        };
        let tuple = Tuple { src, dst, sport, dport, protocol };
        (src != dst).then_some(Header::whole(interface, tuple, kind))
    }
}

/// The digit of a number that stands for this axis.
fn pick<'a, T>(axis: &'a [T], rest: &mut u64) -> Option<&'a T> {
    let length = u64::try_from(axis.len()).ok().filter(|length| *length > 0)?;
    let digit = *rest % length;
    *rest /= length;
    axis.get(usize::try_from(digit).ok()?)
}

/// Protocols, and for TCP the flags.
fn kinds(class: &NotrackClass, ground: &Ground<'_>) -> Vec<(u8, Kind)> {
    let any = class.protocols.is_empty();
    let with_ports = !class.ports.is_empty() || !class.from_ports.is_empty();
    let numbers = if any { &ground.protocols } else { &class.protocols };
    let fitting = numbers.iter().filter(|number| !with_ports || protocol::has_ports(**number));
    let mut kinds = Vec::new();
    for number in fitting {
        if *number != protocol::TCP {
            kinds.push((*number, Kind::opening(*number)));
            continue;
        }
        let held = |flags: &u8| class.flags.is_none_or(|wanted| wanted.hold(*flags));
        let flags = ground.flags.iter().copied().chain(class.flags.map(|wanted| wanted.set));
        kinds.extend(flags.filter(held).map(|flags| (*number, Kind::Tcp { flags })));
    }
    kinds
}

/// Whether these addresses are nobody's: sets that are empty still.
pub(super) fn is_nobody(config: &Config, addresses: &Addresses) -> bool {
    let mut sets = addresses.sets.iter().filter_map(|set| config.sets.get(*set));
    !addresses.is_any() && addresses.nets.is_empty() && sets.all(|set| set.prefixes.is_empty())
}

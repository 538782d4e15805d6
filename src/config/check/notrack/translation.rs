//! Stateless translations: one prefix to one of the same length, and outside addresses that nobody else has.

use super::super::pools::next_hops;
use super::super::{unicast, zones};
use crate::classify::notrack::NotrackClass;
use crate::config::draft::{Draft, Member, NotrackDraft};
use crate::config::error::Span;
use crate::config::mistake::{ClassMistake, Mistake};
use crate::config::reader::{At, Findings};
use crate::ids::Realm;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Whose addresses there are.
pub(super) struct Owners<'d> {
    draft: &'d Draft,
    /// In ascending order.
    hops: Vec<At<Ipv4Addr>>,
}

impl<'d> Owners<'d> {
    pub(super) fn new(draft: &'d Draft) -> Self {
        let mut hops = next_hops(draft);
        hops.sort_unstable_by_key(|hop| hop.value);
        Owners { draft, hops }
    }

    /// An address of the prefix that sessions are translated to, and whose it is.
    fn of(&self, net: Ipv4Net) -> Option<(Ipv4Addr, String)> {
        let of_interface = self.draft.interfaces.iter().find_map(|interface| {
            let own = interface.addresses.iter().find(|own| net.contains(&own.value.addr()))?;
            Some((own.value.addr(), format!("interface \"{}\"", interface.name.value)))
        });
        let of_pool = || {
            let ranges =
                self.draft.pools.iter().flat_map(|pool| pool.ranges.iter().map(move |range| (pool, range)));
            let mut held = ranges
                .filter(|(_, range)| range.value.0 <= net.broadcast() && net.network() <= range.value.1);
            let (pool, range) = held.next()?;
            Some((range.value.0.max(net.network()), format!("pool \"{}\"", pool.name.value)))
        };
        of_interface.or_else(of_pool)
    }

    fn next_hop(&self, net: Ipv4Net) -> Option<At<Ipv4Addr>> {
        let first = self.hops.partition_point(|hop| hop.value < net.network());
        self.hops.get(first).copied().filter(|hop| net.contains(&hop.value))
    }

    /// Addresses under which the outside sees a class.
    fn outside(&self, net: Ipv4Net, at: Span, findings: &mut Findings) {
        zones::not_shared(self.draft, (net.network(), net.broadcast()), at, findings);
        if let Some(hop) = self.next_hop(net) {
            findings.clash(hop.at, at, ClassMistake::NextHop { address: hop.value }.into());
        }
    }
}

pub(super) fn check(
    owners: &Owners<'_>,
    class: &NotrackDraft,
    built: &NotrackClass,
    findings: &mut Findings,
) {
    if let Some(becomes) = class.translate_to
        && let Some(to) = pair(("translate_to", becomes), ("to", class.to.as_ref()), findings)
    {
        owners.outside(to.value, to.at, findings);
        if built.ports.is_empty()
            && class.ports.is_none()
            && let Some((address, owner)) = owners.of(to.value)
        {
            findings.error(to.at, ClassMistake::SharedWithoutPort { address, owner }.into());
        }
        service_self(owners.draft, becomes, built.to_zone, findings);
    }
    if let Some(becomes) = class.translate_from
        && pair(("translate_from", becomes), ("from", class.from.as_ref()), findings).is_some()
    {
        owners.outside(becomes.value, becomes.at, findings);
        if let Some((address, owner)) = owners.of(becomes.value) {
            findings.error(becomes.at, ClassMistake::SourceOwned { address, owner }.into());
        }
    }
}

/// The prefix that is translated, which must be the only one and as long as the other.
fn pair(
    (translate, becomes): (&'static str, At<Ipv4Net>),
    (of, members): (&'static str, Option<&At<Vec<At<Member>>>>),
    findings: &mut Findings,
) -> Option<At<Ipv4Net>> {
    let list = members.map(|members| members.value.as_slice());
    let net = match list {
        // What was wrong has been reported.
        Some([]) => return None,
        Some([At { value: Member::Net(net), at }]) => At { value: *net, at: *at },
        _ => {
            findings.error(becomes.at, ClassMistake::TranslatesMany { translate, of }.into());
            return None;
        }
    };
    for At { value: net, at } in [net, becomes] {
        if let Some(address) = [net.network(), net.broadcast()].into_iter().find(|edge| !unicast(*edge)) {
            findings.error(at, Mistake::NotUnicast { address });
            return None;
        }
    }
    if net.value.prefix_len() != becomes.value.prefix_len() {
        let what = ClassMistake::TranslationLength { translate, of, net: net.value, becomes: becomes.value };
        findings.clash(net.at, becomes.at, what.into());
        return None;
    }
    Some(net)
}

/// A whole network may be translated with the gateway's address in it, which stays the gateway's.
fn service_self(draft: &Draft, becomes: At<Ipv4Net>, zone: u16, findings: &mut Findings) {
    let address = becomes.value.network();
    let mut visible = draft
        .interfaces
        .iter()
        .filter(|interface| interface.zone == Some(zone) || interface.realm == Some(Realm::External));
    if becomes.value.prefix_len() == 32 && visible.any(|interface| interface.has(address)) {
        findings.error(becomes.at, ClassMistake::ServiceSelf { address }.into());
    }
}

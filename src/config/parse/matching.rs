//! What rules and classes match packets by: addresses, ports, protocols, interfaces.

use super::conntrack::protocol;
use super::{distinct, name, ports};
use crate::config::draft::{Member, Members};
use crate::config::reader::{At, Field, Findings};
use crate::config::units;
use std::ops::RangeInclusive;

/// Names of interfaces, none of them twice.
pub(super) fn interfaces(field: &Field<'_>, findings: &mut Findings) -> Vec<At<String>> {
    distinct(field, findings, |item, findings| name(Some(*item), findings))
}

/// `None`: any, whether nothing was given or an empty list.
pub(super) fn members(field: Option<Field<'_>>, findings: &mut Findings) -> Option<Members> {
    let field = field.filter(|field| !field.is_empty_list())?;
    let member = |text: &str| match text.strip_prefix("set.") {
        Some(name) => Ok(Member::Set(name.to_owned())),
        None => units::member(text).map(Member::Net),
    };
    Some(At { value: field.parse_list(member, findings), at: field.at })
}

/// Ports in ascending order, ranges that touch as one.
pub(super) fn port_list(field: &Field<'_>, findings: &mut Findings) -> At<Vec<RangeInclusive<u16>>> {
    if field.is_empty_list() {
        field.empty(findings);
    }
    let mut given: Vec<_> =
        field.items().filter_map(|item| ports(&item, findings)).map(|ports| ports.value).collect();
    given.sort_unstable_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
    for range in given {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    At { value: merged, at: field.at }
}

/// Protocols, none of them twice.
pub(super) fn protocol_list(field: &Field<'_>, findings: &mut Findings) -> At<Vec<u8>> {
    let list = distinct(field, findings, protocol);
    At { value: list.into_iter().map(|protocol| protocol.value).collect(), at: field.at }
}

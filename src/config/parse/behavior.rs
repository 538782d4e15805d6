//! Reads how a pool, or `[masquerade]`, maps and filters.

use super::{single, zone};
use crate::config::draft::{BehaviorDraft, BlocksDraft, FixedDraft};
use crate::config::keys::Section;
use crate::config::reader::{At, Field, Findings, Table};
use crate::config::units;
use crate::nat::behavior::{Dependence, PerProtocol, Pooling};
use crate::nat::blocks::MOST;
use crate::time::ticks;
use toml::de::DeValue;

/// The words of `pooling`.
pub(in crate::config) const POOLINGS: &[(&str, Pooling)] =
    &[("paired", Pooling::Paired), ("arbitrary", Pooling::Arbitrary)];

pub(super) fn behavior(table: &Table<'_>, findings: &mut Findings) -> BehaviorDraft {
    let word = |field: &Field<'_>, findings: &mut Findings| field.word(&Dependence::NAMES, findings);
    BehaviorDraft {
        mapping: per_protocol(table.get("mapping"), findings, word),
        filtering: per_protocol(table.get("filtering"), findings, word),
        pooling: table.get("pooling").and_then(|field| field.word(POOLINGS, findings)),
        hold_down: table.get("hold_down").and_then(|field| hold_down(&field, findings)),
        ports: per_protocol(table.get("ports_per_subscriber"), findings, |field, findings| {
            field.integer::<u32>(1..=65_536, findings)
        }),
    }
}

/// One value for all, or one each.
fn per_protocol<T: Copy>(
    field: Option<Field<'_>>,
    findings: &mut Findings,
    read: impl Fn(&Field<'_>, &mut Findings) -> Option<At<T>>,
) -> PerProtocol<Option<At<T>>> {
    let Some(field) = field else { return [None; 3] };
    if !matches!(field.value, DeValue::Table(_)) {
        return [read(&field, findings); 3];
    }
    let Some(inner) = field.table(findings) else { return [None; 3] };
    let inner = Table::open(Section::PerProtocol, field.key.into(), field.at, inner, findings);
    ["tcp", "udp", "icmp"].map(|key| inner.get(key).and_then(|field| read(&field, findings)))
}

/// In ticks. No rest at all is a length too.
fn hold_down(field: &Field<'_>, findings: &mut Findings) -> Option<At<u32>> {
    let none = |text: &str| matches!(text, "0s" | "0").then_some(0);
    let length = |text: &str| none(text).map_or_else(|| units::duration(text).map(ticks), Ok);
    field.parse(length, findings)
}

/// `port_blocks` and `deterministic` of a pool.
pub(super) fn sharing(
    table: &Table<'_>,
    findings: &mut Findings,
) -> (Option<At<BlocksDraft>>, Option<At<FixedDraft>>) {
    let blocks = single(table.get("port_blocks"), Section::PortBlocks, findings);
    let blocks = blocks.map(|table| {
        let mut number = |key: &'static str, range| table.get(key)?.integer(range, findings);
        let (size, per_subscriber) = (number("size", 1..=65_536), number("per_subscriber", 1..=MOST.into()));
        let size =
            size.map(|At { value, at }: At<i64>| At { value: u16::try_from(value).unwrap_or(u16::MAX), at });
        let small = |At { value, at }: At<i64>| At { value: u8::try_from(value).unwrap_or(MOST), at };
        let idle = table.get("idle").and_then(|field| hold_down(&field, findings)).map(|idle| idle.value);
        At { value: BlocksDraft { size, per_subscriber: per_subscriber.map(small), idle }, at: table.at }
    });
    let fixed = single(table.get("deterministic"), Section::Deterministic, findings);
    let fixed = fixed.map(|table| {
        let inside = table.require("inside", findings).map(|field| {
            if field.is_empty_list() {
                field.empty(findings);
            }
            field.parse_list(units::prefix, findings)
        });
        let ports = table.get("ports").and_then(|field| field.integer::<u16>(1..=64_512, findings));
        let draft = FixedDraft { inside: inside.unwrap_or_default(), ports, zone: zone(&table, findings) };
        At { value: draft, at: table.at }
    });
    (blocks, fixed)
}

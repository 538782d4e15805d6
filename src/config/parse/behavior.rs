//! Reads how a pool, or `[masquerade]`, maps and filters.

use crate::config::draft::BehaviorDraft;
use crate::config::keys::Section;
use crate::config::reader::{At, Field, Findings, Table};
use crate::config::units;
use crate::nat::behavior::{Dependence, PerProtocol, Pooling};
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
fn hold_down(field: &Field<'_>, findings: &mut Findings) -> Option<u32> {
    let none = |text: &str| matches!(text, "0s" | "0").then_some(0);
    let length = |text: &str| none(text).map_or_else(|| units::duration(text).map(ticks), Ok);
    field.parse(length, findings).map(|length| length.value)
}

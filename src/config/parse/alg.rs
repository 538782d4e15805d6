//! Reads `[alg]` and what is below it: a helper is on if its table is there.

use super::{distinct, single};
use crate::config::draft::AlgDraft;
use crate::config::keys::Section;
use crate::config::reader::{At, Field, Findings, Table};
use crate::config::units::{self, ValueError};
use crate::nat::alg::{controls, expectations};
use std::ops::RangeInclusive;

const PORTS: RangeInclusive<i64> = 1..=65_535;

pub(super) fn section(table: &Table<'_>, findings: &mut Findings) -> AlgDraft {
    let most = |most: u32| 1..=i64::from(most);
    AlgDraft {
        ports: [
            helper(table.get("ftp"), (Section::AlgFtp, 21), findings),
            helper(table.get("tftp"), (Section::AlgTftp, 69), findings),
        ],
        max_expectations: table
            .get("max_expectations")
            .and_then(|field| field.integer(most(expectations::MOST), findings))
            .map(|most| most.value),
        max_sessions: table
            .get("max_sessions")
            .and_then(|field| field.integer(most(controls::MOST), findings))
            .map(|most| most.value),
        timeout: table
            .get("expectation_timeout")
            .and_then(|field| {
                field.parse_with_unit(units::duration, ValueError::DurationWithoutUnit, findings)
            })
            .map(|timeout| timeout.value),
    }
}

fn helper(
    field: Option<Field<'_>>,
    (section, usual): (Section, u16),
    findings: &mut Findings,
) -> Option<At<Vec<u16>>> {
    let at = field.as_ref()?.at;
    let table = single(field, section, findings)?;
    let ports = table.get("ports").map(|field| {
        let ports = distinct(&field, findings, |item, findings| item.integer(PORTS, findings));
        ports.into_iter().map(|port| port.value).collect()
    });
    Some(At { value: ports.unwrap_or_else(|| vec![usual]), at })
}

//! Notrack classes that do not do what they were written for, at the place of each: see [`crate::config::symmetry`].

use crate::config::draft::Draft;
use crate::config::mistake::{Caution, ClassCaution};
use crate::config::model::Config;
use crate::config::reader::Findings;
use crate::config::symmetry::{self, Kind};

/// Comes after the other doubts about classes.
pub(super) fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    for finding in symmetry::check(config) {
        // Classes and tables are in the same order.
        let Some((class, checked)) = draft.notrack.get(finding.class).zip(config.notrack.get(finding.class))
        else {
            continue;
        };
        let says_the_same = |what: &Caution| match what {
            Caution::Class(ClassCaution::OwnUntranslated { address, .. }) => {
                checked.to.nets.contains(&(*address).into())
            }
            _ => false,
        };
        let mut known = findings.cautions.iter();
        if finding.kind != Kind::Local || !known.any(|caution| says_the_same(&caution.what)) {
            let at = class.name.as_ref().map_or(class.at, |name| name.at);
            findings.warn(at, Caution::Notrack(finding));
        }
    }
}

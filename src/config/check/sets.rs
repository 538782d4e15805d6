//! Named sets of prefixes: the numbers behind their names.

use super::alternatives;
use super::rules::values;
use crate::config::draft::{Draft, SetDraft};
use crate::config::mistake::Mistake;
use crate::config::model::SetConfig;
use crate::config::reader::{At, Findings};
use std::collections::HashMap;

pub(super) fn check(draft: &Draft) -> Vec<SetConfig> {
    let set = |set: &SetDraft| SetConfig { name: set.name.value.clone(), prefixes: values(&set.prefixes) };
    draft.sets.iter().map(set).collect()
}

/// The sets by name.
pub(super) struct Sets<'d> {
    draft: &'d Draft,
    numbers: HashMap<&'d str, usize>,
}

impl<'d> Sets<'d> {
    pub(super) fn new(draft: &'d Draft) -> Self {
        Sets { draft, numbers: draft.sets.iter().map(|set| set.name.value.as_str()).zip(0..).collect() }
    }

    /// The place of a set among all.
    pub(super) fn number(&self, name: &At<&str>, findings: &mut Findings) -> Option<usize> {
        let number = self.numbers.get(name.value).copied();
        if number.is_none() {
            let names = self.draft.sets.iter().map(|set| set.name.value.as_str());
            let (meant, known) = alternatives(names, name.value);
            findings.error(name.at, Mistake::UnknownSet { name: name.value.to_owned(), meant, known });
        }
        number
    }
}

//! Named sets of prefixes: the numbers behind their names.

use super::alternatives;
use super::rules::values;
use crate::classify::notrack::Addresses;
use crate::config::draft::{Draft, Member, Members, SetDraft};
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

    /// The addresses that a rule names; nothing: any.
    pub(super) fn addresses(&self, members: Option<&Members>, findings: &mut Findings) -> Addresses {
        let mut addresses = Addresses::default();
        for member in members.iter().flat_map(|members| &members.value) {
            match &member.value {
                Member::Net(net) => addresses.nets.push(*net),
                Member::Set(name) => {
                    addresses.sets.extend(self.number(&At { value: name.as_str(), at: member.at }, findings));
                }
            }
        }
        addresses
    }

    /// The place of a set among all.
    fn number(&self, name: &At<&str>, findings: &mut Findings) -> Option<usize> {
        let number = self.numbers.get(name.value).copied();
        if number.is_none() {
            let names = self.draft.sets.iter().map(|set| set.name.value.as_str());
            let (meant, known) = alternatives(names, name.value);
            findings.error(name.at, Mistake::UnknownSet { name: name.value.to_owned(), meant, known });
        }
        number
    }
}

//! The addresses that rules name, compiled: equal ones once.

use super::model::Config;
use crate::classify::PrefixSet;
use crate::classify::notrack::Addresses;
use std::collections::HashMap;

/// The sets of addresses that rules name, each once.
#[derive(Default)]
pub(super) struct AddressSets {
    pub(super) list: Vec<PrefixSet>,
    known: HashMap<Addresses, usize>,
}

impl AddressSets {
    /// The number of a set; `None`: any address.
    pub(super) fn number(&mut self, config: &Config, addresses: &Addresses) -> Option<usize> {
        if addresses.is_any() {
            return None;
        }
        if let Some(number) = self.known.get(addresses) {
            return Some(*number);
        }
        self.list.push(PrefixSet::new(config.prefixes(addresses)));
        let number = self.list.len() - 1;
        self.known.insert(addresses.clone(), number);
        Some(number)
    }
}

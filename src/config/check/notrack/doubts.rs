//! Classes and sets that are allowed and probably not meant.

use crate::classify::notrack::{NotrackClass, Verdict};
use crate::config::draft::Draft;
use crate::config::mistake::ClassCaution;
use crate::config::model::Config;
use crate::config::reader::Findings;
use crate::ids::Realm;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

pub(in crate::config::check) fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    let of_classes = config.notrack.iter().flat_map(|class| [&class.from, &class.to]);
    let of_rules = config.snat.iter().flat_map(|rule| [&rule.from, &rule.to]);
    let of_bans = config.bans.iter().map(|ban| &ban.from);
    let used: HashSet<usize> =
        of_classes.chain(of_rules).chain(of_bans).flat_map(|addresses| &addresses.sets).copied().collect();
    for (number, set) in draft.sets.iter().enumerate() {
        let name = || set.name.value.clone();
        if !used.contains(&number) {
            findings.warn(set.name.at, ClassCaution::SetUnused(name()).into());
        } else if set.prefixes.is_empty() {
            findings.warn(set.name.at, ClassCaution::SetEmpty(name()).into());
        }
    }
    let owned = owned(config);
    for (class, checked) in draft.notrack.iter().zip(&config.notrack) {
        if takes_everything(checked) {
            findings.warn(class.at, ClassCaution::Everything(checked.name.clone()).into());
        }
        // Packets to the gateway itself can be dropped.
        if checked.translate_to.is_some() || checked.verdict == Verdict::Drop {
            continue;
        }
        for member in class.to.iter().flat_map(|to| &to.value) {
            let single = member.value.net().filter(|net| net.prefix_len() == 32);
            let Some(address) = single.map(|net| net.network()) else { continue };
            if let Some(owner) = owned.get(&address) {
                let owner = owner.clone();
                findings.warn(member.at, ClassCaution::OwnUntranslated { address, owner }.into());
            }
        }
    }
}

fn takes_everything(class: &NotrackClass) -> bool {
    let ports = class.ports.is_empty() && class.from_ports.is_empty();
    class.from.is_any() && class.to.is_any() && class.protocols.is_empty() && ports
}

/// The addresses that every zone takes for the gateway's, and whose they are.
fn owned(config: &Config) -> HashMap<Ipv4Addr, String> {
    let outside = config.interfaces.iter().filter(|interface| interface.realm == Realm::External);
    let of_interfaces = outside.flat_map(|interface| {
        let owner = format!("interface \"{}\"", interface.name);
        interface.addresses.iter().map(move |own| (own.addr(), owner.clone()))
    });
    let of_pools = config.pools.iter().flat_map(|pool| {
        let owner = format!("pool \"{}\"", pool.name);
        pool.addresses.iter().map(move |address| (*address, owner.clone()))
    });
    of_interfaces.chain(of_pools).collect()
}

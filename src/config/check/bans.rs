//! Bans: the zone exists, and nobody bans those who are needed.

use super::sets::Sets;
use super::zones;
use crate::config::draft::{Draft, Member};
use crate::config::mistake::Caution;
use crate::config::model::{BanRule, Config};
use crate::config::reader::Findings;
use ipnet::Ipv4Net;

pub(super) fn check(draft: &Draft, findings: &mut Findings) -> Vec<BanRule> {
    let sets = Sets::new(draft);
    let mut bans = Vec::new();
    for ban in &draft.bans {
        let zone = ban.zone.and_then(|zone| zones::known(draft, zone, findings));
        bans.push(BanRule { zone, from: sets.addresses(ban.from.as_ref(), findings) });
    }
    bans
}

pub(super) fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    for ban in &draft.bans {
        let zone = ban.zone.map(|zone| zone.value);
        for member in ban.from.iter().flat_map(|from| &from.value) {
            let nets = match &member.value {
                Member::Net(net) => vec![*net],
                Member::Set(name) => {
                    let set = config.sets.iter().find(|set| set.name == *name);
                    set.map(|set| set.prefixes.clone()).unwrap_or_default()
                }
            };
            let doubt = |net: Ipv4Net| management(config, net).or_else(|| network(config, zone, net));
            if let Some(what) = nets.into_iter().find_map(doubt) {
                findings.warn(member.at, what);
            }
        }
    }
}

/// A management source is one in every zone.
fn management(config: &Config, ban: Ipv4Net) -> Option<Caution> {
    let mut management = config.conntrack.limits.management.iter();
    let management = *management.find(|net| net.contains(&ban) || ban.contains(*net))?;
    Some(Caution::BanManagement { ban, management })
}

fn network(config: &Config, zone: Option<u16>, ban: Ipv4Net) -> Option<Caution> {
    let here = config.interfaces.iter().filter(|interface| zone.is_none_or(|zone| zone == interface.zone));
    let mut nets = here.flat_map(|i| i.addresses.iter().map(move |address| (address.trunc(), i)));
    let (net, interface) = nets.find(|(net, _)| ban.contains(net))?;
    Some(Caution::BanNetwork { ban, net, interface: interface.name.clone() })
}

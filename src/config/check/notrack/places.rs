//! In which zones a class's clients and its service are, where there are several.

use super::super::ways::Ways;
use super::super::zones;
use crate::classify::notrack::Addresses;
use crate::config::draft::{Draft, NotrackDraft};
use crate::config::mistake::ClassMistake;
use crate::config::reader::{At, Findings};
use ipnet::Ipv4Net;
use std::collections::HashMap;

pub(super) struct Places<'d> {
    draft: &'d Draft,
    ways: Ways<'d>,
    /// The zones that lead inside to addresses of a set: a set may be long, and many classes may name it.
    of_set: HashMap<usize, Vec<u16>>,
}

impl<'d> Places<'d> {
    pub(super) fn new(draft: &'d Draft, ways: Ways<'d>) -> Self {
        Places { draft, ways, of_set: HashMap::new() }
    }

    /// The zone of clients: the one that was given, or that of every interface that they come in by.
    fn of_clients(&self, class: &NotrackDraft) -> Option<u16> {
        let interfaces = class.on.iter().flatten().filter_map(|name| {
            self.draft.interfaces.iter().find(|interface| interface.name.value == name.value)
        });
        let mut zones = interfaces.filter_map(|interface| interface.zone);
        let given = class.zone.map(|zone| zone.value);
        given.or_else(|| zones.next().filter(|first| zones.all(|zone| zone == *first)))
    }

    /// The zone that clients' packets come in from, if that has to be known: answers find clients whose addresses are
    /// translated in that zone only.
    pub(super) fn clients(&mut self, class: &NotrackDraft, findings: &mut Findings) -> Option<u16> {
        if let Some(zone) = class.zone {
            return zones::known(self.draft, zone, findings);
        }
        let translated = class.translate_from.and(class.from.as_ref())?;
        if self.ways.zones().len() < 2 {
            return None;
        }
        if let Some(zone) = self.of_clients(class) {
            return Some(zone);
        }
        let nets = translated.value.iter().filter_map(|member| member.value.net());
        match self.inside(nets)[..] {
            [] => None,
            [zone] => Some(zone),
            [first, second, ..] => {
                findings.error(translated.at, ClassMistake::ClientsAmbiguous { first, second }.into());
                None
            }
        }
    }

    /// The zone of the service: the one that was given, or the only one that leads inside to it.
    pub(super) fn service(&mut self, class: &NotrackDraft, to: &Addresses, findings: &mut Findings) -> u16 {
        if let Some(zone) = class.to_zone {
            return zones::known(self.draft, zone, findings).unwrap_or_default();
        }
        let first = self.ways.zones().first().copied().unwrap_or_default();
        if self.ways.zones().len() < 2 {
            return first;
        }
        let clients = self.of_clients(class);
        let inside = match class.translate_to {
            Some(At { value: net, .. }) => self.inside([net]),
            None => self.of_addresses(to),
        };
        match inside[..] {
            // Outside, or nowhere: all zones see the same of it.
            [] => clients.unwrap_or(first),
            [zone] => zone,
            // What clients address is what they see.
            _ if class.translate_to.is_none() && clients.is_some_and(|zone| inside.contains(&zone)) => {
                clients.unwrap_or(first)
            }
            [first, second, ..] => {
                let at = class.translate_to.map(|net| net.at).or(class.to.as_ref().map(|to| to.at));
                findings
                    .error(at.unwrap_or(class.at), ClassMistake::ServiceAmbiguous { first, second }.into());
                first
            }
        }
    }

    fn of_addresses(&mut self, to: &Addresses) -> Vec<u16> {
        if to.is_any() {
            return self.inside([Ipv4Net::default()]);
        }
        let mut zones = self.inside(to.nets.iter().copied());
        for set in &to.sets {
            if !self.of_set.contains_key(set) {
                let prefixes = self.draft.sets.get(*set).map(|set| set.prefixes.as_slice());
                let inside = self.inside(prefixes.unwrap_or_default().iter().map(|net| net.value));
                self.of_set.insert(*set, inside);
            }
            zones.extend(self.of_set.get(set).into_iter().flatten());
        }
        zones.sort_unstable();
        zones.dedup();
        zones
    }

    /// The zones that lead inside to some of these addresses, in ascending order.
    fn inside(&self, nets: impl IntoIterator<Item = Ipv4Net>) -> Vec<u16> {
        let mut found = Vec::new();
        for net in nets {
            for zone in self.ways.zones() {
                if !found.contains(zone) && self.ways.has_sources(Some(*zone), net) {
                    found.push(*zone);
                }
            }
        }
        found.sort_unstable();
        found
    }
}

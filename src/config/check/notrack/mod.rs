//! Classes of packets that pass without a session: names, and what a preset fills in.
//!
//! | file | what |
//! |---|---|
//! | [`places`] | zones of clients and of services |
//! | [`exclusions`] | keys that exclude or need one another |
//! | [`translation`] | what is translated, and to whose addresses |
//! | [`doubts`] | what is allowed and probably not meant |

mod doubts;
mod exclusions;
mod places;
mod translation;

pub(super) use doubts::doubts;

use super::rules::interface;
use super::sets::Sets;
use super::ways::Ways;
use crate::classify::notrack::classifier::MAX_ENTRIES;
use crate::classify::notrack::{Answers, NotrackClass, UNTRACKED_CLASSES};
use crate::config::draft::{Draft, NotrackDraft};
use crate::config::mistake::{ClassMistake, Mistake};
use crate::config::model::RouteConfig;
use crate::config::reader::{At, Findings};
use crate::ids::InterfaceId;
use places::Places;
use std::collections::HashMap;
use translation::Owners;

// A class becomes an entry each way, and for an allow-list one each way that refuses.
const _: () = assert!(4 * UNTRACKED_CLASSES <= MAX_ENTRIES);

pub(super) fn check(draft: &Draft, routes: &[RouteConfig], findings: &mut Findings) -> Vec<NotrackClass> {
    if let Some(first_too_many) = draft.notrack.get(UNTRACKED_CLASSES) {
        let (count, most) = (draft.notrack.len(), UNTRACKED_CLASSES);
        findings.error(first_too_many.at, Mistake::TooMany { what: "notrack classes", count, most });
    }
    names(draft, findings);
    let sets = Sets::new(draft);
    let mut places = Places::new(draft, Ways::new(draft, routes));
    let owners = Owners::new(draft);
    let mut classes = Vec::with_capacity(draft.notrack.len());
    for class in &draft.notrack {
        let built = build(draft, &sets, &mut places, class, findings);
        exclusions::check(draft, class, &built, findings);
        translation::check(&owners, class, &built, findings);
        classes.push(built);
    }
    classes
}

fn names(draft: &Draft, findings: &mut Findings) {
    let mut known = HashMap::new();
    for name in draft.notrack.iter().filter_map(|class| class.name.as_ref()) {
        if let Some(first) = known.insert(name.value.as_str(), name.at) {
            findings.clash(first, name.at, ClassMistake::Twice(name.value.clone()).into());
        }
    }
}

fn build(
    draft: &Draft,
    sets: &Sets<'_>,
    places: &mut Places<'_>,
    class: &NotrackDraft,
    findings: &mut Findings,
) -> NotrackClass {
    let preset = class.preset;
    let numbers = class.on.iter().flatten().filter_map(|name| interface(draft, name, findings));
    let on = numbers.filter_map(|index| u8::try_from(index).ok()).map(InterfaceId).collect();
    let peers = class.peers.map_or(preset.is_some_and(|preset| preset.peers), |peers| peers.value);
    let mirrored = if peers { Answers::SamePort } else { Answers::Mirrored };
    let symmetric = class.symmetric.is_none_or(|symmetric| symmetric.value);
    let given = |ports: &Option<At<Vec<_>>>| ports.as_ref().map(|ports| ports.value.clone());
    let from_preset = || preset.and_then(|preset| preset.from_ports.clone()).into_iter().collect();
    let to = sets.addresses(class.to.as_ref(), findings);
    NotrackClass {
        name: class.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        preset: preset.map(|preset| preset.name),
        on,
        zone: places.clients(class, findings),
        from: sets.addresses(class.from.as_ref(), findings),
        from_ports: given(&class.from_ports).unwrap_or_else(from_preset),
        to_zone: places.service(class, &to, findings),
        to,
        ports: given(&class.ports)
            .unwrap_or_else(|| preset.map(|preset| preset.port..=preset.port).into_iter().collect()),
        protocols: match &class.protocols {
            Some(protocols) => protocols.value.clone(),
            None => preset.map(|preset| preset.protocols.to_vec()).unwrap_or_default(),
        },
        flags: class.flags.map(|flags| flags.value),
        verdict: class.verdict.map(|verdict| verdict.value).unwrap_or_default(),
        translate_from: class.translate_from.map(|net| net.value),
        translate_to: class.translate_to.map(|net| net.value),
        untranslated: class.untranslated.is_some_and(|untranslated| untranslated.value),
        answers: if symmetric { mirrored } else { Answers::Elsewhere },
        policy: class.policy.map(|policy| policy.value).unwrap_or_default(),
        opened_by: class.opened_by.map(|opener| opener.value).unwrap_or_default(),
        existing: class.existing.map(|existing| existing.value).unwrap_or_default(),
    }
}

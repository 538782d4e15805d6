//! Keys of one class that exclude or need one another.

use super::super::conntrack::protocol_name;
use crate::classify::notrack::{Answers, NotrackClass, OpenedBy, PeerPolicy, Verdict};
use crate::config::draft::{Draft, NotrackDraft};
use crate::config::error::Span;
use crate::config::mistake::{ClassMistake, Mistake};
use crate::config::reader::{At, Findings};
use crate::wire::protocol::{TCP, has_ports};

pub(super) fn check(draft: &Draft, class: &NotrackDraft, built: &NotrackClass, findings: &mut Findings) {
    zone(draft, class, findings);
    ports(class, built, findings);
    flags(class, built, findings);
    peers(class, built, findings);
    dropped(class, built, findings);
    if let Some(At { at, .. }) = class.opened_by
        && !built.protocols.is_empty()
        && !built.protocols.contains(&TCP)
    {
        findings.error(at, ClassMistake::OpenerWithoutTcp.into());
    }
    let everybody = class.from.is_none() || built.from.nets.iter().any(|net| net.prefix_len() == 0);
    if let Some(At { value: PeerPolicy::AllowListed, at }) = class.policy
        && everybody
    {
        findings.error(at, ClassMistake::ListsEverybody.into());
    }
}

fn zone(draft: &Draft, class: &NotrackDraft, findings: &mut Findings) {
    let Some(At { value: zone, .. }) = class.zone else { return };
    for name in class.on.iter().flatten() {
        let interface = draft.interfaces.iter().find(|interface| interface.name.value == name.value);
        if let Some(of) = interface.and_then(|interface| interface.zone).filter(|of| *of != zone) {
            let interface = name.value.clone();
            findings.error(name.at, ClassMistake::OutsideZone { interface, of, zone }.into());
        }
    }
}

/// What a class without a protocol, or with a wrong one, has of them.
fn takes_any(class: &NotrackDraft, built: &NotrackClass) -> bool {
    class.protocols.is_none() && built.protocols.is_empty()
}

/// Ports, all of whose protocols must have some. One error a class is enough.
fn ports(class: &NotrackDraft, built: &NotrackClass, findings: &mut Findings) {
    let given = |ports: &Option<At<Vec<_>>>| ports.as_ref().map(|ports| ports.at);
    let (key, at): (_, Option<Span>) = match (built.ports.is_empty(), built.from_ports.is_empty()) {
        (false, _) => ("port", given(&class.ports)),
        (true, false) => ("from_port", given(&class.from_ports)),
        (true, true) => return,
    };
    // Ports of a preset fit its protocols, so that it is another protocol that does not fit them.
    let at = at.or(class.protocols.as_ref().map(|protocols| protocols.at)).unwrap_or(class.at);
    if takes_any(class, built) {
        findings.error(at, Mistake::PortWithoutProtocol(key));
    } else if let Some(number) = built.protocols.iter().find(|number| !has_ports(**number)) {
        findings.error(at, Mistake::PortOfPortless { protocol: protocol_name(*number) });
    }
}

fn flags(class: &NotrackDraft, built: &NotrackClass, findings: &mut Findings) {
    let Some(At { at, .. }) = class.flags else { return };
    if built.answers != Answers::Elsewhere {
        findings.error(at, ClassMistake::FlagsOfAnswers.into());
    }
    let other = built.protocols.iter().find(|number| **number != TCP).map(|number| protocol_name(*number));
    let any = || takes_any(class, built).then(|| "every protocol".to_owned());
    if let Some(protocol) = other.or_else(any) {
        findings.error(at, ClassMistake::FlagsProtocol { protocol }.into());
    }
}

fn peers(class: &NotrackDraft, built: &NotrackClass, findings: &mut Findings) {
    let Some(At { value: true, at }) = class.peers else { return };
    if let Some(At { value: false, at: one_way }) = class.symmetric {
        findings.clash(at, one_way, ClassMistake::PeersOneWay.into());
    }
    if class.ports.is_none() && built.ports.is_empty() {
        findings.error(at, ClassMistake::PeersWithoutPort.into());
    }
}

/// What has a meaning only for packets that pass.
fn dropped(class: &NotrackDraft, built: &NotrackClass, findings: &mut Findings) {
    if built.verdict != Verdict::Drop {
        return;
    }
    let untranslated = class.untranslated.filter(|given| given.value).map(|given| given.at);
    let policy = class.policy.filter(|given| given.value == PeerPolicy::AllowListed).map(|given| given.at);
    let opened_by = class.opened_by.filter(|given| given.value == OpenedBy::Either).map(|given| given.at);
    let given = [
        ("translate_to", class.translate_to.map(|net| net.at)),
        ("translate_from", class.translate_from.map(|net| net.at)),
        ("untranslated", untranslated),
        ("policy", policy),
        ("opened_by", opened_by),
    ];
    for (key, at) in given.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        findings.error(at, ClassMistake::DropWith(key).into());
    }
}

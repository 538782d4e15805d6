//! Reads `[set.NAME]` and `[[notrack]]`.

use super::matching::{interfaces, members, port_list, protocol_list};
use super::{comment, is_name, prefixes, zone};
use crate::classify::notrack::{Existing, OpenedBy, PeerPolicy, TcpFlags, Verdict};
use crate::config::draft::{NotrackDraft, SetDraft};
use crate::config::mistake::Mistake;
use crate::config::presets::{PRESETS, Preset};
use crate::config::reader::{At, Field, Findings, Table, nearest};
use crate::config::units;
use crate::wire::tcp;
use ipnet::Ipv4Net;

pub(super) fn set(name: At<String>, table: &Table<'_>, findings: &mut Findings) -> SetDraft {
    SetDraft { name, prefixes: prefixes(table.require("prefixes", findings), findings) }
}

pub(super) fn class(table: &Table<'_>, findings: &mut Findings) -> NotrackDraft {
    comment(table, findings);
    let mut switch = |key| table.get(key).and_then(|field| field.boolean(findings));
    let (untranslated, symmetric, peers) = (switch("untranslated"), switch("symmetric"), switch("peers"));
    NotrackDraft {
        at: table.at,
        name: table.require("name", findings).and_then(|field| name(&field, findings)),
        preset: table.get("preset").and_then(|field| preset(&field, findings)),
        on: table.get("on").map(|field| interfaces(&field, findings)),
        zone: zone(table, findings),
        from: members(table.get("from"), findings),
        from_ports: table.get("from_port").map(|field| port_list(&field, findings)),
        to: members(table.get("to"), findings),
        to_zone: table.get("to_zone").and_then(|field| field.integer(super::ZONES, findings)),
        ports: table.get("port").map(|field| port_list(&field, findings)),
        protocols: table.get("protocol").map(|field| protocol_list(&field, findings)),
        flags: table.get("tcp_flags").and_then(|field| flags(&field, findings)),
        verdict: table.get("action").and_then(|field| field.word(Verdict::NAMES, findings)),
        translate_from: prefix(table.get("translate_from"), findings),
        translate_to: prefix(table.get("translate_to"), findings),
        untranslated,
        symmetric,
        peers,
        policy: table.get("policy").and_then(|field| field.word(PeerPolicy::NAMES, findings)),
        opened_by: table.get("opened_by").and_then(|field| field.word(OpenedBy::NAMES, findings)),
        existing: table.get("existing").and_then(|field| field.word(Existing::NAMES, findings)),
    }
}

fn name(field: &Field<'_>, findings: &mut Findings) -> Option<At<String>> {
    let At { value: text, at } = field.text(findings)?;
    if !is_name(text) {
        findings.error(at, Mistake::Name(text.to_owned()));
    }
    Some(At { value: text.to_owned(), at })
}

fn preset(field: &Field<'_>, findings: &mut Findings) -> Option<&'static Preset> {
    let words: Vec<(&'static str, &'static Preset)> =
        PRESETS.iter().map(|preset| (preset.name, preset)).collect();
    field.word(&words, findings).map(|preset| preset.value)
}

fn prefix(field: Option<Field<'_>>, findings: &mut Findings) -> Option<At<Ipv4Net>> {
    field?.parse(units::prefix, findings)
}

/// Flags that are set, and with `!` such as are not.
fn flags(field: &Field<'_>, findings: &mut Findings) -> Option<At<TcpFlags>> {
    if field.is_empty_list() {
        field.empty(findings);
        return None;
    }
    let mut flags = TcpFlags { mask: 0, set: 0 };
    let texts = field.texts(findings);
    let mut complete = texts.len() == field.items().count();
    for At { value: text, at } in texts {
        let (word, wanted) = text.strip_prefix('!').map_or((text, true), |word| (word, false));
        let bit = tcp::FLAGS.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit);
        let problem = match bit {
            None => Some(Mistake::UnknownWord {
                key: field.key.into(),
                value: text.to_owned(),
                known: "\"fin\", \"syn\", \"rst\", \"psh\", \"ack\", \"urg\", and these with `!`".into(),
                meant: nearest(word, tcp::FLAGS.iter().map(|(name, _)| *name)),
            }),
            Some(bit) if flags.mask & bit != 0 => {
                Some(Mistake::Repeated { key: field.key.into(), value: word.to_owned() })
            }
            Some(bit) => {
                flags.mask |= bit;
                flags.set |= if wanted { bit } else { 0 };
                None
            }
        };
        if let Some(what) = problem {
            complete = false;
            findings.error(at, what);
        }
    }
    complete.then_some(At { value: flags, at: field.at })
}

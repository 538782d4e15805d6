//! Bans: added as tables of their own, removed prefix by prefix.

use super::EditError;
use super::document::{one_or_list, push, remove as remove_table, retain, table_mut, tables, texts};
use crate::config::model::{BanRule, Config};
use crate::config::units;
use ipnet::Ipv4Net;
use toml_edit::{DocumentMut, Value};

const BAN: &str = "ban";

/// Prefixes and their zone.
pub(super) fn words(from: &[Ipv4Net], zone: Option<u16>) -> String {
    let list: Vec<String> = from.iter().map(written).collect();
    let zone = zone.map(|zone| format!(" in zone {zone}")).unwrap_or_default();
    list.join(", ") + &zone
}

/// An address alone stands for itself.
fn written(prefix: &Ipv4Net) -> String {
    if prefix.prefix_len() == 32 { prefix.addr().to_string() } else { prefix.to_string() }
}

pub(super) fn add(
    document: &mut DocumentMut,
    config: &Config,
    from: &[Ipv4Net],
    zone: Option<u16>,
    comment: Option<&str>,
) -> Result<(), EditError> {
    if from.is_empty() {
        return Err(EditError::Empty("from"));
    }
    // What is banned in every zone is banned in this one.
    let here = || config.bans.iter().filter(|ban| ban.zone.is_none() || ban.zone == zone);
    for prefix in from {
        if let Some(by) = here().flat_map(|ban| config.prefixes(&ban.from)).find(|net| net.contains(prefix)) {
            return Err(EditError::Banned { prefix: *prefix, by });
        }
    }
    let mut once: Vec<Ipv4Net> = Vec::new();
    from.iter().for_each(|prefix| {
        if !once.contains(prefix) {
            once.push(*prefix)
        }
    });
    let mut entries = vec![("from", one_or_list(once.iter().map(written)))];
    if let Some(zone) = zone {
        entries.push(("zone", Value::from(i64::from(zone))));
    }
    if let Some(comment) = comment {
        entries.push(("comment", Value::from(comment)));
    }
    push(document, BAN, entries);
    Ok(())
}

pub(super) fn remove(
    document: &mut DocumentMut,
    config: &Config,
    from: &[Ipv4Net],
    zone: Option<u16>,
) -> Result<(), EditError> {
    if from.is_empty() {
        return Err(EditError::Empty("from"));
    }
    let has = |ban: &BanRule, prefix: &Ipv4Net| ban.zone == zone && ban.from.nets.contains(prefix);
    if let Some(missing) = from.iter().find(|prefix| !config.bans.iter().any(|ban| has(ban, prefix))) {
        let cure = nearest(config, *missing, zone);
        return Err(EditError::NotBanned { what: words(&[*missing], zone), cure });
    }
    let kept = |text: &str| !units::prefix(text).is_ok_and(|prefix| from.contains(&prefix));
    // From the end, as removing a table gives those behind it other numbers.
    for index in (0..tables(document, BAN).len()).rev() {
        if config.bans.get(index).is_none_or(|ban| ban.zone != zone) {
            continue;
        }
        let table = table_mut(document, BAN, index);
        let Some(item) = table.and_then(|table| table.get_mut("from")) else { continue };
        if texts(Some(item)).into_iter().any(kept) {
            retain(Some(item), kept);
        } else {
            remove_table(document, BAN, index);
        }
    }
    Ok(())
}

/// What to do about a prefix that no ban has.
fn nearest(config: &Config, prefix: Ipv4Net, zone: Option<u16>) -> String {
    let all = || config.bans.iter().flat_map(|ban| ban.from.nets.iter().map(move |net| (net, ban.zone)));
    if let Some((_, other)) = all().find(|(net, other)| **net == prefix && *other != zone) {
        return match other {
            Some(other) => format!("it is in zone {other}: say so"),
            None => "it is in every zone: leave `zone` out".into(),
        };
    }
    if let Some((wider, _)) = all().find(|(net, _)| net.contains(&prefix)) {
        return format!("it lies in the ban of {wider}: remove that, and ban what of it is meant");
    }
    let named = config.bans.iter().flat_map(|ban| &ban.from.sets).filter_map(|set| config.sets.get(*set));
    match named.into_iter().find(|set| set.prefixes.iter().any(|net| net.contains(&prefix))) {
        Some(set) => format!("it lies in [set.{}], which is banned: change the set", set.name),
        None => "give a prefix as it is in `from` of a [[ban]]".into(),
    }
}

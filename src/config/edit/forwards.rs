//! Forwards: `[[dnat]]` rules, found by what clients use or by their backend.
//!
//! A rule of the file becomes one rule of the checked config for each of its protocols, in the order of the file; so
//! their numbers can be told from one another.

use super::EditError;
use super::document::{one_or_list, push, remove as remove_table, retain, table_mut, tables, texts};
use super::values::{Backend, Endpoint, NewForward, Ports, Protocol};
use crate::config::model::{BackendConfig, Config, DnatRule};
use std::net::Ipv4Addr;
use toml_edit::{DocumentMut, InlineTable, Item, Value, value};

const DNAT: &str = "dnat";
const DRAIN: &str = "drain";

/// A rule and the number of its table in the file.
type Found<'c> = (usize, &'c DnatRule);

fn rules<'c>(document: &DocumentMut, config: &'c Config) -> Vec<Found<'c>> {
    let protocols = tables(document, DNAT).into_iter().map(|table| texts(table.get("protocol")).len());
    let numbers = protocols.enumerate().flat_map(|(number, count)| std::iter::repeat_n(number, count));
    numbers.zip(&config.dnat).collect()
}

/// Whether clients reach the rule under this name or address.
fn is_target(config: &Config, rule: &DnatRule, on: Option<&str>, address: Option<Ipv4Addr>) -> bool {
    let own = rule.interface.and_then(|id| config.interfaces.get(id.index()));
    match on {
        Some(name) => own.is_some_and(|own| own.name == name && own.primary() == rule.address),
        None => address == Some(rule.address),
    }
}

fn one_target(on: Option<&str>, address: Option<Ipv4Addr>) -> Result<(), EditError> {
    if on.is_some() == address.is_some() { Err(EditError::Target) } else { Ok(()) }
}

pub(super) fn add(
    document: &mut DocumentMut,
    config: &Config,
    forward: &NewForward,
) -> Result<(), EditError> {
    let NewForward { on, address, protocol, port, to, source, syn_proxy, zone, comment } = forward;
    one_target(on.as_deref(), *address)?;
    if protocol.is_empty() {
        return Err(EditError::Empty("protocol"));
    }
    let overlaps = |rule: &&DnatRule| {
        is_target(config, rule, on.as_deref(), *address)
            && rule.ports.start() <= port.0.end()
            && port.0.start() <= rule.ports.end()
    };
    for rule in config.dnat.iter().filter(overlaps) {
        if let Some(protocol) = protocol.iter().find(|protocol| protocol.number() == rule.protocol) {
            let Some(first) = rule.backends.first() else { continue };
            let (to, ports) =
                (Backend { address: first.address, port: Some(first.port) }, Ports(rule.ports.clone()));
            return Err(EditError::Forwarded { protocol: *protocol, ports, to });
        }
    }
    let text = |text: String| Value::from(text);
    let port = port.single().map_or_else(|| text(port.to_string()), |port| Value::from(i64::from(port)));
    let entries = [
        ("on", on.clone().map(text)),
        ("address", address.map(|address| text(address.to_string()))),
        ("protocol", Some(one_or_list(protocol.iter().map(Protocol::to_string)))),
        ("port", Some(port)),
        ("to", Some(text(to.to_string()))),
        ("source", source.clone().map(text)),
        ("syn_proxy", syn_proxy.then(|| Value::from(true))),
        ("zone", zone.map(|zone| Value::from(i64::from(zone)))),
        ("comment", comment.clone().map(text)),
    ];
    push(document, DNAT, entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect());
    Ok(())
}

/// The rule that forwards all of these ports.
fn find<'c>(document: &DocumentMut, config: &'c Config, endpoint: &Endpoint) -> Result<Found<'c>, EditError> {
    let Endpoint { on, address, protocol, port } = endpoint;
    one_target(on.as_deref(), *address)?;
    let rules = rules(document, config).into_iter().filter(|(_, rule)| {
        rule.protocol == protocol.number()
            && rule.ports.contains(port.0.start())
            && rule.ports.contains(port.0.end())
            && is_target(config, rule, on.as_deref(), *address)
    });
    let rules: Vec<Found<'c>> = rules.collect();
    match rules.as_slice() {
        [] => Err(EditError::NoForward(endpoint.clone())),
        [one] => Ok(*one),
        _ => Err(EditError::Ambiguous(endpoint.clone())),
    }
}

pub(super) fn remove(
    document: &mut DocumentMut,
    config: &Config,
    endpoint: &Endpoint,
) -> Result<(), EditError> {
    let (number, rule) = find(document, config, endpoint)?;
    if rule.ports != endpoint.port.0 {
        let ports = Ports(rule.ports.clone());
        return Err(EditError::PartOfRange { endpoint: endpoint.clone(), ports });
    }
    let Some(item) = table_mut(document, DNAT, number).and_then(|table| table.get_mut("protocol")) else {
        return Err(EditError::NoForward(endpoint.clone()));
    };
    if texts(Some(item)).len() > 1 {
        retain(Some(item), |text| text != endpoint.protocol.name());
    } else {
        remove_table(document, DNAT, number);
    }
    Ok(())
}

fn set(document: &mut DocumentMut, number: usize, drain: bool) {
    let Some(table) = table_mut(document, DNAT, number) else { return };
    if !drain {
        table.remove(DRAIN);
        return;
    }
    match table.get_mut(DRAIN).and_then(toml_edit::Item::as_value_mut) {
        // It says `false`; what stands around it stays.
        Some(old) => {
            let decor = old.decor().clone();
            *old = Value::from(true);
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(DRAIN, value(true));
        }
    }
}

/// Begins or ends draining the rule that forwards the ports, for all of its ports and protocols.
pub(super) fn drain(
    document: &mut DocumentMut,
    config: &Config,
    endpoint: &Endpoint,
    drain: bool,
) -> Result<(), EditError> {
    let (number, rule) = find(document, config, endpoint)?;
    if rule.drain == drain {
        return Err(EditError::Already { what: format!("the forward of {endpoint}"), drained: drain });
    }
    set(document, number, drain);
    Ok(())
}

/// Begins or ends draining every rule that forwards to the backend.
pub(super) fn drain_backend(
    document: &mut DocumentMut,
    config: &Config,
    backend: Backend,
    drain: bool,
) -> Result<(), EditError> {
    let is_it = |rule: &DnatRule, one: &BackendConfig| {
        let last = one.port.saturating_add(rule.ports.end() - rule.ports.start());
        one.address == backend.address && backend.port.is_none_or(|port| (one.port..=last).contains(&port))
    };
    let mut rules = rules(document, config);
    rules.retain(|(_, rule)| rule.backends.iter().any(|one| is_it(rule, one)));
    if rules.is_empty() {
        return Err(EditError::NoBackend(backend));
    }
    // A rule with one backend is drained as a whole.
    rules.retain(|(_, rule)| match rule.backends.as_slice() {
        [_] => rule.drain != drain,
        several => several.iter().any(|one| is_it(rule, one) && one.drain != drain),
    });
    if rules.is_empty() {
        return Err(EditError::Already { what: format!("the backend {backend}"), drained: drain });
    }
    for (number, rule) in rules {
        if rule.backends.len() == 1 {
            set(document, number, drain);
            continue;
        }
        let Some(to) = table_mut(document, DNAT, number).and_then(|table| table.get_mut("to")) else {
            continue;
        };
        for (at, _) in rule.backends.iter().enumerate().filter(|(_, one)| is_it(rule, one)) {
            set_backend(to, at, drain);
        }
    }
    Ok(())
}

/// Begins or ends draining one of several backends of a rule.
fn set_backend(to: &mut Item, at: usize, drain: bool) {
    if let Some(table) = to.as_array_of_tables_mut().and_then(|tables| tables.get_mut(at)) {
        if drain {
            table.insert(DRAIN, value(true));
        } else {
            table.remove(DRAIN);
        }
        return;
    }
    let Some(one) = to.as_array_mut().and_then(|list| list.get_mut(at)) else { return };
    if let Some(text) = one.as_str() {
        if drain {
            let entries = [("address", Value::from(text)), (DRAIN, Value::from(true))];
            let table = Value::from(entries.into_iter().collect::<InlineTable>());
            let decor = one.decor().clone();
            *one = table;
            *one.decor_mut() = decor;
        }
    } else if let Some(table) = one.as_inline_table_mut() {
        if drain {
            table.insert(DRAIN, Value::from(true));
        } else {
            table.remove(DRAIN);
        }
    }
}

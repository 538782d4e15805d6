//! Devices, interfaces and pools: the same if their names are.

use super::{Diff, words};
use crate::config::model::{Config, DeviceConfig, InterfaceConfig, PoolConfig, UnsolicitedSyn};
use crate::config::parse::UNSOLICITED_SYN;
use crate::config::parse::behavior::POOLINGS;
use crate::device::spec::DeviceSpec;
use crate::ids::MacAddr;
use crate::nat::behavior::{Behavior, Dependence, PerProtocol, Pooling};
use crate::time::TICK;
use std::collections::HashMap;
use std::hash::Hash;

const DEVICE: &str = "devices are opened at the start";
const BUFFERS: &str =
    "the device was set up at the start, for packets of the size that its interfaces had then";

/// Entries of both lists by their keys, those of the second list in its order and then those that are only in the first.
pub(super) fn matched<'c, T, K: Hash + Eq>(
    before: &'c [T],
    after: &'c [T],
    key: impl Fn(&'c T) -> K,
) -> Vec<(Option<&'c T>, Option<&'c T>)> {
    let mut old: HashMap<K, &T> = before.iter().map(|entry| (key(entry), entry)).collect();
    let mut pairs: Vec<_> = after.iter().map(|entry| (old.remove(&key(entry)), Some(entry))).collect();
    let gone = before.iter().filter(|entry| old.contains_key(&key(entry)));
    pairs.extend(gone.map(|entry| (Some(entry), None)));
    pairs
}

pub(super) fn devices(diff: &mut Diff, before: &Config, after: &Config) {
    for pair in matched(&before.devices, &after.devices, |device| &device.spec) {
        match pair {
            (Some(DeviceConfig { spec, mac: old }), Some(DeviceConfig { spec: _, mac: new })) => {
                let text =
                    |mac: &Option<MacAddr>| mac.map_or_else(|| "its own".into(), |mac| mac.to_string());
                diff.fixed(format!("device {spec} mac"), old, new, text, DEVICE);
            }
            (old, new) => {
                let Some(device) = old.or(new) else { continue };
                let what = format!("device {}", device.spec);
                let text = |device: Option<&DeviceConfig>| if device.is_some() { "used" } else { "not used" };
                diff.needs_restart(what.clone(), text(old).into(), text(new).into(), DEVICE);
                if new.is_some() { diff.added(what) } else { diff.removed(what) }
            }
        }
    }
}

pub(super) fn interfaces(diff: &mut Diff, before: &Config, after: &Config) {
    let mut most: HashMap<&DeviceSpec, u16> = HashMap::new();
    for interface in &before.interfaces {
        if let Some(device) = before.devices.get(interface.device.index()) {
            let mtu = most.entry(&device.spec).or_default();
            *mtu = (*mtu).max(interface.mtu);
        }
    }
    for pair in matched(&before.interfaces, &after.interfaces, |interface| interface.name.as_str()) {
        match pair {
            (Some(old), Some(new)) => changed(diff, (before, old), (after, new)),
            (None, Some(new)) => diff.added(words::interface(after, new)),
            (Some(old), None) => {
                let what = format!("interface {}", old.name);
                diff.removed(what.clone());
                let why = "sessions, routes and neighbours know interfaces by number";
                diff.needs_restart(what, "there".into(), "removed".into(), why);
            }
            (None, None) => {}
        }
        let spec = |new: &InterfaceConfig| after.devices.get(new.device.index()).map(|device| &device.spec);
        // A device that is new has been reported.
        if let Some(new) = pair.1
            && let Some(most) = spec(new).and_then(|spec| most.get(spec))
            && new.mtu > *most
        {
            let what = format!("interface {} mtu", new.name);
            diff.needs_restart(what, format!("at most {most}"), new.mtu.to_string(), BUFFERS);
        }
    }
}

fn changed(
    diff: &mut Diff,
    (before, old): (&Config, &InterfaceConfig),
    (after, new): (&Config, &InterfaceConfig),
) {
    let InterfaceConfig {
        name,
        device,
        vlan,
        realm,
        zone,
        addresses,
        mtu,
        icmp_errors,
        mss_clamp,
        unsolicited_syn,
    } = old;
    let of = |what: &str| format!("interface {name} {what}");
    let why = "sessions and neighbours know the interface as what it was at the start";
    let (old_device, new_device) = (words::device(before, *device), words::device(after, new.device));
    diff.fixed(of("device"), &old_device, &new_device, String::clone, why);
    let text = |vlan: &u16| if *vlan == 0 { "untagged".into() } else { vlan.to_string() };
    diff.fixed(of("vlan"), vlan, &new.vlan, text, why);
    diff.fixed(of("realm"), realm, &new.realm, |realm| realm.name().into(), why);
    diff.fixed(of("zone"), zone, &new.zone, u16::to_string, why);
    diff.list(of("addresses"), addresses, &new.addresses);
    diff.value(of("mtu"), mtu, &new.mtu, u16::to_string);
    diff.value(of("icmp_errors"), icmp_errors, &new.icmp_errors, bool::to_string);
    diff.value(of("mss_clamp"), mss_clamp, &new.mss_clamp, words::mss_clamp);
    let word = |value: &UnsolicitedSyn| words::word(UNSOLICITED_SYN, value);
    diff.value(of("unsolicited_syn"), unsolicited_syn, &new.unsolicited_syn, word);
}

pub(super) fn pools(diff: &mut Diff, before: &[PoolConfig], after: &[PoolConfig]) {
    for pair in matched(before, after, |pool| pool.name.as_str()) {
        match pair {
            (Some(PoolConfig { name, addresses, ports, behavior: how, fixed }), Some(new)) => {
                let what = format!("pool {name} addresses");
                let (old_ranges, new_ranges) = (words::ranges(addresses), words::ranges(&new.addresses));
                if words::is_short(&old_ranges) && words::is_short(&new_ranges) {
                    diff.list(what, &old_ranges, &new_ranges);
                } else {
                    diff.list(what, addresses, &new.addresses);
                }
                diff.value(format!("pool {name} ports"), ports, &new.ports, words::ports);
                behavior(diff, &format!("pool {name}"), how, &new.behavior);
                diff.value(format!("pool {name} deterministic"), fixed, &new.fixed, words::deterministic);
            }
            (None, Some(PoolConfig { name, addresses, ports, .. })) => {
                let (ranges, ports) = (words::list(&words::ranges(addresses)), words::ports(ports));
                diff.added(format!("pool {name}: {ranges}, ports {ports}"));
            }
            (Some(old), None) => diff.removed(format!("pool {}", old.name)),
            (None, None) => {}
        }
    }
}

/// How something maps and filters.
pub(super) fn behavior(diff: &mut Diff, of: &str, before: &Behavior, after: &Behavior) {
    let Behavior { mapping, filtering, pooling, hold_down, ports_per_subscriber, sharing } = before;
    let by_protocol = |values: &PerProtocol<Dependence>| words::per_protocol(&values.map(Dependence::name));
    diff.value(format!("{of} mapping"), mapping, &after.mapping, by_protocol);
    diff.value(format!("{of} filtering"), filtering, &after.filtering, by_protocol);
    let word = |value: &Pooling| words::word(POOLINGS, value);
    diff.value(format!("{of} pooling"), pooling, &after.pooling, word);
    let seconds = |ticks: &u32| format!("{}s", TICK.saturating_mul(*ticks).as_secs_f32());
    diff.value(format!("{of} hold_down"), hold_down, &after.hold_down, seconds);
    let limit = |limit: u32| if limit == u32::MAX { "any number".to_owned() } else { limit.to_string() };
    let limits = |values: &PerProtocol<u32>| words::per_protocol(&values.map(limit));
    diff.value(
        format!("{of} ports_per_subscriber"),
        ports_per_subscriber,
        &after.ports_per_subscriber,
        limits,
    );
    diff.value(format!("{of} ports of a host"), sharing, &after.sharing, words::sharing);
}

//! A new configuration with its devices and interfaces in the order of the running one.
//!
//! Workers, sessions, counters and neighbours know devices and interfaces by number, so what stays keeps its number
//! when the configuration changes. Devices are the same if their specs are, interfaces if their names are; new ones
//! follow those that stay, in their own order.
//!
//! The order of routes and rules has a meaning and is kept. That of interfaces has one only where connected networks of
//! two zones are equal, the first of which wins; there, the order of the running configuration holds on.

use super::model::{
    Config, ConntrackConfig, DeviceConfig, DnatRule, InterfaceConfig, RouteConfig, SnatRule, StaticRule,
};
use crate::classify::notrack::NotrackClass;
use crate::conntrack::policy::TrackRule;
use crate::ids::{DeviceId, InterfaceId};
use std::collections::HashMap;
use std::hash::Hash;

/// The same configuration as `config`, with devices and interfaces numbered as in `running`.
pub fn reorder(config: Config, running: &Config) -> Config {
    let Config {
        runtime,
        conntrack,
        devices,
        interfaces,
        routes,
        pools,
        masquerade,
        statics,
        snat,
        dnat,
        bans,
        sets,
        notrack,
        alg,
    } = config;
    let device_ranks = Ranks::of(running.devices.iter().map(|device| &device.spec));
    let interface_ranks = Ranks::of(running.interfaces.iter().map(|interface| interface.name.as_str()));
    let (devices, device_numbers) = device_ranks.sort(devices, |device: &DeviceConfig| &device.spec);
    let (mut interfaces, numbers) =
        interface_ranks.sort(interfaces, |interface: &InterfaceConfig| interface.name.as_str());
    for interface in &mut interfaces {
        interface.device = DeviceId(new_number(&device_numbers, interface.device.0));
    }
    let to = |id: InterfaceId| InterfaceId(new_number(&numbers, id.0));
    let ConntrackConfig { max_sessions, timeouts, timeout_sets, rules, tcp, limits } = conntrack;
    let rules = rules.into_iter().map(|rule| TrackRule { on: rule.on.map(to), ..rule }).collect();
    Config {
        runtime,
        conntrack: ConntrackConfig { max_sessions, timeouts, timeout_sets, rules, tcp, limits },
        devices,
        interfaces,
        routes: routes.into_iter().map(|r| RouteConfig { interface: to(r.interface), ..r }).collect(),
        pools,
        masquerade,
        statics: statics.into_iter().map(|rule| StaticRule { out: rule.out.map(to), ..rule }).collect(),
        snat: snat
            .into_iter()
            .map(|rule| SnatRule {
                on: rule.on.iter().copied().map(to).collect(),
                out: rule.out.map(to),
                ..rule
            })
            .collect(),
        dnat: dnat.into_iter().map(|rule| DnatRule { interface: rule.interface.map(to), ..rule }).collect(),
        bans,
        sets,
        notrack: notrack
            .into_iter()
            .map(|class| NotrackClass { on: class.on.iter().copied().map(to).collect(), ..class })
            .collect(),
        alg,
    }
}

/// The places of what runs.
struct Ranks<K>(HashMap<K, usize>);

impl<'k, K: Hash + Eq + ?Sized> Ranks<&'k K> {
    fn of(keys: impl Iterator<Item = &'k K>) -> Self {
        Ranks(keys.zip(0..).collect())
    }

    /// The list in its new order, and the new number of each old one.
    fn sort<T>(&self, list: Vec<T>, key: impl Fn(&T) -> &K) -> (Vec<T>, Vec<u8>) {
        let mut order: Vec<(usize, T)> = list.into_iter().enumerate().collect();
        // Stable: new ones stay in their own order.
        order.sort_by_key(|(_, item)| self.0.get(key(item)).copied().unwrap_or(usize::MAX));
        let mut numbers = vec![0; order.len()];
        for (new, (old, _)) in (0u8..).zip(&order) {
            if let Some(number) = numbers.get_mut(*old) {
                *number = new;
            }
        }
        (order.into_iter().map(|(_, item)| item).collect(), numbers)
    }
}

/// Every index in a checked configuration is valid, so there is one.
fn new_number(numbers: &[u8], old: u8) -> u8 {
    numbers.get(usize::from(old)).copied().unwrap_or(old)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::config::parse;
    use proptest::prelude::*;

    /// Interfaces of a file, each on a device of its own but for two VLANs.
    const INTERFACES: &[&str] = &[
        "[interface.wan]\ndevice = 'tap:wan'\nrealm = 'external'\naddress = '203.0.113.2/24'\n\
         gateway = '203.0.113.1'\n",
        "[interface.red]\ndevice = 'tap:lan'\nvlan = 10\nrealm = 'internal'\naddress = '10.1.0.1/16'\nzone = 1\n",
        "[interface.blue]\ndevice = 'tap:lan'\nvlan = 20\nrealm = 'internal'\naddress = '10.2.0.1/16'\n",
        "[interface.dmz]\ndevice = 'tap:dmz'\nrealm = 'internal'\naddress = '10.3.0.1/16'\nmtu = 9000\n",
        "[interface.backup]\ndevice = 'tap:backup'\nrealm = 'external'\naddress = '198.51.100.2/24'\n",
    ];

    const RULES: &str = "
        [[route]]\nto = '172.16.0.0/12'\nvia = '10.3.0.9'\n
        [[snat]]\nout = 'backup'\nfrom = '10.3.0.0/16'\n
        [[snat]]\nout = 'wan'\n
        [[dnat]]\non = 'wan'\nprotocol = 'tcp'\nport = 80\nto = '10.3.0.9'\n
        [[dnat]]\non = 'backup'\nprotocol = ['tcp', 'udp']\nport = 53\nto = '10.2.0.9'\n
        [[conntrack.rule]]\non = 'dmz'\nmark = 1\n
        [[conntrack.rule]]\non = 'red'\nmark = 2\n";

    fn config(order: &[usize]) -> Config {
        let text: String = order.iter().map(|n| INTERFACES[*n]).collect();
        parse(&(text + RULES), "x").unwrap().config
    }

    proptest! {
        #[test]
        fn a_file_whose_interfaces_changed_places_is_the_running_config_again(
            order in Just((0..INTERFACES.len()).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let running = config(&[0, 1, 2, 3, 4]);
            prop_assert_eq!(reorder(config(&order), &running), running);
        }
    }

    #[test]
    fn what_is_new_follows_and_what_is_gone_leaves_no_gap() {
        let parsed = |parts: &[&str]| parse(&parts.concat(), "x").unwrap().config;
        let [wan, red, blue, dmz, backup] = INTERFACES else { unreachable!() };
        let running = parsed(&[wan, red, dmz]);
        let reordered = reorder(parsed(&[backup, blue, dmz, wan]), &running);
        let names: Vec<&str> = reordered.interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["wan", "dmz", "backup", "blue"]);
        let devices: Vec<String> = reordered.devices.iter().map(|d| d.spec.to_string()).collect();
        // The device of red stays, as blue lives on it.
        assert_eq!(devices, ["tap:wan", "tap:lan", "tap:dmz", "tap:backup"]);
        let on: Vec<usize> = reordered.interfaces.iter().map(|i| i.device.index()).collect();
        assert_eq!(on, [0, 2, 3, 1]);
        assert_eq!(reordered.routes[0].interface, InterfaceId(0));
    }

    #[test]
    fn rules_stay_in_the_order_of_the_file() {
        let snat = |out: &[&str]| {
            let rules: String = out.iter().map(|out| format!("[[snat]]\nout = '{out}'\n")).collect();
            parse(&(INTERFACES.concat() + &rules), "x").unwrap().config
        };
        let running = snat(&["wan", "backup"]);
        let reordered = reorder(snat(&["backup", "wan"]), &running);
        assert_eq!(reordered.interfaces, running.interfaces);
        assert_eq!(reordered.snat, [running.snat[1].clone(), running.snat[0].clone()]);
    }
}

//! Why source rules before the one that a packet meets do not match: the first key of each that does not fit.

use crate::classify::notrack::Addresses;
use crate::config::model::{Config, SnatRule};
use crate::control::api;
use crate::ids::InterfaceId;
use crate::packet::Tuple;
use crate::wire::protocol;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Rules that are told of, the nearest to the one that matches: who has more knows where to look then.
const MOST: usize = 16;

/// The source rules before number `end`, or all of them, of a packet that comes in by `arrival` and leaves by `out`.
pub(super) fn rules(
    config: &Config,
    (arrival, out): (InterfaceId, InterfaceId),
    tuple: &Tuple,
    end: Option<u32>,
) -> Vec<api::ExplainedPassed> {
    let end =
        end.and_then(|end| usize::try_from(end).ok()).unwrap_or(config.snat.len()).min(config.snat.len());
    let why = |rule| why(config, (arrival, out), tuple, rule);
    let passed = config.snat.iter().enumerate().take(end).skip(end.saturating_sub(MOST));
    let told = passed.filter_map(|(at, rule)| {
        Some(api::ExplainedPassed { kind: "snat".to_owned(), number: at as u64 + 1, because: why(rule)? })
    });
    told.collect()
}

/// The first key that does not fit, in words; `None`: all of them do.
fn why(
    config: &Config,
    (arrival, out): (InterfaceId, InterfaceId),
    tuple: &Tuple,
    rule: &SnatRule,
) -> Option<String> {
    let name = |id: InterfaceId| config.interfaces.get(id.index()).map_or("", |interface| &interface.name);
    let zone = config.interfaces.get(arrival.index()).map_or(0, |interface| interface.zone);
    let has_address = |addresses: &Addresses, address: Ipv4Addr| {
        addresses.is_any() || config.prefixes(addresses).any(|prefix| prefix.contains(&address))
    };
    let has_port = |ports: &[RangeInclusive<u16>], port: u16| {
        ports.is_empty()
            || protocol::has_ports(tuple.protocol) && ports.iter().any(|range| range.contains(&port))
    };
    let lacks = |key: &str, value: &dyn std::fmt::Display| Some(format!("`{key}` does not have {value}"));
    if !rule.on.is_empty() && !rule.on.contains(&arrival) {
        return lacks("on", &name(arrival));
    }
    if rule.zone.is_some_and(|of| of != zone) {
        return lacks("zone", &zone);
    }
    if !rule.protocols.is_empty() && !rule.protocols.contains(&tuple.protocol) {
        let name = protocol::name(tuple.protocol).map_or_else(|| tuple.protocol.to_string(), str::to_owned);
        return lacks("protocol", &name);
    }
    if !has_address(&rule.from, tuple.src) {
        return lacks("from", &tuple.src);
    }
    if !has_port(&rule.from_ports, tuple.sport) {
        return lacks("from_port", &tuple.sport);
    }
    if !has_address(&rule.to, tuple.dst) {
        return lacks("to", &tuple.dst);
    }
    if !has_port(&rule.ports, tuple.dport) {
        return lacks("port", &tuple.dport);
    }
    if rule.out.is_some_and(|of| of != out) {
        return lacks("out", &name(out));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = "
        [interface.lan]\ndevice = 'tap:a'\nrealm = 'internal'\naddress = '10.0.0.1/8'\n
        [interface.wan]\ndevice = 'tap:b'\nrealm = 'external'\naddress = '203.0.113.2/24'\n
        [interface.dmz]\ndevice = 'tap:c'\nrealm = 'internal'\naddress = '192.168.1.1/24'\n
        [set.offices]\nprefixes = ['10.1.0.0/16', '10.2.0.0/16']\n
        [[snat]]\non = 'dmz'\n
        [[snat]]\nprotocol = 'udp'\n
        [[snat]]\nfrom = 'set.offices'\n
        [[snat]]\nprotocol = 'tcp'\nfrom_port = '1-1023'\n
        [[snat]]\nto = '198.51.100.0/24'\n
        [[snat]]\nprotocol = 'tcp'\nport = [25, '8000-8010']\n
        [[snat]]\n
        [[snat]]\nfrom = '10.9.0.0/16'\n";

    #[test]
    fn each_rule_before_the_one_that_matches_says_which_key_does_not_fit() {
        let config = crate::config::parse(LAB, "x").unwrap().config;
        let tuple = Tuple {
            src: Ipv4Addr::new(10, 3, 0, 1),
            dst: Ipv4Addr::new(192, 0, 2, 1),
            sport: 4000,
            dport: 443,
            protocol: protocol::TCP,
        };
        let told = |end| rules(&config, (InterfaceId(0), InterfaceId(1)), &tuple, end);
        let reasons: Vec<_> = told(Some(6)).into_iter().map(|rule| (rule.number, rule.because)).collect();
        let expected = [
            "`on` does not have lan",
            "`protocol` does not have tcp",
            "`from` does not have 10.3.0.1",
            "`from_port` does not have 4000",
            "`to` does not have 192.0.2.1",
            "`port` does not have 443",
        ];
        assert_eq!(reasons, (1..).zip(expected.map(str::to_owned)).collect::<Vec<_>>());
        assert!(told(Some(0)).is_empty());
        assert_eq!(told(None).last().unwrap().because, "`from` does not have 10.3.0.1");
    }
}

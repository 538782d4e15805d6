//! Rules in a few words, for the label `rule`: enough to recognise one, short whatever the config says.

use crate::config::Config;
use crate::config::model::{DnatRule, SnatRule, SourcePool};
use crate::ids::InterfaceId;
use crate::wire::protocol;
use ipnet::Ipv4Net;

/// Such as `10.0.0.0/8 out wan: pool carrier`.
pub(super) fn snat(config: &Config, rule: &SnatRule) -> String {
    let mut text = nets(&rule.from);
    if !rule.to.is_empty() {
        text = format!("{text} to {}", nets(&rule.to));
    }
    if let Some(zone) = rule.zone {
        text = format!("{text} zone {zone}");
    }
    if let Some(out) = rule.out {
        text = format!("{text} out {}", interface(config, out));
    }
    format!("{text}: {}", source(config, rule.source))
}

/// Such as `tcp 203.0.113.2:8080 to 192.168.1.10:80`.
pub(super) fn dnat(config: &Config, rule: &DnatRule) -> String {
    let protocol = match rule.protocol {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        _ => "other",
    };
    let ports = match (rule.ports.start(), rule.ports.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let text = format!("{protocol} {}:{ports} to {}:{}", rule.address, rule.to, rule.to_port);
    rule.source.map_or(text.clone(), |pool| format!("{text} from {}", source(config, pool)))
}

fn nets(nets: &[Ipv4Net]) -> String {
    match nets {
        [] => "any".to_owned(),
        [only] => only.to_string(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    }
}

fn interface(config: &Config, id: InterfaceId) -> &str {
    config.interfaces.get(id.index()).map_or("?", |interface| &interface.name)
}

fn source(config: &Config, source: SourcePool) -> String {
    match source {
        SourcePool::Interface => "interface".to_owned(),
        SourcePool::Pool(number) => {
            format!("pool {}", config.pools.get(number).map_or("?", |pool| &pool.name))
        }
    }
}

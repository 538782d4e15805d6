//! Application level gateways: whom they can not help.

use crate::config::draft::Draft;
use crate::config::error::Span;
use crate::config::mistake::Caution;
use crate::config::model::{AlgConfig, Config, DnatRule, SourcePool};
use crate::config::reader::Findings;
use crate::nat::alg::Helper;
use crate::nat::behavior::Behavior;
use crate::wire::protocol::TCP;

pub(super) fn build(draft: &Draft) -> AlgConfig {
    let (alg, usual) = (&draft.alg, AlgConfig::default());
    AlgConfig {
        ports: alg
            .ports
            .each_ref()
            .map(|ports| ports.as_ref().map(|at| at.value.clone()).unwrap_or_default()),
        max_expectations: alg.max_expectations.unwrap_or(usual.max_expectations),
        max_sessions: alg.max_sessions.unwrap_or(usual.max_sessions),
        timeout: alg.timeout.unwrap_or(usual.timeout),
    }
}

/// Addresses that give no host a port of its own, and forwards whose sessions can not be helped.
pub(super) fn doubts(draft: &Draft, config: &Config, findings: &mut Findings) {
    for ((_, helper), place) in Helper::NAMES.into_iter().zip(&draft.alg.ports) {
        let Some(at) = place.as_ref().map(|place| place.at) else { continue };
        unmapped(config, (helper, at), findings);
        if helper == Helper::Ftp {
            config
                .dnat
                .iter()
                .filter(|rule| is_ftp(config, rule))
                .for_each(|rule| forward(config, rule, at, findings));
        }
    }
}

/// Of what sources are translated to.
fn unmapped(config: &Config, (helper, at): (Helper, Span), findings: &mut Findings) {
    let by_flow = |behavior: &Behavior| !behavior.keeps_mappings(helper.protocol());
    let is_used = |source: SourcePool| config.snat.iter().any(|rule| rule.source == Some(source));
    let mut names: Vec<String> = Vec::new();
    if is_used(SourcePool::Interface) && by_flow(&config.masquerade) {
        names.push("masquerade".into());
    }
    let pools = config.pools.iter().enumerate();
    let pools = pools.filter(|(number, pool)| is_used(SourcePool::Pool(*number)) && by_flow(&pool.behavior));
    names.extend(pools.map(|(_, pool)| format!("pool.{}", pool.name)));
    for name in names {
        findings.warn(at, Caution::AlgUnmapped { helper: helper.name(), name });
    }
}

/// Whether control connections go by a forward.
fn is_ftp(config: &Config, rule: &DnatRule) -> bool {
    let [ports, _] = &config.alg.ports;
    rule.protocol == TCP
        && ports.iter().any(|port| {
            let offset = rule.ports.end() - rule.ports.start();
            let behind = |first: u16| port.checked_sub(first).is_some_and(|n| n <= offset);
            rule.ports.contains(port) || rule.backends.iter().any(|backend| behind(backend.port))
        })
}

fn forward(config: &Config, rule: &DnatRule, at: Span, findings: &mut Findings) {
    let address = rule.address;
    let mut unhelped = |why: &'static str| findings.warn(at, Caution::AlgForward { address, why });
    if rule.syn_proxy {
        return unhelped("has a SYN proxy");
    }
    if rule.source.is_some() {
        return unhelped("translates the source too");
    }
    let is_static = config.statics.iter().any(|fixed| fixed.external.contains(&address));
    let pool = config.pools.iter().find(|pool| pool.addresses.contains(&address));
    let behavior = match (rule.interface, pool) {
        (Some(_), _) => Some(config.masquerade),
        (None, pool) => pool.map(|pool| pool.behavior),
    };
    if !is_static && !behavior.is_some_and(|behavior| behavior.keeps_mappings(TCP)) {
        unhelped("is on an address that gives hosts no ports of their own");
    }
}

//! The text of `natgate explain`: the way of a packet, one step a line, in the order in which the gateway decides.

use super::table::{duration, grouped, hanging, percent};
use crate::control::api::{self, ExplainedEnds};
use std::io::{self, Write};

const GOOD: &str = "\x1b[1;32m";
const BAD: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// Writes the steps and the verdict.
pub fn write_explanation(out: &mut dyn Write, told: &api::Explanation, colour: bool) -> io::Result<()> {
    for (number, (name, text)) in (1..).zip(steps(told)) {
        hanging(out, &format!("{number:>2}  {name:<9}  "), &text)?;
    }
    let verdict = &told.verdict;
    let is_good = verdict.outcome != "dropped";
    let (start, end) = match (colour, is_good) {
        (false, _) => ("", ""),
        (true, true) => (GOOD, PLAIN),
        (true, false) => (BAD, PLAIN),
    };
    let head = verdict.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    writeln!(out, "\n{start}{}{end}{head}", verdict.outcome)?;
    if let (Some(help), Some(packets)) = (&verdict.help, verdict.packets) {
        hanging(out, "  ", help)?;
        hanging(out, "  ", &format!("{} packets were dropped for this so far.", grouped(packets)))?;
    }
    if let Some(icmp) = &verdict.icmp {
        hanging(out, "  ", &format!("The sender is told by ICMP {icmp}, within the rate limit."))?;
    }
    for condition in &verdict.provided {
        hanging(out, "  provided that ", condition)?;
    }
    Ok(())
}

/// Writes who is behind an external address and port.
pub fn write_behind(
    out: &mut dyn Write,
    external: &str,
    protocol: &str,
    sessions: &[api::Session],
) -> io::Result<()> {
    if sessions.is_empty() {
        return writeln!(out, "Nobody: no {protocol} session is behind {external} now.");
    }
    for session in sessions {
        let (original, reply) = (&session.original, &session.reply);
        let inside = end(original.src, original.sport.or(original.icmp_id));
        let remote = end(reply.src, reply.sport);
        let text = format!(
            "{inside} (zone {}), {}, to {remote}; {}, {} old, idle for {}, worker {}",
            session.zone,
            session.protocol,
            session.state,
            duration(session.age_seconds),
            duration(session.idle_seconds),
            session.worker,
        );
        hanging(out, &format!("{external}  "), &text)?;
    }
    Ok(())
}

fn steps(told: &api::Explanation) -> Vec<(&'static str, String)> {
    let mut steps = vec![("packet", packet(&told.packet)), ("arrives", arrives(&told.packet))];
    steps.push(("class", told.class.clone()));
    steps.extend(told.owner.as_ref().map(|owner| ("owner", self::owner(owner))));
    if let Some(session) = &told.session {
        steps.push(("session", self::session(session, told.direction.as_deref())));
    } else if told.notrack.as_ref().is_some_and(|class| class.settling) {
        let why = "none; those that were there before the class go on, so one was looked for";
        steps.push(("session", why.to_owned()));
    } else if told.owner.is_some() {
        steps.push(("session", "none".to_owned()));
    }
    steps.extend(told.passed.iter().map(|rule| ("passes", self::passed(rule))));
    steps.extend(told.rule.as_ref().map(|rule| ("rule", self::rule(rule))));
    steps.extend(told.next_hop.as_ref().map(|hop| ("next hop", next_hop(hop))));
    steps.extend(told.tracking.as_ref().map(|tracking| ("tracker", self::tracking(tracking))));
    steps.extend(told.limits.as_ref().map(|limits| ("limits", self::limits(limits))));
    steps.extend(told.mapping.as_ref().map(|mapping| ("mapping", self::mapping(mapping))));
    let sent = if told.verdict.outcome == "answered" { "answered" } else { "sent as" };
    steps.extend(told.sent.as_ref().map(|ends| (sent, self::ends(ends))));
    steps.extend(told.notrack.as_ref().and_then(class_answer).map(|answer| ("answers", answer)));
    steps.extend(told.answers.as_ref().map(|answers| ("answers", self::answers(answers, told))));
    steps
}

fn passed(rule: &api::ExplainedPassed) -> String {
    format!("{} {}: {}", rule.kind, rule.number, rule.because)
}

fn packet(packet: &api::ExplainedPacket) -> String {
    let kind = packet.kind.as_ref().map(|kind| format!(" {kind}")).unwrap_or_default();
    let df = if packet.df { ", DF" } else { "" };
    format!(
        "{}{kind} {}, {} bytes, TTL {}{df}",
        packet.protocol,
        ends(&packet.ends),
        grouped(packet.size.into()),
        packet.ttl
    )
}

fn arrives(packet: &api::ExplainedPacket) -> String {
    let why = if packet.interface_given { "" } else { ": the route to its source leads there" };
    format!(
        "by {} ({}, zone {}; {} frames received){why}",
        packet.interface,
        packet.realm,
        packet.zone,
        grouped(packet.rx_packets)
    )
}

fn owner(owner: &api::ExplainedOwner) -> String {
    let plan = owner.plan.as_ref().map(|plan| format!("; plan {plan}")).unwrap_or_default();
    let handoff = match (owner.workers, owner.delivered_to) {
        (1, _) => return format!("worker {}: {}", owner.worker, owner.why),
        (_, Some(to)) if to == owner.worker => ", the NIC delivers it there".to_owned(),
        (_, Some(to)) => format!(", the NIC delivers it to worker {to}, which hands it over"),
        (_, None) => ", handed over by whoever receives it".to_owned(),
    };
    format!("worker {} of {}, {}{plan}{handoff}", owner.worker, owner.workers, owner.why)
}

fn session(session: &api::Session, direction: Option<&str>) -> String {
    let flow = |flow: &api::Flow| {
        format!(
            "{} to {}, {} packet{}, {} bytes",
            end(flow.src, flow.sport.or(flow.icmp_id)),
            end(flow.dst, flow.dport),
            grouped(flow.packets),
            if flow.packets == 1 { "" } else { "s" },
            grouped(flow.bytes)
        )
    };
    format!(
        "{}, {} old, idle for {}, expires in {}; original {}; reply {}; this is its {} direction",
        session.state,
        duration(session.age_seconds),
        duration(session.idle_seconds),
        duration(session.expires_seconds),
        flow(&session.original),
        flow(&session.reply),
        direction.unwrap_or("original"),
    )
}

fn rule(rule: &api::Rule) -> String {
    let drained = if rule.drained { ", drained" } else { "" };
    let made = rule.sessions.map(|made| format!(" ({} sessions so far{drained})", grouped(made)));
    let down = if rule.down.is_empty() { String::new() } else { format!("; down: {}", rule.down.join(", ")) };
    format!("{} {}: {}{}{down}", rule.kind, rule.number, rule.text, made.unwrap_or_default())
}

fn next_hop(hop: &api::ExplainedHop) -> String {
    let who = if hop.is_router { "router" } else { "on the link" };
    let mac = hop.mac.as_ref().map(|mac| format!("{mac}, ")).unwrap_or_default();
    let route = hop.route.as_ref().map(|route| format!("route {route}, ")).unwrap_or_default();
    format!(
        "{route}by {} to {} ({who}; {mac}{}), MTU {}; {} frames sent",
        hop.interface,
        hop.neighbor,
        hop.state,
        hop.mtu,
        grouped(hop.tx_packets)
    )
}

fn tracking(tracking: &api::ExplainedTracking) -> String {
    format!(
        "{}, {} (timeout {} of set {}, mark {})",
        tracking.state,
        tracking.effect,
        duration(tracking.timeout_seconds),
        tracking.timeout_set,
        tracking.mark
    )
}

fn limits(limits: &api::ExplainedLimits) -> String {
    let used = &limits.sessions;
    let mut text = format!(
        "{} of {} sessions ({}), full at {}; {} half-open of {}; {} of this source",
        grouped(used.used),
        grouped(used.capacity),
        percent(used.used, used.capacity),
        grouped(limits.full_at),
        grouped(limits.half_open),
        grouped(limits.half_open_limit),
        grouped(limits.of_source),
    );
    if let Some(limit) = limits.source_limit {
        text.push_str(&format!(" of {}", grouped(limit)));
    }
    if let Some(rate) = limits.source_rate {
        text.push_str(&format!(", {} new a second", grouped(rate)));
    }
    if limits.management {
        text.push_str("; a management source, which no limit binds");
    }
    if let Some(evicts) = &limits.evicts {
        text.push_str(&format!("; an older session goes for it ({evicts})"));
    }
    text
}

fn mapping(mapping: &api::ExplainedMapping) -> String {
    let head = format!("{} of {}", mapping.address, mapping.source);
    match (mapping.port, mapping.free, mapping.usable) {
        (Some(port), Some(free), Some(usable)) => format!(
            "{head}, port {port} if it is still free then, else a random one of {} free of {}",
            grouped(free),
            grouped(usable)
        ),
        (None, Some(free), Some(usable)) => {
            format!("{head}, a random port of {} free of {}", grouped(free), grouped(usable))
        }
        (None, None, Some(usable)) => {
            format!("{head}, a random port of blocks of its host, who may have {} ports", grouped(usable))
        }
        _ => format!("{head}; the protocol has no ports"),
    }
}

fn answers(answers: &api::ExplainedAnswers, told: &api::Explanation) -> String {
    let worker = match (answers.worker, told.owner.as_ref().map(|owner| owner.worker)) {
        (Some(worker), Some(owner)) if worker == owner => format!("come to worker {worker} too"),
        (Some(worker), _) => format!("come to worker {worker}"),
        (None, owner) => format!("come to worker {}: the port is chosen for that", owner.unwrap_or_default()),
    };
    format!("{}, from the {} side, {worker}", ends(&answers.ends), answers.realm)
}

fn class_answer(class: &api::ExplainedClass) -> Option<String> {
    let answer = class.answer.as_ref()?;
    let asymmetric = if answer.passes { "" } else { " (asymmetric)" };
    Some(format!("{}, by {}: {}{asymmetric}", ends(&answer.ends), answer.interface, answer.fate))
}

/// A port that is not known yet is a star.
fn ends(ends: &ExplainedEnds) -> String {
    let has_ports = ends.sport.is_some() || ends.dport.is_some();
    let one = |address, port: Option<u16>| match port {
        None if has_ports => format!("{address}:*"),
        port => end(address, port),
    };
    let id = ends.icmp_id.map(|id| format!(", id {id}")).unwrap_or_default();
    format!("{} > {}{id}", one(ends.src, ends.sport), one(ends.dst, ends.dport))
}

fn end(address: std::net::Ipv4Addr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| format!("{address}:{port}"))
}

#[cfg(test)]
#[path = "explain_text_tests.rs"]
mod tests;

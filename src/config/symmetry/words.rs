//! What is found, in sentences: what is wrong, what to do, and what to add.

use super::fate::Reply;
use crate::classify::notrack::{NotrackClass, Treatment, Way};
use crate::packet::{Kind, Tuple};
use crate::pipeline::Snapshot;
use crate::pipeline::plan::Header;
use crate::telemetry::DropReason;
use crate::wire::{protocol, tcp};

/// Text, cure, and the class that is missing.
type Told = (String, String, Option<String>);

/// The protocol and ends of a packet.
pub(super) fn packet(header: &Header) -> String {
    let number = header.tuple.protocol;
    let name = protocol::name(number).map_or_else(|| number.to_string(), str::to_owned);
    let flags = match header.kind {
        Kind::Tcp { flags } => {
            let set = tcp::FLAGS.iter().filter(|(_, flag)| flags & flag != 0).map(|(name, _)| *name);
            format!(" {}", set.collect::<Vec<_>>().join("+"))
        }
        _ => String::new(),
    };
    format!("{name}{} {}", flags.trim_end(), ends(&header.tuple))
}

/// Addresses, and ports if it has any.
pub(super) fn ends(tuple: &Tuple) -> String {
    let Tuple { src, dst, sport, dport, .. } = tuple;
    if protocol::has_ports(tuple.protocol) {
        format!("{src}:{sport} -> {dst}:{dport}")
    } else {
        format!("{src} -> {dst}")
    }
}

pub(super) fn sampled(text: &str, tried: u64, total: u64) -> String {
    format!("{text} ({tried} of {total} kinds of packets were tried)")
}

pub(super) fn asymmetric(header: &Header, reply: &Header, end: &str) -> String {
    format!("{} passes without tracking, but the answer {} {end}", packet(header), packet(reply))
}

pub(super) fn make_symmetric(exposed: bool, apart: bool) -> String {
    let and = if exposed { " and `untranslated = true`" } else { "" };
    let or = if apart { "; or, to keep the two ways apart, add this:" } else { "" };
    format!("set `symmetric = true`{and} in it{or}")
}

pub(super) fn half_tracked(header: &Header, end: &str) -> Told {
    let text = format!("{} passes without tracking, but of the same connection {end}", packet(header));
    (text, "remove `tcp_flags`, or let another class take the rest of the connection".into(), None)
}

pub(super) fn taken((other, way): (&str, Way), header: &Header, reply: &Reply, end: &str) -> Told {
    let whose = match way {
        Way::There => "packets of clients",
        Way::Back => "answers",
    };
    let text = format!(
        "{} passes, but the answer {} is taken for {whose} of class \"{other}\", which {end}",
        packet(header),
        packet(&reply.header)
    );
    (text, format!("put it before \"{other}\", or narrow that one"), None)
}

pub(super) fn untranslated(class: &NotrackClass, header: &Header) -> Told {
    let text = format!(
        "{} is dropped as notrack_untranslated: it would leave by an external interface with an internal source",
        packet(header)
    );
    let one = match class.from.nets.as_slice() {
        [net] if class.from.sets.is_empty() => format!(" (a prefix of {} bits)", net.prefix_len()),
        _ => String::new(),
    };
    let cure = format!(
        "translate the clients with `translate_from`{one}, narrow `from` or `to`, or set `untranslated = true` if the \
         sources are valid outside"
    );
    (text, cure, None)
}

pub(super) fn answers_untranslated(class: &NotrackClass, reply: &Header) -> Told {
    let text = format!(
        "the answer {} is dropped as notrack_untranslated: it would leave by an external interface with an internal \
         source",
        packet(reply)
    );
    let name = class.to.nets.first().map_or_else(|| "the service".to_owned(), ToString::to_string);
    let cure = format!(
        "give the service an outside address in `to` and set `translate_to` to what it is inside, set `untranslated = \
         true` if {name} is valid outside, or say by `on` that clients are inside"
    );
    (text, cure, None)
}

pub(super) fn stuck(snap: &Snapshot, header: &Header, reason: DropReason) -> Told {
    let text = format!("no packet of it passes: {} {}", packet(header), because(snap, header, reason));
    (text, "add a [[route]] to the service, or correct `to`, `to_zone`, or `translate_to`".into(), None)
}

pub(super) fn answers_stuck(
    snap: &Snapshot,
    reply: &Header,
    treatment: &Treatment,
    reason: DropReason,
) -> Told {
    let text = format!("the answer {} {}", packet(reply), because(snap, reply, reason));
    let cure = match (reason, treatment.way) {
        (DropReason::NotrackWrongWay, Way::Back) => {
            "add that interface to `on`, or correct the [[route]] to the clients"
        }
        _ => "correct `from`, `to`, or the routes between them",
    };
    (text, cure.into(), None)
}

/// Why a packet does not get on.
fn because(snap: &Snapshot, header: &Header, reason: DropReason) -> String {
    let exit = || {
        let treatment = crate::pipeline::stateless::classify(snap, header)?;
        let zone = treatment.zone.unwrap_or(snap.interface(header.interface).zone);
        let dst = header.tuple.dst;
        let hop = snap.route_in(zone, treatment.dst.map_or(dst, |map| map.apply(dst)))?;
        Some(snap.interface(hop.interface).name.as_str())
    };
    match (reason, exit()) {
        (DropReason::NotrackWrongWay, Some(exit)) => {
            format!("is dropped as {}: its route leads by \"{exit}\"", reason.name())
        }
        _ => format!("is dropped as {}", reason.name()),
    }
}

pub(super) fn shadowed(earlier: &str) -> Told {
    let text = format!("no packet is ever of it: earlier classes take them all, first \"{earlier}\"");
    (text, "put it before them, or remove it".into(), None)
}

pub(super) fn local(header: &Header) -> Told {
    let text = format!(
        "no packet is ever of it: {} is an address of the gateway itself, whose packets are tracked unless the class \
         translates them",
        header.tuple.dst
    );
    (text, "say with `translate_to` where the service is, or correct `to`".into(), None)
}

pub(super) fn shadowed_or_local(earlier: &str, header: &Header) -> Told {
    let text = format!(
        "no packet is ever of it: earlier classes take some, first \"{earlier}\", and {} is an address of the gateway \
         itself",
        header.tuple.dst
    );
    (text, "remove it, or correct `to`".into(), None)
}

pub(super) fn impossible() -> Told {
    let text =
        "no packet is ever of it: none of its sources comes in by its interfaces, or it goes nowhere".into();
    (text, "correct `on`, `zone`, `from` or `to`, or add a [[route]]".into(), None)
}

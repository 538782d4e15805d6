//! What is said in words.

use crate::control::api;
use crate::control::state::ControlState;
use crate::ids::{Realm, WorkerId};
use crate::packet::{Kind, Tuple};
use crate::pipeline::Snapshot;
use crate::pipeline::plan::{Answer, Header, is_for_gateway, stays_inside};
use crate::pipeline::snapshot::Interface;
use crate::steering::Spread;
use crate::steering::plan::Plan;
use crate::steering::toeplitz::hashes_ports;
use crate::wire::{icmp, protocol};

/// The protocol's name, or its number.
pub(super) fn protocol_name(number: u8) -> String {
    protocol::name(number).map_or_else(|| number.to_string(), ToOwned::to_owned)
}

/// Addresses and ports of a packet.
pub(super) fn ends_of(tuple: Tuple, kind: Kind) -> api::ExplainedEnds {
    let id = if kind == Kind::IcmpReply { tuple.dport } else { tuple.sport };
    let has_ports = protocol::has_ports(tuple.protocol);
    api::ExplainedEnds {
        src: tuple.src,
        sport: has_ports.then_some(tuple.sport),
        dst: tuple.dst,
        dport: has_ports.then_some(tuple.dport),
        icmp_id: matches!(kind, Kind::IcmpRequest | Kind::IcmpReply).then_some(id),
    }
}

/// The same of a tuple alone: which of an ICMP query's numbers is the identifier, its side tells.
pub(super) fn ends(tuple: Tuple) -> api::ExplainedEnds {
    let echo = u16::from(icmp::ECHO_REQUEST);
    let kind = match tuple.protocol {
        protocol::ICMP if tuple.dport == echo && tuple.sport != echo => Kind::IcmpRequest,
        protocol::ICMP => Kind::IcmpReply,
        _ => Kind::Other,
    };
    ends_of(tuple, kind)
}

/// What kind of packet it is to the gateway.
pub(super) fn class(snap: &Snapshot, header: &Header) -> String {
    let arrival = snap.interface(header.interface);
    let dst = header.tuple.dst;
    match (arrival.realm, snap.local_on(arrival, dst)) {
        _ if is_for_gateway(snap, header) => "an echo request to the gateway itself".to_owned(),
        (Realm::Internal, Some(_)) => {
            format!("from inside to {dst}, an address of the gateway (hairpinning if a forward has it)")
        }
        (Realm::External, Some(_)) => format!("from outside to {dst}, an address of the gateway"),
        (Realm::Internal, None) if stays_inside(snap, arrival, dst) => {
            "from one internal network to another: forwarded as it is, without a session".to_owned()
        }
        (Realm::Internal, None) => "from inside to outside".to_owned(),
        (Realm::External, None) => format!("from outside to {dst}, which is no address of the gateway"),
    }
}

/// The owner, and why.
pub(super) fn owner(
    state: &ControlState,
    snap: &Snapshot,
    header: &Header,
    owner: WorkerId,
) -> api::ExplainedOwner {
    let arrival = snap.interface(header.interface);
    let status = state.published.steering.read();
    let plan = status.interfaces.get(header.interface.index()).map(|known| known.plan());
    let tuple = &header.tuple;
    // What of the packets of a flow a NIC can be told to look at.
    let steerable = matches!(header.kind, Kind::Tcp { .. } | Kind::Udp) && hashes_ports(tuple.protocol);
    let delivered = match plan {
        Some(Plan::A | Plan::B) if steerable => Some(snap.steering.placement(tuple, arrival.realm)),
        _ => None,
    };
    api::ExplainedOwner {
        worker: owner.0.into(),
        workers: snap.steering.workers().into(),
        why: why_owner(snap, header).to_owned(),
        plan: plan.map(|plan| plan.name().to_owned()),
        delivered_to: delivered.map(|worker| worker.0.into()),
    }
}

/// What decides who the owner is: see the table in [`crate::steering`].
fn why_owner(snap: &Snapshot, header: &Header) -> &'static str {
    let Header { interface, tuple, .. } = header;
    let Interface { realm, zone, .. } = *snap.interface(*interface);
    let steering = &snap.steering;
    let portless = protocol::is_portless(tuple.protocol);
    let local = snap.local.find(zone, tuple.dst);
    let is_forwarded = local.is_some_and(|n| snap.local.forward(n, tuple.protocol, tuple.dport).is_some());
    let statics = snap.local.statics();
    match local {
        _ if steering.workers() == 1 => "it is the only one",
        _ if !is_forwarded && statics.of_external(tuple.dst).is_some() => {
            "as what the static host that it goes to sends back"
        }
        None if realm == Realm::External => "as the packet that it answers, whose source was not translated",
        None if portless && statics.any_of_internal(zone, tuple.src).is_some() => {
            "by its source: the protocol has no ports, and the host has a static address"
        }
        Some(_) if portless => "by its source: the protocol has no ports",
        Some(_) if is_forwarded => {
            if snap.conntrack.limits.count_sources() {
                "by its source, as sources are counted"
            } else {
                "by its flow, as it goes to a forwarded port"
            }
        }
        Some(number) if snap.local.owner_of_share(number, tuple.dport).is_some() => {
            "by its destination port or identifier, whose block or host is with it"
        }
        Some(number)
            if steering.goes_by_port(tuple.protocol, snap.local.keeps_mappings(number, tuple.protocol)) =>
        {
            "by its destination port or identifier, which its worker gave out"
        }
        Some(_) => "by its flow: the worker that gave out the port is where it comes to",
        None if portless => "by its destination: the protocol has no ports",
        None if snap.local.request_of(zone, tuple).is_some() => "as the request that a backend answers",
        None if steering.spread_by() == Spread::Source => "by its source: a host has one worker",
        None => "by its flow: a host has all workers",
    }
}

/// An ICMP error.
pub(super) fn icmp_error(answer: Answer) -> String {
    let Answer { kind, code, mtu, delayed } = answer;
    let meaning = match (kind, code) {
        (icmp::TIME_EXCEEDED, _) => "time exceeded",
        (icmp::UNREACHABLE, icmp::CODE_NET_UNREACHABLE) => "network unreachable",
        (icmp::UNREACHABLE, icmp::CODE_HOST_UNREACHABLE) => "host unreachable",
        (icmp::UNREACHABLE, icmp::CODE_PORT_UNREACHABLE) => "port unreachable",
        (icmp::UNREACHABLE, icmp::CODE_FRAGMENTATION_NEEDED) => "fragmentation needed",
        (icmp::UNREACHABLE, icmp::CODE_ADMIN_PROHIBITED) => "administratively prohibited",
        _ => "error",
    };
    let mtu = if mtu > 0 { format!(", MTU {mtu}") } else { String::new() };
    let when = if delayed { ", after six seconds without a connection the other way" } else { "" };
    format!("{kind}/{code} {meaning}{mtu}{when}")
}

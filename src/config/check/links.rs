//! Devices, interfaces and routes: what may share what, and what lies in which network.

use super::{unicast, zones};
use crate::config::draft::{Draft, InterfaceDraft, RouteDraft, Vlan};
use crate::config::error::Span;
use crate::config::mistake::Mistake;
use crate::config::model::{DeviceConfig, InterfaceConfig, RouteConfig};
use crate::config::reader::{At, Findings};
use crate::device::spec::DeviceSpec;
use crate::ids::{DeviceId, InterfaceId, MAX_INTERFACES};
use ipnet::Ipv4Net;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// No link has more hosts; a shorter length is a slip.
const WIDEST_NETWORK: u8 = 8;

/// The devices in order of first mention.
pub(super) struct Devices {
    pub(super) list: Vec<DeviceConfig>,
    /// The device of each interface, if its text named one.
    pub(super) of_interface: Vec<Option<DeviceId>>,
}

pub(super) fn devices(interfaces: &[InterfaceDraft], findings: &mut Findings) -> Devices {
    let mut devices = Devices { list: Vec::new(), of_interface: Vec::new() };
    for (index, interface) in interfaces.iter().enumerate() {
        let Some(device) = &interface.device else {
            devices.of_interface.push(None);
            continue;
        };
        let spec = &device.value;
        let known = devices.list.iter().position(|known| known.spec == *spec);
        let position = known.unwrap_or(devices.list.len());
        devices.of_interface.push(u8::try_from(position).ok().map(DeviceId));
        if known.is_none() {
            devices.list.push(DeviceConfig { spec: spec.clone(), mac: None });
        }
        let earlier = interfaces.get(..index).unwrap_or_default();
        let sharers = earlier.iter().filter(|other| other.device.as_ref().is_some_and(|d| d.value == *spec));
        for other in sharers {
            sharing(other, interface, findings);
        }
        let mut others = earlier.iter().filter_map(|other| other.device.as_ref());
        if let Some(other) = others.find(|other| same_kernel_interface(&other.value, spec)) {
            let (first, second) = (other.value.to_string(), spec.to_string());
            findings.clash(other.at, device.at, Mistake::KernelInterfaceTwice { first, second });
        }
        if let (Some(mac), Some(entry)) = (interface.mac, devices.list.get_mut(position)) {
            entry.mac = Some(mac.value);
        }
    }
    devices
}

/// Whether two devices take over one interface of the kernel, and each would see all of its frames.
fn same_kernel_interface(first: &DeviceSpec, second: &DeviceSpec) -> bool {
    match (first, second) {
        (DeviceSpec::AfPacket(one), DeviceSpec::AfXdp(two))
        | (DeviceSpec::AfXdp(one), DeviceSpec::AfPacket(two)) => one == two,
        // The same twice is one device, which interfaces may share.
        _ => false,
    }
}

/// Two interfaces on one device.
fn sharing(first: &InterfaceDraft, second: &InterfaceDraft, findings: &mut Findings) {
    let names = (first.name.value.clone(), second.name.value.clone());
    let device = second.device.as_ref().map(|device| device.value.to_string()).unwrap_or_default();
    let place = |interface: &InterfaceDraft| interface.device.as_ref().map_or(interface.name.at, |d| d.at);
    match (first.vlan, second.vlan) {
        (Vlan::Untagged, Vlan::Untagged) => {
            let what = Mistake::DeviceShared {
                first: names.0.clone(),
                second: names.1.clone(),
                device: device.clone(),
            };
            findings.clash(place(first), place(second), what);
        }
        (Vlan::Id(one), Vlan::Id(two)) if one.value == two.value => {
            let what = Mistake::VlanShared {
                first: names.0.clone(),
                second: names.1.clone(),
                vlan: two.value,
                device: device.clone(),
            };
            findings.clash(one.at, two.at, what);
        }
        _ => {}
    }
    if let (Some(one), Some(two)) = (first.mac, second.mac)
        && one.value != two.value
    {
        findings.clash(one.at, two.at, Mistake::MacConflict { first: names.0, second: names.1, device });
    }
}

/// All devices share their buffers, and AF_XDP can use none that are larger than a page.
pub(super) fn mtus_beside_af_xdp(interfaces: &[InterfaceDraft], findings: &mut Findings) {
    let mut devices = interfaces.iter().filter_map(|interface| interface.device.as_ref());
    let Some(af_xdp) = devices.find(|device| matches!(device.value, DeviceSpec::AfXdp(_))) else { return };
    for interface in interfaces {
        let (Some(device), Some(At { value: mtu, at })) = (&interface.device, interface.mtu) else {
            continue;
        };
        let most = crate::device::sizing::most_mtu_beside_af_xdp(&device.value);
        if mtu > most {
            let (device, af_xdp_device) = (device.value.to_string(), af_xdp.value.to_string());
            findings.clash(af_xdp.at, at, Mistake::AfXdpMtu { mtu, most, device, af_xdp: af_xdp_device });
        }
    }
}

pub(super) fn interfaces(
    drafts: &[InterfaceDraft],
    devices: &[Option<DeviceId>],
    findings: &mut Findings,
) -> Vec<InterfaceConfig> {
    if drafts.is_empty() {
        findings.error(Span::default(), Mistake::NoInterface);
    }
    if let Some(first_too_many) = drafts.get(MAX_INTERFACES) {
        findings.error(first_too_many.name.at, Mistake::TooManyInterfaces(drafts.len()));
    }
    for (index, interface) in drafts.iter().enumerate() {
        for (position, address) in interface.addresses.iter().enumerate() {
            own_address(address, findings);
            let before = interface.addresses.get(..position).unwrap_or_default();
            if let Some(twin) = before.iter().find(|other| other.value.addr() == address.value.addr()) {
                address_twice(interface, twin, interface, address, findings);
            }
            for other in drafts.get(..index).unwrap_or_default() {
                between_interfaces(other, interface, address, findings);
            }
        }
    }
    let complete = drafts.iter().zip(devices).filter_map(|(draft, device)| {
        Some(InterfaceConfig {
            name: draft.name.value.clone(),
            device: (*device)?,
            vlan: match draft.vlan {
                Vlan::Id(id) => id.value,
                Vlan::Untagged | Vlan::Wrong => 0,
            },
            realm: draft.realm?,
            zone: draft.zone?,
            addresses: draft.addresses.iter().map(|address| address.value).collect(),
            mtu: draft.mtu_or_default(),
            icmp_errors: draft.icmp_errors,
            mss_clamp: draft.mss_clamp,
            unsolicited_syn: draft.unsolicited_syn,
        })
    });
    complete.collect()
}

/// An address that the gateway has itself.
fn own_address(At { value: net, at }: &At<Ipv4Net>, findings: &mut Findings) {
    let address = net.addr();
    if !unicast(address) {
        findings.error(*at, Mistake::NotUnicast { address });
    } else if net.prefix_len() < WIDEST_NETWORK {
        let what = Mistake::OutOfRange {
            key: "prefix length".into(),
            value: net.prefix_len().to_string(),
            min: WIDEST_NETWORK.into(),
            max: 32,
        };
        findings.error(*at, what);
    } else if let Some(what) = edge(address, *net) {
        findings.error(*at, what);
    }
}

/// Whether the address is one that no host of the network has.
pub(super) fn edge(address: Ipv4Addr, net: Ipv4Net) -> Option<Mistake> {
    // RFC 3021: a /31 has two hosts and nothing else.
    if net.prefix_len() > 30 {
        None
    } else if address == net.network() {
        Some(Mistake::NetworkAddress { address, net: net.trunc() })
    } else if address == net.broadcast() {
        Some(Mistake::BroadcastAddress { address, net: net.trunc() })
    } else {
        None
    }
}

fn address_twice(
    first: &InterfaceDraft,
    one: &At<Ipv4Net>,
    second: &InterfaceDraft,
    two: &At<Ipv4Net>,
    findings: &mut Findings,
) {
    let what = Mistake::AddressTwice {
        address: two.value.addr(),
        first: first.name.value.clone(),
        second: second.name.value.clone(),
    };
    findings.clash(one.at, two.at, what);
}

fn between_interfaces(
    first: &InterfaceDraft,
    second: &InterfaceDraft,
    address: &At<Ipv4Net>,
    findings: &mut Findings,
) {
    if !first.shares_zone_with(second) {
        return;
    }
    let (net, at) = (address.value.trunc(), address.at);
    for other in &first.addresses {
        if other.value.addr() == address.value.addr() {
            address_twice(first, other, second, address, findings);
        } else if overlap(other.value, net) {
            let what = Mistake::ConnectedOverlap {
                first: first.name.value.clone(),
                first_net: other.value.trunc(),
                second: second.name.value.clone(),
                second_net: net,
            };
            findings.clash(other.at, at, what);
        }
    }
}

fn overlap(one: Ipv4Net, two: Ipv4Net) -> bool {
    one.contains(&two.network()) || two.contains(&one.network())
}

/// Routes and gateways, in the order of the file within each kind; gateways last.
pub(super) fn routes(draft: &Draft, findings: &mut Findings) -> Vec<RouteConfig> {
    let mut routes = Routes::default();
    for route in &draft.routes {
        let hop = next_hop(draft, route, findings);
        let Some(to) = route.to else { continue };
        let Some((via, index)) = hop else {
            // Whatever the next hop was to be.
            if draft.interfaces.iter().all(|interface| interface.zone == Some(0)) {
                not_connected(draft, to, Some(0), findings);
            }
            continue;
        };
        not_connected(draft, to, draft.interfaces.get(index).and_then(|i| i.zone), findings);
        add(draft, &mut routes, (to.value, via, index), to.at, findings);
    }
    for (index, interface) in draft.interfaces.iter().enumerate() {
        let Some(gateway) = interface.gateway else { continue };
        if !gateway_is_near(draft, interface, gateway, findings) {
            continue;
        }
        add(draft, &mut routes, (Ipv4Net::default(), gateway.value, index), gateway.at, findings);
    }
    routes.list
}

/// The routes so far.
#[derive(Default)]
struct Routes {
    list: Vec<RouteConfig>,
    /// Where each prefix was first given in each zone. A zone that was wrong has been reported.
    known: HashMap<(Ipv4Net, u16), Span>,
}

/// Adds a route by the interface with this index. There is one to each prefix in a zone.
fn add(
    draft: &Draft,
    routes: &mut Routes,
    (to, via, index): (Ipv4Net, Ipv4Addr, usize),
    at: Span,
    findings: &mut Findings,
) {
    let Ok(interface) = u8::try_from(index).map(InterfaceId) else { return };
    if let Some(zone) = draft.interfaces.get(index).and_then(|interface| interface.zone)
        && let earlier = *routes.known.entry((to, zone)).or_insert(at)
        && earlier != at
    {
        findings.clash(earlier, at, Mistake::RouteTwice { to });
    }
    routes.list.push(RouteConfig { to, via, interface });
}

fn not_connected(draft: &Draft, to: At<Ipv4Net>, zone: Option<u16>, findings: &mut Findings) {
    let mut here = draft.interfaces.iter().filter(|interface| interface.zone == zone);
    let connected = here.find(|i| i.addresses.iter().any(|address| address.value.trunc() == to.value));
    if let Some(connected) = connected {
        let what = Mistake::RouteConnected { to: to.value, interface: connected.name.value.clone() };
        findings.error(to.at, what);
    }
}

/// The next hop and the index of the interface on whose network it is.
fn next_hop(draft: &Draft, route: &RouteDraft, findings: &mut Findings) -> Option<(Ipv4Addr, usize)> {
    if let Some(zone) = route.zone {
        zones::known(draft, zone, findings)?;
    }
    let At { value: via, at } = route.via?;
    let nets = |index: usize| {
        let interface = draft.interfaces.get(index);
        interface.into_iter().flat_map(|i| &i.addresses).map(|address| address.value)
    };
    let all: Vec<usize> =
        (0..draft.interfaces.len()).filter(|index| nets(*index).any(|net| net.contains(&via))).collect();
    let wanted = |index: &&usize| {
        let zone = draft.interfaces.get(**index).and_then(|interface| interface.zone);
        route.zone.is_none_or(|wanted| zone == Some(wanted.value))
    };
    let found: Vec<usize> = all.iter().filter(wanted).copied().collect();
    let Some(first) = found.first().and_then(|index| draft.interfaces.get(*index)) else {
        match route.zone {
            Some(zone) if !all.is_empty() => {
                findings.error(at, Mistake::ViaOutsideZone { via, zone: zone.value });
            }
            // An interface whose address was wrong may be the one.
            _ if draft.interfaces.iter().all(placed) => findings.error(at, Mistake::ViaUnreachable { via }),
            _ => {}
        }
        return None;
    };
    let others = found.iter().filter_map(|index| draft.interfaces.get(*index)).skip(1);
    if let Some(other) = others.into_iter().find(|other| other.zone != first.zone) {
        // A zone that was wrong has been reported.
        if first.zone.is_some() && other.zone.is_some() {
            let names = (first.name.value.clone(), other.name.value.clone());
            findings.error(at, Mistake::ViaAmbiguous { via, first: names.0, second: names.1 });
        }
        return None;
    }
    let index = *found.first()?;
    if is_own(draft, first, via) {
        findings.error(at, Mistake::ViaSelf { via });
        return None;
    }
    if let Some(what) = nets(index).find(|net| net.contains(&via)).and_then(|net| edge(via, net)) {
        findings.error(at, what);
        return None;
    }
    Some((via, index))
}

/// Whether the interface's addresses were given and can be.
fn placed(interface: &InterfaceDraft) -> bool {
    !interface.addresses.is_empty() && interface.addresses.iter().all(|own| unicast(own.value.addr()))
}

fn gateway_is_near(
    draft: &Draft,
    interface: &InterfaceDraft,
    gateway: At<Ipv4Addr>,
    findings: &mut Findings,
) -> bool {
    let Some(net) = interface.addresses.iter().map(|a| a.value).find(|net| net.contains(&gateway.value))
    else {
        if placed(interface) {
            let prefixes: Vec<_> = interface.addresses.iter().map(|a| a.value.trunc().to_string()).collect();
            let what = Mistake::GatewayOutside {
                gateway: gateway.value,
                interface: interface.name.value.clone(),
                prefixes: prefixes.join(", "),
            };
            findings.error(gateway.at, what);
        }
        return false;
    };
    if is_own(draft, interface, gateway.value) {
        findings.error(gateway.at, Mistake::ViaSelf { via: gateway.value });
        return false;
    }
    if let Some(what) = edge(gateway.value, net) {
        findings.error(gateway.at, what);
        return false;
    }
    true
}

/// Whether the address is the gateway's own in the zone of this interface.
fn is_own(draft: &Draft, interface: &InterfaceDraft, address: Ipv4Addr) -> bool {
    interface.has(address)
        || draft.interfaces.iter().any(|other| other.shares_zone_with(interface) && other.has(address))
}

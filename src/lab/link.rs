//! Links between namespaces: veth pairs, and bridges where more than two hosts share a segment.

use super::command::QUICK;
use super::error::LabError;
use super::namespace::Namespace;
use std::net::Ipv4Addr;

/// One end of a veth pair.
#[derive(Clone, Debug)]
pub struct End<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// Its name there.
    pub interface: &'a str,
    /// Addresses with prefix length, as `ip address add` takes them; may be none.
    pub addresses: &'a [&'a str],
    /// A fixed Ethernet address.
    pub mac: Option<&'a str>,
}

/// What both ends of a veth pair have in common.
#[derive(Clone, Copy, Debug)]
pub struct LinkOptions {
    /// Receive and transmit queues of each end.
    pub queues: u8,
    /// Largest IP packet in bytes.
    pub mtu: u16,
}

impl Default for LinkOptions {
    fn default() -> Self {
        LinkOptions { queues: 1, mtu: 1500 }
    }
}

/// Makes a veth pair and brings both ends up.
///
/// Every offload is off: on a veth pair the kernel would otherwise hand over packets of up to 64 KiB without
/// checksums, which no physical NIC delivers and which AF_XDP can not receive.
///
/// # Errors
/// When one of the commands fails.
pub fn veth(left: &End<'_>, right: &End<'_>, options: LinkOptions) -> Result<(), LabError> {
    let (queues, mtu) = (options.queues.to_string(), options.mtu.to_string());
    let common = ["mtu", &mtu, "numtxqueues", &queues, "numrxqueues", &queues, "netns"];
    let mut args: Vec<&str> = vec!["link", "add", "name", left.interface];
    args.extend(left.mac.iter().flat_map(|mac| ["address", mac]));
    args.extend(common);
    args.extend([left.namespace.name(), "type", "veth", "peer", "name", right.interface]);
    args.extend(right.mac.iter().flat_map(|mac| ["address", mac]));
    args.extend(common);
    args.push(right.namespace.name());
    // Run in one of the two namespaces, so that no interface ever shows up in the machine's own.
    left.namespace.ip(&args)?;
    for end in [left, right] {
        offloads_off(end.namespace, end.interface)?;
        for address in end.addresses {
            end.namespace.ip(&["address", "add", address, "dev", end.interface])?;
        }
        end.namespace.ip(&["link", "set", end.interface, "up"])?;
    }
    Ok(())
}

/// Makes a bridge without an address.
///
/// # Errors
/// When one of the commands fails.
pub fn bridge(namespace: &Namespace, name: &str) -> Result<(), LabError> {
    namespace.ip(&["link", "add", "name", name, "type", "bridge"])?;
    // Frames are forwarded as soon as the link is up, without the 30 s of learning.
    namespace.ip(&["link", "set", name, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"])?;
    namespace.ip(&["link", "set", name, "up"]).map(|_| ())
}

/// Makes `interface` a port of the bridge.
///
/// # Errors
/// When the command fails.
pub fn attach(namespace: &Namespace, interface: &str, bridge: &str) -> Result<(), LabError> {
    namespace.ip(&["link", "set", interface, "master", bridge]).map(|_| ())
}

/// Adds a default route.
///
/// # Errors
/// When the command fails.
pub fn default_route(namespace: &Namespace, via: Ipv4Addr) -> Result<(), LabError> {
    namespace.ip(&["route", "add", "default", "via", &via.to_string()]).map(|_| ())
}

fn offloads_off(namespace: &Namespace, interface: &str) -> Result<(), LabError> {
    let features = ["tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off"];
    namespace.check(&[&["ethtool", "-K", interface], &features[..]].concat(), QUICK).map(|_| ())
}

/// Makes the kernel of a namespace keep its hands off an interface that a user-space gateway serves: it has no
/// address, answers no ARP, forwards nothing, and drops what it receives as early as it can.
///
/// # Errors
/// When one of the commands fails.
pub fn silence(namespace: &Namespace, interface: &str) -> Result<(), LabError> {
    namespace.sysctl("ipv4/ip_forward", "0")?;
    namespace.sysctl(&format!("ipv4/conf/{interface}/arp_ignore"), "8")?;
    namespace.ip(&["link", "set", interface, "arp", "off"])?;
    // AF_PACKET and AF_XDP see a frame before this hook: it only saves the kernel's own work.
    let rules = format!(
        "table netdev natgate_{interface} {{ chain in {{ type filter hook ingress device \"{interface}\" \
         priority 0; policy drop; }}; }}"
    );
    namespace.check(&["nft", &rules], QUICK).map(|_| ())
}

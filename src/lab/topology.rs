//! The networks of the experiments.
//!
//! Small (the demo): three namespaces and two cables.
//!
//! ```text
//! client 192.168.1.10, .20 --- lan0 [gateway] wan0 --- server 203.0.113.10
//! ```
//!
//! Full (the tests): a host whose only neighbour is the gateway's inner network, and a path of three hops behind
//! the gateway, the middle one with an MTU of 1,280 bytes.
//!
//! ```text
//! client  192.168.1.10 -+                             +- server 203.0.113.10
//!                       +- lan0 [gateway] wan0 -------+
//! backend 192.168.1.20 -+       .1         .2         +- router 203.0.113.1 ==1280== remote --- far 198.51.100.10
//! ```
//!
//! The `backend` has no default route: it can only answer who seems to be in its own network, which proves that
//! full NAT translated the source. The gateway's two interfaces exist in its namespace without addresses: whoever
//! serves them brings its own.

use super::error::LabError;
use super::link::{End, LinkOptions, attach, bridge, default_route, veth};
use super::namespace::{Lab, Namespace};
use std::net::Ipv4Addr;

/// The client: the inner host whose traffic is source-translated, and the target of port forwarding.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
/// The inner host behind full NAT.
pub const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
/// The gateway's inner address.
pub const GATEWAY_INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The gateway's outer address.
pub const GATEWAY_OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The server on the gateway's outer network.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The gateway's next hop to everywhere else.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The router behind the narrow link.
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The host at the end of the path.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The MTU of the link between [`ROUTER`] and [`REMOTE`], in bytes.
pub const NARROW_MTU: u16 = 1280;
/// The gateway's inner interface, as its namespace calls it.
pub const INSIDE: &str = "lan0";
/// The gateway's outer interface, as its namespace calls it.
pub const OUTSIDE: &str = "wan0";
/// TCP and UDP port of the gateway that leads to port 80 of [`CLIENT`].
pub const FORWARDED: u16 = 8080;
/// TCP port of the gateway that leads to port 80 of [`BACKEND`] with the source translated as well.
pub const FULL_NAT: u16 = 8081;
/// UDP port of the gateway that leads to a port of [`CLIENT`] where nobody listens.
pub const CLOSED: u16 = 8082;

/// A network with a gateway in the middle.
#[derive(Debug)]
pub struct Site {
    /// The inner host.
    pub client: Namespace,
    /// The host for full NAT: the client again in the small network.
    pub backend: Namespace,
    /// Where the gateway runs.
    pub gateway: Namespace,
    /// The outer host.
    pub server: Namespace,
    /// The host behind two more routers; only in the full network.
    pub far: Option<Namespace>,
    /// Owns all of it.
    pub lab: Lab,
}

impl Site {
    /// Three namespaces: client, gateway, server.
    ///
    /// # Errors
    /// Without root, or when a command fails.
    pub fn small(queues: u8) -> Result<Site, LabError> {
        let lab = Lab::new()?;
        let [client, gateway, server] = namespaces(&lab, ["client", "gateway", "server"])?;
        let options = LinkOptions { queues, ..LinkOptions::default() };
        let inner = [format!("{CLIENT}/24"), format!("{BACKEND}/24")];
        cable(&client, &inner.each_ref().map(String::as_str), &gateway, INSIDE, options)?;
        cable(&server, &[&format!("{SERVER}/24")], &gateway, OUTSIDE, options)?;
        default_route(&client, GATEWAY_INSIDE)?;
        Ok(Site { backend: client.clone(), client, gateway, server, far: None, lab })
    }

    /// Everything: client, backend, gateway, server, router, remote router and far host.
    ///
    /// # Errors
    /// Without root, or when a command fails.
    pub fn full(queues: u8) -> Result<Site, LabError> {
        let lab = Lab::new()?;
        let [client, backend, gateway, server] =
            namespaces(&lab, ["client", "backend", "gateway", "server"])?;
        let [lan, wan, router, remote, far] = namespaces(&lab, ["lan", "wan", "router", "remote", "far"])?;
        let options = LinkOptions { queues, ..LinkOptions::default() };

        segment(&lan, &gateway, INSIDE, &[(&client, CLIENT), (&backend, BACKEND)], options)?;
        segment(&wan, &gateway, OUTSIDE, &[(&server, SERVER), (&router, ROUTER)], options)?;
        default_route(&client, GATEWAY_INSIDE)?;

        let narrow = LinkOptions { queues, mtu: NARROW_MTU };
        let left = End { namespace: &router, interface: "narrow0", addresses: &["192.0.2.1/24"], mac: None };
        let right = End {
            namespace: &remote,
            interface: "narrow0",
            addresses: &[&format!("{REMOTE}/24")],
            mac: None,
        };
        veth(&left, &right, narrow)?;
        let left = End { namespace: &remote, interface: "far0", addresses: &["198.51.100.1/24"], mac: None };
        let right = End { namespace: &far, interface: "eth0", addresses: &[&format!("{FAR}/24")], mac: None };
        veth(&left, &right, options)?;

        router.sysctl("ipv4/ip_forward", "1")?;
        remote.sysctl("ipv4/ip_forward", "1")?;
        default_route(&router, REMOTE)?;
        default_route(&remote, Ipv4Addr::new(192, 0, 2, 1))?;
        default_route(&far, Ipv4Addr::new(198, 51, 100, 1))?;
        default_route(&server, ROUTER)?;
        Ok(Site { client, backend, gateway, server, far: Some(far), lab })
    }
}

fn namespaces<const N: usize>(lab: &Lab, names: [&str; N]) -> Result<[Namespace; N], LabError> {
    let made = names.into_iter().map(|name| lab.namespace(name)).collect::<Result<Vec<_>, _>>()?;
    made.try_into().map_err(|_| LabError::unexpected("lost count of the namespaces"))
}

/// A host directly at a gateway interface.
fn cable(
    host: &Namespace,
    addresses: &[&str],
    gateway: &Namespace,
    interface: &str,
    options: LinkOptions,
) -> Result<(), LabError> {
    let outer = End { namespace: host, interface: "eth0", addresses, mac: None };
    let inner = End { namespace: gateway, interface, addresses: &[], mac: None };
    veth(&outer, &inner, options)
}

/// Several hosts and a gateway interface on one switch.
fn segment(
    switch: &Namespace,
    gateway: &Namespace,
    interface: &str,
    hosts: &[(&Namespace, Ipv4Addr)],
    options: LinkOptions,
) -> Result<(), LabError> {
    bridge(switch, "br0")?;
    let uplink = End { namespace: switch, interface: "gateway", addresses: &[], mac: None };
    veth(&uplink, &End { namespace: gateway, interface, addresses: &[], mac: None }, options)?;
    attach(switch, "gateway", "br0")?;
    for (host, address) in hosts {
        let address = format!("{address}/24");
        let port = End { namespace: switch, interface: host.short(), addresses: &[], mac: None };
        cable_to(host, &address, &port, options)?;
        attach(switch, host.short(), "br0")?;
    }
    Ok(())
}

fn cable_to(host: &Namespace, address: &str, port: &End<'_>, options: LinkOptions) -> Result<(), LabError> {
    veth(&End { namespace: host, interface: "eth0", addresses: &[address], mac: None }, port, options)
}

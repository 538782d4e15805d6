//! Which hosts a flow runs between: pure arithmetic on the flow's number.
//!
//! Clients have up to 64 flows each before the next client's turn comes, as subscribers do; when all clients have theirs,
//! the next 64 ports of each follow. Servers take turns flow by flow, so that no external address runs out of ports towards
//! one of them. Each flow has an endpoint of its own inside. Of a prefix, a power of two of hosts is used: no division a
//! packet.

use ipnet::Ipv4Net;

/// Port of every server: discard, which RFC 2544 appendix C uses with test frames.
pub const SERVER_PORT: u16 = 9;
/// Lowest port of a client.
const CLIENT_PORTS: u16 = 10_000;
/// Binary logarithm of the flows that a client has before the next one's turn comes.
const GROUP_BITS: u32 = 6;
/// Groups of ports that a client has.
const GROUPS: u32 = (65_536 - 10_000) >> GROUP_BITS;

/// An address as a number, and a port.
pub type Endpoint = (u32, u16);

/// The hosts of a prefix that are used: a power of two of neighbours.
#[derive(Clone, Copy, Debug)]
struct Hosts {
    first: u32,
    bits: u32,
}

impl Hosts {
    /// Neither the first nor the last address, but in a /31 and a /32.
    fn of(prefix: Ipv4Net) -> Hosts {
        let network = prefix.network().to_bits();
        match 32 - u32::from(prefix.prefix_len()) {
            bits @ 0..=1 => Hosts { first: network, bits },
            bits => Hosts { first: network + 1, bits: bits - 1 },
        }
    }

    #[inline]
    fn host(self, number: u32) -> u32 {
        // At most 31 bits.
        self.first + (number & ((1 << self.bits) - 1))
    }
}

/// Clients and servers.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    clients: Hosts,
    servers: Hosts,
}

impl Addresses {
    /// Clients and servers out of these prefixes.
    pub fn new(clients: Ipv4Net, servers: Ipv4Net) -> Addresses {
        Addresses { clients: Hosts::of(clients), servers: Hosts::of(servers) }
    }

    /// How many flows there can be.
    pub fn flows(&self) -> u32 {
        let flows = (u64::from(GROUPS) << GROUP_BITS) << self.clients.bits;
        u32::try_from(flows).unwrap_or(u32::MAX)
    }

    /// The client's end of a flow.
    #[inline]
    pub fn client(&self, flow: u32) -> Endpoint {
        let group = flow >> GROUP_BITS;
        let above = (group >> self.clients.bits).min(GROUPS - 1);
        let port = u32::from(CLIENT_PORTS) + (above << GROUP_BITS) + (flow & ((1 << GROUP_BITS) - 1));
        (self.clients.host(group), u16::try_from(port).unwrap_or(u16::MAX))
    }

    /// The server's end.
    #[inline]
    pub fn server(&self, flow: u32) -> Endpoint {
        (self.servers.host(flow), SERVER_PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn addresses(clients: &str, servers: &str) -> Addresses {
        Addresses::new(clients.parse().unwrap(), servers.parse().unwrap())
    }

    #[test]
    fn every_flow_has_an_endpoint_of_its_own_inside_and_a_host_of_the_prefix() {
        let clients: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let addresses = addresses("10.0.0.0/29", "198.18.0.0/15");
        // Four of its six hosts.
        assert_eq!(addresses.flows(), 4 * 64 * 867);
        let mut seen = HashSet::new();
        for flow in 0..addresses.flows() {
            let (address, port) = addresses.client(flow);
            assert!(seen.insert((address, port)), "{flow}");
            assert!(clients.hosts().any(|host| host.to_bits() == address));
            assert!(port >= 10_000);
        }
    }

    #[test]
    fn ten_million_flows_fit_into_the_defaults() {
        assert!(addresses("10.1.0.0/16", "198.18.0.0/15").flows() > 10_000_000);
    }

    #[test]
    fn a_single_address_is_a_host() {
        let addresses = addresses("10.0.0.1/32", "198.18.0.0/31");
        assert_eq!(addresses.client(65), (0x0a00_0001, 10_065));
        assert_eq!((addresses.server(0).0, addresses.server(3).0), (0xc612_0000, 0xc612_0001));
    }
}

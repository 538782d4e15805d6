//! Addresses of one prefix to those of another of the same length, one to one: what is behind the prefix stays.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A translation of addresses that needs no memory of what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixMap {
    /// The bits that stay.
    host: u32,
    network: u32,
}

impl PrefixMap {
    /// To the addresses of this prefix.
    pub fn to(net: Ipv4Net) -> PrefixMap {
        PrefixMap { host: net.hostmask().to_bits(), network: net.network().to_bits() }
    }

    /// What an address becomes.
    #[inline]
    pub fn apply(self, address: Ipv4Addr) -> Ipv4Addr {
        Ipv4Addr::from_bits(address.to_bits() & self.host | self.network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_place_in_the_prefix_and_comes_back() {
        let (inside, outside): (Ipv4Net, Ipv4Net) =
            ("10.1.4.0/22".parse().unwrap(), "203.0.112.0/22".parse().unwrap());
        let (there, back) = (PrefixMap::to(outside), PrefixMap::to(inside));
        for (host, expected) in [("10.1.4.0", "203.0.112.0"), ("10.1.7.255", "203.0.115.255")] {
            let host: Ipv4Addr = host.parse().unwrap();
            assert_eq!(there.apply(host), expected.parse::<Ipv4Addr>().unwrap());
            assert_eq!(back.apply(there.apply(host)), host);
        }
        let one = PrefixMap::to("192.0.2.7/32".parse().unwrap());
        assert_eq!(one.apply(Ipv4Addr::new(10, 0, 0, 1)), Ipv4Addr::new(192, 0, 2, 7));
    }
}

//! Addresses that no router forwards (RFC 1812 5.3.7, RFC 6890).

use std::net::Ipv4Addr;

/// Whether no host anywhere can have sent a packet with this source.
#[inline]
pub fn is_martian_source(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // 0/8, 127/8, 224/4 (multicast), 240/4 (reserved and broadcast).
    first == 0 || first == 127 || first >= 224
}

/// Whether a packet to this destination must not be forwarded. Multicast is not routed here.
#[inline]
pub fn is_martian_destination(address: Ipv4Addr) -> bool {
    is_martian_source(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martians_are_this_network_loopback_multicast_and_reserved() {
        for (address, martian) in [
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("127.0.0.1", true),
            ("224.0.0.1", true),
            ("239.255.255.255", true),
            ("240.0.0.1", true),
            ("255.255.255.255", true),
            ("1.0.0.1", false),
            ("10.0.0.1", false),
            ("223.255.255.255", false),
        ] {
            let address: Ipv4Addr = address.parse().unwrap();
            assert_eq!(is_martian_source(address), martian, "{address}");
            assert_eq!(is_martian_destination(address), martian, "{address}");
        }
    }
}

//! Header views over bytes, and checksum arithmetic. Pure.
//!
//! Each header is a `#[repr(C)]` struct of byte-order-aware fields without padding; `zerocopy` checks the
//! length once when a view is made, and after that no accessor can fail. Multi-byte fields are in network
//! byte order on the wire and read as native numbers.

pub mod arp;
pub mod checksum;
pub mod crc32c;
pub mod dccp;
pub mod ethernet;
pub mod gre;
pub mod icmp;
pub mod ipv4;
pub mod sctp;
pub mod tcp;
pub mod tcp_options;
pub mod udp;

/// IANA protocol numbers that natgate treats specially.
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// IGMP (RFC 3376): between a host and the routers of its link.
    pub const IGMP: u8 = 2;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// DCCP (RFC 4340).
    pub const DCCP: u8 = 33;
    /// GRE (RFC 2784), also that of PPTP (RFC 2637).
    pub const GRE: u8 = 47;
    /// IPsec's encrypted payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// IPsec's authentication header (RFC 4302): it signs the addresses.
    pub const AH: u8 = 51;
    /// SCTP (RFC 9260).
    pub const SCTP: u8 = 132;
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: u8 = 136;

    /// The protocol's name, as Linux's `conntrack` prints it, or `None` for one without special treatment.
    pub fn name(number: u8) -> Option<&'static str> {
        match number {
            ICMP => Some("icmp"),
            TCP => Some("tcp"),
            UDP => Some("udp"),
            DCCP => Some("dccp"),
            GRE => Some("gre"),
            SCTP => Some("sctp"),
            UDP_LITE => Some("udplite"),
            _ => None,
        }
    }

    /// Whether a flow has nothing but its addresses that could tell it from another: neither ports nor, as ICMP, an
    /// identifier.
    #[inline]
    pub const fn is_portless(number: u8) -> bool {
        number != ICMP && !has_ports(number)
    }

    /// Whether the first four bytes of its header are a source and a destination port.
    #[inline]
    pub const fn has_ports(number: u8) -> bool {
        matches!(number, TCP | UDP | SCTP | DCCP | UDP_LITE)
    }
}

//! Header views over bytes, and checksum arithmetic. Pure.
//!
//! Each header is a `#[repr(C)]` struct of byte-order-aware fields without padding; `zerocopy` checks the
//! length once when a view is made, and after that no accessor can fail. Multi-byte fields are in network
//! byte order on the wire and read as native numbers.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod tcp;
pub mod tcp_options;
pub mod udp;

/// IANA protocol numbers that natgate treats specially.
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;

    /// The protocol's name, or `None` for one without special treatment.
    pub fn name(number: u8) -> Option<&'static str> {
        match number {
            ICMP => Some("icmp"),
            TCP => Some("tcp"),
            UDP => Some("udp"),
            _ => None,
        }
    }
}

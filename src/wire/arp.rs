//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// Operation: who has this address?
pub const REQUEST: u16 = 1;
/// Operation: I have.
pub const REPLY: u16 = 2;

/// An ARP message for IPv4 over Ethernet.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ArpMessage {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    /// [`REQUEST`] or [`REPLY`].
    pub operation: U16,
    /// Ethernet address of the sender.
    pub sender_mac: [u8; 6],
    sender_ip: [u8; 4],
    /// Ethernet address of the target; zero in a request.
    pub target_mac: [u8; 6],
    target_ip: [u8; 4],
}

impl ArpMessage {
    /// A message from `sender` to `target`.
    pub fn new(operation: u16, sender: ([u8; 6], Ipv4Addr), target: ([u8; 6], Ipv4Addr)) -> Self {
        ArpMessage {
            hardware: U16::new(1),
            protocol: U16::new(super::ethernet::IPV4),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(operation),
            sender_mac: sender.0,
            sender_ip: sender.1.octets(),
            target_mac: target.0,
            target_ip: target.1.octets(),
        }
    }

    /// Whether the message is about IPv4 over Ethernet at all.
    pub fn is_ipv4_over_ethernet(&self) -> bool {
        self.hardware.get() == 1
            && self.protocol.get() == super::ethernet::IPV4
            && self.hardware_len == 6
            && self.protocol_len == 4
    }

    /// IPv4 address of the sender.
    pub fn sender_ip(&self) -> Ipv4Addr {
        self.sender_ip.into()
    }

    /// IPv4 address that is asked for or answered.
    pub fn target_ip(&self) -> Ipv4Addr {
        self.target_ip.into()
    }
}

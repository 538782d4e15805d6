//! Ethernet II header and the 802.1Q tag.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;

/// Length of an Ethernet header without a tag, in bytes.
pub const HEADER_LEN: usize = 14;
/// Length of an 802.1Q tag, in bytes.
pub const VLAN_LEN: usize = 4;

/// An Ethernet II header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct EthernetHeader {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// EtherType of what follows.
    pub ethertype: U16,
}

/// What follows the EtherType 0x8100.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct VlanTag {
    /// Priority (3 bits), drop eligible (1 bit), VLAN id (12 bits).
    pub tci: U16,
    /// EtherType of what follows.
    pub ethertype: U16,
}

impl VlanTag {
    /// The VLAN id, 0 to 4095. 0 means a priority tag without a VLAN.
    #[inline]
    pub fn id(&self) -> u16 {
        self.tci.get() & 0x0fff
    }
}

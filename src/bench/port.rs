//! One side of the generator: its device, its own addresses, and the device under test as its neighbour.
//!
//! Owned by the generator. It answers ARP for its own address and for the hosts that it plays, and finds the device under
//! test by ARP.

use crate::device::{Burst, Device};
use crate::ids::MacAddr;
use crate::packet::PacketBuf;
use crate::wire::arp::{self, ArpMessage};
use crate::wire::ethernet;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use zerocopy::IntoBytes;

/// An ARP message in the smallest Ethernet frame, without FCS.
const ARP_FRAME: usize = 60;

/// Who a side is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its IPv4 address on the link.
    pub address: Ipv4Addr,
    /// The hosts behind it.
    pub hosts: Ipv4Net,
}

/// Where the device under test is on a side.
#[derive(Clone, Copy, Debug)]
pub enum Gateway {
    /// At the Ethernet address that this address turns out to have.
    Ask(Ipv4Addr),
    /// At this Ethernet address.
    Known(MacAddr),
}

/// One side.
#[derive(Debug)]
pub struct Port<D: Device> {
    /// Its device.
    pub device: D,
    /// Who it is.
    pub identity: Identity,
    /// Where frames go.
    pub gateway: Gateway,
    /// Frames that are written and that the device has not taken yet.
    pub waiting: Burst<D::Buf>,
}

impl<D: Device> Port<D> {
    /// A side that has sent nothing yet.
    pub fn new(device: D, identity: Identity, gateway: Gateway) -> Port<D> {
        Port { device, identity, gateway, waiting: Burst::new() }
    }

    /// The address that received frames must be for. Who was never asked for it can not know it.
    pub fn expected_mac(&self, asked: bool) -> Option<MacAddr> {
        asked.then_some(self.identity.mac)
    }

    /// Asks who has `address`, in a frame of `buf`.
    pub fn ask(&mut self, buf: D::Buf, address: Ipv4Addr) {
        let Identity { mac, address: own, .. } = self.identity;
        let message = ArpMessage::new(arp::REQUEST, (mac.0, own), ([0; 6], address));
        self.send_arp(buf, MacAddr::BROADCAST, &message);
    }

    /// Answers a request that is for this side, in the frame that it came in. Learns nothing: frames keep going where they
    /// went.
    pub fn answer(&mut self, buf: D::Buf, message: &ArpMessage) {
        let Identity { mac, address, hosts } = self.identity;
        let asked = message.target_ip();
        if message.operation.get() == arp::REQUEST && (asked == address || hosts.contains(&asked)) {
            let sender = (message.sender_mac, message.sender_ip());
            let reply = ArpMessage::new(arp::REPLY, (mac.0, asked), sender);
            self.send_arp(buf, MacAddr(sender.0), &reply);
        }
    }

    fn send_arp(&mut self, mut buf: D::Buf, to: MacAddr, message: &ArpMessage) {
        if resize(&mut buf, ARP_FRAME) {
            let frame = buf.data_mut();
            frame.fill(0);
            let header = ethernet::EthernetHeader {
                destination: to.0,
                source: self.identity.mac.0,
                ethertype: ethernet::ARP.into(),
            };
            let parts = header.as_bytes().iter().chain(message.as_bytes());
            frame.iter_mut().zip(parts).for_each(|(place, byte)| *place = *byte);
            let mut burst = Burst::new();
            burst.push(buf);
            // If there is no room, whoever asks asks again.
            self.device.tx_burst(&mut burst);
        }
    }
}

/// Gives a frame another length; its bytes are undefined. False if it has no room.
#[inline]
pub fn resize<B: PacketBuf>(buf: &mut B, len: usize) -> bool {
    let now = buf.data().len();
    if now >= len {
        buf.truncate(len);
        return true;
    }
    buf.grow_back(len - now).is_ok()
}

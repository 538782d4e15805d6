//! What the targets share: frames in memory, and the parser as the pipeline calls it.

use natgate::device::membuf::{MemBuf, MemPool};
use natgate::ids::{DeviceId, InterfaceId};
use natgate::packet::{Frame, Packet, Parsed};
use natgate::wire::checksum::checksum;

/// Ethernet address of the gateway.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The longest frame that is looked at.
pub const FRAME_MAX: usize = 9216;

/// The IPv4 packet in a frame, if it is one that is forwarded.
pub fn parse(pool: &MemPool, frame: &[u8]) -> Option<Packet<MemBuf, Parsed>> {
    let buf = MemBuf::from_bytes(pool, frame)?;
    match Packet::new(buf, DeviceId(0)).parse(|_, vlan| Some((InterfaceId(vlan as u8), MAC))) {
        Ok(Frame::Ipv4(packet)) => Some(packet),
        _ => None,
    }
}

/// Makes the Ethernet address and the IPv4 checksum right, which a fuzzer would take long to find.
pub fn repair(frame: &mut [u8]) {
    if frame.len() < 34 {
        return;
    }
    frame[..6].copy_from_slice(&MAC);
    let l3 = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
    let len = usize::from(frame[l3] & 15) * 4;
    if let Some(header) = frame.get_mut(l3..l3 + len).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

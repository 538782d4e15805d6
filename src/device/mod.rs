//! Devices: bursts of frames in and out.
//!
//! A [`Device`] value is *one worker's* handle on one NIC: at most one receive queue and one transmit queue.
//! Each worker owns one handle a device, so no handle is ever shared. A NIC with fewer queues than workers
//! gives some workers a handle that receives or transmits nothing; the pipeline then hands frames to a worker
//! that can send them.
//!
//! `device` knows `packet` only. Unsafe code and everything of DPDK is in `dpdk`.

#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod fault;
pub mod mem;
pub mod mem_nic;
pub mod membuf;
pub mod pcap;
pub mod sizing;
pub mod spec;

use crate::packet::PacketBuf;
use arrayvec::ArrayVec;

/// The most frames that move at once.
pub const BURST: usize = 32;

/// Frames that move together.
pub type Burst<B> = ArrayVec<B, BURST>;

/// One worker's receive and transmit queue of one NIC.
pub trait Device: Send {
    /// The frame type.
    type Buf: PacketBuf;

    /// Appends received frames to `out`, at most as many as it has room for. Never waits.
    fn rx_burst(&mut self, out: &mut Burst<Self::Buf>);

    /// Sends frames from the front of `frames`, in order, and removes those that the device took. What is
    /// left in `frames` was not taken (queue full, or this handle does not transmit). Never waits.
    fn tx_burst(&mut self, frames: &mut Burst<Self::Buf>);

    /// An empty frame (length 0, with headroom) for a packet that the gateway makes itself; `None` when the
    /// pool is empty.
    fn alloc(&mut self) -> Option<Self::Buf>;

    /// Whether this handle has a transmit queue.
    fn transmits(&self) -> bool;
}

//! How a device is written in the config, and what that means.

use std::path::PathBuf;

/// A device as the config names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// `"0000:01:00.0"`: a PCI address, bound to vfio-pci or to a bifurcated driver.
    Pci(String),
    /// `"af_packet:eth1"`: a kernel interface through an AF_PACKET socket.
    AfPacket(String),
    /// `"af_xdp:eth1"`: a kernel interface through an AF_XDP socket.
    AfXdp(String),
    /// `"tap:nat0"`: a TAP interface that natgate creates.
    Tap(String),
    /// `"memif:/run/x.sock"` or `"memif:/run/x.sock,server"`: shared memory with another process.
    Memif {
        /// Path of the socket.
        socket: PathBuf,
        /// Whether natgate is the side that listens.
        server: bool,
    },
    /// `"vdev:net_ring0,…"`: any other virtual device, in DPDK's own words.
    Vdev(String),
}

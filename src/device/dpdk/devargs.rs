//! From the config's word for a device to DPDK's, with what can be checked before DPDK runs.
//!
//! A kernel interface is taken over as it is: brought up if it is down, its MTU raised if the config asks for a
//! larger one, merging of received packets turned off. Its address stays; another one in the config works by receiving everything.

use super::memory::Layout;
use super::{DeviceOptions, DpdkError, eal, pci, privileges};
use crate::device::sizing::{
    AF_XDP_RINGS, LINK_OVERHEAD, USUAL_ROOM, fits_beside_af_xdp, largest_frame, most_mtu_beside_af_xdp,
    ring_frame,
};
use crate::device::spec::DeviceSpec;
use dpdk_sys::ng_interface;
use std::ffi::CString;
use std::path::Path;

/// The largest IPv4 packet in a frame of IEEE 802.3.
const ETHERNET_MTU: u16 = 1500;
/// A device that passed the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// For DPDK's probe.
    pub(super) devargs: String,
    /// Bytes of the largest frame that a buffer must have room for.
    pub(super) largest: u16,
    /// The MTU for DPDK: the drivers of kernel interfaces claim to know no larger one than Ethernet's.
    pub(super) mtu: u16,
    /// Frames that the driver keeps per receive queue whatever the number of descriptors.
    pub(super) kept: u32,
    /// Bytes of the driver's largest mapping of locked memory. The kernel checks each alone: packet sockets do not
    /// count into the sum.
    pub(super) mapped: u64,
    /// How many times the kernel counts the pool of frames as pinned for this device.
    pub(super) pins_pool: u64,
}

/// Checks the machine and writes the arguments. `index` makes the device's name unique in the process.
pub(super) fn plan(index: usize, options: &DeviceOptions, workers: usize) -> Result<Plan, DpdkError> {
    let DeviceOptions { spec, mtu, .. } = options;
    let mtu = *mtu;
    let frame = mtu.saturating_add(LINK_OVERHEAD);
    let mut plan = Plan {
        devargs: String::new(),
        largest: largest_frame(spec, mtu),
        mtu,
        kept: 0,
        mapped: 0,
        pins_pool: 0,
    };
    privileges::check(spec)?;
    match spec {
        DeviceSpec::Pci(address) => {
            pci::check(address, Path::new("/sys"), Path::new("/dev"))?;
            plan.devargs.clone_from(address);
            plan.pins_pool = 1;
        }
        DeviceSpec::AfPacket(name) => {
            kernel_interface(spec, name, mtu)?;
            // SAFETY: asks the dynamic linker, nothing else.
            if !unsafe { dpdk_sys::ng_fragments_stay() } {
                tracing::warn!(
                    "{spec}: this binary was linked in a way that makes the kernel reassemble IP fragments"
                );
            }
            plan.mtu = mtu.min(ETHERNET_MTU);
            let ring = ring_frame(frame);
            // The driver counts frames as if blocks were one run of memory, so a block is a whole number of them.
            let (block, count) = if ring <= 4096 { (4096, 2048u64) } else { (ring, 512) };
            // The ring to receive and the one to send of a queue are one mapping.
            plan.mapped = 2 * u64::from(ring) * count;
            plan.devargs = format!(
                "net_af_packet{index},iface={name},qpairs={workers},blocksz={block},framesz={ring},framecnt={count}"
            );
        }
        DeviceSpec::AfXdp(name) => {
            let interface = kernel_interface(spec, name, mtu)?;
            plan.mtu = mtu.min(ETHERNET_MTU);
            let queues = u32::try_from(workers).unwrap_or(u32::MAX).min(interface.queues);
            check_channels(spec, name, &interface, queues)?;
            plan.devargs = format!("net_af_xdp{index},iface={name},start_queue=0,queue_count={queues}");
            plan.kept = AF_XDP_RINGS;
            plan.pins_pool = u64::from(queues);
        }
        DeviceSpec::Tap(name) => plan.devargs = format!("net_tap{index},iface={name}"),
        DeviceSpec::Memif { socket, server } => {
            let role = if *server { "server" } else { "client" };
            let size = frame.max(USUAL_ROOM);
            let socket = socket.display();
            plan.devargs =
                format!("net_memif{index},role={role},id=0,socket={socket},socket-abstract=no,bsize={size}");
        }
        DeviceSpec::Vdev(devargs) => plan.devargs.clone_from(devargs),
    }
    Ok(plan)
}

/// What concerns all devices together.
pub(super) fn check_together(devices: &[DeviceOptions]) -> Result<(), DpdkError> {
    for (index, device) in devices.iter().enumerate() {
        let Some(name) = kernel_name(&device.spec) else { continue };
        let before = devices.iter().take(index);
        if let Some(other) = before.map(|other| &other.spec).find(|other| kernel_name(other) == Some(name)) {
            return Err(DpdkError::Same { device: device.spec.to_string(), other: other.to_string() });
        }
    }
    if layout(devices) == Layout::Packed {
        if let Some(nic) = devices.iter().find(|device| matches!(device.spec, DeviceSpec::Pci(_))) {
            return Err(DpdkError::AfXdpAndPci(nic.spec.to_string()));
        }
        if let Some(DeviceOptions { spec, mtu, .. }) =
            devices.iter().find(|device| !fits_beside_af_xdp(&device.spec, device.mtu))
        {
            let most = most_mtu_beside_af_xdp(spec);
            return Err(DpdkError::JumboAfXdp { device: spec.to_string(), mtu: *mtu, most });
        }
    }
    Ok(())
}

/// How the buffers of a pool for all these devices must lie.
pub(super) fn layout(devices: &[DeviceOptions]) -> Layout {
    if devices.iter().any(|device| matches!(device.spec, DeviceSpec::AfXdp(_))) {
        Layout::Packed
    } else {
        Layout::Paged
    }
}

/// The kernel interface that the device is.
fn kernel_name(spec: &DeviceSpec) -> Option<&str> {
    match spec {
        DeviceSpec::AfPacket(name) | DeviceSpec::AfXdp(name) => Some(name),
        _ => None,
    }
}

/// To be filled in.
const NO_INTERFACE: ng_interface =
    ng_interface { index: 0, mtu: 0, queues: 1, rx_only: 0, combined: false, up: false };

/// Every queue by which the interface receives must be `opened`: the kernel keeps what comes by another.
fn check_channels(
    spec: &DeviceSpec,
    name: &str,
    interface: &ng_interface,
    opened: u32,
) -> Result<(), DpdkError> {
    // Without combined channels (veth) the driver opens the first queue, whatever it is called.
    let queues = if interface.combined {
        interface.queues.saturating_add(interface.rx_only)
    } else {
        interface.rx_only.max(1)
    };
    if queues <= opened {
        return Ok(());
    }
    let channels = match (interface.combined, interface.rx_only) {
        (false, _) => "rx 1".to_owned(),
        (true, 0) => format!("combined {opened}"),
        (true, _) => format!("combined {opened} rx 0"),
    };
    Err(DpdkError::Channels { device: spec.to_string(), name: name.to_owned(), queues, opened, channels })
}

/// Finds the interface, brings it up and raises its MTU.
fn kernel_interface(spec: &DeviceSpec, name: &str, mtu: u16) -> Result<ng_interface, DpdkError> {
    let missing = || DpdkError::NoInterface { device: spec.to_string(), name: name.to_owned() };
    let c_name = CString::new(name).map_err(|_| missing())?;
    let mut interface = NO_INTERFACE;
    // SAFETY: a terminated name and a place for the answer, both alive during the call.
    let result = unsafe { dpdk_sys::ng_interface_find(c_name.as_ptr(), &raw mut interface) };
    if result != 0 {
        return Err(missing());
    }
    if !interface.up {
        // SAFETY: a terminated name.
        let result = unsafe { dpdk_sys::ng_interface_up(c_name.as_ptr()) };
        if result != 0 {
            let (device, reason) = (spec.to_string(), eal::reason_of(result));
            return Err(DpdkError::Interface { device, what: "bring the interface up", reason });
        }
        tracing::info!("{spec}: the interface was down and is up now");
    }
    if interface.mtu < u32::from(mtu) {
        // SAFETY: a terminated name.
        let result = unsafe { dpdk_sys::ng_interface_set_mtu(c_name.as_ptr(), u32::from(mtu)) };
        if result != 0 {
            let (device, reason) = (spec.to_string(), eal::reason_of(result));
            return Err(DpdkError::Interface { device, what: "raise the interface's MTU", reason });
        }
        tracing::info!("{spec}: the interface's MTU was {} and is {mtu} now", interface.mtu);
    }
    // Packets that the kernel merged are larger than any frame: they would arrive cut.
    // SAFETY: a terminated name.
    match unsafe { dpdk_sys::ng_interface_keep_frames(c_name.as_ptr()) } {
        0 => (),
        1.. => {
            tracing::info!("{spec}: the interface merged received packets (GRO, LRO) and does not any more")
        }
        result => tracing::warn!(
            "{spec}: packets will be lost if the interface merges received ones, and that cannot be turned off \
             ({}): try `ethtool -K {name} gro off lro off rx-gro-hw off`",
            eal::reason_of(result)
        ),
    }
    Ok(interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(spec: &str, mtu: u16) -> DeviceOptions {
        DeviceOptions { spec: spec.parse().unwrap(), mac: None, mtu }
    }

    #[test]
    fn a_memif_socket_is_a_path_and_not_an_abstract_name() {
        let plan = plan(3, &options("memif:/run/x.sock,server", 1500), 2).unwrap();
        let expected = "net_memif3,role=server,id=0,socket=/run/x.sock,socket-abstract=no,bsize=2048";
        assert_eq!(plan.devargs, expected);
    }

    #[test]
    fn a_virtual_device_is_passed_on_in_its_own_words() {
        let plan = plan(0, &options("vdev:net_null0,size=64", 1500), 1).unwrap();
        assert_eq!((plan.devargs.as_str(), plan.largest, plan.mtu), ("net_null0,size=64", 1522, 1500));
    }

    #[test]
    fn frames_of_an_af_packet_ring_have_room_for_the_mtu_and_divide_its_blocks() {
        for (mtu, ring) in [(1500, 2048), (1950, 2048), (1951, 4096), (9000, 16384), (9216, 16384)] {
            assert_eq!(ring_frame(mtu + LINK_OVERHEAD), ring, "{mtu}");
        }
    }

    #[test]
    fn af_xdp_shares_no_process_with_jumbo_frames() {
        for (spec, most) in [("vdev:net_ring0", 3050), ("af_xdp:eth2", 2794), ("af_packet:eth2", 1950)] {
            let both = |mtu| check_together(&[options("af_xdp:eth1", 1500), options(spec, mtu)]);
            assert_eq!(both(9000), Err(DpdkError::JumboAfXdp { device: spec.into(), mtu: 9000, most }));
            assert!(both(most + 1).is_err());
            assert_eq!(both(most), Ok(()));
        }
    }

    #[test]
    fn queues_that_nobody_would_read_are_refused_with_the_command_that_helps() {
        let check = |combined, queues, rx_only, opened| {
            let interface = ng_interface { combined, queues, rx_only, ..NO_INTERFACE };
            check_channels(&DeviceSpec::AfXdp("eth1".into()), "eth1", &interface, opened)
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(true, 2, 0, 2), Ok(()));
        assert_eq!(check(false, 1, 0, 1), Ok(()), "no channels at all");
        assert!(check(true, 8, 0, 2).unwrap_err().contains("`ethtool -L eth1 combined 2`"));
        assert!(check(true, 2, 2, 2).unwrap_err().contains("`ethtool -L eth1 combined 2 rx 0`"));
        assert!(check(false, 1, 4, 1).unwrap_err().contains("4 receive queues"));
    }

    #[test]
    fn a_kernel_interface_is_used_once() {
        let devices =
            [options("af_packet:eth1", 1500), options("af_packet:eth2", 1500), options("af_xdp:eth1", 1500)];
        let error = check_together(&devices).unwrap_err();
        assert_eq!(error, DpdkError::Same { device: "af_xdp:eth1".into(), other: "af_packet:eth1".into() });
        assert!(check_together(&devices[..2]).is_ok());
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let spec = "af_packet:ng-nowhere".parse().unwrap();
        let error = kernel_interface(&spec, "ng-nowhere", 1500).unwrap_err().to_string();
        assert!(error.contains("\"ng-nowhere\"") && error.contains("ip link"), "{error}");
    }
}

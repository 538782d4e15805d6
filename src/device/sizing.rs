//! How large a buffer has to be and how many there have to be: arithmetic over the config, without DPDK.
//!
//! `device::dpdk` decides by it, and `natgate check` finds by it what `natgate run` would refuse.

use super::spec::DeviceSpec;

/// The room for a frame in a buffer, without headroom, that is used whenever it is enough: drivers expect it
/// (`RTE_MBUF_DEFAULT_DATAROOM`).
pub const USUAL_ROOM: u16 = 2048;
/// Rooms grow in steps, because NICs round them down to whole ones and would split a frame that is larger.
const ROOM_STEP: u16 = 1024;
/// The largest room that the kernel accepts for AF_XDP: with DPDK's headers and headroom, 320 bytes, the buffer lies in
/// one page of 4096.
const MOST_AF_XDP_ROOM: u16 = 3072;

/// Ethernet header and a VLAN tag.
pub const LINK_OVERHEAD: u16 = 18;
/// The frame check sequence, which some NICs count into a frame and write into its buffer.
const CHECK_SEQUENCE: u16 = 4;
/// What the kernel keeps free in front of each frame of an AF_XDP socket, beside what the driver asks for
/// (XDP_PACKET_HEADROOM): without it a buffer for 2048 bytes takes frames of 1792.
const XDP_HEADROOM: u16 = 256;
/// What the kernel puts in front of a frame in an AF_PACKET ring, at most.
const RING_OVERHEAD: u16 = 80;

/// Frames in the fill and completion rings of an AF_XDP queue, 2048 each whatever the number of descriptors.
pub const AF_XDP_RINGS: u32 = 4096;
/// Descriptors a queue and frames in a thread's cache, best first: the first pair that the frames suffice for.
pub const SIZES: [(u16, u32); 4] = [(1024, 256), (1024, 128), (512, 128), (256, 64)];

/// Bytes that a buffer must have room for, so that every frame of an MTU fits.
pub fn largest_frame(spec: &DeviceSpec, mtu: u16) -> u16 {
    let frame = mtu.saturating_add(LINK_OVERHEAD);
    match spec {
        // The driver wants buffers that hold a place in the ring, and does with the usual ones for the smallest.
        DeviceSpec::AfPacket(_) if ring_frame(frame) > USUAL_ROOM => ring_frame(frame),
        DeviceSpec::AfXdp(_) => frame.saturating_add(CHECK_SEQUENCE + XDP_HEADROOM),
        _ => frame.saturating_add(CHECK_SEQUENCE),
    }
}

/// The size of a frame in an AF_PACKET ring: a power of two, so that it divides the ring's blocks.
pub fn ring_frame(frame: u16) -> u16 {
    frame.saturating_add(RING_OVERHEAD).max(USUAL_ROOM).checked_next_power_of_two().unwrap_or(1 << 15)
}

/// The room for a frame in each buffer, when the largest takes `largest` bytes.
pub fn room(largest: u16) -> u16 {
    largest.max(USUAL_ROOM).checked_next_multiple_of(ROOM_STEP).unwrap_or(63 * ROOM_STEP)
}

/// Whether frames of this MTU fit into the buffers of a process with AF_XDP: all devices share them.
pub fn fits_beside_af_xdp(spec: &DeviceSpec, mtu: u16) -> bool {
    room(largest_frame(spec, mtu)) <= MOST_AF_XDP_ROOM
}

/// The largest MTU of a device in a process with AF_XDP.
pub fn most_mtu_beside_af_xdp(spec: &DeviceSpec) -> u16 {
    (0..=u16::MAX).rev().find(|mtu| fits_beside_af_xdp(spec, *mtu)).unwrap_or(0)
}

/// Frames that a gateway needs, with queues and caches of these sizes: those in the ports' queues, those in the caches of
/// the workers and the starting thread (which fill to one and a half times their size), and those that each
/// worker holds.
pub fn frames_needed(cache: u32, workers: u16, held_per_worker: u32, in_ports: u32) -> u32 {
    let caches = (u32::from(workers) + 1).saturating_mul(cache * 3 / 2);
    in_ports.saturating_add(caches).saturating_add(u32::from(workers).saturating_mul(held_per_worker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_grow_in_steps_from_the_usual_one() {
        assert_eq!((room(64), room(2048)), (2048, 2048));
        assert_eq!((room(2049), room(9022), room(9216), room(9217)), (3072, 9216, 9216, 10_240));
        assert_eq!(room(u16::MAX), 63 * 1024);
    }

    #[test]
    fn each_kind_of_device_wants_a_room_of_its_own() {
        let room_of = |text: &str, mtu| room(largest_frame(&text.parse().unwrap(), mtu));
        assert_eq!(room_of("tap:a", 1500), 2048);
        assert_eq!(room_of("tap:a", 9000), 9216);
        assert_eq!(room_of("af_packet:a", 1500), 2048);
        assert_eq!(room_of("af_packet:a", 9000), 16_384);
        assert_eq!(room_of("af_xdp:a", 1500), 2048);
        assert_eq!(room_of("af_xdp:a", 1800), 3072);
    }

    #[test]
    fn beside_af_xdp_a_buffer_stays_within_a_page() {
        for (text, most) in [("af_xdp:a", 2794), ("af_packet:a", 1950), ("tap:a", 3050)] {
            let spec: DeviceSpec = text.parse().unwrap();
            assert_eq!(most_mtu_beside_af_xdp(&spec), most, "{text}");
            assert!(fits_beside_af_xdp(&spec, most) && !fits_beside_af_xdp(&spec, most + 1), "{text}");
        }
    }
}

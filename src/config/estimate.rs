//! What a config implies: memory, frames, and the rate of new sessions that its table sustains.
//!
//! The frames and the memory that DPDK needs are computed here without DPDK, so that `natgate check` finds what
//! `natgate run` would refuse whatever the machine is like. The minimum of frames is never above the device's, as how
//! many queues a NIC has is not known here; the memory is that on hugepages (plain pages may take more).

use crate::config::compile::INTERFACE_PORTS;
use crate::config::model::{Config, PoolConfig};
use crate::conntrack::policy::Share;
use crate::conntrack::timeouts::Timeout;
use crate::device::sizing;
use crate::device::spec::DeviceSpec;
use crate::ids::Realm;
use crate::nat::behavior::{Behavior, Sharing};
use crate::nat::blocks::{self, BlockMap, Blocks};
use crate::nat::mapping::Mappings;
use crate::nat::proxied::Records;
use crate::nat::space::PortSpace;
use crate::pipeline::held_frames;
use crate::wire::protocol;
use std::ops::RangeInclusive;

/// Memory of one session: its record with both tuples (128), its share of the index (16), of the lists by class (8)
/// and of the timer wheel (8). The design's budget.
pub const SESSION_BYTES: u64 = 160;
/// What a SYN proxy, in front of whichever forward, adds to that.
pub const PROXIED_BYTES: u64 = Records::BYTES as u64;
/// Memory of one source when sources are limited: its counters and bucket (32) and up to two chains of the index (8).
/// Each session may be another source's.
pub const SOURCE_BYTES: u64 = 40;

/// What DPDK keeps beside a frame's bytes: `struct rte_mbuf` (128), headroom (128), the pool's own header (64).
const FRAME_OVERHEAD: u64 = 320;
const CACHE_LINE: u64 = 64;
/// The head of the pool and the caches of all threads that could be: at most 256 of 12 KiB.
const POOL_BYTES: u64 = 4 << 20;
/// For drivers, rings and EAL's own tables beside the pool, in MiB.
const EAL_MIB: u32 = 48;

/// Full receive and transmit queues of one worker on one device, and its cache.
const QUEUE_PAIR: u64 = 4096;
const LEAST_DEFAULT: u64 = 16_384;

/// The room that each buffer must have for the frames of a device with this MTU, in bytes.
pub fn frame_room(device: &DeviceSpec, mtu: u16) -> u64 {
    u64::from(sizing::room(sizing::largest_frame(device, mtu)))
}

/// Bytes of a pool of `frames` buffers with this room, and of its ring of pointers.
pub fn frames_bytes(frames: u32, room: u64) -> u64 {
    // An odd number of cache lines, so that frames are spread over the memory's channels.
    let lines = (room + FRAME_OVERHEAD).div_ceil(CACHE_LINE) | 1;
    let frames = u64::from(frames);
    frames * lines * CACHE_LINE + (frames + 1).next_power_of_two() * 8
}

/// MiB that DPDK needs with such a pool.
pub fn dpdk_mebibytes(frames: u32, room: u64) -> u32 {
    mebibytes(frames_bytes(frames, room) + POOL_BYTES) + EAL_MIB
}

/// Frames below which no gateway with these devices can start.
pub fn minimum_frames<'d>(devices: impl Iterator<Item = &'d DeviceSpec>, workers: u8) -> u32 {
    let (descriptors, cache) = sizing::SIZES[sizing::SIZES.len() - 1];
    let descriptors = u32::from(descriptors);
    let workers = u16::from(workers);
    let in_ports = devices.map(|device| match device {
        // A queue pair for each worker, for certain.
        DeviceSpec::AfPacket(_) => 2 * descriptors * u32::from(workers),
        DeviceSpec::AfXdp(_) => sizing::AF_XDP_RINGS + descriptors,
        _ => 2 * descriptors,
    });
    sizing::frames_needed(cache, workers, held_frames(workers), in_ports.sum())
}

/// Frames that suffice for full queues of every worker on every device.
pub fn default_frames<'d>(devices: impl Iterator<Item = &'d DeviceSpec>, workers: u8) -> u32 {
    let pairs = devices.map(|device| match device {
        DeviceSpec::AfXdp(_) => QUEUE_PAIR + u64::from(sizing::AF_XDP_RINGS),
        _ => QUEUE_PAIR,
    });
    let frames = (pairs.sum::<u64>() * u64::from(workers)).max(LEAST_DEFAULT);
    u32::try_from(frames).unwrap_or(u32::MAX)
}

/// Bytes in MiB, rounded up.
pub fn mebibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)
}

/// What a config implies.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Estimate {
    /// Memory of the packet pool, in bytes.
    pub frame_bytes: u64,
    /// Memory of one session, in bytes.
    pub bytes_per_session: u64,
    /// Memory of the session table, in bytes.
    pub session_bytes: u64,
    /// Memory of the table of sources, in bytes; 0 if they are not limited.
    pub source_bytes: u64,
    /// Memory of the mappings when there are as many as there can be, in bytes; 0 if no pool keeps any.
    pub mapping_bytes: u64,
    /// Memory of the free ports of every address that may be allocated from, with every worker, in bytes.
    pub port_bytes: u64,
    /// New TCP connections a second that can go on for ever: each holds its session for `tcp_time_wait` after its end.
    pub tcp_closed_per_second: u64,
    /// The same for connections that are never answered: `tcp_syn_sent`.
    pub tcp_unanswered_per_second: u64,
    /// The same for UDP that is not answered: `udp`.
    pub udp_per_second: u64,
    /// The same for UDP that is answered: `udp_stream`.
    pub udp_stream_per_second: u64,
    /// The same for ICMP queries: `icmp`.
    pub icmp_per_second: u64,
    /// Sessions at which adaptive timeouts begin to shrink, and at which they are next to nothing. `None`: never.
    pub adaptive_sessions: Option<(u32, u32)>,
    /// Sessions at which the table is full for all but management sources.
    pub full_sessions: u32,
    /// Sessions that are kept for management sources.
    pub reserved_sessions: u32,
    /// TCP connections that may be half-open.
    pub half_open_sessions: u32,
}

/// The tables of a config do not fit the memory that is available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not enough memory: {sessions} MiB for max_sessions, with mappings, and {ports} MiB for the ports of interfaces and pools, with \
     {available} MiB available; lower max_sessions, or use smaller pools or fewer workers"
)]
pub struct TooLittleMemory {
    /// MiB of the session table, with that of sources and that of mappings.
    pub sessions: u32,
    /// MiB of the free ports.
    pub ports: u32,
    /// MiB that are available.
    pub available: u64,
}

impl Estimate {
    /// Computes it.
    pub fn of(config: &Config) -> Self {
        let room = |interface: &crate::config::model::InterfaceConfig| {
            let device = config.devices.get(interface.device.index())?;
            Some(frame_room(&device.spec, interface.mtu))
        };
        let room = config.interfaces.iter().filter_map(room).max().unwrap_or_default();
        let sessions = u64::from(config.conntrack.max_sessions);
        // Timeouts are at least a second.
        let rate = |timeout| {
            let millis = config.conntrack.timeouts.get(timeout).as_millis().max(1);
            u64::try_from(u128::from(sessions) * 1000 / millis).unwrap_or(u64::MAX)
        };
        // Of an interface's addresses, the primary one is translated to.
        let interfaces = config.interfaces.len() * PortSpace::address_bytes(&INTERFACE_PORTS);
        let pools =
            config.pools.iter().map(|pool| pool.addresses.len() * PortSpace::address_bytes(&pool.ports));
        let limits = &config.conntrack.limits;
        let part = |share: Share| share.of(config.conntrack.max_sessions);
        let adaptive = limits.adaptive_low < limits.adaptive_high;
        let reserved_sessions = part(limits.reserve);
        let has_blocks = |pool: &&PoolConfig| matches!(pool.behavior.sharing, Sharing::Blocks(_));
        let blocks = config.pools.iter().filter(has_blocks);
        let maps = blocks.map(|pool| pool.addresses.len() * BlockMap::BYTES).sum::<usize>();
        let sets = usize::from(config.runtime.workers)
            * (interfaces + pools.sum::<usize>() + maps + PortSpace::WORKER_BYTES);
        let proxied = config.dnat.iter().any(|rule| rule.syn_proxy);
        let bytes_per_session = SESSION_BYTES + if proxied { PROXIED_BYTES } else { 0 };
        Estimate {
            frame_bytes: frames_bytes(config.runtime.frames, room),
            bytes_per_session,
            session_bytes: sessions * bytes_per_session,
            source_bytes: if limits.count_sources() { sessions * SOURCE_BYTES } else { 0 },
            mapping_bytes: mapping_bytes(config),
            port_bytes: u64::try_from(sets).unwrap_or(u64::MAX),
            tcp_closed_per_second: rate(Timeout::TcpTimeWait),
            tcp_unanswered_per_second: rate(Timeout::TcpSynSent),
            udp_per_second: rate(Timeout::Udp),
            udp_stream_per_second: rate(Timeout::UdpStream),
            icmp_per_second: rate(Timeout::Icmp),
            adaptive_sessions: adaptive.then(|| (part(limits.adaptive_low), part(limits.adaptive_high))),
            full_sessions: config.conntrack.max_sessions.saturating_sub(reserved_sessions),
            reserved_sessions,
            half_open_sessions: part(limits.half_open),
        }
    }

    /// Whether the tables fit the bytes that are available: ordinary memory, free hugepages not included. The frames
    /// may be in those, so the device checks them itself.
    ///
    /// # Errors
    /// They do not.
    pub fn fits(&self, available: u64) -> Result<(), TooLittleMemory> {
        let sessions = self.session_bytes + self.source_bytes + self.mapping_bytes;
        if sessions + self.port_bytes <= available {
            return Ok(());
        }
        Err(TooLittleMemory {
            sessions: mebibytes(sessions),
            ports: mebibytes(self.port_bytes),
            available: available >> 20,
        })
    }
}

/// Memory of as many mappings as there can be: one for each session, and no more than the addresses have ports.
fn mapping_bytes(config: &Config) -> u64 {
    const PROTOCOLS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::ICMP];
    let ports = |range: &RangeInclusive<u16>, behavior: &Behavior| {
        let mapped = PROTOCOLS.iter().filter(|protocol| behavior.keeps_mappings(**protocol)).count();
        range.clone().count() * mapped
    };
    let outer = config.interfaces.iter().filter(|interface| interface.realm == Realm::External).count();
    let pools = config.pools.iter().map(|pool| pool.addresses.len() * ports(&pool.ports, &pool.behavior));
    let most = pools.sum::<usize>() + outer * ports(&INTERFACE_PORTS, &config.masquerade);
    let sessions = u64::from(config.conntrack.max_sessions);
    let blocks_of = |pool: &PoolConfig| match pool.behavior.sharing {
        Sharing::Blocks(rules) => blocks::count(&pool.ports, rules.size) * pool.addresses.len() as u64,
        _ => 0,
    };
    let blocks = config.pools.iter().map(blocks_of).sum::<u64>().min(sessions) * Blocks::BYTES as u64;
    match u64::try_from(most).unwrap_or(u64::MAX) {
        0 => 0,
        most => Mappings::bytes(most.min(sessions), sessions) + blocks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> DeviceSpec {
        text.parse().unwrap()
    }

    #[test]
    fn an_ordinary_frame_takes_two_and_a_third_kibibytes() {
        let ordinary = frame_room(&spec("tap:a"), 1500);
        assert_eq!(frames_bytes(1, ordinary), 2368 + 2 * 8);
        assert_eq!(mebibytes(frames_bytes(32_768, ordinary)), 75);
        assert!(frames_bytes(1, frame_room(&spec("tap:a"), 9000)) > 9000);
    }

    #[test]
    fn the_default_number_of_frames_fills_every_queue() {
        for (text, keeps) in [("tap:a", 0), ("af_packet:a", 0), ("af_xdp:a", sizing::AF_XDP_RINGS)] {
            for workers in [1, 2, 3, 8, 64] {
                let specs = vec![spec(text); 2];
                let frames = default_frames(specs.iter(), workers);
                let workers = u16::from(workers);
                let (descriptors, cache) = sizing::SIZES[0];
                let in_ports = 2 * u32::from(workers) * (keeps + 2 * u32::from(descriptors));
                let needed = sizing::frames_needed(cache, workers, held_frames(workers), in_ports);
                assert!(frames >= needed, "{text}, {workers} workers: {frames} of {needed}");
            }
            let alone = [spec(text)];
            assert!(default_frames(alone.iter(), 64) >= minimum_frames(alone.iter(), 64), "{text}");
        }
    }

    #[test]
    fn tables_that_do_not_fit_are_named_with_what_is_available() {
        let text = "[interface.a]\ndevice = \"tap:a\"\nrealm = \"internal\"\naddress = \"10.0.0.1/8\"\n\
                    [pool.p]\naddresses = \"198.51.100.0/28\"\n[runtime]\nworkers = 2\n";
        let estimate = Estimate::of(&crate::config::parse(text, "x").unwrap().config);
        assert_eq!(
            estimate.port_bytes,
            2 * u64::try_from(17 * PortSpace::address_bytes(&INTERFACE_PORTS) + PortSpace::WORKER_BYTES)
                .unwrap()
        );
        let needed = estimate.session_bytes + estimate.mapping_bytes + estimate.port_bytes;
        assert_eq!(estimate.fits(needed), Ok(()));
        let error = estimate.fits(needed - 1).unwrap_err().to_string();
        assert!(error.contains("57 MiB for max_sessions, with mappings, and 5 MiB for the ports"), "{error}");
        assert!(error.contains("with 61 MiB available"), "{error}");

        let limited = format!("{text}[conntrack]\nnew_sessions_per_source = \"9/s\"\n");
        let estimate = Estimate::of(&crate::config::parse(&limited, "x").unwrap().config);
        assert_eq!(estimate.source_bytes, 262_144 * SOURCE_BYTES);
        let error = estimate.fits(needed).unwrap_err().to_string();
        assert!(error.contains("67 MiB for max_sessions"), "{error}");
    }

    #[test]
    fn what_happens_as_the_table_fills_is_said_in_sessions() {
        let of = |keys: &str| {
            let text = format!(
                "[interface.a]\ndevice = \"tap:a\"\nrealm = \"internal\"\naddress = \"10.0.0.1/8\"\n\
                 [conntrack]\nmax_sessions = 100000\n{keys}"
            );
            Estimate::of(&crate::config::parse(&text, "x").unwrap().config)
        };
        let estimate = of("");
        assert_eq!(estimate.adaptive_sessions, Some((80_000, 98_000)));
        assert_eq!((estimate.full_sessions, estimate.reserved_sessions), (99_000, 1000));
        assert_eq!((estimate.half_open_sessions, estimate.icmp_per_second), (50_000, 1666));
        let estimate = of("adaptive = \"off\"\nreserve = \"0%\"\n");
        assert_eq!((estimate.adaptive_sessions, estimate.full_sessions), (None, 100_000));
    }
}

//! What a config implies: memory, and the rate of new sessions that its table sustains.

use crate::config::model::Config;
use crate::conntrack::timeouts::Timeout;

/// Memory of one session with both tuples, its share of the index and its timer: the design's budget.
pub const SESSION_BYTES: u64 = 160;
/// What DPDK keeps beside a frame's bytes: `struct rte_mbuf` (128), headroom (128), the pool's own header (64).
const FRAME_OVERHEAD: u64 = 320;
/// Data room of an ordinary mbuf (`RTE_MBUF_DEFAULT_DATAROOM`).
const FRAME_ROOM: u64 = 2048;
/// Ethernet header, one VLAN tag, check sequence.
const LINK_BYTES: u64 = 22;

/// Bytes of a pool of `frames`, each of which holds an IPv4 packet of `mtu` bytes.
pub fn frames_bytes(frames: u32, mtu: u16) -> u64 {
    let room = FRAME_ROOM.max((u64::from(mtu) + LINK_BYTES).next_multiple_of(64));
    u64::from(frames) * (room + FRAME_OVERHEAD)
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
    /// Memory of the session table when it is full, in bytes.
    pub session_bytes: u64,
    /// New TCP connections a second that can go on for ever: each holds its session for `tcp_time_wait` after its end.
    pub tcp_closed_per_second: u64,
    /// The same for connections that are never answered: `tcp_syn_sent`.
    pub tcp_unanswered_per_second: u64,
    /// The same for UDP that is not answered: `udp`.
    pub udp_per_second: u64,
    /// The same for UDP that is answered: `udp_stream`.
    pub udp_stream_per_second: u64,
}

impl Estimate {
    /// Computes it.
    pub fn of(config: &Config) -> Self {
        let mtu = config.interfaces.iter().map(|interface| interface.mtu).max().unwrap_or_default();
        let sessions = u64::from(config.conntrack.max_sessions);
        // Timeouts are at least a second.
        let rate = |timeout| {
            let millis = config.conntrack.timeouts.get(timeout).as_millis().max(1);
            u64::try_from(u128::from(sessions) * 1000 / millis).unwrap_or(u64::MAX)
        };
        Estimate {
            frame_bytes: frames_bytes(config.runtime.frames, mtu),
            session_bytes: sessions * SESSION_BYTES,
            tcp_closed_per_second: rate(Timeout::TcpTimeWait),
            tcp_unanswered_per_second: rate(Timeout::TcpSynSent),
            udp_per_second: rate(Timeout::Udp),
            udp_stream_per_second: rate(Timeout::UdpStream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_frame_takes_two_and_a_third_kibibytes() {
        assert_eq!(frames_bytes(1, 1500), 2368);
        assert_eq!(mebibytes(frames_bytes(32_768, 1500)), 74);
        assert!(frames_bytes(1, 9000) > 9000);
    }
}

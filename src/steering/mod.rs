//! Which worker owns a packet: a pure function of the packet and the configuration (DESIGN section 4).
//!
//! | packet | its owner is decided by |
//! |---|---|
//! | to a forwarded port of ours (DNAT) | the client's endpoint: its source; with limits per source its address alone |
//! | to another port or ICMP id of ours | that port: `port mod workers`; each worker allocates only its own |
//! | of a protocol without ports | the address of the remote end: its source if the destination is ours, else its destination |
//! | from a backend of a forward | the client's endpoint: its destination |
//! | any other | its source address: a subscriber lives on one worker |
//! | ICMP error | as the packet that would answer the quoted one (its tuple already is that) |
//! | fragment | first its datagram, then, ports known, as above |
//!
//! Both directions of a session come out at the same worker because whoever creates a session chooses an
//! external port that maps back to itself, or, where there is no port, because the remote end is the same. The plan
//! is C throughout: a NIC spreads packets as it likes, and what arrives at the wrong worker is handed off.
//!
//! Without ports a subscriber's sessions may be with any worker, so that what limits each source allow, they allow of
//! such sessions on each worker.

use crate::classify::LocalAddresses;
use crate::ids::WorkerId;
use crate::packet::{Parsed, Tuple};
use crate::wire::protocol;
use std::net::Ipv4Addr;

/// The owner function.
#[derive(Clone, Copy, Debug)]
pub struct Steering {
    workers: u8,
    seed: u64,
    /// Whether the clients of forwards are told apart by their address alone.
    by_address: bool,
}

impl Steering {
    /// The owner function for a number of workers (at least 1). `seed` is drawn at random at start-up, so that
    /// nobody outside can aim at one worker.
    pub fn new(workers: u8, seed: u64) -> Self {
        Steering { workers: workers.max(1), seed, by_address: false }
    }

    /// The same, but all sessions of one source address are on one worker, those to forwarded ports too: what is
    /// counted by source needs that. One client then has no more than one worker's power.
    #[must_use]
    pub fn sources_together(self, together: bool) -> Self {
        Steering { by_address: together, ..self }
    }

    /// How many workers there are.
    pub fn workers(&self) -> u8 {
        self.workers
    }

    /// The owner of the session that a packet with this tuple, which came in from `zone`, belongs to.
    #[inline]
    pub fn owner(&self, tuple: &Tuple, zone: u16, local: &LocalAddresses) -> WorkerId {
        if self.workers == 1 {
            return WorkerId(0);
        }
        if let Some(number) = local.find(zone, tuple.dst) {
            return if protocol::is_portless(tuple.protocol) {
                self.address(tuple.src)
            } else if local.forward(number, tuple.protocol, tuple.dport).is_some() {
                self.endpoint(tuple.src, tuple.sport)
            } else {
                self.port_owner(tuple.dport)
            };
        }
        if protocol::is_portless(tuple.protocol) {
            return self.address(tuple.dst);
        }
        if has_forwards(tuple.protocol) && local.is_backend_source(zone, tuple) {
            return self.endpoint(tuple.dst, tuple.dport);
        }
        self.address(tuple.src)
    }

    /// The worker to which an external port (or ICMP identifier) belongs.
    #[inline]
    pub fn port_owner(&self, port: u16) -> WorkerId {
        WorkerId(u8::try_from(port % u16::from(self.workers)).unwrap_or(0))
    }

    /// The worker that collects the fragments of a datagram.
    #[inline]
    pub fn fragment_owner(&self, packet: &Parsed) -> WorkerId {
        let Tuple { src, dst, protocol, .. } = packet.tuple;
        let addresses = u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits());
        self.pick(
            addresses ^ (u64::from(packet.id) << 8 | u64::from(protocol)).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        )
    }

    #[inline]
    fn address(&self, address: Ipv4Addr) -> WorkerId {
        self.pick(u64::from(address.to_bits()))
    }

    #[inline]
    fn endpoint(&self, address: Ipv4Addr, port: u16) -> WorkerId {
        if self.by_address {
            return self.pick(u64::from(address.to_bits()));
        }
        self.pick(u64::from(address.to_bits()) << 16 | u64::from(port))
    }

    /// Spreads a value evenly over the workers.
    #[inline]
    fn pick(&self, value: u64) -> WorkerId {
        let first = folded_multiply(value ^ self.seed, 0x9e37_79b9_7f4a_7c15);
        let mixed = folded_multiply(first ^ self.seed, 0xf39c_c060_5ced_c835) >> 32;
        WorkerId(u8::try_from((mixed * u64::from(self.workers)) >> 32).unwrap_or(0))
    }
}

/// The upper and lower half of the 128-bit product, mixed: every input bit reaches every output bit.
#[inline]
fn folded_multiply(a: u64, b: u64) -> u64 {
    let (low, high) = a.carrying_mul(b, 0);
    low ^ high
}

fn has_forwards(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Forward, Source};
    use crate::ids::InterfaceId;
    use proptest::prelude::*;

    const OURS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
    const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);

    fn local(source: Option<Source>) -> LocalAddresses {
        let forward = Forward {
            protocol: protocol::TCP,
            ports: 80..=80,
            to: BACKEND,
            to_port: 8080,
            zone: 0,
            source,
            syn_proxy: false,
        };
        LocalAddresses::new(vec![(OURS, Some(InterfaceId(1)), Some(1024..=65535))], &[(OURS, forward)])
    }

    fn tuple(src: Ipv4Addr, sport: u16, dst: Ipv4Addr, dport: u16) -> Tuple {
        Tuple { src, dst, sport, dport, protocol: protocol::TCP }
    }

    proptest! {
        #[test]
        fn both_directions_of_every_kind_of_session_have_one_owner(
            workers in 1u8..=8,
            seed: u64,
            client in any::<u32>().prop_map(Ipv4Addr::from_bits),
            server in any::<u32>().prop_map(Ipv4Addr::from_bits),
            cport: u16,
            sport: u16,
            pick in 0u16..7000,
            together: bool,
        ) {
            prop_assume!(client != OURS && server != OURS && client != BACKEND && server != BACKEND);
            let steering = Steering::new(workers, seed).sources_together(together);
            let local_plain = local(None);
            let local_full = local(Some(Source::Interface));

            // SNAT: the worker allocates a port of its own.
            let owner = steering.owner(&tuple(client, cport, server, sport), 0, &local_plain);
            let external = (0..u16::from(workers))
                .map(|step| 1024 + u16::from(workers) * pick + step)
                .find(|port| steering.port_owner(*port) == owner)
                .unwrap();
            prop_assert_eq!(steering.owner(&tuple(server, sport, OURS, external), 0, &local_plain), owner);

            // DNAT: the client's endpoint decides both ways.
            let owner = steering.owner(&tuple(client, cport, OURS, 80), 0, &local_plain);
            prop_assert_eq!(steering.owner(&tuple(BACKEND, 8080, client, cport), 0, &local_plain), owner);

            // Full NAT: the client's endpoint, then the local port.
            let owner = steering.owner(&tuple(client, cport, OURS, 80), 0, &local_full);
            let external = (0..u16::from(workers))
                .map(|step| 1024 + u16::from(workers) * pick + step)
                .find(|port| steering.port_owner(*port) == owner)
                .unwrap();
            prop_assert_eq!(steering.owner(&tuple(BACKEND, 8080, OURS, external), 0, &local_full), owner);

            // Other protocols with ports: source translation, also of a host that is a backend with the same number of
            // port under another protocol.
            for protocol in [protocol::UDP_LITE, protocol::SCTP, protocol::DCCP] {
                for host in [client, BACKEND] {
                    let out = Tuple { protocol, ..tuple(host, 8080, server, sport) };
                    let owner = steering.owner(&out, 0, &local_plain);
                    let external = (0..u16::from(workers))
                        .map(|step| 1024 + u16::from(workers) * pick + step)
                        .find(|port| steering.port_owner(*port) == owner)
                        .unwrap();
                    let back = Tuple { protocol, ..tuple(server, sport, OURS, external) };
                    prop_assert_eq!(steering.owner(&back, 0, &local_plain), owner);
                }
            }

            // Without ports: whichever of our addresses it is, and whichever host inside.
            for protocol in [protocol::GRE, 50, 4, 41] {
                for host in [client, BACKEND] {
                    let owner = steering.owner(&Tuple { protocol, ..tuple(host, 0, server, 0) }, 0, &local_plain);
                    let back = Tuple { protocol, ..tuple(server, 0, OURS, 0) };
                    prop_assert_eq!(steering.owner(&back, 0, &local_plain), owner);
                    prop_assert_eq!(steering.owner(&back, 0, &local_full), owner);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn where_sources_are_counted_all_sessions_of_one_are_on_one_worker(
            workers in 2u8..=8,
            seed: u64,
            client in any::<u32>().prop_map(Ipv4Addr::from_bits),
            ports in (any::<u16>(), any::<u16>()),
        ) {
            prop_assume!(client != OURS && client != BACKEND);
            let steering = Steering::new(workers, seed).sources_together(true);
            let local = local(None);
            let owner = |port, to, dport| steering.owner(&tuple(client, port, to, dport), 0, &local);
            prop_assert_eq!(owner(ports.0, OURS, 80), owner(ports.1, OURS, 80));
            prop_assert_eq!(owner(ports.0, OURS, 80), owner(ports.1, [198, 51, 100, 1].into(), 443));
        }
    }

    #[test]
    fn subscribers_spread_evenly_over_any_number_of_workers() {
        for workers in [2u8, 3, 4, 7] {
            let steering = Steering::new(workers, 42);
            let mut counts = vec![0u32; usize::from(workers)];
            let local = local(None);
            for host in 0..70_000u32 {
                let client = Ipv4Addr::from_bits(0x0a00_0000 | host);
                counts[steering.owner(&tuple(client, 1, BACKEND, 2), 0, &local).index()] += 1;
            }
            let fair = 70_000 / u32::from(workers);
            assert!(counts.iter().all(|n| n.abs_diff(fair) < fair / 20), "{workers}: {counts:?}");
        }
    }
}

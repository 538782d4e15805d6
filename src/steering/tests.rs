use super::*;
use crate::classify::{Affinity, Forward, Source, Static, Statics, Target, Targets};
use crate::ids::InterfaceId;
use crate::nat::behavior::Behavior;
use crate::nat::mapping::External;
use crate::nat::space::PortSpace;
use crate::time::Tick;
use proptest::prelude::*;
use std::collections::HashSet;

const OURS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const SERVICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);

/// Port 80 of both addresses is forwarded to one backend.
fn local(source: Option<Source>) -> LocalAddresses {
    let forward = Forward {
        protocol: protocol::TCP,
        ports: 80..=80,
        targets: Targets::one(BACKEND, 8080),
        zone: 0,
        source,
        syn_proxy: false,
        drain: false,
        rule: 0,
    };
    let addresses = vec![(OURS, Some(InterfaceId(1)), Some(1024..=65535))];
    LocalAddresses::new(addresses, &[(OURS, forward.clone()), (SERVICE, forward)])
}

fn tuple(src: Ipv4Addr, sport: u16, dst: Ipv4Addr, dport: u16) -> Tuple {
    Tuple { src, dst, sport, dport, protocol: protocol::TCP }
}

/// The reply to a packet of the flow that `owner` translated to a port of OURS.
fn reply(steering: &Steering, local: &LocalAddresses, owner: WorkerId, flow: &Tuple, random: u64) -> Tuple {
    let mut space = PortSpace::new(local, steering, owner);
    let mut out = Tuple { src: OURS, ..*flow };
    let wanted = (steering.rest(&out.inverse(), false), flow.sport);
    let remote = (flow.dst, flow.dport);
    out.sport = space.share((0, flow.protocol), wanted, remote, || random, |_| false).expect("all are free");
    out.inverse()
}

/// Where packets come from.
const INSIDE: (Realm, u16) = (Realm::Internal, 0);
const OUTSIDE: (Realm, u16) = (Realm::External, 0);

fn any_spread() -> impl Strategy<Value = Spread> {
    prop_oneof![Just(Spread::Source), Just(Spread::Flow)]
}

fn any_steering() -> impl Strategy<Value = Steering> {
    (1u8..=8, any::<u64>(), any_spread(), any::<bool>(), any::<bool>()).prop_map(
        |(workers, seed, spread, together, by_port)| {
            Steering::new(workers, seed).spread(spread).sources_together(together).by_port(by_port)
        },
    )
}

/// Not one of the addresses above.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>()
        .prop_map(Ipv4Addr::from_bits)
        .prop_filter("is ours", |address| ![OURS, SERVICE, BACKEND].contains(address))
}

proptest! {
    #[test]
    fn both_directions_of_every_kind_of_session_have_one_owner(
        steering in any_steering(),
        client in address(),
        server in address(),
        cport: u16,
        sport: u16,
        random: u64,
    ) {
        let (plain, full) = (local(None), local(Some(Source::Interface)));
        // What is from one of ours is from inside, and so is what is for nobody of ours.
        let owner = |tuple: &Tuple, local: &LocalAddresses| {
            let realm = if local.find(0, tuple.dst).is_some() { Realm::External } else { Realm::Internal };
            steering.owner(tuple, (realm, 0), local)
        };

        // SNAT: the worker picks a port.
        for protocol in [protocol::TCP, protocol::UDP, protocol::UDP_LITE, protocol::SCTP, protocol::DCCP, protocol::ICMP] {
            // A backend too, with the same number of port under another protocol.
            for host in [client, BACKEND] {
                let out = Tuple { protocol, ..tuple(host, 8080, server, sport) };
                let mine = owner(&out, &plain);
                prop_assert_eq!(owner(&reply(&steering, &plain, mine, &out, random), &plain), mine);
            }
        }
        let out = tuple(client, cport, server, sport);
        let mine = owner(&out, &plain);
        prop_assert_eq!(owner(&reply(&steering, &plain, mine, &out, random), &plain), mine);

        // DNAT: the request decides both ways; that to the first address, if two lead to one backend.
        let mine = owner(&tuple(client, cport, OURS, 80), &plain);
        prop_assert_eq!(owner(&tuple(client, cport, SERVICE, 80), &plain), mine);
        prop_assert_eq!(owner(&tuple(BACKEND, 8080, client, cport), &plain), mine);

        // Full NAT: the request, then the port that its owner picked.
        for ours in [OURS, SERVICE] {
            let mine = owner(&tuple(client, cport, ours, 80), &full);
            let to_backend = tuple(client, cport, BACKEND, 8080);
            prop_assert_eq!(owner(&reply(&steering, &full, mine, &to_backend, random), &full), mine);
        }

        // A source that is not translated: the answer comes to the host's own address, which may be a backend's.
        for protocol in [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::ICMP, protocol::GRE, 50] {
            for (host, port) in [(client, cport), (BACKEND, 8080), (BACKEND, cport)] {
                let out = Tuple { protocol, ..tuple(host, port, server, sport) };
                let mine = steering.owner(&out, INSIDE, &plain);
                prop_assert_eq!(steering.owner(&out.inverse(), OUTSIDE, &plain), mine);
            }
        }

        // Without ports: whichever of our addresses it is, and whichever host inside.
        for protocol in [protocol::GRE, 50, 4, 41] {
            for host in [client, BACKEND] {
                let mine = owner(&Tuple { protocol, ..tuple(host, 0, server, 0) }, &plain);
                let back = Tuple { protocol, ..tuple(server, 0, OURS, 0) };
                prop_assert_eq!(owner(&back, &plain), mine);
                prop_assert_eq!(owner(&back, &full), mine);
            }
        }
    }

    #[test]
    fn a_port_that_is_given_out_leads_the_reply_to_its_worker_whatever_key_and_table_are(
        key: Key,
        table in (1u8..=9, 0u32..=9).prop_flat_map(|(workers, bits)| {
            proptest::collection::vec((0..workers).prop_map(WorkerId), 1 << bits)
        }),
        server in address(),
        ports: (u16, u16),
        randoms: [u64; 16],
        udp: bool,
    ) {
        let local = local(None);
        // Under a key that does not reach every entry by the port there is no such plan.
        let Some(steering) = Steering::with(table.clone().into(), key) else { return Ok(()) };
        let protocol = if udp { protocol::UDP } else { protocol::TCP };
        for worker in table.iter().collect::<std::collections::BTreeSet<_>>() {
            let mut space = PortSpace::new(&local, &steering, *worker);
            let out = Tuple { protocol, ..tuple(OURS, ports.0, server, ports.1) };
            for random in randoms {
                let wanted = (steering.rest(&out.inverse(), false), ports.0);
                let remote = (server, ports.1);
                let Some(port) = space.share((0, protocol), wanted, remote, || random, |_| false) else {
                    return Err(TestCaseError::fail("no port although nearly all are free"));
                };
                // What a NIC computes, bit by bit, for the reply; and what it looks up.
                let back = [
                    &server.octets()[..], &OURS.octets(), &ports.1.to_be_bytes(), &port.to_be_bytes(),
                ].concat();
                let hash = toeplitz::hash(&key, &back);
                let queue = table[hash as usize & (table.len() - 1)];
                prop_assert_eq!(queue, if steering.workers() == 1 { queue } else { *worker });
            }
        }
    }

    #[test]
    fn a_nic_with_the_keys_delivers_to_the_owner(
        workers in 2u8..=8,
        seed: u64,
        spread in any_spread(),
        together: bool,
        client in address(),
        server in address(),
        cport: u16,
        sport: u16,
        random: u64,
    ) {
        let steering = Steering::new(workers, seed).spread(spread).sources_together(together);
        let local = local(None);
        // The NIC hashes the whole flow with the key that it was given, and has a table with more entries.
        let nic = |tuple: &Tuple, realm| {
            let input = [
                &tuple.src.octets()[..], &tuple.dst.octets(), &tuple.sport.to_be_bytes(), &tuple.dport.to_be_bytes(),
            ].concat();
            let hash = toeplitz::hash(steering.key(realm), &input) as usize % 512;
            let table = steering.table_of(realm);
            table[hash % table.len()]
        };
        let out = tuple(client, cport, server, sport);
        let owner = steering.owner(&out, INSIDE, &local);
        prop_assert_eq!(nic(&out, Realm::Internal), owner);
        prop_assert_eq!(steering.placement(&out, Realm::Internal), owner);
        let back = reply(&steering, &local, owner, &out, random);
        prop_assert_eq!(nic(&back, Realm::External), owner);
        prop_assert_eq!(steering.placement(&back, Realm::External), owner);
        if !together {
            // A client's request too, if it goes to the first of several addresses.
            let request = tuple(client, cport, OURS, 80);
            prop_assert_eq!(nic(&request, Realm::External), steering.owner(&request, OUTSIDE, &local));
        }
    }

    #[test]
    fn whichever_backend_a_client_gets_and_by_whichever_forward_its_answers_come_to_the_owner_of_the_request(
        steering in any_steering(),
        client in address(),
        cport: u16,
        drained in 0usize..4,
        weights in proptest::collection::vec(1u8..=100, 3),
    ) {
        let backends = [10, 11, 12].map(|last| Ipv4Addr::new(192, 168, 1, last));
        prop_assume!(!backends.contains(&client));
        let targets = |drained: usize| {
            let list = backends.iter().zip(&weights).enumerate().map(|(n, (address, weight))| Target {
                address: *address, port: 8080, weight: *weight, drain: n == drained,
            });
            Targets::new(list.collect(), Affinity::Connection)
        };
        let forward = local(None).forwards_of(0)[0].clone();
        let single = Forward { ports: 81..=81, targets: Targets::one(backends[1], 8080), ..forward.clone() };
        let service = |drained| Forward { targets: targets(drained), ..forward.clone() };
        let compiled = |drained| LocalAddresses::new(
            vec![(OURS, Some(InterfaceId(1)), None)],
            &[(SERVICE, single.clone()), (OURS, service(drained)), (SERVICE, service(drained))],
        );
        let (all, some) = (compiled(3), compiled(drained));
        for (dst, dport) in [(OURS, 80), (SERVICE, 80), (SERVICE, 81)] {
            let request = tuple(client, cport, dst, dport);
            let owner = steering.owner(&request, OUTSIDE, &all);
            prop_assert_eq!(steering.owner(&request, OUTSIDE, &some), owner, "a drain moves nothing");
            let number = all.find(0, dst).unwrap();
            prop_assert!(all.forward(number, protocol::TCP, dport).unwrap().targets.choose(client, cport).is_some());
            for backend in backends {
                let answer = tuple(backend, 8080, client, cport);
                prop_assert_eq!(steering.owner(&answer, INSIDE, &all), owner);
            }
        }
    }

    #[test]
    fn both_directions_of_a_static_hosts_session_have_one_owner_whoever_opens_it(
        steering in any_steering(),
        hosts in (0u32..256, 0u32..256),
        peer in address(),
        ports: (u16, u16),
        protocol in prop_oneof![Just(protocol::TCP), Just(protocol::UDP), Just(protocol::ICMP), Just(50)],
    ) {
        let fixed = Static {
            external: "198.18.0.0/24".parse().unwrap(),
            internal: "10.0.0.0/24".parse().unwrap(),
            zone: 0,
            out: None,
            inbound: true,
            rule: 0,
        };
        prop_assume!(!fixed.external.contains(&peer) && !fixed.internal.contains(&peer));
        let [one, two] = [hosts.0, hosts.1].map(|host| Ipv4Addr::from_bits(0x0a00_0000 | host));
        let [one_outside, two_outside] = [one, two].map(|host| fixed.outside(host));
        // A port of one of the hosts is a backend's too.
        let backend = Forward { targets: Targets::one(one, 8080), ..local(None).forwards_of(0)[0].clone() };
        let local = LocalAddresses::new(vec![(OURS, Some(InterfaceId(1)), None)], &[(OURS, backend)])
            .with_statics(Statics::new([fixed]));
        let (sport, dport) = if protocol::is_portless(protocol) { (0, 0) } else { ports };
        let owner = |src, sport, dst, dport| steering.owner(&Tuple { src, dst, sport, dport, protocol }, INSIDE, &local);
        for sport in [sport, if protocol == protocol::TCP { 8080 } else { sport }] {
            prop_assert_eq!(owner(one, sport, peer, dport), owner(peer, dport, one_outside, sport));
            prop_assert_eq!(owner(one, sport, two_outside, dport), owner(two, dport, one_outside, sport));
        }
    }

    #[test]
    fn where_sources_are_counted_all_sessions_of_one_are_on_one_worker(
        workers in 2u8..=8,
        seed: u64,
        client in address(),
        ports in (any::<u16>(), any::<u16>()),
    ) {
        let steering = Steering::new(workers, seed).sources_together(true);
        let local = local(None);
        let owner = |port, to, dport| steering.owner(&tuple(client, port, to, dport), INSIDE, &local);
        prop_assert_eq!(owner(ports.0, OURS, 80), owner(ports.1, OURS, 80));
        prop_assert_eq!(owner(ports.0, OURS, 80), owner(ports.1, [198, 51, 100, 1].into(), 443));
    }
}

#[test]
fn a_port_of_a_mapping_has_one_owner_whoever_sends_to_it() {
    for workers in [2u8, 3, 4] {
        let steering = Steering::new(workers, 9);
        let local = local(None).behaving(Behavior::DEFAULT);
        for port in (1024..=65_535).step_by(77) {
            let owner =
                |server: [u8; 4]| steering.owner(&tuple(server.into(), 443, OURS, port), OUTSIDE, &local);
            assert_eq!(owner([198, 51, 100, 1]), owner([192, 0, 2, 77]));
            assert_eq!(owner([198, 51, 100, 1]).0, u8::try_from(port % 128 % u16::from(workers)).unwrap());
        }
        // And each worker gives out its own only, all of them to one destination.
        let mut given = 0;
        for worker in (0..workers).map(WorkerId) {
            let mut space = PortSpace::new(&local, &steering, worker);
            while let Some(External { port, .. }) = space.allocate(0, protocol::UDP, 1024, Tick(0), || 0) {
                assert_eq!(port % 128 % u16::from(workers), u16::from(worker.0));
                given += 1;
            }
        }
        assert_eq!(given, 65_536 - 1024, "every port is somebody's");
    }
}

#[test]
fn all_workers_together_give_every_port_of_a_pool_to_each_destination() {
    let local = LocalAddresses::new(vec![(OURS, None, Some(20_000..=20_999))], &[]);
    for workers in [1u8, 2, 3, 4] {
        let steering = Steering::new(workers, 5);
        let mut spaces: Vec<_> =
            (0..workers).map(|worker| PortSpace::new(&local, &steering, WorkerId(worker))).collect();
        let mut take_all = |server: [u8; 4]| {
            let rest = steering.rest(&tuple(server.into(), 443, OURS, 0), false);
            let mut taken = HashSet::new();
            for space in &mut spaces {
                while let Some(port) = space.share(
                    (0, protocol::TCP),
                    (rest, 20_000),
                    (server.into(), 443),
                    || 3,
                    |port| taken.contains(&port),
                ) {
                    assert!(taken.insert(port), "{port} twice");
                }
            }
            taken.len()
        };
        assert_eq!(take_all([198, 51, 100, 1]), 1000, "{workers} workers");
        assert!((0..8).all(|n| take_all([192, 0, 2, n]) == 1000), "{workers} workers");
    }
}

#[test]
fn subscribers_spread_evenly_over_any_number_of_workers() {
    for workers in [2u8, 3, 4, 7] {
        for spread in [Spread::Source, Spread::Flow] {
            let steering = Steering::new(workers, 42).spread(spread);
            let mut counts = vec![0u32; usize::from(workers)];
            let local = local(None);
            for host in 0..70_000u32 {
                let client = Ipv4Addr::from_bits(0x0a00_0000 | host);
                counts[steering.owner(&tuple(client, 1, BACKEND, 2), INSIDE, &local).index()] += 1;
            }
            let fair = 70_000 / u32::from(workers);
            assert!(counts.iter().all(|n| n.abs_diff(fair) < fair / 10), "{workers}: {counts:?}");
        }
    }
}

proptest! {
    #[test]
    fn neighbours_spread_evenly_over_any_number_of_workers(
        workers in 2u8..=8,
        seed: u64,
        subnet: u32,
        bits in 1u32..=7,
    ) {
        // A site's hosts are mostly consecutive addresses.
        let (steering, local) = (Steering::new(workers, seed).spread(Spread::Source), local(None));
        let mut counts = vec![0u32; usize::from(workers)];
        for host in 0..1u32 << bits {
            let client = Ipv4Addr::from_bits(subnet >> bits << bits | host);
            counts[steering.owner(&tuple(client, 1, [198, 51, 100, 1].into(), 2), INSIDE, &local).index()] += 1;
        }
        let (least, most) = (counts.iter().min(), counts.iter().max());
        prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{counts:?}");
    }
}

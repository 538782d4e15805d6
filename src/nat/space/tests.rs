#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::nat::behavior::{Behavior, Dependence};
use std::collections::HashSet;

const OURS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 443);

fn space(ports: RangeInclusive<u16>, behavior: Behavior) -> PortSpace {
    let local = LocalAddresses::new(vec![(OURS, None, Some(ports))], &[]).behaving(behavior);
    PortSpace::new(&local, &Steering::new(1, 0), WorkerId(0))
}

#[test]
fn flows_of_all_protocols_that_share_a_set_never_share_a_port() {
    let mut space = space(5000..=5009, Behavior::DEFAULT);
    let mut allocate = |protocol, n| space.allocate(0, protocol, 5003, Tick(0), || n);
    let shared = [protocol::ICMP, protocol::SCTP, protocol::DCCP, protocol::UDP_LITE];
    let taken: Vec<External> =
        shared.iter().cycle().zip(0..10).map(|(protocol, n)| allocate(*protocol, n).unwrap()).collect();
    let mut ports: Vec<u16> = taken.iter().map(|external| external.port).collect();
    ports.sort_unstable();
    assert_eq!(ports, (5000..=5009).collect::<Vec<u16>>());
    assert_eq!(allocate(protocol::SCTP, 0), None);
    assert_eq!(allocate(protocol::TCP, 0).unwrap().port, 5003, "TCP has its own");
    assert_eq!(allocate(protocol::UDP, 0).unwrap().port, 5003, "UDP too");
    for external in taken {
        assert!(space.release(external, None));
        assert!(!space.release(external, None), "it is not taken any more");
    }
    let again = space.allocate(0, protocol::SCTP, 5003, Tick(0), || 0).unwrap();
    assert_eq!(again.port, 5003, "its own port if it can be had");
    assert_eq!(space.allocate(0, protocol::GRE, 0, Tick(0), || 0), None, "has no ports");
}

#[test]
fn a_shared_port_is_anothers_towards_another_remote_end_and_every_one_is_given_to_each() {
    let mut space = space(5000..=5009, Behavior::BY_FLOW);
    for server in [SERVER, (SERVER.0, 80), (OURS, 443)] {
        let mut taken = HashSet::new();
        while let Some(port) =
            space.share((0, protocol::TCP), (0, 5003), server, || 7, |port| taken.contains(&port))
        {
            assert!(taken.insert(port));
        }
        assert_eq!(taken.len(), 10);
    }
    assert_eq!(space.allocate(0, protocol::TCP, 0, Tick(0), || 0), None, "it is no mapping's");
}

#[test]
fn a_port_rests_where_anybody_may_send_to_it_unless_its_conversation_ended() {
    let open = Behavior { filtering: [Dependence::Nothing; 3], hold_down: 50, ..Behavior::DEFAULT };
    let mut space = space(5000..=5000, open);
    let ask = |space: &mut PortSpace, now| space.allocate(0, protocol::UDP, 9, Tick(now), || 0);
    let port = ask(&mut space, 0).unwrap();
    space.release(port, Some(Tick(100)));
    assert_eq!((ask(&mut space, 100), ask(&mut space, 149)), (None, None));
    assert_eq!(ask(&mut space, 150), Some(port));
    space.release(port, None);
    assert_eq!(ask(&mut space, 151), Some(port));
}

#[test]
fn a_port_does_not_rest_where_strangers_are_kept_out() {
    let mut space = space(5000..=5000, Behavior::DEFAULT);
    let port = space.allocate(0, protocol::UDP, 9, Tick(0), || 0).unwrap();
    space.release(port, Some(Tick(1)));
    assert_eq!(space.allocate(0, protocol::UDP, 9, Tick(1), || 0), Some(port));
}

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::wire::protocol::UDP;
use proptest::prelude::*;
use std::collections::HashMap;

fn internal(host: u8, port: u16) -> Internal {
    Internal {
        address: Ipv4Addr::new(10, 0, 0, host),
        zone: 0,
        port,
        protocol: UDP,
        group: 0,
        remote: (Ipv4Addr::UNSPECIFIED, 0),
        closed: false,
    }
}

fn external(port: u16) -> External {
    External { number: 3, protocol: UDP, port }
}

fn remote(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, n)
}

#[test]
fn a_mapping_is_found_by_both_ends_until_its_last_session_ends() {
    let mut mappings = Mappings::new(2, 400, [1, 2]);
    let id = mappings.insert(internal(1, 40), external(5000), true).unwrap();
    mappings.open(id, remote(1), true);
    mappings.open(id, remote(2), true);
    assert_eq!(mappings.find(&internal(1, 40)), Some(id));
    assert_eq!(mappings.at(&external(5000)), Some(id));
    assert_eq!((mappings.find(&internal(1, 41)), mappings.at(&external(5001))), (None, None));
    assert_eq!(mappings.close(id, remote(1), true), None);
    assert_eq!(mappings.close(id, remote(2), true), Some((internal(1, 40), external(5000))));
    assert_eq!((mappings.find(&internal(1, 40)), mappings.at(&external(5000))), (None, None));
    assert!(mappings.is_empty());
}

#[test]
fn filters_let_in_whom_they_name() {
    let mut mappings = Mappings::new(4, 400, [1, 2]);
    let id = mappings.insert(internal(1, 40), external(5000), true).unwrap();
    for n in [1, 2, 2, 3] {
        mappings.open(id, remote(n), true);
    }
    let admits = |mappings: &Mappings, filtering, n, ours| mappings.admits(id, filtering, remote(n), ours);
    assert!(admits(&mappings, Dependence::Nothing, 9, false));
    for n in [1, 2, 3] {
        assert!(admits(&mappings, Dependence::Address, n, false), "{n}");
    }
    assert!(!admits(&mappings, Dependence::Address, 9, false));
    assert!(admits(&mappings, Dependence::Address, 9, true), "somebody behind the gateway");
    assert!(!admits(&mappings, Dependence::AddressAndPort, 1, false));
    mappings.close(id, remote(2), true);
    assert!(admits(&mappings, Dependence::Address, 2, false), "there is another one");
    mappings.close(id, remote(2), true);
    assert!(!admits(&mappings, Dependence::Address, 2, false));
    mappings.close(id, remote(1), true);
    mappings.close(id, remote(3), true);
    assert_eq!(mappings.at(&external(5000)), None);
}

#[test]
fn sessions_from_outside_do_not_keep_a_mapping_open() {
    let mut mappings = Mappings::new(2, 400, [1, 2]);
    let id = mappings.insert(internal(1, 40), external(5000), true).unwrap();
    mappings.open(id, remote(1), true);
    mappings.open(id, remote(2), false);
    assert!(!mappings.admits(id, Dependence::Address, remote(2), false), "nobody inside spoke to it");
    mappings.close(id, remote(1), true);
    assert_eq!(mappings.at(&external(5000)), Some(id), "it still has a session");
    assert!(!mappings.admits(id, Dependence::Nothing, remote(3), false));
    mappings.strengthen(id, remote(2));
    assert!(mappings.admits(id, Dependence::Nothing, remote(3), false));
    assert!(mappings.close(id, remote(2), true).is_some());
}

#[test]
fn a_closed_mapping_lets_nobody_in() {
    let mut mappings = Mappings::new(2, 400, [1, 2]);
    let id = mappings.insert(Internal { closed: true, ..internal(1, 40) }, external(5000), true).unwrap();
    mappings.open(id, remote(1), true);
    assert!(!mappings.admits(id, Dependence::Nothing, remote(1), true));
}

#[test]
fn a_full_table_takes_no_more_and_a_table_of_none_is_never_asked_in_vain() {
    let mut mappings = Mappings::new(1, 400, [1, 2]);
    assert!(mappings.insert(internal(1, 1), external(1), true).is_some());
    assert_eq!(mappings.insert(internal(1, 2), external(2), true), None);
    let mut none = Mappings::new(0, 400, [1, 2]);
    assert_eq!((none.find(&internal(1, 1)), none.at(&external(1))), (None, None));
    assert_eq!(none.insert(internal(1, 1), external(1), true), None);
}

#[test]
fn of_two_mappings_of_an_internal_endpoint_the_newer_one_is_found_and_both_can_end() {
    let mut mappings = Mappings::new(4, 400, [1, 2]);
    let old = mappings.insert(internal(1, 40), external(5000), false).unwrap();
    mappings.open(old, remote(1), true);
    let new = mappings.insert(internal(1, 40), external(5001), false).unwrap();
    mappings.open(new, remote(2), true);
    assert_eq!(mappings.find(&internal(1, 40)), Some(new));
    assert_eq!((mappings.at(&external(5000)), mappings.at(&external(5001))), (Some(old), Some(new)));
    assert!(mappings.close(old, remote(1), true).is_some());
    assert_eq!((mappings.find(&internal(1, 40)), mappings.at(&external(5000))), (Some(new), None));
    assert!(mappings.close(new, remote(2), true).is_some());
    assert_eq!((mappings.find(&internal(1, 40)), mappings.len()), (None, 0));
}

proptest! {
    /// Against two maps and a list of sessions.
    #[test]
    fn mappings_do_what_maps_do(steps in proptest::collection::vec((0u8..4, 0u8..6, 0u16..6, 0u8..4, any::<bool>()), 0..400)) {
        const CAPACITY: u32 = 8;
        let mut mappings = Mappings::new(CAPACITY, 400, [7, 9]);
        let mut model: HashMap<Internal, (External, Vec<(Ipv4Addr, bool)>)> = HashMap::new();
        let mut port = 0;
        for (what, host, inner, peer, strong) in steps {
            let (key, peer) = (internal(host, inner), remote(peer));
            let known = mappings.find(&key);
            prop_assert_eq!(known.is_some(), model.contains_key(&key));
            match (what, known) {
                (0 | 1, Some(id)) => {
                    mappings.open(id, peer, strong);
                    model.get_mut(&key).unwrap().1.push((peer, strong));
                }
                (0 | 1, None) => {
                    port += 1;
                    let made = mappings.insert(key, external(port), true);
                    prop_assert_eq!(made.is_some(), model.len() < CAPACITY as usize);
                    if let Some(id) = made {
                        mappings.open(id, peer, strong);
                        model.insert(key, (external(port), vec![(peer, strong)]));
                    }
                }
                (2, Some(id)) => {
                    let (outer, sessions) = model.get_mut(&key).unwrap();
                    let (peer, strong) = sessions.swap_remove(0);
                    let last = sessions.is_empty();
                    prop_assert_eq!(mappings.close(id, peer, strong), last.then_some((key, *outer)));
                    if last {
                        model.remove(&key);
                    }
                }
                (_, Some(id)) => {
                    let (outer, sessions) = model.get_mut(&key).unwrap();
                    prop_assert_eq!(mappings.at(outer), Some(id));
                    let any = sessions.iter().any(|(_, strong)| *strong);
                    let here = sessions.iter().any(|(address, strong)| *strong && *address == peer);
                    prop_assert_eq!(mappings.admits(id, Dependence::Nothing, peer, false), any);
                    prop_assert_eq!(mappings.admits(id, Dependence::Address, peer, false), here);
                }
                _ => {}
            }
            prop_assert_eq!(mappings.len() as usize, model.len());
            let held = model.keys().filter(|other| other.address == key.address).count();
            prop_assert_eq!(mappings.held(&key) as usize, held);
        }
    }
}

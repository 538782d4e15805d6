use super::*;
use std::collections::HashMap;

fn target(last: u8, weight: u8) -> Target {
    Target { address: Ipv4Addr::new(10, 0, 0, last), port: 80, weight, drain: false }
}

fn targets(list: &[(u8, u8)], affinity: Affinity) -> Targets {
    Targets::new(list.iter().map(|(last, weight)| target(*last, *weight)).collect(), affinity)
}

fn clients() -> impl Iterator<Item = (Ipv4Addr, u16)> {
    (0u32..40_000).map(|n| (Ipv4Addr::from_bits(0xc633_6400 + n % 500), u16::try_from(n / 500).unwrap()))
}

fn shares(targets: &Targets) -> HashMap<Ipv4Addr, f64> {
    let mut shares = HashMap::new();
    for (client, port) in clients() {
        *shares.entry(targets.choose(client, port).unwrap().address).or_default() += 1.0 / 40_000.0;
    }
    shares
}

#[test]
fn backends_get_sessions_by_their_weights() {
    let shares = shares(&targets(&[(1, 1), (2, 3), (3, 0x10)], Affinity::Connection));
    for (last, expected) in [(1, 1.0 / 20.0), (2, 3.0 / 20.0), (3, 16.0 / 20.0)] {
        let share = shares[&Ipv4Addr::new(10, 0, 0, last)];
        assert!((share - expected).abs() < 0.01, "{last}: {share}, not {expected}");
    }
}

#[test]
fn as_many_backends_as_there_can_be_are_within_a_few_percent_of_one_another() {
    let list: Vec<(u8, u8)> = (0..128).map(|last| (last, 1)).collect();
    let targets = targets(&list, Affinity::Connection);
    let mut places = [0u32; 128];
    targets.places().for_each(|number| places[usize::from(number)] += 1);
    let (least, most) = (places.iter().min().unwrap(), places.iter().max().unwrap());
    assert!(most - least <= 1, "{least} to {most}");
}

#[test]
fn when_a_backend_goes_its_clients_move_and_next_to_no_others() {
    let all = targets(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)], Affinity::Connection);
    let gone = Ipv4Addr::new(10, 0, 0, 3);
    let rest = all.clone().without(|target| target.address == gone);
    let mut moved = 0;
    for (client, port) in clients() {
        let (before, after) = (all.choose(client, port).unwrap(), rest.choose(client, port).unwrap());
        assert_ne!(after.address, gone);
        moved += u32::from(before.address != gone && before != after);
    }
    assert!(moved < 40_000 / 20, "{moved} of 40000 moved");
    // And it gets them back.
    assert_eq!(rest.without(|_| false), all);
}

#[test]
fn the_order_of_the_list_says_nothing_of_who_gets_whom_but_for_ties() {
    let (one, other) = (
        targets(&[(1, 1), (2, 1), (3, 1)], Affinity::Connection),
        targets(&[(3, 1), (1, 1), (2, 1)], Affinity::Connection),
    );
    let same = clients()
        .filter(|(client, port)| {
            one.choose(*client, *port).unwrap().address == other.choose(*client, *port).unwrap().address
        })
        .count();
    assert!(same > 38_000, "{same} of 40000");
}

#[test]
fn with_affinity_a_client_has_one_backend_and_without_all() {
    let backends = &[(1, 1), (2, 1), (3, 1)];
    let of_client = |affinity| {
        let targets = targets(backends, affinity);
        let mut found: Vec<u8> = (0..200)
            .map(|port| targets.choose(Ipv4Addr::LOCALHOST, port).unwrap().address.octets()[3])
            .collect();
        found.sort_unstable();
        found.dedup();
        found.len()
    };
    assert_eq!((of_client(Affinity::Source), of_client(Affinity::Connection)), (1, 3));
    assert_eq!(shares(&targets(backends, Affinity::Source)).len(), 3);
}

#[test]
fn who_is_drained_or_left_out_gets_nothing() {
    let drained = Target { drain: true, ..target(2, 1) };
    let two = Targets::new(vec![target(1, 1), drained], Affinity::Connection);
    assert!(clients().all(|(client, port)| two.choose(client, port) == Some(&target(1, 1))));
    assert_eq!(two.without(|target| target.weight == 1).choose(Ipv4Addr::LOCALHOST, 1), None);
    let one = Targets::one(Ipv4Addr::LOCALHOST, 7);
    assert_eq!(one.choose(Ipv4Addr::LOCALHOST, 1).unwrap().port, 7);
}

#[test]
fn a_source_keeps_its_backend_while_others_come_and_while_it_may_have_sessions() {
    let make = |list: &[u8], before| {
        let list = list.iter().map(|last| (*last, 1)).collect::<Vec<_>>();
        targets(&list, Affinity::Source).remembering(Some(Duration::from_secs(60)), before)
    };
    let two = make(&[1, 2], None);
    let sources: Vec<Ipv4Addr> = (0..500).map(|n| Ipv4Addr::from_bits(0xc633_6400 + n)).collect();
    for source in &sources {
        two.remember(*source, two.choose(*source, 1).unwrap());
    }
    let more = make(&[3, 2, 1], Some(&two));
    assert!(sources.iter().all(|source| more.choose(*source, 9) == two.choose(*source, 9)));
    let other = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(more.choose(other, 1), more.choose(other, 2), "by hash, as long as it is not remembered");
    // Of the backend that goes down the sources go elsewhere, and stay there when it is back.
    more.leave_out(0b100);
    let moved: Vec<Ipv4Addr> =
        sources.iter().copied().filter(|source| more.choose(*source, 1) != two.choose(*source, 1)).collect();
    assert!(moved.iter().all(|source| two.choose(*source, 1) == Some(&target(1, 1))) && moved.len() > 100);
    moved.iter().for_each(|source| more.remember(*source, more.choose(*source, 1).unwrap()));
    more.leave_out(0);
    assert!(moved.iter().all(|source| more.choose(*source, 1).unwrap().address.octets()[3] != 1));
    more.set_time(61);
    assert!(
        sources.iter().any(|source| more.choose(*source, 1).unwrap().address.octets()[3] == 3),
        "forgotten"
    );
}

#[test]
fn who_is_down_gets_nothing_until_it_is_back_and_its_clients_are_the_only_ones_to_move() {
    let drained = Target { drain: true, ..target(4, 1) };
    let list = vec![target(1, 1), target(2, 1), target(3, 1), drained];
    let targets = Targets::new(list.clone(), Affinity::Connection);
    let before: Vec<&Target> =
        clients().map(|(client, port)| targets.choose(client, port).unwrap()).collect();
    targets.leave_out(0b0010);
    let mut moved = 0;
    for ((client, port), before) in clients().zip(&before) {
        let now = targets.choose(client, port).unwrap();
        assert!(now.address != list[1].address && !now.drain);
        moved += u32::from(before.address != list[1].address && now != *before);
    }
    assert!(moved < 40_000 / 20, "{moved} of 40000 moved");
    targets.leave_out(0b0111);
    assert_eq!(targets.choose(Ipv4Addr::LOCALHOST, 1), None);
    assert!(targets.are_all(0b0111) && !targets.are_all(0b0110) && !targets.is_drained());
    targets.leave_out(0);
    assert!(
        clients().zip(before).all(|((client, port), before)| targets.choose(client, port) == Some(before))
    );
    let one = Targets::one(Ipv4Addr::LOCALHOST, 7);
    one.leave_out(1);
    assert_eq!(one.choose(Ipv4Addr::LOCALHOST, 1), None);
}

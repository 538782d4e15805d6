//! What is counted of a service.

#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use super::super::testing::{CACHE, NOW, PUBLIC, client, closed, forwarded, tcp};
use super::*;
use crate::conntrack::tracker::State;

fn group(sessions: impl IntoIterator<Item = SessionSnapshot<V4Key>>) -> Group {
    let mut groups = Groups::default();
    sessions.into_iter().for_each(|session| groups.add(&session, NOW));
    assert_eq!(groups.len(), 1);
    groups.iter().next().unwrap().1.clone()
}

#[test]
fn a_service_is_what_clients_address_and_what_that_becomes() {
    let host = (Ipv4Addr::new(192, 168, 1, 10), 5_000);
    let (gateway, other) = ((Ipv4Addr::new(203, 0, 113, 2), 7_000), (client(1), 80));
    let (public, cache) = ((PUBLIC, 80), (CACHE, 80));
    let out = (client(9), 40_000);
    for (original, sent, realm, change, to, backend) in [
        (tcp(out, public), tcp(out, cache), Realm::External, Change::Destination, Some(PUBLIC), Some(cache)),
        (
            tcp(out, public),
            tcp(out, (CACHE, 81)),
            Realm::External,
            Change::Port,
            Some(PUBLIC),
            Some((CACHE, 81)),
        ),
        (tcp(out, public), tcp(gateway, cache), Realm::External, Change::Both, Some(PUBLIC), Some(cache)),
        (tcp(host, public), tcp(gateway, cache), Realm::Internal, Change::Both, Some(PUBLIC), Some(cache)),
        // Wherever it goes.
        (tcp(host, other), tcp(gateway, other), Realm::Internal, Change::Source, None, None),
        (tcp(host, other), tcp(host, other), Realm::Internal, Change::Nothing, Some(other.0), None),
    ] {
        let service = Service::of(&closed(original, sent, realm, 0));
        assert_eq!((service.change, service.to, service.port), (change, to, 80), "{original:?}");
        assert_eq!((service.backend, service.realm), (backend, realm), "{original:?}");
    }
}

#[test]
fn sessions_to_thousands_of_servers_are_one_service_and_forwards_are_one_each() {
    let mut groups = Groups::default();
    let gateway = (Ipv4Addr::new(203, 0, 113, 2), 7_000);
    for n in 0..1000u16 {
        let (host, server) = ((Ipv4Addr::new(192, 168, 1, 10), 5_000), (client(n.into()), 53));
        groups.add(&closed(tcp(host, server), tcp(gateway, server), Realm::Internal, 0), NOW);
        groups.add(&forwarded(n.into(), 8_000 + n % 3, 80, 0), NOW);
    }
    assert_eq!((groups.len(), groups.sessions, groups.left_out), (4, 2000, 0));
}

#[test]
fn services_beyond_the_bound_are_counted_together() {
    let mut groups = Groups::default();
    for n in 0..u32::try_from(MAX_SERVICES).unwrap() + 7 {
        let from = (client(1), 40_000);
        let to = (Ipv4Addr::from_bits(PUBLIC.to_bits() ^ n), 80);
        groups.add(&closed(tcp(from, to), tcp(from, (CACHE, 80)), Realm::External, 0), NOW);
    }
    // One that is known goes on being counted.
    groups.add(
        &closed(tcp((client(1), 4), (PUBLIC, 80)), tcp((client(1), 4), (CACHE, 80)), Realm::External, 0),
        NOW,
    );
    assert_eq!((groups.len(), groups.left_out), (MAX_SERVICES, 7));
    assert_eq!(groups.iter().map(|(_, group)| group.sessions).max(), Some(2));
}

#[test]
fn new_sessions_a_second_are_those_that_must_be_there_still() {
    // 20 a second for 30 seconds.
    let all = || (0..600).map(|n| forwarded(n, 80, 80, n / 2));
    assert_eq!(group(all()).new_per_second(), (20_000, false));
    // Timeouts of three seconds: older ones may be gone.
    let short = |ticks: u32| {
        all()
            .filter(move |session| NOW.since(session.created) < ticks)
            .map(move |session| SessionSnapshot { timeout_ticks: ticks, ..session })
    };
    assert_eq!(group(short(30)).new_per_second(), (20_000, false));
    // Less than a second: nothing is sure.
    let (rate, at_least) = group(short(5)).new_per_second();
    assert!(rate == 10_000 && at_least, "{rate}");
}

#[test]
fn packets_a_second_are_those_of_the_window_whatever_their_sessions_age() {
    // Short ones: 20 a second with 10 packets each.
    let short = group((0..600).map(|n| forwarded(n, 80, 80, n / 2))).packets_per_second();
    assert!((190_000..=210_000).contains(&short), "{short}");
    // One that sends ten a second for an hour, and one that stopped long ago.
    let old = SessionSnapshot { packets: [36_000, 0], last_seen: NOW, ..forwarded(1, 80, 80, 36_000) };
    let silent = SessionSnapshot { packets: [36_000, 0], ..forwarded(2, 80, 80, 36_000) };
    assert_eq!(group([old, silent]).packets_per_second(), 10_000);
}

#[test]
fn sessions_are_told_apart_by_what_they_are_and_how_long_they_were() {
    let of = |state, seen_reply, assured, packets: u64| {
        let packets = [packets, 0];
        SessionSnapshot { state, seen_reply, assured, packets, ..forwarded(1, 80, 80, 50) }
    };
    let group = group([
        of(State::TimeWait, true, true, 9),
        of(State::Close, true, true, 8),
        of(State::SynSent, false, false, 1),
        of(State::Established, true, true, 1_000_000),
        of(State::Established, true, false, 3),
    ]);
    assert_eq!((group.sessions, group.closing, group.unreplied, group.assured), (5, 2, 1, 1));
    // Of 1, 3, 8, 9 and very many it is 8, which the mean hides.
    assert_eq!((group.median_packets(), group.mean_packets()), (8, 200_004_200));
    assert_eq!(group.mean_life(), 2);
}

#[test]
fn few_clients_are_known_and_many_are_estimated() {
    let of = |clients: u32| group((0..clients * 2).map(|n| forwarded(n % clients, 80, 80, 0))).sources;
    let few = of(8);
    assert_eq!((few.few().map(<[_]>::len), few.count()), (Some(8), (8, false)));
    for many in [9, 100, 1_000, 4_000] {
        let sources = of(many);
        let (count, any) = sources.count();
        assert!(sources.few().is_none() && !any);
        assert!(count.abs_diff(many.into()) <= u64::from(many / 5 + 1), "{count} of {many}");
    }
    let (count, any) = of(60_000).count();
    assert!(count > 7_000 && any, "{count}");
}

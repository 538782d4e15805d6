//! The rules of a full table, one by one, and against every number of sessions that a small shard can hold.

use super::*;
use proptest::prelude::*;

const ORDINARY: Newcomer = Newcomer { management: false, half_open: false };
const SYN: Newcomer = Newcomer { management: false, half_open: true };
const MANAGEMENT: Newcomer = Newcomer { management: true, half_open: true };

/// A shard for 1000 sessions with the default limits: full at 990, timeouts shrink from 800 to 980, 500 half-open.
fn shard() -> Pressure {
    Pressure::new(&Limits::default(), 1000)
}

fn refusing() -> Pressure {
    Pressure::new(&Limits { when_full: WhenFull::Refuse, ..Limits::default() }, 1000)
}

/// A shard with so many sessions of these classes.
fn census(counts: &[(Class, u32)]) -> Census {
    let mut census = Census::default();
    for (class, count) in counts {
        census.0[*class as usize] = *count;
    }
    census
}

fn assured(sessions: u32) -> Census {
    census(&[(Class::Assured, sessions)])
}

fn admit(evict: Option<Eviction>) -> Admission {
    Admission::Admit { privileged: false, evict }
}

#[test]
fn while_there_is_room_everybody_comes_in() {
    for newcomer in [ORDINARY, SYN] {
        assert_eq!(shard().admit(&assured(0), newcomer), admit(None));
        assert_eq!(shard().admit(&assured(989), newcomer), admit(None));
    }
}

#[test]
fn at_a_full_table_the_unreplied_go_first_then_the_closing_then_the_never_assured() {
    use Class::{Closing, SynRecv, SynSent, Unassured, Unreplied};
    let steps: [(&[Class], _); 7] = [
        (&[SynSent, Unreplied, Closing, SynRecv, Unassured], Eviction::Unreplied),
        (&[SynSent, Closing, SynRecv, Unassured], Eviction::Unreplied),
        (&[Unreplied, Closing, SynRecv, Unassured], Eviction::Unreplied),
        (&[Closing, SynRecv, Unassured], Eviction::Closing),
        (&[SynRecv, Unassured], Eviction::Unassured),
        (&[SynRecv], Eviction::Unassured),
        (&[Unassured], Eviction::Unassured),
    ];
    for (there, evict) in steps {
        let mut full = census(&there.iter().map(|class| (*class, 1)).collect::<Vec<_>>());
        full.0[Class::Assured as usize] = 990 - full.sessions();
        assert_eq!(shard().admit(&full, ORDINARY), admit(Some(evict)), "{there:?}");
        assert_eq!(shard().admit(&full, SYN), admit(Some(evict)), "{there:?}");
        assert!(victims(evict).iter().any(|class| there.contains(class)));
    }
}

#[test]
fn a_table_full_of_assured_sessions_refuses() {
    for newcomer in [ORDINARY, SYN] {
        let verdict = shard().admit(&assured(990), newcomer);
        assert_eq!(verdict, Admission::Refuse(DropReason::SessionTableFull));
    }
}

#[test]
fn a_table_that_refuses_evicts_nobody() {
    let idle = census(&[(Class::Unreplied, 990)]);
    assert_eq!(refusing().admit(&idle, ORDINARY), Admission::Refuse(DropReason::SessionTableFull));
    let flood = census(&[(Class::SynSent, 500)]);
    assert_eq!(refusing().admit(&flood, SYN), Admission::Refuse(DropReason::HalfOpenFull));
    assert_eq!(refusing().admit(&flood, ORDINARY), admit(None));
}

#[test]
fn at_their_share_of_the_table_half_open_connections_displace_one_another() {
    let with = |syn_recv, assured| {
        census(&[
            (Class::SynSent, 400),
            (Class::SynRecv, syn_recv),
            (Class::Unreplied, 100),
            (Class::Assured, assured),
        ])
    };
    let flood = with(100, 0);
    assert_eq!(shard().admit(&flood, SYN), admit(Some(Eviction::HalfOpen)));
    assert_eq!(shard().admit(&flood, ORDINARY), admit(None), "what is no SYN is not meant");
    assert_eq!(shard().admit(&with(99, 0), SYN), admit(None));
    // In a full table too: the unreplied ones stay.
    assert_eq!(shard().admit(&with(100, 390), SYN), admit(Some(Eviction::HalfOpen)));
}

#[test]
fn a_management_source_uses_the_reserve_when_others_are_refused() {
    assert_eq!(
        refusing().admit(&assured(990), MANAGEMENT),
        Admission::Admit { privileged: true, evict: None }
    );
    let nearly = census(&[(Class::Assured, 990), (Class::Protected, 9)]);
    assert_eq!(refusing().admit(&nearly, MANAGEMENT), Admission::Admit { privileged: true, evict: None });
}

#[test]
fn a_management_source_is_not_bound_by_the_share_of_half_open_connections() {
    let flood = census(&[(Class::SynSent, 500)]);
    assert_eq!(refusing().admit(&flood, MANAGEMENT), Admission::Admit { privileged: true, evict: None });
}

#[test]
fn no_more_sessions_are_privileged_than_the_reserve() {
    let used_up = census(&[(Class::Assured, 500), (Class::Protected, 10)]);
    assert_eq!(shard().admit(&used_up, MANAGEMENT), admit(None));
    let full = census(&[(Class::Assured, 990), (Class::Protected, 10)]);
    assert_eq!(shard().admit(&full, MANAGEMENT), Admission::Refuse(DropReason::SessionTableFull));
}

#[test]
fn without_a_reserve_a_management_source_evicts_like_others() {
    let pressure = Pressure::new(&Limits { reserve: Share::NOTHING, ..Limits::default() }, 1000);
    let full = census(&[(Class::Assured, 999), (Class::Closing, 1)]);
    let verdict = pressure.admit(&full, MANAGEMENT);
    assert_eq!(verdict, Admission::Admit { privileged: true, evict: Some(Eviction::Closing) });
    assert_eq!(pressure.admit(&assured(1000), MANAGEMENT), Admission::Refuse(DropReason::SessionTableFull));
}

#[test]
fn timeouts_of_unreplied_and_closing_sessions_shrink_linearly_between_the_watermarks() {
    let shard = shard();
    for class in Class::ALL {
        let shrinks = matches!(class, Class::SynSent | Class::Unreplied | Class::Closing);
        for (sessions, shrunk) in
            [(0, 3000), (800, 3000), (801, 2984), (890, 1500), (979, 17), (980, 1), (1000, 1)]
        {
            let expected = if shrinks { shrunk } else { 3000 };
            assert_eq!(shard.timeout(class, 3000, sessions), expected, "{class:?} {sessions}");
        }
    }
    assert_eq!(shard.timeout(Class::Closing, u32::MAX, 890), u32::MAX / 2 + 1);
}

#[test]
fn timeouts_never_shrink_where_the_watermarks_are_one() {
    let ninety = Share::percent(90);
    let limits = Limits { adaptive_low: ninety, adaptive_high: ninety, ..Limits::default() };
    let shard = Pressure::new(&limits, 1000);
    for sessions in [899, 900, 901, 1000] {
        assert!(!shard.shrinks(sessions));
        assert_eq!(shard.timeout(Class::Unreplied, 3000, sessions), 3000);
    }
}

#[test]
fn the_smallest_shards_still_serve_somebody() {
    let one = Pressure::new(&Limits::default(), 1);
    assert_eq!(one.admit(&Census::default(), SYN), admit(None));
    assert_eq!(one.admit(&assured(1), SYN), Admission::Refuse(DropReason::SessionTableFull));
    let none = Pressure::new(&Limits::default(), 0);
    assert_eq!(none.admit(&Census::default(), SYN), Admission::Refuse(DropReason::SessionTableFull));
}

#[test]
fn a_set_of_prefixes_holds_their_addresses_and_no_others() {
    let nets = ["192.0.2.0/25", "10.0.0.0/8", "192.0.2.128/25", "10.1.0.0/16", "203.0.113.7/32"];
    let set = Prefixes::new(&nets.map(|net| net.parse().unwrap()));
    assert_eq!(set.ranges.len(), 4, "one within another is one");
    for inside in ["10.0.0.0", "10.1.2.3", "10.255.255.255", "192.0.2.0", "192.0.2.255", "203.0.113.7"] {
        assert!(set.contains(inside.parse().unwrap()), "{inside}");
    }
    for outside in ["0.0.0.0", "9.255.255.255", "11.0.0.0", "192.0.3.0", "203.0.113.6", "255.255.255.255"] {
        assert!(!set.contains(outside.parse().unwrap()), "{outside}");
    }
    assert!(!Prefixes::default().contains([10, 0, 0, 1].into()));
    assert!(Prefixes::new(&["0.0.0.0/0".parse().unwrap()]).contains([255; 4].into()));
}

fn limits() -> impl Strategy<Value = Limits> {
    let share = || (0u16..=10_000).prop_map(Share::from_basis_points);
    (any::<bool>(), share(), share(), share(), share()).prop_map(|(refuse, reserve, low, high, half_open)| {
        Limits {
            when_full: if refuse { WhenFull::Refuse } else { WhenFull::EarlyDrop },
            reserve,
            adaptive_low: low,
            adaptive_high: high,
            half_open,
            ..Limits::default()
        }
    })
}

/// Takes a session from the first of these classes that has one, and puts it into another.
fn move_one(census: &mut Census, from: &[Class], to: Option<Class>) {
    if let Some(class) = from.iter().find(|class| census.count(**class) > 0) {
        census.0[*class as usize] -= 1;
        if let Some(to) = to {
            census.0[to as usize] += 1;
        }
    }
}

/// What a worker does.
fn apply(census: &mut Census, admission: Admission, half_open: bool) {
    let Admission::Admit { privileged, evict } = admission else { return };
    if let Some(evict) = evict {
        let before = census.sessions();
        move_one(census, victims(evict), None);
        assert_eq!(census.sessions(), before - 1, "somebody is there to be evicted");
    }
    let class = match (privileged, half_open) {
        (true, _) => Class::Protected,
        (false, true) => Class::SynSent,
        (false, false) => Class::Unreplied,
    };
    census.0[class as usize] += 1;
}

proptest! {
    /// Whatever happens no bound is broken, assured sessions stay, and one that refuses evicts nobody.
    #[test]
    fn no_bound_is_ever_broken(
        limits in limits(),
        capacity in 0u32..40,
        steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0u8..6), 0..200),
    ) {
        let pressure = Pressure::new(&limits, capacity);
        let mut census = Census::default();
        for (management, half_open, life) in steps {
            let before = census;
            let admission = pressure.admit(&census, Newcomer { management, half_open });
            apply(&mut census, admission, half_open);
            let privileged = census.count(Class::Protected);
            prop_assert!(census.sessions() <= capacity);
            prop_assert!(census.sessions() - privileged <= pressure.full());
            prop_assert!(census.half_open() <= pressure.half_open);
            prop_assert!(privileged <= pressure.privileged);
            for kept in [Class::Assured, Class::Protected] {
                prop_assert!(census.count(kept) >= before.count(kept));
            }
            if limits.when_full == WhenFull::Refuse {
                let evicts = matches!(admission, Admission::Admit { evict: Some(_), .. });
                prop_assert!(!evicts);
            }
            // The sessions live on.
            let (from, to) = match life {
                0 => (Class::SynSent, Some(Class::SynRecv)),
                1 => (Class::SynRecv, Some(Class::Assured)),
                2 => (Class::Unreplied, Some(Class::Unassured)),
                3 => (Class::Assured, Some(Class::Closing)),
                _ => (Class::Closing, None),
            };
            move_one(&mut census, &[from], to);
        }
    }

    /// Of a full table a management source that has not used up its share gets in without anybody's leaving.
    #[test]
    fn the_reserve_is_there_when_it_is_needed(limits in limits(), capacity in 1u32..2000, ours in 0u32..2000) {
        let pressure = Pressure::new(&limits, capacity);
        let reserve = limits.reserve.of(capacity);
        prop_assume!(reserve >= PRIVILEGED.of(capacity) && reserve < capacity && ours < reserve);
        let census = census(&[(Class::Assured, pressure.full()), (Class::Protected, ours)]);
        prop_assert_eq!(
            pressure.admit(&census, MANAGEMENT),
            Admission::Admit { privileged: true, evict: None }
        );
    }

    #[test]
    fn a_fuller_table_never_means_a_longer_timeout(
        limits in limits(),
        capacity in 1u32..100_000,
        timeout in 1u32..,
        fills in (0u32..100_000, 0u32..100_000),
    ) {
        let pressure = Pressure::new(&limits, capacity);
        let (emptier, fuller) = (fills.0.min(fills.1), fills.0.max(fills.1));
        let at = |fill| pressure.timeout(Class::Unreplied, timeout, fill);
        let (long, short) = (at(emptier), at(fuller));
        prop_assert!(1 <= short && short <= long && long <= timeout);
    }
}

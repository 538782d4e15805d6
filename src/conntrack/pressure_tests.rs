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

/// As many assured sessions as that, and no others.
fn assured(sessions: u32) -> Census {
    Census { sessions, assured: sessions, ..Census::default() }
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
    let full = |census: Census| Census { sessions: 990, ..census };
    let all = Census { syn_sent: 1, unreplied: 1, closing: 1, syn_recv: 1, unassured: 1, ..assured(985) };
    let steps = [
        (full(all), Some(Eviction::Unreplied)),
        (full(Census { syn_sent: 0, assured: 986, ..all }), Some(Eviction::Unreplied)),
        (full(Census { unreplied: 0, assured: 986, ..all }), Some(Eviction::Unreplied)),
        (full(Census { syn_sent: 0, unreplied: 0, assured: 987, ..all }), Some(Eviction::Closing)),
        (full(Census { syn_recv: 1, ..assured(989) }), Some(Eviction::Unassured)),
        (full(Census { unassured: 1, ..assured(989) }), Some(Eviction::Unassured)),
    ];
    for (census, evict) in steps {
        assert_eq!(shard().admit(&census, ORDINARY), admit(evict), "{census:?}");
        assert_eq!(shard().admit(&census, SYN), admit(evict), "{census:?}");
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
    let idle = Census { sessions: 990, unreplied: 990, ..Census::default() };
    assert_eq!(refusing().admit(&idle, ORDINARY), Admission::Refuse(DropReason::SessionTableFull));
    let flood = Census { sessions: 500, syn_sent: 500, ..Census::default() };
    assert_eq!(refusing().admit(&flood, SYN), Admission::Refuse(DropReason::HalfOpenFull));
    assert_eq!(refusing().admit(&flood, ORDINARY), admit(None));
}

#[test]
fn at_their_share_of_the_table_half_open_connections_displace_one_another() {
    let flood = Census { sessions: 600, syn_sent: 400, syn_recv: 100, unreplied: 100, ..Census::default() };
    assert_eq!(shard().admit(&flood, SYN), admit(Some(Eviction::HalfOpen)));
    assert_eq!(shard().admit(&flood, ORDINARY), admit(None), "what is no SYN is not meant");
    let below = Census { syn_recv: 99, ..flood };
    assert_eq!(shard().admit(&below, SYN), admit(None));
    // In a full table too: the unreplied ones stay.
    let full = Census { sessions: 990, assured: 390, ..flood };
    assert_eq!(shard().admit(&full, SYN), admit(Some(Eviction::HalfOpen)));
}

#[test]
fn a_management_source_uses_the_reserve_when_others_are_refused() {
    assert_eq!(
        refusing().admit(&assured(990), MANAGEMENT),
        Admission::Admit { privileged: true, evict: None }
    );
    let nearly = Census { sessions: 999, ..assured(990) };
    assert_eq!(refusing().admit(&nearly, MANAGEMENT), Admission::Admit { privileged: true, evict: None });
}

#[test]
fn a_management_source_is_not_bound_by_the_share_of_half_open_connections() {
    let flood = Census { sessions: 500, syn_sent: 500, ..Census::default() };
    assert_eq!(refusing().admit(&flood, MANAGEMENT), Admission::Admit { privileged: true, evict: None });
}

#[test]
fn no_more_sessions_are_privileged_than_the_reserve() {
    let used_up = Census { sessions: 510, ..assured(500) };
    assert_eq!(shard().admit(&used_up, MANAGEMENT), admit(None));
    let full = Census { sessions: 1000, ..assured(990) };
    assert_eq!(shard().admit(&full, MANAGEMENT), Admission::Refuse(DropReason::SessionTableFull));
}

#[test]
fn without_a_reserve_a_management_source_evicts_like_others() {
    let pressure = Pressure::new(&Limits { reserve: Share::NOTHING, ..Limits::default() }, 1000);
    let full = Census { sessions: 1000, closing: 1, ..assured(999) };
    let verdict = pressure.admit(&full, MANAGEMENT);
    assert_eq!(verdict, Admission::Admit { privileged: true, evict: Some(Eviction::Closing) });
    assert_eq!(pressure.admit(&assured(1000), MANAGEMENT), Admission::Refuse(DropReason::SessionTableFull));
}

#[test]
fn timeouts_shrink_linearly_between_the_watermarks() {
    let shard = shard();
    for (sessions, expected) in
        [(0, 3000), (800, 3000), (801, 2984), (890, 1500), (979, 17), (980, 1), (1000, 1)]
    {
        assert_eq!(shard.effective(3000, sessions), expected, "{sessions}");
    }
    assert_eq!(shard.effective(u32::MAX, 890), u32::MAX / 2 + 1);
}

#[test]
fn timeouts_never_shrink_where_the_watermarks_are_one() {
    let limits =
        Limits { adaptive_low: Share::percent(90), adaptive_high: Share::percent(90), ..Limits::default() };
    let shard = Pressure::new(&limits, 1000);
    for sessions in [899, 900, 901, 1000] {
        assert!(!shard.shrinks(sessions));
        assert_eq!(shard.effective(3000, sessions), 3000);
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
    assert_eq!(set.ranges.len(), 3);
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

/// A shard that is played: its sessions by kind. Privileged ones are what the kinds do not add up to.
fn apply(census: &mut Census, admission: Admission, half_open: bool) {
    let Admission::Admit { privileged, evict } = admission else { return };
    let victim = match evict {
        None => None,
        Some(Eviction::HalfOpen) if census.syn_sent > 0 => Some(&mut census.syn_sent),
        Some(Eviction::HalfOpen) => Some(&mut census.syn_recv),
        Some(Eviction::Unreplied) if census.syn_sent > 0 => Some(&mut census.syn_sent),
        Some(Eviction::Unreplied) => Some(&mut census.unreplied),
        Some(Eviction::Closing) => Some(&mut census.closing),
        Some(Eviction::Unassured) if census.syn_recv > 0 => Some(&mut census.syn_recv),
        Some(Eviction::Unassured) => Some(&mut census.unassured),
    };
    if let Some(victim) = victim {
        *victim = victim.checked_sub(1).expect("somebody is there to be evicted");
        census.sessions -= 1;
    }
    census.sessions += 1;
    match (privileged, half_open) {
        (true, _) => {}
        (false, true) => census.syn_sent += 1,
        (false, false) => census.unreplied += 1,
    }
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
            prop_assert!(census.sessions <= capacity);
            prop_assert!(census.sessions - census.privileged() <= pressure.full());
            prop_assert!(census.half_open() <= pressure.half_open);
            prop_assert!(census.privileged() <= pressure.privileged);
            prop_assert!(census.privileged() >= before.privileged());
            prop_assert_eq!(census.assured, before.assured);
            if limits.when_full == WhenFull::Refuse {
                let evicts = matches!(admission, Admission::Admit { evict: Some(_), .. });
                prop_assert!(!evicts);
            }
            // The sessions live on.
            match life {
                0 if census.syn_sent > 0 => { census.syn_sent -= 1; census.syn_recv += 1; }
                1 if census.syn_recv > 0 => { census.syn_recv -= 1; census.assured += 1; }
                2 if census.unreplied > 0 => { census.unreplied -= 1; census.unassured += 1; }
                3 if census.assured > 0 => { census.assured -= 1; census.closing += 1; }
                4 if census.closing > 0 => { census.closing -= 1; census.sessions -= 1; }
                _ => {}
            }
        }
    }

    /// Of a full table a management source that has not used up its share gets in without anybody's leaving.
    #[test]
    fn the_reserve_is_there_when_it_is_needed(limits in limits(), capacity in 1u32..2000, ours in 0u32..2000) {
        let pressure = Pressure::new(&limits, capacity);
        let reserve = limits.reserve.of(capacity);
        prop_assume!(reserve >= PRIVILEGED.of(capacity) && reserve < capacity && ours < reserve);
        let census = Census { sessions: pressure.full() + ours, ..assured(pressure.full()) };
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
        let (long, short) = (pressure.effective(timeout, emptier), pressure.effective(timeout, fuller));
        prop_assert!(1 <= short && short <= long && long <= timeout);
    }
}

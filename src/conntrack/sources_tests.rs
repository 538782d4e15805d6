//! The sources against a model that forgets nothing.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const SEED: u64 = 0x1234_5678_9abc_def1;

fn source(n: u32) -> V4Source {
    V4Source::new(0, Ipv4Addr::from_bits(n))
}

fn limits(sessions: Option<u32>, rate: Option<(u32, u32)>) -> Limits {
    let rate = rate.map(|(per_second, burst)| Rate { per_second, burst });
    Limits { sessions_per_source: sessions, new_per_source: rate, ..Limits::default() }
}

fn table(sessions: Option<u32>, rate: Option<(u32, u32)>, capacity: u32) -> Sources<V4Source> {
    Sources::new(&limits(sessions, rate), capacity, SEED).unwrap()
}

/// Opens a session if that is allowed.
fn open(table: &mut Sources<V4Source>, n: u32, now: u32) -> Result<(), DropReason> {
    table.check(source(n), Tick(now)).map(|()| table.opened(source(n), Tick(now)))
}

/// Entries in use: neither free nor idle, and idle.
fn census<K: SourceKey>(table: &Sources<K>) -> (usize, usize) {
    let walk = |mut at: u32, next: fn(&Entry<K>) -> u32| {
        std::iter::from_fn(|| table.entries.get(at as usize).inspect(|entry| at = next(entry))).count()
    };
    let (free, idle) = (walk(table.free, |entry| entry.chain), walk(table.oldest, |entry| entry.newer));
    assert_eq!(idle, walk(table.newest, |entry| entry.older));
    let chained: usize = table.chains.iter().map(|head| walk(*head, |entry| entry.chain)).sum();
    assert_eq!(chained + free, table.entries.len(), "every entry is in a chain or free");
    (chained - idle, idle)
}

#[test]
fn there_is_no_table_without_a_limit_per_source() {
    assert!(Sources::<V4Source>::new(&Limits::default(), 10, SEED).is_none());
}

#[test]
fn a_source_has_as_many_sessions_at_once_as_the_limit_and_others_are_not_affected() {
    let mut table = table(Some(3), None, 10);
    for _ in 0..3 {
        assert_eq!(open(&mut table, 1, 0), Ok(()));
    }
    assert_eq!(open(&mut table, 1, 99), Err(DropReason::SourceSessionsLimit));
    assert_eq!(open(&mut table, 2, 99), Ok(()));
    table.closed(source(1));
    assert_eq!(open(&mut table, 1, 99), Ok(()));
    assert_eq!(open(&mut table, 1, 99), Err(DropReason::SourceSessionsLimit));
}

#[test]
fn the_same_address_in_another_zone_is_another_source() {
    let mut table = table(Some(1), None, 10);
    let other = V4Source::new(7, Ipv4Addr::from_bits(1));
    assert_eq!(open(&mut table, 1, 0), Ok(()));
    assert_eq!(table.check(other, Tick(0)), Ok(()));
    assert_eq!(other.address(), source(1).address());
}

#[test]
fn a_source_opens_a_burst_at_once_and_then_its_rate() {
    let mut table = table(None, Some((20, 5)), 10_000);
    let opened = |table: &mut Sources<_>, now| (0..100).filter(|_| open(table, 1, now).is_ok()).count();
    assert_eq!(opened(&mut table, 0), 5);
    assert_eq!(open(&mut table, 1, 0), Err(DropReason::SourceRateLimit));
    assert_eq!(opened(&mut table, 1), 2, "20 a second are 2 a tick");
    assert_eq!((2..1002).map(|now| opened(&mut table, now)).sum::<usize>(), 2000);
    assert_eq!(opened(&mut table, 100_000), 5, "no more than a burst is saved up");
}

#[test]
fn the_slowest_rate_is_kept_exactly() {
    let mut table = table(None, Some((1, 1)), 1000);
    let opened: Vec<u32> = (0..100).filter(|now| open(&mut table, 1, *now).is_ok()).collect();
    assert_eq!(opened, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
}

#[test]
fn the_largest_rate_never_refuses() {
    let mut table = table(None, Some((u32::MAX, u32::MAX)), 1000);
    assert!((0..1000).all(|_| open(&mut table, 1, 0).is_ok()));
}

#[test]
fn a_source_does_not_get_rid_of_its_debt_by_ending_its_sessions() {
    let mut table = table(None, Some((1, 2)), 10);
    for _ in 0..2 {
        assert_eq!(open(&mut table, 1, 0), Ok(()));
        table.closed(source(1));
    }
    assert_eq!(census(&table), (0, 1));
    assert_eq!(open(&mut table, 1, 0), Err(DropReason::SourceRateLimit));
    assert_eq!(open(&mut table, 2, 0), Ok(()));
    assert_eq!(open(&mut table, 1, 0), Err(DropReason::SourceRateLimit));
}

#[test]
fn an_entry_is_free_again_when_it_has_no_session_and_a_full_bucket() {
    let mut table = table(None, Some((1, 2)), 10);
    open(&mut table, 1, 0).unwrap();
    table.closed(source(1));
    open(&mut table, 2, 9).unwrap();
    assert_eq!(census(&table), (1, 1), "nine tenths of a token are back");
    open(&mut table, 3, 10).unwrap();
    assert_eq!(census(&table), (2, 0));
    // Without a rate there is nothing to wait for.
    let mut table = super::tests::table(Some(1), None, 10);
    open(&mut table, 1, 0).unwrap();
    table.closed(source(1));
    assert_eq!(census(&table), (0, 0));
}

#[test]
fn more_sources_than_entries_recycle_the_one_that_was_idle_for_longest() {
    let mut table = table(None, Some((1, 1)), 2);
    for n in 1..=2 {
        open(&mut table, n, 0).unwrap();
        table.closed(source(n));
    }
    assert_eq!(open(&mut table, 3, 0), Ok(()));
    assert_eq!(open(&mut table, 2, 0), Err(DropReason::SourceRateLimit), "it is still known");
    assert_eq!(table.check(source(1), Tick(0)), Ok(()), "it is forgotten");
    assert_eq!(census(&table), (1, 1));
}

#[test]
fn what_was_never_counted_is_not_counted_down() {
    let mut table = table(Some(1), Some((1, 1)), 4);
    table.closed(source(1));
    open(&mut table, 1, 0).unwrap();
    table.closed(source(1));
    table.closed(source(1));
    assert_eq!((table.sessions(source(1)), census(&table)), (0, (0, 1)));
    let mut none = super::tests::table(Some(1), None, 0);
    open(&mut none, 1, 0).unwrap();
    assert_eq!(none.sessions(source(1)), 0);
}

#[test]
fn other_limits_hold_at_once_for_the_sources_that_there_are() {
    let mut table = table(Some(2), None, 10);
    for n in [1, 1, 2] {
        open(&mut table, n, 0).unwrap();
    }
    table.adopt(&limits(Some(3), Some((10, 1))));
    assert_eq!(open(&mut table, 1, 0), Err(DropReason::SourceRateLimit), "its bucket begins empty");
    assert_eq!(open(&mut table, 1, 1), Ok(()));
    assert_eq!(open(&mut table, 1, 9), Err(DropReason::SourceSessionsLimit));
    assert_eq!(open(&mut table, 3, 9), Ok(()));
    for n in [1, 1, 1, 2, 3] {
        table.closed(source(n));
    }
    assert_eq!(census(&table), (0, 3));
    table.adopt(&limits(None, None));
    for n in [1, 4, 4, 4, 4] {
        assert_eq!(open(&mut table, n, 9), Ok(()));
    }
    table.closed(source(1));
    assert_eq!((table.sessions(source(4)), census(&table).0), (4, 1));
}

/// A source as the model knows it: sessions, and tenths of a token at a tick.
#[derive(Clone, Copy)]
struct Known {
    sessions: u32,
    credit: u64,
    seen: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Open(u32),
    Close(u32),
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u32..12).prop_map(Step::Open),
        3 => (0u32..12).prop_map(Step::Close),
        1 => (1u32..15).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..400)
}

/// Plays the steps on the table and on the model. Returns whether the table ever was more generous with the rate.
fn play(
    steps: Vec<Step>,
    sessions: Option<u32>,
    rate: Option<(u32, u32)>,
    capacity: u32,
) -> Result<bool, TestCaseError> {
    let mut table = table(sessions, rate, capacity);
    let mut model: HashMap<u32, Known> = HashMap::new();
    let (mut now, mut live, mut generous) = (u32::MAX - 100, 0, false);
    for step in steps {
        match step {
            Step::Wait(ticks) => now = now.wrapping_add(ticks),
            Step::Close(n) => {
                table.closed(source(n));
                if let Some(known) = model.get_mut(&n).filter(|known| known.sessions > 0) {
                    known.sessions -= 1;
                    live -= 1;
                }
            }
            // The shard would be full.
            Step::Open(_) if live == capacity => {}
            Step::Open(n) => {
                let most = rate.map_or(0, |(_, burst)| u64::from(burst) * 10);
                let known = model.entry(n).or_insert(Known { sessions: 0, credit: most, seen: now });
                let grown = u64::from(now.wrapping_sub(known.seen)) * rate.map_or(0, |(r, _)| u64::from(r));
                *known = Known { credit: (known.credit + grown).min(most), seen: now, ..*known };
                let expected = if sessions.is_some_and(|limit| known.sessions >= limit) {
                    Err(DropReason::SourceSessionsLimit)
                } else if rate.is_some() && known.credit < 10 {
                    Err(DropReason::SourceRateLimit)
                } else {
                    Ok(())
                };
                let verdict = open(&mut table, n, now);
                if verdict != expected {
                    prop_assert_eq!((verdict, expected), (Ok(()), Err(DropReason::SourceRateLimit)));
                    generous = true;
                }
                if verdict.is_ok() {
                    known.sessions += 1;
                    live += 1;
                    known.credit = known.credit.saturating_sub(10);
                }
            }
        }
        for (n, known) in &model {
            prop_assert_eq!(table.sessions(source(*n)), known.sessions);
        }
        let busy = model.values().filter(|known| known.sessions > 0).count();
        prop_assert_eq!(census(&table).0, busy);
    }
    Ok(generous)
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_model_that_forgets_nothing(
        steps in steps(),
        sessions in proptest::option::of(1u32..4),
        rate in proptest::option::of((1u32..30, 1u32..4)),
    ) {
        prop_assume!(sessions.is_some() || rate.is_some());
        prop_assert!(!play(steps, sessions, rate, 12)?);
    }

    /// A table that has to recycle counts sessions exactly all the same, and is never stricter than it should be.
    #[test]
    fn a_table_that_recycles_only_ever_errs_on_the_generous_side(
        steps in steps(),
        sessions in proptest::option::of(1u32..4),
        rate in (1u32..30, 1u32..4),
        capacity in 1u32..8,
    ) {
        play(steps, sessions, Some(rate), capacity)?;
    }
}

use super::*;
use crate::bench::BenchError;
use crate::bench::ring::RingDevice;
use crate::bench::testing::{FakeNat, Mischief, generator};
use std::cell::Cell;
use std::rc::Rc;

fn settings(trials: &[Trial]) -> Settings {
    Settings {
        trials: trials.to_vec(),
        sessions: vec![1, 300],
        frames: vec![Frame::Bytes(64)],
        direction: Direction::Both,
        duration: Duration::from_millis(20),
        tolerance_ppm: 0,
        max_rate: Some(400_000),
        rate: None,
        capacity: 8192,
    }
}

fn bench(mischief: Mischief, settings: Settings) -> (Vec<Row>, Result<(), BenchError>) {
    let mut progress = |_: &str| {};
    let mut bench: Bench<'_, RingDevice, FakeNat> =
        Bench::new(generator(mischief), settings, None, &mut progress);
    let outcome = bench.run();
    (bench.rows, outcome)
}

fn wrong(mischief: Mischief) -> String {
    let (_, outcome) = bench(mischief, settings(&[Trial::Validate, Trial::Throughput]));
    outcome.expect_err("it is noticed").to_string()
}

#[test]
fn a_nat_that_does_right_passes_every_trial_with_every_frame_size_and_direction() {
    for direction in [Direction::Both, Direction::Out, Direction::Back] {
        let trials = [Trial::Throughput, Trial::Latency, Trial::Validate, Trial::Establish];
        let frames = vec![Frame::Bytes(64), Frame::Bytes(1518), Frame::Imix];
        let (rows, outcome) = bench(Mischief::None, Settings { direction, frames, ..settings(&trials) });
        outcome.unwrap();
        let failed: Vec<&Row> = rows.iter().filter(|row| row.verdict != Verdict::Pass).collect();
        assert!(failed.is_empty(), "{failed:?}");
        let rate = |row: &&Row| {
            row.trial == Trial::Throughput && (390_000..=401_000).contains(&row.measured.runs().median())
        };
        assert_eq!(rows.iter().filter(rate).count(), 6, "{rows:?}");
        let ways = if direction == Direction::Both { 2 } else { 1 };
        let latency =
            |row: &&Row| row.latency.is_some_and(|latency| latency.p50 > 0 && latency.max >= latency.p99);
        assert_eq!(rows.iter().filter(latency).count(), 6 * ways, "{rows:?}");
        // One session has no rate.
        assert_eq!(rows.iter().filter(|row| row.trial == Trial::Establish).count(), 1);
    }
}

#[test]
fn a_forwarder_passes_when_nothing_is_to_be_translated() {
    let (rows, outcome) = bench(Mischief::Forward, settings(&[Trial::Validate, Trial::Throughput]));
    outcome.unwrap();
    assert!(rows.iter().all(|row| row.verdict == Verdict::Pass), "{rows:?}");
}

#[test]
fn every_changed_byte_fails_the_run() {
    for (byte, part) in [
        (0, "Ethernet destination"),
        (12, "EtherType"),
        (14, "IPv4"),
        (16, "IPv4"),
        (22, "IPv4"),
        (26, "IPv4"),
        (33, "IPv4"),
        (34, "UDP checksum"),
        (38, "UDP length"),
        (40, "UDP checksum"),
        (42, "UDP checksum"),
        (44, "UDP checksum"),
        (59, "UDP checksum"),
    ] {
        let text = wrong(Mischief::Flip(byte));
        assert!(text.contains(part) && text.contains("expected"), "{byte}: {text}");
    }
}

#[test]
fn wrong_translations_with_right_checksums_fail_the_run() {
    for (mischief, part) in [
        (Mischief::OtherPort, "source: expected 100.64.0."),
        (Mischief::OtherClient, "destination: expected 10.1."),
        (Mischief::KeepTtl, "TTL: expected 63, got 64"),
    ] {
        let text = wrong(mischief);
        assert!(text.contains(part), "{mischief:?}: {text}");
    }
}

#[test]
fn packets_that_come_twice_or_late_fail_the_run() {
    // One session: the packets beside it are its own.
    let one = Settings { sessions: vec![1], ..settings(&[Trial::Throughput]) };
    let text = |mischief| bench(mischief, one.clone()).1.unwrap_err().to_string();
    assert!(text(Mischief::Duplicate).starts_with("1 packets came twice and 0 in another order"));
    let fast = Settings { max_rate: None, sessions: vec![1], ..settings(&[Trial::Throughput]) };
    let late = bench(Mischief::Delay, fast).1.unwrap_err().to_string();
    assert!(late.starts_with("0 packets came twice and 1 in another order"), "{late}");
}

#[test]
fn a_lost_packet_lowers_the_rate_and_is_allowed_within_the_tolerance() {
    // A rate just below is tried, where nothing is lost.
    let (rows, outcome) = bench(Mischief::Lose, settings(&[Trial::Throughput]));
    outcome.unwrap();
    assert_eq!((rows[0].lost_packets, &rows[0].verdict), (0, &Verdict::Pass));
    let tolerant = Settings { tolerance_ppm: 1000, ..settings(&[Trial::Throughput]) };
    let (rows, outcome) = bench(Mischief::Lose, tolerant);
    outcome.unwrap();
    assert_eq!(rows[0].lost_packets, 1);
    assert!(rows[0].measured.runs().median() > 395_000, "{rows:?}");
}

#[test]
fn the_throughput_of_a_slow_nat_is_found() {
    let (rows, outcome) = bench(
        Mischief::Slow(100_000),
        Settings {
            sessions: vec![64],
            duration: Duration::from_millis(200),
            ..settings(&[Trial::Throughput])
        },
    );
    outcome.unwrap();
    let found = rows[0].measured.runs().median();
    assert!((97_000..=103_000).contains(&found), "{found}");
}

#[test]
fn one_rate_is_one_try_and_its_loss_is_told() {
    let one = Settings { rate: Some(200_000), sessions: vec![64], ..settings(&[Trial::Throughput]) };
    let (rows, outcome) = bench(Mischief::Slow(100_000), one);
    outcome.unwrap();
    assert!(rows[0].lost_packets > 0);
    assert!(matches!(&rows[0].verdict, Verdict::Fail(why) if why.contains("packets were lost")), "{rows:?}");
}

#[test]
fn the_capacity_is_what_answers_when_no_more_fit_and_old_sessions_must_stay() {
    let trial = settings(&[Trial::Capacity]);
    let (rows, outcome) = bench(Mischief::Full(3000), trial.clone());
    outcome.unwrap();
    assert_eq!((rows[0].measured.runs().median(), rows[0].sessions), (3000, 4096));
    assert_eq!(rows[0].verdict, Verdict::Pass);
    let (rows, _) = bench(Mischief::Evict(3000), trial.clone());
    assert!(matches!(&rows[0].verdict, Verdict::Fail(why) if why.contains("older sessions")), "{rows:?}");
    let (rows, _) = bench(Mischief::None, trial);
    assert_eq!((rows[0].measured.runs().median(), rows[0].sessions), (8192, 8192));
}

#[test]
fn a_table_that_is_too_small_is_a_failed_row_and_no_rate() {
    let (rows, outcome) = bench(Mischief::Full(100), settings(&[Trial::Validate, Trial::Throughput]));
    outcome.unwrap();
    let failed: Vec<&Row> = rows.iter().filter(|row| row.sessions == 300).collect();
    assert_eq!(failed.len(), 2);
    for row in failed {
        assert_eq!(row.verdict, Verdict::Fail("100 of 300 sessions were established, 100 answered".into()));
    }
}

#[test]
fn a_teardown_is_timed_and_sessions_that_stay_fail_it() {
    for (works, passes) in [(true, true), (false, false)] {
        let cleared = Rc::new(Cell::new(0));
        let (mut progress, count) = (|_: &str| {}, cleared.clone());
        let teardown: Teardown<'_> = Box::new(move || {
            count.set(count.get() + 1);
            Ok(())
        });
        let mut bench = Bench::new(
            generator(Mischief::None),
            settings(&[Trial::Teardown]),
            Some(teardown),
            &mut progress,
        );
        bench.settings.sessions = vec![300];
        bench.generator.meet().unwrap();
        assert!(bench.prepare(300).unwrap());
        if works {
            bench.generator.pulse.clear();
        }
        bench.tear_down(300).unwrap();
        assert_eq!((cleared.get(), bench.rows[0].verdict == Verdict::Pass), (1, passes));
    }
    let (_, outcome) = bench(Mischief::None, settings(&[Trial::Teardown]));
    assert!(outcome.unwrap_err().to_string().contains("--teardown-command"));
}

//! What is said of a table that fills and empties, and how often.

use super::*;
use crate::conntrack::policy::{Limits, Share};

/// Shards that are played: the watch, the counters that it reads, and the time.
struct Stage {
    watch: Watermarks,
    workers: Vec<Arc<WorkerCounters>>,
    now: Time,
}

impl Stage {
    /// Shards for 1000 sessions each: 800, 980 and 990 are the watermarks.
    fn new(shards: usize, limits: Limits) -> Stage {
        let policy = Policy { limits, ..Policy::default() };
        Stage {
            watch: Watermarks::new(&policy, &vec![1000; shards]),
            workers: (0..shards).map(|_| Arc::default()).collect(),
            now: Time::from_secs(1000),
        }
    }

    /// Brings a shard to this many sessions.
    fn fill(&self, shard: usize, sessions: u64) {
        let worker = &self.workers[shard];
        let before = worker.sessions.get();
        worker.sessions.set(sessions);
        worker.sessions_created.add(sessions.saturating_sub(before));
        worker.sessions_removed.add(before.saturating_sub(sessions));
    }

    /// A second passes. What was said?
    fn second(&mut self) -> Vec<Event> {
        self.now = self.now + Duration::from_secs(1);
        let said = self.watch.poll(self.now, &self.workers);
        assert!(said.iter().all(|event| event.at == self.now));
        assert!(self.watch.poll(self.now + Duration::from_millis(999), &self.workers).is_empty());
        said
    }

    fn kinds(&mut self) -> Vec<EventKind> {
        self.second().iter().map(|event| event.kind).collect()
    }
}

#[test]
fn a_watermark_is_said_once_when_it_is_crossed() {
    let mut stage = Stage::new(1, Limits::default());
    for (sessions, said) in [
        (0, None),
        (799, None),
        (800, Some(EventKind::TableLow)),
        (979, None),
        (980, Some(EventKind::TableHigh)),
        (989, None),
        (990, Some(EventKind::TableFull)),
        (1000, None),
    ] {
        stage.fill(0, sessions);
        assert_eq!(stage.kinds(), Vec::from_iter(said), "{sessions}");
        assert_eq!(stage.kinds(), [], "{sessions}");
    }
}

#[test]
fn of_several_watermarks_at_once_the_highest_is_said() {
    let mut stage = Stage::new(1, Limits::default());
    stage.fill(0, 995);
    assert_eq!(stage.kinds(), [EventKind::TableFull]);
    stage.fill(0, 0);
    assert_eq!(stage.kinds(), [EventKind::TableEased]);
    assert_eq!(stage.watch.status().table.level, Level::Normal);
}

#[test]
fn a_level_is_left_two_points_below_its_watermark() {
    let mut stage = Stage::new(1, Limits::default());
    for (sessions, said) in [
        (990, Some(EventKind::TableFull)),
        (970, None),
        (990, None),
        (969, Some(EventKind::TableEased)),
        (960, None),
        (979, None),
        (980, None),
        (990, Some(EventKind::TableFull)),
        (800, Some(EventKind::TableEased)),
        (780, None),
        (779, Some(EventKind::TableEased)),
        (799, None),
        (800, Some(EventKind::TableLow)),
    ] {
        stage.fill(0, sessions);
        assert_eq!(stage.kinds(), Vec::from_iter(said), "{sessions}");
    }
}

#[test]
fn every_shard_is_watched_and_so_is_the_whole() {
    let mut stage = Stage::new(2, Limits::default());
    stage.fill(1, 990);
    let said = stage.second();
    assert_eq!(said.len(), 1);
    assert!(said[0].text.starts_with("worker 1's share of the session table is full (990 of 1000"));
    stage.fill(0, 990);
    let said: Vec<_> = stage.second().iter().map(|event| event.text.clone()).collect();
    assert_eq!(said.len(), 2);
    assert!(said[0].starts_with("the session table is full (1980 of 2000 sessions, 99 %)"));
    assert!(said[1].starts_with("worker 0's share"));
}

#[test]
fn what_is_said_names_the_numbers_and_what_to_do() {
    let mut stage = Stage::new(1, Limits::default());
    stage.second();
    for second in 1..=8 {
        stage.fill(0, second * 100);
        if second < 8 {
            stage.second();
        }
    }
    let said = stage.second();
    assert_eq!(
        said[0].text,
        "the session table is above its low watermark (800 of 1000 sessions, 80 %): the timeouts of unreplied and \
         closing sessions are shrinking. 100 new sessions a second, 4 are sustainable if they are short TCP \
         connections, 3 if they are UDP; full in 1 s at this rate. Raise conntrack.max_sessions or shorten timeouts; \
         `natgate sessions top --by source` shows who has the most."
    );
}

#[test]
fn the_text_of_a_full_table_says_what_it_does_with_newcomers() {
    let refuse = Limits { when_full: WhenFull::Refuse, ..Limits::default() };
    for (limits, words) in [
        (Limits::default(), "take the place of unreplied"),
        (refuse, "are refused, but for management sources"),
    ] {
        let mut stage = Stage::new(1, limits);
        stage.fill(0, 1000);
        assert!(stage.second()[0].text.contains(words));
    }
}

#[test]
fn where_timeouts_never_shrink_nothing_is_said_of_it() {
    let limits =
        Limits { adaptive_low: Share::percent(90), adaptive_high: Share::percent(90), ..Limits::default() };
    let mut stage = Stage::new(1, limits);
    stage.fill(0, 900);
    let said = stage.second();
    assert_eq!(said[0].kind, EventKind::TableHigh);
    assert!(!said[0].text.contains("shrink"));
}

#[test]
fn refusals_are_said_when_they_begin_and_when_they_end_and_not_between() {
    let mut stage = Stage::new(2, Limits::default());
    assert_eq!(stage.kinds(), []);
    let refuse = |stage: &Stage| stage.workers[1].count_drop(DropReason::SourceRateLimit);
    refuse(&stage);
    let said = stage.second();
    assert_eq!((said.len(), said[0].kind), (1, EventKind::RefusalsBegan));
    assert!(said[0].text.contains("source_rate_limit"), "{}", said[0].text);
    for _ in 0..100 {
        refuse(&stage);
        refuse(&stage);
        assert_eq!(stage.kinds(), []);
    }
    for _ in 0..9 {
        assert_eq!(stage.kinds(), []);
    }
    let said = stage.second();
    assert_eq!((said.len(), said[0].kind), (1, EventKind::RefusalsEnded));
    assert!(said[0].text.ends_with("for 10 s; 201 were within 101 s"), "{}", said[0].text);
    refuse(&stage);
    assert_eq!(stage.kinds(), [EventKind::RefusalsBegan]);
}

#[test]
fn early_drops_of_a_full_table_and_of_half_open_connections_are_told_apart() {
    let mut stage = Stage::new(1, Limits::default());
    stage.workers[0].count_eviction(Eviction::HalfOpen);
    let said = stage.second();
    assert_eq!((said.len(), said[0].kind), (1, EventKind::EarlyDropsBegan));
    assert!(said[0].text.contains("SYN flood"));
    for eviction in [Eviction::Unreplied, Eviction::Closing, Eviction::Unassured] {
        stage.workers[0].count_eviction(eviction);
    }
    let said = stage.second();
    assert_eq!((said.len(), said[0].kind), (1, EventKind::EarlyDropsBegan));
    assert!(said[0].text.contains("never assured"));
    let ended: Vec<_> = (0..10).flat_map(|_| stage.kinds()).collect();
    assert_eq!(ended, [EventKind::EarlyDropsEnded; 2]);
}

#[test]
fn every_refusal_and_every_eviction_has_a_cause_that_is_watched() {
    let mut stage = Stage::new(1, Limits::default());
    for eviction in Eviction::ALL {
        stage.workers[0].count_eviction(*eviction);
    }
    let said = stage.watch.poll(stage.now, &stage.workers);
    assert_eq!(said.len(), 2);
    stage.now = stage.now + Duration::from_secs(10);
    stage.watch.poll(stage.now, &stage.workers);
    let counted: u64 = stage.watch.episodes.iter().map(|episode| episode.count).sum();
    assert_eq!(counted, Eviction::COUNT as u64);
}

#[test]
fn used_up_ports_begin_and_end_an_episode_of_their_own_and_are_not_among_the_rates() {
    let mut stage = Stage::new(1, Limits::default());
    stage.second();
    stage.workers[0].count_drop(DropReason::PortsExhausted);
    assert_eq!(stage.kinds(), [EventKind::PortsExhaustedBegan]);
    stage.workers[0].count_drop(DropReason::PortsExhausted);
    assert_eq!(stage.kinds(), []);
    let later: Vec<_> = (0..10).flat_map(|_| stage.second()).collect();
    let [ended] = &later[..] else { panic!("{later:?}") };
    assert_eq!(ended.kind, EventKind::PortsExhaustedEnded);
    assert!(ended.text.ends_with("; 2 were within 2 s"), "{}", ended.text);
    assert_eq!(stage.watch.status().refused_per_second, 0);
}

#[test]
fn rates_are_those_of_the_last_ten_seconds() {
    let mut stage = Stage::new(1, Limits::default());
    assert_eq!(stage.watch.status().new_per_second, 0);
    for second in 0..20 {
        stage.workers[0].sessions_created.add(if second < 10 { 1000 } else { 20 });
        stage.workers[0].sessions_removed.add(30);
        stage.workers[0].count_eviction(Eviction::Closing);
        stage.workers[0].count_drop(DropReason::SessionTableFull);
        stage.workers[0].count_drop(DropReason::HalfOpenFull);
        stage.second();
    }
    let status = stage.watch.status();
    assert_eq!((status.new_per_second, status.growth_per_second), (20, -10));
    assert_eq!((status.evicted_per_second, status.refused_per_second), (1, 2));
}

#[test]
fn the_time_to_full_is_what_is_left_at_the_rate_of_growth_and_none_without_growth() {
    let mut stage = Stage::new(2, Limits::default());
    stage.second();
    assert_eq!(stage.watch.status().time_to_full, None);
    for second in 1..=10 {
        stage.fill(second % 2, 10 * second as u64);
        stage.second();
    }
    // 190 sessions after ten seconds, 1790 to go.
    assert_eq!(stage.watch.status().growth_per_second, 19);
    assert_eq!(stage.watch.status().time_to_full, Some(Duration::from_millis(1790 * 10_000 / 190)));
    for _ in 0..10 {
        stage.second();
    }
    assert_eq!(stage.watch.status().time_to_full, None);
    stage.fill(0, 990);
    stage.fill(1, 990);
    stage.second();
    assert_eq!(stage.watch.status().time_to_full, Some(Duration::ZERO));
}

#[test]
fn what_is_sustainable_is_the_capacity_over_the_timeout() {
    let mut policy = Policy::default();
    policy.timeout_sets[0].set(Timeout::TcpTimeWait, Duration::from_secs(120));
    policy.timeout_sets[0].set(Timeout::Udp, Duration::from_millis(100));
    let status = Watermarks::new(&policy, &[262_144, 262_144]).status();
    assert_eq!(status.sustainable_tcp_per_second, 4369, "the figure of the published experiment");
    assert_eq!(status.sustainable_udp_per_second, 5_242_880);
}

#[test]
fn other_limits_hold_at_once_and_what_was_said_is_not_said_again() {
    let mut stage = Stage::new(1, Limits::default());
    stage.fill(0, 850);
    stage.workers[0].count_drop(DropReason::SourceRateLimit);
    assert_eq!(stage.kinds(), [EventKind::RefusalsBegan, EventKind::TableLow]);
    let limits = Limits { reserve: Share::percent(20), ..Limits::default() };
    stage.watch.adopt(&Policy { limits, ..Policy::default() });
    assert_eq!(stage.kinds(), [EventKind::TableFull]);
    let fill = Fill { sessions: 850, capacity: 1000, full: 800, level: Level::Full };
    assert_eq!((stage.watch.status().table, stage.watch.status().new_per_second), (fill, 0));
    stage.watch.adopt(&Policy::default());
    assert_eq!(stage.kinds(), [EventKind::TableEased]);
    let ended: Vec<_> = (0..8).flat_map(|_| stage.kinds()).collect();
    assert_eq!(ended, [EventKind::RefusalsEnded]);
}

#[test]
fn a_table_for_nobody_is_never_full() {
    let mut watch = Watermarks::new(&Policy::default(), &[0]);
    assert!(watch.poll(Time::from_secs(1), &[Arc::default()]).is_empty());
    assert_eq!(watch.status().table.level, Level::Normal);
}

//! What is said of NICs that do not keep to their plans and of workers that carry too much, and how often.

use super::*;
use crate::config;
use crate::config::compile::compile;
use crate::ids::MacAddr;

const CONFIG: &str = r#"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "10.0.0.1/16"
[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
[[snat]]
source = "interface"
"#;

/// Workers that are played: the watch, the counters that it reads, and the time.
struct Stage {
    watch: SteeringWatch,
    workers: Vec<Arc<WorkerCounters>>,
    now: Time,
}

impl Stage {
    fn new(workers: u8) -> Stage {
        Stage::with(workers, Spread::Source)
    }

    /// The NIC inside has plan C, that outside plan B.
    fn with(workers: u8, spread: Spread) -> Stage {
        let mut config = config::parse(CONFIG, "test").unwrap().config;
        (config.runtime.workers, config.runtime.spread) = (workers, spread);
        let snapshot = compile(&config, &[MacAddr::default(); 2], 7, 1);
        let choice = |plan, why_not: &str| Choice { plan, how: "somehow".into(), why_not: why_not.into() };
        let both = |choice: Choice| Choices { internal: choice.clone(), external: choice };
        let choices = [both(choice(Plan::C, "it is old")), both(choice(Plan::B, ""))];
        let mut stage = Stage {
            watch: SteeringWatch::new(&snapshot, workers.into(), &choices),
            workers: (0..workers).map(|_| Arc::default()).collect(),
            now: Time::from_secs(1000),
        };
        assert!(stage.second(&[]).is_empty());
        stage
    }

    /// A second passes in which workers receive so many packets. What was said?
    fn second(&mut self, received: &[u64]) -> Vec<Event> {
        for (worker, received) in self.workers.iter().zip(received) {
            worker.rx.add(*received);
        }
        self.now = self.now + PERIOD;
        let said = self.watch.poll(self.now, &self.workers);
        assert!(said.iter().all(|event| event.at == self.now));
        assert!(self.watch.poll(self.now + Duration::from_millis(999), &self.workers).is_empty());
        said
    }

    /// The same for so many seconds. In which of them was what said?
    fn seconds(&mut self, seconds: u32, received: &[u64]) -> Vec<(u32, EventKind)> {
        let second = |n| self.second(received).into_iter().map(move |event| (n, event.kind));
        (1..=seconds).flat_map(second).collect()
    }

    fn arrive(&self, worker: usize, interface: usize, packets: u64, misplaced: u64) {
        let counters = &self.workers[worker].interfaces[interface];
        counters.steerable.add(packets);
        counters.misplaced.add(misplaced);
    }
}

#[test]
fn a_plan_that_does_not_hold_is_said_once_and_counts_as_c_from_then_on() {
    let mut stage = Stage::new(2);
    stage.arrive(0, 1, 40, 31);
    assert!(stage.second(&[]).is_empty(), "too few packets to tell");
    stage.arrive(1, 1, 24, 0);
    let said = stage.second(&[]);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].kind, EventKind::SteeringBroken);
    let text = "steering: wan: plan B does not hold: 31 of 64 packets came to other queues than the NIC's table says; workers hand packets over";
    assert_eq!(said[0].text, text);
    let [lan, wan] = &stage.watch.status().interfaces[..] else { panic!("two interfaces") };
    assert_eq!((lan.plan(), wan.plan(), wan.choice.plan), (Plan::C, Plan::C, Plan::B));
    stage.arrive(1, 1, 640, 640);
    assert!(stage.second(&[]).is_empty());
}

#[test]
fn a_plan_holds_although_a_few_packets_waited_in_the_wrong_queue() {
    let mut stage = Stage::new(2);
    stage.arrive(0, 1, 64, 4);
    assert!(stage.second(&[]).is_empty());
    let wan = &stage.watch.status().interfaces[1];
    assert_eq!((wan.plan(), wan.proof), (Plan::B, ProofState::Holds));
    stage.arrive(0, 1, 100, 50);
    assert_eq!(stage.seconds(1, &[]), [(1, EventKind::SteeringBroken)], "it has to hold for ever");
}

#[test]
fn plan_c_has_nothing_to_prove() {
    let mut stage = Stage::new(2);
    stage.arrive(0, 0, 1000, 1000);
    assert!(stage.second(&[]).is_empty());
    let lan = &stage.watch.status().interfaces[0];
    assert_eq!((lan.has_to_prove(), lan.proof), (false, ProofState::Waiting));
}

#[test]
fn a_worker_with_more_than_twice_its_share_is_said_after_ten_seconds_and_when_it_is_over() {
    let mut stage = Stage::new(4);
    let even = [1000; 4];
    let skewed = [1000, 1000, 1000, 3001];
    assert!(stage.seconds(30, &even).is_empty());
    assert!(stage.seconds(30, &[1000, 1000, 1000, 3000]).is_empty(), "twice is not more than twice");
    assert!(stage.seconds(9, &skewed).is_empty());
    assert!(stage.second(&even).is_empty(), "a peak is none");
    assert_eq!(stage.seconds(30, &skewed), [(10, EventKind::SkewBegan)]);
    assert_eq!(stage.watch.status().skewed, [false, false, false, true]);
    assert!(stage.seconds(9, &even).is_empty());
    assert!(stage.second(&skewed).is_empty(), "it was not over");
    assert_eq!(stage.seconds(30, &even), [(10, EventKind::SkewEnded)]);
    assert_eq!(stage.watch.status().skewed, [false; 4]);
    assert_eq!(stage.seconds(10, &skewed), [(10, EventKind::SkewBegan)], "another episode is said again");
}

#[test]
fn of_two_workers_one_is_skewed_with_more_than_three_quarters() {
    let mut stage = Stage::new(2);
    assert!(stage.seconds(30, &[1000, 3000]).is_empty());
    assert_eq!(stage.seconds(10, &[1000, 3010]), [(10, EventKind::SkewBegan)]);
}

#[test]
fn next_to_no_traffic_is_never_skewed_and_ends_what_was() {
    let mut stage = Stage::new(2);
    assert!(stage.seconds(30, &[0, FLOOR - 1]).is_empty());
    assert_eq!(stage.seconds(10, &[0, FLOOR]), [(10, EventKind::SkewBegan)]);
    assert_eq!(stage.seconds(10, &[0, 0]), [(10, EventKind::SkewEnded)]);
}

#[test]
fn the_floor_is_a_rate_however_late_the_watch_looks() {
    let mut stage = Stage::new(2);
    for _ in 0..10 {
        stage.now = stage.now + PERIOD * 4;
        assert!(stage.second(&[0, FLOOR * 4]).is_empty());
    }
    stage.now = stage.now + PERIOD * 9;
    assert_eq!(stage.seconds(1, &[0, FLOOR * 10]), [(1, EventKind::SkewBegan)], "ten seconds at once");
}

#[test]
fn a_single_worker_has_nobody_to_share_with() {
    let mut stage = Stage::new(1);
    assert!(stage.seconds(30, &[1_000_000]).is_empty());
}

#[test]
fn the_text_names_the_likely_cause() {
    let text = |spread, play: &dyn Fn(&[Arc<WorkerCounters>])| {
        let mut stage = Stage::with(4, spread);
        let mut said = Vec::new();
        for _ in 0..10 {
            play(&stage.workers);
            said.extend(stage.second(&[9000, 1000, 0, 0]));
        }
        assert_eq!(said.len(), 1, "{said:?}");
        said.remove(0).text
    };
    let host = text(Spread::Source, &|_| ());
    assert!(
        host.starts_with("worker 0 of 4 carries 90 % of 10000 packets a second, more than twice"),
        "{host}"
    );
    assert!(host.contains("a host inside has one worker") && host.contains("spread = \"flow\""), "{host}");
    let flow = text(Spread::Flow, &|_| ());
    assert!(flow.contains("a flow has one worker") && !flow.contains("spread = "), "{flow}");
    let one_queue = text(Spread::Source, &|workers| {
        workers[0].handoffs[HandoffCause::Flow as usize].add(6_000);
        workers[3].taken_over.add(6_000);
    });
    assert!(one_queue.contains("it only receives or sends for others"), "{one_queue}");
    let one_sender = text(Spread::Source, &|workers| {
        workers[3].handoffs[HandoffCause::Transmit as usize].add(30_000);
        workers[0].taken_over.add(30_000);
    });
    assert!(one_sender.contains("it only receives or sends for others"), "{one_sender}");
}

#[test]
fn without_choices_workers_hand_packets_over_unless_there_is_one() {
    let config = config::parse(CONFIG, "test").unwrap().config;
    let snapshot = compile(&config, &[MacAddr::default(); 2], 7, 1);
    for (workers, plan) in [(1, Plan::Single), (3, Plan::C)] {
        let status = SteeringWatch::new(&snapshot, workers, &[]).status();
        assert!(status.interfaces.iter().all(|interface| interface.plan() == plan), "{status:?}");
    }
}

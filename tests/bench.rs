//! `natgate bench` against a real gateway in the same process: threads, rings, real time. Nothing here asserts a speed.
//!
//! What a gateway that does wrong looks like is tested with a clock that the test turns, in `bench::trials`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use natgate::bench::addresses::Addresses;
use natgate::bench::gateway::{InProcess, Networks};
use natgate::bench::generator::{Generator, Wall};
use natgate::bench::port::{Gateway, Identity, Port};
use natgate::bench::report::{Direction, Frame, Row, Trial, Verdict};
use natgate::bench::trials::{Bench, Settings};
use natgate::bench::{BenchError, Expect};
use natgate::device::Device;
use natgate::device::fault::{Fault, FaultPlan, Faults};
use natgate::ids::MacAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

const SESSIONS: u32 = 2000;

fn networks() -> Networks {
    Networks {
        inside: "10.0.0.2/24".parse().unwrap(),
        inside_gateway: Ipv4Addr::new(10, 0, 0, 1),
        outside: "203.0.113.1/24".parse().unwrap(),
        outside_gateway: Ipv4Addr::new(203, 0, 113, 2),
        clients: "10.1.0.0/16".parse().unwrap(),
    }
}

fn settings(trials: &[Trial]) -> Settings {
    Settings {
        trials: trials.to_vec(),
        sessions: vec![1, 500],
        frames: vec![Frame::Bytes(64), Frame::Imix],
        direction: Direction::Both,
        duration: Duration::from_millis(50),
        // A machine that is busy with other tests may lose any number.
        tolerance_ppm: 1_000_000,
        max_rate: Some(20_000),
        rate: Some(10_000),
        capacity: 2 * SESSIONS,
    }
}

/// A generator between these devices.
fn generator<D: Device>([inside, outside]: [D; 2]) -> Generator<D, Wall> {
    let net = networks();
    let servers = "198.18.0.0/15".parse().unwrap();
    let who = |side, address, hosts| Identity { mac: MacAddr([2, 0, 0, 0, 0, side]), address, hosts };
    let ports = [
        Port::new(inside, who(1, net.inside.addr(), net.clients), Gateway::Ask(net.inside_gateway)),
        Port::new(outside, who(2, net.outside.addr(), servers), Gateway::Ask(net.outside_gateway)),
    ];
    let addresses = Addresses::new(net.clients, servers);
    Generator::new(ports, Wall::default(), (addresses, Expect::Translated))
}

/// All these trials; the devices are between generator and gateway.
fn measure<D: Device>(
    settings: Settings,
    wrap: impl Fn(natgate::bench::ring::RingDevice) -> D,
) -> (Vec<Row>, Result<(), BenchError>) {
    let (gateway, devices) = InProcess::start(&networks(), SESSIONS).unwrap();
    let mut progress = |_: &str| {};
    let clear = || gateway.clear();
    let mut bench = Bench::new(generator(devices.map(wrap)), settings, Some(Box::new(clear)), &mut progress);
    let outcome = bench.run();
    let rows = std::mem::take(&mut bench.rows);
    drop(bench);
    gateway.stop().unwrap();
    (rows, outcome)
}

#[test]
fn every_trial_passes_on_the_gateway_and_its_capacity_is_nearly_that_of_its_table() {
    let trials = [
        Trial::Validate,
        Trial::Throughput,
        Trial::Latency,
        Trial::Teardown,
        Trial::Establish,
        Trial::Capacity,
    ];
    let (rows, outcome) = measure(settings(&trials), |device| device);
    outcome.unwrap();
    for trial in trials {
        let mine: Vec<&Row> = rows.iter().filter(|row| row.trial == trial).collect();
        assert!(!mine.is_empty(), "{trial:?}");
        // How fast new sessions come, and how fast frames can be sent, depends on the machine.
        if !matches!(trial, Trial::Establish | Trial::Throughput | Trial::Latency) {
            assert!(mine.iter().all(|row| row.verdict == Verdict::Pass), "{mine:?}");
        }
    }
    let capacity = rows.iter().find(|row| row.trial == Trial::Capacity).unwrap();
    // As its table fills up the gateway gives up sessions that nobody has answered: on a busy machine those are more.
    let sessions = u64::from(SESSIONS);
    let held = capacity.measured.runs().median();
    assert!((sessions * 3 / 4..=sessions).contains(&held), "{held} of {sessions}");
}

#[test]
fn a_gateway_behind_a_wire_that_changes_bytes_fails_the_run() {
    let faults = Faults { corrupt: 0.01, ..Faults::NONE };
    let plan = FaultPlan { rx: faults, ..FaultPlan::default() };
    let (_, outcome) =
        measure(settings(&[Trial::Validate, Trial::Throughput]), |device| Fault::new(device, plan, 7));
    let Err(BenchError::Wrong(..)) = outcome else { panic!("{outcome:?}") };
}

#[test]
fn a_gateway_behind_a_wire_that_doubles_packets_fails_the_run() {
    let faults = Faults { duplicate: 0.02, ..Faults::NONE };
    let plan = FaultPlan { rx: faults, ..FaultPlan::default() };
    let (_, outcome) =
        measure(settings(&[Trial::Validate, Trial::Throughput]), |device| Fault::new(device, plan, 7));
    let Err(BenchError::Order { duplicates, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(duplicates > 0);
}

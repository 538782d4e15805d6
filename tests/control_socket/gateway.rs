//! A gateway for the tests of the control socket: counters and neighbours that somebody made up, session tables that
//! are real.

#![allow(unreachable_pub, reason = "a module of a test")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use etherparse::PacketBuilder;
use natgate::classify::{HealthCheck, Patient, ProbeKind};
use natgate::config::compile::compile;
use natgate::conntrack::key::V4Key;
use natgate::conntrack::policy::Policy;
use natgate::conntrack::session::{NewSession, Shape};
use natgate::conntrack::table::Shard;
use natgate::conntrack::tracker::{self, Observed, State};
use natgate::control::publish::{Published, Publisher};
use natgate::control::reload::Reloader;
use natgate::control::reload::history::History;
use natgate::control::running::{DeviceRow, Running};
use natgate::control::server::{Claim, Limits, Places};
use natgate::control::state::{NeighborRow, Started};
use natgate::control::{Client, ControlState, Server};
use natgate::ids::{DeviceId, InterfaceId, MacAddr, Realm, WorkerId};
use natgate::management::commands;
use natgate::management::health::{BackendStatus, Failure, Vitals};
use natgate::management::session_feed::{SessionFeed, Told};
use natgate::management::steering::{InterfaceSteering, SteeringStatus};
use natgate::packet::Tuple;
use natgate::pipeline::session_events::{Change, End, SessionEvent};
use natgate::steering::Spread;
use natgate::steering::plan::{Choice, Plan, ProofState};
use natgate::telemetry::samples::{Dropped, Place, Sampler};
use natgate::telemetry::{DropReason, Eviction, HandoffCause, WorkerCounters};
use natgate::time::{Tick, Time};
use natgate::wire::checksum::Delta;
use natgate::wire::protocol;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What no test should ever need.
pub const LONG: Duration = Duration::from_secs(20);
pub const NOW: Tick = Tick(1_000);
/// The same moment.
pub const NOW_TIME: Time = Time::from_secs(100);

/// A gateway with two workers that does nothing, and a directory for its socket.
pub struct Gateway {
    pub directory: tempfile::TempDir,
    pub state: Arc<ControlState>,
}

/// A backend that went down five seconds ago.
fn backend() -> BackendStatus {
    let (second, address) = (Duration::from_secs(1), Ipv4Addr::new(10, 0, 0, 80));
    let check =
        HealthCheck { kind: ProbeKind::Tcp(None), interval: second, timeout: second, rise: 2, fall: 3 };
    let since = Time::from_nanos(NOW_TIME.as_nanos() - 5_000_000_000);
    let failure = Some((Failure::Refused, since));
    let mut vitals = Vitals::new(since);
    (vitals.up, vitals.failure, vitals.changes, vitals.asked, vitals.failed) = (false, failure, 1, 40, 3);
    BackendStatus { patient: Patient::new(0, address, 80, check), vitals }
}

impl Gateway {
    /// With this many UDP sessions on each worker, and one ping on the second.
    pub fn new(sessions: u16) -> Gateway {
        let workers: Vec<Arc<WorkerCounters>> = (0..2).map(|_| Arc::default()).collect();
        let mut views = Vec::new();
        for (worker, subnet) in workers.iter().zip(1u8..) {
            let (mut shard, view) = Shard::new(u32::from(sessions) + 8, 7);
            for n in 0..sessions {
                let [high, low] = n.to_be_bytes();
                let inside = Ipv4Addr::new(10, subnet, high, low);
                shard.insert(udp(inside, n.wrapping_add(1_024))).unwrap();
            }
            if subnet == 2 {
                shard.insert(ping()).unwrap();
            }
            worker.sessions.set(shard.len().into());
            views.push(view);
        }
        count(&workers);
        let published = Publisher::default();
        published.neighbors.publish(vec![NeighborRow {
            interface: InterfaceId(1),
            address: Ipv4Addr::new(203, 0, 113, 1),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 0xfe])),
            state: "reachable",
            updated: Tick(NOW.0 - 75),
        }]);
        published.steering.publish(steering(ProofState::Holds));
        published.backends.publish(vec![backend()]);
        let state = ControlState {
            started: Started::now(NOW_TIME),
            version: "0.1.0".into(),
            dpdk_version: None,
            tsc_hz: std::num::NonZeroU64::new(2_600_000_000),
            config_path: "/etc/natgate/natgate.toml".into(),
            workers,
            running: Published::new(running(CONFIG)),
            sessions: views,
            reloads: Published::default(),
            published,
            commands: commands::channel(2).0,
            session_feed: SessionFeed::default(),
            now: Box::new(|| NOW),
        };
        Gateway { directory: tempfile::tempdir().unwrap(), state: Arc::new(state) }
    }

    /// Tells watchers that a session was made and another one evicted; returns how many events that are.
    pub fn tell_of_sessions(&self) -> usize {
        let session = self.state.sessions[1].read(0).unwrap();
        let changes = [Change::New, Change::Destroy(End::Evicted(Eviction::HalfOpen))];
        let feed = self.state.session_feed.sender().unwrap();
        for change in changes {
            let event = SessionEvent { at: NOW_TIME, change, session };
            feed.send(Told::Event(WorkerId(1), event)).unwrap();
        }
        changes.len()
    }

    /// The second worker drops a packet of a session, one for which a rule was chosen, and something without a header.
    pub fn drop_a_packet(&self) {
        self.drop_a_packet_of(0);
    }

    /// The same; the number is that of the rule.
    pub fn drop_a_packet_of(&self, rule: u32) {
        let worker = &self.state.workers[1];
        let mut sampler = Sampler::default();
        sampler.begin_turn(Time::from_nanos(NOW_TIME.as_nanos() + 1_234_567_891));
        let frame = |ttl, sport| {
            let builder =
                PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 5], [198, 51, 100, 7], ttl);
            let mut frame = Vec::new();
            builder.udp(sport, 53).write(&mut frame, &[7; 200]).unwrap();
            frame
        };
        let place = Place::In(InterfaceId(0));
        let (tracked, ruled) = (frame(64, 1000), frame(1, 2000));
        let state = Some(State::UdpStream as u8);
        let tracked = Dropped { frame: &tracked, place, rule: None, state };
        sampler.count(worker, DropReason::FragmentationNeeded, || tracked);
        let ruled = Dropped { frame: &ruled, place, rule: Some(rule), state: None };
        sampler.count(worker, DropReason::TtlExpired, || ruled);
        sampler.begin_turn(Time::from_nanos(NOW_TIME.as_nanos() + 2_000_000_000));
        let device = Place::Device(DeviceId(1));
        sampler.count(worker, DropReason::Truncated, || Dropped::at(device, b"short"));
    }

    /// Runs another config on the same devices.
    pub fn run(&self, config: &str) {
        self.state.running.publish(running(config));
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    pub fn start(&self) -> Server {
        self.start_with(Limits::default())
    }

    pub fn start_with(&self, limits: Limits) -> Server {
        // Nobody takes what it would publish.
        let nobody = natgate::management::publish::channel().0;
        let reloader = Reloader::new(Arc::clone(&self.state), nobody, History::default(), CONFIG);
        let claim = Claim::new(Places::private(&self.socket())).unwrap();
        Server::serve(claim, Arc::clone(&self.state), Some(Arc::new(reloader)), limits).unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// A connection on which nothing was said yet.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream
    }

    /// The whole answer to these bytes, from the status line on.
    pub fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may have answered and closed before it took everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_ok() || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
        String::from_utf8(answer).unwrap()
    }
}

/// Plan C inside and B outside, of which the packets say this.
pub fn steering(proof: ProofState) -> SteeringStatus {
    let interface = |plan, how: &str, why_not: &str, proof| InterfaceSteering {
        choice: Choice { plan, how: how.into(), why_not: why_not.into() },
        proof,
    };
    SteeringStatus {
        spread: Spread::Source,
        interfaces: vec![
            interface(Plan::C, "by hand", "it has 1 receive queue for 2 workers", ProofState::Waiting),
            interface(Plan::B, "the NIC hashes whole flows", "", proof),
        ],
        skewed: vec![true, false],
    }
}

/// What it runs.
pub const CONFIG: &str = r#"
[interface.lan]
device = "af_packet:eth1"
realm = "internal"
address = "192.168.1.1/24"

[interface.wan]
device = "af_packet:eth2"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"

[runtime]
workers = 2

[conntrack.timeout_set.dns]
udp = "10s"

[[snat]]
source = "interface"
"#;

fn running(config: &str) -> Running {
    let config = natgate::config::parse(config, "natgate.toml").unwrap().config;
    let device = |n: u8| DeviceRow {
        name: format!("af_packet:eth{n}"),
        driver: "net_af_packet".into(),
        mac: MacAddr([2, 0, 0, 0, 0, n]),
    };
    let devices = vec![device(1), device(2)];
    let macs: Vec<MacAddr> = devices.iter().map(|device| device.mac).collect();
    let snapshot = Arc::new(compile(&config, &macs, 7, 1));
    Running::new(config, snapshot, devices)
}

pub fn session(original: Tuple, reply: Tuple, observed: Observed<'_>, created: Tick) -> NewSession<V4Key> {
    NewSession {
        original: V4Key::new(original, Realm::Internal, 0),
        reply: V4Key::new(reply, Realm::External, 0),
        opening: tracker::open(&observed, &Policy::default(), 0).unwrap(),
        now: created,
        length: 100,
        policy: 0,
        mark: 0,
        protected: false,
        lease: None,
        shape: Shape::default(),
        l3: Delta::default(),
        l4: Delta::default(),
    }
}

pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

fn udp(inside: Ipv4Addr, port: u16) -> NewSession<V4Key> {
    let tuple = |src, dst, sport, dport| Tuple { src, dst, sport, dport, protocol: protocol::UDP };
    // Another server each, so that reply tuples differ however many there are.
    let server = Ipv4Addr::from_bits(SERVER.to_bits() ^ (inside.to_bits() << 8 & 0x0fff_ff00));
    let original = tuple(inside, server, port, 53);
    session(original, tuple(server, OUTSIDE, 53, port), Observed::Udp, Tick(NOW.0 - 25))
}

fn ping() -> NewSession<V4Key> {
    let tuple = |src, dst, sport, dport| Tuple { src, dst, sport, dport, protocol: protocol::ICMP };
    let original = tuple(Ipv4Addr::new(10, 9, 9, 9), SERVER, 4_711, 8);
    session(original, tuple(SERVER, OUTSIDE, 8, 815), Observed::IcmpRequest, Tick(NOW.0 - 100))
}

/// Counters that add up over both workers, but not on either of them.
fn count(workers: &[Arc<WorkerCounters>]) {
    let [a, b] = workers else { panic!("two workers") };
    a.rx.set(1_000_000);
    a.sent.set(600_000);
    a.handed_off.set(390_000);
    a.polls.set(4_000);
    a.busy_polls.set(1_000);
    a.drops[DropReason::NoRoute as usize].set(9_990);
    a.consumed.set(10);
    a.handoffs[HandoffCause::Flow as usize].set(380_000);
    a.handoffs[HandoffCause::Other as usize].set(10_000);
    b.taken_over.set(390_000);
    b.sent.set(389_000);
    b.drops[DropReason::NoRoute as usize].set(5);
    b.drops[DropReason::TtlExpired as usize].set(990);
    b.held.set(5);
    a.interfaces[0].rx_packets.set(1_000_000);
    a.interfaces[0].rx_bytes.set(64_000_000);
    a.interfaces[0].steerable.set(950_000);
    a.interfaces[0].handed_off.set(380_000);
    a.interfaces[1].tx_packets.set(600_000);
    b.interfaces[1].tx_packets.set(389_000);
}

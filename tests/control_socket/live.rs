//! A gateway that really runs, on devices in memory: workers and management core on threads of their own, a control
//! server over them.

#![allow(unreachable_pub, reason = "a module of a test")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that these are for tests only")]

use crate::gateway::LONG;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use natgate::config;
use natgate::control::publish::{Published, Publisher};
use natgate::control::reload::Reloader;
use natgate::control::reload::history::History;
use natgate::control::running::{DeviceRow, Running};
use natgate::control::server::{Claim, Limits, Places};
use natgate::control::state::Started;
use natgate::control::{Client, ControlState, Server};
use natgate::device::mem::{MemDevice, MemWire};
use natgate::device::mem_nic::{Habit, MemNic};
use natgate::device::membuf::{MemBuf, MemPool};
use natgate::ids::MacAddr;
use natgate::management::Management;
use natgate::packet::PacketBuf;
use natgate::runtime::Gateway;
use natgate::steering::plan::{Candidate, choose};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
[runtime]
poll = "adaptive"
[interface.lan]
device = "vdev:mem0"
realm = "internal"
address = "10.0.0.1/16"
[interface.wan]
device = "vdev:mem1"
realm = "external"
address = "203.0.113.2/24"
gateway = "203.0.113.1"
[[snat]]
out = "wan"
source = "interface"
[conntrack]
"#;

const LAN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const WAN: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xaa]);

/// The gateway, and the wires around it.
pub struct Live {
    directory: tempfile::TempDir,
    pub state: Arc<ControlState>,
    gateway: Option<Gateway<MemDevice>>,
    server: Option<Server>,
    pub reloader: Arc<Reloader>,
    lan: MemWire,
    wan: MemWire,
    /// Inside, outside; without them frames come to one queue after the other, and nobody answers.
    nics: Option<[MemNic; 2]>,
}

impl Live {
    /// Two workers, no sessions, a router outside that is known.
    pub fn start() -> Live {
        Live::with(2, 20_000)
    }

    /// The same with this many workers, and room for this many sessions.
    pub fn with(workers: usize, max_sessions: u32) -> Live {
        Live::on(workers, max_sessions, None, Limits::default())
    }

    /// Two workers, and other limits for clients.
    pub fn limited(limits: Limits) -> Live {
        Live::on(2, 20_000, None, limits)
    }

    /// With NICs that spread frames over the queues, the first one inside, and a server outside that answers.
    pub fn on_nics(workers: u16, habits: [Habit; 2]) -> Live {
        let nics = habits.map(|habit| MemNic::new(habit, workers, 128));
        Live::on(workers.into(), 20_000, Some(nics), Limits::default())
    }

    fn on(workers: usize, max_sessions: u32, mut nics: Option<[MemNic; 2]>, limits: Limits) -> Live {
        let directory = tempfile::tempdir().unwrap();
        let config_path = directory.path().join("live.toml");
        let mut text = config_text(workers, max_sessions);
        if nics.is_some() {
            // Ports of mappings are by the port alone, which these NICs do not know without rules for ports.
            let by_flow = "\"address-and-port-dependent\"";
            text += &format!("\n[masquerade]\nmapping = {by_flow}\nfiltering = {by_flow}\n");
        }
        std::fs::write(&config_path, &text).unwrap();
        let config = config::parse(&text, "live.toml").unwrap().config;
        let pool = MemPool::new(16_384, 2048);
        let (lan, lan_handles) = MemWire::new(&pool, workers, workers, workers);
        let (wan, wan_handles) = MemWire::new(&pool, workers, workers, workers);
        let handles = lan_handles.into_iter().zip(wan_handles).map(|(lan, wan)| vec![lan, wan]).collect();
        let setup = Arc::new(|_| Box::new(()) as Box<dyn std::any::Any>);
        let published = Publisher::default();
        let mut publisher = published.clone();
        let watch = move |management: &mut Management, now| publisher.look(management, now);
        let needs = config::compile::needs(&config, 1);
        let (steering, choices) = match &mut nics {
            None => (needs.steering(), Vec::new()),
            Some([lan, wan]) => choose(
                needs,
                &mut [
                    Candidate { nic: lan, internal: true, external: false },
                    Candidate { nic: wan, internal: false, external: true },
                ],
            ),
        };
        let steering = (steering, &choices[..]);
        let gateway = Gateway::start(&config, steering, handles, &[LAN, WAN], setup, watch).unwrap();
        let clock = gateway.clock;
        let state = Arc::new(ControlState {
            started: Started::now(clock.now()),
            version: "0.1.0".into(),
            dpdk_version: None,
            tsc_hz: None,
            config_path: config_path.clone(),
            workers: gateway.counters.clone(),
            running: Published::new(Running::new(config.clone(), gateway.snapshot.clone(), devices())),
            sessions: gateway.sessions.clone(),
            reloads: Published::default(),
            published,
            commands: gateway.commands.clone(),
            session_feed: gateway.session_feed.clone(),
            now: Box::new(move || clock.now().tick()),
        });
        let history = History::load(&directory.path().join("state"), &config_path).unwrap();
        let reloader = Reloader::new(Arc::clone(&state), gateway.publications.clone(), history, &text);
        let reloader = Arc::new(reloader);
        let socket = directory.path().join("control.sock");
        let claim = Claim::new(Places::private(&socket)).unwrap();
        let server = Server::serve(claim, Arc::clone(&state), Some(Arc::clone(&reloader)), limits).unwrap();
        let live =
            Live { directory, state, gateway: Some(gateway), server: Some(server), reloader, lan, wan, nics };
        live.introduce_the_router();
        live
    }

    /// The router asks for us, so that no packet has to wait for it.
    fn introduce_the_router(&self) {
        let (us, router) = ([203, 0, 113, 2], [203, 0, 113, 1]);
        let (hardware, operation) = (ArpHardwareId::ETHERNET, ArpOperation::REQUEST);
        let arp =
            ArpPacket::new(hardware, EtherType::IPV4, operation, &ROUTER.0, &router, &[0; 6], &us).unwrap();
        let head = [&[0xff; 6][..], &ROUTER.0, &[8, 6]].concat();
        assert!(self.wan.push(0, &[head, arp.to_bytes().to_vec()].concat()));
        self.wait("the router is answered", || self.wan.pop().is_some_and(|frame| answers_arp(&frame)));
    }

    /// Opens a UDP session from each of these ports of 10.0.0.`host`, and waits for all of them. Until both workers
    /// know the router some datagrams find no room to wait for it: what is not there yet is sent again.
    pub fn open(&self, host: u8, ports: Range<u16>) {
        let sessions = || self.state.workers.iter().map(|worker| worker.sessions.get()).sum::<u64>();
        let wanted = sessions() + ports.len() as u64;
        let begun = Instant::now();
        while sessions() < wanted {
            assert!(begun.elapsed() < LONG, "{} of {wanted} sessions are open", sessions());
            self.ask(host, ports.clone());
            let sent = Instant::now();
            while sessions() < wanted && sent.elapsed() < Duration::from_millis(100) {
                self.answer();
                thread::sleep(Duration::from_micros(100));
            }
        }
        assert_eq!(sessions(), wanted);
    }

    /// Sends a datagram from each of these ports of 10.0.0.`host` to 198.51.100.`host`, port 53.
    pub fn ask(&self, host: u8, ports: Range<u16>) {
        for (port, queue) in ports.zip((0..self.lan.rx_queues()).cycle()) {
            let builder = PacketBuilder::ethernet2(HOST.0, LAN.0)
                .ipv4([10, 0, 0, host], [198, 51, 100, host], 64)
                .udp(port, 53);
            let mut frame = Vec::new();
            builder.write(&mut frame, b"question").unwrap();
            let queue = self.nics.as_ref().map_or(queue, |[lan, _]| lan.queue_of(&frame));
            self.wait("there is room on the wire", || self.lan.push(queue, &frame));
        }
    }

    /// Takes what left, and if there is a server has it answer: the same datagram with its endpoints swapped, which
    /// changes no checksum.
    pub fn answer(&self) {
        while let Some(question) = self.wan.pop() {
            let Some([_, wan]) = &self.nics else { continue };
            let mut frame = question.data().to_vec();
            if frame[12..14] != [8, 0] {
                continue;
            }
            for (one, two, len) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
                (0..len).for_each(|n| frame.swap(one + n, two + n));
            }
            self.wait("there is room on the wire", || self.wan.push(wan.queue_of(&frame), &frame));
        }
    }

    pub fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < LONG, "waited in vain: {what}");
            thread::sleep(Duration::from_micros(100));
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
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

    /// A directory for what a test needs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file that the gateway was started with.
    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("live.toml")
    }

    /// Where it keeps the revisions.
    pub fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Runs `natgate sessions …` against this gateway.
    pub fn sessions(&self, args: &[&str]) -> Output {
        self.natgate(&[&["sessions"], args].concat())
    }

    /// Runs a command of the client against this gateway.
    pub fn natgate(&self, args: &[&str]) -> Output {
        let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
        natgate.args(args).arg("--socket").arg(self.socket());
        natgate.stdin(std::process::Stdio::null()).output().unwrap()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        drop(self.server.take());
        if let Some(gateway) = self.gateway.take() {
            let ended = gateway.stop();
            assert!(thread::panicking() || ended.is_ok());
        }
    }
}

/// The config of a gateway with this many workers and room for this many sessions; more can be appended.
pub fn config_text(workers: usize, max_sessions: u32) -> String {
    let text = CONFIG.replacen("[runtime]", &format!("[runtime]\nworkers = {workers}"), 1);
    format!("{text}max_sessions = {max_sessions}\n")
}

fn devices() -> Vec<DeviceRow> {
    let device =
        |(n, mac): (usize, MacAddr)| DeviceRow { name: format!("vdev:mem{n}"), driver: "memory".into(), mac };
    [LAN, WAN].into_iter().enumerate().map(device).collect()
}

fn answers_arp(frame: &MemBuf) -> bool {
    frame.data().get(..6) == Some(&ROUTER.0) && frame.data().get(12..14) == Some(&[8, 6])
}

//! natgate's own device on DPDK: frames go round through virtual devices and real kernel interfaces, and every one
//! comes back to the pool.
//!
//! DPDK starts once in a process, so each test runs in a child process of its own; those with kernel interfaces in
//! a network namespace that ends with the child. They need root and say so when they are skipped.
#![cfg(feature = "dpdk")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod steering;

use natgate::device::dpdk::{DeviceOptions, Dpdk, DpdkError, DpdkOptions, DpdkQueue, Mbuf, Started};
use natgate::device::{Burst, Device};
use natgate::ids::{DeviceId, MacAddr};
use natgate::packet::PacketBuf;
use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

const CHILD: &str = "NATGATE_TEST_CHILD";
const FRAMES: u32 = 16_384;

/// Runs `body` in a child process, with `prefix` in front of its command line. `name` is that of the test that calls this,
/// with its module.
fn in_child(name: &str, prefix: &[&str], body: fn()) {
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let exe = env::current_exe().unwrap();
    let mut words = prefix.iter().map(std::ffi::OsStr::new).chain([exe.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args([name, "--exact", "--nocapture"]).env(CHILD, "1");
    let output = command.output().unwrap();
    // With another name the child would run no test, which is a success too.
    let passed = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(
        output.status.success() && passed,
        "{name} in its own process: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The same in a network namespace of its own.
fn in_namespace(name: &str, body: fn()) {
    in_namespace_with(name, &[], body);
}

/// The same with further words in front of the command line.
fn in_namespace_with(name: &str, prefix: &[&str], body: fn()) {
    if env::var_os(CHILD).is_none() && !is_root() {
        eprintln!("skipped {name}: network namespaces need root");
        return;
    }
    in_child(name, &[&["unshare", "--net"], prefix].concat(), body);
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

fn ip(line: &str) {
    let status = Command::new("ip").args(line.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {line}");
}

/// A veth pair `left` and `right`, both up.
fn veth(queues: usize) {
    let q = format!("numtxqueues {queues} numrxqueues {queues}");
    ip(&format!("link add left {q} type veth peer name right {q}"));
    for name in ["left", "right"] {
        let silent =
            Command::new("sysctl").args(["-qw", &format!("net.ipv6.conf.{name}.disable_ipv6=1")]).status();
        assert!(silent.is_ok());
        ip(&format!("link set {name} up"));
    }
}

fn options(specs: &[&str]) -> Vec<DeviceOptions> {
    specs.iter().map(|spec| DeviceOptions { spec: spec.parse().unwrap(), mac: None, mtu: 1500 }).collect()
}

fn start(devices: &[DeviceOptions], workers: usize) -> Result<Started, DpdkError> {
    Dpdk::start(&DpdkOptions {
        devices,
        workers,
        frames: FRAMES,
        held_per_worker: 768,
        memory_mib: None,
        eal_args: &[],
    })
}

/// An Ethernet frame with this type and payload, broadcast, at least 60 bytes long.
fn frame(queue: &mut DpdkQueue, ethertype: u16, payload: &[u8]) -> Mbuf {
    let mut bytes = vec![0xff; 6];
    bytes.extend([2, 0, 0, 0, 0, 1]);
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().max(60), 0);
    let mut buf = queue.alloc().unwrap();
    buf.grow_back(bytes.len()).unwrap();
    buf.data_mut().copy_from_slice(&bytes);
    buf
}

/// Sends all `frames`, polling while the queue is full.
fn send(queue: &mut DpdkQueue, frames: &mut Burst<Mbuf>) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !frames.is_empty() {
        queue.tx_burst(frames);
        assert!(Instant::now() < deadline, "the device takes no frame");
    }
}

/// Polls one device on all workers until `count` frames came.
fn receive(queues: &mut [Vec<DpdkQueue>], device: usize, count: usize) -> Vec<Mbuf> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut received = Vec::new();
    while received.len() < count && Instant::now() < deadline {
        for worker in queues.iter_mut() {
            let mut burst = Burst::new();
            worker[device].rx_burst(&mut burst);
            received.extend(burst);
        }
    }
    assert_eq!(received.len(), count, "frames received");
    received
}

/// Sends `count` numbered frames from one device and expects each once at the other.
fn cross(queues: &mut [Vec<DpdkQueue>], from: usize, to: usize, count: u32) {
    let mut seen = vec![false; count as usize];
    for first in (0..count).step_by(16) {
        let numbers = first..count.min(first + 16);
        let senders = queues.iter().filter(|worker| worker[from].transmits()).count();
        let sender = &mut queues[first as usize / 16 % senders][from];
        let mut burst: Burst<Mbuf> =
            numbers.clone().map(|number| frame(sender, 0x88b5, &number.to_be_bytes())).collect();
        send(sender, &mut burst);
        for buf in receive(queues, to, numbers.len()) {
            let number = u32::from_be_bytes(buf.data()[14..18].try_into().unwrap());
            assert!(!std::mem::replace(&mut seen[number as usize], true), "frame {number} came twice");
        }
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn frames_go_round_through_rings_and_all_come_back() {
    in_child("frames_go_round_through_rings_and_all_come_back", &[], || {
        let before = core_affinity();
        let devices = options(&["vdev:net_ring0", "vdev:net_null0"]);
        let Started { dpdk, mut queues, devices } = start(&devices, 3).unwrap();
        assert_eq!(core_affinity(), before, "the starting thread keeps its CPUs");
        assert_eq!(devices[0].driver, "net_ring");
        assert!(devices[0].link.up);
        // A ring has fewer queues than there are workers: the last ones only compute.
        assert!(queues[0][0].receives() && queues[0][0].transmits());

        cross(&mut queues, 0, 0, 500);
        // What is left in a ring comes back when it closes.
        let sender = &mut queues[0][0];
        let mut burst: Burst<Mbuf> = (0..32).map(|_| frame(sender, 0x88b5, &[])).collect();
        send(sender, &mut burst);
        // A sink takes everything.
        let sink = &mut queues[0][1];
        let mut burst: Burst<Mbuf> = (0..32).map(|_| frame(sink, 0x88b5, &[])).collect();
        send(sink, &mut burst);
        assert_eq!(dpdk.stats(DeviceId(0)).unwrap().tx_packets, 532);
        assert_eq!(dpdk.stats(DeviceId(2)), None);

        let dir = format!("/var/run/dpdk/natgate-{}", std::process::id());
        assert!(!std::path::Path::new(&dir).exists(), "{dir} would be left behind by a crash");
        drop(queues);
        assert_eq!(dpdk.stop(), Ok(0));
        assert_eq!(start(&options(&["vdev:net_null1"]), 1).unwrap_err(), DpdkError::AlreadyStarted);
    });
}

/// The CPUs that this thread may use.
fn core_affinity() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap().to_owned()
}

#[test]
fn a_frame_grows_and_shrinks_within_its_buffer() {
    in_child("a_frame_grows_and_shrinks_within_its_buffer", &[], || {
        let Started { dpdk, mut queues, .. } = start(&options(&["vdev:net_null0"]), 1).unwrap();
        let queue = &mut queues[0][0];
        let mut buf = queue.alloc().unwrap();
        assert_eq!(buf.data().len(), 0);
        buf.grow_back(100).unwrap();
        buf.data_mut().copy_from_slice(&[7; 100]);
        buf.grow_front(4).unwrap();
        buf.data_mut()[..4].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(&buf.data()[..6], &[1, 2, 3, 4, 7, 7]);
        buf.shrink_front(3);
        buf.truncate(3);
        assert_eq!(buf.data(), &[4, 7, 7]);
        buf.truncate(90);
        assert_eq!(buf.data().len(), 3, "truncating never grows");
        assert!(buf.grow_back(4096).is_err() && buf.grow_back(70_000).is_err());
        assert!(buf.grow_front(200).is_err(), "the headroom ends");
        buf.shrink_front(1000);
        assert_eq!(buf.data().len(), 0);

        // The pool runs empty without harm.
        let all: Vec<Mbuf> = std::iter::from_fn(|| queue.alloc()).collect();
        assert!(all.len() > FRAMES as usize / 2);
        assert!(queue.alloc().is_none());
        drop((all, buf, queues));
        assert_eq!(dpdk.frames_in_use(), 0);
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn stopping_counts_the_frames_that_are_still_out() {
    in_child("stopping_counts_the_frames_that_are_still_out", &[], || {
        let Started { dpdk, mut queues, .. } = start(&options(&["vdev:net_null0"]), 1).unwrap();
        let buf = frame(&mut queues[0][0], 0x88b5, b"still here");
        drop(queues);
        assert_eq!(dpdk.stop().unwrap_err(), DpdkError::LostFrames(1));
        assert_eq!(&buf.data()[14..24], b"still here", "a frame that is out stays readable");
    });
}

#[test]
fn stopping_with_a_queue_in_use_is_refused() {
    in_child("stopping_with_a_queue_in_use_is_refused", &[], || {
        let Started { dpdk, mut queues, .. } = start(&options(&["vdev:net_ring0"]), 1).unwrap();
        assert_eq!(dpdk.stop().unwrap_err(), DpdkError::InUse(1));
        cross(&mut queues, 0, 0, 32);
    });
}

#[test]
fn registered_threads_use_the_pool_at_the_same_time() {
    in_child("registered_threads_use_the_pool_at_the_same_time", &[], || {
        let Started { dpdk, queues, .. } = start(&options(&["vdev:net_null0"]), 2).unwrap();
        std::thread::scope(|scope| {
            for mut queues in queues {
                let registrar = dpdk.registrar();
                scope.spawn(move || {
                    let _guard = registrar.register_thread().unwrap();
                    for _ in 0..1000 {
                        let held: Vec<Mbuf> = (0..64).filter_map(|_| queues[0].alloc()).collect();
                        assert_eq!(held.len(), 64);
                    }
                });
            }
        });
        assert_eq!(dpdk.frames_in_use(), 0);
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn what_cannot_start_says_why_in_one_sentence() {
    in_child("what_cannot_start_says_why_in_one_sentence", &[], || {
        let devices = options(&["af_packet:ng-nowhere"]);
        let error = start(&devices, 1).unwrap_err().to_string();
        assert!(error.starts_with("af_packet:ng-nowhere: "), "{error}");
        let devices = options(&["ffff:ff:1f.7"]);
        assert_eq!(start(&devices, 1).unwrap_err(), DpdkError::NoPciDevice("ffff:ff:1f.7".into()));
        let devices = options(&["vdev:net_null0"]);
        let tight = DpdkOptions {
            devices: &devices,
            workers: 1,
            frames: FRAMES,
            held_per_worker: 768,
            memory_mib: Some(8),
            eal_args: &[],
        };
        let error = Dpdk::start(&tight).unwrap_err();
        assert!(matches!(error, DpdkError::MemoryLimit { allowed_mib: 8, .. }), "{error}");
        let huge = DpdkOptions { memory_mib: Some(1 << 30), ..tight };
        let error = Dpdk::start(&huge).unwrap_err();
        assert!(matches!(error, DpdkError::Memory { .. }), "{error}");
        // From here on DPDK runs; the first failure leaves nothing that works.
        let few = DpdkOptions { frames: 100, memory_mib: None, ..tight };
        let error = Dpdk::start(&few).unwrap_err();
        assert!(matches!(error, DpdkError::Frames { frames: 100, workers: 1, .. }), "{error}");
    });
}

#[test]
fn a_driver_that_does_not_exist_is_a_named_error() {
    in_child("a_driver_that_does_not_exist_is_a_named_error", &[], || {
        let error = start(&options(&["vdev:net_nonesuch0"]), 1).unwrap_err();
        assert!(
            matches!(&error, DpdkError::Probe { device, .. } if device == "vdev:net_nonesuch0"),
            "{error}"
        );
    });
}

#[test]
fn two_texts_for_one_device_are_refused() {
    in_child("two_texts_for_one_device_are_refused", &[], || {
        let error = start(&options(&["vdev:net_null0", "vdev:net_null0,size=64"]), 1).unwrap_err();
        let (device, other) = ("vdev:net_null0,size=64".to_owned(), "vdev:net_null0".to_owned());
        assert_eq!(error, DpdkError::Same { device, other });
    });
}

#[test]
fn an_argument_that_dpdk_does_not_know_is_an_error() {
    in_child("an_argument_that_dpdk_does_not_know_is_an_error", &[], || {
        let devices = options(&["vdev:net_null0"]);
        let eal_args = ["--no-such-option".to_owned()];
        let error = Dpdk::start(&DpdkOptions {
            devices: &devices,
            workers: 1,
            frames: FRAMES,
            held_per_worker: 768,
            memory_mib: None,
            eal_args: &eal_args,
        });
        let error = error.unwrap_err();
        assert!(matches!(error, DpdkError::Eal(_)), "{error}");
    });
}

#[test]
fn an_argument_that_would_end_the_process_is_an_error() {
    in_child("an_argument_that_would_end_the_process_is_an_error", &[], || {
        let devices = options(&["vdev:net_null0"]);
        let eal_args = ["--help".to_owned()];
        let options = DpdkOptions {
            devices: &devices,
            workers: 1,
            frames: FRAMES,
            held_per_worker: 768,
            memory_mib: None,
            eal_args: &eal_args,
        };
        assert_eq!(Dpdk::start(&options).unwrap_err(), DpdkError::Prints("--help".into()));
    });
}

#[test]
fn af_packet_carries_frames_over_veth_on_every_worker() {
    in_namespace("af_packet_carries_frames_over_veth_on_every_worker", || {
        veth(1);
        let mac = MacAddr([2, 0, 0, 0, 0, 0x99]);
        let mut devices = options(&["af_packet:left", "af_packet:right"]);
        devices[0].mac = Some(mac);
        let Started { dpdk, mut queues, devices } = start(&devices, 2).unwrap();
        assert_eq!((devices[0].rx_queues, devices[0].tx_queues), (2, 2));
        assert_eq!(devices[0].mac, mac);
        assert_ne!(devices[1].mac, MacAddr::default());
        cross(&mut queues, 0, 1, 1000);
        cross(&mut queues, 1, 0, 1000);
        drop(queues);
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn af_packet_leaves_ip_fragments_and_vlan_tags_as_they_came() {
    in_namespace("af_packet_leaves_ip_fragments_and_vlan_tags_as_they_came", || {
        veth(1);
        let Started { dpdk, mut queues, .. } =
            start(&options(&["af_packet:left", "af_packet:right"]), 2).unwrap();
        let sender = &mut queues[0][0];
        let mut burst: Burst<Mbuf> = Burst::new();
        burst.push(frame(sender, 0x0800, &fragment(0, true)));
        burst.push(frame(sender, 0x0800, &fragment(1400, false)));
        let mut tagged = vec![0, 100];
        tagged.extend([0x88, 0xb5, 1, 2, 3]);
        burst.push(frame(sender, 0x8100, &tagged));
        send(sender, &mut burst);
        let received = receive(&mut queues, 1, 3);
        let mut lengths: Vec<usize> = received.iter().map(|buf| buf.data().len()).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, [60, 14 + 20 + 1400, 14 + 20 + 1400]);
        let tagged = received.iter().find(|buf| buf.data()[12..14] == [0x81, 0]).unwrap();
        assert_eq!(&tagged.data()[14..21], &[0, 100, 0x88, 0xb5, 1, 2, 3]);
        drop((received, queues));
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

/// A UDP fragment of 1400 bytes between documentation addresses.
fn fragment(offset: u16, more: bool) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1];
    packet[2..4].copy_from_slice(&1420u16.to_be_bytes());
    packet[6..8].copy_from_slice(&((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
    let checksum = natgate::wire::checksum::checksum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.resize(1420, 0xab);
    packet
}

#[test]
fn kernel_interfaces_stop_merging_received_packets() {
    in_namespace("kernel_interfaces_stop_merging_received_packets", || {
        veth(1);
        let ethtool = |line: &str| {
            let output = Command::new("ethtool").args(line.split_whitespace()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        ethtool("-K left gro on rx-gro-list on");
        let on = "generic-receive-offload: on";
        assert!(ethtool("-k left").contains(on));
        let Started { dpdk, queues, .. } = start(&options(&["af_packet:left"]), 1).unwrap();
        let features = ethtool("-k left");
        assert!(!features.contains(on) && !features.contains("rx-gro-list: on"), "{features}");
        drop(queues);
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn af_packet_carries_jumbo_frames_and_raises_the_mtu() {
    in_namespace("af_packet_carries_jumbo_frames_and_raises_the_mtu", || {
        veth(1);
        let mut devices = options(&["af_packet:left", "af_packet:right"]);
        devices.iter_mut().for_each(|device| device.mtu = 9000);
        let Started { dpdk, mut queues, .. } = start(&devices, 1).unwrap();
        let sender = &mut queues[0][0];
        let mut burst: Burst<Mbuf> = Burst::new();
        burst.push(frame(sender, 0x88b5, &[0x5a; 9000]));
        send(sender, &mut burst);
        let received = receive(&mut queues, 1, 1);
        assert_eq!(received[0].data().len(), 9014);
        assert!(received[0].data()[14..].iter().all(|byte| *byte == 0x5a));
        drop((received, queues));
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn af_xdp_carries_frames_over_veth() {
    in_namespace("af_xdp_carries_frames_over_veth", || {
        veth(1);
        let Started { dpdk, mut queues, devices } =
            start(&options(&["af_xdp:left", "af_packet:right"]), 2).unwrap();
        assert_eq!(devices[0].rx_queues, 1, "a veth pair has one AF_XDP queue");
        assert!(!queues[1][0].receives() && !queues[1][0].transmits());
        cross(&mut queues, 0, 1, 500);
        cross(&mut queues, 1, 0, 500);
        drop(queues);
        // This driver keeps what it prepared for reception; none of them is one of ours.
        assert!(dpdk.stop().is_ok());
    });
}

#[test]
fn af_xdp_carries_frames_between_two_devices_of_one_pool() {
    in_namespace("af_xdp_carries_frames_between_two_devices_of_one_pool", || {
        veth(1);
        let Started { dpdk, mut queues, .. } = start(&options(&["af_xdp:left", "af_xdp:right"]), 1).unwrap();
        cross(&mut queues, 0, 1, 3000);
        cross(&mut queues, 1, 0, 3000);
        drop(queues);
        assert!(dpdk.stop().is_ok());
    });
}

#[test]
fn af_xdp_receives_frames_of_the_largest_mtu_that_it_allows() {
    in_namespace("af_xdp_receives_frames_of_the_largest_mtu_that_it_allows", || {
        veth(1);
        let mut devices = options(&["af_xdp:left", "af_xdp:right"]);
        devices[1].mtu = 2795;
        let error = start(&devices, 1).unwrap_err();
        assert!(matches!(error, DpdkError::JumboAfXdp { mtu: 2795, most: 2794, .. }), "{error}");
        devices.iter_mut().for_each(|device| device.mtu = 2794);
        let Started { dpdk, mut queues, .. } = start(&devices, 1).unwrap();
        let sender = &mut queues[0][0];
        let mut burst: Burst<Mbuf> = Burst::new();
        burst.push(frame(sender, 0x88b5, &[0x5a; 2794]));
        send(sender, &mut burst);
        let received = receive(&mut queues, 1, 1);
        assert_eq!(received[0].data().len(), 2808);
        drop((received, queues));
        assert!(dpdk.stop().is_ok());
    });
}

#[test]
fn af_xdp_refuses_an_interface_with_queues_that_nobody_reads() {
    in_namespace("af_xdp_refuses_an_interface_with_queues_that_nobody_reads", || {
        veth(2);
        let error = start(&options(&["af_xdp:left"]), 2).unwrap_err();
        assert!(error.to_string().contains("`ethtool -L left rx 1`"), "{error}");
    });
}

#[test]
fn memory_that_may_not_be_pinned_is_named_before_the_kernel_refuses() {
    let name = "memory_that_may_not_be_pinned_is_named_before_the_kernel_refuses";
    let few = ["setpriv", "--bounding-set=-ipc_lock", "prlimit", "--memlock=8388608:8388608"];
    in_namespace_with(name, &few, || {
        veth(1);
        let error = start(&options(&["af_packet:right", "af_xdp:left"]), 1).unwrap_err();
        assert!(
            matches!(&error, DpdkError::PinnedMemory { device, allowed_mib: 8, .. } if device == "af_xdp:left"),
            "{error}"
        );
        // Each ring fits, and the kernel does not add them up.
        let Started { dpdk, queues, .. } =
            start(&options(&["af_packet:left", "af_packet:right"]), 2).unwrap();
        drop(queues);
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

const SOCKET: &str = "NATGATE_TEST_SOCKET";

#[test]
fn memif_carries_frames_between_two_processes() {
    in_child("memif_carries_frames_between_two_processes", &[], || {
        if let Some(socket) = env::var_os(SOCKET) {
            return memif_echo(&socket.to_string_lossy());
        }
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("memif.sock").display().to_string();
        let Started { dpdk, mut queues, .. } =
            start(&options(&[&format!("memif:{socket},server")]), 1).unwrap();
        let mut peer = Command::new(env::current_exe().unwrap())
            .args(["memif_carries_frames_between_two_processes", "--exact", "--nocapture"])
            .env(SOCKET, &socket)
            .spawn()
            .unwrap();
        wait_for_link(&dpdk);
        cross(&mut queues, 0, 0, 100);
        drop(queues);
        assert_eq!(dpdk.stop(), Ok(0));
        assert!(peer.wait().unwrap().success());
        assert!(!std::path::Path::new(&socket).exists(), "{socket} is left behind");
    });
}

/// The other process: sends back what comes.
fn memif_echo(socket: &str) {
    let Started { dpdk, mut queues, .. } = start(&options(&[&format!("memif:{socket}")]), 1).unwrap();
    wait_for_link(&dpdk);
    let mut echoed = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    while echoed < 100 && Instant::now() < deadline {
        let mut burst = Burst::new();
        queues[0][0].rx_burst(&mut burst);
        echoed += burst.len();
        send(&mut queues[0][0], &mut burst);
    }
    assert_eq!(echoed, 100);
    // The peer fetches the last ones from memory that both share: it ends the connection.
    while dpdk.devices()[0].link.up && Instant::now() < deadline {
        std::thread::yield_now();
    }
    drop(queues);
    assert_eq!(dpdk.stop(), Ok(0));
}

fn wait_for_link(dpdk: &Dpdk) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !dpdk.devices()[0].link.up {
        assert!(Instant::now() < deadline, "the peer does not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_tap_interface_comes_and_goes() {
    in_namespace("a_tap_interface_comes_and_goes", || {
        let Started { dpdk, queues, devices } = start(&options(&["tap:nat0"]), 2).unwrap();
        assert_eq!(devices[0].driver, "net_tap");
        ip("link show nat0");
        drop(queues);
        assert_eq!(dpdk.stop(), Ok(0));
        let gone = Command::new("ip").args(["link", "show", "nat0"]).output().unwrap();
        assert!(!gone.status.success(), "nat0 is left behind");
    });
}

//! Devices that lose, repeat, reorder and damage frames, under thousands of random packets: nothing panics, every
//! packet has its verdict, and nothing leaves with a wrong checksum that was not damaged.

use crate::harness::{Net, Shape, host_mac};
use crate::packet::{Line, sums_are_right};
use crate::shape::FEW;
use crate::translation::forwards;
use natgate::device::fault::{Fault, FaultPlan, Faults};
use natgate::device::mem::MemDevice;
use std::net::Ipv4Addr;
use std::time::Duration;

const PACKETS: usize = 6000;

/// SplitMix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// A packet of anybody to anybody, mostly sensible.
pub(crate) fn anything(dice: &mut Dice, inside: bool) -> String {
    let hosts = ["192.168.1.10", "192.168.1.20", "192.168.1.53", "192.168.1.99"];
    let servers = ["198.51.100.1", "198.51.100.2", "203.0.113.7"];
    let ours = ["203.0.113.2", "203.0.113.9", "192.168.1.1"];
    let (from, to) = match (inside, dice.below(8)) {
        (true, 0) => (dice.one_of(&hosts), dice.one_of(&hosts)),
        (true, 1 | 2) => (dice.one_of(&hosts), dice.one_of(&ours)),
        (true, _) => (dice.one_of(&hosts), dice.one_of(&servers)),
        (false, 0) => (dice.one_of(&hosts), dice.one_of(&ours)),
        (false, 1) => (dice.one_of(&servers), dice.one_of(&hosts)),
        (false, _) => (dice.one_of(&servers), dice.one_of(&ours)),
    };
    let sport = 1024 + dice.below(20);
    let dport = [53, 80, 8080, 30001, 1024 + dice.below(400)][dice.below(5)];
    let ttl = [64, 64, 64, 2, 1, 0][dice.below(6)];
    let len = dice.below(1500);
    let ends = format!("{from}:{sport} > {to}:{dport}");
    let df = if dice.below(4) == 0 { " df" } else { "" };
    match dice.below(13) {
        0..=3 => format!("udp {ends} ttl={ttl} len={len}{df}"),
        4 | 5 => {
            let flags = dice.one_of(&["S", "SA", "A", "AP", "AF", "R", "SF"]);
            format!("tcp {ends} {flags} ttl={ttl} len={len}{df}")
        }
        6 => format!("icmp echo {from} > {to} id={} seq=1 len={len}", dice.below(8)),
        7 => format!("icmp 3/3 {from} > {to} [udp {to}:{dport} > {from}:{sport} len={}]", len / 2),
        8 => {
            let (a, b) = [(0, 800), (800, 1600), (1600, 2008)][dice.below(3)];
            format!("udp {ends} len=2000 ipid={} part={a}-{b}", dice.below(4))
        }
        9 | 10 => {
            let chunks =
                ["INIT", "INIT", "INIT_ACK", "COOKIE_ECHO", "DATA", "HEARTBEAT", "SHUTDOWN_ACK", "ABORT/T"];
            let (chunk, tag) = (dice.one_of(&chunks), dice.below(3));
            format!("sctp {ends} {chunk} tag={tag} itag={} ttl={ttl} len={len}", 1 + dice.below(3))
        }
        11 => match dice.below(4) {
            0 => format!(
                "dccp {ends} {} ttl={ttl} len={len}",
                dice.one_of(&["Request", "Response", "Data", "Reset"])
            ),
            1 => format!("udplite {ends} cover=8 len={len}"),
            2 => format!("gre {from} > {to} len={len}"),
            _ => format!("proto 50 {from} > {to} len={len}"),
        },
        // None whose checksum would have to be right.
        _ => format!("ip{} {from} > {to} len={len}", 34 + dice.below(98)),
    }
}

/// The packet that answers a packet that came out.
pub(crate) fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    if packet[0] != 0x45 || word(6) & 0x3fff != 0 {
        return None;
    }
    let (src, dst) = (address(12), address(16));
    let line = match packet[9] {
        17 => format!("udp {dst}:{} > {src}:{}", word(22), word(20)),
        6 => format!("tcp {dst}:{} > {src}:{} A", word(22), word(20)),
        1 if packet[20] == 8 => format!("icmp reply {dst} > {src} id={}", word(24)),
        // To an INIT, whose initiate tag is known, or to data.
        132 if packet[32] == 1 => {
            let tag = u32::from(word(36)) << 16 | u32::from(word(38));
            format!("sctp {dst}:{} > {src}:{} INIT_ACK tag={tag} itag=2", word(22), word(20))
        }
        132 => format!("sctp {dst}:{} > {src}:{} SACK tag=1", word(22), word(20)),
        33 => format!("dccp {dst}:{} > {src}:{} Response", word(22), word(20)),
        136 => format!("udplite {dst}:{} > {src}:{}", word(22), word(20)),
        other @ (47 | 50) => format!("proto {other} {dst} > {src}"),
        _ => return None,
    };
    Some(Line::parse(&line).encode(&Default::default()))
}

/// Plays random packets. Returns what was seen with a wrong checksum.
fn storm(shape: Shape, plan: FaultPlan, seed: u64) -> usize {
    let mut number = seed;
    let mut net: Net<Fault<MemDevice>> = Net::with_devices(&forwards(), shape, |device, _, _| {
        number += 1;
        Fault::new(device, plan, number)
    });
    let mut dice = Dice(seed);
    let (lan, wan) = (net.interface("lan"), net.interface("wan"));
    let (mut wrong, mut forwarded) = (0, 0);
    let mut answers: Vec<(bool, Vec<u8>)> = Vec::new();
    for n in 0..PACKETS {
        let (inside, mut packet) = match answers.pop() {
            Some(waiting) => waiting,
            None => {
                let inside = dice.below(2) == 0;
                (inside, Line::parse(&anything(&mut dice, inside)).encode(&net.bindings))
            }
        };
        if dice.below(50) == 0 {
            packet.truncate(dice.below(packet.len()));
        }
        let interface = if inside { lan } else { wan };
        let from = host_mac(if inside { [192, 168, 1, 10] } else { [203, 0, 113, 1] }.into());
        let to = net.snapshot.interface(interface).mac;
        net.push_on(interface, from, to, false, &packet);
        // Several packets a turn, and now and then a while without any.
        if dice.below(4) == 0 {
            net.run();
        }
        if n % 500 == 499 {
            net.wait(Duration::from_millis(dice.below(4000) as u64));
        }
        for seen in std::mem::take(&mut net.seen) {
            if seen.arp {
                continue;
            }
            forwarded += 1;
            wrong += usize::from(!sums_are_right(&seen.body));
            if dice.below(2) == 0
                && let Some(answer) = answer(&seen.body)
            {
                answers.push((seen.interface == lan, answer));
            }
        }
        if n % 100 == 99 {
            net.run();
            net.assert_balance(&format!("{shape:?}, seed {seed}, packet {n}"));
        }
    }
    net.wait(Duration::from_secs(10));
    net.assert_balance("at rest");
    assert!(forwarded > PACKETS / 4, "{forwarded} came out");
    net.seen.clear();
    net.finish();
    wrong
}

#[test]
fn lost_repeated_and_reordered_frames_do_no_harm() {
    let some = Faults { drop: 0.05, duplicate: 0.05, reorder: 0.1, corrupt: 0.0 };
    let plan = FaultPlan { rx: some, tx: some, partial_tx: 0.2 };
    for shape in FEW {
        for seed in [1, 2] {
            assert_eq!(storm(shape, plan, seed), 0, "{shape:?}, seed {seed}");
        }
    }
}

#[test]
fn damaged_frames_do_no_harm_and_stay_recognisable() {
    let damaged = Faults { drop: 0.01, duplicate: 0.02, reorder: 0.02, corrupt: 0.1 };
    let plan = FaultPlan { rx: damaged, ..FaultPlan::default() };
    for shape in FEW {
        for seed in [3, 4] {
            let wrong = storm(shape, plan, seed);
            assert!(wrong > 0 && wrong < PACKETS / 5, "{wrong} with a wrong checksum");
        }
    }
}

//! What passes through the gateway one packet at a time, in the language of [`crate::packet`]: a line is sent on one wire, and
//! what arrives on the other must be another line, byte for byte, every checksum computed anew.

use crate::guest::Guest;
use crate::packet::{Bindings, Line, describe};
use crate::wire::Wire;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

/// Clients of the UDP test, each with an address of its own: enough that chance leaves no worker out.
const CLIENTS: u8 = 96;
/// A host inside, one outside behind a router, and the gateway's two addresses, as the config has them.
const HOST: &str = "192.168.1.10";
const FAR: &str = "198.51.100.1";
const LAN: &str = "192.168.1.1";
const WAN: &str = "203.0.113.2";
/// Every order of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
/// The Ethernet addresses that `scripts/vm-lab` gives the NICs.
const MACS: [[u8; 6]; 2] = [[0x52, 0x54, 0, 0x4e, 0x47, 1], [0x52, 0x54, 0, 0x4e, 0x47, 2]];

/// A side of the gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Lan,
    Wan,
}

/// The guest and what hangs on it.
pub(crate) struct Lab {
    pub(crate) guest: Guest,
    /// The plans that the interfaces must have, in the order of the config.
    pub(crate) plans: [&'static str; 2],
}

impl Lab {
    fn wire(&mut self, side: Side) -> &mut Wire {
        match side {
            Side::Lan => &mut self.guest.lan,
            Side::Wan => &mut self.guest.wan,
        }
    }

    fn send(&mut self, side: Side, line: &str, variables: &Bindings) {
        let packet = Line::parse(line).encode(variables);
        self.wire(side).send(&packet);
    }

    fn expect(&mut self, side: Side, line: &str, variables: &mut Bindings) {
        let packet = self.wire(side).receive();
        if let Err(why) = Line::parse(line).matches(&packet, variables) {
            panic!("expected {line}\n     got {}\n{why}", describe(&packet));
        }
    }

    /// Sends a line on one side and expects another one on the other side.
    fn pass(&mut self, from: Side, sent: &str, expected: &str, variables: &mut Bindings) {
        self.send(from, sent, variables);
        let to = if from == Side::Lan { Side::Wan } else { Side::Lan };
        self.expect(to, expected, variables);
    }

    /// Packets that each worker received so far.
    fn received(&mut self) -> Vec<u64> {
        let status = self.guest.show("status");
        let workers = status["workers"].as_array().unwrap();
        workers.iter().map(|worker| worker["rx"].as_u64().unwrap()).collect()
    }

    /// Every frame of ours was received, everything that natgate sent arrived, and each has its verdict.
    pub(crate) fn balance(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let status = self.guest.show("status");
            for side in [Side::Lan, Side::Wan] {
                self.wire(side).take_frames();
            }
            let (lan, wan) = (&self.guest.lan, &self.guest.wan);
            let count = |name: &str| status["total"][name].as_u64().unwrap();
            let arrived = (lan.sent(), wan.sent(), lan.received(), wan.received());
            let rest = (status["unaccounted"].as_i64().unwrap(), count("held"), count("generated_lost"));
            if count("rx") == arrived.0 + arrived.1
                && count("sent") + count("generated") == arrived.2 + arrived.3
                && rest == (0, 0, 0)
            {
                break;
            }
            assert!(Instant::now() < deadline, "frames on the wires {arrived:?}, natgate says {status:#}");
            thread::sleep(Duration::from_millis(200));
        }
        for side in [Side::Lan, Side::Wan] {
            self.wire(side).assert_quiet();
        }
        let drops = self.guest.show("drops");
        let reasons = drops["reasons"].as_array().unwrap().iter();
        let seen: Vec<_> = reasons
            .map(|drop| (drop["reason"].as_str().unwrap(), drop["packets"].as_u64().unwrap()))
            .filter(|(_, packets)| *packets > 0)
            .collect();
        assert_eq!(seen, [("ttl_expired", 1)]);
    }

    /// natgate stops on a signal without a complaint, and the NICs go back to the kernel.
    pub(crate) fn stop(&mut self) {
        self.guest.run("kill -TERM $(cat /run/natgate.pid)");
        let ended = "while kill -0 $(cat /run/natgate.pid) 2>/dev/null; do sleep 0.1; done";
        self.guest.run(ended);
        let log = self.guest.run("cat /run/natgate.log");
        assert!(log.contains("stopped"), "natgate did not say that it stopped:\n{log}");
        let complaint = log.lines().find(|line| ["WARN", "ERROR"].iter().any(|word| line.contains(word)));
        assert_eq!(complaint, None, "natgate complained:\n{log}");
        for nic in ["0000:01:00.0", "0000:02:00.0"] {
            let said = self.guest.run(&format!("bind-nic unbind {nic}"));
            assert!(said.contains("is bound to igb"), "{said}");
        }
    }
}

/// The driver is the one of the hardware, and each worker has its queue.
pub(crate) fn queues(lab: &mut Lab) {
    let interfaces = lab.guest.show("interfaces");
    for interface in interfaces.as_array().unwrap() {
        assert_eq!(interface["driver"], "net_e1000_igb", "{interface:#}");
    }
    let log = lab.guest.run("cat /run/natgate.log");
    let queues = format!("rx_queues={n} tx_queues={n}", n = lab.guest.workers);
    assert_eq!(log.matches(&queues).count(), 2, "two devices with {queues} in:\n{log}");
}

/// ARP, both ways on both sides. Whoever asks for the gateway is known to it, so others ask than those who talk.
pub(crate) fn neighbors(lab: &mut Lab) {
    assert_eq!(lab.guest.lan.find_gateway(Ipv4Addr::new(192, 168, 1, 9)), MACS[0]);
    assert_eq!(lab.guest.wan.find_gateway(Ipv4Addr::new(203, 0, 113, 9)), MACS[1]);
    let mut variables = Bindings::default();
    let out = format!("udp {HOST}:999 > {FAR}:53 ttl=64");
    lab.pass(Side::Lan, &out, &format!("udp {WAN}:$p > {FAR}:53 ttl=63"), &mut variables);
    let back = format!("udp {FAR}:53 > {WAN}:$p");
    lab.pass(Side::Wan, &back, &format!("udp {FAR}:53 > {HOST}:999"), &mut variables);
    let asked = [&lab.guest.lan, &lab.guest.wan].map(|wire| wire.asked.clone());
    let expected = [HOST, "203.0.113.1"].map(|address| vec![address.parse::<Ipv4Addr>().unwrap()]);
    assert_eq!(asked, expected, "the gateway asked for its neighbours");
    let known = lab.guest.show("neighbors");
    let known: Vec<_> =
        known.as_array().unwrap().iter().map(|one| one["address"].as_str().unwrap()).collect();
    for address in [HOST, "203.0.113.1"] {
        assert!(known.contains(&address), "{address} is not among {known:?}");
    }
}

pub(crate) fn echo(lab: &mut Lab) {
    for (side, host, gateway) in [(Side::Lan, HOST, LAN), (Side::Wan, "203.0.113.1", WAN)] {
        lab.send(side, &format!("icmp echo {host} > {gateway} id=7 seq=1 len=56"), &Bindings::default());
        let reply = format!("icmp reply {gateway} > {host} id=7 seq=1 len=56");
        lab.expect(side, &reply, &mut Bindings::default());
    }
    for client in 10..18 {
        let mut variables = Bindings::default();
        for len in [0, 56, 1472] {
            let (out, back) = (format!("seq={len} len={len}"), format!("seq={len} len={len}"));
            lab.pass(
                Side::Lan,
                &format!("icmp echo 192.168.1.{client} > {FAR} id=3 {out}"),
                &format!("icmp echo {WAN} > {FAR} id=$p {out}"),
                &mut variables,
            );
            lab.pass(
                Side::Wan,
                &format!("icmp reply {FAR} > {WAN} id=$p {back}"),
                &format!("icmp reply {FAR} > 192.168.1.{client} id=3 {back}"),
                &mut variables,
            );
        }
    }
}

/// Every client out and back, twice: the second time everyone knows everyone's Ethernet address, so that what each worker
/// receives is these packets and nothing else.
pub(crate) fn udp(lab: &mut Lab) {
    let mut clients: Vec<Bindings> = (0..CLIENTS).map(|_| Bindings::default()).collect();
    round_trips(lab, &mut clients);
    let before = lab.received();
    round_trips(lab, &mut clients);
    let shares: Vec<u64> = lab.received().iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!((shares.len(), shares.iter().sum()), (lab.guest.workers, 2 * u64::from(CLIENTS)));
    // A fifth of what is fair is far beyond chance.
    let least = 2 * u64::from(CLIENTS) / shares.len() as u64 / 5;
    assert!(shares.iter().all(|share| *share > least), "the workers received {shares:?}");
    eprintln!("  packets by worker: {shares:?}");
}

/// All at once, so that the workers work at the same time; the length tells which packet is whose.
fn round_trips(lab: &mut Lab, clients: &mut [Bindings]) {
    // Ports and addresses that do not go in step: what one adds to the NIC's hash must not cancel the other out.
    let port = |n: u8| 2000 + 613 * u16::from(n);
    let inner = |n: u8| format!("udp 192.168.1.{}:{} > {FAR}:53 len={n}", 100 + n, port(n));
    let outer = |n: u8| format!("udp {WAN}:$p > {FAR}:53 ttl=63 len={n}");
    let answer = |n: u8| format!("udp {FAR}:53 > {WAN}:$p len={n}");
    let translated = |n: u8| format!("udp {FAR}:53 > 192.168.1.{}:{} ttl=63 len={n}", 100 + n, port(n));
    for (from, to, sent, expected) in [
        (Side::Lan, Side::Wan, &inner as &dyn Fn(u8) -> String, &outer as &dyn Fn(u8) -> String),
        (Side::Wan, Side::Lan, &answer, &translated),
    ] {
        for (n, variables) in (0..).zip(clients.iter()) {
            lab.send(from, &sent(n), variables);
        }
        let mut missing: Vec<u8> = (0..CLIENTS).collect();
        while !missing.is_empty() {
            let packet = lab.wire(to).receive();
            let n = (packet.len() - 28) as u8;
            let line = expected(n);
            let matched = Line::parse(&line).matches(&packet, &mut clients[usize::from(n)]);
            assert_eq!(matched, Ok(()), "expected {line}, got {}", describe(&packet));
            missing.retain(|other| *other != n);
        }
    }
}

/// How long the watch, which looks once a second, may take to see what came.
const PROVING: Duration = Duration::from_secs(10);

/// Each interface has its plan. A and B hold: enough came to prove it.
pub(crate) fn plans(lab: &mut Lab) {
    let deadline = Instant::now() + PROVING;
    let steering = loop {
        let steering = lab.guest.show("steering");
        let is_proving = |interface: &serde_json::Value| interface["state"] == "proving";
        if !steering["interfaces"].as_array().unwrap().iter().any(is_proving) || Instant::now() > deadline {
            break steering;
        }
        thread::sleep(Duration::from_millis(200));
    };
    for (interface, plan) in steering["interfaces"].as_array().unwrap().iter().zip(lab.plans) {
        assert_eq!((&interface["plan"], &interface["chosen"]), (&plan.into(), &plan.into()), "{interface:#}");
        if plan == "C" {
            assert_ne!(interface["why_not"], "", "{interface:#}");
        } else {
            let seen = (&interface["state"], &interface["misplaced"]);
            assert_eq!(seen, (&"holds".into(), &0.into()), "{interface:#}");
        }
    }
}

/// So far there was UDP and TCP of clients inside, without fragments: where plan A or B holds none was handed over, where
/// it is C some were.
pub(crate) fn steering(lab: &mut Lab) {
    plans(lab);
    let steering = lab.guest.show("steering");
    for (interface, plan) in steering["interfaces"].as_array().unwrap().iter().zip(lab.plans) {
        let [packets, handed_off] = ["packets", "handed_off"].map(|name| interface[name].as_u64().unwrap());
        assert!(packets > 2 * u64::from(CLIENTS), "{packets} packets are too few");
        assert_eq!(handed_off > 0, plan == "C", "{interface:#}");
        eprintln!("  plan {plan}: {handed_off} of {packets} packets handed over");
    }
    assert_eq!(steering["handoff_full"], 0, "{steering:#}");
}

/// Frames are longer than their packets: Ethernet's padding is nothing that a checksum counts.
pub(crate) fn padded(lab: &mut Lab) {
    let mut variables = Bindings::default();
    lab.pass(
        Side::Lan,
        &format!("tcp {HOST}:1100 > {FAR}:80 S seq=1"),
        &format!("tcp {WAN}:$p > {FAR}:80 S seq=1"),
        &mut variables,
    );
    let answer = Line::parse(&format!("tcp {FAR}:80 > {WAN}:$p RA ack=2")).encode(&variables);
    let to = lab.wire(Side::Wan).frame(&answer, 0xa5);
    lab.wire(Side::Wan).send_frame(&to);
    lab.expect(Side::Lan, &format!("tcp {FAR}:80 > {HOST}:1100 RA ack=2"), &mut variables);
}

pub(crate) fn forwarded(lab: &mut Lab) {
    for n in 0..16 {
        let (client, len) = (format!("198.51.100.{}:{}", 10 + n, 5000 + n), format!("len={}", n * 40));
        let variables = &mut Bindings::default();
        let backend = "192.168.1.80:80";
        lab.pass(
            Side::Wan,
            &format!("udp {client} > {WAN}:8080 {len}"),
            &format!("udp {client} > {backend} {len}"),
            variables,
        );
        lab.pass(
            Side::Lan,
            &format!("udp {backend} > {client} {len}"),
            &format!("udp {WAN}:8080 > {client} {len}"),
            variables,
        );
    }
}

/// One that comes from outside about a translated packet, and one that natgate makes itself.
pub(crate) fn errors(lab: &mut Lab) {
    for client in 20..28 {
        let mut variables = Bindings::default();
        let inner = format!("udp 192.168.1.{client}:1200 > {FAR}:33434 ttl=5");
        lab.pass(Side::Lan, &inner, &format!("udp {WAN}:$p > {FAR}:33434 ttl=4"), &mut variables);
        lab.pass(
            Side::Wan,
            &format!("icmp 3/3 {FAR} > {WAN} [udp {WAN}:$p > {FAR}:33434 ttl=1]"),
            &format!("icmp 3/3 {FAR} > 192.168.1.{client} [udp 192.168.1.{client}:1200 > {FAR}:33434 ttl=1]"),
            &mut variables,
        );
    }
    let late = format!("udp {HOST}:1201 > {FAR}:33434 ttl=1");
    lab.send(Side::Lan, &late, &Bindings::default());
    lab.expect(Side::Lan, &format!("icmp 11/0 {LAN} > {HOST} df [{late}]"), &mut Bindings::default());
}

pub(crate) fn fragments(lab: &mut Lab) {
    for (n, order) in (1u16..).zip(ORDERS) {
        let host = format!("192.168.1.{}:1300", 30 + n);
        let variables = &mut Bindings::default();
        for (proto, out, out_there, back, back_there) in [
            (
                "udp",
                format!("udp {host} > {FAR}:53"),
                format!("udp {WAN}:$p > {FAR}:53"),
                format!("udp {FAR}:53 > {WAN}:$p"),
                format!("udp {FAR}:53 > {host}"),
            ),
            (
                "icmp",
                format!("icmp echo {HOST} > {FAR} id={n} seq=1"),
                format!("icmp echo {WAN} > {FAR} id=$i seq=1"),
                format!("icmp reply {FAR} > {WAN} id=$i seq=1"),
                format!("icmp reply {FAR} > {HOST} id={n} seq=1"),
            ),
        ] {
            let id = 100 * n + u16::from(proto == "udp");
            datagram(lab, order, Side::Lan, (&out, &out_there), id, variables);
            datagram(lab, order, Side::Wan, (&back, &back_there), id, variables);
        }
        let client = format!("198.51.100.{}:5100", 30 + n);
        let (request, to) = (format!("udp {client} > {WAN}:8080"), format!("udp {client} > 192.168.1.80:80"));
        datagram(lab, order, Side::Wan, (&request, &to), 1000 + n, variables);
        let (answer, to) = (format!("udp 192.168.1.80:80 > {client}"), format!("udp {WAN}:8080 > {client}"));
        datagram(lab, order, Side::Lan, (&answer, &to), 1000 + n, variables);
    }
}

/// A datagram of 3000 bytes in three parts: they leave once the first one was there, none of them altered but for what
/// translation alters, in whatever order. What leaves in the gateway's own name has one identification of its choice.
fn datagram(
    lab: &mut Lab,
    order: [usize; 3],
    from: Side,
    (sent, expected): (&str, &str),
    id: u16,
    variables: &mut Bindings,
) {
    let parts = ["0-1480", "1480-2960", "2960-3008"].map(|part| format!("len=3000 part={part}"));
    let (to, id_there) =
        if from == Side::Lan { (Side::Wan, format!("$id{id}")) } else { (Side::Lan, id.to_string()) };
    for part in order {
        lab.send(from, &format!("{sent} ipid={id} {}", parts[part]), variables);
    }
    let mut packets: Vec<Vec<u8>> = (0..3).map(|_| lab.wire(to).receive()).collect();
    // The first one tells the variables of the line.
    packets.sort_by_key(|packet| u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff);
    for (part, packet) in parts.iter().zip(&packets) {
        let line = format!("{expected} ipid={id_there} {part}");
        let matched = Line::parse(&line).matches(packet, variables);
        assert_eq!(matched, Ok(()), "{order:?}: expected {line}, got {}", describe(packet));
    }
}

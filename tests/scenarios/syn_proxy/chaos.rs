//! Clients and a backend that say whatever comes to their minds, often something that fits: nothing panics, every packet
//! has its verdict, and nothing leaves with a wrong checksum.

use super::proxied;
use super::stage::{Tcp, tcp};
use crate::faults::Dice;
use crate::harness::{Net, Shape, Totals};
use crate::packet::sums_are_right;
use crate::shape::FEW;
use natgate::device::fault::{Fault, FaultPlan, Faults};
use std::time::Duration;

const PACKETS: usize = 4000;
/// Segments that came out and that somebody may still answer.
const REMEMBERED: usize = 64;

/// A segment out of the blue.
fn anything(dice: &mut Dice) -> Tcp {
    let client = format!("198.51.100.{}:{}", 1 + dice.below(4), 5000 + dice.below(100));
    let flags = ["S", "S", "S", "A", "A", "AP", "AF", "R", "RA", "SA"][dice.below(10)];
    let segment = match dice.below(4) {
        0 => tcp("192.168.1.10:80", &client, flags),
        _ => tcp(&client, "203.0.113.2:8080", flags),
    };
    let number = |dice: &mut Dice| [0, 1000, 1001, u32::MAX, dice.below(1 << 32) as u32][dice.below(5)];
    let segment = segment.numbers(number(dice), number(dice), dice.below(1 << 16) as u16);
    let mut segment = segment.len([0, 0, 1, 700][dice.below(4)]);
    decorate(dice, &mut segment);
    segment
}

/// Options that are there or not.
fn decorate(dice: &mut Dice, segment: &mut Tcp) {
    let mut maybe = |of: usize| (dice.below(3) > 0).then(|| dice.below(of));
    segment.timestamps =
        maybe(1 << 32).map(|value| (value as u32, segment.timestamps.map_or(0, |(_, echo)| echo)));
    if segment.flags.contains('S') {
        segment.mss = maybe(1 << 16).map(|mss| mss as u16);
        segment.scale = maybe(15).map(|scale| scale as u8);
        segment.sack_permitted = maybe(2) == Some(1);
    } else if maybe(4) == Some(0) {
        segment.sack = vec![(segment.ack, segment.ack.wrapping_add(700)), (7, 9)];
    }
}

/// What its receiver may say to a segment.
fn answer(dice: &mut Dice, to: &Tcp) -> Tcp {
    let taken = to.len as u32 + u32::from(to.flags.contains(['S', 'F']));
    let flags = match to.flags.as_str() {
        "S" => ["SA", "SA", "SA", "RA", "A", "S"][dice.below(6)],
        _ => ["A", "A", "AP", "AP", "AF", "R"][dice.below(6)],
    };
    let mut answer = tcp("0.0.0.0:0", "0.0.0.0:0", flags);
    (answer.from, answer.to) = (to.to, to.from);
    let sequence = if to.ack == 0 { dice.below(1 << 32) as u32 } else { to.ack };
    // Now and then an offset of one, as a probe has it.
    let sequence = sequence.wrapping_sub((dice.below(10) == 0).into());
    answer = answer.numbers(sequence, to.seq.wrapping_add(taken), dice.below(1 << 16) as u16);
    answer.len = if flags == "AP" { 1 + dice.below(700) } else { 0 };
    answer.timestamps = to.timestamps.map(|(value, _)| (0, value));
    decorate(dice, &mut answer);
    answer
}

/// Plays it; what was counted.
fn storm(shape: Shape, seed: u64) -> Totals {
    let some = Faults { drop: 0.02, duplicate: 0.05, reorder: 0.1, corrupt: 0.0 };
    let plan = FaultPlan { rx: some, tx: some, partial_tx: 0.2 };
    let mut number = seed;
    let mut net = Net::with_devices(&proxied(), shape, |device, _, _| {
        number += 1;
        Fault::new(device, plan, number)
    });
    let mut dice = Dice(seed);
    let (lan, wan) = (net.interface("lan"), net.interface("wan"));
    let mut seen: Vec<Tcp> = Vec::new();
    for n in 0..PACKETS {
        let segment = match seen.len() {
            0 => anything(&mut dice),
            _ if dice.below(4) == 0 => anything(&mut dice),
            len => {
                let to = seen.swap_remove(dice.below(len));
                answer(&mut dice, &to)
            }
        };
        let inside = segment.from.ip().is_private();
        net.send_ipv4(if inside { lan } else { wan }, &segment.encode());
        if dice.below(3) == 0 {
            net.run();
        }
        if n % 400 == 399 {
            net.wait(Duration::from_millis(dice.below(20_000) as u64));
        }
        for out in std::mem::take(&mut net.seen).into_iter().filter(|out| !out.arp) {
            assert!(sums_are_right(&out.body), "{shape:?}, seed {seed}, packet {n}");
            // ICMP errors are nothing to answer.
            if out.body[9] == 6 {
                seen.push(Tcp::decode(&out.body));
            }
        }
        seen.drain(..seen.len().saturating_sub(REMEMBERED));
        if n % 100 == 99 {
            net.run();
            net.assert_balance(&format!("{shape:?}, seed {seed}, packet {n}"));
        }
    }
    net.wait(Duration::from_secs(10));
    net.seen.clear();
    let totals = net.totals();
    net.finish();
    totals
}

#[test]
fn whatever_clients_and_backends_say_does_no_harm() {
    let mut all = Totals::new();
    for (shape, seed) in FEW.into_iter().flat_map(|shape| (1..=3).map(move |seed| (shape, seed))) {
        for (name, n) in storm(shape, seed) {
            *all.entry(name).or_default() += n;
        }
    }
    // That the test has tested something:
    for name in ["cookies", "admitted", "sent", "asked again", "closed", "drop syn_cookie_invalid"] {
        assert!(all[name] > 20, "{name}: {}", all[name]);
    }
}

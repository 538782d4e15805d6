//! The number of workers changes nothing: the same random packets get the same answers in every shape, but for the
//! numbers of external ports and identifiers, which are compared by who got which one first.

use crate::faults::{Dice, answer, anything};
use crate::harness::{Net, SHAPES, Shape};
use crate::packet::{Line, describe, error_about};
use crate::shape::FEW;
use crate::translation::forwards;
use std::collections::HashMap;
use std::time::Duration;

const PACKETS: usize = 3000;
const SEEDS: u64 = 4;

/// External ports and identifiers by the order in which they first appear.
///
/// A port is known together with who is at the other end: several workers may give out the same port to flows with
/// different remote ends, and one worker gives out each once. Never may two flows look alike to a remote end.
#[derive(Default)]
struct Names(HashMap<[String; 4], usize>);

impl Names {
    /// The packet in words, with external ports and identifiers replaced by their names.
    fn rename(&mut self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        let mut out: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        // Workers number the datagrams in fragments that they send.
        let is_part = words.iter().any(|word| word.starts_with("part="));
        out.iter_mut()
            .filter(|word| is_part && word.starts_with("ipid="))
            .for_each(|word| *word = "ipid=?".into());
        // Of the packet, or of the one that it quotes.
        let mut ends = None;
        for (at, word) in words.iter().enumerate() {
            if *word == ">" {
                let protocol = words[..at].iter().rev().find(|word| word.starts_with(starts_protocol));
                let protocol = protocol.map_or("", |word| word.trim_start_matches('['));
                let (from, to) = (words[at - 1], words[at + 1]);
                for (place, end, other) in [(at - 1, from, to), (at + 1, to, from)] {
                    if let Some(address) = given(end) {
                        out[place] = format!("{address}:{}", self.name([protocol, end, other, ""]));
                    }
                }
                ends = Some((from, to));
            } else if let (Some(id), Some((from, to))) = (word.strip_prefix("id="), ends)
                && (OURS.contains(&from) || OURS.contains(&to))
            {
                let [one, other] = if OURS.contains(&from) { [from, to] } else { [to, from] };
                out[at] = format!("id={}", self.name(["icmp", one, other, id]));
            }
        }
        out.join(" ")
    }

    fn name(&mut self, what: [&str; 4]) -> String {
        let next = self.0.len();
        format!("#{}", self.0.entry(what.map(str::to_owned)).or_insert(next))
    }
}

/// Our addresses.
const OURS: [&str; 3] = ["203.0.113.2", "203.0.113.9", "192.168.1.1"];

/// The address of an end of ours whose port is given out. Forwarded ports are nobody's.
fn given(end: &str) -> Option<&str> {
    let (address, port) = end.split_once(':')?;
    (OURS.contains(&address) && !["53", "8080", "30001"].contains(&port)).then_some(address)
}

/// Protocols, and nothing else that comes before the ends of a packet, start with a letter.
fn starts_protocol(first: char) -> bool {
    first == '[' || first.is_ascii_lowercase()
}

/// Sends random packets one by one; returns what became of each.
fn history(shape: Shape, seed: u64) -> Vec<String> {
    // No session ends meanwhile, or the next one with its port would have its name.
    let timeouts = ["closed", "cookie_wait", "cookie_echoed", "heartbeat_sent", "shutdown_ack_sent"]
        .map(|state| format!("sctp_{state} = \"1h\"\n"))
        .concat();
    let config = forwards().replace("max_sessions = 600", "max_sessions = 30000");
    let config = format!("{config}\n[conntrack.timeouts]\ngre = \"1h\"\n{timeouts}");
    let mut net = Net::new(&config, shape);
    let mut dice = Dice(seed);
    let mut names = Names::default();
    let mut waiting: Vec<(bool, Vec<u8>)> = Vec::new();
    let mut history = Vec::new();
    let (lan, wan) = (net.interface("lan"), net.interface("wan"));
    while history.len() < PACKETS {
        let (inside, packet) = match waiting.pop() {
            Some(answer) => answer,
            None => {
                let inside = dice.below(2) == 0;
                let line = anything(&mut dice, inside);
                // What meets a random external port or session by chance is not the same everywhere.
                let ours = ["> 203.0.113.2:1", "> 203.0.113.9:1", "> 192.168.1.1:1", "icmp 3/3"];
                if ours.iter().any(|end| line.contains(end)) {
                    continue;
                }
                (inside, Line::parse(&line).encode(&net.bindings))
            }
        };
        let before = net.totals();
        // What is due at this moment comes first, everywhere.
        net.now = net.now + Duration::from_millis(10);
        net.run();
        net.send_ipv4(if inside { lan } else { wan }, &packet);
        net.run();
        let mut step = vec![names.rename(&format!("{inside} {}", describe(&packet)))];
        for seen in std::mem::take(&mut net.seen).into_iter().filter(|seen| !seen.arp) {
            step.push(names.rename(&format!("{}< {}", seen.interface.0, describe(&seen.body))));
            let reply = if dice.below(5) == 0 { error_about(&seen.body) } else { answer(&seen.body) };
            if let Some(reply) = reply.filter(|_| dice.below(2) == 0) {
                waiting.push((seen.interface == lan, reply));
            }
        }
        for (name, n) in net.totals() {
            let change = n - before.get(&name).copied().unwrap_or_default();
            // ARP is asked once in all, but at a moment that depends on who asks first.
            if change != 0 && name != "made" {
                step.push(format!("{name} {change}"));
            }
        }
        history.push(step.join("\n"));
    }
    net.assert_balance("at rest");
    net.finish();
    history
}

#[test]
fn the_same_packets_have_the_same_fate_with_any_number_of_workers() {
    for seed in 0..SEEDS {
        let one = history(SHAPES[0], seed);
        for fate in [
            "sent",
            "opened",
            "no_session",
            "ttl_expired",
            "icmp_",
            "fragment",
            "3/3",
            "tuple_collision",
            "sctp_",
        ] {
            assert!(one.iter().any(|step| step.contains(fate)), "{fate} does not happen with seed {seed}");
        }
        // The shapes share the seeds among them; one of each plan gets all.
        let some =
            SHAPES.into_iter().enumerate().filter(|(n, _)| *n as u64 % SEEDS == seed).map(|(_, shape)| shape);
        for shape in
            FEW.into_iter().chain(some.filter(|shape| !FEW.contains(shape))).filter(|shape| shape.workers > 1)
        {
            let other = history(shape, seed);
            for (n, (one, other)) in one.iter().zip(&other).enumerate() {
                assert_eq!(one, other, "seed {seed}, packet {n}: {:?} and {shape:?}", SHAPES[0]);
            }
        }
    }
}

//! The language of scripts, and the promise that nothing happens that a script does not declare.
//!
//! After each step every frame that came out and every change of a counter has to have its line, and
//! `rx = sent + consumed + drops + held` has to hold.
//!
//! | line | meaning |
//! |---|---|
//! | `lan> PACKET` | a host on `lan` sends |
//! | `wan< PACKET` | it comes out at `wan`, forwarded |
//! | `lan<+ PACKET` | it comes out at `lan`, made by the gateway |
//! | `lan> arp who A from B [mac=M]`, `lan<+ arp is A to B` | ARP |
//! | `… mac=M` | goes to this Ethernet address, and not to the one that follows from the host's address |
//! | `drop REASON [N]` | N received packets were dropped for it |
//! | `opened [N]`, `closed [N]` | sessions |
//! | `evicted KIND [N]` | of those that were closed, how many had to make room |
//! | `alg EVENT [N]` | what an application level gateway did |
//! | `held +N`, `held -N` | packets that wait for something |
//! | `lost [N]`, `limited [N]` | packets of the gateway's own that it could not, or would not, send |
//! | `wait 301s` | time passes |
//! | `silent A`, `speaks A` | a host stops, or begins again, to answer ARP |
//! | `differ $a $b` | the variables have different values |
//! | `forget $p` | the variable has no value any more |
//!
//! What stands between two lines with `>` (or `wait`) belongs to the first of them; its order does not matter.

use crate::harness::{Net, Seen, Totals, arp, host_mac, read_arp};
use crate::packet::{Bindings, Line, describe};
use etherparse::ArpOperation;
use natgate::device::Device;
use natgate::device::membuf::MemBuf;
use natgate::ids::{InterfaceId, MacAddr};
use natgate::steering::Spread;
use natgate::telemetry::{AlgEvent, DropReason, Eviction};
use std::net::Ipv4Addr;

impl<D: Device<Buf = MemBuf>> Net<D> {
    /// Plays a script.
    pub(crate) fn play(&mut self, script: &str) {
        let mut step = Step::default();
        for (number, line) in script.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            let count = || if rest.is_empty() { 1 } else { rest.parse::<i64>().unwrap() };
            let is_act =
                word.ends_with('>') || matches!(word, "wait" | "silent" | "speaks" | "forget" | "differ");
            if is_act {
                self.settle(&mut step);
                step.line = number + 1;
                step.text = line.to_owned();
            }
            match word {
                "wait" => self.wait(humantime::parse_duration(rest).unwrap()),
                "silent" => drop(self.silent.insert(rest.parse().unwrap())),
                "speaks" => drop(self.silent.remove(&rest.parse().unwrap())),
                "differ" => {
                    let (one, other) = rest.split_once(' ').unwrap();
                    assert_ne!(self.bindings.get(one).unwrap(), self.bindings.get(other).unwrap(), "{rest}");
                }
                "forget" => self.bindings.forget(rest),
                "opened" | "closed" | "lost" | "limited" | "held" => step.expect(word, count()),
                "drop" => {
                    let (reason, n) = rest.split_once(' ').unwrap_or((rest, "1"));
                    assert!(DropReason::from_name(reason).is_some(), "no reason {reason}");
                    step.expect(&format!("drop {reason}"), n.parse().unwrap());
                }
                "alg" => {
                    let (event, n) = rest.split_once(' ').unwrap_or((rest, "1"));
                    assert!(AlgEvent::ALL.iter().any(|known| known.name() == event), "alg {event}?");
                    step.expect(&format!("alg {event}"), n.parse().unwrap());
                }
                "evicted" => {
                    let (kind, n) = rest.split_once(' ').unwrap_or((rest, "1"));
                    assert!(Eviction::ALL.iter().any(|eviction| eviction.name() == kind), "evicted {kind}?");
                    step.expect(&format!("evicted {kind}"), n.parse().unwrap());
                }
                _ => match word.split_once(['<', '>']) {
                    Some((interface, "")) if word.ends_with('>') => self.send(interface, rest),
                    Some((interface, made @ ("" | "+"))) => {
                        step.outputs.push((interface.to_owned(), made == "+", rest.to_owned()));
                    }
                    _ => panic!("line {}: what is {line}?", number + 1),
                },
            }
        }
        self.settle(&mut step);
    }

    /// Sends what a line says.
    fn send(&mut self, interface: &str, what: &str) {
        let interface = self.interface(interface);
        if let Some(message) = what.strip_prefix("arp ") {
            let (body, from, to) = self.arp_of(interface, message);
            self.push_on(interface, from, to, true, &body);
        } else {
            let line = Line::parse(what);
            let mut packet = line.encode(&self.bindings);
            packet.resize(packet.len() + line.padding(), 0xee);
            self.send_ipv4(interface, &packet);
        }
        self.run();
    }

    /// `who A from B [mac=M]`, `is A to B [mac=M]`.
    fn arp_of(&self, interface: InterfaceId, text: &str) -> (Vec<u8>, MacAddr, MacAddr) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (one, other) = (self.bindings.address(words[1]), self.bindings.address(words[3]));
        let given = words.get(4).and_then(|word| word.strip_prefix("mac=")).map(|mac| mac.parse().unwrap());
        let ours = self.snapshot.interface(interface).mac;
        if words[0] == "who" {
            let from = given.unwrap_or(host_mac(other));
            let body = arp(ArpOperation::REQUEST, (from, other), (MacAddr::default(), one));
            (body, from, MacAddr::BROADCAST)
        } else {
            let from = given.unwrap_or(host_mac(one));
            (arp(ArpOperation::REPLY, (from, one), (ours, other)), from, ours)
        }
    }

    /// Compares everything that happened with what was declared for it.
    fn settle(&mut self, step: &mut Step) {
        let step = std::mem::take(step);
        let place = format!("{:?}, line {}: {}", self.shape, step.line, step.text);
        let mut seen = std::mem::take(&mut self.seen);
        let (mut sent, mut made) = (0, self.arp_answered);
        self.arp_answered = 0;
        for (interface, by_gateway, what) in &step.outputs {
            let wanted = self.interface(interface);
            let mut reasons = Vec::new();
            let found = (0..seen.len()).find(|at| {
                let mut bindings = self.bindings.clone();
                let verdict = if seen[*at].interface == wanted {
                    self.compare(&seen[*at], *by_gateway, what, &mut bindings)
                } else {
                    Err("on another interface".into())
                };
                match verdict {
                    Ok(()) => {
                        self.bindings = bindings;
                        true
                    }
                    Err(why) => {
                        reasons.push(format!("{}: {why}", self.words(&seen[*at])));
                        false
                    }
                }
            });
            match found {
                Some(at) => drop(seen.remove(at)),
                None => panic!(
                    "{place}\nmissing: {interface}< {what}\nseen: {reasons:#?}\n{:?}",
                    changes(&self.before, &self.totals())
                ),
            }
            *(if *by_gateway { &mut made } else { &mut sent }) += 1;
        }
        let undeclared: Vec<String> = seen.iter().map(|seen| self.words(seen)).collect();
        let now = self.totals();
        let mut declared = step.counters;
        if self.shape.spread == Spread::Flow
            && let Some(n) = declared.remove("drop filtered")
        {
            // There are no mappings then.
            *declared.entry("drop no_session".into()).or_default() += n;
        }
        declared.insert("sent".into(), sent);
        declared.insert("made".into(), made);
        declared.retain(|_, n| *n != 0);
        let mut changes = changes(&self.before, &now);
        if self.black_box {
            changes.retain(|name, _| declared.contains_key(name) || name == "sent" || name == "made");
        }
        assert!(undeclared.is_empty(), "{place}\nundeclared: {undeclared:#?}\n{changes:?}");
        assert_eq!(changes, declared, "{place}\ncounters: left is what happened");
        self.before = now;
        self.assert_balance(&place);
    }

    fn words(&self, seen: &Seen) -> String {
        let name = &self.snapshot.interface(seen.interface).name;
        if seen.arp {
            format!("{name}< arp {:?}", read_arp(&seen.body))
        } else {
            format!("{name}< {}", describe(&seen.body))
        }
    }

    fn compare(&self, seen: &Seen, made: bool, what: &str, bindings: &mut Bindings) -> Result<(), String> {
        let here = self.snapshot.interface(seen.interface);
        let (what, mac) = match what.split_once(" mac=") {
            Some((what, mac)) => (what, Some(mac.parse::<MacAddr>().unwrap())),
            None => (what, None),
        };
        if let Some(message) = what.strip_prefix("arp ") {
            let words: Vec<&str> = message.split_whitespace().collect();
            let (request, address, other) = (words[0] == "who", words[1], words[3]);
            let (target, sender, is_request) = read_arp(&seen.body).filter(|_| seen.arp).ok_or("no ARP")?;
            if request != is_request {
                return Err("the other operation".into());
            }
            bindings.meet(address, target)?;
            // Of an answer the asked address is its sender; to whom it goes shows its Ethernet address.
            return if request {
                bindings.meet(other, sender)
            } else if seen.to == mac.unwrap_or(host_mac(bindings.address(other))) {
                Ok(())
            } else {
                Err(format!("to {}", seen.to))
            };
        }
        if seen.arp {
            return Err("is ARP".into());
        }
        let line = Line::parse(what);
        // Errors that the gateway makes are never fragmented.
        let line = if made { line.with_df_if_error() } else { line };
        line.matches(&seen.body, bindings)?;
        let destination = Ipv4Addr::from(<[u8; 4]>::try_from(&seen.body[16..20]).unwrap());
        let hop = self.snapshot.route_to(here.realm, here.zone, destination).ok_or("no route leads there")?;
        if seen.to != mac.unwrap_or(host_mac(hop.neighbor(destination)))
            || self.snapshot.interface(hop.interface).name != here.name
        {
            return Err(format!("to the Ethernet address {}", seen.to));
        }
        Ok(())
    }
}

#[derive(Default)]
struct Step {
    line: usize,
    text: String,
    /// Interface, made by the gateway, what.
    outputs: Vec<(String, bool, String)>,
    counters: Totals,
}

impl Step {
    fn expect(&mut self, counter: &str, n: i64) {
        *self.counters.entry(counter.into()).or_default() += n;
    }
}

fn changes(before: &Totals, after: &Totals) -> Totals {
    after
        .iter()
        .map(|(name, n)| (name.clone(), n - before.get(name).copied().unwrap_or_default()))
        .filter(|(_, n)| *n != 0)
        .collect()
}

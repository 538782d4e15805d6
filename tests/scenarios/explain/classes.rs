//! Packets of notrack classes: what is explained, what the workers do, and what becomes of the answers that were foretold.

use super::{CONFIG, Desk, SEEDS, Story, Tally, address, story, word};
use crate::faults::Dice;
use crate::harness::Shape;
use crate::packet::Line;
use crate::shape::FEW;
use natgate::control::api;
use natgate::ids::InterfaceId;
use natgate::pipeline::snapshot::Class;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

/// Classes of every kind, for the addresses of [`anything`]; they come before all rules.
const CLASSES: &str = r#"
[[notrack]]
name = "open"
on = "wan"
to = "203.0.113.9"
to_zone = 0
protocol = "udp"
port = "1024-1060"
translate_to = "192.168.1.20"

[[notrack]]
name = "listed"
on = "wan"
from = "198.51.100.1"
to = "203.0.113.9"
to_zone = 0
protocol = "tcp"
port = "1024-1100"
translate_to = "192.168.1.20"
policy = "allow-listed"

[[notrack]]
name = "one-to-one"
zone = 0
from = "192.168.1.99"
to = "198.51.100.0/24"
protocol = ["udp", "udplite"]
translate_from = "203.0.113.99"

[[notrack]]
name = "ping"
zone = 0
from = "192.168.1.53"
to = "198.51.100.0/24"
protocol = "icmp"
translate_from = "203.0.113.98"

[[notrack]]
name = "exposed"
zone = 0
from = "192.168.1.53"
to = ["198.51.100.0/24", "203.0.113.7"]
protocol = ["udp", "tcp"]
port = [53, 80]

[[notrack]]
name = "refused"
zone = 0
from = "192.168.1.20"
to = "203.0.113.7"
protocol = "udp"
action = "drop"

[[notrack]]
name = "one-way"
zone = 0
from = "192.168.1.10"
to = "198.51.100.1"
protocol = "tcp"
tcp_flags = ["syn", "!ack"]
symmetric = false
untranslated = true
"#;

/// What each class counted each way, by its name: packets that passed, and that were dropped.
type Counted = BTreeMap<String, [(u64, u64); 2]>;

impl Story {
    /// What each class counted each way: packets that passed and that were dropped.
    pub(super) fn counted(&self) -> Counted {
        let counted = |class: &Class| {
            let totals = class.counters.totals();
            (class.name.clone(), [0, 1].map(|way| (totals.packets[way], totals.dropped[way])))
        };
        self.net.snapshot.classes.iter().map(counted).collect()
    }

    /// That the class counted the packet which was said to, and no other.
    pub(super) fn compare_class(&mut self, said: &api::Explanation, before: &Counted, place: &str) {
        let mut expected = before.clone();
        if let Some(class) = &said.notrack {
            let (passed, dropped) =
                &mut expected.get_mut(&class.name).unwrap()[usize::from(class.way == "back")];
            *(if said.verdict.outcome == "forwarded" { passed } else { dropped }) += 1;
            let verdict = format!("{} {} {}", class.name, class.way, said.verdict.outcome);
            *self.tally.entry(verdict).or_default() += 1;
        }
        assert_eq!(self.counted(), expected, "{place}");
    }

    /// What was said to become of the answer, if this is the one that was meant.
    pub(super) fn foretold(&self, interface: InterfaceId, reply: &[u8]) -> Option<bool> {
        let answer = self.said.as_ref()?.notrack.as_ref()?.answer.as_ref()?;
        let ends = &answer.ends;
        let is_meant = (ends.src, ends.dst) == (address(reply, 12), address(reply, 16))
            && ends.sport.is_none_or(|port| port == word(reply, 20))
            && ends.dport.is_none_or(|port| port == word(reply, 22))
            && answer.interface == self.net.snapshot.interface(interface).name;
        is_meant.then_some(answer.passes)
    }
}

/// What random packets have too little of: both sides of the classes that name both. With the interface that they come in
/// by.
fn rare(dice: &mut Dice) -> (&'static str, String) {
    let (high, port) = (1024 + dice.below(20), 1024 + dice.below(77));
    let flags = ["S", "SA", "A"][dice.below(3)];
    match dice.below(5) {
        0 => ("wan", format!("tcp 198.51.100.1:{high} > 203.0.113.9:{port} {flags}")),
        1 => ("lan", format!("tcp 192.168.1.20:{port} > 198.51.100.1:{high} {flags}")),
        2 => ("lan", format!("udp 192.168.1.20:5000 > 203.0.113.7:{port}")),
        3 => ("lan", format!("tcp 192.168.1.10:{high} > 198.51.100.1:{port} {flags}")),
        _ => ("lan", format!("udp 192.168.1.20:{port} > 192.168.1.10:{high}")),
    }
}

#[test]
fn what_is_explained_of_classes_is_what_the_workers_do() {
    let config = format!("{CONFIG}{CLASSES}");
    let mut tally = Tally::new();
    for shape in FEW {
        for seed in 0..SEEDS {
            for (verdict, n) in story(&config, shape, 50 + seed + 100 * shape.workers as u64, rare) {
                *tally.entry(verdict).or_default() += n;
            }
        }
    }
    for verdict in [
        "open there forwarded",
        "open back forwarded",
        "listed there forwarded",
        "one-to-one there forwarded",
        "one-to-one back forwarded",
        "ping there forwarded",
        "refused there dropped",
        "one-way there forwarded",
        "notrack_not_listed",
        "notrack_opening",
        "notrack_dropped",
        "notrack_untranslated",
        "answer foretold to pass: true",
    ] {
        assert!(tally.contains_key(verdict), "{verdict} did not happen: {tally:?}");
    }
}

#[test]
fn while_a_class_settles_a_session_that_was_there_before_it_goes_on() {
    let mut story = Story::new(CONFIG, Shape::plain(2, 2));
    let lan = story.net.interface("lan");
    let encode = |line: &str| Line::parse(line).encode(&Default::default());
    let (old, new) = (
        encode("icmp echo 192.168.1.53 > 198.51.100.1 id=5 seq=1"),
        encode("icmp echo 192.168.1.53 > 198.51.100.1 id=6 seq=1"),
    );
    story.play(lan, &old, "before the class");
    story.net.reload(&format!("{CONFIG}{CLASSES}"));
    story.net.run();
    story.desk = Desk::new(&story.net);
    story.play(lan, &old, "of the session");
    let said = story.said.take().unwrap();
    assert!(said.session.is_some() && said.notrack.is_none());
    assert!(said.class.ends_with("notrack class ping takes its packets when it has ended"), "{}", said.class);
    story.play(lan, &new, "of no session");
    let said = story.said.take().unwrap();
    assert!(said.session.is_none() && said.owner.is_some());
    assert!(said.notrack.is_some_and(|class| class.settling && class.answer.unwrap().passes));
    let classes = &story.net.snapshot.classes;
    classes.iter().for_each(|class| class.settling.store(false, Relaxed));
    story.play(lan, &old, "settled");
    let said = story.said.take().unwrap();
    assert!(said.session.is_none() && said.notrack.is_some_and(|class| !class.settling));
    story.net.seen.clear();
    story.net.finish();
}

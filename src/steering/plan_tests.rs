use super::*;
use crate::device::mem_nic::{Habit, MemNic};

const SEED: u64 = 0x5eed;

fn needs(workers: u8) -> Needs {
    Needs { workers, seed: SEED, spread: Spread::Source, sources_together: false, wish: Wish::Auto }
}

fn by_flow(workers: u8) -> Needs {
    Needs { spread: Spread::Flow, ..needs(workers) }
}

fn by_port(workers: u8) -> Needs {
    Needs { wish: Wish::PortRules, ..needs(workers) }
}

/// What the interfaces of a device face.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Internal,
    External,
    Both,
}

use Side::{Both, External, Internal};

/// Asks these NICs.
fn ask<N: Nic>(needs: Needs, nics: &mut [(N, Side)]) -> (Steering, Vec<Choices>) {
    let mut candidates: Vec<Candidate<'_>> = nics
        .iter_mut()
        .map(|(nic, side)| Candidate { nic, internal: *side != External, external: *side != Internal })
        .collect();
    choose(needs, &mut candidates)
}

/// A NIC inside and one outside.
fn two(inside: Habit, outside: Habit, workers: u16) -> Vec<(MemNic, Side)> {
    vec![(MemNic::new(inside, workers, 128), Internal), (MemNic::new(outside, workers, 128), External)]
}

/// Plan and reason of the internal side of the first device and the external one of the last.
fn words(choices: &[Choices]) -> [(Plan, &str); 2] {
    let [first, .., last] = choices else { panic!("two devices") };
    [&first.internal, &last.external].map(|choice| (choice.plan, choice.why_not.as_str()))
}

/// Whether a NIC has what an owner function needs on a side.
fn has(nic: &mut MemNic, steering: &Steering, realm: Realm) -> bool {
    let program = nic.read_back().unwrap();
    let table = steering.table_of(realm).iter().map(|worker| u16::from(worker.0)).cycle();
    program.hashes_ports
        && program.key == *steering.key(realm)
        && program.table.into_iter().zip(table).all(|(a, b)| a == b)
}

#[test]
fn one_worker_owns_everything_and_nothing_is_asked_of_nics() {
    let mut nics = two(Habit::Honest, Habit::Honest, 1);
    let before = nics[0].0.read_back();
    let (steering, choices) = ask(needs(1), &mut nics);
    assert_eq!(steering.workers(), 1);
    assert_eq!(words(&choices), [(Plan::Single, ""); 2]);
    assert_eq!(nics[0].0.read_back(), before);
}

#[test]
fn in_software_nothing_is_asked_of_nics() {
    let mut nics = two(Habit::Honest, Habit::Honest, 3);
    let before = nics[0].0.read_back();
    let (steering, choices) = ask(Needs { wish: Wish::Software, ..needs(3) }, &mut nics);
    assert_eq!(steering.workers(), 3);
    assert_eq!(words(&choices), [(Plan::C, "the config says runtime.steering = \"software\""); 2]);
    assert_eq!(nics[0].0.read_back(), before);
}

#[test]
fn nics_that_obey_get_the_best_plan_of_their_side() {
    for workers in 2..=4 {
        for (needs, inside) in [(needs(workers), Plan::A), (by_flow(workers), Plan::B)] {
            let mut nics = two(Habit::Honest, Habit::Honest, workers.into());
            let (steering, choices) = ask(needs, &mut nics);
            assert_eq!(words(&choices), [(inside, ""), (Plan::B, "")]);
            assert!(has(&mut nics[0].0, &steering, Realm::Internal));
            assert!(has(&mut nics[1].0, &steering, Realm::External));
        }
    }
}

#[test]
fn a_device_with_both_sides_serves_the_outside() {
    let mut nics = [(MemNic::new(Habit::Honest, 2, 128), Both)];
    let (steering, choices) = ask(needs(2), &mut nics);
    assert_eq!((choices[0].internal.plan, choices[0].external.plan), (Plan::C, Plan::B));
    assert_eq!(choices[0].internal.why_not, "its NIC has an external interface too, which needs another key");
    assert!(has(&mut nics[0].0, &steering, Realm::External));
    let (_, choices) = ask(by_flow(2), &mut nics);
    assert_eq!((choices[0].internal.plan, choices[0].external.plan), (Plan::B, Plan::B), "one key for both");
    let (_, choices) = ask(by_port(2), &mut nics);
    assert_eq!((choices[0].internal.plan, choices[0].external.plan), (Plan::C, Plan::A));
    assert_eq!(
        choices[0].internal.why_not,
        "its NIC has an external interface too, whose rules deliver by port"
    );
}

/// A NIC that says what it can do, and then has something else whenever it is asked.
struct Moody(Ability, u8);

impl Nic for Moody {
    fn ability(&self) -> Ability {
        self.0
    }

    fn program(&mut self, _: &Program) -> Result<(), String> {
        Ok(())
    }

    fn read_back(&mut self) -> Result<Program, String> {
        self.1 += 1;
        let table = (0..self.0.queues).cycle().take(self.0.table.into()).collect();
        let key =
            std::array::from_fn(|at| u8::try_from(at * 13).unwrap().wrapping_add(self.1.wrapping_mul(7)));
        Ok(Program { key, table, hashes_ports: true })
    }

    fn set_port_rules(&mut self, _: &[PortRule]) -> Result<(), String> {
        Err("it is in no mood for them".into())
    }
}

#[test]
fn what_a_nic_lacks_is_the_reason() {
    let able = Ability { queues: 4, table: 128, hashes_ports: true };
    for (ability, reason) in [
        (Ability { queues: 1, ..able }, "it has 1 receive queue for 4 workers"),
        (Ability { queues: 3, ..able }, "it has 3 receive queues for 4 workers"),
        (Ability { hashes_ports: false, ..able }, "its driver offers no hash over the ports of TCP and UDP"),
        (Ability { table: 0, ..able }, "it has no redirection table that can be set"),
        (Ability { table: 100, ..able }, "its redirection table has 100 entries: a power of two is needed"),
        (Ability { table: 2, ..able }, "its redirection table has 2 entries for 4 workers"),
    ] {
        let (steering, choices) =
            ask(needs(4), &mut [(Moody(ability, 0), Internal), (Moody(ability, 0), External)]);
        assert_eq!(words(&choices), [(Plan::C, reason); 2]);
        assert_eq!(steering.workers(), 4, "the workers do it");
        assert_eq!(steering.table().len(), 128, "what can not be used counts for nothing");
    }
}

#[test]
fn the_smallest_table_decides_and_larger_ones_repeat_it() {
    let mut nics =
        [(MemNic::new(Habit::Honest, 3, 512), Internal), (MemNic::new(Habit::Honest, 3, 64), External)];
    let (steering, choices) = ask(needs(3), &mut nics);
    assert_eq!(words(&choices), [(Plan::A, ""), (Plan::B, "")]);
    assert_eq!(steering.table().len(), 64);
    assert!(
        has(&mut nics[0].0, &steering, Realm::Internal) && has(&mut nics[1].0, &steering, Realm::External)
    );
}

#[test]
fn a_nic_that_does_something_else_is_found_out_by_reading_back() {
    let stops = "it took the order to hash ports and does not carry it out";
    let key = "it keeps a key of its own";
    let table = "it keeps a table of its own";
    for (habit, needs, plans) in [
        // Outside, what it has is as good as ours.
        (Habit::KeepsKey, needs(2), [(Plan::C, key), (Plan::B, "")]),
        (Habit::KeepsTable, needs(2), [(Plan::C, table), (Plan::B, "")]),
        (Habit::KeepsKeyAndTable, needs(2), [(Plan::C, "key and table are the host's"), (Plan::B, "")]),
        // Inside too, if whole flows count there.
        (Habit::KeepsKey, by_flow(2), [(Plan::B, ""); 2]),
        (Habit::KeepsTable, by_flow(2), [(Plan::B, ""); 2]),
        (Habit::KeepsKeyAndTable, by_flow(2), [(Plan::B, ""); 2]),
        (Habit::StopsHashing, needs(2), [(Plan::C, stops); 2]),
        (Habit::Refuses, needs(2), [(Plan::C, "it has no such function"); 2]),
        // These can only be found out by their packets.
        (Habit::StopsHashingInSecret, needs(2), [(Plan::A, ""), (Plan::B, "")]),
        (Habit::UdpByAddresses, needs(2), [(Plan::A, ""), (Plan::B, "")]),
    ] {
        let mut nics = two(habit, habit, 2);
        let (steering, choices) = ask(needs, &mut nics);
        assert_eq!(words(&choices), plans, "{habit:?}");
        assert_eq!(steering.workers(), 2);
        if plans[1].0 == Plan::B {
            assert!(has(&mut nics[1].0, &steering, Realm::External), "{habit:?}");
        }
    }
}

#[test]
fn a_key_of_a_nic_s_own_is_adopted_if_more_nics_than_before_carry_it_out() {
    // The one with a free choice follows.
    let mut nics = two(Habit::Honest, Habit::KeepsKey, 4);
    let (steering, choices) = ask(by_flow(4), &mut nics);
    assert_eq!(words(&choices), [(Plan::B, ""); 2]);
    assert!(
        has(&mut nics[0].0, &steering, Realm::Internal) && has(&mut nics[1].0, &steering, Realm::External)
    );
    // Inside, the source comes first.
    let mut nics = two(Habit::KeepsKey, Habit::Honest, 4);
    let (steering, choices) = ask(needs(4), &mut nics);
    assert_eq!(words(&choices), [(Plan::C, "it keeps a key of its own"), (Plan::B, "")]);
    assert!(has(&mut nics[1].0, &steering, Realm::External));
    // Of two that want different things one gets its way.
    let mut nics = [
        (MemNic::new(Habit::KeepsTable, 2, 128), External),
        (MemNic::new(Habit::KeepsKey, 2, 128), External),
    ];
    let (_, choices) = ask(needs(2), &mut nics);
    assert_eq!(choices.iter().map(|c| c.external.plan).collect::<Vec<_>>(), [Plan::B, Plan::C]);
    // A table that does not serve every worker is no plan.
    let ability = Ability { queues: 2, table: 128, hashes_ports: true };
    let (steering, choices) = ask(needs(4), &mut [(MemNic::new(Habit::KeepsTable, 4, 128), Internal)]);
    assert_eq!((steering.workers(), choices[0].internal.plan), (4, Plan::C));
    assert!(of_program(&Moody(ability, 0).read_back().unwrap(), 4).is_none());
    // Nor a key under which ports do not reach every entry, nor a large table that does not repeat itself.
    let table: Vec<u16> = (0..1024).map(|entry| entry / 512).collect();
    assert!(of_program(&Program { key: [0; 16], table: vec![0, 1], hashes_ports: true }, 2).is_none());
    let key = *Steering::new(2, SEED).key(Realm::External);
    assert!(of_program(&Program { key, table, hashes_ports: true }, 2).is_none());
    assert!(of_program(&Program { key, table: [0, 1].repeat(512), hashes_ports: true }, 2).is_some());
}

/// One of either.
enum Either {
    Mem(MemNic),
    Moody(Moody),
}

impl Either {
    fn nic(&mut self) -> &mut dyn Nic {
        match self {
            Either::Mem(nic) => nic,
            Either::Moody(nic) => nic,
        }
    }
}

impl Nic for Either {
    fn ability(&self) -> Ability {
        match self {
            Either::Mem(nic) => nic.ability(),
            Either::Moody(nic) => nic.ability(),
        }
    }

    fn program(&mut self, program: &Program) -> Result<(), String> {
        self.nic().program(program)
    }

    fn read_back(&mut self) -> Result<Program, String> {
        self.nic().read_back()
    }

    fn set_port_rules(&mut self, rules: &[PortRule]) -> Result<(), String> {
        self.nic().set_port_rules(rules)
    }
}

#[test]
fn a_nic_that_obeys_is_left_as_it_should_be_by_an_attempt_to_please_another() {
    let ability = Ability { queues: 2, table: 128, hashes_ports: true };
    let mut nics = [
        (Either::Mem(MemNic::new(Habit::Honest, 2, 128)), External),
        (Either::Moody(Moody(ability, 0)), External),
    ];
    let (steering, choices) = ask(needs(2), &mut nics);
    assert_eq!(choices.iter().map(|c| c.external.plan).collect::<Vec<_>>(), [Plan::B, Plan::C]);
    let (Either::Mem(nic), _) = &mut nics[0] else { unreachable!() };
    assert!(has(nic, &steering, Realm::External));
}

#[test]
fn port_rules_are_as_few_as_the_number_of_workers_allows() {
    for (workers, rules) in [(2, 2), (3, 128), (4, 4), (5, 128), (8, 8)] {
        let steering = by_port(workers).steering();
        let list = port_rules(&steering);
        assert_eq!(list.len(), rules, "{workers} workers");
        // They say of every port what the owner function says, and only one of them does.
        for port in 0..=u16::MAX {
            let matching: Vec<_> = list.iter().filter(|rule| port & rule.mask == rule.port).collect();
            assert_eq!(matching.len(), 1);
            assert_eq!(usize::from(matching[0].queue), usize::from(port % 128) % usize::from(workers));
        }
    }
}

#[test]
fn rules_deliver_outside_whatever_becomes_of_the_hash() {
    let key = "it keeps a key of its own";
    let refuses = "it refuses rules for ports: it has no such function";
    for (habit, plans) in [
        (Habit::Honest, [(Plan::A, ""); 2]),
        (Habit::KeepsKey, [(Plan::C, key), (Plan::A, "")]),
        (
            Habit::StopsHashing,
            [(Plan::C, "it took the order to hash ports and does not carry it out"), (Plan::A, "")],
        ),
        (Habit::IgnoresRules, [(Plan::A, ""); 2]),
        (Habit::RefusesRules, [(Plan::A, ""), (Plan::C, refuses)]),
        (Habit::Refuses, [(Plan::C, "it has no such function"), (Plan::C, refuses)]),
    ] {
        let (steering, choices) = ask(by_port(3), &mut two(habit, habit, 3));
        assert_eq!(words(&choices), plans, "{habit:?}");
        assert!(steering.is_by_port());
    }
    // A rule for a queue that is not there is none.
    let mut nics = two(Habit::Honest, Habit::Honest, 2);
    let few = "it has 2 receive queues for 3 workers";
    assert_eq!(words(&ask(by_port(3), &mut nics).1), [(Plan::C, few); 2]);
}

#[test]
fn a_plan_holds_until_more_than_a_few_packets_of_a_sample_are_elsewhere() {
    let mut proof = Proof::default();
    assert_eq!(proof.look(63, 63), ProofState::Waiting, "too few");
    let mut proof = Proof::default();
    assert_eq!(proof.look(64, 4), ProofState::Holds, "from before it was programmed");
    assert_eq!(proof.look(127, 67), ProofState::Holds, "too few new ones");
    assert_eq!(proof.look(128, 68), ProofState::Broken { misplaced: 64, packets: 64 });
    assert_eq!(proof.look(100_000, 68), ProofState::Broken { misplaced: 64, packets: 64 }, "for good");
    assert_eq!(proof.state(), ProofState::Broken { misplaced: 64, packets: 64 });
}

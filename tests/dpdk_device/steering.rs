//! What DPDK's virtual devices make of orders about spreading packets, and which plans come of it.
//!
//! `net_null` has a key and a table, keeps what it is told, and knows no flow rules. AF_XDP has one queue on veth, packet sockets
//! have several and nothing that can be set, and tap has a hash without a table.

use super::{in_child, in_namespace, options, start, veth};
use natgate::device::dpdk::{Dpdk, Started};
use natgate::steering::plan::{
    Ability, Candidate, Choices, Needs, Nic, Plan, PortRule, Program, Wish, choose,
};
use natgate::steering::{Spread, Steering};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const NEEDS: Needs =
    Needs { workers: 2, seed: 7, spread: Spread::Source, sources_together: false, wish: Wish::Auto };

/// The plans for the first device inside and the second one outside.
fn plans(dpdk: &mut Dpdk, needs: Needs) -> (Steering, Vec<Choices>) {
    let mut nics = dpdk.nics();
    let candidate = |(n, nic)| Candidate { nic, internal: n == 0, external: n == 1 };
    let mut candidates: Vec<Candidate<'_>> =
        nics.iter_mut().map(|nic| nic as &mut dyn Nic).enumerate().map(candidate).collect();
    choose(needs, &mut candidates)
}

#[test]
fn a_nic_has_the_key_and_the_table_that_it_was_given() {
    in_child("steering::a_nic_has_the_key_and_the_table_that_it_was_given", &[], || {
        let Started { mut dpdk, queues, .. } = start(&options(&["vdev:net_null0"]), 2).unwrap();
        let mut nics = dpdk.nics();
        let nic = &mut nics[0];
        assert_eq!(nic.ability(), Ability { queues: 2, table: 128, hashes_ports: true });
        let key = std::array::from_fn(|n| u8::try_from(n * 13 + 1).unwrap());
        // No period, so that an entry at a wrong place shows.
        let table: Vec<u16> = (0..128u16).map(|n| u16::from(n.count_ones() % 2 == 1)).collect();
        for hashes_ports in [true, false] {
            let program = Program { key, table: table.clone(), hashes_ports };
            assert_ne!(nic.read_back().unwrap(), program);
            nic.program(&program).unwrap();
            assert_eq!(nic.read_back().unwrap(), program);
            assert!(!nic.disobeyed());
        }
        drop((nics, queues));
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn a_program_that_does_not_fit_is_refused_and_says_which_part() {
    in_child("steering::a_program_that_does_not_fit_is_refused_and_says_which_part", &[], || {
        let Started { mut dpdk, queues, .. } = start(&options(&["vdev:net_null0"]), 2).unwrap();
        let mut nics = dpdk.nics();
        let mut program = |table| {
            let program = Program { key: [1; 16], table, hashes_ports: true };
            nics[0].program(&program).unwrap_err()
        };
        for table in [vec![0; 64], vec![0; 256], vec![2; 128]] {
            let why = program(table);
            assert!(why.starts_with("its driver refuses our redirection table ("), "{why}");
            assert!(!why.ends_with(['.', '\n']), "{why}");
        }
        drop((nics, queues));
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn nics_that_take_a_program_deliver_to_the_owners() {
    in_child("steering::nics_that_take_a_program_deliver_to_the_owners", &[], || {
        let devices = options(&["vdev:net_null0", "vdev:net_null1"]);
        let Started { mut dpdk, queues, .. } = start(&devices, 2).unwrap();
        let (steering, choices) = plans(&mut dpdk, NEEDS);
        assert_eq!((choices[0].internal.plan, choices[1].external.plan), (Plan::A, Plan::B));
        for (n, realm) in [(0, natgate::ids::Realm::Internal), (1, natgate::ids::Realm::External)] {
            let now = dpdk.nics()[n].read_back().unwrap();
            assert_eq!(now.key, *steering.key(realm));
            assert!(
                now.table
                    .iter()
                    .zip(steering.table_of(realm).iter().cycle())
                    .all(|(q, w)| *q == u16::from(w.0))
            );
        }
        let (_, choices) = plans(&mut dpdk, Needs { spread: Spread::Flow, ..NEEDS });
        assert_eq!((choices[0].internal.plan, choices[1].external.plan), (Plan::B, Plan::B));
        drop(queues);
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn rules_for_ports_are_refused_where_the_driver_knows_none() {
    in_child("steering::rules_for_ports_are_refused_where_the_driver_knows_none", &[], || {
        let devices = options(&["vdev:net_null0", "vdev:net_null1"]);
        let Started { mut dpdk, queues, .. } = start(&devices, 2).unwrap();
        let rule = PortRule { port: 1, mask: 1, queue: 1 };
        assert_eq!(dpdk.nics()[0].set_port_rules(&[rule]), Err("its driver knows none".into()));
        let (_, choices) = plans(&mut dpdk, Needs { wish: Wish::PortRules, ..NEEDS });
        assert_eq!((choices[0].internal.plan, choices[1].external.plan), (Plan::A, Plan::C));
        assert_eq!(choices[1].external.why_not, "it refuses rules for ports: its driver knows none");
        drop(queues);
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

#[test]
fn a_nic_with_one_queue_is_no_use_to_two_workers() {
    in_namespace("steering::a_nic_with_one_queue_is_no_use_to_two_workers", || {
        veth(1);
        let devices = options(&["vdev:net_null0", "af_xdp:left"]);
        let Started { mut dpdk, queues, .. } = start(&devices, 2).unwrap();
        assert_eq!(dpdk.nics()[1].ability(), Ability { queues: 1, table: 0, hashes_ports: false });
        let (_, choices) = plans(&mut dpdk, NEEDS);
        assert_eq!((choices[0].internal.plan, choices[1].external.plan), (Plan::A, Plan::C));
        assert_eq!(choices[1].external.why_not, "it has 1 receive queue for 2 workers");
        drop(queues);
        // AF_XDP's driver keeps what it prepared for reception.
        assert!(dpdk.stop().is_ok());
    });
}

#[test]
fn devices_without_key_or_table_are_refused_with_their_reason() {
    in_namespace("steering::devices_without_key_or_table_are_refused_with_their_reason", || {
        veth(2);
        let devices = options(&["af_packet:left", "tap:nat0"]);
        let Started { mut dpdk, queues, .. } = start(&devices, 2).unwrap();
        let (_, choices) = plans(&mut dpdk, NEEDS);
        assert_eq!((choices[0].internal.plan, choices[1].external.plan), (Plan::C, Plan::C));
        assert_eq!(choices[0].internal.why_not, "its driver offers no hash over the ports of TCP and UDP");
        assert_eq!(choices[1].external.why_not, "it has no redirection table that can be set");
        // Nor do they claim to, if they are told all the same.
        let mut nics = dpdk.nics();
        let program = Program { key: [1; 16], table: vec![0; 128], hashes_ports: true };
        assert_eq!(nics[0].program(&program).unwrap_err(), "its driver can not take our key");
        let why = nics[0].read_back().unwrap_err();
        assert!(why.starts_with("its key can not be read ("), "{why}");
        drop((nics, queues));
        assert_eq!(dpdk.stop(), Ok(0));
    });
}

/// tap's driver takes no rule for even ports, and the kernel may know no such filters at all.
#[test]
fn rules_that_a_driver_does_not_take_are_refused_in_its_words_and_leave_nothing() {
    in_namespace(
        "steering::rules_that_a_driver_does_not_take_are_refused_in_its_words_and_leave_nothing",
        || {
            let Started { mut dpdk, queues, .. } = start(&options(&["tap:nat0"]), 2).unwrap();
            let filters = || {
                let shown =
                    Command::new("tc").args(["filter", "show", "dev", "nat0", "ingress"]).output().unwrap();
                String::from_utf8(shown.stdout).unwrap().matches("dst_port").count()
            };
            let whole = PortRule { port: 53, mask: 0xffff, queue: 0 };
            let even = PortRule { port: 0, mask: 1, queue: 1 };
            assert_eq!(dpdk.nics()[0].set_port_rules(&[even]), Err("item not supported".into()));
            assert!(dpdk.nics()[0].set_port_rules(&[whole, even]).is_err());
            assert_eq!(filters(), 0, "all or none");
            match dpdk.nics()[0].set_port_rules(&[whole, PortRule { port: 54, queue: 1, ..whole }]) {
                Ok(()) => assert_eq!(filters(), 4, "both for TCP and for UDP"),
                Err(why) => assert_eq!((why.is_empty(), filters()), (false, 0)),
            }
            drop(queues);
            assert_eq!(dpdk.stop(), Ok(0));
        },
    );
}

/// The log of a gateway between two devices that only swallow, up to the line that says that it runs.
fn log_of_a_gateway(workers: u8) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("natgate.toml");
    let control = directory.path().join("control.sock");
    let config = format!(
        r#"
        [runtime]
        workers = {workers}
        poll = "adaptive"
        control = "{}"
        [interface.lan]
        device = "vdev:net_null0,no-rx=1"
        realm = "internal"
        address = "10.0.0.1/16"
        [interface.wan]
        device = "vdev:net_null1,no-rx=1"
        realm = "external"
        address = "203.0.113.2/24"
        gateway = "203.0.113.1"
        [[snat]]
        out = "wan"
        source = "interface"
        "#,
        control.display()
    );
    std::fs::write(&file, config).unwrap();
    let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"))
        .arg("run")
        .arg("-c")
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(natgate.stderr.take().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().contains("is running") {
            let _ = Command::new("kill").args(["-INT", &natgate.id().to_string()]).status().unwrap();
        }
    }
    assert!(natgate.wait().unwrap().success(), "{lines:#?}");
    lines
}

#[test]
fn a_gateway_of_several_workers_tells_the_plan_of_each_interface() {
    let log = log_of_a_gateway(2);
    for expected in [
        "steering: lan (vdev:net_null0,no-rx=1): plan A: the NIC's key weighs the source address alone",
        "steering: wan (vdev:net_null1,no-rx=1): plan B: the NIC hashes whole flows",
    ] {
        let said = log.iter().filter(|line| line.contains(expected)).collect::<Vec<_>>();
        assert!(said.len() == 1 && said[0].contains("INFO"), "{expected}: {log:#?}");
    }
    let log = log_of_a_gateway(1);
    assert!(!log.iter().any(|line| line.contains("steering:")), "{log:#?}");
}

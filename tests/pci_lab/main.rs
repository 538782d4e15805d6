//! The PCI lab: natgate on two real NIC drivers, in a virtual machine (docs/pci-lab.md).
//!
//! `scripts/vm-lab` boots a guest under QEMU's software emulation with two igb NICs behind an IOMMU, bound to
//! vfio-pci. What stands outside speaks Ethernet on both wires and checks every byte that comes through: PCI probe,
//! vfio, net_e1000_igb, several queues, RSS. [`guest`] is the machine, [`wire`] what hangs on its NICs, [`traffic`] and
//! [`conversation`] what passes. Function, not speed.
//!
//! Too slow and too demanding for every run: `scripts/test pci`.

#![cfg(feature = "dpdk")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a test ends at the first surprise"
)]

mod conversation;
mod guest;
mod traffic;
mod wire;

// The language of packets is that of the scenarios.
#[allow(dead_code, reason = "the lab uses a part of it")]
#[path = "../scenarios/packet.rs"]
mod packet;
#[path = "../scenarios/phy.rs"]
mod phy;
#[allow(dead_code, reason = "the lab uses a part of it")]
#[path = "../scenarios/transport.rs"]
mod transport;

use guest::Guest;
use std::time::Instant;
use traffic::Lab;

#[test]
#[ignore = "boots a virtual machine: scripts/test pci"]
fn two_queues_bring_each_packet_to_its_owner() {
    experiment(2, "", ["A", "B"]);
}

#[test]
#[ignore = "boots a virtual machine: scripts/test pci"]
fn four_queues_bring_each_packet_to_its_owner() {
    experiment(4, "", ["A", "B"]);
}

#[test]
#[ignore = "boots a virtual machine: scripts/test pci"]
fn three_queues_bring_each_packet_to_its_owner_when_flows_are_spread() {
    experiment(3, "spread = \"flow\"", ["B", "B"]);
}

#[test]
#[ignore = "boots a virtual machine: scripts/test pci"]
fn where_the_driver_refuses_a_plan_workers_hand_packets_over() {
    experiment(2, "steering = \"port-rules\"", ["A", "C"]);
}

type Step = fn(&mut Lab);

/// Everything that a gateway is asked for, and the plans that `lan` and `wan` must have. `runtime` is a line of the config.
fn experiment(workers: usize, runtime: &str, plans: [&'static str; 2]) {
    let begun = Instant::now();
    let guest = Guest::boot(workers, runtime);
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{workers} queues, [{runtime}]: natgate runs after {seconds:.1} s");
    let mut lab = Lab { guest, plans };
    // What the NICs deliver to its owner comes first, because the counts of it are those since the start.
    let steps: [(&str, Step); 12] = [
        ("each NIC has a queue for each worker", traffic::queues),
        ("both sides find the gateway, and it finds them", traffic::neighbors),
        ("UDP from many clients, spread over all workers", traffic::udp),
        ("short TCP frames with padding", traffic::padded),
        ("TCP out", conversation::out),
        ("the NICs delivered to its owner what their plans say", traffic::steering),
        ("ICMP echo to the gateway and through it", traffic::echo),
        ("ICMP errors", traffic::errors),
        ("UDP to a forwarded port", traffic::forwarded),
        ("TCP to a forwarded port", conversation::forwarded),
        ("fragments in every order, out, back and to a forwarded port", traffic::fragments),
        ("the plans still hold", traffic::plans),
    ];
    for (name, step) in steps {
        let begun = Instant::now();
        step(&mut lab);
        eprintln!("  ok {:>6.2} s  {name}", begun.elapsed().as_secs_f64());
    }
    lab.balance();
    lab.stop();
    eprintln!("  all of it took {:.1} s", begun.elapsed().as_secs_f64());
}

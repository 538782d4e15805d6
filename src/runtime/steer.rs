//! Asks the NICs to deliver packets to their owners, and says what became of it.

use crate::config::compile::needs;
use crate::config::model::Config;
use crate::device::dpdk::{DeviceInfo, Dpdk};
use crate::device::{Burst, Device};
use crate::ids::Realm;
use crate::steering::Steering;
use crate::steering::plan::{Candidate, Choice, Choices, Plan, choose};

/// Bursts of a queue that are thrown away at the most: more than the longest queue holds.
const BACKLOG_BURSTS: usize = 1024;

/// Finds the owner function and programs the started devices for it; one line to the log for each interface. The choices
/// are by device.
pub(super) fn steer(
    config: &Config,
    seed: u64,
    dpdk: &mut Dpdk,
    devices: &[DeviceInfo],
) -> (Steering, Vec<Choices>) {
    let faces = |device: usize, realm| {
        config.interfaces.iter().any(|side| side.device.index() == device && side.realm == realm)
    };
    let mut nics = dpdk.nics();
    let candidates = nics.iter_mut().enumerate().map(|(device, nic)| Candidate {
        nic,
        internal: faces(device, Realm::Internal),
        external: faces(device, Realm::External),
    });
    let mut candidates: Vec<Candidate<'_>> = candidates.collect();
    let (steering, choices) = choose(needs(config, seed), &mut candidates);
    for interface in &config.interfaces {
        let at = interface.device.index();
        let (Some(choices), Some(device), Some(nic)) = (choices.get(at), devices.get(at), nics.get(at))
        else {
            continue;
        };
        let choice = choices.of(interface.realm);
        if choice.plan == Plan::Single {
            continue;
        }
        let line = line(&interface.name, &device.name, choice);
        if nic.disobeyed() {
            tracing::warn!("{line}");
        } else {
            tracing::info!("{line}");
        }
    }
    (steering, choices)
}

/// Frees what NICs received before they were programmed: it lies in the wrong queues, and a busy link has filled them all, so
/// that a plan would seem not to hold. `queues` are by worker and device. Bounded, as a link may be faster than this.
pub(super) fn discard_backlog<D: Device>(queues: &mut [Vec<D>], choices: &[Choices]) {
    let is_programmed = |choices: &Choices| {
        [Realm::Internal, Realm::External]
            .into_iter()
            .any(|side| matches!(choices.of(side).plan, Plan::A | Plan::B))
    };
    let mut burst = Burst::new();
    for queue in queues.iter_mut().flat_map(|handles| handles.iter_mut().zip(choices)) {
        let (queue, choices) = queue;
        for _ in 0..if is_programmed(choices) { BACKLOG_BURSTS } else { 0 } {
            queue.rx_burst(&mut burst);
            if burst.is_empty() {
                break;
            }
            burst.clear();
        }
    }
}

/// An interface's plan as the log says it.
fn line(interface: &str, device: &str, choice: &Choice) -> String {
    let Choice { plan, how, why_not } = choice;
    let because = if why_not.is_empty() { String::new() } else { format!(", because {why_not}") };
    format!("steering: {interface} ({device}): plan {plan}: {how}{because}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::mem::{MemDevice, MemWire};
    use crate::device::membuf::MemPool;

    #[test]
    fn what_came_before_a_nic_was_programmed_is_thrown_away_and_nothing_else() {
        let pool = MemPool::new(256, 128);
        let (programmed, first) = MemWire::new(&pool, 2, 2, 2);
        let (other, second) = MemWire::new(&pool, 2, 2, 2);
        for wire in [&programmed, &other] {
            (0..2).for_each(|queue| (0..50).for_each(|_| assert!(wire.push(queue, &[0; 60]))));
        }
        let mut queues: Vec<Vec<_>> =
            first.into_iter().zip(second).map(|(one, two)| vec![one, two]).collect();
        let choice = |plan| Choice { plan, how: String::new(), why_not: String::new() };
        let both = |plan| Choices { internal: choice(Plan::C), external: choice(plan) };
        discard_backlog(&mut queues, &[both(Plan::B), both(Plan::C)]);
        let left = |queue: &mut MemDevice| {
            let mut burst = Burst::new();
            queue.rx_burst(&mut burst);
            burst.len()
        };
        let left: Vec<usize> = queues.iter_mut().flatten().map(left).collect();
        assert_eq!(left, [0, 32, 0, 32]);
        assert_eq!(pool.in_use(), 100 - 64);
    }

    #[test]
    fn the_line_of_an_interface_says_its_plan_and_why_it_is_no_better_one() {
        let choice =
            |plan, how: &str, why_not: &str| Choice { plan, how: how.into(), why_not: why_not.into() };
        let best = choice(Plan::B, "the NIC hashes whole flows", "");
        let best = line("wan", "0000:01:00.0", &best);
        assert_eq!(best, "steering: wan (0000:01:00.0): plan B: the NIC hashes whole flows");
        let other = choice(Plan::C, "workers hand packets over", "it has 1 receive queue for 2 workers");
        assert!(
            line("lan", "tap:t0", &other)
                .ends_with("plan C: workers hand packets over, because it has 1 receive queue for 2 workers")
        );
    }
}

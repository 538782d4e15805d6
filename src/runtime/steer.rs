//! Asks the NICs to deliver packets to their owners, and says what became of it.

use crate::config::compile::needs;
use crate::config::model::Config;
use crate::device::dpdk::{DeviceInfo, Dpdk};
use crate::ids::Realm;
use crate::steering::Steering;
use crate::steering::plan::{Candidate, Choice, Choices, Plan, choose};

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

/// An interface's plan as the log says it.
fn line(interface: &str, device: &str, choice: &Choice) -> String {
    let Choice { plan, how, why_not } = choice;
    let because = if why_not.is_empty() { String::new() } else { format!(", because {why_not}") };
    format!("steering: {interface} ({device}): plan {plan}: {how}{because}")
}

#[cfg(test)]
mod tests {
    use super::*;

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

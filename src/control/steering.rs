//! The answer to `/v1/steering`: the plans as the management core published them, beside counters as they are now.

use super::api;
use super::routes::usage_by_worker;
use super::state::{ControlState, InterfaceInfo};
use crate::ids::MAX_INTERFACES;
use crate::management::steering::InterfaceSteering;
use crate::steering::Spread;
use crate::steering::plan::{Proof, ProofState};
use crate::telemetry::{Counter, DropReason, HandoffCause, InterfaceCounters, WorkerCounters};
use std::ops::Range;

/// Builds the answer.
pub(super) fn steering(state: &ControlState) -> api::Steering {
    let published = state.published.steering.read();
    let sum = |pick: fn(&InterfaceCounters) -> &Counter, which: Range<usize>| -> u64 {
        let counters = state.workers.iter().filter_map(|worker| worker.interfaces.get(which.clone()));
        counters.flatten().map(|counters| pick(counters).get()).sum()
    };
    let interface = |(number, (info, known)): (usize, (&InterfaceInfo, &InterfaceSteering))| {
        // What came is read last: it is never less than what was handed off.
        let misplaced = sum(|counters| &counters.misplaced, number..number + 1);
        let handed_off = sum(|counters| &counters.handed_off, number..number + 1);
        let packets = sum(|counters| &counters.steerable, number..number + 1);
        api::InterfaceSteering {
            name: info.name.clone(),
            device: info.device.clone(),
            plan: known.plan().name().to_owned(),
            chosen: known.choice.plan.name().to_owned(),
            how: how(known),
            why_not: why_not(known),
            state: known.has_to_prove().then(|| proof(known.proof).to_owned()),
            sample: Proof::SAMPLE,
            packets,
            handed_off,
            misplaced,
            handoff_ratio: ratio(handed_off, packets),
        }
    };
    let running = state.running.read();
    let interfaces: Vec<api::InterfaceSteering> =
        running.interfaces.iter().zip(&published.interfaces).enumerate().map(interface).collect();
    let handed_off = sum(|counters| &counters.handed_off, 0..MAX_INTERFACES);
    let packets = sum(|counters| &counters.steerable, 0..MAX_INTERFACES);
    let total = |pick: &dyn Fn(&WorkerCounters) -> u64| state.workers.iter().map(|worker| pick(worker)).sum();
    let cause = |cause: &HandoffCause| api::Handoff {
        cause: cause.name().to_owned(),
        packets: total(&|worker| worker.handoffs[*cause as usize].get()),
        help: cause.help().to_owned(),
    };
    api::Steering {
        spread: match published.spread {
            Spread::Source => "source".to_owned(),
            Spread::Flow => "flow".to_owned(),
        },
        packets,
        handed_off,
        handoff_ratio: ratio(handed_off, packets),
        handoffs: HandoffCause::ALL.iter().map(cause).collect(),
        handoff_full: total(&|worker| worker.drops[DropReason::HandoffFull as usize].get()),
        interfaces,
        workers: workers(state, &published.skewed),
    }
}

fn workers(state: &ControlState, skewed: &[bool]) -> Vec<api::WorkerSteering> {
    let received: Vec<(u64, u64)> =
        state.workers.iter().map(|worker| (worker.rx.get(), worker.taken_over.get())).collect();
    let rx_total = received.iter().map(|(rx, _)| rx).sum();
    let processed_total = received.iter().map(|(rx, taken_over)| rx + taken_over).sum();
    let usage = usage_by_worker(state);
    let sessions_total = usage.iter().map(|usage| usage.used).sum();
    let rows = state.workers.iter().zip(received).zip(usage).enumerate();
    rows.map(|(number, ((counters, (rx, taken_over)), usage))| api::WorkerSteering {
        worker: number as u64,
        rx,
        rx_share: ratio(rx, rx_total),
        processed: rx + taken_over,
        processed_share: ratio(rx + taken_over, processed_total),
        sessions: usage.used,
        sessions_share: ratio(usage.used, sessions_total),
        handed_off: counters.handed_off.get(),
        handoffs: HandoffCause::ALL
            .iter()
            .map(|cause| (cause.name().to_owned(), counters.handoffs[*cause as usize].get()))
            .collect(),
        taken_over,
        skewed: skewed.get(number).copied().unwrap_or(false),
    })
    .collect()
}

fn proof(state: ProofState) -> &'static str {
    match state {
        ProofState::Waiting => "proving",
        ProofState::Holds => "holds",
        ProofState::Broken { .. } => "broken",
    }
}

fn how(known: &InterfaceSteering) -> String {
    match known.proof {
        ProofState::Broken { .. } => "workers hand packets over to their owners".to_owned(),
        _ => known.choice.how.clone(),
    }
}

fn why_not(known: &InterfaceSteering) -> String {
    match known.proof {
        ProofState::Broken { misplaced, packets } => format!(
            "plan {} does not hold: {misplaced} of {packets} packets came to other queues than the NIC's table says",
            known.choice.plan
        ),
        _ => known.choice.why_not.clone(),
    }
}

/// As a part of 1. Precise enough for people and scripts.
#[expect(clippy::cast_precision_loss, reason = "53 bits are more than anybody needs of a share")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

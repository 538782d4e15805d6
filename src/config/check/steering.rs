//! How packets are spread over workers: what excludes it, and what has no meaning.

use crate::config::draft::{Draft, RuntimeDraft};
use crate::config::mistake::{Caution, Mistake};
use crate::config::reader::{At, Findings};
use crate::nat::behavior::Dependence;
use crate::steering::Spread;
use crate::steering::plan::Wish;

/// What is counted by source has to be counted by one worker.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let Some(At { value: Spread::Flow, at }) = draft.runtime.spread else { return };
    let pools = draft.pools.iter().map(|pool| &pool.behavior);
    for behavior in pools.chain([&draft.masquerade]) {
        let settings = [("mapping", &behavior.mapping), ("filtering", &behavior.filtering)];
        for (key, values) in settings {
            let wrong = values.iter().flatten().find(|given| given.value != Dependence::AddressAndPort);
            if let Some(given) = wrong {
                let value = given.value.name();
                findings.clash(at, given.at, Mistake::SpreadWithMapping { key, value });
            }
        }
        if let Some(limit) = behavior.ports.iter().flatten().next() {
            findings.clash(at, limit.at, Mistake::SpreadWithLimit { limit: "ports_per_subscriber" });
        }
    }
    let conntrack = &draft.conntrack;
    let sessions = conntrack.sessions_per_source.map(|limit| (limit.at, "max_sessions_per_source"));
    let new = conntrack.new_per_source.map(|limit| (limit.at, "new_sessions_per_source"));
    for (limit_at, limit) in sessions.into_iter().chain(new) {
        findings.clash(at, limit_at, Mistake::SpreadWithLimit { limit });
    }
}

pub(super) fn doubts(draft: &RuntimeDraft, workers: u8, findings: &mut Findings) {
    if workers > 1 {
        return;
    }
    if let Some(At { value: Spread::Flow, at }) = draft.spread {
        findings.warn(at, Caution::OneWorker("spread"));
    }
    if let Some(At { value: Wish::PortRules | Wish::Software, at }) = draft.steering {
        findings.warn(at, Caution::OneWorker("steering"));
    }
}

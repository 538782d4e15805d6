//! What a worker needs for another configuration beside the snapshot: memory.
//!
//! A worker takes and frees none, so whoever compiles the configuration makes it, one [`WorkerUpdate`] for each worker. The
//! worker swaps what is in it for what it has and sends it back to the management core, which frees it.

use super::Snapshot;
use super::alg::Watcher;
use super::syn_proxy::SynProxy;
use crate::nat::Rng;
use crate::nat::space::PortUpdate;

/// What one worker needs for another configuration; afterwards what it has no use for any more.
#[derive(Debug)]
pub struct WorkerUpdate {
    pub(super) ports: PortUpdate,
    /// Only if the configuration has a SYN proxy and the one before has none.
    pub(super) syn_proxy: Option<SynProxy>,
    /// Only if the configuration watches sessions and the one before does not.
    pub(super) watcher: Option<Watcher>,
}

impl WorkerUpdate {
    /// What each worker needs to go from one configuration to the next. `sessions` are the capacities of their shards, in the
    /// order of the workers' numbers.
    ///
    /// # Errors
    /// The operating system has no random numbers to give.
    pub fn between(
        before: &Snapshot,
        after: &Snapshot,
        sessions: &[u32],
    ) -> Result<Vec<WorkerUpdate>, getrandom::Error> {
        let ports =
            PortUpdate::between(&before.local, &after.local, &after.steering, after.steering.workers());
        let starts_proxy = after.local.has_syn_proxy() && !before.local.has_syn_proxy();
        let starts_watch = !after.algs.is_off() && before.algs.is_off();
        let mut updates = Vec::new();
        for (ports, sessions) in ports.into_iter().zip(sessions) {
            let syn_proxy =
                if starts_proxy { SynProxy::new(after, *sessions, &mut Rng::from_os()?) } else { None };
            let watcher = if starts_watch { Watcher::new(after, &mut Rng::from_os()?) } else { None };
            updates.push(WorkerUpdate { ports, syn_proxy, watcher });
        }
        Ok(updates)
    }
}

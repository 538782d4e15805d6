//! The management core: everything that is not a packet.
//!
//! It resolves neighbours, ends idle sessions and publishes configurations, and talks to each worker over one
//! ring each way. It never writes a worker's state: it reads session records through their generation and asks
//! the owner to act.
//!
//! Like a worker it is driven by [`Management::poll_once`] with the time as a parameter. It may allocate and be late:
//! nothing that a worker does waits for it, except for packets to neighbours that nobody knows yet.
//!
//! | file | concept |
//! |---|---|
//! | `mail` | messages to workers: posted, or kept until there is room |
//! | `neighbors` | what workers hear and ask about neighbours, and what they are told |
//! | `announce` | gratuitous ARP at the start |
//! | `expiry` | finds idle sessions and has them removed |

mod announce;
mod expiry;
mod mail;
mod neighbors;

use crate::conntrack::key::V4Key;
use crate::conntrack::table::SessionView;
use crate::pipeline::Snapshot;
use crate::pipeline::message::{FromWorker, ToWorker};
use crate::pipeline::worker::NEIGHBORS;
use crate::route::neighbors::Neighbors;
use crate::time::Time;
use announce::Announcement;
use rtrb::{Consumer, Producer};
use std::collections::VecDeque;
use std::sync::Arc;

/// The management core's side of one worker.
#[derive(Debug)]
pub struct WorkerLink {
    /// Messages to the worker.
    pub to: Producer<ToWorker>,
    /// Messages from the worker.
    pub from: Consumer<FromWorker>,
    /// The worker's sessions.
    pub sessions: SessionView<V4Key>,
}

#[derive(Debug)]
struct Link {
    worker: WorkerLink,
    /// What did not fit into the ring yet, oldest first.
    backlog: VecDeque<ToWorker>,
    /// Where the sweep goes on.
    cursor: u32,
    /// Sessions that the sweep has to look at before its share of this moment is done.
    due: u32,
}

/// The management core.
#[derive(Debug)]
pub struct Management {
    snapshot: Arc<Snapshot>,
    neighbors: Neighbors,
    links: Vec<Link>,
    last_sweep: Time,
    neighbors_changed: bool,
    /// The soonest first.
    announcements: VecDeque<Announcement>,
}

impl Management {
    /// The management core for these workers.
    pub fn new(snapshot: Arc<Snapshot>, workers: Vec<WorkerLink>, now: Time) -> Self {
        let links = workers
            .into_iter()
            .map(|worker| Link { worker, backlog: VecDeque::new(), cursor: 0, due: 0 })
            .collect();
        Management {
            neighbors: Neighbors::new(NEIGHBORS, snapshot.routes.next_hops()),
            snapshot,
            links,
            last_sweep: now,
            neighbors_changed: true,
            announcements: VecDeque::new(),
        }
    }

    /// One turn. Returns whether there was anything to do.
    pub fn poll_once(&mut self, now: Time) -> bool {
        self.post_backlog();
        self.make_announcements(now);
        let busy = self.read_mail(now);
        self.poll_neighbors(now);
        self.sweep(now) || busy
    }
}

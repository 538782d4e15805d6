//! The management core: everything that is not a packet.
//!
//! It resolves neighbours, ends idle sessions and publishes configurations, and talks to each worker over one
//! ring each way. It never writes a worker's state: it reads session records through their generation and asks
//! the owner to act.
//!
//! Like a worker it is driven by [`Management::poll_once`] with the time as a parameter. It may allocate and be late:
//! nothing that a worker does waits for it, except for packets to neighbours that nobody knows yet.
//!
//! Expiry is a sweep: each poll looks at the share of every shard that its time since the last poll allows, so
//! that the whole table is seen once a second. A session thus outlives its timeout by about a second at the most.

use crate::conntrack::key::V4Key;
use crate::conntrack::table::SessionView;
use crate::ids::{InterfaceId, WorkerId};
use crate::pipeline::Snapshot;
use crate::pipeline::message::{FromWorker, ToWorker};
use crate::pipeline::worker::NEIGHBORS;
use crate::route::neighbors::{Action, Neighbor, Neighbors};
use crate::time::Time;
use rtrb::{Consumer, Producer};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// How long one sweep over the session table takes.
const SWEEP: Duration = Duration::from_secs(1);
/// Messages read from each worker a poll.
const MAIL_BUDGET: usize = 1024;
/// How often each address of ours is announced, and the pause between (RFC 5227 1.1: `ANNOUNCE_NUM`,
/// `ANNOUNCE_INTERVAL`).
const ANNOUNCEMENTS: u32 = 2;
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(2);
/// Addresses announced a poll: a large pool must not fill the transmit queue at once.
const ANNOUNCE_BUDGET: usize = 16;
/// Neighbour news kept for a worker whose ring is full.
const BACKLOG: usize = 4 * NEIGHBORS;

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

impl Link {
    /// Looks at the sessions that are due. When the ring to the worker is full the rest stays due, so that thousands of
    /// sessions that end together are gone as soon as the worker can take the messages. Returns whether any was told.
    fn sweep(&mut self, now: Time) -> bool {
        let mut told = false;
        while self.due > 0 {
            let index = self.cursor;
            if let Some(generation) = self.worker.sessions.expired(index, now.tick()) {
                if self.worker.to.push(ToWorker::Expire { index, generation }).is_err() {
                    break;
                }
                told = true;
            }
            self.due -= 1;
            self.cursor = (index + 1) % self.worker.sessions.capacity().max(1);
        }
        told
    }
}

/// The management core.
#[derive(Debug)]
pub struct Management {
    snapshot: Arc<Snapshot>,
    neighbors: Neighbors,
    links: Vec<Link>,
    last_sweep: Time,
    neighbors_changed: bool,
    /// Addresses of ours to announce: when, where, which; the soonest first.
    announcements: VecDeque<(Time, InterfaceId, Ipv4Addr)>,
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

    /// Tells the neighbours where our addresses are (gratuitous ARP), so that switches and hosts forget the box that
    /// had them before: twice, two seconds apart (RFC 5227 2.3), some at each poll.
    pub fn announce(&mut self, now: Time) {
        for round in 0..ANNOUNCEMENTS {
            let at = now + ANNOUNCE_PAUSE * round;
            for interface in (0u8..).take(self.snapshot.interfaces.len()).map(InterfaceId) {
                let ours = self.snapshot.local.iter().map(|local| local.address);
                let here = ours.filter(|address| self.snapshot.answers_for(interface, *address));
                self.announcements.extend(here.map(|address| (at, interface, address)));
            }
        }
    }

    fn make_announcements(&mut self, now: Time) {
        for _ in 0..ANNOUNCE_BUDGET {
            let Some(&(at, interface, address)) = self.announcements.front() else { break };
            if now < at {
                break;
            }
            self.announcements.pop_front();
            self.post(0, ToWorker::AskNeighbor { interface, sender: address, target: address, mac: None });
        }
    }

    /// One turn. Returns whether there was anything to do.
    pub fn poll_once(&mut self, now: Time) -> bool {
        self.post_backlog();
        self.make_announcements(now);
        let mut busy = false;
        for worker in 0..self.links.len() {
            for _ in 0..MAIL_BUDGET {
                let Ok(message) = self.links[worker].worker.from.pop() else { break };
                busy = true;
                self.read(now, worker, message);
            }
        }
        let mut actions = Vec::new();
        self.neighbors.poll(now, &mut |action| actions.push(action));
        self.act(&actions, None);
        self.sweep(now) || busy
    }

    /// Every neighbour, if anything changed since the last call.
    pub fn neighbors_if_changed(&mut self) -> Option<Vec<Neighbor>> {
        std::mem::take(&mut self.neighbors_changed).then(|| self.neighbors.iter().collect())
    }

    fn read(&mut self, now: Time, worker: usize, message: FromWorker) {
        let mut actions = Vec::new();
        match message {
            FromWorker::Heard { interface, address, mac, asks_us } => {
                self.neighbors
                    .heard(now, (interface, address), mac, asks_us, &mut |action| actions.push(action));
                self.act(&actions, None);
            }
            FromWorker::Resolve { interface, address } => {
                self.neighbors.resolve(now, interface, address, &mut |action| actions.push(action));
                // What is known already is only news to the worker that asked.
                self.act(&actions, Some(worker));
            }
        }
    }

    fn act(&mut self, actions: &[Action], only: Option<usize>) {
        for action in actions {
            self.neighbors_changed = true;
            let news = match *action {
                Action::Request { interface, address, mac } => {
                    let sender = self.snapshot.interface(interface).address_towards(address);
                    self.post(0, ToWorker::AskNeighbor { interface, sender, target: address, mac });
                    continue;
                }
                Action::Resolved { interface, address, mac } => {
                    ToWorker::Neighbor { interface, address, mac }
                }
                Action::Gone { interface, address } => ToWorker::NeighborGone { interface, address },
            };
            for worker in 0..self.links.len() {
                if only.is_none_or(|only| only == worker) {
                    self.post(worker, news.clone());
                }
            }
        }
    }

    /// Posts a message, or keeps it until the worker has room.
    fn post(&mut self, worker: usize, message: ToWorker) {
        let Some(link) = self.links.get_mut(worker) else { return };
        if link.backlog.is_empty() {
            if let Err(rtrb::PushError::Full(message)) = link.worker.to.push(message) {
                link.backlog.push_back(message);
            }
        } else {
            if link.backlog.len() == BACKLOG {
                link.backlog.pop_front();
                tracing::warn!(worker, "a worker does not read its messages; the oldest one is dropped");
            }
            link.backlog.push_back(message);
        }
    }

    fn post_backlog(&mut self) {
        for link in &mut self.links {
            while let Some(message) = link.backlog.pop_front() {
                if let Err(rtrb::PushError::Full(message)) = link.worker.to.push(message) {
                    link.backlog.push_front(message);
                    break;
                }
            }
        }
    }

    /// Looks at as many sessions as the time since the last sweep allows. Returns whether any had to go.
    fn sweep(&mut self, now: Time) -> bool {
        let elapsed = now.since(self.last_sweep).min(SWEEP);
        let share = |link: &Link| {
            let capacity = link.worker.sessions.capacity().max(1);
            let slots = u128::from(capacity) * elapsed.as_nanos() / SWEEP.as_nanos();
            u32::try_from(slots).unwrap_or(capacity)
        };
        // Too little time for even one slot of the smallest shard: let it add up.
        if self.links.iter().all(|link| share(link) > 0) {
            self.last_sweep = now;
            for link in &mut self.links {
                // One more than the share makes up for rounding down.
                let due = link.due.saturating_add(share(link)).saturating_add(1);
                link.due = due.min(link.worker.sessions.capacity());
            }
        }
        let mut told = false;
        for link in &mut self.links {
            told |= link.sweep(now);
        }
        told
    }

    /// Looks for a neighbour's state, for tests and display.
    pub fn neighbor(&self, interface: InterfaceId, address: Ipv4Addr) -> Option<Neighbor> {
        self.neighbors.iter().find(|n| n.interface == interface && n.address == address)
    }

    /// How many messages wait for a worker whose ring is full.
    pub fn backlog(&self, worker: WorkerId) -> usize {
        self.links.get(worker.index()).map_or(0, |link| link.backlog.len())
    }
}

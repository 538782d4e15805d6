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
//! | `pressure` | what the limits of the session table mean for timers and events |
//! | `mail` | messages to workers: posted, or kept until there is room |
//! | `neighbors` | what workers hear and ask about neighbours, and what they are told |
//! | [`blocks`] | who has which block of ports, and the records of that |
//! | `announce` | gratuitous ARP at the start |
//! | [`watermarks`] | how full the session table is, and what there is to say of it |
//! | [`events`] | what an operator has to hear of once |
//! | [`expiry`] | the timers: finds idle sessions and has them removed |
//! | [`commands`] | deletions that the operator orders, passed on as there is room |
//! | [`session_feed`] | what happens to sessions, for whoever watches |
//! | [`health`] | whether backends are there |
//! | `routers` | routers that do not answer |
//! | [`publish`] | a new configuration for all workers |
//! | [`steering`] | whether NICs keep to their plans, and no worker carries too much |
//! | `sweep` | the pace of the sweep that makes up for lost posts |

mod announce;
pub mod blocks;
pub mod commands;
pub mod events;
pub mod expiry;
pub mod health;
mod mail;
mod neighbors;
mod pressure;
pub mod publish;
mod routers;
pub mod session_feed;
pub mod steering;
mod sweep;
pub mod watermarks;

use crate::conntrack::key::V4Key;
use crate::conntrack::table::SessionView;
use crate::pipeline::Snapshot;
use crate::pipeline::handover::Handover;
use crate::pipeline::message::{FromWorker, ToWorker};
use crate::pipeline::session_events::SessionEvent;
use crate::pipeline::worker::NEIGHBORS;
use crate::route::neighbors::Neighbors;
use crate::steering::plan::Choices;
use crate::telemetry::WorkerCounters;
use crate::time::Time;
use announce::Announcement;
use events::Events;
use expiry::Expiry;
use rtrb::{Consumer, Producer};
use session_feed::SessionFeed;
use std::collections::VecDeque;
use std::sync::Arc;
use steering::SteeringWatch;
use watermarks::Watermarks;

pub use publish::PublishError;

/// The management core's side of one worker.
#[derive(Debug)]
pub struct WorkerLink {
    /// Messages to the worker.
    pub to: Producer<ToWorker>,
    /// Messages from the worker.
    pub from: Consumer<FromWorker>,
    /// The worker's sessions.
    pub sessions: SessionView<V4Key>,
    /// Indices of sessions that the worker made, or whose timeout it shortened.
    pub timers: Consumer<u32>,
    /// What happens to its sessions, while somebody watches.
    pub session_events: Consumer<SessionEvent>,
    /// The worker's counters.
    pub counters: Arc<WorkerCounters>,
}

#[derive(Debug)]
struct Link {
    to: Producer<ToWorker>,
    from: Consumer<FromWorker>,
    expiry: Expiry,
    /// What did not fit into the ring yet, oldest first.
    backlog: VecDeque<ToWorker>,
    session_events: Consumer<SessionEvent>,
    /// How many session events its watchers were told that it lost.
    events_lost: u64,
}

/// The management core.
#[derive(Debug)]
pub struct Management {
    snapshot: Arc<Snapshot>,
    handover: Handover<Snapshot>,
    neighbors: Neighbors,
    links: Vec<Link>,
    neighbors_changed: bool,
    /// The soonest first.
    announcements: VecDeque<Announcement>,
    counters: Vec<Arc<WorkerCounters>>,
    watermarks: Watermarks,
    steering: SteeringWatch,
    events: Events,
    publications: publish::Publications,
    /// How each device's packets reach their owners, as it was chosen at the start.
    choices: Vec<Choices>,
    /// What the operator orders, by worker; empty if nobody can.
    orders: Vec<commands::Orders>,
    session_feed: SessionFeed,
    ledger: blocks::Ledger,
    silent_routers: routers::SilentRouters,
    health: health::Health,
}

impl Management {
    /// The management core for these workers.
    pub fn new(snapshot: Arc<Snapshot>, workers: Vec<WorkerLink>, now: Time) -> Self {
        let counters = workers.iter().map(|worker| worker.counters.clone()).collect();
        let capacities: Vec<_> = workers.iter().map(|worker| worker.sessions.capacity()).collect();
        let revisions = workers.iter().map(|worker| worker.counters.revision.clone()).collect();
        let links: Vec<_> = workers
            .into_iter()
            .map(|WorkerLink { to, from, sessions, timers, session_events, counters }| Link {
                to,
                from,
                expiry: Expiry::new(sessions, timers, counters, now),
                backlog: VecDeque::new(),
                session_events,
                events_lost: 0,
            })
            .collect();
        let mut management = Management {
            watermarks: Watermarks::new(&snapshot.conntrack, &capacities),
            steering: SteeringWatch::new(&snapshot, links.len(), &[]),
            events: Events::default(),
            counters,
            neighbors: Neighbors::new(NEIGHBORS, snapshot.routes.next_hops()),
            handover: Handover::new(snapshot.clone(), revisions),
            snapshot,
            links,
            neighbors_changed: true,
            announcements: VecDeque::new(),
            publications: publish::Publications::default(),
            choices: Vec::new(),
            orders: Vec::new(),
            session_feed: SessionFeed::default(),
            ledger: blocks::Ledger::default(),
            silent_routers: routers::SilentRouters::default(),
            health: health::Health::default(),
        };
        management.adopt_limits();
        let snapshot = management.snapshot.clone();
        management.adopt_backends(&snapshot, now);
        management
    }

    /// One turn. Returns whether there was anything to do.
    pub fn poll_once(&mut self, now: Time) -> bool {
        let publishing = self.hand_over(now);
        self.post_backlog();
        self.make_announcements(now);
        let mut busy = self.read_mail(now);
        self.poll_neighbors(now);
        self.watch_table(now);
        self.poll_steering(now);
        self.poll_health(now);
        busy |= self.pass_orders_on();
        busy |= self.tell_of_sessions();
        self.poll_timers(now) || busy || publishing
    }
}

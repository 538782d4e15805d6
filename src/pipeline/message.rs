//! What workers and the management core tell each other, over one ring each way and worker.
//!
//! A full ring may lose most of these: a timer or a sweep on the other side makes up for it. Configurations, and the memory
//! that they leave, are never lost.

use crate::ids::{InterfaceId, MacAddr};
use crate::nat::blocks::BlockEvent;
use crate::nat::probe::Question;
use crate::pipeline::Snapshot;
use crate::pipeline::update::WorkerUpdate;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// From the management core to a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// A neighbour has this Ethernet address.
    Neighbor {
        /// Where.
        interface: InterfaceId,
        /// Who.
        address: Ipv4Addr,
        /// Its Ethernet address.
        mac: MacAddr,
    },
    /// A neighbour does not answer.
    NeighborGone {
        /// Where.
        interface: InterfaceId,
        /// Who.
        address: Ipv4Addr,
    },
    /// Ask a backend whether it is there.
    Ask {
        /// The zone in which the route to it is.
        zone: u16,
        /// What it is asked.
        question: Question,
    },
    /// Send an ARP request.
    AskNeighbor {
        /// Where.
        interface: InterfaceId,
        /// With which address of ours; a pool's when it is announced.
        sender: Ipv4Addr,
        /// For whom; equal to `sender` to announce it (RFC 5227).
        target: Ipv4Addr,
        /// To one address only; `None`: to all.
        mac: Option<MacAddr>,
    },
    /// Run this configuration from now on; see [`super::handover`].
    Adopt {
        /// The configuration.
        snapshot: Arc<Snapshot>,
        /// Its number.
        revision: u64,
        /// The memory that it needs.
        update: Box<WorkerUpdate>,
    },
    /// Remove a session if it still is what it was and is idle for too long.
    Expire {
        /// Index in the shard.
        index: u32,
        /// Generation that was seen.
        generation: u32,
    },
    /// Remove a session if it still is what it was, however busy it is: the operator wants it gone.
    Delete {
        /// Index in the shard.
        index: u32,
        /// Generation that was seen.
        generation: u32,
    },
}

/// From a worker to the management core.
#[derive(Debug)]
pub enum FromWorker {
    /// An ARP message told where a neighbour is.
    Heard {
        /// Where.
        interface: InterfaceId,
        /// Who.
        address: Ipv4Addr,
        /// Its Ethernet address.
        mac: MacAddr,
        /// Whether it asked for an address of ours.
        asks_us: bool,
    },
    /// A packet waits for this neighbour.
    Resolve {
        /// Where.
        interface: InterfaceId,
        /// Who.
        address: Ipv4Addr,
    },
    /// A block of ports was given, or has gone back. Never lost: without room none is.
    Block(BlockEvent),
    /// A backend answered what may have been a question of ours.
    Answered {
        /// The zone that the answer came from.
        zone: u16,
        /// What it was.
        question: Question,
        /// Nobody listens on the port.
        refused: bool,
    },
    /// Memory that the worker has no use for any more. Never lost: the worker keeps it while the ring is full.
    Left(Box<WorkerUpdate>),
}

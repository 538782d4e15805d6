//! The handoff rings: one bounded single-producer single-consumer ring for each pair of workers.

use crate::ids::{DeviceId, InterfaceId};
use crate::packet::{Packet, Parsed};
use rtrb::{Consumer, Producer, RingBuffer};

/// Frames in each handoff ring.
pub const HANDOFF_FRAMES: usize = 1024;

/// What a frame counts as once it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// The interface that it leaves by.
    pub interface: InterfaceId,
    /// Made here (ARP, ICMP), so not the verdict of a received packet.
    pub generated: bool,
}

/// A frame for another worker.
#[derive(Debug)]
pub enum Handoff<B> {
    /// The other worker owns this packet.
    Own(Packet<B, Parsed>),
    /// The other worker collects this datagram's fragments.
    Collect(Packet<B, Parsed>),
    /// Ready to be sent, but only the other worker has a transmit queue of the device.
    Send(B, DeviceId, Note),
}

/// One worker's ends of the rings to and from each other worker; `None` at its own place.
#[derive(Debug)]
pub struct Peer<B> {
    /// To the other worker.
    pub to: Producer<Handoff<B>>,
    /// From the other worker.
    pub from: Consumer<Handoff<B>>,
}

/// The ends of all rings, by worker.
pub type Peers<B> = Vec<Option<Peer<B>>>;

/// Rings between every two of `workers` workers, each for `capacity` frames.
pub fn full_mesh<B>(workers: usize, capacity: usize) -> Vec<Peers<B>> {
    let mut ends: Vec<Vec<(Option<Producer<_>>, Option<Consumer<_>>)>> =
        (0..workers).map(|_| (0..workers).map(|_| (None, None)).collect()).collect();
    for (from, to) in (0..workers).flat_map(|from| (0..workers).map(move |to| (from, to))) {
        if from != to {
            let (producer, consumer) = RingBuffer::new(capacity);
            ends[from][to].0 = Some(producer);
            ends[to][from].1 = Some(consumer);
        }
    }
    ends.into_iter()
        .map(|row| row.into_iter().map(|(to, from)| Some(Peer { to: to?, from: from? })).collect())
        .collect()
}

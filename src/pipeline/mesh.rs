//! The handoff rings: one bounded single-producer single-consumer ring for each pair of workers.
//!
//! Frames for another worker are gathered in a burst of its own and put on its ring together, at the latest at the end of
//! the turn, and taken off together: the two cores exchange cache lines once a burst. Frames stay in the order in which
//! they were handed over, and so do the packets of a flow.
//!
//! What does not fit is refused to whoever handed it over, who drops it by name: a worker that is overrun loses packets
//! of its own flows only, and nobody waits for it.

use crate::conntrack::key::V4Key;
use crate::device::{BURST, Burst};
use crate::ids::{DeviceId, InterfaceId, WorkerId};
use crate::packet::{Packet, PacketBuf, Parsed};
use crate::prefetch::prefetch;
use arrayvec::ArrayVec;
use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};
use std::net::Ipv4Addr;

/// Frames in each handoff ring.
pub const HANDOFF_FRAMES: usize = 1024;

/// What a frame counts as once it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// The interface that it leaves by.
    pub interface: InterfaceId,
    /// Made here (ARP, ICMP), so not the verdict of a received packet.
    pub generated: bool,
    /// Bytes of the frame, known once it is finished.
    pub length: u16,
}

impl Note {
    /// What a received packet counts as that leaves by this interface.
    pub const fn forwarded(interface: InterfaceId) -> Note {
        Note { interface, generated: false, length: 0 }
    }

    /// What a frame counts as that was made here.
    pub const fn generated(interface: InterfaceId) -> Note {
        Note { interface, generated: true, length: 0 }
    }
}

/// A packet for its owner, read once: with the key of its flow and the hash, which is the same in every shard.
#[derive(Debug)]
pub struct Work<B> {
    /// The packet.
    pub packet: Packet<B, Parsed>,
    /// Its flow.
    pub key: V4Key,
    /// The key's hash in the session tables.
    pub hash: u64,
}

/// An external port that an endpoint inside needs, and for whom: see `alg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The external address, by its number among the local ones.
    pub number: u16,
    /// The zone of the endpoint inside.
    pub zone: u16,
    /// The address of the endpoint inside.
    pub address: Ipv4Addr,
    /// Its port, of TCP.
    pub port: u16,
    /// Who comes: see [`crate::nat::alg::expectations::Expected`].
    pub remote: Ipv4Addr,
}

/// A frame for another worker.
#[derive(Debug)]
pub enum Handoff<B> {
    /// The other worker owns this packet.
    Own(Work<B>),
    /// The other worker collects this datagram's fragments.
    Collect(Packet<B, Parsed>),
    /// Ready to be sent, but only the other worker has a transmit queue of the device.
    Send(B, DeviceId, Note),
    /// The other worker shall open an endpoint for what this packet says, and tell it to this one.
    Ask(Packet<B, Parsed>, Ask, WorkerId),
    /// The port that the other worker asked for; `None`: there is none.
    Told(Packet<B, Parsed>, Ask, Option<u16>),
}

/// One worker's ends of the rings to and from each other worker; `None` at its own place.
#[derive(Debug)]
pub struct Peer<B> {
    to: Producer<Handoff<B>>,
    /// On its way to the ring.
    staged: Burst<Handoff<B>>,
    from: Consumer<Handoff<B>>,
}

impl<B> Peer<B> {
    /// Hands a frame over. When the burst is full it goes to the ring first, and what the ring has no room for is refused.
    #[inline]
    pub fn push(&mut self, handoff: Handoff<B>, refused: impl FnMut(Handoff<B>)) {
        if self.staged.is_full() {
            self.flush(refused);
        }
        self.staged.push(handoff);
    }

    /// Whether something was handed over that is not on the ring yet.
    #[inline]
    pub fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Puts what was handed over on the ring. What it has no room for is refused.
    pub fn flush(&mut self, refused: impl FnMut(Handoff<B>)) {
        // How far the other worker is, is only asked, at the price of a cache line, when it may be too full.
        let room = match self.to.write_chunk_uninit(self.staged.len()) {
            Ok(chunk) => {
                chunk.fill_from_iter(self.staged.drain(..));
                return;
            }
            Err(ChunkError::TooFewSlots(room)) => room,
        };
        if let Ok(chunk) = self.to.write_chunk_uninit(room) {
            chunk.fill_from_iter(self.staged.drain(..room));
        }
        self.staged.drain(..).for_each(refused);
    }

    /// Takes of what the other worker handed over as much as `burst` has room for.
    pub fn take(&mut self, burst: &mut Burst<Handoff<B>>) {
        let ready = self.from.slots().min(BURST - burst.len());
        if let Ok(chunk) = self.from.read_chunk(ready) {
            burst.extend(chunk);
        }
    }
}

impl<B: PacketBuf> Handoff<B> {
    /// Asks for the headers: they are in the other core's cache.
    #[inline]
    pub fn prefetch(&self) {
        let (Handoff::Own(Work { packet: Packet { buf, .. }, .. })
        | Handoff::Collect(Packet { buf, .. })
        | Handoff::Ask(Packet { buf, .. }, ..)
        | Handoff::Told(Packet { buf, .. }, ..)
        | Handoff::Send(buf, ..)) = self;
        if let Some(first) = buf.data().first() {
            prefetch(first);
        }
    }
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
        .map(|row| {
            row.into_iter()
                .map(|(to, from)| Some(Peer { to: to?, staged: ArrayVec::new(), from: from? }))
                .collect()
        })
        .collect()
}

//! A device in memory, for tests and benchmarks: the test holds the other end of its wire.
//!
//! A [`MemWire`] has one queue of frames towards each worker and one of what they sent. The queues are
//! preallocated and bounded, and behind a mutex: this device is not for production.

use super::membuf::{MemBuf, MemPool};
use super::{Burst, Device};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

type Queue = Arc<Mutex<VecDeque<MemBuf>>>;

/// Frames that one queue holds.
pub const QUEUE_FRAMES: usize = 4096;

/// The other end of a device in memory.
#[derive(Clone, Debug)]
pub struct MemWire {
    pool: MemPool,
    towards: Vec<Queue>,
    sent: Queue,
}

/// One worker's handle on a device in memory.
#[derive(Debug)]
pub struct MemDevice {
    pool: MemPool,
    rx: Option<Queue>,
    tx: Option<Queue>,
}

fn queue() -> Queue {
    Arc::new(Mutex::new(VecDeque::with_capacity(QUEUE_FRAMES)))
}

impl MemWire {
    /// A device with `rx_queues` receive and `tx_queues` transmit queues, and the handles for `workers` workers:
    /// a worker beyond the number of queues gets a handle without one.
    pub fn new(
        pool: &MemPool,
        workers: usize,
        rx_queues: usize,
        tx_queues: usize,
    ) -> (MemWire, Vec<MemDevice>) {
        let wire =
            MemWire { pool: pool.clone(), towards: (0..rx_queues).map(|_| queue()).collect(), sent: queue() };
        let handles = (0..workers)
            .map(|worker| MemDevice {
                pool: pool.clone(),
                rx: wire.towards.get(worker).cloned(),
                tx: (worker < tx_queues).then(|| wire.sent.clone()),
            })
            .collect();
        (wire, handles)
    }

    /// How many receive queues the device has.
    pub fn rx_queues(&self) -> usize {
        self.towards.len()
    }

    /// Puts a frame on the wire towards a receive queue. False when pool or queue are full.
    pub fn push(&self, rx_queue: usize, frame: &[u8]) -> bool {
        MemBuf::from_bytes(&self.pool, frame).is_some_and(|buf| self.push_buf(rx_queue, buf).is_ok())
    }

    /// Puts a frame on the wire without copying it.
    pub fn push_buf(&self, rx_queue: usize, buf: MemBuf) -> Result<(), MemBuf> {
        let Some(queue) = self.towards.get(rx_queue) else { return Err(buf) };
        let mut frames = queue.lock().unwrap_or_else(PoisonError::into_inner);
        if frames.len() == QUEUE_FRAMES {
            return Err(buf);
        }
        frames.push_back(buf);
        Ok(())
    }

    /// Takes the next frame that a worker sent.
    pub fn pop(&self) -> Option<MemBuf> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Device for MemDevice {
    type Buf = MemBuf;

    fn rx_burst(&mut self, out: &mut Burst<MemBuf>) {
        let Some(queue) = &self.rx else { return };
        let mut frames = queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !out.is_full()
            && let Some(frame) = frames.pop_front()
        {
            out.push(frame);
        }
    }

    fn tx_burst(&mut self, frames: &mut Burst<MemBuf>) {
        let Some(queue) = &self.tx else { return };
        let mut sent = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let room = (QUEUE_FRAMES - sent.len()).min(frames.len());
        sent.extend(frames.drain(..room));
    }

    fn alloc(&mut self) -> Option<MemBuf> {
        self.pool.alloc()
    }

    fn transmits(&self) -> bool {
        self.tx.is_some()
    }
}

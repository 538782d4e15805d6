//! What the operator orders, on its way from the control thread to the workers: the deletion of sessions.
//!
//! The control thread finds the sessions and names them by index and generation, so that a session which took the place
//! of one that was meant is left alone. It sends names in batches over a bounded channel for each worker and
//! waits when that is full. The management core takes a batch when the one before is passed on, and passes names on
//! while the ring to the worker is at most half full: the other half is for news of neighbours and for expiry,
//! which must not wait for ten million deletions. Nothing here is lost: what finds no room waits.

use super::Management;
use crate::ids::WorkerId;
use crate::pipeline::message::ToWorker;
use rtrb::Producer;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The most names in a batch.
pub const BATCH: usize = 1024;
/// Batches that wait for the management core, for each worker.
const BATCHES: usize = 4;

/// A session that is meant: a place in a worker's table, and which user of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionName {
    /// Index in the shard.
    pub index: u32,
    /// Generation that was seen.
    pub generation: u32,
}

/// Nobody takes orders any more: the gateway stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway is stopping")]
pub struct Stopping;

/// The control thread's end: orders for each worker. Clones give orders to the same workers.
#[derive(Clone, Debug)]
pub struct Commands(Arc<[mpsc::Sender<Vec<SessionName>>]>);

impl Commands {
    /// Has the sessions of a worker removed that still are what they were, [`BATCH`] of them at the most. Waits
    /// for room, not for the worker.
    ///
    /// # Errors
    /// The management core is gone, or there is no such worker.
    pub async fn delete(&self, worker: WorkerId, sessions: Vec<SessionName>) -> Result<(), Stopping> {
        let sender = self.0.get(worker.index()).ok_or(Stopping)?;
        sender.send(sessions).await.map_err(|_| Stopping)
    }
}

/// The management core's end for one worker.
#[derive(Debug)]
pub struct Orders {
    waiting: mpsc::Receiver<Vec<SessionName>>,
    /// The batch in hand, the last name first.
    in_hand: Vec<SessionName>,
}

impl Orders {
    /// Passes on what there is room for. Returns whether there was anything.
    pub(super) fn pass_on(&mut self, to: &mut Producer<ToWorker>) -> bool {
        let reserved = to.buffer().capacity() / 2;
        let mut passed = false;
        for _ in reserved..to.slots() {
            if self.in_hand.is_empty() {
                let Ok(batch) = self.waiting.try_recv() else { break };
                self.in_hand = batch;
            }
            let Some(SessionName { index, generation }) = self.in_hand.pop() else { continue };
            if to.push(ToWorker::Delete { index, generation }).is_err() {
                self.in_hand.push(SessionName { index, generation });
                break;
            }
            passed = true;
        }
        passed
    }
}

impl Management {
    /// Takes orders from the operator, by worker: see [`channel`].
    pub fn take_orders(&mut self, orders: Vec<Orders>) {
        self.orders = orders;
    }

    /// Returns whether there were any.
    pub(super) fn pass_orders_on(&mut self) -> bool {
        let links = self.links.iter_mut().zip(&mut self.orders);
        links.fold(false, |passed, (link, orders)| orders.pass_on(&mut link.to) || passed)
    }
}

/// The way for orders to so many workers: both ends, the second one by worker.
pub fn channel(workers: usize) -> (Commands, Vec<Orders>) {
    let (senders, orders): (Vec<_>, Vec<_>) = (0..workers)
        .map(|_| {
            let (sender, waiting) = mpsc::channel(BATCHES);
            (sender, Orders { waiting, in_hand: Vec::new() })
        })
        .unzip();
    (Commands(senders.into()), orders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrb::RingBuffer;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn names(range: std::ops::Range<u32>) -> Vec<SessionName> {
        range.map(|index| SessionName { index, generation: 2 }).collect()
    }

    #[test]
    fn every_name_reaches_the_worker_once_and_half_of_the_ring_stays_free() {
        let (commands, mut orders) = channel(2);
        let (mut to, mut mail) = RingBuffer::new(16);
        block_on(async {
            commands.delete(WorkerId(1), names(0..10)).await.unwrap();
            commands.delete(WorkerId(1), names(10..25)).await.unwrap();
        });
        let mut seen = Vec::new();
        while orders[1].pass_on(&mut to) {
            assert!(to.slots() >= 8);
            while let Ok(ToWorker::Delete { index, generation: 2 }) = mail.pop() {
                seen.push(index);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
        assert!(!orders[0].pass_on(&mut to));
    }

    #[test]
    fn a_worker_that_reads_nothing_holds_back_only_its_own_orders() {
        let (commands, mut orders) = channel(2);
        let (mut stuck, _mail) = RingBuffer::new(4);
        let (mut free, mut mail) = RingBuffer::new(4);
        block_on(async {
            commands.delete(WorkerId(0), names(0..9)).await.unwrap();
            commands.delete(WorkerId(1), names(0..1)).await.unwrap();
        });
        assert!(orders[0].pass_on(&mut stuck));
        assert!(!orders[0].pass_on(&mut stuck), "its ring is half full");
        assert!(orders[1].pass_on(&mut free));
        assert!(mail.pop().is_ok());
    }

    #[test]
    fn orders_to_a_gateway_that_stopped_fail() {
        let (commands, orders) = channel(1);
        drop(orders);
        assert_eq!(block_on(commands.delete(WorkerId(0), names(0..1))), Err(Stopping));
        assert_eq!(block_on(commands.delete(WorkerId(7), names(0..1))), Err(Stopping));
    }
}

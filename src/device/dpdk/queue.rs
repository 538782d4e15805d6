//! One worker's receive and transmit queue of one port.
//!
//! A queue pair of a port belongs to exactly one [`DpdkQueue`], and using it takes `&mut`, so no queue is ever
//! polled by two threads. The handle keeps its port open: [`super::Dpdk::stop`] refuses while one is left.

use super::mbuf::Mbuf;
use super::port::Port;
use super::{Shared, memory::Pool};
use crate::device::{BURST, Burst, Device};
use std::fmt;
use std::ptr;
use std::sync::Arc;

/// A worker's handle on one port.
pub struct DpdkQueue {
    shared: Arc<Shared>,
    index: usize,
    port: u16,
    rx: Option<u16>,
    tx: Option<u16>,
}

impl DpdkQueue {
    /// The handle of worker `worker` on port `index`.
    ///
    /// # Safety
    ///
    /// The port is started, and this is the only handle for that worker and port.
    pub(super) unsafe fn new(shared: &Arc<Shared>, index: usize, port: &Port, worker: u16) -> DpdkQueue {
        DpdkQueue {
            shared: Arc::clone(shared),
            index,
            port: port.id(),
            rx: (worker < port.rx_queues()).then_some(worker),
            tx: (worker < port.tx_queues()).then_some(worker),
        }
    }

    /// Whether this handle has a receive queue.
    pub fn receives(&self) -> bool {
        self.rx.is_some()
    }

    #[inline]
    fn pool(&self) -> Option<&Pool> {
        self.shared.pool.as_ref()
    }
}

impl fmt::Debug for DpdkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DpdkQueue { port, rx, tx, .. } = self;
        write!(f, "DpdkQueue {{ port: {port}, rx: {rx:?}, tx: {tx:?} }}")
    }
}

impl Device for DpdkQueue {
    type Buf = Mbuf;

    #[inline]
    fn rx_burst(&mut self, out: &mut Burst<Mbuf>) {
        let Some(queue) = self.rx else { return };
        let held = out.len();
        let room = u16::try_from(BURST - held).unwrap_or(0);
        let mut unusable = 0;
        // SAFETY: the part of `out` behind `held` has room for `room` pointers; `Mbuf` is a pointer to `ng_mbuf` by
        // `repr(transparent)`.
        let free = unsafe { out.as_mut_ptr().add(held) }.cast::<*mut dpdk_sys::ng_mbuf>();
        // SAFETY: the port is started while `shared` lives, and the queue is ours alone; `free` has `room` places.
        let count =
            unsafe { dpdk_sys::ng_rx_burst(self.port, queue, free, room, &raw mut unusable) }.min(room);
        // SAFETY: the shim filled `count` places with frames of one segment that are now ours.
        unsafe { out.set_len(held + usize::from(count)) };
        if unusable > 0
            && let Some(port) = self.shared.ports.get(self.index)
        {
            port.count_unusable(queue, unusable);
        }
    }

    #[inline]
    fn tx_burst(&mut self, frames: &mut Burst<Mbuf>) {
        let Some(queue) = self.tx else { return };
        let len = frames.len();
        let count = u16::try_from(len).unwrap_or(0);
        let start = frames.as_mut_ptr();
        // SAFETY: the port is started while `shared` lives, and the queue is ours alone; `start` has `count` frames, and
        // `Mbuf` is a pointer to `ng_mbuf` by `repr(transparent)`.
        let taken =
            unsafe { dpdk_sys::ng_tx_burst(self.port, queue, start.cast::<*mut dpdk_sys::ng_mbuf>(), count) };
        let taken = usize::from(taken).min(len);
        // The first `taken` frames are the driver's now and must not be dropped here: close the gap over them.
        // SAFETY: `taken` lies within the initialised part.
        let rest = unsafe { start.add(taken) };
        // SAFETY: both ranges lie within the initialised part and hold plain pointers.
        unsafe { ptr::copy(rest, start, len - taken) };
        // SAFETY: the first `len - taken` places hold the frames that were not taken; nothing panicked since the
        // driver took the others.
        unsafe { frames.set_len(len - taken) };
    }

    #[inline]
    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool()?.alloc()
    }

    #[inline]
    fn transmits(&self) -> bool {
        self.tx.is_some()
    }
}

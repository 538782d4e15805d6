//! Frames in ordinary memory, for tests, benchmarks and capture files.
//!
//! A [`MemPool`] allocates all of its frames when it is made and gets each back when its [`MemBuf`] is dropped,
//! whichever thread that happens on. So a steady state allocates nothing, and a test can ask
//! [`MemPool::in_use`] whether a frame leaked.
//!
//! The free list is behind a mutex: good enough for tests and for replay, and the reason why real devices bring
//! their own buffers.

use crate::packet::{NoRoom, PacketBuf};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room in front of a fresh frame, in bytes: what DPDK's mbufs have by default.
pub const HEADROOM: usize = 128;

/// A fixed number of frames of a fixed size. Clones share the same frames.
#[derive(Clone)]
pub struct MemPool(Arc<Shared>);

struct Shared {
    free: Mutex<Vec<Box<[u8]>>>,
    frames: usize,
    frame_size: usize,
}

impl MemPool {
    /// A pool of `frames` frames that each hold up to `frame_size` bytes behind [`HEADROOM`].
    pub fn new(frames: usize, frame_size: usize) -> MemPool {
        let free = (0..frames).map(|_| vec![0; HEADROOM + frame_size].into_boxed_slice()).collect();
        MemPool(Arc::new(Shared { free: Mutex::new(free), frames, frame_size }))
    }

    /// An empty frame; `None` when all are in use.
    pub fn alloc(&self) -> Option<MemBuf> {
        let bytes = self.0.free().pop()?;
        Some(MemBuf { bytes, start: HEADROOM, end: HEADROOM, pool: self.clone() })
    }

    /// How many frames are out at this moment.
    pub fn in_use(&self) -> usize {
        self.0.frames - self.0.free().len()
    }

    /// How many frames there are in all.
    pub fn capacity(&self) -> usize {
        self.0.frames
    }

    /// How many bytes a frame holds without touching its headroom.
    pub fn frame_size(&self) -> usize {
        self.0.frame_size
    }
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        // A panic elsewhere can not leave the list half changed.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemPool({} of {} frames in use)", self.in_use(), self.capacity())
    }
}

/// One frame of a [`MemPool`], given back when it is dropped.
pub struct MemBuf {
    bytes: Box<[u8]>,
    // start <= end <= bytes.len(), always.
    start: usize,
    end: usize,
    pool: MemPool,
}

impl MemBuf {
    /// A frame that holds `frame`; `None` when the pool is empty or its frames are too small.
    pub fn from_bytes(pool: &MemPool, frame: &[u8]) -> Option<MemBuf> {
        let mut buf = pool.alloc()?;
        buf.grow_back(frame.len()).ok()?;
        buf.data_mut().copy_from_slice(frame);
        Some(buf)
    }

    /// Another frame of the same pool with the same bytes; `None` when the pool is empty.
    pub fn try_clone(&self) -> Option<MemBuf> {
        MemBuf::from_bytes(&self.pool, self.data())
    }
}

impl Drop for MemBuf {
    fn drop(&mut self) {
        // The list was made with room for every frame, so this never allocates.
        self.pool.0.free().push(std::mem::take(&mut self.bytes));
    }
}

impl fmt::Debug for MemBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemBuf({} bytes: {:02x?})", self.data().len(), self.data())
    }
}

impl PacketBuf for MemBuf {
    #[inline]
    fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start.saturating_add(len));
    }

    #[inline]
    fn grow_front(&mut self, n: usize) -> Result<(), NoRoom> {
        self.start = self.start.checked_sub(n).ok_or(NoRoom)?;
        Ok(())
    }

    #[inline]
    fn shrink_front(&mut self, n: usize) {
        self.start = self.end.min(self.start.saturating_add(n));
    }

    #[inline]
    fn grow_back(&mut self, n: usize) -> Result<(), NoRoom> {
        let end = self.end.checked_add(n).filter(|end| *end <= self.bytes.len()).ok_or(NoRoom)?;
        self.end = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_frame_goes_back_to_its_pool_and_an_empty_pool_gives_none() {
        let pool = MemPool::new(2, 64);
        let first = pool.alloc().unwrap();
        let second = MemBuf::from_bytes(&pool, &[1, 2, 3]).unwrap();
        assert_eq!(pool.in_use(), 2);
        assert!(pool.alloc().is_none());
        drop(first);
        assert_eq!(second.try_clone().unwrap().data(), [1, 2, 3]);
        std::thread::spawn(move || drop(second)).join().unwrap();
        assert_eq!(pool.in_use(), 0);
        assert!(pool.alloc().unwrap().data().is_empty(), "a recycled frame starts empty");
    }

    #[test]
    fn a_frame_grows_and_shrinks_at_both_ends_within_its_room() {
        let pool = MemPool::new(1, 16);
        let mut buf = MemBuf::from_bytes(&pool, &[1, 2, 3, 4]).unwrap();
        buf.grow_front(2).unwrap();
        assert_eq!(buf.data().len(), 6);
        buf.shrink_front(3);
        assert_eq!(buf.data(), [2, 3, 4]);
        buf.truncate(9);
        assert_eq!(buf.data(), [2, 3, 4]);
        buf.truncate(1);
        assert_eq!(buf.data(), [2]);
        assert_eq!(buf.grow_front(HEADROOM + 2), Err(NoRoom));
        assert_eq!(buf.grow_front(HEADROOM + 1), Ok(()));
        assert_eq!(buf.grow_back(usize::MAX), Err(NoRoom));
        assert_eq!(buf.grow_back(15), Err(NoRoom));
        assert_eq!(buf.grow_back(14), Ok(()));
        buf.shrink_front(1000);
        assert!(buf.data().is_empty());
    }

    #[test]
    fn bytes_that_do_not_fit_give_none_and_leak_nothing() {
        let pool = MemPool::new(1, 4);
        assert!(MemBuf::from_bytes(&pool, &[0; 5]).is_none());
        assert_eq!(pool.in_use(), 0);
    }
}

//! A frame in DPDK's memory.
//!
//! An [`Mbuf`] owns one `rte_mbuf` of one segment with one reference: no other thread, queue or driver sees it.
//! It comes from a receive burst or from [`super::Pool::alloc`], and goes with a transmit burst or by being
//! dropped. The pool outlives it: it is freed only when no frame is out (see [`super::Dpdk::stop`]).

use crate::packet::{NoRoom, PacketBuf};
use dpdk_sys::ng_mbuf;
use std::fmt;
use std::ptr::NonNull;
use std::slice;

/// An owned frame. As large as a pointer, so that a burst of them is an array that DPDK reads and writes.
#[repr(transparent)]
pub struct Mbuf(NonNull<ng_mbuf>);

// SAFETY: an mbuf belongs to no thread; its pool takes it back from any.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes a frame over.
    ///
    /// # Safety
    ///
    /// `raw` is a valid mbuf of one segment in a pool that outlives it, and nobody else uses it from now on.
    #[inline]
    pub(super) unsafe fn from_raw(raw: NonNull<ng_mbuf>) -> Mbuf {
        Mbuf(raw)
    }

    #[inline]
    fn head(&self) -> &ng_mbuf {
        // SAFETY: the mbuf is valid and ours alone while `self` lives.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut ng_mbuf {
        // SAFETY: the mbuf is valid and ours alone while `self` lives.
        unsafe { self.0.as_mut() }
    }

    /// Sets where the frame lies in its buffer. The callers keep `offset + len` within the buffer.
    #[inline]
    fn place(&mut self, offset: u16, len: u16) {
        let head = self.head_mut();
        debug_assert!(offset.checked_add(len).is_some_and(|end| end <= head.buf_len));
        head.data_off = offset;
        head.data_len = len;
        head.pkt_len = u32::from(len);
    }

    /// The start of the frame.
    #[inline]
    fn start(&self) -> *mut u8 {
        let head = self.head();
        // SAFETY: `data_off` never exceeds `buf_len`: drivers see to it for received frames, `place` afterwards.
        unsafe { head.buf_addr.cast::<u8>().add(usize::from(head.data_off)) }
    }
}

impl PacketBuf for Mbuf {
    #[inline]
    fn data(&self) -> &[u8] {
        // SAFETY: `data_len` bytes from the start lie in the buffer, which is ours alone and initialised: EAL's memory
        // comes zeroed from the kernel.
        unsafe { slice::from_raw_parts(self.start(), usize::from(self.head().data_len)) }
    }

    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start(), usize::from(self.head().data_len)) }
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        let head = self.head();
        if let Ok(len) = u16::try_from(len)
            && len < head.data_len
        {
            self.place(head.data_off, len);
        }
    }

    #[inline]
    fn grow_front(&mut self, n: usize) -> Result<(), NoRoom> {
        let head = self.head();
        let n = u16::try_from(n).map_err(|_| NoRoom)?;
        let offset = head.data_off.checked_sub(n).ok_or(NoRoom)?;
        let len = head.data_len.checked_add(n).ok_or(NoRoom)?;
        self.place(offset, len);
        Ok(())
    }

    #[inline]
    fn shrink_front(&mut self, n: usize) {
        let head = self.head();
        let n = u16::try_from(n).unwrap_or(u16::MAX).min(head.data_len);
        self.place(head.data_off + n, head.data_len - n);
    }

    #[inline]
    fn grow_back(&mut self, n: usize) -> Result<(), NoRoom> {
        let head = self.head();
        let n = u16::try_from(n).map_err(|_| NoRoom)?;
        let len = head.data_len.checked_add(n).ok_or(NoRoom)?;
        if head.data_off.checked_add(len).is_none_or(|end| end > head.buf_len) {
            return Err(NoRoom);
        }
        self.place(head.data_off, len);
        Ok(())
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the mbuf is ours and is not used afterwards; its pool is alive while any frame is out.
        unsafe { dpdk_sys::ng_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf").field("len", &self.head().data_len).finish_non_exhaustive()
    }
}

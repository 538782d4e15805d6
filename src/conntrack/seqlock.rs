//! The sequence number that tells a reader whether what it copied was whole: a seqlock with one writer.
//!
//! Even: whole. Odd: being written, or nothing there. The protected fields are relaxed atomics, so a torn copy
//! is possible but never undefined behaviour; the sequence number only detects it.
//!
//! # Ordering
//!
//! - [`SeqCount::begin_write`] stores the odd number and then issues a *release fence*. A reader that sees any
//!   field stored after it, and then issues its own acquire fence, also sees the odd number (or a later one).
//! - [`SeqCount::end_write`] stores the even number with *release*. A reader whose *acquire* load sees it also
//!   sees every field stored before.
//! - [`SeqCount::try_read`] loads the number with acquire, copies the fields relaxed, issues an *acquire fence*
//!   and loads the number again: the same even number twice means that no write fell in between.
//!
//! This is Boehm's scheme ("Can seqlocks get along with programming language memory models?", 2012, figure 6).
//! On x86-64 all of it compiles to plain loads and stores. `tests/loom_session.rs` checks it.
//!
//! A number repeats after 2^31 writes. A reader would have to sleep through exactly that many to be fooled.

use crate::sync::{AtomicU32, Ordering, fence};

/// A sequence number; see the module's head.
#[derive(Debug)]
pub struct SeqCount(AtomicU32);

/// Why a copy could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// The number was odd: a write is under way, or there is nothing to read.
    Busy,
    /// A write fell into the copying.
    Changed,
}

impl SeqCount {
    /// A number under which nothing can be read until the first [`SeqCount::end_write`].
    pub fn unwritten() -> Self {
        SeqCount(AtomicU32::new(1))
    }

    /// A number under which the fields can be read as they are.
    pub fn written() -> Self {
        SeqCount(AtomicU32::new(0))
    }

    /// The number. Exact for the writer, a hint for others.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether the fields are whole. Exact for the writer, a hint for others.
    #[inline]
    pub fn is_whole(&self) -> bool {
        Self::is_even(self.get())
    }

    /// Writer: from here on the fields are not whole. Call it only when they are.
    #[inline]
    pub fn begin_write(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
    }

    /// Writer: the fields are whole. Call it only when they were not.
    #[inline]
    pub fn end_write(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Release);
    }

    /// Reader: runs `copy`, and returns what it copied with the number under which it is whole.
    ///
    /// `copy` may see any mixture of old and new fields; its result is thrown away then.
    #[inline]
    pub fn try_read<R>(&self, copy: impl FnOnce() -> R) -> Result<(u32, R), Interrupted> {
        let before = self.0.load(Ordering::Acquire);
        if !Self::is_even(before) {
            return Err(Interrupted::Busy);
        }
        let copied = copy();
        fence(Ordering::Acquire);
        if self.get() == before { Ok((before, copied)) } else { Err(Interrupted::Changed) }
    }

    fn is_even(number: u32) -> bool {
        number & 1 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_read_while_a_write_is_under_way() {
        let sequence = SeqCount::unwritten();
        assert_eq!(sequence.try_read(|| ()), Err(Interrupted::Busy));
        sequence.end_write();
        assert_eq!(sequence.try_read(|| 7), Ok((2, 7)));
        sequence.begin_write();
        assert_eq!(sequence.try_read(|| ()), Err(Interrupted::Busy));
    }

    #[test]
    fn a_copy_that_a_write_fell_into_is_refused() {
        let sequence = SeqCount::written();
        let copy = sequence.try_read(|| {
            sequence.begin_write();
            sequence.end_write();
        });
        assert_eq!(copy, Err(Interrupted::Changed));
    }
}

//! Large tables in huge pages.
//!
//! Named fence for `unsafe` outside `device::dpdk`. A large table on 4 KiB pages costs a walk of the page tables for nearly
//! every packet; on 2 MiB pages the translations stay in the TLB. A packet of a known flow took 414 cycles with ten
//! million sessions on plain pages and 329 on huge ones, 337 and 298 with a million (`cargo bench --bench budgets`, one
//! run each in turn, `never` and `madvise` in `/sys/kernel/mm/transparent_hugepage/enabled`). `scripts/test sanitize` runs its
//! tests under AddressSanitizer.
//!
//! # Where the memory comes from
//!
//! Tables below 2 MiB are ordinary boxes. For larger ones, in this order: reserved huge pages (`MAP_HUGETLB`: the pool
//! of `vm.nr_hugepages`, of which DPDK took its part before); else ordinary pages that the kernel is asked to join
//! (`MADV_HUGEPAGE`), which it does where it can. The operating system never gives less memory than asked for here:
//! reserved pages are set aside when they are mapped, and every element is written once by [`Slab::from_fn`].
//!
//! # Ownership
//!
//! A [`Slab`] owns its elements as a boxed slice does, and is shared (in an `Arc`) or borrowed by the same rules.
//! Elements are never dropped one by one, so only types without a destructor may be in it (checked by the compiler).

use std::fmt;
use std::ops::{Deref, DerefMut};

/// What a table lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Ordinary pages: the table is small, or the system has no others.
    Plain,
    /// Ordinary pages that the kernel was asked to join to huge ones.
    Transparent,
    /// Huge pages out of the reserved pool.
    Reserved,
}

impl Pages {
    /// In words, for logs.
    pub fn name(self) -> &'static str {
        match self {
            Pages::Plain => "plain pages",
            Pages::Transparent => "transparent huge pages",
            Pages::Reserved => "reserved huge pages",
        }
    }
}

/// A boxed slice of fixed length, in huge pages if it is large; see the module's head.
pub struct Slab<T>(Backing<T>);

enum Backing<T> {
    Boxed(Box<[T]>),
    #[cfg(all(target_os = "linux", not(miri), not(natgate_loom)))]
    Mapped(mapped::Mapped<T>),
}

/// From this size on huge pages are asked for: one of them.
#[cfg(all(target_os = "linux", not(miri), not(natgate_loom)))]
const HUGE_PAGE: usize = 2 << 20;

impl<T> Slab<T> {
    const NO_DESTRUCTOR: () = assert!(!std::mem::needs_drop::<T>(), "elements are not dropped one by one");

    /// A slab of `len` elements; `make` gets the index.
    pub fn from_fn(len: usize, make: impl FnMut(usize) -> T) -> Slab<T> {
        let () = Self::NO_DESTRUCTOR;
        #[cfg(all(target_os = "linux", not(miri), not(natgate_loom)))]
        let make = match mapped::Mapped::new(len, make) {
            Ok(mapped) => return Slab(Backing::Mapped(mapped)),
            Err(make) => make,
        };
        Slab(Backing::Boxed((0..len).map(make).collect()))
    }

    /// What it lies in.
    pub fn pages(&self) -> Pages {
        match &self.0 {
            Backing::Boxed(_) => Pages::Plain,
            #[cfg(all(target_os = "linux", not(miri), not(natgate_loom)))]
            Backing::Mapped(mapped) => mapped.pages(),
        }
    }
}

impl<T> Deref for Slab<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Backing::Boxed(boxed) => boxed,
            #[cfg(all(target_os = "linux", not(miri), not(natgate_loom)))]
            Backing::Mapped(mapped) => mapped.as_slice(),
        }
    }
}

impl<T> DerefMut for Slab<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Backing::Boxed(boxed) => boxed,
            #[cfg(all(target_os = "linux", not(miri), not(natgate_loom)))]
            Backing::Mapped(mapped) => mapped.as_mut_slice(),
        }
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").field("len", &self.len()).field("pages", &self.pages()).finish()
    }
}

#[cfg(all(target_os = "linux", not(miri), not(natgate_loom)))]
#[allow(unsafe_code)]
mod mapped {
    use super::{HUGE_PAGE, Pages};
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    use std::ptr::{NonNull, null_mut};

    /// Elements in a mapping of their own. Invariant: `first` points to the start of a private mapping of `bytes`
    /// bytes that nobody else knows of, with `len` elements, all of them written, at its start.
    pub(super) struct Mapped<T> {
        first: NonNull<T>,
        len: usize,
        bytes: usize,
        pages: Pages,
    }

    // SAFETY: a `Mapped` owns its elements like a `Box<[T]>`, which is `Send` under the same condition.
    unsafe impl<T: Send> Send for Mapped<T> {}
    // SAFETY: a shared `Mapped` gives out shared references only, like a `Box<[T]>`.
    unsafe impl<T: Sync> Sync for Mapped<T> {}

    impl<T> Mapped<T> {
        /// Gives `make` back if the slab is small, or if the system maps nothing (then an ordinary allocation says what
        /// is wrong).
        pub(super) fn new<F: FnMut(usize) -> T>(len: usize, mut make: F) -> Result<Mapped<T>, F> {
            // The kernel maps whole pages, so any smaller alignment is met.
            const { assert!(align_of::<T>() <= 4096) };
            let size = len.checked_mul(size_of::<T>()).filter(|size| *size >= HUGE_PAGE);
            let mapping = size.and_then(|size| size.checked_next_multiple_of(HUGE_PAGE)).and_then(map_huge);
            let Some((start, bytes, pages)) = mapping else { return Err(make) };
            let first = start.cast::<T>();
            for index in 0..len {
                // SAFETY: `index < len`, and `len` elements fit into the mapping.
                let element = unsafe { first.add(index) };
                // SAFETY: the place is inside the mapping, aligned, and nobody else has a pointer to it.
                unsafe { element.write(make(index)) };
            }
            Ok(Mapped { first, len, bytes, pages })
        }

        pub(super) fn pages(&self) -> Pages {
            self.pages
        }

        #[inline]
        pub(super) fn as_slice(&self) -> &[T] {
            // SAFETY: the type's invariant; the lifetime is that of the borrow of the owner.
            unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
        }

        #[inline]
        pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
            // SAFETY: the type's invariant; the owner is borrowed exclusively for as long as the slice lives.
            unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
        }
    }

    impl<T> Drop for Mapped<T> {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours alone, and nothing borrows from it any more.
            let _ = unsafe { munmap(self.first.as_ptr().cast(), self.bytes) };
        }
    }

    /// A mapping of so many bytes, in the best pages that there are.
    fn map_huge(bytes: usize) -> Option<(NonNull<u8>, usize, Pages)> {
        let reserved = map(bytes, MapFlags::PRIVATE | MapFlags::HUGETLB);
        match reserved {
            Some(start) => Some((start, bytes, Pages::Reserved)),
            None => Some((map_aligned(bytes)?, bytes, Pages::Transparent)),
        }
    }

    fn map(bytes: usize, flags: MapFlags) -> Option<NonNull<u8>> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a place where nothing is mapped.
        let start = unsafe { mmap_anonymous(null_mut(), bytes, access, flags) }.ok()?;
        NonNull::new(start.cast())
    }

    /// Ordinary memory that begins at a border of huge pages, so that all of it can be joined.
    fn map_aligned(bytes: usize) -> Option<NonNull<u8>> {
        let whole = bytes.checked_add(HUGE_PAGE)?;
        let start = map(whole, MapFlags::PRIVATE)?;
        let before = start.as_ptr().align_offset(HUGE_PAGE);
        // What lies before and behind goes back.
        for (offset, length) in [(0, before), (before + bytes, HUGE_PAGE - before)] {
            if length > 0 {
                let part = start.as_ptr().wrapping_add(offset);
                // SAFETY: this part of the new mapping is ours and nothing points to it.
                let _ = unsafe { munmap(part.cast(), length) };
            }
        }
        let aligned = start.as_ptr().wrapping_add(before);
        // A kernel without huge pages says no, and ordinary pages it is.
        // SAFETY: the range is the rest of the new mapping; the advice changes no contents.
        let _ = unsafe { madvise(aligned.cast(), bytes, Advice::LinuxHugepage) };
        NonNull::new(aligned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn every_element_is_what_it_was_made_as_in_small_and_in_large_slabs() {
        for len in [0, 1, 1000, 300_000] {
            let mut slab = Slab::from_fn(len, |n| [n as u64, 7]);
            assert_eq!(slab.len(), len);
            assert!(slab.iter().enumerate().all(|(n, element)| *element == [n as u64, 7]));
            if let Some(last) = slab.last_mut() {
                *last = [1, 2];
                assert_eq!(slab.last(), Some(&[1, 2]));
            }
        }
    }

    #[test]
    fn small_slabs_take_no_huge_page_and_large_ones_ask_for_them() {
        assert_eq!(Slab::from_fn(1000, |_| 0u8).pages(), Pages::Plain);
        let large = Slab::from_fn(3 << 20, |_| 0u8);
        assert!(cfg!(miri) || large.pages() != Pages::Plain, "{large:?}");
        assert!(cfg!(miri) || large.as_ptr().addr().is_multiple_of(2 << 20), "begins at a border");
    }

    #[test]
    fn threads_share_a_slab_like_any_slice() {
        let slab = std::sync::Arc::new(Slab::from_fn(300_000, |_| AtomicU64::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let slab = slab.clone();
                std::thread::spawn(move || {
                    for n in slab.iter() {
                        n.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(slab.iter().all(|n| n.load(Ordering::Relaxed) == 4));
    }
}

//! The one hint that safe Rust cannot give: ask the cache for a line before it is needed.
//!
//! Named fence for `unsafe` outside `device::dpdk`. A lookup that misses the caches stalls for 150 to 225 ns;
//! asking for a whole burst's buckets first overlaps those misses (`cargo bench --bench pipeline`).

/// Asks for the cache line that holds `target`. Has no effect but on time.
#[inline(always)]
pub fn prefetch<T>(target: &T) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    // SAFETY: a prefetch never faults and changes no memory; the pointer comes from a live reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast::<i8>());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

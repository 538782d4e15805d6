//! Where frames live: hugepages or plain memory, and the one pool of frames of the process.
//!
//! All devices share one pool, so that a frame received by one is sent by another without a copy. Each registered
//! thread has a cache in it; what moves between caches goes through a lock-free ring.

use super::log;
use super::mbuf::Mbuf;
use super::{DpdkError, eal};
use crate::device::sizing::room;
use std::ptr::NonNull;
use std::{fs, path::Path};

/// For drivers, rings and EAL's own tables beside the pool.
const OVERHEAD_MIB: u64 = 48;
/// Where the memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// From hugepages.
    pub hugepages: bool,
    /// How much; `None`: as it is needed.
    pub mib: Option<u64>,
}

/// The room for data in each buffer, headroom included, when the largest frame of any device needs `largest` bytes.
pub(super) fn data_room(largest: u16) -> u16 {
    // SAFETY: returns a constant.
    let headroom = unsafe { dpdk_sys::ng_headroom() };
    headroom.saturating_add(room(largest))
}

/// The smallest hugepage.
const HUGEPAGE: u32 = 2 << 20;
/// A page of plain memory: as no buffer crosses its border, each of the usual size has one to itself.
const PLAIN_PAGE: u32 = 4 << 10;

/// How the pool's buffers lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// None crosses the border of a page, so that each has one physical address.
    Paged,
    /// One after the other: AF_XDP's driver needs it.
    Packed,
}

impl Layout {
    /// The page whose border counts, in bytes; 0 if none does.
    fn page(self, page: u32) -> u32 {
        match self {
            Layout::Paged => page,
            Layout::Packed => 0,
        }
    }
}

/// Memory that the pool takes at most, whatever it is made of.
pub(super) fn pool_bytes(layout: Layout, frames: u32, data_room: u16) -> u64 {
    pool_bytes_on(layout.page(PLAIN_PAGE), frames, data_room)
}

fn pool_bytes_on(page: u32, frames: u32, data_room: u16) -> u64 {
    // SAFETY: computes without touching anything.
    unsafe { dpdk_sys::ng_pool_bytes(frames, data_room, page) }
}

/// Decides where `frames` buffers with `data_room` bytes come from, and says so when it is not hugepages.
pub(super) fn plan(
    layout: Layout,
    frames: u32,
    data_room: u16,
    limit_mib: Option<u32>,
    extra: &[String],
) -> Result<MemoryPlan, DpdkError> {
    let needed_mib =
        |page| pool_bytes_on(layout.page(page), frames, data_room).div_ceil(1 << 20) + OVERHEAD_MIB;
    let limit_mib = limit_mib.map(u64::from);
    let within_limit = |needed_mib| match limit_mib {
        Some(allowed_mib) if allowed_mib < needed_mib => {
            Err(DpdkError::MemoryLimit { frames, needed_mib, allowed_mib })
        }
        other => Ok(other.unwrap_or(needed_mib)),
    };
    let wanted_mib = within_limit(needed_mib(HUGEPAGE))?;
    let free_mib = free_hugepages_mib(Path::new("/sys/kernel/mm/hugepages"));
    if free_mib >= wanted_mib && !extra.iter().any(|argument| argument == "--no-huge") {
        return Ok(MemoryPlan { hugepages: true, mib: limit_mib });
    }
    let wanted_mib = within_limit(needed_mib(PLAIN_PAGE))?;
    let available_mib = available_mib(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    if available_mib < wanted_mib {
        return Err(DpdkError::Memory { needed_mib: wanted_mib, available_mib });
    }
    tracing::warn!(
        "plain memory instead of hugepages ({free_mib} MiB of them free, {wanted_mib} MiB needed): slower; \
         `scripts/hugepages reserve` makes some"
    );
    Ok(MemoryPlan { hugepages: false, mib: Some(wanted_mib) })
}

/// Free hugepages of all sizes.
fn free_hugepages_mib(sizes: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(sizes) else { return 0 };
    let kib = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let size = path.file_name()?.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?;
        let free = fs::read_to_string(path.join("free_hugepages")).ok()?;
        Some(size.parse::<u64>().ok()?.saturating_mul(free.trim().parse::<u64>().ok()?))
    });
    kib.sum::<u64>() / 1024
}

/// `MemAvailable` of the text of `/proc/meminfo`; without that line no limit is known.
fn available_mib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(u64::MAX, |kib| kib / 1024)
}

/// A line of this thread's status in `/proc`, such as `Cpus_allowed_list`.
pub(super) fn process_status(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// The pool of frames. Dropping it does nothing, because frames may still be out; see `Pool::free`.
#[derive(Debug)]
pub struct Pool {
    raw: NonNull<dpdk_sys::ng_pool>,
}

// SAFETY: every function of a pool that is reached through `&Pool` may be called by any thread.
unsafe impl Send for Pool {}
// SAFETY: as above; DPDK's pool is multi-producer and multi-consumer.
unsafe impl Sync for Pool {}

impl Pool {
    /// Makes the pool; the EAL runs.
    pub(super) fn create(layout: Layout, frames: u32, cache: u32, data_room: u16) -> Result<Pool, DpdkError> {
        log::forget_errors();
        let mut error = 0;
        let packed = layout == Layout::Packed;
        // SAFETY: the EAL runs; the name is a terminated text and `error` lives during the call.
        let raw = unsafe {
            dpdk_sys::ng_pool_create(c"natgate".as_ptr(), frames, cache, data_room, packed, &raw mut error)
        };
        match NonNull::new(raw) {
            Some(raw) => Ok(Pool { raw }),
            None => {
                let reason = log::first_error().unwrap_or_else(|| eal::reason_of(error));
                Err(DpdkError::Pool { frames, reason })
            }
        }
    }

    /// The pool for the shim.
    pub(super) fn as_ptr(&self) -> *mut dpdk_sys::ng_pool {
        self.raw.as_ptr()
    }

    /// An empty frame with headroom.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as `self`.
        let raw = unsafe { dpdk_sys::ng_alloc(self.raw.as_ptr()) };
        // SAFETY: a new frame of one segment, which nobody else has.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Frames that are not in the pool. Exact while no other thread takes or gives one.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        unsafe { dpdk_sys::ng_pool_in_use(self.raw.as_ptr()) }
    }

    /// Frames that natgate has: [`Mbuf`]s that exist. What is in use beyond that is a driver's.
    /// No other thread uses the pool.
    pub(super) fn ours(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        unsafe { dpdk_sys::ng_pool_ours(self.raw.as_ptr()) }
    }

    /// Gives the pool's memory back.
    ///
    /// # Safety
    ///
    /// No frame of the pool is out, no port uses the pool and no other handle of it is left.
    pub(super) unsafe fn free(self) {
        // SAFETY: the caller's promise.
        unsafe { dpdk_sys::ng_pool_free(self.raw.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_mtu_gets_the_usual_buffer_and_a_jumbo_one_its_own() {
        assert_eq!(data_room(1518), data_room(2048));
        assert_eq!(data_room(9022) - data_room(2048), 9216 - 2048);
    }

    #[test]
    fn a_limit_below_what_the_frames_need_is_named() {
        let error = plan(Layout::Paged, 32_768, data_room(1500), Some(1), &[]).unwrap_err();
        assert!(matches!(error, DpdkError::MemoryLimit { allowed_mib: 1, needed_mib: 80.., .. }), "{error}");
    }

    #[test]
    fn the_memory_that_is_available_is_read_from_meminfo() {
        assert_eq!(available_mib("MemTotal: 9 kB\nMemAvailable:    2048000 kB\n"), 2000);
        assert_eq!(available_mib(""), u64::MAX);
    }
}

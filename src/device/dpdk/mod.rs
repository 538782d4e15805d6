//! Real NICs, through DPDK: the only user of `dpdk-sys`, and the home of `unsafe`.
//!
//! # Ownership
//!
//! [`Dpdk`] owns the EAL, the one pool of frames and the ports. What it hands out shares them: [`DpdkQueue`] (one
//! worker's queues of one port), [`ThreadGuard`] (a thread with a cache in the pool) and [`Registrar`]. An [`Mbuf`]
//! owns a frame of the pool and nothing else. A [`PortNic`] borrows [`Dpdk`] alone, to tell a port how to spread packets over
//! its queues.
//!
//! # Order
//!
//! Up: check the machine, EAL, attach devices, pool, queues, start. Down, in [`Dpdk::stop`]: every handle must be
//! gone; ports stop and close; every frame must be back; then the pool and the EAL go. If a handle or a frame is
//! still out, the memory stays mapped, so that using it is never worse than useless, and the error says how many.

#![allow(unsafe_code)]

mod devargs;
mod eal;
mod error;
mod log;
mod mbuf;
mod memory;
mod pci;
mod port;
mod privileges;
mod queue;
mod rss;

pub use eal::{Eal, EalOptions, tsc_hz, version};
pub use error::DpdkError;
pub use mbuf::Mbuf;
pub use memory::{MemoryPlan, Pool};
pub use queue::DpdkQueue;
pub use rss::PortNic;

use super::BURST;
use super::sizing::{SIZES, frames_needed};
use super::spec::DeviceSpec;
use crate::ids::{DeviceId, MAX_WORKERS, MacAddr};
use port::Port;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// How long starting waits for the links of PCI NICs.
const LINK_WAIT: Duration = Duration::from_secs(5);
/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct DpdkOptions<'a> {
    /// The devices, in the order of [`DeviceId`].
    pub devices: &'a [DeviceOptions],
    /// Workers: 1 to [`MAX_WORKERS`]. Each gets a handle on every device.
    pub workers: usize,
    /// Frames in the pool of all devices together.
    pub frames: u32,
    /// Frames that a worker may hold beside those in its bursts: packets that wait for something, and rings.
    pub held_per_worker: u32,
    /// Most memory to use, in MiB; `None`: as much as the frames need.
    pub memory_mib: Option<u32>,
    /// Further arguments for EAL; they win over natgate's own.
    pub eal_args: &'a [String],
}

/// One device to open.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// Which.
    pub spec: DeviceSpec,
    /// Ethernet address to use instead of the device's own.
    pub mac: Option<MacAddr>,
    /// Largest IPv4 packet in bytes; a VLAN tag comes on top.
    pub mtu: u16,
}

/// What a device turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// As in the config.
    pub name: String,
    /// The DPDK driver.
    pub driver: String,
    /// The Ethernet address in use.
    pub mac: MacAddr,
    /// Receive queues: those of the first workers.
    pub rx_queues: u16,
    /// Transmit queues: those of the first workers.
    pub tx_queues: u16,
    /// The link when it was asked.
    pub link: Link,
}

/// A device's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether frames pass.
    pub up: bool,
    /// Megabits a second, if it is up and the driver knows.
    pub mbps: Option<u32>,
}

/// What a device counted since it was started. Bytes are as the driver counts them, mostly without FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames that came while the queue was full or no buffer was free.
    pub rx_missed: u64,
    /// Frames with errors.
    pub rx_errors: u64,
    /// Frames in more buffers than one that natgate could not use.
    pub rx_unusable: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that the driver failed to send.
    pub tx_errors: u64,
}

/// What all handles share. `ports` and `pool` change only while there is no handle.
#[derive(Debug, Default)]
struct Shared {
    ports: Vec<Port>,
    pool: Option<Pool>,
}

/// Running DPDK. Dropping it is [`Dpdk::stop`], with the error logged.
#[derive(Debug)]
pub struct Dpdk {
    shared: Arc<Shared>,
    eal: Option<Eal>,
    started_by: ThreadId,
}

/// What [`Dpdk::start`] gives.
#[derive(Debug)]
pub struct Started {
    /// Owns it all.
    pub dpdk: Dpdk,
    /// Queues by worker, then by device.
    pub queues: Vec<Vec<DpdkQueue>>,
    /// By device.
    pub devices: Vec<DeviceInfo>,
}

impl Dpdk {
    /// Starts DPDK and every device.
    ///
    /// Call it from a thread that may use the CPUs that are not the workers': DPDK's own threads inherit them.
    pub fn start(options: &DpdkOptions<'_>) -> Result<Started, DpdkError> {
        let workers = u16::try_from(options.workers.clamp(1, MAX_WORKERS)).unwrap_or(1);
        eal::check_unused()?;
        devargs::check_together(options.devices)?;
        let plans = options
            .devices
            .iter()
            .enumerate()
            .map(|(index, device)| devargs::plan(index, device, usize::from(workers)))
            .collect::<Result<Vec<_>, _>>()?;
        let layout = devargs::layout(options.devices);
        let data_room = memory::data_room(plans.iter().map(|plan| plan.largest).max().unwrap_or(0));
        let memory = memory::plan(layout, options.frames, data_room, options.memory_mib, options.eal_args)?;
        privileges::check_pinned(
            options.devices,
            &plans,
            memory::pool_bytes(layout, options.frames, data_room),
        )?;
        let pci = options.devices.iter().filter_map(|device| match &device.spec {
            DeviceSpec::Pci(address) => Some(address.as_str()),
            _ => None,
        });
        let eal = Eal::init(&EalOptions { pci: pci.collect(), memory, extra: options.eal_args })?;

        // From here on, dropping `dpdk` undoes what was done.
        let mut dpdk = Dpdk { shared: Arc::default(), eal: Some(eal), started_by: thread::current().id() };
        let Shared { ports, pool } = dpdk.shared_mut()?;
        for (device, plan) in options.devices.iter().zip(&plans) {
            let port = Port::open(device, plan, workers, ports)?;
            ports.push(port);
        }
        // A received burst, its packets at work, and a burst to send on each device.
        let bursts = ports.len().saturating_add(2).saturating_mul(BURST);
        let held = options.held_per_worker.saturating_add(u32::try_from(bursts).unwrap_or(u32::MAX));
        let (descriptors, cache) = fit(options.frames, workers, held, |descriptors| {
            ports.iter().map(|port| port.holds(descriptors)).sum()
        })?;
        let pool = pool.insert(Pool::create(layout, options.frames, cache, data_room)?);
        for ((port, device), plan) in ports.iter_mut().zip(options.devices).zip(&plans) {
            port.configure(device, plan, descriptors, pool)?;
        }
        for (port, device) in ports.iter_mut().zip(options.devices) {
            port.start(device)?;
        }
        log::set_mode(log::Mode::Normal);
        dpdk.wait_for_links(options.devices);
        let queues = (0..workers).map(|worker| dpdk.queues_of(worker)).collect();
        let devices = dpdk.devices();
        Ok(Started { dpdk, queues, devices })
    }

    /// The devices as they are now.
    pub fn devices(&self) -> Vec<DeviceInfo> {
        self.shared.ports.iter().map(Port::info).collect()
    }

    /// The devices as NICs that can be told how to spread packets over their queues, in the same order.
    pub fn nics(&mut self) -> Vec<PortNic<'_>> {
        self.shared.ports.iter().map(PortNic::new).collect()
    }

    /// What a device counted; `None` if there is no such device or it does not tell.
    pub fn stats(&self, device: DeviceId) -> Option<PortStats> {
        self.shared.ports.get(device.index())?.stats().ok()
    }

    /// Frames that are not in the pool: in drivers' queues, with workers, or lost.
    pub fn frames_in_use(&self) -> u32 {
        self.shared.pool.as_ref().map_or(0, Pool::in_use)
    }

    /// For threads that are to get a cache in the pool.
    pub fn registrar(&self) -> Registrar {
        Registrar { shared: Arc::clone(&self.shared) }
    }

    /// Stops and closes every port and ends DPDK; see the module's head for the order.
    ///
    /// Every queue, thread guard, registrar and frame must be dropped before. Returns how many frames drivers
    /// kept after their ports were closed: none, but with AF_XDP, whose driver never empties its fill ring.
    pub fn stop(mut self) -> Result<u32, DpdkError> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<u32, DpdkError> {
        let Some(eal) = self.eal.take() else { return Ok(0) };
        let handles = Arc::strong_count(&self.shared) - 1;
        let Some(shared) = Arc::get_mut(&mut self.shared) else { return Err(DpdkError::InUse(handles)) };
        log::set_mode(log::Mode::Quiet);
        let mut outcome = Ok(());
        for port in &mut shared.ports {
            outcome = outcome.and(port.close());
        }
        shared.ports.clear();
        let lost = shared.pool.as_ref().map_or(0, Pool::ours);
        if lost > 0 {
            // Somebody may still read them: pool and EAL stay.
            return outcome.and(Err(DpdkError::LostFrames(lost)));
        }
        outcome?;
        let kept = shared.pool.as_ref().map_or(0, Pool::in_use);
        if kept > 0 {
            // Not ours, but a thread may just be giving one back: pool and EAL stay until the process ends.
            tracing::debug!("drivers kept {kept} frames");
            return Ok(kept);
        }
        if let Some(pool) = shared.pool.take() {
            // SAFETY: every frame is back, all ports are closed, and this is the only handle.
            unsafe { pool.free() };
        }
        if self.started_by == thread::current().id() {
            // SAFETY: no frame, pool, queue or registered thread is left, and this thread started the EAL.
            unsafe { eal.cleanup() };
        }
        Ok(kept)
    }

    fn shared_mut(&mut self) -> Result<&mut Shared, DpdkError> {
        let handles = Arc::strong_count(&self.shared) - 1;
        Arc::get_mut(&mut self.shared).ok_or(DpdkError::InUse(handles))
    }

    fn queues_of(&self, worker: u16) -> Vec<DpdkQueue> {
        let queue = |(index, port)| {
            // SAFETY: the ports are started, and `start` asks once for each worker.
            unsafe { DpdkQueue::new(&self.shared, index, port, worker) }
        };
        self.shared.ports.iter().enumerate().map(queue).collect()
    }

    /// Waits for NICs to find their link; others have theirs at once or when a peer comes.
    fn wait_for_links(&self, devices: &[DeviceOptions]) {
        let deadline = Instant::now() + LINK_WAIT;
        let nics = || {
            let pairs = self.shared.ports.iter().zip(devices);
            pairs.filter(|(_, device)| matches!(device.spec, DeviceSpec::Pci(_)))
        };
        while nics().any(|(port, _)| !port.link().up) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        for (_, device) in nics().filter(|(port, _)| !port.link().up) {
            tracing::warn!("{}: no link yet: check the cable and the other end", device.spec);
        }
    }
}

impl Drop for Dpdk {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            tracing::error!("{error}");
        }
    }
}

/// Registers threads; may be sent to them.
#[derive(Clone, Debug)]
pub struct Registrar {
    shared: Arc<Shared>,
}

impl Registrar {
    /// Gives the calling thread a cache in the pool of frames. Pin the thread before.
    pub fn register_thread(self) -> Result<ThreadGuard, DpdkError> {
        // SAFETY: the EAL runs while `shared` has a handle.
        match unsafe { dpdk_sys::ng_thread_register() } {
            0 => Ok(ThreadGuard { _shared: self.shared, _this_thread: PhantomData }),
            result => Err(DpdkError::Thread(eal::reason_of(result))),
        }
    }
}

/// A registered thread; dropping it, in that thread, ends that.
#[derive(Debug)]
pub struct ThreadGuard {
    _shared: Arc<Shared>,
    _this_thread: PhantomData<*mut ()>,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        // SAFETY: the guard does not leave the thread that it registered, and the EAL runs while it lives.
        unsafe { dpdk_sys::ng_thread_unregister() };
    }
}

/// Descriptors a queue and frames in a cache that `frames` suffice for, when a worker holds `held` and ports what
/// `holds` says.
fn fit(frames: u32, workers: u16, held: u32, holds: impl Fn(u16) -> u32) -> Result<(u16, u32), DpdkError> {
    let needed = |(descriptors, cache)| frames_needed(cache, workers, held, holds(descriptors));
    if let Some(sizes) = SIZES.into_iter().find(|sizes| needed(*sizes) <= frames) {
        return Ok(sizes);
    }
    let minimum = SIZES.last().map_or(0, |sizes| needed(*sizes));
    Err(DpdkError::Frames { frames, minimum, workers: usize::from(workers) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_frames_get_short_queues_and_too_few_an_error_with_the_minimum() {
        let two_queue_pairs = |descriptors| 4 * u32::from(descriptors);
        assert_eq!(fit(32_768, 2, 512, two_queue_pairs), Ok((1024, 256)));
        assert_eq!(fit(3_000, 2, 512, two_queue_pairs), Ok((256, 64)));
        let too_few = fit(100, 2, 512, two_queue_pairs);
        let Err(DpdkError::Frames { minimum, .. }) = too_few else { panic!("too few") };
        assert_eq!(fit(minimum, 2, 512, two_queue_pairs), Ok((256, 64)));
        assert!(fit(minimum - 1, 2, 512, two_queue_pairs).is_err());
    }

    #[test]
    fn the_default_of_the_config_suffices_for_long_queues_on_two_nics() {
        for workers in 1..=4u16 {
            let pairs = 2 * u32::from(workers);
            let frames = (4096 * pairs).max(16_384);
            let holds = |descriptors| 2 * pairs * u32::from(descriptors);
            // What waits, a handoff ring, and bursts.
            let held = 768 + 1024 + 128;
            assert_eq!(fit(frames, workers, held, holds), Ok((1024, 256)), "{workers} workers");
        }
    }
}

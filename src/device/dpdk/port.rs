//! One ethdev port: opened, configured, started, and all of it undone.
//!
//! Life cycle: [`Port::open`] attaches the device and asks what it can do; [`Port::configure`] sets queues and
//! MTU; [`Port::start`]; then the queues work; [`Port::close`] gives everything back. A port that failed half-way is
//! closed in the same way. Transmit checksum offloads stay off: the pipeline updates checksums incrementally.

use super::devargs::Plan;
use super::memory::Pool;
use super::{DeviceInfo, DeviceOptions, DpdkError, Link, PortStats, eal, log};
use crate::device::spec::DeviceSpec;
use crate::ids::MacAddr;
use crate::telemetry::Counter;
use dpdk_sys::{ng_link, ng_mbuf, ng_port_config, ng_port_info, ng_port_stats};
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most bursts that are thrown away per queue when a port closes.
const DRAIN_BURSTS: usize = 1024;
const DRAIN_BURST: u16 = 32;

/// A port that natgate opened.
#[derive(Debug)]
pub(super) struct Port {
    id: u16,
    name: String,
    driver: String,
    mac: MacAddr,
    max_mtu: u16,
    rx_queues: u16,
    tx_queues: u16,
    kept: u32,
    started: bool,
    promiscuous: bool,
    /// Whether the device has flow rules of ours.
    ruled: AtomicBool,
    /// Frames in several segments that did not fit in one, by receive queue.
    unusable: Box<[Counter]>,
}

impl Port {
    /// Attaches the device; the EAL runs. It must be none of those that are `open` already.
    pub(super) fn open(
        options: &DeviceOptions,
        plan: &Plan,
        workers: u16,
        open: &[Port],
    ) -> Result<Port, DpdkError> {
        let name = options.spec.to_string();
        let fail = |result| DpdkError::Probe { device: options.spec.to_string(), reason: reason(result) };
        let devargs = CString::new(plan.devargs.as_str()).map_err(|_| fail(-22))?;
        log::forget_errors();
        let mut id = 0;
        // SAFETY: the EAL runs; a terminated text and a place for the answer.
        let result = unsafe { dpdk_sys::ng_port_probe(devargs.as_ptr(), &raw mut id) };
        if result != 0 {
            return Err(fail(result));
        }
        if let Some(first) = open.iter().find(|port| port.id == id) {
            return Err(DpdkError::Same { device: name, other: first.name.clone() });
        }
        let mut info = MaybeUninit::<ng_port_info>::zeroed();
        // SAFETY: the port was just opened; a place for the answer.
        let result = unsafe { dpdk_sys::ng_port_info(id, info.as_mut_ptr()) };
        // SAFETY: all zeroes are a valid `ng_port_info`, also if the call failed.
        let info = unsafe { info.assume_init() };
        let rx_queues = info.max_rx_queues.clamp(1, workers.max(1));
        let mut port = Port {
            id,
            name,
            driver: text(&info.driver),
            mac: MacAddr(info.mac),
            max_mtu: if info.max_mtu == 0 { u16::MAX } else { info.max_mtu },
            rx_queues,
            tx_queues: info.max_tx_queues.clamp(1, workers.max(1)),
            kept: plan.kept,
            started: false,
            promiscuous: false,
            ruled: AtomicBool::new(false),
            unusable: (0..rx_queues).map(|_| Counter::default()).collect(),
        };
        if result != 0 {
            let _ = port.close();
            return Err(fail(result));
        }
        Ok(port)
    }

    /// Frames that the port holds at most with so many descriptors a queue.
    pub(super) fn holds(&self, descriptors: u16) -> u32 {
        u32::from(self.rx_queues) * u32::from(descriptors).max(self.kept)
            + u32::from(self.tx_queues) * u32::from(descriptors)
    }

    /// Sets queues, MTU and address.
    pub(super) fn configure(
        &mut self,
        options: &DeviceOptions,
        plan: &Plan,
        descriptors: u16,
        pool: &Pool,
    ) -> Result<(), DpdkError> {
        if options.mtu > self.max_mtu {
            return Err(DpdkError::Mtu { device: self.name.clone(), mtu: options.mtu, most: self.max_mtu });
        }
        let config = ng_port_config {
            rx_queues: self.rx_queues,
            tx_queues: self.tx_queues,
            rx_descriptors: descriptors,
            tx_descriptors: descriptors,
            mtu: plan.mtu,
        };
        log::forget_errors();
        let mut step = ptr::null();
        // SAFETY: the port is open and not started; the pool outlives it; `step` becomes a constant text.
        let result =
            unsafe { dpdk_sys::ng_port_configure(self.id, &raw const config, pool.as_ptr(), &raw mut step) };
        if result != 0 {
            // SAFETY: the shim set it to a constant, terminated text.
            let what = unsafe { CStr::from_ptr(step) }.to_string_lossy().into_owned();
            return Err(self.refused(what, result));
        }
        Ok(())
    }

    /// Lets frames in and out.
    pub(super) fn start(&mut self, options: &DeviceOptions) -> Result<(), DpdkError> {
        let mut has_mac = true;
        if let Some(mac) = options.mac.filter(|mac| *mac != self.mac) {
            // A kernel interface keeps its address: it is lent, not given.
            let kernel = matches!(options.spec, DeviceSpec::AfPacket(_) | DeviceSpec::AfXdp(_));
            // SAFETY: the port is open; six bytes.
            has_mac = !kernel && unsafe { dpdk_sys::ng_port_set_mac(self.id, mac.0.as_ptr()) } == 0;
            self.mac = mac;
        }
        log::forget_errors();
        // SAFETY: the port is configured and not started.
        let result = unsafe { dpdk_sys::ng_port_start(self.id) };
        if result != 0 {
            return Err(self.refused("the port going".to_owned(), result));
        }
        self.started = true;
        // SAFETY: the port is open.
        self.promiscuous = unsafe { dpdk_sys::ng_port_promiscuous(self.id, true) } == 0;
        if !has_mac && !self.promiscuous {
            return Err(DpdkError::Mac { device: self.name.clone(), mac: self.mac });
        }
        Ok(())
    }

    /// Stops the port and detaches the device. Frames that wait in its receive queues go back to the pool.
    pub(super) fn close(&mut self) -> Result<(), DpdkError> {
        let mut outcome = 0;
        if self.started {
            for queue in 0..self.rx_queues {
                self.drain(queue);
            }
            if self.promiscuous {
                // SAFETY: the port is open. Without effect if it fails: the port is about to go.
                let _ = unsafe { dpdk_sys::ng_port_promiscuous(self.id, false) };
            }
            if *self.ruled.get_mut() {
                // SAFETY: the port is open. Without effect if it fails: the port is about to go.
                let _ = unsafe { dpdk_sys::ng_flow_clear(self.id) };
            }
            // SAFETY: the port is started and no queue handle is left.
            outcome = unsafe { dpdk_sys::ng_port_stop(self.id) };
            self.started = false;
        }
        // SAFETY: the port is stopped and is not used again.
        let closed = unsafe { dpdk_sys::ng_port_close(self.id) };
        match if outcome != 0 { outcome } else { closed } {
            0 => Ok(()),
            result => Err(DpdkError::Stop { device: self.name.clone(), reason: eal::reason_of(result) }),
        }
    }

    /// Frees what waits in a receive queue: some devices (rings) would keep it for ever.
    fn drain(&mut self, queue: u16) {
        let mut frames = [ptr::null_mut::<ng_mbuf>(); DRAIN_BURST as usize];
        for _ in 0..DRAIN_BURSTS {
            let (start, mut unusable) = (frames.as_mut_ptr(), 0);
            // SAFETY: the port is started, no handle of the queue is left, and `frames` has room for the burst.
            let count =
                unsafe { dpdk_sys::ng_rx_burst(self.id, queue, start, DRAIN_BURST, &raw mut unusable) };
            for frame in frames.iter().take(usize::from(count)) {
                // SAFETY: a frame that was just received and is ours.
                unsafe { dpdk_sys::ng_free(*frame) };
            }
            if count == 0 {
                return;
            }
        }
    }

    /// Whether the link is up, and its speed.
    pub(super) fn link(&self) -> Link {
        let mut link = ng_link { up: false, mbps: 0 };
        // SAFETY: the port is open; a place for the answer.
        let result = unsafe { dpdk_sys::ng_port_link(self.id, &raw mut link) };
        let known = result == 0 && link.up && link.mbps != u32::MAX && link.mbps != 0;
        Link { up: result == 0 && link.up, mbps: known.then_some(link.mbps) }
    }

    /// What the device counted.
    pub(super) fn stats(&self) -> Result<PortStats, DpdkError> {
        let mut raw = MaybeUninit::<ng_port_stats>::zeroed();
        // SAFETY: the port is open; a place for the answer.
        let result = unsafe { dpdk_sys::ng_port_stats(self.id, raw.as_mut_ptr()) };
        if result != 0 {
            return Err(self.refused("its counters".to_owned(), result));
        }
        // SAFETY: zeroed before, and filled by the call.
        let raw = unsafe { raw.assume_init() };
        Ok(PortStats {
            rx_packets: raw.rx_packets,
            rx_bytes: raw.rx_bytes,
            rx_missed: raw.rx_missed.wrapping_add(raw.rx_no_buffer),
            rx_errors: raw.rx_errors,
            rx_unusable: self.unusable.iter().map(Counter::get).sum(),
            tx_packets: raw.tx_packets,
            tx_bytes: raw.tx_bytes,
            tx_errors: raw.tx_errors,
        })
    }

    /// What natgate tells of the device.
    pub(super) fn info(&self) -> DeviceInfo {
        DeviceInfo {
            name: self.name.clone(),
            driver: self.driver.clone(),
            mac: self.mac,
            rx_queues: self.rx_queues,
            tx_queues: self.tx_queues,
            link: self.link(),
        }
    }

    /// DPDK's number.
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Remembers that the device has flow rules, which go when it closes.
    pub(super) fn keep_rules(&self) {
        self.ruled.store(true, Ordering::Relaxed);
    }

    /// Receive queues in use: those of the first workers.
    pub(super) fn rx_queues(&self) -> u16 {
        self.rx_queues
    }

    /// Transmit queues in use: those of the first workers.
    pub(super) fn tx_queues(&self) -> u16 {
        self.tx_queues
    }

    /// Counts frames that a receive queue could not deliver; only that queue's worker calls this.
    #[cold]
    pub(super) fn count_unusable(&self, queue: u16, frames: u64) {
        if let Some(counter) = self.unusable.get(usize::from(queue)) {
            counter.add(frames);
        }
    }

    fn refused(&self, what: String, result: i32) -> DpdkError {
        DpdkError::Configure { device: self.name.clone(), what, reason: reason(result) }
    }
}

/// The first error that DPDK logged in this step, else what the number means.
fn reason(result: i32) -> String {
    log::first_error().unwrap_or_else(|| eal::reason_of(result))
}

/// A text in a fixed array, up to its zero.
fn text(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> =
        chars.iter().map(|char| char.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

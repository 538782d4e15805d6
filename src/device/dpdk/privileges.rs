//! What the process may do, checked before DPDK runs: its own words for a refusal do not say what is missing.

use super::devargs::Plan;
use super::memory::process_status;
use super::{DeviceOptions, DpdkError};
use crate::device::spec::DeviceSpec;
use std::fs;

/// Linux capabilities that natgate uses: number and name.
const NET_ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const NET_RAW: (u32, &str) = (13, "CAP_NET_RAW");
const IPC_LOCK: (u32, &str) = (14, "CAP_IPC_LOCK");
const SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN");
const BPF: (u32, &str) = (39, "CAP_BPF");

/// Checks the capabilities that a device needs.
pub(super) fn check(spec: &DeviceSpec) -> Result<(), DpdkError> {
    match missing(spec, effective()) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(DpdkError::Privilege { device: spec.to_string(), missing: missing.join(" and ") }),
    }
}

/// Checks that the memory which devices pin is allowed, when the pool of frames has `pool` bytes.
pub(super) fn check_pinned(devices: &[DeviceOptions], plans: &[Plan], pool: u64) -> Result<(), DpdkError> {
    if has(effective(), IPC_LOCK) {
        return Ok(());
    }
    let limits = fs::read_to_string("/proc/thread-self/limits").unwrap_or_default();
    let Some(allowed) = locked_memory(&limits) else { return Ok(()) };
    let mut pools = 0u64;
    let mut nics = false;
    for (device, plan) in devices.iter().zip(plans) {
        // All NICs share one mapping of VFIO's.
        let shared = matches!(device.spec, DeviceSpec::Pci(_)) && std::mem::replace(&mut nics, true);
        let times = if shared { 0 } else { plan.pins_pool };
        pools = pools.saturating_add(times);
        let needed = plan.mapped.max(if times > 0 { pools.saturating_mul(pool) } else { 0 });
        if needed > allowed {
            return Err(DpdkError::PinnedMemory {
                device: device.spec.to_string(),
                needed_mib: needed.div_ceil(1 << 20),
                allowed_mib: allowed >> 20,
            });
        }
    }
    Ok(())
}

/// The effective capabilities; all of them if the kernel does not tell.
fn effective() -> u64 {
    process_status("CapEff").and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(u64::MAX)
}

fn has(effective: u64, (number, _): (u32, &str)) -> bool {
    effective >> number & 1 == 1
}

/// The capabilities that `spec` needs and `effective` has not.
fn missing(spec: &DeviceSpec, effective: u64) -> Vec<&'static str> {
    let needed: &[(u32, &'static str)] = match spec {
        DeviceSpec::AfPacket(_) => &[NET_RAW, NET_ADMIN],
        DeviceSpec::AfXdp(_) if has(effective, SYS_ADMIN) => &[NET_RAW, NET_ADMIN],
        DeviceSpec::AfXdp(_) => &[NET_RAW, NET_ADMIN, BPF],
        DeviceSpec::Tap(_) => &[NET_ADMIN],
        DeviceSpec::Pci(_) | DeviceSpec::Memif { .. } | DeviceSpec::Vdev(_) => &[],
    };
    needed.iter().filter(|capability| !has(effective, **capability)).map(|(_, name)| *name).collect()
}

/// Bytes that may be locked in memory (RLIMIT_MEMLOCK) by the text of `/proc/self/limits`; `None`: any number.
fn locked_memory(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named() {
        let spec = "af_xdp:eth1".parse().unwrap();
        assert_eq!(missing(&spec, 0), ["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF"]);
        assert_eq!(missing(&spec, 1 << 21 | 1 << 13), ["CAP_NET_ADMIN"]);
        assert!(missing(&"vdev:net_ring0".parse().unwrap(), 0).is_empty());
    }

    #[test]
    fn the_limit_of_locked_memory_is_read_as_the_kernel_writes_it() {
        let line =
            |soft: &str| format!("Max processes 9 9 processes\nMax locked memory  {soft}  8388608  bytes\n");
        assert_eq!(locked_memory(&line("65536")), Some(65_536));
        assert_eq!(locked_memory(&line("unlimited")), None);
        assert_eq!(locked_memory(""), None);
    }
}

//! What can go wrong between the config and running ports, each in one sentence that says what to do next.

use crate::ids::MacAddr;

/// Why DPDK, a device or the end of both failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DpdkError {
    /// EAL runs once in the life of a process.
    #[error("DPDK was started before in this process, and starts only once: start a new process")]
    AlreadyStarted,
    /// EAL refused to start.
    #[error("DPDK does not start: {0}")]
    Eal(String),
    /// An argument for EAL holds a zero byte.
    #[error("runtime.eal holds an argument with a zero byte: {0:?}")]
    Argument(String),
    /// An argument makes EAL print something and end the process.
    #[error("runtime.eal holds {0}, with which DPDK only prints about itself: leave it out")]
    Prints(String),
    /// The config's limit is below what its frames need.
    #[error(
        "runtime.memory allows {allowed_mib} MiB, but {frames} frames need {needed_mib} MiB: raise it, or lower \
         runtime.frames"
    )]
    MemoryLimit {
        /// `runtime.frames`.
        frames: u32,
        /// What they need.
        needed_mib: u64,
        /// `runtime.memory`.
        allowed_mib: u64,
    },
    /// The two need different pools of frames, and there is one.
    #[error(
        "{0} is a PCI device and can not be in one config with an AF_XDP device: use af_packet for the other one"
    )]
    AfXdpAndPci(String),
    /// The machine has less memory than is needed.
    #[error(
        "DPDK needs {needed_mib} MiB of memory and only {available_mib} MiB are available: lower runtime.frames \
         or runtime.memory"
    )]
    Memory {
        /// What is needed.
        needed_mib: u64,
        /// What the kernel could give.
        available_mib: u64,
    },
    /// The kernel did not give the memory, although it seemed to be there: a limit of the process, or of its group.
    #[error(
        "DPDK can not get {mib} MiB of memory ({reason}): lower runtime.frames or runtime.memory, or raise the limit"
    )]
    NoMemory {
        /// What was asked for.
        mib: u64,
        /// What EAL said.
        reason: String,
    },
    /// The pool of frames could not be made.
    #[error(
        "no memory for the pool of {frames} frames ({reason}): lower runtime.frames or raise runtime.memory"
    )]
    Pool {
        /// `runtime.frames`.
        frames: u32,
        /// What DPDK said.
        reason: String,
    },
    /// Fewer frames than the queues hold.
    #[error(
        "runtime.frames is {frames}, but the devices' queues and the workers ({workers}) hold up to {minimum} frames \
         at once: raise it"
    )]
    Frames {
        /// `runtime.frames`.
        frames: u32,
        /// The smallest value that does.
        minimum: u32,
        /// How many workers share the pool.
        workers: usize,
    },
    /// The kernel interface is not there.
    #[error("{device}: there is no interface \"{name}\" in this network namespace (see `ip link`)")]
    NoInterface {
        /// As in the config.
        device: String,
        /// The interface.
        name: String,
    },
    /// The kernel spreads packets over more queues than natgate would read.
    #[error(
        "{device}: the interface has {queues} receive queues and only {opened} would be read, so that packets were \
         lost: run `ethtool -L {name} {channels}`"
    )]
    Channels {
        /// As in the config.
        device: String,
        /// The interface.
        name: String,
        /// Its receive queues.
        queues: u32,
        /// Those that AF_XDP opens.
        opened: u32,
        /// What to set.
        channels: String,
    },
    /// A kernel interface could not be set up.
    #[error("{device}: cannot {what}: {reason}")]
    Interface {
        /// As in the config.
        device: String,
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// The process lacks a privilege.
    #[error("{device}: natgate lacks {missing}: run it as root, or give it that capability")]
    Privilege {
        /// As in the config.
        device: String,
        /// The capabilities that are missing, joined with "and".
        missing: String,
    },
    /// The kernel would not let the process pin so much memory.
    #[error(
        "{device}: natgate pins {needed_mib} MiB in memory and may pin {allowed_mib} MiB: run it as root, give it \
         CAP_IPC_LOCK, or raise RLIMIT_MEMLOCK (`ulimit -l`, LimitMEMLOCK= of systemd)"
    )]
    PinnedMemory {
        /// The device that goes beyond the limit, as in the config.
        device: String,
        /// What it pins, with those before it if the kernel counts them together.
        needed_mib: u64,
        /// RLIMIT_MEMLOCK.
        allowed_mib: u64,
    },
    /// Nothing has this PCI address.
    #[error("{0}: no PCI device has this address (see `scripts/bind-nic status`)")]
    NoPciDevice(String),
    /// The PCI device belongs to the kernel.
    #[error(
        "{address}: the NIC is bound to the kernel driver {driver}: run `scripts/bind-nic bind {address}`"
    )]
    PciDriver {
        /// The PCI address.
        address: String,
        /// The driver.
        driver: String,
    },
    /// The PCI device belongs to no driver.
    #[error("{0}: the NIC is bound to no driver: run `scripts/bind-nic bind {0}`")]
    PciUnbound(String),
    /// Another process has the PCI device.
    #[error("{0}: another process uses the NIC: stop it first")]
    PciBusy(String),
    /// The VFIO group of the PCI device is not for this user.
    #[error("{address}: natgate may not open {path}: run it as root, or give its user access to that file")]
    PciDenied {
        /// The PCI address.
        address: String,
        /// The VFIO device node.
        path: String,
    },
    /// Two texts in the config are one device.
    #[error(
        "{device}: this is the same device as {other}: name it once (interfaces with VLANs share a device)"
    )]
    Same {
        /// As in the config.
        device: String,
        /// The text that came first.
        other: String,
    },
    /// The driver refused the device.
    #[error("{device}: DPDK cannot open the device: {reason}")]
    Probe {
        /// As in the config.
        device: String,
        /// What DPDK said.
        reason: String,
    },
    /// The device refused a setting.
    #[error("{device}: DPDK cannot set {what}: {reason}")]
    Configure {
        /// As in the config.
        device: String,
        /// What was tried.
        what: String,
        /// What DPDK said.
        reason: String,
    },
    /// Frames of this size do not pass the device.
    #[error("{device}: an MTU of {mtu} is more than the {most} that the device can do: lower it")]
    Mtu {
        /// As in the config.
        device: String,
        /// As in the config, in bytes.
        mtu: u16,
        /// The device's limit in bytes.
        most: u16,
    },
    /// A device needs larger buffers than AF_XDP can use.
    #[error(
        "{device}: an MTU of {mtu} needs larger buffers than AF_XDP can use, and all devices share them: lower it to \
         {most}"
    )]
    JumboAfXdp {
        /// As in the config.
        device: String,
        /// Its MTU in bytes, as in the config.
        mtu: u16,
        /// The largest MTU of this device that goes with AF_XDP.
        most: u16,
    },
    /// The device can not receive for this address.
    #[error("{device}: the device can neither take the address {mac} nor receive everything: leave mac out")]
    Mac {
        /// As in the config.
        device: String,
        /// As in the config.
        mac: MacAddr,
    },
    /// No lcore id is left for a thread.
    #[error("DPDK cannot register another thread ({0}): lower runtime.workers")]
    Thread(String),
    /// Queues, threads or frames outlive their device.
    #[error("{0} handles of DPDK are still in use, so the ports were not stopped (a bug in natgate)")]
    InUse(usize),
    /// Frames did not come back to the pool.
    #[error("{0} frames did not come back to the pool (a bug in natgate or in a driver)")]
    LostFrames(u32),
    /// The end failed.
    #[error("{device}: DPDK cannot stop the port: {reason}")]
    Stop {
        /// As in the config.
        device: String,
        /// What DPDK said.
        reason: String,
    },
}

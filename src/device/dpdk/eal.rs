//! DPDK's environment (EAL): started once in the life of a process, ended once.
//!
//! Several gateways and tests run side by side, so nothing is shared and nothing stays behind: no telemetry
//! socket, no shared configuration, hugepages by file descriptor only (`--in-memory`). The workers are natgate's
//! own threads; EAL gets one lcore, which is the thread that starts it, and that thread keeps its CPU affinity.
//! EAL's own threads (interrupts) run where the starting thread may run, so it starts before the workers are
//! pinned.

use super::log::{self, Mode};
use super::memory::MemoryPlan;
use super::{DpdkError, memory};
use std::ffi::{CStr, CString, c_char, c_int};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, process, ptr};

/// What the EAL has to know.
#[derive(Clone, Debug)]
pub struct EalOptions<'a> {
    /// PCI devices to take; no other is touched.
    pub pci: Vec<&'a str>,
    /// Where memory comes from.
    pub memory: MemoryPlan,
    /// The user's own arguments, which win over ours.
    pub extra: &'a [String],
}

/// The running EAL. Dropping it does nothing: memory stays mapped, because frames may still lie in it;
/// [`Eal::cleanup`] ends it when nothing does.
#[derive(Debug)]
pub struct Eal(());

static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts the EAL.
    pub fn init(options: &EalOptions<'_>) -> Result<Eal, DpdkError> {
        let arguments = arguments(options)
            .into_iter()
            .map(|argument| CString::new(argument.clone()).map_err(|_| DpdkError::Argument(argument)))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(argument) = options.extra.iter().find(|argument| only_prints(argument)) {
            return Err(DpdkError::Prints(argument.clone()));
        }
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(DpdkError::AlreadyStarted);
        }
        log::install();
        if options.extra.iter().any(|argument| argument.starts_with("--log-level")) {
            log::set_mode(Mode::Verbose);
        }
        log::forget_errors();
        // getopt shuffles the pointers and drivers keep some, so both the texts and the array live on.
        let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
        pointers.push(ptr::null_mut());
        // SAFETY: `pointers` is an array of `count` texts that nobody else uses, terminated by a null pointer, and
        // is leaked; STARTED makes this the first call in the process.
        let result = unsafe { dpdk_sys::ng_eal_init(count, pointers.leak().as_mut_ptr()) };
        remove_runtime_dir();
        if result != 0 {
            let reason = log::first_error().unwrap_or_else(|| reason_of(result));
            if let Some(mib) = options.memory.mib
                && reason.contains("Cannot allocate memory")
            {
                return Err(DpdkError::NoMemory { mib, reason });
            }
            let hint = if options.extra.is_empty() { "" } else { " (check runtime.eal)" };
            return Err(DpdkError::Eal(format!("{reason}{hint}")));
        }
        Ok(Eal(()))
    }

    /// Ends the EAL and unmaps its memory.
    ///
    /// # Safety
    ///
    /// No frame, pool, queue or registered thread may be left, and the caller is the thread that started it.
    pub unsafe fn cleanup(self) {
        log::set_mode(Mode::Quiet);
        // SAFETY: the caller's promise is what rte_eal_cleanup asks for.
        let result = unsafe { dpdk_sys::ng_eal_cleanup() };
        if result != 0 {
            tracing::warn!("DPDK did not end cleanly: {}", reason_of(result));
        }
    }
}

/// Removes the directory that EAL makes and, as nothing is shared, never uses; EAL itself would leave it behind.
fn remove_runtime_dir() {
    // SAFETY: returns a constant place.
    let dir = unsafe { dpdk_sys::ng_eal_runtime_dir() };
    if !dir.is_null() {
        // SAFETY: the EAL's text is terminated by a zero and does not change after its start.
        let dir = unsafe { CStr::from_ptr(dir) }.to_string_lossy();
        // Only an empty one goes: with `eal` arguments of the user's there may be something in it.
        let _ = fs::remove_dir(&*dir);
    }
}

/// Fails if the EAL was started before in this process.
pub(super) fn check_unused() -> Result<(), DpdkError> {
    if STARTED.load(Ordering::SeqCst) { Err(DpdkError::AlreadyStarted) } else { Ok(()) }
}

/// DPDK's version, such as `DPDK 22.11.11`.
pub fn version() -> String {
    // SAFETY: returns a constant text; needs no EAL.
    let version = unsafe { dpdk_sys::ng_version() };
    // SAFETY: terminated by a zero and constant.
    unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned()
}

/// Frequency of the CPU's time stamp counter in hertz, as DPDK found it out; `None` before [`Eal::init`].
pub fn tsc_hz() -> Option<NonZeroU64> {
    // SAFETY: reads a number; needs no EAL.
    NonZeroU64::new(unsafe { dpdk_sys::ng_tsc_hz() })
}

/// What a negative errno of the shim means.
pub(super) fn reason_of(result: c_int) -> String {
    // SAFETY: returns a text for any number, valid in this thread until the next call.
    let text = unsafe { dpdk_sys::ng_strerror(result.saturating_abs()) };
    if text.is_null() {
        return format!("error {result}");
    }
    // SAFETY: terminated by a zero; copied at once.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// EAL's command line. An option that the user gives replaces ours.
fn arguments(options: &EalOptions<'_>) -> Vec<String> {
    let mut arguments = vec!["natgate".to_owned()];
    let mut add = |names: &[&str], words: Vec<String>| {
        if !names.iter().any(|name| gives(options.extra, name)) {
            arguments.extend(words);
        }
    };
    add(&["--telemetry", "--no-telemetry"], vec!["--no-telemetry".into()]);
    add(&["--file-prefix"], vec![format!("--file-prefix=natgate-{}", process::id())]);
    let cpus = memory::process_status("Cpus_allowed_list").unwrap_or_else(|| "0".into());
    add(&["--lcores", "-l", "-c"], vec![format!("--lcores=0@({cpus})")]);
    if options.memory.hugepages {
        add(&["--in-memory"], vec!["--in-memory".into()]);
        // Shared memory with another process (memif) needs one file descriptor for all pages.
        add(&["--single-file-segments"], vec!["--single-file-segments".into()]);
    } else {
        add(&["--no-huge"], vec!["--no-huge".into()]);
        add(&["--no-shconf"], vec!["--no-shconf".into()]);
    }
    if let Some(mib) = options.memory.mib {
        add(&["-m", "--socket-mem"], vec!["-m".into(), mib.to_string()]);
    }
    if options.pci.is_empty() {
        add(&["--no-pci", "-a", "-b", "--allow", "--block"], vec!["--no-pci".into()]);
        // No device translates addresses, and physical ones would need privileges.
        add(&["--iova-mode"], vec!["--iova-mode=va".into()]);
    } else {
        add(
            &["-b", "--block"],
            options.pci.iter().flat_map(|a| ["-a".to_owned(), (*a).to_owned()]).collect(),
        );
    }
    arguments.extend(options.extra.iter().cloned());
    arguments
}

/// Whether EAL would print its usage or version and, for some, call `exit` behind our back. Its long options may be
/// cut short as long as they are unambiguous.
fn only_prints(argument: &str) -> bool {
    match argument.strip_prefix("--") {
        Some(long) => [("help", 2), ("version", 3)]
            .iter()
            .any(|(name, least)| long.len() >= *least && name.starts_with(long)),
        None => argument.starts_with("-h") || argument.starts_with("-v"),
    }
}

/// Whether `arguments` give the option `name`, as `name`, `name=value` or, for a short one, `nameVALUE`.
fn gives(arguments: &[String], name: &str) -> bool {
    let short = name.len() == 2;
    arguments.iter().any(|argument| {
        argument.strip_prefix(name).is_some_and(|rest| short || rest.is_empty() || rest.starts_with('='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(hugepages: bool, pci: &[&str], extra: &[&str]) -> Vec<String> {
        let extra: Vec<String> = extra.iter().map(|s| (*s).to_owned()).collect();
        let memory = MemoryPlan { hugepages, mib: (!hugepages).then_some(128) };
        arguments(&EalOptions { pci: pci.to_vec(), memory, extra: &extra })
    }

    fn has(line: &[String], word: &str) -> bool {
        line.iter().any(|argument| argument == word)
    }

    #[test]
    fn without_hugepages_memory_is_plain_and_bounded() {
        let line = line(false, &[], &[]);
        for word in ["--no-huge", "--no-shconf", "-m", "128", "--no-pci", "--no-telemetry", "--iova-mode=va"]
        {
            assert!(has(&line, word), "{word} in {line:?}");
        }
        assert!(!has(&line, "--in-memory"));
    }

    #[test]
    fn with_hugepages_nothing_is_left_in_their_file_system() {
        let line = line(true, &[], &[]);
        assert!(has(&line, "--in-memory") && !has(&line, "--no-huge"));
    }

    #[test]
    fn only_the_pci_devices_of_the_config_are_taken() {
        let line = line(true, &["0000:01:00.0"], &[]);
        assert!(has(&line, "-a") && has(&line, "0000:01:00.0") && !has(&line, "--no-pci"));
    }

    #[test]
    fn an_argument_that_ends_the_process_is_known() {
        for argument in ["-h", "-v", "-hv", "--help", "--he", "--version", "--ver"] {
            assert!(only_prints(argument), "{argument}");
        }
        for argument in ["--huge-dir", "--huge-unlink", "--vdev=net_null0", "--vfio-intr", "-l", "--"] {
            assert!(!only_prints(argument), "{argument}");
        }
    }

    #[test]
    fn an_argument_of_the_user_replaces_ours() {
        let line = line(false, &[], &["-m64", "--lcores=0@1", "--file-prefix", "mine"]);
        assert!(!has(&line, "128") && has(&line, "-m64"));
        assert_eq!(line.iter().filter(|a| a.starts_with("--lcores")).count(), 1);
        assert_eq!(line.iter().filter(|a| a.starts_with("--file-prefix")).count(), 1);
        assert_eq!(line.last().map(String::as_str), Some("mine"));
    }
}

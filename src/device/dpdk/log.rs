//! DPDK's log lines: into `tracing`, target `dpdk`.
//!
//! While DPDK starts it reports errors that are none (a bus that is not there, a page size without pages) beside the
//! one that matters, so during start-up lines are kept at level `debug` and the first error is remembered: it
//! becomes the reason in [`super::DpdkError`]. Lines come from any thread that runs a driver's code; on the packet
//! path drivers say nothing at these levels.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// DPDK's number for errors; smaller ones are worse.
const ERROR: u32 = 4;
/// DPDK's number for warnings.
const WARNING: u32 = 5;

/// How loud DPDK is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Everything at level `debug`: while starting and stopping.
    Quiet,
    /// Errors and warnings at their level, the rest at `debug`.
    Normal,
    /// Everything at its level: the user asked for it with an `--log-level` of EAL's.
    Verbose,
}

struct State {
    mode: Mode,
    first_error: Option<String>,
}

static STATE: Mutex<State> = Mutex::new(State { mode: Mode::Quiet, first_error: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes DPDK's log over.
pub(super) fn install() {
    // SAFETY: `sink` may be called by any thread and at any time, also after the EAL's end.
    let result = unsafe { dpdk_sys::ng_log_to(Some(sink)) };
    if result != 0 {
        tracing::warn!("DPDK's log lines go to standard error: {}", super::eal::reason_of(result));
    }
}

/// Sets how loud DPDK is, unless it is to be verbose for good.
pub(super) fn set_mode(mode: Mode) {
    let mut state = state();
    if state.mode != Mode::Verbose {
        state.mode = mode;
    }
}

/// Forgets the errors so far: what follows is a new step.
pub(super) fn forget_errors() {
    state().first_error = None;
}

/// The first error since [`forget_errors`].
pub(super) fn first_error() -> Option<String> {
    state().first_error.clone()
}

extern "C" fn sink(level: u32, text: *const std::ffi::c_char, length: usize) {
    // SAFETY: the shim passes a text of `length` bytes that lives during the call.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    for line in String::from_utf8_lossy(bytes).lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mode = {
            let mut state = state();
            if level <= ERROR && state.first_error.is_none() {
                state.first_error = Some(line.trim_end_matches(['.', '!']).to_owned());
            }
            state.mode
        };
        match (mode, level) {
            (Mode::Normal | Mode::Verbose, ..=ERROR) => tracing::error!(target: "dpdk", "{line}"),
            (Mode::Normal | Mode::Verbose, WARNING) => tracing::warn!(target: "dpdk", "{line}"),
            (Mode::Verbose, _) => tracing::info!(target: "dpdk", "{line}"),
            _ => tracing::debug!(target: "dpdk", "{line}"),
        }
    }
}

//! Counts the instructions of a run of this program.
//!
//! Under valgrind's `cachegrind` without its caches, which counts every instruction of the process and nothing else. The
//! processor that valgrind shows is the machine's own without AVX-512, and the C library chooses its copy loops by that: it is
//! told to take those of x86-64-v1, so that the counts are the same on every machine.

use std::process::Command;

/// Copy loops of the baseline: names that the C library does not know have no effect.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-SSSE3,-SSE4_2";

/// Instructions of a whole run with these arguments.
///
/// # Errors
/// What to do about it.
pub(crate) fn instructions(arguments: &[&str]) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("who am I? {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args(arguments)
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .map_err(|error| {
            format!("valgrind could not be run ({error}); install it: apt-get install valgrind")
        })?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind failed:\n{log}"));
    }
    read(&log).ok_or_else(|| format!("valgrind said nothing of instructions:\n{log}"))
}

/// The number in the line `==1== I refs: 1,234`.
fn read(log: &str) -> Option<u64> {
    let (head, number) = log.lines().find_map(|line| line.split_once("refs:"))?;
    head.trim_end().ends_with('I').then(|| number.trim().replace(',', "").parse().ok())?
}

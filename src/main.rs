//! The `natgate` binary: see `natgate --help`.

#[cfg(not(any(natgate_loom, natgate_core)))]
fn main() -> std::process::ExitCode {
    natgate::cli::main()
}

/// The models need no program.
#[cfg(any(natgate_loom, natgate_core))]
fn main() {}

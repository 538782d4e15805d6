//! The `natgate` binary: see `natgate --help`.

#[cfg(not(natgate_loom))]
fn main() -> std::process::ExitCode {
    natgate::cli::main()
}

/// The models need no program.
#[cfg(natgate_loom)]
fn main() {}

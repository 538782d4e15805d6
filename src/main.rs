//! The `natgate` binary: see `natgate --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    natgate::cli::main()
}

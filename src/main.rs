//! The `natgate` binary: see `natgate --help`.

fn main() {}

//! Stamps the version: natgate's own and that of the DPDK that it is built with. No FFI work happens here.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEP_DPDK_VERSION");
    let own = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // Set by the build script of `dpdk-sys` (key `version` of `links = "dpdk"`).
    let version = match env::var("DEP_DPDK_VERSION") {
        Ok(dpdk) => format!("{own} (DPDK {dpdk})"),
        Err(_) => format!("{own} (without DPDK)"),
    };
    println!("cargo:rustc-env=NATGATE_VERSION={version}");
}

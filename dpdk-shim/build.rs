//! Finds the system's DPDK, compiles the shim and generates its bindings.
//!
//! Whatever is missing on the machine ends the build with one sentence that says what to install.

use std::env;
use std::ffi::OsString;
use std::panic;
use std::path::PathBuf;
use std::process::Command;

/// The oldest DPDK that the shim is written for.
const OLDEST: &str = "22.11";
/// The first DPDK after those that the shim is written for.
const TOO_NEW: &str = "25.12";
const INSTALL: &str = "install it with `apt install libdpdk-dev pkg-config clang libclang-dev` (Debian, Ubuntu), \
                       or build natgate without devices with --no-default-features";

fn main() {
    println!("cargo::rerun-if-changed=kernel.c");
    println!("cargo::rerun-if-changed=rss.c");
    println!("cargo::rerun-if-changed=rss.h");
    println!("cargo::rerun-if-changed=shim.c");
    println!("cargo::rerun-if-changed=shim.h");
    if let Err(sentence) = build() {
        println!("cargo::error={sentence}");
    }
}

fn build() -> Result<(), String> {
    let dpdk = find()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    cc::Build::new()
        .files(["shim.c", "rss.c", "kernel.c"])
        .flags(compiler_flags()?)
        .define("ALLOW_EXPERIMENTAL_API", None)
        .flag_if_supported("-std=gnu11")
        .warnings(true)
        .try_compile("natgate_dpdk")
        .map_err(|error| {
            format!("the C compiler refused dpdk-shim/*.c with DPDK {}: {error}", dpdk.version)
        })?;
    // Linked one by one and only where used (`--as-needed` is rustc's default): the drivers are plug-ins that
    // EAL loads by itself from the directory that is compiled into librte_eal, with what they need themselves.
    for path in &dpdk.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    for library in &dpdk.libs {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    println!("cargo::metadata=version={}", dpdk.version);
    bindings()?
        .write_to_file(out.join("bindings.rs"))
        .map_err(|error| format!("cannot write the bindings: {error}"))
}

/// Where DPDK is, if its version is one that the shim knows.
fn find() -> Result<pkg_config::Library, String> {
    let dpdk = pkg_config::Config::new().cargo_metadata(false).env_metadata(true).probe("libdpdk").map_err(
        |error| match error {
            pkg_config::Error::Command { .. } => format!("pkg-config cannot be run: {INSTALL}"),
            _ => format!(
                "natgate needs DPDK {OLDEST} to 25.11, and pkg-config finds no libdpdk here: {INSTALL}"
            ),
        },
    )?;
    if number(&dpdk.version) < number(OLDEST) || number(&dpdk.version) >= number(TOO_NEW) {
        return Err(format!(
            "natgate needs DPDK {OLDEST} to 25.11, and pkg-config finds {}: install a supported one, or build \
             natgate without devices with --no-default-features",
            dpdk.version
        ));
    }
    Ok(dpdk)
}

/// Year and month of a DPDK version such as `22.11.11` or `24.07.0-rc1`.
fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The flags that DPDK's headers need, such as `-include rte_config.h -march=…`; the pkg-config crate reads only
/// paths and definitions from them.
fn compiler_flags() -> Result<Vec<String>, String> {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| OsString::from("pkg-config"));
    let output = Command::new(program)
        .args(["--cflags", "libdpdk"])
        .output()
        .map_err(|_| format!("pkg-config cannot be run: {INSTALL}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
}

/// The bindings of `shim.h`. bindgen panics when there is no libclang.
fn bindings() -> Result<bindgen::Bindings, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = panic::catch_unwind(|| {
        bindgen::Builder::default()
            .header("shim.h")
            .allowlist_item("(ng|NG)_.*")
            .prepend_enum_name(false)
            .layout_tests(false)
            .generate_comments(true)
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
            .generate()
    });
    panic::set_hook(hook);
    match result {
        Ok(Ok(bindings)) => Ok(bindings),
        Ok(Err(error)) => Err(format!("bindgen refused dpdk-shim/shim.h: {error}")),
        Err(_) => Err("bindgen needs libclang: install it with `apt install clang libclang-dev`".to_owned()),
    }
}

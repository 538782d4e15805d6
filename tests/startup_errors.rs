//! `natgate run` where it can not work: it must end with an exit code other than 0 and one clear sentence.
//!
//! Lines of DPDK's own (they begin with `EAL:` or another of its log types) may come before it.

#![cfg(feature = "dpdk")]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod support;

use natgate::lab::command::run;
use natgate::lab::gateway::{DeviceKind, Gateway, GatewayOptions, config_text, kernel_is_asked_for};
use natgate::lab::topology::Site;
use natgate::lab::{Namespace, Output};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const DEVICE: DeviceKind = DeviceKind::AfPacket;

/// Skips without root, and where there is no natgate to test.
fn skipped() -> bool {
    support::skipped_without_root() || kernel_is_asked_for()
}

/// Writes a config into the site's directory: the usual one after `change`.
fn config(site: &Site, change: impl FnOnce(String) -> String) -> PathBuf {
    let control = site.lab.directory().join("control.sock");
    let file = site.lab.directory().join("broken.toml");
    fs::write(&file, change(config_text(DEVICE, 1, &control))).expect("the config can be written");
    file
}

fn start(at: &Namespace, binary: &Path, config: &Path, before: &[&str]) -> Output {
    let (binary, config) = (binary.display().to_string(), config.display().to_string());
    at.exec(&[before, &[&binary, "run", "-c", &config]].concat(), PATIENCE)
        .expect("natgate gives up by itself")
}

/// The one sentence: it must hold all of `words`.
fn refuses(output: &Output, words: &[&str]) {
    let said = &output.stderr;
    let code = output.status.code();
    assert!(matches!(code, Some(1..=2)), "exit code {code:?}; it said: {said}{}", output.stdout);
    assert!(!said.contains("panicked"), "{said}");
    let sentence = said.lines().filter(|line| line.starts_with("natgate: ")).collect::<Vec<_>>();
    let [sentence] = sentence.as_slice() else { unreachable!("not one sentence of natgate's own: {said}") };
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    assert_eq!(last, Some(*sentence), "the sentence is not the last thing said: {said}");
    eprintln!("  {sentence}");
    let lower = sentence.to_lowercase();
    for word in words {
        assert!(lower.contains(&word.to_lowercase()), "`{word}` is not in: {sentence}");
    }
}

#[test]
fn without_privileges() {
    if skipped() {
        return;
    }
    let _alone = support::alone();
    let site = Site::small(1).expect("the network can be built");
    // Nobody may read the build directory, nor the laboratory's.
    let open =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().expect("a directory");
    let binary = open.path().join("natgate");
    fs::copy(support::binary(), &binary).expect("the binary can be copied");
    let file = open.path().join("natgate.toml");
    let control = Path::new("/tmp").join(format!("natgate-nobody-{}.sock", std::process::id()));
    fs::write(&file, config_text(DEVICE, 1, &control)).expect("the config can be written");
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    refuses(&start(&site.gateway, &binary, &file, &nobody), &["root"]);
}

#[test]
fn without_the_interface() {
    if skipped() {
        return;
    }
    let _alone = support::alone();
    let site = Site::small(1).expect("the network can be built");
    let file = config(&site, |text| text.replace("af_packet:wan0", "af_packet:eth9"));
    refuses(&start(&site.gateway, &support::binary(), &file, &[]), &["eth9"]);
}

#[test]
fn with_less_memory_than_the_config_asks_for() {
    if skipped() {
        return;
    }
    let _alone = support::alone();
    let site = Site::small(1).expect("the network can be built");
    let file = config(&site, |text| format!("{text}memory = \"1TiB\"\n"));
    refuses(&start(&site.gateway, &support::binary(), &file, &[]), &["memory", "1048576 MiB"]);
}

#[test]
fn without_memory() {
    if skipped() {
        return;
    }
    let _alone = support::alone();
    let site = Site::small(1).expect("the network can be built");
    let file = config(&site, |text| format!("{text}frames = 1000000\n"));
    // The machine has it, but the process may not: a limit, or what others leave.
    let limited = ["prlimit", "--as=3000000000", "--"];
    refuses(&start(&site.gateway, &support::binary(), &file, &limited), &["memory", "frames"]);
}

#[test]
fn with_a_pci_device_that_is_not_there() {
    if skipped() {
        return;
    }
    let _alone = support::alone();
    let site = Site::small(1).expect("the network can be built");
    let file = config(&site, |text| text.replace("af_packet:wan0", "0000:ff:1f.7"));
    refuses(&start(&site.gateway, &support::binary(), &file, &[]), &["0000:ff:1f.7"]);
}

#[test]
fn with_a_pci_device_that_the_kernel_uses() {
    if skipped() {
        return;
    }
    let devices = Path::new("/sys/bus/pci/devices");
    let used = fs::read_dir(devices).into_iter().flatten().flatten().find(|device| {
        // A network controller (class 0x02…) with a driver that is not one for user space.
        let class = fs::read_to_string(device.path().join("class")).unwrap_or_default();
        let driver = fs::read_link(device.path().join("driver")).unwrap_or_default();
        let driver = driver.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        class.starts_with("0x02") && !driver.is_empty() && !driver.contains("vfio") && !driver.contains("uio")
    });
    let Some(used) = used else {
        eprintln!("SKIPPED: no PCI network device of this machine is bound to a kernel driver");
        return;
    };
    let _alone = support::alone();
    let address = used.file_name().to_string_lossy().into_owned();
    let site = Site::small(1).expect("the network can be built");
    let file = config(&site, |text| text.replace("af_packet:wan0", &address));
    refuses(&start(&site.gateway, &support::binary(), &file, &[]), &[&address]);
}

#[test]
fn with_a_control_socket_in_use() {
    if skipped() {
        return;
    }
    let _alone = support::alone();
    let site = Site::small(1).expect("the network can be built");
    let options = GatewayOptions { binary: support::binary(), device: DEVICE, workers: 1 };
    let mut gateway = Gateway::start(&site, &options).expect("the first gateway starts");
    // Another one, elsewhere, with the same socket.
    let second = Site::small(1).expect("the network can be built");
    let control = site.lab.directory().join("control.sock");
    let file = second.lab.directory().join("second.toml");
    fs::write(&file, config_text(DEVICE, 1, &control)).expect("the config can be written");
    refuses(&start(&second.gateway, &support::binary(), &file, &[]), &["control.sock"]);
    let natgate = gateway.natgate().expect("not the kernel");
    natgate.ask(&["show", "status"]).expect("the first gateway still answers on its socket");
    assert!(natgate.terminate().expect("it ends").success());
}

#[test]
fn without_a_config() {
    let output = run(&[&support::binary().display().to_string(), "run", "-c", "/nonexistent.toml"], PATIENCE)
        .expect("natgate gives up by itself");
    refuses(&output, &["/nonexistent.toml"]);
}

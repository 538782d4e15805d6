//! `natgate demo` as a user runs it: it succeeds, it says what it saw, and it leaves nothing behind, whether it
//! comes to its end or is interrupted.

#![cfg(feature = "dpdk")]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod support;

use natgate::lab::command::{Background, QUICK, check, retry, run};
use natgate::lab::{Lab, LabError};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// What belongs to laboratories: namespaces, directories, and processes inside.
fn leftovers(pid: u32) -> Vec<String> {
    let prefix = format!("natgate-{pid}-");
    let namespaces = check(&["ip", "netns", "list"], QUICK).expect("ip works").stdout;
    let namespaces = namespaces.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    let files = std::fs::read_dir(std::env::temp_dir()).expect("the directory is there").flatten();
    let files = files.filter_map(|entry| entry.file_name().into_string().ok());
    namespaces.chain(files).filter(|name| name.starts_with(&prefix)).collect()
}

fn demo(arguments: &[&str]) -> (String, Lab) {
    let lab = Lab::new().expect("root can make a laboratory");
    let binary = support::binary().display().to_string();
    let log = lab.directory().join("demo.log");
    let mut demo =
        Background::start(&[&[binary.as_str(), "demo"], arguments].concat(), &log).expect("it starts");
    let ended = retry(PATIENCE, Duration::from_millis(50), || {
        demo.ended()?.ok_or_else(|| LabError::unexpected("the demo hangs"))
    });
    let said = demo.log();
    eprintln!("{said}");
    assert!(ended.expect("the demo ends").success(), "{said}");
    assert_eq!(leftovers(demo.id()), Vec::<String>::new());
    (said, lab)
}

#[test]
fn every_step_is_ok_and_nothing_is_left() {
    if support::skipped_without_root() {
        return;
    }
    let _alone = support::alone();
    let (said, _lab) = demo(&["--workers", "2"]);
    assert!(said.contains("All 13 steps passed."), "{said}");
    assert!(said.contains("its server saw the source 192.168.1.1"), "full NAT shows the gateway: {said}");
    assert!(said.lines().any(|line| line.trim_start().starts_with("ipv4     2 tcp      6 ")), "{said}");
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    if support::skipped_without_root() {
        return;
    }
    let _alone = support::alone();
    let lab = Lab::new().expect("root can make a laboratory");
    let binary = support::binary().display().to_string();
    let log = lab.directory().join("demo.log");
    let mut demo = Background::start(&[&binary, "demo"], &log).expect("it starts");
    // The longest step: servers and a client are running then.
    retry(PATIENCE, Duration::from_millis(20), || match demo.log().contains("] iperf3") {
        true => Ok(()),
        false => Err(LabError::unexpected(format!("iperf3 does not begin: {}", demo.log()))),
    })
    .expect("the demo comes to its last step");
    let status = demo.terminate(QUICK).expect("the demo ends on a signal");
    assert_eq!(status.code(), Some(1), "{}", demo.log());
    assert!(demo.log().contains("interrupted"), "{}", demo.log());
    assert_eq!(leftovers(demo.id()), Vec::<String>::new());
}

#[test]
fn what_a_killed_demo_leaves_is_removed_by_the_next() {
    if support::skipped_without_root() {
        return;
    }
    let _alone = support::alone();
    let lab = Lab::new().expect("root can make a laboratory");
    let binary = support::binary().display().to_string();
    let log = lab.directory().join("demo.log");
    let mut killed = Background::start(&[&binary, "demo"], &log).expect("it starts");
    retry(PATIENCE, Duration::from_millis(20), || match demo_is_running(&log) {
        true => Ok(()),
        false => Err(LabError::unexpected("the gateway does not start")),
    })
    .expect("the demo begins");
    let pid = killed.id();
    let _ = run(&["sh", "-c", &format!("kill -s KILL {pid}")], QUICK);
    retry(QUICK, Duration::from_millis(10), || {
        killed.ended()?.ok_or_else(|| LabError::unexpected("it does not die"))
    })
    .expect("nobody survives that");
    assert_ne!(leftovers(pid), Vec::<String>::new(), "there is something to remove");
    drop(Lab::new().expect("a new laboratory removes what dead ones left"));
    assert_eq!(leftovers(pid), Vec::<String>::new());
}

fn demo_is_running(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|text| text.contains("] ping"))
}

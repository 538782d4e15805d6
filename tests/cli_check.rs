//! `natgate check` and the command line as a user meets them: output and exit codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::io::Write;
use std::process::{Command, Output};

fn natgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_natgate"))
        .args(arguments)
        .env_remove("NATGATE_LOG")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The text without its layout.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A config with two mistakes.
fn wrong() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[interface.lan]\ndevice = \"eth1\"\nrealm = \"internal\"\nadress = \"10.0.0.1/8\"\n")
        .unwrap();
    file
}

#[test]
fn check_of_a_valid_config_prints_what_it_means_and_exits_with_0() {
    let output = natgate(&["check", "config/port-forwarding.toml"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for part in [
        "config/port-forwarding.toml: valid",
        "wan        external  0000:01:00.1  -     0     1500  203.0.113.2/24, 203.0.113.3/24",
        "workers   2 on CPU 2, 3",
        "steering  as well as the NICs can; a host inside has one worker\n          the plan is chosen at the start: see `natgate show steering`\n",
        "restart   is what a change of workers, cpus, spread or steering takes\n",
        "1 snat, 6 dnat",
        "40 MiB for 262144 sessions of 160 bytes, up to 17 MiB for mappings",
        "4 MiB for the ports of 6 addresses, 38 MiB for 16384 frames",
        "1092   tcp_time_wait = 4m",
        "873   udp = 5m",
        "4369   icmp = 1m",
        "209716 sessions   timeouts of unreplied and closing sessions begin to shrink",
        "259522 sessions   new ones take the place of those that matter less",
        "2622 sessions   more are kept for management sources (of which there are none",
    ] {
        assert!(words(&text).contains(&words(part)), "{part:?} is not in\n{text}");
    }
}

#[test]
fn check_says_what_happens_as_the_table_of_a_carrier_fills() {
    let output = natgate(&["check", "config/carrier-limits.toml"]);
    let text = stdout(&output);
    for part in [
        "640 MiB for 4194304 sessions of 160 bytes, 160 MiB to count their sources",
        "2097152 sessions   at the most are TCP connections that are half-open",
        "4152360 sessions   new ones are refused",
        "41944 sessions   more are kept for management sources (2 prefixes)",
        "each source may have 2000 sessions and 200 new sessions a second in the long run, 500 at once",
    ] {
        assert!(words(&text).contains(&words(part)), "{part:?} is not in\n{text}");
    }
}

#[test]
fn check_of_a_wrong_config_prints_all_errors_without_colours_and_exits_with_2() {
    let file = wrong();
    let output = natgate(&["check", file.path().to_str().unwrap()]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("\"eth1\" does not say how to reach the interface"), "{text}");
    assert!(text.contains("did you mean `address`?"), "{text}");
    assert!(text.contains("2 errors"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert!(stdout(&output).is_empty());
}

#[test]
fn run_with_a_wrong_config_prints_the_same_errors_and_exits_with_2() {
    let file = wrong();
    let path = file.path().to_str().unwrap();
    let output = natgate(&["run", "-c", path]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), stderr(&natgate(&["check", path])));
}

#[test]
fn check_in_json_is_one_object_with_the_places_of_the_errors() {
    let file = wrong();
    let output = natgate(&["check", "--json", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["valid"], false);
    assert_eq!(report["errors"][1]["line"], 4);
    assert_eq!(report["errors"][1]["help"], "did you mean `address`?");

    let output = natgate(&["check", "--json", "config/full-nat.toml"]);
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["summary"]["udp_per_second"], 13_981);
}

#[test]
fn a_config_that_can_not_be_read_is_one_sentence_and_exit_code_2() {
    let output = natgate(&["check", "config/no-such-file.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("can not read the config config/no-such-file.toml: No such file"), "{text}");
}

#[test]
fn a_wrong_command_line_exits_with_2_and_help_with_0() {
    assert_eq!(natgate(&[]).status.code(), Some(2));
    assert_eq!(natgate(&["chekc", "x"]).status.code(), Some(2));
    let help = natgate(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("Examples:"));
    assert!(stdout(&natgate(&["--version"])).starts_with("natgate "));
}

#[test]
fn what_check_prints_fits_in_80_columns() {
    for config in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config")).unwrap() {
        let path = config.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let output = natgate(&["check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        // The first line has the path.
        for line in stdout(&output).lines().skip(1) {
            assert!(line.chars().count() <= 80, "{}: {line}", path.display());
        }
    }
}

#[test]
fn a_log_filter_that_is_none_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_natgate"))
        .args(["check", "config/full-nat.toml"])
        .env("NATGATE_LOG", "natgate=loud")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("NATGATE_LOG"));
}

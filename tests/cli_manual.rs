//! Completion, manual and API description as a user gets them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Output};

fn natgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_natgate")).args(arguments).output().unwrap()
}

#[test]
fn the_manual_is_written_as_a_page_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let man1 = directory.path().join("man/man1");
    let output = natgate(&["man", "--out", man1.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run = fs::read_to_string(man1.join("natgate-run.1")).unwrap();
    assert!(run.contains(".SH SYNOPSIS") && run.contains("natgate run \\-c /etc/natgate.toml"), "{run}");
    assert!(fs::read_to_string(man1.join("natgate-show-drops.1")).unwrap().contains("Exit codes"));
    // The main page refers to the others, and is what is printed without a directory.
    let main = fs::read(man1.join("natgate.1")).unwrap();
    assert_eq!(natgate(&["man"]).stdout, main);
    assert!(String::from_utf8(main).unwrap().contains("natgate\\-sessions(1)"));

    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let output = natgate(&["man", "--out", file.join("x").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("can not make"));
}

#[test]
fn bash_takes_the_completion_and_completes_with_it() {
    let script = natgate(&["completion", "bash"]);
    assert_eq!(script.status.code(), Some(0));
    let script = String::from_utf8(script.stdout).unwrap();
    // What bash does when somebody presses Tab behind `natgate sessions d`.
    let ask = "COMP_WORDS=(natgate sessions d); COMP_CWORD=2; _natgate natgate d sessions; echo \"${COMPREPLY[@]}\"";
    let Ok(bash) = Command::new("bash").args(["--norc", "-c", &format!("{script}\n{ask}")]).output() else {
        return;
    };
    assert_eq!(
        String::from_utf8(bash.stdout).unwrap().trim(),
        "delete",
        "{:?}",
        String::from_utf8(bash.stderr)
    );
    assert_eq!(natgate(&["completion", "tcsh"]).status.code(), Some(2));
}

#[test]
fn the_api_is_described_without_a_gateway() {
    let output = natgate(&["api"]);
    assert_eq!(output.status.code(), Some(0));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/v1/status"]["get"].is_object());
}

//! `--watch` on a terminal and into a pipe.

#![allow(clippy::unwrap_used, reason = "clippy does not see that these are for tests only")]

use super::gateway::{Gateway, LONG};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

fn natgate(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut natgate = Command::new(env!("CARGO_BIN_EXE_natgate"));
    natgate.args(arguments).arg("-s").arg(gateway.socket()).stdin(Stdio::null());
    natgate.env("NO_COLOR", "1").env_remove("COLUMNS");
    natgate
}

fn interrupt(child: &mut Child) -> Option<i32> {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
    child.wait().unwrap().code()
}

#[test]
fn a_terminal_is_written_in_place_and_restored_at_the_end() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = PathBuf::from(ptsname(&controller, Vec::new()).unwrap().into_string().unwrap());
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut command = natgate(&gateway, &["show", "drops", "--watch=0.1"]);
    let mut child = command.stdout(terminal.try_clone().unwrap()).stderr(terminal).spawn().unwrap();
    // It still holds the other end of the terminal, which would never end.
    drop(command);
    let mut screen = File::from(controller);
    let mut seen = String::new();
    let mut piece = [0; 4_096];
    let begun = Instant::now();
    while seen.matches("\x1b[H").count() < 3 {
        let length = screen.read(&mut piece).unwrap();
        seen.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        assert!(begun.elapsed() < LONG, "{seen}");
    }
    assert_eq!(interrupt(&mut child), Some(0));
    // The end of a terminal that nobody holds any more is an error.
    while let Ok(length @ 1..) = screen.read(&mut piece) {
        seen.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    assert!(seen.starts_with("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H"), "{seen:?}");
    assert!(seen.ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l"), "{seen:?}");
    assert_eq!(seen.matches("\x1b[?1049h").count(), 1);
    let views: Vec<_> = seen.split("\x1b[H").collect();
    assert!(views[1].contains("Z, every 100ms (Ctrl-C ends)"), "{}", views[1]);
    assert!(views[1].contains("packets  reason") && !views[1].contains("a second"), "{}", views[1]);
    assert!(views[2].contains("packets  a second  reason"), "{}", views[2]);
}

#[test]
fn views_follow_each_other_in_a_pipe() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let mut child =
        natgate(&gateway, &["sessions", "count", "--watch=0.1"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.take(9).map(Result::unwrap).collect();
    assert!(lines[0].starts_with("worker") && lines[3].starts_with("all"), "{lines:?}");
    assert_eq!((lines[4].as_str(), &lines[5..9]), ("", &lines[0..4]));
    // The reader is gone: a good end, without a signal.
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn json_is_one_object_a_line() {
    let gateway = Gateway::new(1);
    let _server = gateway.start();
    let mut command = natgate(&gateway, &["show", "status", "--json", "--watch=0.1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.take(2) {
        let status: natgate::control::api::Status = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(status.sessions.used, 3);
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_gateway_that_goes_away_is_asked_again_until_it_is_back() {
    let gateway = Gateway::new(1);
    let server = gateway.start();
    let mut command = natgate(&gateway, &["show", "neighbors", "--watch=0.1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut views = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut complaints = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(views.next().unwrap().unwrap().starts_with("interface"));
    server.stop();
    let complaint = complaints.next().unwrap().unwrap();
    let expected = format!("natgate: no gateway is listening on {}", gateway.socket().display());
    assert!(
        complaint.starts_with(&expected) && complaint.ends_with("asking again every 100ms"),
        "{complaint}"
    );
    let _server = gateway.start();
    // What was shown before it went, and then, however much that was, what the new one says.
    gateway.state.published.neighbors.publish(Vec::new());
    assert!(views.any(|line| line.unwrap() == "No neighbours are known yet."));
    assert_eq!(interrupt(&mut child), Some(0));
    assert_eq!(complaints.count(), 0, "it is said once");
}

#[test]
fn a_gateway_that_is_not_there_at_the_start_is_exit_code_1() {
    let gateway = Gateway::new(0);
    for arguments in
        [&["show", "status", "--watch"][..], &["sessions", "top", "--watch=1"], &["show", "drops"]]
    {
        let output = natgate(&gateway, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no gateway is listening"));
    }
    let _server = gateway.start();
    let output = natgate(&gateway, &["sessions", "top", "--watch=1", "--limit", "1000000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "what it refuses, it refuses every time");
}

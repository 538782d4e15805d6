//! The scripts for other people's load generators do what docs/pktgen.md says: Pktgen's are run on a stand-in for Pktgen, the
//! profile for TRex is compiled, and the config in the document is valid.
//!
//! What is not installed (`lua5.4`, `python3`) is not asked.

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

use natgate::config;
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a program; nothing if there is none.
fn output(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Output> {
    let mut command = Command::new(program);
    command.current_dir(ROOT).args(arguments).envs(environment.iter().copied());
    let Ok(output) = command.output() else {
        eprintln!("there is no {program}: SKIPPED");
        return None;
    };
    Some(output)
}

const MACS: [(&str, &str); 2] =
    [("NATGATE_MAC_INSIDE", "02:00:00:00:00:01"), ("NATGATE_MAC_OUTSIDE", "02:00:00:00:00:02")];

/// What a script of Pktgen's prints, and whether it came to its end.
fn pktgen(script: &str, environment: &[(&str, &str)]) -> Option<(String, bool)> {
    let script = format!("scripts/pktgen/{script}");
    let output = output("lua5.4", &["tests/pktgen/fake.lua", &script], environment)?;
    let said = [output.stdout, output.stderr].concat();
    Some((String::from_utf8_lossy(&said).into_owned(), output.status.success()))
}

#[test]
fn pktgen_opens_every_session_once_and_finds_the_rate_that_passes() {
    let environment = [&MACS[..], &[("NATGATE_SESSIONS", "1,1000,64000")]].concat();
    let Some((said, ended)) = pktgen("sessions.lua", &environment) else { return };
    assert!(ended, "{said}");
    // Ports are odd, so that each meets each of a power of two of clients: 64 times 1,001. The numbers before are among them.
    for line in ["set-up: 1 sessions", "set-up: 1000 sessions", "set-up: 64064 sessions", "opened 64064"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // 6 million of twice 14.88 are 20.16 %, half a percent below at most.
    let found: Vec<f64> = said
        .lines()
        .filter(|line| line.split_whitespace().count() == 3)
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .collect();
    assert_eq!(found.len(), 3, "{said}");
    assert!(found.iter().all(|rate| (5.8..=6.0).contains(rate)), "{said}");
}

#[test]
fn pktgen_sweeps_rates_in_whole_percents_where_it_must() {
    let environment =
        [&MACS[..], &[("NATGATE_STEP", "12.5"), ("NATGATE_DIRECTION", "out"), ("FAKE_OLD", "1")]].concat();
    let Some((said, ended)) = pktgen("rates.lua", &environment) else { return };
    assert!(ended, "{said}");
    assert_eq!(said.lines().filter(|line| line.contains(" of the line: ")).count(), 8, "{said}");
    assert!(said.contains("38.00 % of the line:   5.655 M packets/s, 0 of"), "{said}");
    assert!(
        said.contains("100.00 % of the line:   6.000 M packets/s") && said.contains(": failed"),
        "{said}"
    );
}

#[test]
fn pktgen_is_not_started_without_the_addresses_of_the_gateway() {
    let Some((said, ended)) = pktgen("flows.lua", &[]) else { return };
    assert!(!ended && said.contains("set NATGATE_MAC_INSIDE"), "{said}");
    let Some((said, ended)) = pktgen("flows.lua", &MACS) else { return };
    assert!(ended && said.contains("opened 64064"), "{said}");
}

#[test]
fn the_profile_for_trex_compiles() {
    let code = "import ast; ast.parse(open('scripts/trex/natgate.py').read())";
    let Some(output) = output("python3", &["-c", code], &[]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_comparison_says_what_it_does() {
    let Some(output) = output("python3", &["scripts/bench-compare", "--help"], &[]) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    for word in ["testpmd", "natgate", "kernel", "--runs", "--sessions", "--json", "--plot", "--quick"] {
        assert!(output.status.success() && said.contains(word), "{word}: {said}");
    }
}

#[test]
fn the_configs_in_the_document_are_valid_without_a_warning() {
    let text =
        std::fs::read_to_string(Path::new(ROOT).join("docs/pktgen.md")).expect("the document is there");
    let blocks = text.split("```toml\n").skip(1).filter_map(|block| block.split_once("```"));
    let blocks: Vec<&str> = blocks.map(|(block, _)| block).collect();
    assert_eq!(blocks.len(), 1);
    for block in blocks {
        let checked = config::parse(block, "docs/pktgen.md").expect("the config is valid");
        assert_eq!(checked.warnings, []);
    }
}

//! Instructions a packet, counted and compared with what was accepted: a regression shows on any machine, however busy.
//!
//! ```text
//! scripts/test instructions
//! scripts/test --stage instructions hit-udp     # this one
//! scripts/test --stage instructions --bless     # accept what there is
//! ```
//!
//! Each scenario runs twice under valgrind, once without its work: the difference is the work's. The counts are the same on
//! every machine with the same compiler, to a tenth of an instruction. They say nothing of caches: what a packet takes is for
//! `cargo bench --bench budgets`.
//!
//! More than 3 % above `baseline.tsv` is a failure. `scripts/test instructions` runs this. To see where they are, build with
//! `CARGO_PROFILE_INSTRUCTIONS_DEBUG=line-tables-only` and
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*poll_once*' target/instructions/natgate-instructions --run hit-udp
//! ```

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic, prints, and rounds"
)]

mod baseline;
mod scenarios;
#[path = "../../support/mod.rs"]
mod support;
mod valgrind;

use baseline::{Baseline, Verdict, change};
use scenarios::{ALL, GENERATOR, Scenario};
use std::process::{Command, ExitCode};

/// Where the accepted counts are.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.tsv");
const BLESS: &str = "scripts/test --stage instructions --bless";

/// The version of the compiler that made this program, as far as can be known: that which makes others here.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let version = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    version.and_then(|text| text.split(' ').nth(1).map(str::to_owned)).unwrap_or_else(|| "unknown".to_owned())
}

/// Instructions for each unit of a scenario's work.
fn count(scenario: &Scenario) -> Result<f64, String> {
    let with = valgrind::instructions(&["--run", scenario.name])?;
    let without = valgrind::instructions(&["--prepare", scenario.name])?;
    Ok(with.saturating_sub(without) as f64 / f64::from(scenario.units))
}

/// Counts these scenarios and says what the counts mean. Whether none is too high.
fn compare(wanted: &[&Scenario], accepted: &Baseline, compiler: &str, bless: bool) -> Result<bool, String> {
    let generator = count(&GENERATOR)?;
    println!("rustc {compiler}; {}: {generator:.1} instructions a packet\n", GENERATOR.about);
    println!("| scenario | instructions | baseline | change | what |");
    println!("|---|---|---|---|---|");
    let (mut counts, mut said) = (Vec::new(), Vec::new());
    for scenario in wanted {
        let Scenario { name, about, receives, .. } = scenario;
        let count = count(scenario)? - if *receives { generator } else { 0.0 };
        counts.push((*name, count));
        let Some(before) = accepted.of(name) else {
            println!("| {name} | {count:.1} | - | - | {about} |");
            said.push((Verdict::New, format!("{name} has no baseline yet")));
            continue;
        };
        let change = change(count, before);
        println!("| {name} | {count:.1} | {before:.1} | {change:+.1} % | {about} |");
        let most = before * (1.0 + accepted.limit(compiler) / 100.0);
        let text = format!("{name}: {count:.1} instructions, {before:.1} in the baseline, at most {most:.1}");
        said.push((accepted.judge(name, count, compiler), text));
    }
    println!();
    if bless {
        let baseline = Baseline::new(compiler, &counts);
        std::fs::write(FILE, baseline.text()).map_err(|error| format!("{FILE}: {error}"))?;
        println!("accepted: {FILE}");
        return Ok(true);
    }
    Ok(say(&said, (accepted, compiler)))
}

/// Says what to do. Whether nothing is wrong.
fn say(said: &[(Verdict, String)], (accepted, compiler): (&Baseline, &str)) -> bool {
    if accepted.compiler != compiler {
        println!(
            "The baseline is of rustc {} and this is {compiler}: the limit is {} % until somebody accepts its counts: {BLESS}",
            accepted.compiler,
            accepted.limit(compiler)
        );
    }
    let mut right = true;
    for (verdict, text) in said {
        match verdict {
            Verdict::Same => {}
            Verdict::Lower => println!("LOWER {text}: accept it, so that it can not be lost again: {BLESS}"),
            Verdict::New | Verdict::Higher => {
                right = false;
                println!("FAILED {text}; if this is meant, say why in the commit and accept it: {BLESS}");
            }
        }
    }
    right
}

fn drive(arguments: &[String]) -> Result<bool, String> {
    let bless = arguments.iter().any(|argument| argument == "--bless");
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = named.iter().find(|name| ALL.iter().all(|scenario| scenario.name != **name)) {
        let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        return Err(format!("there is no scenario {unknown:?}; there are {}", known.join(", ")));
    }
    let wanted: Vec<&Scenario> = ALL
        .iter()
        .filter(|scenario| named.is_empty() || named.iter().any(|name| *name == scenario.name))
        .collect();
    if bless && wanted.len() < ALL.len() {
        return Err("all scenarios are accepted at once: they are of one compiler".to_owned());
    }
    let text = match std::fs::read_to_string(FILE) {
        Err(error) if bless && error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.map_err(|error| format!("{FILE}: {error}"))?,
    };
    compare(&wanted, &Baseline::parse(&text)?, &compiler(), bless)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode @ ("--run" | "--prepare"), name] =
        &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        let scenario = ALL.iter().chain([&GENERATOR]).find(|scenario| scenario.name == *name);
        (scenario.expect("a scenario").run)(*mode == "--run");
        return ExitCode::SUCCESS;
    }
    match drive(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The table of conformance: every row of the matrix has an outcome, every outcome its tests, every test a row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const MATRIX: &str = include_str!("matrix.tsv");
const OUTCOMES: &str = include_str!("outcomes.tsv");
const PAGE: &str = "docs/conformance.md";

/// The files with tests of rows.
const SOURCES: &[(&str, &str)] = &[
    ("rfc4787.rs", include_str!("rfc4787.rs")),
    ("rfc5382.rs", include_str!("rfc5382.rs")),
    ("rfc5508.rs", include_str!("rfc5508.rs")),
    ("rfc6888.rs", include_str!("rfc6888.rs")),
    ("rfc7857.rs", include_str!("rfc7857.rs")),
    ("rfc5597.rs", include_str!("rfc5597.rs")),
    ("rfc3022.rs", include_str!("rfc3022.rs")),
    ("rfc1812.rs", include_str!("rfc1812.rs")),
    ("others.rs", include_str!("others.rs")),
];

/// What a document is called in the page, by the beginning of its rows' ids.
const DOCUMENTS: &[(&str, &str)] = &[
    ("4787", "RFC 4787: UDP"),
    ("5382", "RFC 5382: TCP"),
    ("5508", "RFC 5508: ICMP"),
    ("6888", "RFC 6888: carrier-grade NAT"),
    ("7857", "RFC 7857: updates of the above"),
    ("5597", "RFC 5597: DCCP"),
    ("3022", "RFC 3022: traditional NAT"),
    ("SCTP", "SCTP"),
    ("1812", "RFC 1812: requirements for routers"),
    ("1191", "RFC 1191: path MTU discovery"),
    ("2827", "RFC 2827: ingress filtering"),
    ("6056", "RFC 6056: choice of ports"),
    ("6864", "RFC 6864: IPv4 identification"),
    ("5961", "RFC 5961: blind attacks on TCP"),
    ("6191", "RFC 6191: TIME-WAIT"),
    ("1858", "RFC 1858 and 3128: attacks with fragments"),
    ("LAND", "Impossible addresses and ports"),
    ("6146", "RFC 6146: NAT64"),
    ("7915", "RFC 7915: IP/ICMP translation"),
    ("5135", "RFC 5135: multicast"),
];

struct Row {
    id: &'static str,
    level: &'static str,
    statement: &'static str,
}

struct Outcome {
    word: &'static str,
    tests: Vec<&'static str>,
    why: &'static str,
}

/// The lines of a table without its head, split into as many columns.
fn lines(text: &'static str, columns: usize) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).filter(|line| !line.is_empty()).map(move |line| {
        let cells: Vec<_> = line.split('\t').collect();
        assert_eq!(cells.len(), columns, "{line}");
        cells
    })
}

fn rows() -> Vec<Row> {
    lines(MATRIX, 4).map(|cells| Row { id: cells[0], level: cells[1], statement: cells[2] }).collect()
}

fn outcomes() -> BTreeMap<&'static str, Outcome> {
    let mut outcomes = BTreeMap::new();
    for cells in lines(OUTCOMES, 4) {
        let outcome = Outcome { word: cells[1], tests: cells[2].split_whitespace().collect(), why: cells[3] };
        assert!(outcomes.insert(cells[0], outcome).is_none(), "{} has two outcomes", cells[0]);
    }
    outcomes
}

/// Every test of a row, with its file.
fn tests() -> BTreeMap<&'static str, &'static str> {
    let mut tests = BTreeMap::new();
    for (file, source) in SOURCES {
        for (before, function) in source.lines().zip(source.lines().skip(1)) {
            if before == "#[test]" {
                let name = function.strip_prefix("fn ").and_then(|rest| rest.strip_suffix("() {"));
                let name = name.unwrap_or_else(|| panic!("{file}: what is {function}?"));
                assert!(tests.insert(name, *file).is_none(), "two tests are {name}");
            }
        }
    }
    tests
}

/// How the tests of a row begin.
fn prefix(id: &str) -> String {
    let id = id.to_lowercase().replace('*', "x").replace(['.', '-'], "_");
    if id.starts_with(|c: char| c.is_ascii_digit()) { format!("r{id}_") } else { format!("{id}_") }
}

#[test]
fn every_row_of_the_matrix_has_one_outcome() {
    let (rows, outcomes) = (rows(), outcomes());
    let of_rows: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(of_rows.len(), rows.len(), "a row is there twice");
    assert_eq!(of_rows, outcomes.keys().copied().collect());
    for row in &rows {
        let outcome = &outcomes[row.id];
        match outcome.word {
            "pass" => assert!(!outcome.tests.is_empty(), "{} passes and has no test", row.id),
            "no" | "waits" => assert!(outcome.why.ends_with('.'), "{}: a sentence says why", row.id),
            other => panic!("{}: what is {other}?", row.id),
        }
    }
}

#[test]
fn every_test_is_there_and_is_of_the_rows_that_name_it() {
    let tests = tests();
    let mut named = BTreeSet::new();
    for (id, outcome) in outcomes() {
        for test in &outcome.tests {
            assert!(tests.contains_key(test), "{id}: there is no test {test}");
            named.insert(*test);
        }
        // A row may be tested by the test of another that says the same, if it says so; else by one of its own.
        let own = outcome.tests.iter().any(|test| test.starts_with(&prefix(id)));
        assert!(
            outcome.tests.is_empty() || own || outcome.why.starts_with("As "),
            "{id} has no test of its own"
        );
    }
    let all: BTreeSet<_> = tests.into_keys().collect();
    assert_eq!(all, named, "left are the tests that there are, right those that a row names");
}

/// Where a MUST is not kept: what the gateway does not do at all, and ports that rest after a restart.
#[test]
fn no_must_of_what_there_is_is_refused() {
    let outcomes = outcomes();
    let refused: Vec<_> = rows()
        .into_iter()
        .filter(|row| row.level.starts_with("MUST") && outcomes[row.id].word == "no")
        .map(|row| row.id)
        .collect();
    assert_eq!(refused, ["6888-8d", "6888-9"]);
}

#[test]
fn the_page_says_what_the_tests_say() {
    let page = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("NATGATE_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "{PAGE} is out of date: NATGATE_WRITE_DOCS=1 cargo test --test rfc table");
}

fn page() -> String {
    let (rows, outcomes, tests) = (rows(), outcomes(), tests());
    let count = |word: &str| outcomes.values().filter(|outcome| outcome.word == word).count();
    let mut page = format!(
        "# Conformance\n\n\
        What the RFCs demand of a NAT, and what natgate makes of it. Made from the tests in [`tests/rfc`](../tests/rfc), each of \
        which plays\none demand on a whole gateway with one to four workers; `tests/rfc/matrix.tsv` has the demands and how each is \
        tested,\n`tests/rfc/outcomes.tsv` the outcomes. After a change:\n\
        `NATGATE_WRITE_DOCS=1 cargo test --no-default-features --test rfc table`.\n\n\
        Of {} demands {} are met, {} deliberately not, and {} wait for a part of natgate that is not there yet.\n",
        rows.len(),
        count("pass"),
        count("no"),
        count("waits"),
    );
    for (start, title) in DOCUMENTS {
        write!(page, "\n## {title}\n\n| id | level | what is demanded | outcome | tests, and why |\n|---|---|---|---|---|\n")
            .unwrap();
        for row in rows.iter().filter(|row| row.id.split('-').next() == Some(*start)) {
            let outcome = &outcomes[row.id];
            let word = match outcome.word {
                "pass" => "pass",
                "no" => "deliberately not",
                _ => "waits",
            };
            let links = outcome.tests.iter().map(|test| format!("[`{test}`](../tests/rfc/{})", tests[test]));
            let mut cells: Vec<String> = links.collect();
            cells.extend((!outcome.why.is_empty()).then(|| escape(outcome.why)));
            writeln!(
                page,
                "| {} | {} | {} | {word} | {} |",
                escape(row.id),
                row.level,
                escape(row.statement),
                cells.join("<br>")
            )
            .unwrap();
        }
    }
    page
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}

//! The configuration: TOML as written to a checked [`Config`].
//!
//! [`model`] is what is left when everything has been checked: names resolved to indices, units to numbers, no
//! illegal value representable where a type can prevent it.
//!
//! Order: the TOML parser (`toml`, which recovers from syntax errors), `parse` (each value by itself, into a draft),
//! `check` (the values against one another, into the model). None of them stops at an error: all are reported at
//! once, each with its place and its cure. [`keys`] is the one list of what may be written.

mod address_sets;
mod check;
pub mod compile;
pub mod diff;
mod draft;
pub mod edit;
pub mod error;
pub mod estimate;
pub mod keys;
pub mod lineage;
pub mod mistake;
pub mod model;
mod notrack;
mod parse;
pub mod presets;
mod reader;
pub mod reorder;
mod shares;
pub mod symmetry;
pub mod units;

pub use error::{ConfigErrors, Diagnostic, LoadError, Place, Problem};
pub use mistake::{Caution, ClassCaution, ClassMistake, Mistake, SharingMistake};
pub use model::Config;
pub(crate) use parse::UNTRANSLATED;

use error::{Found, Lines, Span};
use reader::Findings;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;

/// Where the control socket is if the config does not say otherwise.
pub const DEFAULT_SOCKET: &str = "/run/natgate/control.sock";
/// The name of the timeout set of sessions that no rule gives another.
pub const DEFAULT_SET: &str = "default";

/// A config that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The config.
    pub config: Config,
    /// What is allowed and probably not meant, in the order of the lines.
    pub warnings: Vec<Diagnostic<Caution>>,
}

/// Reads and checks a config file.
///
/// # Errors
/// The file can not be read, or it is wrong: then with every mistake in it.
pub fn load(path: impl AsRef<Path>) -> Result<Checked, LoadError> {
    let path = path.as_ref();
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(parse(&text, &path.display().to_string())?)
}

/// Checks a config; `file` is what errors call it.
///
/// # Errors
/// Every mistake in the text.
pub fn parse(text: &str, file: &str) -> Result<Checked, ConfigErrors> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    let mut findings = Findings::default();
    let draft = parse::file(root.get_ref(), &mut findings);
    let config = if syntax.is_empty() { check::run(draft, &mut findings) } else { None };
    if !syntax.is_empty() {
        keep_independent(&lines, syntax, &mut findings);
    }
    let file: Arc<str> = Arc::from(file);
    let Findings { mistakes, cautions } = findings;
    let warnings = diagnostics(&file, &lines, cautions);
    match config {
        Some(config) => Ok(Checked { config, warnings }),
        None => Err(ConfigErrors { errors: diagnostics(&file, &lines, mistakes), warnings }),
    }
}

fn diagnostics<P: Problem>(file: &Arc<str>, lines: &Lines<'_>, found: Vec<Found<P>>) -> Vec<Diagnostic<P>> {
    let mut list: Vec<_> = found.into_iter().map(|found| Diagnostic::new(file, lines, found)).collect();
    list.sort_by_key(|diagnostic| (diagnostic.place.line, diagnostic.place.column));
    list
}

/// Adds the syntax errors, and leaves of the others those that do not follow from one.
fn keep_independent(text: &Lines<'_>, syntax: Vec<toml::de::Error>, findings: &mut Findings) {
    let line_of = |at: Span| text.number(at.start);
    let mut lines: HashSet<usize> = HashSet::new();
    let mut errors: Vec<Found<Mistake>> = Vec::new();
    let mut syntax: Vec<(Span, String)> = syntax
        .into_iter()
        .map(|error| (error.span().map(Span::from).unwrap_or_default(), error.message().to_owned()))
        .collect();
    syntax.sort_by_key(|(at, _)| at.start);
    for (at, message) in syntax {
        // The first error of a line is the cause of the others.
        if lines.insert(line_of(at)) {
            errors.push(Found { at, other: None, what: Mistake::Syntax { message } });
        }
    }
    // Behind a broken header, keys are read as those of another table.
    let header = |line: &usize| text.line(*line).trim_start().starts_with('[');
    let header_broken = lines.iter().any(header);
    findings.mistakes.retain(|found| {
        !header_broken && !found.what.may_follow_from_syntax() && !lines.contains(&line_of(found.at))
    });
    findings.mistakes.append(&mut errors);
}

//! Loads a config for a command and tells the user what is wrong with it.

use super::{Failure, complain};
use crate::config::{self, Checked, Diagnostic, LoadError, Problem};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Whether to print colours to a stream.
pub(super) fn colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Loads the config; all errors and warnings go to standard error.
pub(super) fn load(path: &Path) -> Result<Checked, Failure> {
    load_text(path).map(|(_, checked)| checked)
}

/// The same with the text.
pub(super) fn load_text(path: &Path) -> Result<(String, Checked), Failure> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        complain(&LoadError::Unreadable { path: path.to_owned(), source }.to_string());
        Failure::Config
    })?;
    let checked = check(&text, &path.display().to_string())?;
    Ok((text, checked))
}

/// Checks a config; all errors and warnings go to standard error.
pub(super) fn check(text: &str, name: &str) -> Result<Checked, Failure> {
    match config::parse(text, name) {
        Ok(checked) => {
            print(&checked.warnings)?;
            Ok(checked)
        }
        Err(found) => {
            print(&found.errors)?;
            print(&found.warnings)?;
            complain(&format!("{name} is not valid: {}", count(found.errors.len(), "error")));
            Err(Failure::Config)
        }
    }
}

fn print<P: Problem>(diagnostics: &[Diagnostic<P>]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let colour = colours(out.is_terminal());
    diagnostics.iter().try_for_each(|diagnostic| writeln!(out, "{}", diagnostic.render(colour)))
}

/// `1 error`, `2 errors`.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

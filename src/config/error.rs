//! Where a finding lies in the file, and how it is printed: file, line and column, the line itself, an underline,
//! and the cure.
//!
//! ```text
//! error: unknown key `adress` in [interface.lan]
//!   --> natgate.toml:4:1
//!    |
//!  4 | adress = "192.168.1.1/24"
//!    | ^^^^^^
//!    = help: did you mean `address`?
//! ```

use crate::config::mistake::{Caution, Mistake};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of the file, from `start` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Span { start: range.start, end: range.end }
    }
}

/// What was found, before its place is turned into lines and columns.
#[derive(Clone, Debug)]
pub(super) struct Found<P> {
    pub(super) at: Span,
    /// A second place that has to do with it.
    pub(super) other: Option<Span>,
    pub(super) what: P,
}

/// A place in the file as a person looks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as it was given.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line, without its end.
    pub source: String,
    /// Characters to underline, at least 1.
    pub width: usize,
}

/// A text and where its lines begin: found once, as a file may have thousands of findings.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let behind = text.bytes().zip(1..).filter(|(byte, _)| *byte == b'\n').map(|(_, behind)| behind);
        Lines { text, starts: std::iter::once(0).chain(behind).collect() }
    }

    /// The number of the line, counted from 0, that holds this byte.
    pub(super) fn number(&self, index: usize) -> usize {
        self.starts.partition_point(|start| *start <= index).saturating_sub(1)
    }

    /// A line by its number, without its end.
    pub(super) fn line(&self, number: usize) -> &'t str {
        let rest = self.starts.get(number).and_then(|start| self.text.get(*start..)).unwrap_or_default();
        rest.split('\n').next().unwrap_or_default().trim_end_matches('\r')
    }
}

impl Place {
    pub(super) fn new(file: &Arc<str>, lines: &Lines<'_>, at: Span) -> Self {
        let text = lines.text;
        let start = floor(text, at.start);
        let line = lines.number(start);
        let line_start = lines.starts.get(line).copied().unwrap_or_default();
        let source = lines.line(line);
        let before = text.get(line_start..start).unwrap_or_default();
        // A value of several lines is underlined up to the end of its first.
        let end = floor(text, at.end).min(line_start + source.len());
        let width = text.get(start..end).map_or(1, |covered| covered.chars().count().max(1));
        Place {
            file: Arc::clone(file),
            line: line + 1,
            column: before.chars().count() + 1,
            source: source.to_owned(),
            width,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The start of the character that byte `index` lies in; the end of the text for what lies behind it.
fn floor(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// A [`Mistake`] or a [`Caution`] with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic<P> {
    /// Where.
    pub place: Place,
    /// A second place that has to do with it: the first of two that collide.
    pub other: Option<Place>,
    /// What.
    pub what: P,
}

/// What a [`Diagnostic`] is about.
pub trait Problem: fmt::Display {
    /// "error" or "warning".
    const LEVEL: &'static str;
    /// How a terminal sets the level off (ANSI SGR).
    const COLOUR: &'static str;
    /// What to do about it.
    fn cure(&self) -> String;
}

impl Problem for Mistake {
    const LEVEL: &'static str = "error";
    const COLOUR: &'static str = "\x1b[1;31m";

    fn cure(&self) -> String {
        Mistake::cure(self)
    }
}

impl Problem for Caution {
    const LEVEL: &'static str = "warning";
    const COLOUR: &'static str = "\x1b[1;33m";

    fn cure(&self) -> String {
        Caution::cure(self)
    }
}

impl<P: Problem> Diagnostic<P> {
    pub(super) fn new(file: &Arc<str>, lines: &Lines<'_>, found: Found<P>) -> Self {
        Diagnostic {
            place: Place::new(file, lines, found.at),
            other: found.other.map(|at| Place::new(file, lines, at)),
            what: found.what,
        }
    }

    /// The printed form, with ANSI colours if `colour`.
    pub fn render(&self, colour: bool) -> impl fmt::Display + '_ {
        Rendered { diagnostic: self, colour }
    }
}

impl<P: Problem> fmt::Display for Diagnostic<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(false).fmt(f)
    }
}

struct Rendered<'a, P> {
    diagnostic: &'a Diagnostic<P>,
    colour: bool,
}

impl<P: Problem> fmt::Display for Rendered<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { place, other, what } = self.diagnostic;
        let (level, bold, faint, off) =
            if self.colour { (P::COLOUR, "\x1b[1m", "\x1b[36m", "\x1b[0m") } else { ("", "", "", "") };
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs stay tabs, so that the underline is under the text whatever the terminal makes of them.
        let indent: String =
            place.source.chars().take(place.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(place.width);
        writeln!(f, "{level}{}{off}{bold}: {what}{off}", P::LEVEL)?;
        writeln!(f, " {gutter}{faint}-->{off} {place}")?;
        writeln!(f, " {gutter} {faint}|{off}")?;
        writeln!(f, " {faint}{number} |{off} {}", place.source)?;
        writeln!(f, " {gutter} {faint}|{off} {indent}{level}{carets}{off}")?;
        if let Some(other) = other {
            writeln!(f, " {gutter} {faint}={off} see also line {}: {}", other.line, other.source.trim())?;
        }
        writeln!(f, " {gutter} {faint}={off} help: {}", what.cure())
    }
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// At least one.
    pub errors: Vec<Diagnostic<Mistake>>,
    /// What is doubtful besides.
    pub warnings: Vec<Diagnostic<Caution>>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}")?;
        }
        match self.errors.len() {
            1 => write!(f, "the config has 1 error"),
            n => write!(f, "the config has {n} errors"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can not be read, or is not text.
    #[error("can not read the config {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is wrong.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, start: usize, end: usize) -> Place {
        Place::new(&Arc::from("x.toml"), &Lines::new(text), Span { start, end })
    }

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let text = "a = 1\nß = \"ä\" # end\r\n";
        let key = place(text, 6, 8);
        assert_eq!((key.line, key.column, key.width), (2, 1, 1));
        assert_eq!(key.source, "ß = \"ä\" # end");
        let value = place(text, 11, 15);
        assert_eq!((value.column, value.width), (5, 3));
    }

    #[test]
    fn a_place_behind_the_end_or_inside_a_character_is_still_a_place() {
        assert_eq!(place("", 0, 0).line, 1);
        assert_eq!(place("a", 9, 12).column, 2);
        assert_eq!(place("ä", 1, 1).column, 1);
        assert_eq!(place("a = [\n1\n]", 4, 9).width, 1);
    }

    #[test]
    fn the_underline_is_under_the_offending_text() {
        let found = Found { at: Span { start: 2, end: 3 }, other: None, what: Mistake::Name("x".into()) };
        let text = Diagnostic::new(&Arc::from("f"), &Lines::new("\t x = 1"), found).to_string();
        assert!(text.contains(" 1 | \t x = 1\n   | \t ^\n   = help: "), "{text}");
        assert!(!text.contains('\x1b'));
    }
}

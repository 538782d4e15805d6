//! Text for people: aligned columns, grouped thousands, lengths of time. And a quiet end when nobody reads on.
//!
//! Lines have [`columns`] characters: what does not fit is wrapped under itself.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What everything fits into: the columns of a terminal that nobody made wider.
pub const COLUMNS: usize = 80;
/// A last column with less room than this begins on a line of its own.
const NARROW: usize = 20;
/// Where that line begins.
const INDENT: usize = 4;

/// Of the whole process, as its standard output is.
static WIDTH: AtomicUsize = AtomicUsize::new(COLUMNS);

/// How long a line may be: 80, or what [`measure`] found.
pub fn columns() -> usize {
    WIDTH.load(Ordering::Relaxed)
}

/// Finds out how wide lines may be: what `COLUMNS` in the environment says, or the terminal; but 80 at the least. A
/// program calls it when it starts, and again when its terminal may have changed.
pub fn measure() {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let terminal = || {
        let found = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
        found.map(|(width, _)| usize::from(width.0))
    };
    WIDTH.store(said.or_else(terminal).unwrap_or(COLUMNS).max(COLUMNS), Ordering::Relaxed);
}

/// Which side of its column a cell is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a heading, each column as wide as its widest cell. The last column is not padded, and wrapped under itself
/// if it holds words. When columns do not fit, the gaps between them shrink.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the last column are not shown, missing ones are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes heading and rows, in lines of [`columns`] characters if they can be.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_in(out, columns())
    }

    /// The same in lines of so many characters.
    pub fn write_in(&self, out: &mut dyn Write, columns: usize) -> io::Result<()> {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (heading, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(index));
                cells.map(|cell| cell.chars().count()).chain([heading.len()]).max().unwrap_or(0)
            })
            .collect();
        let wraps = self.columns.last().is_some_and(|(_, align)| *align == Align::Left);
        let fixed = if wraps { self.columns.len().saturating_sub(1) } else { self.columns.len() };
        let fixed: usize = widths.iter().take(fixed).sum();
        let wide = fixed + 2 * self.columns.len().saturating_sub(1);
        let gap = if wide > columns { 1 } else { 2 };
        let layout = Layout { widths: &widths, gap, columns, wraps };
        self.line(out, &layout, |index| self.columns.get(index).map_or("", |(heading, _)| heading))?;
        for row in &self.rows {
            self.line(out, &layout, |index| row.get(index).map_or("", String::as_str))?;
        }
        Ok(())
    }

    fn line<'a>(
        &self,
        out: &mut dyn Write,
        layout: &Layout<'_>,
        cell: impl Fn(usize) -> &'a str,
    ) -> io::Result<()> {
        let mut line = String::new();
        let mut at = 0;
        for (index, ((_, align), width)) in self.columns.iter().zip(layout.widths).enumerate() {
            if index > 0 {
                at += layout.gap;
            }
            let text = cell(index);
            let length = text.chars().count();
            line.push_str(&" ".repeat(at.saturating_sub(line.chars().count())));
            if layout.wraps && index + 1 == self.columns.len() && at + length > layout.columns {
                return write_wrapped_cell(out, line, text, at, layout.columns);
            }
            if *align == Align::Right {
                line.push_str(&" ".repeat(width.saturating_sub(length)));
            }
            line.push_str(text);
            at += width;
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Where the cells of a table are.
struct Layout<'a> {
    widths: &'a [usize],
    gap: usize,
    columns: usize,
    /// Whether the last column may take several lines.
    wraps: bool,
}

/// The last cell of `line`, which begins `at` so many characters.
fn write_wrapped_cell(
    out: &mut dyn Write,
    line: String,
    text: &str,
    at: usize,
    columns: usize,
) -> io::Result<()> {
    if at + NARROW > columns {
        writeln!(out, "{}", line.trim_end())?;
        return wrapped(out, text, INDENT, columns);
    }
    hanging_in(out, &line, text, at, columns)
}

/// What a line begins with, in a column of ten, and a text that is wrapped under itself.
pub fn labelled(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    hanging(out, &format!("{label:<10}"), text)
}

/// A text whose first line stands behind `head`, and the others under it.
pub fn hanging(out: &mut dyn Write, head: &str, text: &str) -> io::Result<()> {
    hanging_in(out, head, text, head.chars().count(), columns())
}

fn hanging_in(out: &mut dyn Write, head: &str, text: &str, indent: usize, columns: usize) -> io::Result<()> {
    let mut lines = Vec::new();
    wrapped(&mut lines, text, indent, columns)?;
    let lines = String::from_utf8_lossy(&lines);
    // The head takes the place of the first line's indent.
    let rest = lines.get(indent..).unwrap_or_default();
    writeln!(out, "{}", format!("{head}{rest}").trim_end())
}

/// A number with its thousands grouped: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes as people say them: `512 B`, `1.5 KiB`.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// `part` of `whole` in percent with one decimal, rounded down: `12.3 %`. Empty when there is no whole.
pub fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 1000).checked_div(u128::from(whole)) {
        Some(permille) => format!("{}.{} %", permille / 10, permille % 10),
        None => String::new(),
    }
}

/// How many a second, if a counter moved from `before` to `now` in this time: with a decimal below ten. `-` if it fell,
/// because the gateway was started again.
pub fn per_second(now: u64, before: u64, time: Duration) -> String {
    let Some(moved) = now.checked_sub(before) else { return "-".into() };
    match a_second(moved.saturating_mul(10), time) {
        tenths @ 1..100 => format!("{}.{}", tenths / 10, tenths % 10),
        _ => grouped(a_second(moved, time)),
    }
}

/// So many in this time are how many a second, rounded.
pub fn a_second(moved: u64, time: Duration) -> u64 {
    let milliseconds = time.as_millis().max(1);
    u64::try_from((u128::from(moved) * 1_000 + milliseconds / 2) / milliseconds).unwrap_or(u64::MAX)
}

/// Whole seconds as people say them: `2h 4m`, the two largest units.
pub fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, length)| seconds >= *length).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut out = String::new();
    for (name, length) in units.iter().skip(first).take(2) {
        let count = rest / length;
        rest %= length;
        if count > 0 || out.is_empty() {
            let space = if out.is_empty() { "" } else { " " };
            out.push_str(&format!("{space}{count}{name}"));
        }
    }
    out
}

/// Writes a text in lines of at most `columns` characters (where its words allow it), each indented.
pub fn wrapped(out: &mut dyn Write, text: &str, indent: usize, columns: usize) -> io::Result<()> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > columns {
            writeln!(out, "{:indent$}{line}", "")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.is_empty() { Ok(()) } else { writeln!(out, "{:indent$}{line}", "") }
}

/// Runs `write` on a buffered standard output. When the reader went away (`| head`) that is a good end, not an error.
pub fn to_stdout(write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = write(&mut out).and_then(|()| Ok(out.flush()?));
    // What is left after an error was not wanted or not writable; dropping the writer would try once more.
    let _ = out.into_parts();
    match result {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        Err(error) if error.is::<io::Error>() => Err(error.context("can not write the output")),
        other => other,
    }
}

/// Writes a value as JSON on one line.
pub fn json_line(out: &mut dyn Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(value)?;
    writeln!(out, "{text}")?;
    Ok(())
}

/// Writes a value as indented JSON with a line end.
pub fn json(out: &mut dyn Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    // Into memory first, so that errors of the output stay `io::Error`s.
    let text = serde_json::to_string_pretty(value)?;
    writeln!(out, "{text}")?;
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped_from_the_right() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_size_is_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn a_share_of_nothing_is_not_shown() {
        assert_eq!(percent(1, 0), "");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0 %");
    }

    #[test]
    fn a_duration_shows_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (61, "1m 1s"),
            (7_440, "2h 4m"),
            (86_460, "1d"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn numbers_end_and_words_start_in_one_column() {
        let mut table =
            Table::new(&[("packets", Align::Right), ("reason", Align::Left), ("help", Align::Left)]);
        table.row(["7".into(), "no_route".into(), "Because.".into()]);
        table.row(["12,345,678".into(), "ttl".into(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let expected = "   packets  reason    help\n         7  no_route  Because.\n12,345,678  ttl\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    fn written(table: &Table, columns: usize) -> String {
        let mut out = Vec::new();
        table.write_in(&mut out, columns).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_wide_last_column_is_wrapped_under_itself() {
        let mut table = Table::new(&[("packets", Align::Right), ("what it means", Align::Left)]);
        table.row(["7".into(), "The frame ends before its headers.".into()]);
        assert_eq!(
            written(&table, 30),
            "packets  what it means\n      7  The frame ends before\n         its headers.\n"
        );
        assert!(written(&table, 80).contains("      7  The frame ends before its headers.\n"));
        // Without room beside the others it stands on lines of its own.
        assert_eq!(
            written(&table, 25),
            "packets  what it means\n      7\n    The frame ends before\n    its headers.\n"
        );
    }

    #[test]
    fn gaps_shrink_when_columns_do_not_fit() {
        let mut table = Table::new(&[("one", Align::Right), ("two", Align::Right)]);
        table.row(["1234".into(), "5678".into()]);
        assert_eq!(written(&table, 10), " one   two\n1234  5678\n");
        assert_eq!(written(&table, 9), " one  two\n1234 5678\n");
    }

    #[test]
    fn a_label_has_its_text_beside_it() {
        let mut out = Vec::new();
        labelled(&mut out, "evicted", &"word ".repeat(20)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("evicted   word word") && lines[1].starts_with("          word"),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= COLUMNS));
    }

    #[test]
    fn a_rate_is_what_a_counter_moved_by_in_the_time() {
        let second = Duration::from_secs(1);
        assert_eq!(per_second(1_000, 0, second), "1,000");
        assert_eq!(per_second(1_007, 1_000, second * 2), "3.5");
        assert_eq!(per_second(5, 5, second), "0");
        assert_eq!(per_second(5, 6, second), "-");
        assert_eq!(per_second(u64::MAX, 0, Duration::ZERO), grouped(u64::MAX));
    }

    #[test]
    fn a_long_text_goes_on_under_its_beginning() {
        let mut out = Vec::new();
        hanging_in(&mut out, "rule  ", "one two three", 6, 14).unwrap();
        hanging_in(&mut out, "none  ", "", 6, 14).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "rule  one two\n      three\nnone\n");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        let gone = || anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(to_stdout(|_| Err(gone())).is_ok());
        assert!(to_stdout(|_| Err(io::Error::from(io::ErrorKind::StorageFull).into())).is_err());
    }
}

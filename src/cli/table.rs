//! Text for people: aligned columns, grouped thousands, lengths of time. And a quiet end when nobody reads on.

use std::io::{self, Write};

/// Columns of a terminal that nobody made wider.
pub const COLUMNS: usize = 80;

/// Which side of its column a cell is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a heading, each column as wide as its widest cell. The last column is not padded.
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

    /// Writes heading and rows, one line each.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (heading, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(index));
                cells.map(|cell| cell.chars().count()).chain([heading.len()]).max().unwrap_or(0)
            })
            .collect();
        self.line(out, &widths, |index| self.columns.get(index).map_or("", |(heading, _)| heading))?;
        for row in &self.rows {
            self.line(out, &widths, |index| row.get(index).map_or("", String::as_str))?;
        }
        Ok(())
    }

    fn line<'a>(
        &self,
        out: &mut dyn Write,
        widths: &[usize],
        cell: impl Fn(usize) -> &'a str,
    ) -> io::Result<()> {
        let mut line = String::new();
        for (index, ((_, align), width)) in self.columns.iter().zip(widths).enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            let text = cell(index);
            let padding = " ".repeat(width.saturating_sub(text.chars().count()));
            match align {
                Align::Left => line.extend([text, &padding]),
                Align::Right => line.extend([&padding, text]),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
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

/// Writes a text behind a head, in lines of at most `columns` characters (where its words allow it); those after the first
/// begin under the text.
pub fn hanging(out: &mut dyn Write, head: &str, text: &str, columns: usize) -> io::Result<()> {
    let indent = head.chars().count();
    let mut lines = Vec::new();
    wrapped(&mut lines, text, indent, columns)?;
    let lines = String::from_utf8_lossy(&lines);
    // All of the first indent is spaces, one byte each.
    writeln!(out, "{head}{}", lines.get(indent..).unwrap_or_default().trim_end())
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

    #[test]
    fn a_long_text_goes_on_under_its_beginning() {
        let mut out = Vec::new();
        hanging(&mut out, "rule  ", "one two three", 14).unwrap();
        hanging(&mut out, "none  ", "", 14).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "rule  one two\n      three\nnone  \n");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        let gone = || anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(to_stdout(|_| Err(gone())).is_ok());
        assert!(to_stdout(|_| Err(io::Error::from(io::ErrorKind::StorageFull).into())).is_err());
    }
}

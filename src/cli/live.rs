//! What a command shows, once or with `--watch` again and again.
//!
//! On a terminal each view takes the place of the one before, on the alternate screen, so that what stood there is back
//! at the end. Elsewhere they follow each other with an empty line between them; JSON is one object a line. A gateway
//! that goes away is asked again until it is back. Ctrl-C ends it at any moment with exit code 0: a thread of its own
//! waits for that and puts the terminal in order.

use super::complain;
use super::table::{json, json_line, measure, to_stdout};
use crate::control::client::ClientError;
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The alternate screen, without a cursor, on which long lines are cut off.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Writing in place, without a moment in which the screen is empty: from the top, and each line to its end.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// The flag of commands whose answer can be shown again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Watch {
    /// Show it again every so many seconds until Ctrl-C; every 2 if left out
    #[arg(id = "watch", long = "watch", global = true, value_name = "SECONDS", value_parser = interval)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "2")]
    pub every: Option<Duration>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("write seconds from 0.1 to 86400, as in --watch=5".into())
}

/// The answer before this one.
#[derive(Debug)]
pub struct Before<'a, T: ?Sized> {
    /// What it was.
    pub answer: &'a T,
    /// How long before.
    pub ago: Duration,
}

// Derived, they would ask the same of the answer.
impl<T: ?Sized> Clone for Before<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Before<'_, T> {}

/// How answers are shown.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// As JSON.
    pub json: bool,
    /// Again and again, with this time in between.
    pub every: Option<Duration>,
}

impl Show {
    /// Shows what `ask` answers, as `text` or as JSON. `text` is given the answer before, for rates.
    ///
    /// # Errors
    /// The gateway does not answer the first time, or refuses, or the output can not be written. A reader that goes away
    /// is not an error.
    pub fn run<T: Serialize>(
        self,
        mut ask: impl FnMut() -> Result<T, ClientError>,
        text: impl Fn(&mut dyn Write, &T, Option<Before<'_, T>>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(interval) = self.every else {
            let answer = ask()?;
            return to_stdout(
                |out| {
                    if self.json { json(out, &answer) } else { Ok(text(out, &answer, None)?) }
                },
            );
        };
        let mut screen = Screen::new(self.json, interval);
        let mut last: Option<(T, Instant)> = None;
        loop {
            match ask() {
                Ok(answer) => {
                    let now = Instant::now();
                    let before = last.as_ref().map(|(answer, at)| Before { answer, ago: now - *at });
                    measure();
                    let mut view = Vec::new();
                    match self.json {
                        true => json_line(&mut view, &answer)?,
                        false => text(&mut view, &answer, before)?,
                    }
                    if !screen.show(view)? {
                        return Ok(());
                    }
                    last = Some((answer, now));
                }
                Err(error) if screen.has_shown() && is_passing(&error) => {
                    screen.miss(&error)?;
                    // Its counters may begin anew.
                    last = None;
                }
                Err(error) => return Err(error.into()),
            }
            thread::sleep(interval);
        }
    }
}

/// Whether the gateway may answer when it is asked again.
fn is_passing(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::NotRunning(_)
            | ClientError::Timeout(_)
            | ClientError::Broken { .. }
            | ClientError::Refused { status: 503, .. }
    )
}

/// Where views are shown.
struct Screen {
    in_place: bool,
    json: bool,
    interval: Duration,
    /// Empty before the first one.
    view: Vec<u8>,
    /// Whether the gateway was there when it was asked last.
    is_there: bool,
}

impl Screen {
    fn new(json: bool, interval: Duration) -> Screen {
        let in_place = !json && io::stdout().is_terminal();
        Screen { in_place, json, interval, view: Vec::new(), is_there: true }
    }

    fn has_shown(&self) -> bool {
        !self.view.is_empty()
    }

    /// Shows a view; says whether anybody reads on.
    fn show(&mut self, view: Vec<u8>) -> anyhow::Result<bool> {
        let is_first = !self.has_shown();
        self.view = view;
        self.is_there = true;
        if is_first {
            end_on_signals(self.in_place)?;
        }
        match (self.in_place, is_first) {
            (true, true) => write(&[ENTER, self.frame("").as_bytes()]),
            (true, false) => write(&[self.frame("").as_bytes()]),
            (false, false) if !self.json => write(&[b"\n", &self.view]),
            (false, _) => write(&[&self.view]),
        }
    }

    /// Says, once, that there is nothing to show.
    fn miss(&mut self, error: &ClientError) -> anyhow::Result<()> {
        let sentence = format!("{error}; asking again every {}", self.every());
        if self.in_place {
            write(&[self.frame(&sentence).as_bytes()])?;
        } else if self.is_there {
            complain(&sentence);
        }
        self.is_there = false;
        Ok(())
    }

    fn every(&self) -> humantime::FormattedDuration {
        humantime::format_duration(self.interval)
    }

    fn frame(&self, note: &str) -> String {
        let rows = terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| rows.0.into());
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let head = match note {
            "" => format!("{now}, every {} (Ctrl-C ends)", self.every()),
            note => format!("{now}: {note}"),
        };
        in_place(&head, &String::from_utf8_lossy(&self.view), rows)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.in_place && self.has_shown() {
            let _ = write(&[LEAVE]);
        }
    }
}

/// What makes a terminal with so many rows show a head and a view in place of what it shows.
fn in_place(head: &str, view: &str, rows: usize) -> String {
    let lines: Vec<_> = [head, ""].into_iter().chain(view.lines()).take(rows).collect();
    let end = format!("{REST_OF_LINE}\r\n");
    format!("{HOME}{}{REST_OF_LINE}{REST_OF_SCREEN}", lines.join(&end))
}

/// Writes to standard output at once; says whether anybody reads on.
fn write(parts: &[&[u8]]) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(&parts.concat()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(anyhow::Error::from(error).context("can not write the output")),
    }
}

/// From here on a signal that ends the process puts the terminal in order first, and one that stops it (Ctrl-Z) too.
fn end_on_signals(in_place: bool) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    if in_place {
        signals.handle().add_signal(SIGTSTP)?;
    }
    let wait = move || {
        for signal in signals.forever() {
            // Held until the end, so that no view comes behind what restores the terminal.
            let mut out = io::stdout().lock();
            if in_place {
                let _ = out.write_all(LEAVE).and_then(|()| out.flush());
            }
            if signal != SIGTSTP {
                std::process::exit(0);
            }
            let _ = emulate_default_handler(SIGTSTP);
            let _ = out.write_all(ENTER).and_then(|()| out.flush());
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_in_seconds_within_reason() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("60"), Ok(Duration::from_secs(60)));
        for wrong in ["0", "-1", "0.01", "1e9", "NaN", "inf", "2s", ""] {
            assert!(interval(wrong).is_err_and(|text| text.contains("0.1 to 86400")), "{wrong}");
        }
    }

    #[test]
    fn a_view_takes_the_place_of_the_one_before() {
        assert_eq!(in_place("head", "a\nb\n", 9), "\x1b[Hhead\x1b[K\r\n\x1b[K\r\na\x1b[K\r\nb\x1b[K\x1b[J");
        // What has no room on the terminal would push the head away.
        assert_eq!(in_place("head", "a\nb\n", 3), "\x1b[Hhead\x1b[K\r\n\x1b[K\r\na\x1b[K\x1b[J");
    }

    #[test]
    fn what_another_question_would_not_change_is_an_error() {
        let refused = |status| ClientError::Refused { status, message: String::new(), body: String::new() };
        assert!(is_passing(&ClientError::NotRunning("/x".into())) && is_passing(&refused(503)));
        assert!(!is_passing(&ClientError::Forbidden("/x".into())) && !is_passing(&refused(400)));
    }
}

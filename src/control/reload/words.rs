//! What is said of a change, in the log and in events.

use super::answer::Change;
use super::history::Origin;

/// What makes the change, as the subject of a sentence.
pub(super) fn title(origin: Origin, author: &str) -> String {
    let what = match origin {
        Origin::Start => "the start",
        Origin::Reload => "a reload",
        Origin::Edit => "an edit",
        Origin::Rollback => "a rollback",
        Origin::Unconfirmed => "the end of a trial",
        Origin::Signal => "SIGHUP",
    };
    format!("{what}{}", by(author))
}

pub(super) fn by(author: &str) -> String {
    if author.is_empty() { String::new() } else { format!(" by {author}") }
}

/// The first differences.
pub(super) fn summary(changes: &[Change]) -> String {
    const SHOWN: usize = 3;
    let first: Vec<&str> = changes.iter().take(SHOWN).map(|change| change.text.as_str()).collect();
    match changes.len() {
        0 => "no difference".to_owned(),
        n if n > SHOWN => format!("{}; and {} more differences", first.join("; "), n - SHOWN),
        _ => first.join("; "),
    }
}

//! What changes from one configuration to the next, in words, and what of it can not change while the gateway runs.
//!
//! ```text
//! + dnat tcp 203.0.113.2:8080 -> 192.168.1.10:80
//! ~ conntrack.timeouts.udp: 5m -> 2m
//! - pool office
//! > snat from 10.1.0.0/16 -> pool.office: place 7 -> 2
//! ```
//!
//! Things are the same if their names are; rules, if they match the same packets. The order of what has a name means
//! nothing and is no difference, that of routes, rules and classes is one. A difference that needs a restart is in both lists.

mod align;
mod links;
mod notrack;
mod rules;
mod settings;
mod words;

use super::model::Config;
use serde::Serialize;
use std::fmt;

/// The differences between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// All of them, in the order of the documentation of the config file.
    pub changes: Vec<Change>,
    /// Those that need a restart.
    pub restart: Vec<Restart>,
}

/// What happened to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another one.
    Changed,
    /// It is in another place of its list, whose order has a meaning.
    Moved,
}

impl ChangeKind {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
            ChangeKind::Moved => "moved",
        }
    }

    /// What a line about it begins with: `+ - ~ >`.
    pub fn sign(self) -> char {
        match self {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
            ChangeKind::Moved => '>',
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To what, such as `conntrack.timeouts.udp`.
    pub what: String,
    /// What it was.
    pub before: Option<String>,
    /// What it is now.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { kind, what, before, after } = self;
        write!(f, "{} {what}", kind.sign())?;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, ": {before} -> {after}"),
            (Some(one), None) | (None, Some(one)) => write!(f, ": {one}"),
            (None, None) => Ok(()),
        }
    }
}

/// A difference that takes effect only when the gateway starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restart {
    /// Of what, such as `runtime.workers`.
    pub what: String,
    /// What it is while the gateway runs.
    pub before: String,
    /// What it would be.
    pub after: String,
    /// Why it can not change.
    pub why: String,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Restart { what, before, after, why } = self;
        write!(f, "{what}: {before} -> {after} ({why})")
    }
}

impl Diff {
    /// Whether both configurations mean the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// A line for each difference: `+` new, `-` gone, `~` changed, `>` in another place.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.changes.iter().map(Change::to_string)
    }

    fn added(&mut self, what: String) {
        self.push(ChangeKind::Added, what, None, None);
    }

    fn removed(&mut self, what: String) {
        self.push(ChangeKind::Removed, what, None, None);
    }

    fn push(&mut self, kind: ChangeKind, what: String, before: Option<String>, after: Option<String>) {
        self.changes.push(Change { kind, what, before, after });
    }

    /// Notes two values if they differ. Returns whether they do.
    fn value<T: PartialEq + ?Sized>(
        &mut self,
        what: impl Into<String>,
        before: &T,
        after: &T,
        text: impl Fn(&T) -> String,
    ) -> bool {
        let differ = before != after;
        if differ {
            self.push(ChangeKind::Changed, what.into(), Some(text(before)), Some(text(after)));
        }
        differ
    }

    /// As [`Diff::value`], for what can not change while the gateway runs.
    fn fixed<T: PartialEq + ?Sized>(
        &mut self,
        what: impl Into<String>,
        before: &T,
        after: &T,
        text: impl Fn(&T) -> String,
        why: &str,
    ) {
        let what = what.into();
        if self.value(what.clone(), before, after, &text) {
            self.needs_restart(what, text(before), text(after), why);
        }
    }

    fn needs_restart(&mut self, what: String, before: String, after: String, why: &str) {
        self.restart.push(Restart { what, before, after, why: why.to_owned() });
    }

    /// Notes two lists if they differ: in full if they are short, else what is new in them and what is gone.
    fn list<T: PartialEq + Ord + fmt::Display>(
        &mut self,
        what: impl Into<String>,
        before: &[T],
        after: &[T],
    ) {
        if before == after {
            return;
        }
        if words::is_short(before) && words::is_short(after) {
            self.value(what, before, after, words::list);
            return;
        }
        let missing = |from: &[T], in_: &[T]| -> Vec<String> {
            let mut sorted: Vec<&T> = in_.iter().collect();
            sorted.sort_unstable();
            from.iter().filter(|one| sorted.binary_search(one).is_err()).map(T::to_string).collect()
        };
        let (gone, new) = (missing(before, after), missing(after, before));
        let part = |list: &[String], word: &str| {
            (!list.is_empty()).then(|| format!("{} {word} ({})", list.len(), words::list(list)))
        };
        let parts: Vec<String> =
            [part(&new, "added"), part(&gone, "removed")].into_iter().flatten().collect();
        let summary = if parts.is_empty() { "in another order".into() } else { parts.join(", ") };
        self.push(ChangeKind::Changed, what.into(), None, Some(summary));
    }
}

/// The differences between the running configuration and one that is to follow it, with both in one order of interfaces
/// ([`super::reorder`]) or not.
pub fn diff(before: &Config, after: &Config) -> Diff {
    let mut diff = Diff::default();
    let Config {
        runtime,
        conntrack,
        devices: _,
        interfaces: _,
        routes: _,
        pools,
        masquerade,
        statics: _,
        snat: _,
        dnat: _,
        bans: _,
        sets,
        notrack: _,
        alg,
    } = before;
    links::devices(&mut diff, before, after);
    links::interfaces(&mut diff, before, after);
    rules::routes(&mut diff, before, after);
    links::pools(&mut diff, pools, &after.pools);
    links::behavior(&mut diff, "masquerade", masquerade, &after.masquerade);
    rules::statics(&mut diff, before, after);
    rules::snat(&mut diff, before, after);
    rules::dnat(&mut diff, before, after);
    rules::bans(&mut diff, before, after);
    notrack::sets(&mut diff, sets, &after.sets);
    notrack::classes(&mut diff, before, after);
    settings::runtime(&mut diff, runtime, &after.runtime);
    settings::conntrack(&mut diff, conntrack, &after.conntrack);
    rules::track(&mut diff, before, after);
    settings::alg(&mut diff, alg, &after.alg);
    diff
}

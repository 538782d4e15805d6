//! Access to the parsed TOML that keeps the place of everything and goes on after an error.
//!
//! A [`Table`] is opened under its [`Section`], which reports every key that the section does not know. When such a
//! key was meant to be another one, the table answers to that name too, so that one slip is reported once and what
//! is wrong in the value is reported as well.

use crate::config::error::{Found, Span};
use crate::config::keys::{Key, Section};
use crate::config::mistake::{Caution, Mistake};
use crate::config::units::ValueError;
use std::ops::RangeInclusive;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: Span,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) mistakes: Vec<Found<Mistake>>,
    pub(super) cautions: Vec<Found<Caution>>,
}

impl Findings {
    /// Notes an error.
    pub(super) fn error(&mut self, at: Span, what: Mistake) {
        self.mistakes.push(Found { at, other: None, what });
    }

    /// Notes an error between two places; the later one is reported.
    pub(super) fn clash(&mut self, one: Span, two: Span, what: Mistake) {
        let (other, at) = if one.start <= two.start { (one, two) } else { (two, one) };
        self.mistakes.push(Found { at, other: Some(other), what });
    }

    /// Notes a doubt.
    pub(super) fn warn(&mut self, at: Span, what: Caution) {
        self.cautions.push(Found { at, other: None, what });
    }
}

/// The one of `known` that `word` is a slip of, if any is close.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A table of the file.
pub(super) struct Table<'a> {
    pub(super) section: Section,
    /// As errors call it: `[interface.lan]`.
    pub(super) label: String,
    /// Its header, or its name where it has none.
    pub(super) at: Span,
    fields: &'a DeTable<'a>,
    /// Keys that were meant, and what was written.
    slips: Vec<(&'static str, &'a str)>,
}

impl<'a> Table<'a> {
    /// Opens a table and reports the keys that do not belong there.
    pub(super) fn open(
        section: Section,
        label: String,
        at: Span,
        fields: &'a DeTable<'a>,
        findings: &mut Findings,
    ) -> Self {
        let keys = section.keys();
        let known: Vec<&'static str> = keys.iter().map(|key| key.name).collect();
        let mut slips = Vec::new();
        for name in fields.keys() {
            let key: &'a str = name.get_ref();
            if known.contains(&key) {
                continue;
            }
            let meant = nearest(key, known.iter().copied());
            if let Some(meant) = meant
                && !fields.contains_key(meant)
            {
                slips.push((meant, key));
            }
            let what = Mistake::UnknownKey {
                key: key.to_owned(),
                section: label.clone(),
                meant,
                known: known.clone(),
            };
            findings.error(name.span().into(), what);
        }
        Table { section, label, at, fields, slips }
    }

    /// The value of a key of the section.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        debug_assert!(self.section.keys().iter().any(|known| known.name == key), "{key} is not declared");
        let written = self.slips.iter().find(|(meant, _)| *meant == key).map_or(key, |(_, written)| written);
        let value = self.fields.get(written)?;
        Some(Field { section: self.section, key, at: value.span().into(), value: value.get_ref() })
    }

    /// The value of a key that must be there.
    pub(super) fn require(&self, key: &'static str, findings: &mut Findings) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() {
            let what =
                Mistake::MissingKey { key, section: self.label.clone(), example: example(self.section, key) };
            findings.error(self.at, what);
        }
        field
    }

    /// The value of the one of two keys that is given; both and none are errors.
    pub(super) fn either(
        &self,
        first: &'static str,
        second: &'static str,
        findings: &mut Findings,
    ) -> Option<Field<'a>> {
        let section = self.label.clone();
        match (self.get(first), self.get(second)) {
            (Some(one), Some(two)) => {
                findings.clash(one.at, two.at, Mistake::Exclusive { first, second, section });
                None
            }
            (None, None) => {
                self.neither(first, second, findings);
                None
            }
            (one, two) => one.or(two),
        }
    }

    /// Reports that one of two keys must be given, or both.
    pub(super) fn neither(&self, first: &'static str, second: &'static str, findings: &mut Findings) {
        let (section, example) = (self.label.clone(), format!("{first} = {}", example(self.section, first)));
        findings.error(self.at, Mistake::Neither { first, second, section, example });
    }
}

fn example(section: Section, key: &str) -> String {
    declared(section, key).map(|key| key.example.into_owned()).unwrap_or_default()
}

fn declared(section: Section, key: &str) -> Option<Key> {
    section.keys().iter().find(|known| known.name == key).cloned()
}

/// The value of a key.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    section: Section,
    pub(super) key: &'static str,
    pub(super) at: Span,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    /// Reports that the value has the wrong type; the declaration says which it should have.
    pub(super) fn wrong_type(&self, findings: &mut Findings) {
        let key = declared(self.section, self.key);
        let what = Mistake::WrongType {
            key: self.key.to_owned(),
            expected: key.as_ref().map(|key| key.kind.to_owned()).unwrap_or_default(),
            found: type_name(self.value),
            example: format!("write it such as `{} = {}`", self.key, example(self.section, self.key)),
        };
        findings.error(self.at, what);
    }

    /// Reports that the text is not such a value.
    fn wrong_value(&self, at: Span, problem: ValueError, findings: &mut Findings) {
        findings.error(at, Mistake::Value { key: self.key.to_owned(), problem });
    }

    /// A text.
    pub(super) fn text(&self, findings: &mut Findings) -> Option<At<&'a str>> {
        match self.value {
            DeValue::String(text) => Some(At { value: text, at: self.at }),
            _ => {
                self.wrong_type(findings);
                None
            }
        }
    }

    /// A text that `parse` turns into a value.
    pub(super) fn parse<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
        findings: &mut Findings,
    ) -> Option<At<T>> {
        let At { value: text, at } = self.text(findings)?;
        parse(text).map(|value| At { value, at }).map_err(|e| self.wrong_value(at, e, findings)).ok()
    }

    /// A text with a unit in it; a bare number is told that it lacks one.
    pub(super) fn parse_with_unit<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
        without: impl FnOnce(String) -> ValueError,
        findings: &mut Findings,
    ) -> Option<At<T>> {
        let bare = match self.value {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            _ => return self.parse(parse, findings),
        };
        self.wrong_value(self.at, without(bare), findings);
        None
    }

    /// A text, or a list of texts; each is turned into a value by `parse`.
    pub(super) fn parse_list<T>(
        &self,
        parse: impl Fn(&str) -> Result<T, ValueError>,
        findings: &mut Findings,
    ) -> Vec<At<T>> {
        let texts = self.texts(findings);
        let values = texts.into_iter().filter_map(|At { value: text, at }| {
            parse(text).map(|value| At { value, at }).map_err(|e| self.wrong_value(at, e, findings)).ok()
        });
        values.collect()
    }

    /// A text, or a list of texts.
    pub(super) fn texts(&self, findings: &mut Findings) -> Vec<At<&'a str>> {
        self.items().filter_map(|item| item.text(findings)).collect()
    }

    /// The items of a list; a value that is no list is its only item.
    pub(super) fn items(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let Field { section, key, at, value } = *self;
        let (one, many) = match value {
            DeValue::Array(items) => (None, Some(items)),
            value => (Some((at, value)), None),
        };
        let many = many.into_iter().flat_map(|items| items.iter());
        let many = many.map(|item| (Span::from(item.span()), item.get_ref()));
        one.into_iter().chain(many).map(move |(at, value)| Field { section, key, at, value })
    }

    /// Whether the value is a list without items.
    pub(super) fn is_empty_list(&self) -> bool {
        self.value.as_array().is_some_and(|items| items.is_empty())
    }

    /// Reports that there should be at least one item.
    pub(super) fn empty(&self, findings: &mut Findings) {
        let example = example(self.section, self.key);
        findings.error(self.at, Mistake::Empty { key: self.key.to_owned(), example });
    }

    /// The value as the user sees it: a text without its quotes, a number as it is written.
    pub(super) fn written(&self) -> String {
        match self.value {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => String::new(),
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer<T: TryFrom<i64>>(
        &self,
        bounds: RangeInclusive<i64>,
        findings: &mut Findings,
    ) -> Option<At<T>> {
        let DeValue::Integer(number) = self.value else {
            self.wrong_type(findings);
            return None;
        };
        // A number that does not fit into 64 bits is out of every bound.
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let inside = value.filter(|value| bounds.contains(value)).and_then(|value| T::try_from(value).ok());
        if inside.is_none() {
            let what = Mistake::OutOfRange {
                key: self.key.to_owned(),
                value: number.to_string(),
                min: *bounds.start(),
                max: *bounds.end(),
            };
            findings.error(self.at, what);
        }
        inside.map(|value| At { value, at: self.at })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, findings: &mut Findings) -> Option<At<bool>> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong_type(findings);
        }
        value.map(|value| At { value, at: self.at })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        words: &[(&'static str, T)],
        findings: &mut Findings,
    ) -> Option<At<T>> {
        let At { value: text, at } = self.text(findings)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(At { value: *value, at });
        }
        let known = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let what = Mistake::UnknownWord {
            key: self.key.to_owned(),
            value: text.to_owned(),
            known,
            meant: nearest(text, words.iter().map(|(word, _)| *word)),
        };
        findings.error(at, what);
        None
    }

    /// A table.
    pub(super) fn table(&self, findings: &mut Findings) -> Option<&'a DeTable<'a>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.wrong_type(findings);
        }
        table
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

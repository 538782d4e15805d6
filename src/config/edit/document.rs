//! Lists of tables in a TOML document, however they are written: `[[dnat]]`, or `dnat = [{…}]`.

use toml_edit::{
    Array, ArrayOfTables, DocumentMut, InlineTable, Item, RawString, Table, TableLike, Value, value,
};

/// The tables of a list, in the order of the file.
pub(super) fn tables<'d>(document: &'d DocumentMut, key: &str) -> Vec<&'d dyn TableLike> {
    match document.get(key) {
        Some(Item::ArrayOfTables(tables)) => tables.iter().map(|table| table as &dyn TableLike).collect(),
        Some(Item::Value(Value::Array(array))) => {
            array.iter().filter_map(Value::as_inline_table).map(|table| table as &dyn TableLike).collect()
        }
        _ => Vec::new(),
    }
}

/// One of them.
pub(super) fn table_mut<'d>(
    document: &'d mut DocumentMut,
    key: &str,
    index: usize,
) -> Option<&'d mut dyn TableLike> {
    match document.get_mut(key)? {
        Item::ArrayOfTables(tables) => tables.get_mut(index).map(|table| table as &mut dyn TableLike),
        Item::Value(Value::Array(array)) => {
            array.get_mut(index)?.as_inline_table_mut().map(|table| table as &mut dyn TableLike)
        }
        _ => None,
    }
}

/// Adds a table at the end of its list.
pub(super) fn push(document: &mut DocumentMut, key: &str, entries: Vec<(&str, Value)>) {
    let entries = entries.into_iter();
    match document.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())) {
        Item::Value(Value::Array(array)) => array.push(entries.collect::<InlineTable>()),
        item => {
            if let Some(tables) = item.as_array_of_tables_mut() {
                tables.push(entries.map(|(key, entry)| (key, value(entry))).collect::<Table>());
            }
        }
    }
}

/// Removes a table of a list, and the list with its last one.
pub(super) fn remove(document: &mut DocumentMut, key: &str, index: usize) {
    let empty = match document.get_mut(key) {
        Some(Item::ArrayOfTables(tables)) if index < tables.len() => {
            let removed = tables.get(index).map(|table| (table.position(), kept_comments(table)));
            tables.remove(index);
            let empty = tables.is_empty();
            if let Some((position, comments)) = removed {
                give_comments(document, position, &comments);
            }
            empty
        }
        Some(Item::Value(Value::Array(array))) if index < array.len() => {
            array.remove(index);
            array.is_empty()
        }
        _ => false,
    };
    if empty {
        document.remove(key);
    }
}

/// What of the text above a table's header does not belong to it: up to the last blank line.
fn kept_comments(table: &Table) -> String {
    let above = table.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
    let end = above.rfind("\n\n").map_or(0, |blank| blank + 1);
    above.get(..end).filter(|kept| kept.contains('#')).unwrap_or_default().to_owned()
}

/// Puts a text above the table that follows a place in the file, or at its end.
fn give_comments(document: &mut DocumentMut, position: Option<isize>, comments: &str) {
    if comments.is_empty() {
        return;
    }
    let mut next: Option<&mut Table> = None;
    following(document.as_table_mut(), position.unwrap_or(isize::MAX), &mut next);
    let joined = |text: Option<&str>| format!("{comments}{}", text.unwrap_or_default());
    match next {
        Some(table) => {
            let text = joined(table.decor().prefix().and_then(RawString::as_str));
            table.decor_mut().set_prefix(text);
        }
        None => {
            let text = joined(document.trailing().as_str());
            document.set_trailing(text);
        }
    }
}

/// The first table with a header behind the place.
fn following<'d>(table: &'d mut Table, position: isize, next: &mut Option<&'d mut Table>) {
    for (_, item) in table.iter_mut() {
        let below: Vec<&mut Table> = match item {
            Item::Table(table) => vec![table],
            Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
            _ => Vec::new(),
        };
        for table in below {
            let place = table.position().filter(|place| *place > position);
            let nearer = place.is_some_and(|place| {
                next.as_ref().and_then(|next| next.position()).is_none_or(|nearest| place < nearest)
            });
            if nearer && !table.is_implicit() {
                *next = Some(table);
            } else {
                following(table, position, next);
            }
        }
    }
}

/// The texts of a value that is a text or a list of them.
pub(super) fn texts(item: Option<&Item>) -> Vec<&str> {
    match item {
        Some(Item::Value(Value::Array(array))) => array.iter().filter_map(Value::as_str).collect(),
        item => item.and_then(Item::as_str).into_iter().collect(),
    }
}

/// Leaves only those texts of a list that `keep` says. A text that is no list stays.
pub(super) fn retain(item: Option<&mut Item>, keep: impl Fn(&str) -> bool) {
    let Some(array) = item.and_then(Item::as_array_mut) else { return };
    let prefix = array.get(0).and_then(|first| first.decor().prefix().cloned());
    array.retain(|value| value.as_str().is_none_or(&keep));
    // What becomes the first one stands where the first one stood.
    if let (Some(first), Some(prefix)) = (array.get_mut(0), prefix) {
        first.decor_mut().set_prefix(prefix);
    }
}

/// A text, or a list of texts if there are several.
pub(super) fn one_or_list(texts: impl IntoIterator<Item = String>) -> Value {
    let array: Array = texts.into_iter().collect();
    match array.get(0) {
        Some(only) if array.len() == 1 => only.clone().decorated("", ""),
        _ => Value::Array(array),
    }
}

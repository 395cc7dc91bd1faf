//! Writing lists into a TOML file in the place of others, so that comments and the rest of the file stay as they are.

use serde_json::Value;
use toml_edit::{Array, Decor, InlineTable, Item as TomlItem, TableLike};

use super::Fields;
use super::coding::{Coding, Codings};
use super::verdict::Item;
use crate::text::Codec;

/// What stands before each record of a list that is longer than a line.
const INDENT: &str = "\n    ";

/// A list with its key that is longer than this goes over several lines.
const LINE_CHARS_MAX: usize = 100;

/// Replaces a list, or makes it.
pub fn write(table: &mut dyn TableLike, key: &str, items: &[Item], codings: Codings) {
    let old = match table.get(key).cloned().map(TomlItem::into_value) {
        Some(Ok(toml_edit::Value::Array(list))) => list,
        _ => Array::new(),
    };
    let list = list(&old, items, codings, key.chars().count());
    table.insert(key, TomlItem::Value(toml_edit::Value::Array(list)));
}

fn list(old: &Array, items: &[Item], codings: Codings, key_chars: usize) -> Array {
    let prefix_of =
        |value: &toml_edit::Value| value.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or("").to_owned();
    let used = |items: &[Item], at: usize| {
        items
            .iter()
            .any(|item| matches!(item, Item::Keep(place) | Item::New { instead_of: Some(place), .. } if *place == at))
    };
    let mut rows: Vec<(toml_edit::Value, Decor)> = Vec::new();
    // What was said of records that are gone stays, above what comes next.
    let (mut next, mut left) = (0, String::new());
    for item in items {
        let place = match item {
            Item::Keep(place) | Item::New { instead_of: Some(place), .. } => Some(*place),
            Item::New { .. } => None,
        };
        let found = place.and_then(|place| old.get(place));
        for gone in (next..place.unwrap_or(next)).filter(|gone| !used(items, *gone)).filter_map(|gone| old.get(gone)) {
            left.push_str(comments(&prefix_of(gone)));
        }
        next = place.map_or(next, |place| place + 1);
        let value = match (item, found) {
            (Item::Keep(_), Some(kept)) => kept.clone(),
            (Item::New { value, .. }, _) => toml(&written(value, codings)),
            (Item::Keep(_), None) => continue,
        };
        let mut decor = found.map(|value| value.decor().clone()).unwrap_or_default();
        if !left.is_empty() {
            let prefix = found.map_or(INDENT.to_owned(), prefix_of);
            decor.set_prefix(format!("{}{prefix}", std::mem::take(&mut left)));
        }
        rows.push((value, decor));
    }
    let long = old.iter().any(|value| prefix_of(value).contains('\n')) || {
        let line: usize = rows.iter().map(|(value, _)| value.to_string().trim().chars().count() + 2).sum();
        line + key_chars > LINE_CHARS_MAX
    };
    let mut list = Array::new();
    for (at, (mut value, decor)) in rows.into_iter().enumerate() {
        let prefix = decor.prefix().and_then(|prefix| prefix.as_str()).unwrap_or("").to_owned();
        *value.decor_mut() = match (long, prefix.contains('\n')) {
            (true, true) => decor,
            (true, false) => Decor::new(INDENT, ""),
            (false, _) => Decor::new(if at == 0 { "" } else { " " }, ""),
        };
        list.push_formatted(value);
    }
    let trailing = old.trailing().as_str().unwrap_or("").to_owned();
    if long {
        list.set_trailing_comma(!list.is_empty());
        let trailing = if trailing.contains('\n') { trailing } else { "\n".to_owned() };
        list.set_trailing(format!("{left}{trailing}"));
    }
    *list.decor_mut() = old.decor().clone();
    list
}

/// The part of what stands before a record that is not its own indentation; empty where nobody has said anything.
fn comments(prefix: &str) -> &str {
    match prefix.rfind('#') {
        Some(_) => prefix.trim_end(),
        None => "",
    }
}

/// A record or entry as a person would write it: keys and values in their codecs, nothing for null.
fn written(value: &Value, codings: Codings) -> Fields {
    let fields = value.as_object().cloned().unwrap_or_default();
    let field = |(name, value): (String, Value)| match name.as_str() {
        "key" => (name, writable(codings.key, value)),
        "value" => (name, writable(codings.value, value)),
        _ => (name, value),
    };
    fields.into_iter().map(field).collect()
}

/// A JSON document stands as TOML where TOML can say it, else as its text.
fn writable(coding: Coding, value: Value) -> Value {
    let as_text = matches!(value, Value::String(_)) || !has_toml(&value);
    match coding {
        Coding::Of(Codec::Json) if as_text && !value.is_null() => value.to_string().into(),
        _ => value,
    }
}

fn has_toml(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Number(number) => number.is_i64() || number.is_f64(),
        Value::Array(items) => items.iter().all(has_toml),
        Value::Object(fields) => fields.values().all(has_toml),
        Value::Bool(_) | Value::String(_) => true,
    }
}

fn toml(fields: &Fields) -> toml_edit::Value {
    of_json(&Value::Object(fields.clone()))
}

/// Fields and items that are null are left out: TOML has no word for them.
fn of_json(value: &Value) -> toml_edit::Value {
    match value {
        Value::Null => "".into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).map(of_json).collect::<Array>().into(),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let mut table: InlineTable = fields.map(|(key, value)| (key.as_str(), of_json(value))).collect();
            table.fmt();
            table.into()
        }
    }
}

//! Tables of a case file: every key that nobody asked for is an error, and so is every value of another type. All errors
//! are collected, so that a user sees them at once.

use std::cell::RefCell;

use millstream_engine::config::{ConfigError, nearest};
use serde_json::Value;
use toml_edit::{Item, TableLike};

/// A file and what was found wrong with it so far.
pub struct Source<'a> {
    file: &'a str,
    text: &'a str,
    errors: RefCell<Vec<ConfigError>>,
}

impl<'a> Source<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Source<'a> {
        Source { file, text, errors: RefCell::default() }
    }

    /// From 1.
    pub fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    pub fn report(&self, line: usize, key: &str, message: impl Into<String>, suggestion: Option<String>) {
        let (file, key, message) = (self.file.to_owned(), key.to_owned(), message.into());
        self.errors.borrow_mut().push(ConfigError { file, line, key, message, suggestion });
    }

    /// All errors, in the order of their lines.
    pub fn into_errors(self) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        errors
    }
}

/// One table. Dropping it reports the keys that were not asked for.
pub struct Section<'a> {
    source: &'a Source<'a>,
    table: &'a dyn TableLike,
    /// With all its tables.
    path: String,
    /// Where it begins in the text.
    at: usize,
    asked: Vec<&'static str>,
    /// Its keys are the user's own names.
    free: bool,
}

impl<'a> Section<'a> {
    pub fn root(source: &'a Source<'a>, table: &'a dyn TableLike) -> Section<'a> {
        Section { source, table, path: String::new(), at: 0, asked: Vec::new(), free: false }
    }

    pub fn line(&self) -> usize {
        self.source.line(self.at)
    }

    /// Whether there is a value for this key, which is one that the table may have.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.asked.push(key);
        self.table.contains_key(key)
    }

    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.read(key, "a text", |item| item.as_str())
    }

    pub fn whole(&mut self, key: &'static str) -> Option<i64> {
        self.read(key, "a whole number", |item| item.as_integer())
    }

    fn read<T>(&mut self, key: &'static str, expected: &str, read: impl Fn(&'a Item) -> Option<T>) -> Option<T> {
        self.asked.push(key);
        let item = self.table.get(key)?;
        let value = read(item);
        if value.is_none() {
            self.refuse(key, format!("is {}, and should be {expected}", kind(item)));
        }
        value
    }

    /// The value as JSON has it; dates become texts. Absent: null.
    pub fn json(&mut self, key: &'static str) -> Value {
        self.asked.push(key);
        self.table.get(key).map(json).unwrap_or_default()
    }

    /// Says that something is wrong with the value of `key`; without it, with the table.
    pub fn refuse(&self, key: &str, message: impl Into<String>) {
        self.refuse_for(key, message, None);
    }

    /// The same for a name that is none of the known ones.
    pub fn refuse_name<'n>(&self, key: &str, what: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) {
        let suggestion = nearest(name, known.clone());
        let known = known.collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "there are none".to_owned() } else { format!("there are {known}") };
        self.refuse_for(key, format!("is no {what} of the application; {known}"), suggestion);
    }

    fn refuse_for(&self, key: &str, message: impl Into<String>, suggestion: Option<String>) {
        let at = self.table.get_key_value(key).and_then(|(key, _)| key.span()).map_or(self.at, |span| span.start);
        let path = if self.table.contains_key(key) { self.path_of(key) } else { self.path.clone() };
        self.source.report(self.source.line(at), &path, message, suggestion);
    }

    /// The tables of a list, `[[step]]` or `[{ … }, { … }]`, with the list's line; `None`: there is no list.
    pub fn list(&mut self, key: &'static str) -> Option<(usize, Vec<Section<'a>>)> {
        self.asked.push(key);
        self.list_of(key)
    }

    /// The lists of a table whose keys are the user's own.
    pub fn lists(&mut self, key: &'static str) -> Option<Vec<(String, usize, Vec<Section<'a>>)>> {
        self.asked.push(key);
        let (name, item) = self.table.get_key_value(key)?;
        let Some(table) = item.as_table_like() else {
            self.refuse(key, format!("is {}, and should be a table", kind(item)));
            return None;
        };
        let at = name.span().map_or(self.at, |span| span.start);
        let inner = Section { source: self.source, table, path: self.path_of(key), at, asked: Vec::new(), free: true };
        let names = table.iter().map(|(name, _)| name.to_owned());
        Some(names.filter_map(|name| inner.list_of(&name).map(|(line, all)| (name, line, all))).collect())
    }

    /// A table of [`Section::lists`] once more, to say what is wrong with one of its names.
    pub fn refuse_in<'n>(&self, key: &str, what: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) {
        let Some(table) = self.table.get(key).and_then(Item::as_table_like) else { return };
        let (path, at) = (self.path_of(key), self.at);
        let inner = Section { source: self.source, table, path, at, asked: Vec::new(), free: true };
        inner.refuse_name(name, what, name, known);
    }

    fn list_of(&self, key: &str) -> Option<(usize, Vec<Section<'a>>)> {
        let (name, item) = self.table.get_key_value(key)?;
        let start = |span: Option<std::ops::Range<usize>>| span.map(|span| span.start);
        let at = start(name.span()).unwrap_or(self.at);
        let section = |(place, table, from): (usize, &'a dyn TableLike, Option<usize>)| {
            let path = format!("{}[{place}]", self.path_of(key));
            Section { source: self.source, table, path, at: from.unwrap_or(at), asked: Vec::new(), free: false }
        };
        let tables: Vec<_> = match item {
            Item::ArrayOfTables(tables) => {
                let table = |(place, table): (usize, &'a toml_edit::Table)| {
                    (place, table as &'a dyn TableLike, start(table.span()))
                };
                tables.iter().enumerate().map(table).map(section).collect()
            }
            Item::Value(toml_edit::Value::Array(list)) => {
                let mut found = Vec::new();
                for (place, value) in list.iter().enumerate() {
                    match value.as_inline_table() {
                        Some(table) => found.push(section((place, table as &'a dyn TableLike, start(value.span())))),
                        None => {
                            self.refuse(key, format!("has {} in it, and should be a list of tables", value.type_name()))
                        }
                    }
                }
                found
            }
            other => {
                self.refuse(key, format!("is {}, and should be a list of tables", kind(other)));
                return None;
            }
        };
        Some((self.source.line(at), tables))
    }

    fn path_of(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        let key = if bare { key.to_owned() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let unknown = |key: &&str| !self.free && !self.asked.contains(key);
        for key in self.table.iter().map(|(key, _)| key).filter(unknown) {
            let suggestion = nearest(key, self.asked.iter().copied());
            self.refuse_for(key, "is not a key of this table", suggestion);
        }
    }
}

fn kind(item: &Item) -> String {
    match item.type_name() {
        "string" => "a text".to_owned(),
        "integer" => "a whole number".to_owned(),
        name if name.starts_with(['a', 'i']) => format!("an {name}"),
        name => format!("a {name}"),
    }
}

fn json(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => json_of(value),
        Item::Table(table) => {
            table.iter().map(|(key, item)| (key.to_owned(), json(item))).collect::<serde_json::Map<_, _>>().into()
        }
        Item::ArrayOfTables(tables) => {
            let table = |table: &toml_edit::Table| json(&Item::Table(table.clone()));
            tables.iter().map(table).collect::<Vec<_>>().into()
        }
    }
}

fn json_of(value: &toml_edit::Value) -> Value {
    use toml_edit::Value::*;
    match value {
        String(text) => text.value().as_str().into(),
        Integer(number) => (*number.value()).into(),
        // Infinity and not-a-number are texts in JSON, as they are shown.
        Float(number) if number.value().is_nan() => "NaN".into(),
        Float(number) if number.value().is_infinite() => {
            if *number.value() > 0.0 {
                "Infinity".into()
            } else {
                "-Infinity".into()
            }
        }
        Float(number) => (*number.value()).into(),
        Boolean(truth) => (*truth.value()).into(),
        Datetime(date) => date.value().to_string().into(),
        Array(list) => list.iter().map(json_of).collect::<Vec<_>>().into(),
        InlineTable(table) => {
            table.iter().map(|(key, value)| (key.to_owned(), json_of(value))).collect::<serde_json::Map<_, _>>().into()
        }
    }
}

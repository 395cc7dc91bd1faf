//! Reads a manifest's tables: every key that nobody asked for is an error, and so is every value of another type.
//!
//! Errors are collected and reading goes on with the default, so that a user sees all of them at once.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, nearest};
use super::value::{Value, Wrong, type_of};

/// The text that is read and what was found wrong with it so far.
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    errors: RefCell<Vec<ConfigError>>,
}

impl<'a> Source<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Source<'a> {
        Source { file, text, errors: RefCell::default() }
    }

    /// The text as a table. A text that is not TOML has its syntax errors alone: what stands where in it is a guess.
    pub fn parse(&self) -> Option<DeTable<'a>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let start = error.span().map_or(0, |span| span.start);
            self.report(start, key_on_line(self.text, start), Wrong::new(format!("is not TOML: {}", error.message())));
        }
        errors.is_empty().then(|| root.into_inner())
    }

    /// All errors, in the order of their lines.
    pub fn into_errors(self) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        errors
    }

    fn report(&self, at: usize, key: String, wrong: Wrong) {
        self.errors.borrow_mut().push(ConfigError {
            file: self.file.to_owned(),
            line: self.line(at),
            key,
            message: wrong.message,
            suggestion: wrong.suggestion,
        });
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}

/// One table. Dropping it reports the keys that were not asked for.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    /// With all its tables, empty at the root.
    path: String,
    /// Where it begins in the text.
    at: usize,
    asked: Vec<&'static str>,
    /// Its keys are the user's own names.
    free: bool,
}

impl<'a> Section<'a> {
    pub fn root(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Section<'a> {
        Section { source, table, path: String::new(), at: 0, asked: Vec::new(), free: false }
    }

    /// The line it begins in.
    pub fn line(&self) -> usize {
        self.source.line(self.at)
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value, or `None` when it is absent or wrong.
    pub fn get<T: Value>(&mut self, key: &'static str) -> Option<T> {
        let value = self.raw(key)?;
        T::read(value).map_err(|wrong| self.refuse(key, wrong)).ok()
    }

    pub fn or<T: Value>(&mut self, key: &'static str, default: T) -> T {
        self.get(key).unwrap_or(default)
    }

    /// A value whose absence is an error.
    pub fn required<T: Value>(&mut self, key: &'static str, why: &str) -> Option<T> {
        if !self.has(key) {
            self.refuse(key, format!("is missing: {why}"));
        }
        self.get(key)
    }

    /// The value as it stands.
    pub fn raw(&mut self, key: &'static str) -> Option<&'a DeValue<'a>> {
        self.asked.push(key);
        self.table.get(key).map(Spanned::get_ref)
    }

    /// A table inside this one.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.asked.push(key);
        self.enter(key)
    }

    /// A table of tables, by their names: `[stores.NAME]`.
    pub fn named_sections(&mut self, key: &'static str) -> Vec<(String, Section<'a>)> {
        self.any_keys(key, |section, name| Some((name.to_owned(), section.enter(name)?)))
    }

    /// A table whose keys are the user's own: `[kafka]`.
    pub fn map<T: Value>(&mut self, key: &'static str) -> BTreeMap<String, T> {
        let read = |section: &Section<'a>, name: &str| {
            let value = section.table.get(name)?.get_ref();
            T::read(value).map(|value| (name.to_owned(), value)).map_err(|wrong| section.refuse(name, wrong)).ok()
        };
        self.any_keys(key, read).into_iter().collect()
    }

    /// A table that was read already, once more, to say what is wrong in it.
    pub fn map_section(&self, key: &str) -> Option<Section<'a>> {
        matches!(self.table.get(key)?.get_ref(), DeValue::Table(_)).then_some(())?;
        self.enter(key).map(|mut section| {
            section.free = true;
            section
        })
    }

    /// Reports something that is wrong with this table itself.
    pub fn refuse_whole(&self, wrong: impl Into<Wrong>) {
        self.source.report(self.at, self.path.clone(), wrong.into());
    }

    /// Reports something that is wrong with the value of `key`.
    pub fn refuse(&self, key: &str, wrong: impl Into<Wrong>) {
        let at = self.table.get_key_value(key).map_or(self.at, |(key, _)| key.span().start);
        self.source.report(at, self.path_of(key), wrong.into());
    }

    /// Reports something that is wrong with a value further down, at the last of the keys that is there.
    pub fn refuse_at(&self, keys: &[&str], wrong: impl Into<Wrong>) {
        match keys {
            [] => self.refuse_whole(wrong),
            [table, rest @ ..] if !rest.is_empty() => match self.map_section(table) {
                Some(section) => section.refuse_at(rest, wrong),
                None => self.refuse(table, wrong),
            },
            [key, ..] if self.has(key) => self.refuse(key, wrong),
            _ => self.refuse_whole(wrong),
        }
    }

    fn any_keys<T>(&mut self, key: &'static str, read: impl Fn(&Section<'a>, &str) -> Option<T>) -> Vec<T> {
        let Some(mut section) = self.section(key) else { return Vec::new() };
        section.free = true;
        section.table.keys().filter_map(|name| read(&section, name.get_ref())).collect()
    }

    fn enter(&self, key: &str) -> Option<Section<'a>> {
        let (name, value) = self.table.get_key_value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                source: self.source,
                table,
                path: self.path_of(key),
                at: name.span().start,
                asked: Vec::new(),
                free: false,
            }),
            other => {
                self.refuse(key, format!("is {}, and should be a table", type_of(other)));
                None
            }
        }
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
        for key in self.table.keys().map(|key| key.get_ref().as_ref()).filter(unknown) {
            let suggestion = nearest(key, self.asked.iter().copied());
            self.refuse(key, Wrong { message: "is not a key of this table".to_owned(), suggestion });
        }
    }
}

/// What a broken line seems to set.
fn key_on_line(text: &str, at: usize) -> String {
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let key = line.split_once('=').map_or(line, |(key, _)| key);
    key.trim().trim_matches(['[', ']']).to_owned()
}

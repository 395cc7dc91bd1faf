//! Case files as people write them: TOML.
//!
//! ```toml
//! [[case]]
//! name = "every word updates its count"
//!
//! [[case.step]]
//! in = [{ topic = "lines", value = "the mill, the stone" }]
//! out.counts = [{ key = "the", value = 1 }, { key = "mill", value = 1 }, { key = "the", value = 2 }]
//! ```

use std::collections::BTreeMap;

use millstream_engine::config::ConfigError;
use millstream_engine::record::push_header;
use serde_json::{Value, json};
use toml_edit::Document;

use super::coding::{Coding, Codings};
use super::section::{Section, Source};
use super::{Act, Case, Expected, Fields, Given, Names, Out, Step};
use crate::text::Codec;

/// Partitions that a case may ask for: each is a task with its own stores and an instance of the component.
const PARTITIONS_MAX: i64 = 64;

/// The cases of a file; the errors are all there are.
pub fn read(file: &str, text: &str, names: &Names) -> Result<Vec<Case>, Vec<ConfigError>> {
    let source = Source::new(file, text);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = error.span().map_or(1, |span| source.line(span.start));
            source.report(line, "", format!("is not TOML: {}", error.message()), None);
            return Err(source.into_errors());
        }
    };
    let mut cases = Vec::new();
    {
        let mut root = Section::root(&source, document.as_table());
        let (_, sections) = root.list("case").unwrap_or_default();
        cases.extend(sections.into_iter().map(|section| case(section, names)));
        if cases.is_empty() {
            root.refuse("case", "has no [[case]]");
        }
    }
    let errors = source.into_errors();
    if errors.is_empty() { Ok(cases) } else { Err(errors) }
}

fn case(mut section: Section<'_>, names: &Names) -> Case {
    let name = section.text("name").unwrap_or_default().to_owned();
    if name.is_empty() {
        section.refuse("name", "has no `name`, by which a failure is told");
    }
    let partitions = section.whole("partitions").unwrap_or(1);
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        section.refuse("partitions", format!("is {partitions}, and may be 1 to {PARTITIONS_MAX}"));
    }
    let dropped = section
        .whole("dropped")
        .and_then(|dropped| u64::try_from(dropped).map_err(|_| section.refuse("dropped", "is less than nothing")).ok());
    let (_, sections) = section.list("step").unwrap_or_default();
    if sections.is_empty() {
        section.refuse("step", "has no [[case.step]]");
    }
    let last = sections.len().saturating_sub(1);
    let steps: Vec<Step> =
        sections.into_iter().enumerate().map(|(at, step)| self::step(step, at == last, names, partitions)).collect();
    Case { name, line: section.line(), partitions: partitions as i32, steps, dropped, changelog: None }
}

fn step(mut section: Section<'_>, last: bool, names: &Names, partitions: i64) -> Step {
    let act = match (section.has("in"), section.has("advance")) {
        (true, false) => {
            let (_, records) = section.list("in").unwrap_or_default();
            Act::Pipe(records.into_iter().filter_map(|record| given(record, names, partitions)).collect())
        }
        (false, true) => Act::Advance(duration_ms(&mut section, "advance")),
        _ => {
            section.refuse("", "has either `in`, records, or `advance`, a time");
            Act::Advance(0)
        }
    };
    let fails = section.text("fails").map(str::to_owned);
    if fails.is_some() && !last {
        section.refuse("fails", "ends the application, so there is no step behind this one");
    }
    let out = lists(&mut section, "out", "output topic", &names.outputs, &record);
    let stores = lists(&mut section, "stores", "store", &names.stores, &entry);
    Step { line: section.line(), act, out: Out::ByTopic(out), stores, fails }
}

fn duration_ms(section: &mut Section<'_>, key: &'static str) -> i64 {
    let Some(text) = section.text(key) else { return 0 };
    match humantime::parse_duration(text).map(|time| i64::try_from(time.as_millis())) {
        Ok(Ok(ms)) => ms,
        _ => {
            section.refuse(
                key,
                format!("is {text:?}, and should be a duration with its unit, such as \"100ms\" or \"5s\""),
            );
            0
        }
    }
}

/// The lists of `out` or `stores`, by names that the application has.
fn lists(
    section: &mut Section<'_>,
    key: &'static str,
    what: &str,
    known: &BTreeMap<String, Codings>,
    read: &dyn Fn(&mut Section<'_>, Codings) -> Fields,
) -> BTreeMap<String, Expected> {
    let mut found = BTreeMap::new();
    for (name, line, sections) in section.lists(key).unwrap_or_default() {
        let codings = known.get(&name);
        if codings.is_none() {
            section.refuse_in(key, what, &name, known.keys().map(String::as_str));
        }
        let plain = Coding::declared(None);
        let codings = codings.copied().unwrap_or(Codings { key: plain, value: plain });
        let all = sections.into_iter().map(|mut section| read(&mut section, codings)).collect();
        found.insert(name, Expected { line, all });
    }
    found
}

/// A record that is piped in; its topic has so many partitions.
fn given(mut section: Section<'_>, names: &Names, partitions: i64) -> Option<Given> {
    let topic = section.text("topic").unwrap_or_default().to_owned();
    let known = names.inputs.get(&topic);
    if known.is_none() {
        section.refuse_name("topic", "input topic", &topic, names.inputs.keys().map(String::as_str));
    }
    let plain = Coding::declared(None);
    let codings = known.copied().unwrap_or(Codings { key: plain, value: plain });
    let key = bytes(&mut section, "key", codings.key);
    let value = bytes(&mut section, "value", codings.value);
    let mut headers = Vec::new();
    for (name, value) in self::headers(&mut section).unwrap_or_default() {
        push_header(&mut headers, &name, value.as_deref());
    }
    let timestamp = timestamp(&mut section);
    let partition = partition(&mut section, partitions);
    known.map(|_| Given { topic, partition, key, value, headers, timestamp })
}

/// A record that must come out.
fn record(section: &mut Section<'_>, codings: Codings) -> Fields {
    let mut fields = key_and_value(section, codings);
    if let Some(headers) = headers(section) {
        let shown =
            |(name, value): (String, Option<Vec<u8>>)| json!([name, Coding::Of(Codec::Plain).show(value.as_deref())]);
        fields.insert("headers".to_owned(), headers.into_iter().map(shown).collect::<Vec<_>>().into());
    }
    if let Some(partition) = partition(section, PARTITIONS_MAX) {
        fields.insert("partition".to_owned(), partition.into());
    }
    fields
}

/// An entry that a store must hold.
fn entry(section: &mut Section<'_>, codings: Codings) -> Fields {
    let mut fields = key_and_value(section, codings);
    for end in ["start", "end"] {
        if let Some(time) = section.whole(end) {
            fields.insert(end.to_owned(), time.into());
        }
    }
    fields
}

fn key_and_value(section: &mut Section<'_>, codings: Codings) -> Fields {
    let mut fields = Fields::new();
    for (field, coding) in [("key", codings.key), ("value", codings.value)] {
        let bytes = bytes(section, field, coding);
        fields.insert(field.to_owned(), coding.show(bytes.as_deref()));
    }
    if let Some(timestamp) = timestamp(section) {
        fields.insert("timestamp".to_owned(), timestamp.into());
    }
    fields
}

fn bytes(section: &mut Section<'_>, key: &'static str, coding: Coding) -> Option<Vec<u8>> {
    let value = section.json(key);
    coding.read(&value).unwrap_or_else(|why| {
        section.refuse(key, why);
        None
    })
}

fn timestamp(section: &mut Section<'_>) -> Option<i64> {
    let timestamp = section.whole("timestamp")?;
    if timestamp < 0 {
        section.refuse("timestamp", "is before the epoch");
    }
    Some(timestamp)
}

/// One of so many.
fn partition(section: &mut Section<'_>, partitions: i64) -> Option<i32> {
    let partition = section.whole("partition")?;
    let known = i32::try_from(partition).ok().filter(|partition| *partition >= 0 && i64::from(*partition) < partitions);
    if known.is_none() {
        section.refuse("partition", format!("is {partition}, and may be 0 to {}", partitions - 1));
    }
    known
}

/// `[["name", "value"], …]`; `None`: there is no such key.
fn headers(section: &mut Section<'_>) -> Option<Vec<(String, Option<Vec<u8>>)>> {
    let value = section.json("headers");
    if value == Value::Null {
        return None;
    }
    let header = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(name), value]) => Ok((name.clone(), Coding::Of(Codec::Plain).read(value)?)),
        // TOML has no null.
        Some([Value::String(name)]) => Ok((name.clone(), None)),
        _ => Err(format!("{pair} is no header; one is [\"name\", \"value\"]")),
    };
    let headers = value.as_array().ok_or("is a list of headers: [[\"name\", \"value\"]]".to_owned());
    match headers.and_then(|all| all.iter().map(header).collect::<Result<Vec<_>, String>>()) {
        Ok(headers) => Some(headers),
        Err(why) => {
            section.refuse("headers", why);
            None
        }
    }
}

//! A row of a store as text.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::record::{time, without_line};
use super::{Codec, Codecs, Shown};
use crate::desk::Row;

/// `{"key":…,"start":…,"end":…,"value":…,"timestamp":…,"task":"0_3"}`; start and end of windows and sessions alone.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    pub key: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    pub value: Shown<'a>,
    pub timestamp: i64,
    pub task: String,
}

impl<'a> Entry<'a> {
    /// What does not decode is shown as base64 and counted.
    pub fn new(row: &'a Row, codecs: Codecs, undecodable: &mut u64) -> Entry<'a> {
        Entry {
            key: codecs.key.show(Some(&row.key), undecodable),
            start: row.window.as_ref().map(|window| window.start),
            end: row.window.as_ref().map(|window| window.end),
            value: codecs.value.show(Some(&row.value), undecodable),
            timestamp: row.timestamp,
            task: row.task.to_string(),
        }
    }
}

/// For a terminal: key, start and end where there are any, value, time and task, with tabs between.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t", self.key)?;
        if let (Some(start), Some(end)) = (self.start, self.end) {
            write!(f, "{}\t{}\t", time(start), time(end))?;
        }
        write!(f, "{}\t{}\t{}", self.value, time(self.timestamp), self.task)
    }
}

/// An entry as it was read, for a store to take.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub key: Vec<u8>,
    /// `None`: the key is deleted.
    pub value: Option<Vec<u8>>,
    /// Of a window or a session.
    pub start: Option<i64>,
    pub end: Option<i64>,
    /// `None`: now, or the time of the window or session.
    pub timestamp: Option<i64>,
    /// Subtopology and partition; `None`: by the key.
    pub task: Option<(u32, i32)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    start: Option<i64>,
    #[serde(default)]
    end: Option<i64>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    task: Option<&'a str>,
}

/// Reads an entry as [`Entry`] is printed.
pub fn parse(line: &[u8], codecs: Codecs) -> Result<Imported, String> {
    let line: EntryLine = serde_json::from_slice(line).map_err(|error| without_line(&error))?;
    if line.timestamp.is_some_and(|timestamp| timestamp < 0) {
        return Err("`timestamp` is before the epoch".to_owned());
    }
    let read =
        |name: &str, codec: Codec, value: &RawValue| codec.read_json(value).map_err(|why| format!("`{name}`: {why}"));
    let task = |text: &str| {
        let (subtopology, partition) = text.split_once('_')?;
        Some((subtopology.parse().ok()?, partition.parse().ok()?))
    };
    Ok(Imported {
        key: read("key", codecs.key, line.key)?.ok_or("`key` is null")?,
        value: read("value", codecs.value, line.value)?,
        start: line.start,
        end: line.end,
        timestamp: line.timestamp,
        task: match line.task {
            Some(text) => Some(task(text).ok_or_else(|| format!("`task` is no task: {text}"))?),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::desk::query::Window;
    use millstream_engine::task::TaskId;

    #[test]
    fn what_is_printed_is_read_back() {
        let task = TaskId { subtopology: 1, partition: 3 };
        for (key, value) in [(&b"a"[..], &b""[..]), (b"\xff\x00", b"\xfe"), (b"", b"v")] {
            for times in [None, Some((-1, 9))] {
                let window = times.map(|(start, end)| Window { start, end, place: Vec::new() });
                let row = Row { key: key.to_vec(), value: value.to_vec(), timestamp: 7, task, window };
                let line = serde_json::to_vec(&Entry::new(&row, Codecs::default(), &mut 0)).unwrap();
                let expected = Imported {
                    key: key.to_vec(),
                    value: Some(value.to_vec()),
                    start: times.map(|times| times.0),
                    end: times.map(|times| times.1),
                    timestamp: Some(7),
                    task: Some((1, 3)),
                };
                assert_eq!(parse(&line, Codecs::default()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn key_and_value_are_enough_and_null_deletes() {
        let parsed = parse(br#"{"key":"a","value":null}"#, Codecs::default()).unwrap();
        assert_eq!(parsed, Imported { key: b"a".to_vec(), ..Imported::default() });
        for (line, part) in [
            (&br#"{"key":null,"value":"v"}"#[..], "`key` is null"),
            (br#"{"key":"k"}"#, "`value`"),
            (br#"{"key":"k","value":"v","task":"3"}"#, "`task`"),
            (br#"{"key":"k","value":"v","kye":1}"#, "`kye`"),
            (br#"{"key":"k","value":"v","timestamp":-5}"#, "`timestamp`"),
        ] {
            let why = parse(line, Codecs::default()).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}

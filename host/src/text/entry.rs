//! A row of a store as text.

use std::fmt;

use serde::Serialize;

use super::record::time;
use super::{Codecs, Shown};
use crate::desk::Row;

/// `{"key":…,"value":…,"timestamp":…,"task":"0_3"}`
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    pub key: Shown<'a>,
    pub value: Shown<'a>,
    pub timestamp: i64,
    pub task: String,
}

impl<'a> Entry<'a> {
    /// What does not decode is shown as base64 and counted.
    pub fn new(row: &'a Row, codecs: Codecs, undecodable: &mut u64) -> Entry<'a> {
        Entry {
            key: codecs.key.show(Some(&row.key), undecodable),
            value: codecs.value.show(Some(&row.value), undecodable),
            timestamp: row.timestamp,
            task: row.task.to_string(),
        }
    }
}

/// For a terminal: key, value, time and task, with tabs between.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}\t{}", self.key, self.value, time(self.timestamp), self.task)
    }
}

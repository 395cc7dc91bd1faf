//! When a source's records happened.

use serde::{Deserialize, Serialize};

/// Where a source takes its records' time from, and what becomes of a record that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceTimes {
    pub extractor: Extractor,
    pub invalid: InvalidTimestamp,
}

/// What a source goes by: Kafka Streams' `TimestampExtractor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extractor {
    /// The record's own timestamp.
    #[default]
    Record,
    /// The same, of a topic whose broker writes it (`message.timestamp.type=LogAppendTime`); another topic is refused.
    LogAppend,
    /// The clock on the wall when the task takes the record in. A record that is read again has another time.
    WallClock,
    /// What the component's function answers.
    Function,
}

/// What becomes of a record whose time is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvalidTimestamp {
    /// It fails, and its source's `on_error` decides: `FailOnInvalidTimestamp`.
    #[default]
    Fail,
    /// It is dropped and counted: `LogAndSkipOnInvalidTimestamp`.
    Skip,
    /// It happened at the highest time of its partition so far; in front of the first valid one it fails:
    /// `UsePartitionTimeOnInvalidTimestamp`.
    PartitionTime,
}

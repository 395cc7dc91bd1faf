//! What a guest's `describe` returns: versioned JSON, published as `wit/topology.schema.json`.
//!
//! Operators are names and not variants of a WIT type, so that a newer guest meets an older host with a
//! sentence ("needs a newer host") instead of a type error.

use serde::{Deserialize, Deserializer, Serialize};

use super::times::{Extractor, InvalidTimestamp};
use crate::changelog::StoreKind;

/// The description's version this host reads.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    pub version: u32,
    /// Whether the component takes several stateless nodes in one call (`wit/README.md`, "Chains").
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chains: bool,
    /// A node stands behind all of its inputs. The place in this list is the node's number.
    pub nodes: Vec<Node>,
    /// The place in this list is the store's number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<Store>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: String,
    /// One of the names in [`crate::topology::Operator`].
    pub op: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Sources and sinks: the topic; the manifest may name another. Default: the node's name.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// In place of `topic`: those that a source reads together, or of which a sink's component chooses one for each record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// `source`: a regular expression; it reads the topics whose whole names match it when the application starts.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Sinks: whether the component chooses a partition for each record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partitioner: bool,
    /// Sources: what their records' time is; default: the record's own timestamp.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Extractor>,
    /// Sources: what becomes of a record with a negative time; default: it fails.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub invalid_timestamp: Option<InvalidTimestamp>,
    /// Sources, sinks, repartitions: names of the codecs, for showing keys and values.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Table sources, aggregations and materialised table operators: their store.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// `process`: the stores connected to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
    /// `repartition`: how many partitions; default: as many as what feeds it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Joins: which rows without a partner count.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// `count`, `reduce`, `aggregate`: the windows of which there are aggregates.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Aggregations of windows: when an aggregate goes downstream; default: with every update.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub emit: Option<Emit>,
    /// `suppress`, which needs it: how long it holds changes back, and how many.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub suppress: Option<Suppress>,
    /// `stream-join`, which needs it: how far apart its records may be.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub join_windows: Option<JoinWindows>,
    /// `stream-table-join`: how long, in ms of the stream's time, a record waits for the table's rows of its own time. The
    /// table keeps versions, and for as long.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<i64>,
    /// `stream-join`: the codec of the right side's values; `key` and `value` are the left one's.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub other_value: Option<String>,
    /// `process`: whether all that it forwards has the key of the record that it was given, so that nothing behind it needs a
    /// repartition topic for its sake.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed_key: bool,
    /// `process`: whether it makes schedules while it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub schedules: bool,
    /// `process`: whether its punctuations go on by tokens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumes: bool,
    /// `process`: its schedules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub punctuations: Vec<Punctuation>,
}

/// Windows of an aggregation, in ms. A record that comes later than its window's end and grace has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Window {
    /// From each multiple of `advance_ms` on, `size_ms` long, the end excluded.
    Time { size_ms: i64, advance_ms: i64, grace_ms: i64 },
    /// Of records of a key that are at most `gap_ms` apart.
    Session { gap_ms: i64, grace_ms: i64 },
    /// As many as there are sets of records that are at most `difference_ms` apart, both ends included.
    Sliding { difference_ms: i64, grace_ms: i64 },
}

/// How long a table's changes are held back, and how much of them a buffer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "until", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Suppress {
    /// The first change of a row, then the last one that has come in this time.
    TimeLimit {
        ms: i64,
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        max_records: Option<u64>,
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        max_bytes: Option<u64>,
        /// Default: emit early.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        when_full: Option<WhenFull>,
    },
    /// The final result of each window. A buffer that is full fails.
    WindowClose {
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        max_records: Option<u64>,
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        max_bytes: Option<u64>,
    },
}

/// What becomes of a buffer that would hold more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// What is due first goes downstream before its time.
    EmitEarly,
    /// The record fails.
    ShutDown,
}

impl Suppress {
    pub fn when_full(self) -> WhenFull {
        match self {
            Suppress::TimeLimit { when_full, .. } => when_full.unwrap_or(WhenFull::EmitEarly),
            Suppress::WindowClose { .. } => WhenFull::ShutDown,
        }
    }

    /// How many records and bytes at the most.
    pub fn max(self) -> (Option<u64>, Option<u64>) {
        match self {
            Suppress::TimeLimit { max_records, max_bytes, .. } | Suppress::WindowClose { max_records, max_bytes } => {
                (max_records, max_bytes)
            }
        }
    }

    /// Why it cannot be.
    pub fn check(self) -> Result<(), String> {
        match self {
            Suppress::TimeLimit { ms, .. } if ms < 0 => Err(format!("its `ms` is {ms}, and may be 0 or more")),
            _ => Ok(()),
        }
    }
}

/// When the aggregate of a window goes downstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Emit {
    #[default]
    OnWindowUpdate,
    /// Once, when no record can change it any more.
    OnWindowClose,
}

/// How many windows one record may be in: a day that advances by ten seconds. Each is a question to the guest and a row.
const WINDOWS_MAX: i64 = 10_000;

/// Longest size, gap, difference and grace: sums of a few of them and of timestamps do not overflow.
const WINDOW_MS_MAX: i64 = i64::MAX / 16;

impl Window {
    /// The kind of store that its aggregates are in.
    pub fn store_kind(self) -> &'static str {
        match self {
            Window::Time { .. } | Window::Sliding { .. } => "window",
            Window::Session { .. } => "session",
        }
    }

    /// How long one window is, where all are equally long.
    pub fn size_ms(self) -> Option<i64> {
        match self {
            Window::Time { size_ms, .. } => Some(size_ms),
            Window::Sliding { difference_ms, .. } => Some(difference_ms),
            Window::Session { .. } => None,
        }
    }

    /// How long its store must keep what time has passed.
    pub fn retention_ms(self) -> i64 {
        match self {
            Window::Time { size_ms, grace_ms, .. } => size_ms + grace_ms,
            Window::Session { gap_ms, grace_ms } => gap_ms + grace_ms,
            Window::Sliding { difference_ms, grace_ms } => 2 * difference_ms + grace_ms,
        }
    }

    /// Why it cannot be.
    pub fn check(self) -> Result<(), String> {
        let (name, length, grace_ms) = match self {
            Window::Time { size_ms, grace_ms, .. } => ("size_ms", size_ms, grace_ms),
            Window::Session { gap_ms, grace_ms } => ("gap_ms", gap_ms, grace_ms),
            Window::Sliding { difference_ms, grace_ms } => ("difference_ms", difference_ms, grace_ms),
        };
        for (name, ms, min) in [(name, length, 1), ("grace_ms", grace_ms, 0)] {
            if !(min..=WINDOW_MS_MAX).contains(&ms) {
                return Err(format!("its window's `{name}` is {ms}, and may be {min} to {WINDOW_MS_MAX}"));
            }
        }
        match self {
            Window::Time { size_ms, advance_ms, .. } if !(1..=size_ms).contains(&advance_ms) => {
                Err(format!("its window's `advance_ms` is {advance_ms}, and may be 1 to its size, {size_ms}"))
            }
            Window::Time { size_ms, advance_ms, .. } if (size_ms - 1) / advance_ms >= WINDOWS_MAX => {
                Err(format!("a record would be in more than {WINDOWS_MAX} of its windows; let them advance by more"))
            }
            _ => Ok(()),
        }
    }
}

/// Which rows without a partner a join has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// None.
    Inner,
    /// Those of the first input.
    Left,
    /// Those of both.
    Outer,
}

/// Which records of the right side a record of the left one meets, in ms: from `before_ms` before its time to `after_ms`
/// after it, both included. Either may be negative, not both together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinWindows {
    pub before_ms: i64,
    pub after_ms: i64,
    /// How much later a record may come than time has gone.
    pub grace_ms: i64,
}

impl JoinWindows {
    /// What any of its times may be at most: their sums stay numbers.
    pub const MS_MAX: i64 = 1 << 60;

    /// Why it cannot be.
    pub fn check(&self) -> Result<(), String> {
        let JoinWindows { before_ms, after_ms, grace_ms } = *self;
        let max = JoinWindows::MS_MAX;
        for (name, ms, min) in [("before_ms", before_ms, -max), ("after_ms", after_ms, -max), ("grace_ms", grace_ms, 0)]
        {
            if !(min..=max).contains(&ms) {
                return Err(format!("`{name}` is {ms}, and may be {min} to {max}"));
            }
        }
        match before_ms + after_ms {
            size if size < 0 => {
                Err(format!("windows of {before_ms} ms before to {after_ms} ms after end before they begin"))
            }
            _ => Ok(()),
        }
    }

    pub fn size_ms(&self) -> i64 {
        self.before_ms + self.after_ms
    }

    /// How long a record is kept for the other side at least.
    pub fn retention_ms(&self) -> i64 {
        self.size_ms() + self.grace_ms
    }
}

/// A parent: its name, or its name and which of its branches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Input {
    Node(String),
    Branch { node: String, branch: u16 },
}

impl Input {
    pub fn node(&self) -> &str {
        match self {
            Input::Node(node) | Input::Branch { node, .. } => node,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Punctuation {
    pub name: String,
    pub time: PunctuationTime,
    pub every_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PunctuationTime {
    Stream,
    WallClock,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub name: String,
    /// One of [`StoreKind::NAMES`].
    pub kind: String,
    pub key: String,
    pub value: String,
    /// Window stores, which need it: how long a window is.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub window_size_ms: Option<i64>,
    /// Window, session and versioned stores, which need it: how long they keep what the store's time has passed. The
    /// manifest's `[stores.NAME] retention` wins.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
    /// Window stores: whether one key may have several values for one start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retain_duplicates: bool,
    /// The manifest's `[stores.NAME] provider` wins.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// `false`: no changelog. The manifest must allow it under exactly-once.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub changelog: Option<bool>,
    /// How many bytes of each task's updates its cache holds back; default: none. The manifest's `[stores.NAME] cache` wins.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// Of a table source's store: the topic is its changelog, and no other is made. The manifest's `[stores.NAME] changelog`
    /// wins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuse_source_topic: bool,
}

impl Store {
    /// What it keeps, as the component declares it; or why it cannot be.
    pub fn store_kind(&self) -> Result<StoreKind, String> {
        let needed = |option: Option<i64>, name: &str, min: i64| match option {
            None => Err(format!("kind `{}` needs `{name}`", self.kind)),
            Some(ms) if ms < min => Err(format!("`{name}` is {ms}, and may be {min} or more")),
            Some(ms) => Ok(ms),
        };
        let refused = |given: bool, name: &str| match given {
            true => Err(format!("kind `{}` has no `{name}`", self.kind)),
            false => Ok(()),
        };
        if self.kind != "window" {
            refused(self.window_size_ms.is_some(), "window_size_ms")?;
            refused(self.retain_duplicates, "retain_duplicates")?;
        }
        if self.reuse_source_topic && self.changelog == Some(false) {
            return Err("`reuse_source_topic` names its changelog, and `changelog` says that it has none".to_owned());
        }
        match self.kind.as_str() {
            "key-value" => refused(self.retention_ms.is_some(), "retention_ms").map(|()| StoreKind::KeyValue),
            "window" => Ok(StoreKind::Window {
                size_ms: needed(self.window_size_ms, "window_size_ms", 0)?,
                retention_ms: needed(self.retention_ms, "retention_ms", 0)?,
                duplicates: self.retain_duplicates,
                closing: false,
            }),
            "session" => {
                let retention_ms = needed(self.retention_ms, "retention_ms", 1)?;
                Ok(StoreKind::Session { retention_ms, closing: false })
            }
            "versioned" => Ok(StoreKind::Versioned { history_ms: needed(self.retention_ms, "retention_ms", 0)? }),
            kind => {
                let (version, known) = (env!("CARGO_PKG_VERSION"), StoreKind::NAMES.join(", "));
                Err(format!("kind `{kind}` needs a newer host; this one ({version}) knows {known}"))
            }
        }
    }
}

/// A field that may be left out, and may not be null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

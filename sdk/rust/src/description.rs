//! What a plugin says of itself: `wit/topology.schema.json`.

use serde::Serialize;

/// The description's version.
pub(crate) const VERSION: u32 = 1;

#[derive(Serialize)]
pub(crate) struct Description {
    pub version: u32,
    /// [`crate::chain`] is there.
    pub chains: bool,
    pub nodes: Vec<Node>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<Store>,
}

#[derive(Default, Serialize)]
pub(crate) struct Node {
    pub name: String,
    pub op: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partitioner: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_timestamp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emit: Option<Emit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppress: Option<Suppress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_windows: Option<Windows>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_value: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fixed_key: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub schedules: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumes: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub punctuations: Vec<Punctuation>,
}

/// A parent by name, or one of its branches.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Input {
    Node(String),
    Branch { node: String, branch: u16 },
}

/// The windows of an aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Window {
    Time { size_ms: i64, advance_ms: i64, grace_ms: i64 },
    Session { gap_ms: i64, grace_ms: i64 },
    Sliding { difference_ms: i64, grace_ms: i64 },
}

/// When the aggregate of a window goes downstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Emit {
    OnWindowClose,
}

/// How long a table's changes are held back.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "until", rename_all = "kebab-case")]
pub(crate) enum Suppress {
    TimeLimit {
        ms: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_records: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        when_full: Option<WhenFull>,
    },
    WindowClose {
        #[serde(skip_serializing_if = "Option::is_none")]
        max_records: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_bytes: Option<u64>,
    },
}

/// What becomes of a buffer that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhenFull {
    ShutDown,
}

/// Which rows without a partner a join has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Join {
    Inner,
    Left,
    Outer,
}

/// How far before and after a record a join of streams looks.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Windows {
    pub before_ms: i64,
    pub after_ms: i64,
    pub grace_ms: i64,
}

#[derive(Clone, Serialize)]
pub(crate) struct Punctuation {
    pub name: String,
    pub time: Time,
    pub every_ms: u64,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Time {
    Stream,
    WallClock,
}

#[derive(Serialize)]
pub(crate) struct Store {
    pub name: String,
    pub kind: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_size_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retain_duplicates: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changelog: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reuse_source_topic: bool,
}

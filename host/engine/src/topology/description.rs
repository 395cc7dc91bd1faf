//! What a guest's `describe` returns: versioned JSON, published as `wit/topology.schema.json`.
//!
//! Operators are names and not variants of a WIT type, so that a newer guest meets an older host with a
//! sentence ("needs a newer host") instead of a type error.

use serde::{Deserialize, Deserializer, Serialize};

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
    /// `process`: its schedules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub punctuations: Vec<Punctuation>,
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
    /// `key-value`; windows, sessions and versions are kinds of a newer host.
    pub kind: String,
    pub key: String,
    pub value: String,
    /// The manifest's `[stores.NAME] provider` wins.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// `false`: no changelog. The manifest must allow it under exactly-once.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub changelog: Option<bool>,
}

/// A field that may be left out, and may not be null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

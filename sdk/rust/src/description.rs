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
    pub key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
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
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changelog: Option<bool>,
}

//! What an application shows of itself. Snapshots: nothing here refers to a thread.

use millstream_engine::topology::{Blueprint, description};
use serde::{Deserialize, Serialize};

use crate::desk::TaskStatus;

/// `GET /v1/apps/{app}/status`
#[derive(Clone, Debug, Serialize)]
pub struct AppStatus {
    pub id: String,
    pub state: AppState,
    /// Why it is in a state that nobody asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub component: ComponentStatus,
    /// What was lost on the way and cannot be had any more, each with its code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// In order of their ids.
    pub tasks: Vec<TaskStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AppState {
    /// No task was assigned yet.
    Created,
    /// At least one task is.
    Restoring,
    Running,
    /// It was told to take no records (`POST …/pause`).
    Paused,
    /// It runs as far as it can: the log does not answer.
    Degraded,
    Stopped,
    Failed,
}

#[derive(Clone, Debug, Serialize)]
pub struct ComponentStatus {
    /// `sha256:…` of the component's bytes.
    pub digest: String,
}

/// `GET /v1/apps/{app}/stores`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoreInfo {
    pub name: String,
    pub kind: String,
    pub provider: String,
    pub codecs: StoreCodecs,
    /// `None`: the store has none.
    pub changelog_topic: Option<String>,
    /// It is the topic that the store's table is read from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuses_source_topic: bool,
    /// Keys in the committed state of the tasks that run here; on the command line, of all tasks that were found.
    pub entries: u64,
    /// Bytes that they take up: on disk, where it is kept there, else of keys and values.
    #[serde(default)]
    pub bytes: u64,
    /// Whose entries these are. None where every process has all of it.
    #[serde(default)]
    pub tasks: Vec<StorePart>,
    /// How many tasks hold a part of it, in all processes; 0: every process has all of it.
    #[serde(default)]
    pub of: usize,
}

/// A task's part of a store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct StorePart {
    pub task: String,
    pub entries: u64,
    pub bytes: u64,
    /// Which process has it, where several were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl StoreInfo {
    /// A store as manifest and component have it together, without entries.
    pub fn of(blueprint: &Blueprint, store: &description::Store) -> StoreInfo {
        StoreInfo {
            name: store.name.clone(),
            kind: store.kind.clone(),
            provider: blueprint.provider(store).to_string(),
            codecs: StoreCodecs { key: store.key.clone(), value: store.value.clone() },
            changelog_topic: blueprint.logged_topic(store),
            reuses_source_topic: blueprint.reuses_source(store),
            entries: 0,
            bytes: 0,
            tasks: Vec::new(),
            of: 0,
        }
    }

    /// With what these tasks hold, and no others.
    pub fn held_by(self, tasks: Vec<StorePart>, of: usize) -> StoreInfo {
        let (entries, bytes) = (tasks.iter().map(|part| part.entries).sum(), tasks.iter().map(|part| part.bytes).sum());
        StoreInfo { entries, bytes, tasks, of, ..self }
    }
}

/// Names of codecs, as the component declared them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoreCodecs {
    pub key: String,
    pub value: String,
}

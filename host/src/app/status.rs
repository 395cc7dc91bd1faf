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
    /// Keys in the committed state of the tasks that run here.
    pub entries: u64,
}

impl StoreInfo {
    /// A store as manifest and component have it together, without entries.
    pub fn of(blueprint: &Blueprint, store: &description::Store) -> StoreInfo {
        StoreInfo {
            name: store.name.clone(),
            kind: store.kind.clone(),
            provider: blueprint.provider(store).to_string(),
            codecs: StoreCodecs { key: store.key.clone(), value: store.value.clone() },
            changelog_topic: blueprint.changelog_topic(store),
            entries: 0,
        }
    }
}

/// Names of codecs, as the component declared them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoreCodecs {
    pub key: String,
    pub value: String,
}

//! How far a thread's tasks are.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_engine::task::TaskId;
use serde::{Serialize, Serializer};

use super::waiting::Full;

/// Everything a thread tells. It replaces its last one as a whole.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub tasks: Vec<TaskStatus>,
    pub counters: Counters,
    /// Why the thread runs only as far as it can: the log cannot be reached, rights are missing, a task waits.
    pub hindered: Option<String>,
    /// Of the task whose stores have held as much as they may for the longest time.
    pub full: Option<Full>,
    /// What was lost on the way and cannot be had any more, the newest last.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TaskStatus {
    #[serde(serialize_with = "as_text")]
    pub id: TaskId,
    pub state: TaskState,
    pub inputs: Vec<InputStatus>,
    pub stores: Vec<StoreStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskState {
    Created,
    Restoring,
    Running,
    Suspended,
    Closed,
}

#[derive(Clone, Debug, Serialize)]
pub struct InputStatus {
    pub topic: String,
    pub partition: i32,
    /// The next record to process, as the group has it; `None` = never committed.
    pub committed: Option<i64>,
    /// The offset behind the last record, as far as the thread has heard.
    pub end: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct StoreStatus {
    pub name: String,
    /// Changelog offsets: everything below `restored` is in the store; it is whole at `restore_end`.
    pub restored: i64,
    pub restore_end: i64,
    /// Keys in the committed state.
    #[serde(skip)]
    pub entries: u64,
    /// Bytes of the committed state: on disk, where it is kept there.
    pub bytes: u64,
    /// What its cache holds back, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheStatus>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct CacheStatus {
    pub entries: usize,
    pub bytes: usize,
    /// Look-ups that it answered since the task was taken.
    pub hits: u64,
}

/// Counted since the thread started; they only grow.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// By topic.
    pub records_consumed: BTreeMap<String, u64>,
    /// By topic, changelogs included.
    pub records_produced: BTreeMap<String, u64>,
    pub commits_committed: u64,
    pub commits_aborted: u64,
    /// How long the thread had records to process and no room for their effects, because a commit had not ended.
    pub commit_waiting: Duration,
    /// By reason.
    pub dropped_records: BTreeMap<String, u64>,
    pub dead_letters: u64,
    /// By kind of fault.
    pub guest_faults: BTreeMap<String, u64>,
    pub restored_records: u64,
    /// Swaps of the component whose trial passed, and those that were put back.
    pub swaps_kept: u64,
    pub swaps_put_back: u64,
}

impl Counters {
    pub fn add(&mut self, other: &Counters) {
        for (into, from) in [
            (&mut self.records_consumed, &other.records_consumed),
            (&mut self.records_produced, &other.records_produced),
            (&mut self.dropped_records, &other.dropped_records),
            (&mut self.guest_faults, &other.guest_faults),
        ] {
            for (label, count) in from {
                *into.entry(label.clone()).or_default() += count;
            }
        }
        self.commits_committed += other.commits_committed;
        self.commits_aborted += other.commits_aborted;
        self.commit_waiting += other.commit_waiting;
        self.dead_letters += other.dead_letters;
        self.restored_records += other.restored_records;
        self.swaps_kept += other.swaps_kept;
        self.swaps_put_back += other.swaps_put_back;
    }
}

pub(super) fn as_text<S: Serializer>(id: &TaskId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

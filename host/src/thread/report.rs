//! What the thread tells of itself, and how it answers queries.

use std::collections::BTreeMap;

use millstream_engine::config::Provider;
use millstream_engine::record::Outgoing;
use millstream_engine::store::{self, CacheSize, StoreSlot};
use millstream_engine::task::TaskId;
use millstream_engine::topology::Plan;

use super::active::{Active, Resting};
use super::restore::Restorer;
use crate::desk::query::{Query, Reply, TaskReply};
use crate::desk::{CacheStatus, Counters, InputStatus, Report, StoreStatus, TaskStatus};

pub(super) fn make(
    plan: &Plan,
    tasks: &BTreeMap<TaskId, Active>,
    restorer: &Restorer,
    counters: &Counters,
    hindered: Option<String>,
    warnings: Vec<String>,
) -> Report {
    let mut counters = counters.clone();
    for active in tasks.values() {
        let dropped = active.task.dropped();
        for (reason, count) in [
            ("null", dropped.null),
            ("guest", dropped.by_guest),
            ("skipped", dropped.skipped),
            ("late", dropped.late),
            ("timestamp", dropped.timestamp),
        ] {
            *counters.dropped_records.entry(reason.to_owned()).or_default() += count;
        }
        for (kind, count) in active.task.faults() {
            *counters.guest_faults.entry(kind.to_string()).or_default() += count;
        }
        counters.dead_letters += active.task.dead_letters();
    }
    let resting = tasks.values().find_map(|active| active.resting.as_ref().map(Resting::why));
    let full = tasks.values().filter_map(Active::full).min_by_key(|full| full.since).cloned();
    let tasks = tasks.iter().map(|(id, active)| status(plan, *id, active, restorer)).collect();
    Report { tasks, counters, hindered: hindered.or(resting), full, warnings }
}

fn status(plan: &Plan, id: TaskId, active: &Active, restorer: &Restorer) -> TaskStatus {
    let committed: BTreeMap<_, _> = active.task.committed_offsets().collect();
    let inputs = active.ends.iter().map(|(input, end)| InputStatus {
        topic: plan.topics[input.topic.0 as usize].name.clone(),
        partition: input.partition,
        committed: committed.get(input).copied(),
        end: *end,
    });
    // Global tables are in no task.
    let is_own = |slot: &StoreSlot| plan.stores[slot.number as usize].global.is_none();
    let own = active.task.stores().slots().enumerate().filter(|(_, slot)| is_own(slot));
    let stores = own.map(|(place, slot)| {
        let (restored, restore_end) = restorer.progress(id, place).unwrap_or((0, 0));
        let (entries, bytes) = active.sizes.get(place).copied().unwrap_or_default();
        let cache = active.task.stores().cache_size(place);
        let cache = cache.map(|CacheSize { entries, bytes, hits }| CacheStatus { entries, bytes, hits });
        StoreStatus { name: slot.name.clone(), restored, restore_end, entries, bytes, cache }
    });
    TaskStatus { id, state: active.shown_state(), inputs: inputs.collect(), stores: stores.collect() }
}

pub(super) fn count_produced(counters: &mut Counters, plan: &Plan, outgoing: &Outgoing) {
    let mut by_topic: BTreeMap<u32, u64> = BTreeMap::new();
    for (to, _) in outgoing.iter() {
        *by_topic.entry(to.topic.0).or_default() += 1;
    }
    for (topic, count) in by_topic {
        *counters.records_produced.entry(plan.topics[topic as usize].name.clone()).or_default() += count;
    }
}

/// Committed state of the thread's tasks that have the store; one that restores, or whose provider does not answer, says
/// so. Beside it the tasks whose state the query has found damaged, and those whose provider did not answer it.
pub(super) fn answer(
    plan: &Plan,
    tasks: &BTreeMap<TaskId, Active>,
    query: &Query,
) -> (Reply, Vec<(TaskId, store::Error)>) {
    let mut failed = Vec::new();
    let Some(number) = plan.stores.iter().position(|store| store.description.name == query.store) else {
        return (Reply(Vec::new()), failed);
    };
    let has_store = |id: &TaskId| plan.stores[number].subtopology == id.subtopology;
    let is_provided = matches!(plan.stores[number].provider, Provider::Component(_));
    let replies = tasks.iter().filter(|(id, _)| has_store(id)).map(|(id, active)| {
        // One that does not answer keeps everybody waiting for as long as a call may take. What is full is none of those.
        let silent = active.resting.as_ref().and_then(|resting| resting.silent.as_ref()).filter(|_| is_provided);
        let page = match (active.is_running(), active.task.stores().place(number as u32), silent) {
            (true, Some(_), Some(why)) => Err(format!("the store does not answer: {why}")),
            (true, Some(place), None) => {
                let (base, slot) = active.task.stores().committed(place);
                query.keys.read(*id, base, slot, plan.stores[number].kind).map_err(|error| {
                    let why = error.to_string();
                    let is_told = match error {
                        store::Error::Corrupted(_) => true,
                        store::Error::Retry(_) => is_provided,
                        store::Error::Refused(_) | store::Error::Full(_) => false,
                    };
                    failed.extend(is_told.then_some((*id, error)));
                    why
                })
            }
            _ => Err("the store restores".to_owned()),
        };
        TaskReply { task: *id, page }
    });
    (Reply(replies.collect()), failed)
}

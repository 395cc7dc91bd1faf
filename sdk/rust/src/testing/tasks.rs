//! The tasks of an application, each on stores in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_engine::config::Manifest;
use millstream_engine::functions::Functions;
use millstream_engine::record::TopicPartition;
use millstream_engine::store::{MemoryBase, SizeLimits, StoreSlot, TaskStores};
use millstream_engine::task::{Settings, Start, Task, TaskId};
use millstream_engine::topology::{Blueprint, Description, Operator, Plan, SubtopologyPlan, TopicFacts};

use super::Error;

/// Topics from outside have one partition.
const PARTITIONS: i32 = 1;

/// Plans an application as its host would, on topics that are all there.
pub(super) fn plan(description: &str, manifest: Manifest) -> Result<Plan, Error> {
    let description: Description = serde_json::from_str(description).map_err(Error::new)?;
    let blueprint = Blueprint::new(manifest, &description).map_err(Error::new)?;
    let internal = internal_topics(&blueprint);
    blueprint
        .plan(&|name| (!internal.contains(name)).then_some(TopicFacts::of_partitions(PARTITIONS)))
        .map_err(Error::new)
}

fn internal_topics(blueprint: &Blueprint) -> BTreeSet<String> {
    let repartitions = blueprint.graph.nodes.iter().filter(|node| node.operator == Operator::Repartition);
    let repartitions = repartitions.filter_map(|node| blueprint.topic_name(node));
    let changelogs = blueprint.graph.stores.iter().filter_map(|store| blueprint.changelog_topic(store));
    let tasks = blueprint.subtopologies.iter().filter_map(|subtopology| blueprint.tasks_topic(subtopology));
    repartitions.chain(changelogs).chain(tasks).collect()
}

/// All tasks of a plan, from the beginning of their inputs, each with an instance of its own.
pub(super) fn open(plan: &Arc<Plan>, start: &dyn Fn() -> Box<dyn Functions>) -> BTreeMap<TaskId, Task> {
    let ids = plan
        .subtopologies
        .iter()
        .flat_map(|subtopology| (0..subtopology.partitions).map(move |partition| (subtopology, partition)));
    ids.map(|(subtopology, partition)| {
        let id = TaskId { subtopology: subtopology.id, partition };
        (id, task(id, plan, subtopology, start()))
    })
    .collect()
}

fn task(id: TaskId, plan: &Arc<Plan>, subtopology: &SubtopologyPlan, functions: Box<dyn Functions>) -> Task {
    let inputs = plan.inputs(subtopology).into_iter().filter(|(_, _, partitions)| id.partition < *partitions);
    let starts: Vec<Start> = inputs
        .map(|(source, topic, _)| {
            let input = TopicPartition { topic, partition: id.partition };
            Start { input, source, offset: 0, metadata: None }
        })
        .collect();
    // Every write is logged, so that what a test sees does not depend on when an interval is cut.
    let settings = Settings { coalesce: false, ..Settings::default() };
    let mut task = Task::new(id, plan.clone(), settings, &starts, 0);
    task.open(stores(plan, subtopology), functions);
    task
}

fn stores(plan: &Plan, subtopology: &SubtopologyPlan) -> TaskStores {
    let slot = |(slot, number): (usize, &usize)| {
        let store = &plan.stores[*number];
        let (name, logged) = (store.description.name.clone(), store.changelog.is_some());
        StoreSlot { number: *number as u32, name, base: 0, slot, logged }
    };
    let slots: Vec<StoreSlot> = subtopology.stores.iter().enumerate().map(slot).collect();
    let base = MemoryBase::new(slots.len());
    TaskStores::new(slots, vec![Box::new(base)], SizeLimits::default())
}

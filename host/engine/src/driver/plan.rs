//! A plan on topics that are all there, and what its tasks begin with.

use std::collections::BTreeSet;

use crate::error::Problem;
use crate::record::TopicPartition;
use crate::store::{Error, MemoryBase, SizeLimits, StoreSlot, TaskStores};
use crate::task::{Globals, Start};
use crate::topology::{Blueprint, Plan, SubtopologyPlan, TopicFacts};

/// Plans an application as its host would, on topics from outside that all have so many partitions.
pub fn plan(blueprint: &Blueprint, partitions: i32) -> Result<Plan, Problem> {
    let internal: BTreeSet<String> = blueprint.internal_topics().collect();
    blueprint.plan(&|name| (!internal.contains(name)).then_some(TopicFacts::of_partitions(partitions)))
}

/// The inputs of a task, from their beginnings.
pub fn starts(plan: &Plan, subtopology: &SubtopologyPlan, partition: i32) -> Vec<Start> {
    let inputs = plan.inputs(subtopology).into_iter().filter(|(_, _, partitions)| partition < *partitions);
    let start =
        |(source, topic, _)| Start { input: TopicPartition { topic, partition }, source, offset: 0, metadata: None };
    inputs.map(start).collect()
}

/// The stores of a subtopology's tasks, all on one base.
pub fn slots(plan: &Plan, subtopology: &SubtopologyPlan) -> Vec<StoreSlot> {
    let slot = |(slot, number): (usize, &usize)| {
        let store = &plan.stores[*number];
        let (name, logged) = (store.description.name.clone(), store.changelog.is_some() && !store.reuses_source);
        StoreSlot { number: *number as u32, name, base: 0, slot, logged, kind: store.kind }
    };
    subtopology.stores.iter().enumerate().map(slot).collect()
}

/// A task's stores in memory, empty.
pub fn memory_stores(plan: &Plan, subtopology: &SubtopologyPlan, limits: SizeLimits) -> TaskStores {
    let slots = slots(plan, subtopology);
    let base = MemoryBase::new(slots.len());
    TaskStores::new(slots, vec![Box::new(base)], limits)
}

/// The global tables in memory, empty.
pub fn memory_globals(plan: &Plan, limits: SizeLimits) -> Result<Globals, Error> {
    Globals::open(plan, limits, &mut |_, names| Ok(Box::new(MemoryBase::new(names.len()))))
}

//! What tasks are opened with: their stores and their user code.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_engine::config::Provider;
use millstream_engine::functions::Functions;
use millstream_engine::operator::Limits;
use millstream_engine::store::{Base, Error, MemoryBase, OFFSETS, SizeLimits, StoreSlot, TaskStores};
use millstream_engine::task::{GlobalViews, Globals, Settings, TaskId};
use millstream_engine::topology::{Plan, StorePlan, SubtopologyPlan};

use super::load::Loaded;
use super::trial::{OnTrial, Trial};
use crate::lmdb::StateDirectory;
use crate::thread::{OpenStores, StartFunctions};
use crate::wasm::{Changelog, Instance, Owner, ProviderBase, ProviderStore};

/// Opens a task's stores: those in LMDB in one environment, those in memory in one map, those of each store provider in
/// one instance of it.
pub fn stores(
    loaded: &Loaded,
    plan: Arc<Plan>,
    directory: Arc<StateDirectory>,
    globals: GlobalViews,
    topic_ids: &BTreeMap<String, String>,
) -> Arc<OpenStores> {
    let manifest = loaded.application.manifest.clone();
    let components = loaded.providers.clone();
    let limits = size_limits(loaded);
    let changelogs: Vec<Option<Changelog>> =
        plan.stores.iter().map(|store| changelog(&plan, store, topic_ids)).collect();
    Arc::new(move |task: TaskId, incarnation: i64| {
        let subtopology = &plan.subtopologies[task.subtopology as usize];
        let of = |provider: &Provider| {
            let stores = subtopology.stores.iter().copied();
            stores.filter(|number| plan.stores[*number].provider == *provider).collect::<Vec<usize>>()
        };
        let name = |number: &usize| plan.stores[*number].description.name.as_str();
        let of_components = components.keys().map(|name| Provider::Component(name.clone()));
        let mut bases: Vec<Box<dyn Base>> = Vec::new();
        let mut slots = Vec::new();
        for provider in [Provider::Lmdb, Provider::Memory].into_iter().chain(of_components) {
            let numbers = of(&provider);
            if numbers.is_empty() {
                continue;
            }
            let base: Box<dyn Base> = match &provider {
                Provider::Lmdb => {
                    let names: Vec<&str> = numbers.iter().map(name).collect();
                    let size = manifest.state_bytes_max(names.iter().copied());
                    Box::new(directory.task(&subtopology.name, task.partition).open(&names, size)?)
                }
                Provider::Memory => Box::new(MemoryBase::new(numbers.len())),
                Provider::Component(component) => {
                    let store = |number: &usize| ProviderStore {
                        id: provided_id(&plan, subtopology, task.partition, *number),
                        kind: plan.stores[*number].kind,
                        changelog: changelogs[*number],
                    };
                    let stores = numbers.iter().map(store).collect();
                    Box::new(ProviderBase::open(components[component].clone(), stores, incarnation.unsigned_abs())?)
                }
            };
            for (slot, number) in numbers.iter().enumerate() {
                let store = &plan.stores[*number];
                slots.push(StoreSlot {
                    number: *number as u32,
                    name: store.description.name.clone(),
                    base: bases.len(),
                    slot,
                    logged: store.changelog.is_some() && !store.reuses_source,
                    kind: store.kind,
                });
            }
            bases.push(base);
        }
        let mut stores = TaskStores::new(slots, bases, limits);
        globals.lend(subtopology, &mut stores);
        Ok::<_, Error>(stores)
    })
}

/// What a task's store is called before its provider.
pub(super) fn provided_id(plan: &Plan, subtopology: &SubtopologyPlan, partition: i32, store: usize) -> String {
    format!("{}/{}-{partition}/{}", plan.application, subtopology.name, plan.stores[store].description.name)
}

/// What a store is restored from, as its provider tells it from others. One that is not restored keeps what it has.
fn changelog(plan: &Plan, store: &StorePlan, topic_ids: &BTreeMap<String, String>) -> Option<Changelog> {
    let topic = &plan.topics[store.changelog.filter(|_| !store.skips_restoration)?.0 as usize];
    Some(Changelog::of(&topic.name, topic_ids.get(&topic.name)?, store.kind))
}

/// Opens the stores of the global tables, one copy for all tasks of the process.
pub fn globals(loaded: &Loaded, plan: &Plan, directory: &StateDirectory) -> Result<Globals, Error> {
    let manifest = &loaded.application.manifest;
    Globals::open(plan, size_limits(loaded), &mut |provider, names| match provider {
        Provider::Lmdb => {
            let size = manifest.state_bytes_max(names.iter().copied().filter(|name| !name.starts_with(OFFSETS)));
            Ok(Box::new(directory.globals().open(names, size)?))
        }
        // No component keeps one: the blueprint has refused it.
        Provider::Memory | Provider::Component(_) => Ok(Box::new(MemoryBase::new(names.len()))),
    })
}

/// How large keys and values may be.
pub fn size_limits(loaded: &Loaded) -> SizeLimits {
    let limits = &loaded.application.manifest.limits;
    SizeLimits {
        key_bytes: usize::try_from(limits.key_bytes.0).unwrap_or(usize::MAX),
        value_bytes: usize::try_from(limits.value_bytes.0).unwrap_or(usize::MAX),
    }
}

/// How the application's tasks run.
pub fn settings(loaded: &Loaded) -> Settings {
    let manifest = &loaded.application.manifest;
    let limits = &manifest.limits;
    Settings {
        coalesce: manifest.changelog.coalesce,
        component: Some(loaded.component.digest_bytes()),
        limits: Limits {
            outputs: limits.outputs.get(),
            output_bytes: usize::try_from(limits.output_bytes.0).unwrap_or(usize::MAX),
        },
        ..Settings::default()
    }
}

/// Starts an instance of the component for each task.
pub fn functions(loaded: &Loaded, trial: Option<&Trial>) -> Arc<StartFunctions> {
    let instances = instances(loaded);
    let Some(trial) = trial.cloned() else { return instances };
    let nodes: Arc<[String]> = loaded.description.nodes.iter().map(|node| node.name.clone()).collect();
    Arc::new(move |task: TaskId| {
        let (functions, trial, nodes) = (instances(task), trial.clone(), nodes.clone());
        Box::new(OnTrial { functions, trial, nodes }) as Box<dyn Functions>
    })
}

/// Instances of the component, or the native code that stands in for it.
fn instances(loaded: &Loaded) -> Arc<StartFunctions> {
    if let Some(native) = &loaded.native {
        return native.clone();
    }
    let (component, config) = (loaded.component.clone(), loaded.config.clone());
    let description = loaded.description.clone();
    let application: Arc<str> = loaded.application.manifest.id.as_str().into();
    Arc::new(move |task: TaskId| {
        let owner = Owner { application: application.clone(), task: Some(task) };
        Box::new(Instance::new(component.clone(), config.clone(), description.clone(), owner)) as Box<dyn Functions>
    })
}

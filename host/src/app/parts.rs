//! What tasks are opened with: their stores and their user code.

use std::sync::Arc;

use millstream_engine::config::Provider;
use millstream_engine::functions::Functions;
use millstream_engine::store::{Base, Error, MemoryBase, SizeLimits, StoreSlot, TaskStores};
use millstream_engine::task::TaskId;
use millstream_engine::topology::Plan;

use super::load::Loaded;
use super::trial::{OnTrial, Trial};
use crate::lmdb::StateDirectory;
use crate::thread::{OpenStores, StartFunctions};
use crate::wasm::{Instance, Owner};

/// Opens a task's stores: those in LMDB in one environment, those in memory in one map.
pub fn stores(loaded: &Loaded, plan: Arc<Plan>, directory: Arc<StateDirectory>) -> Arc<OpenStores> {
    let manifest = loaded.application.manifest.clone();
    let limits = SizeLimits {
        key_bytes: usize::try_from(manifest.limits.key_bytes.0).unwrap_or(usize::MAX),
        value_bytes: usize::try_from(manifest.limits.value_bytes.0).unwrap_or(usize::MAX),
    };
    Arc::new(move |task: TaskId| {
        let subtopology = &plan.subtopologies[task.subtopology as usize];
        let of = |provider: Provider| {
            let stores = subtopology.stores.iter().copied();
            stores.filter(|number| plan.stores[*number].provider == provider).collect::<Vec<usize>>()
        };
        let name = |number: &usize| plan.stores[*number].description.name.as_str();
        let (in_lmdb, in_memory) = (of(Provider::Lmdb), of(Provider::Memory));
        let mut bases: Vec<Box<dyn Base>> = Vec::new();
        let mut slots = Vec::new();
        for (numbers, on_disk) in [(in_lmdb, true), (in_memory, false)] {
            if numbers.is_empty() {
                continue;
            }
            let base: Box<dyn Base> = match on_disk {
                true => {
                    let names: Vec<&str> = numbers.iter().map(name).collect();
                    let size = manifest.state_bytes_max(names.iter().copied());
                    Box::new(directory.task(&subtopology.name, task.partition).open(&names, size)?)
                }
                false => Box::new(MemoryBase::new(numbers.len())),
            };
            for (slot, number) in numbers.iter().enumerate() {
                let store = &plan.stores[*number];
                slots.push(StoreSlot {
                    number: *number as u32,
                    name: store.description.name.clone(),
                    base: bases.len(),
                    slot,
                    logged: store.changelog.is_some(),
                });
            }
            bases.push(base);
        }
        Ok::<_, Error>(TaskStores::new(slots, bases, limits))
    })
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

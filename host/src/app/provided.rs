//! Stores that components keep, of an application that does not run: which there are, and how they are emptied.

use millstream_engine::config::Provider;
use millstream_engine::error::{Problem, exit};
use millstream_engine::store::{Base, Error, StoreKind};
use millstream_engine::topology::{Blueprint, Plan, SubtopologyPlan};
use serde::Serialize;

use super::load::Loaded;
use super::parts;
use super::plan;
use crate::log::Log;
use crate::wasm::{ProviderBase, ProviderStore};

/// A store and the provider that keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provided {
    pub store: String,
    pub provider: String,
}

/// All of an application.
pub fn of(blueprint: &Blueprint) -> Vec<Provided> {
    let provided = blueprint.graph.stores.iter().filter_map(|store| match blueprint.provider(store) {
        Provider::Component(provider) => Some(Provided { store: store.name.clone(), provider }),
        Provider::Memory | Provider::Lmdb => None,
    });
    provided.collect()
}

/// Empties them in every task that the application would have now. `epoch`: as a task's that is taken now, so that nobody
/// who had them before goes on. To be called again where it fails.
pub fn empty(log: &dyn Log, loaded: &Loaded, epoch: u64) -> Result<(), Problem> {
    if of(&loaded.blueprint).is_empty() {
        return Ok(());
    }
    let plan = plan::plan(log, &loaded.blueprint)?;
    for subtopology in &plan.subtopologies {
        for (name, provider) in loaded.providers.iter() {
            let stores = stores(&plan, subtopology, name);
            if stores.is_empty() {
                continue;
            }
            for partition in 0..subtopology.partitions {
                let id = |number: &usize| ProviderStore {
                    id: parts::provided_id(&plan, subtopology, partition, *number),
                    kind: plan.stores[*number].kind,
                    changelog: None,
                };
                let opened = ProviderBase::open(provider.clone(), stores.iter().map(id).collect(), epoch);
                let emptied = opened.and_then(|mut base| base.wipe().and_then(|()| base.close()));
                emptied.map_err(|error| not_emptied(&plan, partition, name, error))?;
            }
        }
    }
    Ok(())
}

/// Whether what a provider keeps outlives the process. It is asked by an empty store of no task, `APP/doctor`, of which a
/// provider may keep its owner's mark.
pub fn is_persistent(loaded: &Loaded, provider: &str) -> Result<bool, Error> {
    let Some(provider) = loaded.providers.get(provider) else {
        return Err(Error::Retry(format!("there is no provider {provider}")));
    };
    let id = format!("{}/doctor", loaded.blueprint.manifest.id);
    let store = ProviderStore { id, kind: StoreKind::KeyValue, changelog: None };
    let mut base = ProviderBase::open(provider.clone(), vec![store], 0)?;
    let is_persistent = base.is_persistent();
    base.wipe()?;
    base.close()?;
    Ok(is_persistent)
}

/// The numbers of the stores of a subtopology that a provider keeps.
fn stores(plan: &Plan, subtopology: &SubtopologyPlan, provider: &str) -> Vec<usize> {
    let is_its =
        |number: &usize| matches!(&plan.stores[*number].provider, Provider::Component(name) if name == provider);
    subtopology.stores.iter().copied().filter(is_its).collect()
}

fn not_emptied(plan: &Plan, partition: i32, provider: &str, error: Error) -> Problem {
    let why = match error {
        Error::Refused(problem) | Error::Full(problem) => return *problem,
        Error::Retry(why) | Error::Corrupted(why) => why,
    };
    let message = format!("stores of {} in provider {provider} are not emptied: {why}", plan.application);
    Problem::new("StateUnusable", "E0802", exit::FAILED, message)
        .field("application", plan.application.as_str())
        .field("provider", provider)
        .field("partition", partition)
        .why("what it keeps would be gone on from, as if nothing had been reset")
        .fix("see that the provider reaches what it keeps them in, and reset again; until then nothing starts here")
}

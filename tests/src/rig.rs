//! The engine's driver for the suites: on stores of both kinds, with topics, tasks and stores by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use millstream::lmdb::TaskDirectory;
use millstream::wasm::{Provider, ProviderBase, ProviderStore};
use millstream_engine::config::{ByteSize, Manifest, bad_manifest};
use millstream_engine::driver::{self, Driver, Parts};
use millstream_engine::functions::Functions;
use millstream_engine::operator::Dropped;
use millstream_engine::record::{Record, TopicId, TopicPartition};
use millstream_engine::store::{self, Base, KeyRange, MemoryBase, SizeLimits, StoreSlot, TaskStores};
use millstream_engine::task::{Failure, Globals, Settings, Task, TaskId};
use millstream_engine::topology::{Blueprint, Description, Plan, SubtopologyPlan};

use crate::logs::{Owned, owned, unique};
use crate::providers;
use crate::redis::{self, Redis};

/// What each task's LMDB may take: far more than any case writes.
const STATE_BYTES_MAX: ByteSize = ByteSize::mib(16);

/// What keeps the committed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Memory,
    Lmdb,
    /// In `plugins/map-store`.
    Provider,
    /// In `plugins/redis-store`, on a server that all rigs of this process share.
    Redis,
}

pub const KEPT: [Kept; 3] = [Kept::Memory, Kept::Lmdb, Kept::Provider];

/// What an application is opened with.
pub struct Setup<'a> {
    /// TOML, as in `app.toml`.
    pub manifest: &'a str,
    pub description: &'a Description,
    /// Of every topic from outside.
    pub partitions: i32,
    pub settings: Settings,
    pub kept: Kept,
    /// An instance of the user code, for each task one.
    pub functions: &'a dyn Fn() -> Box<dyn Functions>,
}

pub struct Rig {
    driver: Driver,
    _state: Option<tempfile::TempDir>,
    _redis: Option<Arc<Redis>>,
}

impl Rig {
    pub fn open(setup: &Setup<'_>) -> Result<Rig> {
        let state = (setup.kept == Kept::Lmdb).then(tempfile::tempdir).transpose()?;
        let dir = state.as_ref().map(|dir| dir.path());
        let redis = (setup.kept == Kept::Redis).then(redis::shared);
        let provider = match (&redis, setup.kept) {
            (Some(redis), _) => Some(redis.plain_provider()),
            (None, Kept::Provider) => Some(providers::map_store()?),
            (None, _) => None,
        };
        let id = unique("rig");
        let place = || match &provider {
            Some(provider) => Place::Provider(provider.clone(), &id),
            None => dir.map_or(Place::Memory, Place::Lmdb),
        };
        let parts = Parts {
            settings: setup.settings,
            stores: &|plan, subtopology, partition| stores(plan, subtopology, partition, place()),
            globals: &|plan| globals(plan, dir),
            functions: &|_| (setup.functions)(),
        };
        let driver = Driver::open(Arc::new(plan(setup)?), &parts)?;
        Ok(Rig { driver, _state: state, _redis: redis })
    }

    pub fn plan(&self) -> &Plan {
        self.driver.plan()
    }

    pub fn task(&mut self, subtopology: u32, partition: i32) -> &mut Task {
        self.driver.task_mut(TaskId { subtopology, partition }).expect("the test names a task of its topology")
    }

    /// Puts a record at the end of a topic's partition.
    pub fn append(&mut self, topic: &str, partition: i32, record: Record<'_>) {
        let to = TopicPartition { topic: self.topic_id(topic), partition };
        self.driver.append(to, record);
    }

    // === what a thread does: see the driver ===

    pub fn deliver(&mut self) {
        self.driver.deliver().expect("a global table takes its records");
    }

    pub fn run(&mut self) -> Result<(), Failure> {
        self.driver.run()
    }

    pub fn cut(&mut self) -> Result<bool> {
        Ok(self.driver.cut()?)
    }

    pub fn settle(&mut self) -> Result<()> {
        Ok(self.driver.settle()?)
    }

    /// With a commit behind every record.
    pub fn settle_each(&mut self) -> Result<()> {
        Ok(self.driver.settle_each()?)
    }

    pub fn advance(&mut self, ms: i64) -> Result<(), Failure> {
        self.driver.advance(ms)
    }

    pub fn abort(&mut self) {
        self.driver.abort();
    }

    // === what came of it ===

    /// Everything that was written to a topic's partition.
    pub fn topic(&self, topic: &str, partition: i32) -> Vec<Owned> {
        let at = TopicPartition { topic: self.topic_id(topic), partition };
        self.driver.records(at).map(owned).unwrap_or_default()
    }

    /// Names of the topics something was written to, in their order.
    pub fn written(&self) -> BTreeSet<&str> {
        self.driver.written().map(|at| self.driver.plan().topics[at.topic.0 as usize].name.as_str()).collect()
    }

    /// A store's entries with their timestamps, over all tasks: what they would read now.
    pub fn store(&self, name: &str) -> Result<BTreeMap<Vec<u8>, (i64, Vec<u8>)>> {
        let stores = &self.plan().stores;
        let number = stores.iter().position(|store| store.description.name == name).context("no such store")?;
        let mut entries = BTreeMap::new();
        for (_, stores) in self.driver.holders(number as u32) {
            let Some(place) = stores.place(number as u32) else { continue };
            stores.scan(place, KeyRange::default(), false, &mut |key, timestamp, value| {
                entries.insert(key.to_vec(), (timestamp, value.to_vec()));
                ControlFlow::Continue(())
            })?;
        }
        Ok(entries)
    }

    pub fn dropped(&self) -> Dropped {
        self.driver.dropped()
    }

    pub fn dead_letters(&self) -> u64 {
        self.driver.tasks().map(Task::dead_letters).sum()
    }

    /// The next record to process of each input, and the time beside it.
    pub fn offsets(&self) -> BTreeMap<String, i64> {
        let name = |at: TopicPartition| format!("{}-{}", self.plan().topics[at.topic.0 as usize].name, at.partition);
        self.driver.tasks().flat_map(Task::offsets).map(|(at, offset)| (name(at), offset)).collect()
    }

    fn topic_id(&self, name: &str) -> TopicId {
        self.driver.topic(name).unwrap_or_else(|| panic!("no topic `{name}` in the plan"))
    }
}

/// Plans an application on topics that are all there.
pub fn plan(setup: &Setup<'_>) -> Result<Plan> {
    let manifest = Manifest::parse(setup.manifest, "app.toml").map_err(|errors| anyhow!(bad_manifest(&errors)))?;
    let blueprint = Blueprint::new(manifest, setup.description)?;
    Ok(driver::plan(&blueprint, setup.partitions)?)
}

/// Where a task's stores are.
pub enum Place<'a> {
    Memory,
    Lmdb(&'a Path),
    /// With what begins the ids of its stores.
    Provider(Provider, &'a str),
}

/// The global tables, on one base: a provider keeps none.
fn globals(plan: &Plan, state: Option<&Path>) -> Result<Globals, store::Error> {
    Globals::open(plan, SizeLimits::default(), &mut |_, names| match state {
        None => Ok(Box::new(MemoryBase::new(names.len()))),
        Some(dir) => Ok(Box::new(TaskDirectory::of_globals(dir).open(names, STATE_BYTES_MAX)?)),
    })
}

/// The stores of a task, on one base.
pub fn stores(
    plan: &Plan,
    subtopology: &SubtopologyPlan,
    partition: i32,
    place: Place<'_>,
) -> Result<TaskStores, store::Error> {
    let slots = driver::slots(plan, subtopology);
    let names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    let base: Box<dyn Base> = match place {
        Place::Memory => Box::new(MemoryBase::new(slots.len())),
        Place::Lmdb(dir) => {
            Box::new(TaskDirectory::of(dir, &subtopology.name, partition).open(&names, STATE_BYTES_MAX)?)
        }
        Place::Provider(provider, rig) => {
            let id = |name: &str| format!("{rig}/{}-{partition}/{name}", subtopology.name);
            let store = |slot: &StoreSlot| ProviderStore { id: id(&slot.name), kind: slot.kind, changelog: None };
            Box::new(ProviderBase::open(provider, slots.iter().map(store).collect(), 1)?)
        }
    };
    Ok(TaskStores::new(slots, vec![base], SizeLimits::default()))
}

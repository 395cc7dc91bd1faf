//! An application on the engine alone: its tasks over topics in memory. It does what a stream thread and a log do,
//! in one thread and without either, so that a test decides when a task steps, cuts, commits and aborts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use millstream::lmdb::TaskDirectory;
use millstream_engine::config::{ByteSize, Manifest, bad_manifest};
use millstream_engine::functions::Functions;
use millstream_engine::operator::Dropped;
use millstream_engine::record::{Headers, Outgoing, Record, Records, TopicId, TopicPartition, push_header};
use millstream_engine::store::{Base, KeyRange, MemoryBase, SizeLimits, StoreSlot, TaskStores};
use millstream_engine::task::{Cut, Failure, Inputs, Metadata, Settings, Start, Step, Task, TaskId};
use millstream_engine::topology::{Blueprint, Description, Operator, Plan, SubtopologyPlan, TopicFacts};

use crate::logs::Owned;

/// What each task's LMDB may take: far more than any case writes.
const STATE_BYTES_MAX: ByteSize = ByteSize::mib(16);

/// What keeps the committed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Memory,
    Lmdb,
}

pub const KEPT: [Kept; 2] = [Kept::Memory, Kept::Lmdb];

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
    plan: Arc<Plan>,
    tasks: BTreeMap<TaskId, Task>,
    topics: BTreeMap<TopicPartition, Vec<Owned>>,
    /// How many records of an input its task was given.
    delivered: BTreeMap<TopicPartition, usize>,
    sequence: i64,
    /// The clock on the wall, in ms. Moved by [`Rig::advance`] and by the waits between retries.
    pub now: i64,
    _state: Option<tempfile::TempDir>,
}

impl Rig {
    pub fn open(setup: &Setup<'_>) -> Result<Rig> {
        let plan = Arc::new(plan(setup)?);
        let state = (setup.kept == Kept::Lmdb).then(tempfile::tempdir).transpose()?;
        let mut tasks = BTreeMap::new();
        for subtopology in &plan.subtopologies {
            for partition in 0..subtopology.partitions {
                let id = TaskId { subtopology: subtopology.id, partition };
                let mut task = Task::new(id, plan.clone(), setup.settings, &starts(&plan, subtopology, partition), 0);
                let stores = stores(&plan, subtopology, partition, state.as_ref().map(|dir| dir.path()))?;
                task.open(stores, (setup.functions)());
                tasks.insert(id, task);
            }
        }
        let (topics, delivered) = (BTreeMap::new(), BTreeMap::new());
        let mut rig = Rig { plan, tasks, topics, delivered, sequence: 0, now: 0, _state: state };
        rig.advance(0)?; // wall-clock punctuations count from here
        Ok(rig)
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn task(&mut self, subtopology: u32, partition: i32) -> &mut Task {
        self.tasks.get_mut(&TaskId { subtopology, partition }).expect("the test names a task of its topology")
    }

    // === records in ===

    /// Puts a record at the end of a topic's partition.
    pub fn append(&mut self, topic: &str, partition: i32, record: Record<'_>) {
        let to = TopicPartition { topic: self.topic_id(topic), partition };
        self.write(to, record);
    }

    fn write(&mut self, to: TopicPartition, record: Record<'_>) -> i64 {
        let written = self.topics.entry(to).or_default();
        let offset = written.len() as i64;
        written.push(Owned {
            offset,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|(n, v)| (n.to_owned(), v.map(<[u8]>::to_vec))).collect(),
            timestamp: record.timestamp,
        });
        offset
    }

    /// Gives the tasks what was written to their inputs since they were given something last, and says that nothing
    /// more is there.
    pub fn deliver(&mut self) {
        for task in self.tasks.values_mut() {
            let inputs: Vec<TopicPartition> = task.inputs().collect();
            for input in &inputs {
                let written = self.topics.get(input).map_or(&[][..], Vec::as_slice);
                let delivered = self.delivered.entry(*input).or_insert(0);
                let mut records = Records::default();
                written[*delivered..].iter().for_each(|record| push(&mut records, record));
                *delivered = written.len();
                task.add(*input, records);
            }
            for input in inputs {
                task.set_end(input, self.delivered[&input] as i64);
            }
        }
    }

    // === what a thread does ===

    /// Delivers, and steps all tasks until they have nothing to do. Retries wait as long as they must.
    pub fn run(&mut self) -> Result<(), Failure> {
        self.deliver();
        for task in self.tasks.values_mut() {
            loop {
                match task.step(self.now, usize::MAX)? {
                    Step::Ran => {}
                    Step::Wait(until) => self.now = self.now.max(until),
                    Step::Idle | Step::Full => break,
                }
            }
        }
        Ok(())
    }

    /// Seals all touched tasks, writes what they say into the topics and commits; `false`: there was nothing.
    pub fn cut(&mut self) -> Result<bool> {
        let mut cut = Cut::default();
        self.sequence += 1;
        for task in self.tasks.values_mut().filter(|task| task.is_touched()) {
            task.seal(self.sequence, Inputs::Moved, &mut cut);
        }
        if cut.is_empty() {
            return Ok(false);
        }
        self.log(&cut.outgoing);
        let positions = self.log(&cut.changelog);
        for task in self.tasks.values_mut() {
            task.on_committed();
            task.apply_committed(&positions)?;
        }
        Ok(true)
    }

    fn log(&mut self, outgoing: &Outgoing) -> BTreeMap<TopicPartition, i64> {
        let written = outgoing.iter().map(|(to, record)| (to, self.write(to, record)));
        written.collect()
    }

    /// Runs and cuts until nothing is left to do.
    pub fn settle(&mut self) -> Result<()> {
        loop {
            self.run()?;
            if !self.cut()? {
                return Ok(());
            }
        }
    }

    /// Moves the clock on the wall and fires what is due, without a cut.
    pub fn advance(&mut self, ms: i64) -> Result<(), Failure> {
        self.now += ms;
        for task in self.tasks.values_mut() {
            while task.punctuate_wall_clock(self.now)? == Step::Ran {}
        }
        Ok(())
    }

    /// Drops what is not committed; the inputs are delivered again from the committed offsets on.
    pub fn abort(&mut self) {
        for task in self.tasks.values_mut() {
            task.abort();
            self.delivered.extend(task.committed_offsets().map(|(input, offset)| (input, offset as usize)));
        }
    }

    // === what came of it ===

    /// Everything that was written to a topic's partition.
    pub fn topic(&self, topic: &str, partition: i32) -> &[Owned] {
        let at = TopicPartition { topic: self.topic_id(topic), partition };
        self.topics.get(&at).map_or(&[], Vec::as_slice)
    }

    /// Names of the topics something was written to, in their order.
    pub fn written(&self) -> BTreeSet<&str> {
        self.topics.keys().map(|at| self.plan.topics[at.topic.0 as usize].name.as_str()).collect()
    }

    /// A store's entries with their timestamps, over all tasks: what they would read now.
    pub fn store(&self, name: &str) -> Result<BTreeMap<Vec<u8>, (i64, Vec<u8>)>> {
        let number =
            self.plan.stores.iter().position(|store| store.description.name == name).context("no such store")?;
        let mut entries = BTreeMap::new();
        for task in self.tasks.values() {
            let Some(place) = task.stores().place(number as u32) else { continue };
            task.stores().scan(place, KeyRange::default(), false, &mut |key, timestamp, value| {
                entries.insert(key.to_vec(), (timestamp, value.to_vec()));
                ControlFlow::Continue(())
            })?;
        }
        Ok(entries)
    }

    pub fn dropped(&self) -> Dropped {
        let mut sum = Dropped::default();
        for dropped in self.tasks.values().map(Task::dropped) {
            sum.null += dropped.null;
            sum.by_guest += dropped.by_guest;
            sum.skipped += dropped.skipped;
        }
        sum
    }

    pub fn dead_letters(&self) -> u64 {
        self.tasks.values().map(Task::dead_letters).sum()
    }

    /// The next record to process of each input, and the time beside it.
    pub fn offsets(&self) -> BTreeMap<String, i64> {
        let name = |at: TopicPartition| format!("{}-{}", self.plan.topics[at.topic.0 as usize].name, at.partition);
        self.tasks.values().flat_map(Task::offsets).map(|(at, offset)| (name(at), offset)).collect()
    }

    fn topic_id(&self, name: &str) -> TopicId {
        let place = self.plan.topics.iter().position(|topic| topic.name == name);
        TopicId(place.unwrap_or_else(|| panic!("no topic `{name}` in the plan")) as u32)
    }
}

fn push(records: &mut Records, record: &Owned) {
    let mut headers = Vec::new();
    record.headers.iter().for_each(|(name, value)| push_header(&mut headers, name, value.as_deref()));
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    records.push(record.offset, Record { key, value, headers: Headers(&headers), timestamp: record.timestamp });
}

/// Plans an application on topics that are all there.
pub fn plan(setup: &Setup<'_>) -> Result<Plan> {
    let manifest = Manifest::parse(setup.manifest, "app.toml").map_err(|errors| anyhow!(bad_manifest(&errors)))?;
    let blueprint = Blueprint::new(manifest, setup.description)?;
    let internal = internal_topics(&blueprint);
    Ok(blueprint.plan(&|name| (!internal.contains(name)).then_some(TopicFacts::of_partitions(setup.partitions)))?)
}

fn internal_topics(blueprint: &Blueprint) -> BTreeSet<String> {
    let repartitions = blueprint.graph.nodes.iter().filter(|node| node.operator == Operator::Repartition);
    let repartitions = repartitions.filter_map(|node| blueprint.topic_name(node));
    let changelogs = blueprint.graph.stores.iter().filter_map(|store| blueprint.changelog_topic(store));
    let tasks = blueprint.subtopologies.iter().filter_map(|subtopology| blueprint.tasks_topic(subtopology));
    repartitions.chain(changelogs).chain(tasks).collect()
}

/// The inputs of a task, from their beginnings.
pub fn starts(plan: &Plan, subtopology: &SubtopologyPlan, partition: i32) -> Vec<Start> {
    let inputs = plan.inputs(subtopology).into_iter().filter(|(_, _, partitions)| partition < *partitions);
    let start = |(source, topic, _)| Start {
        input: TopicPartition { topic, partition },
        source,
        offset: 0,
        metadata: None::<Metadata>,
    };
    inputs.map(start).collect()
}

/// The stores of a task, on one base.
pub fn stores(plan: &Plan, subtopology: &SubtopologyPlan, partition: i32, state: Option<&Path>) -> Result<TaskStores> {
    let slot = |(slot, number): (usize, &usize)| {
        let store = &plan.stores[*number];
        let (name, logged) = (store.description.name.clone(), store.changelog.is_some());
        StoreSlot { number: *number as u32, name, base: 0, slot, logged }
    };
    let slots: Vec<StoreSlot> = subtopology.stores.iter().enumerate().map(slot).collect();
    let names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    let base: Box<dyn Base> = match state {
        None => Box::new(MemoryBase::new(slots.len())),
        Some(dir) => Box::new(TaskDirectory::of(dir, &subtopology.name, partition).open(&names, STATE_BYTES_MAX)?),
    };
    Ok(TaskStores::new(slots, vec![base], SizeLimits::default()))
}

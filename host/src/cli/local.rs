//! The stores of an application that does not run here: its task directories, and the changelogs of what it keeps in
//! memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millstream_engine::config::Provider;
use millstream_engine::error::{Problem, exit};
use millstream_engine::record::Records;
use millstream_engine::store::{Base, Changes, Error, MemoryBase, StoreChanges, with_timestamp};
use millstream_engine::task::TaskId;
use millstream_engine::topology::{Blueprint, Plan, description};

use super::Result;
use super::output::say;
use crate::app::plan;
use crate::app::status::StoreInfo;
use crate::desk::Page;
use crate::desk::query::{Keys, merge};
use crate::lmdb::{ReadOnlyBase, StateDirectory, TaskDirectory, task_directories};
use crate::log::{self, Fetched, Isolation, Log};

const POLL: Duration = Duration::from_millis(100);

pub struct Local {
    blueprint: Blueprint,
    /// The application's own state directory.
    directory: PathBuf,
    log: Arc<dyn Log>,
    /// `None`: the log cannot be asked, so only what is on disk is known.
    plan: Option<Plan>,
    /// What was opened or read: an environment is opened once in a process, and a scan asks page after page.
    on_disk: RefCell<BTreeMap<PathBuf, Rc<ReadOnlyBase>>>,
    in_memory: RefCell<BTreeMap<(usize, i32), Rc<MemoryBase>>>,
}

impl Local {
    pub fn new(blueprint: Blueprint, state_dir: &Path, log: Arc<dyn Log>) -> Local {
        let directory = StateDirectory::path_of(state_dir, &blueprint.manifest.id);
        let plan = plan::plan(&*log, &blueprint);
        if let Err(problem) = &plan {
            say(format_args!("only what is on disk is read: {problem}"));
        }
        let (on_disk, in_memory) = Default::default();
        Local { blueprint, directory, log, plan: plan.ok(), on_disk, in_memory }
    }

    /// What nobody keeps has no entries.
    pub fn stores(&self) -> Result<Vec<StoreInfo>> {
        let info = |(number, store): (usize, &description::Store)| {
            let mut info = StoreInfo::of(&self.blueprint, store);
            for task in self.tasks(number)? {
                if let Some((base, slot)) = self.find(task, number)? {
                    info.entries += base.entries(slot).map_err(unreadable)?;
                }
            }
            Ok(info)
        };
        self.blueprint.graph.stores.iter().enumerate().map(info).collect()
    }

    pub fn read(&self, store: &str, keys: &Keys) -> Result<Page> {
        let stores = &self.blueprint.graph.stores;
        let Some(number) = stores.iter().position(|known| known.name == store) else { return Ok(Page::default()) };
        let mut pages = Vec::new();
        for task in self.tasks(number)? {
            pages.push(self.read_task(task, number, keys)?);
        }
        let (reverse, limit) = match keys {
            Keys::One(_) => (false, 1),
            Keys::Range(range) => (range.reverse, range.limit),
        };
        Ok(merge(pages, reverse, limit))
    }

    fn read_task(&self, task: TaskId, number: usize, keys: &Keys) -> Result<Page> {
        let found = self.find(task, number)?;
        let (base, slot) = found.ok_or_else(|| not_kept(&self.blueprint.graph.stores[number]))?;
        Ok(keys.read(task, &*base, slot).map_err(unreadable)?)
    }

    /// A task's part of a store: on disk, else in its changelog. `None`: nothing keeps it.
    fn find(&self, task: TaskId, number: usize) -> Result<Option<(Rc<dyn Base>, usize)>> {
        let store = &self.blueprint.graph.stores[number];
        if self.blueprint.provider(store) == Provider::Lmdb
            && let Some(base) = self.open_on_disk(task)?
            && let Some(slot) = base.store(&store.name)
        {
            return Ok(Some((base, slot)));
        }
        let Some(topic) = self.blueprint.changelog_topic(store) else { return Ok(None) };
        Ok(Some((self.read_changelog(number, &topic, task.partition)?, 0)))
    }

    /// The tasks that hold a store: all of the plan's, or those that left something on disk.
    fn tasks(&self, number: usize) -> Result<Vec<TaskId>> {
        let subtopology = self.blueprint.subtopologies.iter().position(|one| one.stores.contains(&number)).unwrap_or(0);
        let task = |partition| TaskId { subtopology: subtopology as u32, partition };
        if let Some(plan) = &self.plan {
            return Ok((0..plan.subtopologies[subtopology].partitions).map(task).collect());
        }
        let found = match task_directories(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            found => found.map_err(|error| unreadable(Error::Retry(error.to_string())))?,
        };
        let partition = |path: &PathBuf| path.to_str()?.rsplit_once('-')?.1.parse().ok();
        let tasks =
            found.iter().filter_map(partition).map(task).filter(|task| found.contains(&self.directory_of(*task)));
        Ok(tasks.collect())
    }

    fn directory_of(&self, task: TaskId) -> PathBuf {
        let subtopology = &self.blueprint.subtopologies[task.subtopology as usize];
        let name = subtopology.sources.first().map_or("", |first| &self.blueprint.graph.nodes[*first].name);
        TaskDirectory::of(&self.directory, name, task.partition).path().to_owned()
    }

    fn open_on_disk(&self, task: TaskId) -> Result<Option<Rc<ReadOnlyBase>>> {
        let path = self.directory_of(task);
        if !path.join("data.mdb").exists() {
            return Ok(None);
        }
        let mut open = self.on_disk.borrow_mut();
        if !open.contains_key(&path) {
            open.insert(path.clone(), Rc::new(ReadOnlyBase::open(&path).map_err(unreadable)?));
        }
        Ok(open.get(&path).cloned())
    }

    /// A part of a store that is not on disk, as a restore would make it.
    fn read_changelog(&self, number: usize, topic: &str, partition: i32) -> Result<Rc<MemoryBase>> {
        let mut read = self.in_memory.borrow_mut();
        if let Some(base) = read.get(&(number, partition)) {
            return Ok(base.clone());
        }
        let base = Rc::new(fold(&*self.log, topic, partition)?);
        read.insert((number, partition), base.clone());
        Ok(base)
    }
}

/// Reads a changelog's partition to the end it has now. One that does not exist has no entries.
fn fold(log: &dyn Log, topic: &str, partition: i32) -> Result<MemoryBase> {
    let mut base = MemoryBase::new(1);
    let exists = log.describe(&[topic])?.into_iter().flatten().any(|topic| partition < topic.partitions);
    if !exists {
        return Ok(base);
    }
    let log::Offsets { begin, end } = log.offsets(topic, partition)?;
    let mut reader = log.reader(Isolation::Committed)?;
    reader.assign(&[(topic.to_owned(), partition, begin)])?;
    let (mut position, mut fetched) = (begin, Vec::new());
    while position < end {
        reader.poll(POLL, &mut fetched)?;
        for part in fetched.drain(..) {
            match part {
                Fetched::Records { records, .. } => apply(&mut base, &records).map_err(unreadable)?,
                Fetched::End { offset, .. } => position = offset,
            }
        }
    }
    Ok(base)
}

fn apply(base: &mut MemoryBase, records: &Records) -> std::result::Result<(), Error> {
    let mut changes = Changes::new();
    for (_, record) in records.iter() {
        if let Some(key) = record.key {
            changes.insert(key, record.value.map(|value| with_timestamp(record.timestamp, value)));
        }
    }
    base.apply(&[StoreChanges { store: 0, changes: &changes, position: None }])
}

fn unreadable(error: Error) -> Problem {
    Problem::new("StateNotReadable", "E0613", exit::FAILED, error.to_string())
        .why("what is left on disk of the application is damaged or in use, and a wrong answer is worse than none")
        .fix("start the application: it mends its state from the changelogs, and answers")
}

fn not_kept(store: &description::Store) -> Problem {
    Problem::new("NotRunning", "E0611", exit::FAILED, format!("nothing of store {} is kept", store.name))
        .field("store", store.name.clone())
        .why("it is in memory, it has no changelog, and the application does not run here")
        .fix("start the application")
}

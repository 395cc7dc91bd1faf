//! The stores of an application that does not run here: its task directories, and the changelogs of what it keeps in
//! memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use millstream_engine::config::Provider;
use millstream_engine::error::{Problem, exit};
use millstream_engine::store::{self, Base, Error, MemoryBase, Observed, SizeLimits, StoreKind, StoreSlot, TaskStores};
use millstream_engine::task::TaskId;
use millstream_engine::topology::{Blueprint, Plan, description};

use super::output::say;
use super::{Result, changelog};
use crate::app::plan;
use crate::app::status::{StoreInfo, StorePart};
use crate::desk::Page;
use crate::desk::query::{Keys, merge};
use crate::lmdb::{ReadOnlyBase, StateDirectory, TaskDirectory, task_directories};
use crate::log::Log;

pub struct Local {
    blueprint: Blueprint,
    /// The application's own state directory.
    directory: PathBuf,
    log: Arc<dyn Log>,
    /// `None`: the log cannot be asked, so only what is on disk is known.
    plan: Option<Plan>,
    /// What was opened or read: an environment is opened once in a process, and a scan asks page after page.
    on_disk: RefCell<BTreeMap<PathBuf, Rc<ReadOnlyBase>>>,
    in_memory: RefCell<BTreeMap<(usize, i32), Rc<dyn Base>>>,
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
        let info = |(number, described): (usize, &description::Store)| {
            let mut parts = Vec::new();
            let tasks = self.tasks(number)?;
            for task in &tasks {
                if let Some((base, slot)) = self.find(*task, number)? {
                    let entries = store::entries(&*base, slot, self.blueprint.kind(described)).map_err(unreadable)?;
                    let bytes = base.bytes(slot).map_err(unreadable)?;
                    parts.push(StorePart { task: task.to_string(), entries, bytes, at: None });
                }
            }
            let info = StoreInfo::of(&self.blueprint, described).held_by(parts, tasks.len());
            Ok(match self.blueprint.global_topic(described) {
                Some(_) => StoreInfo { tasks: Vec::new(), of: 0, ..info },
                None => info,
            })
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
        let (reverse, limit) = keys.order();
        Ok(merge(pages, reverse, limit))
    }

    fn read_task(&self, task: TaskId, number: usize, keys: &Keys) -> Result<Page> {
        let found = self.find(task, number)?;
        let (base, slot) = found.ok_or_else(|| not_kept(&self.blueprint.graph.stores[number]))?;
        let kind = self.blueprint.kind(&self.blueprint.graph.stores[number]);
        Ok(keys.read(task, &*base, slot, kind).map_err(unreadable)?)
    }

    /// Whether a partition of a store is on disk. Where it is not, what [`Local::read`] says is its changelog's.
    pub fn is_on_disk(&self, store: &str, partition: i32) -> Result<bool> {
        let Some(number) = self.blueprint.graph.stores.iter().position(|known| known.name == store) else {
            return Ok(false);
        };
        let described = &self.blueprint.graph.stores[number];
        if self.blueprint.provider(described) != Provider::Lmdb {
            return Ok(false);
        }
        let path = match self.blueprint.global_topic(described) {
            Some(_) => Some(TaskDirectory::of_globals(&self.directory).path().to_owned()),
            None => {
                let task = self.tasks(number)?.into_iter().find(|task| task.partition == partition);
                task.map(|task| self.directory_of(task))
            }
        };
        let base = path.map(|path| self.open_on_disk(path)).transpose()?.flatten();
        Ok(base.is_some_and(|base| base.store(store).is_some()))
    }

    /// Where a partition of a store on disk stands: the offset of the last changelog record it holds, -1 where it holds
    /// none. `None`: it is not on disk.
    pub fn position(&self, store: &str, partition: i32) -> Result<Option<i64>> {
        let Some(number) = self.blueprint.graph.stores.iter().position(|known| known.name == store) else {
            return Ok(None);
        };
        let task = self.tasks(number)?.into_iter().find(|task| task.partition == partition);
        let Some(base) = task.map(|task| self.open_on_disk(self.directory_of(task))).transpose()?.flatten() else {
            return Ok(None);
        };
        let Some(slot) = base.store(store) else { return Ok(None) };
        let position = base.position(slot).map_err(unreadable)?;
        Ok(Some(position.map_or(-1, |position| position.offset)))
    }

    /// What a partition of a store on disk has observed, where it goes by time. `None`: it is not on disk, or is not to be
    /// read as it is now.
    pub fn observed(&self, store: &str, partition: i32) -> Result<Option<Observed>> {
        let Some(number) = self.blueprint.graph.stores.iter().position(|known| known.name == store) else {
            return Ok(None);
        };
        let task = self.tasks(number)?.into_iter().find(|task| task.partition == partition);
        let Some(base) = task.map(|task| self.open_on_disk(self.directory_of(task))).transpose()?.flatten() else {
            return Ok(None);
        };
        let kind = self.blueprint.kind(&self.blueprint.graph.stores[number]);
        let found = base.store(store).map(|slot| store::observed(&*base, slot, kind)).transpose();
        Ok(found.map_err(unreadable)?.flatten())
    }

    /// A task's part of a store: on disk, else in its changelog. `None`: nothing keeps it.
    fn find(&self, task: TaskId, number: usize) -> Result<Option<(Rc<dyn Base>, usize)>> {
        let store = &self.blueprint.graph.stores[number];
        let global = self.blueprint.global_topic(store);
        let path = match global {
            Some(_) => TaskDirectory::of_globals(&self.directory).path().to_owned(),
            None => self.directory_of(task),
        };
        if self.blueprint.provider(store) == Provider::Lmdb
            && let Some(base) = self.open_on_disk(path)?
            && let Some(slot) = base.store(&store.name)
        {
            return Ok(Some((base, slot)));
        }
        if let Some(topic) = global {
            return Ok(Some((self.read_global(number, &topic)?, 0)));
        }
        let Some(topic) = self.blueprint.logged_topic(store) else { return Ok(None) };
        Ok(Some((self.read_changelog(number, &topic, task.partition)?, 0)))
    }

    /// The tasks that hold a store: all of the plan's, or those that left something on disk.
    fn tasks(&self, number: usize) -> Result<Vec<TaskId>> {
        if self.blueprint.global_topic(&self.blueprint.graph.stores[number]).is_some() {
            return Ok(vec![TaskId { subtopology: 0, partition: 0 }]); // one copy, and no task
        }
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
        let name = subtopology.sources.first().map_or("", |first| self.blueprint.graph.nodes[*first].source_name());
        TaskDirectory::of(&self.directory, name, task.partition).path().to_owned()
    }

    fn open_on_disk(&self, path: PathBuf) -> Result<Option<Rc<ReadOnlyBase>>> {
        if !path.join("data.mdb").exists() {
            return Ok(None);
        }
        let mut open = self.on_disk.borrow_mut();
        if !open.contains_key(&path) {
            open.insert(path.clone(), Rc::new(ReadOnlyBase::open(&path).map_err(unreadable)?));
        }
        Ok(open.get(&path).cloned())
    }

    /// A global table that is not on disk.
    fn read_global(&self, number: usize, topic: &str) -> Result<Rc<dyn Base>> {
        let mut read = self.in_memory.borrow_mut();
        if let Some(base) = read.get(&(number, 0)) {
            return Ok(base.clone());
        }
        let partitions = self.log.describe(&[topic])?.into_iter().flatten().next().map_or(0, |topic| topic.partitions);
        let base = fold(&*self.log, topic, (0..partitions, None), StoreKind::KeyValue)?;
        read.insert((number, 0), base.clone());
        Ok(base)
    }

    /// A part of a store that is not on disk, as a restore would make it.
    fn read_changelog(&self, number: usize, topic: &str, partition: i32) -> Result<Rc<dyn Base>> {
        let mut read = self.in_memory.borrow_mut();
        if let Some(base) = read.get(&(number, partition)) {
            return Ok(base.clone());
        }
        let store = &self.blueprint.graph.stores[number];
        let kind = self.blueprint.kind(store);
        let application = &self.blueprint.manifest.id;
        let reused = self.blueprint.reuses_source(store);
        let below = reused.then(|| changelog::committed(&*self.log, application, topic, partition)).transpose()?;
        let base = fold(&*self.log, topic, (partition..partition + 1, below), kind)?;
        read.insert((number, partition), base.clone());
        Ok(base)
    }
}

/// What partitions of a changelog, or of a global table's topic, add up to, at the ends they have now or below an offset.
fn fold(
    log: &dyn Log,
    topic: &str,
    (partitions, below): (Range<i32>, Option<i64>),
    kind: StoreKind,
) -> Result<Rc<dyn Base>> {
    let slot = StoreSlot { number: 0, name: String::new(), base: 0, slot: 0, logged: false, kind };
    let mut stores = TaskStores::new(vec![slot], vec![Box::new(MemoryBase::new(1))], SizeLimits::default());
    for partition in partitions {
        changelog::read(log, topic, partition, (None, below), &mut |records| {
            let last = records.len().checked_sub(1).map_or(-1, |last| records.get(last).0);
            stores.restore(0, records, last).map_err(unreadable)
        })?;
    }
    finish(stores)
}

fn finish(mut stores: TaskStores) -> Result<Rc<dyn Base>> {
    stores.end_restore(0).map_err(unreadable)?;
    let base = stores.into_bases().pop().ok_or_else(|| unreadable(Error::Retry("no base".to_owned())))?;
    Ok(Rc::from(base))
}

fn unreadable(error: Error) -> Problem {
    if let Error::Refused(problem) = error {
        return *problem;
    }
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

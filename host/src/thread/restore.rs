//! Rebuilding stores from their changelogs, beside the tasks that already run.
//!
//! A store is whole when everything below the end that its changelog had at the start was read — markers and aborted
//! records included, so the end is proven by the log's own `End` and never guessed from the last record
//! (semantics.md B17).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_engine::record::Records;
use millstream_engine::store;
use millstream_engine::task::TaskId;

use super::active::{Active, State};
use super::{Error, StreamThread};
use crate::fail_point::{self, Point};
use crate::log::{self, Fetched, Isolation, Log, Reader};

/// How long one poll for changelog records may take: the loop has other tasks to look after.
const POLL_WAIT: Duration = Duration::from_millis(5);
/// The wait before a log that did not answer is asked again.
const BACKOFF: Duration = Duration::from_millis(500);

/// One store on its way to the end of its changelog.
pub(super) struct Restoring {
    pub task: TaskId,
    /// Place in the task's stores.
    pub store: usize,
    /// Everything below it is in the store.
    pub position: i64,
    pub end: i64,
}

pub(super) struct Restorer {
    log: Arc<dyn Log>,
    reader: Option<Box<dyn Reader>>,
    by_changelog: BTreeMap<(String, i32), Restoring>,
    /// Where stores ended that are done, for status: by task and place.
    done: BTreeMap<(TaskId, usize), i64>,
    not_before: Option<Instant>,
}

impl Restorer {
    pub fn new(log: Arc<dyn Log>) -> Restorer {
        Restorer { log, reader: None, by_changelog: BTreeMap::new(), done: BTreeMap::new(), not_before: None }
    }

    /// Whether there is something to read now.
    pub fn is_busy(&self) -> bool {
        !self.by_changelog.is_empty() && self.not_before.is_none_or(|at| at <= Instant::now())
    }

    /// Position and end of a store that restores or has restored.
    pub fn progress(&self, task: TaskId, store: usize) -> Option<(i64, i64)> {
        let running = self.by_changelog.values().find(|one| one.task == task && one.store == store);
        let done = self.done.get(&(task, store)).map(|end| (*end, *end));
        running.map(|one| (one.position, one.end)).or(done)
    }

    pub fn forget(&mut self, task: TaskId) {
        let gone: Vec<(String, i32)> =
            self.by_changelog.iter().filter(|(_, one)| one.task == task).map(|(at, _)| at.clone()).collect();
        self.done.retain(|(of, _), _| *of != task);
        self.by_changelog.retain(|_, one| one.task != task);
        if let (Some(reader), false) = (&mut self.reader, gone.is_empty())
            && let Err(error) = reader.unassign(&gone)
        {
            // A fresh reader knows nothing of them; the others go on where they are.
            tracing::warn!(%error, "the restore reader is made anew");
            self.reader = None;
        }
    }

    fn begin(&mut self, topic: String, partition: i32, restoring: Restoring) -> log::Result<()> {
        let from = restoring.position;
        self.by_changelog.insert((topic.clone(), partition), restoring);
        self.reader()?.assign(&[(topic, partition, from)])
    }

    /// The reader, made anew after it was lost; then it stands where the stores stand.
    fn reader(&mut self) -> log::Result<&mut Box<dyn Reader>> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let mut reader = self.log.reader(Isolation::Committed)?;
                let from =
                    |((topic, partition), one): (&(String, i32), &Restoring)| (topic.clone(), *partition, one.position);
                let all: Vec<_> = self.by_changelog.iter().map(from).collect();
                reader.assign(&all)?;
                reader
            }
        };
        Ok(self.reader.insert(reader))
    }

    fn poll(&mut self, wait: Duration, out: &mut Vec<Fetched>) -> log::Result<()> {
        self.reader()?.poll(wait, out)
    }

    fn finish(&mut self, at: &(String, i32)) -> Option<TaskId> {
        let one = self.by_changelog.remove(at)?;
        self.done.insert((one.task, one.store), one.end);
        if let Some(reader) = &mut self.reader
            && reader.unassign(std::slice::from_ref(at)).is_err()
        {
            self.reader = None;
        }
        let more = self.by_changelog.values().any(|other| other.task == one.task);
        (!more).then_some(one.task)
    }
}

impl StreamThread {
    /// Opens what was taken, reads on in what restores.
    pub(super) fn restore(&mut self) -> Result<(), Error> {
        for id in self.tasks_to(State::Opening) {
            self.open_task(id)?;
        }
        for id in self.tasks_to(State::Locating) {
            self.begin_restore(id)?;
        }
        if !self.restorer.is_busy() {
            return Ok(());
        }
        // Others that have work are not kept waiting for a changelog.
        let wait = if self.tasks.values().any(|active| active.is_running() && active.ran) {
            Duration::ZERO
        } else {
            POLL_WAIT
        };
        let mut fetched = Vec::new();
        if let Err(error) = self.restorer.poll(wait, &mut fetched) {
            self.restore_later(&error.to_string());
            return Ok(());
        }
        for one in fetched {
            let taken = match one {
                Fetched::Records { topic, partition, records } => self.on_changelog(&(topic, partition), &records)?,
                Fetched::End { topic, partition, offset } => self.on_changelog_end(&(topic, partition), offset)?,
            };
            if !taken {
                break;
            }
        }
        Ok(())
    }

    fn tasks_to(&self, state: State) -> Vec<TaskId> {
        let ready = |active: &Active| active.state == state && !active.is_resting();
        self.tasks.iter().filter_map(|(id, active)| ready(active).then_some(*id)).collect()
    }

    /// Reads again a little later, from where each store stands then.
    fn restore_later(&mut self, why: &str) {
        tracing::warn!(why, "a restore waits");
        self.restorer.reader = None;
        self.restorer.not_before = Some(Instant::now() + BACKOFF);
    }

    fn open_task(&mut self, id: TaskId) -> Result<(), Error> {
        match (self.stores)(id) {
            Ok(stores) => {
                let functions = (self.functions)(id);
                if let Some(active) = self.tasks.get_mut(&id) {
                    active.task.open(stores, functions);
                    active.state = State::Locating;
                }
                Ok(())
            }
            // Opening has put aside what it found damaged: the next try begins with an empty state.
            Err(store::Error::Retry(why) | store::Error::Corrupted(why)) => {
                self.on_store_error(id, store::Error::Retry(why))
            }
        }
    }

    /// Finds where each store stands and where its changelog ends, and starts reading between.
    fn begin_restore(&mut self, id: TaskId) -> Result<(), Error> {
        if let Some(active) = self.tasks.get_mut(&id) {
            // What the log has and the base has not is below the end that is read to now.
            active.task.drop_sealed();
        }
        match self.restore_ranges(id) {
            // Wiped first.
            Ok(None) => Ok(()),
            Ok(Some(ranges)) => {
                if let Some(active) = self.tasks.get_mut(&id) {
                    active.state = State::Restoring;
                    active.resting = None;
                }
                for (topic, restoring) in ranges {
                    tracing::info!(
                        task = %id, topic, from = restoring.position, end = restoring.end, "restoring"
                    );
                    if let Err(error) = self.restorer.begin(topic, id.partition, restoring) {
                        self.restore_later(&error.to_string());
                    }
                }
                self.maybe_run(id)
            }
            Err(Unready::Log(error)) => {
                if let Some(active) = self.tasks.get_mut(&id) {
                    active.rest(error.to_string());
                }
                Ok(())
            }
            Err(Unready::Store(error)) => self.on_store_error(id, error),
        }
    }

    /// `None`: what is there has to go first.
    fn restore_ranges(&mut self, id: TaskId) -> Result<Option<Vec<(String, Restoring)>>, Unready> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(None) };
        let slots: Vec<(usize, u32)> = active.task.stores().slots().map(|slot| slot.number).enumerate().collect();
        let mut ranges = Vec::new();
        for (place, number) in slots {
            let Some(topic) = self.plan.stores[number as usize].changelog else { continue };
            let topic = self.plan.topics[topic.0 as usize].name.clone();
            // The committed offsets were read before this: everything they cover is below this end.
            let offsets = self.log.offsets(&topic, id.partition)?;
            let held = active.task.stores().position(place)?.map(|position| position.offset + 1);
            if let Some(held) = held.filter(|held| *held > offsets.end || *held < offsets.begin) {
                tracing::warn!(
                    task = %id, topic, held, begin = offsets.begin, end = offsets.end,
                    "the local state does not belong to this changelog, or its records were deleted: it is wiped and \
                     restored from the start"
                );
                active.state = State::Damaged;
                return Ok(None);
            }
            let position = held.unwrap_or(offsets.begin);
            self.restorer.done.insert((id, place), offsets.end);
            if position < offsets.end {
                ranges.push((topic, Restoring { task: id, store: place, position, end: offsets.end }));
            }
        }
        Ok(Some(ranges))
    }

    /// Answers whether the records were taken: where a store would not take them, nothing behind them may be.
    fn on_changelog(&mut self, at: &(String, i32), records: &Records) -> Result<bool, Error> {
        let Some(restoring) = self.restorer.by_changelog.get_mut(at) else { return Ok(true) };
        let Some(last) = records.len().checked_sub(1).map(|last| records.get(last).0) else { return Ok(true) };
        let (id, store) = (restoring.task, restoring.store);
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(true) };
        if let Err(error) = active.task.restore(store, records, last) {
            self.restore_later(&error.to_string());
            self.on_store_error(id, error)?;
            return Ok(false);
        }
        active.resting = None;
        restoring.position = last + 1;
        self.counters.restored_records += records.len() as u64;
        Ok(true)
    }

    fn on_changelog_end(&mut self, at: &(String, i32), offset: i64) -> Result<bool, Error> {
        match self.restorer.by_changelog.get(at) {
            Some(&Restoring { task, store, end, .. }) if offset >= end => {
                if let Some(active) = self.tasks.get_mut(&task)
                    && let Err(error) = active.task.end_restore(store)
                {
                    self.restore_later(&error.to_string());
                    self.on_store_error(task, error)?;
                    return Ok(false);
                }
                fail_point::pass(Point::Restore);
                if let Some(id) = self.restorer.finish(at) {
                    self.maybe_run(id)?;
                }
            }
            // An open transaction of a dead owner may still hide the rest.
            Some(_) | None => {}
        }
        Ok(true)
    }

    /// Runs the task when all of its stores are whole.
    fn maybe_run(&mut self, id: TaskId) -> Result<(), Error> {
        if self.restorer.by_changelog.values().any(|one| one.task == id) {
            return Ok(());
        }
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(()) };
        active.state = State::Running;
        tracing::info!(task = %id, "running");
        self.start_inputs(id)
    }
}

enum Unready {
    Log(log::Error),
    Store(store::Error),
}

impl From<log::Error> for Unready {
    fn from(error: log::Error) -> Unready {
        Unready::Log(error)
    }
}

impl From<store::Error> for Unready {
    fn from(error: store::Error) -> Unready {
        Unready::Store(error)
    }
}

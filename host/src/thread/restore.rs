//! Rebuilding stores from their changelogs, beside the tasks that already run.
//!
//! A store is whole when everything below the end that its changelog had at the start was read — markers and aborted
//! records included, so the end is proven by the log's own `End` and never guessed from the last record
//! (semantics.md B17).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_engine::error::{Problem, exit};
use millstream_engine::record::{Records, TopicPartition};
use millstream_engine::store;
use millstream_engine::task::TaskId;

use super::active::{Active, State};
use super::opener::Opened;
use super::{Error, StreamThread, emptied, truncated, wall_clock_ms};
use crate::fail_point::{self, Point};
use crate::log::{self, Failed, Fetched, Isolation, Log, Reader};

/// How long one poll for changelog records may take: the loop has other tasks to look after.
const POLL_WAIT: Duration = Duration::from_millis(5);
/// The wait before a log that did not answer is asked again.
const BACKOFF: Duration = Duration::from_millis(500);

/// How often a running task's state is marked: what is older than the deletes of its changelog is restored from the
/// beginning, and those are kept for a day.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// One store on its way to the end of its changelog.
pub(super) struct Restoring {
    pub task: TaskId,
    /// Place in the task's stores.
    pub store: usize,
    /// Everything below it is in the store.
    pub position: i64,
    pub end: i64,
    /// It reads its source topic, where records behind the end are still to be processed.
    pub of_source: bool,
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

    fn poll(&mut self, wait: Duration, out: &mut Vec<Fetched>, failed: &mut Vec<Failed>) -> log::Result<()> {
        self.reader()?.poll_each(wait, out, failed)
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
        while let Some((id, incarnation, opened)) = self.opener.take_opened() {
            self.on_opened(id, incarnation, opened)?;
        }
        // What tasks look up is whole before they begin.
        let openable = if self.globals.are_whole() { self.tasks_to(State::Opening) } else { Vec::new() };
        for id in openable {
            let Some(incarnation) = self.tasks.get(&id).map(|active| active.task.incarnation()) else { continue };
            if let Err(why) = self.opener.begin(id, incarnation) {
                self.on_store_error(id, store::Error::Retry(format!("no thread to open its state: {why}")))?;
            }
        }
        // Whoever stops needs no answer, and a log that is away takes its time to give none.
        let to_locate = if self.stopping.is_none() { self.tasks_to(State::Locating) } else { Vec::new() };
        for id in to_locate {
            self.begin_restore(id)?;
            // One unanswered question is enough for this turn: each takes its time, and the log must be polled.
            if self.tasks.get(&id).is_some_and(|active| active.is_resting()) {
                break;
            }
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
        let (mut fetched, mut failed) = (Vec::new(), Vec::new());
        let polled = self.restorer.poll(wait, &mut fetched, &mut failed);
        for one in fetched {
            let taken = match one {
                Fetched::Records { topic, partition, records } => self.on_changelog(&(topic, partition), records)?,
                Fetched::End { topic, partition, offset } => self.on_changelog_end(&(topic, partition), offset)?,
                Fetched::Truncated { topic, partition, offset } => {
                    self.on_changelog_truncated(&(topic, partition), offset);
                    true
                }
            };
            if !taken {
                return Ok(());
            }
        }
        for Failed { topic, partition, error } in failed {
            let task = self.restorer.by_changelog.get(&(topic, partition)).map(|one| one.task);
            if let Some(task) = task {
                self.on_unreadable(task, error);
            }
        }
        if let Err(error) = polled {
            self.restore_later(error);
        }
        Ok(())
    }

    /// A changelog cannot be read: its task alone waits, and the status says for what. What waiting does not help ends
    /// the application.
    fn on_unreadable(&mut self, id: TaskId, error: log::Error) {
        self.restorer.forget(id);
        if let Some(active) = self.tasks.get_mut(&id) {
            if active.resting.is_none() {
                tracing::warn!(task = %id, %error, "a changelog cannot be read: the task waits");
            }
            active.rest(format!("task {id}: {error}"));
            active.state = State::Locating;
        }
        if !error.may_pass() {
            self.stop(false, Err(error.into()));
        }
    }

    fn tasks_to(&self, state: State) -> Vec<TaskId> {
        let ready = |active: &Active| active.state == state && !active.is_resting();
        self.tasks.iter().filter_map(|(id, active)| ready(active).then_some(*id)).collect()
    }

    /// The log as a whole cannot be read: again a little later, from where each store stands then. What waiting does not
    /// help ends the application.
    fn restore_later(&mut self, error: log::Error) {
        tracing::warn!(%error, "a restore waits");
        self.restore_anew();
        if !error.may_pass() {
            self.stop(false, Err(error.into()));
        }
    }

    fn restore_anew(&mut self) {
        self.restorer.reader = None;
        self.restorer.not_before = Some(Instant::now() + BACKOFF);
    }

    /// One that has gone meanwhile does not want it any more. Neither does one that has come back since: another owner may
    /// have written in between, and what was opened for an incarnation before that is shut out of its stores.
    fn on_opened(&mut self, id: TaskId, incarnation: i64, opened: Opened) -> Result<(), Error> {
        let wants = |active: &Active| active.state == State::Opening && active.task.incarnation() == incarnation;
        if !self.tasks.get(&id).is_some_and(wants) {
            return Ok(());
        }
        match opened {
            Ok(stores) => {
                for (place, slot) in stores.slots().enumerate() {
                    let (base, number) = stores.committed(place);
                    let is_logged = self.plan.stores[slot.number as usize].changelog.is_some();
                    if let Some(why) = base.emptied_at_open(number).filter(|_| !is_logged) {
                        self.truncated.warn(&emptied::at_open(id, &slot.name, why));
                    }
                }
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
            Err(told @ (store::Error::Refused(_) | store::Error::Full(_))) => self.on_store_error(id, told),
        }
    }

    /// Finds where each store stands and where its changelog ends, and starts reading between.
    fn begin_restore(&mut self, id: TaskId) -> Result<(), Error> {
        if let Some(active) = self.tasks.get_mut(&id) {
            // What the log has and the base has not is below the end that is read to now.
            active.task.begin_restore();
        }
        match self.restore_ranges(id) {
            Ok(ranges) => {
                if let Some(active) = self.tasks.get_mut(&id) {
                    active.state = State::Restoring;
                }
                for (topic, restoring) in ranges {
                    tracing::info!(
                        task = %id, topic, from = restoring.position, end = restoring.end, "restoring"
                    );
                    if let Err(error) = self.restorer.begin(topic, id.partition, restoring) {
                        self.restore_later(error);
                    }
                }
                self.maybe_run(id)
            }
            Err(Unready::Log(error)) => {
                self.on_unreadable(id, error);
                Ok(())
            }
            Err(Unready::Store(error)) => self.on_store_error(id, error),
        }
    }

    /// What each store has to read. A store that its changelog does not go on from is emptied first, and it alone.
    fn restore_ranges(&mut self, id: TaskId) -> Result<Vec<(String, Restoring)>, Unready> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(Vec::new()) };
        let slots: Vec<(usize, u32)> = active.task.stores().slots().map(|slot| slot.number).enumerate().collect();
        let (mut ranges, mut empty) = (Vec::new(), true);
        for (place, number) in slots {
            if !active.task.stores().fits(place)? {
                let store = &self.plan.stores[number as usize];
                self.truncated.warn(&emptied::outgrown(id, &store.description.name, store.changelog.is_some()));
                active.task.stores_mut().wipe_store(place)?;
            }
            let Some(changelog) = self.plan.stores[number as usize].changelog else { continue };
            let whole_at = active.task.stores().whole_at(place)?;
            let topic = self.plan.topics[changelog.0 as usize].name.clone();
            // The committed offsets were read before this: everything they cover is below this end.
            let of_source = self.plan.stores[number as usize].reuses_source;
            let input = TopicPartition { topic: changelog, partition: id.partition };
            let committed = active.task.committed_offset(input);
            if of_source && committed.is_none() {
                continue; // Its topic has fewer partitions than there are tasks.
            }
            let mut offsets = self.log.offsets(&topic, id.partition)?;
            if let Some(committed) = committed.filter(|_| of_source) {
                // What is behind it comes as input.
                offsets.end = offsets.end.min(committed);
            }
            if self.plan.stores[number as usize].skips_restoration {
                let position = active.task.stores().position(place)?.map(|position| position.offset + 1);
                self.truncated.warn(&skipped(&topic, id, position, offsets));
                if offsets.end > 0 {
                    active.task.stores_mut().skip_to(place, offsets.end - 1)?;
                }
                self.restorer.done.insert((id, place), offsets.end);
                continue;
            }
            let mut held = active.task.stores().position(place)?.map(|position| position.offset + 1);
            if held.is_some()
                && self
                    .delete_retention_ms
                    .get(&changelog)
                    .is_some_and(|keeps| is_outdated(wall_clock_ms(), whole_at, *keeps))
            {
                tracing::warn!(
                    task = %id, topic, whole_at,
                    "the local state is older than the deletes that its changelog keeps: what was deleted since must not \
                     come back, so the store is emptied and restored from the beginning"
                );
                active.task.stores_mut().wipe_store(place)?;
                held = None;
            }
            if let Some(offset) = held.take_if(|held| !(offsets.begin..=offsets.end).contains(held)) {
                let lost = truncated::lost(topic.clone(), id.partition, offset, offsets);
                self.truncated.warn(&emptied::truncated(lost));
                active.task.stores_mut().wipe_store(place)?;
            }
            empty &= held.is_none();
            let position = held.unwrap_or(offsets.begin);
            self.restorer.done.insert((id, place), offsets.end);
            if position < offsets.end {
                ranges.push((topic, Restoring { task: id, store: place, position, end: offsets.end, of_source }));
            }
        }
        if empty {
            // Nothing in it is older than what is read from now on.
            active.task.stores_mut().mark_whole(wall_clock_ms())?;
        }
        Ok(ranges)
    }

    /// Tells the bases of running tasks now and then that they hold all of their changelogs, as soon as they do. One that
    /// does not take it is asked again; it only counts as older than it is.
    pub(super) fn mark_whole(&mut self) -> Result<(), Error> {
        let due = |active: &Active| active.is_whole() && active.marked_whole.elapsed() >= MARK_EVERY;
        let due: Vec<TaskId> = self.tasks.iter().filter_map(|(id, active)| due(active).then_some(*id)).collect();
        for id in due {
            self.mark_task(id)?;
        }
        Ok(())
    }

    fn mark_task(&mut self, id: TaskId) -> Result<(), Error> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(()) };
        active.marked_whole = Instant::now();
        match active.task.stores_mut().mark_whole(wall_clock_ms()) {
            Ok(()) | Err(store::Error::Retry(_) | store::Error::Full(_)) => Ok(()),
            Err(error) => self.on_store_error(id, error),
        }
    }

    /// A changelog was truncated under a restore: every store of the task is held against its changelog anew, and what
    /// does not fit any more goes. Those that fit go on where they are.
    fn on_changelog_truncated(&mut self, at: &(String, i32), offset: i64) {
        let Some(id) = self.restorer.by_changelog.get(at).map(|one| one.task) else { return };
        let (topic, partition) = at.clone();
        self.truncated.warn(&emptied::truncated(log::Error::Truncated { topic, partition, offset }.into()));
        self.restorer.forget(id);
        if let Some(active) = self.tasks.get_mut(&id) {
            active.state = State::Locating;
        }
    }

    /// Answers whether the records were taken: where a store would not take them, nothing behind them may be.
    fn on_changelog(&mut self, at: &(String, i32), mut records: Records) -> Result<bool, Error> {
        let Some(restoring) = self.restorer.by_changelog.get_mut(at) else { return Ok(true) };
        let (end, is_cut) = (restoring.end, restoring.of_source && records.truncate_at(restoring.end));
        let taken = self.take_changelog(at, &records)?;
        // A record at the end or behind it proves that there is nothing more below, as the log's own end does.
        if taken && is_cut { self.on_changelog_end(at, end) } else { Ok(taken) }
    }

    fn take_changelog(&mut self, at: &(String, i32), records: &Records) -> Result<bool, Error> {
        let run_bytes = store::run_bytes(self.restorer.by_changelog.len());
        let Some(restoring) = self.restorer.by_changelog.get_mut(at) else { return Ok(true) };
        let Some(last) = records.len().checked_sub(1).map(|last| records.get(last).0) else { return Ok(true) };
        let (id, place) = (restoring.task, restoring.store);
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(true) };
        active.task.stores_mut().bound_runs(run_bytes);
        if let Err(error) = active.task.restore(place, records, last) {
            self.restore_anew();
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
                    self.restore_anew();
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
        (active.state, active.resting) = (State::Running, None);
        tracing::info!(task = %id, "running");
        self.mark_task(id)?;
        self.start_inputs(id)
    }
}

/// The part of what a changelog keeps its deletes for that is not counted on: the broker goes by its own clock, and what
/// is restored is read a while after it was looked at.
const KEEPS_MARGIN: u64 = 10;

/// Whether deletes may be missing between a state and its changelog, which keeps them so long, ms. A clock that has been
/// set back says nothing of how old the state is.
pub(super) fn is_outdated(now: i64, whole_at: Option<i64>, keeps: i64) -> bool {
    let keeps = keeps.unsigned_abs();
    whole_at.is_some_and(|at| now.abs_diff(at) > keeps - keeps / KEEPS_MARGIN)
}

/// Told at each start, whatever is missing: nobody knows it of the store.
fn skipped(topic: &str, task: TaskId, position: Option<i64>, offsets: log::Offsets) -> Problem {
    let stands = position.map_or("is empty".to_owned(), |position| format!("stands at {position}"));
    let message = format!(
        "task {task}: restoration is skipped: the store {stands}, its changelog {topic} ends at {}",
        offsets.end
    );
    Problem::new("RestorationSkipped", "E0421", exit::FAILED, message)
        .field("task", task.to_string())
        .field("changelog_topic", topic)
        .field("position", position)
        .field("end", offsets.end)
        .why(
            "skip_restoration is true: the local state is taken for what the changelog adds up to, and may be anything",
        )
        .fix("take skip_restoration out of the manifest and remove the task's directory: a start restores the store")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_outdated_before_its_changelog_may_have_forgotten_a_delete() {
        let day = 24 * 60 * 60 * 1_000;
        for (age, outdated) in [(0, false), (day / 2, false), (day - 60_000, true), (day + 1, true), (-day, true)] {
            assert_eq!(is_outdated(5 * day, Some(5 * day - age), day), outdated, "{age} ms");
        }
        assert!(!is_outdated(day, None, 0), "what does not outlive its process is never old");
    }
}
